"""Figures of the flip-flop: learning, the loadings, and the steps of the rule."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy import special

from predictlearn.published.flip_flop.runs import BEFORE, COURSES, Runs
from predictlearn.published.panels import Line, overlap_panels
from predictlearn.reporting.style import COLOURS, FAINT, INK, SOFT, new_figure, row_axis, styled
from predictlearn.theory.names import PATHWAYS
from predictlearn.theory.populations.gaussianity import gaussian_bands, standardised

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["learning_figure", "loadings_figure", "steps_figure"]

_STYLES: dict[str, dict[str, Any]] = {
    "network": {"color": "#b7bfc8", "linewidth": 4.5},
    "theory": {"color": COLOURS["blue"], "linewidth": 1.5},
    "direct": {"color": COLOURS["vermillion"], "linewidth": 1.5, "linestyle": (0, (4, 1.5))},
}
_PATHWAY = dict(
    zip(PATHWAYS, (COLOURS[c] for c in ("blue", "orange", "green", "purple")), strict=True)
)
_BAND = "#dde2e7"
_OUTLIER = 3.6


def _labels(n_neurons: int) -> dict[str, str]:
    """Return what the legend calls the learners."""
    return {
        "network": f"network, N = {n_neurons}",
        "theory": "theory",
        "direct": "descent in overlap space",
    }


@styled
def learning_figure(runs: Runs, direct: list[pd.DataFrame], network: int = 0) -> Figure:
    """Return loss and overlaps of a network, and how far theory is from all networks.

    Parameters
    ----------
    runs : Runs
        The runs.
    direct : list of pandas.DataFrame
        Descent in overlap space, by network.
    network : int, default 0
        The network whose overlaps are drawn.

    Returns
    -------
    matplotlib.figure.Figure
        Loss, distances, ten overlaps.
    """
    frames = {
        "network": runs.seen("rate 0.05", network),
        "theory": runs.told("rate 0.05", network),
        "direct": direct[network],
    }
    names = runs.result.overlap_names
    labels = _labels(runs.end("rate 0.05", network).n_neurons)
    figure = new_figure(6.2)
    top, bottom = np.asarray(figure.subfigures(2, 1, height_ratios=[1.0, 1.35]))
    left, right = top.subplots(1, 2)
    for learner, style in _STYLES.items():
        frame = frames[learner]
        left.semilogy(frame["epoch"], frame["loss"], label=labels[learner], **style)
    left.set_title(f"Loss of network {network + 1}")
    left.set_ylabel("Loss")
    left.legend(fontsize=7.5, loc="lower left")
    for k in range(runs.result.n_networks):
        seen = runs.seen("rate 0.05", k)
        for learner, frame in (("theory", runs.told("rate 0.05", k)), ("direct", direct[k])):
            rows = min(len(frame), len(seen))
            gap = frame[list(names)].to_numpy()[:rows] - seen[list(names)].to_numpy()[:rows]
            far = np.abs(gap).max(axis=1)
            # the first row is the start itself, where nothing differs yet
            right.semilogy(
                seen["epoch"].iloc[1:rows], far[1:], **_STYLES[learner] | {"linewidth": 1.1}
            )
    right.set_title(f"Distance from the network, {runs.result.n_networks} networks")
    right.set_ylabel("Largest |difference|")
    for axes in (left, right):
        axes.set_xlabel("Epoch")
        axes.margins(x=0.0)
    lines = [Line(labels[who], frame, _STYLES[who]) for who, frame in frames.items()]
    overlap_panels(bottom, names, runs.result.starts[0].invisible_names("erf"), lines)
    return figure


def _quantiles(n: int) -> np.ndarray:
    """Return the standard normal quantiles of n ordered values."""
    return np.asarray(special.ndtri((np.arange(n) + 0.5) / n))


@styled
def loadings_figure(runs: Runs, network: int = 0) -> Figure:
    """Return histograms and Q-Q plots of the loadings before and after learning.

    Parameters
    ----------
    runs : Runs
        The runs; drawn is the published rate.
    network : int, default 0
        The network.

    Returns
    -------
    matplotlib.figure.Figure
        A column a loading vector.
    """
    states = {
        "before": (runs.start("rate 0.05", network).stacked, SOFT),
        "after": (runs.end("rate 0.05", network).stacked, COLOURS["blue"]),
    }
    n, columns = states["before"][0].shape
    band = gaussian_bands(n, columns).quantiles
    normal = _quantiles(n)
    figure = new_figure(4.3)
    grid = figure.subplots(2, columns, sharex="row", sharey="row")
    edges = np.linspace(-7.0, 7.0, 57)
    fine = np.linspace(-7.0, 7.0, 300)
    for k, pathway in enumerate(PATHWAYS):
        for state, (theta, colour) in states.items():
            values = theta[:, k]
            grid[0, k].hist(
                values, edges, density=True, histtype="stepfilled" if state == "before" else "step",
                color=FAINT if state == "before" else colour, linewidth=1.3,
            )  # fmt: skip
            sd = values.std()
            density = np.exp(-((fine - values.mean()) ** 2) / (2 * sd**2)) / (
                sd * np.sqrt(2 * np.pi)
            )
            grid[0, k].plot(fine, density, color=colour, linewidth=0.9, linestyle=(0, (3, 1.5)))
            grid[1, k].plot(
                normal, np.sort(standardised(theta)[:, k]), ".", color=colour, markersize=2.6,
                label=f"{state} learning", zorder=3 if state == "after" else 2,
            )  # fmt: skip
        grid[0, k].set_title(pathway, fontweight="bold", loc="center")
        grid[0, k].set_xlabel("Loading")
        grid[1, k].fill_between(normal, *band, color=_BAND, linewidth=0, zorder=0)
        grid[1, k].plot([-_OUTLIER, _OUTLIER], [-_OUTLIER, _OUTLIER], color=FAINT, linewidth=0.8)
        grid[1, k].set_xlabel("Normal quantile")
    grid[0, 0].set_xlim(-5.5, 5.5)
    grid[0, 0].set_ylabel("Density")
    grid[1, 0].set_ylabel("Loading, standardised")
    figure.legend(handles=_handles(), loc="outside upper center", ncols=4)
    return figure


def _handles() -> list[Any]:
    """Return the legend of histograms and Q-Q plots."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    return [
        Patch(color=SOFT, label="before learning"),
        Patch(color=COLOURS["blue"], label="after learning"),
        Line2D([], [], color=INK, linewidth=0.9, linestyle=(0, (3, 1.5)), label="Gaussian"),
        Patch(color=_BAND, label="95% of Gaussian samples"),
    ]


def _pathways() -> list[Any]:
    """Return the legend of the loading vectors."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    return [
        *(
            Line2D([], [], color=colour, marker="o", markersize=3.2, label=pathway)
            for pathway, colour in _PATHWAY.items()
        ),
        Patch(color=_BAND, label="95% of Gaussian samples"),
    ]


def _by_course(axes: Axes, table: pd.DataFrame, column: str, colour: str, shift: float) -> None:
    """Draw the networks of every course as dots, and their mean."""
    for row, name in enumerate([BEFORE, *COURSES]):
        values = table.loc[table["course"] == name, column].dropna().to_numpy()
        if len(values) == 0:
            continue  # nothing is learned yet, or the rule has no theory
        axes.plot(values, np.full(len(values), row + shift), "o", color=colour, markersize=3.2)
        axes.plot([values.mean()] * 2, [row + shift - 0.1, row + shift + 0.1], color=colour,
                  linewidth=1.6)  # fmt: skip


@styled
def steps_figure(runs: Runs, gaussianity: pd.DataFrame, closeness: pd.DataFrame) -> Figure:
    """Return how Gaussian the loadings stay, and how close the theory, by the steps of the rule.

    Parameters
    ----------
    runs : Runs
        The runs.
    gaussianity : pandas.DataFrame
        From `predictlearn.published.flip_flop.runs.gaussianity_table`.
    closeness : pandas.DataFrame
        From `predictlearn.published.flip_flop.runs.closeness_table`.

    Returns
    -------
    matplotlib.figure.Figure
        Measures by course; Q-Q plots of the input loadings.
    """
    n, columns = runs.start("rate 0.05", 0).stacked.shape
    bands = gaussian_bands(n, columns)
    figure = new_figure(5.4)
    top, bottom = np.asarray(figure.subfigures(2, 1, height_ratios=[1.35, 1.0]))
    joint, single, near = top.subplots(1, 3, sharey=True)
    rows = [BEFORE, *COURSES]
    joint.axvspan(0.0, np.quantile(bands.joint_distance, 0.95), color=_BAND, zorder=0, linewidth=0)
    _by_course(joint, gaussianity, "joint distance", INK, 0.0)
    joint.set_xlim(0.5, None)
    joint.set_title("Distance from Gaussian")
    joint.set_xlabel("Henze-Zirkler statistic")
    single.axvspan(*np.quantile(bands.kurtosis, (0.025, 0.975)), color=_BAND, zorder=0, linewidth=0)
    for k, (pathway, colour) in enumerate(_PATHWAY.items()):
        _by_course(single, gaussianity, f"kurtosis {pathway}", colour, 0.2 * (k - 1.5))
    single.set_title("Excess kurtosis")
    single.set_xlabel("Excess kurtosis")
    for column, colour, shift, label in (
        ("end", INK, -0.15, "overlaps"),
        ("output", COLOURS["vermillion"], 0.15, "output"),
    ):
        _by_course(near, closeness, column, colour, shift)
        near.plot([], [], "o", color=colour, markersize=3.2, label=label)
    near.set_xscale("log")
    near.set_title("Theory against network")
    near.set_xlabel("Difference at the end")
    near.legend(loc="upper right", fontsize=7.5, handletextpad=0.0, borderaxespad=0.0)
    for axes in (joint, single, near):
        row_axis(axes, rows)
    normal = _quantiles(n)
    shown = [BEFORE, "rate 0.05", "rate 0.5, same time", "rate 0.5, same epochs", rows[-1]]
    for axes, name in zip(bottom.subplots(1, len(shown), sharey=True), shown, strict=True):
        loadings = runs.start("rate 0.05", 0) if name == BEFORE else runs.end(name, 0)
        axes.fill_between(normal, *(bands.quantiles - normal), color=_BAND, linewidth=0, zorder=0)
        values = np.sort(standardised(loadings.stacked), axis=0)
        for k, (pathway, colour) in enumerate(_PATHWAY.items()):
            axes.plot(normal, values[:, k] - normal, color=colour, linewidth=1.1, label=pathway)
        axes.set_title(name.replace(", ", ",\n"), fontsize=8.5)
        axes.set_ylim(-1.3, 1.3)
        axes.set_xlim(-3.1, 3.1)
    bottom.axes[0].set_ylabel("Quantile less normal one")
    bottom.axes[2].set_xlabel("Normal quantile, network 1")
    top.legend(handles=_pathways(), loc="outside upper center", ncols=5)
    return figure
