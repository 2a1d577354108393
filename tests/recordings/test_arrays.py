"""Readers of arrays, MATLAB files and the public data sets."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

import predictlearn as pl
from predictlearn.errors import InputError, SilentNeuronsWarning
from predictlearn.recordings import (
    load_archerfish,
    load_bci_golub,
    load_bci_learning,
    load_bci_redundancy,
    load_rat_choices,
    load_recording,
)
from predictlearn.recordings.datasets.behaviour import arrays_of_pickle
from predictlearn.recordings.readers.mat_file import MatFile

pytestmark = pytest.mark.quick

# -- arrays and MATLAB files ---------------------------------------------------------------------


def arrays():
    rng = np.random.default_rng(3)
    return rng.normal(size=(4, 12, 3)), rng.normal(size=(4, 12, 2)), rng.normal(size=4)


@pytest.mark.parametrize(
    "axes", ["trials, time, neurons", "neurons time trials", "time,trials,neurons"]
)
def test_axes_in_any_order(axes, tmp_path):
    y, x, side = arrays()
    order = [("trials", "time", "neurons").index(a) for a in axes.replace(",", " ").split()]
    stored = {"y": y.transpose(order), "x": x.transpose(order), "side": side, "bin": 0.02}
    stored["one"] = x[:, :, 0] if order.index(0) < order.index(1) else x[:, :, 0].T
    np.savez(tmp_path / "a.npz", **stored)
    savemat(tmp_path / "a.mat", stored)
    options = {
        "activity": "y",
        "inputs": ["x", "side", "one"],
        "dt": "bin",
        "axes": axes,
        "trials": {"side": "side"},
    }
    wanted = np.concatenate([x, np.repeat(side[:, None, None], 12, axis=1), x[:, :, :1]], axis=2)
    for file in ("a.npz", "a.mat"):
        r = load_recording(tmp_path / file, **options)
        assert np.array_equal(r.activity, y)
        assert np.array_equal(r.inputs, wanted)
        assert r.dt == 0.02
        assert r.trials["side"].tolist() == side.tolist()


def unequal():
    y, x, _ = arrays()
    lengths = [12, 7, 9, 10]
    return (
        [one[:n] for one, n in zip(y, lengths, strict=True)],
        [one[:n] for one, n in zip(x, lengths, strict=True)],
        lengths,
    )


def cells(parts):
    stored = np.empty(len(parts), dtype=object)
    stored[:] = parts
    return stored


def structures(**fields):
    kinds = [(name, object) for name in fields]
    stored = np.empty(len(next(iter(fields.values()))), dtype=kinds)
    for name, parts in fields.items():
        stored[name] = cells(parts)
    return stored


def check_unequal(r):
    ys, xs, lengths = unequal()
    assert r.activity.shape == (4, 12, 3)
    assert r.trials["n_bins"].tolist() == lengths
    for k, n in enumerate(lengths):
        assert np.array_equal(r.activity[k, :n], ys[k])
        assert np.array_equal(r.inputs[k, :n], xs[k])
        assert np.isnan(r.activity[k, n:]).all()
        assert (r.inputs[k, n:] == 0).all()
    assert "inputs are 0" in r.metadata["padding"]


@pytest.mark.parametrize("axes", ["trials, time, neurons", "neurons, time, trials"])
def test_an_input_of_two_axes_in_either_order(axes):
    rng = np.random.default_rng(0)
    y, x = rng.normal(size=(8, 20, 5)), rng.normal(size=(8, 20))
    stored = y if axes.startswith("trials") else y.transpose(2, 1, 0)
    for given in (x, x.T):
        r = pl.read_arrays({"y": stored, "x": given}, "y", inputs="x", dt=0.1, axes=axes)
        assert np.array_equal(r.inputs[:, :, 0], x)
    held = pl.read_arrays({"y": stored, "x": x[:, :3]}, "y", inputs="x", dt=0.1, axes=axes)
    assert held.n_in == 3


def test_cells_and_structures_of_unequal_trials(tmp_path):
    ys, xs, _ = unequal()
    turned = [one.T for one in ys]
    file = tmp_path / "a.mat"
    savemat(
        file,
        {
            "y": cells(ys),
            "x": cells(xs),
            "turned": cells(turned),
            "turned_x": cells([one.T for one in xs]),
            "data": structures(y=ys, x=xs, side=[1.0, 2.0, 3.0, 4.0]),
            "deep": {"blocks": structures(y=[ys[0], ys[1]], x=[xs[0], xs[1]])},
        },
    )
    check_unequal(pl.read_mat(file, "y", inputs="x", dt=0.1))
    check_unequal(
        pl.read_mat(file, "turned", inputs="turned_x", dt=0.1, axes="neurons, time, trials")
    )
    r = pl.read_mat(file, "data.y", inputs="data.x", dt=0.1, trials={"side": "data.side"})
    check_unequal(r)
    assert r.trials["side"].tolist() == [1, 2, 3, 4]
    r = pl.read_mat(file, "deep.blocks.y", inputs="deep.blocks.x", dt=0.1)
    assert np.array_equal(r.activity[1, :7], ys[1])
    check_unequal(pl.read_arrays({"y": ys, "x": xs}, "y", inputs="x", dt=0.1))


def test_trials_one_after_the_other(tmp_path):
    ys, xs, lengths = unequal()
    number = np.repeat([5, 2, 8, 9], lengths)
    stored = {
        "y": np.concatenate(ys),
        "x": np.concatenate(xs),
        "k": number,
        "where": number * 10.0,
    }
    savemat(tmp_path / "a.mat", stored)
    options = {"inputs": "x", "dt": 0.1, "trial_index": "k", "trials": {"where": "where"}}
    for r in (
        pl.read_mat(tmp_path / "a.mat", "y", **options),
        pl.read_arrays(stored, "y", **options),
    ):
        check_unequal(r)
        assert r.trials["trial"].tolist() == [5, 2, 8, 9]
        assert r.trials["where"].tolist() == [50, 20, 80, 90]


def matlab73(path, variables):
    """Write what MATLAB writes with -v7.3: transposed, cells by reference, after 512 bytes."""
    h5py = pytest.importorskip("h5py")
    with h5py.File(path, "w", userblock_size=512) as raw:
        hidden = raw.create_group("#refs#")

        def stored(place, name, value):
            if isinstance(value, dict):
                group = place.create_group(name)
                group.attrs["MATLAB_class"] = np.bytes_("struct")
                for key, item in value.items():
                    stored(group, key, item)
            elif isinstance(value, list | tuple):
                references = []
                for item in value:
                    key = f"r{len(hidden)}"
                    stored(hidden, key, item)
                    references.append(hidden[key].ref)
                data = place.create_dataset(
                    name, data=np.array(references, dtype=object)[None, :], dtype=h5py.ref_dtype
                )
                # a tuple stands for the field of several structures, which has no class
                if isinstance(value, list):
                    data.attrs["MATLAB_class"] = np.bytes_("cell")
            elif isinstance(value, str):
                data = place.create_dataset(name, data=np.array([[ord(c)] for c in value], "u2"))
                data.attrs["MATLAB_class"] = np.bytes_("char")
            else:
                data = place.create_dataset(name, data=np.atleast_2d(value).T)
                data.attrs["MATLAB_class"] = np.bytes_("double")

        for name, value in variables.items():
            stored(raw, name, value)
    with path.open("r+b") as stream:
        stream.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x02IM")
    return path


def test_files_of_version_73(tmp_path):
    y, x, side = arrays()
    ys, xs, _ = unequal()
    file = matlab73(
        tmp_path / "a.mat",
        {
            "y": y,
            "x": x,
            "side": side,
            "bin": 0.02,
            "note": "text",
            "ys": ys,
            "xs": xs,
            "data": {"y": tuple(ys), "x": tuple(xs)},
            "one": {"y": y, "inner": {"x": x}},
        },
    )
    r = load_recording(file, activity="y", inputs=["x", "side"], dt="bin")
    assert np.array_equal(r.activity, y)
    assert np.array_equal(r.inputs[:, :, :2], x)
    assert np.array_equal(r.inputs[:, 3, 2], side)
    check_unequal(pl.read_mat(file, "ys", inputs="xs", dt=0.1))
    check_unequal(pl.read_mat(file, "data.y", inputs="data.x", dt=0.1))
    assert np.array_equal(pl.read_mat(file, "one.y", inputs="one.inner.x", dt=1.0).inputs, x)
    one = MatFile(file)
    assert np.array_equal(one.get("data(2).y"), ys[1])
    assert np.array_equal(one.get("ys(3)"), ys[2])
    assert one.variables["y"] == "4 x 12 x 3 double"
    for key, message in (
        ("yy", "no variable 'yy'; it has .*side .*Did you mean"),
        ("note", "must hold numbers"),
        ("data", "a structure with fields x, y"),
        ("one.z", "no field 'z'; fields: inner, y"),
        ("data(7).y", "4 items; got number 7"),
    ):
        with pytest.raises(InputError, match=message):
            one.get(key)
    with pytest.raises(InputError, match=r"say what to read.*y \(4 x 12 x 3 double\)"):
        load_recording(file)


def test_mat_files_that_are_refused(tmp_path):
    y, x, _ = arrays()
    file = tmp_path / "a.mat"
    savemat(file, {"y": y, "x": x, "s": {"a": 1.0}, "text": "hello", "two": np.zeros((4, 5, 2))})
    for call, message in (
        (lambda: load_recording(file), r"activity is missing.*y \(4 x 12 x 3 float64\)"),
        (lambda: load_recording(file, activity="y"), "dt is missing"),
        (lambda: load_recording(file, activty="y"), "Did you mean 'activity'"),
        (lambda: pl.read_mat(file, "Y", dt=0.1), r"no variable 'Y'; it has y \(4 x 12 x 3"),
        (lambda: pl.read_mat(file, "s", dt=0.1), "a structure with fields a"),
        (lambda: pl.read_mat(file, "s.b", dt=0.1), "no field 'b'; fields: a"),
        (lambda: pl.read_mat(file, "y.b", dt=0.1), "no structure"),
        (lambda: pl.read_mat(file, "text", dt=0.1), "must hold numbers"),
        (lambda: pl.read_mat(file, "y-", dt=0.1), "no name of a variable"),
        (
            lambda: pl.read_mat(file, "y", inputs="two", dt=0.1),
            "trial 0 has 5 bins, and activity 12",
        ),
        (lambda: pl.read_mat(file, "y", dt=0.1, axes="time, units"), "axes must be"),
        (lambda: pl.read_mat(file, "y", dt="x"), "one number of seconds"),
        (lambda: pl.read_mat(file, "y", dt=0.1, trials={"a": "x"}), "one value a trial"),
        (lambda: pl.read_mat(tmp_path / "no.mat", "y", dt=0.1), "no such file"),
        (lambda: pl.read_arrays({"y": y}, "x", dt=0.1), "name of an array must be one of 'y'"),
    ):
        with pytest.raises(InputError, match=message):
            call()
    content = file.read_bytes()
    for size in (len(content) // 2, 200, 0):
        file.write_bytes(content[:size])
        with pytest.raises(InputError):
            pl.read_mat(file, "two", dt=0.1)


def test_silent_neurons_are_left_out_and_named():
    y, x, _ = arrays()
    y[:, :, 1] = 2.0
    with pytest.warns(SilentNeuronsWarning, match="1 of 3 neurons never change"):
        r = pl.read_arrays({"y": y, "x": x}, "y", inputs="x", dt=0.1)
    assert r.metadata["neurons"] == [0, 2]
    assert r.metadata["silent"] == [1]


def test_recordings_without_inputs(tmp_path):
    y, _, _ = arrays()
    r = pl.Recording(y, None, dt=0.1)
    assert (r.n_in, r.inputs.shape) == (0, (4, 12, 0))
    assert pl.Recording(y, None, dt=0.1).n_in == 0
    assert load_recording(r.save_npz(tmp_path / "a.npz")).n_in == 0
    with pytest.raises(InputError, match="at least one column"):
        pl.LowRankRNN(rank=1, dt=0.1, n_bootstrap=0).fit(r.activity, r.inputs)


# -- the public data sets ------------------------------------------------------------------------


def found(folder, name):
    file = folder / name
    if not file.is_file():
        pytest.skip(f"no {file}")
    return file


def test_bci_redundancy(shared_data):
    file = found(shared_data, "bci-redundancy-hennig2018/20131218.mat")
    session = load_bci_redundancy(file.parent)
    for block, shortest, longest in (
        (session.intuitive, 12, 81),
        (session.perturbed, 14, 142),
    ):
        assert (block.n_trials, block.n_neurons, block.observed) == (167, 87, "counts")
        assert block.trials["n_bins"].agg(["min", "max"]).tolist() == [shortest, longest]
        assert set(block.trials["target"]) == {0.0, 90.0, 180.0, 270.0}
        assert np.array_equal((~np.isnan(block.activity[:, :, 0])).sum(1), block.trials["n_bins"])
    assert session.first_bins(12).intuitive.n_trials == 167
    # the stored velocities follow from the counts by the readout
    stored = MatFile(file)
    for number, block, readout in (
        (1, session.intuitive, session.intuitive_readout),
        (2, session.perturbed, session.perturbed_readout),
    ):
        now = np.asarray(stored.get(f"D.blocks({number}).vel"))
        after = np.asarray(stored.get(f"D.blocks({number}).velNext"))
        counts = block.activity[~np.isnan(block.activity[:, :, 0])]
        assert len(counts) == len(now)
        moved = now @ readout.smoothing.T + readout.command(counts)
        assert np.abs(moved - after).max() < 3e-5
    with pytest.raises(InputError, match="datasets get bci-redundancy"):
        load_bci_redundancy(shared_data / "nowhere.mat")
    other = found(shared_data, "bci-golub2018/exampleData.mat")
    with pytest.raises(InputError, match="not of the expected structure"):
        load_bci_redundancy(other)


def test_bci_golub(shared_data):
    file = found(shared_data, "bci-golub2018/exampleData.mat")
    session = load_bci_golub(file)
    for r, readout in (
        (session.before, session.intuitive_readout),
        (session.after, session.perturbed_readout),
    ):
        assert r.activity.shape == (8, 69, 86)
        assert "not time" in r.metadata["points"]
        assert np.abs(readout.command(r.activity) - r.outputs).max() < 1e-6
        np.testing.assert_allclose(np.linalg.norm(r.inputs, axis=2), 1.0, atol=1e-6)
        middle = r.trials["direction"].to_numpy()
        angle = np.rad2deg(np.arctan2(r.inputs[:, :, 1], r.inputs[:, :, 0]))
        assert np.abs((angle - middle[:, None] + 180) % 360 - 180).max() < 22.51


def test_a_general_reader_agrees_with_that_of_the_data_set(shared_data):
    file = found(shared_data, "bci-learning-hennig2021/20160728.mat")
    one = load_bci_learning(file).intuitive
    r = load_recording(
        file,
        activity="Bs(1).latents",
        trial_index="Bs(1).trial_index",
        dt=0.045,
        trials={"target": "Bs(1).target"},
        observed="current",
    )
    assert np.array_equal(r.trials["target"], one.trials["target"])
    for k in range(r.n_trials):
        # that of the data set also knows that some bins are missing within a trial
        there = one.activity[k][~np.isnan(one.activity[k, :, 0])]
        assert np.array_equal(r.activity[k, : len(there)], there)


def test_behaviour(shared_data, tmp_path):
    fish = load_archerfish(
        found(shared_data, "archerfish-motor-adaptation/motor_adaptation_archerfish.csv")
    )
    assert (len(fish), fish["fish"].nunique()) == (2146, 7)
    assert fish.groupby(["fish", "session", "experiment"]).ngroups == 85
    file = found(shared_data, "rat-learning-psytrack/sampleRatData.npz")
    rat = load_rat_choices(file)
    assert (len(rat), rat["session"].nunique()) == (20_000, 80)
    assert ((rat["choice"] == rat["answer"]) == rat["correct"]).all()
    (tmp_path / "a.csv").write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match="lacks the columns distance"):
        load_archerfish(tmp_path / "a.csv")
    np.savez(tmp_path / "a.npz", x=np.zeros(3))
    with pytest.raises(InputError, match=r"not that data set .*it was not opened"):
        load_rat_choices(tmp_path / "a.npz", allow_pickle=True)


class Planted:
    """What runs when a pickle of it is read."""

    def __reduce__(self):
        return (print, ("planted code ran",))


def test_pickles_are_read_for_arrays_alone(capsys):
    good = {"y": np.arange(3), "name": "rat", "inputs": {"s1": np.ones((2, 2))}, "n": np.float64(2)}
    for protocol in range(2, 5):
        back = arrays_of_pickle(pickle.dumps(good, protocol))
        assert np.array_equal(back["y"], good["y"])
        assert np.array_equal(back["inputs"]["s1"], good["inputs"]["s1"])
        assert (back["name"], back["n"]) == ("rat", 2.0)
    for bad in (Planted(), {"y": [Planted()]}, np.array(Planted(), dtype=object), print, Path("a")):
        with pytest.raises(pickle.UnpicklingError, match="holds more than arrays"):
            arrays_of_pickle(pickle.dumps(bad))
    encode = b"c_codecs\nencode\n(Vimport os\nVrot13\ntR."
    with pytest.raises(pickle.UnpicklingError, match="rot13"):
        arrays_of_pickle(encode)
    assert capsys.readouterr().out == ""


# -- the command line ----------------------------------------------------------------------------


def test_fit_reads_mat_and_nwb_files(tmp_path):
    from typer.testing import CliRunner

    from predictlearn.cli.app import app
    from predictlearn.simulation import random_inputs, simulate_recording

    o = pl.Overlaps(np.diag([1.0, 1.0, 1.0, 1.0])).replace(vm=0.6, vu=0.4)
    made = simulate_recording(
        o, random_inputs(12, 30, 1, 0.1, seed=0), dt=0.1, n_neurons=20, r2=0.9
    )
    file = tmp_path / "a.mat"
    savemat(file, {"y": made.activity, "x": made.inputs})
    fast = ["--rank", "1", "--tau", "1.0", "--latency", "0", "--bootstrap", "0", "--jobs", "1"]

    def invoke(*arguments):
        return CliRunner().invoke(app, ["fit", *map(str, arguments)])

    asked = invoke(file, *fast)
    assert asked.exit_code != 0
    text = " ".join(str(asked.exception or asked.output).split()) + " ".join(asked.output.split())
    assert "--read activity=name" in text
    assert "12 x 30 x 20" in text
    done = invoke(file, "--read", "activity=y", "--read", "inputs=x", "--read", "dt=0.1", *fast)
    assert done.exit_code == 0, done.output
    assert "12 trials, 30 bins" in " ".join(done.output.split())
    wrong = invoke(file, "--read", "activity", *fast)
    assert wrong.exit_code != 0
    assert "KEY=VALUE" in str(wrong.exception) + wrong.output
