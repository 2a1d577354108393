"""The numbers of the catalogue, made again."""

from __future__ import annotations

import numpy as np
import pytest

from predictlearn.predictions.laboratory import cohort_table, find_entry, simulate_cohort
from predictlearn.predictions.laboratory.evaluation import rejection_rate
from predictlearn.predictions.laboratory.table import ENTRIES, measured

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", ENTRIES)
def test_effects_are_those_of_the_table(name):
    """Other animals than those of the table, and as many."""
    entry = find_entry(name)
    row = measured().set_index("name").loc[name]
    cohort = simulate_cohort(entry, seed=31, n_jobs=2)
    result = entry.result(cohort_table(entry, cohort, None, np.random.default_rng(31)))
    error = np.hypot(
        (row["effect_high"] - row["effect_low"]) / 4, (result["high"] - result["low"]) / 4
    )
    assert abs(result["estimate"] - row["effect"]) < 3.5 * error
    assert abs(row["size"] - 0.05) <= 0.02
    found = rejection_rate(entry, cohort, int(row["size_animals"]), 500, seed=5, n_jobs=2)
    assert 0.03 - 0.01 <= found["power"] <= 0.07 + 0.01
