"""A linear fit from moments of activity and inputs at all lags, against the recording itself."""

from dataclasses import replace

import numpy as np
import pytest

from predictlearn.fitting.session.dynamics import Dynamics, Layout
from predictlearn.fitting.session.kernels.lags import _grows, climb
from predictlearn.fitting.session.search.data import Data
from predictlearn.fitting.session.search.lag_moments import lag_moments, pulses
from predictlearn.fitting.session.search.levenberg_marquardt import (
    Problem,
    noise_floor,
    solve,
    whiten,
)
from predictlearn.fitting.session.search.regression import blocks
from predictlearn.fitting.session.search.starts import find_best

pytestmark = pytest.mark.quick


def recording(offset, unequal, noise=0.3, n_in=2, rank=2, timed=True):
    rng = np.random.default_rng(0)
    layout = Layout(n_in, rank, False, timed, timed)
    dynamics = Dynamics(rng.normal(size=(12, 20, n_in)).cumsum(axis=1), 0.1, layout, 0.6, 0.0)
    vu = np.array([[0.5, -0.6], [0.4, 0.2]])[:rank, :rank]
    theta = layout.pack(rng.normal(size=(rank, n_in)), vu, None, 0.6, 0.13)
    k = dynamics.activity(theta)
    y = np.einsum("cpt,ic->pti", k, rng.normal(size=(9, n_in + rank)))
    y += noise * y.std() * rng.normal(size=y.shape) + offset * 2.0
    if unequal:
        for trial, n in enumerate(rng.integers(8, 20, size=12)):
            y[trial, n:] = np.nan
    data = Data.from_activity(y, offset=offset, gain=False, saturating=False, ridge=None)
    return theta, Problem(data, dynamics, True)


def summed(problem):
    lags = lag_moments(problem.data, problem.dynamics.inputs)
    return replace(
        problem, data=replace(problem.data, lags=lags), dynamics=pulses(problem.dynamics)
    )


def at_theta(problem, theta):
    k, dk = (problem.data.flatten(a) for a in problem.dynamics.roll(theta))
    return blocks(problem.data, problem.layout, k, dk, None)


@pytest.mark.parametrize("offset", [False, True])
@pytest.mark.parametrize("unequal", [False, True])
@pytest.mark.parametrize("noise", [0.3, 0.0])
def test_normal_equations_are_those_of_the_recording(offset, unequal, noise):
    theta, problem = recording(offset, unequal, noise)
    theta = theta + 1e-3
    whole, moments = (at_theta(p, theta) for p in (problem, summed(problem)))
    weights = 1 / whole.squares
    assert moments.squares == pytest.approx(whole.squares, rel=1e-9)
    assert moments.outer(weights) == pytest.approx(whole.outer(weights), rel=1e-9)
    for name in ("phi", "inner", "cross", "slope_theta"):
        one, other = getattr(whole, name), getattr(moments, name)
        assert np.abs(one - other).max() < 1e-10 * np.abs(whole.inner).max(), name
    assert whiten(problem, theta)[0] == pytest.approx(whiten(summed(problem), theta)[0], rel=1e-9)


def test_where_moments_do_not_serve():
    _, problem = recording(True, False)
    data, inputs = problem.data, problem.dynamics.inputs
    assert lag_moments(data, inputs) is not None
    seen = np.ones(data.activity.shape, dtype=bool)
    assert lag_moments(replace(data, seen=seen), inputs) is None
    assert lag_moments(replace(data, fading=0.5), inputs) is None
    assert lag_moments(replace(data, saturating=True), inputs) is None
    rows = data.rows.copy()
    rows[5] += 1  # a bin in the middle that nobody saw
    assert lag_moments(replace(data, rows=rows), inputs) is None
    assert lag_moments(data, np.repeat(inputs, 20, axis=2)) is None


@pytest.mark.parametrize("timed", [False, True])
def test_compiled_search_ends_where_the_other_does(timed):
    theta, problem = recording(True, True, timed=timed)
    small = summed(problem)
    data, layout, dynamics = small.data, small.layout, small.dynamics
    start = whiten(problem, theta + 0.1)[0]
    found, value, converged, fault = climb(
        start,
        (layout.n_in, layout.rank, data.n_lead),
        (dynamics.dt, dynamics.tau, dynamics.latency, dynamics.mean),
        (layout.fit_tau, layout.fit_latency),
        dynamics.inputs.shape[1],
        data.lags.gram,
        data.lags.target,
        data.raw_squares,
        float(len(data.rows)),
        noise_floor(data),
        *dynamics.bounds,
        100,
        1e-10,
    )
    other = solve(problem, start, None, 100, 1e-10)
    assert converged
    assert fault == 0
    assert value == pytest.approx(other.objective, abs=1e-6)
    vu = layout.unpack(found)[1]
    assert np.trace(vu) == pytest.approx(np.trace(layout.unpack(other.theta)[1]), abs=1e-5)
    assert dynamics.times(found) == pytest.approx(dynamics.times(other.theta), abs=1e-6)


def test_compiled_search_says_what_it_cannot_do():
    _, problem = recording(False, False, noise=0.0)
    _, _, found = find_best([problem], lambda _: problem, 8, 100, 1e-2, 0)
    assert found.converged
    assert problem.dynamics.times(found.theta) == pytest.approx((0.6, 0.13), abs=1e-6)
    assert (found.at.squares < 1e-12 * problem.data.raw_squares).all()


def test_activity_is_not_copied_nor_changed():
    rng = np.random.default_rng(0)
    y = rng.normal(size=(5, 6, 4))
    data = Data.from_activity(y, offset=True, gain=False, saturating=False, ridge=None)
    assert np.shares_memory(data.activity, y)
    kept = y.copy()
    scaled = Data.from_activity(y, offset=True, gain=False, saturating=False, ridge=None, unit=2.0)
    assert np.array_equal(y, kept)
    assert np.array_equal(2 * scaled.activity, data.activity)


def test_growth_is_told_in_any_gauge():
    rng = np.random.default_rng(0)
    for radius in (0.9, 1.0, 1.04, 1.06, 1.2):
        turn = radius * np.array([[np.cos(0.3), -np.sin(0.3)], [np.sin(0.3), np.cos(0.3)]])
        gauge = np.diag([1.0, 1e4]) @ rng.normal(size=(2, 2))
        step = np.linalg.inv(gauge) @ turn @ gauge
        a = 0.1
        vu = (step - (1 - a) * np.eye(2)) / a
        assert _grows(vu, a, 100, False) == (100 * np.log(radius) > 5.0)
        growth = 100 * a * (np.linalg.eigvals(vu).real.max() - 1)
        assert _grows(vu, a, 100, True) == (growth > 5.0)
