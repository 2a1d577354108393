"""Whether activity has an offset that a fit without offsets leaves out."""

from __future__ import annotations

import warnings

import numpy as np
import numpy.typing as npt
from scipy.special import stdtrit

from predictlearn.arrays import Array
from predictlearn.errors import OffsetWarning
from predictlearn.fitting.session.pieces import pieces
from predictlearn.fitting.session.rollout import predicted
from predictlearn.fitting.session.search.levenberg_marquardt import Problem, Solution

__all__ = ["missing_offsets", "warn_of_offsets"]


# A neuron has an offset where t over trials is beyond this level; and the recording, where this
# share of neurons have one that holds this share of the mean square of activity.
_LEVEL, _NEURONS, _SHARE = 1e-4, 0.3, 0.01
# Trials from which t over trials says anything.
_TRIALS = 5


def missing_offsets(problem: Problem, solution: Solution) -> tuple[Array, Array]:
    """Estimate the offset of every neuron that a fit without offsets leaves out.

    Parameters
    ----------
    problem : Problem
        What was fitted; Gaussian, without offsets.
    solution : Solution
        The fit.

    Returns
    -------
    tuple of ndarray, shape (neurons,)
        What a constant beside the fitted k would add, and t over trials of its score.
    """
    data = problem.data
    rolled = problem.dynamics.activity(solution.theta)
    if rolled is None:
        return np.zeros(data.n_neurons), np.zeros(data.n_neurons)
    k = data.flatten(rolled)
    means = k.reshape(len(k), -1, len(data.rows)).mean(axis=1)  # over nodes
    ones = np.ones(means.shape[1])
    constant = ones - means.T @ np.linalg.lstsq(means.T, ones, rcond=1e-10)[0]
    score = np.zeros((data.n_trials, data.n_neurons))
    power = np.zeros(data.n_neurons)
    for some in pieces(data.n_neurons, len(ones)):
        phi = solution.at.phi[some]
        whole = predicted(data, k, phi) if data.saturating else None
        for trial in range(data.n_trials):
            rows = slice(data.trial_start[trial], data.trial_start[trial + 1])
            weight = constant[rows]
            seen = None if data.seen is None else data.seen[some, rows]
            now = None if whole is None else whole[:, rows]
            of_fit = _fitted(phi, means[:, rows], now, seen, weight)
            score[trial, some] = data.activity[some, rows] @ weight - of_fit
            power[some] += ((1.0 if seen is None else seen) * weight**2).sum(axis=-1)
    total = score.sum(axis=0)
    spread = score.std(axis=0, ddof=1) * np.sqrt(data.n_trials)
    t = total / np.maximum(spread, 1e-300 + 1e-12 * np.abs(total))
    return total / np.maximum(power, 1e-12 * len(ones)), t


def _fitted(
    phi: Array, k: Array, whole: Array | None, seen: npt.NDArray[np.bool_] | None, weight: Array
) -> Array:
    """Return the weighted sum over rows of what the fit predicts where activity was seen."""
    if seen is None and whole is None:
        return np.asarray(phi @ (k @ weight))
    now = phi @ k if whole is None else whole
    return np.asarray((now if seen is None else now * seen) @ weight)


def warn_of_offsets(problem: Problem, solution: Solution) -> None:
    """Warn where a fit without offsets leaves out what many neurons have.

    Parameters
    ----------
    problem : Problem
        What was fitted.
    solution : Solution
        The fit.

    Warns
    -----
    OffsetWarning
        At most once.
    """
    data = problem.data
    if data.offset or data.count is not None or data.n_trials < _TRIALS:
        return
    offset, t = missing_offsets(problem, solution)
    beyond = np.abs(t) > stdtrit(data.n_trials - 1, 1 - _LEVEL / 2)
    square = float((data.raw_squares / data.counts).sum())
    share = float((offset[beyond] ** 2).sum()) / max(square, 1e-300)
    if beyond.mean() >= _NEURONS and share > _SHARE:
        warnings.warn(
            f"the mean activity of {int(beyond.sum())} of {len(t)} neurons, beside what the inputs "
            "drive, is far from 0, and offset=False leaves that out. Recurrence stands in for it, "
            "so overlaps and their intervals may be wrong; set offset=True, or subtract the "
            "activity at rest",
            OffsetWarning,
            stacklevel=4,
        )
