"""Compiled sums over the trials of many bins at once: products of rows with rows.

Rows, tiles and weights are those of `tiles`; here a tile is one to three rows by three or
five, each with a sum of its own that runs over a whole chunk.
"""

from __future__ import annotations

import numpy as np

from predictlearn.compiled import compiled
from predictlearn.theory.kernels.rows import ROWS
from predictlearn.theory.kernels.tiles import LINE, places

__all__ = ["add_outer"]


_INLINED = ROWS | {"forceinline": True}


@compiled(**_INLINED)
def _add(out: np.ndarray, i: int, j: int, n: int, sums: tuple) -> None:
    """Add sums to out[i, j], out[i, j + 1], ..., as far as column n."""
    for c in range(len(sums)):
        if j + c < n:
            out[i, j + c] += sums[c]


@compiled(**ROWS)
def add_outer(
    scale: np.ndarray,
    f: int,
    left: np.ndarray,
    i: int,
    rows: np.ndarray,
    top: int,
    n: int,
    out: np.ndarray,
    o: int,
    count: int,
    lower: bool,
    length: np.uintp,
) -> None:
    """Add to out[o + c, j] the sum over columns of scale[f] left[i + c] rows[top + j], j < n.

    With `lower`, only columns j <= c are needed, and those that a tile has beside them are filled.
    The rows are as long as many bins, so that each sum is taken in a single long loop.
    """
    length = length // LINE * LINE
    c = 0
    while c < count:
        # tiles of three, but four are two and two
        tile = count - c if count - c < 4 else (2 if count - c == 4 else 3)
        m = c + tile if lower else n
        j = 0
        while j < m:
            x = places(top, j, m)
            few = m - j <= 3 or m - j == 6
            if tile == 3 and few:
                a0 = a1 = a2 = b0 = b1 = b2 = c0 = c1 = c2 = 0.0
                for p in range(length):
                    s = scale[f, p]
                    u, v, w = s * left[i + c, p], s * left[i + c + 1, p], s * left[i + c + 2, p]
                    r0, r1, r2 = rows[x[0], p], rows[x[1], p], rows[x[2], p]
                    a0, a1, a2 = a0 + u * r0, a1 + u * r1, a2 + u * r2
                    b0, b1, b2 = b0 + v * r0, b1 + v * r1, b2 + v * r2
                    c0, c1, c2 = c0 + w * r0, c1 + w * r1, c2 + w * r2
                _add(out, o + c, j, m, (a0, a1, a2))
                _add(out, o + c + 1, j, m, (b0, b1, b2))
                _add(out, o + c + 2, j, m, (c0, c1, c2))
            elif tile == 3:
                a0 = a1 = a2 = a3 = a4 = b0 = b1 = b2 = b3 = b4 = c0 = c1 = c2 = c3 = c4 = 0.0
                for p in range(length):
                    s = scale[f, p]
                    u, v, w = s * left[i + c, p], s * left[i + c + 1, p], s * left[i + c + 2, p]
                    r0, r1, r2 = rows[x[0], p], rows[x[1], p], rows[x[2], p]
                    r3, r4 = rows[x[3], p], rows[x[4], p]
                    a0, a1, a2, a3, a4 = (
                        a0 + u * r0,
                        a1 + u * r1,
                        a2 + u * r2,
                        a3 + u * r3,
                        a4 + u * r4,
                    )
                    b0, b1, b2, b3, b4 = (
                        b0 + v * r0,
                        b1 + v * r1,
                        b2 + v * r2,
                        b3 + v * r3,
                        b4 + v * r4,
                    )
                    c0, c1, c2, c3, c4 = (
                        c0 + w * r0,
                        c1 + w * r1,
                        c2 + w * r2,
                        c3 + w * r3,
                        c4 + w * r4,
                    )
                _add(out, o + c, j, m, (a0, a1, a2, a3, a4))
                _add(out, o + c + 1, j, m, (b0, b1, b2, b3, b4))
                _add(out, o + c + 2, j, m, (c0, c1, c2, c3, c4))
            elif tile == 2 and few:
                a0 = a1 = a2 = b0 = b1 = b2 = 0.0
                for p in range(length):
                    s = scale[f, p]
                    u, v = s * left[i + c, p], s * left[i + c + 1, p]
                    r0, r1, r2 = rows[x[0], p], rows[x[1], p], rows[x[2], p]
                    a0, a1, a2 = a0 + u * r0, a1 + u * r1, a2 + u * r2
                    b0, b1, b2 = b0 + v * r0, b1 + v * r1, b2 + v * r2
                _add(out, o + c, j, m, (a0, a1, a2))
                _add(out, o + c + 1, j, m, (b0, b1, b2))
            elif tile == 2:
                a0 = a1 = a2 = a3 = a4 = b0 = b1 = b2 = b3 = b4 = 0.0
                for p in range(length):
                    s = scale[f, p]
                    u, v = s * left[i + c, p], s * left[i + c + 1, p]
                    r0, r1, r2 = rows[x[0], p], rows[x[1], p], rows[x[2], p]
                    r3, r4 = rows[x[3], p], rows[x[4], p]
                    a0, a1, a2, a3, a4 = (
                        a0 + u * r0,
                        a1 + u * r1,
                        a2 + u * r2,
                        a3 + u * r3,
                        a4 + u * r4,
                    )
                    b0, b1, b2, b3, b4 = (
                        b0 + v * r0,
                        b1 + v * r1,
                        b2 + v * r2,
                        b3 + v * r3,
                        b4 + v * r4,
                    )
                _add(out, o + c, j, m, (a0, a1, a2, a3, a4))
                _add(out, o + c + 1, j, m, (b0, b1, b2, b3, b4))
            else:
                a0 = a1 = a2 = a3 = a4 = 0.0
                for p in range(length):
                    u = scale[f, p] * left[i + c, p]
                    a0, a1, a2 = (
                        a0 + u * rows[x[0], p],
                        a1 + u * rows[x[1], p],
                        a2 + u * rows[x[2], p],
                    )
                    a3, a4 = a3 + u * rows[x[3], p], a4 + u * rows[x[4], p]
                _add(out, o + c, j, m, (a0, a1, a2, a3, a4))
                few = False
            j += 3 if few else 5
        c += tile
