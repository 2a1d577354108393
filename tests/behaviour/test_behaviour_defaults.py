"""Typical numbers of behaviour: estimators on simulated animals, and the table made again."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import special

from predictlearn.behaviour import behaviour_defaults, typical_value

STUDIES = Path(__file__).resolve().parents[2] / "studies" / "animals"


@pytest.fixture(scope="module")
def estimates():
    sys.path.insert(0, str(STUDIES))
    try:
        import behaviour_estimates

        yield behaviour_estimates
    finally:
        sys.path.remove(str(STUDIES))


def test_every_number_has_a_source_and_an_interval_around_it():
    table = behaviour_defaults()
    assert table.name.is_unique
    for column in ("unit", "n", "source", "columns", "how"):
        assert table[column].str.len().min() > 3
    known = table.dropna(subset=["value"])
    assert ((known.low <= known.value) & (known.value <= known.high)).all()
    assert (table.low < table.high).all()
    table["value"] = 0.0
    assert behaviour_defaults().value.abs().max() > 0


def simulated_mice(rng, n=150, days=12, trials=10, both=-0.5, sd_start=0.8):
    sd_rate, lapse = 0.4, 0.04
    rows = []
    for animal in range(n):
        own, speed = rng.standard_normal(2)
        start = -2 + sd_start * (np.sqrt(1 - both**2) * own + both * speed)
        rate = 0.06 * np.exp(sd_rate * speed)
        for day in range(days):
            x = trials * (day + 0.5)
            log_odds = start + rate * x
            p = lapse + (1 - 2 * lapse) / (1 + np.exp(-log_odds))
            rows.append((animal, x, trials, rng.binomial(trials, p)))
    return pd.DataFrame(rows, columns=["animal", "x", "n", "k"])


@pytest.mark.slow
def test_spread_of_rates_is_free_of_binomial_noise(estimates):
    found = estimates.learning_curves(simulated_mice(np.random.default_rng(0)))
    known = {"rate_sd_log": 0.4, "rate": 0.06, "start_sd": 0.8, "lapse": 0.04, "correlation": -0.5}
    for name, true in known.items():
        value, low, high = found[name]
        assert low < true < high
        assert value == pytest.approx(true, rel=0.4)
    same = simulated_mice(np.random.default_rng(1), n=80, sd_start=0.0)
    value, low, high = estimates.learning_curves(same, alike=True)["rate_sd_log"]
    assert low < 0.4 < high
    assert value == pytest.approx(0.4, rel=0.2)


@pytest.mark.parametrize("noise", [0.15, 0.5])
def test_session_noise_is_free_of_binomial_noise_and_of_learning(estimates, noise):
    rng = np.random.default_rng(1)
    rows = []
    for animal in range(40):
        for day in range(20):
            p = special.expit(0.2 + 0.08 * day + noise * rng.standard_normal())
            n = int(rng.integers(100, 600))
            rows.append((animal, n, rng.binomial(n, p)))
    table = pd.DataFrame(rows, columns=["animal", "n", "k"])
    (value, low, high), animals, days = estimates.session_noise(table, rng, 60)
    assert (animals, days) == (40, 800)
    assert low < value < high
    assert value == pytest.approx(noise, rel=0.12)


def test_motor_noise_is_free_of_learning_and_its_spread_of_sampling_noise(estimates):
    rng = np.random.default_rng(2)
    series = []
    for _ in range(300):
        sd = 5 * np.exp(0.25 * rng.standard_normal())
        drift = np.linspace(0, 10, 10)
        series.append([drift + sd * rng.standard_normal(10) for _ in range(4)])
    noise, spread = estimates.spread_of_log_sd(series, rng, 200)
    assert noise[0] == pytest.approx(5.0, rel=0.06)
    assert spread[0] == pytest.approx(0.25, rel=0.25)


def test_adaptation_rates_of_people_that_differ(estimates):
    rng = np.random.default_rng(3)
    t = np.arange(1, 81)
    series = [
        rng.normal(20, 8) * (1 - np.exp(-0.07 * np.exp(0.8 * rng.standard_normal()) * t))
        + 4 * rng.standard_normal(80)
        for _ in range(250)
    ]
    found = estimates.adaptation_rates(series)
    for name, true in (
        ("rate", 0.07),
        ("rate_sd_log", 0.8),
        ("asymptote", 20),
        ("asymptote_sd", 8),
    ):
        assert found[name][0] == pytest.approx(true, rel=0.2)


@pytest.mark.slow
def test_the_table_is_what_the_script_gives(shared_data):
    folders = (
        "mouse-reversals-hao2021",
        "mouse-reversal-ang2021",
        "mouse-reversal-heimburg",
        "adaptation-relearning-avraham",
        "target-order-kim",
        "two-rate-thart",
        "rat-learning-psytrack",
    )
    missing = [name for name in folders if not (shared_data / name).is_dir()]
    if missing:
        pytest.skip(f"no {', '.join(missing)} in {os.environ['PREDICTLEARN_DATA']}")
    sys.path.insert(0, str(STUDIES))
    try:
        import behaviour_defaults as script
    finally:
        sys.path.remove(str(STUDIES))
    made, kept = script.estimates(), behaviour_defaults()
    for column in ("name", "unit", "n", "source", "columns", "how"):
        assert made[column].tolist() == kept[column].tolist()
    for column in ("value", "low", "high"):
        np.testing.assert_allclose(made[column], kept[column], rtol=0.02, atol=2e-3)
    page = script.PAGE.read_text(encoding="utf-8")
    assert script.markdown(kept) in page


def test_typical_values_that_guides_name_are_there():
    assert 0 < typical_value("mouse_lapse") < 0.1
    assert np.isnan(typical_value("rat_lapse"))
