"""Gradient flow of synapses: the limit of small steps, in the span of the start."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import integrate

from predictlearn.errors import DivergenceError, InputError
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

_ROWS = 201
_MOST_EVALUATIONS = 200_000


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
    if not stream.task.fixed:
        raise InputError(
            "gradient flow needs a task with fixed trials; this task draws new trials each epoch. "
            "Use task.freeze(seed), or GradientDescent."
        )
    ready = stream.next()
    check_loop(start, ready)
    columns, rates = _columns_of(start, rule.pathway_rates)
    first = np.hstack([start.m, start.w, start.z])
    moments = worth_moments(ready, _MOST_EVALUATIONS)
    directions = Directions(ready, Steering(), start.dim, moments)
    count = 0

    def evaluate(flat: np.ndarray) -> tuple[float, np.ndarray]:
        theta = flat.reshape(first.shape)
        loss, g_m, g_w, g_z = directions(*(theta[:, s] for s in columns.values()))
        return loss, np.hstack([g_m, g_w, g_z])

    def speed(time: float, flat: np.ndarray) -> np.ndarray:
        nonlocal count
        count += 1
        if count > _MOST_EVALUATIONS:
            raise DivergenceError(
                f"gradient flow came to learning time {time:g} of {duration:g} in "
                f"{_MOST_EVALUATIONS} evaluations of the gradient, and was stopped. Ask for a "
                "shorter time, or try a looser rtol.",
                int(min(time, 1e15)),
            )
        return -(evaluate(flat)[1] * rates).ravel()

    def above(_: float, flat: np.ndarray) -> float:
        return evaluate(flat)[0] - goal

    above.terminal = True  # type: ignore[attr-defined]
    solution = integrate.solve_ivp(
        speed,
        (0.0, duration),
        first.ravel(),
        method="LSODA",
        dense_output=True,
        events=above if np.isfinite(goal) else None,
        rtol=rule.rtol,
        atol=rule.atol,
    )
    if not solution.success or not np.all(np.isfinite(solution.y)):
        reached = float(solution.t[-1]) if solution.t.size else 0.0
        said = "a weight was not finite." if solution.success else solution.message
        raise DivergenceError(
            f"gradient flow stopped at learning time {reached:g} of {duration:g}: {said} Try a "
            "looser rtol.",
            int(min(reached, 1e15)),
        )
    times = np.linspace(0.0, float(solution.t[-1]), _ROWS)
    kept = solution.sol(times).T.reshape(len(times), *first.shape)
    losses = np.array([evaluate(row.ravel())[0] for row in kept])
    settings = {**settings, "learns": "synapses", "gradient_evaluations": int(solution.nfev)}
    m, w, z = (kept[:, :, s].copy() for s in columns.values())
    return SynapticTrajectory(m, w, z, start.feedback, times, losses, times, seed, settings)
