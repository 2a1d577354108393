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

__all__ = [
    "BLOCK",
    "buffer_size",
    "filter_inputs",
    "judge",
    "loss_and_derivative_kernel",
    "rollout_kernel",
]

# Trials in a block: longer vector loops outweigh what no longer fits in the second-level cache
# (measured from 16 to 128).
BLOCK = 128
# Up to this many trials run with time innermost.
FEW = 2
_FAST = {"contract", "reassoc", "nsz"}
_HALF_PI = math.pi / 2
_QUARTER_PI = math.pi / 4


def buffer_size(n_steps: int, n_trials: int, rank: int, n_out: int) -> int:
    """Return how many numbers of scratch space `loss_and_derivative_kernel` needs."""
    width = min(BLOCK, n_trials)
    return width * (n_steps * (rank + 1 + n_out) + 3 + 2 * rank)


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


@njit(cache=True, fastmath=_FAST)
def judge(
    y: np.ndarray,
    targets: np.ndarray,
    weights: np.ndarray,
    noise: np.ndarray,
    offset: np.ndarray,
    smoothing: np.ndarray,
    direct: bool,
    first: int,
    width: int,
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


@njit(cache=True, fastmath=_FAST)
def _forward(
    s: np.ndarray,
    n_in: int,
    rank: int,
    n_out: int,
    a: float,
    erf: bool,
    km: np.ndarray,
    first: int,
    width: int,
    ku: np.ndarray,
    g: np.ndarray,
    y: np.ndarray,
    work: np.ndarray,
) -> None:
    """Roll out one block of trials: fill ku (time, rank, .), g (time, .) and y (time, n_out, .)."""
    n_steps = km.shape[0]
    b = n_in + rank
    for r in range(rank):
        for p in range(width):
            ku[0, r, p] = 0.0
    for t in range(n_steps):
        if erf:
            delta = work[0]
            for i in range(n_in):
                for j in range(i + 1):
                    w = s[i, j] if i == j else 2.0 * s[i, j]
                    if i == 0:
                        for p in range(width):
                            delta[p] = w * km[t, 0, first + p] * km[t, 0, first + p]
                    else:
                        for p in range(width):
                            delta[p] += w * km[t, i, first + p] * km[t, j, first + p]
            for r in range(rank):
                for j in range(n_in):
                    w = 2.0 * s[n_in + r, j]
                    for p in range(width):
                        delta[p] += w * ku[t, r, p] * km[t, j, first + p]
                for j in range(r + 1):
                    w = s[n_in + r, n_in + j] if r == j else 2.0 * s[n_in + r, n_in + j]
                    for p in range(width):
                        delta[p] += w * ku[t, r, p] * ku[t, j, p]
            for p in range(width):
                g[t, p] = 1.0 / math.sqrt(1.0 + _HALF_PI * delta[p])
        for o in range(rank + n_out):
            if o < rank and t == n_steps - 1:
                continue
            c = work[1]
            w = s[b + o, 0]
            for p in range(width):
                c[p] = w * km[t, 0, first + p]
            for j in range(1, n_in):
                w = s[b + o, j]
                for p in range(width):
                    c[p] += w * km[t, j, first + p]
            for j in range(rank):
                w = s[b + o, n_in + j]
                for p in range(width):
                    c[p] += w * ku[t, j, p]
            if o < rank:
                if erf:
                    for p in range(width):
                        ku[t + 1, o, p] = (1.0 - a) * ku[t, o, p] + a * g[t, p] * c[p]
                else:
                    for p in range(width):
                        ku[t + 1, o, p] = (1.0 - a) * ku[t, o, p] + a * c[p]
            elif erf:
                for p in range(width):
                    y[t, o - rank, p] = g[t, p] * c[p]
            else:
                for p in range(width):
                    y[t, o - rank, p] = c[p]


@njit(cache=True, fastmath=_FAST)
def _adjoint(
    s: np.ndarray,
    n_in: int,
    rank: int,
    n_out: int,
    a: float,
    erf: bool,
    km: np.ndarray,
    first: int,
    width: int,
    ku: np.ndarray,
    g: np.ndarray,
    e: np.ndarray,
    grad: np.ndarray,
    work: np.ndarray,
) -> None:
    """Run one block backwards and add its share of A to `grad`, (D, D), lower triangle."""
    n_steps = km.shape[0]
    b = n_in + rank
    lam = work[2 : 2 + rank]
    new = work[2 + rank : 2 + 2 * rank]
    q = work[1]
    sdot = work[0]
    gq = work[2 + 2 * rank]
    for r in range(rank):
        for p in range(width):
            lam[r, p] = 0.0
    for t in range(n_steps - 1, -1, -1):
        for r in range(rank):
            for p in range(width):
                new[r, p] = (1.0 - a) * lam[r, p]
        if erf:
            for p in range(width):
                sdot[p] = 0.0
        for o in range(rank + n_out):
            if o < rank:
                if t == n_steps - 1:
                    continue
                for p in range(width):
                    q[p] = a * lam[o, p]
            else:
                for p in range(width):
                    q[p] = e[t, o - rank, p]
            if erf:
                for p in range(width):
                    gq[p] = g[t, p] * q[p]
            else:
                for p in range(width):
                    gq[p] = q[p]
            for j in range(n_in):
                w = s[b + o, j]
                total = 0.0
                if erf:
                    for p in range(width):
                        k = km[t, j, first + p]
                        total += gq[p] * k
                        sdot[p] += w * k * q[p]
                else:
                    for p in range(width):
                        total += gq[p] * km[t, j, first + p]
                grad[b + o, j] += total
            for j in range(rank):
                w = s[b + o, n_in + j]
                total = 0.0
                if erf:
                    for p in range(width):
                        total += gq[p] * ku[t, j, p]
                        sdot[p] += w * ku[t, j, p] * q[p]
                        new[j, p] += w * gq[p]
                else:
                    for p in range(width):
                        total += gq[p] * ku[t, j, p]
                        new[j, p] += w * gq[p]
                grad[b + o, n_in + j] += total
        if erf:
            for p in range(width):
                gt = g[t, p]
                sdot[p] *= -_HALF_PI * gt * gt * gt  # 2 g'(Delta) (q . c)
            for i in range(n_in):
                for j in range(i + 1):
                    total = 0.0
                    for p in range(width):
                        total += sdot[p] * km[t, i, first + p] * km[t, j, first + p]
                    grad[i, j] += total
            for r in range(rank):
                for j in range(n_in):
                    w = s[n_in + r, j]
                    total = 0.0
                    for p in range(width):
                        k = sdot[p] * km[t, j, first + p]
                        total += k * ku[t, r, p]
                        new[r, p] += w * k
                    grad[n_in + r, j] += total
                for j in range(rank):
                    w = s[n_in + r, n_in + j]
                    total = 0.0
                    for p in range(width):
                        k = sdot[p] * ku[t, j, p]
                        total += k * ku[t, r, p]
                        new[r, p] += w * k
                    if j <= r:
                        grad[n_in + r, n_in + j] += total
        lam, new = new, lam


@njit(cache=True, fastmath=_FAST)
def _few(
    s: np.ndarray,
    n_in: int,
    rank: int,
    n_out: int,
    a: float,
    erf: bool,
    km: np.ndarray,
    targets: np.ndarray,
    weights: np.ndarray,
    noise: np.ndarray,
    offset: np.ndarray,
    smoothing: np.ndarray,
    direct: bool,
    ku: np.ndarray,
    g: np.ndarray,
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
    total = 0.0
    k = np.empty(b)
    lam = np.empty(rank)
    new = np.empty(rank)
    for p in range(n_trials):
        for r in range(rank):
            ku[0, r, 0] = 0.0
        for t in range(n_steps):
            for j in range(n_in):
                k[j] = km[t, j, p]
            for r in range(rank):
                k[n_in + r] = ku[t, r, 0]
            gt = 1.0
            if erf:
                delta = 0.0
                for i in range(b):
                    c = 0.0
                    for j in range(b):
                        c += s[i, j] * k[j]
                    delta += k[i] * c
                gt = 1.0 / math.sqrt(1.0 + _HALF_PI * delta)
                g[t, 0] = gt
            for o in range(rank + n_out):
                c = 0.0
                for j in range(b):
                    c += s[b + o, j] * k[j]
                c *= gt
                if o >= rank:
                    y[t, o - rank, 0] = c
                elif t < n_steps - 1:
                    ku[t + 1, o, 0] = keep * k[n_in + o] + a * c
        total += judge(y, targets, weights, noise, offset, smoothing, direct, p, 1)
        for r in range(rank):
            lam[r] = 0.0
        for t in range(n_steps - 1, -1, -1):
            for j in range(n_in):
                k[j] = km[t, j, p]
            for r in range(rank):
                k[n_in + r] = ku[t, r, 0]
                new[r] = keep * lam[r]
            gt = g[t, 0] if erf else 1.0
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
            if erf:
                dot *= -_HALF_PI * gt * gt * gt  # 2 g'(Delta) (q . c)
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
    s: np.ndarray, n_in: int, rank: int, n_out: int, a: float, erf: bool, km: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return k_u, g and y, (time, variables, trials), of all trials."""
    n_steps, _, n_trials = km.shape
    ku = np.zeros((n_steps, rank, n_trials))
    g = np.ones((n_steps, n_trials))
    y = np.zeros((n_steps, n_out, n_trials))
    work = np.zeros((2, n_trials))
    _forward(s, n_in, rank, n_out, a, erf, km, 0, n_trials, ku, g, y, work)
    return ku, g, y


@njit(cache=True)
def loss_and_derivative_kernel(
    s: np.ndarray,
    n_in: int,
    rank: int,
    n_out: int,
    a: float,
    erf: bool,
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
    width = min(BLOCK, n_trials)
    size = n_steps * width
    ku = buffer[: size * rank].reshape((n_steps, rank, width))
    g = buffer[size * rank : size * (rank + 1)].reshape((n_steps, width))
    y = buffer[size * (rank + 1) : size * (rank + 1 + n_out)].reshape((n_steps, n_out, width))
    rows = 3 + 2 * rank
    used = size * (rank + 1 + n_out)
    work = buffer[used : used + rows * width].reshape((rows, width))
    grad[:] = 0.0
    total = 0.0
    few = n_trials <= FEW
    if few:
        total = _few(
            s,
            n_in,
            rank,
            n_out,
            a,
            erf,
            km,
            targets,
            weights,
            noise,
            offset,
            smoothing,
            direct,
            ku,
            g,
            y,
            grad,
        )
    for first in range(0, 0 if few else n_trials, width):
        here = min(width, n_trials - first)
        _forward(s, n_in, rank, n_out, a, erf, km, first, here, ku, g, y, work)
        if here < width:
            total += judge(
                y[:, :, :here], targets, weights, noise, offset, smoothing, direct, first, here
            )
        else:
            total += judge(y, targets, weights, noise, offset, smoothing, direct, first, here)
        _adjoint(s, n_in, rank, n_out, a, erf, km, first, here, ku, g, y, grad, work)
    for i in range(grad.shape[0]):
        for j in range(i):
            grad[j, i] = grad[i, j]
    return total
