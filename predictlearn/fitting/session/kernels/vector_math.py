"""Exponentials that the compiler turns into vector instructions.

`math.exp` inside a compiled loop is called bin by bin, which costs four times as much.
"""

from __future__ import annotations

import numpy as np

from predictlearn.compiled import compiled

__all__ = ["fill_exp"]

# Adding this leaves the nearest whole number in the low bits of the mantissa.
_WHOLE = 6755399441055744.0
_LOG2_E = 1.4426950408889634
# log 2 in two parts, the first with few bits, so that whole multiples of it are exact.
_LN2_HIGH = 0.693147180369123816490
_LN2_LOW = 1.90821492927058770002e-10


# No reassociation here: it would cancel the whole number that is added and taken off.
@compiled(nogil=True, fastmath={"contract"}, error_model="numpy")
def fill_exp(x, out, bits, n):  # type: ignore[no-untyped-def]
    """Write exp(x[:n]) to out[:n], x held within -700..700; bits is int64 scratch as long."""
    floats = bits.view(np.float64)
    for t in range(n):
        held = min(max(x[t], -700.0), 700.0)
        out[t] = held
        floats[t] = held * _LOG2_E + _WHOLE
    for t in range(n):
        power = floats[t] - _WHOLE
        r = out[t] - power * _LN2_HIGH
        r = r - power * _LN2_LOW
        e = 1.0 / 6227020800.0
        e = e * r + 1.0 / 479001600.0
        e = e * r + 1.0 / 39916800.0
        e = e * r + 1.0 / 3628800.0
        e = e * r + 1.0 / 362880.0
        e = e * r + 1.0 / 40320.0
        e = e * r + 1.0 / 5040.0
        e = e * r + 1.0 / 720.0
        e = e * r + 1.0 / 120.0
        e = e * r + 1.0 / 24.0
        e = e * r + 1.0 / 6.0
        e = e * r + 0.5
        e = e * r + 1.0
        out[t] = e * r + 1.0
    for t in range(n):
        bits[t] = (bits[t] << 52) + (1023 << 52)
    for t in range(n):
        out[t] *= floats[t]
