"""Correction for several tests, and a family of tests as one table."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from statsmodels.stats.multitest import multipletests

from predictlearn.errors import InputError, choice
from predictlearn.statistics.comparisons import check_level
from predictlearn.statistics.results import TestResult, tests_table

__all__ = ["CORRECTIONS", "correct_p", "family_table"]

CORRECTIONS = ("holm", "fdr_bh", "none")
"""Holm (family-wise error), Benjamini-Hochberg (false discovery rate), or none."""

# Verdicts of tests that have a p value: shown, and not shown.
_DIFFERING = ("different", "not shown to differ")
_EQUIVALENT = ("equivalent", "not shown equivalent")


def corrected_verdicts(table: pd.DataFrame) -> pd.Series:
    """Return verdicts that follow the corrected p, where a verdict follows from p."""
    verdict = table["verdict"]
    has_p = table["p"].astype(float).notna()
    for words in (_DIFFERING, _EQUIVALENT):
        mine = has_p & verdict.isin(words)
        verdict = verdict.where(~mine, np.where(table["significant"], *words))
    return verdict


def correct_p(p: np.ndarray, *, method: str = "holm") -> np.ndarray:
    """Return p values corrected for their number.

    Parameters
    ----------
    p : array_like, (tests,)
        p values between 0 and 1.
    method : {"holm", "fdr_bh", "none"}
        Holm's step-down (controls the family-wise error under any dependence), Benjamini &
        Hochberg's (the false discovery rate, under independence or positive dependence), or none.

    Returns
    -------
    numpy.ndarray, (tests,)
        Corrected p values, in the order given.

    Raises
    ------
    InputError
        If a p value is missing or outside [0, 1]: a test that was not made is not in the family.

    Examples
    --------
    >>> correct_p([0.01, 0.04, 0.03]).tolist()
    [0.03, 0.06, 0.06]
    """
    values = np.asarray(p, dtype=float)
    choice("method", method, CORRECTIONS)
    if values.ndim != 1 or values.size == 0:
        raise InputError(f"p must be a non-empty list of p values; got shape {values.shape}.")
    if not np.all((values >= 0) & (values <= 1)):
        raise InputError("p must lie between 0 and 1, without NaN; leave out tests not made.")
    if method == "none":
        return values.copy()
    if method == "fdr_bh":
        return np.asarray(multipletests(values, method=method)[1])
    # written out, since statsmodels' own runs a full garbage collection at every call
    order = np.argsort(values, kind="stable")
    stepped = np.maximum.accumulate(values[order] * np.arange(values.size, 0, -1))
    corrected = np.empty_like(values)
    corrected[order] = np.minimum(stepped, 1.0)
    return corrected


def family_table(
    results: Sequence[TestResult], *, family: str, method: str = "holm", alpha: float = 0.05
) -> pd.DataFrame:
    """Return one family of tests as a table with corrected p values.

    Parameters
    ----------
    results : sequence of TestResult
        The tests of the family.
    family : str
        Its name, a column of the table.
    method : {"holm", "fdr_bh", "none"}
        Correction within the family.
    alpha : float
        Level for ``significant``.

    Returns
    -------
    pandas.DataFrame
        A row a test: ``family``, the columns of :meth:`TestResult.to_series`, ``p_corrected``,
        ``correction``, ``family_size`` and ``significant`` (p_corrected < alpha). Whether two
        things are ``"different"`` is decided by the corrected p in ``verdict`` too.

    Examples
    --------
    >>> from predictlearn.statistics import paired_comparison
    >>> first, second = [1.0, 2.0, 3.1, 4.0], [0.5, 1.0, 2.5, 3.0]
    >>> tests = [paired_comparison(first, second, name=name) for name in ("early", "late")]
    >>> table = family_table(tests, family="loss")
    >>> [round(float(p), 4) for p in table["p_corrected"]]
    [0.0195, 0.0195]
    """
    check_level("alpha", alpha)
    if not results:
        raise InputError("results must hold at least one test.")
    table = tests_table(results)
    corrected = correct_p(np.array([result.p for result in results]), method=method)
    table.insert(0, "family", family)
    table.insert(list(table.columns).index("p") + 1, "p_corrected", corrected)
    table["correction"] = method
    table["family_size"] = len(results)
    table["significant"] = corrected < alpha
    # one verdict: the words follow the corrected p
    differing = table["verdict"].isin(_DIFFERING)
    words = np.where(table["significant"], *_DIFFERING)
    table["verdict"] = table["verdict"].where(~differing, words)
    return table
