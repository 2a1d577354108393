"""Effect sizes for two means, with exact intervals from the noncentral t distribution."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import optimize, special, stats

from predictlearn.statistics.results import bare

__all__ = [
    "EffectSize",
    "hedges_correction",
    "noncentrality_interval",
    "paired_effect",
    "two_sample_effect",
]


@dataclass(frozen=True)
class EffectSize:
    """A standardised difference and its confidence interval.

    Parameters
    ----------
    name : str
        Which effect size it is.
    value : float
        The estimate, corrected for small samples; infinite where the data do not vary.
    low, high : float
        Ends of the interval of the population value.
    """

    name: str
    value: float
    low: float
    high: float


def hedges_correction(df: float) -> float:
    """Return the factor that makes a standardised difference unbiased for normal data.

    J = gamma(df / 2) / (sqrt(df / 2) gamma((df - 1) / 2)), Hedges (1981). With a single degree of
    freedom the expectation does not exist, no factor can help, and 1 is returned.

    Parameters
    ----------
    df : float
        Degrees of freedom of the standard deviation.

    Returns
    -------
    float
        J, between 0 and 1.

    Examples
    --------
    >>> round(hedges_correction(10), 4)
    0.9227
    """
    if df <= 1:
        return 1.0
    return math.exp(special.gammaln(df / 2) - special.gammaln((df - 1) / 2)) / math.sqrt(df / 2)


@lru_cache(maxsize=64)
def _quadrature(df: float) -> tuple[np.ndarray, np.ndarray]:
    """Return nodes and weights for averages over s = sqrt(W / df), W chi-square."""
    nodes, weights = np.polynomial.legendre.leggauss(300)
    low, high = np.sqrt(stats.chi2.ppf([1e-14, 1 - 1e-14], df) / df)
    s = low + (high - low) * (nodes + 1) / 2
    density = weights * s * stats.chi2.pdf(df * s**2, df)
    return s, density / density.sum()


def noncentral_cdf(t: float, df: float, shift: float) -> float:
    """Return P(T < t) for the noncentral t distribution, T = (Z + shift) / s, s = sqrt(W / df).

    By quadrature, since the usual series fails far out in the tails, where intervals look for it.
    """
    if t < 0:
        return 1 - noncentral_cdf(-t, df, -shift)
    if t <= 25:
        # average P(Z < t s - shift) over s
        s, weights = _quadrature(df)
        value = weights @ special.ndtr(t * s - shift)
    else:
        # average P(s > (Z + shift) / t) over Z: the smooth one of the two for large t
        z = np.linspace(-9.0, 9.0, 1801)
        density = np.exp(-0.5 * z**2)
        ratio = np.maximum(z + shift, 0.0) / t
        value = np.sum(density * stats.chi2.sf(df * ratio**2, df)) / np.sum(density)
    return float(value)


def noncentrality_interval(t: float, df: float, level: float = 0.95) -> tuple[float, float]:
    """Return the confidence interval of the noncentrality parameter behind an observed t.

    Inverts the noncentral t distribution (Steiger & Fouladi 1997).

    Parameters
    ----------
    t : float
        Observed t statistic.
    df : float
        Degrees of freedom.
    level : float
        Confidence level.

    Returns
    -------
    tuple of float
        Low and high end.

    Examples
    --------
    >>> low, high = noncentrality_interval(2.0, 19)
    >>> round(low, 3), round(high, 3)
    (-0.083, 4.035)
    """
    if bare():
        return (math.nan, math.nan)
    if not math.isfinite(t):
        return (t, t)
    tail = (1 - level) / 2
    reach = 8.0 * math.sqrt(1 + t**2 / (2 * df)) + 5.0
    ends = []
    for target in (1 - tail, tail):
        low, high = t - reach, t + reach
        while noncentral_cdf(t, df, low) < target and low > -1e9:
            low -= abs(reach)
        while noncentral_cdf(t, df, high) > target and high < 1e9:
            high += abs(reach)
        ends.append(
            optimize.brentq(
                lambda shift, target=target: noncentral_cdf(t, df, shift) - target,
                low,
                high,
                xtol=1e-8 * max(1.0, abs(t)),
            )
        )
    return float(ends[0]), float(ends[1])


def infinite_effect(name: str, difference: float) -> EffectSize:
    """Return the effect size of data that do not vary: zero or infinite."""
    value = 0.0 if difference == 0 else math.copysign(math.inf, difference)
    return EffectSize(name, value, value, value)


def paired_effect(
    first: np.ndarray, second: np.ndarray, *, kind: str = "dz", level: float = 0.95
) -> EffectSize:
    """Return the standardised mean difference of paired data.

    ``dz`` = mean(d) / sd(d) decides power; ``dav`` = mean(d) / sqrt((s1^2 + s2^2) / 2) compares
    with unpaired studies. Both times Hedges' J(n - 1). The interval of dz is the exact noncentral t
    interval; that of dav rescales it (Algina & Keselman 2003).

    Parameters
    ----------
    first, second : numpy.ndarray, (pairs,)
        The paired values.
    kind : {"dz", "dav"}
        Which effect size.
    level : float
        Confidence level.

    Returns
    -------
    EffectSize
        The estimate and its interval.

    Examples
    --------
    >>> effect = paired_effect(np.array([1.0, 2.0, 4.0]), np.array([0.0, 1.5, 2.0]))
    >>> effect.name, effect.low < effect.value < effect.high
    ('Hedges-corrected dz', True)
    """
    d = first - second
    n, mean, spread = d.size, float(d.mean()), float(d.std(ddof=1))
    name = f"Hedges-corrected {kind}"
    unit = spread
    if kind == "dav":
        unit = math.sqrt((first.var(ddof=1) + second.var(ddof=1)) / 2)
    size = max(float(np.abs(first).max()), float(np.abs(second).max()))
    if spread <= 1e-12 * size or unit <= 1e-12 * size:
        return infinite_effect(name, mean if abs(mean) > 1e-12 * size else 0.0)
    low, high = noncentrality_interval(mean / (spread / math.sqrt(n)), n - 1, level)
    factor = spread / (math.sqrt(n) * unit)
    return EffectSize(name, hedges_correction(n - 1) * mean / unit, low * factor, high * factor)


def two_sample_effect(first: np.ndarray, second: np.ndarray, *, level: float = 0.95) -> EffectSize:
    """Return Hedges' g of two independent samples, with its exact interval.

    g = J(n1 + n2 - 2) (mean1 - mean2) / pooled sd. The interval is exact for normal data of equal
    variance.

    Parameters
    ----------
    first, second : numpy.ndarray, (n1,) and (n2,)
        The samples.
    level : float
        Confidence level.

    Returns
    -------
    EffectSize
        The estimate and its interval.

    Examples
    --------
    >>> effect = two_sample_effect(np.array([1.0, 2.0, 3.0]), np.array([2.0, 3.0, 4.0]))
    >>> round(effect.value, 3)
    -0.798
    """
    n1, n2 = first.size, second.size
    df = n1 + n2 - 2
    gap = float(first.mean() - second.mean())
    pooled = math.sqrt(((n1 - 1) * first.var(ddof=1) + (n2 - 1) * second.var(ddof=1)) / df)
    size = max(float(np.abs(first).max()), float(np.abs(second).max()))
    if pooled <= 1e-12 * size:
        return infinite_effect("Hedges' g", gap if abs(gap) > 1e-12 * size else 0.0)
    root = math.sqrt(1 / n1 + 1 / n2)
    low, high = noncentrality_interval(gap / (pooled * root), df, level)
    return EffectSize("Hedges' g", hedges_correction(df) * gap / pooled, low * root, high * root)
