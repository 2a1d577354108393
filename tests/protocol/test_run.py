"""Running protocols: against `learn` itself, reproducible, resumable, and on given starts."""

from __future__ import annotations

import csv
import io
import json
import pickle

import numpy as np
import pandas as pd
import pytest

import predictlearn as pl
from predictlearn.errors import InputError
from predictlearn.protocol import Protocol
from predictlearn.protocol import work as experiment_module
from predictlearn.tasks import Filter

SMALL = {
    "name": "small",
    "cohort": {
        "networks": 3,
        "overlaps": {"zm": 0.1, "vm": 0.2, "uu": 1.2},
        "spread": 0.05,
    },
    "tasks": {
        "A": {"type": "filter", "decay": 0.2},
        "B": {"type": "flip-flop", "wait": [1, 2], "dt": 0.05, "trials": 2},
    },
    "rule": {"rate": 0.005},
    "arms": {
        "A-B": {"phases": [{"task": "A", "epochs": 25}, {"task": "B", "epochs": 20}]},
        "B-A": {
            "start_change": {"uu": 0.5},
            "phases": [{"task": "B", "epochs": 20}, {"task": "A", "epochs": 25}],
        },
    },
    "evaluate": ["A", "B"],
    "record_every": 10,
}


def small(**changes):
    return Protocol.from_dict({**SMALL, **changes})


@pytest.fixture(scope="module")
def result():
    return small().run(seed=4)


def value(result, arm, network, phase, phase_epoch, quantity):
    t = result.table
    rows = t[
        (t.arm == arm)
        & (t.network == network)
        & (t.phase == phase)
        & (t.phase_epoch == phase_epoch)
        & (t.quantity == quantity)
    ]
    assert len(rows) == 1
    return rows["value"].item()


# -- what the table holds ---------------------------------------------------------------------


def test_the_table_is_tidy(result):
    assert list(result.table.columns) == [
        "arm",
        "network",
        "phase",
        "task",
        "epoch",
        "phase_epoch",
        "quantity",
        "value",
    ]
    keys = ["arm", "network", "phase", "phase_epoch", "quantity"]
    assert not result.table.duplicated(keys).any()
    assert result.table["value"].notna().all()
    # 2 arms x 3 networks x [(4 + 3) kept epochs x (loss + 10 overlaps) + 2 x 2 x 2 evaluations]
    assert len(result.table) == 2 * 3 * (7 * 11 + 8)
    assert result.table["epoch"].dtype == "int64"
    assert result.failed.empty
    assert result.arms == ("A-B", "B-A")
    assert result.seed == 4
    assert result.settings["record_every"] == 10


def test_epochs_count_within_the_phase_and_since_the_start(result):
    rows = result.table[
        (result.table.arm == "A-B") & (result.table.network == 0) & (result.table.quantity == "zm")
    ]
    assert rows["phase_epoch"].tolist() == [0, 10, 20, 25, 0, 10, 20]
    assert rows["epoch"].tolist() == [0, 10, 20, 25, 25, 35, 45]
    assert rows["phase"].tolist() == ["1-A"] * 4 + ["2-B"] * 3
    # the end of a phase and the start of the next are the same network
    assert rows["value"].iloc[3] == rows["value"].iloc[4]


def test_a_phase_is_what_learn_gives(result):
    start = result.starts[1]
    t = pl.learn(start, Filter(decay=0.2), pl.GradientDescent(0.005), 25)
    for epoch in (0, 10, 20, 25):
        assert value(result, "A-B", 1, "1-A", epoch, "loss") == t.loss[epoch]
        for name in ("zm", "uu", "zv"):
            assert value(result, "A-B", 1, "1-A", epoch, name) == t.overlaps.loc[epoch, name]
    ended = value(result, "A-B", 1, "1-A", 25, "loss:A")
    assert ended == pytest.approx(pl.loss(t.final, Filter(decay=0.2).sample()), rel=1e-12)
    again = pl.learn(result.final("B-A")[1], Filter(decay=0.2), pl.GradientDescent(0.005), 1)
    assert value(result, "B-A", 1, "2-A", 25, "loss") == pytest.approx(again.loss[0], rel=1e-12)


def test_arms_start_from_equivalents_of_the_same_network(result):
    reference, changed = result.start_table("A-B"), result.start_table("B-A")
    np.testing.assert_allclose(changed["uu"] - reference["uu"], 0.5, atol=1e-12)
    others = [name for name in reference if name != "uu"]
    pd.testing.assert_frame_equal(reference[others], changed[others])
    for network in range(3):
        first = value(result, "A-B", network, "1-A", 0, "loss:B")
        assert value(result, "B-A", network, "1-B", 0, "loss:B") == pytest.approx(first, rel=1e-12)


def test_arms_are_paired_in_their_trials():
    # without learning (rate tiny) the losses of B over epochs are those of its trials alone
    same = small(
        rule={"rate": 1e-300},
        arms={
            "x": {"phases": [{"task": "A", "epochs": 5}, {"task": "B", "epochs": 5}]},
            "y": {"phases": [{"task": "B", "epochs": 5}, {"task": "B", "epochs": 5, "name": "t"}]},
        },
        record_every=1,
    ).run()
    x = same.curves("x").xs("2-B", level="phase").to_numpy()
    y = same.curves("y").xs("1-B", level="phase").to_numpy()
    np.testing.assert_array_equal(x, y)
    assert not np.array_equal(y, same.curves("y").xs("t", level="phase").to_numpy())
    assert not np.array_equal(y[:, 0], y[:, 1])


def test_evaluation_is_on_the_same_trials_throughout(result):
    t = result.table
    end = t[(t.arm == "A-B") & (t.phase == "1-A") & (t.phase_epoch == 25)]
    begin = t[(t.arm == "A-B") & (t.phase == "2-B") & (t.phase_epoch == 0)]
    for quantity in ("loss:A", "loss:B"):
        left = end[end.quantity == quantity]["value"].to_numpy()
        np.testing.assert_array_equal(left, begin[begin.quantity == quantity]["value"].to_numpy())


def test_curves_are_wide_and_in_order(result):
    curves = result.curves("B-A", "uu")
    assert curves.shape == (7, 3)
    assert curves.index.get_level_values("phase").unique().tolist() == ["1-B", "2-A"]
    assert curves.index.get_level_values("epoch").is_monotonic_increasing
    with pytest.raises(InputError, match="arm must be one of 'A-B', 'B-A'"):
        result.curves("AB")
    with pytest.raises(InputError, match="quantity must be one of"):
        result.curves("A-B", "losses")


def test_final_overlaps_are_the_last_rows(result):
    final = result.final("A-B")
    assert sorted(final) == [0, 1, 2]
    for network, overlaps in final.items():
        for name in overlaps.names:
            assert overlaps[name] == value(result, "A-B", network, "2-B", 20, name)


# -- seeds, workers, interruption -------------------------------------------------------------


def test_the_numbers_depend_on_the_seed_only(result):
    again = small().run(seed=4)
    pd.testing.assert_frame_equal(again.table, result.table, check_exact=True)
    other = small().run(seed=5)
    assert not np.array_equal(other.table["value"], result.table["value"])
    assert small(seed=4).run().table.equals(result.table)


def test_a_network_is_the_same_in_a_larger_cohort(result):
    more = small(cohort={**SMALL["cohort"], "networks": 4}).run(seed=4)
    first = more.table[more.table.network < 3].reset_index(drop=True)
    pd.testing.assert_frame_equal(first, result.table, check_exact=True)


def test_two_workers_give_the_same_bits(result, tmp_path):
    parallel = small().run(seed=4, n_jobs=2, output=tmp_path / "out")
    pd.testing.assert_frame_equal(parallel.table, result.table, check_exact=True)


def test_an_interrupted_run_continues(result, tmp_path, monkeypatch):
    folder = tmp_path / "run"
    real, ran = experiment_module.run_arms, []

    def interrupted(spec, tasks, start, network, seed):
        if network == 2 and len(ran) == 2:
            raise KeyboardInterrupt
        ran.append(network)
        return real(spec, tasks, start, network, seed)

    monkeypatch.setattr(experiment_module, "run_arms", interrupted)
    with pytest.raises(KeyboardInterrupt):
        small().run(seed=4, output=folder)
    files = sorted(path.name for path in folder.rglob("*") if path.is_file())
    assert files == ["00000.npz", "00001.npz", "protocol.json"]
    ran.append("pause")
    done = small().run(seed=4, output=folder)
    assert ran == [0, 1, "pause", 2]
    pd.testing.assert_frame_equal(done.table, result.table, check_exact=True)
    with (folder / "table.csv").open(newline="") as file:
        stored = [float(row["value"]) for row in csv.DictReader(file)]
    np.testing.assert_array_equal(stored, result.table["value"])
    assert json.loads((folder / "protocol.json").read_text())["seed"] == 4
    # a third time, nothing is computed
    small().run(seed=4, output=folder)
    assert ran == [0, 1, "pause", 2]


def test_a_folder_of_another_run_is_refused(tmp_path):
    folder = tmp_path / "run"
    one = small(cohort={**SMALL["cohort"], "networks": 1})
    one.run(seed=1, output=folder)
    with pytest.raises(InputError, match=r"holds the run of protocol 'small' with seed 1 .*seed 2"):
        one.run(seed=2, output=folder)
    with pytest.raises(InputError, match="Choose another folder"):
        one.replace(rule={"rate": 0.006}).run(seed=1, output=folder)
    with pytest.raises(InputError, match="Choose another folder"):
        one.run(seed=1, output=folder, starts=[pl.Overlaps(np.eye(4))])
    one.replace(description="other words").run(seed=1, output=folder)


def test_a_folder_with_other_files_is_refused(tmp_path):
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(InputError, match="holds other files"):
        small().run(output=tmp_path)
    with pytest.raises(InputError, match="is a file"):
        small().run(output=tmp_path / "thesis.txt")
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_damaged_network_is_named(tmp_path):
    one = small(cohort={**SMALL["cohort"], "networks": 1})
    one.run(output=tmp_path / "run")
    path = tmp_path / "run" / "networks" / "00000.npz"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(InputError, match=r"00000\.npz is damaged"):
        one.run(output=tmp_path / "run")


# -- starts -----------------------------------------------------------------------------------


def test_given_starts_replace_the_cohort():
    starts = [pl.Overlaps(np.eye(4)).replace(zm=x) for x in (0.1, 0.3)]
    run = small().run(seed=0, starts=starts)
    assert run.n_networks == 2
    assert run.start_table("A-B")["zm"].tolist() == [0.1, 0.3]
    t = pl.learn(starts[1], Filter(decay=0.2), pl.GradientDescent(0.005), 25)
    assert value(run, "A-B", 1, "1-A", 25, "vu") == t.final["vu"]


def test_given_starts_may_have_another_rank():
    run = small(arms={"only": SMALL["arms"]["A-B"]}).run(starts=[pl.Overlaps(np.eye(6), rank=2)])
    assert run.final("only")[0].rank == 2


WRONG_STARTS = [
    ([], "at least one"),
    ([np.eye(4)], "starts must hold Overlaps; item 0 is ndarray"),
    ([pl.Overlaps(np.eye(5), n_in=2)], r"starts\[0\] has 2 input"),
    ([pl.Overlaps(np.eye(4)), pl.Overlaps(np.eye(6), rank=2)], "one rank"),
    ([pl.Overlaps(np.eye(6), rank=2)], r"start_change\.uu: 'uu' is not one of"),
]


@pytest.mark.parametrize(("starts", "message"), WRONG_STARTS)
def test_wrong_starts(starts, message):
    with pytest.raises(InputError, match=message):
        small().run(starts=starts)


def test_a_start_from_which_an_arm_cannot_go():
    protocol = small(arms={"x": {"start": {"mu": 0.9}, "phases": SMALL["arms"]["A-B"]["phases"]}})
    weak = pl.Overlaps(np.eye(4)).replace(mm=0.2)
    with pytest.raises(InputError, match=r"arm 'x' cannot start from starts\[0\]: .*mu"):
        protocol.run(starts=[weak])


@pytest.mark.parametrize(
    ("argument", "message"),
    [({"n_jobs": 0}, "n_jobs"), ({"seed": -1}, "seed"), ({"seed": 1.5}, "seed")],
)
def test_wrong_arguments_of_run(argument, message):
    with pytest.raises(InputError, match=message):
        small().run(**argument)


# -- cohorts ----------------------------------------------------------------------------------


def test_absolute_normal_cohort_has_the_published_moments():
    protocol = small(
        cohort={
            "networks": 400,
            "distribution": {"type": "absolute-normal", "cross_sd": 0.05, "norms": [0.5, 2.0]},
        },
        arms={"only": SMALL["arms"]["A-B"]},
    )
    table = pd.DataFrame([start.to_series() for start in protocol.draw_starts(0)])
    cross = table[["zm", "zu", "vm", "vu", "mu", "zv"]].to_numpy()
    norms = table[["mm", "uu", "vv", "zz"]].to_numpy()
    assert cross.min() >= 0
    # half normal: mean sd sqrt(2/pi); few draws of so small overlaps are refused
    assert cross.mean() == pytest.approx(0.05 * np.sqrt(2 / np.pi), rel=0.06)
    assert norms.min() >= 0.5
    assert norms.max() <= 2.0
    assert norms.mean() == pytest.approx(1.25, abs=0.05)


def test_published_twins_are_kept_only_if_realisable():
    protocol = small(
        cohort={"networks": 50, "distribution": {"type": "absolute-normal"}},
        arms={"only": SMALL["arms"]["A-B"]},
    )
    starts = protocol.draw_starts(0)
    assert min(np.linalg.eigvalsh(s.matrix)[0] for s in starts) > -1e-9
    assert len({s["zm"] for s in starts}) == 50


def test_random_loadings_cohort():
    protocol = Protocol.load("perturbation-exposure").replace(
        cohort={
            "networks": 300,
            "distribution": {"type": "random-loadings", "n_neurons": 500, "norms": 1.0},
        }
    )
    table = pd.DataFrame([start.to_series() for start in protocol.draw_starts(0)])
    np.testing.assert_allclose(table[["mm", "uu", "vv", "zz"]], 1.0, atol=1e-12)
    cross = table[["zm", "zu", "vm", "vu", "mu", "zv"]].to_numpy()
    assert cross.std() == pytest.approx(1 / np.sqrt(500), rel=0.1)
    assert abs(cross.mean()) < 5 / np.sqrt(500 * cross.size)


def test_spread_by_name_leaves_the_rest():
    protocol = small(cohort={**SMALL["cohort"], "spread": {"zm": 0.1}})
    table = pd.DataFrame([start.to_series() for start in protocol.draw_starts(0)])
    assert table["zm"].nunique() == 3
    assert (table["uu"] == 1.2).all()
    assert (table["zv"] == 0.0).all()


# -- rules, engines, failures -----------------------------------------------------------------


def test_a_phase_changes_the_rule():
    protocol = small(
        arms={
            "x": {
                "phases": [
                    {"task": "A", "epochs": 10, "rule": {"rate": 0.02, "pathway_rates": {"z": 0}}}
                ]
            }
        }
    )
    run = protocol.run(seed=1)
    rule = pl.GradientDescent(0.02, pathway_rates={"z": 0.0})
    expected = pl.learn(run.starts[0], Filter(decay=0.2), rule, 10).final
    assert run.final("x")[0] == expected
    assert run.final("x")[0]["zz"] == pytest.approx(run.starts[0]["zz"], rel=1e-12)


def test_gradient_flow_is_timed_in_epochs():
    arms = {"x": {"phases": [{"task": "A", "epochs": 400}]}}
    kwargs = {"arms": arms, "evaluate": [], "tasks": {"A": SMALL["tasks"]["A"]}}
    flow = small(rule={"type": "gradient-flow", "rate": 0.0005}, **kwargs).run(seed=0)
    descent = small(rule={"rate": 0.0005}, **kwargs).run(seed=0)
    assert flow.table["epoch"].max() == 400
    for network in range(3):
        np.testing.assert_allclose(
            flow.final("x")[network].matrix, descent.final("x")[network].matrix, atol=2e-3
        )


def test_a_network_that_diverges_is_a_row(tmp_path):
    protocol = small(
        rule={"rate": 0.005},
        arms={
            "wild": {
                "phases": [
                    {"task": "A", "epochs": 10},
                    {"task": "A", "epochs": 50, "rule": {"rate": 50.0}},
                    {"task": "A", "epochs": 10, "name": "never"},
                ]
            },
            "calm": {"phases": [{"task": "A", "epochs": 10}]},
        },
    )
    run = protocol.run(seed=0, output=tmp_path / "run")
    assert run.failed["arm"].tolist() == ["wild"] * 3
    assert run.failed["phase"].tolist() == ["2-A"] * 3
    assert run.failed["reason"].str.contains("diverged.*smaller rate").all()
    assert (run.failed["epoch"] == run.failed["phase_epoch"] + 10).all()
    lost = run.table[np.isinf(run.table["value"])]
    assert lost["network"].tolist() == [0, 1, 2]
    assert "never" not in set(run.table["phase"])
    assert run.final("wild") == {}
    assert len(run.final("calm")) == 3
    # the same from disk
    pd.testing.assert_frame_equal(protocol.run(seed=0, output=tmp_path / "run").failed, run.failed)


def test_network_engine_agrees_with_the_theory_for_linear_networks():
    arms = {
        "x": {
            "start": {"uu": 1.5},
            "phases": [
                {"task": "A", "epochs": 20},
                {"readout": {"zm": 0.4, "zu": -0.2}},
                {"task": "A", "epochs": 20, "name": "after"},
            ],
        }
    }
    kwargs = {"arms": arms, "tasks": {"A": SMALL["tasks"]["A"]}, "evaluate": ["A"]}
    theory = small(**kwargs).run(seed=2)
    neurons = small(engine="network", n_neurons=40, **kwargs).run(seed=2)
    columns = ["arm", "network", "phase", "epoch", "quantity"]
    pd.testing.assert_frame_equal(theory.table[columns], neurons.table[columns])
    np.testing.assert_allclose(theory.table["value"], neurons.table["value"], atol=1e-10)


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize("watched", [True, False])
def test_progress_is_shown_on_a_terminal_only_and_changes_nothing(
    result, monkeypatch, capsys, watched
):
    errors = Terminal() if watched else io.StringIO()
    monkeypatch.setattr("sys.stderr", errors)
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    run = small().run(seed=4, progress=True)
    assert ("small: networks" in errors.getvalue()) == watched
    assert capsys.readouterr().out == ""
    pd.testing.assert_frame_equal(run.table, result.table, check_exact=True)


def test_a_result_survives_pickling(result):
    again = pickle.loads(pickle.dumps(result))
    pd.testing.assert_frame_equal(again.table, result.table, check_exact=True)
    assert again.settings["name"] == "small"
    with pytest.raises(TypeError):
        again.settings["name"] = "other"
