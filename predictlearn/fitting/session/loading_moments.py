"""Second moments of the loadings: what they say of S_bb, and how exactly."""

from __future__ import annotations

import numpy as np

from predictlearn.arrays import Array
from predictlearn.fitting.session.dynamics import Layout
from predictlearn.fitting.session.search.data import Data
from predictlearn.fitting.session.search.normal_equations import Blocks

__all__ = [
    "ALL_RECORDED",
    "divergence",
    "divergence_slope",
    "invert",
    "loading_error",
    "moment_slopes",
    "noise_variance",
    "positive_part",
    "sampling_precision",
]


# Where every neuron of the population is recorded, S_bb is that of the loadings, nearly exactly.
ALL_RECORDED = 1e2
# Information on a coefficient, relative to the best known one of its neuron, that counts as none:
# a saturated neuron says nothing of its loadings, and the inverse is to be huge but finite.
_NO_INFORMATION = 1e-40


def noise_variance(data: Data, at: Blocks) -> Array:
    """Return the noise variance of each neuron, for the coefficients spent on it.

    1 for counts, whose normal equations are Fisher information as they stand.
    """
    if data.count is not None:
        return np.ones(data.n_neurons)
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
    diagonal = np.einsum("iaa->ia", matrices)
    least = np.maximum(_NO_INFORMATION * diagonal.max(axis=1, keepdims=True), 1e-100)
    scale = 1 / np.sqrt(np.maximum(diagonal, least))
    outer = scale[:, :, None] * scale[:, None, :]
    scaled = matrices * outer + 1e-13 * np.eye(matrices.shape[1])
    return np.asarray(np.linalg.inv(scaled) * outer)


def moment_slopes(
    layout: Layout, loadings: Array, follow: Array, error: Array, tilt: Array
) -> tuple[Array, Array]:
    """Return the derivatives in theta of C = S_bb + E and of C_load, upper triangles.

    Parameters
    ----------
    layout : Layout
        What theta holds.
    loadings : ndarray, shape (neurons, n_base)
        Loadings.
    follow : ndarray, shape (neurons, n_base, q)
        How they follow theta: they move by -follow dtheta.
    error : ndarray, shape (n_base, n_base)
        E. Where k turns into (1 + T) k, it turns into (1 - T)^T E (1 - T).
    tilt : ndarray, shape (q, n_base, n_base)
        T by entry of theta.

    Returns
    -------
    tuple of ndarray, shape (n_bb, q)
        Of C, and of C_load as the neurons follow.
    """
    rows, columns = layout.triangle
    turned = np.einsum("ab,jbc->acj", error, tilt)
    of_c = -(turned[rows, columns] + turned[columns, rows])
    of_c[:, layout.n_drive : layout.at_time] += np.eye(layout.n_bb)
    half = np.einsum("ia,ibj->abj", loadings, follow) / len(loadings)
    return of_c, -(half[rows, columns] + half[columns, rows])


def divergence(covariance: Array, second: Array) -> float:
    """Return tr(C^-1 C_load) - log det(C^-1 C_load) - dim; infinite where C is not positive."""
    if not (np.isfinite(covariance).all() and np.isfinite(second).all()):
        return np.inf
    scale = 1 / np.sqrt(np.maximum(np.diag(second), 1e-300))
    outer = np.outer(scale, scale)
    covariance, second = covariance * outer, second * outer
    if np.linalg.eigvalsh(covariance)[0] <= 1e-12:
        return np.inf
    ratio = np.linalg.solve(covariance, second)
    sign, log_det = np.linalg.slogdet(ratio)
    return float(np.trace(ratio) - log_det - len(second)) if sign > 0 else np.inf


def divergence_slope(
    layout: Layout, covariance: Array, second: Array, of_c: Array, of_load: Array
) -> Array:
    """Return the derivative of `divergence` in theta.

    Parameters
    ----------
    layout : Layout
        What theta holds.
    covariance, second : ndarray, shape (n_base, n_base)
        C and C_load.
    of_c, of_load : ndarray, shape (n_bb, q)
        From `moment_slopes`.

    Returns
    -------
    ndarray, shape (q,)
        Derivative.
    """
    rows, columns = layout.triangle
    # An entry off the diagonal stands twice in the matrix.
    twice = np.where(rows == columns, 1.0, 2.0)
    inverse = np.linalg.inv(covariance)
    in_c = twice * (inverse - inverse @ second @ inverse)[rows, columns]
    in_load = twice * (inverse - np.linalg.pinv(second, hermitian=True))[rows, columns]
    return np.asarray(in_c @ of_c + in_load @ of_load)
