"""Two groups of animals, or the same animals twice, from a tidy table: different, or equivalent."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pandas as pd
from scipy import stats

from predictlearn.arrays import Array
from predictlearn.statistics.comparisons import paired_comparison, two_sample_comparison
from predictlearn.statistics.equivalence import equivalence_paired, equivalence_two_sample
from predictlearn.statistics.results import AssumptionCheck, TestResult, bare, tests_table
from predictlearn.statistics.tables import Limits, animals_in_arms, animals_in_both

__all__ = ["compare_groups", "compare_pairs", "equivalent_groups", "equivalent_pairs"]

# Below this p a check says that its assumption is not met.
_DOUBT = 0.05
# Where a test rejected more or less than 4 to 6% of 2,000 true nulls, see the page
# studies/statistics/test_sizes.md.
_MISSES = {
    "groups, welch": "measured: rejects 3.6% of true nulls of 8 + 8 skewed (exponential) outcomes "
    "and of 6 + 6 means of ten sessions, 6.1% of 5 + 10 normal outcomes where the smaller arm "
    "varies twice as much",
    "groups, permutation": "measured: rejects 7.9% of true nulls of 5 + 10 animals where the "
    "smaller arm varies twice as much; method='welch' 6.1%",
    "pairs, t": "measured: rejects 10% of true nulls of 8 pairs with skewed (exponential) "
    "differences",
    "pairs, wilcoxon": "measured: rejects 3% of true nulls of 6 pairs, as few ranks are possible, "
    "3.6% of 8 pairs of percent correct, and 7.4% of 8 pairs with skewed (exponential) differences",
    "pairs, permutation": "measured: rejects 2.7% of true nulls of 6 pairs, as few p values are "
    "possible, 3.1% of 8 pairs of percent correct, and 9.3% of 8 pairs with skewed "
    "(exponential) differences",
    "pairs, equivalence": "measured: 14% of 8 pairs with skewed (exponential) differences are "
    "called equivalent where the true difference is the upper bound",
}


def normality(values: Array, what: str, instead: str) -> tuple[AssumptionCheck, ...]:
    """Return Shapiro and Wilk's check of values about their mean, where there are enough."""
    # of thousands any departure is found, and scipy's p is not accurate
    if not 4 <= values.size <= 5000 or np.ptp(values) <= 1e-12 * float(np.abs(values).max()):
        return ()
    p = float(stats.shapiro(values).pvalue)
    found = f"Shapiro-Wilk p = {p:.2g} in {values.size} values, skewness {stats.skew(values):.2g}"
    return (AssumptionCheck(what, found, p >= _DOUBT, instead),)


def _group_checks(x: Array, y: Array, method: str) -> tuple[AssumptionCheck, ...]:
    """Return what two samples say of the assumptions of their comparison."""
    if bare():
        return ()
    apart = np.concatenate([x - x.mean(), y - y.mean()])
    found: tuple[AssumptionCheck, ...] = ()
    if method == "welch":
        found = normality(apart, "normal within arms", "prefer method='permutation'")
    if np.ptp(x) > 0 and np.ptp(y) > 0:
        ratio = float(x.std(ddof=1) / y.std(ddof=1))
        p = float(stats.levene(x, y, center="median").pvalue)
        # Welch's test needs no equal spread; relabelling does, unless groups are as large
        instead = {
            "welch": "Welch's test allows for it; Hedges' g is in units of a pooled spread",
            "permutation": "prefer method='welch' where the groups are of unequal size",
        }[method]
        words = f"ratio of sds {ratio:.2g}, Brown-Forsythe p = {p:.2g}"
        found += (AssumptionCheck("equal spread", words, p >= _DOUBT, instead),)
    if method == "permutation":
        ways = math.comb(x.size + y.size, x.size)
        least = (2 if x.size == y.size else 1) / ways
        found += (_reachable(least),)
    return found


def _reachable(least: float) -> AssumptionCheck:
    """Return whether so few animals can give a p below 0.05 at all."""
    return AssumptionCheck(
        "enough animals for p < 0.05",
        f"the smallest p is {least:.2g}",
        least < 0.05,
        "more animals, or the t test",
    )


def _pair_checks(d: Array, method: str) -> tuple[AssumptionCheck, ...]:
    """Return what paired differences say of the assumptions of their comparison."""
    if bare():
        return ()
    if method == "t":
        instead = "prefer method='permutation' if they are symmetric, else transform"
        return normality(d, "normal differences", instead)
    return (_reachable(2.0 ** (1 - d.size)),)


def compare_groups(
    data: pd.DataFrame,
    *,
    outcome: str,
    arm: str = "arm",
    subject: str = "subject",
    reference: str | None = None,
    method: str = "welch",
    limits: Limits = (None, None),
    unit: str = "",
    level: float = 0.95,
    n_resamples: int = 9999,
    seed: int = 0,
) -> pd.DataFrame:
    """Ask whether arms of different animals differ: each arm minus the reference.

    The animal is the unit: its rows (trials, sessions) are averaged first. Which test is stated
    beforehand by `method`; the checks are for the reader, and never choose it.

    Parameters
    ----------
    data : pandas.DataFrame
        One row an observation.
    outcome, arm, subject : str
        Columns: what was measured, the arm, the animal.
    reference : str, optional
        Arm that the others are compared with; default the first, in the order of the category or
        sorted.
    method : {"welch", "permutation"}
        Welch's t test, or relabelling of animals with Welch's t as the statistic.
    limits : (low, high), optional
        Range that the outcome must lie in; None leaves an end open.
    unit : str
        Unit of the outcome, for the table.
    level : float
        Level of intervals; "different" is concluded where p < 1 - level.
    n_resamples, seed : int
        Relabellings and their seed; all are enumerated where there are no more.

    Returns
    -------
    pandas.DataFrame
        A row a comparison, in the columns of :meth:`TestResult.to_series`: ``estimate`` with
        ``low`` and ``high`` in units of the outcome, ``effect`` (Hedges' g) with its own, ``p``,
        ``n``, ``n_animals``, ``method``, ``assumptions`` and what was ``checked`` of them.

    Raises
    ------
    InputError
        With the row: a missing column, a missing or wrong value, one outside `limits`, an animal
        in two arms, an arm of one animal, one arm only.

    Examples
    --------
    >>> table = pd.DataFrame({
    ...     "mouse": list("aabbccddeeff"), "arm": ["drug"] * 6 + ["saline"] * 6,
    ...     "errors": [5, 7, 9, 8, 4, 7, 2, 3, 1, 4, 2, 2]})
    >>> found = compare_groups(
    ...     table, outcome="errors", subject="mouse", reference="saline", unit="errors")
    >>> print(found.loc[0, "statement"])
    drug - saline: difference of means 4.33, 95% interval [0.503, 8.16], Welch's t test \
p = 0.039, n = 3 + 3.
    """
    animals = animals_in_arms(
        data, outcome=outcome, arm=arm, subject=subject, reference=reference, limits=limits
    )
    base = animals.of(0)
    results = []
    for k in range(1, len(animals.arms)):
        x = animals.of(k)
        one = two_sample_comparison(
            x,
            base,
            name=f"{animals.arms[k]} - {animals.arms[0]}",
            method=method,
            level=level,
            n_resamples=n_resamples,
            seed=seed,
        )
        checked = _group_checks(x, base, method)
        results.append(_with_animals(one, x.size + base.size, unit, checked, f"groups, {method}"))
    return tests_table(results)


def _with_animals(
    result: TestResult,
    n: int,
    unit: str,
    checked: tuple[AssumptionCheck, ...],
    test: str = "",
) -> TestResult:
    """Return a result that knows its animals, unit and checks, and where its test misses."""
    about = result.assumptions
    if test in _MISSES:
        about = (*about, _MISSES[test])
    return dataclasses.replace(result, n_animals=n, unit=unit, checked=checked, assumptions=about)


def compare_pairs(
    data: pd.DataFrame,
    *,
    outcome: str,
    arm: str = "arm",
    subject: str = "subject",
    reference: str | None = None,
    method: str = "t",
    interval: str = "t",
    limits: Limits = (None, None),
    unit: str = "",
    level: float = 0.95,
    n_resamples: int = 9999,
    seed: int = 0,
) -> pd.DataFrame:
    """Ask whether two conditions differ within the same animals: the other minus the reference.

    Rows of one animal and condition are averaged first.

    Parameters
    ----------
    data : pandas.DataFrame
        One row an observation; every animal in both conditions.
    outcome, arm, subject : str
        Columns: what was measured, the condition, the animal.
    reference : str, optional
        Condition that is subtracted; default the first.
    method : {"t", "wilcoxon", "permutation"}
        Paired t test, Wilcoxon's signed ranks, or sign flips of animals.
    interval : {"t", "bca"}
        Student's t, or the bias-corrected accelerated bootstrap over animals.
    limits, unit, level, n_resamples, seed
        As in :func:`compare_groups`.

    Returns
    -------
    pandas.DataFrame
        One row, as in :func:`compare_groups`; ``effect`` is Hedges-corrected dz.

    Raises
    ------
    InputError
        With the row, as in :func:`compare_groups`; also where an animal has no row in a condition.

    Examples
    --------
    >>> table = pd.DataFrame({
    ...     "mouse": list("abcde") * 2, "light": ["off"] * 5 + ["on"] * 5,
    ...     "correct": [70, 64, 75, 68, 72, 78, 70, 80, 71, 81]})
    >>> found = compare_pairs(table, outcome="correct", arm="light", subject="mouse")
    >>> print(found.loc[0, "statement"])
    on - off: mean difference 6.2, 95% interval [3.24, 9.16], paired t test p = 0.0044, n = 5 pairs.
    """
    pairs = animals_in_both(
        data, outcome=outcome, arm=arm, subject=subject, reference=reference, limits=limits
    )
    base, x = pairs.values.T
    one = paired_comparison(
        x,
        base,
        name=f"{pairs.arms[1]} - {pairs.arms[0]}",
        method=method,
        interval=interval,
        level=level,
        n_resamples=n_resamples,
        seed=seed,
    )
    checked = _pair_checks(x - base, method)
    return tests_table([_with_animals(one, x.size, unit, checked, f"pairs, {method}")])


def equivalent_groups(
    data: pd.DataFrame,
    *,
    outcome: str,
    bounds: float | tuple[float, float],
    arm: str = "arm",
    subject: str = "subject",
    reference: str | None = None,
    limits: Limits = (None, None),
    unit: str = "",
    alpha: float = 0.05,
) -> pd.DataFrame:
    """Ask whether arms of different animals are the same, up to the smallest effect of interest.

    Parameters
    ----------
    data : pandas.DataFrame
        One row an observation.
    outcome : str
        Column of what was measured.
    bounds : float or (float, float)
        Largest difference, in units of the outcome, that would not matter; stated beforehand.
    arm, subject, reference, limits, unit
        As in :func:`compare_groups`.
    alpha : float
        Level of each one-sided Welch test; the interval has level 1 - 2 alpha.

    Returns
    -------
    pandas.DataFrame
        A row a comparison, as in :func:`compare_groups`; ``p`` is the larger one-sided p.

    Raises
    ------
    InputError
        With the row, as in :func:`compare_groups`; or if the bounds are not low < high.

    Examples
    --------
    >>> table = pd.DataFrame({"mouse": list("abcdefgh"), "arm": list("xxxxyyyy"),
    ...                       "trials": [20, 22, 21, 23, 21, 22, 23, 20]})
    >>> equivalent_groups(table, outcome="trials", subject="mouse", bounds=4).loc[0, "verdict"]
    'equivalent'
    """
    animals = animals_in_arms(
        data, outcome=outcome, arm=arm, subject=subject, reference=reference, limits=limits
    )
    base = animals.of(0)
    results = []
    for k in range(1, len(animals.arms)):
        x, name = animals.of(k), f"{animals.arms[k]} - {animals.arms[0]}"
        one = equivalence_two_sample(x, base, bounds, name=name, alpha=alpha)
        checked = () if bare() else _group_checks(x, base, "welch")
        results.append(_with_animals(one, x.size + base.size, unit, checked))
    return tests_table(results)


def equivalent_pairs(
    data: pd.DataFrame,
    *,
    outcome: str,
    bounds: float | tuple[float, float],
    arm: str = "arm",
    subject: str = "subject",
    reference: str | None = None,
    limits: Limits = (None, None),
    unit: str = "",
    alpha: float = 0.05,
) -> pd.DataFrame:
    """Ask whether two conditions are the same within animals, up to stated bounds.

    Parameters
    ----------
    data : pandas.DataFrame
        One row an observation; every animal in both conditions.
    outcome : str
        Column of what was measured.
    bounds : float or (float, float)
        Largest difference, in units of the outcome, that would not matter; stated beforehand.
    arm, subject, reference, limits, unit
        As in :func:`compare_pairs`.
    alpha : float
        Level of each one-sided paired t test; the interval has level 1 - 2 alpha.

    Returns
    -------
    pandas.DataFrame
        One row, as in :func:`compare_pairs`; ``p`` is the larger one-sided p.

    Raises
    ------
    InputError
        With the row, as in :func:`compare_pairs`; or if the bounds are not low < high.

    Examples
    --------
    >>> table = pd.DataFrame({"mouse": list("abcde") * 2, "light": ["off"] * 5 + ["on"] * 5,
    ...                       "correct": [70, 64, 75, 68, 72, 71, 64, 74, 69, 72]})
    >>> found = equivalent_pairs(table, outcome="correct", arm="light", subject="mouse", bounds=3)
    >>> found.loc[0, "verdict"]
    'equivalent'
    """
    pairs = animals_in_both(
        data, outcome=outcome, arm=arm, subject=subject, reference=reference, limits=limits
    )
    base, x = pairs.values.T
    name = f"{pairs.arms[1]} - {pairs.arms[0]}"
    one = equivalence_paired(x, base, bounds, name=name, alpha=alpha)
    checked = () if bare() else _pair_checks(x - base, "t")
    return tests_table([_with_animals(one, x.size, unit, checked, "pairs, equivalence")])
