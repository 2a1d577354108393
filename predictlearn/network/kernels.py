"""Compiled loops of the N-neuron network: forward, loss and adjoint, trial by trial.

The connectivity U V' / N is never built. Activity stays in the span of M and U,
h = M k_m + U k_u, so a step needs the R numbers V' phi(h) / N, summed over all neurons: O(N R).
Neurons are innermost.
The adjoint holds d_i = dL/dh_i and adds, per neuron and times N::

    V_i += q_v phi(h_i),  Z_i += q_z phi(h_i),  M_i += d_i k_m,  U_i += d_i k_u,
    d_i = phi'(h_i) (V_i q_v + Z_i q_z)
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from predictlearn.theory import kernels
from predictlearn.theory.compiled import forget_stale
from predictlearn.theory.kernels import judge

__all__ = ["network_loss_and_gradient", "network_rollout"]

forget_stale(__file__, kernels.__file__)

_FAST = {"contract", "reassoc", "nsz"}
_HALF_ROOT_PI = math.sqrt(math.pi) / 2
_QUARTER_PI = math.pi / 4


@njit(cache=True, fastmath=_FAST)
def _current(
    theta: np.ndarray,
    n_in: int,
    rank: int,
    km: np.ndarray,
    t: int,
    p: int,
    ku: np.ndarray,
    h: np.ndarray,
) -> None:
    """Fill h, (N,), with M k_m + U k_u of bin t of trial p."""
    n = theta.shape[1]
    k = km[t, 0, p]
    for i in range(n):
        h[i] = theta[0, i] * k
    for j in range(1, n_in):
        k = km[t, j, p]
        for i in range(n):
            h[i] += theta[j, i] * k
    for r in range(rank):
        k = ku[t, r]
        for i in range(n):
            h[i] += theta[n_in + r, i] * k


@njit(cache=True, fastmath=_FAST)
def _activate(h: np.ndarray, erf: bool, out: np.ndarray) -> None:
    """Fill `out` with phi(h)."""
    if erf:
        for i in range(h.shape[0]):
            out[i] = math.erf(_HALF_ROOT_PI * h[i])
    else:
        for i in range(h.shape[0]):
            out[i] = h[i]


@njit(cache=True, fastmath=_FAST)
def _slope(h: np.ndarray, erf: bool, out: np.ndarray) -> None:
    """Fill `out` with phi'(h)."""
    if erf:
        for i in range(h.shape[0]):
            out[i] = math.exp(-_QUARTER_PI * h[i] * h[i])
    else:
        for i in range(h.shape[0]):
            out[i] = 1.0


@njit(cache=True, fastmath=_FAST)
def _forward(
    theta: np.ndarray,
    n_in: int,
    rank: int,
    n_out: int,
    a: float,
    erf: bool,
    km: np.ndarray,
    p: int,
    h: np.ndarray,
    ku: np.ndarray,
    y: np.ndarray,
    rates: np.ndarray,
) -> None:
    """Roll out trial p: fill ku (time, rank), y (time, n_out, 1) and rates (time, N)."""
    n_steps = km.shape[0]
    n = theta.shape[1]
    b = n_in + rank
    for r in range(rank):
        ku[0, r] = 0.0
    for t in range(n_steps):
        _current(theta, n_in, rank, km, t, p, ku, h)
        rate = rates[t]
        _activate(h, erf, rate)
        for o in range(rank + n_out):
            if o < rank and t == n_steps - 1:
                continue
            total = 0.0
            for i in range(n):
                total += theta[b + o, i] * rate[i]
            total /= n
            if o < rank:
                ku[t + 1, o] = (1.0 - a) * ku[t, o] + a * total
            else:
                y[t, o - rank, 0] = total


@njit(cache=True, fastmath=_FAST)
def _adjoint(
    theta: np.ndarray,
    n_in: int,
    rank: int,
    n_out: int,
    a: float,
    erf: bool,
    km: np.ndarray,
    p: int,
    h: np.ndarray,
    d: np.ndarray,
    pull: np.ndarray,
    ku: np.ndarray,
    e: np.ndarray,
    rates: np.ndarray,
    lam: np.ndarray,
    grad: np.ndarray,
) -> None:
    """Run trial p backwards and add N times its gradient to `grad`, (D, N)."""
    n_steps = km.shape[0]
    n = theta.shape[1]
    b = n_in + rank
    for r in range(rank):
        lam[r] = 0.0
    for t in range(n_steps - 1, -1, -1):
        _current(theta, n_in, rank, km, t, p, ku, h)
        _slope(h, erf, d)
        rate = rates[t]
        for i in range(n):
            pull[i] = 0.0
        for o in range(rank + n_out):
            q = a * lam[o] if o < rank else e[t, o - rank, 0]
            if q == 0.0:
                continue
            for i in range(n):
                pull[i] += theta[b + o, i] * q
                grad[b + o, i] += q * rate[i]
        for i in range(n):
            d[i] *= pull[i]
        for j in range(n_in):
            k = km[t, j, p]
            for i in range(n):
                grad[j, i] += k * d[i]
        for r in range(rank):
            k = ku[t, r]
            total = 0.0
            for i in range(n):
                grad[n_in + r, i] += k * d[i]
                total += theta[n_in + r, i] * d[i]
            lam[r] = (1.0 - a) * lam[r] + total / n


@njit(cache=True)
def network_loss_and_gradient(
    theta: np.ndarray,
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
    rates: np.ndarray,
    grad: np.ndarray,
) -> float:
    """Return the loss and fill `grad`, (D, N), with N times its gradient.

    theta is (D, N); `rates`, (time, N), is scratch space kept between epochs.
    """
    n_steps, _, n_trials = km.shape
    n = theta.shape[1]
    h, d, pull = np.empty(n), np.empty(n), np.empty(n)
    ku = np.empty((n_steps, rank))
    y = np.empty((n_steps, n_out, 1))
    lam = np.empty(rank)
    grad[:] = 0.0
    total = 0.0
    for p in range(n_trials):
        _forward(theta, n_in, rank, n_out, a, erf, km, p, h, ku, y, rates)
        total += judge(y, targets, weights, noise, offset, smoothing, direct, p, 1)
        _adjoint(theta, n_in, rank, n_out, a, erf, km, p, h, d, pull, ku, y, rates, lam, grad)
    return total


@njit(cache=True)
def network_rollout(
    theta: np.ndarray, n_in: int, rank: int, n_out: int, a: float, erf: bool, km: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return k_u, (trials, time, rank), and y, (trials, time, n_out)."""
    n_steps, _, n_trials = km.shape
    n = theta.shape[1]
    h = np.empty(n)
    rates = np.empty((n_steps, n))
    ku = np.empty((n_trials, n_steps, rank))
    outputs = np.empty((n_trials, n_steps, n_out))
    y = np.empty((n_steps, n_out, 1))
    for p in range(n_trials):
        _forward(theta, n_in, rank, n_out, a, erf, km, p, h, ku[p], y, rates)
        outputs[p] = y[:, :, 0]
    return ku, outputs
