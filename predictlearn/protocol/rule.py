"""Learning rules in a protocol: a rule, and what an arm or a phase changes of it."""

from __future__ import annotations

from dataclasses import fields
from typing import Annotated, Any

from pydantic import Discriminator, Field, Tag, model_validator

from predictlearn.errors import InputError, choice
from predictlearn.protocol.section import Count, NonNegative, Positive, ProtocolSection, one_of
from predictlearn.theory.learning.local_rules import (
    RFLO,
    FeedbackAlignment,
    LocalRule,
    NodePerturbation,
)
from predictlearn.theory.learning.rules import (
    ALL_PATHWAYS,
    DirectDescent,
    FirstOrderDescent,
    GradientDescent,
    GradientFlow,
    Rule,
)
from predictlearn.theory.learning.schedules import RateDecay, RateDrop, Schedule
from predictlearn.theory.learning.span import LEARNERS
from predictlearn.theory.learning.synaptic_rules import Adam, RMSProp, SignDescent, SynapticRule
from predictlearn.theory.synapses.network import Feedback

__all__ = [
    "BEFORE",
    "NETWORK_RULES",
    "NEURONS_ONLY",
    "PERTURBATION",
    "RULES",
    "UNION_KINDS",
    "AnyRule",
    "FeedbackSpec",
    "RuleSpec",
    "ScheduleSpec",
]

AnyRule = Rule | SynapticRule | LocalRule | NodePerturbation

# By reward alone, from noise in N neurons.
PERTURBATION = "node-perturbation"

RULES: dict[str, type[AnyRule]] = {
    "gradient-descent": GradientDescent,
    "gradient-flow": GradientFlow,
    "feedback-alignment": FeedbackAlignment,
    "rflo": RFLO,
    PERTURBATION: NodePerturbation,
    "first-order-descent": FirstOrderDescent,
    "direct-descent": DirectDescent,
    "adam": Adam,
    "rmsprop": RMSProp,
    "sign-descent": SignDescent,
}
# Rules of single synapses; their rate is a step of the loadings, not an eta.
NEURONS_ONLY = ("adam", "rmsprop", "sign-descent")
# Rules whose errors come by feedback of their own, and all by which synapses may learn.
FEEDBACK_RULES = ("feedback-alignment", "rflo")
NETWORK_RULES = ("gradient-descent", *NEURONS_ONLY, *FEEDBACK_RULES, PERTURBATION)
SYNAPTIC_RULES = ("gradient-descent", "gradient-flow", *FEEDBACK_RULES, PERTURBATION)
# Feedback by the readout of before its last change.
BEFORE = "readout-before"

Memory = Annotated[float, Field(ge=0, lt=1)]


class ScheduleSpec(ProtocolSection):
    """How the rate of a rule changes."""

    type: Annotated[str, one_of("drop", "decay")]
    factor: Positive | None = None
    below: Positive | None = None
    epochs: Positive | None = None

    @model_validator(mode="after")
    def _consistent(self) -> ScheduleSpec:
        self._only(self.type, drop=("factor", "below"), decay=("epochs",))
        if self.type == "decay" and self.epochs is None:
            raise ValueError("a decay needs epochs: in how many the rate falls to 1/e")
        return self

    def build(self) -> Schedule:
        """Return the schedule."""
        settings = self.model_dump(exclude={"type"}, exclude_none=True)
        return RateDrop(**settings) if self.type == "drop" else RateDecay(**settings)


class FeedbackSpec(ProtocolSection):
    """By which vectors errors reach the neurons."""

    decoder: Any = 0.0
    private: NonNegative = 1.0

    def build(self) -> Feedback:
        """Return the feedback; InputError if the decoder is no number and no square matrix."""
        return Feedback(self.decoder, self.private)


# Names by which messages of the validation tell the two ways to write a value apart.
SCHEDULE_KINDS = ("schedule: settings", "schedule: multipliers")
FEEDBACK_KINDS = ("feedback: settings", "feedback: word")
UNION_KINDS = (*SCHEDULE_KINDS, *FEEDBACK_KINDS)

AnySchedule = Annotated[
    Annotated[ScheduleSpec, Tag(SCHEDULE_KINDS[0])]
    | Annotated[list[NonNegative], Field(min_length=1), Tag(SCHEDULE_KINDS[1])],
    Discriminator(lambda value: SCHEDULE_KINDS[isinstance(value, list)]),
]

AnyFeedback = Annotated[
    Annotated[FeedbackSpec, Tag(FEEDBACK_KINDS[0])]
    | Annotated[str, one_of(BEFORE), Tag(FEEDBACK_KINDS[1])],
    Discriminator(lambda value: FEEDBACK_KINDS[isinstance(value, str)]),
]


class RuleSpec(ProtocolSection):
    """A learning rule, or in an arm or a phase the settings of it that differ there."""

    type: Annotated[str, one_of(*RULES)] | None = None
    learns: Annotated[str, one_of(*LEARNERS)] | None = None
    rate: Positive | None = None
    feedback: AnyFeedback | None = None
    loop: Annotated[str, one_of("through", "given")] | None = None
    noise: Positive | None = None
    pathway_rates: dict[str, NonNegative] | None = None
    momentum: Memory | None = None
    weight_decay: NonNegative | None = None
    synaptic_noise: NonNegative | None = None
    target_noise: NonNegative | None = None
    minibatch: Count | None = None
    schedule: AnySchedule | None = None
    beta1: Memory | None = None
    beta2: Memory | None = None
    decay: Memory | None = None
    epsilon: Positive | None = None
    rtol: Positive | None = None
    atol: Positive | None = None

    @model_validator(mode="after")
    def _pathways(self) -> RuleSpec:
        for name in self.pathway_rates or {}:
            choice("a pathway of pathway_rates", name, ALL_PATHWAYS)
        return self

    @property
    def kind(self) -> str:
        """Name of the rule."""
        return self.type or "gradient-descent"

    @property
    def has_feedback(self) -> bool:
        """Whether errors come by feedback of their own."""
        return self.kind in FEEDBACK_RULES

    @property
    def leaves_overlaps(self) -> bool:
        """Whether overlaps alone do not follow it: synapses learn, or errors have feedback."""
        return self.learns == "synapses" or self.has_feedback

    def changed(self, override: RuleSpec | None) -> RuleSpec:
        """Return the rule with the settings of an arm or a phase put in place.

        Parameters
        ----------
        override : RuleSpec or None
            What differs; a setting of null goes back to its default.

        Returns
        -------
        RuleSpec
            The whole rule. Where the override names another type, settings that this type does
            not have are left behind, and so is the rate between a rule of the loadings' span and
            one of single synapses, for which it is another quantity.
        """
        if override is None:
            return self
        inherited = {name: getattr(self, name) for name in self.model_fields_set}
        given = {name: getattr(override, name) for name in override.model_fields_set}
        kind = override.type or self.kind
        if kind != self.kind:
            known = {"type", "rate", "learns", *_settings(kind)}
            if (kind in NEURONS_ONLY) != (self.kind in NEURONS_ONLY):
                known.discard("rate")
            inherited = {name: value for name, value in inherited.items() if name in known}
        return RuleSpec(**{**inherited, **given})

    def build(self) -> AnyRule:
        """Return the rule.

        Returns
        -------
        Rule, SynapticRule, LocalRule or NodePerturbation
            An object of `predictlearn.theory`.

        Raises
        ------
        InputError
            If a setting does not go with this type of rule, or the rate is missing.
        """
        settings: dict[str, Any] = {
            name: value
            for name in sorted(self.model_fields_set - {"type", "learns"})
            if (value := getattr(self, name)) is not None
        }
        allowed = _settings(self.kind)
        if self.kind == "gradient-flow":
            settings.pop("rate", None)  # it sets how much learning time an epoch is
        if self.learns == "synapses" and self.kind not in SYNAPTIC_RULES:
            raise InputError(
                f"learns: synapses does not go with {self.kind}; synapses learn by "
                f"{', '.join(SYNAPTIC_RULES)}"
            )
        for name in settings:
            if name not in allowed:
                raise InputError(
                    f"{name} does not go with this type of rule, which has {', '.join(allowed)}"
                )
        if "rate" in allowed and "rate" not in settings:
            own = " of its own, a step of the loadings" if self.kind in NEURONS_ONLY else ""
            example = 0.001 if own else 0.005
            raise InputError(f"the rule needs a rate{own}, such as rate: {example}")
        if isinstance(self.schedule, ScheduleSpec):
            settings["schedule"] = self.schedule.build()
        if self.feedback == BEFORE:
            settings["feedback"] = Feedback(decoder=1.0, private=0.0)
        elif isinstance(self.feedback, FeedbackSpec):
            settings["feedback"] = self.feedback.build()
        rule: AnyRule = RULES[self.kind](**settings)
        return rule


def _settings(kind: str) -> tuple[str, ...]:
    """Return the names of the settings of a type of rule."""
    return tuple(field.name for field in fields(RULES[kind]))
