"""The sizes of a network as one value, with all that follows from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from predictlearn.theory import names as _names

__all__ = ["Sizes"]


class Sizes(NamedTuple):
    """Numbers of inputs, of recurrent dimensions and of outputs; a tuple of the three.

    Examples
    --------
    >>> sizes = Sizes(1, 2, 1)
    >>> sizes.dim, sizes.slices["v"], sizes.names[:2], sizes == (1, 2, 1)
    (6, slice(3, 5, None), ('zm', 'zu1'), True)
    """

    n_in: int = 1
    rank: int = 1
    n_out: int = 1

    def __str__(self) -> str:
        return str(tuple(self))

    @property
    def dim(self) -> int:
        """D = n_in + 2 rank + n_out."""
        return self.n_in + 2 * self.rank + self.n_out

    @property
    def slices(self) -> Mapping[str, slice]:
        """Where the columns m, u, v, z stand in Theta = [M U V Z]."""
        return _slices(self)

    @property
    def pairs(self) -> Mapping[str, tuple[int, int]]:
        """Row and column of S for every name, in table order."""
        return _pairs(self)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all overlaps, in table order."""
        return tuple(self.pairs)

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns of Theta: m, u, v, z, numbered where a pathway has several.

        >>> Sizes(1, 2, 1).columns
        ('m', 'u1', 'u2', 'v1', 'v2', 'z')
        """
        counts = {p: s.stop - s.start for p, s in self.slices.items()}
        return tuple(f"{p}{i + 1}" if n > 1 else p for p, n in counts.items() for i in range(n))

    @property
    def pathways(self) -> np.ndarray:
        """Pathway of every column of Theta, 0 to 3, (D,)."""
        return np.repeat(range(4), [self.n_in, self.rank, self.rank, self.n_out])

    def visible(self, nonlinearity: object = "linear") -> tuple[str, ...]:
        """Return the names of the loss-visible overlaps."""
        return _names.visible_names(*self, nonlinearity)

    def invisible(self, nonlinearity: object = "linear") -> tuple[str, ...]:
        """Return the names of the loss-invisible overlaps."""
        return _names.invisible_names(*self, nonlinearity)

    def where(self, names: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Return rows and columns in S of some overlaps.

        >>> [where.tolist() for where in Sizes().where(["zm", "uu"])]
        [[3, 1], [0, 1]]
        """
        pairs = np.array([self.pairs[name] for name in names])
        return pairs[:, 0].copy(), pairs[:, 1].copy()


@lru_cache(maxsize=256)
def _slices(sizes: Sizes) -> Mapping[str, slice]:
    """Return `Sizes.slices`."""
    return MappingProxyType(_names.pathway_slices(*sizes))


@lru_cache(maxsize=256)
def _pairs(sizes: Sizes) -> Mapping[str, tuple[int, int]]:
    """Return `Sizes.pairs`."""
    return MappingProxyType(_names.table_pairs(*sizes))
