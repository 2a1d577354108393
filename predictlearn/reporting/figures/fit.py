"""Figures of the fit: traces beside the model, held-out variance, and the choice of the rank."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd

from predictlearn.checks import as_float_array, positive_int
from predictlearn.errors import InputError
from predictlearn.reporting.style import COLOURS, INK, SOFT, columns, new_figure, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["fitted_activity", "rank_curve", "variance_explained"]


def variance_explained(recorded: npt.ArrayLike, fitted: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Return the share of each neuron's variance that the fit explains.

    Parameters
    ----------
    recorded, fitted : array_like, (time, neurons)
        Activity and the model's; bins where either is NaN are left out.

    Returns
    -------
    numpy.ndarray, (neurons,)
        R2 = 1 - sum of squared errors / sum of squares about the mean; NaN for a neuron that does
        not vary.

    Examples
    --------
    >>> variance_explained([[0.0], [1.0], [2.0]], [[0.0], [1.0], [1.0]]).tolist()
    [0.5]
    """
    y, model = _pair(recorded, fitted)
    there = np.isfinite(y) & np.isfinite(model)
    count = np.maximum(there.sum(axis=0), 1)
    mean = np.where(there, y, 0.0).sum(axis=0) / count
    total = np.where(there, (y - mean) ** 2, 0.0).sum(axis=0)
    error = np.where(there, (y - model) ** 2, 0.0).sum(axis=0)
    return np.where(total > 0, 1 - error / np.where(total > 0, total, 1.0), np.nan)


def _pair(
    recorded: npt.ArrayLike, fitted: npt.ArrayLike
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return recorded and fitted activity as two arrays of one shape."""
    axes = "(time, neurons)"
    y = as_float_array("recorded", recorded, ndim=2, finite=False, axes=axes)
    return y, as_float_array("fitted", fitted, shape=y.shape, finite=False, axes=axes)


@styled
def fitted_activity(
    recorded: npt.ArrayLike,
    fitted: npt.ArrayLike,
    time: npt.ArrayLike,
    *,
    r2: npt.ArrayLike | None = None,
    ylabel: str = "Activity",
    examples: int = 6,
    xlabel: str = "Time, s",
) -> Figure:
    """Draw recorded activity beside the fit for a few neurons, and R2 of all of them.

    Parameters
    ----------
    recorded, fitted : array_like, (time, neurons)
        Activity, such as the mean over trials of one condition, and the model's.
    time : array_like, (time,)
        Seconds.
    r2 : array_like, (neurons,), optional
        Share of variance explained by neuron, such as on held-out trials; that of the arrays if
        not given.
    ylabel : str
        What activity is, with its unit.
    examples : int, default 6
        Neurons to draw, evenly from the best fitted to the worst, so that the figure does not
        flatter.
    xlabel : str
        Label of the time axis.

    Returns
    -------
    matplotlib.figure.Figure
        The figure.

    Raises
    ------
    InputError
        If the shapes do not fit together.

    Examples
    --------
    >>> t = np.linspace(0, 1, 20)
    >>> y = np.sin(np.outer(t, np.arange(1, 9)))
    >>> len(fitted_activity(y, 0.9 * y, t).axes)
    7
    """
    y, model = _pair(recorded, fitted)
    t = as_float_array("time", time, shape=(y.shape[0],))
    if r2 is None:
        score = variance_explained(y, model)
    else:
        score = as_float_array("r2", r2, shape=(y.shape[1],), finite=False)
    order = np.argsort(-np.where(np.isfinite(score), score, -np.inf), kind="stable")
    count = min(positive_int("examples", examples), y.shape[1])
    # the middles of equal parts of the ranking, not its extremes
    chosen = order[((np.arange(count) + 0.5) / count * y.shape[1]).astype(int)]

    n_columns = min(3, count)
    n_rows = -(-count // n_columns)
    figure = new_figure(0.75 + 1.55 * n_rows)
    grid = figure.add_gridspec(n_rows, n_columns + 1, width_ratios=[1.0] * n_columns + [1.25])
    first = None
    for k, neuron in enumerate(chosen):
        axes = figure.add_subplot(grid[k // n_columns, k % n_columns], sharex=first)
        first = first or axes
        axes.plot(t, y[:, neuron], color="#8f99a5", linewidth=1.6, label="recorded")
        axes.plot(t, model[:, neuron], color=COLOURS["blue"], linewidth=1.8, label="model")
        value = "–" if not np.isfinite(score[neuron]) else f"{score[neuron]:.2f}"
        value = "below −10" if score[neuron] < -10 else value
        axes.set_title(f"neuron {neuron + 1}, R² {value}".replace("-", "−"), fontsize=8.5)
        axes.locator_params(nbins=3)
        if k % n_columns == 0:
            axes.set_ylabel(ylabel)
        if k + n_columns >= count:
            axes.set_xlabel(xlabel)
        else:
            axes.tick_params(labelbottom=False)
    _score_histogram(figure.add_subplot(grid[:, -1]), score)
    handles = figure.axes[0].get_legend_handles_labels()[0]
    figure.legend(handles=handles, loc="outside upper left", ncols=2)
    return figure


def _score_histogram(axes, score: npt.NDArray[np.float64]) -> None:  # type: ignore[no-untyped-def]
    """Draw how many neurons reach which R2."""
    there = score[np.isfinite(score)]
    if there.size == 0:
        raise InputError("r2 must hold at least one number; all are missing.")
    floor = max(float(there.min()), -0.5)
    # neurons far below zero are counted in the lowest bin rather than stretching the axis
    shown = np.clip(there, floor, 1.0)
    bins = np.linspace(min(0.0, np.floor(floor * 10) / 10), 1.0, 21)
    axes.hist(shown, bins=bins, color="#a9c9de", edgecolor="white", linewidth=0.6)
    median = float(np.median(there))
    axes.axvline(median, color=COLOURS["blue"], linewidth=1.6)
    axes.set_title(f"median R² {median:.2f}".replace("-", "−"), color=COLOURS["blue"], fontsize=8.5)
    axes.set_xlabel("R² of a neuron")
    axes.set_ylabel(f"Neurons (of {score.size})")
    axes.yaxis.get_major_locator().set_params(integer=True)


@styled
def rank_curve(
    frame: pd.DataFrame,
    chosen: int,
    *,
    ceiling: float | None = None,
    ylabel: str = "Held-out share of variance, R²",
) -> Figure:
    """Draw held-out performance against the rank, and which rank was chosen.

    Parameters
    ----------
    frame : pandas.DataFrame
        One row a rank: ``rank``, ``mean`` and ``se`` (or ``standard_error``, over folds; or
        ``short_error``, of the difference from the best rank on the same folds, which is then
        drawn).
    chosen : int
        The chosen rank.
    ceiling : float, optional
        What no model of the condition could exceed, drawn as a line.
    ylabel : str
        Label of the vertical axis.

    Returns
    -------
    matplotlib.figure.Figure
        The figure.

    Raises
    ------
    InputError
        If a column is missing, or the chosen rank is not among those tried.

    Examples
    --------
    >>> frame = pd.DataFrame({"rank": [1, 2], "mean": [0.5, 0.51], "se": [0.02, 0.02]})
    >>> rank_curve(frame, chosen=1).axes[0].get_xlabel()
    'Rank'
    """
    paired = isinstance(frame, pd.DataFrame) and "short_error" in frame
    if isinstance(frame, pd.DataFrame) and "se" not in frame:
        frame = frame.rename(columns={"short_error" if paired else "standard_error": "se"})
    data = columns(frame, "rank", "mean", "se").sort_values("rank")
    rank, mean, se = (data[name].to_numpy(float) for name in ("rank", "mean", "se"))
    if chosen not in rank:
        tried = ", ".join(f"{value:g}" for value in rank)
        raise InputError(f"chosen must be one of the ranks tried, {tried}; got {chosen!r}.")
    figure = new_figure(3.1, 5.2)
    axes = figure.subplots()
    best = int(np.nanargmax(mean))
    if paired:
        axes.axhline(mean[best], color=COLOURS["blue"], alpha=0.4, linewidth=1.0)
    else:
        axes.axhspan(
            mean[best] - se[best], mean[best], color=COLOURS["blue"], alpha=0.10, linewidth=0
        )
    axes.errorbar(
        rank,
        mean,
        yerr=se,
        color=COLOURS["blue"],
        marker="o",
        markersize=5,
        capsize=3,
        linewidth=1.4,
    )
    axes.plot(
        chosen, mean[rank == chosen][0], "o", markersize=12, markerfacecolor="none",
        markeredgecolor=COLOURS["vermillion"], markeredgewidth=1.8,
    )  # fmt: skip
    low, high = float(np.nanmin(mean - se)), float(np.nanmax(mean + se))
    if ceiling is not None:
        axes.axhline(ceiling, color=INK, linewidth=1.0, linestyle=(0, (4, 2)))
        axes.annotate(
            f"ceiling {ceiling:.2f}", (1.0, ceiling), xycoords=("axes fraction", "data"),
            xytext=(0, 3), textcoords="offset points", ha="right", va="bottom", fontsize=8.5,
        )  # fmt: skip
        low, high = min(low, ceiling), max(high, ceiling)
    room = 0.12 * max(high - low, 0.02)
    axes.set_ylim(low - room, high + 1.6 * room)
    axes.set_xlim(rank.min() - 0.35, rank.max() + 0.35)
    axes.set_xticks(rank, [f"{value:g}" for value in rank])
    axes.set_xlabel("Rank")
    axes.set_ylabel(ylabel)
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    figure.legend(
        handles=[
            Line2D([], [], color=COLOURS["vermillion"], marker="o", markersize=8, linestyle="none",
                   markerfacecolor="none", markeredgewidth=1.8, label="chosen"),
            Line2D([], [], color=COLOURS["blue"], alpha=0.4, linewidth=1.0, label="the best")
            if paired
            else Patch(
                facecolor=COLOURS["blue"], alpha=0.15, label="one standard error below the best"
            ),
        ],
        loc="outside upper left",
        ncols=2,
    )  # fmt: skip
    axes.tick_params(axis="x", color=SOFT)
    return figure
