"""Which combinations of overlaps and rates the sessions determine, and how far the rest can go.

Natural parameters are measured in units of their own size (an overlap by the norms of its two
vectors, a rate by a factor e). The singular values of the whitened slopes give the standard
deviation of every direction, 1 / singular value. **A direction is unidentified when that exceeds
1**: its 95% interval would then be wider than what positive semidefiniteness leaves to any overlap
of two vectors of those norms, so the data say no more than that a network exists.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import optimize

from predictlearn.arrays import Array
from predictlearn.fitting.learning.parameters import ParameterLayout

__all__ = ["UNIDENTIFIED_SD", "Identified", "centre", "draws", "identify", "reach"]

UNIDENTIFIED_SD = 1.0
# An overlap counts as identifiable if its share in the unidentified directions is below this.
_SHARE = 0.1
# How far a direction is followed, in natural units, where positive semidefiniteness sets no end.
_FARTHEST = 3.0


@dataclass(frozen=True, eq=False)
class Identified:
    """What the slopes of the measurements determine.

    Parameters
    ----------
    covariance : numpy.ndarray, (P, P)
        Of the natural parameters, along identified directions.
    free : numpy.ndarray, (P, k)
        Unidentified directions in natural parameters; each of length one in natural units.
    share : numpy.ndarray, (P,)
        How much of every natural parameter lies in the unidentified directions, 0 to 1.
    sds : numpy.ndarray, (P,)
        Standard deviation of every direction in natural units, largest first (infinite where the
        data say nothing).
    leverage : numpy.ndarray, (n,)
        Diagonal of the hat matrix of the measurements.
    """

    covariance: Array
    free: Array
    share: Array
    sds: Array
    leverage: Array

    @property
    def identifiable(self) -> npt.NDArray[np.bool_]:
        """Whether every natural parameter is identifiable, (P,)."""
        return self.share < _SHARE


def identify(slopes: Array, scales: Array) -> Identified:
    """Return what whitened slopes, (n, P), determine; see the module for the rule.

    Examples
    --------
    >>> found = identify(np.array([[100.0, 100.0, 0.0], [0.0, 0.0, 10.0]]), np.ones(3))
    >>> found.free.shape, found.identifiable.tolist(), float(found.sds[1])
    ((3, 1), [False, False, True], 0.1)
    """
    scaled = slopes * scales
    n_parameters = scaled.shape[1]
    left, values, right = np.linalg.svd(scaled, full_matrices=False)
    if len(values) < n_parameters:
        _, _, right = np.linalg.svd(scaled, full_matrices=True)
        values = np.concatenate([values, np.zeros(n_parameters - len(values))])
        left = np.concatenate([left, np.zeros((len(left), n_parameters - left.shape[1]))], axis=1)
    known = values > 1 / UNIDENTIFIED_SD
    basis = right[known].T * scales[:, None]
    free = right[~known].T
    with np.errstate(divide="ignore"):
        sds = np.where(values > 0, 1 / values, np.inf)[::-1]
    return Identified(
        covariance=(basis / values[known] ** 2) @ basis.T,
        free=free * scales[:, None],
        share=np.sqrt(np.sum(free**2, axis=1)),
        sds=sds,
        leverage=np.sum(left[:, known] ** 2, axis=1),
    )


def reach(matrix: Array, along: Array) -> tuple[float, float]:
    """Return how far S + c N stays positive semidefinite; infinite where it always does.

    Examples
    --------
    >>> reach(np.eye(2), np.diag([1.0, -0.5]))
    (-1.0, 2.0)
    """
    values, vectors = np.linalg.eigh(matrix)
    values = np.maximum(values, 1e-12 * max(float(values[-1]), 1e-300))
    white = vectors / np.sqrt(values)
    rates = np.linalg.eigvalsh(white.T @ along @ white)
    low = -1 / rates[-1] if rates[-1] > 1e-12 else -np.inf
    high = -1 / rates[0] if rates[0] < -1e-12 else np.inf
    return float(low), float(high)


def centre(natural: Array, free: Array, layout: ParameterLayout) -> Array:
    """Return the natural parameters moved to the middle of what the unidentified directions allow.

    One direction: halfway between its two ends (left alone if one end is infinite). Several: where
    log det S less half the squared distance, in natural units, is largest.
    """
    matrix = layout.full(natural)
    if free.shape[1] == 0:
        return natural
    if free.shape[1] == 1:
        low, high = reach(matrix, layout.full(free[:, 0]))
        far = 0.5 * (low + high) if np.isfinite(low) and np.isfinite(high) else 0.0
        return natural + far * free[:, 0]
    directions = [layout.full(f) for f in free.T]

    def height(c: Array) -> float:
        sign, log_det = np.linalg.slogdet(
            matrix + sum(a * d for a, d in zip(c, directions, strict=True))
        )
        moved = matrix + sum(a * d for a, d in zip(c, directions, strict=True))
        if sign <= 0 or np.linalg.eigvalsh(moved)[0] <= 0:
            return 1e6
        return float(-log_det + 0.5 * np.sum(c**2))

    found = optimize.minimize(height, np.zeros(len(directions)), method="Nelder-Mead")
    return natural + free @ found.x


def draws(
    natural: Array, found: Identified, layout: ParameterLayout, n: int, rng: np.random.Generator
) -> Array:
    """Draw natural parameters: normal where identified, else uniform over what is realisable.

    Parameters
    ----------
    natural : numpy.ndarray, (P,)
        The estimate.
    found : Identified
        Covariance and unidentified directions.
    layout : ParameterLayout
        The parameters.
    n : int
        Number of draws.
    rng : numpy.random.Generator
        Source of randomness.

    Returns
    -------
    numpy.ndarray, (n, P)
        Every row is realisable: what leaves the cone is projected onto it.
    """
    values, vectors = np.linalg.eigh(found.covariance)
    root = vectors * np.sqrt(np.clip(values, 0.0, None))
    k = found.free.shape[1]
    out = np.empty((n, len(natural)))
    for i in range(n):
        row = natural + root @ rng.standard_normal(len(natural))
        row = _projected(row, layout)
        # one direction: one uniform draw; several: hit and run
        for _ in range(k if k < 2 else 15 * k):
            along = found.free @ _unit(rng, k)
            low, high = reach(layout.full(row), layout.full(along))
            low, high = max(low, -_FARTHEST), min(high, _FARTHEST)
            row = _projected(row + rng.uniform(low, high) * along, layout)
        out[i] = row
    return out


def _unit(rng: np.random.Generator, k: int) -> Array:
    """Return a random direction; the only one for k = 1."""
    if k == 1:
        return np.ones(1)
    direction = rng.standard_normal(k)
    return direction / np.linalg.norm(direction)


def _projected(row: Array, layout: ParameterLayout) -> Array:
    """Return natural parameters whose overlaps are the nearest realisable ones."""
    values, vectors = np.linalg.eigh(layout.full(row))
    if values[0] >= 0:
        return row
    near = (vectors * np.clip(values, 0.0, None)) @ vectors.T
    return np.concatenate([layout.vector(near), row[layout.n_overlaps :]])
