"""Compiled loops of the reduced activity: forward, loss, and adjoint.

Arrays are (time, variables, trials), trials innermost, so that every inner loop is a vector loop.
State t is the activity after the update driven by input bin t. Trials are taken in blocks, each
run forward and back before the next. With k = (k_m, k_u), W the (v, z) x (m, u)
block of S and B its (m, u) block::

    c_t = W k_t,  Delta_t = k_t' B k_t,  r_t = g(Delta_t) c_t
    k_u,t+1 = (1 - a) k_u,t + a r_v,t,   y_t = r_z,t,   a = dt / tau

and, from e_t = dL/dy_t, the adjoint runs backwards with q_t = (a l_{t+1}, e_t)::

    s_t = q_t . c_t g'(Delta_t)
    dL/dW += g_t q_t k_t',   A_mu += 2 s_t k_t k_t'
    l_t = (1 - a) l_{t+1} + [g_t W' q_t + 2 s_t B k_t]_u

k_m does not depend on S, so its adjoint is never needed.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from predictlearn.theory import gain_kernels, row_kernels, single_kernels
from predictlearn.theory.compiled import forget_stale
from predictlearn.theory.gain_kernels import gain_and_slope, judge, tabulated_gain
from predictlearn.theory.row_kernels import add_products, mix, row_products
from predictlearn.theory.single_kernels import single_adjoint, single_forward

__all__ = [
    "BLOCK",
    "buffer_size",
    "filter_inputs",
    "loss_and_derivative_kernel",
    "rollout_kernel",
]

forget_stale(__file__, gain_kernels.__file__, row_kernels.__file__, single_kernels.__file__)

# Trials in a block: longer vector loops outweigh what no longer fits in the second-level cache
# (measured from 16 to 128).
BLOCK = 128
# Up to this many trials run with time innermost.
FEW = 2
_FAST = {"contract", "reassoc", "nsz"}
_HALF_PI = math.pi / 2


def buffer_size(n_steps: int, n_trials: int, n_in: int, rank: int, n_out: int) -> int:
    """Return how many numbers of scratch space `loss_and_derivative_kernel` needs."""
    width = min(BLOCK, n_trials)
    return width * (n_steps * (rank + 2 + n_out) + work_rows(n_in, rank, n_out))


@njit(cache=True)
def work_rows(n_in: int, rank: int, n_out: int) -> int:
    """Return how many rows of one bin the block loops keep."""
    return 2 * (n_in + rank) + rank + n_out + rank + 1


@njit(cache=True)
def filter_inputs(inputs: np.ndarray, a: float) -> np.ndarray:
    """Return k_m, (time, n_in, trials), from inputs of that layout."""
    n_steps, n_in, n_trials = inputs.shape
    k = np.empty_like(inputs)
    for i in range(n_in):
        for p in range(n_trials):
            k[0, i, p] = a * inputs[0, i, p]
    for t in range(1, n_steps):
        for i in range(n_in):
            for p in range(n_trials):
                k[t, i, p] = (1 - a) * k[t - 1, i, p] + a * inputs[t, i, p]
    return k


@njit(cache=True, fastmath=_FAST, error_model="numpy")
def _forward(
    s: np.ndarray,
    n_in: int,
    rank: int,
    n_out: int,
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
    """Roll out one block of trials: fill ku (time * rank, .), g (time, .) and y (time * n_out, .).

    For a tabulated gain `slope`, (time, .), gets 2 dg/dDelta.
    """
    b = n_in + rank
    keep = 1.0 - a
    kind = gain.size
    # rows of one bin: k, whose last rows are the running state, then B k, then c of v
    k, bk, c = work[:b], work[b : 2 * b], work[2 * b : 2 * b + rank]
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
        if kind > 0:
            mix(s, 0, k, b, width, bk, 0, b)
            row_products(k, bk, b, width, g, t)
        if kind == 1:
            for p in range(width):
                g[t, p] = 1.0 / math.sqrt(1.0 + _HALF_PI * g[t, p])
        elif kind > 1:
            tabulated_gain(gain, g, slope, t, width)
        mix(s, b, k, b, width, c, 0, rank)
        mix(s, b + rank, k, b, width, y, t * n_out, n_out)
        if kind == 0:
            for r in range(rank):
                for p in range(width):
                    k[n_in + r, p] = keep * k[n_in + r, p] + a * c[r, p]
            continue
        for o in range(n_out):
            for p in range(width):
                y[t * n_out + o, p] *= g[t, p]
        for r in range(rank):
            for p in range(width):
                k[n_in + r, p] = keep * k[n_in + r, p] + a * g[t, p] * c[r, p]


@njit(cache=True, fastmath=_FAST, error_model="numpy")
def _adjoint(
    s: np.ndarray,
    n_in: int,
    rank: int,
    n_out: int,
    a: float,
    gain: np.ndarray,
    km: np.ndarray,
    first: np.uintp,
    width: np.uintp,
    ku: np.ndarray,
    g: np.ndarray,
    slope: np.ndarray,
    e: np.ndarray,
    grad: np.ndarray,
    work: np.ndarray,
) -> None:
    """Run one block backwards and add its share of A to `grad`, (D, D), lower triangle."""
    b = n_in + rank
    n_rows = rank + n_out
    keep = 1.0 - a
    kind = gain.size
    weights = s[b:, :b].T.copy()
    k, back = work[:b], work[b : 2 * b]
    q, lam = work[2 * b : 2 * b + n_rows], work[2 * b + n_rows : 2 * b + n_rows + rank]
    dot = work[2 * b + n_rows + rank :]
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
        if kind == 0:
            mix(weights, n_in, q, n_rows, width, back, n_in, rank)
            add_products(q, 0, k, b, width, grad, b, n_rows)
            for r in range(rank):
                for p in range(width):
                    lam[r, p] = keep * lam[r, p] + back[n_in + r, p]
            continue
        # back_j = (W' q)_j, so that q . c is the sum of k_j back_j
        mix(weights, 0, q, n_rows, width, back, 0, b)
        row_products(k, back, b, width, dot, 0)
        if kind == 1:
            for p in range(width):
                dot[0, p] *= -_HALF_PI * g[t, p] * g[t, p] * g[t, p]
        else:
            for p in range(width):
                dot[0, p] *= slope[t, p]
        # dot is now 2 s_t = 2 g'(Delta) (q . c)
        for o in range(n_rows):
            for p in range(width):
                q[o, p] *= g[t, p]
        add_products(q, 0, k, b, width, grad, b, n_rows)
        for r in range(rank):
            for p in range(width):
                lam[r, p] = keep * lam[r, p] + g[t, p] * back[n_in + r, p]
        # rows of B k, then of s k, in the place of W' q
        mix(s, n_in, k, b, width, back, n_in, rank)
        for r in range(rank):
            for p in range(width):
                lam[r, p] += dot[0, p] * back[n_in + r, p]
        for i in range(b):
            for p in range(width):
                back[i, p] = dot[0, p] * k[i, p]
        for i in range(0, b, 2):
            # row i of the lower triangle takes one column that the symmetry fills anyway
            pair = min(2, b - i)
            add_products(back, i, k, i + pair, width, grad, i, pair)


@njit(cache=True, fastmath=_FAST)
def _few(
    s: np.ndarray,
    n_in: int,
    rank: int,
    n_out: int,
    a: float,
    gain: np.ndarray,
    km: np.ndarray,
    targets: np.ndarray,
    weights: np.ndarray,
    noise: np.ndarray,
    offset: np.ndarray,
    smoothing: np.ndarray,
    direct: bool,
    ku: np.ndarray,
    g: np.ndarray,
    slope: np.ndarray,
    y: np.ndarray,
    grad: np.ndarray,
) -> float:
    """Loss and derivative for a few trials, time innermost.

    With one trial there is nothing to vectorise over, and the short loops of the block kernel cost
    more than their arithmetic.
    """
    n_steps, _, n_trials = km.shape
    b = n_in + rank
    keep = 1.0 - a
    curved = gain.size > 0
    total = 0.0
    k = np.empty(b)
    lam = np.empty(rank)
    new = np.empty(rank)
    for p in range(n_trials):
        for r in range(rank):
            ku[r, 0] = 0.0
        for t in range(n_steps):
            for j in range(n_in):
                k[j] = km[t, j, p]
            for r in range(rank):
                k[n_in + r] = ku[t * rank + r, 0]
            gt = 1.0
            if curved:
                delta = 0.0
                for i in range(b):
                    c = 0.0
                    for j in range(b):
                        c += s[i, j] * k[j]
                    delta += k[i] * c
                gt, twice = gain_and_slope(gain, delta)
                g[t, 0] = gt
                slope[t, 0] = twice
            for o in range(rank + n_out):
                c = 0.0
                for j in range(b):
                    c += s[b + o, j] * k[j]
                c *= gt
                if o >= rank:
                    y[t, o - rank, 0] = c
                elif t < n_steps - 1:
                    ku[(t + 1) * rank + o, 0] = keep * k[n_in + o] + a * c
        total += judge(
            y, targets, weights, noise, offset, smoothing, direct, np.uintp(p), np.uintp(1)
        )
        for r in range(rank):
            lam[r] = 0.0
        for t in range(n_steps - 1, -1, -1):
            for j in range(n_in):
                k[j] = km[t, j, p]
            for r in range(rank):
                k[n_in + r] = ku[t * rank + r, 0]
                new[r] = keep * lam[r]
            gt = g[t, 0] if curved else 1.0
            dot = 0.0
            for o in range(rank + n_out):
                q = a * lam[o] if o < rank else y[t, o - rank, 0]
                gq = gt * q
                for j in range(b):
                    w = s[b + o, j]
                    dot += w * k[j] * q
                    grad[b + o, j] += gq * k[j]
                    if j >= n_in:
                        new[j - n_in] += w * gq
            if curved:
                dot *= slope[t, 0]  # 2 g'(Delta) (q . c)
                for i in range(b):
                    c = 0.0
                    for j in range(b):
                        c += s[i, j] * k[j]
                        if j <= i:
                            grad[i, j] += dot * k[i] * k[j]
                    if i >= n_in:
                        new[i - n_in] += dot * c
            for r in range(rank):
                lam[r] = new[r]
    return total


@njit(cache=True)
def rollout_kernel(
    s: np.ndarray, n_in: int, rank: int, n_out: int, a: float, gain: np.ndarray, km: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return k_u, g and y, (time, variables, trials), of all trials."""
    n_steps, _, n_trials = km.shape
    ku = np.empty((n_steps * rank, n_trials))
    g = np.ones((n_steps, n_trials))
    y = np.empty((n_steps * n_out, n_trials))
    slope = np.empty((n_steps if gain.size > 1 else 0, n_trials))
    work = np.empty((work_rows(n_in, rank, n_out), n_trials))
    width = np.uintp(n_trials)
    _forward(s, n_in, rank, n_out, a, gain, km, np.uintp(0), width, ku, g, slope, y, work)
    shape = (n_steps, rank, n_trials)
    return ku.reshape(shape), g, y.reshape((n_steps, n_out, n_trials))


@njit(cache=True)
def loss_and_derivative_kernel(
    s: np.ndarray,
    n_in: int,
    rank: int,
    n_out: int,
    a: float,
    gain: np.ndarray,
    km: np.ndarray,
    targets: np.ndarray,
    weights: np.ndarray,
    noise: np.ndarray,
    offset: np.ndarray,
    smoothing: np.ndarray,
    direct: bool,
    buffer: np.ndarray,
    grad: np.ndarray,
) -> float:
    """Return the loss and fill `grad` with A, (D, D).

    `buffer` has at least `buffer_size` numbers: scratch space, kept between epochs.
    """
    n_steps, _, n_trials = km.shape
    block = min(BLOCK, n_trials)
    used = n_steps * rank
    rows = buffer[: (buffer.size // block) * block].reshape((-1, block))
    ku, g = rows[:used], rows[used : used + n_steps]
    used += n_steps
    y = rows[used : used + n_steps * n_out]
    used += n_steps * n_out
    slope, work = rows[used : used + n_steps], rows[used + n_steps :]
    outputs = y.reshape((n_steps, n_out, block))
    for i in range(grad.shape[0]):
        for j in range(grad.shape[1]):
            grad[i, j] = 0.0
    total = 0.0
    if n_trials <= FEW:
        total = _few(
            s, n_in, rank, n_out, a, gain, km, targets, weights, noise, offset, smoothing, direct,
            ku, g, slope, outputs, grad,
        )  # fmt: skip
    else:
        single = n_in + rank + n_out == 3
        for start in range(0, n_trials, block):
            first, width = np.uintp(start), np.uintp(min(block, n_trials - start))
            if single:
                single_forward(s, a, gain, km, first, width, ku, g, slope, y, work)
            else:
                _forward(s, n_in, rank, n_out, a, gain, km, first, width, ku, g, slope, y, work)
            total += judge(
                outputs, targets, weights, noise, offset, smoothing, direct, first, width
            )
            if single:
                single_adjoint(s, a, gain, km, first, width, ku, g, slope, y, work, grad)
            else:
                _adjoint(
                    s, n_in, rank, n_out, a, gain, km, first, width, ku, g, slope, y, grad, work
                )
    for i in range(grad.shape[0]):
        for j in range(i):
            grad[j, i] = grad[i, j]
    return total
