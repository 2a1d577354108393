"""Compiled loops for one input, rank one and one output: the case that is run most.

The equations are those of `rollout`. Here a whole bin of a block of trials is one vector loop, with
the state of the recurrence in an array of its own: a loop that read bin t and wrote bin t + 1 of
one array would not be vectorised.
"""

from __future__ import annotations

import math

import numpy as np

from predictlearn.compiled import FAST, compiled
from predictlearn.theory.kernels.gain import (
    RATIONAL_SIZE,
    rational_coefficients,
    rational_gain,
    tabulated_gain,
)

__all__ = ["single_adjoint", "single_forward"]


_HALF_PI = math.pi / 2


@compiled(fastmath=FAST, error_model="numpy")
def single_forward(
    s: np.ndarray,
    a: float,
    gain: np.ndarray,
    km: np.ndarray,
    first: np.uintp,
    width: np.uintp,
    ku: np.ndarray,
    g: np.ndarray,
    slope: np.ndarray,
    y: np.ndarray,
    work: np.ndarray,
) -> None:
    """Roll out one block of trials: fill ku, g, y and, for a tabulated gain, slope = 2 g'."""
    mm, mu2, uu = s[0, 0], 2.0 * s[1, 0], s[1, 1]
    vm, vu, zm, zu = s[2, 0], s[2, 1], s[3, 0], s[3, 1]
    keep = 1.0 - a
    kind = gain.size
    for p in range(width):
        work[0, p] = 0.0
    if kind == RATIONAL_SIZE:
        c = rational_coefficients(gain)
        for t in range(km.shape[0]):
            for p in range(width):
                k = km[t, 0, first + p]
                u = work[0, p]
                ku[t, p] = u
                r, twice = rational_gain(c, mm * k * k + (mu2 * k + uu * u) * u)
                g[t, p] = r
                slope[t, p] = twice
                y[t, p] = r * (zm * k + zu * u)
                work[0, p] = keep * u + a * r * (vm * k + vu * u)
        return
    for t in range(km.shape[0]):
        if kind == 0:
            for p in range(width):
                k = km[t, 0, first + p]
                u = work[0, p]
                ku[t, p] = u
                y[t, p] = zm * k + zu * u
                work[0, p] = keep * u + a * (vm * k + vu * u)
            continue
        if kind == 1:
            for p in range(width):
                k = km[t, 0, first + p]
                u = work[0, p]
                ku[t, p] = u
                r = 1.0 / math.sqrt(1.0 + _HALF_PI * (mm * k * k + (mu2 * k + uu * u) * u))
                g[t, p] = r
                y[t, p] = r * (zm * k + zu * u)
                work[0, p] = keep * u + a * r * (vm * k + vu * u)
            continue
        for p in range(width):
            k = km[t, 0, first + p]
            u = work[0, p]
            g[t, p] = mm * k * k + (mu2 * k + uu * u) * u
        tabulated_gain(gain, g, slope, t, width)
        for p in range(width):
            k = km[t, 0, first + p]
            u = work[0, p]
            ku[t, p] = u
            y[t, p] = g[t, p] * (zm * k + zu * u)
            work[0, p] = keep * u + a * g[t, p] * (vm * k + vu * u)


@compiled(fastmath=FAST, error_model="numpy")
def single_adjoint(
    s: np.ndarray,
    a: float,
    gain: np.ndarray,
    km: np.ndarray,
    first: np.uintp,
    width: np.uintp,
    ku: np.ndarray,
    g: np.ndarray,
    slope: np.ndarray,
    e: np.ndarray,
    work: np.ndarray,
    grad: np.ndarray,
) -> None:
    """Run one block backwards and add its share of A to `grad`, (4, 4), lower triangle."""
    mu, uu = s[1, 0], s[1, 1]
    vm, vu, zm, zu = s[2, 0], s[2, 1], s[3, 0], s[3, 1]
    keep = 1.0 - a
    kind = gain.size
    a_vm = a_vu = a_zm = a_zu = a_mm = a_mu = a_uu = 0.0
    for p in range(width):
        work[0, p] = 0.0
    for t in range(km.shape[0] - 1, -1, -1):
        # sums of one bin, added to the totals after it: shorter sums are more exact
        b_vm = b_vu = b_zm = b_zu = b_mm = b_mu = b_uu = 0.0
        if kind == 0:
            for p in range(width):
                k = km[t, 0, first + p]
                u = ku[t, p]
                q_v = a * work[0, p]
                q_z = e[t, p]
                b_vm += q_v * k
                b_vu += q_v * u
                b_zm += q_z * k
                b_zu += q_z * u
                work[0, p] = keep * work[0, p] + vu * q_v + zu * q_z
        elif kind == 1:
            for p in range(width):
                k = km[t, 0, first + p]
                u = ku[t, p]
                r = g[t, p]
                q_v = a * work[0, p]
                q_z = e[t, p]
                # 2 s_t = 2 g'(Delta) (q . c), with g' = -(pi / 4) g^3
                twice = -_HALF_PI * r * r * r * (q_v * (vm * k + vu * u) + q_z * (zm * k + zu * u))
                q_v *= r
                q_z *= r
                s_k = twice * k
                s_u = twice * u
                b_vm += q_v * k
                b_vu += q_v * u
                b_zm += q_z * k
                b_zu += q_z * u
                b_mm += s_k * k
                b_mu += s_k * u
                b_uu += s_u * u
                work[0, p] = keep * work[0, p] + vu * q_v + zu * q_z + mu * s_k + uu * s_u
        else:
            for p in range(width):
                k = km[t, 0, first + p]
                u = ku[t, p]
                r = g[t, p]
                q_v = a * work[0, p]
                q_z = e[t, p]
                twice = slope[t, p] * (q_v * (vm * k + vu * u) + q_z * (zm * k + zu * u))
                q_v *= r
                q_z *= r
                s_k = twice * k
                s_u = twice * u
                b_vm += q_v * k
                b_vu += q_v * u
                b_zm += q_z * k
                b_zu += q_z * u
                b_mm += s_k * k
                b_mu += s_k * u
                b_uu += s_u * u
                work[0, p] = keep * work[0, p] + vu * q_v + zu * q_z + mu * s_k + uu * s_u
        a_vm += b_vm
        a_vu += b_vu
        a_zm += b_zm
        a_zu += b_zu
        a_mm += b_mm
        a_mu += b_mu
        a_uu += b_uu
    grad[0, 0] += a_mm
    grad[1, 0] += a_mu
    grad[1, 1] += a_uu
    grad[2, 0] += a_vm
    grad[2, 1] += a_vu
    grad[3, 0] += a_zm
    grad[3, 1] += a_zu
