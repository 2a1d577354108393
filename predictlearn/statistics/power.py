"""Number of animals: power of the paired, two-sample and equivalence tests."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import stats

from predictlearn.checks import positive
from predictlearn.errors import InputError, choice
from predictlearn.statistics.comparisons import check_level, number
from predictlearn.statistics.effects import noncentral_cdf

__all__ = ["AnimalsNeeded", "animals_needed", "animals_needed_equivalence", "equivalence_power"]

_MOST = 100_000


@dataclass(frozen=True)
class AnimalsNeeded:
    """How many animals a test needs.

    Parameters
    ----------
    n : int
        Number of pairs (paired design) or animals in each group (two-sample design).
    total : int
        Number of animals altogether.
    power : float
        Power that `n` reaches.
    effect : float
        Standardised difference assumed, in standard deviations of the outcome (two-sample) or of
        the paired differences (paired).
    alpha : float
        Level of the test.
    design : str
        ``"paired"`` or ``"two-sample"``.
    statement : str
        The result in words.

    Examples
    --------
    >>> animals_needed(0.8).n
    15
    """

    n: int
    total: int
    power: float
    effect: float
    alpha: float
    design: str
    statement: str


def _smallest(power: Callable[[int], float], target: float) -> tuple[int, float] | None:
    """Return the smallest n from 2 on that reaches the power (power grows with n), or None."""
    high = 2
    while power(high) < target:
        if high >= _MOST:
            return None
        high = min(2 * high, _MOST)
    low = max(2, high // 2)
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if power(middle) >= target else (middle + 1, high)
    return high, power(high)


def animals_needed(
    effect: float,
    *,
    power: float = 0.8,
    alpha: float = 0.05,
    design: str = "paired",
    alternative: str = "two-sided",
) -> AnimalsNeeded:
    """Return the number of animals that a t test needs to see an effect.

    Power is that of the noncentral t distribution, as in statsmodels' TTestPower and TTestIndPower,
    but by a quadrature that holds for effects of any size; the smallest whole number that reaches
    the power is found by bisection.

    Parameters
    ----------
    effect : float
        Standardised difference: mean / sd of the paired differences (paired), or difference of
        means / sd within groups (two-sample). May be infinite: then two are enough.
    power : float
        Chance of a significant result if the effect is as stated.
    alpha : float
        Level of the test.
    design : {"paired", "two-sample"}
        Design.
    alternative : {"two-sided", "one-sided"}
        One-sided: in the direction of the effect.

    Returns
    -------
    AnimalsNeeded
        With a sentence.

    Raises
    ------
    InputError
        If the effect is zero or not a number, or more than 100,000 animals would be needed.

    Examples
    --------
    >>> animals_needed(1.0, design="two-sample").n
    17
    """
    choice("design", design, ("paired", "two-sample"))
    choice("alternative", alternative, ("two-sided", "one-sided"))
    power, alpha = check_level("power", power), check_level("alpha", alpha)
    if math.isnan(effect) or effect == 0:
        raise InputError(f"effect must be a number other than zero; got {effect!r}.")
    # an infinite effect needs the fewest animals that a test can be made of, as one of 1e6 does
    size = min(abs(float(effect)), 1e6)
    paired, tail = design == "paired", alpha / 2 if alternative == "two-sided" else alpha

    def reached(n: int) -> float:
        """Return the power with n animals (in each group)."""
        df = n - 1 if paired else 2 * n - 2
        shift = size * math.sqrt(n if paired else n / 2)
        critical = float(stats.t.isf(tail, df))
        value = 1 - noncentral_cdf(critical, df, shift)
        if alternative == "two-sided":
            value += noncentral_cdf(-critical, df, shift)
        return value

    found = _smallest(reached, power)
    if found is None:
        raise InputError(f"effect {effect!r} would need more than {_MOST} animals.")
    n, got = found
    total = n if design == "paired" else 2 * n
    what = f"{n} pairs" if design == "paired" else f"{n} animals in each of two groups"
    return AnimalsNeeded(
        n,
        total,
        got,
        float(effect),
        alpha,
        design,
        f"{what} give a power of {got:.2f} to see an effect of {number(effect)} standard "
        f"deviations at level {alpha:g} ({alternative}).",
    )


def equivalence_power(
    n: int,
    margin: float,
    sd: float,
    *,
    difference: float = 0.0,
    alpha: float = 0.05,
    design: str = "paired",
) -> float:
    """Return the power of the equivalence test, exactly for normal data.

    Equivalence is concluded where the estimate lies within margin - t s of zero; with the
    estimate normal and s^2 an independent chi-square, the probability is
    E_s[Phi((margin - t s - difference) / se) - Phi((t s - margin - difference) / se)]+.

    Parameters
    ----------
    n : int
        Pairs (paired) or animals in each group (two-sample).
    margin : float
        Bounds are minus and plus this.
    sd : float
        Standard deviation of the paired differences, or within groups.
    difference : float
        True difference.
    alpha : float
        Level of each one-sided test.
    design : {"paired", "two-sample"}
        Design; the two-sample test is Student's, with equal variances.

    Returns
    -------
    float
        Power.

    Examples
    --------
    >>> round(equivalence_power(20, margin=1.0, sd=1.0), 3)
    0.992
    """
    choice("design", design, ("paired", "two-sample"))
    margin, sd = positive("margin", margin), positive("sd", sd)
    paired = design == "paired"
    df = n - 1 if paired else 2 * n - 2
    error = sd * math.sqrt((1 if paired else 2) / n)
    # midpoints of equal shares of the chi-square distribution of the variance
    shares = (np.arange(4000) + 0.5) / 4000
    scale = error * np.sqrt(stats.chi2.ppf(shares, df) / df)
    room = margin - stats.t.ppf(1 - alpha, df) * scale
    inside = stats.norm.cdf((room - difference) / error) - stats.norm.cdf(
        (-room - difference) / error
    )
    return float(np.mean(np.where(room > 0, inside, 0.0)))


def animals_needed_equivalence(
    margin: float,
    sd: float,
    *,
    difference: float = 0.0,
    power: float = 0.8,
    alpha: float = 0.05,
    design: str = "paired",
) -> AnimalsNeeded:
    """Return the number of animals that an equivalence test needs.

    Parameters
    ----------
    margin : float
        Bounds are minus and plus this.
    sd : float
        Standard deviation of the paired differences, or within groups.
    difference : float
        True difference, inside the bounds.
    power, alpha : float
        Chance to conclude equivalence, and level of each one-sided test.
    design : {"paired", "two-sample"}
        Design.

    Returns
    -------
    AnimalsNeeded
        Its ``effect`` is the margin in standard deviations.

    Raises
    ------
    InputError
        If the true difference is not inside the bounds, or more than 100,000 would be needed.

    Examples
    --------
    >>> animals_needed_equivalence(margin=0.5, sd=1.0).n
    36
    """
    margin, sd = positive("margin", margin), positive("sd", sd)
    power, alpha = check_level("power", power), check_level("alpha", alpha)
    if not abs(difference) < margin:
        raise InputError(f"difference must be inside -+ margin = {margin:g}; got {difference!r}.")
    found = _smallest(
        lambda n: equivalence_power(
            n, margin, sd, difference=difference, alpha=alpha, design=design
        ),
        power,
    )
    if found is None:
        raise InputError(f"margin {margin:g} with sd {sd:g} would need more than {_MOST} animals.")
    n, got = found
    what = f"{n} pairs" if design == "paired" else f"{n} animals in each of two groups"
    return AnimalsNeeded(
        n,
        n if design == "paired" else 2 * n,
        got,
        margin / sd,
        alpha,
        design,
        f"{what} give a power of {got:.2f} to conclude equivalence within -+{number(margin)} "
        f"if the true difference is {number(difference)} and the sd {number(sd)}.",
    )
