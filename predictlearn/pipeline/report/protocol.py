"""The parts of the report on a protocol, and on what was left out of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from predictlearn.pipeline.protocol_run import ProtocolPrediction
from predictlearn.reporting import Figure, Section, Table, figures

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["left_out_section", "protocol_section"]


def protocol_section(found: ProtocolPrediction) -> Section:
    """Return the arms of a protocol, from the networks that the recording leaves possible.

    Parameters
    ----------
    found : ProtocolPrediction
        Tables of the run.

    Returns
    -------
    Section
        Curves and comparisons.
    """
    tables = []
    if len(found.tests):
        tables.append(
            Table(
                "protocol-tests",
                "Arms compared, paired within animals and averaged over draws. The verdict and p "
                "are corrected for all comparisons.",
                found.tests,
                columns=("name", "verdict", "estimate", "low", "high", "effect", "p_corrected",
                         "n_left_out", "animals_needed"),
                decimals={"animals_needed": 0, "n_left_out": 0},
                max_rows=14,
            )
        )  # fmt: skip
    return Section(
        f"Your protocol: {found.name}",
        tuple(
            text
            for text in (
                found.description,
                "Every arm starts from the networks that the recording leaves possible, in units "
                "in which every m and the recorded part of every z has length one; the protocol's "
                "rates are rates in these units, and an epoch is one update.",
            )
            if text
        ),
        (
            Figure(
                "protocol-curves",
                "Predicted loss along each arm, median of animals. Filled: spread between "
                "animals; hatched: what the recording could not tell.",
                figures.learning_curves(found.curves, ylabel="Loss (its own units)"),
                "Learning curves by arm with bands.",
            ),
        ),
        tuple(tables),
    )


def left_out_section(lost: pd.DataFrame, n_networks: int, problems: Sequence[str]) -> Section:
    """Return what was left out or could not be made, and why.

    Parameters
    ----------
    lost : pandas.DataFrame
        Networks that were left out, as in `PredictionRun.excluded`.
    n_networks : int
        Networks of an arm.
    problems : sequence of str
        What could not be made, a line each.

    Returns
    -------
    Section
        A line each, and the tables of networks.
    """
    paragraphs = [f"{text[0].upper()}{text[1:]}" for text in problems]
    tables = []
    if len(lost):
        by_arm = (
            lost.groupby("experiment", sort=False)
            .agg(left_out=("reason", "size"), example=("reason", "first"))
            .reset_index()
            .assign(of=n_networks)[["experiment", "left_out", "of", "example"]]
        )
        paragraphs.append(
            "Networks that diverged, or of which no equivalent exists, are in no mean, band or "
            "test. What is left is no random sample of them: where many were left out, the "
            "predictions hold for the more stable networks only."
        )
        tables = [
            Table("left-out-by-arm", "Networks left out, with the first reason.", by_arm),
            Table("left-out", "Every network left out, and why.", lost, max_rows=8),
        ]
    return Section("What was left out", tuple(paragraphs), (), tuple(tables))
