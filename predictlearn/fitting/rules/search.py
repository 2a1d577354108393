"""Search for the likeliest parameters of a hypothesis about learning, from several starts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from predictlearn.arrays import Array
from predictlearn.checks import positive, positive_int
from predictlearn.errors import InputError
from predictlearn.fitting.learning.parameters import draw_factor
from predictlearn.fitting.learning.sessions import Sessions, checked_sessions
from predictlearn.fitting.rules.columns import check_columns
from predictlearn.fitting.rules.hypothesis import Hypothesis, RuleModel
from predictlearn.theory.learning.span_many import check_plain

__all__ = ["STEP", "Maxima", "RuleProblem", "rule_problem"]

# Step of the differences that make slopes, in units of the size of a parameter: their error is a
# millionth of a slope's own change, and rounding stays below it.
STEP = 1e-6
# Damping of a step, in units in which a direction with a standard deviation of 1 has 1: tried at
# once, relative to that of the step before; and beyond which a search has ended.
_DAMPING, _STIFFEST = 10.0 ** np.arange(-3, 3), 1e12
# Gain of log likelihood of a step that counts as none: a seventh of an error, or so much of what
# a hypothesis that is far from the sessions leaves beyond their noise.
_NOTHING, _NOTHING_OF = 1e-2, 1e-3
# Part of a step after which its bend is taken, and how large that may be relative to the step: the
# second order says nothing beyond.
_PROBE, _BENT = 0.1, 0.75
# How often a rate that diverges is divided by e.
_SLOWER = 4
# Searches from around a maximum: how far the starts may lie at most in every direction, in units of
# the parameters' sizes; gain of log likelihood below which the maximum stays where it was, lest it
# wander along what is open; that for which it is done again, how often at most; and what is too low
# to be followed on.
_KICKS = np.repeat([1.0, 0.5], 5)
_HIGHER, _GAINED, _ROUNDS, _NEAR = 0.1, 0.5, 3, 6.0
# The same for a fit to a part of the sessions, and its steps from a maximum of all.
_BESIDE, _REFIT = np.array([1.0, 1.0, 0.5, 0.5]), 12
# A valley is followed until gains are so small, in units of what counts as none elsewhere.
_FINISH = 0.02
# Maxima of which intervals are made, at most.
_MOST_MAXIMA = 4
# Steps of every start to each part of the sessions, all of them last, before the best goes on.
_SCREENING, _STAGES = 8, (0.15, 0.3, 0.6, 1.0)


class _Local(NamedTuple):
    """Residuals, (n,), and slopes, (n, P), at a point, its normal matrix by axes, and the scale.

    The scale is zero for what is held.
    """

    values: Array
    axes: Array
    turned: Array
    scale: Array
    residuals: Array
    slopes: Array


@dataclass(frozen=True, eq=False)
class Maxima:
    """Maxima of a likelihood, the highest first, but for what rounding tells apart.

    Parameters
    ----------
    xs : numpy.ndarray, (k, P)
        Parameters.
    costs : numpy.ndarray, (k,)
        Half chi-square there.
    converged : bool
        Whether the search for the first ended by itself.
    """

    xs: Array
    costs: Array
    converged: bool

    def joined(self, xs: Array, costs: Array) -> Maxima:
        """Return these and others, which stand behind the first whatever rounding says."""
        every = np.concatenate([self.costs[1:], costs])
        order = np.argsort(every)
        return Maxima(
            np.vstack([self.xs[:1], np.vstack([self.xs[1:], xs])[order]]),
            np.concatenate([self.costs[:1], every[order]]),
            self.converged,
        )

    def within(self, fall: float, n_strengths: int) -> Maxima:
        """Return those that are different, and lower than the first by no more than a fall."""
        last = self.xs[:, self.xs.shape[1] - n_strengths :]
        kept: list[int] = []
        for k in range(len(self.xs)):
            if self.costs[k] > self.costs[0] + fall or len(kept) == _MOST_MAXIMA:
                break
            same = [
                abs(self.costs[k] - self.costs[j]) < 0.05
                and np.abs(last[k] - last[j]).max(initial=0.0) < 0.02
                for j in kept
            ]
            if not any(same):
                kept.append(int(k))
        return Maxima(self.xs[kept], self.costs[kept], self.converged)


@dataclass(frozen=True, eq=False)
class RuleProblem:
    """Whitened residuals of a hypothesis, and the search for its maximum of the likelihood.

    Parameters
    ----------
    model : RuleModel
        Predictions.
    n_starts : int
        Starts.
    max_iter : int
        Steps from the best.
    seed : int
        Seed of the starts.
    """

    model: RuleModel
    n_starts: int
    max_iter: int
    seed: int

    @property
    def data(self) -> Sessions:
        """The measurements."""
        return self.model.data

    @cached_property
    def _whiten(self) -> Array:
        """The matrix, (n, n), by which errors are of unit size and uncorrelated, turned over."""
        return np.ascontiguousarray(self.data.noise.whiten(np.eye(self.data.n), np.ones(2)).T)

    def residuals(self, xs: Array) -> Array:
        """Return whitened residuals, (k, n); infinite in sessions from which learning diverged."""
        data = self.data
        left = data.values - self.model.predictions(xs)
        wild = ~np.isfinite(left)
        left[wild] = 0.0
        left = left @ self._whiten
        for k in np.flatnonzero(wild.any(axis=1)):
            left[k, np.isin(data.session, data.session[wild[k]])] = np.inf
        return np.asarray(left)

    @cached_property
    def _entries(self) -> npt.NDArray[np.intp]:
        """Entries of L by row."""
        return np.arange(1, self.model.layout.dim + 1)

    def scales(self, x: Array) -> Array:
        """Return the natural size of every parameter: norms of loadings, and 1."""
        n = self.model.layout.n_overlaps
        norms = np.linalg.norm(self.model.layout.factor(x), axis=1)
        norms = np.maximum(norms, 0.03 * norms.max())
        # L has k + 1 entries in row k
        return np.concatenate([np.repeat(norms, self._entries), np.ones(len(x) - n)])

    def climb(
        self,
        xs: Array,
        rows: npt.NDArray[np.bool_],
        most: int,
        of: Callable[[Array], Array] | None = None,
        *,
        held: npt.NDArray[np.bool_] | None = None,
        finish: float = 1.0,
    ) -> tuple[Array, Array, npt.NDArray[np.bool_]]:
        """Return where several searches end, side by side, by half chi-square.

        Steps of Levenberg and Marquardt. All that one step of all searches needs is learned by
        networks at once: those that make the slopes, and those of several dampings.

        Parameters
        ----------
        xs : numpy.ndarray, (k, P)
            Where they begin.
        rows : numpy.ndarray of bool, (k, n)
            Which measurements count in each.
        most : int
            Steps.
        of : callable, optional
            Residuals, (points, n), of parameters, (points, P), if not `residuals`.
        held : numpy.ndarray of bool, (k, P), optional
            Parameters that stay as they are.
        finish : float, default 1.0
            How small a gain counts as none, in units of what does if not told otherwise.

        Returns
        -------
        xs : numpy.ndarray, (k, P)
            Ends.
        costs : numpy.ndarray, (k,)
            Half chi-square there; infinite where learning diverges.
        ended : numpy.ndarray of bool, (k,)
            Whether the search ended by itself.
        """
        of = of or self.residuals
        xs, n = np.array(xs), len(xs)
        costs, damping, idle = np.full(n, np.inf), np.ones(n), np.zeros(n, dtype=int)
        ended = np.zeros(n, dtype=bool)
        live = list(range(n))
        for _ in range(most):
            scales = [self.scales(xs[k]) for k in live]
            found = self.slopes(of, xs[live], np.array(scales))
            local: dict[int, _Local] = {}
            for k, scale, (here, slopes) in zip(live, scales, found, strict=True):
                here, slopes = here[rows[k]], slopes[rows[k]]
                if held is not None:
                    slopes[:, held[k]] = 0.0
                    scale[held[k]] = 0.0
                costs[k] = 0.5 * float(here @ here)
                if not np.isfinite(costs[k]) or not np.all(np.isfinite(slopes)):
                    continue
                gradient, normal = slopes.T @ here, slopes.T @ slopes
                # what would leave where it is allowed stays
                ahead = self.model.inside(xs[k] - 1e-3 * scale * np.sign(gradient))
                stuck = (ahead == xs[k]) & (gradient != 0)
                normal[stuck], normal[:, stuck], gradient[stuck] = 0.0, 0.0, 0.0
                values, axes = np.linalg.eigh(normal)
                local[k] = _Local(
                    np.maximum(values, 0.0), axes, axes.T @ gradient, scale, here, slopes
                )
            waiting = live = list(local)
            while waiting:
                waiting = self._tried(waiting, local, xs, costs, damping, idle, rows, of, finish)
                for k in [k for k in waiting if damping[k] > _STIFFEST]:
                    ended[k] = True
                    waiting.remove(k)
            ended[idle >= 2] = True
            live = [k for k in live if not ended[k]]
            if not live:
                break
        return xs, costs, ended

    def _tried(
        self,
        waiting: list[int],
        local: dict[int, _Local],
        xs: Array,
        costs: Array,
        damping: Array,
        idle: npt.NDArray[np.intp],
        rows: npt.NDArray[np.bool_],
        of: Callable[[Array], Array],
        finish: float,
    ) -> list[int]:
        """Try steps of several dampings; move those that gain, and return those that do not.

        Each also with the bend of the residuals along it, found from a point on the way: valleys of
        this likelihood are narrow and curved (Transtrum & Sethna 2012, arXiv:1201.5885).
        """
        n_tried = len(_DAMPING)
        steps, probes, ends = {}, [], []
        for k in waiting:
            here = local[k]
            over = here.values[:, None] + damping[k] * _DAMPING
            steps[k] = -(here.axes @ (here.turned[:, None] / over)).T
            probes.append(self.model.inside(xs[k] + _PROBE * here.scale * steps[k]))
        found = of(np.concatenate(probes)).reshape(len(waiting), n_tried, -1)
        for k, residuals in zip(waiting, found, strict=True):
            here, step = local[k], steps[k]
            over = here.values[:, None] + damping[k] * _DAMPING
            with np.errstate(invalid="ignore"):
                bend = (residuals[:, rows[k]] - here.residuals) / _PROBE - step @ here.slopes.T
                turned = here.axes.T @ (here.slopes.T @ (2 / _PROBE * bend).T)
            more = -0.5 * (here.axes @ (turned / over)).T
            small = np.linalg.norm(more, axis=1) <= _BENT * np.linalg.norm(step, axis=1)
            bent = np.where(small[:, None], step + more, 0.5 * step)
            ends.append(self.model.inside(xs[k] + here.scale * np.vstack([step, bent])))
        found = of(np.concatenate(ends)).reshape(len(waiting), 2 * n_tried, -1)
        left = []
        for k, points, residuals in zip(waiting, ends, found, strict=True):
            new = 0.5 * np.sum(residuals[:, rows[k]] ** 2, axis=1)
            best = int(np.argmin(new))
            if not new[best] < costs[k]:
                damping[k] *= 10.0 * _DAMPING[-1]
                left.append(k)
                continue
            little = max(_NOTHING, _NOTHING_OF * (costs[k] - 0.5 * np.sum(rows[k]))) * finish
            # once may be a step that was damped for the one before
            idle[k] = idle[k] + 1 if costs[k] - new[best] < little else 0
            xs[k], costs[k] = points[best], new[best]
            damping[k] = max(damping[k] * _DAMPING[best % n_tried], 1e-9)
        return left

    def slopes(
        self, of: Callable[[Array], Array], xs: Array, scales: Array
    ) -> list[tuple[Array, Array]]:
        """Return residuals, (n,), and their slopes in units of `scales`, (n, P), at every point."""
        size = xs.shape[1]
        moved = xs[:, None] + np.zeros((1, size + 1, 1))
        moved[:, 1:] += STEP * np.eye(size) * scales[:, None]
        found = of(moved.reshape(-1, size)).reshape(len(xs), size + 1, -1)
        with np.errstate(invalid="ignore"):
            return [(f[0], ((f[1:] - f[0]) / STEP).T) for f in found]

    def _first_residuals(self, xs: Array, scale: float) -> Array:
        """Return what the first session would leave, and a hold on the norms."""
        data, layout = self.data, self.model.layout
        seen = np.flatnonzero(data.session == 0)
        left = data.values[seen] - self.model.first_session(xs)[:, data.column[seen]]
        # the loss there is not known before anything is run
        left = np.nan_to_num(left) @ self._whiten[np.ix_(seen, seen)]
        norms = np.sum(layout.factor(xs) ** 2, axis=2)
        return np.hstack([left, np.log(np.maximum(norms, 1e-300) / scale**2)])

    def starts(self) -> Array:
        """Return starts, (k, P), that agree with the first session, the first one plain."""
        layout, data = self.model.layout, self.data
        seen = [
            v
            for k, c, v in zip(data.session, data.column, data.values, strict=True)
            if k == 0 and data.columns[c] in ("m.m", "m1.m1") and v > 0
        ]
        scale = float(np.sqrt(seen[0])) if seen else 1.0
        out = []
        for k, child in enumerate(np.random.SeedSequence(self.seed).spawn(self.n_starts)):
            rng = np.random.default_rng(child)
            lower = scale * np.eye(layout.dim) if k == 0 else draw_factor(layout.dim, scale, rng)
            spread = np.zeros(3) if k == 0 else rng.standard_normal(3)
            # nothing has a slope at products of vectors that are all zero
            lower = lower + 0.1 * scale * np.tril(rng.standard_normal(lower.shape))
            strengths = self.model.first(scale, spread)
            out.append(np.concatenate([lower[np.tril_indices(layout.dim)], strengths]))
        first = partial(self._first_residuals, scale=scale)
        every = np.ones((self.n_starts, first(np.array(out[:1])).shape[1]), dtype=bool)
        return self.climb(np.array(out), every, 15, first)[0]

    def search(self) -> Maxima:
        """Return the best maximum from several starts; InputError if all diverge."""
        xs = self._learning(self.starts())
        n = len(self.data.epochs)
        # early learning first, which is nearly linear in where it starts from
        for part in _STAGES:
            early = self._early(min(n, max(3, round(part * n))))
            xs, costs, ended = early.climb(xs, early.all_of(len(xs)), _SCREENING)
        best = int(np.argmin(costs))
        if not np.isfinite(costs[best]):
            raise InputError(
                f"no start gave finite learning by {self.model.hypothesis.rule!r}; check that its "
                "rate is one that the task allows, and that epochs counts updates."
            )
        if not ended[best]:
            return self.polished(xs[best : best + 1])
        return Maxima(xs[best : best + 1], costs[best : best + 1], True)

    def polished(self, xs: Array) -> Maxima:
        """Return where searches from good points end, the best first."""
        xs, costs, ended = self.climb(xs, self.all_of(len(xs)), self.max_iter)
        order = np.argsort(costs)
        return Maxima(xs[order], costs[order], bool(ended[order[0]]))

    def widened(self, maxima: Maxima) -> Maxima:
        """Return the maxima beside one, and a higher one if there is: by searches from around it.

        Overlaps of the start that no session shows make several, about as high. The searches begin
        away from the best by what is left open there: by up to twice its error, or its size.
        """
        finished = self._finished(maxima.xs)
        if finished.costs[0] < maxima.costs[0] - _HIGHER:
            maxima = finished
        for again in range(_ROUNDS):
            rng = np.random.default_rng([self.seed, again])
            x, before = maxima.xs[0], float(maxima.costs[0])
            xs = self._around(x, self.all_of(1)[0], _KICKS, rng)
            xs, costs, _ = self.climb(xs, self.all_of(len(xs)), _SCREENING)
            near = costs < before + _NEAR
            if near.any():
                found, higher, _ = self.climb(
                    xs[near], self.all_of(int(near.sum())), 2 * _SCREENING
                )
                if higher.min() < before - _HIGHER:
                    best = self._finished(found[[int(np.argmin(higher))]])
                    maxima = best.joined(maxima.xs, maxima.costs)
                maxima = maxima.joined(found, higher)
            if before - maxima.costs[0] < _GAINED:
                break
        return maxima

    def refitted(self, maxima: Maxima, rows: npt.NDArray[np.bool_], widely: bool) -> Array:
        """Return fits to parts of the measurements, (parts, P), likeliest by these alone.

        A search from where all sessions are fitted stays beside it, where those that are left out
        had their say, though the part has a higher maximum elsewhere: so it begins from all maxima,
        and, widely, away from where that ends too, by what the part leaves open.

        Parameters
        ----------
        maxima : Maxima
            Those of all sessions.
        rows : numpy.ndarray of bool, (parts, n)
            Which measurements are in each.
        widely : bool
            Whether to search from around, too.
        """
        first = maxima.within(_NEAR, len(self.model.strengths)).xs if widely else maxima.xs[:1]
        n, parts = len(first), len(rows)
        xs, costs, _ = self.climb(np.tile(first, (parts, 1)), np.repeat(rows, n, axis=0), _REFIT)
        best = np.argmin(costs.reshape(parts, n), axis=1) + n * np.arange(parts)
        xs, costs = xs[best], costs[best]
        if not widely:
            return xs
        rngs = [np.random.default_rng([self.seed, parts, part]) for part in range(parts)]
        beside = [self._around(*one) for one in zip(xs, rows, [_BESIDE] * parts, rngs, strict=True)]
        of = np.repeat(np.arange(parts), len(_BESIDE))
        others, heights, _ = self.climb(np.concatenate(beside), rows[of], _SCREENING)
        near = heights < costs[of] + _NEAR
        if near.any():
            of = of[near]
            others, heights, _ = self.climb(others[near], rows[of], 2 * _SCREENING)
            for part, x, height in zip(of, others, heights, strict=True):
                if height < costs[part] - _HIGHER:
                    xs[part], costs[part] = x, height
        return xs

    def _around(
        self, x: Array, rows: npt.NDArray[np.bool_], kicks: Array, rng: np.random.Generator
    ) -> Array:
        """Return points beside one, (kicks, P), as far as what some measurements say allows."""
        scale = self.scales(x)
        _, slopes = self.slopes(self.residuals, x[None], scale[None])[0]
        slopes = slopes[rows]
        values, axes = np.linalg.eigh(slopes.T @ slopes)
        reach = np.minimum(2.0 / np.sqrt(np.maximum(values, 1e-12)), kicks[:, None])
        return self.model.inside(x + scale * (reach * rng.standard_normal(reach.shape) @ axes.T))

    def _finished(self, xs: Array) -> Maxima:
        """Return the maximum that a search to the end of a valley finds from the best of points."""
        xs, costs, ended = self.climb(xs[:1], self.all_of(1), self.max_iter, finish=_FINISH)
        return Maxima(xs, costs, bool(ended[0]))

    def _early(self, count: int) -> RuleProblem:
        """Return the problem of the first sessions alone: what comes later is not learned."""
        if count == len(self.data.epochs):
            return self
        return replace(self, model=self.model.first_sessions(count))

    def all_of(self, n_searches: int) -> npt.NDArray[np.bool_]:
        """Return that all measurements count, as `climb` takes it."""
        return np.ones((n_searches, self.data.n), dtype=bool)

    def _learning(self, starts: Array) -> Array:
        """Return starts with rates, where fitted, so low that learning does not diverge."""
        if "rate" not in self.model.strengths:
            return starts
        k = self.model.layout.n_overlaps + self.model.strengths.index("rate")
        for _ in range(_SLOWER):
            wild = ~np.all(np.isfinite(self.residuals(starts)), axis=1)
            if not wild.any():
                break
            starts[wild, k] -= 1.0
        return starts


def rule_problem(
    sessions: Any,
    tasks: Any,
    epochs: Any,
    hypothesis: Any,
    errors: Any,
    *,
    rank: int | None,
    tau: float,
    n_starts: int,
    max_iter: int,
    seed: int,
) -> RuleProblem:
    """Return the problem of a fit, all arguments checked; see `fit_rule`."""
    if not isinstance(hypothesis, Hypothesis):
        raise InputError(
            "a hypothesis must be a pl.Hypothesis(rule, learns=...); "
            f"got {type(hypothesis).__name__}."
        )
    if errors is None:
        raise InputError(
            "errors must be given: hypotheses are judged by whether what they leave is as large as "
            "the errors. pl.measured_rule_columns returns those of recordings."
        )
    data = checked_sessions(sessions, tasks, epochs, errors, rank, check_columns)
    check_plain(hypothesis.rule, data.tasks)
    model = RuleModel(data, hypothesis, positive("tau", tau))
    return RuleProblem(
        model,
        positive_int("n_starts", n_starts),
        positive_int("max_iter", max_iter),
        positive_int("seed", seed, minimum=0),
    )
