"""The fit to counts with the loadings integrated out: dynamics and population in turn."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from predictlearn.fitting.arrow import Blocks
from predictlearn.fitting.inner import blocks
from predictlearn.fitting.loading_prior import (
    Evidence,
    LoadingPrior,
    evidence,
    log_marginal,
    second_moment,
)
from predictlearn.fitting.solver import (
    Problem,
    Solution,
    free_directions,
    reduced_system,
    solve,
    solve_inner,
    whiten,
)

__all__ = ["determinant_slopes", "settle_prior", "with_prior"]

Array = npt.NDArray[np.float64]

# Rounds of population and dynamics in turn, and the step of a derivative.
_ROUNDS, _STEP = 12, 1e-5
# Regressions of single neurons, and populations from them, before the dynamics are searched.
_INNER, _BEFORE = 4, 3


def with_prior(problem: Problem, prior: LoadingPrior | None) -> Problem:
    """Return the same fit with another population."""
    return replace(problem, data=replace(problem.data, prior=prior))


@np.errstate(over="ignore", invalid="ignore", divide="ignore")
def settle_prior(
    problem: Problem, theta: Array, phi: Array, max_iter: int, tol: float
) -> Solution | None:
    """Fit dynamics to counts by the likelihood with the loadings integrated out.

    Parameters
    ----------
    problem : Problem
        The fit; counts. Where it has a ridge, that holds the loadings, and nothing is integrated.
    theta : ndarray, shape (q,)
        Start.
    phi : ndarray, shape (neurons, p)
        Start of the coefficients.
    max_iter : int
        Levenberg-Marquardt steps in all.
    tol : float
        Stop when the log likelihood would rise by less than this.

    Returns
    -------
    Solution or None
        With the population; its objective is minus the log likelihood with the loadings integrated
        out. None where the start runs away.
    """
    if problem.data.ridge is not None:
        return solve(problem, theta, phi, max_iter, tol)
    theta, q = whiten(problem, theta)
    layout, lead = problem.layout, problem.data.n_lead
    phi = phi.copy()
    phi[:, lead + layout.n_in :] = phi[:, lead + layout.n_in :] @ q
    k = problem.dynamics.activity(theta)
    if k is None:
        return None
    k = problem.data.flatten(k)
    none = np.zeros((len(k), 0, k.shape[1]))
    prior = None
    for _ in range(_BEFORE):
        at = blocks(problem.data, layout, k, none, phi)
        start = None if prior is None else prior.second
        prior = _population(evidence(problem.data, at), start, np.zeros(layout.size))
        problem = with_prior(problem, prior)
        phi = solve_inner(problem, theta, phi, _INNER)
    if prior is None:
        raise ValueError("a population needs a round")
    before, solution, used = np.inf, None, 0
    for _ in range(_ROUNDS):
        again = solve(problem, theta, phi, max(max_iter - used, 1), tol)
        if again is None:
            return solution
        used += again.iterations
        found = evidence(problem.data, again.at)
        theta, phi = again.theta, again.at.phi
        cost = log_marginal(found, prior.second).sum() - prior.slope @ theta
        lead_info = again.at.inner[:, :lead, :lead]
        objective = again.objective + float(cost + 0.5 * np.linalg.slogdet(lead_info)[1].sum())
        settled = again.converged and abs(before - objective) < 0.3 * tol
        solution = replace(
            again, prior=prior, objective=objective, iterations=used, converged=settled
        )
        if settled or used >= max_iter:
            break
        before = objective
        slope = determinant_slopes(problem, theta, again.at)[0].sum(axis=0)
        prior = _population(found, prior.second, slope)
        problem = with_prior(problem, prior)
    return solution


def _population(found: Evidence, start: Array | None, slope: Array) -> LoadingPrior:
    """Return the population that the neurons tell of."""
    second = second_moment(found, start)
    return LoadingPrior(second, found.posterior(second)[1].mean(axis=0), slope)


def determinant_slopes(problem: Problem, theta: Array, at: Blocks) -> tuple[Array, Array]:
    """Return how Laplace's terms follow theta, coefficients following along.

    Parameters
    ----------
    problem : Problem
        The fit, with its population.
    theta : ndarray, shape (q,)
        Dynamics.
    at : Blocks
        Normal equations there.

    Returns
    -------
    tuple of ndarray
        Derivatives of half the log determinant of every neuron (neurons, q), and of the mean
        posterior covariance of the loadings (n_base, n_base, q).
    """
    layout, lead = problem.layout, problem.data.n_lead
    back = reduced_system(at, np.ones(len(at.phi)), 0.0)[2]
    free = free_directions(layout, theta)
    free = free[:, np.abs(np.where(problem.dynamics.held(theta)[:, None], 0.0, free)).max(0) > 0]

    def measure(theta: Array, phi: Array) -> tuple[Array, Array] | None:
        k = problem.dynamics.activity(theta)
        if k is None:
            return None
        k = problem.data.flatten(k)
        inner = blocks(problem.data, layout, k, np.zeros((len(k), 0, k.shape[1])), phi).inner
        covariance = np.linalg.inv(inner)[:, lead:, lead:].mean(axis=0)
        return 0.5 * np.linalg.slogdet(inner)[1], covariance

    of_each = np.zeros((len(at.phi), layout.size))
    of_spread = np.zeros((layout.n_base, layout.n_base, layout.size))
    here = measure(theta, at.phi)
    for direction in free.T:
        there = measure(theta + _STEP * direction, at.phi - _STEP * back @ direction)
        if here is None or there is None:
            continue
        of_each += ((there[0] - here[0]) / _STEP)[:, None] * direction
        of_spread += ((there[1] - here[1]) / _STEP)[:, :, None] * direction
    return of_each, of_spread
