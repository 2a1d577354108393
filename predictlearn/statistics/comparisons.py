"""Comparisons of two means: paired and two-sample, with intervals, effect sizes and edge cases."""

from __future__ import annotations

import math

import numpy as np
from scipy import stats

from predictlearn.checks import as_float_array
from predictlearn.errors import InputError, choice
from predictlearn.statistics.effects import paired_effect, two_sample_effect
from predictlearn.statistics.resampling import bca_interval, permutation_test, sign_flip_test
from predictlearn.statistics.results import TestResult, bare

__all__ = ["paired_comparison", "two_sample_comparison"]

_PAIRS = "pairs (networks, animals) are independent of one another"
_SAMPLES = "observations are independent, within and between the samples"


def check_pairs(first: object, second: object) -> tuple[np.ndarray, np.ndarray]:
    """Return two paired samples as arrays of equal length of at least two."""
    x = as_float_array("first", first, ndim=1)
    y = as_float_array("second", second, ndim=1)
    if x.size != y.size:
        raise InputError(f"paired samples must have equal length; got {x.size} and {y.size}.")
    if x.size < 2:
        raise InputError(f"a paired test needs at least 2 pairs; got {x.size}.")
    return x, y


def check_samples(first: object, second: object) -> tuple[np.ndarray, np.ndarray]:
    """Return two independent samples as arrays of at least two values each."""
    x = as_float_array("first", first, ndim=1)
    y = as_float_array("second", second, ndim=1)
    if min(x.size, y.size) < 2:
        raise InputError(
            f"a two-sample test needs at least 2 values in each; got {x.size} and {y.size}."
        )
    return x, y


def check_level(name: str, level: float) -> float:
    """Return a probability strictly between 0 and 1."""
    if not isinstance(level, int | float | np.floating) or not 0 < level < 1:
        raise InputError(f"{name} must be a number between 0 and 1; got {level!r}.")
    return float(level)


def flat(values: np.ndarray, *scale: np.ndarray) -> bool:
    """Return True where values vary by no more than rounding, beside the data they came from."""
    size = max(float(np.abs(array).max()) for array in (values, *scale))
    return float(np.ptp(values)) <= 1e-12 * size


def mean_gap(x: np.ndarray, y: np.ndarray, *, pooled: bool) -> tuple[float, float, float]:
    """Return the difference of two means, its standard error, and the degrees of freedom."""
    v1, v2 = x.var(ddof=1) / x.size, y.var(ddof=1) / y.size
    df = x.size + y.size - 2
    if pooled:
        variance = ((x.size - 1) * x.var(ddof=1) + (y.size - 1) * y.var(ddof=1)) / df
        error = math.sqrt(variance * (1 / x.size + 1 / y.size))
    else:
        error = math.sqrt(v1 + v2)
        # Welch & Satterthwaite, from shares of the variance so that tiny units do not underflow
        share = v1 / (v1 + v2)
        df = 1 / (share**2 / (x.size - 1) + (1 - share) ** 2 / (y.size - 1))
    return float(x.mean() - y.mean()), error, float(df)


def number(value: float) -> str:
    """Format a number for a sentence."""
    if value == 0:
        return "0"
    # a thousand trials are not 1e+03 of them
    return f"{value:.0f}" if 999.5 <= abs(value) < 1e6 else f"{value:.3g}"


def p_text(p: float) -> str:
    """Format a p value for a sentence."""
    return "p < 0.0001" if p < 1e-4 else f"p = {p:.2g}"


def span(low: float, high: float) -> str:
    """Format an interval for a sentence."""
    return f"[{number(low)}, {number(high)}]"


def paired_comparison(
    first: np.ndarray,
    second: np.ndarray,
    *,
    name: str = "difference",
    method: str = "t",
    interval: str = "t",
    effect: str = "dz",
    level: float = 0.95,
    n_resamples: int = 9999,
    seed: int = 0,
) -> TestResult:
    """Compare two paired samples: first minus second.

    One test, named beforehand by `method`, gives the p value. The other two are in the result's
    further numbers (``p_t``, ``p_wilcoxon``, ``p_permutation``) as checks of sensitivity, not as
    alternatives to choose from; so are both intervals (``t_low`` ... ``bca_high``).

    Parameters
    ----------
    first, second : array_like, (pairs,)
        The paired values; finite, at least two pairs.
    name : str
        What is compared, for the sentence.
    method : {"t", "wilcoxon", "permutation"}
        Paired t test; Wilcoxon's signed ranks; sign flips of the mean difference.
    interval : {"t", "bca"}
        Interval of the mean difference: Student's t or the BCa bootstrap.
    effect : {"dz", "dav"}
        Effect size, see :func:`predictlearn.statistics.effects.paired_effect`.
    level : float
        Confidence level; "different" is concluded where p < 1 - level.
    n_resamples : int
        Sign patterns and bootstrap samples.
    seed : int
        Seed of both.

    Returns
    -------
    TestResult
        Where all differences are identical (deterministic networks) the t statistic and the effect
        size are infinite, or zero; p is then the exact sign-flip p, 2^(1 - n), and the result
        says so in ``degenerate``.

    Raises
    ------
    InputError
        If values are missing or not finite, lengths differ, or there are fewer than two pairs.

    Examples
    --------
    >>> after, before = [3.0, 4.0, 6.0, 7.0, 9.0], [1.0, 3.0, 3.0, 5.0, 6.0]
    >>> result = paired_comparison(after, before, name="loss")
    >>> print(result.statement)
    loss: mean difference 2.2, 95% interval [1.16, 3.24], paired t test p = 0.0042, n = 5 pairs.
    """
    x, y = check_pairs(first, second)
    choice("method", method, ("t", "wilcoxon", "permutation"))
    choice("interval", interval, ("t", "bca"))
    choice("effect", effect, ("dz", "dav"))
    level = check_level("level", level)
    d = x - y
    n, mean = d.size, float(d.mean())
    p_flip, exact = math.nan, True
    if method == "permutation" or not bare():
        _, p_flip, exact = sign_flip_test(d, n_resamples=n_resamples, seed=seed)
    size = paired_effect(x, y, kind=effect, level=level)
    degenerate = ""
    if flat(d, x, y):
        mean = 0.0 if abs(mean) <= 1e-12 * max(np.abs(x).max(), np.abs(y).max()) else mean
        p_flip = 1.0 if mean == 0 else 2.0 ** (1 - n)
        p = p_t = p_wilcoxon = p_flip
        statistic = 0.0 if mean == 0 else math.copysign(math.inf, mean)
        both = {"t": (mean, mean), "bca": (mean, mean)}
        degenerate = (
            f"all {n} differences are {number(mean)}: the spread is zero, so the effect size is "
            f"{'0' if mean == 0 else 'infinite'} and p is the exact sign-flip p"
        )
    else:
        half = float(stats.t.ppf((1 + level) / 2, n - 1) * d.std(ddof=1) / math.sqrt(n))
        bca = (math.nan, math.nan)
        if not bare():
            bca = bca_interval(d, level=level, n_resamples=n_resamples, seed=seed)
        both = {"t": (mean - half, mean + half), "bca": bca}
        t = mean / (float(d.std(ddof=1)) / math.sqrt(n))
        p_t, ranks, p_wilcoxon = float(2 * stats.t.sf(abs(t), n - 1)), math.nan, math.nan
        if method == "wilcoxon" or not bare():
            signed = stats.wilcoxon(d, zero_method="pratt", method="auto")
            ranks, p_wilcoxon = float(signed.statistic), float(signed.pvalue)
        p = {"t": p_t, "wilcoxon": p_wilcoxon, "permutation": p_flip}[method]
        statistic = {"t": t, "wilcoxon": ranks, "permutation": mean}[method]
    label = {
        "t": "paired t test",
        "wilcoxon": "Wilcoxon signed-rank test",
        "permutation": f"{'exact' if exact else 'Monte Carlo'} sign-flip test",
    }[method]
    if degenerate:
        label = "exact sign-flip test"
    assumptions: tuple[str, ...] = {
        "t": (_PAIRS, "differences are normal, or there are enough pairs for their mean to be"),
        "wilcoxon": (_PAIRS, "differences are symmetric about their median"),
        "permutation": (_PAIRS, "under the null, differences are symmetric about zero"),
    }[method]
    if interval == "bca" and n < 15:
        assumptions += (f"the BCa interval covers less than stated with {n} pairs",)
    low, high = both[interval]
    note = f" Note: {degenerate}." if degenerate else ""
    return TestResult(
        name=name,
        statement=(
            f"{name}: mean difference {number(mean)}, {100 * level:.3g}% interval "
            f"{span(low, high)}, {label} {p_text(p)}, n = {n} pairs.{note}"
        ),
        verdict="different" if p < 1 - level else "not shown to differ",
        method=label,
        statistic=statistic,
        p=p,
        estimate=mean,
        interval=(low, high),
        level=level,
        effect_name=size.name,
        effect=size.value,
        effect_interval=(size.low, size.high),
        n=(n,),
        assumptions=assumptions,
        degenerate=degenerate,
        extra=(
            ("sd", 0.0 if degenerate else float(d.std(ddof=1))),
            ("p_t", p_t),
            ("p_wilcoxon", p_wilcoxon),
            ("p_permutation", p_flip),
            ("t_low", both["t"][0]),
            ("t_high", both["t"][1]),
            ("bca_low", both["bca"][0]),
            ("bca_high", both["bca"][1]),
        ),
        seed=seed,
    )


def two_sample_comparison(
    first: np.ndarray,
    second: np.ndarray,
    *,
    name: str = "difference",
    method: str = "welch",
    level: float = 0.95,
    n_resamples: int = 9999,
    seed: int = 0,
) -> TestResult:
    """Compare two independent samples: first minus second.

    Parameters
    ----------
    first, second : array_like, (n1,) and (n2,)
        The samples; finite, at least two values each.
    name : str
        What is compared, for the sentence.
    method : {"welch", "permutation"}
        Welch's t test, or relabelling with Welch's t as the statistic. The p value of the other is
        among the further numbers as a check of sensitivity.
    level : float
        Confidence level; "different" is concluded where p < 1 - level.
    n_resamples : int
        Relabellings.
    seed : int
        Their seed.

    Returns
    -------
    TestResult
        With Welch's interval and Hedges' g. Where neither sample varies the statistic and g are
        infinite, or zero; p is then the exact permutation p, and ``degenerate`` says so.

    Raises
    ------
    InputError
        If values are missing or not finite, or a sample has fewer than two.

    Examples
    --------
    >>> result = two_sample_comparison([5.0, 6.0, 8.0, 7.0], [1.0, 3.0, 2.0, 4.0], name="loss")
    >>> print(result.statement)
    loss: difference of means 4, 95% interval [1.77, 6.23], Welch's t test p = 0.0047, n = 4 + 4.
    """
    x, y = check_samples(first, second)
    choice("method", method, ("welch", "permutation"))
    level = check_level("level", level)
    n1, n2 = x.size, y.size
    gap = float(x.mean() - y.mean())
    size = two_sample_effect(x, y, level=level)
    degenerate = ""
    if flat(x, y) and flat(y, x):
        same = abs(gap) <= 1e-12 * max(np.abs(x).max(), np.abs(y).max())
        gap = 0.0 if same else gap
        # the observed split is as extreme as its mirror image, where that has the same sizes
        ways = math.comb(n1 + n2, n1)
        p = 1.0 if same else (2 if n1 == n2 else 1) / ways
        p_welch = p_permutation = p
        statistic = 0.0 if same else math.copysign(math.inf, gap)
        low = high = gap
        exact = True
        degenerate = (
            f"neither sample varies: the effect size is {'0' if same else 'infinite'} and p is the "
            "exact permutation p"
        )
    else:
        _, error, df = mean_gap(x, y, pooled=False)
        half = float(stats.t.ppf((1 + level) / 2, df)) * error
        low, high = gap - half, gap + half
        p_permutation, exact = math.nan, True
        if method == "permutation" or not bare():
            _, p_permutation, exact = permutation_test(x, y, n_resamples=n_resamples, seed=seed)
        statistic = gap / error
        p_welch = float(2 * stats.t.sf(abs(statistic), df))
        p = p_welch if method == "welch" else p_permutation
    label = "Welch's t test"
    assumptions: tuple[str, ...] = (
        _SAMPLES,
        "each sample is normal, or large enough for its mean to be",
    )
    if method == "permutation" or degenerate:
        label = f"{'exact' if exact else 'Monte Carlo'} permutation test of Welch's t"
        assumptions = (
            _SAMPLES,
            "under the null, both samples come from one distribution (for large samples: have "
            "equal means)",
        )
    note = f" Note: {degenerate}." if degenerate else ""
    return TestResult(
        name=name,
        statement=(
            f"{name}: difference of means {number(gap)}, {100 * level:.3g}% interval "
            f"{span(low, high)}, {label} {p_text(p)}, n = {n1} + {n2}.{note}"
        ),
        verdict="different" if p < 1 - level else "not shown to differ",
        method=label,
        statistic=statistic,
        p=p,
        estimate=gap,
        interval=(low, high),
        level=level,
        effect_name=size.name,
        effect=size.value,
        effect_interval=(size.low, size.high),
        n=(n1, n2),
        assumptions=(*assumptions, "the interval of Hedges' g assumes equal variances"),
        degenerate=degenerate,
        extra=(("p_welch", p_welch), ("p_permutation", p_permutation)),
        seed=seed,
    )
