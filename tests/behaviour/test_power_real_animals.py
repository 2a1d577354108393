"""Power in real animals: the study's own tests, its fits of correlated rates, one cell again."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

STUDIES = Path(__file__).resolve().parents[2] / "studies" / "animals"


@pytest.fixture(scope="module")
def study():
    sys.path.insert(0, str(STUDIES))
    try:
        import power_real_animals

        yield power_real_animals
    finally:
        sys.path.remove(str(STUDIES))


def test_relabelling_of_the_study_is_that_of_scipy(study):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(6, 9)), rng.normal(0.9, 2.0, size=(6, 9))

    def welch(a, b, axis):
        return np.abs(stats.ttest_ind(a, b, axis=axis, equal_var=False).statistic)

    # by size: two-sided ones of scipy are twice the smaller tail
    how = {"vectorized": True, "n_resamples": 20_000, "alternative": "greater"}
    expected = [
        stats.permutation_test((a, b), welch, rng=1, **how).pvalue
        for a, b in zip(x, y, strict=True)
    ]
    found = np.mean([study.p_permutation(x, y, rng) for _ in range(20)], axis=0)
    np.testing.assert_allclose(found, expected, atol=0.02)


def test_sign_flips_of_the_study_are_exact_where_they_are_few(study):
    change = np.random.default_rng(1).normal(0.6, 1.0, size=(5, 8))
    expected = [
        stats.permutation_test((d,), np.mean, permutation_type="samples", n_resamples=300).pvalue
        for d in change
    ]
    np.testing.assert_allclose(study.p_flips(change, np.random.default_rng(2)), expected)


def test_log_rank_of_the_study_is_near_that_of_scipy(study):
    rng = np.random.default_rng(3)
    x, y = rng.exponential(1.0, (8, 30)), rng.exponential(1.7, (8, 30))
    end = 2.0

    def censored(times):
        return stats.CensoredData.right_censored(np.minimum(times, end), times > end)

    expected = [stats.logrank(censored(a), censored(b)).pvalue for a, b in zip(x, y, strict=True)]
    found = np.mean([study.p_log_rank(x, y, end, rng) for _ in range(10)], axis=0)
    np.testing.assert_allclose(found, expected, atol=0.03)


def test_rates_that_correlate_with_asymptotes_are_found(study):
    from behaviour_estimates import adaptation_rates

    rng = np.random.default_rng(4)
    z, other = rng.standard_normal((2, 250, 1))
    rate = 0.07 * np.exp(0.8 * z)
    asymptote = 20 + 8 * (-0.6 * z + 0.8 * other)
    angles = asymptote * (1 - np.exp(-rate * np.arange(1, 81))) + 4 * rng.standard_normal((250, 80))
    alike, apart = (adaptation_rates(angles, correlated) for correlated in (True, False))
    value, low, high = alike["correlation"]
    assert low < -0.6 < high < 0
    assert value == pytest.approx(-0.6, abs=0.2)
    assert alike["log_likelihood"] > apart["log_likelihood"] + 5


@pytest.mark.slow
def test_power_predicted_of_adaptation_is_that_of_real_people(study, shared_data):
    folder = "adaptation-relearning-avraham"
    if not (shared_data / folder).is_dir():
        pytest.skip(f"no {folder} in {os.environ['PREDICTLEARN_DATA']}")
    outcome = next(x for x in study.OUTCOMES if (x.source, x.name) == (folder, "hand angle, late"))
    effect, n = 6.0, 40
    real = study.obtained(outcome, n, effect, seed=11)
    table = study.predicted(outcome, "rate correlated", 400, seed=12)
    table = table[(table.n == n) & (table.effect == effect)].set_index("test")
    kept = pd.read_csv(study.ROWS)
    kept = kept[(kept.outcome == outcome.name) & (kept.model == "rate correlated")]
    kept = kept[(kept.n == n) & (kept["size"] == effect)].set_index("test")
    for name, hits in real.items():
        # 5 points, and three standard errors of 400 experiments
        assert abs(table.power[name] - hits / study.EXPERIMENTS) < 0.05 + 3 * 0.5 / 20
        assert abs(table.power[name] - kept.predicted[name]) < 3 * 0.5 * np.hypot(1 / 20, 1 / 17)
        assert abs(hits / study.EXPERIMENTS - kept.obtained[name]) < 3 * 0.5 * np.sqrt(2 / 4000)
