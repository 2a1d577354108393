"""Moments of activity and inputs at all lags, which are all that a linear network is fitted to.

The reduced activity of a linear network is a filter of its inputs, k(t) = sum_l h(l) x(t - l), zero
before the trial. So sums over bins of k k^T and of k y follow from those of x(t - l) x(t - m) and
of x(t - l) y(t), taken once, and from h, the answer to a pulse: a step of the search then costs a
rollout of one trial an input, and does not see the recording.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from predictlearn.arrays import Array
from predictlearn.fitting.session.dynamics import Dynamics
from predictlearn.fitting.session.search.data import Data, LagMoments

__all__ = ["lag_moments", "pulses"]


# With more inputs x bins than this a step with them would cost more than one over the recording.
_MOST = 500


def pulses(dynamics: Dynamics) -> Dynamics:
    """Return the same dynamics driven by one pulse in the first bin, one trial an input."""
    _, n_bins, n_in = dynamics.inputs.shape
    inputs = np.zeros((n_in, n_bins, n_in))
    inputs[:, 0] = np.eye(n_in)
    return replace(dynamics, inputs=inputs)


def lag_moments(data: Data, inputs: Array) -> LagMoments | None:
    """Sum over the recording.

    Parameters
    ----------
    data : Data
        Activity.
    inputs : ndarray, shape (trials, T, n_in)
        Inputs.

    Returns
    -------
    LagMoments or None
        None where they do not serve: neurons that differ in what they miss, bins missing before
        the end of a trial, activity that fades or is no linear regression, long trials.
    """
    n_trials, n_bins, n_in = inputs.shape
    bins = np.diff(data.trial_start)
    first = np.repeat(np.arange(n_trials) * n_bins - data.trial_start[:-1], bins)
    if data.seen is not None or data.fading or data.iterated or n_in * n_bins > _MOST:
        return None
    if not np.array_equal(data.rows, first + np.arange(len(data.rows))):
        return None
    activity = data.activity.T
    if len(data.rows) < n_trials * n_bins:
        activity = np.zeros((n_trials * n_bins, data.n_neurons))
        activity[data.rows] = data.activity.T
    by_bin = activity.reshape(n_trials, n_bins, data.n_neurons)
    by_lag = np.zeros((n_in, n_bins, data.n_neurons))
    backwards = np.ascontiguousarray(inputs[:, ::-1].transpose(2, 1, 0))
    for t in range(n_bins):
        by_lag[:, : t + 1] += backwards[:, n_bins - 1 - t :] @ by_bin[:, t]
    # from the last bin of each trial backwards, a sum over bins runs along diagonals
    ending = np.zeros((n_trials, n_bins, n_in))
    for trial, n in enumerate(bins):
        ending[trial, :n] = inputs[trial, :n][::-1]
    flat = ending.transpose(2, 1, 0).reshape(n_in * n_bins, n_trials)
    products = (flat @ flat.T).reshape(n_in, n_bins, n_in, n_bins)
    for lag in range(n_bins - 2, -1, -1):
        products[:, lag, :, :-1] += products[:, lag + 1, :, 1:]
    gram, target = (a.reshape(n_in * n_bins, -1) for a in (products, by_lag))
    if data.offset:
        total = np.cumsum(ending.sum(axis=0)[::-1], axis=0)[::-1].T.reshape(1, -1)
        gram = np.block([[np.full((1, 1), float(len(data.rows))), total], [total.T, gram]])
        target = np.concatenate([data.sums[None], target])
    return LagMoments(inputs, data.rows, gram, target)
