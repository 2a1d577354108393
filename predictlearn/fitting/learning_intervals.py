"""Intervals of overlaps and rates, identified or not."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from predictlearn.fitting.learning_identifiability import Identified, draws, reach
from predictlearn.fitting.learning_parameters import Layout

__all__ = ["drawn_table", "interval_table"]

Array = npt.NDArray[np.float64]


def interval_table(
    natural: Array, found: Identified, layout: Layout, level: float, degrees: float, seed: int
) -> pd.DataFrame:
    """Return low, high, estimate and sd of every overlap and rate.

    Delta method with the t quantile of `degrees` of freedom (infinite: normal). Along unidentified
    directions the realisable range is added; with several of them, the range of 300 draws.
    """
    sd = np.sqrt(np.clip(np.diag(found.covariance), 0.0, None))
    upper = (1 + level) / 2
    quantile = stats.norm.ppf(upper) if np.isinf(degrees) else stats.t.ppf(upper, degrees)
    low, high = natural - quantile * sd, natural + quantile * sd
    reached = _reached(natural, found, layout, seed)
    low, high = low + reached[0], high + reached[1]
    n = layout.n_overlaps
    rows, columns = layout.pairs
    # a squared norm is not negative
    low[:n] = np.where(rows == columns, np.maximum(low[:n], 0.0), low[:n])
    estimate = natural.copy()
    estimate[n:] = layout.rates(natural[n:])
    low[n:], high[n:] = layout.rates(low[n:]), layout.rates(high[n:])
    sd[n:] *= estimate[n:]
    return pd.DataFrame(
        {"low": low, "high": high, "estimate": estimate, "sd": sd}, index=list(layout.names)
    )


def drawn_table(natural: Array, rows: Array, layout: Layout, level: float) -> pd.DataFrame:
    """Return low, high, estimate and sd of every overlap and rate, from draws, (draws, P)."""
    n = layout.n_overlaps
    table = rows.copy()
    table[:, n:] = [layout.rates(row[n:]) for row in rows]
    low, high = np.quantile(table, [(1 - level) / 2, (1 + level) / 2], axis=0)
    estimate = np.concatenate([natural[:n], layout.rates(natural[n:])])
    sd = table.std(axis=0, ddof=1)
    return pd.DataFrame(
        {"low": low, "high": high, "estimate": estimate, "sd": sd}, index=list(layout.names)
    )


def _reached(natural: Array, found: Identified, layout: Layout, seed: int) -> tuple[Array, Array]:
    """Return how far every natural parameter goes along the unidentified directions."""
    zero = np.zeros(len(natural))
    if found.free.shape[1] == 0:
        return zero, zero
    if found.free.shape[1] == 1:
        along = found.free[:, 0]
        ends = np.array(reach(layout.full(natural), layout.full(along)))
        with np.errstate(invalid="ignore"):
            both = np.where(along[:, None] == 0, 0.0, along[:, None] * ends)
        return both.min(axis=1), both.max(axis=1)
    still = Identified(np.zeros_like(found.covariance), found.free, found.share, found.sds, zero)
    moved = draws(natural, still, layout, 300, np.random.default_rng(seed)) - natural
    return moved.min(axis=0), moved.max(axis=0)
