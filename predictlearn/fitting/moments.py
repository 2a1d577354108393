"""Second moments of the loadings: what they say of S_bb, and how exactly."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from predictlearn.fitting.dynamics import Layout
from predictlearn.fitting.inner import Blocks, Data

__all__ = [
    "ALL_RECORDED",
    "invert",
    "loading_error",
    "moment_gap",
    "noise_variance",
    "positive_part",
    "sampling_precision",
]

Array = npt.NDArray[np.float64]

# Where every neuron of the population is recorded, S_bb is that of the loadings, nearly exactly.
ALL_RECORDED = 1e2


def noise_variance(data: Data, at: Blocks) -> Array:
    """Return the noise variance of each neuron, for the coefficients spent on it."""
    spent = at.phi.shape[1]
    return np.asarray(at.squares / np.maximum(data.counts - spent, 1.0))


def loading_error(data: Data, at: Blocks) -> Array:
    """Return the mean over neurons of the estimation covariance of their loadings."""
    covariance = invert(at.inner) * noise_variance(data, at)[:, None, None]
    return np.asarray(covariance[:, data.n_lead :, data.n_lead :].mean(axis=0))


def positive_part(matrix: Array) -> Array:
    """Return the nearest matrix whose eigenvalues are positive, by a hair."""
    values, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
    floor = 1e-8 * max(values[-1], 1e-12)
    if values[0] >= floor:
        return np.asarray((matrix + matrix.T) / 2)
    return np.asarray((vectors * np.maximum(values, floor)) @ vectors.T)


def sampling_precision(layout: Layout, loadings: Array, sampled: bool) -> Array:
    """Return Omega, the inverse sampling covariance of the moments of Gaussian loadings.

    Parameters
    ----------
    layout : Layout
        Gives the order of the moments.
    loadings : ndarray, shape (neurons, n_base)
        Estimated loadings. Their estimation error is left in, so that a direction in which there
        is nothing but error is not held tightly.
    sampled : bool
        Whether the neurons are a sample; if they are all there is, their moments are S_bb.

    Returns
    -------
    ndarray, shape (n_bb, n_bb)
        Omega.
    """
    second = loadings.T @ loadings / len(loadings)
    second = second + 1e-4 * np.diag(np.diag(second))
    a, b = layout.triangle
    covariance = (
        second[np.ix_(a, a)] * second[np.ix_(b, b)] + second[np.ix_(a, b)] * second[np.ix_(b, a)]
    )
    scale = 1 / np.sqrt(np.maximum(np.diag(covariance), 1e-300))
    outer = np.outer(scale, scale)
    inverse = np.linalg.pinv(covariance * outer, rcond=1e-8, hermitian=True) * outer
    return np.asarray(len(loadings) * inverse * (1.0 if sampled else ALL_RECORDED))


def invert(matrices: Array) -> Array:
    """Invert a stack of symmetric matrices after scaling them to unit diagonal."""
    scale = 1 / np.sqrt(np.maximum(np.einsum("iaa->ia", matrices), 1e-300))
    outer = scale[:, :, None] * scale[:, None, :]
    scaled = matrices * outer + 1e-13 * np.eye(matrices.shape[1])
    return np.asarray(np.linalg.inv(scaled) * outer)


def moment_gap(
    data: Data, layout: Layout, theta: Array, at: Blocks, back: Array
) -> tuple[Array, Array]:
    """Return C - C_load, and its derivative in theta as the neurons follow.

    Parameters
    ----------
    data : Data
        Activity.
    layout : Layout
        What theta holds.
    theta : ndarray, shape (q,)
        Dynamics.
    at : Blocks
        Normal equations there.
    back : ndarray, shape (neurons, p, q)
        How the coefficients follow theta, from `reduced_system`.

    Returns
    -------
    tuple of ndarray
        Gap (n_bb,) and derivative (n_bb, q).
    """
    lead = data.n_lead
    bb = slice(layout.n_drive, layout.at_time)
    rows, columns = layout.triangle
    loadings = at.phi[:, lead:]
    second = loadings.T @ loadings / len(loadings) - loading_error(data, at)
    gap = theta[bb] - second[layout.triangle]
    half = np.einsum("ia,ibj->abj", at.phi[:, lead:], back[:, lead:]) / len(at.phi)
    slope = half[rows, columns] + half[columns, rows]
    slope[:, bb] += np.eye(layout.n_bb)
    return gap, slope
