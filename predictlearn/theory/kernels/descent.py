"""Pieces of an epoch of descent: noise, the rate, how a run ends, and the step S <- B' S B.

All loops over epochs are made of these: `predictlearn.theory.kernels.epochs`, for one network or
populations, and `predictlearn.theory.kernels.many`, for networks side by side.
"""

from __future__ import annotations

import numpy as np

from predictlearn.compiled import compiled
from predictlearn.theory.kernels.arguments import Step

__all__ = [
    "CONGRUENCE",
    "DIRECT",
    "DIVERGED",
    "FIRST_ORDER",
    "REACHED",
    "RUNNING",
    "draw_noise",
    "fill_move",
    "make_move",
    "settle",
    "settled",
]


# How the overlaps move in an epoch.
CONGRUENCE, FIRST_ORDER, DIRECT = 0, 1, 2
# Why a run of epochs ended.
RUNNING, DIVERGED, REACHED = 0, 1, 2


@compiled()
def draw_noise(noise: np.ndarray, sd: float, rng: np.random.Generator) -> None:
    """Fill noise, (time, n_out, trials), with normal numbers."""
    for t in range(noise.shape[0]):
        for o in range(noise.shape[1]):
            for p in range(noise.shape[2]):
                noise[t, o, p] = sd * rng.standard_normal()


def settle(
    step: Step, limit: float, goal: float, epoch: int, loss: float, dropped: bool
) -> tuple[int, float, bool]:
    """Return how a loss ends the run, the rate of its epoch, and whether later ones are dropped."""
    if not loss <= limit:
        return DIVERGED, 0.0, dropped
    if loss <= goal:
        return REACHED, 0.0, dropped
    eta = step.rate * step.multipliers[epoch]
    if dropped:
        eta /= step.drop_factor
    elif loss < step.drop_below:
        # from the next update on
        dropped = True
    return RUNNING, eta, dropped


settled = compiled()(settle)


@compiled()
def fill_move(grad: np.ndarray, eta: float, step: Step, move: np.ndarray) -> None:
    """Fill `move` with B - 1 = -eta (A + decay) R, R the relative rates of the columns.

    Of direct descent with what is added to the overlaps themselves.
    """
    n = move.shape[0]
    for i in range(n):
        for j in range(n):
            if step.kind == DIRECT:
                # A_ii is twice the derivative by S_ii
                move[i, j] = -eta * (0.5 * grad[i, j] if i == j else grad[i, j])
            else:
                decay = step.decay if i == j else 0.0
                move[i, j] = -eta * (grad[i, j] + decay) * step.columns[j]


@compiled()
def make_move(joint: np.ndarray, move: np.ndarray, step: Step, scratch: np.ndarray) -> None:
    """Move the joint overlaps of (Theta, V) by one step; `move` is B - 1 of `fill_move`.

    `joint` holds S = Theta'Theta/N, C = Theta'V/N and V'V/N. Theta' = Theta B + mu V and
    V' = Theta (B - 1) + mu V. The first-order update leaves (B - 1)' S (B - 1) out. Synaptic noise
    adds its mean. All by loops: the matrices are too small for BLAS to pay.
    """
    n, momentum = joint.shape[1], step.momentum
    if step.kind == DIRECT:
        for i in range(n):
            for j in range(n):
                joint[0, i, j] += move[i, j]
        return
    # no views of these arrays: each would count references
    for i in range(n):
        for j in range(n):
            total = 0.0
            for k in range(n):
                total += joint[0, i, k] * move[k, j]
            scratch[0, i, j] = total
    if momentum > 0.0:
        for i in range(n):
            for j in range(n):
                total = 0.0
                for k in range(n):
                    total += move[k, i] * joint[1, k, j]
                scratch[1, i, j] = total
    # one triangle is computed and mirrored; (B - 1)' S (B - 1) is summed where it is needed
    for i in range(n):
        for j in range(i + 1):
            ese = 0.0
            if step.kind != FIRST_ORDER:
                for k in range(n):
                    ese += move[k, i] * scratch[0, k, j]
            new = joint[0, i, j] + scratch[0, i, j] + scratch[0, j, i]
            if momentum == 0.0:
                new += ese
            else:
                # V' V' / N, shared by all three blocks
                moved = (
                    ese
                    + momentum * (scratch[1, i, j] + scratch[1, j, i])
                    + momentum * momentum * joint[2, i, j]
                )
                c_ij, c_ji = joint[1, i, j], joint[1, j, i]
                new += momentum * (c_ij + c_ji)
                new += moved
                # Theta' V' = Theta'V' with Theta' = Theta + V'
                joint[1, i, j] = scratch[0, i, j] + momentum * c_ij + moved
                joint[1, j, i] = scratch[0, j, i] + momentum * c_ji + moved
                joint[2, i, j] = moved
                joint[2, j, i] = moved
            joint[0, i, j] = new
            joint[0, j, i] = new
    if step.synaptic > 0.0:
        for i in range(n):
            if step.columns[i] > 0.0:
                joint[0, i, i] += step.synaptic * step.synaptic
