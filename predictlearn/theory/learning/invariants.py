"""What gradient flow conserves, and how far a trajectory drifted from it."""

from __future__ import annotations

import numpy as np
import pandas as pd

from predictlearn.theory.learning.trajectory import Trajectory
from predictlearn.theory.names import nonlinearity_name
from predictlearn.theory.overlaps import Overlaps

__all__ = ["conserved", "drift"]


def _letters(name: str, i: int, j: int, size: int) -> str:
    """Return uu - vv with indices where there are several."""
    return name if size == 1 else "-".join(f"{p[0]}{i + 1}{p[1]}{j + 1}" for p in name.split("-"))


def conserved(overlaps: Overlaps, nonlinearity: str = "linear") -> pd.Series:
    """Return the quantities that gradient flow at equal rates leaves unchanged.

    Parameters
    ----------
    overlaps : Overlaps
        The network.
    nonlinearity : {"linear", "erf"}
        For erf only uu - vv is conserved, since its loss depends on the (m, u) block too.

    Returns
    -------
    pandas.Series
        ``uu-vv`` (a matrix for higher rank), and for linear networks the eigenvalues of J S, with
        J = diag(-1 on m, u; +1 on v, z), as ``JS1`` upwards, and ``mm-zz`` with one input and one
        output.

    Raises
    ------
    InputError
        If the nonlinearity is unknown.

    Notes
    -----
    U -> U Q, V -> V Q^-T leaves the connectivity as it is, hence U'U - V'V; for linear networks the
    matrix [Z V][Z V]' - [M U][M U]' over neurons is conserved, and its non-zero eigenvalues over N
    are those of J S. J S is similar to a symmetric matrix, so they are real.

    Examples
    --------
    >>> import numpy as np
    >>> import predictlearn as pl
    >>> float(pl.conserved(pl.Overlaps(np.eye(4)).replace(uu=2.0))["uu-vv"])
    1.0
    """
    kind = nonlinearity_name(nonlinearity)
    rank = overlaps.rank
    difference = overlaps.block("u", "u") - overlaps.block("v", "v")
    values = {
        _letters("uu-vv", i, j, rank): difference[i, j] for i in range(rank) for j in range(i, rank)
    }
    if kind == "linear":
        where = overlaps.sizes.slices
        signs = np.ones(overlaps.dim)
        signs[: where["v"].start] = -1.0
        eigenvalues, vectors = np.linalg.eigh(overlaps.matrix)
        root = (vectors * np.sqrt(np.clip(eigenvalues, 0.0, None))) @ vectors.T
        spectrum = np.linalg.eigvalsh(root @ (signs[:, None] * root))
        values |= {f"JS{k + 1}": value for k, value in enumerate(spectrum)}
        if overlaps.n_in == 1 and overlaps.n_out == 1:
            values["mm-zz"] = overlaps["mm"] - overlaps["zz"]
    return pd.Series(values, name="conserved", dtype=float)


def drift(trajectory: Trajectory, nonlinearity: str | None = None) -> pd.DataFrame:
    """Return how far the conserved quantities moved along a trajectory.

    Parameters
    ----------
    trajectory : Trajectory
        From `learn` or `train_network`.
    nonlinearity : {"linear", "erf"}, optional
        The trajectory's own unless given; "linear" on an erf run shows what erf breaks.

    Returns
    -------
    pandas.DataFrame
        One row a quantity: ``start``, ``end``, and ``largest`` absolute departure from the start.

    Raises
    ------
    InputError
        If the nonlinearity is unknown.

    Notes
    -----
    Zero along gradient flow; of first order in the rate for descent; more under noise.

    Examples
    --------
    >>> import numpy as np
    >>> import predictlearn as pl
    >>> start = pl.Overlaps(np.eye(4)).replace(vm=0.1, zu=0.1)
    >>> t = pl.learn(start, pl.Filter(duration=5.0), pl.GradientFlow(), 1.0)
    >>> bool(pl.drift(t)["largest"].max() < 1e-6)
    True
    """
    kind = trajectory.settings["nonlinearity"] if nonlinearity is None else nonlinearity
    table = pd.DataFrame(
        [conserved(Overlaps(s, *trajectory.sizes), kind) for s in trajectory.array]
    )
    return pd.DataFrame(
        {
            "start": table.iloc[0],
            "end": table.iloc[-1],
            "largest": (table - table.iloc[0]).abs().max(),
        }
    )
