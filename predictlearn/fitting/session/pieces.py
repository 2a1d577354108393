"""Neurons or trials taken a few at a time, so that what is computed of them stays small.

An array of a whole recording beside it, for every step of a sum, would be most of the memory that
is needed. What fits into one piece is computed in one.
"""

from __future__ import annotations

__all__ = ["MOST", "pieces"]

MOST = 4_000_000
"""Numbers of a piece: 32 MB an array, which costs no time beside larger ones."""


def pieces(n: int, each: int, most: int = MOST) -> list[slice]:
    """Split some things into pieces of a bounded size.

    Parameters
    ----------
    n : int
        How many things there are, such as neurons.
    each : int
        How many numbers each of them takes.
    most : int
        How many numbers a piece may have; one thing is a piece whatever it takes.

    Returns
    -------
    list of slice
        The pieces, in order; one, an empty slice, of nothing.

    Examples
    --------
    >>> pieces(5, 1000, 2000)
    [slice(0, 2, None), slice(2, 4, None), slice(4, 5, None)]
    >>> len(pieces(100, 40_000))
    1
    """
    step = max(1, most // max(each, 1))
    return [slice(low, min(low + step, n)) for low in range(0, max(n, 1), step)]
