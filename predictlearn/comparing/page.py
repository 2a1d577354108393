"""The page of a comparison: a point an animal, the difference with its interval, the numbers."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

import predictlearn
from predictlearn.comparing.question import ArmComparison
from predictlearn.comparing.resampled import PowerAt
from predictlearn.reporting import Figure, Report, Section, Table, figures
from predictlearn.statistics.comparisons import number, p_text, span

__all__ = ["comparison_report", "power_cautions", "power_table", "said"]

_SHOWN = ("name", "estimate", "unit", "effect", "p", "p_corrected", "bf10", "n", "verdict")
_LABELS = {"name": "comparison", "p_corrected": "p corrected", "bf10": "BF10"}
_SIMULATED = (
    "The animals on this page are networks of a protocol in a computer; no animal was measured."
)
_LOSS = "A loss is the squared error of a task, summed over time."
# What a plan is made for.
_AIM = 0.8
# The page says so many comparisons in words.
_FEW = 3
# Tests whose own sentence says more than a difference and its p.
_OTHERS = ("equivalence", "bayes", "survival")
_NEGATIVE = re.compile(r"(?<![\w.)\]])-(?=\d)")


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
    if comparison.question.test in _OTHERS or row["failed"]:
        return str(row["statement"])
    q = comparison.question
    unit = q.unit or f"in {q.outcome}"
    p = p_text(float(row["p"]))
    if len(comparison.asked_rows) > 1 and row["correction"] != "none":
        p += f" (corrected by {row['correction']}: {p_text(float(row['p_corrected']))})"
    n = f"{row['n']} rows of {row['n_animals']} animals" if "df" in row else f"n = {row['n']}"
    note = f" Note: {row['degenerate']}." if row["degenerate"] else ""
    return (
        f"{row['name']}: difference {number(row['estimate'])} {unit}, "
        f"{100 * row['level']:.3g}% interval {span(row['low'], row['high'])}, "
        f"{row['effect_name']} {number(row['effect'])} "
        f"{span(row['effect_low'], row['effect_high'])}, {row['method']}, {p}, {n}: "
        f"{row['verdict']}.{note}"
    )


def power_table(powers: Sequence[PowerAt]) -> pd.DataFrame:
    """Return power at the number of animals asked about, and the numbers needed.

    Parameters
    ----------
    powers : sequence of PowerAt
        Of `resampled_power`.

    Returns
    -------
    pandas.DataFrame
        A row a difference.
    """
    return pd.DataFrame(
        {
            "difference": [one.effect for one in powers],
            "which": ["as seen here" if one.seen else "as stated" for one in powers],
            "animals": [one.n for one in powers],
            "power": [one.power for one in powers],
            "low": [one.low for one in powers],
            "high": [one.high for one in powers],
            "for_80": [one.needed(0.8) for one in powers],
            "for_95": [one.needed(0.95) for one in powers],
        }
    )


def power_cautions(comparison: ArmComparison, powers: Sequence[PowerAt]) -> tuple[str, ...]:
    """Return what power of this kind does not say.

    Parameters
    ----------
    comparison : ArmComparison
        The comparison.
    powers : sequence of PowerAt
        Its powers.

    Returns
    -------
    tuple of str
        Sentences.
    """
    low, high = powers[0].spread
    n = len(comparison.animals["subject"].unique())
    found = [
        "Power at the difference seen is no evidence about this experiment: it says again what p "
        "says, and a difference that was found is more often too large than too small. State the "
        "smallest difference that would matter with `--effect`.",
        "Intervals of power are those of the simulation. How much animals differ is known from "
        f"{n} of them: numbers needed could be {low:.2g} to {high:.2g} times as large.",
    ]
    flags = [
        f"With a difference of {number(one.effect)} the curve is {flag}."
        for one in powers
        for flag in dict.fromkeys(one.found.needed["flag"])
        if flag and one.found.table["power"].iloc[-1] < 0.95
    ]
    failed = [one for one in powers if one.found.table["failed"].any()]
    for one in failed:
        share = one.found.table["failed"].sum() / one.found.table["simulations"].sum()
        why = next(filter(None, one.found.table["why_failed"]), "")
        flags.append(
            f"{100 * share:.2g}% of simulated experiments could not be tested, and count as not "
            f"shown: {why}"
        )
    return tuple(found + flags)


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
    sentences = [_typeset(said(comparison, row)) for row in rows.to_dict("records")]
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
        rows.assign(name=[_typeset(str(name)) for name in rows["name"]]),
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
                "That a difference is not shown does not mean that there is none. Whether arms are "
                "the same is asked with `--margin`, the largest difference that would not matter.",
            ),
        ),
    ]
    if powers:
        sections.append(_power_section(comparison, powers, unit))
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


def _typeset(text: str) -> str:
    """Return a sentence with signs that are no hyphens."""
    return _NEGATIVE.sub("−", text.replace(" - ", " minus "))


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
    return Table(
        "comparison",
        f"Differences{'' if several else f' in {unit}'}{effects} with its {level}."
        if effects
        else f"Estimates with their {level}s.",
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
    return _typeset(f"{number(value)} {span(low, high)}") if math.isfinite(value) else "–"


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


def _power_section(comparison: ArmComparison, powers: Sequence[PowerAt], unit: str) -> Section:
    """Return the section on other numbers of animals."""
    of = "pairs" if comparison.question.paired else "animals in each arm"
    table = power_table(powers)
    shown = pd.DataFrame(
        {
            "difference": [_typeset(number(x)) for x in table["difference"]],
            "which": table["which"],
            "animals": table["animals"],
            "power": [
                f"{100 * p:.0f}% [{100 * low:.0f}, {100 * high:.0f}]"
                for p, low, high in zip(table["power"], table["low"], table["high"], strict=True)
            ],
            "for_80": table["for_80"],
            "for_95": table["for_95"],
        }
    )
    curves = [
        one.found.table.assign(
            difference=one.effect,
            curve=f"{_typeset(number(one.effect))} {unit}, {which}",
        )
        for one, which in zip(powers, table["which"], strict=True)
    ]
    curve = pd.concat(curves, ignore_index=True)
    return Section(
        "Other numbers of animals",
        (
            "Experiments were simulated by drawing animals of this table, with all of their rows, "
            f"and moving arms apart by the difference; each was tested in the same way. Numbers "
            f"are of {of}.",
        ),
        (
            Figure(
                "power",
                "Power: how many simulated experiments of each size show the difference. Shaded: "
                "95% Monte Carlo intervals; lines at 80 and 95%.",
                figures.power_curves(curve, of.capitalize()),
                f"Power by number of {of}. "
                + " ".join(
                    f"{one.effect:.3g} {unit}: {one.needed(_AIM)} for 80%." for one in powers
                ),
            ),
        ),
        (
            Table(
                "power",
                f"Power of differences in {unit}, with its 95% Monte Carlo interval, and the "
                f"smallest number of {of} for a power of 80 and 95%.",
                table,
                on_page=shown,
                labels={"for_80": "for 80%", "for_95": "for 95%"},
            ),
            Table(
                "power-curve",
                f"Power by number of {of} (n), as in the figure.",
                curve[["difference", "n", "power", "low", "high", "simulations", "failed"]],
                decimals={"power": 2, "low": 2, "high": 2},
                max_rows=4,
            ),
        ),
        caveats=power_cautions(comparison, powers),
    )


def _next_steps(
    comparison: ArmComparison, powers: Sequence[PowerAt], unit: str, simulated: bool
) -> tuple[str, ...]:
    """Return what the reader can do with the comparison."""
    q = comparison.question
    of = "pairs" if q.paired else "animals in each arm"
    steps = []
    if simulated:
        steps.append(
            "Do this experiment, and test a table of your animals in the same way: `predictlearn "
            "compare TABLE.csv --outcome COLUMN`, one row an animal and arm."
        )
    else:
        steps.append(
            "Report the difference with its interval, and the test by name: the sentences under "
            "key findings say all of it."
        )
    stated = [one for one in powers if not one.seen]
    steps += [
        f"Plan the next experiment: {one.needed(_AIM).replace('> ', 'more than ')} {of} show a "
        "difference of "
        f"{_typeset(number(one.effect))} {unit} with 80% power."
        for one in stated
    ]
    if q.test == "survival":
        steps.append(
            "Plan the next experiment in Python, with `power_by_simulation` and "
            "`compare_survival` of `predictlearn.statistics`: how long a new criterion takes has "
            "to be simulated."
        )
    elif not stated:
        two = "" if comparison.animals["arm"].nunique() == 2 else " --arms FIRST SECOND"
        steps.append(
            f"Plan the next experiment: `--animals N --effect D{two}` adds the number of {of} that "
            f"show a difference of D, the smallest that would matter, in {unit}."
        )
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
            _typeset(number(row["estimate"])),
            _typeset(f"{unit}, {name}; {level} {span(row['low'], row['high'])}"),
        ),
        (
            _typeset(number(row["effect"])),
            _typeset(f"{row['effect_name']}; {span(row['effect_low'], row['effect_high'])}"),
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
        found.append(f"**{name}.** Checked: {_typeset(checks)}.")
    # what several comparisons share is said once
    taken = dict.fromkeys(str(row["assumptions"]) for row in rows)
    return found + [f"**Taken for granted.** {text[:1].upper()}{text[1:]}." for text in taken]
