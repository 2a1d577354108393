"""Compiled epochs: the congruence S <- B' S B, with the loop over epochs inside."""

from __future__ import annotations

import numpy as np
from numba import njit

from predictlearn.theory import kernels
from predictlearn.theory.compiled import forget_stale
from predictlearn.theory.kernels import loss_and_derivative_kernel

__all__ = ["descend", "descend_directly"]

forget_stale(__file__, kernels.__file__)


@njit(cache=True)
def _product(left: np.ndarray, right: np.ndarray, transpose: bool, out: np.ndarray) -> None:
    """Fill `out` with left' right or left right; these matrices are too small for BLAS to pay."""
    n = left.shape[0]
    for i in range(n):
        for j in range(n):
            total = 0.0
            for k in range(n):
                total += (left[k, i] if transpose else left[i, k]) * right[k, j]
            out[i, j] = total


@njit(cache=True)
def _congruence(joint: np.ndarray, step: np.ndarray, momentum: float, scratch: np.ndarray) -> None:
    """Move the joint overlaps of (Theta, V) by one step; `step` is B - 1.

    `joint` holds S = Theta'Theta/N, C = Theta'V/N and V'V/N. Theta' = Theta B + mu V and
    V' = Theta (B - 1) + mu V.
    """
    s, c, vv = joint[0], joint[1], joint[2]
    n = s.shape[0]
    se, ese = scratch[0], scratch[1]
    _product(s, step, False, se)
    _product(step, se, True, ese)
    if momentum == 0.0:
        for i in range(n):
            for j in range(i + 1):
                new = s[i, j] + se[i, j] + se[j, i] + 0.5 * (ese[i, j] + ese[j, i])
                s[i, j] = new
                s[j, i] = new
        return
    ec = scratch[2]  # (B - 1)' C
    _product(step, c, True, ec)
    moved = scratch[3]
    for i in range(n):
        for j in range(n):
            # V' V' / N, shared by all three blocks
            moved[i, j] = (
                0.5 * (ese[i, j] + ese[j, i])
                + momentum * (ec[i, j] + ec[j, i])
                + momentum * momentum * vv[i, j]
            )
    for i in range(n):
        for j in range(i + 1):
            new = s[i, j] + se[i, j] + se[j, i] + momentum * (c[i, j] + c[j, i]) + moved[i, j]
            s[i, j] = new
            s[j, i] = new
    for i in range(n):
        for j in range(n):
            # Theta' V' = Theta'V' with Theta' = Theta + V'
            c[i, j] = se[i, j] + momentum * c[i, j] + moved[i, j]
            vv[i, j] = moved[i, j]


@njit(cache=True)
def descend(
    joint: np.ndarray,
    n_in: int,
    rank: int,
    n_out: int,
    n_epochs: int,
    every: int,
    first_epoch: int,
    rate: float,
    columns: np.ndarray,
    momentum: float,
    decay: float,
    synaptic: float,
    target_noise: float,
    rng: np.random.Generator,
    a: float,
    gain: np.ndarray,
    km: np.ndarray,
    targets: np.ndarray,
    weights: np.ndarray,
    noise: np.ndarray,
    offset: np.ndarray,
    smoothing: np.ndarray,
    direct: bool,
    buffer: np.ndarray,
    losses: np.ndarray,
    kept: np.ndarray,
) -> int:
    """Run epochs of gradient descent; return how many ran before a loss was not finite.

    The overlaps before epoch e go to ``kept[e // every]`` where e is a multiple of `every`, counted
    from the start of the phase; `losses` is filled for every epoch.
    """
    n = joint.shape[1]
    grad = np.empty((n, n))
    step = np.empty((n, n))
    scratch = np.empty((4, n, n))
    for e in range(n_epochs):
        epoch = first_epoch + e
        if epoch % every == 0:
            kept[epoch // every] = joint[0]
        if target_noise > 0.0:
            for t in range(noise.shape[0]):
                for o in range(noise.shape[1]):
                    for p in range(noise.shape[2]):
                        noise[t, o, p] = target_noise * rng.standard_normal()
        value = loss_and_derivative_kernel(
            joint[0],
            n_in,
            rank,
            n_out,
            a,
            gain,
            km,
            targets,
            weights,
            noise,
            offset,
            smoothing,
            direct,
            buffer,
            grad,
        )
        losses[epoch] = value
        if not np.isfinite(value):
            return e
        for i in range(n):
            for j in range(n):
                step[i, j] = -rate * (grad[i, j] + (decay if i == j else 0.0)) * columns[j]
        _congruence(joint, step, momentum, scratch)
        if synaptic > 0.0:
            for i in range(n):
                if columns[i] > 0.0:
                    joint[0, i, i] += synaptic * synaptic
    return n_epochs


@njit(cache=True)
def descend_directly(
    s: np.ndarray,
    n_in: int,
    rank: int,
    n_out: int,
    n_epochs: int,
    every: int,
    first_epoch: int,
    rate: float,
    a: float,
    gain: np.ndarray,
    km: np.ndarray,
    targets: np.ndarray,
    weights: np.ndarray,
    noise: np.ndarray,
    offset: np.ndarray,
    smoothing: np.ndarray,
    direct: bool,
    buffer: np.ndarray,
    losses: np.ndarray,
    kept: np.ndarray,
) -> int:
    """Run epochs that descend the loss in the entries of S; see `descend`."""
    n = s.shape[0]
    grad = np.empty((n, n))
    for e in range(n_epochs):
        epoch = first_epoch + e
        if epoch % every == 0:
            kept[epoch // every] = s
        value = loss_and_derivative_kernel(
            s,
            n_in,
            rank,
            n_out,
            a,
            gain,
            km,
            targets,
            weights,
            noise,
            offset,
            smoothing,
            direct,
            buffer,
            grad,
        )
        losses[epoch] = value
        if not np.isfinite(value):
            return e
        for i in range(n):
            for j in range(n):
                # A_ii is twice the derivative by S_ii
                s[i, j] -= rate * (0.5 * grad[i, j] if i == j else grad[i, j])
    return n_epochs
