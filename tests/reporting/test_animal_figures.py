"""Figures of animals and of their numbers: narrow enough for a phone, with names of any length."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from test_report_figures import assert_no_text_overlaps, demo_effects

from predictlearn.reporting import figures


def demo_animals() -> dict:
    """Figures of animals: narrow, with long names of arms and of their differences."""
    rng = np.random.default_rng(5)
    arms = ["synapses-aba: factors", "drug 3 mg/kg, given before training", "aba: aba"]
    animals = pd.DataFrame(
        {
            "subject": np.tile(np.arange(8), 3),
            "arm": np.repeat(arms, 8),
            "value": rng.gamma(2.0, 0.002, 24),
            "other": rng.normal(size=24),
        }
    )
    differences = pd.DataFrame(
        {
            "name": [f"{a} minus {b}" for a, b in (arms[:2], arms[1:], arms[::2])],
            "estimate": [0.004, 0.002, -0.001],
            "low": [0.0006, -0.001, -0.002],
            "high": [0.007, 0.006, 0.0],
        }
    )
    sizes = [3, 4, 5, 6, 7, 9, 11, 12, 13]
    power = pd.DataFrame({"n": sizes, "power": np.linspace(0.4, 1.0, 9)})
    power = power.assign(low=lambda f: f["power"] - 0.05, high=lambda f: f["power"] + 0.03)
    stated = power.assign(n=power["n"] * 40, curve="3 percentage points, as stated")
    both = pd.concat([power.assign(curve="5.48 percentage points, as seen here"), stated])
    return {
        "differences": figures.animals_and_differences(
            animals, differences, xlabel="Loss", difference_label="Difference", paired=True
        ),
        "by-arm": figures.animals_by_arm(animals, "value", "Loss", xlabel="Group"),
        "scattered": figures.animals_scattered(animals, "value", "other", "Loss", "Later", "arm"),
        "power": figures.power_curves(power, "Animals"),
        "power-of-two": figures.power_curves(both, "Animals in each arm"),
        "effects-narrow": figures.effect_sizes(demo_effects(), printed=False),
    }


@pytest.fixture(scope="module")
def drawn() -> dict:
    return demo_animals()


def test_axes_are_labelled_and_no_text_overlaps(drawn, monkeypatch):
    for name, figure in drawn.items():
        for axes in figure.axes:
            assert axes.get_xlabel(), name
            assert axes.get_ylabel() or any(t.get_text() for t in axes.get_yticklabels()), name
    assert_no_text_overlaps(drawn, monkeypatch)


def test_figures_of_animals_are_read_on_a_phone(drawn):
    # 390 pixels wide, of which the page takes 50: text of 8.5 points is then ten pixels high
    for name, figure in drawn.items():
        shown = 340 / (100 * figure.get_figwidth())
        least = min(
            text.get_fontsize()
            for axes in figure.axes
            for text in (axes.xaxis.label, *axes.get_xticklabels(), *axes.get_yticklabels())
        )
        assert shown * least * 100 / 72 > 9.9, name


def test_power_is_in_percent_with_what_is_aimed_at_marked(drawn):
    axes = drawn["power"].axes[0]
    (curve,) = [line for line in axes.lines if len(line.get_xdata()) == 9]
    np.testing.assert_allclose(curve.get_ydata(), np.linspace(40, 100, 9))
    levels = {line.get_ydata()[0] for line in axes.lines if len(line.get_xdata()) == 2}
    assert levels == {80, 95}
