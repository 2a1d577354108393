"""The posterior of a fit along its ridge line: the bent line on which the likelihood falls least.

What a network shows fixes some combinations of its overlaps a thousand times better than others.
About the worst of them, often the scale of u against that of v, the likelihood is no parabola: its
top goes on along a line that bends by many of the small standard deviations within one of the
largest. So the line is traced from the maximum to both sides, in the coordinates of
`unconstrained`; across it the posterior is normal. With A the information at a point, t the
line's direction and E the directions across,

    p(s) ds = exp(log density at the top of the cross-section) / sqrt(det(E' A E)) ds

is what the line holds, and draws are a point of it with a normal draw across.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar

import numpy as np
import pandas as pd
from scipy import interpolate, stats

from predictlearn.arrays import Array
from predictlearn.fitting.learning.posterior.delta_method import (
    ByCurvature,
    around,
    drawn_table,
    narrower,
)
from predictlearn.fitting.learning.posterior.unconstrained import Unconstrained
from predictlearn.fitting.learning.recordings.likelihood import RawProblem
from predictlearn.kept import once

__all__ = ["AlongRidgeLine", "RidgeLine"]

# A step along the line, in standard deviations there; how often it may be halved.
_STEP, _HALVINGS = 0.6, 5
# Change of the log density a step that is short enough, where there is more than e^-this.
_CHANGE, _TAIL = 1.0, 3.5
# Steps to the top of a cross-section, and what the next would gain in log density that ends them.
_STEPS, _THERE = 15, 0.02
# The line ends where it holds e^-this of what it does at most, or after so many points a side.
_END, _MOST = 6.0, 40
# Points of the line that draws are taken from.
_FINE = 2000
# Draws whose density is looked at, and the share of a posterior that lies lower than what tells
# that they are off it.
_LOOKED, _LOW = 30, 1e-4
# Draws behind the intervals, which cost next to nothing once the ridge line is known.
_DRAWS = 4000


@dataclass(frozen=True, eq=False)
class _Node:
    """A point of the ridge line.

    Parameters
    ----------
    at : numpy.ndarray, (P,)
        Where, in unconstrained coordinates in units of the prior.
    height : float
        Log density.
    along : numpy.ndarray, (P,)
        Direction of the line.
    root : numpy.ndarray, (P, P - 1)
        R, with R R' the covariance across it.
    weakest : float
        Standard deviation along the line, by the information.
    """

    at: Array
    height: float
    along: Array
    root: Array
    weakest: float

    @property
    def held(self) -> float:
        """Log of the density times the size of the cross-section."""
        return self.height + 0.5 * float(np.linalg.slogdet(self.root.T @ self.root)[1])


@dataclass(eq=False)
class RidgeLine:
    """The ridge line through a maximum of the likelihood of recordings.

    Parameters
    ----------
    problem : RawProblem
        The likelihood, noise and expansion settled.
    x : numpy.ndarray, (P,)
        The maximum.

    Attributes
    ----------
    cut : bool
        Whether the line was lost where there is mass still, so that draws do not go far enough.
        Known once it is traced.
    """

    problem: RawProblem
    x: Array
    cut: bool = field(default=False, init=False)
    _nodes: list[_Node] = field(default_factory=list, repr=False)

    def __post_init__(self) -> None:
        self._unconstrained = Unconstrained(self.problem.model.layout, self.problem.scale)
        y = self._unconstrained.of(self.x)
        self._unit = self._unconstrained.prior(y)[1]

    def _parameters(self, at: Array) -> Array:
        """Return x."""
        return self._unconstrained.x(at / self._unit)

    def _seen(self, at: Array) -> tuple[float, Array, Array] | None:
        """Return log density, its slopes and the information; None where learning diverges."""
        y = at / self._unit
        x = self._unconstrained.x(y)
        found = self.problem.evaluate(x)
        if found is None:
            return None
        moves = self._unconstrained.slopes(y) / self._unit
        left, rise = self._unconstrained.prior(y)
        rise = rise / self._unit
        known = moves.T @ self.problem.information(x) @ moves + np.diag(rise**2)
        return (
            found[0] - 0.5 * float(left @ left),
            moves.T @ found[1] - rise * left,
            known,
        )

    def _top(self, at: Array, along: Array) -> _Node | None:
        """Return the top of the cross-section through a point; None if it is not reached."""
        across = np.linalg.svd(along[None])[2][1:].T
        here = self._seen(at)
        for _ in range(_STEPS):
            if here is None:
                return None
            height, slope, known = here
            inner = across.T @ known @ across
            step = np.linalg.solve(inner, across.T @ slope)
            if 0.5 * float(step @ inner @ step) < _THERE:
                return self._node(at, height, known, along, across)
            for share in (1.0, 0.5, 0.25, 0.1, 0.03):
                there = self._seen(at + share * across @ step)
                if there is not None and there[0] > height:
                    at = at + share * across @ step
                    break
            else:
                return None
            here = there
        return None

    def _node(self, at: Array, height: float, known: Array, along: Array, across: Array) -> _Node:
        """Return a point of the ridge line, where it goes on nearly as it came."""
        inner = np.linalg.inv(across.T @ known @ across)
        onward = np.asarray(np.linalg.solve(known, along), dtype=float)
        size = float(np.sqrt(along @ onward))
        onward /= np.linalg.norm(onward)
        return _Node(at, height, onward, across @ np.linalg.cholesky(inner), size)

    def nodes(self) -> list[_Node]:
        """Return the points of the ridge line from end to end; traced when first asked for.

        Raises
        ------
        FloatingPointError
            If learning diverges at the maximum.
        """
        if not self._nodes:
            self._nodes, self.cut = once(self._traced)
        return self._nodes

    def _traced(self) -> tuple[list[_Node], bool]:
        """Return the points of the ridge line, and whether it was lost where there is mass."""
        at = self._unconstrained.of(self.x) * self._unit
        here = self._seen(at)
        if here is None:
            raise FloatingPointError("learning diverges at the fit")
        height, _, known = here
        vectors = np.asarray(np.linalg.eigh(known)[1])
        along = vectors[:, 0]
        first = self._node(at, height, known, along, vectors[:, 1:])
        back, lost_back = self._walked(first, -1.0)
        onward, lost = self._walked(first, 1.0)
        return [*back[::-1], first, *onward], lost_back or lost

    def highest(self) -> Array:
        """Return the parameters x of the highest point."""
        return self._parameters(max(self.nodes(), key=lambda node: node.height).at)

    def _walked(self, first: _Node, side: float) -> tuple[list[_Node], bool]:
        """Return the points to one side, and whether the line was lost there."""
        out: list[_Node] = []
        node, most, cut = first, first.held, False
        along = side * first.along
        for _ in range(_MOST):
            step, reached = _STEP * node.weakest, None
            for _ in range(_HALVINGS):
                further = self._top(node.at + step * along, along)
                # a top that lies further off than the step is that of another ridge line
                if further is not None and np.linalg.norm(further.at - node.at) < 2 * step:
                    reached = further
                    # where there is mass steps are as short as the density asks for
                    if further.held < most - _TAIL or abs(further.held - node.held) < _CHANGE:
                        break
                step /= 2
            if reached is None:
                # where learning diverges the posterior ends; else the line was lost
                lost = self._seen(node.at + 2 * step * along) is not None
                cut = lost and node.held > most - _TAIL
                break
            node = reached
            along = node.along
            out.append(node)
            most = max(most, node.held)
            if node.held < most - _END:
                break
        return out, cut

    def draws(self, n: int, rng: np.random.Generator) -> Array:
        """Draw from the posterior.

        Parameters
        ----------
        n : int
            Draws.
        rng : numpy.random.Generator
            Source of randomness.

        Returns
        -------
        numpy.ndarray, (n, P)
            Parameters x.
        """
        nodes = self.nodes()
        at = np.array([node.at for node in nodes])
        if len(nodes) == 1:
            # nowhere to go from the maximum: what the information says must do
            along = nodes[0].weakest * rng.standard_normal((n, 1)) * nodes[0].along
            points, nearest = at + along, np.zeros(n, dtype=int)
        else:
            length = np.append(0.0, np.cumsum(np.linalg.norm(np.diff(at, axis=0), axis=1)))
            held = interpolate.PchipInterpolator(length, [node.held for node in nodes])
            fine = np.linspace(0, length[-1], _FINE)
            mass = np.exp(held(fine) - held(fine).max())
            where = rng.choice(fine, n, p=mass / mass.sum())
            points = interpolate.PchipInterpolator(length, at)(where)
            nearest = np.abs(where[:, None] - length).argmin(axis=1)
        across = rng.standard_normal((n, at.shape[1] - 1))
        for k, node in enumerate(nearest):
            points[k] += nodes[node].root @ across[k]
        return np.array([self._parameters(p) for p in points])

    @cached_property
    def followed(self) -> bool:
        """Whether draws are of the posterior.

        Not where the line was lost, nor where most draws lie lower than next to all of a normal
        posterior would.
        """
        top = max(node.height for node in self.nodes())
        if self.cut:
            return False
        xs = self.draws(_LOOKED, np.random.default_rng(0))
        falls = np.array([top - self._density(x) for x in xs])
        return bool(np.median(falls) < 0.5 * stats.chi2.isf(_LOW, len(self.x)))

    def _density(self, x: Array) -> float:
        """Return the log density at x; minus infinity where learning diverges."""
        left = self._unconstrained.prior(self._unconstrained.of(x))[0]
        return self.problem.value(x, np.ones(2)) - 0.5 * float(left @ left)


@dataclass(frozen=True, eq=False)
class AlongRidgeLine:
    """Draws along a ridge line where it could be followed, the curvature elsewhere; see `Density`.

    Parameters
    ----------
    ridge_line : RidgeLine
        The ridge line through the estimate.
    curvature : ByCurvature
        What the curvature at the estimate says.
    profiled : callable
        The profile interval of parameter k at a level.
    """

    ridge_line: RidgeLine
    curvature: ByCurvature
    profiled: Callable[[int, float], tuple[float, float]]
    has_maximum: ClassVar[bool] = True

    @property
    def point(self) -> Array:
        """The estimate."""
        return self.curvature.point

    def draws(self, n: int, seed: int) -> Array:
        """Return n draws of the natural parameters, (n, P)."""
        if not self.ridge_line.followed:
            return self.curvature.draws(n, seed)
        return self._drawn(n, seed)

    def _drawn(self, n: int, seed: int) -> Array:
        """Return draws along the ridge line."""
        xs = self.ridge_line.draws(n, np.random.default_rng(seed))
        return np.array([self.curvature.layout.natural(x) for x in xs])

    def intervals(self, level: float) -> pd.DataFrame:
        """Return low, high, estimate and sd; from the profile where draws cannot be right.

        Draws that lie off the posterior, or that the curvature at the maximum contradicts, say
        nothing of it.
        """
        layout, found = self.curvature.layout, self.curvature.found
        rows = self._drawn(_DRAWS, self.curvature.seed)
        table = drawn_table(layout.natural(self.ridge_line.x), rows, layout, level)
        doubted = narrower(rows, found, layout) if self.ridge_line.followed else list(layout.names)
        normal = self.curvature.intervals(level)

        def again(name: str) -> tuple[float, float, float]:
            k = layout.names.index(name)
            low, high, _, sd = normal.loc[name]
            if found.identifiable[k]:
                low, high = self.profiled(k, level)
            return low, high, sd

        table, anew = around(table, doubted, again)
        if anew:
            warnings.warn(
                "the posterior could not be followed from the estimate to where it ends: "
                f"intervals_ of {', '.join(anew)} are profiles of the likelihood, and forecasts "
                "draw from the curvature at the estimate where it was lost",
                UserWarning,
                stacklevel=4,
            )
        return table
