"""Normal numbers for the trials of every epoch, by one vector loop.

A learning run draws some 50,000 normal numbers an epoch; drawn one by one they cost several times
as much as the gradient. Here a hash turns a counter i into random bits, so that no number waits
for the one before it, and the transform of Box & Muller makes two normal numbers of two words::

    a = mix(key_0 + i c),   b = mix(key_1 + i c)       mix and c of SplitMix64
    r = sqrt(-2 log u),     angle = 2 pi v             u in (0, 1] from a, v in [0, 1) from b
    x = r cos(angle),       y = r sin(angle)

The keys, 128 bits, come from the generator that the caller passes: its state decides all numbers,
and it moves on by four raw draws. Logarithm, sine and cosine are polynomials on reduced arguments,
so that the loop has neither branch nor call and LLVM vectorises it. Every product that is to be
fused with a sum is written so, and nothing else is: all processors give the same numbers.

References
----------
Box & Muller (1958), Annals of Mathematical Statistics 29, 610. Steele, Lea & Flood (2014), Fast
splittable pseudorandom number generators, OOPSLA: SplitMix64.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import types
from numba.extending import intrinsic

from predictlearn.compiled import compiled
from predictlearn.errors import InputError

__all__ = ["fill_normal"]

_STEP = np.uint64(0x9E3779B97F4A7C15)
_MULTIPLY_1, _MULTIPLY_2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_S27, _S30, _S31 = np.uint64(27), np.uint64(30), np.uint64(31)
_HALF_WORD = np.uint64(32)

# A word gives a fraction of 53 bits; two of the bits that are left choose a quarter of a turn.
_REST, _UNIT, _TURN = np.uint64(11), 2.0**-53, 2.0**-55
_FLIP, _SWAP, _TO_SIGN = np.uint64(1), np.uint64(2), np.uint64(63)

# A 64-bit float is sign and exponent above 52 bits of mantissa.
_MANTISSA, _MANTISSA_BITS = np.uint64(52), np.uint64(0x000FFFFFFFFFFFFF)
_BIAS = 1023
_ROOT_HALF = np.uint64(0x3FE6A09E667F3BCD)  # sqrt(1/2)
_TO_ROOT = np.uint64(0x3FF0000000000000) - _ROOT_HALF

# Polynomials in w through the Chebyshev nodes of the range of w, with the errors of the whole.
# -4 (artanh(s) / s - 1) / w, w = s^2 up to ((sqrt(2) - 1) / (sqrt(2) + 1))^2; 7e-16.
_L0, _L1, _L2 = -1.3333333333332416, -0.800000000224132, -0.5714284827658879
_L3, _L4, _L5 = -0.44445724566965367, -0.3628038732248214, -0.3324363858530568
# (sin(2 pi a) / a - 2 pi) / w and (cos(2 pi a) - 1) / w, w = a^2 up to 1/64; 8e-17 and 2e-16.
_S0, _S1, _S2 = -41.341702240399755, 81.6052492760517, -76.70585973562093
_S3, _S4, _S5 = 42.05868918088512, -15.094054182079999, 3.78643334956545
_C0, _C1, _C2 = -19.739208802178705, 64.93939402261259, -85.45681716509442
_C3, _C4, _C5 = 60.244630008143865, -26.424853147906646, 7.823560405842185
_TWO_PI = 2 * math.pi
_MINUS_2_LOG_2 = -2 * math.log(2.0)

# What numba makes of an intrinsic: its types, and a function that writes its code.
_Code = tuple[Any, Callable[..., Any]]


def _reinterpreted(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    """Write the code of an intrinsic that reads the same 64 bits as another type."""
    return builder.bitcast(args[0], context.get_value_type(signature.return_type))


@intrinsic
def _fused(_context: Any, _a: Any, _b: Any, _c: Any) -> _Code:
    """Return a b + c, rounded once."""

    def code(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return builder.fma(*args)

    return types.float64(types.float64, types.float64, types.float64), code


@intrinsic
def _bits(_context: Any, _value: Any) -> _Code:
    """Return the bits of a float as an unsigned integer."""
    return types.uint64(types.float64), _reinterpreted


@intrinsic
def _float_of(_context: Any, _value: Any) -> _Code:
    """Return the float of which these are the bits."""
    return types.float64(types.uint64), _reinterpreted


@compiled(error_model="numpy")
def _mix(x: np.uint64) -> np.uint64:
    """Return 64 random bits from a counter."""
    x = (x ^ (x >> _S30)) * _MULTIPLY_1
    x = (x ^ (x >> _S27)) * _MULTIPLY_2
    return x ^ (x >> _S31)


@compiled(error_model="numpy")
def _squared_radius(word: np.uint64) -> float:
    """Return -2 log u, u in (0, 1] from the upper 53 bits.

    With u = 2^e m and m in [sqrt(1/2), sqrt(2)), log u = e log 2 + 2 artanh s,
    s = (m - 1) / (m + 1).
    """
    u = _fused(np.float64(np.int64(word >> _REST)), _UNIT, _UNIT)
    shifted = _bits(u) + _TO_ROOT
    e = np.float64(np.int64(shifted >> _MANTISSA) - _BIAS)
    m = _float_of((shifted & _MANTISSA_BITS) + _ROOT_HALF)
    s = (m - 1.0) / (m + 1.0)
    w = s * s
    p = _fused(_L5, w, _L4)
    p = _fused(p, w, _L3)
    p = _fused(p, w, _L2)
    p = _fused(p, w, _L1)
    p = _fused(p, w, _L0)
    return _fused(e, _MINUS_2_LOG_2, s * _fused(p, w, -4.0))


@compiled(error_model="numpy")
def _pairs(
    key_0: np.uint64, key_1: np.uint64, first: int, scale: float, x: np.ndarray, y: np.ndarray
) -> None:
    """Fill `x` and `y`, of one length, with the pairs of counters first, first + 1, ..."""
    for i in range(x.size):
        counter = np.uint64(first + i) * _STEP
        r = scale * math.sqrt(_squared_radius(_mix(key_0 + counter)))
        word = _mix(key_1 + counter)
        # an angle within an eighth of a turn around zero, in turns
        a = np.float64(np.int64(word) >> 11) * _TURN
        w = a * a
        c = _fused(_C5, w, _C4)
        c = _fused(c, w, _C3)
        c = _fused(c, w, _C2)
        c = _fused(c, w, _C1)
        c = _fused(c, w, _C0)
        c = r * _fused(c, w, 1.0)
        s = _fused(_S5, w, _S4)
        s = _fused(s, w, _S3)
        s = _fused(s, w, _S2)
        s = _fused(s, w, _S1)
        s = _fused(s, w, _S0)
        s = r * (a * _fused(s, w, _TWO_PI))
        # and to one of the four quarters
        c = _float_of(_bits(c) ^ ((word & _FLIP) << _TO_SIGN))
        if word & _SWAP:
            x[i] = s
            y[i] = c
        else:
            x[i] = c
            y[i] = s


@compiled(error_model="numpy")
def _fill(raw: np.ndarray, scale: float, out: np.ndarray) -> None:
    """Fill `out`, (n,), from four raw draws: the x of all pairs, then the y."""
    # a generator may draw 32 bits at a time
    key_0, key_1 = raw[0] ^ (raw[1] << _HALF_WORD), raw[2] ^ (raw[3] << _HALF_WORD)
    half = out.size // 2
    _pairs(key_0, key_1, 0, scale, out[:half], out[half : 2 * half])
    if out.size > 2 * half:
        spare = np.empty(1)
        _pairs(key_0, key_1, half, scale, out[2 * half :], spare)


def fill_normal(rng: np.random.Generator, out: np.ndarray, scale: float = 1.0) -> None:
    """Fill an array with independent normal numbers of mean zero.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of randomness: its state decides the numbers. It moves on by four raw draws,
        whatever the size of the array.
    out : numpy.ndarray of float64
        What to fill; C-contiguous.
    scale : float, default 1.0
        Standard deviation.

    Raises
    ------
    InputError
        If `rng` is not a generator or `out` not a C-contiguous array of float64.

    Notes
    -----
    No number is further than 8.6 standard deviations from zero, which a normal number is once in
    1e17. Rounding changes a number by less than 2e-15 of its size.

    Examples
    --------
    >>> import numpy as np
    >>> numbers = np.empty((1000, 100))
    >>> fill_normal(np.random.default_rng(0), numbers, scale=2.0)
    >>> bool(abs(numbers.std() - 2.0) < 0.02)
    True
    """
    if not isinstance(rng, np.random.Generator):
        raise InputError(f"rng must be a numpy Generator; got {type(rng).__name__}.")
    if not isinstance(out, np.ndarray) or out.dtype != np.float64 or not out.flags.c_contiguous:
        raise InputError("out must be a C-contiguous array of float64.")
    _fill(rng.bit_generator.random_raw(4), float(scale), out.reshape(-1))
