"""A recorded bin as the mean over it: the map, the likelihood, and learners in continuous time."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from learner import simulate
from scipy import integrate

import predictlearn as pl
from predictlearn.errors import InputError
from predictlearn.fitting.learning.recordings.data import first_look, warn_of_clocks
from predictlearn.fitting.learning.search import shortened
from predictlearn.fitting.session.dynamics import Dynamics, Layout

RULE = pl.GradientDescent(2e-3)
# learns as much in an eighth of the updates, each of which the learner takes long for
FAST = pl.GradientDescent(1.6e-2)


class Shown:
    """A task that shows given trials."""

    fixed = True

    def __init__(self, inputs, targets, weights, dt):
        self.trials = pl.Trials(inputs, targets, weights, dt)
        self.n_in, self.n_out, self.dt = 1, 1, dt

    def sample(self, rng):
        return self.trials


def recordings(sessions, dt, observed):
    """Return recordings and the ids of their neurons."""
    made = [
        pl.Recording(activity=seen, inputs=x, outputs=y, dt=dt, observed=observed)
        for seen, x, y, _ in sessions
    ]
    return made, [ids for *_, ids in sessions]


def network(rank, n_in, dt, seed=0, n_bins=4, tau=0.7):
    """Return means over bins of a random linear network, and its parameters."""
    rng = np.random.default_rng(seed)
    layout = Layout(n_in, rank, erf=False)
    vm, vu = rng.normal(size=(rank, n_in)), 0.6 * rng.normal(size=(rank, rank))
    x = rng.normal(size=(3, n_bins, n_in))
    return Dynamics(x, dt, layout, tau, mean=True), layout.pack(vm, vu, np.eye(n_in + rank))


@pytest.mark.parametrize(("rank", "n_in", "dt"), [(1, 1, 0.07), (1, 1, 2.0), (2, 2, 0.35)])
def test_means_are_those_of_the_differential_equation(rank, n_in, dt):
    averages, theta = network(rank, n_in, dt)
    k, _ = averages.roll(theta)
    vm, vu, _ = averages.layout.unpack(theta)
    for p, x in enumerate(averages.inputs):

        def moved(t, s, x=x):
            # the state, and its integral
            now = x[min(int(t / dt), len(x) - 1)]
            a, b = s[:n_in], s[n_in : n_in + rank]
            return np.concatenate([now - a, vm @ a + vu @ b - b, 0.7 * s[: n_in + rank]]) / 0.7

        s = np.zeros(2 * (n_in + rank))
        for t in range(len(x)):
            before = s[n_in + rank :].copy()
            run = integrate.solve_ivp(
                moved, (t * dt, (t + 1) * dt * (1 - 1e-15)), s, rtol=1e-10, atol=1e-12
            )
            s = run.y[:, -1]
            np.testing.assert_allclose(k[:, p, t], (s[n_in + rank :] - before) / dt, atol=1e-8)


def test_bins_of_any_width_are_of_one_network():
    """Two bins with one input are, averaged, a bin of twice the width."""
    fine, theta = network(2, 2, 0.2, n_bins=8)
    fine = replace(fine, inputs=np.repeat(fine.inputs[:, :4], 2, axis=1))
    wide = replace(fine, inputs=np.ascontiguousarray(fine.inputs[:, ::2]), dt=0.4)
    for narrow, broad in zip(fine.roll(theta), wide.roll(theta), strict=True):
        pairs = narrow.reshape(*narrow.shape[:-1], 4, 2).mean(axis=-1)
        np.testing.assert_allclose(pairs, broad, atol=1e-12)


def test_slopes_of_the_means():
    averages, theta = network(2, 2, 0.35)
    _, slopes = averages.roll(theta)
    for j, along in enumerate(1e-6 * np.eye(len(theta))):
        ends = [averages.roll(theta + side * along)[0] for side in (1, -1)]
        np.testing.assert_allclose(slopes[:, j], (ends[0] - ends[1]) / 2e-6, atol=1e-8)


def test_activity_that_runs_away_has_no_means():
    averages, _ = network(1, 1, 1.0, n_bins=40)
    assert averages.roll(np.array([0.5, 0.9])) is not None
    assert averages.roll(np.array([0.5, 1.2])) is None


@pytest.fixture(scope="module")
def slow_bins():
    """A learner in continuous time, in bins of half a time constant."""
    return simulate(
        seed=1, n=60, recorded=40, same=20, eta=FAST.rate, n_sessions=6, gap=4, dt=0.5, n_bins=12,
        fine=20, observed="current", repeats=20,
    )  # fmt: skip


def fitted(learner, dt, observed="current", gap=4, network=60, n_starts=1, rule=FAST, **given):
    """Return a fit, and which intervals hold."""
    task, sessions, true = learner
    made, neurons = recordings(sessions, dt, observed)
    fit = pl.LearningFit(n_starts=n_starts).fit_recordings(
        made, Shown(**task), gap, rule, neurons=neurons, network=network, **given
    )
    truth = pd.Series({**true, "rate": rule.rate})
    table = fit.intervals_.loc[truth.index]
    assert ((table["low"] <= table["estimate"]) & (table["estimate"] <= table["high"])).all()
    return fit, (table["low"] <= truth) & (truth <= table["high"])


@pytest.fixture(scope="module")
def by_means(slow_bins):
    """Return the fit to them, and which of its intervals hold."""
    return fitted(slow_bins, 0.5)


def test_bins_of_half_a_time_constant(by_means):
    fit, held = by_means
    assert fit.bin_ == "mean"
    assert fit.bin_log_likelihoods_["mean"] > fit.bin_log_likelihoods_["euler"] + 1000
    assert fit.converged_
    assert held.sum() >= 10
    table = fit.intervals_
    assert table.loc["vu", "sd"] < 0.02
    # every session by itself is of the same network
    np.testing.assert_allclose(fit.sessions_["vu"], fit.trajectory_["vu"], atol=0.1)


# that its likelihood is worse is in the test before
@pytest.mark.slow
def test_one_euler_step_a_bin_is_another_network(slow_bins):
    wrong, held = fitted(slow_bins, 0.5, bin="euler")
    assert wrong.bin_ == "euler"
    assert wrong.bin_log_likelihoods_.empty
    assert held.sum() <= 3


def test_a_network_of_euler_steps_is_taken_for_one():
    learner = simulate(
        n=60, recorded=40, same=20, eta=FAST.rate, gap=5, n_sessions=5, repeats=3,
        observed="current",
    )  # fmt: skip
    fit, held = fitted(learner, 0.1, gap=5)
    assert held.sum() >= 9
    assert fit.bin_ == "euler"
    assert fit.bin_log_likelihoods_["euler"] > fit.bin_log_likelihoods_["mean"] + 20


def test_clocks_that_do_not_agree_are_named(slow_bins):
    made, _ = recordings(slow_bins[1], 0.5, "current")
    warn_of_clocks([pl.Filter(dt=0.025)], made, 1.0)
    with pytest.warns(UserWarning, match=r"Euler steps of 0.1 s at tau = 1 s.*of 0.025 s or less"):
        warn_of_clocks([pl.Filter(dt=0.025), pl.Filter(dt=0.1)], made, 1.0)
    with pytest.warns(UserWarning, match=r"bins of 0.5 s are longer than tau \(0.4 s\)"):
        warn_of_clocks([pl.Filter(dt=0.01)], made, 0.4)


def test_slopes_of_the_likelihood(by_means):
    fit, _ = by_means
    raw = shortened(fit._problem, 3)
    x = fit._best.x + 0.02 * np.random.default_rng(0).standard_normal(len(fit._best.x))
    slopes = raw.evaluate(x)[1]
    for p, along in enumerate(1e-6 * np.eye(len(x))):
        ends = [raw.evaluate(x + side * along)[0] for side in (1, -1)]
        assert slopes[p] == pytest.approx(
            (ends[0] - ends[1]) / 2e-6, abs=1e-5 * np.abs(slopes).max()
        )


def test_refuses(slow_bins):
    with pytest.raises(InputError, match="bin must be one of 'auto', 'mean', 'euler'"):
        fitted(slow_bins, 0.5, bin="end")
    task, sessions, _ = slow_bins
    made, neurons = recordings(sessions, 0.5, "current")
    model = pl.LearningFit(tau=0.25)
    with pytest.raises(InputError, match=r"tau must exceed half a bin.* or bin be 'mean'"):
        model.fit_recordings(made, Shown(**task), 30, RULE, neurons=neurons, bin="euler")
    # of which a fit by means knows nothing
    assert np.isfinite(first_look(made[:1], 1, 0.25, 0, bin="mean").to_numpy()).all()


@pytest.mark.slow
def test_twelve_sessions_of_counts():
    """A case in which the interval of zv excluded both its own estimate and the truth."""
    fit, held = fitted(simulate(), 0.1, "counts", 40, 200, 4, RULE, noise="poisson", gain="fit")
    assert fit.bin_ == "euler"
    assert held["zv"]
    assert held.sum() >= 10
    low, high = fit.profile("zv")
    assert low == pytest.approx(0.128, abs=0.01)
    assert high == pytest.approx(0.381, abs=0.01)
    table = fit.intervals_.loc["zv"]
    assert table["high"] - table["low"] == pytest.approx(high - low, rel=0.3)
