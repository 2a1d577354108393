"""StochasticLowRankRNN: a Kalman smoother inside EM."""

import numpy as np
import pytest
from scipy import stats

import predictlearn as pl
from predictlearn.fitting.state_space_em import climb, start_parameters
from predictlearn.fitting.state_space_model import (
    Activity,
    Parameters,
    Sums,
    filtered_inputs,
    posterior,
)

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
    data = Activity.from_array(y)
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
    data, f = Activity.from_array(y[:1]), f[:1]
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
    data = Activity.from_array(y)
    f = np.concatenate([np.ones((10, 30, 1)), filtered_inputs(x, A)], axis=2)
    condition, sums = np.zeros(10, int), Sums.of(data, f, np.ones(10))
    p = start_parameters(data, f, 1, condition, 2, A, sums)
    course = climb(p, data, f, condition, sums, 60, 1e-12)[2]
    assert np.diff(course).min() > -1e-8
    assert course[-1] > course[0] + 10


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
    [({"tau": "fit"}, "tau must be a number"), ({"neurons": "al"}, "all"), ({"rank": 0}, "rank")],
)
def test_refuses(settings, match):
    y, x = simulate(VM, VU, trials=3, time=10, neurons=4)
    with pytest.raises(pl.InputError, match=match):
        pl.StochasticLowRankRNN(dt=A, **settings).fit(y, x)
