"""Many networks at a time on the same few trials: one input, rank one and one output.

The equations are those of `rollout`. With one trial there is nothing to vectorise over but the
networks, so they are innermost, and one trial is run after another. Every sum is taken by a
network alone, in the order of bins and trials, and no operation may be merged with another or
moved (no fastmath): so a network's numbers are the same, bit for bit, whatever networks are beside
it, and however many. The loops release the lock, so that threads can share them.
"""

from __future__ import annotations

import math

import numpy as np

from predictlearn.compiled import compiled
from predictlearn.theory.kernels.arguments import Judging, Record, Shown, Span, Step
from predictlearn.theory.kernels.descent import RUNNING, fill_move, make_move, settled

__all__ = ["TOGETHER", "descend_many", "many_buffer"]

# Networks in a block: what it keeps of 400 bins then fits in the second-level cache.
TOGETHER = 32
_HALF_PI = math.pi / 2
_LOOPS = {"error_model": "numpy", "nogil": True}
# Rows of `own`, by network: seven overlaps, the derivatives by them, the adjoint and the loss.
_MM, _MU, _UU, _VM, _VU, _ZM, _ZU = range(7)
_BY, _ADJOINT, _LOSS = 7, 14, 15
_ROWS = 16


def many_buffer(n_steps: int, width: int) -> np.ndarray:
    """Return scratch space of a block: activity, gain and outputs by bin, and the rows of `own`."""
    return np.empty((3 * n_steps + 1 + _ROWS, width))


@compiled(**_LOOPS)
def _forward(
    own: np.ndarray,
    shown: Shown,
    trial: int,
    ku: np.ndarray,
    g: np.ndarray,
    y: np.ndarray,
) -> None:
    """Roll out one trial: fill ku, y and, where there is one, the gain g, each (time, networks)."""
    a, km, curved = shown.a, shown.km, shown.gain.size == 1
    width = own.shape[1]
    keep = 1.0 - a
    for i in range(width):
        ku[0, i] = 0.0
    for t in range(km.shape[0]):
        k = km[t, 0, trial]
        if curved:
            for i in range(width):
                u = ku[t, i]
                delta = own[_MM, i] * k * k + (2.0 * own[_MU, i] * k + own[_UU, i] * u) * u
                r = 1.0 / math.sqrt(1.0 + _HALF_PI * delta)
                g[t, i] = r
                y[t, i] = r * (own[_ZM, i] * k + own[_ZU, i] * u)
                ku[t + 1, i] = keep * u + a * (r * (own[_VM, i] * k + own[_VU, i] * u))
        else:
            for i in range(width):
                u = ku[t, i]
                y[t, i] = own[_ZM, i] * k + own[_ZU, i] * u
                ku[t + 1, i] = keep * u + a * (own[_VM, i] * k + own[_VU, i] * u)


@compiled(**_LOOPS)
def _judge(own: np.ndarray, judging: Judging, trial: int, y: np.ndarray) -> None:
    """Turn outputs into the derivative of the loss by them, and add to the loss."""
    targets, weights = judging.targets, judging.weights
    width, n_steps = own.shape[1], targets.shape[0]
    offset, smoothing, direct = judging.offset[0], judging.smoothing[0, 0], judging.direct
    if not direct:
        for t in range(n_steps):
            for i in range(width):
                y[t, i] += offset
            if t > 0:
                for i in range(width):
                    y[t, i] += smoothing * y[t - 1, i]
    for t in range(n_steps):
        target, weight = targets[t, 0, trial], weights[t, 0, trial]
        for i in range(width):
            error = y[t, i] - target
            weighted = weight * error
            own[_LOSS, i] += weighted * error
            y[t, i] = 2.0 * weighted
    if not direct:
        for t in range(n_steps - 2, -1, -1):
            for i in range(width):
                y[t, i] += smoothing * y[t + 1, i]


@compiled(**_LOOPS)
def _adjoint(
    own: np.ndarray,
    shown: Shown,
    trial: int,
    ku: np.ndarray,
    g: np.ndarray,
    e: np.ndarray,
) -> None:
    """Run one trial backwards and add its share to the derivatives."""
    a, km, curved = shown.a, shown.km, shown.gain.size == 1
    width = own.shape[1]
    keep = 1.0 - a
    for i in range(width):
        own[_ADJOINT, i] = 0.0
    for t in range(km.shape[0] - 1, -1, -1):
        k = km[t, 0, trial]
        if curved:
            for i in range(width):
                u, r = ku[t, i], g[t, i]
                vm, vu, zm, zu = own[_VM, i], own[_VU, i], own[_ZM, i], own[_ZU, i]
                q_v, q_z = a * own[_ADJOINT, i], e[t, i]
                # 2 s_t = 2 g'(Delta) (q . c), with g' = -(pi / 4) g^3
                dot = q_v * (vm * k + vu * u) + q_z * (zm * k + zu * u)
                twice = -_HALF_PI * r * r * r * dot
                q_v *= r
                q_z *= r
                s_k = twice * k
                s_u = twice * u
                own[_BY + _MM, i] += s_k * k
                own[_BY + _MU, i] += s_k * u
                own[_BY + _UU, i] += s_u * u
                own[_BY + _VM, i] += q_v * k
                own[_BY + _VU, i] += q_v * u
                own[_BY + _ZM, i] += q_z * k
                own[_BY + _ZU, i] += q_z * u
                own[_ADJOINT, i] = (
                    keep * own[_ADJOINT, i]
                    + (vu * q_v + zu * q_z)
                    + (own[_MU, i] * s_k + own[_UU, i] * s_u)
                )
        else:
            for i in range(width):
                u = ku[t, i]
                q_v, q_z = a * own[_ADJOINT, i], e[t, i]
                own[_BY + _VM, i] += q_v * k
                own[_BY + _VU, i] += q_v * u
                own[_BY + _ZM, i] += q_z * k
                own[_BY + _ZU, i] += q_z * u
                own[_ADJOINT, i] = keep * own[_ADJOINT, i] + (own[_VU, i] * q_v + own[_ZU, i] * q_z)


@compiled(**_LOOPS)
def _begin(joints: np.ndarray, own: np.ndarray) -> None:
    """Fill `own` with the overlaps of all networks, and their sums with zeros."""
    for i in range(joints.shape[0]):
        own[_MM, i], own[_MU, i] = joints[i, 0, 0, 0], joints[i, 0, 1, 0]
        own[_UU, i] = joints[i, 0, 1, 1]
        own[_VM, i], own[_VU, i] = joints[i, 0, 2, 0], joints[i, 0, 2, 1]
        own[_ZM, i], own[_ZU, i] = joints[i, 0, 3, 0], joints[i, 0, 3, 1]
        for r in range(_BY, _ROWS):
            own[r, i] = 0.0


@compiled(**_LOOPS)
def descend_many(
    joints: np.ndarray,
    span: Span,
    step: Step,
    record: Record,
    shown: Shown,
    buffer: np.ndarray,
    dropped: np.ndarray,
    ran: np.ndarray,
    why: np.ndarray,
) -> None:
    """Run epochs of a block of networks, as `kernels.epochs` does those of one.

    joints (networks, 3, 4, 4); limits, losses and what is kept have one row a network, and so have
    `dropped`, `ran`, where its epochs end, and `why`; those that have ended before are left as they
    are.
    """
    width, n_steps = joints.shape[0], shown.km.shape[0]
    ku, g = buffer[: n_steps + 1], buffer[n_steps + 1 : 2 * n_steps + 1]
    y, own = buffer[2 * n_steps + 1 : 3 * n_steps + 1], buffer[3 * n_steps + 1 :]
    grad, move, scratch = np.zeros((4, 4)), np.empty((4, 4)), np.empty((2, 4, 4))
    for i in range(width):
        ran[i] = span.n_epochs
    for e in range(span.n_epochs):
        epoch = span.first + e
        row = record.row_of[epoch]
        left = 0
        for i in range(width):
            if why[i] == RUNNING:
                left += 1
        if left == 0:
            return
        _begin(joints, own)
        for trial in range(shown.km.shape[2]):
            _forward(own, shown, trial, ku, g, y)
            _judge(own, shown.judging, trial, y)
            _adjoint(own, shown, trial, ku, g, y)
        for i in range(width):
            if why[i] != RUNNING:
                continue
            joint = joints[i]
            if row >= 0:
                for r in range(4):
                    for c in range(4):
                        record.kept[i, row, r, c] = joint[0, r, c]
            value = own[_LOSS, i]
            record.losses[i, epoch] = value
            why[i], eta, dropped[i] = settled(
                step, record.limit[i], record.goal, epoch, value, dropped[i]
            )
            if why[i] != RUNNING:
                ran[i] = e
                continue
            grad[0, 0], grad[1, 1] = own[_BY + _MM, i], own[_BY + _UU, i]
            grad[0, 1] = grad[1, 0] = own[_BY + _MU, i]
            grad[2, 0] = grad[0, 2] = own[_BY + _VM, i]
            grad[2, 1] = grad[1, 2] = own[_BY + _VU, i]
            grad[3, 0] = grad[0, 3] = own[_BY + _ZM, i]
            grad[3, 1] = grad[1, 3] = own[_BY + _ZU, i]
            fill_move(grad, eta, step, move)
            make_move(joint, move, step, scratch)
