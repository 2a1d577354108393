"""Arms of one protocol or several, side by side: pairs where the networks are the same."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from predictlearn.comparing.criterion import CENSORED, WAIT, criterion_waits, waits_in_words
from predictlearn.comparing.question import (
    ArmComparison,
    asked,
    compare_table,
    corrected_tests,
)
from predictlearn.comparing.waits import known_until
from predictlearn.errors import InputError, choice
from predictlearn.predictions.arms import arm_values

__all__ = ["ProtocolRun", "compare_protocols"]

# Of a test of pairs, the one of different animals that asks the same.
_UNPAIRED = {"t": "welch", "wilcoxon": None}


@dataclass(frozen=True)
class ProtocolRun:
    """What a protocol's run left, as far as comparisons need it.

    Parameters
    ----------
    name : str
        What it is called beside others.
    table : pandas.DataFrame
        Tidy table of the run.
    starts : sequence of numpy.ndarray
        Overlaps of each network before any arm, by which networks are known again.
    tasks : mapping
        What its tasks are, by name.
    seed : int
        Seed of the run.
    """

    name: str
    table: pd.DataFrame
    starts: Sequence[np.ndarray]
    tasks: Mapping[str, Any]
    seed: int = 0

    def animal(self, network: int) -> str:
        """Return a name that the same network has in every run."""
        start = np.ascontiguousarray(self.starts[network])
        return f"{network}-{hashlib.sha256(start.tobytes()).hexdigest()[:8]}"


def _values(
    run: ProtocolRun, outcome: str, epoch: float | str, several: bool
) -> tuple[pd.DataFrame, dict[str, str]]:
    """Return the outcome of every network of every arm of a run, and by arm who has none."""
    missing: dict[str, str] = {}
    try:
        if outcome == WAIT:
            found, missing = criterion_waits(run.table)
        else:
            found = arm_values(run.table, outcome, epoch)
    except InputError as error:
        raise InputError(f"{run.name}: {error}") from error
    if outcome != WAIT:
        missing = _absent(run.table, found, outcome)
    label = found["arm"].astype(str)
    found = found.assign(
        arm=f"{run.name}: " + label if several else label,
        subject=[run.animal(int(k)) for k in found["network"]],
        protocol=run.name,
    )
    if several:
        missing = {f"{run.name}: {arm}": f"{run.name}: {text}" for arm, text in missing.items()}
    return found, missing


def _absent(table: pd.DataFrame, found: pd.DataFrame, outcome: str) -> dict[str, str]:
    """Return how many networks of each arm have no value of the outcome there, in words."""
    went = table.groupby("arm", sort=False)["network"].nunique()
    have = found.groupby("arm")["network"].nunique().reindex(went.index, fill_value=0)
    lost = {str(arm): (went[arm] - have[arm], went[arm]) for arm in went.index}
    return {
        arm: f"{gone} of {of} networks of {arm} have no {outcome} there: they diverged, dropped "
        "out or were done before, and are left out."
        for arm, (gone, of) in lost.items()
        if 0 < gone < of
    }


def compare_protocols(
    runs: Sequence[ProtocolRun],
    outcome: str,
    *,
    epoch: float | str = "last",
    arms: tuple[str, str] | None = None,
    test: str | None = None,
    margin: float | None = None,
    correction: str = "holm",
    unit: str = "",
    seed: int = 0,
) -> ArmComparison:
    """Compare arms of one protocol or several in one outcome, each with each.

    Arms that went through the same networks are compared within networks, also where they are arms
    of different protocols that start from the same cohort; arms of different networks by the test
    of two groups.

    Parameters
    ----------
    runs : sequence of ProtocolRun
        The runs.
    outcome : str
        A quantity of their tables.
    epoch : float or "last"
        Epoch since the start of each arm.
    arms : (str, str), optional
        Two arms, the first minus the second; of several protocols as ``"PROTOCOL: ARM"``.
    test : str, optional
        As of `asked`; for different networks the t test becomes Welch's. Of
        ``epochs_to_criterion`` it is survival, which takes networks that never reached it as
        censored at the end of their training; other tests only where all reached it.
    margin : float, optional
        For equivalence.
    correction : str
        Over all comparisons.
    unit : str
        Unit of the outcome.
    seed : int
        Seed of relabellings.

    Returns
    -------
    ArmComparison
        The answer; `question` and `data` are those of the first comparison.

    Raises
    ------
    InputError
        If an arm or outcome is unknown, fewer than two arms or networks are left, the loss is of
        different tasks, two runs have the same name, or nobody reached the criterion.
    """
    names = [run.name for run in runs]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise InputError(f"two protocols are called {twice!r}; give one of them another name.")
    if outcome == WAIT and not isinstance(epoch, str):
        raise InputError(
            f"--epoch does not go with {WAIT}, which is of a whole phase: the last one of each arm "
            "that has a criterion."
        )
    if test == "survival" and outcome != WAIT:
        raise InputError(f"--test survival of protocols is of --outcome {WAIT}; got {outcome!r}.")
    made = [_values(run, outcome, epoch, len(runs) > 1) for run in runs]
    values = pd.concat([frame for frame, _ in made])
    known = [str(arm) for arm in values["arm"].unique()]
    if arms is not None:
        first, second = (choice("--arms", name, known) for name in arms)
        if first == second:
            raise InputError(f"--arms must be two different arms; got {first!r} twice.")
        pairs = [(first, second)]
    else:
        pairs = list(combinations(known, 2))
    if not pairs:
        raise InputError(f"there is one arm, {known[0]!r}; a comparison needs two.")
    parts: list[ArmComparison] = []
    shown = dict.fromkeys(name for pair in pairs for name in pair)
    compared = values[values["arm"].isin(shown)]
    absent = [text for _, texts in made for arm, text in texts.items() if arm in shown]
    if outcome == WAIT:
        absent += _check_waits(compared, test, margin)
        unit = unit or "epochs"
    for first, second in pairs:
        both = values[values["arm"].isin([first, second])]
        if outcome == WAIT and both[CENSORED].all():
            absent.append(f"{first} minus {second} is left out: nobody reached the criterion.")
            continue
        _refuse_other_tasks(both, outcome, (first, second))
        parts.append(_one(both, outcome, (first, second), test, margin, unit, seed))
    designs = list(dict.fromkeys(_design(part) for part in parts))
    tests = pd.concat([part.tests for part in parts], ignore_index=True)
    tests = tests.drop(columns=["p_corrected", "correction", "significant"])
    rows = [_design(part) for part in parts for _ in range(len(part.tests))]
    tests.insert(1, "design", rows)
    frame = compared.assign(reached=1.0 - compared.get(CENSORED, 0.0))
    order = {name: k for k, name in enumerate(reversed(shown))}
    frame = frame.sort_values("arm", key=lambda arm: arm.map(order), kind="stable")
    notes = (
        f"Compared {' and '.join(designs)}.",
        *absent,
        *dict.fromkeys(note for part in parts for note in part.notes),
        *_task_notes(runs, outcome),
    )
    return ArmComparison(
        replace(parts[0].question, paired=all(part.question.paired for part in parts)),
        parts[0].data,
        frame[["arm", "subject", "value", "reached", "epoch"]].reset_index(drop=True),
        corrected_tests(tests, correction),
        notes,
    )


def _design(part: ArmComparison) -> str:
    """Return who was compared with whom, in words."""
    return "within networks" if part.question.paired else "between different networks"


def _one(
    both: pd.DataFrame,
    outcome: str,
    pair: tuple[str, str],
    test: str | None,
    margin: float | None,
    unit: str,
    seed: int,
) -> ArmComparison:
    """Compare two arms, paired where they share networks."""
    waits = [CENSORED] if CENSORED in both else []
    data = both[["arm", "subject", "value", *waits]].rename(columns={"value": outcome})
    first, second = (set(both.loc[both["arm"] == name, "subject"]) for name in pair)
    shared = first & second
    # where few are shared, a pair of groups has more animals than pairs there are
    paired = 2 * len(shared) >= min(len(first), len(second)) and len(shared) > 1
    if paired:
        left = len(first ^ second)
        data = data[data["subject"].isin(shared)]
        first, second = shared, shared
    else:
        left, larger = len(shared), pair[int(len(second) > len(first))]
        data = data[~(data["subject"].isin(shared) & (data["arm"] == larger))]
        first, second = (set(data.loc[data["arm"] == name, "subject"]) for name in pair)
    note = ""
    if left:
        words = "that did not go through both arms" if paired else f"of {larger} that are in both"
        note = f"{pair[0]} minus {pair[1]}: {left} networks {words} are left out."
    for name, side in zip(pair, (first, second), strict=True):
        if len(side) < 2:
            raise InputError(
                f"{pair[0]} minus {pair[1]}: at least 2 networks must have finished in "
                f"{'both arms' if paired else f'arm {name!r}'}; got {len(side)}. Use a larger "
                "cohort."
            )
    mine = "t" if paired and test == "welch" else test
    if test in _UNPAIRED and not paired:
        mine = _UNPAIRED[test]
        if mine is None:
            raise InputError(
                f"--test {test} is of the same networks; {pair[0]!r} and {pair[1]!r} are of "
                "different ones. Take t or permutation."
            )
    settings: dict[str, Any] = {"unit": unit, "seed": seed, "reference": pair[1]}
    if waits and test in (None, "survival") and margin is None:
        sides = [data[data["arm"] == name] for name in pair]
        until = known_until(
            (sides[0][outcome].to_numpy(float), sides[1][outcome].to_numpy(float)),
            (sides[0][CENSORED].to_numpy() == 0, sides[1][CENSORED].to_numpy() == 0),
        )
        # at the criterion from the beginning: the restricted mean needs some time
        settings |= {"censored": CENSORED, "until": until or None, "allow_zero": True}
    question = asked(outcome, test=mine, paired=paired, margin=margin, **settings)
    found = compare_table(data.reset_index(drop=True), question, correction="none")
    return replace(found, notes=(note,) if note else ())


def _check_waits(waits: pd.DataFrame, test: str | None, margin: float | None) -> list[str]:
    """Return who was censored, in words, or raise InputError if the test cannot take it."""
    never = waits[waits[CENSORED] > 0]
    arms = ", ".join(dict.fromkeys(waits["arm"]))
    if len(never) == len(waits):
        raise InputError(
            f"none of the {len(waits)} courses of {arms} reached the criterion of phase "
            f"{waits['phase'].iloc[0]!r} within {waits['value'].max():g} epochs; train longer, or "
            "to an easier criterion (until)."
        )
    survival = test in (None, "survival") and margin is None
    if len(never) and not survival:
        row = never.iloc[0]
        raise InputError(
            f"{len(never)} of {len(waits)} courses of {arms} did not reach the criterion, first "
            f"network {row['network']} in {row['arm']}: waits that were cut short go with --test "
            f"survival; got {'--margin' if test is None else f'--test {test}'}."
        )
    how = "arms are compared by survival" if survival else f"arms are compared by {test}"
    return [waits_in_words(waits, how)]


def _refuse_other_tasks(both: pd.DataFrame, outcome: str, pair: tuple[str, str]) -> None:
    """Raise if the loss in training is of different tasks in two arms."""
    if outcome != "loss" or "task" not in both:
        return
    first, second = (set(both.loc[both["arm"] == name, "task"]) for name in pair)
    if first != second:
        raise InputError(
            f"the loss of {pair[0]!r} and {pair[1]!r} is of different tasks there; compare losses "
            "of the same task, which `evaluate` in a protocol records, such as loss:A."
        )


def _task_notes(runs: Sequence[ProtocolRun], outcome: str) -> list[str]:
    """Return whether a task that has one name in all protocols is not the same task."""
    if not outcome.startswith("loss"):
        return []
    name = outcome.partition(":")[2]
    found = []
    for task in [name] if name else sorted(set.intersection(*(set(run.tasks) for run in runs))):
        made = [run.tasks.get(task) for run in runs]
        if any(one != made[0] for one in made[1:]):
            found.append(
                f"Task {task!r} has other settings in some protocols: losses on it are of "
                "different tasks."
            )
    return found
