"""Simulated animals: networks with hidden overlaps and rates of their own, trained by trials."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import numpy as np

from predictlearn.arrays import Array
from predictlearn.behaviour.courses import Probe
from predictlearn.errors import DivergenceError
from predictlearn.predictions.laboratory.learner import Learner
from predictlearn.predictions.laboratory.tasks import TAU
from predictlearn.tasks.arrays import ArrayTask
from predictlearn.theory.activity import simulate
from predictlearn.theory.hidden_prior import HiddenPrior
from predictlearn.theory.learning.descent import learn
from predictlearn.theory.overlaps import Overlaps
from predictlearn.theory.synapses.network import Factors, Synapses

__all__ = ["Animal", "naive_networks"]

# The largest step of descent in one update: below it courses are those of gradient flow.
_STEP = 5e-3
# Updates between two points at most; where they diverge, so many times more, twice.
_MOST = 8
_FINER = (4, 8)
# Points of a session at which outputs are worked out.
POINTS = 4
# What a naive network shows: overlaps in which activity reaches the readout, and their spread.
_DRIVE, _DECAY, _SPREAD = 0.4, 0.4, 0.05


def naive_networks(
    n: int, seed: int, n_in: int = 2, rank: int = 2, n_out: int = 1
) -> list[Overlaps]:
    """Draw networks before training: alike in what a recording shows, unlike in what it hides.

    Parameters
    ----------
    n : int
        How many.
    seed : int
        Seed.
    n_in, rank, n_out : int
        Sizes; with more than one recurrent dimension one a direction of input and output.

    Returns
    -------
    list of Overlaps
        Recordable overlaps are normal with sd 0.05 about norms of 1, a drive of 0.4 from inputs to
        recurrent dimensions, from these to themselves and to outputs, and 0 else. Hidden overlaps
        are drawn by `HiddenPrior`, so that animals learn at different speeds.

    Examples
    --------
    >>> [network.n_in for network in naive_networks(2, seed=0)]
    [2, 2]
    """
    rng = np.random.default_rng(seed)
    means = np.zeros((2 * rank + n_in + n_out,) * 2)
    b, v, z = n_in + rank, slice(n_in + rank, n_in + 2 * rank), slice(n_in + 2 * rank, None)
    means[:b, :b] = np.eye(b)
    means[v, :n_in] = _DRIVE * (np.ones((rank, n_in)) if n_out == 1 else np.eye(rank, n_in))
    means[v, n_in:b] = _DRIVE * np.eye(rank)
    # one output is driven by two recurrent dimensions in opposite directions
    means[z, n_in:b] = _DRIVE * (np.array([[1.0, -1.0]]) if n_out == 1 else np.eye(n_out, rank))
    table = Overlaps(np.eye(len(means)), n_in, rank, n_out)
    drawn = []
    for _ in range(n):
        seen = {
            name: means[max(place), min(place)] + _SPREAD * rng.standard_normal()
            for name in table.recordable_names()
            for place in [table.index(name)]
        }
        one_seed = int(rng.integers(2**31))
        drawn += HiddenPrior().draw(seen, n_in, rank, n_out, n=1, seed=one_seed)
    return drawn


@lru_cache(maxsize=64)
def _probe(task: ArrayTask) -> Probe:
    """Return what outputs of a task are read in."""
    return Probe(task.sample(), "linear", TAU, None)


def _outputs(task: ArrayTask, rows: Array, sizes: tuple[int, int, int]) -> Array:
    """Return mean outputs during the answer, in a closed loop over the whole trial."""
    if task.world is None:
        return _probe(task).outputs(rows, sizes)
    trials = task.sample()
    return np.array(
        [simulate(Overlaps(s, *sizes), trials, "linear", TAU).outputs.mean(axis=1) for s in rows]
    )


def _as_overlaps(network: Overlaps | Factors | Synapses) -> Overlaps:
    """Return overlaps of a network that does the same as this one."""
    if isinstance(network, Overlaps):
        return network
    if isinstance(network, Factors):
        return network.overlaps
    # W = W I': a network of rank D
    theta = np.hstack([network.m, network.w, np.eye(network.dim), network.z])
    return Overlaps(theta.T @ theta, network.n_in, network.dim, network.n_out)


@dataclass
class Animal:
    """A simulated animal, which changes as it is trained.

    Parameters
    ----------
    network : Overlaps, Factors or Synapses
        What it is now.
    rate : float
        Learning time of one trial.
    learner : Learner
        What learns in it, and how.
    seed : int
        Seed of noise on its targets.
    """

    network: Any
    rate: float
    learner: Learner = field(default_factory=Learner)
    seed: int = 0

    def outputs(self, task: ArrayTask) -> Array:
        """Return mean outputs during the answer, (stimuli, n_out)."""
        now = _as_overlaps(self.network)
        return _outputs(task, now.matrix[None], now.sizes)[0]

    def copy(self) -> Animal:
        """Return the same animal, to be trained in another way."""
        return replace(self)

    def train(
        self,
        task: ArrayTask,
        trials: float,
        sessions: int = 1,
        *,
        read: bool = True,
        unreliable: float = 0.0,
        drug: Mapping[str, float] | None = None,
    ) -> Array:
        """Train, and return outputs along the way.

        Parameters
        ----------
        task : ArrayTask
            What is trained.
        trials : float
            Trials of a session; with a rate of 1, its learning time.
        sessions : int, default 1
            Sessions.
        read : bool, default True
            Work out outputs; else there are none to return.
        unreliable : float, default 0.0
            Standard deviation, over trials, of the noise on the feedback.
        drug : mapping, optional
            Rates of pathways that a drug changes, see `Learner.rule_of`.

        Returns
        -------
        numpy.ndarray, (sessions, points, stimuli, n_out)
            Outputs at points within each session, without drug or noise on them.
        """
        points = POINTS * sessions
        time = self.rate * trials / POINTS
        # an update stands for so many trials, over which noise averages; the answer lasts several
        # bins, over which the noise of single bins averages
        bins = np.count_nonzero(task.weights[0, :, 0])
        self.seed += 1
        updates = min(max(1, int(np.ceil(time / _STEP))), _MOST)
        for finer in (*_FINER, None):
            noise = unreliable * np.sqrt(bins * POINTS * updates / trials)
            try:
                found = learn(
                    self.network,
                    task,
                    self.learner.rule_of(time / updates, noise, drug),
                    points * updates,
                    tau=TAU,
                    seed=self.seed,
                    every=updates,
                    learns=self._learns(),
                )
                break
            except DivergenceError:
                if finer is None:
                    raise
                updates *= finer
        # what goes on learning: overlaps, or a network in its span with feedback
        self.network = found.final if self.learner.plain else getattr(found, "end", found.final)
        if not read:
            return np.empty((sessions, 0))
        rows, sizes = _rows(found)
        outputs = _outputs(task, rows, sizes)
        middle = (outputs[1:] + outputs[:-1]) / 2
        return np.asarray(middle.reshape(sessions, POINTS, *middle.shape[1:]))

    def _learns(self) -> str | None:
        """Return what `learn` is told; later it sees it from the network."""
        plain = self.learner.plain or not isinstance(self.network, Overlaps)
        return None if plain else self.learner.learns

    def power(self, task: ArrayTask) -> float:
        """Return the mean squared activity of the neurons over a trial, an average over neurons."""
        return float(np.trace(self.geometry(task)) / task.inputs.shape[1])

    def geometry(self, task: ArrayTask, bins: Any = None) -> Array:
        """Return inner products of population activity between bins of the first trial, over N.

        What a recording of many neurons shows whatever basis it is in, (bins, bins).
        """
        now = _as_overlaps(self.network)
        found = simulate(now, task.sample(), "linear", TAU)
        k = np.concatenate([found.k_m[0], found.k_u[0]], axis=1)
        k = k if bins is None else k[list(bins)]
        b = now.n_in + now.rank
        return np.asarray(k @ now.matrix[:b, :b] @ k.T)

    def strengths(self) -> dict[str, float]:
        """Return summed squared strength of the synapses "in" (inputs) and "out" (readout)."""
        if isinstance(self.network, Synapses):
            return {"in": float(np.sum(self.network.m**2)), "out": float(np.sum(self.network.z**2))}
        now = _as_overlaps(self.network)
        return {p: float(np.trace(now.block(x, x))) for p, x in (("in", "m"), ("out", "z"))}

    def turn(self, degrees: float) -> None:
        """Turn the two outputs: the same activity now moves the cursor in another direction."""
        angle = np.deg2rad(degrees)
        back = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        if not isinstance(self.network, Overlaps):
            # feedback to the neurons stays what it was
            self.network = replace(self.network, z=self.network.z @ back)
            return
        step = np.eye(self.network.dim)
        step[-2:, -2:] = back
        self.network = Overlaps(step.T @ self.network.matrix @ step, *self.network.sizes)


def _rows(found: Any) -> tuple[Array, tuple[int, int, int]]:
    """Return overlap matrices along learning, and their sizes."""
    if hasattr(found, "array"):
        return found.array, found.sizes
    tables = [_as_overlaps(found.at(k)) for k in range(len(found.epochs))]
    return np.array([t.matrix for t in tables]), tables[0].sizes
