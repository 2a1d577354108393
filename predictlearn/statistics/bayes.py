"""Bayes factors with stated priors: two groups, pairs, and shares of animals.

Means: the JZS test of Rouder, Speckman, Sun, Morey & Iverson (2009, Psychon Bull Rev 16:225-237),
a Cauchy prior of the standardised difference whose scale is part of every result. Shares: uniform
priors of both against one of their common value (Gunel & Dickey 1974).
"""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from scipy import special

from predictlearn.arrays import Array
from predictlearn.checks import as_float_array, positive
from predictlearn.errors import InputError
from predictlearn.statistics.comparisons import flat, number, paired_comparison
from predictlearn.statistics.comparisons import two_sample_comparison as compared
from predictlearn.statistics.groups import normality
from predictlearn.statistics.results import AssumptionCheck, TestResult, bare, tests_table
from predictlearn.statistics.tables import Limits, animals_in_arms, animals_in_both

__all__ = ["bayes_groups", "bayes_pairs", "bayes_shares", "jzs_bayes_factor"]

DEFAULT_SCALE = math.sqrt(0.5)


def jzs_bayes_factor(
    t: Array | float,
    n1: Array | int,
    n2: Array | int | None = None,
    *,
    scale: float = DEFAULT_SCALE,
) -> Array:
    """Return the Bayes factor of a difference against none, from a t statistic.

    BF10 = integral of p(t | delta) Cauchy(delta; 0, scale) over delta, over p(t | 0); the Cauchy
    is a normal whose variance g is inverse gamma, and g is integrated by Gauss-Legendre.

    Parameters
    ----------
    t : float or array_like
        Student's t of pairs, or of two samples with pooled variance.
    n1 : int or array_like
        Pairs, or size of the first sample.
    n2 : int or array_like, optional
        Size of the second sample; None for pairs.
    scale : float
        Scale of the Cauchy prior of delta, the difference in standard deviations. Default
        sqrt(1/2), "medium".

    Returns
    -------
    numpy.ndarray
        BF10, of the shape that the arguments broadcast to.

    Raises
    ------
    InputError
        If a number is not finite, or the scale not positive.

    Examples
    --------
    >>> round(float(jzs_bayes_factor(3.5, 20, 20)), 3)
    26.744
    """
    scale = positive("scale", scale)
    t, first = as_float_array("t", t), as_float_array("n1", n1)
    if n2 is None:
        n, df = first, first - 1
    else:
        second = as_float_array("n2", n2)
        n, df = first * second / (first + second), first + second - 2
    t, n, df = np.broadcast_arrays(t, n, df)
    nodes, weights = np.polynomial.legendre.leggauss(240)
    # ln g from far below to far above: the integrand is smooth and falls off at both ends
    x = 18 * nodes
    log_g = x + 2 * math.log(scale)
    ng = n[..., None] * np.exp(log_g)
    t2, v = t[..., None] ** 2, df[..., None]
    likelihood = -0.5 * np.log1p(ng) - (v + 1) / 2 * np.log1p(t2 / ((1 + ng) * v))
    # g / scale^2 is inverse gamma (1/2, 1/2)
    prior = -0.5 * math.log(2 * math.pi) - 1.5 * x - 0.5 * np.exp(-x) + x
    null = -(df + 1) / 2 * np.log1p(t**2 / df)
    whole = special.logsumexp(likelihood + prior, b=18 * weights, axis=-1)
    return np.asarray(np.exp(np.minimum(whole - null, 700.0)))


def _threshold(threshold: object) -> float:
    """Return a Bayes factor above one at which evidence is called enough."""
    value = positive("threshold", threshold)
    if value <= 1:
        raise InputError(f"threshold must be above 1; got {value:g}.")
    return value


def verdict_of(bf10: float, threshold: float) -> str:
    """Return what a Bayes factor says at a threshold."""
    if bf10 >= threshold:
        return "different"
    return "same" if bf10 <= 1 / threshold else "undecided"


def _said(bf10: float) -> str:
    """Return a Bayes factor in words."""
    if bf10 >= 1:
        return f"BF10 = {number(bf10)} for a difference"
    return f"BF01 = {number(1 / bf10)} for none"


def _weighed(
    base: TestResult,
    bf10: float,
    *,
    method: str,
    prior: str,
    threshold: float,
    n_animals: int,
    unit: str,
    checked: tuple[AssumptionCheck, ...],
) -> TestResult:
    """Return the result of a Bayes factor, with estimate and effect of the usual comparison."""
    words = f"{100 * base.level:.3g}% interval"
    verdict = verdict_of(bf10, threshold)
    return TestResult(
        name=base.name,
        statement=(
            f"{base.name}: {_said(bf10)} ({prior}), {verdict} at {threshold:g}; difference "
            f"{number(base.estimate)}, {words} [{number(base.interval[0])}, "
            f"{number(base.interval[1])}], n = {' + '.join(map(str, base.n))}."
        ),
        verdict=verdict,
        method=method,
        statistic=bf10,
        p=math.nan,
        estimate=base.estimate,
        interval=base.interval,
        level=base.level,
        effect_name=base.effect_name,
        effect=base.effect,
        effect_interval=base.effect_interval,
        n=base.n,
        assumptions=(
            "animals are independent",
            "normal data of one spread within arms" if len(base.n) == 2 else "normal differences",
            f"prior: {prior}, stated beforehand",
        ),
        degenerate=base.degenerate,
        extra=(("bf10", bf10), ("bf01", 1 / bf10), ("threshold", threshold), ("prior", prior)),
        unit=unit,
        n_animals=n_animals,
        checked=checked,
    )


def _factor(t: float, n1: int, n2: int | None, scale: float) -> float:
    """Return the Bayes factor of a t that may be infinite: data without spread."""
    return float(jzs_bayes_factor(math.copysign(min(abs(t), 1e100), t), n1, n2, scale=scale))


def bayes_groups(
    data: pd.DataFrame,
    *,
    outcome: str,
    arm: str = "arm",
    subject: str = "subject",
    reference: str | None = None,
    scale: float = DEFAULT_SCALE,
    threshold: float = 6.0,
    limits: Limits = (None, None),
    unit: str = "",
    level: float = 0.95,
) -> pd.DataFrame:
    """Ask how much more likely the data are under a difference of arms than under none.

    Parameters
    ----------
    data, outcome, arm, subject, reference, limits, unit
        As in :func:`compare_groups`.
    scale : float
        Scale of the Cauchy prior of the difference in standard deviations.
    threshold : float
        BF10 from which the verdict is ``"different"``; below 1 / threshold it is ``"same"``,
        between them ``"undecided"``.
    level : float
        Level of the interval of the difference (Welch's, which no prior moves).

    Returns
    -------
    pandas.DataFrame
        A row a comparison, as in :func:`compare_groups`, with ``bf10``, ``bf01``, ``threshold`` and
        ``prior``; ``p`` is NaN.

    Raises
    ------
    InputError
        With the row, as in :func:`compare_groups`; if scale or threshold make no sense.

    Examples
    --------
    >>> table = pd.DataFrame({"mouse": range(8), "arm": list("aaaabbbb"),
    ...                       "errors": [3, 4, 2, 3, 8, 9, 7, 9]})
    >>> bayes_groups(table, outcome="errors", subject="mouse").loc[0, "verdict"]
    'different'
    """
    animals = animals_in_arms(
        data, outcome=outcome, arm=arm, subject=subject, reference=reference, limits=limits
    )
    scale, threshold = positive("scale", scale), _threshold(threshold)
    base, results = animals.of(0), []
    for k in range(1, len(animals.arms)):
        x = animals.of(k)
        name = f"{animals.arms[k]} - {animals.arms[0]}"
        usual = compared(x, base, name=name, level=level)
        df = x.size + base.size - 2
        pooled = ((x.size - 1) * x.var(ddof=1) + (base.size - 1) * base.var(ddof=1)) / df
        gap = float(x.mean() - base.mean())
        if flat(x, base) and flat(base, x):
            t = usual.statistic
        else:
            t = gap / math.sqrt(pooled * (1 / x.size + 1 / base.size))
        apart = np.concatenate([x - x.mean(), base - base.mean()])
        checked = () if bare() else normality(apart, "normal within arms", "transform the outcome")
        results.append(
            _weighed(
                usual,
                _factor(t, x.size, base.size, scale),
                method="JZS Bayes factor of two groups",
                prior=f"Cauchy, scale {scale:.3g} sd",
                threshold=threshold,
                n_animals=x.size + base.size,
                unit=unit,
                checked=checked,
            )
        )
    return tests_table(results)


def bayes_pairs(
    data: pd.DataFrame,
    *,
    outcome: str,
    arm: str = "arm",
    subject: str = "subject",
    reference: str | None = None,
    scale: float = DEFAULT_SCALE,
    threshold: float = 6.0,
    limits: Limits = (None, None),
    unit: str = "",
    level: float = 0.95,
) -> pd.DataFrame:
    """Ask how much more likely paired data are under a difference than under none.

    Parameters
    ----------
    data, outcome, arm, subject, reference, limits, unit
        As in :func:`compare_pairs`.
    scale, threshold, level
        As in :func:`bayes_groups`; the scale is in standard deviations of the differences.

    Returns
    -------
    pandas.DataFrame
        One row, as in :func:`bayes_groups`.

    Raises
    ------
    InputError
        With the row, as in :func:`compare_pairs`.

    Examples
    --------
    >>> table = pd.DataFrame({"mouse": list("abcde") * 2, "light": ["off"] * 5 + ["on"] * 5,
    ...                       "correct": [70, 64, 75, 68, 72, 78, 70, 80, 71, 81]})
    >>> found = bayes_pairs(table, outcome="correct", arm="light", subject="mouse")
    >>> found.loc[0, "prior"]
    'Cauchy, scale 0.707 sd of differences'
    """
    pairs = animals_in_both(
        data, outcome=outcome, arm=arm, subject=subject, reference=reference, limits=limits
    )
    scale, threshold = positive("scale", scale), _threshold(threshold)
    base, x = pairs.values.T
    usual = paired_comparison(x, base, name=f"{pairs.arms[1]} - {pairs.arms[0]}", level=level)
    checked = () if bare() else normality(x - base, "normal differences", "transform the outcome")
    result = _weighed(
        usual,
        _factor(usual.statistic, x.size, None, scale),
        method="JZS Bayes factor of pairs",
        prior=f"Cauchy, scale {scale:.3g} sd of differences",
        threshold=threshold,
        n_animals=x.size,
        unit=unit,
        checked=checked,
    )
    return tests_table([result])


def bayes_shares(
    data: pd.DataFrame,
    *,
    outcome: str,
    arm: str = "arm",
    subject: str = "subject",
    reference: str | None = None,
    threshold: float = 6.0,
    level: float = 0.95,
    n_draws: int = 20_000,
    seed: int = 0,
) -> pd.DataFrame:
    """Ask whether arms differ in the share of animals that did something.

    BF10 = B(a + 1, b + 1) B(c + 1, d + 1) / (B(a + c + 1, b + d + 1) B(1, 1)) for a of a + b and c
    of c + d animals: both shares uniform and independent, against one uniform share.

    Parameters
    ----------
    data : pandas.DataFrame
        One row an animal. Trials within an animal are not independent and do not belong here.
    outcome : str
        Column of 0 and 1, or False and True.
    arm, subject, reference, threshold
        As in :func:`bayes_groups`.
    level : float
        Level of the credible interval of the difference of shares.
    n_draws, seed : int
        Draws of that interval and their seed.

    Returns
    -------
    pandas.DataFrame
        A row a comparison; ``estimate`` is the difference in percentage points, ``effect`` the odds
        ratio, both with credible intervals.

    Raises
    ------
    InputError
        With the row: as in :func:`compare_groups`, an animal with two rows, a value other than 0
        and 1.

    Examples
    --------
    >>> table = pd.DataFrame({"mouse": range(20), "arm": ["a"] * 10 + ["b"] * 10,
    ...                       "learned": [1] * 9 + [0] + [1] * 2 + [0] * 8})
    >>> found = bayes_shares(table, outcome="learned", subject="mouse")
    >>> round(float(found.loc[0, "bf10"]), 1)
    64.8
    """
    animals = animals_in_arms(
        data, outcome=outcome, arm=arm, subject=subject, reference=reference, limits=(0, 1)
    )
    threshold = _threshold(threshold)
    if len(data) != animals.values.size or not np.isin(animals.values, (0, 1)).all():
        repeated = data[subject].duplicated().to_numpy()
        odd = repeated if repeated.any() else ~np.isin(data[outcome].to_numpy(dtype=float), (0, 1))
        row = data.index[int(np.flatnonzero(odd)[0])]
        raise InputError(
            f"outcome {outcome!r} must be 0 or 1 in one row for each animal; see row {row}. For "
            "shares of trials use mixed_model(family='binomial')."
        )
    rng = np.random.default_rng(seed)
    base, results = animals.of(0), []
    for k in range(1, len(animals.arms)):
        x = animals.of(k)
        a, b, c, d = x.sum(), (1 - x).sum(), base.sum(), (1 - base).sum()
        log_bf = (
            special.betaln(a + 1, b + 1)
            + special.betaln(c + 1, d + 1)
            - special.betaln(a + c + 1, b + d + 1)
        )
        bf10 = float(math.exp(log_bf))
        one, other = rng.beta(a + 1, b + 1, n_draws), rng.beta(c + 1, d + 1, n_draws)
        tails = [(1 - level) / 2, (1 + level) / 2]
        low, high = 100 * np.quantile(one - other, tails)
        odds = np.quantile(one * (1 - other) / (other * (1 - one)), [*tails, 0.5])
        name, n = f"{animals.arms[k]} - {animals.arms[0]}", (x.size, base.size)
        verdict = verdict_of(bf10, threshold)
        gap = 100 * float(x.mean() - base.mean())
        results.append(
            TestResult(
                name=name,
                statement=(
                    f"{name}: {a:g} of {n[0]} and {c:g} of {n[1]} animals, {_said(bf10)} (uniform "
                    f"priors), {verdict} at {threshold:g}; difference {number(gap)} percentage "
                    f"points, {100 * level:.3g}% credible interval [{number(low)}, {number(high)}]."
                ),
                verdict=verdict,
                method="Bayes factor of two shares",
                statistic=bf10,
                p=math.nan,
                estimate=gap,
                interval=(float(low), float(high)),
                level=level,
                effect_name="odds ratio, posterior median",
                effect=float(odds[2]),
                effect_interval=(float(odds[0]), float(odds[1])),
                n=n,
                assumptions=("animals are independent", "uniform priors of both shares"),
                extra=(
                    ("bf10", bf10),
                    ("bf01", 1 / bf10),
                    ("threshold", threshold),
                    ("prior", "uniform"),
                ),
                seed=seed,
                unit="percentage points",
                n_animals=sum(n),
            )
        )
    return tests_table(results)
