"""What a protocol file may hold: the keys, their types and their defaults."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from predictlearn.errors import InputError, choice, nearest
from predictlearn.protocol.source import Location, Problem, Source
from predictlearn.theory.names import NONLINEARITIES, PATHWAYS
from predictlearn.theory.rules import DirectDescent, GradientDescent, GradientFlow, Rule

__all__ = [
    "ArmSpec",
    "CohortSpec",
    "DistributionSpec",
    "PhaseSpec",
    "ProtocolSpec",
    "RuleSpec",
    "parse",
]

RULES: dict[str, type[Rule]] = {
    "gradient-descent": GradientDescent,
    "gradient-flow": GradientFlow,
    "direct-descent": DirectDescent,
}


def _one_of(*allowed: str) -> AfterValidator:
    """Return a validator that accepts the named choices only."""

    def check(value: str) -> str:
        return choice("this", value, allowed)

    return AfterValidator(check)


Text = Annotated[str, Field(min_length=1)]
Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]


class _Section(BaseModel):
    """A part of a protocol: frozen, strict, and it names the nearest key when one is unknown."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    def _only(self, kind: str, **allowed: Sequence[str]) -> None:
        """Raise unless the keys that were given belong to the chosen type."""
        wrong = sorted(self.model_fields_set - {"type", *allowed[kind.replace("-", "_")]})
        if wrong:
            keys = ", ".join(allowed[kind.replace("-", "_")])
            raise ValueError(f"{', '.join(wrong)} does not go with type {kind!r}, which has {keys}")


class DistributionSpec(_Section):
    """Where the networks of a cohort come from."""

    type: Annotated[str, _one_of("absolute-normal", "random-loadings")]
    cross_sd: Positive = 0.4
    norms: Positive | Annotated[list[Positive], Field(min_length=2, max_length=2)] | None = None
    n_neurons: Count | None = None

    @model_validator(mode="after")
    def _consistent(self) -> DistributionSpec:
        self._only(
            self.type, absolute_normal=("cross_sd", "norms"), random_loadings=("norms", "n_neurons")
        )
        if self.type == "random-loadings":
            if self.n_neurons is None:
                raise ValueError("random-loadings needs n_neurons: how many neurons are drawn")
            if isinstance(self.norms, list):
                raise ValueError("norms of random-loadings must be one number, or left out")
        elif isinstance(self.norms, list) and self.norms[0] > self.norms[1]:
            raise ValueError(f"norms must be [low, high] with low <= high; got {self.norms}")
        return self


class CohortSpec(_Section):
    """How many networks, and which."""

    networks: Count = 1
    rank: Count = 1
    overlaps: dict[str, float] | None = None
    spread: NonNegative | dict[str, NonNegative] = 0.0
    distribution: DistributionSpec | None = None
    max_draws: Count = 10_000

    @model_validator(mode="after")
    def _consistent(self) -> CohortSpec:
        if (self.overlaps is None) == (self.distribution is None):
            raise ValueError(
                "a cohort has either overlaps (values, with an optional spread) or a distribution"
            )
        if self.distribution is not None and "spread" in self.model_fields_set:
            raise ValueError("spread goes with overlaps; a distribution has its own")
        return self


class RuleSpec(_Section):
    """A learning rule, or in a phase the settings of it that differ there."""

    type: Annotated[str, _one_of(*RULES)] | None = None
    rate: Positive | None = None
    pathway_rates: dict[str, NonNegative] | None = None
    momentum: Annotated[float, Field(ge=0, lt=1)] | None = None
    weight_decay: NonNegative | None = None
    synaptic_noise: NonNegative | None = None
    target_noise: NonNegative | None = None
    rtol: Positive | None = None
    atol: Positive | None = None

    @model_validator(mode="after")
    def _pathways(self) -> RuleSpec:
        for name in self.pathway_rates or {}:
            choice("a pathway of pathway_rates", name, PATHWAYS)
        return self

    def build(self, override: RuleSpec | None = None) -> Rule:
        """Return the rule, with the settings of a phase put in place."""
        settings = self.model_dump(exclude_none=True)
        if override is not None:
            settings |= override.model_dump(exclude_none=True)
        kind = RULES[settings.pop("type", "gradient-descent")]
        if kind is GradientFlow:
            settings.pop("rate", None)  # it sets how much learning time an epoch is
        allowed = tuple(field.name for field in fields(kind))
        for name in settings:
            if name not in allowed:
                raise InputError(
                    f"{name} does not go with this type of rule, which has {', '.join(allowed)}"
                )
        if "rate" in allowed and "rate" not in settings:
            raise InputError("the rule needs a rate, such as rate: 0.005")
        rule: Rule = kind(**settings)
        return rule


class PhaseSpec(_Section):
    """A stretch of training on one task, or a change of the readout."""

    name: Text | None = None
    task: Text | None = None
    epochs: Count | None = None
    rule: RuleSpec | None = None
    readout: Annotated[dict[str, float], Field(min_length=1)] | None = None
    within_manifold: bool = False
    rotate_readout: float | None = None

    @property
    def trains(self) -> bool:
        """Whether this phase is training, not a change of the readout."""
        return self.task is not None

    def label(self, number: int) -> str:
        """Return the phase's name, or its number (from 1) and task."""
        what = self.task if self.task is not None else "readout"
        return self.name or f"{number + 1}-{what}"

    @model_validator(mode="after")
    def _consistent(self) -> PhaseSpec:
        training = self.model_fields_set & {"task", "epochs", "rule"}
        steps = self.model_fields_set & {"readout", "rotate_readout"}
        if bool(training) == bool(steps) or len(steps) > 1:
            raise ValueError(
                "a phase either trains (task and epochs, optionally rule) or changes the readout "
                "(readout with new values, or rotate_readout in degrees)"
            )
        if training and (self.task is None or self.epochs is None):
            absent = "task" if self.task is None else "epochs"
            raise ValueError(f"{absent} is missing: a phase of training needs task and epochs")
        if self.within_manifold and self.readout is None:
            raise ValueError("within_manifold goes with readout")
        return self


class ArmSpec(_Section):
    """One course of training, from the cohort's networks or functional equivalents of them."""

    description: str = ""
    start: dict[str, float] = {}
    start_change: dict[str, float] = {}
    phases: Annotated[list[PhaseSpec], Field(min_length=1)]


class ProtocolSpec(_Section):
    """A whole protocol."""

    name: Text
    description: str = ""
    seed: Annotated[int, Field(ge=0)] = 0
    nonlinearity: Annotated[str, _one_of(*NONLINEARITIES)] = "linear"
    tau: Positive = 1.0
    engine: Annotated[str, _one_of("theory", "network")] = "theory"
    n_neurons: Count | None = None
    cohort: CohortSpec
    tasks: Annotated[dict[str, dict[str, Any]], Field(min_length=1)]
    rule: RuleSpec
    arms: Annotated[dict[str, ArmSpec], Field(min_length=1)]
    record_every: Count = 1
    evaluate: list[str] = []


def _section_at(location: Sequence[str | int]) -> type[BaseModel] | None:
    """Return the model whose keys stand at a location, or None inside free mappings."""
    arm = ("arms", "*")
    known: dict[tuple[str, ...], type[BaseModel]] = {
        (): ProtocolSpec,
        ("cohort",): CohortSpec,
        ("cohort", "distribution"): DistributionSpec,
        ("rule",): RuleSpec,
        arm: ArmSpec,
        (*arm, "phases", "*"): PhaseSpec,
        (*arm, "phases", "*", "rule"): RuleSpec,
    }
    pattern = tuple(
        "*" if isinstance(part, int) or (depth == 1 and location[0] == "arms") else str(part)
        for depth, part in enumerate(location)
    )
    return known.get(pattern)


def _explain(error: Any) -> Problem:
    """Return where one pydantic error is and, in plain words, what is wrong."""
    location: Location = tuple(error["loc"])
    kind, message, got = error["type"], str(error["msg"]), error["input"]
    if kind == "extra_forbidden":
        section = _section_at(location[:-1])
        names = list(section.model_fields) if section else []
        close = nearest(location[-1], names)
        hint = f" Did you mean {close!r}?" if close else ""
        return location, f"there is no such key here; the keys are {', '.join(names)}.{hint}"
    if kind == "missing":
        return location[:-1], f"the key {location[-1]!r} is missing"
    if kind == "value_error":
        return location, message.removeprefix("Value error, ").removesuffix(".")
    message = re.sub(r"^Input should (be|have)", r"must \1", message)
    message = re.sub(r"^(List|Dictionary|String) should have", "must have", message)
    message = message.replace("a valid ", "a ").replace("dictionary", "mapping of keys to values")
    message = message.replace("a integer", "a whole number").replace("an integer", "a whole number")
    message = message.replace("instance of", "").replace("string", "text")
    shown = repr(got) if len(repr(got)) < 60 else type(got).__name__
    return location, f"{message}; got {shown}"


def parse(source: Source, checks: Callable[[ProtocolSpec], list[Problem]]) -> ProtocolSpec:
    """Return the checked content of a source.

    Parameters
    ----------
    source : Source
        The data.
    checks : callable
        Further checks, made once the keys are right; returns the problems it found.

    Returns
    -------
    ProtocolSpec
        The content.

    Raises
    ------
    InputError
        One error that lists every problem with its line.
    """
    try:
        spec = ProtocolSpec.model_validate(source.data)
    except ValidationError as error:
        raise source.refuse([_explain(item) for item in error.errors()]) from None
    problems = checks(spec)
    if problems:
        raise source.refuse(problems)
    return spec
