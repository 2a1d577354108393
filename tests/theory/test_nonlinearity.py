"""Any odd nonlinearity: gains against quadrature, derivatives, and the network it stands for."""

from __future__ import annotations

from functools import cache
from itertools import pairwise

import numpy as np
import pytest
from oracles import random_trials
from scipy import integrate

import predictlearn as pl
from predictlearn.theory.kernels.gain import RATIONAL_SIZE, TABLE_SIZE, gain_and_slope
from predictlearn.theory.kernels.hessian import _gain_curvature
from predictlearn.theory.nonlinearity import (
    _gain_and_slope,
    gain,
    network_phi,
    phi,
    phi_slope,
    resolve,
)


def slope_of_gain(delta, nonlinearity):
    return _gain_and_slope(delta, nonlinearity)[1]


def softsign(x):
    return x / (1 + np.abs(x))


def clipped(x):
    return np.clip(x, -1.0, 1.0)


def wide(x):
    return 4 * np.arctan(x / 4)


@cache
def made(nonlinearity):
    """Return a nonlinearity of a function, or a name as it is: tabulated once, by a test."""
    if isinstance(nonlinearity, str):
        return nonlinearity
    return pl.Nonlinearity(nonlinearity.__name__, nonlinearity)


def random_overlaps(seed, n_in=1, rank=1, n_out=1):
    x = np.random.default_rng(seed).normal(size=(60, n_in + 2 * rank + n_out))
    return pl.Overlaps(x.T @ x / 60, n_in, rank, n_out)


def quadrature_gain(function, delta):
    """E[phi'(x)] = E[x phi(x)] / Delta for x normal of variance Delta, by scipy's quad."""
    r = np.sqrt(delta)
    value = 0.0
    edges = np.unique([0.0, *np.minimum(2.0 ** np.arange(-10, 9), 14 * r)])
    for low, high in pairwise(edges):
        value += integrate.quad(
            lambda x: x / delta * function(x) * np.exp(-(x**2) / (2 * delta)),
            low,
            high,
            epsabs=1e-14,
            epsrel=1e-13,
        )[0]
    return 2 * value / np.sqrt(2 * np.pi * delta)


@pytest.mark.parametrize(
    ("nonlinearity", "function", "accuracy"),
    [
        ("tanh", np.tanh, 1e-10),
        ("erf", lambda x: phi(x, "erf"), 1e-12),
        (wide, wide, 1e-9),
        (softsign, softsign, 1e-7),
        (clipped, clipped, 1e-6),
    ],
)
def test_gain_agrees_with_quadrature(nonlinearity, function, accuracy):
    deltas = np.array([1e-3, 0.02, 0.3, 1.0, 4.0, 30.0, 1e3])
    expected = [quadrature_gain(lambda x: float(function(x)), d) for d in deltas]
    np.testing.assert_allclose(gain(deltas, made(nonlinearity)), expected, atol=accuracy)


def cubic(x):
    return x**3 / (1 + x**2) ** 1.5


def leaky(x):
    return np.tanh(x) + 0.1 * x


def tanh_by_sums(deltas):
    """The gain of tanh and its slope by the trapezoidal rule, which converges exponentially."""
    gains, slopes = [], []
    for delta in deltas:
        # the narrower of the Gaussian and of phi' sets the variable
        wide = np.sqrt(max(delta, 1.0))
        x = np.linspace(-20, 20, 4001) * np.sqrt(delta) / wide
        weight = np.exp(-((np.linspace(-20, 20, 4001) / wide) ** 2) / 2)
        weight *= 0.01 / (np.sqrt(2 * np.pi) * wide)
        t = np.tanh(x)
        steep = 1 / np.cosh(x) ** 2
        gains.append(weight @ steep)
        # integrated by parts twice where the current is wide: the sum would cancel
        third = steep * (x**2 / delta - 1) / delta if delta > 1 else steep * (6 * t**2 - 2)
        slopes.append(weight @ third / 2)
    return np.array(gains), np.array(slopes)


def test_gain_of_tanh_and_its_slope_from_variance_zero_to_huge():
    deltas = np.array([0.0, 1e-12, 1e-3, 0.02, 0.3, 1.0, 4.0, 30.0, 1e3, 1e4, 1e8])
    gains, slopes = tanh_by_sums(deltas)
    assert gains[0] == pytest.approx(1.0, abs=1e-14)
    assert slopes[0] == pytest.approx(-1.0, abs=1e-13)
    # both ways to sum the slope are the derivative of the sum of the gain
    for i in (4, 6):
        near = tanh_by_sums(deltas[i] * np.array([1 - 1e-4, 1 + 1e-4]))[0]
        assert slopes[i] == pytest.approx(np.diff(near)[0] / (2e-4 * deltas[i]), rel=1e-6)
    np.testing.assert_allclose(gain(deltas, "tanh"), gains, atol=1e-11)
    np.testing.assert_allclose(gain(deltas, "tanh"), gains, rtol=1e-9)
    np.testing.assert_allclose(slope_of_gain(deltas, "tanh"), slopes, rtol=1e-8)
    # beyond, phi is as good as a step
    far = np.array([1e12, 1e20, 1e30])
    np.testing.assert_allclose(gain(far, "tanh"), np.sqrt(2 / (np.pi * far)), rtol=1e-9)
    np.testing.assert_allclose(
        slope_of_gain(far, "tanh"), -np.sqrt(1 / (2 * np.pi)) * far**-1.5, rtol=1e-7
    )


@pytest.mark.parametrize(
    ("function", "size"),
    [
        (np.tanh, RATIONAL_SIZE),
        (lambda x: np.tanh(3 * x), RATIONAL_SIZE),
        (softsign, TABLE_SIZE),
        (wide, TABLE_SIZE),
        (cubic, TABLE_SIZE),
        (leaky, TABLE_SIZE),
        (lambda x: -np.tanh(x), TABLE_SIZE),
    ],
)
def test_table_is_of_the_more_exact_form_and_as_good_as_it_says(function, size):
    own = pl.Nonlinearity("own", function)
    assert own.gain_table.size == size
    deltas = np.array([1e-3, 0.02, 0.3, 1.0, 4.0, 30.0, 1e3])
    expected = np.array([quadrature_gain(lambda x: float(function(x)), d) for d in deltas])
    largest = max(np.abs(expected).max(), abs(float(phi_slope(0.0, own))))
    wrong = np.abs(gain(deltas, own) - expected).max() / largest
    assert wrong <= 1.1 * own.gain_error + 1e-12


@pytest.mark.parametrize("nonlinearity", ["erf", "tanh", softsign])
def test_all_loops_read_a_table_alike(nonlinearity):
    nonlinearity = made(nonlinearity)
    table = resolve(nonlinearity).gain_table
    deltas = np.array([1e-3, 0.02, 0.3, 1.0, 4.0, 30.0, 1e4, 1e8])
    g, slope = gain(deltas, nonlinearity), slope_of_gain(deltas, nonlinearity)
    for d, g_d, slope_d in zip(deltas, g, slope, strict=True):
        np.testing.assert_allclose(gain_and_slope(table, d), (g_d, 2 * slope_d), rtol=1e-11)
        value, first, second = _gain_curvature(table, d)
        np.testing.assert_allclose((value, first), (g_d, slope_d), rtol=1e-11)
        h = 1e-4 * d
        up, down = slope_of_gain(d + h, nonlinearity), slope_of_gain(d - h, nonlinearity)
        assert second == pytest.approx(float(up - down) / (2 * h), rel=1e-6)


@pytest.mark.parametrize("nonlinearity", ["erf", "tanh"])
def test_slope_of_the_gain_is_the_derivative_of_the_gain(nonlinearity):
    deltas = np.array([0.01, 0.5, 3.0, 50.0])
    h = 1e-4 * deltas
    slope = (gain(deltas + h, nonlinearity) - gain(deltas - h, nonlinearity)) / (2 * h)
    np.testing.assert_allclose(slope_of_gain(deltas, nonlinearity), slope, rtol=1e-6)


def test_a_table_of_erf_is_the_closed_form():
    table = pl.Nonlinearity("erf by table", lambda x: phi(x, "erf"))
    deltas = np.linspace(0, 40, 200)
    np.testing.assert_allclose(gain(deltas, table), gain(deltas, "erf"), atol=1e-13)
    overlaps, trials = random_overlaps(1, 2, 2, 2), random_trials(0, 2, 2, n_trials=40)
    for got, expected in zip(
        pl.loss_and_derivative(overlaps, trials, table),
        pl.loss_and_derivative(overlaps, trials, "erf"),
        strict=True,
    ):
        np.testing.assert_allclose(got, expected, atol=1e-10)


def loss_by_hand(matrix, sizes, trials, nonlinearity):
    """The loss of the reduced system, bin by bin with the public gain."""
    n_in, rank, _ = sizes
    b = n_in + rank
    a = trials.dt
    total = 0.0
    for x, target, weight in zip(trials.inputs, trials.targets, trials.weights, strict=True):
        k = np.zeros(b)
        g, c = 1.0, np.zeros(rank)
        for t in range(len(x)):
            k = np.concatenate([(1 - a) * k[:n_in] + a * x[t], (1 - a) * k[n_in:] + a * g * c])
            g = float(gain(k @ matrix[:b, :b] @ k, nonlinearity))
            c = matrix[b : b + rank, :b] @ k
            y = g * matrix[b + rank :, :b] @ k
            total += np.sum(weight[t] * (y - target[t]) ** 2)
    return total


@pytest.mark.parametrize("sizes", [(1, 1, 1), (2, 2, 1)])
@pytest.mark.parametrize("n_trials", [1, 5])
@pytest.mark.parametrize("nonlinearity", ["tanh", softsign])
def test_derivative_agrees_with_finite_differences(sizes, n_trials, nonlinearity):
    nonlinearity = made(nonlinearity)
    overlaps = random_overlaps(3, *sizes)
    trials = random_trials(4, sizes[0], sizes[2], n_trials=n_trials)
    loss, a = pl.loss_and_derivative(overlaps, trials, nonlinearity)
    s = overlaps.matrix
    assert loss == pytest.approx(loss_by_hand(s, sizes, trials, nonlinearity), rel=1e-12)
    h = 1e-5
    for i in range(len(s)):
        for j in range(i + 1):
            up, down = s.copy(), s.copy()
            up[i, j] = up[j, i] = s[i, j] + h
            down[i, j] = down[j, i] = s[i, j] - h
            slope = (
                loss_by_hand(up, sizes, trials, nonlinearity)
                - loss_by_hand(down, sizes, trials, nonlinearity)
            ) / (2 * h)
            expected = 2 * slope if i == j else slope
            assert a[i, j] == pytest.approx(expected, abs=1e-8 * max(1.0, np.abs(a).max()))


def test_reduced_activity_is_that_of_a_large_tanh_network():
    overlaps = random_overlaps(5).replace(vu=0.8)
    trials = pl.FlipFlop(trials=3, duration=8.0, dt=0.1).sample(np.random.default_rng(0))
    theory = pl.simulate(overlaps, trials, "tanh").outputs
    errors = []
    for n in (400, 6400):
        gaps = [
            np.abs(pl.run_network(overlaps.loadings(n, seed=s), trials, "tanh").outputs - theory)
            for s in range(6)
        ]
        errors.append(np.mean([gap.max() for gap in gaps]))
    # sixteen times the neurons: a quarter of the error
    assert 2.0 < errors[0] / errors[1] < 8.0
    assert errors[1] < 0.02 * np.abs(theory).max()


def test_tanh_learns_and_conserves_what_any_nonlinearity_does():
    task = pl.FlipFlop(dt=0.1, trials=6, duration=10.0).freeze(0)
    start = pl.Overlaps(np.eye(4)).replace(zm=0.3, zu=0.3, vm=0.3, vu=0.3)
    t = pl.learn(start, task, pl.GradientFlow(), 20.0, "tanh")
    assert t.losses[-1] < 0.5 * t.losses[0]
    drift = pl.drift(t)
    assert list(drift.index) == ["uu-vv"]
    assert drift["largest"].max() < 1e-6
    assert start.visible_names("tanh") == start.visible_names("erf")


def test_network_table_is_phi_on_a_grid():
    kind, table = network_phi(made(softsign))
    n = (len(table) - 1) // 2
    x = np.linspace(0, table[0], n)
    assert kind == 3
    np.testing.assert_array_equal(table[1 : n + 1], softsign(x))
    np.testing.assert_allclose(table[n + 5 :], 1 / (1 + x[4:]) ** 2, atol=1e-9)
    assert [network_phi(name)[0] for name in ("linear", "erf", "tanh")] == [0, 1, 2]


def test_phi_and_its_slope():
    x = np.linspace(-3, 3, 7)
    np.testing.assert_array_equal(phi(x, "tanh"), np.tanh(x))
    np.testing.assert_allclose(phi_slope(x, "tanh"), 1 / np.cosh(x) ** 2, atol=1e-15)
    own = pl.Nonlinearity("own", np.arctan, lambda x: 1 / (1 + x**2))
    np.testing.assert_array_equal(phi_slope(x, own), 1 / (1 + x**2))
    assert resolve(own) is own


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: pl.Nonlinearity("relu", lambda x: np.maximum(x, 0)), r"odd, phi\(-x\) = -phi"),
        (lambda: pl.Nonlinearity("cube", lambda x: x**3), "bounded gain"),
        (lambda: pl.Nonlinearity("pole", lambda x: np.where(x > 5, np.inf, x)), "finite rates"),
        (lambda: pl.Nonlinearity("tanh", np.arctan), "must not be one of the built-in"),
        (lambda: pl.Nonlinearity("", np.tanh), "name must be a text"),
        (lambda: pl.Nonlinearity("x", 3.0), "must be callables"),
        (lambda: resolve("tahn"), "Did you mean 'tanh'"),
        (lambda: resolve(3), "nonlinearity must be one of"),
        (lambda: gain(-1.0, "tanh"), "zero or more"),
    ],
)
def test_bad_input_is_refused(make, message):
    with pytest.raises(pl.InputError, match=message):
        make()
