"""Where the fit starts, and the way from there to the best fit.

Linear dynamics are searched first, from several random starts, on a few principal components of
the activity, which is fast. For erf the best of them are turned into starts that allow for
saturation, compared on a part of the data, and the best is followed on all of it.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from predictlearn.fitting.dynamics import Dynamics, Layout
from predictlearn.fitting.inner import Data, blocks
from predictlearn.fitting.moments import positive_part
from predictlearn.fitting.solver import Problem, Solution, solve, solve_inner, whiten

__all__ = ["find_best", "part"]

Array = npt.NDArray[np.float64]

# Enough to tell good starts from bad ones.
_SOME_TRIALS, _SOME_NEURONS, _SOME_STEPS = 30, 60, 25


# What overflows on the way is refused as a step, so there is nothing to warn of.
@np.errstate(over="ignore", invalid="ignore", divide="ignore")
def find_best(
    problem: Problem,
    some: Problem,
    n_starts: int,
    max_iter: int,
    tol: float,
    rng: np.random.Generator,
) -> Solution | None:
    """Fit from several starts.

    Parameters
    ----------
    problem : Problem
        The fit.
    some : Problem
        The same on a part of the data, see `part`; for erf only.
    n_starts : int
        Number of starts.
    max_iter : int
        Steps for each of the best starts.
    tol : float
        Newton decrement at which to stop.
    rng : numpy.random.Generator
        Draws the starts.

    Returns
    -------
    Solution or None
        The best fit; None where every start ran away.
    """
    linear = _search_linear(problem, n_starts, max_iter, tol, rng)
    if not problem.layout.erf:
        ends = [solve(problem, whiten(problem, s.theta)[0], None, max_iter, tol) for s in linear]
        return _best(ends)
    ends = []
    for start in linear[:2]:
        for weaken in (True, False):
            theta, phi = _saturate(some, start.theta, weaken)
            ends.append(solve(some, theta, phi, min(_SOME_STEPS, max_iter), tol))
    best = _best(ends)
    if best is None:
        return None
    theta = whiten(problem, best.theta)[0]
    phi = _coefficients(problem, theta) if problem.data.saturating else None
    return _best([solve(problem, theta, phi, max_iter, tol)])


def part(activity: Array) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Choose trials and neurons, evenly spaced, on which to compare starts.

    Parameters
    ----------
    activity : ndarray, shape (trials, time, neurons)
        Activity.

    Returns
    -------
    tuple of ndarray of int
        Trials and neurons.
    """
    n_trials, _, n_neurons = activity.shape
    trials = np.unique(np.linspace(0, n_trials - 1, min(n_trials, _SOME_TRIALS)).astype(np.intp))
    neurons = np.unique(
        np.linspace(0, n_neurons - 1, min(n_neurons, _SOME_NEURONS)).astype(np.intp)
    )
    return trials, neurons


def _best(ends: list[Solution | None]) -> Solution | None:
    """Return the solution with the lowest objective."""
    found = [s for s in ends if s is not None and np.isfinite(s.objective)]
    return min(found, key=lambda s: s.objective) if found else None


def _random_start(dynamics: Dynamics, rng: np.random.Generator) -> Array:
    """Draw dynamics: time constants between a bin and a trial, some of them turning."""
    layout, dt = dynamics.layout, dynamics.dt
    length = dynamics.inputs.shape[1] * dt
    tau, latency = dynamics.tau, dynamics.latency
    if layout.fit_tau:
        tau = float(np.exp(rng.uniform(np.log(1.2 * dt), np.log(max(length / 3, 2 * dt)))))
    if layout.fit_latency:
        latency = float(rng.uniform(0.0, min(4 * dt, length / 3)))
    slow = np.exp(rng.uniform(np.log(2 * dt), np.log(length), size=layout.rank))
    vu = np.diag(1 - tau / slow)
    for r in range(0, layout.rank - 1, 2):
        turn = tau * np.exp(rng.uniform(np.log(1 / length), np.log(1 / (2 * dt))))
        turn *= rng.uniform() < 0.5
        vu[r, r + 1], vu[r + 1, r] = turn, -turn
    vm = rng.normal(size=(layout.rank, layout.n_in))
    return layout.pack(vm, vu, np.zeros((layout.n_base, layout.n_base)), tau, latency)


def _search_linear(
    problem: Problem, n_starts: int, max_iter: int, tol: float, rng: np.random.Generator
) -> list[Solution]:
    """Fit linear dynamics to the leading components of the activity; best first, at most three."""
    layout = replace(problem.layout, erf=False)
    dynamics = replace(problem.dynamics, layout=layout)
    small = Problem(_components(problem.data, layout), dynamics, problem.sampled)
    found = []
    for _ in range(n_starts):
        theta = whiten(small, dynamics.clip(_random_start(dynamics, rng)))[0]
        found.append(solve(small, theta, None, min(15, max_iter), tol))
    ranked = sorted((s for s in found if s is not None), key=lambda s: s.objective)
    again = [solve(small, whiten(small, s.theta)[0], None, max_iter, tol) for s in ranked[:4]]
    kept: list[Solution] = []
    for solution in sorted((s for s in again if s is not None), key=lambda s: s.objective):
        # Starts that met in one place count once.
        if not any(abs(solution.objective - s.objective) < 1e-3 for s in kept):
            kept.append(solution)
    return kept[:3]


def _components(data: Data, layout: Layout) -> Data:
    """Replace the neurons by their leading principal components, which hold all the signal."""
    keep = layout.n_base + layout.rank + 3
    plain = replace(data, saturating=False, gain=False)
    if data.seen is not None or data.n_neurons <= keep:
        return plain
    scale = np.sqrt(np.maximum(data.total_squares() / data.counts, 1e-300))
    scaled = data.activity / scale[:, None]
    centred = scaled - scaled.mean(axis=1, keepdims=True) if data.offset else scaled
    values, vectors = np.linalg.eigh(centred @ centred.T)
    vectors = vectors[:, -keep:][:, values[-keep:] > 1e-10 * values[-1]]
    return replace(plain, activity=np.ascontiguousarray(vectors.T @ scaled))


def _regressed(problem: Problem, k: Array) -> Array:
    """Return the coefficients of a linear regression of the activity on k."""
    plain = replace(problem.data, saturating=False, gain=False)
    none = np.zeros((len(k), 0, k.shape[1]))
    return blocks(plain, replace(problem.layout, erf=False), k, none, None).phi


def _unsaturated(loadings: Array, k: Array, saturating: bool) -> tuple[Array, float]:
    """Turn loadings regressed on rates into those of the current; return the mean gain too."""
    delta = float(np.mean(np.einsum("ic,cr->ir", loadings, k) ** 2))
    if saturating:
        # For Gaussian currents a regression on rates is g times one on currents.
        current = delta / max(1 - 0.5 * np.pi * delta, 0.15)
        loadings = loadings * np.sqrt(current / max(delta, 1e-300))
        delta = current
    return loadings, float(1 / np.sqrt(1 + 0.5 * np.pi * delta))


def _coefficients(problem: Problem, theta: Array) -> Array:
    """Return starting coefficients of erf rates for given dynamics."""
    data = problem.data
    rolled = problem.dynamics.roll(theta)
    if rolled is None:
        return np.zeros((data.n_neurons, data.n_lead + problem.layout.n_base))
    k = data.flatten(rolled[0])
    regressed = _regressed(problem, k)
    at = int(data.offset)
    loadings, _ = _unsaturated(regressed[:, at:], k, True)
    parts = [regressed[:, :at]]
    if data.gain:
        parts.append(np.ones((data.n_neurons, 1)))
    phi = np.concatenate([*parts, loadings], axis=1)
    return solve_inner(problem, theta, phi, 6)


def _saturate(problem: Problem, linear_theta: Array, weaken: bool) -> tuple[Array, Array | None]:
    """Turn linear dynamics into a start for erf; ``weaken`` allows for the mean gain."""
    layout = problem.layout
    plain = Problem(
        problem.data,
        replace(problem.dynamics, layout=replace(layout, erf=False)),
        problem.sampled,
    )
    theta = whiten(plain, linear_theta)[0]
    vm, vu, _ = plain.layout.unpack(theta)
    tau, latency = plain.dynamics.times(theta)
    rolled = plain.dynamics.roll(theta)
    if rolled is None:
        rolled = (np.zeros((layout.n_base, *problem.dynamics.inputs.shape[:2])), np.zeros(0))
    k = problem.data.flatten(rolled[0])
    regressed = _regressed(problem, k)[:, int(problem.data.offset) :]
    loadings, gain = _unsaturated(regressed, k, problem.data.saturating)
    bb = positive_part(loadings.T @ loadings / len(loadings))
    lift = 1 / gain if weaken else 1.0
    start = layout.pack(vm * lift, vu * lift, bb, tau, latency)
    if not problem.data.saturating:
        return start, None
    phi = _coefficients(problem, start)
    lead = problem.data.n_lead
    bb = positive_part(phi[:, lead:].T @ phi[:, lead:] / len(phi))
    return layout.pack(vm * lift, vu * lift, bb, tau, latency), phi
