"""Units of time, and questions about bins and rates that no brain has."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from predictlearn.checks import positive
from predictlearn.errors import InputError, choice

__all__ = ["TIME_UNITS", "ask_activity", "ask_bin", "ask_clocks", "ask_counts", "seconds_in"]

TIME_UNITS: Mapping[str, float] = {"s": 1.0, "ms": 1e-3, "us": 1e-6}
# Spikes/s: no neuron keeps up more; a population in which none fires as often is not one.
_FASTEST, _SLOWEST = 1000.0, 0.05
# Seconds: the shortest bin, those that are too long for spikes and for anything, and for a trial.
_SHORTEST, _LIMIT_OF_COUNTS, _LIMIT, _LONGEST_TRIAL = 1e-4, 1.0, 4.0, 300.0


def seconds_in(name: str, unit: str | float | None) -> float:
    """Return how many seconds a unit of time has.

    Parameters
    ----------
    name : str
        Name of the argument, for the message.
    unit : str, float or None
        "s", "ms", "us", or a number of seconds (1/30000 for samples at 30 kHz); None for seconds.

    Returns
    -------
    float
        Seconds.

    Raises
    ------
    InputError
        Another unit.

    Examples
    --------
    >>> seconds_in("unit", "ms")
    0.001
    """
    if unit is None:
        return 1.0
    if isinstance(unit, str):
        return TIME_UNITS[choice(name, unit, TIME_UNITS)]
    return positive(name, unit)


def ask_activity(activity: npt.NDArray[np.float64], dt: float, observed: str, how: str) -> None:
    """Ask about a bin, and about counts, that no recording of a brain has.

    Parameters
    ----------
    activity : ndarray, shape (trials, time, neurons)
        Activity, NaN where missing; no neuron without a value.
    dt : float
        Width of a bin, seconds.
    observed : str
        What a value is; whole numbers are taken for counts as far as the bin goes.
    how : str
        How to say that it is right, or in another unit.

    Raises
    ------
    InputError
        A bin or rates out of range.
    """
    whole = all(bool((np.isnan(trial) | (trial == np.rint(trial))).all()) for trial in activity)
    ask_bin(dt, activity.shape[1], observed == "counts" or whole, how)
    if observed == "counts":
        ask_counts(activity, dt, how)


def ask_bin(dt: float, n_bins: int, counts: bool, how: str) -> None:
    """Ask whether a bin is in seconds where it is longer or shorter than any that is used.

    Parameters
    ----------
    dt : float
        Width of a bin, seconds.
    n_bins : int
        Bins of a trial.
    counts : bool
        Whether spikes are counted in it.
    how : str
        How to say that it is right, or in another unit.

    Raises
    ------
    InputError
        It is out of range.
    """
    limit = _LIMIT_OF_COUNTS if counts else _LIMIT
    endless = dt >= 0.5 and dt * n_bins > _LONGEST_TRIAL
    if _SHORTEST <= dt < limit and not endless:
        return
    likely = f" {dt:g} ms are {dt / 1000:g} s." if dt >= 0.5 else ""
    trial = f" ({dt * n_bins:g} s a trial)" if endless else ""
    raise InputError(
        f"a bin of {dt:g} s{trial} is {'longer' if likely else 'shorter'} than time constants of "
        "neurons can be fitted in; bins are in seconds."
        f"{likely} {how}"
    )


def ask_counts(activity: npt.NDArray[np.float64], dt: float, how: str) -> None:
    """Ask about counts that no neurons fire.

    Parameters
    ----------
    activity : ndarray, shape (trials, time, neurons)
        Spike counts, NaN where missing; no neuron without a value.
    dt : float
        Width of a bin, seconds.
    how : str
        How to say that it is right, or in another unit.

    Raises
    ------
    InputError
        Half of the neurons fire faster than 1000 spikes/s, or none of at least three 0.05.
    """
    total = sum(np.nansum(trial, axis=0) for trial in activity)
    seen = sum(np.count_nonzero(~np.isnan(trial), axis=0) for trial in activity)
    rates = total / seen / dt
    middle, fastest = float(np.median(rates)), float(rates.max())
    few = len(rates) >= 3 and fastest < _SLOWEST
    if middle <= _FASTEST and not few:
        return
    said = (
        f"half of the neurons fire at more than {middle:.4g} spikes/s"
        if middle > _FASTEST
        else f"no neuron fires faster than {fastest:.2g} spikes/s"
    )
    raise InputError(
        f"{said} in bins of {dt:g} s, which no brain does: are times in another unit, or are "
        f"these no counts? {how}"
    )


def ask_clocks(
    first: float, last: float, rate: float, starts: npt.ArrayLike, stops: npt.ArrayLike
) -> None:
    """Ask about spikes and trials that cannot be on one clock in seconds.

    Parameters
    ----------
    first, last : float
        First and last spike.
    rate : float
        Spikes a neuron and unit of time, between them.
    starts, stops : array_like, shape (trials,)
        Edges of the trials.

    Raises
    ------
    InputError
        One spans hundreds of times the other, or both are a thousand times too slow.
    """
    begin, end = np.asarray(starts, dtype=float), np.asarray(stops, dtype=float)
    spikes, trials = last - first, float(np.nanmax(end) - np.nanmin(begin))
    said = (
        f"spikes run from {first:g} to {last:g} s ({rate:.2g} spikes/s a unit) and trials from "
        f"{np.nanmin(begin):g} to {np.nanmax(end):g} s"
    )
    if trials > 0 and spikes > 100 * trials and rate < 0.2:
        raise InputError(
            f"{said}: spike times are not in seconds. Give their unit, unit='ms' for example, or "
            "unit='s' if this is right."
        )
    if spikes > 0 and trials > 100 * spikes:
        raise InputError(
            f"{said}: times of trials are not in seconds. Give their unit, trial_unit='ms' for "
            "example, or trial_unit='s' if this is right."
        )
    if rate < _SLOWEST and float(np.nanmedian(end - begin)) > 60:
        raise InputError(
            f"{said}, and a trial lasts {float(np.nanmedian(end - begin)):g} s: times are not in "
            "seconds. Give their units, unit='ms' and trial_unit='ms' for example, or 's' for both "
            "if this is right."
        )
