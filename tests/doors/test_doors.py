"""Every kind of bad input at every door it can come through: Python and the command line.

One table of what is spoiled; what each single argument refuses is tested beside its own code.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

import predictlearn as pl
from predictlearn import pipeline
from predictlearn.cli import app
from predictlearn.fitting import LowRankRNN, select_rank
from predictlearn.recordings import find_dataset, load_bci_learning, load_recording

pytestmark = pytest.mark.quick

RUNNER = CliRunner()


def arrays():
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(8, 12, 1)).cumsum(axis=1)
    activity = inputs * rng.normal(size=5) + 0.1 * rng.normal(size=(8, 12, 5))
    return activity, inputs


def spoilt(kind):
    """Activity, inputs and other parts of a recording that cannot be used."""
    y, x = arrays()
    more = {"dt": 0.1, "outputs": x.copy()}
    if kind == "axes":
        y = y.transpose(0, 2, 1)
    elif kind == "trials and time swapped":
        x = x.transpose(1, 0, 2)
    elif kind == "two axes":
        y = y[0]
    elif kind == "NaN column":
        y[:, :, 3] = np.nan
    elif kind == "NaN input":
        x[2, 3, 0] = np.nan
    elif kind == "one neuron":
        y = y[:, :, :1]
    elif kind == "one trial":
        y, x, more["outputs"] = y[:1], x[:1], more["outputs"][:1]
    elif kind == "constant input":
        x = np.ones_like(x)
    elif kind == "silent input":
        x = np.concatenate([x, 0 * x], axis=2)
    elif kind == "negative bin":
        more["dt"] = -0.1
    return y, x, more


RECORDINGS = [
    ("axes", r"activity looks like \(trials, neurons, time\)"),
    ("trials and time swapped", "look swapped"),
    ("two axes", r"\(trials, time, neurons\).*got 2 axes"),
    ("NaN column", r"neurons \[3\] have no value"),
    ("NaN input", "inputs must be finite"),
    ("one neuron", "at least two neurons"),
    ("one trial", "at least two trials"),
    ("constant input", "constant over all trials and bins"),
    ("silent input", r"columns \[1\] are zero throughout"),
    ("negative bin", "dt must be a positive number"),
]
# a recording may have such inputs; they tell nothing of the dynamics, so the fit refuses them
ONLY_THE_FIT = ("constant input", "silent input")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working directory; what is in it afterwards is what was in it before."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PREDICTLEARN_DATA", str(tmp_path / "data"))
    return tmp_path


def refused(*words, message):
    """Run a command that has to end with one message, exit code 2, and nothing written."""
    before = {p: p.read_bytes() for p in Path().rglob("*") if p.is_file()}
    result = RUNNER.invoke(app, [str(w) for w in words], env={"COLUMNS": "200"})
    said = " ".join(result.output.split())
    assert result.exit_code == 2, said
    assert said.count("Error: ") == 1, said
    assert re.search(message, said), said
    assert "Traceback" not in said
    assert {p: p.read_bytes() for p in Path().rglob("*") if p.is_file()} == before
    assert not Path("out").exists()


@pytest.mark.parametrize(("kind", "message"), RECORDINGS)
def test_recordings_in_python(kind, message):
    y, x, more = spoilt(kind)
    dt = more["dt"]
    if kind not in ONLY_THE_FIT:
        with pytest.raises(pl.InputError, match=message):
            pl.Recording(y, x, **more)
    # without the trial table of a recording, two axes are counted by another check
    alone = "activity must have 3 axes" if kind == "two axes" else message
    for call in (
        lambda: LowRankRNN(rank=1, dt=dt, tau=1.0, n_bootstrap=0).fit(y, x),
        lambda: select_rank(y, x, ranks=(1,), cv=4, dt=dt, tau=1.0),
    ):
        with pytest.raises(pl.InputError, match=alone):
            call()


@pytest.mark.parametrize(("kind", "message"), RECORDINGS)
def test_recordings_in_files(kind, message, folder):
    y, x, more = spoilt(kind)
    np.savez("bad.npz", activity=y, inputs=x, **more)
    if kind not in ONLY_THE_FIT:
        with pytest.raises(pl.InputError, match=message):
            load_recording("bad.npz")
    refused("fit", "bad.npz", "--rank", 1, "--jobs", 1, "--output", "out", message=message)
    refused("predict", "bad.npz", "--jobs", 1, "--output", "out", message=message)


def test_rank_above_the_number_of_neurons(folder):
    y, x = arrays()
    pl.Recording(y, x, dt=0.1).save_npz("good")
    with pytest.raises(pl.InputError, match=r"at most the number of neurons \(5\); got 6"):
        LowRankRNN(rank=6, dt=0.1).fit(y, x)
    with pytest.raises(pl.InputError, match=r"at most the number of neurons \(5\); got \[1, 6\]"):
        select_rank(y, x, ranks=(1, 6), dt=0.1)
    message = "below the number of neurons, 5; got 6"
    refused("fit", "good.npz", "--rank", 6, "--output", "out", message=message)


@pytest.mark.parametrize("cut", [0, 10, 0.5, 0.98])
@pytest.mark.parametrize("command", ["fit", "predict"])
def test_truncated_recordings(cut, command, folder):
    y, x = arrays()
    pl.Recording(y, x, dt=0.1).save_npz("good")
    content = Path("good.npz").read_bytes()
    Path("cut.npz").write_bytes(content[: int(cut if cut > 1 else cut * len(content))])
    with pytest.raises(pl.InputError, match="not a readable"):
        load_recording("cut.npz")
    refused(command, "cut.npz", "--output", "out", message="not a readable .npz")


def test_missing_files(folder):
    for call, message in (
        (lambda: load_recording("no.npz"), r"no such file: no\.npz"),
        (lambda: pipeline.predict("no.npz"), r"no such file: no\.npz"),
        (lambda: load_bci_learning("no.mat"), r"no such file: no\.mat.*mobeets"),
        (lambda: pl.Protocol.load("no.yaml"), r"no protocol file no\.yaml"),
        (lambda: find_dataset("bci-learning"), r"not at .*data.*mobeets.*PREDICTLEARN_DATA"),
        (lambda: pipeline.predict(dataset="bci-learning"), "mobeets"),
    ):
        with pytest.raises(pl.InputError, match=message):
            call()
    absent = r"not at .*20160728\.mat.*mobeets/neural-engagement, commit .*PREDICTLEARN_DATA"
    refused("predict", "--dataset", "bci-learning", "--output", "out", message=absent)
    refused("fit", "bci-learning", "--output", "out", message=absent)
    refused("compare", "no.yaml", "--output", "out", message=r"no protocol file no\.yaml")
    refused("protocols", "show", "no.yaml", message=r"no protocol file no\.yaml")


@pytest.mark.parametrize("share", [0.0, 0.5, 0.999])
def test_truncated_mat_file(share, shared_data, folder):
    source = shared_data / "bci-learning-hennig2021" / "20160728.mat"
    if not source.is_file():
        pytest.skip(f"no {source}")
    content = source.read_bytes()
    file = folder / "data" / "bci-learning-hennig2021" / "20160728.mat"
    file.parent.mkdir(parents=True)
    file.write_bytes(content[: int(share * len(content))])
    message = r"20160728\.mat.*mobeets/neural-engagement"
    with pytest.raises(pl.InputError, match=message):
        load_bci_learning(file)
    refused("predict", "--dataset", "bci-learning", "--output", "out", message=message)
    refused("fit", "bci-learning", "--output", "out", message=message)


# -- protocols --------------------------------------------------------------------------------

GOOD = {
    "name": "one",
    "cohort": {"networks": 2, "overlaps": {"zm": 0.1}},
    "tasks": {"A": {"type": "filter", "decay": 0.2, "duration": 5.0}},
    "rule": {"type": "gradient-descent", "rate": 0.01},
    "arms": {
        "first": {"phases": [{"task": "A", "epochs": 5}]},
        "second": {"phases": [{"task": "A", "epochs": 5}], "start": {"uu": 2.0}},
    },
}
PROTOCOLS = [
    (
        {"rule": {"type": "gradient-descent", "rate": -0.01}},
        r"line \d+: rule\.rate: .*greater",
    ),
    ({"cohort": {"networks": 2, "overlaps": {"zm": 3.0}}}, r"cohort.*(not realisable|no network)"),
    ({"arms": {**GOOD["arms"], "second": {**GOOD["arms"]["second"], "start": {"mu": 5.0}}}}, "mu"),
    ({"arms": {**GOOD["arms"], "second": {"phases": [{"task": "A", "epochs": -5}]}}}, "epochs"),
    (
        {"arms": {**GOOD["arms"], "second": {"phases": [{"task": "B", "epochs": 5}]}}},
        "'B' is not one",
    ),
]


def test_the_good_protocol_is_good():
    assert pl.Protocol.from_dict(GOOD).run().failed.empty


@pytest.mark.parametrize(("change", "message"), PROTOCOLS)
@pytest.mark.parametrize("command", ["run", "compare"])
def test_protocols_that_cannot_run(change, message, command, folder):
    Path("bad.yaml").write_text(yaml.safe_dump({**GOOD, **change}))
    with pytest.raises(pl.InputError, match=message):
        pl.Protocol.load("bad.yaml").run()
    refused(command, "bad.yaml", "--jobs", 1, "--output", "out", message=message)


@pytest.mark.parametrize(
    "text", ["name: [unclosed", "name: one\n\tcohort: 2", "- a\n- b", "", "name: one\n\x00"]
)
def test_broken_yaml(text, folder):
    Path("bad.yaml").write_text(text)
    with pytest.raises(pl.InputError, match=r"bad\.yaml"):
        pl.Protocol.load("bad.yaml")
    refused("run", "bad.yaml", "--output", "out", message=r"bad\.yaml")


# -- theory and network -----------------------------------------------------------------------

TASK = pl.Filter(decay=0.2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: pl.Overlaps(np.eye(4)).replace(zm=3.0), "no network has these"),
        (lambda: pl.Overlaps(-np.eye(4)), "not realisable|positive"),
        (lambda: pl.Overlaps(np.ones((3, 4))), "shape|square"),
        (lambda: pl.Overlaps(np.full((4, 4), np.nan)), "finite"),
        (
            lambda: pl.functionally_equivalent(pl.Overlaps(np.eye(4)), mu=5.0),
            r"mu in \[-1, 1\]",
        ),
        (lambda: pl.Overlaps(np.eye(4)).loadings(3), "n_neurons must be"),
        (lambda: pl.GradientDescent(-1.0), "rate must be a positive number"),
        (lambda: pl.GradientDescent(1.0, pathway_rates={"z": -1.0}), r"pathway_rates\['z'\]"),
        (lambda: pl.DirectDescent(-1.0), "rate must be a positive number"),
        (
            lambda: pl.train_network(
                pl.Overlaps(np.eye(4)).loadings(20), TASK, pl.GradientDescent(1e-3), -5
            ),
            "epochs must be",
        ),
        (
            lambda: pl.train_network(np.ones((20, 4)), TASK, pl.GradientDescent(1e-3), 5),
            "loadings must be",
        ),
    ],
)
def test_theory(call, message):
    with pytest.raises(pl.InputError, match=message):
        call()


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        (np.full((6, 12, 1), np.nan), "NaN throughout"),
        (np.full((6, 12, 1), np.inf), "some are infinite"),
    ],
)
def test_outputs_that_say_nothing_are_refused(outputs, message):
    rng = np.random.default_rng(0)
    model = pl.LowRankRNN(n_bootstrap=0)
    with pytest.raises(pl.InputError, match=message):
        model.fit(rng.normal(size=(6, 12, 8)), rng.normal(size=(6, 12, 1)), outputs=outputs)


@pytest.mark.parametrize("kind", ["complex", "str", "object"])
def test_arrays_that_are_not_real_numbers_are_refused(kind):
    with pytest.raises(pl.InputError, match="matrix must be a numeric array"):
        pl.Overlaps(np.eye(4).astype(kind))


def test_a_value_that_is_not_finite_is_refused_before_any_algebra():
    with pytest.raises(pl.InputError, match="mu must be finite"):
        pl.functionally_equivalent(pl.Overlaps(np.eye(4)), "linear", mu=np.nan)


def test_a_mat_file_as_a_recording_says_what_to_do(tmp_path):
    (tmp_path / "session.mat").write_bytes(b"MATLAB 5.0 MAT-file")
    with pytest.raises(pl.InputError, match="--dataset bci-learning"):
        pl.load_recording(tmp_path / "session.mat")
