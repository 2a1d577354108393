"""Reduced activity: what the network does, computed from its overlaps alone.

Activity stays in the span of M and U, h = M k_m + U k_u, and the n_in + R numbers k obey a closed
system in which the loadings enter only through S (Gaussian loadings, N to infinity; exact at every
N for linear networks).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from predictlearn.checks import positive
from predictlearn.errors import InputError
from predictlearn.theory.kernels import rollout as kernels
from predictlearn.theory.kernels.arguments import Impulse, Judging, Shown
from predictlearn.theory.kernels.impulse import (
    impulse_loss_and_derivative,
    impulse_state,
    impulse_work,
)
from predictlearn.theory.nonlinearity import Nonlinearity, gain, resolve
from predictlearn.theory.overlaps import Overlaps
from predictlearn.theory.trials import Trials
from predictlearn.theory.world import LinearWorld

__all__ = ["Activity", "Batch", "loss", "loss_and_derivative", "losses_along", "simulate"]


@dataclass(frozen=True)
class Activity:
    """Reduced activity on a batch of trials; bin t is the state after the update of input bin t.

    Parameters
    ----------
    k_m : numpy.ndarray, (trials, time, n_in)
        Coordinates along the input vectors.
    k_u : numpy.ndarray, (trials, time, rank)
        Coordinates along the recurrent vectors.
    outputs : numpy.ndarray, (trials, time, n_out)
        Network outputs y.
    gain : numpy.ndarray, (trials, time)
        g(Delta).
    """

    k_m: np.ndarray
    k_u: np.ndarray
    outputs: np.ndarray
    gain: np.ndarray


class Batch:
    """Trials laid out for the compiled loops, (time, variables, trials), with k_m worked out.

    Parameters
    ----------
    trials : Trials
        The batch.
    nonlinearity : {"linear", "erf", "tanh"} or Nonlinearity
        Which phi.
    tau : float
        Time constant in seconds, at least dt.
    """

    def __init__(self, trials: Trials, nonlinearity: str | Nonlinearity, tau: float) -> None:
        self.nonlinearity = resolve(nonlinearity)
        tau = positive("tau", tau)
        if tau < trials.dt:
            raise InputError(
                f"tau must be at least the bin width dt = {trials.dt:g} s; got {tau:g} s."
            )
        self.gain = self.nonlinearity.gain_table
        self.erf = self.nonlinearity.name == "erf"
        self.a = trials.dt / tau
        self.inputs = _time_major(trials.inputs)
        self.k_m = kernels.filter_inputs(self.inputs, self.a)
        self.targets = _time_major(trials.targets)
        self.weights = _time_major(trials.weights)
        self.offset = np.array(trials.offset)
        self.smoothing = np.array(trials.smoothing, order="C")
        self.direct = trials.is_observed_directly
        self.world = trials.world
        self.n_in, self.n_out = trials.n_in, trials.n_out
        # the law of the targets, where the closed form holds: linear, read directly
        self._impulses: dict[int, Impulse] = {}
        self._shown: Shown | None = None
        self.law = trials.law if self.gain.size == 0 and self.direct else None

    @property
    def noise_shape(self) -> tuple[int, int, int]:
        """Shape of a draw of target noise, (time, n_out, trials)."""
        n_steps, n_out, n_trials = self.targets.shape
        return n_steps, n_out, n_trials

    @property
    def as_world(self) -> LinearWorld:
        """What the loss reads as a world: the task's, its observer, or the output itself."""
        w = self.world
        if w is None:
            one = np.eye(self.n_out)
            unseen = np.zeros((self.n_in, self.n_out))
            return LinearWorld(self.smoothing, one, unseen, one, self.offset)
        return w if w.is_closed else replace(w, seen=np.zeros((self.n_in, w.n_state)))

    def shown(self, noise: np.ndarray | None = None) -> Shown:
        """Return what the compiled loops take of the trials, with noise on the targets or none.

        Raises
        ------
        InputError
            If the trials have a world: only loops that run it can judge them.
        """
        if self.world is not None:
            raise InputError(
                "this needs a task whose output moves no world; learn and train_network take tasks "
                "with one."
            )
        if self._shown is None:
            judging = Judging(
                self.targets, self.weights, NO_NOISE, self.offset, self.smoothing, self.direct
            )
            self._shown = Shown(self.a, self.gain, self.k_m, judging)
        if noise is None:
            return self._shown
        return self._shown._replace(judging=self._shown.judging._replace(noise=noise))

    def impulse(self, rank: int) -> Impulse:
        """Return what the closed form takes; empty where none holds."""
        if rank not in self._impulses:
            first = step = read = np.empty((0, 0))
            weights = np.empty(0)
            if self.law is not None:
                inputs = np.moveaxis(self.inputs, 2, 0)
                first = impulse_state(inputs, self.law, self.a, rank)
                step, read, weights = self.law.step, self.law.read, self.weights[0, :, 0].copy()
            self._impulses[rank] = Impulse(self.a, first, step, read, weights, self.k_m.shape[0])
        return self._impulses[rank]

    def room(self, rank: int) -> int:
        """Return how many numbers of scratch space `loss_and_derivative_kernel` needs."""
        n_steps, _, n_trials = self.k_m.shape
        return kernels.buffer_size(n_steps, n_trials, self.n_in, rank, self.n_out)

    def scratch(self, rank: int) -> np.ndarray:
        """Return scratch space for `loss_and_derivative_kernel`."""
        return np.empty(self.room(rank))


NO_NOISE = np.empty((0, 0, 0))


def _time_major(array: np.ndarray) -> np.ndarray:
    """Return (time, variables, trials) from (trials, time, variables).

    A copy, but of what is laid out so already. An array that cannot be written to is copied, too:
    numba would compile other versions for it.
    """
    moved = array.transpose(1, 2, 0)
    ready = moved.flags.c_contiguous and moved.flags.writeable
    return moved if ready else np.array(moved, order="C")


def check_fit(overlaps: Any, n_in: int, n_out: int, what: str) -> None:
    """Raise unless a task and overlaps, or a network in its span, have the same ends."""
    if not isinstance(overlaps, Overlaps):
        if not (hasattr(overlaps, "m") and hasattr(overlaps, "z")):
            raise InputError(f"overlaps must be an Overlaps; got {type(overlaps).__name__}.")
        ends = (overlaps.m.shape[1], overlaps.z.shape[1])
    else:
        ends = (overlaps.n_in, overlaps.n_out)
    if ends != (n_in, n_out):
        raise InputError(
            f"{what} has {n_in} input(s) and {n_out} output(s), but the overlaps are of a network "
            f"with {ends[0]} and {ends[1]}."
        )


def simulate(
    overlaps: Overlaps,
    trials: Trials,
    nonlinearity: str | Nonlinearity = "linear",
    tau: float = 1.0,
) -> Activity:
    """Roll out the reduced activity.

    Parameters
    ----------
    overlaps : Overlaps
        The network.
    trials : Trials
        The inputs, and the world if the loop is closed; targets and weights are not used.
    nonlinearity : {"linear", "erf", "tanh"} or Nonlinearity
        Which phi.
    tau : float, default 1.0
        Time constant in seconds, at least the bin width.

    Returns
    -------
    Activity
        k_m, k_u, outputs and gain.

    Raises
    ------
    InputError
        If sizes disagree or an argument is out of range.

    Notes
    -----
    ``tau dk_m/dt = -k_m + x``, ``tau dk_u/dt = -k_u + g(Delta) [S_vm k_m + S_vu k_u]``,
    ``y = g(Delta) [S_zm k_m + S_zu k_u]``, ``Delta = k' S_bb k``; forward Euler, outputs read after
    the update (Ger & Barak 2026).

    Examples
    --------
    >>> import numpy as np
    >>> import predictlearn as pl
    >>> trials = pl.Filter(duration=1.0).sample(np.random.default_rng(0))
    >>> pl.simulate(pl.Overlaps(np.eye(4)), trials).k_m.shape
    (1, 20, 1)
    """
    check_fit(overlaps, trials.n_in, trials.n_out, "the batch of trials")
    ready = Batch(trials, nonlinearity, tau)
    if trials.world is not None and trials.world.is_closed:
        return _in_the_loop(overlaps, trials, trials.world, ready)
    # a copy, since numba would compile another version for what cannot be written to
    k_u, g, y = kernels.rollout_kernel(
        overlaps.matrix.copy(), *overlaps.sizes, ready.a, ready.gain, ready.k_m
    )
    k_m, k_u, outputs = (np.ascontiguousarray(np.moveaxis(x, 2, 0)) for x in (ready.k_m, k_u, y))
    return Activity(k_m, k_u, outputs, np.ascontiguousarray(g.T))


def _in_the_loop(overlaps: Overlaps, trials: Trials, world: LinearWorld, ready: Batch) -> Activity:
    """Roll out the reduced activity where the output moves what the input reports."""
    n_in, rank, n_out = overlaps.sizes
    b, s = n_in + rank, overlaps.matrix
    forward, form = s[b:, :b].T, s[:b, :b]
    k = np.zeros((trials.n_steps + 1, trials.n_trials, b))
    g = np.ones((trials.n_steps + 1, trials.n_trials))
    y = np.empty((trials.n_steps, trials.n_trials, n_out))
    state = np.broadcast_to(world.start, (trials.n_trials, world.n_state))
    for t in range(trials.n_steps):
        drive = np.empty((trials.n_trials, b))
        drive[:, :n_in] = trials.inputs[:, t] + state @ world.seen.T
        drive[:, n_in:] = g[t, :, None] * (k[t] @ forward[:, :rank])
        k[t + 1] = k[t] + ready.a * (drive - k[t])
        if ready.gain.size:
            variance = np.sum((k[t + 1] @ form) * k[t + 1], axis=1)
            g[t + 1] = gain(np.maximum(variance, 0.0), ready.nonlinearity)
        y[t] = g[t + 1, :, None] * (k[t + 1] @ forward[:, rank:])
        state = state @ world.step.T + y[t] @ world.push.T + world.offset
    parts = (k[1:, :, :n_in], k[1:, :, n_in:], y, g[1:])
    k_m, k_u, outputs, gains = (np.ascontiguousarray(np.swapaxes(x, 0, 1)) for x in parts)
    return Activity(k_m, k_u, outputs, gains)


def loss_and_derivative(
    overlaps: Overlaps,
    trials: Trials,
    nonlinearity: str | Nonlinearity = "linear",
    tau: float = 1.0,
) -> tuple[float, np.ndarray]:
    """Return the loss and its derivative matrix A.

    Parameters
    ----------
    overlaps : Overlaps
        The network.
    trials : Trials
        The batch.
    nonlinearity : {"linear", "erf", "tanh"} or Nonlinearity
        Which phi.
    tau : float, default 1.0
        Time constant in seconds.

    Returns
    -------
    loss : float
        Weighted squared error.
    a : numpy.ndarray, (D, D)
        ``A_ij = dL/dS_ij`` for i != j, the pair (i, j) counted as one variable, and
        ``A_ii = 2 dL/dS_ii``; then gradient descent on the loadings is Theta <- Theta (1 - eta A).

    Raises
    ------
    InputError
        If sizes disagree or an argument is out of range.

    Examples
    --------
    >>> import numpy as np
    >>> import predictlearn as pl
    >>> trials = pl.Filter().sample(np.random.default_rng(0))
    >>> loss, a = pl.loss_and_derivative(pl.Overlaps(np.eye(4)), trials)
    >>> bool(a[0, 3] < 0)  # a larger zm would lower the loss
    True
    """
    check_fit(overlaps, trials.n_in, trials.n_out, "the batch of trials")
    ready = Batch(trials, nonlinearity, tau)
    return _evaluate(overlaps.matrix, overlaps.sizes, ready)


def _evaluate(
    matrix: np.ndarray,
    sizes: tuple[int, int, int],
    ready: Batch,
    scratch: np.ndarray | None = None,
) -> tuple[float, np.ndarray]:
    """Return loss and A for a matrix of overlaps, on prepared trials.

    `scratch` is `ready.scratch`, given where there are many calls: it is large, and memory new to
    the process costs as much time as the loops.
    """
    a = np.empty(matrix.shape)
    # of what cannot be written to numba makes another version of the whole loop
    if not (matrix.flags.c_contiguous and matrix.flags.writeable):
        matrix = np.array(matrix, order="C")
    return _evaluator(sizes, ready, scratch)(matrix, a), a


def _evaluator(
    sizes: tuple[int, int, int], ready: Batch, scratch: np.ndarray | None = None
) -> Callable[[np.ndarray, np.ndarray], float]:
    """Return what gives the loss of a matrix and fills A, both in C order and to be written to."""
    n_in, rank, n_out = sizes
    # a plain tuple, for which alone numba has compiled
    sizes = (n_in, rank, n_out)
    if ready.law is not None:
        impulse = ready.impulse(rank)
        work = impulse_work(impulse)
        return lambda matrix, a: impulse_loss_and_derivative(matrix, sizes, impulse, work, a)
    shown = ready.shown()
    scratch = ready.scratch(rank) if scratch is None else scratch
    if sizes == (1, 1, 1):
        return lambda matrix, a: kernels.single_loss_and_derivative(matrix, shown, scratch, a)
    return lambda matrix, a: kernels.loss_and_derivative_kernel(matrix, sizes, shown, scratch, a)


def _losses(matrices: np.ndarray, sizes: tuple[int, int, int], ready: Batch) -> np.ndarray:
    """Return the loss at each of many overlap matrices, (rows, D, D), on prepared trials."""
    rows = np.require(matrices, requirements=["C", "W"])
    if tuple(sizes) == (1, 1, 1) and ready.law is None and ready.k_m.shape[2] > kernels.FEW:
        losses = np.empty(len(rows))
        kernels.single_losses(rows, ready.shown(), ready.scratch(1), losses)
        return losses
    find, a = _evaluator(sizes, ready), np.empty(matrices.shape[1:])
    return np.array([find(matrix, a) for matrix in rows])


def losses_along(
    matrices: np.ndarray,
    sizes: tuple[int, int, int],
    trials: Trials,
    nonlinearity: str | Nonlinearity = "linear",
    tau: float = 1.0,
) -> np.ndarray:
    """Return the loss at each of many overlap matrices, (rows, D, D), on the same trials."""
    return _losses(matrices, sizes, Batch(trials, nonlinearity, tau))


def loss(
    overlaps: Overlaps,
    trials: Trials,
    nonlinearity: str | Nonlinearity = "linear",
    tau: float = 1.0,
) -> float:
    """Return the loss alone; see `loss_and_derivative`."""
    return trials.loss(simulate(overlaps, trials, nonlinearity, tau).outputs)
