"""What several tasks share: time in bins, and freezing a random task."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from predictlearn.checks import as_float_array, positive, positive_int, seed_sequence
from predictlearn.errors import InputError
from predictlearn.theory.trials import Trials

if TYPE_CHECKING:
    from predictlearn.tasks.arrays import ArrayTask
    from predictlearn.theory.trials import Task


# of one trial, and of all trials of an epoch: what can be held, and passed through in seconds
_MOST_BINS, _MOST_IN_ALL = 5_000_000, 2e7
_SHORTEST, _LONGEST = 1e-9, 1e9


def bin_count(duration: float, dt: float, minimum: int = 2) -> int:
    """Return how many bins of width dt make up a trial, or raise if there are too few."""
    if not duration / dt <= _MOST_BINS:
        raise InputError(
            f"duration must be at most {_MOST_BINS} bins of dt = {dt:g} s; got {duration:g} s, "
            f"{duration / dt:g} bins."
        )
    n_steps = round(duration / dt)
    if n_steps < minimum:
        raise InputError(
            f"duration must be at least {minimum} bins of dt = {dt:g} s; got {duration:g} s."
        )
    return n_steps


def trial_count(trials: object, duration: float, dt: float) -> int:
    """Return how many trials are drawn in an epoch, or raise if they are no number, or too many."""
    count = positive_int("trials", trials)
    most = max(1, int(_MOST_IN_ALL / bin_count(duration, dt)))
    if count > most:
        raise InputError(
            f"trials must be at most {most}, since each has {bin_count(duration, dt)} bins and all "
            f"at most {_MOST_IN_ALL:g}; got {count}."
        )
    return count


def check_times(task: object, *names: str) -> None:
    """Replace the named attributes of a frozen task by positive floats, or raise InputError."""
    for name in names:
        time = positive(name, getattr(task, name))
        if not _SHORTEST <= time <= _LONGEST:
            raise InputError(f"{name} must be from {_SHORTEST:g} to {_LONGEST:g}; got {time:g}.")
        object.__setattr__(task, name, time)


def check_number(name: str, value: object) -> float:
    """Return a finite number of any sign as float, or raise InputError."""
    number = as_float_array(name, value, ndim=0)
    if isinstance(value, bool | str):
        raise InputError(f"{name} must be a number; got {value!r}.")
    return float(number)


def check_range(name: str, value: object, minimum: float) -> tuple[float, float]:
    """Return a pair (low, high) with minimum <= low <= high, or raise InputError."""
    if not isinstance(value, Sequence | np.ndarray) or isinstance(value, str) or len(value) != 2:
        raise InputError(f"{name} must be two numbers, (low, high) in seconds; got {value!r}.")
    low, high = (check_number(name, item) for item in value)
    if not (minimum <= low <= high < math.inf):
        raise InputError(
            f"{name} must be (low, high) with {minimum:g} <= low <= high, in seconds; "
            f"got {value!r}."
        )
    return low, high


def trials_from_loops(
    inputs: np.ndarray, targets: np.ndarray, weights: np.ndarray, dt: float
) -> Trials:
    """Return the trials of arrays that a compiled loop filled, (time, columns, trials).

    No copies and no checks: for tasks that draw new trials in every epoch, from settings that were
    checked when the task was made.
    """
    order = (2, 0, 1)
    return Trials._trusted(
        inputs.transpose(order), targets.transpose(order), weights.transpose(order), dt
    )


class Windows:
    """A trial of fixation, stimulus, delay and response, each in seconds; the response ends it."""

    fixation: float
    stimulus: float
    delay: float
    duration: float
    dt: float

    def _check_windows(self) -> None:
        """Raise InputError unless stimulus and response last at least one bin."""
        n_steps = bin_count(self.duration, self.dt)
        on, off, respond = self._edges()
        if off == on:
            raise InputError(f"stimulus must last at least one bin; got {self.stimulus:g} s.")
        if respond >= n_steps:
            raise InputError(
                "duration must exceed fixation + stimulus + delay = "
                f"{self.fixation + self.stimulus + self.delay:g} s to leave time for the response; "
                f"got {self.duration:g}."
            )

    def _edges(self) -> tuple[int, int, int]:
        """Return the bins where the stimulus starts and ends, and where the response starts."""
        times = np.cumsum([self.fixation, self.stimulus, self.delay])
        on, off, respond = (round(float(time) / self.dt) for time in times)
        return on, off, respond


class Freezable:
    """A task that can be frozen to the trials of one draw (all there are, if none is random)."""

    def freeze(self: Task, seed: int | np.random.SeedSequence = 0) -> ArrayTask:
        """Return the fixed task made of the trials that `seed` draws.

        Parameters
        ----------
        seed : int or numpy.random.SeedSequence, default 0
            Seed of the draw.

        Returns
        -------
        ArrayTask
            The fixed task.
        """
        from predictlearn.tasks.arrays import ArrayTask

        return ArrayTask.from_trials(self.sample(np.random.default_rng(seed_sequence(seed))))
