"""Training of an N-neuron network, followed population by population."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from predictlearn.checks import positive, positive_int
from predictlearn.errors import InputError
from predictlearn.network.activity import network_sizes
from predictlearn.network.kernels import network_loss_and_gradient
from predictlearn.network.synapses import update_of
from predictlearn.theory.learning import describe, diverged, kept_epochs, loss_limit
from predictlearn.theory.loadings import Loadings
from predictlearn.theory.names import PATHWAYS, pathway_slices
from predictlearn.theory.nonlinearity import Nonlinearity, network_phi
from predictlearn.theory.population_learning import PopulationTrajectory, check_population_memory
from predictlearn.theory.populations import PopulationLoadings
from predictlearn.theory.reduced import NO_NOISE
from predictlearn.theory.rules import GradientDescent
from predictlearn.theory.schedules import drop_of, multipliers
from predictlearn.theory.stream import TrialStream
from predictlearn.theory.synaptic_rules import SynapticRule
from predictlearn.theory.trials import Task

__all__ = ["PopulationNetworkTrajectory", "train_population_network"]


@dataclass(frozen=True)
class PopulationNetworkTrajectory(PopulationTrajectory):
    """A trajectory measured on N neurons, with the network at its end.

    Parameters
    ----------
    network : PopulationLoadings
        m, u, v, z after the last update, and the population of each neuron.
    """

    network: PopulationLoadings


def _overlaps(theta: np.ndarray, groups: list[np.ndarray]) -> np.ndarray:
    """Return S_p of every population, (P, D, D), of loadings (D, N)."""
    # numbers that overflow are caught as a loss beyond the limit
    with np.errstate(over="ignore", invalid="ignore"):
        parts = [theta[:, who] for who in groups]
        return np.stack([part @ part.T / part.shape[1] for part in parts])


def train_population_network(
    network: PopulationLoadings,
    task: Task,
    rule: GradientDescent | SynapticRule,
    epochs: int,
    nonlinearity: str | Nonlinearity = "erf",
    tau: float = 1.0,
    seed: int = 0,
    every: int = 1,
    stop_at: float | None = None,
) -> PopulationNetworkTrajectory:
    """Train a network of N neurons and follow the overlaps of each of its populations.

    The network is trained as any other: which population a neuron is of matters only for what is
    measured.

    Parameters
    ----------
    network : PopulationLoadings
        The network before learning, as `Populations.loadings` returns.
    task : Task
        What is learned.
    rule : GradientDescent, Adam, RMSProp or SignDescent
        Descent at rate N eta on every loading, or a rule of single synapses.
    epochs : int
        Number of updates.
    nonlinearity : {"linear", "erf", "tanh"} or Nonlinearity
        Which phi.
    tau : float, default 1.0
        Time constant in seconds.
    seed : int, default 0
        Seed of trials and noise: with the seed of `learn_populations`, the same trials and noise.
    every : int, default 1
        Keep the overlaps of every so many epochs, and the last.
    stop_at : float, optional
        Stop before the update of the first epoch whose loss is at or below this.

    Returns
    -------
    PopulationNetworkTrajectory
        Overlaps of every population and loss along learning, and the final network.

    Raises
    ------
    InputError
        If an argument is out of range or task and network do not fit.
    DivergenceError
        If the loss runs away or is not finite.

    Examples
    --------
    >>> import predictlearn as pl
    >>> start = pl.Populations.random(2, seed=1)
    >>> rule, task = pl.GradientDescent(5e-3), pl.Filter(duration=5.0)
    >>> trained = train_population_network(start.loadings(200), task, rule, 50, "linear")
    >>> theory = pl.learn_populations(start, task, rule, 50, "linear")
    >>> bool(abs(trained.overlaps - theory.overlaps).max().max() < 1e-12)
    True
    """
    if not isinstance(rule, GradientDescent | SynapticRule):
        raise InputError(
            "rule must be a GradientDescent, Adam, RMSProp or SignDescent to train a network; "
            f"got {type(rule).__name__}."
        )
    if not isinstance(network, PopulationLoadings):
        raise InputError(
            "network must be a PopulationLoadings, as Populations.loadings(n_neurons) returns; "
            f"got {type(network).__name__}."
        )
    stream = TrialStream(task, nonlinearity, tau, seed, rule.minibatch)
    phi = network_phi(nonlinearity)
    sizes = network_sizes(network.loadings, task.n_in, task.n_out)
    n_epochs, every = positive_int("epochs", epochs), positive_int("every", every)
    goal = -np.inf if stop_at is None else positive("stop_at", stop_at)
    theta = np.ascontiguousarray(network.loadings.stacked.T)
    dim, n_neurons = theta.shape
    groups = [np.flatnonzero(network.labels == p + 1) for p in range(network.n_populations)]
    check_population_memory(n_epochs, every, len(groups), dim)
    update = update_of(rule, sizes, stream.synapse_rng)
    rates = rule.rate * multipliers(rule.schedule, n_epochs)
    factor, below = drop_of(rule.schedule)
    gradient = np.empty_like(theta)
    rows = kept_epochs(n_epochs, every)
    kept = np.empty((len(rows), len(groups), dim, dim))
    losses = np.empty(n_epochs + 1)
    limit = np.inf
    scratch = np.empty((2, 0, n_neurons))
    for epoch in range(n_epochs + 1):
        ready = stream.next()
        if scratch.shape[1] != ready.k_m.shape[0]:
            scratch = np.empty((2, ready.k_m.shape[0], n_neurons))
        if epoch < n_epochs and epoch % every == 0:
            kept[epoch // every] = _overlaps(theta, groups)
        noise = NO_NOISE
        if rule.target_noise > 0 and epoch < n_epochs:
            noise = rule.target_noise * stream.target_rng.standard_normal(ready.noise_shape)
        losses[epoch] = network_loss_and_gradient(
            theta, *sizes, ready.a, *phi, ready.k_m, *ready.judging(noise), scratch, gradient
        )
        if epoch == 0:
            limit = loss_limit(losses[0], ready)
        if not losses[epoch] <= limit:
            raise diverged(epoch, rule, losses)
        if epoch == n_epochs:
            break
        if losses[epoch] <= goal:
            rows = np.append(rows[rows < epoch], epoch)
            kept, losses = kept[: len(rows)].copy(), losses[: epoch + 1].copy()
            break
        with np.errstate(over="ignore", invalid="ignore"):
            update.step(theta, gradient, rates[epoch])
        if losses[epoch] < below:
            rates[epoch + 1 :] /= factor
            below = -np.inf  # once
    kept[-1] = _overlaps(theta, groups)
    where = pathway_slices(*sizes)
    final = Loadings(*(theta[where[p]].T for p in PATHWAYS))
    return PopulationNetworkTrajectory(
        kept,
        rows,
        losses,
        np.arange(len(losses)),
        network.fractions,
        sizes,
        seed,
        {**describe(task, rule, nonlinearity, tau), "n_neurons": n_neurons},
        PopulationLoadings(final, network.labels),
    )
