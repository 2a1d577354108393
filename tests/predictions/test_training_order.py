"""Training order: performance, transfer, forgetting and traces, paired within network."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import trapezoid

import predictlearn as pl
from predictlearn.errors import InputError
from predictlearn.predictions import Prediction, training_order

SLOW, FAST = pl.Filter(decay=0.2, duration=10.0), pl.Filter(decay=0.6, duration=10.0)
RULE = pl.GradientDescent(5e-3)


def networks(n, seed=0):
    """Return rank-one networks of unit norms and small cross overlaps."""
    values = np.random.default_rng(seed).uniform(0, 0.15, (n, 3))
    return [pl.Overlaps(np.eye(4)).replace(zu=a, vm=b, vu=c) for a, b, c in values]


@pytest.fixture(scope="module")
def result():
    return training_order(networks(6), SLOW, FAST, RULE, (600, 300))


def pick(result, family, start):
    """Return the one test of a family whose name starts so."""
    tests = result.tests
    chosen = tests[(tests["family"] == family) & tests["name"].str.startswith(start)]
    assert len(chosen) == 1
    return chosen.iloc[0]


def test_is_a_frozen_labelled_prediction(result):
    assert isinstance(result, Prediction)
    with pytest.raises(AttributeError):
        result.name = "x"
    assert result.tests["family"].unique().tolist() == [
        "performance",
        "trace of A after B",
        "trace of B after A",
        "order AB minus BA",
        "gauge-invariant combinations, AB minus BA",
        "trace size",
    ]
    assert {"loss on A", "loss on B", "zm", "zz"} <= set(result.curves["quantity"])


def test_outcomes_agree_with_an_independent_calculation(result):
    start = networks(6)[2]
    trials = {
        "A": SLOW.sample(np.random.default_rng(0)),
        "B": FAST.sample(np.random.default_rng(0)),
    }
    first_a = pl.learn(start, SLOW, RULE, 600)
    then_b = pl.learn(first_a.final, FAST, RULE, 300)
    first_b = pl.learn(start, FAST, RULE, 300)
    then_a = pl.learn(first_b.final, SLOW, RULE, 600)
    before = {task: pl.loss(start, t) for task, t in trials.items()}
    table = result.table.set_index(["network", "arm", "quantity", "epoch"])["value"]
    assert table[(2, "AB", "loss on A", 900.0)] == pytest.approx(
        pl.loss(then_b.final, trials["A"]) / before["A"]
    )
    assert table[(2, "BA", "loss on B", 900.0)] == pytest.approx(
        pl.loss(then_a.final, trials["B"]) / before["B"]
    )
    assert table[(2, "AB", "zz", 900.0)] == pytest.approx(then_b.final["zz"])
    # paired differences over all six networks, by hand for the trace
    gaps = []
    for overlaps in networks(6):
        both = pl.learn(pl.learn(overlaps, SLOW, RULE, 600).final, FAST, RULE, 300).final
        alone = pl.learn(overlaps, FAST, RULE, 300).final
        gaps.append(both["uu"] - alone["uu"])
    assert pick(result, "trace of A after B", "uu")["estimate"] == pytest.approx(np.mean(gaps))
    learned_second, naive = [], []
    for overlaps in networks(6):
        unit = pl.loss(overlaps, trials["B"])
        after_a = pl.learn(overlaps, SLOW, RULE, 600).final
        learned_second.append(trapezoid(pl.learn(after_a, FAST, RULE, 300).loss) / 300 / unit)
        naive.append(trapezoid(pl.learn(overlaps, FAST, RULE, 300).loss) / 300 / unit)
    assert pick(result, "performance", "transfer to B")["estimate"] == pytest.approx(
        np.mean(learned_second) - np.mean(naive)
    )


def test_transfer_and_forgetting_have_the_right_sign(result):
    # related tasks: either one helps the other, and learning the second one costs the first
    assert pick(result, "performance", "transfer to A")["estimate"] < 0
    assert pick(result, "performance", "transfer to B")["estimate"] < 0
    assert pick(result, "performance", "forgetting of A")["estimate"] > 0
    assert pick(result, "performance", "forgetting of B")["estimate"] > 0
    # what is learned last is better at the end
    assert pick(result, "performance", "final loss on A")["estimate"] > 0
    assert pick(result, "performance", "final loss on B")["estimate"] < 0


def test_every_family_is_corrected_by_itself(result):
    for _, family in result.tests.groupby("family"):
        assert (family["family_size"] == len(family)).all()
        assert (family["p_corrected"] >= family["p"]).all()
    traces = result.tests[result.tests["family"] == "order AB minus BA"]
    assert traces.loc[traces["visibility"] == "loss-visible", "name"].tolist() == [
        "zm", "zu", "vm", "vu",
    ]  # fmt: skip
    assert (traces["visibility"] == "loss-invisible").sum() == 6
    invariant = result.tests[result.tests["family"].str.startswith("gauge")]
    assert "zu*vm" in set(invariant["name"])


def test_same_task_twice_leaves_no_difference():
    result = training_order(networks(5), SLOW, SLOW, RULE, 100)
    for start in ("final loss on A", "final loss on B"):
        row = pick(result, "performance", start)
        assert row["estimate"] == 0
        assert row["p"] == 1.0
        assert row["degenerate"]
    order = result.tests[result.tests["family"] == "order AB minus BA"]
    assert (order["estimate"] == 0).all()
    assert not order["significant"].any()


def test_mirrored_gauge_changes_raw_overlaps_not_invariants():
    starts = networks(3)
    turned = [start.gauge(np.array([[-1.0]])) for start in starts]
    one = training_order(starts, SLOW, FAST, RULE, 50)
    two = training_order(turned, SLOW, FAST, RULE, 50)
    family = "gauge-invariant combinations, AB minus BA"
    a = one.tests[one.tests["family"] == family]["estimate"].to_numpy(dtype=float)
    b = two.tests[two.tests["family"] == family]["estimate"].to_numpy(dtype=float)
    assert a == pytest.approx(b, rel=1e-9)
    raw = [pick(result, "order AB minus BA", "zu")["estimate"] for result in (one, two)]
    assert raw[0] == pytest.approx(-raw[1])
    assert raw[0] != 0


def test_noise_free_linear_learning_keeps_no_memory_once_it_has_converged():
    def size(epochs):
        result = training_order(networks(2), SLOW, FAST, RULE, epochs)
        traces = result.tests[
            (result.tests["family"] == "trace of B after A")
            & (result.tests["visibility"] == "loss-invisible")
        ]
        assert len(traces) == 6
        return traces["estimate"].abs().max()

    assert size((3000, 1500)) < 5e-3
    assert size((60, 60)) > 5e-2


def test_draws_are_not_animals():
    starts = networks(6)
    result = training_order(starts, SLOW, FAST, RULE, 60, draw=range(6))
    assert set(result.tests["verdict"]) == {"not tested"}
    assert "not tested over networks" in result.statement
    assert (result.band["n_draws"] == 6).all()
    nested = training_order([starts[:3], starts[3:]], SLOW, FAST, RULE, 60)
    assert (nested.tests["n"] == "3").all()
    assert "draws" in set(nested.curves["kind"])


def test_random_trials_erf_and_workers():
    task = pl.FlipFlop(duration=5.0, dt=0.05, trials=3, wait=(1.0, 2.0))
    other = pl.DecisionMaking(duration=20.0, dt=0.1, trials=3)
    kwargs = {"nonlinearity": "erf", "seed": 2}
    one = training_order(networks(3), task, other.freeze(1), RULE, 10, n_jobs=1, **kwargs)
    two = training_order(networks(3), task, other.freeze(1), RULE, 10, n_jobs=2, **kwargs)
    assert one.tests.equals(two.tests)
    assert one.table.equals(two.table)
    order = one.tests[one.tests["family"] == "order AB minus BA"]
    assert (order["visibility"] == "loss-invisible").sum() == 3


def test_gradient_flow_agrees_with_small_steps():
    starts = networks(2)
    flow = training_order(starts, SLOW, FAST, pl.GradientFlow(), 0.75)
    steps = training_order(starts, SLOW, FAST, pl.GradientDescent(5e-4), 1500)
    a = flow.tests[flow.tests["family"] == "order AB minus BA"]["estimate"].to_numpy(dtype=float)
    b = steps.tests[steps.tests["family"] == "order AB minus BA"]["estimate"].to_numpy(dtype=float)
    assert a == pytest.approx(b, abs=5e-3)


def test_failed_networks():
    with pytest.raises(InputError, match="learning failed in every network"):
        training_order(networks(2), SLOW, FAST, pl.GradientDescent(80.0), 30)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"starts": []}, "at least one Overlaps"),
        ({"epochs": (1, 2, 3)}, "epochs must be one number or two"),
        ({"epochs": -1}, "epochs must be a positive"),
        ({"criterion": 2.0}, "criterion must be a number between 0 and 1"),
        ({"nonlinearity": "tahn"}, "nonlinearity must be one of"),
        ({"method": "ttest"}, "method must be one of"),
        ({"task_a": "filter"}, "task must have"),
    ],
)
def test_refusals(change, message):
    arguments = {
        "starts": networks(3), "task_a": SLOW, "task_b": FAST, "rule": RULE, "epochs": 5, **change,
    }  # fmt: skip
    names = ("starts", "task_a", "task_b", "rule", "epochs")
    positional = [arguments.pop(name) for name in names]
    with pytest.raises(InputError, match=message):
        training_order(*positional, **arguments)
