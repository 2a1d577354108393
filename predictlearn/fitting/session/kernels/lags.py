"""The search of linear dynamics on moments of activity and inputs at all lags.

Its pieces are compiled one by one: as one function they would be compiled again within each other,
which takes longer than most fits.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from predictlearn.arrays import Array
from predictlearn.compiled import compiled
from predictlearn.fitting.session.bin_means import in_steps, roll_linear, stretch
from predictlearn.fitting.session.dynamics import roll_trials

__all__ = ["climb"]


# Keeps regressors that are nearly collinear apart, relative to their power.
_RIDGE = 1e-10
# As in `regression`: with less left of a neuron's squares, their sums have lost too many digits.
_CANCELS = 1e-3
# As in `dynamics`: activity that has run away, and growth over a trial (log), a hair less, since
# a search may end at the limit. The largest eigenvalue is that of the power 2 to the last.
_RUNAWAY, _GROWTH, _SQUARINGS = 1e8, 4.99, 16


@compiled(nogil=True)
def _solve(matrix, right):  # type: ignore[no-untyped-def]
    """Solve in place by Cholesky; a pivot lost to rounding is made tiny, its solution huge."""
    n, m = right.shape
    for j in range(n):
        for c in range(j):
            matrix[j, j] -= matrix[j, c] * matrix[j, c]
        matrix[j, j] = np.sqrt(max(matrix[j, j], 1e-300))
        for i in range(j + 1, n):
            for c in range(j):
                matrix[i, j] -= matrix[i, c] * matrix[j, c]
            matrix[i, j] /= matrix[j, j]
    for i in range(n):
        for c in range(i):
            for k in range(m):
                right[i, k] -= matrix[i, c] * right[c, k]
        for k in range(m):
            right[i, k] /= matrix[i, i]
    for i in range(n - 1, -1, -1):
        for c in range(i + 1, n):
            for k in range(m):
                right[i, k] -= matrix[c, i] * right[c, k]
        for k in range(m):
            right[i, k] /= matrix[i, i]


@compiled(nogil=True)
def _grows(vu, a, n_bins, mean):  # type: ignore[no-untyped-def]
    """Tell whether a mode grows more over a trial than `Dynamics` allows.

    The largest eigenvalue is that of a very high power, in any gauge.
    """
    rank = len(vu)
    power, after = np.zeros((rank, rank)), np.zeros((rank, rank))
    for r in range(rank):
        for c in range(rank):
            power[r, c] = a * (vu[r, c] - (1.0 if r == c else 0.0))
    if mean:
        # a plain 0 is a type of its own to numba, for which all of it is compiled once more
        power = stretch(power, 1.0, np.int64(0), rank, 1.0)[0, 0].copy()
    else:
        for r in range(rank):
            power[r, r] += 1.0
    log_size, times = 0.0, 1.0
    for _ in range(_SQUARINGS):
        size = 0.0
        for r in range(rank):
            for c in range(rank):
                size = max(size, abs(power[r, c]))
        if not size > 1e-100:
            return not size >= 0.0
        for r in range(rank):
            for c in range(rank):
                after[r, c] = 0.0
                for d in range(rank):
                    after[r, c] += power[r, d] / size * (power[d, c] / size)
        power, after = after, power
        log_size += np.log(size) / times
        times *= 2.0
    return not n_bins * log_size <= _GROWTH


def _filters(
    theta: Array,
    sizes: tuple[int, int, int],
    clock: tuple[float, float, float, bool],
    fitted: tuple[bool, bool],
    n_bins: int,
) -> Array | None:
    """Return the answers of (constant,) k and dk/dtheta to pulses; None where they run away."""
    n_in, rank, lead = sizes
    dt, tau, latency, mean = clock
    at_vu, at_time = rank * n_in, rank * (n_in + rank)
    q, n_base = len(theta), n_in + rank
    if not (np.abs(theta) < 1e100).all():
        return None
    vm = theta[:at_vu].reshape(rank, n_in)
    vu = theta[at_vu:at_time].reshape(rank, rank)
    if fitted[0]:
        tau = float(np.exp(theta[at_time]))
    if fitted[1]:
        latency = float(theta[q - 1])
    if _grows(vu, dt / tau, n_bins, mean):
        return None
    x, slope = np.zeros((n_in, n_bins, n_in)), np.zeros((n_in, n_bins, n_in))
    k, dk = np.zeros((n_base, n_in, n_bins)), np.zeros((n_base, q, n_in, n_bins))
    own = np.arange(n_in)
    if mean:
        x[own, 0, own] = 1.0
        roll_linear(x, vm, vu, (dt, tau), 1, *in_steps(latency, 1, dt, fitted[1]), *fitted, k, dk)
    else:
        whole = int(np.floor(latency / dt + 1e-12))
        part = max(latency / dt - whole, 0.0)
        if whole < n_bins:
            x[own, whole, own], slope[own, whole, own] = 1 - part, -1 / dt
        if whole + 1 < n_bins:
            x[own, whole + 1, own], slope[own, whole + 1, own] = part, 1 / dt
        roll_trials(x, slope, vm, vu, np.zeros((1, 1)), dt / tau, False, *fitted, k, dk)
    # k itself, then the derivatives, parameter by parameter
    moved = [dk[n_in if j < at_time else 0 :, j] for j in range(q)]
    answers = np.concatenate([k, *moved]).reshape(-1, n_in * n_bins)
    if not np.abs(answers).max() < _RUNAWAY:
        return None
    z = np.zeros((lead + len(answers), lead + n_in * n_bins))
    z[:lead, :lead] = np.eye(lead)
    z[lead:, lead:] = answers
    return z


def _normal(
    theta: Array,
    sizes: tuple[int, int, int],
    clock: tuple[float, float, float, bool],
    fitted: tuple[bool, bool],
    n_bins: int,
    *sums: Any,
) -> tuple[float, Array, Array, int]:
    """Return f, its downhill slope and curvature in theta, and 0 where all is well.

    1 where the activity runs away, 2 where sums of squares cancel.
    """
    z, q = _filters(theta, sizes, clock, fitted, n_bins), len(theta)
    if z is None:
        return np.inf, np.zeros(q), np.zeros((q, q)), 1
    found: tuple[float, Array, Array, int] = _reduced(z, q, sizes, *sums)
    return found


@compiled(nogil=True)
def _reduced(z, q, sizes, gram, target, raw, count, floor):  # type: ignore[no-untyped-def]
    """Return what `_normal` does, from the filters."""
    n_in, rank, lead = sizes
    n_base, at_time = n_in + rank, rank * (n_in + rank)
    p, n = lead + n_base, target.shape[1]
    slope, curvature = np.zeros(q), np.zeros((q, q))
    both, with_y = np.dot(np.dot(z, gram), z.T), np.dot(z, target)
    m = len(z) - p
    normal, solved = np.zeros((p, p)), np.zeros((p, n + m))
    for a in range(p):
        scale = 1 / np.sqrt(max(both[a, a], 1e-300))
        for b in range(p):
            normal[a, b] = both[a, b] * scale / np.sqrt(max(both[b, b], 1e-300))
        normal[a, a] += _RIDGE
        for i in range(n):
            solved[a, i] = with_y[a, i] * scale
        for b in range(m):
            solved[a, n + b] = both[a, p + b] * scale
    _solve(normal, solved)
    left = raw.copy()
    for a in range(p):
        scale = 1 / np.sqrt(max(both[a, a], 1e-300))
        for b in range(n + m):
            solved[a, b] *= scale
        for i in range(n):
            left[i] -= solved[a, i] * with_y[a, i]
    value = 0.0
    second, weights = np.zeros((n_base, n_base)), np.zeros(n)
    for i in range(n):
        if not left[i] >= _CANCELS * raw[i]:
            return np.inf, slope, curvature, 2
        left[i] += floor[i]
        weights[i] = count / left[i]
        value += 0.5 * count * np.log(left[i] / count)
    for c in range(n_base):
        for d in range(n_base):
            for i in range(n):
                second[c, d] += weights[i] * solved[lead + c, i] * solved[lead + d, i]
    # columns of dk in the order of `_filters`: base c and parameter j of each
    column = 0
    bases, parameters = np.zeros(m, np.int64), np.zeros(m, np.int64)
    for j in range(q):
        for c in range(0 if j >= at_time else n_in, n_base):
            bases[column], parameters[column] = c, j
            column += 1
    off, apart = np.zeros(n), np.zeros(m)
    for a in range(m):
        for i in range(n):
            off[i] = with_y[p + a, i]
        for d in range(m):
            apart[d] = both[p + a, p + d]
        for b in range(p):
            for i in range(n):
                off[i] -= both[p + a, b] * solved[b, i]
            for d in range(m):
                apart[d] -= both[p + a, b] * solved[b, n + d]
        c, j = bases[a], parameters[a]
        for i in range(n):
            slope[j] += weights[i] * solved[lead + c, i] * off[i]
        for d in range(m):
            curvature[j, parameters[d]] += second[c, bases[d]] * apart[d]
    return value, slope, curvature, 0


@compiled(nogil=True)
def _add_gauge(h, weight, theta, n_in, rank):  # type: ignore[no-untyped-def]
    """Make the curvature positive along directions in which only the gauge changes."""
    at_vu = rank * n_in
    tangent = np.zeros(len(theta))
    for r in range(rank):
        for c in range(rank):
            tangent[:] = 0.0
            for i in range(n_in):
                tangent[r * n_in + i] = -theta[c * n_in + i]
            for d in range(rank):
                tangent[at_vu + d * rank + c] += theta[at_vu + d * rank + r]
                tangent[at_vu + r * rank + d] -= theta[at_vu + c * rank + d]
            size = 1e-300
            for j in range(len(theta)):
                size += tangent[j] * tangent[j]
            for i in range(len(theta)):
                for j in range(len(theta)):
                    h[i, j] += weight * tangent[i] * tangent[j] / size


def climb(
    theta: Array,
    sizes: tuple[int, int, int],
    clock: tuple[float, float, float, bool],
    fitted: tuple[bool, bool],
    n_bins: int,
    gram: Array,
    target: Array,
    raw: Array,
    count: float,
    floor: Array,
    low: Array,
    high: Array,
    max_iter: int,
    tol: float,
) -> tuple[Array, float, bool, int]:
    """Run Levenberg-Marquardt from one start, every neuron solved for in each step.

    Parameters
    ----------
    theta : ndarray, shape (q,)
        Start.
    sizes : tuple of int
        n_in, rank, n_lead.
    clock : tuple of float, float, float, bool
        dt, tau and latency where they are not fitted, and whether activity is the mean over a bin.
    fitted : tuple of bool
        Whether tau and latency are.
    n_bins : int
        T.
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
    problem = (sizes, clock, fitted, n_bins, gram, target, raw, count, floor)
    value, slope, curvature, fault = _normal(theta, *problem)
    damping, decrement, q = 1e-3, np.inf, len(theta)
    fresh, every = True, np.arange(q)
    for _ in range(max_iter):
        if fault:
            break
        h, step = curvature.copy(), slope.copy()
        size = max(float(np.trace(h)), 1e-300)
        _add_gauge(h, size / q, theta, sizes[0], sizes[1])
        h[every, every] += damping * h[every, every] + 1e-12 * size
        held = ((theta <= low + 1e-9) & (slope < 0)) | ((theta >= high - 1e-9) & (slope > 0))
        h[held], h[:, held], step[held] = 0.0, 0.0, 0.0
        h[held, held] = 1.0
        _solve(h, step.reshape(q, 1))
        expected = float(slope @ step)
        there = np.clip(theta + step, low, high)
        if fresh:
            decrement = expected
        now, now_slope, now_curvature, wrong = _normal(there, *problem)
        if wrong == 2:
            fault = wrong
            break
        fresh = wrong == 0 and now <= value
        if fresh:
            theta, value, slope, curvature = there, now, now_slope, now_curvature
            damping = max(damping / 5, 1e-9)
            if decrement < tol and damping < 1e-1:
                return theta, value, True, 0
        else:
            damping *= 6
            if damping > 1e8:
                return theta, value, decrement < 10 * tol, 0
    return theta, value, False, fault
