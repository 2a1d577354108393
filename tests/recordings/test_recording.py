"""Recordings: checks at the door, selection, files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from predictlearn.errors import InputError
from predictlearn.recordings import (
    Recording,
    data_folder,
    datasets,
    find_dataset,
    load_recording,
)

pytestmark = pytest.mark.quick


def arrays(n_trials=4, n_bins=10, n_neurons=3, n_in=2):
    rng = np.random.default_rng(0)
    return (
        rng.normal(size=(n_trials, n_bins, n_neurons)),
        rng.normal(size=(n_trials, n_bins, n_in)),
    )


def test_sizes_and_immutability():
    y, x = arrays()
    r = Recording(y, x, dt=0.05, outputs=x[:, :, :1])
    assert (r.n_trials, r.n_bins, r.n_neurons, r.n_in, r.n_out) == (4, 10, 3, 2, 1)
    assert r.trials["trial"].tolist() == [0, 1, 2, 3]
    with pytest.raises(ValueError, match="read-only"):
        r.activity[0, 0, 0] = 1.0
    y[0, 0, 0] = 99.0
    assert r.activity[0, 0, 0] != 99.0


def spoil(kind):
    y, x = arrays(n_trials=4, n_bins=10, n_neurons=3)
    out, kw = None, {"dt": 0.05}
    if kind == "swapped inputs":
        x = x.transpose(1, 0, 2)
    elif kind == "swapped activity":
        y = y.transpose(0, 2, 1)
    elif kind == "neurons first":
        y = y.transpose(2, 1, 0)
    elif kind == "inputs last axes":
        x = x.transpose(0, 2, 1)
    elif kind == "two axes":
        y = y[0]
    elif kind == "one trial":
        y, x = y[:1], x[:1]
    elif kind == "one neuron":
        y = y[:, :, :1]
    elif kind == "one bin":
        y, x = y[:, :1], x[:, :1]
    elif kind == "nan neuron":
        y[:, :, 1] = np.nan
    elif kind == "constant neuron":
        y[:, :, 2] = 3.0
    elif kind == "infinite":
        y[0, 0, 0] = np.inf
    elif kind == "nan input":
        x[0, 0, 0] = np.nan
    elif kind == "outputs":
        out = np.zeros((4, 9, 1))
    elif kind == "dt":
        kw["dt"] = -0.05
    elif kind == "observed":
        kw["observed"] = "rates"
    elif kind == "trial table":
        kw["trials"] = pd.DataFrame({"a": [1, 2]})
    elif kind == "table type":
        kw["trials"] = [1, 2]
    elif kind == "words":
        y = "words"
    return y, x, out, kw


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("swapped inputs", r"\(trials, time, n_in\).*look swapped"),
        ("swapped activity", r"activity looks like \(trials, neurons, time\)"),
        ("neurons first", r"activity looks like \(neurons, time, trials\)"),
        ("inputs last axes", r"inputs looks like \(trials, n_in, time\)"),
        ("two axes", r"\(trials, time, neurons\); got 2 axes"),
        ("one trial", "at least two trials"),
        ("one neuron", "at least two neurons"),
        ("one bin", "at least two time bins"),
        ("nan neuron", r"neurons \[1\] have no value"),
        ("constant neuron", r"neurons \[2\] never change"),
        ("infinite", "infinity"),
        ("nan input", "inputs must be finite"),
        ("outputs", r"outputs must have shape \(trials, time, n_out\)"),
        ("dt", "dt must be a positive number"),
        ("observed", "Did you mean 'rate'"),
        ("trial table", "one row a trial"),
        ("table type", "pandas DataFrame"),
        ("words", "must be numbers"),
    ],
)
def test_bad_input_is_refused(kind, message):
    y, x, out, kw = spoil(kind)
    with pytest.raises(InputError, match=message):
        Recording(y, x, outputs=out, **kw)


def test_select():
    y, x = arrays()
    r = Recording(y, x, dt=0.05, trials=pd.DataFrame({"target": [0, 90, 0, 90]}))
    chosen = r.select(r.trials["target"] == 90)
    assert np.array_equal(chosen.activity, y[[1, 3]])
    assert chosen.trials["target"].tolist() == [90, 90]
    assert np.array_equal(r.select([3, 0]).inputs, x[[3, 0]])
    with pytest.raises(InputError, match="one value a trial"):
        r.select(np.ones(3, dtype=bool))
    with pytest.raises(InputError, match=r"0\.\.3"):
        r.select([0, 7])
    with pytest.raises(InputError, match="mask or a list"):
        r.select([0.5, 1.0])
    with pytest.raises(InputError, match="at least two trials"):
        r.select([1])


def test_first_bins():
    y, x = arrays()
    y[2, 5:] = np.nan
    r = Recording(y, x, dt=0.05)
    assert r.first_bins(5).n_trials == 4
    assert r.first_bins(6).n_trials == 3
    assert r.first_bins(6).trials["trial"].tolist() == [0, 1, 3]
    assert r.first_bins(6, complete=False).n_trials == 4
    with pytest.raises(InputError, match="at most 10"):
        r.first_bins(11)


def test_save_and_load(tmp_path):
    y, x = arrays()
    y = np.rint(np.abs(10 * y))
    y[0, 3] = np.nan
    r = Recording(
        y,
        x,
        dt=0.05,
        outputs=x[:, :, :1],
        trials=pd.DataFrame({"target": [0.0, 45.0, 90.0, 45.0], "block": list("aabb")}),
        observed="counts",
        metadata={"name": "demo", "simulated": True},
    )
    file = r.save_npz(tmp_path / "demo")
    again = load_recording(file)
    assert np.array_equal(again.activity, r.activity, equal_nan=True)
    assert np.array_equal(again.outputs, r.outputs)
    pd.testing.assert_frame_equal(again.trials, r.trials)
    assert again.observed == "counts"
    assert again.metadata == {"name": "demo", "simulated": True}
    assert [p.name for p in tmp_path.iterdir()] == ["demo.npz"]
    with pytest.raises(InputError, match="does not exist"):
        r.save_npz(tmp_path / "nowhere" / "demo.npz")


def test_files_that_cannot_be_read(tmp_path):
    y, x = arrays()
    file = Recording(y, x, dt=0.05).save_npz(tmp_path / "demo.npz")
    with pytest.raises(InputError, match="no such file"):
        load_recording(tmp_path / "other.npz")
    content = file.read_bytes()
    for part in (len(content) // 2, 10, 0):
        file.write_bytes(content[:part])
        with pytest.raises(InputError, match="not a readable"):
            load_recording(file)
    np.savez(file, activity=y, dt=0.05)
    with pytest.raises(InputError, match="lacks inputs"):
        load_recording(file)
    np.savez(file, activity=y, inputs=x, dt=0.05, metadata=np.str_("{broken"))
    with pytest.raises(InputError, match="must be JSON"):
        load_recording(file)
    np.savez(file, activity=np.array([{"a": 1}], dtype=object), inputs=x, dt=0.05)
    with pytest.raises(InputError, match="not a readable"):
        load_recording(file)
    np.savez(file, activity=y, inputs=x, dt=np.str_("slow"))
    with pytest.raises(InputError, match="one number of seconds"):
        load_recording(file)


def test_minimal_npz_of_a_user(tmp_path):
    y, x = arrays()
    np.savez(tmp_path / "mine.npz", activity=y, inputs=x, dt=0.01)
    r = load_recording(tmp_path / "mine.npz")
    assert r.dt == 0.01
    assert r.observed == "rate"


def test_registry(monkeypatch, tmp_path):
    assert {"simulated-learning", "bci-learning", "bci-redundancy"} <= {d.name for d in datasets()}
    assert all(d.source and d.licence and d.place and d.citation for d in datasets())
    with pytest.raises(InputError, match="Did you mean 'bci-learning'"):
        find_dataset("bci-learnin")
    monkeypatch.setenv("PREDICTLEARN_DATA", str(tmp_path))
    with pytest.raises(InputError, match="mobeets/neural-engagement, commit ab2f1ec3f425"):
        find_dataset("bci-learning")
    folder = tmp_path / "bci-learning-hennig2021"
    folder.mkdir()
    (folder / "20160728.mat").write_bytes(b"")
    with pytest.raises(InputError, match=r"20160728\.mat is not the registered file"):
        find_dataset("bci-learning")


def test_data_sets_are_looked_for_where_the_user_said_and_nowhere_else(monkeypatch, tmp_path):
    place = Path("shared", "data", "bci-learning-hennig2021", "20160728.mat")
    monkeypatch.delenv("PREDICTLEARN_DATA", raising=False)
    monkeypatch.setenv("PREDICTLEARN_CACHE", str(tmp_path / "cache"))
    work = tmp_path / "work" / "main"
    work.mkdir(parents=True)
    monkeypatch.chdir(work)
    planted = tmp_path / "work" / place
    planted.parent.mkdir(parents=True)
    planted.write_bytes(b"planted")
    assert data_folder() == tmp_path / "cache"
    with pytest.raises(InputError) as caught:
        find_dataset("bci-learning")
    message = str(caught.value)
    assert f"not at {tmp_path / 'cache'}" in message
    assert "commit ab2f1ec3f425" in message
    assert "set PREDICTLEARN_DATA" in message

    monkeypatch.setenv("PREDICTLEARN_DATA", str(tmp_path / "own"))
    assert data_folder() == tmp_path / "own"
    with pytest.raises(InputError, match=f"not at {tmp_path / 'own'}"):
        find_dataset("bci-learning")


def test_metadata_survives_as_json():
    y, x = arrays()
    r = Recording(y, x, dt=0.05, metadata={"name": "demo", "licence": "MIT"})
    assert json.loads(json.dumps(dict(r.metadata))) == {"name": "demo", "licence": "MIT"}
