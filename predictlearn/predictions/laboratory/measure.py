"""From what an animal is expected to do to what a laboratory measures of it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import numpy as np

from predictlearn.arrays import Array
from predictlearn.behaviour.choices import Choices
from predictlearn.behaviour.defaults import typical_value

__all__ = [
    "DECISION_NOISE",
    "CursorSpeed",
    "Measure",
    "PercentCorrect",
    "ReachAngle",
    "RecordedValue",
]

DECISION_NOISE = 0.5
"""Of an answer of size 1: assumed, so that trained animals are right in 95% of trials."""

# Between trials, mm/s: pooled sd of the mean progress of the 42 trials of both familiar blocks of
# bci-aba-losey2024, progress_N20160329_225deg.csv.gz; the mean is 51 mm/s.
PROGRESS_SD = 8.4
# Of repeated recordings of a population; assumed: no public data say it.
RECORDING_SD = 0.05


class Measure(Protocol):
    """Draws what is measured of animals, (animals,) or (animals, columns)."""

    @property
    def unit(self) -> str:
        """Unit of what is measured."""
        ...

    @property
    def spread(self) -> str:
        """Where noise and spread come from, in words."""
        ...

    def __call__(self, expected: Array, rng: np.random.Generator) -> Array:
        """Draw measurements."""
        ...


@lru_cache(maxsize=1)
def _choices() -> tuple[Choices, float]:
    """Return how mice choose, and the noise of whole sessions."""
    lapse = typical_value("mouse_lapse")
    return Choices(DECISION_NOISE, lapse), typical_value("mouse_session_noise")


@dataclass(frozen=True)
class PercentCorrect:
    """Percent correct over sessions, from by how much outputs favour the right side.

    Parameters
    ----------
    trials : int, default 100
        Trials of a session.
    """

    trials: int = 100
    unit = "percentage points"

    @property
    def spread(self) -> str:
        """Where noise comes from."""
        choices, session = _choices()
        return (
            f"lapses in {100 * choices.lapse:.1f}% of trials, noise of whole sessions of "
            f"{session:.2f} log odds (behaviour_defaults: mouse_lapse, mouse_session_noise), "
            f"{self.trials} trials a session, decision noise {DECISION_NOISE:g} of the answer "
            "(assumed)"
        )

    def __call__(self, expected: Array, rng: np.random.Generator) -> Array:
        """Draw percent correct from margins, (animals, sessions, points, stimuli)."""
        choices, sd = _choices()
        deviation = rng.normal(0.0, sd, (*expected.shape[:2], 1, 1))
        p, _ = choices.moments(expected, deviation)
        right = rng.binomial(self.trials, p.mean(axis=(2, 3)))
        return np.asarray(100.0 * right.mean(axis=1) / self.trials)


@dataclass(frozen=True)
class ReachAngle:
    """Mean angle between cursor and target over some reaches, degrees.

    Parameters
    ----------
    reaches : int
        Reaches.
    """

    reaches: int
    unit = "degrees"

    @property
    def spread(self) -> str:
        """Where noise comes from."""
        return (
            f"motor noise of {typical_value('human_motor_noise'):.1f} degrees a reach, which "
            f"differs between people by {typical_value('human_motor_noise_sd_log'):.2f} (standard "
            "deviation of the log; behaviour_defaults: human_motor_noise), over "
            f"{self.reaches} reaches"
        )

    def __call__(self, expected: Array, rng: np.random.Generator) -> Array:
        """Draw mean angles from expected ones, (animals, ...)."""
        n = len(expected)
        spread = typical_value("human_motor_noise_sd_log")
        noise = typical_value("human_motor_noise") * np.exp(spread * rng.standard_normal(n))
        means = expected.reshape(n, -1).mean(axis=1)
        return np.asarray(means + noise * rng.standard_normal(n) / np.sqrt(self.reaches))


@dataclass(frozen=True)
class CursorSpeed:
    """Mean progress of a cursor over some trials, mm/s.

    Parameters
    ----------
    trials : int
        Trials.
    """

    trials: int
    unit = "mm/s"

    @property
    def spread(self) -> str:
        """Where noise comes from."""
        return (
            f"standard deviation of {PROGRESS_SD:g} mm/s between trials (bci-aba-losey2024, one "
            f"session), over {self.trials} trials"
        )

    def __call__(self, expected: Array, rng: np.random.Generator) -> Array:
        """Draw mean progress from the expected one, (animals, ...)."""
        n = len(expected)
        noise = PROGRESS_SD * rng.standard_normal(n) / np.sqrt(self.trials)
        return np.asarray(expected.reshape(n, -1).mean(axis=1) + noise)


@dataclass(frozen=True)
class RecordedValue:
    """What is recorded of neurons or synapses, with an error in proportion to it.

    Parameters
    ----------
    unit : str
        Unit.
    relative : float, default 0.05
        Standard deviation of a recording beside what is recorded.
    absolute : float, default 0.0
        The same in the unit.
    """

    unit: str
    relative: float = RECORDING_SD
    absolute: float = 0.0

    @property
    def spread(self) -> str:
        """Where noise comes from."""
        size = f"{self.absolute:g} {self.unit}" if self.absolute else f"{100 * self.relative:g}%"
        return f"error of a recording {size} (assumed: no public data say it)"

    def __call__(self, expected: Array, rng: np.random.Generator) -> Array:
        """Draw recordings from what there is, (animals, ...)."""
        relative, absolute = rng.standard_normal((2, *expected.shape))
        return np.asarray(
            expected * (1 + self.relative * relative * (self.absolute == 0))
            + self.absolute * absolute
        )
