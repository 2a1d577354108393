"""From a recording to predictions: fit, experiments, comparisons and real learning in one call."""

from predictlearn.pipeline.predict import PredictionRun, predict

__all__ = ["PredictionRun", "predict"]
