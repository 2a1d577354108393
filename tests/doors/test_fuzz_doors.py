"""Every door reads what it is given, or refuses it in one message: broken and hostile inputs.

Each input is read in a child process with 5 s and 1 GB. The inputs that once crashed come first;
`-m slow` reads 2,000 a door. What is done to them is in the modules fuzz_*.py.
"""

from __future__ import annotations

import json
import math
import os
from pathlib import Path

import fuzz_arrays
import fuzz_files
import fuzz_nwb
import fuzz_protocols
import fuzz_tables
import numpy as np
import pandas as pd
import pytest
import yaml
from fuzzing import Case, counted, outcomes
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import predictlearn as pl
from predictlearn.errors import InputError
from predictlearn.plain_yaml import parsed
from predictlearn.recordings.readers.table import from_table

SHARED = Path(os.environ["PREDICTLEARN_DATA"])
DOORS = {
    "npz": fuzz_arrays.npz,
    "npy": fuzz_arrays.plain_npy,
    "csv": fuzz_tables.csv,
    "array tasks": fuzz_arrays.task,
    "data sets": fuzz_arrays.data_sets(SHARED if SHARED.is_dir() else None),
    "mat v5": fuzz_files.mat,
    "mat v7.3": fuzz_files.v73,
    "nwb": fuzz_nwb.nwb,
    "yaml": fuzz_protocols.protocol,
}
# how many are read: 100, fewer where each takes long, but all that are written down and more
COUNTS = {"nwb": 38, "mat v7.3": 40, "data sets": 40}
NEEDS = {"mat v7.3": "h5py", "nwb": "pynwb"}
LINUX = pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="limits need /proc")


def ends_well(door: str, count: int, seed: int, folder: Path) -> None:
    if door in NEEDS:
        pytest.importorskip(NEEDS[door])
    tally, wrong = counted(DOORS[door], count, folder, seed)
    assert not wrong, f"{door}: {dict(tally)}\n" + "\n".join(wrong)
    # inputs that are all refused would test the first check only
    assert tally["read"] or door == "npy", dict(tally)
    assert tally["refused"], dict(tally)


@LINUX
@pytest.mark.parametrize("door", DOORS)
def test_a_door_holds(door, tmp_path):
    ends_well(door, COUNTS.get(door, 100), 1, tmp_path)


@LINUX
@pytest.mark.slow
@pytest.mark.parametrize("door", DOORS)
def test_a_door_holds_for_long(door, tmp_path):
    ends_well(door, 2000, 2, tmp_path)


# -- the judge itself ----------------------------------------------------------------------------


def endless() -> None:
    while True:
        math.sqrt(2.0)


def hungry() -> None:
    np.ones(10_000_000)


def of_ours() -> None:
    {}["bug"]


def crashing() -> None:
    os.abort()


def unnamed() -> None:
    raise InputError("something is wrong")


def on_two_lines() -> None:
    raise InputError("x.npz is wrong\nand so is this")


@LINUX
def test_the_judge_sees_what_is_wrong(tmp_path, monkeypatch):
    monkeypatch.setattr("fuzzing.SECONDS", 0.5)
    monkeypatch.setattr("fuzzing.BYTES", 40_000_000)
    acts = [endless, hungry, of_ours, crashing, unnamed, on_two_lines, list]
    made = outcomes(lambda k, rng, folder: Case(str(k), acts[k], "x.npz"), len(acts), tmp_path)
    verdicts = [verdict for _, verdict, _ in made]
    expected = ["slow", "memory", "traceback", "crash", "unnamed", "unnamed", "read"]
    assert verdicts == expected


# -- properties ----------------------------------------------------------------------------------

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4)
    ),
    max_leaves=12,
)
KEYS = fuzz_protocols.places(fuzz_protocols.GOOD)


def holds(read) -> bool:
    """Return whether it reads; anything but an InputError is raised."""
    try:
        read()
    except InputError:
        return False
    return True


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(place=st.sampled_from(KEYS), value=PLAIN)
def test_any_value_at_any_key_of_a_protocol(place, value):
    data = json.loads(json.dumps(fuzz_protocols.GOOD))
    node = data
    for key in place[:-1]:
        node = node[key]
    node[place[-1]] = value
    holds(lambda: pl.Protocol.from_dict(data))


@settings(max_examples=100, deadline=None)
@given(text=st.text(alphabet="ab:-[]{}&*!?<>|'\"%@ \n#0123456789.,~", max_size=60))
def test_any_text_as_an_option_of_a_reader(text):
    try:
        value = parsed(text)
    except (yaml.YAMLError, InputError):
        return
    assert value is None or isinstance(value, bool | int | float | str | list | dict)


VALUES = st.floats(allow_nan=True) | st.sampled_from([0.0, 0.1, 0.2, 1e6, 1e300, -1.0])


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(
        st.tuples(st.integers(0, 3), VALUES, st.integers(0, 2), VALUES), min_size=1, max_size=12
    ),
    dt=st.none() | VALUES,
)
@pytest.mark.filterwarnings("ignore")
def test_any_numbers_in_a_table(rows, dt):
    table = pd.DataFrame(rows, columns=["trial", "time", "neuron", "value"])
    holds(lambda: from_table(table, dt=dt))


@settings(max_examples=60, deadline=None)
@given(
    shape=st.lists(st.integers(0, 4), max_size=4),
    kind=st.sampled_from(["f8", "f4", "i4", "u1", "?", "c16", "U3", "M8[s]", "m8[s]", "S2"]),
    dt=VALUES,
)
@pytest.mark.filterwarnings("ignore")
def test_any_array_as_activity(shape, kind, dt):
    array = np.zeros(shape, dtype=kind)
    holds(lambda: pl.Recording(array, None, dt=dt))
