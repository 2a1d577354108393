"""Learning curves by arm, with bands that say where they come from."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from predictlearn.errors import InputError, choice
from predictlearn.reporting.style import (
    SOFT,
    arm_colours,
    columns,
    new_figure,
    styled,
    unique,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["BANDS", "learning_curves"]

BANDS: Mapping[str, str] = {
    "networks": "95% of networks",
    "mean": "95% interval of the mean",
    "draws": "what the recording could not tell (95% of draws)",
    "network": "spread of networks",
    "unseen": "what the recording could not tell",
    "band": "95% band",
}
"""Kinds of bands, and what the legend calls them."""

_OUTLINED = ("draws", "unseen")
_NOT_DRAWN_UNASKED = ("mean",)


@styled
def learning_curves(
    frame: pd.DataFrame,
    *,
    ylabel: str | Mapping[str, str] | None = None,
    xlabel: str = "Epoch",
    bands: Sequence[str] | None = None,
    quantities: Sequence[str] | None = None,
    arms: Sequence[str] | None = None,
    log: bool | None = None,
    phases: Sequence[tuple[float, str]] = (),
    labels: Mapping[str, str] | None = None,
) -> Figure:
    """Draw curves by arm with bands, one panel a quantity.

    Parameters
    ----------
    frame : pandas.DataFrame
        One row per arm and epoch: ``arm``, ``epoch``, ``mean``, ``low``, ``high``; optionally
        ``quantity`` (one panel each) and ``kind`` (which band ``low`` and ``high`` belong to).
    ylabel : str or mapping, optional
        Label of the vertical axes with its unit; by quantity if a mapping. The quantity itself if
        not given.
    xlabel : str
        Label of the horizontal axis.
    bands : sequence of str, optional
        Kinds to draw; all that the frame has if not given, but for the interval of the mean.
    quantities : sequence of str, optional
        Quantities to draw, in order; all if not given.
    arms : sequence of str, optional
        Arms to draw, in order; all if not given.
    log : bool, optional
        Logarithmic vertical axis. If not given, where all means are positive and span a factor
        of 50.
    phases : sequence of (float, str)
        Where phases begin, and their names, marked in every panel.
    labels : mapping of str to str, optional
        What the legend calls arms.

    Returns
    -------
    matplotlib.figure.Figure
        The figure.

    Raises
    ------
    InputError
        If a column is missing, or a kind, quantity or arm is not in the frame.

    Examples
    --------
    >>> frame = pd.DataFrame(
    ...     {"arm": "A", "epoch": [0, 1], "mean": [1.0, 0.5], "low": [0.9, 0.4], "high": [1.1, 0.6]}
    ... )
    >>> learning_curves(frame).axes[0].get_ylabel()
    'Loss'
    """
    data = columns(frame, "arm", "epoch", "mean", "low", "high").copy()
    data["arm"] = data["arm"].astype(str)
    if "kind" not in data:
        data["kind"] = "band"
    if "quantity" not in data:
        data["quantity"] = ""
    known = unique(data["kind"])
    if bands is None:
        shown = [kind for kind in known if kind not in _NOT_DRAWN_UNASKED] or known
    else:
        shown = [choice("bands", kind, known) for kind in bands]
    panels = unique(data["quantity"])
    if quantities is not None:
        panels = [choice("quantities", name, panels) for name in quantities]
    if not panels:
        raise InputError("quantities must name at least one quantity; got none.")
    drawn = unique(data["arm"])
    if arms is not None:
        drawn = [choice("arms", arm, drawn) for arm in arms]
        data = data[data["arm"].isin(drawn)]
    colours = arm_colours(drawn)

    n_columns = {1: 1, 2: 2, 4: 2}.get(len(panels), 3)
    n_rows = math.ceil(len(panels) / n_columns)
    figure = new_figure(3.7 if n_columns == 1 else 0.6 + 2.4 * n_rows)
    grid = figure.subplots(n_rows, n_columns, squeeze=False, sharex=True)
    for axes in grid.flat[len(panels) :]:
        axes.remove()
    for number, (axes, panel) in enumerate(zip(grid.flat, panels, strict=False)):
        rows = data[data["quantity"] == panel]
        _panel(axes, rows, shown, colours)
        _scale(axes, rows[rows["kind"].isin(shown)], log)
        name = (panel[:1].upper() + panel[1:] if len(panels) == 1 else panel) or "Loss"
        label = ylabel if isinstance(ylabel, str) else (ylabel or {}).get(panel, name)
        if len(panels) > 1 and isinstance(ylabel, str):
            axes.set_title(panel)
        if number % n_columns == 0 or not isinstance(ylabel, str):
            axes.set_ylabel(label)
        if number + n_columns >= len(panels):
            axes.set_xlabel(xlabel)
            axes.tick_params(labelbottom=True)
        _phases(axes, phases, named=number < n_columns)
    handles = _handles(colours, shown, labels or {})
    rows_of_text = 3 if any(kind in _OUTLINED for kind in shown) else 4
    figure.legend(handles=handles, loc="outside upper left", ncols=min(rows_of_text, len(handles)))
    return figure


def _panel(
    axes: Axes, rows: pd.DataFrame, shown: Sequence[str], colours: Mapping[str, str]
) -> None:
    """Draw the curves and bands of one quantity."""
    for arm, colour in colours.items():
        of_arm = rows[rows["arm"] == arm].sort_values("epoch", kind="stable")
        if of_arm.empty:
            continue
        for kind in shown:
            band = of_arm[of_arm["kind"] == kind]
            if band.empty:
                continue
            x, low, high = (band[name].to_numpy(float) for name in ("epoch", "low", "high"))
            if kind in _OUTLINED:
                axes.fill_between(
                    x, low, high, facecolor="none", edgecolor=colour, hatch="////", alpha=0.30,
                    linewidth=0.0, zorder=1.5,
                )  # fmt: skip
                for edge in (low, high):
                    axes.plot(x, edge, color=colour, linewidth=0.9, linestyle=(0, (4, 2)))
            else:
                axes.fill_between(x, low, high, color=colour, alpha=0.25, linewidth=0.0, zorder=1)
        centre = of_arm[of_arm["kind"] == of_arm["kind"].iloc[0]]
        axes.plot(centre["epoch"], centre["mean"], color=colour, zorder=3, label=arm)
    axes.margins(x=0.01)


def _scale(axes: Axes, rows: pd.DataFrame, log: bool | None) -> None:
    """Choose the vertical scale, and limits that a band touching zero does not spoil."""
    mean = rows["mean"].to_numpy(float)
    mean = mean[np.isfinite(mean)]
    if mean.size == 0:
        return
    positive = bool((mean > 0).all())
    if log is None:
        log = positive and float(mean.max()) > 50 * float(mean.min())
    elif log and not positive:
        raise InputError("log needs means above zero everywhere; some are zero or negative.")
    if log:
        axes.set_yscale("log")
        low, high = (rows[name].to_numpy(float) for name in ("low", "high"))
        high = high[np.isfinite(high)]
        bottom = max(float(np.min(low[low > 0], initial=mean.min())), float(mean.min()) / 30)
        axes.set_ylim(bottom / 1.3, 1.3 * float(np.append(high, mean).max()))
        return
    if positive and float(np.nanmin(rows["low"])) >= 0:
        axes.set_ylim(bottom=0.0)
    _cut_runaways(axes, rows)


def _cut_runaways(axes: Axes, rows: pd.DataFrame) -> None:
    """Keep a band of few networks that ran away from squeezing the other curves to a line."""
    values = rows[["mean", "low", "high"]].to_numpy(float)
    first = rows.loc[rows["epoch"] == rows["epoch"].min(), "mean"].to_numpy(float)
    usual = np.append(rows["mean"].to_numpy(float), first)
    usual = np.abs(usual[np.isfinite(usual)])
    scale = max(float(np.quantile(usual, 0.9)), float(np.nanmax(np.abs(first))))
    if scale > 0 and np.nanmax(values) > 5 * scale:
        axes.set_ylim(top=2 * scale)
    if scale > 0 and np.nanmin(values) < -5 * scale:
        axes.set_ylim(bottom=-2 * scale)


def _phases(axes: Axes, phases: Sequence[tuple[float, str]], named: bool) -> None:
    """Mark where phases begin."""
    from matplotlib.transforms import blended_transform_factory

    place = blended_transform_factory(axes.transData, axes.transAxes)
    for number, (start, name) in enumerate(phases):
        if number:
            axes.axvline(start, color=SOFT, linewidth=0.8, linestyle=(0, (1, 2)), zorder=0)
        if named:
            axes.text(
                start, 1.02, f" {name}", transform=place, color=SOFT, fontsize=8.5, va="bottom"
            )


def _handles(
    colours: Mapping[str, str], shown: Sequence[str], labels: Mapping[str, str]
) -> list[Any]:
    """Return what the legend lists: arms, then bands."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles: list[Any] = [
        Line2D([], [], color=colour, label=labels.get(arm, arm)) for arm, colour in colours.items()
    ]
    for kind in shown:
        if kind in _OUTLINED:
            look: dict[str, Any] = {"facecolor": "none", "edgecolor": SOFT, "hatch": "////"}
            look |= {"linestyle": "--", "linewidth": 0.8}
        else:
            look = {"facecolor": SOFT, "alpha": 0.3, "linewidth": 0.0}
        handles.append(Patch(label=BANDS.get(kind, kind), **look))
    return handles
