"""The compiled search of linear dynamics on moments of activity and inputs at all lags."""

from __future__ import annotations

import numpy as np
from numba import njit

from predictlearn.fitting import dynamics
from predictlearn.fitting.dynamics import roll_trials
from predictlearn.theory.compiled import forget_stale

__all__ = ["climb"]

forget_stale(__file__, dynamics.__file__)

# Keeps regressors that are nearly collinear apart, relative to their power.
_RIDGE = 1e-10
# As in `inner`: with less left of a neuron's squares, sums of squares have lost too many digits.
_CANCELS = 1e-3


@njit(cache=True, nogil=True)
def _moments(theta, sizes, times, fitted, pulse, gram, target):  # type: ignore[no-untyped-def]
    """Return moments of k and its derivatives; whether activity stays finite; (c, j) by column."""
    n_in, rank, lead = sizes
    dt, tau, latency = times
    at_vu, at_time = rank * n_in, rank * (n_in + rank)
    q, n_base, n_bins = len(theta), n_in + rank, pulse.shape[1]
    vm = theta[:at_vu].copy().reshape(rank, n_in)
    vu = theta[at_vu:at_time].copy().reshape(rank, rank)
    if fitted[0]:
        tau = np.exp(theta[at_time])
    if fitted[1]:
        latency = theta[q - 1]
    whole = int(np.floor(latency / dt + 1e-12))
    part = max(latency / dt - whole, 0.0)
    x, slope = np.zeros_like(pulse), np.zeros_like(pulse)
    for c in range(n_in):
        if whole < n_bins:
            x[c, whole, c], slope[c, whole, c] = 1 - part, -1 / dt
        if whole + 1 < n_bins:
            x[c, whole + 1, c], slope[c, whole + 1, c] = part, 1 / dt
    step = np.eye(rank) + dt / tau * (vu - np.eye(rank))
    fine = np.isfinite(theta).all()
    if fine:
        fine = n_bins * np.log(max(np.abs(np.linalg.eigvals(step + 0j)).max(), 1e-300)) < 5.0
    k = np.zeros((n_base, n_in, n_bins))
    dk = np.zeros((n_base, q, n_in, n_bins))
    columns = np.empty((n_base * q, 2), np.int64)
    n = 0
    for c in range(n_base):
        for j in range(0 if c >= n_in else at_time, q):
            columns[n, 0], columns[n, 1] = c, j
            n += 1
    z = np.zeros((lead + n_base + n, lead + n_in * n_bins))
    if fine:
        roll_trials(
            x, slope, vm, vu, np.zeros((1, 1)), dt / tau, False, fitted[0], fitted[1], k, dk
        )
        z[:lead, :lead] = np.eye(lead)
        z[lead : lead + n_base, lead:] = k.reshape(n_base, -1)
        for a in range(n):
            z[lead + n_base + a, lead:] = dk[columns[a, 0], columns[a, 1]].ravel()
        fine = np.abs(z).max() < 1e8
    return z @ gram @ z.T, z @ target, columns[:n], fine


@njit(cache=True, nogil=True)
def _normal(theta, sizes, times, fitted, pulse, gram, target, raw, count, floor):  # type: ignore[no-untyped-def]
    """Return f, its downhill slope and curvature in theta, and 0 where all is well.

    1 where the activity runs away, 2 where sums of squares cancel.
    """
    p, q = sizes[2] + sizes[0] + sizes[1], len(theta)
    slope, curvature = np.zeros(q), np.zeros((q, q))
    both, with_y, columns, fine = _moments(theta, sizes, times, fitted, pulse, gram, target)
    if not fine:
        return np.inf, slope, curvature, 1
    scale = 1 / np.sqrt(np.maximum(np.diag(both)[:p], 1e-300))
    normal = both[:p, :p] * np.outer(scale, scale) + _RIDGE * np.eye(p)
    right = np.ascontiguousarray(both[:p, p:]) * scale.reshape(-1, 1)
    wanted = np.ascontiguousarray(with_y[:p]) * scale.reshape(-1, 1)
    solved = np.linalg.solve(normal, np.concatenate((wanted, right), axis=1))
    n = with_y.shape[1]
    phi, follow = np.ascontiguousarray(solved[:, :n]), np.ascontiguousarray(solved[:, n:])
    left = raw - (phi * wanted).sum(axis=0)
    if (left < _CANCELS * raw).any():
        return np.inf, slope, curvature, 2
    left += floor
    weights = count / left
    loadings = np.ascontiguousarray((phi * scale.reshape(-1, 1))[sizes[2] :])
    second = (loadings * weights) @ loadings.T
    apart = both[p:, p:] - right.T @ follow
    off = (with_y[p:] - right.T @ phi) * weights
    for a in range(len(columns)):
        c, j = columns[a]
        slope[j] += (loadings[c] * off[a]).sum()
        for b in range(len(columns)):
            curvature[j, columns[b, 1]] += second[c, columns[b, 0]] * apart[a, b]
    return 0.5 * count * np.log(left / count).sum(), slope, curvature, 0


@njit(cache=True, nogil=True)
def _gauge(theta, n_in, rank):  # type: ignore[no-untyped-def]
    """Return the projector, about, on directions along which only the gauge changes."""
    out = np.zeros((len(theta), len(theta)))
    vm = theta[: rank * n_in].copy().reshape(rank, n_in)
    vu = theta[rank * n_in : rank * (n_in + rank)].copy().reshape(rank, rank)
    for r in range(rank):
        for c in range(rank):
            one = np.zeros((rank, rank))
            one[r, c] = 1.0
            tangent = np.zeros(len(theta))
            tangent[: rank * n_in] = -(one @ vm).ravel()
            tangent[rank * n_in : rank * (n_in + rank)] = (vu @ one - one @ vu).ravel()
            out += np.outer(tangent, tangent) / max((tangent**2).sum(), 1e-300)
    return out


@njit(cache=True, nogil=True)
def climb(  # type: ignore[no-untyped-def]
    theta, sizes, times, fitted, pulse, gram, target, raw, count, floor, low, high, max_iter, tol
):
    """Run Levenberg-Marquardt from one start, every neuron solved for in each step.

    Parameters
    ----------
    theta : ndarray, shape (q,)
        Start.
    sizes : tuple of int
        n_in, rank, n_lead.
    times : tuple of float
        dt, and tau and latency where they are not fitted.
    fitted : tuple of bool
        Whether tau and latency are.
    pulse : ndarray, shape (n_in, T, n_in)
        Of the shape of the inputs of `pulses`.
    gram, target : ndarray
        Of `LagMoments`.
    raw : ndarray, shape (neurons,)
        Sums of squares.
    count : float
        Bins.
    floor : ndarray, shape (neurons,)
        Added to what is left of the squares.
    low, high : ndarray, shape (q,)
        Bounds of theta.
    max_iter, tol : int, float
        As in `solve`.

    Returns
    -------
    tuple
        theta, f, whether it converged, and 0, or what `_normal` says of the start, or 2 where sums
        of squares cancel on the way.
    """
    problem = (sizes, times, fitted, pulse, gram, target, raw, count, floor)
    value, slope, curvature, fault = _normal(theta, *problem)
    damping, q = 1e-3, len(theta)
    fixed = _gauge(theta, sizes[0], sizes[1])
    fresh = True
    for _ in range(max_iter):
        if fault:
            return theta, value, False, fault
        h, g = curvature.copy(), slope.copy()
        size = max(np.trace(h), 1e-300)
        h += size / q * fixed
        for j in range(q):
            h[j, j] = h[j, j] * (1 + damping) + 1e-12 * size
            below = theta[j] <= low[j] + 1e-9 and g[j] < 0
            above = theta[j] >= high[j] - 1e-9 and g[j] > 0
            if below or above:
                h[j, :] = 0.0
                h[:, j] = 0.0
                h[j, j], g[j] = 1.0, 0.0
        step = np.linalg.solve(h, g)
        if fresh:
            decrement = g @ step
        there = np.minimum(np.maximum(theta + step, low), high)
        now, now_slope, now_curvature, wrong = _normal(there, *problem)
        if wrong == 2:
            return theta, value, False, wrong
        fresh = wrong == 0 and now <= value
        if fresh:
            theta, value, slope, curvature = there, now, now_slope, now_curvature
            fixed = _gauge(theta, sizes[0], sizes[1])
            damping = max(damping / 5, 1e-9)
            if decrement < tol and damping < 1e-1:
                return theta, value, True, 0
        else:
            damping *= 6
            if damping > 1e8:
                return theta, value, decrement < 10 * tol, 0
    return theta, value, False, fault
