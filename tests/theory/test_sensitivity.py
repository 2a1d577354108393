"""Sensitivities of learning: values, exact derivatives, and what learning cannot tell apart."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from conftest import random_overlaps

import predictlearn as pl
from predictlearn.theory.kernels.impulse import TargetLaw
from predictlearn.theory.learning.phases import Leg
from predictlearn.theory.learning.sensitivity import (
    learn_with_sensitivities,
    loss_derivative_hessian,
)
from predictlearn.theory.names import overlap_names, table_pairs, visible_names

FILTER = pl.Filter(decay=0.2, duration=5.0, dt=0.1)
FLIPS = pl.FlipFlop(duration=8.0, dt=0.1, trials=5).freeze(3)


def varied(sizes, smoothing=False, seed=0):
    """Return trials with several inputs and outputs, an observer, and no closed form."""
    rng = np.random.default_rng(seed)
    n_in, _, n_out = sizes
    return pl.Trials(
        rng.normal(size=(3, 40, n_in)),
        rng.normal(size=(3, 40, n_out)),
        rng.uniform(0, 0.1, size=(3, 40, n_out)),
        0.1,
        offset=np.full(n_out, 0.2) if smoothing else None,
        smoothing=0.5 * np.eye(n_out) + 0.1 if smoothing else None,
    )


def moved(overlaps, name, h):
    i, j = table_pairs(*overlaps.sizes)[name]
    matrix = overlaps.matrix.copy()
    matrix[i, j] += h
    if i != j:
        matrix[j, i] += h
    return pl.Overlaps(matrix, *overlaps.sizes)


def plain(start, legs, nonlinearity, seed):
    """Return overlaps and losses, (epochs + 1, ...), of `learn`, leg by leg."""
    arrays, losses = [], []
    for k, leg in enumerate(legs):
        t = pl.learn(start, leg.task, leg.rule, leg.epochs, nonlinearity, seed=seed)
        stop = None if k == len(legs) - 1 else -1
        arrays.append(t.array[:stop])
        losses.append(t.losses[:stop])
        start = pl.Overlaps(t.array[-1], *start.sizes)
    return np.concatenate(arrays), np.concatenate(losses)


def faster(leg, pathway, h):
    rates = dict.fromkeys("muvz", 1.0) | dict(leg.rule.pathway_rates or {})
    rates[pathway] *= np.exp(h)
    return Leg(leg.task, leg.epochs, replace(leg.rule, pathway_rates=rates))


CASES = {
    "linear": ((1, 1, 1), "linear", [Leg(FILTER, 150, pl.GradientDescent(0.02))]),
    "rank two": (
        (1, 2, 1),
        "linear",
        [Leg(pl.DampedOscillation(duration=5.0, dt=0.1), 100, pl.GradientDescent(0.02))],
    ),
    "erf": ((1, 1, 1), "erf", [Leg(FLIPS, 60, pl.GradientDescent(0.2))]),
    "erf rank two": ((1, 2, 1), "erf", [Leg(FLIPS, 20, pl.GradientDescent(0.2))]),
    "tanh": ((1, 1, 1), "tanh", [Leg(FLIPS, 20, pl.GradientDescent(0.2))]),
    "pathway rates": (
        (1, 1, 1),
        "linear",
        [Leg(FILTER, 100, pl.GradientDescent(0.02, pathway_rates={"m": 0.5, "z": 2.0}))],
    ),
    "weight decay": (
        (1, 1, 1),
        "linear",
        [Leg(FILTER, 100, pl.GradientDescent(0.02, weight_decay=0.1))],
    ),
    "momentum": (
        (1, 1, 1),
        "erf",
        [Leg(FLIPS, 50, pl.GradientDescent(0.1, momentum=0.8, weight_decay=0.01))],
    ),
    "two legs": (
        (1, 1, 1),
        "linear",
        [
            Leg(FILTER, 60, pl.GradientDescent(0.02, momentum=0.5)),
            Leg(
                pl.Filter(decay=0.4, duration=5.0, dt=0.1),
                60,
                pl.GradientDescent(0.01, synaptic_noise=0.01, schedule=pl.RateDecay(50.0)),
            ),
        ],
    ),
    "random trials": (
        (1, 1, 1),
        "linear",
        [Leg(pl.FlipFlop(duration=8.0, dt=0.1, trials=4), 30, pl.GradientDescent(0.1))],
    ),
}


# A loop of its own to compile, for what "rank two" and "erf" test each: the loss of any sizes.
GENERAL = pytest.param("erf rank two", marks=pytest.mark.slow)


@pytest.mark.parametrize("case", [GENERAL if case == "erf rank two" else case for case in CASES])
def test_values_are_those_of_learning_and_slopes_its_derivatives(case):
    sizes, nonlinearity, legs = CASES[case]
    start = random_overlaps(4, *sizes)
    total = sum(leg.epochs for leg in legs)
    record = [0, 1, total // 2, total // 2, total]
    run = learn_with_sensitivities(start, legs, record, nonlinearity=nonlinearity, seed=5)
    arrays, losses = plain(start, legs, nonlinearity, 5)
    assert np.abs(run.matrices - arrays[record]).max() < 1e-12
    assert np.abs(run.losses - losses[record]).max() < 1e-12
    cheap = learn_with_sensitivities(
        start, legs, record, nonlinearity=nonlinearity, seed=5, slopes=False
    )
    assert np.abs(cheap.matrices - run.matrices).max() < 1e-12
    assert np.abs(cheap.losses - run.losses).max() < 1e-12
    assert cheap.parameters == ()
    h = 1e-5
    scale = np.abs(run.slopes[1:]).max()
    loss_scale = np.abs(run.loss_slopes).max()
    for p, name in enumerate(run.parameters):
        ends = []
        for sign in (1, -1):
            if name.startswith("rate:"):
                changed = [faster(leg, name[-1], sign * h) for leg in legs]
                ends.append(plain(start, changed, nonlinearity, 5))
            else:
                ends.append(plain(moved(start, name, sign * h), legs, nonlinearity, 5))
        slope = (ends[0][0] - ends[1][0])[record] / (2 * h)
        loss_slope = (ends[0][1] - ends[1][1])[record] / (2 * h)
        assert np.abs(run.slopes[..., p] - slope).max() < 1e-6 * scale, name
        assert np.abs(run.loss_slopes[:, p] - loss_slope).max() < 1e-6 * loss_scale, name


@pytest.mark.parametrize("nonlinearity", ["linear", "erf", "tanh"])
@pytest.mark.parametrize("sizes", [(1, 1, 1), (1, 2, 1), (2, 2, 2), (2, 3, 1)])
@pytest.mark.parametrize("smoothing", [False, True])
def test_hessian_is_the_derivative_of_the_derivative(nonlinearity, sizes, smoothing):
    overlaps, trials = random_overlaps(1, *sizes), varied(sizes, smoothing)
    value, a, hessian = loss_derivative_hessian(overlaps, trials, nonlinearity)
    expected, same = pl.loss_and_derivative(overlaps, trials, nonlinearity)
    assert value == expected
    assert np.array_equal(a, same)
    assert np.array_equal(hessian, hessian.T)
    names, pairs = overlap_names(*sizes), table_pairs(*sizes)
    h = 1e-5
    rows, cols = np.array([pairs[name] for name in names]).T
    share = np.where(rows == cols, 0.5, 1.0)
    for p, name in enumerate(names):
        up, down = (
            pl.loss_and_derivative(moved(overlaps, name, x), trials, nonlinearity)[1]
            for x in (h, -h)
        )
        column = share * (up - down)[rows, cols] / (2 * h)
        assert np.abs(hessian[p] - column).max() < 1e-7 * np.abs(hessian).max(), name


def impulses(d, n_out=1, n_steps=300):
    """Return trials of one impulse each; below zero, d asks for bins instead of the closed form."""
    rng = np.random.default_rng(1)
    law = TargetLaw([[d]], rng.normal(size=(n_out, 1)), rng.normal(size=(2, 1)))
    inputs = np.zeros((2, n_steps, 1))
    inputs[:, 0, 0] = rng.normal(size=2) / 0.1
    weights = np.broadcast_to(0.1 * rng.random(n_out), (2, n_steps, n_out))
    return pl.Trials(inputs, law.targets(n_steps), weights, 0.1, law=law)


class Shown:
    """A task that shows given trials."""

    n_in, fixed = 1, True

    def __init__(self, trials):
        self.trials, self.dt, self.n_out = trials, trials.dt, trials.n_out

    def sample(self, rng=None):
        return self.trials


@pytest.mark.parametrize(("d", "n_out"), [(0.97, 1), (0.97, 2), (-0.9, 1)])
def test_closed_form_of_the_hessian_changes_no_slope(d, n_out):
    trials = impulses(d, n_out)
    assert trials.law is not None
    start = random_overlaps(3, 1, 1, n_out)
    rule = pl.GradientDescent(
        2e-3, momentum=0.3, weight_decay=0.05, pathway_rates={"u": 0.0, "z": 2.0}
    )
    closed, looped = (
        learn_with_sensitivities(start, [Leg(Shown(x), 60, rule)], [0, 20, 60])
        for x in (trials, replace(trials, law=None))
    )
    for name in ("matrices", "losses", "slopes", "loss_slopes"):
        one, two = getattr(closed, name), getattr(looped, name)
        np.testing.assert_allclose(one, two, rtol=0, atol=1e-11 * np.abs(two).max())
    one, two = (loss_derivative_hessian(start, x) for x in (trials, replace(trials, law=None)))
    np.testing.assert_allclose(one[2], two[2], rtol=0, atol=1e-12 * np.abs(two[2]).max())


@pytest.mark.parametrize("case", ["linear", "rank two", "erf", "weight decay", "pathway rates"])
def test_what_learning_does_to_loadings_and_its_slopes(case):
    sizes, nonlinearity, legs = CASES[case]
    start = random_overlaps(4, *sizes)
    total = sum(leg.epochs for leg in legs)

    def carried(start, legs, slopes=False):
        return learn_with_sensitivities(
            start, legs, [total // 2, total], nonlinearity=nonlinearity, carry=True, slopes=slopes
        )

    run = carried(start, legs, slopes=True)
    product = run.carried[..., 0]
    moved_by = np.swapaxes(product, 1, 2) @ start.matrix @ product
    assert np.abs(moved_by - run.matrices).max() < 1e-12
    assert np.abs(carried(start, legs).carried[..., 0] - product).max() < 1e-12
    h, scale = 1e-5, np.abs(run.carried[..., 1:]).max()
    for p, name in enumerate(run.parameters):
        ends = [
            carried(start, [faster(leg, name[-1], x) for leg in legs])
            if name.startswith("rate:")
            else carried(moved(start, name, x), legs)
            for x in (h, -h)
        ]
        slope = (ends[0].carried - ends[1].carried)[..., 0] / (2 * h)
        assert np.abs(run.carried[..., 1 + p] - slope).max() < 1e-6 * scale, name


def test_learning_of_visible_overlaps_hides_one_direction():
    """S + c J learns the same visible overlaps in the limit of small rates."""
    start = random_overlaps(2)
    seen, names = visible_names(), overlap_names()
    pairs = table_pairs(1, 1, 1)
    rows, cols = np.array([pairs[name] for name in seen]).T
    direction = np.zeros(len(names))
    for name, sign in (("mm", 1), ("uu", 1), ("vv", -1), ("zz", -1)):
        direction[names.index(name)] = sign / 2
    smallest, along = [], []
    for rate in (0.02, 0.01, 0.005):
        epochs = round(6 / rate)
        run = learn_with_sensitivities(
            start,
            [Leg(FILTER, epochs, pl.GradientDescent(rate))],
            np.linspace(0, epochs, 21).astype(int),
        )
        jacobian = run.slopes[:, rows, cols, : len(names)].reshape(-1, len(names))
        values = np.linalg.svd(jacobian, compute_uv=False)
        smallest.append(values[-1] / values[-2])
        along.append(np.linalg.norm(jacobian @ direction))
    # of the order of the rate, and nothing else is hidden
    assert along[2] < 0.3 * along[0]
    assert smallest[2] < 0.3 * smallest[0] < 0.3
    assert values[-2] > 1e-3 * values[0]


def test_divergence_carries_the_epoch_of_all_legs():
    start = random_overlaps(0)
    legs = [
        Leg(FILTER, 30, pl.GradientDescent(0.01)),
        Leg(FILTER, 100, pl.GradientDescent(5.0)),
    ]
    found = []
    for slopes in (True, False):
        with pytest.raises(pl.DivergenceError, match="smaller rate") as caught:
            learn_with_sensitivities(start, legs, [130], slopes=slopes)
        found.append(caught.value.epoch)
    assert found[0] == found[1] > 30


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"record": [3, 2]}, "increasing"),
        ({"record": [11]}, "from 0 to 10"),
        ({"record": []}, "record"),
        ({"legs": []}, "one or more Leg"),
        ({"sizes": (1, 2, 1)}, "sizes must be"),
    ],
)
def test_input_is_checked(change, said):
    given = {
        "start": random_overlaps(0),
        "legs": [Leg(FILTER, 10, pl.GradientDescent(0.01))],
        "record": [10],
    }
    with pytest.raises(pl.InputError, match=said):
        learn_with_sensitivities(**(given | change))


def test_rules_by_chance_and_flow_are_refused():
    for rule in (
        pl.GradientFlow(),
        pl.GradientDescent(0.01, target_noise=0.1),
        pl.GradientDescent(0.01, minibatch=2),
    ):
        with pytest.raises(pl.InputError, match="rule of a leg"):
            learn_with_sensitivities(random_overlaps(0), [Leg(FILTER, 10, rule)], [10])
