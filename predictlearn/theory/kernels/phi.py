"""Compiled phi and phi' of many neurons at once.

The loops have no branch and call no library function, so that the compiler makes vector code of
them. erf and tanh are written with two expressions each, both worked out for every neuron: near
zero ``h + h^3 R(h^2)``, beyond that one that needs ``exp(-y)``; for erf, ``1 - exp(-pi h^2 / 4) Q``
with Q a polynomial in ``(h - 3) / (h + 3)``. The polynomials interpolate the exact functions,
worked out to 60 digits, at Chebyshev nodes: their own error is below 2e-17 of the result, and what
is left is rounding, below 4e-16 of it.
"""

from __future__ import annotations

import math

import numpy as np

from predictlearn.compiled import compiled

__all__ = ["ERF", "LINEAR", "TABULATED", "TANH", "activate", "fill_erf", "fill_erf_slopes"]

# Kinds of phi, as `network_phi` numbers them.
LINEAR, ERF, TANH, TABULATED = range(4)

_EXACT = {"contract", "nsz"}
_QUARTER_PI = math.pi / 4
_LOG2E = 1 / math.log(2)
# ln 2 in two parts, the first with 32 bits, so that its product with a whole number is exact.
_LN2_HIGH, _LN2_LOW = 0.6931471803691238, 1.9082149292705877e-10
# Currents beyond which erf and tanh are 1 to rounding; exp of what follows from them is a number.
_ERF_END, _TANH_END = 30.0, 350.0


@compiled(fastmath=_EXACT, inline="always")
def _exp_minus(y: float) -> float:
    """Return exp(-y) for y from 0 to 707."""
    k = np.floor(y * _LOG2E + 0.5)
    r = (k * _LN2_HIGH - y) + k * _LN2_LOW
    r2 = r * r
    r4 = r2 * r2
    p0 = (1.0 + r) + r2 * (0.5000000000000019 + r * 0.1666666666666668)
    p1 = (0.0416666666664881 + r * 0.008333333333319601) + r2 * (
        0.0013888888952314775 + r * 0.00019841269890047113
    )
    p2 = (2.4801485482328494e-05 + r * 2.755724091857897e-06) + r2 * (
        2.763263963904103e-07 + r * 2.5110037605963777e-08
    )
    # the bits of 2^-k
    bits = np.int64(1023) - np.int64(np.int32(k))
    scale = np.int64(bits << np.int64(52)).view(np.float64)
    return (p0 + r4 * (p1 + r4 * p2)) * scale


@compiled(fastmath=_EXACT, error_model="numpy")
def fill_erf(h: np.ndarray, rates: np.ndarray, slopes: np.ndarray) -> None:
    """Fill `rates` with erf(sqrt(pi) h / 2) and `slopes` with exp(-pi h^2 / 4)."""
    for i in range(h.shape[0]):
        x = h[i]
        a = abs(x)
        a = _ERF_END if a > _ERF_END else a  # a NaN stays one
        s = a * a
        s2 = s * s
        r = (
            (-0.2617993877991494 + s * 0.0616850275068081)
            + s2 * (-0.01153507316973872 + s * 0.0017615938046232633)
        ) + (s2 * s2) * (
            (
                (-0.00022639950441332072 + s * 2.5076289764188875e-05)
                + s2 * (-2.438386560752186e-06 + s * 2.1117599102553154e-07)
            )
            + (s2 * s2)
            * ((-1.6430347498717343e-08 + s * 1.1241158403210231e-09) - s2 * 5.502996901529673e-11)
        )
        near = a + a * (s * r)
        t = (a - 3.0) / (a + 3.0)
        t2 = t * t
        t4 = t2 * t2
        q0 = (
            (0.19960632101278267 - t * 0.35626423466540386)
            + t2 * (0.2509045700418784 - t * 0.13491807034874975)
        ) + t4 * (
            (0.050871682528415334 - t * 0.00996473345077482)
            + t2 * (-0.0013447778648349883 + t * 0.0012832615196245914)
        )
        q1 = (
            (-5.1062048171664926e-05 - t * 0.00015589044250383362)
            + t2 * (1.4766291409881147e-05 + t * 2.3013641545942616e-05)
        ) + t4 * (
            (-1.4095444686276872e-06 - t * 3.863521344057454e-06)
            + t2 * (-1.6154957501145065e-07 + t * 4.769833409589621e-07)
        )
        e = _exp_minus(_QUARTER_PI * s)
        far = 1.0 - e * (q0 + (t4 * t4) * q1)
        y = near if a < 1.0 else far
        rates[i] = y if x >= 0.0 else -y
        slopes[i] = e


@compiled(fastmath=_EXACT, error_model="numpy")
def fill_erf_slopes(h: np.ndarray, slopes: np.ndarray) -> None:
    """Fill `slopes` with exp(-pi h^2 / 4), the very numbers of `fill_erf`, in less than half."""
    for i in range(h.shape[0]):
        a = abs(h[i])
        a = _ERF_END if a > _ERF_END else a
        slopes[i] = _exp_minus(_QUARTER_PI * (a * a))


@compiled(fastmath=_EXACT, error_model="numpy")
def _tanh(h: np.ndarray, rates: np.ndarray, slopes: np.ndarray) -> None:
    """Fill `rates` with tanh(h) and `slopes` with 1 - tanh(h)^2."""
    for i in range(h.shape[0]):
        x = h[i]
        a = abs(x)
        a = _TANH_END if a > _TANH_END else a
        s = a * a
        s2 = s * s
        r = (
            (-0.3333333333333333 + s * 0.13333333333329825)
            + s2 * (-0.05396825396361009 + s * 0.021869488297234514)
        ) + (s2 * s2) * (
            (
                (-0.008863229270067843 + s * 0.0035920334653723896)
                + s2 * (-0.001454959384380447 + s * 0.0005849653729021945)
            )
            + (s2 * s2) * (-0.00022107222975850652 + s * 5.946956589763009e-05)
        )
        near = a + a * (s * r)
        e = _exp_minus(2.0 * a)
        far = (1.0 - e) / (1.0 + e)
        y = near if a < 0.5 else far
        rates[i] = y if x >= 0.0 else -y
        slopes[i] = 1.0 - y * y


@compiled(fastmath=_EXACT, error_model="numpy")
def _tabulated(h: np.ndarray, table: np.ndarray, rates: np.ndarray, slopes: np.ndarray) -> None:
    """Fill `rates` with the cubic Hermite interpolant of an odd phi, and `slopes` with its slope.

    `table` holds the largest current, then phi and phi' on a uniform grid from 0 to it. Beyond it
    phi goes on straight.
    """
    n = (table.shape[0] - 1) // 2
    end = table[0]
    width = end / (n - 1)
    for i in range(h.shape[0]):
        x = abs(h[i])
        beyond = x - end if x > end else 0.0
        inside = end if x > end else x
        # a NaN goes to the first interval, and stays one
        k = min(max(int(inside / width), 0), n - 2)
        s = inside / width - k
        rise = table[2 + k] - table[1 + k]
        a = width * table[1 + n + k] - rise
        b = rise - width * table[2 + n + k]
        inner = (1.0 - s) * a + s * b
        y = table[1 + k] + s * (rise + (1.0 - s) * inner) + beyond * table[2 * n]
        rates[i] = y if h[i] >= 0.0 else -y
        slopes[i] = (rise + (1.0 - 2.0 * s) * inner + s * (1.0 - s) * (b - a)) / width


@compiled(fastmath=_EXACT)
def activate(
    h: np.ndarray, kind: int, table: np.ndarray, rates: np.ndarray, slopes: np.ndarray
) -> None:
    """Fill `rates` with phi(h) and `slopes` with phi'(h); for linear, slopes are left alone."""
    if kind == ERF:
        fill_erf(h, rates, slopes)
    elif kind == TANH:
        _tanh(h, rates, slopes)
    elif kind == TABULATED:
        _tabulated(h, table, rates, slopes)
    else:
        for i in range(h.shape[0]):
            rates[i] = h[i]
