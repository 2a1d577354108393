"""The catalogue in a report: entries that fit, in their order, each with what it needs."""

from __future__ import annotations

import pytest

from predictlearn.pipeline.report.catalogue import catalogue_sections
from predictlearn.predictions.laboratory import ENTRIES
from predictlearn.predictions.laboratory.table import entries_for, measured


@pytest.mark.parametrize("n_out", [1, 2, None])
def test_entries_of_the_task_are_reported(n_out):
    first, *parts = catalogue_sections(n_out)
    names = [part.title for part in parts]
    assert names == list(first.tables[0].frame["prediction"])
    wanted = {1: {"a-b-a", "drift"}, 2: {"savings"}, None: {"drift"}}[n_out]
    assert wanted <= set(names)
    assert not ({1: {"savings"}, 2: {"drift"}}.get(n_out, {"a-b-a"}) & set(names))
    for part in parts:
        said = " ".join(part.paragraphs)
        assert ENTRIES[part.title].falsifier in said
        assert ENTRIES[part.title].statement in said
        assert "for 80% power" in said
        assert f"predictlearn predictions {part.title}" in said
        (picture,) = part.figures
        labels = [picture.figure.axes[0].get_ylabel(), picture.figure.axes[0].get_xlabel()]
        assert any("(" in label for label in labels)  # a unit


def test_no_entry_fits_three_outputs():
    assert catalogue_sections(3) == []


def test_the_most_informative_is_first():
    """By effect over the width of its interval, of entries that predict a difference."""
    names = [name for name in entries_for(1) if not ENTRIES[name].features]
    table = measured().set_index("name").loc[names]
    worth = abs(table["effect"]) / (table["effect_high"] - table["effect_low"])
    assert worth.is_monotonic_decreasing
