"""Fitting: from the recording of a session to overlaps with intervals."""

from __future__ import annotations

from predictlearn.fitting.ceiling import Ceiling, condition_mean_ceiling, trial_folds
from predictlearn.fitting.coverage import Coverage, interval_coverage
from predictlearn.fitting.low_rank_rnn import LowRankRNN
from predictlearn.fitting.rank_selection import RankSelection, select_rank

__all__ = [
    "Ceiling",
    "Coverage",
    "LowRankRNN",
    "RankSelection",
    "condition_mean_ceiling",
    "interval_coverage",
    "select_rank",
    "trial_folds",
]
