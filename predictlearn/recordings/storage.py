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

__all__ = ["read_npz", "write_npz"]


def read_npz(
    path: str | os.PathLike[str], required: tuple[str, ...] = ()
) -> dict[str, npt.NDArray[Any]]:
    """Read every array of an .npz file, or say what is wrong with the file.

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
            arrays = {name: archive[name] for name in archive.files}
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
    return arrays


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
