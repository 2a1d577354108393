"""Learning in the span of the starting vectors: synapses, and rules with feedback of their own.

Noise on synapses, W <- W - rate G + sigma Xi / sqrt(N) with Xi of N x N independent numbers, does
not close here, neither by its mean nor by mean and covariance. One step does: its mean is that of
descent. But G has the degree of the loss in W, two for every synapse that a trial passes: the mean
of the next step needs the second moments of W, E[Xi A Xi'] = tr(A) 1 among them, which is no matrix
of the span; their change needs fourth moments, and so on without end. Nor does it go away for many
neurons. There noise leaves the function of the moment as it is, z' Xi^k m -> 0, but each epoch adds
sigma^2 |m|^2 to |W m|^2, and sigma^2 |z|^2 to |W' z|^2, by which the function learns, along vectors
Xi m, Xi' z, Xi Xi m, ... that are new in every epoch and that learning takes up into W. So the span
grows with every epoch, by more vectors than a trial has bins. (Noise on factors adds sigma^2 to the
norms of a fixed number of vectors: there the mean closes.)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from predictlearn.checks import positive_int
from predictlearn.errors import DivergenceError, InputError, choice
from predictlearn.theory.activity import NO_NOISE, Batch
from predictlearn.theory.learning.epochs import check_memory, diverged, kept_epochs, loss_limit
from predictlearn.theory.learning.local_rules import RFLO, FeedbackAlignment, LocalRule
from predictlearn.theory.learning.rules import GradientDescent, rates_where
from predictlearn.theory.learning.schedules import drop_of, multipliers
from predictlearn.theory.learning.trajectory import Trajectory
from predictlearn.theory.learning.trial_stream import TrialStream
from predictlearn.theory.overlaps import Overlaps
from predictlearn.theory.synapses.gradients import (
    RUNAWAY,
    Directions,
    Steering,
    loop_radius,
    runs_away,
)
from predictlearn.theory.synapses.moments import worth_moments
from predictlearn.theory.synapses.network import Factors, Synapses

__all__ = [
    "LEARNERS",
    "FactorTrajectory",
    "SynapticTrajectory",
    "check_loop",
    "learn_in_span",
    "start_in_span",
    "steering_of",
]

# What may learn.
LEARNERS = ("factors", "synapses")


@dataclass(frozen=True)
class SynapticTrajectory:
    """Synapses and loss along learning; row e holds the network before update e.

    Parameters
    ----------
    m, w, z : numpy.ndarray, (rows, D, n_in), (rows, D, D), (rows, D, n_out)
        The network in the span, the start first and the final state last; see `Synapses`.
    feedback : numpy.ndarray, (D, n_out), or None
        B, which does not change.
    epochs : numpy.ndarray, (rows,)
        Epoch of each row; learning time, in units of 1 / rate, for gradient flow.
    losses : numpy.ndarray
        Loss at each of `loss_epochs`, on that epoch's trials and clean targets.
    loss_epochs : numpy.ndarray
        Where the loss was taken: every epoch, 0 to the last.
    seed : int
        Seed of trials and noise.
    settings : mapping
        Task, rule, what learns, nonlinearity, tau and software version, as text.

    Examples
    --------
    >>> import predictlearn as pl
    >>> start = pl.Overlaps(np.eye(4)).replace(zu=0.1, vm=0.1)
    >>> t = pl.learn(start, pl.Filter(), pl.GradientDescent(5e-3), 20, learns="synapses")
    >>> t.w.shape, bool(t.losses[-1] < t.losses[0])
    ((21, 4, 4), True)
    """

    m: np.ndarray
    w: np.ndarray
    z: np.ndarray
    feedback: np.ndarray | None
    epochs: np.ndarray
    losses: np.ndarray
    loss_epochs: np.ndarray
    seed: int
    settings: Mapping[str, Any]

    def __post_init__(self) -> None:
        for name in ("m", "w", "z", "epochs", "losses", "loss_epochs"):
            array = np.asarray(getattr(self, name))
            array.flags.writeable = False
            object.__setattr__(self, name, array)
        object.__setattr__(self, "settings", MappingProxyType(dict(self.settings)))

    def at(self, row: int) -> Synapses:
        """Return the network of a row."""
        return Synapses(self.m[row], self.w[row], self.z[row], self.feedback)

    @property
    def start(self) -> Synapses:
        """The network before learning."""
        return self.at(0)

    @property
    def final(self) -> Synapses:
        """The network after the last update."""
        return self.at(-1)

    @property
    def loss(self) -> pd.Series:
        """Loss by epoch."""
        return pd.Series(self.losses, index=pd.Index(self.loss_epochs, name="epoch"), name="loss")

    @property
    def quantities(self) -> pd.DataFrame:
        """What is meant in any basis, see `Synapses.quantities`; one row an epoch kept."""
        rows = [self.at(k).quantities() for k in range(len(self.epochs))]
        return pd.DataFrame(rows, index=pd.Index(self.epochs, name="epoch"))

    @property
    def alignment(self) -> pd.Series:
        """Cosine between feedback and readout; NaN without feedback."""
        rows = [self.at(k).alignment for k in range(len(self.epochs))]
        return pd.Series(rows, index=pd.Index(self.epochs, name="epoch"), name="alignment")

    @property
    def drift(self) -> float:
        """Largest change of an entry of `Synapses.conserved`; zero along gradient flow."""
        first = self.start.conserved()
        return float(
            max(np.abs(self.at(k).conserved() - first).max() for k in range(len(self.epochs)))
        )

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "settings": dict(self.settings)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        object.__setattr__(self, "settings", MappingProxyType(self.settings))


@dataclass(frozen=True)
class FactorTrajectory(Trajectory):
    """A trajectory of overlaps under a rule with feedback of its own.

    Parameters
    ----------
    end : Factors
        The network after the last update with its feedback; learning goes on from it.
    alignments : numpy.ndarray, (rows,)
        Cosine between feedback and readout in each row.
    """

    end: Factors
    alignments: np.ndarray

    @property
    def alignment(self) -> pd.Series:
        """Cosine between feedback and readout, one row an epoch kept."""
        return pd.Series(
            self.alignments, index=pd.Index(self.epochs, name="epoch"), name="alignment"
        )


def steering_of(rule: GradientDescent | LocalRule, closed: bool) -> Steering:
    """Return how a rule steers the synapses."""
    if isinstance(rule, FeedbackAlignment):
        return Steering(transports=True, own_feedback=True, through_loop=False)
    if isinstance(rule, RFLO):
        return Steering(transports=False, own_feedback=True, through_loop=False)
    return Steering(through_loop=closed and rule.loop == "through")


def start_in_span(
    start: Overlaps | Synapses | Factors, rule: object, learns: str | None
) -> Synapses | Factors:
    """Return the network in its span from which learning starts.

    Parameters
    ----------
    start : Overlaps, Synapses or Factors
        What was given.
    rule : GradientDescent, FeedbackAlignment or RFLO
        Its feedback is put in where the rule needs one and the network has none.
    learns : {"factors", "synapses"} or None
        What learns; None for what the start says, factors for overlaps.

    Returns
    -------
    Synapses or Factors
        The start.

    Raises
    ------
    InputError
        If the start cannot learn what it should.
    """
    if learns is not None:
        choice("learns", learns, LEARNERS)
    feedback = rule.feedback if isinstance(rule, LocalRule) else None
    if isinstance(start, Overlaps):
        kind = Synapses if learns == "synapses" else Factors
        return kind.from_overlaps(start, feedback)
    if isinstance(start, Synapses) and learns == "factors":
        raise InputError(
            "learns must be 'synapses' for a network given by its synapses, pl.Synapses: they have "
            "no factors. Start from Overlaps, or from Factors."
        )
    if not isinstance(start, Synapses | Factors):
        raise InputError(
            f"overlaps must be an Overlaps, Synapses or Factors; got {type(start).__name__}."
        )
    if isinstance(start, Factors) and learns == "synapses":
        start = Synapses(start.m, start.u @ start.v.T, start.z, start.feedback)
    if feedback is not None and start.feedback is None:
        return _with_feedback(start, feedback)
    return start


def _with_feedback(start: Synapses | Factors, feedback: Any) -> Synapses | Factors:
    """Return a network with feedback, in a span with further dimensions if part of it is random."""
    n_out = start.z.shape[1]
    b = start.z @ feedback.mixing(n_out)
    more = n_out if feedback.private > 0 else 0
    b = np.vstack([b, feedback.private * np.eye(n_out)[:more]])

    def longer(x: np.ndarray) -> np.ndarray:
        return np.vstack([x, np.zeros((more, x.shape[1]))])

    if isinstance(start, Factors):
        return Factors(longer(start.m), longer(start.u), longer(start.v), longer(start.z), b)
    w = np.pad(start.w, ((0, more), (0, more)))
    return Synapses(longer(start.m), w, longer(start.z), b)


class _Columns(NamedTuple):
    """Where the parts stand in the columns that learn, (D, columns), and their relative rates."""

    slices: dict[str, slice]
    rates: np.ndarray


def _columns_of(network: Synapses | Factors, rates: Mapping[str, float] | None) -> _Columns:
    """Return the columns that learn; InputError for a rate of a pathway that there is not."""
    names = "mwz" if isinstance(network, Synapses) else "muvz"
    slices, at = {}, 0
    for name in names:
        width = getattr(network, name).shape[1]
        slices[name] = slice(at, at + width)
        at += width
    columns = np.ones(at)
    for name, rate in rates_where("synapses" if "w" in slices else "factors", rates).items():
        columns[slices[name]] = rate
    return _Columns(slices, columns)


def _network_of(network: Synapses | Factors, theta: np.ndarray, where: dict[str, slice]) -> Any:
    """Return the network that columns stand for."""
    parts: dict[str, Any] = {name: theta[:, s] for name, s in where.items()}
    return replace(network, **parts)


def check_loop(network: Synapses | Factors, ready: Batch) -> None:
    """Raise if the loop of network and world runs away within a trial, by its linear part."""
    if ready.world is None or not ready.world.is_closed:
        return
    w = network.w if isinstance(network, Synapses) else network.u @ network.v.T
    joint, apart = loop_radius(network.m, w, network.z, ready)
    n_steps = ready.inputs.shape[0]
    if runs_away(joint, apart, n_steps):
        raise InputError(
            f"the loop of network and world is unstable before learning: what is left of a push "
            f"grows by {100 * (joint - 1):.3g}% a bin, e-fold in {1 / np.log(joint):.3g} bins, and "
            f"more than {RUNAWAY:g}-fold in a trial of {n_steps}. A weaker `seen` or `push` of "
            "the world, or a network with a weaker product of input and readout, gives a stable "
            "one; pl.loop_stability says by how much."
        )


def learn_in_span(
    start: Synapses | Factors,
    stream: TrialStream,
    rule: GradientDescent | LocalRule,
    n_epochs: int,
    every: int,
    goal: float,
    seed: int,
    settings: dict[str, Any],
) -> SynapticTrajectory | FactorTrajectory:
    """Run epochs of learning in the span of the start; arguments as of `learn`."""
    if rule.synaptic_noise > 0:
        raise InputError(
            "synaptic_noise leaves the span of the start, which is all that is followed here, and "
            "its moments do not close; train N neurons with it: pl.train_network(...). Noise on M "
            "and Z alone, with frozen synapses, is that of factors: learns='factors', "
            "pathway_rates={'u': 0.0, 'v': 0.0}."
        )
    n_epochs, every = positive_int("epochs", n_epochs), positive_int("every", every)
    columns, rates = _columns_of(start, rule.pathway_rates)
    synaptic = isinstance(start, Synapses)
    theta = np.hstack([getattr(start, name) for name in columns])
    check_memory(n_epochs, every, theta.size)
    ready = stream.next()
    check_loop(start, ready)
    closed = ready.world is not None and ready.world.is_closed
    steering = steering_of(rule, closed)
    noisy = rule.target_noise > 0
    moments = stream.constant and not noisy and worth_moments(ready, n_epochs)
    directions = Directions(ready, steering, len(theta), moments)
    rates_now = rule.rate * multipliers(rule.schedule, n_epochs)
    factor, below = drop_of(rule.schedule)
    rows = kept_epochs(n_epochs, every)
    kept = np.empty((len(rows), *theta.shape))
    losses = np.empty(n_epochs + 1)
    step, velocity = np.empty_like(theta), np.zeros_like(theta)
    limit = np.inf
    for epoch in range(n_epochs + 1):
        if epoch > 0 and not stream.constant:
            ready = stream.next()
            directions = Directions(ready, steering, len(theta), False)
        if epoch < n_epochs and epoch % every == 0:
            kept[epoch // every] = theta
        noise = NO_NOISE
        if noisy and epoch < n_epochs:
            noise = rule.target_noise * stream.target_rng.standard_normal(ready.noise_shape)
        parts = {name: theta[:, s] for name, s in columns.items()}
        w = parts["w"] if synaptic else parts["u"] @ parts["v"].T
        losses[epoch], g_m, g_w, g_z = directions(parts["m"], w, parts["z"], start.feedback, noise)
        if epoch == 0:
            limit = loss_limit(losses[0], ready)
        if not losses[epoch] <= limit:
            raise diverged(epoch, rule, losses)
        if epoch == n_epochs:
            break
        if losses[epoch] <= goal:
            rows = np.append(rows[rows < epoch], epoch)
            kept, losses = kept[: len(rows)].copy(), losses[: epoch + 1].copy()
            break
        step[:, columns["m"]], step[:, columns["z"]] = g_m, g_z
        if synaptic:
            step[:, columns["w"]] = g_w
        else:
            step[:, columns["u"]] = g_w @ parts["v"]
            step[:, columns["v"]] = g_w.T @ parts["u"]
        step += rule.weight_decay * theta
        velocity = rule.momentum * velocity - rates_now[epoch] * rates * step
        theta += velocity
        if losses[epoch] < below:
            rates_now[epoch + 1 :] /= factor
            below = -np.inf  # once
    if not np.all(np.isfinite(theta)):
        raise DivergenceError(
            f"learning diverged: a weight was not finite at epoch {len(losses) - 1}. Try a smaller "
            f"rate than that of {rule!r}.",
            len(losses) - 1,
        )
    kept[-1] = theta
    loss_epochs = np.arange(len(losses))
    settings = {**settings, "learns": "synapses" if synaptic else "factors"}
    if isinstance(start, Synapses):
        m, w, z = (kept[:, :, s].copy() for s in columns.values())
        return SynapticTrajectory(
            m, w, z, start.feedback, rows, losses, loss_epochs, seed, settings
        )
    end = _network_of(start, theta, columns)
    overlaps = np.einsum("rdi,rdj->rij", kept, kept)
    overlaps = (overlaps + np.swapaxes(overlaps, 1, 2)) / 2
    alignments = np.array([_network_of(start, k, columns).alignment for k in kept])
    return FactorTrajectory(
        overlaps, rows, losses, loss_epochs, start.sizes, seed, settings, end, alignments
    )
