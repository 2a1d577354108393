"""The metric of learning: which slope of the loss moves which overlap."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from predictlearn.network.activity import run_network
from predictlearn.network.training import train_network
from predictlearn.published.panels import HIDDEN, SEEN
from predictlearn.published.protocols import announce, load, run, spread
from predictlearn.published.result import Published, Reproduced, Row, numbers_table, verdict
from predictlearn.reporting.style import COLOURS, FAINT, INK, SOFT, new_figure, styled
from predictlearn.tasks.arrays import ArrayTask
from predictlearn.theory.equivalence.equivalent import metric
from predictlearn.theory.learning.rules import GradientDescent
from predictlearn.theory.loadings import Loadings
from predictlearn.theory.overlaps import Overlaps

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["RESULT", "entries_by_steps", "speeds_by_training", "structure"]

_SIZES = (500, 2000, 8000)
_DRAWS = 3
_RATE = 1e-4
_STEP = 1e-5


def structure(nonlinearity: str = "linear") -> dict[tuple[str, str], dict[str, int]]:
    """Return every entry of the metric as a sum of overlaps, for one input, output and rank.

    Parameters
    ----------
    nonlinearity : {"linear", "erf"}
        Which network.

    Returns
    -------
    dict of (row, column) to dict of str to int
        The overlaps that an entry is the sum of, with their factors; entries that are zero
        whatever the overlaps are left out.

    Notes
    -----
    The metric is linear in the overlaps, so each is moved by one in turn.

    Examples
    --------
    >>> structure()["zm", "zm"]
    {'mm': 1, 'zz': 1}
    """
    base = Overlaps(3.0 * np.eye(4))
    still = metric(base, nonlinearity)
    found: dict[tuple[str, str], dict[str, int]] = {}
    for name in base.names:
        change = metric(base.replace(**{name: base[name] + 1.0}), nonlinearity) - still
        for row in change.index:
            for column in change.columns:
                factor = round(change.loc[row, column])
                if factor:
                    found.setdefault((row, column), {})[name] = factor
    return found


def _formula(terms: dict[str, int]) -> str:
    """Return an entry as text."""
    return "+".join(name if factor == 1 else f"{factor}{name}" for name, factor in terms.items())


def _random_tasks(rng: np.random.Generator, n: int) -> list[ArrayTask]:
    """Return tasks of one bin each to be right in, so that their gradients differ."""
    dt, n_steps, n_trials = 0.1, 40, 4
    tasks = []
    for _ in range(n):
        inputs = rng.normal(0.0, 4.0, size=(n_trials, n_steps, 1))
        weights = np.zeros((n_trials, n_steps, 1))
        weights[np.arange(n_trials), rng.integers(0, n_steps, n_trials)] = 1.0
        targets = rng.normal(0.0, 2.0, size=inputs.shape)
        tasks.append(ArrayTask(inputs, targets, weights, dt))
    return tasks


def _moved(loadings: Loadings, name: str, change: float) -> Loadings:
    """Return the same neurons with loadings turned so that one overlap has changed."""
    start = Overlaps.from_loadings(loadings)
    target = start.replace(**{name: start[name] + change})
    lower, upper = np.linalg.cholesky(start.matrix), np.linalg.cholesky(target.matrix)
    theta = loadings.stacked @ np.linalg.solve(lower.T, upper.T)
    return Loadings(*(theta[:, [k]] for k in range(4)))


def entries_by_steps(loadings: Loadings, nonlinearity: str = "linear") -> pd.DataFrame:
    """Return every entry of the metric from steps of N loadings down one overlap at a time.

    Parameters
    ----------
    loadings : Loadings
        A network of one input, output and rank.
    nonlinearity : {"linear", "erf"}
        Decides which overlaps are loss-visible.

    Returns
    -------
    pandas.DataFrame, (all overlaps, loss-visible overlaps)
        Minus the speed of the row as the loadings descend the column as if it were the loss; from
        steps of either sign, in which the second order cancels.
    """
    start = Overlaps.from_loadings(loadings)
    theta = loadings.stacked
    found = {}
    for name in start.visible_names(nonlinearity):
        i, j = start.index(name)
        # the overlap is theta_i . theta_j / N, and the rate is N times a small number
        downhill = np.zeros_like(theta)
        downhill[:, i] -= theta[:, j]
        downhill[:, j] -= theta[:, i]
        ends = [
            Overlaps.from_loadings(
                Loadings(*((theta + side * downhill)[:, [k]] for k in range(4)))
            ).to_series()
            for side in (_STEP, -_STEP)
        ]
        found[name] = -(ends[0] - ends[1]) / (2 * _STEP)
    return pd.DataFrame(found)


def speeds_by_training(
    loadings: Loadings, nonlinearity: str = "linear", n_tasks: int = 8, seed: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return how fast training moves the overlaps of a network, and what the metric says of it.

    Parameters
    ----------
    loadings : Loadings
        A network of one input, output and rank.
    nonlinearity : {"linear", "erf"}
        Which phi.
    n_tasks : int, default 8
        Number of random tasks.
    seed : int, default 0
        Seed of the tasks.

    Returns
    -------
    measured, predicted : numpy.ndarray, (tasks, overlaps)
        Speeds per unit of learning time. Measured: one step of training at a small rate, the second
        order removed by a step of half the rate. Predicted: minus the metric times the slopes.
    slopes : numpy.ndarray, (tasks, loss-visible overlaps)
        Slopes of the loss, by central differences of the network's own loss as its neurons are
        turned to have other overlaps: the derivative that the theory computes is not used.
    """
    start = Overlaps.from_loadings(loadings)
    names = start.visible_names(nonlinearity)
    moves, slopes = [], []
    for task in _random_tasks(np.random.default_rng(seed), n_tasks):
        speeds = []
        for rate in (_RATE, _RATE / 2):
            table = train_network(loadings, task, GradientDescent(rate), 1, nonlinearity).overlaps
            speeds.append((table.iloc[1] - table.iloc[0]).to_numpy() / rate)
        moves.append(2 * speeds[1] - speeds[0])
        trials = task.sample()
        ends = [
            [
                trials.loss(run_network(_moved(loadings, name, side), trials, nonlinearity).outputs)
                for name in names
            ]
            for side in (_STEP, -_STEP)
        ]
        slopes.append((np.array(ends[0]) - np.array(ends[1])) / (2 * _STEP))
    measured, gradients = np.array(moves), np.array(slopes)
    predicted = -gradients @ metric(start, nonlinearity).to_numpy().T
    return measured, predicted, gradients


# -- figures ------------------------------------------------------------------------------------


def _matrix(axes: Axes, overlaps: Overlaps, nonlinearity: str, bound: float) -> None:
    """Draw the metric: what each entry is, on a colour that is its value here."""
    values = metric(overlaps, nonlinearity)
    entries = structure(nonlinearity)
    columns = list(values.columns)
    rows = columns + [name for name in values.index if name not in columns]
    values = values.loc[rows]
    axes.imshow(values, cmap="PuOr_r", vmin=-bound, vmax=bound, aspect="auto", alpha=0.75)
    for r, row in enumerate(rows):
        for c, column in enumerate(columns):
            terms = entries.get((row, column))
            text, colour = (_formula(terms), INK) if terms else ("0", FAINT)
            axes.text(c, r, text, ha="center", va="center", fontsize=7.5, color=colour)
    axes.set_xticks(range(len(columns)), columns)
    axes.set_yticks(range(len(rows)), rows)
    axes.axhline(len(columns) - 0.5, color=INK, linewidth=1.4)
    axes.tick_params(length=0)
    axes.set_xlabel("slope of the loss along")
    axes.spines[:].set_visible(False)
    for label in axes.get_yticklabels():
        label.set_color(SEEN if label.get_text() in columns else HIDDEN)


@styled
def structure_figure(overlaps: Overlaps) -> Figure:
    """Return the metric as a signed matrix, linear and erf, with what every entry is."""
    figure = new_figure(4.0)
    left, right = figure.subplots(1, 2, width_ratios=[4, 7])
    bound = float(metric(overlaps, "erf").abs().to_numpy().max())
    _matrix(left, overlaps, "linear", bound)
    _matrix(right, overlaps, "erf", bound)
    left.set_title("Linear")
    right.set_title("erf")
    left.set_ylabel("moves the overlap")
    figure.colorbar(right.images[0], ax=right, shrink=0.7, label="value after learning the filter")
    return figure


@styled
def check_figure(linear: tuple[np.ndarray, ...], erf: pd.DataFrame) -> Figure:
    """Return predicted against measured speeds, and the error of erf by the number of neurons."""
    figure = new_figure(2.7)
    left, right = figure.subplots(1, 2)
    measured, predicted, _ = linear
    edges = [1.05 * float(measured.min()), max(0.0, 1.05 * float(measured.max()))]
    left.plot(edges, edges, color=FAINT, linewidth=1.0, zorder=0)
    left.plot(predicted.ravel(), measured.ravel(), "o", color=COLOURS["blue"], markersize=3.0)
    left.set_xlabel("predicted: minus metric times slopes")
    left.set_ylabel("measured in the network")
    left.set_title(f"Speed of overlaps, linear, N = {_SIZES[0]}")
    right.loglog(erf["neurons"], erf["error"], "o", color=COLOURS["vermillion"], markersize=4.5)
    centre = erf.groupby("neurons")["error"].median()
    guide = centre.iloc[0] * np.sqrt(centre.index[0] / centre.index)
    right.loglog(centre.index, guide, color=SOFT, linewidth=1.0, label="1/sqrt(N)")
    right.set_xticks(list(_SIZES), [str(n) for n in _SIZES])
    ticks = [0.002, 0.005, 0.01, 0.02, 0.05, 0.1]
    right.set_yticks(ticks, [f"{100 * tick:g}%" for tick in ticks])
    right.set_ylim(0.8 * erf["error"].min(), 1.3 * erf["error"].max())
    right.minorticks_off()
    right.set_xlabel("neurons N")
    right.set_ylabel("relative error of speeds")
    right.set_title("erf, Gaussian loadings")
    right.legend()
    return figure


# -- the result ---------------------------------------------------------------------------------


def _made_of(nonlinearity: str, rows: Iterable[str]) -> set[str]:
    """Return the overlaps that the entries of some rows are made of."""
    entries = structure(nonlinearity)
    return {name for (row, _), terms in entries.items() if row in set(rows) for name in terms}


def _structure_rows(overlaps: Overlaps) -> list[Row]:
    """Return the rows on what the entries are."""
    seen, unseen = overlaps.visible_names("linear"), set(overlaps.invisible_names("linear"))
    hidden = overlaps.invisible_names("erf")
    columns = {column for (row, column) in structure("erf") if row in hidden}
    size = {kind: metric(overlaps, kind).size for kind in ("linear", "erf")}
    zero = {kind: size[kind] - len(structure(kind)) for kind in size}
    block = metric(overlaps).loc[list(seen)]
    smallest = float(np.linalg.eigvalsh(block)[0])
    return [
        (
            "linear: visible overlaps are moved through",
            "invisible overlaps only",
            ", ".join(name for name in overlaps.names if name in _made_of("linear", seen)),
            verdict(_made_of("linear", seen) <= unseen),
        ),
        (
            "linear: invisible overlaps are moved through",
            "visible overlaps only",
            ", ".join(name for name in overlaps.names if name in _made_of("linear", unseen)),
            verdict(_made_of("linear", unseen) <= set(seen)),
        ),
        (
            "erf: zv, vv, zz are moved by slopes along",
            "the cross overlaps zm, zu, vm, vu",
            ", ".join(name for name in overlaps.names if name in columns),
            verdict(columns == set(seen)),
        ),
        ("linear: entries that are zero whatever the overlaps", "", _of(zero, size, "linear"),
         "ours only"),
        ("erf: entries that are zero whatever the overlaps", "", _of(zero, size, "erf"),
         "ours only"),
        ("linear: smallest eigenvalue of the visible rows", "at least 0: the loss falls", smallest,
         verdict(smallest > -1e-12)),
    ]  # fmt: skip


def _of(part: dict[str, int], whole: dict[str, int], kind: str) -> str:
    """Return "12 of 40"."""
    return f"{part[kind]} of {whole[kind]}"


def _check_rows(
    gaps: dict[str, float], linear: tuple[np.ndarray, ...], erf: pd.DataFrame
) -> list[Row]:
    """Return the rows on theory against network."""
    error = float(np.linalg.norm(linear[0] - linear[1]) / np.linalg.norm(linear[0]))
    by_size = erf.groupby("neurons")["error"]
    slope = float(np.polyfit(np.log(by_size.median().index), np.log(by_size.median()), 1)[0])
    entries = "largest error of an entry, N = 500, one overlap descended at a time"
    rows: list[Row] = [
        (f"{kind}: {entries}", 0, gaps[kind], verdict(gaps[kind] < 1e-8)) for kind in gaps
    ]
    rows.append(
        ("linear: relative error of speeds in training, N = 500", 0, error, verdict(error < 1e-7))
    )
    rows += [
        (f"erf: relative error of speeds in training, N = {n}", "", spread(group), "ours only")
        for n, group in by_size
    ]
    rows.append(("erf: that error grows with N to the power of", "", slope, "ours only"))
    rank = np.linalg.matrix_rank(linear[2], tol=1e-6 * np.abs(linear[2]).max())
    rows.append(
        ("linear: independent slopes that any task can have", "", f"{rank} of 4", "ours only")
    )
    return rows


def _findings(linear: tuple[np.ndarray, ...]) -> tuple[str, ...]:
    """Return what the paper does not say."""
    rank = np.linalg.matrix_rank(linear[2], tol=1e-6 * np.abs(linear[2]).max())
    n = len(linear[2])
    return (
        f"The four columns of the linear metric cannot all be seen in training: the loss depends "
        f"on zu and vm through their product, so zu dL/dzu = vm dL/dvm on every task, and the "
        f"slopes of {n} random tasks span {rank} dimensions. Every entry was therefore checked by "
        "descending one overlap at a time in the network, and training was checked as a whole.",
        "For erf the metric is that of Gaussian loadings; in a network whose loadings were just "
        "drawn the speeds differ from it by what a finite draw leaves, and more neurons make it "
        "less. This says nothing of a network that has learned with erf for long, whose loadings "
        "are no longer Gaussian.",
    )


def _reproduce(
    *,
    seed: int = 0,
    n_jobs: int = 1,
    scale: float = 1.0,
    folder: Path | None = None,
    progress: Callable[[str], None] | None = None,
) -> Reproduced:
    """Rebuild it; see `predictlearn.published.reproduce`."""
    protocol = load(RESULT.protocols[0], scale, ["theory"], n_neurons=None)
    protocol = protocol.replace(cohort={**protocol.to_dict()["cohort"], "networks": 1})
    announce(progress, "the filter, learned in theory")
    learned = run(protocol, seed=seed, n_jobs=n_jobs, folder=folder).final("theory")[0]
    announce(progress, "every entry, by steps of 500 neurons")
    network = learned.loadings(_SIZES[0], seed)
    gaps = {
        kind: float((entries_by_steps(network, kind) - metric(learned, kind)).abs().max(axis=None))
        for kind in ("linear", "erf")
    }
    announce(progress, "speeds in training, linear")
    linear = speeds_by_training(network, "linear", seed=seed)
    rows = []
    for n in _SIZES:
        announce(progress, f"speeds in training, erf, {n} neurons")
        for draw in range(_DRAWS):
            found = speeds_by_training(learned.loadings(n, seed + draw), "erf", seed=seed)
            error = np.linalg.norm(found[0] - found[1]) / np.linalg.norm(found[0])
            rows.append({"neurons": n, "draw": draw, "error": error})
    erf = pd.DataFrame(rows)
    figures = {
        "structure": structure_figure(learned),
        "check": check_figure(linear, erf),
    }
    tables = {
        f"structure-{kind}": pd.DataFrame(
            {
                column: [_formula(entries.get((row, column), {})) or "0" for row in learned.names]
                for column in learned.visible_names(kind)
            },
            index=list(learned.names),
        )
        for kind, entries in ((kind, structure(kind)) for kind in ("linear", "erf"))
    }
    numbers = numbers_table([*_structure_rows(learned), *_check_rows(gaps, linear, erf)])
    return Reproduced(
        figures, numbers, _findings(linear) if scale >= 1.0 else (), {**tables, "erf-speeds": erf}
    )


RESULT = Published(
    name="metric",
    title="The metric of learning: which slope moves which overlap",
    claim="Gradient descent of the loadings moves the overlaps by a metric times the slopes of the "
    "loss. In a linear network the loss-visible overlaps are moved through the invisible ones and "
    "the invisible ones through the visible, so what the loss does not see sets how fast what it "
    "sees is learned.",
    protocols=("published-theory-and-network",),
    run=_reproduce,
    takes="20 s on one core",
)
