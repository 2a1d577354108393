"""Animals that differ: their own rate, start, noise and number of sessions, drawn by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from predictlearn.arrays import Array
from predictlearn.behaviour.base import Behaviour
from predictlearn.behaviour.defaults import typical_value
from predictlearn.behaviour.distributions import as_distribution, draws_of
from predictlearn.behaviour.sessions import TrainingSessions
from predictlearn.checks import positive_int
from predictlearn.errors import InputError, nearest
from predictlearn.theory.overlaps import Overlaps

__all__ = ["Animals", "Drawn", "draw_animals"]

# Tables that are drawn again before it is said that too few are realisable.
_ATTEMPTS = 200
# What of a behaviour may differ between animals, and where it must lie.
_OWN = {"noise": (0.0, np.inf), "lapse": (0.0, 0.5), "bias": (-np.inf, np.inf)}


@dataclass(frozen=True)
class Animals:
    """What differs between animals: each a number, or a distribution by name.

    Distributions are those of `as_distribution`, for example ``{"distribution": "lognormal",
    "median": 1e-3, "sd_log": 0.5}``. Draws are independent of one another.

    Parameters
    ----------
    rate_per_trial : float, mapping or distribution
        Learning time of one trial: the rate of gradient descent, were every trial an update. The
        course is that of the rule's own steps, read in between: with a rule of rate 0.01 and 1e-3
        a trial, an update takes ten trials.
    number : int, optional
        Animals, where the cohort is one table of overlaps for all. Else one a table.
    start : mapping of str to distribution, optional
        Overlaps before training by name; tables that no network has are drawn again.
    noise, lapse, bias : float, mapping or distribution, optional
        In place of those of the behaviour.
    sessions : int, mapping or distribution, optional
        Sessions of each animal, at most those of `TrainingSessions`.

    Raises
    ------
    InputError
        If a distribution is unknown.

    Examples
    --------
    >>> rate = {"distribution": "lognormal", "median": 1e-3, "sd_log": 0.4}
    >>> Animals(rate_per_trial=rate, number=10).number
    10
    """

    rate_per_trial: Any
    number: int | None = None
    start: Mapping[str, Any] | None = None
    noise: Any = None
    lapse: Any = None
    bias: Any = None
    sessions: Any = None

    def __post_init__(self) -> None:
        as_distribution("rate_per_trial", self.rate_per_trial)
        if self.number is not None:
            object.__setattr__(self, "number", positive_int("number", self.number))
        if self.start is not None and not isinstance(self.start, Mapping):
            raise InputError(
                "start must map overlaps to numbers or distributions, for example {'zu': "
                f"{{'distribution': 'normal', 'mean': 0.1, 'sd': 0.02}}}}; got {self.start!r}."
            )
        for name in (*_OWN, "sessions"):
            if getattr(self, name) is not None:
                as_distribution(name, getattr(self, name))
        for name, spec in (self.start or {}).items():
            as_distribution(f"start[{name!r}]", spec)

    @classmethod
    def typical(cls, rate_per_trial: float, number: int | None = None) -> Animals:
        """Return animals of one start whose speeds differ as those of mice that learn a first task.

        The spread is ``mouse_learning_speed_sd_log`` of `behaviour_defaults`: that of rates where
        all else is the same.

        Parameters
        ----------
        rate_per_trial : float
            Of the animal in the middle; that of a network is not that of any data.
        number : int, optional
            As of the class.

        Examples
        --------
        >>> Animals.typical(1e-3).rate_per_trial["distribution"]
        'lognormal'
        """
        spread = typical_value("mouse_learning_speed_sd_log")
        rate = {"distribution": "lognormal", "median": rate_per_trial, "sd_log": spread}
        return cls(rate, number)


@dataclass(frozen=True)
class Drawn:
    """What was drawn for every animal.

    Parameters
    ----------
    rates : numpy.ndarray, (animals,)
        Learning time of a trial.
    starts : sequence of Overlaps, or None
        Before training; None where courses of outputs were given.
    counts : numpy.ndarray of int, (animals, sessions)
        Trials of every session.
    completed : numpy.ndarray of int, (animals,)
        Sessions before an animal dropped out or was done.
    dropped : numpy.ndarray of bool, (animals,)
        Whether it dropped out.
    deviations : numpy.ndarray, (animals, sessions)
        Of whole sessions.
    own : dict
        Noise, lapse and bias of every animal, (animals,), of those that are drawn.
    alike : bool, default False
        Whether all animals follow the mean of the curves of outputs that were given.
    """

    rates: Array
    starts: Sequence[Overlaps] | None
    counts: np.ndarray
    completed: np.ndarray
    dropped: np.ndarray
    deviations: Array
    own: dict[str, Array] = field(default_factory=dict)
    alike: bool = False

    @property
    def lengths(self) -> Array:
        """Learning time of every session, (animals, sessions)."""
        return self.rates[:, None] * self.counts

    def behaviours(self, behaviour: Behaviour) -> list[Any]:
        """Return the behaviour of every animal, with what is its own."""
        if not self.own:
            return [behaviour] * len(self.rates)
        shared: Any = behaviour
        return [
            replace(shared, **{name: float(values[i]) for name, values in self.own.items()})
            for i in range(len(self.rates))
        ]

    def table(self, subjects: Sequence[str], arm: str) -> pd.DataFrame:
        """Return one row an animal: subject, arm, what was drawn, sessions and drop-out."""
        return pd.DataFrame(
            {
                "subject": subjects,
                "arm": arm,
                "rate_per_trial": self.rates,
                **self.own,
                "trials": [
                    int(c[:n].sum()) for c, n in zip(self.counts, self.completed, strict=True)
                ],
                "sessions": self.completed,
                "dropped_out": self.dropped,
            }
        )


def draw_animals(
    animals: Animals,
    starts: Sequence[Overlaps] | None,
    n_animals: int,
    behaviour: Behaviour,
    sessions: TrainingSessions,
    seed: np.random.SeedSequence,
) -> Drawn:
    """Draw everything that differs between animals; each kind by a seed of its own."""
    rngs = dict(
        zip(
            ("rate", "start", "own", "counts", "sessions", "drop", "noise"),
            map(np.random.default_rng, seed.spawn(7)),
            strict=True,
        )
    )
    rates = draws_of("rate_per_trial", animals.rate_per_trial, n_animals, rngs["rate"], low=0.0)
    if np.any(rates == 0):
        raise InputError("rate_per_trial must be above 0 for every animal; a draw is 0.")
    if animals.start:
        if starts is None:
            raise InputError("start is of overlaps; the cohort given is curves of outputs.")
        starts = [_own_start(start, animals.start, rngs["start"]) for start in starts]
    own = {}
    for name, (low, high) in _OWN.items():
        spec = getattr(animals, name)
        if spec is not None:
            if not hasattr(behaviour, name):
                raise InputError(f"{name} is not of {type(behaviour).__name__}; leave it out.")
            own[name] = draws_of(name, spec, n_animals, rngs["own"], low, high)
    completed = sessions.completed(n_animals, rngs["drop"])
    planned = np.full(n_animals, sessions.number)
    if animals.sessions is not None:
        drawn = draws_of("sessions", animals.sessions, n_animals, rngs["sessions"], low=0.5)
        planned = np.clip(np.round(drawn), 1, sessions.number).astype(np.int64)
    deviations = rngs["noise"].standard_normal((n_animals, sessions.number))
    return Drawn(
        rates,
        starts,
        sessions.counts(n_animals, rngs["counts"]),
        np.minimum(completed, planned),
        completed < planned,
        sessions.performance_noise * deviations,
        own,
    )


def _own_start(start: Overlaps, specs: Mapping[str, Any], rng: np.random.Generator) -> Overlaps:
    """Draw the named overlaps of one animal until a network has them."""
    for name in specs:
        if name not in start.names:
            close = nearest(name, start.names)
            hint = f" Did you mean {close!r}?" if close else ""
            raise InputError(
                f"start names the overlap {name!r}; these are {', '.join(start.names)}.{hint}"
            )
    for _ in range(_ATTEMPTS):
        values = {
            name: float(draws_of(f"start[{name!r}]", spec, 1, rng)[0])
            for name, spec in specs.items()
        }
        try:
            return start.replace(**values)
        except InputError:
            continue
    raise InputError(
        f"start: of {_ATTEMPTS} draws no network has these overlaps, the last "
        f"{', '.join(f'{name} = {value:.3g}' for name, value in values.items())}; choose a smaller "
        "spread, or larger norms."
    )
