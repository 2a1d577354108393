"""Figures of overlaps: what was estimated, how learning changes it, and what accounts for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from predictlearn.errors import InputError
from predictlearn.reporting.style import (
    COLOURS,
    INK,
    SOFT,
    arm_colours,
    columns,
    new_figure,
    row_axis,
    styled,
    unique,
    zero_line,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["TIERS", "exposure", "overlap_changes", "overlap_intervals"]

TIERS: Mapping[str, str] = {
    "loss-visible": "Loss-visible",
    "loss-invisible": "Loss-invisible",
    "recording": "Seen by a recording, not by the loss",
    "known readout": "Known: the experimenter sets the readout",
    "hidden": "Hidden from any single recording: drawn from the prior",
}
"""Tiers of visibility, and their headings."""

_TIER_COLOURS = {
    "loss-visible": COLOURS["blue"],
    "loss-invisible": COLOURS["purple"],
    "recording": COLOURS["green"],
    "known readout": COLOURS["purple"],
    "hidden": SOFT,
}
_ROW = 0.235
_MOST_BARS = 12
# Intervals that reach so many times farther than the median one are cut.
_FAR = 6.0


@styled
def overlap_intervals(
    frame: pd.DataFrame, *, xlabel: str = "Overlap (95% interval)", truth: str = "ground truth"
) -> Figure:
    """Draw overlaps with their intervals, one panel a tier of visibility.

    Parameters
    ----------
    frame : pandas.DataFrame
        One row an overlap: ``name``, ``estimate``, ``low``, ``high``, ``visibility``
        (``"loss-visible"``, ``"recording"``, ``"known readout"``, ``"hidden"``, or any heading),
        optionally ``truth``.
        Rows without an estimate are listed as not seen.
    xlabel : str
        Label of the horizontal axes; overlaps have no unit.
    truth : str
        What the legend calls the known values.

    Returns
    -------
    matplotlib.figure.Figure
        The figure; each tier has its own scale, since norms and cross overlaps differ in size.

    Raises
    ------
    InputError
        If a column is missing.

    Examples
    --------
    >>> frame = pd.DataFrame({"name": ["zm"], "estimate": [0.1], "low": [0.0], "high": [0.2],
    ...                       "visibility": ["loss-visible"]})
    >>> overlap_intervals(frame).axes[0].get_title(loc="left")
    'Loss-visible'
    """
    frame = columns(frame, "name", "estimate", "low", "high", "visibility")
    given = unique(frame["visibility"])
    tiers = [tier for tier in TIERS if tier in given] + [t for t in given if t not in TIERS]
    groups = [frame[frame["visibility"].astype(str) == tier] for tier in tiers]
    counts = [len(group) for group in groups]
    figure = new_figure(_ROW * sum(counts) + 0.62 * len(tiers) + 0.55)
    grid = figure.subplots(
        len(tiers), 1, squeeze=False, height_ratios=[count + 0.6 for count in counts]
    )
    panels: list[Axes] = list(grid[:, 0])
    for axes, tier, group in zip(panels, tiers, groups, strict=True):
        _intervals(axes, group, _TIER_COLOURS.get(tier, COLOURS["purple"]), tier == "hidden")
        title = TIERS.get(tier, tier)
        if _spread_out(axes, group):
            title += " (logarithmic away from zero)"
        axes.set_title(title, fontweight="bold")
    _common_scale(panels)
    for axes, group in zip(panels, groups, strict=True):
        _cut_far_ends(axes, group)
    panels[-1].set_xlabel(xlabel)
    if "truth" in frame and frame["truth"].notna().any():
        from matplotlib.lines import Line2D

        mark = Line2D([], [], marker="|", color=INK, markersize=11, markeredgewidth=1.8,
                      linestyle="none", label=truth)  # fmt: skip
        figure.legend(handles=[mark], loc="outside upper right", handletextpad=0.2)
    return figure


def _intervals(axes: Axes, group: pd.DataFrame, colour: str, hidden: bool) -> None:
    """Draw the dots and intervals of one tier."""
    row_axis(axes, [str(name) for name in group["name"]])
    zero_line(axes)
    y = np.arange(len(group))
    estimate, low, high = (group[name].to_numpy(float) for name in ("estimate", "low", "high"))
    style: dict[str, Any] = {"linestyle": (0, (2, 1.5))} if hidden else {}
    axes.hlines(y, low, high, color=colour, linewidth=2.0, alpha=0.9, **style)
    axes.plot(
        estimate, y, linestyle="none", marker="D" if hidden else "o", markersize=5.5, color=colour,
        markerfacecolor="white" if hidden else colour, markeredgewidth=1.3, zorder=3,
    )  # fmt: skip
    if "truth" in group:
        axes.plot(
            group["truth"].to_numpy(float), y, linestyle="none", marker="|", markersize=11,
            markeredgewidth=1.8, color=INK, zorder=4,
        )  # fmt: skip
    for row in np.flatnonzero(~np.isfinite(estimate)):
        axes.annotate(
            "not seen", (0.0, row), xytext=(5, 0), textcoords="offset points",
            color=SOFT, fontsize=8, va="center", style="italic",
        )  # fmt: skip
    if not np.isfinite(np.concatenate([estimate, low, high])).any():
        # nothing to read off this axis
        axes.set_xticks([])
        axes.spines["bottom"].set_visible(False)


def _spread_out(axes: Axes, group: pd.DataFrame) -> bool:
    """Set a scale that is logarithmic away from zero if known values would sit in one spot.

    That is where a quarter of the values reach less than a fiftieth of the largest, although some
    of them are known not to be zero.
    """
    seen = group[np.isfinite(group[["estimate", "low", "high"]].to_numpy(float)).all(axis=1)]
    low, high = seen["low"].to_numpy(float), seen["high"].to_numpy(float)
    reach = np.maximum(np.abs(low), np.abs(high))
    small = reach < reach.max(initial=0.0) / 50
    known = np.abs(seen["estimate"].to_numpy(float))[small & (low * high > 0)]
    if known.size == 0 or small.sum() * 4 < len(seen):
        return False
    axes.set_xscale("symlog", linthresh=float(10 ** np.ceil(np.log10(np.median(known)))))
    return True


def _cut_far_ends(axes: Axes, group: pd.DataFrame) -> None:
    """Cut intervals that would squeeze all others to a spot, with an arrow where they go on."""
    ends = group[["low", "high"]].to_numpy(float)
    reach = np.abs(ends).max(axis=1)
    reach = reach[np.isfinite(reach) & (reach > 0)]
    if reach.size < 3 or axes.get_xscale() != "linear":
        return
    limit = _FAR * float(np.median(reach))
    if reach.max() <= 2 * limit:
        return
    low, high = axes.get_xlim()
    low, high = max(low, -limit), min(high, limit)
    axes.set_xlim(low, high)
    for row, (a, b) in enumerate(ends):
        for end, edge, mark in ((a, low, "<"), (b, high, ">")):
            if (end < low and mark == "<") or (end > high and mark == ">"):
                axes.plot(
                    [edge], [row], marker=mark, markersize=7, color=INK, clip_on=False, zorder=5
                )


def _common_scale(panels: list[Axes]) -> None:
    """Give panels one horizontal scale, unless one would squeeze another to less than a third."""
    if any(axes.get_xscale() != "linear" for axes in panels):
        return
    panels = [axes for axes in panels if len(axes.get_xticks())]
    if not panels:
        return
    limits = [axes.get_xlim() for axes in panels]
    low, high = min(pair[0] for pair in limits), max(pair[1] for pair in limits)
    if all((pair[1] - pair[0]) * 3.0 >= high - low for pair in limits):
        for axes in panels:
            axes.set_xlim(low, high)
        for axes in panels[:-1]:
            axes.tick_params(axis="x", labelbottom=False, length=0)
            axes.spines["bottom"].set_visible(False)


@styled
def overlap_changes(
    frame: pd.DataFrame, *, xlabel: str = "Change of the overlap through learning (95% interval)"
) -> Figure:
    """Draw how overlaps change through learning, by arm.

    Parameters
    ----------
    frame : pandas.DataFrame
        One row per overlap and arm: ``name``, ``arm``, ``mean``, ``low``, ``high``; optionally
        ``visibility``, which groups the rows into panels as in `overlap_intervals`.
    xlabel : str
        Label of the horizontal axis.

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
    >>> frame = pd.DataFrame(
    ...     {"name": "zm", "arm": ["A", "B"], "mean": [0.1, 0.2], "low": 0.0, "high": 0.3}
    ... )
    >>> len(overlap_changes(frame).axes)
    1
    """
    frame = columns(frame, "name", "arm", "mean", "low", "high")
    data = frame if "visibility" in frame else frame.assign(visibility="")
    given = unique(data["visibility"])
    tiers = [tier for tier in TIERS if tier in given] + [t for t in given if t not in TIERS]
    colours = arm_colours(unique(data["arm"]))
    names = [unique(data.loc[data["visibility"].astype(str) == tier, "name"]) for tier in tiers]
    row = max(_ROW, 0.11 * (len(colours) + 1))
    figure = new_figure(row * sum(map(len, names)) + 0.55 * len(tiers) + 0.9)
    grid = figure.subplots(
        len(tiers), 1, squeeze=False, height_ratios=[len(group) + 0.6 for group in names]
    )
    panels: list[Axes] = list(grid[:, 0])
    step = 0.62 / max(len(colours), 2)
    for axes, tier, rows in zip(panels, tiers, names, strict=True):
        of_tier = data[data["visibility"].astype(str) == tier]
        row_axis(axes, rows)
        zero_line(axes)
        for k, (arm, colour) in enumerate(colours.items()):
            of_arm = of_tier[of_tier["arm"].astype(str) == arm]
            shift = (k - (len(colours) - 1) / 2) * step
            y = np.array([rows.index(str(name)) for name in of_arm["name"]]) + shift
            axes.hlines(y, of_arm["low"], of_arm["high"], color=colour, linewidth=1.8)
            axes.plot(of_arm["mean"], y, "o", color=colour, markersize=4.5, label=arm)
        if tier:
            axes.set_title(TIERS.get(tier, tier).split(":")[0], fontweight="bold")
    _common_scale(panels)
    panels[-1].set_xlabel(xlabel)
    handles = panels[0].get_legend_handles_labels()[0]
    figure.legend(handles=handles, loc="outside upper left", ncols=min(4, len(handles)))
    return figure


@styled
def exposure(
    frame: pd.DataFrame, *, xlabel: str = "Contribution to the difference in learning speed"
) -> Figure:
    """Draw which overlaps account for a difference, as signed bars, the largest on top.

    Parameters
    ----------
    frame : pandas.DataFrame
        One row an overlap: ``name`` (or ``overlap``), ``contribution``; optionally ``low`` and
        ``high``, its interval. Several rows of one name (draws, networks) are averaged, with the
        central 95% of them as interval. Beyond twelve, the smallest are added up in one bar.
    xlabel : str
        Label of the horizontal axis, with its unit.

    Returns
    -------
    matplotlib.figure.Figure
        The figure.

    Raises
    ------
    InputError
        If a column is missing, or no contribution is a number.

    Examples
    --------
    >>> frame = pd.DataFrame({"overlap": ["uu", "mu"], "contribution": [0.3, -0.1]})
    >>> len(exposure(frame).axes[0].patches)
    2
    """
    if isinstance(frame, pd.DataFrame) and "name" not in frame and "overlap" in frame:
        frame = frame.rename(columns={"overlap": "name"})
    frame = columns(frame, "name", "contribution")
    data = frame[np.isfinite(frame["contribution"].to_numpy(float))]
    if data["name"].duplicated().any():
        grouped = data.groupby("name", sort=False)["contribution"]
        data = pd.DataFrame(
            {
                "contribution": grouped.mean(),
                "low": grouped.quantile(0.025),
                "high": grouped.quantile(0.975),
            }
        ).reset_index()
    if data.empty:
        raise InputError("contribution must hold at least one number; all are missing.")
    data = data.sort_values("contribution", key=lambda c: -c.abs(), kind="stable")
    rest = data.iloc[_MOST_BARS:]
    data = data.iloc[:_MOST_BARS]
    names = [str(name) for name in data["name"]]
    values = data["contribution"].to_numpy(float)
    if len(rest):
        names.append(f"{len(rest)} others")
        values = np.append(values, float(rest["contribution"].sum()))
    figure = new_figure(0.27 * len(names) + 1.15)
    axes = figure.subplots()
    row_axis(axes, names)
    axes.axvline(0.0, color=SOFT, linewidth=0.9)
    colours = [COLOURS["blue"] if value >= 0 else COLOURS["vermillion"] for value in values]
    axes.barh(np.arange(len(names)), values, height=0.62, color=colours)
    reach = values.copy()
    if {"low", "high"} <= set(data.columns):
        low, high = data["low"].to_numpy(float), data["high"].to_numpy(float)
        axes.hlines(np.arange(len(data)), low, high, color=INK, linewidth=1.2)
        ends = np.where(values[: len(data)] >= 0, np.fmax(high, values[: len(data)]),
                        np.fmin(low, values[: len(data)]))  # fmt: skip
        reach[: len(data)] = ends
    for row, (value, end) in enumerate(zip(values, reach, strict=True)):
        axes.annotate(
            f"{value:+.2g}".replace("-", "−"), (end, row),
            xytext=(5 if value >= 0 else -5, 0), textcoords="offset points",
            ha="left" if value >= 0 else "right", va="center", fontsize=8.5,
        )  # fmt: skip
    axes.margins(x=0.16)
    axes.set_xlabel(xlabel)
    return figure
