"""What `predict` found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from predictlearn.deprecated import moved_method
from predictlearn.pipeline.cases import Case
from predictlearn.pipeline.experiments import (
    Experiments,
)
from predictlearn.pipeline.fitted import FittedNetwork
from predictlearn.pipeline.protocol_run import ProtocolPrediction
from predictlearn.pipeline.real_learning.bci import BCIComparison
from predictlearn.pipeline.real_learning.sessions import SessionsComparison
from predictlearn.pipeline.task_choice import TaskChoice
from predictlearn.theory.hidden_prior import HiddenPrior

if TYPE_CHECKING:
    from predictlearn.fitting.diagnostics.diagnose import Diagnostics

__all__ = ["PredictionRun"]


@dataclass(frozen=True)
class PredictionRun:
    """Everything that `predict` found.

    Parameters
    ----------
    case : Case
        The recording and what is known of it.
    fitted : FittedNetwork
        Rank, overlaps with intervals, held-out R2.
    prior : HiddenPrior
        Prior over what the recording hides.
    experiments : Experiments or None
        Perturbation exposure and training order; None where a protocol was run instead, or none
        could be designed.
    protocol : ProtocolPrediction or None
        What a protocol gave.
    real : BCIComparison, SessionsComparison or None
        The prediction beside the learning that followed, where there is some.
    diagnostics : Diagnostics or None
        What is left in the residuals of the fit.
    choice : TaskChoice or None
        What is learned, and why; None where the data set has a design of its own.
    problems : tuple of str
        Parts that could not be made, with the reason, a line each.
    settings : dict
        Draws, animals, spread and seed.
    seconds : dict
        Time of each stage.
    """

    case: Case
    fitted: FittedNetwork
    prior: HiddenPrior
    experiments: Experiments | None
    protocol: ProtocolPrediction | None
    real: BCIComparison | SessionsComparison | None
    diagnostics: Diagnostics | None
    choice: TaskChoice | None
    problems: tuple[str, ...]
    settings: dict[str, Any]
    seconds: dict[str, float]

    @property
    def excluded(self) -> pd.DataFrame:
        """Networks that were left out: experiment, draw, network (animal) and reason."""
        from_experiments = pd.DataFrame(columns=["experiment", "draw", "network", "reason"])
        if self.experiments is not None:
            return self.experiments.excluded
        return from_experiments if self.protocol is None else self.protocol.excluded

    report = moved_method(
        "PredictionRun.report()",
        "predictlearn.pipeline.report.whole:make_report",
        "pipeline.make_report(run)",
    )
