"""Running one network through every arm of a protocol."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from predictlearn.errors import DivergenceError, InputError
from predictlearn.protocol.cohort import arm_start
from predictlearn.protocol.readout import (
    change_readout,
    match_readout,
    rotate_readout,
    rotation,
)
from predictlearn.protocol.rule import RuleSpec
from predictlearn.protocol.schema import PhaseSpec, ProtocolSpec
from predictlearn.tasks.registry import AnyTask
from predictlearn.theory.activity import loss
from predictlearn.theory.learning.descent import learn
from predictlearn.theory.learning.rules import GradientDescent, GradientFlow
from predictlearn.theory.learning.synaptic_rules import SynapticRule
from predictlearn.theory.learning.trajectory import Trajectory
from predictlearn.theory.overlaps import Loadings, Overlaps
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
    overlaps : numpy.ndarray, (rows, names)
        Overlaps.
    evaluations : numpy.ndarray, (tasks, 2) or (tasks, 1)
        Loss on every evaluated task at the first and the last row.
    loadings : numpy.ndarray, (N, D)
        Theta = [M U V Z] at the end of the phase; without rows where there are no neurons.
    """

    arm: str
    phase: str
    task: str
    before: float
    epochs: np.ndarray
    losses: np.ndarray
    overlaps: np.ndarray
    evaluations: np.ndarray
    loadings: np.ndarray


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


@dataclass
class _Network:
    """A network on its way through an arm: its overlaps, and its loadings if it has neurons."""

    spec: ProtocolSpec
    overlaps: Overlaps
    loadings: Loadings | None = None

    @property
    def theta(self) -> np.ndarray:
        """Theta = [M U V Z], (N, D); without rows if there are no neurons."""
        if self.loadings is None:
            return np.empty((0, self.overlaps.dim))
        return self.loadings.stacked

    def train(self, task: AnyTask, whole: RuleSpec, epochs: int, seed: int) -> Trajectory:
        """Train for one phase; the caller moves on to the result."""
        rule = whole.build()
        how = (self.spec.nonlinearity, self.spec.tau, seed, self.spec.record_every)
        if self.loadings is not None and isinstance(rule, GradientDescent | SynapticRule):
            from predictlearn.network.training import train_network

            trajectory = train_network(self.loadings, task, rule, epochs, *how)
            self.loadings = trajectory.loadings
            return trajectory
        if isinstance(rule, SynapticRule):
            raise InputError(f"{whole.kind} needs a network of neurons.")
        # learning time of gradient flow is epochs times rate
        length = epochs * _flow_rate(whole) if isinstance(rule, GradientFlow) else epochs
        return learn(self.overlaps, task, rule, length, *how)

    def evaluate(self, trials: Trials) -> float:
        """Return the loss on trials."""
        if self.loadings is None:
            return loss(self.overlaps, trials, self.spec.nonlinearity, self.spec.tau)
        from predictlearn.network.activity import run_network

        activity = run_network(self.loadings, trials, self.spec.nonlinearity, self.spec.tau)
        return trials.loss(activity.outputs)

    def change(self, phase: PhaseSpec, sequence: np.random.SeedSequence) -> None:
        """Change the readout."""
        if phase.rotate_readout is not None:
            self.overlaps = rotate_readout(self.overlaps, phase.rotate_readout)
            if self.loadings is not None:
                z = self.loadings.z @ rotation(phase.rotate_readout).T
                self.loadings = Loadings(self.loadings.m, self.loadings.u, self.loadings.v, z)
            return
        self.overlaps = change_readout(self.overlaps, phase.readout or {}, phase.within_manifold)
        if self.loadings is not None:
            self.loadings = match_readout(self.loadings, self.overlaps, sequence)


def _flow_rate(whole: RuleSpec) -> float:
    """Return the rate that converts a phase's epochs to the learning time of gradient flow."""
    return whole.rate or 1.0


def _thinned(trajectory: Trajectory, names: Mapping[str, tuple[int, int]]) -> tuple:
    """Return epochs, losses at those epochs, and overlaps by name."""
    rows, columns = zip(*names.values(), strict=True)
    at = np.searchsorted(trajectory.loss_epochs, trajectory.epochs)
    overlaps = trajectory.array[:, list(rows), list(columns)]
    return np.asarray(trajectory.epochs, dtype=float), trajectory.losses[at], overlaps


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
    state = _Network(spec, begin)
    n_neurons = spec.neurons_of(arm)
    if n_neurons is not None:
        # one stream for all arms: equivalent networks share their random directions
        state.loadings = begin.loadings(n_neurons, _whole(stream(seed, network, LOADINGS)))
    names = begin.sizes.pairs
    visits = dict.fromkeys(tasks, 0)
    before = 0.0
    for number, phase in enumerate(spec.arms[arm].phases):
        label = phase.label(number)
        where = (arm, label, phase.task or "", before)
        if phase.task is None:
            try:
                state.change(phase, stream(seed, network, READOUT, number))
            except InputError as error:
                place = f"arm {arm!r}, phase {label!r}, network {network}"
                raise InputError(f"{place}: {error}") from None
            row = state.overlaps.to_series().to_numpy()[None]
            values = np.array([[state.evaluate(trials)] for trials in shown]).reshape(-1, 1)
            yield PhaseRecord(*where, np.zeros(1), np.zeros(0), row, values, state.theta)
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
        epochs, losses, overlaps = _thinned(trajectory, names)
        if whole.kind == "gradient-flow":
            epochs = epochs / _flow_rate(whole)
        try:
            state.overlaps = trajectory.final
        except InputError as error:
            reason = f"learning led to overlaps that no network has: {error}"
            yield Failure(*where, float(epochs[-1]), reason)
            return
        values = np.array([first, [state.evaluate(trials) for trials in shown]]).T.reshape(-1, 2)
        yield PhaseRecord(*where, epochs, losses, overlaps, values, state.theta)
        before += float(phase.epochs or 0)
