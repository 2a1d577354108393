"""Speed of the fit: 200 neurons, 200 trials, 100 bins, rank 2, all inputs different.

The reference is one ordinary regression of every neuron on the design of the same size: what a
single inner step costs without any dynamics, bootstrap or outer search.

The group "learning" fits 20 sessions along learning, measured or recorded; its reference is one
course of learning.
"""

from __future__ import annotations

import numpy as np
import pytest

import predictlearn as pl
from predictlearn.simulation import random_inputs, simulate_recording
from predictlearn.theory.learning.phases import Leg
from predictlearn.theory.learning.sensitivity import learn_with_sensitivities

GROUP = "fit of 200 neurons x 200 trials x 100 bins, rank 2, 200 bootstrap replicates"


def _recording(nonlinearity, **more):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(6, 6))
    x /= np.linalg.norm(x, axis=0)
    overlaps = pl.Overlaps(0.3 * x.T @ x + 0.7 * np.eye(6), 1, 2, 1).replace(v1m=0.5, v2u1=0.4)
    inputs = 2.0 * random_inputs(200, 100, 1, dt=0.1, seed=1)
    return simulate_recording(
        overlaps, inputs, dt=0.1, nonlinearity=nonlinearity, n_neurons=200, r2=0.6, seed=2, **more
    )


@pytest.mark.benchmark(group=GROUP)
@pytest.mark.parametrize("nonlinearity", ["linear", "erf"])
def test_fit(benchmark, nonlinearity):
    r = _recording(nonlinearity)

    def fit():
        model = pl.LowRankRNN(rank=2, nonlinearity=nonlinearity, dt=0.1, tau=1.0)
        return model.fit(r.activity, r.inputs, outputs=r.outputs)

    fit()
    model = benchmark.pedantic(fit, rounds=5)
    assert len(model.replicates_) == 200


@pytest.mark.benchmark(group=GROUP)
@pytest.mark.parametrize("noise", ["poisson", "negative-binomial"])
def test_fit_of_counts(benchmark, noise):
    r = _recording("linear", observed="current", noise=noise, gain=0.3)

    def fit():
        model = pl.LowRankRNN(rank=2, dt=0.1, tau=1.0, observed="current", noise=noise)
        return model.fit(r.activity, r.inputs, outputs=r.outputs)

    fit()
    model = benchmark.pedantic(fit, rounds=3)
    assert len(model.replicates_) == 200


@pytest.mark.benchmark(group=GROUP)
def test_fit_with_scattered_missing_bins(benchmark):
    r = _recording("linear")
    gone = np.random.default_rng(0).random(r.activity.shape) < 0.05
    y = np.where(gone, np.nan, r.activity)
    model = pl.LowRankRNN(rank=2, dt=0.1, tau=1.0)
    benchmark.pedantic(model.fit, args=(y, r.inputs, r.outputs), rounds=3)
    assert model.converged_


@pytest.mark.benchmark(group=GROUP)
def test_one_regression(benchmark):
    r = _recording("linear")
    y = r.activity.reshape(-1, 200)
    design = np.random.default_rng(0).normal(size=(len(y), 4))
    benchmark(np.linalg.lstsq, design, y, rcond=None)


LEARNED, RULE = pl.Filter(), pl.GradientDescent(5e-3)
BEFORE = pl.Overlaps(np.eye(4)).replace(uu=2.05, mu=0.8, zm=0.1, zu=0.2, vm=0.3, vu=0.2)


@pytest.mark.benchmark(group="learning")
def test_learning_without_slopes(benchmark):
    leg = Leg(LEARNED, 950, RULE)
    benchmark(learn_with_sensitivities, BEFORE, [leg], [0, 950], slopes=False)


@pytest.mark.benchmark(group="learning")
def test_learning_with_all_slopes(benchmark):
    leg = Leg(LEARNED, 950, RULE)
    benchmark(learn_with_sensitivities, BEFORE, [leg], [0, 950])


@pytest.mark.benchmark(group="learning")
def test_learning_fit_of_twenty_sessions(benchmark):
    sessions = pl.simulate_sessions(BEFORE, LEARNED, 50, RULE, 0.02, n_sessions=20)
    benchmark.pedantic(
        pl.LearningFit().fit, (sessions, LEARNED, 50, RULE), rounds=3, warmup_rounds=1
    )


@pytest.mark.benchmark(group="learning")
def test_learning_fit_of_twenty_recordings(benchmark):
    recordings, neurons = pl.simulate_learning(
        BEFORE, LEARNED, 50, RULE, n_sessions=20, recurring=50, n_trials=40
    )
    settings = {"neurons": neurons, "network": 300}
    benchmark.pedantic(
        pl.LearningFit().fit_recordings,
        (recordings, LEARNED, 50, RULE),
        settings,
        rounds=2,
        warmup_rounds=1,
    )
