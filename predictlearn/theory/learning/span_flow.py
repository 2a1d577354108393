"""Gradient flow of synapses: the limit of small steps, in the span of the start."""

from __future__ import annotations

from typing import Any

import numpy as np

from predictlearn.errors import InputError
from predictlearn.theory.learning.flow import Way, fixed_trials, solved
from predictlearn.theory.learning.rules import GradientFlow
from predictlearn.theory.learning.span import (
    SynapticTrajectory,
    _columns_of,
    check_loop,
)
from predictlearn.theory.learning.trial_stream import TrialStream
from predictlearn.theory.synapses.gradients import Directions, Steering
from predictlearn.theory.synapses.moments import worth_moments
from predictlearn.theory.synapses.network import Factors, Synapses

__all__ = ["flow_of_synapses"]

# Evaluations of a flow, about: enough for moments of trials to be worth taking.
_MANY = 1000


def flow_of_synapses(
    start: Synapses | Factors,
    stream: TrialStream,
    rule: GradientFlow,
    duration: float,
    goal: float,
    seed: int,
    settings: dict[str, Any],
) -> SynapticTrajectory:
    """Integrate dM/dt = -G_M, dW/dt = -G_W, dZ/dt = -G_Z for a learning time."""
    if not isinstance(start, Synapses):
        raise InputError(
            "gradient flow in a closed loop is for synapses: learns='synapses'; or take small "
            "steps of GradientDescent."
        )
    ready = fixed_trials(stream)
    check_loop(start, ready)
    columns, rates = _columns_of(start, rule.pathway_rates)
    first = np.hstack([start.m, start.w, start.z])
    moments = worth_moments(ready, _MANY)
    directions = Directions(ready, Steering(), start.dim, moments)

    def evaluate(flat: np.ndarray) -> tuple[float, np.ndarray]:
        theta = flat.reshape(first.shape)
        loss, g_m, g_w, g_z = directions(*(theta[:, s] for s in columns.values()))
        return loss, np.hstack([g_m, g_w, g_z])

    def speed(flat: np.ndarray) -> np.ndarray:
        return -(evaluate(flat)[1] * rates).ravel()

    def value(flat: np.ndarray) -> float:
        return evaluate(flat)[0]

    way = Way(speed, value, "a weight", rule)
    times, states, solution = solved(way, first.ravel(), duration, goal)
    kept = states.reshape(len(times), *first.shape)
    losses = np.array([evaluate(row.ravel())[0] for row in kept])
    settings = {**settings, "learns": "synapses", "gradient_evaluations": int(solution.nfev)}
    m, w, z = (kept[:, :, s].copy() for s in columns.values())
    return SynapticTrajectory(m, w, z, start.feedback, times, losses, times, seed, settings)
