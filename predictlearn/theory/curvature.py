"""The curvature of a loss over the loadings, and the largest rate that it allows."""

from __future__ import annotations

import numpy as np

from predictlearn.theory.nonlinearity import Nonlinearity
from predictlearn.theory.overlaps import Overlaps
from predictlearn.theory.reduced import Prepared, _evaluate, check_fit
from predictlearn.theory.rules import GradientDescent, column_rates
from predictlearn.theory.trials import Trials

__all__ = ["largest_stable_rate", "stable_rate"]


def stable_rate(
    matrix: np.ndarray,
    sizes: tuple[int, int, int],
    ready: Prepared,
    columns: np.ndarray,
    momentum: float = 0.0,
) -> float:
    """Return 2 (1 + momentum) over the largest curvature, for prepared trials.

    See `largest_stable_rate`.
    """
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
    outside = np.linalg.eigvalsh(_evaluate(matrix, sizes, ready)[1] * np.outer(scales, scales))[-1]
    steepest = max(np.linalg.eigvalsh((hessian + hessian.T) / 2)[-1], outside)
    return float(2 * (1 + momentum) / steepest) if steepest > 0 else float("inf")


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
        rate N eta; infinite where the loss bends upwards nowhere.

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
    ready = Prepared(trials, nonlinearity, tau)
    columns = column_rates(None if rule is None else rule.pathway_rates, overlaps.sizes)
    momentum = 0.0 if rule is None else rule.momentum
    return stable_rate(overlaps.matrix, overlaps.sizes, ready, columns, momentum)
