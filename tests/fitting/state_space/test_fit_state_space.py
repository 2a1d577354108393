"""StochasticLowRankRNN: a Kalman smoother inside EM."""

import re
import warnings

import numpy as np
import pytest
from scipy import stats

import predictlearn as pl
from predictlearn.errors import ConvergenceWarning, SilentNeuronsWarning
from predictlearn.fitting.diagnostics.copies import copied_units
from predictlearn.fitting.state_space.em import start_parameters
from predictlearn.fitting.state_space.inputs import InputDesign
from predictlearn.fitting.state_space.kalman import (
    Observations,
    Parameters,
    Sums,
    filtered_inputs,
    posterior,
)
from predictlearn.fitting.state_space.squarem import climb

A = 0.1
VM, VU = np.array([[0.8], [0.2]]), np.array([[0.4, -0.7], [0.7, 0.4]])


def simulate(vm, vu, trials=60, time=60, neurons=40, noise=0.2, variance=1.0, seed=0):
    """Activity and inputs of a network whose U^T U / N is nearly the identity."""
    rng = np.random.default_rng(seed)
    rank = len(vu)
    x = np.repeat(rng.normal(size=(trials, -(-time // 5), 1)), 5, axis=1)[:, :time]
    m, u = rng.normal(size=(neurons, 1)), rng.normal(size=(neurons, rank))
    u = u @ np.linalg.inv(np.linalg.cholesky(u.T @ u / neurons)).T
    k_m, k_u = np.zeros((trials, 1)), np.zeros((trials, rank))
    y = np.zeros((trials, time, neurons))
    for t in range(time):
        if t:
            k_u = (1 - A) * k_u + A * (k_m @ vm.T + k_u @ vu.T)
            k_u = k_u + noise * rng.normal(size=k_u.shape)
        k_m = (1 - A) * k_m + A * x[:, t]
        y[:, t] = 3 + k_m @ m.T + k_u @ u.T
    return y + np.sqrt(variance) * rng.normal(size=y.shape), x


def small(seed=0, missing=True):
    """A small problem with random parameters."""
    rng = np.random.default_rng(seed)
    trials, time, neurons, rank = 4, 6, 5, 2

    def covariance():
        root = rng.normal(size=(rank, rank))
        return root @ root.T / 2

    y = rng.normal(size=(trials, time, neurons))
    if missing:
        y[0, 2], y[1, 3, 2], y[2, 4:] = np.nan, np.nan, np.nan
    k_m = filtered_inputs(rng.normal(size=(trials, time, 1)), 0.2)
    f = np.concatenate([np.ones((trials, time, 1)), k_m], axis=2)
    p = Parameters(
        rng.normal(size=(neurons, 2)),
        rng.normal(size=(neurons, rank)),
        rng.uniform(0.3, 1, neurons),
        0.5 * rng.normal(size=(rank, rank)),
        rng.normal(size=(rank, 1)),
        covariance(),
        rng.normal(size=(2, rank)),
        covariance(),
    )
    return y, f, p, np.array([0, 1, 0, 1])


def dense(y, f, p, start):
    """Posterior and log likelihood of one trial by inverting the whole covariance."""
    rank, time = p.rank, len(y)
    mean, spread = np.zeros((time, rank)), np.zeros((time, rank, time, rank))
    mean[0], now = start, p.start_noise
    for t in range(time):
        if t:
            mean[t] = p.step @ mean[t - 1] + p.drive @ f[t - 1, 1:]
        ahead = now
        for later in range(t, time):
            spread[later, :, t], spread[t, :, later] = ahead, ahead.T
            ahead = p.step @ ahead
        now = p.step @ now @ p.step.T + p.noise
    seen = ~np.isnan(y.ravel())
    h = np.kron(np.eye(time), p.u)[seen]
    c = spread.reshape(time * rank, -1)
    s = h @ c @ h.T + np.diag(np.tile(p.variance, time)[seen])
    error = (y - f @ p.base.T).ravel()[seen] - h @ mean.ravel()
    gain = c @ h.T @ np.linalg.inv(s)
    value = stats.multivariate_normal(np.zeros(len(error)), s).logpdf(error)
    after = (c - gain @ h @ c).reshape(time, rank, time, rank)
    return mean + (gain @ error).reshape(time, rank), after, value


@pytest.mark.parametrize("missing", [False, True])
def test_smoother_agrees_with_dense_inversion(missing):
    y, f, p, condition = small(missing=missing)
    data = Observations.from_array(y)
    at = posterior(p, data, f, condition, Sums.of(data, f, np.ones(4)))
    total = 0.0
    for trial in range(4):
        n, g = data.lengths[trial], data.pattern[trial]
        mean, after, value = dense(y[trial, :n], f[trial, :n], p, p.start[condition[trial]])
        total += value
        assert np.abs(at.mean[trial, :n] - mean).max() < 1e-9
        for t in range(n):
            assert np.abs(at.covariance[g, t] - after[t, :, t]).max() < 1e-9
        for t in range(n - 1):
            assert np.abs(at.cross[g, t] - after[t + 1, :, t]).max() < 1e-9
    assert at.log_likelihood == pytest.approx(total, abs=1e-9)


def test_likelihood_agrees_with_statsmodels():
    mlemodel = pytest.importorskip("statsmodels.tsa.statespace.mlemodel")
    y, f, p, _ = small(missing=False)
    data, f = Observations.from_array(y[:1]), f[:1]
    model = mlemodel.MLEModel(y[0], k_states=2, k_posdef=2)
    model["design"], model["obs_cov"] = p.u, np.diag(p.variance)
    model["transition"], model["selection"], model["state_cov"] = p.step, np.eye(2), p.noise
    model.ssm["obs_intercept"] = p.base @ f[0].T
    model.ssm["state_intercept"] = p.drive @ f[0, :, 1:].T
    model.ssm.initialize_known(p.start[0], p.start_noise)
    ours = posterior(p, data, f, np.zeros(1, int), Sums.of(data, f, np.ones(1)))
    assert ours.log_likelihood == pytest.approx(model.ssm.loglike(), abs=1e-9)


@pytest.mark.parametrize("scattered", [False, True])
def test_em_never_lowers_the_likelihood(scattered):
    y, x = simulate(VM, VU, trials=10, time=30, neurons=12)
    y[3, 20:] = np.nan
    if scattered:
        y[np.random.default_rng(1).random(y.shape) < 0.1] = np.nan
    data = Observations.from_array(y)
    f = np.concatenate([np.ones((10, 30, 1)), filtered_inputs(x, A)], axis=2)
    condition, sums = np.zeros(10, int), Sums.of(data, f, np.ones(10))
    p = start_parameters(data, f, 1, condition, 2, A, sums)
    design = InputDesign(x, condition, data.lengths.max(keepdims=True), 30, True)
    course = climb(p, data, design, np.ones(10), 60, 1e-12)[1]
    assert np.diff(course).min() > -1e-8
    assert course[-1] > course[0] + 10


@pytest.mark.quick
def test_agrees_with_low_rank_rnn_without_process_noise():
    y, x = simulate(np.array([[0.8]]), np.array([[0.4]]), noise=0.0, variance=0.05)
    ours = pl.StochasticLowRankRNN(1, dt=A, n_bootstrap=0, max_iter=3000).fit(y, x)
    theirs = pl.LowRankRNN(1, dt=A, offset=True, n_bootstrap=50).fit(y, x)
    sd = theirs.intervals_["sd"]
    for name in ("vm", "vu", "mm", "mu"):
        assert abs(ours.overlaps_[name] - theirs.overlaps_[name]) < sd[name]
    assert ours.process_noise_[0, 0] < 1e-3
    assert ours.score(y, x) == pytest.approx(theirs.score(y, x), abs=1e-3)


def test_recovers_what_process_noise_hides():
    y, x = simulate(VM, VU, trials=100, time=80, neurons=60)
    fit = pl.StochasticLowRankRNN(2, dt=A, n_bootstrap=0).fit(y, x)
    assert fit.converged_
    # in the canonical gauge vm = (|vm|, 0), and the rotation VU stays as it is
    assert np.abs(fit.vm_ - [[np.hypot(0.8, 0.2)], [0]]).max() < 0.15
    assert np.abs(fit.vu_ - VU).max() < 0.15
    assert np.abs(fit.process_noise_ - 0.04 * np.eye(2)).max() < 0.006
    assert fit.noise_variance_ == pytest.approx(np.ones(60), abs=0.15)
    alone = fit.score(y, x)
    assert fit.score(y, x, metric="co-smoothing", held_out=[0, 1, 2]) > alone + 0.2


def test_padding_changes_nothing():
    y, x = simulate(VM, VU, trials=12, time=30, neurons=12)
    settings = {"rank": 2, "dt": A, "n_bootstrap": 3, "tol": 1.0}
    plain = pl.StochasticLowRankRNN(**settings).fit(y, x)
    longer = np.pad(y, ((0, 0), (0, 5), (0, 0)), constant_values=np.nan)
    inputs = np.pad(x, ((0, 0), (0, 5), (0, 0)), constant_values=np.nan)
    padded = pl.StochasticLowRankRNN(**settings).fit(longer, inputs)
    assert padded.log_likelihood_ == pytest.approx(plain.log_likelihood_)
    assert padded.overlaps_.to_numpy() == pytest.approx(plain.overlaps_.to_numpy(), nan_ok=True)
    assert padded.score(longer, inputs) == pytest.approx(plain.score(y, x))
    assert not padded.smooth(longer, inputs).mean[:, 30:].any()


@pytest.mark.parametrize(
    ("settings", "match"),
    [({"tau": "fits"}, "fit"), ({"neurons": "al"}, "all"), ({"rank": 0}, "rank")],
)
def test_refuses(settings, match):
    y, x = simulate(VM, VU, trials=3, time=10, neurons=4)
    with pytest.raises(pl.InputError, match=match):
        pl.StochasticLowRankRNN(dt=A, **settings).fit(y, x)


def repeated(trials=25, seed=0, n_in=1, time=60):
    """Activity of four conditions, each with inputs of its own; inputs; conditions; M."""
    rng = np.random.default_rng(seed)
    x = np.repeat(rng.normal(size=(4, time // 5, n_in)), 5, axis=1)
    flat = x.reshape(-1, n_in)
    x = x @ np.linalg.inv(np.linalg.cholesky(flat.T @ flat / len(flat))).T
    m, u = rng.normal(size=(50, n_in)), rng.normal(size=(50, 1))
    m += 0.3
    u /= np.sqrt(np.mean(u**2))
    condition = np.repeat(np.arange(4), trials)
    k_m, k_u = np.zeros((len(condition), n_in)), 0.3 * rng.normal(size=(len(condition), 1))
    y = np.zeros((len(condition), time, 50))
    for t in range(time):
        if t:
            k_u = (1 - A) * k_u + A * (0.8 * k_m[:, :1] + 0.5 * k_u)
            k_u = k_u + 0.2 * rng.normal(size=k_u.shape)
        k_m = (1 - A) * k_m + A * x[condition, t]
        y[:, t] = 3 + k_m @ m.T + k_u @ u.T
    return y + rng.normal(size=y.shape), x, condition, m


def test_unknown_inputs_are_recovered():
    y, x, condition, m = repeated(trials=50)
    names = np.array(list("dacb"))[condition]
    train = np.arange(200) % 2 == 0
    fit = pl.StochasticLowRankRNN(1, dt=A, n_bootstrap=12, n_starts=2, cv=0)
    fit.fit(y[train], inputs="estimate", conditions=names[train])
    assert fit.conditions_.tolist() == list("abcd")
    assert np.mean(fit.inputs_**2) == pytest.approx(1)
    true = x[[1, 3, 2, 0]]
    assert np.corrcoef(fit.inputs_.ravel(), true.ravel())[0, 1] > 0.95
    z = (fit.inputs_ - true) / fit.inputs_sd_
    assert 0.5 < np.sqrt(np.mean(z**2)) < 2.5
    for name, truth in {"vm": 0.8, "vu": 0.5, "mm": np.mean(m**2)}.items():
        low, high = fit.intervals_.loc[name, ["low", "high"]]
        assert low < truth < high
    assert np.diff(fit.log_likelihoods_).min() > 0
    known = pl.StochasticLowRankRNN(1, dt=A, n_bootstrap=0).fit(y[train], x[condition[train]])
    held = fit.score(y[~train], conditions=names[~train])
    assert known.score(y[~train], x[condition[~train]]) == pytest.approx(held, abs=0.02)
    guess = fit.predict(conditions=names[~train])
    assert 1 - np.sum((y[~train] - guess) ** 2) / np.sum(
        (y[~train] - fit.activity_mean_) ** 2
    ) == pytest.approx(held)
    with pytest.raises(pl.InputError, match="not in fit"):
        fit.predict(conditions=["e"])


def test_two_unknown_inputs():
    y, x, condition, _ = repeated(n_in=2)
    fit = pl.StochasticLowRankRNN(1, dt=A, n_bootstrap=0, n_starts=1, cv=0)
    fit.fit(y, inputs="estimate", conditions=condition, n_in=2)
    flat, true = fit.inputs_.reshape(-1, 2), x.reshape(-1, 2)
    assert flat.T @ flat / len(flat) == pytest.approx(np.eye(2), abs=1e-9)
    gram = fit.m_.T @ fit.m_
    assert abs(gram[0, 1]) < 1e-8 * gram[0, 0]
    assert gram[0, 0] > gram[1, 1]
    # any mixture of the inputs will do: compare the spaces
    rest = true - flat @ np.linalg.lstsq(flat, true, rcond=None)[0]
    assert np.mean(rest**2) < 0.1
    assert abs(fit.overlaps_["vu"] - 0.5) < 0.15


def test_without_inputs():
    rng = np.random.default_rng(0)
    u = rng.normal(size=(40, 2))
    u = u @ np.linalg.inv(np.linalg.cholesky(u.T @ u / 40)).T
    means = np.array([[2.0, 0], [0, 1], [1, 1], [-1, 0.5]])
    condition = np.repeat(np.arange(4), 20)
    k = means[condition] + 0.3 * rng.normal(size=(80, 2))
    y = np.zeros((80, 60, 40))
    for t in range(60):
        if t:
            k = (1 - A) * k + A * k @ VU.T + 0.2 * rng.normal(size=k.shape)
        y[:, t] = 1 + k @ u.T
    y += rng.normal(size=y.shape)
    fit = pl.StochasticLowRankRNN(2, dt=A, n_bootstrap=12).fit(y, conditions=condition)
    # the first axis is along the mean initial state of the first condition
    assert fit.initial_[0] == pytest.approx(means, abs=0.3)
    assert fit.initial_[0][0, 1] == pytest.approx(0, abs=1e-9)
    table = fit.gauge_invariants_.loc["vu"]
    assert table["low"] < np.trace(VU) < table["high"]
    assert np.abs(fit.vu_ - VU).max() < 0.3
    assert np.abs(fit.process_noise_ - 0.04 * np.eye(2)).max() < 0.01
    assert np.isnan(fit.overlaps_[["mm", "v1m", "mu2", "zm"]]).all()
    assert fit.unseen_["mm"].startswith("no inputs")
    assert set(fit.unseen_.index) == set(fit.overlaps_.index[fit.overlaps_.isna()])
    outputs = (y - 1).mean(axis=2, keepdims=True)  # z = 1
    fit.set_params(n_bootstrap=0).fit(y, outputs=outputs, conditions=condition)
    expected = fit.u_.mean(axis=0)
    assert fit.overlaps_[["zu1", "zu2"]].to_numpy() == pytest.approx(expected, abs=0.03)


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_tau_is_fitted_where_inputs_are_known(seed):
    y, x = simulate(np.array([[0.8]]), np.array([[0.5]]), seed=seed)
    fit = pl.StochasticLowRankRNN(1, dt=A, tau="fit", n_bootstrap=10).fit(y, x)
    low, high = fit.state_intervals_.loc["tau", ["low", "high"]]
    assert low < 1.0 < high
    assert high - low < 0.2
    low, high = fit.intervals_.loc["vu", ["low", "high"]]
    assert low < 0.5 < high
    assert fit.tau_ == pytest.approx(1.0, abs=0.05)


def test_lists_of_trials_and_conditions_of_unequal_length():
    y, _, condition, _ = repeated(trials=8)
    bins = np.where(condition == 2, 40, 60)
    trials = [trial[:n] for trial, n in zip(y, bins, strict=True)]
    fit = pl.StochasticLowRankRNN(1, dt=A, n_bootstrap=0, n_starts=1, cv=0)
    fit.fit(trials, inputs="estimate", conditions=condition)
    assert np.isnan(fit.inputs_[2, 40:]).all()
    assert np.isfinite(fit.inputs_[2, :40]).all()
    assert np.nanmean(fit.inputs_**2) == pytest.approx(1)
    assert fit.score(trials, conditions=condition) > 0


@pytest.mark.parametrize(
    ("settings", "inputs", "conditions", "match"),
    [
        ({"tau": "fit"}, "estimate", [0, 0, 0], "unless inputs are known"),
        ({"tau": "fit"}, None, None, "unless inputs are known"),
        ({}, np.zeros((3, 10, 1)), None, "zero throughout"),
        ({}, np.ones((3, 10, 2)) * np.arange(30).reshape(3, 10, 1), None, "multiples of each"),
        ({"cv": 1}, None, None, "at least 2 folds"),
        ({}, "estimates", None, "estimate"),
        ({}, "estimate", [0, 1, 2], "two trials"),
        ({}, None, [0, 1], "one label a trial"),
        ({"smoothness": -1.0}, None, None, "smoothness"),
    ],
)
def test_refuses_inputs(settings, inputs, conditions, match):
    y, _ = simulate(VM, VU, trials=3, time=10, neurons=6)
    with pytest.raises(pl.InputError, match=match):
        pl.StochasticLowRankRNN(dt=A, **settings).fit(y, inputs, conditions=conditions)


def copied(y, rng):
    """Ways in which a recording holds a unit more than once, and what is said of each."""
    pair, three, scaled, total, near, gaps = (y.copy() for _ in range(6))
    pair[:, :, 3] = y[:, :, 2]
    three[:, :, 3] = three[:, :, 5] = y[:, :, 2]
    scaled[:, :, 3] = 5 - 2 * y[:, :, 2]
    total[:, :, 3] = y[:, :, 1] + y[:, :, 2]
    near[:, :, 3] = y[:, :, 2] + 0.01 * rng.normal(size=y.shape[:2])
    gaps[:, :, 3] = y[:, :, 2]
    gaps[rng.random(y.shape) < 0.1] = np.nan
    return {
        "unit 3 is unit 2": pair,
        "unit 3 is unit 2; unit 5 is unit 2": three,
        "unit 3 is -2 x unit 2": scaled,
        "unit 3 is unit 1 + unit 2": total,
        "unit 3 is unit 2 ": near,
        "unit 3 is unit 2  ": gaps,
    }


def test_units_stored_twice_are_named_and_set_aside():
    y, x = simulate(np.array([[0.8]]), np.array([[0.5]]), trials=20, time=50, neurons=12)
    settings = {"rank": 2, "dt": A, "n_bootstrap": 0, "cv": 0, "n_starts": 1}
    alone = pl.StochasticLowRankRNN(**settings).fit(np.delete(y, 3, 2), x)
    for said, activity in copied(y, np.random.default_rng(0)).items():
        with pytest.warns(SilentNeuronsWarning, match=f"^{re.escape(said.strip())}: set aside"):
            fit = pl.StochasticLowRankRNN(**settings).fit(activity, x)
        assert fit.copies_[3]
        assert fit.copies_.sum() == 1 + (said.count("is") == 2)
        assert np.isnan(fit.m_[3]).all()
        assert np.isnan(fit.noise_variance_[3])
        assert np.isnan(fit.predict(x)[:, :, 3]).all()
        assert np.nanmin(fit.noise_variance_) > 0.1  # 1e-6 where a pair is kept
        assert np.isfinite(fit.score(activity, x))
        if said == "unit 3 is unit 2":
            assert fit.overlaps_["mm"] == pytest.approx(alone.overlaps_["mm"])
            held = fit.score(activity, x, metric="co-smoothing", held_out=[4])
            same = alone.score(np.delete(y, 3, 2), x, metric="co-smoothing", held_out=[3])
            assert held == pytest.approx(same, abs=1e-6)
            with pytest.raises(pl.InputError, match="were set aside"):
                fit.score(activity, x, metric="co-smoothing", held_out=[3])
    assert copied_units(y) == []
    # low-dimensional activity without noise is no copy
    assert copied_units(x @ np.random.default_rng(1).normal(size=(1, 9)) ** 3, few=1)
    two = np.concatenate([x, x**2], axis=2) @ np.random.default_rng(1).normal(size=(2, 9))
    assert copied_units(two, few=3) == []


def test_constant_units_are_set_aside_and_a_readout_follows():
    y, x = simulate(np.array([[0.8]]), np.array([[0.5]]), trials=20, time=50, neurons=12)
    z = np.random.default_rng(0).normal(size=(12, 1))
    settings = {"dt": A, "n_bootstrap": 0, "cv": 0, "n_starts": 1}
    alone = pl.StochasticLowRankRNN(**settings).fit(y[:, :, 1:], x, readout=z[1:])
    y[:, :, 0] = 7.0
    with pytest.warns(SilentNeuronsWarning, match="1 of 12 neurons never change"):
        fit = pl.StochasticLowRankRNN(**settings).fit(y, x, readout=z)
    assert fit.silent_.tolist() == [True] + [False] * 11
    assert fit.overlaps_["zu"] == pytest.approx(alone.overlaps_["zu"])
    assert fit.z_.shape == (12, 1)


@pytest.mark.parametrize(
    "change",
    ["huge", "tiny", "two trials", "no noise", "more neurons than bins", "constant input"],
)
def test_no_raw_error_of_linear_algebra(change):
    y, x = simulate(np.array([[0.8]]), np.array([[0.5]]), trials=12, time=30, neurons=12)
    rng = np.random.default_rng(0)
    if change in ("huge", "tiny"):
        y, x = (y * 1e9, x * 1e6) if change == "huge" else (y * 1e-9, x)
    elif change == "two trials":
        y, x = y[:2], x[:2]
    elif change == "no noise":
        y = np.concatenate([x, x**2], axis=2) @ rng.normal(size=(2, 12))
    elif change == "more neurons than bins":
        y, x = rng.normal(size=(4, 8, 60)), x[:4, :8]
    else:
        x = np.ones_like(x)
    fit = pl.StochasticLowRankRNN(2, dt=A, n_bootstrap=3, n_starts=1, max_iter=200)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        fit.fit(y, x)
    assert np.isfinite(fit.overlaps_[["mm", "v1m", "v2u2"]]).all()
    assert np.isfinite(fit.log_likelihood_)


def bursts(seed, rank=4):
    """Slow bursts of single neurons beside shared ones: a likelihood of many maxima."""
    rng = np.random.default_rng(seed)
    u = rng.normal(size=(30, 3)) * (rng.random((30, 3)) < 0.3)
    k, own, y = np.zeros((20, 3)), np.zeros((20, 30)), np.zeros((20, 60, 30))
    size = rng.exponential(1.0, 30) ** 2
    for t in range(60):
        k = 0.95 * k + (rng.random(k.shape) < 0.05) * rng.exponential(2.0, k.shape)
        loud = (rng.random(own.shape) < 0.01) * rng.exponential(4.0, own.shape)
        own = 0.9 * own + loud * size
        y[:, t] = k @ u.T + own
    return y + 0.4 * rng.normal(size=y.shape)


def test_starts_are_drawn_until_the_best_is_met_again():
    settings = {"rank": 4, "dt": A, "n_bootstrap": 0, "cv": 0}
    lower = 0
    for seed in range(2):
        y = bursts(seed)
        one = pl.StochasticLowRankRNN(n_starts=1, **settings).fit(y)
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always", ConvergenceWarning)
            fit = pl.StochasticLowRankRNN(**settings).fit(y)
        assert fit.log_likelihood_ > one.log_likelihood_ - 1
        lower += one.log_likelihood_ < fit.log_likelihood_ - 10
        table = fit.optima_
        assert table["below"].iloc[0] == 0
        assert table["log_likelihood"].is_monotonic_decreasing
        assert (table["met"].iloc[0] > 1) != any("one search only" in str(w.message) for w in told)
    assert lower > 0


def test_the_held_out_score_is_that_of_folds_fitted_apart():
    y, x = simulate(VM, VU, trials=30, time=40, neurons=20)
    fit = pl.StochasticLowRankRNN(2, dt=A, n_bootstrap=0, n_starts=2).fit(y, x)
    table = fit.score_
    assert table.index.tolist() == ["r2", "co-smoothing", "log-likelihood"]
    # by hand: thirds of the trials left out of fits that know nothing of each other
    rows = []
    for fold in range(3):
        test = np.arange(30) % 3 == fold
        part = pl.StochasticLowRankRNN(2, dt=A, n_bootstrap=0, n_starts=1, cv=0)
        part.fit(y[~test], x[~test])
        held = [
            part.score(y[test], x[test], "co-smoothing", list(range(q, 20, 4))) for q in range(4)
        ]
        rows.append(
            [
                part.score(y[test], x[test]),
                np.mean(held),
                part.score(y[test], x[test], "log-likelihood"),
            ]
        )
    expected = np.mean(rows, axis=0)
    assert table["mean"].to_numpy() == pytest.approx(expected, abs=0.03)
    # surplus dimensions raise the likelihood and not the score
    more = pl.StochasticLowRankRNN(6, dt=A, n_bootstrap=0, n_starts=1, max_iter=3000).fit(y, x)
    assert more.log_likelihood_ > fit.log_likelihood_ + 20
    assert more.score_.loc["log-likelihood", "mean"] < table.loc["log-likelihood", "mean"]
    assert pl.StochasticLowRankRNN(dt=A, n_bootstrap=0, cv=0, n_starts=1).fit(y, x).score_ is None


@pytest.mark.slow
def test_coverage():
    held, estimates = {"vm": 0, "vu": 0}, []
    for seed in range(100):
        y, x = simulate(
            np.array([[0.8]]), np.array([[0.4]]), trials=30, time=40, neurons=30, seed=seed
        )
        fit = pl.StochasticLowRankRNN(1, dt=A, n_bootstrap=50, seed=seed).fit(y, x)
        estimates.append(fit.overlaps_["vu"])
        for name, truth in {"vm": 0.8, "vu": 0.4}.items():
            low, high = fit.intervals_.loc[name, ["low", "high"]]
            held[name] += int(low < truth < high)
    assert min(held.values()) >= 88, (held, np.mean(estimates))  # 95 less 3 standard errors


def test_the_order_of_before_works_for_one_version():
    y, x = simulate(np.array([[0.8]]), np.array([[0.4]]), 12, 15, 6, seed=0)
    z = np.random.default_rng(0).normal(size=(6, 1))
    settings = {"rank": 1, "dt": A, "n_bootstrap": 0, "cv": 0, "n_starts": 1}
    now = pl.StochasticLowRankRNN(**settings).fit(y, x, readout=z)
    with pytest.warns(DeprecationWarning, match="outputs before readout"):
        before = pl.StochasticLowRankRNN(**settings).fit(y, x, z)
    np.testing.assert_array_equal(now.overlaps_, before.overlaps_)
