"""A protocol run from the networks that a recording leaves possible."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from predictlearn.errors import InputError
from predictlearn.pipeline.units import Units
from predictlearn.predictions.arms import compare_arms
from predictlearn.protocol import Protocol
from predictlearn.theory.overlaps import Overlaps

__all__ = ["ProtocolPrediction", "predict_protocol"]


@dataclass(frozen=True)
class ProtocolPrediction:
    """What a protocol does to the networks that a recording leaves possible.

    Parameters
    ----------
    name, description : str
        Of the protocol.
    table : pandas.DataFrame
        As of `ProtocolResult`, with ``draw`` and ``network`` (the animal).
    curves : pandas.DataFrame
        Loss along each arm: arm, quantity, epoch, median, and the middle 95% of animals
        (averaged over draws) and of draws (averaged over animals), as `curve_bands` gives them.
    tests : pandas.DataFrame
        Arms compared pair by pair, by animal; empty where that cannot be.
    excluded : pandas.DataFrame
        Networks that did not get through an arm: experiment (the arm), draw, network, reason.
    problems : tuple of str
        What could not be made, a line each.
    """

    name: str
    description: str
    table: pd.DataFrame
    curves: pd.DataFrame
    tests: pd.DataFrame
    excluded: pd.DataFrame
    problems: tuple[str, ...] = ()


def predict_protocol(
    protocol: Protocol,
    cohort: Sequence[Sequence[Overlaps]],
    units: Units,
    *,
    nonlinearity: str,
    tau: float,
    seed: int = 0,
    n_jobs: int = 1,
) -> ProtocolPrediction:
    """Run a protocol from a cohort in place of its own, and compare its arms.

    Parameters
    ----------
    protocol : Protocol
        The experiment, its tasks in the recording's units.
    cohort : sequence of sequence of Overlaps
        By draw and animal, in the units.
    units : Units
        In which the networks learn; the protocol's rate is one in them.
    nonlinearity : {"linear", "erf"}
        Which phi; in place of the protocol's.
    tau : float
        Time constant in seconds; in place of the protocol's.
    seed : int
        Seed of trials and tests.
    n_jobs : int
        Processes.

    Returns
    -------
    ProtocolPrediction
        Tables.

    Raises
    ------
    InputError
        If an arm cannot start from a network, or none got through any.
    """
    own = protocol.replace(nonlinearity=nonlinearity, tau=tau)
    scaled: Any = {name: units.task(task) for name, task in own.tasks.items()}
    own = replace(own, tasks=scaled)
    starts = [start for row in cohort for start in row]
    draw = np.repeat(np.arange(len(cohort)), [len(row) for row in cohort])
    animal = np.concatenate([np.arange(len(row)) for row in cohort])
    result = own.run(seed=seed, n_jobs=n_jobs, starts=starts)
    lost = result.failed
    if len(lost) >= result.n_courses:
        from predictlearn.predictions.runs import reasons_in_brief

        raise InputError(
            "no network got through any arm; state a smaller rate in the protocol. "
            + reasons_in_brief(lost["reason"].tolist())
        )
    excluded = pd.DataFrame(
        {
            "experiment": [f"arm {arm}, phase {p}" for arm, p in zip(lost["arm"], lost["phase"],
                                                                    strict=True)],
            "draw": draw[lost["network"].to_numpy(int)],
            "network": animal[lost["network"].to_numpy(int)],
            "reason": lost["reason"],
        }
    )  # fmt: skip
    gone = set(zip(lost["arm"], lost["network"], strict=True))
    table = result.table
    through = [pair not in gone for pair in zip(table["arm"], table["network"], strict=True)]
    table = table[through]
    number = table["network"].to_numpy(int)
    table = table.assign(draw=draw[number], network=animal[number])
    problems: list[str] = []
    try:
        # animals are what is compared, averaged over draws
        keys = [c for c in table.columns if c not in ("value", "draw")]
        averaged = table.groupby(keys, sort=False)["value"].mean().reset_index()
        tests = compare_arms(averaged, paired=result.design == "within")
    except InputError as error:
        tests = pd.DataFrame()
        problems.append(f"the arms were not compared: {error}")
    return ProtocolPrediction(
        own.name, own.description, table, _curves(table), tests, excluded, tuple(problems)
    )


def _curves(table: pd.DataFrame) -> pd.DataFrame:
    """Return the loss along each arm, with bands over animals and over draws."""
    losses = table[table["quantity"] == "loss"]
    parts = []
    for kind, unit in (("networks", "network"), ("draws", "draw")):
        means = losses.groupby(["arm", "epoch", unit], sort=False)["value"].mean()
        grouped = means.groupby(level=["arm", "epoch"], sort=False)
        part = pd.DataFrame(
            {"mean": grouped.median(), "low": grouped.quantile(0.025),
             "high": grouped.quantile(0.975)}
        ).reset_index()  # fmt: skip
        if losses[unit].nunique() > 1:
            parts.append(part.assign(quantity="loss", kind=kind))
    if not parts:
        parts = [part.assign(quantity="loss", kind="networks")]
    return pd.concat(parts, ignore_index=True)
