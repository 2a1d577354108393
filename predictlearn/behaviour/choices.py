"""Choices between two alternatives: threshold, decision noise, bias and lapses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import scipy
from scipy import special

from predictlearn.arrays import Array
from predictlearn.behaviour.base import checked_range, vectors
from predictlearn.behaviour.defaults import typical_value
from predictlearn.checks import as_float_array, non_negative
from predictlearn.errors import InputError

__all__ = ["Choices"]


@dataclass(frozen=True)
class Choices:
    """A choice between two alternatives, or of go against no-go, from one output of a network.

    The animal chooses the positive side where ``output + bias + noise * normal > threshold``, and
    in a share of trials, whatever the output, one of the sides by chance::

        P(positive) = lapse + (1 - 2 lapse) Phi((output + bias - threshold) / noise)

    Parameters
    ----------
    noise : float
        Decision noise: standard deviation of what is added to the output, in its units; zero for
        none.
    lapse : float, default 0.0
        Share of errors where the output is far from the threshold, from 0 up to but not including
        0.5. Twice as many trials are decided by chance. `Choices.typical` takes it from data.
    threshold : float, default 0.0
        Where the task divides the sides: the side of a target above it is the positive one.
    bias : float, default 0.0
        The animal's preference of the positive side, in units of the output. Choices alone show
        only ``bias - threshold``.

    Raises
    ------
    InputError
        If a number is out of range.

    References
    ----------
    Wichmann & Hill (2001), Perception & Psychophysics 63:1293, for the psychometric function with
    lapses.

    Examples
    --------
    >>> import numpy as np
    >>> choices = Choices(noise=0.5, lapse=0.02)
    >>> choices.probability([-5.0, 0.0, 5.0]).round(2).tolist()
    [0.02, 0.5, 0.98]
    >>> round(choices.percent_correct([0.3, -0.3], [1.0, -1.0]), 1)
    71.7
    """

    noise: float
    lapse: float = 0.0
    threshold: float = 0.0
    bias: float = 0.0

    outcome = "correct"
    summary = "percent_correct"
    factor = 100.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "noise", non_negative("noise", self.noise))
        object.__setattr__(self, "lapse", non_negative("lapse", self.lapse))
        for name in ("threshold", "bias"):
            value = float(as_float_array(name, getattr(self, name), ndim=0))
            object.__setattr__(self, name, value)
        if self.lapse >= 0.5:
            raise InputError(
                f"lapse must be from 0 up to but not including 0.5; got {self.lapse:g}. It is the "
                "share of errors on trials that are easy."
            )

    @classmethod
    def typical(cls, noise: float, threshold: float = 0.0) -> Choices:
        """Return choices with the lapse rate of mice, ``mouse_lapse`` of `behaviour_defaults`.

        Parameters
        ----------
        noise, threshold : float
            As of the class: they are in units of the output, which no data know.
        """
        return cls(noise, typical_value("mouse_lapse"), threshold)

    def _chosen(self, margin: Any, sd: Any = 0.0) -> Array:
        """Return the probability of a side that the output favours by a margin."""
        margin, wide = np.broadcast_arrays(margin, np.hypot(self.noise, sd))
        with np.errstate(divide="ignore", invalid="ignore"):
            z = np.where(margin == 0, 0.0, margin / wide)
        return np.asarray(self.lapse + (1 - 2 * self.lapse) * special.ndtr(z))

    def probability(self, outputs: Any, sd: Any = 0.0) -> Array:
        """Return the probability of choosing the positive side.

        Parameters
        ----------
        outputs : array_like
            Outputs, of any shape.
        sd : array_like, default 0.0
            Standard deviation of outputs about these means, normal: a closed form, too.

        Returns
        -------
        numpy.ndarray
            Probabilities, of that shape.
        """
        outputs = as_float_array("outputs", outputs)
        return self._chosen(outputs + (self.bias - self.threshold), sd)

    def correct_probability(self, outputs: Any, targets: Any, sd: Any = 0.0) -> Array:
        """Return the probability of a correct choice; one half where a target has no side.

        Parameters
        ----------
        outputs, targets : array_like
            Of shapes that go together.
        sd : array_like, default 0.0
            As in `probability`.

        Returns
        -------
        numpy.ndarray
            Probabilities.
        """
        outputs, targets = as_float_array("outputs", outputs), as_float_array("targets", targets)
        return self._chosen(self.judged(outputs[..., None], targets[..., None]), sd)

    def percent_correct(self, outputs: Any, targets: Any, sd: Any = 0.0) -> float:
        """Return the percent correct that is expected over all trials."""
        return 100.0 * float(np.mean(self.correct_probability(outputs, targets, sd)))

    def psychometric_function(self, outputs: Any, levels: Any, sd: Any = 0.0) -> pd.DataFrame:
        """Return how often the positive side is chosen at each level of the stimulus.

        Parameters
        ----------
        outputs, levels : array_like, (trials,)
            Output and level of each trial.
        sd : array_like, default 0.0
            As in `probability`.

        Returns
        -------
        DataFrame
            One row a level: level, trials, output (their mean) and probability.

        Examples
        --------
        >>> Choices(0.5).psychometric_function([-1, 0, 0, 1], [-8, 0, 0, 8]).trials.tolist()
        [1, 2, 1]
        """
        outputs = as_float_array("outputs", outputs, ndim=1)
        levels = as_float_array("levels", levels, shape=outputs.shape)
        rows = pd.DataFrame(
            {"level": levels, "output": outputs, "probability": self.probability(outputs, sd)}
        )
        table = rows.groupby("level").agg(
            trials=("output", "size"),
            output=("output", "mean"),
            probability=("probability", "mean"),
        )
        return table.reset_index()

    def simulate(self, outputs: Any, rng: np.random.Generator) -> np.ndarray:
        """Draw choices: 1 for the positive side, 0 for the other, of the shape of the outputs."""
        chances = self.probability(outputs)
        return (rng.random(chances.shape) < chances).astype(np.int64)

    def log_likelihood(self, choices: Any, outputs: Any, trials: Any = None) -> float:
        """Return the log likelihood of choices, natural logarithm.

        Parameters
        ----------
        choices : array_like
            1 for the positive side and 0 for the other; with `trials`, how many of them.
        outputs : array_like
            Output of each row.
        trials : array_like, optional
            Trials of each row: binomial counts, with their coefficients.

        Returns
        -------
        float
            The sum over rows; minus infinity where a choice is impossible.

        Raises
        ------
        InputError
            If a choice is out of range, with its row.

        Examples
        --------
        >>> round(Choices(0.5).log_likelihood([1, 0], [0.5, 0.5]), 3)
        -2.014
        """
        chances = self.probability(outputs)
        if trials is None:
            chosen = checked_range("choices", choices, 0.0, 1.0, whole=True)
            if chosen.shape != chances.shape:
                raise InputError(
                    f"choices must have the shape of outputs, {chances.shape}; got {chosen.shape}."
                )
            return float(
                np.sum(special.xlogy(chosen, chances) + special.xlog1py(1 - chosen, -chances))
            )
        counts = checked_range("trials", trials, 1.0, np.inf, whole=True)
        chosen = checked_range("choices", choices, 0.0, float(np.max(counts)), whole=True)
        if not chosen.shape == counts.shape == chances.shape:
            raise InputError(
                "choices, outputs and trials must have one shape; got "
                f"{chosen.shape}, {chances.shape} and {counts.shape}."
            )
        if np.any(chosen > counts):
            row = int(np.argmax(chosen > counts))
            raise InputError(
                f"choices must be at most trials; in row {row} there are {chosen.flat[row]:g} of "
                f"{counts.flat[row]:g}."
            )
        return float(np.sum(scipy.stats.binom.logpmf(chosen, counts, chances)))

    # -- for simulate_animals --------------------------------------------------------------------

    def judged(self, outputs: Any, targets: Any) -> Array:
        """Return by how much the output favours the correct side; 0 where there is none."""
        outputs, targets = vectors(outputs, targets, 1)
        side = np.sign(targets[..., 0] - self.threshold)
        return np.asarray(side * (outputs[..., 0] + (self.bias - self.threshold)))

    def moments(self, judged: Array, deviation: Any = 0.0) -> tuple[Array, Array]:
        """Return mean and variance of a trial's outcome, 1 for correct.

        A session's deviation is added to the log odds of a correct choice.
        """
        p = self._chosen(judged)
        if np.any(deviation):
            with np.errstate(divide="ignore"):
                p = special.expit(special.logit(p) + deviation)
        return p, p * (1 - p)

    def draw(self, judged: Array, rng: np.random.Generator, deviation: Any = 0.0) -> Array:
        """Draw outcomes, 1.0 for correct."""
        p, _ = self.moments(judged, deviation)
        return (rng.random(np.shape(p)) < p).astype(float)
