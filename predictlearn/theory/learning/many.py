"""`learn_many`: many networks learn the same task by the same rule, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from predictlearn.checks import positive, positive_int
from predictlearn.errors import DivergenceError, InputError
from predictlearn.theory.activity import Batch, check_fit
from predictlearn.theory.kernels import descent as steps
from predictlearn.theory.kernels.many import TOGETHER, descend_many, losses_many, many_buffer
from predictlearn.theory.learning import descent as learning
from predictlearn.theory.learning.rules import GradientDescent, Rule, column_rates
from predictlearn.theory.learning.schedules import drop_of, multipliers
from predictlearn.theory.learning.trajectory import Trajectory
from predictlearn.theory.learning.trial_stream import TrialStream
from predictlearn.theory.nonlinearity import Nonlinearity
from predictlearn.theory.overlaps import Overlaps
from predictlearn.theory.trials import Task, Trials
from predictlearn.workers import Parallel, delayed

__all__ = ["FAILURES", "descend_together", "learn_many", "runs_together"]

# How the learning of a network can fail.
FAILURES = (DivergenceError, np.linalg.LinAlgError)
Outcome = Trajectory | DivergenceError | np.linalg.LinAlgError

# Up to so many trials the loops over networks are the faster ones.
_MOST_TRIALS = 2
# Epochs between two looks at rounding, as in `learning`.
_CHUNK = 512


def runs_together(sizes: tuple[int, int, int], ready: Batch, rule: Rule) -> bool:
    """Return whether the loops over networks hold: `learn` takes them for one network, too.

    One input, rank one and one output; linear or erf; the same one or two trials in every epoch,
    without noise; and no closed form, which is faster still.
    """
    return (
        sizes == (1, 1, 1)
        and ready.law is None
        and ready.gain.size <= 1
        and ready.targets.shape[2] <= _MOST_TRIALS
        and type(rule) in learning.KINDS
        and getattr(rule, "target_noise", 0.0) == 0.0
    )


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
    for start in starts:
        check_fit(start, task.n_in, task.n_out, "the task")
    ready = _shared(task, nonlinearity, tau, all_seeds, getattr(rule, "minibatch", None))
    if ready is None or not all(runs_together(start.sizes, ready, rule) for start in starts):
        how = (task, rule, epochs, nonlinearity, tau)
        found: list[Outcome] = Parallel(n_jobs=n_jobs, prefer="threads")(
            delayed(_alone)(start, *how, seed, every, stop_at)
            for start, seed in zip(starts, all_seeds, strict=True)
        )
        return found
    goal = -np.inf if stop_at is None else positive("stop_at", stop_at)
    n_epochs, every = positive_int("epochs", epochs), positive_int("every", every)
    learning.check_memory(n_epochs, every, starts[0].matrix.size)
    settings = learning.describe(task, rule, nonlinearity, tau)
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
        return learning.learn(start, *how)
    except FAILURES as error:
        return error


def descend_together(
    starts: Sequence[Overlaps],
    ready: Batch,
    rule: Any,
    n_epochs: int,
    every: int,
    goal: float,
    seeds: Sequence[int],
    settings: dict[str, Any],
    n_jobs: int = 1,
) -> list[Outcome]:
    """Run epochs of descent of networks for which `runs_together` holds, in blocks of them."""
    blocks = [slice(i, i + TOGETHER) for i in range(0, len(starts), TOGETHER)]

    def run(block: slice) -> list[Outcome]:
        """Run one block."""
        return _Block(starts[block], ready, rule, n_epochs, every, goal, settings).run(seeds[block])

    if len(blocks) == 1:
        return run(blocks[0])
    found = Parallel(n_jobs=n_jobs, prefer="threads")(delayed(run)(block) for block in blocks)
    return [outcome for outcomes in found for outcome in outcomes]


class _Block:
    """Networks that learn side by side."""

    def __init__(
        self,
        starts: Sequence[Overlaps],
        ready: Batch,
        rule: Any,
        n_epochs: int,
        every: int,
        goal: float,
        settings: dict[str, Any],
    ) -> None:
        self.starts, self.ready, self.rule = starts, ready, rule
        self.n_epochs, self.every, self.goal, self.settings = n_epochs, every, goal, settings
        self.trials = (
            ready.a,
            ready.gain.size == 1,
            ready.k_m,
            ready.targets,
            ready.weights,
            float(ready.offset[0]),
            float(ready.smoothing[0, 0]),
            ready.direct,
        )
        width = len(starts)
        self.buffer = many_buffer(ready.k_m.shape[0], width)
        self.joints = np.zeros((width, 3, 4, 4))
        self.joints[:, 0] = [start.matrix for start in starts]
        self.kept = np.empty((width, len(learning.kept_epochs(n_epochs, every)), 4, 4))
        self.losses = np.empty((width, n_epochs + 1))
        self.why = np.zeros(width, dtype=np.int64)
        self.ended = np.full(width, n_epochs)
        self.projections = np.zeros(width, dtype=np.int64)
        self.errors: list[DivergenceError | np.linalg.LinAlgError | None] = [None] * width

    def run(self, seeds: Sequence[int]) -> list[Outcome]:
        """Run all epochs, and return what became of each network."""
        ready, n_epochs = self.ready, self.n_epochs
        now = self._losses()
        self.limits = np.array([learning.loss_limit(value, ready) for value in now])
        full = (
            self.rule if isinstance(self.rule, GradientDescent) else GradientDescent(self.rule.rate)
        )
        kind = learning.KINDS[type(self.rule)]
        dropped, ran = np.zeros(len(self.starts), dtype=np.bool_), np.zeros_like(self.ended)
        how = (
            kind,
            self.rule.rate,
            multipliers(self.rule.schedule, n_epochs),
            *drop_of(self.rule.schedule),
            dropped,
            column_rates(full.pathway_rates, (1, 1, 1)),
            full.momentum,
            full.weight_decay,
            full.synaptic_noise,
            self.limits,
            self.goal,
            *self.trials,
            self.buffer,
            self.losses,
            self.kept,
            ran,
            self.why,
        )
        for done in range(0, n_epochs, _CHUNK):
            running = self.why == steps.RUNNING
            if not running.any():
                break
            count = min(_CHUNK, n_epochs - done)
            descend_many(self.joints, count, self.every, done, *how)
            self.ended[running] = done + ran[running]
            if kind == steps.CONGRUENCE:
                for i in np.flatnonzero(self.why == steps.RUNNING):
                    self._project(int(i), done + count)
        last = self._losses()
        return [self._outcome(i, seed, last[i]) for i, seed in enumerate(seeds)]

    def _losses(self) -> np.ndarray:
        """Return the loss of every network as it is."""
        values = np.empty(len(self.starts))
        losses_many(self.joints, *self.trials, self.buffer, values)
        return values

    def _project(self, i: int, epoch: int) -> None:
        """Undo what rounding did to one network's overlaps, or end its learning."""
        try:
            self.projections[i] += learning.project_onto_cone(self.joints[i, 0], epoch)
        except FAILURES as error:
            self.errors[i] = error
            self.why[i] = steps.DIVERGED

    def _outcome(self, i: int, seed: int, last: float) -> Outcome:
        """Return what became of a network; `last` is its loss after the last epoch."""
        if (error := self.errors[i]) is not None:
            return error
        ended, losses, kept = int(self.ended[i]), self.losses[i], self.kept[i]
        rows = learning.kept_epochs(self.n_epochs, self.every)
        if self.why[i] == steps.DIVERGED:
            advice = ""
            if isinstance(self.rule, GradientDescent) and np.isfinite(losses[0]):
                advice = learning.stable_rates_said(self.starts[i], self.ready, self.rule)
            return learning.diverged(ended, self.rule, losses, advice)
        if self.why[i] == steps.REACHED:
            rows = np.append(rows[rows < ended], ended)
            losses = losses[: ended + 1]
        else:
            losses[-1] = last
        # copies, so that a network kept does not keep its whole block
        kept, losses = kept[: len(rows)].copy(), losses.copy()
        kept[-1] = self.joints[i, 0]
        if not (losses[-1] <= self.limits[i] and np.all(np.isfinite(kept[-1]))):
            return learning.diverged(self.n_epochs, self.rule, losses)
        settings = {**self.settings, "projections": int(self.projections[i])}
        return Trajectory(kept, rows, losses, np.arange(len(losses)), (1, 1, 1), seed, settings)
