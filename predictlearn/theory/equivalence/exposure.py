"""How a task exposes the difference between two networks that do the same.

Two functionally equivalent networks S and S + dS share the loss and its derivative matrix A, since
both depend on the loss-visible overlaps sigma only. Learning by dS/dt = -(S A R + R A S), R the
pathway rates, tells them apart at once, and all of it is linear in dS::

    d/dt dS      = -(dS A R + R A dS)        visible entries: -G(dS) grad L, G the metric
    d/dt dL      = -tr(W dS),  W = A R A     = -grad L' G(dS) grad L
                 = -sum over overlaps that differ of (W_ij, twice if i != j) dS_ij

One more derivative along the flow adds the second order. Where every epoch draws new trials, A is
its mean over batches; W is then a product of two means, and is estimated from pairs of different
batches, so that noise of single batches does not count as slope.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd

from predictlearn.checks import as_float_array, positive_int
from predictlearn.errors import InputError, choice
from predictlearn.theory.activity import Batch, _evaluate, check_fit
from predictlearn.theory.equivalence.speed import (
    BATCHES,
    contributions,
    differing_names,
    probe_trials,
    speed_weights,
    unbiased_weights,
    velocity,
)
from predictlearn.theory.learning.rules import GradientDescent, GradientFlow, column_rates
from predictlearn.theory.nonlinearity import Nonlinearity, resolve
from predictlearn.theory.overlaps import Overlaps
from predictlearn.theory.trials import Task

__all__ = ["Exposure", "exposure", "most_exposing"]

MEASURES = ("slope", "velocity")
# Step of the central differences of A along the flow, relative to the overlaps.
_STEP = 3e-4


@dataclass(frozen=True)
class Exposure:
    """How one task exposes the difference between two equivalent networks.

    Learning time is in units of 1 / rate: ``rate * epochs`` of the descent that it stands for. All
    differences are second minus first.

    Parameters
    ----------
    first, second : Overlaps
        The networks.
    loss : float
        The loss before learning, the same for both.
    slopes : (float, float)
        dL/dt of the first and the second network before learning.
    measures : pandas.DataFrame
        Rows ``slope``, the difference of the slopes; ``velocity``, the Euclidean norm of the
        difference in velocity of the loss-visible overlaps; and both relative to the mean of the
        two networks: ``relative_slope``, from -2 to 2, and ``relative_velocity``, from 0 to 2.
        Columns ``value`` and ``error``, its standard error over batches (0 for fixed trials).
    velocities : pandas.DataFrame
        d/dt of every loss-visible overlap: ``first``, ``second``, ``difference``, ``error``.
    contributions : pandas.DataFrame
        A row per overlap in which the networks differ: ``overlap``, ``change``, ``sensitivity``
        (slope per unit of change), ``contribution`` to the difference of the slopes, and its
        ``share``.
    derivatives : numpy.ndarray, (2, D, D)
        First and second derivative of the difference of all overlaps in learning time.
    bends : (float, float)
        d2L/dt2 of the first and the second network before learning.
    batches : int
        Batches of trials averaged over.
    settings : mapping
        Task, rule, nonlinearity, tau and seed.
    """

    first: Overlaps
    second: Overlaps
    loss: float
    slopes: tuple[float, float]
    measures: pd.DataFrame
    velocities: pd.DataFrame
    contributions: pd.DataFrame
    derivatives: np.ndarray
    bends: tuple[float, float]
    batches: int
    settings: Mapping[str, Any]

    @property
    def slope(self) -> float:
        """Difference of the slopes of the loss; negative if the second network learns faster."""
        return float(self.measures.loc["slope", "value"])

    @property
    def relative_slope(self) -> float:
        """Difference of the slopes relative to their mean size; negative: second is faster."""
        return float(self.measures.loc["relative_slope", "value"])

    @property
    def velocity(self) -> float:
        """Size of the difference in velocity of the loss-visible overlaps."""
        return float(self.measures.loc["velocity", "value"])

    @property
    def horizon(self) -> float:
        """Learning time in which the slope of either loss, changing as at first, would vanish.

        The predicted differences hold for times well below it; infinite where no slope changes.
        """
        pairs = zip(self.slopes, self.bends, strict=True)
        return min(abs(slope / bend) if bend != 0.0 else float("inf") for slope, bend in pairs)

    def after(self, times: Any, order: int = 2) -> pd.DataFrame:
        """Return the predicted differences after learning for some time.

        Parameters
        ----------
        times : array_like, (n,) or ()
            Learning times in units of 1 / rate, zero or more.
        order : {1, 2}, default 2
            Order of the expansion; its error grows as time to the power order + 1.

        Returns
        -------
        pandas.DataFrame
            A row per time; column ``loss`` and one per overlap, second minus first.

        Raises
        ------
        InputError
            If a time is negative or the order is neither 1 nor 2.

        Examples
        --------
        >>> import numpy as np
        >>> import predictlearn as pl
        >>> start = pl.Overlaps(np.eye(4)).replace(zu=0.1, vm=0.1)
        >>> twin = pl.functionally_equivalent(start, uu=2.05, mu=0.8)
        >>> predicted = pl.exposure(pl.Filter(), start, twin).after(0.005)["loss"].iloc[0]
        >>> flow = pl.GradientFlow(rtol=1e-11, atol=1e-13)
        >>> a, b = (pl.learn(o, pl.Filter(), flow, 0.005) for o in (start, twin))
        >>> bool(abs(predicted / (b.losses[-1] - a.losses[-1]) - 1) < 1e-3)
        True
        """
        times = np.atleast_1d(as_float_array("times", times))
        if times.ndim != 1 or np.any(times < 0):
            raise InputError(f"times must be zero or more, on one axis; got {times!r}.")
        if order not in (1, 2):
            raise InputError(f"order must be 1 or 2; got {order!r}.")
        pairs = self.first.sizes.pairs
        rows, columns = map(list, zip(*pairs.values(), strict=True))
        change = (self.second.matrix - self.first.matrix)[rows, columns]
        rates, bends = self.derivatives[:, rows, columns]
        half = (times[:, None] ** 2 / 2) * (order == 2)
        table = pd.DataFrame(
            change + times[:, None] * rates + half * bends,
            index=pd.Index(times, name="time"),
            columns=list(pairs),
        )
        table.insert(0, "loss", times * self.slope + half[:, 0] * (self.bends[1] - self.bends[0]))
        return table


def exposure(
    task: Task,
    first: Overlaps,
    second: Overlaps,
    rule: GradientDescent | GradientFlow | None = None,
    nonlinearity: str | Nonlinearity = "linear",
    tau: float = 1.0,
    seed: int = 0,
    batches: int = BATCHES,
) -> Exposure:
    """Predict in closed form how differently two equivalent networks begin to learn a task.

    Parameters
    ----------
    task : Task
        What would be learned.
    first, second : Overlaps
        Functionally equivalent networks: they agree on every loss-visible overlap.
    rule : GradientDescent or GradientFlow, optional
        For its pathway rates and weight decay; the limit of small rates, without noise. All
        pathways at the same rate if not given.
    nonlinearity : {"linear", "erf", "tanh"} or Nonlinearity
        Which phi; decides which overlaps are loss-visible.
    tau : float, default 1.0
        Time constant in seconds.
    seed : int, default 0
        Seed of the batches, where each epoch draws new trials.
    batches : int, default 8
        How many batches to average over, where each epoch draws new trials; at least 2.

    Returns
    -------
    Exposure
        Differences in slope and velocity, by overlap, with errors; differences after some learning.

    Raises
    ------
    InputError
        If the networks are not functionally equivalent (the message names the overlaps), do not fit
        the task, or the rule has momentum.

    See Also
    --------
    most_exposing : Rank tasks by how much they expose.
    functionally_equivalent : Make the second network.

    Notes
    -----
    ``d/dt dS = -(dS A R + R A dS)`` and ``d/dt dL = -tr(A R A dS)``. Both are exact, and so are the
    second derivatives, up to central differences of A along the flow. The metric of learning is
    that of Ger & Barak (2026), arXiv:2605.04115; its use as a design rule is an extension.

    Examples
    --------
    >>> import numpy as np
    >>> import predictlearn as pl
    >>> start = pl.Overlaps(np.eye(4)).replace(zu=0.1, vm=0.1)
    >>> twin = pl.functionally_equivalent(start, uu=2.05, mu=0.8)
    >>> exposed = pl.exposure(pl.Filter(), start, twin)
    >>> round(exposed.relative_slope, 3)   # the twin learns faster
    -0.067
    >>> exposed.contributions[["overlap", "share"]].round(2).to_numpy().tolist()
    [['mu', 0.95], ['uu', 0.05]]
    """
    rule = GradientFlow() if rule is None else rule
    _check_equivalent(first, second, nonlinearity)
    columns, decay = _rates_of(rule, first.sizes)
    if not isinstance(task, Task):
        raise InputError(
            "task must have n_in, n_out, dt, fixed and sample(rng), as pl.Filter() has; "
            f"got {type(task).__name__}."
        )
    check_fit(first, task.n_in, task.n_out, "the task")
    batches = positive_int("batches", batches, minimum=2)
    positive_int("seed", seed, minimum=0)
    ready = [Batch(t, nonlinearity, tau) for t in probe_trials(task, seed, batches)]
    s = np.array([first.matrix, second.matrix])
    values, derivatives = zip(*(_evaluate(s[0], first.sizes, r) for r in ready), strict=True)
    each = np.array(derivatives)
    n, total = len(each), each.sum(axis=0)
    squares = speed_weights(each, columns)
    names = first.sizes.visible(nonlinearity)
    rows, across = map(list, zip(*map(first.index, names), strict=True))

    def numbers(mean: np.ndarray, own: np.ndarray, count: int) -> _Numbers:
        pull = unbiased_weights(mean, own, count, columns) + decay * mean * columns
        moves = velocity(s, mean, columns, decay)[:, rows, across]
        return _Numbers(-np.sum(pull * s, axis=(1, 2)), moves)

    a, own = total / n, squares.mean(axis=0)
    found = numbers(a, own, n)
    others = [
        numbers((total - one) / (n - 1), (n * own - square) / (n - 1), n - 1)
        for one, square in zip(each, squares, strict=True)
        if n > 1
    ]
    errors = _jackknife_error([list(other.measures.values()) for other in others], 4)
    velocities = pd.DataFrame(found.velocities.T, index=list(names), columns=["first", "second"])
    velocities["difference"] = velocities["second"] - velocities["first"]
    gaps = [other.velocities[1] - other.velocities[0] for other in others]
    velocities["error"] = _jackknife_error(gaps, len(names))

    account = contributions(first, second, -unbiased_weights(a, own, n, columns))
    whole = float(account["contribution"].sum())
    account["share"] = account["contribution"] / whole if whole != 0 else float("nan")
    speeds = velocity(s, a, columns, decay)
    turned = np.array([_along(s[0], speed, first.sizes, ready) for speed in speeds])
    bends = velocity(speeds, a, columns, decay) + velocity(s, turned, columns, 0.0)
    curves = 0.5 * np.sum(turned * speeds + a * bends, axis=(1, 2))
    return Exposure(
        first,
        second,
        float(np.mean(values)),
        found.slopes,
        pd.DataFrame(
            {"value": list(found.measures.values()), "error": errors}, index=list(found.measures)
        ),
        velocities,
        account,
        np.array([speeds[1] - speeds[0], bends[1] - bends[0]]),
        (float(curves[0]), float(curves[1])),
        n,
        MappingProxyType(
            {
                "task": repr(task) if len(repr(task)) < 500 else type(task).__name__,
                "rule": repr(rule),
                "nonlinearity": resolve(nonlinearity).name,
                "tau": tau,
                "seed": seed,
            }
        ),
    )


def most_exposing(
    tasks: Mapping[str, Task],
    first: Overlaps,
    second: Overlaps,
    by: str = "slope",
    relative: bool = True,
    rule: GradientDescent | GradientFlow | None = None,
    nonlinearity: str | Nonlinearity = "linear",
    tau: float = 1.0,
    seed: int = 0,
    batches: int = BATCHES,
) -> pd.DataFrame:
    """Rank tasks by how much they expose the difference between two equivalent networks.

    Parameters
    ----------
    tasks : mapping of str to Task
        Tasks by name.
    first, second : Overlaps
        Functionally equivalent networks.
    by : {"slope", "velocity"}, default "slope"
        What to rank by: how differently the loss begins to fall, or the loss-visible overlaps to
        move. The loss is what an experiment sees.
    relative : bool, default True
        Rank by the difference relative to the mean of the two networks. Tasks differ in the unit
        of their loss, which the slope goes with by its square, so the absolute differences of two
        tasks compare only if both losses mean the same and both are learned at the same rate.
    rule, nonlinearity, tau, seed, batches
        As in `exposure`.

    Returns
    -------
    pandas.DataFrame
        A row per task, the most exposing first: ``rank``, ``task``, each measure of
        `Exposure.measures` with its ``.._error``, ``loss`` before learning, ``horizon`` (how
        long the prediction holds), ``batches`` and ``note``, which says where a
        value lies within two standard errors of the next or of zero.

    Raises
    ------
    InputError
        If there is no task, a choice is unknown, or as in `exposure`.

    Examples
    --------
    >>> import numpy as np
    >>> import predictlearn as pl
    >>> start = pl.Overlaps(np.eye(4)).replace(zu=0.1, vm=0.1)
    >>> twin = pl.functionally_equivalent(start, uu=2.05, mu=0.8)
    >>> tasks = {f"decay {c}": pl.Filter(decay=c) for c in (0.2, 0.4, 1.2)}
    >>> pl.most_exposing(tasks, start, twin)[["task", "relative_slope"]].round(3)
            task  relative_slope
    0  decay 0.2          -0.067
    1  decay 0.4          -0.058
    2  decay 1.2          -0.036
    """
    choice("by", by, MEASURES)
    if not isinstance(tasks, Mapping) or not tasks:
        raise InputError(
            "tasks must map names to tasks, such as {'slow': pl.Filter(decay=0.2)}, with at least "
            f"one; got {tasks!r}."
        )
    rows = []
    for name, task in tasks.items():
        try:
            found = exposure(task, first, second, rule, nonlinearity, tau, seed, batches)
        except InputError as error:
            raise InputError(f"tasks[{name!r}]: {error}") from error
        row: dict[str, Any] = {"task": name}
        for measure, entry in found.measures.iterrows():
            row[str(measure)] = entry["value"]
            row[f"{measure}_error"] = entry["error"]
        row |= {"loss": found.loss, "horizon": found.horizon, "batches": found.batches}
        rows.append(row)
    key = f"relative_{by}" if relative else by
    table = pd.DataFrame(rows)
    order = table[key].abs().sort_values(ascending=False, kind="stable", na_position="last").index
    table = table.loc[order].reset_index(drop=True)
    table.insert(0, "rank", np.arange(1, len(table) + 1))
    table["note"] = _notes(table[key].abs().to_numpy(), table[f"{key}_error"].to_numpy(), table)
    return table


def _notes(values: np.ndarray, errors: np.ndarray, table: pd.DataFrame) -> list[str]:
    """Say of each row of a ranking where its place lies within noise."""
    notes = []
    for k, (value, error) in enumerate(zip(values, errors, strict=True)):
        said = []
        if np.isnan(value):
            said.append("neither network learns this task at first")
        elif value < 2 * error:
            said.append("within noise of zero")
        if k + 1 < len(values) and value - values[k + 1] < 2 * np.hypot(error, errors[k + 1]):
            said.append(f"within noise of {table['task'].iloc[k + 1]}")
        notes.append("; ".join(said))
    return notes


def _rates_of(
    rule: GradientDescent | GradientFlow, sizes: tuple[int, int, int]
) -> tuple[np.ndarray, float]:
    """Return the relative rate of every column and the weight decay of a rule."""
    if not isinstance(rule, GradientDescent | GradientFlow):
        raise InputError(
            f"rule must be a GradientDescent or GradientFlow; got {type(rule).__name__}."
        )
    if getattr(rule, "momentum", 0.0) > 0:
        raise InputError(
            "rule must be without momentum, with which learning starts from rest and has no slope; "
            f"got momentum {rule.momentum:g}."  # type: ignore[union-attr]
        )
    return column_rates(rule.pathway_rates, sizes), getattr(rule, "weight_decay", 0.0)


def _check_equivalent(first: Overlaps, second: Overlaps, nonlinearity: str | Nonlinearity) -> None:
    """Raise unless two networks agree on what the loss sees."""
    for name, one in (("first", first), ("second", second)):
        if not isinstance(one, Overlaps):
            raise InputError(f"{name} must be an Overlaps; got {type(one).__name__}.")
    if first.sizes != second.sizes:
        raise InputError(
            "second must have the inputs, rank and outputs of first, "
            f"{first.sizes}; got {second.sizes}."
        )
    seen = first.sizes.visible(nonlinearity)
    wrong = [name for name in differing_names(first, second) if name in seen]
    if wrong:
        said = ", ".join(f"{name} ({first[name]:.6g} and {second[name]:.6g})" for name in wrong)
        raise InputError(
            f"second must be functionally equivalent to first; they differ in the loss-visible "
            f"{said}. pl.functionally_equivalent makes networks that do not."
        )


@dataclass(frozen=True)
class _Numbers:
    """What some batches say: the two slopes, (2,), and visible velocities, (2, n)."""

    slope_pair: np.ndarray
    velocities: np.ndarray

    @property
    def slopes(self) -> tuple[float, float]:
        return float(self.slope_pair[0]), float(self.slope_pair[1])

    @property
    def measures(self) -> dict[str, float]:
        slope = self.slopes[1] - self.slopes[0]
        size = float(np.abs(self.slope_pair).mean())
        speed = float(np.linalg.norm(self.velocities[1] - self.velocities[0]))
        pace = float(np.linalg.norm(self.velocities, axis=1).mean())
        return {
            "slope": slope,
            "relative_slope": slope / size if size > 0 else float("nan"),
            "velocity": speed,
            "relative_velocity": speed / pace if pace > 0 else float("nan"),
        }


def _jackknife_error(without: Sequence[Any], width: int) -> np.ndarray:
    """Return standard errors from values, (width,), with each batch left out; zero if none was."""
    n = len(without)
    if n == 0:
        return np.zeros(width)
    values = np.array(without)
    return np.sqrt((n - 1) / n * np.sum((values - values.mean(axis=0)) ** 2, axis=0))


def _along(
    s: np.ndarray, direction: np.ndarray, sizes: tuple[int, int, int], ready: Sequence[Batch]
) -> np.ndarray:
    """Return the derivative of the mean A along a direction, by central differences."""
    length = float(np.abs(direction).max())
    if length == 0.0:
        return np.zeros_like(s)
    h = _STEP * float(np.abs(s).max()) / length
    total = np.zeros_like(s)
    for steps, weight in ((1, 8.0), (-1, -8.0), (2, -1.0), (-2, 1.0)):
        moved = s + steps * h * direction
        for trials in ready:
            total += weight * _evaluate(moved, sizes, trials)[1]
    return total / (12 * h * len(ready))
