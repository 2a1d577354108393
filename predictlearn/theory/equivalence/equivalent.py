"""Networks that do the same now, and what decides whether they will learn the same."""

from __future__ import annotations

import numpy as np
import pandas as pd

from predictlearn.checks import as_float_array
from predictlearn.errors import InputError
from predictlearn.theory.names import nonlinearity_name
from predictlearn.theory.overlaps import Overlaps

__all__ = ["functionally_equivalent", "metric"]

_ROUNDING = 1e-12


def functionally_equivalent(
    overlaps: Overlaps, nonlinearity: str = "linear", **new_values: float
) -> Overlaps:
    """Return overlaps with other loss-invisible values: the same function, other learning.

    Parameters
    ----------
    overlaps : Overlaps
        The network to match.
    nonlinearity : {"linear", "erf"}
        Decides which overlaps are loss-invisible.
    **new_values : float
        New values of loss-invisible overlaps, by name.

    Returns
    -------
    Overlaps
        Agrees with `overlaps` on every other entry.

    Raises
    ------
    InputError
        If a name is loss-visible or unknown, or if no network has the new table; the message then
        gives the range of each entry that is reachable and how far they can move together.

    Examples
    --------
    >>> import numpy as np
    >>> import predictlearn as pl
    >>> o = pl.Overlaps(np.eye(4)).replace(zm=0.1, vm=0.05)
    >>> twin = pl.functionally_equivalent(o, "linear", uu=2.05, mu=0.8)
    >>> bool((twin.visible() == o.visible()).all())
    True
    """
    nonlinearity_name(nonlinearity)
    hidden = overlaps.invisible_names(nonlinearity)
    target = overlaps.matrix.copy()
    for name, value in new_values.items():
        i, j = overlaps.index(name)
        if name not in hidden:
            raise InputError(
                f"{name} is loss-visible for a {nonlinearity} network, so changing it changes the "
                f"function; the loss-invisible overlaps are {', '.join(hidden)}."
            )
        target[i, j] = target[j, i] = float(as_float_array(name, value, ndim=0))
    try:
        return Overlaps(target, *overlaps.sizes)
    except InputError as error:
        raise InputError(_unreachable(overlaps, target, new_values)) from error


def _unreachable(overlaps: Overlaps, target: np.ndarray, new_values: dict[str, float]) -> str:
    """Say how far the requested values are from what a network can have."""
    wanted = ", ".join(f"{name}={value:g}" for name, value in new_values.items())
    ranges = []
    for name in new_values:
        i, j = overlaps.index(name)
        others = target.copy()
        others[i, j] = others[j, i] = overlaps.matrix[i, j]
        given = "the other new values"
        try:
            base = Overlaps(others, *overlaps.sizes)
        except InputError:
            base, given = overlaps, "the others unchanged"
        low, high = base.reachable(name)
        ranges.append(f"{name} in [{low:.4g}, {high:.4g}] given {given}")
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        mixed = overlaps.matrix + middle * (target - overlaps.matrix)
        eigenvalues = np.linalg.eigvalsh(mixed)
        if eigenvalues[0] >= -_ROUNDING * eigenvalues[-1]:
            low = middle
        else:
            high = middle
    return (
        f"no network has these visible overlaps with {wanted}: the table would not be positive "
        f"semidefinite. Reachable: {'; '.join(ranges)}. "
        f"Together they can move {100 * low:.4g}% of the way."
    )


def metric(overlaps: Overlaps, nonlinearity: str = "linear") -> pd.DataFrame:
    """Return G(S): how the loss's slope along one overlap moves every overlap.

    Parameters
    ----------
    overlaps : Overlaps
        The network.
    nonlinearity : {"linear", "erf"}
        Decides which overlaps the loss has a slope along.

    Returns
    -------
    pandas.DataFrame, (all overlaps, loss-visible overlaps)
        Under gradient flow ``d(row)/dt = - sum over columns of G[row, column] dL/d(column)``. Its
        visible rows are symmetric and positive semidefinite and hold the invisible overlaps.

    Raises
    ------
    InputError
        If the nonlinearity is unknown.

    Notes
    -----
    From dS/dt = -(S A + A S), linear in S: a change of the overlaps changes G by G(change).

    Examples
    --------
    >>> import numpy as np
    >>> import predictlearn as pl
    >>> g = pl.metric(pl.Overlaps(np.diag([1.0, 2.0, 3.0, 4.0])))
    >>> float(g.loc["zm", "zm"])  # mm + zz
    5.0
    """
    pairs = overlaps.sizes.pairs
    rows, columns = zip(*pairs.values(), strict=True)
    result = {}
    for name in overlaps.visible_names(nonlinearity):
        i, j = pairs[name]
        unit = np.zeros((overlaps.dim, overlaps.dim))
        unit[i, j] += 1.0
        unit[j, i] += 1.0
        moved = overlaps.matrix @ unit
        moved = moved + moved.T
        result[name] = moved[list(rows), list(columns)]
    return pd.DataFrame(result, index=list(pairs))
