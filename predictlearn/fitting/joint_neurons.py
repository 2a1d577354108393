"""The error that recording some of the neurons brings to overlaps, within and across sessions.

A neuron has the loadings R^T xi, xi of unit covariance over the network and the same throughout
learning, S = R^T R. Over the n_k neurons of session k the moments of xi differ from the identity
by an error W_k; for Gaussian loadings (Isserlis)

    Cov(W_j,ab, W_k,cd) = K_jk (I_ac I_bd + I_ad I_bc),     K_jk = n_jk / (n_j n_k) - 1 / N,

n_jk the neurons that were recorded in both, N those of the network (infinite where unknown).
Learning moves the loadings of a sample by the same linear map as those of the network, so that
S_bb of the sample is off by the (m, u) block of R^T W_k R: linear in W_k. R is found by training
a linear network of as many neurons as loading vectors, which learns exactly as S does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from predictlearn.errors import InputError
from predictlearn.fitting.learning_model import Model, legs_of
from predictlearn.fitting.summary import Raw, canonical, named
from predictlearn.network.train import follow
from predictlearn.theory.loadings import Loadings
from predictlearn.theory.names import PATHWAYS, pathway_slices

__all__ = ["isserlis", "moment_maps", "neuron_kernel", "roots", "sampling_covariance"]

Array = npt.NDArray[np.float64]
# Relative step of the differences through the map to the canonical gauge.
_STEP = 1e-5


def neuron_kernel(
    ids: Sequence[npt.NDArray[Any]], population: int | None, sampling: str = "shared"
) -> Array:
    """Return K, (sessions, sessions): how far sampling errors are shared.

    Parameters
    ----------
    ids : list of ndarray
        Ids of the neurons of every session.
    population : int or None
        Neurons of the network; None for very many.
    sampling : {"shared", "independent", "none"}
        "independent": as if no neuron recurred. "none": as if all neurons were recorded.

    Returns
    -------
    ndarray, shape (sessions, sessions)
        K.

    Raises
    ------
    InputError
        If there are more neurons than the population has.

    Examples
    --------
    >>> neuron_kernel([np.arange(4), np.arange(2, 6)], None)
    array([[0.25 , 0.125],
           [0.125, 0.25 ]])
    >>> neuron_kernel([np.arange(4), np.arange(4)], 4).max().item()
    0.0
    """
    names, where = np.unique(np.concatenate(list(ids)), return_inverse=True)
    if population is not None and len(names) > population:
        raise InputError(
            f"population must be at least the {len(names)} neurons recorded; got {population}."
        )
    shares = np.zeros((len(ids), len(names)))
    session = np.repeat(np.arange(len(ids)), [len(i) for i in ids])
    shares[session, where] = 1.0 / np.array([len(i) for i in ids])[session]
    kernel = shares @ shares.T
    if population is not None:
        kernel = kernel - 1 / population
    if sampling == "none":
        return np.zeros_like(kernel)
    return np.diag(np.diag(kernel)) if sampling == "independent" else kernel


def roots(model: Model, x: Array) -> Array:
    """Return R of every session, (sessions, D, D): the loadings are R^T xi there, S = R^T R.

    Parameters
    ----------
    model : Model
        Linear.
    x : ndarray
        Parameters.

    Returns
    -------
    ndarray, shape (sessions, D, D)
        R; at the start it is L^T.
    """
    layout, data = model.layout, model.data
    sizes, dim = layout.sizes, layout.dim
    where = pathway_slices(*sizes)
    rule = layout.rule_at(x[layout.n_overlaps :])
    theta = np.sqrt(dim) * layout.factor(x)
    state = Loadings(*(theta[where[p]].T for p in PATHWAYS))
    when = data.epochs
    out = np.empty((len(when), dim, dim))
    first = 0
    for leg in legs_of(data.tasks, when, rule):
        inside = (when >= first) & (when <= first + leg.epochs)
        rows = when[inside] - first
        every = int(np.gcd.reduce(rows))
        course = follow(
            state, leg.task, rule, leg.epochs, "linear", model.tau, model.seed, every, None, np.copy
        )
        out[inside] = course.kept[rows // every]
        state, first = course.loadings, first + leg.epochs
    return np.swapaxes(out, 1, 2) / np.sqrt(dim)


def _pairs(n_base: int) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Return rows and columns of the upper triangle of S_bb."""
    return np.triu_indices(n_base)


def _canonical_slopes(matrix: Array, sizes: tuple[int, int, int], columns: Sequence[str]) -> Array:
    """Return how canonical overlaps answer to S_bb, dynamics and outputs held, (columns, pairs)."""
    n_in, rank, _ = sizes
    base = n_in + rank
    v, z = slice(base, base + rank), slice(base + rank, None)
    vm, vu, zb = matrix[v, :n_in], matrix[v, n_in:base], matrix[z, :base]

    def values(bb: Array) -> Array:
        raw = Raw(vm, vu, bb, zb, matrix[z, z], (1.0, 0.0))
        found = named(canonical(raw)[0])
        return np.array([found[name] for name in columns])

    bb = matrix[:base, :base]
    scale = np.sqrt(np.diag(bb))
    rows, cols = _pairs(base)
    out = np.empty((len(columns), len(rows)))
    for p, (a, b) in enumerate(zip(rows, cols, strict=True)):
        step = np.zeros((base, base))
        size = _STEP * scale[a] * scale[b]
        step[a, b] = step[b, a] = size
        out[:, p] = (values(bb + step) - values(bb - step)) / (2 * size)
    return out


def sampling_covariance(
    matrices: Array, kernel: Array, sizes: tuple[int, int, int], columns: Sequence[str]
) -> Array:
    """Return the sampling covariance of canonical overlaps, every session by itself.

    Parameters
    ----------
    matrices : ndarray, shape (sessions, D, D)
        Overlaps at the sessions.
    kernel : ndarray, shape (sessions, sessions)
        K, of which the diagonal is used.
    sizes : tuple of int
        (n_in, rank, n_out).
    columns : sequence of str
        Overlaps measured.

    Returns
    -------
    ndarray, shape (sessions, columns, columns)
        Of the overlaps in the canonical gauge, which itself depends on the sample.
    """
    base = sizes[0] + sizes[1]
    out = []
    for share, matrix in zip(np.diag(kernel), matrices, strict=True):
        slopes = _canonical_slopes(matrix, sizes, columns)
        out.append(share * slopes @ isserlis(matrix[:base, :base]) @ slopes.T)
    return np.array(out)


def isserlis(matrix: Array) -> Array:
    """Return the covariance of x x^T, upper triangle, for Gaussian x of the given covariance.

    Examples
    --------
    >>> isserlis(np.eye(2)).diagonal().tolist()
    [2.0, 1.0, 2.0]
    """
    a, b = np.triu_indices(len(matrix))
    both = matrix[np.ix_(a, a)] * matrix[np.ix_(b, b)]
    return np.asarray(both + matrix[np.ix_(a, b)] * matrix[np.ix_(b, a)])


def moment_maps(roots: Array, n_base: int) -> Array:
    """Return how S_bb of a sample at every session answers to the moments of its xi.

    Parameters
    ----------
    roots : ndarray, shape (sessions, D, D)
        R.
    n_base : int
        n_in + rank.

    Returns
    -------
    ndarray, shape (sessions, n_bb, D (D + 1) / 2)
        Upper triangles.
    """
    rows, cols = _pairs(n_base)
    i, j = np.triu_indices(roots.shape[1])
    first = roots[:, i][:, :, rows] * roots[:, j][:, :, cols]
    second = roots[:, j][:, :, rows] * roots[:, i][:, :, cols]
    both = np.where((i == j)[:, None], first, first + second)
    return np.asarray(np.swapaxes(both, 1, 2))
