"""Reading .npz files: plain arrays, of no more than is allowed."""

from __future__ import annotations

import json
import math
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from predictlearn.doors import inside, readable, reading, room
from predictlearn.errors import InputError

__all__ = ["EXPECTED", "Pickled", "check_npz", "json_of", "plain_array", "read_npz"]

EXPECTED = "an .npz file of plain arrays"
_MOST_ARRAYS, _LAST_CHARACTER = 10_000, 0x10FFFF


class Pickled:
    """Stands for an array of Python objects, which is not read: reading one can run any code."""


def plain_array(path: str | os.PathLike[str], name: str, value: Any) -> Any:
    """Return an array of a file, or refuse one of Python objects.

    Parameters
    ----------
    path : path
        The file, for the message.
    name : str
        Name of the array.
    value : object
        What `read_npz` gave for it.

    Returns
    -------
    object
        The value.

    Raises
    ------
    InputError
        It is an array of Python objects.
    """
    if isinstance(value, Pickled):
        raise InputError(
            f"{path}: {name!r} is not a readable array: it holds Python objects (a list of arrays, "
            "for example), and reading one can run any code that is in it. Save plain numbers: "
            "trials padded with NaN, or one after the other with the number of the trial of every "
            "bin (trial_index)."
        )
    return value


def read_npz(path: str | os.PathLike[str], required: tuple[str, ...] = ()) -> dict[str, Any]:
    """Read every array of an .npz file, or say what is wrong with the file.

    Arrays of Python objects are not read, and are `Pickled` instead.

    Parameters
    ----------
    path : path
        The file.
    required : tuple of str
        Names that must be in it.

    Returns
    -------
    dict of ndarray
        All arrays by name.

    Raises
    ------
    InputError
        Missing, unreadable or incomplete file.
    """
    file = readable(path, EXPECTED)
    with reading(file, EXPECTED):
        check_npz(file)
        with file.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
            arrays = {name: _member(archive, name) for name in archive.files}
    for name in required:
        if name in arrays:
            plain_array(file, name, arrays[name])
    missing = [name for name in required if name not in arrays]
    if missing:
        raise InputError(
            f"{file} lacks {', '.join(missing)}; it must have {', '.join(required)}, and it has "
            f"{', '.join(sorted(arrays)) or 'nothing'}"
        )
    return arrays


def check_npz(file: Path) -> None:
    """Refuse an .npz file whose arrays would be larger than is allowed, before they are read.

    Parameters
    ----------
    file : Path
        The file.

    Raises
    ------
    InputError
        Another kind of file, or arrays that claim more than is allowed, or than is stored of them.
    """
    with file.open("rb") as stream:
        start = stream.read(6)
    if start == b"\x93NUMPY":
        raise InputError(
            f"{file} is a single array (.npy) without names and bin width; expected {EXPECTED}. "
            "Save several with numpy.savez(file, activity=..., inputs=..., dt=...)."
        )
    if start[:2] != b"PK":
        raise InputError(
            f"{file} is not a readable .npz file of plain arrays (truncated, or of another kind): "
            "it does not begin as one."
        )
    total = packed = 0
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        if len(members) > _MOST_ARRAYS:
            raise InputError(f"{file} has {len(members)} arrays; at most {_MOST_ARRAYS} are read.")
        for member in members:
            with inside(f"array {member.filename.removesuffix('.npy')!r}"):
                total += _claimed(archive, member)
            packed += member.compress_size
    room(f"{file}: what is in it", total, packed)


def _claimed(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> int:
    """Return how many bytes an array takes by its header, or refuse more than there are."""
    with archive.open(member) as stream:
        if stream.read(6) != b"\x93NUMPY":
            return member.file_size
    with archive.open(member) as stream:
        version = np.lib.format.read_magic(stream)
        if version > (2, 0):
            return member.file_size  # names of fields in other scripts
        first = version == (1, 0)
        read = np.lib.format.read_array_header_1_0 if first else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(stream)
    if dtype.hasobject:
        return 0  # a pickle, which is not read
    size = math.prod(shape)
    if min(shape, default=0) < 0 or size * max(dtype.itemsize, 1) > member.file_size:
        raise EOFError(f"an array of shape {shape} is said to be in {member.file_size} bytes")
    # numbers become floating point of eight bytes
    return size * (max(8, dtype.itemsize) if dtype.kind in "biuf" else dtype.itemsize)


def _member(archive: Any, name: str) -> npt.NDArray[Any] | Pickled:
    """Return an array of an archive."""
    try:
        with inside(f"array {name!r}"):
            array = np.asarray(archive[name])
            if array.dtype.kind == "U" and array.size and array.dtype.itemsize:
                # numbers that are no characters make text that Python cannot hold
                order = np.dtype(np.uint32).newbyteorder(array.dtype.byteorder)
                codes = np.ascontiguousarray(array).reshape(-1).view(order)
                if int(codes.max()) > _LAST_CHARACTER:
                    raise EOFError("its text holds what is no character")
            return array
    except ValueError as error:
        if "allow_pickle" not in str(error):
            raise
        return Pickled()


def json_of(name: str, text: str) -> Any:
    """Return what a text in JSON says.

    Parameters
    ----------
    name : str
        Name of the array that holds the text, for the message.
    text : str
        The text.

    Returns
    -------
    object
        Its content.

    Raises
    ------
    InputError
        It is no JSON, or nested too deeply.
    """
    try:
        return json.loads(text)
    except RecursionError as error:
        raise InputError(f"{name} must be JSON that is not nested so deeply") from error
    except ValueError as error:
        raise InputError(f"{name} must be JSON; {error}") from error
