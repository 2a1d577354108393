"""Comparison of protocol arms from a tidy table."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from predictlearn.errors import InputError
from predictlearn.predictions import compare_arms
from predictlearn.predictions.arms import comparable_quantities, summarise_arms
from predictlearn.statistics import paired_comparison, two_sample_comparison

pytestmark = pytest.mark.quick


def tidy(shift, n=8, seed=0):
    """Return a table of arms whose losses differ by a shift."""
    rng = np.random.default_rng(seed)
    level, epochs = rng.normal(3.0, 0.5, n), np.arange(5)
    rows = []
    for arm, gap in shift.items():
        for network in range(n):
            course = level[network] + gap + rng.normal(0, 0.1) - 0.2 * epochs
            rows += [
                {"arm": arm, "network": network, "phase": phase, "epoch": int(e),
                 "quantity": quantity, "value": float(v)}
                for phase in ("learn A", "learn B")
                for quantity in ("loss", "uu")
                for e, v in zip(epochs, course, strict=True)
            ]  # fmt: skip
    return pd.DataFrame(rows)


TABLE = tidy({"AB": 0.0, "BA": 0.3, "rest": 0.0})


def test_every_pair_phase_and_summary_is_compared_once():
    result = compare_arms(TABLE, quantities=("loss", "uu"))
    assert len(result) == 3 * 2 * 2 * 2
    assert (result["family_size"] == 24).all()
    assert set(zip(result["first"], result["second"], strict=True)) == {
        ("AB", "BA"), ("AB", "rest"), ("BA", "rest"),
    }  # fmt: skip


def test_values_are_those_of_the_underlying_tests():
    result = compare_arms(TABLE, ["AB", "BA"], summaries=["final"])
    last = TABLE[(TABLE["epoch"] == 4) & (TABLE["quantity"] == "loss")]
    last = last[last["phase"] == "learn A"].pivot(index="network", columns="arm", values="value")
    expected = paired_comparison(last["AB"], last["BA"])
    row = result[result["phase"] == "learn A"].iloc[0]
    assert row["p"] == pytest.approx(expected.p)
    assert row["effect"] == pytest.approx(expected.effect)
    assert row["verdict"] == "different"
    unpaired = compare_arms(TABLE, ["AB", "BA"], summaries=["final"], paired=False)
    assert unpaired["p"].iloc[0] == pytest.approx(two_sample_comparison(last["AB"], last["BA"]).p)
    assert unpaired["animals_needed"].iloc[0] > row["animals_needed"]


def test_mean_is_over_time_and_divergence_is_infinite():
    table = TABLE.copy()
    table.loc[(table["arm"] == "AB") & (table["network"] == 2) & (table["epoch"] == 3), "value"] = (
        math.inf
    )
    summary = summarise_arms(table, ["loss"], ["mean"])
    bad = summary[(summary["arm"] == "AB") & (summary["network"] == 2)]
    assert np.isinf(bad["value"]).all()
    result = compare_arms(table)
    assert (result.loc[result["first"] == "AB", "n_left_out"] == 1).all()
    assert (result.loc[result["first"] == "AB", "n"] == "7").all()
    assert (result.loc[result["first"] == "BA", "n_left_out"] == 0).all()


def test_identical_arms_are_labelled():
    same = TABLE[TABLE["arm"] == "AB"]
    both = pd.concat([same, same.assign(arm="copy")])
    result = compare_arms(both)
    assert (result["p"] == 1).all()
    assert np.isinf(result["animals_needed"]).all()
    assert result["degenerate"].str.contains("spread is zero").all()


def test_phases_of_one_arm_only_are_skipped():
    table = TABLE[~((TABLE["arm"] == "rest") & (TABLE["phase"] == "learn B"))]
    result = compare_arms(table)
    rest = result[result["second"] == "rest"]
    assert set(rest["phase"]) == {"learn A"}


def test_at_one_epoch():
    result = compare_arms(TABLE, quantities={"losses": ["loss"], "overlaps": ["uu"]}, epoch=2.2)
    assert set(result["family"]) == {"losses", "overlaps"}
    assert (result["family_size"] == 3).all(), "each family is corrected by itself"
    assert (result[["epoch_first", "epoch_second"]] == 2).all(axis=None)
    there = TABLE[(TABLE["epoch"] == 2) & (TABLE["quantity"] == "uu")]
    wide = there[there["phase"] == "learn A"].pivot(index="network", columns="arm", values="value")
    row = result.set_index(["first", "second", "quantity"]).loc[("AB", "BA", "uu")]
    assert row["estimate"] == pytest.approx((wide["AB"] - wide["BA"]).mean())
    assert row["mean_first"] == pytest.approx(wide["AB"].mean())
    last = compare_arms(TABLE, ["AB", "BA"], epoch="last").iloc[0]
    assert (last["epoch_first"], last["n_left_out"]) == (4, 0)
    assert last["name"] == "AB minus BA, loss at epoch 4"


def test_at_one_epoch_networks_that_failed_anywhere_are_left_out():
    table = TABLE.copy()
    lost = (table["arm"] == "AB") & (table["network"] == 2)
    table.loc[lost & (table["epoch"] == 1), "value"] = math.inf
    result = compare_arms(table, epoch="last")
    assert result["n_left_out"].tolist() == [1, 1, 0]
    assert result["n"].tolist() == ["7", "7", "8"]


def test_losses_of_different_tasks_are_not_compared():
    table = TABLE.assign(task=np.where(TABLE["arm"] == "AB", "B", "A"))
    assert comparable_quantities(TABLE, ("AB", "BA")) == ("loss", "uu")
    assert comparable_quantities(table, ("AB", "BA")) == ("uu",)
    assert comparable_quantities(table, ("BA", "rest")) == ("loss", "uu")
    with pytest.raises(InputError, match="of different tasks there"):
        compare_arms(table, ["AB", "BA"], epoch="last")
    assert len(compare_arms(table, ["AB", "BA"], quantities=["uu"], epoch="last")) == 1


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: compare_arms(TABLE.drop(columns="phase")), "missing: phase"),
        (lambda: compare_arms(TABLE, ["AB", "BB"]), "an arm must be one of"),
        (lambda: compare_arms(TABLE, ["AB"]), "at least two arms"),
        (lambda: compare_arms(TABLE, quantities=["los"]), "Did you mean 'loss'"),
        (lambda: compare_arms(TABLE, summaries=["median"]), "a summary must be one of"),
        (lambda: compare_arms(TABLE[TABLE["network"] == 0]), "at least 2 networks"),
        (lambda: compare_arms([1, 2]), "table must have the columns"),
        (lambda: compare_arms(TABLE, epoch=5), r"epoch must be in 0\.\.4, as arm 'AB'; got 5"),
        (lambda: compare_arms(TABLE, epoch=-1), "epoch must be in 0"),
        (lambda: compare_arms(TABLE, epoch="lst"), "Did you mean 'last'"),
        (lambda: compare_arms(TABLE.assign(value=math.nan), epoch=1), "none got through 'AB'"),
        (lambda: comparable_quantities(TABLE, ("AB", "BB")), "an arm must be one of"),
    ],
)
def test_refusals(call, message):
    with pytest.raises(InputError, match=message):
        call()
