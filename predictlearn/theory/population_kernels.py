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
Arrays are (time, variables, trials), trials innermost, as in `predictlearn.theory.kernels`.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from predictlearn.theory import gain_kernels, kernels, steps
from predictlearn.theory.compiled import forget_stale
from predictlearn.theory.gain_kernels import judge, tabulated_gain
from predictlearn.theory.kernels import BLOCK, loss_and_derivative_kernel
from predictlearn.theory.steps import _congruence

__all__ = [
    "descend_populations",
    "population_buffer_size",
    "population_loss_and_derivative_kernel",
    "population_rollout_kernel",
]

forget_stale(__file__, gain_kernels.__file__, kernels.__file__, steps.__file__)

_FAST = {"contract", "reassoc", "nsz"}
_HALF_PI = math.pi / 2


def population_buffer_size(
    n_populations: int, n_steps: int, n_trials: int, rank: int, n_out: int
) -> int:
    """Return how many numbers of scratch space several populations need."""
    width = min(BLOCK, n_trials)
    return width * (n_steps * (rank + 2 * n_populations + n_out) + 4 + 2 * rank)


@njit(cache=True, fastmath=_FAST, error_model="numpy")
def _forward(
    s: np.ndarray,
    fractions: np.ndarray,
    n_in: int,
    rank: int,
    n_out: int,
    a: float,
    gain: np.ndarray,
    km: np.ndarray,
    first: int,
    width: int,
    ku: np.ndarray,
    g: np.ndarray,
    slope: np.ndarray,
    y: np.ndarray,
    work: np.ndarray,
) -> None:
    """Roll out one block: fill ku (time, rank, .), g (time, populations, .), y (time, n_out, .).

    For a tabulated gain `slope`, of the shape of g, gets 2 dg/dDelta.
    """
    n_steps = km.shape[0]
    b = n_in + rank
    keep = 1.0 - a
    curved = gain.size > 0
    c = work[0, :width]
    drive = work[1, :width]
    # the state lives in rows of its own, so that no loop reads and writes one array at two bins
    state = work[4 : 4 + rank]
    new = work[4 + rank : 4 + 2 * rank]
    state[:, :width] = 0.0
    for t in range(n_steps):
        for r in range(rank):
            ku_r = ku[t, r, :width]
            u = state[r, :width]
            for p in range(width):
                ku_r[p] = u[p]
        for group in range(s.shape[0] if curved else 0):
            b_p = s[group]
            g_t = g[t, group, :width]
            for i in range(b):
                x = km[t, i, first : first + width] if i < n_in else state[i - n_in, :width]
                # half of row i of B k, the diagonal in full: Delta is the sum of k times that
                w = b_p[i, i]
                for p in range(width):
                    c[p] = w * x[p]
                for j in range(i):
                    z = km[t, j, first : first + width] if j < n_in else state[j - n_in, :width]
                    w = 2.0 * b_p[i, j]
                    for p in range(width):
                        c[p] += w * z[p]
                if i == 0:
                    for p in range(width):
                        g_t[p] = x[p] * c[p]
                else:
                    for p in range(width):
                        g_t[p] += x[p] * c[p]
            if gain.size == 1:
                for p in range(width):
                    g_t[p] = 1.0 / math.sqrt(1.0 + _HALF_PI * g_t[p])
            else:
                tabulated_gain(gain, g_t, slope[t, group, :width])
        for o in range(rank + n_out):
            for group in range(s.shape[0]):
                share = fractions[group]
                x = km[t, 0, first : first + width]
                w = share * s[group, b + o, 0]
                for p in range(width):
                    c[p] = w * x[p]
                for j in range(1, b):
                    x = km[t, j, first : first + width] if j < n_in else state[j - n_in, :width]
                    w = share * s[group, b + o, j]
                    for p in range(width):
                        c[p] += w * x[p]
                g_t = g[t, group, :width]
                if group == 0:
                    for p in range(width):
                        drive[p] = g_t[p] * c[p] if curved else c[p]
                else:
                    for p in range(width):
                        drive[p] += g_t[p] * c[p] if curved else c[p]
            if o < rank:
                u = state[o, :width]
                n = new[o, :width]
                for p in range(width):
                    n[p] = keep * u[p] + a * drive[p]
            else:
                y_o = y[t, o - rank, :width]
                for p in range(width):
                    y_o[p] = drive[p]
        state, new = new, state


@njit(cache=True, fastmath=_FAST, error_model="numpy")
def _adjoint(
    s: np.ndarray,
    fractions: np.ndarray,
    n_in: int,
    rank: int,
    n_out: int,
    a: float,
    gain: np.ndarray,
    km: np.ndarray,
    first: int,
    width: int,
    ku: np.ndarray,
    g: np.ndarray,
    slope: np.ndarray,
    e: np.ndarray,
    grad: np.ndarray,
    work: np.ndarray,
) -> None:
    """Run one block backwards and add its share of every A_p to `grad`, lower triangles."""
    n_steps = km.shape[0]
    b = n_in + rank
    keep = 1.0 - a
    dot = work[0, :width]
    gq = work[1, :width]
    q = work[2, :width]
    dx = work[3, :width]
    lam = work[4 : 4 + rank]
    new = work[4 + rank : 4 + 2 * rank]
    lam[:, :width] = 0.0
    for t in range(n_steps - 1, -1, -1):
        for r in range(rank):
            old = lam[r, :width]
            n = new[r, :width]
            for p in range(width):
                n[p] = keep * old[p]
        for group in range(s.shape[0]):
            share = fractions[group]
            g_t = g[t, group, :width]
            for o in range(rank + n_out):
                if o < rank:
                    old = lam[o, :width]
                    for p in range(width):
                        q[p] = a * old[p]
                else:
                    old = e[t, o - rank, :width]
                    for p in range(width):
                        q[p] = old[p]
                for p in range(width):
                    gq[p] = g_t[p] * q[p]
                for j in range(b):
                    x = km[t, j, first : first + width] if j < n_in else ku[t, j - n_in, :width]
                    w = s[group, b + o, j]
                    total = 0.0
                    if o + j == 0:
                        for p in range(width):
                            total += gq[p] * x[p]
                            dot[p] = w * x[p] * q[p]
                    else:
                        for p in range(width):
                            total += gq[p] * x[p]
                            dot[p] += w * x[p] * q[p]
                    grad[group, b + o, j] += total
                    if j >= n_in:
                        n = new[j - n_in, :width]
                        w *= share
                        for p in range(width):
                            n[p] += w * gq[p]
            # 2 s_t = 2 g'(Delta) (q . c)
            if gain.size == 1:
                for p in range(width):
                    dot[p] *= -_HALF_PI * g_t[p] * g_t[p] * g_t[p]
            else:
                h_t = slope[t, group, :width]
                for p in range(width):
                    dot[p] *= h_t[p]
            for i in range(b):
                x = km[t, i, first : first + width] if i < n_in else ku[t, i - n_in, :width]
                for p in range(width):
                    dx[p] = dot[p] * x[p]
                for j in range(i + 1):
                    z = km[t, j, first : first + width] if j < n_in else ku[t, j - n_in, :width]
                    total = 0.0
                    for p in range(width):
                        total += dx[p] * z[p]
                    grad[group, i, j] += total
                for r in range(rank):
                    w = share * s[group, n_in + r, i]
                    n = new[r, :width]
                    for p in range(width):
                        n[p] += w * dx[p]
        lam, new = new, lam


@njit(cache=True)
def _total(s: np.ndarray, fractions: np.ndarray) -> np.ndarray:
    """Return the overlaps of all neurons together, (D, D)."""
    whole = fractions[0] * s[0]
    for group in range(1, s.shape[0]):
        whole += fractions[group] * s[group]
    return whole


@njit(cache=True)
def population_rollout_kernel(
    s: np.ndarray,
    fractions: np.ndarray,
    n_in: int,
    rank: int,
    n_out: int,
    a: float,
    gain: np.ndarray,
    km: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return k_u, g and y of all trials: (time, rank, populations or n_out, trials)."""
    n_steps, _, n_trials = km.shape
    ku = np.zeros((n_steps, rank, n_trials))
    g = np.ones((n_steps, s.shape[0], n_trials))
    y = np.zeros((n_steps, n_out, n_trials))
    slope = np.empty((n_steps, s.shape[0], n_trials if gain.size > 1 else 0))
    work = np.zeros((4 + 2 * rank, n_trials))
    _forward(s, fractions, n_in, rank, n_out, a, gain, km, 0, n_trials, ku, g, slope, y, work)
    return ku, g, y


@njit(cache=True)
def population_loss_and_derivative_kernel(
    s: np.ndarray,
    fractions: np.ndarray,
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
    """Return the loss and fill `grad`, (populations, D, D), with every A_p.

    `s` has that shape too, `fractions` (populations,); `buffer` has at least
    `population_buffer_size` numbers: scratch space, kept between epochs.
    """
    n_steps, _, n_trials = km.shape
    n_groups = s.shape[0]
    if gain.size == 0:
        # a linear network sees only the overlaps of all neurons, and every A_p is theirs
        total = loss_and_derivative_kernel(
            _total(s, fractions),
            n_in,
            rank,
            n_out,
            a,
            gain,
            km,
            targets,
            weights,
            noise,
            offset,
            smoothing,
            direct,
            buffer,
            grad[0],
        )
        for group in range(1, n_groups):
            grad[group] = grad[0]
        return total
    width = min(BLOCK, n_trials)
    size = n_steps * width
    used = size * rank
    ku = buffer[:used].reshape((n_steps, rank, width))
    g = buffer[used : used + size * n_groups].reshape((n_steps, n_groups, width))
    used += size * n_groups
    slope = buffer[used : used + size * n_groups].reshape((n_steps, n_groups, width))
    used += size * n_groups
    y = buffer[used : used + size * n_out].reshape((n_steps, n_out, width))
    used += size * n_out
    rows = 4 + 2 * rank
    work = buffer[used : used + rows * width].reshape((rows, width))
    grad[:] = 0.0
    total = 0.0
    for first in range(0, n_trials, width):
        here = min(width, n_trials - first)
        _forward(
            s, fractions, n_in, rank, n_out, a, gain, km, first, here, ku, g, slope, y, work
        )  # fmt: skip
        total += judge(y, targets, weights, noise, offset, smoothing, direct, first, here)
        _adjoint(
            s, fractions, n_in, rank, n_out, a, gain, km, first, here, ku, g, slope, y, grad, work
        )  # fmt: skip
    for group in range(n_groups):
        for i in range(grad.shape[1]):
            for j in range(i):
                grad[group, j, i] = grad[group, i, j]
    return total
