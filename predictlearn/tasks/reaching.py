"""Reaching with a readout: drive a cursor towards the target that the input points to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np

from predictlearn.checks import as_float_array, non_negative, positive_int
from predictlearn.errors import InputError
from predictlearn.tasks.trial_windows import (
    Freezable,
    bin_count,
    check_times,
    trial_count,
)
from predictlearn.theory.trials import Trials

__all__ = ["ReachingReadout", "target_directions"]


def target_directions(targets: int | Sequence[float]) -> tuple[float, ...]:
    """Return the directions of targets in degrees: as given, or so many evenly spaced."""
    if isinstance(targets, Sequence | np.ndarray) and not isinstance(targets, str):
        directions = as_float_array("targets", targets, ndim=1, axes="of degrees")
        if directions.size == 0:
            raise InputError("targets must hold at least one direction in degrees; got none.")
    else:
        count = positive_int("targets", targets)
        if count > 1000:
            raise InputError(f"targets must be at most 1000 directions; got {count}.")
        directions = np.arange(count) * (360.0 / count)
    return tuple(directions.tolist())


@dataclass(frozen=True)
class ReachingReadout(Freezable):
    """Centre-out reaching through a brain-computer interface.

    The inputs are the direction of the target as (cosine, sine), and a constant "go" input if
    asked; they come on together after a latency and stay on to the end of the trial. The network's
    two outputs drive a cursor of velocity ::

        v_t = smoothing v_{t-1} + y_t + offset,      v before the first bin is 0

    and the desired velocity is ``speed`` towards the target. The loss is the squared distance
    between the two velocities, averaged over trials and over the bins from ``first_bin`` on.

    The readout Z belongs to the experimenter, not to this task: it is part of the network's
    overlaps, stays as it is with the pathway rate ``{"z": 0.0}``, and is changed between phases of
    a protocol.

    Parameters
    ----------
    targets : int or sequence of float, default 8
        How many targets, evenly spaced from 0 degrees on; or their directions in degrees.
    speed : float, default 1.0
        Desired speed of the cursor, in the units of the output.
    duration : float, default 1.0
        Length of a trial in seconds.
    dt : float, default 0.05
        Bin width in seconds.
    go : bool, default True
        Add the constant input (three inputs instead of two).
    latency : float, default 0.0
        When the inputs come on, in seconds; between two bins by linear interpolation.
    offset : (float, float), default (0.0, 0.0)
        Added to the cursor velocity in every bin.
    smoothing : float or array_like, (2, 2), default 0.0
        How much of the previous bin's velocity persists; a number counts for both directions.
    first_bin : int, default 0
        First bin that the loss counts.
    rotation : float, default 0.0
        Visuomotor rotation in degrees: the seen cursor is the network's cursor turned by this
        angle, so the desired velocity is turned back by it.
    trials : int, optional
        Draw this many trials in each epoch, with random targets. If not given, every epoch shows
        each target once.

    Raises
    ------
    InputError
        If a number is out of range, the smoothing lets the velocity grow without bound, or no bin
        is left to count.

    Examples
    --------
    >>> task = ReachingReadout(targets=[0.0, 90.0], duration=0.2, dt=0.05, latency=0.075)
    >>> trials = task.sample()
    >>> trials.inputs[1].round(2).tolist()      # target straight up: cosine, sine, go
    [[0.0, 0.0, 0.0], [0.0, 0.5, 0.5], [0.0, 1.0, 1.0], [0.0, 1.0, 1.0]]
    >>> trials.targets[1, -1].round(2).tolist()
    [0.0, 1.0]
    """

    targets: int | Sequence[float] = 8
    speed: float = 1.0
    duration: float = 1.0
    dt: float = 0.05
    go: bool = True
    latency: float = 0.0
    offset: Sequence[float] = (0.0, 0.0)
    smoothing: float | Sequence[Sequence[float]] = 0.0
    first_bin: int = 0
    rotation: float = 0.0
    trials: int | None = None

    n_out: ClassVar[int] = 2

    def __post_init__(self) -> None:
        check_times(self, "duration", "dt", "speed")
        object.__setattr__(self, "latency", non_negative("latency", self.latency))
        if not isinstance(self.go, bool | np.bool_):
            raise InputError(f"go must be true or false; got {self.go!r}.")
        if self.trials is not None:
            object.__setattr__(self, "trials", trial_count(self.trials, self.duration, self.dt))
        n_steps = bin_count(self.duration, self.dt)
        object.__setattr__(self, "first_bin", positive_int("first_bin", self.first_bin, minimum=0))
        if self.first_bin >= n_steps:
            raise InputError(
                f"first_bin must be below the {n_steps} bins of a trial; got {self.first_bin}."
            )
        if self.latency >= self.duration:
            raise InputError(
                f"latency must be shorter than the trial, {self.duration:g} s; "
                f"got {self.latency:g}."
            )
        offset = as_float_array("offset", self.offset, shape=(2,), axes="of the two directions")
        object.__setattr__(self, "offset", tuple(offset.tolist()))
        smoothing = as_float_array("smoothing", self.smoothing)
        if smoothing.ndim == 0:
            smoothing = smoothing * np.eye(2)
        smoothing = as_float_array("smoothing", smoothing, shape=(2, 2), axes="or one number")
        radius = float(np.max(np.abs(np.linalg.eigvals(smoothing))))
        if radius >= 1.0:
            raise InputError(
                "smoothing must have eigenvalues below 1 in size, or the cursor's velocity grows "
                f"without bound; the largest is {radius:.3g}."
            )
        object.__setattr__(self, "smoothing", tuple(map(tuple, smoothing.tolist())))
        rotation = as_float_array("rotation", self.rotation, ndim=0, axes="of degrees")
        object.__setattr__(self, "rotation", float(rotation))
        object.__setattr__(self, "targets", target_directions(self.targets))

    @property
    def angles(self) -> np.ndarray:
        """Directions of the targets in degrees, (targets,)."""
        return np.asarray(self.targets, dtype=float)

    @property
    def n_in(self) -> int:
        """Number of inputs: two, and one more with the go input."""
        return 3 if self.go else 2

    @property
    def fixed(self) -> bool:
        """Whether every epoch shows each target once."""
        return self.trials is None

    def shown(self, angles: Sequence[float] | np.ndarray) -> Trials:
        """Return trials with the given targets, in the given order.

        Parameters
        ----------
        angles : array_like, (trials,)
            Direction of each trial's target in degrees; any direction will do.

        Returns
        -------
        Trials
            One trial for each direction.

        Raises
        ------
        InputError
            If the directions are not a list of finite numbers.
        """
        radians = np.deg2rad(as_float_array("angles", angles, ndim=1, axes="(trials,)"))
        n_steps = bin_count(self.duration, self.dt)
        direction = np.stack([np.cos(radians), np.sin(radians)], axis=1)
        held = np.column_stack([direction, np.ones(len(radians))]) if self.go else direction
        # a step delayed by a fraction of a bin is interpolated between 0 and 1 in one bin
        onset = np.clip(np.arange(n_steps) + 1.0 - self.latency / self.dt, 0.0, 1.0)
        inputs = held[:, None, :] * onset[None, :, None]
        wanted = radians - np.deg2rad(self.rotation)
        desired = self.speed * np.stack([np.cos(wanted), np.sin(wanted)], axis=1)
        targets = np.repeat(desired[:, None, :], n_steps, axis=1)
        weights = np.zeros_like(targets)
        weights[:, self.first_bin :] = 1.0 / (len(radians) * (n_steps - self.first_bin))
        return Trials(
            inputs,
            targets,
            weights,
            self.dt,
            offset=np.asarray(self.offset),
            smoothing=np.asarray(self.smoothing),
        )

    @cached_property
    def _each_once(self) -> Trials:
        """Every target once."""
        return self.shown(self.angles)

    def sample(self, rng: np.random.Generator | None = None) -> Trials:
        """Return the trials of one epoch.

        Parameters
        ----------
        rng : numpy.random.Generator, optional
            Draws the targets; needed only where `trials` is set.

        Returns
        -------
        Trials
            Each target once, or `trials` trials with random targets.

        Raises
        ------
        InputError
            If `trials` is set and there is no `rng`.
        """
        if self.trials is None:
            return self._each_once
        if rng is None:
            raise InputError("rng must be a numpy Generator, since this task draws its targets.")
        return self.shown(self.angles[rng.integers(len(self.angles), size=self.trials)])
