"""What a fit predicts: reduced activity for any inputs, and activity; trials as arrays."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.signal import lfilter
from scipy.special import erf
from sklearn.utils.validation import check_is_fitted

from predictlearn.arrays import Array
from predictlearn.checks import as_float_array
from predictlearn.errors import InputError
from predictlearn.fitting.session.dynamics import Dynamics
from predictlearn.fitting.session.search.data import Data
from predictlearn.fitting.session.validation import counts, known_gain
from predictlearn.recordings.validation import check_leading_axes

__all__ = [
    "fitted_dynamics",
    "paired_trials",
    "predicted",
    "predictor",
    "reduced_activity",
    "rolled_out",
]


def paired_trials(activity: Any, inputs: Any) -> tuple[Array, Array]:
    """Return activity and inputs as arrays, short trials filled up at their end.

    Parameters
    ----------
    activity : array_like, shape (trials, time, neurons), or list of (time, neurons)
        Activity; NaN where missing.
    inputs : array_like, shape (trials, time, n_in), or list of (time, n_in)
        Inputs of the same trials.

    Returns
    -------
    tuple of ndarray
        Activity (trials, time, neurons), NaN after the end of a short trial, and inputs (trials,
        time, n_in), 0 there. What comes after the end cannot change what came before.

    Raises
    ------
    InputError
        Shapes that do not fit together.

    Examples
    --------
    >>> y, x = paired_trials([np.ones((2, 4)), np.ones((3, 4))], [np.ones((2, 1)), np.ones((3, 1))])
    >>> y.shape, float(x.sum())
    ((2, 3, 4), 5.0)
    """
    if isinstance(activity, list | tuple) and isinstance(inputs, list | tuple):
        y, x = _filled("activity", activity, np.nan), _filled("inputs", inputs, 0.0)
        lengths = [[len(trial) for trial in trials] for trials in (activity, inputs)]
        if lengths[0] != lengths[1]:
            raise InputError(
                f"inputs must have the trials and bins of activity; got lengths {lengths[1][:5]} "
                f"and {lengths[0][:5]} (first five)"
            )
    else:
        y = as_float_array("activity", activity, ndim=3, finite=False)
        x = as_float_array("inputs", inputs, ndim=3)
    check_leading_axes("inputs", x, y, "n_in")
    return y, x


def _filled(name: str, trials: Any, blank: float) -> Array:
    """Stack trials of unequal length."""
    parts = [as_float_array(name, trial, ndim=2, finite=name == "inputs") for trial in trials]
    widths = {part.shape[1] for part in parts}
    if len(widths) != 1:
        raise InputError(
            f"{name} must have the same last axis in every trial; got {sorted(widths)}"
        )
    out = np.full((len(parts), max(len(part) for part in parts), widths.pop()), blank)
    for trial, part in enumerate(parts):
        out[trial, : len(part)] = part
    return out


def fitted_dynamics(fit: Any) -> tuple[Array, Array, Array]:
    """Return the S_vm, S_vu and S_bb that a fit's dynamics run on, canonical gauge.

    Parameters
    ----------
    fit : LowRankRNN
        Fitted.

    Returns
    -------
    tuple of ndarray
        For a linear network S_bb is that of the loadings; it does not act on the dynamics.
    """
    check_is_fitted(fit, "overlaps_")
    vm, vu, bb = fit._layout.unpack(fit._theta)
    return vm, vu, bb if fit._layout.erf else np.asarray(fit.bb_)


def reduced_activity(fit: Any, inputs: npt.ArrayLike) -> Array:
    """Return the reduced activity k of a fit for inputs; it needs no neuron.

    Parameters
    ----------
    fit : LowRankRNN
        Fitted.
    inputs : array_like, shape (trials, time, n_in)
        Inputs.

    Returns
    -------
    ndarray, shape (trials, time, n_in + rank)
        k_m, then k_u in the canonical gauge.

    Raises
    ------
    InputError
        Inputs that do not fit, or that drive the network to infinity.

    Examples
    --------
    >>> from predictlearn.fitting import LowRankRNN
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(10, 20, 1)).cumsum(axis=1)
    >>> y = x * rng.normal(size=6) + rng.normal(size=(10, 20, 6))
    >>> fit = LowRankRNN(dt=0.05, tau=0.06, n_bootstrap=0).fit(y, x)
    >>> k = reduced_activity(fit, x)
    >>> np.allclose(k @ np.hstack([fit.m_, fit.u_]).T, fit.predict(x))
    True
    """
    check_is_fitted(fit, "overlaps_")
    return np.ascontiguousarray(
        np.moveaxis(rolled_out(fit, as_float_array("inputs", inputs, ndim=3)), 0, 2)
    )


def rolled_out(fit: Any, x: Array, nodes: int = 1) -> Array:
    """Return the same with k on the first axis, from inputs that are an array.

    Parameters
    ----------
    fit : LowRankRNN
        Fitted.
    x : ndarray, shape (trials, time, n_in)
        Inputs.
    nodes : int
        1 or 2 points a bin.

    Returns
    -------
    ndarray, shape (n_in + rank, trials, time * nodes)
        k of every bin, as a mean over it or at its nodes.

    Raises
    ------
    InputError
        Inputs that do not fit, or that drive the network to infinity.
    """
    per_bin = fit.per_bin_
    if x.shape[2] != fit.n_in_ or x.shape[1] % per_bin:
        time = "time" if per_bin == 1 else f"{per_bin} time"
        raise InputError(
            f"inputs must have shape (trials, {time}, {fit.n_in_}), as in fit; got {x.shape}"
        )
    dynamics = Dynamics(
        np.ascontiguousarray(x),
        float(fit.dt),
        fit._layout,
        fit.tau_,
        fit.latency_,
        fit.bin_ == "mean",
        per_bin,
        nodes,
    )
    k = dynamics.activity(fit._theta)
    if k is None:
        raise InputError("inputs drive the fitted network to infinity; are their units right?")
    return k


def predictor(fit: Any, x: Array) -> Callable[[slice], Array]:
    """Return what predicts the activity of some neurons, since that of all takes much memory.

    Parameters
    ----------
    fit : LowRankRNN
        Fitted.
    x : ndarray, shape (trials, time, n_in)
        Inputs.

    Returns
    -------
    callable
        From a slice of the neurons that were not set aside to their expected activity, (neurons,
        trials x time), in units of the training activity.

    Raises
    ------
    InputError
        Inputs that do not fit, or that drive the network to infinity.
    """
    nodes = fit._data.nodes
    k = rolled_out(fit, x, nodes)
    n_bins = k.shape[2] // nodes
    data = replace(
        fit._data,
        rows=np.arange(len(x) * n_bins),
        trial_start=np.arange(len(x) + 1) * n_bins,
    )
    flat = data.flatten(k)
    unit = 1.0 if counts(fit) else known_gain(fit)

    def of_neurons(some: slice) -> Array:
        out = predicted(data, flat, fit._phi[some])
        out *= unit
        return out

    return of_neurons


def predicted(data: Data, k: Array, phi: Array) -> Array:
    """Return predicted activity, shape (neurons, rows).

    Parameters
    ----------
    data : Data
        Tells which coefficients there are.
    k : ndarray, shape (n_base, rows), or (n_base, nodes * rows)
        Reduced activity.
    phi : ndarray, shape (neurons, p)
        Coefficients.

    Returns
    -------
    ndarray, shape (neurons, rows)
        Offset + gain phi(h), or the counts expected; means over nodes.
    """
    h = phi[:, data.n_lead :] @ k
    if data.saturating:
        h = erf(0.5 * np.sqrt(np.pi) * h)
        if data.count is None:
            h = _over_nodes(data, h)
        if data.fading:
            for start, end in zip(data.trial_start[:-1], data.trial_start[1:], strict=True):
                h[:, start:end] = lfilter([1.0], [1.0, -data.fading], h[:, start:end], axis=1)
    if data.gain:
        h = phi[:, int(data.offset), None] * h
    if data.count is not None:
        scaled = (1.0 if data.gain else data.count.gain) * h
        return _over_nodes(data, data.count.mean(phi[:, :1] + scaled))
    return np.asarray(phi[:, :1] + h if data.offset else h)


def _over_nodes(data: Data, rates: Array) -> Array:
    """Average (neurons, nodes * rows) over nodes."""
    if rates.shape[1] == len(data.rows):
        return rates
    return np.asarray(rates.reshape(len(rates), -1, len(data.rows)).mean(axis=1))
