"""Parameters of a learning fit: overlaps that some network has, and learning rates.

The overlaps at the start are S = L L' with L lower triangular, so every value of the parameters is
realisable, and the edge of what is realisable is reached smoothly. Rates enter by their logarithm.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

import numpy as np
import numpy.typing as npt

from predictlearn.arrays import Array
from predictlearn.theory.learning.rules import GradientDescent
from predictlearn.theory.names import PATHWAYS
from predictlearn.theory.sizes import Sizes

__all__ = ["NORM_SD", "RATE_SD", "ParameterLayout", "draw_factor", "log_prior"]

NORM_SD = 0.7
"""Standard deviation of the log norm of a loading vector in the prior."""
RATE_SD = 2.0
"""Standard deviation of a log rate about that of the rule in the prior."""


@lru_cache(maxsize=32)
def _lower(dim: int) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Return rows and columns of a lower triangle: a search asks for them thousands of times."""
    return np.tril_indices(dim)


@dataclass(frozen=True)
class ParameterLayout:
    """Where everything stands: x = (entries of L, log rates); natural = (overlaps, log rates).

    Parameters
    ----------
    sizes : tuple of int
        (n_in, rank, n_out).
    rule : GradientDescent
        The rule, with its rates at the start of the fit.
    rate : {"fit", "known", "pathways"}
        Which rates are parameters: one factor, none, or one a pathway that learns.
    gain : float, optional
        Where the gain of recordings is a parameter, the last one, its value at the start of the
        fit: a rate by name, since it enters by its logarithm like one.
    """

    sizes: tuple[int, int, int]
    rule: GradientDescent
    rate: str
    gain: float | None = None

    @cached_property
    def dim(self) -> int:
        """D = n_in + 2 rank + n_out."""
        return Sizes(*self.sizes).dim

    @property
    def overlap_names(self) -> tuple[str, ...]:
        """Names of the overlaps, in table order."""
        return Sizes(*self.sizes).names

    @property
    def n_overlaps(self) -> int:
        """D (D + 1) / 2."""
        return self.dim * (self.dim + 1) // 2

    @property
    def pathways(self) -> tuple[str, ...]:
        """Pathways that have a rate of their own among the parameters."""
        if self.rate != "pathways":
            return ()
        relative = self.rule.pathway_rates or {}
        return tuple(p for p in PATHWAYS if relative.get(p, 1.0) > 0)

    @property
    def rate_names(self) -> tuple[str, ...]:
        """Names of the rates that are parameters, the gain last."""
        rates = ("rate",) if self.rate == "fit" else tuple(f"rate:{p}" for p in self.pathways)
        return rates if self.gain is None else (*rates, "gain")

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the natural parameters."""
        return self.overlap_names + self.rate_names

    @property
    def pairs(self) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
        """Rows and columns of the overlaps in S, in table order."""
        rows, columns = zip(*Sizes(*self.sizes).pairs.values(), strict=True)
        return np.array(rows), np.array(columns)

    # -- from parameters to what they mean ----------------------------------------------------

    def factor(self, x: Array) -> Array:
        """Return L, (..., D, D), of parameters, (..., P)."""
        lower = np.zeros((*x.shape[:-1], self.dim, self.dim))
        rows, columns = _lower(self.dim)
        lower[..., rows, columns] = x[..., : self.n_overlaps]
        return lower

    def matrix(self, x: Array) -> Array:
        """Return S = L L'."""
        lower = self.factor(x)
        return lower @ lower.T

    def slopes(self, x: Array) -> Array:
        """Return the derivative of the natural parameters in x, (P, P)."""
        lower = self.factor(x)
        out = np.eye(len(x))
        rows, columns = self.pairs
        for k, (i, j) in enumerate(zip(*_lower(self.dim), strict=True)):
            # dS = e_i L_j' + L_j e_i', with L_j the j-th column of L
            out[: self.n_overlaps, k] = (rows == i) * lower[columns, j] + (columns == i) * lower[
                rows, j
            ]
        return out

    def natural(self, x: Array) -> Array:
        """Return (overlaps, log rates)."""
        return np.concatenate([self.vector(self.matrix(x)), x[self.n_overlaps :]])

    def vector(self, matrix: Array) -> Array:
        """Return the overlaps of S in table order."""
        return matrix[self.pairs]

    def full(self, vector: Array) -> Array:
        """Return the symmetric matrix with the given overlaps (the first D (D + 1) / 2 entries)."""
        matrix = np.zeros((self.dim, self.dim))
        rows, columns = self.pairs
        matrix[rows, columns] = matrix[columns, rows] = vector[: self.n_overlaps]
        return matrix

    def pack(self, matrix: Array, log_rates: Array | None = None) -> Array:
        """Return x for a positive semidefinite S, moved into the interior by rounding if needed."""
        if log_rates is None:
            log_rates = np.zeros(len(self.rate_names))
        values, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
        floor = 1e-10 * max(float(values[-1]), 1e-300)
        root = vectors * np.sqrt(np.clip(values, floor, None))
        lower = np.asarray(np.linalg.qr(root.T, mode="r")).T
        lower = lower * np.where(np.diag(lower) < 0, -1.0, 1.0)
        return np.concatenate([lower[_lower(self.dim)], log_rates])

    def rule_at(self, log_rates: Array) -> GradientDescent:
        """Return the rule with its rates multiplied by exp(log_rates)."""
        if self.rate == "fit":
            return replace(self.rule, rate=float(self.rule.rate * np.exp(log_rates[0])))
        if self.rate == "pathways":
            relative = dict(self.rule.pathway_rates or {})
            own = log_rates[: len(self.pathways)]
            for pathway, log_rate in zip(self.pathways, own, strict=True):
                relative[pathway] = float(relative.get(pathway, 1.0) * np.exp(log_rate))
            return replace(self.rule, pathway_rates=relative)
        return self.rule

    def rates(self, log_rates: Array) -> Array:
        """Return the rates that are parameters, the gain last."""
        relative: Mapping[str, float] = self.rule.pathway_rates or {}
        first = [self.rule.rate * relative.get(p, 1.0) for p in self.pathways]
        if self.rate == "fit":
            first = [self.rule.rate]
        if self.gain is not None:
            first.append(self.gain)
        return np.asarray(np.array(first) * np.exp(log_rates))

    def scales(self, matrix: Array) -> Array:
        """Return the natural size of every natural parameter: sqrt(S_ii S_jj), and 1 for log rates.

        A norm far below the others counts as a thousandth of the mean, so that no scale is zero.
        """
        norms = np.diag(matrix)
        norms = np.sqrt(np.maximum(norms, 1e-3 * norms.mean()))
        rows, columns = self.pairs
        return np.concatenate([norms[rows] * norms[columns], np.ones(len(self.rate_names))])


def draw_factor(dim: int, scale: float, rng: np.random.Generator) -> Array:
    """Draw L from the prior: S = L L' with correlations uniform over all correlation matrices.

    The norms of the loading vectors are log-normal, median `scale`, log-sd `NORM_SD`.
    """
    lower = np.zeros((dim, dim))
    for i in range(dim):
        direction = np.zeros(dim)
        private = 1.0 if i == 0 else rng.beta((dim - i + 1) / 2, i / 2)
        if i > 0:
            shared = rng.standard_normal(i)
            direction[:i] = shared * np.sqrt((1 - private) / np.sum(shared**2))
        direction[i] = np.sqrt(private)
        lower[i] = direction * scale * np.exp(NORM_SD * rng.standard_normal())
    return lower


def log_prior(lower: Array, scale: float) -> float:
    """Return the log density of the prior of `draw_factor` over the entries of L, diagonal > 0.

    Row i (from 0) is s r with r on a half sphere: uniform correlation matrices have the density
    r_i^(D - i) there, and the volume element of the row is s^i ds dr.
    """
    dim = len(lower)
    diagonal = np.diag(lower)
    if np.any(diagonal <= 0):
        return -np.inf
    norms = np.sqrt(np.sum(lower**2, axis=1))
    order = np.arange(dim)
    log_norms = np.log(norms)
    return float(
        np.sum((dim - order) * np.log(diagonal / norms) * (order > 0))
        - np.sum(((log_norms - np.log(scale)) / NORM_SD) ** 2) / 2
        - np.sum((order + 1) * log_norms)
    )
