"""Damped oscillation: answer an impulse with a ringing that dies away."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np

from predictlearn.checks import non_negative
from predictlearn.tasks.filter import impulse
from predictlearn.tasks.trial_windows import Freezable, bin_count, check_number, check_times
from predictlearn.theory.kernels.impulse import TargetLaw
from predictlearn.theory.trials import Trials

__all__ = ["DampedOscillation"]


@dataclass(frozen=True)
class DampedOscillation(Freezable):
    """One impulse in, a damped cosine out: the task that needs rank two.

    Input is ``1/dt`` in bin 0 and zero after it; the target in bin i is
    ``amplitude * exp(-decay * t) * cos(frequency * t)`` at ``t = i dt``; the loss is
    ``sum_i (y_i - y*_i)^2 dt``. One trial, the same in every epoch.

    Parameters
    ----------
    decay : float, default 0.3
        Rate of decay c in 1/s, zero or more.
    frequency : float, default 2.0
        Angular frequency w in rad/s, zero or more.
    duration : float, default 20.0
        Length of the trial in seconds.
    dt : float, default 0.05
        Bin width in seconds.
    amplitude : float, default 1.0
        Target in bin 0.

    Raises
    ------
    InputError
        If a number is out of range or the trial has fewer than two bins.

    Examples
    --------
    >>> trials = DampedOscillation().sample()
    >>> trials.n_trials, trials.n_steps
    (1, 400)
    >>> trials.targets[0, :3, 0].round(4).tolist()
    [1.0, 0.9802, 0.9511]
    """

    decay: float = 0.3
    frequency: float = 2.0
    duration: float = 20.0
    dt: float = 0.05
    amplitude: float = 1.0

    n_in: ClassVar[int] = 1
    n_out: ClassVar[int] = 1
    fixed: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_times(self, "duration", "dt")
        object.__setattr__(self, "decay", non_negative("decay", self.decay))
        object.__setattr__(self, "frequency", non_negative("frequency", self.frequency))
        object.__setattr__(self, "amplitude", check_number("amplitude", self.amplitude))
        bin_count(self.duration, self.dt)

    @cached_property
    def _trials(self) -> Trials:
        """The one trial."""
        n_steps = bin_count(self.duration, self.dt)
        time = np.arange(n_steps) * self.dt
        wave = self.amplitude * np.exp(-self.decay * time) * np.cos(self.frequency * time)
        targets = wave[None, :, None]
        angle = self.frequency * self.dt
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        step = np.exp(-self.decay * self.dt) * turn
        law = TargetLaw(step, np.array([[self.amplitude, 0.0]]), np.array([[1.0, 0.0]]))
        weights = np.full(targets.shape, self.dt)
        return Trials(impulse(n_steps, self.dt), targets, weights, self.dt, law=law)

    def sample(self, rng: np.random.Generator | None = None) -> Trials:
        """Return the trial; `rng` is not used, since nothing is random.

        Parameters
        ----------
        rng : numpy.random.Generator, optional
            Not used.

        Returns
        -------
        Trials
            One trial, one input, one output.
        """
        return self._trials
