"""The mean over a bin of the reduced activity in continuous time, and its derivatives.

    k' = F k + G x,     F = 1/tau [[-1, 0], [S_vm, S_vu - 1]],   G = 1/tau [1; 0]

The inputs are constant on steps, a whole number of them in a bin, and a latency moves their edges.
On a stretch of length l with constant input

    k(l) = A k + P G x,    integral of k = P k + Q G x,
    A = exp(F l),  P = integral of A from 0 to l,  Q = integral of P from 0 to l,

so that a linear network is exact for any width of the bin. For erf, where the gain g(Delta) moves
with the activity, every stretch is taken by the classical Runge-Kutta method of order four, which
also carries the integral of k and the derivatives.
"""

from __future__ import annotations

import numpy as np

from predictlearn.compiled import compiled
from predictlearn.fitting.session.curved_means import roll_curved

__all__ = ["in_steps", "roll_linear", "roll_means", "stretch"]

# A matrix is halved until its norm is below this, where the series to this many terms is exact.
_SMALL, _TERMS = 0.25, 11


@compiled(nogil=True)
def _multiply(a, b, out):  # type: ignore[no-untyped-def]
    """Write a b."""
    for i in range(a.shape[0]):
        for j in range(b.shape[1]):
            total = 0.0
            for k in range(b.shape[0]):
                total += a[i, k] * b[k, j]
            out[i, j] = total


@compiled(nogil=True)
def _copy(a, out):  # type: ignore[no-untyped-def]
    """Write a."""
    for i in range(a.shape[0]):
        for j in range(a.shape[1]):
            out[i, j] = a[i, j]


@compiled(nogil=True)
def stretch(f, length, n_in, rank, tau):  # type: ignore[no-untyped-def]
    """Return (n_drive + 1, 3, n, n): A, P, Q of one stretch, then their slopes in S_vm, S_vu."""
    n, n_drive = len(f), rank * (n_in + rank)
    norm = 0.0
    for i in range(n):
        total = 0.0
        for j in range(n):
            total += abs(f[i, j])
        norm = max(norm, total * length)
    halvings = 0
    while norm > _SMALL and halvings < 60:
        norm *= 0.5
        halvings += 1
    h = length / 2.0**halvings
    maps = np.zeros((n_drive + 1, 3, n, n))
    x, term, after = np.zeros((n, n)), np.zeros((n, n)), np.zeros((n, n))
    for a in range(n):
        term[a, a] = 0.5
        for b in range(n):
            x[a, b] = f[a, b] * h
    d_term, product, other = np.zeros((n_drive, n, n)), np.zeros((n, n)), np.zeros((n, n))
    for i in range(n):
        maps[0, 2, i, i] = 0.5
    rows, columns = np.zeros(n_drive, np.int64), np.zeros(n_drive, np.int64)
    j = 0
    for r in range(rank):
        for c in range(n_in):
            rows[j], columns[j] = n_in + r, c
            j += 1
    for r in range(rank):
        for c in range(rank):
            rows[j], columns[j] = n_in + r, n_in + c
            j += 1
    slope = h / tau
    # Q = h^2 sum_k X^k / (k + 2)!, then P = h (1 + X Q / h^2) and A = 1 + X P / h
    for k in range(1, _TERMS + 1):
        for j in range(n_drive):
            _multiply(d_term[j], x, product)
            for i in range(n):
                product[i, columns[j]] += term[i, rows[j]] * slope
            for a in range(n):
                for b in range(n):
                    d_term[j, a, b] = product[a, b] / (k + 2)
                    maps[j + 1, 2, a, b] += d_term[j, a, b]
        _multiply(term, x, after)
        for a in range(n):
            for b in range(n):
                term[a, b] = after[a, b] / (k + 2)
                maps[0, 2, a, b] += term[a, b]
    for level in (1, 0):
        _multiply(x, maps[0, level + 1], maps[0, level])
        for j in range(n_drive):
            _multiply(x, maps[j + 1, level + 1], maps[j + 1, level])
            for b in range(n):
                maps[j + 1, level, rows[j], b] += slope * maps[0, level + 1, columns[j], b]
        for a in range(n):
            maps[0, level, a, a] += 1.0
    for j in range(n_drive + 1):
        for a in range(n):
            for b in range(n):
                maps[j, 1, a, b] *= h
                maps[j, 2, a, b] *= h * h
    for _ in range(halvings):
        # twice as long: A A, P + A P, Q + h P + A Q; derivatives first, which need the old ones
        for j in range(1, n_drive + 1):
            for level in (2, 1, 0):
                _multiply(maps[j, 0], maps[0, level], product)
                _multiply(maps[0, 0], maps[j, level], other)
                for a in range(n):
                    for b in range(n):
                        old = 0.0 if level == 0 else maps[j, level, a, b]
                        extra = h * maps[j, 1, a, b] if level == 2 else 0.0
                        after[a, b] = old + extra + product[a, b] + other[a, b]
                _copy(after, maps[j, level])
        for level in (2, 1, 0):
            _multiply(maps[0, 0], maps[0, level], product)
            for a in range(n):
                for b in range(n):
                    old = 0.0 if level == 0 else maps[0, level, a, b]
                    extra = h * maps[0, 1, a, b] if level == 2 else 0.0
                    after[a, b] = old + extra + product[a, b]
            _copy(after, maps[0, level])
        h *= 2.0
    return maps


@compiled(nogil=True)
def _bin_map(vm, vu, tau, dt, per_bin, part, split, fit_tau, fit_latency, size):  # type: ignore[no-untyped-def]
    """Return how state and mean of a bin follow from the state before it and its inputs.

    Parameters
    ----------
    vm, vu : ndarray, shapes (rank, n_in), (rank, rank)
        Overlaps.
    tau, dt : float
        Time constant and bin, seconds.
    per_bin : int
        Steps of the inputs in a bin.
    part : float
        The latency beyond whole steps, as a share of a step.
    split : bool
        Whether that cuts every step in two.
    fit_tau, fit_latency : bool
        Whether log tau and the latency are parameters.
    size : int
        Number of parameters whose derivatives are wanted (0 or all).

    Returns
    -------
    tuple of ndarray
        Of the state, shape (size + 1, 2, n_base, n_base): first the map itself, then its
        derivatives; index 0 leads to the state after the bin, 1 to the mean over it. The same of
        the inputs, (size + 1, 2, slots, n_base, n_in), the earliest slot first.
    """
    rank, n_in = vm.shape
    n = n_in + rank
    n_drive = rank * n
    f = np.zeros((n, n))
    for c in range(n_in):
        f[c, c] = -1.0 / tau
    for r in range(rank):
        for c in range(n_in):
            f[n_in + r, c] = vm[r, c] / tau
        for c in range(rank):
            f[n_in + r, n_in + c] = vu[r, c] / tau
        f[n_in + r, n_in + r] -= 1.0 / tau
    step = dt / per_bin
    pieces = 2 if split else 1
    lengths = np.array([part * step, (1.0 - part) * step]) if split else np.array([step])
    turns = np.array([1.0, -1.0])
    maps = np.zeros((pieces, size + 1, 3, n, n))
    work = np.zeros((n, n))
    for s in range(pieces):
        length = lengths[s]
        found = stretch(f, length, n_in, rank, tau)
        for j in range(min(size, n_drive) + 1):
            for level in range(3):
                _copy(found[j, level], maps[s, j, level])
        if size == 0:
            continue
        j = n_drive + 1
        if fit_tau:
            _multiply(f, maps[s, 0, 0], work)
            for a in range(n):
                for b in range(n):
                    maps[s, j, 0, a, b] = -length * work[a, b]
                    maps[s, j, 1, a, b] = maps[s, 0, 1, a, b] - length * maps[s, 0, 0, a, b]
                    maps[s, j, 2, a, b] = 2 * maps[s, 0, 2, a, b] - length * maps[s, 0, 1, a, b]
            j += 1
        if fit_latency and split:
            _multiply(f, maps[s, 0, 0], work)
            for a in range(n):
                for b in range(n):
                    maps[s, j, 0, a, b] = turns[s] * work[a, b]
                    maps[s, j, 1, a, b] = turns[s] * maps[s, 0, 0, a, b]
                    maps[s, j, 2, a, b] = turns[s] * maps[s, 0, 1, a, b]
    slots = per_bin + pieces - 1
    state = np.zeros((size + 1, 2, n, n))
    drive = np.zeros((size + 1, 2, slots, n, n_in))
    for a in range(n):
        state[0, 0, a, a] = 1.0
    new_state = np.zeros((size + 1, n, n))
    new_drive = np.zeros((size + 1, slots, n, n_in))
    for i in range(per_bin):
        for s in range(pieces):
            slot = i + s
            own = maps[s]
            for j in range(size + 1):
                # the integral first: it needs the state before the stretch
                for a in range(n):
                    for b in range(n):
                        grown, summed = 0.0, 0.0
                        for c in range(n):
                            grown += own[0, 0, a, c] * state[j, 0, c, b]
                            summed += own[0, 1, a, c] * state[j, 0, c, b]
                            if j:
                                grown += own[j, 0, a, c] * state[0, 0, c, b]
                                summed += own[j, 1, a, c] * state[0, 0, c, b]
                        new_state[j, a, b] = grown
                        state[j, 1, a, b] += summed
                    for at in range(slot + 1):
                        for b in range(n_in):
                            grown, summed = 0.0, 0.0
                            for c in range(n):
                                grown += own[0, 0, a, c] * drive[j, 0, at, c, b]
                                summed += own[0, 1, a, c] * drive[j, 0, at, c, b]
                                if j:
                                    grown += own[j, 0, a, c] * drive[0, 0, at, c, b]
                                    summed += own[j, 1, a, c] * drive[0, 0, at, c, b]
                            if at == slot:
                                grown += own[j, 1, a, b] / tau
                                summed += own[j, 2, a, b] / tau
                                if fit_tau and j == n_drive + 1:
                                    grown -= own[0, 1, a, b] / tau
                                    summed -= own[0, 2, a, b] / tau
                            new_drive[j, at, a, b] = grown
                            drive[j, 1, at, a, b] += summed
            for j in range(size + 1):
                _copy(new_state[j], state[j, 0])
                for at in range(slots):
                    _copy(new_drive[j, at], drive[j, 0, at])
    for j in range(size + 1):
        for a in range(n):
            for b in range(n):
                state[j, 1, a, b] /= dt
            for at in range(slots):
                for b in range(n_in):
                    drive[j, 1, at, a, b] /= dt
    return state, drive


@compiled(nogil=True)
def in_steps(latency, per_bin, dt, fit_latency):  # type: ignore[no-untyped-def]
    """Return a latency in whole steps, the part of one beyond, and if that cuts steps in two."""
    shift = latency * per_bin / dt
    whole = int(np.floor(shift + 1e-9))
    part = max(shift - whole, 0.0)
    if part < 1e-9:
        part = 0.0
    return whole, part, fit_latency or part > 0.0


@compiled(nogil=True)
def roll_linear(  # type: ignore[no-untyped-def]
    x, vm, vu, clock, per_bin, whole, part, split, fit_tau, fit_latency, k_out, dk_out
):
    """Roll out a linear network; arguments as in `roll_curved`."""
    dt, tau = clock
    n_base, size = dk_out.shape[:2]
    n_trials, n_bins = k_out.shape[1:]
    n_in = x.shape[2]
    at_time = len(vm) * n_base
    state, drive = _bin_map(vm, vu, tau, dt, per_bin, part, split, fit_tau, fit_latency, size)
    slots = drive.shape[2]
    first = -whole - (1 if split else 0)
    k, after = np.zeros(n_base), np.zeros(n_base)
    dk, d_after = np.zeros((size, n_base)), np.zeros((size, n_base))
    for p in range(n_trials):
        k[:] = 0.0
        dk[:, :] = 0.0
        begun = False
        for t in range(n_bins):
            after[:] = 0.0
            d_after[:, :] = 0.0
            for c in range(n_base):
                k_out[c, p, t] = 0.0
                for j in range(size):
                    dk_out[c, j, p, t] = 0.0
            for slot in range(slots):
                at = t * per_bin + slot + first
                if at < 0:
                    continue
                for b in range(n_in):
                    value = x[p, at, b]
                    if value == 0.0:
                        continue
                    begun = True
                    for c in range(n_base):
                        after[c] += drive[0, 0, slot, c, b] * value
                        k_out[c, p, t] += drive[0, 1, slot, c, b] * value
                    for j in range(size):
                        for c in range(0 if j >= at_time else n_in, n_base):
                            d_after[j, c] += drive[j + 1, 0, slot, c, b] * value
                            dk_out[c, j, p, t] += drive[j + 1, 1, slot, c, b] * value
            if not begun:
                continue
            for c in range(n_base):
                for b in range(n_base):
                    after[c] += state[0, 0, c, b] * k[b]
                    k_out[c, p, t] += state[0, 1, c, b] * k[b]
            for j in range(size):
                for c in range(0 if j >= at_time else n_in, n_base):
                    grown, summed = d_after[j, c], 0.0
                    for b in range(n_base):
                        grown += state[0, 0, c, b] * dk[j, b] + state[j + 1, 0, c, b] * k[b]
                        summed += state[0, 1, c, b] * dk[j, b] + state[j + 1, 1, c, b] * k[b]
                    d_after[j, c] = grown
                    dk_out[c, j, p, t] += summed
            # by loops: assigning a slice takes seconds to compile, for a message on shapes
            for c in range(n_base):
                k[c] = after[c]
                for j in range(size):
                    dk[j, c] = d_after[j, c]


def roll_means(  # type: ignore[no-untyped-def]
    x, vm, vu, bb, times, per_bin, many, erf, fit_tau, fit_latency, k_out, dk_out
):
    """Roll out the means over bins of k and its derivatives, one trial at a time.

    Parameters
    ----------
    x : ndarray, shape (trials, bins * per_bin, n_in)
        Inputs, before the latency.
    vm, vu, bb : ndarray
        Overlaps; bb for erf only.
    times : tuple of float
        dt, tau and latency, seconds.
    per_bin : int
        Steps of the inputs in a bin.
    many : int
        Runge-Kutta steps in a stretch, for erf.
    erf : bool
        Whether the gain depends on bb.
    fit_tau, fit_latency : bool
        Whether log tau and the latency are parameters.
    k_out : ndarray, shape (n_base, trials, bins)
        Filled with the means of k.
    dk_out : ndarray, shape (n_base, q, trials, bins)
        Filled with their derivatives; q = 0 for none.
    """
    dt, tau, latency = times
    clock, steps = (dt, tau), in_steps(latency, per_bin, dt, fit_latency)
    # one or the other is compiled: a fit needs one of them
    if erf:
        roll_curved(
            x, vm, vu, bb, clock, per_bin, many, *steps, fit_tau, fit_latency, k_out, dk_out
        )
    else:
        roll_linear(x, vm, vu, clock, per_bin, *steps, fit_tau, fit_latency, k_out, dk_out)
