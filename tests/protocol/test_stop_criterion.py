"""Training to a criterion: against learning by hand, epoch by epoch."""

from __future__ import annotations

from functools import cache

import neuron_network
import numpy as np
import pytest
from test_mixtures import N, protocol, shown
from typer.testing import CliRunner

import predictlearn as pl
from predictlearn.cli import app
from predictlearn.errors import InputError

A, B = shown(0.2), shown(0.6)


def arm(until, task="A", epochs=400, **more):
    return {
        "phases": [{"name": "to criterion", "task": task, "epochs": epochs, "until": until}]
    } | more


def outcome(run, name="epochs_to_criterion", arm="x"):
    rows = run.table[(run.table["arm"] == arm) & (run.table["quantity"] == name)]
    return rows.set_index("network")["value"]


def losses_by_hand(start, epochs, on=None):
    """Return losses on A, and on other trials, of N neurons that learn A by plain loops."""
    world, parts = neuron_network.open_world(1, 1), start.loadings(N, 1)
    other = []
    if on is None:
        _, losses = neuron_network.factors_after(
            parts, None, world, *A, 0.05, 0.01, epochs, "through"
        )
        return losses, None
    for _ in range(epochs + 1):
        _, d = neuron_network.factors_after(parts, None, world, *on, 0.05, 0.01, 0, "through")
        other.append(d[0])
        after, losses = neuron_network.factors_after(
            parts, None, world, *A, 0.05, 0.01, 1, "through"
        )
        parts = pl.Loadings(*after)
    return losses, np.array(other)


@cache
def by_hand(number, epochs, with_b=False):
    """Return the losses of one network of the cohort of seed 0, whatever engine learns."""
    starts = protocol(arms={"x": arm({"loss": 0.3})}).draw_starts(seed=0)
    return losses_by_hand(starts[number], epochs, on=B if with_b else None)


@pytest.mark.parametrize("engine", ["theory", "network"])
@pytest.mark.parametrize("until", [{"loss": 0.3}, {"loss_fraction": 0.5}], ids=["loss", "fraction"])
def test_training_ends_at_the_first_epoch_at_or_below_the_loss(engine, until):
    more = {"engine": "network", "n_neurons": N} if engine == "network" else {}
    run = protocol(arms={"x": arm(until)}, record_every=7, **more).run(seed=0)
    for number in range(len(run.starts)):
        losses, _ = by_hand(number, 200)
        goal = until.get("loss", until.get("loss_fraction", 0) * losses[0])
        expected = int(np.argmax(losses <= goal))
        assert 0 < expected < 200
        assert outcome(run)[number] == expected
        curve = run.curves("x")[number].dropna()
        assert curve.index.get_level_values("phase_epoch")[-1] == expected
        assert curve.iloc[-1] == pytest.approx(losses[expected], rel=1e-10)
    assert (outcome(run, "criterion_reached") == 1).all()
    if "loss" in until:
        assert outcome(run).nunique() == 2  # networks end at epochs of their own


def test_what_is_not_reached_is_censored():
    run = protocol(arms={"x": arm({"loss": 1e-9}, epochs=20)}).run(seed=0)
    assert outcome(run).isna().all()
    assert (outcome(run, "criterion_reached") == 0).all()
    ends = run.curves("x").index.get_level_values("epoch")
    assert ends[-1] == 20
    assert set(run.final("x")) == {0, 1}
    assert run.final_table("x").columns.tolist() == list(run.overlap_names)


def test_what_is_reached_already_takes_no_epoch():
    for rule in ({"rate": 0.01}, {"type": "gradient-flow", "rate": 0.01}):
        run = protocol(arms={"x": arm({"loss": 50.0})}, rule=rule).run(seed=0)
        assert outcome(run).tolist() == [0.0, 0.0]
        start, end = run.start_table("x"), run.final_table("x")
        np.testing.assert_array_equal(start, end)


def test_later_phases_follow_at_once():
    arms = {"x": arm({"loss_fraction": 0.5})}
    arms["x"]["phases"].append({"name": "after", "task": "B", "epochs": 5})
    run = protocol(arms=arms).run(seed=0)
    taken = outcome(run)
    for number in (0, 1):
        rows = run.table[(run.table["network"] == number) & (run.table["phase"] == "after")]
        assert rows["epoch"].min() == taken[number]
        assert rows["epoch"].max() == taken[number] + 5


@pytest.mark.parametrize("every", [1, 4])
def test_the_criterion_may_be_on_another_task(every):
    until = {"loss_fraction": 0.8, "on": "B", "every": every}
    run = protocol(arms={"x": arm(until)}, record_every=3).run(seed=0)
    for number in range(len(run.starts)):
        _, other = by_hand(number, 60, with_b=True)
        at = np.arange(0, 61, every)
        expected = at[np.argmax(other[at] <= 0.8 * other[0])]
        assert 0 < expected < 60
        assert outcome(run)[number] == expected
        assert run.curves("x", "loss:B")[number].dropna().iloc[-1] == pytest.approx(
            other[expected], rel=1e-10
        )
    rows = run.table[run.table["quantity"] == "loss"]
    assert not rows.duplicated(["network", "phase_epoch"]).any()


def test_stretches_change_nothing_of_learning():
    plain = [{"name": "to criterion", "task": "A", "epochs": 24}]
    looked = arm({"loss": 1e-9, "on": "B", "every": 5}, epochs=24)
    run = protocol(arms={"x": looked, "y": {"phases": plain}}, record_every=4).run(seed=0)
    np.testing.assert_allclose(run.final_table("x"), run.final_table("y"), rtol=1e-12)


def test_gradient_flow_takes_the_time_that_it_takes():
    rule = {"type": "gradient-flow", "rate": 0.001}
    run = protocol(arms={"x": arm({"loss_fraction": 0.5}, epochs=4000)}, rule=rule).run(seed=0)
    slow = protocol(arms={"x": arm({"loss_fraction": 0.5}, epochs=4000)}, rule={"rate": 0.001})
    np.testing.assert_allclose(outcome(run), outcome(slow.run(seed=0)), rtol=0.02, atol=1)


def test_a_run_to_a_criterion_is_kept_and_does_not_depend_on_workers(tmp_path):
    one = protocol(arms={"x": arm({"loss": 0.3})})
    run = one.run(seed=0, output=tmp_path / "kept", n_jobs=2)
    again = one.run(seed=0, output=tmp_path / "kept")
    alone = one.run(seed=0)
    assert run.table.equals(alone.table)
    assert again.table.equals(alone.table)


def test_the_command_line_says_how_long_it_took(tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")
    file = tmp_path / "until.yaml"
    file.write_text("""\
name: until
cohort: {networks: 4, overlaps: {zm: 0.1, zu: 0.2, vm: 0.1}, spread: 0.1}
tasks:
  A: {type: filter, decay: 0.2, duration: 3.0}
rule: {rate: 0.01}
arms:
  slow: {phases: [{name: A, task: A, epochs: 400, until: {loss: 0.3}}]}
  fast: {phases: [{name: A, task: A, epochs: 400, until: {loss: 0.3}}], rule: {rate: 0.02}}
  short: {phases: [{name: A, task: A, epochs: 2, until: {loss: 0.3}}]}
""")
    found = CliRunner().invoke(app, ["run", str(file), "--jobs", "1"])
    assert found.exit_code == 0, found.output
    rows = [line.split() for line in found.output.splitlines()]
    assert [row[-3:] for row in rows if row[:2] == ["short", "A"]][-1] == ["0", "of", "4"]
    assert [row[-3:] for row in rows if row[:2] == ["slow", "A"]][-1] == ["4", "of", "4"]
    compared = CliRunner().invoke(app, ["compare", str(file), "--jobs", "1"])
    assert compared.exit_code == 0, compared.output
    assert "epochs_to_criterion" in compared.output
    assert "criterion_reached" not in compared.output
    pair = ["compare", str(file), "--arms", "slow", "short", "--jobs", "1"]
    censored = CliRunner().invoke(app, pair)
    assert censored.exit_code == 0, censored.output
    text = " ".join(censored.output.split())
    assert "not reached by 0 of 4 in slow, 4 of 4 in short" in text
    assert "censored at the end of their training" in text
    assert "curves of the criterion" in censored.output


WRONG = [
    (0.05, r"until: must be a mapping of keys to values; got 0\.05$"),
    ({}, "until needs either loss, or loss_fraction"),
    ({"loss": 1.0, "loss_fraction": 0.5}, "until needs either loss, or loss_fraction"),
    ({"loss": 0.0}, "until.loss: must be greater than 0"),
    ({"loss_fraction": 1.0}, "must be less than 1"),
    ({"los": 1.0}, "Did you mean 'loss'"),
    ({"loss": 1.0, "every": 5}, "every goes with on"),
    ({"loss": 1.0, "on": "a"}, r"until\.on: 'a' is not one of the tasks: A, B. Did you mean 'A'"),
]


@pytest.mark.parametrize(("until", "message"), WRONG)
def test_wrong_criteria(until, message):
    with pytest.raises(InputError, match=message):
        protocol(arms={"x": arm(until)})


def test_what_a_rule_carries_along_cannot_be_looked_at_in_between():
    until = {"loss": 1.0, "on": "B"}
    for rule, said in (
        ({"momentum": 0.5}, "momentum would begin anew"),
        ({"schedule": [1.0, 0.5], "momentum": 0.1}, "momentum and schedule would"),
    ):
        with pytest.raises(InputError, match=said):
            protocol(arms={"x": arm(until, rule=rule)})
    adam = arm(until, rule={"type": "adam", "rate": 0.001}, engine="network", n_neurons=20)
    with pytest.raises(InputError, match="the running means of adam"):
        protocol(arms={"x": adam})
    with pytest.raises(InputError, match="until does not go with probe"):
        protocol(arms={"x": {"phases": [{"probe": "A", "until": {"loss": 1.0}}]}})
