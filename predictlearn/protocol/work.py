"""What is done to a whole protocol: one network run in a worker, epochs scaled, animals listed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import pandas as pd

from predictlearn.protocol.engine import NetworkRecord, animal_of, run_arms
from predictlearn.protocol.schema import ProtocolSpec
from predictlearn.protocol.source import Source
from predictlearn.protocol.store import Store
from predictlearn.protocol.validation import build_tasks
from predictlearn.tasks.registry import AnyTask
from predictlearn.theory.overlaps import Overlaps

__all__ = ["animals_table", "run_network", "scale_epochs"]


def scale_epochs(phases: list[dict[str, Any]], scale: float) -> None:
    """Multiply the epochs of phases, repeated ones too, in place."""
    for phase in phases:
        if phase.get("epochs") is not None:
            phase["epochs"] = max(1, round(phase["epochs"] * scale))
        scale_epochs(phase.get("phases") or [], scale)


def run_network(
    spec: ProtocolSpec,
    tasks: Mapping[str, AnyTask] | Source,
    start: Overlaps,
    network: int,
    seed: int,
    store: Store | None,
) -> NetworkRecord:
    """Run one network and write it down."""
    if isinstance(tasks, Source):
        tasks = build_tasks(spec, tasks)[0]
    record = run_arms(spec, tasks, start, network, seed)
    if store is not None:
        store.write(record)
    return record


def animals_table(spec: ProtocolSpec, networks: int, seed: int) -> pd.DataFrame:
    """Return what is each animal's own, a row a network."""
    rows: list[dict[str, Any]] = []
    for network in range(networks):
        arm = {"arm": spec.arms_of(network)[0]} if spec.cohort.design == "between" else {}
        rows.append({"network": network, **arm, **asdict(animal_of(spec, network, seed))})
    return pd.DataFrame(rows)
