"""Compiled second derivatives of the loss by the overlaps that it sees.

The loss sees only some entries of S, the visible ones. With k^p the derivative of the activity by
visible entry p, and q_t = (a l_{t+1}, e_t) the adjoint of `rollout`, the Hessian over the visible
entries is exact from one forward pass of tangents, with no backward pass for each of them::

    H_pq = sum over bins of  2 w y^p y^q + q . (second derivative of r_t = g(Delta_t) W k_t along
           the tangents p and q)

Rows are flat, (time * trials), so that all but the recurrence are long vector loops; they are taken
in stretches of time that stay in the cache.
"""

from __future__ import annotations

import math

import numpy as np

from predictlearn.compiled import FAST, compiled
from predictlearn.theory.kernels.arguments import Judging, Shown
from predictlearn.theory.kernels.gain import DEGREE, RATIONAL_SIZE, judge

__all__ = ["hessian_kernel", "hessian_work"]


_QUARTER_PI = math.pi / 4
# Numbers in a row of a stretch of time.
_STRETCH = 256


@compiled()
def _stretch(n_steps: int, n_trials: int) -> int:
    """Return how many bins are taken at once."""
    return min(n_steps, max(1, _STRETCH // n_trials))


@compiled()
def hessian_work(
    km: np.ndarray, sizes: tuple[int, int, int], n_seen: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return scratch space for `hessian_kernel`."""
    n_in, rank, n_out = sizes
    n_steps, _, n_trials = km.shape
    rows = n_in + rank + 2 * (rank + n_out) + 4 + 2 * rank + rank * rank
    base = np.empty((rows, n_steps * n_trials))
    width = (_stretch(n_steps, n_trials) + 1) * n_trials
    features = n_seen * (rank + 1 + n_out)
    outputs = np.empty((n_steps, n_out, n_trials))
    return base, np.empty((features, width)), np.empty((features, width)), outputs


@compiled(error_model="numpy")
def _polynomial(c: np.ndarray, first: int, end: int, x: float) -> tuple[float, float, float]:
    """Return a polynomial of coefficients c[first:end] and its first two derivatives."""
    value, slope, half = c[first], 0.0, 0.0
    for i in range(first + 1, end):
        half = half * x + slope
        slope = slope * x + value
        value = value * x + c[i]
    return value, slope, 2.0 * half


@compiled(error_model="numpy")
def _gain_curvature(gain: np.ndarray, delta: float) -> tuple[float, float, float]:
    """Return g, dg/dDelta and its derivative; see `gain` for the table."""
    if gain.size == 1:
        g = 1.0 / math.sqrt(1.0 + 2.0 * _QUARTER_PI * delta)
        cube = g * g * g
        return g, -_QUARTER_PI * cube, 3.0 * _QUARTER_PI * _QUARTER_PI * cube * g * g
    if gain.size == RATIONAL_SIZE:
        # of log g = (log B - log A) / 2
        b, b1, b2 = _polynomial(gain, 0, DEGREE + 1, delta)
        a, a1, a2 = _polynomial(gain, DEGREE + 1, RATIONAL_SIZE, delta)
        g = math.sqrt(b / a)
        b1 /= b
        a1 /= a
        first = 0.5 * (b1 - a1)
        second = 0.5 * (b2 / b - b1 * b1 - a2 / a + a1 * a1)
        return g, g * first, g * (second + first * first)
    scale = gain[2]
    root = math.sqrt(gain[0] + scale * delta)
    w = 1.0 / (gain[1] + root)
    x = 2.0 * w - 1.0
    value, first, second = _polynomial(gain, 3, gain.size, x)
    root_1 = 0.5 * scale / root
    root_2 = -root_1 * root_1 / root
    x_1 = -2.0 * w * w * root_1
    x_2 = 4.0 * w * w * w * root_1 * root_1 - 2.0 * w * w * root_2
    return value, first * x_1, second * x_1 * x_1 + first * x_2


@compiled(fastmath=FAST, error_model="numpy")
def _base(
    s: np.ndarray,
    sizes: tuple[int, int, int],
    shown: Shown,
    base: np.ndarray,
    outputs: np.ndarray,
) -> None:
    """Fill the rows of `base` by one forward and one backward pass.

    Rows in turn: k (b), c (rank + n_out), q (rank + n_out), g, g', g'' (q . c), q . c,
    [B k]_u (rank), [W' q]_u (rank), and d k_u,t+1 / d k_u,t (rank * rank).
    """
    n_in, rank, n_out = sizes
    a, gain, km, judging = shown
    n_steps, _, n_trials = km.shape
    b, n_rows = n_in + rank, rank + n_out
    at_q = b + n_rows
    at_g = at_q + n_rows
    at_bk = at_g + 4
    at_wq = at_bk + rank
    at_step = at_wq + rank
    keep = 1.0 - a
    curved = gain.size > 0
    for r in range(rank):
        for p in range(n_trials):
            base[n_in + r, p] = 0.0
    for t in range(n_steps):
        i0 = t * n_trials
        for j in range(n_in):
            for p in range(n_trials):
                base[j, i0 + p] = km[t, j, p]
        if curved:
            for p in range(n_trials):
                delta = 0.0
                for i in range(b):
                    total = 0.0
                    for j in range(b):
                        total += s[i, j] * base[j, i0 + p]
                    delta += base[i, i0 + p] * total
                    if i >= n_in:
                        base[at_bk + i - n_in, i0 + p] = total
                g, first, second = _gain_curvature(gain, delta)
                base[at_g, i0 + p] = g
                base[at_g + 1, i0 + p] = first
                base[at_g + 2, i0 + p] = second
        for o in range(n_rows):
            for p in range(n_trials):
                base[b + o, i0 + p] = s[b + o, 0] * base[0, i0 + p]
            for j in range(1, b):
                w = s[b + o, j]
                for p in range(n_trials):
                    base[b + o, i0 + p] += w * base[j, i0 + p]
        for o in range(n_out):
            for p in range(n_trials):
                g = base[at_g, i0 + p] if curved else 1.0
                outputs[t, o, p] = g * base[b + rank + o, i0 + p]
        if t < n_steps - 1:
            for r in range(rank):
                for p in range(n_trials):
                    g = base[at_g, i0 + p] if curved else 1.0
                    base[n_in + r, i0 + n_trials + p] = (
                        keep * base[n_in + r, i0 + p] + a * g * base[b + r, i0 + p]
                    )
    judge(outputs, judging, np.uintp(0), np.uintp(n_trials))
    for t in range(n_steps - 1, -1, -1):
        i0 = t * n_trials
        for r in range(rank):
            for p in range(n_trials):
                # a times the adjoint of the state after this bin
                q = 0.0
                if t < n_steps - 1:
                    i = i0 + n_trials + p
                    g = base[at_g, i] if curved else 1.0
                    q = keep * base[at_q + r, i] + a * g * base[at_wq + r, i]
                    if curved:
                        q += a * 2.0 * base[at_g + 1, i] * base[at_g + 3, i] * base[at_bk + r, i]
                base[at_q + r, i0 + p] = q
        for o in range(n_out):
            for p in range(n_trials):
                base[at_q + rank + o, i0 + p] = outputs[t, o, p]
        for r in range(rank):
            for p in range(n_trials):
                total = 0.0
                for o in range(n_rows):
                    total += s[b + o, n_in + r] * base[at_q + o, i0 + p]
                base[at_wq + r, i0 + p] = total
        if curved:
            for p in range(n_trials):
                total = 0.0
                for o in range(n_rows):
                    total += base[at_q + o, i0 + p] * base[b + o, i0 + p]
                base[at_g + 3, i0 + p] = total
    n_lanes = n_steps * n_trials
    if curved:
        for i in range(n_lanes):
            base[at_g + 2, i] *= base[at_g + 3, i]
    for r in range(rank):
        for c in range(rank):
            w = a * s[b + r, n_in + c]
            own = keep if r == c else 0.0
            row = at_step + r * rank + c
            if not curved:
                for i in range(n_lanes):
                    base[row, i] = own + w
                continue
            for i in range(n_lanes):
                base[row, i] = (
                    own
                    + w * base[at_g, i]
                    + 2.0 * a * base[at_g + 1, i] * base[b + r, i] * base[at_bk + c, i]
                )


@compiled(fastmath=FAST, error_model="numpy")
def _gram(
    left: np.ndarray, right: np.ndarray, first: int, n: int, width: np.uintp, out: np.ndarray
) -> None:
    """Add to out[i, j] the sum over a row of left[first + i] right[first + j]."""
    i = 0
    while i < n:
        two = i + 1 < n
        i1 = first + (i + 1 if two else i)
        j = 0
        while j + 1 < n:
            t00 = t01 = t10 = t11 = 0.0
            for p in range(width):
                x0, x1 = left[first + i, p], left[i1, p]
                y0, y1 = right[first + j, p], right[first + j + 1, p]
                t00 += x0 * y0
                t01 += x0 * y1
                t10 += x1 * y0
                t11 += x1 * y1
            out[i, j] += t00
            out[i, j + 1] += t01
            if two:
                out[i + 1, j] += t10
                out[i + 1, j + 1] += t11
            j += 2
        if j < n:
            t00 = t10 = 0.0
            for p in range(width):
                t00 += left[first + i, p] * right[first + j, p]
                t10 += left[i1, p] * right[first + j, p]
            out[i, j] += t00
            if two:
                out[i + 1, j] += t10
        i += 2


@compiled(fastmath=FAST, error_model="numpy")
def _tangents(
    n_in: int,
    rank: int,
    n_trials: int,
    a: float,
    curved: bool,
    rows: np.ndarray,
    cols: np.ndarray,
    base: np.ndarray,
    from_lane: int,
    width: int,
    right: np.ndarray,
) -> None:
    """Roll the tangents of k_u over one stretch; the first bin of `right` holds where they are."""
    b = n_in + rank
    n_seen = rows.size
    n_rows = (base.shape[0] - b - 4 - 2 * rank - rank * rank) // 2
    at_g = b + 2 * n_rows
    at_step = at_g + 4 + 2 * rank
    for v in range(n_seen):
        i, j = rows[v], cols[v]
        for r in range(rank):
            x = r * n_seen + v
            if i == b + r:
                if curved:
                    for p in range(width):
                        l = from_lane + p  # noqa: E741
                        right[x, n_trials + p] = a * base[at_g, l] * base[j, l]
                else:
                    for p in range(width):
                        right[x, n_trials + p] = a * base[j, from_lane + p]
            elif i >= b:
                for p in range(width):
                    right[x, n_trials + p] = 0.0
            else:
                f = a if i == j else 2.0 * a
                for p in range(width):
                    l = from_lane + p  # noqa: E741
                    right[x, n_trials + p] = (
                        f * base[at_g + 1, l] * base[b + r, l] * base[i, l] * base[j, l]
                    )
        if rank == 1:
            if i == b + 1:
                # an overlap with z moves no activity
                continue
            for p in range(width):
                right[v, n_trials + p] += base[at_step, from_lane + p] * right[v, p]
            continue
        for t in range(width // n_trials):
            for r in range(rank):
                for c in range(rank):
                    for q in range(n_trials):
                        p = t * n_trials + q
                        right[r * n_seen + v, n_trials + p] += (
                            base[at_step + r * rank + c, from_lane + p] * right[c * n_seen + v, p]
                        )


@compiled(fastmath=FAST, error_model="numpy")
def _features(
    s: np.ndarray,
    sizes: tuple[int, int, int],
    n_trials: int,
    curved: bool,
    judging: Judging,
    rows: np.ndarray,
    cols: np.ndarray,
    base: np.ndarray,
    from_lane: int,
    width: int,
    left: np.ndarray,
    right: np.ndarray,
    carry: np.ndarray,
) -> None:
    """Fill what the Hessian pairs: left with right, feature by feature, over one stretch."""
    n_in, rank, n_out = sizes
    _, weights, _, _, smoothing, direct = judging
    b, n_rows, n_seen = n_in + rank, rank + n_out, rows.size
    at_q = b + n_rows
    at_g = at_q + n_rows
    at_bk, at_wq = at_g + 4, at_g + 4 + rank
    at_d, at_y = rank * n_seen, (rank + 1) * n_seen
    for v in range(n_seen):
        i, j = rows[v], cols[v]
        inner = i < b
        d = at_d + v
        if curved:
            # Delta^v, and Z^v = 2 g' q . c^v + g'' (q . c) Delta^v
            f = (1.0 if i == j else 2.0) if inner else 0.0
            fi, fq = (i, 0.0) if inner else (0, 1.0)
            qo = 0 if inner else at_q + i - b
            for p in range(width):
                l = from_lane + p  # noqa: E741
                right[d, p] = f * base[fi, l] * base[j, l]
                left[d, p] = fq * base[qo, l] * base[j, l]
            for r in range(rank):
                x = r * n_seen + v
                for p in range(width):
                    l = from_lane + p  # noqa: E741
                    right[d, p] += 2.0 * base[at_bk + r, l] * right[x, p]
                    left[d, p] += base[at_wq + r, l] * right[x, p]
            for p in range(width):
                l = from_lane + p  # noqa: E741
                left[d, p] = 2.0 * base[at_g + 1, l] * left[d, p] + base[at_g + 2, l] * right[d, p]
        for r in range(rank):
            x = r * n_seen + v
            if not inner and j == n_in + r:
                for p in range(width):
                    g = base[at_g, from_lane + p] if curved else 1.0
                    left[x, p] = 2.0 * g * base[at_q + i - b, from_lane + p]
            else:
                for p in range(width):
                    left[x, p] = 0.0
            if not curved:
                continue
            for c in range(rank):
                w = 2.0 * s[n_in + r, n_in + c]
                y = c * n_seen + v
                for p in range(width):
                    l = from_lane + p  # noqa: E741
                    left[x, p] += w * base[at_g + 1, l] * base[at_g + 3, l] * right[y, p]
            if inner:
                # both ends of a pair (i, j), once if they are the same
                for end in range(1 if i == j else 2):
                    here, other = (j, i) if end == 0 else (i, j)
                    if here == n_in + r:
                        for p in range(width):
                            l = from_lane + p  # noqa: E741
                            left[x, p] += (
                                4.0 * base[at_g + 1, l] * base[at_g + 3, l] * base[other, l]
                            )
        for o in range(n_out):
            y = at_y + o * n_seen + v
            seen = i == b + rank + o
            for p in range(width):
                right[y, p] = base[j, from_lane + p] if seen else 0.0
            for r in range(rank):
                w = s[b + rank + o, n_in + r]
                x = r * n_seen + v
                for p in range(width):
                    right[y, p] += w * right[x, p]
            if curved:
                for p in range(width):
                    l = from_lane + p  # noqa: E741
                    right[y, p] = (
                        base[at_g, l] * right[y, p]
                        + base[at_g + 1, l] * base[b + rank + o, l] * right[d, p]
                    )
    n_bins, t0 = width // n_trials, from_lane // n_trials
    if not direct:
        for v in range(n_seen):
            for t in range(n_bins):
                for o in range(n_out):
                    for c in range(n_out):
                        f = smoothing[o, c]
                        for q in range(n_trials):
                            old = (
                                right[at_y + c * n_seen + v, (t - 1) * n_trials + q]
                                if t > 0
                                else carry[c * n_seen + v, q]
                            )
                            right[at_y + o * n_seen + v, t * n_trials + q] += f * old
            for o in range(n_out):
                for q in range(n_trials):
                    carry[o * n_seen + v, q] = right[
                        at_y + o * n_seen + v, (n_bins - 1) * n_trials + q
                    ]
    for o in range(n_out):
        for v in range(n_seen):
            y = at_y + o * n_seen + v
            for t in range(n_bins):
                for q in range(n_trials):
                    left[y, t * n_trials + q] = (
                        2.0 * weights[t0 + t, o, q] * right[y, t * n_trials + q]
                    )


@compiled(error_model="numpy")
def hessian_kernel(
    s: np.ndarray,
    sizes: tuple[int, int, int],
    shown: Shown,
    rows: np.ndarray,
    cols: np.ndarray,
    work: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray],
    hess: np.ndarray,
) -> None:
    """Fill `hess`, (n_seen, n_seen), with the Hessian of the loss over visible overlaps.

    Overlap v is S[rows[v], cols[v]], a pair counted as one variable; `work` is that of
    `hessian_work`.
    """
    n_in, rank, n_out = sizes
    a, gain, km, judging = shown
    base, left, right, outputs = work
    n_steps, _, n_trials = km.shape
    n_seen = rows.size
    curved = gain.size > 0
    _base(s, sizes, shown, base, outputs)
    for v in range(n_seen):
        for w in range(n_seen):
            hess[v, w] = 0.0
    carry = np.zeros((n_out * n_seen, n_trials))
    for x in range(rank * n_seen):
        for p in range(n_trials):
            right[x, p] = 0.0
    bins = _stretch(n_steps, n_trials)
    for t in range(0, n_steps, bins):
        lane, width = t * n_trials, min(bins, n_steps - t) * n_trials
        _tangents(n_in, rank, n_trials, a, curved, rows, cols, base, lane, width, right)
        _features(
            s, sizes, n_trials, curved, judging, rows, cols, base, lane, width, left, right, carry
        )
        for f in range(rank + 1 + n_out):
            if f != rank or curved:
                _gram(left, right, f * n_seen, n_seen, np.uintp(width), hess)
        for x in range(rank * n_seen):
            for p in range(n_trials):
                right[x, p] = right[x, width + p]
    for v in range(n_seen):
        for w in range(v + 1):
            mean = 0.5 * (hess[v, w] + hess[w, v])
            hess[v, w] = mean
            hess[w, v] = mean
