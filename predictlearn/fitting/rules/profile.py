"""Intervals of rate and feedback by the profile of the likelihood, over all of its maxima.

Curvature at one maximum says too little here: the overlaps at the start that no session shows bend
the likelihood, so that the rate is held far tighter where they are than a little beside it, and
there are often several maxima, about as high. What is within the interval of a parameter is what
some start makes about as likely as the best: the profile (Venzon & Moolgavkar 1988, Appl. Stat. 37,
87), followed from every maximum.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy import stats

from predictlearn.arrays import Array
from predictlearn.fitting.rules.search import Maxima, RuleProblem

__all__ = ["profiled"]

# How far from its estimate a strength is followed: where it would be open by its curvature too.
_FARTHEST = 1.96
# Points of a profile at most, and steps of the search to each.
_POINTS, _STEPS = 8, 10
# How closely an end is found, relative to its distance; and a maximum that counts as a higher one.
_CLOSE, _HIGHER = 0.03, 0.1
# Gain that counts as none there, in units of what does in a search: the fall is 1.9 at 95%.
_ROUGH = 3.0
# How often intervals are found anew because a higher maximum was met on the way.
_AGAIN = 2


class _Point(NamedTuple):
    """A point of a profile: how far along, root of the cost, and the parameters there."""

    far: float
    root: float
    x: Array


@dataclass(eq=False)
class _Path:
    """One strength followed from a maximum to one side, until the likelihood has fallen enough."""

    k: int
    side: float
    bound: float
    along: Array
    cost: float
    aim: float
    inner: _Point
    guess: float
    outer: _Point | None = None
    end: float | None = None

    def trial(self) -> tuple[float, Array]:
        """Return how far to try next, and parameters to search from, the strength set."""
        inner, outer = self.inner, self.outer
        if outer is None:
            far = self.guess
            if inner.far > 0:
                rise = self.aim / max(inner.root, 1e-3 * self.aim)
                far = inner.far * float(np.clip(1.05 * rise, 1.2, 3.0))
            far = min(far, self.bound)
            near = inner
        else:
            share = (self.aim - inner.root) / (outer.root - inner.root)
            far = inner.far + float(np.clip(share, 0.1, 0.9)) * (outer.far - inner.far)
            near = inner if share < 0.5 else outer
        x = near.x + (far - near.far) * self.side * self.along
        x[self.k] = self.inner.x[self.k] + (far - inner.far) * self.side
        return far, x

    def take(self, far: float, x: Array, cost: float) -> None:
        """Note what the search found there."""
        finite = np.isfinite(cost)
        root = float(np.sqrt(max(cost - self.cost, 0.0))) if finite else 4 * self.aim
        point = _Point(far, root, x if finite else self.inner.x)
        if abs(root - self.aim) < _CLOSE * self.aim:
            self.end = far * self.aim / root
        elif root < self.aim:
            self.inner = point
            if far >= self.bound:
                self.end = np.inf
        else:
            self.outer = point if finite else point._replace(far=far)

    def between(self) -> float:
        """Return the end as far as it is known."""
        if self.end is not None:
            return self.end
        if self.outer is None:
            return np.inf
        share = (self.aim - self.inner.root) / (self.outer.root - self.inner.root)
        return self.inner.far + share * (self.outer.far - self.inner.far)


def profiled(problem: RuleProblem, maxima: Maxima, level: float) -> tuple[Array, Maxima]:
    """Return the ends of the intervals of rate and feedback, and the maxima.

    Parameters
    ----------
    problem : RuleProblem
        What was fitted.
    maxima : Maxima
        Where its likelihood is highest.
    level : float
        Level of the intervals.

    Returns
    -------
    ends : numpy.ndarray, (strengths, 2)
        As they stand in x; infinite where the strength was followed as far as makes sense and is
        about as likely still.
    maxima : Maxima
        With those that were met on the way, the best first.
    """
    fall = float(stats.chi2.ppf(level, 1)) / 2
    n, strengths = problem.model.layout.n_overlaps, problem.model.strengths
    ends = np.empty((len(strengths), 2))
    for _ in range(1 + _AGAIN):
        maxima = maxima.within(fall, len(strengths))
        paths = [p for i in range(len(maxima.xs)) for p in _paths(problem, maxima, i, fall)]
        higher = _follow(problem, paths, maxima.costs[0] - _HIGHER)
        ends[:] = maxima.xs[0][n:, None]
        for path in paths:
            far, start = path.between(), path.inner.x[path.k] - path.side * path.inner.far
            at = start + path.side * far
            if strengths[path.k - n] == "private" and path.side < 0:
                at = max(at, 0.0)
            row = ends[path.k - n]
            side = 0 if path.side < 0 else 1
            row[side] = min(row[side], at) if side == 0 else max(row[side], at)
        if higher is None:
            break
        maxima = problem.polished(higher[None]).joined(maxima.xs, maxima.costs)
    return ends, maxima


def _paths(problem: RuleProblem, maxima: Maxima, i: int, fall: float) -> list[_Path]:
    """Return the ways from a maximum to both sides of every strength."""
    x, cost, n = maxima.xs[i], float(maxima.costs[i]), problem.model.layout.n_overlaps
    aim = float(np.sqrt(max(maxima.costs[0] + fall - cost, 1e-2 * fall)))
    scale = problem.scales(x)
    _, slopes = problem.slopes(problem.residuals, x[None], scale[None])[0]
    values, axes = np.linalg.eigh(slopes.T @ slopes)
    # as if every direction were known to about its size: what is open is not run along
    covariance = (axes / np.maximum(values, 1.0)) @ axes.T
    paths = []
    for k in range(n, len(x)):
        along = scale * covariance[:, k] / covariance[k, k]
        for side in (-1.0, 1.0):
            bound = _FARTHEST
            if problem.model.strengths[k - n] == "private" and side < 0:
                bound = float(x[k])
            if bound <= 0:
                continue
            guess = float(np.sqrt(2 * covariance[k, k])) * aim
            paths.append(
                _Path(k, side, bound, along, cost, aim, _Point(0.0, 0.0, x), min(guess, bound))
            )
    return paths


def _follow(problem: RuleProblem, paths: list[_Path], highest: float) -> Array | None:
    """Follow all ways side by side; return parameters of a higher maximum, if one was met."""
    best, found = highest, None
    for _ in range(_POINTS):
        live = [p for p in paths if p.end is None]
        if not live:
            break
        trials = [p.trial() for p in live]
        xs = problem.model.inside(np.array([x for _, x in trials]))
        held = np.zeros(xs.shape, dtype=bool)
        held[np.arange(len(live)), [p.k for p in live]] = True
        every = problem.all_of(len(live))
        ends, costs, _ = problem.climb(xs, every, _STEPS, held=held, finish=_ROUGH)
        for path, (far, _), x, cost in zip(live, trials, ends, costs, strict=True):
            path.take(far, x, float(cost))
            if cost < best:
                best, found = float(cost), x
    return found
