"""Learning in overlap space: rules, gradient flow, convergence and reproducibility."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from conftest import random_overlaps

import predictlearn as pl

pytestmark = pytest.mark.quick

TASK = pl.Filter(decay=0.2, duration=10.0, dt=0.1)


def test_descent_converges_to_gradient_flow_at_first_order():
    overlaps = random_overlaps(0)
    flow = pl.learn(overlaps, TASK, pl.GradientFlow(), 4.0)
    errors = []
    rates = (0.008, 0.004, 0.002, 0.001)
    for rate in rates:
        final = pl.learn(overlaps, TASK, pl.GradientDescent(rate), round(4.0 / rate)).final
        errors.append(np.abs(final.matrix - flow.final.matrix).max())
    order = np.polyfit(np.log(rates), np.log(errors), 1)[0]
    assert 0.9 < order < 1.1, errors


def test_published_first_order_update_is_not_the_network():
    """S - eta (S A + A S) misses the eta^2 A S A that the network makes."""
    overlaps = random_overlaps(1)
    rate, matrix = 0.02, overlaps.matrix.copy()
    trials = TASK.sample(np.random.default_rng(0))
    for _ in range(200):
        _, a = pl.loss_and_derivative(pl.Overlaps(matrix), trials)
        matrix = matrix - rate * (matrix @ a + a @ matrix)
    network = pl.train_network(overlaps.loadings(50), TASK, pl.GradientDescent(rate), 200)
    exact = pl.learn(overlaps, TASK, pl.GradientDescent(rate), 200)
    assert np.abs(exact.final.matrix - network.final.matrix).max() < 1e-12
    assert np.abs(matrix - network.final.matrix).max() > 1e-4


def test_filter_is_learned_to_the_known_solution():
    start = pl.Overlaps(np.eye(4)).replace(zm=0.05, zu=0.1, vm=0.1, vu=0.05)
    final = pl.learn(start, pl.Filter(decay=0.2), pl.GradientDescent(5e-3), 6000).final
    dt = 0.05
    # of the Euler network: e^-c dt = 1 - dt (1 - vu)
    vu = 1 - (1 - np.exp(-0.2 * dt)) / dt
    assert final["vu"] == pytest.approx(vu, abs=5e-3)
    assert final["zm"] == pytest.approx(1.0, abs=0.02)
    assert final["zu"] * final["vm"] == pytest.approx(0.8, abs=0.02)


def test_direct_descent_moves_only_the_visible_overlaps():
    overlaps = random_overlaps(2)
    t = pl.learn(overlaps, TASK, pl.DirectDescent(5e-3), 50)
    moved = (t.overlaps.iloc[-1] - t.overlaps.iloc[0]).abs()
    assert (moved[list(overlaps.invisible_names())] == 0).all()
    assert (moved[list(overlaps.visible_names())] > 1e-4).all()
    trials = TASK.sample(np.random.default_rng(0))
    _, a = pl.loss_and_derivative(overlaps, trials)
    step = t.overlaps.iloc[1] - t.overlaps.iloc[0]
    assert step["vu"] == pytest.approx(-5e-3 * a[overlaps.index("vu")], rel=1e-10)


def test_direct_descent_counts_each_overlap_once_for_erf():
    overlaps = random_overlaps(2)
    t = pl.learn(overlaps, TASK, pl.DirectDescent(1e-3), 1, "erf")
    trials = TASK.sample(np.random.default_rng(0))
    h = 1e-6
    slope = (
        pl.loss(overlaps.replace(mm=overlaps["mm"] + h), trials, "erf")
        - pl.loss(overlaps.replace(mm=overlaps["mm"] - h), trials, "erf")
    ) / (2 * h)
    step = t.overlaps["mm"].iloc[1] - t.overlaps["mm"].iloc[0]
    assert step == pytest.approx(-1e-3 * slope, rel=1e-5)


def test_frozen_pathways_keep_their_own_overlaps():
    rule = pl.GradientDescent(0.02, pathway_rates={"z": 0.0, "v": 0.0})
    t = pl.learn(random_overlaps(3), TASK, rule, 100).overlaps
    assert (t[["zz", "zv", "vv"]].max() - t[["zz", "zv", "vv"]].min() < 1e-14).all()
    assert (t["mm"].max() - t["mm"].min()) > 1e-4


def test_pathway_rates_of_flow_are_those_of_small_steps():
    rates = {"m": 0.2, "v": 2.0}
    overlaps = random_overlaps(4)
    flow = pl.learn(overlaps, TASK, pl.GradientFlow(pathway_rates=rates), 1.0).final
    steps = pl.learn(overlaps, TASK, pl.GradientDescent(1e-4, pathway_rates=rates), 10_000).final
    np.testing.assert_allclose(flow.matrix, steps.matrix, atol=2e-4)


def test_thinning_keeps_the_same_rows():
    overlaps = random_overlaps(5)
    full = pl.learn(overlaps, TASK, pl.GradientDescent(0.01), 103)
    thin = pl.learn(overlaps, TASK, pl.GradientDescent(0.01), 103, every=10)
    assert list(thin.overlaps.index) == [*range(0, 103, 10), 103]
    np.testing.assert_array_equal(thin.overlaps, full.overlaps.loc[thin.overlaps.index])
    np.testing.assert_array_equal(thin.loss, full.loss)


def test_a_long_run_is_the_same_in_pieces():
    """The compiled loop is cut into chunks; the cut must not show."""
    overlaps = random_overlaps(6)
    rule = pl.GradientDescent(0.01)
    whole = pl.learn(overlaps, TASK, rule, 1200)
    first = pl.learn(overlaps, TASK, rule, 700)
    second = pl.learn(first.final, TASK, rule, 500)
    np.testing.assert_allclose(whole.array[-1], second.array[-1], atol=1e-13)


def test_loss_is_that_of_the_row_and_of_clean_targets():
    overlaps = random_overlaps(7)
    t = pl.learn(overlaps, TASK, pl.GradientDescent(0.01, target_noise=0.5), 30, seed=1)
    trials = TASK.sample(np.random.default_rng(0))
    for epoch in (0, 12, 30):
        row = pl.Overlaps(t.array[epoch])
        assert t.loss[epoch] == pytest.approx(pl.loss(row, trials), rel=1e-12)


def test_target_noise_drives_the_invisible_overlaps():
    """At a solution the noise-free gradient is zero; noise moves only what the loss cannot see."""
    start = pl.learn(
        pl.Overlaps(np.eye(4)).replace(zu=0.3, vm=0.3, uu=2.0),
        pl.Filter(),
        pl.GradientDescent(5e-3),
        5000,
    ).final
    quiet = pl.learn(start, pl.Filter(), pl.GradientDescent(1e-2), 3000).final
    noisy = pl.learn(start, pl.Filter(), pl.GradientDescent(1e-2, target_noise=0.1), 3000).final
    invisible = abs(noisy.invisible() - quiet.invisible()).max()
    products = abs(noisy.gauge_invariants() - quiet.gauge_invariants())[["zm", "zu*vm", "vu"]].max()
    assert invisible > 0.05
    assert products < 0.03


def test_results_are_reproducible_and_depend_on_the_seed():
    overlaps = random_overlaps(8)
    task = pl.FlipFlop(duration=8.0, dt=0.1, trials=3)
    rule = pl.GradientDescent(0.05, target_noise=0.1)
    one, two = (pl.learn(overlaps, task, rule, 20, "erf", seed=5) for _ in range(2))
    other = pl.learn(overlaps, task, rule, 20, "erf", seed=6)
    np.testing.assert_array_equal(one.array, two.array)
    assert not np.array_equal(one.array, other.array)


def test_trajectory_is_labelled_immutable_and_survives_pickling():
    t = pl.learn(random_overlaps(9), TASK, pl.GradientDescent(0.01), 5, seed=3)
    assert list(t.overlaps.columns) == list(t.start.names)
    assert t.overlaps.index.name == "epoch"
    assert t.seed == 3
    assert t.settings["version"] == pl.__version__
    with pytest.raises(ValueError, match="read-only"):
        t.array[0, 0, 0] = 1.0
    with pytest.raises(TypeError):
        t.settings["tau"] = 2.0
    back = pickle.loads(pickle.dumps(t))
    np.testing.assert_array_equal(back.array, t.array)
    assert back.settings == t.settings


def test_divergence_names_the_epoch():
    with pytest.raises(pl.DivergenceError, match=r"the loss reached .* at epoch") as caught:
        pl.learn(random_overlaps(0), TASK, pl.GradientDescent(100.0), 500)
    assert 0 < caught.value.epoch < 500


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: pl.GradientDescent(-1e-3), "rate must be a positive number; got -0.001"),
        (lambda: pl.GradientDescent("fast"), "rate must be a positive number; got 'fast'"),
        (lambda: pl.GradientDescent(True), "rate must be a positive number; got True"),
        (lambda: pl.GradientDescent(1e-3, momentum=1.0), "momentum must be below 1"),
        (lambda: pl.GradientDescent(1e-3, target_noise=-1), "target_noise must be zero or"),
        (lambda: pl.GradientDescent(1e-3, pathway_rates={"x": 0}), "must be one of 'm', 'u'"),
        (lambda: pl.GradientDescent(1e-3, pathway_rates={"z": -1}), r"pathway_rates\['z'\]"),
        (lambda: pl.GradientDescent(1e-3, pathway_rates=[0]), "must map pathways to rates"),
        (lambda: pl.GradientFlow(rtol=0.0), "rtol must be a positive number"),
        (
            lambda: pl.learn(random_overlaps(0), "filter", pl.GradientDescent(1), 5),
            "task must have",
        ),
        (lambda: pl.learn(random_overlaps(0), TASK, "sgd", 5), "rule must be a GradientDescent"),
        (lambda: pl.learn(random_overlaps(0), TASK, pl.GradientDescent(1), 2.5), "epochs must be"),
        (
            lambda: pl.learn(random_overlaps(0), TASK, pl.GradientDescent(1), 5, seed=-1),
            "seed must be a whole number of at least 0",
        ),
        (
            lambda: pl.learn(random_overlaps(0), pl.FlipFlop(), pl.GradientFlow(), 1.0),
            r"fixed trials.*freeze\(seed\)",
        ),
    ],
)
def test_bad_input_is_refused(make, message):
    with pytest.raises(pl.InputError, match=message):
        make()
