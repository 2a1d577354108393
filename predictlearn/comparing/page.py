"""The page of a comparison: a point an animal, the difference with its interval, the numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

import predictlearn
from predictlearn.comparing.question import ArmComparison
from predictlearn.comparing.resampled import PowerAt
from predictlearn.reporting import Figure, Report, Section, Table, figures
from predictlearn.statistics.comparisons import number, p_text, span

__all__ = ["arms_report", "comparison_report", "power_cautions", "power_table", "said"]

_SHOWN = ("name", "estimate", "low", "high", "effect", "p", "p_corrected", "bf10", "n", "verdict")
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
    waits = any(one.test for one in powers)
    tests = {"test": [one.test for one in powers]} if waits else {}
    return pd.DataFrame(
        {
            "hazard ratio" if waits else "difference": [one.effect for one in powers],
            "which": ["as seen here" if one.seen else "as stated" for one in powers],
            **tests,
            "animals": [one.animals if one.share != 1 else one.n for one in powers],
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
    waits = bool(powers[0].test)
    known = "How much animals differ is known"
    state = "State the smallest difference that would matter with `--effect`."
    if waits:
        known = "How many animals reach the criterion is known"
        state = (
            "State the smallest hazard ratio that would matter with `--effect`: 2 where "
            f"{comparison.arms[1]} reaches the criterion at twice the rate of "
            f"{comparison.arms[0]}, 0.5 at half of it."
        )
    found = [
        "Power at the difference seen is no evidence about this experiment: it says again what p "
        f"says, and a difference that was found is more often too large than too small. {state}",
        f"Intervals of power are those of the simulation. {known} from {n} of them: numbers needed "
        f"could be {low:.2g} to {high:.2g} times as large.",
    ]
    if powers[0].share != 1:
        found.append(
            f"Of arms of unequal size the first number is that of {comparison.arms[1]}; curves and "
            f"intervals of numbers needed count {comparison.arms[0]}."
        )
    flags = [
        f"With a {'hazard ratio' if waits else 'difference'} of {number(one.effect)} the curve"
        f"{f' of the {one.test} test' if waits else ''} is {flag}."
        for one in powers
        for flag in dict.fromkeys(one.numbers_needed["flag"])
        if flag and one.table["power"].iloc[-1] < 0.95
    ]
    failed = [one for one in powers if one.table["failed"].any()]
    if waits:  # what one test cannot take the other cannot either
        failed = failed[:1]
    for one in failed:
        share = one.table["failed"].sum() / one.table["simulations"].sum()
        why = next(filter(None, one.table["why_failed"]), "")
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
    several = len(rows) > 1
    survival = q.test == "survival"
    empty = {"p"} if q.test == "bayes" else set()
    if survival:
        # a ratio of hazards is an effect itself, and the table has to fit the page
        empty = {"effect", "p"} if several else {"effect"}
    empty |= set() if several and q.test != "bayes" else {"p_corrected"}
    shown = [name for name in _SHOWN if name in comparison.tests and name not in empty]
    sentences = [said(comparison, row) for row in rows.to_dict("records")]
    label = q.outcome if not q.unit or q.unit == q.outcome else f"{q.outcome} ({q.unit})"
    level = 100 * float(rows["level"].iloc[0])
    unit = q.unit or q.outcome
    open_marks = " Open marks had not reached the criterion when they were last seen."
    waits = bool((comparison.animals["reached"] < 1).any())
    joined = " Lines join the values of an animal." if q.paired else ""
    what = "network" if simulated else "animal"
    shaded = "" if q.margin is None else " Shaded: differences that would not matter."
    means = "" if waits else "; black bars: means of arms"
    drawing = figures.animals_and_differences(
        comparison.animals,
        rows,
        xlabel=label,
        difference_label=f"Difference ({unit}), {level:.3g}% interval",
        paired=q.paired,
        margin=q.margin,
    )
    sections = [
        Section(
            f"Every {what}, and the difference",
            comparison.notes,
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
                Table(
                    "comparison",
                    f"Differences in {unit} with their {level:.3g}% intervals; "
                    + (
                        "in rows of log-rank and hazard ratio the hazard of the first arm over "
                        "that of the other, above 1 where it is sooner. Effect sizes are in the "
                        "file."
                        if survival
                        else f"effect: {comparison.tests['effect_name'].iloc[0]}, its interval in "
                        "the file."
                    ),
                    comparison.tests,
                    columns=tuple(shown),
                    labels={"name": "comparison", "p_corrected": "p corrected"},
                ),
                Table(
                    "animals",
                    f"The outcome of every {what}: the mean of its rows.",
                    comparison.animals,
                    columns=("arm", "subject", "value", *(("reached",) if waits else ())),
                    labels={"value": label},
                    decimals={"reached": 0},
                    max_rows=8,
                ),
            ),
        ),
        Section(
            "What was checked, and what to do instead",
            tuple(_checked(comparison)),
            caveats=(
                "A difference that is not shown is not the same as none"
                + ("." if survival else ": see `--margin`."),
            ),
        ),
    ]
    if powers:
        name = "hazard ratio" if powers[0].test else "difference"
        curve = pd.concat([one.table.assign(**{name: one.effect}) for one in powers])
        made = power_table(powers)
        ends = made[["power", "low", "high"]].itertuples(index=False)
        which = zip(made[name], made["which"].str.split().str[1], strict=True)
        made = made.assign(put_in=[f"{number(effect)}, {word}" for effect, word in which])
        made = made.assign(text=[f"{p:.2f} [{low:.2f}, {high:.2f}]" for p, low, high in ends])
        tests = ["test"] if "test" in made else []
        sections.append(
            Section(
                "Other numbers of animals",
                (_drawn(comparison, powers),),
                tables=(
                    Table(
                        "power",
                        f"Power with {powers[0].animals} "
                        f"{_who(comparison, powers)} and its Monte Carlo interval, and the "
                        "smallest number of animals for a power of 80 and 95%.",
                        made,
                        columns=("put_in", *tests, "text", "for_80", "for_95"),
                        labels={
                            "put_in": name,
                            "text": "power",
                            "for_80": "for 80%",
                            "for_95": "for 95%",
                        },
                    ),
                    Table(
                        "power-curve",
                        "Power by number of animals.",
                        curve.reset_index(drop=True)[
                            [name, *tests, "n", "power", "low", "high", "simulations", "failed"]
                        ],
                        decimals={"power": 2, "low": 2, "high": 2},
                        max_rows=10,
                    ),
                ),
                caveats=power_cautions(comparison, powers),
            )
        )
    return Report(
        title=title,
        lead=_lead(rows, sentences),
        sections=tuple(sections),
        highlights=_highlights(rows, unit),
        reproduce={
            "command": command,
            "version": predictlearn.__version__,
            "settings": {"test": q.test, "seed": q.seed, **(settings or {})},
        },
        simulated=simulated,
    )


def arms_report(
    tests: pd.DataFrame,
    title: str,
    design: str,
    *,
    seed: int,
    settings: Mapping[str, Any],
    notes: Sequence[str] = (),
) -> Report:
    """Return the page of two arms of a protocol, compared in many outcomes.

    Parameters
    ----------
    tests : pandas.DataFrame
        Of `compare_arms`, at one epoch.
    title : str
        Heading.
    design : str
        Whether the arms are paired, in words.
    seed : int
        Seed of the run.
    settings : mapping
        What else belongs to how it was made.
    notes : sequence of str
        What the reader should know of how arms were compared.

    Returns
    -------
    Report
        The page.
    """
    correction = str(tests["correction"].iloc[0])
    rows = pd.DataFrame(
        {
            "label": tests["quantity"],
            "estimate": tests["effect"],
            "low": tests["effect_low"],
            "high": tests["effect_high"],
            "p": tests["p_corrected"],
            "group": tests["family"],
        }
    )
    kind = str(tests["effect_name"].iloc[0])
    found = tests.loc[tests["significant"], "quantity"].astype(str).tolist()
    named = f": {', '.join(found)}" if found else ""
    return Report(
        title=title,
        lead=(
            f"{len(found)} of {len(tests)} outcomes differ{named}.",
            f"Design: {design}; p corrected by {correction} within losses and within overlaps.",
        ),
        sections=(
            Section(
                "What differs",
                tuple(notes),
                (
                    Figure(
                        "effects",
                        f"Standardised differences of the arms ({kind}) with their 95% intervals "
                        "and corrected p.",
                        figures.effect_sizes(rows, xlabel=f"{kind} (standard deviations)"),
                        f"Standardised differences: {len(found)} of {len(tests)} differ{named}.",
                    ),
                ),
                (
                    Table(
                        "comparison",
                        "Differences in the units of each outcome with their 95% intervals, and "
                        "the animals that give a power of 80% if animals vary as these networks "
                        "do: pairs, or as many in each group.",
                        tests,
                        columns=(
                            "quantity",
                            "estimate",
                            "low",
                            "high",
                            "p_corrected",
                            "n",
                            "animals_needed",
                            "significant",
                        ),
                        decimals={"animals_needed": 0},
                        labels={
                            "quantity": "outcome",
                            "p_corrected": "p corrected",
                            "animals_needed": "animals",
                            "significant": "different",
                        },
                    ),
                ),
                caveats=("What is not shown to differ need not be equal.",),
            ),
        ),
        reproduce={"version": predictlearn.__version__, "seed": seed, "settings": settings},
        simulated=True,
    )


def _who(comparison: ArmComparison, powers: Sequence[PowerAt]) -> str:
    """Return of whom power is, in words."""
    if comparison.question.paired:
        return "pairs"
    return "animals in each arm" if powers[0].share == 1 else "animals"


def _drawn(comparison: ArmComparison, powers: Sequence[PowerAt]) -> str:
    """Return how other experiments were simulated, in words."""
    who = "pairs" if comparison.question.paired else "those of each arm"
    if powers[0].share != 1:
        who = f"those of {comparison.arms[1]} and of {comparison.arms[0]}, n those of the latter"
    if not powers[0].test:
        return (
            "Experiments were simulated by drawing animals of this table, with all of their rows, "
            f"and moving arms apart by the difference; the same test was made of each. Animals are "
            f"{who}."
        )
    reference = comparison.arms[0]
    return (
        "Experiments were simulated by drawing animals of this table: who was last seen before the "
        "criterion stays so. As seen, each arm is drawn from its own animals. With a stated hazard "
        f"ratio both are drawn from the curve of {reference}, the hazard of "
        f"{comparison.arms[1]} so many times as high and training as long. The log-rank test and "
        f"that of restricted means were made of each. Animals are {who}."
    )


def _lead(rows: pd.DataFrame, sentences: Sequence[str]) -> tuple[str, ...]:
    """Return the findings of a few comparisons, or how many of many there are."""
    if len(sentences) <= _FEW:
        return tuple(sentences)
    found = rows["verdict"].isin(["different", "equivalent"]).to_numpy()
    first = [text for text, yes in zip(sentences, found, strict=True) if yes][:_FEW]
    more = f"; the first {_FEW} of them follow" if found.sum() > _FEW else ""
    words = " or ".join(dict.fromkeys(rows["verdict"][found])) or "different"
    return (f"{found.sum()} of {len(rows)} comparisons are {words}{more}.", *first)


def _highlights(rows: pd.DataFrame, unit: str) -> tuple[tuple[str, str], ...]:
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
    made = [
        (f"{number(row['estimate'])}".replace("-", "−"), f"{unit}, {name}"),
        (f"{number(row['effect'])}".replace("-", "−"), str(row["effect_name"])),
        third,
        (str(row["n_animals"]), "animals"),
    ]
    return tuple(pair for pair in made if pair[0])


def _checked(comparison: ArmComparison) -> list[str]:
    """Return what was checked of each comparison, and on what it rests."""
    found = []
    for row in comparison.tests.to_dict("records"):
        checks = row["checked"] or "nothing that so few animals could show"
        found.append(f"**{row['name']}.** Checked: {checks}. Takes for granted: "
                     f"{row['assumptions']}.")  # fmt: skip
    return found
