"""Context-dependent decision-making: a cue tells which of two noisy stimuli to report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from predictlearn.checks import as_float_array, non_negative, positive_int
from predictlearn.errors import InputError, choice
from predictlearn.tasks._common import Freezable, bin_count, check_number, check_times, time_major
from predictlearn.theory.trials import Trials

__all__ = ["CUES", "ContextDecision"]

CUES = ("stimulus", "trial")


@dataclass(frozen=True)
class ContextDecision(Freezable):
    """Fixation, two noisy stimuli with a cue, delay, response.

    Inputs 1 and 2 carry the stimuli: ``coherence * gain`` plus independent noise in every bin,
    the two coherences drawn independently. Inputs 3 and 4 carry the cue: input 3 is
    ``cue_amplitude`` in context 1, input 4 in context 2, and the other is zero. In the response,
    which lasts to the end of the trial, the target is the sign of the coherence of the stimulus
    that the context picks, times ``target_amplitude``. The loss is the mean squared error over the
    bins of the response.

    The task and its settings are ours; contexts and stimuli are those of the usual
    context-dependent decision-making.

    Parameters
    ----------
    coherences : sequence of float, default (-16, -8, 8, 16)
        Stimulus strengths other than zero; one is drawn at random for each stimulus.
    noise : float, default 0.1
        Standard deviation of the noise on each stimulus in each bin.
    duration : float, default 8.0
        Length of a trial in seconds.
    dt : float, default 0.2
        Bin width in seconds.
    trials : int, default 128
        Trials drawn in each epoch.
    fixation : float, default 0.4
        Time before the stimuli in seconds.
    stimulus : float, default 2.6
        Length of the stimuli in seconds.
    delay : float, default 3.0
        Time between stimuli and response in seconds.
    gain : float, default 0.0625
        Input per unit of coherence.
    cue_amplitude : float, default 1.0
        Input of the cue.
    cue : {"stimulus", "trial"}
        When the cue is on: with the stimuli, or throughout the trial.
    target_amplitude : float, default 1.0
        What to report, times the sign.

    Raises
    ------
    InputError
        If a setting is out of range, or no bin is left for the response.

    Examples
    --------
    >>> import numpy as np
    >>> trials = ContextDecision(trials=4).sample(np.random.default_rng(0))
    >>> trials.inputs.shape, int((trials.weights[0] > 0).sum())   # 2 s of response
    ((4, 40, 4), 10)
    """

    coherences: Sequence[float] = (-16.0, -8.0, 8.0, 16.0)
    noise: float = 0.1
    duration: float = 8.0
    dt: float = 0.2
    trials: int = 128
    fixation: float = 0.4
    stimulus: float = 2.6
    delay: float = 3.0
    gain: float = 1 / 16
    cue_amplitude: float = 1.0
    cue: str = "stimulus"
    target_amplitude: float = 1.0

    n_in: ClassVar[int] = 4
    n_out: ClassVar[int] = 1
    fixed: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_times(self, "duration", "dt", "stimulus")
        for name in ("noise", "fixation", "delay"):
            object.__setattr__(self, name, non_negative(name, getattr(self, name)))
        for name in ("gain", "cue_amplitude"):
            object.__setattr__(self, name, check_number(name, getattr(self, name)))
        choice("cue", self.cue, CUES)
        object.__setattr__(self, "trials", positive_int("trials", self.trials))
        levels = as_float_array("coherences", self.coherences, ndim=1)
        if levels.size == 0 or np.any(levels == 0):
            raise InputError(
                "coherences must hold at least one value, and none that is 0, which has no sign to "
                f"report; got {self.coherences!r}."
            )
        object.__setattr__(self, "coherences", tuple(levels.tolist()))
        check_times(self, "target_amplitude")
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
        """Return the bins where the stimuli start and end, and where the response starts."""
        times = np.cumsum([self.fixation, self.stimulus, self.delay])
        on, off, respond = (round(float(time) / self.dt) for time in times)
        return on, off, respond

    def sample(self, rng: np.random.Generator) -> Trials:
        """Draw the trials of one epoch.

        Parameters
        ----------
        rng : numpy.random.Generator
            Source of randomness; the same state gives the same trials.

        Returns
        -------
        Trials
            ``trials`` trials with four inputs (two stimuli, two cues) and one output.
        """
        n_steps = bin_count(self.duration, self.dt)
        on, off, respond = self._edges()
        levels = np.asarray(self.coherences)[
            rng.integers(len(self.coherences), size=(2, self.trials))
        ]
        context = rng.integers(2, size=self.trials)
        inputs = time_major(self.trials, n_steps, 4)
        targets, weights = (time_major(self.trials, n_steps, 1) for _ in range(2))
        stimuli = rng.standard_normal((off - on, 2, self.trials))
        stimuli *= self.noise
        stimuli += self.gain * levels
        inputs[:, on:off, :2] = np.moveaxis(stimuli, 2, 0)
        cued = slice(on, off) if self.cue == "stimulus" else slice(None)
        for which in range(2):
            inputs[:, cued, 2 + which] = (self.cue_amplitude * (context == which))[:, None]
        asked = np.take_along_axis(levels, context[None], axis=0)[0]
        targets[:, respond:, 0] = (self.target_amplitude * np.sign(asked))[:, None]
        weights[:, respond:, 0] = 1.0 / (self.trials * (n_steps - respond))
        return Trials(inputs, targets, weights, self.dt)
