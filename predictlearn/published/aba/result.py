"""A-B-A: which overlaps come back, under gradient descent, noise, and Adam."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import pandas as pd

from predictlearn.published.aba.figures import figure_of_overlaps, memory_figure, phase_starts
from predictlearn.published.protocols import (
    along,
    announce,
    load,
    phase_ends,
    run,
    spread,
    stacked,
    start_loadings,
)
from predictlearn.published.result import Published, Reproduced, Row, numbers_table, verdict
from predictlearn.theory.learning.invariants import conserved
from predictlearn.theory.loadings import Loadings
from predictlearn.theory.overlaps import Overlaps

if TYPE_CHECKING:
    from predictlearn.protocol import Protocol, ProtocolResult
    from predictlearn.theory.learning.rules import GradientDescent
    from predictlearn.theory.learning.synaptic_rules import SynapticRule

__all__ = ["RESULT", "invariant_matrix", "returns"]

_POINTS = 4
_NEURONS = ((0, 0), (1, 1), (0, 1), (2, 3))
_UNIT = {"never B": "theory", "adam, never B": "adam"}
SETS = ("visible", "visible, up to gauge", "invisible")


def invariant_matrix(loadings: Loadings) -> np.ndarray:
    """Return K = [Z V][Z V]' - [M U][M U]', (N, N), which gradient flow of a linear network keeps.

    Parameters
    ----------
    loadings : Loadings
        A network.

    Returns
    -------
    numpy.ndarray, (N, N)
        One number for every pair of neurons.

    Examples
    --------
    >>> import numpy as np
    >>> k = invariant_matrix(Overlaps(np.eye(4)).loadings(20))
    >>> k.shape, bool(abs(np.trace(k)) < 1e-9)  # zz + vv - mm - uu
    ((20, 20), True)
    """
    out = np.concatenate([loadings.z, loadings.v], axis=1)
    into = np.concatenate([loadings.m, loadings.u], axis=1)
    return np.asarray(out @ out.T - into @ into.T)


def _coordinates(overlaps: pd.DataFrame, kind: str, names: tuple[str, ...]) -> np.ndarray:
    """Return the coordinates in which a distance is taken: (rows, coordinates)."""
    if kind == "visible, up to gauge":
        product = overlaps["zu"] * overlaps["vm"]
        return np.stack([overlaps["zm"], product, overlaps["vu"]], axis=1)
    seen = Overlaps(np.eye(4)).visible_names("linear")
    chosen = seen if kind == "visible" else [name for name in names if name not in seen]
    return overlaps[list(chosen)].to_numpy()


def returns(result: ProtocolResult, arm: str, moved_in: str | None = None) -> pd.DataFrame:
    """Return how far from the end of the first phase every later phase of an arm ends.

    Parameters
    ----------
    result : ProtocolResult
        A run; the first phase of the arm trains A.
    arm : str
        Name of the arm.
    moved_in : str, optional
        The arm whose second phase, B, gives the unit; the same arm if not given.

    Returns
    -------
    pandas.DataFrame
        One row per network, phase and set of overlaps (``"visible"``: zm, zu, vm, vu;
        ``"visible, up to gauge"``: zm, zu vm, vu; ``"invisible"``: the other six):
        ``distance``, Euclidean, and ``relative``, as a part of what the first B moved.
    """
    ends, unit = phase_ends(result, arm), phase_ends(result, moved_in or arm)
    rows = []
    for network, table in ends.groupby("network"):
        phases = list(table.index.get_level_values("phase"))
        for kind in SETS:
            at = _coordinates(table, kind, result.overlap_names)
            distance = np.linalg.norm(at - at[0], axis=1)
            before, after = _coordinates(unit.loc[network], kind, result.overlap_names)[:2]
            moved = np.linalg.norm(after - before)
            rows += [
                {"arm": arm, "network": network, "phase": phase, "set": kind,
                 "distance": value, "relative": value / moved}
                for phase, value in zip(phases[1:], distance[1:], strict=True)
            ]  # fmt: skip
    return pd.DataFrame(rows)


def apart(result: ProtocolResult, arm: str, other: str, kind: str = "invisible") -> np.ndarray:
    """Return how far apart two arms end, as a part of what the first B moved in the first arm.

    Parameters
    ----------
    result : ProtocolResult
        A run.
    arm, other : str
        Two arms; `arm` trains B in its second phase.
    kind : str, default "invisible"
        Which overlaps, as in `returns`.

    Returns
    -------
    numpy.ndarray, (networks,)
        Distances at the end of the last phases.
    """
    found = []
    one, two = phase_ends(result, arm), phase_ends(result, other)
    for network in range(result.n_networks):
        at = _coordinates(one.loc[network], kind, result.overlap_names)
        end = _coordinates(two.loc[network], kind, result.overlap_names)[-1]
        found.append(np.linalg.norm(at[-1] - end) / np.linalg.norm(at[1] - at[0]))
    return np.array(found)


def _states(
    protocol: Protocol, result: ProtocolResult, arm: str, network: int
) -> dict[str, Loadings]:
    """Return the neurons at the start of an arm and at the end of every phase."""
    content = protocol.spec.arms[arm].phases
    labels = [phase.label(number) for number, phase in enumerate(content)]
    ends = {label: result.loadings(arm, network, label) for label in labels}
    return {"start": start_loadings(protocol, result, arm, network), **ends}


def _drift(protocol: Protocol, result: ProtocolResult, arm: str) -> pd.DataFrame:
    """Return how far K and the eigenvalues of J S are from the start at the end of every phase.

    K relative to its Frobenius norm; the eigenvalues by the largest absolute difference.
    """
    rows = []
    for network in range(result.n_networks):
        states = _states(protocol, result, arm, network)
        k = {phase: invariant_matrix(loadings) for phase, loadings in states.items()}
        spectrum = {
            phase: conserved(Overlaps.from_loadings(loadings)).filter(like="JS")
            for phase, loadings in states.items()
        }
        rows += [
            {
                "arm": arm,
                "network": network,
                "phase": phase,
                "K": np.linalg.norm(k[phase] - k["start"]) / np.linalg.norm(k["start"]),
                "eigenvalues": float((spectrum[phase] - spectrum["start"]).abs().max()),
            }
            for phase in list(states)[1:]
        ]
    return pd.DataFrame(rows)


def _entries(protocol: Protocol, result: ProtocolResult, arm: str, seed: int) -> pd.DataFrame:
    """Return entries of K along an arm of the first network, followed within the phases.

    Every point is a training of its own from the start of its phase, so that a rule with a memory,
    such as Adam, is not interrupted.
    """
    from predictlearn.network.training import train_network

    points: list[tuple[int, Loadings]] = []
    before = 0
    states = list(_states(protocol, result, arm, 0).values())
    for number, phase in enumerate(protocol.spec.arms[arm].phases):
        epochs = phase.epochs or 0
        # an arm of neurons has no other rules
        rule = cast("GradientDescent | SynapticRule", protocol.spec.rule_of(arm, phase).build())
        task = protocol.tasks[phase.trained or ""]
        points.append((before, states[number]))
        for part in sorted({round(epochs * k / _POINTS) for k in range(1, _POINTS)} - {0, epochs}):
            trained = train_network(states[number], task, rule, part, seed=seed, every=part)
            points.append((before + part, trained.loadings))
        before += epochs
    points.append((before, states[-1]))
    table = pd.DataFrame({"epoch": [epoch for epoch, _ in points]})
    matrices = [invariant_matrix(loadings) for _, loadings in points]
    for pair in _NEURONS:
        table[f"K[{pair[0]},{pair[1]}]"] = [matrix[pair] for matrix in matrices]
    return table


def _spectra(result: ProtocolResult, arm: str) -> pd.DataFrame:
    """Return the eigenvalues of J S of the first network along an arm."""
    frame = along(result, arm)
    sizes = result.starts[0].sizes
    table = pd.DataFrame(
        [conserved(Overlaps.from_series(row, *sizes)).filter(like="JS")
         for row in frame[list(result.overlap_names)].to_dict("records")]
    )  # fmt: skip
    table.index = pd.RangeIndex(len(table))
    table.insert(0, "epoch", frame["epoch"])
    return table


# -- numbers ------------------------------------------------------------------------------------


def _relative(table: pd.DataFrame, phase: str, kind: str) -> np.ndarray:
    """Return the relative distances of all networks at the end of a phase."""
    rows = table[(table["phase"] == phase) & (table["set"] == kind)]
    return rows["relative"].to_numpy()


def _return_rows(
    distance: Mapping[str, pd.DataFrame], trace: Mapping[str, np.ndarray], scale: float
) -> list[Row]:
    """Return the rows on what comes back."""
    theory, adam = distance["theory"], distance["adam"]
    part = "distance from the first A, part of what B moved"
    rows: list[Row] = []

    def add(arm: str, table: pd.DataFrame, phase: str, kind: str, claim: str) -> None:
        values = _relative(table, phase, kind)
        middle = float(np.median(values))
        holds = {"returns": middle < 0.05, "does not return": middle > 0.1}.get(claim)
        said = "ours only" if holds is None else verdict(holds, scale)
        rows.append((f"{arm}, {phase}, {kind}: {part}", claim, spread(values), said))

    for kind in SETS:
        add("descent", theory, "A again", kind, "returns")
    for phase in ("A noisy", "A quiet"):
        published = phase == "A noisy"
        add("descent", theory, phase, "visible", "returns" if published else "")
        add("descent", theory, phase, "visible, up to gauge", "returns" if published else "")
        add("descent", theory, phase, "invisible", "does not return" if published else "")
    for phase in ("A again", "A third"):
        add("Adam", adam, phase, "visible", "")
        add("Adam", adam, phase, "visible, up to gauge", "returns")
        add("Adam", adam, phase, "invisible", "does not return")
    for arm, values in trace.items():
        quantity = (
            f"{arm}: invisible overlaps at the end, with B from never B, part of what B moved"
        )
        holds = verdict(float(np.median(values)) > 0.1, scale)
        rows.append((quantity, "a trace of B", spread(values), holds))
    for arm in ("small steps", "flow", "flow, to the end", "flow, far"):
        for kind in ("visible", "invisible"):
            add(arm, distance[arm], "A again", kind, "")
    return rows


def _invariant_rows(drift: Mapping[str, pd.DataFrame], scale: float) -> list[Row]:
    """Return the rows on what is conserved."""

    def at(arm: str, phase: str, name: str) -> np.ndarray:
        table = drift[arm]
        return table.loc[table["phase"] == phase, name].to_numpy()

    quiet, noisy, adam = (
        at("network", "B again", "K"), at("network", "A noisy", "K"), at("adam", "A third", "K")
    )  # fmt: skip
    change = "K, relative change (Frobenius norm) since the start"
    return [
        (f"{change}: A, B, A, B", "constant", spread(quiet), verdict(quiet.max() < 0.02)),
        (f"{change}: after A with noise", "moves", spread(noisy),
         verdict(float(np.median(noisy)) > 5 * float(np.median(quiet)), scale)),
        (f"{change}: Adam, after A, B, A, B, A", "moves", spread(adam),
         verdict(float(np.median(adam)) > 5 * float(np.median(quiet)), scale)),
        *((f"eigenvalues of J S, largest change: {what}", "", spread(at(arm, phase, "eigenvalues")),
           "ours only")
          for what, arm, phase in (("A, B, A, B", "network", "B again"),
                                   ("after A with noise", "network", "A noisy"),
                                   ("Adam", "adam", "A third"))),
    ]  # fmt: skip


def _findings(
    distance: Mapping[str, pd.DataFrame],
    trace: Mapping[str, np.ndarray],
    turned: int,
    loss: float,
) -> tuple[str, ...]:
    """Return what differs from the published claim, with numbers."""

    def percent(arm: str, phase: str, kind: str) -> str:
        return spread(100 * _relative(distance[arm], phase, kind), 2) + "%"

    adam, noise = (spread(100 * trace[arm], 2) + "%" for arm in ("Adam", "descent with noise"))
    unlearned = spread(100 * _relative(distance["never B"], "A quiet", "invisible"), 2) + "%"
    learned = percent("theory", "A quiet", "invisible")
    rest = spread(100 * _relative(distance["adam, never B"], "A third", "invisible"), 2) + "%"
    return (
        "With a noisy target the invisible overlaps do not return, but this is no memory of B. "
        "Networks that never learned B and trained on A for as long, with the same noise, end "
        f"{noise} of what B moved away from those that did, where both are far from the first A "
        f"({learned} with B, {unlearned} without). The noise moves them, whatever was learned "
        f"before. Under Adam it is a trace of B: there the two end {adam} apart.",
        "Without noise the return is close but not exact, and small steps do not make it so. The "
        f"invisible overlaps end {percent('theory', 'A again', 'invisible')} of what B moved away "
        "from where they were at the published rate, "
        f"{percent('small steps', 'A again', 'invisible')} at a tenth of it, and under gradient "
        "flow, given long enough on each task, "
        f"{percent('flow, to the end', 'A again', 'invisible')}. Gradient flow conserves five "
        "combinations of the ten overlaps and the task fixes three, so two are free. With a second "
        f"task further away (decay 2 instead of 0.4) the invisible overlaps end "
        f"{percent('flow, far', 'A again', 'invisible')} and the visible ones "
        f"{percent('flow, far', 'A again', 'visible')} away (in {turned} networks zu and vm "
        "come back with the other sign): gradient flow without any noise remembers B; with the "
        "published B it is too little to see.",
        "After a noisy target zu and vm do not return one by one; their product does. Once noise "
        f"is taken away, zm, zu, vm, vu end {percent('theory', 'A quiet', 'visible')} of what B "
        "moved away, and zm, zu vm, vu "
        f"{percent('theory', 'A quiet', 'visible, up to gauge')}. The loss does not see how the "
        "product is split. While noise lasts, even the latter are off by "
        f"{percent('theory', 'A noisy', 'visible, up to gauge')}: the last updates are in them.",
        f"Under Adam the networks come to rest (the median loss on A at the end is {loss:.1g}) and "
        "the visible overlaps return up to gauge, so what is left of B in the invisible ones is "
        f"not drift: without B they end {rest} of what B moved away from the first A.",
    )


def _reproduce(
    *,
    seed: int = 0,
    n_jobs: int = 1,
    scale: float = 1.0,
    folder: Path | None = None,
    progress: Callable[[str], None] | None = None,
) -> Reproduced:
    """Rebuild it; see `predictlearn.published.reproduce`."""
    protocol = load(RESULT.protocols[0], scale)
    announce(progress, f"{protocol.spec.cohort.networks} networks, {len(protocol.arms)} arms")
    result = run(protocol, seed=seed, n_jobs=n_jobs, folder=folder)
    error = float(np.abs(stacked(result, "theory") - stacked(result, "network")).max())
    distance = {arm: returns(result, arm, _UNIT.get(arm)) for arm in result.arms}
    neurons = ("network", "adam")
    announce(progress, "what is conserved")
    drift = {arm: _drift(protocol, result, arm) for arm in neurons}
    entries = {}
    for arm in neurons:
        announce(progress, f"entries of K along the way, {arm}")
        entries[arm] = _entries(protocol, result, arm, seed)
    trace = {
        "descent with noise": apart(result, "theory", "never B"),
        "Adam": apart(result, "adam", "adam, never B"),
    }
    far = phase_ends(result, "flow, far")["zu"].unstack()
    turned = int((far["A"] * far["A again"] < 0).sum())
    loss = float(phase_ends(result, "adam")["loss"].xs("A third", level="phase").median())
    rows = [
        ("theory and network: largest error, ten overlaps and loss, all phases",
         "none to be seen", error, verdict(error < 1e-8)),
        *_return_rows(distance, trace, scale),
        *_invariant_rows(drift, scale),
    ]  # fmt: skip
    found = _findings(distance, trace, turned, loss) if scale >= 1.0 else ()
    announce(progress, "figures")
    figures = {
        "overlaps": figure_of_overlaps(result, ("network", "theory")),
        "adam": figure_of_overlaps(result, ("adam",)),
        "memory": memory_figure(
            distance, entries, {arm: _spectra(result, arm) for arm in neurons},
            {arm: phase_starts(result, arm) for arm in neurons},
        ),
    }  # fmt: skip
    tables = {
        "returns": pd.concat(distance.values(), ignore_index=True).set_index("arm"),
        "invariants": pd.concat(drift.values(), ignore_index=True).set_index("arm"),
        **{f"entries-of-K-{arm}": table.set_index("epoch") for arm, table in entries.items()},
    }
    return Reproduced(figures, numbers_table(rows), found, tables)


RESULT = Published(
    name="aba",
    title="A-B-A: memory in what the loss does not see",
    claim="Without noise, learning A, then B, then A again brings back the loss-visible and the "
    "loss-invisible overlaps, since gradient descent conserves K = [Z V][Z V]' - [M U][M U]'. With "
    "noise on the target of the last A the visible overlaps return and the invisible ones do not: "
    "they remember. Under Adam nothing is conserved, and the invisible overlaps do not return.",
    protocols=("published-aba", "aba"),
    run=_reproduce,
    takes="3 min on one core",
)
