"""The study of sizes: its page is its table, and a part of it comes out again."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import pandas as pd
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "studies"))

import test_sizes as study
import test_sizes_cells as cells

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
