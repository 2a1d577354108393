"""One network on its way through an arm: what it is, how it learns, and how it is read out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from predictlearn.errors import InputError
from predictlearn.network.trajectories import (
    NetworkTrajectory,
    SynapticNetworkTrajectory,
    quantities_of,
)
from predictlearn.protocol.forgetting import Forgotten, fade, parts_of
from predictlearn.protocol.readout import (
    change_readout,
    match_readout,
    readout_in_span,
    readout_of_synapses,
    rotate_readout,
    rotation,
)
from predictlearn.protocol.rule import BEFORE, RuleSpec
from predictlearn.protocol.schema import PhaseSpec, ProtocolSpec
from predictlearn.tasks.registry import AnyTask
from predictlearn.theory.activity import loss
from predictlearn.theory.learning.descent import learn
from predictlearn.theory.learning.local_rules import LocalRule, NodePerturbation
from predictlearn.theory.learning.rules import GradientDescent, GradientFlow
from predictlearn.theory.learning.span import FactorTrajectory, SynapticTrajectory
from predictlearn.theory.learning.synaptic_rules import SynapticRule
from predictlearn.theory.learning.trajectory import Trajectory
from predictlearn.theory.overlaps import Loadings, Overlaps
from predictlearn.theory.synapses.loops import network_loss
from predictlearn.theory.synapses.network import Factors, Synapses, SynapticNetwork
from predictlearn.theory.trials import Trials

AnyNetwork = Synapses | Factors | SynapticNetwork
AnyTrajectory = Trajectory | SynapticTrajectory | SynapticNetworkTrajectory

__all__ = ["Course", "NetworkState", "course_of", "flow_rate", "learns_in_span", "span_of"]


@dataclass(frozen=True)
class Course:
    """What is recorded along a phase: rows of named quantities, and the loss where it trains."""

    epochs: np.ndarray
    losses: np.ndarray
    names: tuple[str, ...]
    values: np.ndarray


def learns_in_span(spec: ProtocolSpec, tasks: Mapping[str, AnyTask], arm: str) -> bool:
    """Return whether overlaps alone do not say what an arm's networks are.

    Where synapses learn, errors have feedback of their own, the output moves a world, or something
    is forgotten.
    """
    return spec.forgets(arm) or any(
        spec.rule_of(arm, step.phase).leaves_overlaps
        or getattr(tasks.get(step.phase.trained), "world", None) is not None
        for step in spec.steps(arm)
        if step.phase.trained is not None
    )


def flow_rate(whole: RuleSpec) -> float:
    """Return the rate that converts a phase's epochs to the learning time of gradient flow."""
    return whole.rate or 1.0


@dataclass
class NetworkState:
    """A network on its way through an arm.

    `span` holds it where overlaps alone do not say what it is, with its feedback; `neurons` where
    it has neurons, and `feedback` what errors come back by if these have factors. `earlier` is the
    readout of before its last change, and `origin` where forgetting leads back to.
    """

    spec: ProtocolSpec
    overlaps: Overlaps
    neurons: Loadings | SynapticNetwork | None = None
    span: Synapses | Factors | None = None
    feedback: np.ndarray | None = None
    earlier: np.ndarray | None = None
    made_by: Any = None
    origin: dict[str, np.ndarray] | None = None

    @property
    def theta(self) -> np.ndarray:
        """Theta = [M U V Z], (N, D); without rows where there are no neurons with factors."""
        if isinstance(self.neurons, Loadings):
            return self.neurons.stacked
        return np.empty((0, self.overlaps.dim))

    def train(
        self, task: AnyTask, whole: RuleSpec, epochs: int, seed: int, stop_at: float | None = None
    ) -> AnyTrajectory:
        """Train for one phase; the caller lets it `become` the result."""
        rule = whole.build()
        how = (self.spec.nonlinearity, self.spec.tau, seed, self.spec.record_every, stop_at)
        learns = "synapses" if whole.learns == "synapses" else None
        by_neurons = isinstance(rule, GradientDescent | SynapticRule | LocalRule | NodePerturbation)
        if self.neurons is not None and by_neurons:
            from predictlearn.network.training import train_network

            # what goes with what is checked with the protocol
            start: Any = self.neurons
            b: Any = self._feedback(start, self.feedback, whole)
            if isinstance(start, SynapticNetwork):
                start, b = replace(start, feedback=b), None
            elif not whole.has_feedback:
                b = None
            taught: Any = rule
            who: Any = learns
            trained: AnyTrajectory = train_network(
                start, task, taught, epochs, *how, learns=who, feedback=b
            )
            return trained
        if isinstance(rule, SynapticRule | NodePerturbation):
            raise InputError(f"{whole.kind} needs a network of neurons.")
        # learning time of gradient flow is epochs times rate
        length = epochs * flow_rate(whole) if isinstance(rule, GradientFlow) else epochs
        network: Any = self.overlaps
        if self.span is not None:
            own = self._feedback(self.span, self.span.feedback, whole)
            network = replace(self.span, feedback=own)
        found: AnyTrajectory = learn(network, task, rule, length, *how, learns=learns)
        return found

    def become(self, trajectory: AnyTrajectory) -> None:
        """Be what a phase ended in; InputError for overlaps that no network has."""
        if isinstance(trajectory, SynapticNetworkTrajectory):
            self.neurons = trajectory.final
        elif isinstance(trajectory, SynapticTrajectory):
            self.span = trajectory.final
        elif isinstance(trajectory, FactorTrajectory) and self.span is not None:
            self.span = trajectory.end
        else:
            self.overlaps = trajectory.final
            if isinstance(trajectory, NetworkTrajectory):
                self.neurons = trajectory.loadings
                if trajectory.feedback is not None:
                    self.feedback = trajectory.feedback

    def _feedback(
        self, network: Any, held: np.ndarray | None, whole: RuleSpec
    ) -> np.ndarray | None:
        """Return the feedback that a rule takes; None where learning is to make it."""
        if isinstance(network, SynapticNetwork) and network.feedback is not None:
            held = network.feedback
        if not whole.has_feedback:
            return held
        made_by, self.made_by = self.made_by, whole.feedback
        if whole.feedback == BEFORE:
            old = network.z if self.earlier is None else self.earlier
            return np.pad(old, ((0, len(network.m) - len(old)), (0, 0)))
        return held if whole.feedback == made_by else None

    def evaluate(self, trials: Trials) -> float:
        """Return the loss on trials."""
        how = (trials, self.spec.nonlinearity, self.spec.tau)
        if self.span is not None:
            return network_loss(self.span, *how)
        if self.neurons is None:
            return loss(self.overlaps, *how)
        from predictlearn.network.activity import run_network

        return trials.loss(run_network(self.neurons, *how).outputs)

    def begin(self) -> None:
        """Remember where the network is: forgetting leads back to it from here on."""
        held = self.span if self.neurons is None else self.neurons
        if held is not None:
            self.origin = parts_of(held)

    def forget(self, forgotten: Forgotten, times: float = 1.0) -> None:
        """Forget a part of what was learned, so many times; see `fade`."""
        if self.origin is None:
            return
        if self.span is not None:
            self.span = fade(self.span, self.origin, forgotten, times)
        elif self.neurons is not None:
            self.neurons = fade(self.neurons, self.origin, forgotten, times)
            if isinstance(self.neurons, Loadings):
                self.overlaps = Overlaps.from_loadings(self.neurons)

    def row(self) -> tuple[tuple[str, ...], np.ndarray]:
        """Return names and values of what is recorded of the network as it is."""
        if self._told_apart is not None:
            return _quantities(self._told_apart)
        names, values = self.overlaps.names, self.overlaps.to_series().to_numpy()
        if self.feedback is None or self.neurons is None:
            return names, values
        return (*names, "alignment"), np.append(values, _cosine(self.feedback, self.neurons.z))

    def change(self, phase: PhaseSpec, sequence: np.random.SeedSequence) -> Course:
        """Change the readout; what feeds errors back stays, and forgetting keeps the new one."""
        course = self._changed(phase, sequence)
        held = self.span if self.neurons is None else self.neurons
        if self.origin is not None and held is not None:
            self.origin["z"] = held.z
        return course

    def _changed(self, phase: PhaseSpec, sequence: np.random.SeedSequence) -> Course:
        """Change the readout, and return what is recorded of it."""
        values, within, degrees = phase.readout or {}, phase.within_manifold, phase.rotate_readout
        held = self.span if self.neurons is None else self.neurons
        if held is not None:
            self.earlier = held.z
        if self.span is not None:
            self.span = readout_in_span(self.span, values, within, degrees)
            return _one_row(*_quantities(self.span))
        if isinstance(self.neurons, SynapticNetwork):
            self.neurons = readout_of_synapses(self.neurons, values, within, degrees, sequence)
            return _one_row(*_quantities(self.neurons))
        if degrees is not None:
            self.overlaps = rotate_readout(self.overlaps, degrees)
        else:
            self.overlaps = change_readout(self.overlaps, values, within)
        if self.neurons is not None:
            turned = degrees is not None
            z = self.neurons.z @ rotation(degrees or 0.0).T if turned else None
            self.neurons = (
                match_readout(self.neurons, self.overlaps, sequence)
                if z is None
                else Loadings(self.neurons.m, self.neurons.u, self.neurons.v, z)
            )
        return _one_row(self.overlaps.names, self.overlaps.to_series().to_numpy())

    @property
    def _told_apart(self) -> Any:
        """The network where neither overlaps nor loadings say what it is."""
        return self.neurons if isinstance(self.neurons, SynapticNetwork) else self.span

    @property
    def learner(self) -> str:
        """What `stacked` is of: "factors" or "synapses" in the span, "neurons" with synapses."""
        kinds = {SynapticNetwork: "neurons", Synapses: "synapses", Factors: "factors"}
        return kinds.get(type(self._told_apart), "")

    @property
    def stacked(self) -> np.ndarray:
        """[m w z b] or [m u v z b], (D, columns) or (N, columns); else without rows."""
        network = self._told_apart
        if network is None:
            return np.empty((0, 0))
        names = "muvz" if isinstance(network, Factors) else "mwz"
        parts = [getattr(network, name) for name in names]
        if network.feedback is not None:
            parts.append(network.feedback)
        return np.hstack(parts)


def _one_row(names: tuple[str, ...], row: np.ndarray) -> Course:
    """Return what is recorded of a change of the readout."""
    return Course(np.zeros(1), np.zeros(0), names, row[None])


def span_of(learner: str, stacked: np.ndarray, sizes: tuple[int, int, int]) -> AnyNetwork:
    """Return the network that `NetworkState.stacked` holds."""
    n_in, rank, n_out = sizes
    widths = [n_in, rank, rank, n_out] if learner == "factors" else [n_in, len(stacked), n_out]
    *parts, b = np.split(stacked, np.cumsum(widths), axis=1)
    feedback = b if b.shape[1] else None
    if learner != "factors":
        m, w, z = parts
        kind = Synapses if learner == "synapses" else SynapticNetwork
        return kind(m, w, z, feedback)
    m, u, v, z = parts
    return Factors(m, u, v, z, feedback)


def _quantities(network: AnyNetwork) -> tuple[tuple[str, ...], np.ndarray]:
    """Return names and values of what is recorded of a network."""
    if isinstance(network, Factors):
        names, values = network.overlaps.names, network.overlaps.to_series().to_numpy()
    else:
        series = network.quantities() if isinstance(network, Synapses) else quantities_of(network)
        names, values = tuple(map(str, series.index)), series.to_numpy()
    if network.feedback is None:
        return names, values
    return (*names, "alignment"), np.append(values, _cosine(network.feedback, network.z))


def _cosine(b: np.ndarray, z: np.ndarray) -> float:
    """Return the cosine between feedback and readout."""
    return float(np.sum(b * z) / (np.linalg.norm(b) * np.linalg.norm(z)))


def course_of(trajectory: AnyTrajectory) -> Course:
    """Return what is recorded of a trajectory."""
    at = np.searchsorted(trajectory.loss_epochs, trajectory.epochs)
    epochs, losses = np.asarray(trajectory.epochs, dtype=float), trajectory.losses[at]
    if isinstance(trajectory, SynapticTrajectory):
        rows = [_quantities(trajectory.at(k)) for k in range(len(epochs))]
        return Course(epochs, losses, rows[0][0], np.array([row for _, row in rows]))
    if isinstance(trajectory, SynapticNetworkTrajectory):
        frame, fed = trajectory.quantities, trajectory.final.feedback is not None
    else:
        frame = trajectory.overlaps
        held = getattr(trajectory, "end", trajectory)
        fed = getattr(held, "feedback", None) is not None
    names, values = tuple(map(str, frame.columns)), frame.to_numpy()
    if fed:
        alignments: Any = getattr(trajectory, "alignments", None)
        names, values = (*names, "alignment"), np.column_stack([values, alignments])
    return Course(epochs, losses, names, values)
