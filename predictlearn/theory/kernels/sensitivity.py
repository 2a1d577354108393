"""Compiled pieces of an epoch that carries the slopes of the overlaps along."""

from __future__ import annotations

import numpy as np

from predictlearn.compiled import FAST, compiled
from predictlearn.theory.kernels.arguments import Step, Tangents

__all__ = ["keep_slopes", "move_slopes", "moving_entries"]


@compiled()
def moving_entries(
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
def move_slopes(
    joint: np.ndarray,
    move: np.ndarray,
    step: Step,
    eta: float,
    along: Tangents,
    at_row: np.ndarray,
    at_col: np.ndarray,
    hess: np.ndarray,
    room: tuple[np.ndarray, np.ndarray],
    scratch: np.ndarray,
) -> None:
    """Move the slopes, (3, D, D, P), of the joint overlaps by one step, `move` = B - 1.

    What is carried, if anything, is P of Theta(now) = Theta(start) P and its slopes, which move
    too. `at_row` and `at_col` are those of `moving_entries`; `room` is scratch space, a row of P
    for each of them, and (2, D, D, 1 + P).
    """
    momentum, columns, (de, work) = step.momentum, step.columns, room
    slopes, carried, pathway = along.moving, along.carried, along.pathway
    rows, cols = along.rows, along.cols
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
                de[x, p] += move[at_row[x], at_col[x]]
    if carried.shape[2] > 0:
        for i in range(n):
            for j in range(n):
                for p in range(lanes + one):
                    work[0, i, j, p] = 0.0
        for x in range(n_moving):
            k, j = at_row[x], at_col[x]
            if k < n:
                f = move[k, j]
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
                total += joint[0, i, k] * move[k, j]
            scratch[0, i, j] = total
            for p in range(lanes):
                work[0, i, j, p] = 0.0
        for j in range(i + 1):
            for p in range(lanes):
                work[1, i, j, p] = 0.0
    for x in range(n_moving):
        k, j = at_row[x], at_col[x]
        if k < n:
            f = move[k, j]
            for i in range(n):
                g = joint[0, i, k]
                for p in range(lanes):
                    work[0, i, j, p] += f * slopes[0, i, k, p] + g * de[x, p]
    for x in range(n_moving):
        k, i = at_row[x], at_col[x]
        if k < n:
            f = move[k, i]
            for j in range(i + 1):
                g = scratch[0, k, j]
                for p in range(lanes):
                    work[1, i, j, p] += f * work[0, k, j, p] + g * de[x, p]
    if momentum > 0.0:
        for x in range(n_moving):
            k, i = at_row[x], at_col[x]
            if k < n:
                f = momentum * move[k, i]
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
def keep_slopes(along: Tangents, grad: np.ndarray, row: int) -> None:
    """Copy the slopes, what is carried, and the slopes of the loss to a row of what is kept."""
    n, n_slopes = grad.shape[0], along.moving.shape[3]
    for i in range(n):
        for j in range(n):
            for p in range(n_slopes):
                along.kept[row, i, j, p] = along.moving[0, i, j, p]
            for p in range(along.carried.shape[2]):
                along.kept_carried[row, i, j, p] = along.carried[i, j, p]
    for p in range(n_slopes):
        total = 0.0
        for v in range(along.rows.size):
            i, j = along.rows[v], along.cols[v]
            # A_ii is twice the derivative by S_ii
            total += grad[i, j] * along.moving[0, i, j, p] * (0.5 if i == j else 1.0)
        along.kept_loss[row, p] = total
