"""Compiled loops of the fourth-order closure for one input, rank one and one output.

The equations are those of `fourth_order`. Here a whole bin of a block of trials is one or two
vector loops, as in `rank_one`.
"""

from __future__ import annotations

import math

import numpy as np

from predictlearn.compiled import FAST, compiled

__all__ = ["single_adjoint", "single_forward"]

_SIXTH, _SHARE = 1.0 / 6.0, 1.0 / 24.0


@compiled(fastmath=FAST, error_model="numpy")
def single_forward(
    s: np.ndarray,
    cubic: np.ndarray,
    a: float,
    curve: float,
    km: np.ndarray,
    first: np.uintp,
    width: np.uintp,
    ku: np.ndarray,
    g: np.ndarray,
    y: np.ndarray,
    work: np.ndarray,
) -> None:
    """Roll out one block of trials: fill ku, g and y, (time, .)."""
    mm, mu2, uu = s[0, 0], 2.0 * s[1, 0], s[1, 1]
    vm, vu, zm, zu = s[2, 0], s[2, 1], s[3, 0], s[3, 1]
    v0, v1, v2, v3 = cubic[2, 0], cubic[2, 1], cubic[2, 2], cubic[2, 3]
    z0, z1, z2, z3 = cubic[3, 0], cubic[3, 1], cubic[3, 2], cubic[3, 3]
    # kappa_kkkk as a polynomial in k_m and k_u
    f0, f4 = cubic[0, 0], cubic[1, 3]
    f1, f2, f3 = cubic[0, 1] + cubic[1, 0], cubic[0, 2] + cubic[1, 1], cubic[0, 3] + cubic[1, 2]
    keep = 1.0 - a
    for p in range(width):
        work[0, p] = 0.0
    for t in range(km.shape[0]):
        for p in range(width):
            k = km[t, 0, first + p]
            u = work[0, p]
            ku[t, p] = u
            kk, uk, u2 = k * k, u * k, u * u
            r = 1.0 / math.sqrt(1.0 + curve * (mm * kk + mu2 * uk + uu * u2))
            g[t, p] = r
            ratio = -curve * r * r
            fourth = kk * (f0 * kk + f1 * uk + f2 * u2) + u2 * (f3 * uk + f4 * u2)
            straight = r * (1.0 + 0.125 * ratio * ratio * fourth)
            bent = r * ratio * _SIXTH
            third_v = k * (v0 * kk + v1 * uk + v2 * u2) + u * v3 * u2
            third_z = k * (z0 * kk + z1 * uk + z2 * u2) + u * z3 * u2
            y[t, p] = straight * (zm * k + zu * u) + bent * third_z
            work[0, p] = keep * u + a * (straight * (vm * k + vu * u) + bent * third_v)


@compiled(fastmath=FAST, error_model="numpy")
def single_adjoint(
    s: np.ndarray,
    cubic: np.ndarray,
    quadratic: np.ndarray,
    a: float,
    curve: float,
    km: np.ndarray,
    first: np.uintp,
    width: np.uintp,
    ku: np.ndarray,
    g: np.ndarray,
    e: np.ndarray,
    work: np.ndarray,
    grad: np.ndarray,
    force: np.ndarray,
) -> None:
    """Run one block backwards; add its share of A to the lower triangle of grad, of T to force."""
    mu, uu = s[1, 0], s[1, 1]
    vm, vu, zm, zu = s[2, 0], s[2, 1], s[3, 0], s[3, 1]
    u0, u1, u2_, u3 = cubic[1, 0], cubic[1, 1], cubic[1, 2], cubic[1, 3]
    v0, v1, v2, v3 = cubic[2, 0], cubic[2, 1], cubic[2, 2], cubic[2, 3]
    z0, z1, z2, z3 = cubic[3, 0], cubic[3, 1], cubic[3, 2], cubic[3, 3]
    f0, f4 = cubic[0, 0], cubic[1, 3]
    f1, f2, f3 = cubic[0, 1] + cubic[1, 0], cubic[0, 2] + cubic[1, 1], cubic[0, 3] + cubic[1, 2]
    w0, w1, w2 = quadratic[0, 0], quadratic[0, 1], quadratic[0, 2]
    x0, x1, x2 = quadratic[1, 0], quadratic[1, 1], quadratic[1, 2]
    keep = 1.0 - a
    n_steps = km.shape[0]
    # read from memory, so that the compiler tests for overlap of arrays bin by bin: its test for
    # all bins at once takes a loop that runs backwards for one that may overlap
    bins = np.arange(n_steps)[::-1].astype(np.uintp)
    for p in range(width):
        work[0, p] = 0.0
    for n in range(n_steps):
        t = bins[n]
        # sums of one bin, added to the totals after it: shorter sums are more exact
        b_vm = b_vu = b_zm = b_zu = b_mm = b_mu = b_uu = 0.0
        for p in range(width):
            k = km[t, 0, first + p]
            u = ku[t, p]
            q_v = a * work[0, p]
            q_z = e[t, p]
            kk, uk, u2 = k * k, u * k, u * u
            r = g[t, p]
            ratio = -curve * r * r
            fourth = kk * (f0 * kk + f1 * uk + f2 * u2) + u2 * (f3 * uk + f4 * u2)
            third_u = k * (u0 * kk + u1 * uk + u2_ * u2) + u * u3 * u2
            third_v = k * (v0 * kk + v1 * uk + v2 * u2) + u * v3 * u2
            third_z = k * (z0 * kk + z1 * uk + z2 * u2) + u * z3 * u2
            third_q = q_v * third_v + q_z * third_z
            second = q_v * (w0 * kk + w1 * uk + w2 * u2) + q_z * (x0 * kk + x1 * uk + x2 * u2)
            back_u = q_v * vu + q_z * zu
            x = k * (q_v * vm + q_z * zm) + u * back_u
            g3 = r * ratio
            g5 = 3.0 * g3 * ratio
            straight = r + g5 * fourth * _SHARE
            both = x * (g3 + 5.0 * g5 * ratio * fourth * _SHARE) + g5 * third_q * _SIXTH
            work[1, p] = g3 * q_v
            work[2, p] = g3 * q_z
            work[3, p] = x * g5
            q_v *= straight
            q_z *= straight
            b_vm += q_v * k
            b_vu += q_v * u
            b_zm += q_z * k
            b_zu += q_z * u
            b_mm += both * kk
            b_mu += both * uk
            b_uu += both * u2
            work[0, p] = (
                keep * work[0, p]
                + straight * back_u
                + both * (mu * k + uu * u)
                + x * g5 * third_u * _SIXTH
                + 0.5 * g3 * second
            )
        grad[2, 0] += b_vm
        grad[2, 1] += b_vu
        grad[3, 0] += b_zm
        grad[3, 1] += b_zu
        grad[0, 0] += b_mm
        grad[1, 0] += b_mu
        grad[1, 1] += b_uu
        t_v0 = t_v1 = t_v2 = t_v3 = t_z0 = t_z1 = t_z2 = t_z3 = 0.0
        t_0 = t_1 = t_2 = t_3 = t_4 = 0.0
        for p in range(width):
            k = km[t, 0, first + p]
            u = ku[t, p]
            kk, u2 = k * k, u * u
            k0, k1, k2, k3 = k * kk, u * kk, k * u2, u * u2
            t_v0 += work[1, p] * k0
            t_v1 += work[1, p] * k1
            t_v2 += work[1, p] * k2
            t_v3 += work[1, p] * k3
            t_z0 += work[2, p] * k0
            t_z1 += work[2, p] * k1
            t_z2 += work[2, p] * k2
            t_z3 += work[2, p] * k3
            t_0 += work[3, p] * k * k0
            t_1 += work[3, p] * k * k1
            t_2 += work[3, p] * k * k2
            t_3 += work[3, p] * k * k3
            t_4 += work[3, p] * u * k3
        force[0, 0] += t_0
        force[0, 1] += t_1
        force[0, 2] += t_2
        force[0, 3] += t_3
        force[1, 0] += t_1
        force[1, 1] += t_2
        force[1, 2] += t_3
        force[1, 3] += t_4
        force[2, 0] += t_v0
        force[2, 1] += t_v1
        force[2, 2] += t_v2
        force[2, 3] += t_v3
        force[3, 0] += t_z0
        force[3, 1] += t_z1
        force[3, 2] += t_z2
        force[3, 3] += t_z3
