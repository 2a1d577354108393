"""Regression over animals: slopes, and the share of variance that a term explains alone."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from scipy import optimize, stats
from statsmodels.regression.linear_model import OLS
from statsmodels.stats.diagnostic import het_breuschpagan

from predictlearn.arrays import Array
from predictlearn.checks import positive_int
from predictlearn.errors import InputError, choice
from predictlearn.statistics.comparisons import check_level, number, p_text, span
from predictlearn.statistics.design import design_of
from predictlearn.statistics.groups import normality
from predictlearn.statistics.results import AssumptionCheck, TestResult, bare, tests_table
from predictlearn.statistics.tables import Limits, as_table, labels, numbers

__all__ = ["partial_r2_interval", "regression"]

# Where a test rejected more or less than 4 to 6% of 2,000 true nulls, see the page
# studies/statistics/test_sizes.md.
_MISSES = {
    "t": "measured: rejects 14% of true nulls of 12 animals whose spread grows with the term; "
    "method='hc3' 5.9%",
    "hc3": "measured: rejects 2.8% of true nulls of 12 animals with skewed (exponential) residuals",
    "permutation": "measured: rejects 14% of true nulls of 12 animals whose spread grows with the "
    "term; method='hc3' 5.9%",
}


def partial_r2_interval(
    f: float, df1: float, df2: float, *, level: float = 0.95
) -> tuple[float, float]:
    """Return the interval of a partial R2 from the F of its term.

    Inverts the noncentral F distribution for its noncentrality, lambda = n R2 / (1 - R2) with
    n = df1 + df2 + 1 (Smithson 2001, Educ Psychol Meas 61:605-632; regressors fixed).

    Parameters
    ----------
    f : float
        F statistic.
    df1, df2 : float
        Its degrees of freedom.
    level : float
        Confidence level.

    Returns
    -------
    tuple of float
        Low and high end; an end is 0 where no noncentrality is small enough.

    Examples
    --------
    >>> low, high = partial_r2_interval(9.0, 1, 18)
    >>> round(low, 3), round(high, 3)
    (0.029, 0.571)
    """
    n = df1 + df2 + 1
    tail = (1 - level) / 2

    def excess(shift: float, target: float) -> float:
        return float(stats.ncf.cdf(f, df1, df2, shift)) - target

    ends = []
    for target in (1 - tail, tail):
        if stats.f.cdf(f, df1, df2) <= target:
            ends.append(0.0)
            continue
        far = 10.0 + 4 * f * df1
        while excess(far, target) > 0 and far < 1e7:
            far *= 2
        found = float(optimize.brentq(excess, 1e-12, far, args=(target,)))
        ends.append(found / (found + n))
    return ends[0], ends[1]


def _per_animal(
    table: pd.DataFrame, subject: str, outcome: str, variables: Sequence[str]
) -> pd.DataFrame:
    """Return one row an animal: means of numbers, and labels that do not change."""
    animals = labels(table, "subject", subject)
    if len(animals.names) == len(table):
        return table
    first = np.zeros(len(animals.names), dtype=int)
    first[animals.codes[::-1]] = np.arange(len(table))[::-1]
    smaller = table.iloc[first].copy()
    counts = np.bincount(animals.codes)
    for name in dict.fromkeys([outcome, *variables]):
        dtype = table[name].dtype if name in table.columns else None
        if dtype is not None and pd.api.types.is_numeric_dtype(dtype):
            values = numbers(table, "outcome" if name == outcome else "term", name)
            smaller[name] = np.bincount(animals.codes, weights=values) / counts
            continue
        found = labels(table, "term", name)
        wrong = np.flatnonzero(found.codes[first][animals.codes] != found.codes)
        if wrong.size:
            raise InputError(
                f"term {name!r} changes within subject {animals.names[animals.codes[wrong[0]]]!r}, "
                f"in row {table.index[wrong[0]]}; regression has one row an animal: use "
                "mixed_model."
            )
    return smaller


def _freedman_lane(x: Array, y: Array, j: int, n_resamples: int, seed: int) -> float:
    """Return the p of one column by permuting residuals of the model without it."""
    rest = np.delete(x, j, axis=1)
    fitted = rest @ np.linalg.lstsq(rest, y, rcond=None)[0]
    residual = y - fitted
    rng = np.random.default_rng(seed)
    order = np.argsort(rng.random((n_resamples, y.size)), axis=1)
    draws = np.concatenate([y[None], fitted + residual[order]])
    inverse = np.linalg.pinv(x)
    beta = draws @ inverse.T
    left = draws - beta @ x.T
    t = np.abs(beta[:, j]) / np.sqrt(np.maximum((left**2).sum(1), 1e-300))
    return float(np.count_nonzero(t >= t[0] * (1 - 1e-12))) / len(t)


def _checks(x: Array, y: Array, fit: object, method: str) -> tuple[AssumptionCheck, ...]:
    """Return what the data say of the assumptions."""
    if bare():
        return ()
    residual = np.asarray(fit.resid)  # type: ignore[attr-defined]
    instead = "prefer method='permutation'"
    found: tuple[AssumptionCheck, ...] = ()
    if method == "t":
        found = normality(residual, "normal residuals", instead)
    if np.ptp(residual) > 1e-12 * float(np.abs(y).max()):
        p = float(het_breuschpagan(residual, x)[1])
        found += (
            AssumptionCheck(
                "one variance of residuals",
                f"Breusch-Pagan p = {p:.2g}",
                p >= 0.05,
                "prefer method='hc3'" if method != "hc3" else "hc3 allows for it",
            ),
        )
        influence = OLS(y, x).fit().get_influence()
        # an animal that is alone in its level has no residual
        with np.errstate(divide="ignore", invalid="ignore"):
            distances = influence.cooks_distance[0]
        far = float(np.max(np.nan_to_num(distances, posinf=0.0)))
        found += (
            AssumptionCheck(
                "no animal decides alone",
                f"largest Cook's distance {far:.2g}",
                far < 1,
                "report the result without that animal too",
            ),
        )
    scaled = x[:, 1:] - x[:, 1:].mean(axis=0)
    if scaled.shape[1] > 1:
        vif = float(np.max(np.diag(np.linalg.inv(np.corrcoef(scaled, rowvar=False)))))
        found += (
            AssumptionCheck(
                "terms told apart",
                f"largest variance inflation {vif:.2g}",
                vif < 5,
                "slopes of such terms are hardly determined; ask about fewer",
            ),
        )
    return found


def regression(
    data: pd.DataFrame,
    *,
    outcome: str,
    terms: str | Sequence[str],
    subject: str = "subject",
    method: str = "t",
    reference: Mapping[str, object] | None = None,
    limits: Limits = (None, None),
    unit: str = "",
    level: float = 0.95,
    n_resamples: int = 4999,
    seed: int = 0,
) -> pd.DataFrame:
    """Ask how an outcome of animals depends on what is known of them, each term beside the others.

    Ordinary least squares with one row an animal (its rows are averaged first).

    Parameters
    ----------
    data : pandas.DataFrame
        One row an observation.
    outcome : str
        Column of the outcome.
    terms : str or sequence of str
        Columns, and interactions as ``"arm:speed"``; numbers are centred, all others are factors.
    subject : str
        Column of the animal.
    method : {"t", "hc3", "permutation"}
        t test; t test with errors that allow for unequal variances (MacKinnon & White 1985);
        permutation of residuals (Freedman & Lane 1983).
    reference : mapping, optional
        Reference level by column.
    limits, unit, level
        As in :func:`compare_groups`.
    n_resamples, seed : int
        Permutations and their seed.

    Returns
    -------
    pandas.DataFrame
        A row a term, as in :func:`compare_groups`: ``estimate`` is the slope in units of the
        outcome a unit of the term, ``effect`` the partial R2 with its interval; ``standardised`` is
        the slope in standard deviations of both.

    Raises
    ------
    InputError
        With the row, as in :func:`compare_groups`; for a factor that changes within an animal, for
        terms that cannot be told apart, or for too few animals.

    Examples
    --------
    >>> table = pd.DataFrame({"mouse": range(8), "overlap": [1, 2, 3, 4, 5, 6, 7, 8],
    ...                       "trials": [80, 75, 77, 60, 58, 61, 45, 40]})
    >>> found = regression(table, outcome="trials", terms="overlap", subject="mouse")
    >>> round(float(found.loc[0, "estimate"]), 2), round(float(found.loc[0, "effect"]), 2)
    (-5.71, 0.91)
    """
    table = as_table(data)
    choice("method", method, ("t", "hc3", "permutation"))
    level = check_level("level", level)
    numbers(table, "outcome", outcome, limits)
    positive_int("n_resamples", n_resamples)
    named = [terms] if isinstance(terms, str) else terms
    variables = [
        piece
        for term in named
        if isinstance(term, str)
        for piece in ([term] if term in table.columns else term.split(":"))
        if piece in table.columns
    ]
    smaller = _per_animal(table, subject, outcome, variables)
    y = numbers(smaller, "outcome", outcome)
    design = design_of(smaller, named, reference)
    x, n = design.x, y.size
    df = n - x.shape[1]
    if df < 2:
        raise InputError(f"{x.shape[1] - 1} terms need at least {x.shape[1] + 2} animals; got {n}.")
    fit = OLS(y, x).fit()
    exact = float(np.ptp(fit.resid)) <= 1e-10 * max(float(np.ptp(y)), 1e-300)
    with np.errstate(divide="ignore", invalid="ignore"):
        errors = np.asarray(fit.HC3_se if method == "hc3" else fit.bse)
    if not np.isfinite(errors).all():
        raise InputError(
            "method='hc3' has no error for a term that one animal alone decides; leave that term "
            "out, or use method='t'."
        )
    checked = _checks(x, y, fit, method)
    label = {
        "t": "regression, t test",
        "hc3": "regression, t test with HC3 errors",
        "permutation": "regression, permutation of residuals",
    }[method]
    results = []
    for term in design.terms:
        j = term.column
        slope, error = float(fit.params[j]), float(errors[j])
        t = slope / error if error > 0 else math.copysign(math.inf, slope)
        plain = (slope / float(fit.bse[j])) ** 2 if float(fit.bse[j]) > 0 else math.inf
        p = float(2 * stats.t.sf(abs(t), df))
        if method == "permutation":
            p = _freedman_lane(x, y, j, n_resamples, seed)
        half = float(stats.t.ppf((1 + level) / 2, df)) * error
        r2 = plain / (plain + df) if math.isfinite(plain) else 1.0
        ends = (math.nan, math.nan)
        if not bare():
            ends = (1.0, 1.0) if exact else partial_r2_interval(plain, 1, df, level=level)
        shown = f" {unit}" if unit else ""
        beside = ("the term is related linearly to the outcome, the others held",)
        about = {
            "t": ("residuals are normal, of one variance",),
            "hc3": ("residuals are normal, or there are enough animals",),
            "permutation": ("residuals are exchangeable between animals",),
        }[method]
        results.append(
            TestResult(
                name=term.name,
                statement=(
                    f"{term.name}: slope {number(slope)}{shown}, {100 * level:.3g}% interval "
                    f"{span(slope - half, slope + half)}, partial R2 {number(r2)}, {label} "
                    f"{p_text(p)}, n = {n} animals."
                ),
                verdict="different" if p < 1 - level else "not shown to differ",
                method=label,
                statistic=t,
                p=p,
                estimate=slope,
                interval=(slope - half, slope + half),
                level=level,
                effect_name="partial R2",
                effect=r2,
                effect_interval=ends,
                n=(n,),
                assumptions=("animals are independent", *beside, *about, _MISSES[method]),
                degenerate="the terms explain every animal exactly" if exact else "",
                extra=(
                    ("standardised", slope * term.sd / float(y.std()) if np.ptp(y) else 0.0),
                    ("df", float(df)),
                ),
                seed=seed if method == "permutation" else None,
                unit=unit,
                n_animals=n,
                checked=checked,
            )
        )
    return tests_table(results)
