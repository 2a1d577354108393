"""Compiled loops for populations of neurons: forward, loss, adjoint, and epochs of descent.

The neurons of population p, a fraction f_p of all, have the overlap matrix S_p. All see the same
activity k = (k_m, k_u). With W_p the (v, z) x (m, u) block of S_p and B_p its (m, u) block::

    Delta_p,t = k_t' B_p k_t,  g_p,t = g(Delta_p,t),  r_t = sum over p of f_p g_p,t W_p k_t
    k_u,t+1 = (1 - a) k_u,t + a r_v,t,   y_t = r_z,t,   a = dt / tau

and, from e_t = dL/dy_t, the adjoint runs backwards with q_t = (a l_{t+1}, e_t)::

    s_p,t = q_t . W_p k_t g'(Delta_p,t)
    dL/dW_p = f_p sum over t of g_p,t q_t k_t',   the (m, u) block: f_p 2 s_p,t k_t k_t'
    l_t = (1 - a) l_{t+1} + sum over p of f_p [g_p,t W_p' q_t + 2 s_p,t B_p k_t]_u

What is returned is A_p, the derivative by S_p over f_p: what moves the loadings of population p.
Arrays are (time, variables, trials), trials innermost, in blocks as in
`predictlearn.theory.kernels.rollout`. Matrices of all populations are stacked to
(populations * D, D).
"""

from __future__ import annotations

import math

import numpy as np

from predictlearn.compiled import FAST, compiled
from predictlearn.theory.kernels.arguments import Shown
from predictlearn.theory.kernels.gain import judge, tabulated_gain
from predictlearn.theory.kernels.rollout import BLOCK, loss_and_derivative_kernel
from predictlearn.theory.kernels.rows import add_products, mix, row_products

__all__ = [
    "population_buffer_size",
    "population_loss_and_derivative_kernel",
    "population_rollout_kernel",
]


_HALF_PI = math.pi / 2


@compiled()
def _work_rows(n_in: int, rank: int, n_out: int) -> int:
    """Return how many rows of one bin the block loops keep."""
    return 2 * (n_in + rank) + 3 * (rank + n_out) + rank + 1


def population_buffer_size(
    n_populations: int, n_steps: int, n_trials: int, n_in: int, rank: int, n_out: int
) -> int:
    """Return how many numbers of scratch space several populations need."""
    width = min(BLOCK, n_trials)
    kept = n_steps * (rank + 2 * n_populations + n_out)
    return width * (kept + _work_rows(n_in, rank, n_out))


@compiled(fastmath=FAST, error_model="numpy")
def _forward(
    s: np.ndarray,
    fractions: np.ndarray,
    sizes: tuple[int, int, int],
    shown: Shown,
    first: np.uintp,
    width: np.uintp,
    ku: np.ndarray,
    g: np.ndarray,
    slope: np.ndarray,
    y: np.ndarray,
    work: np.ndarray,
) -> None:
    """Roll out one block: fill ku (time * rank, .), g (time * populations, .), y (time * n_out, .).

    For a tabulated gain `slope`, of the shape of g, gets 2 dg/dDelta.
    """
    n_in, rank, n_out = sizes
    a, gain, km, _ = shown
    n_groups = fractions.size
    b = n_in + rank
    n_rows = rank + n_out
    dim = b + n_rows
    keep = 1.0 - a
    kind = gain.size
    # rows of one bin: k, whose last rows are the running state, then B k, W k, and the sum r
    k, bk = work[:b], work[b : 2 * b]
    c, r = work[2 * b : 2 * b + n_rows], work[2 * b + n_rows : 2 * (b + n_rows)]
    for j in range(n_in, b):
        for p in range(width):
            k[j, p] = 0.0
    for t in range(km.shape[0]):
        for j in range(n_in):
            for p in range(width):
                k[j, p] = km[t, j, first + p]
        for j in range(rank):
            for p in range(width):
                ku[t * rank + j, p] = k[n_in + j, p]
        for group in range(n_groups):
            row = t * n_groups + group
            share = fractions[group]
            if kind > 0:
                mix(s, group * dim, k, b, width, bk, 0, b)
                row_products(k, bk, b, width, g, row)
            if kind == 1:
                for p in range(width):
                    g[row, p] = 1.0 / math.sqrt(1.0 + _HALF_PI * g[row, p])
            elif kind > 1:
                tabulated_gain(gain, g, slope, row, width)
            else:
                for p in range(width):
                    g[row, p] = 1.0
            mix(s, group * dim + b, k, b, width, c, 0, n_rows)
            for o in range(n_rows):
                if group == 0:
                    for p in range(width):
                        r[o, p] = share * g[row, p] * c[o, p]
                else:
                    for p in range(width):
                        r[o, p] += share * g[row, p] * c[o, p]
        for j in range(rank):
            for p in range(width):
                k[n_in + j, p] = keep * k[n_in + j, p] + a * r[j, p]
        for o in range(n_out):
            for p in range(width):
                y[t * n_out + o, p] = r[rank + o, p]


@compiled(fastmath=FAST, error_model="numpy")
def _adjoint(
    s: np.ndarray,
    fractions: np.ndarray,
    sizes: tuple[int, int, int],
    shown: Shown,
    first: np.uintp,
    width: np.uintp,
    ku: np.ndarray,
    g: np.ndarray,
    slope: np.ndarray,
    e: np.ndarray,
    grad: np.ndarray,
    work: np.ndarray,
) -> None:
    """Run one block backwards and add its share of every A_p to `grad`, lower triangles."""
    n_in, rank, n_out = sizes
    a, gain, km, _ = shown
    n_groups = fractions.size
    b = n_in + rank
    n_rows = rank + n_out
    dim = b + n_rows
    keep = 1.0 - a
    # W' of every population, stacked
    weights = np.empty((n_groups * b, n_rows))
    for group in range(n_groups):
        for j in range(b):
            for o in range(n_rows):
                weights[group * b + j, o] = s[group * dim + b + o, j]
    k, back = work[:b], work[b : 2 * b]
    q, gq = work[2 * b : 2 * b + n_rows], work[2 * b + n_rows : 2 * (b + n_rows)]
    lam, dot = work[2 * (b + n_rows) : 2 * (b + n_rows) + rank], work[2 * (b + n_rows) + rank :]
    for j in range(rank):
        for p in range(width):
            lam[j, p] = 0.0
    for t in range(km.shape[0] - 1, -1, -1):
        for j in range(n_in):
            for p in range(width):
                k[j, p] = km[t, j, first + p]
        for j in range(rank):
            for p in range(width):
                k[n_in + j, p] = ku[t * rank + j, p]
                q[j, p] = a * lam[j, p]
                lam[j, p] *= keep
        for o in range(n_out):
            for p in range(width):
                q[rank + o, p] = e[t * n_out + o, p]
        for group in range(n_groups):
            row = t * n_groups + group
            top = group * dim
            share = fractions[group]
            # back_j = (W' q)_j, so that q . W k is the sum of k_j back_j
            mix(weights, group * b, q, n_rows, width, back, 0, b)
            row_products(k, back, b, width, dot, 0)
            if gain.size == 1:
                for p in range(width):
                    dot[0, p] *= -_HALF_PI * g[row, p] * g[row, p] * g[row, p]
            else:
                for p in range(width):
                    dot[0, p] *= slope[row, p]
            # dot is now 2 s_t = 2 g'(Delta) (q . W k)
            for o in range(n_rows):
                for p in range(width):
                    gq[o, p] = q[o, p] * g[row, p]
            add_products(gq, 0, k, b, width, grad, top + b, n_rows)
            for j in range(rank):
                for p in range(width):
                    lam[j, p] += share * g[row, p] * back[n_in + j, p]
            # rows of B k, then of s k, in the place of W' q
            mix(s, top + n_in, k, b, width, back, n_in, rank)
            for j in range(rank):
                for p in range(width):
                    lam[j, p] += share * dot[0, p] * back[n_in + j, p]
            for i in range(b):
                for p in range(width):
                    back[i, p] = dot[0, p] * k[i, p]
            for i in range(0, b, 2):
                # row i of the lower triangle takes one column that the symmetry fills anyway
                pair = min(2, b - i)
                add_products(back, i, k, i + pair, width, grad, top + i, pair)


@compiled()
def population_rollout_kernel(
    s: np.ndarray,
    fractions: np.ndarray,
    sizes: tuple[int, int, int],
    shown: Shown,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return k_u, g and y of all trials, (time, rank or populations or n_out, trials)."""
    n_in, rank, n_out = sizes
    n_steps, _, n_trials = shown.km.shape
    n_groups, dim, _ = s.shape
    ku = np.empty((n_steps * rank, n_trials))
    g = np.empty((n_steps * n_groups, n_trials))
    y = np.empty((n_steps * n_out, n_trials))
    slope = np.empty((n_steps * n_groups if shown.gain.size > 1 else 0, n_trials))
    work = np.empty((_work_rows(n_in, rank, n_out), n_trials))
    _forward(
        s.reshape((n_groups * dim, dim)), fractions, sizes, shown, np.uintp(0),
        np.uintp(n_trials), ku, g, slope, y, work,
    )  # fmt: skip
    return (
        ku.reshape((n_steps, rank, n_trials)),
        g.reshape((n_steps, n_groups, n_trials)),
        y.reshape((n_steps, n_out, n_trials)),
    )


@compiled()
def population_loss_and_derivative_kernel(
    s: np.ndarray,
    fractions: np.ndarray,
    sizes: tuple[int, int, int],
    shown: Shown,
    buffer: np.ndarray,
    grad: np.ndarray,
) -> float:
    """Return the loss and fill `grad`, (populations, D, D), with every A_p.

    `s` has that shape too, `fractions` (populations,). `buffer` has at least as many numbers as
    `population_buffer_size` and the buffer of one population: scratch space, kept between epochs.
    """
    _, rank, n_out = sizes
    n_groups, dim, _ = s.shape
    if shown.gain.size == 0 or n_groups == 1:
        # a linear network sees only the overlaps of all neurons, and every A_p is theirs
        whole = np.zeros((dim, dim))
        for group in range(n_groups):
            for i in range(dim):
                for j in range(dim):
                    whole[i, j] += fractions[group] * s[group, i, j]
        total = loss_and_derivative_kernel(whole, sizes, shown, buffer, grad[0])
        for group in range(1, n_groups):
            for i in range(dim):
                for j in range(dim):
                    grad[group, i, j] = grad[0, i, j]
        return total
    n_steps, _, n_trials = shown.km.shape
    block = min(BLOCK, n_trials)
    rows = buffer[: (buffer.size // block) * block].reshape((-1, block))
    used = n_steps * rank
    ku, g = rows[:used], rows[used : used + n_steps * n_groups]
    used += n_steps * n_groups
    slope = rows[used : used + n_steps * n_groups]
    used += n_steps * n_groups
    y, work = rows[used : used + n_steps * n_out], rows[used + n_steps * n_out :]
    outputs = y.reshape((n_steps, n_out, block))
    stacked, slopes = s.reshape((n_groups * dim, dim)), grad.reshape((n_groups * dim, dim))
    for i in range(slopes.shape[0]):
        for j in range(dim):
            slopes[i, j] = 0.0
    total = 0.0
    for start in range(0, n_trials, block):
        first, width = np.uintp(start), np.uintp(min(block, n_trials - start))
        _forward(stacked, fractions, sizes, shown, first, width, ku, g, slope, y, work)
        total += judge(outputs, shown.judging, first, width)
        _adjoint(stacked, fractions, sizes, shown, first, width, ku, g, slope, y, slopes, work)
    for group in range(n_groups):
        for i in range(dim):
            for j in range(i):
                grad[group, j, i] = grad[group, i, j]
    return total
