"""Predictions that an experiment can refute, each with its tests.

Every prediction is a frozen result with ``name``, ``statement``, ``observable``, ``tests``,
``table``, ``curves``, ``settings`` and ``seed`` (see `Prediction`); none of them draws figures.
`catalogue` lists predictions that a laboratory can test, in its own units; `evaluate` takes one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from predictlearn.deprecated import moved_names
from predictlearn.predictions.arms import compare_arms
from predictlearn.predictions.base import Cohort, Prediction, as_cohort
from predictlearn.predictions.exposure.prediction import PerturbationExposure, perturbation_exposure
from predictlearn.predictions.order.prediction import TrainingOrder, training_order

if TYPE_CHECKING:
    from predictlearn.predictions.laboratory import catalogue, evaluate, find_entry

__all__ = [
    "Cohort",
    "PerturbationExposure",
    "Prediction",
    "TrainingOrder",
    "as_cohort",
    "catalogue",
    "compare_arms",
    "evaluate",
    "find_entry",
    "perturbation_exposure",
    "training_order",
]

_moved = moved_names(
    __name__,
    dict.fromkeys(("LearningScore", "score_prediction"), "predictlearn.real_learning"),
)


def __getattr__(name: str) -> Any:
    """Load the catalogue, and what statistics it needs, on first use."""
    if name not in ("catalogue", "evaluate", "find_entry"):
        return _moved(name)
    from predictlearn.predictions import laboratory

    return getattr(laboratory, name)
