"""The fit to counts with the loadings integrated out.

The loadings are drawn from a population, N(0, M), and the dynamics theta maximise

    sum_i log of the integral of p(counts of i | theta, loadings) N(loadings; 0, M),

by Laplace's method, M itself by expectation maximisation at every theta. As theta moves, k turns
into (1 + T) k and a rest; loadings and M turn the other way, so that only the rest is news.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from predictlearn.arrays import Array
from predictlearn.fitting.session.dynamics import Layout
from predictlearn.fitting.session.loading_moments import (
    ALL_RECORDED,
    divergence,
    divergence_slope,
    sampling_precision,
)
from predictlearn.fitting.session.search.data import Data
from predictlearn.fitting.session.search.levenberg_marquardt import (
    Problem,
    Solution,
    free_directions,
    reduced_system,
    settle_inner,
    solve,
    whiten,
)
from predictlearn.fitting.session.search.loading_prior import Evidence, evidence, second_moment
from predictlearn.fitting.session.search.normal_equations import Blocks
from predictlearn.fitting.session.search.regression import blocks

__all__ = ["Bend", "bend", "settle_population", "turned_away", "with_population"]


# Rounds of single neurons and population in turn, at the start and after a step; steps of a neuron.
_FIRST, _AGAIN, _INNER = 6, 2, 3
# A relative change of the population that ends the rounds.
_SAME = 1e-4
# Step of a derivative.
_STEP = 1e-5
# A rise of the objective that is rounding, in units of tol.
_SLACK = 0.05


@dataclass(frozen=True, eq=False)
class _State:
    """One point of the search.

    Parameters
    ----------
    theta, phi : ndarray
        Dynamics and coefficients, the latter at the mode of each neuron's posterior.
    population : ndarray, shape (n_base, n_base)
        M.
    at : Blocks
        Normal equations of the neurons, theta left out.
    objective : float
        Minus the log likelihood, loadings integrated out.
    """

    theta: Array
    phi: Array
    population: Array
    at: Blocks
    objective: float


@dataclass(frozen=True, eq=False)
class Bend:
    """How a fit with a population follows theta.

    Parameters
    ----------
    at : Blocks
        Normal equations for what of dk/dtheta is no turn of k.
    turn : ndarray, shape (q, n_base, n_base)
        T.
    k, rest : ndarray, shapes (n_base, rows), (n_base, q, rows)
        Reduced activity, and dk/dtheta - T k.
    of_cost : ndarray, shape (neurons, q)
        Derivative of half the log determinant of each neuron.
    of_spread : ndarray, shape (n_base, n_base, q)
        Derivative of the mean posterior covariance of the loadings.
    """

    at: Blocks
    turn: Array
    k: Array
    rest: Array
    of_cost: Array
    of_spread: Array


def with_population(problem: Problem, population: Array | None) -> Problem:
    """Return the same fit with another population."""
    return replace(problem, data=replace(problem.data, population=population))


def turned_away(matrix: Array, turn: Array, theta: Array) -> Array:
    """Return moments of loadings after k -> (1 + T dtheta) k."""
    inverse = np.linalg.inv(np.eye(len(matrix)) + np.tensordot(theta, turn, axes=1))
    return np.asarray(inverse.T @ matrix @ inverse)


def _still(data: Data, k: Array, layout: Layout, phi: Array) -> Blocks:
    """Return the normal equations of the neurons alone."""
    return blocks(data, layout, k, np.zeros((len(k), 0, k.shape[1])), phi)


def _population(found: Evidence, start: Array | None = None) -> Array | None:
    """Return M; None where a step led so far that information can no longer be inverted."""
    try:
        return second_moment(found, start)
    except np.linalg.LinAlgError:
        return None


def _state(
    problem: Problem, theta: Array, phi: Array, population: Array | None, rounds: int
) -> _State | None:
    """Fit neurons and population in turn at given dynamics; None where these run away."""
    rolled = problem.dynamics.activity(theta)
    if rolled is None or not np.isfinite(phi).all():
        return None
    k = problem.data.flatten(rolled)
    layout = problem.layout
    if population is None:
        free = with_population(problem, None).data
        population = _population(evidence(free, _still(free, k, layout, phi)))
        if population is None:
            return None
    turns = 0
    while True:
        problem = with_population(problem, population)
        at = settle_inner(problem, theta, phi, _INNER)
        if at is None or not np.isfinite(at.inner).all():
            return None
        phi = at.phi
        if turns == rounds:
            break
        turns += 1
        after = _population(evidence(problem.data, at), population)
        if after is None:
            return None
        if np.abs(after - population).max() < _SAME * np.abs(population).max():
            break
        population = after
    # half of log det (information + M^-1) M, and that of offset and gain
    value = 0.5 * float(np.sum(at.squares + at.penalty) + np.linalg.slogdet(at.inner)[1].sum())
    value += 0.5 * len(phi) * float(np.linalg.slogdet(population)[1])
    if layout.erf:
        size = len(phi) * (1.0 if problem.sampled else ALL_RECORDED)
        value += 0.5 * size * divergence(layout.unpack(theta)[2], population)
    return _State(theta, at.phi, population, at, value) if np.isfinite(value) else None


def bend(problem: Problem, theta: Array, phi: Array, costs: bool = True) -> Bend | None:
    """Linearise a fit with a population in theta.

    Parameters
    ----------
    problem : Problem
        The fit, with its population.
    theta, phi : ndarray
        Dynamics and coefficients.
    costs : bool
        Whether slopes of the cost and the spread are wanted, which take most of the time; else 0.

    Returns
    -------
    Bend or None
        None where the dynamics run away.
    """
    data, layout = problem.data, problem.layout
    rolled = problem.dynamics.roll(theta)
    if rolled is None:
        return None
    k, dk = (data.flatten(x) for x in rolled)
    n_base, q, n_rows = dk.shape
    base = np.concatenate([np.ones((1, n_rows)), k])
    cross = np.moveaxis(dk, 1, 0).reshape(q * n_base, n_rows) @ base.T
    slopes = (cross @ np.linalg.pinv(base @ base.T, rcond=1e-12, hermitian=True)).reshape(
        q, n_base, n_base + 1
    )
    turn = slopes[:, :, 1:]
    rest = dk - np.moveaxis(slopes @ base, 0, 1)
    # what the kernel takes to be zero
    rest[: layout.n_in, : layout.at_time] = 0.0
    at = blocks(data, layout, k, rest, phi)
    back = reduced_system(at, np.ones(len(phi)), 0.0)[2]
    lead = data.n_lead

    def measured(at: Blocks) -> tuple[Array, Array]:
        covariance = np.linalg.inv(at.inner)[:, lead:, lead:]
        return 0.5 * np.linalg.slogdet(at.inner)[1], covariance.mean(axis=0)

    of_cost, of_spread = np.zeros((len(phi), q)), np.zeros((n_base, n_base, q))
    if not costs:
        return Bend(at, turn, k, rest, of_cost, of_spread)
    here = measured(at)
    for direction in free_directions(layout, theta).T:
        moved = k + _STEP * np.einsum("cjr,j->cr", rest, direction)
        there = measured(_still(data, moved, layout, phi - _STEP * back @ direction))
        of_cost += ((there[0] - here[0]) / _STEP)[:, None] * direction
        of_spread += ((there[1] - here[1]) / _STEP)[:, :, None] * direction
    return Bend(at, turn, k, rest, of_cost, of_spread)


def _moment_pull(problem: Problem, now: _State, turn: Array) -> tuple[Array, Array]:
    """Return curvature and downhill slope of the term that ties S_bb of the dynamics to M."""
    layout = problem.layout
    rows, columns = layout.triangle
    turned = np.einsum("ab,jbc->acj", now.population, turn)
    of_load = -(turned[rows, columns] + turned[columns, rows])
    of_c = np.zeros_like(of_load)
    of_c[:, layout.n_drive : layout.at_time] = np.eye(layout.n_bb)
    size = len(now.phi) * (1.0 if problem.sampled else ALL_RECORDED)
    root = np.linalg.cholesky(now.population) * np.sqrt(len(now.phi))
    draws = np.concatenate([root.T, np.zeros((len(now.phi) - len(root), len(root)))])
    precision = sampling_precision(layout, draws, problem.sampled)
    bb = layout.unpack(now.theta)[2]
    slope = divergence_slope(layout, bb, now.population, of_c, of_load)
    gap = of_c - of_load
    return gap.T @ precision @ gap, -0.5 * size * slope


@np.errstate(over="ignore", invalid="ignore", divide="ignore")
def settle_population(
    problem: Problem, theta: Array, phi: Array, max_iter: int, tol: float
) -> Solution | None:
    """Fit dynamics to counts, with the loadings integrated out, by Levenberg-Marquardt.

    Parameters
    ----------
    problem : Problem
        The fit; counts. Where it has a ridge, that holds the loadings, and nothing is integrated;
        nor where every neuron has a gain, which could grow as its loadings shrink.
    theta : ndarray, shape (q,)
        Start.
    phi : ndarray, shape (neurons, p)
        Start of the coefficients.
    max_iter : int
        Largest number of steps tried.
    tol : float
        Stop when the log likelihood would rise by less than this.

    Returns
    -------
    Solution or None
        With the population; None where the start runs away.
    """
    if problem.data.ridge is not None or problem.data.gain:
        return solve(problem, theta, phi, max_iter, tol)
    layout, lead = problem.layout, problem.data.n_lead
    theta, q = whiten(problem, problem.dynamics.clip(theta))
    phi = phi.copy()
    phi[:, lead + layout.n_in :] = phi[:, lead + layout.n_in :] @ q
    now = _state(problem, theta, phi, None, _FIRST)
    if now is None:
        return None
    damping, decrement, iteration, converged = 1e-3, np.inf, 0, False
    while iteration < max_iter and not converged:
        held = with_population(problem, now.population)
        bent = bend(held, now.theta, now.phi)
        if bent is None:
            return None
        h, g, back, _ = reduced_system(bent.at, np.ones(len(now.phi)), 0.0)
        g = bent.at.slope_theta.sum(axis=0) - bent.of_cost.sum(axis=0)
        if layout.erf:
            curvature, pull = _moment_pull(problem, now, bent.turn)
            h, g = h + curvature, g + pull
        free = free_directions(layout, now.theta)
        free = np.where(problem.dynamics.held(now.theta, g)[:, None], 0.0, free)
        h_free, g_free = free.T @ h @ free, free.T @ g
        diagonal = np.maximum(np.diag(h_free), 1e-12 * max(np.trace(h_free), 1e-300))
        decrement, accepted = np.nan, False
        while iteration < max_iter and damping < 1e8:
            iteration += 1
            step = np.linalg.lstsq(h_free + np.diag(damping * diagonal), g_free, rcond=1e-13)[0]
            expected = float(g_free @ step)
            decrement = expected if np.isnan(decrement) else decrement
            trial = _moved(problem, now, bent, back, free @ step)
            if trial is not None and trial.objective <= now.objective + _SLACK * tol:
                accepted = True
                now = trial
                break
            damping *= 6
        converged = decrement < (tol if accepted and damping < 0.1 else 10 * tol)
        damping = max(damping / 5, 1e-9)
        if not accepted:
            break
    held = with_population(problem, now.population)
    final = bend(held, now.theta, now.phi, costs=False)
    if final is None:
        return None
    return Solution(
        now.theta, final.at, now.objective, float(decrement), converged, iteration,
        population=now.population,
    )  # fmt: skip


def _moved(problem: Problem, now: _State, bent: Bend, back: Array, move: Array) -> _State | None:
    """Take a step, the loadings and their population turning along."""
    lead = problem.data.n_lead
    there = problem.dynamics.clip(now.theta + move)
    move = there - now.theta
    turn = np.eye(problem.layout.n_base) + np.tensordot(move, bent.turn, axes=1)
    if np.linalg.cond(turn) > 1e6:
        return None
    phi = now.phi - back @ move
    phi[:, lead:] = phi[:, lead:] @ np.linalg.inv(turn)
    return _state(problem, there, phi, turned_away(now.population, bent.turn, move), _AGAIN)
