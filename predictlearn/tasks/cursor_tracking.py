"""Tracking in a closed loop: a cursor that follows a moving target."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from predictlearn.checks import as_float_array, non_negative, positive_int
from predictlearn.errors import InputError, choice
from predictlearn.tasks.cursor import (
    check_cursor,
    command_noise,
    cursor_world,
    disturbed,
    n_channels,
)
from predictlearn.tasks.trial_windows import Freezable, bin_count, check_times, trial_count
from predictlearn.theory.trials import Trials
from predictlearn.theory.world import LinearWorld

__all__ = ["CursorTracking"]

MOTIONS = ("sines", "noise")
# Filtered noise: a sum of cosines up to so many times its corner frequency, of a period of so many
# trials, so that its path is the same whatever the bins.
_HIGHEST, _PERIOD = 20.0, 2.0
_MOST_COSINES = 100_000


@dataclass(frozen=True)
class CursorTracking(Freezable):
    """Follow a moving target with a cursor, in a closed loop.

    The outputs y, one an axis, drive a cursor that starts at 0::

        smoothing dv/dt = -v + gain R y,      dp/dt = v

    and the loss is the squared distance of cursor and target, averaged over trials and time.

    Parameters
    ----------
    axes : {1, 2}, default 1
        Along how many axes.
    motion : {"sines", "noise"}, default "sines"
        How the target moves: a sum of sines of random phase, or noise filtered twice with
        the time constant `correlation`.
    frequencies : sequence of float, default (0.1, 0.25, 0.55)
        Of the sines, in Hz.
    amplitude : float, default 1.0
        Standard deviation of the target along each axis; the unit of length.
    correlation : float, default 1.0
        Time constant of filtered noise in seconds.
    duration : float, default 20.0
        Length of a trial in seconds.
    dt : float, default 0.05
        Bin width in seconds. All other settings are in seconds and units of length, and a seed
        draws the same paths in bins of any width.
    gain : float, default 1.0
        Velocity of the cursor, in length a second, per unit of output.
    smoothing : float, default 0.0
        Time constant of the velocity in seconds.
    feedback : {"error", "position", "none"}, default "error"
        What is seen: target less cursor; target and cursor apart; or the target alone.
    delay : float, default 0.0
        How late target and cursor are seen, in seconds.
    rotation : float, default 0.0
        By how many degrees the cursor's movement is turned, counter-clockwise; of two axes only.
    noise : float, default 0.0
        Noise on the velocity: alone it would spread the cursor by noise sqrt(t); length per root
        of a second.
    settle : float, default 0.0
        Seconds at the start of a trial that the loss does not count.
    trials : int, default 16
        Trials in each epoch.
    seed : int, optional
        Draw all trials once, by this seed; if not given, every epoch draws new ones.

    Raises
    ------
    InputError
        If a number is out of range or no time is left to count.

    Examples
    --------
    >>> task = CursorTracking(axes=2, feedback="position", seed=0)
    >>> task.n_in, task.n_out, task.fixed, task.world.is_closed
    (4, 2, True, True)
    """

    axes: int = 1
    motion: str = "sines"
    frequencies: Sequence[float] = (0.1, 0.25, 0.55)
    amplitude: float = 1.0
    correlation: float = 1.0
    duration: float = 20.0
    dt: float = 0.05
    gain: float = 1.0
    smoothing: float = 0.0
    feedback: str = "error"
    delay: float = 0.0
    rotation: float = 0.0
    noise: float = 0.0
    settle: float = 0.0
    trials: int = 16
    seed: int | None = None

    def __post_init__(self) -> None:
        if isinstance(self.axes, bool) or self.axes not in (1, 2):
            raise InputError(f"axes must be 1 or 2; got {self.axes!r}.")
        check_times(self, "amplitude", "correlation", "duration", "dt")
        n_steps = bin_count(self.duration, self.dt)
        choice("motion", self.motion, MOTIONS)
        frequencies = as_float_array("frequencies", self.frequencies, ndim=1, axes="of Hz")
        if frequencies.size == 0 or np.any(frequencies <= 0):
            raise InputError("frequencies must be one or more numbers above 0, in Hz.")
        if self.motion == "sines" and frequencies.max() > 0.5 / self.dt:
            raise InputError(
                f"frequencies must be at most 1 / (2 dt) = {0.5 / self.dt:g} Hz; the largest is "
                f"{frequencies.max():g}."
            )
        object.__setattr__(self, "frequencies", tuple(frequencies.tolist()))
        check_cursor(self, ("error", "position", "none"))
        if self.rotation != 0 and self.axes == 1:
            raise InputError("rotation needs axes: 2; one axis cannot be turned.")
        object.__setattr__(self, "settle", non_negative("settle", self.settle))
        if round(self.settle / self.dt) >= n_steps:
            raise InputError(
                f"settle must be shorter than the trial, {self.duration:g} s; got {self.settle:g}."
            )
        object.__setattr__(self, "trials", trial_count(self.trials, self.duration, self.dt))
        if self.seed is not None:
            positive_int("seed", self.seed, minimum=0)
        if self._waves[0].size > _MOST_COSINES:
            raise InputError(
                f"correlation must be at least {self._shortest:.3g} s in trials of "
                f"{self.duration:g} s; got {self.correlation:g}."
            )

    @property
    def _shortest(self) -> float:
        """Shortest correlation that so many cosines can follow."""
        return _HIGHEST * _PERIOD * self.duration / (2 * np.pi * _MOST_COSINES)

    @property
    def _waves(self) -> tuple[np.ndarray, np.ndarray]:
        """Frequencies in Hz and their standard deviations, (waves,) each."""
        if self.motion == "sines":
            frequencies = np.asarray(self.frequencies)
            sizes = np.ones(len(frequencies))
        else:
            period = _PERIOD * self.duration
            highest = _HIGHEST / (2 * np.pi * self.correlation)
            # one more than can be had says that there are too many
            count = int(min(max(np.ceil(highest * period), 1), _MOST_COSINES + 1))
            frequencies = np.arange(1, count + 1) / period
            sizes = 1 / (1 + (2 * np.pi * frequencies * self.correlation) ** 2)
        return frequencies, self.amplitude * sizes / np.sqrt(np.sum(sizes**2))

    @property
    def n_in(self) -> int:
        """Number of inputs."""
        return self.axes + n_channels(self.feedback, self.axes)

    @property
    def n_out(self) -> int:
        """Number of outputs, one an axis."""
        return self.axes

    @property
    def fixed(self) -> bool:
        """Whether every epoch shows the same trials."""
        return self.seed is not None

    @cached_property
    def world(self) -> LinearWorld:
        """The cursor: its position and velocity, and what of them is on its way to the input."""
        return cursor_world(self, self.axes, self.axes, np.eye(2 * self.axes)[: self.axes])

    def _draw(self, rng: np.random.Generator) -> Trials:
        """Draw trials."""
        n_steps, shape = bin_count(self.duration, self.dt), (self.trials, self.axes)
        frequencies, sizes = self._waves
        if self.motion == "sines":
            phases = rng.uniform(0.0, 2 * np.pi, size=(*shape, len(frequencies)))
            parts = np.sqrt(2) * np.exp(1j * phases)
        else:
            pairs = rng.standard_normal((*shape, len(frequencies), 2))
            parts = pairs[..., 0] + 1j * pairs[..., 1]

        def path(times: np.ndarray) -> np.ndarray:
            waves = np.exp(2j * np.pi * frequencies * times[:, None])
            return np.real(np.einsum("kaf,tf->kta", parts * sizes, waves, optimize=True))

        # the state after a bin is that at its end; the input of a bin is of its beginning
        starts = np.arange(n_steps) * self.dt
        inputs = np.zeros((self.trials, n_steps, self.n_in))
        inputs[..., : self.axes] = path(starts - self.delay)
        targets = path(starts + self.dt)
        counts = np.arange(n_steps) >= round(self.settle / self.dt)
        weights = np.broadcast_to((counts / (self.trials * counts.sum()))[:, None], targets.shape)
        trials = Trials(inputs, targets, weights, self.dt, world=self.world)
        if self.noise == 0:
            return trials
        pushes = command_noise(self, self.axes, self.world, self.trials, n_steps, rng)
        return disturbed(trials, pushes)

    @cached_property
    def _once(self) -> Trials:
        """The trials of the seed."""
        return self._draw(np.random.default_rng(self.seed))

    def sample(self, rng: np.random.Generator | None = None) -> Trials:
        """Return the trials of one epoch.

        Parameters
        ----------
        rng : numpy.random.Generator, optional
            Draws the trials; needed only where `seed` is not set.

        Returns
        -------
        Trials
            The trials.

        Raises
        ------
        InputError
            If there is neither a `seed` nor an `rng`.
        """
        if self.fixed:
            return self._once
        if rng is None:
            raise InputError("rng must be a numpy Generator, since this task draws its trials.")
        return self._draw(rng)
