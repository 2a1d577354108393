"""Means over bins of continuous dynamics, against plain numpy in much finer steps."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import erf as error_function

import predictlearn as pl
from predictlearn.errors import MisfitWarning
from predictlearn.fitting.session import estimator as low_rank_rnn
from predictlearn.fitting.session import optima
from predictlearn.fitting.session.dynamics import Dynamics, Layout
from predictlearn.fitting.session.rollout import predicted
from predictlearn.fitting.session.search import starts
from predictlearn.fitting.session.search.data import Data
from predictlearn.fitting.session.search.regression import blocks


def fine_means(x, vm, vu, bb, dt, tau, latency, per_bin, erf, fine):
    """Heun's method in ``fine`` steps a bin."""
    n_trials, n_steps, n_in = x.shape
    n_bins, h = n_steps // per_bin, dt / fine
    out = np.zeros((n_in + len(vm), n_trials, n_bins))
    k = np.zeros((n_trials, n_in + len(vm)))

    def slope(k, now):
        gain = 1.0
        if erf:
            gain = 1 / np.sqrt(1 + np.pi / 2 * np.einsum("pc,cd,pd->p", k, bb, k))[:, None]
        drive = gain * (k[:, :n_in] @ vm.T + k[:, n_in:] @ vu.T)
        return np.concatenate([now - k[:, :n_in], drive - k[:, n_in:]], axis=1) / tau

    for t in range(n_bins):
        for i in range(fine):
            at = int(np.floor(((t * fine + i + 0.5) * h - latency) / dt * per_bin))
            now = x[:, at] if at >= 0 else np.zeros((n_trials, n_in))
            first = slope(k, now)
            ahead = k + h * first
            new = k + h * (first + slope(ahead, now)) / 2
            out[:, :, t] += ((k + new) / 2).T / fine
            k = new
    return out


def random_network(seed, n_in, rank):
    rng = np.random.default_rng(seed)
    vm, vu = rng.normal(size=(rank, n_in)), 0.8 * rng.normal(size=(rank, rank))
    loadings = rng.normal(size=(9, n_in + rank))
    return rng, vm, vu, loadings.T @ loadings / 9


@pytest.mark.parametrize("erf", [False, True])
@pytest.mark.parametrize("per_bin", [1, 3])
@pytest.mark.parametrize(("dt", "latency"), [(0.02, 0.0), (0.1, 0.137), (0.3, 0.2)])
def test_means_are_those_of_finer_steps(erf, per_bin, dt, latency):
    rng, vm, vu, bb = random_network(0, 2, 2)
    x = rng.normal(size=(2, 5 * per_bin, 2))
    dynamics = Dynamics(x, dt, Layout(2, 2, erf), 0.13, latency, True, per_bin)
    k = dynamics.activity(dynamics.layout.pack(vm, vu, bb))
    fine = fine_means(x, vm, vu, bb, dt, 0.13, latency, per_bin, erf, 600)
    # the edges of a latency fall between two of the finer steps
    assert np.abs(k - fine).max() < (2e-5 if not latency else 2e-3 * dt)


@pytest.mark.parametrize("erf", [False, True])
@pytest.mark.parametrize("per_bin", [1, 2])
def test_slopes_are_differences(erf, per_bin):
    rng, vm, vu, bb = random_network(1, 2, 2)
    layout = Layout(2, 2, erf, True, True)
    x = rng.normal(size=(2, 6 * per_bin, 2))
    dynamics = Dynamics(x, 0.1, layout, mean=True, per_bin=per_bin)
    theta = layout.pack(vm, vu, bb, 0.13, 0.137)
    slopes = dynamics.roll(theta)[1]
    for j in range(layout.size):
        step = 1e-5 * np.eye(layout.size)[j]
        up, down = dynamics.activity(theta + step), dynamics.activity(theta - step)
        assert np.abs((up - down) / 2e-5 - slopes[:, j]).max() < 1e-7


def recorded(bin, seed, hold=60, inputs_at=None):
    """Currents of 40 neurons, tau 0.3 s, vu 0.6; inputs hold for so many times 0.01 s."""
    rng = np.random.default_rng(seed)
    x = np.repeat(rng.normal(size=(30, 300 // hold, 1)), hold, axis=1)
    vm, vu, fine = np.array([[0.5]]), np.array([[0.6]]), round(bin / 0.01)
    k = fine_means(x, vm, vu, None, 0.01, 0.3, 0.0, 1, False, 4)
    k = k.reshape(2, 30, -1, fine).mean(axis=3)
    loadings = rng.normal(size=(40, 2))
    y = np.einsum("cpt,ic->pti", k, loadings)
    own = round((inputs_at or bin) / 0.01)
    x = x.reshape(30, -1, own, 1).mean(axis=2)
    return y + 1e-3 * rng.normal(size=y.shape), x, loadings


@pytest.mark.parametrize("bin", [0.03, 0.1, 0.3])
def test_overlaps_do_not_depend_on_the_width_of_the_bin(bin):
    y, x, loadings = recorded(bin, 0)
    fit = pl.LowRankRNN(dt=bin, tau=0.3, observed="current", n_bootstrap=0).fit(y, x)
    assert fit.bin_ == "mean"
    assert fit.overlaps_["vu"] == pytest.approx(0.6, abs=1e-3)
    assert fit.overlaps_["mm"] == pytest.approx((loadings[:, 0] ** 2).mean(), rel=1e-2)
    if bin == 0.1:
        model = pl.LowRankRNN(dt=bin, tau=0.3, observed="current", n_bootstrap=0, bin="euler")
        with pytest.warns(MisfitWarning, match="tau 0.3 s and latency 0 s were given"):
            fit = model.fit(y, x)
        assert abs(fit.overlaps_["vu"] - 0.6) > 0.02


def saturating_means(x, vm, vu, bb, loadings, dt, tau, fine):
    """Means over bins of phi(h) and of k, from fine means of k: (trials, bins, neurons)."""
    steps = np.repeat(x, fine, axis=1)
    k = fine_means(steps, vm, vu, bb, dt / fine, tau, 0.0, 1, True, 4)
    rates = error_function(np.sqrt(np.pi) / 2 * np.einsum("cpt,ic->pti", k, loadings))
    return rates.reshape(len(x), -1, fine, len(loadings)).mean(axis=2)


@pytest.mark.parametrize(("dt", "share"), [(0.025, 1 / 20), (0.05, 1 / 10), (0.1, 1 / 4)])
@pytest.mark.parametrize("per_bin", [1, 2, 3])
def test_two_nodes_give_the_mean_of_a_saturating_rate(dt, share, per_bin):
    rng, vm, vu, bb = random_network(3, 1, 1)
    loadings = rng.normal(size=(9, 2))
    x = rng.normal(size=(3, 12, 1))
    x = np.repeat(np.repeat(x, 2, axis=1), per_bin, axis=1)
    truth = saturating_means(x, vm, vu, bb, loadings, dt / per_bin, 0.1, 60 // per_bin)
    truth = truth.reshape(3, -1, per_bin, 9).mean(axis=2)
    gap = []
    for nodes in (1, 2):
        dynamics = Dynamics(x, dt, Layout(1, 1, True), 0.1, 0.0, True, per_bin, nodes)
        data = Data.from_activity(truth, offset=False, gain=False, saturating=True, ridge=None)
        k = dynamics.activity(dynamics.layout.pack(vm, vu, bb))
        data = replace(data, nodes=nodes)
        gap.append(np.std(predicted(data, data.flatten(k), loadings).T - truth.reshape(-1, 9)))
    # of the fourth order in the bin, not of the second
    assert gap[1] < share * gap[0]


def test_normal_equations_of_two_nodes_are_differences():
    rng, vm, vu, bb = random_network(4, 2, 1)
    layout = Layout(2, 1, True, True, True)
    theta = layout.pack(vm, vu, bb, 0.1, 0.03)
    dynamics = Dynamics(rng.normal(size=(3, 7, 2)), 0.1, layout, mean=True, nodes=2)
    y = rng.normal(size=(3, 7, 4))
    y[1, 2:4, 1] = np.nan
    for fading in (0.0, 0.5):
        data = Data.from_activity(
            y, offset=True, gain=True, saturating=True, ridge=None, fading=fading
        )
        data = replace(data, nodes=2)
        phi = rng.normal(size=(4, 5))
        k, dk = (data.flatten(a) for a in dynamics.roll(theta))
        at = blocks(data, layout, k, dk, phi)

        def residual(theta, phi, data=data):
            k = data.flatten(dynamics.activity(theta))
            gap = data.activity - predicted(data, k, phi)
            return np.where(data.seen, gap, 0.0)

        columns = []
        for a in range(5 + layout.size):
            step = 1e-5 * np.eye(5 + layout.size)[a]
            up, down = (residual(theta + s * step[5:], phi + s * step[:5]) for s in (1, -1))
            columns.append((down - up) / 2e-5)
        jac, left = np.stack(columns, axis=1), residual(theta, phi)
        assert at.squares == pytest.approx((left**2).sum(axis=1))
        assert np.abs(at.inner - np.einsum("iar,ibr->iab", jac[:, :5], jac[:, :5])).max() < 1e-5
        assert np.abs(at.cross - np.einsum("iar,ibr->iab", jac[:, :5], jac[:, 5:])).max() < 1e-5
        outer = np.stack([at.outer(one) for one in np.eye(4)])
        difference = outer - np.einsum("iar,ibr->iab", jac[:, 5:], jac[:, 5:])
        assert np.abs(difference).max() < 1e-7 * np.abs(outer).max()
        assert np.abs(at.slope_phi - np.einsum("iar,ir->ia", jac[:, :5], left)).max() < 1e-5
        assert np.abs(at.slope_theta - np.einsum("iar,ir->ia", jac[:, 5:], left)).max() < 1e-5


@pytest.mark.parametrize("width", [0.5, 1.0])
def test_saturating_rates_in_wide_bins_give_tau(width):
    rng = np.random.default_rng(5)
    loadings = rng.normal(size=(60, 2))
    loadings = loadings @ np.linalg.inv(np.linalg.cholesky(loadings.T @ loadings / 60)).T
    x = 1.5 * np.repeat(rng.normal(size=(40, 20, 1)), 2, axis=1)
    y = saturating_means(
        x, np.array([[0.6]]), np.array([[0.6]]), np.eye(2), loadings, 0.1 * width, 0.1, 60
    )
    model = pl.LowRankRNN(
        nonlinearity="erf", dt=0.1 * width, tau="fit", bin="mean", n_bootstrap=0, tol=1e-4
    )
    fit = model.fit(y + 0.1 * rng.normal(size=y.shape), x)
    # the rate of the mean would give 0.098 and 0.62 at bins of half a tau, 0.093 and 0.68 at one
    assert fit.tau_ == pytest.approx(0.1, rel=6e-3)
    assert fit.overlaps_["vu"] == pytest.approx(0.6, abs=0.01)
    assert fit.score(y, x) > 0.995


def test_inputs_at_their_own_finer_step():
    y, x, _ = recorded(0.2, 1, hold=50, inputs_at=0.1)
    model = pl.LowRankRNN(dt=0.2, tau=0.3, observed="current", n_bootstrap=0)
    fit = model.fit(y, x)
    assert fit.bin_ == "mean"
    assert fit.per_bin_ == 2
    assert fit.overlaps_["vu"] == pytest.approx(0.6, abs=1e-3)
    assert fit.predict(x).shape == y.shape
    assert fit.score(y, x) > 0.999
    listed = model.fit([t[:12] for t in y], [t[:24] for t in x])
    assert listed.predict([t[:24] for t in x])[0].shape == (12, 40)
    with pytest.raises(pl.InputError, match=r"2 steps a bin.*bin='mean'"):
        pl.LowRankRNN(dt=0.2, tau=0.3, bin="euler").fit(y, x)
    with pytest.raises(pl.InputError, match=r"\(trials, 2 time, 1\)"):
        fit.predict(x[:, :3])


def test_networks_simulated_in_euler_steps_are_recognised():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(20, 30, 1)).cumsum(axis=1)
    k, h, loadings = np.zeros((20, 2)), np.zeros((20, 30, 40)), rng.normal(size=(40, 2))
    for t in range(30):
        drive = np.stack([x[:, t, 0], 0.5 * k[:, 0] + 0.6 * k[:, 1]], axis=1)
        k = 0.9 * k + 0.1 * drive
        h[:, t] = k @ loadings.T
    h += 0.2 * h.std() * rng.normal(size=h.shape)
    fit = pl.LowRankRNN(dt=0.1, tau=1.0, n_bootstrap=0).fit(h, x)
    assert fit.bin_ == "euler"
    assert fit.overlaps_["vu"] == pytest.approx(0.6, abs=0.02)


def test_bins_too_wide_for_the_dynamics_are_refused():
    y, x, _ = recorded(0.2, 0)
    with pytest.raises(pl.InputError, match="at most 5 tau"):
        pl.LowRankRNN(dt=0.2, tau=0.03).fit(y, x)
    with pytest.raises(pl.InputError, match="bin must be one of 'auto', 'mean', 'euler'"):
        pl.LowRankRNN(dt=0.2, bin="means").fit(y, x)


def test_other_linear_starts_are_followed_as_erf(monkeypatch):
    y, x, _ = recorded(0.1, 2, hold=20)
    rates = error_function(np.sqrt(np.pi) / 2 * y)
    seen = []

    def spied(problem, theta, weaken):
        seen.append((len(theta), problem.layout.size))
        return starts.saturated(problem, theta, weaken)

    monkeypatch.setattr(optima, "saturated", spied)
    first = optima.settle_timing

    def with_more_starts(problem, found, *more):
        return first(problem, found._replace(ends=[found.ends[0]] * 2), *more)

    monkeypatch.setattr(low_rank_rnn, "settle_timing", with_more_starts)
    model = pl.LowRankRNN(nonlinearity="erf", dt=0.1, tau="fit", bin="mean", n_bootstrap=0)
    fit = model.fit(rates + 0.1 * np.random.default_rng(0).normal(size=y.shape), x)
    assert seen == [(3, 6)]  # linear dynamics have no S_bb
    assert len(fit.optima_) >= 1


def test_outputs_of_wide_bins_are_means_too():
    rng, vm, vu, bb = np.random.default_rng(6), np.array([[0.6]]), np.array([[0.6]]), np.eye(2)
    loadings = rng.normal(size=(60, 2))
    loadings = loadings @ np.linalg.inv(np.linalg.cholesky(loadings.T @ loadings / 60)).T
    x = 1.5 * np.repeat(rng.normal(size=(40, 20, 1)), 2, axis=1)
    y = saturating_means(x, vm, vu, bb, loadings, 0.1, 0.1, 60)
    k = fine_means(np.repeat(x, 60, axis=1), vm, vu, bb, 0.1 / 60, 0.1, 0.0, 1, True, 4)
    gain = 1 / np.sqrt(1 + np.pi / 2 * (k**2).sum(axis=0))
    outputs = (gain * (0.3 * k[0] + 0.4 * k[1])).reshape(40, -1, 60).mean(axis=2)
    model = pl.LowRankRNN(nonlinearity="erf", dt=0.1, tau=0.1, bin="mean", n_bootstrap=0, tol=1e-4)
    fit = model.fit(y + 0.1 * rng.normal(size=y.shape), x, outputs[:, :, None])
    # bins of one tau: one node alone would give 0.34 and 0.23, two give 0.296 and 0.403
    assert fit.overlaps_["zm"] == pytest.approx(0.3, abs=0.006)
    assert fit.overlaps_["zu"] == pytest.approx(0.4, abs=0.006)
