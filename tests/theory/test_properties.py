"""Invariances that hold for every network, searched by Hypothesis."""

from __future__ import annotations

import numpy as np
from conftest import random_overlaps
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from oracles import random_trials

import predictlearn as pl

COMMON = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)
seeds = st.integers(0, 10**6)
sizes = st.tuples(st.integers(1, 2), st.integers(1, 3), st.integers(1, 2))
kinds = st.sampled_from(["linear", "erf"])


def _array_task(seed, n_in, n_out):
    trials = random_trials(seed, n_in, n_out)
    return pl.ArrayTask(trials.inputs, trials.targets, trials.weights / trials.weights.size, 0.2)


@COMMON
@given(seed=seeds, shape=sizes, kind=kinds)
def test_gauge_changes_neither_output_nor_loss(seed, shape, kind):
    o = random_overlaps(seed, *shape)
    q = np.random.default_rng(seed).normal(size=(o.rank, o.rank)) + 2 * np.eye(o.rank)
    if np.linalg.cond(q) > 1e3:
        return
    trials = random_trials(seed, shape[0], shape[2])
    a, b = (pl.simulate(s, trials, kind) for s in (o, o.gauge(q)))
    np.testing.assert_allclose(a.outputs, b.outputs, atol=1e-9)
    np.testing.assert_allclose(a.gain, b.gain, atol=1e-9)


@COMMON
@given(seed=seeds, shape=sizes, kind=kinds)
def test_rotating_the_recurrent_axes_commutes_with_learning(seed, shape, kind):
    """A rotation is the gauge that learning too cannot tell: U and V turn together."""
    o = random_overlaps(seed, *shape)
    q, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(o.rank, o.rank)))
    task, rule = _array_task(seed, shape[0], shape[2]), pl.GradientDescent(0.05)
    turned_then_learned = pl.learn(o.gauge(q), task, rule, 15, kind).final
    learned_then_turned = pl.learn(o, task, rule, 15, kind).final.gauge(q)
    np.testing.assert_allclose(turned_then_learned.matrix, learned_then_turned.matrix, atol=1e-9)


@COMMON
@given(seed=seeds, kind=kinds)
def test_permuting_neurons_changes_nothing(seed, kind):
    loadings = random_overlaps(seed, 1, 2, 1).loadings(25, seed=seed)
    order = np.random.default_rng(seed).permutation(25)
    moved = pl.Loadings(*(getattr(loadings, p)[order] for p in "muvz"))
    task, rule = _array_task(seed, 1, 1), pl.GradientDescent(0.05)
    a, b = (pl.train_network(x, task, rule, 5, kind) for x in (loadings, moved))
    np.testing.assert_allclose(a.array, b.array, atol=1e-11)
    np.testing.assert_allclose(a.loadings.m[order], b.loadings.m, atol=1e-11)


@COMMON
@given(seed=seeds, shape=sizes, kind=kinds, rate=st.floats(1e-3, 0.3))
def test_overlaps_stay_symmetric_and_realisable(seed, shape, kind, rate):
    task = _array_task(seed, shape[0], shape[2])
    rule = pl.GradientDescent(rate, momentum=0.5, target_noise=0.3, weight_decay=0.01)
    t = pl.learn(random_overlaps(seed, *shape), task, rule, 20, kind, seed=seed)
    np.testing.assert_array_equal(t.array, np.swapaxes(t.array, 1, 2))
    eigenvalues = np.linalg.eigvalsh(t.array)
    assert (eigenvalues[:, 0] > -1e-10 * eigenvalues[:, -1]).all()


@COMMON
@given(seed=seeds, kind=kinds, factor=st.floats(0.2, 5.0))
def test_only_the_ratio_of_bin_and_time_constant_matters(seed, kind, factor):
    o, trials = random_overlaps(seed), random_trials(seed)
    slow = pl.Trials(trials.inputs, trials.targets, trials.weights, trials.dt * factor)
    a = pl.simulate(o, trials, kind, tau=1.0)
    b = pl.simulate(o, slow, kind, tau=factor)
    np.testing.assert_allclose(a.outputs, b.outputs, atol=1e-10)


@settings(COMMON, max_examples=12)
@given(seed=seeds, shape=sizes)
def test_linear_flow_conserves_its_invariants(seed, shape):
    task = _array_task(seed, shape[0], shape[2])
    t = pl.learn(random_overlaps(seed, *shape), task, pl.GradientFlow(1e-9, 1e-11), 1.0)
    assert pl.drift(t)["largest"].max() < 1e-6


@settings(COMMON, max_examples=12)
@given(seed=seeds)
def test_erf_flow_conserves_the_recurrent_difference(seed):
    task = _array_task(seed, 1, 1)
    t = pl.learn(random_overlaps(seed, 1, 2, 1), task, pl.GradientFlow(1e-9, 1e-11), 1.0, "erf")
    assert pl.drift(t)["largest"].max() < 1e-6


@COMMON
@given(seed=seeds, shape=sizes)
def test_loadings_have_exactly_their_overlaps(seed, shape):
    o = random_overlaps(seed, *shape)
    np.testing.assert_allclose(
        pl.Overlaps.from_loadings(o.loadings(o.dim + 3, seed=seed)).matrix, o.matrix, atol=1e-12
    )
