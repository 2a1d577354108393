"""Phases of an arm: what is written of them, and the steps that they come to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from predictlearn.protocol.rule import RuleSpec
from predictlearn.protocol.section import Count, Positive, ProtocolSection, Text, one_of
from predictlearn.protocol.source import Location
from predictlearn.tasks.mixture import MIXTURES

__all__ = [
    "MOST_STEPS",
    "PHASE_KINDS",
    "ArmStep",
    "PhaseSpec",
    "SessionsSpec",
    "UntilSpec",
    "n_steps",
    "steps_of",
]

# phases of an arm, repeated ones and sessions counted each time
MOST_STEPS = 10_000

Fraction = Annotated[float, Field(ge=0, le=1)]
Part = Annotated[float, Field(gt=0, lt=1)]

# Names by which messages of the validation tell the two ways to write a value apart.
TASK_KINDS = ("task: mixture", "task: name")
FORGETTING_KINDS = ("forgetting: pathways", "forgetting: number")
PHASE_KINDS = (*TASK_KINDS, *FORGETTING_KINDS)

AnyTaskName = Annotated[
    Annotated[dict[str, Positive], Field(min_length=2), Tag(TASK_KINDS[0])]
    | Annotated[Text, Tag(TASK_KINDS[1])],
    Discriminator(lambda value: TASK_KINDS[not isinstance(value, dict)]),
]

AnyForgetting = Annotated[
    Annotated[dict[str, Fraction], Field(min_length=1), Tag(FORGETTING_KINDS[0])]
    | Annotated[Fraction, Tag(FORGETTING_KINDS[1])],
    Discriminator(lambda value: FORGETTING_KINDS[not isinstance(value, dict)]),
]

Kind = Literal["train", "probe", "rest", "readout", "repeat"]
# What begins a phase of each kind, and what may stand beside it.
_LEADS: dict[str, tuple[Kind, tuple[str, ...]]] = {
    "task": ("train", ("mixture", "epochs", "sessions", "until", "rule", "consolidated")),
    "probe": ("probe", ("epochs", "forgetting")),
    "rest": ("rest", ()),
    "readout": ("readout", ("within_manifold",)),
    "rotate_readout": ("readout", ()),
    "repeat": ("repeat", ("phases",)),
}


class UntilSpec(ProtocolSection):
    """Until when a phase trains, at most its epochs."""

    loss: Positive | None = None
    loss_fraction: Part | None = None
    on: Text | None = None
    every: Count | None = None

    @model_validator(mode="after")
    def _consistent(self) -> UntilSpec:
        if (self.loss is None) == (self.loss_fraction is None):
            raise ValueError(
                "until needs either loss, or loss_fraction, a part of the loss at the start of "
                "the phase"
            )
        if self.every is not None and self.on is None:
            raise ValueError("every goes with on; the loss in training is looked at in every epoch")
        return self


class SessionsSpec(ProtocolSection):
    """Sessions of trials: how much learning one is, and what is forgotten until the next."""

    trials: Count
    epochs_per_trial: Positive
    forgetting: AnyForgetting = 0.0

    @model_validator(mode="after")
    def _whole(self) -> SessionsSpec:
        epochs = self.trials * self.epochs_per_trial
        if abs(epochs - round(epochs)) > 1e-6 * max(epochs, 1.0) or round(epochs) < 1:
            raise ValueError(
                "trials times epochs_per_trial, the epochs of a session, must be a whole number; "
                f"{self.trials} times {self.epochs_per_trial:g} is {epochs:g}"
            )
        return self

    @property
    def epochs(self) -> int:
        """Number of epochs of a session."""
        return round(self.trials * self.epochs_per_trial)


class PhaseSpec(ProtocolSection):
    """A stretch of training, a probe, a rest, a change of the readout, or several repeated."""

    name: Text | None = None
    task: AnyTaskName | None = None
    mixture: Annotated[str, one_of(*MIXTURES)] | None = None
    epochs: Count | None = None
    sessions: Count | None = None
    until: UntilSpec | None = None
    rule: RuleSpec | None = None
    consolidated: bool = False
    probe: Text | None = None
    forgetting: AnyForgetting | None = None
    rest: AnyForgetting | None = None
    readout: Annotated[dict[str, float], Field(min_length=1)] | None = None
    within_manifold: bool = False
    rotate_readout: float | None = None
    repeat: Count | None = None
    phases: Annotated[list[PhaseSpec], Field(min_length=1, max_length=MOST_STEPS)] | None = None

    @property
    def kind(self) -> Kind:
        """What the phase is: train, probe, rest, readout (a change of it), or repeat."""
        return next(kind for lead, (kind, _) in _LEADS.items() if getattr(self, lead) is not None)

    @property
    def trains(self) -> bool:
        """Whether this phase is training."""
        return self.task is not None

    @property
    def shares(self) -> Mapping[str, float]:
        """Weights of the tasks that are trained, by name; empty where none is."""
        if self.task is None:
            return {}
        return {self.task: 1.0} if isinstance(self.task, str) else self.task

    @property
    def trained(self) -> str | None:
        """Name of what is trained: a task, or a mixture such as ``0.5 A + 0.5 B``; None if not."""
        if self.task is None or isinstance(self.task, str):
            return self.task
        word = " or " if self.mixture == "drawn" else " + "
        return word.join(f"{weight:g} {name}" for name, weight in self.task.items())

    @property
    def shown(self) -> str:
        """Name of the task that is trained or probed; empty if none is."""
        return self.trained or self.probe or ""

    def label(self, number: int) -> str:
        """Return the phase's name, or its number (from 1) and task."""
        what = self.shown or ("rest" if self.kind == "rest" else "readout")
        return self.name or f"{number + 1}-{what}"

    @model_validator(mode="after")
    def _consistent(self) -> PhaseSpec:
        given = [
            name for name in type(self).model_fields
            if name != "name" and name in self.model_fields_set and getattr(self, name) is not None
        ]  # fmt: skip
        leads = [name for name in given if name in _LEADS]
        if not leads and "within_manifold" in given:
            raise ValueError("within_manifold goes with readout")
        if not leads and "phases" in given:
            raise ValueError("repeat is missing: how often these phases are gone through")
        if not leads and set(given) & {
            "epochs",
            "sessions",
            "until",
            "rule",
            "mixture",
            "consolidated",
        }:
            raise ValueError("task is missing: a phase of training needs task and epochs")
        if len(leads) != 1:
            raise ValueError(
                "a phase either trains (task and epochs, optionally rule), or probes (probe: a "
                "task that is shown without learning), or rests (rest: how much is forgotten), or "
                "changes the readout (readout with new values, or rotate_readout in degrees), or "
                "repeats others (repeat and phases)"
            )
        lead = leads[0]
        allowed = _LEADS[lead][1]
        wrong = [name for name in given if name != lead and name not in allowed]
        if wrong:
            has = f", which has {', '.join(allowed)}" if allowed else ", which stands alone"
            raise ValueError(f"{', '.join(wrong)} does not go with {lead}{has}")
        self._check_training()
        if self.repeat is not None:
            if self.phases is None:
                raise ValueError("phases is missing: the list of what is repeated")
            if any(phase.repeat is not None for phase in self.phases):
                raise ValueError("a repeat cannot stand within a repeat; write its phases out")
            if self.name is not None:
                raise ValueError("name goes with the phases that are repeated, which get a number")
        return self

    def _check_training(self) -> None:
        """Raise unless training and probes have what they need."""
        if self.task is not None and (self.epochs is None) == (self.sessions is None):
            raise ValueError(
                "epochs is missing: a phase of training needs task and epochs, or sessions"
                if self.epochs is None
                else "a phase has either epochs or sessions"
            )
        if self.mixture is not None and not isinstance(self.task, dict):
            raise ValueError("mixture goes with several tasks, such as task: {A: 0.5, B: 0.5}")
        if self.mixture == "drawn" and abs(sum(self.shares.values()) - 1) > 1e-6:
            raise ValueError(
                "the weights of drawn tasks are their probabilities, which must add up to 1; got "
                f"{sum(self.shares.values()):g}"
            )
        if self.forgetting is not None and self.epochs is None:
            raise ValueError("forgetting is what is lost in every epoch of a probe; give epochs")


@dataclass(frozen=True)
class ArmStep:
    """A phase on the way through an arm, or one session of it.

    Parameters
    ----------
    phase : PhaseSpec
        What is written of it.
    place : tuple
        Where it is written.
    label : str
        Its label in the tables.
    number : int
        Which phase of the arm, from 0, repeated ones counted each time.
    part, parts : int
        Which of how many sessions of the phase, from 0; 0 of 1 without sessions.
    epochs : int
        How many at most; 0 where time does not pass.
    visit : int
        How often its task was trained in this arm before: arms show the same trials then.
    """

    phase: PhaseSpec
    place: Location
    label: str
    number: int
    part: int
    parts: int
    epochs: int
    visit: int

    @property
    def in_session(self) -> bool:
        """Whether it is a session."""
        return self.phase.sessions is not None


def n_steps(phases: Sequence[PhaseSpec]) -> int:
    """Return how many steps phases come to."""
    return sum(
        (phase.repeat or 1) * n_steps(phase.phases) if phase.phases else (phase.sessions or 1)
        for phase in phases
    )


def _written(
    phases: Sequence[PhaseSpec], place: Location
) -> Iterator[tuple[PhaseSpec, Location, str]]:
    """Yield phases in order, repeated ones each time, with their place and a suffix of the name."""
    for number, phase in enumerate(phases):
        here = (*place, number)
        if phase.phases is None:
            yield phase, here, ""
            continue
        for k in range(phase.repeat or 1):
            for inner, at, _ in _written(phase.phases, (*here, "phases")):
                yield inner, at, f" {k + 1}"


def steps_of(
    arm: str, phases: Sequence[PhaseSpec], sessions: SessionsSpec | None
) -> tuple[ArmStep, ...]:
    """Return the steps of an arm.

    Parameters
    ----------
    arm : str
        Its name.
    phases : sequence of PhaseSpec
        What is written of it.
    sessions : SessionsSpec or None
        What a session is.

    Returns
    -------
    tuple of ArmStep
        In order: repeated phases each time, with their number after their name, and phases in
        sessions session by session.
    """
    steps: list[ArmStep] = []
    visits: dict[str, int] = {}
    for number, (phase, place, suffix) in enumerate(_written(phases, ("arms", arm, "phases"))):
        label = phase.label(number) + (suffix if phase.name else "")
        epochs = phase.epochs or 0
        if phase.sessions is not None:
            epochs = 1 if sessions is None else sessions.epochs
        parts = phase.sessions or 1
        for part in range(parts):
            visit = visits.get(phase.trained or "", 0)
            visits[phase.trained or ""] = visit + 1
            steps.append(ArmStep(phase, place, label, number, part, parts, epochs, visit))
    return tuple(steps)
