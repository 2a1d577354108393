"""Fits that leave several directions open, such as those of the loss alone.

The likelihood then has no maximum, but a ridge: long, curved, and rising by next to nothing
all the way to where learning is infinitely slow through infinitely large loadings. What is sought
instead is the start of most posterior density under the weak prior of `sample()`, in coordinates
in which the prior is a unit normal. Every direction is then held, so a damped Gauss-Newton search
ends, and says so where a whole undamped step could gain nothing that matters.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np
import pandas as pd
from scipy import stats

from predictlearn.arrays import Array
from predictlearn.fitting.learning.identifiability import Identified, identify
from predictlearn.fitting.learning.likelihood import Fitted, SessionsProblem, convention
from predictlearn.fitting.learning.point_estimate import centred, corrected, signed
from predictlearn.fitting.learning.posterior.delta_method import around, drawn_table
from predictlearn.fitting.learning.posterior.unconstrained import Unconstrained
from predictlearn.kept import once
from predictlearn.workers import Parallel, delayed

__all__ = ["OnRidge", "Randomised", "Ridge", "search_ridge", "several_open"]

# Draws behind the intervals.
_DRAWS = 100
# Log density that the next undamped step would gain, below which a search has ended.
_NOTHING = 1e-4
# Evaluations of a start before it is judged, how many starts go on at a time, and how many times
# as many as asked for are drawn until the best end is met again.
_SCREENING, _KEPT, _ROUNDS_OF_STARTS = 15, 2, 3
# Draws of a start that learns stably, before it is given up.
_TRIES = 20
# Log density and log mass that the same end of two searches differs by at most.
_SAME = 0.02
# Log density that a step from the end reported would gain, and the change of its log noise: so
# that rounding of the data moves no digit that is printed.
_EXACT, _STILL = 1e-10, 1e-6
# How often the best is searched on from where it stopped for want of evaluations.
_AGAIN = 3
# Damping of the first step, relative to the prior, and that at which nothing moves any more.
_FIRST, _STUCK = 1.0, 1e12
# Longest step, in standard deviations of the prior.
_FARTHEST = 3.0
# Evaluations that lead a draw back to the ridge, the gain of log density that ends it, and the
# quantile of the misfit beyond which it was not led back.
_CORRECTING, _NEAR, _OFF = 25, 0.5, 0.999
# Rounds in which the noise is found, and the change of its logarithm that ends them.
_ROUNDS, _SETTLED = 12, 1e-3
# Change of a measurement by one sd of the prior, relative to the largest, beyond which learning is
# chaotic (a rate at the edge of what the task allows): no data can be compared with that.
_CHAOS = 1e3


@dataclass(frozen=True, eq=False)
class OnRidge(Fitted):
    """A maximum of the posterior density; `cost` is minus its log, data and prior.

    Parameters
    ----------
    y : numpy.ndarray, (P,)
        The maximum in unconstrained coordinates.
    root : numpy.ndarray, (P, P)
        R, with R R' the covariance of the posterior there.
    degrees : numpy.ndarray, (2,)
        Measurements that the noise of overlaps and of losses was estimated from; infinite if given.
    """

    y: Array
    root: Array
    degrees: Array

    @property
    def evidence(self) -> float:
        """Log mass of the posterior about the maximum, but for a constant."""
        return float(np.linalg.slogdet(self.root)[1]) - self.cost


@dataclass(eq=False)
class Ridge:
    """Residuals of data and prior in unconstrained coordinates.

    Parameters
    ----------
    problem : SessionsProblem
        The likelihood.
    """

    problem: SessionsProblem

    def __post_init__(self) -> None:
        self.unconstrained = Unconstrained(self.problem.model.layout, self.problem.scale)

    def residuals(self, y: Array, group_sd: Array) -> Array:
        """Return residuals of data, conventions and prior; infinite where learning is unstable."""
        run = self.problem.run(self.unconstrained.x(y))
        out = np.concatenate(
            [
                self.problem.residuals(self.unconstrained.x(y), group_sd),
                self.unconstrained.prior(y)[0],
            ]
        )
        if run is None:
            return np.full_like(out, np.inf)
        most = _CHAOS * np.abs(self.problem.model.data.values).max()
        return np.full_like(out, np.inf) if np.abs(run.slopes).max() > most else out

    def slopes(self, y: Array, group_sd: Array) -> Array:
        """Return the slopes of the residuals in y."""
        data = self.problem.slopes(self.unconstrained.x(y), group_sd) @ self.unconstrained.slopes(y)
        return np.concatenate([data, np.diag(self.unconstrained.prior(y)[1])])

    def climb(
        self,
        y: Array,
        group_sd: Array,
        most: int,
        shift: Array | float = 0.0,
        enough: float = _NOTHING,
    ) -> tuple[Array, int, bool]:
        """Search from y by damped Gauss-Newton steps.

        Parameters
        ----------
        y : numpy.ndarray, (P,)
            Where to begin.
        group_sd : numpy.ndarray, (2,)
            Noise.
        most : int
            Evaluations.
        shift : numpy.ndarray, optional
            Added to the residuals: noise drawn anew.
        enough : float
            Log density that the next undamped step would gain, below which the search ends.

        Returns
        -------
        y : numpy.ndarray, (P,)
            Where the search ended.
        n : int
            Evaluations made.
        ended : bool
            Whether no step could gain anything that matters.
        """
        left = self.residuals(y, group_sd) + shift
        cost, n, damping, harder = 0.5 * float(left @ left), 1, _FIRST, 2.0
        while np.isfinite(cost):
            slopes = self.slopes(y, group_sd)
            curvature, gradient = slopes.T @ slopes, slopes.T @ left
            if 0.5 * gradient @ np.linalg.solve(curvature, gradient) < enough:
                return y, n, True
            metric = np.diag(self.unconstrained.prior(y)[1] ** 2)
            while n < most and damping < _STUCK:
                step = -np.linalg.solve(curvature + damping * metric, gradient)
                if (far := float(np.sqrt(step @ metric @ step))) > _FARTHEST:
                    damping *= far
                    continue
                tried = self.residuals(y + step, group_sd) + shift
                n += 1
                fall = cost - 0.5 * float(tried @ tried)
                if fall > 0:
                    foreseen = float(-gradient @ step - 0.5 * step @ curvature @ step)
                    # Nielsen's rule
                    damping *= float(max(0.1, 1 - (2 * fall / foreseen - 1) ** 3))
                    y, left, cost, harder = y + step, tried, cost - fall, 2.0
                    break
                damping, harder = damping * harder, harder * 2
            else:
                break
        return y, n, False

    def noise_at(self, y: Array, group_sd: Array) -> tuple[Array, Array]:
        """Return the noise of what is left, and how many measurements it was estimated from.

        Parameters count as far as the data rather than the prior determine them.
        """
        data, run = self.problem.model.data, self.problem.run(self.unconstrained.x(y))
        degrees = np.full(2, np.inf)
        if data.noise.known or run is None:
            return group_sd, degrees
        if data.noise.shared is not None:
            return self.problem.noise_at(self.unconstrained.x(y), group_sd), degrees
        squares = (data.values - run.values) ** 2
        for _ in range(_ROUNDS):
            orthogonal = np.linalg.qr(self.slopes(y, group_sd))[0][: data.n]
            free = 1 - np.sum(orthogonal**2, axis=1)
            new = group_sd.copy()
            for g in set(data.noise.group.tolist()):
                rows = data.noise.group == g
                degrees[g] = max(float(np.sum(free[rows])), 1.0)
                sd = float(np.sqrt(np.sum(squares[rows]) / degrees[g]))
                new[g] = max(sd, self.problem.floor(g))
            settled = _same(new, group_sd, _STILL)
            group_sd = new
            if settled:
                break
        return group_sd, degrees

    def stable(self, y: Array, group_sd: Array) -> bool:
        """Return whether learning from y is stable, so that a search may begin there."""
        return bool(np.all(np.isfinite(self.residuals(y, group_sd))))

    def improve(
        self,
        y: Array,
        group_sd: Array,
        most: int,
        enough: float = _NOTHING,
        still: float = _SETTLED,
    ) -> OnRidge | None:
        """Search from y, noise in turn; None where learning is unstable at once."""
        if not self.stable(y, group_sd):
            return None
        n, converged = 0, False
        while n < most and not converged:
            y, used, ended = self.climb(y, group_sd, most - n, enough=enough)
            n += used
            new, degrees = self.noise_at(y, group_sd)
            converged = ended and _same(new, group_sd, still)
            group_sd = new
        left = self.residuals(y, group_sd)
        determinant = self.problem.model.data.noise.log_determinant(group_sd)
        cost = 0.5 * float(left @ left + determinant)
        root = np.linalg.inv(np.linalg.qr(self.slopes(y, group_sd), mode="r"))
        return OnRidge(self.unconstrained.x(y), group_sd, cost, converged, y, root, degrees)

    def draw(self, best: OnRidge, rng: np.random.Generator) -> tuple[Array, float]:
        """Draw from the posterior about a maximum, along the ridge.

        The maximum for data and prior with noise drawn anew: where the slopes at `best` would have
        it, and from there by a few steps back to the ridge, which is curved.

        Parameters
        ----------
        best : OnRidge
            The maximum.
        rng : numpy.random.Generator
            Source of randomness.

        Returns
        -------
        y : numpy.ndarray, (P,)
            The draw.
        misfit : float
            Sum of squares that it leaves.
        """
        spread = [1.0 if np.isinf(d) else np.sqrt(d / rng.chisquare(d)) for d in best.degrees]
        group_sd = best.group_sd * spread
        slopes = self.slopes(best.y, group_sd)
        shift = rng.standard_normal(len(slopes))
        move = -np.linalg.lstsq(slopes, shift, rcond=None)[0]
        for share in (1.0, 0.5, 0.25, 0.0):
            y = best.y + share * move
            if np.all(np.isfinite(self.residuals(y, group_sd))):
                break
        y, _, _ = self.climb(y, group_sd, _CORRECTING, shift, _NEAR)
        return y, float(np.sum((self.residuals(y, group_sd) + shift) ** 2))

    def draws(self, best: OnRidge, n: int, seed: int, n_jobs: int = 1) -> Array:
        """Return n draws, (n, P), as parameters x.

        Those that were not led back to the ridge are replaced by others.
        """
        children = np.random.SeedSequence(seed).spawn(n)
        drawn = Parallel(n_jobs=n_jobs)(
            delayed(self.draw)(best, np.random.default_rng(child)) for child in children
        )
        misfits = np.array([misfit for _, misfit in drawn])
        near = np.flatnonzero(misfits < stats.chi2.ppf(_OFF, self.problem.model.data.n))
        if near.size:
            for k in np.setdiff1d(np.arange(n), near):
                drawn[k] = drawn[near[k % near.size]]
        return np.array([self.unconstrained.x(y) for y, _ in drawn])

    def signed(self, y: Array) -> Array:
        """Return y with the first vm positive where nothing measured tells the sign of u and v."""
        if not self.problem.pins:
            return y
        layout = self.problem.model.layout
        signs = convention(layout, layout.matrix(self.unconstrained.x(y)))
        return self.unconstrained.mirrored(y, signs)


@dataclass(eq=False)
class Randomised:
    """Randomised maximum a posteriori about a maximum on a ridge; see `Density`.

    Parameters
    ----------
    problem : SessionsProblem
        The likelihood.
    best : OnRidge
        The maximum.
    seed : int
        Of the draws behind the intervals.
    n_jobs : int
        Processes.
    """

    problem: SessionsProblem
    best: OnRidge
    seed: int
    n_jobs: int
    _kept: tuple[int, Array] = field(default=(0, np.empty((0, 0))), repr=False)
    has_maximum: ClassVar[bool] = False

    @property
    def point(self) -> Array:
        """The estimate."""
        return self.problem.model.layout.natural(self.best.x)

    def draws(self, n: int, seed: int) -> Array:
        """Return n draws of the natural parameters, (n, P); the first ones are kept."""
        if self._kept[0] != seed or len(self._kept[1]) < n:
            xs = Ridge(self.problem).draws(self.best, n, seed, self.n_jobs)
            self._kept = (seed, np.array([self.problem.model.layout.natural(x) for x in xs]))
        return self._kept[1][:n]

    def intervals(self, level: float) -> pd.DataFrame:
        """Return low, high, estimate and sd of every overlap and rate."""
        rows = self.draws(_DRAWS, self.seed)
        return around(drawn_table(self.point, rows, self.problem.model.layout, level))[0]


@signed.register
def _(best: OnRidge, problem: SessionsProblem) -> OnRidge:
    """Turn the signs alone: the coordinates of a ridge are no plain ones."""
    ridge = Ridge(problem)
    y = ridge.signed(best.y)
    return replace(best, x=ridge.unconstrained.x(y), y=y)


@corrected.register
def _(best: OnRidge, problem: SessionsProblem) -> tuple[Array, Identified]:
    """Return the noise as it is, for which parameters were counted in the search."""
    layout = problem.model.layout
    scales = layout.scales(layout.matrix(best.x))
    return best.group_sd, identify(problem.natural_slopes(best.x, best.group_sd), scales)


@centred.register
def _(best: OnRidge, problem: SessionsProblem, max_iter: int) -> OnRidge:
    """Return the maximum: the prior has held every direction."""
    return best


def _same(new: Array, old: Array, still: float) -> bool:
    """Return whether two noises are the same, as far as it matters."""
    return bool(np.all(np.abs(np.log(new / old)) < still))


def several_open(problem: SessionsProblem, best: Fitted) -> bool:
    """Return whether a fit leaves more than one direction open, which may then be curved."""
    layout = problem.model.layout
    scales = layout.scales(layout.matrix(best.x))
    slopes = problem.natural_slopes(best.x, best.group_sd)
    return identify(slopes, scales).free.shape[1] > 1


def search_ridge(
    problem: SessionsProblem,
    begin: Sequence[Array],
    n_starts: int,
    max_iter: int,
    seed: int,
    n_jobs: int,
) -> OnRidge | None:
    """Return the maximum with most posterior mass about it; None if every start is unstable.

    Parameters
    ----------
    problem : SessionsProblem
        The likelihood.
    begin : sequence of numpy.ndarray
        Starts x, if any.
    n_starts : int
        Starts in all: these, the middle of the prior, and draws from it.
    max_iter : int
        Evaluations from each of the best.
    seed, n_jobs
        As for `search`.

    Returns
    -------
    OnRidge or None
        The best.
    """
    ridge = Ridge(problem)
    noise = problem.first_noise()
    given = [ridge.unconstrained.of(x) for x in begin]
    root = np.random.SeedSequence(seed)
    ended: list[OnRidge] = []
    best: OnRidge | None = None
    for _ in range(_ROUNDS_OF_STARTS):
        starts = _stable_starts(ridge, given, max(n_starts, 1), noise, root)
        given = []
        screened = Parallel(n_jobs=n_jobs)(
            delayed(ridge.improve)(y, noise, _SCREENING) for y in starts
        )
        pool = sorted((f for f in screened if f is not None), key=lambda f: f.cost)
        while pool:
            some, pool = pool[:_KEPT], pool[_KEPT:]
            tried = Parallel(n_jobs=n_jobs)(
                delayed(ridge.improve)(f.y, f.group_sd, max_iter) for f in some
            )
            ended += [f for f in tried if f is not None]
            best = max(ended, key=lambda f: f.evidence, default=None)
            if _met_again(best, ended):
                pool = []
        if _met_again(best, ended):
            break
    for _ in range(_AGAIN):
        if best is None or best.converged:
            break
        best = once(ridge.improve, best.y, best.group_sd, max_iter)
    if best is None or not best.converged:
        return best
    exact = once(ridge.improve, best.y, best.group_sd, max_iter, _EXACT, _STILL)
    return best if exact is None else replace(exact, converged=True)


def _stable_starts(
    ridge: Ridge, given: Sequence[Array], n: int, noise: Array, root: np.random.SeedSequence
) -> list[Array]:
    """Return n starts from which learning is stable: those given, the middle of the prior, draws.

    `root` moves on, so that another call draws others. Fewer where none are found.
    """
    middle = np.zeros(len(ridge.problem.model.layout.names))
    middle[: ridge.problem.model.layout.dim] = 0.5 * np.log(ridge.problem.scale)
    first = root.n_children_spawned == 0
    starts = [y for y in ([*given, middle] if first else []) if ridge.stable(y, noise)][:n]
    for _ in range(_TRIES * n):
        if len(starts) == n:
            break
        # half way to the middle: few starts far out learn stably
        drawn = ridge.unconstrained.drawn(np.random.default_rng(root.spawn(1)[0]))
        y = (drawn + middle) / 2
        if ridge.stable(y, noise):
            starts.append(y)
    return starts


def _met_again(best: OnRidge | None, ended: Sequence[OnRidge]) -> bool:
    """Return whether two searches came to the best."""
    if best is None:
        return False
    same = [
        abs(f.cost - best.cost) < _SAME and abs(f.evidence - best.evidence) < _SAME for f in ended
    ]
    return sum(same) > 1
