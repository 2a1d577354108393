"""Every animal by arm, and below it the differences of arms with their intervals."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from predictlearn.reporting.figures.comparison import wrapped
from predictlearn.reporting.style import (
    COLOURS,
    PALETTE,
    SOFT,
    columns,
    new_figure,
    row_axis,
    styled,
    zero_line,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["animals_and_differences"]

_MARKERS = ("o", "s", "^", "D", "v", "P")
_JITTER = 0.17
# Inches: one width that a phone shows at nearly its size; a row of animals, a row of differences,
# what a label adds to it for every line beyond the second, the axis.
_WIDTH, _ANIMALS, _ROW, _LINE, _AXIS = 3.9, 0.62, 0.44, 0.16, 0.7
_LETTERS = 15


@styled
def animals_and_differences(
    animals: pd.DataFrame,
    differences: pd.DataFrame,
    *,
    xlabel: str,
    difference_label: str,
    paired: bool = False,
    margin: float | None = None,
) -> Figure:
    """Draw the outcome of every animal by arm, and the differences of arms below.

    Parameters
    ----------
    animals : pandas.DataFrame
        A row an animal and arm: ``subject``, ``arm``, ``value`` and optionally ``reached``; where
        that is 0 the value is one that was not reached, drawn open.
    differences : pandas.DataFrame
        A row a comparison: ``name``, ``estimate``, ``low``, ``high``.
    xlabel, difference_label : str
        Labels of the axes, with units.
    paired : bool, default False
        Join the values of an animal.
    margin : float, optional
        Largest difference that would not matter, shaded.

    Returns
    -------
    matplotlib.figure.Figure
        The figure; black marks are means of arms.

    Raises
    ------
    InputError
        If a column is missing.

    Examples
    --------
    >>> animals = pd.DataFrame(
    ...     {"subject": range(4), "arm": list("aabb"), "value": [1.0, 2.0, 3.0, 4.0]})
    >>> gaps = pd.DataFrame({"name": ["b - a"], "estimate": [2.0], "low": [-1.0], "high": [5.0]})
    >>> drawn = animals_and_differences(animals, gaps, xlabel="Errors", difference_label="Errors")
    >>> len(drawn.axes)
    2
    """
    animals = columns(animals, "subject", "arm", "value")
    differences = columns(differences, "name", "estimate", "low", "high")
    arms = [str(arm) for arm in dict.fromkeys(animals["arm"])]
    names = [wrapped(str(name), _LETTERS) for name in differences["name"]]
    most = max(name.count("\n") + 1 for name in names)
    upper = _ANIMALS * len(arms) + _AXIS
    lower = (_ROW + _LINE * max(0, most - 2)) * len(differences) + _AXIS
    figure = new_figure(upper + lower, _WIDTH)
    top, bottom = figure.subplots(2, 1, height_ratios=[upper, lower])
    row_axis(top, [wrapped(arm, _LETTERS) for arm in arms])
    if paired:
        wide = animals.pivot(index="subject", columns="arm", values="value")[arms]
        top.plot(wide.to_numpy().T, range(len(arms)), color=SOFT, linewidth=0.6, alpha=0.4)
    _draw_animals(top, animals, arms, paired)
    top.set_xlabel(xlabel)
    row_axis(bottom, names)
    zero_line(bottom)
    if margin is not None:
        bottom.axvspan(-margin, margin, color="#e7edf3", zorder=-1)
    for row, one in enumerate(differences.to_dict("records")):
        ends = [one["low"], one["high"]]
        bottom.plot(ends, [row, row], color=COLOURS["black"], solid_capstyle="butt")
        bottom.plot(one["estimate"], row, "o", color=COLOURS["black"], markersize=6)
    bottom.set_xlabel(difference_label)
    for axes in (top, bottom):
        axes.locator_params(axis="x", nbins=5)
    return figure


def _draw_animals(axes: Axes, animals: pd.DataFrame, arms: list[str], paired: bool) -> None:
    """Draw a mark an animal, and the mean of each arm."""
    rng = np.random.default_rng(0)
    waits = "reached" in animals and bool((animals["reached"] < 1).any())
    for k, arm in enumerate(arms):
        mine = animals[animals["arm"].astype(str) == arm]
        values = mine["value"].to_numpy(float)
        at = k + (0.0 if paired else 1.0) * rng.uniform(-_JITTER, _JITTER, len(values))
        reached = mine["reached"].to_numpy(float) > 0 if waits else np.ones(len(values), bool)
        colour, mark = PALETTE[k % len(PALETTE)], _MARKERS[k % len(_MARKERS)]
        for shown, face in ((reached, colour), (~reached, "white")):
            axes.plot(
                values[shown], at[shown], mark, color=colour, markerfacecolor=face, markersize=5,
                alpha=0.75 if face == colour else 1.0, linestyle="none",
            )  # fmt: skip
        if not waits:  # a mean of waits that were cut short is none
            axes.plot([values.mean()] * 2, [k - 0.33, k + 0.33], color=COLOURS["black"])
