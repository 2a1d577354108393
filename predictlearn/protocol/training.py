"""Training for so many epochs or to a criterion, and probes in which nothing is learned."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from predictlearn.errors import InputError
from predictlearn.protocol.forgetting import Forgotten
from predictlearn.protocol.phase import UntilSpec
from predictlearn.protocol.rule import RuleSpec
from predictlearn.protocol.state import Course, NetworkState, course_of, flow_rate
from predictlearn.tasks.registry import AnyTask
from predictlearn.theory.learning.epochs import kept_epochs
from predictlearn.theory.learning.trial_stream import TrialStream
from predictlearn.theory.trials import Trials

__all__ = ["NotRealisableError", "StopCriterion", "Training", "criterion_of", "probe"]

# of a loss at which gradient flow ended, found as a root of its interpolant
_ROUNDING = 1e-6


class NotRealisableError(InputError):
    """Learning led to overlaps that no network has.

    Parameters
    ----------
    epoch : float
        When.
    error : InputError
        Why there is none.
    """

    def __init__(self, epoch: float, error: InputError) -> None:
        super().__init__(f"learning led to overlaps that no network has: {error}")
        self.epoch = epoch


@dataclass(frozen=True)
class StopCriterion:
    """When a phase ends: at the first epoch whose loss is at or below the goal.

    The loss is that in training, looked at in every epoch; where there are `trials` it is that on
    them, looked at every so many epochs.
    """

    goal: float
    trials: Trials | None = None
    every: int = 1


def criterion_of(
    until: UntilSpec, state: NetworkState, task: AnyTask, seed: int, on: Trials | None
) -> StopCriterion:
    """Return the criterion of a phase that begins.

    Parameters
    ----------
    until : UntilSpec
        What is written of it.
    state : NetworkState
        The network as the phase begins.
    task : Task
        What it trains.
    seed : int
        Seed of its trials.
    on : Trials or None
        Those of the other task on which the loss is looked at.
    """
    goal = until.loss
    if goal is None:
        shown = first_trials(task, state, seed) if on is None else on
        goal = (until.loss_fraction or 0.0) * state.evaluate(shown)
    return StopCriterion(goal, on, until.every or state.spec.record_every)


def first_trials(task: AnyTask, state: NetworkState, seed: int) -> Trials:
    """Return the trials that training shows in its first epoch."""
    stream = TrialStream(task, state.spec.nonlinearity, state.spec.tau, seed)
    return task.sample(stream.trial_rng)


@dataclass
class Training:
    """A phase, or a session, of training; the network goes along.

    Parameters
    ----------
    state : NetworkState
        The network.
    task : Task
        What it learns.
    rule : RuleSpec
        How.
    seeds : callable
        Seed of the k-th stretch of training, from 0.

    Attributes
    ----------
    at : float
        Epoch at which the stretch that is under way began.
    """

    state: NetworkState
    task: AnyTask
    rule: RuleSpec
    seeds: Callable[[int], int]
    at: float = 0.0

    def run(self, epochs: int, criterion: StopCriterion | None = None) -> tuple[Course, bool]:
        """Train, and return what is recorded and whether the criterion was reached.

        Parameters
        ----------
        epochs : int
            How many at most.
        criterion : StopCriterion, optional
            When to stop before.
        """
        if criterion is None:
            return self._stretch(0, epochs, None), False
        if criterion.trials is not None:
            return self._in_stretches(epochs, criterion, criterion.trials)
        goal = criterion.goal
        if self.rule.kind == "gradient-flow" or goal <= 0:
            # the flow looks for where the loss crosses the goal; it may be there
            first = self.state.evaluate(first_trials(self.task, self.state, self.seeds(0)))
            if first <= goal:
                return self._here(first), True
        course = self._stretch(0, epochs, goal if goal > 0 else None)
        return course, bool(course.losses[-1] <= goal * (1 + _ROUNDING))

    def _here(self, loss: float) -> Course:
        """Return what is recorded where no training is needed."""
        names, values = self.state.row()
        return Course(np.zeros(1), np.array([loss]), names, values[None])

    def _stretch(self, k: int, epochs: int, goal: float | None) -> Course:
        """Train once, from epoch `at` on."""
        trajectory = self.state.train(self.task, self.rule, epochs, self.seeds(k), goal)
        course = course_of(trajectory)
        if self.rule.kind == "gradient-flow":
            course = replace(course, epochs=course.epochs / flow_rate(self.rule))
        try:
            self.state.become(trajectory)
        except InputError as error:
            raise NotRealisableError(self.at + float(course.epochs[-1]), error) from error
        return replace(course, epochs=course.epochs + self.at)

    def _in_stretches(
        self, epochs: int, criterion: StopCriterion, trials: Trials
    ) -> tuple[Course, bool]:
        """Train in stretches between which the loss on other trials is looked at."""
        parts: list[Course] = []
        reached = self.state.evaluate(trials) <= criterion.goal
        if reached:
            first = first_trials(self.task, self.state, self.seeds(0))
            return self._here(self.state.evaluate(first)), True
        for k, start in enumerate(range(0, epochs, criterion.every)):
            self.at = float(start)
            parts.append(self._stretch(k, min(criterion.every, epochs - start), None))
            reached = self.state.evaluate(trials) <= criterion.goal
            if reached:
                break
        return _joined(parts), reached


def _joined(parts: list[Course]) -> Course:
    """Return one course; the last row of a stretch is the first of the next."""
    kept = [
        replace(
            part, epochs=part.epochs[:-1], losses=part.losses[:-1], values=part.values[:-1]
        )
        for part in parts[:-1]
    ]  # fmt: skip
    kept.append(parts[-1])
    return Course(
        np.concatenate([part.epochs for part in kept]),
        np.concatenate([part.losses for part in kept]),
        parts[0].names,
        np.concatenate([part.values for part in kept]),
    )


def probe(state: NetworkState, trials: Trials, epochs: int, forgotten: Forgotten) -> Course:
    """Show trials without learning, and let what was learned be forgotten by and by.

    Parameters
    ----------
    state : NetworkState
        The network; it goes along.
    trials : Trials
        What is shown, the same in every epoch.
    epochs : int
        How many; the network is shown them once where there are none.
    forgotten : float or mapping of str to float
        Part that is forgotten in an epoch, see `fade`.
    """
    rows = kept_epochs(epochs, state.spec.record_every) if epochs else np.zeros(1, dtype=int)
    names, values = state.row()
    losses, table = [state.evaluate(trials)], [values]
    for gone in np.diff(rows):
        if forgotten:
            state.forget(forgotten, float(gone))
            losses.append(state.evaluate(trials))
            table.append(state.row()[1])
        else:  # nothing has changed
            losses.append(losses[-1])
            table.append(table[-1])
    return Course(rows.astype(float), np.array(losses), names, np.array(table))
