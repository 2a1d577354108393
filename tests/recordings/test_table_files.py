"""Tables as a stranger brings them: read rightly, or refused."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import predictlearn as pl
from predictlearn.errors import InputError

pytestmark = pytest.mark.quick


def long_table(n_trials=6, n_bins=8):
    rng = np.random.default_rng(2)
    y = rng.normal(size=(n_trials, n_bins, 3))
    rows = pd.MultiIndex.from_product(
        [range(n_trials), range(n_bins), ["a", "b", "c"]], names=["trial", "bin", "neuron"]
    ).to_frame(index=False)
    rows["value"] = y.ravel()
    rows["time"] = rows.pop("bin") * 0.05
    return y, rows


def test_times_that_run_on():
    y, rows = long_table()
    starts = np.array([0.3, 1.17, 2.9, 4.013, 6.0, 9.51])
    rows["time"] += starts[rows["trial"]]
    rows["cue"] = starts[rows["trial"]] + 0.1
    r = pl.from_table(rows, dt=0.05, inputs={"column": "cue"})
    assert np.array_equal(r.activity, y)
    assert set(np.argmax(r.inputs[:, :, 0], axis=1)) == {2}
    np.testing.assert_allclose(r.trials["clock_start"], starts)
    with pytest.raises(InputError, match="'cue' holds times of an event"):
        pl.from_table(rows, dt=0.05, inputs="cue")
    milli = rows.assign(time=rows["time"] * 1000, cue=rows["cue"] * 1000)
    m = pl.from_table(milli, dt=50, unit="ms", inputs={"column": "cue"})
    assert np.array_equal(m.activity, y)
    assert np.array_equal(m.inputs, r.inputs)
    with pytest.raises(InputError, match=r"50 ms are 0\.05 s"):
        pl.from_table(milli, dt=50)


def test_trial_numbers_that_come_back_in_tables():
    y, rows = long_table()
    again = rows.assign(trial=rows["trial"] % 3, block=rows["trial"] // 3)
    r = pl.from_table(again)
    assert np.array_equal(r.activity, y)
    assert r.trials["trial"].tolist() == [0, 1, 2, 0, 1, 2]
    assert r.trials["block"].tolist() == [1, 1, 1, 2, 2, 2]
    named = pl.from_table(again, trial=["block", "trial"])
    assert np.array_equal(named.activity, y)
    # on a clock that runs on no value stands twice, but trials have long pauses
    clock = again.assign(time=again["time"] + 2.0 * rows["trial"])
    assert np.array_equal(pl.from_table(clock, dt=0.05).activity, y)
    # neuron by neuron, the order of the rows does not say which trials are one
    for table in (again, clock):
        with pytest.raises(InputError, match=r"trial=\['block', 'trial'\]"):
            pl.from_table(table.sort_values("neuron", kind="stable"), dt=0.05)


def test_padding_and_counts_in_tables():
    rng = np.random.default_rng(0)
    _, rows = long_table(8, 30)
    rows["value"] = rng.poisson(3.0, len(rows))
    rows.loc[(rows["time"] > 0.9) & (rows["trial"] > 3), "value"] = 0
    with pytest.raises(InputError, match="4 of 8 trials end with bins in which all neurons"):
        pl.from_table(rows, observed="counts")
    r = pl.from_table(rows, observed="counts", lengths="zeros")
    assert r.trials["n_bins"].tolist() == [30] * 4 + [19] * 4


def test_counts_without_rows_of_zero():
    rng = np.random.default_rng(0)
    _, rows = long_table(6, 20)
    rows["value"] = rng.poisson(0.8, len(rows))
    full = pl.from_table(rows, observed="counts")
    some = rows[rows["value"] > 0]
    with pytest.raises(InputError, match=r"as if rows of zero were left out\. Say fill=0"):
        pl.from_table(some, observed="counts")
    r = pl.from_table(some, observed="counts", fill=0)
    for k, n in enumerate(r.trials["n_bins"]):
        assert np.array_equal(r.activity[k, :n], full.activity[k, :n])
    assert np.isnan(pl.from_table(some, observed="counts", fill=np.nan).activity).any()


def test_wide_tables_as_they_come():
    y, rows = long_table(6, 8)
    rows["size"] = (rows["trial"] % 3) * 1.5
    wide = rows.pivot_table("value", ["trial", "time", "size"], "neuron").reset_index()
    how = {"neuron": ["a", "b", "c"], "inputs": [{"column": 0.1, "value": "size"}, "size"]}
    r = pl.from_table(wide, **how)
    assert np.array_equal(r.activity, y)
    assert np.array_equal(r.inputs[:, 2, 0] * 0.05, r.inputs[:, 0, 1])
    both = pl.from_table(pd.concat([wide, wide]), **how)
    assert np.array_equal(both.activity, np.concatenate([y, y]))
    assert both.trials["block"].tolist() == [1] * 6 + [2] * 6
    with pytest.raises(InputError, match="a pattern of their names"):
        pl.from_table(wide)
    with pytest.raises(InputError, match="cut around events by align="):
        pl.from_table(wide.drop(columns="trial"), neuron=["a", "b", "c"])
