"""How far loadings are from jointly Gaussian, with bands from Gaussian samples of the same size."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pandas as pd
from scipy import special

from predictlearn.checks import as_float_array, positive_int
from predictlearn.errors import InputError

__all__ = [
    "GaussianBands",
    "Measures",
    "gaussian_bands",
    "kurtosis_change",
    "measures",
    "standardised",
    "two_sided_p",
    "upper_p",
]


@dataclass(frozen=True)
class Measures:
    """Departures of columns from jointly Gaussian.

    Parameters
    ----------
    kurtosis : numpy.ndarray, (columns,)
        Excess kurtosis of each column; 0 for a Gaussian.
    distance : numpy.ndarray, (columns,)
        Kolmogorov-Smirnov distance of each standardised column from the normal distribution.
    joint_kurtosis : float
        Mardia's: the mean fourth power of the Mahalanobis distance, less its Gaussian value
        D (D + 2).
    joint_distance : float
        Henze & Zirkler's: N times a weighted squared distance between the characteristic function
        of the whitened columns and the Gaussian one; it sees any departure as N grows.
    """

    kurtosis: np.ndarray
    distance: np.ndarray
    joint_kurtosis: float
    joint_distance: float


@dataclass(frozen=True)
class GaussianBands:
    """What the measures are in Gaussian samples of one size.

    Parameters
    ----------
    kurtosis, distance : numpy.ndarray, (draws,)
        Sorted values for one column.
    joint_kurtosis, joint_distance : numpy.ndarray, (draws,)
        Sorted values for all columns together.
    quantiles : numpy.ndarray, (2, neurons)
        Band that holds each of the sorted values of a standardised column in 95% of samples.
    """

    kurtosis: np.ndarray
    distance: np.ndarray
    joint_kurtosis: np.ndarray
    joint_distance: np.ndarray
    quantiles: np.ndarray


def _white(theta: np.ndarray) -> np.ndarray:
    """Return centred columns whitened by their covariance, (neurons, columns)."""
    centred = theta - theta.mean(axis=0)
    lower = np.linalg.cholesky(centred.T @ centred / len(theta))
    return np.linalg.solve(lower, centred.T).T


def standardised(theta: np.ndarray) -> np.ndarray:
    """Return columns shifted and scaled to mean 0 and standard deviation 1.

    Examples
    --------
    >>> standardised(np.array([[1.0], [3.0]])).tolist()
    [[-1.0], [1.0]]
    """
    centred = theta - theta.mean(axis=0)
    return centred / np.sqrt(np.mean(centred**2, axis=0))


def _one_by_one(theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return excess kurtosis and Kolmogorov-Smirnov distance of every column."""
    standard = standardised(theta)
    below = special.ndtr(np.sort(standard, axis=0))
    n = len(theta)
    steps = np.arange(n + 1)[:, None] / n
    distance = np.maximum(steps[1:] - below, below - steps[:-1]).max(axis=0)
    return np.mean(standard**4, axis=0) - 3.0, distance


def _joint_kurtosis(white: np.ndarray) -> np.ndarray:
    """Return Mardia's excess kurtosis of whitened columns."""
    dim = white.shape[-1]
    return np.mean(np.sum(white**2, axis=-1) ** 2, axis=-1) - dim * (dim + 2)


def _joint_distance(white: np.ndarray) -> float:
    """Return Henze & Zirkler's statistic of whitened columns, (neurons, columns)."""
    n, dim = white.shape
    # their choice of the width of the weight
    b2 = 0.5 * ((2 * dim + 1) * n / 4) ** (2 / (dim + 4))
    norms = np.sum(white**2, axis=1)
    between = white @ white.T
    between *= 2
    between -= norms
    between -= norms[:, None]
    between *= b2 / 2
    pairs = float(np.exp(between, out=between).sum()) / n
    to_normal = float(np.exp(-b2 / (2 * (1 + b2)) * norms).sum())
    return pairs - 2 * (1 + b2) ** (-dim / 2) * to_normal + n * (1 + 2 * b2) ** (-dim / 2)


def _checked(theta: np.ndarray) -> np.ndarray:
    """Return loadings, (neurons, columns), with more neurons than columns."""
    theta = as_float_array("theta", theta, ndim=2, axes="(neurons, columns)")
    if theta.shape[0] < 2 * theta.shape[1]:
        raise InputError(
            f"theta must have at least {2 * theta.shape[1]} neurons for {theta.shape[1]} columns; "
            f"got {theta.shape[0]}."
        )
    return theta


def measures(theta: np.ndarray) -> Measures:
    """Measure how far loadings are from jointly Gaussian.

    Parameters
    ----------
    theta : array_like, (neurons, columns)
        Loadings, such as `Loadings.stacked`.

    Returns
    -------
    Measures
        None depends on the scale of a column; the joint ones not on any change of basis.

    Raises
    ------
    InputError
        If there are too few neurons.

    References
    ----------
    Lilliefors (1967), J. Am. Stat. Assoc. 62, 399; Mardia (1970), Biometrika 57, 519;
    Henze & Zirkler (1990), Commun. Stat. Theory Methods 19, 3595.

    Examples
    --------
    >>> uniform = np.random.default_rng(0).uniform(size=(1000, 2))
    >>> measures(uniform).kurtosis.round(1).tolist()
    [-1.2, -1.2]
    """
    theta = _checked(theta)
    kurtosis, distance = _one_by_one(theta)
    white = _white(theta)
    return Measures(kurtosis, distance, float(_joint_kurtosis(white)), _joint_distance(white))


@lru_cache(maxsize=8)
def gaussian_bands(
    n_neurons: int, n_columns: int, draws: int = 999, seed: int = 0
) -> GaussianBands:
    """Return what the measures are in Gaussian samples.

    Parameters
    ----------
    n_neurons, n_columns : int
        Size of a sample.
    draws : int, default 999
        Number of samples.
    seed : int, default 0
        Seed of the samples.

    Returns
    -------
    GaussianBands
        Since the measures do not depend on the covariance, one set of bands serves all loadings.

    Raises
    ------
    InputError
        If a size is too small.

    Examples
    --------
    >>> bands = gaussian_bands(600, 4, draws=200)
    >>> round(float(np.std(bands.kurtosis)), 1)  # sqrt(24 / N)
    0.2
    """
    n_neurons = positive_int("n_neurons", n_neurons, minimum=2 * n_columns)
    draws = positive_int("draws", draws, minimum=100)
    rng = np.random.default_rng(seed)
    values = np.empty((4, draws))
    ordered = np.empty((draws, n_neurons))
    for draw in range(draws):
        sample = rng.standard_normal((n_neurons, n_columns))
        white = _white(sample)
        # the columns are independent, but one of each sample is enough
        kurtosis, distance = _one_by_one(sample[:, :1])
        joint = _joint_kurtosis(white), _joint_distance(white)
        values[:, draw] = kurtosis[0], distance[0], *joint
        ordered[draw] = np.sort(standardised(sample[:, 0:1])[:, 0])
    quantiles = np.quantile(ordered, (0.025, 0.975), axis=0)
    single, distance, joint, joint_distance = np.sort(values, axis=1)
    return GaussianBands(single, distance, joint, joint_distance, quantiles)


def upper_p(null: np.ndarray, seen: float) -> float:
    """Return the share of sorted null values at least as large, the seen one counted among them.

    Examples
    --------
    >>> upper_p(np.arange(99.0), 95.0)
    0.05
    """
    above = null.size - int(np.searchsorted(null, seen, side="left"))
    return (above + 1) / (null.size + 1)


def two_sided_p(null: np.ndarray, seen: float) -> float:
    """Return twice the smaller tail probability of sorted null values, at most 1.

    Examples
    --------
    >>> two_sided_p(np.arange(99.0), 1.0)
    0.06
    """
    below = int(np.searchsorted(null, seen, side="right"))
    tail = min(below + 1, null.size - int(np.searchsorted(null, seen, side="left")) + 1)
    return min(1.0, 2 * tail / (null.size + 1))


def _weighted_kurtosis(theta: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return excess kurtosis of every column, and Mardia's, (samples, columns + 1).

    Each row of `weights`, (samples, neurons), sums to one.
    """
    dim = theta.shape[1]
    found = np.empty((len(weights), dim + 1))
    for k, weight in enumerate(weights):
        centred = theta - weight @ theta
        spread = (weight[:, None] * centred).T @ centred
        found[k, :dim] = weight @ centred**4 / np.diag(spread) ** 2 - 3.0
        far = np.sum(centred * np.linalg.solve(spread, centred.T).T, axis=1)
        found[k, dim] = weight @ far**2 - dim * (dim + 2)
    return found


def kurtosis_change(
    before: np.ndarray, after: np.ndarray, draws: int = 300, seed: int = 0
) -> pd.DataFrame:
    """Return by how much the excess kurtosis of the same neurons' loadings changed.

    A sample of N Gaussian numbers has an excess kurtosis of standard deviation sqrt(24 / N), which
    hides small departures. The same neurons before and after share most of it, so their change
    shows less.

    Parameters
    ----------
    before, after : array_like, (neurons, columns)
        Loadings of the same neurons.
    draws : int, default 300
        Bootstrap samples of neurons for the standard error.
    seed : int, default 0
        Seed of the bootstrap.

    Returns
    -------
    pandas.DataFrame
        ``change`` and ``standard_error``, a row a column of the loadings; the last row, ``joint``,
        is Mardia's kurtosis.

    Raises
    ------
    InputError
        If the shapes differ.

    Examples
    --------
    >>> theta = np.random.default_rng(0).normal(size=(600, 4))
    >>> float(kurtosis_change(theta, 2 * theta)["change"].abs().max()) < 1e-12
    True
    """
    before, after = _checked(before), _checked(after)
    if before.shape != after.shape:
        raise InputError(f"after must have the shape of before; got {after.shape}, {before.shape}.")

    n = before.shape[0]
    rng = np.random.default_rng(seed)
    # how often each neuron is in a sample; the first row is the sample itself
    times = np.vstack([np.ones(n), rng.multinomial(n, np.full(n, 1 / n), size=draws)])
    first, second = (_weighted_kurtosis(theta, times / n) for theta in (before, after))
    change = second - first
    return pd.DataFrame(
        {"change": change[0], "standard_error": np.std(change[1:], axis=0, ddof=1)},
        index=[*map(str, range(before.shape[1])), "joint"],
    )
