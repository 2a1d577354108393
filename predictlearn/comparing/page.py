"""The page of a comparison: a point an animal, the difference with its interval, the numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

import predictlearn
from predictlearn.comparing.power_page import plan_steps, power_section, typeset
from predictlearn.comparing.question import ArmComparison
from predictlearn.comparing.resampled import PowerAt
from predictlearn.reporting import Figure, Report, Section, Table, figures
from predictlearn.statistics.comparisons import number, p_text, span

__all__ = ["comparison_report", "said"]

_SHOWN = ("name", "estimate", "unit", "effect", "p", "p_corrected", "bf10", "n", "verdict")
_LABELS = {"name": "comparison", "p_corrected": "p corrected", "bf10": "BF10"}
_SIMULATED = (
    "The animals on this page are networks of a protocol in a computer; no animal was measured."
)
_LOSS = "A loss is the squared error of a task, summed over time."
_SAME = (
    " Whether arms are the same is asked with `--margin`, the largest difference that would not "
    "matter."
)
# The page says so many comparisons in words.
_FEW = 3
# Tests whose own sentence says more than a difference and its p.
_OTHERS = ("equivalence", "bayes", "survival")


def said(comparison: ArmComparison, row: Mapping[str, Any]) -> str:
    """Return one comparison as a sentence, in the unit of the outcome.

    Parameters
    ----------
    comparison : ArmComparison
        The comparison.
    row : mapping
        A row of its tests.

    Returns
    -------
    str
        The sentence.
    """
    q = comparison.question
    corrected = ""
    if len(comparison.asked_rows) > 1 and row["correction"] != "none":
        corrected = f"orrected by {row['correction']}: {p_text(float(row['p_corrected']))}"
    if q.test in _OTHERS or row["failed"]:
        known = corrected and math.isfinite(float(row["p_corrected"]))
        return str(row["statement"]) + (f" C{corrected}." if known else "")
    unit = q.unit or f"in {q.outcome}"
    p = p_text(float(row["p"])) + (f" (c{corrected})" if corrected else "")
    n = f"{row['n']} rows of {row['n_animals']} animals" if "df" in row else f"n = {row['n']}"
    note = f" Note: {row['degenerate']}." if row["degenerate"] else ""
    return (
        f"{row['name']}: difference {number(row['estimate'])} {unit}, "
        f"{100 * row['level']:.3g}% interval {span(row['low'], row['high'])}, "
        f"{row['effect_name']} {number(row['effect'])} "
        f"{span(row['effect_low'], row['effect_high'])}, {row['method']}, {p}, {n}: "
        f"{row['verdict']}.{note}"
    )


def comparison_report(
    comparison: ArmComparison,
    powers: Sequence[PowerAt] = (),
    *,
    title: str,
    command: str,
    simulated: bool = False,
    settings: Mapping[str, Any] | None = None,
) -> Report:
    """Return the page of a comparison.

    Parameters
    ----------
    comparison : ArmComparison
        The comparison.
    powers : sequence of PowerAt
        Its powers, if asked for.
    title : str
        Heading.
    command : str
        The command that makes it.
    simulated : bool
        Whether the animals are networks.
    settings : mapping, optional
        What else belongs to how it was made.

    Returns
    -------
    Report
        The page.
    """
    q, rows = comparison.question, comparison.asked_rows
    sentences = [typeset(said(comparison, row)) for row in rows.to_dict("records")]
    label = q.outcome if not q.unit or q.unit == q.outcome else f"{q.outcome} ({q.unit})"
    level = 100 * float(rows["level"].iloc[0])
    unit = q.unit or q.outcome
    open_marks = " Open marks had not reached the criterion when they were last seen."
    waits = bool((comparison.animals["reached"] < 1).any())
    what = "network" if simulated else "animal"
    joined = f" Lines join the values of one {what}." if q.paired else ""
    shaded = "" if q.margin is None else " Shaded: differences that would not matter."
    means = "" if waits else "; black bars: means of arms"
    drawing = figures.animals_and_differences(
        comparison.animals,
        rows.assign(name=[typeset(str(name)) for name in rows["name"]]),
        xlabel=label,
        difference_label=f"Difference ({unit}), {level:.3g}% interval",
        paired=q.paired,
        margin=q.margin,
    )
    sections = [
        Section(
            f"Every {what}, and the difference",
            (*comparison.notes, *([_LOSS] if simulated and q.outcome.startswith("loss") else [])),
            (
                Figure(
                    "animals",
                    f"Above: a mark for every {what}{means}.{joined}{open_marks if waits else ''} "
                    f"Below: differences of arms with their {level:.3g}% intervals.{shaded}",
                    drawing,
                    f"{label} of every {what} by arm, and differences of arms with intervals: "
                    + " ".join(sentences),
                ),
            ),
            (
                _tests_table(comparison, unit),
                Table(
                    "animals",
                    f"The outcome of every {what}, one value each.",
                    comparison.animals,
                    on_page=_animals_shown(comparison.animals, waits),
                    decimals={"value": _decimals(comparison.animals["value"])},
                    labels={"value": label},
                    max_rows=6,
                ),
            ),
        ),
        Section(
            "What was checked, and what to do instead",
            tuple(_checked(comparison)),
            caveats=(
                "That a difference is not shown does not mean that there is none."
                + ("" if q.test == "survival" else _SAME),
            ),
        ),
    ]
    if powers:
        sections.append(power_section(comparison, powers, unit))
    return Report(
        title=title,
        lead=_lead(rows, sentences),
        next_steps=_next_steps(comparison, powers, unit, simulated),
        sections=tuple(sections),
        highlights=_highlights(rows, unit, f"{what}s"),
        reproduce={
            "command": command,
            "version": predictlearn.__version__,
            "settings": {"test": q.test, "seed": q.seed, **(settings or {})},
        },
        simulated=_SIMULATED if simulated else False,
    )


def _tests_table(comparison: ArmComparison, unit: str) -> Table:
    """Return the table of comparisons: on the page every number with its interval."""
    tests = comparison.tests
    one = len(comparison.asked_rows) == 1
    left_out = {"p", "p_corrected"} if "bf10" in tests else {"p_corrected" if one else "p"}
    if comparison.question.test == "survival":
        left_out.add("effect")
    units = [str(one or unit) for one in tests["unit"]]
    if len(set(units)) == 1:
        left_out.add("unit")
    shown = tests.assign(
        name=[str(name).replace(" - ", " minus ") for name in tests["name"]],
        unit=units,
        estimate=[_interval(row, "estimate", "low", "high") for row in tests.to_dict("records")],
        effect=[
            _interval(row, "effect", "effect_low", "effect_high")
            for row in tests.to_dict("records")
        ],
    )
    columns = [name for name in _SHOWN if name in shown and name not in left_out]
    level = f"{100 * float(tests['level'].iloc[0]):.3g}% interval"
    several = "unit" not in left_out
    effects = "" if "effect" in left_out else f" and effects ({tests['effect_name'].iloc[0]}), each"
    if comparison.question.test == "survival":
        ratios = "the row of log-rank" if comparison.question.paired else "other rows"
        caption = (
            f"Differences of restricted means in {unit} with their {level}s; in {ratios} the "
            "hazard of the first arm over that of the other, above 1 where it is sooner. Effect "
            "sizes are in the file."
        )
    elif effects:
        caption = f"Differences{'' if several else f' in {unit}'}{effects} with its {level}."
    else:
        caption = f"Estimates with their {level}s."
    return Table(
        "comparison",
        caption,
        tests,
        on_page=shown[columns],
        decimals={name: 4 for name in ("p", "p_corrected") if name in shown[columns]},
        labels={
            **{k: v for k, v in _LABELS.items() if k in columns},
            "estimate": "estimate" if several else "difference",
        },
    )


def _interval(row: Mapping[str, Any], *names: str) -> str:
    """Return a number with its interval, or a dash where a test failed."""
    value, low, high = (float(row[name]) for name in names)
    return "–" if math.isnan(value) else typeset(f"{number(value)} {span(low, high)}")


def _animals_shown(animals: pd.DataFrame, waits: bool) -> pd.DataFrame:
    """Return what the page shows of every animal."""
    shown = animals[["arm", "subject", "value"]]
    return shown.assign(reached=animals["reached"] > 0) if waits else shown


def _decimals(values: pd.Series) -> int:
    """Return the digits after the point that show three figures of the largest value."""
    numbers = values.to_numpy(float)
    if (numbers == numbers.round()).all():
        return 0
    return int(min(6, max(0, 2 - math.floor(math.log10(abs(numbers).max())))))


def _next_steps(
    comparison: ArmComparison, powers: Sequence[PowerAt], unit: str, simulated: bool
) -> tuple[str, ...]:
    """Return what the reader can do with the comparison."""
    q = comparison.question
    steps = []
    censored = " --censored COLUMN" if q.test == "survival" else ""
    if simulated:
        steps.append(
            "Do this experiment, and test a table of your animals in the same way: `predictlearn "
            f"compare TABLE.csv --outcome COLUMN{censored}`, one row an animal and arm."
        )
    else:
        steps.append(
            "Report the difference with its interval, and the test by name: the sentences under "
            "key findings say all of it."
        )
    steps += plan_steps(comparison, powers, unit)
    if q.margin is None and q.test not in ("bayes", "survival"):
        steps.append(
            "Ask whether arms are the same instead: `--margin D` tests that they differ by less "
            f"than D, the largest difference that would not matter, in {unit}."
        )
    return tuple(steps)


def _lead(rows: pd.DataFrame, sentences: Sequence[str]) -> tuple[str, ...]:
    """Return the findings of a few comparisons, or how many of many there are."""
    if len(sentences) <= _FEW:
        return tuple(sentences)
    found = rows["verdict"].isin(["different", "equivalent"]).to_numpy()
    first = [text for text, yes in zip(sentences, found, strict=True) if yes][:_FEW]
    more = f"; the first {_FEW} of them follow" if found.sum() > _FEW else ""
    words = " or ".join(dict.fromkeys(rows["verdict"][found])) or "different"
    return (f"{found.sum()} of {len(rows)} comparisons are {words}{more}.", *first)


def _highlights(rows: pd.DataFrame, unit: str, animals: str) -> tuple[tuple[str, str], ...]:
    """Return the numbers that stand large on the page, of one comparison."""
    if len(rows) > 1 or rows["failed"].iloc[0]:
        return ()
    row = rows.iloc[0]
    name = str(row["name"]).replace(", restricted mean", "")
    p = float(row["p"])
    third = ("", "")
    if math.isfinite(p):
        third = ("< 0.0001" if p < 1e-4 else f"{p:.2g}", f"p, {row['method']}")
    elif "bf10" in row:
        third = (f"{float(row['bf10']):.3g}", "Bayes factor for a difference")
    level = f"{100 * float(row['level']):.3g}% interval"
    made = [
        (
            typeset(number(row["estimate"])),
            typeset(f"{unit}, {name}; {level} {span(row['low'], row['high'])}"),
        ),
        (
            typeset(number(row["effect"])),
            typeset(f"{row['effect_name']}; {span(row['effect_low'], row['effect_high'])}"),
        ),
        third,
        (str(row["n_animals"]), animals),
    ]
    return tuple(pair for pair in made if pair[0])


def _checked(comparison: ArmComparison) -> list[str]:
    """Return what was checked of each comparison, and on what they rest."""
    rows = comparison.tests.to_dict("records")
    found = []
    for row in rows:
        checks = row["checked"] or "nothing that so few animals could show"
        name = str(row["name"]).replace(" - ", " minus ")
        found.append(f"**{name}.** Checked: {typeset(checks)}.")
    # what several comparisons share is said once
    taken = dict.fromkeys(str(row["assumptions"]) for row in rows)
    return found + [f"**Taken for granted.** {text[:1].upper()}{text[1:]}." for text in taken]
