"""What a linear network sees of fixed trials: second moments of lagged inputs and targets."""

from __future__ import annotations

import numpy as np

from predictlearn.theory.activity import Batch
from predictlearn.theory.kernels.span import Moments

__all__ = ["moments_of", "worth_moments"]

# Numbers that the matrix of moments may have: beyond, it no longer fits into a cache.
_MOST = 4_000_000
# Epochs from which moments under weights that differ between bins, slow to take, are worth it.
_MANY_EPOCHS = 500


def _same(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Return one output's weights, (time, trials), and each output's factor of them, if so."""
    size = weights.sum(axis=(0, 2))
    if not np.all(size > 0):
        return None
    scaled = weights / size[None, :, None]
    if np.abs(scaled - scaled[:, :1]).max() > 1e-14 * scaled.max():
        return None
    return scaled[:, 0], size


def worth_moments(ready: Batch, n_epochs: int) -> bool:
    """Return whether linear learning goes faster, or as fast, by moments of the trials."""
    if ready.gain.size or np.any(ready.offset):
        return False
    world = ready.world
    if world is not None and (np.any(world.offset) or np.any(world.start)):
        return False
    n_steps, n_in, n_trials = ready.inputs.shape
    size = (n_steps * n_in) ** 2
    same = _same(ready.weights)
    each = 1 if same is not None else ready.weights.shape[1]
    if size * each > _MOST or size * each > 8 * n_steps * n_trials * (2 * n_in + 4):
        return False
    return _even(ready.weights) or n_epochs >= _MANY_EPOCHS


def _even(weights: np.ndarray) -> bool:
    """Return whether weights are the same in all bins and trials; outputs may differ."""
    return bool(np.all(weights == weights[:1, :, :1]))


def _toeplitz(inputs: np.ndarray) -> np.ndarray:
    """Return one trial's lagged inputs, (time, lags * n_in), from (time, n_in)."""
    n_steps, n_in = inputs.shape
    lagged = np.zeros((n_steps, n_steps, n_in))
    for lag in range(n_steps):
        lagged[lag:, lag] = inputs[: n_steps - lag]
    return lagged.reshape(n_steps, -1)


def _even_gram(inputs: np.ndarray) -> np.ndarray:
    """Return sums of x_{t-s} x_{t-s'} over bins and trials, (lags, n_in, lags, n_in).

    Bins beyond the last are what the sum at lags s + 1, s' + 1 lacks against that at s, s'.
    """
    n_steps, n_in, _ = inputs.shape
    gram = np.empty((n_steps, n_in, n_steps, n_in))
    for lag in range(n_steps):
        now, before = inputs[lag:], inputs[: n_steps - lag]
        first = np.tensordot(now, before, axes=((0, 2), (0, 2)))
        gram[0, :, lag] = first
        gram[lag, :, 0] = first.T
    back = inputs[::-1]
    # what each step along a diagonal takes away
    lost = np.tensordot(back, back, axes=(2, 2))
    for s in range(1, n_steps):
        gram[s, :, 1:] = gram[s - 1, :, :-1] - lost[s - 1, :, :-1]
    return gram


def moments_of(ready: Batch) -> Moments:
    """Return the moments of prepared trials, (time, variables, trials)."""
    inputs, weights, targets = ready.inputs, ready.weights, ready.targets
    n_steps, n_in, n_trials = inputs.shape
    n_read = weights.shape[1]
    size = n_steps * n_in
    weighted = weights * targets
    cross = np.empty((n_read, n_steps, n_in))
    for lag in range(n_steps):
        late, early = weighted[lag:], inputs[: n_steps - lag]
        cross[:, lag] = np.tensordot(late, early, axes=((0, 2), (0, 2)))
    rest = np.sum(weighted * targets, axis=(0, 2))
    same = _same(weights)
    if _even(weights):
        gram, scale = _even_gram(inputs).reshape(1, size, size), weights[0, :, 0].copy()
    else:
        shapes = weights.transpose(1, 0, 2) if same is None else same[0][None]
        scale = np.ones(n_read) if same is None else same[1]
        gram = np.zeros((len(shapes), size, size))
        for trial in range(n_trials):
            lagged = _toeplitz(inputs[:, :, trial])
            for o, shape in enumerate(shapes):
                gram[o] += lagged.T @ (shape[:, trial, None] * lagged)
    return Moments(ready.a, n_steps, gram, scale, cross.reshape(n_read, size), rest)
