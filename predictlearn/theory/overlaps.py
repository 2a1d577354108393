"""Overlaps: the matrix S of inner products between the loading vectors of a low-rank network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from predictlearn.checks import as_float_array, non_negative, positive_int, seed_sequence
from predictlearn.errors import InputError
from predictlearn.theory import gauge as _gauge
from predictlearn.theory import names as _names
from predictlearn.theory.loadings import Loadings, loadings_of
from predictlearn.theory.sizes import Sizes

__all__ = ["Overlaps"]


class Overlaps:
    """Overlap matrix S = Theta^T Theta / N of a low-rank network, with named entries.

    Theta = [M U V Z] stacks the loading vectors, so S is (D, D) with D = n_in + 2 rank + n_out,
    symmetric and positive semidefinite: a table that is not belongs to no network and is refused.

    Parameters
    ----------
    matrix : array_like, (D, D)
        S, in the order m, u, v, z.
    n_in, rank, n_out : int, default 1
        Numbers of inputs, recurrent dimensions and outputs.
    tolerance : float, default 1e-9
        How far below zero an eigenvalue may be, relative to the largest, before S is refused.

    Raises
    ------
    InputError
        If S has the wrong shape, is not symmetric or not positive semidefinite.

    References
    ----------
    Ger & Barak (2026), "Learning reveals invisible structure in low-rank RNNs", arXiv:2605.04115.

    Examples
    --------
    >>> import numpy as np
    >>> import predictlearn as pl
    >>> o = pl.Overlaps(np.eye(4)).replace(zm=0.3, uu=2.05)
    >>> o["zm"], o["uu"]
    (0.3, 2.05)
    >>> list(o.invisible("linear").index)
    ['mu', 'zv', 'mm', 'uu', 'vv', 'zz']
    """

    __slots__ = ("_matrix", "_sizes")

    def __init__(
        self,
        matrix: Any,
        n_in: int = 1,
        rank: int = 1,
        n_out: int = 1,
        *,
        tolerance: float = 1e-9,
    ) -> None:
        self._sizes = Sizes(
            positive_int("n_in", n_in), positive_int("rank", rank), positive_int("n_out", n_out)
        )
        tolerance = non_negative("tolerance", tolerance)
        dim = self._sizes.dim
        matrix = as_float_array(
            "matrix", matrix, shape=(dim, dim), axes="of overlaps, order m u v z"
        )
        scale = max(float(np.max(np.abs(matrix))), 1e-300)
        skew = float(np.max(np.abs(matrix - matrix.T)))
        if skew > 1e-8 * scale:
            raise InputError(
                f"matrix must be symmetric; it differs from its transpose by up to {skew:.3g}."
            )
        matrix = (matrix + matrix.T) / 2
        eigenvalues = np.linalg.eigvalsh(matrix)
        if eigenvalues[0] < -tolerance * max(float(eigenvalues[-1]), 1e-300):
            raise InputError(
                "matrix must be positive semidefinite, or no network has these overlaps; "
                f"its smallest eigenvalue is {eigenvalues[0]:.3g}."
            )
        matrix.flags.writeable = False
        self._matrix = matrix

    # -- construction -------------------------------------------------------------------------

    @classmethod
    def from_loadings(cls, m: Any, u: Any = None, v: Any = None, z: Any = None) -> Overlaps:
        """Return the overlaps of given loading vectors.

        Parameters
        ----------
        m, u, v, z : array_like, (N, n_in), (N, rank), (N, rank), (N, n_out)
            Loadings of N neurons; one-dimensional arrays count as one column. Or `Loadings`, alone.

        Returns
        -------
        Overlaps
            S = [M U V Z]^T [M U V Z] / N.

        Raises
        ------
        InputError
            If the shapes disagree.

        Examples
        --------
        >>> import numpy as np
        >>> import predictlearn as pl
        >>> m, u, v, z = np.random.default_rng(0).normal(size=(4, 1000, 1))
        >>> pl.Overlaps.from_loadings(m, u, v, z).names[:4]
        ('zm', 'zu', 'vm', 'vu')
        """
        if isinstance(m, Loadings):
            if any(other is not None for other in (u, v, z)):
                raise InputError(
                    "u, v and z must be left out where m is Loadings, which hold them."
                )
            loadings = m
        else:
            columns = [np.asarray(a, dtype=float) for a in (m, u, v, z)]
            loadings = Loadings(*(a[:, None] if a.ndim == 1 else a for a in columns))
        theta = loadings.stacked
        return cls(
            theta.T @ theta / loadings.n_neurons,
            n_in=loadings.m.shape[1],
            rank=loadings.u.shape[1],
            n_out=loadings.z.shape[1],
        )

    @classmethod
    def from_series(
        cls, values: Mapping[str, float] | pd.Series, n_in: int = 1, rank: int = 1, n_out: int = 1
    ) -> Overlaps:
        """Return the overlaps with the named values; every name must be given.

        Parameters
        ----------
        values : mapping or pandas.Series
            Value by name, as `to_series` returns it.
        n_in, rank, n_out : int, default 1
            Numbers of inputs, recurrent dimensions and outputs.

        Returns
        -------
        Overlaps
            The table.

        Raises
        ------
        InputError
            If a name is missing or unknown, or the table is not realisable.
        """
        sizes = Sizes(n_in, rank, n_out)
        given = {str(k): float(v) for k, v in dict(values).items()}
        missing = [name for name in sizes.names if name not in given]
        if missing:
            raise InputError(f"values must name every overlap; missing: {', '.join(missing)}.")
        matrix = np.zeros((sizes.dim, sizes.dim))
        for name, value in given.items():
            if name not in sizes.pairs:
                raise InputError(_names.unknown_name(name, sizes.names))
            i, j = sizes.pairs[name]
            matrix[i, j] = matrix[j, i] = value
        return cls(matrix, n_in=n_in, rank=rank, n_out=n_out)

    def _like(self, matrix: np.ndarray) -> Overlaps:
        """Return overlaps of the same sizes."""
        return Overlaps(matrix, *self._sizes)

    # -- sizes and entries --------------------------------------------------------------------

    @property
    def n_in(self) -> int:
        """Number of inputs."""
        return self._sizes.n_in

    @property
    def rank(self) -> int:
        """Rank R of the recurrent connectivity."""
        return self._sizes.rank

    @property
    def n_out(self) -> int:
        """Number of outputs."""
        return self._sizes.n_out

    @property
    def sizes(self) -> Sizes:
        """The triple (n_in, rank, n_out)."""
        return self._sizes

    @property
    def dim(self) -> int:
        """D = n_in + 2 rank + n_out."""
        return int(self._matrix.shape[0])

    @property
    def matrix(self) -> np.ndarray:
        """S, (D, D), read-only."""
        return self._matrix

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all overlaps, in table order."""
        return self._sizes.names

    def index(self, name: str) -> tuple[int, int]:
        """Return the row and column of a named overlap in the matrix.

        Parameters
        ----------
        name : str
            Such as ``"zm"`` or ``"v1u2"``.

        Returns
        -------
        tuple of int
            Row and column.

        Raises
        ------
        InputError
            If there is no such overlap; the message names the nearest one.
        """
        if name not in self._sizes.pairs:
            raise InputError(_names.unknown_name(name, self.names))
        return self._sizes.pairs[name]

    def __getitem__(self, name: str) -> float:
        return float(self._matrix[self.index(name)])

    def block(self, rows: str, columns: str) -> np.ndarray:
        """Return a block of S, for example ``block("v", "m")``, (rank, n_in).

        Parameters
        ----------
        rows, columns : {"m", "u", "v", "z"}
            Pathways.

        Returns
        -------
        numpy.ndarray
            A read-only view.

        Raises
        ------
        InputError
            If a pathway is unknown.
        """
        where = self.sizes.slices
        for pathway in (rows, columns):
            if pathway not in where:
                raise InputError(f"a pathway must be one of m, u, v, z; got {pathway!r}.")
        return self._matrix[where[rows], where[columns]]

    def replace(self, **values: float) -> Overlaps:
        """Return a copy in which the named overlaps have new values.

        Parameters
        ----------
        **values : float
            New values by name.

        Returns
        -------
        Overlaps
            The changed table.

        Raises
        ------
        InputError
            If a name is unknown, or no network has the resulting overlaps.

        Examples
        --------
        >>> import numpy as np
        >>> import predictlearn as pl
        >>> pl.Overlaps(np.eye(4)).replace(mu=0.8, uu=2.05)["mu"]
        0.8
        """
        matrix = self._matrix.copy()
        for name, value in values.items():
            i, j = self.index(name)
            matrix[i, j] = matrix[j, i] = float(as_float_array(name, value, ndim=0))
        return self._like(matrix)

    def to_series(self) -> pd.Series:
        """Return all overlaps by name, in table order."""
        return self._series(self.names)

    def _series(self, names: tuple[str, ...]) -> pd.Series:
        """Return the named overlaps."""
        return pd.Series([self[name] for name in names], index=list(names), name="overlap")

    # -- what can be seen ---------------------------------------------------------------------

    def visible_names(self, nonlinearity: str = "linear") -> tuple[str, ...]:
        """Return the names of the loss-visible overlaps."""
        return self.sizes.visible(nonlinearity)

    def invisible_names(self, nonlinearity: str = "linear") -> tuple[str, ...]:
        """Return the names of the loss-invisible overlaps."""
        return self.sizes.invisible(nonlinearity)

    def recordable_names(self) -> tuple[str, ...]:
        """Return the names that a recording of activity and output can see."""
        return _names.recordable_names(*self.sizes)

    def hidden_names(self) -> tuple[str, ...]:
        """Return the names that no single recording can see."""
        return _names.hidden_names(*self.sizes)

    def visible(self, nonlinearity: str = "linear") -> pd.Series:
        """Return the loss-visible overlaps.

        Parameters
        ----------
        nonlinearity : {"linear", "erf"}
            For erf the loss sees the (m, u) block too.

        Returns
        -------
        pandas.Series
            Value by name.

        Raises
        ------
        InputError
            If the nonlinearity is unknown.
        """
        return self._series(self.visible_names(nonlinearity))

    def invisible(self, nonlinearity: str = "linear") -> pd.Series:
        """Return the loss-invisible overlaps; see `visible`."""
        return self._series(self.invisible_names(nonlinearity))

    # -- realisability and gauge --------------------------------------------------------------

    def reachable(self, name: str) -> tuple[float, float]:
        """Return the range of one overlap, all others fixed, in which a network exists.

        Parameters
        ----------
        name : str
            The overlap that may move.

        Returns
        -------
        low, high : float
            Closed range; high is infinite for squared norms.

        Raises
        ------
        InputError
            If the name is unknown.

        Notes
        -----
        With R the other columns, S/R is the Schur complement on the entry's own columns; the
        entry may move as long as that complement stays positive semidefinite.

        Examples
        --------
        >>> import numpy as np
        >>> import predictlearn as pl
        >>> pl.Overlaps(np.eye(4)).reachable("mu")
        (-1.0, 1.0)
        """
        i, j = self.index(name)
        own = [i] if i == j else [i, j]
        rest = [k for k in range(self.dim) if k not in own]
        cross = self._matrix[np.ix_(own, rest)]
        explained = (
            cross @ np.linalg.pinv(self._matrix[np.ix_(rest, rest)], hermitian=True) @ cross.T
        )
        if i == j:
            return float(explained[0, 0]), np.inf
        private = np.clip(np.diag(self._matrix)[own] - np.diag(explained), 0.0, None)
        reach = float(np.sqrt(private[0] * private[1]))
        centre = float(explained[0, 1])
        return centre - reach, centre + reach

    def gauge(self, q: Any) -> Overlaps:
        """Return the overlaps after U -> U Q, V -> V Q^-T: same activity, other learning.

        Parameters
        ----------
        q : array_like, (rank, rank), or float for rank one
            An invertible matrix.

        Returns
        -------
        Overlaps
            B^T S B with B = diag(1, Q, Q^-T, 1).

        Raises
        ------
        InputError
            If Q has the wrong shape or cannot be inverted.
        """
        q = np.atleast_2d(np.asarray(q, dtype=float))
        q = as_float_array("q", q, shape=(self.rank, self.rank), axes="(rank, rank)")
        if np.linalg.matrix_rank(q) < self.rank:
            raise InputError("q must be invertible; it is singular.")
        b = _gauge.column_transform(q, self.n_in, self.n_out)
        return self._like(b.T @ self._matrix @ b)

    def canonical_transform(self) -> np.ndarray:
        """Return the Q, (rank, rank), that leads to the canonical gauge."""
        return _gauge.canonical_transform(
            self.block("u", "u"), self.block("v", "m"), self.block("v", "u")
        )

    def canonical(self) -> Overlaps:
        """Return the same network in the canonical gauge.

        In it uu is the identity and the axes are ordered by how the inputs reach them (Gram-Schmidt
        on vm, vu vm, ...); for rank one, uu = 1 and vm to the first input is positive.

        Returns
        -------
        Overlaps
            Same activity, output and loss.

        Raises
        ------
        InputError
            If uu is singular.
        """
        return self.gauge(self.canonical_transform())

    def gauge_invariants(self) -> pd.Series:
        """Return combinations of overlaps that do not depend on the gauge of u and v.

        Returns
        -------
        pandas.Series
            By name, such as ``zu*vm``; entries of matrices carry their indices.
        """
        blocks = {name: self.block(*name) for name in ("zm", "zu", "vm", "vu", "mu", "zv")}
        blocks |= {name: self.block(*name) for name in ("mm", "uu", "vv", "zz")}
        return pd.Series(_gauge.invariant_entries(blocks), name="invariant")

    # -- networks -----------------------------------------------------------------------------

    def loadings(self, n_neurons: int, seed: int = 0) -> Loadings:
        """Return random loading vectors whose overlaps are exactly these.

        Parameters
        ----------
        n_neurons : int
            N, at least D.
        seed : int, default 0
            Seed of the random directions.

        Returns
        -------
        Loadings
            Gaussian vectors, whitened to be exactly orthonormal, times a square root of S.

        Raises
        ------
        InputError
            If N is below D.

        Examples
        --------
        >>> import numpy as np
        >>> import predictlearn as pl
        >>> o = pl.Overlaps(np.eye(4)).replace(zm=0.3)
        >>> back = pl.Overlaps.from_loadings(o.loadings(50))
        >>> bool(np.allclose(back.matrix, o.matrix, atol=1e-14))
        True
        """
        n_neurons = positive_int("n_neurons", n_neurons, minimum=self.dim)
        return loadings_of(self._matrix, self.sizes, n_neurons, seed_sequence(seed))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Overlaps):
            return NotImplemented
        return self.sizes == other.sizes and bool(np.array_equal(self._matrix, other._matrix))

    def __hash__(self) -> int:
        return hash((self.sizes, self._matrix.tobytes()))

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={self[name]:.4g}" for name in self.names[:10])
        more = ", ..." if len(self.names) > 10 else ""
        return f"Overlaps(n_in={self.n_in}, rank={self.rank}, n_out={self.n_out}: {shown}{more})"
