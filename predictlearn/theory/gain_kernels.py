"""Compiled pieces that all loops share: the tabulated gain, and how outputs are judged."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

__all__ = ["N_COEFFICIENTS", "TABLE_SIZE", "gain_and_slope", "judge", "tabulated_gain"]

_FAST = {"contract", "reassoc", "nsz"}
# Coefficients of the polynomial that stands for a gain, and the numbers before them in a table.
N_COEFFICIENTS = 21
_HEAD = 3
_HALF_PI = math.pi / 2
TABLE_SIZE = _HEAD + N_COEFFICIENTS


@njit(cache=True, fastmath=_FAST, error_model="numpy")
def tabulated_gain(
    table: np.ndarray, delta: np.ndarray, slope: np.ndarray, t: int, width: np.uintp
) -> None:
    """Replace variances in delta[t] by gains, and fill slope[t] with 2 dg/dDelta.

    A table holds shift, offset, scale and the coefficients, highest power first, of a polynomial
    in x = 2 w - 1, where 1 / w = offset + sqrt(shift + scale Delta). Value and exact derivative
    come from Horner recurrences for the even and the odd powers, side by side since a single one
    waits for itself, and written out so that the loop over trials is one vector loop.
    """
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


@njit(cache=True, fastmath=_FAST, error_model="numpy")
def gain_and_slope(gain: np.ndarray, delta: float) -> tuple[float, float]:
    """Return g and 2 dg/dDelta at one variance; `gain` is empty (linear), of one (erf), a table."""
    if gain.size == 0:
        return 1.0, 0.0
    if gain.size == 1:
        g = 1.0 / math.sqrt(1.0 + _HALF_PI * delta)
        return g, -_HALF_PI * g * g * g
    root = math.sqrt(gain[0] + gain[2] * delta)
    w = 1.0 / (gain[1] + root)
    x = 2.0 * w - 1.0
    d = 0.0
    v = gain[_HEAD]
    for i in range(_HEAD + 1, gain.size):
        d = d * x + v
        v = v * x + gain[i]
    return v, -2.0 * d * w * w * gain[2] / root


@njit(cache=True, fastmath=_FAST)
def judge(
    y: np.ndarray,
    targets: np.ndarray,
    weights: np.ndarray,
    noise: np.ndarray,
    offset: np.ndarray,
    smoothing: np.ndarray,
    direct: bool,
    first: np.uintp,
    width: np.uintp,
) -> float:
    """Turn outputs y, (time, n_out, width), into dL/dy in place; return the loss.

    `first` is the block's first trial in targets and weights. `noise`, if not empty, is added to
    the targets for the derivative only: the loss returned is that of the clean targets.
    """
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
