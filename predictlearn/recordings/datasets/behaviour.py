"""Behaviour while animals learn, as tables: archerfish that adapt, a rat that learns a choice."""

from __future__ import annotations

import io
import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from predictlearn.doors import readable, reading
from predictlearn.errors import InputError
from predictlearn.recordings.datasets.registry import find_dataset, is_registered
from predictlearn.recordings.readers.table_file import EXPECTED, read_table

__all__ = ["arrays_of_pickle", "load_archerfish", "load_rat_choices"]

_HOMES = ("numpy.core", "numpy._core")

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
    advice = "`predictlearn datasets get archerfish` gets it."
    readable(file, EXPECTED, advice)
    table = read_table(file, ",")
    missing = [column for column in _FISH if column not in table]
    if missing:
        raise InputError(
            f"{file} lacks the columns {', '.join(missing)}; it has "
            f"{', '.join(map(str, table.columns))}."
        )
    return table


class _ArraysOnly(pickle.Unpickler):
    """Reads a pickle of arrays, and nothing that could run code."""

    def find_class(self, module: str, name: str) -> Any:
        """Return one of the few functions that arrays are made with."""
        if f"{module}.{name}" not in _MAKERS:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, and holds more than arrays")
        return _MAKERS[f"{module}.{name}"]


def _latin(text: str, encoding: str) -> bytes:
    """Return bytes that an old pickle holds as text."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"bytes encoded as {encoding!r}")
    return text.encode("latin1")


_MAKERS: dict[str, Any] = {
    "numpy.dtype": np.dtype,
    "numpy.ndarray": np.ndarray,
    "_codecs.encode": _latin,
    # the functions that numpy itself names in a pickle, wherever this version has them
    **{f"{home}.multiarray._reconstruct": np.zeros(0).__reduce__()[0] for home in _HOMES},
    **{f"{home}.multiarray.scalar": np.float64(0).__reduce__()[0] for home in _HOMES},
}


def arrays_of_pickle(raw: bytes) -> Any:
    """Return what a pickle of arrays, numbers, text and collections of these holds.

    Parameters
    ----------
    raw : bytes
        The pickle.

    Returns
    -------
    object
        What it holds.

    Raises
    ------
    pickle.UnpicklingError
        It asks for anything else; nothing of it was run.
    """
    return _ArraysOnly(io.BytesIO(raw)).load()


def load_rat_choices(
    path: str | os.PathLike[str] | None = None, *, allow_pickle: bool = False
) -> pd.DataFrame:
    """Read the choices of a rat that learns a two-alternative task.

    The file holds a pickled object, and pickles can run code. Only the registered file is read, by
    its checksum, before it is opened; and then by a reader that makes arrays and nothing else.

    Parameters
    ----------
    path : path, optional
        The .npz file. Default: where `find_dataset` finds "rat-choices".
    allow_pickle : bool, default False
        Not used any more: it had to be True when pickles were read freely.

    Returns
    -------
    DataFrame
        20,000 trials: rat, session (from 0), trial (in the session, from 0), choice and answer (1
        or 2, as stored), correct (bool), s1 and s2 (the two stimuli, standardised as stored).

    Raises
    ------
    InputError
        The file is missing, or is not the registered one.
    """
    file = find_dataset("rat-choices") if path is None else Path(path)
    readable(file, "an .npz file", "`predictlearn datasets get rat-choices` gets it.")
    if not is_registered("rat-choices", file):
        raise InputError(
            f"{file} is not that data set (its checksum is not the registered one), and since it "
            "would be a pickle, which can run code, it was not opened. `predictlearn datasets get "
            "rat-choices` gets the registered file."
        )
    with reading(file, "an .npz file"):
        with zipfile.ZipFile(file) as archive, archive.open("D.npy") as stream:
            np.lib.format.read_magic(stream)
            np.lib.format.read_array_header_1_0(stream)
            content = arrays_of_pickle(stream.read()).item()
        lengths = np.asarray(content["dayLength"], dtype=np.int64)
        return pd.DataFrame(
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
