"""The tables of `LearningFit`, by the same names, for a fit of any hypothesis about learning."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from predictlearn.fitting.learning.goodness import GoodnessOfFit
from predictlearn.theory.learning.local_rules import LocalRule
from predictlearn.theory.learning.rules import GradientDescent
from predictlearn.theory.overlaps import Overlaps

__all__ = ["LearnedTables"]


class LearnedTables:
    """What was found, by the names that `LearningFit` gives it.

    `start_`, `intervals_`, `identifiable_`, `rate_`, `log_likelihood_`, `trajectory_`,
    `residuals_`, `converged_` and `goodness_of_fit`, so that code that reads a `LearningFit` reads
    a fit of `fit_rule` too.
    """

    if TYPE_CHECKING:
        rule: GradientDescent | LocalRule
        start: Overlaps
        log_likelihood: float
        predicted: pd.DataFrame
        residuals: pd.DataFrame
        goodness: GoodnessOfFit
        converged: bool

        @property
        def parameters(self) -> pd.DataFrame:
            """Estimates with intervals, and whether they are open."""
            ...

    @property
    def start_(self) -> Overlaps:
        """Overlaps before learning; where synapses learn only U V' of u and v is meant."""
        return self.start

    @property
    def intervals_(self) -> pd.DataFrame:
        """low, high, estimate, sd by overlap, and rate, decoder and private as far as fitted.

        NaN where the sessions leave a parameter open: no interval is given then.
        """
        return self.parameters[["low", "high", "estimate", "sd"]]

    @property
    def identifiable_(self) -> pd.Series:
        """By overlap: whether the sessions determine it."""
        rows = self.parameters.index.intersection(list(self.start.names), sort=False)
        return ~self.parameters.loc[rows, "open"].astype(bool).rename(None)

    @property
    def rate_(self) -> float:
        """Rate of the rule."""
        return float(self.rule.rate)

    @property
    def log_likelihood_(self) -> float:
        """At the maximum."""
        return self.log_likelihood

    @property
    def trajectory_(self) -> pd.DataFrame:
        """What the fit predicts for the sessions."""
        return self.predicted

    @property
    def residuals_(self) -> pd.DataFrame:
        """What the fit leaves, in units of the errors."""
        return self.residuals

    @property
    def converged_(self) -> bool:
        """Whether the search ended by itself."""
        return self.converged

    def goodness_of_fit(self) -> GoodnessOfFit:
        """Return the chi-square test of the hypothesis."""
        return self.goodness
