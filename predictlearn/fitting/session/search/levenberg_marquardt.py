"""The outer least squares: Levenberg-Marquardt over the dynamics, with every neuron solved inside.

The objective is the Gaussian likelihood with one noise variance a neuron, profiled,

    f = 1/2 sum_i n_i log(SSE_i / n_i) + N/2 [tr(C^-1 C_load) - log det(C^-1 C_load) - dim].

Counts have their own negative log likelihood as the first term, the normal equations being Fisher
information and score. The second term is there for erf only. The gain depends on S_bb of the whole
population, of which the recorded neurons are a sample: N Gaussian loadings of covariance
C = S_bb + E, E their mean estimation error, whose second moments are C_load. So the loadings know
S_bb to within sampling, and the dynamics know the rest. The gap C - C_load has sampling precision
Omega in a Newton step.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from predictlearn.arrays import Array
from predictlearn.fitting.session.dynamics import Dynamics, Layout
from predictlearn.fitting.session.loading_moments import (
    ALL_RECORDED,
    divergence,
    divergence_slope,
    invert,
    loading_error,
    moment_slopes,
    positive_part,
    sampling_precision,
)
from predictlearn.fitting.session.search.data import Data
from predictlearn.fitting.session.search.normal_equations import Blocks
from predictlearn.fitting.session.search.regression import blocks

__all__ = [
    "Problem",
    "Solution",
    "evaluate",
    "free_directions",
    "noise_floor",
    "reduced_system",
    "settle_inner",
    "solve",
    "solve_inner",
    "whiten",
]


_FLOOR = 1e-12
# A rise of the log likelihood, relative to the tolerance, that is none whatever the damping.
_NOTHING = 1e-6
# Steps between two returns to a gauge in which theta is well scaled.
_REGAUGE = 8
# Rounds that make S_bb and the loadings of a start agree.
_TIES = 3
# Steps looked back on, and what they must have gained in tolerances: bent valleys lead nowhere.
_LAST, _WORTH = 16, 10.0
# Gain of the log likelihood by single neurons that is not worth a step.
_SETTLED = 1e-5
# Coefficients beyond this have run away: their fourth powers would overflow.
_HUGE = 1e50


@dataclass(frozen=True, eq=False)
class Problem:
    """One fit: the data, the dynamics and what the neurons are a sample of.

    Parameters
    ----------
    data : Data
        Activity.
    dynamics : Dynamics
        Rollout for the inputs of the same trials.
    sampled : bool
        Whether the neurons are a sample of a larger population.
    """

    data: Data
    dynamics: Dynamics
    sampled: bool

    @property
    def layout(self) -> Layout:
        """What theta holds."""
        return self.dynamics.layout


@dataclass(frozen=True, eq=False)
class Solution:
    """Where the search ended.

    Parameters
    ----------
    theta : ndarray, shape (q,)
        Dynamics.
    at : Blocks
        Normal equations there, with the coefficients phi.
    objective : float
        f.
    decrement : float
        Newton decrement: how much f would still fall, to second order.
    converged : bool
        Whether that is negligible.
    iterations : int
        Steps tried.
    dispersion : ndarray, shape (neurons,), or None
        Dispersion of a negative binomial that was fitted along.
    population : ndarray, shape (n_base, n_base), or None
        Second moments of the population of loadings, for counts.
    """

    theta: Array
    at: Blocks
    objective: float
    decrement: float
    converged: bool
    iterations: int
    dispersion: Array | None = None
    population: Array | None = None


def evaluate(
    problem: Problem, theta: Array, phi: Array | None, slopes: bool = True
) -> Blocks | None:
    """Return the normal equations at theta, None where activity or coefficients run away.

    Parameters
    ----------
    problem : Problem
        What to fit.
    theta : ndarray, shape (q,)
        Dynamics.
    phi : ndarray, shape (neurons, p), or None
        Coefficients, for a regression that is not linear.
    slopes : bool
        Whether those in theta are wanted, which take most of the time; else q = 0.

    Returns
    -------
    Blocks or None
        Normal equations.
    """
    if phi is not None and not np.abs(phi).max() < _HUGE:
        return None
    rolled = problem.dynamics.roll(theta, slopes)
    if rolled is None:
        return None
    k = problem.data.flatten(rolled[0])
    dk = problem.data.flatten(rolled[1]) if slopes else np.zeros((len(k), 0, k.shape[1]))
    at = blocks(problem.data, problem.layout, k, dk, phi)
    if not np.abs(at.phi).max() < _HUGE:
        return None
    parts = [at.squares, at.distinct, at.cross, at.slope_phi, at.slope_theta]
    parts += [outer for _, outer in at.outers if not callable(outer)]
    return at if all(np.isfinite(x).all() for x in parts) else None


def _glance(problem: Problem, theta: Array, phi: Array | None) -> Blocks | None:
    """Return what tells how good a point is: without slopes, where these cost more than all else.

    A linear regression finds both from the same sums.
    """
    return evaluate(problem, theta, phi, slopes=not problem.data.iterated)


def _with_slopes(problem: Problem, theta: Array, at: Blocks) -> Blocks | None:
    """Return what `_glance` found, with the slopes in theta; None where these run away."""
    return evaluate(problem, theta, at.phi) if problem.data.iterated else at


def _weights(data: Data, at: Blocks, floor: Array) -> Array:
    """Return the weight of each neuron, the inverse of its noise variance; 1 for counts."""
    if data.count is not None:
        return np.ones(data.n_neurons)
    return np.asarray(data.counts / (at.squares + at.penalty + floor))


def _likelihood(data: Data, at: Blocks, floor: Array) -> float:
    """Return the first term of f."""
    if data.count is not None:
        return float(0.5 * np.sum(at.squares + at.penalty))
    variance = (at.squares + at.penalty + floor) / data.counts
    return float(0.5 * np.sum(data.counts * np.log(variance)))


def noise_floor(data: Data) -> Array:
    """Return what is added to the squared residuals of each neuron, so that none is zero."""
    return np.asarray(_FLOOR * data.total_squares() + 1e-300)


def free_directions(layout: Layout, theta: Array) -> Array:
    """Return an orthonormal basis of what is not gauge, (q, q - rank^2)."""
    tangents = layout.tangents(theta)
    return np.asarray(np.linalg.qr(tangents, mode="complete")[0][:, tangents.shape[1] :])


def reduced_system(at: Blocks, weights: Array, damping: float) -> tuple[Array, Array, Array, Array]:
    """Eliminate the neurons: (H, g) for theta, and what is needed to step them back.

    Parameters
    ----------
    at : Blocks
        Normal equations.
    weights : ndarray, shape (neurons,)
        Weights.
    damping : float
        Levenberg-Marquardt damping of the neurons.

    Returns
    -------
    tuple of ndarray
        H (q, q), g (q,), inner^-1 cross (neurons, p, q), inner^-1 slope_phi (neurons, p).
    """
    inner = at.distinct.copy()
    diagonal = np.einsum("iaa->ia", inner)
    index = np.arange(inner.shape[1])
    inner[:, index, index] += damping * diagonal
    inverse = invert(inner)
    back = inverse @ at.cross
    own = (inverse @ at.slope_phi[:, :, None])[:, :, 0]
    q = at.cross.shape[2]
    weighed = weights[:, None, None] * at.cross
    h = at.outer(weights) - weighed.reshape(-1, q).T @ back.reshape(-1, q)
    g = weights @ at.slope_theta - back.reshape(-1, q).T @ (weights[:, None] * at.slope_phi).ravel()
    return h, g, back, own


def solve(
    problem: Problem, theta: Array, phi: Array | None, max_iter: int, tol: float
) -> Solution | None:
    """Run Levenberg-Marquardt from one start.

    Parameters
    ----------
    problem : Problem
        What to fit.
    theta : ndarray, shape (q,)
        Start.
    phi : ndarray, shape (neurons, p), or None
        Start of the coefficients (erf rates and counts only).
    max_iter : int
        Largest number of steps tried.
    tol : float
        Stop when the Newton decrement is below this, in units of the log likelihood.

    Returns
    -------
    Solution or None
        None where the start itself runs away.
    """
    data, layout = problem.data, problem.layout
    floor = noise_floor(data)
    theta = problem.dynamics.clip(theta)
    at = _glance(problem, theta, phi)
    if at is None:
        return None
    for _ in range(_TIES if layout.erf else 0):
        theta, at = _tie(problem, theta, at)
    at = _with_slopes(problem, theta, at)
    if at is None:
        return None
    damping, decrement, passed, iteration = 1e-3, np.inf, list[float](), 0
    converged, accepted_steps = False, 0
    while iteration < max_iter:
        if accepted_steps % _REGAUGE == _REGAUGE - 1:
            theta, at = _tidy(problem, theta, at)
        objective = _objective(problem, at, floor, theta)
        weights = _weights(data, at, floor)
        free = free_directions(layout, theta)
        accepted, first = False, True
        while iteration < max_iter:
            iteration += 1
            passed.append(objective)
            h, g, back, own = reduced_system(at, weights, damping)
            if layout.erf:
                curvature, pull = _moment_system(problem, theta, at, back)
                h += curvature
                g += pull
            if not (np.isfinite(h).all() and np.isfinite(g).all()):
                decrement = np.inf
                break
            allowed = np.where(problem.dynamics.held(theta, g)[:, None], 0.0, free)
            h_free, g_free = allowed.T @ h @ allowed, allowed.T @ g
            diagonal = np.maximum(np.diag(h_free), 1e-12 * max(np.trace(h_free), 1e-300))
            step = np.linalg.lstsq(h_free + np.diag(damping * diagonal), g_free, rcond=1e-13)[0]
            gained = float(np.sum(weights * np.einsum("ia,ia->i", own, at.slope_phi)))
            expected = float(g_free @ step) + gained
            if first:
                decrement, first = expected, False
            move = allowed @ step
            trial_theta, trial, value = _advance(problem, theta, at, move, own, back, floor)
            if trial is not None and value <= objective + 1e-9 * abs(objective):
                longer = _longer(expected, objective - value)
                if longer > 1:
                    far_theta, far, far_value = _advance(
                        problem, theta, at, longer * move, longer * own, back, floor
                    )
                    if far is not None and far_value < value:
                        trial_theta, trial = far_theta, far
                trial = _with_slopes(problem, trial_theta, trial)
            else:
                trial = None
            if trial is not None:
                accepted = True
                accepted_steps += 1
                theta, at = trial_theta, trial
                damping = max(damping / 5, 1e-9)
                break
            damping *= 6
            if damping > 1e8:
                break
        if not accepted:
            # No step helps any more: the end, to rounding, if none was expected to.
            converged = decrement < 10 * tol
            break
        # of data without noise rounding refuses steps and raises the damping, though none is left
        if decrement < tol and (damping < 1e-1 or decrement * (1 + damping) < _NOTHING * tol):
            converged = True
            break
        if iteration > _LAST and passed[-_LAST] - passed[-1] < _WORTH * tol:
            converged = decrement < _WORTH * tol
            break
    objective = _objective(problem, at, floor, theta)
    return Solution(theta, at, objective, decrement, converged, iteration)


def _advance(
    problem: Problem, theta: Array, at: Blocks, move: Array, own: Array, back: Array, floor: Array
) -> tuple[Array, Blocks | None, float]:
    """Take a step; return where it led, what was found there, and f (infinite for a failure)."""
    there = problem.dynamics.clip(theta + move)
    phi = at.phi + own - back @ (there - theta)
    found = _glance(problem, there, phi)
    if found is None:
        return there, None, np.inf
    value = _objective(problem, found, floor, there)
    if problem.layout.erf and not problem.sampled:
        # Steps of a stiff second term go further when S_bb is brought back to the loadings.
        tied, again = _tie(problem, there, found)
        tied_value = _objective(problem, again, floor, tied)
        if tied_value < value:
            return tied, again, tied_value
    return there, found, value


def _longer(expected: float, gained: float) -> float:
    """Return by how much a longer step would have been better; 1 for not worth trying.

    Along a step f falls by D t - h t^2 / 2, D the decrement. A full Newton step gains D / 2; one
    that gains nearly D was far too short, as where the curvature of the model is overestimated.
    """
    if not 0.7 * expected < gained:
        return 1.0
    curvature = 2 * (expected - gained)
    return float(min(expected / curvature, 10.0)) if curvature > 0.1 * expected else 10.0


def _tie(problem: Problem, theta: Array, at: Blocks) -> tuple[Array, Blocks]:
    """Set S_bb to the moments of the loadings, less their estimation error."""
    layout = problem.layout
    loadings = at.phi[:, problem.data.n_lead :]
    second = loadings.T @ loadings / len(loadings) - loading_error(problem.data, at)
    if not np.isfinite(second).all():
        return theta, at
    bb = positive_part(second)
    tied = theta.copy()
    tied[layout.n_drive : layout.at_time] = bb[layout.triangle]
    again = _glance(problem, tied, at.phi)
    return (theta, at) if again is None else (tied, again)


def _tidy(problem: Problem, theta: Array, at: Blocks) -> tuple[Array, Blocks]:
    """Return to the gauge in which k_u has unit covariance."""
    tidy, q = whiten(problem, theta)
    phi = at.phi.copy()
    first = problem.data.n_lead + problem.layout.n_in
    phi[:, first:] = phi[:, first:] @ q
    again = evaluate(problem, tidy, phi)
    return (theta, at) if again is None else (tidy, again)


def _objective(problem: Problem, at: Blocks, floor: Array, theta: Array) -> float:
    """Return f."""
    value = _likelihood(problem.data, at, floor)
    if not problem.layout.erf:
        return value
    loadings = at.phi[:, problem.data.n_lead :]
    second = loadings.T @ loadings / len(loadings)
    covariance = problem.layout.unpack(theta)[2] + loading_error(problem.data, at)
    size = len(loadings) * (1.0 if problem.sampled else ALL_RECORDED)
    return value + 0.5 * size * divergence(covariance, second)


def _moment_system(problem: Problem, theta: Array, at: Blocks, back: Array) -> tuple[Array, Array]:
    """Return the curvature and the downhill slope of the second term of f."""
    layout, lead = problem.layout, problem.data.n_lead
    loadings = at.phi[:, lead:]
    error = loading_error(problem.data, at)
    of_c, of_load = moment_slopes(layout, loadings, back[:, lead:], error, at.tilt)
    precision = sampling_precision(layout, loadings, problem.sampled)
    second = loadings.T @ loadings / len(loadings)
    size = len(loadings) * (1.0 if problem.sampled else ALL_RECORDED)
    covariance = layout.unpack(theta)[2] + error
    slope = divergence_slope(layout, covariance, second, of_c, of_load)
    gap = of_c - of_load
    return gap.T @ precision @ gap, -0.5 * size * slope


def solve_inner(problem: Problem, theta: Array, phi: Array, steps: int) -> Array:
    """Improve nonlinear coefficients at fixed dynamics, each neuron by itself.

    The arguments are those of `settle_inner`, which returns the normal equations there as well.
    """
    at = settle_inner(problem, theta, phi, steps)
    return phi if at is None else at.phi


def settle_inner(problem: Problem, theta: Array, phi: Array, steps: int) -> Blocks | None:
    """Improve nonlinear coefficients at fixed dynamics, and return the normal equations there.

    Parameters
    ----------
    problem : Problem
        What to fit.
    theta : ndarray, shape (q,)
        Dynamics, held.
    phi : ndarray, shape (neurons, p)
        Start.
    steps : int
        Gauss-Newton steps at most; fewer where they would gain nothing.

    Returns
    -------
    Blocks or None
        With better coefficients, theta left out; None where the dynamics run away.
    """
    rolled = problem.dynamics.activity(theta)
    if rolled is None:
        return None
    k = problem.data.flatten(rolled)
    none = np.zeros((len(k), 0, k.shape[1]))
    at = blocks(problem.data, problem.layout, k, none, phi)
    damping = np.full(len(phi), 1e-2)
    weights = _weights(problem.data, at, noise_floor(problem.data))
    index = np.arange(phi.shape[1])
    for _ in range(steps):
        inner = at.inner.copy()
        inner[:, index, index] += damping[:, None] * np.einsum("iaa->ia", at.inner)
        move = np.einsum("iab,ib->ia", invert(inner), at.slope_phi)
        if np.sum(weights * np.einsum("ia,ia->i", move, at.slope_phi)) < _SETTLED:
            break
        trial = blocks(problem.data, problem.layout, k, none, at.phi + move)
        better = trial.squares + trial.penalty <= at.squares + at.penalty
        at = _either(better, trial, at)
        damping = np.where(better, damping / 5, damping * 10)
    return at


def _either(better: npt.NDArray[np.bool_], one: Blocks, other: Blocks) -> Blocks:
    """Return blocks that hold, neuron by neuron, those of ``one`` where it is better."""
    if better.all():
        return one
    names = ("phi", "inner", "slope_phi", "squares", "penalty")
    pairs = {name: (getattr(one, name), getattr(other, name)) for name in names}
    chosen = {
        name: np.where(better.reshape(-1, *[1] * (a.ndim - 1)), a, b)
        for name, (a, b) in pairs.items()
    }
    return replace(one, **chosen)


def whiten(problem: Problem, theta: Array) -> tuple[Array, Array]:
    """Choose the gauge in which k_u has unit covariance over the data: (theta, Q).

    Parameters
    ----------
    problem : Problem
        What to fit.
    theta : ndarray, shape (q,)
        Dynamics.

    Returns
    -------
    tuple of ndarray
        Theta in the new gauge, and Q (rank, rank) with U -> U Q.
    """
    rank, n_in = problem.layout.rank, problem.layout.n_in
    k = problem.dynamics.activity(theta)
    if k is None:
        return theta, np.eye(rank)
    second = problem.data.inner(problem.data.flatten(k))
    covariance = second[n_in:, n_in:] / len(problem.data.rows)
    size = np.trace(covariance)
    if not size > 0:
        return theta, np.eye(rank)
    q = np.linalg.cholesky(covariance + 1e-6 * size * np.eye(rank))
    return problem.layout.regauge(theta, q), q
