"""The gauge: changes of u and v that no activity, output or loss can tell.

U -> U Q, V -> V Q^-T leaves U V^T as it is, yet changes how the network learns. The functions here
act on blocks of overlaps; `Overlaps` offers them as methods.
"""

from __future__ import annotations

import numpy as np
from scipy import linalg

from predictlearn.errors import InputError
from predictlearn.theory.names import pathway_slices

__all__ = [
    "EXCITED",
    "SYMMETRIC",
    "canonical_matrices",
    "canonical_transform",
    "column_transform",
    "invariant_entries",
    "invariant_products",
]

# Directions that the inputs excite less than this, relative to the strongest, have no canonical
# axis of their own: they are ordered by the recurrence alone.
EXCITED = 1e-10
# Invariant products that are symmetric matrices.
SYMMETRIC = frozenset({"mm", "zz", "vm*uu*vm", "zu*vv*zu"})


def column_transform(q: np.ndarray, n_in: int, n_out: int) -> np.ndarray:
    """Return B with Theta -> Theta B for the gauge change U -> U Q, V -> V Q^-T."""
    return linalg.block_diag(np.eye(n_in), q, np.linalg.inv(q).T, np.eye(n_out))


def canonical_transform(uu: np.ndarray, vm: np.ndarray, vu: np.ndarray) -> np.ndarray:
    """Return the Q that brings u and v to the canonical gauge.

    In it U^T U / N is the identity, and the axes are those of Gram-Schmidt on the columns of
    vm, vu vm, vu^2 vm, ... with positive diagonal: the directions that the inputs reach first come
    first. For rank one: uu = 1, and v points along the first input that drives it.

    Parameters
    ----------
    uu : numpy.ndarray, (R, R)
        Overlaps of u with u; positive definite.
    vm : numpy.ndarray, (R, n_in)
        Overlaps of v with m.
    vu : numpy.ndarray, (R, R)
        Overlaps of v with u.

    Returns
    -------
    numpy.ndarray, (R, R)
        Q.

    Raises
    ------
    InputError
        If U has fewer than R independent columns, so that no such Q exists.

    Notes
    -----
    Under Q, vm -> Q^-1 vm and vu -> Q^-1 vu Q. With uu = L L^T, Q = L^-T O makes uu the identity
    for every orthogonal O, which Gram-Schmidt on the Krylov sequence of (vu, vm) then fixes.
    """
    rank = uu.shape[0]
    try:
        lower = np.linalg.cholesky(uu)
    except np.linalg.LinAlgError as error:
        raise InputError(
            "the canonical gauge needs independent recurrent vectors u (uu positive definite); "
            f"the smallest eigenvalue of uu is {np.linalg.eigvalsh(uu)[0]:.3g}."
        ) from error
    white = np.linalg.inv(lower).T
    back = lower.T  # white^-1
    drive = back @ vm
    recurrence = back @ vu @ white
    krylov = [drive]
    for _ in range(rank - 1):
        krylov.append(recurrence @ krylov[-1])
    axes: list[np.ndarray] = []
    scale = max(float(np.max(np.abs(np.concatenate(krylov, axis=1)), initial=0.0)), 1e-300)
    candidates = np.concatenate([*krylov, np.eye(rank)], axis=1)
    n_driven = candidates.shape[1] - rank
    for c in range(candidates.shape[1]):
        vector = candidates[:, c].copy()
        for _ in range(2):  # twice is enough for orthogonality to rounding
            for axis in axes:
                vector -= axis * (axis @ vector)
        size = np.linalg.norm(vector)
        if size > EXCITED * (scale if c < n_driven else 1.0):
            axes.append(vector / size)
        if len(axes) == rank:
            break
    return white @ np.stack(axes, axis=1)


def invariant_products(blocks: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the products of overlap blocks that no gauge change moves.

    Parameters
    ----------
    blocks : dict of numpy.ndarray
        The blocks zm, zu, vm, vu, mu, zv, mm, uu, vv, zz, each (rows, columns).

    Returns
    -------
    dict of numpy.ndarray
        By name; matrices whose entries are invariant. ``vu`` and ``uu*vv`` are traces.
    """
    zu, vm, vu, mu = blocks["zu"], blocks["vm"], blocks["vu"], blocks["mu"]
    uu, vv, zv = blocks["uu"], blocks["vv"], blocks["zv"]
    return {
        "zm": blocks["zm"],
        "zu*vm": zu @ vm,
        "vu": np.array([[np.trace(vu)]]),
        "zu*vu*vm": zu @ vu @ vm,
        "mm": blocks["mm"],
        "mu*vm": mu @ vm,
        "vm*uu*vm": vm.T @ uu @ vm,
        "zz": blocks["zz"],
        "zv*zu": zv @ zu.T,
        "zu*vv*zu": zu @ vv @ zu.T,
        "uu*vv": np.array([[np.trace(uu @ vv)]]),
    }


def invariant_entries(blocks: dict[str, np.ndarray]) -> dict[str, float]:
    """Return every entry of `invariant_products` by name, those of matrices with their indices.

    Of symmetric matrices those above the diagonal only.

    Examples
    --------
    >>> one = {name: np.ones((1, 1)) for name in "zm zu vm vu mu zv mm uu vv zz".split()}
    >>> list(invariant_entries(one))[:3]
    ['zm', 'zu*vm', 'vu']
    """
    values: dict[str, float] = {}
    for name, product in invariant_products(blocks).items():
        for i in range(product.shape[0]):
            for j in range(i if name in SYMMETRIC else 0, product.shape[1]):
                label = name if product.size == 1 else f"{name}[{i + 1},{j + 1}]"
                values[label] = float(product[i, j])
    return values


def canonical_matrices(
    matrices: np.ndarray, slopes: np.ndarray, sizes: tuple[int, int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Return overlaps in the canonical gauge of each, and their slopes.

    Parameters
    ----------
    matrices : numpy.ndarray, (K, D, D)
        Overlaps.
    slopes : numpy.ndarray, (K, D, D, P)
        Their slopes.
    sizes : tuple of int
        (n_in, rank, n_out).

    Returns
    -------
    tuple of numpy.ndarray
        Shapes as given.

    Notes
    -----
    For rank one the factor is q = +-uu^(-1/2). For higher rank a change D of S, seen in the gauge
    it had, turns that gauge by 1 + X. As uu stays the identity, X + X' = -D_uu; and as T, the
    columns of (vm, vu vm, ...) that gave the axes, stays upper triangular, X is dT T^-1 below the
    diagonal.

    Examples
    --------
    >>> s = np.diag([1.0, 4.0, 1.0, 1.0])[None]
    >>> canonical_matrices(s, np.zeros((1, 4, 4, 2)), (1, 1, 1))[0][0].diagonal().tolist()
    [1.0, 1.0, 4.0, 1.0]
    """
    where, (n_in, rank, n_out) = pathway_slices(*sizes), sizes
    if rank == 1:
        u, v = where["u"].start, where["v"].start
        sign = np.where(matrices[:, v, 0] < 0, -1.0, 1.0)
        uu = matrices[:, u, u]
        power = np.zeros(matrices.shape[1])
        power[u], power[v] = 1.0, -1.0
        total = power[:, None] + power
        odd = (np.abs(power)[:, None] + np.abs(power)) % 2 == 1
        factor = uu[:, None, None] ** (-0.5 * total) * np.where(odd, sign[:, None, None], 1.0)
        moved = factor * matrices
        drift = -0.5 * total[..., None] * (slopes[:, u, u] / uu[:, None])[:, None, None, :]
        return moved, factor[..., None] * slopes + moved[..., None] * drift
    moved, out = np.empty_like(matrices), np.empty_like(slopes)
    u, v, m = where["u"], where["v"], where["m"]
    for k, s in enumerate(matrices):
        b = column_transform(canonical_transform(s[u, u], s[v, m], s[v, u]), n_in, n_out)
        moved[k] = b.T @ s @ b
        change = np.einsum("ai,abp,bj->ijp", b, slopes[k], b, optimize=True)
        turn = _turning(moved[k], change, sizes)
        # b turns by diag(0, X, -X', 0)
        half = np.zeros_like(change)
        half[u] = np.einsum("rcp,rj->cjp", turn, moved[k][u])
        half[v] = -np.einsum("crp,rj->cjp", turn, moved[k][v])
        out[k] = change + half + half.swapaxes(0, 1)
    return moved, out


def _turning(s: np.ndarray, change: np.ndarray, sizes: tuple[int, int, int]) -> np.ndarray:
    """Return X, (R, R, P), for changes, (D, D, P), of an S in its canonical gauge."""
    where, (_, rank, _) = pathway_slices(*sizes), sizes
    u, v, m = where["u"], where["v"], where["m"]
    columns, moves = [s[v, m]], [change[v, m]]
    for _ in range(rank - 1):
        moves.append(
            np.einsum("rap,ac->rcp", change[v, u], columns[-1])
            + np.einsum("ra,acp->rcp", s[v, u], moves[-1])
        )
        columns.append(s[v, u] @ columns[-1])
    found, moved = np.concatenate(columns, axis=1), np.concatenate(moves, axis=1)
    axes, slopes = np.eye(rank), np.zeros((rank, rank, change.shape[-1]))
    for r in range(rank):
        # an axis that nothing drives keeps the unit vector
        driven = np.flatnonzero(np.abs(found[r]) > EXCITED * np.abs(found).max())
        if driven.size:
            axes[:, r], slopes[:, r] = found[:, driven[0]], moved[:, driven[0]]
    lower = np.tril(np.ones((rank, rank)), -1)[..., None]
    turn = lower * np.einsum("rap,ac->rcp", slopes, np.linalg.inv(axes))
    stretch = change[u, u] * (np.triu(np.ones((rank, rank))) - 0.5 * np.eye(rank))[..., None]
    return np.asarray(turn - np.swapaxes(turn, 0, 1) - stretch)
