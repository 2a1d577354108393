"""The compiled loop over epochs: one network or populations, with or without slopes."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from predictlearn.compiled import compiled
from predictlearn.theory.kernels.arguments import Impulse, Record, Shown, Span, Step
from predictlearn.theory.kernels.descent import (
    RUNNING,
    draw_noise,
    fill_move,
    make_move,
    settled,
)
from predictlearn.theory.kernels.hessian import hessian_kernel, hessian_work
from predictlearn.theory.kernels.impulse import compiled_work, impulse_loss_and_derivative
from predictlearn.theory.kernels.impulse_rank_one import single_hessian
from predictlearn.theory.kernels.populations import population_loss_and_derivative_kernel
from predictlearn.theory.kernels.rollout import (
    loss_and_derivative_kernel,
    single_loss_and_derivative,
)
from predictlearn.theory.kernels.sensitivity import keep_slopes, move_slopes, moving_entries

__all__ = ["ANY", "CLOSED", "EPOCHS", "POPULATIONS", "SINGLE"]

# Ways to the loss: the closed form after an impulse; one input, rank one and one output; one
# network of any sizes; populations.
CLOSED, SINGLE, ANY, POPULATIONS = range(4)


def _made(way: int, noisy: bool, sensitive: bool) -> Any:
    """Return the loop over epochs, with one of the ways to the loss compiled into it.

    numba leaves out branches that a constant of the function closes, so that each loop takes the
    time to compile, and to run, of what it does itself.
    """
    closed, single, several = way == CLOSED, way == SINGLE, way == POPULATIONS

    @compiled(nogil=True)
    def run_epochs(
        joints: np.ndarray,
        fractions: np.ndarray,
        sizes: tuple[int, int, int],
        span: Span,
        step: Step,
        record: Record,
        shown: Shown,
        impulse: Impulse,
        slopes: Any,
        buffer: np.ndarray,
        rng: np.random.Generator | None,
    ) -> tuple[int, int, bool]:
        """Run epochs; return how many updates were made, why it ended, if the rate has dropped.

        `joints`, (populations, 3, D, D), holds of each the joint overlaps of the loadings and their
        velocity; `fractions` their shares. The loss of every epoch is kept. `slopes`, `Tangents` or
        None, are kept of the epochs whose overlaps are. `rng` draws target noise, or is None.
        """
        n_groups, _, n, _ = joints.shape
        joint = joints[0]
        s, grads = np.empty((n_groups, n, n)), np.empty((n_groups, n, n))
        move, scratch = np.empty((n, n)), np.empty((2, n, n))
        overlaps, grad = joint[0], grads[0]
        dropped = span.dropped
        if closed:
            closed_work = compiled_work(impulse)
        if sensitive:
            n_seen = slopes.rows.size
            hess, work = np.empty((n_seen, n_seen)), hessian_work(shown.km, sizes, n_seen)
            at_row, at_col = moving_entries(n, slopes.rows, slopes.cols, step.decay > 0.0)
            n_slopes = slopes.moving.shape[3]
            room = np.empty((at_row.size, n_slopes)), np.empty((2, n, n, 1 + n_slopes))
        for e in range(span.n_epochs):
            epoch = span.first + e
            row = record.row_of[epoch]
            if several or row >= 0:
                # by loops: assigning a slice takes seconds to compile, for a message on shapes
                for group in range(n_groups):
                    for i in range(n):
                        for j in range(n):
                            s[group, i, j] = joints[group, 0, i, j]
                            if row >= 0:
                                record.kept[row, group, i, j] = joints[group, 0, i, j]
            if noisy:
                draw_noise(shown.judging.noise, step.target_noise, rng)
            if closed:
                value = impulse_loss_and_derivative(overlaps, sizes, impulse, closed_work, grad)
            elif single:
                value = single_loss_and_derivative(overlaps, shown, buffer, grad)
            elif several:
                value = population_loss_and_derivative_kernel(
                    s, fractions, sizes, shown, buffer, grads
                )
            else:
                value = loss_and_derivative_kernel(overlaps, sizes, shown, buffer, grad)
            record.losses[epoch] = value
            why, eta, dropped = settled(step, record.limit, record.goal, epoch, value, dropped)
            if why != RUNNING:
                return e, why, dropped
            for group in range(n_groups):
                fill_move(grads[group], eta, step, move)
                if sensitive:
                    if row >= 0:
                        keep_slopes(slopes, grad, row)
                    if n_slopes > 0 and not single_hessian(overlaps, sizes, impulse, hess):
                        hessian_kernel(overlaps, sizes, shown, slopes.rows, slopes.cols, work, hess)
                    move_slopes(joint, move, step, eta, slopes, at_row, at_col, hess, room, scratch)
                make_move(joints[group], move, step, scratch)
        return span.n_epochs, RUNNING, dropped

    return run_epochs


# By way, target noise, and slopes; those that are called are compiled.
EPOCHS = {
    key: _made(*key)
    for key in itertools.product((CLOSED, SINGLE, ANY, POPULATIONS), (False, True), (False, True))
}
