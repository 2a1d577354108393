"""Flip-flop: remember the sign of the last pulse."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numba
import numpy as np

from predictlearn.checks import non_negative, positive_int
from predictlearn.errors import InputError
from predictlearn.tasks._common import Freezable, bin_count, check_number, check_range, check_times
from predictlearn.theory.trials import Trials

__all__ = ["FlipFlop"]


@numba.njit(cache=True)
def _fill(
    draws: np.ndarray,
    first: int,
    pulse: int,
    delay: int,
    low: float,
    high: float,
    sizes: tuple[float, float],
    inputs: np.ndarray,
    targets: np.ndarray,
    weights: np.ndarray,
) -> None:
    """Write pulses, targets and weights into zeroed arrays; times are in bins."""
    n_trials, n_steps = inputs.shape[:2]
    counted = 0
    for p in range(n_trials):
        start = first
        k = 0
        while start < n_steps:
            sign = 1.0 if draws[p, k, 0] < 0.5 else -1.0
            waits = start + pulse + delay
            # half-up rounding of a continuous wait to the bin grid
            after = waits + math.floor(low + (high - low) * draws[p, k, 1] + 0.5)
            k += 1
            inputs[p, start : min(start + pulse, n_steps), 0] = sign * sizes[0]
            targets[p, start : min(after, n_steps), 0] = sign * sizes[1]
            # the bin before a pulse is left out; a trial's end is not a pulse
            stop = after - 1 if after < n_steps else n_steps
            for t in range(waits, stop):
                weights[p, t, 0] = 1.0
                counted += 1
            start = after
    if counted > 0:
        weights /= counted


@dataclass(frozen=True)
class FlipFlop(Freezable):
    """Hold the sign of the last pulse until the next.

    A trial starts with silence; then come pulses of random sign. After each pulse there is a
    delay, and then a wait drawn uniformly from ``wait`` before the next pulse. The target is the
    sign of the last pulse times ``target_amplitude``. The loss is the masked mean squared error,
    ``sum(mask (y - y*)^2) / sum(mask)``; the mask counts the waits only: not the silence, not the
    pulses and delays, and not the bin just before a pulse.

    Parameters
    ----------
    wait : (float, float), default (4.0, 10.0)
        Shortest and longest wait in seconds; at least two bins.
    input_amplitude : float, default 1.0
        Height of a pulse.
    target_amplitude : float, default 0.5
        Height of the target.
    duration : float, default 20.0
        Length of a trial in seconds.
    dt : float, default 0.025
        Bin width in seconds.
    trials : int, default 10
        Trials drawn in each epoch.
    pulse : float, default 0.5
        Length of a pulse in seconds.
    delay : float, default 2.0
        Time after a pulse that is not counted, in seconds.
    first_pulse : float, default 0.5
        When the first pulse comes, in seconds.

    Raises
    ------
    InputError
        If a number is out of range, or the trial ends before the first wait begins.

    Notes
    -----
    Published settings: the single task has the defaults; in the twin experiment ``wait=(1, 2)``,
    ``input_amplitude=2``, ``target_amplitude=1``, ``dt=0.05``, ``trials=128``.

    Examples
    --------
    >>> import numpy as np
    >>> trials = FlipFlop().sample(np.random.default_rng(0))
    >>> trials.inputs.shape, round(float(trials.weights.sum()), 12)
    ((10, 800, 1), 1.0)
    >>> np.unique(trials.targets).tolist()
    [-0.5, 0.0, 0.5]
    """

    wait: tuple[float, float] = (4.0, 10.0)
    input_amplitude: float = 1.0
    target_amplitude: float = 0.5
    duration: float = 20.0
    dt: float = 0.025
    trials: int = 10
    pulse: float = 0.5
    delay: float = 2.0
    first_pulse: float = 0.5

    n_in: ClassVar[int] = 1
    n_out: ClassVar[int] = 1
    fixed: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_times(self, "duration", "dt", "pulse")
        for name in ("delay", "first_pulse"):
            object.__setattr__(self, name, non_negative(name, getattr(self, name)))
        for name in ("input_amplitude", "target_amplitude"):
            object.__setattr__(self, name, check_number(name, getattr(self, name)))
        object.__setattr__(self, "trials", positive_int("trials", self.trials))
        object.__setattr__(self, "wait", check_range("wait", self.wait, 2 * self.dt))
        if round(self.pulse / self.dt) < 1:
            raise InputError(
                f"pulse must last at least one bin of dt = {self.dt:g} s; got {self.pulse:g} s."
            )
        n_steps = bin_count(self.duration, self.dt)
        before = (self.first_pulse, self.pulse, self.delay)
        if sum(map(self._bins, before)) >= n_steps:
            raise InputError(
                f"duration must exceed first_pulse + pulse + delay = {sum(before):g} s, since only "
                f"the waits after that are counted; got {self.duration:g}."
            )

    def _bins(self, seconds: float) -> int:
        """Return a time in whole bins."""
        return round(seconds / self.dt)

    def sample(self, rng: np.random.Generator) -> Trials:
        """Draw the trials of one epoch.

        Parameters
        ----------
        rng : numpy.random.Generator
            Source of randomness; the same state gives the same trials.

        Returns
        -------
        Trials
            ``trials`` trials with one input and one output.
        """
        n_steps = bin_count(self.duration, self.dt)
        first, pulse = self._bins(self.first_pulse), self._bins(self.pulse)
        delay = self._bins(self.delay)
        low, high = self.wait[0] / self.dt, self.wait[1] / self.dt
        shortest = pulse + delay + math.floor(low + 0.5)
        most = max(1, math.ceil((n_steps - first) / shortest))
        draws = rng.random((self.trials, most, 2))
        inputs, targets, weights = np.zeros((3, self.trials, n_steps, 1))
        sizes = (self.input_amplitude, self.target_amplitude)
        _fill(draws, first, pulse, delay, low, high, sizes, inputs, targets, weights)
        return Trials(inputs, targets, weights, self.dt)
