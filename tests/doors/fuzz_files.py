"""Inputs for the door of MATLAB files of all versions."""

from __future__ import annotations

import io
import os
import struct
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from fuzz_arrays import OPTIONS, deflated_zeros
from fuzzing import Case, pick, spoiled

from predictlearn.recordings import load_recording

# -- version 5 ------------------------------------------------------------------------------------


def element(kind: int, data: bytes) -> bytes:
    return struct.pack("<II", kind, len(data)) + data + bytes(-len(data) % 8)


def matrix(name: str, shape: tuple[int, ...], data: bytes, kind: int = 6, flags: int = 0) -> bytes:
    """Return a variable of a .mat file: its class, axes and name, and then anything."""
    head = element(6, struct.pack("<II", kind | flags << 8, 0))
    head += element(5, struct.pack(f"<{len(shape)}i", *shape)) + element(1, name.encode())
    return element(14, head + data)


def mat_file(*elements: bytes) -> bytes:
    return (
        b"MATLAB 5.0 MAT-file".ljust(124) + struct.pack("<HH", 0x0100, 0x4D49) + b"".join(elements)
    )


def packed(raw: bytes) -> bytes:
    stream = zlib.compress(raw)
    return struct.pack("<II", 15, len(stream)) + stream


def variables(rng: np.random.Generator) -> dict[str, Any]:
    cells = np.empty(6, dtype=object)
    cells[:] = [rng.normal(size=(8, 3)) for _ in range(6)]
    return {
        "rates": rng.normal(size=(6, 8, 3)),
        "side": rng.normal(size=6),
        "cells": cells,
        "data": {"spikes": rng.poisson(2.0, (6, 8, 3)).astype(float), "dt": 0.05},
        "words": np.array(["left", "right"]),
        "index": np.repeat([1, 2], 4),
        "dt": 0.05,
    }


MAT_OPTIONS = [
    {"activity": "rates", "dt": 0.05},
    {"activity": "rates", "dt": 0.05, "inputs": "side"},
    {"activity": "cells", "dt": "dt", "axes": "trials, time, neurons"},
    {"activity": "data.spikes", "dt": 0.05, "observed": "counts"},
    {"activity": "words", "dt": 0.05},
    {"activity": "cells(2)", "dt": 0.05},
    {"activity": "cells(99999999999999999999)", "dt": 0.05},
    {"activity": "rates", "dt": "data.dt", "trials": {"side": "words"}},
    {},
    {"activity": "rates"},
]


@cache
def _mat(compressed: bool) -> bytes:
    from scipy.io import savemat

    stream = io.BytesIO()
    savemat(stream, variables(np.random.default_rng(0)), do_compression=compressed)
    return stream.getvalue()


def _nested(depth: int) -> bytes:
    raw = matrix("", (1, 1), element(9, bytes(8)))
    for _ in range(depth):
        raw = matrix("", (1, 1), raw, kind=1)
    return matrix("rates", (1, 1), raw, kind=1)


def _bomb(megabytes: int) -> bytes:
    size = megabytes << 20
    head = matrix("rates", (1024, 1024, megabytes // 8), b"")
    head = struct.pack("<II", 14, size + len(head)) + head[8:] + struct.pack("<II", 9, size)
    stream = b"\x78\xda" + deflated_zeros(megabytes, head)
    return mat_file(struct.pack("<II", 15, len(stream)) + stream)


def _sparse(rows: int, columns: int) -> bytes:
    data = element(5, struct.pack("<i", 0)) + element(5, struct.pack("<ii", 0, 1))
    return matrix("rates", (rows, columns), data + element(9, bytes(8)), kind=5)


ONE = element(9, bytes(8))
MAT = [
    ("a bomb of 3 GB", lambda: _bomb(3000)),
    (
        "a bomb of characters",
        lambda: mat_file(matrix("rates", (60000, 60000), element(4, b""), kind=4)),
    ),
    ("a bomb of cells", lambda: mat_file(matrix("rates", (60000, 30000), b"", kind=1))),
    (
        "a bomb of structures",
        lambda: mat_file(
            matrix(
                "rates",
                (60000, 30000),
                element(5, struct.pack("<i", 8)) + element(1, b"a".ljust(8, b"\0")),
                kind=2,
            )
        ),
    ),
    ("a sparse bomb", lambda: mat_file(_sparse(2**30, 1))),
    ("sparse with rows outside", lambda: mat_file(_sparse(0, 1))),
    ("negative axes", lambda: mat_file(matrix("rates", (-5, -5), ONE))),
    ("huge axes", lambda: mat_file(matrix("rates", (2**31 - 1, 2**31 - 1), ONE))),
    ("no axes", lambda: mat_file(matrix("rates", (), ONE))),
    ("many axes", lambda: mat_file(matrix("rates", (1,) * 5000, ONE))),
    ("an unknown class", lambda: mat_file(matrix("rates", (1, 1), ONE, kind=99))),
    ("cells nested deep", lambda: mat_file(_nested(20_000))),
    ("cells nested", lambda: mat_file(packed(_nested(700)))),
    (
        "an element that claims 4 GB",
        lambda: mat_file(struct.pack("<II", 14, 2**32 - 1), bytes(100)),
    ),
    (
        "numbers that claim 4 GB",
        lambda: mat_file(matrix("rates", (1, 1), struct.pack("<II", 9, 2**32 - 8))),
    ),
    ("packed in packed", lambda: mat_file(packed(packed(matrix("rates", (1, 1), ONE))))),
    ("complex numbers", lambda: mat_file(matrix("rates", (1, 1), ONE + ONE, flags=8))),
    ("nothing", lambda: b""),
    ("text", lambda: b"these are no data\n" * 50),
    ("only a head", lambda: mat_file()),
    (
        "names that repeat",
        lambda: mat_file(matrix("rates", (1, 1), ONE), matrix("rates", (1, 1), ONE)),
    ),
    ("version 4", lambda: struct.pack("<5i", 0, 60000, 60000, 0, 6) + b"rates\0" + bytes(64)),
    ("version 4 with a long name", lambda: struct.pack("<5i", 0, 1, 1, 0, 2**31 - 1) + bytes(64)),
]


def mat(number: int, rng: np.random.Generator, folder: Path) -> Case:
    file = folder / "session.mat"
    options = dict(MAT_OPTIONS[0])
    if number < len(MAT):
        what, made = MAT[number]
        raw = made()
    elif number == len(MAT):
        os.mkfifo(file)
        return Case("a pipe", lambda: load_recording(file, **options), "session.mat")
    elif rng.random() < 0.2:
        options = MAT_OPTIONS[0] | dict(pick(rng, OPTIONS))
        what, raw = f"options {options}", _mat(bool(rng.integers(2)))
    else:
        options = dict(pick(rng, MAT_OPTIONS))
        what, raw = spoiled(_mat(rng.random() < 0.3), rng)
        if rng.random() < 0.3 and raw[:6] == b"MATLAB":
            # spoiled, then packed: the sums of check are right
            what, raw = f"packed, {what}", raw[:128] + packed(raw[128:])
        what += f" {options}"
    file.write_bytes(raw)
    return Case(what, lambda: load_recording(file, **options), "session.mat")


# -- version 7.3 ----------------------------------------------------------------------------------


def _hdf5(path: Path, rng: np.random.Generator) -> Any:
    """Make a small file as MATLAB writes it, and return it open."""
    import h5py

    raw = h5py.File(path, "w", userblock_size=512)
    for name, value in (("rates", rng.normal(size=(3, 8, 6))), ("side", rng.normal(size=(1, 6)))):
        raw.create_dataset(name, data=value).attrs["MATLAB_class"] = np.bytes_("double")
    raw["dt"] = np.array([[0.05]])
    raw["dt"].attrs["MATLAB_class"] = np.bytes_("double")
    refs = raw.create_group("#refs#")
    kind = h5py.ref_dtype
    cells = raw.create_dataset("cells", (6, 1), dtype=kind)
    for k in range(6):
        refs.create_dataset(f"c{k}", data=rng.normal(size=(3, 8)))
        cells[k, 0] = refs[f"c{k}"].ref
    cells.attrs["MATLAB_class"] = np.bytes_("cell")
    words = np.array([[ord(letter)] for letter in "left"], dtype=np.uint16)
    raw.create_dataset("words", data=words).attrs["MATLAB_class"] = np.bytes_("char")
    data = raw.create_group("data")
    data.attrs["MATLAB_class"] = np.bytes_("struct")
    data["spikes"] = rng.poisson(2.0, (3, 8, 6)).astype(float)
    data["dt"] = np.array([[0.05]])
    sparse = raw.create_group("sparse")
    sparse.attrs["MATLAB_sparse"] = np.uint64(6)
    sparse["data"], sparse["ir"] = np.ones(3), np.array([0, 2, 4], dtype=np.uint64)
    sparse["jc"] = np.array([0, 1, 2, 3], dtype=np.uint64)
    return raw


def _close(raw: Any, path: Path) -> None:
    raw.close()
    content = path.read_bytes()
    path.write_bytes(b"MATLAB 7.3 MAT-file".ljust(512, b" ") + content[512:])


def _in_place_of(name: str, make: Callable[[Any, str], object]) -> Callable[[Any], object]:
    def change(raw: Any) -> None:
        del raw[name]
        make(raw, name)

    return change


def _chunks(raw: Any, name: str) -> None:
    raw.create_dataset(name, (10**6, 10**6, 10), dtype="f8", chunks=(100, 100, 10))


def _few_gigabytes(raw: Any, name: str) -> None:
    raw.create_dataset(
        name, (200, 1000, 2000), dtype="f8", chunks=(10, 100, 100), compression="gzip"
    )


def _external(raw: Any, name: str) -> None:
    import h5py

    raw[name] = h5py.ExternalLink("/etc/hostname", "/x")


def _soft(raw: Any, name: str) -> None:
    import h5py

    raw[name] = h5py.SoftLink("/nowhere/at/all")


def _stored_outside(raw: Any, name: str) -> None:
    raw.create_dataset(name, (3, 8, 6), dtype="u1", external=[("/etc/passwd", 0, 144)])


def _virtual(raw: Any, name: str) -> None:
    import h5py

    layout = h5py.VirtualLayout((3, 8, 6), "f8")
    layout[:] = h5py.VirtualSource("/etc/hostname", "x", (3, 8, 6))
    raw.create_virtual_dataset(name, layout)


def _cycle(raw: Any, name: str) -> None:
    group = raw.create_group(name)
    group["again"] = group


def _cell_in_itself(raw: Any, name: str) -> None:
    import h5py

    cell = raw.create_dataset(name, (1, 1), dtype=h5py.ref_dtype)
    cell[0, 0] = cell.ref
    cell.attrs["MATLAB_class"] = np.bytes_("cell")


def _null_reference(raw: Any, name: str) -> None:
    import h5py

    raw.create_dataset(name, (6, 1), dtype=h5py.ref_dtype).attrs["MATLAB_class"] = np.bytes_("cell")


def _empty(raw: Any, name: str) -> None:
    raw.create_dataset(name, data=np.array([2**40, 2**20], dtype=np.uint64)).attrs[
        "MATLAB_empty"
    ] = 1


def _sparse_bomb(raw: Any, name: str) -> None:
    _sparse_group(raw, name, 2**40, [0, 0, 0])


def _sparse_group(raw: Any, name: str, rows: int, ends: list[int]) -> None:
    group = raw.create_group(name)
    group.attrs["MATLAB_sparse"] = np.uint64(rows)
    group["data"], group["ir"] = np.ones(3), np.array([0, 2, 2**40], dtype=np.uint64)
    group["jc"] = np.array(ends, dtype=np.uint64)


def _table(raw: Any, name: str) -> None:
    raw[name] = np.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f8")])


def _words(raw: Any, name: str) -> None:
    raw[name] = "text"


def _null_space(raw: Any, name: str) -> None:
    import h5py

    raw[name] = h5py.Empty("f8")


def _characters(raw: Any, name: str) -> None:
    raw.create_dataset(name, data=np.full((3, 3), 2**31 - 1)).attrs["MATLAB_class"] = np.bytes_(
        "char"
    )


def _scale(raw: Any, name: str) -> None:
    raw[name] = np.full((3, 8, 6), 1e308)


def _lone_attribute(raw: Any, name: str) -> None:
    raw[name] = np.ones((3, 8, 6))
    raw[name].attrs["MATLAB_class"] = np.array([1, 2])


def _type(raw: Any, name: str) -> None:
    raw[name] = np.dtype("f8")


MAKERS = [
    _chunks,
    _few_gigabytes,
    _external,
    _soft,
    _stored_outside,
    _virtual,
    _cycle,
    _cell_in_itself,
    _null_reference,
    _empty,
    _sparse_bomb,
    _table,
    _words,
    _null_space,
    _characters,
    _scale,
    _lone_attribute,
    _type,
]
V73_NAMES = ["rates", "side", "cells", "words", "data", "dt", "data/spikes"]
V73_OPTIONS = [*MAT_OPTIONS, {"activity": "sparse", "dt": 0.05}, {"activity": "cells", "dt": "dt"}]


def v73(number: int, rng: np.random.Generator, folder: Path) -> Case:
    file = folder / "session.mat"
    options = dict(V73_OPTIONS[0])
    raw = _hdf5(file, np.random.default_rng(0))
    what = "as it is"
    if number < len(MAKERS):
        what = MAKERS[number].__name__
        _in_place_of("rates", MAKERS[number])(raw)
    elif rng.random() < 0.4:
        make, name = pick(rng, MAKERS), str(pick(rng, V73_NAMES))
        what = f"{make.__name__} in place of {name}"
        _in_place_of(name, make)(raw)
        options = dict(pick(rng, V73_OPTIONS))
    elif rng.random() < 0.2:
        options = MAT_OPTIONS[0] | dict(pick(rng, OPTIONS))
        what = "options"
    _close(raw, file)
    if what == "as it is":
        what, content = spoiled(file.read_bytes()[512:], rng)
        file.write_bytes(file.read_bytes()[:512] + content)
        options = dict(pick(rng, V73_OPTIONS))
    return Case(f"{what} {options}", lambda: load_recording(file, **options), "session.mat")
