"""What a protocol file may hold: the keys, their types and their defaults."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import cached_property
from itertools import accumulate
from operator import or_
from typing import Annotated, Any

from pydantic import BaseModel, Field, ValidationError, model_validator

from predictlearn.errors import choice, nearest
from predictlearn.protocol.animals import AnimalsSpec, DropoutSpec, LeavesSpec
from predictlearn.protocol.phase import (
    MOST_STEPS,
    PHASE_KINDS,
    ArmStep,
    PhaseSpec,
    SessionsSpec,
    UntilSpec,
    n_steps,
    steps_of,
)
from predictlearn.protocol.rule import UNION_KINDS, FeedbackSpec, RuleSpec, ScheduleSpec
from predictlearn.protocol.section import (
    Count,
    NonNegative,
    Positive,
    ProtocolSection,
    Text,
    one_of,
)
from predictlearn.protocol.source import Location, Problem, Source
from predictlearn.theory.names import NONLINEARITIES, PATHWAYS

__all__ = [
    "ArmSpec",
    "ArmStep",
    "CohortSpec",
    "DistributionSpec",
    "FeedbackSpec",
    "PhaseSpec",
    "ProtocolSpec",
    "RuleSpec",
    "ScheduleSpec",
    "SessionsSpec",
    "UntilSpec",
    "parse",
]


_KINDS = (*UNION_KINDS, *PHASE_KINDS)
# inputs, outputs and twice the rank, of which the overlaps are the products
MOST_DIMENSIONS = 100
Neurons = Annotated[Count, Field(le=1_000_000)]
# of one animal nothing can be said that holds of others
GroupSize = Annotated[int, Field(ge=2, le=100_000)]


class DistributionSpec(ProtocolSection):
    """Where the networks of a cohort come from."""

    type: Annotated[str, one_of("absolute-normal", "random-loadings")]
    cross_sd: Positive = 0.4
    norms: (
        Positive
        | Annotated[list[Positive], Field(min_length=2, max_length=2)]
        | dict[str, Positive]
        | None
    ) = None
    n_neurons: Neurons | None = None

    @model_validator(mode="after")
    def _consistent(self) -> DistributionSpec:
        self._only(
            self.type, absolute_normal=("cross_sd", "norms"), random_loadings=("norms", "n_neurons")
        )
        if self.type == "random-loadings":
            if self.n_neurons is None:
                raise ValueError("random-loadings needs n_neurons: how many neurons are drawn")
            if isinstance(self.norms, list):
                raise ValueError(
                    "norms of random-loadings must be one number, one by pathway, or left out"
                )
            for name in self.norms if isinstance(self.norms, dict) else ():
                choice("a pathway of norms", name, PATHWAYS)
        elif isinstance(self.norms, dict):
            raise ValueError("norms by pathway go with random-loadings")
        elif isinstance(self.norms, list) and self.norms[0] > self.norms[1]:
            raise ValueError(f"norms must be [low, high] with low <= high; got {self.norms}")
        return self


class CohortSpec(ProtocolSection):
    """How many networks, and which."""

    networks: Annotated[Count, Field(le=100_000)] = 1
    rank: Annotated[Count, Field(le=MOST_DIMENSIONS // 2)] = 1
    overlaps: dict[str, float] | None = None
    spread: NonNegative | dict[str, NonNegative] = 0.0
    distribution: DistributionSpec | None = None
    max_draws: Annotated[Count, Field(le=100_000)] = 10_000
    design: Annotated[str, one_of("within", "between")] = "within"
    sizes: Annotated[dict[str, GroupSize], Field(min_length=1)] | None = None
    animals: AnimalsSpec | None = None
    dropout: DropoutSpec | None = None

    @model_validator(mode="after")
    def _consistent(self) -> CohortSpec:
        if (self.overlaps is None) == (self.distribution is None):
            raise ValueError(
                "a cohort has either overlaps (values, with an optional spread) or a distribution"
            )
        if self.distribution is not None and "spread" in self.model_fields_set:
            raise ValueError("spread goes with overlaps; a distribution has its own")
        return self


class ArmSpec(ProtocolSection):
    """One course of training, from the cohort's networks or functional equivalents of them."""

    description: str = ""
    engine: Annotated[str, one_of("theory", "network")] | None = None
    n_neurons: Neurons | None = None
    rule: RuleSpec | None = None
    start: dict[str, float] = Field(default_factory=dict)
    start_change: dict[str, float] = Field(default_factory=dict)
    phases: Annotated[list[PhaseSpec], Field(min_length=1, max_length=MOST_STEPS)]


class ProtocolSpec(ProtocolSection):
    """A whole protocol."""

    name: Text
    description: str = ""
    seed: Annotated[int, Field(ge=0)] = 0
    nonlinearity: Annotated[str, one_of(*NONLINEARITIES)] = "linear"
    tau: Positive = 1.0
    engine: Annotated[str, one_of("theory", "network")] = "theory"
    n_neurons: Neurons | None = None
    cohort: CohortSpec
    tasks: Annotated[dict[str, dict[str, Any]], Field(min_length=1, max_length=1000)]
    rule: RuleSpec
    sessions: SessionsSpec | None = None
    arms: Annotated[dict[str, ArmSpec], Field(min_length=1, max_length=1000)]
    record_every: Count = 1
    evaluate: list[str] = Field(default_factory=list)

    @model_validator(mode="after")
    def _bounded(self) -> ProtocolSpec:
        for name, arm in self.arms.items():
            if (steps := n_steps(arm.phases)) > MOST_STEPS:
                raise ValueError(
                    f"arm {name!r} has {steps:,} phases and sessions, repeated ones counted each "
                    f"time; at most {MOST_STEPS:,}"
                )
        return self

    def engine_of(self, arm: str) -> str:
        """Return what an arm is computed with: its own engine or the protocol's."""
        return self.arms[arm].engine or self.engine

    def neurons_of(self, arm: str) -> int | None:
        """Return how many neurons an arm's networks have; None if it follows the theory."""
        if self.engine_of(arm) == "theory":
            return None
        return self.arms[arm].n_neurons or self.n_neurons

    def rule_of(self, arm: str, phase: PhaseSpec) -> RuleSpec:
        """Return the rule of a phase: the protocol's, what the arm and what the phase change."""
        return self.rule.changed(self.arms[arm].rule).changed(phase.rule)

    @property
    def n_networks(self) -> int:
        """Number of networks of all arms: where these are different animals, of each arm's own."""
        if self.cohort.design == "within":
            return self.cohort.networks
        return sum(self.group_sizes.values())

    @property
    def group_sizes(self) -> dict[str, int]:
        """How many networks of its own each arm has, in a design between animals."""
        if self.cohort.sizes is None:
            return dict.fromkeys(self.arms, self.cohort.networks)
        return {arm: self.cohort.sizes.get(arm, 0) for arm in self.arms}

    def arms_of(self, network: int) -> tuple[str, ...]:
        """Return the arms that a network goes through: all, or one of a design between animals."""
        arms = tuple(self.arms)
        if self.cohort.design == "within":
            return arms
        if self.cohort.sizes is None:
            return (arms[network % len(arms)],)
        return (self._turns[network % len(self._turns)][0],)

    def number_of(self, network: int) -> int:
        """Return the number by which a network's random numbers are drawn.

        It is the network itself but for groups of unequal size: there the k-th animal of an arm is
        the same whatever the sizes.
        """
        if self.cohort.sizes is None or self.cohort.design == "within":
            return network
        times, at = divmod(network, len(self._turns))
        arm, turn = self._turns[at]
        place = list(self.arms).index(arm)
        return (turn + times * self.group_sizes[arm]) * len(self.arms) + place

    @cached_property
    def _turns(self) -> tuple[tuple[str, int], ...]:
        """Arm and number within it of every network: arms in turn, as long as they have more."""
        sizes = self.group_sizes
        return tuple(
            (arm, turn)
            for turn in range(max(sizes.values()))
            for arm, size in sizes.items()
            if turn < size
        )

    def steps(self, arm: str) -> tuple[ArmStep, ...]:
        """Return what an arm comes to: repeated phases each time, sessions one by one."""
        return self._steps[arm]

    def is_synaptic(self, arm: str, number: int) -> bool:
        """Return whether synapses learn in an arm's step, or have learned before it."""
        return self._learned[arm][0][number]

    def has_feedback(self, arm: str, number: int) -> bool:
        """Return whether errors have feedback of their own in an arm's step, or before it."""
        return self._learned[arm][1][number]

    def forgets(self, arm: str) -> bool:
        """Return whether something is forgotten in an arm: in a rest, a probe, between sessions."""
        steps = self.steps(arm)
        between = self.sessions is not None and self.sessions.forgetting not in (0.0, {})
        return any(step.phase.rest or step.phase.forgetting for step in steps) or (
            between and sum(step.in_session for step in steps) > 1
        )

    @cached_property
    def _steps(self) -> dict[str, tuple[ArmStep, ...]]:
        """The steps of every arm."""
        return {name: steps_of(name, arm.phases, self.sessions) for name, arm in self.arms.items()}

    @cached_property
    def _learned(self) -> dict[str, tuple[list[bool], list[bool]]]:
        """By arm and step, whether synapses have learned, and whether there is feedback."""
        found = {}
        for arm, steps in self._steps.items():
            rules = [self.rule_of(arm, step.phase) if step.phase.trains else None for step in steps]
            synaptic = [rule is not None and rule.learns == "synapses" for rule in rules]
            fed = [rule is not None and rule.has_feedback for rule in rules]
            found[arm] = (list(accumulate(synaptic, or_)), list(accumulate(fed, or_)))
        return found


def _section_at(location: Sequence[str | int]) -> type[BaseModel] | None:
    """Return the model whose keys stand at a location, or None inside free mappings."""
    arm = ("arms", "*")
    known: dict[tuple[str, ...], type[BaseModel]] = {
        (): ProtocolSpec,
        ("cohort",): CohortSpec,
        ("cohort", "distribution"): DistributionSpec,
        ("cohort", "animals"): AnimalsSpec,
        ("cohort", "dropout"): DropoutSpec,
        ("cohort", "dropout", "table", "*"): LeavesSpec,
        arm: ArmSpec,
        (*arm, "phases", "*"): PhaseSpec,
    }
    known[(*arm, "phases", "*", "phases", "*")] = PhaseSpec
    known[("sessions",)] = SessionsSpec
    for phase in ((*arm, "phases", "*"), (*arm, "phases", "*", "phases", "*")):
        known[(*phase, "until")] = UntilSpec
    for place in ((), arm, (*arm, "phases", "*"), (*arm, "phases", "*", "phases", "*")):
        known[(*place, "rule")] = RuleSpec
        known[(*place, "rule", "schedule")] = ScheduleSpec
        known[(*place, "rule", "feedback")] = FeedbackSpec
    pattern = tuple(
        "*" if isinstance(part, int) or (depth == 1 and location[0] == "arms") else str(part)
        for depth, part in enumerate(location)
    )
    return known.get(pattern)


def _explain(error: Any) -> Problem:
    """Return where one pydantic error is and, in plain words, what is wrong."""
    # which of two kinds of value was tried is no part of where it stands
    location: Location = tuple(part for part in error["loc"] if part not in _KINDS)
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
    # what a section is called in the code is nothing to people
    message = re.sub(r" or instance of \w+", "", message).replace("string", "text")
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
