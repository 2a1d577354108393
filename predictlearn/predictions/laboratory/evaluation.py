"""An entry put to the test on simulated animals: effect, number of animals, size of the test."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from predictlearn.checks import positive_int
from predictlearn.errors import InputError
from predictlearn.predictions.laboratory.entry import (
    Entry,
    SimulatedCohort,
    cohort_table,
    simulate_cohort,
)
from predictlearn.predictions.laboratory.learner import Learner
from predictlearn.statistics.results import bare_results
from predictlearn.statistics.simulated_power import SimulatedPower, power_by_simulation

__all__ = ["EvaluatedEntry", "evaluate", "rejection_rate"]

# Numbers of animals at which power is first looked at.
_SIZES = (4, 6, 8, 11, 16, 22, 32, 45, 64, 90, 128, 180, 256)
_LOOK, _TARGETS = 40, (0.8, 0.95)
# Above such a standardised effect simulated animals are too alike for their number to be trusted.
_ALIKE = 3.0
# Experiments behind the range of estimates.
_EXPERIMENTS = 100
_LEVEL = 0.95


@dataclass(frozen=True)
class EvaluatedEntry:
    """What simulated animals say of an entry.

    Parameters
    ----------
    entry : Entry
        The entry.
    result : pandas.Series
        Its test on all simulated animals, as `TestResult.to_series`: ``estimate`` with ``low`` and
        ``high`` in the unit of the outcome, ``effect`` standardised with its interval.
    table : pandas.DataFrame
        What was measured of all of them.
    n_animals : int
        Animals of the experiment that was asked for, in each arm where arms are groups.
    in_experiments : tuple of float
        Between which values 95% of the estimates of experiments of that size lie.
    power : SimulatedPower
        Power over numbers of animals.
    cohort : SimulatedCohort
        The animals.
    settings : dict
        What was set.
    """

    entry: Entry
    result: pd.Series
    table: pd.DataFrame
    n_animals: int
    in_experiments: tuple[float, float]
    power: SimulatedPower
    cohort: SimulatedCohort
    settings: dict[str, Any]

    @property
    def animals(self) -> dict[float, tuple[float, float, float]]:
        """Smallest numbers for power of 80 and 95%, each with low and high; may be infinite."""
        needed = self.power.needed.set_index("target")
        return {
            target: tuple(float(needed.loc[target, k]) for k in ("n", "low", "high"))  # type: ignore[misc]
            for target in _TARGETS
        }

    @property
    def contrast(self) -> str:
        """What the effect is of, such as which arm minus which."""
        return self.entry.contrast(self.cohort.expected)

    @property
    def effect_text(self) -> str:
        """The effect with its interval and unit."""
        return effect_words(self.entry, *(self.result[k] for k in ("estimate", "low", "high")))

    @property
    def animals_text(self) -> str:
        """Numbers of animals in words."""
        each = "in each arm" if self.entry.design in ("groups", "doses") else "in all"
        words = []
        for target, (n, low, high) in self.animals.items():
            most = int(self.power.table["n"].max())
            if math.isfinite(n):
                top = f"{high:.0f}" if math.isfinite(high) else f"more than {most}"
                words.append(f"{n:.0f} [{low:.0f}, {top}] for {100 * target:.0f}%")
            else:
                words.append(f"more than {most} for {100 * target:.0f}%")
        return f"{', '.join(words)} power, {each}"

    @property
    def cautions(self) -> tuple[str, ...]:
        """What to bear in mind, in sentences."""
        found = []
        if self.cohort.lost:
            found.append(
                f"Learning diverged in {self.cohort.lost} of "
                f"{self.cohort.lost + self.cohort.n_animals} simulated animals, which are left out."
            )
        means = self.entry.design in ("groups", "pairs") and not self.entry.features
        if means and abs(self.result["effect"]) > _ALIKE:
            found.append(
                "Simulated animals are nearly alike in this outcome; real ones will differ more. "
                "Take the numbers of animals as lower bounds."
            )
        return tuple(found)


def signed(value: float) -> str:
    """Return a number of an effect with its sign.

    Examples
    --------
    >>> signed(3.04), signed(-0.123), signed(24.6)
    ('+3.0', '−0.12', '+25')
    """
    size = abs(value)
    digits = 2 if size < 0.995 else 1 if size < 9.95 else 0
    return f"{value:+.{digits}f}".replace("-", "−")


def one_number(entry: Entry, value: float) -> str:
    """Return a number of the effect of an entry; a share that is decoded has no sign."""
    return f"{value:.0f}" if entry.features else signed(value)


def effect_words(entry: Entry, value: float, low: float, high: float) -> str:
    """Return an effect with its unit and interval.

    Parameters
    ----------
    entry : Entry
        The entry.
    value, low, high : float
        Estimate and interval.

    Returns
    -------
    str
        Text.
    """
    value_text, *ends = (one_number(entry, x) for x in (value, low, high))
    gap = "" if entry.features else " "  # a percent sign stands at its number
    # an equivalence test has a 90% interval, which a column of 95% intervals has to say
    level = "" if entry.level == _LEVEL else f"; {100 * entry.level:.0f}%"
    return f"{value_text}{gap}{entry.unit_of_effect} [{', '.join(ends)}{level}]"


def rejection_rate(
    entry: Entry,
    cohort: SimulatedCohort,
    n: int,
    n_simulations: int = 500,
    seed: int = 0,
    n_jobs: int = 1,
) -> pd.Series:
    """Return how often the test of an entry rejects where its null holds.

    Parameters
    ----------
    entry : Entry
        The entry.
    cohort : SimulatedCohort
        Animals.
    n : int
        Animals in each arm, or in all.
    n_simulations : int, default 500
        Experiments.
    seed, n_jobs
        As in `evaluate`.

    Returns
    -------
    pandas.Series
        power (here the rate), low, high, simulations, failed.
    """
    found = power_by_simulation(
        partial(_drawn, entry=entry, cohort=cohort, null=True),
        {entry.name: entry.test},
        n_animals=n,
        rows=_rows_of(entry),
        n_simulations=n_simulations,
        seed=seed + 1,
        n_jobs=n_jobs,
    )
    return found.table.iloc[0][["power", "low", "high", "simulations", "failed"]]


def _rows_of(entry: Entry) -> dict[str, str] | None:
    """Return which row of its test decides, as simulations of power take it."""
    return None if entry.row is None else {entry.name: entry.row}


def _drawn(
    n: int, rng: np.random.Generator, entry: Entry, cohort: SimulatedCohort, null: bool = False
) -> pd.DataFrame:
    """Draw an experiment, in the order of arguments that simulations of power take."""
    return cohort_table(entry, cohort, n, rng, null)


def _sizes(entry: Entry, cohort: SimulatedCohort, seed: int) -> list[int]:
    """Return numbers of animals about where power passes what is aimed at, by a quick look."""
    rngs = np.random.default_rng([seed, 11])
    near: list[int] = []
    for n in (size for size in _SIZES if size >= entry.fewest):
        with bare_results():
            tables = (entry.test(_drawn(n, rng, entry, cohort)) for rng in rngs.spawn(_LOOK))
            power = float(np.mean([_shown(entry, table) for table in tables]))
        if power < 0.6:
            near.clear()
        near.append(n)
        if power > 0.985:
            break
    # one more, for the upper end of the interval of the number needed
    after = [size for size in _SIZES if size > near[-1]]
    return near + after[:1]


def _shown(entry: Entry, table: pd.DataFrame) -> bool:
    """Return whether an experiment shows what is predicted."""
    row = table.iloc[0] if entry.row is None else table[table["name"] == entry.row].iloc[0]
    return bool(row["p"] < 0.05)


def _in_experiments(
    entry: Entry, cohort: SimulatedCohort, result: pd.Series, n: int, rng: np.random.Generator
) -> tuple[float, float]:
    """Return between which values 95% of the estimates of experiments of a size lie."""
    if entry.features:
        # animals that are decoded from make the decoder better, too
        tables = (cohort_table(entry, cohort, n, one) for one in rng.spawn(_EXPERIMENTS))
        low, high = np.percentile([entry.result(t)["estimate"] for t in tables], [2.5, 97.5])
        return float(low), float(high)
    # half of a 95% interval, also of an equivalence test, whose own is of 90%
    wider = float(stats.norm.isf((1 - _LEVEL) / 2) / stats.norm.isf((1 - entry.level) / 2))
    half = wider * (result["high"] - result["low"]) / 2 * math.sqrt(cohort.n_animals / n)
    return float(result["estimate"] - half), float(result["estimate"] + half)


def evaluate(
    entry: Entry,
    n_animals: int | None = None,
    *,
    seed: int = 0,
    n_jobs: int = 1,
    cohort: int | SimulatedCohort | None = None,
    learner: Learner | None = None,
    n_simulations: int = 200,
) -> EvaluatedEntry:
    """Simulate animals of an entry, and say how large its effect is and how many show it.

    Learning is simulated once for every animal of a cohort; every experiment then draws animals
    from it, and their behaviour, recordings and noise anew.

    Parameters
    ----------
    entry : Entry
        The entry, of `find_entry`.
    n_animals : int, optional
        Animals of the experiment you have in mind, in each arm where arms are groups; as many as
        give 80% power if not given.
    seed : int, default 0
        Seed of everything.
    n_jobs : int, default 1
        Processes. The result does not depend on it.
    cohort : int or SimulatedCohort, optional
        Animals to simulate, or ones that have been.
    learner : Learner, optional
        What learns; factors by descent if not given.
    n_simulations : int, default 200
        Experiments for each number of animals: power within 7 points.

    Returns
    -------
    EvaluatedEntry
        Effect, range of estimates, power, numbers of animals.

    Raises
    ------
    InputError
        If a number is out of range, or the test can be made of no simulated experiment.

    Examples
    --------
    >>> from predictlearn.predictions.laboratory import evaluate, find_entry
    >>> found = evaluate(find_entry("site-of-plasticity"), 10, cohort=40, n_simulations=40)
    >>> bool(found.result["estimate"] < 0)  # slower where recurrent plasticity is slowed
    True
    """
    if n_animals is not None:
        n_animals = positive_int("n_animals", n_animals, minimum=entry.fewest)
    positive_int("n_simulations", n_simulations, minimum=_LOOK // 2)
    if not isinstance(cohort, SimulatedCohort):
        cohort = simulate_cohort(entry, cohort, seed, learner, n_jobs)
    elif learner is not None:
        raise InputError("learner is of animals to be simulated; leave it out with a cohort.")
    rng = np.random.default_rng([seed, 3])
    table = cohort_table(entry, cohort, None, rng)
    sizes = {*_sizes(entry, cohort, seed), *([] if n_animals is None else [n_animals])}
    curve = power_by_simulation(
        partial(_drawn, entry=entry, cohort=cohort),
        {entry.name: entry.test},
        n_animals=sorted(sizes),
        rows=_rows_of(entry),
        n_simulations=n_simulations,
        seed=seed + 12,
        n_jobs=n_jobs,
    )
    if n_animals is None:
        enough = float(curve.needed.set_index("target").loc[_TARGETS[0], "n"])
        n_animals = int(enough) if math.isfinite(enough) else max(_SIZES)
    result = entry.result(table)
    settings = {
        "animals simulated": cohort.n_animals,
        "what learns": cohort.learner.name,
        "experiments for each number of animals": n_simulations,
        "seed": seed,
        "spread": entry.spread(),
    }
    return EvaluatedEntry(
        entry,
        result,
        table,
        n_animals,
        _in_experiments(entry, cohort, result, n_animals, rng),
        curve,
        cohort,
        settings,
    )
