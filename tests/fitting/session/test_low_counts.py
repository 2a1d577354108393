"""Counts of few spikes, the population of loadings, ridge and missing offsets."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from scipy.optimize import minimize
from test_parts import setup

from predictlearn.errors import OffsetWarning, SilentNeuronsWarning
from predictlearn.fitting import LowRankRNN
from predictlearn.fitting.session.count_noise import CountNoise
from predictlearn.fitting.session.search.data import Data
from predictlearn.fitting.session.search.levenberg_marquardt import Problem, free_directions
from predictlearn.fitting.session.search.loading_prior import Evidence, moment_steps, second_moment
from predictlearn.fitting.session.search.marginal import _state, bend, with_population
from predictlearn.fitting.session.search.regression import blocks

SPREAD = np.array([0.5, 0.5, 0.8, 0.7])


def simulate(seed, base=-4.3, n=60, bins=40, neurons=50, softplus=False, alpha=0.0):
    """Counts of a linear network of rank one, two inputs by condition and a constant one."""
    rng = np.random.default_rng(seed)
    kinds = rng.integers(0, 4, (n, 2)) / 3
    x = np.concatenate([np.repeat(kinds[:, None], bins, 1), np.ones((n, bins, 1))], axis=2)
    loadings = rng.normal(size=(neurons, 4)) * SPREAD
    offset = base + rng.normal(size=neurons)
    k, y, a = np.zeros((n, 4)), np.zeros((n, bins, neurons)), 0.125
    for t in range(bins):
        drive = k[:, :3] @ np.array([0.5, 0.4, 0.3]) + 0.5 * k[:, 3]
        k = (1 - a) * k + a * np.column_stack([x[:, t], drive])
        eta = offset + k @ loadings.T
        rate = np.logaddexp(0, eta) if softplus else np.exp(eta)
        if alpha:
            rate = rate * rng.gamma(1 / alpha, alpha, size=rate.shape)
        y[:, t] = rng.poisson(rate)
    return y, x, loadings


def fitted(y, x, readout=None, **settings):
    settings = {"noise": "poisson", "n_bootstrap": 50, **settings}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SilentNeuronsWarning)
        fit = LowRankRNN(1, dt=0.01, tau=0.08, observed="current", **settings)
        return fit.fit(y, x, readout=readout)


def known(seed=0, n=400, d=3, information=3.0):
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(d, d))
    truth = root @ root.T / d + 0.3 * np.eye(d)
    loadings = rng.multivariate_normal(np.zeros(d), truth, size=n)
    half = rng.normal(size=(n, d, d)) * np.sqrt(information * rng.exponential(size=(n, 1, 1)))
    info = half @ half.transpose(0, 2, 1)
    noise = (half @ rng.normal(size=(n, d, 1)))[:, :, 0]
    natural = (info @ loadings[:, :, None])[:, :, 0] + noise
    return Evidence(info, natural), truth, loadings


def test_population_maximises_the_marginal_likelihood():
    found, truth, _ = known()
    # one neuron of which nothing is known, and one whose estimate is infinite
    found.info[0], found.natural[0] = 0.0, 0.0
    found.info[1], found.natural[1] = 0.0, [0.1, 0.0, -0.1]
    second = second_moment(found)
    rows, columns = np.tril_indices(3)

    def minus(values):
        root = np.zeros((3, 3))
        root[rows, columns] = values
        # natural = info l + noise of covariance info
        inner = np.eye(3) + root.T @ found.info @ root
        pulled = found.natural @ root
        solved = np.linalg.solve(inner, pulled[:, :, None])[:, :, 0]
        return 0.5 * (np.linalg.slogdet(inner)[1] - (pulled * solved).sum(axis=1)).sum()

    best = minimize(minus, np.linalg.cholesky(np.eye(3))[rows, columns], tol=1e-10)
    root = np.zeros((3, 3))
    root[rows, columns] = best.x
    assert second == pytest.approx(root @ root.T, abs=2e-4)
    assert second == pytest.approx(truth, abs=0.35)


def test_population_of_well_measured_neurons_is_that_of_loadings_less_error():
    found, _, _ = known(information=1e4)
    estimates = np.linalg.solve(found.info, found.natural[:, :, None])[:, :, 0]
    plain = estimates.T @ estimates / 400 - np.linalg.inv(found.info).mean(axis=0)
    sampling = np.sqrt(2 / 400) * np.diag(plain)
    good = np.linalg.cond(found.info) < 1e3
    kept = Evidence(found.info[good], found.natural[good])
    plain = estimates[good].T @ estimates[good] / good.sum()
    plain -= np.linalg.inv(kept.info).mean(axis=0)
    assert second_moment(kept) == pytest.approx(plain, abs=0.1 * sampling.min())


def test_steps_of_the_population_against_refits():
    found, _, loadings = known()
    readout = loadings[:, :1] + np.random.default_rng(1).normal(size=(400, 1))
    both = found.with_known(readout)
    start = second_moment(both)
    none = np.zeros((400, 3, 0))
    steps = moment_steps(
        both, start, np.zeros((2, 400, 3)), none, np.zeros((3, 3, 0)), np.zeros((0, 3, 3)), True
    )
    for i in (3, 50, 200):
        twice = np.append(np.arange(400), [i] * 4)
        more = second_moment(Evidence(both.info[twice], both.natural[twice]), start)
        step = 4 * steps.neuron[i] * 400 / 404
        assert more - start == pytest.approx(step, abs=0.06 * np.abs(step).max())
    # what is known of a readout is kept, and its overlaps are not shrunken
    assert start[3, 3] == pytest.approx((readout**2).mean(), rel=1e-5)
    assert start[3, :3] == pytest.approx((readout * loadings).mean(axis=0), abs=0.15)


def small_problem(softplus, saturating=False, ridge=None):
    rng, _, theta, dynamics = setup(saturating, rank=1, n_in=1)
    k = dynamics.roll(theta)[0]
    eta = 0.5 + np.einsum("cpt,ic->pti", k, rng.normal(size=(12, 2)))
    y = rng.poisson(np.logaddexp(0, eta)).astype(float)
    data = Data.from_activity(
        y, offset=True, gain=False, saturating=False, ridge=ridge,
        count=CountNoise(softplus, np.full(12, 0.2)),
    )  # fmt: skip
    phi = np.column_stack([np.zeros(12), 0.3 * rng.normal(size=(12, 2))])
    return Problem(data, dynamics, True), theta, phi


@pytest.mark.parametrize("softplus", [False, True])
def test_slope_of_the_marginal_likelihood_against_refits(softplus):
    problem, theta, phi = small_problem(softplus)
    state = _state(problem, theta, phi, None, 30)
    bent = bend(with_population(problem, state.population), theta, state.phi)
    slope = bent.at.slope_theta.sum(axis=0) - bent.of_cost.sum(axis=0)
    for direction in free_directions(problem.layout, theta).T:
        ends = [
            _state(problem, theta + s * 1e-3 * direction, state.phi, state.population, 30)
            for s in (1, -1)
        ]
        found = -(ends[0].objective - ends[1].objective) / 2e-3
        scale = np.sqrt(direction @ bent.at.outer(np.ones(12)) @ direction)
        # in units of the standard error: expectation maximisation leaves Laplace's own slope out
        assert slope @ direction / scale == pytest.approx(found / scale, abs=0.05)


@pytest.mark.parametrize("counts", [False, True])
def test_slope_of_the_ridge_against_brute_force(counts):
    problem, theta, phi = small_problem(False, ridge=0.3)
    data, dynamics, layout = problem.data, problem.dynamics, problem.layout
    if not counts:
        data = Data.from_activity(
            np.random.default_rng(0).normal(size=(*dynamics.inputs.shape[:2], 5)),
            offset=True, gain=False, saturating=False, ridge=0.3,
        )  # fmt: skip

    def cost(theta):
        k, dk = (data.flatten(a) for a in dynamics.roll(theta))
        at = blocks(data, layout, k, dk, phi)
        return at, 0.5 * (at.squares + at.penalty)

    at, _ = cost(theta)
    for j in range(layout.size):
        step = np.zeros(layout.size)
        step[j] = 1e-5
        slope = (cost(theta + step)[1] - cost(theta - step)[1]) / 2e-5
        assert -at.slope_theta[:, j] == pytest.approx(slope, rel=1e-4, abs=1e-5)


def test_fits_with_a_ridge_converge():
    y, x, _ = simulate(0, base=-1.0, n=30, neurons=30)
    roots = np.sqrt(y)
    for noise, data in (("gaussian", roots), ("poisson", y)):
        for ridge in (1e-3, 1e-2, 1e-1):
            fit = fitted(data, x, noise=noise, ridge=ridge, offset=True, n_bootstrap=0)
            assert fit.converged_


@pytest.mark.parametrize(
    ("settings", "kind"),
    [
        ({}, {}),
        pytest.param({"link": "softplus"}, {"softplus": True}, marks=pytest.mark.slow),
        pytest.param({"noise": "negative-binomial"}, {"alpha": 0.3}, marks=pytest.mark.slow),
    ],
)
def test_neurons_of_few_spikes_do_not_decide(settings, kind):
    y, x, _ = simulate(1, base=-3.3, **kind)
    # six spikes, all in trials of one kind: the likelihood has no maximum
    only = np.flatnonzero((x[:, 0, 0] == 1) & (x[:, 0, 1] == 0))
    y[:, :, 0] = 0
    y[np.resize(only, 6), np.arange(20, 26), 0] = 1
    with_it = fitted(y, x, **settings)
    without = fitted(y[:, :, 1:], x, **settings)
    assert with_it.converged_
    assert np.nanmax(np.abs(with_it.m_)) < 5
    sd = without.intervals_["sd"]
    seen = ["m1m1", "m2m2", "m3m3", "m1m2", "vu"]
    shift = with_it.overlaps_[seen] - without.overlaps_[seen]
    # it counts as any neuron of large loadings does
    assert (shift.abs() < 1.5 * sd[seen]).all()
    truth = dict(zip(seen, [0.25, 0.25, 0.64, 0.0, 0.5], strict=True))
    for name in seen:
        assert abs(with_it.overlaps_[name] - truth[name]) < 4.5 * with_it.intervals_.loc[name, "sd"]
        assert with_it.intervals_.loc[name, "sd"] < 1
    free = fitted(y, x, ridge=0.0, n_bootstrap=0, **settings)
    assert np.nanmax(np.abs(free.m_[0])) > 2 * np.nanmax(np.abs(with_it.m_[0]))


def test_a_step_to_where_no_population_is_found_ends_the_step(monkeypatch):
    problem, theta, phi = small_problem(False)
    assert _state(problem, theta, phi, np.eye(2), 3) is not None

    def singular(*_):
        raise np.linalg.LinAlgError("Singular matrix")

    monkeypatch.setattr("predictlearn.fitting.session.search.marginal.second_moment", singular)
    assert _state(problem, theta, phi, np.eye(2), 3) is None


@pytest.mark.slow
def test_a_pulse_and_a_rank_that_is_too_high_end_in_a_fit():
    # the singular matrix of the test above, as a recording met it
    rng = np.random.default_rng(6)
    signs, (m, u) = np.resize([-1, -0.5, 0.5, 1.0], 8), rng.normal(size=(2, 6))
    k, y, x = np.zeros((8, 2)), np.full((8, 60, 6), np.nan), np.zeros((8, 60, 1))
    x[:, 10] = 50.0
    for t in range(10, 60):
        drive = np.column_stack([signs * (20 <= t < 50), 0.8 * k[:, 0] + 0.7 * k[:, 1]])
        k = k + 0.2 * (drive - k)
        y[:, t] = rng.poisson(np.exp(0.5 * k @ np.stack([m, u])))
    fit = LowRankRNN(
        3, dt=0.02, tau="fit", latency="fit", bin="mean", observed="current", noise="poisson",
        n_starts=2, n_bootstrap=0,
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fit.fit(y, x)
    assert np.isfinite(fit.log_likelihood_)


def test_a_known_readout_is_not_drawn_to_zero():
    y, x, loadings = simulate(2, base=-3.8, neurons=80)
    rng = np.random.default_rng(0)
    readout = loadings[:, 2:3] + 0.3 * rng.normal(size=(80, 1))
    fit = fitted(y, x, readout)
    row = fit.intervals_.loc["zm3"]
    truth = 0.64
    assert abs(row["estimate"] - truth) < 3 * row["sd"]
    kept = ~fit.silent_
    plain = (readout[kept, 0] * fit.m_[kept, 2]).mean()
    assert row["estimate"] > 1.1 * plain
    assert fit.overlaps_["zz"] == pytest.approx((readout[kept] ** 2).mean(), rel=1e-4)


def offset_recording(offset, seed=0):
    rng = np.random.default_rng(seed)
    x = np.repeat(rng.normal(size=(30, 8, 1)), 5, axis=1)
    loadings, k, h = rng.normal(size=(20, 2)), np.zeros((30, 2)), np.zeros((30, 40, 20))
    for t in range(40):
        k = 0.9 * k + 0.1 * np.column_stack([x[:, t, 0], 0.5 * k[:, 0] + 0.5 * k[:, 1]])
        h[:, t] = k @ loadings.T
    return h + offset + 0.3 * h.std() * rng.normal(size=h.shape), x


def test_offsets_that_are_left_out_are_told():
    settings = {"dt": 0.1, "observed": "current", "n_bootstrap": 0}
    y, x = offset_recording(1.0)
    with pytest.warns(OffsetWarning, match=r"of 20 neurons.*set offset=True") as told:
        LowRankRNN(1, **settings).fit(y, x)
    assert len(told) == 1
    y[3, 5:9] = np.nan
    with pytest.warns(OffsetWarning):
        LowRankRNN(1, **settings).fit(y, x)
    # no warning, which would be an error here
    assert LowRankRNN(1, offset=True, **settings).fit(y, x).overlaps_["vu"] == pytest.approx(
        0.5, abs=0.1
    )
    for seed in range(3):
        LowRankRNN(1, **settings).fit(*offset_recording(0.0, seed))
