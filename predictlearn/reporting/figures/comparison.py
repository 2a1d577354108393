"""Figures of comparisons: effect sizes, and predictions beside what was measured."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from predictlearn.checks import positive_int
from predictlearn.errors import InputError
from predictlearn.reporting.style import (
    COLOURS,
    INK,
    SOFT,
    WIDTH,
    columns,
    new_figure,
    row_axis,
    styled,
    zero_line,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["effect_sizes", "real_learning"]

_KINDS = {
    "measured": COLOURS["black"],
    "predicted": COLOURS["blue"],
    "baseline": COLOURS["orange"],
}
_BASELINES = (COLOURS["orange"], COLOURS["green"], COLOURS["purple"], COLOURS["sky"])
_BASELINE_DASHES = ((0, (5, 2)), (0, (2, 1.5)), (0, (6, 2, 1, 2)), (0, (1, 1)))
_NARROW = 3.9
_MINUS = str.maketrans("-", "−")


def _short(value: float) -> str:
    """Return a number to three figures, without an exponent where it can be read."""
    if math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    if value == 0:
        return "0"
    size = math.floor(math.log10(abs(value)))
    if not -4 <= size <= 5:
        return f"{value:.1e}".translate(_MINUS)
    return (
        f"{value:.{max(0, 2 - max(size, 0))}f}".translate(_MINUS)
        if size >= -2
        else (f"{value:.2g}".translate(_MINUS))
    )


def _p_text(p: float) -> str:
    """Return a p value as text."""
    if math.isnan(p):
        return ""
    return "p < 0.0001" if p < 1e-4 else f"p = {p:.2g}"


@styled
def effect_sizes(
    frame: pd.DataFrame,
    *,
    xlabel: str = "Effect size (95% interval)",
    zero: bool = True,
    printed: bool = True,
) -> Figure:
    """Draw estimates with intervals as rows, and print them beside the rows.

    Parameters
    ----------
    frame : pandas.DataFrame
        One row an estimate: ``label``, ``estimate``, ``low``, ``high``; optionally ``p`` and
        ``kind`` (``"measured"``, ``"predicted"``, ``"baseline"``), which gives the colour,
        and ``group``, whose changes are marked by a heading.
        Infinite values, of data that do not vary, are drawn as an arrow at the edge.
    xlabel : str
        Label of the horizontal axis, with its unit.
    zero : bool, default True
        Draw the line of no effect and keep it in view.
    printed : bool, default True
        Print the numbers; without them the figure is half as wide, for a phone to show at nearly
        its size, and a table beside it should hold them.

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
    ...     {"label": ["final loss"], "estimate": [0.8], "low": [0.2], "high": [1.4], "p": [0.01]}
    ... )
    >>> effect_sizes(frame).axes[0].get_xlabel()
    'Effect size (95% interval)'
    """
    frame = columns(frame, "label", "estimate", "low", "high")
    estimate, low, high = (frame[name].to_numpy(float) for name in ("estimate", "low", "high"))
    p = frame["p"].to_numpy(float) if "p" in frame else np.full(len(frame), np.nan)
    kinds = frame["kind"].astype(str).tolist() if "kind" in frame else ["predicted"] * len(frame)
    groups = frame["group"].astype(str).tolist() if "group" in frame else [""] * len(frame)
    labels = [wrapped(str(label), 32 if printed else 16) for label in frame["label"]]
    # rows are as high as their labels; a new group has a heading of its own
    place: list[float] = []
    headings: list[tuple[float, str]] = []
    top = 0.0
    for k, label in enumerate(labels):
        if groups[k] and (k == 0 or groups[k] != groups[k - 1]):
            headings.append((top + 0.65, groups[k]))
            top += 1.2
        height = 1.0 + 0.45 * label.count("\n")
        place.append(top + height / 2)
        top += height
    figure = new_figure(0.31 * top + 0.75, WIDTH if printed else _NARROW)
    axes = figure.subplots()
    row_axis(axes, labels, place, top)
    for y, heading in headings:
        axes.text(
            0.0, y, heading, transform=axes.get_yaxis_transform(), va="center",
            fontweight="bold", fontsize=9, bbox={"facecolor": "white", "linewidth": 0, "pad": 1.5},
        )  # fmt: skip
    finite = np.concatenate([estimate, low, high])
    finite = finite[np.isfinite(finite)]
    if zero:
        zero_line(axes)
        _compress(axes, estimate)
        finite = np.append(finite, 0.0)
    ends = (float(finite.min()), float(finite.max())) if finite.size else (-1.0, 1.0)
    room = 0.06 * ((ends[1] - ends[0]) or max(abs(ends[1]), 1.0))
    left, right = ends[0] - room, ends[1] + room
    axes.set_xlim(left, right)
    for row, (y, kind) in enumerate(zip(place, kinds, strict=True)):
        colour = _KINDS.get(kind, COLOURS["blue"])
        a, b = np.clip([low[row], high[row]], left, right)
        axes.plot([a, b], [y, y], color=colour, linewidth=2.0, solid_capstyle="butt")
        centre = float(np.clip(estimate[row], left, right))
        arrow = {math.inf: ">", -math.inf: "<"}.get(estimate[row], "o")
        axes.plot([centre], [y], marker=arrow, markersize=6.5, color=colour, clip_on=False)
        if not printed:
            continue
        text = f"{_short(estimate[row])}  [{_short(low[row])}, {_short(high[row])}]"
        note = _p_text(p[row])
        axes.annotate(
            f"{text}   {note}" if note else text, (1.0, y), xycoords=("axes fraction", "data"),
            xytext=(10, 0), textcoords="offset points", va="center", fontsize=8.5,
        )  # fmt: skip
    axes.set_xlabel(xlabel)
    return figure


def _compress(axes: Axes, estimate: npt.NDArray[np.float64]) -> None:
    """Make the scale logarithmic away from zero if one row would squeeze most others to a spot."""
    size = np.abs(estimate[np.isfinite(estimate) & (estimate != 0)])
    if size.size > 2 and size.max() > 30 * np.median(size):
        threshold = float(10 ** np.floor(np.log10(np.median(size))))
        axes.set_xscale("symlog", linthresh=threshold)


def wrapped(text: str, width: int = 32) -> str:
    """Return a label broken into lines."""
    import textwrap

    return "\n".join(textwrap.wrap(text, width)) or text


@styled
def real_learning(
    frame: pd.DataFrame,
    *,
    split: int,
    baselines: Sequence[str] = (),
    levels: Mapping[str, float] | None = None,
    ylabel: str = "Cursor progress, mm/s",
    xlabel: str = "Trial",
    block: int | None = None,
) -> Figure:
    """Draw a predicted learning curve over what was measured, trial by trial and in block means.

    Parameters
    ----------
    frame : pandas.DataFrame
        One row a trial: ``trial``, ``observed``, ``predicted``, ``low``, ``high`` (band of the
        prediction), optionally ``smoothed`` (a running mean of what was observed), and a column
        per baseline.
    split : int
        Number of trials that the free parameters were fitted on; the rest is predicted.
    baselines : sequence of str
        Columns of baselines, also used as their names.
    levels : mapping of str to float, optional
        Levels to mark by a line, such as ``{"before the change": 171.9}``.
    ylabel, xlabel : str
        Labels, with units.
    block : int, optional
        Trials to a mean in the lower panel; about fifteen blocks if not given.

    Returns
    -------
    matplotlib.figure.Figure
        Upper panel: every trial. Lower panel: means of blocks with one standard error, enlarged.

    Raises
    ------
    InputError
        If a column is missing or the split is not within the trials.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> frame = pd.DataFrame({"trial": range(60), "observed": rng.normal(100, 20, 60)})
    >>> frame = frame.assign(predicted=100.0, low=95.0, high=105.0)
    >>> len(real_learning(frame, split=20).axes)
    2
    """
    frame = columns(frame, "trial", "observed", "predicted", "low", "high", *baselines)
    if not 0 < positive_int("split", split, minimum=0) < len(frame):
        raise InputError(f"split must lie within the {len(frame)} trials; got {split!r}.")
    if len(baselines) > len(_BASELINES):
        raise InputError(f"baselines must be at most {len(_BASELINES)}; got {len(baselines)}.")
    trial = frame["trial"].to_numpy(float)
    edge = float(trial[split - 1 : split + 1].mean())
    size = block or max(5, round(len(frame) / 15))
    figure = new_figure(5.9)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[1.0, 1.35])
    upper.plot(
        trial, frame["observed"], "o", markersize=2.4, color=INK, alpha=0.28, markeredgewidth=0
    )
    if "smoothed" in frame:
        upper.plot(trial, frame["smoothed"], color=COLOURS["black"], linewidth=1.6)
    centre, mean, error = _block_means(trial, frame["observed"].to_numpy(float), size)
    lower.errorbar(
        centre, mean, yerr=error, fmt="o", color=COLOURS["black"], markersize=4.5, linewidth=1.2,
        zorder=4,
    )  # fmt: skip
    for axes in (upper, lower):
        axes.axvspan(trial[0], edge, color="#eef1f4", linewidth=0, zorder=-1)
        axes.fill_between(
            trial, frame["low"], frame["high"], color=COLOURS["blue"], alpha=0.18, linewidth=0
        )
        axes.plot(trial, frame["predicted"], color=COLOURS["blue"], zorder=3)
        for name, colour, dash in zip(baselines, _BASELINES, _BASELINE_DASHES, strict=False):
            axes.plot(trial, frame[name], color=colour, linewidth=1.4, linestyle=dash, zorder=2)
        axes.set_ylabel(ylabel)
        axes.margins(x=0.01)
    _levels(lower, levels or {})
    upper.set_title("Every trial", pad=20)
    lower.set_title(f"Means of {size} trials ± 1 standard error")
    lower.set_xlabel(xlabel)
    for x, text, side in ((edge, "◂ fitted on these  ", "right"), (edge, "  predicted ▸", "left")):
        upper.annotate(
            text, (x, 1.0), xycoords=("data", "axes fraction"), xytext=(0, 3),
            textcoords="offset points", ha=side, va="bottom", color=SOFT, fontsize=8.5,
        )  # fmt: skip
    figure.legend(
        handles=_learning_handles(baselines, "smoothed" in frame),
        loc="outside upper left",
        ncols=3,
    )
    return figure


def _block_means(
    trial: npt.NDArray[np.float64], values: npt.NDArray[np.float64], size: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return centres, means and standard errors of blocks; a short last one joins its neighbour."""
    n_blocks = max(1, len(values) // size)
    parts = np.array_split(np.arange(len(values)), n_blocks)
    there = [part[np.isfinite(values[part])] for part in parts]
    there = [part for part in there if part.size > 1]
    return (
        np.array([trial[part].mean() for part in there]),
        np.array([values[part].mean() for part in there]),
        np.array([values[part].std(ddof=1) / math.sqrt(part.size) for part in there]),
    )


def _levels(axes: Axes, levels: Mapping[str, float]) -> None:
    """Mark levels by lines named in the right margin, spread so that names do not overlap."""
    if not levels:
        return
    for value in levels.values():
        axes.axhline(value, color=SOFT, linewidth=1.0, linestyle=(0, (1, 1.6)), zorder=1)
    axes.autoscale_view()
    low, high = axes.get_ylim()
    gap = 0.075 * (high - low)
    last = -math.inf
    for name, value in sorted(levels.items(), key=lambda item: item[1]):
        place = max(value, last + gap)
        last = place + gap * name.count("\n")
        axes.annotate(
            f"{name}\n{_short(value)}" if "\n" not in name else name,
            (1.0, value), xycoords=("axes fraction", "data"), xytext=(1.015, place),
            textcoords=("axes fraction", "data"), va="center", fontsize=8.0, color=INK,
        )  # fmt: skip
        last = place + gap


def _learning_handles(baselines: Sequence[str], smoothed: bool) -> list[Any]:
    """Return what the legend lists."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles: list[Any] = [
        Line2D([], [], color=COLOURS["black"], marker="o", markersize=4, label="measured",
               linewidth=1.6 if smoothed else 0.0),
        Line2D([], [], color=COLOURS["blue"], label="predicted"),
        Patch(facecolor=COLOURS["blue"], alpha=0.25, label="what the recording could not tell"),
    ]  # fmt: skip
    handles += [
        Line2D([], [], color=colour, linestyle=dash, linewidth=1.4, label=f"baseline: {name}")
        for name, colour, dash in zip(baselines, _BASELINES, _BASELINE_DASHES, strict=False)
    ]
    return handles
