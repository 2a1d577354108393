"""Checks of the settings and data of a fit, at the door."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import numpy.typing as npt

from predictlearn.arrays import Array
from predictlearn.checks import (
    MOST_REPLICATES,
    as_float_array,
    non_negative,
    positive,
    positive_int,
)
from predictlearn.errors import InputError, SilentNeuronsWarning, choice
from predictlearn.fitting.session.pieces import pieces
from predictlearn.fitting.session.unequal_trials import lengths, padded, quiet_neurons
from predictlearn.recordings.validation import Extent, check_activity, check_leading_axes, extent

__all__ = [
    "check_counts",
    "check_data",
    "check_outputs",
    "check_settings",
    "counts",
    "fits_gain",
    "kept_neurons",
    "known_gain",
]


# Bins wider than so many time constants are refused.
_WIDEST = 5.0


def known_gain(model: Any) -> float:
    """Return the known gain common to all neurons, 1 where it is fitted or absent."""
    return 1.0 if isinstance(model.gain, bool | np.bool_) else float(model.gain)


def fits_gain(model: Any) -> bool:
    """Tell whether every neuron has a gain of its own, to be fitted."""
    return isinstance(model.gain, bool | np.bool_) and bool(model.gain)


def counts(model: Any) -> bool:
    """Tell whether activity is spike counts."""
    return bool(model.noise != "gaussian")


def _saturating(model: Any) -> bool:
    """Tell whether activity is phi(h) with phi the erf."""
    return bool(model.nonlinearity == "erf" and model.observed == "rate")


def check_settings(model: Any) -> None:
    """Check the settings of a model.

    Parameters
    ----------
    model : LowRankRNN
        The model.

    Raises
    ------
    InputError
        A setting that cannot be used.
    """
    positive_int("rank", model.rank)
    choice("nonlinearity", model.nonlinearity, ("linear", "erf"))
    choice("observed", model.observed, ("rate", "current"))
    choice("neurons", model.neurons, ("sample", "all"))
    _check_observation(model)
    choice("bin", model.bin, ("auto", "mean", "euler"))
    positive("dt", model.dt)
    if isinstance(model.tau, str):
        choice("tau", model.tau, ("fit",))
    elif positive("tau", model.tau) <= model.dt / 2 and model.bin == "euler":
        raise InputError(
            f"tau must exceed half a bin for bin='euler'; got tau {model.tau}, dt {model.dt}"
        )
    elif model.tau < model.dt / _WIDEST:
        raise InputError(
            f"dt must be at most {_WIDEST:g} tau, since nothing of the dynamics is left in wider "
            f"bins; got dt {model.dt}, tau {model.tau} (both in seconds). Use narrower bins"
        )
    if isinstance(model.latency, str):
        choice("latency", model.latency, ("fit",))
    else:
        non_negative("latency", model.latency)
    if isinstance(model.ridge, str):
        choice("ridge", model.ridge, ("auto",))
    else:
        non_negative("ridge", model.ridge)
    if fits_gain(model) and not _saturating(model):
        raise InputError(
            "gain=True needs nonlinearity='erf' and observed='rate': without saturation a "
            "gain and a loading cannot be told apart; give the gain as a number"
        )
    if not isinstance(model.gain, bool | np.bool_):
        positive("gain", model.gain)
    positive_int("n_starts", model.n_starts, maximum=10_000)
    positive_int("max_iter", model.max_iter, maximum=10_000_000)
    positive("tol", model.tol)
    positive_int("n_bootstrap", model.n_bootstrap, minimum=0, maximum=MOST_REPLICATES)
    positive_int("n_jobs", model.n_jobs, maximum=10_000)


def _check_observation(model: Any) -> None:
    """Check noise, link and decay."""
    choice("noise", model.noise, ("gaussian", "poisson", "negative-binomial"))
    choice("link", model.link, ("exp", "softplus"))
    if model.decay is None:
        return
    positive("decay", model.decay)
    if counts(model):
        raise InputError(
            f"decay is for fluorescence, whose noise is 'gaussian'; got noise={model.noise!r}. "
            "Leave decay=None for spike counts"
        )


def check_counts(y: Array) -> None:
    """Refuse what cannot be spike counts.

    Parameters
    ----------
    y : ndarray
        Activity, NaN where missing.

    Raises
    ------
    InputError
        Negative or fractional values.
    """
    for plane in y:
        seen = plane[~np.isnan(plane)]
        wrong = (seen < 0) | (seen != np.floor(seen))
        if wrong.any():
            raise InputError(
                "activity must be spike counts (whole numbers, 0 or more) for noise='poisson' or "
                f"'negative-binomial'; got {seen[wrong][0]:g}. Give counts per bin, not rates or "
                "smoothed counts, or use noise='gaussian'"
            )


def check_data(
    model: Any, activity: Any, inputs: Any
) -> tuple[Array, Array, npt.NDArray[np.bool_]]:
    """Check settings, activity and inputs, and set aside neurons that say nothing.

    Parameters
    ----------
    model : LowRankRNN
        The model.
    activity : array_like, shape (trials, time, neurons)
        Activity.
    inputs : array_like, shape (trials, time, n_in)
        Inputs.

    Returns
    -------
    tuple of ndarray
        Activity of the neurons kept and inputs as float arrays; which neurons were kept.

    Raises
    ------
    InputError
        Settings or data that cannot be used.
    """
    check_settings(model)
    bins = lengths(activity)
    like, fine = bins, lengths(inputs)
    if bins and fine and fine[0] > bins[0] and [n * (fine[0] // bins[0]) for n in bins] == fine:
        like = fine
    activity, inputs = padded("activity", activity), padded("inputs", inputs, like)
    y = as_float_array("activity", activity, ndim=3, finite=False, axes="(trials, time, neurons)")
    x = as_float_array("inputs", inputs, ndim=3, axes="(trials, time, n_in)")
    per_bin = _steps_in_a_bin(x, y, model.bin)
    check_leading_axes("inputs", x[:, ::per_bin], y, "n_in")
    if x.shape[2] == 0:
        raise InputError(
            "inputs must have at least one column, since LowRankRNN fits what inputs drive; got "
            f"{x.shape}. Without known inputs use StochasticLowRankRNN."
        )
    needed = x.shape[2] + model.rank + int(model.offset or counts(model)) + int(fits_gain(model))
    known = extent(y)
    kept = kept_neurons(y, needed + 1 if counts(model) else None, known)
    if not kept.all():
        y, known = y[:, :, kept], known.of(kept)
    check_activity(y, known)
    if model.rank > y.shape[2]:
        raise InputError(
            f"rank must be at most the number of neurons ({y.shape[2]}); got {model.rank}"
        )
    if not isinstance(model.latency, str) and model.latency > (y.shape[1] - 2) * model.dt:
        raise InputError(
            f"latency must be well below the length of a trial ({y.shape[1] * model.dt:g} s); got "
            f"{model.latency} s"
        )
    flat = x.reshape(-1, x.shape[2])
    silent = np.flatnonzero(np.abs(flat).max(axis=0) == 0)
    if silent.size:
        raise InputError(f"inputs: columns {silent.tolist()} are zero throughout; drop them")
    if np.all(flat == flat[0]):
        raise InputError(
            "inputs are constant over all trials and bins, which cannot tell the dynamics; "
            "give inputs that change (a constant go input may stand beside them)"
        )
    fewest = int(known.seen.min())
    if fewest <= needed:
        raise InputError(
            f"activity: some neuron has {fewest} bins, and {needed} coefficients each need "
            "more; record longer, lower the rank, or drop neurons"
        )
    if counts(model):
        check_counts(y)
        return y, x, kept
    free = model.decay is not None or not _saturating(model) or fits_gain(model)
    spread = 0.0 if free else _median_spread(y, known_gain(model))
    if spread > 3:
        raise InputError(
            "activity must be rates phi(h) within -1..1 (up to noise, gain and offset); got a "
            f"median sd of {spread:.3g}; give gain= (such as spikes per bin at "
            "phi = 1), or gain=True and offset=True"
        )
    return y, x, kept


def _median_spread(y: Array, gain: float) -> float:
    """Return the median over neurons of the standard deviation of activity over the gain."""
    some = pieces(y.shape[2], y.shape[0] * y.shape[1])
    spread = [np.nanstd(y[:, :, cut] / gain, axis=(0, 1)) for cut in some]
    return float(np.median(np.concatenate(spread)))


def _steps_in_a_bin(x: Array, y: Array, bin: str) -> int:
    """Return how many steps of the inputs a bin has; 1 where the shapes do not say so."""
    if len(x) != len(y) or x.shape[1] <= y.shape[1] or x.shape[1] % y.shape[1]:
        return 1
    per_bin = x.shape[1] // y.shape[1]
    if bin == "euler":
        raise InputError(
            f"inputs at {per_bin} steps a bin (got {x.shape}, activity {y.shape}) need bin='mean' "
            "or 'auto'; bin='euler' makes one step a bin"
        )
    return per_bin


def kept_neurons(
    y: Array, fewest_spikes: int | None, known: Extent, stacklevel: int = 4
) -> npt.NDArray[np.bool_]:
    """Return which neurons to keep, and warn of the others."""
    quiet = quiet_neurons(y, fewest_spikes, known)
    if quiet.any():
        which = np.flatnonzero(quiet)
        why = "never change"
        if fewest_spikes is not None:
            why = f"never change or have fewer than {fewest_spikes} spikes"
        warnings.warn(
            f"{len(which)} of {len(quiet)} neurons {why} and were set aside (silent_; "
            f"{which.tolist()[:10]}{' ...' if len(which) > 10 else ''}). Overlaps are those of the "
            "neurons that are left, which is no random sample of all",
            SilentNeuronsWarning,
            stacklevel=stacklevel,
        )
    return ~quiet


def check_outputs(
    outputs: Any,
    readout: Any,
    n_neurons: int,
    y: Array,
    bins: list[int] | None = None,
) -> tuple[Array | None, Array | None]:
    """Check outputs and readout.

    Parameters
    ----------
    outputs : array_like, shape (trials, time, n_out), or None
        Outputs.
    readout : array_like, shape (neurons, n_out), or None
        Readout.
    n_neurons : int
        Neurons, those set aside among them.
    y : ndarray, shape (trials, time, neurons)
        Activity.
    bins : list of int, optional
        Lengths of the trials, where they came as a list.

    Returns
    -------
    tuple of ndarray or None
        Readout and outputs as float arrays.

    Raises
    ------
    InputError
        Shapes that do not fit.
    """
    z = out = None
    if readout is not None:
        z = as_float_array("readout", readout, ndim=2, axes="(neurons, n_out)")
        if z.shape[0] != n_neurons:
            raise InputError(
                f"readout must have shape (neurons, n_out) with {n_neurons} neurons; got {z.shape}"
            )
    if outputs is not None:
        outputs = padded("outputs", outputs, bins)
        out = as_float_array("outputs", outputs, ndim=3, finite=False)
        check_leading_axes("outputs", out, y, "n_out")
        if np.isinf(out).any():
            raise InputError("outputs must be finite, or NaN where missing; some are infinite")
        empty = [int(o) for o in np.flatnonzero(np.isnan(out).all(axis=(0, 1)))]
        if empty:
            raise InputError(f"outputs must hold values; column(s) {empty} are NaN throughout")
        if z is not None and z.shape[1] != out.shape[2]:
            raise InputError(
                f"outputs and readout must have as many outputs; got {out.shape[2]} "
                f"and {z.shape[1]}"
            )
    return z, out
