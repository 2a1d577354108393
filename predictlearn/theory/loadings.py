"""Loadings: the vectors of an N-neuron low-rank network."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from predictlearn.checks import as_float_array
from predictlearn.deprecated import moved_method
from predictlearn.errors import InputError
from predictlearn.theory.names import PATHWAYS, pathway_slices

__all__ = ["Loadings", "loadings_of", "particles_of"]


@dataclass(frozen=True)
class Loadings:
    """Loading vectors of an N-neuron low-rank network.

    Parameters
    ----------
    m : array_like, (N, n_in)
        Input loadings.
    u, v : array_like, (N, rank)
        Recurrent loadings; the connectivity is U V^T / N.
    z : array_like, (N, n_out)
        Readout loadings; the output is Z^T phi(h) / N.

    Raises
    ------
    InputError
        If the arrays do not have the same number of neurons, or u and v not the same rank.

    Examples
    --------
    >>> import predictlearn as pl
    >>> loadings = pl.Overlaps(np.eye(4)).loadings(100, seed=0)
    >>> loadings.m.shape, round(pl.Overlaps.from_loadings(loadings)["mm"], 12)
    ((100, 1), 1.0)
    """

    m: np.ndarray
    u: np.ndarray
    v: np.ndarray
    z: np.ndarray

    def __post_init__(self) -> None:
        n_neurons = None
        for name in PATHWAYS:
            array = as_float_array(name, getattr(self, name), 2, axes="(neurons, columns)")
            if n_neurons is None:
                n_neurons = array.shape[0]
            if array.shape[0] != n_neurons:
                raise InputError(
                    f"{name} must have the {n_neurons} neurons of m; got {array.shape[0]}."
                )
            if array.shape[1] == 0:
                raise InputError(f"{name} must have at least one column; got none.")
            array = array.copy()
            array.flags.writeable = False
            object.__setattr__(self, name, array)
        if self.u.shape[1] != self.v.shape[1]:
            raise InputError(
                f"u and v must have the same rank; got {self.u.shape[1]} and {self.v.shape[1]}."
            )

    @property
    def n_neurons(self) -> int:
        """Number of neurons N."""
        return int(self.m.shape[0])

    @property
    def stacked(self) -> np.ndarray:
        """Theta = [M U V Z], (N, D)."""
        return np.concatenate([self.m, self.u, self.v, self.z], axis=1)

    overlaps = moved_method(
        "Loadings.overlaps()",
        "predictlearn.theory.overlaps:Overlaps.from_loadings",
        "Overlaps.from_loadings(loadings)",
    )


def loadings_of(
    matrix: np.ndarray, sizes: tuple[int, int, int], n_neurons: int, seed: np.random.SeedSequence
) -> Loadings:
    """Return random loadings whose overlap matrix is exactly the given one; N is at least D."""
    rng = np.random.default_rng(seed)
    dim = matrix.shape[0]
    white, _ = np.linalg.qr(rng.standard_normal((n_neurons, dim)))
    # QR fixes signs by the sequence of columns; a random rotation keeps the draw isotropic.
    turn, _ = np.linalg.qr(rng.standard_normal((dim, dim)))
    values, vectors = np.linalg.eigh(matrix)
    root = (vectors * np.sqrt(np.clip(values, 0.0, None))) @ vectors.T
    theta = np.sqrt(n_neurons) * (white @ turn) @ root
    where = pathway_slices(*sizes)
    return Loadings(*(theta[:, where[p]] for p in PATHWAYS))


def particles_of(
    matrix: np.ndarray, sizes: tuple[int, int, int], n_particles: int, seed: np.random.SeedSequence
) -> Loadings:
    """Return loadings that stand for infinitely many neurons: Sobol normal points with exactly S.

    Low-discrepancy points follow the Gaussian far more evenly than random draws of the same number,
    so a network of these neurons is close to the mean field.
    """
    from scipy.stats import norm, qmc

    dim = matrix.shape[0]
    sampler = qmc.Sobol(dim, scramble=True, rng=np.random.default_rng(seed))
    # scrambled points lie strictly inside the cube, so the quantiles are finite
    points = norm.ppf(sampler.random(n_particles))
    values, vectors = np.linalg.eigh(points.T @ points / n_particles)
    white = points @ (vectors / np.sqrt(values)) @ vectors.T
    values, vectors = np.linalg.eigh(matrix)
    theta = white @ ((vectors * np.sqrt(np.clip(values, 0.0, None))) @ vectors.T)
    where = pathway_slices(*sizes)
    return Loadings(*(theta[:, where[p]] for p in PATHWAYS))
