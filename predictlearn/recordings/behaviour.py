"""Behaviour while animals learn, as tables: archerfish that adapt, a rat that learns a choice."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd

from predictlearn.errors import InputError
from predictlearn.recordings.registry import find_dataset

__all__ = ["load_archerfish", "load_rat_choices"]

_FISH = ("distance", "fish", "trial", "session", "phase", "epoch", "experiment")


def load_archerfish(path: str | os.PathLike[str] | None = None) -> pd.DataFrame:
    """Read the behaviour of archerfish that adapt to a perturbation.

    Parameters
    ----------
    path : path, optional
        The .csv file. Default: where `find_dataset` finds "archerfish".

    Returns
    -------
    DataFrame
        2146 trials of 7 fish, as stored: distance (the error of the shot), fish, trial, session,
        phase, epoch, experiment.

    Raises
    ------
    InputError
        The file is missing, or is not that table.
    """
    file = find_dataset("archerfish") if path is None else Path(path)
    if not file.is_file():
        raise InputError(f"no such file: {file}; `predictlearn datasets get archerfish` gets it.")
    try:
        table = pd.read_csv(file)
    except (ValueError, OSError) as error:
        raise InputError(f"{file} is not a readable .csv table: {error}") from error
    missing = [column for column in _FISH if column not in table]
    if missing:
        raise InputError(
            f"{file} lacks the columns {', '.join(missing)}; it has "
            f"{', '.join(map(str, table.columns))}."
        )
    return table


def load_rat_choices(
    path: str | os.PathLike[str] | None = None, *, allow_pickle: bool = False
) -> pd.DataFrame:
    """Read the choices of a rat that learns a two-alternative task.

    .. warning:: The file holds a pickled object, and reading a pickled object runs whatever code
       is in it. Compare the checksum with that of `datasets` (``predictlearn datasets get``
       does so) before you pass ``allow_pickle=True``, and never do so for a file that somebody
       sent you.

    Parameters
    ----------
    path : path, optional
        The .npz file. Default: where `find_dataset` finds "rat-choices".
    allow_pickle : bool, default False
        Whether the pickled object in the file may be read.

    Returns
    -------
    DataFrame
        20,000 trials: rat, session (from 0), trial (in the session, from 0), choice and answer (1
        or 2, as stored), correct (bool), s1 and s2 (the two stimuli, standardised as stored).

    Raises
    ------
    InputError
        ``allow_pickle`` was not given, or the file is missing or is not that data set.
    """
    file = find_dataset("rat-choices") if path is None else Path(path)
    if not file.is_file():
        raise InputError(f"no such file: {file}; `predictlearn datasets get rat-choices` gets it.")
    if allow_pickle is not True:
        raise InputError(
            f"{file} holds a pickled object, and reading one runs whatever code is in it. If you "
            "trust the file (its checksum is in predictlearn.recordings.datasets()), pass "
            "allow_pickle=True."
        )
    try:
        with np.load(file, allow_pickle=True) as archive:
            content = archive["D"].item()
        lengths = np.asarray(content["dayLength"], dtype=np.int64)
        table = pd.DataFrame(
            {
                "rat": str(content["name"]),
                "session": np.repeat(np.arange(len(lengths)), lengths),
                "trial": np.concatenate([np.arange(n) for n in lengths]),
                "choice": np.asarray(content["y"]).astype(np.int64),
                "answer": np.asarray(content["answer"]).astype(np.int64),
                "correct": np.asarray(content["correct"]).astype(bool),
                # the first column is this trial's stimulus, the second that of the trial before
                "s1": np.asarray(content["inputs"]["s1"])[:, 0],
                "s2": np.asarray(content["inputs"]["s2"])[:, 0],
            }
        )
    except (KeyError, IndexError, ValueError, TypeError, OSError, AttributeError) as error:
        raise InputError(
            f"{file} is not that data set (a pickled dict under D with y, answer, correct, "
            f"dayLength, inputs): {error}"
        ) from error
    return table
