"""The posterior by the curvature at a maximum: intervals, identified or not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd
from scipy import stats

from predictlearn.arrays import Array
from predictlearn.fitting.learning.identifiability import Identified, draws, reach
from predictlearn.fitting.learning.parameters import ParameterLayout

__all__ = ["ByCurvature", "around", "drawn_table", "interval_table", "narrower"]

# Draws that spread less than this share of what the curvature says contradict it.
_NARROW = 1 / 3


@dataclass(frozen=True, eq=False)
class ByCurvature:
    """Normal where identified, uniform over what is realisable elsewhere; see `Density`.

    Parameters
    ----------
    point : numpy.ndarray, (P,)
        The estimate.
    found : Identified
        What the slopes at it let one identify.
    layout : ParameterLayout
        What the parameters are.
    degrees : float
        Degrees of freedom of the noise; infinite where it was given.
    seed : int
        Of the draws behind intervals along open directions.
    """

    point: Array
    found: Identified
    layout: ParameterLayout
    degrees: float
    seed: int
    has_maximum: ClassVar[bool] = True

    def draws(self, n: int, seed: int) -> Array:
        """Return n draws of the natural parameters, (n, P)."""
        return draws(self.point, self.found, self.layout, n, np.random.default_rng(seed))

    def intervals(self, level: float) -> pd.DataFrame:
        """Return low, high, estimate and sd of every overlap and rate."""
        table = interval_table(self.point, self.found, self.layout, level, self.degrees, self.seed)
        return around(table)[0]


def interval_table(
    natural: Array,
    found: Identified,
    layout: ParameterLayout,
    level: float,
    degrees: float,
    seed: int,
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


def drawn_table(natural: Array, rows: Array, layout: ParameterLayout, level: float) -> pd.DataFrame:
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


def narrower(rows: Array, found: Identified, layout: ParameterLayout) -> list[str]:
    """Return the names of what draws, (draws, P), hold far tighter than the curvature does."""
    sd = np.sqrt(np.clip(np.diag(found.covariance), 0.0, None))
    return [layout.names[k] for k in np.flatnonzero(rows.std(axis=0, ddof=1) < _NARROW * sd)]


def around(
    table: pd.DataFrame,
    doubted: Sequence[str] = (),
    again: Callable[[str], tuple[float, float, float]] | None = None,
) -> tuple[pd.DataFrame, list[str]]:
    """Return intervals none of which excludes its estimate: all that are reported pass here.

    Parameters
    ----------
    table : pandas.DataFrame
        low, high, estimate, sd.
    doubted : sequence of str
        Rows to make anew, beside those that exclude their estimate.
    again : callable, optional
        Makes low, high and sd of a row anew. Not given: what excludes its estimate is widened to
        hold it.

    Returns
    -------
    table : pandas.DataFrame
        The intervals.
    anew : list of str
        Rows made anew.

    Examples
    --------
    >>> table = pd.DataFrame({"low": [0.1], "high": [0.2], "estimate": [0.3], "sd": [0.1]}, ["zv"])
    >>> found, anew = around(table, again=lambda name: (0.2, 0.4, 0.1))
    >>> found.loc["zv", ["low", "high"]].tolist(), anew
    ([0.2, 0.4], ['zv'])
    """
    out = table.copy()
    inside = (out["low"] <= out["estimate"]) & (out["estimate"] <= out["high"])
    anew = [] if again is None else list(out.index[~inside | out.index.isin(list(doubted))])
    for name in anew:
        assert again is not None
        out.loc[name, ["low", "high", "sd"]] = again(name)
    out["low"] = out[["low", "estimate"]].min(axis=1)
    out["high"] = out[["high", "estimate"]].max(axis=1)
    return out, anew


def _reached(
    natural: Array, found: Identified, layout: ParameterLayout, seed: int
) -> tuple[Array, Array]:
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
