"""Power by resampling the animals of a table, with a difference put in."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pandas as pd
from scipy import stats

from predictlearn.arrays import Array
from predictlearn.checks import positive, positive_int
from predictlearn.comparing.question import ArmComparison, ArmQuestion, table_test
from predictlearn.comparing.waits import (
    resample_waits,
    wait_rows,
    wait_sizes,
    wait_tests,
)
from predictlearn.errors import InputError
from predictlearn.statistics.families import TableTest
from predictlearn.statistics.power import animals_needed
from predictlearn.statistics.simulated_power import SimulatedPower, power_by_simulation
from predictlearn.statistics.tables import labels, numbers

__all__ = ["AnimalRows", "PowerAt", "resample", "resampled_power"]

# Sizes of a curve, and the largest number of animals that is simulated.
_SIZES, _MOST = 9, 500
# Relabellings within a simulated experiment, where the test relabels.
_RELABELLINGS = 999


@dataclass(frozen=True)
class AnimalRows:
    """Rows of a table sorted by animal, and how each animal is moved to have a stated difference.

    Parameters
    ----------
    values : numpy.ndarray, (rows,)
        Outcome.
    second : numpy.ndarray of bool, (rows,)
        Whether the row is of the arm that the reference is subtracted from.
    start, count : numpy.ndarray of int, (animals,)
        First row of each animal, and its number of rows.
    group : numpy.ndarray of int, (animals,)
        Which animals may replace one another: 0 of the reference and 1 of the other arm; all 0
        where animals are in both.
    shift : numpy.ndarray, (rows,)
        What is added to have no difference, and the spread that animals have.
    session : numpy.ndarray, optional
        Session of each row.
    question : ArmQuestion
        The question, whose columns the resampled table has.
    """

    values: Array
    second: np.ndarray
    start: np.ndarray
    count: np.ndarray
    group: np.ndarray
    shift: Array
    session: np.ndarray | None
    question: ArmQuestion

    @property
    def spread(self) -> float:
        """Standard deviation between animals of an arm, or of differences within animals."""
        return math.sqrt(float(np.mean(self._variances())))

    @property
    def freedom(self) -> int:
        """Degrees of freedom of that standard deviation."""
        return int(self.group.size - len(np.unique(self.group)))

    def _variances(self) -> list[float]:
        """Return the variance of animals of each group."""
        owner = np.repeat(np.arange(self.start.size), self.count)
        if self.question.paired:
            d = _means(owner, self.values, self.second) - _means(owner, self.values, ~self.second)
            return [float(d.var(ddof=1))]
        means = np.bincount(owner, weights=self.values) / self.count
        return [float(means[self.group == k].var(ddof=1)) for k in (0, 1)]


def _means(owner: np.ndarray, values: Array, where: np.ndarray) -> Array:
    """Return the mean of each animal over some of its rows."""
    n = int(owner.max()) + 1
    total = np.bincount(owner[where], weights=values[where], minlength=n)
    return total / np.bincount(owner[where], minlength=n)


def animal_rows(comparison: ArmComparison) -> AnimalRows:
    """Return the animals of a comparison of two arms, ready to be resampled.

    Resampling k animals makes their spread smaller by (k - 1) / k in variance; their deviations
    from the mean of the arm are made larger by as much, so that the spread is that of the table.

    Parameters
    ----------
    comparison : ArmComparison
        Of two arms.

    Returns
    -------
    AnimalRows
        The animals.

    Raises
    ------
    InputError
        If there are more than two arms.
    """
    q = comparison.question
    _two_arms(comparison)
    animals = labels(comparison.data, "subject", q.subject)
    order = np.argsort(animals.codes, kind="stable")
    data = comparison.data.iloc[order]
    owner = animals.codes[order]
    values = numbers(data, "outcome", q.outcome)
    second = (data[q.arm].map(str) == comparison.arms[1]).to_numpy()
    count = np.bincount(owner)
    start = np.concatenate([[0], np.cumsum(count)[:-1]])
    if q.paired:
        group = np.zeros(count.size, dtype=int)
        d = _means(owner, values, second) - _means(owner, values, ~second)
        moved = _wider(d - d.mean()) - d
        shift = np.where(second, moved[owner], 0.0)
    else:
        group = second[start].astype(int)
        means = np.bincount(owner, weights=values) / count
        moved = np.empty_like(means)
        base = float(means[group == 0].mean())
        for k in (0, 1):
            mine = group == k
            moved[mine] = base + _wider(means[mine] - means[mine].mean()) - means[mine]
        shift = moved[owner]
    session = None if q.session is None else data[q.session].to_numpy()
    return AnimalRows(values, second, start, count, group, shift, session, q)


def _two_arms(comparison: ArmComparison) -> None:
    """Raise InputError unless two arms are compared."""
    if len(comparison.arms) != 2:
        raise InputError(
            f"--animals is of two arms; there are {', '.join(comparison.arms)}. Choose two with "
            "--arms."
        )


def _wider(deviations: Array) -> Array:
    """Return deviations from a mean, wider by what resampling takes from their spread."""
    k = deviations.size
    return deviations * math.sqrt(k / (k - 1))


def resample(
    n: int, rng: np.random.Generator, *, source: AnimalRows, effect: float, share: float = 1.0
) -> pd.DataFrame:
    """Return a table of an experiment with n animals an arm, or n in both, drawn from others.

    Parameters
    ----------
    n : int
        Animals of the reference; of pairs, animals.
    rng : numpy.random.Generator
        Where chance comes from.
    source : AnimalRows
        The animals.
    effect : float
        Difference of arms, in units of the outcome.
    share : float
        Animals of the other arm for each one of the reference.

    Returns
    -------
    pandas.DataFrame
        In the columns of the question.
    """
    q = source.question
    size = {0: n, 1: round(share * n)}
    picks = np.concatenate(
        [rng.choice(np.flatnonzero(source.group == k), size[k]) for k in np.unique(source.group)]
    )
    count = source.count[picks]
    ends = np.cumsum(count)
    rows = np.arange(ends[-1]) - np.repeat(ends - count - source.start[picks], count)
    second = source.second[rows]
    values = source.values[rows] + source.shift[rows] + effect * second
    low, high = q.limits
    if low is not None or high is not None:
        # what is put in cannot leave the range of the outcome
        values = np.clip(values, low, high)
    table = {
        q.subject: np.repeat(np.arange(picks.size), count),
        q.arm: pd.Categorical.from_codes(second.astype(int), ["reference", "other"]),
        q.outcome: values,
    }
    if source.session is not None:
        table[str(q.session)] = source.session[rows]
    return pd.DataFrame(table)


@dataclass(frozen=True)
class PowerAt:
    """Power for one difference.

    Parameters
    ----------
    effect : float
        The difference, in units of the outcome; of waits the hazard ratio.
    seen : bool
        Whether it is the difference that these animals show.
    n : int
        Animals of the reference asked about, or pairs.
    power, low, high : float
        Power there, with its Monte Carlo interval.
    found : SimulatedPower
        The whole curve, and the numbers needed.
    spread : tuple of float
        By which factors the numbers needed could be smaller or larger, since the spread between
        animals is known from so few: 95% interval of its square over itself. Of waits, since the
        share that reaches the criterion is.
    test : str
        The test, where several were made.
    share : float
        Animals of the other arm for each one of the reference.
    """

    effect: float
    seen: bool
    n: int
    power: float
    low: float
    high: float
    found: SimulatedPower
    spread: tuple[float, float]
    test: str = ""
    share: float = 1.0

    @property
    def table(self) -> pd.DataFrame:
        """The curve of this test."""
        table = self.found.table
        return table[table["test"] == self.test] if self.test else table

    @property
    def numbers_needed(self) -> pd.DataFrame:
        """The numbers needed by this test."""
        table = self.found.needed
        return table[table["test"] == self.test] if self.test else table

    @property
    def animals(self) -> str:
        """Animals asked about, the reference last as it is in differences."""
        return str(self.n) if self.share == 1 else f"{round(self.share * self.n)} + {self.n}"

    def needed(self, target: float) -> str:
        """Return the smallest n for a power, with its Monte Carlo interval, as text."""
        table = self.numbers_needed
        row = table[np.isclose(table["target"], target)].iloc[0]
        largest = int(self.found.table["n"].max())
        if not math.isfinite(row["n"]):
            return f"> {largest}"
        high = f"{row['high']:g}" if math.isfinite(row["high"]) else f"> {largest}"
        least = f"{row['n']:g}"
        if self.share != 1:
            least = f"{round(self.share * row['n'])} + {least}"
        return f"{least} ({row['low']:g} to {high})"


def _sizes(source: AnimalRows, effect: float, n: int, share: float = 1.0) -> list[int]:
    """Return numbers of animals around those needed, by the formula of the t test."""
    q = source.question
    if effect == 0 and q.test != "equivalence":
        return [n]
    # what has to be told from what: of equivalence, the difference from the margin
    gap = abs(effect) if q.margin is None else abs(q.margin - abs(effect))
    # evidence takes more animals than p < 0.05 does
    first, last = (0.5, 1.6) if q.test != "bayes" else (0.8, 4.0)
    wanted = []
    for power, factor in ((0.8, first), (0.95, last)):
        size: float = _MOST
        if gap > 0 and source.spread > 0:
            design = "paired" if q.paired else "two-sample"
            try:
                size = animals_needed(gap / source.spread, power=power, design=design).n
            except InputError:  # more than any experiment has
                size = _MOST
        # the variance of a difference of groups goes with 1 / n + 1 / (share n)
        wanted.append(factor * size * (1 + 1 / share) / 2)
    return _around(n, wanted, share)


def _around(n: int, wanted: Sequence[float], share: float) -> list[int]:
    """Return numbers of animals to simulate, from the lowest to the highest that are wanted."""
    least = max(3.0, 1.5 / share)
    low, high = (min(max(size, least), _MOST) for size in wanted)
    low, high = max(min(low, _MOST / 4), least), max(high, low + 4)
    return sorted({n, *(round(size) for size in np.geomspace(low, high, _SIZES))})


def resampled_power(
    comparison: ArmComparison,
    n: int,
    effects: Sequence[float] = (),
    *,
    share: float = 1.0,
    n_simulations: int = 1000,
    seed: int = 0,
    n_jobs: int = 1,
) -> list[PowerAt]:
    """Return the power of the same test with other numbers of animals, for stated differences.

    Animals are drawn from those of the table, with replacement and with all of their rows, and
    moved so that the arms differ by the stated difference. Waits that may be cut short are drawn as
    `resample_waits` says, and the difference is a hazard ratio. Power at the difference that the
    table shows says no more than its p value does.

    Parameters
    ----------
    comparison : ArmComparison
        Of two arms.
    n : int
        Animals of the reference; animals in both where paired.
    effects : sequence of float
        Differences in units of the outcome, or hazard ratios, beside the one seen.
    share : float
        Animals of the other arm for each one of the reference.
    n_simulations : int
        Experiments a number of animals.
    seed : int
        Seed; results do not depend on `n_jobs`.
    n_jobs : int
        Processes.

    Returns
    -------
    list of PowerAt
        Of the difference seen, then of the others; of waits each by the log-rank test and by that
        of restricted means.

    Raises
    ------
    InputError
        As `animal_rows`; if n is below 2, the animals do not vary, or an effect makes no sense.

    Examples
    --------
    >>> from predictlearn.comparing.question import asked, compare_table
    >>> rng = np.random.default_rng(0)
    >>> table = pd.DataFrame({"subject": range(20), "arm": ["a"] * 10 + ["b"] * 10,
    ...                       "errors": rng.normal(5.0, 1.0, 20)})
    >>> found = resampled_power(compare_table(table, asked("errors")), 12, [1.5],
    ...                         n_simulations=20)
    >>> [one.seen for one in found]
    [True, False]
    """
    positive_int("--animals", n, minimum=2)
    q = comparison.question
    if positive("--ratio", share) != 1 and q.paired:
        raise InputError("--ratio is of different animals; here the same are in both arms.")
    if round(share * n) < 2:
        raise InputError(
            f"--ratio {share:g} of --animals {n} leaves fewer than 2 animals in the first arm; "
            f"take {2 / n:.2g} or more."
        )
    for effect in effects:
        _check_effect(effect, q)
    if q.test == "survival":
        return _waits_power(comparison, n, effects, share, n_simulations, seed, n_jobs)
    source = animal_rows(comparison)
    if source.spread == 0:
        raise InputError("the animals of an arm do not vary, so that no number of them is to tell.")
    test, row = _simulated_test(comparison, source)
    seen = float(comparison.tests["estimate"].iloc[0])
    made = []
    for k, effect in enumerate((seen, *effects)):
        found = power_by_simulation(
            partial(resample, source=source, effect=float(effect), share=share),
            {comparison.question.test: test},
            n_animals=_sizes(source, effect, n, share),
            rows={comparison.question.test: row} if row else None,
            n_simulations=n_simulations,
            seed=seed,
            n_jobs=n_jobs,
            progress=True,
        )
        at = found.table[found.table["n"] == n].iloc[0]
        made.append(
            PowerAt(float(effect), k == 0, n, float(at["power"]), float(at["low"]),
                    float(at["high"]), found, _variance_span(source.freedom), share=share)
        )  # fmt: skip
    return made


def _check_effect(effect: float, question: ArmQuestion) -> None:
    """Raise InputError unless an effect is one that can be put in."""
    if not math.isfinite(effect):
        raise InputError(f"--effect must be a number; got {effect}.")
    if question.test == "survival" and not effect > 0:
        raise InputError(
            "--effect of waits is a hazard ratio, above 0: 2 where the first arm reaches the "
            f"criterion at twice the rate of the other, 0.5 at half of it; got {effect:g}."
        )


def _waits_power(
    comparison: ArmComparison,
    n: int,
    ratios: Sequence[float],
    share: float,
    n_simulations: int,
    seed: int,
    n_jobs: int,
) -> list[PowerAt]:
    """Return the power of tests of waits, at the curves seen and at hazard ratios."""
    _two_arms(comparison)
    source = wait_rows(comparison)
    rows = comparison.tests.set_index("name")["estimate"]
    seen = float(rows[rows.index.str.endswith(", log-rank")].iloc[0])
    if ratios and not source.reached[0].any():
        raise InputError(
            f"--effect multiplies the rate at which {comparison.arms[0]!r} reaches the criterion, "
            f"and none of its {source.reached[0].size} animals did; exchange the arms in --arms, "
            "or leave --effect out."
        )
    tests = wait_tests(replace(source.question, reference="reference"), _RELABELLINGS)
    made = []
    for ratio in (None, *ratios):
        low, high = wait_sizes(source, ratio, share)
        sizes = _around(n, [0.5 * low, 1.6 * high], share)
        found = power_by_simulation(
            partial(resample_waits, source=source, ratio=ratio, share=share),
            tests,
            n_animals=[n] if ratio == 1 else sizes,
            n_simulations=n_simulations,
            seed=seed,
            n_jobs=n_jobs,
            progress=True,
        )
        for test in tests:
            table = found.table[found.table["test"] == test]
            at = table[table["n"] == n].iloc[0]
            made.append(
                PowerAt(seen if ratio is None else float(ratio), ratio is None, n,
                        float(at["power"]), float(at["low"]), float(at["high"]), found,
                        source.span, test, share)
            )  # fmt: skip
    return made


def _variance_span(df: int) -> tuple[float, float]:
    """Return the 95% interval of a variance over its estimate."""
    return float(df / stats.chi2.isf(0.025, df)), float(df / stats.chi2.isf(0.975, df))


def _simulated_test(comparison: ArmComparison, source: AnimalRows) -> tuple[TableTest, str]:
    """Return the test of resampled tables, and the name of its row where it has several."""
    question = replace(source.question, reference="reference", limits=(None, None))
    test = table_test(question)
    if isinstance(test, partial) and "method" in test.keywords:
        test = partial(test, n_resamples=_RELABELLINGS)
    row = f"{question.arm}: other - reference" if question.test == "mixed" else ""
    return test, row
