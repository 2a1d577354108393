"""The labelled result that every statistical test in predictlearn returns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import pandas as pd

__all__ = ["TestResult", "tests_table"]


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
        ``"not shown equivalent"``.
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
    frame = pd.DataFrame([result.to_series() for result in results]).reset_index(drop=True)
    return frame.infer_objects()
