"""Compiled epochs: the congruence S <- B' S B, with the loop over epochs inside."""

from __future__ import annotations

from typing import Any

import numpy as np

from predictlearn.compiled import compiled
from predictlearn.theory.kernels.impulse import impulse_loss_and_derivative, impulse_work
from predictlearn.theory.kernels.rollout import (
    loss_and_derivative_kernel,
    single_loss_and_derivative,
)

__all__ = [
    "CONGRUENCE",
    "DESCEND",
    "DIRECT",
    "DIVERGED",
    "FIRST_ORDER",
    "REACHED",
    "RUNNING",
    "congruence",
    "draw_noise",
]


# How the overlaps move in an epoch.
CONGRUENCE, FIRST_ORDER, DIRECT = 0, 1, 2
# Why a run of epochs ended.
RUNNING, DIVERGED, REACHED = 0, 1, 2


@compiled()
def _product(
    joint: np.ndarray, block: int, step: np.ndarray, transpose: bool, out: np.ndarray, part: int
) -> None:
    """Fill out[part] with joint[block] step or step' joint[block]; too small for BLAS to pay."""
    n = step.shape[0]
    for i in range(n):
        for j in range(n):
            total = 0.0
            for k in range(n):
                if transpose:
                    total += step[k, i] * joint[block, k, j]
                else:
                    total += joint[block, i, k] * step[k, j]
            out[part, i, j] = total


@compiled()
def draw_noise(noise: np.ndarray, sd: float, rng: np.random.Generator) -> None:
    """Fill noise, (time, n_out, trials), with normal numbers."""
    for t in range(noise.shape[0]):
        for o in range(noise.shape[1]):
            for p in range(noise.shape[2]):
                noise[t, o, p] = sd * rng.standard_normal()


@compiled()
def congruence(
    joint: np.ndarray, step: np.ndarray, momentum: float, first_order: bool, scratch: np.ndarray
) -> None:
    """Move the joint overlaps of (Theta, V) by one step; `step` is B - 1.

    `joint` holds S = Theta'Theta/N, C = Theta'V/N and V'V/N. Theta' = Theta B + mu V and
    V' = Theta (B - 1) + mu V. The first-order update leaves (B - 1)' S (B - 1) out.
    """
    n = joint.shape[1]
    # no views of these arrays: each would count references
    _product(joint, 0, step, False, scratch, 0)
    if first_order:
        for i in range(n):
            for j in range(i + 1):
                new = joint[0, i, j] + scratch[0, i, j] + scratch[0, j, i]
                joint[0, i, j] = new
                joint[0, j, i] = new
        return
    # one triangle is computed and mirrored; (B - 1)' S (B - 1) is summed where it is needed
    if momentum == 0.0:
        for i in range(n):
            for j in range(i + 1):
                ese = 0.0
                for k in range(n):
                    ese += step[k, i] * scratch[0, k, j]
                new = joint[0, i, j] + scratch[0, i, j] + scratch[0, j, i] + ese
                joint[0, i, j] = new
                joint[0, j, i] = new
        return
    _product(joint, 1, step, True, scratch, 1)
    for i in range(n):
        for j in range(i + 1):
            ese = 0.0
            for k in range(n):
                ese += step[k, i] * scratch[0, k, j]
            # V' V' / N, shared by all three blocks
            moved = (
                ese
                + momentum * (scratch[1, i, j] + scratch[1, j, i])
                + momentum * momentum * joint[2, i, j]
            )
            c_ij, c_ji = joint[1, i, j], joint[1, j, i]
            new = (
                joint[0, i, j]
                + scratch[0, i, j]
                + scratch[0, j, i]
                + momentum * (c_ij + c_ji)
                + moved
            )
            joint[0, i, j] = new
            joint[0, j, i] = new
            # Theta' V' = Theta'V' with Theta' = Theta + V'
            joint[1, i, j] = scratch[0, i, j] + momentum * c_ij + moved
            joint[1, j, i] = scratch[0, j, i] + momentum * c_ji + moved
            joint[2, i, j] = moved
            joint[2, j, i] = moved


def _made(closed: bool, single: bool) -> Any:
    """Return the loop over epochs, with one of the ways to the loss compiled into it.

    numba leaves out branches that a constant of the function closes.
    """

    @compiled(nogil=True)
    def descend(
        joint: np.ndarray,
        n_in: int,
        rank: int,
        n_out: int,
        n_epochs: int,
        every: int,
        first_epoch: int,
        kind: int,
        rate: float,
        multipliers: np.ndarray,
        drop_factor: float,
        drop_below: float,
        dropped: bool,
        columns: np.ndarray,
        momentum: float,
        decay: float,
        synaptic: float,
        target_noise: float,
        rng: np.random.Generator,
        limit: float,
        goal: float,
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
        losses: np.ndarray,
        kept: np.ndarray,
    ) -> tuple[int, int, bool]:
        """Run epochs; return how many updates were made, why it ended, if the rate has dropped.

        The overlaps before epoch e go to ``kept[e // every]`` where e is a multiple of `every`,
        counted from the start of the phase; `losses` is filled for every epoch. The loss of an
        epoch above `limit` or not a number is divergence; at or below `goal` it ends the run before
        the update.
        """
        n = joint.shape[1]
        grad = np.empty((n, n))
        step = np.empty((n, n))
        scratch = np.empty((2, n, n))
        work = impulse_work(impulse_first, n_steps)
        for e in range(n_epochs):
            epoch = first_epoch + e
            if epoch % every == 0:
                # by loops: assigning a slice takes seconds to compile, for a message on shapes
                for i in range(n):
                    for j in range(n):
                        kept[epoch // every, i, j] = joint[0, i, j]
            if target_noise > 0.0:
                draw_noise(noise, target_noise, rng)
            if closed:
                value = impulse_loss_and_derivative(
                    joint[0], n_in, rank, n_out, a, impulse_first, impulse_step, impulse_read,
                    impulse_weights, n_steps, work, grad,
                )  # fmt: skip
            elif single:
                value = single_loss_and_derivative(
                    joint[0], a, gain, km, targets, weights, noise, offset, smoothing, direct,
                    buffer, grad,
                )  # fmt: skip
            else:
                value = loss_and_derivative_kernel(
                    joint[0], n_in, rank, n_out, a, gain, km, targets, weights, noise, offset,
                    smoothing, direct, buffer, grad,
                )  # fmt: skip
            losses[epoch] = value
            if not value <= limit:
                return e, DIVERGED, dropped
            if value <= goal:
                return e, REACHED, dropped
            eta = rate * multipliers[epoch]
            if dropped:
                eta /= drop_factor
            elif value < drop_below:
                # from the next update on
                dropped = True
            if kind == DIRECT:
                for i in range(n):
                    for j in range(n):
                        # A_ii is twice the derivative by S_ii
                        joint[0, i, j] -= eta * (0.5 * grad[i, j] if i == j else grad[i, j])
                continue
            for i in range(n):
                for j in range(n):
                    step[i, j] = -eta * (grad[i, j] + (decay if i == j else 0.0)) * columns[j]
            congruence(joint, step, momentum, kind == FIRST_ORDER, scratch)
            if synaptic > 0.0:
                for i in range(n):
                    if columns[i] > 0.0:
                        joint[0, i, i] += synaptic * synaptic
        return n_epochs, RUNNING, dropped

    return descend


# By (closed form of an impulse, one input, rank one and one output).
DESCEND = {
    (closed, single): _made(closed, single) for closed in (False, True) for single in (False, True)
}
