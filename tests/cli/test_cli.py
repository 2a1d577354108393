"""The command line: what it prints and writes, and how it refuses."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import warnings
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from scipy.io import savemat
from typer.testing import CliRunner

import predictlearn as pl
from predictlearn.cli import app, console
from predictlearn.errors import ConvergenceWarning, DivergenceError
from predictlearn.reporting import Report, Section, Table

RUNNER = CliRunner()

SMALL = {
    "name": "small",
    "description": "Two short arms.",
    "cohort": {
        "networks": 3,
        "distribution": {"type": "random-loadings", "n_neurons": 100, "norms": 1.0},
    },
    "tasks": {
        "A": {"type": "filter", "decay": 0.2, "duration": 5.0},
        "B": {"type": "filter", "decay": 0.4, "duration": 5.0},
    },
    "rule": {"type": "gradient-descent", "rate": 0.01},
    "arms": {
        "A-B": {"phases": [{"task": "A", "epochs": 40}, {"task": "B", "epochs": 40}]},
        "B-A": {"phases": [{"task": "B", "epochs": 40}, {"task": "A", "epochs": 40}]},
    },
    "evaluate": ["A", "B"],
    "record_every": 10,
}


def invoke(*words: object):
    return RUNNER.invoke(app, [str(word) for word in words], env={"COLUMNS": "160"})


@pytest.fixture(scope="module")
def recording(tmp_path_factory) -> Path:
    """A small recording of a linear network of rank one."""
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(12, 25, 1)).cumsum(axis=1)
    k = np.zeros((12, 2))
    activity = np.zeros((12, 25, 15))
    loadings = rng.normal(size=(15, 2))
    for t in range(25):
        k = 0.9 * k + 0.1 * np.stack([inputs[:, t, 0], 0.9 * k[:, 0] + 0.5 * k[:, 1]], axis=1)
        activity[:, t] = k @ loadings.T
    activity += 0.02 * rng.normal(size=activity.shape)
    made = pl.Recording(activity, inputs, dt=0.1, outputs=activity[:, :, :1])
    return made.save_npz(tmp_path_factory.mktemp("recording") / "made")


def fake_report() -> Report:
    table = Table("overlaps", "Overlaps.", pd.DataFrame({"name": ["zm"], "estimate": [0.1]}))
    return Report(
        "What it predicts",
        ("The rank is **one**, `zm` is 0.1 [0.0, 0.2].",),
        (Section("Fit", tables=(table,)),),
        {"seed": 0},
        simulated=True,
    )


@pytest.fixture
def pipeline(monkeypatch):
    """Put a stand-in in place of the minutes of work; returns what it was called with."""
    calls: list[dict] = []

    def predict(recording=None, dataset=None, **settings):
        calls.append({"recording": recording, "dataset": dataset, **settings})
        settings["progress"]("fitting")
        return

    monkeypatch.setattr("predictlearn.pipeline.predict", predict)
    monkeypatch.setattr("predictlearn.pipeline.make_report", lambda run: fake_report())
    return calls


# -- the application --------------------------------------------------------------------------


def test_help_does_not_load_what_it_does_not_need():
    code = (
        "import sys; from predictlearn.cli import main; sys.argv = ['predictlearn', '--help']\n"
        "try: main()\n"
        "except SystemExit as end: assert end.code == 0\n"
        "print('LOADED', *[m for m in sys.modules if '.' not in m])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(Path(pl.__file__).parents[1])},
    )
    text, _, loaded = done.stdout.partition("LOADED ")
    for command in ("predict", "fit", "run", "compare", "protocols", "datasets"):
        assert f" {command} " in text
    heavy = {"numpy", "scipy", "pandas", "numba", "matplotlib", "sklearn", "statsmodels", "joblib"}
    assert not heavy & set(loaded.split())
    assert "typer" in loaded.split()


def test_version():
    result = invoke("--version")
    assert result.exit_code == 0
    assert result.output.strip() == f"predictlearn {pl.__version__}"


@pytest.mark.parametrize("command", ["predict", "fit", "run", "compare", "protocols", "datasets"])
def test_every_command_explains_itself(command):
    result = invoke(command, "--help")
    assert result.exit_code == 0
    assert "Usage: " in result.output


def test_protocols_are_listed_and_shown(tmp_path):
    listed = invoke("protocols")
    assert listed.exit_code == 0
    for name in ("aba", "perturbation-exposure", "training-order", "readout-perturbation"):
        assert name in listed.output
        shown = invoke("protocols", "show", name)
        assert yaml.safe_load(shown.output)["name"] == name


def test_datasets_say_where_they_are_or_are_to_be_put(tmp_path, monkeypatch):
    monkeypatch.setenv("PREDICTLEARN_DATA", str(tmp_path))
    absent = invoke("datasets")
    assert absent.exit_code == 0
    assert "put it at bci-learning-hennig2021/20160728.mat" in absent.output
    assert "mobeets/neural-engagement" in absent.output
    assert "BSD 3-Clause" in absent.output
    place = tmp_path / "bci-learning-hennig2021" / "20160728.mat"
    place.parent.mkdir()
    place.write_bytes(b"")
    listed = invoke("datasets").output
    assert f"found      {place}   not the registered file: its checksum differs" in listed
    where = invoke("datasets", "where", "bci-learning")
    assert where.exit_code == 2
    assert f"{place} is not the registered file" in where.output


# -- predict ----------------------------------------------------------------------------------


def words_of(folder: Path) -> str:
    """The page of a folder without the marks that keep words of a command whole."""
    page = (folder / "index.html").read_text(encoding="utf-8")
    return re.sub("</?span[^>]*>", "", page)


def test_predict_writes_the_report_and_says_where(tmp_path, pipeline):
    folder = tmp_path / "out"
    result = invoke("predict", "--output", folder, "--seed", 3, "--draws", 5, "--jobs", 1)
    assert result.exit_code == 0, result.output
    (call,) = pipeline
    assert (call["seed"], call["n_jobs"], call["n_draws"]) == (3, 1, 5)
    assert (call["recording"], call["dataset"]) == (None, None)
    assert "The rank is one, zm is 0.1 [0.0, 0.2]." in result.output
    assert "Simulated data" in result.output
    assert str(folder / "index.html") in result.output
    assert "predictlearn predict --seed 3 --draws 5" in words_of(folder)
    assert (folder / "tables" / "overlaps.csv").is_file()


def test_predict_reads_other_files_as_fit_does(tmp_path, recording, pipeline):
    made = pl.load_recording(recording)
    mat, table = tmp_path / "a.mat", tmp_path / "a.csv"
    savemat(mat, {"y": made.activity, "x": made.inputs, "z": made.outputs})
    index = pd.MultiIndex.from_product(
        [range(12), 0.1 * np.arange(25), range(15)], names=["trial", "time", "neuron"]
    )
    rows = index.to_frame(index=False)
    for name, values in (("stim", made.inputs), ("out", made.outputs), ("value", made.activity)):
        rows[name] = np.broadcast_to(values, made.activity.shape).ravel()
    rows.to_csv(table, index=False)
    given = {
        mat: ("activity=y", "inputs=x", "outputs=z", "dt=0.1"),
        table: ("inputs=stim", "outputs=[out]"),
    }
    for number, (file, options) in enumerate(given.items()):
        words = [word for option in options for word in ("--read", option)]
        folder = tmp_path / f"out{number}"
        result = invoke("predict", file, *words, "--observed", "current", "--tau", 1, "-o", folder)
        assert result.exit_code == 0, result.output
        call = pipeline[number]
        assert np.allclose(call["recording"].activity, made.activity)
        assert np.allclose(call["recording"].inputs, made.inputs)
        assert np.allclose(call["recording"].outputs, made.outputs)
        assert (call["observed"], call["tau"]) == ("current", 1.0)
        assert "--observed current --tau 1 --read" in words_of(folder)
    asked = invoke("predict", mat, "--output", tmp_path / "none")
    assert asked.exit_code == 2
    assert "--read activity=name" in " ".join(asked.output.split())
    fast = ("--rank", 1, "--tau", 1.0, "--latency", 0, "--bootstrap", 0, "--jobs", 1)
    fitted = invoke("fit", table, "--read", "inputs=stim", *fast)
    assert fitted.exit_code == 0, fitted.output
    assert "12 trials, 25 bins of 0.1 s, 15 neurons" in " ".join(fitted.output.split())


def test_predict_replaces_its_own_report_and_no_other(tmp_path, pipeline):
    folder = tmp_path / "out"
    assert invoke("predict", "--output", folder).exit_code == 0
    assert invoke("predict", "--output", folder).exit_code == 0
    (folder / "index.html").write_text("mine")
    refused = invoke("predict", "--output", folder)
    assert refused.exit_code == 2
    assert "changed since predictlearn made it" in refused.output
    assert len(pipeline) == 2, "refused before the work, not after"
    assert (folder / "index.html").read_text() == "mine"
    assert invoke("predict", "--output", folder, "--overwrite").exit_code == 0
    assert "What it predicts" in (folder / "index.html").read_text()


def test_an_interrupted_prediction_writes_nothing(tmp_path, monkeypatch):
    def interrupted(*_args, **_settings):
        raise KeyboardInterrupt

    monkeypatch.setattr("predictlearn.pipeline.predict", interrupted)
    result = invoke("predict", "--output", tmp_path / "out")
    assert result.exit_code == 130
    assert "nothing was written" in result.output
    assert list(tmp_path.iterdir()) == []


def test_divergence_is_one_message(tmp_path, monkeypatch):
    def diverging(*_args, **_settings):
        raise DivergenceError("the loss was not finite at epoch 7; try a smaller rate.", 7)

    monkeypatch.setattr("predictlearn.pipeline.predict", diverging)
    result = invoke("predict", "--output", tmp_path / "out")
    assert result.exit_code == 2
    assert "Error: the loss was not finite at epoch 7; try a smaller rate." in result.output
    assert not (tmp_path / "out").exists()


def test_errors_of_the_program_are_not_dressed_up(tmp_path, monkeypatch):
    def broken(*_args, **_settings):
        raise ZeroDivisionError

    monkeypatch.setattr("predictlearn.pipeline.predict", broken)
    assert isinstance(invoke("predict", "--output", tmp_path / "o").exception, ZeroDivisionError)


@pytest.mark.filterwarnings("default")
def test_warnings_are_messages(tmp_path, monkeypatch):
    def warned(*_args, **_settings):
        warnings.warn("did not converge; try more starts", ConvergenceWarning, stacklevel=2)
        raise pl.InputError("and then this.")

    monkeypatch.setattr("predictlearn.pipeline.predict", warned)
    result = invoke("predict", "--output", tmp_path / "out")
    assert "Warning: did not converge; try more starts" in result.output
    assert "Error: and then this." in result.output
    assert ".py:" not in result.output


# -- fit --------------------------------------------------------------------------------------


def test_fit_prints_and_writes_overlaps(tmp_path, recording):
    folder = tmp_path / "tables"
    words = ("--rank", 1, "--tau", 1.0, "--latency", 0, "--bootstrap", 10, "--jobs", 1)
    result = invoke("fit", recording, *words, "--output", folder)
    assert result.exit_code == 0, result.output
    assert "Rank 1, linear; 12 trials, 25 bins of 0.1 s, 15 neurons." in result.output
    assert "not seen: activity does not depend on it" in result.output
    assert "  [1.000, 1.000]" in result.output
    table = pd.read_csv(folder / "overlaps.csv", index_col="name")
    assert table.loc["vu", "estimate"] == pytest.approx(0.5, abs=0.1)
    assert table.loc["vu", "low"] < table.loc["vu", "high"]
    assert table.loc[["zv", "vv"], "estimate"].isna().all()
    assert len(pd.read_csv(folder / "loadings.csv")) == 15
    checks = pd.read_csv(folder / "diagnostics.csv", index_col="test")
    assert "autocorrelation" in checks.index
    assert ("fails: " in result.output) == (not checks["holds"].all())
    settings = json.loads((folder / "settings.json").read_text())
    assert (settings["rank"], settings["tau"], settings["seed"]) == (1, 1.0, 0)
    assert settings["rule"] == "paired"
    again = invoke("fit", recording, *words, "--output", folder)
    assert again.exit_code == 0, "its own tables are replaced"
    assert again.output == result.output


# -- refusals ---------------------------------------------------------------------------------

BROKEN = {
    "broken.nwb": "this is no HDF5",
    "broken.yaml": "name: [unclosed",
    "typo.yaml": yaml.safe_dump({**SMALL, "cohrt": {}}),
    "noise.npz": "this is no archive",
    "truncated.npz": "PK\x03\x04 cut short",
    "table.csv": "trial,time,neuron,rate\n1,0,1,2\n",
}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("predict no-such.npz", "no such file: no-such.npz"),
        ("predict noise.npz", "not a readable .npz"),
        ("predict truncated.npz", "not a readable .npz"),
        ("predict --dataset simulated-learnin", "Did you mean 'simulated-learning'"),
        ("predict made.npz --dataset bci-learning", "not both"),
        ("predict --dataset bci-learning", "mobeets/neural-engagement"),
        ("predict --seed -1", "--seed must be"),
        ("predict --read inputs=onset", "simulated-learning is a data set that is read as a"),
        ("predict --dataset bci-learning --read a=b", "--read is for files; bci-learning is a"),
        ("predict made.npz --dataset bci-learning --read a=b", "--read is for files"),
        ("predict made.npz --read activity", "--read must be KEY=VALUE"),
        ("predict made.npz --read activity=[", "is not YAML"),
        ("predict made.npz --read activty=y", "Did you mean 'activity'"),
        ("predict no-such.csv", "no such file: no-such.csv"),
        ("predict table.csv", "value must be"),
        ("predict table.csv --read values=rate", "Did you mean 'value'"),
        ("predict table.csv --read value=rate", "has a single time"),
        pytest.param(
            "predict broken.nwb --read inputs=onset",
            "broken.nwb",
            marks=pytest.mark.skipif(find_spec("pynwb") is None, reason="pynwb is optional"),
        ),
        ("predict made.npz --tau soon", "--tau must be a number or 'fit'"),
        ("predict made.npz --nonlinearity erff", "Did you mean 'erf'"),
        ("predict --jobs 0", "--jobs must be"),
        ("predict --draws 0", "n_draws must be"),
        ("predict made.npz --rank two", "rank must be a whole number"),
        ("predict made.npz --task filtr", "Did you mean 'filter'"),
        ("predict made.npz --task recorded:change=turned", "change must be one of"),
        ("predict made.npz --rate 0", "rate must be a positive number"),
        ("predict made.npz --learns synapse", "Did you mean 'synapses'"),
        ("predict made.npz --rule rflow", "Did you mean 'rflo'"),
        ("predict made.npz --rule node-perturbation", "engine: network"),
        ("predict --learns synapses", "linear networks only"),
        ("predict made.npz --folds 1", "cv must be a whole number of at least 2"),
        ("predict made.npz --ridge some", "--ridge must be a number or 'auto'"),
        ("predict made.npz --starts 0", "n_starts must be"),
        ("predict made.npz --noise gausian", "Did you mean 'gaussian'"),
        ("fit no-such.npz", "no such file: no-such.npz"),
        ("fit folder", "folder is a folder and no file"),
        ("fit noise.npz", "not a readable .npz"),
        ("fit simulated", "RECORDING must be a file (.npz, .nwb, .mat, .csv) or one of simulated"),
        ("fit made.npz --rank 0", "rank must be a whole number"),
        ("fit made.npz --rank two", "rank must be a whole number"),
        ("fit made.npz --rank 15", "below the number of neurons, 15"),
        ("fit made.npz --folds 1", "folds must be a whole number of at least 2"),
        ("fit made.npz --ridge some", "--ridge must be a number or 'auto'"),
        ("fit made.npz --tau soon", "--tau must be a number or 'fit'"),
        ("fit made.npz --tau -1", "tau must be"),
        ("fit made.npz --latency -1", "latency must be"),
        ("fit made.npz --nonlinearity erff", "Did you mean 'erf'"),
        ("fit made.npz --observed rates", "Did you mean 'rate'"),
        ("fit made.npz --rank 1 --bootstrap -1", "n_bootstrap must be"),
        ("fit made.npz --seed -1", "--seed must be"),
        ("fit made.npz --rule two-se", "rule must be one of"),
        ("fit table.csv --read values=rate", "Did you mean 'value'"),
        ("run trainingorder", "Did you mean 'training-order'"),
        ("run no-such.yaml", "there is no protocol file no-such.yaml"),
        ("run folder", "is a folder"),
        ("run broken.yaml", "broken.yaml"),
        ("run typo.yaml", "Did you mean 'cohort'"),
        ("run training-order --networks 0", "networks"),
        ("run training-order --epochs-scale 0", "--epochs-scale must be"),
        ("run training-order --jobs -2", "--jobs must be"),
        ("run training-order --seed -1", "--seed must be"),
        ("compare aba", "one arm, 'aba'"),
        ("compare training-order --arms A-B A-C", "--arms must be one of 'A-B', 'B-A'"),
        ("compare training-order --arms A-B A-B", "two different arms"),
        ("compare training-order --method welch", "--method must be one of 't'"),
        ("compare training-order --correction bonferoni", "--correction must be one of"),
        (
            "compare training-order --networks 1 --epochs-scale 0.001 --jobs 1",
            "at least 2 networks",
        ),
        (
            "compare training-order --epoch 1e6 --epochs-scale 0.001 --jobs 1",
            "epoch must be in 0",
        ),
    ],
)
def test_wrong_input_is_one_message_and_leaves_nothing(
    words, message, tmp_path, recording, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PREDICTLEARN_DATA", str(tmp_path))
    for name, content in BROKEN.items():
        Path(name).write_text(content)
    Path("folder").mkdir()
    Path("made.npz").write_bytes(recording.read_bytes())
    before = sorted(tmp_path.rglob("*"))
    computes_first = words.startswith("compare") and "--jobs" in words
    result = invoke(*words.split(), *(() if computes_first else ("--output", "out")))
    assert result.exit_code == 2, result.output
    assert "Error: " in result.output
    assert message in " ".join(result.output.split())
    assert "Traceback" not in result.output
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("command", ["predict", "fit made.npz", "run training-order"])
def test_a_folder_of_somebody_else_is_refused_before_the_work(
    command, tmp_path, recording, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    Path("made.npz").write_bytes(recording.read_bytes())
    Path("file").write_text("x")
    result = invoke(*command.split(), "--output", "file")
    assert result.exit_code == 2
    assert "must be a folder" in result.output
    assert Path("file").read_text() == "x"


def test_unknown_options_are_refused():
    for words in (["predict", "--sed", "1"], ["predcit"], ["fit"]):
        assert invoke(*words).exit_code == 2


def test_files_that_cannot_be_written_are_one_message(tmp_path, pipeline, monkeypatch):
    def full(*_args, **_settings):
        raise OSError(28, "No space left on device", "out/index.html")

    monkeypatch.setattr("predictlearn.reporting.write", full)
    result = invoke("predict", "--output", tmp_path / "out")
    assert result.exit_code == 2
    assert "Error: No space left on device: out/index.html" in result.output


def test_processes_default_to_all_processors():
    assert console.jobs_or_all(None) == console.available_cores() >= 1
    assert console.jobs_or_all(3) == 3
