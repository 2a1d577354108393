"""What every posterior about an estimate gives: the point, draws and intervals."""

from __future__ import annotations

from typing import ClassVar, Protocol

import pandas as pd

from predictlearn.arrays import Array

__all__ = ["Density"]


class Density(Protocol):
    """A posterior of start and rates, by whichever method the data allow.

    Attributes
    ----------
    has_maximum : bool
        Whether the likelihood has a maximum there, without which there is no profile.
    """

    has_maximum: ClassVar[bool]

    @property
    def point(self) -> Array:
        """The estimate, natural parameters: overlaps, then logarithms of rates; (P,)."""
        ...

    def draws(self, n: int, seed: int) -> Array:
        """Return n draws of the natural parameters, (n, P)."""
        ...

    def intervals(self, level: float) -> pd.DataFrame:
        """Return low, high, estimate and sd of every overlap and rate."""
        ...
