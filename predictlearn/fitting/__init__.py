"""Fitting: from the recording of a session to overlaps with intervals."""

from __future__ import annotations

from predictlearn.fitting.ceiling import Ceiling, condition_mean_ceiling, trial_folds
from predictlearn.fitting.cleaning import fallen_silent, mask_silent
from predictlearn.fitting.cosmoothing import cosmooth
from predictlearn.fitting.coverage import Coverage, interval_coverage
from predictlearn.fitting.diagnostics import Diagnostics, diagnose
from predictlearn.fitting.fixed_points import FixedPoint, fitted_fixed_points, fixed_points
from predictlearn.fitting.learning_fit import LearningFit
from predictlearn.fitting.learning_forecast import Forecast
from predictlearn.fitting.learning_goodness import GoodnessOfFit
from predictlearn.fitting.learning_recordings import simulate_learning
from predictlearn.fitting.learning_simulation import simulate_sessions
from predictlearn.fitting.loading_shape import LoadingShape, loading_shape
from predictlearn.fitting.low_rank_rnn import LowRankRNN
from predictlearn.fitting.rank_selection import RankSelection, select_rank
from predictlearn.fitting.state_space import Smoothed, StochasticLowRankRNN

__all__ = [
    "Ceiling",
    "Coverage",
    "Diagnostics",
    "FixedPoint",
    "Forecast",
    "GoodnessOfFit",
    "LearningFit",
    "LoadingShape",
    "LowRankRNN",
    "RankSelection",
    "Smoothed",
    "StochasticLowRankRNN",
    "condition_mean_ceiling",
    "cosmooth",
    "diagnose",
    "fallen_silent",
    "fitted_fixed_points",
    "fixed_points",
    "interval_coverage",
    "loading_shape",
    "mask_silent",
    "select_rank",
    "simulate_learning",
    "simulate_sessions",
    "trial_folds",
]
