"""Where the climb of the network with process noise begins, and which start is kept."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from predictlearn.fitting.state_space_climb import climb
from predictlearn.fitting.state_space_em import start_parameters
from predictlearn.fitting.state_space_inputs import Design, whitened
from predictlearn.fitting.state_space_model import Activity, Parameters, Sums

__all__ = ["best_start"]

Array = npt.NDArray[np.float64]

# Steps after which starts are compared.
_SHORT = 10


def _condition_means(data: Activity, design: Design) -> tuple[Array, Array]:
    """Return the mean activity of every condition and bin, and what single trials add to it."""
    there = data.bins[:, :, None] if data.seen is None else data.seen
    shape = (len(design.used), *data.y.shape[1:])
    total, counts = np.zeros(shape), np.zeros((*shape[:2], there.shape[2]))
    np.add.at(total, design.condition, data.y)
    np.add.at(counts, design.condition, there)
    means = total / np.maximum(counts, 1.0)
    return means, (data.y - means[design.condition]) * there


def _guessed_inputs(
    data: Activity, design: Design, n_in: int, rank: int, a: float, rng: np.random.Generator | None
) -> Array:
    """Guess inputs from condition means.

    Shared fluctuations of single trials that last beyond a bin lie along u; the rest of the
    condition means is that of k_m. With rng, k_m is a random mixture of the condition means.
    """
    means, rest = _condition_means(data, design)
    n = means.shape[2]
    centred = (means - means.mean(axis=(0, 1))).reshape(-1, n)
    if rng is None:
        lagged = rest[:, 1:].reshape(-1, n).T @ rest[:, :-1].reshape(-1, n)
        u = np.linalg.eigh(lagged + lagged.T)[1][:, -rank:]
        centred = centred - (centred @ u) @ u.T
        left, size, _ = np.linalg.svd(centred, full_matrices=False)
        k_m = left[:, :n_in] * size[:n_in]
    else:
        left = np.linalg.svd(centred, full_matrices=False)[0]
        width = min(n_in + rank, left.shape[1])
        k_m = left[:, :width] @ np.linalg.qr(rng.normal(size=(width, n_in)))[0]
    k_m = k_m.reshape(*means.shape[:2], n_in)
    x = k_m / a
    x[:, 1:] -= (1 - a) / a * k_m[:, :-1]
    x *= (np.arange(design.time) < design.used[:, None])[:, :, None]
    return np.asarray(x / max(float(np.sqrt(np.mean(x**2))), 1e-300))


def _start(
    data: Activity, design: Design, n_in: int, rank: int, a: float, rng: np.random.Generator | None
) -> Parameters:
    """Return one start."""
    inputs = np.zeros((0, 0, 0))
    if design.inputs is None:
        inputs = _guessed_inputs(data, design, n_in, rank, a, rng)
    f = design.regressors(inputs, a)
    sums = Sums.of(data, f, np.ones(len(data.y)))
    mixed = rng if design.inputs is not None else None
    p = start_parameters(data, f, n_in, design.condition, rank, a, sums, mixed)
    return whitened(replace(p, inputs=inputs), design)


def best_start(
    data: Activity,
    design: Design,
    n_in: int,
    rank: int,
    leaks: list[float],
    n_starts: int,
    seed: int,
    tol: float,
) -> Parameters:
    """Return the start that is highest after a few steps.

    Parameters
    ----------
    data : Activity
        Activity.
    design : Design
        Inputs.
    n_in, rank : int
        Sizes.
    leaks : list of float
        Values of a to start from.
    n_starts : int
        Starts by value of a: one by principal components, the others at random.
    seed : int
        Of the random ones.
    tol : float
        As in `climb`.

    Returns
    -------
    `Parameters`
        Those to go on from.
    """
    rng = np.random.default_rng(seed)
    starts = [
        _start(data, design, n_in, rank, a, rng if number else None)
        for a in leaks
        for number in range(n_starts)
    ]
    if len(starts) == 1:
        return starts[0]
    weights = np.ones(len(data.y))
    points = [climb(p, data, design, weights, _SHORT, tol)[0] for p in starts]
    return max(points, key=lambda point: point.value).p
