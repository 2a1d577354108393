"""Compiled loop over epochs that carries the slopes of the overlaps along."""

from __future__ import annotations

import numpy as np

from predictlearn.compiled import FAST, compiled
from predictlearn.theory.kernels.descent import congruence
from predictlearn.theory.kernels.hessian import hessian_kernel, hessian_work
from predictlearn.theory.kernels.impulse import impulse_loss_and_derivative, impulse_work
from predictlearn.theory.kernels.impulse_rank_one import single_hessian
from predictlearn.theory.kernels.rollout import loss_and_derivative_kernel

__all__ = ["sensitive_epochs"]


@compiled()
def _moving_entries(
    n: int, rows: np.ndarray, cols: np.ndarray, decay: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Return row and column of every entry of B - 1 that can be other than zero.

    Pairs seen come first, in their order: for pair v, (i, j) is entry 2 v and (j, i) the next; for
    a diagonal one both are the same entry and the second is left out by its row, n.
    """
    at_row, at_col = np.empty(2 * rows.size + n, np.intp), np.empty(2 * rows.size + n, np.intp)
    used = 2 * rows.size
    for v in range(rows.size):
        i, j = rows[v], cols[v]
        at_row[2 * v], at_col[2 * v] = i, j
        at_row[2 * v + 1], at_col[2 * v + 1] = (n if i == j else j), i
    for i in range(n):
        seen = False
        for v in range(rows.size):
            seen = seen or (rows[v] == i and cols[v] == i)
        if decay and not seen:
            at_row[used] = at_col[used] = i
            used += 1
    return at_row[:used].copy(), at_col[:used].copy()


@compiled(fastmath=FAST, error_model="numpy")
def _move_slopes(
    joint: np.ndarray,
    step: np.ndarray,
    momentum: float,
    eta: float,
    columns: np.ndarray,
    pathway: np.ndarray,
    rows: np.ndarray,
    cols: np.ndarray,
    at_row: np.ndarray,
    at_col: np.ndarray,
    hess: np.ndarray,
    slopes: np.ndarray,
    carried: np.ndarray,
    de: np.ndarray,
    work: np.ndarray,
    scratch: np.ndarray,
) -> None:
    """Move the slopes, (3, D, D, P), of the joint overlaps by one step; see `steps.congruence`.

    `carried`, if not empty, (D, D, 1 + P), holds P of Theta(now) = Theta(start) P and its slopes,
    which move too. `at_row` and `at_col` are those of `_moving_entries`, `de` has a row of P for
    each of them, `work` is (2, D, D, 1 + P).
    """
    n, n_seen, n_moving = joint.shape[1], rows.size, at_row.size
    # unsigned, so that no index is taken for one from the end
    one, lanes = np.uintp(1), np.uintp(slopes.shape[3])
    for v in range(n_seen):
        i, j = rows[v], cols[v]
        for p in range(lanes):
            de[2 * v, p] = 0.0
        for w in range(n_seen):
            k, l = rows[w], cols[w]  # noqa: E741
            # A_ii is twice the derivative by S_ii
            f = -eta * hess[v, w] * (2.0 if i == j else 1.0)
            for p in range(lanes):
                de[2 * v, p] += f * slopes[0, k, l, p]
        f, g = columns[j], columns[i]
        for p in range(lanes):
            de[2 * v + 1, p] = g * de[2 * v, p]
            de[2 * v, p] *= f
    for x in range(2 * n_seen, n_moving):
        for p in range(lanes):
            de[x, p] = 0.0
    if lanes > 0:
        for x in range(n_moving):
            if at_row[x] < n:
                # the last four slopes are those by the logarithm of a pathway's rate
                p = slopes.shape[3] - 4 + pathway[at_col[x]]
                de[x, p] += step[at_row[x], at_col[x]]
    if carried.shape[2] > 0:
        for i in range(n):
            for j in range(n):
                for p in range(lanes + one):
                    work[0, i, j, p] = 0.0
        for x in range(n_moving):
            k, j = at_row[x], at_col[x]
            if k < n:
                f = step[k, j]
                for i in range(n):
                    g = carried[i, k, 0]
                    work[0, i, j, 0] += f * g
                    for p in range(lanes):
                        work[0, i, j, one + p] += f * carried[i, k, one + p] + g * de[x, p]
        for i in range(n):
            for j in range(n):
                for p in range(lanes + one):
                    carried[i, j, p] += work[0, i, j, p]
    # work[0] = d(S E), work[1] = d(E' S E), of which one triangle, with E = B - 1
    for i in range(n):
        for j in range(n):
            total = 0.0
            for k in range(n):
                total += joint[0, i, k] * step[k, j]
            scratch[0, i, j] = total
            for p in range(lanes):
                work[0, i, j, p] = 0.0
        for j in range(i + 1):
            for p in range(lanes):
                work[1, i, j, p] = 0.0
    for x in range(n_moving):
        k, j = at_row[x], at_col[x]
        if k < n:
            f = step[k, j]
            for i in range(n):
                g = joint[0, i, k]
                for p in range(lanes):
                    work[0, i, j, p] += f * slopes[0, i, k, p] + g * de[x, p]
    for x in range(n_moving):
        k, i = at_row[x], at_col[x]
        if k < n:
            f = step[k, i]
            for j in range(i + 1):
                g = scratch[0, k, j]
                for p in range(lanes):
                    work[1, i, j, p] += f * work[0, k, j, p] + g * de[x, p]
    if momentum > 0.0:
        for x in range(n_moving):
            k, i = at_row[x], at_col[x]
            if k < n:
                f = momentum * step[k, i]
                for j in range(n):
                    g = momentum * joint[1, k, j]
                    low, high = min(i, j), max(i, j)
                    # once as E' C, once as its transpose: both where they are the same entry
                    times = 2.0 if i == j else 1.0
                    for p in range(lanes):
                        work[1, high, low, p] += times * (f * slopes[1, k, j, p] + g * de[x, p])
        for i in range(n):
            for j in range(i + 1):
                for p in range(lanes):
                    work[1, i, j, p] += momentum * momentum * slopes[2, i, j, p]
                    slopes[0, i, j, p] += momentum * (slopes[1, i, j, p] + slopes[1, j, i, p])
        for i in range(n):
            for j in range(n):
                low, high = min(i, j), max(i, j)
                for p in range(lanes):
                    both = work[1, high, low, p]
                    slopes[1, i, j, p] = work[0, i, j, p] + momentum * slopes[1, i, j, p] + both
                    slopes[2, i, j, p] = both
    for i in range(n):
        for j in range(i + 1):
            for p in range(lanes):
                moved = work[0, i, j, p] + work[0, j, i, p] + work[1, i, j, p]
                slopes[0, i, j, p] += moved
                slopes[0, j, i, p] = slopes[0, i, j, p]


@compiled()
def sensitive_epochs(
    joint: np.ndarray,
    slopes: np.ndarray,
    carried: np.ndarray,
    n_in: int,
    rank: int,
    n_out: int,
    n_epochs: int,
    first_epoch: int,
    rate: float,
    multipliers: np.ndarray,
    drop_factor: float,
    drop_below: float,
    dropped: bool,
    columns: np.ndarray,
    pathway: np.ndarray,
    momentum: float,
    decay: float,
    synaptic: float,
    limit: float,
    a: float,
    gain: np.ndarray,
    km: np.ndarray,
    targets: np.ndarray,
    weights: np.ndarray,
    noise: np.ndarray,
    offset: np.ndarray,
    smoothing: np.ndarray,
    direct: bool,
    impulse_first: np.ndarray,
    impulse_step: np.ndarray,
    impulse_read: np.ndarray,
    impulse_weights: np.ndarray,
    n_steps: int,
    buffer: np.ndarray,
    rows: np.ndarray,
    cols: np.ndarray,
    row_of: np.ndarray,
    kept: np.ndarray,
    kept_slopes: np.ndarray,
    kept_carried: np.ndarray,
    losses: np.ndarray,
    loss_slopes: np.ndarray,
) -> tuple[int, float, bool]:
    """Run epochs of descent with slopes; return updates made, the last loss, if the rate dropped.

    Before the update of epoch e, where row = row_of[e] is not negative, overlaps, slopes, what is
    carried (see `_move_slopes`), loss and its slopes go to that row. Fewer updates than epochs: the
    loss was above `limit` or no number.
    """
    n, n_slopes, n_seen = joint.shape[1], slopes.shape[3], rows.size
    grad, step = np.empty((n, n)), np.empty((n, n))
    scratch = np.empty((2, n, n))
    hess = np.empty((n_seen, n_seen))
    closed = impulse_first.shape[0] > 0
    closed_work = impulse_work(impulse_first, n_steps)
    work = hessian_work(km.shape[0], km.shape[2], n_in, rank, n_out, n_seen)
    at_row, at_col = _moving_entries(n, rows, cols, decay > 0.0)
    de, slope_work = np.empty((at_row.size, n_slopes)), np.empty((2, n, n, 1 + n_slopes))
    value = 0.0
    for e in range(n_epochs):
        epoch = first_epoch + e
        if closed:
            value = impulse_loss_and_derivative(
                joint[0], n_in, rank, n_out, a, impulse_first, impulse_step, impulse_read,
                impulse_weights, n_steps, closed_work, grad,
            )  # fmt: skip
        else:
            value = loss_and_derivative_kernel(
                joint[0], n_in, rank, n_out, a, gain, km, targets, weights, noise, offset,
                smoothing, direct, buffer, grad,
            )  # fmt: skip
        if not value <= limit:
            return e, value, dropped
        row = row_of[epoch]
        if row >= 0:
            losses[row] = value
            for i in range(n):
                for j in range(n):
                    kept[row, i, j] = joint[0, i, j]
                    for p in range(n_slopes):
                        kept_slopes[row, i, j, p] = slopes[0, i, j, p]
                    for p in range(carried.shape[2]):
                        kept_carried[row, i, j, p] = carried[i, j, p]
            for p in range(n_slopes):
                total = 0.0
                for v in range(n_seen):
                    i, j = rows[v], cols[v]
                    # A_ii is twice the derivative by S_ii
                    total += grad[i, j] * slopes[0, i, j, p] * (0.5 if i == j else 1.0)
                loss_slopes[row, p] = total
        eta = rate * multipliers[epoch]
        if dropped:
            eta /= drop_factor
        elif value < drop_below:
            # from the next update on
            dropped = True
        for i in range(n):
            for j in range(n):
                step[i, j] = -eta * (grad[i, j] + (decay if i == j else 0.0)) * columns[j]
        if n_slopes > 0 and not single_hessian(
            joint[0], n_in, rank, n_out, a, impulse_first, impulse_step, impulse_read,
            impulse_weights, n_steps, hess,
        ):  # fmt: skip
            hessian_kernel(
                joint[0], n_in, rank, n_out, a, gain, km, targets, weights, noise, offset,
                smoothing, direct, rows, cols, work, hess,
            )  # fmt: skip
        _move_slopes(
            joint, step, momentum, eta, columns, pathway, rows, cols, at_row, at_col, hess, slopes,
            carried, de, slope_work, scratch,
        )  # fmt: skip
        congruence(joint, step, momentum, False, scratch)
        if synaptic > 0.0:
            for i in range(n):
                if columns[i] > 0.0:
                    joint[0, i, i] += synaptic * synaptic
    return n_epochs, value, dropped
