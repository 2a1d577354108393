"""The shipped recording: a simulated network that learns, in sessions, with its ground truth."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from predictlearn.doors import reading
from predictlearn.errors import InputError
from predictlearn.npz import EXPECTED, json_of, read_npz
from predictlearn.recordings.datasets.registry import described, find_dataset, is_registered
from predictlearn.recordings.recording import Recording
from predictlearn.theory.overlaps import Overlaps

__all__ = ["load_simulated_learning"]

# arrays and their numbers of axes
_ARRAYS = {
    "counts": 4,
    "inputs": 4,
    "outputs": 4,
    "targets": 4,
    "weights": 4,
    "overlaps": 3,
    "true_loss": 1,
    "epochs": 1,
    "dt": 0,
}


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
        (True), ``session``, ``epoch``, ``nonlinearity``, ``tau`` (s), ``gain`` (spikes per
        bin), ``task``, ``rule``, ``truth`` (Overlaps of the whole network), ``loss``
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
    file = _file(path)
    with reading(file, EXPECTED):
        content, about = _read(file, path is not None)
        return tuple(_session(content, about, s) for s in range(len(content["epochs"])))


def _file(path: str | os.PathLike[str] | None) -> Path:
    """Return the file that was given, or the one that ships."""
    return Path(path) if path is not None else find_dataset("simulated-learning")


def _read(file: Path, given: bool) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Return the arrays of the file and what it says of itself."""
    content = read_npz(file, (*_ARRAYS, "metadata"))
    about = json_of("metadata", str(content["metadata"]))
    if not isinstance(about, dict):
        raise InputError(f"metadata must be a mapping in JSON; got {type(about).__name__}")
    count = len(content["counts"]) if content["counts"].ndim == 4 else 0
    wrong = [
        name
        for name, n_axes in _ARRAYS.items()
        if content[name].ndim != n_axes
        or content[name].dtype.kind not in "biuf"
        or (n_axes and len(content[name]) != count)
    ]
    if wrong or not count:
        raise InputError(
            "it is not the simulated recording that datasets/make_simulated.py makes: "
            f"{', '.join(wrong) or 'counts'} must be numbers with a row for each session"
        )
    if given and not is_registered("simulated-learning", file):
        about |= described("simulated-learning", file)
    return content, about


def _session(content: dict[str, np.ndarray], about: dict[str, Any], s: int) -> Recording:
    """Return one session."""
    counts = content["counts"][s]
    return Recording(
        activity=counts.astype(float),
        inputs=content["inputs"][s].astype(float),
        outputs=content["outputs"][s].astype(float),
        dt=float(content["dt"]),
        trials=pd.DataFrame({"trial": np.arange(len(counts)), "session": s}),
        observed="counts",
        metadata={
            **about,
            "session": s,
            "epoch": int(np.nan_to_num(content["epochs"][s])),
            "truth": Overlaps(content["overlaps"][s]),
            "loss": float(content["true_loss"][s]),
            "targets": content["targets"][s].astype(float),
            "weights": content["weights"][s].astype(float),
        },
    )
