"""Compiled loops of the N-neuron network: forward, loss and adjoint, trial by trial.

The connectivity U V' / N is never built. Activity stays in the span of M and U,
h = M k_m + U k_u, so a step needs the R numbers V' phi(h) / N, summed over all neurons: O(N R).
Neurons are innermost, and several rows are taken in one pass over them.
The adjoint holds d_i = dL/dh_i and adds, per neuron and times N::

    V_i += q_v phi(h_i),  Z_i += q_z phi(h_i),  M_i += d_i k_m,  U_i += d_i k_u,
    d_i = phi'(h_i) (V_i q_v + Z_i q_z)
"""

from __future__ import annotations

import numpy as np

from predictlearn.compiled import FAST, compiled
from predictlearn.theory.kernels.arguments import Shown
from predictlearn.theory.kernels.gain import judge
from predictlearn.theory.kernels.phi import LINEAR, activate

__all__ = ["network_loss_and_gradient", "network_rollout"]


@compiled(fastmath=FAST)
def _combine(rows: np.ndarray, weights: np.ndarray, out: np.ndarray) -> None:
    """Fill `out`, (N,), with the sum of two or more rows, (rows, N), by weight."""
    n_rows, n = rows.shape
    a, b = weights[0], weights[1]
    for i in range(n):
        out[i] = a * rows[0, i] + b * rows[1, i]
    for j in range(2, n_rows):
        a = weights[j]
        for i in range(n):
            out[i] += a * rows[j, i]


@compiled(fastmath=FAST)
def _pull(rows: np.ndarray, weights: np.ndarray, kind: int, d: np.ndarray) -> None:
    """Multiply `d`, (N,), which holds phi', by the sum of two or more rows by weight."""
    n_rows, n = rows.shape
    if kind == LINEAR:
        _combine(rows, weights, d)
    elif n_rows == 2:
        a, b = weights[0], weights[1]
        for i in range(n):
            d[i] *= a * rows[0, i] + b * rows[1, i]
    else:
        total = np.empty(n)
        _combine(rows, weights, total)
        for i in range(n):
            d[i] *= total[i]


@compiled(fastmath=FAST)
def _project(rows: np.ndarray, x: np.ndarray, out: np.ndarray) -> None:
    """Fill `out`, (rows,), with the mean over neurons of every row times x."""
    n_rows, n = rows.shape
    for j in range(0, n_rows - 1, 2):
        first, second = 0.0, 0.0
        for i in range(n):
            first += rows[j, i] * x[i]
            second += rows[j + 1, i] * x[i]
        out[j], out[j + 1] = first / n, second / n
    if n_rows % 2:
        total = 0.0
        for i in range(n):
            total += rows[n_rows - 1, i] * x[i]
        out[n_rows - 1] = total / n


@compiled(fastmath=FAST)
def _accumulate(rows: np.ndarray, weights: np.ndarray, x: np.ndarray) -> None:
    """Add to every row of (rows, N) the bins of x, (bins, N), by weight, (bins, rows).

    Four bins are taken in one pass, so that the rows are read and written a quarter as often.
    """
    n_rows, n = rows.shape
    n_bins = x.shape[0]
    done = n_bins - n_bins % 4
    for t in range(0, done, 4):
        for j in range(n_rows):
            a, b = weights[t, j], weights[t + 1, j]
            c, d = weights[t + 2, j], weights[t + 3, j]
            for i in range(n):
                rows[j, i] += (a * x[t, i] + b * x[t + 1, i]) + (c * x[t + 2, i] + d * x[t + 3, i])
    for t in range(done, n_bins):
        for j in range(n_rows):
            a = weights[t, j]
            for i in range(n):
                rows[j, i] += a * x[t, i]


@compiled(fastmath=FAST)
def _forward(
    theta: np.ndarray,
    n_in: int,
    rank: int,
    a: float,
    kind: int,
    table: np.ndarray,
    km: np.ndarray,
    p: int,
    h: np.ndarray,
    k: np.ndarray,
    y: np.ndarray,
    rates: np.ndarray,
    slopes: np.ndarray,
) -> None:
    """Roll out trial p: fill k (time, n_in + rank), y (time, n_out, 1), rates and slopes.

    rates and slopes have a row a bin, (time, N), or one row for all.
    """
    n_steps = km.shape[0]
    into, out_of = theta[: n_in + rank], theta[n_in + rank :]
    means = np.empty(out_of.shape[0])
    k[0, n_in:] = 0.0
    for t in range(n_steps):
        row = min(t, rates.shape[0] - 1)
        for j in range(n_in):
            k[t, j] = km[t, j, p]
        _combine(into, k[t], h)
        activate(h, kind, table, rates[row], slopes[row])
        _project(out_of, rates[row], means)
        for o in range(y.shape[1]):
            y[t, o, 0] = means[rank + o]
        if t < n_steps - 1:
            for r in range(rank):
                k[t + 1, n_in + r] = (1.0 - a) * k[t, n_in + r] + a * means[r]


@compiled(fastmath=FAST)
def _adjoint(
    theta: np.ndarray,
    n_in: int,
    rank: int,
    a: float,
    kind: int,
    k: np.ndarray,
    e: np.ndarray,
    rates: np.ndarray,
    slopes: np.ndarray,
    grad: np.ndarray,
) -> None:
    """Run one trial backwards and add N times its gradient to `grad`, (D, N).

    `slopes` comes back as d = dL/dh, (time, N).
    """
    b = n_in + rank
    out_of, u, grad_into, grad_out_of = theta[b:], theta[n_in:b], grad[:b], grad[b:]
    n_steps, n_outputs = rates.shape[0], out_of.shape[0]
    q = np.empty((n_steps, n_outputs))
    lam, change = np.zeros(rank), np.empty(rank)
    end = n_steps
    while end > 0 and not np.any(e[end - 1]):  # nothing after this bin counts for the loss
        end -= 1
    first = end  # bins from here on are in the gradient
    for t in range(end - 1, -1, -1):
        for o in range(n_outputs):
            q[t, o] = a * lam[o] if o < rank else e[t, o - rank, 0]
        _pull(out_of, q[t], kind, slopes[t])
        _project(u, slopes[t], change)
        for r in range(rank):
            lam[r] = (1.0 - a) * lam[r] + change[r]
        if first - t == 4 or t == 0:
            _accumulate(grad_out_of, q[t:first], rates[t:first])
            _accumulate(grad_into, k[t:first], slopes[t:first])
            first = t


@compiled(nogil=True)
def network_loss_and_gradient(
    theta: np.ndarray,
    sizes: tuple[int, int, int],
    phi: tuple[int, np.ndarray],
    shown: Shown,
    scratch: np.ndarray,
    grad: np.ndarray,
) -> float:
    """Return the loss and fill `grad`, (D, N), with N times its gradient.

    theta is (D, N); phi is that of `network_phi`; `scratch`, (2, time, N), is
    room for rates and slopes, kept between epochs.
    """
    n_in, rank, n_out = sizes
    kind, table = phi
    a, _, km, judging = shown
    n_steps, _, n_trials = km.shape
    n = theta.shape[1]
    h = np.empty(n)
    k = np.empty((n_steps, n_in + rank))
    y = np.empty((n_steps, n_out, 1))
    rates, slopes = scratch[0], scratch[1]
    grad[:] = 0.0
    total = 0.0
    for p in range(n_trials):
        _forward(theta, n_in, rank, a, kind, table, km, p, h, k, y, rates, slopes)
        total += judge(y, judging, p, 1)
        _adjoint(theta, n_in, rank, a, kind, k, y, rates, slopes, grad)
    return total


@compiled(nogil=True)
def network_rollout(
    theta: np.ndarray,
    n_in: int,
    rank: int,
    n_out: int,
    a: float,
    kind: int,
    table: np.ndarray,
    km: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Return k_u, (trials, time, rank), and y, (trials, time, n_out)."""
    n_steps, _, n_trials = km.shape
    n = theta.shape[1]
    h, row, slopes = np.empty(n), np.empty((1, n)), np.empty((1, n))
    k = np.empty((n_steps, n_in + rank))
    ku = np.empty((n_trials, n_steps, rank))
    outputs = np.empty((n_trials, n_steps, n_out))
    y = np.empty((n_steps, n_out, 1))
    for p in range(n_trials):
        _forward(theta, n_in, rank, a, kind, table, km, p, h, k, y, row, slopes)
        ku[p] = k[:, n_in:]
        outputs[p] = y[:, :, 0]
    return ku, outputs
