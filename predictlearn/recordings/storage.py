"""Reading and writing .npz files: whole or not at all."""

from __future__ import annotations

import os
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from predictlearn.errors import InputError

__all__ = ["Pickled", "plain_array", "read_npz", "write_npz"]


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
    file = Path(path)
    if not file.is_file():
        raise InputError(f"no such file: {file}; expected an .npz recording")
    try:
        with file.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
            arrays = {name: _member(archive, name) for name in archive.files}
    except (zipfile.BadZipFile, OSError, ValueError, EOFError, AttributeError) as error:
        raise InputError(
            f"{file} is not a readable .npz file of plain arrays (truncated, or of another kind)"
        ) from error
    missing = [name for name in required if name not in arrays]
    if missing:
        raise InputError(
            f"{file} lacks {', '.join(missing)}; a recording needs {', '.join(required)}, "
            f"and this file has {', '.join(sorted(arrays)) or 'nothing'}"
        )
    for name in required:
        plain_array(file, name, arrays[name])
    return arrays


def _member(archive: Any, name: str) -> npt.NDArray[Any] | Pickled:
    """Return an array of an archive."""
    try:
        return np.asarray(archive[name])
    except ValueError as error:
        if "allow_pickle" not in str(error):
            raise
        return Pickled()


def write_npz(path: Path, arrays: Mapping[str, Any]) -> None:
    """Write arrays to a compressed .npz by way of a temporary file, so never half a file.

    Parameters
    ----------
    path : Path
        Where to write.
    arrays : mapping of str to array
        What to write.
    """
    handle, temporary = tempfile.mkstemp(suffix=".npz", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as stream:
            np.savez_compressed(stream, **arrays)
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
