"""Gradient flow: the limit of small steps, by adaptive solvers.

Most flows of overlaps are short and smooth: a compiled loop of explicit steps, see `FLOWS`, takes a
third of LSODA's time for small tasks, and none of Python's lock. What it does not end in so many
evaluations (a stiff flow, one that runs away) is left to LSODA, from the start.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import numpy as np
from scipy import integrate, optimize

from predictlearn.checks import as_float_array, positive
from predictlearn.errors import DivergenceError, InputError
from predictlearn.theory.activity import Batch, _evaluate, _evaluator, _losses
from predictlearn.theory.kernels.arguments import RungeKutta
from predictlearn.theory.kernels.epochs import ANY, CLOSED, FLOWS, LOSSES, SINGLE
from predictlearn.theory.learning.rules import GradientFlow, column_rates
from predictlearn.theory.learning.trajectory import Trajectory
from predictlearn.theory.learning.trial_stream import TrialStream
from predictlearn.theory.overlaps import Overlaps

__all__ = ["ROWS", "FlowTrajectory", "Way", "fixed_trials", "flow", "solved"]

ROWS = 201
# Steps of learning that goes on for 1e10 times its own time scale need a hundredth of these.
_MOST_EVALUATIONS = 200_000
# How far outside of the cone of realisable overlaps an eigenvalue may lie, of the largest, and of
# the solver's tolerance.
_DRIFT, _DRIFT_OF_RTOL = 1e-5, 1e3
# The finest relative tolerance that numbers have room for; finer ones are taken for it.
_FINEST = 100 * float(np.finfo(float).eps)
# Evaluations of the gradient after which a flow is taken for stiff: more where they have a closed
# form, fewer where bins times trials are so many that they take longer than the Python around each
# of LSODA's.
_EXPLICIT, _EXPLICIT_CLOSED, _EXPLICIT_OF_MANY, _MANY = 2_000, 10_000, 700, 5_000
# Between the ends of long steps the interpolant errs more than the steps do: those are finer.
_FINER = 0.1
# ODEPACK keeps its state between calls, and Python its filters of warnings, in one place for the
# whole process.
_ONE_AT_A_TIME = threading.Lock()


@dataclass(frozen=True)
class _Field:
    """The speed of the overlaps under gradient flow, dS/dt = -(S A R + R A S).

    Parameters
    ----------
    sizes : (n_in, rank, n_out)
        Of the overlaps.
    ready : Batch
        The trials.
    rule : GradientFlow
        Pathway rates and tolerances.
    """

    sizes: tuple[int, int, int]
    ready: Batch
    rule: GradientFlow

    @property
    def drift(self) -> float:
        """How far outside of the cone the solver's errors may lead."""
        return max(_DRIFT, _DRIFT_OF_RTOL * self.rule.rtol)

    def rows(
        self, matrix: np.ndarray, duration: float, goal: float
    ) -> tuple[np.ndarray, np.ndarray, int]:
        """Return `ROWS` times, the overlaps then, and how often the gradient was asked for."""
        asked = 0
        if not np.isfinite(goal):
            kept = np.empty((ROWS, *matrix.shape))
            kept[0] = matrix
            done, asked = self._explicit(kept, duration)
            if done and np.isfinite(kept).all():
                return np.linspace(0.0, duration, ROWS), kept, asked
        times, states, solution = self.solve(matrix, duration, goal)
        return times, _unpack(states.T, len(matrix)), asked + int(solution.nfev)

    def _explicit(self, kept: np.ndarray, duration: float) -> tuple[bool, int]:
        """Fill `kept` by explicit steps, and tell whether that was possible."""
        n_in, rank, n_out = self.sizes
        impulse, way = self.ready.impulse(rank), SINGLE if self.sizes == (1, 1, 1) else ANY
        n_bins, _, n_trials = self.ready.k_m.shape
        most = _EXPLICIT_OF_MANY if n_bins * n_trials > _MANY else _EXPLICIT
        if impulse.first.size > 0:
            way, most = CLOSED, _EXPLICIT_CLOSED
        return FLOWS[way](
            kept,
            column_rates(self.rule.pathway_rates, self.sizes),
            (n_in, rank, n_out),
            duration,
            max(_FINER * self.rule.rtol, _FINEST),
            _FINER * self.rule.atol,
            most,
            _method(),
            self.ready.shown(),
            impulse,
            self.ready.scratch(rank),
            LOSSES[way].address,
        )

    def solve(
        self, matrix: np.ndarray, duration: float, goal: float, dense: bool = False
    ) -> tuple[np.ndarray, np.ndarray, Any]:
        """Return what `solved` does, from a matrix of overlaps; a state is its upper triangle."""
        dim = len(matrix)
        upper = np.triu_indices(dim)
        columns = column_rates(self.rule.pathway_rates, self.sizes)
        # where each entry of the matrix stands in its upper triangle
        place = np.empty((dim, dim), dtype=np.intp)
        place[upper] = np.arange(len(upper[0]))
        place.T[upper] = place[upper]
        corner = np.ravel_multi_index(upper, (dim, dim))
        find, a = _evaluator(self.sizes, self.ready), np.empty((dim, dim))

        def speed(flat: np.ndarray) -> np.ndarray:
            matrix = flat.take(place)
            find(matrix, a)
            step = matrix @ (a * columns)
            return -(step + step.T).take(corner)

        def loss(flat: np.ndarray) -> float:
            return find(flat.take(place), a)

        way = Way(speed, loss, "an overlap", self.rule)
        return solved(way, matrix[upper], duration, goal, dense)


@dataclass(frozen=True)
class FlowTrajectory(Trajectory):
    """A trajectory of gradient flow, known at every learning time.

    Parameters
    ----------
    field : object
        The speed of the overlaps.
    """

    field: _Field

    @cached_property
    def solution(self) -> Any:
        """The solver's interpolant, for the upper triangle of S; found when first asked for."""
        return self.field.solve(self.array[0], float(self.epochs[-1]), -np.inf, dense=True)[2].sol

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
        return _evaluate(self.at(time), self.sizes, self.field.ready)[0]

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


@cache
def _method() -> RungeKutta:
    """Return the coefficients of DOP853, as scipy has them, in one table of stages."""
    known = integrate.DOP853
    stages = np.zeros((16, 16))
    stages[:12, :12], stages[12, :12], stages[13:] = known.A, known.B, known.A_EXTRA
    return RungeKutta(stages, known.E5.copy(), known.E3.copy(), known.D.copy())


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


@dataclass(frozen=True)
class Way:
    """What is integrated, and how finely.

    Parameters
    ----------
    speed, loss : callable
        Of the state, (n,): its speed, (n,), and the loss there.
    what : str
        What a number of the state is, for messages.
    rule : GradientFlow
        Its tolerances.
    """

    speed: Callable[[np.ndarray], np.ndarray]
    loss: Callable[[np.ndarray], float]
    what: str
    rule: GradientFlow


def solved(
    way: Way, start: np.ndarray, duration: float, goal: float, dense: bool = False
) -> tuple[np.ndarray, np.ndarray, Any]:
    """Integrate a flow from `start`, until `duration` or a loss of `goal`, by LSODA.

    Parameters
    ----------
    way : Way
        Speed, loss and tolerances.
    start : numpy.ndarray, (n,)
        The state at learning time zero.
    duration : float
        Learning time.
    goal : float
        Loss that ends the flow; minus infinity for none.
    dense : bool, default False
        Find an interpolant, too.

    Returns
    -------
    times : numpy.ndarray, (ROWS,)
        Learning times.
    states : numpy.ndarray, (ROWS, n)
        The states then.
    solution : object
        Its ``nfev`` is how often the speed was asked for; its ``sol``, if `dense`, the interpolant.

    Raises
    ------
    DivergenceError
        If the solver does not come to the end.
    """
    count, latest = 0, 0.0

    def counted(time: float, flat: np.ndarray) -> np.ndarray:
        nonlocal count, latest
        count, latest = count + 1, time
        if count > _MOST_EVALUATIONS:
            raise DivergenceError(
                f"gradient flow came to learning time {time:g} of {duration:g} in "
                f"{_MOST_EVALUATIONS} evaluations of the gradient, and was stopped. Ask for a "
                "shorter time, or try a looser rtol.",
                int(min(time, 1e15)),
            )
        return way.speed(flat)

    quiet = np.errstate(over="ignore", invalid="ignore")
    with _ONE_AT_A_TIME, warnings.catch_warnings(), quiet:
        # what the solver warns of is in its message as well
        warnings.simplefilter("ignore", UserWarning)
        warnings.simplefilter("ignore", integrate.ODEintWarning)
        if dense or np.isfinite(goal):
            solution = _step_by_step(counted, way, start, duration, goal)
        else:
            solution = _at_once(counted, way, start, duration)
    finite = np.isfinite(solution.y).all(axis=0)
    if not solution.success or not finite.all():
        reached = float(solution.t[finite].max(initial=0.0)) if solution.success else latest
        said = f"{way.what} was not finite." if solution.success else solution.message
        raise DivergenceError(
            f"gradient flow stopped at learning time {reached:g} of {duration:g}: {said} Try a "
            "looser rtol.",
            int(min(reached, 1e15)),
        )
    times = np.linspace(0.0, float(solution.t[-1]), ROWS)
    return times, solution.sol(times).T if solution.sol else solution.y.T, solution


def _step_by_step(
    speed: Callable[[float, np.ndarray], np.ndarray],
    way: Way,
    start: np.ndarray,
    duration: float,
    goal: float,
) -> Any:
    """Return the solution with an interpolant, ended where the loss falls to the goal."""

    def above(_: float, flat: np.ndarray) -> float:
        return way.loss(flat) - goal

    above.terminal = True  # type: ignore[attr-defined]
    return integrate.solve_ivp(
        speed,
        (0.0, duration),
        start,
        method="LSODA",
        dense_output=True,
        events=above if np.isfinite(goal) else None,
        rtol=way.rule.rtol,
        atol=way.rule.atol,
    )


def _at_once(
    speed: Callable[[float, np.ndarray], np.ndarray], way: Way, start: np.ndarray, duration: float
) -> Any:
    """Return the solution at `ROWS` times: the same solver, its steps not taken one by one.

    A third of the time of `_step_by_step`, whose steps cost more than the speeds of small networks.
    """
    times = np.linspace(0.0, duration, ROWS)
    states, told = integrate.odeint(
        speed,
        start,
        times,
        tfirst=True,
        full_output=True,
        rtol=max(way.rule.rtol, _FINEST),
        atol=way.rule.atol,
        mxstep=_MOST_EVALUATIONS,
    )
    return optimize.OptimizeResult(
        t=times,
        y=states.T,
        sol=None,
        nfev=int(told["nfe"][-1]),
        success=told["message"] == "Integration successful.",
        message=told["message"],
    )


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
    field = _Field(overlaps.sizes, fixed_trials(stream), rule)
    times, rows, asked = field.rows(overlaps.matrix, duration, goal)
    kept = _within(rows, field.drift, float(times[-1]))
    losses = _losses(kept, field.sizes, field.ready)
    settings = {**settings, "gradient_evaluations": asked}
    return FlowTrajectory(kept, times, losses, times, field.sizes, seed, settings, field)
