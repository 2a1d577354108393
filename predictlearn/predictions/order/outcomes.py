"""What the two orders of training are compared on, and the sentences about it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from predictlearn.errors import InputError
from predictlearn.predictions.base import Cohort
from predictlearn.predictions.exposure.pairs import mean_loss_over
from predictlearn.predictions.learning_speed import probe_trials
from predictlearn.predictions.runs import Run
from predictlearn.statistics.comparisons import number, p_text, span
from predictlearn.theory.activity import Batch, losses_along
from predictlearn.theory.names import table_pairs
from predictlearn.theory.overlaps import Overlaps
from predictlearn.theory.synapses.gradients import Directions, Steering
from predictlearn.theory.synapses.network import Synapses
from predictlearn.theory.trials import Task, Trials
from predictlearn.workers import Parallel, delayed

ARMS = ("AB", "BA")
Pairs = Sequence[tuple[Run, Run] | None]
Outcomes = dict[str, tuple[np.ndarray, np.ndarray]]

TRACE_A, TRACE_B = "trace of A after B", "trace of B after A"
ORDER = "order AB minus BA"
OVERLAP_FAMILIES = (TRACE_A, TRACE_B, ORDER)
# Where each task stands in each arm.
_PHASE = {("AB", "A"): 0, ("AB", "B"): 1, ("BA", "B"): 0, ("BA", "A"): 1}


def described(network: Overlaps | Synapses) -> pd.Series:
    """Return what a network is by name: its overlaps, or what is meant of synapses."""
    return network.to_series() if isinstance(network, Overlaps) else network.quantities()


def visibilities(network: Overlaps | Synapses, nonlinearity: str) -> dict[str, str]:
    """Return by name whether the loss sees it; of synapses it sees Z' W^k M."""
    if isinstance(network, Overlaps):
        seen = set(network.visible_names(nonlinearity))
        names = list(network.names)
    else:
        names = [str(name) for name in network.quantities().index]
        seen = {name for name in names if name.startswith("z") and "m" in name}
    return {name: "loss-visible" if name in seen else "loss-invisible" for name in names}


def _rows_of(kept: np.ndarray, n_in: int) -> list[Synapses]:
    """Return the networks that rows of [m w z] hold."""
    dim = kept.shape[1]
    return [Synapses(*np.split(row, [n_in, n_in + dim], axis=1)) for row in kept]


def _path_of(
    run: Run, sizes: tuple[int, int, int], probes: Mapping[str, Sequence[Trials]], how: tuple
) -> tuple[dict[str, np.ndarray], pd.DataFrame]:
    """Return the loss on both tasks and what the network is, through both phases."""
    path = np.concatenate([run.kept[0], run.kept[1][1:]])
    of_overlaps = isinstance(run.ends[0], Overlaps)
    rows = None if of_overlaps else _rows_of(path, sizes[0])
    losses = {}
    for task, given in probes.items():
        each = []
        for trials in given:
            if of_overlaps and trials.world is None:
                each.append(losses_along(path, sizes, trials, *how))
                continue
            if rows is None:
                rows = [Synapses.from_overlaps(Overlaps(s, *sizes)) for s in path]
            loss = Directions(Batch(trials, *how), Steering(), len(rows[0].w), False)
            each.append(np.array([loss(row.m, row.w, row.z)[0] for row in rows]))
        losses[task] = np.mean(each, axis=0)
    if of_overlaps:
        named = {name: path[:, i, j] for name, (i, j) in table_pairs(*sizes).items()}
        return losses, pd.DataFrame(named)
    return losses, pd.DataFrame([row.quantities() for row in rows or []])


def order_curves(
    cohort: Cohort,
    pairs: Pairs,
    tasks: tuple[Task, Task],
    seed: int,
    nonlinearity: str,
    tau: float,
    n_jobs: int = 1,
) -> tuple[dict[str, tuple[np.ndarray, dict[str, np.ndarray]]], dict[str, np.ndarray]]:
    """Evaluate both tasks on the same probe trials all through both orders.

    Returns
    -------
    curves : dict
        By quantity: epochs through both phases, and curves (starts, epochs) by arm. Both arms have
        phases of different length in general, so that epochs are those of the union.
    losses : dict
        ``"A"`` and ``"B"``: losses (starts, arm, moment) in shares of the loss before learning,
        with moments start, after the first phase, after the second; and ``"before A"``,
        ``"before B"``: that loss.
    """
    probes = {"A": probe_trials(tasks[0], seed), "B": probe_trials(tasks[1], seed)}
    first = next(pair for pair in pairs if pair is not None)
    times = {}
    for arm, run in zip(ARMS, first, strict=True):
        times[arm] = np.concatenate(
            [run.kept_epochs[0], run.kept_epochs[0][-1] + run.kept_epochs[1][1:]]
        )
    grid = np.union1d(times["AB"], times["BA"])
    sizes = cohort.starts[0].sizes
    names = [str(name) for name in described(first[0].ends[0]).index]
    n = len(pairs)
    curves: dict[str, tuple[np.ndarray, dict[str, np.ndarray]]] = {
        quantity: (grid, {arm: np.full((n, grid.size), np.nan) for arm in ARMS})
        for quantity in ("loss on A", "loss on B", *names)
    }
    losses: dict[str, np.ndarray] = {task: np.full((n, 2, 3), np.nan) for task in "AB"}
    losses.update({f"before {task}": np.full(n, np.nan) for task in "AB"})
    paths = Parallel(n_jobs=n_jobs, prefer="threads", keep=False)(
        delayed(_path_of)(run, sizes, probes, (nonlinearity, tau))
        for pair in pairs
        for run in pair or ()
    )
    found = iter(paths)
    for index, pair in enumerate(pairs):
        if pair is None:
            continue
        for place, (arm, run) in enumerate(zip(ARMS, pair, strict=True)):
            measured, table = next(found)
            middle = len(run.kept[0]) - 1
            for task, values in measured.items():
                if values[0] <= 0:
                    raise InputError(
                        f"starts must not solve task {task} already: its loss before learning is 0."
                    )
                losses[f"before {task}"][index] = values[0]
                values = values / values[0]
                losses[task][index, place] = values[[0, middle, -1]]
                curves[f"loss on {task}"][1][arm][index] = np.interp(grid, times[arm], values)
            for name in names:
                curves[name][1][arm][index] = np.interp(grid, times[arm], table[name])
    return curves, losses


def behaviour_outcomes(pairs: Pairs, losses: Mapping[str, np.ndarray]) -> Outcomes:
    """Return final loss, transfer and forgetting, as pairs (first, second) whose difference counts.

    Parameters
    ----------
    pairs : sequence of (Run, Run) or None
        Runs of both orders.
    losses : mapping
        As `order_curves` returns it.

    Returns
    -------
    dict
        Arrays (starts,) by outcome, NaN for networks left out.
    """
    outcomes: Outcomes = {}
    for task in "AB":
        values = losses[task]
        outcomes[f"final loss on {task}, AB minus BA"] = (values[:, 0, 2], values[:, 1, 2])
    for task in "AB":
        means = {}
        for place, arm in enumerate(ARMS):
            phase = _PHASE[arm, task]
            column = np.full(len(pairs), np.nan)
            for index, pair in enumerate(pairs):
                if pair is not None:
                    run = pair[place]
                    mean = mean_loss_over(run.epochs[phase], run.losses[phase])
                    column[index] = float(mean) / losses[f"before {task}"][index]
            means[phase] = column
        outcomes[f"transfer to {task}, mean loss learned second minus first"] = (
            means[1],
            means[0],
        )
    for task, place in (("A", 0), ("B", 1)):
        values = losses[task][:, place]
        other = "B" if task == "A" else "A"
        outcomes[f"forgetting of {task}, loss after {other} minus before"] = (
            values[:, 2],
            values[:, 1],
        )
    return outcomes


def _read_pairs(
    pairs: Pairs,
    read: Callable[[Any], pd.Series],
    moments: tuple[tuple[int, int], tuple[int, int]],
) -> Outcomes:
    """Return named numbers of the overlaps at two moments, each an (arm, phase)."""
    first = next(pair for pair in pairs if pair is not None)
    names = [str(name) for name in read(first[0].ends[0]).index]
    table = np.full((2, len(pairs), len(names)), np.nan)
    for index, pair in enumerate(pairs):
        if pair is not None:
            for place, (arm, phase) in enumerate(moments):
                table[place, index] = read(pair[arm].ends[phase]).to_numpy(dtype=float)
    return {name: (table[0, :, k], table[1, :, k]) for k, name in enumerate(names)}


def _size(outcomes: Outcomes, names: Sequence[str]) -> np.ndarray:
    """Return the root mean square over named overlaps of first minus second, (starts,)."""
    gaps = np.array([outcomes[name][0] - outcomes[name][1] for name in names])
    return np.asarray(np.sqrt(np.mean(gaps**2, axis=0)))


def trace_outcomes(pairs: Pairs, nonlinearity: str) -> dict[str, Outcomes]:
    """Return the families of traces that one task leaves behind the other.

    Parameters
    ----------
    pairs : sequence of (Run, Run) or None
        Runs of both orders.
    nonlinearity : {"linear", "erf"}
        Decides which overlaps are loss-visible.

    Returns
    -------
    dict
        By family, outcomes (first, second) of arrays (starts,).
    """
    moments = {
        # after A then B, against B alone: the same task learned last, for as long
        TRACE_A: ((0, 1), (1, 0)),
        TRACE_B: ((1, 1), (0, 0)),
        ORDER: ((0, 1), (1, 1)),
    }
    families = {family: _read_pairs(pairs, described, where) for family, where in moments.items()}
    start = next(pair for pair in pairs if pair is not None)[0].ends[0]
    label = visibilities(start, nonlinearity)
    hidden, seen = (
        [name for name, word in label.items() if word == which]
        for which in ("loss-invisible", "loss-visible")
    )
    sizes = {
        f"{family}, rms of loss-invisible minus loss-visible overlaps": (
            _size(outcomes, hidden),
            _size(outcomes, seen),
        )
        for family, outcomes in families.items()
    }
    if isinstance(start, Overlaps):  # synapses have no gauge
        invariants = _read_pairs(pairs, lambda s: s.gauge_invariants(), moments[ORDER])
        families[f"gauge-invariant combinations, {ORDER.removeprefix('order ')}"] = invariants
    families["trace size"] = sizes
    return families


def order_table(
    cohort: Cohort, pairs: Pairs, losses: Mapping[str, np.ndarray], criterion: float
) -> pd.DataFrame:
    """Return the outcomes of every network and order as a tidy table."""
    rows: list[dict[str, Any]] = []
    for index, pair in enumerate(pairs):
        if pair is None:
            continue
        place = {"draw": int(cohort.draw[index]), "network": int(cohort.network[index])}
        for which, (arm, run) in enumerate(zip(ARMS, pair, strict=True)):
            first = float(run.epochs[0][-1])
            moments = (0.0, first, first + float(run.epochs[1][-1]))
            label = {**place, "arm": arm}
            for task in "AB":
                rows.extend(
                    {**label, "epoch": epoch, "quantity": f"loss on {task}", "value": float(value)}
                    for epoch, value in zip(moments, losses[task][index, which], strict=True)
                )
                phase = _PHASE[arm, task]
                shares = run.losses[phase] / losses[f"before {task}"][index]
                below = np.flatnonzero(shares <= criterion)
                taken = float(run.epochs[phase][below[0]]) if below.size else math.inf
                quantity = f"epochs to criterion on {task}"
                epoch = moments[phase]
                rows.append({**label, "epoch": epoch, "quantity": quantity, "value": taken})
            for moment, end in zip(moments[1:], run.ends, strict=True):
                rows.extend(
                    {**label, "epoch": moment, "quantity": str(name), "value": float(value)}
                    for name, value in described(end).items()
                )
    return pd.DataFrame(rows)


def _phrase(row: Mapping[str, Any], band: pd.DataFrame) -> str:
    """Return one outcome as a phrase with numbers."""
    if row["verdict"] == "not tested":
        spread = band[(band["name"] == row["name"]) & (band["family"] == row["family"])].iloc[0]
        return (
            f"{row['name']}: {number(row['estimate'])}, "
            f"{span(spread['low'], spread['high'])} over draws"
        )
    return (
        f"{row['name']}: {number(row['estimate'])} ({100 * row['level']:.3g}% interval "
        f"{span(row['low'], row['high'])}, {row['effect_name']} {number(row['effect'])}, corrected "
        f"{p_text(float(row['p_corrected']))})"
    )


def _capital(text: str) -> str:
    """Return a phrase as the beginning of a sentence."""
    return text[0].upper() + text[1:]


def _trace_phrase(rows: Sequence[Mapping[str, Any]], family: str) -> str:
    """Say in which overlaps a trace is shown, by visibility."""
    parts = []
    for visibility in ("loss-visible", "loss-invisible"):
        group = [r for r in rows if r["family"] == family and r["visibility"] == visibility]
        shown = [r for r in group if r["significant"]]
        listed = ", ".join(f"{r['name']} {r['estimate']:+.3g}" for r in shown)
        parts.append(
            f"{len(shown)} of {len(group)} {visibility} overlaps{f' ({listed})' if listed else ''}"
        )
    return f"{family[0].upper()}{family[1:]}: shown in {' and '.join(parts)}."


def state_order(
    tests: pd.DataFrame, band: pd.DataFrame, cohort: Cohort, n_excluded: int
) -> tuple[str, ...]:
    """Say what the order is predicted to do, in words and numbers, a thought a paragraph."""
    rows: list[dict[str, Any]] = [
        {str(key): value for key, value in row.items()} for row in tests.to_dict("records")
    ]
    performance = [row for row in rows if row["family"] == "performance"]
    said: list[str] = []
    traces: list[str] = []
    if all(row["verdict"] == "not tested" for row in performance):
        said.append(
            f"Predicted for one network, over {cohort.n_draws} draws of what a recording cannot "
            "see (not tested over networks). Losses are shares of the loss before learning."
        )
        said.extend(f"{_capital(_phrase(row, band))}." for row in performance)
        for family in (TRACE_A, TRACE_B):
            group = [row for row in rows if row["family"] == family]
            largest = max(group, key=lambda row: abs(row["estimate"]))
            traces.append(f"Largest {family}: {_phrase(largest, band)}.")
    else:
        shown = [row for row in performance if row["significant"]]
        said.append(
            f"Paired within {performance[0]['n']} networks, {len(shown)} of {len(performance)} "
            "differences in performance are shown (losses are shares of the loss before learning)."
        )
        said.extend(f"{_capital(_phrase(row, band))}." for row in shown)
        missed = [row["name"] for row in performance if not row["significant"]]
        if missed:
            said.append(f"Not shown: {'; '.join(missed)}.")
        traces.extend(_trace_phrase(rows, family) for family in (TRACE_A, TRACE_B))
        if cohort.n_draws > 1:
            traces.append(
                f"Averaged over {cohort.n_draws} draws of what a recording cannot see; the band "
                "over draws is in the table of bands."
            )
    sizes = (
        f"{_capital(_phrase(row, band))}."
        for row in rows
        if row["family"] == "trace size" and not row["name"].startswith(ORDER)
    )
    paragraphs = [" ".join(said), *traces, " ".join(sizes)]
    if cohort.n_networks > 1:
        paragraphs.append(
            "Simulated networks carry no measurement noise, so that very small differences are "
            "significant: judge them by their size."
        )
    if n_excluded:
        paragraphs.append(
            f"{n_excluded} of {len(cohort.starts)} networks were left out; see the reasons."
        )
    return tuple(text for text in paragraphs if text)
