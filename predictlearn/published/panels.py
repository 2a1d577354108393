"""Panels that several figures of the gallery share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from predictlearn.reporting.style import COLOURS, FAINT, INK, SOFT

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

__all__ = ["HIDDEN", "SEEN", "Line", "label_overlap", "overlap_panels", "phase_marks"]

SEEN = COLOURS["blue"]
HIDDEN = SOFT


@dataclass(frozen=True)
class Line:
    """A curve of every overlap.

    Parameters
    ----------
    label : str
        For the legend.
    frame : pandas.DataFrame
        Column ``epoch`` and one column an overlap.
    style : dict
        What matplotlib's plot takes: colour, line style, width.
    """

    label: str
    frame: pd.DataFrame
    style: dict[str, Any]


def label_overlap(axes: Axes, name: str, hidden: bool) -> None:
    """Write the name of an overlap above its panel; of an invisible one, in grey."""
    axes.set_title(name, color=HIDDEN if hidden else SEEN, fontweight="bold", pad=4.0)


def phase_marks(
    axes: Axes, starts: Sequence[float], names: Sequence[str] = (), shaded: Sequence[int] = ()
) -> None:
    """Mark where phases begin; shade some of them, and write their names above."""
    edges = [*starts, axes.get_xlim()[1]]
    for k, start in enumerate(starts):
        if k > 0:
            axes.axvline(start, color=FAINT, linewidth=0.8, zorder=0)
        if k in shaded:
            axes.axvspan(start, edges[k + 1], color="#f3f5f7", zorder=-1, linewidth=0)
    for k, name in enumerate(names):
        axes.text(
            (starts[k] + edges[k + 1]) / 2, 1.02, name, transform=axes.get_xaxis_transform(),
            ha="center", va="bottom", fontsize=7.5, color=INK,
        )  # fmt: skip


def overlap_panels(
    figure: Figure | SubFigure,
    names: Sequence[str],
    hidden: Sequence[str],
    lines: Sequence[Line],
    columns: int = 5,
    starts: Sequence[float] = (),
) -> np.ndarray:
    """Draw overlaps against epochs, a panel each.

    Parameters
    ----------
    figure : matplotlib figure
        Where to draw; it should be empty.
    names : sequence of str
        Overlaps, in order.
    hidden : sequence of str
        Those that are loss-invisible; their titles are grey.
    lines : sequence of Line
        Curves, the first at the back.
    columns : int, default 5
        Panels in a row.
    starts : sequence of float
        Where phases begin.

    Returns
    -------
    numpy.ndarray of matplotlib axes
        Flat, one per overlap.
    """
    rows = -(-len(names) // columns)
    grid = figure.subplots(rows, columns, squeeze=False, sharex=True)
    for k, axes in enumerate(grid.flat):
        if k >= len(names):
            axes.set_visible(False)
            continue
        name = names[k]
        for line in lines:
            axes.plot(line.frame["epoch"], line.frame[name], **line.style)
        label_overlap(axes, name, name in hidden)
        axes.tick_params(labelsize=7.5)
        axes.margins(x=0.0)
        if starts:
            phase_marks(axes, starts)
        if k + columns >= len(names):
            axes.set_xlabel("Epoch")
            axes.tick_params(labelbottom=True)
    for row in grid:
        row[0].set_ylabel("Overlap")
    return np.asarray(grid.flat[: len(names)])
