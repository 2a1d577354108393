"""Reduced activity, loss and derivative matrix against independent implementations."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import random_overlaps
from oracles import complex_step_derivative, judged_loss, random_trials, reduced_outputs

import predictlearn as pl
from predictlearn.theory.activity import Batch, losses_along
from predictlearn.theory.kernels import rollout as kernels

# among them: more outputs than rows of k, and more rows than a tile of the kernels has
SIZES = [(1, 1, 1), (1, 2, 1), (2, 2, 2), (3, 1, 2), (1, 3, 1), (2, 3, 2), (1, 1, 4), (5, 5, 4)]


@pytest.mark.parametrize("nonlinearity", ["linear", "erf"])
@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("observer", [False, True])
def test_derivative_matrix_is_exact(sizes, nonlinearity, observer):
    overlaps = random_overlaps(1, *sizes)
    trials = random_trials(2, sizes[0], sizes[2], observer=observer)
    loss, a = pl.loss_and_derivative(overlaps, trials, nonlinearity)
    expected = complex_step_derivative(overlaps.matrix, sizes, trials, nonlinearity)
    outputs = reduced_outputs(overlaps.matrix, sizes, trials, nonlinearity)
    assert loss == pytest.approx(judged_loss(outputs, trials), rel=1e-12)
    np.testing.assert_allclose(a, expected, rtol=0, atol=1e-12 * np.abs(expected).max())


@pytest.mark.parametrize("nonlinearity", ["linear", "erf"])
@pytest.mark.parametrize(("sizes", "n_trials"), [((1, 1, 1), 1), ((1, 1, 1), 40), ((2, 1, 1), 5)])
def test_losses_along_are_those_with_the_derivative(sizes, n_trials, nonlinearity):
    networks = [random_overlaps(seed, *sizes) for seed in (1, 2, 3)]
    trials = random_trials(4, sizes[0], sizes[2], n_trials=n_trials)
    along = losses_along(np.stack([n.matrix for n in networks]), sizes, trials, nonlinearity)
    each = [pl.loss_and_derivative(network, trials, nonlinearity)[0] for network in networks]
    np.testing.assert_allclose(along, each, rtol=1e-14)


@pytest.mark.parametrize("n_trials", [1, 3, 4, kernels.BLOCK - 1, kernels.BLOCK, kernels.BLOCK + 5])
@pytest.mark.parametrize("nonlinearity", ["linear", "erf"])
def test_every_way_of_cutting_trials_into_blocks_gives_the_same(n_trials, nonlinearity):
    overlaps = random_overlaps(3, 2, 2, 1)
    trials = random_trials(4, 2, 1, n_trials=n_trials)
    loss, a = pl.loss_and_derivative(overlaps, trials, nonlinearity)
    parts = []
    for p in range(n_trials):
        one = pl.Trials(
            trials.inputs[p : p + 1], trials.targets[p : p + 1], trials.weights[p : p + 1], 0.2
        )
        parts.append(pl.loss_and_derivative(overlaps, one, nonlinearity))
    assert loss == pytest.approx(sum(x for x, _ in parts), rel=1e-12)
    np.testing.assert_allclose(a, sum(x for _, x in parts), atol=1e-11 * np.abs(a).max())


@pytest.mark.parametrize("n_trials", [1, 5, 16, kernels.BLOCK + 5])
@pytest.mark.parametrize("nonlinearity", ["linear", "erf", "tanh"])
@pytest.mark.parametrize("sizes", [(1, 1, 1), (2, 3, 2), (1, 1, 4), (5, 5, 4)])
def test_nothing_left_in_the_scratch_space_matters(sizes, nonlinearity, n_trials):
    """Rows are filled up to whole vectors, and bins to chunks; what is there must not be read."""
    overlaps = random_overlaps(11, *sizes)
    trials = random_trials(12, sizes[0], sizes[2], n_trials=n_trials)
    ready = Batch(trials, nonlinearity, 1.0)
    matrix = overlaps.matrix.copy()  # numba would compile again for what cannot be written to
    results = []
    for content in (0.0, np.nan):
        scratch = np.full_like(ready.scratch(sizes[1]), content)
        a = np.empty_like(matrix)
        loss = kernels.loss_and_derivative_kernel(matrix, sizes, ready.shown(), scratch, a)
        results.append((loss, a))
    assert np.isfinite(results[0][0])
    assert results[1][0] == results[0][0]
    np.testing.assert_array_equal(results[1][1], results[0][1])


def test_derivative_agrees_with_finite_differences():
    overlaps = random_overlaps(5, 1, 2, 2)
    trials = random_trials(6, 1, 2)
    _, a = pl.loss_and_derivative(overlaps, trials, "erf")
    h = 1e-6
    for name in overlaps.names:
        i, j = overlaps.index(name)
        up = pl.loss(overlaps.replace(**{name: overlaps[name] + h}), trials, "erf")
        down = pl.loss(overlaps.replace(**{name: overlaps[name] - h}), trials, "erf")
        expected = (up - down) / (2 * h) * (2 if i == j else 1)
        assert a[i, j] == pytest.approx(expected, abs=1e-7 * np.abs(a).max()), name


@pytest.mark.parametrize("nonlinearity", ["linear", "erf"])
def test_only_visible_overlaps_have_a_derivative(nonlinearity):
    overlaps = random_overlaps(7, 1, 2, 1)
    _, a = pl.loss_and_derivative(overlaps, random_trials(8), nonlinearity)
    for name in overlaps.invisible_names(nonlinearity):
        assert a[overlaps.index(name)] == 0.0
    for name in overlaps.visible_names(nonlinearity):
        assert a[overlaps.index(name)] != 0.0


@pytest.mark.parametrize("nonlinearity", ["linear", "erf"])
def test_simulate_follows_the_equations(nonlinearity):
    overlaps = random_overlaps(9, 2, 2, 2)
    trials = random_trials(10, 2, 2)
    activity = pl.simulate(overlaps, trials, nonlinearity, tau=0.7)
    expected = reduced_outputs(overlaps.matrix, overlaps.sizes, trials, nonlinearity, tau=0.7)
    np.testing.assert_allclose(activity.outputs, expected, atol=1e-13)
    k = np.concatenate([activity.k_m, activity.k_u], axis=2)
    base = overlaps.matrix[:4, :4]
    delta = np.einsum("pti,ij,ptj->pt", k, base, k)
    g = np.ones_like(delta) if nonlinearity == "linear" else 1 / np.sqrt(1 + np.pi / 2 * delta)
    np.testing.assert_allclose(activity.gain, g, atol=1e-13)


def test_linear_impulse_response_is_analytic():
    """With vu = 1 - c and fine bins, the filter's output is zm e^-t + zu vm t-convolution."""
    dt, c = 1e-3, 0.4
    overlaps = pl.Overlaps(np.diag([2.0, 2.0, 2.0, 2.0])).replace(zm=1.0, zu=0.6, vm=1.0, vu=1 - c)
    trials = pl.Filter(decay=c, duration=5.0, dt=dt).sample(np.random.default_rng(0))
    t = dt * np.arange(trials.n_steps)
    # k_u' = -c k_u + vm e^-t from 0:  k_u = vm (e^-ct - e^-t) / (1 - c)
    expected = np.exp(-t) + 0.6 * (np.exp(-c * t) - np.exp(-t)) / (1 - c)
    outputs = pl.simulate(overlaps, trials).outputs[0, :, 0]
    np.testing.assert_allclose(outputs, expected, atol=3 * dt)
    np.testing.assert_allclose(outputs, np.exp(-c * t), atol=3 * dt)  # the known solution


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"nonlinearity": "erv"}, "Did you mean 'erf'"),
        ({"tau": 0.0}, "tau must be a positive number; got 0.0"),
        ({"tau": 0.1}, "tau must be at least the bin width"),
        ({"overlaps": random_overlaps(0, 2, 1, 1)}, r"1 input\(s\) and 1 output\(s\).* 2 and 1"),
        ({"overlaps": np.eye(4)}, "overlaps must be an Overlaps; got ndarray"),
    ],
)
def test_bad_input_is_refused(change, message):
    arguments = {"overlaps": random_overlaps(0), "trials": random_trials(0)} | change
    with pytest.raises(pl.InputError, match=message):
        pl.simulate(**arguments)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"inputs": np.ones((2, 5))}, r"inputs must have 3 axes \(trials, time, n_in\)"),
        ({"targets": np.ones((3, 5, 1))}, r"trials and bins of inputs, \(2, 5\); got \(3, 5\)"),
        ({"weights": -np.ones((2, 5, 1))}, "weights must be zero or more"),
        ({"dt": -0.1}, "dt must be a positive number"),
        ({"targets": np.full((2, 5, 1), np.nan)}, "targets must be finite; 10 of 10"),
        ({"offset": np.zeros(3)}, r"offset must have shape \(1\)"),
    ],
)
def test_bad_trials_are_refused(change, message):
    good = {
        "inputs": np.ones((2, 5, 1)),
        "targets": np.ones((2, 5, 1)),
        "weights": np.ones((2, 5, 1)),
        "dt": 0.1,
    }
    with pytest.raises(pl.InputError, match=message):
        pl.Trials(**(good | change))
