"""Equivalence tests: two one-sided tests against bounds that are stated beforehand.

A difference that is not significant is never called equivalence here; only a mean difference whose
90% interval lies within the bounds is.
"""

from __future__ import annotations

import math

import numpy as np
from scipy import stats
from statsmodels.stats.weightstats import ttost_ind, ttost_paired

from predictlearn.errors import InputError, choice
from predictlearn.statistics.comparisons import (
    check_level,
    check_pairs,
    check_samples,
    flat,
    mean_gap,
    number,
    p_text,
    span,
)
from predictlearn.statistics.effects import (
    EffectSize,
    infinite_effect,
    paired_effect,
    two_sample_effect,
)
from predictlearn.statistics.results import TestResult

__all__ = ["equivalence_paired", "equivalence_two_sample"]


def _bounds(bounds: float | tuple[float, float]) -> tuple[float, float]:
    """Return lower and upper bound; one number stands for minus and plus itself."""
    try:
        low, high = (-float(bounds), float(bounds)) if np.ndim(bounds) == 0 else map(float, bounds)  # type: ignore[arg-type]
    except (TypeError, ValueError) as error:
        raise InputError(f"bounds must be a number or (low, high); got {bounds!r}.") from error
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise InputError(f"bounds must be a positive margin or finite low < high; got {bounds!r}.")
    return low, high


def _result(
    *,
    name: str,
    label: str,
    gap: float,
    interval: tuple[float, float],
    p_low: float,
    p_high: float,
    statistic: float,
    bounds: tuple[float, float],
    alpha: float,
    size: EffectSize,
    n: tuple[int, ...],
    assumptions: tuple[str, ...],
    degenerate: str,
) -> TestResult:
    """Put an equivalence test into words and a TestResult."""
    p = max(p_low, p_high)
    verdict = "equivalent" if p < alpha else "not shown equivalent"
    where = (
        "lies within" if bounds[0] < interval[0] and interval[1] < bounds[1] else "is not within"
    )
    note = f" Note: {degenerate}." if degenerate else ""
    return TestResult(
        name=name,
        statement=(
            f"{name}: {verdict} within the stated bounds {span(*bounds)}: "
            f"difference {number(gap)}, its {100 * (1 - 2 * alpha):.3g}% interval "
            f"{span(*interval)} {where} them; {label}, larger of the two one-sided "
            f"{p_text(p)}, n = {' + '.join(map(str, n))}.{note}"
        ),
        verdict=verdict,
        method=label,
        statistic=statistic,
        p=p,
        estimate=gap,
        interval=interval,
        level=1 - 2 * alpha,
        effect_name=size.name,
        effect=size.value,
        effect_interval=(size.low, size.high),
        n=n,
        assumptions=(*assumptions, "the bounds were stated before the data were seen"),
        degenerate=degenerate,
        extra=(
            ("p_above_low_bound", p_low),
            ("p_below_high_bound", p_high),
            ("low_bound", bounds[0]),
            ("high_bound", bounds[1]),
        ),
    )


def equivalence_paired(
    first: np.ndarray,
    second: np.ndarray,
    bounds: float | tuple[float, float],
    *,
    name: str = "difference",
    alpha: float = 0.05,
    scale: float = 0.0,
) -> TestResult:
    """Test whether two paired samples have equal means up to stated bounds (TOST).

    Parameters
    ----------
    first, second : array_like, (pairs,)
        The paired values; finite, at least two pairs.
    bounds : float or (float, float)
        Largest differences, first minus second, that still count as equal, in units of the data;
        one number means minus and plus that number.
    name : str
        What is compared, for the sentence.
    alpha : float
        Level of each one-sided test; the interval has level 1 - 2 alpha.
    scale : float
        Size of the numbers that the data were computed from, where that is larger than the data:
        differences that vary by less than 1e-12 of it count as identical, up to rounding.

    Returns
    -------
    TestResult
        ``p`` is the larger one-sided p; both are in the further numbers. Where all differences are
        identical, each one-sided p is the exact sign-flip p about its bound, 2^-n if the
        difference lies inside and 1 if not, and ``degenerate`` says so.

    Raises
    ------
    InputError
        If values are missing or not finite, lengths differ, there are fewer than two pairs, or the
        bounds are not low < high.

    Examples
    --------
    >>> first, second = [1.0, 1.1, 0.9, 1.05, 1.0], [1.01, 1.08, 0.92, 1.04, 1.0]
    >>> equivalence_paired(first, second, 0.05).verdict
    'equivalent'
    >>> equivalence_paired(first, second, 0.005).verdict
    'not shown equivalent'
    """
    x, y = check_pairs(first, second)
    low, high = _bounds(bounds)
    alpha = check_level("alpha", alpha)
    d = x - y
    n, gap = d.size, float(d.mean())
    degenerate = ""
    most = max(float(np.abs(x).max()), float(np.abs(y).max()), abs(float(scale)))
    if flat(d, x, y, np.array([most])):
        gap = 0.0 if abs(gap) <= 1e-12 * most else gap
        p_low, p_high = (2.0**-n if inside else 1.0 for inside in (gap > low, gap < high))
        statistic = math.inf if low < gap < high else -math.inf
        interval = (gap, gap)
        degenerate = (
            f"all {n} differences are {number(gap)}: the spread is zero, and each one-sided p is "
            "the exact sign-flip p about its bound"
        )
    else:
        _, above, below = ttost_paired(x, y, low, high)
        p_low, p_high = float(above[1]), float(below[1])
        statistic = float(min(above[0], -below[0]))
        half = float(stats.t.ppf(1 - alpha, n - 1) * d.std(ddof=1) / math.sqrt(n))
        interval = (gap - half, gap + half)
    return _result(
        name=name,
        label="exact one-sided sign-flip tests" if degenerate else "two one-sided paired t tests",
        gap=gap,
        interval=interval,
        p_low=p_low,
        p_high=p_high,
        statistic=statistic,
        bounds=(low, high),
        alpha=alpha,
        size=(
            infinite_effect("Hedges-corrected dz", gap)
            if degenerate
            else paired_effect(x, y, level=1 - 2 * alpha)
        ),
        n=(n,),
        assumptions=(
            "pairs (networks, animals) are independent of one another",
            "differences are normal, or there are enough pairs for their mean to be",
        ),
        degenerate=degenerate,
    )


def equivalence_two_sample(
    first: np.ndarray,
    second: np.ndarray,
    bounds: float | tuple[float, float],
    *,
    name: str = "difference",
    alpha: float = 0.05,
    variances: str = "unequal",
) -> TestResult:
    """Test whether two independent samples have equal means up to stated bounds (TOST).

    Parameters
    ----------
    first, second : array_like, (n1,) and (n2,)
        The samples; finite, at least two values each.
    bounds : float or (float, float)
        Largest differences, first minus second, that still count as equal.
    name : str
        What is compared, for the sentence.
    alpha : float
        Level of each one-sided test; the interval has level 1 - 2 alpha.
    variances : {"unequal", "pooled"}
        Welch's or Student's t.

    Returns
    -------
    TestResult
        ``p`` is the larger one-sided p; both are in the further numbers. Where neither sample
        varies, each one-sided p is the exact permutation p about its bound, and ``degenerate``
        says so.

    Raises
    ------
    InputError
        If values are missing or not finite, a sample has fewer than two, or the bounds are not
        low < high.

    Examples
    --------
    >>> equivalence_two_sample([1.0, 1.1, 0.9, 1.0], [1.05, 0.95, 1.0, 1.02], 0.3).verdict
    'equivalent'
    """
    x, y = check_samples(first, second)
    low, high = _bounds(bounds)
    alpha = check_level("alpha", alpha)
    choice("variances", variances, ("unequal", "pooled"))
    gap = float(x.mean() - y.mean())
    degenerate = ""
    if flat(x, y) and flat(y, x):
        gap = 0.0 if abs(gap) <= 1e-12 * max(np.abs(x).max(), np.abs(y).max()) else gap
        least = 1 / math.comb(x.size + y.size, x.size)
        p_low, p_high = (least if inside else 1.0 for inside in (gap > low, gap < high))
        statistic = math.inf if low < gap < high else -math.inf
        interval = (gap, gap)
        degenerate = (
            "neither sample varies: each one-sided p is the exact permutation p about its bound"
        )
    else:
        _, above, below = ttost_ind(x, y, low, high, usevar=variances)
        p_low, p_high = float(above[1]), float(below[1])
        statistic = float(min(above[0], -below[0]))
        _, error, df = mean_gap(x, y, pooled=variances == "pooled")
        half = float(stats.t.ppf(1 - alpha, df)) * error
        interval = (gap - half, gap + half)
    kind = "Welch" if variances == "unequal" else "Student"
    return _result(
        name=name,
        label="exact one-sided permutation tests"
        if degenerate
        else f"two one-sided {kind} t tests",
        gap=gap,
        interval=interval,
        p_low=p_low,
        p_high=p_high,
        statistic=statistic,
        bounds=(low, high),
        alpha=alpha,
        size=two_sample_effect(x, y, level=1 - 2 * alpha),
        n=(x.size, y.size),
        assumptions=(
            "observations are independent, within and between the samples",
            "each sample is normal, or large enough for its mean to be",
        ),
        degenerate=degenerate,
    )
