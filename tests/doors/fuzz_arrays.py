"""Inputs for the doors of .npz and .npy files, array tasks, tables and data sets."""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
from fuzzing import Case, Make, pick, spoiled

from predictlearn.cli.reading import read_file
from predictlearn.recordings import (
    load_archerfish,
    load_bci_golub,
    load_bci_learning,
    load_bci_redundancy,
    load_rat_choices,
    load_recording,
    load_simulated_learning,
)
from predictlearn.resources import resource_folder
from predictlearn.tasks.registry import get_task

WRONG = [
    np.array("text"),
    np.array(np.nan),
    np.array(np.inf),
    np.array(-1.0),
    np.array(0),
    np.array(1e308),
    np.array(1e-320),
    np.array(True),
    np.array(1j),
    np.array("2020-01-01", dtype="datetime64[D]"),
    np.zeros(0),
    np.zeros((0, 8, 3)),
    np.zeros((6, 0, 3)),
    np.zeros((6, 8, 0)),
    np.ones((1, 1, 1)),
    np.ones((6, 8, 3, 2)),
    np.full((6, 8, 3), np.nan),
    np.full((6, 8, 3), 1e308),
    np.full((6, 8, 3), 2**63, dtype=np.uint64),
    np.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f8")]),
    np.array([b"\xff\xfe"]),
    np.array("[" * 5000),
    np.array('{"data": [[1]], "columns": 3}'),
    np.array('{"data": 5, "columns": ["a"]}'),
    np.array('{"columns": ["a"], "data": [[1], [1, 2]]}'),
    np.array(json.dumps({"a": "x" * 10_000})),
]


def arrays(rng: np.random.Generator) -> dict[str, np.ndarray]:
    x = rng.normal(size=(6, 8, 1))
    return {
        "activity": x * rng.normal(size=3) + 0.1 * rng.normal(size=(6, 8, 3)),
        "inputs": x,
        "outputs": rng.normal(size=(6, 8, 1)),
        "dt": np.array(0.05),
        "observed": np.array("rate"),
        "trials": np.array('{"columns":["trial"],"index":[0],"data":[[0],[1],[2],[3],[4],[5]]}'),
        "metadata": np.array('{"name": "one"}'),
        "side": rng.normal(size=6),
        "index": np.repeat([1, 2], 4),
        "lengths": np.full(6, 8),
    }


def task_arrays(rng: np.random.Generator) -> dict[str, np.ndarray]:
    return {
        "inputs": rng.normal(size=(2, 9, 1)),
        "targets": rng.normal(size=(2, 9, 1)),
        "weights": np.ones((2, 9, 1)),
        "dt": np.array(0.05),
        "offset": np.zeros(1),
        "smoothing": np.zeros((1, 1)),
    }


def npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=True)
    return stream.getvalue()


def header(text: str, data: bytes = b"") -> bytes:
    """Return an .npy file with any header."""
    raw = text.encode("latin1")
    raw += b" " * (-(len(raw) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(raw)) + raw + data


def claims(shape: str, descr: str = "<f8") -> bytes:
    return header(f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {shape}, }}", bytes(64))


def zipped(members: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return stream.getvalue()


def deflated_zeros(megabytes: int, head: bytes = b"") -> bytes:
    """Return a raw deflate stream of a head and many zeros, made without making the zeros."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    first = packer.compress(head) + packer.flush(zlib.Z_FULL_FLUSH)
    block = packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    again = packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    return first + block + again * (megabytes - 1) + packer.flush()


def bomb(name: str, megabytes: int, shape: tuple[int, ...]) -> bytes:
    """Return a zip file with one member of many zeros, its sums of check left at 0."""
    head = npy(np.zeros(0))[:0] + claims(str(shape))[:-64]
    stream, size = deflated_zeros(megabytes, head), (megabytes << 20) + len(head)
    label = f"{name}.npy".encode()
    about = (20, 0, 8, 0, 0, 0, len(stream), size, len(label))
    local = struct.pack("<4s5H3I2H", b"PK\3\4", *about, 0) + label
    central = struct.pack("<4s6H3I5H2I", b"PK\1\2", 20, *about, 0, 0, 0, 0, 0, 0) + label
    at = len(local) + len(stream)
    end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 1, 1, len(central), at, 0)
    return local + stream + central + end


class _Planted:
    """What runs when a pickle of it is read."""

    def __reduce__(self):
        return (os.abort, ())


NPZ = [
    ("activity that claims 289 GiB", lambda a: {**a, "activity": claims("(10**4, 10**4, 388)")}),
    ("a shape of text", lambda a: {**a, "activity": claims("'abc'")}),
    ("a negative shape", lambda a: {**a, "activity": claims("(-1, 8, 3)")}),
    ("a shape beyond numbers", lambda a: {**a, "activity": claims("(2**62, 2**62, 8)")}),
    ("a header nested deep", lambda a: {**a, "activity": header("(" * 4000)}),
    ("a header of nothing", lambda a: {**a, "activity": header("")}),
    ("void of no size", lambda a: {**a, "activity": claims("(10**12,)", "|V0")}),
    ("text of no size", lambda a: {**a, "activity": claims("(10**12,)", "<U0")}),
    ("trials nested deep", lambda a: {**a, "trials": npy(np.array("[" * 20_000 + "]" * 20_000))}),
    (
        "metadata nested",
        lambda a: {**a, "metadata": npy(np.array('{"a":' * 9000 + "1" + "}" * 9000))},
    ),
    ("a planted pickle", lambda a: {**a, "metadata": npy(np.array(_Planted(), dtype=object))}),
    ("infinite dt", lambda a: {**a, "dt": npy(np.array(np.inf))}),
    (
        "huge activity",
        lambda a: {**a, "activity": npy(np.random.default_rng(0).normal(size=(6, 8, 3)) * 1e307)},
    ),
    ("metadata that is a list", lambda a: {**a, "metadata": npy(np.array("[1, 2]"))}),
    ("metadata that is a number", lambda a: {**a, "metadata": npy(np.array("5"))}),
    ("no names", lambda a: {}),
    ("names that are paths", lambda a: {**a, "../../activity": npy(np.ones(2))}),
]

OPTIONS = [
    {},
    {},
    {"inputs": "side"},
    {"activity": "activity", "inputs": ["side", "inputs"], "outputs": "outputs"},
    {"activity": ["activity"]},
    {"activity": {"a": 1}},
    {"activity": 5},
    {"activity": None},
    {"inputs": 5},
    {"inputs": [[1, 2], [3]]},
    {"inputs": {"from": "side", "to": "side"}},
    {"inputs": [{"column": "side"}]},
    {"inputs": [{"column": ["side"]}]},
    {"inputs": {"from": 1e308, "to": -1e308}},
    {"inputs": {"from": 0, "to": 1, "value": "side"}},
    {"dt": "dt"},
    {"dt": ["dt"]},
    {"dt": "text"},
    {"dt": 1e308},
    {"dt": -1},
    {"dt": True},
    {"dt": {"a": 1}},
    {"axes": ["trials", "time", "neurons"]},
    {"axes": "time, neurons, trials"},
    {"axes": 5},
    {"trials": "side"},
    {"trials": {"side": ["side"]}},
    {"trials": [["side"]]},
    {"trials": 5},
    {"trial_index": ["index"]},
    {"trial_index": "index"},
    {"trial_index": 5},
    {"observed": ["rate"]},
    {"observed": "counts"},
    {"unit": ["ms"]},
    {"unit": 1e308},
    {"unit": {}},
    {"start": ["side"]},
    {"start": "side"},
    {"start": 5},
    {"align": ["side"], "window": [0, 1]},
    {"align": "index", "window": [0, 1]},
    {"align": [1, 2], "window": 5},
    {"align": [0, 0.1], "window": [0, 1e308]},
    {"align": {"a": 1}, "window": [0, 1]},
    {"window": [0, 1]},
    {"lengths": "lengths"},
    {"lengths": ["lengths"]},
    {"lengths": [1, 2, 3]},
    {"lengths": "zeros"},
    {"lengths": {"a": 1}},
    {"nonsense": 1},
]


def npz(number: int, rng: np.random.Generator, folder: Path) -> Case:
    file = folder / "recording.npz"
    members = {name: npy(value) for name, value in arrays(rng).items()}
    options: dict = {}
    if number == 0:
        what = "a plain .npy, called .npz"
        file.write_bytes(npy(np.ones((6, 8, 3))))
    elif number == 1:
        what = "a bomb of 3 GB"
        file.write_bytes(bomb("activity", 3000, (1000, 1000, 393)))
    elif number == 2:
        what = "a pipe"
        os.mkfifo(file)
    elif number == 3:
        what, file = "a device", Path("/dev/zero")
        return Case(what, lambda: load_recording(file), "/dev/zero")
    elif number == 4:
        what = "a folder"
        file.mkdir()
    elif number - 5 < len(NPZ):
        what, change = NPZ[number - 5]
        file.write_bytes(zipped({f"{k}.npy": v for k, v in change(members).items()}))
    elif number - 5 - len(NPZ) < len(OPTIONS):
        options = OPTIONS[number - 5 - len(NPZ)]
        what = f"options {options}"
        file.write_bytes(zipped({f"{k}.npy": v for k, v in members.items()}))
    else:
        what, raw = _spoiled_archive(members, rng)
        options = dict(pick(rng, OPTIONS)) if rng.random() < 0.3 else {}
        file.write_bytes(raw)
        what += f" {options}" if options else ""
    return Case(what, lambda: load_recording(file, **options), "recording.npz")


def _spoiled_archive(members: dict[str, bytes], rng: np.random.Generator) -> tuple[str, bytes]:
    """Return an archive with something done to it, to an array of it, or to what stands where."""
    kind = str(rng.choice(["raw", "member", "wrong", "swapped", "absent"]))
    name = str(rng.choice(list(members)))
    what = kind
    if kind == "member":
        what, members[name] = spoiled(members[name], rng)
        what = f"{name}: {what}"
    elif kind == "wrong":
        value = pick(rng, WRONG)
        members[name] = npy(value)
        what = f"{name} is {str(value)[:60]!r} of shape {np.shape(value)}"
    elif kind == "swapped":
        other = str(rng.choice(list(members)))
        members[name], members[other] = members[other], members[name]
        what = f"{name} and {other} swapped"
    elif kind == "absent":
        del members[name]
        what = f"no {name}"
    raw = zipped({f"{key}.npy": value for key, value in members.items()})
    if kind == "raw":
        what, raw = spoiled(raw, rng)
    return what, raw


def plain_npy(number: int, rng: np.random.Generator, folder: Path) -> Case:
    file = folder / str(rng.choice(["recording.npy", "recording.npz", "recording"]))
    array = rng.normal(size=(6, 8, 3))
    choices = [
        npy(array),
        npy(np.array([None, "x"], dtype=object)),
        npy(np.array(_Planted(), dtype=object)),
        pickle.dumps(_Planted()),
        claims("(10**10, 10)"),
        b"",
        b"PK",
        b"\x93NUMPY",
        header("{" * 3000),
    ]
    if number < len(choices):
        what, raw = f"seed {number}", choices[number]
    else:
        what, raw = spoiled(npy(array), rng)
    file.write_bytes(raw)
    reader = load_recording if rng.random() < 0.5 else lambda path: read_file(path, {})
    return Case(what, lambda: reader(file), file.name)


def task(number: int, rng: np.random.Generator, folder: Path) -> Case:
    file = folder / "task.npz"
    members = {name: npy(value) for name, value in task_arrays(rng).items()}
    seeds = [
        ("dt as text", {"dt": npy(np.array("abc"))}),
        ("dt as date", {"dt": npy(np.array("2020-01-01", dtype="datetime64[D]"))}),
        ("dt complex", {"dt": npy(np.array(1j))}),
        ("huge targets", {"targets": npy(np.full((2, 9, 1), 1e308))}),
        ("huge inputs", {"inputs": npy(np.full((2, 9, 1), 1e308))}),
        ("huge weights", {"weights": npy(np.full((2, 9, 1), 1e308))}),
        ("huge smoothing", {"smoothing": npy(np.full((1, 1), 1e308))}),
        ("a claim", {"targets": claims("(10**4, 10**4, 388)")}),
        ("a pickle", {"targets": npy(np.array(_Planted(), dtype=object))}),
        ("structured", {"targets": npy(WRONG[19])}),
    ]
    if number == 0:
        what = "a bomb"
        file.write_bytes(bomb("inputs", 3000, (1000, 1000, 393)))
    elif number == 1:
        what = "a pipe"
        os.mkfifo(file)
    elif number == 2:
        what = "a plain .npy"
        file.write_bytes(npy(np.ones((2, 9, 1))))
    elif number - 3 < len(seeds):
        what, change = seeds[number - 3]
        file.write_bytes(zipped({f"{k}.npy": v for k, v in {**members, **change}.items()}))
    else:
        what, raw = _spoiled_archive(members, rng)
        file.write_bytes(raw)
    return Case(what, lambda: get_task("arrays", file=file), "task.npz")


def data_sets(shared: Path | None) -> Make:
    """Return the door of data sets: their files, where there are any, and others in their place."""
    readers = {
        "bci-learning-hennig2021/20160728.mat": load_bci_learning,
        "bci-redundancy-hennig2018/20131218.mat": load_bci_redundancy,
        "bci-golub2018/exampleData.mat": load_bci_golub,
        "archerfish-motor-adaptation/motor_adaptation_archerfish.csv": load_archerfish,
        "rat-learning-psytrack/sampleRatData.npz": lambda f: load_rat_choices(f, allow_pickle=True),
        "simulated-learning.npz": load_simulated_learning,
    }
    ships = resource_folder("datasets") / "simulated-learning.npz"

    def make(number: int, rng: np.random.Generator, folder: Path) -> Case:
        name = list(readers)[number % len(readers)]
        file = folder / Path(name).name
        source = ships if name == ships.name else None if shared is None else shared / name
        if number < len(readers):
            what = "a planted pickle"
            stream = io.BytesIO()
            np.savez(stream, D=np.array(_Planted(), dtype=object))
            raw = stream.getvalue()
        elif source == ships and rng.random() < 0.7:
            with np.load(ships) as stored:
                members = {key: npy(stored[key]) for key in stored}
            what, raw = _spoiled_archive(members, rng)
        elif source is None or not source.is_file() or rng.random() < 0.2:
            what, raw = "random bytes", rng.bytes(int(rng.integers(0, 3000)))
        else:
            what, raw = spoiled(source.read_bytes(), rng)
        file.write_bytes(raw)
        return Case(f"{name}: {what}", lambda: readers[name](file), file.name)

    return make
