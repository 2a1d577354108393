"""The parts of the fit: rollout and its derivative, normal equations, gauge."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from conftest import random_overlaps

import predictlearn as pl
from predictlearn.errors import MisfitWarning, OffsetWarning, UndeterminedWarning
from predictlearn.fitting import LowRankRNN
from predictlearn.fitting.evaluation.ceiling import condition_mean_ceiling, trial_folds
from predictlearn.fitting.session.dynamics import Dynamics, Layout
from predictlearn.fitting.session.loading_moments import divergence, invert, sampling_precision
from predictlearn.fitting.session.overlap_table import Raw, canonical, invariants, named
from predictlearn.fitting.session.rollout import predicted
from predictlearn.fitting.session.search.data import Data
from predictlearn.fitting.session.search.levenberg_marquardt import (
    Problem,
    evaluate,
    free_directions,
    solve,
    whiten,
)
from predictlearn.fitting.session.search.regression import blocks, trial_scores
from predictlearn.recordings import load_simulated_learning


def setup(erf, seed=0, n_in=2, rank=2, fit=True):
    rng = np.random.default_rng(seed)
    layout = Layout(n_in, rank, erf, fit, fit)
    a = rng.normal(size=(n_in + rank, n_in + rank))
    theta = layout.pack(
        rng.normal(size=(rank, n_in)), 0.5 * rng.normal(size=(rank, rank)), a @ a.T / 4, 0.7, 0.13
    )
    dynamics = Dynamics(rng.normal(size=(5, 30, n_in)), 0.1, layout, 0.7, 0.13)
    return rng, layout, theta, dynamics


@pytest.mark.parametrize("nonlinearity", ["linear", "erf"])
@pytest.mark.parametrize(("n_in", "rank"), [(1, 1), (2, 1), (1, 3)])
def test_rollout_is_that_of_the_theory(nonlinearity, n_in, rank):
    o = random_overlaps(3, n_in, rank)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(4, 25, n_in))
    blank = np.zeros((4, 25, 1))
    theory = pl.simulate(o, pl.Trials(x, blank, blank, dt=0.1), nonlinearity, tau=0.8)
    layout = Layout(n_in, rank, nonlinearity == "erf")
    base = n_in + rank
    theta = layout.pack(o.block("v", "m"), o.block("v", "u"), o.matrix[:base, :base])
    dynamics = Dynamics(x, 0.1, layout, 0.8)
    k, _ = dynamics.roll(theta)
    assert np.allclose(k[:n_in], np.moveaxis(theory.k_m, 2, 0), atol=1e-12)
    assert np.allclose(k[n_in:], np.moveaxis(theory.k_u, 2, 0), atol=1e-12)
    assert np.allclose(dynamics.gain(theta, k), theory.gain, atol=1e-12)


@pytest.mark.parametrize("erf", [False, True])
def test_rollout_derivative(erf):
    _, layout, theta, dynamics = setup(erf)
    _, dk = dynamics.roll(theta)
    for j in range(layout.size):
        step = np.zeros(layout.size)
        step[j] = 1e-5
        slope = (dynamics.roll(theta + step)[0] - dynamics.roll(theta - step)[0]) / 2e-5
        assert np.allclose(slope, dk[:, j], atol=1e-7)


def test_latency_delays_the_inputs():
    _, _, theta, dynamics = setup(False)
    x = dynamics.inputs
    whole, _ = dynamics.delayed(0.2)
    assert np.allclose(whole[:, 2:], x[:, :-2])
    assert (whole[:, :2] == 0).all()
    part, _ = dynamics.delayed(0.125)
    assert np.allclose(part[:, 2:], 0.75 * x[:, 1:-1] + 0.25 * x[:, :-2])
    assert np.allclose(dynamics.delayed(0.0)[0], x)
    assert dynamics.times(theta) == pytest.approx((0.7, 0.13))


@pytest.mark.parametrize("erf", [False, True])
def test_gauge_moves_no_current(erf):
    rng, layout, theta, dynamics = setup(erf)
    q = rng.normal(size=(2, 2))
    k = dynamics.roll(theta)[0]
    moved = dynamics.roll(layout.regauge(theta, q))[0]
    assert np.allclose(moved[:2], k[:2])
    assert np.allclose(np.einsum("ab,bpt->apt", q, moved[2:]), k[2:])
    small = 1e-6 * rng.normal(size=(2, 2))
    change = (layout.regauge(theta, np.eye(2) + small) - theta) / 1e-6
    assert np.allclose(change, layout.tangents(theta) @ (small.ravel() / 1e-6), atol=1e-4)
    assert np.allclose(free_directions(layout, theta).T @ layout.tangents(theta), 0, atol=1e-12)


def problem(saturating, masked, offset=True, gain=False):
    rng, layout, theta, dynamics = setup(saturating)
    y = rng.normal(size=(5, 30, 6))
    if masked:
        y[0, 3:7] = np.nan
        y[2, :, 1] = np.nan
        y[4, 5, 2] = np.nan
    data = Data.from_activity(y, offset=offset, gain=gain, saturating=saturating, ridge=None)
    k, dk = (data.flatten(a) for a in dynamics.roll(theta))
    return rng, layout, theta, dynamics, data, k, dk


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(
    ("saturating", "offset", "gain"),
    [(False, True, False), (False, False, False), (True, True, True), (True, False, False)],
)
def test_normal_equations_against_brute_force(saturating, offset, gain, masked):
    rng, layout, theta, dynamics, data, k, dk = problem(saturating, masked, offset, gain)
    phi = None
    if saturating:
        phi = 0.5 * rng.normal(size=(6, data.n_lead + 4))
    at = blocks(data, layout, k, dk, phi)

    def residual(theta, phi, i):
        rolled = data.flatten(dynamics.roll(theta)[0])
        r = data.activity[i] - predicted(data, rolled, phi)[i]
        return r if data.seen is None else r * data.seen[i]

    for i in range(6):
        columns = []
        for a in range(at.phi.shape[1]):
            step = np.zeros_like(at.phi)
            step[i, a] = 1e-5
            up, down = residual(theta, at.phi + step, i), residual(theta, at.phi - step, i)
            columns.append((down - up) / 2e-5)
        for j in range(layout.size):
            step = np.zeros(layout.size)
            step[j] = 1e-5
            up, down = residual(theta + step, at.phi, i), residual(theta - step, at.phi, i)
            columns.append((down - up) / 2e-5)
        jac = np.stack(columns)
        r = residual(theta, at.phi, i)
        p = at.phi.shape[1]
        normal = jac @ jac.T
        assert np.allclose(at.inner[i], normal[:p, :p], atol=1e-5)
        assert np.allclose(at.cross[i], normal[:p, p:], atol=1e-5)
        assert np.allclose(at.outer(np.eye(6)[i]), normal[p:, p:], atol=1e-5)
        assert np.allclose(at.slope_phi[i], jac[:p] @ r, atol=1e-5)
        assert np.allclose(at.slope_theta[i], jac[p:] @ r, atol=1e-5)
        assert at.squares[i] == pytest.approx(r @ r)
    scores = trial_scores(data, layout, k, dk, at.phi)
    assert np.allclose(scores.sum(axis=0)[:, p:], at.slope_theta, atol=1e-8)
    assert np.allclose(scores.sum(axis=0)[:, :p], at.slope_phi, atol=1e-8)


def test_threads_change_nothing():
    rng, layout, _, _, data, k, dk = problem(True, True)
    phi = 0.5 * rng.normal(size=(6, data.n_lead + 4))
    one = blocks(data, layout, k, dk, phi)
    object.__setattr__(data, "threads", 3)
    three = blocks(data, layout, k, dk, phi)
    assert np.array_equal(one.inner, three.inner)
    assert np.array_equal(one.slope_theta, three.slope_theta)
    weights = rng.uniform(1, 2, 6)
    assert np.array_equal(one.outer(weights), three.outer(weights))
    assert one.outer(2 * weights) == pytest.approx(2 * one.outer(weights), rel=1e-12)


@pytest.mark.parametrize("saturating", [False, True])
def test_a_glance_is_as_good_as_the_whole(saturating):
    _, _, theta, dynamics, data, _, _ = problem(saturating, True, True, saturating)
    phi = np.full((6, data.n_lead + 4), 0.3)
    fit = Problem(data, dynamics, True)
    whole, glance = evaluate(fit, theta, phi), evaluate(fit, theta, phi, slopes=False)
    assert glance.cross.shape == (6, data.n_lead + 4, 0)
    for name in ("phi", "inner", "slope_phi", "squares", "penalty"):
        assert getattr(glance, name) == pytest.approx(getattr(whole, name), rel=1e-12)


def test_ridge_shrinks_and_collinear_inputs_are_held():
    _, layout, _, _, data, k, dk = problem(False, False)
    free = blocks(data, layout, k, dk, None)
    object.__setattr__(data, "ridge", 1.0)
    held = blocks(data, layout, k, dk, None)
    assert (np.abs(held.phi[:, 1:]).sum(axis=1) < np.abs(free.phi[:, 1:]).sum(axis=1)).all()
    object.__setattr__(data, "ridge", None)
    double = k.copy()
    double[1] = double[0]
    twice = blocks(data, layout, double, dk, None)
    assert np.isfinite(twice.phi).all()
    assert np.allclose(twice.phi[:, 1], twice.phi[:, 2], atol=1e-4)


def test_moments_precision_against_monte_carlo():
    layout = Layout(1, 1, True)
    s = np.array([[1.5, 0.4], [0.4, 0.8]])
    rng = np.random.default_rng(0)
    draws = rng.multivariate_normal(np.zeros(2), s, size=(4000, 50))
    moments = np.einsum("dia,dib->dab", draws, draws)[:, *layout.triangle] / 50
    precision = sampling_precision(layout, draws.reshape(-1, 2)[:50_000], True) / 50_000 * 50
    assert np.allclose(precision @ np.cov(moments.T), np.eye(3), atol=0.1)


def test_noise_free_rates_are_recovered_exactly():
    rng, layout, theta, dynamics = setup(False, rank=1, n_in=1)
    k = dynamics.roll(theta)[0]
    y = np.einsum("cpt,ic->pti", k, rng.normal(size=(8, 2)))
    data = Data.from_activity(y, offset=False, gain=False, saturating=False, ridge=None)
    p = Problem(data, dynamics, True)
    start = whiten(p, theta + np.array([0.3, -0.2, 0.1, 0.02]))[0]
    end = solve(p, start, None, 60, 1e-6)
    assert end.converged
    assert layout.unpack(end.theta)[1] == pytest.approx(layout.unpack(theta)[1], abs=1e-6)
    assert dynamics.times(end.theta) == pytest.approx((0.7, 0.13), abs=1e-6)


def test_canonical_form_is_that_of_overlaps():
    o = random_overlaps(5, 2, 2, 1)
    base = 4
    raw = Raw(
        o.block("v", "m"),
        o.block("v", "u"),
        o.matrix[:base, :base],
        o.matrix[6:, :base],
        o.matrix[6:, 6:],
        (1.0, 0.0),
    )
    own, theirs = named(canonical(raw)[0]), o.canonical()
    for name, value in own.items():
        if np.isfinite(value):
            assert value == pytest.approx(theirs[name], abs=1e-9)
    expected = o.gauge_invariants()
    for name, value in invariants(raw).items():
        assert value == pytest.approx(expected[name])


def test_folds_and_ceiling():
    folds = trial_folds(12, 3, seed=1, groups=np.repeat(np.arange(6), 2))
    assert (folds[::2] == folds[1::2]).all()
    assert sorted(np.bincount(folds)) == [4, 4, 4]
    with pytest.raises(pl.InputError, match="at most the number of trials"):
        trial_folds(3, 5, seed=0)
    with pytest.raises(pl.InputError, match="one label a trial"):
        trial_folds(3, 2, seed=0, groups=[1, 2])
    rng = np.random.default_rng(0)
    signal = rng.normal(size=(4, 5, 3))
    y = np.repeat(signal, 40, axis=0) + rng.normal(size=(160, 5, 3))
    label = np.repeat(np.arange(4), 40)
    share = signal.var(axis=(0, 1)).mean() / (signal.var(axis=(0, 1)).mean() + 1)
    ceiling = condition_mean_ceiling(y, label)
    assert ceiling.mean == pytest.approx(share, abs=0.06)
    y[:3, 2] = np.nan
    assert condition_mean_ceiling(y, label).mean == pytest.approx(ceiling.mean, abs=0.02)
    label[0] = 9
    with pytest.raises(pl.InputError, match="no training trial"):
        condition_mean_ceiling(y, label)


@pytest.fixture(scope="module")
def spikes():
    return load_simulated_learning()[0]


@pytest.mark.parametrize(
    ("offset", "neurons"),
    [
        pytest.param(False, "sample", marks=pytest.mark.slow),
        pytest.param(False, "all", marks=pytest.mark.slow),
        (True, "all"),
    ],
)
def test_badly_wrong_settings_give_a_bad_fit_and_no_error(spikes, offset, neurons):
    # half the bin, half the spikes per bin: neurons seem to saturate, and say nothing of loadings
    folds = trial_folds(spikes.n_trials, 5, seed=0)
    model = LowRankRNN(
        rank=1, nonlinearity="erf", dt=0.05, gain=1.0, tau="fit", latency="fit", offset=offset,
        neurons=neurons, max_iter=12, n_bootstrap=5,
    )  # fmt: skip
    y, x = spikes.activity[folds != 0], spikes.inputs[folds != 0]
    with warnings.catch_warnings():
        for ignored in (pl.ConvergenceWarning, MisfitWarning, OffsetWarning, UndeterminedWarning):
            warnings.simplefilter("ignore", ignored)
        model.fit(y, x)
    for name in ("vm", "vu", "mm"):
        assert np.isfinite(model.overlaps_[name]) or name in model.unseen_
    assert np.isfinite(model.log_likelihood_)
    assert model.score(y, x) < 0.2


def test_what_is_not_finite_is_no_better_than_infinite():
    bad = np.array([[np.nan, 0.0], [0.0, 1.0]])
    assert divergence(bad, np.eye(2)) == np.inf
    assert divergence(np.eye(2), bad + np.inf) == np.inf
    assert divergence(np.eye(2), np.eye(2)) == pytest.approx(0.0)
    # a saturated neuron: no information at all, or on one of its loadings
    for diagonal in ([0.0, 0.0], [1.0, 0.0], [1e-300, 1e-320], [3.0, 1e-200]):
        inverse = invert(np.diag(diagonal)[None])[0]
        assert np.isfinite(inverse @ inverse).all()
        assert inverse[1, 1] > 1e30
    assert np.allclose(invert(np.diag([4.0, 1e-6])[None])[0], np.diag([0.25, 1e6]))
