"""What is done to a whole protocol: one network run in a worker, epochs scaled, animals listed."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from predictlearn.errors import InputError
from predictlearn.protocol.engine import NetworkRecord, animal_of, run_arms
from predictlearn.protocol.schema import ProtocolSpec
from predictlearn.protocol.store import Store
from predictlearn.tasks.registry import AnyTask
from predictlearn.theory.overlaps import Overlaps

__all__ = ["TasksOfFile", "animals_table", "run_network", "scale_epochs"]


@dataclass(frozen=True)
class TasksOfFile:
    """Tasks some of whose code stands in a file beside the protocol, for worker processes.

    Parameters
    ----------
    content : bytes
        The tasks, pickled.
    folder : pathlib.Path
        Where the file is: a worker has not imported it, and finds it there.
    """

    content: bytes
    folder: Path

    @classmethod
    def packed(cls, tasks: Mapping[str, Any], folder: Path) -> TasksOfFile:
        """Return tasks, packed; InputError if another process could not read them."""
        try:
            return cls(pickle.dumps(dict(tasks)), folder.resolve())
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            raise InputError(
                f"a task of type python cannot be sent to another process ({error}); run with "
                "n_jobs=1 (--jobs 1), or write its class at the top of its file."
            ) from error

    def unpacked(self) -> dict[str, Any]:
        """Return the tasks."""
        place = str(self.folder)
        sys.path.append(place)
        try:
            found: dict[str, Any] = pickle.loads(self.content)
        finally:
            sys.path.remove(place)
        return found


def scale_epochs(phases: list[dict[str, Any]], scale: float) -> None:
    """Multiply the epochs of phases, repeated ones too, in place."""
    for phase in phases:
        if phase.get("epochs") is not None:
            phase["epochs"] = max(1, round(phase["epochs"] * scale))
        scale_epochs(phase.get("phases") or [], scale)


def run_network(
    spec: ProtocolSpec,
    tasks: Mapping[str, AnyTask] | TasksOfFile,
    start: Overlaps,
    network: int,
    seed: int,
    store: Store | None,
) -> NetworkRecord:
    """Run one network and write it down."""
    if isinstance(tasks, TasksOfFile):
        tasks = tasks.unpacked()
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
