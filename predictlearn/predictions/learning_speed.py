"""Which overlaps decide how fast a network learns: an exact account of the first step.

The formulas are those of `predictlearn.theory.equivalence.speed`; here they stand beside what is
measured: a small step of learning, and the swap of single overlaps. Weight decay and synaptic noise
add terms to the speed that depend on loss-visible overlaps only; in a difference between
equivalent networks they cancel.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from predictlearn.theory.activity import Batch, loss
from predictlearn.theory.equivalence.speed import (
    contributions,
    differing_names,
    mean_derivative,
    probe_trials,
    speed_weights,
)
from predictlearn.theory.learning.rules import DirectDescent, Rule, column_rates
from predictlearn.theory.overlaps import Overlaps
from predictlearn.theory.synapses.gradients import Directions, Steering
from predictlearn.theory.synapses.loops import network_loss
from predictlearn.theory.synapses.network import Factors, Synapses
from predictlearn.theory.trials import Trials

__all__ = [
    "differing_names",
    "learning_speed",
    "probe_trials",
    "speed_contributions",
    "with_swaps",
]


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


def _synaptic_weights(
    first: Overlaps, second: Overlaps, probes: Sequence[Trials], rule: Rule, tau: float
) -> np.ndarray:
    """Return the weights of overlaps in the speed of linear networks whose synapses learn.

    G_M = [V Z] A_m and G_Z = [M U] A_z are as for factors, and G_W = [V Z] C [M U]' / N, of which
    A and C are those of the function. So the speed is bilinear in the overlaps of V and Z and those
    of M and U, ``r_w trace(C' S_vz C S_mu)`` beside what is linear, and with the other block
    half-way between both networks the differences add up exactly.
    """
    n_in, rank, _ = first.sizes
    rates = dict(getattr(rule, "pathway_rates", None) or {})
    of_w = rates.pop("w", 1.0)
    a = mean_derivative(first, probes, "linear", tau)
    weights = speed_weights(a, column_rates({**rates, "u": 0.0, "v": 0.0}, first.sizes))
    network, b = Factors.from_overlaps(first), slice(0, n_in + rank)
    theta, middle = network.stacked, (first.matrix + second.matrix) / 2
    ahead, back = theta[:, b], theta[:, b.stop :]
    c = np.linalg.pinv(back) @ _mean_slopes(network, probes, tau)[1] @ np.linalg.pinv(ahead).T
    weights[b, b] += of_w * c.T @ middle[b.stop :, b.stop :] @ c
    weights[b.stop :, b.stop :] += of_w * c @ middle[b, b] @ c.T
    return weights


def _mean_slopes(
    network: Factors | Synapses, probes: Sequence[Trials], tau: float
) -> list[np.ndarray]:
    """Return the slopes of the loss in M, W and Z in the span, averaged over batches."""
    w = network.w if isinstance(network, Synapses) else network.u @ network.v.T
    slopes = []
    for trials in probes:
        directions = Directions(Batch(trials, "linear", tau), Steering(), len(w), False)
        slopes.append([np.array(g) for g in directions(network.m, w, network.z)[1:]])
    return [np.mean(parts, axis=0) for parts in zip(*slopes, strict=True)]


def _synaptic_speed(
    overlaps: Overlaps, probes: Sequence[Trials], rule: Rule, tau: float
) -> tuple[float, float]:
    """Return `learning_speed` where synapses learn."""
    rates = dict(getattr(rule, "pathway_rates", None) or {})
    start = Synapses.from_overlaps(overlaps)
    parts = {"m": start.m, "w": start.w, "z": start.z}
    slopes = dict(zip("mwz", _mean_slopes(start, probes, tau), strict=True))
    formula = float(sum(rates.get(p, 1.0) * np.sum(g**2) for p, g in slopes.items()))
    size = max(float(np.abs(g).max()) for g in slopes.values())
    if size == 0.0:
        return formula, formula
    step, ends = 1e-5 / size, []
    for sign in (1.0, -1.0):
        moved = Synapses(
            **{p: x - sign * step * rates.get(p, 1.0) * slopes[p] for p, x in parts.items()}
        )
        ends.append(np.mean([network_loss(moved, t, "linear", tau) for t in probes]))
    return formula, float(ends[1] - ends[0]) / (2 * step)


def learning_speed(
    overlaps: Overlaps,
    probes: Sequence[Trials],
    rule: Rule,
    nonlinearity: str = "linear",
    tau: float = 1.0,
    learns: str = "factors",
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
    learns : {"factors", "synapses"}, default "factors"
        What learns; synapses of linear networks only.

    Returns
    -------
    formula : float
        trace(A R A S); of synapses the squared slopes in M, W and Z.
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
    if learns == "synapses":
        return _synaptic_speed(overlaps, probes, rule, tau)
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
    learns: str = "factors",
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
    learns : {"factors", "synapses"}, default "factors"
        What learns; synapses of linear networks only. Their speed is not linear in the overlaps:
        a sensitivity is then that half-way between both networks, so that contributions add up.

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
    if learns == "synapses":
        weights = _synaptic_weights(first, second, probes, rule, tau)
    else:
        _, weights = _weights(first, probes, rule, nonlinearity, tau)
    base = learning_speed(first, probes, rule, nonlinearity, tau, learns)[1]
    table = contributions(first, second, weights)
    return with_swaps(
        table,
        first,
        second,
        base,
        lambda twin: learning_speed(twin, probes, rule, nonlinearity, tau, learns)[1],
    )


def with_swaps(
    table: pd.DataFrame,
    first: Overlaps,
    second: Overlaps,
    base: float,
    speed: Callable[[Overlaps], float],
) -> pd.DataFrame:
    """Return a table of contributions with the swap of each entry alone, and with shares.

    Parameters
    ----------
    table : pandas.DataFrame
        A row an overlap: ``overlap`` and ``contribution``.
    first, second : Overlaps
        The networks.
    base : float
        Speed of the first, as measured.
    speed : callable
        Measures that of any network.

    Returns
    -------
    pandas.DataFrame
        With ``swap``, ``swap_speed`` and ``share``.
    """
    possible, swapped = [], []
    for name in table["overlap"]:
        low, high = first.reachable(name)
        inside = low <= second[name] <= high
        possible.append("realisable" if inside else "not realisable")
        gap = float("nan")
        if inside:
            gap = speed(first.replace(**{name: second[name]})) - base
        swapped.append(gap)
    total = float(table["contribution"].sum())
    share = table["contribution"] / total if total != 0 else float("nan")
    return table.assign(swap=possible, swap_speed=swapped, share=share)
