"""Teacher: imitate the output of another low-rank network."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from predictlearn.checks import as_float_array, non_negative
from predictlearn.compiled import FAST, compiled
from predictlearn.errors import InputError, choice
from predictlearn.tasks.flipflop import FlipFlop
from predictlearn.tasks.normal_numbers import fill_normal
from predictlearn.tasks.trial_windows import (
    Freezable,
    bin_count,
    check_number,
    check_times,
    trial_count,
    trials_from_loops,
)
from predictlearn.theory.kernels.rollout import filter_inputs, rollout_kernel
from predictlearn.theory.names import overlap_names, recordable_names, table_pairs
from predictlearn.theory.nonlinearity import Nonlinearity, resolve
from predictlearn.theory.overlaps import Overlaps
from predictlearn.theory.trials import Trials

_HALF_PI = math.pi / 2

__all__ = ["PUBLISHED_TEACHER", "Teacher", "complete_overlaps"]

PUBLISHED_TEACHER: Mapping[str, float] = {
    "zm": 0.5,
    "zu": 2.3,
    "vm": 2.0,
    "vu": 1.5,
    "mu": 1.6,
    "mm": 1.8,
    "uu": 2.2,
}
"""Overlaps of the published teacher, as far as activity and output depend on them."""


def complete_overlaps(values: Mapping[str, float], n_in: int = 1, n_out: int = 1) -> Overlaps:
    """Return a realisable table from the overlaps that activity and output depend on.

    What activity and output do not depend on (vv, zz, zv) is chosen as small as a network allows:
    with B the (m, u) block and C the rows of v and z in it, the (v, z) block is ``C B^-1 C^T``, so
    that v and z lie in the span of m and u.

    Parameters
    ----------
    values : mapping of str to float
        Overlaps by name: all of zm, zu, vm, vu, mu, mm, uu (with indices for a higher rank); any of
        vv, zz, zv that is named too is kept as given.
    n_in, n_out : int, default 1
        Numbers of inputs and outputs; the rank follows from the names.

    Returns
    -------
    Overlaps
        The completed table.

    Raises
    ------
    InputError
        If a name is missing or unknown, a value is not finite, or no network has these overlaps.

    Examples
    --------
    >>> o = complete_overlaps(PUBLISHED_TEACHER)
    >>> o["zu"], round(o["zz"], 3)
    (2.3, 4.566)
    """
    rank = max((int(i) for name in values for i in re.findall(r"u(\d+)", str(name))), default=1)
    needed, names = recordable_names(n_in, rank, n_out), overlap_names(n_in, rank, n_out)
    for name in values:
        choice("overlap name", name, names)
    missing = [name for name in needed if name not in values]
    if missing:
        raise InputError(f"overlaps must name {', '.join(needed)}; missing: {', '.join(missing)}.")
    pairs = table_pairs(n_in, rank, n_out)
    matrix = np.zeros((n_in + 2 * rank + n_out,) * 2)
    for name in needed:
        matrix[pairs[name]] = matrix[pairs[name][::-1]] = check_number(name, values[name])
    drive = slice(0, n_in + rank)
    rest = slice(n_in + rank, None)
    cross = matrix[rest, drive]
    matrix[rest, rest] = cross @ np.linalg.pinv(matrix[drive, drive], hermitian=True) @ cross.T
    for name in set(values) - set(needed):
        matrix[pairs[name]] = matrix[pairs[name][::-1]] = check_number(name, values[name])
    return Overlaps(matrix, n_in=n_in, rank=rank, n_out=n_out)


@compiled(fastmath=FAST, error_model="numpy")
def _answer(
    s: np.ndarray,
    a: float,
    erf: bool,
    weight: float,
    inputs: np.ndarray,
    answers: np.ndarray,
    weights: np.ndarray,
) -> None:
    """Fill the answers and weights, (time, 1, trials), of a teacher of rank one with one output.

    The loops behind `simulate` as one, which keeps nothing but the outputs.
    """
    mm, mu, uu = s[0, 0], 2.0 * s[0, 1], s[1, 1]
    vm, vu, zm, zu = s[2, 0], s[2, 1], s[3, 0], s[3, 1]
    n_steps, _, n_trials = inputs.shape
    keep = 1.0 - a
    k_m, k_u = np.zeros(n_trials), np.zeros(n_trials)
    for t in range(n_steps):
        x, y, w = inputs[t, 0], answers[t, 0], weights[t, 0]
        for p in range(n_trials):
            k = keep * k_m[p] + a * x[p]
            u = k_u[p]
            g = 1.0
            if erf:
                g = 1.0 / math.sqrt(1.0 + _HALF_PI * (mm * k * k + (mu * k + uu * u) * u))
            k_m[p] = k
            y[p] = g * (zm * k + zu * u)
            k_u[p] = keep * u + a * g * (vm * k + vu * u)
            w[p] = weight


@dataclass(frozen=True)
class Teacher(Freezable):
    """Imitate a teacher network on pulses in noise.

    The input is a flip-flop's pulses plus independent noise in every bin; the target is what a
    low-rank network of given overlaps answers to that input. The loss is the mean squared error
    times the duration in seconds.

    Parameters
    ----------
    overlaps : Overlaps or mapping of str to float, optional
        The teacher. A mapping need name only what the teacher's output depends on, see
        `complete_overlaps`. The published teacher if not given. One input.
    wait : (float, float), default (4.0, 10.0)
        Shortest and longest wait between pulses in seconds, see `FlipFlop`.
    input_amplitude : float, default 2.0
        Height of a pulse.
    noise : float, default 1.5
        Standard deviation of the input noise in each bin.
    nonlinearity : {"linear", "erf", "tanh"} or Nonlinearity, default "erf"
        The teacher's phi.
    tau : float, default 1.0
        The teacher's time constant in seconds, at least dt.
    duration : float, default 20.0
        Length of a trial in seconds.
    dt : float, default 0.05
        Bin width in seconds.
    trials : int, default 128
        Trials drawn in each epoch.

    Raises
    ------
    InputError
        If a number is out of range, or the teacher is not realisable or has more than one input.

    Examples
    --------
    >>> import numpy as np
    >>> trials = Teacher(trials=3).sample(np.random.default_rng(0))
    >>> trials.targets.shape, round(float(trials.weights.sum()), 9)   # 20 s
    ((3, 400, 1), 20.0)
    """

    overlaps: Overlaps = field(default=None)  # type: ignore[assignment]
    wait: tuple[float, float] = (4.0, 10.0)
    input_amplitude: float = 2.0
    noise: float = 1.5
    nonlinearity: str | Nonlinearity = "erf"
    tau: float = 1.0
    duration: float = 20.0
    dt: float = 0.05
    trials: int = 128

    def __post_init__(self) -> None:
        given = PUBLISHED_TEACHER if self.overlaps is None else self.overlaps
        if isinstance(given, Mapping):
            given = complete_overlaps(given)
        if not isinstance(given, Overlaps):
            raise InputError(
                "overlaps must be Overlaps or a mapping from names to values; "
                f"got {type(given).__name__}."
            )
        if given.n_in != 1:
            raise InputError(f"overlaps of a teacher must have one input; got {given.n_in}.")
        object.__setattr__(self, "overlaps", given)
        resolve(self.nonlinearity)
        check_times(self, "duration", "dt", "tau")
        if self.tau < self.dt:
            raise InputError(
                f"tau must be at least the bin width dt = {self.dt:g} s; got {self.tau:g} s."
            )
        object.__setattr__(self, "noise", non_negative("noise", self.noise))
        object.__setattr__(self, "trials", trial_count(self.trials, self.duration, self.dt))
        object.__setattr__(self, "wait", self._pulses.wait)
        object.__setattr__(self, "input_amplitude", self._pulses.input_amplitude)

    @classmethod
    def published(cls, dt: float = 0.05, trials: int = 128) -> Teacher:
        """Return the published teacher task.

        Parameters
        ----------
        dt : float, default 0.05
            Bin width in seconds.
        trials : int, default 128
            Trials drawn in each epoch.

        Returns
        -------
        Teacher
            With the published overlaps, pulses and noise.
        """
        return cls(dt=dt, trials=trials)

    @cached_property
    def _pulses(self) -> FlipFlop:
        """The flip-flop whose inputs are used."""
        return FlipFlop(
            wait=self.wait,
            input_amplitude=self.input_amplitude,
            duration=self.duration,
            dt=self.dt,
            trials=self.trials,
        )

    @property
    def n_in(self) -> int:
        """Number of inputs."""
        return self.overlaps.n_in

    @property
    def n_out(self) -> int:
        """Number of outputs."""
        return self.overlaps.n_out

    @property
    def fixed(self) -> bool:
        """False: every epoch draws new trials."""
        return False

    def label(self, inputs: np.ndarray) -> Trials:
        """Return given inputs with the teacher's answers as targets.

        Parameters
        ----------
        inputs : array_like, (trials, time, 1)
            Inputs in bins of `dt`.

        Returns
        -------
        Trials
            Weighted by duration / (trials * time * n_out), duration being that of these inputs.

        Raises
        ------
        InputError
            If the inputs are not (trials, time, 1) or not finite.
        """
        inputs = as_float_array("inputs", inputs, shape=(None, None, 1), axes="(trials, time, 1)")
        return self._labelled(np.ascontiguousarray(np.moveaxis(inputs, 0, 2)))

    def _labelled(self, inputs: np.ndarray) -> Trials:
        """Return inputs, (time, 1, trials), with the teacher's answers."""
        teacher, a = self.overlaps, self.dt / self.tau
        weight = self.dt / (inputs.shape[2] * self.n_out)
        if teacher.sizes == (1, 1, 1) and self._gain.size < 2:
            answers, weights = np.empty((2, *inputs.shape))
            _answer(teacher.matrix, a, self._gain.size == 1, weight, inputs, answers, weights)
        else:
            k_m = filter_inputs(inputs, a)
            # a copy, as in `simulate`
            matrix = teacher.matrix.copy()
            answers = rollout_kernel(matrix, *teacher.sizes, a, self._gain, k_m)[2]
            weights = np.full(answers.shape, weight)
        # what overflows stays infinite or becomes NaN until the end
        if not np.isfinite(answers[-1]).all():
            raise InputError("overlaps of the teacher make its answers grow beyond all numbers.")
        return trials_from_loops(inputs, answers, weights, self.dt)

    @cached_property
    def _gain(self) -> np.ndarray:
        """The gain of the teacher's phi, as the compiled loops take it."""
        return resolve(self.nonlinearity).gain_table

    def sample(self, rng: np.random.Generator) -> Trials:
        """Draw the trials of one epoch.

        Parameters
        ----------
        rng : numpy.random.Generator
            Source of randomness; the same state gives the same trials.

        Returns
        -------
        Trials
            ``trials`` trials with one input.
        """
        # the pulses are drawn first
        pulses = self._pulses.draw(rng)
        inputs = np.empty((bin_count(self.duration, self.dt), 1, self.trials))
        fill_normal(rng, inputs, self.noise)
        self._pulses.add_pulses(pulses, inputs)
        return self._labelled(inputs)
