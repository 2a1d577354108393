"""One page of diagnostics of a fit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from predictlearn.errors import InputError
from predictlearn.reporting.style import COLOURS, FAINT, INK, PALETTE, SOFT, new_figure, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["fit_diagnostics"]

_NEEDED = ("lags", "eigenvalues", "edge", "means", "loadings", "trajectories", "fixed_points")


@styled
def fit_diagnostics(found: Any, conditions: int = 6) -> Figure:
    """Draw the diagnostics of a fit on one page.

    Six panels: residual correlation by lag; eigenvalues of the residual correlation between
    neurons beside those of shuffled trials; size of the residual means by bin; Q-Q plot of the
    loadings; recorded and predicted trajectories with the fixed points; time constants of the
    fixed points.

    Parameters
    ----------
    found : Diagnostics
        From `predictlearn.fitting.diagnose`.
    conditions : int, default 6
        Conditions to draw in the plane, evenly from all.

    Returns
    -------
    matplotlib.figure.Figure
        The figure.

    Raises
    ------
    InputError
        If `found` is no such object.

    Examples
    --------
    >>> import predictlearn as pl
    >>> from predictlearn.fitting import LowRankRNN, diagnose
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(12, 20, 1)).cumsum(axis=1)
    >>> y = x * rng.normal(size=20) + rng.normal(size=(12, 20, 20))
    >>> fit = LowRankRNN(dt=0.05, tau=0.06, n_bootstrap=0).fit(y, x)
    >>> len(fit_diagnostics(diagnose(fit, y, x, draws=39)).axes)
    6
    """
    missing = [name for name in _NEEDED if not hasattr(found, name)]
    if missing:
        raise InputError(
            f"found must be what diagnose returns; got {type(found).__name__} without "
            f"{', '.join(missing)}"
        )
    figure = new_figure(7.6)
    grid = figure.subplots(3, 2)
    _lags(grid[0, 0], found)
    _eigenvalues(grid[0, 1], found)
    _means(grid[1, 0], found)
    _loadings(grid[1, 1], found)
    _plane(grid[2, 0], found, conditions)
    _time_constants(grid[2, 1], found)
    return figure


def _title(axes: Axes, text: str, found: Any, test: str | None = None) -> None:
    """Title a panel, with the p-value of its test."""
    if test is not None and test in found.tests.index:
        p = float(found.tests.loc[test, "p"])
        text += " (p < 0.001)" if p < 0.001 else f" (p = {p:.2g})"
    axes.set_title(text)


def _lags(axes: Axes, found: Any) -> None:
    """Draw the residual correlation by lag."""
    curve = found.lags
    lag = curve["lag"].to_numpy(float) * found.settings["dt"]
    mean = curve["mean"].to_numpy(float)
    axes.axhline(0.0, color=FAINT, linewidth=1.0, zorder=0)
    axes.errorbar(
        lag,
        mean,
        yerr=[mean - curve["low"], curve["high"] - mean],
        color=COLOURS["blue"],
        marker="o",
        markersize=4,
        capsize=2.5,
        linewidth=1.2,
    )
    largest = float(np.abs(curve[["low", "high"]].to_numpy()).max())
    axes.set_ylim(-1.15 * max(largest, 0.02), 1.15 * max(largest, 0.02))
    axes.locator_params(axis="x", nbins=5)
    axes.set_xlabel("Lag, s")
    axes.set_ylabel("Residual correlation")
    _title(axes, "Noise in time", found, "autocorrelation")


def _eigenvalues(axes: Axes, found: Any) -> None:
    """Draw the largest eigenvalues beside their null."""
    table = found.eigenvalues.head(10)
    rank = np.arange(1, len(table) + 1)
    axes.fill_between(
        rank, table["null_median"], table["null_high"], color=SOFT, alpha=0.25, linewidth=0
    )
    axes.plot(rank, table["null_median"], color=SOFT, linewidth=1.2, label="trials shuffled")
    axes.axhline(
        found.edge, color=INK, linewidth=1.0, linestyle=(0, (4, 2)), label="Marchenko-Pastur edge"
    )
    axes.plot(
        rank, table["eigenvalue"], "o-", color=COLOURS["vermillion"], markersize=4, linewidth=1.2,
        label="residuals",
    )  # fmt: skip
    top = max(float(table[["eigenvalue", "null_high"]].to_numpy().max()), found.edge)
    bottom = float(table[["eigenvalue", "null_median"]].to_numpy().min())
    axes.set_ylim(bottom - 0.06 * (top - bottom), top + 0.55 * (top - bottom))
    axes.set_xlabel("Eigenvalue, from the largest")
    axes.set_ylabel("Size")
    axes.set_xticks(np.arange(1, len(table) + 1, 2 if len(table) > 5 else 1))
    axes.legend(loc="upper right")
    _title(axes, "Noise that neurons share", found, "shared directions")


def _means(axes: Axes, found: Any) -> None:
    """Draw the size of what is left in the means."""
    dt = found.settings["dt"]
    groups = found.means.groupby("condition")
    for number, (_, part) in enumerate(groups):
        axes.plot(
            part["bin"] * dt, part["rms"], color=COLOURS["blue"], linewidth=1.0,
            alpha=max(0.35, 1 / len(groups)), label="left in the means" if number == 0 else None,
        )  # fmt: skip
    axes.plot(
        part["bin"] * dt, groups["expected"].mean().mean() * np.ones(len(part)), color=INK,
        linewidth=1.0, linestyle=(0, (4, 2)), label="from noise alone",
    )  # fmt: skip
    axes.set_ylim(0.0, 1.6 * float(found.means[["rms", "expected"]].to_numpy().max()))
    axes.set_xlabel("Time in the trial, s")
    axes.set_ylabel("RMS, sd of a bin")
    axes.legend(loc="upper right", handlelength=1.4)
    several = "means by condition" in found.tests.index
    name = "means by condition" if several else "means by bin"
    _title(axes, "Left in the means, by condition" if several else "Left in the means", found, name)


def _loadings(axes: Axes, found: Any) -> None:
    """Draw the Q-Q plot of the loadings."""
    table = found.loadings.quantiles
    for number, (name, part) in enumerate(table.groupby("column", sort=False)):
        if number == 0:
            axes.fill_between(
                part["expected"], part["low"], part["high"], color=SOFT, alpha=0.25, linewidth=0
            )
            axes.plot(part["expected"], part["expected"], color=SOFT, linewidth=1.0)
        axes.plot(
            part["expected"], part["seen"], "o", markersize=2.5, linestyle="none",
            color=PALETTE[number % len(PALETTE)], label=str(name),
        )  # fmt: skip
    axes.set_xlabel("Normal quantile")
    axes.set_ylabel("Loading, standardised")
    if len(table):
        axes.legend(loc="upper left", markerscale=2)
    _title(axes, "Loadings against Gaussian", found, "Gaussian loadings")


def _plane(axes: Axes, found: Any, conditions: int) -> None:
    """Draw recorded and predicted trajectories and the fixed points."""
    table, dt = found.trajectories, found.settings["dt"]
    names = list(table["coordinate"].unique())
    labels = table["condition"].unique()
    flat = len(names) < 2
    if flat:
        # bands of more than a few single trials hide one another
        conditions = min(conditions, 3)
    chosen = labels[np.unique(np.linspace(0, len(labels) - 1, min(conditions, len(labels))).round()
                              .astype(int))]  # fmt: skip
    for number, label in enumerate(chosen):
        colour = PALETTE[number % len(PALETTE)]
        part = table[table["condition"] == label]
        first = part[part["coordinate"] == names[0]]
        if flat:
            time = first["bin"] * dt
            axes.fill_between(
                time, first["low"], first["high"], color=colour, alpha=0.2, linewidth=0
            )
            axes.plot(time, first["recorded"], color=colour, linewidth=0.9)
            axes.plot(
                time, first["predicted"], color=colour, linewidth=1.4, linestyle=(0, (3, 1.5))
            )
            continue
        second = part[part["coordinate"] == names[1]]
        axes.plot(first["recorded"], second["recorded"], color=colour, linewidth=0.9)
        axes.plot(
            first["predicted"], second["predicted"], color=colour, linewidth=1.4,
            linestyle=(0, (3, 1.5)),
        )  # fmt: skip
    points = found.fixed_points
    if not flat and len(points):
        for stable, marker in ((True, "o"), (False, "X")):
            some = points[points["stable"] == stable].drop_duplicates(["input", "point"])
            axes.plot(
                some["k_u1"], some["k_u2"], marker, markersize=6, markerfacecolor="white",
                markeredgecolor=INK, linestyle="none", zorder=5,
            )  # fmt: skip
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=INK, linewidth=0.9, label="recorded"),
        Line2D([], [], color=INK, linewidth=1.4, linestyle=(0, (3, 1.5)), label="model"),
    ]
    if not flat:
        handles.append(
            Line2D([], [], color=INK, marker="o", markerfacecolor="white", linestyle="none",
                   label="fixed point")
        )  # fmt: skip
    axes.margins(y=0.2)
    axes.legend(handles=handles, loc="upper right", ncols=3, handlelength=1.6, columnspacing=1.0)
    axes.set_xlabel("Time, s" if flat else "Along u1")
    axes.set_ylabel("Along u" if flat else "Along u2")
    shown = f"{len(chosen)} of {len(labels)} conditions" if len(chosen) < len(labels) else ""
    _title(axes, f"Trajectories{', ' if shown else ''}{shown}", found)


def _time_constants(axes: Axes, found: Any) -> None:
    """Draw the time constants at the fixed points, with intervals."""
    points = found.fixed_points.reset_index(drop=True)
    _title(axes, "Around the fixed points", found)
    if points.empty:
        axes.text(
            0.5, 0.5, "none that is determined", transform=axes.transAxes, ha="center", color=SOFT
        )
        axes.set_axis_off()
        return
    # around every fixed point of a linear network the time constants are the same
    shown = points.drop_duplicates(["eigenvalue", "time_constant", "frequency", "stable"])
    same = len(shown) == points["eigenvalue"].nunique() < len(points)
    points = shown.head(12).reset_index(drop=True)
    value = points["time_constant"].to_numpy(float)
    row = np.arange(len(points))
    for stable, marker in ((True, "o"), (False, "X")):
        which = (points["stable"] == stable).to_numpy()
        low, high = (points[f"time_constant_{end}"].to_numpy(float) for end in ("low", "high"))
        known = which & np.isfinite(low) & np.isfinite(high)
        axes.hlines(row[known], low[known], high[known], color=SOFT, linewidth=1.4)
        axes.plot(
            value[which], row[which], marker, markersize=6, markerfacecolor="white",
            markeredgecolor=INK, linestyle="none", label="stable" if stable else "unstable",
        )  # fmt: skip
    labels = [
        ("any input" if same else f"input {int(p.input) + 1}, point {int(p.point) + 1}")
        + (f", {p.frequency:.2g} Hz" if p.frequency > 0 else "")
        for p in points.itertuples()
    ]
    axes.set_yticks(row, labels)
    axes.set_ylim(len(points) - 0.4, -0.6 - 0.3 * len(points))
    axes.locator_params(axis="x", nbins=5)
    axes.axvline(0.0, color=FAINT, linewidth=1.0, zorder=0)
    axes.set_xlabel("Time constant, s (negative: grows)")
    axes.legend(loc="upper right", ncols=2)
