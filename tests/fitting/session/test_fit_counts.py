"""Fits to spike counts and fluorescence, trials of unequal length, and silent neurons."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from scipy.special import erf
from test_parts import setup

import predictlearn as pl
from predictlearn.errors import MisfitWarning, SilentNeuronsWarning
from predictlearn.fitting import LowRankRNN, interval_coverage
from predictlearn.fitting.session.count_noise import (
    CountNoise,
    fit_dispersion,
    log_likelihood_constant,
)
from predictlearn.fitting.session.kernels.vector_math import fill_exp
from predictlearn.fitting.session.rollout import predicted
from predictlearn.fitting.session.scoring import count_log_likelihood
from predictlearn.fitting.session.search.data import Data
from predictlearn.fitting.session.search.regression import blocks, trial_scores
from predictlearn.simulation import random_inputs, simulate_recording

OVERLAPS = pl.Overlaps(np.diag([0.5, 0.6, 1.6, 1.0])).replace(vm=0.7, vu=0.6, mu=0.2, zm=0.3)


def recorded(nonlinearity="linear", observed="current", n_trials=40, seed=0, **kw):
    x = 2 * random_inputs(n_trials, 50, 1, 0.1, seed=seed)
    kw = {"n_neurons": 60, "noise": "poisson", **kw}
    return simulate_recording(
        OVERLAPS, x, dt=0.1, nonlinearity=nonlinearity, observed=observed, seed=seed + 1, **kw
    )


def model(**kw):
    return LowRankRNN(1, **{"dt": 0.1, "observed": "current", "n_bootstrap": 0, **kw})


def test_vector_exponential_is_exact():
    x = np.concatenate([np.linspace(-700, 700, 100_001), np.linspace(-1e-3, 1e-3, 1001), [0.0]])
    out, bits = np.zeros_like(x), np.zeros(len(x), np.int64)
    fill_exp(x, out, bits, len(x))
    assert np.abs(out / np.exp(x) - 1).max() < 1e-15
    assert out[-1] == 1.0
    fill_exp(np.array([1e9, -1e9]), out, bits, 2)
    assert np.array_equal(out[:2] > 1, [True, False])
    assert np.isfinite(out[:2]).all()


def count_problem(saturating, softplus, alpha, gain, masked, nodes=1):
    rng, layout, theta, dynamics = setup(saturating)
    dynamics = replace(dynamics, mean=nodes == 2, nodes=nodes)
    y = rng.poisson(2.0, size=(5, 30, 4)).astype(float)
    if masked:
        y[0, 3:7] = np.nan
        y[2, :, 1] = np.nan
    noise = CountNoise(softplus, np.full(4, alpha), 0.8)
    data = Data.from_activity(
        y, offset=True, gain=gain, saturating=saturating, ridge=None, count=noise
    )
    data = replace(data, nodes=nodes)
    phi = 0.4 * rng.normal(size=(4, data.n_lead + layout.n_base))
    return layout, theta, dynamics, data, phi


@pytest.mark.parametrize(
    ("saturating", "softplus", "alpha", "gain", "masked", "nodes"),
    [
        (False, False, 0.0, False, False, 1),
        (False, False, 0.4, False, True, 2),
        (False, True, 0.0, False, True, 1),
        (True, True, 0.4, True, False, 2),
        (True, False, 0.0, True, True, 1),
        (True, False, 0.0, True, True, 2),
    ],
)
def test_score_and_information_against_brute_force(
    saturating, softplus, alpha, gain, masked, nodes
):
    layout, theta, dynamics, data, phi = count_problem(
        saturating, softplus, alpha, gain, masked, nodes
    )

    def rates(theta, phi):
        return predicted(data, data.flatten(dynamics.roll(theta)[0]), phi)

    def likelihood(theta, phi):
        each = count_log_likelihood(data.activity.T, rates(theta, phi).T, data.count.dispersion).T
        return (each if data.seen is None else np.where(data.seen, each, 0.0)).sum(axis=1)

    k, dk = (data.flatten(a) for a in dynamics.roll(theta))
    at = blocks(data, layout, k, dk, phi)
    constant = log_likelihood_constant(data.activity, data.count.dispersion)
    assert constant - at.squares / 2 == pytest.approx(likelihood(theta, phi), rel=1e-12)
    p, both = phi.shape[1], []
    for function in (likelihood, rates):
        columns = []
        for a in range(p + layout.size):
            d_phi, d_theta = np.zeros_like(phi), np.zeros(layout.size)
            if a < p:
                d_phi[:, a] = 1e-5
            else:
                d_theta[a - p] = 1e-5
            up, down = (
                function(theta + d_theta, phi + d_phi),
                function(theta - d_theta, phi - d_phi),
            )
            columns.append((up - down) / 2e-5)
        both.append(np.stack(columns, axis=1))
    slope, jac = both
    assert at.slope_phi == pytest.approx(slope[:, :p], rel=1e-5, abs=1e-5)
    assert at.slope_theta == pytest.approx(slope[:, p:], rel=1e-5, abs=1e-5)
    rate = rates(theta, phi)
    seen = 1.0 if data.seen is None else data.seen
    info = np.einsum("iar,ibr,ir->iab", jac, jac, seen / (rate + alpha * rate**2))
    outer = np.stack([at.outer(one) for one in np.eye(len(phi))])
    found = np.block([[at.inner, at.cross], [at.cross.transpose(0, 2, 1), outer]])
    assert found == pytest.approx(info, rel=1e-5, abs=1e-5)
    scores = trial_scores(data, layout, k, dk, phi).sum(axis=0)
    assert scores[:, :p] == pytest.approx(at.slope_phi, abs=1e-8)
    assert scores[:, p:] == pytest.approx(at.slope_theta, abs=1e-8)


@pytest.mark.parametrize(("observed", "offset"), [("rate", True), ("rate", False)])
def test_faded_erf_normal_equations_against_brute_force(observed, offset):
    rng, layout, theta, dynamics = setup(True)
    y = rng.normal(size=(5, 30, 4))
    y[0, 3:7] = np.nan
    y[2, :, 1] = np.nan
    data = Data.from_activity(y, offset=offset, gain=True, saturating=True, ridge=None, fading=0.6)
    assert len(data.rows) == 150  # nothing dropped: what fades passes through
    phi = 0.5 * rng.normal(size=(4, data.n_lead + layout.n_base))
    k, dk = (data.flatten(a) for a in dynamics.roll(theta))
    at = blocks(data, layout, k, dk, phi)

    def squares(theta, phi):
        now = data.flatten(dynamics.roll(theta)[0])
        rate = erf(0.5 * np.sqrt(np.pi) * phi[:, data.n_lead :] @ now).reshape(4, 5, 30)
        faded = np.zeros_like(rate)
        for t in range(30):
            faded[:, :, t] = rate[:, :, t] + (0.6 * faded[:, :, t - 1] if t else 0.0)
        mean = phi[:, int(offset), None] * faded.reshape(4, -1) + (phi[:, :1] if offset else 0.0)
        assert np.allclose(mean, predicted(data, now, phi))
        return (np.where(data.seen, data.activity - mean, 0.0) ** 2).sum(axis=1)

    assert at.squares == pytest.approx(squares(theta, phi), rel=1e-12)
    for a in range(phi.shape[1]):
        step = np.zeros_like(phi)
        step[:, a] = 1e-5
        slope = (squares(theta, phi + step) - squares(theta, phi - step)) / 2e-5
        assert -2 * at.slope_phi[:, a] == pytest.approx(slope, rel=1e-5, abs=1e-5)
    for j in range(layout.size):
        step = np.zeros(layout.size)
        step[j] = 1e-5
        slope = (squares(theta + step, phi) - squares(theta - step, phi)) / 2e-5
        assert -2 * at.slope_theta[:, j] == pytest.approx(slope, rel=1e-5, abs=1e-5)


def test_loadings_are_those_of_a_generalised_linear_model():
    sm = pytest.importorskip("statsmodels.api")
    for noise in ("poisson", "negative-binomial"):
        r = recorded(noise=noise, n_neurons=12, n_trials=20)
        fit = model(noise=noise, tol=1e-9, ridge=0.0).fit(r.activity, r.inputs)
        design = sm.add_constant(np.concatenate(fit.k_, axis=2).reshape(-1, 2))
        mine = np.column_stack([fit.offset_, fit.m_, fit.u_])
        for i in range(12):
            y = r.activity[:, :, i].ravel()
            family = sm.families.Poisson()
            if noise == "negative-binomial":
                family = sm.families.NegativeBinomial(alpha=fit.dispersion_[i])
            theirs = sm.GLM(y, design, family=family).fit(tol=1e-13, maxiter=200)
            assert mine[i] == pytest.approx(theirs.params, abs=1e-6)


def test_dispersion_is_that_of_maximum_likelihood():
    sm = pytest.importorskip("statsmodels.api")
    rng = np.random.default_rng(0)
    rate = np.exp(0.3 + 0.5 * rng.normal(size=(3, 3000)))
    mixed = rate * rng.gamma(1 / np.array([[0.2], [1.5], [0.6]]), 1.0, size=rate.shape)
    y = rng.poisson(mixed * np.array([[0.2], [1.5], [0.6]])).astype(float)
    alpha = fit_dispersion(y, None, rate, np.zeros(3))
    for i in range(3):
        grid = alpha[i] * np.linspace(0.98, 1.02, 41)
        value = [count_log_likelihood(y[i, :, None], rate[i, :, None], a).sum() for a in
                 grid[:, None]]  # fmt: skip
        assert grid[np.argmax(value)] == pytest.approx(alpha[i], rel=1e-3)
    joint = sm.NegativeBinomial(y[0], np.log(rate[0])[:, None]).fit(disp=0)
    assert alpha[0] == pytest.approx(joint.params[-1], rel=0.02)
    # fewer spikes scatter less than Poisson: the edge
    assert fit_dispersion(np.round(rate), None, rate, np.zeros(3)).tolist() == [0.0, 0.0, 0.0]


@pytest.mark.parametrize(
    ("nonlinearity", "observed", "more"),
    [
        ("linear", "current", {"noise": "poisson"}),
        ("linear", "current", {"noise": "poisson", "link": "softplus"}),
        ("linear", "current", {"noise": "negative-binomial"}),
        ("erf", "current", {"noise": "poisson"}),
        ("erf", "rate", {"noise": "poisson"}),
        ("linear", "rate", {"noise": "gaussian", "decay": 0.4}),
        ("erf", "rate", {"noise": "gaussian", "decay": 0.4}),
    ],
)
def test_networks_are_recovered(nonlinearity, observed, more):
    r = recorded(nonlinearity, observed, **more)
    fit = model(nonlinearity=nonlinearity, observed=observed, n_bootstrap=100, **more)
    with warnings.catch_warnings():
        # a test of tau at a level of 5% is right to fire in one of these recordings
        warnings.simplefilter("ignore", MisfitWarning)
        fit.fit(r.activity, r.inputs, r.outputs)
    assert fit.converged_
    truth = OVERLAPS.gauge_invariants()
    for name, row in fit.gauge_invariants_.iterrows():
        # noise-free outputs of a linear network give zm to rounding
        assert abs(row["estimate"] - truth[name]) < 4.5 * row["sd"] + 1e-12, name
    assert fit.gauge_invariants_.loc["vu", "sd"] < 0.06
    assert fit.predict(r.inputs).shape == r.activity.shape
    if more["noise"] == "negative-binomial":
        assert np.median(fit.dispersion_) == pytest.approx(0.3, abs=0.03)


def test_known_gain_of_counts_and_offsets():
    r = recorded("erf", "rate", gain=1.5, n_trials=80, rate=3.0)
    settings = {"nonlinearity": "erf", "observed": "rate", "noise": "poisson"}
    fit = model(gain=1.5, **settings).fit(r.activity, r.inputs)
    assert fit.gain_ == pytest.approx(np.full(60, 1.5))
    assert fit.offset_ == pytest.approx(np.array(r.metadata["offset"]), abs=0.25)
    assert fit.overlaps_["vu"] == pytest.approx(0.6, abs=0.05)
    with warnings.catch_warnings():
        # far from saturation a gain is hardly told from a loading
        warnings.simplefilter("ignore", pl.ConvergenceWarning)
        free = model(gain=True, **settings).fit(r.activity, r.inputs)
    assert free.log_likelihood_ > fit.log_likelihood_
    assert np.median(free.gain_) == pytest.approx(1.5, rel=0.3)


def test_scores_of_counts():
    r = recorded()
    train, test = slice(0, 30), slice(30, 40)
    fit = model(noise="poisson").fit(r.activity[train], r.inputs[train])
    y, rate = r.activity[test], fit.predict(r.inputs[test])
    mean = r.activity[train].mean(axis=(0, 1))
    gained = np.sum(y * np.log(rate / mean) - rate + mean)
    bits = fit.score(y, r.inputs[test], metric="bits-per-spike")
    assert bits == pytest.approx(gained / y.sum() / np.log(2), rel=1e-10)
    assert bits > 0.1
    # rates alone are scored, by one measure for every noise model
    wide = model(noise="negative-binomial").fit(r.activity[train], r.inputs[train])
    rate = wide.predict(r.inputs[test])
    gained = np.sum(stats.poisson.logpmf(y, rate) - stats.poisson.logpmf(y, mean))
    other = wide.score(y, r.inputs[test], metric="bits-per-spike")
    assert other == pytest.approx(gained / y.sum() / np.log(2), rel=1e-10)
    own = fit.score(r.activity[train], r.inputs[train], metric="log-likelihood")
    assert own * r.activity[train].size == pytest.approx(fit.log_likelihood_, rel=1e-10)
    with pytest.raises(pl.InputError, match="Did you mean 'bits-per-spike'"):
        fit.score(y, r.inputs[test], metric="bits_per_spike")
    with pytest.raises(pl.InputError, match="whole numbers"):
        fit.score(y + 0.5, r.inputs[test])
    gaussian = model().fit(r.activity, r.inputs)
    with pytest.raises(pl.InputError, match="needs spike counts"):
        gaussian.score(y, r.inputs[test], metric="bits-per-spike")
    variance = gaussian.noise_variance_
    error = (y - gaussian.predict(r.inputs[test])) ** 2
    expected = -0.5 * np.mean(error / variance + np.log(2 * np.pi * variance))
    assert gaussian.score(y, r.inputs[test], "log-likelihood") == pytest.approx(expected)


@pytest.mark.parametrize("noise", ["gaussian", "poisson"])
def test_lists_of_unequal_trials_are_padded(noise):
    r = recorded(noise=noise)
    bins = np.random.default_rng(0).integers(20, 51, size=r.n_trials)
    cut = [[a[:n] for a, n in zip(part, bins, strict=True)] for part in
           (r.activity, r.inputs, r.outputs)]  # fmt: skip
    fit = model(noise=noise, n_bootstrap=10).fit(*cut)
    y = r.activity.copy()
    for trial, n in enumerate(bins):
        y[trial, n:] = np.nan
    out = np.where(np.isnan(y[:, :, :1]), np.nan, r.outputs)
    whole = model(noise=noise, n_bootstrap=10).fit(y, r.inputs, out)
    assert fit.overlaps_.dropna().to_numpy() == pytest.approx(
        whole.overlaps_.dropna().to_numpy(), abs=1e-6
    )
    predicted_list = fit.predict(cut[1])
    assert [len(p) for p in predicted_list] == bins.tolist()
    assert predicted_list[0] == pytest.approx(whole.predict(r.inputs)[0, : bins[0]], abs=1e-6)
    assert fit.score(cut[0], cut[1]) == pytest.approx(whole.score(y, r.inputs), abs=1e-9)
    with pytest.raises(pl.InputError, match="trials and bins of activity"):
        fit.score(cut[0], cut[1][::-1])
    with pytest.raises(pl.InputError, match="as many columns"):
        fit.predict([np.ones((3, 1)), np.ones((4, 2))])


@pytest.mark.parametrize("noise", ["gaussian", "poisson"])
def test_silent_neurons_are_set_aside(noise):
    r = recorded(noise=noise)
    y = r.activity.copy()
    y[:, :, 3] = 0.0
    y[:, :, 7] = 0.0
    with pytest.warns(SilentNeuronsWarning, match=r"2 of 60 neurons .* \[3, 7\]"):
        fit = model(noise=noise).fit(y, r.inputs, r.outputs)
    kept = np.delete(np.arange(60), [3, 7])
    assert np.flatnonzero(fit.silent_).tolist() == [3, 7]
    rest = model(noise=noise).fit(y[:, :, kept], r.inputs, r.outputs)
    assert fit.overlaps_.equals(rest.overlaps_)
    assert np.isnan(fit.m_[[3, 7]]).all()
    assert np.isnan(fit.offset_[[3, 7]]).all()
    assert np.isnan(fit.predict(r.inputs)[:, :, 3]).all()
    assert np.array_equal(fit.u_[kept], rest.u_)
    assert fit.score(y, r.inputs) == pytest.approx(rest.score(y[:, :, kept], r.inputs))
    with pytest.warns(SilentNeuronsWarning):
        readout = model(noise=noise).fit(y, r.inputs, readout=np.ones((60, 1)))
    # of counts the loadings are posterior means, which are drawn to 0
    close = 1e-9 if noise == "gaussian" else 2e-3
    assert readout.overlaps_["zm"] == pytest.approx(readout.m_[kept].mean(), abs=close)


def test_neurons_with_fewer_spikes_than_coefficients_are_set_aside():
    r = recorded()
    y = r.activity.copy()
    y[:, :, 5] = 0.0
    y[[1, 2, 3], 4, 5] = 1.0
    with pytest.warns(SilentNeuronsWarning, match="fewer than 4 spikes"):
        fit = model(noise="poisson").fit(y, r.inputs)
    assert np.flatnonzero(fit.silent_).tolist() == [5]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"noise": "gauss"}, "noise must be one of"),
        ({"noise": "poison"}, "Did you mean 'poisson'"),
        ({"link": "log"}, "link must be one of"),
        ({"decay": -1.0}, "decay must be a positive"),
        ({"decay": 1.0, "noise": "poisson"}, "decay is for fluorescence"),
        ({"noise": "poisson", "gain": True}, "gain=True needs"),
    ],
)
def test_bad_settings_are_refused(settings, message):
    r = recorded()
    with pytest.raises(pl.InputError, match=message):
        model(**settings).fit(r.activity, r.inputs)


def test_what_is_no_count_is_refused():
    r = recorded()
    for wrong in (-1.0, 0.5):
        y = r.activity.copy()
        y[3, 4, 5] = wrong
        with pytest.raises(pl.InputError, match=f"whole numbers.*got {wrong:g}"):
            model(noise="poisson").fit(y, r.inputs)
    for more, message in (
        ({"noise": "poison"}, "noise must be"),
        ({"link": "log"}, "link must be"),
        ({"decay": 1.0}, "decay needs noise='gaussian'"),
        ({"noise": "negative-binomial", "dispersion": 0.0}, "dispersion must be"),
    ):
        with pytest.raises(pl.InputError, match=message):
            recorded(**more)


@pytest.mark.parametrize("noise", ["gaussian", "poisson"])
def test_scattered_missing_bins(noise):
    r = recorded(noise=noise, r2=0.6)
    y = np.where(np.random.default_rng(0).random(r.activity.shape) < 0.1, np.nan, r.activity)
    whole = model(noise=noise, n_bootstrap=20).fit(r.activity, r.inputs)
    fit = model(noise=noise).fit(y, r.inputs)
    assert fit.converged_
    sd = whole.intervals_.loc["vu", "sd"]
    assert fit.overlaps_["vu"] == pytest.approx(whole.overlaps_["vu"], abs=2 * sd)


@pytest.mark.slow
@pytest.mark.parametrize("nonlinearity", ["linear", "erf"])
@pytest.mark.parametrize("noise", ["gaussian", "poisson"])
def test_intervals_hold(nonlinearity, noise):
    coverage = interval_coverage(
        OVERLAPS, nonlinearity, 200, observed="current" if noise == "poisson" else "rate",
        noise=noise, n_neurons=100, n_trials=40, n_bins=50, seed=5, n_jobs=2, offset=True,
    )  # fmt: skip
    assert 0.92 < coverage.share() < 0.98
