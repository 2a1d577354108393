"""Running one network through every arm of a protocol."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from predictlearn.errors import DivergenceError, InputError
from predictlearn.protocol.cohort import arm_start
from predictlearn.protocol.schema import ProtocolSpec
from predictlearn.protocol.state import (
    Course,
    NetworkState,
    course_of,
    flow_rate,
    learns_in_span,
)
from predictlearn.tasks.registry import AnyTask
from predictlearn.theory.overlaps import Overlaps
from predictlearn.theory.synapses.network import Factors
from predictlearn.theory.trials import Trials

__all__ = ["Failure", "NetworkRecord", "PhaseRecord", "run_arms", "stream"]

# What a network's streams of random numbers are for; see `stream`.
START, LOADINGS, EVALUATION, PHASE, READOUT = range(5)


def stream(seed: int, network: int, *purpose: int) -> np.random.SeedSequence:
    """Return a network's stream of random numbers for one purpose.

    It depends on the seed, the network and the purpose only: not on how many networks there are,
    which arms there are, or which process runs them.
    """
    return np.random.SeedSequence(seed, spawn_key=(network, *purpose))


def _whole(sequence: np.random.SeedSequence) -> int:
    """Return a seed as a whole number."""
    return int(sequence.generate_state(1, np.uint64)[0])


@dataclass(frozen=True)
class PhaseRecord:
    """One phase of one arm of one network.

    Parameters
    ----------
    arm, phase, task : str
        Names; the task of a change of readout is empty.
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


@dataclass(frozen=True)
class Failure:
    """A network that did not get through an arm: where, and why."""

    arm: str
    phase: str
    task: str
    before: float
    epoch: float
    reason: str


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
    order = list(tasks)
    shown = [
        tasks[name].freeze(stream(seed, network, EVALUATION, order.index(name))).sample()
        for name in spec.evaluate
    ]
    phases: list[PhaseRecord] = []
    failures: list[Failure] = []
    for arm in spec.arms:
        for item in _run_arm(spec, tasks, arm, start, network, seed, shown):
            if isinstance(item, Failure):
                failures.append(item)
            else:
                phases.append(item)
    return NetworkRecord(network, tuple(phases), tuple(failures))


def _run_arm(
    spec: ProtocolSpec,
    tasks: Mapping[str, AnyTask],
    arm: str,
    start: Overlaps,
    network: int,
    seed: int,
    shown: list[Trials],
) -> Iterator[PhaseRecord | Failure]:
    """Yield the records of one arm's phases; after a failure, nothing more."""
    begin = arm_start(start, spec.arms[arm], spec.nonlinearity)
    state = NetworkState(spec, begin)
    n_neurons = spec.neurons_of(arm)
    if n_neurons is not None:
        # one stream for all arms: equivalent networks share their random directions
        state.neurons = begin.loadings(n_neurons, _whole(stream(seed, network, LOADINGS)))
    elif learns_in_span(spec, tasks, arm):
        state.span = Factors.from_overlaps(begin)
    visits = dict.fromkeys(tasks, 0)
    before = 0.0
    for number, phase in enumerate(spec.arms[arm].phases):
        label = phase.label(number)
        where = (arm, label, phase.task or "", before)

        def record(
            course: Course, values: np.ndarray, where: tuple[str, str, str, float] = where
        ) -> PhaseRecord:
            parts = (course.epochs, course.losses, course.names, course.values)
            return PhaseRecord(*where, *parts, values, state.theta, state.learner, state.stacked)

        place = f"arm {arm!r}, phase {label!r}, network {network}"
        if phase.task is None:
            try:
                course = state.change(phase, stream(seed, network, READOUT, number))
            except InputError as error:
                raise InputError(f"{place}: {error}") from None
            values = np.array([[state.evaluate(trials)] for trials in shown]).reshape(-1, 1)
            yield record(course, values)
            continue
        task, whole = tasks[phase.task], spec.rule_of(arm, phase)
        # the k-th time a task is trained it brings the same trials in every arm: arms are paired
        purpose = (PHASE, list(tasks).index(phase.task), visits[phase.task])
        visits[phase.task] += 1
        first = [state.evaluate(trials) for trials in shown]
        try:
            trajectory = state.train(
                task, whole, phase.epochs or 0, _whole(stream(seed, network, *purpose))
            )
        except DivergenceError as error:
            yield Failure(*where, float(error.epoch), str(error))
            return
        except np.linalg.LinAlgError as error:
            yield Failure(*where, float("nan"), f"learning led to overlaps without {error}")
            return
        except InputError as error:
            if not learns_in_span(spec, tasks, arm):
                raise
            # a loop that this network makes unstable: others of the cohort may not
            yield Failure(*where, 0.0, str(error))
            return
        course = course_of(trajectory)
        if whole.kind == "gradient-flow":
            course = replace(course, epochs=course.epochs / flow_rate(whole))
        try:
            state.become(trajectory)
        except InputError as error:
            reason = f"learning led to overlaps that no network has: {error}"
            yield Failure(*where, float(course.epochs[-1]), reason)
            return
        values = np.array([first, [state.evaluate(trials) for trials in shown]]).T.reshape(-1, 2)
        yield record(course, values)
        before += float(phase.epochs or 0)
