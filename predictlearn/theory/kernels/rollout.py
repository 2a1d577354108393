"""Compiled loops of the reduced activity: forward, loss, and adjoint.

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

Arrays given and returned are (time, variables, trials), trials innermost, so that every inner loop
is a vector loop. Inside, the bins of a chunk lie side by side in the rows of k, q and (g, 2 s), so
that each sum over trials is taken once a chunk, in a long loop, and not once a bin. k keeps its
rows of all chunks, (chunks * b, columns of a chunk); bin t is in chunk t // size from column
(t % size) * width on. A row of trials is filled up to whole vectors with trials without input:
their activity is zero, and so is what they add to a sum.
"""

from __future__ import annotations

import math

import numpy as np

from predictlearn.compiled import FAST, compiled
from predictlearn.theory.kernels.arguments import Shown
from predictlearn.theory.kernels.few_trials import few
from predictlearn.theory.kernels.gain import judge, tabulated_gain
from predictlearn.theory.kernels.outer import add_outer
from predictlearn.theory.kernels.rank_one import single_adjoint, single_forward
from predictlearn.theory.kernels.tiles import WIDEST, carry, drive, partial_sums, pull, quadratic

__all__ = [
    "BLOCK",
    "buffer_size",
    "filter_inputs",
    "loss_and_derivative_kernel",
    "rollout_kernel",
    "single_loss_and_derivative",
    "single_losses",
]


# Trials in a block: longer vector loops outweigh what no longer fits in the second-level cache
# (measured from 16 to 128).
BLOCK = 128
# Up to this many trials run with time innermost.
FEW = 2
# Columns of a chunk, about: long enough for the sums, short enough for the caches (measured from
# 256 to 4096).
_SPAN = 512
# Numbers in a vector of the widest kind, which is a cache line.
_LINE = 8
_HALF_PI = math.pi / 2
_LOOPS = {"fastmath": FAST, "error_model": "numpy", "_nrt": False}


@compiled()
def _layout(n_steps: int, n_trials: int) -> tuple[int, int, int, int]:
    """Return numbers in a row of trials, bins in a chunk, columns of a chunk, and chunks."""
    block = min(BLOCK, n_trials)
    if n_trials > FEW:
        block = -(-block // _LINE) * _LINE
    size = max(1, _SPAN // block)
    # rows a multiple of 4096 bytes apart would share their places in the first-level cache; there
    # is a bin after the last one, for the state that it leaves
    return block, size, size * block + _LINE, n_steps // size + 1


@compiled()
def _work_rows(n_in: int, rank: int, n_out: int) -> int:
    """Return how many rows of one bin the block loops keep."""
    return 2 * (n_in + rank + n_out) + rank + 2


def buffer_size(n_steps: int, n_trials: int, n_in: int, rank: int, n_out: int) -> int:
    """Return how many numbers of scratch space `loss_and_derivative_kernel` needs."""
    block, _, columns, chunks = _layout(n_steps, n_trials)
    chunked = chunks * (n_in + rank) + rank + n_out + 2
    rows = n_steps * (2 + n_out) + _work_rows(n_in, rank, n_out)
    return columns * chunked + block * rows + _LINE


@compiled()
def _aligned(buffer: np.ndarray) -> np.ndarray:
    """Return a buffer without the numbers, fewer than eight, before its first cache line.

    A vector that lies across two lines is read in two steps, which cost rank 3 a third of its time.
    """
    return buffer[(-(buffer.ctypes.data // 8)) % _LINE :]


@compiled()
def _blocks_of(
    s: np.ndarray, b: int, rank: int, n_out: int, a: float, linear: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return W with a times its rows v, W', times a if linear, and B twice.

    First its upper triangle, with what is off the diagonal doubled, then its rows u. All are filled
    up to the columns, and the first one of B to the rows, of a tile with zeros.
    """
    n_rows, n_in = rank + n_out, b - rank
    across, down = max(b, WIDEST), max(n_rows, WIDEST)
    ahead, behind = np.zeros((n_rows, across)), np.zeros((b, down))
    form, rows = np.zeros((across, across)), np.zeros((rank, across))
    for j in range(b):
        for o in range(n_rows):
            w = s[b + o, j]
            ahead[o, j] = a * w if o < rank else w
            behind[j, o] = a * w if linear else w
        for i in range(j):
            form[i, j] = 2.0 * s[i, j]
        form[j, j] = s[j, j]
        for r in range(rank):
            rows[r, j] = s[n_in + r, j]
    return ahead, behind, form, rows


@compiled()
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


@compiled(**_LOOPS)
def _forward(
    ahead: np.ndarray,
    form: np.ndarray,
    n_in: int,
    rank: int,
    n_out: int,
    a: float,
    gain: np.ndarray,
    km: np.ndarray,
    first: np.uintp,
    n_trials: np.uintp,
    width: np.uintp,
    size: int,
    k: np.ndarray,
    g: np.ndarray,
    slope: np.ndarray,
    y: np.ndarray,
    part: np.ndarray,
    ones: np.ndarray,
    spare: np.ndarray,
) -> None:
    """Roll out one block of trials: fill k, g (time, .) and y (time * n_out, .).

    For a tabulated gain `slope`, (time, .), gets 2 dg/dDelta; a linear network leaves g as it is.
    """
    b = n_in + rank
    kind = gain.size
    # unlike 0 and 1 no constants, for which the kernels would be compiled again
    none, one = np.intp(0), np.intp(1)
    factor = g if kind > 0 else ones
    for c in range(rank + n_out):
        for p in range(width):
            part[c, p] = 0.0
    for p in range(width):
        ones[0, p] = 1.0
    for r in range(rank):
        for p in range(width):
            k[n_in + r, p] = 0.0
    top, at = none, np.uintp(0)
    for t in range(km.shape[0]):
        for j in range(n_in):
            for p in range(n_trials):
                k[top + j, at + p] = km[t, j, first + p]
            for p in range(n_trials, width):
                k[top + j, at + p] = 0.0
        if kind > 0:
            quadratic(form, k, top, at, b, kind == 1, g, t, spare, width)
        if kind > 1:
            tabulated_gain(gain, g, slope, t, width)
        if b > WIDEST:
            partial_sums(ahead, k, top, at, b - WIDEST, part, rank + n_out, width)
        after, to = top, at + width
        if (t + 1) % size == 0:
            after, to = top + b, np.uintp(0)
        row = t if kind > 0 else none
        drive(
            ahead, none, k, top, at, b, part, factor, row, 1.0 - a, top + n_in, one, k,
            after + n_in, to, rank, width,
        )  # fmt: skip
        drive(
            ahead, rank, k, top, at, b, part, factor, row, 0.0, top, none, y, t * n_out,
            np.uintp(0), n_out, width,
        )  # fmt: skip
        top, at = after, to


@compiled(**_LOOPS)
def _adjoint(
    behind: np.ndarray,
    base: np.ndarray,
    n_in: int,
    rank: int,
    n_out: int,
    a: float,
    gain: np.ndarray,
    n_steps: int,
    width: np.uintp,
    size: int,
    k: np.ndarray,
    g: np.ndarray,
    slope: np.ndarray,
    e: np.ndarray,
    grad: np.ndarray,
    q: np.ndarray,
    scale: np.ndarray,
    part: np.ndarray,
    ones: np.ndarray,
    near: np.ndarray,
    back: np.ndarray,
    dot: np.ndarray,
) -> None:
    """Run one block backwards and add its share of A to `grad`, (D, D), lower triangle."""
    b = n_in + rank
    n_rows = rank + n_out
    kind = gain.size
    none, one = np.intp(0), np.intp(1)
    for j in range(b):
        for p in range(width):
            part[j, p] = 0.0
    for r in range(rank):
        for p in range(width):
            near[r, p] = 0.0
    for p in range(width):
        ones[0, p] = 1.0
    for p in range(scale.shape[1]):
        scale[0, p] = 1.0
    place = (n_steps - 1) % size
    top, at = ((n_steps - 1) // size) * b, np.uintp(place) * width
    length = at + width
    for r in range(rank):
        for p in range(width):
            q[r, at + p] = 0.0
    for t in range(n_steps - 1, -1, -1):
        for o in range(n_out):
            for p in range(width):
                q[rank + o, at + p] = e[t * n_out + o, p]
        if kind > 0:
            if n_rows > WIDEST:
                partial_sums(behind, q, none, at, n_rows - WIDEST, part, b, width)
            pull(behind, q, at, n_rows, part, k, top, back, dot, b, width)
            # dot is now q . c; the second row of scale gets 2 s
            if kind == 1:
                for p in range(width):
                    r = g[t, p]
                    scale[0, at + p] = r
                    scale[1, at + p] = -_HALF_PI * r * r * r * dot[0, p]
            else:
                for p in range(width):
                    scale[0, at + p] = g[t, p]
                    scale[1, at + p] = slope[t, p] * dot[0, p]
        if place == 0:
            # the chunk is complete
            add_outer(scale, none, q, none, k, top, b, grad, b, n_rows, False, length)
            if kind > 0:
                add_outer(scale, one, k, top, k, top, b, grad, none, b, True, length)
            length = np.uintp(size) * width
        if t == 0:
            break
        before, to = top, at - width
        place -= 1
        if place < 0:
            place = size - 1
            before, to = top - b, length - width
        if kind > 0:
            if b > WIDEST:
                partial_sums(base, k, top, at, b - WIDEST, near, rank, width)
            carry(base, k, top, at, b, near, scale, back, n_in, a, q, to, rank, width)
        else:
            if n_rows > WIDEST:
                partial_sums(behind, q, none, at, n_rows - WIDEST, part, b, width)
            drive(
                behind, n_in, q, none, at, n_rows, part, ones, none, 1.0 - a, none, one, q,
                none, to, rank, width,
            )  # fmt: skip
        top, at = before, to


@compiled()
def _trials_of(rows: np.ndarray, first: int, step: int, count: int, out: np.ndarray) -> None:
    """Fill out, (time, count, trials), from rows first, first + 1, ... of every `step` rows."""
    for t in range(out.shape[0]):
        for c in range(count):
            for p in range(out.shape[2]):
                out[t, c, p] = rows[t * step + first + c, p]


@compiled()
def rollout_kernel(
    s: np.ndarray, n_in: int, rank: int, n_out: int, a: float, gain: np.ndarray, km: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return k_u, g and y, (time, variables, trials), of all trials."""
    n_steps, _, n_trials = km.shape
    b, n_rows = n_in + rank, rank + n_out
    ahead, _, form, _ = _blocks_of(s, b, rank, n_out, a, gain.size == 0)
    filled = -(-n_trials // _LINE) * _LINE
    # chunks of one bin; no constants, for which the loops would be compiled again
    none, one = np.intp(0), np.intp(1)
    k = np.empty(((n_steps + 1) * b, filled))
    g = np.ones((n_steps, filled))
    y = np.empty((n_steps * n_out, filled))
    slope = np.empty((n_steps if gain.size > 1 else 0, filled))
    part, ones, spare = np.empty((n_rows, filled)), np.empty((1, filled)), np.empty((b, filled))
    _forward(
        ahead, form, n_in, rank, n_out, a, gain, km, np.uintp(0), np.uintp(n_trials),
        np.uintp(filled), one, k, g, slope, y, part, ones, spare,
    )  # fmt: skip
    states, gains = np.empty((n_steps, rank, n_trials)), np.empty((n_steps, 1, n_trials))
    outputs = np.empty((n_steps, n_out, n_trials))
    _trials_of(k, n_in, b, rank, states)
    _trials_of(g, none, one, one, gains)
    _trials_of(y, none, n_out, n_out, outputs)
    return states, gains.reshape((n_steps, n_trials)), outputs


@compiled(nogil=True)
def single_loss_and_derivative(
    s: np.ndarray, shown: Shown, buffer: np.ndarray, grad: np.ndarray
) -> float:
    """Return the loss and fill `grad` for one input, rank one and one output.

    A function of its own, so that the loops for any size are not compiled where these are enough.
    Of more than `FEW` trials an empty `grad` asks for the loss alone, in half the time.
    """
    a, gain, km, judging = shown
    n_steps, _, n_trials = km.shape
    block = min(BLOCK, n_trials)
    rows = _aligned(buffer)
    rows = rows[: (rows.size // block) * block].reshape((-1, block))
    ku, g, slope = rows[:n_steps], rows[n_steps : 2 * n_steps], rows[2 * n_steps : 3 * n_steps]
    y, work = rows[3 * n_steps : 4 * n_steps], rows[4 * n_steps :]
    outputs = y.reshape((n_steps, 1, block))
    size = grad.shape[0]
    for i in range(size):
        for j in range(size):
            grad[i, j] = 0.0
    total = 0.0
    if n_trials <= FEW:
        total = few(s, (1, 1, 1), shown, ku, g, slope, outputs, grad)
    else:
        for start in range(0, n_trials, BLOCK):
            first, here = np.uintp(start), np.uintp(min(BLOCK, n_trials - start))
            single_forward(s, a, gain, km, first, here, ku, g, slope, y, work)
            total += judge(outputs, judging, first, here)
            if size:
                single_adjoint(s, a, gain, km, first, here, ku, g, slope, y, work, grad)
    for i in range(size):
        for j in range(i):
            grad[j, i] = grad[i, j]
    return total


@compiled(nogil=True)
def single_losses(rows: np.ndarray, shown: Shown, buffer: np.ndarray, losses: np.ndarray) -> None:
    """Fill `losses` with the loss at many matrices, (rows, 4, 4), of one input, rank and output.

    Of more than `FEW` trials.
    """
    none = np.empty((0, 0))
    for i in range(rows.shape[0]):
        losses[i] = single_loss_and_derivative(rows[i], shown, buffer, none)


@compiled(nogil=True)
def loss_and_derivative_kernel(
    s: np.ndarray,
    sizes: tuple[int, int, int],
    shown: Shown,
    buffer: np.ndarray,
    grad: np.ndarray,
) -> float:
    """Return the loss and fill `grad` with A, (D, D).

    `buffer` has at least `buffer_size` numbers: scratch space, kept between epochs.
    """
    n_in, rank, n_out = sizes
    if n_in == rank == n_out == 1:
        return single_loss_and_derivative(s, shown, buffer, grad)
    a, gain, km, judging = shown
    n_steps, _, n_trials = km.shape
    block, size, columns, chunks = _layout(n_steps, n_trials)
    b, n_rows = n_in + rank, rank + n_out
    buffer = _aligned(buffer)
    used = chunks * b
    chunked = buffer[: (used + n_rows + 2) * columns].reshape((-1, columns))
    k, q, scale = chunked[:used], chunked[used : used + n_rows], chunked[used + n_rows :]
    rows = buffer[chunked.size :]
    rows = rows[: (rows.size // block) * block].reshape((-1, block))
    g, slope = rows[:n_steps], rows[n_steps : 2 * n_steps]
    used = n_steps * (2 + n_out)
    y, work = rows[2 * n_steps : used], rows[used:]
    outputs = y.reshape((n_steps, n_out, block))
    ku = k.reshape(k.size)[: n_steps * rank * block].reshape((-1, block))
    for i in range(grad.shape[0]):
        for j in range(grad.shape[1]):
            grad[i, j] = 0.0
    total = 0.0
    if n_trials <= FEW:
        total = few(s, sizes, shown, ku, g, slope, outputs, grad)
    else:
        ahead, behind, form, base = _blocks_of(s, b, rank, n_out, a, gain.size == 0)
        used = b + n_out
        part, back = work[:used], work[used : 2 * used]
        near, used = work[2 * used : 2 * used + rank], 2 * used + rank
        dot, ones = work[used : used + 1], work[used + 1 : used + 2]
        for start in range(0, n_trials, BLOCK):
            first, here = np.uintp(start), np.uintp(min(BLOCK, n_trials - start))
            width = (here + np.uintp(_LINE - 1)) // np.uintp(_LINE) * np.uintp(_LINE)
            _forward(
                ahead, form, n_in, rank, n_out, a, gain, km, first, here, width, size, k, g, slope,
                y, part, ones, back,
            )  # fmt: skip
            total += judge(outputs, judging, first, here)
            _adjoint(
                behind, base, n_in, rank, n_out, a, gain, n_steps, width, size, k, g, slope, y,
                grad, q, scale, part, ones, near, back, dot,
            )  # fmt: skip
    for i in range(grad.shape[0]):
        for j in range(i):
            grad[j, i] = grad[i, j]
    return total
