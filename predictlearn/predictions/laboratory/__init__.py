"""The catalogue: predictions that a laboratory can test, in its own units.

`catalogue` is the table; `find_entry` gives an `Entry`, and `evaluate` puts it to the test on
simulated animals, networks with hidden overlaps of their own that behave trial by trial.
"""

from __future__ import annotations

from predictlearn.predictions.laboratory.entry import Entry, cohort_table, simulate_cohort
from predictlearn.predictions.laboratory.evaluation import EvaluatedEntry, evaluate, rejection_rate
from predictlearn.predictions.laboratory.learner import LEARNERS, Learner
from predictlearn.predictions.laboratory.table import ENTRIES, catalogue, find_entry, learners_of

__all__ = [
    "ENTRIES",
    "LEARNERS",
    "Entry",
    "EvaluatedEntry",
    "Learner",
    "catalogue",
    "cohort_table",
    "evaluate",
    "find_entry",
    "learners_of",
    "rejection_rate",
    "simulate_cohort",
]
