"""Populations: the equations against plain loops, one population, networks, and symmetries."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import random_overlaps
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import judged_loss, random_trials

import predictlearn as pl
from predictlearn.theory.activity import Batch
from predictlearn.theory.learning.epochs import describe
from predictlearn.theory.populations.activity import evaluate

FLIP_FLOP = pl.FlipFlop(
    wait=(1.0, 2.0), input_amplitude=2.0, duration=8.0, dt=0.1, trials=4
).freeze(0)


def plain_outputs(array, fractions, sizes, trials, nonlinearity, tau=1.0):
    """Outputs of populations straight from the equations; complex numbers pass through."""
    n_in, rank, n_out = sizes
    b, a = n_in + rank, trials.dt / tau
    out = np.zeros((trials.n_trials, trials.n_steps, n_out), dtype=array.dtype)

    def drive(rows, k):
        total = 0.0
        for s, share in zip(array, fractions, strict=True):
            delta = k @ s[:b, :b] @ k
            g = 1.0 if nonlinearity == "linear" else 1 / np.sqrt(1 + np.pi / 2 * delta)
            total = total + share * g * (s[rows, :b] @ k)
        return total

    for p in range(trials.n_trials):
        k = np.zeros(b, dtype=array.dtype)
        for t in range(trials.n_steps):
            recurrent = drive(slice(b, b + rank), k)
            k = np.concatenate(
                [(1 - a) * k[:n_in] + a * trials.inputs[p, t], (1 - a) * k[n_in:] + a * recurrent]
            )
            out[p, t] = drive(slice(b + rank, None), k)
    return out


def mixture(seed, n_populations=2, sizes=(1, 1, 1)):
    rng = np.random.default_rng(seed)
    shares = rng.uniform(0.2, 1.0, size=n_populations)
    parts = [random_overlaps(1000 * seed + p, *sizes) for p in range(n_populations)]
    return pl.Populations(tuple(shares / shares.sum()), tuple(parts))


# -- the derivative ---------------------------------------------------------------------------


@pytest.mark.parametrize("nonlinearity", ["linear", "erf"])
@pytest.mark.parametrize(
    ("sizes", "n_populations", "n_trials"),
    [((1, 1, 1), 2, 3), ((2, 2, 2), 3, 5), ((4, 1, 1), 2, 1), ((1, 3, 2), 2, 2)],
)
def test_derivative_by_complex_step(sizes, n_populations, n_trials, nonlinearity):
    """Against plain loops over the equations, to rounding."""
    start = mixture(3, n_populations, sizes)
    trials = random_trials(5, sizes[0], sizes[2], n_trials, observer=True)
    loss, a = pl.population_loss_and_derivative(start, trials, nonlinearity)
    plain = plain_outputs(start.array, start.fractions, sizes, trials, nonlinearity)
    np.testing.assert_allclose(
        pl.simulate_populations(start, trials, nonlinearity).outputs, plain, atol=1e-13
    )
    assert loss == pytest.approx(judged_loss(plain, trials), rel=1e-13)
    h = 1e-30
    for p, share in enumerate(start.fractions):
        for i in range(start.dim):
            for j in range(i + 1):
                moved = start.array.astype(complex)
                moved[p, i, j] += 1j * h
                if i != j:
                    moved[p, j, i] += 1j * h
                out = plain_outputs(moved, start.fractions, sizes, trials, nonlinearity)
                slope = judged_loss(out, trials).imag / h * (2 if i == j else 1) / share
                assert abs(a[p, i, j] - slope) < 1e-10 * max(1.0, np.abs(a).max())
                assert a[p, i, j] == a[p, j, i]


def test_derivative_of_a_tabulated_gain():
    start = mixture(4, 2, (2, 1, 1))
    ready = Batch(random_trials(1, 2, 1, 6), "tanh", 1.0)
    _, a = evaluate(start.array, start.fractions, start.sizes, ready)
    h = 1e-5
    for p, i, j in ((0, 0, 1), (0, 4, 3), (1, 2, 2), (1, 3, 0)):
        losses = []
        for sign in (1, -1):
            moved = start.array
            moved[p, i, j] += sign * h
            if i != j:
                moved[p, j, i] += sign * h
            losses.append(evaluate(moved, start.fractions, start.sizes, ready)[0])
        slope = (losses[0] - losses[1]) / (2 * h) * (2 if i == j else 1) / start.fractions[p]
        assert a[p, i, j] == pytest.approx(slope, abs=1e-8)


def test_more_trials_than_a_block():
    start = mixture(6, 2, (1, 1, 1))
    trials = random_trials(2, n_trials=300, n_steps=6)
    loss, a = pl.population_loss_and_derivative(start, trials)
    parts = []
    for first in range(0, 300, 100):
        rows = slice(first, first + 100)
        part = pl.Trials(trials.inputs[rows], trials.targets[rows], trials.weights[rows], trials.dt)
        parts.append(pl.population_loss_and_derivative(start, part))
    assert loss == pytest.approx(sum(value for value, _ in parts), rel=1e-13)
    np.testing.assert_allclose(a, sum(slope for _, slope in parts), atol=1e-12)


# -- one population, and equal ones -----------------------------------------------------------

RULES = [
    pl.GradientDescent(0.03),
    pl.GradientDescent(0.02, {"m": 0.0, "v": 2.0}, momentum=0.5, weight_decay=1e-3),
    pl.GradientDescent(0.02, target_noise=0.3, synaptic_noise=0.01, minibatch=3),
    pl.GradientDescent(0.05, schedule=pl.RateDrop(factor=3.0, below=0.9)),
]


# noise on targets compiles a loop of its own; it is drawn as for one network (test_learning.py)
NOISE = pytest.param(RULES[2], id="noise", marks=pytest.mark.slow)


@pytest.mark.parametrize(
    "rule", [RULES[0], RULES[1], NOISE, RULES[3]], ids=["plain", "momentum", None, "drop"]
)
@pytest.mark.parametrize("nonlinearity", ["linear", "erf", "tanh"])
def test_one_population_is_learn(rule, nonlinearity):
    start = random_overlaps(1)
    one = pl.learn(start, FLIP_FLOP, rule, 40, nonlinearity, seed=3)
    same = pl.learn_populations(
        pl.Populations((1.0,), (start,)), FLIP_FLOP, rule, 40, nonlinearity, seed=3
    )
    # loops of their own, whose last bits may differ on some processors
    np.testing.assert_allclose(same.array[:, 0], one.array, rtol=1e-12)
    np.testing.assert_allclose(same.losses, one.losses, rtol=1e-12)
    np.testing.assert_allclose(same.of(1).overlaps, one.overlaps, rtol=1e-12)


@pytest.mark.parametrize("nonlinearity", ["linear", "erf", "tanh"])
@pytest.mark.parametrize("fractions", [(0.5, 0.5), (0.1, 0.9), (0.2, 0.3, 0.5)])
def test_equal_populations_are_one(fractions, nonlinearity):
    start = random_overlaps(2, 2, 2, 1)
    task = pl.ArrayTask.from_trials(random_trials(4, 2, 1, 6, 20))
    rule = pl.GradientDescent(2e-3, momentum=0.3)
    one = pl.learn(start, task, rule, 60, nonlinearity)
    several = pl.learn_populations(
        pl.Populations(fractions, (start,) * len(fractions)), task, rule, 60, nonlinearity
    )
    np.testing.assert_allclose(several.losses, one.losses, rtol=1e-12)
    for p in range(len(fractions)):
        np.testing.assert_allclose(several.array[:, p], one.array, atol=1e-12)
    np.testing.assert_allclose(several.total.array, one.array, atol=1e-12)


def test_random_trials_of_the_task_are_those_of_learn():
    start, task = random_overlaps(3, 4, 1, 1), pl.ContextDecision(trials=8)
    one = pl.learn(start, task, pl.GradientDescent(0.02), 5, "erf", seed=4)
    pair = pl.Populations((0.3, 0.7), (start, start))
    several = pl.learn_populations(pair, task, pl.GradientDescent(0.02), 5, seed=4)
    np.testing.assert_allclose(several.losses, one.losses, rtol=1e-13)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    order=st.permutations([1, 2, 3]),
    nonlinearity=st.sampled_from(["linear", "erf"]),
)
def test_the_order_of_populations_does_not_matter(seed, order, nonlinearity):
    start = mixture(seed, 3)
    rule = pl.GradientDescent(0.02, momentum=0.4)
    there = pl.learn_populations(start, FLIP_FLOP, rule, 10, nonlinearity)
    back = pl.learn_populations(start.permuted(order), FLIP_FLOP, rule, 10, nonlinearity)
    np.testing.assert_allclose(back.losses, there.losses, rtol=1e-11)
    for place, population in enumerate(order):
        np.testing.assert_allclose(back.array[:, place], there.array[:, population - 1], atol=1e-11)


def test_splitting_a_population_in_two_changes_nothing():
    start = mixture(8, 2)
    one, two = start.overlaps
    f, g = start.fractions
    split = pl.Populations((f, 0.4 * g, 0.6 * g), (one, two, two))
    rule = pl.GradientDescent(0.03)
    whole = pl.learn_populations(start, FLIP_FLOP, rule, 50)
    parts = pl.learn_populations(split, FLIP_FLOP, rule, 50)
    np.testing.assert_allclose(parts.array[:, :2], whole.array, atol=1e-12)
    np.testing.assert_allclose(parts.array[:, 2], parts.array[:, 1], atol=1e-12)


def test_flow_conserves_uu_minus_vv_of_all_neurons_together():
    """U -> U Q, V -> V Q^-T of all neurons: the total is conserved, a population alone is not."""
    start = mixture(9, 2)
    drifts = []
    for rate in (0.02, 0.002):
        t = pl.learn_populations(start, FLIP_FLOP, pl.GradientDescent(rate), round(4 / rate))
        gap = t.overlaps.xs("uu", axis=1, level=1) - t.overlaps.xs("vv", axis=1, level=1)
        total = gap @ np.array(start.fractions)
        drifts.append(abs(total.iloc[-1] - total.iloc[0]))
        assert np.all(np.abs(gap.iloc[-1] - gap.iloc[0]) > 10 * drifts[-1])
    assert drifts[1] < 0.2 * drifts[0]  # of first order in the rate


# -- networks ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fractions", "sizes"), [((0.25, 0.75), (1, 1, 1)), ((0.5, 0.2, 0.3), (2, 2, 2))]
)
def test_linear_theory_is_exact_for_a_network_of_600_neurons(fractions, sizes):
    parts = tuple(random_overlaps(20 + p, *sizes) for p in range(len(fractions)))
    start = pl.Populations(fractions, parts)
    task = pl.ArrayTask.from_trials(random_trials(7, sizes[0], sizes[2], 4, 25))
    rule = pl.GradientDescent(2e-3, {"z": 0.5}, momentum=0.2)
    network = start.loadings(600, seed=1)
    theory = pl.learn_populations(start, task, rule, 500, "linear")
    trained = pl.train_population_network(network, task, rule, 500, "linear")
    moved = np.abs(theory.array[-1] - theory.array[0]).max(axis=(1, 2))
    assert np.all(moved > 0.1)
    for p in range(len(fractions)):
        assert np.abs(theory.array[:, p] - trained.array[:, p]).max() < 1e-12
    np.testing.assert_allclose(trained.losses, theory.losses, rtol=1e-11)
    np.testing.assert_allclose(trained.network.populations().array, trained.array[-1], atol=1e-12)


def test_a_network_of_populations_is_a_network():
    start = mixture(10, 2)
    network = start.loadings(50, seed=2)
    rule = pl.GradientDescent(0.03)
    plain = pl.train_network(network.loadings, FLIP_FLOP, rule, 20, "erf")
    followed = pl.train_population_network(network, FLIP_FLOP, rule, 20)
    np.testing.assert_array_equal(followed.losses, plain.losses)
    np.testing.assert_allclose(followed.total.array, plain.array, atol=1e-13)


def test_activity_of_erf_networks_approaches_the_theory_like_one_over_root_n():
    start = pl.Populations.random(2, n_in=4, spread=1.5, seed=11)
    trials = pl.ContextDecision(trials=20).sample(np.random.default_rng(0))
    theory = pl.simulate_populations(start, trials).outputs
    errors = []
    for n in (200, 3200):
        gaps = [
            pl.run_network(start.loadings(n, seed=s).loadings, trials, "erf").outputs - theory
            for s in range(12)
        ]
        errors.append(np.sqrt(np.mean(np.square(gaps))))
    assert 2.8 < errors[0] / errors[1] < 5.7  # 4 for an error like 1 / sqrt(N)
    blurred = pl.simulate(start.total, trials, "erf").outputs
    assert np.abs(blurred - theory).max() > 5 * errors[1]


def test_erf_learning_of_a_network_follows_its_populations():
    start = pl.Populations(
        (0.5, 0.5),
        (
            pl.Overlaps(np.eye(4)).replace(zm=0.1, zu=0.1, vm=0.3, vu=0.3),
            pl.Overlaps(np.eye(4)).replace(mm=2.0, uu=0.5, vu=0.5),
        ),
    )
    rule = pl.GradientDescent(0.03)
    theory = pl.learn_populations(start, FLIP_FLOP, rule, 60)
    moved = np.abs(theory.array[-1] - theory.array[0]).max(axis=(1, 2))
    trained = pl.train_population_network(start.loadings(2000, seed=0), FLIP_FLOP, rule, 60)
    gap = np.abs(trained.array - theory.array).max(axis=(0, 2, 3))
    assert np.all(moved > 0.1)
    assert np.all(gap < 0.15 * moved)


# -- the mixture itself -----------------------------------------------------------------------


def test_loadings_have_exactly_the_overlaps_of_each_population():
    start = mixture(12, 3, (2, 1, 1))
    network = start.loadings(101, seed=5)
    assert network.loadings.n_neurons == 101
    found = network.populations()
    np.testing.assert_allclose(found.array, start.array, atol=1e-13)
    assert np.all(np.abs(np.subtract(found.fractions, start.fractions)) <= 1 / 101)
    again, other = start.loadings(101, seed=5), start.loadings(101, seed=6)
    np.testing.assert_array_equal(again.loadings.stacked, network.loadings.stacked)
    assert not np.array_equal(other.loadings.stacked, network.loadings.stacked)


@settings(max_examples=50, deadline=None)
@given(
    shares=st.lists(st.floats(0.05, 1.0), min_size=1, max_size=5), n_neurons=st.integers(300, 3000)
)
def test_neurons_are_shared_out_without_loss(shares, n_neurons):
    total = float(np.sum(shares))
    start = pl.Populations(
        tuple(s / total for s in shares), (pl.Overlaps(np.eye(4)),) * len(shares)
    )
    counts = start.neurons(n_neurons)
    assert sum(counts) == n_neurons
    assert np.all(np.abs(np.subtract(counts, n_neurons * np.array(start.fractions))) < 1 + 1e-9)


def test_names_and_tables():
    start = mixture(13, 2, (2, 1, 1))
    assert start.names[0] == "zm1 of population 1"
    series, frame = start.to_series(), start.to_frame()
    assert series["zm1 of population 2"] == start.overlaps[1]["zm1"]
    assert series["vu of population 1"] == start.overlaps[0]["vu"]
    assert list(frame.columns) == ["population", "fraction", "overlap", "value"]
    np.testing.assert_array_equal(frame["value"], series)
    assert frame.groupby("population")["fraction"].first().tolist() == list(start.fractions)
    total = sum(f * s for f, s in zip(start.fractions, start.array, strict=True))
    np.testing.assert_allclose(start.total.matrix, total, atol=1e-15)
    changed = start.replace({2: start.overlaps[0]})
    assert changed.overlaps == (start.overlaps[0],) * 2


def test_a_trajectory_has_a_level_of_populations():
    start = mixture(14, 2)
    t = pl.learn_populations(start, FLIP_FLOP, pl.GradientDescent(0.02), 20, every=8, seed=2)
    assert t.overlaps.columns.names == ["population", "overlap"]
    assert t.overlaps.index.tolist() == [0, 8, 16, 20]
    assert t.overlaps[(2, "zm")].iloc[-1] == t.final.overlaps[1]["zm"]
    assert t.start == start
    tidy = t.tidy()
    assert list(tidy.columns) == ["epoch", "population", "overlap", "value"]
    assert len(tidy) == 4 * 2 * 10
    row = tidy.query("epoch == 16 and population == 1 and overlap == 'vu'")
    assert row["value"].item() == t.overlaps.loc[16, (1, "vu")]
    assert t.loss.index.tolist() == list(range(21))
    assert isinstance(t.of(1), pl.Trajectory)
    plain = describe(FLIP_FLOP, pl.GradientDescent(0.02), "erf", 1.0)
    assert plain.items() <= dict(t.settings).items()


def test_stopping_at_a_loss():
    start = mixture(15, 2)
    rule = pl.GradientDescent(0.03)
    full = pl.learn_populations(start, FLIP_FLOP, rule, 60)
    goal = float(full.losses[30])
    stopped = pl.learn_populations(start, FLIP_FLOP, rule, 60, stop_at=goal)
    first = int(np.argmax(full.losses <= goal))
    assert stopped.epochs[-1] == first
    np.testing.assert_array_equal(stopped.array[-1], full.array[first])
    network = start.loadings(40)
    trained = pl.train_population_network(network, FLIP_FLOP, rule, 60, stop_at=goal)
    assert trained.losses[-1] <= goal < trained.losses[-2]


def test_populations_are_found_in_loadings():
    wide = pl.Overlaps(np.diag([4.0, 1.0, 1.0, 1.0])).replace(zm=1.0)
    narrow = pl.Overlaps(np.diag([0.3, 1.0, 2.0, 1.0])).replace(vu=-0.9)
    truth = pl.Populations((0.7, 0.3), (wide, narrow))
    network = truth.loadings(8000, seed=1)
    found = pl.fit_populations(network, 2, starts=4)
    assert found.populations.fractions == pytest.approx((0.7, 0.3), abs=0.03)
    np.testing.assert_allclose(found.populations.array, truth.array, atol=0.2)
    np.testing.assert_allclose(
        found.populations.total.matrix,
        pl.Overlaps.from_loadings(network.loadings).matrix,
        atol=1e-10,
    )
    alone = pl.fit_populations(network, 1)
    assert found.log_likelihood > alone.log_likelihood + 0.01
    assert np.mean(found.labels == network.labels) > 0.8
    # the density is the one that scipy has
    from scipy.stats import multivariate_normal

    density = multivariate_normal(np.zeros(4), alone.populations.overlaps[0].matrix)
    expected = density.logpdf(network.loadings.stacked).mean()
    assert alone.log_likelihood == pytest.approx(expected, abs=1e-9)


# -- input ------------------------------------------------------------------------------------

ONE = pl.Overlaps(np.eye(4))
BOTH = pl.Populations((0.5, 0.5), (ONE, ONE))
RULE = pl.GradientDescent(0.02)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: pl.Populations((0.5, 0.6), (ONE, ONE)),
            "fractions must sum to 1; they sum to 1.1",
        ),
        (lambda: pl.Populations((1.5, -0.5), (ONE, ONE)), "fractions must be positive"),
        (lambda: pl.Populations((1.0,), (ONE, ONE)), "one number for each of the 2 populations"),
        (lambda: pl.Populations((), ()), "overlaps must be a sequence of one Overlaps"),
        (lambda: pl.Populations((1.0,), (np.eye(4),)), "overlaps must hold Overlaps"),
        (
            lambda: pl.Populations((0.5, 0.5), (ONE, pl.Overlaps(np.eye(5), n_in=2))),
            "same n_in, rank and n_out",
        ),
        (lambda: pl.Populations.random(0), "n_populations must be a whole number of at least 1"),
        (lambda: pl.Populations.random(neurons=3), "neurons must be a whole number of at least 4"),
        (lambda: BOTH.place(0), "population must be a whole number from 1 to 2; got 0"),
        (lambda: BOTH.permuted((1, 1)), "each of the populations 1 to 2 once"),
        (lambda: BOTH.loadings(6), "population 1 gets 3. About 8 are enough"),
        (lambda: pl.PopulationLoadings(ONE.loadings(9), np.zeros(9)), "whole numbers from 1"),
        (
            lambda: pl.PopulationLoadings(ONE.loadings(9), np.ones(8)),
            r"labels must have shape \(9\)",
        ),
        (lambda: pl.simulate_populations(ONE, FLIP_FLOP.sample()), "populations must be a Populat"),
        (lambda: pl.learn_populations(BOTH, pl.ContextDecision(), RULE, 5), "has 4 input"),
        (
            lambda: pl.learn_populations(BOTH, FLIP_FLOP, pl.GradientFlow(), 5),
            "rule must be a Grad",
        ),
        (lambda: pl.learn_populations(BOTH, FLIP_FLOP, RULE, 0), "epochs must be"),
        (lambda: pl.learn_populations(BOTH, FLIP_FLOP, RULE, 5, "relu"), "nonlinearity must be"),
        (lambda: pl.learn_populations(BOTH, FLIP_FLOP, RULE, 10**9), "every must be at least"),
        (lambda: pl.train_population_network(ONE.loadings(9), FLIP_FLOP, RULE, 5), "network must"),
        (
            lambda: pl.train_population_network(BOTH.loadings(9), FLIP_FLOP, pl.GradientFlow(), 5),
            "to train a network",
        ),
        (lambda: pl.fit_populations(ONE.loadings(12), 2), "at least 16 neurons"),
        (lambda: pl.fit_populations(ONE, 2), "loadings must be a Loadings"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(pl.InputError, match=message):
        call()


def test_a_rate_too_large_diverges_with_its_epoch():
    with pytest.raises(pl.DivergenceError, match="learning diverged") as caught:
        pl.learn_populations(BOTH, FLIP_FLOP, pl.GradientDescent(1e3), 50, "linear")
    assert 0 < caught.value.epoch < 50
    with pytest.raises(pl.DivergenceError):
        pl.train_population_network(
            BOTH.loadings(40), FLIP_FLOP, pl.GradientDescent(1e3), 50, "linear"
        )
