"""Twin history: what a network learned first, read from its overlaps later."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from predictlearn.errors import InputError
from predictlearn.protocol import Protocol, ProtocolResult
from predictlearn.protocol.rule import ScheduleSpec
from predictlearn.published.protocols import announce, load, run, spread
from predictlearn.published.result import Published, Reproduced, Row, numbers_table, verdict
from predictlearn.published.twin_history.figures import decoding_figure, overlaps_figure
from predictlearn.published.twin_history.first_order import first_order_courses
from predictlearn.published.twin_history.twins import (
    TIMES,
    Twins,
    course_table,
    decoding_table,
    difference_table,
    features,
    noise_table,
    unrealisable,
)
from predictlearn.statistics.corrections import correct_p
from predictlearn.tasks.teacher import Teacher

__all__ = ["RESULT"]

_ALPHA = 0.05
# pairs that the published first-order update is run on beside the exact one
_FIRST_ORDER_PAIRS = 2
_AFTER_FIRST, _AFTER_THIRD = TIMES[1:]


def _criterion(protocol: Protocol) -> float:
    """Return the loss at which the rate of the first phase drops."""
    arm = protocol.arms[0]
    schedule = protocol.spec.rule_of(arm, protocol.spec.arms[arm].phases[0]).schedule
    if not isinstance(schedule, ScheduleSpec) or schedule.below is None:
        raise InputError(
            f"the first phase of arm {arm!r} has no criterion at which the rate drops."
        )
    return schedule.below


def _teacher(protocol: Protocol) -> dict[str, float]:
    """Return the visible overlaps of the third task's teacher, in the canonical gauge."""
    task = protocol.tasks[str(protocol.spec.arms[protocol.arms[0]].phases[-1].task)]
    if not isinstance(task, Teacher):
        raise InputError(f"the third task must be a teacher; got {type(task).__name__}.")
    table = pd.DataFrame([task.overlaps.to_series()])
    return {str(k): float(v) for k, v in features(table, "visible", "canonical").iloc[0].items()}


def _rough(result: ProtocolResult, courses: pd.DataFrame) -> pd.DataFrame:
    """Return how far courses of the first-order update end from the exact step."""
    parts = {}
    for arm in result.arms:
        own = courses.loc[arm]
        ends = result.final_table(arm)
        ends = ends.loc[ends.index.intersection(own.index)]
        gap = (own.loc[ends.index, list(ends)] - ends).abs()
        # a course that diverged ends nowhere
        overlap = gap.fillna(0.0).idxmax(axis=1).where(gap.notna().all(axis=1), "")
        parts[arm] = pd.DataFrame({"largest": gap.max(axis=1), "overlap": overlap})
    differences = pd.concat(parts, names=["history", "pair"])
    return differences.join(courses[["lowest", "left", "diverged"]])


def _one(table: pd.DataFrame, **key: object) -> pd.Series:
    """Return the one row with these values."""
    keep = np.logical_and.reduce([table[name] == value for name, value in key.items()])
    (row,) = (row for _, row in table[keep].iterrows())
    return row


def _accuracy(row: pd.Series) -> str:
    """Return an accuracy with its p value and the range of exchanged labels."""
    return (
        f"{row['accuracy']:.2f}, p = {row['p']:.2g} (swaps {row['low']:.2f} to {row['high']:.2f})"
    )


def _with_holm(table: pd.DataFrame) -> pd.DataFrame:
    """Return the decoding table with p values corrected over the eight tests of the claim."""
    claim = (table["gauge"] == "raw") & table["together"] & (table["time"] != TIMES[0])
    claim &= table["noise"].isin(("none", "0.3"))
    table = table.assign(p_holm=np.nan)
    table.loc[claim, "p_holm"] = correct_p(table.loc[claim, "p"].to_numpy())
    return table


def _decoding_rows(table: pd.DataFrame, scale: float) -> list[Row]:
    """Return the rows on decoding: the claim, and what the procedure makes of it."""
    rows: list[Row] = []
    for seen in ("visible", "invisible"):
        row = _one(table, time=TIMES[0], gauge="raw", seen=seen, noise="none", together=True)
        rows.append(
            (f"before learning, {seen}", "chance", f"{row['accuracy']:.2f}",
             verdict(row["accuracy"] == 0.5, scale))
        )  # fmt: skip
    for time in (_AFTER_FIRST, _AFTER_THIRD):
        for seen in ("visible", "invisible"):
            for noise in ("none", "0.3"):
                row = _one(table, time=time, gauge="raw", seen=seen, noise=noise, together=True)
                quantity = f"{time} task, {seen}{'' if noise == 'none' else ', with noise'}"
                if time == _AFTER_THIRD and seen == "visible":
                    said, holds = "", None
                    if noise != "none":
                        said, holds = "chance", row["p"] > _ALPHA
                else:
                    said, holds = "decoded", row["p_holm"] < _ALPHA
                judged = "ours only" if holds is None else verdict(bool(holds), scale)
                rows.append((quantity, said, _accuracy(row), judged))
    for seen in ("visible", "invisible"):
        row = _one(
            table, time=_AFTER_THIRD, gauge="canonical", seen=seen, noise="0.3", together=True
        )
        rows.append(
            (f"{_AFTER_THIRD} task, {seen} up to gauge, with noise", "", _accuracy(row),
             "ours only")
        )  # fmt: skip
        row = _one(
            table, time=_AFTER_THIRD, gauge="raw", seen=seen, noise="0.3 spreads", together=True
        )
        rows.append(
            (f"{_AFTER_THIRD} task, {seen}, with noise of 0.3 sd over networks", "",
             _accuracy(row), "ours only")
        )  # fmt: skip
    for time in TIMES:
        for seen in ("visible", "invisible"):
            row = _one(table, time=time, gauge="raw", seen=seen, noise="0.3", together=False)
            quantity = f"{time}, {seen}, with noise, single networks drawn"
            rows.append((quantity, "", _accuracy(row), "ours only"))
    return rows


def _state_rows(
    twins: Twins, teacher: dict[str, float], criterion: float, shares: tuple[float, float]
) -> list[Row]:
    """Return the rows on starts, learning, and what is conserved."""
    losses = twins.losses
    rows: list[Row] = [
        ("tables drawn as published that no network has", "", f"{100 * shares[0]:.1f}%",
         "ours only"),
        ("of all tables: negative variance of the current possible", "", f"{100 * shares[1]:.1f}%",
         "ours only"),
    ]  # fmt: skip
    for history in twins.histories:
        own = losses.loc[history]
        under = int(own["below"].notna().sum())
        rows.append(
            (f"{history}: twins under the criterion {criterion:g}", "", f"{under} of {len(own)}",
             "ours only")
        )  # fmt: skip
        rows.append((f"{history}: loss on the third task", "", spread(own["third"]), "ours only"))
    start = twins.states[TIMES[0]][0]
    kept = start["uu"] - start["vv"]
    for history, end in zip(twins.histories, twins.states[_AFTER_THIRD], strict=True):
        seen = features(end, "visible", "canonical")
        far = (seen - pd.Series(teacher)).abs().max(axis=1)
        quantity = f"{history}: visible overlaps from the teacher's, up to gauge, largest"
        rows.append((quantity, "", spread(far), "ours only"))
        drift = (end["uu"] - end["vv"] - kept).abs()
        rows.append((f"{history}: drift of uu - vv", "", spread(drift), "ours only"))
    return rows


def _hidden_by(noise: pd.DataFrame, seen: str, accuracy: float = 0.75) -> float:
    """Return the noise at which accuracy falls below a level for good, interpolated in its log."""
    rows = noise[noise["seen"] == seen]
    values, sizes = rows["accuracy"].to_numpy(), np.log(rows["noise"].to_numpy())
    above = np.flatnonzero(values >= accuracy)
    if len(above) == 0 or above[-1] == len(values) - 1:
        return float("nan") if len(above) == 0 else float("inf")
    last = above[-1]
    pair = [values[last + 1], values[last]]
    return float(np.exp(np.interp(accuracy, pair, [sizes[last + 1], sizes[last]])))


def _findings(
    twins: Twins,
    table: pd.DataFrame,
    differences: pd.DataFrame,
    shares: tuple[float, float],
    rough: pd.DataFrame,
    blurred: pd.DataFrame,
    criterion: float,
) -> tuple[str, ...]:
    """Return where our result or the published procedure needs a word, with numbers."""
    said = [
        f"{100 * shares[0]:.1f}% of tables drawn entry by entry as published are not positive "
        f"semidefinite, so no network has them; a cohort of ten holds one with probability "
        f"{1 - (1 - shares[0]) ** 10:.2f}. The exact step S <- B' S B keeps the number of negative "
        "eigenvalues, so learning does not mend them. Here such tables are drawn again.",
    ]
    together, apart = (
        _one(table, time=TIMES[0], gauge="raw", seen="visible", noise="none", together=way)
        for way in (True, False)
    )
    said.append(
        f"Before learning twins are identical. With pairs kept together the accuracy is exactly "
        f"{together['accuracy']:.2f}; with single networks drawn it is {apart['accuracy']:.2f}, "
        "far below chance, because most test networks have their twin with the other label in the "
        "training set. Later times need pairs kept together for the same reason."
    )
    late = differences[(differences["time"] == _AFTER_THIRD) & (differences["p_holm"] < _ALPHA)]
    for gauge in ("raw", "canonical"):
        own = late[late["gauge"] == gauge]
        listed = ", ".join(
            f"{row['overlap']} by {row['mean']:.3g} (sd over pairs {row['sd']:.2g})"
            for _, row in own.iterrows()
        )
        where = "as they are" if gauge == "raw" else "in the canonical gauge"
        said.append(
            f"After the third task, {where}, twins differ (sign-flip test, Holm over the overlaps) "
            f"in {listed or 'no overlap'}; first history minus second."
        )
    levels = [_hidden_by(blurred, seen) for seen in ("visible", "invisible")]
    ours = {
        noise: _one(
            table, time=_AFTER_THIRD, gauge="raw", seen="visible", noise=noise, together=True
        )["accuracy"]
        for noise in ("none", "0.3", "0.3 spreads")
    }
    losses = [twins.losses.loc[history, "third"].median() for history in twins.histories]
    said.append(
        "The trace in the visible overlaps after the third task is small and not gone: they decode "
        f"{ours['none']:.2f} without noise, {ours['0.3']:.2f} with noise of sd 0.3 on overlaps, "
        f"and {ours['0.3 spreads']:.2f} where the noise is 0.3 of each overlap's sd over networks. "
        f"Accuracy falls to 0.75 at noise of {levels[0]:.2g} for the visible and {levels[1]:.2g} "
        "for the invisible overlaps. Learning is not over: the losses on the third task end at "
        f"{losses[0]:.2g} ({twins.histories[0]}) and {losses[1]:.2g} "
        f"({twins.histories[1]})."
    )
    slow = twins.losses[twins.losses["below"].isna()]
    if len(slow):
        names = ", ".join(f"pair {pair} ({history})" for history, pair in slow.index)
        said.append(f"Never under the criterion of {criterion:g} in the first task: {names}.")
    return (*said, *_first_order_findings(rough))


def _first_order_findings(rough: pd.DataFrame) -> list[str]:
    """Return what the published first-order update does to the same courses."""
    if rough.empty:
        return []
    said = []
    ended, lost = rough[rough["diverged"].isna()], rough[rough["diverged"].notna()]
    if len(ended):
        worst = ended.loc[ended["largest"].idxmax()]
        said.append(
            f"The published first-order update, on the same trials, ends within "
            f"{worst['largest']:.2g} of the exact step in every overlap (largest in "
            f"{worst['overlap']}) in {len(ended)} of {len(rough)} courses: "
            f"{', '.join(ended.index.unique('history'))}."
        )
    gone = rough[rough["left"].notna()]
    if len(gone):
        said.append(
            f"The first-order update takes {len(gone)} of {len(rough)} courses from starts that "
            f"networks have to overlaps that none has ({', '.join(gone.index.unique('history'))}, "
            f"from epoch {gone['left'].min():.0f}, eigenvalues down to {gone['lowest'].min():.2g})"
            + (
                f"; {len(lost)} of them diverge, at epochs "
                f"{', '.join(f'{epoch:.0f}' for epoch in lost['diverged'])}. "
                if len(lost)
                else ". "
            )
            + "The exact step cannot leave, and does not diverge at these rates."
        )
    return said


def _reproduce(
    *,
    seed: int = 0,
    n_jobs: int = 1,
    scale: float = 1.0,
    folder: Path | None = None,
    progress: Callable[[str], None] | None = None,
) -> Reproduced:
    """Rebuild it; see `predictlearn.published.reproduce`."""
    protocol = load(RESULT.protocols[0], scale)
    announce(progress, f"{protocol.spec.cohort.networks} pairs of twins, two histories")
    result = run(protocol, seed=seed, n_jobs=n_jobs, folder=folder)
    announce(progress, f"the first-order update, {_FIRST_ORDER_PAIRS} pairs")
    starts = result.starts[:_FIRST_ORDER_PAIRS]
    rough = _rough(result, first_order_courses(protocol, starts, seed, n_jobs, folder))
    return analysed(protocol, result, rough, seed, scale, progress)


def analysed(
    protocol: Protocol,
    result: ProtocolResult,
    rough: pd.DataFrame,
    seed: int = 0,
    scale: float = 1.0,
    progress: Callable[[str], None] | None = None,
) -> Reproduced:
    """Return figures, numbers and findings of a run.

    Parameters
    ----------
    protocol : Protocol
        The protocol of twins.
    result : ProtocolResult
        Its run; at least four pairs that got through.
    rough : pandas.DataFrame
        Largest differences of the first-order update, by history and pair; may be empty.
    seed : int, default 0
        Seed of splits, noise and draws of tables.
    scale : float, default 1.0
        What the epochs were multiplied with.
    progress : callable, optional
        Called with the name of each stage.

    Returns
    -------
    Reproduced
        The result.
    """
    criterion = _criterion(protocol)
    twins = Twins.of(result, criterion)
    teacher = _teacher(protocol)
    announce(progress, "decoding of history")
    table = _with_holm(decoding_table(twins, seed))
    course = course_table(twins, seed=seed)
    blurred = noise_table(twins, seed=seed)
    differences = difference_table(twins)
    drawn = protocol.spec.cohort.distribution
    if drawn is None or not isinstance(drawn.norms, list):
        raise InputError("the cohort of twins must have a distribution with norms [low, high].")
    shares = unrealisable(drawn.cross_sd, (drawn.norms[0], drawn.norms[1]), seed=seed)
    announce(progress, "figures")
    ends = {
        (time, history): state
        for time in TIMES
        for history, state in zip(twins.histories, twins.states[time], strict=True)
    }
    return Reproduced(
        {
            "overlaps": overlaps_figure(twins, teacher),
            "decoding": decoding_figure(table, course, blurred),
        },
        numbers_table(
            [*_decoding_rows(table, scale), *_state_rows(twins, teacher, criterion, shares)]
        ),
        _findings(twins, table, differences, shares, rough, blurred, criterion)
        if scale >= 1.0
        else (),
        {
            "decoding": table,
            "course": course,
            "noise": blurred,
            "differences": differences,
            "overlaps": pd.concat(ends, names=["time", "history", "pair"]),
            "losses": twins.losses,
            "first-order": rough,
        },
    )


RESULT = Published(
    name="twin-history",
    title="Twins: the invisible overlaps remember what was learned first",
    claim="Twins that start as one network first learn different tasks and then the same one. "
    "Before learning nothing tells them apart; after the first task the visible and the invisible "
    "overlaps do; after the third the invisible ones still do, and the visible ones, with noise, "
    "do not.",
    protocols=("published-twin-history",),
    run=_reproduce,
    takes="3 min on two cores",
)
