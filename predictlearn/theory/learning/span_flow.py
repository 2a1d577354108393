"""Gradient flow in the span of the start: synapses, and factors in a closed loop."""

from __future__ import annotations

from typing import Any

import numpy as np

from predictlearn.theory.learning.flow import Way, fixed_trials, solved
from predictlearn.theory.learning.rules import GradientFlow
from predictlearn.theory.learning.span import (
    FactorTrajectory,
    SynapticTrajectory,
    _columns_of,
    _network_of,
    check_loop,
)
from predictlearn.theory.learning.trial_stream import TrialStream
from predictlearn.theory.synapses.gradients import Directions, Steering
from predictlearn.theory.synapses.moments import worth_moments
from predictlearn.theory.synapses.network import Factors, Synapses

__all__ = ["flow_in_span"]

# Evaluations of a flow, about: enough for moments of trials to be worth taking.
_MANY = 1000


def flow_in_span(
    start: Synapses | Factors,
    stream: TrialStream,
    rule: GradientFlow,
    duration: float,
    goal: float,
    seed: int,
    settings: dict[str, Any],
) -> SynapticTrajectory | FactorTrajectory:
    """Integrate dM/dt = -G_M, dZ/dt = -G_Z and dW/dt = -G_W, or dU/dt = -G_W V, dV/dt = -G_W' U."""
    ready = fixed_trials(stream)
    check_loop(start, ready)
    columns, rates = _columns_of(start, rule.pathway_rates)
    synaptic = isinstance(start, Synapses)
    first = np.hstack([getattr(start, name) for name in columns])
    moments = worth_moments(ready, _MANY)
    directions = Directions(ready, Steering(), len(first), moments)

    def evaluate(flat: np.ndarray) -> tuple[float, np.ndarray]:
        theta = flat.reshape(first.shape)
        parts = {name: theta[:, s] for name, s in columns.items()}
        w = parts["w"] if synaptic else parts["u"] @ parts["v"].T
        loss, g_m, g_w, g_z = directions(parts["m"], w, parts["z"])
        of_w = [g_w] if synaptic else [g_w @ parts["v"], g_w.T @ parts["u"]]
        return loss, np.hstack([g_m, *of_w, g_z])

    def speed(flat: np.ndarray) -> np.ndarray:
        return -(evaluate(flat)[1] * rates).ravel()

    def value(flat: np.ndarray) -> float:
        return evaluate(flat)[0]

    way = Way(speed, value, "a weight" if synaptic else "a loading", rule)
    times, states, solution = solved(way, first.ravel(), duration, goal)
    kept = states.reshape(len(times), *first.shape)
    losses = np.array([evaluate(row.ravel())[0] for row in kept])
    settings = {
        **settings,
        "learns": "synapses" if synaptic else "factors",
        "gradient_evaluations": int(solution.nfev),
    }
    if isinstance(start, Synapses):
        m, w, z = (kept[:, :, s].copy() for s in columns.values())
        return SynapticTrajectory(m, w, z, start.feedback, times, losses, times, seed, settings)
    networks = [_network_of(start, row, columns) for row in kept]
    overlaps = np.array([network.overlaps.matrix for network in networks])
    alignments = np.array([network.alignment for network in networks])
    return FactorTrajectory(
        overlaps, times, losses, times, start.sizes, seed, settings, networks[-1], alignments
    )
