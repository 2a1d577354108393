"""Arrays, MATLAB files and tables as a stranger brings them: read rightly, or refused."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
from scipy.io import savemat

import predictlearn as pl
from predictlearn.cli.reading import read_file, read_options
from predictlearn.errors import InputError
from predictlearn.recordings import load_recording

DT = 0.02


# -- one session in many forms -------------------------------------------------------------------


def delayed_decision(seed=0, n_trials=14, n_neurons=6):
    """Return spikes, stimulus, wheel and coherence of trials of unequal length."""
    rng = np.random.default_rng(seed)
    bins = rng.integers(40, 60, n_trials)
    bins[3] = n_trials  # a trial may have as many bins as there are trials
    coherence = rng.choice([-1.0, -0.5, 0.5, 1.0], n_trials)
    spikes = [rng.poisson(0.3, (n, n_neurons)).astype(float) for n in bins]
    stimulus = [
        c * ((np.arange(n) >= 10) & (np.arange(n) < 30))
        for n, c in zip(bins, coherence, strict=True)
    ]
    wheel = [np.round(rng.normal(size=n), 5) for n in bins]
    return spikes, stimulus, wheel, coherence


def cells(parts):
    stored = np.empty(len(parts), dtype=object)
    stored[:] = parts
    return stored


def written(folder):
    """Write the session as .npz, .csv (long and wide), .mat and .nwb."""
    spikes, stimulus, wheel, coherence = delayed_decision()
    top = max(map(len, spikes))
    padded = np.full((len(spikes), top, 6), np.nan, np.float32)
    x, y = np.zeros((len(spikes), top)), np.full((len(spikes), top), np.nan)
    for k, part in enumerate(spikes):
        padded[k, : len(part)], x[k, : len(part)], y[k, : len(part)] = part, stimulus[k], wheel[k]
    np.savez(folder / "r.npz", spikes=padded, stimulus=x, wheel=y, bin=DT, coherence=coherence)
    rows = [
        {"trial_id": k, "t": f"{b * DT:.4f}", "stimulus": stimulus[k][b], "wheel": wheel[k][b]}
        | {"coherence": coherence[k], "stim_on": 0.2, "stim_off": 0.6}
        | {f"unit_{i}": part[b, i] for i in range(6)}
        for k, part in enumerate(spikes)
        for b in range(len(part))
    ]
    wide = pd.DataFrame(rows)
    wide.to_csv(folder / "wide.csv", index=False)
    rest = [column for column in wide if not column.startswith("unit_")]
    long = wide.melt(rest, var_name="unit", value_name="spike_count")
    long["unit"] = long["unit"].str[5:].astype(int)
    long.to_csv(folder / "r.csv", index=False)
    savemat(
        folder / "r.mat",
        {
            "spikes": cells([part.T for part in spikes]),
            "stim": cells([part[None] for part in stimulus]),
            "wheel": cells([part[None] for part in wheel]),
            "binsize": DT * 1000,
            "coherence": coherence,
            "choice": cells(["left", "right"] * 7),
            "on": np.full(14, 200.0),
            "off": np.full(14, 600.0),
        },
    )
    return padded, x, y


def read(file, *options, **more):
    return read_file(file, read_options([*options, *(f"{k}={v}" for k, v in more.items())]))


LEVEL = "inputs=[{from: stim_on, to: stim_off, value: coherence}]"


def test_the_same_session_in_every_format(tmp_path):
    padded, x, y = written(tmp_path)
    table = {"trial": "trial_id", "time": "t"}
    forms = [
        read(tmp_path / "r.npz", activity="spikes", inputs="stimulus", outputs="wheel", dt="bin"),
        read(
            tmp_path / "r.csv",
            **table,
            neuron="unit",
            value="spike_count",
            inputs="stimulus",
            outputs="wheel",
        ),
        read(tmp_path / "wide.csv", **table, neuron="unit_*", inputs="stimulus", outputs="wheel"),
        read(tmp_path / "wide.csv", LEVEL, **table, neuron="unit_*", outputs="wheel"),
        read(
            tmp_path / "r.mat",
            activity="spikes",
            inputs="stim",
            outputs="wheel",
            dt="binsize",
            unit="ms",
            axes="neurons time trials",
        ),
        read(
            tmp_path / "r.mat",
            activity="spikes",
            inputs="{from: on, to: off, value: coherence}",
            outputs="wheel",
            dt="binsize",
            unit="ms",
            axes="neurons time trials",
        ),
    ]
    for r in forms:
        assert np.array_equal(r.activity, padded, equal_nan=True)
        assert r.dt == pytest.approx(DT, abs=1e-12)
        np.testing.assert_allclose(r.inputs[:, :, 0], x, atol=1e-12)
        np.testing.assert_allclose(r.outputs[:, :, 0], y, atol=1e-12)
    assert forms[1].trials["coherence"].tolist() == delayed_decision()[3].tolist()
    with pytest.raises(InputError, match=r"20 ms are 0\.02 s.*--read unit=ms"):
        read(tmp_path / "r.mat", activity="spikes", dt="binsize", axes="neurons time trials")


def test_the_same_session_from_an_nwb_file(tmp_path):
    pynwb = pytest.importorskip("pynwb")
    from datetime import UTC, datetime

    padded, x, _ = written(tmp_path)
    rng = np.random.default_rng(5)
    spikes, _, _, coherence = delayed_decision()
    bins = np.array([len(part) for part in spikes])
    start = np.cumsum(np.r_[1.0, bins[:-1] * DT + 1.5])
    content = pynwb.NWBFile("a test", "demo", datetime(2026, 1, 1, tzinfo=UTC))
    for i in range(6):
        at = [
            start[k] + b * DT + rng.uniform(0, DT, int(part[b, i]))
            for k, part in enumerate(spikes)
            for b in range(len(part))
        ]
        content.add_unit(spike_times=np.sort(np.concatenate(at)))
    for name in ("stim_on", "stim_off", "coherence"):
        content.add_trial_column(name, name)
    for k in range(len(spikes)):
        content.add_trial(
            start_time=start[k],
            stop_time=start[k] + bins[k] * DT,
            stim_on=start[k] + 0.2,
            stim_off=start[k] + 0.6,
            coherence=coherence[k],
        )
    with pynwb.NWBHDF5IO(str(tmp_path / "r.nwb"), "w") as stream:
        stream.write(content)
    r = read(tmp_path / "r.nwb", LEVEL, bin=DT)
    assert np.array_equal(r.activity, padded, equal_nan=True)
    np.testing.assert_allclose(r.inputs[:, :, 0], x, atol=1e-9)
    # code in a condition is refused, and not run
    for trials in ("@pd.io.common.os.system('echo ran') == 0", "__import__('os').getcwd() == 1"):
        with pytest.raises(InputError, match="not a condition on the columns"):
            read(tmp_path / "r.nwb", f'trials="{trials}"', bin=DT)
    some = read(tmp_path / "r.nwb", "trials='coherence > 0'", bin=DT)
    assert some.n_trials == (coherence > 0).sum()


# -- counters of trials --------------------------------------------------------------------------


def indexed(index, **more):
    rng = np.random.default_rng(0)
    index = np.asarray(index)
    y = rng.normal(size=(len(index), 3))
    return y, pl.read_arrays({"y": y, "k": index}, "y", dt=0.1, trial_index="k", **more)


def test_a_counter_that_begins_again(tmp_path):
    index = np.tile(np.repeat(np.arange(5), 10), 2)
    y, r = indexed(index)
    assert r.activity.shape == (10, 10, 3)
    assert np.array_equal(r.activity.reshape(100, 3), y)
    assert r.trials["trial"].tolist() == [0, 1, 2, 3, 4] * 2
    assert r.trials["block"].tolist() == [1] * 5 + [2] * 5
    savemat(tmp_path / "a.mat", {"y": y, "k": index + 1.0})
    m = pl.read_mat(tmp_path / "a.mat", "y", dt=0.1, trial_index="k")
    assert np.array_equal(m.activity, r.activity)
    uneven = np.repeat([1, 2, 3, 1, 2, 1, 2, 3, 4], [4, 5, 6, 7, 4, 5, 6, 7, 4])
    y, r = indexed(uneven)
    assert r.trials["n_bins"].tolist() == [4, 5, 6, 7, 4, 5, 6, 7, 4]
    assert np.array_equal(r.activity[~np.isnan(r.activity)], y.ravel())


def test_bins_between_trials_are_no_trial():
    for gap in (0, -1, np.nan):
        index = np.repeat([gap, 7, gap, 8, gap, 9, gap], [3, 10, 5, 10, 2, 10, 4])
        with pytest.warns(UserWarning, match="14 of 44 bins stand between trials"):
            y, r = indexed(index)
        assert r.trials["trial"].tolist() == [7, 8, 9]
        assert np.array_equal(r.activity[1], y[18:28])
    # a trial zero that is one
    assert indexed(np.repeat([0, 1, 2], 10))[1].n_trials == 3


@pytest.mark.parametrize(
    "index",
    [
        np.tile(np.arange(4), 10),  # one bin of each trial after the other
        np.repeat([3, 1, 2, 3, 1, 2], 10),  # conditions
        np.repeat([0, 1, 0, 1, 0, 1], 10),  # a mark that is on within trials
        np.repeat(["a", "b", "a"], 10),
    ],
)
def test_numbers_that_come_back_otherwise_are_refused(index):
    with pytest.raises(InputError, match="the same number comes back"):
        indexed(index)


# -- padding, units, counts ----------------------------------------------------------------------


def zero_padded(seed=0, rate=2.0):
    rng = np.random.default_rng(seed)
    lengths = np.array([30, 25, 20, 28, 30, 15, 22, 30])
    y = rng.poisson(rate, (8, 30, 6)).astype(float)
    y[np.arange(30) >= lengths[:, None]] = 0
    return {"y": y, "n": lengths, "x": rng.normal(size=(8, 30))}


def test_zero_padding_is_asked_about():
    stored = zero_padded()
    how = {"dt": 0.05, "observed": "counts", "inputs": "x"}
    with pytest.raises(InputError, match="5 of 8 trials end with bins in which all neurons"):
        pl.read_arrays(stored, "y", **how)
    for lengths in ("zeros", "n", stored["n"].tolist()):
        r = pl.read_arrays(stored, "y", lengths=lengths, **how)
        assert r.trials["n_bins"].tolist() == stored["n"].tolist()
        assert np.isnan(r.activity[5, 15:]).all()
        assert (r.inputs[5, 15:] == 0).all()
    full = pl.read_arrays(stored, "y", lengths="full", **how)
    assert not np.isnan(full.activity).any()
    for lengths, message in (
        ([1, 2], "number of bins of each of 8 trials"),
        (np.full(8, 31), "from 1 to 30"),
        ("m", "name of an array"),
    ):
        with pytest.raises(InputError, match=message):
            pl.read_arrays(stored, "y", lengths=lengths, **how)


def test_silence_by_chance_is_no_padding():
    """Few neurons with few spikes end with zeros; nothing is asked."""
    for seed in range(30):
        rng = np.random.default_rng(seed)
        rate = rng.uniform(0.02, 0.3) * np.linspace(1.5, 0.5, 30)[:, None]
        y = rng.poisson(rate, (rng.integers(5, 60), 30, 4)).astype(float)
        r = pl.read_arrays({"y": y}, "y", dt=0.05, observed="counts")
        assert not np.isnan(r.activity).any()


def test_units_of_time():
    y = np.random.default_rng(0).poisson(0.4, (5, 20, 4)).astype(float)
    events = {"on": np.full(5, 100.0), "off": np.full(5, 330.0)}
    r = pl.read_arrays(
        {"y": y, "w": 20.0, **events},
        "y",
        dt="w",
        unit="ms",
        observed="counts",
        inputs={"from": "on", "to": "off"},
    )
    assert r.dt == pytest.approx(0.02)
    np.testing.assert_allclose(r.inputs[0, 4:18, 0], [0, *[1] * 11, 0.5, 0])
    for dt, observed in ((20.0, "counts"), (1.0, "counts"), (20.0, "rate"), (2e-5, "rate")):
        with pytest.raises(InputError, match="bins are in seconds"):
            pl.read_arrays({"y": y}, "y", dt=dt, observed=observed)
        assert pl.read_arrays({"y": y}, "y", dt=dt, observed=observed, unit="s").dt == dt
    with pytest.raises(InputError, match=r"spikes/s in bins of 0\.0005 s, which no brain does"):
        pl.read_arrays({"y": y + 1}, "y", dt=0.0005, observed="counts")
    with pytest.raises(InputError, match="Did you mean 'ms'"):
        pl.read_arrays({"y": y}, "y", dt=20.0, unit="msec")
    # calcium at two frames a second is slow, but read
    assert pl.read_arrays({"y": y}, "y", dt=0.5).dt == 0.5


@pytest.mark.parametrize(("change", "what"), [(-1.0, "negative"), (0.25, "not whole")])
def test_counts_are_whole_numbers(change, what, tmp_path):
    y = np.random.default_rng(0).poisson(2.0, (5, 20, 4)) + change
    with pytest.raises(InputError, match=f"values are {what}"):
        pl.read_arrays({"y": y}, "y", dt=0.05, observed="counts")
    with pytest.raises(InputError, match="observed='rate'"):
        pl.Recording(y, None, dt=0.05, observed="counts")
    np.savez(tmp_path / "a.npz", activity=y, inputs=y[:, :, :1], dt=0.05, observed="counts")
    with pytest.raises(InputError, match=f"values are {what}"):
        load_recording(tmp_path / "a.npz")
    assert load_recording(tmp_path / "a.npz", observed="rate").n_in == 1


def test_options_of_a_complete_file_keep_the_rest(tmp_path):
    rng = np.random.default_rng(0)
    y, x = rng.normal(size=(4, 10, 3)), rng.normal(size=(4, 10, 2))
    table = pd.DataFrame({"side": list("lrlr")})
    one = pl.Recording(y, x, 0.05, x[:, :, :1], table, "current", {"name": "demo"})
    file = one.save_npz(tmp_path / "a.npz")
    for options in ({"dt": 0.05}, {"unit": "s"}, {"activity": "activity"}, {"dt": "dt"}):
        r = load_recording(file, **options)
        assert np.array_equal(r.inputs, x)
        assert np.array_equal(r.outputs, x[:, :, :1])
        assert (r.observed, r.dt, r.metadata["name"]) == ("current", 0.05, "demo")
        assert r.trials["side"].tolist() == list("lrlr")
    with pytest.warns(UserWarning, match="says dt=0.05 s; 0.02 s was asked for and taken"):
        assert load_recording(file, dt=0.02).dt == 0.02
    assert load_recording(file, unit="ms").dt == pytest.approx(5e-5)
    longer = load_recording(file, lengths=[10, 10, 8, 10])
    assert (longer.n_in, longer.n_out, longer.observed) == (2, 1, "current")
    assert longer.trials["n_bins"].tolist() == [10, 10, 8, 10]
    np.savez(tmp_path / "ms.npz", activity=y, inputs=x, dt=20)
    with pytest.raises(InputError, match=r"20 ms are 0\.02 s"):
        load_recording(tmp_path / "ms.npz")


def test_objects_of_python_in_an_npz_file(tmp_path):
    y = np.random.default_rng(0).normal(size=(4, 10, 3))
    np.savez(tmp_path / "a.npz", y=y, parts=cells([y[0], y[1]]), side=np.array(list("lrlr")))
    r = load_recording(tmp_path / "a.npz", activity="y", dt=0.1, trials=["side"])
    assert r.trials["side"].tolist() == list("lrlr")
    with pytest.raises(
        InputError, match="'parts' is not a readable array: it holds Python objects"
    ):
        load_recording(tmp_path / "a.npz", activity="parts", dt=0.1)


# -- recordings in one piece ---------------------------------------------------------------------


def one_piece(seed=0):
    rng = np.random.default_rng(seed)
    events = np.array([2.011, 6.5, 11.0, 17.3, 25.0, 38.5])
    return {
        "spk": rng.poisson(0.2, (2000, 5)).astype(float),
        "stim": rng.normal(size=2000),
        "event": events,
        "on": events + 0.1,
        "off": events + 0.35,
        "size": rng.normal(size=6),
        "side": np.array(["l", "r"] * 3),
    }


def test_windows_around_events(tmp_path):
    stored = one_piece()
    rows = ["onset", "size", "stim", {"from": "on", "to": "off", "value": "size"}]
    how = {"dt": DT, "align": "event", "window": (-0.1, 0.4), "observed": "counts"}
    r = pl.read_arrays(stored, "spk", inputs=rows, trials=["side"], **how)
    first = np.floor(stored["event"] / DT + 1e-9).astype(int) - 5
    for k, b in enumerate(first):
        assert np.array_equal(r.activity[k], stored["spk"][b : b + 25])
        assert np.array_equal(r.inputs[k, :, 2], stored["stim"][b : b + 25])
        fine = (np.arange(b * 1000, (b + 25) * 1000) + 0.5) * DT / 1000
        level = (fine >= stored["on"][k]) & (fine < stored["off"][k])
        wanted = stored["size"][k] * level.reshape(25, -1).mean(axis=1)
        np.testing.assert_allclose(r.inputs[k, :, 3], wanted, atol=2e-3)
    assert set(np.argmax(r.inputs[:, :, 0], axis=1)) == {5}
    assert r.trials["side"].tolist() == ["l", "r"] * 3
    assert r.trials["aligned_to"].tolist() == stored["event"].tolist()
    savemat(tmp_path / "a.mat", stored | {"side": cells(list("lrlrlr"))})
    m = pl.read_mat(tmp_path / "a.mat", "spk", inputs=rows, trials=["side"], **how)
    assert np.array_equal(m.activity, r.activity)
    np.testing.assert_allclose(m.inputs, r.inputs, atol=1e-12)
    # the clock of the recording begins elsewhere, in milliseconds
    late = stored | {k: 1000 * (stored[k] + 100) for k in ("event", "on", "off")} | {"t0": 1e5}
    late["t"] = 1e5 + 20.0 * np.arange(2000)
    for start in ("t0", "t"):
        moved = how | {"dt": 20.0, "unit": "ms", "start": start}
        shifted = pl.read_arrays(late, "spk", inputs=rows, **moved)
        assert np.array_equal(shifted.activity, r.activity)
        np.testing.assert_allclose(shifted.inputs, r.inputs, atol=1e-6)
    mark = np.zeros(2000)
    for k, b in enumerate(first + 5):
        mark[b : b + 3 + k] = 1
    marked = pl.read_arrays(stored | {"mark": mark}, "spk", **(how | {"align": "mark"}))
    assert np.array_equal(marked.activity, r.activity)
    frame = pd.DataFrame({"time": np.arange(2000) * DT, "stim": stored["stim"], "mark": mark})
    for k in range(5):
        frame[f"n{k}"] = stored["spk"][:, k]
    frame.to_csv(tmp_path / "a.csv", index=False)
    for align in ("mark", stored["event"].tolist()):
        c = read(
            tmp_path / "a.csv",
            neuron="n*",
            align=align,
            window=[-0.1, 0.4],
            observed="counts",
            inputs="stim",
        )
        assert np.array_equal(c.activity, r.activity)
        np.testing.assert_allclose(c.inputs[:, :, 0], r.inputs[:, :, 2], atol=1e-12)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, r"two axes \(2000, 5\).*trial_index= .*align= "),
        ({"align": "event"}, r"needs window="),
        ({"align": "event", "window": (0, 0.2), "inputs": "on"}, "'on' holds times of an event"),
        ({"align": "event", "window": (0, 0.2), "inputs": "side"}, "it holds text"),
        ({"align": [1e3, 2e3], "window": (0, 0.2)}, "none of 2 events lies in the recording"),
        ({"align": "event", "window": (0, 0.2), "inputs": "even"}, "Did you mean 'event'"),
        ({"align": "event", "window": (0, 0.2), "trial_index": "on"}, "trial_index and lengths"),
        ({"align": [1.0, 1.001, 3.0], "window": (0, 0.2)}, "no bin of their own"),
    ],
)
def test_windows_that_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        pl.read_arrays(one_piece(), "spk", dt=DT, **options)


def test_windows_at_the_ends_and_missing_events():
    stored = one_piece() | {"event": np.array([0.05, 10.0, np.nan, 39.9])}
    with pytest.warns(UserWarning, match="1 of 4 events .* have no time"):
        r = pl.read_arrays(stored, "spk", dt=DT, align="event", window=(-0.1, 0.3))
    assert r.trials["trial"].tolist() == [0, 1, 3]
    assert np.isnan(r.activity[0, :3]).all()
    assert not np.isnan(r.activity[0, 3:]).any()
    assert np.isnan(r.activity[2, 10:]).all()


def test_nothing_is_warned_of_in_an_ordinary_file(tmp_path):
    written(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read(tmp_path / "r.npz", activity="spikes", inputs="coherence", dt="bin")
