"""The gauge: changes of u and v that no activity, output or loss can tell.

U -> U Q, V -> V Q^-T leaves U V^T as it is, yet changes how the network learns. The functions here
act on blocks of overlaps; `Overlaps` offers them as methods.
"""

from __future__ import annotations

import numpy as np
from scipy import linalg

from predictlearn.errors import InputError

__all__ = ["EXCITED", "canonical_transform", "column_transform", "invariant_products"]

# Directions that the inputs excite less than this, relative to the strongest, have no canonical
# axis of their own: they are ordered by the recurrence alone.
EXCITED = 1e-10


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
