"""Predictions that an experiment can refute, each with its tests.

Every prediction is a frozen result with ``name``, ``statement``, ``observable``, ``tests``,
``table``, ``curves``, ``settings`` and ``seed`` (see `Prediction`); none of them draws figures.
"""

from __future__ import annotations

from predictlearn.deprecated import moved_names
from predictlearn.predictions.arms import compare_arms
from predictlearn.predictions.base import Cohort, Prediction, as_cohort
from predictlearn.predictions.exposure.prediction import PerturbationExposure, perturbation_exposure
from predictlearn.predictions.order.prediction import TrainingOrder, training_order

__all__ = [
    "Cohort",
    "PerturbationExposure",
    "Prediction",
    "TrainingOrder",
    "as_cohort",
    "compare_arms",
    "perturbation_exposure",
    "training_order",
]

__getattr__ = moved_names(
    __name__,
    dict.fromkeys(("LearningScore", "score_prediction"), "predictlearn.real_learning"),
)
