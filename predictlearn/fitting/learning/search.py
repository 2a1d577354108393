"""From recordings along learning to the maxima of their likelihood: first looks, starts, search."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from predictlearn.arrays import Array
from predictlearn.checks import positive
from predictlearn.errors import InputError
from predictlearn.fitting.learning.likelihood import (
    Fitted,
    SessionsProblem,
    search,
    size_of,
)
from predictlearn.fitting.learning.model import Model
from predictlearn.fitting.learning.parameters import ParameterLayout
from predictlearn.fitting.learning.posterior.ridge_line import RidgeLine
from predictlearn.fitting.learning.recordings.data import (
    checked_recordings,
    first_look,
    noise_terms,
)
from predictlearn.fitting.learning.recordings.likelihood import RawProblem
from predictlearn.fitting.learning.recordings.marginal import Recorded
from predictlearn.fitting.learning.sessions import Sessions, checked_sessions
from predictlearn.kept import once
from predictlearn.theory.names import pathway_slices, table_pairs
from predictlearn.workers import Parallel, counted, delayed

__all__ = ["RecordedFit", "climb", "fit_recorded", "shortened"]

# Steps from every start on the first sessions (of which at least so many), and ends that go on.
_SCREENING, _FEWEST, _KEPT = 25, 4, 3
# Log likelihood by which Euler steps must be better than means to be taken for what was recorded.
_CLEARLY = 3.0
# How often a maximum is looked for along the ridge line of the last.
_AGAIN = 3
# Steps between two expansions of counts, and the change of log likelihood that needs none.
_STRETCH, _UNMOVED = 8, 0.01
# Evaluations of the search that finds a first start from sessions fitted one by one.
_ROUGH = 30
# Scatter of starts: of hidden overlaps and log rates, and of the log scale of u.
_SCATTER, _GAUGE_SCATTER = 0.4, 0.15
# Parameters, in natural units, that differ by less are the same end of a search.
_SAME = 3e-3


def shortened(problem: RawProblem, n: int) -> RawProblem:
    """Return the likelihood of the first n sessions (their residuals are not laid out)."""
    data = problem.model.data
    first = replace(data, epochs=data.epochs[:n], tasks=data.tasks[: n - 1])
    recorded = replace(problem.recorded, sessions=problem.recorded.sessions[:n])
    model = replace(problem.model, data=first)
    return problem.altered(model=model, recorded=recorded)


def _first(problem: RawProblem) -> int:
    """Return how many sessions starts are compared in: those before a quarter of the learning."""
    epochs = problem.model.data.epochs
    return int(np.clip(np.searchsorted(epochs, 0.25 * epochs[-1]), _FEWEST, len(epochs)))


def _scattered(problem: RawProblem, x: Array, rng: np.random.Generator) -> Array:
    """Return a start near x that shows much the same activity: hidden overlaps and rates differ."""
    layout = problem.model.layout
    where = pathway_slices(*layout.sizes)
    matrix = layout.matrix(x)
    hidden = np.r_[where["v"], where["z"]]
    scale = np.ones(layout.dim)
    # the gauge of u and v is the least certain part of what the first look shows
    factor = np.exp(_GAUGE_SCATTER * rng.standard_normal())
    scale[where["u"]], scale[where["v"]] = factor, 1 / factor
    matrix = matrix * scale * scale[:, None]
    size = np.sqrt(np.diag(matrix)[hidden])
    turn = rng.standard_normal((len(hidden),) * 2)
    matrix[np.ix_(hidden, hidden)] += _SCATTER * np.outer(size, size) * (turn + turn.T) / 2
    values, vectors = np.linalg.eigh(matrix)
    floor = 0.02 * float(np.mean(np.diag(matrix)))
    matrix = (vectors * np.maximum(values, floor)) @ vectors.T
    log_rates = x[layout.n_overlaps :]
    return layout.pack(matrix, log_rates + _SCATTER * rng.standard_normal(len(log_rates)))


def _apart(x: Array, y: Array, layout: ParameterLayout) -> bool:
    """Return whether two parameters differ by more than a search leaves open."""
    far = np.abs(layout.natural(x) - layout.natural(y)) / layout.scales(layout.matrix(y))
    return bool(far.max() > _SAME)


def climb(
    problem: RawProblem, first: Array, n_starts: int, max_iter: int, seed: int, n_jobs: int
) -> tuple[RawProblem, list[Fitted], RidgeLine | None]:
    """Return the problem with its noise settled, its maxima, the highest first, and its ridge line.

    Fast learning between two sessions folds the likelihood, so that several maxima are common. They
    show in the first sessions already, where learning is quick to run: all starts are improved
    there, and the distinct ends go on to all sessions.

    Parameters
    ----------
    problem : RawProblem
        The problem.
    first : numpy.ndarray
        A start.
    n_starts : int
        Starts, the first among them.
    max_iter : int
        Steps from each.
    seed : int
        Seed of the starts.
    n_jobs : int
        Processes.

    Returns
    -------
    problem : RawProblem
        With noise and expansion as they are at the highest maximum.
    maxima : list of Fitted
        Distinct ones.
    ridge_line : RidgeLine or None
        Through the highest, if there is any.
    """
    children = np.random.SeedSequence(seed).spawn(max(n_starts - 1, 1))[: n_starts - 1]
    starts = [first]
    starts += [_scattered(problem, first, np.random.default_rng(child)) for child in children]
    _, early = _maxima(shortened(problem, _first(problem)), starts, _SCREENING, n_jobs)
    problem, maxima = _maxima(problem, [f.x for f in early[:_KEPT]], max_iter, n_jobs)
    if not maxima:
        return problem, [], None
    ridge_line = RidgeLine(problem, maxima[0].x)
    for _ in range(_AGAIN):
        # a fold hides its higher side from a search; the ridge line goes there
        highest = ridge_line.highest()
        higher = once(problem.expanded(highest).improve, highest, np.ones(2), max_iter)
        if higher is None or higher.cost > maxima[0].cost - _UNMOVED:
            break
        problem, maxima = _settled(problem, [higher, *maxima], max_iter)
        ridge_line = RidgeLine(problem, maxima[0].x)
    return problem, maxima, ridge_line


def _maxima(
    problem: RawProblem, starts: Sequence[Array], max_iter: int, n_jobs: int
) -> tuple[RawProblem, list[Fitted]]:
    """Return the problem with its noise settled at the highest maximum, and the distinct maxima."""
    tried = Parallel(n_jobs=n_jobs)(delayed(_ended)(problem, x, max_iter) for x in starts)
    ends = [f for f in tried if f is not None]
    return _settled(problem, ends, max_iter) if ends else (problem, [])


def _settled(
    problem: RawProblem, ends: Sequence[Fitted], max_iter: int
) -> tuple[RawProblem, list[Fitted]]:
    """Return the problem with its noise settled at the highest end, and the maxima from the ends.

    One noise for all, so that likelihoods can be compared; but counts are expanded about each,
    which their likelihood allows for.
    """
    problem = problem.settled(min(ends, key=lambda f: f.cost).x)
    maxima: list[Fitted] = []
    again = [once(problem.expanded(f.x).improve, f.x, np.ones(2), max_iter) for f in counted(ends)]
    for f in sorted((f for f in again if f is not None), key=lambda f: f.cost):
        if all(_apart(f.x, k.x, problem.model.layout) for k in maxima):
            maxima.append(f)
    return problem, maxima


def _ended(problem: RawProblem, x: Array, max_iter: int) -> Fitted | None:
    """Return where a search from x ends, noise found in turn; None if it diverges.

    Counts are expanded anew every few steps, until that moves the end no more: about a poor course
    the expansion has its maximum at a poor place.
    """
    found, left = None, max_iter
    most = 2
    while left > 0:
        if problem.at(x) is None:
            return None
        problem = problem.settled(x)
        before, found = found, problem.improve(x, np.ones(2), most)
        if found is None:
            return None
        x = found.x
        if before is not None:
            left -= most
            if found.converged and abs(found.cost - before.cost) < _UNMOVED:
                break
        most = min(_STRETCH, left) if problem.recorded.expanded else max_iter
    return found


def _unit_input(table: pd.DataFrame, n_in: int) -> tuple[pd.DataFrame, float]:
    """Return a first gain, at which inputs have loadings of unit size, and the overlaps with it.

    In the canonical gauge k_u is in units of the current: with gain c, m and k_u become 1 / c.
    """
    size = [table[name].mean() for name in table if name[0] == "m" and name[1:] in _squares(n_in)]
    gain = float(np.sqrt(np.mean(size)))
    powers = {"mm": -2, "mu": -1, "vm": -1, "zu": 1}
    factors = [gain ** powers.get(re.sub(r"\d", "", name), 0) for name in table]
    return table * factors, gain


def _squares(n_in: int) -> set[str]:
    """Return how the squared loadings of inputs are named, without their first letter."""
    return {"m"} if n_in == 1 else {f"{i}m{i}" for i in range(1, n_in + 1)}


@dataclass(frozen=True, eq=False)
class RecordedFit:
    """A fit to recordings.

    Parameters
    ----------
    problem : RawProblem
        What was fitted.
    maxima : list of Fitted
        Maxima of the likelihood, the highest first.
    ridge_line : RidgeLine
        The posterior through the highest.
    table : pandas.DataFrame
        Overlaps of every session fitted by itself, in its canonical gauge.
    neurons : numpy.ndarray
        Ids of the distinct neurons.
    bin : str
        What a bin was taken for, "mean" or "euler".
    evidence : dict of float
        Log likelihood of the first sessions with each, where both were tried.
    """

    problem: RawProblem
    maxima: list[Fitted]
    ridge_line: RidgeLine
    table: pd.DataFrame
    neurons: npt.NDArray[Any]
    bin: str
    evidence: dict[str, float]


def fit_recorded(
    settings: Any,
    recordings: Any,
    tasks: Any,
    epochs: Any,
    rule: Any,
    neurons: Any,
    network: Any,
    noise: str,
    link: str,
    gain: Any,
    bin: str,
) -> RecordedFit:
    """Fit start and rates to recordings; see `LearningFit.fit_recordings`.

    Parameters
    ----------
    settings : LearningFit
        Its settings.
    recordings, tasks, epochs, rule, neurons, network, noise, link, gain, bin
        As there.

    Returns
    -------
    RecordedFit
        The fit.

    Raises
    ------
    InputError
        Arguments that cannot be used.
    """
    rank = 1 if settings.rank is None else settings.rank
    tau = float(settings.tau)
    bins = ["mean", "euler"] if bin == "auto" else [bin]
    looked = checked_recordings(recordings, neurons, network, rank, tau, noise, link, bins[0])
    if bin == "auto" and any(tau <= r.dt / 2 for r in recordings):
        # Euler steps would not be stable
        bins = ["mean"]
    n_in, n_out = recordings[0].n_in, recordings[0].outputs.shape[2]
    names = {pair: name for name, pair in table_pairs(n_in, rank, n_out).items()}
    base = n_in + rank
    seen = [names[base + r, j] for r in range(rank) for j in range(n_in)]
    seen += [names[base + r, n_in + j] for r in range(rank) for j in range(rank)]
    seen += [names[base + rank + o, j] for o in range(n_out) for j in range(base)]
    # tasks and epochs are looked at before any session is fitted
    data = Sessions.named((n_in, rank, n_out), epochs, tasks, seen, len(recordings))
    task = data.tasks[0]
    if (task.n_in, task.n_out) != (n_in, n_out):
        raise InputError(
            f"tasks must have {n_in} input(s) and {n_out} output(s), as the recordings; got "
            f"{task.n_in} and {task.n_out}."
        )
    known = 1.0 if gain == "fit" else positive("gain", gain)
    ready = {}
    for kind in bins:
        recorded, labels = (
            looked
            if kind == bins[0]
            else checked_recordings(recordings, neurons, network, rank, tau, noise, link, kind)
        )
        table = first_look(recordings, rank, tau, settings.seed, noise, link, known, kind)
        ready[kind] = _begun(settings, data, recorded, table, rule, gain, known), table, labels
    evidence = {}
    if len(bins) > 1:
        evidence = {kind: _evidence(*begun) for kind, (begun, _, _) in ready.items()}
        bins.sort(key=lambda kind: evidence[kind] - _CLEARLY * (kind == "euler"), reverse=True)
    (problem, first), table, labels = ready[bins[0]]
    problem, maxima, ridge_line = climb(
        problem, first, settings.n_starts, settings.max_iter, settings.seed, settings.n_jobs
    )
    if ridge_line is None:
        raise InputError(
            "the sessions together led to learning that diverges; give rule a closer first rate, "
            "or more n_starts."
        )
    return RecordedFit(problem, maxima, ridge_line, table, labels, bins[0], evidence)


def _begun(
    settings: Any,
    data: Sessions,
    recorded: Recorded,
    table: pd.DataFrame,
    rule: Any,
    gain: Any,
    known: float,
) -> tuple[RawProblem, Array]:
    """Return the likelihood of recordings and a start, from sessions fitted one by one."""
    (n_in, rank, _), tau = data.sizes, float(settings.tau)
    if gain == "fit":
        table, known = _unit_input(table, n_in)
    layout = ParameterLayout(data.sizes, rule, settings.rate)
    moved = [name for name in table if np.ptp(table[name].to_numpy()) > 0]
    looked = checked_sessions(table[moved], data.tasks, data.epochs, None, rank)
    canonical = Model(looked, layout, "linear", tau, settings.seed, True)
    rough = SessionsProblem(canonical, True, size_of(looked))
    start = search(rough, settings.n_starts, _ROUGH, settings.seed, settings.n_jobs)
    if start is None:
        raise InputError(
            "no start gave finite learning; check that rule has a rate that the task allows "
            f"(got {rule.rate:g}) and that epochs counts updates."
        )
    first = start.x
    if gain == "fit":
        layout, first = replace(layout, gain=known), np.append(first, 0.0)
    model = Model(data, layout, "linear", tau, settings.seed, False)
    return RawProblem(model, True, rough.scale, recorded=recorded, gain=known), first


def _evidence(problem: RawProblem, first: Array) -> float:
    """Return the highest log likelihood of the first sessions that a search from a start finds."""
    problem, maxima = _maxima(shortened(problem, _first(problem)), [first], _SCREENING, 1)
    if not maxima:
        return -np.inf
    return noise_terms(problem.recorded) - maxima[0].cost
