"""The posterior along the ridge line of a likelihood, against likelihoods of known shape."""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import predictlearn as pl
from predictlearn.fitting.learning.parameters import NORM_SD, ParameterLayout
from predictlearn.fitting.learning.posterior.delta_method import around
from predictlearn.fitting.learning.posterior.ridge_line import RidgeLine
from predictlearn.fitting.learning.posterior.unconstrained import Unconstrained
from predictlearn.simulation import simulate_learning

LAYOUT = ParameterLayout((1, 1, 1), pl.GradientDescent(5e-3), "fit")
UNCONSTRAINED = Unconstrained(LAYOUT, 1.0)
CENTRE = np.linspace(-0.2, 0.2, len(LAYOUT.names))
# In unconstrained coordinates: the line runs along the first and bends into the second.
LONG, NARROW, BEND = 0.3, 3e-3, 1.5


@dataclass
class Known:
    """A likelihood in place of that of recordings; `height` gives (value, slope) along the line."""

    height: object = staticmethod(lambda s: (-0.5 * (s / LONG) ** 2, -s / LONG**2))
    edge: float = np.inf
    asked: int = 0

    @property
    def model(self):
        return SimpleNamespace(layout=LAYOUT)

    scale = 1.0

    def value(self, x, _):
        found = self.evaluate(x)
        return -np.inf if found is None else found[0]

    def _terms(self, x):
        y = UNCONSTRAINED.of(x) - CENTRE
        across = np.append(y[1] - BEND * y[0] ** 2, y[2:]) / NARROW
        slopes = np.eye(len(y))[1:] / NARROW
        slopes[0, 0] = -2 * BEND * y[0] / NARROW
        return y, across, slopes, UNCONSTRAINED.slopes(UNCONSTRAINED.of(x))

    def evaluate(self, x):
        self.asked += 1
        y, across, slopes, jacobian = self._terms(x)
        if y[0] > self.edge:
            return None
        value, slope = self.height(y[0])
        by_y = -slopes.T @ across
        by_y[0] += slope
        return value - 0.5 * across @ across, np.linalg.solve(jacobian.T, by_y)

    def information(self, x):
        _, _, slopes, jacobian = self._terms(x)
        known = slopes.T @ slopes
        known[0, 0] += 1 / LONG**2
        back = np.linalg.inv(jacobian)
        return back.T @ known @ back


def drawn(problem, n=4000, at=CENTRE):
    """Return draws about the centre, in unconstrained coordinates."""
    xs = RidgeLine(problem, UNCONSTRAINED.x(at)).draws(n, np.random.default_rng(0))
    return np.array([UNCONSTRAINED.of(x) for x in xs]) - CENTRE


def test_draws_follow_a_bent_line():
    y = drawn(Known())
    # along the line, data and prior together
    precision = 1 / LONG**2 + 1 / NORM_SD**2
    middle = -CENTRE[0] / NORM_SD**2 / precision
    assert stats.kstest(y[:, 0], stats.norm(middle, precision**-0.5).cdf).pvalue > 1e-3
    # the line bends by a hundred times what is left across it, and draws stay on it
    assert np.ptp(y[:, 1]) > 100 * NARROW
    across = (y[:, 1] - BEND * y[:, 0] ** 2) / NARROW
    assert np.median(np.abs(across)) < 2.5
    # a normal about the top would not: it is off by many standard deviations within two
    assert BEND * (2 * LONG) ** 2 > 100 * NARROW
    np.testing.assert_allclose(y[:, 2:].std(axis=0), NARROW, rtol=0.1)
    np.testing.assert_allclose(y[:, 2:].mean(axis=0), 0, atol=3 * NARROW / 60)


def test_a_line_that_is_no_normal():
    # twice as far to the right as to the left, and flat between
    def height(s):
        wide = 0.2 if s > 0 else 0.1
        return -((s / wide) ** 4) / 4, -(s**3) / wide**4

    y = drawn(Known(height=height))
    grid = np.linspace(-0.6, 0.9, 3001)
    log = np.array([height(s)[0] for s in grid]) - 0.5 * ((grid + CENTRE[0]) / NORM_SD) ** 2
    mass = np.cumsum(np.exp(log))
    for p in (0.025, 0.5, 0.975):
        exact = grid[np.searchsorted(mass / mass[-1], p)]
        assert np.quantile(y[:, 0], p) == pytest.approx(exact, abs=0.015)


def test_the_line_leads_to_a_higher_maximum():
    def height(s):
        parts = [np.exp(-0.5 * (s / 0.1) ** 2), 3 * np.exp(-0.5 * ((s - 0.35) / 0.1) ** 2)]
        slope = (-parts[0] * s - parts[1] * (s - 0.35)) / 0.01
        return np.log(sum(parts)), slope / sum(parts)

    ridge_line = RidgeLine(Known(height=height), UNCONSTRAINED.x(CENTRE))
    assert UNCONSTRAINED.of(ridge_line.highest())[0] - CENTRE[0] == pytest.approx(0.35, abs=0.1)
    share = np.mean(drawn(Known(height=height))[:, 0] > 0.16)
    assert share == pytest.approx(0.75, abs=0.08)


def test_the_line_ends_where_learning_diverges():
    problem = Known(edge=0.25)
    y = drawn(problem)
    ridge_line = RidgeLine(problem, UNCONSTRAINED.x(CENTRE))
    ridge_line.nodes()
    assert not ridge_line.cut
    assert 0.1 < y[:, 0].max() < 0.25 + 5 * NARROW
    assert y[:, 0].min() < -0.5
    with pytest.raises(FloatingPointError, match="diverges"):
        drawn(Known(edge=-0.1))


def test_says_so_where_the_line_is_lost():
    problem = Known()
    evaluate = problem.evaluate

    def broken(x):
        # slopes that lead nowhere, beyond a point well within the posterior
        value, slope = evaluate(x)
        return value, slope if UNCONSTRAINED.of(x)[0] < CENTRE[0] + 0.1 else -slope

    problem.evaluate = broken
    ridge_line = RidgeLine(problem, UNCONSTRAINED.x(CENTRE))
    assert not ridge_line.cut
    ridge_line.nodes()
    assert ridge_line.cut
    assert not ridge_line.followed
    assert RidgeLine(Known(), UNCONSTRAINED.x(CENTRE)).followed


def test_a_maximum_from_which_nothing_leads_is_given_its_information():
    problem = Known()
    evaluate = problem.evaluate
    problem.evaluate = lambda x: (
        evaluate(x) if abs(UNCONSTRAINED.of(x)[0] - CENTRE[0]) < 1e-9 else None
    )
    assert drawn(problem)[:, 0].std() == pytest.approx(LONG, rel=0.1)


def test_traced_once_and_seeded():
    problem = Known()
    ridge_line = RidgeLine(problem, UNCONSTRAINED.x(CENTRE))
    first = ridge_line.draws(5, np.random.default_rng(1))
    asked = problem.asked
    assert 20 < asked < 400
    np.testing.assert_array_equal(first, ridge_line.draws(5, np.random.default_rng(1)))
    assert problem.asked == asked
    assert not np.array_equal(first, ridge_line.draws(5, np.random.default_rng(2)))


def test_any_factor_of_the_same_overlaps_will_do():
    """A search may end at an L with a negative diagonal, which stands for the same network."""
    x = UNCONSTRAINED.x(CENTRE)
    lower = LAYOUT.factor(x) * np.array([1.0, -1.0, 1.0, -1.0])
    mirrored = np.append(lower[np.tril_indices(4)], x[LAYOUT.n_overlaps :])
    np.testing.assert_allclose(UNCONSTRAINED.of(mirrored), UNCONSTRAINED.of(x), atol=1e-12)
    draws = [
        RidgeLine(Known(), start).draws(20, np.random.default_rng(0)) for start in (x, mirrored)
    ]
    np.testing.assert_allclose(*draws, atol=1e-9)


def test_draws_off_the_posterior_are_not_believed():
    problem = Known()
    ridge_line = RidgeLine(problem, UNCONSTRAINED.x(CENTRE))
    ridge_line.nodes()
    # a cross-section taken for ten times as wide as it is
    ridge_line._nodes = [replace(node, root=10 * node.root) for node in ridge_line._nodes]
    assert not ridge_line.cut
    assert not ridge_line.followed


def test_no_interval_excludes_its_estimate():
    table = pd.DataFrame(
        {"low": [-0.2, 0.1, 0.0], "high": [-0.1, 0.3, 1.0], "estimate": [0.3, 0.2, 0.5], "sd": 0.1},
        index=["zv", "vv", "zz"],
    )
    made = []

    def again(name):
        made.append(name)
        return 0.15, 0.4, 0.07

    found, anew = around(table, ["zz"], again)
    assert anew == made == ["zv", "zz"]
    assert found.loc["zv"].tolist() == [0.15, 0.4, 0.3, 0.07]
    assert found.loc["vv"].tolist() == table.loc["vv"].tolist()
    # where nothing better is to be had it is widened; a profile too never excludes it
    assert around(table)[0].loc["zv", ["low", "high"]].tolist() == [-0.2, 0.3]
    found, _ = around(table, (), lambda name: (0.4, 0.5, 0.1))
    assert found.loc["zv", ["low", "high"]].tolist() == [0.3, 0.5]


@pytest.fixture(scope="module")
def learned():
    """A fit to recordings."""
    start = pl.Overlaps(np.eye(4)).replace(zm=0.1, zu=0.2, vm=0.3, vu=0.2, mu=0.3, uu=1.5, zv=0.2)
    rule, task = pl.GradientDescent(2e-3), pl.Filter(duration=10.0)
    recordings, neurons = simulate_learning(
        start, task, 20, rule, n_sessions=7, n_neurons=60, recorded=40, recurring=20, noise=0.2,
        n_bins=40, seed=3,
    )  # fmt: skip
    return pl.LearningFit(n_starts=1).fit_recordings(
        recordings, task, 20, rule, neurons=neurons, network=60, bin="euler"
    )


def test_where_the_ridge_line_is_lost_intervals_are_profiles(learned, monkeypatch):
    fit = learned
    followed = fit.intervals_
    # a ridge line of which nothing is known but the maximum, and that in the wrong place
    lost = RidgeLine(fit._problem, fit._best.x)
    lost._nodes = [replace(node, at=node.at + 0.3) for node in lost.nodes()[:1]]
    monkeypatch.setattr(fit, "_density", replace(fit._density, ridge_line=lost))
    fit.__dict__.pop("intervals_")
    # of the others the profile takes long, and is not looked at
    some = ["zv"]
    whole = functools.cache(fit._density.profiled)
    indices = [fit._problem.model.layout.names.index(name) for name in some]
    with monkeypatch.context() as patch:
        patch.setattr(
            fit, "_density", replace(
                fit._density, profiled=lambda k, level: whole(k, level)
                if k in indices else (-np.inf, np.inf)
            ),
        )  # fmt: skip
        profiled = {name: whole(k, fit.level) for name, k in zip(some, indices, strict=True)}
        with pytest.warns(UserWarning, match="could not be followed.*zv.*are profiles"):
            table = fit.intervals_
    for name in some:
        assert tuple(table.loc[name, ["low", "high"]]) == pytest.approx(profiled[name])
        # which where the ridge line is followed says much the same
        width = followed.loc[name, "high"] - followed.loc[name, "low"]
        np.testing.assert_allclose(
            profiled[name], followed.loc[name, ["low", "high"]], atol=0.4 * width
        )
        assert table.loc[name, "low"] < table.loc[name, "estimate"] < table.loc[name, "high"]
    # and draws are about the estimate, not about where the line was
    drawn = fit.draw(200)
    off = (drawn.mean() - table["estimate"]) / table["sd"]
    assert np.abs(off).max() < 0.5
