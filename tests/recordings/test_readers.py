"""Readers of other formats: against brute force, against each other, and what they refuse."""

from __future__ import annotations

import warnings
from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import predictlearn as pl
from predictlearn.errors import InputError, SilentNeuronsWarning
from predictlearn.recordings.readers.binning import Cut, cut_epochs, cut_whole, union

# -- bins ----------------------------------------------------------------------------------------


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10_000), start=st.sampled_from([-0.3, 0.0, 0.21]))
def test_counts_and_means_agree_with_brute_force(seed, start):
    rng = np.random.default_rng(seed)
    zero, bin_ = np.sort(rng.uniform(0, 8, 4)), float(rng.choice([0.05, 0.1, 0.37]))
    cut = cut_epochs(zero, None, (start, start + 5 * bin_), bin_)
    times = np.sort(rng.uniform(-1, 10, 60))
    values = rng.normal(size=(60, 2))
    values[rng.random(60) < 0.2] = np.nan
    counts, means = cut.count(times), cut.average(times, values)
    for k, z in enumerate(zero):
        for j in range(5):
            left = z + start + j * bin_
            inside = (times >= left) & (times < left + bin_)
            assert counts[k, j] == inside.sum()
            good = values[inside & ~np.isnan(values[:, 0])]
            if len(good):
                np.testing.assert_allclose(means[k, j], good.mean(axis=0), atol=1e-12)
            else:
                assert np.isnan(means[k, j]).all()


def test_an_event_on_an_edge_is_counted_once_in_the_later_bin():
    # 3 * 0.1 is above 0.3 in floating point, so that a plain comparison would move the event
    cut = Cut(np.array([0.0, 10.0]), 0.0, 0.1, 10)
    events = np.round(np.arange(0, 1, 0.1), 10)
    assert cut.count(events)[0].tolist() == [1.0] * 10
    assert cut.count(10 + events)[1].tolist() == [1.0] * 10


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_covered_and_touched_agree_with_brute_force(seed):
    rng = np.random.default_rng(seed)
    starts = rng.uniform(0, 10, 5)
    pairs = np.stack([starts, starts + rng.uniform(0.05, 2, 5)], axis=1)
    cut = Cut(np.sort(rng.uniform(0, 10, 3)), -0.2, 0.25, 6)
    merged = union(pairs)
    assert (np.diff(merged.ravel()) > 0).all()
    edges = cut.edges
    for got, rule in (
        (cut.covered(pairs), lambda a, b: ((merged[:, 0] <= a) & (b <= merged[:, 1])).any()),
        (cut.touched(pairs), lambda a, b: ((merged[:, 0] < b) & (a < merged[:, 1])).any()),
    ):
        wanted = [[rule(e[j], e[j + 1]) for j in range(6)] for e in edges]
        assert np.array_equal(got, wanted)


def test_windows_that_cannot_be():
    for call, message in (
        (lambda: cut_epochs([0.0], [1.0], (0, 1.03), 0.1), r"Nearest: \(0, 1\)"),
        (lambda: cut_epochs([0.0], [1.0], (1, 0), 0.1), "two increasing numbers"),
        (lambda: cut_epochs([0.0], [1.0], 3, 0.1), "window must be"),
        (lambda: cut_epochs([0.0], [0.05], None, 0.1), "no trial holds a whole bin"),
        (lambda: cut_epochs([0.0], None, None, 0.1), "give window="),
        (lambda: cut_whole([[0, 10]], None, 0.1), "needs length="),
        (lambda: cut_whole([[0, 10]], 0.25, 0.1), "Nearest: 0.2"),
        (lambda: cut_whole([[0, 10]], 6.0, 0.1), "at least two"),
    ):
        with pytest.raises(InputError, match=message):
            call()


# -- NWB -----------------------------------------------------------------------------------------

TRIAL_STARTS = np.array([1.0, 3.0, 5.0, 7.0, 9.0])
TRIAL_STOPS = np.array([2.0, 4.0, 5.6, 8.0, 10.0])


def spike_trains() -> list[np.ndarray]:
    rng = np.random.default_rng(1)
    return [np.sort(rng.uniform(0, 12, n)) for n in (300, 150, 60)]


def nwb_file():
    pynwb = pytest.importorskip("pynwb")
    return pynwb, pynwb.NWBFile(
        session_description="made by a test",
        identifier="demo-1",
        session_start_time=datetime(2026, 1, 2, tzinfo=UTC),
    )


def written(pynwb, content, path):
    with pynwb.NWBHDF5IO(str(path), "w") as stream:
        stream.write(content)
    return path


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    """Return an NWB file with units, trials, intervals and behaviour."""
    pynwb, content = nwb_file()
    content.add_unit_column("area", "where")
    seen = [[0.0, 12.0]], [[0.0, 5.0]], [[0.0, 2.5], [2.5, 12.0]]
    for number, (spikes, area) in enumerate(zip(spike_trains(), ("M1", "M1", "PMd"), strict=True)):
        content.add_unit(
            spike_times=spikes, area=area, id=10 * (number + 1), obs_intervals=seen[number]
        )
    content.add_unit(spike_times=np.array([0.5]), area="PMd", id=99, obs_intervals=[[0.0, 12.0]])
    for name in ("side", "go_time", "correct"):
        content.add_trial_column(name, name)
    for k, (start, stop) in enumerate(zip(TRIAL_STARTS, TRIAL_STOPS, strict=True)):
        content.add_trial(
            start_time=start,
            stop_time=stop,
            side=float((-1) ** k),
            go_time=np.nan if k == 3 else start + 0.3,
            correct=k != 2,
        )
    blocks = pynwb.epoch.TimeIntervals(name="blocks", description="blocks")
    for start in (0.0, 6.0):
        blocks.add_row(start_time=start, stop_time=start + 5.0)
    content.add_time_intervals(blocks)
    clock = np.arange(0, 12, 0.01)
    stimulus = pynwb.TimeSeries(
        name="torque", data=1000 * np.sin(clock), unit="N", rate=100.0, conversion=1e-3
    )
    content.add_stimulus(stimulus)
    behaviour = content.create_processing_module("behavior", "behaviour")
    position = pynwb.TimeSeries(
        name="hand", data=np.stack([clock, -clock], axis=1), unit="m", timestamps=clock
    )
    behaviour.add(position)
    slow = pynwb.TimeSeries(name="slow", data=np.arange(12.0), unit="a.u.", rate=1.0)
    behaviour.add(slow)
    rates = np.random.default_rng(2).normal(size=(1200, 4))
    behaviour.add(pynwb.TimeSeries(name="dff", data=rates, unit="a.u.", rate=100.0))
    other = content.create_processing_module("eye", "eyes")
    other.add(pynwb.TimeSeries(name="hand", data=clock, unit="m", timestamps=clock))
    return written(pynwb, content, tmp_path_factory.mktemp("nwb") / "session.nwb")


def quietly(*args, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SilentNeuronsWarning)
        return pl.read_nwb(*args, **options)


def test_units_by_trial(session):
    with pytest.warns(SilentNeuronsWarning, match="1 of 4 neurons never change.*99"):
        r = pl.read_nwb(
            session, bin=0.1, inputs=["onset", "side", "torque"], outputs="behavior/hand"
        )
    assert r.activity.shape == (5, 10, 3)
    assert r.observed == "counts"
    assert r.metadata["neurons"] == [10, 20, 30]
    assert r.metadata["silent"] == [99]
    assert r.metadata["units"]["area"] == ["M1", "M1", "PMd", "PMd"]
    assert r.trials["n_bins"].tolist() == [10, 10, 6, 10, 10]
    assert r.trials["side"].tolist() == [1, -1, 1, -1, 1]
    spikes = spike_trains()
    for k, start in enumerate(TRIAL_STARTS):
        for j in range(r.trials["n_bins"][k]):
            left = start + 0.1 * j
            wanted = [np.sum((s >= left) & (s < left + 0.1)) for s in spikes]
            assert r.activity[k, j, [0, 2]].tolist() == [wanted[0], wanted[2]]
            # unit 20 was observed for 5 s only
            assert np.isnan(r.activity[k, j, 1]) if k >= 2 else r.activity[k, j, 1] == wanted[1]
    assert np.isnan(r.activity[2, 6:]).all()
    assert r.inputs[:, 0, 0].tolist() == [10.0] * 5
    assert (r.inputs[:, 1:, 0] == 0).all()
    assert (r.inputs[1, :, 1] == -1).all()
    assert (r.inputs[2, 6:] == 0).all()
    assert "inputs are 0" in r.metadata["padding"]
    centre = 1.0 + 0.1 * np.arange(10) + 0.045
    np.testing.assert_allclose(r.inputs[0, :, 2], np.sin(centre), atol=1e-3)
    np.testing.assert_allclose(r.outputs[0, :, 0], centre, atol=1e-9)
    np.testing.assert_allclose(r.outputs[0, :, 1], -centre, atol=1e-9)
    assert np.isnan(r.outputs[2, 6:]).all()


def test_alignment_selection_and_other_intervals(session):
    with pytest.warns(UserWarning, match="1 of 5 trials have no time in 'go_time'"):
        r = quietly(session, align="go_time", window=(-0.2, 0.3), inputs=["go", "onset"])
    assert r.activity.shape[:2] == (4, 10)
    assert r.trials["aligned_to"].tolist() == [1.3, 3.3, 5.3, 9.3]
    assert r.inputs[0, :, 0].tolist() == [0.0] * 4 + [1.0] * 6
    assert np.flatnonzero(r.inputs[0, :, 1]).tolist() == [4]
    some = quietly(session, trials="correct and side > 0", window=(0, 0.5))
    assert some.trials["trial"].tolist() == [0, 4]
    chosen = pl.read_nwb(session, units="area == 'M1'", window=(0, 0.5), trials=[0, 1])
    assert chosen.metadata["neurons"] == [10, 20]
    by_id = pl.read_nwb(session, units=[30, 10], window=(0, 0.5))
    by_mask = pl.read_nwb(session, units=np.array([True, False, True, False]), window=(0, 0.5))
    assert np.array_equal(by_id.activity[:, :, ::-1], by_mask.activity)
    blocks = quietly(session, intervals="blocks", bin=0.5)
    assert blocks.activity.shape == (2, 10, 4), "unit 99 has its spike in the first"
    given = np.random.default_rng(0).normal(size=(5, 10, 2))
    assert np.array_equal(quietly(session, window=(0, 0.5), inputs=given).inputs, given)
    assert quietly(session, window=(0, 0.5)).n_in == 0


def test_pseudo_trials_of_a_whole_recording(session):
    r = quietly(session, window="whole", length=1.5, bin=0.1)
    assert r.activity.shape == (8, 15, 4), "unit 99 has one spike in all of the recording"
    assert np.nansum(r.activity[:, :, 0]) == 300
    blocks = quietly(session, window="whole", length=2.0, bin=0.1, intervals="blocks")
    assert blocks.trials["aligned_to"].tolist() == [0, 2, 6, 8]


def test_a_time_series_as_activity(session):
    r = pl.read_nwb(session, series="dff", bin=0.1, window=(0.0, 0.5))
    data = np.random.default_rng(2).normal(size=(1200, 4))
    assert (r.observed, r.activity.shape) == ("rate", (5, 5, 4))
    np.testing.assert_allclose(r.activity[1, 2], data[320:330].mean(axis=0), atol=1e-12)
    two = pl.read_nwb(session, series="dff", units=[2, 0], bin=0.1, window=(0.0, 0.5))
    assert np.array_equal(two.activity, r.activity[:, :, [2, 0]])
    whole = pl.read_nwb(session, series="dff", bin=0.1, window="whole", length=1.0)
    assert whole.activity.shape == (12, 10, 4)


def test_invalid_times_are_missing(tmp_path):
    pynwb, content = nwb_file()
    for spikes in spike_trains():
        content.add_unit(spike_times=spikes)
    for start in (1.0, 3.0):
        content.add_trial(start_time=start, stop_time=start + 1)
    content.add_invalid_time_interval(start_time=3.25, stop_time=3.5)
    r = pl.read_nwb(written(pynwb, content, tmp_path / "a.nwb"), bin=0.1)
    assert np.flatnonzero(np.isnan(r.activity[1, :, 0])).tolist() == [2, 3, 4]
    assert not np.isnan(r.activity[0]).any()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"align": "go_tme"}, "Did you mean 'go_time'"),
        ({"intervals": "block"}, "Did you mean 'blocks'"),
        ({"series": "dfff"}, "Did you mean 'dff'"),
        ({"series": "hand"}, "several time series are called 'hand': .*behavior/hand.*eye/hand"),
        ({"inputs": "sid"}, "neither a time series .*Did you mean 'side'"),
        ({"inputs": "slow"}, "sampled more slowly than the bins of 0.05 s"),
        ({"inputs": "go_time"}, "no value in 1 trials"),
        ({"inputs": np.zeros((3, 20, 1))}, r"inputs must have shape \(5, 20, any\)"),
        ({"inputs": 3}, "got int"),
        ({"inputs": "onset", "window": (0.1, 0.5)}, "alignment .* in the window"),
        ({"units": [10, 11]}, "no id 11; ids are 10, 20, 30, 99"),
        ({"units": "aera == 'M1'"}, "not a condition on the columns area, id"),
        ({"units": [True, False]}, "one value a row"),
        ({"trials": "side > 5"}, "leaves none of 5 rows"),
        ({"trials": [0]}, "1 trial is too few"),
        ({"window": "hole"}, "None or 'whole'"),
        ({"window": "whole"}, "needs length="),
        ({"length": 2.0}, "window='whole' only"),
        ({"window": (0, 0.52)}, "whole number of bins"),
        ({"window": (100, 101)}, "outside of what was recorded"),
        ({"bin": -1.0}, "bin must be a positive number"),
    ],
)
def test_what_an_nwb_file_cannot_give(session, options, message):
    with pytest.raises(InputError, match=message):
        quietly(session, **options)


def test_files_that_are_no_nwb_files_or_lack_something(tmp_path):
    pynwb, content = nwb_file()
    h5py = pytest.importorskip("h5py")
    with pytest.raises(InputError, match="no such file"):
        pl.read_nwb(tmp_path / "no.nwb")
    (tmp_path / "text.nwb").write_text("hello")
    with pytest.raises(InputError, match="not a readable NWB file"):
        pl.read_nwb(tmp_path / "text.nwb")
    with h5py.File(tmp_path / "plain.nwb", "w") as raw:
        raw["a"] = 1
    with pytest.raises(InputError, match="no nwb_version"):
        pl.read_nwb(tmp_path / "plain.nwb")
    empty = written(pynwb, content, tmp_path / "empty.nwb")
    with pytest.raises(InputError, match=r"no units .* neither units, nor intervals"):
        pl.read_nwb(empty)
    whole = empty.read_bytes()
    (tmp_path / "cut.nwb").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="not a readable NWB file"):
        pl.read_nwb(tmp_path / "cut.nwb")
    _, content = nwb_file()
    for spikes in spike_trains():
        content.add_unit(spike_times=spikes)
    units = written(pynwb, content, tmp_path / "units.nwb")
    with pytest.raises(InputError, match=r"no trials table; it has 3 units.*window='whole'"):
        pl.read_nwb(units)
    assert pl.read_nwb(units, window="whole", length=2.0).n_neurons == 3


def test_the_real_nwb_file(shared_data):
    pytest.importorskip("pynwb")
    file = shared_data / "nwb-real-spikes" / "A8604-211122.nwb"
    if not file.is_file():
        pytest.skip(f"no {file}")
    with pytest.raises(
        InputError, match=r"no trials table; it has 3 units; the intervals 'epochs'"
    ):
        pl.load_recording(file)
    r = pl.load_recording(file, window="whole", length=2.0, bin=0.1)
    assert (r.n_trials, r.n_bins, r.n_neurons, r.n_in) == (543, 20, 3, 0)
    assert r.metadata["neurons"] == [6, 191, 206]
    assert 21_300 < r.activity.sum() < 21_354, "all spikes but those of the last second"
    h5py = pytest.importorskip("h5py")
    with h5py.File(file) as raw:
        times = raw["units/spike_times"][()]
    assert r.activity.sum() == (times < 543 * 2.0).sum()


# -- pynapple ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def nap():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("pynapple")


def test_pynapple_agrees_with_nwb(nap, session):
    spikes = dict(zip((10, 20, 30), spike_trains(), strict=True))
    support = nap.IntervalSet(0, 12)
    group = nap.TsGroup({k: nap.Ts(t, time_support=support) for k, t in spikes.items()})
    sides = [1.0, -1.0, 1.0, -1.0, 1.0]
    trials = nap.IntervalSet(start=TRIAL_STARTS, end=TRIAL_STOPS, metadata={"side": sides})
    r = pl.from_pynapple(group, trials, bin=0.1, inputs=["onset", "side"])
    other = quietly(session, bin=0.1, inputs=["onset", "side"], units=[10, 30])
    assert np.array_equal(r.activity[:, :, [0, 2]], other.activity, equal_nan=True)
    assert np.array_equal(r.inputs, other.inputs)
    assert r.metadata["neurons"] == [10, 20, 30]
    assert r.observed == "counts"
    # pynapple's own counting, where no bin is cut
    counted = group.count(0.1, nap.IntervalSet(1.0, 2.0)).values
    assert np.array_equal(r.activity[0], counted)


def test_pynapple_frames_supports_and_refusals(nap):
    clock = np.arange(0, 10, 0.01)
    values = np.random.default_rng(0).normal(size=(len(clock), 3))
    frame = nap.TsdFrame(t=clock, d=values, columns=["a", "b", "c"])
    part = frame.restrict(nap.IntervalSet(start=[0, 5], end=[4.5, 9.99]))
    trials = nap.IntervalSet(start=[1, 4, 6], end=[2, 5, 7])
    r = pl.from_pynapple(part, trials, bin=0.25, inputs=nap.Tsd(t=clock, d=clock))
    assert (r.observed, r.metadata["neurons"]) == ("rate", ["a", "b", "c"])
    np.testing.assert_allclose(r.activity[0, 1], values[125:150].mean(axis=0))
    assert np.isnan(r.activity[1, 2:]).all()
    np.testing.assert_allclose(r.inputs[0, 1, 0], clock[125:150].mean())
    whole = pl.from_pynapple(frame, window="whole", length=1.0, bin=0.1)
    assert whole.n_trials == 9, "the time support ends with the last sample, at 9.99 s"
    for call, message in (
        (lambda: pl.from_pynapple(values, trials), "TsGroup or TsdFrame; got ndarray"),
        (lambda: pl.from_pynapple(frame), "epochs= .*window='whole'"),
        (lambda: pl.from_pynapple(frame, [1, 2]), "IntervalSet; got list"),
        (lambda: pl.from_pynapple(frame, trials, align="strat"), "Did you mean 'start'"),
        (lambda: pl.from_pynapple(frame, trials, inputs="onse"), "Did you mean 'onset'"),
    ):
        with pytest.raises(InputError, match=message):
            call()


# -- tables --------------------------------------------------------------------------------------


def long_table(seed=0):
    rng = np.random.default_rng(seed)
    activity = rng.normal(size=(4, 6, 3))
    rows = pd.MultiIndex.from_product(
        [["t1", "t2", "t3", "t4"], np.arange(6) * 0.05, ["a", "b", "c"]],
        names=["trial", "time", "neuron"],
    ).to_frame(index=False)
    rows["value"] = activity.ravel()
    rows["stim"] = np.sin(rows["time"] * 20)
    rows["side"] = rows["trial"].map({"t1": "l", "t2": "r", "t3": "l", "t4": "r"})
    return activity, rows


def test_table_of_rows():
    activity, rows = long_table()
    r = pl.from_table(rows, inputs="stim", outputs=["stim"])
    assert np.array_equal(r.activity, activity)
    assert r.dt == 0.05
    assert r.trials["side"].tolist() == ["l", "r", "l", "r"]
    assert r.trials["trial"].tolist() == ["t1", "t2", "t3", "t4"]
    assert np.array_equal(r.inputs, r.outputs)
    order = np.random.default_rng(1).permutation(len(rows))
    mixed = pl.from_table(rows.iloc[order], inputs="stim")
    trials = [mixed.trials["trial"].tolist().index(t) for t in ("t1", "t2", "t3", "t4")]
    neurons = [mixed.metadata["neurons"].index(n) for n in "abc"]
    assert np.array_equal(mixed.activity[trials][:, :, neurons], activity)


def test_table_of_unequal_trials_and_missing_rows():
    activity, rows = long_table()
    short = rows[~((rows["trial"] == "t2") & (rows["time"] > 0.16))]
    short = short.drop(short.index[4])
    r = pl.from_table(short, inputs="stim")
    assert r.trials["n_bins"].tolist() == [6, 4, 6, 6]
    assert np.isnan(r.activity[1, 4:]).all()
    assert np.isnan(r.activity[0, 1, 1])
    assert (r.inputs[1, 4:] == 0).all()
    assert np.array_equal(r.activity[2:], activity[2:])


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        (lambda t: t.rename(columns={"trial": "trail"}), {}, "Did you mean 'trail'"),
        (lambda t: pd.concat([t, t.iloc[[5]]]), {}, "two rows for trial 't1'"),
        (lambda t: t.assign(time=t["time"] + 0.01 * (t.index == 7)), {"dt": 0.05}, "on a grid"),
        (
            lambda t: t.assign(stim=t["stim"] + (t.index == 7)),
            {"inputs": "stim"},
            "the same for all",
        ),
        (lambda t: t.assign(value="x"), {}, "must hold numbers"),
        (lambda t: t.assign(neuron=None), {}, "must have a value in every row"),
        (lambda t: t.iloc[:0], {}, "no rows"),
        (lambda t: t[t["time"] != 0.1], {"inputs": "stim"}, "inputs must have a value"),
        (lambda t: t.to_dict(), {}, "pandas DataFrame; got dict"),
    ],
)
def test_tables_that_are_refused(change, options, message):
    with pytest.raises(InputError, match=message):
        pl.from_table(change(long_table()[1]), **options)
