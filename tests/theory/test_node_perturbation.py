"""Node perturbation: its step in closed form against simulation, and what it costs with N."""

from __future__ import annotations

import neuron_network
import numpy as np
import pytest
from neuron_network import open_world

import predictlearn as pl
from predictlearn.network.dense import perturbed_directions
from predictlearn.theory.activity import NO_NOISE, Batch
from predictlearn.theory.synapses.gradients import Directions, Steering

DRAWS = 40_000
START = pl.Overlaps(np.eye(4)).replace(zm=0.1, zu=0.3, vm=0.3)


def a_network(sizes, seed=0):
    n_in, rank, n_out = sizes
    dim = n_in + 2 * rank + n_out
    g = 0.4 * np.random.default_rng(seed).normal(size=(dim, dim))
    return pl.Synapses.from_overlaps(pl.Overlaps(np.eye(dim) + g @ g.T, *sizes))


def some_trials(sizes, world=None, n_trials=2, n_steps=6):
    n_in, _, n_out = sizes
    rng = np.random.default_rng(1)
    n_read = n_out if world is None else world.n_read
    targets = rng.normal(size=(n_trials, n_steps, n_read))
    weights = rng.uniform(0.5, 1.5, size=targets.shape)
    x = rng.normal(size=(n_trials, n_steps, n_in))
    return pl.Trials(x, targets, weights, 0.4, world=world)


def simulated(network, trials, sigma, n, draws, seed=0):
    """Return steps of [W, M / sqrt(N)] by -rate of 1, (draws, N, N + n_in), and the span."""
    q, _ = np.linalg.qr(np.random.default_rng(3).normal(size=(n, network.dim)))
    m, w, z = np.sqrt(n) * q @ network.m, q @ network.w @ q.T, np.sqrt(n) * q @ network.z
    world = open_world(trials.n_in, trials.n_out) if trials.world is None else trials.world
    rng = np.random.default_rng(seed)
    total = np.zeros((draws, n, n + trials.n_in))
    for p in range(trials.n_trials):
        x, targets, weights = (
            np.repeat(part[p : p + 1], draws, axis=0)
            for part in (trials.inputs, trials.targets, trials.weights)
        )
        xi = sigma * rng.standard_normal((trials.n_steps, draws, n))
        _, rates, seen, read = neuron_network.run(m, w, z, world, x[:1], trials.dt)
        noisy = neuron_network.run(m, w, z, world, x, trials.dt, xi=xi)[3]
        more = neuron_network.losses_of(noisy, targets, weights)
        more -= neuron_network.losses_of(read, targets[:1], weights[:1])
        before = np.array(
            [np.hstack([r[0], np.sqrt(n) * u[0]]) for r, u in zip(rates[:-1], seen, strict=True)]
        )
        total -= np.einsum("k,tki,ta->kia", more / sigma**2, xi, before)
    return total, q


@pytest.mark.parametrize("closed", [False, True])
def test_mean_and_covariance_of_a_step_are_those_of_simulated_steps(closed):
    sizes, n, sigma = (1, 1, 1), 7, 1.5
    world = pl.LinearWorld([[0.7]], [[0.5]], [[-0.3]], offset=[0.1], start=[0.2])
    trials = some_trials(sizes, world if closed else None)
    network = a_network(sizes)
    step = pl.node_perturbation_step(network, trials, 1.0, sigma, n)
    steps, q = simulated(network, trials, sigma, n, DRAWS)
    basis, _ = np.linalg.qr(np.hstack([q, np.eye(n)]))
    rows = np.einsum("in,kna->kia", basis.T, steps)  # the span's, then others
    columns = np.concatenate([rows[:, :, :n] @ q, rows[:, :, n:]], axis=2)
    columns[:, : network.dim] = np.einsum(
        "ij,kja->kia", q.T @ basis[:, : network.dim], columns[:, : network.dim]
    )
    dim, width = step.mean.shape
    inside, outside = columns[:, :dim].reshape(DRAWS, -1), columns[:, dim:]

    def z_scores(values, expected):
        return (values.mean(axis=0) - expected) / (values.std(axis=0) / np.sqrt(DRAWS))

    assert np.abs(z_scores(inside, step.mean.ravel())).max() < 4.5
    assert np.abs(z_scores(outside, 0.0)).max() < 4.5
    away = inside - step.mean.ravel()
    products = np.einsum("ka,kb->kab", away, away).reshape(DRAWS, -1)
    expected = step.inside.reshape(dim * width, -1)
    scores = np.abs(z_scores(products, expected.ravel()))
    assert scores.max() < 5.0
    for row in range(n - dim):
        products = np.einsum("ka,kb->kab", outside[:, row], outside[:, row])
        assert np.abs(z_scores(products, step.outside)).max() < 4.5
    # without the curvature of the loss it would not fit
    flat = pl.node_perturbation_step(network, trials, 1.0, 1e-6, n)
    assert np.abs(z_scores(products, flat.outside)).max() > 20
    size = np.sum(steps**2, axis=(1, 2)) - np.sum(columns[:, :dim] ** 2, axis=(1, 2))
    assert abs(z_scores(size, step.growth)) < 4.5


@pytest.mark.parametrize("closed", [False, True])
def test_the_mean_step_is_the_gradient_through_the_loop(closed):
    sizes = (2, 2, 2)
    world = pl.LinearWorld(0.7 * np.eye(2), 0.3 * np.eye(2), [[-0.3, 0.1], [0.0, 0.2]])
    trials = some_trials(sizes, world if closed else None)
    network = a_network(sizes)
    ready = Batch(trials, "linear", 1.0)
    slopes = Directions(ready, Steering(through_loop=closed), network.dim, False)
    loss, m, w, _ = slopes(network.m, network.w, network.z)
    for sigma, n in ((0.1, 20), (3.0, 500)):
        step = pl.node_perturbation_step(network, trials, 0.3, sigma, n)
        assert step.loss == pytest.approx(loss, rel=1e-12)
        assert np.allclose(step.mean, -0.3 * np.hstack([w, m]), rtol=1e-11, atol=1e-13)
        assert step.fall == pytest.approx(0.3 * (np.sum(w**2) + np.sum(m**2)), rel=1e-11)


def beside(network, end):
    """Return |W|^2 + |M|^2 / N that learning put into rows outside the span of a start."""
    n = len(network.w)
    vectors = [network.m, network.z, network.w @ network.m, network.w.T @ network.z]
    basis, _ = np.linalg.qr(np.hstack(vectors))
    out = np.eye(n) - basis @ basis.T
    return np.sum((out @ end.w) ** 2) + np.sum((out @ end.m) ** 2) / n


def test_growth_outside_the_span_is_that_of_networks_over_many_steps():
    """With steps so small that every one is much like the first."""
    network, task = pl.Synapses.from_overlaps(START), pl.Filter(duration=3.0, dt=0.1)
    rule = pl.NodePerturbation(1e-7, 0.1)
    for n in (20, 80):
        step = pl.node_perturbation_step(network, task.sample(), rule.rate, rule.noise, n)
        neurons = network.on_neurons(n)
        found = [
            beside(neurons, pl.train_network(neurons, task, rule, 50, seed=k, every=50).final)
            for k in range(8)
        ]
        error = np.std(found) / np.sqrt(8)
        assert abs(np.mean(found) - 50 * step.growth) < 4 * error
        assert error < 0.2 * np.mean(found)


# the growth of one step, and of many, is in the tests before
@pytest.mark.slow
def test_what_learning_builds_outside_the_span_goes_as_neurons_times_rate():
    task, time = pl.Filter(duration=2.0, dt=0.1), 0.4

    def built(n, rate):
        start, found = pl.Synapses.from_overlaps(START).on_neurons(n), []
        for seed in range(4):
            rule, epochs = pl.NodePerturbation(rate), round(time / rate)
            t = pl.train_network(start, task, rule, epochs, seed=seed, every=epochs)
            assert t.losses[-1] < 0.5 * t.losses[0]
            found.append(beside(start, t.final))
        return np.mean(found)

    first = built(30, 2e-3)
    assert 1.6 < built(60, 2e-3) / first < 2.7  # (60 - 4) / (30 - 4) = 2.15
    assert 0.8 < built(60, 1e-3) / first < 1.35


def feedforward(n_out, n=60):
    """Neurons without recurrence and one bin, of which M learns: all is quadratic."""
    z, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(n, n_out)))
    start = pl.SynapticNetwork(np.zeros((n, 1)), np.zeros((n, n)), np.sqrt(n) * z)
    ones = np.ones((1, 1, n_out))
    return start, z, pl.ArrayTask(np.ones((1, 1, 1)), ones, ones, dt=1.0)


@pytest.mark.parametrize("n_out", [1, 6, 30])
def test_an_epoch_costs_as_many_directions_as_outputs_say(n_out):
    """The mean loss after a step is 1 - 2 mu + mu^2 (K + 2) of that before, mu = 2 rate.

    And sigma^2 / N mu^2 K (K + 2) (K + 4) / 4 more by the curvature: Werfel, Xie & Seung (2005).
    """
    n, sigma = 60, 2.0
    start, z, task = feedforward(n_out, n)
    mu = 1.0 / (n_out + 2)
    parts = {"m": start.m, "w": start.w, "z": start.z}
    ready, rng, left = Batch(task.sample(), "linear", 1.0), np.random.default_rng(0), []
    for _ in range(2000):
        slope = perturbed_directions(parts, ready, sigma, rng, NO_NOISE)[1]["m"]
        left.append(np.sum((z.T @ (start.m - mu / 2 * slope) / np.sqrt(n) - 1) ** 2))
    curved = sigma**2 / n * mu**2 * n_out * (n_out + 2) * (n_out + 4) / 4
    expected = n_out * (1 - 2 * mu + mu**2 * (n_out + 2)) + curved
    assert abs(np.mean(left) - expected) < 4 * np.std(left) / np.sqrt(len(left))
    # and so says the covariance of the step
    network = pl.Synapses(np.zeros((n_out, 1)), np.zeros((n_out, n_out)), np.eye(n_out))
    step = pl.node_perturbation_step(network, task.sample(), mu / 2, sigma, n)
    after = np.sum((step.mean[:, -1] - 1) ** 2)
    after += np.einsum("ii->", step.inside[:, -1, :, -1])
    assert after == pytest.approx(expected, rel=1e-11)


def test_the_largest_rate_falls_as_the_number_of_outputs():
    """2 / mu is K + 2 where the mean loss no longer falls: half of it learns, twice it does not."""
    for n_out in (4, 16):
        start, _, task = feedforward(n_out)
        fates = []
        for mu in (0.5 / (n_out + 2), 8.0 / (n_out + 2)):
            rule = pl.NodePerturbation(mu / 2, 1e-3, pathway_rates={"w": 0.0, "z": 0.0})
            ends = []
            for seed in range(5):
                try:
                    t = pl.train_network(start, task, rule, 10 * n_out, seed=seed, every=1000)
                    ends.append(t.losses[-1] / t.losses[0])
                except pl.DivergenceError:
                    ends.append(np.inf)
            fates.append(np.median(ends))
        assert fates[0] < 0.05
        assert fates[1] > 1
