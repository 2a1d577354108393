"""How fast a network learns: what the loss's derivatives and the overlaps make of each other.

Gradient flow moves the overlaps by dS/dt = -(S A R + R A S), with A the loss derivatives and R the
diagonal of the pathway rates, so that the loss falls at the speed

    -dL/dt = trace(A R A S) = sum over entries of W_ij S_ij,     W = A R A.

A and W depend on the loss-visible overlaps only: they are the same in functionally equivalent
networks, and the difference between these is exactly a sum of one contribution per overlap in which
they differ, W_ij dS_ij (twice that off the diagonal).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from predictlearn.theory.activity import loss_and_derivative
from predictlearn.theory.nonlinearity import Nonlinearity
from predictlearn.theory.overlaps import Overlaps
from predictlearn.theory.trials import Task, Trials

__all__ = [
    "BATCHES",
    "contributions",
    "differing_names",
    "mean_derivative",
    "probe_trials",
    "speed_weights",
    "unbiased_weights",
    "velocity",
]

BATCHES = 8


def probe_trials(task: Task, seed: int, batches: int = BATCHES) -> tuple[Trials, ...]:
    """Return the batches on which a network is probed: one if trials are fixed, else several.

    Parameters
    ----------
    task : Task
        The task.
    seed : int
        Seed of the trials.
    batches : int, default 8
        How many, where each epoch draws new trials.

    Returns
    -------
    tuple of Trials
        Batches.

    Examples
    --------
    >>> import predictlearn as pl
    >>> len(probe_trials(pl.Filter(), seed=0)), len(probe_trials(pl.FlipFlop(), seed=0))
    (1, 8)
    """
    rng = np.random.default_rng(seed)
    return tuple(task.sample(rng) for _ in range(1 if task.fixed else batches))


def differing_names(first: Overlaps, second: Overlaps) -> tuple[str, ...]:
    """Return the names of the overlaps in which two networks differ, in table order."""
    scale = max(float(np.abs(first.matrix).max()), float(np.abs(second.matrix).max()))
    return tuple(name for name in first.names if abs(first[name] - second[name]) > 1e-10 * scale)


def mean_derivative(
    overlaps: Overlaps,
    probes: Sequence[Trials],
    nonlinearity: str | Nonlinearity = "linear",
    tau: float = 1.0,
) -> np.ndarray:
    """Return A averaged over batches of trials, (D, D)."""
    return np.mean([loss_and_derivative(overlaps, t, nonlinearity, tau)[1] for t in probes], axis=0)


def speed_weights(a: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Return W = A R A, with which -dL/dt = sum of W_ij S_ij; `columns` is the diagonal of R."""
    return (a * columns) @ a


def contributions(first: Overlaps, second: Overlaps, weights: np.ndarray) -> pd.DataFrame:
    """Split the difference in the speed -dL/dt of two equivalent networks by overlap.

    Parameters
    ----------
    first, second : Overlaps
        Functionally equivalent networks.
    weights : numpy.ndarray, (D, D)
        W = A R A, the same in both.

    Returns
    -------
    pandas.DataFrame
        A row per overlap in which they differ: ``overlap``, ``change`` (second minus first),
        ``sensitivity`` (speed per unit of change) and ``contribution`` (their product; the sum is
        the whole difference).

    Examples
    --------
    >>> import numpy as np
    >>> import predictlearn as pl
    >>> o = pl.Overlaps(np.eye(4))
    >>> contributions(o, o.replace(mu=0.5), np.ones((4, 4)))["contribution"].tolist()
    [1.0]
    """
    rows = []
    for name in differing_names(first, second):
        i, j = first.index(name)
        change = second[name] - first[name]
        sensitivity = float(weights[i, j] * (1.0 if i == j else 2.0))
        rows.append((name, change, sensitivity, sensitivity * change))
    return pd.DataFrame(rows, columns=["overlap", "change", "sensitivity", "contribution"])


def velocity(s: np.ndarray, a: np.ndarray, columns: np.ndarray, decay: float) -> np.ndarray:
    """Return dS/dt = -(S (A + decay) R + its transpose), (.., D, D)."""
    moved = s @ ((a + decay * np.eye(len(columns))) * columns)
    return -(moved + np.swapaxes(moved, -1, -2))


def unbiased_weights(
    mean: np.ndarray, own: np.ndarray, batches: int, columns: np.ndarray
) -> np.ndarray:
    """Return A R A for the expected A, from the A of some batches.

    The mean over pairs of different batches: the square of a mean would add their variance.

    Parameters
    ----------
    mean, own : numpy.ndarray, (D, D)
        The mean of A, and the mean of A R A, over batches.
    batches : int
        How many.
    columns : numpy.ndarray, (D,)
        The diagonal of R.
    """
    whole = speed_weights(mean, columns)
    return whole if batches == 1 else (batches * whole - own) / (batches - 1)
