"""The compiled loops of learning: over epochs, with or without slopes, and along gradient flow.

Gradient flow is taken in steps of the explicit Runge-Kutta method of order 8 by Dormand and Prince,
with errors of orders 5 and 3 and an interpolant of order 7 (DOP853; Hairer, Norsett and Wanner,
Solving Ordinary Differential Equations I, 1993, section II.10). Where such steps are too many, as
of stiff flows, another solver takes over.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from predictlearn.by_address import ByAddress
from predictlearn.compiled import compiled
from predictlearn.theory.kernels.arguments import (
    Impulse,
    Judging,
    Record,
    RungeKutta,
    Shown,
    Span,
    Step,
)
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

__all__ = ["ANY", "CLOSED", "CURVATURE", "EPOCHS", "FLOWS", "LOSSES", "POPULATIONS", "SINGLE"]

# Ways to the loss: the closed form after an impulse; one input, rank one and one output; one
# network of any sizes; populations.
CLOSED, SINGLE, ANY, POPULATIONS = range(4)

# The loss is not compiled into the loops, of which there are many. Arguments of its types:
_ROW, _MATRIX, _CUBE, _SIZES = np.empty(0), np.empty((0, 0)), np.empty((0, 0, 0)), (1, 1, 1)
_SHOWN = Shown(1.0, _ROW, _CUBE, Judging(_CUBE, _CUBE, _CUBE, _ROW, _MATRIX, True))
_IMPULSE = Impulse(1.0, _MATRIX, _MATRIX, _MATRIX, _ROW, 1)
# By way, what is called by its address.
LOSSES = {
    CLOSED: ByAddress(impulse_loss_and_derivative, 0.0, _MATRIX, _SIZES, _IMPULSE, _CUBE, _MATRIX),
    SINGLE: ByAddress(single_loss_and_derivative, 0.0, _MATRIX, _SHOWN, _ROW, _MATRIX),
    ANY: ByAddress(loss_and_derivative_kernel, 0.0, _MATRIX, _SIZES, _SHOWN, _ROW, _MATRIX),
    POPULATIONS: ByAddress(
        population_loss_and_derivative_kernel, 0.0, _CUBE, _ROW, _SIZES, _SHOWN, _ROW, _CUBE
    ),
}
CURVATURE = ByAddress(
    hessian_kernel, None, _MATRIX, _SIZES, _SHOWN, np.empty(0, int), np.empty(0, int),
    (_MATRIX, _MATRIX, _MATRIX, _CUBE), _MATRIX,
)  # fmt: skip
# by names of the module: what a function holds in its closure is part of the name of its code
_closed, _single, _any, _populations = (LOSSES[way].call for way in range(4))
_curvature = CURVATURE.call


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
        loss: int,
        curvature: int,
        rng: np.random.Generator | None,
    ) -> tuple[int, int, bool]:
        """Run epochs; return how many updates were made, why it ended, if the rate has dropped.

        `joints`, (populations, 3, D, D), holds of each the joint overlaps of the loadings and their
        velocity; `fractions` their shares. The loss of every epoch is kept. `slopes`, `Tangents` or
        None, are kept of the epochs whose overlaps are. `loss` and `curvature` are addresses, of
        one of `LOSSES` and of `CURVATURE`. `rng` draws target noise, or is None.
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
                value = _closed(loss, overlaps, sizes, impulse, closed_work, grad)
            elif single:
                value = _single(loss, overlaps, shown, buffer, grad)
            elif several:
                value = _populations(loss, s, fractions, sizes, shown, buffer, grads)
            else:
                value = _any(loss, overlaps, sizes, shown, buffer, grad)
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
                        rows, cols = slopes.rows, slopes.cols
                        _curvature(curvature, overlaps, sizes, shown, rows, cols, work, hess)
                    move_slopes(joint, move, step, eta, slopes, at_row, at_col, hess, room, scratch)
                make_move(joints[group], move, step, scratch)
        return span.n_epochs, RUNNING, dropped

    return run_epochs


# By way, target noise, and slopes; those that are called are compiled.
EPOCHS = {
    key: _made(*key)
    for key in itertools.product((CLOSED, SINGLE, ANY, POPULATIONS), (False, True), (False, True))
}


# Stages of a step, before which there is an error to judge, and with those of the interpolant.
_STAGES, _EXTENDED = 13, 16
# A step gets so much shorter or longer than the last one, and is kept below what the error allows.
_SHORTER, _LONGER, _SAFETY = 0.2, 8.0, 0.9
# The first step, in lengths of the state over its speed.
_FIRST = 0.01
# Steps that, one after another, are about as long as is stable for the fastest mode, h |lambda| of
# 3 to 6, tell of a stiff flow (Hairer and Wanner, volume II, 1996, section IV.2).
_STABLE, _TELLING = 3.0, 15


def _flow_made(way: int) -> Any:
    """Return the loop along gradient flow, with one of the ways to the loss compiled into it."""
    closed, single = way == CLOSED, way == SINGLE

    @compiled(nogil=True)
    def run_flow(
        kept: np.ndarray,
        columns: np.ndarray,
        sizes: tuple[int, int, int],
        duration: float,
        rtol: float,
        atol: float,
        most: int,
        method: RungeKutta,
        shown: Shown,
        impulse: Impulse,
        buffer: np.ndarray,
        loss: int,
    ) -> tuple[bool, int]:
        """Fill `kept`, (rows, D, D), at even times from its first row; tell if it came to the end.

        The second number is how often the derivative of the loss was worked out, `most` at most;
        `loss` is the address of one of `LOSSES`.
        """
        n_rows, n, _ = kept.shape
        rates, speed = np.empty((_EXTENDED, n, n)), np.empty((n, n))
        old, now, grad = np.empty((n, n)), np.empty((n, n)), np.empty((n, n))
        poly = np.empty((8, n, n))
        if closed:
            work = compiled_work(impulse)
        for i in range(n):
            for j in range(n):
                old[i, j] = now[i, j] = kept[0, i, j]
        row, time, h, asked, first, rejected, at_limit = 1, 0.0, 0.0, 0, 0, False, 0
        while row < n_rows:
            stage, error, reached, last = first, 0.0, 0.0, False
            while stage < _EXTENDED:
                if asked == most:
                    return False, asked
                if stage > 0:
                    for i in range(n):
                        for j in range(n):
                            total = 0.0
                            for k in range(stage):
                                total += method.stages[stage, k] * rates[k, i, j]
                            now[i, j] = old[i, j] + h * total
                if closed:
                    _closed(loss, now, sizes, impulse, work, grad)
                elif single:
                    _single(loss, now, shown, buffer, grad)
                else:
                    _any(loss, now, sizes, shown, buffer, grad)
                asked += 1
                for i in range(n):
                    for j in range(n):
                        total = 0.0
                        for k in range(n):
                            total += now[i, k] * grad[k, j]
                        speed[i, j] = total * columns[j]
                for i in range(n):
                    for j in range(n):
                        rates[stage, i, j] = -(speed[i, j] + speed[j, i])
                if stage == 0:
                    length = velocity = 0.0
                    for i in range(n):
                        for j in range(n):
                            scale = atol + abs(old[i, j]) * rtol
                            length += (old[i, j] / scale) ** 2
                            velocity += (rates[0, i, j] / scale) ** 2
                    h = duration
                    if velocity > 0.0 and length > 0.0:
                        h = min(duration, _FIRST * np.sqrt(length / velocity))
                if stage == _STAGES - 1:
                    five = three = turned = apart = 0.0
                    for i in range(n):
                        for j in range(n):
                            scale = atol + rtol * max(abs(old[i, j]), abs(now[i, j]))
                            by_five = by_three = 0.0
                            for k in range(_STAGES):
                                by_five += method.fifth[k] * rates[k, i, j]
                                by_three += method.third[k] * rates[k, i, j]
                            five += (by_five / scale) ** 2
                            three += (by_three / scale) ** 2
                            poly[0, i, j] = now[i, j]
                            # the last stage and the one before it, both at the end of the step
                            total = 0.0
                            for k in range(stage):
                                weight = method.stages[stage, k] - method.stages[stage - 1, k]
                                total += weight * rates[k, i, j]
                            apart += total * total
                            turned += (rates[stage, i, j] - rates[stage - 1, i, j]) ** 2
                    both = five + 0.01 * three
                    error = h * five / np.sqrt(both * n * n) if both > 0.0 else 0.0 * both
                    if not error < 1.0:
                        break
                    # h |lambda| = h |f - f'| / |y - y'|, with y - y' = h times the sum
                    at_limit = at_limit + 1 if turned > _STABLE**2 * apart else 0
                    if at_limit >= _TELLING and asked + 12.0 * (duration - time) / h > most:
                        return False, asked
                    last = h >= duration - time
                    reached = duration if last else time + h
                    if duration * row / (n_rows - 1) > reached and not last:
                        break
                stage += 1
            grow = _SAFETY * error**-0.125 if error > 0.0 else _LONGER
            first = 1
            if not error < 1.0:
                # no number at all, where the step led too far
                h *= max(_SHORTER, grow) if error > 0.0 else _SHORTER
                rejected = True
                if not h > 1e-15 * duration:
                    return False, asked
                continue
            if stage == _EXTENDED:
                for i in range(n):
                    for j in range(n):
                        rise = poly[0, i, j] - old[i, j]
                        poly[1, i, j] = rise
                        poly[2, i, j] = h * rates[0, i, j] - rise
                        poly[3, i, j] = 2.0 * rise - h * (rates[0, i, j] + rates[12, i, j])
                        for power in range(4):
                            total = 0.0
                            for k in range(_EXTENDED):
                                total += method.between[power, k] * rates[k, i, j]
                            poly[4 + power, i, j] = h * total
                while row < n_rows and (last or duration * row / (n_rows - 1) <= reached):
                    x = (duration * row / (n_rows - 1) - time) / h
                    for i in range(n):
                        for j in range(n):
                            value = 0.0
                            for power in range(7):
                                value += poly[7 - power, i, j]
                                value *= x if power % 2 == 0 else 1.0 - x
                            kept[row, i, j] = old[i, j] + value
                    row += 1
            for i in range(n):
                for j in range(n):
                    old[i, j], rates[0, i, j] = poly[0, i, j], rates[12, i, j]
            time = reached
            h = min(h * min(1.0 if rejected else _LONGER, max(_SHORTER, grow)), duration - time)
            rejected = False
        return True, asked

    return run_flow


# By way; those that are called are compiled.
FLOWS = {way: _flow_made(way) for way in (CLOSED, SINGLE, ANY)}
