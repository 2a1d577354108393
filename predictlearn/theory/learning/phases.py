"""Phases of learning: what is learned between sessions, and for how many epochs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from predictlearn.checks import as_float_array, positive, positive_int
from predictlearn.errors import InputError
from predictlearn.theory.learning.local_rules import LocalRule
from predictlearn.theory.learning.rules import GradientFlow, Rule
from predictlearn.theory.trials import Task

__all__ = ["LOSS", "Leg", "cumulative_epochs", "interval_tasks"]

# The column of a table of sessions that holds the loss.
LOSS = "loss"


@dataclass(frozen=True)
class Leg:
    """A stretch of learning: one task by one rule for some epochs.

    Parameters
    ----------
    task : Task
        What is learned.
    epochs : int
        Number of updates; for gradient flow the learning time, any positive number, as in `learn`.
    rule : GradientDescent, GradientFlow, FirstOrderDescent, DirectDescent, FeedbackAlignment, RFLO
        How the loadings, or the synapses, move.

    Raises
    ------
    InputError
        If task or rule is not one, or epochs is not a whole number of at least 1.

    Examples
    --------
    >>> import predictlearn as pl
    >>> Leg(pl.Filter(), 100, pl.GradientDescent(5e-3)).epochs
    100
    """

    task: Task
    epochs: float
    rule: Rule | LocalRule

    def __post_init__(self) -> None:
        if not isinstance(self.task, Task):
            raise InputError(
                "task must have n_in, n_out, dt, fixed and sample(rng), as pl.Filter() "
                f"has; got {type(self.task).__name__}."
            )
        if not isinstance(self.rule, Rule | LocalRule):
            raise InputError(
                "rule of a leg must be a GradientDescent, GradientFlow, FirstOrderDescent, "
                f"DirectDescent, FeedbackAlignment or RFLO; got {type(self.rule).__name__}."
            )
        check = positive if isinstance(self.rule, GradientFlow) else positive_int
        object.__setattr__(self, "epochs", check("epochs", self.epochs))


def interval_tasks(tasks: Any, n: int, name: str = "tasks") -> tuple[Task, ...]:
    """Return one task an interval, of equal numbers of inputs and outputs, or raise InputError."""
    if isinstance(tasks, Task):
        given = (tasks,) * n
    elif isinstance(tasks, Sequence) and not isinstance(tasks, str):
        given = tuple(tasks)
        if len(given) != n:
            raise InputError(
                f"{name} must be one task, or one an interval ({n}); got {len(given)}."
            )
    else:
        given = (tasks,)
    for task in given:
        if not isinstance(task, Task):
            raise InputError(
                f"{name} must be a task such as pl.Filter(), or one an interval; "
                f"got {type(task).__name__}."
            )
    ends = {(task.n_in, task.n_out) for task in given}
    if len(ends) > 1:
        raise InputError(
            f"{name} must have the same numbers of inputs and outputs; got "
            f"{', '.join(map(str, sorted(ends)))}."
        )
    return given


def cumulative_epochs(epochs: Any, n: int) -> npt.NDArray[np.intp]:
    """Return the updates made before each of n sessions, or raise InputError.

    Examples
    --------
    >>> cumulative_epochs(50, 3).tolist(), cumulative_epochs([10, 20], 3).tolist()
    ([0, 50, 100], [0, 10, 30])
    """
    if np.ndim(epochs) == 0:
        return np.arange(n) * positive_int("epochs", epochs)
    values = as_float_array("epochs", epochs, ndim=1)
    if np.any(values != np.round(values)):
        raise InputError("epochs must be whole numbers of updates.")
    if len(values) == n - 1:
        if np.any(values < 1):
            raise InputError(
                f"epochs between sessions must be at least 1; the smallest is {values.min():g}."
            )
        return np.concatenate([[0], np.cumsum(values)]).astype(np.intp)
    if len(values) == n:
        if values[0] != 0 or np.any(np.diff(values) < 1):
            raise InputError(
                "cumulative epochs must start at 0 and increase strictly; got "
                f"{values[:4].astype(int).tolist()}{'...' if n > 4 else ''}."
            )
        return values.astype(np.intp)
    raise InputError(
        f"epochs must be one number, {n - 1} numbers between {n} sessions, or {n} cumulative ones "
        f"that start at 0; got {len(values)}."
    )
