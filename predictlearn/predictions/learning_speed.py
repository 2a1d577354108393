"""Which overlaps decide how fast a network learns: an exact account of the first step.

The formulas are those of `predictlearn.theory.equivalence.speed`; here they stand beside what is
measured: a small step of learning, and the swap of single overlaps. Weight decay and synaptic noise
add terms to the speed that depend on loss-visible overlaps only; in a difference between
equivalent networks they cancel.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from predictlearn.theory.activity import loss
from predictlearn.theory.equivalence.speed import (
    contributions,
    differing_names,
    mean_derivative,
    probe_trials,
    speed_weights,
)
from predictlearn.theory.learning.rules import DirectDescent, Rule, column_rates
from predictlearn.theory.overlaps import Overlaps
from predictlearn.theory.trials import Trials

__all__ = ["differing_names", "learning_speed", "probe_trials", "speed_contributions"]


def mean_loss(overlaps: Overlaps, probes: Sequence[Trials], nonlinearity: str, tau: float) -> float:
    """Return the loss averaged over batches of trials."""
    return float(np.mean([loss(overlaps, trials, nonlinearity, tau) for trials in probes]))


def _weights(
    overlaps: Overlaps, probes: Sequence[Trials], rule: Rule, nonlinearity: str, tau: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return A averaged over batches, and W = A R A."""
    a = mean_derivative(overlaps, probes, nonlinearity, tau)
    if isinstance(rule, DirectDescent):
        # that learner moves S without regard to the invisible overlaps
        return a, np.zeros_like(a)
    return a, speed_weights(a, column_rates(getattr(rule, "pathway_rates", None), overlaps.sizes))


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
    table = contributions(first, second, weights)
    possible, swapped = [], []
    for name in table["overlap"]:
        low, high = first.reachable(name)
        inside = low <= second[name] <= high
        possible.append("realisable" if inside else "not realisable")
        swapped.append(float("nan"))
        if inside:
            twin = first.replace(**{name: second[name]})
            swapped[-1] = learning_speed(twin, probes, rule, nonlinearity, tau)[1] - base
    table["swap"] = possible
    table["swap_speed"] = swapped
    total = float(table["contribution"].sum())
    table["share"] = table["contribution"] / total if total != 0 else float("nan")
    return table
