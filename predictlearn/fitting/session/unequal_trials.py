"""Trials of unequal length as arrays, and neurons that say nothing set aside."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from predictlearn.arrays import Array
from predictlearn.checks import as_float_array
from predictlearn.errors import InputError
from predictlearn.recordings.validation import Extent

__all__ = ["lengths", "padded", "quiet_neurons", "spread_out", "trimmed"]


def lengths(trials: Any) -> list[int] | None:
    """Return the number of bins of each trial of a list of arrays; None where there is no list."""
    if not isinstance(trials, list | tuple) or not trials:
        return None
    if not all(isinstance(trial, np.ndarray) and trial.ndim == 2 for trial in trials):
        return None
    return [len(trial) for trial in trials]


def padded(name: str, trials: Any, like: list[int] | None = None) -> Any:
    """Stack a list of trials, short ones filled up at their end; anything else is returned as is.

    Parameters
    ----------
    name : str
        Argument name. Inputs go on with their last value, which must be finite and changes nothing
        before; all else is NaN after the end.
    trials : list of ndarray, shape (time, columns)
        Trials.
    like : list of int, optional
        The lengths that they must have.

    Returns
    -------
    ndarray, shape (trials, longest time, columns)
        The trials.

    Raises
    ------
    InputError
        Trials of other lengths, or of differing widths.

    Examples
    --------
    >>> padded("inputs", [np.ones((2, 1)), np.zeros((3, 1))])[:, :, 0].tolist()
    [[1.0, 1.0, 1.0], [0.0, 0.0, 0.0]]
    """
    bins = lengths(trials)
    if bins is None:
        return trials
    if like is not None and bins != like:
        raise InputError(
            f"{name} must have the trials and bins of activity; got {len(bins)} trials of "
            f"{bins[:5]} bins (the first five), and activity has {len(like)} of {like[:5]}"
        )
    if min(bins) == 0:
        raise InputError(f"{name}: trial {bins.index(0)} has no bins; drop it everywhere")
    widths = {trial.shape[1] for trial in trials}
    if len(widths) != 1:
        raise InputError(f"{name} must have as many columns in every trial; got {sorted(widths)}")
    out = np.full((len(trials), max(bins), widths.pop()), np.nan)
    for row, trial in zip(out, trials, strict=True):
        row[: len(trial)] = as_float_array(name, trial, finite=name == "inputs")
        if name == "inputs":
            row[len(trial) :] = row[len(trial) - 1]
    return out


def trimmed(values: Array, bins: list[int] | None) -> Any:
    """Undo `padded`."""
    return values if bins is None else [v[:n].copy() for v, n in zip(values, bins, strict=True)]


def quiet_neurons(
    activity: Array, fewest_spikes: int | None, known: Extent
) -> npt.NDArray[np.bool_]:
    """Tell which neurons never change, or (counts) have too few spikes for their coefficients.

    Parameters
    ----------
    activity : ndarray, shape (trials, time, neurons)
        Activity, NaN where missing.
    fewest_spikes : int or None
        Spikes that a neuron needs; None where activity is not counts.
    known : Extent
        Of the activity.

    Returns
    -------
    ndarray of bool, shape (neurons,)
        Neurons to set aside; those without any value are not among them.
    """
    quiet = known.low == known.high
    if fewest_spikes is not None:
        total = np.zeros(activity.shape[2])
        for plane in activity:
            total += np.nansum(plane, axis=0)
        quiet |= (total < fewest_spikes) & (known.seen > 0)
    return np.asarray(quiet)


def spread_out(values: Array, kept: npt.NDArray[np.bool_]) -> Array:
    """Put the values of the neurons kept (first axis) in their places, NaN elsewhere."""
    if kept.all():
        return values
    out = np.full((len(kept), *values.shape[1:]), np.nan)
    out[kept] = values
    return out
