"""Which populations a network has formed: a mixture of zero-mean Gaussians for its loadings."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np

from predictlearn.checks import positive_int, seed_sequence
from predictlearn.errors import ConvergenceWarning, InputError
from predictlearn.theory.loadings import Loadings
from predictlearn.theory.populations.populations import PopulationLoadings, Populations

__all__ = ["PopulationMixture", "fit_populations"]

_MOST_STEPS, _GAIN = 2000, 1e-9


@dataclass(frozen=True)
class PopulationMixture:
    """Populations found in a network.

    Parameters
    ----------
    populations : Populations
        Fractions and overlaps, the largest population first. Their total is the network's own
        overlap matrix.
    responsibilities : numpy.ndarray, (N, P)
        How probable it is that a neuron is of each population.
    log_likelihood : float
        Mean log density of a neuron's loadings under the mixture.
    """

    populations: Populations
    responsibilities: np.ndarray
    log_likelihood: float

    @property
    def labels(self) -> np.ndarray:
        """The most probable population of each neuron, from 1, (N,)."""
        return np.argmax(self.responsibilities, axis=1) + 1


def fit_populations(
    loadings: Loadings | PopulationLoadings, n_populations: int, starts: int = 8, seed: int = 0
) -> PopulationMixture:
    """Fit a mixture of zero-mean Gaussian populations to the loadings of a network.

    Parameters
    ----------
    loadings : Loadings or PopulationLoadings
        The network, for example after training; labels, if there are any, are not used.
    n_populations : int
        P.
    starts : int, default 8
        Random starts of the search; the most likely result counts.
    seed : int, default 0
        Seed of the starts.

    Returns
    -------
    PopulationMixture
        Fractions, overlaps and the probable population of each neuron.

    Raises
    ------
    InputError
        If an argument is out of range, there are too few neurons, or every search ended with a
        population of fewer than D neurons, on which no overlap matrix can rest.

    Warns
    -----
    ConvergenceWarning
        If the best search did not settle.

    Notes
    -----
    Expectation-maximisation: S_p is the mean of theta theta' over neurons, weighted by the
    probability that they are of population p.

    Examples
    --------
    >>> import numpy as np
    >>> import predictlearn as pl
    >>> both = pl.Populations((0.6, 0.4), (pl.Overlaps(np.eye(4)), pl.Overlaps(9 * np.eye(4))))
    >>> found = fit_populations(both.loadings(4000), 2)
    >>> [round(share, 1) for share in found.populations.fractions]
    [0.6, 0.4]
    """
    if isinstance(loadings, PopulationLoadings):
        loadings = loadings.loadings
    if not isinstance(loadings, Loadings):
        raise InputError(f"loadings must be a Loadings; got {type(loadings).__name__}.")
    n_populations = positive_int("n_populations", n_populations)
    starts = positive_int("starts", starts)
    theta = loadings.stacked
    n_neurons, dim = theta.shape
    if n_neurons < 2 * dim * n_populations:
        raise InputError(
            f"loadings must be of at least {2 * dim * n_populations} neurons for {n_populations} "
            f"populations of D = {dim}; got {n_neurons}."
        )
    rng = np.random.default_rng(seed_sequence(seed))
    best: tuple[float, np.ndarray, bool] | None = None
    for _ in range(1 if n_populations == 1 else starts):
        shares = rng.dirichlet(np.full(n_populations, 0.3), size=n_neurons)
        found = _search(theta, shares)
        if found is not None and (best is None or found[0] > best[0]):
            best = found
    if best is None:
        raise InputError(
            f"n_populations must be one that the loadings bear: every search for {n_populations} "
            f"ended with a population of fewer than D = {dim} neurons."
        )
    value, shares, settled = best
    if not settled:
        warnings.warn(
            f"the search for {n_populations} populations did not settle in {_MOST_STEPS} steps; "
            "try fewer populations or more starts.",
            ConvergenceWarning,
            stacklevel=2,
        )
    shares = shares[:, np.argsort(-shares.sum(axis=0))]
    sizes = (loadings.m.shape[1], loadings.u.shape[1], loadings.z.shape[1])
    matrices = np.einsum("np,ni,nj->pij", shares, theta, theta)
    matrices /= shares.sum(axis=0)[:, None, None]
    populations = Populations.from_array(shares.mean(axis=0).tolist(), matrices, sizes)
    return PopulationMixture(populations, shares, value)


def _search(theta: np.ndarray, shares: np.ndarray) -> tuple[float, np.ndarray, bool] | None:
    """Return mean log likelihood, responsibilities and whether it settled; None if one died."""
    n_neurons, dim = theta.shape
    scale = np.trace(theta.T @ theta) / n_neurons
    old = -np.inf
    for _ in range(_MOST_STEPS):
        weights = shares.sum(axis=0)
        if weights.min() < dim:
            return None
        logs = np.empty_like(shares)
        for p in range(shares.shape[1]):
            covariance = (theta * shares[:, [p]]).T @ theta / weights[p]
            # a ridge far below what a network has, for tables of less than full rank
            root = np.linalg.cholesky(covariance + 1e-12 * scale * np.eye(dim))
            white = np.linalg.solve(root, theta.T)
            logs[:, p] = (
                np.log(weights[p] / n_neurons)
                - 0.5 * np.sum(white**2, axis=0)
                - np.sum(np.log(np.diag(root)))
                - 0.5 * dim * np.log(2 * np.pi)
            )
        top = logs.max(axis=1, keepdims=True)
        terms = np.exp(logs - top)
        value = float(np.mean(top[:, 0] + np.log(terms.sum(axis=1))))
        shares = terms / terms.sum(axis=1, keepdims=True)
        if value - old < _GAIN:
            return value, shares, True
        old = value
    return old, shares, False
