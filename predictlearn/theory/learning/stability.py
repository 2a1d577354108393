"""The curvature of a loss over the loadings, and the largest rate that it allows."""

from __future__ import annotations

import numpy as np

from predictlearn.theory.activity import Batch, _evaluate, check_fit
from predictlearn.theory.learning.rules import GradientDescent, column_rates
from predictlearn.theory.nonlinearity import Nonlinearity
from predictlearn.theory.overlaps import Overlaps
from predictlearn.theory.trials import Trials

__all__ = ["largest_stable_rate", "stable_rate", "stable_rates_along"]

# How far the way of a descent is followed to see what curvature it meets, and how often a rate
# is halved until it meets none that forbids it.
_STAGES, _STEPS = 20, 10
_HALVINGS = 20
# An overlap so large has run away.
_RUNAWAY = 1e6


def stable_rate(
    matrix: np.ndarray,
    sizes: tuple[int, int, int],
    ready: Batch,
    columns: np.ndarray,
    momentum: float = 0.0,
) -> float:
    """Return 2 (1 + momentum) over the largest curvature, for prepared trials.

    See `largest_stable_rate`. Zero where the curvature is beyond all numbers.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        steepest = _steepest(matrix, sizes, ready, columns)
    if not np.isfinite(steepest):
        return 0.0
    return float(2 * (1 + momentum) / steepest) if steepest > 0 else float("inf")


def _steepest(
    matrix: np.ndarray, sizes: tuple[int, int, int], ready: Batch, columns: np.ndarray
) -> float:
    """Return the largest curvature of the loss over the loadings, infinite where it overflows."""
    dim = len(matrix)
    values, vectors = np.linalg.eigh(matrix)
    theta = (vectors * np.sqrt(np.clip(values, 0.0, None))) @ vectors.T
    scales = np.sqrt(columns)

    def gradient(loadings: np.ndarray) -> np.ndarray:
        return (loadings @ _evaluate(loadings.T @ loadings, sizes, ready)[1]) * scales

    width = 1e-5 * max(float(np.abs(theta).max()), 1e-3)
    hessian = np.empty((dim * dim, dim * dim))
    for k in range(dim * dim):
        shift = np.zeros((dim, dim))
        shift.flat[k] = width * scales[k % dim]
        hessian[k] = (gradient(theta + shift) - gradient(theta - shift)).ravel() / (2 * width)
    # away from the span of the loadings only A itself bends the loss
    bends = _evaluate(matrix, sizes, ready)[1] * np.outer(scales, scales)
    if not (np.all(np.isfinite(hessian)) and np.all(np.isfinite(bends))):
        return float("inf")
    outside = np.linalg.eigvalsh(bends)[-1]
    return float(max(np.linalg.eigvalsh((hessian + hessian.T) / 2)[-1], outside))


def stable_rates_along(
    matrix: np.ndarray,
    sizes: tuple[int, int, int],
    ready: Batch,
    columns: np.ndarray,
    momentum: float = 0.0,
) -> tuple[float, float]:
    """Return the stable rate at the start, and one that stays stable on the way it takes.

    Steps as large as the curvature of the start allows can lead to where the loss bends far more.
    The second rate is the first of the series rate, rate / 2, rate / 4 ... by which a descent
    meets no curvature, along its own way, that forbids it.
    """
    first = stable_rate(matrix, sizes, ready, columns, momentum)
    if first == 0.0 or not np.isfinite(first):
        return first, first
    rate = first
    for _ in range(_HALVINGS):
        if _stays_stable(matrix, sizes, ready, columns, momentum, rate):
            break
        rate /= 2
    return first, rate


def _stays_stable(
    s: np.ndarray,
    sizes: tuple[int, int, int],
    ready: Batch,
    columns: np.ndarray,
    momentum: float,
    rate: float,
) -> bool:
    """Return whether descent at a rate meets no curvature that forbids it."""
    # momentum allows rates 1 + momentum times as large as plain descent, which is followed here
    step = rate / (1 + momentum)
    for _ in range(_STAGES):
        for _ in range(_STEPS):
            a = _evaluate(s, sizes, ready)[1]
            # a step that overflows has run away, which the next line finds
            with np.errstate(over="ignore", invalid="ignore"):
                b = np.eye(len(s)) - step * a * columns
                s = b.T @ s @ b
            if not np.all(np.abs(s) < _RUNAWAY):
                return False
        if stable_rate(s, sizes, ready, columns, momentum) < rate:
            return False
    return True


def largest_stable_rate(
    overlaps: Overlaps,
    trials: Trials,
    nonlinearity: str | Nonlinearity = "linear",
    tau: float = 1.0,
    rule: GradientDescent | None = None,
) -> float:
    """Return the largest rate at which gradient descent is stable near some overlaps.

    Parameters
    ----------
    overlaps : Overlaps
        Where the loss is expanded.
    trials : Trials
        The batch.
    nonlinearity : {"linear", "erf", "tanh"} or Nonlinearity
        Which phi.
    tau : float, default 1.0
        Time constant in seconds.
    rule : GradientDescent, optional
        For its pathway rates and momentum; its rate is not used.

    Returns
    -------
    float
        2 (1 + momentum) / largest eigenvalue of the Hessian of the loss over the loadings, at
        rate N eta; infinite where the loss bends upwards nowhere, zero where it bends beyond all
        numbers.

    Raises
    ------
    InputError
        If sizes disagree or an argument is out of range.

    Notes
    -----
    Any loadings with these overlaps have the same curvature, so a square root of S stands for N
    neurons. The bound is that of the quadratic expansion: where the curvature grows along the way,
    a smaller rate is needed.

    Examples
    --------
    >>> import numpy as np
    >>> import predictlearn as pl
    >>> task = pl.Filter()
    >>> learned = pl.learn(pl.Overlaps(np.eye(4)), task, pl.GradientDescent(5e-3), 2000).final
    >>> bool(5e-3 < pl.largest_stable_rate(learned, task.sample()) < 1.0)
    True
    """
    check_fit(overlaps, trials.n_in, trials.n_out, "the batch of trials")
    ready = Batch(trials, nonlinearity, tau)
    columns = column_rates(None if rule is None else rule.pathway_rates, overlaps.sizes)
    momentum = 0.0 if rule is None else rule.momentum
    return stable_rate(overlaps.matrix, overlaps.sizes, ready, columns, momentum)
