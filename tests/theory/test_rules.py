"""Learning rules: their settings, schedules and minibatches, and those of single synapses."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import random_overlaps
from oracles import judged_loss, network_outputs

import predictlearn as pl
from predictlearn.theory.activity import Batch
from predictlearn.theory.learning.schedules import drop_of, multipliers
from predictlearn.theory.learning.trial_stream import TrialStream, subset
from predictlearn.theory.names import pathway_slices

TASK = pl.Filter(decay=0.2, duration=8.0, dt=0.1)
SYNAPTIC = (pl.Adam, pl.RMSProp, pl.SignDescent)


class RandomTrials:
    """Noise in, and out the same noise summed up, with more noise; drawn anew each epoch."""

    n_in, n_out, dt, fixed = 1, 1, 0.1, False

    def __init__(self, n_trials):
        self.n_trials = n_trials

    def sample(self, rng):
        inputs, noise = rng.normal(size=(2, self.n_trials, 40, 1))
        targets = 0.1 * (inputs + noise).cumsum(axis=1)
        return pl.Trials(inputs, targets, np.full_like(inputs, 0.05), self.dt)


def batch_task(n_trials=6, fixed=True):
    """Several unlike trials, of which a minibatch can pick."""
    task = RandomTrials(n_trials)
    if not fixed:
        return task
    trials = task.sample(np.random.default_rng(4))
    return pl.ArrayTask(trials.inputs, trials.targets, trials.weights, trials.dt)


# -- settings ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: pl.Adam(0.0), "rate must be a positive number; got 0"),
        (lambda: pl.Adam(1e-3, beta1=1.0), "beta1 must be below 1; got 1"),
        (lambda: pl.Adam(1e-3, beta2=-0.1), "beta2 must be zero or a positive number"),
        (lambda: pl.Adam(1e-3, epsilon=0.0), "epsilon must be a positive number"),
        (lambda: pl.Adam(1e-3, pathway_rates={"x": 1}), "must be one of 'm', 'u'"),
        (lambda: pl.RMSProp(1e-3, decay=1.5), r"decay must be below 1; got 1\.5"),
        (lambda: pl.RMSProp(1e-3, epsilon=-1), "epsilon must be a positive number"),
        (lambda: pl.SignDescent(-1), "rate must be a positive number; got -1"),
        (lambda: pl.SignDescent(1, target_noise=-1), "target_noise must be zero or"),
        (lambda: pl.FirstOrderDescent(-1), "rate must be a positive number"),
        (lambda: pl.FirstOrderDescent(1, target_noise="a"), "target_noise must be zero or"),
        (lambda: pl.RateDrop(factor=0), "factor must be a positive number"),
        (lambda: pl.RateDrop(below=-0.1), "below must be a positive number"),
        (lambda: pl.RateDecay(0), "epochs must be a positive number"),
        (
            lambda: pl.GradientDescent(1, minibatch=0),
            "minibatch must be a whole number of at least 1",
        ),
        (lambda: pl.GradientDescent(1, minibatch=2.0), "minibatch must be a whole number"),
        (lambda: pl.GradientDescent(1, schedule="drop"), "schedule must be a RateDrop, a RateDec"),
        (lambda: pl.GradientDescent(1, schedule=0.5), "schedule must be a RateDrop"),
        (lambda: pl.DirectDescent(1, schedule=[]), "at least one multiplier"),
        (lambda: pl.GradientDescent(1, schedule=[1, -2]), "zero or more; the smallest is -2"),
        (lambda: pl.Adam(1, schedule=[1, np.nan]), "schedule must be finite"),
        (lambda: pl.Adam(1, schedule=[[1.0]]), r"schedule must have 1 axes \(epochs,\)"),
    ],
)
def test_settings_are_checked(make, message):
    with pytest.raises(pl.InputError, match=message):
        make()


def test_rules_are_frozen_and_comparable():
    rule = pl.Adam(1e-3, schedule=np.array([1.0, 0.5]), minibatch=np.int64(4))
    assert rule == pl.Adam(1e-3, schedule=(1.0, 0.5), minibatch=4)
    assert hash(rule.schedule) == hash((1.0, 0.5))
    with pytest.raises(AttributeError):
        rule.rate = 2.0


# -- schedules --------------------------------------------------------------------------------


def test_multipliers_of_schedules():
    np.testing.assert_array_equal(multipliers(None, 3), np.ones(3))
    np.testing.assert_array_equal(multipliers(pl.RateDrop(), 3), np.ones(3))
    np.testing.assert_allclose(multipliers(pl.RateDecay(2.0), 4), np.exp([0, -0.5, -1, -1.5]))
    np.testing.assert_array_equal(multipliers((2.0, 0.0, 1.0), 5), [2, 0, 1, 1, 1])
    np.testing.assert_array_equal(multipliers((2.0, 0.0, 1.0), 2), [2, 0])
    assert drop_of(pl.RateDrop(factor=3.0, below=0.1)) == (3.0, 0.1)
    factor, below = drop_of((1.0,))
    assert factor == 1.0
    assert not below > -1e300


def learners(overlaps):
    """Both ways to learn, from the same start: overlaps, and a network that has them."""
    return {
        "theory": lambda *a, **k: pl.learn(overlaps, *a, **k),
        "network": lambda *a, **k: pl.train_network(overlaps.loadings(60, seed=5), *a, **k),
    }


@pytest.mark.parametrize("level", ["theory", "network"])
def test_a_drop_takes_effect_after_the_epoch_that_was_below(level):
    learn = learners(random_overlaps(6))[level]
    plain = learn(TASK, pl.GradientDescent(5e-3), 200)
    below = float(plain.losses[80] + plain.losses[81]) / 2
    assert plain.losses[80] > below > plain.losses[81]
    t = learn(TASK, pl.GradientDescent(5e-3, schedule=pl.RateDrop(4.0, below)), 200)
    # the update of epoch 81 is the last at the full rate
    np.testing.assert_allclose(t.array[:83], plain.array[:83], atol=1e-14)
    by_hand = np.where(np.arange(200) <= 81, 1.0, 0.25)
    same = learn(TASK, pl.GradientDescent(5e-3, schedule=by_hand), 200)
    np.testing.assert_allclose(t.array, same.array, atol=1e-13)
    assert np.abs(t.array[-1] - plain.array[-1]).max() > 1e-2


@pytest.mark.parametrize("level", ["theory", "network"])
def test_a_drop_stays_when_the_loss_rises_again(level):
    learn = learners(random_overlaps(6))[level]
    task = batch_task(fixed=False)
    plain = learn(task, pl.GradientDescent(0.01), 30, seed=2)
    first = int(np.argmin(plain.losses[:12]))
    assert plain.losses[first + 1 : 30].max() > plain.losses[first]
    below = float(plain.losses[first]) * (1 + 1e-9)
    dropped = learn(task, pl.GradientDescent(0.01, schedule=pl.RateDrop(4.0, below)), 30, seed=2)
    by_hand = np.where(np.arange(30) <= first, 1.0, 0.25)
    same = learn(task, pl.GradientDescent(0.01, schedule=by_hand), 30, seed=2)
    np.testing.assert_allclose(dropped.array, same.array, atol=1e-13)


@pytest.mark.parametrize("level", ["theory", "network"])
def test_a_multiplier_of_zero_pauses_and_one_of_two_doubles(level):
    learn = learners(random_overlaps(6))[level]
    t = learn(TASK, pl.GradientDescent(5e-3, schedule=(1.0, 0.0, 2.0)), 3)
    np.testing.assert_array_equal(t.array[1], t.array[2])
    one = learn(TASK, pl.GradientDescent(5e-3), 1)
    np.testing.assert_allclose(t.array[1], one.array[1], atol=1e-15)
    assert np.abs(t.array[3] - t.array[2]).max() > 1e-4


@pytest.mark.parametrize("level", ["theory", "network"])
def test_decay_is_its_multipliers(level):
    learn = learners(random_overlaps(6))[level]
    t = learn(TASK, pl.GradientDescent(5e-3, schedule=pl.RateDecay(40.0)), 100)
    same = learn(TASK, pl.GradientDescent(5e-3, schedule=np.exp(-np.arange(100) / 40.0)), 100)
    np.testing.assert_allclose(t.array, same.array, atol=1e-14)


# -- minibatches ------------------------------------------------------------------------------


def test_streams_of_trials_and_noise_are_those_of_before():
    """Minibatches have a stream of their own, and so change no other numbers."""
    for seed in (0, 7):
        stream = TrialStream(TASK, "linear", 1.0, seed, minibatch=1)
        expected = map(np.random.default_rng, np.random.SeedSequence(seed).spawn(3))
        for ours, theirs in zip(
            (stream.trial_rng, stream.target_rng, stream.synapse_rng), expected, strict=True
        ):
            assert ours.random() == theirs.random()


def test_a_minibatch_is_some_of_the_trials_without_repeats():
    task = batch_task(n_trials=6)
    whole = Batch(task.sample(), "linear", 1.0)
    stream = TrialStream(task, "linear", 1.0, 0, minibatch=4)
    seen = []
    for _ in range(60):
        part = stream.next()
        assert part.noise_shape == (40, 1, 4)
        columns = [
            int(np.flatnonzero((whole.targets == part.targets[:, :, [p]]).all(axis=(0, 1)))[0])
            for p in range(4)
        ]
        assert len(set(columns)) == 4
        np.testing.assert_array_equal(part.k_m, whole.k_m[:, :, columns])
        np.testing.assert_allclose(part.weights, 1.5 * whole.weights[:, :, columns], rtol=1e-15)
        seen += columns
    # each of the six is in a draw with probability 2/3: 40 of 60, sd 3.7
    counts = np.bincount(seen, minlength=6)
    assert counts.min() > 25
    assert counts.max() < 55
    assert not stream.constant
    assert TrialStream(task, "linear", 1.0, 0).constant


def test_the_mean_over_all_minibatches_is_the_whole_batch():
    from itertools import combinations

    from predictlearn.theory.activity import _evaluate

    overlaps = random_overlaps(3)
    whole = Batch(batch_task(n_trials=5).sample(), "erf", 1.0)
    value, a = _evaluate(overlaps.matrix, overlaps.sizes, whole)
    parts = [
        _evaluate(overlaps.matrix, overlaps.sizes, subset(whole, np.array(picked)))
        for picked in combinations(range(5), 2)
    ]
    assert np.mean([v for v, _ in parts]) == pytest.approx(value, rel=1e-12)
    np.testing.assert_allclose(np.mean([d for _, d in parts], axis=0), a, atol=1e-14)
    assert np.std([v for v, _ in parts]) > 0.01 * value


@pytest.mark.parametrize("fixed", [True, False])
@pytest.mark.parametrize("level", ["theory", "network"])
def test_a_minibatch_of_all_trials_is_the_whole_batch(level, fixed):
    learn = learners(random_overlaps(6))[level]
    task = batch_task(fixed=fixed)
    whole = learn(task, pl.GradientDescent(0.02), 20, seed=1)
    all_of_them = learn(task, pl.GradientDescent(0.02, minibatch=6), 20, seed=1)
    np.testing.assert_array_equal(all_of_them.array, whole.array)
    some = learn(task, pl.GradientDescent(0.02, minibatch=2), 20, seed=1)
    assert np.abs(some.array - whole.array).max() > 1e-3
    np.testing.assert_array_equal(
        some.array, learn(task, pl.GradientDescent(0.02, minibatch=2), 20, seed=1).array
    )


@pytest.mark.parametrize("level", ["theory", "network"])
def test_a_minibatch_larger_than_the_batch_is_refused(level):
    learn = learners(random_overlaps(6))[level]
    with pytest.raises(pl.InputError, match=r"at most the number of trials of the task, 6; got 7"):
        learn(batch_task(), pl.GradientDescent(0.02, minibatch=7), 5)


# -- theory against network: every rule that learn offers is exact for linear networks ---------

RULES = {
    "drop": pl.GradientDescent(5e-3, schedule=pl.RateDrop(4.0, 5.25)),
    "decay": pl.GradientDescent(5e-3, schedule=pl.RateDecay(100.0)),
    "multipliers": pl.GradientDescent(5e-3, schedule=(2.0, 0.0, 1.0, 0.5)),
    "minibatch": pl.GradientDescent(2e-2, minibatch=2),
    "minibatch and noise": pl.GradientDescent(2e-2, minibatch=3, target_noise=0.3),
    "everything": pl.GradientDescent(
        1e-2,
        pathway_rates={"z": 0.0, "u": 0.5},
        momentum=0.6,
        weight_decay=0.05,
        target_noise=0.2,
        minibatch=4,
        schedule=pl.RateDecay(60.0),
    ),
}


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("fixed", [True, False])
def test_schedules_and_minibatches_are_exact_for_linear_networks(name, fixed):
    overlaps, rule = random_overlaps(6), RULES[name]
    task = batch_task(fixed=fixed)
    n_epochs = 250 if fixed else 40
    theory = pl.learn(overlaps, task, rule, n_epochs, seed=9)
    network = pl.train_network(overlaps.loadings(120, seed=5), task, rule, n_epochs, seed=9)
    assert np.abs(theory.array - network.array).max() < 1e-12
    np.testing.assert_allclose(theory.losses, network.losses, rtol=1e-11, atol=1e-13)
    plain = pl.learn(overlaps, task, pl.GradientDescent(rule.rate), n_epochs, seed=9)
    assert np.abs(theory.array - plain.array).max() > 1e-3  # the rule does something


def test_first_order_descent_is_the_published_update():
    overlaps, rate = random_overlaps(1), 0.02
    t = pl.learn(overlaps, TASK, pl.FirstOrderDescent(rate, schedule=(1.0, 0.5)), 60)
    matrix = overlaps.matrix.copy()
    trials = TASK.sample()
    for epoch in range(60):
        _, a = pl.loss_and_derivative(pl.Overlaps(matrix), trials)
        matrix = matrix - (1.0 if epoch == 0 else 0.5) * rate * (matrix @ a + a @ matrix)
    np.testing.assert_allclose(t.array[-1], matrix, atol=1e-13)
    exact = pl.learn(overlaps, TASK, pl.GradientDescent(rate, schedule=(1.0, 0.5)), 60)
    assert np.abs(t.array[-1] - exact.array[-1]).max() > 1e-4


# -- rules of single synapses -----------------------------------------------------------------


@pytest.mark.parametrize("rule", [kind(1e-3) for kind in SYNAPTIC], ids=str)
def test_the_theory_refuses_rules_of_single_synapses(rule):
    with pytest.raises(pl.InputError, match=r"single synapse.*train_network"):
        pl.learn(random_overlaps(0), TASK, rule, 5)


def dense_gradient(theta, sizes, trials, nonlinearity):
    """dL/dtheta, (N, D), by complex step through the dense network."""
    gradient = np.empty_like(theta)
    for place in np.ndindex(*theta.shape):
        moved = theta.astype(complex)
        moved[place] += 1e-25j
        value = judged_loss(network_outputs(moved, sizes, trials, nonlinearity), trials)
        gradient[place] = value.imag / 1e-25
    return gradient


def plain_adam(g, memory, rate, beta1, beta2, epsilon):
    memory["t"] = t = memory.get("t", 0) + 1
    memory["p"] = p = beta1 * memory.get("p", 0.0) + (1 - beta1) * g
    memory["q"] = q = beta2 * memory.get("q", 0.0) + (1 - beta2) * g * g
    corrected = rate * np.sqrt(1 - beta2**t) / (1 - beta1**t)
    return -corrected * p / (np.sqrt(q) + epsilon * np.sqrt(1 - beta2**t))


def plain_rmsprop(g, memory, rate, decay, epsilon):
    memory["q"] = q = decay * memory.get("q", 0.0) + (1 - decay) * g * g
    return -rate * g / (np.sqrt(q) + epsilon)


def plain_sign(g, memory, rate):
    return np.where(g > 0, -rate, np.where(g < 0, rate, 0.0))


STEPS = {
    "adam": (pl.Adam(0.02), plain_adam, (0.9, 0.999, 1e-8)),
    "adam, other settings": (pl.Adam(0.02, 0.5, 0.9, 1e-3), plain_adam, (0.5, 0.9, 1e-3)),
    "rmsprop": (pl.RMSProp(0.02), plain_rmsprop, (0.99, 1e-8)),
    "rmsprop, other settings": (pl.RMSProp(0.02, 0.8, 1e-3), plain_rmsprop, (0.8, 1e-3)),
    "sign": (pl.SignDescent(0.02), plain_sign, ()),
}


@pytest.mark.parametrize("nonlinearity", ["linear", "erf"])
@pytest.mark.parametrize("name", STEPS)
def test_a_synaptic_rule_against_a_plain_one_on_the_dense_network(name, nonlinearity):
    rule, step, settings = STEPS[name]
    task = pl.Filter(duration=1.5, dt=0.25)
    overlaps, n = random_overlaps(4), 8
    loadings = overlaps.loadings(n, seed=1)
    theta, memory = loadings.stacked, {}
    for _ in range(25):
        gradient = dense_gradient(theta, (1, 1, 1), task.sample(), nonlinearity)
        theta = theta + step(gradient, memory, 0.02, *settings)
    t = pl.train_network(loadings, task, rule, 25, nonlinearity)
    np.testing.assert_allclose(t.loadings.stacked, theta, atol=1e-10)
    assert t.losses[-1] < 0.9 * t.losses[0]
    assert np.abs(theta - loadings.stacked).max() > 0.1


@pytest.mark.parametrize("kind", SYNAPTIC)
def test_frozen_pathways_schedules_noise_and_minibatches_under_synaptic_rules(kind):
    task, loadings = batch_task(), random_overlaps(6).loadings(50, seed=2)

    def run(epochs=12, seed=1, **settings):
        return pl.train_network(loadings, task, kind(0.01, **settings), epochs, seed=seed)

    plain = run()
    frozen = run(pathway_rates={"z": 0.0})
    np.testing.assert_array_equal(frozen.loadings.z, loadings.z)
    assert np.abs(frozen.loadings.m - loadings.m).max() > 0.01
    # a step of multiplier 0 moves nothing, but the running means go on
    paused = run(schedule=[0.0])
    np.testing.assert_array_equal(paused.loadings.stacked, loadings.stacked)
    half = run(1, schedule=[0.5]).loadings.stacked - loadings.stacked
    np.testing.assert_allclose(half, 0.5 * (run(1).loadings.stacked - loadings.stacked), atol=1e-15)
    for settings in ({"minibatch": 3}, {"target_noise": 0.5}):
        once, again, other = run(**settings), run(**settings), run(seed=2, **settings)
        np.testing.assert_array_equal(once.array, again.array)
        assert np.abs(once.array - other.array).max() > 1e-4
        assert np.abs(once.array - plain.array).max() > 1e-4
    np.testing.assert_array_equal(run(minibatch=6).array, plain.array)


def test_step_sizes_of_synaptic_rules():
    """The first step of Adam and every step of sign descent is the rate, in every loading."""
    loadings = random_overlaps(5).loadings(30, seed=0)
    for rule in (pl.Adam(0.01, epsilon=1e-30), pl.SignDescent(0.01)):
        moved = pl.train_network(loadings, TASK, rule, 1).loadings.stacked - loadings.stacked
        np.testing.assert_allclose(np.abs(moved), 0.01, rtol=1e-9)
    # RMSProp starts with the root of (1 - decay) g^2
    moved = pl.train_network(loadings, TASK, pl.RMSProp(0.01, epsilon=1e-30), 1).loadings.stacked
    np.testing.assert_allclose(np.abs(moved - loadings.stacked), 0.1, rtol=1e-9)


def test_conserved_quantities_hold_under_small_steps_and_break_under_synaptic_rules():
    overlaps = random_overlaps(8)
    task = pl.Filter(decay=0.2, duration=10.0, dt=0.1)
    loadings = overlaps.loadings(100, seed=1)
    drifts = {}
    for rate, epochs in ((4e-3, 1000), (1e-3, 4000)):
        t = pl.train_network(loadings, task, pl.GradientDescent(rate), epochs, every=epochs)
        assert t.losses[-1] < 0.02 * t.losses[0]
        drifts[rate] = pl.drift(t)["largest"].max()
    # of first order in the rate
    assert drifts[1e-3] < 1.5e-3
    assert drifts[1e-3] == pytest.approx(drifts[4e-3] / 4, rel=0.1)
    for rule in (pl.Adam(1e-3), pl.RMSProp(1e-3), pl.SignDescent(1e-3)):
        t = pl.train_network(loadings, task, rule, 1500, every=1500)
        assert t.losses[-1] < 0.02 * t.losses[0]
        assert pl.drift(t)["largest"].max() > 0.05, rule


def test_adam_leaves_the_span_of_the_loadings():
    """What no rule of the overlaps can do: the new loadings are not combinations of the old."""
    loadings = random_overlaps(8).loadings(80, seed=1)

    def outside(rule):
        new = pl.train_network(loadings, TASK, rule, 100).loadings.stacked
        left = new - loadings.stacked @ np.linalg.lstsq(loadings.stacked, new, rcond=None)[0]
        return np.abs(left).max()

    assert outside(pl.GradientDescent(5e-3, momentum=0.5)) < 1e-12
    assert outside(pl.Adam(5e-3)) > 0.05


def test_divergence_under_adam_is_reported_not_hidden():
    loadings = random_overlaps(0).loadings(30)
    with pytest.raises(pl.DivergenceError, match="smaller rate") as caught:
        pl.train_network(loadings, pl.Filter(), pl.Adam(1e4), 200)
    assert 0 < caught.value.epoch < 200


@pytest.mark.parametrize("every", [1, 7])
def test_both_levels_stop_at_a_loss(every):
    runs = [
        learn(TASK, pl.GradientDescent(5e-3), 300, every=every, stop_at=1.0)
        for learn in learners(random_overlaps(6)).values()
    ]
    for t in runs:
        assert t.losses[-1] <= 1.0 < t.losses[-2]
        assert t.loss_epochs[-1] == t.epochs[-1] == len(t.losses) - 1 < 300
        assert len(t.array) == len(t.epochs)
    np.testing.assert_allclose(runs[0].array, runs[1].array, atol=1e-12)
    network = pl.Overlaps.from_loadings(runs[1].loadings).matrix
    np.testing.assert_allclose(network, runs[1].array[-1], atol=1e-13)
    with pytest.raises(pl.InputError, match="stop_at must be a positive number"):
        learners(random_overlaps(6))["network"](TASK, pl.GradientDescent(5e-3), 9, stop_at=0)


def test_a_network_that_diverges_says_which_rate_would_not():
    loadings = random_overlaps(0).loadings(30)
    with pytest.raises(pl.DivergenceError, match=r"largest stable rate .* is about") as caught:
        pl.train_network(loadings, pl.Filter(), pl.GradientDescent(2.0), 500)
    assert 0 < caught.value.epoch < 500
    # stops where the theory does, give or take what rounding grows to
    with pytest.raises(pl.DivergenceError) as theory:
        pl.learn(random_overlaps(0), pl.Filter(), pl.GradientDescent(2.0), 500)
    assert abs(caught.value.epoch - theory.value.epoch) <= 2


def test_column_order_of_frozen_pathways():
    """Rank two, two inputs: freezing v leaves v alone and nothing else."""
    overlaps = random_overlaps(3, 2, 2, 2)
    rng = np.random.default_rng(0)
    inputs, targets = rng.normal(size=(2, 3, 20, 2))
    task = pl.ArrayTask(inputs, targets, np.full(targets.shape, 0.01), 0.1)
    loadings = overlaps.loadings(40, seed=1)
    rule = pl.Adam(0.01, pathway_rates={"v": 0.0})
    moved = np.abs(
        pl.train_network(loadings, task, rule, 5).loadings.stacked - loadings.stacked
    ).max(axis=0)
    where = pathway_slices(2, 2, 2)["v"]
    assert (moved[where] == 0).all()
    assert (np.delete(moved, np.r_[where]) > 1e-3).all()
