"""Gradient flow: the limit of small steps, by an adaptive stiff solver."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import integrate, optimize

from predictlearn.checks import as_float_array, positive
from predictlearn.errors import DivergenceError, InputError
from predictlearn.theory.activity import Batch, _evaluate, _evaluator, _losses
from predictlearn.theory.learning.rules import GradientFlow, column_rates
from predictlearn.theory.learning.trajectory import Trajectory
from predictlearn.theory.learning.trial_stream import TrialStream
from predictlearn.theory.overlaps import Overlaps

__all__ = ["ROWS", "FlowTrajectory", "fixed_trials", "flow", "solved"]

ROWS = 201
# Steps of learning that goes on for 1e10 times its own time scale need a hundredth of these.
_MOST_EVALUATIONS = 200_000
# How far outside of the cone of realisable overlaps an eigenvalue may lie, of the largest, and of
# the solver's tolerance.
_DRIFT, _DRIFT_OF_RTOL = 1e-5, 1e3


@dataclass(frozen=True)
class FlowTrajectory(Trajectory):
    """A trajectory of gradient flow, known at every learning time.

    Parameters
    ----------
    solution : scipy.integrate.OdeSolution
        The solver's interpolant, for the upper triangle of S.
    ready : Batch
        The trials, for losses in between.
    """

    solution: integrate.OdeSolution
    ready: Batch

    def at(self, times: np.ndarray | float) -> np.ndarray:
        """Return the overlap matrices at given learning times.

        Parameters
        ----------
        times : array_like, (n,) or ()
            Learning times, from 0 to the end, in units of 1 / rate.

        Returns
        -------
        numpy.ndarray, (n, D, D) or (D, D)
            Overlap matrices.

        Raises
        ------
        InputError
            If a time is outside the trajectory.

        Examples
        --------
        >>> import numpy as np
        >>> import predictlearn as pl
        >>> start = pl.Overlaps(np.eye(4)).replace(zu=0.1, vm=0.1)
        >>> t = pl.learn(start, pl.Filter(), pl.GradientFlow(), 2.0)
        >>> t.at(1.234).shape
        (4, 4)
        """
        times = as_float_array("times", times)
        end = float(self.epochs[-1])
        if times.size and (times.min() < 0 or times.max() > end):
            raise InputError(
                f"times must lie between 0 and {end:g}; got {times.min():g} to {times.max():g}."
            )
        dim = self.array.shape[1]
        return _within(_unpack(self.solution(times), dim), _DRIFT, end)

    def loss_at(self, time: float) -> float:
        """Return the loss at a learning time."""
        return _evaluate(self.at(time), self.sizes, self.ready)[0]

    def reached(self, loss: float) -> float:
        """Return the learning time at which the loss first falls to a criterion.

        Parameters
        ----------
        loss : float
            The criterion.

        Returns
        -------
        float
            Learning time, to the solver's tolerance; NaN if it was not reached.

        Raises
        ------
        InputError
            If the criterion is not positive.

        Examples
        --------
        >>> import numpy as np
        >>> import predictlearn as pl
        >>> start = pl.Overlaps(np.eye(4)).replace(zu=0.1, vm=0.1)
        >>> t = pl.learn(start, pl.Filter(), pl.GradientFlow(), 5.0)
        >>> when = t.reached(0.1)
        >>> bool(abs(t.loss_at(when) - 0.1) < 1e-9)
        True
        """
        loss = positive("loss", loss)
        # the solver's own steps: the loss along them falls, as along any gradient flow
        times = self.solution.ts
        values = np.array([self.loss_at(time) for time in times])
        below = np.flatnonzero(values <= loss)
        if below.size == 0:
            return float("nan")
        if below[0] == 0:
            return float(times[0])
        pair = times[below[0] - 1], times[below[0]]
        return float(optimize.brentq(lambda time: self.loss_at(time) - loss, *pair, xtol=1e-12))


def _unpack(flat: np.ndarray, dim: int) -> np.ndarray:
    """Return matrices, (.., D, D), from upper triangles, (D (D + 1) / 2, ..)."""
    upper = np.triu_indices(dim)
    flat = np.moveaxis(np.asarray(flat), 0, -1)
    matrix = np.empty((*flat.shape[:-1], dim, dim))
    matrix[..., upper[0], upper[1]] = flat
    matrix[..., upper[1], upper[0]] = flat
    return matrix


def _within(matrices: np.ndarray, drift: float, time: float) -> np.ndarray:
    """Return overlaps projected onto the cone of those that networks have.

    The flow stays in it; the solver's errors lead singular overlaps out of it.
    """
    values, vectors = np.linalg.eigh(matrices)
    low, high = values[..., 0], np.maximum(values[..., -1], 1e-300)
    if np.all(low >= 0.0):
        return matrices
    if np.any(low < -drift * high):
        raise DivergenceError(
            f"gradient flow led to overlaps that no network has within learning time {time:g}: an "
            f"eigenvalue is {float((low / high).min()):.3g} of the largest. Try a smaller rtol.",
            int(min(time, 1e15)),
        )
    clipped = np.clip(values, 0.0, None)[..., None, :]
    inside = (vectors * clipped) @ np.swapaxes(vectors, -1, -2)
    inside = (inside + np.swapaxes(inside, -1, -2)) / 2
    return np.where((low < 0.0)[..., None, None], inside, matrices)


def fixed_trials(stream: TrialStream) -> Batch:
    """Return the trials that every epoch shows, prepared, or raise InputError."""
    if not stream.task.fixed:
        raise InputError(
            "gradient flow needs a task with fixed trials; this task draws new trials each epoch. "
            "Use task.freeze(seed), or GradientDescent."
        )
    return stream.next()


def solved(
    speed: Callable[[np.ndarray], np.ndarray],
    loss: Callable[[np.ndarray], float],
    start: np.ndarray,
    duration: float,
    goal: float,
    rule: GradientFlow,
    what: str,
) -> Any:
    """Return the solution of a flow from `start`, until `duration` or a loss of `goal`.

    Parameters
    ----------
    speed, loss : callable
        Of the state, (n,): its speed, (n,), and the loss there.
    start : numpy.ndarray, (n,)
        The state at learning time zero.
    duration : float
        Learning time.
    goal : float
        Loss that ends the flow; minus infinity for none.
    rule : GradientFlow
        Its tolerances.
    what : str
        What a number of the state is, for the message.

    Returns
    -------
    object
        As of `scipy.integrate.solve_ivp`, with an interpolant.

    Raises
    ------
    DivergenceError
        If the solver does not come to the end.
    """
    count = 0

    def counted(time: float, flat: np.ndarray) -> np.ndarray:
        nonlocal count
        count += 1
        if count > _MOST_EVALUATIONS:
            raise DivergenceError(
                f"gradient flow came to learning time {time:g} of {duration:g} in "
                f"{_MOST_EVALUATIONS} evaluations of the gradient, and was stopped. Ask for a "
                "shorter time, or try a looser rtol.",
                int(min(time, 1e15)),
            )
        return speed(flat)

    def above(_: float, flat: np.ndarray) -> float:
        return loss(flat) - goal

    above.terminal = True  # type: ignore[attr-defined]
    with warnings.catch_warnings(), np.errstate(over="ignore", invalid="ignore"):
        # what the solver warns of is in its message as well
        warnings.simplefilter("ignore", UserWarning)
        solution = integrate.solve_ivp(
            counted,
            (0.0, duration),
            start,
            method="LSODA",
            dense_output=True,
            events=above if np.isfinite(goal) else None,
            rtol=rule.rtol,
            atol=rule.atol,
        )
    if not solution.success or not np.all(np.isfinite(solution.y)):
        reached = float(solution.t[-1]) if solution.t.size else 0.0
        said = f"{what} was not finite." if solution.success else solution.message
        raise DivergenceError(
            f"gradient flow stopped at learning time {reached:g} of {duration:g}: {said} Try a "
            "looser rtol.",
            int(min(reached, 1e15)),
        )
    return solution


def flow(
    overlaps: Overlaps,
    stream: TrialStream,
    rule: GradientFlow,
    duration: float,
    goal: float,
    seed: int,
    settings: dict[str, Any],
) -> FlowTrajectory:
    """Integrate gradient flow for a learning time, or until the loss has fallen to `goal`."""
    ready = fixed_trials(stream)
    dim, sizes = overlaps.dim, overlaps.sizes
    upper = np.triu_indices(dim)
    columns = column_rates(rule.pathway_rates, sizes)
    # where each entry of the matrix stands in its upper triangle
    place = np.empty((dim, dim), dtype=np.intp)
    place[upper] = np.arange(len(upper[0]))
    place.T[upper] = place[upper]
    corner = np.ravel_multi_index(upper, (dim, dim))

    find = _evaluator(sizes, ready)
    a = np.empty((dim, dim))

    def speed(flat: np.ndarray) -> np.ndarray:
        matrix = flat.take(place)
        find(matrix, a)
        step = matrix @ (a * columns)
        return -(step + step.T).take(corner)

    def value(flat: np.ndarray) -> float:
        return find(flat.take(place), a)

    solution = solved(speed, value, overlaps.matrix[upper], duration, goal, rule, "an overlap")
    times = np.linspace(0.0, float(solution.t[-1]), ROWS)
    drift = max(_DRIFT, _DRIFT_OF_RTOL * rule.rtol)
    kept = _within(_unpack(solution.sol(times), dim), drift, float(solution.t[-1]))
    losses = _losses(kept, sizes, ready)
    settings = {**settings, "gradient_evaluations": int(solution.nfev)}
    return FlowTrajectory(kept, times, losses, times, sizes, seed, settings, solution.sol, ready)
