"""One entry of the catalogue: what is predicted, its test, and cohorts of animals for it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from predictlearn.arrays import Array
from predictlearn.checks import positive_int
from predictlearn.errors import InputError
from predictlearn.predictions.laboratory.animals import Animal, naive_networks
from predictlearn.predictions.laboratory.learner import Learner
from predictlearn.predictions.laboratory.measure import Measure
from predictlearn.predictions.laboratory.rates import own_rates, rate_spread
from predictlearn.theory.learning.together import FAILURES
from predictlearn.theory.synapses.network import Feedback
from predictlearn.workers import Parallel, delayed

__all__ = ["Entry", "SimulatedCohort", "cohort_table", "simulate_cohort"]

# What two arms, conditions or columns of an experiment are.
DESIGNS = ("groups", "pairs", "columns", "doses")
_BLOCK = 10


@dataclass(frozen=True)
class Entry:
    """A prediction that a laboratory can test.

    Parameters
    ----------
    name : str
        Its name.
    statement : str
        What is predicted, in one sentence.
    protocol : str
        The protocols that ship and come nearest, or empty.
    intervention : str
        What the laboratory does.
    measure : str
        What it measures.
    kind : {"behaviour", "activity", "connectivity"}
        Of which kind that is.
    test : callable
        A function of `predictlearn.statistics` of a tidy table, with its arguments.
    falsifier : str
        What would refute it.
    alternatives : str
        What else could explain it.
    correlation : str
        Which correlation over animals to look for, where only a hidden difference between animals
        makes the effect; else empty.
    experiment : callable
        What is done to one `Animal`; returns what is expected of it in each arm or condition.
    measures : Measure or mapping of str to Measure
        How that is measured, by arm or column.
    design : {"groups", "pairs", "columns", "doses"}
        Different animals in each arm; the same animals in two conditions; several numbers of each
        animal; arms of different animals whose names are numbers.
    outcome : str
        Column of the outcome.
    reference : str
        Arm or condition that others are compared with; the one of the null.
    subjects : {"mice", "people", "monkeys"}
        Whose spread and rates are taken.
    row : str, optional
        Row of the test's table that decides, where there are several.
    features : tuple of str
        Columns of what is measured, where there are several.
    n_cohort : int, default 200
        Animals that `evaluate` takes through learning.
    bound : float, default 0.0
        Where the prediction is that nothing differs: the smallest difference that would matter, in
        the unit of the outcome, which is what the null then is.
    axis : str
        Label of the outcome in a picture, with its unit.
    arms : str, default "Group"
        What arms or conditions are, for the other axis.
    feedback : Feedback, optional
        By what errors reach neurons where the rule is not descent; random if not given.
    """

    name: str
    statement: str
    protocol: str
    intervention: str
    measure: str
    kind: str
    test: Callable[[pd.DataFrame], pd.DataFrame]
    falsifier: str
    alternatives: str
    experiment: Callable[[Animal], dict[str, Array]]
    measures: Measure | Mapping[str, Measure]
    design: str
    outcome: str
    reference: str
    correlation: str = ""
    subjects: str = "mice"
    row: str | None = None
    features: tuple[str, ...] = ()
    n_cohort: int = 200
    bound: float = 0.0
    axis: str = ""
    arms: str = "Group"
    feedback: Feedback | None = None

    def measure_of(self, key: str) -> Measure:
        """Return how an arm, condition or column is measured."""
        return self.measures[key] if isinstance(self.measures, Mapping) else self.measures

    @property
    def unit(self) -> str:
        """Unit of the outcome."""
        return self.measure_of(self.outcome if self.design == "columns" else self.reference).unit

    @property
    def unit_of_effect(self) -> str:
        """Unit of the estimate of the test."""
        if self.features:
            return "% decoded (chance 50)"
        if self.design == "columns":
            return f"{self.unit} per {self.measure_of(self.reference).unit.rstrip('s')}"
        return f"{self.unit} at full dose" if self.design == "doses" else self.unit

    @property
    def level(self) -> float:
        """Level of the interval of the estimate: 90% is that of an equivalence test."""
        return 0.9 if self.bound else 0.95

    def contrast(self, arms: Iterable[object]) -> str:
        """Say what the estimate is of: which arm minus which, or which slope.

        Parameters
        ----------
        arms : iterable
            Arms or conditions that there are.

        Returns
        -------
        str
            In words.
        """
        if self.features:
            return "animals whose group is told rightly"
        if self.design == "columns":
            told = (name.replace("_", " ") for name in (self.outcome, self.reference))
            return "slope of {} on {}, the rest held fixed".format(*told)
        if self.design == "doses":
            return "slope on the dose"
        others = dict.fromkeys(str(arm) for arm in arms if str(arm) != self.reference)
        return f"{', '.join(others)} minus {self.reference}"

    @property
    def n_out(self) -> int:
        """Outputs of its task: one is a choice, two are a movement."""
        return 1 if self.subjects == "mice" else 2

    @property
    def animals_of(self) -> str:
        """What a number of animals is of: each arm, or all."""
        return "animals in each arm" if self.design in ("groups", "doses") else "animals"

    @property
    def fewest(self) -> int:
        """Fewest animals, in each arm or in all, of which the test can be made."""
        return 8 if self.design == "columns" else 4

    @property
    def test_name(self) -> str:
        """The function of `predictlearn.statistics` and what it is told."""
        told = getattr(self.test, "keywords", {})
        function = getattr(self.test, "func", self.test)
        return f"{function.__name__}({', '.join(f'{k}={v!r}' for k, v in told.items())})"

    def spreads(self) -> list[str]:
        """Say where the spread between animals, and noise, come from, one by one."""
        keys = self.measures if isinstance(self.measures, Mapping) else [self.reference]
        noise = [self.measure_of(key).spread for key in keys]
        return list(dict.fromkeys([rate_spread(self.subjects), *noise]))

    def spread(self) -> str:
        """Say where the spread between animals, and noise, come from."""
        return "; ".join(self.spreads())

    def result(self, table: pd.DataFrame) -> pd.Series:
        """Return the row of the test that decides.

        Parameters
        ----------
        table : DataFrame
            As `cohort_table` makes it, or a laboratory's own.

        Returns
        -------
        pandas.Series
            As `TestResult.to_series`.
        """
        found = self.test(table)
        return found.iloc[0] if self.row is None else found[found["name"] == self.row].iloc[0]


@dataclass(frozen=True)
class SimulatedCohort:
    """What is expected of many animals, each simulated through learning once.

    Parameters
    ----------
    expected : dict of str to numpy.ndarray, (animals, ...)
        By arm, condition or column.
    lost : int
        Animals whose learning diverged; they are left out.
    learner : Learner
        What learned.
    """

    expected: dict[str, Array]
    lost: int = 0
    learner: Learner = field(default_factory=Learner)

    @property
    def n_animals(self) -> int:
        """Number of animals."""
        return len(next(iter(self.expected.values())))


def _some(
    entry: Entry, networks: list[Any], rates: Array, learner: Learner, seeds: list[int]
) -> list[dict[str, Array] | None]:
    """Take some animals through the experiment; None where learning diverged."""
    found: list[dict[str, Array] | None] = []
    for network, rate, seed in zip(networks, rates, seeds, strict=True):
        try:
            found.append(entry.experiment(Animal(network, float(rate), learner, seed)))
        except FAILURES:
            found.append(None)
    return found


def simulate_cohort(
    entry: Entry,
    n_animals: int | None = None,
    seed: int = 0,
    learner: Learner | None = None,
    n_jobs: int = 1,
) -> SimulatedCohort:
    """Take animals through the experiment of an entry, each through every arm.

    Parameters
    ----------
    entry : Entry
        The entry.
    n_animals : int, optional
        Animals; those of the entry if not given.
    seed : int, default 0
        Seed of their networks, rates and noise.
    learner : Learner, optional
        What learns; factors by descent if not given.
    n_jobs : int, default 1
        Processes. The result does not depend on it.

    Returns
    -------
    SimulatedCohort
        What is expected of each.
    """
    n_animals = entry.n_cohort if n_animals is None else positive_int("n_animals", n_animals)
    learner = Learner() if learner is None else learner
    if entry.feedback is not None:
        learner = replace(learner, feedback=entry.feedback)
    networks = naive_networks(n_animals, seed, n_out=entry.n_out)
    rates = own_rates(entry.subjects, learner, n_animals, seed)
    seeds = [1_000_003 * (seed + 1) + 1000 * i for i in range(n_animals)]
    blocks = [slice(i, i + _BLOCK) for i in range(0, n_animals, _BLOCK)]
    rows = Parallel(n_jobs=n_jobs, keep=False)(
        delayed(_some)(entry, networks[b], rates[b], learner, seeds[b]) for b in blocks
    )
    whole = [one for block in rows for one in block if one is not None]
    if len(whole) < 2:
        raise InputError(
            f"{entry.name}: learning diverged in {n_animals - len(whole)} of {n_animals} animals "
            f"of {learner.name}; nothing can be said of the rest."
        )
    expected = {key: np.array([one[key] for one in whole]) for key in whole[0]}
    return SimulatedCohort(expected, n_animals - len(whole), learner)


def cohort_table(
    entry: Entry,
    cohort: SimulatedCohort,
    n: int | None,
    rng: np.random.Generator,
    null: bool = False,
) -> pd.DataFrame:
    """Draw animals and what is measured of them, as a laboratory's table.

    Parameters
    ----------
    entry : Entry
        The entry.
    cohort : SimulatedCohort
        Animals to draw from, with replacement.
    n : int or None
        Animals in each arm, or in all where every animal is in both conditions; None takes every
        animal of the cohort once.
    rng : numpy.random.Generator
        Source of randomness.
    null : bool, default False
        Draw where the null holds: all arms from the reference (`Entry.bound` apart, where
        that is what is tested), or the outcome of other animals.

    Returns
    -------
    DataFrame
        Tidy: subject, arm, and the outcome; with several numbers of each animal a column each.
    """
    size = cohort.n_animals if n is None else n

    def drawn(key: str, who: np.ndarray) -> Array:
        return entry.measure_of(key)(cohort.expected[key][who], rng)

    def chosen() -> np.ndarray:
        return np.arange(size) if n is None else rng.integers(cohort.n_animals, size=size)

    keys = list(cohort.expected)
    if entry.design == "columns":
        who = chosen()
        columns = {key: drawn(key, who) for key in keys}
        if null:
            columns[entry.outcome] = rng.permutation(columns[entry.outcome])
        return pd.DataFrame({"subject": np.arange(size), **columns})
    paired = entry.design == "pairs"
    who = chosen()
    parts = []
    for k, key in enumerate(keys):
        who = who if paired else chosen()
        values = drawn(entry.reference if null else key, who)
        if null and key != entry.reference:
            values = values + entry.bound
        subject = np.arange(size) + (0 if paired else k * size)
        arm = float(key) if entry.design == "doses" else key
        part = pd.DataFrame({"subject": subject, "arm": arm})
        if entry.features:
            part[list(entry.features)] = values
        else:
            part[entry.outcome] = values
        parts.append(part)
    return pd.concat(parts, ignore_index=True)
