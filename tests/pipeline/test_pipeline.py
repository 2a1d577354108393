"""The whole path: recording, fit, experiments, real learning, report."""

from __future__ import annotations

import html
import importlib
import inspect
import io
import re

import numpy as np
import pandas as pd
import pytest

import predictlearn as pl
from predictlearn import pipeline, reporting
from predictlearn.pipeline.cases import case_of
from predictlearn.pipeline.cohort import animals_like, cohort_of
from predictlearn.pipeline.fitted import fit_recording, ranks_of
from predictlearn.pipeline.real_learning.bci import compare_with_block_two
from predictlearn.pipeline.real_learning.sessions import _fitted_invariants, compare_with_sessions
from predictlearn.recordings import find_dataset, progress
from predictlearn.theory.hidden_prior import HiddenPrior
from predictlearn.theory.names import pathway_slices

# the module, which the function of its name hides
PREDICT = importlib.import_module("predictlearn.pipeline.predict")
# several draws: test_prediction_robust.py
QUICK = {"n_draws": 1, "n_animals": 3, "n_starts": 1, "n_bootstrap": 4, "cv": 3}


def made() -> pl.Recording:
    """A recording of a linear network of rank one."""
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(12, 25, 1)).cumsum(axis=1)
    k = np.zeros((12, 2))
    activity = np.zeros((12, 25, 15))
    loadings = rng.normal(size=(15, 2))
    for t in range(25):
        drive = 0.9 * k[:, 0] + 0.5 * k[:, -1]
        k = 0.9 * k + 0.1 * np.column_stack([inputs[:, t], drive])
        activity[:, t] = k @ loadings.T
    out = activity[:, :, :1].copy()
    activity += 0.02 * rng.normal(size=activity.shape)
    return pl.Recording(activity, inputs, dt=0.1, outputs=out, metadata={"name": "mine"})


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    file = made().save_npz(tmp_path_factory.mktemp("own") / "mine.npz")
    return file, pipeline.predict(file, seed=3, tau=1.0, latency=0.0, **QUICK)


def words(page: str) -> str:
    """The text of a page as it is read."""
    page = re.sub(r"<(style|script|svg)\b.*?</\1>", " ", page, flags=re.DOTALL)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", "", page)).split())


def sentences(statement: str) -> list[str]:
    plain = re.sub(r"`([^`]+)`|\*\*([^*]+)\*\*", r"\1\2", statement)
    return [" ".join(part.split()) for part in re.split(r"(?<=\.)\s+", plain) if part]


def assert_self_contained(page: str) -> None:
    for link in re.findall(r"""(?:src|href|srcset)\s*=\s*["']([^"']*)""", page):
        assert link.startswith(("data:", "#", "tables/")), link
    assert "@import" not in page
    assert not re.findall(r"url\(\s*[\"']?(?!data:|#)", page)


def coarse(figure) -> bytes:
    """Draw a figure on few pixels; how it is drawn on a page: tests/reporting/test_report.py."""
    stream = io.BytesIO()
    figure.set_layout_engine("none")  # placing everything takes longer than drawing it
    figure.savefig(stream, format="png", dpi=20)
    return stream.getvalue()


# -- the recordings ---------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::predictlearn.ConvergenceWarning")
def test_the_shipped_recording_gives_a_report(tmp_path, monkeypatch):
    monkeypatch.setattr("predictlearn.pipeline.experiments._PARTICLES", 128)
    monkeypatch.setattr("predictlearn.pipeline.experiments._STEPS", 250)
    monkeypatch.setattr("predictlearn.reporting.page.png", coarse)
    # few courses of the learning that followed: how they scatter is not asked here
    monkeypatch.setattr(
        PREDICT,
        "compare_with_sessions",
        lambda *given, **how: compare_with_sessions(*given, **how, n_draws=5),
    )
    stages = []
    settings = {**QUICK, "cv": 2, "max_iter": 10}
    run = pipeline.predict(seed=0, progress=stages.append, **settings)
    assert len(stages) == 7
    assert run.case.simulated
    assert (run.fitted.sizes, run.fitted.model.nonlinearity) == ((1, 1, 1), "erf")
    assert run.fitted.held_out[0] > 0.05
    assert run.real is not None
    closure = run.experiments.closure
    assert closure is not None
    # the equations are off by more than the pair differs, and the difference holds all the same
    assert closure.by_equations == pytest.approx(closure.by_mean_field, rel=0.3)
    assert closure.original.summary.loc["closure", "largest"] > 0.05
    assert len(run.real.loss) == 5
    # the first session is the recording that was fitted: fitted as the later ones are, it is that
    again = _fitted_invariants(run.case.later[0], run.fitted, 0)
    pd.testing.assert_frame_equal(again, run.fitted.model.gauge_invariants_.loc[again.index])
    page = reporting.write(pipeline.make_report(run), tmp_path / "out")
    text = page.read_text(encoding="utf-8")
    assert_self_contained(text)
    read = words(text)
    for prediction in (run.experiments.exposure, run.experiments.order):
        found = [sentence in read for sentence in sentences(prediction.statement)]
        assert found
        assert all(found), prediction.statement
    assert "imulated" in read
    assert "predictlearn predict --dataset simulated-learning --seed 0 --draws 1" in read
    assert len(list((tmp_path / "out" / "tables").glob("*.csv"))) >= 6


@pytest.mark.usefixtures("no_pictures")
def test_a_recording_of_the_users_own(own, tmp_path):
    _, run = own
    assert run.fitted.sizes == (1, 1, 1)
    assert run.fitted.overlaps.loc["vu", "estimate"] == pytest.approx(0.5, abs=0.1)
    assert run.fitted.overlaps.loc[["zv", "vv", "zz"], "estimate"].isna().all()
    assert run.real is None
    assert not run.case.simulated
    text = words(
        reporting.write(pipeline.make_report(run), tmp_path / "out").read_text(encoding="utf-8")
    )
    assert "What mine predicts about learning" in text
    assert "imulated data" not in text


def test_the_same_from_the_seed_whatever_the_number_of_processes(own):
    file, run = own
    again = pipeline.predict(file, seed=3, n_jobs=2, tau=1.0, latency=0.0, **QUICK)
    assert again.fitted.overlaps.equals(run.fitted.overlaps)
    for name in ("exposure", "order"):
        first, second = (getattr(x.experiments, name) for x in (run, again))
        assert first.table.equals(second.table)
        assert first.curves.equals(second.curves)
        assert first.statement == second.statement


def test_another_seed_draws_other_animals(own, monkeypatch):
    file, run = own
    cohorts = []
    # what they learn follows from who they are
    monkeypatch.setattr(
        PREDICT,
        "run_experiments",
        lambda cohort, *_, **__: cohorts.append(cohort) or run.experiments,
    )
    how = {**QUICK, "n_bootstrap": 0, "cv": 2}
    for seed in (3, 4):
        pipeline.predict(file, seed=seed, rank=1, tau=1.0, latency=0.0, **how)
    first, other = (row for (row,) in cohorts)
    for one, two in zip(first, other, strict=True):
        # which the recording does not show; fits from other starts are the same to less
        assert one["vv"] != pytest.approx(two["vv"], rel=0.01)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"seed": -1}, "seed must be"),
        ({"n_jobs": 0}, "n_jobs must be"),
        ({"n_draws": 0}, "n_draws must be"),
        ({"n_animals": 2}, "n_animals must be a whole number of at least 3"),
        ({"spread": -0.1}, "spread must be zero or a positive"),
        ({"prior": "flat"}, "prior must be a HiddenPrior; got str"),
        ({"dataset": "bci-learning"}, "not both"),
        ({"nonlinearity": "erff"}, "Did you mean 'erf'"),
        ({"n_bootstrap": -1}, "n_bootstrap"),
    ],
)
def test_wrong_settings_are_refused(settings, message):
    with pytest.raises(pl.InputError, match=message):
        pipeline.predict(made(), **settings)


def test_ranks_that_do_not_fit_the_neurons_are_refused():
    recording = made()
    few = pl.Recording(recording.activity[:, :, :2], recording.inputs, dt=0.1)
    settings = {"tau": 1.0, "latency": 0.0, "n_starts": 2, "n_bootstrap": 0}
    with pytest.raises(pl.InputError, match="below the number of neurons, 2; got 2, 3"):
        fit_recording(few, settings, ranks=(2, 3))
    assert fit_recording(few, settings, ranks=(1, 2, 3)).ranks.summary["rank"].tolist() == [1]


def test_one_rule_chooses_the_rank_everywhere():
    for function in (fit_recording, pl.select_rank):
        assert inspect.signature(function).parameters["rule"].default == "paired"
    assert ranks_of("auto") == ranks_of("auto", None) == (1, 2, 3)
    # a data set with a rank of its own keeps it unless another is asked for
    assert (ranks_of("auto", 1), ranks_of(3, 1)) == ((1,), (3,))


# -- the real thing ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bci(request):
    folder = request.getfixturevalue("shared_data")
    try:
        find_dataset("bci-learning")
    except pl.InputError:
        pytest.skip(f"no bci-learning in {folder}")
    case = case_of(None, "bci-learning", n_starts=4, n_bootstrap=10)
    fit = fit_recording(
        case.recording,
        dict(case.settings),
        readout=case.readout,
        conditions=case.conditions,
        ranks=(1,),
    )
    return case, fit, compare_with_block_two(case.later, fit, n_draws=12, seed=0)


def test_bci_fit_reaches_what_the_condition_means_leave(bci):
    case, fit, _ = bci
    assert (case.recording.n_trials, case.recording.n_bins) == (191, 12)
    assert fit.sizes == (3, 1, 2)
    assert fit.share_of_ceiling >= 0.85
    # continuous time; with one Euler step a bin it was 0.093
    assert 0.045 < fit.model.tau_ < 0.08
    assert fit.overlaps.loc[["z1z1", "z2z2"], "visibility"].eq("known readout").all()


def test_bci_drop_is_predicted(bci):
    _, _, real = bci
    drop = real.drop.set_index(["quantity", "source"])
    predicted = "predicted from block 1, no free parameter"
    recorded = drop.xs("recorded", level="source")["estimate"]
    assert recorded["intuitive mapping, block 1"] == pytest.approx(171.9, abs=0.05)
    through = recorded["block 1 activity through the perturbed mapping"]
    assert through == pytest.approx(80.2, abs=0.05)
    early = recorded["perturbed mapping, first 30 trials of block 2"]
    assert early == pytest.approx(94.3, abs=0.05)
    at_once = drop.loc[("perturbed mapping, at once", predicted)]
    assert at_once["low"] < 80.2 < at_once["high"]
    assert at_once["high"] - at_once["low"] < 20, "an interval that could be wrong"
    before = drop.loc[("intuitive mapping, block 1", predicted)]
    assert before["estimate"] == pytest.approx(171.9, rel=0.05)
    targets = real.by_target
    assert targets["target"].tolist() == [0, 45, 90, 135, 180, 225, 270, 315]
    assert np.isfinite(targets.to_numpy()).all()
    assert np.corrcoef(targets["predicted at once"], targets["first third"])[0, 1] > 0.5


def test_bci_forecast_is_scored_target_by_target(bci):
    case, _, real = bci
    session = case.later
    targets = session.perturbed.trials["target"].to_numpy()
    measured = progress(session.perturbed.activity, session.perturbed_readout, targets)
    test = np.arange(583) >= 194
    angles = np.unique(targets)
    means = {a: measured[(targets == a) & ~test].mean() for a in angles}
    when = np.minimum(real.score.fit["rate"] * np.arange(583), real.learning.time[-1])
    curves = {a: real.learning.by_trial.mean(axis=0)[:, k] for k, a in enumerate(angles)}
    own = np.array(
        [np.interp(t, real.learning.time, curves[a]) for t, a in zip(when, targets, strict=True)]
    )
    before = np.array([means[a] for a in targets])
    start = {a: own[(targets == a) & ~test].mean() for a in angles}
    change = own - np.array([start[a] for a in targets])
    expected = [
        np.sqrt(np.mean((measured - forecast)[test] ** 2))
        for forecast in (before, own, before + change)
    ]
    np.testing.assert_allclose(real.target_scores["RMSE"], expected, rtol=1e-10)
    assert len(set(np.round(expected, 3))) == 3


def test_bci_learning_is_scored_against_every_baseline(bci):
    _, _, real = bci
    scores = real.score.scores.set_index(["model", "score"])
    models = ("prediction", "mean", "line", "exponential")
    kinds = ("RMSE", "MAE", "CRPS", "skill", "coverage", "bias")
    assert set(scores.index) == {(m, k) for m in models for k in kinds}
    assert np.isfinite(scores[["value", "low", "high"]].to_numpy()).all()
    assert (scores["low"] <= scores["value"]).all()
    assert (scores["value"] <= scores["high"]).all()
    assert set(real.score.differences["baseline"]) == {"mean", "line", "exponential"}
    settings = real.score.settings
    assert (settings["n_trials"], settings["n_train"], settings["n_test"]) == (583, 194, 389)
    # progress scatters by about 80 mm/s over trials: no model of the mean can do much better
    assert scores.loc[("prediction", "RMSE"), "value"] == pytest.approx(85, abs=3)
    assert real.learning.curves.shape[0] == 12
    assert (real.learning.curves[:, -1] > real.learning.curves[:, 0]).all()


def test_bci_data_that_are_absent_or_cut_short_are_refused(monkeypatch, tmp_path, request):
    monkeypatch.setenv("PREDICTLEARN_DATA", str(tmp_path))
    with pytest.raises(pl.InputError, match=r"mobeets/neural-engagement, commit ab2f1ec3f425"):
        pipeline.predict(dataset="bci-learning")
    monkeypatch.undo()
    request.getfixturevalue("shared_data")
    try:
        content = find_dataset("bci-learning").read_bytes()
    except pl.InputError as error:
        pytest.skip(str(error))
    monkeypatch.setenv("PREDICTLEARN_DATA", str(tmp_path))
    file = tmp_path / "bci-learning-hennig2021" / "20160728.mat"
    file.parent.mkdir()
    file.write_bytes(content[: len(content) // 2])
    with pytest.raises(
        pl.InputError, match=r"20160728\.mat is not the registered file.*not opened.*--again"
    ):
        pipeline.predict(dataset="bci-learning")


# -- animals ----------------------------------------------------------------------------------


def _starts() -> list[pl.Overlaps]:
    base = pl.Overlaps(np.eye(6), 1, 2, 1).replace(v1m=0.4, zm=0.2, v1u1=0.3)
    return [base, base.replace(zv1=0.3), base.replace(v1v1=2.0)]


def test_animals_exist_and_differ():
    cohort = animals_like(_starts(), 4, spread=0.2, seed=5)
    assert [len(row) for row in cohort] == [4, 4, 4]
    for row in cohort:
        for animal in row:
            assert np.linalg.eigvalsh(animal.matrix)[0] > -1e-12
        assert len({animal["zm"] for animal in row}) == 4
    again = animals_like(_starts(), 4, spread=0.2, seed=5)
    assert np.array_equal(again[1][2].matrix, cohort[1][2].matrix)
    assert animals_like(_starts(), 2, spread=0.0)[0][1]["zm"] == pytest.approx(0.2)


def test_an_animal_is_the_same_in_every_draw():
    starts = _starts()
    cohort = animals_like(starts, 3, spread=0.1, seed=1)
    rng = np.random.default_rng(np.random.SeedSequence(1))
    shifts = rng.standard_normal((3, 6, 6)) / np.sqrt(6)
    for start, row in zip(starts, cohort, strict=True):
        length = np.sqrt(np.diag(start.matrix))
        for g, animal in zip(shifts, row, strict=True):
            b = np.eye(6) + 0.1 * g * length / length[:, None]
            np.testing.assert_allclose(animal.matrix, b.T @ start.matrix @ b, rtol=1e-12)


def test_more_animals_leave_the_first_as_they_are():
    few, many = (animals_like(_starts(), n, seed=1)[0] for n in (2, 5))
    assert np.array_equal(few[1].matrix, many[1].matrix)


def test_a_fixed_readout_is_the_same_in_all_animals():
    start = _starts()[1]
    (row,) = animals_like([start], 4, spread=0.3, seed=2, fixed="z")
    z = pathway_slices(*start.sizes)["z"]
    for animal in row:
        assert animal.matrix[z, z] == pytest.approx(start.matrix[z, z])
        assert animal["zm"] != pytest.approx(start["zm"]), "the animal's own vectors differ"
    (free,) = animals_like([start], 4, spread=0.3, seed=2)
    assert free[0]["zz"] != pytest.approx(start["zz"])


def test_cohort_completes_what_was_seen(own):
    _, run = own
    cohort = cohort_of(
        run.fitted.model.overlaps_,
        run.fitted.sizes,
        HiddenPrior(),
        n_draws=3,
        n_animals=2,
        spread=0.0,
        seed=0,
    )
    seen = run.fitted.model.overlaps_.dropna()
    for row in cohort:
        assert row[0].gauge_invariants()["vu"] == pytest.approx(seen["vu"])
        assert row[0]["zm"] == pytest.approx(seen["zm"])
    assert len({row[0]["vv"] for row in cohort}) == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [((0,), "n must be"), ((3, -0.1), "spread must be"), ((3, 0.1, -1), "seed must be")],
)
def test_animals_refuse(arguments, message):
    with pytest.raises(pl.InputError, match=message):
        animals_like(_starts(), *arguments)
