"""Compiled pieces that all loops share: the tabulated gain, and how outputs are judged.

A gain reaches the compiled loops as one array, whose size tells its kind:

- 0, linear: g = 1.
- 1, erf: g = 1 / sqrt(1 + pi Delta / 2).
- RATIONAL_SIZE: g^2 = B(Delta) / A(Delta), with the coefficients of B, of degree DEGREE, and then
  those of A, of one degree more; highest power first, none negative. Where g^2 falls as 1 / Delta
  and phi is smooth this is the more exact form, and the faster: one division and one root, with
  the polynomials before them, so that those of the next trials can be computed meanwhile.
- TABLE_SIZE: shift, offset and scale, then the coefficients, highest power first, of a polynomial
  in x = 2 w - 1, where 1 / w = offset + sqrt(shift + scale Delta): for a phi with a kink, or a
  gain that is zero somewhere.
"""

from __future__ import annotations

import math

import numpy as np

from predictlearn.compiled import FAST, compiled
from predictlearn.theory.kernels.arguments import Judging

__all__ = [
    "DEGREE",
    "N_COEFFICIENTS",
    "RATIONAL_SIZE",
    "TABLE_SIZE",
    "gain_and_slope",
    "judge",
    "rational_coefficients",
    "rational_gain",
    "tabulated_gain",
]

# Degree of B; rational_coefficients and rational_gain are written out for it.
DEGREE = 7
RATIONAL_SIZE = 2 * DEGREE + 3
# Coefficients of the polynomial that stands for a gain, and the numbers before them in a table.
N_COEFFICIENTS = 21
_HEAD = 3
TABLE_SIZE = _HEAD + N_COEFFICIENTS
_HALF_PI = math.pi / 2
_Coefficients = tuple[float, ...]


@compiled(error_model="numpy", forceinline=True)
def rational_coefficients(table: np.ndarray) -> _Coefficients:
    """Return the numbers of a rational table, which a loop so keeps in registers."""
    return (
        table[0], table[1], table[2], table[3], table[4], table[5], table[6], table[7],
        table[8], table[9], table[10], table[11], table[12], table[13], table[14], table[15],
        table[16],
    )  # fmt: skip


@compiled(fastmath=FAST, error_model="numpy", forceinline=True)
def rational_gain(c: _Coefficients, delta: float) -> tuple[float, float]:
    """Return g and 2 dg/dDelta at one variance, written out so that a loop of it is a vector loop.

    g = B sqrt(1 / (A B)) and 2 dg/dDelta = (B' A - A' B) g / (A B), by one division and one root.
    """
    b1 = c[0]
    b = c[0] * delta + c[1]
    a1 = c[8]
    a = c[8] * delta + c[9]
    b1 = b1 * delta + b
    b = b * delta + c[2]
    a1 = a1 * delta + a
    a = a * delta + c[10]
    b1 = b1 * delta + b
    b = b * delta + c[3]
    a1 = a1 * delta + a
    a = a * delta + c[11]
    b1 = b1 * delta + b
    b = b * delta + c[4]
    a1 = a1 * delta + a
    a = a * delta + c[12]
    b1 = b1 * delta + b
    b = b * delta + c[5]
    a1 = a1 * delta + a
    a = a * delta + c[13]
    b1 = b1 * delta + b
    b = b * delta + c[6]
    a1 = a1 * delta + a
    a = a * delta + c[14]
    b1 = b1 * delta + b
    b = b * delta + c[7]
    a1 = a1 * delta + a
    a = a * delta + c[15]
    a1 = a1 * delta + a
    a = a * delta + c[16]
    inverse = 1.0 / (a * b)
    g = b * math.sqrt(inverse)
    return g, (b1 * a - a1 * b) * inverse * g


@compiled(fastmath=FAST, error_model="numpy")
def tabulated_gain(
    table: np.ndarray, delta: np.ndarray, slope: np.ndarray, t: int, width: np.uintp
) -> None:
    """Replace variances in delta[t] by gains, and fill slope[t] with 2 dg/dDelta.

    Of a polynomial, value and exact derivative come from Horner recurrences for the even and the
    odd powers, side by side since a single one waits for itself, and written out so that the loop
    over trials is one vector loop.
    """
    if table.size == RATIONAL_SIZE:
        c = rational_coefficients(table)
        for p in range(width):
            delta[t, p], slope[t, p] = rational_gain(c, delta[t, p])
        return
    shift, offset, scale = table[0], table[1], table[2]
    c0, c1, c2, c3, c4, c5, c6 = (
        table[3], table[4], table[5], table[6], table[7], table[8], table[9],
    )  # fmt: skip
    c7, c8, c9, c10, c11, c12, c13 = (
        table[10], table[11], table[12], table[13], table[14], table[15], table[16],
    )  # fmt: skip
    c14, c15, c16, c17, c18, c19, c20 = (
        table[17], table[18], table[19], table[20], table[21], table[22], table[23],
    )  # fmt: skip
    for p in range(width):
        root = math.sqrt(shift + scale * delta[t, p])
        w = 1.0 / (offset + root)
        x = 2.0 * w - 1.0
        z = x * x
        even = c0 * z + c2
        even_z = c0
        odd = c1 * z + c3
        odd_z = c1
        even_z = even_z * z + even
        even = even * z + c4
        odd_z = odd_z * z + odd
        odd = odd * z + c5
        even_z = even_z * z + even
        even = even * z + c6
        odd_z = odd_z * z + odd
        odd = odd * z + c7
        even_z = even_z * z + even
        even = even * z + c8
        odd_z = odd_z * z + odd
        odd = odd * z + c9
        even_z = even_z * z + even
        even = even * z + c10
        odd_z = odd_z * z + odd
        odd = odd * z + c11
        even_z = even_z * z + even
        even = even * z + c12
        odd_z = odd_z * z + odd
        odd = odd * z + c13
        even_z = even_z * z + even
        even = even * z + c14
        odd_z = odd_z * z + odd
        odd = odd * z + c15
        even_z = even_z * z + even
        even = even * z + c16
        odd_z = odd_z * z + odd
        odd = odd * z + c17
        even_z = even_z * z + even
        even = even * z + c18
        odd_z = odd_z * z + odd
        odd = odd * z + c19
        even_z = even_z * z + even
        even = even * z + c20
        # value even(z) + x odd(z), and its derivative by x
        v = even + x * odd
        d = odd + 2.0 * x * (even_z + x * odd_z)
        delta[t, p] = v
        # dx/dDelta = -w^2 scale / root
        slope[t, p] = -2.0 * d * w * w * scale / root


@compiled(fastmath=FAST, error_model="numpy")
def gain_and_slope(gain: np.ndarray, delta: float) -> tuple[float, float]:
    """Return g and 2 dg/dDelta at one variance."""
    if gain.size == 0:
        return 1.0, 0.0
    if gain.size == 1:
        g = 1.0 / math.sqrt(1.0 + _HALF_PI * delta)
        return g, -_HALF_PI * g * g * g
    if gain.size == RATIONAL_SIZE:
        return rational_gain(rational_coefficients(gain), delta)
    root = math.sqrt(gain[0] + gain[2] * delta)
    w = 1.0 / (gain[1] + root)
    x = 2.0 * w - 1.0
    d = 0.0
    v = gain[_HEAD]
    for i in range(_HEAD + 1, gain.size):
        d = d * x + v
        v = v * x + gain[i]
    return v, -2.0 * d * w * w * gain[2] / root


@compiled(fastmath=FAST)
def judge(y: np.ndarray, judging: Judging, first: np.uintp, width: np.uintp) -> float:
    """Turn outputs y, (time, n_out, width), into dL/dy in place; return the loss.

    `first` is the block's first trial in targets and weights. `noise`, if not empty, is added to
    the targets for the derivative only: the loss returned is that of the clean targets.
    """
    targets, weights, noise, offset, smoothing, direct = judging
    n_steps, n_out = y.shape[0], y.shape[1]
    noisy = noise.shape[0] > 0
    total = 0.0
    if not direct:
        for t in range(n_steps):
            for o in range(n_out):
                shift = offset[o]
                for p in range(width):
                    y[t, o, p] += shift
                if t > 0:
                    for j in range(n_out):
                        f = smoothing[o, j]
                        if f != 0.0:
                            for p in range(width):
                                y[t, o, p] += f * y[t - 1, j, p]
    for t in range(n_steps):
        for o in range(n_out):
            for p in range(width):
                error = y[t, o, p] - targets[t, o, first + p]
                weighted = weights[t, o, first + p] * error
                total += weighted * error
                y[t, o, p] = 2.0 * weighted
            if noisy:
                for p in range(width):
                    y[t, o, p] -= 2.0 * weights[t, o, first + p] * noise[t, o, first + p]
    if not direct:
        for t in range(n_steps - 2, -1, -1):
            for o in range(n_out):
                for j in range(n_out):
                    f = smoothing[j, o]
                    if f != 0.0:
                        for p in range(width):
                            y[t, o, p] += f * y[t + 1, j, p]
    return total
