"""``predictlearn compare`` of networks that may never reach a criterion."""

from __future__ import annotations

import html
import re
import shlex
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from test_cli import invoke

import predictlearn as pl
from predictlearn import statistics as st
from predictlearn.comparing.criterion import criterion_waits
from predictlearn.comparing.waits import known_until
from predictlearn.errors import InputError

pytestmark = pytest.mark.quick


def compare(line: str, *more: object):
    return invoke("compare", *shlex.split(line), *more)


PROTOCOL = """\
name: until
cohort:
  networks: 6
  overlaps: {zm: 0.1, zu: 0.2, vm: 0.1}
  spread: 0.1
  animals: {rate: {distribution: lognormal, median: 1.0, sd_log: 0.6}}
tasks:
  A: {type: filter, decay: 0.2, duration: 3.0}
rule: {rate: 0.01}
arms:
  slow: {phases: [&to {name: A, task: A, epochs: 60, until: {loss: 0.3}}, {probe: A}]}
  fast: {phases: [*to, {probe: A}], rule: {rate: 0.02}}
  short: {phases: [{name: A, task: A, epochs: 2, until: {loss: 0.01}}]}
  shorter: {phases: [{name: A, task: A, epochs: 3, until: {loss: 0.01}}]}
evaluate: [A]
record_every: 10
"""
GROUPS = PROTOCOL.replace(
    "  networks: 6\n",
    "  design: between\n  sizes: {slow: 5, fast: 8, short: 2, shorter: 2}\n"
    "  dropout: {table: [{network: 0, after_epoch: 4}]}\n",
)


@pytest.fixture
def protocols(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "within.yaml").write_text(PROTOCOL)
    (tmp_path / "groups.yaml").write_text(GROUPS)


def waits_of(run, arms=("fast", "slow")):
    """Epochs and whether the loss got there, from the losses alone."""
    rows = []
    for arm in arms:
        table = run.table[(run.table["arm"] == arm) & (run.table["phase"] == "A")]
        for network, mine in table.groupby("network"):
            loss = mine[mine["quantity"] == "loss"].sort_values("epoch")
            got = bool(loss["value"].iloc[-1] <= 0.3)
            rows.append((network, arm, float(loss["phase_epoch"].iloc[-1]), int(got)))
    return pd.DataFrame(rows, columns=["subject", "arm", "epochs", "reached"])


@pytest.mark.parametrize("file", ["within", "groups"])
def test_networks_that_never_reach_a_criterion_are_censored(protocols, file):
    line = f"{file}.yaml --outcome epochs_to_criterion --arms fast slow --jobs 1 --output page"
    result = compare(line)
    assert result.exit_code == 0, result.output
    paired = file == "within"
    run = pl.Protocol.load(f"{file}.yaml").run(seed=0)
    expected = waits_of(run)
    assert 0 < expected["reached"].sum() < len(expected)
    test = st.compare_survival(
        expected, time="epochs", reference="slow", paired=paired, unit="epochs"
    )
    found = pd.read_csv("page/tables/comparison.csv")
    assert found["name"].tolist() == test["name"].tolist()
    assert found["p"].tolist() == pytest.approx(test["p"].tolist())
    assert found["estimate"].tolist() == pytest.approx(test["estimate"].tolist(), rel=1e-6)
    shown = pd.read_csv("page/tables/animals.csv")
    assert len(shown) == len(expected)
    assert shown["reached"].sum() == expected["reached"].sum()
    assert sorted(shown["value"]) == sorted(expected["epochs"])
    gone = expected[expected["reached"] == 0].groupby("arm")["reached"].size()
    total = expected.groupby("arm").size()
    text = " ".join(result.output.split())
    for arm in ("fast", "slow"):
        assert f"{gone.get(arm, 0)} of {total[arm]} in {arm}" in text
    assert "censored at the end of their training" in text
    if not paired:
        # dropped out in the phase: seen for four epochs without reaching it
        lost = expected[(expected["subject"] == 0) & (expected["arm"] == "slow")]
        assert lost[["epochs", "reached"]].to_numpy().tolist() == [[4.0, 0.0]]


def test_power_of_networks_that_wait(protocols):
    line = "within.yaml --outcome epochs_to_criterion --arms fast slow --jobs 1 --simulations 10"
    result = compare(f"{line} --animals 8 --effect 2")
    assert result.exit_code == 0, result.output
    assert "power with 8 pairs" in result.output


def test_all_outcomes_of_networks_that_wait_fit_a_terminal(protocols):
    result = compare("groups.yaml --arms fast slow --jobs 1 --output page")
    assert result.exit_code == 0, result.output
    assert "…" not in result.output
    found = pd.read_csv("page/comparison.csv").set_index("quantity")
    assert np.isnan(found.loc["epochs_to_criterion", "animals_needed"])
    shown = html.unescape(re.sub("<[^>]*>", " ", Path("page/index.html").read_text("utf-8")))
    text = " ".join(shown.split())
    assert "censored at the end of their training" in text
    assert "log-rank test p =" in text
    assert "`" not in text
    assert "--outcome epochs_to_criterion --animals N --effect H" in text
    assert "predictlearn compare groups.yaml --arms fast slow" in text


def test_with_nobody_at_the_criterion_there_is_one_message(protocols):
    line = "within.yaml --outcome epochs_to_criterion --arms short shorter --jobs 1"
    result = compare(line)
    assert result.exit_code == 2
    text = " ".join(result.output.split())
    assert "none of the 12 courses of short, shorter reached the criterion of phase 'A'" in text
    assert "within 3 epochs; train longer, or to an easier criterion (until)" in text
    assert result.output.count("Error:") == 1
    whole = compare("within.yaml --outcome epochs_to_criterion --jobs 1")
    assert whole.exit_code == 0, whole.output
    text = " ".join(whole.output.split())
    assert "short minus shorter is left out: nobody reached the criterion" in text


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("--test t", "go with --test survival; got --test t"),
        ("--margin 5", "go with --test survival; got --margin"),
        ("--epoch 20", "--epoch does not go with epochs_to_criterion"),
    ],
)
def test_other_tests_of_waits_that_were_cut_short_are_refused(protocols, more, said):
    result = compare(f"within.yaml --outcome epochs_to_criterion --arms fast slow --jobs 1 {more}")
    assert result.exit_code == 2
    assert said in " ".join(result.output.split())


def test_survival_is_of_a_criterion(protocols):
    result = compare("within.yaml --outcome loss:A --test survival --arms fast slow --jobs 1")
    assert result.exit_code == 2
    text = " ".join(result.output.split())
    assert "--test survival of protocols is of --outcome epochs_to_criterion" in text


def rows_of(arm, network, phase, epochs, value):
    return {"arm": arm, "network": network, "phase": phase, "epoch": epochs + 100,
            "phase_epoch": epochs, "quantity": "epochs_to_criterion", "value": value}  # fmt: skip


def test_the_last_phase_with_a_criterion_counts_and_who_never_got_there_is_named():
    table = pd.DataFrame(
        [
            rows_of("a", 0, "first", 10, 10.0),
            rows_of("a", 0, "again", 30, np.nan),
            rows_of("a", 1, "first", 20, np.nan),
            {**rows_of("a", 1, "first", 20, 1.0), "quantity": "dropped_out"},
            rows_of("a", 2, "first", 5, 5.0),
            rows_of("a", 2, "again", 7, 7.0),
        ]
    )
    found, missing = criterion_waits(table)
    assert found["network"].tolist() == [0, 2]
    assert found["value"].tolist() == [30.0, 7.0]
    assert found["criterion not reached"].tolist() == [1.0, 0.0]
    assert list(missing) == ["a"]
    assert "1 of 3 networks of a dropped out before phase 'again' or diverged" in missing["a"]
    other = pd.concat([table, pd.DataFrame([{**rows_of("b", 0, "p", 3, 1.0), "quantity": "uu"}])])
    with pytest.raises(InputError, match="no phase of arm 'b' trains to a criterion"):
        criterion_waits(other)


def test_curves_are_known_as_long_as_somebody_waits_or_nobody_does():
    yes, no = np.array([True, True]), np.array([True, False])
    a, b = np.array([3.0, 5.0]), np.array([4.0, 9.0])
    assert known_until((a, b), (yes, no)) == 9.0
    assert known_until((a, b), (yes, yes)) == 9.0
    assert known_until((a, b), (no, yes)) == 5.0
    assert known_until((a, b), (no, no)) == 5.0


def test_networks_without_a_value_are_named(protocols):
    Path("lost.yaml").write_text(GROUPS.replace("after_epoch: 4", "after_epoch: 30"))
    result = compare("lost.yaml --outcome loss:A --arms fast slow --jobs 1")
    assert result.exit_code == 0, result.output
    text = " ".join(result.output.split())
    assert "1 of 5 networks of slow have no loss:A there" in text
    assert "4 in slow" in text
    other = compare("lost.yaml --outcome loss:A --arms fast short --jobs 1")
    assert "have no loss:A there" not in " ".join(other.output.split())
