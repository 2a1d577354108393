"""Rates that diverge, the curvature that says so, and the cone of realisable overlaps."""

from __future__ import annotations

import re

import numpy as np
import pytest

import predictlearn as pl
from predictlearn.tasks.teacher import complete_overlaps
from predictlearn.theory.learning.descent import project_onto_cone

TASK = pl.Filter(duration=10.0, dt=0.1)
START = pl.Overlaps(np.eye(4)).replace(zu=0.3, vm=0.3, vu=0.2)


def loss_of_loadings(theta, trials, sizes, nonlinearity):
    return pl.loss(pl.Overlaps(theta.T @ theta, *sizes), trials, nonlinearity)


@pytest.mark.parametrize("nonlinearity", ["linear", "erf"])
def test_stable_rate_is_two_over_the_largest_curvature(nonlinearity):
    """The Hessian over loadings by second differences of the loss."""
    trials = TASK.sample()
    s = START.matrix
    values, vectors = np.linalg.eigh(s)
    theta = (vectors * np.sqrt(values)) @ vectors.T
    h = 1e-3
    n = theta.size
    hessian = np.empty((n, n))
    shifts = h * np.eye(n).reshape(n, 4, 4)
    for i in range(n):
        for j in range(i + 1):
            parts = [
                a * b * loss_of_loadings(theta + a * shifts[i] + b * shifts[j], trials, START.sizes,
                                         nonlinearity)
                for a in (1, -1) for b in (1, -1)
            ]  # fmt: skip
            hessian[i, j] = hessian[j, i] = sum(parts) / (4 * h * h)
    expected = 2 / np.linalg.eigvalsh(hessian)[-1]
    assert pl.largest_stable_rate(START, trials, nonlinearity) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(("momentum", "factor"), [(0.0, 1.0), (0.6, 1.6)])
def test_descent_is_stable_below_that_rate_and_not_above(momentum, factor):
    """Around a learned solution, where the expansion holds."""
    learned = pl.learn(START, TASK, pl.GradientDescent(0.02), 40_000, every=40_000).final
    trials = TASK.sample()
    plain = pl.largest_stable_rate(learned, trials)
    rule = pl.GradientDescent(1.0, momentum=momentum)
    limit = pl.largest_stable_rate(learned, trials, rule=rule)
    assert limit == pytest.approx(factor * plain, rel=1e-9)
    near = learned.replace(zm=learned["zm"] + 1e-6)
    below, above = (
        pl.learn(near, TASK, pl.GradientDescent(scale * limit, momentum=momentum), 300)
        for scale in (0.97, 1.03)
    )
    assert below.losses[-1] < below.losses[0]
    assert above.losses[-1] > 10 * above.losses[0]


def test_pathway_rates_enter_the_curvature():
    trials = TASK.sample()
    whole = pl.largest_stable_rate(START, trials, rule=pl.GradientDescent(1.0))
    halved = pl.GradientDescent(1.0, pathway_rates=dict.fromkeys("muvz", 0.5))
    assert pl.largest_stable_rate(START, trials, rule=halved) == pytest.approx(2 * whole, rel=1e-6)


def test_divergence_stops_at_once_and_names_epoch_loss_and_a_stable_rate():
    with pytest.raises(pl.DivergenceError) as caught:
        pl.learn(START, TASK, pl.GradientDescent(0.8), 5000)
    message = str(caught.value)
    pattern = r"the loss reached (\S+) at epoch (\d+)\. .* about (\S+) at the start and (\S+) on"
    found = re.search(pattern, message)
    assert found, message
    assert float(found[1]) > 1e6
    assert int(found[2]) == caught.value.epoch < 50
    first, smallest = float(found[3]), float(found[4])
    assert first == pytest.approx(pl.largest_stable_rate(START, TASK.sample()), rel=0.05)
    assert smallest < first < 0.8
    assert pl.learn(START, TASK, pl.GradientDescent(0.9 * smallest), 500).losses[-1] < 0.1


def test_a_loss_beyond_all_numbers_is_told_with_the_one_before():
    with pytest.raises(pl.DivergenceError, match=r"grew from \S+ beyond all numbers at epoch 2"):
        pl.learn(START, TASK, pl.GradientDescent(3.0), 5000)


def test_sampled_tasks_diverge_with_the_same_message():
    start = pl.Overlaps(np.eye(4)).replace(zm=0.3, vm=0.3, zu=0.3, vu=0.3)
    with pytest.raises(pl.DivergenceError, match=r"at epoch \d+\. The largest stable rate"):
        pl.learn(start, pl.FlipFlop(trials=4, dt=0.1), pl.GradientDescent(1e3), 500, "linear")


def test_overlaps_outside_the_cone_by_rounding_areprojected_and_counted():
    vectors = np.linalg.qr(np.random.default_rng(0).normal(size=(4, 4)))[0]
    s = (vectors * np.array([-1e-14, 0.3, 1.0, 2.0])) @ vectors.T
    assert project_onto_cone(s, 0) == 1
    assert np.linalg.eigvalsh(s)[0] > -1e-16
    assert project_onto_cone(np.eye(4), 0) == 0
    bad = (vectors * np.array([-1e-4, 0.3, 1.0, 2.0])) @ vectors.T
    with pytest.raises(pl.DivergenceError, match=r"no network has at epoch 7: .* -0\.0001"):
        project_onto_cone(bad, 7)


def test_a_singular_start_stays_realisable():
    """v and z in the span of m and u: rounding pushes eigenvalues below zero."""
    singular = complete_overlaps(
        {"zm": 0.5, "zu": 0.8, "vm": 0.6, "vu": 0.5, "mu": 0.3, "mm": 1.0, "uu": 1.2}
    )
    t = pl.learn(singular, pl.Filter(), pl.GradientDescent(1e-3), 3000, every=1000)
    assert t.settings["projections"] > 0
    assert np.linalg.eigvalsh(t.final.matrix)[0] > -1e-13
    assert pl.learn(START, TASK, pl.GradientDescent(1e-3), 2000).settings["projections"] == 0


def test_trajectories_that_would_not_fit_are_refused():
    with pytest.raises(pl.InputError, match=r"every must be at least \d+ for 100000000 epochs"):
        pl.learn(START, TASK, pl.GradientDescent(1e-3), 100_000_000)


def test_rules_of_single_synapses_need_neurons():
    with pytest.raises(pl.InputError, match=r"Adam acts on single synapses.*train_network"):
        pl.learn(START, TASK, pl.Adam(1e-3), 10)
