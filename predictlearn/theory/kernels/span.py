"""Compiled loops of a network in the span of its starting vectors: forward, loss and descent.

In an orthonormal basis of the span the network has D neurons, activity h and weights M, W, Z::

    h_t = (1 - a) h_{t-1} + a W r_{t-1} + a M u_t,    r = g(h'h) h,    y_t = Z' r_t

The world, if there is one, is moved by the output and seen by the input::

    w_t = A w_{t-1} + B y_t + o,    u_t = x_t + F w_{t-1},    the loss reads R w_t

The adjoint p = dL/dh runs back from the error e_t that reaches the output, by the matrices
`backward` and `feedback`, which are W' and Z for descent, and others for other rules::

    b_t = a backward p_{t+1} + feedback e_t
    p_t = (1 - a) p_{t+1} + g b_t + 2 g' (h_t' b_t) h_t
    G_W = a sum p_{t+1} r_t',   G_M = a sum p_t u_t',   G_Z = sum r_t e_t'

One array holds (r_{t-1}, u_t) in slot t and another (p_t, e_{t-1}), so that a step is one small
matrix on a slot and all sums are one product of the two arrays.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from predictlearn.compiled import FAST, compiled
from predictlearn.theory.kernels.gain import gain_and_slope

__all__ = [
    "NO_WORLD",
    "Driven",
    "Maps",
    "Moments",
    "World",
    "maps_of",
    "response_loss_and_gradient",
    "span_buffers",
    "span_loss_and_gradient",
]

# Trials in a block: both arrays of a block fit in the second-level cache (measured from 16 to 128).
_BLOCK = 64


class Maps(NamedTuple):
    """The matrices of a step, made by `maps_of`.

    `ahead`, (D, D + n_in), takes (r_{t-1}, u_t) to a W r + a M u; `behind`, (D, D + n_out), takes
    (p_{t+1}, e_t) to b_t; `out` is Z'. `pull` is a M' where the adjoint goes through the loop, and
    empty where the input is taken as given.
    """

    ahead: np.ndarray
    behind: np.ndarray
    out: np.ndarray
    pull: np.ndarray


class World(NamedTuple):
    """The matrices A, B, F, R, their transposes, the offset o and the first state, (q, trials)."""

    step: np.ndarray
    push: np.ndarray
    seen: np.ndarray
    read: np.ndarray
    step_back: np.ndarray
    push_back: np.ndarray
    seen_back: np.ndarray
    read_back: np.ndarray
    offset: np.ndarray
    start: np.ndarray


class Driven(NamedTuple):
    """Trials as the loops take them, (time, variables, trials), and the step a = dt / tau."""

    a: float
    gain: np.ndarray
    inputs: np.ndarray
    targets: np.ndarray
    weights: np.ndarray
    noise: np.ndarray


class Moments(NamedTuple):
    """What linear networks see of fixed trials: second moments of lagged inputs and targets.

    With x_{t-s} the inputs s bins before and weights w: `gram` is sum w x x', (1 or outputs, bins *
    n_in, bins * n_in), times `scale` for each output; `cross` is sum w y* x, (outputs, bins *
    n_in); `rest` is sum w y*^2, (outputs,). Lags come before inputs.
    """

    a: float
    n_steps: int
    gram: np.ndarray
    scale: np.ndarray
    cross: np.ndarray
    rest: np.ndarray


_NONE = np.empty((0, 0))
NO_WORLD = World(_NONE, _NONE, _NONE, _NONE, _NONE, _NONE, _NONE, _NONE, np.empty(0), _NONE)


def maps_of(
    m: np.ndarray,
    w: np.ndarray,
    z: np.ndarray,
    backward: np.ndarray,
    feedback: np.ndarray,
    a: float,
    through: bool = False,
) -> Maps:
    """Return the matrices of a step, from weights (D, n_in), (D, D) and (D, n_out)."""
    pull = np.ascontiguousarray(a * m.T) if through else np.empty((0, 0))
    return Maps(
        np.hstack([a * w, a * m]),
        np.hstack([a * backward, feedback]),
        z.T.copy(),  # numba would compile all loops again for what cannot be written to
        pull,
    )


class Room(NamedTuple):
    """Scratch space for a block: rows of slots, each slot `width` trials wide.

    `ahead` holds (r_{t-1}, u_t) in slot t, `behind` (p_t, e_{t-1}), `activity` h, g and 2 g' of bin
    t - 1, and `world` its state, its adjoint and what of it is read and seen.
    """

    ahead: np.ndarray
    behind: np.ndarray
    activity: np.ndarray
    world: np.ndarray
    part: np.ndarray


def span_buffers(
    dim: int, n_in: int, n_out: int, n_read: int, n_world: int, n_steps: int, n_trials: int
) -> np.ndarray:
    """Return the scratch space that the loops need."""
    width = min(_BLOCK, n_trials)
    rows = 3 * dim + n_in + n_out + 2 + 2 * n_world + n_read
    return np.empty(rows * (n_steps + 1) * width + (dim + n_in) * width)


@compiled(fastmath=FAST, error_model="numpy")
def _fill(value: float, out: np.ndarray, n_rows: int, to: tuple, width: int) -> None:
    """Fill rows of out, from the row and column `to` on, with one value."""
    g, n = np.uintp(to[1]), np.uintp(width)
    for i in range(n_rows):
        for p in range(n):
            out[to[0] + i, g + p] = value


@compiled(fastmath=FAST, error_model="numpy")
def _add(
    weights: np.ndarray, x: np.ndarray, of: tuple, out: np.ndarray, to: tuple, width: int
) -> None:
    """Add weights, (rows, columns), times rows of x to rows of out.

    Rows begin at the row and column `of` of x and `to` of out: whole arrays with places in them
    vectorise, since what numba knows of a part of an array does not.
    """
    n_rows, n_columns = weights.shape
    whole = n_columns - n_columns % 4
    f, g, n = np.uintp(of[1]), np.uintp(to[1]), np.uintp(width)
    for i in range(n_rows):
        row = np.uintp(to[0] + i)
        for j in range(0, whole, 4):
            k0, k1, k2, k3 = weights[i, j], weights[i, j + 1], weights[i, j + 2], weights[i, j + 3]
            r0 = np.uintp(of[0] + j)
            r1, r2, r3 = r0 + np.uintp(1), r0 + np.uintp(2), r0 + np.uintp(3)
            for p in range(n):
                out[row, g + p] += (k0 * x[r0, f + p] + k1 * x[r1, f + p]) + (
                    k2 * x[r2, f + p] + k3 * x[r3, f + p]
                )
        for j in range(whole, n_columns):
            k0 = weights[i, j]
            r0 = np.uintp(of[0] + j)
            for p in range(n):
                out[row, g + p] += k0 * x[r0, f + p]


@compiled(fastmath=FAST, error_model="numpy")
def _room(buffer: np.ndarray, sizes: tuple, width: int) -> Room:
    """Return the scratch space of a block; sizes are (D, n_in, n_out, n_read, n_world, bins)."""
    dim, n_in, n_out, n_read, q, n_steps = sizes
    many = (n_steps + 1) * width
    at = 0
    ahead = buffer[: (dim + n_in) * many].reshape((dim + n_in, many))
    at += ahead.size
    behind = buffer[at : at + (dim + n_out) * many].reshape((dim + n_out, many))
    at += behind.size
    activity = buffer[at : at + (dim + 2) * many].reshape((dim + 2, many))
    at += activity.size
    world = buffer[at : at + (2 * q + n_read) * many].reshape((2 * q + n_read, many))
    at += world.size
    part = buffer[at : at + (dim + n_in) * width].reshape((dim + n_in, width))
    return Room(ahead, behind, activity, world, part)


@compiled(fastmath=FAST, error_model="numpy")
def _forward(
    maps: Maps, world: World, a: float, gain: np.ndarray, room: Room, first: int, width: int
) -> None:
    """Run a block of trials, whose inputs lie in `ahead`; read outputs into `behind`.

    With a world the inputs in `ahead` are those that the network sees in the end, and what the
    loss reads goes into the last rows of `world`.
    """
    z, b, h, w = room.ahead, room.behind, room.activity, room.world
    # unsigned: an index that could be negative keeps numba from vector loops
    n, start, keep = np.uintp(width), np.uintp(first), 1.0 - a
    dim, n_out, q = maps.ahead.shape[0], maps.out.shape[0], world.step.shape[0]
    n_steps = z.shape[1] // width - 1
    # numba would make versions of `_fill` and `_add` for zeros that it knows
    top, left = np.int64(0), np.uintp(0)
    linear = gain.size == 0
    _fill(0.0, z, dim, (top, left), width)
    _fill(0.0, h, dim, (top, left), width)
    for i in range(q):
        for p in range(n):
            w[i, p] = world.start[i, start + p]
    for t in range(n_steps):
        now, after = np.uintp(t * width), np.uintp((t + 1) * width)
        if q > 0:
            _add(world.seen, w, (top, now), z, (dim, now), width)
        if linear:
            for i in range(dim):
                for p in range(n):
                    z[i, after + p] = keep * z[i, now + p]
            _add(maps.ahead, z, (top, now), z, (top, after), width)
        else:
            for i in range(dim):
                for p in range(n):
                    h[i, after + p] = keep * h[i, now + p]
            _add(maps.ahead, z, (top, now), h, (top, after), width)
            for p in range(n):
                delta = 0.0
                for i in range(dim):
                    delta += h[i, after + p] * h[i, after + p]
                h[dim, after + p], h[dim + 1, after + p] = gain_and_slope(gain, delta)
            for i in range(dim):
                for p in range(n):
                    z[i, after + p] = h[dim, after + p] * h[i, after + p]
        _fill(0.0, b, n_out, (dim, after), width)
        _add(maps.out, z, (top, after), b, (dim, after), width)
        if q > 0:
            for i in range(q):
                for p in range(n):
                    w[i, after + p] = world.offset[i]
            _add(world.step, w, (top, now), w, (top, after), width)
            _add(world.push, b, (dim, after), w, (top, after), width)
            _fill(0.0, w, world.read.shape[0], (2 * q, after), width)
            _add(world.read, w, (top, after), w, (2 * q, after), width)
    _fill(0.0, z, z.shape[0] - dim, (dim, np.uintp(n_steps * width)), width)


@compiled(fastmath=FAST, error_model="numpy")
def _judge(shown: Driven, errors: np.ndarray, top: int, first: int, width: int) -> float:
    """Turn what the loss reads, in rows of `errors` from `top` on, into its slope; return it."""
    n, start = np.uintp(width), np.uintp(first)
    noisy = shown.noise.shape[0] > 0
    total = 0.0
    for t in range(shown.targets.shape[0]):
        after = np.uintp((t + 1) * width)
        for o in range(shown.targets.shape[1]):
            for p in range(n):
                error = errors[top + o, after + p] - shown.targets[t, o, start + p]
                weighted = shown.weights[t, o, start + p] * error
                total += weighted * error
                errors[top + o, after + p] = 2.0 * weighted
            if noisy:
                for p in range(n):
                    errors[top + o, after + p] -= (
                        2.0 * shown.weights[t, o, start + p] * shown.noise[t, o, start + p]
                    )
    return total


@compiled(fastmath=FAST, error_model="numpy")
def _adjoint(maps: Maps, world: World, a: float, gain: np.ndarray, room: Room, width: int) -> None:
    """Run the adjoint of a block from the slopes of the loss, and fill `behind`."""
    z, b, h, w, part = room.ahead, room.behind, room.activity, room.world, room.part
    n, keep = np.uintp(width), 1.0 - a
    dim, n_out, q = maps.ahead.shape[0], maps.out.shape[0], world.step.shape[0]
    n_in, n_steps = z.shape[0] - dim, z.shape[1] // width - 1
    top, left, linear = np.int64(0), np.uintp(0), gain.size == 0
    _fill(0.0, b, dim, (top, np.uintp(n_steps * width)), width)
    _fill(0.0, b, n_out, (dim, left), width)
    if q > 0:
        _fill(0.0, w, q, (q, left), w.shape[1])
    for t in range(n_steps - 1, -1, -1):
        now, after = np.uintp(t * width), np.uintp((t + 1) * width)
        if q > 0:
            # dL/dw after bin t: what comes of later bins is there already
            _add(world.read_back, w, (2 * q, after), w, (q, after), width)
            if t > 0:
                _add(world.step_back, w, (q, after), w, (q, now), width)
            _fill(0.0, b, n_out, (dim, after), width)
            _add(world.push_back, w, (q, after), b, (dim, after), width)
        if linear:
            for i in range(dim):
                for p in range(n):
                    b[i, now + p] = keep * b[i, after + p]
            _add(maps.behind, b, (top, after), b, (top, now), width)
        else:
            _fill(0.0, part, dim, (top, left), width)
            _add(maps.behind, b, (top, after), part, (top, left), width)
            for p in range(n):
                s = 0.0
                for i in range(dim):
                    s += h[i, after + p] * part[i, p]
                h[dim + 1, after + p] *= s
            for i in range(dim):
                for p in range(n):
                    b[i, now + p] = (
                        keep * b[i, after + p]
                        + h[dim, after + p] * part[i, p]
                        + h[dim + 1, after + p] * h[i, after + p]
                    )
        if q > 0 and t > 0 and maps.pull.shape[0] > 0:
            _fill(0.0, part, n_in, (dim, left), width)
            _add(maps.pull, b, (top, now), part, (dim, left), width)
            _add(world.seen_back, part, (dim, left), w, (q, now), width)


@compiled(fastmath=FAST, error_model="numpy")
def span_loss_and_gradient(
    maps: Maps, world: World, shown: Driven, buffer: np.ndarray, sums: np.ndarray
) -> float:
    """Return the loss; fill `sums`, (D + n_out, D + n_in).

    Its first D rows hold G_W and G_M without the factor a, its last n_out rows G_Z' in the first D
    columns. The scratch space comes from `span_buffers`.
    """
    n_steps, n_in, n_trials = shown.inputs.shape
    dim, n_out, q = maps.ahead.shape[0], maps.out.shape[0], world.step.shape[0]
    sizes = (dim, n_in, n_out, shown.targets.shape[1], q, n_steps)
    sums[:] = 0.0
    total = 0.0
    for first in range(0, n_trials, _BLOCK):
        width = min(_BLOCK, n_trials - first)
        n, start = np.uintp(width), np.uintp(first)
        room = _room(buffer, sizes, width)
        for t in range(n_steps):
            now = np.uintp(t * width)
            for i in range(n_in):
                for p in range(n):
                    room.ahead[dim + i, now + p] = shown.inputs[t, i, start + p]
        _forward(maps, world, shown.a, shown.gain, room, first, width)
        if q > 0:
            total += _judge(shown, room.world, 2 * q, first, width)
        else:
            total += _judge(shown, room.behind, dim, first, width)
        _adjoint(maps, world, shown.a, shown.gain, room, width)
        sums += np.dot(room.behind, room.ahead.T)
    return total


@compiled(fastmath=FAST, error_model="numpy")
def response_loss_and_gradient(
    maps: Maps, world: World, moments: Moments, buffer: np.ndarray, sums: np.ndarray
) -> float:
    """Return the loss of a linear network by its responses to impulses; fill `sums` as above.

    What the loss reads is the input convolved with the response k, so the loss on all trials is
    ``k' C k - 2 b' k + c`` for each output, and its slope by k is the error of the response.
    """
    n_steps, n_in = moments.n_steps, maps.ahead.shape[1] - maps.ahead.shape[0]
    dim, n_out, q = maps.ahead.shape[0], maps.out.shape[0], world.step.shape[0]
    n_read = moments.cross.shape[0]
    room = _room(buffer, (dim, n_in, n_out, n_read, q, n_steps), n_in)
    z = room.ahead
    _fill(0.0, z, n_in, (dim, np.uintp(0)), z.shape[1])
    for i in range(n_in):
        z[dim + i, i] = 1.0
    linear = np.empty(0)
    _forward(maps, world, moments.a, linear, room, np.int64(0), n_in)
    total = 0.0
    responses, top = (room.world, 2 * q) if q > 0 else (room.behind, dim)
    for o in range(n_read):
        k = responses[top + o, n_in:]
        slope = np.dot(moments.gram[min(o, moments.gram.shape[0] - 1)], k)
        scale = moments.scale[o]
        rest = moments.rest[o]
        for i in range(slope.size):
            slope[i] = scale * slope[i] - moments.cross[o, i]
            rest += k[i] * (slope[i] - moments.cross[o, i])
        for i in range(slope.size):
            k[i] = 2.0 * slope[i]
        total += rest
    _adjoint(maps, world, moments.a, linear, room, n_in)
    # by loops: assigning a slice takes seconds to compile, for a message on shapes
    found = np.dot(room.behind, z.T)
    for i in range(sums.shape[0]):
        for j in range(sums.shape[1]):
            sums[i, j] = found[i, j]
    # a sum of squares, but for rounding
    return max(total, 0.0)
