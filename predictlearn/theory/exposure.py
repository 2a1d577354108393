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
from predictlearn.theory.names import table_pairs
from predictlearn.theory.nonlinearity import Nonlinearity, resolve
from predictlearn.theory.overlaps import Overlaps
from predictlearn.theory.reduced import Prepared, _evaluate, check_fit, loss_and_derivative
from predictlearn.theory.rules import GradientDescent, GradientFlow, column_rates
from predictlearn.theory.trials import Task, Trials

__all__ = [
    "Exposure",
    "contributions",
    "differing_names",
    "exposure",
    "mean_derivative",
    "most_exposing",
    "probe_trials",
    "speed_weights",
]

BATCHES = 8
MEASURES = ("slope", "velocity")
# Step of the central differences of A along the flow, relative to the overlaps.
_STEP = 2e-3


def probe_trials(task: Task, seed: int, batches: int = BATCHES) -> tuple[Trials, ...]:
    """Return the batches on which a network is probed: one if trials are fixed, else several.

    Parameters
    ----------
    task : Task
        The task.
    seed : int
        Seed of the trials.
    batches : int, default 8
        How many, where each epoch draws new trials.

    Returns
    -------
    tuple of Trials
        Batches.

    Examples
    --------
    >>> import predictlearn as pl
    >>> len(probe_trials(pl.Filter(), seed=0)), len(probe_trials(pl.FlipFlop(), seed=0))
    (1, 8)
    """
    rng = np.random.default_rng(seed)
    return tuple(task.sample(rng) for _ in range(1 if task.fixed else batches))


def differing_names(first: Overlaps, second: Overlaps) -> tuple[str, ...]:
    """Return the names of the overlaps in which two networks differ, in table order."""
    scale = max(float(np.abs(first.matrix).max()), float(np.abs(second.matrix).max()))
    return tuple(name for name in first.names if abs(first[name] - second[name]) > 1e-10 * scale)


def mean_derivative(
    overlaps: Overlaps,
    probes: Sequence[Trials],
    nonlinearity: str | Nonlinearity = "linear",
    tau: float = 1.0,
) -> np.ndarray:
    """Return A averaged over batches of trials, (D, D)."""
    return np.mean([loss_and_derivative(overlaps, t, nonlinearity, tau)[1] for t in probes], axis=0)


def speed_weights(a: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Return W = A R A, with which -dL/dt = sum of W_ij S_ij; `columns` is the diagonal of R."""
    return (a * columns) @ a


def contributions(first: Overlaps, second: Overlaps, weights: np.ndarray) -> pd.DataFrame:
    """Split the difference in the speed -dL/dt of two equivalent networks by overlap.

    Parameters
    ----------
    first, second : Overlaps
        Functionally equivalent networks.
    weights : numpy.ndarray, (D, D)
        W = A R A, the same in both.

    Returns
    -------
    pandas.DataFrame
        A row per overlap in which they differ: ``overlap``, ``change`` (second minus first),
        ``sensitivity`` (speed per unit of change) and ``contribution`` (their product; the sum is
        the whole difference).

    Examples
    --------
    >>> import numpy as np
    >>> import predictlearn as pl
    >>> o = pl.Overlaps(np.eye(4))
    >>> contributions(o, o.replace(mu=0.5), np.ones((4, 4)))["contribution"].tolist()
    [1.0]
    """
    rows = []
    for name in differing_names(first, second):
        i, j = first.index(name)
        change = second[name] - first[name]
        sensitivity = float(weights[i, j] * (1.0 if i == j else 2.0))
        rows.append((name, change, sensitivity, sensitivity * change))
    return pd.DataFrame(rows, columns=["overlap", "change", "sensitivity", "contribution"])


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
    bend : float
        Second derivative of the difference of the losses.
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
    bend: float
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
    def relative_velocity(self) -> float:
        """Size of the difference in velocity relative to the mean size of the velocities."""
        return float(self.measures.loc["relative_velocity", "value"])

    @property
    def horizon(self) -> float:
        """Learning time at which the second order of the loss difference equals the first.

        Well before it the first order can be trusted; infinite where there is no second order.
        """
        return 2 * abs(self.slope) / abs(self.bend) if self.bend != 0.0 else float("inf")

    def after(self, times: Any, order: int = 2) -> pd.DataFrame:
        """Return the predicted differences after learning for some time.

        Parameters
        ----------
        times : array_like, (n,)
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
        >>> predicted = pl.exposure(pl.Filter(), start, twin).after([0.01])["loss"].iloc[0]
        >>> flow = pl.GradientFlow(rtol=1e-11, atol=1e-13)
        >>> a, b = (pl.learn(o, pl.Filter(), flow, 0.01) for o in (start, twin))
        >>> bool(abs(predicted / (b.losses[-1] - a.losses[-1]) - 1) < 1e-3)
        True
        """
        times = np.atleast_1d(as_float_array("times", times))
        if times.ndim != 1 or np.any(times < 0):
            raise InputError(f"times must be zero or more, on one axis; got {times!r}.")
        if order not in (1, 2):
            raise InputError(f"order must be 1 or 2; got {order!r}.")
        pairs = table_pairs(*self.first.sizes)
        rows, columns = map(list, zip(*pairs.values(), strict=True))
        change = (self.second.matrix - self.first.matrix)[rows, columns]
        rates, bends = self.derivatives[:, rows, columns]
        half = (times[:, None] ** 2 / 2) * (order == 2)
        table = pd.DataFrame(
            change + times[:, None] * rates + half * bends,
            index=pd.Index(times, name="time"),
            columns=list(pairs),
        )
        table.insert(0, "loss", times * self.slope + half[:, 0] * self.bend)
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
    >>> round(exposed.relative_slope, 2)   # the twin learns faster
    -0.19
    >>> exposed.contributions[["overlap", "share"]].round(2).to_numpy().tolist()
    [['mu', 0.92], ['uu', 0.08]]
    """
    rule = GradientFlow() if rule is None else rule
    columns, decay = _rates_of(rule, first.sizes)
    _check_equivalent(first, second, nonlinearity)
    check_fit(first, task.n_in, task.n_out, "the task")
    batches = positive_int("batches", batches, minimum=2)
    positive_int("seed", seed, minimum=0)
    ready = [Prepared(t, nonlinearity, tau) for t in probe_trials(task, seed, batches)]
    s = np.array([first.matrix, second.matrix])
    values, derivatives = zip(*(_evaluate(s[0], first.sizes, r) for r in ready), strict=True)
    each = np.array(derivatives)
    a = each.mean(axis=0)
    weights = _unbiased_weights(each, columns)
    speeds = _velocity(s, a, columns, decay)
    seen = [first.index(name) for name in first.visible_names(nonlinearity)]
    rows, across = map(list, zip(*seen, strict=True))

    # leave-one-out values of everything that has an error
    left_out = [(a * len(each) - one) / (len(each) - 1) for one in each] if len(each) > 1 else [a]
    moved = np.array([_velocity(s, one, columns, decay)[:, rows, across] for one in left_out])
    without = [_measures(speed_weights(o, columns), v, s) for o, v in zip(left_out, moved, strict=True)]
    measures = pd.DataFrame(
        {
            "value": _measures(weights, speeds[:, rows, across], s),
            "error": _jackknife_error(np.array([list(m.values()) for m in without])),
        }
    )
    velocities = pd.DataFrame(
        speeds[:, rows, across].T,
        index=list(first.visible_names(nonlinearity)),
        columns=["first", "second"],
    )
    velocities["difference"] = velocities["second"] - velocities["first"]
    velocities["error"] = _jackknife_error(moved[:, 1] - moved[:, 0])

    account = contributions(first, second, -weights)
    total = float(account["contribution"].sum())
    account["share"] = account["contribution"] / total if total != 0 else float("nan")
    turned = np.array([_along(s[0], speed, first.sizes, ready) for speed in speeds])
    bends = _velocity(speeds, a, columns, decay) + _velocity(s, turned, columns, 0.0)
    bend = 0.5 * np.sum(turned * speeds + a * bends, axis=(1, 2))
    return Exposure(
        first,
        second,
        float(np.mean(values)),
        (float(-np.sum(weights * s[0])), float(-np.sum(weights * s[1]))),
        measures,
        velocities,
        account,
        np.array([speeds[1] - speeds[0], bends[1] - bends[0]]),
        float(bend[1] - bend[0]),
        len(each),
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
