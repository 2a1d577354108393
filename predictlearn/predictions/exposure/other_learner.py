"""Whether equivalent networks come apart in the same way where the other learner learns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from predictlearn.predictions.base import Cohort
from predictlearn.predictions.exposure.pairs import AREA, mean_loss_over, without_rounding
from predictlearn.predictions.learners import (
    IN_WORDS,
    agreement,
    few,
    holds,
    learner_in_words,
    other_learner,
    rule_of_other,
)
from predictlearn.predictions.runs import reasons_in_brief, run_all
from predictlearn.statistics.comparisons import number
from predictlearn.theory.learning.local_rules import LocalRule
from predictlearn.theory.learning.phases import Leg
from predictlearn.theory.learning.rules import Rule
from predictlearn.theory.overlaps import Overlaps

__all__ = ["areas_of_other", "say_other", "whether_both"]

_COLUMNS = ["draw", "network", "learns", "area"]


def areas_of_other(
    cohort: Cohort,
    twins: Sequence[Overlaps | None],
    outcomes: Mapping[str, tuple[np.ndarray, np.ndarray]],
    phases: Sequence[Leg],
    seeds: Sequence[int],
    nonlinearity: str,
    tau: float,
    n_jobs: int,
    learns: str,
) -> tuple[pd.DataFrame, str]:
    """Return the area between learning curves by both learners in some pairs, and why not."""
    other = other_learner(learns)
    there = few([index for index, twin in enumerate(twins) if twin is not None])
    jobs = []
    for index in there:
        rule = rule_of_other(phases[index].rule, learns, nonlinearity)
        if isinstance(rule, str):
            return pd.DataFrame(columns=_COLUMNS), rule
        phase = replace(phases[index], rule=rule)
        jobs += [
            (overlaps, [phase], [seeds[int(cohort.network[index])]])
            for overlaps in (cohort.starts[index], twins[index])
            if overlaps is not None
        ]
    runs = run_all(jobs, nonlinearity, tau, n_jobs, learns=other)
    rows, failures = [], []
    for place, index in enumerate(there):
        first, second = runs[2 * place : 2 * place + 2]
        if first.failure or second.failure:
            failures.append(first.failure or second.failure)
            continue
        gap = without_rounding((second.losses[0] - first.losses[0]) / first.losses[0][0])
        changed, original = outcomes[AREA]
        areas = {
            learns: float(changed[index] - original[index]),
            other: float(mean_loss_over(first.epochs[0], gap)),
        }
        label = {"draw": int(cohort.draw[index]), "network": int(cohort.network[index])}
        rows += [{**label, "learns": who, "area": area} for who, area in areas.items()]
    why = "" if rows else reasons_in_brief(failures)
    return pd.DataFrame(rows, columns=_COLUMNS), why


def say_other(table: pd.DataFrame, learns: str, why_not: str, rule: Rule | LocalRule) -> str:
    """Say for which learner the prediction is, and whether it holds for the other."""
    said = f"This is where {learner_in_words(learns, rule)}."
    other = other_learner(learns)
    if table.empty:
        return f"{said} Where {IN_WORDS[other]} it was not computed: {why_not}."
    own, theirs = (table.loc[table["learns"] == who, "area"].to_numpy() for who in (learns, other))
    if not np.any(own) and not np.any(theirs):
        return f"{said} Where {IN_WORDS[other]} it makes none either: it holds for both."
    return (
        f"{said} Where {IN_WORDS[other]}, the loss of the changed network, on average over "
        f"learning, differs by {number(theirs.mean())} in place of {number(own.mean())} of the "
        f"loss before learning, {agreement(own, theirs)}."
    )


def whether_both(table: pd.DataFrame, learns: str) -> str:
    """Return in few words whether it holds for the other learner, to follow who learns."""
    if table.empty:
        return ""
    other = other_learner(learns)
    own, theirs = (table.loc[table["learns"] == who, "area"].to_numpy() for who in (learns, other))
    return f"; where {IN_WORDS[other]}, {holds(own, theirs)}"
