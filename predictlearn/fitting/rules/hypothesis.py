"""A hypothesis about learning, what of it is fitted, and what it predicts for sessions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from predictlearn.arrays import Array
from predictlearn.errors import InputError, choice
from predictlearn.fitting.learning.parameters import ParameterLayout
from predictlearn.fitting.learning.sessions import Sessions
from predictlearn.fitting.rules.columns import columns_of
from predictlearn.theory.learning.local_rules import LocalRule
from predictlearn.theory.learning.phases import LOSS
from predictlearn.theory.learning.rules import GradientDescent
from predictlearn.theory.learning.span import LEARNERS
from predictlearn.theory.learning.span_many import SpanSchedule, check_plain
from predictlearn.theory.names import pathway_slices
from predictlearn.theory.overlaps import Overlaps
from predictlearn.theory.synapses.network import Feedback

__all__ = ["Hypothesis", "RuleModel"]

_RATE, _DECODER, _PRIVATE = STRENGTHS = ("rate", "decoder", "private")
# Log rates beyond which, from the first guess, nothing is sought.
_FARTHEST = 8.0


@dataclass(frozen=True)
class Hypothesis:
    """What learns, by which rule, and what of the rule is fitted.

    Parameters
    ----------
    rule : GradientDescent, FeedbackAlignment or RFLO
        The rule, with a first guess of its rate and feedback; without momentum, noise and schedule.
    learns : {"factors", "synapses"}
        What learns.
    fitted : sequence of {"rate", "decoder", "private"}, optional
        What is fitted, the others are held as the rule has them; all that the rule has if not given
        (a decoder only where it is a number).

    Raises
    ------
    InputError
        If the rule has no such setting, or cannot be followed from session to session.

    Examples
    --------
    >>> import predictlearn as pl
    >>> pl.Hypothesis(pl.RFLO(5e-3), "synapses").fitted
    ('rate', 'decoder', 'private')

    Feedback through the readout of the start, whatever becomes of it:

    >>> old = pl.FeedbackAlignment(5e-3, pl.Feedback(decoder=1.0, private=0.0))
    >>> pl.Hypothesis(old, "synapses", fitted=["rate"]).fitted
    ('rate',)
    """

    rule: GradientDescent | LocalRule
    learns: str = "factors"
    fitted: Sequence[str] | None = None

    def __post_init__(self) -> None:
        check_plain(self.rule, ())
        choice("learns", self.learns, LEARNERS)
        pathways = "mwz" if self.learns == "synapses" else "muvz"
        for pathway in self.rule.pathway_rates or {}:
            if pathway not in pathways:
                raise InputError(
                    f"pathway_rates: {pathway!r} is no pathway where {self.learns} learn; these "
                    f"are {', '.join(pathways)}."
                )
        has = [_RATE]
        if isinstance(self.rule, LocalRule):
            number = not isinstance(self.rule.feedback.decoder, tuple)
            has += [_DECODER, _PRIVATE] if number else [_PRIVATE]
        if isinstance(self.fitted, str):
            raise InputError(f"fitted must be a sequence of names; got {self.fitted!r}.")
        fitted = has if self.fitted is None else self.fitted
        unknown = [name for name in fitted if name not in has]
        if unknown:
            raise InputError(
                f"fitted: a {type(self.rule).__name__} here has {', '.join(has)} to fit; "
                f"got {', '.join(map(repr, unknown))}."
            )
        object.__setattr__(self, "fitted", tuple(name for name in STRENGTHS if name in fitted))

    @property
    def feedback(self) -> Feedback | None:
        """Feedback of the rule; None where errors come back by the readout as it is."""
        return self.rule.feedback if isinstance(self.rule, LocalRule) else None


@dataclass(frozen=True, eq=False)
class RuleModel:
    """Predictions of a hypothesis for sessions, from x = (L, log rate, decoder, private^2).

    L makes the overlaps at the start, S = L L', see `ParameterLayout`; of the others those are
    there that are fitted. The size of the random part of the feedback enters by its square, in
    which what is learned is smooth at zero.

    Parameters
    ----------
    data : Sessions
        The measurements.
    hypothesis : Hypothesis
        What is fitted.
    tau : float
        Time constant.
    whole : RuleModel, optional
        That of all sessions, where `data` are the first of them: what it prepared is used.
    """

    data: Sessions
    hypothesis: Hypothesis
    tau: float
    whole: RuleModel | None = None

    @cached_property
    def layout(self) -> ParameterLayout:
        """Where the overlaps stand in x."""
        return ParameterLayout(self.data.sizes, GradientDescent(1.0), "known")

    @property
    def strengths(self) -> tuple[str, ...]:
        """Names of the parameters after the overlaps."""
        return tuple(self.hypothesis.fitted or ())

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the natural parameters: overlaps, then strengths."""
        return (*self.layout.overlap_names, *self.strengths)

    def first(self, scale: float, spread: Array) -> Array:
        """Return strengths about those of the rule, by normal numbers (3,); zeros for itself."""
        feedback = self.hypothesis.feedback
        found = {_RATE: 0.7 * spread[0]}
        if feedback is not None:
            decoder = feedback.decoder if isinstance(feedback.decoder, float) else 0.0
            found[_DECODER] = decoder + 0.5 * spread[1]
            found[_PRIVATE] = max(feedback.private, 0.1 * scale) ** 2 * np.exp(0.7 * spread[2])
        return np.array([found[name] for name in self.strengths])

    def rule_at(self, strengths: Array) -> GradientDescent | LocalRule:
        """Return the rule with strengths, as they stand in x."""
        rule = self.hypothesis.rule
        values = dict(zip(self.strengths, map(float, strengths), strict=True))
        if _RATE in values:
            rule = replace(rule, rate=rule.rate * np.exp(values[_RATE]))
        if isinstance(rule, LocalRule):
            feedback = rule.feedback
            rule = replace(
                rule,
                feedback=Feedback(
                    values.get(_DECODER, feedback.decoder),
                    np.sqrt(max(values[_PRIVATE], 0.0)) if _PRIVATE in values else feedback.private,
                ),
            )
        return rule

    @cached_property
    def schedule(self) -> SpanSchedule:
        """What is learned between sessions."""
        data = self.data
        if self.whole is not None:
            return self.whole.schedule.first(len(data.epochs))
        return SpanSchedule(self.hypothesis.rule, data.tasks, data.epochs, self.tau)

    def first_sessions(self, count: int) -> RuleModel:
        """Return the model of the first sessions alone: what comes later is not learned."""
        return replace(self, data=self.data.first(count), whole=self)

    def _strength(self, name: str, xs: Array, otherwise: float) -> Array:
        """Return a strength of every row as it stands in x, or what the rule has."""
        if name not in self.strengths:
            return np.full(len(xs), otherwise)
        return xs[:, self.layout.n_overlaps + self.strengths.index(name)]

    def _networks(self, xs: Array) -> tuple[dict[str, Array], Array | None]:
        """Return the parts of the networks of parameters, and their feedback."""
        dim, (_, _, n_out) = self.layout.dim, self.data.sizes
        feedback = self.hypothesis.feedback
        # of one shape whatever the strengths: rows for a random part that may be zero
        theta = np.zeros((len(xs), dim + (0 if feedback is None else n_out), dim))
        theta[:, :dim] = np.swapaxes(self.layout.factor(xs), 1, 2)
        parts = {p: theta[:, :, s] for p, s in pathway_slices(*self.data.sizes).items()}
        b = None
        if feedback is not None:
            b = parts["z"] @ feedback.mixing(n_out)
            if _DECODER in self.strengths:
                b = self._strength(_DECODER, xs, 0.0)[:, None, None] * parts["z"]
            squares = self._strength(_PRIVATE, xs, feedback.private**2)
            b[:, dim:] += np.sqrt(np.maximum(squares, 0.0))[:, None, None] * np.eye(n_out)
        if self.hypothesis.learns == "synapses":
            parts["w"] = parts.pop("u") @ np.swapaxes(parts.pop("v"), 1, 2)
        return parts, b

    def inside(self, x: Array) -> Array:
        """Return parameters moved to where they are allowed."""
        x = np.array(x)
        for k, name in enumerate(self.strengths, start=self.layout.n_overlaps):
            if name == _PRIVATE:
                x[..., k] = np.maximum(x[..., k], 0.0)
            if name == _RATE:
                x[..., k] = np.clip(x[..., k], -_FARTHEST, _FARTHEST)
        return x

    def predictions(self, xs: Array) -> Array:
        """Return predicted measurements, (k, n), for rows of parameters; NaN once diverged."""
        data = self.data
        parts, b = self._networks(xs)
        rates = self.hypothesis.rule.rate * np.exp(self._strength(_RATE, xs, 0.0))
        with np.errstate(over="ignore", invalid="ignore"):
            found = self.schedule.courses(parts, b, rates)
            values = columns_of(found.m, found.w, found.z, data.columns)
        if LOSS in data.columns:
            values[..., data.columns.index(LOSS)] = found.losses
        values[~np.isfinite(found.losses)] = np.nan
        return np.asarray(values[:, data.session, data.column])

    def first_session(self, xs: Array) -> Array:
        """Return what the first session would show, (k, columns); NaN for the loss."""
        parts, _ = self._networks(xs)
        w = parts["w"] if "w" in parts else parts["u"] @ np.swapaxes(parts["v"], 1, 2)
        return columns_of(parts["m"], w, parts["z"], self.data.columns)

    # -- conventions ---------------------------------------------------------------------------

    def conventional(self, x: Array) -> Array:
        """Return the same network in the gauge by which its overlaps are reported.

        Where synapses learn no gauge of u and v means anything, and U'U = V'V is the convention;
        turns of u and v are settled by v_k m_j = 0 for k > j, and v_j m_j > 0.
        """
        s = self.layout.matrix(x)
        where, (_, rank, _) = pathway_slices(*self.data.sizes), self.data.sizes
        q = np.eye(rank)
        if self.hypothesis.learns == "synapses":
            a, b = (s[where[p], where[p]] for p in "uv")
            half = _power(a, 0.5)
            back = _power(a, -0.5)
            q = _power(back @ _power(half @ b @ half, 0.5) @ back, 0.5)
        vm = np.linalg.solve(q, s[where["v"], where["m"]])
        turn, triangle = np.linalg.qr(vm, mode="complete")
        signs = np.ones(len(q))
        count = min(triangle.shape)
        signs[:count] = np.where(np.diag(triangle)[:count] < 0, -1.0, 1.0)
        gauged = Overlaps(s, *self.data.sizes).gauge(q @ (turn * signs))
        return np.concatenate([self.layout.pack(gauged.matrix), x[self.layout.n_overlaps :]])

    def held(self, x: Array) -> Array:
        """Return what the conventions hold at zero, (k,)."""
        s = self.layout.matrix(x)
        where = pathway_slices(*self.data.sizes)
        found = []
        if self.hypothesis.learns == "synapses":
            apart = s[where["u"], where["u"]] - s[where["v"], where["v"]]
            found.append(apart[np.triu_indices(len(apart))])
        vm = s[where["v"], where["m"]]
        found.append(vm[np.tril_indices(len(vm), -1, vm.shape[1])])
        return np.concatenate(found)


def _power(matrix: Array, power: float) -> Array:
    """Return a power of a positive definite matrix, its least eigenvalues held above rounding."""
    values, vectors = np.linalg.eigh(matrix)
    values = np.maximum(values, 1e-10 * max(float(values[-1]), 1e-300))
    return np.asarray((vectors * values**power) @ vectors.T)
