"""Perturbation exposure: equivalence before, divergence during, and the account by overlap."""

from __future__ import annotations

import math
import pickle

import numpy as np
import pytest
from scipy.integrate import trapezoid

import predictlearn as pl
from predictlearn.errors import InputError
from predictlearn.predictions import Prediction, perturbation_exposure
from predictlearn.predictions.exposure.pairs import mean_loss_over
from predictlearn.predictions.learning_speed import (
    learning_speed,
    probe_trials,
    speed_contributions,
)

TASK = pl.Filter(duration=10.0)
RULE = pl.GradientDescent(5e-3)
CHANGES = {"uu": 2.05, "mu": 0.8}


def networks(n, seed=0, size=0.1):
    """Return rank-one networks of unit norms and small cross overlaps."""
    values = np.random.default_rng(seed).uniform(0, size, (n, 3))
    return [pl.Overlaps(np.eye(4)).replace(zu=a, vm=b, vu=c) for a, b, c in values]


@pytest.fixture(scope="module")
def result():
    return perturbation_exposure(
        networks(8), TASK, RULE, 400, changes=CHANGES, animal_sd=0.05, n_neurons=60
    )


def test_is_a_frozen_labelled_prediction(result):
    assert isinstance(result, Prediction)
    with pytest.raises(AttributeError):
        result.seed = 1
    with pytest.raises(TypeError):
        result.settings["margin"] = 1
    again = pickle.loads(pickle.dumps(result))
    assert again.statement == result.statement
    assert dict(again.settings) == dict(result.settings)
    assert list(result.curves.columns) == [
        "arm", "quantity", "epoch", "mean", "low", "high", "kind",
    ]  # fmt: skip


def test_equivalence_is_shown_by_an_equivalence_test(result):
    same = result.tests[result.tests["family"] == "equivalence before learning"]
    assert len(same) == 3
    assert set(same["verdict"]) == {"equivalent"}
    assert result.equivalent
    # linear twins are the same to rounding, which the result says instead of an infinite t
    assert same["degenerate"].str.contains("spread is zero").all()
    assert same["p"].to_numpy() == pytest.approx([2.0**-8] * 3)
    assert (same["high_bound"] == 0.05).all()


def test_divergence_is_corrected_and_in_shares_of_the_loss(result):
    apart = result.tests[result.tests["family"] == "divergence during learning"]
    assert apart["name"].iloc[0] == "area between learning curves"
    assert apart["name"].iloc[1:].tolist() == [f"loss at epoch {e}" for e in (40, 100, 200)]
    assert (apart["p_corrected"] >= apart["p"]).all()
    assert apart["significant"].iloc[0]
    assert (apart["simultaneous_low"] <= apart["low"]).all()
    # against an independent calculation for one network
    start = networks(8)[3]
    twin = pl.functionally_equivalent(start, **CHANGES)
    losses = [pl.learn(o, TASK, RULE, 400).loss for o in (start, twin)]
    gap = trapezoid((losses[1] - losses[0]) / losses[0].iloc[0]) / 400
    table = result.table
    row = table[
        (table["network"] == 3)
        & (table["arm"] == "difference")
        & (table["quantity"] == "mean loss over learning")
    ]
    assert row["value"].item() == pytest.approx(gap)


def test_account_is_exact_and_swaps_confirm_it(result):
    account = result.account
    assert set(account["overlap"]) == {"mu", "uu"}
    totals = account.groupby("network")["contribution"].sum()
    measured = account.groupby("network")["measured_total"].first()
    assert totals.to_numpy() == pytest.approx(measured.to_numpy(), rel=1e-5)
    swapped = account[account["swap"] == "realisable"]
    assert len(swapped) == len(account)
    assert swapped["swap_speed"].to_numpy() == pytest.approx(
        swapped["contribution"].to_numpy(), rel=1e-4
    )
    assert account.groupby("network")["share"].sum().to_numpy() == pytest.approx(np.ones(8))
    assert result.account_summary["share"].sum() == pytest.approx(1.0)


@pytest.mark.parametrize("nonlinearity", ["linear", "erf"])
def test_speed_formula_agrees_with_the_loss_itself(nonlinearity):
    start = networks(1, seed=3, size=0.4)[0]
    task = pl.FlipFlop(duration=5.0, dt=0.05, trials=4, wait=(1.0, 2.0)).freeze(0)
    probes = probe_trials(task, 0)
    for rule in (
        pl.GradientFlow(),
        pl.GradientDescent(0.1, pathway_rates={"z": 0.0, "m": 2.0}),
    ):
        formula, measured = learning_speed(start, probes, rule, nonlinearity)
        assert formula == pytest.approx(measured, rel=1e-4)
        assert formula > 0


def test_speed_formula_agrees_with_a_small_step_of_learning():
    start = networks(1, seed=4)[0]
    twin = pl.functionally_equivalent(start, **CHANGES)
    account = speed_contributions(start, twin, probe_trials(TASK, 0), pl.GradientFlow())
    rate = 1e-6
    speeds = []
    for overlaps in (start, twin):
        loss = pl.learn(overlaps, TASK, pl.GradientDescent(rate), 1).loss
        speeds.append((loss.iloc[0] - loss.iloc[1]) / rate)
    assert account["contribution"].sum() == pytest.approx(speeds[1] - speeds[0], rel=1e-3)


def test_unrealisable_swap_is_labelled():
    start = pl.Overlaps(np.eye(4)).replace(zu=0.1, vm=0.1)
    twin = pl.functionally_equivalent(start, uu=2.05, mu=1.3)  # mu alone would exceed sqrt(mm uu)
    account = speed_contributions(start, twin, probe_trials(TASK, 0), RULE).set_index("overlap")
    assert account.loc["mu", "swap"] == "not realisable"
    assert math.isnan(account.loc["mu", "swap_speed"])
    assert account.loc["uu", "swap"] == "realisable"
    assert math.isfinite(account.loc["mu", "contribution"])


def test_rank_two_and_two_inputs():
    rng = np.random.default_rng(0)
    starts = [
        pl.Overlaps.from_loadings(*(rng.normal(size=(200, k)) for k in (2, 2, 2, 1)))
        for _ in range(4)
    ]
    inputs = rng.normal(size=(3, 40, 2))
    targets = np.cumsum(inputs[..., :1], axis=1) * 0.05
    task = pl.ArrayTask(inputs, targets, np.full((3, 40, 1), 0.01), 0.05)
    partners = [pl.functionally_equivalent(start, zz=start["zz"] * 2) for start in starts]
    result = perturbation_exposure(
        starts, task, pl.GradientDescent(0.02), 50, partners=partners, n_neurons=40
    )
    assert result.equivalent is not None
    assert set(result.account["overlap"]) == {"zz"}
    assert result.account["contribution"].to_numpy() == pytest.approx(
        result.account["measured_total"].to_numpy(), rel=1e-4
    )


def test_erf_networks_are_equivalent_within_a_margin_at_finite_n():
    rng = np.random.default_rng(5)
    starts = [
        pl.Overlaps(np.eye(4)).replace(zu=a, vm=b, vu=0.5, zm=0.3)
        for a, b in rng.uniform(0.2, 0.4, (6, 2))
    ]
    task = pl.FlipFlop(duration=6.0, dt=0.05, trials=4, wait=(1.0, 2.0))
    result = perturbation_exposure(
        starts,
        task,
        pl.GradientDescent(0.05),
        30,
        changes={"zz": 2.0},
        nonlinearity="erf",
        n_neurons=2000,
        margin=0.1,
    )
    same = result.tests[result.tests["family"] == "equivalence before learning"]
    assert result.equivalent
    assert (same["degenerate"] == "").all()  # finite N: not identical, and still equivalent
    tight = perturbation_exposure(
        starts,
        task,
        pl.GradientDescent(0.05),
        2,
        changes={"zz": 2.0},
        nonlinearity="erf",
        n_neurons=20,
        margin=1e-6,
    )
    assert tight.equivalent is False
    assert "not shown to be equivalent" in tight.statement


def test_equivalent_learners_do_not_differ():
    # direct descent in the overlaps ignores the invisible ones: the contrast must be null
    result = perturbation_exposure(
        networks(5), TASK, pl.DirectDescent(5e-3), 50, changes=CHANGES, n_neurons=30
    )
    apart = result.tests[result.tests["family"] == "divergence during learning"]
    assert (apart["estimate"] == 0).all()
    assert (apart["p"] == 1.0).all()
    assert (apart["effect"] == 0).all()
    assert not apart["significant"].any()
    assert result.account["contribution"].abs().max() == 0
    assert np.isinf(result.animals["n"]).all()


def test_identical_networks_give_an_infinite_effect_that_is_reported():
    result = perturbation_exposure(
        networks(1) * 5, TASK, RULE, 50, changes=CHANGES, network=range(5), n_neurons=30
    )
    apart = result.tests[result.tests["family"] == "divergence during learning"]
    assert np.isinf(apart["effect"]).all()
    assert apart["p"].to_numpy() == pytest.approx(2.0**-4)
    assert apart["degenerate"].str.contains("infinite").all()
    assert (result.animals["n"] == 2).all()


def test_draws_are_not_animals():
    starts = networks(12)
    one = perturbation_exposure(
        starts, TASK, RULE, 60, changes=CHANGES, draw=range(12), n_neurons=30
    )
    assert set(one.tests["verdict"]) == {"not tested"}
    assert one.equivalent is None
    assert one.band["n_draws"].iloc[0] == 12
    assert one.band["low"].iloc[0] < one.band["mean"].iloc[0] < one.band["high"].iloc[0]
    assert "not tested over networks" in one.statement
    nested = perturbation_exposure(
        [starts[:4], starts[4:8], starts[8:]], TASK, RULE, 60, changes=CHANGES, n_neurons=30
    )
    apart = nested.tests[nested.tests["family"] == "divergence during learning"]
    assert (apart["n"] == "4").all()
    assert set(nested.curves["kind"]) == {"networks", "mean", "draws"}
    assert nested.band["n_draws"].iloc[0] == 3
    # a network's value is the mean of its draws
    flat = perturbation_exposure(starts, TASK, RULE, 60, changes=CHANGES, n_neurons=30)
    assert apart["estimate"].iloc[0] == pytest.approx(
        flat.tests.loc[flat.tests["name"] == "area between learning curves", "estimate"].item()
    )


def test_same_whatever_the_number_of_workers():
    kwargs = {"changes": CHANGES, "n_neurons": 30, "seed": 3}
    task = pl.FlipFlop(duration=5.0, dt=0.05, trials=3, wait=(1.0, 2.0))
    one = perturbation_exposure(networks(3), task, RULE, 20, n_jobs=1, **kwargs)
    two = perturbation_exposure(networks(3), task, RULE, 20, n_jobs=2, **kwargs)
    assert one.table.equals(two.table)
    assert one.tests.equals(two.tests)
    assert one.statement == two.statement
    other = perturbation_exposure(
        networks(3), task, RULE, 20, changes=CHANGES, n_neurons=30, seed=4
    )
    assert not one.table.equals(other.table)


def test_networks_that_fail_are_listed():
    start = pl.Overlaps(np.diag([0.2, 1.0, 1.0, 1.0])).replace(zu=0.1, vm=0.1)
    result = perturbation_exposure(
        [*networks(3), start], TASK, RULE, 20, changes=CHANGES, n_neurons=30
    )
    assert result.excluded["network"].tolist() == [3]
    assert "Reachable" in result.excluded["reason"].item()
    assert "1 of 4 networks were left out" in result.statement
    assert result.tests["n"].iloc[-1] == "3"
    with pytest.raises(InputError, match="no pair of equivalent networks is left"):
        perturbation_exposure([start], TASK, RULE, 20, changes=CHANGES)
    with pytest.raises(InputError, match="diverged"):
        perturbation_exposure(networks(2), TASK, pl.GradientDescent(50.0), 20, changes=CHANGES)


# of the same flow and descent as in test_training_order.py
@pytest.mark.slow
def test_gradient_flow_agrees_with_small_steps():
    kwargs = {"changes": CHANGES, "n_neurons": 30}
    flow = perturbation_exposure(networks(3), TASK, pl.GradientFlow(), 1.0, **kwargs)
    steps = perturbation_exposure(networks(3), TASK, pl.GradientDescent(1e-4), 10_000, **kwargs)
    assert flow.band["mean"].iloc[0] == pytest.approx(steps.band["mean"].iloc[0], rel=2e-2)
    # a flow has no epochs: its losses are named by learning time
    assert flow.tests["name"].str.contains("loss at learning time 0.5").any()
    assert not flow.tests["name"].str.contains("epoch").any()
    assert steps.tests["name"].str.contains("loss at epoch 5000").any()


def test_changes_may_depend_on_the_network():
    result = perturbation_exposure(
        networks(3), TASK, RULE, 20, changes=lambda o: {"uu": 1.5 * o["uu"]}, n_neurons=30
    )
    assert set(result.account["overlap"]) == {"uu"}
    assert result.account["change"].to_numpy() == pytest.approx([0.5] * 3)


def test_number_of_animals_follows_the_stated_spread(result):
    stated = result.animals[result.animals["spread"] == "stated"].set_index("design")
    gap = abs(
        result.tests.loc[result.tests["name"] == stated["outcome"].iloc[0], "estimate"].item()
    )
    from predictlearn.statistics import animals_needed

    assert stated.loc["paired", "n"] == animals_needed(gap / 0.05).n
    assert stated.loc["two-sample", "n"] == animals_needed(gap / 0.05, design="two-sample").n


def test_mean_loss_is_a_time_average():
    steps = np.array([0.0, 1.0, 3.0])
    assert mean_loss_over(steps, np.array([1.0, 1.0, 1.0])) == pytest.approx(1.0)
    assert mean_loss_over(steps, np.array([0.0, 1.0, 3.0])) == pytest.approx(1.5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"starts": []}, "at least one Overlaps"),
        ({"starts": 3}, "must be a sequence of Overlaps"),
        ({"starts": [np.eye(4)]}, "must hold Overlaps"),
        ({"starts": [*networks(1), pl.Overlaps(np.eye(6), rank=2)]}, "same n_in, rank"),
        ({"changes": None}, "either changes"),
        ({"changes": {"zm": 1.0}}, "an overlap of changes must be one of"),
        ({"changes": {"uv": 1.0}}, "an overlap of changes must be one of"),
        ({"changes": {}}, "changes must map"),
        ({"changes": None, "partners": networks(2)}, "one network per start"),
        ({"changes": None, "partners": networks(3, seed=9)}, "not functionally equivalent"),
        ({"checkpoints": [1000]}, "checkpoints must lie in"),
        ({"margin": -0.1}, "margin must be a positive"),
        ({"epochs": 0}, "epochs must be a positive"),
        ({"nonlinearity": "relu"}, "nonlinearity must be one of"),
        ({"correction": "bonferoni"}, "correction must be one of"),
        ({"draw": [1]}, "draw must have one label per start"),
        ({"network": [1, 1, 1]}, "only once in each draw"),
        ({"seed": -2}, "seed must be"),
        ({"animal_sd": 0.0}, "animal_sd must be a positive"),
        ({"n_neurons": 1}, "n_neurons must be"),
        ({"rule": "descent"}, "rule must be"),
    ],
)
def test_refusals(change, message):
    arguments = {
        "starts": networks(3), "task": TASK, "rule": RULE, "epochs": 10, "changes": CHANGES,
        "n_neurons": 30, **change,
    }  # fmt: skip
    positional = [arguments.pop(name) for name in ("starts", "task", "rule", "epochs")]
    with pytest.raises(InputError, match=message):
        perturbation_exposure(*positional, **arguments)
