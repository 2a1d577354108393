"""Learning of populations in overlap space: each by its own congruence, coupled by activity."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd

from predictlearn.checks import positive, positive_int
from predictlearn.errors import InputError
from predictlearn.theory.learning.epochs import check_memory, describe, kept_epochs, run_epochs
from predictlearn.theory.learning.rules import GradientDescent
from predictlearn.theory.learning.trajectory import Trajectory
from predictlearn.theory.learning.trial_stream import TrialStream
from predictlearn.theory.names import overlap_names, table_pairs
from predictlearn.theory.nonlinearity import Nonlinearity
from predictlearn.theory.populations.activity import check_populations, evaluate, room_for
from predictlearn.theory.populations.populations import Populations
from predictlearn.theory.trials import Task

__all__ = ["PopulationTrajectory", "learn_populations"]


@dataclass(frozen=True)
class PopulationTrajectory:
    """Overlaps of every population, and the loss, along learning.

    Parameters
    ----------
    array : numpy.ndarray, (rows, P, D, D)
        Overlap matrices before each of `epochs`, the start first and the final state last.
    epochs : numpy.ndarray, (rows,)
        Epoch of each row.
    losses : numpy.ndarray
        Loss at each of `loss_epochs`, on that epoch's trials and clean targets.
    loss_epochs : numpy.ndarray
        Where the loss was taken: every epoch, 0 to the last.
    fractions : tuple of float
        Share of each population.
    sizes : tuple of int
        (n_in, rank, n_out).
    seed : int
        Seed of trials and noise.
    settings : mapping
        Task, rule, nonlinearity, tau and software version, as text.
    """

    array: np.ndarray
    epochs: np.ndarray
    losses: np.ndarray
    loss_epochs: np.ndarray
    fractions: tuple[float, ...]
    sizes: tuple[int, int, int]
    seed: int
    settings: Mapping[str, Any]

    def __post_init__(self) -> None:
        for name in ("array", "epochs", "losses", "loss_epochs"):
            array = np.asarray(getattr(self, name))
            array.flags.writeable = False
            object.__setattr__(self, name, array)
        object.__setattr__(self, "settings", MappingProxyType(dict(self.settings)))

    @property
    def overlaps(self) -> pd.DataFrame:
        """Overlaps, one row an epoch kept; columns (population, overlap), populations from 1."""
        rows, columns = zip(*table_pairs(*self.sizes).values(), strict=True)
        values = self.array[:, :, list(rows), list(columns)]
        names = pd.MultiIndex.from_product(
            [range(1, len(self.fractions) + 1), overlap_names(*self.sizes)],
            names=["population", "overlap"],
        )
        return pd.DataFrame(
            values.reshape(len(values), -1),
            index=pd.Index(self.epochs, name="epoch"),
            columns=names,
        )

    @property
    def loss(self) -> pd.Series:
        """Loss by epoch."""
        return pd.Series(self.losses, index=pd.Index(self.loss_epochs, name="epoch"), name="loss")

    @property
    def start(self) -> Populations:
        """Populations before learning."""
        return Populations.from_array(self.fractions, self.array[0], self.sizes)

    @property
    def final(self) -> Populations:
        """Populations after the last update."""
        return Populations.from_array(self.fractions, self.array[-1], self.sizes)

    @property
    def total(self) -> Trajectory:
        """The overlaps of all neurons together, as a trajectory of one population."""
        return self._like(np.tensordot(self.array, self.fractions, axes=(1, 0)))

    def of(self, population: int) -> Trajectory:
        """Return the trajectory of one population, counted from 1, or raise InputError."""
        return self._like(self.array[:, self.start.place(population)])

    def _like(self, array: np.ndarray) -> Trajectory:
        """Return a trajectory with other overlaps, (rows, D, D)."""
        return Trajectory(
            array, self.epochs, self.losses, self.loss_epochs, self.sizes, self.seed, self.settings
        )

    def tidy(self) -> pd.DataFrame:
        """Return a tidy table: one row for each epoch kept, population and overlap."""
        table = self.overlaps.stack(["population", "overlap"], future_stack=True)
        return table.rename("value").reset_index()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "settings": dict(self.settings)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        object.__setattr__(self, "settings", MappingProxyType(self.settings))


def learn_populations(
    populations: Populations,
    task: Task,
    rule: GradientDescent,
    epochs: int,
    nonlinearity: str | Nonlinearity = "erf",
    tau: float = 1.0,
    seed: int = 0,
    every: int = 1,
    stop_at: float | None = None,
) -> PopulationTrajectory:
    """Integrate the learning of a task by a network of populations, in overlap space.

    Parameters
    ----------
    populations : Populations
        The network before learning.
    task : Task
        What is learned.
    rule : GradientDescent
        How the loadings move; all its settings hold.
    epochs : int
        Number of updates.
    nonlinearity : {"linear", "erf", "tanh"} or Nonlinearity
        Which phi. The linear theory is exact at every N; any other carries a closure error, since
        learning makes the loadings of a population non-Gaussian.
    tau : float, default 1.0
        Time constant in seconds.
    seed : int, default 0
        Seed of trials and noise; the same trials as in `learn`.
    every : int, default 1
        Keep the overlaps of every so many epochs, and the last; the loss is kept for every epoch.
    stop_at : float, optional
        Stop before the update of the first epoch whose loss is at or below this.

    Returns
    -------
    PopulationTrajectory
        Overlaps of every population and the loss along learning.

    Raises
    ------
    InputError
        If an argument is out of range or task and populations do not fit.
    DivergenceError
        If the loss runs away or is not finite; it carries the epoch.

    Notes
    -----
    With A_p from `population_loss_and_derivative`, descent at rate N eta on all loadings is
    Theta_p <- Theta_p (1 - eta A_p), hence S_p <- (1 - eta A_p)' S_p (1 - eta A_p): each population
    learns by a congruence of its own, in the activity of all. One population is `learn`.

    Examples
    --------
    >>> import predictlearn as pl
    >>> start = pl.Populations.random(2, seed=1)
    >>> t = learn_populations(start, pl.Filter(duration=5.0), pl.GradientDescent(5e-3), 300)
    >>> bool(t.losses[-1] < 0.5 * t.losses[0])
    True
    >>> t.overlaps[2].columns[:4].tolist()  # those of population 2
    ['zm', 'zu', 'vm', 'vu']
    """
    if not isinstance(rule, GradientDescent):
        raise InputError(
            f"rule must be a GradientDescent for populations; got {type(rule).__name__}."
        )
    stream = TrialStream(task, nonlinearity, tau, seed, rule.minibatch)
    check_populations(populations, task.n_in, task.n_out, "the task")
    n_epochs, every = positive_int("epochs", epochs), positive_int("every", every)
    goal = -np.inf if stop_at is None else positive("stop_at", stop_at)
    n_groups, dim, sizes = populations.n_populations, populations.dim, populations.sizes
    check_memory(n_epochs, every, n_groups * dim * dim)
    joints, fractions = np.zeros((n_groups, 3, dim, dim)), np.asarray(populations.fractions)
    joints[:, 0] = populations.array
    ran = run_epochs(
        joints,
        sizes,
        stream,
        rule,
        n_epochs,
        kept_epochs(n_epochs, every),
        goal=goal,
        fractions=fractions,
        evaluate=lambda ready: evaluate(joints[:, 0], fractions, sizes, ready),
        room=lambda ready: room_for(ready, n_groups, sizes[1]),
    )
    return PopulationTrajectory(
        ran.kept,
        ran.rows,
        ran.losses,
        np.arange(len(ran.losses)),
        populations.fractions,
        sizes,
        seed,
        {**describe(task, rule, nonlinearity, tau), "projections": ran.projections},
    )
