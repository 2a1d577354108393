"""Compiled loops of the fourth-order closure: activity, loss and derivatives with cumulants.

Loadings have overlaps S and fourth cumulants kappa. With b the directions of m and u, k = (k_m,
k_u), kappa_okkk the cumulant tensor contracted with k three times, and gamma_n(Delta) the mean n-th
derivative of phi under a Gaussian current of variance Delta (gamma_1 = g, gamma_n+2 = 2 dgamma_n /
dDelta), the mean rate that row o = v, z reads is, to first order in kappa::

    r_o = (gamma_1 + gamma_5 kappa_kkkk / 24) c_o + gamma_3 kappa_okkk / 6,    c_o = S_ok

The adjoint gives, from q = (a l_{t+1}, e_t) as in `rollout`, with x = q . c and q placed in the
rows of v and z::

    A_ob = sum (gamma_1 + gamma_5 kappa_kkkk / 24) q_o k_b
    A_bb = sum [x gamma_3 + (x gamma_7 kappa_kkkk + 4 gamma_5 kappa_qkkk) / 24] k k
    T_obbb = sum gamma_3 q_o k k k,    T_bbbb = sum x gamma_5 k k k k

A is the derivative of the loss by S (a pair counted as one variable, the diagonal twice) and T is
24 times that by kappa, without what kappa adds to it. Arrays are (time, variables, trials), trials
innermost. Products k k and k k k are kept once for each set of indices: `pairs` and `triples`.
"""

from __future__ import annotations

import math

import numpy as np

from predictlearn.compiled import FAST, compiled
from predictlearn.theory.kernels.arguments import Cumulants, Shown
from predictlearn.theory.kernels.fourth_order_rank_one import single_adjoint, single_forward
from predictlearn.theory.kernels.gain import judge
from predictlearn.theory.kernels.rows import add_products, mix, row_products

__all__ = ["BLOCK", "fourth_order_kernel", "move_kernel"]


BLOCK = 128


@compiled(fastmath=FAST, error_model="numpy")
def _powers(
    k: np.ndarray,
    pairs: np.ndarray,
    triples: np.ndarray,
    width: np.uintp,
    k2: np.ndarray,
    k3: np.ndarray,
) -> None:
    """Fill the rows of k2 and k3 with products of rows of k; `triples` are (pair, variable)."""
    for n in range(pairs.shape[0]):
        i, j = pairs[n, 0], pairs[n, 1]
        for p in range(width):
            k2[n, p] = k[i, p] * k[j, p]
    for n in range(triples.shape[0]):
        i, j = triples[n, 0], triples[n, 1]
        for p in range(width):
            k3[n, p] = k2[i, p] * k[j, p]


@compiled(fastmath=FAST, error_model="numpy")
def _forward(
    s: np.ndarray,
    cubic: np.ndarray,
    pairs: np.ndarray,
    triples: np.ndarray,
    n_in: int,
    rank: int,
    a: float,
    curve: float,
    km: np.ndarray,
    first: np.uintp,
    width: np.uintp,
    ku: np.ndarray,
    g: np.ndarray,
    y: np.ndarray,
    k: np.ndarray,
    k2: np.ndarray,
    k3: np.ndarray,
    bk: np.ndarray,
    c: np.ndarray,
    third: np.ndarray,
) -> None:
    """Roll out one block of trials: fill ku (time * rank, .), g (time, .), y (time * n_out, .)."""
    b = n_in + rank
    n_rows, n_out = s.shape[0] - b, s.shape[0] - b - rank
    keep = 1.0 - a
    for r in range(n_in, b):
        for p in range(width):
            k[r, p] = 0.0
    for t in range(km.shape[0]):
        for j in range(n_in):
            for p in range(width):
                k[j, p] = km[t, j, first + p]
        for r in range(rank):
            for p in range(width):
                ku[t * rank + r, p] = k[n_in + r, p]
        _powers(k, pairs, triples, width, k2, k3)
        mix(s, 0, k, b, width, bk, 0, b)
        row_products(k, bk, b, width, g, t)
        mix(s, b, k, b, width, c, 0, n_rows)
        mix(cubic, 0, k3, triples.shape[0], width, third, 0, s.shape[0])
        row_products(k, third, b, width, bk, 0)
        for p in range(width):
            g1 = 1.0 / math.sqrt(1.0 + curve * g[t, p])
            g[t, p] = g1
            ratio = -curve * g1 * g1
            # gamma_1 + gamma_5 kappa_kkkk / 24, and gamma_3 / 6
            bk[0, p] = g1 * (1.0 + ratio * ratio * bk[0, p] / 8.0)
            bk[1, p] = g1 * ratio / 6.0
        for o in range(n_rows):
            for p in range(width):
                c[o, p] = bk[0, p] * c[o, p] + bk[1, p] * third[b + o, p]
        for o in range(n_out):
            for p in range(width):
                y[t * n_out + o, p] = c[rank + o, p]
        for r in range(rank):
            for p in range(width):
                k[n_in + r, p] = keep * k[n_in + r, p] + a * c[r, p]


@compiled(fastmath=FAST, error_model="numpy")
def _adjoint(
    s: np.ndarray,
    cubic: np.ndarray,
    quadratic: np.ndarray,
    pairs: np.ndarray,
    triples: np.ndarray,
    n_in: int,
    rank: int,
    a: float,
    curve: float,
    km: np.ndarray,
    first: np.uintp,
    width: np.uintp,
    ku: np.ndarray,
    g: np.ndarray,
    e: np.ndarray,
    k: np.ndarray,
    k2: np.ndarray,
    k3: np.ndarray,
    bk: np.ndarray,
    q: np.ndarray,
    third: np.ndarray,
    back: np.ndarray,
    second: np.ndarray,
    lam: np.ndarray,
    sums: np.ndarray,
    grad: np.ndarray,
    force: np.ndarray,
) -> None:
    """Run one block backwards; add its share of A to the lower triangle of grad, of T to force."""
    b = n_in + rank
    n_rows, n_out = s.shape[0] - b, s.shape[0] - b - rank
    keep = 1.0 - a
    weights = s[b:, :b].T.copy()
    for r in range(rank):
        for p in range(width):
            lam[r, p] = 0.0
    for t in range(km.shape[0] - 1, -1, -1):
        for j in range(n_in):
            for p in range(width):
                k[j, p] = km[t, j, first + p]
        for r in range(rank):
            for p in range(width):
                k[n_in + r, p] = ku[t * rank + r, p]
                q[r, p] = a * lam[r, p]
        for o in range(n_out):
            for p in range(width):
                q[rank + o, p] = e[t * n_out + o, p]
        _powers(k, pairs, triples, width, k2, k3)
        mix(s, n_in, k, b, width, bk, n_in, rank)
        mix(cubic, 0, k3, triples.shape[0], width, third, 0, s.shape[0])
        mix(weights, 0, q, n_rows, width, back, 0, b)
        row_products(k, back, b, width, sums, 0)  # x
        row_products(k, third, b, width, sums, 1)  # kappa_kkkk
        for o in range(n_rows):
            for p in range(width):
                second[o, p] = third[b + o, p]
        row_products(q, second, n_rows, width, sums, 2)  # kappa_qkkk
        for p in range(width):
            x, k4, kq = sums[0, p], sums[1, p], sums[2, p]
            g1 = g[t, p]
            ratio = -curve * g1 * g1
            g3 = g1 * ratio
            g5 = 3.0 * g3 * ratio
            g7 = 5.0 * g5 * ratio
            sums[0, p] = g1 + g5 * k4 / 24.0
            sums[1, p] = x * g3 + (x * g7 * k4 + 4.0 * g5 * kq) / 24.0
            sums[2, p] = g3
            sums[3, p] = x * g5
        for r in range(rank):
            mix(quadratic, r * n_rows, k2, pairs.shape[0], width, second, 0, n_rows)
            row_products(q, second, n_rows, width, sums, 4)  # kappa_rqkk
            i = n_in + r
            for p in range(width):
                lam[r, p] = (
                    keep * lam[r, p]
                    + sums[0, p] * back[i, p]
                    + sums[1, p] * bk[i, p]
                    + sums[3, p] * third[i, p] / 6.0
                    + 0.5 * sums[2, p] * sums[4, p]
                )
        for i in range(b):
            for p in range(width):
                back[i, p] = sums[3, p] * k[i, p]
        add_products(back, 0, k3, triples.shape[0], width, force, 0, b)
        for i in range(b):
            for p in range(width):
                back[i, p] = sums[1, p] * k[i, p]
        for i in range(0, b, 2):
            # row i of the lower triangle takes one column that the symmetry fills anyway
            pair = min(2, b - i)
            add_products(back, i, k, i + pair, width, grad, i, pair)
        for o in range(n_rows):
            for p in range(width):
                third[o, p] = sums[2, p] * q[o, p]
                q[o, p] *= sums[0, p]
        add_products(q, 0, k, b, width, grad, b, n_rows)
        add_products(third, 0, k3, triples.shape[0], width, force, b, n_rows)


@compiled()
def fourth_order_kernel(
    s: np.ndarray,
    cumulants: Cumulants,
    sizes: tuple[int, int, int],
    curve: float,
    shown: Shown,
    room: tuple[np.ndarray, np.ndarray, np.ndarray],
    grad: np.ndarray,
    force: np.ndarray,
) -> float:
    """Return the loss; fill `grad` with A, (D, D), and `force` with T, (D, triples).

    `curve` is pi / 2 for erf, whose gamma_1 is ``1 / sqrt(1 + curve Delta)``, and 0 for a linear
    network. `room` is scratch space for k_u, g and y, each (time * variables, block).
    """
    n_in, rank, n_out = sizes
    a, _, km, judging = shown
    cubic, quadratic, pairs, triples = cumulants
    ku, g, y = room
    n_steps, _, n_trials = km.shape
    dim, b = s.shape[0], n_in + rank
    block = min(BLOCK, n_trials)
    n_rows = rank + n_out
    k, k2, k3 = (
        np.empty((b, block)),
        np.empty((pairs.shape[0], block)),
        np.empty((triples.shape[0], block)),
    )
    bk, q, third = np.empty((b, block)), np.empty((n_rows, block)), np.empty((dim, block))
    back, second = np.empty((b, block)), np.empty((n_rows, block))
    lam, sums = np.empty((rank, block)), np.empty((5, block))
    outputs = y.reshape((n_steps, n_out, block))
    grad[:] = 0.0
    force[:] = 0.0
    total = 0.0
    single = b + n_out == 3
    for start in range(0, n_trials, block):
        first, width = np.uintp(start), np.uintp(min(block, n_trials - start))
        if single:
            single_forward(s, cubic, a, curve, km, first, width, ku, g, y, sums)
        else:
            _forward(
                s, cubic, pairs, triples, n_in, rank, a, curve, km, first, width, ku, g, y, k, k2,
                k3, bk, q, third,
            )  # fmt: skip
        total += judge(outputs, judging, first, width)
        if single:
            single_adjoint(
                s, cubic, quadratic, a, curve, km, first, width, ku, g, y, sums, grad, force
            )
        else:
            _adjoint(
                s, cubic, quadratic, pairs, triples, n_in, rank, a, curve, km, first, width, ku, g,
                y, k, k2, k3, bk, q, third, back, second, lam, sums, grad, force,
            )  # fmt: skip
    for i in range(dim):
        for j in range(i):
            grad[j, i] = grad[i, j]
    return total


@compiled()
def _apply(tensor: np.ndarray, matrix: np.ndarray, out: np.ndarray) -> None:
    """Fill out[b, c, d, j] with the sum over i of tensor[i, b, c, d] matrix[i, j]."""
    n = matrix.shape[0]
    for b in range(n):
        for c in range(n):
            for d in range(n):
                for j in range(n):
                    total = 0.0
                    for i in range(n):
                        total += tensor[i, b, c, d] * matrix[i, j]
                    out[b, c, d, j] = total


@compiled()
def move_kernel(
    s: np.ndarray,
    kappa: np.ndarray,
    grad: np.ndarray,
    force: np.ndarray,
    rate: float,
    decay: float,
    columns: np.ndarray,
) -> None:
    """Move S and kappa by one step of descent; `force` is T as a full tensor, (D, D, D, D).

    With B = 1 - rate (A + decay) R and R the pathway rates, loadings move by B and by a cubic
    force of T, which vanishes on average with any linear function of Gaussian loadings::

        S <- B' S B - rate / 6 (kappa T R + its transpose),  (kappa T)_ab = kappa_acde T_cdeb
        kappa <- kappa B B B B - rate times the sum over a, b, c, d of S S S T R
    """
    n = s.shape[0]
    step = np.empty((n, n))
    for i in range(n):
        for j in range(n):
            step[i, j] = (i == j) - rate * (grad[i, j] + (decay if i == j else 0.0)) * columns[j]
    pulled = np.empty((n, n))
    for i in range(n):
        for j in range(n):
            total = 0.0
            for c in range(n):
                for d in range(n):
                    for e in range(n):
                        total += kappa[i, c, d, e] * force[c, d, e, j]
            pulled[i, j] = rate / 6.0 * total * columns[j]
    one, two = np.empty_like(kappa), np.empty_like(kappa)
    # indices come round: after three products with S the last one of T is first
    _apply(force, s, one)
    _apply(one, s, two)
    _apply(two, s, one)
    _apply(kappa, step, two)
    _apply(two, step, kappa)
    _apply(kappa, step, two)
    _apply(two, step, kappa)
    for i in range(n):
        for j in range(n):
            for c in range(n):
                for d in range(n):
                    kappa[i, j, c, d] -= rate * (
                        columns[i] * one[i, j, c, d]
                        + columns[j] * one[j, i, c, d]
                        + columns[c] * one[c, i, j, d]
                        + columns[d] * one[d, i, j, c]
                    )
    product = s @ step
    for i in range(n):
        for j in range(i + 1):
            total = 0.0
            for c in range(n):
                total += step[c, i] * product[c, j]
            total -= pulled[i, j] + pulled[j, i]
            s[i, j] = total
            s[j, i] = total
