"""Distributions by name."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from predictlearn.behaviour import Animals, TrainingSessions, as_distribution, typical_value
from predictlearn.behaviour.distributions import draws_of, median_of
from predictlearn.errors import InputError


@pytest.mark.parametrize(
    ("spec", "same"),
    [
        (
            {"distribution": "lognormal", "median": 2.0, "sd_log": 0.5},
            stats.lognorm(0.5, scale=2.0),
        ),
        ({"distribution": "normal", "mean": 1.0, "sd": 0.2}, stats.norm(1.0, 0.2)),
        ({"distribution": "uniform", "low": 1.0, "high": 3.0}, stats.uniform(1.0, 2.0)),
        ({"distribution": "beta", "a": 2, "b": 50}, stats.beta(2, 50)),
        ({"distribution": "poisson", "mu": 300}, stats.poisson(300)),
        (stats.gamma(3.0), stats.gamma(3.0)),
    ],
)
def test_a_name_gives_the_distribution(spec, same):
    drawn = draws_of("x", spec, 20_000, np.random.default_rng(0))
    assert drawn.mean() == pytest.approx(same.mean(), abs=5 * same.std() / np.sqrt(20_000))
    assert drawn.std() == pytest.approx(same.std(), rel=0.05)
    assert median_of("x", spec) == same.median()


def test_a_number_is_the_same_for_all():
    assert draws_of("x", 3, (2, 2), np.random.default_rng(0)).tolist() == [[3.0, 3.0], [3.0, 3.0]]
    assert draws_of("x", {"distribution": "normal", "mean": 1.0, "sd": 0}, 1, None).tolist() == [
        1.0
    ]


def test_typical_sessions_have_the_spread_of_the_data():
    counts = TrainingSessions.typical(20).counts(2000, np.random.default_rng(0))
    spread = np.hypot(*(typical_value(f"mouse_trials_sd_log_{x}") for x in ("animals", "sessions")))
    assert np.median(counts) == pytest.approx(typical_value("mouse_trials_per_session"), rel=0.02)
    assert np.log(counts).std() == pytest.approx(spread, rel=0.02)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: as_distribution("rate", {"distribution": "lognormall"}), "Did you mean 'lognorm"),
        (
            lambda: as_distribution("rate", {"distribution": "normal", "mean": 1.0}),
            "needs sd as well",
        ),
        (
            lambda: as_distribution(
                "rate", {"distribution": "lognormal", "medain": 1, "sd_log": 1}
            ),
            "Did you mean 'median'",
        ),
        (lambda: as_distribution("rate", {"mean": 1.0}), "must have the key 'distribution'"),
        (lambda: as_distribution("rate", "lognormal"), "must be a number, or name a distribution"),
        (
            lambda: as_distribution("x", {"distribution": "normal", "mean": 0, "sd": -1}),
            "sd must be zero",
        ),
        (
            lambda: as_distribution("x", {"distribution": "beta", "a": -1, "b": 1}),
            "no such parameters",
        ),
        (
            lambda: draws_of(
                "lapse",
                {"distribution": "normal", "mean": 0, "sd": 1},
                99,
                np.random.default_rng(0),
                0.0,
                0.5,
            ),
            r"lapse must be at least 0 and below 0\.5; \d+ of 99 draws",
        ),
        (lambda: Animals({"distribution": "gama", "a": 1}), "the distribution of rate_per_trial"),
        (lambda: Animals(1e-3, start=[0.1]), "start must map overlaps"),
        (lambda: typical_value("mouse_lapses"), "Did you mean 'mouse_lapse'"),
    ],
)
def test_bad_distributions_end_in_one_message(make, words):
    with pytest.raises(InputError, match=words):
        make()
