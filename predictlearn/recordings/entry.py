"""Checks of activity and of what goes with it, at the door."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from predictlearn.errors import InputError

__all__ = ["check_activity", "check_leading_axes", "three_axes"]


def check_activity(activity: npt.NDArray[np.float64]) -> None:
    """Refuse activity that no model can be fitted to.

    Parameters
    ----------
    activity : ndarray, shape (trials, time, neurons)
        Recorded activity, NaN where missing.

    Raises
    ------
    InputError
        One trial, one neuron, one bin, infinite values, a neuron that is all NaN or never changes.
    """
    n_trials, n_bins, n_neurons = activity.shape
    for count, what in ((n_trials, "trial"), (n_bins, "time bin"), (n_neurons, "neuron")):
        if count < 2:
            raise InputError(
                f"activity needs at least two {what}s; got shape {activity.shape}, read as "
                f"(trials, time, neurons)"
            )
    # two passes where nothing is missing: a large recording is slow to look at
    low, high = activity.min(axis=(0, 1)), activity.max(axis=(0, 1))
    if not (np.isfinite(low).all() and np.isfinite(high).all()):
        if np.isinf(activity).any():
            raise InputError("activity must be finite, or NaN where a bin is missing; got infinity")
        seen = ~np.isnan(activity)
        empty = np.flatnonzero(~seen.any(axis=(0, 1)))
        if empty.size:
            raise InputError(
                f"activity: neurons {empty.tolist()[:10]} have no value at all (all NaN); drop "
                f"them, e.g. activity[:, :, ~np.isnan(activity).all(axis=(0, 1))]"
            )
        low = np.where(seen, activity, np.inf).min(axis=(0, 1))
        high = np.where(seen, activity, -np.inf).max(axis=(0, 1))
    constant = np.flatnonzero(high == low)
    if constant.size:
        raise InputError(
            f"activity: neurons {constant.tolist()[:10]} never change; drop silent or constant "
            f"neurons, e.g. activity[:, :, np.nanstd(activity, axis=(0, 1)) > 0]"
        )


def check_leading_axes(
    name: str,
    values: npt.NDArray[np.float64],
    activity: npt.NDArray[np.float64],
    last: str,
) -> None:
    """Refuse inputs or outputs whose trials and bins are not those of the activity.

    Parameters
    ----------
    name : str
        Argument name, for the message.
    values : ndarray
        The argument.
    activity : ndarray, shape (trials, time, neurons)
        Recorded activity.
    last : str
        Name of the last axis, for the message.

    Raises
    ------
    InputError
        The first two axes differ; says which axes look swapped.
    """
    if values.shape[:2] == activity.shape[:2]:
        return
    message = (
        f"{name} must have shape (trials, time, {last}) with the trials and time of activity "
        f"(trials, time, neurons) = {activity.shape}; got {values.shape}"
    )
    pair = values.shape[:2]
    if pair == activity.shape[1::-1]:
        message += f"; trials and time look swapped: {name}.transpose(1, 0, 2)?"
    elif pair == (activity.shape[0], activity.shape[2]):
        message += "; activity looks like (trials, neurons, time): activity.transpose(0, 2, 1)?"
    elif pair == (activity.shape[2], activity.shape[1]):
        message += "; activity looks like (neurons, time, trials): activity.transpose(2, 1, 0)?"
    elif values.shape[::2] == activity.shape[:2]:
        message += f"; {name} looks like (trials, {last}, time): {name}.transpose(0, 2, 1)?"
    raise InputError(message)


def three_axes(name: str, values: Any, axes: str, least: int = 1) -> npt.NDArray[np.float64]:
    """Convert to a three-axis float array, or say which axes were expected."""
    try:
        array = np.array(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name} must be numbers of shape {axes}; {error}") from error
    if array.ndim != 3:
        raise InputError(f"{name} must have shape {axes}; got {array.ndim} axes {array.shape}")
    if array.shape[2] < least:
        raise InputError(
            f"{name} must have shape {axes}, the last at least {least}; got {array.shape}"
        )
    return array
