"""Inputs for the door of NWB files."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from fuzz_files import MAKERS
from fuzzing import Case, pick, spoiled

from predictlearn.recordings import load_recording


@cache
def _nwb() -> bytes:
    """Return a small file with trials, units and two series."""
    import tempfile

    from pynwb import NWBHDF5IO, NWBFile, TimeSeries

    rng = np.random.default_rng(0)
    file = NWBFile("a session", "one", datetime(2020, 1, 1, tzinfo=UTC))
    file.add_trial_column("side", "left or right")
    file.add_trial_column("go", "time of the go cue")
    for k in range(6):
        file.add_trial(start_time=float(k), stop_time=k + 0.8, side=float(k % 2), go=k + 0.2)
    for _ in range(3):
        file.add_unit(spike_times=np.sort(rng.uniform(0, 6, 120)), obs_intervals=[[0.0, 6.5]])
    times = np.arange(0, 7, 0.02)
    file.add_acquisition(TimeSeries("speed", rng.normal(size=len(times)), "m/s", timestamps=times))
    file.add_acquisition(TimeSeries("rates", rng.normal(size=(350, 4)), "Hz", rate=50.0))
    with tempfile.TemporaryDirectory() as folder:
        with NWBHDF5IO(f"{folder}/one.nwb", "w") as stream:
            stream.write(file)
        return Path(folder, "one.nwb").read_bytes()


def _value(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Any, str], None]:
    def make(raw: Any, name: str, old: np.ndarray, attributes: dict[str, Any]) -> None:
        raw[name] = change(old)
        for key, value in attributes.items():
            raw[name].attrs[key] = value

    return make


NWB_NAMES = [
    "units/spike_times",
    "units/spike_times_index",
    "units/obs_intervals",
    "units/obs_intervals_index",
    "units/id",
    "intervals/trials/start_time",
    "intervals/trials/stop_time",
    "intervals/trials/id",
    "intervals/trials/side",
    "intervals/trials/go",
    "acquisition/speed/data",
    "acquisition/speed/timestamps",
    "acquisition/rates/data",
    "acquisition/rates/starting_time",
    "identifier",
    "session_description",
    "session_start_time",
]
NWB_VALUES = {
    "huge": lambda x: np.full(np.shape(x), 1e308),
    "1e7": lambda x: np.linspace(0, 1e7, np.size(x)).reshape(np.shape(x)),
    "1e15": lambda x: np.linspace(0, 1e15, np.size(x)).reshape(np.shape(x)),
    "nan": lambda x: np.full(np.shape(x), np.nan),
    "inf": lambda x: np.full(np.shape(x), np.inf),
    "negative": lambda x: np.full(np.shape(x), -1.0),
    "backwards": lambda x: np.arange(np.size(x), 0.0, -1).reshape(np.shape(x)),
    "index beyond": lambda x: np.full(np.shape(x), 2**62, dtype=np.int64),
    "index back": lambda x: np.full(np.shape(x), -3, dtype=np.int64),
    "empty": lambda x: np.zeros((0, *np.shape(x)[1:])),
    "longer": lambda x: np.ones((2 * np.shape(x)[0] + 1 if np.ndim(x) else 2, *np.shape(x)[1:])),
    "more axes": lambda x: np.ones((*np.shape(x), 2)),
    "scalar": lambda x: np.array(3.0),
    "text": lambda x: "text",
    "complex": lambda x: np.ones(np.shape(x), dtype=complex),
    "booleans": lambda x: np.ones(np.shape(x), dtype=bool),
}
NWB_OPTIONS = [
    {},
    {"window": [0, 0.5]},
    {"series": "rates"},
    {"series": "speed", "window": [0, 0.4]},
    {"window": "whole", "length": 0.5},
    {"inputs": "side"},
    {"inputs": ["onset", {"column": "go"}], "outputs": "speed"},
    {"trials": "side > 0"},
]
NWB_ODD = [
    {"window": [0, 1e308]},
    {"window": "whole", "length": 1e-9},
    {"window": "whole", "length": 1e308},
    {"bin": 1e-12, "unit": "s"},
    {"bin": 1e308},
    {"bin": ["x"]},
    {"bin": "0.05"},
    {"length": "x", "window": "whole"},
    {"align": ["go"]},
    {"align": 5},
    {"trials": [0, 1, "x"]},
    {"trials": {"a": 1}},
    {"trials": [[0, 1], [2]]},
    {"units": [[0]]},
    {"units": {"a": 1}},
    {"units": 5},
    {"intervals": ["trials"]},
    {"intervals": 5},
    {"series": ["rates"]},
    {"series": 5},
    {"inputs": 5},
    {"inputs": [[1], [2, 3]]},
    {"inputs": {"column": ["go"]}},
    {"inputs": {"from": 0, "to": 1e308}},
    {"unit": ["ms"]},
    {"trial_unit": {}},
    {"window": {"a": 1}},
    {"window": ["a", "b"]},
    {"window": [[0], [1]]},
]


def nwb(number: int, rng: np.random.Generator, folder: Path) -> Case:
    import h5py

    file = folder / "session.nwb"
    file.write_bytes(_nwb())
    options = dict(pick(rng, NWB_OPTIONS))
    if number == 0:
        file.unlink()
        os.mkfifo(file)
        return Case("a pipe", lambda: load_recording(file), "session.nwb")
    if number - 1 < len(NWB_ODD):
        options = NWB_ODD[number - 1]
        what = "options"
    elif (draw := rng.random()) < 0.35:
        what, content = spoiled(file.read_bytes(), rng)
        file.write_bytes(content)
    else:
        name = str(pick(rng, NWB_NAMES))
        with h5py.File(file, "r+") as raw:
            old = raw[name][()]
            attributes = dict(raw[name].attrs)
            del raw[name]
            if draw < 0.6:
                make = pick(rng, MAKERS)
                what = f"{make.__name__} in place of {name}"
                make(raw, name)
            elif draw < 0.65:
                what = f"no {name}"
            else:
                word = str(pick(rng, list(NWB_VALUES)))
                what = f"{word} in place of {name}"
                usable = np.zeros(3) if isinstance(old, bytes | str) else old
                raw[name] = NWB_VALUES[word](usable)
            if name in raw and raw.get(name, getlink=True).__class__ is h5py.HardLink:
                for key, value in attributes.items():
                    raw[name].attrs[key] = value
    return Case(f"{what} {options}", lambda: load_recording(file, **options), "session.nwb")
