"""The page of two arms of a protocol, compared in losses and overlaps."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

import predictlearn
from predictlearn.comparing.power_page import typeset
from predictlearn.reporting import Figure, Report, Section, Table, figures
from predictlearn.statistics.comparisons import number, span

__all__ = ["arms_report"]

# A name that lines can be broken in.
_WORDS = {"epochs_to_criterion": "epochs to criterion"}


def arms_report(
    tests: pd.DataFrame,
    title: str,
    design: str,
    *,
    seed: int,
    settings: Mapping[str, Any],
    command: str = "",
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
    command : str, default ""
        The command that makes it.
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
            "label": tests["quantity"].replace(_WORDS),
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
        next_steps=_next_steps(tests),
        lead=(
            f"{len(found)} of {len(tests)} outcomes differ{named}.",
            f"Design: {design}; p corrected by {correction} within losses and within overlaps.",
        ),
        sections=(
            Section(
                "What differs",
                (
                    "A loss is the squared error of a task, summed over time. An overlap is the "
                    "inner product of two patterns of connectivity: m of inputs, u and v of "
                    "recurrent connections, z of the readout.",
                    *map(typeset, notes),
                ),
                (
                    Figure(
                        "effects",
                        f"Standardised differences of the arms ({kind}) with their 95% intervals; "
                        "numbers are in the table.",
                        figures.effect_sizes(
                            rows, xlabel=f"{kind} (standard deviations)", printed=False
                        ),
                        f"Standardised differences: {len(found)} of {len(tests)} differ{named}.",
                    ),
                ),
                (
                    Table(
                        "comparison",
                        f"Differences and effects ({kind}), each with its 95% interval, and how "
                        "many animals give a power of 80% if they vary as these networks do: "
                        f"pairs, or as many in each group. {_sizes(tests)}",
                        tests,
                        on_page=_shown(tests),
                        labels={"p_corrected": "p corrected"},
                    ),
                ),
                caveats=(
                    "What is not shown to differ need not be equal.",
                    "Numbers of animals hold if animals vary as these networks do; real ones may "
                    "vary more.",
                ),
            ),
        ),
        reproduce={
            "command": command,
            "version": predictlearn.__version__,
            "seed": seed,
            "settings": settings,
        },
        simulated="The networks of this page are those of a protocol; no animal was measured.",
    )


def _shown(tests: pd.DataFrame) -> pd.DataFrame:
    """Return what the page shows: every number with its interval."""
    return pd.DataFrame(
        {
            "outcome": tests["quantity"].replace(_WORDS),
            "difference": _intervals(tests, "estimate", "low", "high"),
            "effect": _intervals(tests, "effect", "effect_low", "effect_high"),
            "p_corrected": tests["p_corrected"],
            "n": tests["n"],
            "animals": [f"{n:.0f}" if math.isfinite(n) else "–" for n in tests["animals_needed"]],
            "verdict": tests["verdict"],
        }
    ).drop(columns=["n"] if tests["n"].nunique() == 1 else [])


def _sizes(tests: pd.DataFrame) -> str:
    """Return the number of networks where it is the same for all."""
    return f"n = {tests['n'].iloc[0]} networks." if tests["n"].nunique() == 1 else ""


def _intervals(tests: pd.DataFrame, *names: str) -> list[str]:
    """Return numbers with their intervals as text."""
    rows = tests[list(names)].itertuples(index=False)
    return [f"{number(a)} {span(b, c)}".replace("-", "−") for a, b, c in rows]


def _next_steps(tests: pd.DataFrame) -> tuple[str, ...]:
    """Return what the reader can do with the comparison."""
    losses = [name for name in tests["quantity"].astype(str) if name.startswith("loss")]
    outcome = losses[0] if losses else str(tests["quantity"].iloc[0])
    waits = tests["quantity"].isin(_WORDS) & tests["animals_needed"].isna()
    more = [
        f"Ask how many animals show a difference in {_WORDS[name]}: the same command with "
        f"`--outcome {name} --animals N --effect H`, for a hazard ratio of H."
        for name in tests.loc[waits, "quantity"]
    ]
    return (
        "Look at one outcome, network by network: the same command with "
        f"`--outcome {outcome}`; `--animals N --effect D` adds the number of animals.",
        *more,
        "Test a table of your animals in the same way: `predictlearn compare TABLE.csv --outcome "
        "COLUMN`, one row an animal and arm.",
        "Change the experiment: `predictlearn protocols show NAME` prints the protocol, a file to "
        "edit and to compare again.",
    )
