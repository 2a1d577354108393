"""Compiled steps of a bin, fused, in tiles of one or two sums over three, five or eight rows.

Rows of trials are addressed by row and first column, since several bins lie side by side (see
`rollout`). A tile is written once, for a tuple with an entry for each sum and one with the number
of each row: numba compiles it for every pair of lengths, and the loops over the tuples unroll.
Matrices of weights have columns of zeros up to `WIDEST`, so that a tile may have more rows than
there are; the last row then stands for those missing. Sums over more than `WIDEST` rows begin with
`partial_sums`, in rows named `part`, which hold zeros otherwise.
"""

from __future__ import annotations

import math

import numpy as np

from predictlearn.compiled import compiled
from predictlearn.theory.kernels.rows import ROWS

__all__ = ["LINE", "WIDEST", "carry", "drive", "partial_sums", "places", "pull", "quadratic"]


# Rows in the longest tile.
WIDEST = 8
_HALF_PI = math.pi / 2
# Numbers in a vector: rows are whole vectors, which spares the loops a remainder.
LINE = np.uintp(8)
# Sums of a tile.
_ONE, _TWO = (0,), (0, 1)
_INLINED = ROWS | {"forceinline": True}


@compiled(**_INLINED)
def places(top: int, j: int, n: int) -> tuple:
    """Return the rows j to j + 7 after `top`; the last of n stands for those after it."""
    x, last = top + j, top + n - 1
    return (
        x, min(x + 1, last), min(x + 2, last), min(x + 3, last), min(x + 4, last),
        min(x + 5, last), min(x + 6, last), min(x + 7, last),
    )  # fmt: skip


@compiled(**_INLINED)
def _total(weights: np.ndarray, i: int, j: int, x: tuple, rows: np.ndarray, at: np.uintp) -> float:
    """Return the sum over c of weights[i, j + c] times row x[c] at one trial."""
    total = 0.0
    for c in range(len(x)):
        total += weights[i, j + c] * rows[x[c], at]
    return total


@compiled(**_INLINED)
def _drive(
    tile: tuple,
    x: tuple,
    weights: np.ndarray,
    j: int,
    rows: np.ndarray,
    at: np.uintp,
    part: np.ndarray,
    d: int,
    gain: np.ndarray,
    t: int,
    keep: float,
    old: int,
    step: int,
    out: np.ndarray,
    o: int,
    to: np.uintp,
    width: np.uintp,
) -> None:
    for p in range(width):
        for c in range(len(tile)):
            total = part[d + c, p] + _total(weights, d + c, j, x, rows, at + p)
            out[o + c, to + p] = keep * rows[old + step * c, at + p] + gain[t, p] * total


@compiled(**_INLINED)
def drive(
    weights: np.ndarray,
    i: int,
    rows: np.ndarray,
    top: int,
    at: np.uintp,
    n: int,
    part: np.ndarray,
    gain: np.ndarray,
    t: int,
    keep: float,
    old: int,
    step: int,
    out: np.ndarray,
    o: int,
    to: np.uintp,
    count: int,
    width: np.uintp,
) -> None:
    """Fill out[o + c] with keep rows[old + step c] + gain[t] sum_j weights[i + c, j] r_j.

    Row r_j, j < n, is rows[top + j], from column `at` on; `to` is the first column of `out`, and
    c < count. Row i + c of `part` holds the sum over all but the last `WIDEST` rows.
    """
    width = width // LINE * LINE
    j = max(n - WIDEST, 0)
    x = places(top, j, n)
    for c in range(0, count, 2):
        d, r, q = i + c, old + step * c, o + c
        if c + 1 < count:
            if n <= 3:
                _drive(
                    _TWO, x[:3], weights, j, rows, at, part, d, gain, t, keep, r, step, out, q, to,
                    width,
                )  # fmt: skip
            elif n <= 5:
                _drive(
                    _TWO, x[:5], weights, j, rows, at, part, d, gain, t, keep, r, step, out, q, to,
                    width,
                )  # fmt: skip
            else:
                _drive(
                    _TWO, x, weights, j, rows, at, part, d, gain, t, keep, r, step, out, q, to,
                    width,
                )  # fmt: skip
        elif n <= 5:
            _drive(
                _ONE, x[:5], weights, j, rows, at, part, d, gain, t, keep, r, step, out, q, to,
                width,
            )  # fmt: skip
        else:
            _drive(
                _ONE, x, weights, j, rows, at, part, d, gain, t, keep, r, step, out, q, to, width
            )


@compiled(**_INLINED)
def _pull(
    tile: tuple,
    x: tuple,
    weights: np.ndarray,
    j: int,
    rows: np.ndarray,
    at: np.uintp,
    part: np.ndarray,
    c: int,
    k: np.ndarray,
    top: int,
    back: np.ndarray,
    dot: np.ndarray,
    width: np.uintp,
) -> None:
    for p in range(width):
        product = dot[0, p]
        for d in range(len(tile)):
            total = part[c + d, p] + _total(weights, c + d, j, x, rows, at + p)
            back[c + d, p] = total
            product += k[top + c + d, at + p] * total
        dot[0, p] = product


@compiled(**_INLINED)
def pull(
    weights: np.ndarray,
    rows: np.ndarray,
    at: np.uintp,
    n: int,
    part: np.ndarray,
    k: np.ndarray,
    top: int,
    back: np.ndarray,
    dot: np.ndarray,
    count: int,
    width: np.uintp,
) -> None:
    """Fill back[c] with the sum over j < n of weights[c, j] rows[j], and dot with that of back k.

    Row c of `part` holds the sum over all but the last `WIDEST` rows.
    """
    width = width // LINE * LINE
    j = max(n - WIDEST, 0)
    x = places(0, j, n)
    for p in range(width):
        dot[0, p] = 0.0
    for c in range(0, count, 2):
        if c + 1 < count:
            if n <= 3:
                _pull(_TWO, x[:3], weights, j, rows, at, part, c, k, top, back, dot, width)
            elif n <= 5:
                _pull(_TWO, x[:5], weights, j, rows, at, part, c, k, top, back, dot, width)
            else:
                _pull(_TWO, x, weights, j, rows, at, part, c, k, top, back, dot, width)
        elif n <= 5:
            _pull(_ONE, x[:5], weights, j, rows, at, part, c, k, top, back, dot, width)
        else:
            _pull(_ONE, x, weights, j, rows, at, part, c, k, top, back, dot, width)


@compiled(**_INLINED)
def _carry(
    tile: tuple,
    x: tuple,
    weights: np.ndarray,
    j: int,
    k: np.ndarray,
    at: np.uintp,
    part: np.ndarray,
    c: int,
    scale: np.ndarray,
    back: np.ndarray,
    i: int,
    a: float,
    q: np.ndarray,
    to: np.uintp,
    width: np.uintp,
) -> None:
    for p in range(width):
        g = a * scale[0, at + p]
        twice = a * scale[1, at + p]
        for d in range(len(tile)):
            total = part[c + d, p] + _total(weights, c + d, j, x, k, at + p)
            q[c + d, to + p] = (
                (1.0 - a) * q[c + d, at + p] + g * back[i + c + d, p] + twice * total
            )  # fmt: skip


@compiled(**_INLINED)
def carry(
    weights: np.ndarray,
    k: np.ndarray,
    top: int,
    at: np.uintp,
    n: int,
    part: np.ndarray,
    scale: np.ndarray,
    back: np.ndarray,
    i: int,
    a: float,
    q: np.ndarray,
    to: np.uintp,
    count: int,
    width: np.uintp,
) -> None:
    """Fill q[c], from `to` on, with the state of the adjoint of the bin before.

    That is (1 - a) q[c] + a (g back[i + c] + 2 s sum_j weights[c, j] row j), with rows of k as in
    `drive`; the two rows of `scale` are g and 2 s. Row c of `part` holds the sum over all but the
    last `WIDEST` rows.
    """
    width = width // LINE * LINE
    j = max(n - WIDEST, 0)
    x = places(top, j, n)
    for c in range(0, count, 2):
        if c + 1 < count:
            if n <= 3:
                _carry(_TWO, x[:3], weights, j, k, at, part, c, scale, back, i, a, q, to, width)
            elif n <= 5:
                _carry(_TWO, x[:5], weights, j, k, at, part, c, scale, back, i, a, q, to, width)
            else:
                _carry(_TWO, x, weights, j, k, at, part, c, scale, back, i, a, q, to, width)
        elif n <= 5:
            _carry(_ONE, x[:5], weights, j, k, at, part, c, scale, back, i, a, q, to, width)
        else:
            _carry(_ONE, x, weights, j, k, at, part, c, scale, back, i, a, q, to, width)


@compiled(**ROWS)
def partial_sums(
    weights: np.ndarray,
    rows: np.ndarray,
    top: int,
    at: np.uintp,
    n: int,
    out: np.ndarray,
    count: int,
    width: np.uintp,
) -> None:
    """Fill out[c] with the sum over j < n of weights[c, j] rows[top + j]; n need not be a tile."""
    for c in range(count):
        for p in range(width):
            out[c, p] = 0.0
        for j in range(0, n - WIDEST + 1, WIDEST):
            x = places(top, j, n)
            for p in range(width):
                out[c, p] += _total(weights, c, j, x, rows, at + p)
        for j in range(n - n % WIDEST, n):
            for p in range(width):
                out[c, p] += weights[c, j] * rows[top + j, at + p]


@compiled(**_INLINED)
def _form(form: np.ndarray, x: tuple, rows: np.ndarray, at: np.uintp) -> float:
    """Return the sum over i <= j of form[i, j] times rows x[i] and x[j] at one trial."""
    total = 0.0
    for i in range(len(x)):
        inner = 0.0
        for j in range(i, len(x)):
            inner += form[i, j] * rows[x[j], at]
        total += rows[x[i], at] * inner
    return total


@compiled(**_INLINED)
def _quadratic(
    form: np.ndarray,
    x: tuple,
    rows: np.ndarray,
    at: np.uintp,
    erf: bool,
    out: np.ndarray,
    t: int,
    width: np.uintp,
) -> None:
    if erf:
        for p in range(width):
            out[t, p] = 1.0 / math.sqrt(1.0 + _HALF_PI * _form(form, x, rows, at + p))
    else:
        for p in range(width):
            out[t, p] = _form(form, x, rows, at + p)


@compiled(**_INLINED)
def quadratic(
    form: np.ndarray,
    rows: np.ndarray,
    top: int,
    at: np.uintp,
    n: int,
    erf: bool,
    out: np.ndarray,
    t: int,
    work: np.ndarray,
    width: np.uintp,
) -> None:
    """Fill out[t] with the sum of form[i, j] times rows i and j, or the gain of erf at that sum.

    Entries of `form` below the diagonal are zero. `work` has n rows of scratch space.
    """
    width = width // LINE * LINE
    x = places(top, 0, n)
    if n <= 3:
        _quadratic(form, x[:3], rows, at, erf, out, t, width)
    elif n <= 5:
        _quadratic(form, x[:5], rows, at, erf, out, t, width)
    elif n <= WIDEST:
        _quadratic(form, x, rows, at, erf, out, t, width)
    else:
        _wide_quadratic(form, rows, top, at, n, erf, out, t, work, width)


@compiled(**ROWS)
def _wide_quadratic(
    form: np.ndarray,
    rows: np.ndarray,
    top: int,
    at: np.uintp,
    n: int,
    erf: bool,
    out: np.ndarray,
    t: int,
    work: np.ndarray,
    width: np.uintp,
) -> None:
    """Fill out[t] as `quadratic` does, for more than `WIDEST` rows."""
    partial_sums(form, rows, top, at, n, work, n, width)
    for p in range(width):
        out[t, p] = 0.0
    for i in range(n):
        for p in range(width):
            out[t, p] += rows[top + i, at + p] * work[i, p]
    if erf:
        for p in range(width):
            out[t, p] = 1.0 / math.sqrt(1.0 + _HALF_PI * out[t, p])
