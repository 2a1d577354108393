"""Several tests of one table in one run: one family, with p values corrected for their number."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd

from predictlearn.errors import InputError
from predictlearn.statistics.comparisons import check_level
from predictlearn.statistics.corrections import correct_p, corrected_verdicts

__all__ = ["run_tests"]

TableTest = Callable[[pd.DataFrame], pd.DataFrame]


def named_tests(tests: object) -> dict[str, TableTest]:
    """Return one or several tests by name, or raise InputError."""
    if callable(tests):
        inner = getattr(tests, "func", tests)
        return {str(getattr(inner, "__name__", "test")): tests}
    if not isinstance(tests, Mapping) or not tests:
        raise InputError(
            "tests must be a function of a table, or a mapping from names to such functions, as "
            "{'groups': functools.partial(compare_groups, outcome='errors')}; "
            f"got {type(tests).__name__}."
        )
    for name, test in tests.items():
        if not isinstance(name, str) or not callable(test):
            raise InputError(f"tests must map names to functions of a table; see {name!r}.")
    return dict(tests)


def tested(name: str, test: TableTest, data: pd.DataFrame) -> pd.DataFrame:
    """Return the table of one test, or raise InputError if it is none."""
    table = test(data)
    missing = {"name", "p", "verdict", "failed"} - set(getattr(table, "columns", ()))
    if not isinstance(table, pd.DataFrame) or missing or table.empty:
        raise InputError(
            f"test {name!r} must return a table as those of predictlearn.statistics do; got "
            f"{type(table).__name__}{f' without {sorted(missing)}' if missing else ''}."
        )
    return table


def run_tests(
    data: pd.DataFrame,
    tests: Mapping[str, TableTest],
    *,
    family: str = "family",
    correction: str = "holm",
    alpha: float = 0.05,
) -> pd.DataFrame:
    """Make several tests of one table in one run, corrected as one family.

    Every row of every test is in the family, so give tests with the rows that you ask about. Rows
    without a p value (Bayes factors, failed fits) are in the table but not in the family.

    Parameters
    ----------
    data : pandas.DataFrame
        One row an observation.
    tests : mapping from str to callable
        Functions of a table, as ``functools.partial(compare_groups, outcome="errors")``.
    family : str
        Name of the family.
    correction : {"holm", "fdr_bh", "none"}
        Holm's (family-wise error) or Benjamini and Hochberg's (false discovery rate).
    alpha : float
        Level of ``significant``.

    Returns
    -------
    pandas.DataFrame
        The rows of all tests, with ``family``, ``test``, ``p_corrected``, ``correction``,
        ``family_size`` and ``significant``; ``verdict`` follows the corrected p.

    Raises
    ------
    InputError
        As the tests; if `tests` is not a mapping to functions that return tables of tests.

    Examples
    --------
    >>> from functools import partial
    >>> from predictlearn.statistics import compare_groups
    >>> table = pd.DataFrame({"subject": range(8), "arm": list("aaaabbbb"),
    ...                       "errors": [3, 4, 2, 3, 8, 9, 7, 9],
    ...                       "speed": [1, 2, 1, 3, 2, 1, 3, 2]})
    >>> found = run_tests(table, {name: partial(compare_groups, outcome=name)
    ...                           for name in ("errors", "speed")})
    >>> found["significant"].tolist(), found["family_size"].tolist()
    ([True, False], [2, 2])
    """
    alpha = check_level("alpha", alpha)
    parts = []
    for name, test in named_tests(tests).items():
        part = tested(name, test, data).copy()
        part.insert(0, "test", name)
        parts.append(part)
    columns = list(dict.fromkeys(column for part in parts for column in part.columns))
    rows = [row for part in parts for row in part.to_dict("records")]
    table = pd.DataFrame(rows, columns=columns)
    table.insert(0, "family", family)
    p = table["p"].to_numpy(dtype=float)
    known = np.isfinite(p)
    corrected = np.full(p.size, np.nan)
    if known.any():
        corrected[known] = correct_p(p[known], method=correction)
    table.insert(list(table.columns).index("p") + 1, "p_corrected", corrected)
    table["correction"] = correction
    table["family_size"] = int(known.sum())
    table["significant"] = corrected < alpha
    table["verdict"] = corrected_verdicts(table)
    return table
