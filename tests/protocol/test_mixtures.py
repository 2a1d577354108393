"""Interleaved and drawn mixtures of tasks, and blocks that are repeated."""

from __future__ import annotations

import neuron_network
import numpy as np
import oracles
import pytest

import predictlearn as pl
from predictlearn.errors import InputError
from predictlearn.protocol import Protocol

N = 40
MIX = {"A": 0.7, "B": 0.3}
BASE = {
    "name": "mixtures",
    "cohort": {"networks": 2, "overlaps": {"zm": 0.1, "zu": 0.2, "vm": 0.1}, "spread": 0.03},
    "tasks": {
        "A": {"type": "filter", "decay": 0.2, "duration": 3.0},
        "B": {"type": "filter", "decay": 0.6, "duration": 3.0},
    },
    "rule": {"rate": 0.01},
    "arms": {"mixed": {"phases": [{"name": "both", "task": MIX, "epochs": 30}]}},
    "evaluate": ["A", "B"],
}


def protocol(**changes):
    return Protocol.from_dict({**BASE, **changes})


def shown(decay, n_steps=60, dt=0.05):
    """Return inputs, targets and weights of an impulse and its exponential answer, (1, time, 1)."""
    inputs, time = np.zeros((1, n_steps, 1)), dt * np.arange(n_steps)
    inputs[0, 0, 0] = 1 / dt
    return inputs, np.exp(-decay * time)[None, :, None], np.full((1, n_steps, 1), dt)


def of_both(weights=(0.7, 0.3)):
    """Return the trials of A and B in one batch, weighted."""
    a, b = shown(0.2), shown(0.6)
    inputs, targets = (np.concatenate([x, y]) for x, y in zip(a[:2], b[:2], strict=True))
    return inputs, targets, np.concatenate([weights[0] * a[2], weights[1] * b[2]])


def test_an_interleaved_loss_is_the_weighted_sum():
    run = protocol().run(seed=0)
    ends = run.curves("mixed").iloc[[0, -1]].to_numpy()
    a, b = (run.curves("mixed", f"loss:{name}").to_numpy() for name in "AB")
    np.testing.assert_allclose(ends, 0.7 * a + 0.3 * b, rtol=1e-12)
    assert (ends[1] < ends[0]).all()
    assert set(run.table["task"]) == {"0.7 A + 0.3 B"}


@pytest.mark.parametrize("engine", ["theory", "network"])
@pytest.mark.parametrize("learns", ["factors", "synapses"])
def test_every_learner_takes_a_mixture_as_neurons_one_by_one_do(engine, learns):
    rule = {"rate": 0.01, "learns": learns}
    more = {"engine": "network", "n_neurons": N} if engine == "network" else {}
    run = protocol(rule=rule, **more).run(seed=0)
    world = neuron_network.open_world(1, 1)
    inputs, targets, weights = of_both()
    for number, start in enumerate(run.starts):
        if learns == "synapses":
            network = pl.Synapses.from_overlaps(start).on_neurons(N, 1)
            losses, *_ = neuron_network.learn_synapses(
                network, world, inputs, targets, weights, 0.05, 0.01, 30
            )
        else:
            _, losses = neuron_network.factors_after(
                start.loadings(N, 1), None, world, inputs, targets, weights, 0.05, 0.01, 30,
                "through", (1.0, 1.0, 1.0, 1.0),
            )  # fmt: skip
        np.testing.assert_allclose(run.curves("mixed")[number], losses, rtol=1e-10)


def test_gradient_flow_takes_a_mixture():
    flow = protocol(rule={"type": "gradient-flow", "rate": 1e-4}).run(seed=0)
    descent = protocol(rule={"rate": 1e-4}).run(seed=0)
    for number in range(2):
        ends = (run.curves("mixed")[number].iloc[-1] for run in (flow, descent))
        assert next(ends) == pytest.approx(next(ends), rel=1e-3)


def test_drawn_tasks_come_one_an_epoch_with_their_probability():
    parts = [pl.Filter(decay=0.2, duration=3.0), pl.Filter(decay=0.6, duration=3.0)]
    mixture = pl.Mixture(parts, [0.7, 0.3], "drawn")
    rng = np.random.default_rng(0)
    drawn = [mixture.sample(rng) for _ in range(2000)]
    assert not mixture.fixed
    assert {trials.n_trials for trials in drawn} == {1}
    first = np.mean([np.array_equal(t.targets, parts[0].sample().targets) for t in drawn])
    assert first == pytest.approx(0.7, abs=4 * np.sqrt(0.7 * 0.3 / 2000))


def test_drawn_learning_is_that_of_neurons_on_the_tasks_that_came():
    mixed = [{"name": "both", "task": MIX, "mixture": "drawn", "epochs": 25}]
    run = protocol(arms={"mixed": {"phases": mixed}}).run(seed=3)
    losses = run.curves("mixed")[0].to_numpy()
    start, world = run.starts[0], neuron_network.open_world(1, 1)
    parts, picked = start.loadings(N, 1), []
    for epoch in range(25):
        # which task came is read from the loss; the learning that follows is computed apart
        found = {}
        for name, decay in (("A", 0.2), ("B", 0.6)):
            after, ends = neuron_network.factors_after(
                parts, None, world, *shown(decay), 0.05, 0.01, 1, "through", (1.0,) * 4
            )
            found[name] = (ends[0], after)
        name = min(found, key=lambda n: abs(found[n][0] - losses[epoch]))
        assert found[name][0] == pytest.approx(losses[epoch], rel=1e-9)
        picked.append(name)
        parts = pl.Loadings(*found[name][1])
    assert 10 <= picked.count("A") <= 24
    other = protocol(arms={"mixed": {"phases": mixed}}).run(seed=4)
    assert not np.array_equal(other.curves("mixed")[0], losses)


def test_random_trials_can_be_mixed():
    tasks = {
        "easy": {"type": "decision-making", "coherences": [-16, 16], "trials": 4, "duration": 12.0},
        "hard": {"type": "decision-making", "coherences": [-2, 2], "trials": 6, "duration": 12.0},
    }
    phases = [{"task": {"easy": 1.0, "hard": 2.0}, "epochs": 3}]
    run = protocol(tasks=tasks, arms={"x": {"phases": phases}}, evaluate=[]).run(seed=0)
    assert run.failed.empty


def test_closed_loops_of_one_world_can_be_mixed_and_of_two_cannot():
    tasks = {
        "near": {"type": "cursor-reaching", "distance": 0.5, "gain": 4.0, "smoothing": 0.05},
        "far": {"type": "cursor-reaching", "distance": 1.0, "gain": 4.0, "smoothing": 0.05},
        "turned": {"type": "cursor-reaching", "rotation": 30.0, "gain": 4.0, "smoothing": 0.05},
    }
    content = {
        "cohort": {"overlaps": {"z1m1": 0.1, "z2m2": 0.1}}, "tasks": tasks, "tau": 0.1,
        "evaluate": ["near", "far"],
    }  # fmt: skip
    mix = [{"task": {"near": 2.0, "far": 1.0}, "epochs": 10}]
    run = protocol(arms={"x": {"phases": mix}}, **content).run(seed=0)
    near, far = (run.curves("x", f"loss:{name}")[0].to_numpy() for name in ("near", "far"))
    np.testing.assert_allclose(run.curves("x")[0].iloc[[0, -1]], 2 * near + far, rtol=1e-10)
    worlds = [{"task": {"near": 1.0, "turned": 1.0}, "epochs": 10}]
    with pytest.raises(InputError, match="judged alike, by one world"):
        protocol(arms={"x": {"phases": worlds}}, **content)


def test_blocks_are_repeated_in_order_with_their_number():
    blocks = {
        "repeat": 2,
        "phases": [{"name": "A", "task": "A", "epochs": 5}, {"task": "B", "epochs": 4}],
    }
    arms = {
        "blocked": {"phases": [blocks, {"name": "end", "task": "A", "epochs": 1}]},
        "by hand": {
            "phases": [
                {"name": "A 1", "task": "A", "epochs": 5}, {"task": "B", "epochs": 4},
                {"name": "A 2", "task": "A", "epochs": 5}, {"task": "B", "epochs": 4},
                {"name": "end", "task": "A", "epochs": 1},
            ]
        },
    }  # fmt: skip
    run = protocol(arms=arms).run(seed=0)
    rows = [run.table[run.table["arm"] == arm].drop(columns="arm") for arm in arms]
    assert rows[0].reset_index(drop=True).equals(rows[1].reset_index(drop=True))
    assert list(rows[0]["phase"].unique()) == ["A 1", "2-B", "A 2", "4-B", "end"]
    scaled = protocol(arms=arms).with_epochs(3.0)
    assert [step.epochs for step in scaled.spec.steps("blocked")] == [15, 12, 15, 12, 3]


def test_the_mixed_trials_are_judged_by_their_observer():
    parts = [oracles.random_trials(k, 1, 2, observer=True) for k in (0, 1)]
    tasks = [pl.ArrayTask.from_trials(p) for p in parts]
    with pytest.raises(InputError, match=r"judged alike, by one observer \(offset\)"):
        pl.Mixture(tasks, [1.0, 1.0])
    same = pl.Mixture([tasks[0], tasks[0]], [1.0, 2.0]).sample()
    outputs = np.random.default_rng(0).normal(size=(6, 12, 2))
    by_hand = oracles.judged_loss(outputs[:3], parts[0]) + 2 * oracles.judged_loss(
        outputs[3:], parts[0]
    )
    assert same.loss(outputs) == pytest.approx(by_hand, rel=1e-12)


WRONG = [
    ({"task": {"A": 0.5, "C": 0.5}, "epochs": 1}, "'C' is not one of the tasks: A, B"),
    ({"task": {"A": 0.5}, "epochs": 1}, "must have at least 2 items"),
    ({"task": {"A": 0.5, "B": -1.0}, "epochs": 1}, "must be greater than 0; got -1"),
    ({"task": "A", "mixture": "drawn", "epochs": 1}, "mixture goes with several tasks"),
    ({"task": MIX, "mixture": "mixed", "epochs": 1}, "must be one of 'interleaved', 'drawn'"),
    ({"task": {"A": 1.0, "B": 1.0}, "mixture": "drawn", "epochs": 1}, "must add up to 1; got 2"),
    ({"repeat": 2}, "phases is missing: the list of what is repeated"),
    ({"phases": [{"task": "A", "epochs": 1}]}, "repeat is missing: how often"),
    ({"repeat": 2, "phases": [{"task": "C", "epochs": 1}]}, r"phases\[0\]\.phases\[0\]\.task: 'C'"),
    ({"repeat": 2, "phases": [{"task": "A", "epoch": 1}]}, "Did you mean 'epochs'"),
    ({"repeat": 20_000, "phases": [{"task": "A", "epochs": 1}]}, "20,000 phases and sessions"),
    (
        {"repeat": 2, "phases": [{"repeat": 2, "phases": [{"task": "A", "epochs": 1}]}]},
        "a repeat cannot stand within a repeat",
    ),
    ({"repeat": 2, "epochs": 3, "phases": [{"task": "A", "epochs": 1}]}, "epochs does not go with"),
]


@pytest.mark.parametrize(("phase", "message"), WRONG)
def test_wrong_mixtures_and_blocks(phase, message):
    with pytest.raises(InputError, match=message):
        protocol(arms={"x": {"phases": [phase]}})


def test_tasks_that_cannot_stand_in_one_batch_are_named():
    longer = {"A": BASE["tasks"]["A"], "B": {"type": "filter", "duration": 4.0}}
    with pytest.raises(InputError, match=r"phases\[0\]\.task: .*60 bins \(3 s\).*80 \(4 s\)"):
        protocol(tasks=longer)
    finer = {"A": BASE["tasks"]["A"], "B": {"type": "filter", "duration": 3.0, "dt": 0.025}}
    with pytest.raises(InputError, match=r"same bin width dt: the first has 0\.05 s.*0\.025 s"):
        protocol(tasks=finer)
    for weights, message in (([1.0], "one a task, 2"), ([0.0, 1.0], r"weights\[0\] must be")):
        with pytest.raises(InputError, match=message):
            pl.Mixture([pl.Filter(), pl.Filter()], weights)
    with pytest.raises(InputError, match="at least two tasks"):
        pl.Mixture([pl.Filter()], [1.0])
    with pytest.raises(InputError, match="item 1 is str"):
        pl.Mixture([pl.Filter(), "B"], [1.0, 1.0])
