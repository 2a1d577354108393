"""Predictions from a recording of one's own: what diverges is a line, units do not matter."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import predictlearn as pl
from predictlearn import pipeline
from predictlearn.pipeline.checked import checked_fit
from predictlearn.pipeline.fitted import fit_recording
from predictlearn.pipeline.recorded_task import Change, recorded_task
from predictlearn.pipeline.task_choice import choose_task, parse_task
from predictlearn.pipeline.units import Units
from predictlearn.predictions.runs import reasons_in_brief
from predictlearn.recordings.datasets.registry import find_dataset
from predictlearn.reporting import Report, Section, figures, html, write
from predictlearn.reporting.folder import write_files

FAST = {"tau": 1.0, "latency": 0.0, "n_draws": 2, "n_animals": 3, "n_starts": 2, "n_bootstrap": 5}
FAST |= {"rank": 1, "cv": 2}
# where it is only asked that all goes through
ONCE = FAST | {"n_draws": 1}
# the network of a diverging run whose curvature on the way is beyond all numbers
RUNAWAY = np.array(
    [
        [5.611985448729509, -1.7249112552336743, -2.279620112726389, -0.02814482291689662],
        [-1.7249112552336743, 3.5910642665393957, -0.25856073695380694, 0.5060091678262479],
        [-2.279620112726389, -0.25856073695380694, 1.8053489781465428, -0.8999614769644284],
        [-0.02814482291689662, 0.5060091678262479, -0.8999614769644284, 1.1433086652911204],
    ]
)


def made(n_in: int = 1, n_out: int = 1, kinds: int = 4) -> pl.Recording:
    """A recording of a linear network of rank one, every kind of input shown three times."""
    rng = np.random.default_rng(0)
    inputs = np.tile(rng.normal(size=(kinds, 25, n_in)).cumsum(axis=1), (3, 1, 1))
    k, activity = np.zeros((3 * kinds, n_in + 1)), np.zeros((3 * kinds, 25, 15))
    loadings = rng.normal(size=(15, n_in + 1))
    for t in range(25):
        drive = 0.9 * k[:, 0] + 0.5 * k[:, -1]
        k = 0.9 * k + 0.1 * np.column_stack([inputs[:, t], drive])
        activity[:, t] = k @ loadings.T
    out = activity[:, :, :n_out] + 0.02 * rng.normal(size=(*activity.shape[:2], n_out))
    activity += 0.02 * rng.normal(size=activity.shape)
    return pl.Recording(activity, inputs, dt=0.1, outputs=out, metadata={"name": "mine"})


@pytest.fixture(scope="module")
def run():
    return pipeline.predict(made(), seed=1, **FAST)


# -- divergence -------------------------------------------------------------------------------


def test_learning_that_diverges_raises_its_own_error_whatever_the_advice():
    task = pl.FlipFlop(trials=4, dt=0.1)
    with pytest.raises(pl.DivergenceError, match=r"at epoch 7\. The largest stable rate"):
        pl.learn(pl.Overlaps(RUNAWAY), task, pl.GradientDescent(1.7719844310367798), 50)
    # the last update of a run leads beyond all numbers: no loss has seen it yet
    steep, large = pl.GradientDescent(1e99), pl.Overlaps(1e60 * np.eye(4))
    with pytest.raises(pl.DivergenceError, match="diverged"):
        pl.learn(large, pl.Filter(duration=5.0), steep, 1)
    with pytest.raises(pl.DivergenceError, match="diverged"):
        pl.learn(pl.Overlaps(np.eye(4)), pl.Filter(duration=5.0), steep, 2)


def test_curvature_beyond_all_numbers_allows_no_rate():
    far = pl.Overlaps(np.diag([1.0, 1e99, 1e99, 1.0])).replace(vu=9e98, zu=1e50, vm=1e50)
    assert pl.largest_stable_rate(far, pl.Filter(duration=5.0).sample()) == 0.0


def test_a_diverging_network_is_a_row_of_the_protocol():
    content = {
        "name": "wide",
        "cohort": {"networks": 2, "overlaps": {"zm": 0.1}},
        "tasks": {"A": {"type": "flip-flop", "trials": 4, "dt": 0.1}},
        "rule": {"rate": 1.7719844310367798},
        "arms": {"one": {"phases": [{"task": "A", "epochs": 50}]}},
        "record_every": 50,
    }
    calm = pl.Overlaps(0.01 * np.eye(4))
    result = pl.Protocol.from_dict(content).run(starts=[pl.Overlaps(RUNAWAY), calm])
    assert result.failed["network"].tolist() == [0]
    assert list(result.final("one")) == [1]


def test_a_rate_at_which_all_diverge_leaves_the_rest_of_the_report():
    done = pipeline.predict(made(), seed=1, rate=1e4, **FAST)
    assert done.experiments.exposure is None
    assert done.experiments.order is None
    assert len(done.problems) == 2
    assert all(len(problem) < 700 for problem in done.problems)
    report = pipeline.make_report(done)
    assert report.sections[-1].title == "What was left out"
    assert "no pair of equivalent networks is left" in " ".join(report.lead)
    assert "overlaps" in [table.name for table in report.tables]


def test_networks_left_out_are_counted_on_the_page_and_in_tables(run):
    rows = [{"draw": 0, "network": k, "reason": f"phase 1: the loss reached {k}"} for k in range(3)]
    exposure = run.experiments.exposure
    lost = exposure.__class__(**{**exposure.__dict__, "excluded": pd.DataFrame(rows)})
    experiments = run.experiments.__class__(**{**run.experiments.__dict__, "exposure": lost})
    report = pipeline.make_report(run.__class__(**{**run.__dict__, "experiments": experiments}))
    said = " ".join(report.lead)
    assert "3 from perturbation exposure" in said
    assert "3: phase 1: the loss reached 0" in said
    tables = {table.name: table.frame for table in report.tables}
    assert tables["left-out-by-arm"][["left_out", "of"]].to_numpy().tolist() == [[3, 6]]
    assert len(tables["left-out"]) == 3


def test_reasons_are_told_in_a_line():
    many = [f"the loss reached {k}e{k} at epoch {k}. " + "x" * 1000 for k in range(200)]
    assert len(reasons_in_brief(many)) < 200
    assert reasons_in_brief(["a 1", "b", "a 2"]).startswith("2: a 1; 1: b")


# -- units ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("activity", "inputs", "outputs"),
    [(10.0, 1.0, 1.0), pytest.param(1 / 0.1, 5.0, 0.3, marks=pytest.mark.slow)],
)
def test_units_change_no_prediction(run, activity, inputs, outputs):
    """Ten times the activity; rates in Hz for spikes a bin, and other units of all else."""
    r = made()
    other = pl.Recording(
        r.activity * activity,
        r.inputs * inputs,
        dt=r.dt,
        outputs=r.outputs * outputs,
        metadata={"name": "mine"},
    )
    again = pipeline.predict(other, seed=1, **FAST)
    for name in ("exposure", "order"):
        one, two = (getattr(x.experiments, name) for x in (run, again))
        np.testing.assert_allclose(two.curves["mean"], one.curves["mean"], rtol=1e-5, atol=1e-7)
        assert two.tests["verdict"].tolist() == one.tests["verdict"].tolist()
        np.testing.assert_allclose(two.tests["estimate"], one.tests["estimate"], atol=1e-6)


def test_units_leave_losses_and_make_vectors_of_length_one():
    rng = np.random.default_rng(3)
    theta = rng.normal(size=(40, 6)) * [3.0, 0.2, 1.0, 1.0, 5.0, 0.1]
    start = pl.Overlaps(theta.T @ theta / 40, 2, 1, 2)
    units = Units.of(start.to_series(), start.sizes)
    scaled = pl.Overlaps.from_series(units.overlaps(start.to_series(), start.sizes), 2, 1, 2)
    assert scaled["m1m1"] == pytest.approx(1.0)
    assert scaled["m2m2"] == pytest.approx(1.0)
    shape = (3, 12, 2)
    task = pl.ArrayTask(
        rng.normal(size=shape), rng.normal(size=shape), rng.uniform(size=shape), 0.1
    )
    before = pl.loss(start, task.sample())
    assert pl.loss(scaled, units.task(task).sample()) == pytest.approx(before, rel=1e-12)
    again = units.task(task).freeze()
    assert pl.loss(scaled, again.sample()) == pytest.approx(before, rel=1e-12)


def test_one_learning_time_is_the_loss_over_its_first_speed(run):
    """By a small step of the curves: the median animal's loss falls by its share."""
    curves = run.experiments.exposure.curves
    first = curves[(curves["arm"] == "original") & (curves["kind"] == "networks")]
    slope = (first["mean"].iloc[0] - first["mean"].iloc[1]) / first["epoch"].iloc[1]
    assert slope == pytest.approx(1.0, rel=0.35)
    assert "learning time" in run.experiments.design.epoch_means


# -- the task ---------------------------------------------------------------------------------


def test_trials_of_a_kind_have_the_gradient_of_the_single_trials():
    recording = made()
    fit = fit_recording(recording, {"tau": 1.0, "n_starts": 2, "n_bootstrap": 0}, ranks=(1,), cv=3)
    task = recorded_task(recording, fit.model, None, Change("none"))
    assert task.inputs.shape == (4, 25, 1)
    # the single trials, with the level of the outputs taken off by the same regression
    k = np.concatenate(fit.model.k_, axis=2).reshape(-1, 2)
    out = recording.outputs
    base = np.column_stack([np.ones(len(k)), k])
    level = np.linalg.lstsq(base, out.ravel(), rcond=None)[0][0]
    weights = np.full(out.shape, 1 / (out.var() * out.size))
    single = pl.ArrayTask(recording.inputs, out - level, weights, recording.dt)
    start = pl.Overlaps(np.eye(4)).replace(zm=0.2, vu=0.3, zu=0.1)
    (loss, slope), (own, expected) = (
        pl.loss_and_derivative(start, t.sample()) for t in (task, single)
    )
    np.testing.assert_allclose(slope, expected, rtol=1e-9, atol=1e-12)
    assert loss < own


def test_the_recorded_task_is_the_default_and_says_so(run):
    assert run.choice.name == "recorded"
    assert "recorded one" in run.experiments.design.why
    assert run.experiments.design.labels["A"].endswith("sign of its desired output reversed")
    a, b = (task.sample().targets for task in run.experiments.design.order)
    np.testing.assert_allclose(b, -2 * a, rtol=1e-9)


def test_several_inputs_and_outputs():
    done = pipeline.predict(made(2, 2), seed=0, **ONCE)
    assert done.problems == ()
    assert done.fitted.sizes == (2, 1, 2)
    assert "turned by 45 degrees" in done.experiments.design.labels["A"]
    assert done.experiments.exposure.curves["mean"].iloc[200] < 1.0


def test_tasks_are_named_with_settings_and_checked_before_the_fit():
    assert parse_task("filter:decay=0.3,duration=5") == ("filter", {"decay": 0.3, "duration": 5})
    assert parse_task("flip-flop:wait=[1, 2]")[1] == {"wait": [1, 2]}
    recording = made()
    choice = choose_task("filter:decay=0.3", recording, 1)
    assert (choice.task.decay, choice.task.dt) == (0.3, 0.1)
    assert choose_task("recorded:change=scaled,factor=0.5", recording, 1).change.factor == 0.5
    target = -recording.outputs
    stated = choose_task(None, recording, 1).__class__("recorded", target=target)
    assert stated.change.kind == "none"
    wrong = {
        "filtr": "Did you mean 'filter'",
        "filter:decai=1": "Did you mean 'decay'",
        "filter:decay": "KEY=VALUE",
        "recorded:change=turned": "change must be one of",
        "recorded:change=rotated": "a rotation turns two",
        "recorded:factor=1": "another number than 1",
        "recorded:target=none.npy": "target must be an .npy file",
        "reaching": r"3 input\(s\) and 2 output\(s\), the recording 1 and 1",
        "nothing.yaml": "there is no protocol file",
    }
    for text, message in wrong.items():
        with pytest.raises(pl.InputError, match=message):
            pipeline.predict(recording, task=text)
    with pytest.raises(pl.InputError, match="rate must be a positive"):
        pipeline.predict(recording, rate=0.0)
    with pytest.raises(pl.InputError, match="rank must be a whole number"):
        pipeline.predict(recording, rank="two")


def test_a_data_set_with_experiments_of_its_own_takes_no_task():
    try:
        find_dataset("bci-learning")
    except pl.InputError:
        pytest.skip("no bci-learning here; set PREDICTLEARN_DATA")
    with pytest.raises(pl.InputError, match="experiments of its own"):
        pipeline.predict(dataset="bci-learning", task="recorded")


@pytest.mark.slow
def test_a_stated_target_is_learned(tmp_path):
    recording = made()
    np.save(tmp_path / "target.npy", np.roll(recording.outputs[0], 5, axis=0))
    task = f"recorded:target={tmp_path / 'target.npy'}"
    done = pipeline.predict(recording, task=task, seed=0, **ONCE)
    assert done.problems == ()
    assert done.experiments.design.labels["A"] == "the stated target"


def test_without_outputs_the_filter_is_learned_through_a_new_readout():
    r = made(n_in=2)
    bare = pl.Recording(r.activity, r.inputs, dt=r.dt, metadata={"name": "bare"})
    done = pipeline.predict(bare, seed=0, **ONCE)
    assert done.problems == ()
    assert "nothing is known of its task" in done.experiments.design.why
    curve = done.experiments.exposure.curves
    assert curve[curve["arm"] == "original"]["mean"].iloc[-1] < 1.0
    assert len(pipeline.make_report(done).sections) >= 5


@pytest.mark.quick
def test_a_protocol_is_run_from_the_recorded_networks():
    content = {
        "name": "own",
        "cohort": {"networks": 1, "overlaps": {"zm": 0.1}},
        "tasks": {"A": {"type": "filter", "duration": 5.0, "dt": 0.1}},
        "rule": {"rate": 0.02},
        "arms": {
            "short": {"phases": [{"task": "A", "epochs": 20}]},
            "fast": {"rule": {"rate": 0.04}, "phases": [{"task": "A", "epochs": 20}]},
        },
        "record_every": 5,
    }
    done = pipeline.predict(made(), task=pl.Protocol.from_dict(content), seed=0, **FAST)
    assert done.experiments is None
    assert set(done.protocol.tests["n"]) == {"3"}, "animals, not draws times animals"
    assert "Your protocol: own" in [
        section.title for section in pipeline.make_report(done).sections
    ]


# -- the report -------------------------------------------------------------------------------


@pytest.mark.usefixtures("no_pictures")
def test_what_to_do_next_stands_first(run):
    page = html(pipeline.make_report(run))
    assert page.index("What you can do next") < page.index("Key findings</h2>")
    assert "less than the best by" in page
    assert ">short<" not in page


def test_counts_fitted_as_gaussian_and_silent_neurons_are_said():
    r = made()
    counts = np.random.default_rng(0).poisson(np.exp(0.3 * r.activity))
    metadata = {"name": "counts", "silent": ["7"]}
    recording = pl.Recording(counts, r.inputs, dt=r.dt, outputs=r.outputs, metadata=metadata)
    settings = {"tau": 1.0, "n_starts": 2, "n_bootstrap": 0, "offset": True}
    said = " ".join(checked_fit(fit_recording(recording, settings, ranks=(1,), cv=3)).sentences)
    assert "--noise poisson" in said
    assert "1 of 16 neurons are silent" in said


def test_one_verdict_the_corrected_one():
    from predictlearn.statistics import paired_comparison
    from predictlearn.statistics.corrections import family_table

    first = [1.0, 0.2, 0.9, 0.1, 1.4, -0.4, 0.8, 0.3]
    tests = [paired_comparison(first, np.zeros(8), name=str(k)) for k in range(4)]
    table = family_table(tests, family="f")
    shown = table["verdict"] == "different"
    assert shown.tolist() == table["significant"].tolist()
    alone = [test.verdict == "different" for test in tests]
    assert sum(alone) > shown.sum(), "a case that the correction decides"


def test_curves_of_few_runaways_do_not_set_the_axis():
    epochs = np.arange(11.0)
    frame = pd.DataFrame({"arm": "a", "quantity": "loss", "kind": "networks", "epoch": epochs})
    frame["mean"] = 1.0 - 0.05 * epochs
    frame["low"], frame["high"] = 0.5 * frame["mean"], 1.5 * frame["mean"]
    frame.loc[10, "high"] = 1e6
    assert figures.learning_curves(frame).axes[0].get_ylim()[1] < 3.0


def test_intervals_that_reach_far_are_cut():
    frame = pd.DataFrame({"name": list("abcd"), "estimate": [0.5, 1.0, -0.5, 12.0]})
    frame["low"], frame["high"] = frame["estimate"] - 1, frame["estimate"] + 1
    frame.loc[3, ["low", "high"]] = [-430.0, 455.0]
    frame["visibility"] = "loss-visible"
    low, high = figures.overlap_intervals(frame).axes[0].get_xlim()
    assert -20 < low < -1.5
    assert 2 < high < 20


def test_folders_of_other_commands_are_refused(tmp_path):
    report = Report("Nothing", ("No finding.",), (Section("Fit", ("Text.",)),), {"seed": 0})
    folder = tmp_path / "out"
    write(report, folder, command="predict")
    write(report, folder, command="predict")
    with pytest.raises(pl.InputError, match="holds the result of `predictlearn predict`"):
        write_files(folder, {"overlaps.csv": b"x"}, command="fit")
    assert not (folder / "overlaps.csv").exists()
    assert (folder / "index.html").is_file()
    other = tmp_path / "run"
    other.mkdir()
    (other / "protocol.json").write_text("{}")
    with pytest.raises(pl.InputError, match="`predictlearn run`"):
        write(report, other, command="predict")
