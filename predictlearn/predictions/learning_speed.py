"""Which overlaps decide how fast a network learns: an exact account of the first step.

Gradient flow moves the overlaps by dS/dt = -(S A R + R A S), with A the loss derivatives and R the
diagonal of the pathway rates, so that the loss falls at the speed

    -dL/dt = trace(A R A S) = sum over entries of W_ij S_ij,     W = A R A.

W depends on the loss-visible overlaps only: it is the same in functionally equivalent networks. The
speed is linear in S at fixed W, hence the difference between two equivalent networks is exactly a
sum of one contribution per overlap in which they differ, W_ij dS_ij (twice that off the diagonal).
Weight decay and synaptic noise add terms that depend on visible overlaps only and cancel.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from predictlearn.theory.overlaps import Overlaps
from predictlearn.theory.reduced import loss, loss_and_derivative
from predictlearn.theory.rules import DirectDescent, Rule, column_rates
from predictlearn.theory.trials import Task, Trials

__all__ = ["differing_names", "learning_speed", "probe_trials", "speed_contributions"]

_PROBES = 8


def probe_trials(task: Task, seed: int) -> tuple[Trials, ...]:
    """Return the batches on which a network is probed: one if trials are fixed, else several.

    Parameters
    ----------
    task : Task
        The task.
    seed : int
        Seed of the trials.

    Returns
    -------
    tuple of Trials
        Batches.

    Examples
    --------
    >>> import predictlearn as pl
    >>> len(probe_trials(pl.Filter(), seed=0))
    1
    """
    rng = np.random.default_rng(seed)
    return tuple(task.sample(rng) for _ in range(1 if task.fixed else _PROBES))


def mean_loss(overlaps: Overlaps, probes: Sequence[Trials], nonlinearity: str, tau: float) -> float:
    """Return the loss averaged over batches of trials."""
    return float(np.mean([loss(overlaps, trials, nonlinearity, tau) for trials in probes]))


def _weights(
    overlaps: Overlaps, probes: Sequence[Trials], rule: Rule, nonlinearity: str, tau: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return A averaged over batches, and W = A R A."""
    derivatives = [loss_and_derivative(overlaps, t, nonlinearity, tau)[1] for t in probes]
    a = np.mean(derivatives, axis=0)
    if isinstance(rule, DirectDescent):
        # that learner moves S without regard to the invisible overlaps
        return a, np.zeros_like(a)
    return a, (a * column_rates(rule.pathway_rates, overlaps.sizes)) @ a


def learning_speed(
    overlaps: Overlaps,
    probes: Sequence[Trials],
    rule: Rule,
    nonlinearity: str = "linear",
    tau: float = 1.0,
) -> tuple[float, float]:
    """Return how fast the loss falls, -dL/dt per unit of rate, from the formula and as measured.

    Parameters
    ----------
    overlaps : Overlaps
        The network.
    probes : sequence of Trials
        Batches of trials; the gradient is averaged over them.
    rule : GradientDescent or GradientFlow
        For its pathway rates.
    nonlinearity : {"linear", "erf"}
        Which phi.
    tau : float
        Time constant in seconds.

    Returns
    -------
    formula : float
        trace(A R A S).
    measured : float
        Central difference of the loss over a very small step along the rule, as a check.

    Examples
    --------
    >>> import predictlearn as pl
    >>> start = pl.Overlaps(np.eye(4)).replace(zu=0.1, vm=0.1)
    >>> probes = probe_trials(pl.Filter(), seed=0)
    >>> formula, measured = learning_speed(start, probes, pl.GradientFlow())
    >>> bool(abs(measured / formula - 1) < 1e-5)
    True
    """
    a, weights = _weights(overlaps, probes, rule, nonlinearity, tau)
    formula = float(np.sum(weights * overlaps.matrix))
    rates = column_rates(getattr(rule, "pathway_rates", None), overlaps.sizes)
    size = float(np.abs(a).max())
    if size == 0.0 or isinstance(rule, DirectDescent):
        return formula, formula
    step = 1e-5 / size
    ends = []
    for sign in (1.0, -1.0):
        b = np.eye(overlaps.dim) - sign * step * a * rates
        moved = Overlaps(b.T @ overlaps.matrix @ b, *overlaps.sizes)
        ends.append(mean_loss(moved, probes, nonlinearity, tau))
    return formula, (ends[1] - ends[0]) / (2 * step)


def differing_names(first: Overlaps, second: Overlaps) -> tuple[str, ...]:
    """Return the names of the overlaps in which two networks differ, in table order."""
    scale = max(float(np.abs(first.matrix).max()), float(np.abs(second.matrix).max()))
    return tuple(name for name in first.names if abs(first[name] - second[name]) > 1e-10 * scale)


def speed_contributions(
    first: Overlaps,
    second: Overlaps,
    probes: Sequence[Trials],
    rule: Rule,
    nonlinearity: str = "linear",
    tau: float = 1.0,
) -> pd.DataFrame:
    """Split the difference in learning speed of two equivalent networks by overlap.

    Parameters
    ----------
    first, second : Overlaps
        Functionally equivalent networks.
    probes : sequence of Trials
        Batches of trials.
    rule : GradientDescent or GradientFlow
        For its pathway rates.
    nonlinearity : {"linear", "erf"}
        Which phi.
    tau : float
        Time constant in seconds.

    Returns
    -------
    pandas.DataFrame
        A row per overlap in which they differ: ``overlap``, ``change`` (second minus first),
        ``sensitivity`` (speed per unit of change), ``contribution`` (their product; the sum is the
        whole difference in -dL/dt), ``share`` of the sum, and the swap of this entry alone into the
        first network: ``swap`` (``"realisable"`` or ``"not realisable"``) and ``swap_speed``, the
        measured change in speed (NaN where no such network exists).

    Examples
    --------
    >>> import predictlearn as pl
    >>> start = pl.Overlaps(np.eye(4)).replace(zu=0.1, vm=0.1)
    >>> twin = pl.functionally_equivalent(start, uu=2.05, mu=0.8)
    >>> account = speed_contributions(start, twin, probe_trials(pl.Filter(), 0), pl.GradientFlow())
    >>> list(account["overlap"])
    ['mu', 'uu']
    """
    _, weights = _weights(first, probes, rule, nonlinearity, tau)
    base = learning_speed(first, probes, rule, nonlinearity, tau)[1]
    rows: list[dict[str, Any]] = []
    for name in differing_names(first, second):
        i, j = first.index(name)
        change = second[name] - first[name]
        sensitivity = float(weights[i, j] * (1.0 if i == j else 2.0))
        low, high = first.reachable(name)
        possible = low <= second[name] <= high
        swapped = float("nan")
        if possible:
            twin = first.replace(**{name: second[name]})
            swapped = learning_speed(twin, probes, rule, nonlinearity, tau)[1] - base
        rows.append(
            {
                "overlap": name,
                "change": change,
                "sensitivity": sensitivity,
                "contribution": sensitivity * change,
                "swap": "realisable" if possible else "not realisable",
                "swap_speed": swapped,
            }
        )
    table = pd.DataFrame(
        rows,
        columns=["overlap", "change", "sensitivity", "contribution", "swap", "swap_speed"],
    )
    total = float(table["contribution"].sum())
    table["share"] = table["contribution"] / total if total != 0 else float("nan")
    return table
