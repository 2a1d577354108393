"""Node perturbation: its step in closed form against simulation, and what it costs with N."""

from __future__ import annotations

import neuron_network
import numpy as np
import pytest
from neuron_network import open_world

import predictlearn as pl
from predictlearn.theory.activity import Batch
from predictlearn.theory.synapses.gradients import Directions, Steering

DRAWS = 40_000


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
    """Return steps of [W, M / sqrt(N)] by -rate of 1, (draws, N, N + n_in), and the span, (N, D)."""
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


def test_growth_outside_the_span_is_that_of_networks_over_many_steps():
    """Counted in trained networks; small, so that every step is much like the first."""
    start = pl.Overlaps(np.eye(4)).replace(zm=0.1, zu=0.3, vm=0.3)
    network, task = pl.Synapses.from_overlaps(start), pl.Filter(duration=3.0, dt=0.1)
    rule = pl.NodePerturbation(1e-7, 0.1)
    for n in (30, 120):
        step = pl.node_perturbation_step(network, task.sample(), rule.rate, rule.noise, n)
        neurons = network.on_neurons(n)
        span, _ = np.linalg.qr(np.hstack([neurons.m, neurons.z, neurons.w @ neurons.m]))
        full, _ = np.linalg.qr(np.hstack([neurons.m, neurons.z, neurons.w, neurons.w.T]))
        del span
        basis = full[:, :4]
        found = []
        for seed in range(8):
            end = pl.train_network(neurons, task, rule, 50, seed=seed, every=50).final
            out = np.eye(n) - basis @ basis.T
            change_w, change_m = out @ (end.w - neurons.w), out @ (end.m - neurons.m)
            found.append(np.sum(change_w**2) + np.sum(change_m**2) / n)
        error = np.std(found) / np.sqrt(8)
        assert abs(np.mean(found) - 50 * step.growth) < 4 * error
        assert error < 0.2 * np.mean(found)
