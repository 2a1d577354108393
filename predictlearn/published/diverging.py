"""Courses of learners that may leave what networks can have: followed until they diverge."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from predictlearn.errors import DivergenceError
from predictlearn.protocol.engine import PHASE, stream
from predictlearn.protocol.schema import ProtocolSpec
from predictlearn.theory.learning.descent import learn
from predictlearn.theory.learning.rules import Rule
from predictlearn.theory.overlaps import Overlaps
from predictlearn.theory.trials import Task

__all__ = ["Followed", "follow", "phase_seed"]

_NEGATIVE = -1e-9


@dataclass(frozen=True)
class Followed:
    """A course of learning, realisable or not.

    Parameters
    ----------
    array : numpy.ndarray, (rows, D, D)
        Overlap matrices at the recorded epochs; all finite.
    epochs, losses : numpy.ndarray, (rows,)
        Epoch and loss of each row.
    diverged : float
        Epoch at which the loss was no longer finite, NaN if it always was.
    """

    array: np.ndarray
    epochs: np.ndarray
    losses: np.ndarray
    diverged: float

    @property
    def lowest(self) -> float:
        """The smallest eigenvalue of any row."""
        return float(np.linalg.eigvalsh(self.array)[:, 0].min())

    @property
    def left(self) -> float:
        """First recorded epoch at which no network has the overlaps; NaN if there is none."""
        gone = np.flatnonzero(np.linalg.eigvalsh(self.array)[:, 0] < _NEGATIVE)
        return float(self.epochs[gone[0]]) if len(gone) else float("nan")


def phase_seed(seed: int, network: int, task: int, visit: int) -> int:
    """Return the seed of the trials that a network of a protocol sees when it trains a task.

    Parameters
    ----------
    seed : int
        Seed of the run.
    network : int
        Number of the network.
    task : int
        Place of the task in the protocol.
    visit : int
        How often the arm has trained it before.

    Returns
    -------
    int
        A seed for `learn`.
    """
    return int(stream(seed, network, PHASE, task, visit).generate_state(1, np.uint64)[0])


def follow(
    spec: ProtocolSpec, start: Overlaps, task: Task, rule: Rule, epochs: int, seed: int
) -> Followed:
    """Follow a learner, whatever becomes of it.

    A protocol ends an arm whose overlaps no network has; here the course goes on.

    Parameters
    ----------
    spec : ProtocolSpec
        Nonlinearity, time constant, and how often to record.
    start : Overlaps
        Where it starts; may be outside of what networks have.
    task : Task
        What is learned.
    rule : DirectDescent or FirstOrderDescent
        How.
    epochs : int
        For how long.
    seed : int
        Seed of the trials.

    Returns
    -------
    Followed
        The course up to its end, or to where it diverged.

    Examples
    --------
    >>> import predictlearn as pl
    >>> spec = pl.Protocol.load("published-flip-flop").spec
    >>> start = pl.Overlaps(np.eye(4)).replace(zm=0.3, zu=0.3, vm=0.3, vu=0.3)
    >>> task = pl.FlipFlop(dt=0.1, trials=2)
    >>> follow(spec, start, task, pl.DirectDescent(0.05), 20, seed=0).diverged
    nan
    """
    how = (spec.nonlinearity, spec.tau, seed, spec.record_every)
    diverged = float("nan")
    try:
        course = learn(start, task, rule, epochs, *how)
    except DivergenceError as error:
        diverged = float(error.epoch)
        if error.epoch < 2:
            # nothing but the start is finite
            return Followed(start.matrix[None], np.zeros(1), np.full(1, np.nan), diverged)
        course = learn(start, task, rule, error.epoch - 1, *how)
    epochs_kept = np.asarray(course.epochs, dtype=float)
    return Followed(course.array, epochs_kept, course.losses[course.epochs], diverged)
