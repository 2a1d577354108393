"""The context task: its trials, and what one and two populations can do in it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special

import predictlearn as pl
from predictlearn.tasks import get_task
from predictlearn.theory.trials import Task

# -- the task ---------------------------------------------------------------------------------


def test_trials_of_the_context_task():
    task = pl.ContextDecision(trials=400, noise=0.0)
    trials = task.sample(np.random.default_rng(3))
    on, off, respond = 2, 15, 35
    level = trials.inputs[:, on, :2] * 16
    assert set(np.unique(level)) == {-16.0, -8.0, 8.0, 16.0}
    cue = trials.inputs[:, on, 2:]
    np.testing.assert_array_equal(np.sort(cue, axis=1), np.tile([0.0, 2.0], (400, 1)))
    asked = np.where(cue[:, 0] > 0, level[:, 0], level[:, 1])
    np.testing.assert_array_equal(
        trials.targets[:, respond:, 0], np.sign(asked)[:, None].repeat(10, axis=1)
    )
    assert not trials.inputs[:, :on].any()
    assert not trials.inputs[:, off:].any()
    np.testing.assert_array_equal(trials.inputs[:, on:off], trials.inputs[:, [on]].repeat(13, 1))
    assert not trials.weights[:, :respond].any()
    assert trials.weights.sum() == pytest.approx(1.0)
    # all 32 conditions occur, about equally often, and stimuli do not depend on the context
    codes = pd.Series(map(tuple, np.column_stack([level, cue])))
    assert codes.nunique() == 32
    assert abs(np.corrcoef(cue[:, 0], level[:, 0])[0, 1]) < 0.15


def test_the_context_task_keeps_the_contract_of_tasks(tmp_path):
    task = get_task("context-decision", trials=3, dt=0.1)
    assert task == pl.ContextDecision(trials=3, dt=0.1)
    assert isinstance(task, Task)
    assert not task.fixed
    one, again, other = (task.sample(np.random.default_rng(seed)) for seed in (0, 0, 1))
    assert (one.n_in, one.n_out, one.dt) == (task.n_in, task.n_out, task.dt)
    np.testing.assert_array_equal(one.inputs, again.inputs)
    assert not np.array_equal(one.inputs, other.inputs)
    frozen = task.freeze(0)
    assert frozen.fixed
    np.testing.assert_array_equal(frozen.sample().inputs, one.inputs)
    np.testing.assert_array_equal(frozen.sample().weights, one.weights)
    file = tmp_path / "context.yaml"
    file.write_text(
        """
name: context
nonlinearity: erf
cohort: {networks: 1, overlaps: {}, spread: 0.05}
tasks: {C: {type: context-decision, trials: 4, cue: trial}}
rule: {type: gradient-descent, rate: 0.01}
arms: {only: {phases: [{task: C, epochs: 3}]}}
""",
        encoding="utf-8",
    )
    assert pl.Protocol.load(file).run().failed.empty


def test_noise_and_cue_of_the_context_task():
    task = pl.ContextDecision(trials=500, noise=0.3, cue="trial")
    trials = task.sample(np.random.default_rng(4))
    stimuli = trials.inputs[:, 2:15, :2]
    noise = stimuli - np.round(stimuli.mean(axis=1, keepdims=True) * 2) / 2
    assert noise.std() == pytest.approx(0.3, rel=0.05)
    assert not trials.inputs[:, :2, :2].any()
    np.testing.assert_array_equal(trials.inputs[..., 2:].sum(axis=2), 2.0)


def test_every_trial_of_the_context_task():
    task = pl.ContextDecision(coherences=(-16.0, 4.0, 16.0))
    trials, table = task.every_trial(), task.conditions
    assert trials.n_trials == len(table) == 18
    level = trials.inputs[:, 5, :2] * 16
    np.testing.assert_allclose(level, table[["coherence_1", "coherence_2"]])
    np.testing.assert_array_equal(trials.inputs[:, 5, 2] > 0, table["context"] == 1)
    np.testing.assert_array_equal(table["conflict"], level.prod(axis=1) < 0)
    picked = np.where(table["context"] == 1, level[:, 0], level[:, 1])
    np.testing.assert_array_equal(trials.targets[:, -1, 0], np.sign(picked))


def test_accuracy_and_its_interval():
    trials = pl.ContextDecision(trials=40).sample(np.random.default_rng(5))
    outputs = trials.targets.copy()
    outputs[:10] *= -0.1
    outputs[:, :30] = 99.0  # where no answer counts
    found = pl.decision_accuracy(trials, outputs)
    assert (found["correct"], found["trials"], found["accuracy"]) == (30, 40, 0.75)
    # Wilson's interval, by its formula
    z, p, n = special.ndtri(0.975), 0.75, 40
    centre = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2)) / (1 + z**2 / n)
    assert (found["low"], found["high"]) == pytest.approx((centre - half, centre + half))


# -- what one population cannot do ------------------------------------------------------------

TASK = pl.ContextDecision()
EVERY = TASK.every_trial()
CONFLICT = TASK.conditions["conflict"].to_numpy()


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 100_000),
    size=st.floats(-1.5, 2.5),
    coupling=st.floats(-3.9, 8.0),
    nonlinearity=st.sampled_from(["erf", "tanh", "linear"]),
)
def test_no_population_goes_below_the_bound(seed, size, coupling, nonlinearity):
    """Also where overlaps are so large that the direct path carries the stimuli."""
    rng = np.random.default_rng(seed)
    theta = rng.standard_normal((9, 7)) * np.exp(rng.normal(scale=1.0, size=7)) * 10.0 ** (size / 2)
    theta[:, 5] += (
        (coupling - theta[:, 5] @ theta[:, 4] / 9) * theta[:, 4] * 9 / (theta[:, 4] @ theta[:, 4])
    )
    network = pl.Overlaps(theta.T @ theta / 9, n_in=4)
    outputs = pl.simulate(network, EVERY, nonlinearity).outputs
    bound = TASK.one_population_bound(network)
    assert 0.0 <= bound <= 1 / 8
    if np.isfinite(outputs).all():
        assert EVERY.loss(outputs) >= bound * (1 - 1e-12)


def test_without_a_direct_path_three_quarters_of_the_conflicts_are_right_at_most():
    best = 0.0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        theta = rng.standard_normal((12, 7)) * np.exp(rng.normal(size=7))
        u = theta[:, 4]
        theta[:, 5] += (rng.uniform(-3.9, 6.0) * 12 - theta[:, 5] @ u) * u / (u @ u)
        # z without the part along m
        m, z = theta[:, :4], theta[:, 6]
        theta[:, 6] = z - m @ np.linalg.lstsq(m, z, rcond=None)[0]
        network = pl.Overlaps(theta.T @ theta / 12, n_in=4)
        assert TASK.one_population_bound(network) == pytest.approx(1 / 8, abs=1e-9)
        outputs = pl.simulate(network, EVERY, "erf").outputs
        right = np.sign(outputs[:, 40, 0]) == EVERY.targets[:, 40, 0]
        best = max(best, right[CONFLICT].mean())
    assert 0.6 <= best <= 0.75


def test_two_populations_can_be_built_that_select_by_gain():
    """By hand: each reports one stimulus and is silenced by the cue of the other."""

    def population(stimulus, silencer):
        s = np.eye(7)
        s[silencer, silencer] = 30.0
        s[stimulus, 5] = s[5, stimulus] = 0.9
        s[4, 5] = s[5, 4] = 2.2
        s[5, 5] = 8.0
        s[4, 6] = s[6, 4] = 1.2
        s[5, 6] = s[6, 5] = 2.2 * 1.2
        s[6, 6] = 3.0
        return pl.Overlaps(s, n_in=4)

    pair = pl.Populations((0.5, 0.5), (population(0, 3), population(1, 2)))
    outputs = pl.simulate_populations(pair, EVERY).outputs
    assert pl.decision_accuracy(EVERY, outputs)["accuracy"] == 1.0
    mixed = pl.simulate(pair.total, EVERY, "erf").outputs
    assert pl.decision_accuracy(EVERY, mixed)["accuracy"] < 0.9


def test_two_populations_learn_what_one_cannot():
    rule = pl.GradientDescent(0.05, schedule=pl.RateDrop(5.0, 0.01))
    loss = {}
    for count in (1, 2):
        start = pl.Populations.random(count, n_in=4, seed=3)
        learned = pl.learn_populations(start, TASK, rule, 1500, every=1500).final
        outputs = pl.simulate_populations(learned, EVERY).outputs
        loss[count] = EVERY.loss(outputs)
        accuracy = pl.decision_accuracy(EVERY, outputs)["accuracy"]
        assert (accuracy == 1.0) == (count == 2)
        if count == 1:
            assert loss[1] > TASK.one_population_bound(learned.overlaps[0]) > 0.12
    assert loss[2] < 1e-3 < 0.4 < loss[1]


@pytest.mark.slow
def test_a_network_from_one_population_learns_it_by_forming_populations():
    """The bound holds for Gaussian loadings, and learning makes them non-Gaussian."""
    task = pl.ContextDecision(trials=32)
    rule = pl.GradientDescent(0.05, schedule=pl.RateDrop(5.0, 0.01))
    network = pl.Populations.random(1, n_in=4, seed=1).loadings(512)
    theory = pl.learn_populations(network.populations(), task, rule, 1200, every=1200)
    trained = pl.train_population_network(network, task, rule, 1200, every=1200)
    itself = EVERY.loss(pl.run_network(trained.network.loadings, EVERY, "erf").outputs)
    assert itself < 1e-3
    assert EVERY.loss(pl.simulate_populations(theory.final, EVERY).outputs) > 0.4
    losses = [
        EVERY.loss(
            pl.simulate_populations(
                pl.fit_populations(trained.network, parts).populations, EVERY
            ).outputs
        )
        for parts in (1, 3)
    ]
    assert losses[1] < 0.5 < losses[0]


# -- input ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: pl.ContextDecision(coherences=(1.0, 0.0)), "none that is 0"),
        (lambda: pl.ContextDecision(coherences=()), "coherences must hold at least one"),
        (lambda: pl.ContextDecision(cue="always"), "cue must be one of 'stimulus', 'trial'"),
        (lambda: pl.ContextDecision(duration=5.0), r"duration must exceed .* = 7 s"),
        (lambda: pl.ContextDecision(stimulus=0.01), "at least one bin"),
        (
            lambda: pl.ContextDecision(cue="trial").one_population_bound(pl.Overlaps(np.eye(7), 4)),
            "cue must be 'stimulus'",
        ),
        (lambda: TASK.one_population_bound(pl.Overlaps(np.eye(4))), "n_in 4, rank 1 and n_out 1"),
        (
            lambda: TASK.one_population_bound(
                pl.Overlaps(np.diag([1.0] * 5 + [99.0, 1.0]), 4).replace(vu=-5.0)
            ),
            "vu must be at least -4",
        ),
        (lambda: pl.decision_accuracy(EVERY, np.zeros((2, 3, 1))), "outputs must have shape"),
        (lambda: pl.decision_accuracy(EVERY, EVERY.targets, level=1.0), "level must be between"),
        (
            lambda: pl.decision_accuracy(EVERY.with_targets(0 * EVERY.targets), EVERY.targets),
            "target with a sign; 32",
        ),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(pl.InputError, match=message):
        call()
