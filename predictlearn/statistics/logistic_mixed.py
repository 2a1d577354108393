"""Logistic mixed models by penalised quasi-likelihood: a linear one of working outcomes, repeated.

Breslow & Clayton (1993, J Am Stat Assoc 88:9-25), with variances by restricted likelihood of the
working outcomes (Wolfinger & O'Connell 1993, J Stat Comput Simul 48:233-243).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy import special

from predictlearn.arrays import Array
from predictlearn.statistics.variance_components import (
    Block,
    VarianceFit,
    fit_variances,
    moments_of,
    search_ratios,
    solve_at,
)

__all__ = ["Binomial", "fit_binomial"]

_ROUNDS, _SETTLED = 60, 1e-4
# Log odds that no animal has: beyond it a level of a factor has no failures, or no successes.
_FURTHEST = 12.0


@dataclass(frozen=True)
class Binomial:
    """Counts and the numbers of trials behind them.

    Parameters
    ----------
    k, n : numpy.ndarray, (rows,)
        Successes and trials.
    """

    k: Array
    n: Array


def _cells(
    response: Binomial, x: Array, blocks: Sequence[Block]
) -> tuple[Binomial, Array, list[Block], np.ndarray]:
    """Put rows that nothing tells apart together; return which cell each row went to, too."""
    key = np.zeros(response.k.size, dtype=np.int64)
    parts = [*x.T, *(block.codes for block in blocks)]
    parts += [block.slope for block in blocks if block.slope is not None]
    for part in parts:
        codes, levels = pd.factorize(part)
        key = pd.factorize(key * len(levels) + codes)[0]
    first = np.unique(key, return_index=True)[1]
    summed = Binomial(*(np.bincount(key, part).astype(float) for part in (response.k, response.n)))
    smaller = [
        replace(
            block,
            codes=block.codes[first],
            slope=None if block.slope is None else block.slope[first],
        )
        for block in blocks
    ]
    return summed, x[first], smaller, key


def fit_binomial(
    response: Binomial, x: Array, blocks: Sequence[Block]
) -> tuple[VarianceFit | None, float, str]:
    """Fit a logistic mixed model.

    Parameters
    ----------
    response : Binomial
        Counts.
    x : numpy.ndarray, (rows, terms)
        Fixed part.
    blocks : sequence of Block
        Random part.

    Returns
    -------
    fit : VarianceFit or None
        The linear model of the last working outcomes.
    dispersion : float
        Pearson's chi2 / (counts - parameters), 1 where that is not above zero.
    why : str
        Empty, or why the fit cannot be used.
    """
    cells, x, blocks, key = _cells(response, x, blocks)
    edges = np.cumsum([0, *(block.n for block in blocks)])
    eta = special.logit((cells.k + 0.5) / (cells.n + 1.0))
    ratio: Array | None = None
    beta, moved, m = np.zeros(x.shape[1]), np.inf, None
    for _ in range(_ROUNDS):
        mu = special.expit(eta)
        weights = np.maximum(cells.n * mu * (1 - mu), 1e-10)
        m = moments_of(x, eta + (cells.k - cells.n * mu) / weights, blocks, weights)
        # on the boundary, or after a step, look everywhere again
        near = ratio if ratio is not None and ratio.min() > 0 and moved < 0.5 else None
        ratio, _ = search_ratios(m, 1.0, near)
        beta, effects = solve_at(m, ratio, 1.0)
        new = x @ beta
        for block, low, high in zip(blocks, edges[:-1], edges[1:], strict=True):
            part = effects[low:high][block.codes]
            new = new + (part if block.slope is None else part * block.slope)
        moved = float(np.abs(new - eta).max())
        eta = np.clip(new, -30, 30)
        if moved < _SETTLED or np.abs(x @ beta).max() > _FURTHEST:
            break
    if np.abs(x @ beta).max() > _FURTHEST or m is None:
        return None, np.nan, "a level has only successes or only failures: its log odds diverge"
    fit = fit_variances(m, sigma2=1.0, ratio=ratio)
    if moved >= _SETTLED:
        return fit, np.nan, f"penalised quasi-likelihood did not settle in {_ROUNDS} rounds"
    # trials one by one show no spread beyond their mean: then between cells; counts between rows
    shown, mu = (cells, special.expit(eta))
    if (response.n > 1).any():
        shown, mu = response, mu[key]
    variance = np.maximum(shown.n * mu * (1 - mu), 1e-10)
    squares = float(((shown.k - shown.n * mu) ** 2 / variance).sum())
    used = x.shape[1] + sum(block.n for block, tau in zip(blocks, fit.tau, strict=True) if tau > 0)
    # with as many effects as counts there is nothing left to judge by
    left = shown.k.size - used
    return fit, squares / left if left > 0 else 1.0, ""
