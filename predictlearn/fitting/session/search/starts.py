"""Where the fit starts, and the way from there to the best fit.

Linear dynamics are searched first, from several random starts, on moments of the activity and the
inputs where these serve, else (and for erf and for counts, of these on their square roots) on a
few principal components of the activity, which is fast. For erf and for counts the best of
them are turned into starts that allow for saturation and for the link, compared on a part of the
data, and the best is followed on all of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple, TypeVar

import numpy as np

from predictlearn.arrays import Array
from predictlearn.fitting.session.count_noise import (
    fit_dispersion,
    inverse_link,
    log_likelihood_constant,
)
from predictlearn.fitting.session.dynamics import Dynamics
from predictlearn.fitting.session.kernels.lags import climb
from predictlearn.fitting.session.loading_moments import positive_part
from predictlearn.fitting.session.pieces import pieces
from predictlearn.fitting.session.rollout import predicted
from predictlearn.fitting.session.search.components import components, summed
from predictlearn.fitting.session.search.levenberg_marquardt import (
    Problem,
    Solution,
    noise_floor,
    solve,
    solve_inner,
    whiten,
)
from predictlearn.fitting.session.search.marginal import settle_population, with_population
from predictlearn.fitting.session.search.regression import blocks

__all__ = [
    "Starts",
    "as_fitted",
    "coefficients",
    "find_best",
    "followed",
    "polished",
    "saturated",
    "search_linear",
    "settle",
    "settle_dispersion",
]

_Choice = TypeVar("_Choice")

# Starts that must meet in the best place before no more are drawn, and how near they must come, in
# units of the log likelihood.
_AGREED, _MET = 3, 0.05
# Steps from each start before the best are followed, and the decrement at last on moments.
_STEPS, _POLISHED = 15, 1e-6
# Enough to tell good starts from bad ones.
_SOME_STEPS = 25
# Steps after which a way is given up that will not come near the other, and by how many times what
# the last step promises it may still do so.
_GLANCE, _HOPE = 8, 5.0
# Rounds in which dispersion and all else are fitted in turn; they hardly depend on each other.
_DISPERSION_ROUNDS = 6
# Steps of the regression of counts, from no loadings at all.
_COUNT_STEPS = 8


# Where a bin is wider than this share of tau, a nonlinear rate is averaged over two nodes of it:
# the rate of the mean would be off by about 6% of tau at bins of tau, by the square of it below.
_WIDE = 0.3
# By so much (log likelihood) one Euler step a bin must beat the mean over a bin.
_CLEARLY = 3.0


class _End(NamedTuple):
    """Where the search from one start ended."""

    theta: Array
    objective: float
    converged: bool


class Starts(NamedTuple):
    """What a first search found, best first.

    ``small`` is the fit that it was made on, ``whole`` whether that holds all of the recording.
    """

    small: Problem
    ends: list[_End]
    whole: bool


# What overflows on the way is refused as a step, so there is nothing to warn of.
@np.errstate(over="ignore", invalid="ignore", divide="ignore")
def find_best(
    ways: list[Problem],
    part_of: Callable[[bool], Problem],
    n_starts: int,
    max_iter: int,
    tol: float,
    seed: int,
) -> tuple[Problem, Starts, Solution | None]:
    """Fit from several starts, and choose what activity of a bin is.

    Parameters
    ----------
    ways : list of Problem
        The same fit, what is preferred first; a later one is taken where it is clearly more likely.
    part_of : callable
        Returns the same on a part of the data, see `part`, given whether activity is the mean over
        a bin; for erf and counts.
    n_starts : int
        Largest number of starts.
    max_iter : int
        Steps for each of the best starts.
    tol : float
        Newton decrement at which to stop.
    seed : int
        Seed of the starts.

    Returns
    -------
    tuple of Problem, Starts and Solution or None
        The fit chosen, what the first search found, and the best fit; None where every start ran
        away.
    """
    nonlinear = ways[0].layout.erf or ways[0].data.count is not None
    first = _first_searches(ways, n_starts, max_iter, tol, seed)
    if not nonlinear:
        problem, starts = _preferred(
            list(zip(ways, first, strict=True)),
            [s.ends[0].objective if s.ends else np.inf for s in first],
        )
        thetas = [end.theta for end in starts.ends]
        if not starts.whole:
            reached = [followed(problem, theta, max_iter, tol) for theta in thetas]
            return problem, starts, _best(reached)
        # moments have told already which is the best
        nearer = (polished(starts.small, theta, max_iter) for theta in thetas)
        found = (followed(starts.small, theta, max_iter, tol) for theta in nearer)
        return problem, starts, next(filter(None, found), None)
    ways = [_resolved(problem, starts) for problem, starts in zip(ways, first, strict=True)]
    ends: list[Solution | None] = []
    # the last way, an Euler step, is the cheaper one to explore
    for problem, starts in zip(reversed(ways), reversed(first), strict=True):
        some = _resolved(part_of(problem.dynamics.mean), starts)
        ends.insert(0, _on_a_part(some, starts, ends[0] if ends else None, max_iter, tol))
    problem, starts, best = _preferred(
        list(zip(ways, first, ends, strict=True)), [e.objective if e else np.inf for e in ends]
    )
    if best is None:
        return problem, starts, None
    return problem, starts, settle(problem, best.theta, max_iter, tol)


def _resolved(problem: Problem, starts: Starts) -> Problem:
    """Return the fit with two nodes a bin where the bin is wide for what starts found of tau."""
    dynamics, data = problem.dynamics, problem.data
    if not (dynamics.mean and data.iterated and starts.ends):
        return problem
    tau = starts.small.dynamics.times(starts.ends[0].theta)[0]
    nodes = 2 if dynamics.dt > _WIDE * tau else 1
    return replace(
        problem, data=replace(data, nodes=nodes), dynamics=replace(dynamics, nodes=nodes)
    )


def settle(problem: Problem, theta: Array, max_iter: int, tol: float) -> Solution | None:
    """Search on the whole recording, as erf or counts; loadings of counts are integrated out."""
    theta = whiten(problem, theta)[0]
    phi = coefficients(problem, theta) if problem.data.iterated else None
    if problem.data.count is not None and phi is not None:
        return settle_population(problem, theta, phi, max_iter, tol)
    return solve(problem, theta, phi, max_iter, tol)


def _first_searches(
    ways: list[Problem], n_starts: int, max_iter: int, tol: float, seed: int
) -> list[Starts]:
    """Search linear dynamics, for each way."""
    first = ways[0]
    # A ridge is relative to the power of k in some gauge, so the way matters with one: only
    # components and then the recording lead where they led.
    plain = not (first.layout.erf or first.data.count or first.data.ridge)
    moments = summed(first) if plain else None
    small = moments or components(first)
    out = []
    for problem in ways:
        # moments of the recording are the same whatever a bin is
        alike = replace(small, dynamics=replace(small.dynamics, mean=problem.dynamics.mean))
        ends = search_linear(alike, n_starts, max_iter, tol, np.random.default_rng(seed))
        out.append(Starts(alike, ends, moments is not None))
    return out


def _preferred(choices: list[_Choice], objectives: list[float]) -> _Choice:
    """Return the first, unless another one is clearly more likely."""
    best = int(np.argmin(objectives))
    return choices[best if objectives[best] < objectives[0] - _CLEARLY else 0]


def _on_a_part(
    some: Problem, starts: Starts, explored: Solution | None, max_iter: int, tol: float
) -> Solution | None:
    """Follow the best linear starts on a part of the data, as erf or counts.

    Where the other way was explored, its best end and the best start are enough.
    """
    steps = min(_SOME_STEPS, max_iter)
    if explored is None:
        begun = [
            saturated(some, start.theta, weaken)
            for start in starts.ends[:2]
            for weaken in ((True, False) if some.layout.erf else (False,))
        ]
        return _best([solve(some, *each, steps, tol) for each in begun])
    theta = whiten(some, explored.theta)[0]
    begun = [(theta, coefficients(some, theta) if some.data.iterated else None)]
    begun += [saturated(some, start.theta, some.layout.erf) for start in starts.ends[:1]]
    glance = _best([solve(some, *each, min(_GLANCE, steps), tol) for each in begun])
    if glance is None or glance.converged:
        return glance
    if glance.objective - _HOPE * glance.decrement > explored.objective + _CLEARLY:
        return glance
    return _best([glance, solve(some, glance.theta, glance.at.phi, steps, tol)])


def followed(problem: Problem, theta: Array, max_iter: int, tol: float) -> Solution | None:
    """Search from a start in a gauge in which it is well scaled."""
    return solve(problem, whiten(problem, theta)[0], None, max_iter, tol)


def _with_dispersion(problem: Problem, dispersion: Array | None) -> Problem:
    """Return the same fit with other dispersions."""
    if problem.data.count is None or dispersion is None:
        return problem
    count = replace(problem.data.count, dispersion=dispersion)
    return replace(problem, data=replace(problem.data, count=count))


def as_fitted(problem: Problem, solution: Solution) -> Problem:
    """Return the fit with the dispersions and the population that were found for counts."""
    return with_population(_with_dispersion(problem, solution.dispersion), solution.population)


@np.errstate(over="ignore", invalid="ignore", divide="ignore")
def settle_dispersion(problem: Problem, solution: Solution, max_iter: int, tol: float) -> Solution:
    """Fit the dispersions of a negative binomial and all else in turn, from a Poisson fit.

    Parameters
    ----------
    problem : Problem
        The fit.
    solution : Solution
        Its solution without dispersion.
    max_iter : int
        Steps in each round.
    tol : float
        Stop when a round raises the log likelihood by less.

    Returns
    -------
    Solution
        With the dispersions.
    """
    data = problem.data
    if data.count is None:
        return solution
    dispersion, before = data.count.dispersion, np.inf
    for _ in range(_DISPERSION_ROUNDS):
        rolled = problem.dynamics.activity(solution.theta)
        if rolled is None:
            break
        k, phi, before_this = data.flatten(rolled), solution.at.phi, dispersion
        dispersion = np.concatenate(
            [
                fit_dispersion(
                    data.activity[some],
                    None if data.seen is None else data.seen[some],
                    predicted(data, k, phi[some]),
                    before_this[some],
                )
                for some in pieces(len(phi), k.shape[1])
            ]
        )
        again = settle_population(
            _with_dispersion(problem, dispersion), solution.theta, solution.at.phi, max_iter, tol
        )
        if again is None:
            break
        solution = replace(
            again,
            dispersion=dispersion,
            objective=again.objective
            - float(log_likelihood_constant(data.activity, dispersion).sum()),
            iterations=solution.iterations + again.iterations,
        )
        if before - solution.objective < tol:
            break
        before = solution.objective
    return solution


def _best(ends: list[Solution | None]) -> Solution | None:
    """Return the solution with the lowest objective."""
    found = [s for s in ends if s is not None and np.isfinite(s.objective)]
    return min(found, key=lambda s: s.objective) if found else None


def _random_start(dynamics: Dynamics, rng: np.random.Generator) -> Array:
    """Draw dynamics: time constants between a bin and a trial, some of them turning."""
    layout, dt = dynamics.layout, dynamics.dt
    length = dynamics.n_bins * dt
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


def search_linear(
    small: Problem, n_starts: int, max_iter: int, tol: float, rng: np.random.Generator
) -> list[_End]:
    """Fit linear dynamics to what stands for the activity; best first, at most three."""
    dynamics = small.dynamics
    found: list[_End] = []
    for _ in range(n_starts):
        theta = whiten(small, dynamics.clip(_random_start(dynamics, rng)))[0]
        end = _climbed(small, theta, min(_STEPS, max_iter), tol)
        if end is None:
            continue
        found.append(end)
        best = min(found, key=lambda s: s.objective)
        met = sum(s.converged and s.objective < best.objective + _MET for s in found)
        if best.converged and met >= _AGREED:
            break
    ranked: list[_End] = []
    for end in sorted(found, key=lambda s: s.objective):
        # Starts that met in one place count once.
        if not any(s.converged and abs(end.objective - s.objective) < _MET for s in ranked):
            ranked.append(end)
    again = [_climbed(small, whiten(small, s.theta)[0], max_iter, tol) for s in ranked[:4]]
    kept: list[_End] = []
    for end in sorted((s for s in again if s is not None), key=lambda s: s.objective):
        if not any(abs(end.objective - s.objective) < 1e-3 for s in kept):
            kept.append(end)
    return kept[:3]


def _climbed(small: Problem, theta: Array, steps: int, tol: float) -> _End | None:
    """Search from one start; None where it runs away."""
    data, dynamics, layout = small.data, small.dynamics, small.layout
    if data.lags is not None and not data.ridge:
        theta, objective, converged, fault = climb(
            dynamics.clip(theta),
            (layout.n_in, layout.rank, data.n_lead),
            (dynamics.dt, dynamics.tau, dynamics.latency, dynamics.mean),
            (layout.fit_tau, layout.fit_latency),
            dynamics.n_bins,
            data.lags.gram,
            data.lags.target,
            data.raw_squares,
            float(len(data.rows)),
            noise_floor(data),
            *dynamics.bounds,
            steps,
            tol,
        )
        if fault != 2:
            return None if fault else _End(theta, objective, converged)
    end = solve(small, theta, None, steps, tol)
    return None if end is None else _End(end.theta, end.objective, end.converged)


def polished(small: Problem, theta: Array, max_iter: int) -> Array:
    """Go on to the very optimum for a few steps, which on moments cost hardly anything."""
    end = _climbed(small, whiten(small, theta)[0], min(_STEPS, max_iter), _POLISHED)
    return theta if end is None else end.theta


def _regressed(problem: Problem, theta: Array) -> Array:
    """Return offset and loadings of a regression of every neuron on k, saturation left out.

    Of counts they are those of the link's argument.
    """
    data, layout = problem.data, replace(problem.layout, erf=False)
    plain = replace(data, saturating=False, gain=False)
    rolled = problem.dynamics.activity(theta)
    if rolled is None:
        return np.zeros((data.n_neurons, plain.n_lead + layout.n_base))
    k = plain.flatten(rolled)
    if data.count is None:
        none = np.zeros((len(k), 0, k.shape[1]))
        return blocks(plain, layout, k, none, None).phi
    rate = data.sums / data.counts
    phi = np.zeros((data.n_neurons, plain.n_lead + layout.n_base))
    phi[:, 0] = inverse_link(rate, data.count.softplus)
    return solve_inner(replace(problem, data=plain), theta, phi, _COUNT_STEPS)


def _unsaturated(loadings: Array, k: Array, saturating: bool) -> tuple[Array, float]:
    """Turn loadings regressed on rates into those of the current; return the mean gain too."""
    delta = float(np.mean(np.einsum("ic,cr->ir", loadings, k) ** 2))
    if saturating:
        # For Gaussian currents a regression on rates is g times one on currents.
        current = delta / max(1 - 0.5 * np.pi * delta, 0.15)
        loadings = loadings * np.sqrt(current / max(delta, 1e-300))
        delta = current
    return loadings, float(1 / np.sqrt(1 + 0.5 * np.pi * delta))


def coefficients(problem: Problem, theta: Array) -> Array:
    """Return starting coefficients of erf rates or counts for given dynamics."""
    data = problem.data
    regressed = _regressed(problem, theta)
    rolled = problem.dynamics.activity(theta)
    if rolled is None:
        return np.zeros((data.n_neurons, data.n_lead + problem.layout.n_base))
    if not data.saturating:
        return regressed
    at = int(data.offset)
    loadings, k = regressed[:, at:], data.flatten(rolled)
    parts = [regressed[:, :at]]
    if data.gain:
        gain = np.ones((data.n_neurons, 1))
        if data.count is not None:
            # so large that what is seen does not saturate it
            gain = np.maximum(1.0, 1.5 * (loadings @ k).std(axis=1, keepdims=True))
        parts.append(gain)
        loadings = loadings / gain
    loadings, _ = _unsaturated(loadings, k, True)
    return solve_inner(problem, theta, np.concatenate([*parts, loadings], axis=1), 6)


def saturated(problem: Problem, linear_theta: Array, weaken: bool) -> tuple[Array, Array | None]:
    """Turn linear dynamics into a start for erf or counts.

    Parameters
    ----------
    problem : Problem
        The fit.
    linear_theta : ndarray
        Linear dynamics, without S_bb.
    weaken : bool
        Whether to allow for the mean gain, for erf.

    Returns
    -------
    tuple of ndarray and ndarray or None
        Theta, and coefficients where the regression is nonlinear.
    """
    layout, data = problem.layout, problem.data
    plain = replace(problem, dynamics=replace(problem.dynamics, layout=replace(layout, erf=False)))
    theta = whiten(plain, linear_theta)[0]
    regressed = _regressed(plain, theta)
    if not layout.erf:
        return theta, regressed
    vm, vu, _ = plain.layout.unpack(theta)
    tau, latency = plain.dynamics.times(theta)
    rolled = plain.dynamics.activity(theta)
    if rolled is None:
        rolled = np.zeros((layout.n_base, len(problem.dynamics.inputs), problem.dynamics.n_bins))
    k = rolled.reshape(layout.n_base, -1)
    loadings, gain = _unsaturated(regressed[:, int(data.offset) :], k, data.saturating)
    bb = positive_part(loadings.T @ loadings / len(loadings))
    lift = 1 / gain if weaken else 1.0
    start = layout.pack(vm * lift, vu * lift, bb, tau, latency)
    if not data.iterated:
        return start, None
    phi = coefficients(problem, start)
    bb = positive_part(phi[:, data.n_lead :].T @ phi[:, data.n_lead :] / len(phi))
    return layout.pack(vm * lift, vu * lift, bb, tau, latency), phi
