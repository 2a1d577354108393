"""The expected information of recordings on a start and its rates, loadings integrated out.

Neuron i of `marginal` is y_i ~ Normal(0, H H' + R), with H' = C kappa, over all bins of
all sessions that saw it, and R its noise (of counts, R^-1 is the weight of their expansion). With
V = (1 + H' R^-1 H)^-1, B_p = H' R^-1 dH_p and N_pq = dH_p' R^-1 dH_q for parameters p and q, its
Fisher information is

    tr(V B_p V B_q) + tr((1 - V) (N_pq - B_p' V B_q)),

positive semidefinite anywhere, and as cheap as one evaluation of the likelihood.
"""

from __future__ import annotations

import numpy as np

from predictlearn.arrays import Array
from predictlearn.fitting.learning.recordings.marginal import Gradient, Recorded, basis

__all__ = ["expected_information"]


def expected_information(
    recorded: Recorded, maps: Array, matrices: Array, found: Gradient, moves: Array, slopes: Array
) -> Array:
    """Return the expected information, (P, P), that of the outputs and of `finite` included.

    Parameters
    ----------
    recorded, maps, matrices
        As for `marginal.marginal`.
    found : Gradient
        What `marginal` returned of them.
    moves : numpy.ndarray, (sessions, D, n_in + rank, P)
        Slopes of the maps.
    slopes : numpy.ndarray, (sessions, D, D, P)
        Slopes of the overlaps.

    Returns
    -------
    numpy.ndarray, (P, P)
        Positive semidefinite.
    """
    dim, base, n_parameters = moves.shape[1:]
    covariance = found.posterior.covariance
    known = np.zeros((n_parameters, n_parameters))
    pulls = np.zeros((recorded.n_neurons, dim, dim, n_parameters))
    rest = np.eye(dim) - covariance
    for session, c, s, dc, ds in zip(recorded.sessions, maps, matrices, moves, slopes, strict=True):
        rows = basis(session, s)
        if rows is None:
            raise FloatingPointError("activity runs away at the fit")
        seen, judged = rows
        at_u, at_z = base - session.dynamics.layout.rank, base + session.dynamics.layout.rank
        driven = np.concatenate(
            [part.reshape(-1, n_parameters) for part in np.split(ds[base:at_z, :base], [at_u], 1)]
        )
        _, gram = session.seen.sums(seen, len(seen))
        e = _along(dc, c[:, at_u:], driven)
        pulls[session.neurons] += np.einsum("nir,jrp->nijp", c @ gram[:, :base], e, optimize=True)
        both = np.tensordot(rest[session.neurons], gram, axes=(0, 0))
        known += _squared(e, both)
        e = _along(ds[at_z:, :base], s[at_z:, at_u:base], driven)
        exact = np.diag(1 / session.output_noise)
        known += _squared(e, exact[:, :, None, None] * (judged @ judged.T))
    drawn = np.einsum("nij,njkp->nikp", covariance, pulls, optimize=True)
    known += _traced(drawn, np.swapaxes(drawn, 1, 2))
    known -= _traced(np.einsum("nijp,njk->nikp", pulls, rest, optimize=True), drawn)
    if found.weight is not None:
        # how the expected second moments of xi move
        half = np.einsum("nijp,njk->ikp", drawn, rest, optimize=True) / recorded.n_neurons
        moved = (half + np.swapaxes(half, 0, 1))[np.triu_indices(dim)]
        known += moved.T @ found.weight @ moved
    return np.asarray((known + known.T) / 2)


def _along(own: Array, by_u: Array, driven: Array) -> Array:
    """Return how a signal w kappa moves over that basis, (rows, basis, P).

    By the slopes of w, and by those of the dynamics, (q, P), of what w reads from k_u.
    """
    moved = np.einsum("ia,qp->iaqp", by_u, driven)
    return np.concatenate([own, moved.reshape(len(own), -1, own.shape[-1])], axis=1)


def _squared(e: Array, known: Array) -> Array:
    """Return the products of slopes e, (signals, basis, P), summed by (signals^2, basis^2)."""
    flat = e.reshape(-1, e.shape[-1])
    return np.asarray(flat.T @ np.swapaxes(known, 1, 2).reshape(len(flat), len(flat)) @ flat)


def _traced(a: Array, b: Array) -> Array:
    """Return the sum over neurons of tr(a_p' b_q), (P, P)."""
    return np.asarray(a.reshape(-1, a.shape[-1]).T @ b.reshape(-1, b.shape[-1]))
