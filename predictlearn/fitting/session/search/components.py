"""What stands for the recording in a first search: moments at all lags, components, a part."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from predictlearn.arrays import Array
from predictlearn.fitting.session.dynamics import Layout
from predictlearn.fitting.session.search.data import Data
from predictlearn.fitting.session.search.lag_moments import lag_moments, pulses
from predictlearn.fitting.session.search.levenberg_marquardt import Problem

__all__ = ["components", "part", "summed"]


# Above this number of neurons their covariance is not worth its cost; rounds of the alternative.
_MANY_NEURONS, _ROUNDS = 400, 5
# Bins from which these axes are taken, about.
_MANY_BINS = 4000
# A part that is enough to tell good starts from bad ones; counts say less.
_SOME_TRIALS, _SOME_NEURONS, _COUNT_TRIALS = 30, 60, 60


def summed(problem: Problem) -> Problem | None:
    """Return the same linear fit from `lag_moments`, None where they do not serve."""
    if problem.dynamics.per_bin > 1:
        return None
    lags = lag_moments(problem.data, problem.dynamics.inputs)
    if lags is None:
        return None
    data = replace(problem.data, lags=lags)
    return replace(problem, data=data, dynamics=pulses(problem.dynamics))


def _plain(data: Data) -> Data:
    """Return the data of a linear Gaussian fit; of counts the roots, whose noise is even."""
    if data.count is None:
        return replace(data, saturating=False, gain=False)
    roots = data.activity + 0.375
    np.sqrt(roots, out=roots)
    if data.seen is not None:
        roots *= data.seen
    return replace(data, activity=roots, saturating=False, gain=False, count=None)


def components(problem: Problem) -> Problem:
    """Return the linear fit to the leading principal components, which hold all the signal.

    What is missing is filled with the neuron's mean: good enough for a start.
    """
    layout = replace(problem.layout, erf=False)
    linear = replace(
        problem,
        data=_leading_components(problem.data, layout),
        dynamics=replace(problem.dynamics, layout=layout),
    )
    return summed(linear) or linear


def _leading_components(data: Data, layout: Layout) -> Data:
    """Replace the neurons by their leading principal components."""
    keep = layout.n_base + layout.rank + 3
    plain = _plain(data)
    if data.n_neurons <= keep:
        return plain
    y, mean = plain.activity, plain.sums / plain.counts
    if plain.seen is not None:
        y = np.where(plain.seen, y, mean[:, None])
    weight = 1 / np.sqrt(np.maximum(plain.total_squares() / plain.counts, 1e-300))
    shift = mean if data.offset else np.zeros_like(mean)
    vectors = _leading(y, weight, shift, keep)
    activity = y.T @ (vectors * weight[:, None])
    return replace(plain, activity=activity.T, seen=None)


def _leading(y: Array, weight: Array, shift: Array, keep: int) -> Array:
    """Return leading principal axes of weight (y - shift), (neurons, at most keep).

    By subspace iteration where the covariance of all neurons would cost more, and from some of the
    bins where there are many: the axes only say where a search begins.
    """
    n = len(y)
    y = y[:, :: max(1, y.shape[1] // _MANY_BINS)]
    if n <= _MANY_NEURONS:
        gram = y @ y.T - y.shape[1] * np.outer(shift, shift)
        values, vectors = np.linalg.eigh(gram * np.outer(weight, weight))
        return np.asarray(vectors[:, -keep:][:, values[-keep:] > 1e-10 * values[-1]])
    axes = np.random.default_rng(0).normal(size=(n, keep + 6))
    for _ in range(_ROUNDS):
        axes, _ = np.linalg.qr(axes)
        scaled = axes * weight[:, None]
        along = scaled.T @ y - (shift @ scaled)[:, None]
        axes = weight[:, None] * (y @ along.T - np.outer(shift, along.sum(axis=1)))
    return np.asarray(np.linalg.svd(axes, full_matrices=False)[0][:, :keep])


def part(
    activity: Array, counts: bool = False
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Choose trials and neurons, evenly spaced, on which to compare starts.

    Parameters
    ----------
    activity : ndarray, shape (trials, time, neurons)
        Activity.
    counts : bool
        Whether it is counts: then neurons are taken from the busier half, which fill their bins.

    Returns
    -------
    tuple of ndarray of int
        Trials and neurons.
    """
    n_trials, _, n_neurons = activity.shape
    some = _COUNT_TRIALS if counts else _SOME_TRIALS
    trials = np.unique(np.linspace(0, n_trials - 1, min(n_trials, some)).astype(np.intp))
    among = np.arange(n_neurons)
    if counts and n_neurons > _SOME_NEURONS:
        total = np.nansum(activity[trials], axis=(0, 1))
        among = np.argsort(-total, kind="stable")[: max(n_neurons // 2, _SOME_NEURONS)]
    chosen = np.linspace(0, len(among) - 1, min(len(among), _SOME_NEURONS)).astype(np.intp)
    return trials, np.unique(among[chosen])
