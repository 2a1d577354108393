"""Changing the readout between phases: the overlaps with z change, the rest stay."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from predictlearn.checks import as_float_array
from predictlearn.errors import InputError
from predictlearn.theory.names import table_pairs
from predictlearn.theory.overlaps import Loadings, Overlaps
from predictlearn.theory.synapses.network import Factors, Synapses, SynapticNetwork

__all__ = [
    "change_readout",
    "match_readout",
    "readout_in_span",
    "readout_of_synapses",
    "rotate_readout",
    "rotation",
]

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
    k = theta.shape[1]
    draw = np.random.default_rng(seed).standard_normal(loadings.z.shape)
    z = _matched(theta, loadings.z, overlaps.matrix[:k, k:], overlaps.matrix[k:, k:], draw)
    return Loadings(loadings.m, loadings.u, loadings.v, z)


def _matched(
    theta: np.ndarray, z: np.ndarray, cross: np.ndarray, own: np.ndarray, draw: np.ndarray
) -> np.ndarray:
    """Return the readout with given overlaps with theta, (N, k), and with itself.

    What is outside of theta is the old one's, or `draw` where that has nothing there.
    """
    n = len(theta)
    inverse = np.linalg.pinv(theta.T @ theta / n, hermitian=True)
    inside = inverse @ cross
    private = own - cross.T @ inside
    outside = _outside(z, theta, inverse)
    size = outside.T @ outside / n
    scale = max(float(np.max(np.diag(own))), float(np.max(theta**2)), 1e-300)
    if np.linalg.eigvalsh(size)[0] < _NOTHING * scale:
        outside = _outside(draw, theta, inverse)
        size = outside.T @ outside / n
    return theta @ inside + outside @ _root(size, -0.5) @ _root(private, 0.5)


def readout_in_span(
    network: Synapses | Factors,
    values: Mapping[str, float],
    within_manifold: bool = False,
    degrees: float | None = None,
) -> Synapses | Factors:
    """Return a network in its span after the readout is turned or replaced; feedback stays.

    Parameters
    ----------
    network : Synapses or Factors
        The network before.
    values : mapping of str to float
        New values of overlaps with z, as of `change_readout`; of synapses, which have no u and v,
        those of z with m and with z.
    within_manifold : bool, default False
        As of `change_readout`; for factors only.
    degrees : float, optional
        Turn the output of two dimensions by so much instead.

    Returns
    -------
    Synapses or Factors
        The network after, in a span with further dimensions if the new readout needs them.

    Raises
    ------
    InputError
        If a name is not an overlap with z, or no readout has these overlaps.

    Examples
    --------
    >>> import numpy as np
    >>> after = readout_in_span(Synapses.from_overlaps(Overlaps(np.eye(4))), {"zm": 0.5})
    >>> after.quantities()[["zm", "zz"]].round(12).tolist()
    [0.5, 1.0]
    """
    if degrees is not None:
        return replace(network, z=network.z @ rotation(degrees).T)
    z, n_out = network.z, network.z.shape[1]
    if isinstance(network, Factors):
        s = change_readout(network.overlaps, values, within_manifold).matrix
        theta = network.stacked[:, :-n_out]
        k = theta.shape[1]
        cross, own = s[:k, k:], s[k:, k:]
    else:
        theta = network.m
        cross, own = _synaptic_targets(network, values, within_manifold)
    # new dimensions for what the old readout has nothing of
    dim = len(z) + n_out

    def longer(x: np.ndarray) -> np.ndarray:
        return np.pad(x, ((0, dim - len(x)), (0, 0)))

    draw = np.zeros((dim, n_out))
    draw[-n_out:] = np.eye(n_out)
    # loadings of N neurons are larger than columns of the span by the root of N
    size = np.sqrt(dim)
    new = _matched(size * longer(theta), size * longer(z), cross, own, size * draw) / size
    if not np.any(new[-n_out:]):
        return replace(network, z=new[:-n_out])
    parts: dict[str, Any] = {
        name: longer(getattr(network, name))
        for name in ("m", "u", "v", "w", "feedback")
        if getattr(network, name, None) is not None
    }
    if "w" in parts:
        parts["w"] = np.pad(parts["w"], ((0, 0), (0, n_out)))
    return replace(network, z=new, **parts)


def readout_of_synapses(
    network: SynapticNetwork,
    values: Mapping[str, float],
    within_manifold: bool = False,
    degrees: float | None = None,
    seed: int | np.random.SeedSequence = 0,
) -> SynapticNetwork:
    """Return N neurons with synapses after the readout is turned or replaced; feedback stays.

    Parameters
    ----------
    network : SynapticNetwork
        The network before.
    values, within_manifold, degrees
        As of `readout_in_span`.
    seed : int or numpy.random.SeedSequence, default 0
        Draws the part of the readout outside of M where the old one has none.

    Returns
    -------
    SynapticNetwork
        The network after.

    Raises
    ------
    InputError
        If a name is not an overlap with z, or no readout has these overlaps.
    """
    if degrees is not None:
        return replace(network, z=network.z @ rotation(degrees).T)
    root = np.sqrt(network.n_neurons)
    scaled = Synapses(network.m / root, network.w, network.z / root)
    cross, own = _synaptic_targets(scaled, values, within_manifold)
    draw = np.random.default_rng(seed).standard_normal(network.z.shape)
    return replace(network, z=_matched(network.m, network.z, cross, own, draw))


def _synaptic_targets(
    network: Synapses, values: Mapping[str, float], within_manifold: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Return overlaps of a new readout with m and with itself, (n_in, n_out), (n_out, n_out)."""
    sizes = (network.n_in, 1, network.n_out)
    theta = np.hstack([network.m, np.zeros((network.dim, 2)), network.z])
    matrix, pairs = theta.T @ theta, table_pairs(*sizes)
    allowed = [n for n in pairs if n.startswith("z") and "u" not in n and "v" not in n]
    if within_manifold or any(name not in allowed for name in values):
        raise InputError(
            "where synapses have learned there are no u and v: readout can change "
            f"{', '.join(allowed)} only, without within_manifold; or use rotate_readout."
        )
    for name, value in values.items():
        i, j = pairs[name]
        matrix[i, j] = matrix[j, i] = float(as_float_array(name, value, ndim=0))
    n_in = network.n_in
    cross, own = matrix[:n_in, -network.n_out :], matrix[-network.n_out :, -network.n_out :]
    least = cross.T @ np.linalg.pinv(matrix[:n_in, :n_in], hermitian=True) @ cross
    if np.linalg.eigvalsh(own - least)[0] < -1e-9 * np.diag(own).max():
        sizes_said = ", ".join(f"{value:.4g}" for value in np.diag(least))
        raise InputError(
            "no readout has the overlaps "
            + ", ".join(f"{name} = {value:g}" for name, value in values.items())
            + f" in this network: with m as asked its own size must be at least {sizes_said}."
        )
    return cross, own


def _outside(columns: np.ndarray, theta: np.ndarray, inverse: np.ndarray) -> np.ndarray:
    """Return columns without their part in the span of theta."""
    for _ in range(2):  # twice is enough for orthogonality to rounding
        columns = columns - theta @ (inverse @ (theta.T @ columns / theta.shape[0]))
    return columns


def _root(matrix: np.ndarray, power: float) -> np.ndarray:
    """Return a power of a symmetric positive semidefinite matrix."""
    values, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
    return (vectors * np.clip(values, 0.0, None) ** power) @ vectors.T
