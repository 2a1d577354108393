"""Groups of unequal size, and animals with numbers of sessions of their own."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from test_mixtures import BASE, protocol
from typer.testing import CliRunner

import predictlearn as pl
from predictlearn.cli import app
from predictlearn.errors import InputError
from predictlearn.predictions import compare_arms
from predictlearn.protocol.bounds import rows_of

A = {"phases": [{"name": "A", "task": "A", "epochs": 12}]}
ARMS = {"control": A, "lesion": {**A, "rule": {"rate": 0.02}}, "sham": A}
SESSIONS = {"trials": 20, "epochs_per_trial": 0.1}
DAYS = {"phases": [{"name": "A", "task": "A", "sessions": 6}]}


def groups(sizes, arms=ARMS, **more):
    cohort = {**BASE["cohort"], "design": "between", "sizes": sizes, **more.pop("cohort", {})}
    cohort.pop("networks")
    return protocol(cohort=cohort, arms=arms, **more)


def own(sessions, arms=None, networks=6, **more):
    cohort = {**BASE["cohort"], "networks": networks, "animals": {"sessions": sessions}}
    return protocol(cohort=cohort, arms=arms or {"x": DAYS}, sessions=SESSIONS, **more)


def members(run, arm):
    return sorted(run.table.loc[run.table["arm"] == arm, "network"].unique())


def test_every_group_has_the_size_that_is_written():
    run = groups({"control": 2, "lesion": 5, "sham": 3}).run(seed=0)
    assert run.n_networks == run.n_courses == 10
    # arms in turn, as long as they have more
    assert members(run, "control") == [0, 3]
    assert members(run, "lesion") == [1, 4, 6, 8, 9]
    assert members(run, "sham") == [2, 5, 7]
    assert run.animals.groupby("arm")["network"].count().to_dict() == {
        "control": 2, "lesion": 5, "sham": 3,
    }  # fmt: skip
    assert [len(run.final(arm)) for arm in ARMS] == [2, 5, 3]
    compared = compare_arms(
        run.table, ["lesion", "control"], quantities=["loss"], paired=False, epoch="last"
    ).iloc[0]
    ends = {
        arm: np.array([run.curves(arm)[k].dropna().iloc[-1] for k in members(run, arm)])
        for arm in ARMS
    }
    assert compared["n"] == "5 + 2"
    assert compared["n_left_out"] == 0
    gap = ends["lesion"].mean() - ends["control"].mean()
    assert compared["estimate"] == pytest.approx(gap, rel=1e-12)


def test_the_arm_of_each_animal_is_in_the_folder_of_a_run(tmp_path):
    groups({"control": 2, "lesion": 3, "sham": 2}).run(output=tmp_path / "kept")
    kept = pd.read_csv(tmp_path / "kept" / "animals.csv")
    assert kept["network"].tolist() == list(range(7))
    assert kept["arm"].value_counts().to_dict() == {"lesion": 3, "control": 2, "sham": 2}


def test_equal_sizes_are_what_networks_gives():
    same = dict.fromkeys(ARMS, 4)
    cohort = {**BASE["cohort"], "networks": 4, "design": "between"}
    by_networks = protocol(cohort=cohort, arms=ARMS).run(seed=3)
    by_sizes = groups(same).run(seed=3)
    assert by_sizes.table.equals(by_networks.table)
    assert by_sizes.animals.equals(by_networks.animals)


def test_an_animal_is_the_same_whatever_the_size_of_other_groups():
    rate = {"rate": {"distribution": "lognormal", "median": 1.0, "sd_log": 0.5}}
    rule = {"rate": 0.01, "target_noise": 0.2}
    few, many = (
        groups(sizes, cohort={"animals": rate}, rule=rule).run(seed=1)
        for sizes in (
            {"control": 3, "lesion": 2, "sham": 2},
            {"control": 3, "lesion": 6, "sham": 4},
        )
    )
    for arm in ARMS:
        # the k-th of an arm, by another number in the larger cohort
        for one, other in zip(members(few, arm), members(many, arm), strict=False):
            assert few.starts[one] == many.starts[other]
            assert few.animals["rate"][one] == many.animals["rate"][other]
            np.testing.assert_array_equal(few.curves(arm)[one], many.curves(arm)[other])
    assert len({start["zm"] for start in many.starts}) == 13
    assert many.animals["rate"].nunique() == 13


def test_starts_of_ones_own_fill_the_groups_in_turn():
    one = groups({"control": 2, "lesion": 4, "sham": 2})
    starts = one.draw_starts(seed=9)
    twice = one.run(seed=0, starts=[*starts, *starts])
    assert members(twice, "control") == [0, 3, 8, 11]
    assert twice.animals["arm"].value_counts().to_dict() == {
        "control": 4, "lesion": 8, "sham": 4,
    }  # fmt: skip
    with pytest.raises(InputError, match=r"starts must be 8, as many as the sizes.*; got 7"):
        one.run(starts=starts[:7])


def test_rows_are_those_of_each_group():
    long = {"phases": [{"name": "A", "task": "A", "epochs": 400}]}
    one = groups({"control": 2, "lesion": 8}, arms={"control": long, "lesion": A}, record_every=4)
    rows = len(one.run(seed=0).table)
    assert rows_of(one.spec, 10, one.sizes, 4) == pytest.approx(rows, rel=0.05)


def test_groups_are_kept_and_a_run_of_before_is_still_its_own(tmp_path):
    one = groups({"control": 2, "lesion": 3, "sham": 2})
    run = one.run(seed=0, n_jobs=2, output=tmp_path / "kept")
    assert run.table.equals(one.run(seed=0, output=tmp_path / "kept").table)
    with pytest.raises(InputError, match="holds the run of protocol"):
        groups({"control": 3, "lesion": 2, "sham": 2}).run(seed=0, output=tmp_path / "kept")
    # what decides the key of a folder names nothing that the file does not: old folders fit
    before = protocol(cohort={**BASE["cohort"], "design": "between"}, arms=ARMS)
    said = json.dumps(before._plain())
    assert "sizes" not in said
    assert '"sessions"' not in said


WRONG = [
    ({"control": 4, "lesoin": 3, "sham": 2}, {}, r"sizes\.lesoin: 'lesoin' is not one of the arms"),
    ({"control": 4, "lesoin": 3, "sham": 2}, {}, "Did you mean 'lesion'"),
    ({"control": 4, "sham": 2}, {}, "sizes: the size of 'lesion' is missing: every arm has one"),
    ({"control": 4, "lesion": 1, "sham": 2}, {}, r"sizes\.lesion: must be greater.* to 2; got 1"),
    ({"control": 4, "lesion": 2.5, "sham": 2}, {}, r"sizes\.lesion: must be a whole number"),
    ({}, {}, "sizes: must have at least 1"),
    (
        {"control": 4, "lesion": 3, "sham": 2},
        {"networks": 5},
        r"cohort\.networks: sizes says how many networks each arm has, 9 together.*; got 5",
    ),
    (
        {"control": 4, "lesion": 3, "sham": 2},
        {"design": "within"},
        "sizes: groups have sizes where arms are different animals, design: between",
    ),
    (
        {"control": 4, "lesion": 3, "sham": 2},
        {"dropout": {"table": [{"network": 9, "after_epoch": 1}]}},
        "there are networks 0 to 8; got 9",
    ),
]


@pytest.mark.parametrize(("sizes", "cohort", "message"), WRONG)
def test_wrong_sizes(sizes, cohort, message):
    base = {**BASE["cohort"], "design": "between"}
    base.pop("networks")
    with pytest.raises(InputError, match=message) as caught:
        protocol(cohort={**base, "sizes": sizes, **cohort}, arms=ARMS)
    assert len(str(caught.value).splitlines()) <= 2


def test_every_animal_has_so_many_sessions():
    phases = [
        {"name": "A", "task": "A", "sessions": 6},
        {"name": "night", "rest": 0.2},
        {"name": "B", "task": "B", "sessions": 3},
        {"name": "after", "task": "A", "epochs": 4},
    ]
    spec = {"distribution": "randint", "low": 2, "high": 9}
    run = own(spec, {"x": {"phases": phases}}).run(seed=4)
    assert run.failed.empty
    drawn = run.animals["sessions"].to_numpy()
    assert len(set(drawn)) > 2
    for network, many in enumerate(drawn):
        rows = run.table[(run.table["network"] == network) & (run.table["quantity"] == "loss")]
        first, second = min(many, 6), min(many, 3)
        trained = rows.groupby("phase")["epoch"].max() - rows.groupby("phase")["epoch"].min()
        assert trained["A"] == 2 * first
        assert trained["B"] == 2 * second
        assert trained["after"] == 4
        assert rows["session"].max() == first + second
    assert set(run.final("x")) == set(range(6))


def test_a_course_with_fewer_sessions_is_the_beginning_of_the_longer_one():
    long, short = own(6).run(seed=0), own(2).run(seed=0)
    for network in range(6):
        mine, whole = (run.curves("x")[network].dropna().to_numpy() for run in (short, long))
        np.testing.assert_array_equal(mine, whole[: len(mine)])
        assert len(mine) < len(whole)
    plain = protocol(
        cohort={**BASE["cohort"], "networks": 6}, arms={"x": DAYS}, sessions=SESSIONS
    ).run(seed=0)
    assert plain.table.equals(long.table)
    assert np.isinf(plain.animals["sessions"]).all()


def test_sessions_follow_their_distribution():
    one = own({"distribution": "poisson", "mu": 2.0}, networks=400, record_every=10, evaluate=[])
    spec = one.spec
    from predictlearn.protocol.engine import animal_of

    drawn = np.array([animal_of(spec, k, 5).sessions for k in range(400)])
    assert (drawn >= 1).all()
    assert (drawn % 1 == 0).all()
    # a Poisson without its zeros: mean mu / (1 - exp(-mu)), variance mean (1 + mu - mean)
    mean = 2 / (1 - np.exp(-2))
    assert drawn.mean() == pytest.approx(mean, abs=4 * np.sqrt(mean * (3 - mean) / 400))
    uniform = own({"distribution": "uniform", "low": 0.5, "high": 3.5}, networks=400)
    found = np.array([animal_of(uniform.spec, k, 5).sessions for k in range(400)])
    shares = np.bincount(found.astype(int), minlength=4)[1:] / 400
    assert shares == pytest.approx([1 / 3] * 3, abs=0.1)


def test_one_distribution_more_changes_nothing_of_rate_and_dropout():
    base = {**BASE["cohort"], "networks": 8, "dropout": {"per_session": 0.3}}
    rate = {"rate": {"distribution": "lognormal", "median": 1.0, "sd_log": 0.5}}
    both = {**rate, "sessions": {"distribution": "randint", "low": 1, "high": 6}}
    few, many = (
        protocol(cohort={**base, "animals": animals}, arms={"x": DAYS}, sessions=SESSIONS)
        .run(seed=2)
        .animals
        for animals in (rate, both)
    )
    names = ["rate", "last_session"]
    assert few[names].equals(many[names])


def test_a_criterion_is_censored_at_the_last_session_of_an_animal():
    phase = {"name": "A", "task": "A", "sessions": 6, "until": {"loss": 1e-9}}
    rows = own(3, {"x": {"phases": [phase]}}, networks=2).run(seed=0).table
    rows = rows[rows["quantity"] == "criterion_reached"]
    assert rows["value"].tolist() == [0.0, 0.0]
    assert rows["phase_epoch"].tolist() == [6, 6]


def test_who_has_no_more_sessions_does_not_drop_out():
    base = {**BASE["cohort"], "networks": 2, "animals": {"sessions": 3}}
    dropout = {"table": [{"network": 0, "after_session": 3}, {"network": 1, "after_session": 2}]}
    run = protocol(cohort={**base, "dropout": dropout}, arms={"x": DAYS}, sessions=SESSIONS).run(
        seed=0
    )
    assert run.failed["network"].tolist() == [1]


WRONG_SESSIONS = [
    (0, r"animals\.sessions: half of the draws at least must be 1 session or more"),
    (2.5, r"animals\.sessions: this must be a whole number of sessions; got 2\.5"),
    ("many", r"animals\.sessions: this must be a number, or name a distribution"),
    ({"distribution": "poison", "mu": 3}, "Did you mean 'poisson'"),
    ({"distribution": "poisson", "mu": 0.1}, "the median is 0"),
    (7, r"animals\.sessions: the phases have at most 6 sessions.*above 7"),
]


@pytest.mark.parametrize(("sessions", "message"), WRONG_SESSIONS)
def test_wrong_sessions(sessions, message):
    with pytest.raises(InputError, match=message):
        own(sessions)


def test_sessions_of_animals_need_phases_in_sessions():
    with pytest.raises(InputError, match=r"animals\.sessions: no phase is in sessions"):
        protocol(cohort={**BASE["cohort"], "animals": {"sessions": 3}}, arms={"x": A})


FILE = """\
name: lesions
cohort:
  overlaps: {zm: 0.1, vm: 0.2, zu: 0.1}
  spread: 0.05
  design: between
  sizes: {control: 3, lesion: 5, sham: 2}
  animals: {rate: {distribution: lognormal, median: 1.0, sd_log: 0.3}}
tasks:
  A: {type: filter, decay: 0.2, duration: 3.0}
rule: {rate: 0.01}
arms:
  control: {phases: [{name: A, task: A, epochs: 40}]}
  lesion: {phases: [{name: A, task: A, epochs: 40}], rule: {rate: 0.03}}
  sham: {phases: [{name: A, task: A, epochs: 40}]}
evaluate: [A]
"""


def test_the_command_line_takes_groups_of_unequal_size(tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lesions.yaml").write_text(FILE)
    ran = CliRunner().invoke(app, ["run", "lesions.yaml", "--jobs", "1", "--output", "run"])
    assert ran.exit_code == 0, ran.output
    assert "lesions: 10 networks" in ran.output
    one = CliRunner().invoke(app, ["compare", "lesions.yaml", "--jobs", "1"])
    assert one.exit_code == 0, one.output
    assert "control minus lesion, 8 networks" in one.output
    many = CliRunner().invoke(
        app, ["compare", "lesions.yaml", "--outcome", "loss:A", "--jobs", "1"]
    )
    assert many.exit_code == 0, many.output
    assert "animals: 5 in lesion, 2 in sham, 3 in control" in many.output or (
        "3 in control" in many.output and "5 in lesion" in many.output
    )
    equal = CliRunner().invoke(app, ["run", "lesions.yaml", "--networks", "2", "--jobs", "1"])
    assert equal.exit_code == 0, equal.output
    assert "lesions: 6 networks" in equal.output
    assert pl.Protocol.load("lesions.yaml").run().n_networks == 10


def test_the_line_of_a_wrong_size_is_said(tmp_path):
    file = tmp_path / "wrong.yaml"
    file.write_text(FILE.replace("sham: 2}", "shan: 2}"))
    with pytest.raises(InputError, match=r"line 6: cohort\.sizes\.shan: .*Did you mean 'sham'"):
        pl.Protocol.load(file)
