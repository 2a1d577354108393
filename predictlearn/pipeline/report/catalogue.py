"""The page of one entry of the catalogue: what is predicted, a picture, and how many animals."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

import predictlearn
from predictlearn.predictions.laboratory.evaluation import EvaluatedEntry, signed
from predictlearn.reporting import Figure, Report, Section, Table, figures

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Drawing

__all__ = ["entry_figure", "entry_report", "learners_table"]

_HOLDS = {"learns": "what learns", "holds": "holds"}


def entry_figure(found: EvaluatedEntry) -> Drawing:
    """Return the picture of an entry: every simulated animal, by arm or as it goes together.

    Parameters
    ----------
    found : EvaluatedEntry
        The entry, evaluated.

    Returns
    -------
    matplotlib.figure.Figure
        The figure.
    """
    entry, table = found.entry, found.table
    if entry.design == "columns":
        rest = [k for k in found.cohort.expected if k not in (entry.outcome, entry.reference)]
        x = np.column_stack([np.ones(len(table)), table[rest].to_numpy(float)])
        left = {
            name: table[name] - x @ np.linalg.lstsq(x, table[name].to_numpy(float), rcond=None)[0]
            for name in (entry.reference, entry.outcome)
        }
        words = {name: name.replace("_", " ") for name in left}
        return figures.animals_scattered(
            pd.DataFrame(left),
            entry.reference,
            entry.outcome,
            f"Early in {words[entry.reference]}, given the rest (percentage points)",
            f"Early in {words[entry.outcome]}, given the rest (percentage points)",
        )
    if entry.features:
        groups = [part for _, part in table.groupby("arm", sort=False)]
        apart = {
            name: abs(groups[0][name].mean() - groups[1][name].mean()) / table[name].std()
            for name in entry.features
        }
        first, second = sorted(apart, key=apart.__getitem__, reverse=True)[:2]
        x_label, y_label = (f"{n.replace('_', ' · ')} (inner product)" for n in (first, second))
        return figures.animals_scattered(table, first, second, x_label, y_label, by="arm")
    return figures.animals_by_arm(table, entry.outcome, entry.axis, paired=entry.design == "pairs")


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
        "by the same data. 24 simulated animals each.",
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
    row = found.result
    curve = found.power.table[["n", "power", "low", "high", "failed"]]
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
                (
                    Figure(
                        "animals",
                        "Every simulated animal with its own hidden overlaps, as it would be "
                        "measured. " + _picture_in_words(found),
                        entry_figure(found),
                        f"Outcomes of simulated animals of {entry.name}.",
                    ),
                ),
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
                        decimals={"n": 0, "power": 2, "low": 2, "high": 2, "failed": 0},
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
            Section("Where the spread between animals comes from", (f"{entry.spread()}.",)),
        ),
        reproduce={
            "command": command,
            "version": predictlearn.__version__,
            "seed": found.settings["seed"],
            "settings": {k: v for k, v in found.settings.items() if k not in ("seed", "spread")},
        },
        simulated=True,
    )


def _picture_in_words(found: EvaluatedEntry) -> str:
    """Return what the picture shows."""
    entry = found.entry
    if entry.design == "columns":
        return "Both axes show what the other columns of the test do not explain."
    if entry.features:
        return "The two numbers in which the groups differ most, of six that are decoded from."
    joined = "; lines join conditions of one animal" if entry.design == "pairs" else ""
    return f"Black: means with 95% intervals over all{joined}."
