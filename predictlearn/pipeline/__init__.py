"""From a recording to predictions: fit, experiments, comparisons and real learning in one call."""

from predictlearn.pipeline.predict import predict
from predictlearn.pipeline.report.whole import make_report
from predictlearn.pipeline.result import PredictionRun

__all__ = ["PredictionRun", "make_report", "predict"]
