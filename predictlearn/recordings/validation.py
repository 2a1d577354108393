"""Checks of activity and of what goes with it, at the door."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from predictlearn.compiled import compiled
from predictlearn.doors import LARGEST
from predictlearn.errors import InputError

__all__ = [
    "Extent",
    "check_activity",
    "check_counts",
    "check_leading_axes",
    "extent",
    "three_axes",
]


class Extent(NamedTuple):
    """Least and largest value of each neuron, and the bins in which it was seen."""

    low: npt.NDArray[np.float64]
    high: npt.NDArray[np.float64]
    seen: npt.NDArray[np.intp]

    def of(self, neurons: npt.NDArray[np.bool_]) -> Extent:
        """Return those of some neurons."""
        return Extent(self.low[neurons], self.high[neurons], self.seen[neurons])


def extent(activity: npt.NDArray[np.float64]) -> Extent:
    """Look at activity once.

    Parameters
    ----------
    activity : ndarray, shape (trials, time, neurons)
        Recorded activity, NaN where missing.

    Returns
    -------
    Extent
        Of the values that are not NaN; inf and -inf where there are none.

    Examples
    --------
    >>> extent(np.array([[[1.0], [np.nan]], [[3.0], [2.0]]])).seen.tolist()
    [3]
    """
    n = activity.shape[2]
    out = Extent(np.full(n, np.inf), np.full(n, -np.inf), np.zeros(n, np.intp))
    _look(np.ascontiguousarray(activity).reshape(-1, n), *out)
    return out


@compiled(nogil=True)
def _look(flat, low, high, seen):  # type: ignore[no-untyped-def]
    """Fill in what `extent` returns, in one pass: a large recording is slow to read."""
    for r in range(flat.shape[0]):
        for i in range(flat.shape[1]):
            value = flat[r, i]
            low[i] = value if value < low[i] else low[i]
            high[i] = value if value > high[i] else high[i]
            seen[i] += value == value


def check_activity(activity: npt.NDArray[np.float64], known: Extent | None = None) -> None:
    """Refuse activity that no model can be fitted to.

    Parameters
    ----------
    activity : ndarray, shape (trials, time, neurons)
        Recorded activity, NaN where missing.
    known : Extent, optional
        Its extent, where it is known already.

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
    low, high, seen = extent(activity) if known is None else known
    if np.isinf(low[seen > 0]).any() or np.isinf(high[seen > 0]).any():
        raise InputError("activity must be finite, or NaN where a bin is missing; got infinity")
    largest = max(-float(low.min()), float(high.max()))
    if LARGEST < largest < np.inf:
        raise InputError(f"activity must be at most {LARGEST:g} in size; got {largest:g}")
    empty = np.flatnonzero(seen == 0)
    if empty.size:
        raise InputError(
            f"activity: neurons {empty.tolist()[:10]} have no value at all (all NaN); drop "
            f"them, e.g. activity[:, :, ~np.isnan(activity).all(axis=(0, 1))]"
        )
    constant = np.flatnonzero(high == low)
    if constant.size:
        raise InputError(
            f"activity: neurons {constant.tolist()[:10]} never change; drop silent or constant "
            f"neurons, e.g. activity[:, :, np.nanstd(activity, axis=(0, 1)) > 0]"
        )


def check_counts(activity: npt.NDArray[np.float64]) -> None:
    """Refuse what cannot be a number of spikes.

    Parameters
    ----------
    activity : ndarray, shape (trials, time, neurons)
        Counts, NaN where missing.

    Raises
    ------
    InputError
        Negative or fractional values.
    """
    checks = (("negative", _negative), ("not whole", _broken))
    for what, is_wrong in checks:
        total, first = 0, None
        for trial in activity:
            wrong = trial[is_wrong(trial)]
            total += wrong.size
            first = float(wrong[0]) if first is None and wrong.size else first
        if first is not None:
            n = int(np.count_nonzero(~np.isnan(activity)))
            raise InputError(
                f"counts must be whole numbers of at least 0; {total} of {n} "
                f"values are {what}, {first:g} for example. Rates, smoothed or "
                "deconvolved activity are read with observed='rate'."
            )


def _negative(values: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """Say which values are below 0; NaN is not."""
    return np.asarray(values < 0)


def _broken(values: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """Say which values are not whole; NaN is not among them."""
    return np.asarray(np.abs(values - np.rint(values)) > 1e-6)


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
        raw = np.asarray(values)
        if raw.dtype.kind not in "biufO":
            raise TypeError(f"got {raw.dtype}")
        array = np.array(raw, dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(f"{name} must be numbers of shape {axes}; {error}") from error
    if array.ndim != 3:
        raise InputError(f"{name} must have shape {axes}; got {array.ndim} axes {array.shape}")
    if array.shape[2] < least:
        raise InputError(
            f"{name} must have shape {axes}, the last at least {least}; got {array.shape}"
        )
    return array
