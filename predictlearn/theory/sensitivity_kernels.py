"""Compiled loop over epochs that carries the slopes of the overlaps along."""

from __future__ import annotations

import numpy as np
from numba import njit

from predictlearn.theory import hessian_kernels, impulse, kernels, steps
from predictlearn.theory.compiled import forget_stale
from predictlearn.theory.hessian_kernels import hessian_kernel, hessian_work
from predictlearn.theory.impulse import impulse_loss_and_derivative, impulse_work
from predictlearn.theory.kernels import loss_and_derivative_kernel
from predictlearn.theory.steps import congruence

__all__ = ["sensitive_epochs"]

forget_stale(__file__, hessian_kernels.__file__, impulse.__file__, kernels.__file__, steps.__file__)

_FAST = {"contract", "reassoc", "nsz"}


@njit(cache=True, fastmath=_FAST, error_model="numpy")
def _move_slopes(
    joint: np.ndarray,
    step: np.ndarray,
    momentum: float,
    eta: float,
    columns: np.ndarray,
    pathway: np.ndarray,
    rows: np.ndarray,
    cols: np.ndarray,
    hess: np.ndarray,
    slopes: np.ndarray,
    carried: np.ndarray,
    scratch: np.ndarray,
) -> None:
    """Move the slopes, (P, 3, D, D), of the joint overlaps by one step; see `steps.congruence`.

    `carried`, if not empty, (1 + P, D, D), holds P of Theta(now) = Theta(start) P and its slopes,
    which move too.
    """
    s, c = joint[0], joint[1]
    n, n_seen = s.shape[0], rows.size
    n_slopes = slopes.shape[0]
    se, de, t1, t2 = scratch[0], scratch[1], scratch[2], scratch[3]
    for i in range(n):
        for j in range(n):
            total = 0.0
            for k in range(n):
                total += s[i, k] * step[k, j]
            se[i, j] = total
    for p in range(n_slopes):
        for i in range(n):
            for j in range(n):
                # the last four slopes are those by the logarithm of a pathway's rate
                de[i, j] = step[i, j] if pathway[j] == p - (n_slopes - 4) else 0.0
        for v in range(n_seen):
            total = 0.0
            for w in range(n_seen):
                total += hess[v, w] * slopes[p, 0, rows[w], cols[w]]
            i, j = rows[v], cols[v]
            if i == j:
                # A_ii is twice the derivative by S_ii
                de[i, i] -= 2.0 * eta * total * columns[i]
            else:
                de[i, j] -= eta * total * columns[j]
                de[j, i] -= eta * total * columns[i]
        if carried.shape[0] > 0:
            for i in range(n):
                for j in range(n):
                    total = 0.0
                    for k in range(n):
                        total += carried[1 + p, i, k] * step[k, j] + carried[0, i, k] * de[k, j]
                    t1[i, j] = total
            for i in range(n):
                for j in range(n):
                    carried[1 + p, i, j] += t1[i, j]
        # t1 = d(S E), t2 = d(E' S E) with E = B - 1
        for i in range(n):
            for j in range(n):
                total = 0.0
                for k in range(n):
                    total += slopes[p, 0, i, k] * step[k, j] + s[i, k] * de[k, j]
                t1[i, j] = total
        for i in range(n):
            for j in range(n):
                total = 0.0
                for k in range(n):
                    total += step[k, i] * t1[k, j] + de[k, i] * se[k, j]
                t2[i, j] = total
        if momentum > 0.0:
            for i in range(n):
                for j in range(n):
                    total = 0.0
                    for k in range(n):
                        total += (
                            de[k, i] * c[k, j]
                            + step[k, i] * slopes[p, 1, k, j]
                            + de[k, j] * c[k, i]
                            + step[k, j] * slopes[p, 1, k, i]
                        )
                    t2[i, j] += momentum * total + momentum * momentum * slopes[p, 2, i, j]
        for i in range(n):
            for j in range(i + 1):
                new = slopes[p, 0, i, j] + t1[i, j] + t1[j, i] + 0.5 * (t2[i, j] + t2[j, i])
                if momentum > 0.0:
                    new += momentum * (slopes[p, 1, i, j] + slopes[p, 1, j, i])
                slopes[p, 0, i, j] = new
                slopes[p, 0, j, i] = new
        if momentum > 0.0:
            for i in range(n):
                for j in range(n):
                    slopes[p, 1, i, j] = t1[i, j] + momentum * slopes[p, 1, i, j] + t2[i, j]
                    slopes[p, 2, i, j] = t2[i, j]
    if carried.shape[0] > 0:
        for i in range(n):
            for j in range(n):
                total = 0.0
                for k in range(n):
                    total += carried[0, i, k] * step[k, j]
                t1[i, j] = total
        for i in range(n):
            for j in range(n):
                carried[0, i, j] += t1[i, j]


@njit(cache=True)
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
    n, n_slopes, n_seen = joint.shape[1], slopes.shape[0], rows.size
    grad, step = np.empty((n, n)), np.empty((n, n))
    scratch = np.empty((4, n, n))
    hess = np.empty((n_seen, n_seen))
    closed = impulse_first.shape[0] > 0
    closed_work = impulse_work(impulse_first, n_steps)
    work = hessian_work(km.shape[0], km.shape[2], n_in, rank, n_out, n_seen)
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
                        kept_slopes[row, i, j, p] = slopes[p, 0, i, j]
                    for p in range(carried.shape[0]):
                        kept_carried[row, i, j, p] = carried[p, i, j]
            for p in range(n_slopes):
                total = 0.0
                for v in range(n_seen):
                    i, j = rows[v], cols[v]
                    # A_ii is twice the derivative by S_ii
                    total += grad[i, j] * slopes[p, 0, i, j] * (0.5 if i == j else 1.0)
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
        if n_slopes > 0:
            hessian_kernel(
                joint[0], n_in, rank, n_out, a, gain, km, targets, weights, noise, offset,
                smoothing, direct, rows, cols, work, hess,
            )  # fmt: skip
        _move_slopes(
            joint, step, momentum, eta, columns, pathway, rows, cols, hess, slopes, carried, scratch
        )
        congruence(joint, step, momentum, False, scratch)
        if synaptic > 0.0:
            for i in range(n):
                if columns[i] > 0.0:
                    joint[0, i, i] += synaptic * synaptic
    return n_epochs, value, dropped
