"""Fits of the loss alone: they end, and say no more than the sessions do."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import predictlearn as pl
from predictlearn.fitting import LearningFit
from predictlearn.fitting.learning.parameters import NORM_SD, RATE_SD, ParameterLayout, draw_factor
from predictlearn.fitting.learning.parameters import log_prior as prior_of_factor
from predictlearn.fitting.learning.posterior.randomised import OnRidge, Ridge, _stable_starts
from predictlearn.fitting.learning.posterior.unconstrained import Unconstrained
from predictlearn.simulation import simulate_sessions

TASK, RULE = pl.Filter(), pl.GradientDescent(5e-3)
TRUE = pl.Overlaps(np.eye(4)).replace(uu=2.05, mu=0.8)


def learner(seed):
    """Draw a start from the prior, not too near the edge of what is realisable."""
    lower = draw_factor(4, 1.0, np.random.default_rng(seed))
    return pl.Overlaps(0.7 * lower @ lower.T + 0.3 * np.eye(4))


def losses(start, seed=0, noise=0.02, between=50, n_sessions=20):
    return simulate_sessions(
        start, TASK, between, RULE, noise, n_sessions=n_sessions, seed=seed, columns=["loss"]
    )


def gain_of_restarts(fit, n=3):
    """Return by how much searches from near the end raise the posterior density."""
    ridge, best = Ridge(fit._problem), fit._best
    rng = np.random.default_rng(0)
    at_end = 0.5 * np.sum(ridge.residuals(best.y, best.group_sd) ** 2)
    gains = []
    for _ in range(n):
        begin = best.y + 0.1 * best.root @ rng.standard_normal(len(best.y))
        end, _, _ = ridge.climb(begin, best.group_sd, 200)
        gains.append(at_end - 0.5 * np.sum(ridge.residuals(end, best.group_sd) ** 2))
    return max(gains)


@pytest.fixture(scope="module")
def behaviour():
    return LearningFit(rank=1, n_starts=4).fit(losses(TRUE), TASK, 50, RULE)


# -- coordinates ------------------------------------------------------------------------------


@pytest.mark.parametrize("sizes", [(1, 1, 1), (1, 2, 1)])
def test_straight_coordinates_and_their_slopes(sizes):
    layout = ParameterLayout(sizes, RULE, "fit")
    unconstrained = Unconstrained(layout, 1.7)
    y = 0.8 * np.random.default_rng(0).standard_normal(len(layout.names))
    assert np.allclose(unconstrained.of(unconstrained.x(y)), y)
    h = 1e-6 * np.eye(len(y))
    differences = np.array([(unconstrained.x(y + e) - unconstrained.x(y - e)) / 2e-6 for e in h]).T
    assert np.allclose(unconstrained.slopes(y), differences, atol=1e-8)
    differences = (
        np.array([unconstrained.prior(y + e)[0] - unconstrained.prior(y - e)[0] for e in h]) / 2e-6
    )
    assert np.allclose(np.diag(unconstrained.prior(y)[1]), differences, atol=1e-8)


def test_prior_is_that_of_the_sampler():
    layout = ParameterLayout((1, 1, 1), RULE, "fit")
    unconstrained, rng = Unconstrained(layout, 1.7), np.random.default_rng(1)
    differ = []
    for _ in range(5):
        y = unconstrained.drawn(rng)
        x = unconstrained.x(y)
        density = prior_of_factor(layout.factor(x), np.sqrt(1.7)) - 0.5 * (x[-1] / RATE_SD) ** 2
        volume = np.linalg.slogdet(unconstrained.slopes(y))[1]
        differ.append(density + volume + 0.5 * np.sum(unconstrained.prior(y)[0] ** 2))
    assert np.ptp(differ) < 1e-8
    matrices = [layout.matrix(unconstrained.x(unconstrained.drawn(rng))) for _ in range(2000)]
    norms = np.sqrt(np.array([np.diag(m) for m in matrices]))
    correlations = np.array([m[np.tril_indices(4, -1)] for m in matrices])
    rows, columns = np.tril_indices(4, -1)
    correlations /= norms[:, rows] * norms[:, columns]
    # uniform over correlation matrices: each has the variance 1 / (D + 1)
    assert np.allclose(correlations.var(axis=0), 0.2, atol=0.02)
    assert np.allclose(np.log(norms).std(axis=0), NORM_SD, atol=0.05)
    assert np.allclose(np.log(norms).mean(axis=0), 0.5 * np.log(1.7), atol=0.06)


# -- search -----------------------------------------------------------------------------------


def test_behaviour_alone_converges(behaviour):
    # a ConvergenceWarning would be an error here
    assert behaviour.converged_
    assert isinstance(behaviour._best, OnRidge)
    assert gain_of_restarts(behaviour) < 0.01
    assert len(behaviour.directions_) >= 4
    assert behaviour.noise_["loss"] == pytest.approx(0.02, rel=0.4)


# the larger one, and what it comes to, is in the next test
@pytest.mark.parametrize("first", [1e-3, pytest.param(2.5e-2, marks=pytest.mark.slow)])
def test_a_wrong_first_rate_leads_to_much_the_same_rate(first):
    rule = pl.GradientDescent(first)
    found = LearningFit(rank=1, n_starts=4).fit(losses(TRUE), TASK, 50, rule)
    assert found.converged_
    assert 1e-3 < found.rate_ < 2.5e-2
    assert abs(np.log(found.rate_ / 5e-3)) < abs(np.log(first / 5e-3)) / 2


def test_data_changed_by_rounding_have_the_same_fit():
    """From the worst first rate, at which half of the starts learn unstably."""
    data, found = losses(TRUE), []
    for k in range(2):
        jitter = 1e-15 * np.random.default_rng(k).standard_normal(data.shape) * (k > 0)
        model = LearningFit(rank=1, n_starts=4)
        found.append(model.fit(data * (1 + jitter), TASK, 50, pl.GradientDescent(2.5e-2)))
    assert all(f.converged_ for f in found)
    rates = [f.rate_ for f in found]
    assert np.ptp(rates) < 1e-4 * rates[0]
    assert np.ptp([f._best.cost for f in found]) < 1e-4
    assert rates[0] == pytest.approx(5.18e-3, rel=1e-3)


def test_starts_learn_stably():
    """Those that do not are drawn anew, and the next call draws others."""
    fast = pl.GradientDescent(2.5e-2)
    fit = LearningFit(rank=1, n_starts=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fit.fit(losses(TRUE), TASK, 50, fast)
    ridge, noise = Ridge(fit._problem), fit._problem.first_noise()
    root = np.random.SeedSequence(0)
    starts = _stable_starts(ridge, [], 6, noise, root)
    more = _stable_starts(ridge, [], 3, noise, root)
    assert (len(starts), len(more)) == (6, 3)
    # some were drawn in vain
    assert root.n_children_spawned > 9
    assert all(np.isfinite(ridge.residuals(y, noise)).all() for y in (*starts, *more))
    assert len({tuple(y) for y in (*starts, *more)}) == 9


# a likelihood with a maximum is what test_learning_fit.py is about, one without the tests above
@pytest.mark.slow
def test_many_clean_sessions_of_the_loss_leave_one_direction_open():
    table = losses(TRUE, seed=2, noise=1e-3, between=10, n_sessions=40)
    found = LearningFit(rank=1, n_starts=4).fit(table, TASK, 10, RULE)
    assert found.converged_
    # then the likelihood has a maximum, and no prior is needed
    assert not isinstance(found._best, OnRidge)
    assert len(found.directions_) == 1
    assert found.rate_ == pytest.approx(5e-3, rel=0.1)


@pytest.mark.slow
def test_learners_drawn_from_the_prior_converge():
    converged, gains = [], []
    for seed in range(20):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", pl.ConvergenceWarning)
            found = LearningFit(rank=1).fit(losses(learner(seed), seed), TASK, 50, RULE)
        converged.append(found.converged_)
        if found.converged_ and isinstance(found._best, OnRidge):
            gains.append(gain_of_restarts(found))
    assert np.sum(converged) >= 17
    assert np.mean(np.array(gains) < 0.01) >= 0.8


# -- what it says -----------------------------------------------------------------------------


def test_draws_run_along_the_ridge(behaviour):
    problem, layout = behaviour._problem, behaviour._problem.model.layout
    rows = behaviour._draws(12, None)
    # the same numbers of the same seed
    assert np.array_equal(rows[:2], behaviour._draws(2, None))
    misfits = []
    for row in rows:
        x = layout.pack(layout.full(row), row[layout.n_overlaps :])
        misfits.append(np.mean(problem.white(x, behaviour._group_sd) ** 2))
    # they agree with the sessions, far as they are from each other
    assert np.median(misfits) < 3
    assert np.std(rows[:, -1]) > 0.3
    assert not np.array_equal(rows[:2], behaviour._draws(2, 1))


def test_intervals_are_made_anew_by_a_new_fit(monkeypatch):
    monkeypatch.setattr("predictlearn.fitting.learning.posterior.randomised._DRAWS", 4)
    found = LearningFit(rank=1, n_starts=1).fit(losses(TRUE), TASK, 50, RULE)
    table = found.intervals_
    assert (table["low"] < table["high"]).all()
    found.fit(losses(TRUE, seed=1), TASK, 50, RULE)
    assert not np.allclose(found.intervals_, table)


# draws that agree with the sessions are in test_draws_run_along_the_ridge
@pytest.mark.slow
def test_intervals_hold_the_truth(monkeypatch):
    monkeypatch.setattr("predictlearn.fitting.learning.posterior.randomised._DRAWS", 20)
    found = LearningFit(rank=1, n_starts=2).fit(losses(TRUE), TASK, 50, RULE)
    table = found.intervals_
    truth = [*TRUE.to_series(), 5e-3]
    inside = (table["low"] <= truth) & (truth <= table["high"])
    assert inside.mean() >= 0.8
    assert (table["low"] < table["high"]).all()


def test_profile_is_refused(behaviour):
    with pytest.raises(pl.InputError, match="directions open"):
        behaviour.profile("zm")
