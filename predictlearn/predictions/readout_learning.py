"""Learning after a change of readout: the immediate drop, and how performance recovers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from predictlearn.checks import positive, positive_int
from predictlearn.errors import InputError
from predictlearn.theory.activity import loss_and_derivative, simulate
from predictlearn.theory.learning.descent import learn
from predictlearn.theory.learning.rules import GradientFlow
from predictlearn.theory.overlaps import Overlaps
from predictlearn.theory.trials import Task, Trials
from predictlearn.workers import Parallel, delayed

__all__ = ["Measure", "ReadoutLearning", "initial_time_constant", "readout_learning"]

Measure = Callable[[Trials, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class ReadoutLearning:
    """Predicted performance under a new readout, one curve for each draw of what was unseen.

    Parameters
    ----------
    immediate : numpy.ndarray, (draws, trials)
        Performance on each trial of the task before any learning.
    time : numpy.ndarray, (points,)
        Learning time in units of each draw's own initial time constant, L / |dL/dt|.
    by_trial : numpy.ndarray, (draws, points, trials)
        Performance on each trial of the task along learning.
    loss : numpy.ndarray, (draws, points)
        Loss relative to its start.
    constants : numpy.ndarray, (draws,)
        The initial time constants, in units of 1 / rate.
    settings : dict
        What was set.
    """

    immediate: np.ndarray
    time: np.ndarray
    by_trial: np.ndarray
    loss: np.ndarray
    constants: np.ndarray
    settings: dict[str, Any]

    @property
    def curves(self) -> np.ndarray:
        """Performance averaged over the trials of the task, (draws, points)."""
        return np.asarray(self.by_trial.mean(axis=2))

    @property
    def band(self) -> pd.DataFrame:
        """Mean and central 95% of the draws: columns time, mean, low, high."""
        low, high = np.quantile(self.curves, [0.025, 0.975], axis=0)
        return pd.DataFrame(
            {"time": self.time, "mean": self.curves.mean(axis=0), "low": low, "high": high}
        )


def readout_learning(
    starts: Sequence[Overlaps],
    task: Task,
    measure: Measure,
    *,
    nonlinearity: str = "linear",
    tau: float = 1.0,
    horizon: float = 20.0,
    points: int = 201,
    n_jobs: int = 1,
) -> ReadoutLearning:
    """Predict how performance changes while a network learns with a fixed readout.

    Parameters
    ----------
    starts : sequence of Overlaps
        Networks with the new readout already in their overlaps: one for each draw of what the
        recording could not tell.
    task : Task
        The task to learn, with fixed trials.
    measure : callable
        ``measure(trials, outputs) -> (trials,)``: performance of each trial, as it is measured in
        the recording.
    nonlinearity : {"linear", "erf"}
        Which phi.
    tau : float, default 1.0
        Time constant in seconds.
    horizon : float, default 20.0
        Learning time to predict, in units of the initial time constant of the loss.
    points : int, default 201
        Points of a curve.
    n_jobs : int, default 1
        Processes.

    Returns
    -------
    ReadoutLearning
        Immediate performance and learning curves.

    Raises
    ------
    InputError
        If there is no start, the trials are not fixed, or a number is out of range.
    DivergenceError
        If the flow of a draw cannot be integrated.

    Notes
    -----
    Gradient flow of m, u and v with z frozen. Neither the learning rate nor the overall speed that
    the unseen overlaps give is known; both stretch time. A curve is therefore given in units of
    L / |dL/dt| at its start, -dL/dt = sum over pathways p that learn of tr(A_p S A_p), and one free
    time scale is left to be fitted.

    Examples
    --------
    >>> import numpy as np
    >>> import predictlearn as pl
    >>> task = pl.ReachingReadout(targets=4, duration=0.5, dt=0.05, go=False)
    >>> start = pl.Overlaps(np.eye(6), n_in=2, rank=1, n_out=2)
    >>> def speed(trials, outputs):
    ...     return (trials.observe(outputs) * trials.targets).sum(axis=2).mean(axis=1)
    >>> result = readout_learning([start], task, speed, tau=0.1)
    >>> result.curves.shape, bool(result.curves[0, -1] > result.curves[0, 0])
    ((1, 201), True)
    """
    starts = list(starts)
    if not starts:
        raise InputError("starts must hold at least one Overlaps; got none.")
    if not task.fixed:
        raise InputError("task must show the same trials in every epoch; use task.freeze(seed).")
    horizon = positive("horizon", horizon)
    points = positive_int("points", points, minimum=2)
    trials = task.sample(np.random.default_rng(0))
    rows = Parallel(n_jobs=n_jobs)(
        delayed(_one)(start, task, trials, measure, nonlinearity, tau, horizon, points)
        for start in starts
    )
    immediate, by_trial, losses, constants = (np.array(x) for x in zip(*rows, strict=True))
    return ReadoutLearning(
        immediate,
        np.linspace(0.0, horizon, points),
        by_trial,
        losses,
        constants,
        {
            "task": repr(task),
            "nonlinearity": nonlinearity,
            "tau": tau,
            "horizon": horizon,
            "draws": len(starts),
            "rule": "gradient flow of m, u, v; z frozen",
        },
    )


_FROZEN = {"z": 0.0}


def initial_time_constant(
    start: Overlaps, trials: Trials, nonlinearity: str = "linear", tau: float = 1.0
) -> float:
    """Return L / |dL/dt| at the start of gradient flow with z frozen, in units of 1 / rate.

    Parameters
    ----------
    start : Overlaps
        The network.
    trials : Trials
        What it is to learn.
    nonlinearity : {"linear", "erf"}
        Which phi.
    tau : float, default 1.0
        Time constant in seconds.

    Returns
    -------
    float
        Learning time in which the loss would vanish at its first speed.

    Raises
    ------
    InputError
        If the loss has no slope along m, u and v.
    """
    value, a = loss_and_derivative(start, trials, nonlinearity, tau)
    learning = slice(0, start.dim - start.n_out)
    # -dL/dt is the squared gradient over the loadings that learn, here in overlap space
    speed = float(np.trace((a @ start.matrix @ a)[learning, learning]))
    if speed <= 0 or value <= 0:
        raise InputError(
            "a start does not learn this task: its loss has no slope along m, u and v."
        )
    return value / speed


def _one(
    start: Overlaps,
    task: Task,
    trials: Trials,
    measure: Measure,
    nonlinearity: str,
    tau: float,
    horizon: float,
    points: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """Return immediate performance, curve, relative loss and time constant of one draw."""
    constant = initial_time_constant(start, trials, nonlinearity, tau)
    rule = GradientFlow(rtol=1e-6, atol=1e-8, pathway_rates=_FROZEN)
    t = learn(start, task, rule, horizon * constant, nonlinearity, tau)
    performance = []
    for matrix in t.array:
        outputs = simulate(Overlaps(matrix, *start.sizes), trials, nonlinearity, tau).outputs
        performance.append(measure(trials, outputs))
    grid = np.linspace(0.0, t.epochs[-1], points)
    columns = np.array(performance).T
    curve = np.stack([np.interp(grid, t.epochs, column) for column in columns], axis=1)
    loss = np.interp(grid, t.epochs, t.losses / t.losses[0])
    return performance[0], curve, loss, constant
