"""Running one network through every arm of a protocol."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from predictlearn.errors import DivergenceError, InputError
from predictlearn.protocol.animals import Subject, draw_animal
from predictlearn.protocol.cohort import arm_start
from predictlearn.protocol.schema import ArmStep, ProtocolSpec
from predictlearn.protocol.state import Course, NetworkState, learns_in_span
from predictlearn.protocol.training import (
    NotRealisableError,
    StopCriterion,
    Training,
    criterion_of,
    probe,
)
from predictlearn.tasks.arrays import ArrayTask
from predictlearn.tasks.registry import AnyTask
from predictlearn.theory.overlaps import Overlaps
from predictlearn.theory.synapses.network import Factors
from predictlearn.theory.trials import Trials

__all__ = [
    "CRITERION",
    "Failure",
    "NetworkRecord",
    "PhaseRecord",
    "animal_of",
    "run_arms",
    "stream",
]

# What is measured of a phase that trains to a criterion: epochs taken, NaN where it was not
# reached, and whether it was.
CRITERION = ("epochs_to_criterion", "criterion_reached")
# What a network's streams of random numbers are for; see `stream`.
START, LOADINGS, EVALUATION, PHASE, READOUT, ANIMAL = range(6)


def stream(seed: int, network: int, *purpose: int) -> np.random.SeedSequence:
    """Return a network's stream of random numbers for one purpose.

    It depends on the seed, the network and the purpose only: not on how many networks there are,
    which arms there are, or which process runs them.
    """
    return np.random.SeedSequence(seed, spawn_key=(network, *purpose))


def animal_of(spec: ProtocolSpec, network: int, seed: int) -> Subject:
    """Return what is a network's own: its rate, its noise, its epochs, when it drops out."""
    cohort = spec.cohort
    number = spec.number_of(network)
    return draw_animal(
        cohort.animals, cohort.dropout, network, lambda k: stream(seed, number, ANIMAL, k)
    )


def _whole(sequence: np.random.SeedSequence) -> int:
    """Return a seed as a whole number."""
    return int(sequence.generate_state(1, np.uint64)[0])


@dataclass(frozen=True)
class PhaseRecord:
    """One phase of one arm of one network.

    Parameters
    ----------
    arm, phase, task : str
        Names; the task of a change of readout, and of a rest, is empty.
    before : float
        Epochs trained before this phase.
    epochs : numpy.ndarray, (rows,)
        Epoch within the phase.
    losses : numpy.ndarray, (rows,) or (0,)
        Loss on the phase's task.
    names : tuple of str
        Quantities: overlaps, or what is meant of synapses, see `Synapses.quantities`; and the
        alignment of feedback, where it is not the readout.
    values : numpy.ndarray, (rows, names)
        Their values.
    evaluations : numpy.ndarray, (tasks, 2) or (tasks, 1)
        Loss on every evaluated task at the first and the last row.
    loadings : numpy.ndarray, (N, D)
        Theta = [M U V Z] at the end of the phase; without rows where there are no neurons.
    learner : str
        What `stacked` is of, "factors" or "synapses" in the span of the start, or "neurons" with
        synapses; empty where overlaps or loadings say it all.
    stacked : numpy.ndarray, (D, columns) or (N, columns)
        The network at the end of the phase, with its feedback: [m u v z b], or [m w z b]; see
        `predictlearn.protocol.state.span_of`.
    session : int
        Which session of the arm it is, from 1, or how many there were before it.
    outcomes : tuple of str
        What was measured of the phase as a whole, at its end.
    measured : numpy.ndarray, (outcomes,)
        Their values.
    """

    arm: str
    phase: str
    task: str
    before: float
    epochs: np.ndarray
    losses: np.ndarray
    names: tuple[str, ...]
    values: np.ndarray
    evaluations: np.ndarray
    loadings: np.ndarray
    learner: str
    stacked: np.ndarray
    session: int = 0
    outcomes: tuple[str, ...] = ()
    measured: np.ndarray = field(default_factory=lambda: np.zeros(0))


@dataclass(frozen=True)
class Failure:
    """A network that did not get through an arm: where, and why."""

    arm: str
    phase: str
    task: str
    before: float
    epoch: float
    reason: str
    session: int = 0
    dropped_out: bool = False


@dataclass(frozen=True)
class NetworkRecord:
    """All phases of all arms of one network."""

    network: int
    phases: tuple[PhaseRecord, ...]
    failures: tuple[Failure, ...] = ()


def run_arms(
    spec: ProtocolSpec, tasks: Mapping[str, AnyTask], start: Overlaps, network: int, seed: int
) -> NetworkRecord:
    """Run one network through every arm.

    Parameters
    ----------
    spec : ProtocolSpec
        The protocol.
    tasks : mapping of str to Task
        Its tasks.
    start : Overlaps
        The network before learning, common to all arms but for what they replace.
    network : int
        Its number in the cohort, from 0.
    seed : int
        The run's seed.

    Returns
    -------
    NetworkRecord
        Everything recorded; an arm whose learning diverged ends in a failure.

    Raises
    ------
    InputError
        If a change of readout is not realisable.
    """
    number = spec.number_of(network)
    shown = [evaluation_trials(tasks, name, number, seed) for name in spec.evaluate]
    phases: list[PhaseRecord] = []
    failures: list[Failure] = []
    animal = animal_of(spec, network, seed)
    for arm in spec.arms_of(network):
        for item in _run_arm(spec, tasks, arm, start, network, seed, shown, animal):
            if isinstance(item, Failure):
                failures.append(item)
            else:
                phases.append(item)
    return NetworkRecord(network, tuple(phases), tuple(failures))


def evaluation_trials(tasks: Mapping[str, AnyTask], name: str, network: int, seed: int) -> Trials:
    """Return the trials on which a task is evaluated, the same throughout a network's arms."""
    task, sequence = tasks[name], stream(seed, network, EVALUATION, list(tasks).index(name))
    return ArrayTask.from_trials(task.sample(np.random.default_rng(sequence))).sample()


def _run_arm(
    spec: ProtocolSpec,
    tasks: Mapping[str, AnyTask],
    arm: str,
    start: Overlaps,
    network: int,
    seed: int,
    shown: list[Trials],
    animal: Subject,
) -> Iterator[PhaseRecord | Failure]:
    """Yield the records of one arm's phases; after a failure, nothing more."""
    begin, number = arm_start(start, spec.arms[arm], spec.nonlinearity), spec.number_of(network)
    state = NetworkState(spec, begin)
    n_neurons = spec.neurons_of(arm)
    if n_neurons is not None:
        # one stream for all arms: equivalent networks share their random directions
        state.neurons = begin.loadings(n_neurons, _whole(stream(seed, number, LOADINGS)))
    elif learns_in_span(spec, tasks, arm):
        state.span = Factors.from_overlaps(begin)
    if spec.forgets(arm):
        state.begin()
    yield from _ArmWalk(spec, tasks, arm, network, number, seed, shown, state, animal).steps()


@dataclass
class _ArmWalk:
    """A network on its way through the steps of an arm, and how far it is."""

    spec: ProtocolSpec
    tasks: Mapping[str, AnyTask]
    arm: str
    network: int
    number: int
    seed: int
    shown: list[Trials]
    state: NetworkState
    animal: Subject
    before: float = 0.0
    session: int = 0
    spent: float = 0.0
    cut: bool = False
    criterion: StopCriterion | None = None

    def steps(self) -> Iterator[PhaseRecord | Failure]:
        """Yield what is recorded, step by step."""
        phase, done = -1, False
        for step in self.spec.steps(self.arm):
            if step.number != phase:
                phase, done = step.number, False
                self.before, self.spent, self.criterion = self.before + self.spent, 0.0, None
            if done:
                continue  # sessions after the criterion was reached
            if step.in_session and step.part >= self.animal.sessions:
                continue  # more sessions than this animal has
            if self.session >= self.animal.last_session or self.left < 1:
                yield self._dropped(step)
                return
            if step.in_session:
                self.session += 1
                if self.session > 1 and self.spec.sessions is not None:
                    self.state.forget(self.spec.sessions.forgetting)
            found: PhaseRecord | Failure
            if step.phase.trains:
                found, done = self._trained(step)
            else:
                found = self._untrained(step)
            yield found
            if isinstance(found, Failure):
                return
            if self.cut:
                yield self._dropped(step)
                return

    @property
    def left(self) -> float:
        """Epochs until the animal drops out."""
        return self.animal.last_epoch - self.before - self.spent

    def _in_time(self, epochs: int) -> int:
        """Return how many of so many epochs there are until the animal drops out."""
        found = int(min(epochs, self.left))
        self.cut = found < epochs
        return found

    def _dropped(self, step: ArmStep) -> Failure:
        """Return that the animal drops out here, and after what."""
        after = f"epoch {self.animal.last_epoch:g}"
        if self.session >= self.animal.last_session:
            after = f"session {self.animal.last_session:g}"
        gone = self._failed(step, 0.0, f"dropped out after {after}")
        return replace(gone, dropped_out=True)

    def _losses(self) -> list[float]:
        """Return the loss on every evaluated task."""
        return [self.state.evaluate(trials) for trials in self.shown]

    def _record(self, step: ArmStep, course: Course, ends: list[list[float]]) -> PhaseRecord:
        """Return the record of a step, from the losses at its ends."""
        state, where = self.state, (self.arm, step.label, step.phase.shown, self.before)
        epochs = course.epochs + self.spent
        parts = (epochs, course.losses, course.names, course.values)
        values = np.array(ends).T.reshape(-1, len(ends))
        held = (state.theta, state.learner, state.stacked)
        return PhaseRecord(*where, *parts, values, *held, session=self.session)

    def _untrained(self, step: ArmStep) -> PhaseRecord:
        """Go through a change of the readout, a rest or a probe."""
        phase, state = step.phase, self.state
        if phase.probe is not None:
            first = self._losses()
            trials = evaluation_trials(self.tasks, phase.probe, self.number, self.seed)
            epochs = self._in_time(step.epochs)
            course = probe(state, trials, epochs, phase.forgetting or 0.0)
            ends = [first, self._losses()] if epochs else [first]
            record = self._record(step, course, ends)
            self.spent += epochs
            return record
        if phase.rest is not None:
            state.forget(phase.rest)
            names, values = state.row()
            course = Course(np.zeros(1), np.zeros(0), names, values[None])
            return self._record(step, course, [self._losses()])
        try:
            course = state.change(phase, stream(self.seed, self.number, READOUT, step.number))
        except InputError as error:
            place = f"arm {self.arm!r}, phase {step.label!r}, network {self.network}"
            raise InputError(f"{place}: {error}") from None
        return self._record(step, course, [self._losses()])

    def _trained(self, step: ArmStep) -> tuple[PhaseRecord | Failure, bool]:
        """Train for a phase, or for a session of it; also whether its criterion was reached."""
        phase, state, name = step.phase, self.state, step.phase.shown
        # the k-th time a task is trained it brings the same trials in every arm: arms are paired
        purpose = (PHASE, list(self.tasks).index(name), step.visit)

        def seeds(k: int) -> int:
            return _whole(stream(self.seed, self.number, *purpose, *([k] if k else [])))

        task, first = self.tasks[name], self._losses()
        rule = self.animal.rule(self.spec.rule_of(self.arm, phase))
        training = Training(state, task, rule, seeds)
        epochs = self._in_time(self.animal.length(step.epochs))
        if phase.until is not None and self.criterion is None:
            other = phase.until.on
            on = None
            if other is not None:
                on = evaluation_trials(self.tasks, other, self.number, self.seed)
            self.criterion = criterion_of(phase.until, state, task, seeds(0), on)
        try:
            course, reached = training.run(epochs, self.criterion)
        except DivergenceError as error:
            return self._failed(step, training.at + error.epoch, str(error)), False
        except np.linalg.LinAlgError as error:
            said = f"learning led to overlaps without {error}"
            return self._failed(step, float("nan"), said), False
        except NotRealisableError as error:
            return self._failed(step, error.epoch, str(error)), False
        except InputError as error:
            if not learns_in_span(self.spec, self.tasks, self.arm):
                raise
            # a loop that this network makes unstable: others of the cohort may not
            return self._failed(step, training.at, str(error)), False
        if phase.consolidated and self.spec.forgets(self.arm):
            state.begin()
        record = self._record(step, course, [first, self._losses()])
        self.spent += float(course.epochs[-1]) if reached else epochs
        self.cut = self.cut and not reached
        last = self.cut or self.session >= self.animal.last_session
        last = last or step.part == min(step.parts, self.animal.sessions) - 1
        if phase.until is not None and (reached or last):
            taken = self.spent if reached else float("nan")
            measured = np.array([taken, float(reached)])
            record = replace(record, outcomes=CRITERION, measured=measured)
        return record, reached

    def _failed(self, step: ArmStep, epoch: float, reason: str) -> Failure:
        """Return why the network goes no further."""
        where = (self.arm, step.label, step.phase.shown, self.before)
        return Failure(*where, self.spent + epoch, reason, self.session)
