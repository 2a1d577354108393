"""Speed of the engine: pytest benchmarks --benchmark-only --benchmark-columns=min,median,max.

The reference is a plain numpy loop over bins that computes the same loss and derivative for all
trials at once; times are quoted as ratios to it within one run.
"""

from __future__ import annotations

import numpy as np
import pytest

import predictlearn as pl
from predictlearn.network.kernels import network_loss_and_gradient
from predictlearn.theory.activity import Batch
from predictlearn.theory.kernels import rollout as kernels
from predictlearn.theory.kernels.impulse import impulse_loss_and_derivative, impulse_work
from predictlearn.theory.nonlinearity import network_phi


def numpy_loss_and_derivative(s, trials, a):
    """Rank one, one input, one output, erf: forward and adjoint with numpy over trials."""
    x, target, weight = trials.inputs[..., 0], trials.targets[..., 0], trials.weights[..., 0]
    n_trials, n_steps = x.shape
    base, w = s[:2, :2], s[2:, :2]
    k = np.zeros((n_steps, n_trials, 2))
    g = np.ones((n_steps, n_trials))
    c = np.zeros((n_steps, n_trials, 2))
    now, drive = np.zeros((n_trials, 2)), np.zeros(n_trials)
    for t in range(n_steps):
        now = (1 - a) * now + a * np.stack([x[:, t], drive], axis=1)
        k[t] = now
        g[t] = 1 / np.sqrt(1 + np.pi / 2 * np.einsum("pi,ij,pj->p", now, base, now))
        c[t] = now @ w.T
        drive = g[t] * c[t, :, 0]
    error = g * c[..., 1] - target.T
    loss = np.sum(weight.T * error**2)
    e = 2 * weight.T * error
    d = np.zeros((4, 4))
    lam = np.zeros(n_trials)
    for t in range(n_steps - 1, -1, -1):
        q = np.stack([a * lam, e[t]], axis=1)
        gq = g[t][:, None] * q
        dw = gq.T @ k[t]
        d[2:, :2] += dw
        d[:2, 2:] += dw.T
        s2 = -np.pi / 2 * g[t] ** 3 * np.einsum("pi,pi->p", q, c[t])
        d[:2, :2] += (s2[:, None] * k[t]).T @ k[t]
        lam = (1 - a) * lam + gq @ w[:, 1] + s2 * (k[t] @ base[:, 1])
    return loss, d


def _fused(overlaps, trials, nonlinearity):
    """Return a call of the compiled loop on prepared trials, as `learn` makes it each epoch."""
    ready = Batch(trials, nonlinearity, 1.0)
    a, scratch = np.empty((overlaps.dim, overlaps.dim)), ready.scratch(overlaps.rank)
    shown = ready.shown()

    def call():
        value = kernels.loss_and_derivative_kernel(
            overlaps.matrix, overlaps.sizes, shown, scratch, a
        )
        return value, a

    return call


@pytest.mark.benchmark(group="erf, rank 1, 128 trials x 400 bins: loss and derivative")
def test_fused_loop(benchmark, start, batch):
    value, a = benchmark(_fused(start, batch, "erf"))
    expected, d = numpy_loss_and_derivative(start.matrix, batch, 0.05)
    assert value == pytest.approx(expected)
    np.testing.assert_allclose(a, d, atol=1e-10)


@pytest.mark.benchmark(group="erf, rank 1, 128 trials x 400 bins: loss and derivative")
def test_numpy_loop(benchmark, start, batch):
    benchmark(numpy_loss_and_derivative, start.matrix, batch, 0.05)


@pytest.mark.benchmark(group="erf, 128 trials x 400 bins, rank 3, 2 inputs, 2 outputs")
def test_fused_loop_rank_three(benchmark):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(50, 10))
    overlaps = pl.Overlaps(x.T @ x / 50, 2, 3, 2)
    shape = (128, 400, 2)
    trials = pl.Trials(
        rng.normal(size=shape), rng.normal(size=shape), np.full(shape, 1 / 51200), 0.05
    )
    benchmark(_fused(overlaps, trials, "erf"))


@pytest.mark.benchmark(group="rank 1, 128 trials x 400 bins, by nonlinearity")
@pytest.mark.parametrize("nonlinearity", ["linear", "erf", "tanh"])
def test_nonlinearities(benchmark, start, batch, nonlinearity):
    benchmark(_fused(start, batch, nonlinearity))


@pytest.mark.benchmark(group="linear filter: loss and derivative, closed form against the loop")
@pytest.mark.parametrize("bins", [400, 4000])
@pytest.mark.parametrize("closed", [True, False])
def test_filter_gradient(benchmark, start, bins, closed):
    trials = pl.Filter(duration=0.05 * bins).sample()
    if closed:
        ready = Batch(trials, "linear", 1.0)
        impulse = ready.impulse(1)
        work, a = impulse_work(impulse), np.empty((4, 4))
        value = benchmark(impulse_loss_and_derivative, start.matrix, start.sizes, impulse, work, a)
    else:
        value, a = benchmark(_fused(start, trials, "linear"))
    loss, expected = pl.loss_and_derivative(start, trials)
    assert value == pytest.approx(loss)
    np.testing.assert_allclose(a, expected, atol=1e-9)


@pytest.mark.benchmark(group="linear filter, 1000 epochs with the trajectory kept, by bins")
@pytest.mark.parametrize("bins", [400, 4000])
def test_filter_epochs(benchmark, start, bins):
    rule, task = pl.GradientDescent(5e-3), pl.Filter(duration=0.05 * bins)
    pl.learn(start, task, rule, 10)
    t = benchmark(pl.learn, start, task, rule, 1000)
    assert len(t.overlaps) == 1001


@pytest.mark.benchmark(group="A-B-A, linear: one network, 3000 + 1000 + 1000 epochs")
def test_aba(benchmark, start):
    rule = pl.GradientDescent(5e-3)
    a, b = pl.Filter(decay=0.2), pl.Filter(decay=0.4)

    def course():
        state = start
        for task, epochs in ((a, 3000), (b, 1000), (a, 1000)):
            state = pl.learn(state, task, rule, epochs, every=100).final
        return state

    assert abs(benchmark(course)["vu"] - 0.8) < 0.05


@pytest.mark.benchmark(group="the same course of learning: gradient flow against small steps")
@pytest.mark.parametrize("how", ["flow", "flow by LSODA", "descent"])
def test_flow(benchmark, start, how, monkeypatch):
    """Descent at a rate that is 5e-4 from the flow; to be 1e-6 from it takes 500 times as many.

    LSODA, which stiff flows are left to, calls the gradient from Python.
    """
    task = pl.Filter()
    if how == "flow by LSODA":
        monkeypatch.setattr("predictlearn.theory.learning.flow._EXPLICIT_CLOSED", 0)
    if how != "descent":
        benchmark(pl.learn, start, task, pl.GradientFlow(), 4.0)
    else:
        benchmark(pl.learn, start, task, pl.GradientDescent(1e-3), 4000, every=20)


@pytest.mark.benchmark(group="erf network, 600 neurons, 10 trials x 800 bins: one epoch")
def test_network_epoch(benchmark, start):
    trials = pl.FlipFlop().sample(np.random.default_rng(0))
    theta = np.ascontiguousarray(start.loadings(600).stacked.T)
    ready = Batch(trials, "erf", 1.0)
    rates, gradient = np.empty((2, trials.n_steps, 600)), np.empty_like(theta)
    benchmark(
        network_loss_and_gradient,
        theta,
        start.sizes,
        network_phi("erf"),
        ready.shown(),
        rates,
        gradient,
    )


@pytest.mark.benchmark(group="erf network, 600 neurons, 10 trials x 800 bins: one epoch")
def test_dense_network_forward_only(benchmark, start):
    """The dense (N, N) recurrence, forward alone, in numpy: a lower bound for a dense network."""
    trials = pl.FlipFlop().sample(np.random.default_rng(0))
    loadings = start.loadings(600)
    connectivity = loadings.v @ loadings.u.T / 600
    from scipy.special import erf

    def forward():
        h = np.zeros((trials.n_trials, 600))
        for t in range(trials.n_steps):
            rate = erf(np.sqrt(np.pi) / 2 * h)
            drive = rate @ connectivity + trials.inputs[:, t] @ loadings.m.T
            h = (1 - 0.025) * h + 0.025 * drive
        return h

    benchmark(forward)
