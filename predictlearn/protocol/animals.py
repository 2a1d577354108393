"""Animals: networks with their own rate, noise, start and epochs, some of which drop out."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from pydantic import AfterValidator, Field, model_validator

from predictlearn.behaviour.distributions import Constant, as_distribution, median_of
from predictlearn.errors import InputError
from predictlearn.protocol.phase import Part
from predictlearn.protocol.rule import RuleSpec
from predictlearn.protocol.section import Count, ProtocolSection

__all__ = ["DROPPED_OUT", "AnimalsSpec", "DropoutSpec", "LeavesSpec", "Subject", "draw_animal"]

DROPPED_OUT = "dropped_out"
"""Quantity of the row at which an animal drops out."""

# What is drawn for an animal, each from a stream of its own, in the order of these numbers.
_FACTORS = ("rate", "noise", "epochs")
_LEAVING = len(_FACTORS)
_SESSIONS = _LEAVING + 1
# Draws of a factor, which must be positive, before it is said that there is none.
_ATTEMPTS = 1000


def _factor(value: Any) -> Any:
    """Return a distribution of a positive factor, as written."""
    if not median_of("this", value) > 0:
        raise InputError("half of the draws at least must be positive, since a factor is drawn")
    return value


def _any(value: Any) -> Any:
    """Return a distribution, as written."""
    as_distribution("this", value)
    return value


def _sessions(value: Any) -> Any:
    """Return a distribution of a number of sessions, as written."""
    middle = median_of("this", value)
    if isinstance(as_distribution("this", value), Constant) and middle % 1:
        raise InputError(f"this must be a whole number of sessions; got {middle:g}")
    if not middle >= 1:
        raise InputError(
            f"half of the draws at least must be 1 session or more; the median is {middle:g}"
        )
    return value


Factor = Annotated[Any, AfterValidator(_factor)]
OwnSessions = Annotated[Any, AfterValidator(_sessions)]
Distribution = Annotated[Any, AfterValidator(_any)]


class AnimalsSpec(ProtocolSection):
    """What differs between animals, each a number or a distribution by name."""

    rate: Factor = 1.0
    noise: Factor = 1.0
    epochs: Factor = 1.0
    sessions: OwnSessions | None = None
    start: dict[str, Distribution] = Field(default_factory=dict)

    @property
    def longer(self) -> float:
        """Mean factor of the epochs, about."""
        drawn = as_distribution("epochs", self.epochs).rvs(size=1000, random_state=0)
        return float(np.mean(np.clip(drawn, 0.0, None)))

    def at_median(self) -> AnimalsSpec:
        """Return animals whose start is the median of what is drawn."""
        middle = {name: median_of(name, value) for name, value in self.start.items()}
        return self.model_copy(update={"start": middle})


class LeavesSpec(ProtocolSection):
    """When one animal drops out."""

    network: Annotated[int, Field(ge=0)]
    after_session: Count | None = None
    after_epoch: Count | None = None

    @model_validator(mode="after")
    def _when(self) -> LeavesSpec:
        if (self.after_session is None) == (self.after_epoch is None):
            raise ValueError("an animal drops out either after_session or after_epoch")
        return self


class DropoutSpec(ProtocolSection):
    """Which animals drop out."""

    per_session: Part | None = None
    table: Annotated[list[LeavesSpec], Field(min_length=1, max_length=100_000)] | None = None

    @model_validator(mode="after")
    def _one(self) -> DropoutSpec:
        if (self.per_session is None) == (self.table is None):
            raise ValueError(
                "dropout needs either per_session, the probability of dropping out after each "
                "session, or a table of who drops out when"
            )
        return self

    @property
    def by_session(self) -> bool:
        """Whether animals drop out after sessions."""
        return self.per_session is not None or any(
            row.after_session is not None for row in self.table or ()
        )


@dataclass(frozen=True)
class Subject:
    """What is an animal's own.

    Parameters
    ----------
    rate, noise, epochs : float
        Factors of the rate of its rules, of the noise on its targets and synapses, and of the
        epochs of its phases and sessions.
    sessions : float
        How many sessions it has of every phase in sessions, at most those of the phase; infinite
        where it has all of them.
    last_session, last_epoch : float
        Of the arm, after which it drops out; infinite if it does not.
    """

    rate: float = 1.0
    noise: float = 1.0
    epochs: float = 1.0
    sessions: float = np.inf
    last_session: float = np.inf
    last_epoch: float = np.inf

    def rule(self, whole: RuleSpec) -> RuleSpec:
        """Return a rule with the animal's rate and noise."""
        own: dict[str, Any] = {}
        if self.rate != 1.0 and (whole.rate is not None or whole.kind == "gradient-flow"):
            own["rate"] = self.rate * (whole.rate or 1.0)
        if self.noise != 1.0:
            own |= {
                name: self.noise * value
                for name in ("target_noise", "synaptic_noise")
                if (value := getattr(whole, name)) is not None
            }
        return whole.model_copy(update=own) if own else whole

    def length(self, epochs: int) -> int:
        """Return the animal's own number of epochs in place of that of the protocol."""
        return epochs if self.epochs == 1.0 else max(1, round(self.epochs * epochs))


def _positive(name: str, spec: Any, rng: np.random.Generator) -> float:
    """Draw a factor, again where it is not positive."""
    distribution = as_distribution(name, spec)
    for _ in range(_ATTEMPTS):
        value = float(distribution.rvs(random_state=rng))
        if 0 < value < np.inf:
            return value
    raise InputError(f"animals: {_ATTEMPTS} draws of {name} gave no positive factor.")


def _whole(spec: Any, rng: np.random.Generator) -> int:
    """Draw a number of sessions, to the nearest whole one, again where it is below 1."""
    distribution = as_distribution("sessions", spec)
    for _ in range(_ATTEMPTS):
        value = float(distribution.rvs(random_state=rng))
        if 0.5 <= value < np.inf:
            return math.floor(value + 0.5)
    raise InputError(f"animals: {_ATTEMPTS} draws of sessions gave none of 1 or more.")


def draw_animal(
    animals: AnimalsSpec | None,
    dropout: DropoutSpec | None,
    network: int,
    sequences: Callable[[int], np.random.SeedSequence],
) -> Subject:
    """Draw an animal.

    Parameters
    ----------
    animals : AnimalsSpec or None
        What differs between animals.
    dropout : DropoutSpec or None
        Which of them drop out.
    network : int
        Its number in the cohort, from 0.
    sequences : callable
        Stream of random numbers by number of what is drawn, so that one distribution more
        changes nothing of the others.

    Returns
    -------
    Subject
        Factors that are positive: a distribution is cut off at zero; sessions that are 1 or more.

    Raises
    ------
    InputError
        If no positive factor, or no session, is drawn.
    """
    own: dict[str, float] = {}
    for number, name in enumerate(_FACTORS if animals is not None else ()):
        spec = getattr(animals, name)
        own[name] = _positive(name, spec, np.random.default_rng(sequences(number)))
    if animals is not None and animals.sessions is not None:
        own["sessions"] = _whole(animals.sessions, np.random.default_rng(sequences(_SESSIONS)))
    if dropout is not None and dropout.per_session is not None:
        rng = np.random.default_rng(sequences(_LEAVING))
        own["last_session"] = float(rng.geometric(dropout.per_session))
    for row in (dropout.table or ()) if dropout is not None else ():
        if row.network == network:
            own["last_session"] = float(row.after_session or np.inf)
            own["last_epoch"] = float(row.after_epoch or np.inf)
    return Subject(**own)
