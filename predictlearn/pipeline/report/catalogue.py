"""The page of one entry of the catalogue: what is predicted, a picture, and how many animals."""

from __future__ import annotations

import math
import shlex
from typing import TYPE_CHECKING

import pandas as pd

import predictlearn
from predictlearn.predictions.laboratory.entry import Entry
from predictlearn.predictions.laboratory.evaluation import EvaluatedEntry, one_number, signed
from predictlearn.predictions.laboratory.pictures import picture_frame
from predictlearn.predictions.laboratory.table import (
    ENTRIES,
    effect_in_words,
    entries_for,
    pictured,
)
from predictlearn.reporting import Figure, Report, Section, Table, figures
from predictlearn.reporting.figures.outcomes import MOST_DRAWN

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Drawing

__all__ = ["catalogue_sections", "entry_figure", "entry_report", "learners_table"]

_RULES = {
    "descent": "descent",
    "feedback-alignment": "feedback alignment",
    "rflo": "RFLO",
}
_SIMULATED = "The animals on this page are networks in a computer; no animal was measured."
# Rows of the table of animals that the page shows.
_ROWS = 6


def entry_figure(entry: Entry, frame: pd.DataFrame) -> Drawing:
    """Return the picture of an entry: every simulated animal, by arm or as it goes together.

    Parameters
    ----------
    entry : Entry
        The entry.
    frame : pandas.DataFrame
        Of `picture_frame`.

    Returns
    -------
    matplotlib.figure.Figure
        The figure.
    """
    x_name, y_name = frame["x_name"].iloc[0], frame["y_name"].iloc[0]
    if entry.design == "columns":
        return figures.animals_scattered(frame, "x", "y", x_name, y_name)
    if entry.features:
        return figures.animals_scattered(frame, "x", "y", x_name, y_name, by="arm")
    xlabel = entry.arms
    if entry.design == "doses":
        xlabel = "Dose: plasticity taken off by the drug"
        frame = frame.assign(arm=[f"{100 * float(dose):g}%" for dose in frame["arm"]])
    return figures.animals_by_arm(frame, "y", y_name, entry.design == "pairs", xlabel)


def _picture(entry: Entry, frame: pd.DataFrame, name: str) -> Figure:
    """Return the picture with its caption."""
    caption = _picture_in_words(entry, frame)
    return Figure(name, caption, entry_figure(entry, frame), f"{entry.name}. {caption}")


def catalogue_sections(n_out: int | None) -> list[Section]:
    """Return the predictions of the catalogue that fit a recording's task, most informative first.

    Parameters
    ----------
    n_out : int or None
        Outputs of the recorded task; None where there are none, and then those that measure
        activity fit.

    Returns
    -------
    list of Section
        None if no entry fits; else one with a table, and one an entry: a picture, numbers of
        animals and a falsifier, from the tables of `studies/predictions/catalogue.py`.
    """
    words = {1: "trained on choices", 2: "trained on movements"}.get(n_out or 0, "of any task")
    rows, parts = [], []
    for name in entries_for(n_out):
        entry, (effect, animals) = ENTRIES[name], effect_in_words(name)
        frame = pictured(name)
        contrast = entry.contrast(frame["arm"])
        each = "in each arm" if "arm" in entry.animals_of else "in all"
        rows.append(
            {
                "prediction": name,
                "effect [95% interval]": effect,
                "animals": f"{animals} {each}",
            }
        )
        text = [
            entry.statement,
            f"**What to do.** {entry.intervention}",
            f"**What to measure.** {entry.measure}",
            f"**Effect.** {effect}, {contrast}; {animals} {entry.animals_of} for 80% power.",
            f"**What would refute it.** {entry.falsifier}",
            f"**To plan it.** `predictlearn predictions {name} --output {name}`",
        ]
        picture = _picture(entry, frame, f"catalogue-{name}")
        parts.append(Section(name, tuple(text), (picture,), level=3, anchor=f"catalogue-of-{name}"))
    if not parts:
        return []
    about = (
        f"Predictions that a laboratory can test with animals {words}, in its own units; first the "
        "one whose effect is largest beside its uncertainty. They are of simulated animals, not of "
        "this recording. `predictlearn predictions NAME` simulates them, and says for which "
        "learners each holds."
    )
    table = Table(
        "catalogue",
        "The predictions, most informative first: effect with its 95% interval (90% where it says "
        "so, of tests of equivalence), and animals for 80% power.",
        pd.DataFrame(rows),
    )
    return [Section("What a laboratory can test", (about,), tables=(table,)), *parts]


def learners_table(learners: pd.DataFrame, entry: Entry) -> Table:
    """Return the table of what an entry is for other learners.

    Parameters
    ----------
    learners : pandas.DataFrame
        Of `learners_of`.
    entry : Entry
        The entry.

    Returns
    -------
    Table
        A row a learner.
    """
    level = f"{100 * entry.level:.0f}% interval"
    shown = learners.assign(
        rule=[_RULES.get(rule, rule) for rule in learners["rule"]],
        effect=[_ends(entry, r.estimate, r.low, r.high) for r in learners.itertuples()],
    )
    return Table(
        "learners",
        f"The effect in {entry.unit_of_effect}, with its {level}, for whatever learns and by "
        "whichever rule; how fast is set by the same data for all.",
        learners,
        on_page=shown,
        columns=("learns", "rule", "effect", "holds", "animals"),
        labels={"learns": "what learns", "effect": f"effect [{level}]"},
    )


def entry_report(found: EvaluatedEntry, learners: pd.DataFrame, command: str) -> Report:
    """Return the page of an entry.

    Parameters
    ----------
    found : EvaluatedEntry
        The entry, evaluated.
    learners : pandas.DataFrame
        Of `learners_of`.
    command : str
        The command that makes it.

    Returns
    -------
    Report
        The page.
    """
    entry = found.entry
    low, high = (one_number(entry, x) for x in found.in_experiments)
    row, level = found.result, f"{100 * entry.level:.0f}% interval"
    curve = found.power.table[["n", "power", "low", "high", "failed"]]
    if not curve["failed"].any():
        curve = curve.drop(columns="failed")
    what = [f"**What to do.** {entry.intervention}", f"**What to measure.** {entry.measure}"]
    if entry.correlation:
        what.append(f"**Which correlation to look for.** {entry.correlation}")
    if entry.protocol:
        runs = ", ".join(f"`predictlearn run {name}`" for name in entry.protocol.split(", "))
        what.append(f"**Protocols that come nearest.** {runs}")
    what.append(f"**The test.** `{entry.test_name}` of `predictlearn.statistics`.")
    value, ends = _ends(entry, row["estimate"], row["low"], row["high"]).split(" ", 1)
    # a percent sign stands at its number
    sign, unit = ("%", entry.unit_of_effect[1:].strip()) if entry.features else ("", "")
    unit = unit or entry.unit_of_effect
    value += sign
    standard, *around = (signed(row[k]) for k in ("effect", "effect_low", "effect_high"))
    effect = (
        f"Predicted effect: {value} {unit}, {level} {ends} ({found.contrast}), in "
        f"{found.cohort.n_animals} simulated {entry.animals_of}. In standard units "
        f"({row['effect_name']}): {standard} [{', '.join(around)}]. Intervals are those of the "
        "simulation."
    )
    return Report(
        title=f"Prediction: {entry.name}",
        subtitle=entry.statement,
        next_steps=tuple(_next_steps(found)),
        highlights=((value, f"{unit}, {found.contrast}; {level} {ends}"), *_needed(found)),
        lead=(
            effect,
            f"Animals: {found.animals_text}.",
            f"What would refute it: {entry.falsifier}",
        ),
        sections=(
            Section(
                "The experiment",
                tuple(what),
                (_picture(entry, picture_frame(entry, found.table), "animals"),),
                (
                    Table(
                        "simulated-animals",
                        "The same animals as a table: yours should have these columns.",
                        found.table,
                        decimals={column: 2 if column == "arm" else 1 for column in found.table},
                        labels={column: column for column in found.table},
                        max_rows=_ROWS,
                    ),
                ),
                caveats=found.cautions,
            ),
            Section(
                "How many animals",
                (
                    f"Of experiments with {found.n_animals} {entry.animals_of}, 95% find an effect "
                    f"between {low} and {high}{sign} {unit}.",
                ),
                (
                    Figure(
                        "power",
                        "Power: how many experiments of each size show the effect. Shaded: 95% "
                        "Monte Carlo intervals; lines at 80 and 95%.",
                        figures.power_curves(curve, entry.animals_of.capitalize()),
                        f"Power by number of {entry.animals_of}; {found.animals_text}.",
                    ),
                ),
                (
                    Table(
                        "power",
                        f"Power by number of {entry.animals_of}, as shares of 1, with 95% Monte "
                        "Carlo intervals from low to high.",
                        curve,
                        decimals=dict.fromkeys(curve, 2),
                        labels={"n": entry.animals_of},
                    ),
                ),
            ),
            Section("What would refute it", (entry.falsifier,)),
            Section("What else could explain it", (entry.alternatives,)),
            Section(
                "For whom it holds",
                (
                    "It is not known what learns in a brain, and by which rule. Here all weights "
                    "of the network may change (synapses), or only the few patterns that make up "
                    "its connectivity (factors, as in the published theory). Errors reach them "
                    "exactly (descent), or by fixed random feedback (feedback alignment; and RFLO, "
                    "which also carries no errors back in time).",
                    _holds(entry),
                ),
                tables=(learners_table(learners, entry),),
            ),
            Section(
                "Where the spread between animals comes from",
                tuple(f"{text[0].upper()}{text[1:]}." for text in entry.spreads()),
            ),
        ),
        reproduce={
            "command": command,
            "version": predictlearn.__version__,
            "seed": found.settings["seed"],
            "settings": {k: v for k, v in found.settings.items() if k not in ("seed", "spread")},
        },
        simulated=_SIMULATED,
    )


def _ends(entry: Entry, value: float, low: float, high: float) -> str:
    """Return an effect with its interval, without the unit; nothing where there is none."""
    if not math.isfinite(value):
        return "–"
    return f"{one_number(entry, value)} [{one_number(entry, low)}, {one_number(entry, high)}]"


def _holds(entry: Entry) -> str:
    """Say what the last column of the table of learners means."""
    shown = (
        f"the interval lies within {entry.bound:g} {entry.unit} of no difference"
        if entry.bound
        else "the interval lies on the predicted side"
    )
    reversed_ = "" if entry.bound else "reversed: it lies on the other side; "
    return (
        f"Yes: {shown}; {reversed_}not shown: neither, which few animals alone can make; not "
        "learned: most networks do not learn the task by this rule; diverged: learning ran away, "
        "and the animal is left out."
    )


def _needed(found: EvaluatedEntry) -> list[tuple[str, str]]:
    """Return the numbers of animals, large."""
    most = int(found.power.table["n"].max())
    shown = []
    for target, (n, low, high) in found.animals.items():
        ends = "" if math.isinf(low) else f", interval {low:.0f} to {_most(high, most)}"
        label = f"{found.entry.animals_of} for {100 * target:.0f}% power{ends}"
        shown.append((f"{n:.0f}" if math.isfinite(n) else f"> {most}", label))
    return shown


def _most(n: float, most: int) -> str:
    """Return a number of animals, or that it is beyond what was simulated."""
    return f"{n:.0f}" if math.isfinite(n) else f"more than {most}"


def _next_steps(found: EvaluatedEntry) -> list[str]:
    """Return what the reader can do with the prediction."""
    entry = found.entry
    n = found.animals[0.8][0]
    size = f"{n:.0f}" if math.isfinite(n) else f"more than {found.power.table['n'].max():.0f}"
    steps = [
        f"Do the experiment with {size} {entry.animals_of}: what to do and to measure, and what "
        "would refute it, is below.",
        "See what another number of animals would show: "
        f"`predictlearn predictions {entry.name} --animals {found.n_animals + 4}`.",
    ]
    own = _own_table(entry, list(found.cohort.expected))
    steps.append(f"Test a table of your animals in the same way: {own}.")
    return steps


def _own_table(entry: Entry, arms: list[str]) -> str:
    """Return the command, or the line of Python, that makes the test of a table."""
    told = entry.test.keywords  # type: ignore[attr-defined]
    if entry.features or entry.design not in ("groups", "pairs"):
        line = f'pl.predictions.find_entry("{entry.name}").result(table)'
        return f"`{line}` in Python, with the columns of `tables/simulated-animals.csv`"
    others = [arm for arm in arms if arm != entry.reference]
    words = ["predictlearn", "compare", "TABLE.csv", "--outcome", entry.outcome]
    words += ["--arms", others[0], entry.reference]
    words += ["--paired"] if entry.design == "pairs" else []
    words += ["--margin", f"{entry.bound:g}"] if entry.bound else []
    words += ["--test", told["method"]] if "method" in told else []
    return f"`{shlex.join(words)}`, with the columns of `tables/simulated-animals.csv`"


def _picture_in_words(entry: Entry, frame: pd.DataFrame) -> str:
    """Return what the picture shows."""
    n = frame["subject"].nunique()
    about = f"A mark is one of {n} simulated animals, as it would be measured"
    if entry.design == "columns":
        return f"{about}; both axes show what the other numbers of the test do not explain."
    if entry.features:
        return f"{about}; of the six numbers decoded from, the two in which groups differ most."
    most = int(frame.groupby("arm")["subject"].size().max())
    part = f"; {MOST_DRAWN} of the {most} in each arm are drawn" if most > MOST_DRAWN else ""
    joined = ". Lines join the two values of an animal" if entry.design == "pairs" else ""
    return f"{about}{part}{joined}. Black: means of all with their 95% intervals."
