"""The shipped recording: a simulated network that learns, in sessions, with its ground truth."""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from predictlearn.errors import InputError
from predictlearn.recordings.recording import Recording
from predictlearn.recordings.registry import find_dataset
from predictlearn.theory.overlaps import Overlaps

__all__ = ["load_simulated_learning"]


def load_simulated_learning(path: str | os.PathLike[str] | None = None) -> tuple[Recording, ...]:
    """Read the shipped, SIMULATED recording of a network that learns.

    Parameters
    ----------
    path : path, optional
        The file; by default the one that ships with predictlearn.

    Returns
    -------
    tuple of Recording
        One a session, spike counts (trials, time, neurons). Their metadata hold ``simulated``
        (True), ``session``, ``epoch``, ``nonlinearity``, ``tau`` (s), ``gain`` and ``baseline``
        (spikes per bin), ``task``, ``rule``, ``truth`` (Overlaps of the whole network), ``loss``
        (its true loss), and ``targets`` and ``weights``, (trials, time, 1), of its trials.

    Raises
    ------
    InputError
        If the file is missing or is not that recording.

    Examples
    --------
    >>> sessions = load_simulated_learning()
    >>> len(sessions), sessions[0].n_neurons, sessions[0].metadata["simulated"]
    (5, 80, True)
    """
    file = Path(path) if path is not None else find_dataset("simulated-learning")
    if not file.is_file():
        raise InputError(f"no such file: {file}.")
    try:
        with np.load(file, allow_pickle=False) as stored:
            content = {name: stored[name] for name in stored.files}
        about = json.loads(str(content["about"]))
        return tuple(_session(content, about, row) for row in about["truth"])
    except (KeyError, ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"{file} is not the simulated recording that datasets/make_simulated.py makes: {error}."
        ) from error


def _session(
    content: dict[str, np.ndarray], about: dict[str, Any], row: dict[str, Any]
) -> Recording:
    """Return one session."""
    s = row["session"]
    counts = content[f"counts_{s}"]
    shared = {k: about[k] for k in ("name", "licence", "nonlinearity", "tau", "gain", "baseline")}
    return Recording(
        activity=counts.astype(float),
        inputs=content[f"inputs_{s}"].astype(float),
        outputs=content[f"outputs_{s}"].astype(float),
        dt=float(about["dt"]),
        trials=pd.DataFrame({"trial": np.arange(len(counts)), "session": s}),
        observed="counts",
        metadata={
            **shared,
            "source": about["made by"],
            "simulated": bool(about["simulated"]),
            "session": s,
            "epoch": int(row["epoch"]),
            "task": about["task"],
            "rule": about["rule"],
            "truth": Overlaps.from_series(row["overlaps"]),
            "loss": float(row["loss"]),
            "targets": content[f"targets_{s}"].astype(float),
            "weights": content[f"weights_{s}"].astype(float),
        },
    )
