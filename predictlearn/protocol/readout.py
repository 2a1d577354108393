"""Changing the readout between phases: the overlaps with z change, the rest stay."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from predictlearn.checks import as_float_array
from predictlearn.errors import InputError
from predictlearn.theory.overlaps import Loadings, Overlaps

__all__ = ["change_readout", "match_readout", "rotate_readout", "rotation"]

# Relative size below which what is left of a readout outside the other loadings counts as nothing.
_NOTHING = 1e-12


def rotation(degrees: float) -> np.ndarray:
    """Return the (2, 2) matrix that turns a vector counter-clockwise."""
    angle = np.deg2rad(degrees)
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


def rotate_readout(overlaps: Overlaps, degrees: float) -> Overlaps:
    """Return the overlaps after the output of two dimensions is turned counter-clockwise.

    Z becomes Z R^T, so the new output is R y. Always realisable.

    Parameters
    ----------
    overlaps : Overlaps
        A network with two outputs.
    degrees : float
        Angle.

    Returns
    -------
    Overlaps
        Overlaps with z changed, the rest as before.

    Raises
    ------
    InputError
        If the network does not have two outputs.

    Examples
    --------
    >>> import numpy as np
    >>> o = Overlaps(np.eye(5), n_out=2).replace(z1m=0.5)
    >>> turned = rotate_readout(o, 90.0)
    >>> round(turned["z1m"], 12), round(turned["z2m"], 12)
    (0.0, 0.5)
    """
    if overlaps.n_out != 2:
        raise InputError(
            f"rotate_readout needs a network with two outputs; this one has {overlaps.n_out}."
        )
    step = np.eye(overlaps.dim)
    z = overlaps.sizes.slices["z"]
    step[z, z] = rotation(degrees).T
    return Overlaps(step.T @ overlaps.matrix @ step, *overlaps.sizes)


def change_readout(
    overlaps: Overlaps, values: Mapping[str, float], within_manifold: bool = False
) -> Overlaps:
    """Return the overlaps after the readout is replaced.

    Parameters
    ----------
    overlaps : Overlaps
        The network before.
    values : mapping of str to float
        New values of overlaps with z; those not named stay.
    within_manifold : bool, default False
        Choose zv and zz so that the new readout lies in the span of m and u, the space of
        activity; only zm and zu may then be named.

    Returns
    -------
    Overlaps
        The network after.

    Raises
    ------
    InputError
        If a name is not an overlap with z, or no readout has these overlaps: the message gives
        the reachable range.

    Examples
    --------
    >>> import numpy as np
    >>> after = change_readout(Overlaps(np.eye(4)), {"zm": 0.6, "zu": 0.8}, within_manifold=True)
    >>> round(after["zz"], 12), after["uu"]
    (1.0, 1.0)
    """
    allowed = [name for name in overlaps.names if name.startswith("z")]
    if within_manifold:
        allowed = [name for name in allowed if "v" not in name and name.count("z") == 1]
    for name in values:
        if name not in allowed:
            raise InputError(
                f"readout can change {', '.join(allowed)} only; {name} "
                + ("follows from within_manifold." if str(name).startswith("z") else "is not of z.")
            )
    matrix = overlaps.matrix.copy()
    for name, value in values.items():
        i, j = overlaps.index(name)
        matrix[i, j] = matrix[j, i] = float(as_float_array(name, value, ndim=0))
    where = overlaps.sizes.slices
    z, rest = where["z"], slice(0, where["z"].start)
    if within_manifold:
        plane = slice(0, where["v"].start)
        inside = np.linalg.pinv(matrix[plane, plane], hermitian=True) @ matrix[plane, z]
        matrix[where["v"], z] = matrix[where["v"], plane] @ inside
        matrix[z, where["v"]] = matrix[where["v"], z].T
        matrix[z, z] = inside.T @ matrix[plane, plane] @ inside
    try:
        return Overlaps(matrix, *overlaps.sizes)
    except InputError as error:
        needed = matrix[z, rest] @ np.linalg.pinv(matrix[rest, rest], hermitian=True)
        least = np.diag(needed @ matrix[rest, z])
        ranges = [
            f"{name} from {low:.4g} to {high:.4g}"
            for name, (low, high) in _ranges(overlaps, values)
        ]
        sizes = [
            f"{overlaps.names[-1] if overlaps.n_out == 1 else f'z{k + 1}z{k + 1}'} of at "
            f"least {value:.4g}"
            for k, value in enumerate(least)
        ]
        raise InputError(
            "no readout has the overlaps "
            + ", ".join(f"{name} = {value:g}" for name, value in values.items())
            + f" in this network. Moving one at a time, it can reach {'; '.join(ranges)}. "
            f"All together they need {', '.join(sizes)}; or set within_manifold: true."
        ) from error


def _ranges(
    overlaps: Overlaps, values: Mapping[str, float]
) -> list[tuple[str, tuple[float, float]]]:
    """Return the range of every named overlap, all others as they were."""
    return [(name, overlaps.reachable(name)) for name in values]


def match_readout(
    loadings: Loadings, overlaps: Overlaps, seed: int | np.random.SeedSequence = 0
) -> Loadings:
    """Return the loadings with a new readout that has the given overlaps; m, u and v stay.

    Parameters
    ----------
    loadings : Loadings
        The network before.
    overlaps : Overlaps
        What it shall have; equal to the network's own but for the entries with z.
    seed : int or numpy.random.SeedSequence, default 0
        Draws the part of the readout outside the other loadings where the old one has none.

    Returns
    -------
    Loadings
        Z = Theta X + E with E orthogonal to Theta = [M U V]; E is the old one's, rescaled.
    """
    theta = np.concatenate([loadings.m, loadings.u, loadings.v], axis=1)
    n, k = theta.shape
    inverse = np.linalg.pinv(theta.T @ theta / n, hermitian=True)
    target = overlaps.matrix[:k, k:]
    inside = inverse @ target
    private = overlaps.matrix[k:, k:] - target.T @ inside
    outside = _outside(loadings.z, theta, inverse)
    size = outside.T @ outside / n
    scale = max(float(np.max(np.diag(overlaps.matrix))), 1e-300)
    if np.linalg.eigvalsh(size)[0] < _NOTHING * scale:
        draw = np.random.default_rng(seed).standard_normal(loadings.z.shape)
        outside = _outside(draw, theta, inverse)
        size = outside.T @ outside / n
    z = theta @ inside + outside @ _root(size, -0.5) @ _root(private, 0.5)
    return Loadings(loadings.m, loadings.u, loadings.v, z)


def _outside(columns: np.ndarray, theta: np.ndarray, inverse: np.ndarray) -> np.ndarray:
    """Return columns without their part in the span of theta."""
    for _ in range(2):  # twice is enough for orthogonality to rounding
        columns = columns - theta @ (inverse @ (theta.T @ columns / theta.shape[0]))
    return columns


def _root(matrix: np.ndarray, power: float) -> np.ndarray:
    """Return a power of a symmetric positive semidefinite matrix."""
    values, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
    return (vectors * np.clip(values, 0.0, None) ** power) @ vectors.T
