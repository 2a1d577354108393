"""Schedules: how the rate of a learning rule changes from epoch to epoch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from predictlearn.checks import as_float_array, positive
from predictlearn.errors import InputError

__all__ = ["RateDecay", "RateDrop", "Schedule", "checked_schedule", "drop_of", "multipliers"]


@dataclass(frozen=True)
class RateDrop:
    """Divide the rate once the task is nearly learned, and leave it so.

    The update of the first epoch whose loss is below `below` is still made at the full rate; all
    later ones are made at ``rate / factor``, whatever the loss does then.

    Parameters
    ----------
    factor : float, default 5.0
        What the rate is divided by; below 1 the rate grows.
    below : float, default 0.015
        The loss, on that epoch's trials and clean targets.

    Raises
    ------
    InputError
        If a value is not positive.

    References
    ----------
    Ger & Barak (2026), arXiv:2605.04115: the schedule of their twins, with these values.

    Examples
    --------
    >>> import predictlearn as pl
    >>> pl.GradientDescent(0.01, schedule=pl.RateDrop()).schedule
    RateDrop(factor=5.0, below=0.015)
    """

    factor: float = 5.0
    below: float = 0.015

    def __post_init__(self) -> None:
        object.__setattr__(self, "factor", positive("factor", self.factor))
        object.__setattr__(self, "below", positive("below", self.below))


@dataclass(frozen=True)
class RateDecay:
    """Let the rate fall exponentially: ``rate * exp(-epoch / epochs)``.

    Parameters
    ----------
    epochs : float
        Epochs in which the rate falls to 1/e.

    Raises
    ------
    InputError
        If it is not positive.

    Examples
    --------
    >>> multipliers(RateDecay(100.0), 201)[[0, 100, 200]].round(3).tolist()
    [1.0, 0.368, 0.135]
    """

    epochs: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "epochs", positive("epochs", self.epochs))


Schedule = RateDrop | RateDecay | Sequence[float]


def checked_schedule(
    schedule: Schedule | np.ndarray | None,
) -> RateDrop | RateDecay | tuple[float, ...] | None:
    """Return a schedule with multipliers as a tuple, or raise.

    Parameters
    ----------
    schedule : RateDrop, RateDecay, sequence of float or None
        A sequence holds the multiplier of the rate at each epoch; the last one holds for all
        epochs after it. A multiplier of zero pauses learning.

    Returns
    -------
    RateDrop, RateDecay, tuple of float or None
        The schedule, frozen.

    Raises
    ------
    InputError
        If it is of another kind, empty, or a multiplier is negative.

    Examples
    --------
    >>> checked_schedule([1, 0.5])
    (1.0, 0.5)
    """
    if schedule is None or isinstance(schedule, RateDrop | RateDecay):
        return schedule
    if isinstance(schedule, str) or not isinstance(schedule, Sequence | np.ndarray):
        raise InputError(
            "schedule must be a RateDrop, a RateDecay, or a sequence of multipliers, one an epoch; "
            f"got {schedule!r}."
        )
    values = as_float_array("schedule", schedule, 1, axes="(epochs,)")
    if values.size == 0:
        raise InputError("schedule must have at least one multiplier; it is empty.")
    if np.any(values < 0):
        raise InputError(
            f"the multipliers of schedule must be zero or more; the smallest is {values.min():g}."
        )
    return tuple(map(float, values))


def multipliers(schedule: Schedule | None, n_epochs: int) -> np.ndarray:
    """Return what the rate is multiplied by at each epoch, (n_epochs,).

    All ones without a schedule and for `RateDrop`, whose epoch only the loss can tell: there the
    rate of an epoch is ``rate * multipliers[epoch] / (factor if dropped else 1)``, see `drop_of`.

    Examples
    --------
    >>> multipliers((1.0, 0.5), 4).tolist()
    [1.0, 0.5, 0.5, 0.5]
    """
    if schedule is None or isinstance(schedule, RateDrop):
        return np.ones(n_epochs)
    if isinstance(schedule, RateDecay):
        return np.exp(-np.arange(n_epochs) / schedule.epochs)
    given = np.array(schedule[:n_epochs])
    return np.concatenate([given, np.full(n_epochs - len(given), given[-1])])


def drop_of(schedule: Schedule | None) -> tuple[float, float]:
    """Return (factor, below) of a `RateDrop`, or (1, -infinity): a loss is never below that.

    Examples
    --------
    >>> drop_of(RateDrop(factor=2.0)), drop_of(None)
    ((2.0, 0.015), (1.0, -inf))
    """
    if isinstance(schedule, RateDrop):
        return schedule.factor, schedule.below
    return 1.0, -math.inf
