"""The recordings of baselines.md: activity, inputs, conditions and settings of fits."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import predictlearn as pl
from predictlearn.recordings import load_bci_golub, load_bci_redundancy, load_simulated_learning
from predictlearn.recordings.datasets.bci_learning import load_bci_learning
from predictlearn.simulation import random_inputs, simulate_recording

ROOT = Path(__file__).resolve().parents[2]
FOLDER = Path(os.environ.get("PREDICTLEARN_DATA", ROOT.parent / "shared" / "data"))
BINS = 12


@dataclass(frozen=True)
class Set:
    """One recording, ready to be fitted by every method.

    ``settings`` are those of `LowRankRNN`; ``lags`` the numbers of past input bins that a baseline
    may use beside the current one; ``counts`` whether bits per spike are scored; ``static`` whether
    the samples have no order in time, so that only their mean given the inputs can be fitted.
    """

    name: str
    activity: np.ndarray
    inputs: np.ndarray
    dt: float
    settings: dict[str, Any]
    conditions: np.ndarray | None = None
    lags: tuple[int, ...] = (0, 2, 5, 11)
    counts: bool = False
    static: bool = False
    about: dict[str, Any] = field(default_factory=dict)


def learning() -> Set:
    """Return block 1 of the BCI learning session: 10 factors, as studies/bci/bci.md fits it."""
    block = load_bci_learning(FOLDER / "bci-learning-hennig2021").first_bins(BINS).intuitive
    settings = {
        "nonlinearity": "linear",
        "tau": "fit",
        "latency": "fit",
        "observed": "current",
        "offset": True,
        "neurons": "all",
    }
    target = block.trials["target"].to_numpy()
    return Set("bci-learning", block.activity, block.inputs, block.dt, settings, target)


def redundancy() -> Set:
    """Return block 1 of the BCI session with spike counts of 87 units."""
    block = load_bci_redundancy(FOLDER / "bci-redundancy-hennig2018").first_bins(BINS).intuitive
    # the stored angle is that from the cursor, near the centre: targets are multiples of 45 degrees
    target = np.round(block.trials["target"].to_numpy() / 45.0) % 8 * 45.0
    angle = np.deg2rad(target)[:, None]
    inputs = np.stack([np.cos(angle), np.sin(angle), np.ones_like(angle)], axis=2)
    inputs = np.repeat(inputs, BINS, axis=1)
    settings = {
        "nonlinearity": "linear",
        "tau": "fit",
        "latency": "fit",
        "observed": "current",
        "offset": True,
    }
    return Set("bci-redundancy", block.activity, inputs, block.dt, settings, target, counts=True)


def simulated() -> Set:
    """Return the first session of the shipped recording: 80 of 300 erf neurons, Poisson counts."""
    session = load_simulated_learning()[0]
    settings = {
        "nonlinearity": "erf",
        "tau": session.metadata["tau"],
        "observed": "rate",
        "offset": True,
        "gain": session.metadata["gain"],
    }
    # inputs are pulses, so a filter has to be as long as what follows a pulse
    return Set(
        "simulated-learning",
        session.activity,
        session.inputs,
        session.dt,
        settings,
        lags=(0, 5, 20, 40),
        counts=True,
    )


def golub(which: str) -> Set:
    """Return the sampled time points of 86 units before or after learning: 1 bin a "trial"."""
    session = load_bci_golub(FOLDER / "bci-golub2018")
    part = session.before if which == "before" else session.after
    # directions and their points become trials of one bin, since the points have no order in time
    activity, inputs = (
        array.reshape(-1, 1, array.shape[2]) for array in (part.activity, part.inputs)
    )
    conditions = np.repeat(part.trials["direction"].to_numpy(), part.n_bins)
    settings = {"tau": 3 * part.dt, "observed": "current", "offset": True}
    return Set(
        f"bci-golub, {which}",
        activity,
        inputs,
        part.dt,
        settings,
        conditions,
        lags=(0,),
        static=True,
    )


def standard(seed: int = 0) -> Set:
    """Return a simulated linear network of rank 2: 200 neurons x 200 trials x 100 bins."""
    true = pl.Overlaps(np.diag([1.0, 1.0, 1.0, 2.0, 2.0, 1.0]), rank=2)
    true = true.replace(v1m=0.8, v2m=0.2, v1u1=0.4, v2u2=0.4, v2u1=0.7, v1u2=-0.7)
    inputs = random_inputs(200, 100, 1, dt=0.1, seed=seed)
    recording = simulate_recording(true, inputs, dt=0.1, n_neurons=200, r2=0.6, seed=seed)
    return Set(
        "simulated, 200 x 200 x 100",
        recording.activity,
        recording.inputs,
        0.1,
        {"tau": 1.0},
        lags=(0, 5, 20, 40),
    )


SETS = {
    "simulated": simulated,
    "learning": learning,
    "redundancy": redundancy,
    "golub-before": lambda: golub("before"),
    "golub-after": lambda: golub("after"),
}
