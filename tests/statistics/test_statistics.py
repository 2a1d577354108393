"""Statistics: agreement with references, labelled edge cases, refusals."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestIndPower, TTestPower
from statsmodels.stats.weightstats import ttost_ind, ttost_paired

from predictlearn import statistics as st
from predictlearn.errors import InputError

pytestmark = pytest.mark.quick

RNG = np.random.default_rng(20)
X = RNG.normal(1.0, 1.0, 12)
Y = X + RNG.normal(-0.5, 0.7, 12)
Z = RNG.normal(0.4, 1.6, 9)


def test_paired_agrees_with_scipy():
    result = st.paired_comparison(X, Y, seed=3)
    reference = stats.ttest_rel(X, Y)
    ci = reference.confidence_interval(0.95)
    assert result.p == pytest.approx(reference.pvalue, rel=1e-12)
    assert result.statistic == pytest.approx(reference.statistic, rel=1e-12)
    assert result.interval == pytest.approx((ci.low, ci.high), rel=1e-12)
    assert result["p_wilcoxon"] == pytest.approx(stats.wilcoxon(X, Y).pvalue)
    flips = stats.permutation_test(
        (X - Y,), np.mean, permutation_type="samples", n_resamples=np.inf, axis=0
    )
    assert result["p_permutation"] == pytest.approx(flips.pvalue, rel=1e-12)
    assert result.n == (12,)


@pytest.mark.parametrize("method", ["t", "wilcoxon", "permutation"])
def test_paired_method_is_the_one_named(method):
    result = st.paired_comparison(X, Y, method=method)
    assert result.p == result[f"p_{method}"]


def test_bca_agrees_with_scipy():
    d = np.random.default_rng(5).exponential(size=25)
    low, high = st.bca_interval(d, n_resamples=40_000, seed=1)
    reference = stats.bootstrap(
        (d,),
        np.mean,
        n_resamples=40_000,
        method="BCa",
        random_state=np.random.default_rng(2),
    ).confidence_interval
    assert low == pytest.approx(reference.low, abs=0.015)
    assert high == pytest.approx(reference.high, abs=0.015)
    # skewed data: the interval reaches further on the side of the long tail than the t interval
    assert high - d.mean() > d.mean() - low


def test_two_sample_agrees_with_scipy():
    result = st.two_sample_comparison(X, Z)
    reference = stats.ttest_ind(X, Z, equal_var=False)
    ci = reference.confidence_interval(0.95)
    assert result.p == pytest.approx(reference.pvalue, rel=1e-12)
    assert result.interval == pytest.approx((ci.low, ci.high), rel=1e-12)
    assert result.n == (12, 9)


def test_permutation_enumerates_all_relabellings():
    x, y = X[:5], Z[:4]

    def gap(a, b):
        return a.mean(-1) - b.mean(-1)

    seen, p, exact = st.permutation_test(x, y, statistic=gap)
    reference = stats.permutation_test(
        (x, y), lambda a, b, axis: a.mean(axis) - b.mean(axis), n_resamples=np.inf, vectorized=True
    )
    assert exact
    assert seen == pytest.approx(reference.statistic)
    assert p == pytest.approx(np.mean(np.abs(reference.null_distribution) >= abs(seen) - 1e-12))


def test_permutation_monte_carlo_is_seeded_and_never_zero():
    x, y = np.arange(20.0), np.arange(20.0) + 100
    first = st.permutation_test(x, y, n_resamples=199, seed=4)
    assert first == st.permutation_test(x, y, n_resamples=199, seed=4)
    assert first[1] == 1 / 200
    assert not first[2]


@pytest.mark.parametrize("alternative", ["greater", "less"])
def test_sign_flip_one_sided_agrees_with_scipy(alternative):
    d = (X - Y)[:9]
    _, p, exact = st.sign_flip_test(d, alternative=alternative)
    reference = stats.permutation_test(
        (d,),
        np.mean,
        permutation_type="samples",
        n_resamples=np.inf,
        alternative=alternative,
        axis=0,
    )
    assert exact
    assert p == pytest.approx(reference.pvalue)


def test_noncentrality_interval_inverts_scipy():
    low, high = st.noncentrality_interval(2.5, 14, 0.9)
    assert stats.nct.sf(2.5, 14, low) == pytest.approx(0.05, abs=1e-7)
    assert stats.nct.cdf(2.5, 14, high) == pytest.approx(0.05, abs=1e-7)
    # sides are mirror images, and the two quadratures join smoothly
    assert st.noncentrality_interval(-2.5, 14, 0.9) == pytest.approx((-high, -low))
    below, above = st.noncentrality_interval(24.9999, 6), st.noncentrality_interval(25.0001, 6)
    assert below == pytest.approx(above, rel=1e-4)
    # far out s carries all the spread: the ends are t times quantiles of s
    ends = st.noncentrality_interval(1e5, 9)
    assert ends == pytest.approx(1e5 * np.sqrt(stats.chi2.ppf([0.025, 0.975], 9) / 9), rel=1e-3)


def test_hedges_correction_unbiased_and_formula():
    assert st.hedges_correction(50) == pytest.approx(1 - 3 / (4 * 50 - 1), abs=1e-4)
    d = np.random.default_rng(1).normal(0.8, 1.0, (100_000, 6))
    raw = d.mean(1) / d.std(1, ddof=1)
    assert st.hedges_correction(5) * raw.mean() == pytest.approx(0.8, abs=0.01)
    assert abs(raw.mean() - 0.8) > 0.1


def test_dav_uses_the_average_variance():
    effect = st.paired_effect(X, Y, kind="dav")
    unit = math.sqrt((X.var(ddof=1) + Y.var(ddof=1)) / 2)
    assert effect.value == pytest.approx(st.hedges_correction(11) * (X - Y).mean() / unit)
    assert effect.low < effect.value < effect.high


def test_equivalence_agrees_with_statsmodels():
    paired = st.equivalence_paired(X, Y, (-1.2, 1.0))
    p, low, high = ttost_paired(X, Y, -1.2, 1.0)
    assert paired.p == p
    assert (paired["p_above_low_bound"], paired["p_below_high_bound"]) == (low[1], high[1])
    independent = st.equivalence_two_sample(X, Z, 1.5)
    p, low, high = ttost_ind(X, Z, -1.5, 1.5, usevar="unequal")
    assert independent.p == pytest.approx(p)
    pooled = st.equivalence_two_sample(X, Z, 1.5, variances="pooled")
    assert pooled.p == pytest.approx(ttost_ind(X, Z, -1.5, 1.5, usevar="pooled")[0])


@pytest.mark.parametrize("seed", range(20))
def test_equivalence_and_its_interval_agree(seed):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=8)
    y = x + rng.normal(0.2, 0.6, 8)
    paired = st.equivalence_paired(x, y, 0.6)
    inside = paired.interval[0] > -0.6 and paired.interval[1] < 0.6
    assert (paired.verdict == "equivalent") == inside
    independent = st.equivalence_two_sample(x, y, 1.0)
    inside = independent.interval[0] > -1.0 and independent.interval[1] < 1.0
    assert (independent.verdict == "equivalent") == inside


def test_not_significant_is_not_equivalent():
    x, y = np.array([0.0, 1.0, 2.0, 3.0]), np.array([1.0, 0.0, 3.5, 1.0])
    assert st.paired_comparison(x, y).verdict == "not shown to differ"
    assert st.equivalence_paired(x, y, 0.5).verdict == "not shown equivalent"


@pytest.mark.parametrize(("offset", "p", "effect"), [(0.0, 1.0, 0.0), (2.0, 2.0**-5, math.inf)])
def test_identical_differences_are_labelled(offset, p, effect):
    x = np.array([1.0, 2.5, 3.0, 4.0, 9.0, 2.0])
    result = st.paired_comparison(x + offset, x)
    assert result.p == p
    assert result.effect == effect
    assert result.estimate == offset
    assert result.interval == (offset, offset)
    assert "spread is zero" in result.degenerate
    assert "Note" in result.statement


def test_rounding_counts_as_identical():
    x = np.linspace(0.1, 0.9, 7)
    result = st.paired_comparison(x + 0.3, x)
    assert result.degenerate
    assert result.effect == math.inf
    assert st.paired_comparison(-x - 0.3, -x).effect == -math.inf


def test_identical_differences_equivalence():
    x = np.array([1.0, 2.0, 4.0, 3.0])
    inside = st.equivalence_paired(x, x, 0.1)
    assert inside.p == 2.0**-4
    assert inside.verdict == "not shown equivalent"  # four pairs cannot reach p < 0.05 this way
    assert st.equivalence_paired(np.tile(x, 2), np.tile(x, 2), 0.1).verdict == "equivalent"
    outside = st.equivalence_paired(x + 1, x, 0.1)
    assert outside.p == 1.0
    assert outside.degenerate


def test_constant_samples_are_labelled():
    same = st.two_sample_comparison([2.0, 2.0, 2.0], [2.0, 2.0, 2.0])
    assert (same.p, same.effect) == (1.0, 0.0)
    apart = st.two_sample_comparison([2.0] * 4, [1.0] * 4)
    assert apart.effect == math.inf
    assert apart.p == 2 / math.comb(8, 4)
    assert st.equivalence_two_sample([2.0] * 4, [2.0] * 4, 0.1).p == 1 / math.comb(8, 4)
    one_flat = st.two_sample_comparison([2.0, 2.0, 2.0], [1.0, 1.5, 0.5])
    assert not one_flat.degenerate
    assert math.isfinite(one_flat.effect)


BAD_PAIRS = [
    ([1.0], [2.0], "at least 2 pairs; got 1"),
    ([], [], "at least 2 pairs; got 0"),
    ([1.0, 2.0], [1.0, 2.0, 3.0], "equal length; got 2 and 3"),
    ([1.0, math.nan], [1.0, 2.0], "first must be finite"),
    ([1.0, 2.0], [math.inf, 2.0], "second must be finite"),
    ([[1.0, 2.0]], [1.0, 2.0], "first must have 1 axes"),
    (["a", "b"], [1.0, 2.0], "first must be a numeric array"),
]


@pytest.mark.parametrize(("first", "second", "message"), BAD_PAIRS)
def test_paired_refuses(first, second, message):
    with pytest.raises(InputError, match=message):
        st.paired_comparison(first, second)
    with pytest.raises(InputError, match=message):
        st.equivalence_paired(first, second, 1.0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: st.paired_comparison(X, Y, method="ttest"), "Did you mean|method must be one of"),
        (lambda: st.paired_comparison(X, Y, level=95), "level must be a number between 0 and 1"),
        (lambda: st.two_sample_comparison([1.0], [1.0, 2.0]), "at least 2 values in each"),
        (lambda: st.equivalence_paired(X, Y, -1.0), "bounds must be"),
        (lambda: st.equivalence_paired(X, Y, (1.0, 0.0)), "bounds must be"),
        (lambda: st.equivalence_paired(X, Y, "wide"), "bounds must be"),
        (lambda: st.correct_p([0.1, math.nan]), "without NaN"),
        (lambda: st.correct_p([]), "non-empty"),
        (lambda: st.correct_p([0.1], method="bonferoni"), "method must be one of"),
        (lambda: st.family_table([], family="none"), "at least one test"),
        (lambda: st.animals_needed(0.0), "other than zero"),
        (lambda: st.animals_needed(math.nan), "other than zero"),
        (lambda: st.animals_needed(1e-5), "more than 100000"),
        (lambda: st.animals_needed_equivalence(1.0, 1.0, difference=1.5), "inside"),
        (lambda: st.block_indices(10, 11, 2), "at most the length"),
        (lambda: st.block_bootstrap(np.arange(10.0), block=8), "at least 2 needed"),
        (lambda: st.suggested_block([1.0, 2.0]), "at least 10"),
        (lambda: st.bca_interval([1.0]), "at least 2"),
    ],
)
def test_refusals(call, message):
    with pytest.raises(InputError, match=message):
        call()


@pytest.mark.parametrize("method", ["holm", "fdr_bh"])
def test_correction_agrees_with_statsmodels(method):
    p = np.array([0.01, 0.2, 0.03, 0.004, 0.9])
    assert st.correct_p(p, method=method) == pytest.approx(multipletests(p, method=method)[1])
    assert np.array_equal(st.correct_p(p, method="none"), p)


def test_family_table_holds_every_test():
    tests = [
        st.paired_comparison(X, Y, name="a"),
        st.equivalence_paired(X, Y, 1.0, name="b"),
        st.two_sample_comparison(X, Z, name="c"),
    ]
    table = st.family_table(tests, family="mixed")
    assert list(table["name"]) == ["a", "b", "c"]
    assert (table["p_corrected"] >= table["p"]).all()
    assert (table["family_size"] == 3).all()
    assert table.loc[1, "high_bound"] == 1.0
    assert table["estimate"].dtype == float


@pytest.mark.parametrize("effect", [0.3, 0.8, 1.5, -1.5])
@pytest.mark.parametrize("design", ["paired", "two-sample"])
def test_animals_needed_is_the_smallest(effect, design):
    needed = st.animals_needed(effect, design=design)
    power = TTestPower().power if design == "paired" else TTestIndPower().power
    assert power(abs(effect), needed.n, 0.05) >= 0.8
    assert power(abs(effect), needed.n - 1, 0.05) < 0.8
    assert needed.power == pytest.approx(power(abs(effect), needed.n, 0.05))
    assert needed.total == needed.n * (1 if design == "paired" else 2)


def test_animals_needed_for_an_infinite_effect():
    assert st.animals_needed(math.inf).n == 2
    assert st.animals_needed(-math.inf, design="two-sample").total == 4


@pytest.mark.parametrize("design", ["paired", "two-sample"])
def test_equivalence_power_against_simulation(design):
    rng = np.random.default_rng(3)
    n, margin, runs = 12, 0.9, 40_000
    if design == "paired":
        d = rng.normal(0.2, 1.0, (runs, n))
        mean, error, df = d.mean(1), d.std(1, ddof=1) / math.sqrt(n), n - 1
    else:
        a, b = rng.normal(0.2, 1.0, (runs, n)), rng.normal(0.0, 1.0, (runs, n))
        mean, df = a.mean(1) - b.mean(1), 2 * n - 2
        error = np.sqrt((a.var(1, ddof=1) + b.var(1, ddof=1)) / n)
    half = stats.t.ppf(0.95, df) * error
    share = np.mean((mean - half > -margin) & (mean + half < margin))
    exact = st.equivalence_power(n, margin, 1.0, difference=0.2, design=design)
    assert exact == pytest.approx(share, abs=4 * math.sqrt(0.25 / runs))


def test_results_are_frozen_and_reproducible():
    result = st.paired_comparison(X, Y, seed=1)
    with pytest.raises(AttributeError):
        result.p = 0.0
    assert result == st.paired_comparison(X, Y, seed=1)
    assert result.to_series()["bca_low"] == result["bca_low"]


VALUES = some.lists(
    some.floats(-100, 100, allow_subnormal=False).map(lambda v: round(v, 3)), min_size=5, max_size=9
)


@settings(max_examples=40, deadline=None)
@given(VALUES, some.floats(0.01, 100), some.integers(0, 2**16))
def test_comparisons_are_antisymmetric_and_free_of_units(values, unit, seed):
    x = np.array(values)
    y = x + np.random.default_rng(seed).normal(0.3, 1.0, x.size)
    one, other = st.paired_comparison(x, y, seed=1), st.paired_comparison(y, x, seed=1)
    scaled = st.paired_comparison(unit * x, unit * y, seed=1)
    assert one.estimate == pytest.approx(-other.estimate)
    assert one.effect == pytest.approx(-other.effect)
    assert one.p == pytest.approx(other.p)
    assert one["p_permutation"] == other["p_permutation"]
    assert scaled.p == pytest.approx(one.p, rel=1e-6)
    assert scaled.effect == pytest.approx(one.effect, rel=1e-6)
    assert one.effect_interval[0] <= one.effect_interval[1]
    two, back = st.two_sample_comparison(x, y), st.two_sample_comparison(y, x)
    assert two.p == pytest.approx(back.p)
    assert two.interval == pytest.approx((-back.interval[1], -back.interval[0]))
    assert 0 <= two.p <= 1


@settings(max_examples=40, deadline=None)
@given(some.integers(0, 2**16), some.floats(0.05, 2.0), some.floats(1.0, 3.0))
def test_wider_bounds_are_easier(seed, margin, factor):
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=7), rng.normal(size=7)
    assert st.equivalence_paired(x, y, factor * margin).p <= st.equivalence_paired(x, y, margin).p


@settings(max_examples=60, deadline=None)
@given(some.lists(some.floats(0, 1), min_size=1, max_size=12))
def test_corrected_p_values_are_ordered_and_never_smaller(p):
    values = np.array(p)
    for method in ("holm", "fdr_bh"):
        corrected = st.correct_p(values, method=method)
        assert (corrected >= values - 1e-15).all()
        assert (corrected <= 1).all()
        assert (np.diff(corrected[np.argsort(values, kind="stable")]) >= -1e-15).all()
    assert (st.correct_p(values) >= st.correct_p(values, method="fdr_bh") - 1e-15).all()
