"""Statistical size, power and coverage of every test that is shipped, by seeded simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from predictlearn import statistics as st


def rate(test, draw, runs, seed):
    """Return the share of simulated data sets in which the test is significant at 0.05."""
    rng = np.random.default_rng(seed)
    return np.mean([test(*draw(rng)) < 0.05 for _ in range(runs)])


def band(p, runs):
    """Return four standard errors of a share."""
    return 4 * math.sqrt(p * (1 - p) / runs)


def paired(shift, n=10):
    """Return a generator of paired data with a common component and a mean difference."""

    def draw(rng):
        common = rng.normal(size=n)
        return common + rng.normal(shift, 0.7, n), common + rng.normal(0.0, 0.7, n)

    return draw


def two(shift, n1=8, n2=12, sd=2.0):
    """Return a generator of two samples of unequal size and variance."""
    return lambda rng: (rng.normal(shift, 1.0, n1), rng.normal(0.0, sd, n2))


RUNS = 400


def slow(value):
    """Leave out of the default run what test_statistics.py holds against others, p by p."""
    return pytest.param(value, marks=pytest.mark.slow)


@pytest.mark.parametrize("method", [slow("t"), slow("wilcoxon"), slow("permutation")])
def test_paired_size_and_power(method):
    def p(x, y):
        return st.paired_comparison(x, y, method=method, n_resamples=1023).p

    size = rate(p, paired(0.0), RUNS, 1)
    assert size <= 0.05 + band(0.05, RUNS)
    assert size >= 0.01  # a test that never rejects has no business here
    effect = 1.0 / (0.7 * math.sqrt(2))
    from statsmodels.stats.power import TTestPower

    expected = TTestPower().power(effect, 10, 0.05)
    got = rate(p, paired(1.0), RUNS, 2)
    slack = 0.0 if method == "t" else 0.06
    assert abs(got - expected) <= band(expected, RUNS) + slack


@pytest.mark.parametrize("method", ["welch", "permutation"])
def test_two_sample_size_and_power_with_unequal_variances(method):
    def p(x, y):
        return st.two_sample_comparison(x, y, method=method, n_resamples=399).p

    assert rate(p, two(0.0), RUNS, 3) <= 0.05 + band(0.05, RUNS) + 0.01
    assert rate(p, two(2.5), RUNS, 4) > 0.75


def test_equal_variance_test_would_fail_where_ours_holds():
    # the reason for Welch and for studentising: the small sample is the variable one
    def pooled(x, y):
        return stats.ttest_ind(x, y).pvalue

    def ours(x, y):
        return st.two_sample_comparison(x, y, n_resamples=99).p

    draw = two(0.0, n1=20, n2=6, sd=4.0)
    assert rate(pooled, draw, 600, 5) > 0.12
    assert rate(ours, draw, 600, 5) < 0.05 + band(0.05, 600)


def test_raw_permutation_functions_size():
    def mean_gap(x, y):
        return x.mean(-1) - y.mean(-1)

    def p(x, y):
        return st.permutation_test(x, y, statistic=mean_gap, n_resamples=199)[1]

    assert rate(p, two(0.0, 7, 7, 1.0), RUNS, 6) <= 0.05 + band(0.05, RUNS)


@pytest.mark.parametrize("design", [slow("paired"), slow("two-sample")])
def test_equivalence_size_at_the_bound_and_power(design):
    if design == "paired":

        def p(x, y):
            return st.equivalence_paired(x, y, 1.0).p

        def draw(shift):
            return paired(shift, 12)
    else:

        def p(x, y):
            return st.equivalence_two_sample(x, y, 1.0).p

        def draw(shift):
            return two(shift, 14, 14, 1.0)

    assert rate(p, draw(1.0), 600, 7) <= 0.05 + band(0.05, 600)
    assert rate(p, draw(-1.0), 600, 8) <= 0.05 + band(0.05, 600)
    sd = 0.7 * math.sqrt(2) if design == "paired" else 1.0
    n = 12 if design == "paired" else 14
    expected = st.equivalence_power(n, 1.0, sd, design=design)
    got = rate(p, draw(0.0), 600, 9)
    assert got == pytest.approx(expected, abs=band(expected, 600) + 0.02)


def test_holm_controls_the_family_and_bh_the_false_share():
    rng = np.random.default_rng(10)
    runs, nulls, real = 2000, 8, 4
    null_p = rng.uniform(size=(runs, nulls))
    real_p = stats.norm.sf(rng.normal(3.0, 1.0, (runs, real)))
    any_false, false_share, uncorrected = 0, 0.0, 0
    for a, b in zip(null_p, real_p, strict=True):
        p = np.concatenate([a, b])
        any_false += (st.correct_p(p, method="holm")[:nulls] < 0.05).any()
        bh = st.correct_p(p, method="fdr_bh") < 0.05
        false_share += bh[:nulls].sum() / max(1, bh.sum())
        uncorrected += (a < 0.05).any()
    assert any_false / runs <= 0.05 + band(0.05, runs)
    assert false_share / runs <= 0.05 + band(0.05, runs)
    assert uncorrected / runs > 0.25


@pytest.mark.parametrize("kind", ["dz", "dav"])
def test_paired_effect_interval_covers(kind):
    rng = np.random.default_rng(11)
    shift, own, common = 0.9, 0.7, 1.0
    sd = own * math.sqrt(2) if kind == "dz" else math.hypot(own, common)
    hits = 0
    for _ in range(RUNS):
        base = rng.normal(0.0, common, 9)
        x, y = base + rng.normal(shift, own, 9), base + rng.normal(0.0, own, 9)
        effect = st.paired_effect(x, y, kind=kind)
        hits += effect.low <= shift / sd <= effect.high
    # dz is exact; dav takes the correlation as known (Algina & Keselman) and covers a little less
    assert abs(hits / RUNS - 0.95) <= band(0.95, RUNS) + (0.0 if kind == "dz" else 0.02)


def test_hedges_g_interval_covers():
    rng = np.random.default_rng(12)
    hits = 0
    for _ in range(RUNS):
        effect = st.two_sample_effect(rng.normal(1.2, 1.0, 7), rng.normal(0.0, 1.0, 10))
        hits += effect.low <= 1.2 <= effect.high
    assert abs(hits / RUNS - 0.95) <= band(0.95, RUNS)


def test_bca_covers_a_skewed_mean():
    rng = np.random.default_rng(13)
    hits = 0
    for seed in range(RUNS):
        low, high = st.bca_interval(rng.exponential(size=30), n_resamples=499, seed=seed)
        hits += low <= 1.0 <= high
    assert 0.87 < hits / RUNS < 0.97


def ar_series(rng, n, phi):
    """Return a stationary AR(1) series of unit innovation."""
    from scipy.signal import lfilter

    noise = rng.normal(size=n + 100)
    return lfilter([1.0], [1.0, -phi], noise)[100:]


@pytest.mark.parametrize(
    ("phi", "least", "interval"),
    [(0.0, 0.92, "t"), (0.5, 0.91, "t"), (0.7, 0.88, "t"), (0.5, 0.86, "percentile")],
)
def test_block_bootstrap_covers_under_serial_correlation(phi, least, interval):
    rng = np.random.default_rng(14)
    runs, hits, naive = 300, 0, 0
    for seed in range(runs):
        x = ar_series(rng, 400, phi)
        _, low, high = st.block_bootstrap(
            x, block=20, n_resamples=199, interval=interval, seed=seed
        )
        hits += low <= 0.0 <= high
        half = 1.96 * x.std(ddof=1) / 20
        naive += abs(x.mean()) <= half
    assert hits / runs >= least
    if phi >= 0.5:
        assert naive / runs < 0.85  # ignoring the correlation would not do


def test_block_bootstrap_error_of_a_mean_matches_theory():
    x = ar_series(np.random.default_rng(15), 4000, 0.5)
    _, low, high = st.block_bootstrap(x, block=40, n_resamples=999, level=0.6827, seed=2)
    assert (high - low) / 2 == pytest.approx(2 / math.sqrt(4000), rel=0.15)  # 1 / (1 - phi)


@pytest.mark.parametrize("circular", [True, False])
def test_block_indices_are_runs(circular):
    index = st.block_indices(50, 10, 200, circular=circular, seed=1)
    steps = np.diff(index.reshape(200, 5, 10), axis=2)
    assert set(np.unique(steps % 50)) == {1}
    assert (steps == 1).all() != circular
    if circular:
        counts = np.bincount(index.ravel(), minlength=50)
        assert counts.min() > 0.6 * counts.mean()


def test_suggested_block_grows_with_correlation():
    rng = np.random.default_rng(16)
    sizes = [
        np.median([st.suggested_block(ar_series(rng, 600, phi)) for _ in range(20)])
        for phi in (0.0, 0.5, 0.8)
    ]
    assert sizes[0] <= 5
    assert sizes[0] < sizes[1] < sizes[2]
    assert st.suggested_block(np.ones(30)) == 1


def test_vector_statistic_of_the_block_bootstrap():
    x = np.random.default_rng(17).normal([0.0, 3.0], 1.0, (300, 2))
    estimate, low, high = st.block_bootstrap(x, block=15, seed=3)
    assert estimate.shape == low.shape == (2,)
    _, one_low, _ = st.block_bootstrap(x[:, 1], block=15, seed=3)
    assert low[1] == pytest.approx(one_low)
    rms, low, high = st.block_bootstrap(
        x, lambda s: np.sqrt((s**2).mean(axis=1)), block=15, interval="basic", seed=3
    )
    assert (low < rms).all()
    assert (rms < high).all()
