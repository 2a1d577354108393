"""Reaching in a closed loop: a cursor that the network drives, and sees."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np

from predictlearn.checks import as_float_array, non_negative
from predictlearn.errors import InputError, choice
from predictlearn.tasks.cursor import (
    check_cursor,
    command_noise,
    cursor_world,
    disturbed,
    n_channels,
)
from predictlearn.tasks.reaching import target_directions
from predictlearn.tasks.trial_windows import Freezable, bin_count, check_times, trial_count
from predictlearn.theory.trials import Trials
from predictlearn.theory.world import LinearWorld

__all__ = ["CursorReaching"]

JUDGED = ("position", "velocity")


@dataclass(frozen=True)
class CursorReaching(Freezable):
    """Centre-out reaching through a brain-computer interface, in a closed loop.

    The network's two outputs y drive a cursor, which starts in the centre::

        smoothing dv/dt = -v + gain R y,      dp/dt = v,      R turns by `rotation`

    and the input reports the cursor. `ReachingReadout` is the same without seeing it.

    Parameters
    ----------
    targets : int or sequence of float, default 8
        How many targets, evenly spaced from 0 degrees on; or their directions in degrees.
    distance : float, default 1.0
        Of the targets from the centre; it sets the unit of length.
    reach_time : float, default 0.5
        Seconds from the latency on in which the target should be reached.
    duration : float, default 1.0
        Length of a trial in seconds.
    dt : float, default 0.05
        Bin width in seconds. All other settings are in seconds and units of length, so that the
        same task in finer bins has nearly the same loss.
    go : bool, default True
        Add a constant input, 1 while the target is on.
    latency : float, default 0.0
        When the target comes on, in seconds; between two bins by linear interpolation.
    gain : float, default 1.0
        Velocity of the cursor, in length a second, per unit of output.
    smoothing : float, default 0.0
        Time constant of the velocity in seconds.
    feedback : {"error", "position", "velocity", "position-velocity", "none"}, default "error"
        What is seen of the cursor: "error" gives the target less the cursor's position in place of
        the target; the others add the cursor's position or velocity, or both, as further inputs.
    delay : float, default 0.0
        How late the cursor is seen, in seconds; between two bins by linear interpolation.
    rotation : float, default 0.0
        By how many degrees the cursor's movement is turned, counter-clockwise.
    noise : float, default 0.0
        Noise on the velocity: alone it would spread the cursor by noise sqrt(t); length per root
        of a second. With noise every epoch draws new trials.
    judged : {"position", "velocity"}, default "position"
        The loss is the squared distance of the cursor from the target, averaged over trials and
        over the time from latency + reach_time on; or that of its velocity from distance /
        reach_time towards the target, for reach_time, and from rest after it, from the latency on.
    trials : int, optional
        Draw this many trials in each epoch, with random targets. If not given, every epoch shows
        each target once.

    Raises
    ------
    InputError
        If a number is out of range or no time is left to count.

    Examples
    --------
    >>> task = CursorReaching(targets=[0.0, 90.0], delay=0.1)
    >>> task.n_in, task.n_out, task.world.is_closed, task.fixed
    (3, 2, True, True)
    """

    targets: int | Sequence[float] = 8
    distance: float = 1.0
    reach_time: float = 0.5
    duration: float = 1.0
    dt: float = 0.05
    go: bool = True
    latency: float = 0.0
    gain: float = 1.0
    smoothing: float = 0.0
    feedback: str = "error"
    delay: float = 0.0
    rotation: float = 0.0
    noise: float = 0.0
    judged: str = "position"
    trials: int | None = None

    n_out: ClassVar[int] = 2

    def __post_init__(self) -> None:
        check_times(self, "distance", "reach_time", "duration", "dt")
        bin_count(self.duration, self.dt)
        object.__setattr__(self, "latency", non_negative("latency", self.latency))
        if not isinstance(self.go, bool | np.bool_):
            raise InputError(f"go must be true or false; got {self.go!r}.")
        check_cursor(self)
        choice("judged", self.judged, JUDGED)
        if self.trials is not None:
            object.__setattr__(self, "trials", trial_count(self.trials, self.duration, self.dt))
        by_position = self.judged == "position"
        start = self.latency + (self.reach_time if by_position else 0.0)
        if start >= self.duration:
            raise InputError(
                f"duration must exceed latency{' + reach_time' if by_position else ''} = {start:g} "
                f"s to leave time that counts; got {self.duration:g} s."
            )
        object.__setattr__(self, "targets", target_directions(self.targets))

    @property
    def angles(self) -> np.ndarray:
        """Directions of the targets in degrees, (targets,)."""
        return np.asarray(self.targets, dtype=float)

    @property
    def n_in(self) -> int:
        """Number of inputs: those of the target, the go input, and those of the cursor."""
        return 2 + int(self.go) + n_channels(self.feedback, 2)

    @property
    def fixed(self) -> bool:
        """Whether every epoch shows each target once, without noise."""
        return self.trials is None and self.noise == 0

    @cached_property
    def world(self) -> LinearWorld:
        """The cursor: its position and velocity, and what of them is on its way to the input."""
        read = np.eye(4)[:2] if self.judged == "position" else np.eye(4)[2:]
        return cursor_world(self, 2, 2 + int(self.go), read)

    def shown(
        self, angles: Sequence[float] | np.ndarray, rng: np.random.Generator | None = None
    ) -> Trials:
        """Return trials with the given targets, in the given order.

        Parameters
        ----------
        angles : array_like, (trials,)
            Direction of each trial's target in degrees; any direction will do.
        rng : numpy.random.Generator, optional
            Draws the noise, where there is some.

        Returns
        -------
        Trials
            One trial for each direction.

        Raises
        ------
        InputError
            If the directions are not a list of finite numbers, or there is noise and no `rng`.
        """
        radians = np.deg2rad(as_float_array("angles", angles, ndim=1, axes="(trials,)"))
        n, n_steps = len(radians), bin_count(self.duration, self.dt)
        place = self.distance * np.stack([np.cos(radians), np.sin(radians)], axis=1)
        on = self._since(self.latency, n_steps)
        held = np.column_stack([place, np.ones(n)]) if self.go else place
        inputs = np.zeros((n, n_steps, self.n_in))
        inputs[..., : held.shape[1]] = held[:, None] * on[:, None]
        arrived = self._since(self.latency + self.reach_time, n_steps)
        course, counts = np.ones(n_steps), arrived
        if self.judged == "velocity":
            course, counts = (on - arrived) / self.reach_time, on
        targets = place[:, None] * course[:, None]
        weights = np.broadcast_to((counts / (n * counts.sum()))[:, None], targets.shape)
        trials = Trials(inputs, targets, weights, self.dt, world=self.world)
        if self.noise == 0:
            return trials
        if rng is None:
            raise InputError("rng must be a numpy Generator, since this task draws its noise.")
        return disturbed(trials, command_noise(self, 2, self.world, n, n_steps, rng))

    def _since(self, time: float, n_steps: int) -> np.ndarray:
        """Return 0 before a time and 1 after it, (time,); in its bin what is left of it."""
        return np.clip(np.arange(n_steps) + 1.0 - time / self.dt, 0.0, 1.0)

    @cached_property
    def _each_once(self) -> Trials:
        """Every target once, without noise."""
        return self.shown(self.angles)

    def sample(self, rng: np.random.Generator | None = None) -> Trials:
        """Return the trials of one epoch.

        Parameters
        ----------
        rng : numpy.random.Generator, optional
            Draws targets and noise; needed only where `trials` or `noise` is set.

        Returns
        -------
        Trials
            Each target once, or `trials` trials with random targets.

        Raises
        ------
        InputError
            If something is drawn and there is no `rng`.
        """
        if self.fixed:
            return self._each_once
        if rng is None:
            raise InputError("rng must be a numpy Generator, since this task draws its trials.")
        angles = self.angles
        if self.trials is not None:
            angles = angles[rng.integers(len(angles), size=self.trials)]
        return self.shown(angles, rng)
