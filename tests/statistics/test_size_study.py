"""The study of sizes: its page is its table, and a part of it comes out again."""

from __future__ import annotations

import math
import re
import sys
from pathlib import Path

import pandas as pd
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "studies" / "statistics"))

import test_sizes as study
import test_sizes_cells as cells

from predictlearn.statistics import groups, mixed_models, survival
from predictlearn.statistics.decoding import _MISSES as OF_DECODING
from predictlearn.statistics.regression import _MISSES as OF_REGRESSION

ROWS = pd.read_csv(study.ROWS)


def test_the_page_is_the_table():
    text = study.PAGE.read_text(encoding="utf-8")
    for line in [*study.size_table(ROWS).splitlines(), *study.power_table(ROWS).splitlines()]:
        assert line in text


def test_every_test_that_ships_is_measured():
    shipped = (
        *("two groups", "pairs", "equivalence", "mixed model, linear", "mixed model, binomial"),
        *("regression", "decoding", "survival", "three tests", "Bayes factor"),
    )
    measured = {cell.test for cell in cells.NULLS}
    for name in shipped:
        assert any(test.startswith(name) for test in measured)
    powered = {cell.test for cell in cells.EFFECTS}
    assert {test for test in measured if not test.startswith("three")} == powered


SAID = {
    "two groups, Welch": groups._MISSES["groups, welch"],
    "two groups, permutation": groups._MISSES["groups, permutation"],
    "pairs, t": groups._MISSES["pairs, t"],
    "pairs, Wilcoxon": groups._MISSES["pairs, wilcoxon"],
    "pairs, sign flips": groups._MISSES["pairs, permutation"],
    "equivalence, pairs": groups._MISSES["pairs, equivalence"],
    "mixed model, linear": mixed_models._MISSES["gaussian"],
    "mixed model, binomial": mixed_models._MISSES["binomial"],
    "regression, t": OF_REGRESSION["t"],
    "regression, hc3": OF_REGRESSION["hc3"],
    "regression, permutation": OF_REGRESSION["permutation"],
    "decoding": OF_DECODING,
    "survival, restricted mean": survival._MISSES["restricted mean"],
    "survival, Cox, ratio": survival._MISSES["hazard ratio"],
}


def test_a_test_that_misses_says_so():
    rows = ROWS[(ROWS["part"] == "size") & ROWS["target"].notna()]
    # Holm promises at most 5%
    rows = rows[~rows["test"].str.startswith("three tests, Holm")]
    missed = 0
    for row in rows.to_dict("records"):
        rate = 100 * row["positive"] / row["simulations"]
        if abs(rate - 5) <= 1:
            continue
        said = [float(number) for number in re.findall(r"([\d.]+)%", SAID[row["test"]])]
        assert min(abs(number - rate) for number in said) < (0.06 if rate < 9.5 else 0.51)
        missed += 1
    assert missed > 10


def test_power_is_as_stated():
    rows = ROWS[ROWS["part"] == "power"]
    assert (abs(rows["positive"] / rows["simulations"] - rows["obtained"]) <= 0.03).all()


@pytest.mark.slow
@pytest.mark.parametrize("at", range(0, len(cells.NULLS), 6))
def test_sizes_come_out_again(at):
    cell, n = cells.NULLS[at], 400
    row = ROWS[(ROWS["test"] == cell.test) & (ROWS["experiment"] == cell.says)]
    if row.empty:
        pytest.skip("not in the table")
    known = float(row["positive"].iloc[0] / row["simulations"].iloc[0])
    again = study.counted("size", cell, n, seed=77)["positive"] / n
    assert abs(again - known) <= 4 * math.sqrt(max(known * (1 - known), 0.01) / n) + 0.01
