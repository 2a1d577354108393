"""Compiled loops of many linear networks in their spans, that learn the same trials side by side.

The equations are those of `span` after an impulse, with the moments of the trials in place of the
trials; networks are innermost, (..., networks), so that every loop is over them. What starts, rates
and feedback differ by is so cheap to tell: slopes of a fit are differences between such networks.
"""

from __future__ import annotations

import numpy as np

from predictlearn.compiled import FAST, compiled
from predictlearn.theory.kernels.span import Moments

__all__ = ["learn_side_by_side"]


@compiled(fastmath=FAST, error_model="numpy")
def _products(u: np.ndarray, v: np.ndarray, w: np.ndarray) -> None:
    """Fill w with u v' of every network."""
    dim, rank, width = u.shape
    for i in range(dim):
        for j in range(dim):
            for c in range(width):
                w[i, j, c] = u[i, 0, c] * v[j, 0, c]
            for k in range(1, rank):
                for c in range(width):
                    w[i, j, c] += u[i, k, c] * v[j, k, c]


@compiled(fastmath=FAST, error_model="numpy")
def _step(keep: float, a: float, w: np.ndarray, turned: bool, x: np.ndarray, y: np.ndarray) -> None:
    """Fill y, (D, networks), with keep x + a w x, or w' where turned."""
    dim, width = x.shape
    for i in range(dim):
        for c in range(width):
            y[i, c] = keep * x[i, c]
        # in pairs: each value of y is then loaded and stored half as often
        for j in range(0, dim - 1, 2):
            if turned:
                for c in range(width):
                    y[i, c] += a * (w[j, i, c] * x[j, c] + w[j + 1, i, c] * x[j + 1, c])
            else:
                for c in range(width):
                    y[i, c] += a * (w[i, j, c] * x[j, c] + w[i, j + 1, c] * x[j + 1, c])
        if dim % 2 == 1:
            last = dim - 1
            for c in range(width):
                y[i, c] += a * (w[last, i, c] if turned else w[i, last, c]) * x[last, c]


@compiled(fastmath=FAST, error_model="numpy")
def _respond(
    m: np.ndarray, w: np.ndarray, z: np.ndarray, a: float, r: np.ndarray, k: np.ndarray
) -> None:
    """Fill r, (bins, n_in, D, networks), and k, (n_out, bins, n_in, networks), after impulses."""
    n_steps, n_in, dim, width = r.shape
    for n in range(n_in):
        for i in range(dim):
            for c in range(width):
                r[0, n, i, c] = a * m[i, n, c]
        for t in range(1, n_steps):
            _step(1.0 - a, a, w, False, r[t - 1, n], r[t, n])
        for t in range(n_steps):
            for o in range(k.shape[0]):
                for c in range(width):
                    k[o, t, n, c] = z[0, o, c] * r[t, n, 0, c]
                for i in range(1, dim):
                    for c in range(width):
                        k[o, t, n, c] += z[i, o, c] * r[t, n, i, c]


@compiled(fastmath=FAST, error_model="numpy")
def _judge(moments: Moments, k: np.ndarray, losses: np.ndarray) -> None:
    """Turn responses into the slopes of the loss by them, and fill losses, (networks,)."""
    n_out, n_steps, n_in, width = k.shape
    size = n_steps * n_in
    for c in range(width):
        losses[c] = 0.0
    for o in range(n_out):
        flat = k[o].reshape((size, width))
        slope = np.dot(moments.gram[min(o, moments.gram.shape[0] - 1)], flat)
        for c in range(width):
            losses[c] += moments.rest[o]
        for s in range(size):
            cross = moments.cross[o, s]
            for c in range(width):
                slope[s, c] = moments.scale[o] * slope[s, c] - cross
                losses[c] += flat[s, c] * (slope[s, c] - cross)
                flat[s, c] = 2.0 * slope[s, c]


@compiled(fastmath=FAST, error_model="numpy")
def _return(
    w: np.ndarray,
    b: np.ndarray,
    a: float,
    transports: bool,
    r: np.ndarray,
    e: np.ndarray,
    p: np.ndarray,
    slopes: tuple,
) -> None:
    """Run the adjoint from e by feedback b, (D, n_out, networks); fill G of m, w and z."""
    g_m, g_w, g_z = slopes
    n_steps, n_in, dim, width = r.shape
    g_w[:] = 0.0
    g_z[:] = 0.0
    for n in range(n_in):
        p[0] = 0.0
        now = 0
        for t in range(n_steps - 1, -1, -1):
            before, after = p[now], p[1 - now]
            if transports:
                _step(1.0 - a, a, w, True, before, after)
            else:
                for i in range(dim):
                    for c in range(width):
                        after[i, c] = (1.0 - a) * before[i, c]
            for o in range(e.shape[0]):
                for i in range(dim):
                    for c in range(width):
                        after[i, c] += b[i, o, c] * e[o, t, n, c]
                        g_z[i, o, c] += r[t, n, i, c] * e[o, t, n, c]
            now = 1 - now
            if t > 0:
                for i in range(dim):
                    for j in range(dim):
                        for c in range(width):
                            g_w[i, j, c] += a * after[i, c] * r[t - 1, n, j, c]
        for i in range(dim):
            for c in range(width):
                g_m[i, n, c] = a * p[now, i, c]


@compiled(fastmath=FAST, error_model="numpy", nogil=True)
def learn_side_by_side(
    parts: tuple,
    b: np.ndarray,
    factors: bool,
    own: bool,
    transports: bool,
    rates: np.ndarray,
    moments: Moments,
    when: np.ndarray,
    kept: tuple,
    losses: np.ndarray,
) -> None:
    """Learn for when[-1] epochs, and keep the networks before those in `when`, which rise.

    Parameters
    ----------
    parts : tuple of arrays, (D, ..., networks)
        m, w, z, u, v, changed in place; w is made of u and v where factors learn.
    b : array, (D, n_out, networks)
        Feedback, where errors come back by their own: else by z.
    factors, own, transports : bool
        What learns, and how errors come back.
    rates : array, (4, networks)
        Of m, u (or w), v and z.
    moments : Moments
        Of the trials.
    when : array of int, (sessions,)
        Epochs.
    kept : tuple of arrays, (sessions, D, ..., networks)
        m, w and z at the sessions: filled.
    losses : array, (sessions, networks)
        Filled.
    """
    m, w, z, u, v = parts
    dim, n_in, width = m.shape
    n_out, n_steps, a = z.shape[1], moments.n_steps, moments.a
    r = np.empty((n_steps, n_in, dim, width))
    k = np.empty((n_out, n_steps, n_in, width))
    p = np.empty((2, dim, width))
    g_m, g_w, g_z = np.empty_like(m), np.empty_like(w), np.empty_like(z)
    now = np.empty(width)
    at = 0
    for epoch in range(when[-1] + 1):
        if factors:
            _products(u, v, w)
        _respond(m, w, z, a, r, k)
        _judge(moments, k, now)
        if when[at] == epoch:
            kept[0][at], kept[1][at], kept[2][at], losses[at] = m, w, z, now
            at += 1
        if epoch == when[-1]:
            break
        _return(w, b if own else z, a, transports, r, k, p, (g_m, g_w, g_z))
        for i in range(dim):
            for n in range(n_in):
                for c in range(width):
                    m[i, n, c] -= rates[0, c] * g_m[i, n, c]
            for n in range(n_out):
                for c in range(width):
                    z[i, n, c] -= rates[3, c] * g_z[i, n, c]
        if factors:
            _move_factors(g_w, rates, u, v)
        else:
            for i in range(dim):
                for j in range(dim):
                    for c in range(width):
                        w[i, j, c] -= rates[1, c] * g_w[i, j, c]


@compiled(fastmath=FAST, error_model="numpy")
def _move_factors(g_w: np.ndarray, rates: np.ndarray, u: np.ndarray, v: np.ndarray) -> None:
    """Move u by -rate G_W v and v by -rate G_W' u, both from where they were."""
    dim, rank, width = u.shape
    u0 = u.copy()
    for i in range(dim):
        for j in range(dim):
            for k in range(rank):
                for c in range(width):
                    u[i, k, c] -= rates[1, c] * g_w[i, j, c] * v[j, k, c]
    # v has not moved yet, and u0 is u as it was
    for i in range(dim):
        for j in range(dim):
            for k in range(rank):
                for c in range(width):
                    v[j, k, c] -= rates[2, c] * g_w[i, j, c] * u0[i, k, c]
