"""Decision-making: report the strength of a noisy stimulus after it has gone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from predictlearn.checks import as_float_array, non_negative
from predictlearn.compiled import compiled
from predictlearn.errors import InputError
from predictlearn.tasks.normal_numbers import fill_normal
from predictlearn.tasks.trial_windows import (
    Freezable,
    Windows,
    bin_count,
    check_number,
    check_times,
    trial_count,
    trials_from_loops,
)
from predictlearn.theory.trials import Trials

__all__ = ["DecisionMaking"]


@compiled()
def _complete(
    shown: np.ndarray,
    asked: np.ndarray,
    on: int,
    off: int,
    respond: int,
    inputs: np.ndarray,
    targets: np.ndarray,
    weights: np.ndarray,
) -> None:
    """Write all but the noise, (time, 1, trials): stimuli are `shown` and `asked` for, (trials,).

    `inputs` hold the noise in bins `on` to `off`.
    """
    n_steps, _, n_trials = inputs.shape
    weight = 1.0 / (n_trials * (n_steps - respond))
    for t in range(n_steps):
        x, y, w = inputs[t, 0], targets[t, 0], weights[t, 0]
        if on <= t < off:
            for p in range(n_trials):
                x[p] += shown[p]
        else:
            x[:] = 0.0
        if t >= respond:
            for p in range(n_trials):
                y[p] = asked[p]
                w[p] = weight
        else:
            y[:] = 0.0
            w[:] = 0.0


@dataclass(frozen=True)
class DecisionMaking(Freezable, Windows):
    """Fixation, noisy stimulus, delay, response.

    During the stimulus the input is ``coherence * gain`` plus independent noise in every bin;
    outside it the input is zero. In the response, which lasts to the end of the trial, the target
    is ``coherence / scale``. The loss is the mean squared error over the bins of the response.

    Parameters
    ----------
    coherences : sequence of float, default (-16, -8, -2, 2, 8, 16)
        Stimulus strengths, one drawn at random for each trial.
    noise : float, default 0.05
        Standard deviation of the input noise in each bin of the stimulus.
    duration : float, default 20.0
        Length of a trial in seconds.
    dt : float, default 0.05
        Bin width in seconds.
    trials : int, default 128
        Trials drawn in each epoch.
    fixation : float, default 1.0
        Time before the stimulus in seconds.
    stimulus : float, default 9.0
        Length of the stimulus in seconds.
    delay : float, default 1.0
        Time between stimulus and response in seconds.
    gain : float, default 0.032
        Input per unit of coherence (published: 3.2 / 100).
    scale : float, default 16.0
        Coherence at which the target is 1.

    Raises
    ------
    InputError
        If a number is out of range, or no bin is left for the response.

    Examples
    --------
    >>> import numpy as np
    >>> trials = DecisionMaking(trials=4).sample(np.random.default_rng(0))
    >>> trials.inputs.shape, int((trials.weights[0] > 0).sum())   # 9 s of response
    ((4, 400, 1), 180)
    """

    coherences: Sequence[float] = (-16.0, -8.0, -2.0, 2.0, 8.0, 16.0)
    noise: float = 0.05
    duration: float = 20.0
    dt: float = 0.05
    trials: int = 128
    fixation: float = 1.0
    stimulus: float = 9.0
    delay: float = 1.0
    gain: float = 3.2 / 100
    scale: float = 16.0

    n_in: ClassVar[int] = 1
    n_out: ClassVar[int] = 1
    fixed: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_times(self, "duration", "dt", "stimulus")
        for name in ("noise", "fixation", "delay"):
            object.__setattr__(self, name, non_negative(name, getattr(self, name)))
        object.__setattr__(self, "gain", check_number("gain", self.gain))
        object.__setattr__(self, "trials", trial_count(self.trials, self.duration, self.dt))
        levels = as_float_array("coherences", self.coherences, ndim=1)
        if not np.any(levels):
            raise InputError(f"coherences must hold a value other than 0; got {self.coherences!r}.")
        object.__setattr__(self, "coherences", tuple(levels.tolist()))
        check_times(self, "scale")
        self._check_windows()

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
        on, off, respond = self._edges()
        levels = np.asarray(self.coherences)[rng.integers(len(self.coherences), size=self.trials)]
        inputs, targets, weights = np.empty((3, n_steps, 1, self.trials))
        fill_normal(rng, inputs[on:off], self.noise)
        shown, asked = self.gain * levels, levels / self.scale
        _complete(shown, asked, on, off, respond, inputs, targets, weights)
        return trials_from_loops(inputs, targets, weights, self.dt)
