"""Other optima of tau and the latency, how far each may move, and whether given ones agree.

The time constant can trade places with a recurrent one: the activity of a linear network with one
input is a filter with the rates 1/tau and (1 - lambda)/tau, lambda the eigenvalues of S_vu, and it
does not say which of them is 1/tau. So the other assignments are fitted too. Around an optimum the
log likelihood is profiled over tau, since at a double rate it is no parabola.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from predictlearn.arrays import Array
from predictlearn.fitting.session.bootstrap import Linearised, linearise
from predictlearn.fitting.session.count_noise import log_likelihood_constant
from predictlearn.fitting.session.dynamics import Dynamics, Layout
from predictlearn.fitting.session.search.levenberg_marquardt import (
    Problem,
    Solution,
    evaluate,
    free_directions,
    reduced_system,
)
from predictlearn.fitting.session.search.marginal import bend, with_population
from predictlearn.fitting.session.search.starts import (
    Starts,
    as_fitted,
    followed,
    polished,
    saturated,
    search_linear,
    settle,
)

__all__ = ["Timing", "disagreement", "settle_timing"]


# Half the 95% quantile of chi squared with one degree of freedom.
_LIKELY = 1.92
# Optima nearer than this in log tau, or in latency by this share of a bin, are one.
_NEAR_TAU, _NEAR_LATENCY = 0.03, 0.2
# Where log likelihoods differ by less, optima are equally likely.
_TIED = 0.1
# Steps of a search after which it is given up, where it is worse than the best by so much.
_GLANCE, _FAR = 15, 30.0
# First step of a profile, in standard deviations; how steps grow; how many there may be.
_FIRST, _GROW, _MOST = 2.6, 1.5, 10
# Standard errors by which trials must disagree with a time that was given, and by how much the
# likelihood, and the time itself, must change for a warning.
_DISAGREE, _GAIN, _OFF = 2.5, 3.0, 0.1
# Counts: what the log likelihood must rise by, by how many times are freed. Half the 96.4%
# quantiles of chi squared, since a false alarm of either test is one: together about 5%.
_RATIO = {1: 2.2, 2: 3.3}
# What a search from random starts must gain, which has no test by trials; and how many of these.
_GAIN_FAR, _FAR_STARTS = 20.0, 4


@dataclass(frozen=True, eq=False)
class Timing:
    """What a recording says of tau and the latency.

    Parameters
    ----------
    optima : list of Solution
        The best one first, then the others by likelihood.
    within : list of bool
        Which of them the data cannot tell from the best.
    profile : list of (Problem, Solution)
        Points with tau held around the best that the data cannot tell from it either.
    open_below, open_above : bool
        Whether the profile ends at a bound of tau there.
    linear : Linearised or None
        Of the best, where intervals are wanted.
    """

    optima: list[Solution]
    within: list[bool]
    profile: list[tuple[Problem, Solution]]
    open_below: bool
    open_above: bool
    linear: Linearised | None


@np.errstate(over="ignore", invalid="ignore", divide="ignore")
def settle_timing(
    problem: Problem,
    starts: Starts,
    solution: Solution,
    max_iter: int,
    tol: float,
    intervals: bool,
    readout: Array | None,
) -> Timing:
    """Fit from the other assignments of the time constants, and profile tau.

    Parameters
    ----------
    problem : Problem
        The fit, with tau or the latency fitted.
    starts : Starts
        From `find_best`.
    solution : Solution
        The best fit so far.
    max_iter, tol : int, float
        As in `solve`.
    intervals : bool
        Whether intervals are wanted, and so the profile.
    readout : ndarray, shape (neurons, n_out), or None
        The readout, where it is known.

    Returns
    -------
    Timing
        Of optima that are equally likely, that with the shortest tau stands first: a neuron's own
        time constant is the fastest thing in a recurrent network that holds on to its inputs.
    """
    found = [solution]
    candidates = [end.theta for end in starts.ends[1:]]
    if problem.layout.erf:
        # what the first search found is linear
        free = with_population(problem, None)
        candidates = [saturated(free, theta, True)[0] for theta in candidates]
    candidates += _swapped(problem, solution.theta)
    for theta in candidates:
        other = _follow(problem, starts, theta, min(max_iter, _GLANCE), tol)
        if (
            other is not None
            and not other.converged
            and other.objective < found[0].objective + _FAR
        ):
            other = _follow(problem, starts, other.theta, max_iter, tol)
        if other is None or not np.isfinite(other.objective):
            continue
        if not other.converged and other.objective > found[0].objective + _FAR:
            continue  # on a slope, and no optimum that anyone would take
        same = [i for i, s in enumerate(found) if _near(problem, s, other)]
        if not same:
            found.append(other)
        elif other.objective < found[same[0]].objective:
            found[same[0]] = other
    found.sort(key=lambda s: s.objective)
    tied = [s for s in found if s.objective < found[0].objective + _TIED]
    first = min(tied, key=lambda s: problem.dynamics.times(s.theta))
    found = [first, *(s for s in found if s is not first)]
    linear = linearise(as_fitted(problem, first), first, readout) if intervals else None
    spread, threshold = _spread(problem, linear)
    within = [s.objective < found[0].objective + threshold for s in found]
    if linear is None or not problem.layout.fit_tau:
        return Timing(found, within, [], False, False, linear)
    down, below = _profile(problem, starts, first, -spread, threshold, max_iter, tol)
    up, above = _profile(problem, starts, first, spread, threshold, max_iter, tol)
    return Timing(found, within, [*down, *up], below, above, linear)


def _follow(
    problem: Problem, starts: Starts, theta: Array, max_iter: int, tol: float
) -> Solution | None:
    """Search from one start as `find_best` does from its own."""
    if starts.whole:
        small = replace(starts.small, dynamics=_like(starts.small, problem))
        return followed(small, polished(small, theta, max_iter), max_iter, tol)
    data = problem.data
    end = settle(with_population(problem, None), theta, max_iter, tol)
    if end is None or data.count is None or not data.count.dispersion.any():
        return end
    # with the dispersions of the fit, whose likelihood has these terms too
    constant = float(log_likelihood_constant(data.activity, data.count.dispersion).sum())
    return replace(end, dispersion=data.count.dispersion, objective=end.objective - constant)


def _like(small: Problem, problem: Problem) -> Dynamics:
    """Return the dynamics of the small fit with the times of the other."""
    return replace(
        small.dynamics,
        layout=problem.dynamics.layout,
        tau=problem.dynamics.tau,
        latency=problem.dynamics.latency,
    )


def _swapped(problem: Problem, theta: Array) -> list[Array]:
    """Return starts in which 1/tau has traded places with a real recurrent rate."""
    layout = problem.layout
    if not layout.fit_tau:
        return []
    vm, vu, bb = layout.unpack(theta)
    tau, latency = problem.dynamics.times(theta)
    values, vectors = np.linalg.eig(vu)
    if np.linalg.cond(vectors) > 1e8:
        return []
    left = np.linalg.inv(vectors)
    out = []
    for i in np.flatnonzero(np.abs(values.imag) < 1e-9):
        rate = (1 - values[i].real) / tau
        if not rate * problem.dynamics.n_bins * problem.dynamics.dt > 0.1:
            continue
        rates = (np.eye(len(vu)) - vu) / tau
        rates = rates + (1 / tau - rate) * np.outer(vectors[:, i], left[i]).real
        start = layout.pack(
            vm / (rate * tau), np.eye(len(vu)) - rates / rate, bb, 1 / rate, latency
        )
        out.append(problem.dynamics.clip(start))
    return out


def _near(problem: Problem, one: Solution, other: Solution) -> bool:
    """Tell whether two solutions are one optimum."""
    (tau, latency), (tau2, latency2) = (problem.dynamics.times(s.theta) for s in (one, other))
    close = abs(np.log(tau / tau2)) < _NEAR_TAU
    return bool(close and abs(latency - latency2) < _NEAR_LATENCY * problem.dynamics.dt)


def _spread(problem: Problem, linear: Linearised | None) -> tuple[float, float]:
    """Return the standard deviation of log tau, and the fall of the log likelihood that is likely.

    Where trials scatter more than the likelihood expects, so does the likelihood itself.
    """
    at = problem.layout.at_time
    if linear is None or not problem.layout.fit_tau:
        return 0.1, _LIKELY
    steps = linear.trial_theta[:, at]
    robust = float(np.sqrt((steps**2).sum() + (linear.neuron_theta[:, at] ** 2).sum()))
    expected = float(np.sqrt(max(linear.covariance[at, at], 0.0)))
    inflation = (robust / expected) ** 2 if expected > 0 else 1.0
    return (robust if 0 < robust < 1 else 0.2), _LIKELY * float(np.clip(inflation, 1.0, 100.0))


def _profile(
    problem: Problem,
    starts: Starts,
    solution: Solution,
    spread: float,
    threshold: float,
    max_iter: int,
    tol: float,
) -> tuple[list[tuple[Problem, Solution]], bool]:
    """Walk away in log tau while the likelihood stays; tell whether that led to a bound."""
    layout, dynamics = problem.layout, problem.dynamics
    at = layout.at_time
    low, high = (float(bound[at]) for bound in dynamics.bounds)
    centre = float(solution.theta[at])
    out: list[tuple[Problem, Solution]] = []
    reach, last = _FIRST * spread, solution.theta
    for _ in range(_MOST):
        log_tau = float(np.clip(centre + reach, low, high))
        held = replace(
            problem,
            dynamics=replace(
                dynamics, layout=replace(layout, fit_tau=False), tau=float(np.exp(log_tau))
            ),
        )
        # what is left of the dynamics keeps its rates
        vm, vu, bb = layout.unpack(last)
        ratio = float(np.exp(log_tau - last[at]))
        vu = np.eye(len(vu)) - ratio * (np.eye(len(vu)) - vu)
        latency = dynamics.times(last)[1]
        theta = held.layout.pack(vm * ratio, vu, bb, 1.0, latency)
        there = _follow(held, starts, theta, max_iter, tol)
        if there is None or there.objective > solution.objective + threshold:
            return out, False
        out.append((held, there))
        if log_tau in (low, high):
            return out, True
        last = np.insert(there.theta, at, log_tau)
        reach *= _GROW
    return out, False


@np.errstate(over="ignore", invalid="ignore", divide="ignore")
def disagreement(
    problem: Problem, starts: Starts, solution: Solution, max_iter: int, tol: float
) -> str | None:
    """Say whether the recording wants another tau or latency than was given.

    Parameters
    ----------
    problem : Problem
        The fit, with tau or the latency given.
    starts : Starts
        From `find_best`.
    solution : Solution
        Where it ended.
    max_iter, tol : int, float
        As in `solve`.

    Returns
    -------
    str or None
        A sentence; None where nothing speaks against what was given: neither the score test with
        trials as clusters (for counts, whose trials share a population of loadings, the likelihood
        ratio at a level of 5%), nor a search from other times. None with a ridge, which moves
        times.
    """
    layout = problem.layout
    if (layout.fit_tau and layout.fit_latency) or problem.data.ridge:
        return None
    freed, theta = _freed(problem, solution, tau=True, latency=True)
    best, of_chance = None, ""
    if _pulls(freed, starts, theta, solution):
        if problem.data.population is not None:
            freed, best = _likelier(problem, starts, solution, max_iter, tol)
            of_chance = "; were they right, it would be so in about 5% of recordings"
        elif _trials_agree(freed, theta, solution, layout):
            best = _follow(freed, starts, theta, max_iter, tol)
            best = best if best and solution.objective - best.objective >= _GAIN else None
            if best is None:
                return None
    if best is None:
        freed, _ = _freed(problem, solution, tau=True, latency=True)
        begin, of_chance = _far_start(freed, starts, max_iter, tol), ""
        best = None if begin is None else _follow(freed, starts, begin, max_iter, tol)
        if best is None or solution.objective - best.objective < _GAIN_FAR:
            return None
    tau, latency = problem.dynamics.times(solution.theta)
    new_tau, new_latency = freed.dynamics.times(best.theta)
    far_tau = abs(np.log(new_tau / tau)) > _OFF
    far_latency = abs(new_latency - latency) > 0.25 * problem.dynamics.dt
    if not (far_tau and not layout.fit_tau) and not (far_latency and not layout.fit_latency):
        return None
    return (
        f"tau {tau:.3g} s and latency {latency:.3g} s were given, but "
        f"{_each(freed, starts, best, max_iter, tol)} make the recording more likely (log "
        f"likelihood higher by {solution.objective - best.objective:.3g}{of_chance}). All overlaps "
        "depend on them, and their intervals do not allow for it: check the times of the inputs "
        "and tau, or fit them (tau='fit', latency='fit')"
    )


def _freed(problem: Problem, solution: Solution, tau: bool, latency: bool) -> tuple[Problem, Array]:
    """Return the fit with times freed, and the solution as its theta."""
    layout = problem.layout
    free = replace(layout, fit_tau=tau or layout.fit_tau, fit_latency=latency or layout.fit_latency)
    theta = free.pack(*layout.unpack(solution.theta), *problem.dynamics.times(solution.theta))
    return replace(problem, dynamics=replace(problem.dynamics, layout=free)), theta


def _likelier(
    problem: Problem, starts: Starts, solution: Solution, max_iter: int, tol: float
) -> tuple[Problem, Solution | None]:
    """Free tau, the latency or both; return what passes its likelihood ratio test, the best first.

    What must be gained grows with the scatter of trials beyond that of the noise model.
    """
    layout = problem.layout
    ways = [(not layout.fit_tau, not layout.fit_latency)]
    if all(ways[0]):
        ways = [(True, False), (True, True)]
    passed: list[tuple[Problem, Solution]] = []
    for tau, latency in ways:
        freed, theta = _freed(problem, solution, tau, latency)
        end = _follow(freed, starts, theta, max_iter, tol)
        gain = 0.0 if end is None else solution.objective - end.objective
        needed = _RATIO[tau + latency]
        if end is None or gain < needed:
            continue
        if gain >= needed * _scatter(freed, end):
            passed.append((freed, end))
    return min(passed, key=lambda way: way[1].objective, default=(problem, None))


def _scatter(freed: Problem, solution: Solution) -> float:
    """Return by how much the variance of the dynamics exceeds what the noise model says.

    A mean over all their directions, at least 1: that of a single one is too noisy.
    """
    linear = linearise(as_fitted(freed, solution), solution)
    robust = linear.trial_theta.T @ linear.trial_theta
    robust += linear.neuron_theta.T @ linear.neuron_theta
    information = np.linalg.pinv(linear.covariance, rcond=1e-9, hermitian=True)
    directions = float(np.trace(information @ linear.covariance))
    if not directions > 0.5:
        return 1.0
    return float(np.clip(np.trace(information @ robust) / directions, 1.0, 100.0))


def _each(freed: Problem, starts: Starts, best: Solution, max_iter: int, tol: float) -> str:
    """Name the times that fit best, with those that tau trades places with."""
    found = [best]
    for theta in _swapped(freed, best.theta):
        other = _follow(freed, starts, theta, max_iter, tol)
        if other is not None and other.objective < best.objective + _TIED:
            found += [] if any(_near(freed, s, other) for s in found) else [other]
    times = sorted(freed.dynamics.times(s.theta) for s in found)
    return " or ".join(f"tau {tau:.3g} s and latency {latency:.3g} s" for tau, latency in times)


def _trials_agree(freed: Problem, theta: Array, solution: Solution, layout: Layout) -> bool:
    """Tell whether trials, as clusters, pull a time that was given the same way."""
    at = evaluate(freed, theta, solution.at.phi if freed.data.iterated else None)
    if at is None:
        return False
    steps = linearise(freed, replace(solution, theta=theta, at=at)).trial_theta
    given = [not layout.fit_tau, not layout.fit_latency]
    times = steps[:, freed.layout.at_time :][:, given]
    scatter = np.sqrt(len(times)) * times.std(axis=0)
    return bool((np.abs(times.sum(axis=0)) > _DISAGREE * scatter).any())


def _far_start(freed: Problem, starts: Starts, max_iter: int, tol: float) -> Array | None:
    """Search from random starts with the times free; None where that finds hardly more."""
    small = replace(starts.small, dynamics=_like(starts.small, freed))
    small = replace(
        small, dynamics=replace(small.dynamics, layout=replace(freed.layout, erf=False))
    )
    ends = search_linear(small, _FAR_STARTS, max_iter, tol, np.random.default_rng(0))
    if not (ends and starts.ends):
        return None
    if not ends[0].objective < starts.ends[0].objective - _GAIN_FAR:
        return None
    vm, vu, _ = small.layout.unpack(ends[0].theta)
    tau, latency = small.dynamics.times(ends[0].theta)
    bb = freed.layout.unpack(np.zeros(freed.layout.size))[2] + np.eye(freed.layout.n_base)
    return freed.layout.pack(vm, vu, bb, tau, latency)


def _pulls(freed: Problem, starts: Starts, theta: Array, solution: Solution) -> bool:
    """Tell whether the likelihood could rise enough by moving the times, all else following."""
    base = starts.small if starts.whole else freed
    base = replace(base, dynamics=_like(base, freed))
    phi = solution.at.phi
    if base.data.population is not None:
        bent = bend(base, theta, phi)
        if bent is None:
            return False
        h = reduced_system(bent.at, np.ones(len(phi)), 0.0)[0]
        g = bent.at.slope_theta.sum(axis=0) - bent.of_cost.sum(axis=0)
    else:
        at = evaluate(base, theta, phi if freed.data.iterated else None)
        if at is None:
            return False
        weights = np.ones(len(at.squares))
        if base.data.count is None:
            weights = base.data.counts / np.maximum(at.squares + at.penalty, 1e-300)
        h, g, _, _ = reduced_system(at, weights, 0.0)
    free = free_directions(freed.layout, theta)
    free = np.where(freed.dynamics.held(theta, g)[:, None], 0.0, free)
    step = np.linalg.pinv(free.T @ h @ free, rcond=1e-11, hermitian=True) @ (free.T @ g)
    return bool(0.5 * g @ free @ step > _GAIN / 2)
