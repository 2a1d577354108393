"""Flip-flop: remember the sign of the last pulse."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np

from predictlearn.checks import non_negative
from predictlearn.compiled import compiled
from predictlearn.errors import InputError
from predictlearn.tasks.trial_windows import (
    Freezable,
    bin_count,
    check_number,
    check_range,
    check_times,
    trial_count,
    trials_from_loops,
)
from predictlearn.theory.trials import Trials

__all__ = ["FlipFlop"]


@compiled()
def _ends_of_waits(
    draws: np.ndarray, first: int, length: int, low: float, high: float, n_steps: int
) -> tuple[np.ndarray, int]:
    """Return the bin where each wait of each trial ends, (pulses, trials), and the bins counted.

    `length` is that of pulse and delay together. The bin before a pulse is left out; a trial's end
    is not a pulse.
    """
    n_trials, most = draws.shape[:2]
    ends = np.empty((most, n_trials), np.int64)
    counted = 0
    for p in range(n_trials):
        start = first
        k = 0
        while start < n_steps:
            waits = start + length
            # half-up rounding of a continuous wait to the bin grid
            start = waits + math.floor(low + (high - low) * draws[p, k, 1] + 0.5)
            ends[k, p] = start
            k += 1
            counted += max((start - 1 if start < n_steps else n_steps) - waits, 0)
    return ends, counted


@compiled()
def _fill(
    draws: np.ndarray,
    ends: np.ndarray,
    counted: int,
    first: int,
    pulse: int,
    delay: int,
    sizes: tuple[float, float],
    inputs: np.ndarray,
    targets: np.ndarray,
    weights: np.ndarray,
) -> None:
    """Write pulses, targets and weights, (time, 1, trials), bin by bin for all trials at once.

    Until its next pulse a trial keeps its signs and the bins where pulse, delay and wait end. The
    trials in which a pulse starts are chained from the bin of that pulse.
    """
    n_steps, _, n_trials = inputs.shape
    weight = 1.0 / max(counted, 1)
    height, target = np.zeros(n_trials), np.zeros(n_trials)
    off, begins, stops = np.zeros((3, n_trials), np.int64)
    number = np.zeros(n_trials, np.int64)
    chain, following = np.full(n_steps, -1), np.full(n_trials, -1)
    for p in range(n_trials):
        following[p] = chain[first]
        chain[first] = p
    for t in range(n_steps):
        p = chain[t]
        while p >= 0:
            later = following[p]
            k = number[p]
            sign = 1.0 if draws[p, k, 0] < 0.5 else -1.0
            height[p], target[p] = sign * sizes[0], sign * sizes[1]
            off[p], begins[p] = t + pulse, t + pulse + delay
            end = ends[k, p]
            if end < n_steps:
                stops[p] = end - 1
                following[p] = chain[end]
                chain[end] = p
            else:
                stops[p] = n_steps
            number[p] = k + 1
            p = later
        x, y, w = inputs[t, 0], targets[t, 0], weights[t, 0]
        for p in range(n_trials):
            x[p] = height[p] if t < off[p] else 0.0
            y[p] = target[p]
            w[p] = weight if begins[p] <= t < stops[p] else 0.0


@compiled()
def _add_pulses(
    draws: np.ndarray, ends: np.ndarray, first: int, pulse: int, size: float, inputs: np.ndarray
) -> None:
    """Add the pulses to inputs, (time, 1, trials)."""
    n_steps, _, n_trials = inputs.shape
    for p in range(n_trials):
        start = first
        k = 0
        while start < n_steps:
            height = size if draws[p, k, 0] < 0.5 else -size
            for t in range(start, min(start + pulse, n_steps)):
                inputs[t, 0, p] += height
            start = ends[k, p]
            k += 1


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
        object.__setattr__(self, "trials", trial_count(self.trials, self.duration, self.dt))
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
        draws, ends, counted = self.draw(rng)
        n_steps, first, pulse, delay, _ = self._in_bins
        inputs, targets, weights = np.empty((3, n_steps, 1, self.trials))
        sizes = (self.input_amplitude, self.target_amplitude)
        _fill(draws, ends, counted, first, pulse, delay, sizes, inputs, targets, weights)
        return trials_from_loops(inputs, targets, weights, self.dt)

    def draw(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, int]:
        """Draw where the pulses of one epoch come, as `sample` does.

        Parameters
        ----------
        rng : numpy.random.Generator
            Source of randomness.

        Returns
        -------
        draws : numpy.ndarray, (trials, pulses, 2)
            Numbers in [0, 1) that decide each pulse's sign and the wait after it.
        ends : numpy.ndarray of int, (pulses, trials)
            The bin where the wait after each pulse ends, which is where the next one starts; not
            filled after the first that lies beyond the trial.
        counted : int
            Bins that the loss counts, over all trials.
        """
        n_steps, first, pulse, delay, most = self._in_bins
        draws = rng.random((self.trials, most, 2))
        low, high = self.wait[0] / self.dt, self.wait[1] / self.dt
        return draws, *_ends_of_waits(draws, first, pulse + delay, low, high, n_steps)

    @cached_property
    def _in_bins(self) -> tuple[int, int, int, int, int]:
        """Length of trial, silence, pulse and delay in bins, and the most pulses of a trial."""
        first, pulse, delay = map(self._bins, (self.first_pulse, self.pulse, self.delay))
        n_steps = bin_count(self.duration, self.dt)
        shortest = pulse + delay + math.floor(self.wait[0] / self.dt + 0.5)
        return n_steps, first, pulse, delay, max(1, math.ceil((n_steps - first) / shortest))

    def add_pulses(self, drawn: tuple[np.ndarray, np.ndarray, int], inputs: np.ndarray) -> None:
        """Add the pulses that were drawn to inputs, (time, 1, trials), in place."""
        draws, ends, _ = drawn
        _, first, pulse, *_ = self._in_bins
        _add_pulses(draws, ends, first, pulse, self.input_amplitude, inputs)
