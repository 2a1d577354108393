"""How an animal may learn a new mapping: what learns, what it sees, and how errors come back."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import integrate

from predictlearn.errors import DivergenceError, InputError, choice
from predictlearn.predictions.readout_learning import Measure, ReadoutLearning
from predictlearn.theory.activity import Batch
from predictlearn.theory.learning.span import LEARNERS
from predictlearn.theory.overlaps import Overlaps
from predictlearn.theory.synapses.gradients import Directions, Steering
from predictlearn.theory.synapses.network import Factors
from predictlearn.theory.trials import Trials

__all__ = ["MOST_LOSS", "LearningHypothesis", "learn_by", "with_feedback"]

# A rule that does not descend may run away: until the loss is so many times that of the start, or
# the weights so many times as long.
MOST_LOSS, _MOST_LENGTH = 25.0, 100.0
_POINTS = 201
FEEDBACKS = ("new", "old", "random", "random neurons")


@dataclass(frozen=True)
class LearningHypothesis:
    """How the new mapping may be learned; the default is the published one.

    Parameters
    ----------
    learns : {"factors", "synapses"}
        What learns.
    loop : {"open", "through", "given"}
        Whether the input reports the cursor, and whether learning counts that it does: "through"
        descends through the loop, "given" takes what is seen as given.
    rule : {"descent", "alignment", "rflo"}
        Errors run back in time through the recurrence ("descent", "alignment"), or reach each
        synapse in the bin in which they are made ("rflo").
    feedback : {"new", "old", "random", "random neurons"}
        By which vectors errors reach the neurons: the new mapping's, as descent wants it; the old
        one's; random ones that have no overlap with anything, as among infinitely many neurons; or
        random ones of the recorded neurons.

    Raises
    ------
    InputError
        If a word is none of these or they do not go together.

    Examples
    --------
    >>> LearningHypothesis("synapses", "given", "rflo", "old").name
    'synapses, seen as given, RFLO, feedback of the old mapping'
    >>> LearningHypothesis().name
    'factors, open loop, descent'
    """

    learns: str = "factors"
    loop: str = "open"
    rule: str = "descent"
    feedback: str = "new"

    def __post_init__(self) -> None:
        choice("learns", self.learns, LEARNERS)
        choice("loop", self.loop, ("open", "through", "given"))
        choice("rule", self.rule, ("descent", "alignment", "rflo"))
        choice("feedback", self.feedback, FEEDBACKS)
        if (self.rule == "descent") != (self.feedback == "new") and self.rule != "rflo":
            raise InputError(
                "descent has the feedback of the new mapping, and alignment another: got "
                f"rule={self.rule!r} with feedback={self.feedback!r}."
            )
        if self.rule != "descent" and self.loop == "through":
            raise InputError(
                f"only descent goes through the loop; {self.rule!r} takes what is seen as given."
            )

    @property
    def steering(self) -> Steering:
        """How errors steer the synapses."""
        return Steering(
            transports=self.rule != "rflo",
            own_feedback=self.rule != "descent",
            through_loop=self.loop == "through",
        )

    @property
    def name(self) -> str:
        """The hypothesis in words."""
        words = {"open": "open loop", "through": "through the loop", "given": "seen as given"}
        parts = [self.learns, words[self.loop]]
        parts.append({"descent": "descent", "alignment": "alignment", "rflo": "RFLO"}[self.rule])
        if self.rule != "descent":
            kind = self.feedback
            parts.append(
                f"feedback of the {kind} mapping" if kind in ("new", "old") else f"{kind} feedback"
            )
        return ", ".join(parts)


def with_feedback(
    start: Overlaps,
    inside: np.ndarray | None,
    rest: np.ndarray | None = None,
    seed: int | tuple[int, ...] = 0,
) -> Factors:
    """Return a network in its span with feedback of which only some overlaps are known.

    Parameters
    ----------
    start : Overlaps
        The network.
    inside : array_like, (n_in + rank + n_out, n_out), or None
        By which weights m, u and z, in this order, are in B. None: B has no overlap with anything
        but itself, where it is 1.
    rest : array_like, (n_out, n_out)
        Overlaps among themselves of what B has outside of m, u and z. Where v points outside of
        them may be anywhere in that and in itself: its direction is drawn, as of private parts in
        `HiddenPrior`.
    seed : int or tuple of int
        Seed of that direction.

    Returns
    -------
    Factors
        The network with B.

    Examples
    --------
    >>> import predictlearn as pl
    >>> start = pl.Overlaps(np.eye(4))  # m, u, v, z
    >>> network = with_feedback(start, np.array([[0.0], [0.0], [0.7]]), np.array([[1.0]]))
    >>> (network.z.T @ network.feedback).round(9).item()
    0.7
    """
    _, rank, n_out = start.sizes
    network = Factors.from_overlaps(start)

    def longer(x: np.ndarray) -> np.ndarray:
        return np.vstack([x, np.zeros((n_out, x.shape[1]))])

    b = np.zeros((start.dim + n_out, n_out))
    if inside is None or rest is None:
        b[-n_out:] = np.eye(n_out)
    else:
        known = np.hstack([network.m, network.u, network.z])
        root = _root(rest)
        outside, _, _ = np.linalg.svd(known)
        own = outside[:, known.shape[1] : known.shape[1] + rank]
        frame, _ = np.linalg.qr(np.random.default_rng(seed).standard_normal((rank + n_out, rank)))
        shared = frame[:n_out]
        b[:-n_out] = known @ inside + own @ shared.T @ root
        b[-n_out:] = _root(np.eye(n_out) - shared @ shared.T) @ root
    return Factors(longer(network.m), longer(network.u), longer(network.v), longer(network.z), b)


def _root(matrix: np.ndarray) -> np.ndarray:
    """Return the symmetric root of a positive semidefinite matrix."""
    values, vectors = np.linalg.eigh(matrix)
    return np.asarray((vectors * np.sqrt(np.clip(values, 0.0, None))) @ vectors.T)


def learn_by(
    hypothesis: LearningHypothesis,
    start: Factors,
    trials: Trials,
    measure: Measure,
    *,
    tau: float,
    horizon: float,
    points: int = _POINTS,
    most_loss: float = MOST_LOSS,
) -> ReadoutLearning:
    """Predict how a linear network learns with a fixed readout, in the limit of small steps.

    Parameters
    ----------
    hypothesis : LearningHypothesis
        How it learns.
    start : Factors
        The network, with the feedback of the hypothesis where it needs one.
    trials : Trials
        What it learns, with a world if the hypothesis closes the loop.
    measure : callable
        As in `readout_learning`; it is given the outputs of the network, in the loop if there is
        one.
    tau : float
        Time constant, seconds.
    horizon : float
        Learning time, in units of L / (|gradient| |step|) at the start, both over what learns:
        that of `readout_learning` where the step is the gradient, and a bound on how soon any
        other step of that size could bring the loss to zero.
    points : int, default 201
        Points of the curve.
    most_loss : float, default 25.0
        How far learning that runs away is followed: to so many times the first loss.

    Returns
    -------
    ReadoutLearning
        Of one draw. Where learning runs away, the curve stays where it was before that, or before
        the weights were 100 times as long.

    Raises
    ------
    InputError
        If the network does not learn at all.
    DivergenceError
        If the flow cannot be integrated.
    """
    synaptic = hypothesis.learns == "synapses"
    ready = Batch(trials, "linear", tau)
    closed = trials.world is not None and trials.world.is_closed
    step_of = Directions(ready, hypothesis.steering, len(start.m), False)
    exact = Directions(ready, Steering(through_loop=closed), len(start.m), False)
    n_in, rank, z = start.m.shape[1], start.u.shape[1], np.array(start.z)
    feedback = None if start.feedback is None else np.array(start.feedback)
    parts = [start.m, start.u @ start.v.T] if synaptic else [start.m, start.u, start.v]
    first = np.hstack(parts)

    def split(theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        m, rest = theta[..., :n_in], theta[..., n_in:]
        if synaptic:
            return m, rest
        return m, rest[..., :rank] @ np.swapaxes(rest[..., rank:], -1, -2)

    def evaluate(directions: Directions, theta: np.ndarray) -> tuple[float, np.ndarray]:
        m, w = (np.ascontiguousarray(x) for x in split(theta))
        loss, g_m, g_w, _ = directions(m, w, z, feedback)
        if synaptic:
            return loss, np.hstack([g_m, g_w])
        u, v = theta[:, n_in : n_in + rank], theta[:, n_in + rank :]
        return loss, np.hstack([g_m, g_w @ v, g_w.T @ u])

    loss, step = evaluate(step_of, first)
    _, gradient = evaluate(exact, first)
    speed = float(np.linalg.norm(step) * np.linalg.norm(gradient))
    if speed <= 0 or loss <= 0:
        raise InputError("a start does not learn this task: no step, or no slope of its loss.")
    constant = loss / speed

    def flow(_: float, flat: np.ndarray) -> np.ndarray:
        return -constant * evaluate(step_of, flat.reshape(first.shape))[1].ravel()

    def in_bounds(flat: np.ndarray) -> bool:
        now = evaluate(step_of, flat.reshape(first.shape))[0]
        length = float(np.linalg.norm(flat) / np.linalg.norm(first))
        return now <= most_loss * loss and length <= _MOST_LENGTH

    grid = np.linspace(0.0, horizon, points)
    kept, ran_away = np.empty((points, *first.shape)), False
    kept[0], done = first, 1
    solver = integrate.LSODA(flow, 0.0, first.ravel(), horizon, rtol=1e-6, atol=1e-8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        while solver.status == "running" and not ran_away:
            said = solver.step()
            if solver.status == "failed" and hypothesis.rule == "descent":
                raise DivergenceError(f"learning could not be followed: {said}", 0)
            ran_away = solver.status == "failed" or not in_bounds(solver.y)
            reached = done
            while not ran_away and reached < points and grid[reached] <= solver.t:
                reached += 1
            if reached > done:
                between = solver.dense_output()(grid[done:reached])
                kept[done:reached] = between.T.reshape(-1, *first.shape)
                done = reached
    kept[done:] = kept[done - 1]
    outputs = _outputs(*split(kept), z, trials, ready.a)
    by_trial = np.array([measure(trials, made) for made in outputs])
    losses = np.array([trials.loss(made) for made in outputs])
    settings: dict[str, Any] = {
        "nonlinearity": "linear",
        "tau": tau,
        "horizon": horizon,
        "draws": 1,
        "rule": f"{hypothesis.name}; z frozen",
        "ran away": ran_away,
        "cosine": float(np.sum(step * gradient)) / speed,
    }
    return ReadoutLearning(
        by_trial[:1], grid, by_trial[None], losses[None] / losses[0], np.array([constant]), settings
    )


def _outputs(m: np.ndarray, w: np.ndarray, z: np.ndarray, trials: Trials, a: float) -> np.ndarray:
    """Return outputs, (rows, trials, time, n_out), of linear networks in the loop of trials."""
    world = trials.world
    rows, (n, bins) = len(m), trials.inputs.shape[:2]
    h = np.zeros((rows, n, m.shape[1]))
    out = np.empty((rows, n, bins, z.shape[1]))
    back, drive = np.swapaxes(w, 1, 2), np.swapaxes(m, 1, 2)
    state = None if world is None else np.broadcast_to(world.start, (rows, n, world.n_state))
    for t in range(bins):
        seen = np.broadcast_to(trials.inputs[:, t], (rows, n, trials.n_in))
        if world is not None and world.is_closed:
            seen = seen + state @ world.seen.T
        h = (1 - a) * h + a * (h @ back + seen @ drive)
        out[:, :, t] = h @ z
        if world is not None:
            state = state @ world.step.T + out[:, :, t] @ world.push.T + world.offset
    return out
