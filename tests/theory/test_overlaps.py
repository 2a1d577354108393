"""Overlaps: names, entries, realisability, gauge, and loadings that have exactly S."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import random_overlaps

import predictlearn as pl
from predictlearn.theory.names import hidden_names, recordable_names

pytestmark = pytest.mark.quick

SIZES = [(1, 1, 1), (1, 2, 1), (2, 2, 2), (3, 1, 2)]


def test_rank_one_has_the_ten_published_names_in_order():
    names = ["zm", "zu", "vm", "vu", "mu", "zv", "mm", "uu", "vv", "zz"]
    assert list(random_overlaps(0).names) == names


def test_rank_two_has_twenty_one_names():
    o = random_overlaps(0, 1, 2, 1)
    assert len(o.names) == 21
    assert {"zu1", "v1m", "v1u2", "v2u1", "u1u2", "v1v2", "zv2", "mu1"} <= set(o.names)
    assert len(o.visible()) == 9
    assert len(o.invisible()) == 12


@pytest.mark.parametrize("sizes", SIZES)
def test_every_entry_is_named_once(sizes):
    o = random_overlaps(1, *sizes)
    places = {tuple(sorted(o.index(name))) for name in o.names}
    assert len(places) == len(o.names) == o.dim * (o.dim + 1) // 2
    rebuilt = pl.Overlaps.from_series(o.to_series(), *sizes)
    assert rebuilt == o


@pytest.mark.parametrize("sizes", SIZES)
def test_visible_and_invisible_split_the_table(sizes):
    n_in, rank, n_out = sizes
    o = random_overlaps(1, *sizes)
    assert len(o.visible("linear")) == (rank + n_out) * (n_in + rank)
    bottom = n_in + rank
    assert len(o.visible("erf")) == len(o.visible("linear")) + bottom * (bottom + 1) // 2
    for nonlinearity in ("linear", "erf"):
        assert sorted([*o.visible_names(nonlinearity), *o.invisible_names(nonlinearity)]) == sorted(
            o.names
        )
    assert sorted([*recordable_names(*sizes), *hidden_names(*sizes)]) == sorted(o.names)


def test_names_point_at_inner_products():
    loadings = random_overlaps(2, 2, 2, 1).loadings(30, seed=1)
    o = pl.Overlaps.from_loadings(loadings)
    assert o["v2m1"] == pytest.approx(loadings.v[:, 1] @ loadings.m[:, 0] / 30)
    assert o["zu2"] == pytest.approx(loadings.z[:, 0] @ loadings.u[:, 1] / 30)
    assert o["m1u2"] == pytest.approx(loadings.m[:, 0] @ loadings.u[:, 1] / 30)
    np.testing.assert_allclose(o.block("v", "u"), loadings.v.T @ loadings.u / 30, atol=1e-14)


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("extra", [0, 1, 500])
def test_loadings_have_exactly_the_overlaps(sizes, extra):
    o = random_overlaps(3, *sizes)
    loadings = o.loadings(o.dim + extra, seed=4)
    np.testing.assert_allclose(pl.Overlaps.from_loadings(loadings).matrix, o.matrix, atol=1e-13)
    other = o.loadings(o.dim + extra, seed=5)
    assert not np.allclose(other.m, loadings.m)


def test_singular_overlaps_still_have_loadings():
    matrix = np.ones((4, 4))  # all vectors the same
    loadings = pl.Overlaps(matrix).loadings(20)
    np.testing.assert_allclose(pl.Overlaps.from_loadings(loadings).matrix, matrix, atol=1e-13)
    np.testing.assert_allclose(loadings.m, loadings.z, atol=1e-7)


@pytest.mark.parametrize("name", ["mu", "zv", "vm", "uu", "zz"])
def test_reachable_range_is_where_the_smallest_eigenvalue_vanishes(name):
    o = random_overlaps(4)
    low, high = o.reachable(name)

    def smallest(value):
        matrix = o.matrix.copy()
        i, j = o.index(name)
        matrix[i, j] = matrix[j, i] = value
        return np.linalg.eigvalsh(matrix)[0]

    assert smallest(low + 1e-6) > 0 > smallest(low - 1e-6)
    if name in ("uu", "zz"):
        assert high == np.inf
    else:
        assert smallest(high - 1e-6) > 0 > smallest(high + 1e-6)


@pytest.mark.parametrize("sizes", SIZES)
def test_canonical_gauge_is_reached_from_any_gauge(sizes):
    o = random_overlaps(5, *sizes)
    rank = o.rank
    canonical = o.canonical()
    np.testing.assert_allclose(canonical.block("u", "u"), np.eye(rank), atol=1e-12)
    rng = np.random.default_rng(6)
    turned = o.gauge(rng.normal(size=(rank, rank)) + 2 * np.eye(rank))
    np.testing.assert_allclose(turned.canonical().matrix, canonical.matrix, atol=1e-10)
    np.testing.assert_allclose(
        turned.gauge_invariants(), o.gauge_invariants(), atol=1e-10, rtol=1e-10
    )
    krylov = np.concatenate(
        [np.linalg.matrix_power(canonical.block("v", "u"), k) @ canonical.block("v", "m")
         for k in range(rank)],
        axis=1,
    )  # fmt: skip
    assert krylov[0, 0] > 0
    assert np.abs(krylov[1:, 0]).max(initial=0.0) < 1e-10


def test_gauge_changes_learning_though_not_the_function():
    o = pl.Overlaps(np.eye(4)).replace(zu=0.2, vm=0.2, zm=0.1)
    turned = o.gauge(1.5)
    task, rule = pl.Filter(duration=10.0, dt=0.1), pl.GradientDescent(0.01)
    a, b = pl.learn(o, task, rule, 200), pl.learn(turned, task, rule, 200)
    assert a.losses[0] == pytest.approx(b.losses[0], rel=1e-12)
    assert abs(a.losses - b.losses).max() > 0.02 * a.losses[0]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: pl.Overlaps(np.eye(3)), r"shape \(4, 4\).*got \(3, 3\)"),
        (lambda: pl.Overlaps(np.eye(4) + np.eye(4, k=1)), "symmetric"),
        (lambda: pl.Overlaps(np.diag([1, 1, 1, -0.1])), "smallest eigenvalue is -0.1"),
        (lambda: pl.Overlaps(np.full((4, 4), np.nan)), "finite"),
        (lambda: pl.Overlaps("table"), "numeric array"),
        (lambda: pl.Overlaps(np.eye(4), rank=0), "rank must be a whole number of at least 1"),
        (lambda: random_overlaps(0)["um"], "Did you mean 'mu'"),
        (lambda: random_overlaps(0)["zmm"], "no overlap 'zmm'.*Did you mean 'zm'"),
        (lambda: random_overlaps(0).replace(mu=5.0), "positive semidefinite"),
        (lambda: random_overlaps(0).replace(mu="big"), "mu must be a numeric array"),
        (lambda: random_overlaps(0).loadings(3), "n_neurons must be a whole number of at least 4"),
        (lambda: random_overlaps(0).visible("tahn"), "nonlinearity must be one of"),
        (lambda: random_overlaps(0).gauge(0.0), "invertible"),
        (lambda: random_overlaps(0, 1, 2, 1).gauge(np.eye(3)), r"shape \(2, 2\)"),
        (lambda: random_overlaps(0).block("v", "x"), "one of m, u, v, z; got 'x'"),
        (lambda: pl.Overlaps.from_series({"zm": 1.0}), "missing: zu, vm"),
        (
            lambda: pl.Overlaps.from_loadings(*np.ones((3, 10)), np.ones(9)),
            "z must have the 10 neurons of m; got 9",
        ),
        (lambda: pl.Overlaps(np.diag([1.0, 0.0, 1.0, 1.0])).canonical(), "independent recurrent"),
    ],
)
def test_bad_input_is_refused(make, message):
    with pytest.raises(pl.InputError, match=message):
        make()


def test_a_mistyped_public_name_gets_the_nearest():
    with pytest.raises(AttributeError, match="Did you mean 'Overlaps'"):
        _ = pl.Overlap
