"""Outcomes of single animals: by arm, before and after, or one number against another."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from predictlearn.reporting.figures.comparison import wrapped
from predictlearn.reporting.style import COLOURS, INK, PALETTE, SOFT, columns, new_figure, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["MOST_DRAWN", "animals_by_arm", "animals_scattered"]

MOST_DRAWN = 120
"""Animals of an arm that are drawn; more dots cover one another."""

_MARKERS = ("o", "s", "^", "D")
_JITTER = 0.13
# Inches: a phone shows these nearly at their size. Letters of all names of arms on one line.
_WIDTH, _HEIGHT, _LETTERS = 3.9, 3.5, 30


def _interval(values: npt.NDArray[np.float64]) -> float:
    """Return half the 95% t interval of a mean."""
    n = len(values)
    if n < 2:
        return 0.0
    return float(stats.t.ppf(0.975, n - 1) * values.std(ddof=1) / np.sqrt(n))


@styled
def animals_by_arm(
    frame: pd.DataFrame, outcome: str, ylabel: str, paired: bool = False, xlabel: str = ""
) -> Figure:
    """Draw an outcome of every animal by arm, with means and their 95% intervals.

    Parameters
    ----------
    frame : pandas.DataFrame
        Tidy: ``subject``, ``arm`` and the outcome, one row an animal and arm.
    outcome : str
        Column of the outcome.
    ylabel : str
        Label of the vertical axis, with its unit.
    paired : bool, default False
        Whether arms are conditions of the same animals, which are then joined.
    xlabel : str, default ""
        Label of the arms.

    Returns
    -------
    matplotlib.figure.Figure
        The figure; of many animals `MOST_DRAWN` are drawn, and means are of all.

    Raises
    ------
    InputError
        If a column is missing.

    Examples
    --------
    >>> frame = pd.DataFrame({"subject": [0, 1, 0, 1], "arm": list("aabb"), "y": [1., 2., 2., 4.]})
    >>> animals_by_arm(frame, "y", "Angle (degrees)", paired=True).axes[0].get_ylabel()
    'Angle (degrees)'
    """
    frame = columns(frame, "subject", "arm", outcome)
    arms = list(dict.fromkeys(frame["arm"]))
    figure = new_figure(_HEIGHT, _WIDTH)
    axes = figure.subplots()
    rng = np.random.default_rng(0)
    shown = list(dict.fromkeys(frame["subject"])) if paired else []
    keep = set(shown[:MOST_DRAWN])
    if paired:
        wide = frame[frame["subject"].isin(keep)].pivot(
            index="subject", columns="arm", values=outcome
        )
        axes.plot(range(len(arms)), wide[arms].to_numpy().T, color=SOFT, linewidth=0.5, alpha=0.35)
    for k, arm in enumerate(arms):
        values = frame.loc[frame["arm"] == arm, outcome].to_numpy(float)
        some = values[:MOST_DRAWN]
        at = k + (0.0 if paired else 1.0) * rng.uniform(-_JITTER, _JITTER, len(some))
        colour = PALETTE[k % len(PALETTE)]
        axes.plot(
            at, some, _MARKERS[k % 4], color=colour, markersize=3.5, alpha=0.55, markeredgewidth=0
        )
        axes.errorbar(
            k + (0.28 if k == len(arms) - 1 or not paired else -0.28),
            values.mean(),
            _interval(values),
            fmt=_MARKERS[k % 4],
            color=COLOURS["black"],
            markersize=6,
            capsize=4,
            linewidth=1.6,
        )
    names = [wrapped(str(arm), max(8, _LETTERS // len(arms))) for arm in arms]
    axes.set_xticks(range(len(arms)), names)
    axes.set_xlim(-0.55, len(arms) - 0.45)
    axes.set_ylabel(ylabel, color=INK)
    axes.set_xlabel(xlabel, color=INK)
    return figure


@styled
def animals_scattered(
    frame: pd.DataFrame, x: str, y: str, xlabel: str, ylabel: str, by: str | None = None
) -> Figure:
    """Draw one number of every animal against another, with a line where there is one group.

    Parameters
    ----------
    frame : pandas.DataFrame
        One row an animal.
    x, y : str
        Columns.
    xlabel, ylabel : str
        Labels of the axes, with units.
    by : str, optional
        Column of groups, which get colours and markers of their own; else the least-squares line
        is drawn.

    Returns
    -------
    matplotlib.figure.Figure
        The figure.

    Raises
    ------
    InputError
        If a column is missing.

    Examples
    --------
    >>> frame = pd.DataFrame({"x": [1.0, 2.0, 3.0], "y": [1.0, 2.5, 2.0]})
    >>> animals_scattered(frame, "x", "y", "Speed", "Speed later").axes[0].get_xlabel()
    'Speed'
    """
    frame = columns(frame, x, y, *([by] if by else []))
    figure = new_figure(_HEIGHT, _WIDTH)
    axes = figure.subplots()
    groups = [("", frame)] if by is None else list(frame.groupby(by, sort=False))
    for k, (name, rows) in enumerate(groups):
        axes.plot(
            rows[x], rows[y], _MARKERS[k % 4], color=PALETTE[k % len(PALETTE)], markersize=4,
            alpha=0.65, markeredgewidth=0, label=str(name),
        )  # fmt: skip
    if by is None:
        ends = np.array([frame[x].min(), frame[x].max()])
        slope, start = np.polyfit(frame[x].to_numpy(float), frame[y].to_numpy(float), 1)
        axes.plot(ends, start + slope * ends, color=COLOURS["black"])
    else:
        letters = sum(len(str(name)) for name, _ in groups)
        ncols = len(groups) if letters <= _LETTERS else 1
        figure.legend(loc="outside upper left", ncols=ncols)
    axes.set_xlabel(xlabel, color=INK)
    axes.set_ylabel(ylabel, color=INK)
    return figure
