"""What it says of the recorded neurons that they are n of the N of a network.

S are the overlaps of all N neurons, exactly. So the mean Q of xi xi' over the n recorded, with
x_i = L xi_i and S = L L', scatters about 1 by (1/n - 1/N) (1 + transposition); as integrated in
`marginal`, each neuron by itself, by 1/n. Let the recordings leave Q at q + 1 with the
covariance K, over the upper triangle. That Q and what the other N - n neurons have add up to N is
then as likely as that q is a draw of Normal(0, W^-1), W^-1 = K + (N - n) / n^2 (1 + transposition),
and what it adds to the log likelihood is

    f = -q' W q / 2 + log det W / 2 + constant.

q and K depend on the parameters, f's second term too: how firmly the recordings hold Q tells of the
scale of the loadings.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from predictlearn.arrays import Array

__all__ = ["Finite", "finite"]

# Neurons seen without any error would hold Q at 1 exactly: as firmly as with so many missing.
_LEAST = 0.5


@dataclass(frozen=True, eq=False)
class Finite:
    """f, and its slopes by the moments of every neuron's xi.

    Parameters
    ----------
    value : float
        f.
    by_covariance, by_mean : numpy.ndarray, (n, D, D) or (D, D)
        By the covariance of xi, and by the product of its mean with itself.
    weight : numpy.ndarray, (D (D + 1) / 2, D (D + 1) / 2)
        W.
    """

    value: float
    by_covariance: Array
    by_mean: Array
    weight: Array


def finite(mean: Array, covariance: Array, population: float) -> Finite | None:
    """Return what a network of N neurons adds; None for one of very many.

    Parameters
    ----------
    mean : numpy.ndarray, (n, D)
        Of every neuron's xi, given the recordings.
    covariance : numpy.ndarray, (n, D, D)
        Its covariance.
    population : float
        N.

    Returns
    -------
    Finite or None
        Value and slopes.
    """
    if not np.isfinite(population):
        return None
    n, dim = mean.shape
    rows, columns = np.triu_indices(dim)
    means = mean[:, :, None] * mean[:, None, :]
    both = covariance + means
    # Cov(xi_a xi_b, xi_c xi_d) = E_ac E_bd + E_ad E_bc less the products of the means
    squares = (_products(both) - _products(means)) / n**2
    straight = squares + squares.transpose(0, 1, 3, 2)
    left = straight[rows[:, None], columns[:, None], rows, columns]
    diagonal = np.where(rows == columns, 2.0, 1.0)
    scatter = left + np.diag(max(population - n, 0.0) / n**2 * diagonal)
    scatter[np.diag_indices_from(scatter)] += _LEAST / n**2
    weight = np.linalg.inv(scatter)
    off = (both.mean(axis=0) - np.eye(dim))[rows, columns]
    pulled = weight @ off
    value = 0.5 * float(np.linalg.slogdet(weight)[1] - off @ pulled)
    # by the mean second moment, symmetric
    by_q = np.zeros((dim, dim))
    by_q[rows, columns] -= 0.5 * pulled / n
    by_q += by_q.T
    # by K, spread over all orders of its indices
    by_left = np.zeros((dim,) * 4)
    by_left[rows[:, None], columns[:, None], rows, columns] = 0.5 * (
        np.outer(pulled, pulled) - weight
    )
    by_left = (by_left + by_left.transpose(1, 0, 2, 3)) / 2
    by_left = (by_left + by_left.transpose(0, 1, 3, 2)) * (2 / n**2)
    # K is quadratic in either moment: sum_bd X_abcd E_bd
    flat = by_left.transpose(1, 3, 0, 2).reshape(dim * dim, dim * dim)
    by_both = (both.reshape(n, -1) @ flat).reshape(n, dim, dim)
    by_means = (means.reshape(n, -1) @ flat).reshape(n, dim, dim)
    by_covariance = by_q + by_both
    return Finite(value, by_covariance, by_covariance - by_means, weight)


def _products(moments: Array) -> Array:
    """Return the sums over neurons of E_ac E_bd, as [a, b, c, d]."""
    n, dim, _ = moments.shape
    flat = moments.reshape(n, -1)
    return np.asarray((flat.T @ flat).reshape((dim,) * 4).transpose(0, 2, 1, 3))
