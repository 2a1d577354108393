"""Sessions of trials: how many, how performance varies between and within them, what is kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from predictlearn.arrays import Array
from predictlearn.behaviour.defaults import typical_value
from predictlearn.behaviour.distributions import as_distribution, draws_of
from predictlearn.checks import non_negative, positive, positive_int
from predictlearn.errors import InputError

__all__ = ["TrainingSessions"]


@dataclass(frozen=True)
class TrainingSessions:
    """How training is divided into sessions.

    Parameters
    ----------
    number : int
        Sessions.
    trials : int, mapping or distribution
        Trials of a session, the same for all or drawn for each of every animal, see
        `as_distribution`. `TrainingSessions.typical` takes it from data.
    performance_noise : float, default 0.0
        Standard deviation of the deviations of whole sessions, normal and independent: in log odds
        of a correct choice, in the unit of signed errors, angles and progress, and in natural
        logarithms of distances.
    warm_up : float, default 0.0
        Which part of what was learned is missing in the first trial of a session, 0 to 1: the
        output is ``start + (1 - warm_up exp(-trial / warm_up_trials)) (output - start)``, start
        the output before any training. Learning itself is not touched (warm-up decrement, Adams
        1961, Psychological Bulletin 58:257).
    warm_up_trials : float, optional
        Trials after which 1/e of it is left; needed with a warm-up.
    retention : float, default 1.0
        What of learned overlaps is kept from one session to the next, 0 to 1:
        ``S <- S_0 + retention (S - S_0)``, S_0 those before training. It is the retention factor
        of state-space models of motor learning (Smith, Ghazizadeh & Shadmehr 2006, PLoS Biology
        4:e179), applied between sessions; a mixture of two tables of overlaps is realisable. 1
        forgets nothing.
    drop_out : float, default 0.0
        Probability that an animal is lost after a session, 0 up to but not including 1.

    Raises
    ------
    InputError
        If a number is out of range.

    Examples
    --------
    >>> TrainingSessions(number=20, trials=300).number
    20
    """

    number: int
    trials: Any
    performance_noise: float = 0.0
    warm_up: float = 0.0
    warm_up_trials: float | None = None
    retention: float = 1.0
    drop_out: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "number", positive_int("number", self.number))
        as_distribution("trials", self.trials)
        noise = non_negative("performance_noise", self.performance_noise)
        object.__setattr__(self, "performance_noise", noise)
        for name in ("warm_up", "retention", "drop_out"):
            value = non_negative(name, getattr(self, name))
            if value > 1 or (name == "drop_out" and value == 1):
                raise InputError(f"{name} must be from 0 to 1; got {value:g}.")
            object.__setattr__(self, name, value)
        if self.warm_up and self.warm_up_trials is None:
            raise InputError(
                "warm_up needs warm_up_trials: after how many trials 1/e of it is left."
            )
        if self.warm_up_trials is not None:
            trials = positive("warm_up_trials", self.warm_up_trials)
            object.__setattr__(self, "warm_up_trials", trials)

    @classmethod
    def typical(cls, number: int, **others: Any) -> TrainingSessions:
        """Return sessions of mice that train by themselves in their home cage.

        Trials a session are lognormal, their spread that between and within animals together, and
        performance varies from session to session: ``mouse_trials_per_session``,
        ``mouse_trials_sd_log_animals``, ``mouse_trials_sd_log_sessions`` and
        ``mouse_session_noise`` of `behaviour_defaults`.

        Parameters
        ----------
        number : int
            Sessions.
        **others
            Other settings, in place of these.

        Examples
        --------
        >>> TrainingSessions.typical(10, trials=300).performance_noise > 0.3
        True
        """
        parts = ("mouse_trials_sd_log_animals", "mouse_trials_sd_log_sessions")
        spread = float(np.linalg.norm([typical_value(part) for part in parts]))
        middle = typical_value("mouse_trials_per_session")
        settings: dict[str, Any] = {
            "trials": {"distribution": "lognormal", "median": middle, "sd_log": spread},
            "performance_noise": typical_value("mouse_session_noise"),
            **others,
        }
        return cls(number, **settings)

    def counts(self, n_animals: int, rng: np.random.Generator) -> np.ndarray:
        """Draw the trials of every session, (animals, sessions), whole and at least one."""
        drawn = draws_of("trials", self.trials, (n_animals, self.number), rng, low=0.5)
        return np.maximum(np.round(drawn), 1).astype(np.int64)

    def completed(self, n_animals: int, rng: np.random.Generator) -> np.ndarray:
        """Draw how many sessions each animal completes before it drops out, at least one."""
        if self.drop_out == 0:
            return np.full(n_animals, self.number)
        return np.minimum(rng.geometric(self.drop_out, n_animals), self.number)

    def missing(self, trials: Any) -> Array:
        """Return which part of what was learned is missing at trials of a session, from 0."""
        trials = np.asarray(trials, dtype=float)
        if self.warm_up_trials is None:
            return np.zeros(trials.shape)
        return self.warm_up * np.exp(-trials / self.warm_up_trials)
