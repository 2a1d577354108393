"""Predicted curves of learning beside measured ones: fits of curves, scores, baselines."""

from __future__ import annotations

from predictlearn.real_learning.scores import LearningScore, score_prediction

__all__ = ["LearningScore", "score_prediction"]
