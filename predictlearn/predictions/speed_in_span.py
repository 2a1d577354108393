"""How fast a network learns by any rule, in any loop, and which overlaps decide it.

With B = [m u] and F = [v z e], e the random part of the feedback, the slope of the loss of a linear
network is G_W = F C B', G_M = F A, G_Z = B D, and what a rule takes for it has the same form. All
coefficients are those of the function, which equivalent networks share. The speed at which the loss
falls, the inner product of slope and step, is so linear in the overlaps of B and in those of F, and
where synapses learn bilinear: with each half-way between two equivalent networks the differences
add up exactly.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from predictlearn.predictions.learning_speed import with_swaps
from predictlearn.theory.activity import Batch
from predictlearn.theory.equivalence.speed import contributions
from predictlearn.theory.learning.rules import GradientDescent, GradientFlow, rates_where
from predictlearn.theory.learning.span import start_in_span, steering_of
from predictlearn.theory.overlaps import Overlaps
from predictlearn.theory.synapses.gradients import Directions, Steering
from predictlearn.theory.synapses.loops import network_loss
from predictlearn.theory.synapses.network import Factors, Synapses
from predictlearn.theory.trials import Trials

__all__ = ["speed_contributions_in_span", "speed_in_span"]

Slopes = dict[str, np.ndarray]


def _network_and_slopes(
    overlaps: Overlaps, probes: Sequence[Trials], rule: Any, tau: float, learns: str
) -> tuple[Any, Slopes, Slopes]:
    """Return the network, the slope of the loss in M, W and Z, and what the rule takes for it."""
    network: Any = start_in_span(overlaps, _ruling(rule), learns)
    w = network.w if isinstance(network, Synapses) else network.u @ network.v.T
    found: list[list[list[np.ndarray]]] = []
    for trials in probes:
        ready = Batch(trials, "linear", tau)
        closed = ready.world is not None and ready.world.is_closed
        each = []
        for steering in (Steering(through_loop=closed), steering_of(_ruling(rule), closed)):
            directions = Directions(ready, steering, len(w), False)
            g = directions(network.m, w, network.z, network.feedback)[1:]
            each.append([np.array(x) for x in g])
        found.append(each)
    exact, steps = (
        dict(zip("mwz", (np.mean(x, axis=0) for x in zip(*each, strict=True)), strict=True))
        for each in zip(*found, strict=True)
    )
    return network, exact, steps


def _ruling(rule: Any) -> Any:
    """Return a rule that has a steering: descent for its flow."""
    if isinstance(rule, GradientFlow):
        return GradientDescent(1.0, pathway_rates=rule.pathway_rates)
    return rule


def _of_parts(network: Synapses | Factors, slopes: Slopes) -> Slopes:
    """Return slopes of what learns: of u and v in place of W where factors do."""
    if isinstance(network, Synapses):
        return slopes
    g = slopes["w"]
    return {"m": slopes["m"], "u": g @ network.v, "v": g.T @ network.u, "z": slopes["z"]}


def speed_in_span(
    overlaps: Overlaps,
    probes: Sequence[Trials],
    rule: Any,
    tau: float = 1.0,
    learns: str = "factors",
    measure: bool = True,
) -> tuple[float, float]:
    """Return how fast the loss of a linear network falls, -dL/dt per unit of rate.

    Parameters
    ----------
    overlaps : Overlaps
        The network.
    probes : sequence of Trials
        Batches of trials, with a world or without; slopes are averaged over them.
    rule : GradientDescent, GradientFlow, FeedbackAlignment or RFLO
        For its pathway rates and its feedback.
    tau : float, default 1.0
        Time constant in seconds.
    learns : {"factors", "synapses"}, default "factors"
        What learns.
    measure : bool, default True
        Take the small step too.

    Returns
    -------
    formula : float
        Inner product of the slopes of the loss and the step of the rule.
    measured : float
        Central difference of the loss over a very small step of the rule, as a check.

    Examples
    --------
    >>> import predictlearn as pl
    >>> start = pl.Overlaps(np.eye(4)).replace(zu=0.1, vm=0.1)
    >>> rule = pl.RFLO(0.01, pl.Feedback(decoder=1.0, private=0.0))
    >>> formula, measured = speed_in_span(start, [pl.Filter().sample()], rule)
    >>> bool(abs(measured / formula - 1) < 1e-5)
    True
    """
    network, exact, steps = _network_and_slopes(overlaps, probes, rule, tau, learns)
    rates = rates_where(learns, rule.pathway_rates)
    slopes, moves = _of_parts(network, exact), _of_parts(network, steps)
    formula = float(sum(rates[p] * np.sum(slopes[p] * moves[p]) for p in slopes))
    size = max(float(np.abs(rates[p] * move).max()) for p, move in moves.items())
    if size == 0.0 or not measure:
        return formula, formula
    step, ends = 1e-5 / size, []
    for sign in (1.0, -1.0):
        moved: Mapping[str, Any] = {
            p: getattr(network, p) - sign * step * rates[p] * move for p, move in moves.items()
        }
        there = replace(network, **moved)
        ends.append(np.mean([network_loss(there, trials, "linear", tau) for trials in probes]))
    return formula, float(ends[1] - ends[0]) / (2 * step)


def _weights(
    first: Overlaps,
    second: Overlaps,
    probes: Sequence[Trials],
    rule: Any,
    tau: float,
    learns: str,
) -> np.ndarray:
    """Return the weight of every overlap in the speed, half-way between two networks, (D, D)."""
    n_in, rank, _ = first.sizes
    ahead, dim = n_in + rank, first.dim
    # a network of the same function, whose vectors are surely independent
    apart = Overlaps(first.matrix + np.eye(dim) * np.trace(first.matrix) / dim, *first.sizes)
    network, exact, steps = _network_and_slopes(apart, probes, rule, tau, "factors")
    theta = network.stacked
    forward = np.zeros((len(theta), dim - ahead + len(theta) - dim))
    forward[:, : dim - ahead] = theta[:, ahead:]
    forward[dim:, dim - ahead :] = np.eye(len(theta) - dim)
    into = np.linalg.pinv(forward)
    out = np.linalg.pinv(theta[:, :ahead])
    c, c_step = (into @ g["w"] @ out.T for g in (exact, steps))
    a, a_step = (into @ g["m"] for g in (exact, steps))
    d, d_step = (out @ g["z"] for g in (exact, steps))
    rates = rates_where(learns, rule.pathway_rates)
    middle = (first.matrix + second.matrix) / 2
    of_b, of_f = middle[:ahead, :ahead], np.eye(forward.shape[1])
    of_f[: dim - ahead, : dim - ahead] = middle[ahead:, ahead:]
    on_b, on_f = rates["z"] * d @ d_step.T, rates["m"] * a @ a_step.T
    if learns == "synapses":
        on_b = on_b + rates["w"] * c.T @ of_f @ c_step
        on_f = on_f + rates["w"] * c @ of_b @ c_step.T
    else:
        of_v, of_u = theta[:, :ahead].T @ network.v, forward.T @ network.u
        on_f = on_f + rates["u"] * (c @ of_v) @ (c_step @ of_v).T
        on_b = on_b + rates["v"] * (c.T @ of_u) @ (c_step.T @ of_u).T
    weights = np.zeros((dim, dim))
    weights[:ahead, :ahead] = (on_b + on_b.T) / 2
    weights[ahead:, ahead:] = ((on_f + on_f.T) / 2)[: dim - ahead, : dim - ahead]
    return weights


def speed_contributions_in_span(
    first: Overlaps,
    second: Overlaps,
    probes: Sequence[Trials],
    rule: Any,
    tau: float = 1.0,
    learns: str = "factors",
) -> pd.DataFrame:
    """Split the difference in learning speed of two equivalent networks by overlap, for any rule.

    Parameters
    ----------
    first, second : Overlaps
        Functionally equivalent linear networks.
    probes, rule, tau, learns
        As of `speed_in_span`.

    Returns
    -------
    pandas.DataFrame
        A row per overlap in which they differ: ``overlap``, ``change``, ``sensitivity``,
        ``contribution`` (their sum is the whole difference in -dL/dt), ``swap``, ``swap_speed`` and
        ``share``, as of `speed_contributions`.

    Examples
    --------
    By RFLO without any feedback of the readout, what |v|^2 is does not matter:

    >>> import predictlearn as pl
    >>> start = pl.Overlaps(np.eye(4)).replace(zu=0.1, vm=0.1)
    >>> twin = pl.functionally_equivalent(start, vv=2.0)
    >>> trials = [pl.Filter().sample()]
    >>> table = speed_contributions_in_span(start, twin, trials, pl.RFLO(0.01))
    >>> table["overlap"].tolist(), bool(table["contribution"].abs().max() < 1e-12)
    (['vv'], True)
    """
    how = (probes, rule, tau, learns)
    base = speed_in_span(first, *how)[1]
    table = contributions(first, second, _weights(first, second, *how))
    # what only rounding leaves is nothing
    scale = max(abs(base), abs(speed_in_span(second, *how, measure=False)[0]))
    small = table["contribution"].abs() < 1e-12 * scale
    table.loc[small, ["sensitivity", "contribution"]] = 0.0
    return with_swaps(table, first, second, base, lambda twin: speed_in_span(twin, *how)[1])
