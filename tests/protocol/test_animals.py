"""Animals of their own, of arms of their own, and some that drop out."""

from __future__ import annotations

import numpy as np
import pytest
from test_mixtures import BASE, protocol
from typer.testing import CliRunner

import predictlearn as pl
from predictlearn.cli import app
from predictlearn.errors import InputError
from predictlearn.predictions import compare_arms
from predictlearn.protocol import Protocol
from predictlearn.protocol.engine import PHASE, _whole, stream
from predictlearn.protocol.work import animals_table

FACTORS = {
    "rate": {"distribution": "lognormal", "median": 1.0, "sd_log": 0.4},
    "noise": {"distribution": "gamma", "a": 4.0, "scale": 0.25},
    "epochs": {"distribution": "uniform", "low": 0.5, "high": 1.5},
}
A = {"phases": [{"name": "A", "task": "A", "epochs": 40}]}
DAYS = {"phases": [{"name": "A", "task": "A", "sessions": 8}]}
SESSIONS = {"trials": 20, "epochs_per_trial": 0.1}


def cohort(networks=4, **more):
    return {**BASE["cohort"], "networks": networks, **more}


def test_every_animal_learns_at_its_own_rate_with_its_own_noise_so_long():
    rule = {"rate": 0.005, "target_noise": 0.2}
    run = protocol(cohort=cohort(animals=FACTORS), rule=rule, arms={"x": A}).run(seed=5)
    own = run.animals.set_index("network")
    assert (own[["rate", "noise", "epochs"]].nunique() == 4).all()
    for number, start in enumerate(run.starts):
        animal = own.loc[number]
        direct = pl.learn(
            start, pl.Filter(decay=0.2, duration=3.0),
            pl.GradientDescent(0.005 * animal["rate"], target_noise=0.2 * animal["noise"]),
            round(40 * animal["epochs"]), seed=_whole(stream(5, number, PHASE, 0, 0)),
        )  # fmt: skip
        np.testing.assert_array_equal(run.curves("x")[number].dropna(), direct.losses)


def test_factors_follow_their_distributions():
    animals = {**FACTORS, "noise": {"distribution": "normal", "mean": 0.5, "sd": 1.0}}
    rule = {"rate": 0.005, "synaptic_noise": 0.0001}
    short = {"phases": [{"task": "A", "epochs": 1}]}
    one = protocol(cohort=cohort(animals=animals), rule=rule, arms={"x": short})
    own = animals_table(one.spec, 300, 1)
    log = np.log(own["rate"])
    assert np.mean(log) == pytest.approx(0.0, abs=4 * 0.4 / np.sqrt(300))
    assert np.std(log) == pytest.approx(0.4, rel=4 / np.sqrt(600))
    assert own["epochs"].between(0.5, 1.5).all()
    assert own["epochs"].mean() == pytest.approx(1.0, abs=4 * np.sqrt(1 / 12 / 300))
    # a normal that is cut off at zero: mean mu + sd phi(a) / (1 - Phi(a)), a = -mu / sd
    assert (own["noise"] > 0).all()
    assert own["noise"].mean() == pytest.approx(0.5 + 0.352065 / 0.691462, abs=0.16)


def test_one_distribution_more_changes_nothing_of_the_others():
    few = protocol(cohort=cohort(animals={"rate": FACTORS["rate"]}), arms={"x": A})
    many = protocol(cohort=cohort(7, animals={n: FACTORS[n] for n in ("rate", "epochs")}))
    drawn = [one.run(seed=2).animals["rate"].to_numpy()[:4] for one in (few, many)]
    np.testing.assert_array_equal(*drawn)
    assert (few.run(seed=2).animals[["noise", "epochs"]] == 1.0).all(axis=None)


def test_animals_start_from_overlaps_of_their_own():
    start = {"zm": {"distribution": "uniform", "low": -0.4, "high": 0.4}, "uu": 1.5}
    one = protocol(cohort=cohort(50, animals={"start": start}))
    starts = one.draw_starts(seed=0)
    drawn = np.array([each["zm"] for each in starts])
    assert np.abs(drawn).max() <= 0.4
    assert drawn.std() == pytest.approx(0.8 / np.sqrt(12), rel=0.3)
    assert {each["uu"] for each in starts} == {1.5}
    assert one.draw_starts(seed=0)[7]["zm"] == drawn[7]


def test_arms_of_different_animals():
    arms = {"a": A, "b": {**A, "description": "the same"}}
    run = protocol(cohort=cohort(5, design="between", spread=0.05), arms=arms).run(seed=0)
    assert run.n_networks == 10
    assert run.n_courses == 10
    table = run.table
    by_arm = {arm: set(table.loc[table["arm"] == arm, "network"]) for arm in arms}
    assert by_arm == {"a": {0, 2, 4, 6, 8}, "b": {1, 3, 5, 7, 9}}
    assert run.animals["arm"].tolist() == ["a", "b"] * 5
    starts = {start["zm"] for start in run.starts}
    assert len(starts) == 10
    assert set(run.final("b")) == by_arm["b"]
    compared = compare_arms(table, ["a", "b"], quantities=["loss"], paired=False)
    assert (compared["n_left_out"] == 0).all()
    last = compare_arms(table, ["a", "b"], quantities=["loss"], paired=False, epoch="last")
    ends = {arm: [run.curves(arm)[k].dropna().iloc[-1] for k in by_arm[arm]] for arm in arms}
    assert last["mean_first"].item() == pytest.approx(np.mean(ends["a"]), rel=1e-12)
    assert last["mean_second"].item() == pytest.approx(np.mean(ends["b"]), rel=1e-12)
    more = protocol(cohort=cohort(6, design="between", spread=0.05), arms=arms)
    assert more.draw_starts(seed=0)[3]["zm"] == run.starts[3]["zm"]
    with pytest.raises(InputError, match="as many for each of the 2 arms"):
        more.run(starts=run.starts[:3])


def test_animals_drop_out_when_the_table_says_so():
    table = [
        {"network": 0, "after_session": 3},
        {"network": 1, "after_epoch": 5},
        {"network": 2, "after_session": 8},
    ]
    arms = {"x": {"phases": [*DAYS["phases"], {"name": "B", "task": "B", "epochs": 4}]}}
    one = protocol(cohort=cohort(4, dropout={"table": table}), arms=arms, sessions=SESSIONS)
    run = one.run()
    rows = run.table[run.table["quantity"] == "loss"]
    ends = rows.groupby("network")[["session", "epoch"]].max()
    assert ends["session"].tolist() == [3, 3, 8, 8]
    assert ends["epoch"].tolist() == [6, 5, 16, 20]
    assert run.failed["reason"].tolist() == [
        "dropped out after session 3", "dropped out after epoch 5", "dropped out after session 8"
    ]  # fmt: skip
    gone = run.table[run.table["quantity"] == "dropped_out"].set_index("network")
    assert gone["epoch"].tolist() == [6, 5, 16]
    assert gone["phase"].tolist() == ["A", "A", "B"]
    assert np.isfinite(run.table["value"]).all()
    assert set(run.final("x")) == {3}
    whole = protocol(cohort=cohort(4), arms=arms, sessions=SESSIONS).run()
    np.testing.assert_array_equal(
        run.curves("x")[0].dropna(), whole.curves("x")[0].iloc[: len(run.curves("x")[0].dropna())]
    )


def test_who_is_through_does_not_drop_out():
    table = [
        {"network": 0, "after_epoch": 20},
        {"network": 1, "after_epoch": 19},
        {"network": 2, "after_epoch": 16},
    ]
    phases = [*DAYS["phases"], {"name": "seen", "probe": "B", "epochs": 4}]
    one = protocol(
        cohort=cohort(4, dropout={"table": table}),
        arms={"x": {"phases": phases}},
        sessions=SESSIONS,
    )
    run = one.run()
    assert run.failed["network"].tolist() == [1, 2]
    assert run.failed["epoch"].tolist() == [19, 16]
    assert set(run.final("x")) == {0, 3}


def test_who_drops_out_is_left_out_of_comparisons():
    dropout = {"table": [{"network": 0, "after_session": 3}, {"network": 5, "after_session": 8}]}
    arms = {"x": DAYS, "y": {**DAYS, "rule": {"rate": 0.02}}}
    run = protocol(cohort=cohort(6, dropout=dropout), arms=arms, sessions=SESSIONS).run()
    by_phase = compare_arms(run.table, ["x", "y"], summaries=("final",))
    at_last = compare_arms(run.table, ["x", "y"], epoch="last")
    kept = [k for k in range(6) if k != 0]
    for compared, left in ((by_phase, 1), (at_last, 1)):
        assert compared["n_left_out"].item() == left
        mean = run.curves("x")[kept].iloc[-1].mean()
        assert compared["mean_first"].item() == pytest.approx(mean, rel=1e-12)
    assert run.failed["network"].unique().tolist() == [0]  # the other one was through by then


def leaving(networks):
    return protocol(
        cohort=cohort(networks, dropout={"per_session": 0.1}), arms={"x": DAYS}, sessions=SESSIONS,
        record_every=10, evaluate=[],
    )  # fmt: skip


def test_animals_drop_out_at_the_rate_that_is_asked_for():
    run = leaving(150).run()
    left = 1 - len(run.failed) / 150
    expected = 0.9**7  # those that go on after seven of eight sessions
    assert left == pytest.approx(expected, abs=4 * np.sqrt(expected * (1 - expected) / 150))


def test_who_dropped_out_is_kept(tmp_path):
    one = leaving(6)
    run = one.run(output=tmp_path / "kept")
    assert not run.failed.empty
    again = one.run(output=tmp_path / "kept")
    assert again.table.equals(run.table)
    assert again.failed.equals(run.failed)
    assert (tmp_path / "kept" / "animals.csv").is_file()


def test_a_criterion_is_censored_where_an_animal_drops_out():
    phase = {"name": "A", "task": "A", "sessions": 8, "until": {"loss": 1e-9}}
    dropout = {"table": [{"network": 0, "after_session": 2}, {"network": 1, "after_epoch": 7}]}
    one = protocol(
        cohort=cohort(3, dropout=dropout), arms={"x": {"phases": [phase]}}, sessions=SESSIONS
    )
    rows = one.run().table
    rows = rows[rows["quantity"] == "criterion_reached"].set_index("network")
    assert rows["value"].tolist() == [0.0, 0.0, 0.0]
    assert rows["epoch"].tolist() == [4, 7, 16]


WRONG = [
    ({"design": "both"}, "must be one of 'within', 'between'"),
    ({"animals": {"rat": 1.0}}, "Did you mean 'rate'"),
    ({"animals": {"rate": "fast"}}, r"animals\.rate: this must be a number, or name a dist"),
    ({"animals": {"rate": {"distribution": "lognorml", "median": 1.0}}}, "Did you mean 'lognorm"),
    ({"animals": {"rate": {"distribution": "lognormal", "median": 1.0}}}, "needs sd_log"),
    ({"animals": {"rate": -1.0}}, r"animals\.rate: half of the draws at least must be positive"),
    ({"animals": {"start": {"zn": 0.1}}}, r"animals\.start\.zn: 'zn' is not one of the overlaps"),
    ({"animals": {"start": {"zm": 7.0}}}, "cohort.overlaps: .* are not realisable"),
    ({"animals": {"noise": 2.0}}, r"animals\.noise: no rule has noise to be multiplied"),
    ({"dropout": {}}, "dropout needs either per_session"),
    ({"dropout": {"per_session": 1.5}}, "must be less than 1"),
    ({"dropout": {"per_session": 0.1}}, r"dropout: animals drop out after sessions"),
    ({"dropout": {"table": [{"network": 9, "after_epoch": 1}]}}, r"networks 0 to 3; got 9"),
    ({"dropout": {"table": [{"network": 1}]}}, "either after_session or after_epoch"),
    ({"dropout": {"table": [{"network": 1, "after_epoch": 3}] * 2}}, "network 1 comes twice"),
]


@pytest.mark.parametrize(("content", "message"), WRONG)
def test_wrong_animals(content, message):
    with pytest.raises(InputError, match=message):
        protocol(cohort=cohort(**content))


def test_the_command_line_compares_different_animals(tmp_path):
    file = tmp_path / "groups.yaml"
    file.write_text("""\
name: groups
cohort:
  networks: 6
  overlaps: {zm: 0.1, vm: 0.2, zu: 0.1}
  spread: 0.05
  design: between
  animals: {rate: {distribution: lognormal, median: 1.0, sd_log: 0.3}}
tasks:
  A: {type: filter, decay: 0.2, duration: 3.0}
rule: {rate: 0.01}
arms:
  slow: {phases: [{name: A, task: A, epochs: 40}]}
  fast: {phases: [{name: A, task: A, epochs: 40}], rule: {rate: 0.03}}
evaluate: [A]
""")
    found = CliRunner().invoke(app, ["compare", str(file), "--jobs", "1"])
    assert found.exit_code == 0, found.output
    text = " ".join(found.output.split())
    assert "12 networks" in text
    assert "different animals, p corrected" in text
    assert "as many in each group" in text
    wrong = CliRunner().invoke(app, ["compare", str(file), "--method", "wilcoxon"])
    assert wrong.exit_code != 0
    assert "for arms of different animals must be one of 't', 'permutation'" in " ".join(
        wrong.output.split()
    )
    assert Protocol.load(file).run().n_networks == 12
