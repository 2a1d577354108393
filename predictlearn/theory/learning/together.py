"""Epochs of descent of many networks on the same one or two trials, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from predictlearn.errors import DivergenceError
from predictlearn.theory.activity import Batch
from predictlearn.theory.kernels import descent as steps
from predictlearn.theory.kernels.arguments import Record, Span
from predictlearn.theory.kernels.many import TOGETHER, descend_many, many_buffer
from predictlearn.theory.learning import epochs
from predictlearn.theory.learning.rules import GradientDescent, Rule
from predictlearn.theory.learning.trajectory import Trajectory
from predictlearn.theory.overlaps import Overlaps
from predictlearn.workers import Parallel, delayed

__all__ = ["FAILURES", "Outcome", "descend_together", "runs_together"]

# How the learning of a network can fail.
FAILURES = (DivergenceError, np.linalg.LinAlgError)
Outcome = Trajectory | DivergenceError | np.linalg.LinAlgError

# Up to so many trials the loops over networks are the faster ones.
_MOST_TRIALS = 2


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
        and type(rule) in epochs.KINDS
        and getattr(rule, "target_noise", 0.0) == 0.0
    )


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
        self.shown = ready.shown()
        width = len(starts)
        self.buffer = many_buffer(ready.k_m.shape[0], width)
        self.joints = np.zeros((width, 3, 4, 4))
        self.joints[:, 0] = [start.matrix for start in starts]
        self.kept = np.empty((width, len(epochs.kept_epochs(n_epochs, every)), 4, 4))
        self.losses = np.empty((width, n_epochs + 1))
        self.why = np.zeros(width, dtype=np.int64)
        self.ended = np.full(width, n_epochs)
        self.step = epochs.step_of(rule, (1, 1, 1), n_epochs)
        self.dropped, self.ran = np.zeros(width, dtype=np.bool_), np.zeros_like(self.ended)
        self.projections = np.zeros(width, dtype=np.int64)
        self.errors: list[DivergenceError | np.linalg.LinAlgError | None] = [None] * width

    def run(self, seeds: Sequence[int]) -> list[Outcome]:
        """Run all epochs, and return what became of each network."""
        ready, n_epochs = self.ready, self.n_epochs
        now = self._losses()
        self.limits = np.array([epochs.loss_limit(value, ready) for value in now])
        row_of = epochs.rows_of(epochs.kept_epochs(n_epochs, self.every), n_epochs)
        record = Record(self.limits, self.goal, row_of, self.losses, self.kept)
        for done in range(0, n_epochs, epochs.CHUNK):
            running = self.why == steps.RUNNING
            if not running.any():
                break
            span = Span(done, min(epochs.CHUNK, n_epochs - done), False)
            self._descend(span, record, self.why)
            self.ended[running] = done + self.ran[running]
            if self.step.kind == steps.CONGRUENCE:
                for i in np.flatnonzero(self.why == steps.RUNNING):
                    self._project(int(i), done + span.n_epochs)
        last = self._losses()
        return [self._outcome(i, seed, last[i]) for i, seed in enumerate(seeds)]

    def _losses(self) -> np.ndarray:
        """Return the loss of every network as it is: that of an epoch which is enough for all."""
        width = len(self.starts)
        losses, enough = np.empty((width, 1)), np.full(width, np.inf)
        record = Record(enough, np.inf, np.full(1, -1), losses, self.kept)
        self._descend(Span(0, 1, False), record, np.zeros_like(self.why))
        return losses[:, 0]

    def _descend(self, span: Span, record: Record, why: np.ndarray) -> None:
        """Run epochs of the networks that `why` says are running."""
        descend_many(
            self.joints,
            span,
            self.step,
            record,
            self.shown,
            self.buffer,
            self.dropped,
            self.ran,
            why,
        )

    def _project(self, i: int, epoch: int) -> None:
        """Undo what rounding did to one network's overlaps, or end its learning."""
        try:
            self.projections[i] += epochs.project_onto_cone(self.joints[i, 0], epoch)
        except FAILURES as error:
            self.errors[i] = error
            self.why[i] = steps.DIVERGED

    def _outcome(self, i: int, seed: int, last: float) -> Outcome:
        """Return what became of a network; `last` is its loss after the last epoch."""
        if (error := self.errors[i]) is not None:
            return error
        ended, losses, kept = int(self.ended[i]), self.losses[i], self.kept[i]
        rows = epochs.kept_epochs(self.n_epochs, self.every)
        if self.why[i] == steps.DIVERGED:
            advice = ""
            if isinstance(self.rule, GradientDescent) and np.isfinite(losses[0]):
                advice = epochs.stable_rates_said(self.starts[i], self.ready, self.rule)
            return epochs.diverged(ended, self.rule, losses, advice)
        if self.why[i] == steps.REACHED:
            rows = np.append(rows[rows < ended], ended)
            losses = losses[: ended + 1]
        else:
            losses[-1] = last
        # copies, so that a network kept does not keep its whole block
        kept, losses = kept[: len(rows)].copy(), losses.copy()
        kept[-1] = self.joints[i, 0]
        if not (losses[-1] <= self.limits[i] and np.all(np.isfinite(kept[-1]))):
            return epochs.diverged(self.n_epochs, self.rule, losses)
        settings = {**self.settings, "projections": int(self.projections[i])}
        return Trajectory(kept, rows, losses, np.arange(len(losses)), (1, 1, 1), seed, settings)
