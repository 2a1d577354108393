"""Courses over sessions: what was predicted and what was measured, one panel a quantity."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from predictlearn.reporting.style import COLOURS, INK, columns, new_figure, styled, unique

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["courses"]


@styled
def courses(
    frame: pd.DataFrame,
    *,
    xlabel: str = "Epoch",
    measured: str = "measured",
    truth: str = "ground truth",
) -> Figure:
    """Draw predicted courses with bands, and measured values with intervals over them.

    Parameters
    ----------
    frame : pandas.DataFrame
        One row per quantity and session: ``name``, ``epoch``, ``predicted``, ``predicted_low``,
        ``predicted_high``, ``measured``, ``low``, ``high``; optionally ``truth``.
    xlabel : str
        Label of the horizontal axes.
    measured : str
        What the legend calls the measured values.
    truth : str
        What it calls the known ones.

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
    >>> frame = pd.DataFrame({"name": "vu", "epoch": [0, 10], "predicted": [0.1, 0.4],
    ...     "predicted_low": [0.0, 0.3], "predicted_high": [0.2, 0.5], "measured": [0.1, 0.35],
    ...     "low": [0.0, 0.2], "high": [0.2, 0.5]})
    >>> courses(frame).axes[0].get_ylabel()
    'vu'
    """
    needed = ("predicted", "predicted_low", "predicted_high", "measured", "low", "high")
    frame = columns(frame, "name", "epoch", *needed)
    names = unique(frame["name"])
    n_columns = min(3, len(names))
    n_rows = math.ceil(len(names) / n_columns)
    figure = new_figure(3.4 if n_columns == 1 else 0.7 + 2.5 * n_rows)
    grid = figure.subplots(n_rows, n_columns, squeeze=False, sharex=True)
    for axes in grid.flat[len(names) :]:
        axes.remove()
    for number, (axes, name) in enumerate(zip(grid.flat, names, strict=False)):
        rows = frame[frame["name"].astype(str) == name].sort_values("epoch")
        x = rows["epoch"].to_numpy(float)
        axes.fill_between(
            x, rows["predicted_low"], rows["predicted_high"], color=COLOURS["blue"], alpha=0.22,
            linewidth=0, label="predicted, 95% of draws",
        )  # fmt: skip
        axes.plot(x, rows["predicted"], color=COLOURS["blue"], label="predicted")
        value = rows["measured"].to_numpy(float)
        # an interval may not hold its own estimate; its ends are drawn as they are
        axes.vlines(x, rows["low"], rows["high"], color=COLOURS["black"], linewidth=1.3)
        axes.plot(
            x, value, "o", color=COLOURS["black"], markersize=4.5, label=f"{measured}, 95% interval"
        )
        if "truth" in rows and np.isfinite(rows["truth"].to_numpy(float)).any():
            axes.plot(
                x, rows["truth"], "_", color=COLOURS["vermillion"], markersize=13,
                markeredgewidth=2.0, label=truth,
            )  # fmt: skip
        axes.set_ylabel(name, color=INK)
        axes.margins(x=0.06)
        if number + n_columns >= len(names):
            axes.set_xlabel(xlabel)
            axes.tick_params(labelbottom=True)
    handles, labels = grid.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper left", ncols=min(4, len(handles)))
    return figure
