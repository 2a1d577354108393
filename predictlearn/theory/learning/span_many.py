"""Many linear networks of one kind that learn the same tasks, seen in sessions along the way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from predictlearn.arrays import Array
from predictlearn.errors import DivergenceError, InputError
from predictlearn.theory.activity import Batch
from predictlearn.theory.kernels.span_many import learn_side_by_side
from predictlearn.theory.learning.local_rules import LocalRule
from predictlearn.theory.learning.rules import GradientDescent
from predictlearn.theory.learning.span import _columns_of, learn_in_span, steering_of
from predictlearn.theory.learning.trial_stream import TrialStream
from predictlearn.theory.synapses.moments import moments_of
from predictlearn.theory.synapses.network import Factors, Synapses
from predictlearn.theory.trials import Task

__all__ = ["SpanCourses", "check_plain", "span_courses"]

# Lags, times inputs, of which the moments of trials are kept: a matrix of 2 MB.
_MOST_LAGS = 500


@dataclass(frozen=True, eq=False)
class SpanCourses:
    """Networks in their spans at sessions along learning.

    Parameters
    ----------
    m, w, z : numpy.ndarray, (networks, sessions, D, n_in), (..., D, D), (..., D, n_out)
        The networks; NaN from where one diverged.
    losses : numpy.ndarray, (networks, sessions)
        Losses before the update that follows.
    """

    m: Array
    w: Array
    z: Array
    losses: Array


def check_plain(rule: Any, tasks: Sequence[Task]) -> None:
    """Raise unless rule and tasks say the same of learning between any two sessions."""
    if not isinstance(rule, GradientDescent | LocalRule):
        raise InputError(
            "rule must be a GradientDescent, FeedbackAlignment or RFLO; "
            f"got {type(rule).__name__}."
        )
    for name in ("momentum", "synaptic_noise", "target_noise", "minibatch", "schedule"):
        if getattr(rule, name):
            raise InputError(
                f"{name} must be left out here: sessions tell neither what a rule carries from "
                f"update to update nor what it drew; got {getattr(rule, name)!r}."
            )
    if not all(task.fixed for task in tasks):
        raise InputError(
            "tasks must have fixed trials; one draws new trials each epoch. Use task.freeze(seed)."
        )


def span_courses(
    starts: Sequence[Synapses] | Sequence[Factors],
    rules: Sequence[GradientDescent] | Sequence[LocalRule],
    tasks: Sequence[Task],
    when: npt.NDArray[np.intp],
    tau: float = 1.0,
) -> SpanCourses:
    """Let networks of one shape learn, by rules that differ in their rates alone.

    Parameters
    ----------
    starts : sequence of Synapses, or of Factors
        Networks before learning.
    rules : sequence of GradientDescent, FeedbackAlignment or RFLO
        One a network, of one kind.
    tasks : sequence of Task
        What is learned between any two sessions; fixed trials.
    when : numpy.ndarray of int, (sessions,)
        Epochs before each session, rising from 0.
    tau : float, default 1.0
        Time constant in seconds.

    Returns
    -------
    SpanCourses
        The networks at the sessions.

    Raises
    ------
    InputError
        If a rule or a task cannot be followed from session to session.
    """
    check_plain(rules[0], tasks)
    legs: list[tuple[Task, slice]] = []
    for k, task in enumerate(tasks):
        if legs and legs[-1][0] == task:
            legs[-1] = (task, slice(legs[-1][1].start, k + 2))
        else:
            legs.append((task, slice(k, k + 2)))
    first, n = starts[0], (len(starts), len(when))
    out = SpanCourses(
        np.full((*n, *first.m.shape), np.nan),
        np.full((*n, len(first.m), len(first.m)), np.nan),
        np.full((*n, *first.z.shape), np.nan),
        np.full(n, np.nan),
    )
    networks: list[Any] = list(starts)
    for task, rows in legs:
        ready = Batch(task.sample(np.random.default_rng(0)), "linear", tau)
        inside = when[rows] - when[rows][0]
        if _has_moments(ready) and all(rule.weight_decay == 0.0 for rule in rules):
            networks = _together(networks, rules, ready, inside, rows, out)
        else:
            stream = TrialStream(task, "linear", tau, 0)
            networks = [
                _alone(network, rule, stream, inside, rows, out, c)
                for c, (network, rule) in enumerate(zip(networks, rules, strict=True))
            ]
    return out


def _has_moments(ready: Batch) -> bool:
    """Return whether the trials can be told by their moments: no world, nothing added."""
    n_steps, n_in, _ = ready.inputs.shape
    plain = ready.world is None and ready.direct and not np.any(ready.offset)
    return plain and n_steps * n_in <= _MOST_LAGS


def _together(
    networks: list[Any],
    rules: Sequence[GradientDescent | LocalRule],
    ready: Batch,
    inside: npt.NDArray[np.intp],
    rows: slice,
    out: SpanCourses,
) -> list[Any]:
    """Learn one task in compiled loops; fill rows of `out`, and return the networks at its end."""
    first, steering = networks[0], steering_of(rules[0], False)
    factors = isinstance(first, Factors)
    names = ("m", "u", "v", "z") if factors else ("m", "w", "z")
    stacked = {name: np.stack([getattr(x, name) for x in networks], axis=-1) for name in names}
    dim, width = len(first.m), len(networks)
    none = np.empty((dim, 0, width))
    w = np.empty((dim, dim, width)) if factors else stacked["w"]
    parts = (stacked["m"], w, stacked["z"], stacked.get("u", none), stacked.get("v", none))
    b = none
    if steering.own_feedback:
        b = np.stack([x.feedback for x in networks], axis=-1)
    rates = np.empty((4, width))
    where = _columns_of(first, None).slices
    for c, rule in enumerate(rules):
        own = _columns_of(first, rule.pathway_rates).rates
        for k, name in enumerate("muvz" if factors else "mwwz"):
            rates[k, c] = rule.rate * own[where[name].start]
    n = len(inside)
    kept = (
        np.empty((n, *parts[0].shape)), np.empty((n, *w.shape)), np.empty((n, *parts[2].shape))
    )  # fmt: skip
    losses = np.empty((n, width))
    learn_side_by_side(
        parts, b, factors, steering.own_feedback, steering.transports, rates, moments_of(ready),
        inside, kept, losses,
    )  # fmt: skip
    for mine, found in zip((out.m, out.w, out.z), kept, strict=True):
        mine[:, rows] = np.moveaxis(found, -1, 0)
    out.losses[:, rows] = losses.T
    if out.m.shape[1] == rows.stop:
        return networks
    return [
        replace(x, **{name: array[..., c] for name, array in stacked.items()})
        if all(np.all(np.isfinite(array[..., c])) for array in stacked.values())
        else x
        for c, x in enumerate(networks)
    ]


def _alone(
    network: Any,
    rule: GradientDescent | LocalRule,
    stream: TrialStream,
    inside: npt.NDArray[np.intp],
    rows: slice,
    out: SpanCourses,
    c: int,
) -> Any:
    """Learn one task by one network, session by session; fill rows of `out`."""
    for k, n in enumerate(np.diff(inside)):
        try:
            t: Any = learn_in_span(network, stream, rule, int(n), int(n), -np.inf, 0, {})
        except DivergenceError:
            out.losses[c, rows.start + k :] = np.nan
            return network
        for row, x, loss in ((k, network, t.losses[0]), (k + 1, None, t.losses[-1])):
            x = (t.final if isinstance(network, Synapses) else t.end) if x is None else x
            at = rows.start + row
            out.m[c, at], out.z[c, at], out.losses[c, at] = x.m, x.z, loss
            out.w[c, at] = x.w if isinstance(x, Synapses) else x.u @ x.v.T
        network = x
    return network
