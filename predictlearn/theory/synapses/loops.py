"""Closed loops: whether what goes round grows or decays, and the loss of a network in one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from predictlearn.checks import positive
from predictlearn.errors import InputError
from predictlearn.theory.activity import Batch, check_fit
from predictlearn.theory.nonlinearity import Nonlinearity
from predictlearn.theory.overlaps import Overlaps
from predictlearn.theory.synapses.gradients import Directions, Steering
from predictlearn.theory.synapses.network import Factors, Synapses
from predictlearn.theory.trials import Trials
from predictlearn.theory.world import LinearWorld

__all__ = ["LoopStability", "loop_stability", "network_loss"]

# How far above 1 rounding may bring a spectral radius that is 1.
_ROUNDING = 1e-9
# Factors of the gain that are tried, and how often the edge between two of them is halved.
_FACTORS = np.geomspace(1.0, 1e6, 241)
_HALVINGS = 50


@dataclass(frozen=True)
class LoopStability:
    """What becomes of a push in the loop of a network and its world.

    Linear: by the slopes at rest. Counted are the network and what of the world both is moved by
    the output and comes back to the input; the position of a cursor of which only the velocity is
    seen is no part of the loop.

    Parameters
    ----------
    radius : float
        Spectral radius of a bin: what is left of the slowest mode, or of the one that grows.
    open_radius : float
        The same with the input cut off from the world.
    dt : float
        Bin width in seconds.
    gain_range : (float, float)
        By which factors the gain of the loop (`push`, or as well `seen`) can be multiplied so that
        nothing grows: the whole range that holds 1 where the loop is stable, and else the one from
        0 upwards. Infinity where no limit up to 1e6 was found; (nan, nan) where nothing is stable.

    Examples
    --------
    >>> import numpy as np
    >>> import predictlearn as pl
    >>> network = pl.Overlaps(np.eye(4)).replace(zm=0.5)
    >>> world = pl.LinearWorld(step=[[1.0]], push=[[0.05]], seen=[[-1.0]])
    >>> task = pl.ArrayTask(np.ones((1, 9, 1)), np.ones((1, 9, 1)), np.ones((1, 9, 1)), 0.05,
    ...                     world=world)
    >>> loop = pl.loop_stability(network, task)
    >>> loop.stable, round(loop.time_constant, 2)
    (True, 1.95)
    """

    radius: float
    open_radius: float
    dt: float
    gain_range: tuple[float, float]

    @property
    def stable(self) -> bool:
        """Whether nothing grows."""
        return self.radius <= 1.0 + _ROUNDING

    @property
    def time_constant(self) -> float:
        """Seconds in which a push falls to 1/e, or grows e-fold; infinite where it stays."""
        if abs(self.radius - 1.0) <= _ROUNDING:
            return float("inf")
        return 0.0 if self.radius == 0 else self.dt / abs(float(np.log(self.radius)))

    def __str__(self) -> str:
        low, high = self.gain_range
        course = "decays to 1/e" if self.stable else "grows e-fold"
        what = f"a push {course} in {self.time_constant:.3g} s"
        if not np.isfinite(self.time_constant):
            what = "a push neither grows nor decays"
        end = f"from {low:.3g} to {high:.3g} times the gain" if low < high else "at no gain"
        return (
            f"{'stable' if self.stable else 'unstable'} loop: spectral radius {self.radius:.6g} a "
            f"bin of {self.dt:g} s; {what}. It is stable {end}."
        )


def _parts(network: object) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return m, w and z of a network in its span."""
    if isinstance(network, Overlaps):
        network = Factors.from_overlaps(network)
    if isinstance(network, Factors):
        return network.m, network.u @ network.v.T, network.z
    if isinstance(network, Synapses):
        return network.m, network.w, network.z
    raise InputError(
        f"network must be an Overlaps, Synapses or Factors; got {type(network).__name__}."
    )


def _reached(links: np.ndarray, first: np.ndarray) -> np.ndarray:
    """Return which variables are reached from the first ones by links[to, from]."""
    reached = first
    while True:
        more = reached | np.any(links[:, reached], axis=1)
        if np.array_equal(more, reached):
            return reached
        reached = more


def _round_the_loop(world: LinearWorld) -> LinearWorld | None:
    """Return the world's variables that the output moves and the input sees; None without any."""
    if not world.is_closed:
        return None
    moved = _reached(world.step != 0, np.any(world.push != 0, axis=1))
    seen = _reached(world.step.T != 0, np.any(world.seen != 0, axis=0))
    both = moved & seen
    if not both.any():
        return None
    return LinearWorld(world.step[np.ix_(both, both)], world.push[both], world.seen[:, both])


def loop_stability(
    network: Overlaps | Synapses | Factors, task: Any, tau: float = 1.0
) -> LoopStability:
    """Return whether the loop of a network and a task's world is stable, and by how much.

    Parameters
    ----------
    network : Overlaps, Synapses or Factors
        The network.
    task : Task or Trials
        Has the bin width ``dt``, in seconds, and the ``world``.
    tau : float, default 1.0
        Time constant of the network in seconds.

    Returns
    -------
    LoopStability
        Spectral radius, time constant in seconds, and the factors of the gain that are stable.

    Raises
    ------
    InputError
        If the task has no world, or does not fit the network.

    Examples
    --------
    >>> import numpy as np
    >>> import predictlearn as pl
    >>> task = pl.CursorTracking(axes=1, delay=0.2)
    >>> network = pl.Overlaps(np.eye(4)).replace(zm=0.5, zu=0.1, vm=0.1, vu=0.2)
    >>> loop = pl.loop_stability(network, task)
    >>> loop.stable, loop.gain_range[0]
    (True, 0.0)
    """
    world = getattr(task, "world", None)
    if not isinstance(world, LinearWorld):
        raise InputError(
            "task must have a world, as pl.CursorReaching() has; without one there is no loop."
        )
    m, w, z = _parts(network)
    dt, tau = positive("dt", task.dt), positive("tau", tau)
    if tau < dt:
        raise InputError(f"tau must be at least the bin width dt = {dt:g} s; got {tau:g} s.")
    check_fit(network, int(task.n_in), world.n_out, "the task")
    a, loop = dt / tau, _round_the_loop(world)
    inner = (1 - a) * np.eye(len(w)) + a * w
    alone = float(np.abs(np.linalg.eigvals(inner)).max())
    if loop is None:
        ends = (0.0, float("inf")) if alone <= 1 + _ROUNDING else (float("nan"), float("nan"))
        return LoopStability(alone, alone, dt, ends)
    back, push = a * m @ loop.seen, loop.push @ z.T

    def radius(factor: float) -> float:
        lower = np.hstack([push @ inner, loop.step + factor * push @ back])
        joint = np.vstack([np.hstack([inner, factor * back]), lower])
        return float(np.abs(np.linalg.eigvals(joint)).max())

    return LoopStability(radius(1.0), radius(0.0), dt, _stable_factors(radius))


def _stable_factors(radius: Any) -> tuple[float, float]:
    """Return the range of factors around 1, or from 0 on, in which the radius is at most 1."""

    def stable(factor: float) -> bool:
        return bool(radius(factor) <= 1 + _ROUNDING)

    def edge(inside: float, outside: float) -> float:
        for _ in range(_HALVINGS):
            middle = (inside + outside) / 2
            inside, outside = (middle, outside) if stable(middle) else (inside, middle)
        return inside

    def walk(inside: float, factors: np.ndarray, end: float) -> float:
        for factor in factors:
            if not stable(factor):
                return edge(inside, factor)
            inside = factor
        return end

    if stable(1.0):
        low = walk(1.0, np.append(1 / _FACTORS[1:], 0.0), 0.0)
        return low, walk(1.0, _FACTORS[1:], float("inf"))
    if not stable(0.0):
        return float("nan"), float("nan")
    # where the world alone keeps what it is given, any gain may be too much
    weakest = 1 / _FACTORS[-1]
    return 0.0, walk(weakest, 1 / _FACTORS[::-1], 1.0) if stable(weakest) else 0.0


def network_loss(
    network: Synapses | Factors,
    trials: Trials,
    nonlinearity: str | Nonlinearity = "linear",
    tau: float = 1.0,
) -> float:
    """Return the loss of a network in its span on trials, in the loop where it is closed.

    Parameters
    ----------
    network : Synapses or Factors
        The network.
    trials : Trials
        The batch.
    nonlinearity : {"linear", "erf", "tanh"} or Nonlinearity
        Which phi.
    tau : float, default 1.0
        Time constant in seconds.

    Returns
    -------
    float
        Weighted squared error.

    Raises
    ------
    InputError
        If network and trials do not fit.
    """
    m, w, z = _parts(network)
    check_fit(network, trials.n_in, trials.n_out, "the batch of trials")
    ready = Batch(trials, nonlinearity, tau)
    return Directions(ready, Steering(through_loop=False), len(w), False)(m, w, z)[0]
