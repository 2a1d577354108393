"""The labelled result that every statistical test in predictlearn returns."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, ClassVar

import pandas as pd

__all__ = ["AssumptionCheck", "TestResult", "bare", "bare_results", "failed_result", "tests_table"]

# Whether only p values and verdicts are wanted, as in a simulation of power.
_BARE: ContextVar[bool] = ContextVar("predictlearn_bare_results", default=False)


@contextlib.contextmanager
def bare_results() -> Iterator[None]:
    """Leave out what does not decide a test: effect sizes, their intervals, checks, other p values.

    p values, verdicts and failures are the same inside; simulations of power run in it.

    Examples
    --------
    >>> from predictlearn.statistics import paired_comparison
    >>> with bare_results():
    ...     result = paired_comparison([3.0, 4.0, 6.0], [1.0, 3.0, 3.0])
    >>> round(result.p, 3), result.effect_interval
    (0.074, (nan, nan))
    """
    token = _BARE.set(True)
    try:
        yield
    finally:
        _BARE.reset(token)


def bare() -> bool:
    """Return whether only what decides a test is wanted, see `bare_results`."""
    return _BARE.get()


@dataclass(frozen=True)
class AssumptionCheck:
    """Something that a test takes for granted, and what the data say of it.

    Parameters
    ----------
    what : str
        What was checked.
    found : str
        What came out, with numbers.
    holds : bool
        Whether nothing speaks against it. In few animals that is weak evidence that it holds.
    instead : str
        What to do where it does not hold.

    Examples
    --------
    >>> print(AssumptionCheck("equal variances", "Levene p = 0.01", False, "use Welch's test"))
    equal variances: Levene p = 0.01, NOT MET; use Welch's test
    """

    what: str
    found: str
    holds: bool
    instead: str = ""

    def __str__(self) -> str:
        if self.holds:
            return f"{self.what}: {self.found}, no sign against it"
        return f"{self.what}: {self.found}, NOT MET; {self.instead}"


@dataclass(frozen=True)
class TestResult:
    """One statistical test: what was asked, what came out, and on what assumptions.

    Parameters
    ----------
    name : str
        Short name of the comparison.
    statement : str
        The result as one sentence with numbers.
    verdict : str
        ``"different"``, ``"not shown to differ"``, ``"equivalent"`` or
        ``"not shown equivalent"``; of Bayes factors ``"different"``, ``"same"`` or
        ``"undecided"``; ``"failed"`` where there is no p value, see `failed`.
    method : str
        The test that gave `p`.
    statistic : float
        Its test statistic; infinite where the data do not vary at all.
    p : float
        The p value, never corrected for other tests.
    estimate : float
        The estimated difference, in the units of the data.
    interval : tuple of float
        Confidence interval of `estimate`.
    level : float
        Confidence level of the intervals.
    effect_name : str
        Which effect size `effect` is.
    effect : float
        The effect size; infinite where the data do not vary at all.
    effect_interval : tuple of float
        Confidence interval of the population effect size.
    n : tuple of int
        Number of pairs, ``(pairs,)``, or of each sample, ``(first, second)``.
    assumptions : tuple of str
        What has to hold for the p value and the interval to mean what they say.
    degenerate : str
        Empty, or the reason for which the usual test does not apply and what was done instead.
    extra : tuple of (str, value)
        Further named numbers (sensitivity checks, bounds, the two one-sided p values).
    seed : int or None
        Seed of whatever was random, None if nothing was.
    unit : str
        Unit of `estimate`, where it is known: trials, percentage points, odds ratio.
    n_animals : int or None
        Number of animals behind the result, where it comes from a table with animals.
    checked : tuple of AssumptionCheck
        Which assumptions were checked in these data, with what result, and what to do instead.
    failed : str
        Empty, or why a fit could not be used: then p and interval are NaN.

    Examples
    --------
    >>> from predictlearn.statistics import paired_comparison
    >>> result = paired_comparison([1.0, 2.0, 3.0, 5.0], [0.5, 1.0, 2.5, 3.0])
    >>> result.n, result.verdict
    ((4,), 'not shown to differ')
    >>> round(result.estimate, 3), round(result["p_permutation"], 3)
    (1.0, 0.125)
    """

    __test__: ClassVar[bool] = False  # pytest takes every class named Test... for a test

    name: str
    statement: str
    verdict: str
    method: str
    statistic: float
    p: float
    estimate: float
    interval: tuple[float, float]
    level: float
    effect_name: str
    effect: float
    effect_interval: tuple[float, float]
    n: tuple[int, ...]
    assumptions: tuple[str, ...]
    degenerate: str = ""
    extra: tuple[tuple[str, Any], ...] = ()
    seed: int | None = None
    unit: str = ""
    n_animals: int | None = None
    checked: tuple[AssumptionCheck, ...] = ()
    failed: str = ""

    def __getitem__(self, key: str) -> Any:
        """Return one of the further numbers by name."""
        return dict(self.extra)[key]

    def to_series(self) -> pd.Series:
        """Return the result as one labelled row.

        Returns
        -------
        pandas.Series
            One entry per field; intervals as ``low``/``high``, further numbers by their own name.
        """
        row: dict[str, Any] = {
            "name": self.name,
            "verdict": self.verdict,
            "method": self.method,
            "statistic": self.statistic,
            "p": self.p,
            "estimate": self.estimate,
            "low": self.interval[0],
            "high": self.interval[1],
            "level": self.level,
            "effect_name": self.effect_name,
            "effect": self.effect,
            "effect_low": self.effect_interval[0],
            "effect_high": self.effect_interval[1],
            "n": " + ".join(str(size) for size in self.n),
            "degenerate": self.degenerate,
            "assumptions": "; ".join(self.assumptions),
            "statement": self.statement,
            "seed": self.seed,
            "unit": self.unit,
            "n_animals": self.n_animals,
            "checked": "; ".join(map(str, self.checked)),
            "failed": self.failed,
        }
        row.update(dict(self.extra))
        return pd.Series(row, dtype=object)


def tests_table(results: Sequence[TestResult]) -> pd.DataFrame:
    """Put several results into one table, a row a test.

    Parameters
    ----------
    results : sequence of TestResult
        The results, in the order of the rows.

    Returns
    -------
    pandas.DataFrame
        The columns of :meth:`TestResult.to_series`.

    Examples
    --------
    >>> from predictlearn.statistics import paired_comparison
    >>> one = paired_comparison([1.0, 2.0, 3.0], [0.5, 1.0, 2.5], name="loss")
    >>> list(tests_table([one])["name"])
    ['loss']
    """
    if bare():
        names = ("name", "p", "verdict", "degenerate", "failed", "n_animals")
        return pd.DataFrame({name: [getattr(one, name) for one in results] for name in names})
    frame = pd.DataFrame([result.to_series() for result in results]).reset_index(drop=True)
    return frame.infer_objects()


def failed_result(
    name: str, *, method: str, why: str, n: tuple[int, ...], n_animals: int | None, level: float
) -> TestResult:
    """Return the row of a fit that could not be used: no p value, and the reason.

    Parameters
    ----------
    name, method : str
        What was compared, and by what.
    why : str
        Why there is no result, and what to do.
    n : tuple of int
        Sizes.
    n_animals : int or None
        Number of animals.
    level : float
        Level that the interval would have had.

    Returns
    -------
    TestResult
        With verdict ``"failed"``.

    Examples
    --------
    >>> row = failed_result("arm", method="mixed model", why="no", n=(3,), n_animals=3, level=0.95)
    >>> row.verdict, row.p
    ('failed', nan)
    """
    none = (math.nan, math.nan)
    return TestResult(
        name=name,
        statement=f"{name}: {method} failed: {why}",
        verdict="failed",
        method=method,
        statistic=math.nan,
        p=math.nan,
        estimate=math.nan,
        interval=none,
        level=level,
        effect_name="",
        effect=math.nan,
        effect_interval=none,
        n=n,
        assumptions=(),
        n_animals=n_animals,
        failed=why,
    )
