"""One network on its way through an arm: what it is, how it learns, and how it is read out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from predictlearn.errors import InputError
from predictlearn.protocol.readout import (
    change_readout,
    match_readout,
    readout_in_span,
    rotate_readout,
    rotation,
)
from predictlearn.protocol.rule import BEFORE, RuleSpec
from predictlearn.protocol.schema import PhaseSpec, ProtocolSpec
from predictlearn.tasks.registry import AnyTask
from predictlearn.theory.activity import loss
from predictlearn.theory.learning.descent import learn
from predictlearn.theory.learning.rules import GradientDescent, GradientFlow
from predictlearn.theory.learning.span import FactorTrajectory, SynapticTrajectory
from predictlearn.theory.learning.synaptic_rules import SynapticRule
from predictlearn.theory.learning.trajectory import Trajectory
from predictlearn.theory.names import table_pairs
from predictlearn.theory.overlaps import Loadings, Overlaps
from predictlearn.theory.synapses.loops import network_loss
from predictlearn.theory.synapses.network import Factors, Synapses
from predictlearn.theory.trials import Trials

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

    Where synapses learn, errors have feedback of their own, or the output moves a world.
    """
    return any(
        spec.rule_of(arm, phase).leaves_overlaps
        or getattr(tasks.get(phase.task), "world", None) is not None
        for phase in spec.arms[arm].phases
        if phase.task is not None
    )


def flow_rate(whole: RuleSpec) -> float:
    """Return the rate that converts a phase's epochs to the learning time of gradient flow."""
    return whole.rate or 1.0


@dataclass
class NetworkState:
    """A network on its way through an arm.

    `span` holds it where overlaps alone do not say what it is, with its feedback; `loadings` where
    it has neurons. `earlier` is the readout of before its last change, in the span.
    """

    spec: ProtocolSpec
    overlaps: Overlaps
    loadings: Loadings | None = None
    span: Synapses | Factors | None = None
    earlier: np.ndarray | None = None
    made_by: Any = None

    @property
    def theta(self) -> np.ndarray:
        """Theta = [M U V Z], (N, D); without rows if there are no neurons."""
        if self.loadings is None:
            return np.empty((0, self.overlaps.dim))
        return self.loadings.stacked

    def train(
        self, task: AnyTask, whole: RuleSpec, epochs: int, seed: int
    ) -> Trajectory | SynapticTrajectory:
        """Train for one phase; the caller lets it `become` the result."""
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
        length = epochs * flow_rate(whole) if isinstance(rule, GradientFlow) else epochs
        learns = "synapses" if whole.learns == "synapses" else None
        start = self.overlaps if self.span is None else self._ready(self.span, whole)
        found: Trajectory | SynapticTrajectory = learn(
            start, task, rule, length, *how, learns=learns
        )
        return found

    def become(self, trajectory: Trajectory | SynapticTrajectory) -> None:
        """Be what a phase ended in; InputError for overlaps that no network has."""
        if self.span is None and isinstance(trajectory, Trajectory):
            self.overlaps = trajectory.final
        elif isinstance(trajectory, FactorTrajectory):
            self.span = trajectory.end
        elif isinstance(trajectory, SynapticTrajectory):
            self.span = trajectory.final

    def _ready(self, network: Synapses | Factors, whole: RuleSpec) -> Synapses | Factors:
        """Return the network with the feedback that a rule takes; without one `learn` makes it."""
        if not whole.has_feedback:
            return network
        setting = whole.feedback
        if setting == BEFORE:
            old = network.z if self.earlier is None else self.earlier
            more = len(network.m) - len(old)
            network = replace(network, feedback=np.pad(old, ((0, more), (0, 0))))
        elif setting != self.made_by:
            network = replace(network, feedback=None)
        self.made_by = setting
        return network

    def evaluate(self, trials: Trials) -> float:
        """Return the loss on trials."""
        how = (trials, self.spec.nonlinearity, self.spec.tau)
        if self.span is not None:
            return network_loss(self.span, *how)
        if self.loadings is None:
            return loss(self.overlaps, *how)
        from predictlearn.network.activity import run_network

        return trials.loss(run_network(self.loadings, *how).outputs)

    def change(self, phase: PhaseSpec, sequence: np.random.SeedSequence) -> Course:
        """Change the readout; what feeds errors back stays."""
        if self.span is not None:
            self.earlier = self.span.z
            self.span = readout_in_span(
                self.span, phase.readout or {}, phase.within_manifold, phase.rotate_readout
            )
            names, row = _quantities(self.span)
            return Course(np.zeros(1), np.zeros(0), names, row[None])
        if phase.rotate_readout is not None:
            self.overlaps = rotate_readout(self.overlaps, phase.rotate_readout)
            if self.loadings is not None:
                z = self.loadings.z @ rotation(phase.rotate_readout).T
                self.loadings = Loadings(self.loadings.m, self.loadings.u, self.loadings.v, z)
        else:
            self.overlaps = change_readout(
                self.overlaps, phase.readout or {}, phase.within_manifold
            )
            if self.loadings is not None:
                self.loadings = match_readout(self.loadings, self.overlaps, sequence)
        series = self.overlaps.to_series()
        return Course(np.zeros(1), np.zeros(0), self.overlaps.names, series.to_numpy()[None])

    @property
    def learner(self) -> str:
        """What the span holds, "factors" or "synapses"; empty where there is none."""
        if self.span is None:
            return ""
        return "synapses" if isinstance(self.span, Synapses) else "factors"

    @property
    def stacked(self) -> np.ndarray:
        """[m w z b] or [m u v z b] in the span, (D, columns); without rows where there is none."""
        if self.span is None:
            return np.empty((0, 0))
        names = "mwz" if isinstance(self.span, Synapses) else "muvz"
        parts = [getattr(self.span, name) for name in names]
        if self.span.feedback is not None:
            parts.append(self.span.feedback)
        return np.hstack(parts)


def span_of(learner: str, stacked: np.ndarray, sizes: tuple[int, int, int]) -> Synapses | Factors:
    """Return the network that `NetworkState.stacked` holds."""
    n_in, rank, n_out = sizes
    widths = [n_in, len(stacked), n_out] if learner == "synapses" else [n_in, rank, rank, n_out]
    *parts, b = np.split(stacked, np.cumsum(widths), axis=1)
    feedback = b if b.shape[1] else None
    if learner == "synapses":
        m, w, z = parts
        return Synapses(m, w, z, feedback)
    m, u, v, z = parts
    return Factors(m, u, v, z, feedback)


def _quantities(network: Synapses | Factors) -> tuple[tuple[str, ...], np.ndarray]:
    """Return names and values of what is recorded of a network in its span."""
    if isinstance(network, Synapses):
        series = network.quantities()
        names, values = tuple(map(str, series.index)), series.to_numpy()
    else:
        overlaps = network.overlaps
        names, values = overlaps.names, overlaps.to_series().to_numpy()
    if network.feedback is None:
        return names, values
    return (*names, "alignment"), np.append(values, network.alignment)


def course_of(trajectory: Trajectory | SynapticTrajectory) -> Course:
    """Return what is recorded of a trajectory."""
    at = np.searchsorted(trajectory.loss_epochs, trajectory.epochs)
    epochs, losses = np.asarray(trajectory.epochs, dtype=float), trajectory.losses[at]
    if isinstance(trajectory, SynapticTrajectory):
        rows = [_quantities(trajectory.at(k)) for k in range(len(epochs))]
        return Course(epochs, losses, rows[0][0], np.array([row for _, row in rows]))
    pairs = table_pairs(*trajectory.sizes)
    rows_of, columns = zip(*pairs.values(), strict=True)
    values = trajectory.array[:, list(rows_of), list(columns)]
    names = tuple(pairs)
    if isinstance(trajectory, FactorTrajectory) and trajectory.end.feedback is not None:
        values = np.column_stack([values, trajectory.alignments])
        names = (*names, "alignment")
    return Course(epochs, losses, names, values)
