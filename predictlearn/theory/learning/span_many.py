"""Many linear networks of one kind that learn the same tasks, seen in sessions along the way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from predictlearn.arrays import Array
from predictlearn.errors import DivergenceError, InputError
from predictlearn.theory.activity import Batch
from predictlearn.theory.kernels.span import Moments
from predictlearn.theory.kernels.span_many import learn_side_by_side
from predictlearn.theory.learning.local_rules import LocalRule
from predictlearn.theory.learning.rules import GradientDescent
from predictlearn.theory.learning.span import check_loop, learn_in_span, steering_of
from predictlearn.theory.learning.trial_stream import TrialStream
from predictlearn.theory.synapses.moments import moments_of
from predictlearn.theory.synapses.network import Factors, Synapses
from predictlearn.theory.trials import Task

__all__ = ["SpanCourses", "SpanSchedule", "check_plain"]

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
            f"rule must be a GradientDescent, FeedbackAlignment or RFLO; got {type(rule).__name__}."
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


class SpanSchedule:
    """What is learned between sessions, prepared once for many networks.

    Parameters
    ----------
    rule : GradientDescent, FeedbackAlignment or RFLO
        The rule; networks may differ in its rate, and in feedback.
    tasks : sequence of Task
        What is learned between any two sessions; fixed trials.
    when : numpy.ndarray of int, (sessions,)
        Epochs before each session, rising from 0.
    tau : float, default 1.0
        Time constant in seconds.

    Raises
    ------
    InputError
        If a rule or a task cannot be followed from session to session.
    """

    def __init__(
        self,
        rule: GradientDescent | LocalRule,
        tasks: Sequence[Task],
        when: npt.NDArray[np.intp],
        tau: float = 1.0,
    ) -> None:
        check_plain(rule, tasks)
        self.rule, self.when = rule, when
        self.legs: list[tuple[slice, Moments | TrialStream]] = []
        last: Task | None = None
        for k, task in enumerate(tasks):
            if task == last:
                rows, trials = self.legs[-1]
                self.legs[-1] = (slice(rows.start, k + 2), trials)
                continue
            stream = TrialStream(task, "linear", tau, 0)
            by_moments = _has_moments(stream.next()) and rule.weight_decay == 0.0
            self.legs.append((slice(k, k + 2), moments_of(stream.next()) if by_moments else stream))
            last = task

    def first(self, count: int) -> SpanSchedule:
        """Return what is learned until the last of the first sessions, at least two."""
        early = copy(self)
        early.when = self.when[:count]
        early.legs = [
            (slice(rows.start, min(rows.stop, count)), trials)
            for rows, trials in self.legs
            if rows.start < count - 1
        ]
        return early

    def courses(
        self, parts: Mapping[str, Array], feedback: Array | None, rates: Array
    ) -> SpanCourses:
        """Let networks learn.

        Parameters
        ----------
        parts : mapping of str to numpy.ndarray, (networks, D, columns)
            m, w, z of networks whose synapses learn, or m, u, v, z where factors do.
        feedback : numpy.ndarray, (networks, D, n_out), optional
            B, where the rule has feedback of its own.
        rates : numpy.ndarray, (networks,)
            Rates of the rule.

        Returns
        -------
        SpanCourses
            The networks at the sessions.
        """
        parts = {name: np.array(part) for name, part in parts.items()}
        m, z = parts["m"], parts["z"]
        n = (len(m), len(self.when))
        out = SpanCourses(
            np.full((*n, *m.shape[1:]), np.nan),
            np.full((*n, m.shape[1], m.shape[1]), np.nan),
            np.full((*n, *z.shape[1:]), np.nan),
            np.full(n, np.nan),
        )
        for rows, trials in self.legs:
            inside = self.when[rows] - self.when[rows][0]
            if isinstance(trials, TrialStream):
                self._alone(parts, feedback, rates, trials, inside, rows, out)
            else:
                self._together(parts, feedback, rates, trials, inside, rows, out)
        return out

    def _together(
        self,
        parts: dict[str, Array],
        feedback: Array | None,
        rates: Array,
        moments: Moments,
        inside: npt.NDArray[np.intp],
        rows: slice,
        out: SpanCourses,
    ) -> None:
        """Learn one task in compiled loops; fill rows of `out`, and move `parts` to its end."""
        steering = steering_of(self.rule, False)
        factors = "u" in parts
        inner = {k: np.ascontiguousarray(x.transpose(1, 2, 0)) for k, x in parts.items()}
        dim, width = inner["m"].shape[0], len(rates)
        none = np.empty((dim, 0, width))
        w = np.empty((dim, dim, width)) if factors else inner["w"]
        b = none
        if steering.own_feedback and feedback is not None:
            # a copy: of what cannot be written to numba would make a second version of the loop
            b = np.array(np.moveaxis(feedback, 0, -1), order="C")
        relative = self.rule.pathway_rates or {}
        of_each = [relative.get(name, 1.0) for name in ("muvz" if factors else "mwwz")]
        kept = tuple(np.empty((len(inside), *x.shape)) for x in (inner["m"], w, inner["z"]))
        losses = np.empty((len(inside), width))
        learn_side_by_side(
            (inner["m"], w, inner["z"], inner.get("u", none), inner.get("v", none)),
            b, factors, steering.own_feedback, steering.transports, np.outer(of_each, rates),
            moments, inside, kept, losses,
        )  # fmt: skip
        for mine, found in zip((out.m, out.w, out.z), kept, strict=True):
            mine[:, rows] = found.transpose(3, 0, 1, 2)
        out.losses[:, rows] = losses.T
        for name, x in inner.items():
            parts[name] = x.transpose(2, 0, 1)

    def _alone(
        self,
        parts: dict[str, Array],
        feedback: Array | None,
        rates: Array,
        stream: TrialStream,
        inside: npt.NDArray[np.intp],
        rows: slice,
        out: SpanCourses,
    ) -> None:
        """Do the same for each network by itself, where there is no compiled loop."""
        kind = Factors if "u" in parts else Synapses
        world = stream.next().world
        for c, rate in enumerate(rates):
            rule = replace(self.rule, rate=float(rate))
            mine = {name: x[c] for name, x in parts.items()}
            if not all(np.all(np.isfinite(x)) for x in mine.values()):
                continue
            network: Any = kind(**mine, feedback=None if feedback is None else feedback[c])
            if world is not None and not _is_stable(network, stream):
                continue
            for k, n in enumerate(np.diff(inside)):
                try:
                    t: Any = learn_in_span(network, stream, rule, int(n), int(n), -np.inf, 0, {})
                except DivergenceError:
                    break
                if k == 0:
                    _keep(network, t.losses[0], out, c, rows.start)
                network = t.final if isinstance(network, Synapses) else t.end
                _keep(network, t.losses[-1], out, c, rows.start + k + 1)
            for name in parts:
                parts[name][c] = getattr(network, name)


def _is_stable(network: Synapses | Factors, stream: TrialStream) -> bool:
    """Return whether network and world together are stable, as learning checks it."""
    try:
        check_loop(network, stream.next())
    except InputError:
        return False
    return True


def _keep(network: Synapses | Factors, loss: float, out: SpanCourses, c: int, row: int) -> None:
    """Keep a network and its loss."""
    out.m[c, row], out.z[c, row], out.losses[c, row] = network.m, network.z, loss
    out.w[c, row] = network.w if isinstance(network, Synapses) else network.u @ network.v.T


def _has_moments(ready: Batch) -> bool:
    """Return whether the trials can be told by their moments: no world, nothing added."""
    n_steps, n_in, _ = ready.inputs.shape
    plain = ready.world is None and ready.direct and not np.any(ready.offset)
    return plain and n_steps * n_in <= _MOST_LAGS
