"""Power of a comparison on its page: curves, numbers needed, and what they do not say."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pandas as pd

from predictlearn.comparing.question import ArmComparison
from predictlearn.comparing.resampled import PowerAt
from predictlearn.reporting import Figure, Section, Table, figures
from predictlearn.statistics.comparisons import number

__all__ = [
    "counted",
    "plan_steps",
    "power_cautions",
    "power_section",
    "power_table",
    "typeset",
]

# What a plan is made for.
_AIM = 0.8
_NEGATIVE = re.compile(r"(?<![\w.)\]])-(?=\d)")


def typeset(text: str) -> str:
    """Return a sentence with signs that are no hyphens.

    Parameters
    ----------
    text : str
        The sentence.

    Returns
    -------
    str
        The same, with minus signs.

    Examples
    --------
    >>> typeset("a - b is -2")
    'a minus b is −2'
    """
    return _NEGATIVE.sub("−", text.replace(" - ", " minus "))


def counted(comparison: ArmComparison, powers: Sequence[PowerAt] = ()) -> str:
    """Return whom numbers of animals count, in words.

    Parameters
    ----------
    comparison : ArmComparison
        The comparison.
    powers : sequence of PowerAt
        Its powers; of arms of unequal size both numbers are said.

    Returns
    -------
    str
        Such as "animals in each arm".
    """
    if comparison.question.paired:
        return "pairs"
    if powers and powers[0].share != 1:
        second, first = comparison.arms
        return f"animals of {first} and of {second}"
    return "animals in each arm"


def power_table(powers: Sequence[PowerAt]) -> pd.DataFrame:
    """Return power at the number of animals asked about, and the numbers needed.

    Parameters
    ----------
    powers : sequence of PowerAt
        Of `resampled_power`.

    Returns
    -------
    pandas.DataFrame
        A row a difference; of waits one a hazard ratio and test.
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
            "for_80": [one.needed(_AIM) for one in powers],
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


def power_section(comparison: ArmComparison, powers: Sequence[PowerAt], unit: str) -> Section:
    """Return the section on other numbers of animals.

    Parameters
    ----------
    comparison : ArmComparison
        The comparison.
    powers : sequence of PowerAt
        Its powers.
    unit : str
        Unit of differences.

    Returns
    -------
    Section
        A figure of curves, a table of what was asked, and one of the curves.
    """
    of = counted(comparison, powers)
    one_sided = f"animals of {comparison.arms[0]}" if powers[0].share != 1 else of
    table = power_table(powers)
    waits, put_in = "test" in table, str(table.columns[0])
    tests = ["test"] if waits else []
    # of two tests a table is wide: what is asked about all of them stands above it
    shown = table[[put_in, *(["test"] if waits else ["which", "animals"])]].assign(
        power=_shares(table), for_80=table["for_80"], for_95=table["for_95"]
    )
    shown[put_in] = [
        typeset(number(effect)) + (f", {which}" if waits else "")
        for effect, which in zip(table[put_in], table["which"], strict=True)
    ]
    asked = f" with {powers[0].animals} {of}" if waits else ""
    named = [
        f"{put_in} {number(one.effect)}" if waits else f"{typeset(number(one.effect))} {unit}"
        for one in powers
    ]
    curves = [
        one.table.assign(
            **{put_in: one.effect}, curve=f"{name}, {which}{f': {one.test}' if waits else ''}"
        )
        for one, name, which in zip(powers, named, table["which"], strict=True)
    ]
    curve = pd.concat(curves, ignore_index=True)
    needs = [
        f"{name}{f', {one.test}' if waits else ''}: {one.needed(_AIM)} for 80%."
        for one, name in zip(powers, named, strict=True)
    ]
    return Section(
        "Other numbers of animals",
        (_drawn(comparison, powers, of),),
        (
            Figure(
                "power",
                "Power: how many simulated experiments of each size show the difference. Shaded: "
                "95% Monte Carlo intervals; lines at 80 and 95%.",
                figures.power_curves(curve, one_sided[:1].upper() + one_sided[1:]),
                f"Power by number of {one_sided}. {' '.join(needs)}",
            ),
        ),
        (
            Table(
                "power",
                f"Power of {'hazard ratios' if waits else f'differences in {unit}'}{asked}, with "
                f"its 95% Monte Carlo interval, and the smallest number of {of} for a power of 80 "
                "and 95%.",
                table,
                on_page=shown,
                labels={"for_80": "for 80%", "for_95": "for 95%"},
            ),
            Table(
                "power-curve",
                f"Power by number of {one_sided} (n), as in the figure.",
                curve[[put_in, *tests, "n", "power", "low", "high", "simulations", "failed"]],
                on_page=curve[[put_in, *tests, "n"]].assign(
                    **{put_in: [typeset(number(effect)) for effect in curve[put_in]]},
                    power=_shares(curve),
                    simulations=curve["simulations"],
                    failed=curve["failed"],
                ),
                max_rows=4,
            ),
        ),
        caveats=power_cautions(comparison, powers),
    )


def _shares(table: pd.DataFrame) -> list[str]:
    """Return powers with their intervals as text."""
    rows = table[["power", "low", "high"]].to_numpy(float)
    return [f"{100 * p:.0f}% [{100 * low:.0f}, {100 * high:.0f}]" for p, low, high in rows]


def _drawn(comparison: ArmComparison, powers: Sequence[PowerAt], of: str) -> str:
    """Return how other experiments were simulated, in words."""
    if not powers[0].test:
        return (
            "Experiments were simulated by drawing animals of this table, with all of their rows, "
            f"and moving arms apart by the difference; each was tested in the same way. Numbers "
            f"are of {of}."
        )
    reference = comparison.arms[0]
    return (
        "Experiments were simulated by drawing animals of this table: who was last seen before the "
        "criterion stays so. As seen, each arm is drawn from its own animals. With a stated hazard "
        f"ratio both are drawn from the curve of {reference}, the hazard of "
        f"{comparison.arms[1]} so many times as high and training as long. The log-rank test and "
        f"that of restricted means were made of each. Numbers are of {of}."
    )


def plan_steps(comparison: ArmComparison, powers: Sequence[PowerAt], unit: str) -> tuple[str, ...]:
    """Return how many animals the next experiment takes, or how to ask for it.

    Parameters
    ----------
    comparison : ArmComparison
        The comparison.
    powers : sequence of PowerAt
        Its powers.
    unit : str
        Unit of differences.

    Returns
    -------
    tuple of str
        Sentences.
    """
    of = counted(comparison, powers)
    waits = comparison.question.test == "survival"
    stated: dict[float, list[PowerAt]] = {}
    for one in powers:
        if not one.seen:
            stated.setdefault(one.effect, []).append(one)
    steps = []
    for effect, tests in stated.items():
        sizes = [one.needed(_AIM).replace("> ", "more than ") for one in tests]
        if waits:
            rank, mean = sizes
            steps.append(
                f"Plan the next experiment: the number of {of} that show a hazard ratio of "
                f"{number(effect)} with 80% power is {rank} by the log-rank test, {mean} by that "
                "of the restricted mean."
            )
        else:
            steps.append(
                f"Plan the next experiment: {sizes[0]} {of} show a difference of "
                f"{typeset(number(effect))} {unit} with 80% power."
            )
    two = "" if comparison.animals["arm"].nunique() == 2 else " --arms FIRST SECOND"
    if not stated and waits:
        faster = "" if two else (
            f": 2 where {comparison.arms[1]} reaches the criterion at twice the rate of "
            f"{comparison.arms[0]}"
        )  # fmt: skip
        steps.append(
            f"Plan the next experiment: `--animals N --effect H{two}` adds the number of {of} that "
            f"show a hazard ratio of H, the smallest that would matter{faster}."
        )
    elif not stated:
        steps.append(
            f"Plan the next experiment: `--animals N --effect D{two}` adds the number of {of} that "
            f"show a difference of D, the smallest that would matter, in {unit}."
        )
    if waits:
        steps.append(
            "How long another criterion takes has to be simulated: in Python, with "
            "`power_by_simulation` and `compare_survival` of `predictlearn.statistics`."
        )
    return tuple(steps)
