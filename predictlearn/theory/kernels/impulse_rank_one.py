"""A linear, rank-one network after an impulse: loss and derivatives at a cost free of time.

With one input, one latent and one target state the state after an impulse of size 1 is, in bin t,

    phi_0 = p^t,   beta phi_1,   d^t,      phi_1 = (q^t - p^t) / (q - p),   phi_2 = d phi_1 / dq

where p = 1 - a, q = 1 - a + a vu, beta = a vm and d is what a bin does to the target. From bin to
bin phi_0 becomes p phi_0, phi_1 becomes phi_0 + q phi_1 and phi_2 becomes phi_1 + q phi_2. All that
is needed are sums over T bins, M_ij of phi_i phi_j and N_i of d^t phi_i. What a sum gains from bin
to bin it has after T bins and had not in bin 0 (M_22 does not occur)::

    (1 - p^2) M_00 = 1 - phi_0(T)^2               (1 - p d) N_0 = 1 - d^T phi_0(T)
    (1 - p q) M_01 = p M_00 - phi_0 phi_1(T)      (1 - q d) N_1 = d N_0 - d^T phi_1(T)
    (1 - p q) M_02 = p M_01 - phi_0 phi_2(T)      (1 - q d) N_2 = d N_1 - d^T phi_2(T)
    (1 - q^2) M_11 = M_00 + 2 q M_01 - phi_1(T)^2
    (1 - q^2) M_12 = M_01 + q (M_11 + M_02) - phi_1 phi_2(T)

The loss is quadratic in the readout and in beta, so its derivative takes the same sums. Its Hessian
takes three more, with phi_3 = d phi_2 / dq, which becomes 2 phi_2 + q phi_3 from bin to bin, and
K = d M_12 / dq = M_22 + M_13::

    (1 - p q) M_03 = 2 p M_02 - phi_0 phi_3(T)    (1 - q d) N_3 = 2 d N_2 - d^T phi_3(T)
    (1 - q^2) K = 2 M_02 + M_11 + q (4 M_12 + M_03) - phi_2(T)^2 - phi_1 phi_3(T)

Nothing is lost where T (1 - x) is not small, x = p q, q^2, q d. Where it is, as in a perfect
integrator (q = 1), the right sides cancel. There q and p are apart, and with h(x) = 1 + x + ... +
x^(T-1) the same sums are divided differences::

    M_01 = (h(p q) - h(p^2)) / (q - p)    M_11 = (h(q^2) - h(p^2) - 2 (q - p) M_01) / (q - p)^2
    N_1 = (h(q d) - h(p d)) / (q - p)     and the others by differentiating with respect to q

where h and its slopes come from the binomial series of x - 1. So do phi_1(T), phi_2(T) and phi_3(T)
where q is next to p: with x = q / p they are p^(T-1) h(x), p^(T-2) h'(x) and p^(T-3) h''(x). 1 - p,
1 - q and q - p are a, a (1 - vu) and a vu, free of cancellation, and powers are taken by log1p, so
that errors do not grow with T. What remains are trials so short (T a below about 2) that p, q and 1
are all alike over them, targets that grow by 1 / q a bin while q is next to p, and p, q or d not
above zero. There the sums are taken bin by bin up to 256 bins, and beyond, the doublings of
`impulse.py` and the bins of `hessian.py` beside this file take over.
"""

from __future__ import annotations

import numpy as np

from predictlearn.compiled import compiled
from predictlearn.theory.kernels.arguments import Impulse

__all__ = ["single_hessian", "single_impulse"]

# Below this, T |x - 1| counts as small.
_SMALL = 2.0
# Up to so many bins a loop over them is faster than the doublings.
_SHORT = 256


# Inlined always. A function that a compiled caller does not inline is another copy of it when the
# caller comes from disk than when it was compiled just now, and fused multiplications may round
# differently in the two: results would change in their last bits from the first run to the second.
_INLINED = {"error_model": "numpy", "forceinline": True}


@compiled(**_INLINED)
def _power_sum(x: float, n_steps: float) -> float:
    """Return h(1 + x)."""
    return n_steps if x == 0.0 else np.expm1(n_steps * np.log1p(x)) / x


@compiled(**_INLINED)
def _series(x: float, n_steps: float) -> tuple[float, float]:
    """Return h(1 + x) and h'(1 + x) where T |x| is small: sums of C(T, n) x^(n-1), and slopes."""
    term = 0.5 * n_steps * (n_steps - 1.0)  # C(T, n) x^(n-2)
    total, slope, n = 0.0, 0.0, 2.0
    while n < 40.0 and abs(term) * n > 1e-18 * abs(slope):
        total += term
        slope += (n - 1.0) * term
        term *= x * (n_steps - n) / (n + 1.0)
        n += 1.0
    return n_steps + x * total, slope


@compiled(**_INLINED)
def _closed_sums(a: float, vu: float, d: float, t: float) -> tuple:
    """Return whether the sums of the module's docstring can be had in closed form, and them.

    In the order M_00, M_01, M_02, M_11, M_12, N_0, N_1, N_2 and the sum of d^2t.
    """
    p, q, gap = 1.0 - a, 1.0 - a * (1.0 - vu), a * vu
    # 1 - q, 1 - d, and 1 - x for x = p q, q^2, p d, q d
    eq, ed = a * (1.0 - vu), 1.0 - d
    e_pq, e_qq, e_pd, e_qd = a + eq * p, eq * (1.0 + q), a + ed * p, eq + ed * q
    near_pq, near_qq = t * abs(e_pq) < _SMALL, t * abs(e_qq) < _SMALL
    near_qd = t * abs(e_qd) < _SMALL
    apart = t * abs(gap) > _SMALL
    if not (p > 0.0 and q > 0.0 and d > 0.0 and (apart or not (near_pq or near_qq or near_qd))):
        return False, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0

    log_p = t * np.log1p(-a)
    p_t, d_t = np.exp(log_p), np.exp(t * np.log1p(-ed))
    if t * abs(gap) > _SMALL * p:
        q_t = np.exp(t * np.log1p(-eq))
        phi_1 = (q_t - p_t) / gap
        phi_2 = (t * q_t / q - phi_1) / gap
    else:
        phi_1, phi_2 = _series(gap / p, t)
        phi_1 *= p_t / p
        phi_2 *= p_t / (p * p)

    m_00 = -np.expm1(2.0 * log_p) / (a * (1.0 + p))
    n_0 = _power_sum(-e_pd, t)
    if near_pq:
        h, slope = _series(-e_pq, t)
        m_01 = (h - m_00) / gap
        m_02 = (p * slope - m_01) / gap
    else:
        m_01 = (p * m_00 - p_t * phi_1) / e_pq
        m_02 = (p * m_01 - p_t * phi_2) / e_pq
    if near_qq:
        h, slope = _series(-e_qq, t)
        m_11 = ((h - m_00) / gap - 2.0 * m_01) / gap
        m_12 = ((q * slope - m_01) / gap - m_02 - m_11) / gap
    else:
        m_11 = (m_00 + 2.0 * q * m_01 - phi_1 * phi_1) / e_qq
        m_12 = (m_01 + q * (m_11 + m_02) - phi_1 * phi_2) / e_qq
    if near_qd:
        h, slope = _series(-e_qd, t)
        n_1 = (h - n_0) / gap
        n_2 = (d * slope - n_1) / gap
    else:
        n_1 = (d * n_0 - d_t * phi_1) / e_qd
        n_2 = (d * n_1 - d_t * phi_2) / e_qd
    return True, m_00, m_01, m_02, m_11, m_12, n_0, n_1, n_2, _power_sum(-ed * (1.0 + d), t)


@compiled(**_INLINED)
def _looped_sums(a: float, vu: float, d: float, n_steps: int) -> tuple:
    """Return the same by a loop over bins."""
    p, q = 1.0 - a, 1.0 - a * (1.0 - vu)
    m_00 = m_01 = m_02 = m_11 = m_12 = n_0 = n_1 = n_2 = dd = 0.0
    phi_0, phi_1, phi_2, y = 1.0, 0.0, 0.0, 1.0
    for _ in range(n_steps):
        m_00 += phi_0 * phi_0
        m_01 += phi_0 * phi_1
        m_02 += phi_0 * phi_2
        m_11 += phi_1 * phi_1
        m_12 += phi_1 * phi_2
        n_0 += y * phi_0
        n_1 += y * phi_1
        n_2 += y * phi_2
        dd += y * y
        phi_2 = phi_1 + q * phi_2
        phi_1 = phi_0 + q * phi_1
        phi_0 *= p
        y *= d
    return True, m_00, m_01, m_02, m_11, m_12, n_0, n_1, n_2, dd


@compiled(**_INLINED)
def single_impulse(
    s: np.ndarray, n_out: int, impulse: Impulse, grad: np.ndarray
) -> tuple[float, bool]:
    """Return the loss, fill `grad`, and tell whether that was possible; if not, nothing is done.

    Arguments as in `impulse_loss_and_derivative`, for one input, rank one, one target state.
    """
    a, first, step, read, weights, n_steps = impulse
    d, beta = step[0, 0], a * s[2, 0]
    sums = _closed_sums(a, s[2, 1], d, float(n_steps))
    if not sums[0]:
        if n_steps > _SHORT:
            return 0.0, False
        sums = _looped_sums(a, s[2, 1], d, n_steps)
    _, m_00, m_01, m_02, m_11, m_12, n_0, n_1, n_2, dd = sums
    # second moments of what goes in, of the two latents and of the target, summed over bins
    one, two = first[0, 0], first[0, 2]
    mm, um, uu = one * m_00, one * beta * m_01, one * beta * beta * m_11
    my, uy, yy = two * n_0, two * beta * n_1, first[2, 2] * dd
    for i in range(3 + n_out):
        for j in range(3 + n_out):
            grad[i, j] = 0.0
    total = by_um = by_uu = by_uy = 0.0
    for o in range(n_out):
        w, zm, zu, r = weights[o], s[3 + o, 0], s[3 + o, 1], read[o, 0]
        m, u = zm * mm + zu * um - r * my, zm * um + zu * uu - r * uy
        total += w * (zm * m + zu * u - r * (zm * my + zu * uy - r * yy))
        by_um += 2.0 * w * zm * zu
        by_uu += w * zu * zu
        by_uy -= 2.0 * w * zu * r
        grad[3 + o, 0] = grad[0, 3 + o] = 2.0 * w * m
        grad[3 + o, 1] = grad[1, 3 + o] = 2.0 * w * u
    by_beta = one * (by_um * m_01 + 2.0 * by_uu * beta * m_11) + two * by_uy * n_1
    by_q = beta * (one * (by_um * m_02 + 2.0 * by_uu * beta * m_12) + two * by_uy * n_2)
    grad[2, 0] = grad[0, 2] = a * by_beta
    grad[2, 1] = grad[1, 2] = a * by_q
    # a sum of squares, but for rounding; what is no number stays so
    return 0.0 if total < 0.0 else total, True


@compiled(**_INLINED)
def _series_curvature(x: float, n_steps: float) -> float:
    """Return h''(1 + x) where T |x| is small."""
    term = n_steps * (n_steps - 1.0) * (n_steps - 2.0) / 6.0  # C(T, n) x^(n-3)
    curvature, n = 0.0, 3.0
    while n < 40.0 and abs(term) * n * n > 1e-18 * abs(curvature):
        curvature += (n - 1.0) * (n - 2.0) * term
        term *= x * (n_steps - n) / (n + 1.0)
        n += 1.0
    return curvature


@compiled(**_INLINED)
def _closed_second_sums(a: float, vu: float, d: float, t: float, sums: tuple) -> tuple:
    """Return M_03, K and N_3, which only the Hessian takes, from what `_closed_sums` returned."""
    _, _, m_01, m_02, m_11, m_12, _, _, n_2, _ = sums
    p, q, gap = 1.0 - a, 1.0 - a * (1.0 - vu), a * vu
    eq, ed = a * (1.0 - vu), 1.0 - d
    e_pq, e_qq, e_qd = a + eq * p, eq * (1.0 + q), eq + ed * q
    p_t, d_t = np.exp(t * np.log1p(-a)), np.exp(t * np.log1p(-ed))
    if t * abs(gap) > _SMALL * p:
        q_t = np.exp(t * np.log1p(-eq))
        phi_1 = (q_t - p_t) / gap
        phi_2 = (t * q_t / q - phi_1) / gap
        phi_3 = (t * (t - 1.0) * q_t / (q * q) - 2.0 * phi_2) / gap
    else:
        phi_1, phi_2 = _series(gap / p, t)
        phi_1 *= p_t / p
        phi_2 *= p_t / (p * p)
        phi_3 = _series_curvature(gap / p, t) * p_t / (p * p * p)

    if t * abs(e_pq) < _SMALL:
        m_03 = (p * p * _series_curvature(-e_pq, t) - 2.0 * m_02) / gap
    else:
        m_03 = (2.0 * p * m_02 - p_t * phi_3) / e_pq
    if t * abs(e_qq) < _SMALL:
        _, slope = _series(-e_qq, t)
        by_q = (q * slope - m_01) / gap
        by_q = (slope + 2.0 * q * q * _series_curvature(-e_qq, t) - m_02 - by_q) / gap
        k = (by_q - m_03 - 3.0 * m_12) / gap
    else:
        k = 2.0 * m_02 + m_11 + q * (4.0 * m_12 + m_03) - phi_2 * phi_2 - phi_1 * phi_3
        k /= e_qq
    if t * abs(e_qd) < _SMALL:
        n_3 = (d * d * _series_curvature(-e_qd, t) - 2.0 * n_2) / gap
    else:
        n_3 = (2.0 * d * n_2 - d_t * phi_3) / e_qd
    return m_03, k, n_3


@compiled(**_INLINED)
def _looped_second_sums(a: float, vu: float, d: float, n_steps: int) -> tuple:
    """Return the same by a loop over bins."""
    p, q = 1.0 - a, 1.0 - a * (1.0 - vu)
    m_03 = k = n_3 = 0.0
    phi_0, phi_1, phi_2, phi_3, y = 1.0, 0.0, 0.0, 0.0, 1.0
    for _ in range(n_steps):
        m_03 += phi_0 * phi_3
        k += phi_2 * phi_2 + phi_1 * phi_3
        n_3 += y * phi_3
        phi_3 = 2.0 * phi_2 + q * phi_3
        phi_2 = phi_1 + q * phi_2
        phi_1 = phi_0 + q * phi_1
        phi_0 *= p
        y *= d
    return m_03, k, n_3


@compiled(**_INLINED)
def single_hessian(
    s: np.ndarray, sizes: tuple[int, int, int], impulse: Impulse, hess: np.ndarray
) -> bool:
    """Fill `hess` as `hessian_kernel` does and tell if that was possible; if not, nothing is done.

    Arguments as in `impulse_loss_and_derivative`, of any sizes and also without an impulse; rows
    and columns of `hess` in the order of `visible_names`. Apart from `single_impulse`, which would
    be slower if it had this to do as well.
    """
    n_in, rank, n_out = sizes
    a, first, step, read, weights, n_steps = impulse
    if not (n_in == 1 and rank == 1 and first.shape[0] == 3):
        return False
    d, beta, back = step[0, 0], a * s[2, 0], s[2, 1]
    sums = _closed_sums(a, back, d, float(n_steps))
    if sums[0]:
        m_03, k, n_3 = _closed_second_sums(a, back, d, float(n_steps), sums)
    elif n_steps > _SHORT:
        return False
    else:
        sums = _looped_sums(a, back, d, n_steps)
        m_03, k, n_3 = _looped_second_sums(a, back, d, n_steps)
    _, m_00, m_01, m_02, m_11, m_12, _, n_1, n_2, _ = sums
    one, two = first[0, 0], first[0, 2]
    vm, vu = 2 * n_out, 2 * n_out + 1
    for i in range(2 * n_out):
        for j in range(2 * n_out):
            hess[i, j] = 0.0
    by_um = by_uu = by_uy = 0.0
    for o in range(n_out):
        w, zm, zu, r, u = 2.0 * weights[o], s[3 + o, 0], s[3 + o, 1], read[o, 0], n_out + o
        by_um += w * zm * zu
        by_uu += w * zu * zu
        by_uy -= w * zu * r
        hess[o, o] = w * one * m_00
        hess[o, u] = hess[u, o] = w * one * beta * m_01
        hess[u, u] = w * one * beta * beta * m_11
        hess[o, vm] = hess[vm, o] = w * a * one * zu * m_01
        hess[o, vu] = hess[vu, o] = w * a * beta * one * zu * m_02
        by_beta = one * (zm * m_01 + 2.0 * zu * beta * m_11) - two * r * n_1
        hess[u, vm] = hess[vm, u] = w * a * by_beta
        by_q = one * (zm * m_02 + 2.0 * zu * beta * m_12) - two * r * n_2
        hess[u, vu] = hess[vu, u] = w * a * beta * by_q
    by_both = one * (by_um * m_02 + 2.0 * by_uu * beta * m_12) + two * by_uy * n_2
    by_qq = beta * (one * (by_um * m_03 + by_uu * beta * k) + two * by_uy * n_3)
    hess[vm, vm] = a * a * one * by_uu * m_11
    hess[vm, vu] = hess[vu, vm] = a * a * by_both
    hess[vu, vu] = a * a * by_qq
    return True
