"""Training order: what the order of tasks leaves behind."""

from __future__ import annotations

from predictlearn.deprecated import moved_names

__getattr__ = moved_names(
    __name__,
    dict.fromkeys(("TrainingOrder", "training_order"), "predictlearn.predictions.order.prediction"),
)
