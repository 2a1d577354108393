"""Training of N neurons whose synapses learn, or by rules of circuits, or in a closed loop."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from predictlearn.checks import as_float_array, positive, positive_int
from predictlearn.errors import DivergenceError, InputError, choice
from predictlearn.network.dense import Parts, directions, perturbed_directions
from predictlearn.network.trajectories import (
    NetworkTrajectory,
    SynapticNetworkTrajectory,
    quantities_of,
)
from predictlearn.theory.activity import NO_NOISE, Batch, check_fit
from predictlearn.theory.learning.epochs import (
    check_memory,
    describe,
    diverged,
    kept_epochs,
    loss_limit,
)
from predictlearn.theory.learning.local_rules import (
    LocalRule,
    NodePerturbation,
)
from predictlearn.theory.learning.rules import GradientDescent, rates_where
from predictlearn.theory.learning.schedules import drop_of, multipliers
from predictlearn.theory.learning.span import LEARNERS, check_loop, steering_of
from predictlearn.theory.learning.synaptic_rules import SynapticRule
from predictlearn.theory.learning.trial_stream import TrialStream
from predictlearn.theory.loadings import Loadings
from predictlearn.theory.names import PATHWAYS
from predictlearn.theory.nonlinearity import Nonlinearity
from predictlearn.theory.synapses.network import Factors, Feedback, Synapses, SynapticNetwork
from predictlearn.theory.trials import Task

__all__ = ["train_densely"]

# Numbers that are kept of a row where synapses learn, about.
_KEPT = 64


def _start(
    network: Loadings | SynapticNetwork, learns: str | None, feedback: Any
) -> tuple[Parts, np.ndarray | None]:
    """Return the parts that learn, as copies, and the feedback that is given."""
    if isinstance(network, SynapticNetwork):
        if learns == "factors":
            raise InputError(
                "learns must be 'synapses' for a network given by its synapses, "
                "pl.SynapticNetwork: they have no factors. Start from Loadings."
            )
        if feedback is not None and network.feedback is not None:
            raise InputError("feedback must not be given for a network that has its own.")
        names = "mwz"
        feedback = network.feedback if feedback is None else feedback
    elif isinstance(network, Loadings):
        names = "muvz"
        if learns == "synapses":
            network, names = SynapticNetwork.from_loadings(network), "mwz"
    else:
        raise InputError(
            "loadings must be a Loadings, as Overlaps.loadings(n_neurons) returns, or a "
            f"SynapticNetwork; got {type(network).__name__}."
        )
    parts = {name: np.array(getattr(network, name), order="C") for name in names}
    if feedback is not None:
        feedback = as_float_array("feedback", feedback, shape=parts["z"].shape)
    return parts, feedback


def _drawn(
    wanted: Feedback, network: Loadings | SynapticNetwork, rng: np.random.Generator
) -> np.ndarray:
    """Return feedback of N neurons, its random part free of overlaps with the start.

    That with all loadings, or with M and Z where there are only synapses: exactly as in theory.
    """
    given = [network.m, network.z]
    if isinstance(network, Loadings):
        given += [network.u, network.v]
    n, n_out = network.z.shape
    b = network.z @ wanted.mixing(n_out)
    if wanted.private > 0:
        span = np.hstack(given)
        if n < span.shape[1] + n_out:
            raise InputError(
                f"random feedback needs at least {span.shape[1] + n_out} neurons here; got {n}."
            )
        basis, _ = np.linalg.qr(np.hstack([span, rng.standard_normal((n, n_out))]))
        b = b + wanted.private * np.sqrt(n) * basis[:, span.shape[1] :]
    return b


def _check_stable(parts: Parts, ready: Batch) -> None:
    """Raise if the loop of network and world is unstable from the start."""
    if ready.world is None or not ready.world.is_closed:
        return
    root = np.sqrt(len(parts["m"]))
    m, z = parts["m"] / root, parts["z"] / root
    if "w" in parts:
        check_loop(Synapses(m, parts["w"], z), ready)
    else:
        check_loop(Factors(m, parts["u"] / root, parts["v"] / root, z), ready)


class _Kept:
    """What is kept of the network in a row."""

    def __init__(self, feedback: np.ndarray | None) -> None:
        self.feedback = feedback
        self.rows: list[Any] = []
        self.alignments: list[float] = []

    def add(self, parts: Parts) -> None:
        """Measure the network."""
        z, b = parts["z"], self.feedback
        self.alignments.append(
            np.nan if b is None else np.sum(b * z) / (np.linalg.norm(b) * np.linalg.norm(z))
        )
        if "w" in parts:
            self.rows.append(quantities_of(SynapticNetwork(**parts)))
        else:
            theta = np.hstack([parts[p] for p in PATHWAYS])
            self.rows.append(theta.T @ theta / len(theta))


def train_densely(
    network: Loadings | SynapticNetwork,
    task: Task,
    rule: GradientDescent | SynapticRule | LocalRule | NodePerturbation,
    epochs: int,
    nonlinearity: str | Nonlinearity,
    tau: float,
    seed: int,
    every: int,
    stop_at: float | None,
    learns: str | None,
    feedback: np.ndarray | None,
) -> NetworkTrajectory | SynapticNetworkTrajectory:
    """Train N neurons; arguments and errors are those of `train_network`."""
    if not isinstance(rule, GradientDescent | LocalRule | NodePerturbation):
        raise InputError(
            "rule must be a GradientDescent, FeedbackAlignment, RFLO or NodePerturbation where "
            f"synapses learn or the task closes a loop; got {type(rule).__name__}."
        )
    if learns is not None:
        choice("learns", learns, LEARNERS)
    parts, feedback = _start(network, learns, feedback)
    synaptic = "w" in parts
    check_fit(network, task.n_in, task.n_out, "the task")
    rates = rates_where("synapses" if synaptic else "factors", rule.pathway_rates)
    n_epochs, every = positive_int("epochs", epochs), positive_int("every", every)
    check_memory(n_epochs, every, _KEPT if synaptic else len(parts) ** 2)
    goal = -np.inf if stop_at is None else positive("stop_at", stop_at)
    stream = TrialStream(task, nonlinearity, tau, seed, rule.minibatch)
    if feedback is None and isinstance(rule, LocalRule):
        feedback = _drawn(rule.feedback, network, stream.feedback_rng)
    n_neurons = len(parts["m"])
    # noise on W is of the order that moves each neuron's input as much as noise on M does
    noise_of = {name: rule.synaptic_noise * (rates[name] > 0) for name in parts}
    if synaptic:
        noise_of["w"] /= np.sqrt(n_neurons)
    start = SynapticNetwork(**parts, feedback=feedback) if synaptic else None
    rates_now = rule.rate * multipliers(rule.schedule, n_epochs)
    factor, below = drop_of(rule.schedule)
    velocity: dict[str, Any] = dict.fromkeys(parts, 0.0)
    rows, kept = kept_epochs(n_epochs, every), _Kept(feedback)
    losses = np.empty(n_epochs + 1)
    limit = np.inf
    for epoch in range(n_epochs + 1):
        ready = stream.next()
        if epoch == 0:
            _check_stable(parts, ready)
        noise = NO_NOISE
        if rule.target_noise > 0 and epoch < n_epochs:
            noise = rule.target_noise * stream.target_rng.standard_normal(ready.noise_shape)
        # numbers that overflow are caught below, as a loss beyond the limit
        with np.errstate(over="ignore", invalid="ignore"):
            losses[epoch], g = _slopes(parts, ready, rule, feedback, stream, noise)
        if epoch == 0:
            limit = loss_limit(losses[0], ready)
        if not losses[epoch] <= limit:
            raise diverged(epoch, rule, losses)
        if epoch == n_epochs:
            break
        if losses[epoch] <= goal:
            rows, losses = np.append(rows[rows < epoch], epoch), losses[: epoch + 1].copy()
            break
        if epoch % every == 0:
            kept.add(parts)
        for name, part in parts.items():
            step = g[name] + rule.weight_decay * part
            velocity[name] = rule.momentum * velocity[name] - rates_now[epoch] * rates[name] * step
            part += velocity[name]
            if noise_of[name] > 0:
                part += noise_of[name] * stream.synapse_rng.standard_normal(part.shape)
        if losses[epoch] < below:
            rates_now[epoch + 1 :] /= factor
            below = -np.inf  # once
    if not all(np.all(np.isfinite(part)) for part in parts.values()):
        last = len(losses) - 1
        raise DivergenceError(
            f"learning diverged: a weight was not finite at epoch {last}. Try a smaller rate than "
            f"that of {rule!r}.",
            last,
        )
    kept.add(parts)
    settings = describe(task, rule, nonlinearity, tau) | {
        "n_neurons": n_neurons,
        "learns": "synapses" if synaptic else "factors",
    }
    alignments, at = np.array(kept.alignments), np.arange(len(losses))
    if start is not None:
        index = pd.Index(rows, name="epoch")
        table = pd.DataFrame(kept.rows).set_axis(index)
        final = SynapticNetwork(**parts, feedback=feedback)
        return SynapticNetworkTrajectory(
            table, alignments, rows, losses, at, start, final, seed, settings
        )
    sizes = (parts["m"].shape[1], parts["u"].shape[1], parts["z"].shape[1])
    overlaps = np.array(kept.rows)
    return NetworkTrajectory(
        overlaps, rows, losses, at, sizes, seed, settings, Loadings(**parts), feedback, alignments
    )


def _slopes(
    parts: Parts,
    ready: Batch,
    rule: GradientDescent | LocalRule | NodePerturbation,
    feedback: np.ndarray | None,
    stream: TrialStream,
    noise: np.ndarray,
) -> tuple[float, Parts]:
    """Return the loss, and G of every part by the rule."""
    if isinstance(rule, NodePerturbation):
        return perturbed_directions(parts, ready, rule.noise, stream.neuron_rng, noise)
    closed = ready.world is not None and ready.world.is_closed
    steering = steering_of(rule, closed)
    return directions(parts, ready, steering, feedback if steering.own_feedback else None, noise)
