"""Power by number of animals: how often an experiment of each size shows the effect."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from predictlearn.reporting.style import FAINT, INK, PALETTE, columns, new_figure, styled, unique

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["power_curves"]

_MARKERS = ("o", "s", "^", "D")
_TICKS = 6
# Inches: with two names above it, and what each further one adds.
_HEIGHT, _NAME = 2.9, 0.17
# Percent: power that experiments are planned for.
_AIMS = (80, 95)


@styled
def power_curves(frame: pd.DataFrame, xlabel: str = "Animals") -> Figure:
    """Draw power by number of animals, with bands, and lines at 80 and 95%.

    Parameters
    ----------
    frame : pandas.DataFrame
        Tidy: ``n``, ``power``, ``low``, ``high``, shares of 1, one row a number of animals; and
        optionally ``curve``, the name of what differs between curves.
    xlabel : str, default "Animals"
        Whose number it is.

    Returns
    -------
    matplotlib.figure.Figure
        The figure; numbers of animals are on a logarithmic axis.

    Raises
    ------
    InputError
        If a column is missing.

    Examples
    --------
    >>> frame = pd.DataFrame({"n": [4, 8], "power": [0.5, 0.9], "low": [0.4, 0.8],
    ...     "high": [0.6, 0.95]})
    >>> power_curves(frame, "Animals in each arm").axes[0].get_ylabel()
    'Experiments that show it (%)'
    """
    frame = columns(frame, "n", "power", "low", "high")
    frame = frame if "curve" in frame else frame.assign(curve="")
    names = unique(frame["curve"])
    figure = new_figure(_HEIGHT + _NAME * max(0, len(names) - 2), 3.9)
    axes = figure.subplots()
    for aim in _AIMS:
        axes.axhline(aim, color=FAINT, linewidth=1.0, zorder=0)
    for k, name in enumerate(names):
        one = frame[frame["curve"].astype(str) == name].sort_values("n")
        n, power, low, high = (one[key].to_numpy(float) for key in ("n", "power", "low", "high"))
        colour = PALETTE[k % len(PALETTE)]
        axes.fill_between(n, 100 * low, 100 * high, color=colour, alpha=0.22, linewidth=0)
        axes.plot(n, 100 * power, _MARKERS[k % 4] + "-", color=colour, markersize=4.5, label=name)
    axes.set_xscale("log")
    axes.set_xticks(_thinned(frame["n"].to_numpy(float)), minor=False)
    axes.set_xticks([], minor=True)
    axes.xaxis.set_major_formatter("{x:.0f}")
    axes.set_ylim(-2, 103)
    axes.set_yticks([0, 20, 40, 60, *_AIMS])
    axes.set_xlabel(xlabel, color=INK)
    axes.set_ylabel("Experiments that show it (%)", color=INK)
    if len(names) > 1:
        figure.legend(loc="outside upper left", ncols=1)
    return figure


def _thinned(n: np.ndarray) -> list[float]:
    """Return numbers of animals far enough apart to be written below a logarithmic axis."""
    sizes = np.unique(n)
    least = np.log(sizes[-1] / sizes[0]) / _TICKS
    kept = [float(sizes[0])]
    for size in sizes[1:]:
        if np.log(size / kept[-1]) >= least:
            kept.append(float(size))
    return kept
