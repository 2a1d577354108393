"""Learning runs that the predictions share: one seed a network, failures kept as rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from joblib import Parallel, delayed

from predictlearn.checks import positive_int
from predictlearn.errors import DivergenceError
from predictlearn.theory.learning import learn
from predictlearn.theory.overlaps import Overlaps
from predictlearn.theory.rules import GradientFlow, Rule
from predictlearn.theory.trials import Task

__all__ = ["Phase", "Run", "child_seeds", "run_all"]


@dataclass(frozen=True)
class Phase:
    """A phase of learning.

    Parameters
    ----------
    task : Task
        What is learned.
    rule : Rule
        How.
    epochs : float
        How long.
    """

    task: Task
    rule: Rule
    epochs: float


@dataclass(frozen=True)
class Run:
    """What came of one network's learning, phase after phase.

    Parameters
    ----------
    epochs : tuple of numpy.ndarray
        Epochs of the losses, by phase.
    losses : tuple of numpy.ndarray
        Losses, by phase.
    ends : tuple of Overlaps
        Overlaps after each phase.
    kept_epochs : tuple of numpy.ndarray
        Epochs of the overlaps that were kept on the way, by phase.
    kept : tuple of numpy.ndarray, (rows, D, D) each
        Those overlaps.
    failure : str
        Empty, or why learning stopped.
    """

    epochs: tuple[np.ndarray, ...]
    losses: tuple[np.ndarray, ...]
    ends: tuple[Overlaps, ...]
    kept_epochs: tuple[np.ndarray, ...] = ()
    kept: tuple[np.ndarray, ...] = ()
    failure: str = ""


def child_seeds(seed: int, n: int) -> list[int]:
    """Return n independent seeds; the first k do not depend on n."""
    positive_int("seed", seed, minimum=0)
    children = np.random.SeedSequence(seed).spawn(n)
    return [int(child.generate_state(1)[0]) for child in children]


def _run(
    start: Overlaps,
    phases: Sequence[Phase],
    nonlinearity: str,
    tau: float,
    seeds: Sequence[int],
    rows: int,
) -> Run:
    """Let one network learn one phase after another."""
    epochs: list[np.ndarray] = []
    losses: list[np.ndarray] = []
    ends: list[Overlaps] = []
    kept: list[tuple[np.ndarray, np.ndarray]] = []
    for number, (phase, seed) in enumerate(zip(phases, seeds, strict=True)):
        every = 1 if isinstance(phase.rule, GradientFlow) else max(1, int(phase.epochs / rows))
        try:
            path = learn(
                start, phase.task, phase.rule, phase.epochs, nonlinearity, tau, seed, every
            )
            start = path.final
        except DivergenceError as error:
            return Run((), (), (), failure=f"phase {number + 1}: {error}")
        epochs.append(np.asarray(path.loss_epochs, dtype=float))
        losses.append(np.asarray(path.losses, dtype=float))
        kept.append((np.asarray(path.epochs, dtype=float), np.asarray(path.array)))
        ends.append(start)
    return Run(
        tuple(epochs),
        tuple(losses),
        tuple(ends),
        tuple(times for times, _ in kept),
        tuple(array for _, array in kept),
    )


def run_all(
    jobs: Sequence[tuple[Overlaps, Sequence[Phase], Sequence[int]]],
    nonlinearity: str,
    tau: float,
    n_jobs: int,
    rows: int = 1,
) -> list[Run]:
    """Run several networks, in parallel if asked; the result does not depend on `n_jobs`.

    Parameters
    ----------
    jobs : sequence of (start, phases, seeds)
        One seed a phase.
    nonlinearity : {"linear", "erf"}
        Which phi.
    tau : float
        Time constant in seconds.
    n_jobs : int
        Number of processes, as in joblib.
    rows : int
        Keep the overlaps at about so many epochs of each phase, beside the start.

    Returns
    -------
    list of Run
        In the order of the jobs.

    Examples
    --------
    >>> import predictlearn as pl
    >>> start = pl.Overlaps(np.eye(4)).replace(zu=0.1, vm=0.1)
    >>> phase = Phase(pl.Filter(duration=5.0), pl.GradientDescent(5e-3), 10)
    >>> run = run_all([(start, [phase], [0])], "linear", 1.0, 1)[0]
    >>> len(run.losses[0]), run.failure
    (11, '')
    """
    return list(
        Parallel(n_jobs=n_jobs)(
            delayed(_run)(start, phases, nonlinearity, tau, seeds, rows)
            for start, phases, seeds in jobs
        )
    )
