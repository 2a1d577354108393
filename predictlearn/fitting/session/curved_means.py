"""Bin means of an erf network in continuous time, by Runge-Kutta steps, many trials at a time.

Trials are innermost, so that every inner loop is a vector loop; each trial's sums are taken in the
order in which it alone would take them.
"""

from __future__ import annotations

import numpy as np

from predictlearn.compiled import compiled

__all__ = ["roll_curved"]

# Trials at once: the state with its derivatives, at four stages, stays in fast memory.
_TOGETHER = 40
_LOOPS = {"nogil": True, "error_model": "numpy"}


@compiled(**_LOOPS)
def _slope(  # type: ignore[no-untyped-def]
    k, dk, x, vm, vu, bb, tau, fit_tau, work, drive, f, df, moved
):
    """Write dk/dt of the erf network and its derivatives (n_base, size, trials).

    `work` (n_base + 3, trials), drive (rank, trials) and moved (n_base, trials) are to write on:
    moved is d f_r / dk of one r, the same for all parameters.
    """
    rank, n_in = vm.shape
    n_base, size, width = n_in + rank, dk.shape[1], dk.shape[2]
    at_vu, at_bb = rank * n_in, rank * n_base
    at_time = at_bb + n_base * (n_base + 1) // 2
    rate = 1.0 / tau
    # rows of work after those of S_bb k: Delta, g and its slope
    at_delta, at_g, at_slope = n_base, n_base + 1, n_base + 2
    for i in range(width):
        work[at_delta, i] = 0.0
    for c in range(n_base):
        for i in range(width):
            work[c, i] = 0.0
        for d in range(n_base):
            by = bb[c, d]
            for i in range(width):
                work[c, i] += by * k[d, i]
        for i in range(width):
            work[at_delta, i] += work[c, i] * k[c, i]
    for i in range(width):
        delta = work[at_delta, i]
        held = delta if delta > 0.0 else 0.0
        g = 1.0 / np.sqrt(1.0 + 0.5 * np.pi * held)
        bent = -0.25 * np.pi * g * g * g
        work[at_g, i] = g
        work[at_slope, i] = bent if delta > 0.0 else 0.0
    for c in range(n_in):
        for i in range(width):
            f[c, i] = (x[c, i] - k[c, i]) * rate
    for r in range(rank):
        for i in range(width):
            drive[r, i] = 0.0
        for c in range(n_base):
            by = vm[r, c] if c < n_in else vu[r, c - n_in]
            for i in range(width):
                drive[r, i] += by * k[c, i]
        for i in range(width):
            f[n_in + r, i] = (work[at_g, i] * drive[r, i] - k[n_in + r, i]) * rate
    if size == 0:
        return
    for c in range(n_in):
        # k_m moves with tau and the latency alone
        for j in range(at_time, size):
            for i in range(width):
                df[c, j, i] = -rate * dk[c, j, i]
    for r in range(rank):
        to = n_in + r
        for c in range(n_base):
            w = vm[r, c] if c < n_in else vu[r, c - n_in]
            own = rate if c == to else 0.0
            for i in range(width):
                bent = work[at_slope, i] * drive[r, i]
                moved[c, i] = rate * (work[at_g, i] * w + 2.0 * bent * work[c, i]) - own
        for j in range(size):
            # up to three bases in one pass
            if rank == 1:
                for i in range(width):
                    df[to, j, i] = moved[n_in, i] * dk[n_in, j, i]
            elif rank == 2:
                for i in range(width):
                    df[to, j, i] = moved[n_in, i] * dk[n_in, j, i] + (
                        moved[n_in + 1, i] * dk[n_in + 1, j, i]
                    )
            else:
                for i in range(width):
                    df[to, j, i] = (
                        moved[n_in, i] * dk[n_in, j, i]
                        + moved[n_in + 1, i] * dk[n_in + 1, j, i]
                        + moved[n_in + 2, i] * dk[n_in + 2, j, i]
                    )
            for c in range(n_in + 3, n_base):
                for i in range(width):
                    df[to, j, i] += moved[c, i] * dk[c, j, i]
        for c in range(n_in):
            for j in range(at_time, size):
                for i in range(width):
                    df[to, j, i] += moved[c, i] * dk[c, j, i]
        j = at_bb
        for c in range(n_base):
            for d in range(c, n_base):
                by = rate if c == d else 2.0 * rate
                for i in range(width):
                    bent = work[at_slope, i] * drive[r, i]
                    df[to, j, i] += by * bent * k[c, i] * k[d, i]
                j += 1
        for c in range(n_base):
            j = r * n_in + c if c < n_in else at_vu + r * rank + c - n_in
            for i in range(width):
                df[to, j, i] += rate * work[at_g, i] * k[c, i]
    if fit_tau:
        for c in range(n_base):
            for i in range(width):
                df[c, at_time, i] -= f[c, i]


@compiled(**_LOOPS)
def _add_step(k, dk, f, df, mean, d_mean, h, dh, n_in, at_time, fit_latency):  # type: ignore[no-untyped-def]
    """Take a step of length h: move k and add its integral, which has the same four stages."""
    n_base, size, width = dk.shape
    at_latency = size - 1
    for c in range(n_base):
        for j in range(at_time if c < n_in else 0, size):
            for i in range(width):
                middle = df[1, c, j, i] + df[2, c, j, i]
                d_mean[c, j, i] += h * dk[c, j, i] + h * h / 6.0 * (df[0, c, j, i] + middle)
                dk[c, j, i] += h / 6.0 * (df[0, c, j, i] + 2 * middle + df[3, c, j, i])
        for i in range(width):
            inside = (f[0, c, i] + f[1, c, i] + f[2, c, i]) / 6.0
            total = (f[0, c, i] + 2 * f[1, c, i] + 2 * f[2, c, i] + f[3, c, i]) / 6.0
            mean[c, i] += h * k[c, i] + h * h * inside
            if fit_latency and size:
                d_mean[c, at_latency, i] += dh * (k[c, i] + 2 * h * inside)
                dk[c, at_latency, i] += dh * total
            k[c, i] += h * total


@compiled(**_LOOPS)
def roll_curved(  # type: ignore[no-untyped-def]
    x, vm, vu, bb, clock, per_bin, many, whole, part, split, fit_tau, fit_latency, k_out, dk_out
):
    """Roll out an erf network; the derivatives are those of the steps taken, to the last bit.

    Arguments are those of `roll_means`, with the latency in whole steps and the part beyond them.
    """
    dt, tau = clock
    n_base, size = dk_out.shape[:2]
    n_trials, n_bins = k_out.shape[1:]
    n_in = x.shape[2]
    at_time = len(vm) * n_base + n_base * (n_base + 1) // 2
    at_latency = size - 1
    pieces = 2 if split else 1
    step = dt / per_bin
    lengths = np.array([part * step, (1.0 - part) * step]) if split else np.array([step])
    turns = np.array([1.0, -1.0])
    first_step = -whole - (1 if split else 0)
    reach = np.array([0.0, 0.5, 0.5, 1.0])
    for first in range(0, n_trials, _TOGETHER):
        width = min(_TOGETHER, n_trials - first)
        now = np.zeros((n_in, width))
        k, dk = np.zeros((n_base, width)), np.zeros((n_base, size, width))
        f, df = np.zeros((4, n_base, width)), np.zeros((4, n_base, size, width))
        there, d_there = np.zeros((n_base, width)), np.zeros((n_base, size, width))
        mean, d_mean = np.zeros((n_base, width)), np.zeros((n_base, size, width))
        work, drive = np.zeros((n_base + 3, width)), np.zeros((len(vm), width))
        jacobian = np.zeros((n_base, width))
        for t in range(n_bins):
            mean[:, :] = 0.0
            d_mean[:, :, :] = 0.0
            for part_of_bin in range(per_bin * pieces):
                s = part_of_bin % pieces
                at = t * per_bin + part_of_bin // pieces + s + first_step
                for c in range(n_in):
                    for i in range(width):
                        now[c, i] = 0.0 if at < 0 else x[first + i, at, c]
                h = lengths[s] / many
                dh = turns[s] / many if fit_latency else 0.0
                for _ in range(many):
                    for stage in range(4):
                        ahead = h * reach[stage]
                        before = max(stage - 1, 0)
                        for c in range(n_base):
                            for i in range(width):
                                there[c, i] = k[c, i] + ahead * f[before, c, i]
                            for j in range(at_time if c < n_in else 0, size):
                                for i in range(width):
                                    d_there[c, j, i] = dk[c, j, i] + ahead * df[before, c, j, i]
                            if fit_latency and size:
                                moved = dh * reach[stage]
                                for i in range(width):
                                    d_there[c, at_latency, i] += moved * f[before, c, i]
                        _slope(
                            there, d_there, now, vm, vu, bb, tau, fit_tau, work, drive,
                            f[stage], df[stage], jacobian,
                        )  # fmt: skip
                    _add_step(k, dk, f, df, mean, d_mean, h, dh, n_in, at_time, fit_latency)
            for c in range(n_base):
                for i in range(width):
                    k_out[c, first + i, t] = mean[c, i] / dt
                for j in range(size):
                    for i in range(width):
                        dk_out[c, j, first + i, t] = d_mean[c, j, i] / dt
