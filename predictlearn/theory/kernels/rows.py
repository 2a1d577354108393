"""Small compiled products of a few rows with vectors of trials.

A weighted sum of rows taken one row at a time reads and writes the sum once for every row, and its
short loops cost more than their arithmetic. Here two sums of up to four rows are taken in one
vector loop. Rows are addressed by index in whole arrays: a slice would count references, which
costs more than the loop. Trials are counted without sign, which spares the loops a test for
negative indices.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba.core.compiler import Compiler

from predictlearn.compiled import FAST, compiled

__all__ = ["ROWS", "add_products", "mix", "row_products"]


class Apart(Compiler):
    """Compiles a function whose arrays do not overlap where it writes.

    Otherwise every vector loop begins with a comparison of all rows that it reads with all that it
    writes. That costs as much as a loop of a hundred trials, so that short ones are not vectorised.
    """

    def define_pipelines(self) -> Any:
        """Say so to the compiler, then go on as usual."""
        self.state.flags.noalias = True
        return super().define_pipelines()


# Options of kernels that make no arrays and write to no place that they also read under another
# name. Without _nrt=False every call would count its arrays as in use and out of use again, by
# instructions that wait for the memory: a sixth of the time of rank 3.
ROWS: dict[str, Any] = {
    "fastmath": FAST,
    "error_model": "numpy",
    "pipeline_class": Apart,
    "_nrt": False,
}
_INLINED = ROWS | {"forceinline": True}


@compiled()
def _first_rows(n: int) -> int:
    """Return how many of n rows the first loop takes: so many that fours are left."""
    return n if n <= 5 else (n % 4 if n % 4 else 4)


@compiled(**_INLINED)
def mix(
    weights: np.ndarray,
    i: int,
    rows: np.ndarray,
    n: int,
    width: np.uintp,
    out: np.ndarray,
    o: int,
    count: int,
) -> None:
    """Fill out[o + c] with the sum over j < n of weights[i + c, j] rows[j], for c < count."""
    c = 0
    while c + 2 <= count:
        _mix_two(weights, i + c, rows, n, width, out, o + c)
        c += 2
    if c < count:
        _mix_one(weights, i + c, rows, n, width, out, o + c)


@compiled(**_INLINED)
def _mix_two(
    weights: np.ndarray, i: int, rows: np.ndarray, n: int, width: np.uintp, out: np.ndarray, o: int
) -> None:
    """Fill out[o] and out[o + 1]; see `mix`."""
    j = _first_rows(n)
    if j == 4:
        w0, w1, w2, w3 = weights[i, 0], weights[i, 1], weights[i, 2], weights[i, 3]
        x0, x1, x2, x3 = weights[i + 1, 0], weights[i + 1, 1], weights[i + 1, 2], weights[i + 1, 3]
        for p in range(width):
            r0 = rows[0, p]
            r1 = rows[1, p]
            r2 = rows[2, p]
            r3 = rows[3, p]
            out[o, p] = w0 * r0 + w1 * r1 + w2 * r2 + w3 * r3
            out[o + 1, p] = x0 * r0 + x1 * r1 + x2 * r2 + x3 * r3
    elif j == 5:
        w0, w1, w2, w3, w4 = (
            weights[i, 0], weights[i, 1], weights[i, 2], weights[i, 3], weights[i, 4],
        )  # fmt: skip
        x0, x1, x2, x3, x4 = (
            weights[i + 1, 0], weights[i + 1, 1], weights[i + 1, 2], weights[i + 1, 3],
            weights[i + 1, 4],
        )  # fmt: skip
        for p in range(width):
            r0 = rows[0, p]
            r1 = rows[1, p]
            r2 = rows[2, p]
            r3 = rows[3, p]
            r4 = rows[4, p]
            out[o, p] = w0 * r0 + w1 * r1 + w2 * r2 + w3 * r3 + w4 * r4
            out[o + 1, p] = x0 * r0 + x1 * r1 + x2 * r2 + x3 * r3 + x4 * r4
    elif j == 1:
        w0 = weights[i, 0]
        x0 = weights[i + 1, 0]
        for p in range(width):
            r0 = rows[0, p]
            out[o, p] = w0 * r0
            out[o + 1, p] = x0 * r0
    elif j == 2:
        w0, w1 = weights[i, 0], weights[i, 1]
        x0, x1 = weights[i + 1, 0], weights[i + 1, 1]
        for p in range(width):
            r0 = rows[0, p]
            r1 = rows[1, p]
            out[o, p] = w0 * r0 + w1 * r1
            out[o + 1, p] = x0 * r0 + x1 * r1
    else:
        w0, w1, w2 = weights[i, 0], weights[i, 1], weights[i, 2]
        x0, x1, x2 = weights[i + 1, 0], weights[i + 1, 1], weights[i + 1, 2]
        for p in range(width):
            r0 = rows[0, p]
            r1 = rows[1, p]
            r2 = rows[2, p]
            out[o, p] = w0 * r0 + w1 * r1 + w2 * r2
            out[o + 1, p] = x0 * r0 + x1 * r1 + x2 * r2
    while j < n:
        w0, w1, w2, w3 = weights[i, j], weights[i, j + 1], weights[i, j + 2], weights[i, j + 3]
        x0, x1, x2, x3 = (
            weights[i + 1, j],
            weights[i + 1, j + 1],
            weights[i + 1, j + 2],
            weights[i + 1, j + 3],
        )
        for p in range(width):
            r0 = rows[j, p]
            r1 = rows[j + 1, p]
            r2 = rows[j + 2, p]
            r3 = rows[j + 3, p]
            out[o, p] += w0 * r0 + w1 * r1 + w2 * r2 + w3 * r3
            out[o + 1, p] += x0 * r0 + x1 * r1 + x2 * r2 + x3 * r3
        j += 4


@compiled(**_INLINED)
def _mix_one(
    weights: np.ndarray, i: int, rows: np.ndarray, n: int, width: np.uintp, out: np.ndarray, o: int
) -> None:
    """Fill out[o]; see `mix`."""
    j = _first_rows(n)
    if j == 4:
        w0, w1, w2, w3 = weights[i, 0], weights[i, 1], weights[i, 2], weights[i, 3]
        for p in range(width):
            out[o, p] = w0 * rows[0, p] + w1 * rows[1, p] + w2 * rows[2, p] + w3 * rows[3, p]
    elif j == 5:
        w0, w1, w2, w3, w4 = (
            weights[i, 0], weights[i, 1], weights[i, 2], weights[i, 3], weights[i, 4],
        )  # fmt: skip
        for p in range(width):
            out[o, p] = (
                w0 * rows[0, p] + w1 * rows[1, p] + w2 * rows[2, p] + w3 * rows[3, p]
                + w4 * rows[4, p]
            )  # fmt: skip
    elif j == 1:
        w0 = weights[i, 0]
        for p in range(width):
            out[o, p] = w0 * rows[0, p]
    elif j == 2:
        w0, w1 = weights[i, 0], weights[i, 1]
        for p in range(width):
            out[o, p] = w0 * rows[0, p] + w1 * rows[1, p]
    else:
        w0, w1, w2 = weights[i, 0], weights[i, 1], weights[i, 2]
        for p in range(width):
            out[o, p] = w0 * rows[0, p] + w1 * rows[1, p] + w2 * rows[2, p]
    while j < n:
        w0, w1, w2, w3 = weights[i, j], weights[i, j + 1], weights[i, j + 2], weights[i, j + 3]
        for p in range(width):
            out[o, p] += (
                w0 * rows[j, p] + w1 * rows[j + 1, p] + w2 * rows[j + 2, p] + w3 * rows[j + 3, p]
            )
        j += 4


@compiled(**_INLINED)
def row_products(
    left: np.ndarray, right: np.ndarray, n: int, width: np.uintp, out: np.ndarray, o: int
) -> None:
    """Fill out[o] with the sum over rows j < n of left[j] right[j], trial by trial."""
    j = n % 2
    if n == 5:
        j = 5
        for p in range(width):
            out[o, p] = (
                left[0, p] * right[0, p]
                + left[1, p] * right[1, p]
                + left[2, p] * right[2, p]
                + left[3, p] * right[3, p]
                + left[4, p] * right[4, p]
            )
    elif j == 1:
        for p in range(width):
            out[o, p] = left[0, p] * right[0, p]
    else:
        j = 2
        for p in range(width):
            out[o, p] = left[0, p] * right[0, p] + left[1, p] * right[1, p]
    while j < n:
        for p in range(width):
            out[o, p] += left[j, p] * right[j, p] + left[j + 1, p] * right[j + 1, p]
        j += 2


@compiled(**_INLINED)
def add_products(
    x: np.ndarray,
    i: int,
    rows: np.ndarray,
    n: int,
    width: np.uintp,
    out: np.ndarray,
    o: int,
    count: int,
) -> None:
    """Add to out[o + c, j] the sum over trials of x[i + c] rows[j], for j < n and c < count."""
    c = 0
    while c + 2 <= count:
        j = 0
        while j + 3 <= n:
            t0 = t1 = t2 = s0 = s1 = s2 = 0.0
            for p in range(width):
                a, b = x[i + c, p], x[i + c + 1, p]
                r0, r1, r2 = rows[j, p], rows[j + 1, p], rows[j + 2, p]
                t0 += a * r0
                t1 += a * r1
                t2 += a * r2
                s0 += b * r0
                s1 += b * r1
                s2 += b * r2
            out[o + c, j] += t0
            out[o + c, j + 1] += t1
            out[o + c, j + 2] += t2
            out[o + c + 1, j] += s0
            out[o + c + 1, j + 1] += s1
            out[o + c + 1, j + 2] += s2
            j += 3
        if j + 2 <= n:
            t0 = t1 = s0 = s1 = 0.0
            for p in range(width):
                a, b = x[i + c, p], x[i + c + 1, p]
                r0, r1 = rows[j, p], rows[j + 1, p]
                t0 += a * r0
                t1 += a * r1
                s0 += b * r0
                s1 += b * r1
            out[o + c, j] += t0
            out[o + c, j + 1] += t1
            out[o + c + 1, j] += s0
            out[o + c + 1, j + 1] += s1
        elif j < n:
            t0 = s0 = 0.0
            for p in range(width):
                t0 += x[i + c, p] * rows[j, p]
                s0 += x[i + c + 1, p] * rows[j, p]
            out[o + c, j] += t0
            out[o + c + 1, j] += s0
        c += 2
    if c == count:
        return
    j = 0
    while j + 3 <= n:
        t0 = t1 = t2 = 0.0
        for p in range(width):
            t0 += x[i + c, p] * rows[j, p]
            t1 += x[i + c, p] * rows[j + 1, p]
            t2 += x[i + c, p] * rows[j + 2, p]
        out[o + c, j] += t0
        out[o + c, j + 1] += t1
        out[o + c, j + 2] += t2
        j += 3
    while j < n:
        t0 = 0.0
        for p in range(width):
            t0 += x[i + c, p] * rows[j, p]
        out[o + c, j] += t0
        j += 1
