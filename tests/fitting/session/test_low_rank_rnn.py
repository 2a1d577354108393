"""LowRankRNN: recovery, gauge, missing data, readouts, and what it refuses."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from conftest import random_overlaps
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

import predictlearn as pl
from predictlearn.fitting import LowRankRNN
from predictlearn.simulation import random_inputs, simulate_recording

RANK1 = pl.Overlaps(np.diag([1.2, 1.5, 1.3, 1.0])).replace(vm=0.7, vu=0.6, mu=0.5, zm=0.3, zu=0.5)

RANK2 = pl.Overlaps(np.eye(6), 1, 2, 1).replace(
    v1m=0.6, v2m=0.2, v1u1=0.5, v1u2=-0.4, v2u1=0.5, v2u2=0.3, mu1=0.3, mu2=-0.2, zm=0.2, zu1=0.4
)


def recorded(overlaps=RANK1, nonlinearity="linear", observed="rate", r2=1.0, seed=0, **kw):
    kw = {"n_neurons": 40, "tau": 1.0, **kw}
    x = random_inputs(24, 40, overlaps.n_in, 0.1, seed=seed)
    return simulate_recording(
        overlaps,
        x,
        dt=0.1,
        nonlinearity=nonlinearity,
        observed=observed,
        r2=r2,
        seed=seed + 1,
        **kw,
    )


def fitted(r, rank=1, nonlinearity="linear", outputs=True, **kw):
    kw = {"dt": r.dt, "n_bootstrap": 0, **kw}
    model = LowRankRNN(rank=rank, nonlinearity=nonlinearity, observed=r.observed, **kw)
    return model.fit(r.activity, r.inputs, r.outputs if outputs else None)


# rank one shows rates and currents, rank two one of them
@pytest.mark.parametrize(
    ("n_in", "rank", "observed"),
    [
        *itertools.product([1, 2], [1], ["rate", "current"]),
        (1, 2, "rate"),
        pytest.param(1, 2, "current", marks=pytest.mark.slow),
    ],
)
def test_noise_free_linear_network_is_recovered_exactly(observed, n_in, rank):
    o = random_overlaps(1, n_in, rank)
    r = recorded(o, "linear", observed, network_size=100, n_neurons=100)
    fit = fitted(r, rank, neurons="all")
    assert fit.converged_
    true = o.canonical()
    for name, value in fit.overlaps_.dropna().items():
        assert value == pytest.approx(true[name], abs=1e-5), name
    assert fit.score(r.activity, r.inputs) > 0.9999999


@pytest.mark.parametrize("observed", ["rate", "current"])
@pytest.mark.parametrize("overlaps", [RANK1, RANK2], ids=["rank1", "rank2"])
def test_erf_network_is_recovered(observed, overlaps):
    r = recorded(overlaps, "erf", observed, r2=0.8, n_neurons=100)
    fit = fitted(r, overlaps.rank, "erf", n_bootstrap=100)
    assert fit.converged_
    true = overlaps.canonical().gauge_invariants()
    for name, row in fit.gauge_invariants_.iterrows():
        assert abs(row["estimate"] - true[name]) < 4.5 * row["sd"], name
    assert fit.gauge_invariants_.loc["vu", "sd"] < 0.25


@pytest.mark.parametrize("nonlinearity", ["linear", "erf"])
def test_infinite_network_is_recovered_by_what_no_sample_changes(nonlinearity):
    r = recorded(RANK1, nonlinearity, n_neurons=60)
    fit = fitted(r, 1, nonlinearity)
    true = RANK1.gauge_invariants()
    for name in ("vu", "zm", "zu*vm"):
        assert fit.gauge_invariants_.loc[name, "estimate"] == pytest.approx(true[name], abs=0.01)


def test_loadings_predictions_and_reduced_activity_agree():
    r = recorded(r2=0.7)
    fit = fitted(r, offset=True)
    k_m, k_u = fit.k_
    h = k_m @ fit.m_.T + k_u @ fit.u_.T + fit.offset_
    assert np.allclose(fit.predict(r.inputs), h)
    residual = r.activity - h
    assert residual.var(axis=(0, 1)) == pytest.approx(fit.noise_variance_, rel=0.02)
    sst = ((r.activity - r.activity.mean(axis=(0, 1))) ** 2).sum()
    assert fit.score(r.activity, r.inputs) == pytest.approx(1 - (residual**2).sum() / sst)


def test_canonical_gauge_and_unseen():
    fit = fitted(recorded(r2=0.7), n_bootstrap=20)
    assert fit.overlaps_["uu"] == pytest.approx(1.0)
    assert fit.overlaps_["vm"] > 0
    assert set(fit.unseen_.index) == {"zv", "vv", "zz"}
    assert fit.overlaps_[list(fit.unseen_.index)].isna().all()
    assert list(fit.intervals_.columns) == ["low", "high", "estimate", "sd"]
    assert fit.intervals_.index.tolist() == fit.overlaps_.index.tolist()
    seen = fit.intervals_.dropna()
    assert (seen["low"] <= seen["estimate"]).all()
    assert (seen["estimate"] <= seen["high"]).all()
    alone = fitted(recorded(r2=0.7), outputs=False)
    assert {"zm", "zu"} <= set(alone.unseen_.index)
    assert "neither outputs nor a readout" in alone.unseen_["zm"]
    assert alone.z_ is None


def test_moments_are_not_inflated_by_noise():
    # Few noisy bins: the plain mean of the squared loadings would be far too large.
    o = RANK1
    x = random_inputs(6, 20, 1, 0.1, seed=3)
    estimates, plain = [], []
    for seed in range(12):
        r = simulate_recording(o, x, dt=0.1, n_neurons=200, r2=0.1, seed=seed)
        fit = fitted(r, outputs=False)
        estimates.append(fit.overlaps_["mm"])
        plain.append((fit.m_**2).mean())
    assert np.mean(plain) > 1.1 * o["mm"]
    assert np.mean(estimates) == pytest.approx(o["mm"], rel=0.15)


@pytest.mark.parametrize("nonlinearity", ["linear", "erf"])
def test_missing_bins_cost_little(nonlinearity):
    r = recorded(RANK1, nonlinearity, r2=0.8)
    whole = fitted(r, 1, nonlinearity, n_bootstrap=20)
    y = r.activity.copy()
    y[3, 25:] = np.nan
    y[5, 10:14] = np.nan
    y[::2, :, 4] = np.nan
    y[7, 3, 9] = np.nan
    part = LowRankRNN(1, nonlinearity, dt=r.dt, n_bootstrap=20).fit(y, r.inputs, r.outputs)
    assert part.overlaps_["vu"] == pytest.approx(
        whole.overlaps_["vu"], abs=3 * whole.intervals_.loc["vu", "sd"]
    )
    assert np.isfinite(part.predict(r.inputs)).all()
    assert part.score(y, r.inputs) == pytest.approx(whole.score(r.activity, r.inputs), abs=0.02)


def test_outputs_may_be_missing_too():
    r = recorded()
    out = r.outputs.copy()
    out[2, 5:9] = np.nan
    fit = LowRankRNN(dt=r.dt, n_bootstrap=0).fit(r.activity, r.inputs, out)
    assert fit.gauge_invariants_.loc["zm", "estimate"] == pytest.approx(0.3, abs=1e-6)


def test_tau_latency_and_offset_are_fitted():
    o = random_overlaps(2, 3, 1)
    x = random_inputs(30, 40, 3, 0.1, seed=0)
    late = np.zeros_like(x)
    late[:, 1:] += 0.5 * x[:, :-1]
    late[:, 2:] += 0.5 * x[:, :-2]
    r = simulate_recording(o, late, dt=0.1, tau=0.4, n_neurons=50, r2=0.6, seed=0)
    y = r.activity + np.linspace(-2, 2, 50)
    settings = {"tau": "fit", "latency": "fit", "offset": True, "n_bootstrap": 100, "seed": 1}
    fit = LowRankRNN(1, dt=0.1, bin="euler", **settings).fit(y, x)
    assert fit.tau_ == pytest.approx(0.4, abs=0.05)
    assert fit.latency_ == pytest.approx(0.15, abs=0.01)
    assert fit.offset_ == pytest.approx(np.linspace(-2, 2, 50), abs=0.2)
    for name, value in (("tau", 0.4), ("latency", 0.15)):
        row = fit.gauge_invariants_.loc[name]
        assert row["low"] < row["estimate"] < row["high"]
        assert abs(row["estimate"] - value) < 4 * row["sd"]


def test_known_and_fitted_gains():
    r = recorded(RANK1, "erf", r2=0.9, n_neurons=60)
    counts = 5.0 + 4.0 * r.activity
    plain = fitted(r, 1, "erf", offset=True)
    known = LowRankRNN(1, "erf", dt=r.dt, gain=4.0, offset=True, n_bootstrap=0).fit(
        counts, r.inputs, r.outputs
    )
    assert known.overlaps_.dropna().to_numpy() == pytest.approx(
        plain.overlaps_.dropna().to_numpy(), abs=1e-6
    )
    assert known.offset_.mean() == pytest.approx(5.0, abs=0.05)
    assert np.allclose(known.gain_, 4.0)
    free = LowRankRNN(1, "erf", dt=r.dt, gain=True, offset=True, n_bootstrap=0).fit(
        counts, r.inputs, r.outputs
    )
    assert np.median(free.gain_) == pytest.approx(4.0, rel=0.15)
    assert free.overlaps_["vu"] == pytest.approx(0.6, abs=0.05)


def test_known_readout_shows_zz():
    o = RANK1
    loadings = o.loadings(300, seed=0)
    x = random_inputs(20, 30, 1, 0.1, seed=0)
    blank = np.zeros((20, 30, 1))
    run = pl.run_network(loadings, pl.Trials(x, blank, blank, dt=0.1))
    fit = LowRankRNN(dt=0.1, neurons="all", n_bootstrap=10).fit(run.rates, x, readout=loadings.z)
    true = o.canonical()
    for name in ("zm", "zu", "zz"):
        assert fit.overlaps_[name] == pytest.approx(true[name], abs=1e-6)
    assert set(fit.unseen_.index) == {"zv", "vv"}
    assert np.array_equal(fit.z_, loadings.z)


def test_minimum_norm_readout_reproduces_the_outputs():
    r = recorded(network_size=300, n_neurons=300)
    fit = fitted(r, neurons="all")
    assert np.allclose(fit.predict(r.inputs) @ fit.z_ / 300, r.outputs, atol=1e-6)


def test_seed_decides_everything():
    r = recorded(r2=0.6)
    one, two = (fitted(r, n_bootstrap=30, seed=3) for _ in range(2))
    assert one.intervals_.equals(two.intervals_)
    other = fitted(r, n_bootstrap=30, seed=4)
    assert not one.intervals_.equals(other.intervals_)
    assert other.overlaps_["vu"] == pytest.approx(one.overlaps_["vu"], abs=1e-4)


def test_permuting_neurons_permutes_loadings():
    r = recorded(r2=0.6)
    order = np.random.default_rng(0).permutation(r.n_neurons)
    a = fitted(r)
    b = LowRankRNN(dt=r.dt, n_bootstrap=0).fit(r.activity[:, :, order], r.inputs, r.outputs)
    assert np.allclose(a.m_[order], b.m_, atol=1e-3)
    assert np.allclose(a.overlaps_.dropna(), b.overlaps_.dropna(), atol=1e-3)


def test_scikit_learn_conventions():
    model = LowRankRNN(rank=2, nonlinearity="erf", ridge=0.1)
    assert clone(model).get_params() == model.get_params()
    with pytest.raises(NotFittedError):
        model.predict(np.zeros((2, 5, 1)))
    assert model.set_params(rank=3).rank == 3


def test_warns_when_it_did_not_converge():
    r = recorded(RANK1, "erf", r2=0.5)
    with pytest.warns(pl.ConvergenceWarning, match="try a larger max_iter"):
        fitted(r, 1, "erf", max_iter=1, n_starts=1)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rank": 0}, "rank must be a whole number"),
        ({"rank": 41}, r"rank must be at most the number of neurons \(40\)"),
        ({"nonlinearity": "relu"}, "nonlinearity must be one of"),
        ({"observed": "rates"}, "Did you mean 'rate'"),
        ({"neurons": "some"}, "neurons must be one of"),
        ({"dt": -0.1}, "dt must be a positive number"),
        ({"tau": -1.0}, "tau must be a positive number"),
        ({"tau": 0.01}, "at most 5 tau"),
        ({"tau": "fitt"}, "Did you mean 'fit'"),
        ({"latency": -0.1}, "latency must be zero or a positive"),
        ({"latency": 40.0}, "well below the length of a trial"),
        ({"latency": "auto"}, "latency must be one of"),
        ({"ridge": -1.0}, "ridge must be zero or a positive"),
        ({"ridge": "none"}, "ridge must be one of 'auto'"),
        ({"gain": True}, "gain=True needs nonlinearity='erf'"),
        ({"gain": -2.0}, "gain must be a positive number"),
        ({"n_starts": 0}, "n_starts"),
        ({"n_bootstrap": -1}, "n_bootstrap"),
        ({"tol": 0.0}, "tol must be a positive"),
    ],
)
def test_bad_settings_are_refused(settings, message):
    r = recorded()
    model = LowRankRNN(**{"dt": 0.1, **settings})
    with pytest.raises(pl.InputError, match=message):
        model.fit(r.activity, r.inputs)


def test_bad_data_are_refused():
    r = recorded()
    y, x = r.activity, r.inputs
    model = LowRankRNN(dt=0.1)
    bad = y.copy()
    bad[:, :, 3] = np.nan
    for activity, inputs, message in (
        (y.transpose(1, 0, 2), x, "look swapped"),
        (y[:1], x[:1], "at least two trials"),
        (y[:, :, :1], x, "at least two neurons"),
        (y[0], x, r"activity must have 3 axes \(trials, time, neurons\)"),
        (bad, x, r"neurons \[3\] have no value"),
        (y, np.ones_like(x), "constant over all trials and bins"),
        (y, np.concatenate([x, 0 * x], axis=2), r"columns \[1\] are zero throughout"),
        (y, x * np.nan, "inputs must be finite"),
        (y[:, :2] * 1.0, x[:, :3], r"inputs must have shape \(trials, time, n_in\)"),
    ):
        with pytest.raises(pl.InputError, match=message):
            model.fit(activity, inputs)
    few = np.full_like(y, np.nan)
    few[0, 0], few[0, 1] = 1.0, 2.0
    with pytest.raises(pl.InputError, match="coefficients each need more"):
        model.fit(few, x)
    with pytest.raises(pl.InputError, match="with 40 neurons"):
        model.fit(y, x, readout=np.ones((3, 1)))
    with pytest.raises(pl.InputError, match="as many outputs"):
        model.fit(y, x, outputs=r.outputs, readout=np.ones((40, 2)))
    with pytest.raises(pl.InputError, match="must be rates"):
        LowRankRNN(nonlinearity="erf", dt=0.1).fit(100 * y, x)
    fit = model.set_params(n_bootstrap=0).fit(y, x)
    with pytest.raises(pl.InputError, match="40 neurons of fit"):
        fit.score(y[:, :, :5], x)
    with pytest.raises(pl.InputError, match=r"\(trials, time, 1\)"):
        fit.predict(np.ones((2, 5, 2)))
