"""The trials and the noise of every epoch of learning."""

from __future__ import annotations

import copy

import numpy as np

from predictlearn.checks import positive_int
from predictlearn.errors import InputError
from predictlearn.theory.activity import Batch
from predictlearn.theory.nonlinearity import Nonlinearity
from predictlearn.theory.trials import Task

__all__ = ["TrialStream", "subset"]


class TrialStream:
    """The trials and the noise of every epoch, the same for theory and network from one seed.

    Parameters
    ----------
    task : Task
        What is learned.
    nonlinearity : {"linear", "erf", "tanh"} or Nonlinearity
        Which phi.
    tau : float
        Time constant in seconds.
    seed : int
        Seed; trials, target noise, synaptic noise, minibatches, perturbations of neurons and random
        feedback have independent streams.
    minibatch : int, optional
        Trials an epoch, picked at random among those that the task shows; all if not given.

    Raises
    ------
    InputError
        If the task is not one, or the seed is not a whole number of at least 0.
    """

    def __init__(
        self,
        task: Task,
        nonlinearity: str | Nonlinearity,
        tau: float,
        seed: int,
        minibatch: int | None = None,
    ) -> None:
        positive_int("seed", seed, minimum=0)
        if not isinstance(task, Task):
            raise InputError(
                "task must have n_in, n_out, dt, fixed and sample(rng), as pl.Filter() has; "
                f"got {type(task).__name__}."
            )
        children = np.random.SeedSequence(seed).spawn(6)
        rngs = [np.random.default_rng(child) for child in children]
        self.trial_rng, self.target_rng, self.synapse_rng, self._pick_rng = rngs[:4]
        self.neuron_rng, self.feedback_rng = rngs[4:]
        self.task, self.nonlinearity, self.tau = task, nonlinearity, tau
        self.minibatch = minibatch
        self._fixed: Batch | None = None

    @property
    def constant(self) -> bool:
        """Whether every epoch shows the same trials, all of them."""
        return self.task.fixed and self.minibatch is None

    def next(self) -> Batch:
        """Return the next epoch's trials, prepared; InputError if a minibatch has too few."""
        ready = self._fixed
        if ready is None:
            ready = Batch(self.task.sample(self.trial_rng), self.nonlinearity, self.tau)
            if self.task.fixed:
                self._fixed = ready
        if self.minibatch is None:
            return ready
        n_trials = ready.targets.shape[2]
        if self.minibatch > n_trials:
            raise InputError(
                f"minibatch must be at most the number of trials of the task, {n_trials}; "
                f"got {self.minibatch}."
            )
        # in order, so that all trials are the whole batch bit for bit
        picked = np.sort(self._pick_rng.choice(n_trials, self.minibatch, replace=False))
        return subset(ready, picked)


def subset(ready: Batch, trials: np.ndarray) -> Batch:
    """Return some of the prepared trials, their weights scaled to stand for all of them.

    Parameters
    ----------
    ready : Batch
        All trials.
    trials : numpy.ndarray of int, (k,)
        Which to take.

    Returns
    -------
    Batch
        The trials; weights are multiplied by n / k, so the mean loss over random subsets is the
        loss on all trials.
    """
    part = copy.copy(ready)
    # the closed form is that of all trials
    part.law, part._impulses, part._shown = None, {}, None
    for name in ("inputs", "k_m", "targets", "weights"):
        setattr(part, name, np.take(getattr(ready, name), trials, axis=2))
    part.weights *= ready.targets.shape[2] / len(trials)
    return part
