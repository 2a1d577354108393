"""Exponential filter: answer an impulse with a decaying exponential."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np

from predictlearn.checks import non_negative
from predictlearn.tasks.trial_windows import Freezable, bin_count, check_number, check_times
from predictlearn.theory.kernels.impulse import TargetLaw
from predictlearn.theory.trials import Trials

__all__ = ["Filter", "impulse"]


def impulse(n_steps: int, dt: float) -> np.ndarray:
    """Return one trial of a unit impulse, 1/dt in the first bin: (1, time, 1)."""
    inputs = np.zeros((1, n_steps, 1))
    inputs[0, 0, 0] = 1.0 / dt
    return inputs


@dataclass(frozen=True)
class Filter(Freezable):
    """One impulse in, a decaying exponential out.

    Input is ``1/dt`` in bin 0 and zero after it; the target in bin i is
    ``amplitude * exp(-decay * i * dt)``; the loss is ``sum_i (y_i - y*_i)^2 dt``. There is one
    trial and it is the same in every epoch (the published linear, rank-one task).

    Parameters
    ----------
    decay : float, default 0.2
        Rate of decay c in 1/s, zero or more. Published: 0.2 (task A) and 0.4 (task B).
    amplitude : float, default 1.0
        Target in bin 0.
    duration : float, default 20.0
        Length of the trial in seconds.
    dt : float, default 0.05
        Bin width in seconds.

    Raises
    ------
    InputError
        If a number is out of range or the trial has fewer than two bins.

    Notes
    -----
    With tau = 1 s the linear solutions are ``zm = a``, ``vu = 1 - c`` and
    ``zu * vm = a (1 - c)`` in the limit of small dt.

    Examples
    --------
    >>> trials = Filter(decay=0.2).sample()
    >>> trials.inputs.shape, float(trials.inputs[0, 0, 0]), float(trials.weights[0, 0, 0])
    ((1, 400, 1), 20.0, 0.05)
    >>> trials.targets[0, [0, 100], 0].round(4).tolist()   # e^0 and e^-1
    [1.0, 0.3679]
    """

    decay: float = 0.2
    amplitude: float = 1.0
    duration: float = 20.0
    dt: float = 0.05

    n_in: ClassVar[int] = 1
    n_out: ClassVar[int] = 1
    fixed: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_times(self, "duration", "dt")
        object.__setattr__(self, "decay", non_negative("decay", self.decay))
        object.__setattr__(self, "amplitude", check_number("amplitude", self.amplitude))
        bin_count(self.duration, self.dt)

    @cached_property
    def _trials(self) -> Trials:
        """The one trial."""
        n_steps = bin_count(self.duration, self.dt)
        time = np.arange(n_steps) * self.dt
        targets = self.amplitude * np.exp(-self.decay * time)[None, :, None]
        decayed = np.exp(-self.decay * self.dt)
        law = TargetLaw(np.array([[decayed]]), np.array([[self.amplitude]]), np.ones((1, 1)))
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
