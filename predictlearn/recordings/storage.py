"""Writing .npz files: whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["write_npz"]


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
