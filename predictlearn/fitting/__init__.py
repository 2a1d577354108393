"""Fitting: from the recording of a session to overlaps with intervals."""

from __future__ import annotations

from predictlearn.deprecated import moved_names
from predictlearn.fitting.diagnostics.diagnose import Diagnostics, diagnose
from predictlearn.fitting.diagnostics.fixed_points import (
    FixedPoint,
    fitted_fixed_points,
    fixed_points,
)
from predictlearn.fitting.diagnostics.loading_shape import LoadingShape, loading_shape
from predictlearn.fitting.evaluation.ceiling import Ceiling, condition_mean_ceiling, trial_folds
from predictlearn.fitting.evaluation.cosmoothing import cosmooth
from predictlearn.fitting.evaluation.coverage import Coverage, interval_coverage
from predictlearn.fitting.evaluation.rank_selection import RankSelection, select_rank
from predictlearn.fitting.learning.estimator import LearningFit
from predictlearn.fitting.learning.forecast import Forecast
from predictlearn.fitting.learning.goodness import GoodnessOfFit
from predictlearn.fitting.rules.columns import measured_rule_columns
from predictlearn.fitting.rules.comparison import RuleComparison, compare_rules
from predictlearn.fitting.rules.fit import RuleFit, fit_rule
from predictlearn.fitting.rules.hypothesis import Hypothesis
from predictlearn.fitting.session.estimator import LowRankRNN
from predictlearn.fitting.state_space.estimator import Smoothed, StochasticLowRankRNN
from predictlearn.recordings.silent_units import fallen_silent, mask_silent

__all__ = [
    "Ceiling",
    "Coverage",
    "Diagnostics",
    "FixedPoint",
    "Forecast",
    "GoodnessOfFit",
    "Hypothesis",
    "LearningFit",
    "LoadingShape",
    "LowRankRNN",
    "RankSelection",
    "RuleComparison",
    "RuleFit",
    "Smoothed",
    "StochasticLowRankRNN",
    "compare_rules",
    "condition_mean_ceiling",
    "cosmooth",
    "diagnose",
    "fallen_silent",
    "fit_rule",
    "fitted_fixed_points",
    "fixed_points",
    "interval_coverage",
    "loading_shape",
    "mask_silent",
    "measured_rule_columns",
    "select_rank",
    "trial_folds",
]

__getattr__ = moved_names(
    __name__,
    dict.fromkeys(("simulate_learning", "simulate_sessions"), "predictlearn.simulation"),
)
