"""Context-dependent decision-making: a cue tells which of two noisy stimuli to report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd

from predictlearn.checks import as_float_array, non_negative
from predictlearn.errors import InputError, choice
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
from predictlearn.theory.activity import simulate
from predictlearn.theory.overlaps import Overlaps
from predictlearn.theory.trials import Trials

__all__ = ["CUES", "ContextDecision", "decision_accuracy"]

CUES = ("stimulus", "trial")


def decision_accuracy(trials: Trials, outputs: np.ndarray, level: float = 0.95) -> pd.Series:
    """Return on how many trials the output has the sign that was asked for.

    Parameters
    ----------
    trials : Trials
        Trials with one output; the weights say when the answer counts.
    outputs : array_like, (trials, time, 1)
        Network outputs.
    level : float, default 0.95
        Of the interval.

    Returns
    -------
    pandas.Series
        ``accuracy``, the share of trials on which the weighted mean of what the loss reads has the
        sign of the weighted mean of the target; its binomial interval ``low``, ``high`` (Wilson);
        ``correct`` and ``trials``, the counts.

    Raises
    ------
    InputError
        If there is more than one output, shapes disagree, a target has no sign, or level is not
        between 0 and 1.

    Examples
    --------
    >>> import numpy as np
    >>> trials = ContextDecision(trials=50).sample(np.random.default_rng(0))
    >>> float(decision_accuracy(trials, trials.targets)["accuracy"])
    1.0
    """
    # slow to import, and needed here alone
    from scipy.stats import binomtest

    if trials.n_out != 1:
        raise InputError(f"trials must have one output; got {trials.n_out}.")
    outputs = as_float_array(
        "outputs", outputs, shape=trials.targets.shape, axes="(trials, time, 1)"
    )
    if not 0 < non_negative("level", level) < 1:
        raise InputError(f"level must be between 0 and 1; got {level:g}.")
    weights = trials.weights[..., 0]
    asked = np.sign(np.sum(weights * trials.targets[..., 0], axis=1))
    if np.any(asked == 0):
        raise InputError(
            f"every trial must have a target with a sign; {int(np.sum(asked == 0))} have none."
        )
    given = np.sign(np.sum(weights * trials.observe(outputs)[..., 0], axis=1))
    correct = int(np.sum(given == asked))
    interval = binomtest(correct, trials.n_trials).proportion_ci(level, method="wilson")
    return pd.Series(
        {
            "accuracy": correct / trials.n_trials,
            "low": float(interval.low),
            "high": float(interval.high),
            "correct": correct,
            "trials": trials.n_trials,
        },
        name="accuracy",
    )


@dataclass(frozen=True)
class ContextDecision(Freezable, Windows):
    """Fixation, two noisy stimuli with a cue, delay, response.

    Inputs 1 and 2 carry the stimuli: ``coherence * gain`` plus independent noise in every bin,
    the two coherences drawn independently. Inputs 3 and 4 carry the cue: input 3 is
    ``cue_amplitude`` in context 1, input 4 in context 2, and the other is zero. In the response,
    which lasts to the end of the trial, the target is the sign of the coherence of the stimulus
    that the context picks, times ``target_amplitude``. The loss is the mean squared error over the
    bins of the response.

    The task follows the usual context-dependent decision-making; the settings are ours.

    Parameters
    ----------
    coherences : sequence of float, default (-16, -8, 8, 16)
        Stimulus strengths other than zero; one is drawn at random for each stimulus.
    noise : float, default 0.1
        Standard deviation of the noise on each stimulus in each bin.
    duration : float, default 9.0
        Length of a trial in seconds.
    dt : float, default 0.2
        Bin width in seconds.
    trials : int, default 128
        Trials drawn in each epoch.
    fixation : float, default 0.4
        Time before the stimuli in seconds.
    stimulus : float, default 2.6
        Length of the stimuli in seconds.
    delay : float, default 4.0
        Time between stimuli and response in seconds.
    gain : float, default 0.0625
        Input per unit of coherence.
    cue_amplitude : float, default 2.0
        Input of the cue.
    cue : {"stimulus", "trial"}
        When the cue is on: with the stimuli, as `one_population_bound` needs, or throughout the
        trial.
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
    ((4, 45, 4), 10)
    """

    coherences: Sequence[float] = (-16.0, -8.0, 8.0, 16.0)
    noise: float = 0.1
    duration: float = 9.0
    dt: float = 0.2
    trials: int = 128
    fixation: float = 0.4
    stimulus: float = 2.6
    delay: float = 4.0
    gain: float = 1 / 16
    cue_amplitude: float = 2.0
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
        object.__setattr__(self, "trials", trial_count(self.trials, self.duration, self.dt))
        levels = as_float_array("coherences", self.coherences, ndim=1)
        if levels.size == 0 or np.any(levels == 0):
            raise InputError(
                "coherences must hold at least one value, and none that is 0, which has no sign to "
                f"report; got {self.coherences!r}."
            )
        object.__setattr__(self, "coherences", tuple(levels.tolist()))
        check_times(self, "target_amplitude")
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
            ``trials`` trials with four inputs (two stimuli, two cues) and one output.
        """
        levels = np.asarray(self.coherences)[
            rng.integers(len(self.coherences), size=(2, self.trials))
        ]
        return self._trials(levels, rng.integers(2, size=self.trials), rng)

    def _trials(
        self, levels: np.ndarray, context: np.ndarray, rng: np.random.Generator | None
    ) -> Trials:
        """Return trials of given coherences, (2, trials), and contexts 0 or 1, (trials,)."""
        n_trials = context.size
        n_steps = bin_count(self.duration, self.dt)
        on, off, respond = self._edges()
        inputs = np.zeros((n_steps, 4, n_trials))
        targets, weights = np.zeros((2, n_steps, 1, n_trials))
        if rng is not None and self.noise > 0:
            noise = np.empty((off - on, 2, n_trials))
            fill_normal(rng, noise, self.noise)
            inputs[on:off, :2] = noise
        inputs[on:off, :2] += self.gain * levels
        cued = slice(on, off) if self.cue == "stimulus" else slice(None)
        for which in range(2):
            inputs[cued, 2 + which] = self.cue_amplitude * (context == which)
        asked = np.where(context == 0, levels[0], levels[1])
        targets[respond:, 0] = self.target_amplitude * np.sign(asked)
        weights[respond:, 0] = 1.0 / (n_trials * (n_steps - respond))
        return trials_from_loops(inputs, targets, weights, self.dt)

    @property
    def conditions(self) -> pd.DataFrame:
        """All conditions, in the order of `every_trial`, and whether the stimuli are in conflict.

        ``coherence_1``, ``coherence_2``, ``context`` (1 or 2), ``conflict`` (opposite signs).
        """
        first, second, context = np.meshgrid(
            self.coherences, self.coherences, [1, 2], indexing="ij"
        )
        table = pd.DataFrame(
            {
                "coherence_1": first.ravel(),
                "coherence_2": second.ravel(),
                "context": context.ravel(),
            }
        )
        return table.assign(conflict=table["coherence_1"] * table["coherence_2"] < 0)

    def every_trial(self) -> Trials:
        """Return one trial without noise of each of the `conditions`.

        Examples
        --------
        >>> ContextDecision().every_trial().n_trials
        32
        """
        table = self.conditions
        levels = table[["coherence_1", "coherence_2"]].to_numpy().T
        return self._trials(levels, table["context"].to_numpy() - 1, None)

    def one_population_bound(self, overlaps: Overlaps, tau: float = 1.0) -> float:
        """Return a loss that one population of rank one cannot go below, on `every_trial`.

        Parameters
        ----------
        overlaps : Overlaps
            A network of one population, rank one, with four inputs and one output. Only the
            overlaps zm enter.
        tau : float, default 1.0
            Time constant in seconds.

        Returns
        -------
        float
            With coherences of both signs alike and zm too small to carry a stimulus across the
            delay, an eighth of the squared ``target_amplitude``.

        Raises
        ------
        InputError
            If the cue is on throughout the trial, the network has another size, or vu is so
            negative that a single bin of the Euler step could turn the sign of k_u.

        Notes
        -----
        For any nonlinearity whose gain is positive and at most 1. Without noise all inputs x of a
        trial have the same course f_t >= 0 after the filter, so
        ``k_u,t+1 = (1 - a + a g_t S_vu) k_u,t + a g_t f_t (S_vm . x)``. Whatever g_t > 0 does, k_u
        starts at zero and keeps the sign of S_vm . x: the network is a linear threshold unit. Take
        stimuli c of opposite signs, and -c, in contexts 1 and 2. Being right in context 1 needs
        S_v1 c_1 + S_v2 c_2 to have the sign of zu c_1, in context 2 that of zu c_2, the opposite,
        whatever a cue adds: of the four trials at least one has ``zu k_u`` of the wrong sign or
        zero, at all times. There the output has the right sign by no more than the direct path,
        ``|S_zm . x| f_t``, and the squared error in each bin is at least
        ``(target_amplitude - |S_zm . x| f_t)^2`` where this path is smaller than the target.

        Examples
        --------
        >>> import numpy as np
        >>> import predictlearn as pl
        >>> task, network = ContextDecision(), pl.Overlaps(np.eye(7), n_in=4)
        >>> task.one_population_bound(network)
        0.125
        >>> bool(pl.loss(network, task.every_trial(), "erf") >= 0.125)
        True
        """
        if self.cue != "stimulus":
            raise InputError(
                "cue must be 'stimulus' for the bound, which needs all inputs to come and go "
                f"together; got {self.cue!r}."
            )
        if not isinstance(overlaps, Overlaps) or overlaps.sizes != (4, 1, 1):
            got = overlaps.sizes if isinstance(overlaps, Overlaps) else type(overlaps).__name__
            raise InputError(
                f"overlaps must be an Overlaps of n_in 4, rank 1 and n_out 1; got {got}."
            )
        trials = self.every_trial()
        k_m = simulate(overlaps, trials, "linear", tau).k_m
        a = self.dt / tau
        if 1 - a + a * overlaps["vu"] < 0:
            raise InputError(
                f"vu must be at least {-(1 - a) / a:g} at this dt and tau, or k_u can change its "
                f"sign from bin to bin; got {overlaps['vu']:g}."
            )
        path = np.abs(k_m @ overlaps.block("z", "m")[0])
        counts = trials.weights[0, :, 0] > 0
        # where each trial of a group of four can be: coherences c and -c, in both contexts
        where = {
            tuple(row): place
            for place, row in enumerate(
                self.conditions[["coherence_1", "coherence_2", "context"]].to_numpy()
            )
        }
        total = 0.0
        for first, second, context in where:
            group = [
                where.get((sign * first, sign * second, which))
                for sign in (1, -1)
                for which in (1, 2)
            ]
            # each group once, from its member of context 1 with a positive first stimulus
            if context == 1 and first > 0 > second and None not in group:
                reach = np.max([path[member] for member in group], axis=0)[counts]
                total += np.mean(np.clip(self.target_amplitude - reach, 0.0, None) ** 2)
        return float(total / trials.n_trials)
