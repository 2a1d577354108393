"""Training of an N-neuron network, followed population by population."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np

from predictlearn.errors import InputError
from predictlearn.network.training import follow
from predictlearn.theory.learning.epochs import describe
from predictlearn.theory.learning.rules import GradientDescent
from predictlearn.theory.learning.synaptic_rules import SynapticRule
from predictlearn.theory.nonlinearity import Nonlinearity
from predictlearn.theory.populations.learning import PopulationTrajectory
from predictlearn.theory.populations.populations import PopulationLoadings
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
    if not isinstance(network, PopulationLoadings):
        raise InputError(
            "network must be a PopulationLoadings, as Populations.loadings(n_neurons) returns; "
            f"got {type(network).__name__}."
        )
    groups = [np.flatnonzero(network.labels == p + 1) for p in range(network.n_populations)]
    run = follow(
        network.loadings, task, rule, epochs, nonlinearity, tau, seed, every, stop_at,
        partial(_overlaps, groups=groups),
    )  # fmt: skip
    return PopulationNetworkTrajectory(
        run.kept,
        run.rows,
        run.losses,
        np.arange(len(run.losses)),
        network.fractions,
        run.sizes,
        seed,
        {**describe(task, rule, nonlinearity, tau), "n_neurons": run.loadings.n_neurons},
        PopulationLoadings(run.loadings, network.labels),
    )
