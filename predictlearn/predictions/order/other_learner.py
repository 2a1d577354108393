"""Whether the order of training does the same where the other learner learns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from predictlearn.predictions.base import Cohort
from predictlearn.predictions.learners import (
    IN_WORDS,
    agreement,
    few,
    learner_in_words,
    other_learner,
    rule_of_other,
)
from predictlearn.predictions.order.outcomes import (
    TRACE_A,
    TRACE_B,
    Pairs,
    behaviour_outcomes,
    order_curves,
    trace_outcomes,
)
from predictlearn.predictions.runs import reasons_in_brief, run_all
from predictlearn.statistics.comparisons import number
from predictlearn.theory.learning.local_rules import LocalRule
from predictlearn.theory.learning.phases import Leg
from predictlearn.theory.learning.rules import Rule
from predictlearn.theory.overlaps import Overlaps
from predictlearn.theory.trials import Task

__all__ = ["outcomes_of_other", "say_other_order"]

_COLUMNS = ["draw", "network", "learns", "outcome", "value"]


def outcomes_of_other(
    cohort: Cohort,
    pairs: Pairs,
    losses: Mapping[str, np.ndarray],
    jobs: Sequence[tuple[Overlaps, Sequence[Leg], Sequence[int]]],
    tasks: tuple[Task, Task],
    seed: int,
    tau: float,
    n_jobs: int,
    learns: str,
    nonlinearity: str,
) -> tuple[pd.DataFrame, str]:
    """Return transfer, forgetting and traces by both learners in some networks, and why not."""
    there = few([index for index, pair in enumerate(pairs) if pair is not None])
    chosen = []
    for index in there:
        for start, phases, seeds in jobs[2 * index : 2 * index + 2]:
            rule = rule_of_other(phases[0].rule, learns, nonlinearity)
            if isinstance(rule, str):
                return pd.DataFrame(columns=_COLUMNS), rule
            chosen.append((start, [replace(phase, rule=rule) for phase in phases], seeds))
    other = other_learner(learns)
    runs = run_all(chosen, nonlinearity, tau, n_jobs, rows=1, learns=other)
    theirs: list = [None] * len(pairs)
    failures = []
    for place, index in enumerate(there):
        first, second = runs[2 * place : 2 * place + 2]
        if first.failure or second.failure:
            failures.append(first.failure or second.failure)
        else:
            theirs[index] = (first, second)
    if all(pair is None for pair in theirs):
        return pd.DataFrame(columns=_COLUMNS), reasons_in_brief(failures)
    found = order_curves(cohort, theirs, tasks, seed, nonlinearity, tau, n_jobs)[1]
    both = {learns: (pairs, losses), other: (theirs, found)}
    rows = []
    for who, (own, own_losses) in both.items():
        for outcome, values in _compared(own, own_losses, nonlinearity).items():
            rows += [
                {
                    "draw": int(cohort.draw[index]),
                    "network": int(cohort.network[index]),
                    "learns": who,
                    "outcome": outcome,
                    "value": float(values[index]),
                }
                for index in there
                if theirs[index] is not None
            ]
    return pd.DataFrame(rows, columns=_COLUMNS), ""


def _compared(
    pairs: Pairs, losses: Mapping[str, np.ndarray], nonlinearity: str
) -> dict[str, np.ndarray]:
    """Return the outcomes that both learners have, (starts,) each."""
    outcomes = {
        name.partition(",")[0]: first - second
        for name, (first, second) in behaviour_outcomes(pairs, losses).items()
        if not name.startswith("final")
    }
    families = trace_outcomes(pairs, nonlinearity)
    for family in (TRACE_A, TRACE_B):
        # the sizes of M and Z are meant alike by both; the loss sees neither
        gaps = [
            first - second
            for name, (first, second) in families[family].items()
            if set(name) - set("0123456789") in ({"m"}, {"z"})
        ]
        outcomes[f"{family} in M and Z"] = np.sqrt(np.mean(np.square(gaps), axis=0))
    return outcomes


def say_other_order(table: pd.DataFrame, learns: str, why_not: str, rule: Rule | LocalRule) -> str:
    """Say for which learner the prediction is, and whether it holds for the other."""
    said = f"This is where {learner_in_words(learns, rule)}."
    other = other_learner(learns)
    if table.empty:
        return f"{said} Where {IN_WORDS[other]} it was not computed: {why_not}."
    phrases = []
    for outcome, rows in table.groupby("outcome", sort=False):
        own, theirs = (
            rows.loc[rows["learns"] == who, "value"].to_numpy() for who in (learns, other)
        )
        phrase = f"{outcome} {number(theirs.mean())} in place of {number(own.mean())}"
        # a size has no sign
        phrases.append(phrase if "trace" in str(outcome) else f"{phrase}, {agreement(own, theirs)}")
    return f"{said} Where {IN_WORDS[other]}: {'; '.join(phrases)}."
