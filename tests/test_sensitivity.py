"""Sensitivities of learning: values, exact derivatives, and what learning cannot tell apart."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import random_overlaps

import predictlearn as pl
from predictlearn.theory.names import overlap_names, table_pairs, visible_names
from predictlearn.theory.sensitivity import (
    Leg,
    learn_with_sensitivities,
    loss_derivative_hessian,
)

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
    from dataclasses import replace

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


@pytest.mark.parametrize("case", CASES)
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
            Leg(FILTER, 10, rule)
