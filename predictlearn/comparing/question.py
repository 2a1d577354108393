"""A question to a table of animals: which test is made, and what it says."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from predictlearn.checks import positive
from predictlearn.errors import InputError, choice
from predictlearn.statistics.bayes import bayes_groups, bayes_pairs
from predictlearn.statistics.corrections import CORRECTIONS, correct_p, corrected_verdicts
from predictlearn.statistics.families import TableTest
from predictlearn.statistics.groups import (
    compare_groups,
    compare_pairs,
    equivalent_groups,
    equivalent_pairs,
)
from predictlearn.statistics.mixed_models import mixed_model
from predictlearn.statistics.survival import compare_survival
from predictlearn.statistics.tables import (
    Limits,
    animals_in_arms,
    animals_in_both,
    as_table,
    labels,
    numbers,
    within,
)

__all__ = [
    "PAIRED_TESTS",
    "UNPAIRED_TESTS",
    "ArmComparison",
    "ArmQuestion",
    "asked",
    "compare_table",
]

UNPAIRED_TESTS = ("welch", "permutation", "mixed", "survival", "equivalence", "bayes")
PAIRED_TESTS = ("t", "wilcoxon", "permutation", "survival", "equivalence", "bayes")
# The name of a column that is made of the one of censoring.
REACHED = "criterion reached"
_ALPHA = 0.05


@dataclass(frozen=True)
class ArmQuestion:
    """What is asked of a table: columns, and the test.

    Parameters
    ----------
    outcome, arm, subject : str
        Columns: what was measured, the arm, the animal.
    test : str
        One of `UNPAIRED_TESTS`, or of `PAIRED_TESTS` where `paired`.
    paired : bool
        Whether arms are conditions of the same animals.
    session : str, optional
        Column of the session.
    censored : str, optional
        Column that is 1 where the criterion was not reached.
    margin : float, optional
        Largest difference that would not matter, for equivalence.
    reference : str, optional
        Arm that is subtracted.
    limits : (low, high)
        Range of the outcome.
    unit : str
        Its unit.
    seed : int
        Seed of relabellings.
    rows_in_sessions : bool
        Whether sessions have several rows, so that they vary by themselves.
    until : float, optional
        Horizon of restricted means of waits.
    allow_zero : bool
        Whether waits may be zero.
    """

    outcome: str
    arm: str = "arm"
    subject: str = "subject"
    test: str = "welch"
    paired: bool = False
    session: str | None = None
    censored: str | None = None
    margin: float | None = None
    reference: str | None = None
    limits: Limits = (None, None)
    unit: str = ""
    seed: int = 0
    rows_in_sessions: bool = False
    until: float | None = None
    allow_zero: bool = False


@dataclass(frozen=True)
class ArmComparison:
    """A question, the animals that it was put to, and the answer.

    Parameters
    ----------
    question : ArmQuestion
        The question.
    data : pandas.DataFrame
        The rows that were tested, as `table_test` takes them.
    animals : pandas.DataFrame
        A row an animal and arm: ``subject``, ``arm``, ``value`` (mean of its rows), ``reached``.
    tests : pandas.DataFrame
        A row a test, in the columns of the statistics, with ``p_corrected`` and ``significant``.
    notes : tuple of str
        What the reader should know of how it was made.
    """

    question: ArmQuestion
    data: pd.DataFrame
    animals: pd.DataFrame
    tests: pd.DataFrame
    notes: tuple[str, ...] = field(default=())

    @property
    def arms(self) -> tuple[str, ...]:
        """Names of the arms, the reference first."""
        return tuple(str(arm) for arm in dict.fromkeys(self.animals["arm"]))

    @property
    def asked_rows(self) -> pd.DataFrame:
        """The rows whose estimate is a difference in units of the outcome."""
        if self.question.test != "survival":
            return self.tests
        return self.tests[self.tests["name"].str.endswith(", restricted mean")]


def asked(
    outcome: str,
    *,
    test: str | None = None,
    paired: bool = False,
    session: str | None = None,
    censored: str | None = None,
    margin: float | None = None,
    **settings: Any,
) -> ArmQuestion:
    """Return a question with its test, which the design decides and never the data.

    Parameters
    ----------
    outcome : str
        Column of what was measured.
    test : str, optional
        The test; default survival with `censored`, equivalence with `margin`, else of different
        animals mixed with `session` and Welch's without, of the same animals the paired t test.
    paired, session, censored, margin, **settings
        As of `ArmQuestion`.

    Returns
    -------
    ArmQuestion
        The question.

    Raises
    ------
    InputError
        If the test does not fit the design.

    Examples
    --------
    >>> asked("percent").test, asked("percent", session="day").test
    ('welch', 'mixed')
    """
    if test is None:
        if censored is not None:
            test = "survival"
        elif margin is not None:
            test = "equivalence"
        elif paired:
            test = "t"
        else:
            test = "welch" if session is None else "mixed"
    elif test == "t" and not paired:
        raise InputError("--test t is of the same animals in both arms; give --paired, or welch.")
    elif test == "welch" and paired:
        raise InputError("--test welch is of different animals; leave --paired out, or take t.")
    elif test == "mixed" and paired:
        raise InputError(
            "--test mixed compares different animals; of the same animals in both arms the "
            "sessions are averaged, as --paired does (in Python, mixed_model with slopes)."
        )
    choice(
        f"--test of {'the same' if paired else 'different'} animals",
        test,
        PAIRED_TESTS if paired else UNPAIRED_TESTS,
    )
    needs = {
        "mixed": ("--session, the column of sessions", session),
        "survival": (
            "--censored, the column that is 1 where the criterion was not reached",
            censored,
        ),
        "equivalence": ("--margin, the largest difference that would not matter", margin),
    }
    for name, (what, given) in needs.items():
        if test == name and given is None:
            raise InputError(f"--test {name} needs {what}.")
    if censored is not None and test != "survival":
        raise InputError(
            f"--censored is for --test survival; got {test!r}, which would take waits that were "
            "cut short for whole ones."
        )
    if margin is not None:
        positive("--margin", margin)
        if test != "equivalence":
            raise InputError(f"--margin is for --test equivalence; got --test {test}.")
    low, high = settings.get("limits", (None, None))
    if low is not None and high is not None and not low < high:
        raise InputError(f"--limits must be the lowest and the highest; got {low:g} and {high:g}.")
    return ArmQuestion(outcome, test=test, paired=paired, session=session, censored=censored,
                       margin=margin, **settings)  # fmt: skip


def table_test(question: ArmQuestion) -> TableTest:
    """Return the test of a question as a function of a table.

    Parameters
    ----------
    question : ArmQuestion
        The question.

    Returns
    -------
    callable
        From a table to a table of tests.

    Examples
    --------
    >>> table_test(asked("percent")).func.__name__
    'compare_groups'
    """
    q = question
    columns: dict[str, Any] = {"arm": q.arm, "subject": q.subject, "reference": q.reference}
    usual: dict[str, Any] = {**columns, "outcome": q.outcome, "limits": q.limits, "unit": q.unit}
    if q.test == "mixed":
        return partial(
            mixed_model,
            outcome=q.outcome,
            terms=[q.arm, str(q.session)],
            subject=q.subject,
            session=q.session if q.rows_in_sessions else None,
            reference={q.arm: q.reference} if q.reference else None,
            limits=q.limits,
            unit=q.unit,
        )
    if q.test == "survival":
        unit = q.unit or q.outcome
        return partial(compare_survival, time=q.outcome, reached=REACHED, unit=unit, seed=q.seed,
                       until=q.until, paired=q.paired, allow_zero=q.allow_zero,
                       **columns)  # fmt: skip
    if q.test == "bayes":
        return partial(bayes_pairs if q.paired else bayes_groups, **usual)
    if q.margin is not None:
        return partial(
            equivalent_pairs if q.paired else equivalent_groups, bounds=q.margin, **usual
        )
    compare = compare_pairs if q.paired else compare_groups
    return partial(compare, method=q.test, seed=q.seed, **usual)


def compare_table(
    data: pd.DataFrame,
    question: ArmQuestion,
    *,
    arms: tuple[str, str] | None = None,
    correction: str = "holm",
) -> ArmComparison:
    """Put a question to a table of animals: every arm minus the reference.

    Parameters
    ----------
    data : pandas.DataFrame
        One row an observation.
    question : ArmQuestion
        The question.
    arms : (str, str), optional
        Two arms, the first minus the second; default all, minus the reference.
    correction : {"holm", "fdr_bh", "none"}
        Correction of p over the comparisons.

    Returns
    -------
    ArmComparison
        The answer.

    Raises
    ------
    InputError
        With the row, as the tests: a missing column, a wrong or missing value, one out of limits,
        an arm of one animal, one arm only, an animal in both arms, nobody who reached the
        criterion.

    Examples
    --------
    >>> table = pd.DataFrame({"subject": range(6), "arm": list("aaabbb"),
    ...                       "errors": [3, 4, 2, 8, 9, 7]})
    >>> found = compare_table(table, asked("errors"))
    >>> found.tests["name"].tolist(), found.tests["verdict"].tolist()
    (['b - a'], ['different'])
    """
    choice("--correction", correction, CORRECTIONS)
    table = as_table(data)
    groups = labels(table, "arm", question.arm)
    if arms is not None:
        for name in arms:
            choice(f"an arm of {question.arm!r}", name, groups.names)
        if arms[0] == arms[1]:
            raise InputError(f"--arms must be two different arms; got {arms[0]!r} twice.")
        if question.reference not in (None, arms[1]):
            raise InputError(
                f"--arms {arms[0]} {arms[1]} subtracts {arms[1]!r}, --reference says "
                f"{question.reference!r}; leave one of them out."
            )
        question = replace(question, reference=arms[1])
        table = table[[groups.names[code] in arms for code in groups.codes]]
    elif question.reference is None:
        question = replace(question, reference=groups.names[0])
    else:
        choice(f"--reference, an arm of {question.arm!r},", question.reference, groups.names)
    if question.session is not None:
        labels(table, "session", question.session)
    if question.censored is not None:
        table = _with_reached(table, question.censored)
    question, animals = _animals(table, question)
    tests = table_test(question)(table)
    if question.test == "mixed":
        tests = tests[tests["name"].str.startswith(f"{question.arm}: ")].reset_index(drop=True)
    notes = []
    if len(table) > len(animals):
        what = "modelled, not averaged" if question.test == "mixed" else "averaged by animal"
        both = " and arm" if question.paired and question.test != "mixed" else ""
        notes.append(f"{len(table)} rows, {what}{both}.")
    return ArmComparison(question, table, animals, corrected_tests(tests, correction), tuple(notes))


def _with_reached(table: pd.DataFrame, censored: str) -> pd.DataFrame:
    """Return the table with a column that says who reached the criterion."""
    values = numbers(table, "censored", censored, (0, 1))
    odd = np.flatnonzero((values != 0) & (values != 1))
    if odd.size:
        raise InputError(
            f"censored {censored!r} must be 0 or 1, 1 where the criterion was not reached; row "
            f"{table.index[odd[0]]} holds {values[odd[0]]:g}."
        )
    if values.all():
        raise InputError(
            f"no animal reached the criterion: {censored!r} is 1 in every row, from row "
            f"{table.index[0]} on; lower the criterion, or train longer."
        )
    return table.assign(**{REACHED: 1.0 - values})


def _animals(table: pd.DataFrame, question: ArmQuestion) -> tuple[ArmQuestion, pd.DataFrame]:
    """Return one row an animal and arm, the reference first, after the checks of the design."""
    q = question
    groups, subjects = labels(table, "arm", q.arm), labels(table, "subject", q.subject)
    if not q.paired:
        why = "give --paired if they are the same animals, or different animals different names."
        within(table, subjects, groups, "subject", "arm", why)
    elif len(groups.names) > 2:
        raise InputError(
            f"--paired compares two conditions; {q.arm!r} holds {len(groups.names)}, "
            f"{', '.join(groups.names)}. Choose two with --arms."
        )
    door = animals_in_both if q.paired else animals_in_arms
    door(table, outcome=q.outcome, arm=q.arm, subject=q.subject, reference=q.reference,
         limits=q.limits)  # fmt: skip
    keys = [table[q.arm].map(str), table[q.subject].map(str)]
    values = numbers(table, "outcome", q.outcome)
    frame = pd.DataFrame({"arm": keys[0], "subject": keys[1], "value": values})
    frame["reached"] = table.get(REACHED, 1.0)
    found = frame.groupby(["arm", "subject"], sort=False)[["value", "reached"]].mean().reset_index()
    order = dict.fromkeys([str(q.reference), *groups.names])
    place = {name: k for k, name in enumerate(order)}
    if q.test == "mixed":
        sessions = labels(table, "session", q.session).codes
        cells = pd.DataFrame({"subject": subjects.codes, "session": sessions})
        q = replace(q, rows_in_sessions=bool(cells.duplicated().any()))
    found = found.sort_values("arm", key=lambda arm: arm.map(place), kind="stable")
    return q, found.reset_index(drop=True)


def corrected_tests(tests: pd.DataFrame, correction: str) -> pd.DataFrame:
    """Return tests with p corrected over comparisons, each kind of row a family of its own.

    Parameters
    ----------
    tests : pandas.DataFrame
        A row a test.
    correction : str
        As of `correct_p`.

    Returns
    -------
    pandas.DataFrame
        With ``p_corrected``, ``correction``, ``significant``; verdicts follow the corrected p.

    Examples
    --------
    >>> tests = pd.DataFrame({"name": ["a", "b"], "p": [0.03, 0.04], "verdict": ["different"] * 2})
    >>> corrected_tests(tests, "holm")["verdict"].tolist()
    ['not shown to differ', 'not shown to differ']
    """
    found = tests.copy()
    p = found["p"].to_numpy(float)
    corrected = np.full(len(found), np.nan)
    kinds = found["name"].astype(str).str.rpartition(", ")[2]
    kinds = kinds.where(kinds.isin(["restricted mean", "log-rank", "hazard ratio"]), "")
    for kind in kinds.unique():
        mine = (kinds == kind).to_numpy() & np.isfinite(p)
        if mine.any():
            corrected[mine] = correct_p(p[mine], method=correction)
    found.insert(list(found.columns).index("p") + 1, "p_corrected", corrected)
    found["correction"] = correction
    found["significant"] = corrected < _ALPHA
    found["verdict"] = corrected_verdicts(found)
    return found
