"""`learn_many`: many networks learn the same task by the same rule, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from predictlearn.checks import positive, positive_int
from predictlearn.errors import InputError
from predictlearn.theory.activity import Batch, check_fit
from predictlearn.theory.learning.descent import learn
from predictlearn.theory.learning.epochs import check_memory, describe
from predictlearn.theory.learning.rules import Rule
from predictlearn.theory.learning.together import FAILURES, Outcome, descend_together, runs_together
from predictlearn.theory.learning.trial_stream import TrialStream
from predictlearn.theory.nonlinearity import Nonlinearity
from predictlearn.theory.overlaps import Overlaps
from predictlearn.theory.trials import Task, Trials
from predictlearn.workers import Parallel, delayed

__all__ = ["learn_many"]


def learn_many(
    starts: Sequence[Overlaps],
    task: Task,
    rule: Rule,
    epochs: float,
    nonlinearity: str | Nonlinearity = "linear",
    tau: float = 1.0,
    seeds: int | Sequence[int] = 0,
    every: int = 1,
    stop_at: float | None = None,
    n_jobs: int = 1,
) -> list[Outcome]:
    """Integrate the learning of one task by many networks.

    Where networks have one input, rank one and one output and the task shows the same one or two
    trials in every epoch, one compiled loop runs many of them at a time; else one runs after
    another.

    Parameters
    ----------
    starts : sequence of Overlaps
        The networks before learning.
    task, rule, epochs, nonlinearity, tau, every, stop_at
        As in `learn`, the same for all.
    seeds : int or sequence of int, default 0
        Seed of trials and noise, the same for all or one a network.
    n_jobs : int, default 1
        Threads. The result does not depend on it.

    Returns
    -------
    list of Trajectory or exception
        What `learn` gives for each network, bit for bit; for one whose learning diverged its
        DivergenceError (or LinAlgError), which does not touch the others.

    Raises
    ------
    InputError
        If an argument is out of range, or task and overlaps do not fit.

    Examples
    --------
    >>> import numpy as np
    >>> import predictlearn as pl
    >>> starts = [pl.Overlaps(np.eye(4)).replace(zu=x, vm=0.1) for x in (0.1, 0.2)]
    >>> learned = pl.learn_many(starts, pl.Filter(), pl.GradientDescent(5e-3), 20, "erf")
    >>> alone = pl.learn(starts[1], pl.Filter(), pl.GradientDescent(5e-3), 20, "erf")
    >>> bool(np.array_equal(learned[1].array, alone.array))
    True
    """
    starts = tuple(starts)
    if n_jobs != -1:
        positive_int("n_jobs", n_jobs)
    all_seeds = [seeds] * len(starts) if isinstance(seeds, int | np.integer) else list(seeds)
    if len(all_seeds) != len(starts):
        raise InputError(f"seeds must be one, or one a start, {len(starts)}; got {len(all_seeds)}.")
    if not starts:
        return []
    ready = _shared(task, nonlinearity, tau, all_seeds, getattr(rule, "minibatch", None))
    for start in starts:
        check_fit(start, task.n_in, task.n_out, "the task")
    if ready is None or not all(runs_together(start.sizes, ready, rule) for start in starts):
        how = (task, rule, epochs, nonlinearity, tau)
        found: list[Outcome] = Parallel(n_jobs=n_jobs, prefer="threads")(
            delayed(_alone)(start, *how, seed, every, stop_at)
            for start, seed in zip(starts, all_seeds, strict=True)
        )
        return found
    goal = -np.inf if stop_at is None else positive("stop_at", stop_at)
    n_epochs, every = positive_int("epochs", epochs), positive_int("every", every)
    check_memory(n_epochs, every, sum(start.matrix.size for start in starts))
    settings = describe(task, rule, nonlinearity, tau)
    return descend_together(starts, ready, rule, n_epochs, every, goal, all_seeds, settings, n_jobs)


def _shared(
    task: Task,
    nonlinearity: str | Nonlinearity,
    tau: float,
    seeds: Sequence[int],
    minibatch: int | None,
) -> Batch | None:
    """Return the trials that all networks see in all epochs; None if there are none such."""
    first: TrialStream | None = None
    for seed in dict.fromkeys(seeds):
        stream = TrialStream(task, nonlinearity, tau, seed, minibatch)
        if not stream.constant:
            return None
        if first is None:
            first, trials = stream, task.sample(stream.trial_rng)
        # a task may draw its fixed trials by the seed
        elif not _same(trials, task.sample(stream.trial_rng)):
            return None
    return None if first is None else Batch(trials, nonlinearity, tau)


def _same(one: Trials, other: Trials) -> bool:
    """Return whether trials are the same numbers."""
    names = ("inputs", "targets", "weights", "offset", "smoothing")
    return one is other or (
        one.dt == other.dt
        and all(np.array_equal(getattr(one, name), getattr(other, name)) for name in names)
    )


def _alone(start: Overlaps, *how: Any) -> Outcome:
    """Return what `learn` gives for one network, or how it failed."""
    try:
        return learn(start, *how)
    except FAILURES as error:
        return error
