"""Training of the N-neuron network, by exact gradients and by rules of circuits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple, overload

import numpy as np

from predictlearn.checks import positive, positive_int
from predictlearn.errors import InputError, choice
from predictlearn.network.activity import network_sizes
from predictlearn.network.dense_training import train_densely
from predictlearn.network.kernels import network_loss_and_gradient
from predictlearn.network.synapses import update_of
from predictlearn.network.trajectories import NetworkTrajectory, SynapticNetworkTrajectory
from predictlearn.theory.activity import NO_NOISE
from predictlearn.theory.learning.epochs import (
    check_memory,
    describe,
    diverged,
    kept_epochs,
    loss_limit,
    stable_rates_said,
)
from predictlearn.theory.learning.local_rules import LocalRule, NodePerturbation
from predictlearn.theory.learning.rules import GradientDescent
from predictlearn.theory.learning.schedules import drop_of, multipliers
from predictlearn.theory.learning.span import LEARNERS
from predictlearn.theory.learning.synaptic_rules import SynapticRule
from predictlearn.theory.learning.trial_stream import TrialStream
from predictlearn.theory.names import PATHWAYS, pathway_slices
from predictlearn.theory.nonlinearity import Nonlinearity, network_phi
from predictlearn.theory.overlaps import Loadings, Overlaps
from predictlearn.theory.synapses.network import SynapticNetwork
from predictlearn.theory.trials import Task

__all__ = ["TrainingCourse", "follow", "train_network"]


@overload
def train_network(
    loadings: Loadings,
    task: Task,
    rule: GradientDescent | SynapticRule,
    epochs: int,
    nonlinearity: str | Nonlinearity = "linear",
    tau: float = 1.0,
    seed: int = 0,
    every: int = 1,
    stop_at: float | None = None,
    learns: Literal["factors"] | None = None,
    feedback: None = None,
) -> NetworkTrajectory: ...


@overload
def train_network(
    loadings: Loadings | SynapticNetwork,
    task: Task,
    rule: GradientDescent | SynapticRule | LocalRule | NodePerturbation,
    epochs: int,
    nonlinearity: str | Nonlinearity = "linear",
    tau: float = 1.0,
    seed: int = 0,
    every: int = 1,
    stop_at: float | None = None,
    learns: str | None = None,
    feedback: np.ndarray | None = None,
) -> NetworkTrajectory | SynapticNetworkTrajectory: ...


def train_network(
    loadings: Loadings | SynapticNetwork,
    task: Task,
    rule: GradientDescent | SynapticRule | LocalRule | NodePerturbation,
    epochs: int,
    nonlinearity: str | Nonlinearity = "linear",
    tau: float = 1.0,
    seed: int = 0,
    every: int = 1,
    stop_at: float | None = None,
    learns: str | None = None,
    feedback: np.ndarray | None = None,
) -> Any:
    """Train a network of N neurons and follow its overlaps, or its synapses.

    Parameters
    ----------
    loadings : Loadings or SynapticNetwork
        The network before learning.
    task : Task
        What is learned.
    rule : GradientDescent, FeedbackAlignment, RFLO, NodePerturbation, Adam, RMSProp, SignDescent
        Descent at rate N eta on every loading, or on M, Z and eta on W, a rule of circuits in its
        place, or one of single loadings, whose steps are in units of the loadings (factors in an
        open loop only).
    epochs : int
        Number of updates.
    nonlinearity : {"linear", "erf", "tanh"} or Nonlinearity
        Which phi.
    tau : float, default 1.0
        Time constant in seconds.
    seed : int, default 0
        Seed of trials and noise: with the seed of `learn`, the same trials, minibatches and target
        noise.
    every : int, default 1
        Keep the overlaps of every so many epochs, and the last.
    stop_at : float, optional
        Stop before the update of the first epoch whose loss is at or below this.
    learns : {"factors", "synapses"}, optional
        What learns, as in `learn`; if not given factors of `Loadings`, and the synapses of a
        `SynapticNetwork`.
    feedback : array_like, (N, n_out), optional
        B, as `Factors.on_neurons` returns it. If it is not given, and not in the network, that of
        the rule is drawn from the seed, its random part orthogonal to the loadings, or to M and Z
        where only synapses are given.

    Returns
    -------
    NetworkTrajectory or SynapticNetworkTrajectory
        Overlaps and loss along learning, and the final loadings; where synapses learn what is kept
        of them, and the networks at both ends.

    Raises
    ------
    InputError
        If an argument is out of range or task and loadings do not fit.
    DivergenceError
        If the loss runs away or is not finite, as in `learn`.

    Notes
    -----
    The gradient comes from a hand-written adjoint of the N-neuron dynamics at O(N R) a step, O(N^2)
    where synapses learn; a row kept of synapses takes O(N^3), for singular values.

    Noise on synapses is N(0, synaptic_noise^2) on entries of M, U, V and Z, which are of order 1,
    and N(0, synaptic_noise^2 / N) on those of W. So scaled, noise on W changes the input of a
    neuron, a sum over N rates, by synaptic_noise times their root mean square, as much as noise on
    M does for inputs: that, and the radius synaptic_noise of the circle that its eigenvalues fill,
    stay as they are for large N. Divided by N, like W itself, noise would be averaged away.

    Examples
    --------
    >>> import numpy as np
    >>> import predictlearn as pl
    >>> o = pl.Overlaps(np.eye(4))
    >>> rule, task = pl.GradientDescent(5e-3), pl.Filter(duration=5.0)
    >>> network = pl.train_network(o.loadings(200), task, rule, 50)
    >>> theory = pl.learn(o, task, rule, 50)
    >>> bool(abs(network.overlaps - theory.overlaps).max().max() < 1e-12)
    True

    Its synapses in place of its factors, by feedback alignment:

    >>> rule = pl.FeedbackAlignment(5e-3)
    >>> network = pl.train_network(o.loadings(50), task, rule, 50, learns="synapses", every=25)
    >>> theory = pl.learn(o, task, rule, 50, learns="synapses", every=25)
    >>> bool(abs(network.alignment - theory.alignment).max() < 1e-12)
    True
    """
    if (
        not isinstance(loadings, Loadings)
        or isinstance(rule, LocalRule | NodePerturbation)
        or learns == "synapses"
        or getattr(task, "world", None) is not None
    ):
        return train_densely(
            loadings, task, rule, epochs, nonlinearity, tau, seed, every, stop_at, learns, feedback
        )
    if learns is not None:
        choice("learns", learns, LEARNERS)
    if feedback is not None:
        raise InputError(
            "feedback is for rules that use it, FeedbackAlignment and RFLO; got "
            f"{type(rule).__name__}."
        )
    run = follow(
        loadings, task, rule, epochs, nonlinearity, tau, seed, every, stop_at, _whole_overlaps
    )
    settings = {**describe(task, rule, nonlinearity, tau), "n_neurons": loadings.n_neurons}
    return NetworkTrajectory(
        run.kept,
        run.rows,
        run.losses,
        np.arange(len(run.losses)),
        run.sizes,
        seed,
        settings,
        run.loadings,
    )


def _whole_overlaps(theta: np.ndarray) -> np.ndarray:
    """Return S of loadings (D, N)."""
    return theta @ theta.T / theta.shape[1]


class TrainingCourse(NamedTuple):
    """What `follow` measured, and the loadings at the end."""

    kept: np.ndarray
    rows: np.ndarray
    losses: np.ndarray
    sizes: tuple[int, int, int]
    loadings: Loadings


def follow(
    loadings: Loadings,
    task: Task,
    rule: GradientDescent | SynapticRule,
    epochs: int,
    nonlinearity: str | Nonlinearity,
    tau: float,
    seed: int,
    every: int,
    stop_at: float | None,
    measure: Callable[[np.ndarray], np.ndarray],
) -> TrainingCourse:
    """Train a network and keep what `measure` makes of its loadings, (D, N), along the way.

    The one loop over epochs behind `train_network` and `train_population_network`; arguments and
    errors are theirs.
    """
    if not isinstance(rule, GradientDescent | SynapticRule):
        raise InputError(
            "rule must be a GradientDescent, Adam, RMSProp or SignDescent to train a network; "
            f"got {type(rule).__name__}."
        )
    stream = TrialStream(task, nonlinearity, tau, seed, rule.minibatch)
    phi = network_phi(nonlinearity)
    sizes = network_sizes(loadings, task.n_in, task.n_out)
    n_epochs, every = positive_int("epochs", epochs), positive_int("every", every)
    goal = -np.inf if stop_at is None else positive("stop_at", stop_at)
    theta = np.ascontiguousarray(loadings.stacked.T)
    n_neurons = theta.shape[1]
    first = measure(theta)
    check_memory(n_epochs, every, first.size)
    update = update_of(rule, sizes, stream.synapse_rng)
    rates_now = rule.rate * multipliers(rule.schedule, n_epochs)
    factor, below = drop_of(rule.schedule)
    gradient = np.empty_like(theta)
    rows = kept_epochs(n_epochs, every)
    kept = np.empty((len(rows), *first.shape))
    losses = np.empty(n_epochs + 1)
    limit = np.inf
    scratch = np.empty((2, 0, n_neurons))
    for epoch in range(n_epochs + 1):
        ready = stream.next()
        if scratch.shape[1] != ready.k_m.shape[0]:
            scratch = np.empty((2, ready.k_m.shape[0], n_neurons))
        if epoch < n_epochs and epoch % every == 0:
            # numbers that overflow are caught below, as a loss beyond the limit
            with np.errstate(over="ignore", invalid="ignore"):
                kept[epoch // every] = measure(theta)
        noise = NO_NOISE
        if rule.target_noise > 0 and epoch < n_epochs:
            noise = rule.target_noise * stream.target_rng.standard_normal(ready.noise_shape)
        losses[epoch] = network_loss_and_gradient(
            theta,
            tuple(sizes),
            phi,
            ready.shown(noise),
            scratch,
            gradient,
        )
        if epoch == 0:
            limit = loss_limit(losses[0], ready)
        if not losses[epoch] <= limit:
            advice = ""
            if isinstance(rule, GradientDescent) and np.isfinite(losses[0]):
                advice = stable_rates_said(Overlaps.from_loadings(loadings), ready, rule)
            raise diverged(epoch, rule, losses, advice)
        if epoch == n_epochs:
            break
        if losses[epoch] <= goal:
            rows = np.append(rows[rows < epoch], epoch)
            kept, losses = kept[: len(rows)].copy(), losses[: epoch + 1].copy()
            break
        with np.errstate(over="ignore", invalid="ignore"):
            update.step(theta, gradient, rates_now[epoch])
        if losses[epoch] < below:
            rates_now[epoch + 1 :] /= factor
            below = -np.inf  # once
    kept[-1] = measure(theta)
    where = pathway_slices(*sizes)
    final = Loadings(*(theta[where[p]].T for p in PATHWAYS))
    return TrainingCourse(kept, rows, losses, sizes, final)
