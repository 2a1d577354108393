"""Figures of the twins: their overlaps, and how well their history is decoded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from predictlearn.published.twin_history.twins import GAUGES, NOISES, SEEN, TIMES, Twins, features
from predictlearn.reporting.style import COLOURS, FAINT, INK, SOFT, new_figure, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["decoding_figure", "overlaps_figure"]

_HISTORY = (COLOURS["green"], COLOURS["purple"])
_SEEN = {"visible": COLOURS["blue"], "invisible": COLOURS["vermillion"]}
_TITLES = {
    "before": "before\nlearning",
    "after first": "after the\nfirst task",
    "after third": "after the\nthird task",
}
_GAUGES = {"raw": "overlaps as they are", "canonical": "canonical gauge"}
_MARKERS = {"none": "o", "0.3": "D", "0.3 spreads": "^"}
_BAND = "#dde2e7"
_APART = 0.17
_SIGNIFICANT = 0.05


def _paired(
    axes: Axes, twins: Twins, time: str, gauge: str, seen: str, teacher: Mapping[str, float]
) -> None:
    """Draw the overlaps of both twins of every pair, joined."""
    tables = [features(table, seen, gauge) for table in twins.states[time]]
    for x, name in enumerate(tables[0]):
        values = np.stack([table[name].to_numpy() for table in tables])
        axes.plot([x - _APART, x + _APART], values, color=FAINT, linewidth=0.7, zorder=1)
        for side, colour, value in zip((-1, 1), _HISTORY, values, strict=True):
            place = np.full(len(value), x + side * _APART)
            axes.plot(place, value, "o", color=colour, markersize=2.6, zorder=2)
        if name in teacher:
            axes.plot([x - 0.36, x + 0.36], [teacher[name]] * 2, color=INK, linewidth=1.0)
    if seen == "invisible":
        axes.set_facecolor("#f0f2f4")
    axes.set_title(seen, color=_SEEN[seen], fontsize=8.5, loc="center", pad=3.0)
    axes.axhline(0.0, color=FAINT, linewidth=0.8, zorder=0)
    axes.set_xticks(range(tables[0].shape[1]), list(tables[0]))
    axes.tick_params(axis="x", length=0)
    axes.tick_params(labelsize=8)
    axes.set_xlim(-0.5, tables[0].shape[1] - 0.5)


@styled
def overlaps_figure(twins: Twins, teacher: Mapping[str, float]) -> Figure:
    """Return the overlaps of all twins after the first and after the third task.

    Parameters
    ----------
    twins : Twins
        The pairs.
    teacher : mapping of str to float
        Visible overlaps of the teacher in the canonical gauge.

    Returns
    -------
    matplotlib.figure.Figure
        Rows by time, columns by gauge.
    """
    from matplotlib.lines import Line2D

    figure = new_figure(5.4)
    parts = np.asarray(figure.subfigures(2, 2, width_ratios=[10, 9]))
    for row, time in zip(parts, TIMES[1:], strict=True):
        for part, gauge in zip(row, GAUGES, strict=True):
            part.suptitle(f"{_TITLES[time].replace(chr(10), ' ').capitalize()}, {_GAUGES[gauge]}",
                          fontsize=9.5, x=0.02, ha="left")  # fmt: skip
            pair = part.subplots(1, 2, width_ratios=[7 if gauge == "raw" else 6, 3])
            at_goal = gauge == "canonical" and time == TIMES[2]
            for axes, seen in zip(pair, SEEN, strict=True):
                known = teacher if at_goal and seen == "visible" else {}
                _paired(axes, twins, time, gauge, seen, known)
            if gauge == "raw":
                pair[0].set_ylabel("Overlap")
    handles = [
        Line2D([], [], marker="o", linestyle="", markersize=4, color=colour, label=history)
        for colour, history in zip(_HISTORY, twins.histories, strict=True)
    ]
    handles.append(Line2D([], [], color=INK, linewidth=1.0, label="teacher of the third task"))
    figure.legend(handles=handles, loc="outside upper center", ncols=3)
    return figure


def _decoded(axes: Axes, rows: pd.DataFrame) -> None:
    """Draw the accuracies of one way to split, over what exchanged labels give."""
    ways = [(seen, noise) for seen in SEEN for noise in NOISES]
    wide = len(ways) + 1.4
    for k, time in enumerate(TIMES):
        for j, (seen, noise) in enumerate(ways):
            keep = (rows["time"] == time) & (rows["seen"] == seen) & (rows["noise"] == noise)
            row = rows[keep].iloc[0]
            x = wide * k + j
            axes.plot([x, x], [row["low"], row["high"]], color=_BAND, linewidth=6,
                      solid_capstyle="butt", zorder=1)  # fmt: skip
            axes.plot(
                x, row["accuracy"], _MARKERS[noise], color=_SEEN[seen], markersize=4.8, zorder=3,
                markerfacecolor=_SEEN[seen] if row["p"] < _SIGNIFICANT else "white", clip_on=False,
            )  # fmt: skip
    _accuracy_axis(axes)
    middle = (len(ways) - 1) / 2
    axes.set_xticks(
        [wide * k + middle for k in range(len(TIMES))], [_TITLES[time] for time in TIMES]
    )
    axes.tick_params(axis="x", length=0)


def _accuracy_axis(axes: Axes) -> None:
    """Make the vertical axis one of accuracies, with the line of guessing."""
    axes.axhline(0.5, color=SOFT, linewidth=0.8, linestyle=(0, (4, 2)), zorder=2)
    axes.set_ylim(0.0, 1.03)
    axes.set_yticks([0.0, 0.25, 0.5, 0.75, 1.0])


def _course(axes: Axes, course: pd.DataFrame) -> None:
    """Draw accuracy along the third task."""
    for seen, colour in _SEEN.items():
        rows = course[course["seen"] == seen]
        thousand = rows["epoch"] / 1000
        axes.fill_between(
            thousand, rows["low"], rows["high"], color=colour, alpha=0.13, linewidth=0, zorder=1
        )
        axes.plot(thousand, rows["accuracy"], color=colour, marker="D", markersize=3.5, zorder=3,
                  clip_on=False)  # fmt: skip
    _accuracy_axis(axes)
    axes.margins(x=0.01)
    axes.set_xlabel("Thousand epochs of the third task")
    axes.set_ylabel("Accuracy")
    axes.set_title("Along the third task, noise of sd 0.3")


def _blurred(axes: Axes, noise: pd.DataFrame) -> None:
    """Draw accuracy after the third task by noise."""
    for seen, colour in _SEEN.items():
        rows = noise[noise["seen"] == seen]
        axes.semilogx(
            rows["noise"], rows["accuracy"], "D-", color=colour, markersize=3.5, clip_on=False
        )
    axes.axvline(0.3, color=FAINT, linewidth=1.0, zorder=0)
    _accuracy_axis(axes)
    axes.set_xlabel("Noise on training overlaps, sd")
    axes.set_title("After the third task, by noise (line: 0.3)")


@styled
def decoding_figure(
    decoding: pd.DataFrame, course: pd.DataFrame, noise: pd.DataFrame, gauge: str = "raw"
) -> Figure:
    """Return how well the first task is decoded, against chance.

    Parameters
    ----------
    decoding : pandas.DataFrame
        From `predictlearn.published.twin_history.twins.decoding_table`.
    course : pandas.DataFrame
        From `predictlearn.published.twin_history.twins.course_table`.
    noise : pandas.DataFrame
        From `predictlearn.published.twin_history.twins.noise_table`.
    gauge : {"raw", "canonical"}
        Which rows of `decoding` to draw.

    Returns
    -------
    matplotlib.figure.Figure
        Pairs kept together; single networks drawn; along the third task; by noise after it.
    """
    figure = new_figure(5.6)
    top, bottom = np.asarray(figure.subfigures(2, 1, height_ratios=[1.3, 1.0]))
    left, right = top.subplots(1, 2, sharey=True)
    rows = decoding[decoding["gauge"] == gauge]
    _decoded(left, rows[rows["together"]])
    _decoded(right, rows[~rows["together"]])
    left.set_ylabel("Accuracy on test networks")
    left.set_title("Pairs kept together in all splits")
    right.set_title("Single networks drawn: twins on both sides")
    top.legend(
        handles=_legend(), loc="outside upper center", ncols=4, handletextpad=0.3, columnspacing=1.4
    )
    along, blurred = bottom.subplots(1, 2, sharey=True)
    _course(along, course)
    _blurred(blurred, noise)
    return figure


def _legend() -> list[Any]:
    """Return what colours, markers and bands mean."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    def mark(label: str, marker: str, **look: Any) -> Line2D:
        return Line2D([], [], linestyle="", marker=marker, markersize=5.5, label=label, **look)

    return [
        mark("visible overlaps", "o", color=_SEEN["visible"]),
        mark("invisible overlaps", "o", color=_SEEN["invisible"]),
        mark("no noise", "o", color=SOFT),
        mark("noise of sd 0.3", "D", color=SOFT),
        mark("noise of 0.3 spreads", "^", color=SOFT),
        mark("filled: p < 0.05; open: not", "o", color=SOFT, fillstyle="left"),
        Patch(color=_BAND, label="95% of label exchanges"),
    ]
