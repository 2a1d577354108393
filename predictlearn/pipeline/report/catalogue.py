"""The page of one entry of the catalogue: what is predicted, a picture, and how many animals."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

import predictlearn
from predictlearn.predictions.laboratory.entry import Entry
from predictlearn.predictions.laboratory.evaluation import EvaluatedEntry, signed
from predictlearn.predictions.laboratory.pictures import picture_frame
from predictlearn.predictions.laboratory.table import (
    ENTRIES,
    effect_in_words,
    entries_for,
    pictured,
)
from predictlearn.reporting import Figure, Report, Section, Table, figures

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Drawing

__all__ = ["catalogue_sections", "entry_figure", "entry_report", "learners_table"]

_HOLDS = {"learns": "what learns", "holds": "holds"}


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
    xlabel = "Dose: part of the rate of plasticity taken off" if entry.design == "doses" else ""
    return figures.animals_by_arm(frame, "y", y_name, entry.design == "pairs", xlabel)


def _picture(entry: Entry, frame: pd.DataFrame, name: str) -> Figure:
    """Return the picture with its caption."""
    return Figure(
        name,
        "Simulated animals, each with its own hidden overlaps, as they would be measured. "
        + _picture_in_words(entry),
        entry_figure(entry, frame),
        f"Outcomes of simulated animals of {entry.name}.",
    )


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
        each = "in each arm" if entry.design in ("groups", "doses") else "in all"
        rows.append({"prediction": name, "effect [95% interval]": effect, "animals": animals})
        text = [
            entry.statement,
            f"**Effect.** {effect}; {animals} animals {each} for 80% power.",
            f"**What would refute it.** {entry.falsifier}",
        ]
        picture = _picture(entry, pictured(name), f"catalogue-{name}")
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
        "The predictions, most informative first; animals for 80% power.",
        pd.DataFrame(rows),
    )
    return [Section("What a laboratory can test", (about,), tables=(table,)), *parts]


def learners_table(learners: pd.DataFrame, unit: str) -> Table:
    """Return the table of what an entry is for other learners.

    Parameters
    ----------
    learners : pandas.DataFrame
        Of `learners_of`.
    unit : str
        Unit of the effect.

    Returns
    -------
    Table
        A row a learner.
    """
    return Table(
        "learners",
        f"The effect, {unit}, if something else learns, or by another rule; each typical rate set "
        "by the same data.",
        learners,
        decimals=1,
        labels={k: v for k, v in _HOLDS.items() if k in learners},
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
    low, high = (signed(x) for x in found.in_experiments)
    each = "animals in each arm" if entry.design in ("groups", "doses") else "animals"
    row, spread = found.result, entry.spread()
    spread = spread[0].upper() + spread[1:]
    curve = found.power.table[["n", "power", "low", "high", "failed"]]
    if not curve["failed"].any():
        curve = curve.drop(columns="failed")
    what = [f"**What to do.** {entry.intervention}", f"**What to measure.** {entry.measure}"]
    if entry.correlation:
        what.append(f"**Which correlation to look for.** {entry.correlation}")
    if entry.protocol:
        what.append(f"**Protocols that come nearest.** `{entry.protocol}`")
    what.append(f"**The test.** `{entry.test_name}` of `predictlearn.statistics`.")
    effect = (
        f"{found.effect_text} in {found.cohort.n_animals} simulated animals; standardised "
        f"({row['effect_name']}) {signed(row['effect'])} [{signed(row['effect_low'])}, "
        f"{signed(row['effect_high'])}]. The interval is that of the simulation."
    )
    return Report(
        title=f"Prediction: {entry.name}",
        lead=(
            entry.statement,
            f"Predicted effect: {effect}",
            f"Animals: {found.animals_text}.",
        ),
        sections=(
            Section(
                "The experiment",
                tuple(what),
                (_picture(entry, picture_frame(entry, found.table), "animals"),),
                caveats=found.cautions,
            ),
            Section(
                "How many animals",
                (
                    f"Of experiments with {found.n_animals} {each}, 95% find an effect between "
                    f"{low} and {high} {entry.unit_of_effect}.",
                ),
                tables=(
                    Table(
                        "power",
                        f"Power by number of {each}, with its Monte Carlo interval.",
                        curve,
                        decimals=dict.fromkeys(curve, 2),
                        labels={"n": each},
                    ),
                ),
            ),
            Section("What would refute it", (entry.falsifier,)),
            Section("What else could explain it", (entry.alternatives,)),
            Section(
                "For whom it holds",
                (
                    "Whether it holds depends on what learns in the brain, which is not known. "
                    "`docs/what-learns.md` says what the learners are.",
                ),
                tables=(learners_table(learners, entry.unit_of_effect),),
            ),
            Section(
                "Where the spread between animals comes from",
                (f"{spread[0].upper()}{spread[1:]}.",),
            ),
        ),
        reproduce={
            "command": command,
            "version": predictlearn.__version__,
            "seed": found.settings["seed"],
            "settings": {k: v for k, v in found.settings.items() if k not in ("seed", "spread")},
        },
        simulated=True,
    )


def _picture_in_words(entry: Entry) -> str:
    """Return what the picture shows."""
    if entry.design == "columns":
        return f"{entry.name}: both axes show what the other numbers of the test do not explain."
    if entry.features:
        return f"{entry.name}: the two numbers, of six decoded from, in which groups differ most."
    joined = "; lines join conditions of one animal" if entry.design == "pairs" else ""
    return f"{entry.name}: black are means with 95% intervals{joined}."
