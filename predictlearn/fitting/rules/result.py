"""What a fit of a rule to sessions gives."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from predictlearn.fitting.learning.goodness import GoodnessOfFit
from predictlearn.fitting.rules.hypothesis import Hypothesis
from predictlearn.theory.learning.local_rules import LocalRule
from predictlearn.theory.learning.rules import GradientDescent
from predictlearn.theory.overlaps import Overlaps

__all__ = ["RuleFit"]


@dataclass(frozen=True, eq=False)
class RuleFit:
    """A hypothesis fitted to sessions.

    Parameters
    ----------
    hypothesis : Hypothesis
        What was fitted.
    rule : GradientDescent, FeedbackAlignment or RFLO
        With the rate and the feedback found.
    start : Overlaps
        Overlaps before learning. Where synapses learn those of u and v mean nothing beyond
        U V': they are given with U'U = V'V.
    parameters : DataFrame
        estimate, sd, low, high by parameter: overlaps, rate, decoder and private as far as fitted;
        and whether it is open: that the sessions leave it so, with no interval then.
    log_likelihood : float
        At the maximum.
    n_determined : int
        Directions of the parameters that the sessions determine.
    predicted, residuals : DataFrame
        What the fit predicts for the sessions, and what it leaves, in units of the errors and
        uncorrelated within a session.
    goodness : GoodnessOfFit
        The chi-square test of the hypothesis, its degrees of freedom less what is determined.
    converged : bool
        Whether the search ended by itself.
    """

    hypothesis: Hypothesis
    rule: GradientDescent | LocalRule
    start: Overlaps
    parameters: pd.DataFrame
    log_likelihood: float
    n_determined: int
    predicted: pd.DataFrame
    residuals: pd.DataFrame
    goodness: GoodnessOfFit
    converged: bool

    @property
    def open(self) -> tuple[str, ...]:
        """Names of the parameters that the sessions leave open."""
        return tuple(self.parameters.index[self.parameters["open"]])
