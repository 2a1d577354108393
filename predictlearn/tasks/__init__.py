"""Tasks: what a network is shown, and what it should answer.

Every task has ``n_in``, ``n_out``, ``dt`` (seconds), ``fixed`` (whether each epoch shows the same
trials), ``sample(rng)``, which returns `predictlearn.theory.trials.Trials`, and ``freeze(seed)``,
which returns a fixed task holding the trials that the seed draws. The defaults are the published
settings, where there are any. Arrays are (trials, time, inputs or outputs); times are in seconds.
"""

from predictlearn.tasks.arrays import ArrayTask
from predictlearn.tasks.context import ContextDecision, decision_accuracy
from predictlearn.tasks.cursor_reaching import CursorReaching
from predictlearn.tasks.cursor_tracking import CursorTracking
from predictlearn.tasks.decision import DecisionMaking
from predictlearn.tasks.filter import Filter
from predictlearn.tasks.flipflop import FlipFlop
from predictlearn.tasks.mixture import Mixture
from predictlearn.tasks.oscillation import DampedOscillation
from predictlearn.tasks.reaching import ReachingReadout
from predictlearn.tasks.registry import TASKS, get_task, task_settings
from predictlearn.tasks.teacher import PUBLISHED_TEACHER, Teacher, complete_overlaps

__all__ = [
    "PUBLISHED_TEACHER",
    "TASKS",
    "ArrayTask",
    "ContextDecision",
    "CursorReaching",
    "CursorTracking",
    "DampedOscillation",
    "DecisionMaking",
    "Filter",
    "FlipFlop",
    "Mixture",
    "ReachingReadout",
    "Teacher",
    "complete_overlaps",
    "decision_accuracy",
    "get_task",
    "task_settings",
]
