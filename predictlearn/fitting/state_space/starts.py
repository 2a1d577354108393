"""Where the climb of the network with process noise begins, and which optimum is kept."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from predictlearn.arrays import Array
from predictlearn.errors import ConvergenceWarning
from predictlearn.fitting.state_space.em import start_parameters
from predictlearn.fitting.state_space.inputs import InputDesign, whitened
from predictlearn.fitting.state_space.kalman import Observations, Parameters, Sums
from predictlearn.fitting.state_space.squarem import Point, climb

__all__ = ["Optimum", "Search", "leaks", "search", "tell"]


# Steps after which starts are compared, how many are drawn first, and how near (nats) two searches
# end that have met.
_SHORT = 10
_FIRST = 4
_MET = 1.0


def _condition_means(data: Observations, design: InputDesign) -> tuple[Array, Array]:
    """Return the mean activity of every condition and bin, and what single trials add to it."""
    there = data.bins[:, :, None] if data.seen is None else data.seen
    shape = (len(design.used), *data.y.shape[1:])
    total, counts = np.zeros(shape), np.zeros((*shape[:2], there.shape[2]))
    np.add.at(total, design.condition, data.y)
    np.add.at(counts, design.condition, there)
    means = total / np.maximum(counts, 1.0)
    return means, (data.y - means[design.condition]) * there


def _guessed_inputs(
    data: Observations,
    design: InputDesign,
    n_in: int,
    rank: int,
    a: float,
    rng: np.random.Generator | None,
) -> Array:
    """Guess inputs from condition means.

    Shared fluctuations of single trials that last beyond a bin lie along u; the rest of the
    condition means is that of k_m. With rng, k_m is a random mixture of the condition means.
    """
    means, rest = _condition_means(data, design)
    n = means.shape[2]
    centred = (means - means.mean(axis=(0, 1))).reshape(-1, n)
    if rng is None:
        lagged = rest[:, 1:].reshape(-1, n).T @ rest[:, :-1].reshape(-1, n)
        u = np.linalg.eigh(lagged + lagged.T)[1][:, -rank:]
        centred = centred - (centred @ u) @ u.T
        left, size, _ = np.linalg.svd(centred, full_matrices=False)
        k_m = left[:, :n_in] * size[:n_in]
    else:
        left = np.linalg.svd(centred, full_matrices=False)[0]
        width = min(n_in + rank, left.shape[1])
        k_m = left[:, :width] @ np.linalg.qr(rng.normal(size=(width, n_in)))[0]
    k_m = k_m.reshape(*means.shape[:2], n_in)
    x = k_m / a
    x[:, 1:] -= (1 - a) / a * k_m[:, :-1]
    x *= (np.arange(design.time) < design.used[:, None])[:, :, None]
    return np.asarray(x / max(float(np.sqrt(np.mean(x**2))), 1e-300))


def _start(
    data: Observations,
    design: InputDesign,
    n_in: int,
    rank: int,
    a: float,
    turn: int,
    rng: np.random.Generator,
) -> Parameters:
    """Return one start: from principal components, from slow ones, then random ones."""
    inputs = np.zeros((0, 0, 0))
    if design.inputs is None:
        inputs = _guessed_inputs(data, design, n_in, rank, a, rng if turn else None)
    f = design.regressors(inputs, a)
    sums = Sums.of(data, f, np.ones(len(data.y)))
    way = "variance" if turn == 0 else "slow" if turn == 1 else "random"
    p = start_parameters(data, f, n_in, design.condition, rank, a, sums, way, rng)
    return whitened(replace(p, inputs=inputs), design)


def leaks(tau: float | str, dt: float, time: int) -> list[float]:
    """Return the values of a = dt/tau to start from, for trials of so many bins."""
    if not isinstance(tau, str):
        return [dt / tau]
    return [float(a) for a in np.geomspace(0.7, min(2 / time, 0.5), 4)]


class Optimum(NamedTuple):
    """Where a search ended: its point, the course of it, whether it converged."""

    point: Point
    course: list[float]
    converged: bool


class Search(NamedTuple):
    """What came of all starts.

    Parameters
    ----------
    best : Optimum
        The highest.
    optima : DataFrame
        One row an optimum, the highest first: log_likelihood (penalised), below (nats below the
        best), met (searches that ended there), converged.
    starts : int
        Starts that were drawn.
    """

    best: Optimum
    optima: pd.DataFrame
    starts: int


def search(
    data: Observations,
    design: InputDesign,
    n_in: int,
    rank: int,
    rates: list[float],
    n_starts: int,
    max_iter: int,
    tol: float,
    seed: int,
) -> Search:
    """Search from several starts until the highest optimum has been met again.

    Every start is climbed a few steps; the highest is followed to its end, then the next highest,
    and so on, four at least, until more than one and more than half of the searches have ended in
    the best optimum: within a nat, or a hundred times ``tol``, what an interrupted search may have
    before it. A start is drawn for every further search, up to ``n_starts``.

    Parameters
    ----------
    data : Observations
        Observations.
    design : InputDesign
        Inputs.
    n_in, rank : int
        Sizes.
    rates : list of float
        Values of a = dt/tau to start from, in turn.
    n_starts : int
        Most starts, at least one a value of a. With 1 the only one is followed.
    max_iter : int
        Most steps of a search.
    tol : float
        As in `climb`.
    seed : int
        Of the random starts.

    Returns
    -------
    Search
        The best optimum and all that were met.

    Raises
    ------
    FloatingPointError
        Where no start led to a finite likelihood.
    """
    rng = np.random.default_rng(seed)
    weights = np.ones(len(data.y))
    most = max(n_starts, len(rates))
    waiting: list[Point] = []
    ended: list[Optimum] = []
    drawn = 0

    def draw() -> None:
        nonlocal drawn
        a, turn = rates[drawn % len(rates)], drawn // len(rates)
        drawn += 1
        try:
            p = _start(data, design, n_in, rank, a, turn, rng)
            waiting.append(climb(p, data, design, weights, min(_SHORT, max_iter), tol)[0])
        except (np.linalg.LinAlgError, FloatingPointError):
            return  # one start less: no optimum lies that way

    while drawn < min(max(_FIRST, len(rates)), most):
        draw()
    near = max(_MET, 100 * tol)
    while waiting and len(ended) < most:
        waiting.sort(key=lambda point: point.value)
        try:
            ended.append(Optimum(*climb(waiting.pop().p, data, design, weights, max_iter, tol)))
        except (np.linalg.LinAlgError, FloatingPointError):
            continue
        top = max(each.point.value for each in ended)
        met = sum(each.point.value > top - near for each in ended)
        if met > 1 and 2 * met > len(ended) and len(ended) >= min(_FIRST, most):
            break
        while drawn < most and len(waiting) < _FIRST - 1:
            draw()
    if not ended:
        raise FloatingPointError("no start led to a finite likelihood")
    ended.sort(key=lambda each: -each.point.value)
    return Search(ended[0], _optima(ended, near), drawn)


def _optima(ended: list[Optimum], near: float) -> pd.DataFrame:
    """Put the ends of searches that met together, the highest first."""
    rows: list[dict[str, Any]] = []
    for each in ended:
        if rows and rows[-1]["log_likelihood"] - each.point.value < near:
            rows[-1]["met"] += 1
            continue
        value = each.point.value
        rows.append(
            {
                "log_likelihood": value,
                "below": ended[0].point.value - value,
                "met": 1,
                "converged": each.converged,
            }
        )
    return pd.DataFrame(rows)


def tell(found: Search, max_iter: int, n_starts: int) -> None:
    """Warn of a search that did not converge, or that met its best optimum only once."""
    course = found.best.course
    if not found.best.converged:
        warnings.warn(
            f"EM did not converge in {max_iter} steps (the last raised the log "
            f"likelihood by {course[-1] - course[-2]:.2g}); try a larger max_iter or a lower "
            "rank",
            ConvergenceWarning,
            stacklevel=3,
        )
    met = int(found.optima["met"].iloc[0])
    if n_starts > 1 and met < 2:
        below = found.optima["below"]
        nearest = f"; the next lies {below.iloc[1]:.3g} nats below" if len(below) > 1 else ""
        warnings.warn(
            f"the best optimum was met by one search only, of {found.starts} starts{nearest}. "
            "A better one may exist: raise n_starts, or lower the rank (see optima_ and the "
            "held-out score_)",
            ConvergenceWarning,
            stacklevel=3,
        )
