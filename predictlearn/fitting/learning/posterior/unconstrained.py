"""Coordinates in which a weak prior is a unit normal, for fits that leave several directions open.

Start and rates as (log norms of the loading vectors, Fisher-transformed partial correlations, log
rates): every value belongs to a network, and what learning cannot tell apart, such as slow learning
through large loadings from fast learning through small ones, is nearly a straight line. The prior
is that of `sample()`: norms log-normal, correlations uniform over all correlation matrices, log
rates normal. It is a sum of squares here too.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from predictlearn.arrays import Array
from predictlearn.fitting.learning.parameters import NORM_SD, RATE_SD, ParameterLayout

__all__ = ["Unconstrained"]

# Partial correlations are cut off here, before their transform is infinite.
_EDGE = 1 - 1e-9


@dataclass(frozen=True)
class Unconstrained:
    """The coordinates y = (log norms, transformed partial correlations, log rates).

    Parameters
    ----------
    layout : ParameterLayout
        The parameters x that they stand for.
    scale : float
        Median squared norm in the prior.

    Examples
    --------
    >>> import predictlearn as pl
    >>> layout = ParameterLayout((1, 1, 1), pl.GradientDescent(5e-3), "fit")
    >>> unconstrained = Unconstrained(layout, 1.0)
    >>> y = np.linspace(-1, 1, 11)
    >>> bool(np.allclose(unconstrained.of(unconstrained.x(y)), y))
    True
    """

    layout: ParameterLayout
    scale: float

    @property
    def _below(self) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
        """Rows and columns of the partial correlations."""
        rows, columns = np.tril_indices(self.layout.dim, -1)
        return rows, columns

    @property
    def _powers(self) -> Array:
        """Return b of every partial correlation r, whose prior is (1 - r^2)^(b - 1)."""
        return np.asarray(1 + (self.layout.dim - 2 - self._below[1]) / 2)

    def _rows(self, y: Array) -> tuple[Array, Array, Array]:
        """Return partial correlations, what each column leaves of its row, and L."""
        dim = self.layout.dim
        transformed = np.zeros((dim, dim))
        transformed[self._below] = y[dim : self.layout.n_overlaps]
        partial = np.tanh(transformed)
        left = np.ones((dim, dim))
        left[:, 1:] = np.cumprod(1 / np.cosh(transformed[:, :-1]), axis=1)
        unit = np.tril(partial * left)
        np.fill_diagonal(unit, np.diag(left))
        return partial, left, np.exp(y[:dim])[:, None] * unit

    def x(self, y: Array) -> Array:
        """Return the parameters x."""
        lower = self._rows(y)[2]
        return np.concatenate([lower[np.tril_indices(len(lower))], y[self.layout.n_overlaps :]])

    def slopes(self, y: Array) -> Array:
        """Return the derivative of x in y, (P, P)."""
        dim, n = self.layout.dim, self.layout.n_overlaps
        partial, left, lower = self._rows(y)
        out = np.eye(len(y))
        rows, columns = np.tril_indices(dim)
        entries = lower[rows, columns]
        out[:n, :dim] = (rows[:, None] == np.arange(dim)) * entries[:, None]
        norms = np.exp(y[:dim])
        for k, (i, j) in enumerate(zip(*self._below, strict=True)):
            later = (rows == i) & (columns > j)
            out[:n, dim + k] = -partial[i, j] * later * entries
            here = (rows == i) & (columns == j)
            out[:n, dim + k] += here * norms[i] * left[i, j] * (1 - partial[i, j] ** 2)
        return out

    def of(self, x: Array) -> Array:
        """Return the coordinates of parameters."""
        lower = self.layout.factor(x)
        # of all L with this L L' the one whose diagonal is positive: a search may end at another
        lower = lower * np.where(np.diag(lower) < 0, -1.0, 1.0)
        norms = np.sqrt(np.sum(lower**2, axis=1))
        squares = (lower / norms[:, None]) ** 2
        left = np.sqrt(np.maximum(1 - np.cumsum(squares, axis=1) + squares, 1e-300))
        partial = np.clip(lower / norms[:, None] / left, -_EDGE, _EDGE)[self._below]
        return np.concatenate([np.log(norms), np.arctanh(partial), x[self.layout.n_overlaps :]])

    def mirrored(self, y: Array, signs: Array) -> Array:
        """Return y with loading vectors multiplied by signs, (D,)."""
        rows, columns = self._below
        out = y.copy()
        out[self.layout.dim : self.layout.n_overlaps] *= signs[rows] * signs[columns]
        return out

    def prior(self, y: Array) -> tuple[Array, Array]:
        """Return residuals whose half sum of squares is minus the log prior, and their slopes.

        The slopes are those of each residual in its own coordinate.
        """
        dim, n = self.layout.dim, self.layout.n_overlaps
        transformed, powers = y[dim:n], self._powers
        # minus the log density of y is 2 b log cosh y
        height = 4 * powers * (np.logaddexp(transformed, -transformed) - np.log(2))
        small = np.abs(transformed) < 1e-3
        root = np.sign(transformed) * np.sqrt(np.where(small, 1.0, height))
        steep = np.sqrt(2 * powers)
        root = np.where(small, steep * transformed * (1 - transformed**2 / 12), root)
        slope = 2 * powers * np.tanh(transformed) / np.where(small, 1.0, root)
        rise = np.where(small, steep * (1 - transformed**2 / 4), slope)
        norms = (y[:dim] - 0.5 * np.log(self.scale)) / NORM_SD
        rates = y[n:] / RATE_SD
        return (
            np.concatenate([norms, root, rates]),
            np.concatenate([np.full(dim, 1 / NORM_SD), rise, np.full(len(rates), 1 / RATE_SD)]),
        )

    def drawn(self, rng: np.random.Generator) -> Array:
        """Draw from the prior."""
        n_rates = len(self.layout.rate_names)
        norms = 0.5 * np.log(self.scale) + NORM_SD * rng.standard_normal(self.layout.dim)
        partial = 2 * rng.beta(self._powers, self._powers) - 1
        rates = RATE_SD * rng.standard_normal(n_rates)
        return np.concatenate([norms, np.arctanh(np.clip(partial, -_EDGE, _EDGE)), rates])
