"""Inputs made of events, and recordings whose clocks, windows and units are not as expected."""

from __future__ import annotations

import warnings
from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest

import predictlearn as pl
from predictlearn.errors import InputError
from predictlearn.recordings.readers.binning import Cut
from predictlearn.recordings.readers.conditions import evaluate
from predictlearn.recordings.readers.events import Columns, is_clock, of_events

STARTS = 4.0 * np.arange(10)


# -- rows of events against finer steps ----------------------------------------------------------


def columns(**table):
    starts = table.pop("starts", STARTS)
    return Columns(table.__getitem__, list(table), "the table", starts, starts + 2.0)


def test_a_level_is_the_mean_over_each_bin():
    rng = np.random.default_rng(0)
    begin = STARTS + rng.uniform(0.1, 0.7, 10)
    end = begin + rng.uniform(0.01, 0.9, 10)
    height = rng.normal(size=10)
    cut = Cut(STARTS, -0.3, 0.07, 30)
    got = of_events(
        {"from": "on", "to": "off", "value": "height"},
        cut,
        columns(on=begin, off=end, height=height),
        "inputs",
    )
    for k in range(10):
        fine = cut.edges[k, 0] + (np.arange(30 * 7000) + 0.5) * 1e-5
        level = height[k] * ((fine >= begin[k]) & (fine < end[k]))
        np.testing.assert_allclose(got[k], level.reshape(30, -1).mean(axis=1), atol=2e-4)
        # the area of the level is its height times its length, also within one bin
        assert got[k].sum() * 0.07 == pytest.approx(height[k] * (end[k] - begin[k]), abs=1e-9)


def test_a_pulse_has_the_area_that_was_asked_for():
    cue = STARTS + 0.2 + 0.03 * np.arange(10)
    cue[3] = np.nan
    size = np.arange(10.0)
    cut = Cut(STARTS, 0.0, 0.05, 20)
    got = of_events({"column": "cue", "value": "size"}, cut, columns(cue=cue, size=size), "inputs")
    np.testing.assert_allclose(got.sum(axis=1) * 0.05, np.where(np.isnan(cue), 0, size))
    # an event on an edge (0.2 s in trial 0) belongs to the later bin
    assert np.flatnonzero(of_events({"column": "cue"}, cut, columns(cue=cue), "x")[0]) == [4]
    assert np.flatnonzero(got[1]) == [4]


def test_times_of_rows_may_count_from_elsewhere():
    cut = Cut(STARTS, 0.0, 0.1, 20)
    table = columns(go=STARTS + 0.5, rt=np.full(10, 0.25))
    late = of_events({"column": "rt", "after": "go"}, cut, table, "inputs")
    assert set(np.argmax(late, axis=1)) == {7}
    fixed = of_events({"from": 0.25, "to": "stop", "value": -2}, cut, table, "inputs")
    np.testing.assert_allclose(fixed[0, :4], [0, 0, -1, -2])
    assert fixed[0, -1] == -2
    side = columns(side=np.array(["l", "r"] * 5), c=np.arange(10.0))
    signed = of_events({"from": 0, "to": 1, "value": "c * (side == 'r')"}, cut, side, "inputs")
    assert signed[:, 0].tolist() == [0, 1, 0, 3, 0, 5, 0, 7, 0, 9]
    # without a value, that of the column which is named
    named = of_events({"column": "c", "from": 0, "to": 1}, cut, side, "inputs")
    assert named[:, 0].tolist() == list(range(10))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"colum": "go"}, "Did you mean 'column'"),
        ({"from": "go"}, "a pulse .column. or a level .from and to."),
        ({"value": 1}, "a pulse .column. or a level"),
        ({"column": "gos"}, "no column 'gos' of the table; it has .*Did you mean 'go'"),
        ({"column": "rt"}, "no time on that clock"),
        ({"column": "side"}, r"must hold numbers, one a trial; it holds text \('l', 'r'\)"),
        ({"from": "go", "to": "before"}, "ends before it begins in trial 0"),
        ({"from": "go", "to": "some"}, "only one end in 1 trials; .*write to: stop"),
        ({"column": "go", "value": "go"}, "times of an event .* not values"),
        ({"column": "go", "value": "lost"}, "no value in 2 trials that have the event"),
        ({"column": "go", "value": "__import__('os')"}, "not a condition on the columns"),
        ({"from": 5.0, "to": 6.0}, "outside of the bins of the trials .* in every trial"),
        ({"column": "go", "value": [1]}, "a number, a column or an expression"),
        ({"column": ["go"]}, "a column of times, 'start', 'stop', or seconds"),
    ],
)
def test_rows_that_are_refused(row, message):
    some, lost = STARTS + 1.0, np.ones(10)
    some[4], lost[:2] = np.nan, np.nan
    table = columns(
        go=STARTS + 0.5,
        before=STARTS + 0.4,
        some=some,
        lost=lost,
        rt=np.full(10, 100.0),
        side=np.array(["l", "r"] * 5),
    )
    with pytest.raises(InputError, match=message):
        of_events(row, Cut(STARTS, 0.0, 0.1, 20), table, "inputs")


def test_events_outside_of_some_windows_are_told():
    cue = STARTS + np.where(np.arange(10) < 3, 1.5, 0.5)
    with pytest.warns(UserWarning, match="in 3 of 10 trials, which have no such input"):
        of_events({"column": "cue"}, Cut(STARTS, 0.0, 0.1, 10), columns(cue=cue), "inputs")


def test_what_is_a_clock_and_what_is_a_value():
    rng = np.random.default_rng(1)
    for seed in range(20):
        rng = np.random.default_rng(seed)
        starts = np.cumsum(rng.uniform(1.5, 6.0, 40))
        stops = starts + rng.uniform(0.5, 1.4, 40)
        event = starts + rng.uniform(0, 1, 40) * (stops - starts)
        assert is_clock(event, starts, stops, 1.0)
        assert is_clock(1000 * event, starts, stops, 1.0)  # milliseconds
        assert is_clock(np.where(rng.random(40) < 0.3, np.nan, event), starts, stops, 1.0)
        assert is_clock(stops + 0.5, starts, stops, 1.0)  # a reward after the trial
        assert is_clock(event, None, None, 1.0)
        order = rng.permutation(40)
        assert is_clock(event[order], starts[order], stops[order], 1.0)
        for value in (
            event - starts,
            rng.normal(size=40),
            rng.choice([-1.0, 1.0], 40),
            np.arange(40.0),
            np.sort(rng.uniform(0, 1, 40)),
            np.ones(40),
            np.full(40, np.nan),
            np.repeat([0.0, 1.0], 20),
        ):
            assert not is_clock(value, starts, stops, 1.0)
            assert not is_clock(value, None, None, 1.0)


# -- conditions see columns and nothing else -----------------------------------------------------


TABLE = pd.DataFrame(
    {
        "side": ["l", "r", "r", "l"],
        "contrast": [0.1, 0.2, np.nan, 0.4],
        "stim on": [0, 1, 1, 0],
        "correct": [True, False, True, True],
    }
)


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("side == 'r'", [1, 2]),
        ("correct and contrast > 0.1", [3]),
        ("correct & contrast > 0.1", [3]),
        ("not correct or contrast > 0.3", [1, 3]),
        ("~correct", [1]),
        ("contrast == contrast", [0, 1, 3]),
        ("contrast.isna()", [2]),
        ("notna(contrast)", [0, 1, 3]),
        ("side in ['r', 'x'] and `stim on` == 1", [1, 2]),
        ("side not in ['r']", [0, 3]),
        ("side.isin(['l'])", [0, 3]),
        ("0.1 < contrast <= 0.4", [1, 3]),
        ("contrast * 10 - 1 > 0.5", [1, 3]),
        ("contrast.between(0.2, 0.3)", [1]),
        ("`stim on`", [1, 2]),
        ("(side == 'r') * 2 - 1 > 0", [1, 2]),
        ("-(side == 'r') + correct < 0.5", [1, 2]),
        ("not (side == 'r' or correct)", []),
    ],
)
def test_conditions_agree_with_pandas(text, rows):
    got = evaluate(text, TABLE.__getitem__, TABLE)
    assert np.flatnonzero(got).tolist() == rows


@pytest.mark.parametrize(
    "text",
    [
        "@pd.io.common.os.system('touch ran') == 0",
        "__import__('os').system('touch ran')",
        "side.__class__.__mro__",
        "().__class__.__bases__[0].__subclasses__()",
        "(lambda: 1)()",
        "[x for x in side]",
        "open('ran', 'w')",
        "side.str.replace('l', 'r')",
        "contrast.to_csv('ran')",
        "side[0]",
        "contrast := 1",
        "f'{side}'",
        "9 ** 9 ** 9 ** 9",
        "'x' * 10 ** 10",
        "contrast +",
        "nothing > 1",
        "side > 1",
        "(" * 500 + "1" + ")" * 500,
        "contrast + " * 5000 + "1",
    ],
)
def test_conditions_run_no_code(text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="not a condition on the columns side"):
        evaluate(text, TABLE.__getitem__, TABLE)
    assert not list(tmp_path.iterdir())


# -- NWB files as they come ----------------------------------------------------------------------


def nwb(path, *, trains=None, starts=STARTS, length=2.0, ids=None, change=None, **trial):
    """Write a file of units and trials; columns of trials by name."""
    pynwb = pytest.importorskip("pynwb")
    content = pynwb.NWBFile("made by a test", "demo", datetime(2026, 1, 2, tzinfo=UTC))
    for k, spikes in enumerate(spike_trains() if trains is None else trains):
        content.add_unit(spike_times=spikes, id=None if ids is None else ids[k])
    for name in trial:
        content.add_trial_column(name, name)
    for k, start in enumerate(starts):
        more = {name: values[k] for name, values in trial.items()}
        stop = np.broadcast_to(length, len(starts))[k]
        content.add_trial(start_time=start, stop_time=start + stop, **more)
    if change is not None:
        change(pynwb, content)
    with pynwb.NWBHDF5IO(str(path), "w") as stream:
        stream.write(content)
    return path


def spike_trains(scale=1.0):
    rng = np.random.default_rng(3)
    return [np.sort(rng.uniform(0, 40, 400)) * scale for _ in range(3)]


def test_clock_times_are_no_values(tmp_path):
    file = nwb(tmp_path / "a.nwb", go_cue=STARTS + 1.2, off=STARTS + 1.51, c=STARTS % 3 - 1.0)
    with pytest.raises(InputError, match=r"'go_cue' holds times of an event.*\{column: go_cue\}"):
        pl.read_nwb(file, window=(0.0, 2.0), inputs=["onset", "go_cue"])
    with pytest.raises(InputError, match="an array holds times"):
        pl.read_nwb(file, window=(0.0, 2.0), inputs=STARTS + 1.2)
    rows = [{"column": "go_cue"}, {"from": "go_cue", "to": "off", "value": "c"}]
    r = pl.read_nwb(file, window=(0.0, 2.0), inputs=["c", *rows])
    table = pl.read_nwb(file, window=(0.0, 2.0), inputs=pd.DataFrame(rows))
    assert np.array_equal(r.inputs[:, :, 1:], table.inputs)
    assert np.flatnonzero(r.inputs[2, :, 1]).tolist() == [24]
    np.testing.assert_allclose(r.inputs[:, 24:31, 2].sum(1) * 0.05, 0.31 * (STARTS % 3 - 1.0))
    assert np.array_equal(r.inputs[:, 0, 0], STARTS % 3 - 1.0)
    assert r.metadata["inputs"][1] == {"column": "go_cue"}


def test_overlapping_windows_count_nothing_twice(tmp_path):
    file = nwb(tmp_path / "b.nwb")
    with pytest.warns(UserWarning, match=r"9 of 10 trials end where .* with \(-1, 3\)"):
        r = pl.read_nwb(file, window=(-1.0, 5.0), bin=0.1)
    assert r.trials["n_bins"].tolist() == [40] * 9 + [60]
    spikes = np.sort(np.concatenate(spike_trains()))
    inside = (spikes < 40) & (spikes >= 0)
    assert np.nansum(r.activity) == inside.sum()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pl.read_nwb(file, window=(-1.0, 3.0), trials="0 < trial < 9", bin=0.1)
    twice = nwb(tmp_path / "twice.nwb", starts=np.repeat(STARTS[:5], 2))
    with pytest.raises(InputError, match="5 of 10 trials have no bin of their own"):
        pl.read_nwb(twice, window=(0.0, 1.0))


def test_bins_beyond_the_recording_are_missing(tmp_path):
    later = 4.0 * np.arange(12)
    file = nwb(tmp_path / "c.nwb", starts=later)
    with pytest.warns(UserWarning, match="2 of 12 trials have no value at all"):
        r = pl.read_nwb(file, window=(0.0, 2.0))
    assert r.trials["trial"].tolist() == list(range(10))
    assert r.metadata["missing"].startswith("80 bins of 2 trials lie before the first or after")
    part = nwb(tmp_path / "part.nwb", starts=np.array([-5.0, 1.0, 6.0, 38.9]))
    r = pl.read_nwb(part, window=(0.0, 5.0), bin=0.1, trials=[1, 2, 3])
    last = max(train[-1] for train in spike_trains())
    missing = np.isnan(r.activity[2, :, 0])
    assert missing.sum() == round((43.9 - last) / 0.1 - 0.5)
    assert not np.isnan(r.activity[:2]).any()
    # one unit that falls silent is no end of the recording
    trains = spike_trains()
    trains[0] = trains[0][trains[0] < 20]
    quiet = nwb(tmp_path / "quiet.nwb", trains=trains)
    assert not np.isnan(pl.read_nwb(quiet, window=(0.0, 2.0)).activity).any()


def test_ids_that_repeat(tmp_path):
    trains = [*spike_trains(), np.arange(0.05, 40, 0.3)]
    file = nwb(tmp_path / "d.nwb", trains=trains, ids=[0, 1, 0, 1])
    with pytest.raises(InputError, match="units: 2 rows have the id 0"):
        pl.read_nwb(file, window=(0.0, 2.0), units=[0, 1])
    r = pl.read_nwb(file, window=(0.0, 2.0))
    assert r.metadata["neurons"] == ["0 (row 0)", "1 (row 1)", "0 (row 2)", "1 (row 3)"]
    by_mask = pl.read_nwb(file, window=(0.0, 2.0), units=[False, False, True, True])
    assert np.array_equal(by_mask.activity, r.activity[:, :, 2:])


def test_spike_times_and_trials_in_milliseconds(tmp_path):
    right = pl.read_nwb(nwb(tmp_path / "s.nwb"), window=(0.0, 2.0))
    spikes = nwb(tmp_path / "spikes.nwb", trains=spike_trains(1000.0))
    with pytest.raises(InputError, match=r"spike times are not in seconds.*unit='ms'.*unit='s'"):
        pl.read_nwb(spikes, window=(0.0, 2.0))
    r = pl.read_nwb(spikes, window=(0.0, 2.0), unit="ms")
    assert np.array_equal(r.activity, right.activity)
    trials = nwb(
        tmp_path / "trials.nwb", starts=1000 * STARTS, length=2000.0, cue=1000 * (STARTS + 0.5)
    )
    with pytest.raises(InputError, match=r"times of trials are not in seconds.*trial_unit='ms'"):
        pl.read_nwb(trials, window=(0.0, 2.0))
    r = pl.read_nwb(trials, window=(0.0, 2.0), trial_unit="ms", inputs={"column": "cue"})
    assert np.array_equal(r.activity, right.activity)
    assert set(np.argmax(r.inputs[:, :, 0], axis=1)) == {10}
    both = nwb(
        tmp_path / "both.nwb", trains=spike_trains(1000.0), starts=1000 * STARTS, length=2000.0
    )
    with pytest.raises(InputError, match="unit='ms' and trial_unit='ms'"):
        pl.read_nwb(both)
    r = pl.read_nwb(both, unit="ms", trial_unit="ms")
    assert np.array_equal(r.activity, right.activity)
    samples = nwb(tmp_path / "samples.nwb", trains=spike_trains(30_000.0))
    with pytest.raises(InputError, match="not in seconds"):
        pl.read_nwb(samples)
    r = pl.read_nwb(samples, window=(0.0, 2.0), unit=1 / 30_000)
    assert np.array_equal(r.activity, right.activity)


def test_bins_and_windows_in_milliseconds(tmp_path):
    file = nwb(tmp_path / "a.nwb")
    for options, message in (
        ({"bin": 20.0}, r"20 ms are 0\.02 s"),
        ({"bin": 50.0, "window": (-200.0, 1000.0)}, r"50 ms are 0\.05 s"),
        ({"window": (-200.0, 1000.0)}, r"Milliseconds are \(-0\.2, 1\)"),
    ):
        with pytest.raises(InputError, match=message):
            pl.read_nwb(file, **options)
    assert pl.read_nwb(file, bin=1.0, unit="s").dt == 1.0


def test_a_missing_stop_time_costs_one_trial(tmp_path):
    length = np.full(10, 2.0)
    length[-1] = np.nan
    file = nwb(tmp_path / "f.nwb", length=length)
    with pytest.warns(UserWarning, match=r"1 of 10 trials have no time .*'stop_time' .*: 9"):
        r = pl.read_nwb(file)
    assert r.activity.shape == (9, 40, 3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert pl.read_nwb(file, window=(0.0, 2.0)).n_trials == 10
    none = nwb(tmp_path / "none.nwb", length=np.nan)
    with pytest.raises(InputError, match="no trial has a stop_time; give window"):
        pl.read_nwb(none)


def test_a_series_that_violates_the_standard_does_not_matter(tmp_path):
    h5py = pytest.importorskip("h5py")

    def series(pynwb, content):
        for name in ("speed", "pupil"):
            content.add_acquisition(
                pynwb.TimeSeries(
                    name=name, data=np.arange(400.0), unit="m", timestamps=np.arange(400) * 0.1
                )
            )

    file = nwb(tmp_path / "g.nwb", change=series)
    right = pl.read_nwb(file, window=(0.0, 2.0), inputs="pupil", bin=0.1)
    with h5py.File(file, "a") as raw:
        stamps = raw["acquisition/speed/timestamps"]
        kept, values = dict(stamps.attrs), stamps[:]
        del raw["acquisition/speed/timestamps"]
        new = raw["acquisition/speed"].create_dataset(
            "timestamps", data=np.stack([values, values + 0.03])
        )
        for key, value in kept.items():
            new.attrs[key] = value
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        r = pl.read_nwb(file, window=(0.0, 2.0), inputs="pupil", bin=0.1)
    assert np.array_equal(r.activity, right.activity)
    assert np.array_equal(r.inputs, right.inputs)
    with pytest.raises(
        InputError, match=r"Not read: acquisition/speed violates the standard .*2, 4"
    ):
        pl.read_nwb(file, window=(0.0, 2.0), inputs="speed")
    with h5py.File(file, "a") as raw:
        spikes = raw["units/spike_times"][:]
        kept = dict(raw["units/spike_times"].attrs)
        del raw["units/spike_times"]
        new = raw["units"].create_dataset("spike_times", data=spikes[:, None, None] * np.ones(2))
        for key, value in kept.items():
            new.attrs[key] = value
    with pytest.raises(InputError):
        pl.read_nwb(file, window=(0.0, 2.0))


# -- pynapple ------------------------------------------------------------------------------------


def test_events_with_pynapple(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        nap = pytest.importorskip("pynapple")
    table = {"cue": STARTS + 0.5, "off": STARTS + 0.93, "c": STARTS % 3 - 1.0}
    rows = ["c", {"column": "cue"}, {"from": "cue", "to": "off", "value": "c"}]
    support = nap.IntervalSet(0, 40)
    group = nap.TsGroup({k: nap.Ts(t, time_support=support) for k, t in enumerate(spike_trains())})
    epochs = nap.IntervalSet(start=STARTS, end=STARTS + 2, metadata=table)
    r = pl.from_pynapple(group, epochs, window=(0.0, 2.0), inputs=rows)
    other = pl.read_nwb(nwb(tmp_path / "a.nwb", **table), window=(0.0, 2.0), inputs=rows)
    assert np.array_equal(r.inputs, other.inputs)
    assert np.array_equal(r.activity, other.activity)
    with pytest.raises(InputError, match="'cue' holds times of an event"):
        pl.from_pynapple(group, epochs, window=(0.0, 2.0), inputs="cue")
    with pytest.warns(UserWarning, match="windows overlap"):
        pl.from_pynapple(group, epochs, window=(-1.0, 5.0))
    slow = nap.TsGroup({k: nap.Ts(t) for k, t in enumerate(spike_trains(1000.0))})
    with pytest.raises(InputError, match="time_units='ms'"):
        pl.from_pynapple(slow, window="whole", length=2.0)
