"""Outputs of many networks on the same trials, averaged over the time of the response."""

from __future__ import annotations

import math

import numpy as np

from predictlearn.compiled import compiled
from predictlearn.theory.kernels.rollout import rollout_kernel

__all__ = ["mean_outputs"]

# Up to so many trials a plain loop is the faster one: others are laid out in lines of eight.
_FEW = 4
_HALF_PI = math.pi / 2


@compiled(nogil=True)
def mean_outputs(
    matrices: np.ndarray,
    n_in: int,
    rank: int,
    n_out: int,
    a: float,
    gain: np.ndarray,
    km: np.ndarray,
    weights: np.ndarray,
) -> np.ndarray:
    """Return the weighted mean outputs, (rows, trials, n_out), of many overlap matrices.

    `matrices` are (rows, D, D), `weights` (time, n_out, trials) as the outputs of a rollout.
    """
    n_steps, _, n_trials = km.shape
    means = np.zeros((matrices.shape[0], n_trials, n_out))
    if n_in * rank * n_out == 1 and n_trials <= _FEW and gain.size <= 1:
        _plain(matrices, a, gain.size == 1, km, weights, means)
        return means
    for row in range(matrices.shape[0]):
        _, _, y = rollout_kernel(matrices[row], n_in, rank, n_out, a, gain, km)
        for t in range(n_steps):
            for o in range(n_out):
                for p in range(n_trials):
                    means[row, p, o] += weights[t, o, p] * y[t, o, p]
    return means


@compiled(nogil=True)
def _plain(
    matrices: np.ndarray,
    a: float,
    curved: bool,
    km: np.ndarray,
    weights: np.ndarray,
    means: np.ndarray,
) -> None:
    """Fill the means of networks of one input, rank one and one output, linear or erf."""
    for row in range(matrices.shape[0]):
        s = matrices[row]
        for p in range(km.shape[2]):
            ku, r, total = 0.0, 1.0, 0.0
            before = 0.0
            for t in range(km.shape[0]):
                # the activity before this bin's update drives it; outputs are read after
                ku += a * (r * (s[2, 0] * before + s[2, 1] * ku) - ku)
                before = km[t, 0, p]
                if curved:
                    delta = s[0, 0] * before * before + (2.0 * s[0, 1] * before + s[1, 1] * ku) * ku
                    r = 1.0 / math.sqrt(1.0 + _HALF_PI * delta)
                total += weights[t, 0, p] * (r * (s[3, 0] * before + s[3, 1] * ku))
            means[row, p, 0] = total
