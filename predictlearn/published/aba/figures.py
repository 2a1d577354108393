"""Figures of the A-B-A experiment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from predictlearn.published.panels import HIDDEN, SEEN, Line, overlap_panels, phase_marks
from predictlearn.published.protocols import along
from predictlearn.reporting.style import COLOURS, SOFT, new_figure, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from predictlearn.protocol import ProtocolResult

__all__ = ["figure_of_overlaps", "memory_figure", "phase_starts"]

_STYLES: Mapping[str, Mapping[str, Any]] = {
    "network": {"color": "#b7bfc8", "linewidth": 4.0},
    "theory": {"color": COLOURS["blue"], "linewidth": 1.2},
    "adam": {"color": COLOURS["vermillion"], "linewidth": 1.2},
}
_NAMES = {
    "network": "network, N = 500",
    "theory": "theory",
    "adam": "Adam, network, N = 500",
}
_SETS = {
    "visible": (SEEN, "o"),
    "visible, up to gauge": (COLOURS["sky"], "s"),
    "invisible": (HIDDEN, "D"),
}
_MOST_POINTS = 400
# what is closer than this is drawn at it
_FLOOR = 1e-6


def phase_starts(result: ProtocolResult, arm: str) -> dict[str, float]:
    """Return the epoch at which every phase of an arm begins, by phase."""
    frame = along(result, arm)
    return {str(phase): float(part["epoch"].iloc[0])
            for phase, part in frame.groupby("phase", sort=False)}  # fmt: skip


def _thin(frame: pd.DataFrame) -> pd.DataFrame:
    """Return at most 400 rows, the last among them."""
    step = max(1, len(frame) // _MOST_POINTS)
    return pd.concat([frame.iloc[::step], frame.iloc[[-1]]])


@styled
def figure_of_overlaps(result: ProtocolResult, arms: Sequence[str]) -> Figure:
    """Return the ten overlaps of the first network along some arms, phases marked.

    Parameters
    ----------
    result : ProtocolResult
        A run.
    arms : sequence of str
        Arms with the same phases, the first at the back.

    Returns
    -------
    matplotlib.figure.Figure
        A panel an overlap.
    """
    figure = new_figure(3.6)
    starts = phase_starts(result, arms[0])
    lines = [Line(_NAMES[arm], _thin(along(result, arm)), dict(_STYLES[arm])) for arm in arms]
    hidden = result.starts[0].invisible_names("linear")
    panels = overlap_panels(
        figure, result.overlap_names, hidden, lines, starts=list(starts.values())
    )
    handles = panels[0].get_lines()[: len(arms)]
    said = ", ".join(starts)
    figure.legend(
        handles, [line.label for line in lines], loc="outside upper left", ncols=2,
        title=f"Phases: {said}", title_fontsize=8.5, alignment="left",
    )  # fmt: skip
    return figure


def _distances(axes: Axes, table: pd.DataFrame, title: str) -> None:
    """Draw the relative distance from the first A at the end of every later phase."""
    phases = list(dict.fromkeys(table["phase"]))
    for k, (kind, (colour, marker)) in enumerate(_SETS.items()):
        rows = table[table["set"] == kind]
        place = [phases.index(phase) + 0.22 * (k - 1) for phase in rows["phase"]]
        axes.semilogy(
            place, np.maximum(rows["relative"], _FLOOR), linestyle="none", marker=marker,
            color=colour, markersize=3.6, alpha=0.75, label=kind,
        )  # fmt: skip
    axes.axhline(1.0, color=SOFT, linewidth=0.8, zorder=0)
    axes.set_xticks(range(len(phases)), phases, rotation=20, ha="right", rotation_mode="anchor")
    axes.set_xlim(-0.5, len(phases) - 0.5)
    axes.set_title(title)


def _lines(
    axes: Axes, entries: pd.DataFrame, spectra: pd.DataFrame, starts: Sequence[float], title: str
) -> None:
    """Draw entries of K as dots with lines, and eigenvalues of J S as dashed lines."""
    palette = [COLOURS[name] for name in ("blue", "vermillion", "green", "purple")]
    for name, colour in zip(entries.columns[1:], palette, strict=True):
        axes.plot(
            entries["epoch"], entries[name] - entries[name].iloc[0], color=colour, marker="o",
            markersize=2.8, linewidth=1.1, label=name,
        )  # fmt: skip
    for name in spectra.columns[1:]:
        axes.plot(
            spectra["epoch"], spectra[name] - spectra[name].iloc[0], color=SOFT, linewidth=1.0,
            linestyle=(0, (3, 1.5)), label="eigenvalues of J S" if name == "JS1" else None,
        )  # fmt: skip
    axes.margins(x=0.0)
    axes.locator_params(axis="x", nbins=5)
    axes.set_xlabel("Epoch")
    axes.set_title(title)
    phase_marks(axes, starts)


@styled
def memory_figure(
    distance: Mapping[str, pd.DataFrame],
    entries: Mapping[str, pd.DataFrame],
    spectra: Mapping[str, pd.DataFrame],
    starts: Mapping[str, Mapping[str, float]],
) -> Figure:
    """Return what came back in every network, and what was conserved along the way in one.

    Parameters
    ----------
    distance, entries, spectra : mapping of str to pandas.DataFrame
        By arm: distances from the first A; entries of K, and eigenvalues of J S, by epoch.
    starts : mapping of str to mapping of str to float
        By arm, where phases begin.

    Returns
    -------
    matplotlib.figure.Figure
        Four panels: above distances, below invariants; left gradient descent, right Adam.
    """
    figure = new_figure(5.6)
    grid = figure.subplots(2, 2, sharey="row")
    _distances(grid[0, 0], distance["network"], "Gradient descent: distance from the first A")
    _distances(grid[0, 1], distance["adam"], "Adam: distance from the first A")
    grid[0, 0].set_ylabel("Part of what B moved")
    grid[0, 0].set_ylim(bottom=_FLOOR / 3)
    grid[0, 0].set_yticks([1e-6, 1e-4, 1e-2, 1.0], ["0 to 1e-6", "1e-4", "0.01", "1"])
    grid[0, 0].legend(fontsize=7.5, loc="lower left")
    for k, (arm, title) in enumerate((("network", "Gradient descent"), ("adam", "Adam"))):
        places = list(starts[arm].values())
        _lines(grid[1, k], entries[arm], spectra[arm], places, f"{title}: change of invariants")
    grid[1, 0].set_ylabel("Change since the start")
    grid[1, 0].legend(fontsize=7.5, ncols=2)
    return figure
