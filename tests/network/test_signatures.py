"""What is published of rules of circuits, in networks of N neurons."""

from __future__ import annotations

import numpy as np
import pytest

import predictlearn as pl
from predictlearn.errors import DivergenceError

START = pl.Overlaps(np.eye(4)).replace(zm=0.1, zu=0.1, vm=0.1, vu=0.1)
TASK = pl.Filter(duration=5.0, dt=0.1)


def loss_left(start, task, rule, epochs, learns):
    """Share of the first loss that is left; infinite where learning diverges."""
    try:
        t = pl.learn(start, task, rule, epochs, learns=learns, every=epochs)
    except DivergenceError:
        return np.inf
    return t.losses[-1] / t.losses[0]


@pytest.mark.parametrize("learns", ["synapses", "factors"])
@pytest.mark.parametrize("kind", [pl.FeedbackAlignment, pl.RFLO])
def test_the_readout_comes_to_align_with_random_feedback(kind, learns):
    """Lillicrap et al. (2016); Murray (2019): from a cosine of 0, and learning works by it."""
    t = pl.train_network(START.loadings(40), TASK, kind(0.04), 200, learns=learns, every=25)
    assert abs(t.alignment.iloc[0]) < 1e-12
    assert t.alignment.iloc[1] > 0.1
    assert t.alignment.iloc[-1] > 0.2
    assert t.losses[-1] < 1e-4 * t.losses[0]
    # where the readout cannot come to align nothing is learned
    fixed = kind(0.04, pathway_rates={"z": 0.0})
    assert loss_left(START, TASK, fixed, 200, learns) > 0.3


# that factors take such feedback as given: test_dense.py, and alignment with it above
@pytest.mark.parametrize("learns", ["synapses", pytest.param("factors", marks=pytest.mark.slow)])
def test_feedback_of_the_wrong_sign_climbs_the_loss_until_the_readout_turns(learns):
    opposite, loadings = pl.Feedback(-1.0, 0.0), START.loadings(40)
    fixed = pl.FeedbackAlignment(0.01, opposite, pathway_rates={"z": 0.0})
    t = pl.train_network(loadings, TASK, fixed, 15, learns=learns)
    assert np.all(np.diff(t.losses) > 0)
    assert np.allclose(t.alignment, -1.0)
    free, same = (
        pl.train_network(
            loadings, TASK, pl.FeedbackAlignment(0.01, feedback), 300, learns=learns, every=50
        )
        for feedback in (opposite, pl.Feedback(1.0, 0.0))
    )
    assert free.alignment.iloc[0] == pytest.approx(-1.0)
    assert free.alignment.iloc[-1] > -0.2  # it has left the opposite
    assert same.alignment.min() > 0.8
    assert same.losses[20] < 0.7 * same.losses[0] < 0.7 * free.losses[20]
    assert same.losses[-1] < 0.2 * free.losses[-1]


def bump(delay, dt=0.1):
    """Answer an impulse by a bump that peaks after a delay."""
    n = round(3 * delay / dt)
    t = dt * np.arange(1, n + 1)
    x = np.zeros((1, n, 1))
    x[0, 0, 0] = 1 / dt
    target = ((t / delay) ** 3 * np.exp(3 * (1 - t / delay)))[None, :, None]
    return pl.ArrayTask(x, target, np.full((1, n, 1), 1 / n), dt)


def test_rflo_lags_descent_the_more_the_longer_the_delay():
    """Murray (2019): what it leaves out is how errors reach back through the recurrence."""
    g = 0.3 * np.random.default_rng(0).normal(size=(8, 8))
    start = pl.Overlaps(np.eye(8) + g @ g.T, 1, 3, 1)
    ratios = []
    for delay in (1.0, 4.0):
        descent, local = (
            min(loss_left(start, bump(delay), rule(rate), 1500, "synapses") for rate in (0.03, 0.1))
            for rule in (pl.GradientDescent, lambda r: pl.RFLO(r, pl.Feedback(1.0, 0.0)))
        )
        assert descent < 0.02
        ratios.append(local / descent)
    assert 1 < ratios[0] < 5
    assert ratios[1] > 100


@pytest.mark.parametrize("nonlinearity", ["linear", "tanh"])
def test_rflo_is_descent_where_no_recurrence_is_needed(nonlinearity):
    loadings = START.replace(vu=0.0).loadings(40)
    start = pl.SynapticNetwork(loadings.m, np.zeros((40, 40)), loadings.z, loadings.z)
    rates = {"w": 0.0, "z": 0.0}
    ends = [
        pl.train_network(start, TASK, rule, 50, nonlinearity, every=50)
        for rule in (
            pl.GradientDescent(0.01, pathway_rates=rates),
            pl.RFLO(0.01, pathway_rates=rates),
        )
    ]
    assert np.allclose(ends[0].losses, ends[1].losses, rtol=1e-13)
    assert ends[0].losses[-1] < 0.9 * ends[0].losses[0]
    # nor does the first step of the recurrent synapses differ, as long as there are none
    first = [
        pl.train_network(start, TASK, rule, 1, nonlinearity).final.w
        for rule in (pl.GradientDescent(0.01), pl.RFLO(0.01))
    ]
    assert np.abs(first[0]).max() > 1e-5
    assert np.allclose(*first, atol=1e-15)
