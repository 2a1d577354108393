"""Protocols of published results: shortened if asked, run with what is finished kept, and read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from predictlearn.errors import InputError
from predictlearn.protocol import Protocol, ProtocolResult
from predictlearn.protocol.engine import LOADINGS, stream
from predictlearn.theory.loadings import Loadings
from predictlearn.theory.overlaps import Overlaps

__all__ = [
    "along",
    "announce",
    "load",
    "phase_ends",
    "run",
    "spread",
    "stacked",
    "start_loadings",
    "task_of",
]

T = TypeVar("T")


def announce(progress: Callable[[str], None] | None, stage: str) -> None:
    """Tell whoever asked that a stage begins."""
    if progress is not None:
        progress(stage)


def load(name: str, scale: float = 1.0, arms: Sequence[str] | None = None, **new: Any) -> Protocol:
    """Return a shipped protocol with the epochs of every phase multiplied.

    Parameters
    ----------
    name : str
        Name of the protocol.
    scale : float, default 1.0
        Factor; every phase keeps at least one epoch.
    arms : sequence of str, optional
        Keep these arms only.
    **new
        Other top-level keys to replace.

    Returns
    -------
    Protocol
        The protocol.

    Examples
    --------
    >>> load("aba", 0.01).spec.arms["aba"].phases[0].epochs
    30
    """
    protocol = Protocol.load(name).with_epochs(scale)
    kept = protocol.to_dict()["arms"]
    if arms is not None:
        kept = {arm: kept[arm] for arm in arms}
    return protocol.replace(**{"arms": kept, **new})


def task_of(protocol: Protocol, name: str, kind: type[T]) -> T:
    """Return a task of a protocol, which is to be of some kind.

    Parameters
    ----------
    protocol : Protocol
        The protocol.
    name : str
        The task's name there.
    kind : type
        Its class.

    Returns
    -------
    Task
        The task.

    Raises
    ------
    InputError
        If it is of another kind.

    Examples
    --------
    >>> from predictlearn.tasks import Filter
    >>> task_of(load("published-aba"), "B", Filter).decay
    0.4
    """
    task = protocol.tasks[name]
    if not isinstance(task, kind):
        raise InputError(
            f"task {name!r} of protocol {protocol.name!r} must be a {kind.__name__}; got {task!r}."
        )
    return task


def run(
    protocol: Protocol, *, seed: int = 0, n_jobs: int = 1, folder: Path | None = None
) -> ProtocolResult:
    """Run a protocol; finished networks are kept in a folder of its own within `folder`.

    Parameters
    ----------
    protocol : Protocol
        What to run.
    seed : int, default 0
        Seed.
    n_jobs : int, default 1
        Processes.
    folder : pathlib.Path, optional
        Where to keep finished networks.

    Returns
    -------
    ProtocolResult
        The tables.
    """
    place = None if folder is None else folder / protocol.name
    return protocol.run(seed=seed, n_jobs=n_jobs, output=place)


def along(result: ProtocolResult, arm: str, network: int = 0) -> pd.DataFrame:
    """Return one network along an arm.

    Parameters
    ----------
    result : ProtocolResult
        A run.
    arm : str
        Name of the arm.
    network : int, default 0
        Number of the network.

    Returns
    -------
    pandas.DataFrame
        A row per recorded epoch, in order: ``phase``, ``epoch`` since the start of the arm,
        ``loss`` and the overlaps. Where two phases meet, the same network stands twice, with its
        loss on either task.
    """
    table = result.table
    rows = table[(table["arm"] == arm) & (table["network"] == network)]
    parts = []
    for phase, part in rows.groupby("phase", sort=False):
        wide = part.pivot(index="epoch", columns="quantity", values="value").reset_index()
        parts.append(wide.assign(phase=phase))
    return pd.concat(parts, ignore_index=True)[["phase", "epoch", "loss", *result.overlap_names]]


def stacked(result: ProtocolResult, arm: str) -> np.ndarray:
    """Return loss and overlaps of all networks along an arm: (networks, rows, 1 + overlaps)."""
    names = ["loss", *result.overlap_names]
    return np.stack(
        [along(result, arm, network)[names].to_numpy() for network in range(result.n_networks)]
    )


def phase_ends(result: ProtocolResult, arm: str) -> pd.DataFrame:
    """Return loss and overlaps of every network at the end of every phase of an arm.

    Parameters
    ----------
    result : ProtocolResult
        A run.
    arm : str
        Name of the arm.

    Returns
    -------
    pandas.DataFrame
        Rows by (network, phase), phases in order; columns ``epoch``, ``loss`` and the overlaps.
    """
    ends = [
        along(result, arm, network)
        .groupby("phase", sort=False)
        .last()
        .assign(network=network)
        .set_index("network", append=True)
        for network in range(result.n_networks)
    ]
    return pd.concat(ends).swaplevel()


def start_loadings(
    protocol: Protocol, result: ProtocolResult, arm: str, network: int = 0
) -> Loadings:
    """Return the neurons that an arm of engine network starts from.

    Parameters
    ----------
    protocol : Protocol
        What was run.
    result : ProtocolResult
        Its run.
    arm : str
        Name of the arm.
    network : int, default 0
        Number of the network.

    Returns
    -------
    Loadings
        The loadings before the first phase.

    Raises
    ------
    InputError
        If the arm has no neurons.
    """
    n_neurons = protocol.spec.neurons_of(arm)
    if n_neurons is None:
        raise InputError(f"arm must have engine network; {arm!r} has engine theory.")
    row = result.start_table(arm).loc[network]
    start = Overlaps.from_series(row.to_dict(), *result.starts[0].sizes)
    seed = stream(result.seed, network, LOADINGS).generate_state(1, np.uint64)[0]
    return start.loadings(n_neurons, int(seed))


def spread(values: ArrayLike, digits: int = 3) -> str:
    """Return the median and the range of some values over networks, as text.

    Parameters
    ----------
    values : array_like
        One value a network; NaN for a network that has none.
    digits : int, default 3
        Significant digits.

    Returns
    -------
    str
        Such as ``"0.8 (0.79 to 0.81)"``; if some have none, also in how many there is one.

    Examples
    --------
    >>> spread([1.0, 2.0, 4.0])
    '2 (1 to 4)'
    >>> spread([1.0, float("nan")])
    '1, in 1 of 2'
    """
    array = np.asarray(values, dtype=float)
    known = array[np.isfinite(array)]
    if known.size < array.size:
        where = f"{known.size} of {array.size}"
        return f"{spread(known, digits)}, in {where}" if known.size else f"in {where}"

    def text(value: float) -> str:
        # whole numbers, such as epochs, are not written with an exponent
        return f"{value:.0f}" if 10**digits <= abs(value) < 1e6 else f"{value:.{digits}g}"

    middle, low, high = (text(float(f(array))) for f in (np.median, np.min, np.max))
    return middle if low == high else f"{middle} ({low} to {high})"
