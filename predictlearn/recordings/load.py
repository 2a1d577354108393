"""`load_recording`: the reader for a file, by its suffix."""

from __future__ import annotations

import inspect
import os
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from predictlearn.checks import one_number, positive
from predictlearn.doors import readable, reading
from predictlearn.errors import InputError, choice
from predictlearn.npz import EXPECTED, json_of, plain_array, read_npz
from predictlearn.recordings.readers.arrays import read_arrays
from predictlearn.recordings.readers.mat import read_mat
from predictlearn.recordings.readers.nwb import read_nwb
from predictlearn.recordings.recording import Recording
from predictlearn.recordings.units import ask_activity, seconds_in

__all__ = ["load_recording"]

_REQUIRED_KEYS = ("activity", "inputs", "dt")


def load_recording(path: str | os.PathLike[str], **options: Any) -> Recording:
    """Read a recording from an .npz, .nwb or .mat file.

    Parameters
    ----------
    path : path
        An .npz file with the arrays ``activity`` (trials, time, neurons), ``inputs``
        (trials, time, n_in) and ``dt`` (seconds); ``outputs`` (trials, time, n_out), ``observed``,
        ``trials`` and ``metadata`` where known, as `Recording.save_npz` writes them. Or an .nwb
        file, or a .mat file.
    **options : object
        What to read: of an .nwb file the arguments of `read_nwb`, of a .mat file those of
        `read_mat`, of an .npz file those of `read_arrays`; what a complete .npz file says by itself
        (inputs, outputs, observed) need not be said again, and ``dt`` and ``observed`` replace what
        it says.

    Returns
    -------
    Recording
        The checked recording.

    Warns
    -----
    UserWarning
        Another ``dt`` than the file has was asked for.

    Raises
    ------
    InputError
        No such file, a file that cannot be read, an array that is missing, an option that its
        reader does not have, or a bin or rates that no brain has (``unit="s"`` says that they are
        right).

    Examples
    --------
    >>> import numpy as np, tempfile, pathlib
    >>> x = np.random.default_rng(0).normal(size=(3, 8, 2))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Recording(x, x[:, :, :1], dt=0.05).save_npz(folder + "/demo")
    ...     load_recording(file).n_neurons
    2
    """
    reader, expected = _reader(Path(path).suffix.lower())
    with reading(path, expected):
        readable(path, expected)
        if reader is not None:
            return _checked_call(reader, path, options)
        arrays = read_npz(path, () if options else _REQUIRED_KEYS)
        complete = all(name in arrays for name in _REQUIRED_KEYS)
        if not complete or options.get("activity", "activity") != "activity":
            return _checked_call(read_arrays, path, options)
        if not set(options) <= {"activity", "dt", "observed", "unit"}:
            return _checked_call(read_arrays, path, _stored_options(arrays) | options)
        return _of_stored(path, arrays, options)


def _stored_options(arrays: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a complete file says by itself to the reader of arrays."""
    said: dict[str, Any] = {}
    said |= {"inputs": "inputs"} if arrays["inputs"].size else {}
    said |= {"outputs": "outputs"} if "outputs" in arrays else {}
    return said | ({"observed": str(arrays["observed"])} if "observed" in arrays else {})


def _of_stored(
    path: str | os.PathLike[str], arrays: Mapping[str, Any], options: Mapping[str, Any]
) -> Recording:
    """Return the recording of a complete file; options replace what it says."""
    for name in arrays:
        plain_array(path, name, arrays[name])
    trials = pd.DataFrame()
    if "trials" in arrays:
        trials = _table_of(json_of("trials", str(arrays["trials"])))
    metadata: Any = {}
    if "metadata" in arrays:
        metadata = json_of("metadata", str(arrays["metadata"]))
        if not isinstance(metadata, dict):
            raise InputError(f"metadata must be a mapping in JSON; it is {_JSON[type(metadata)]}")
    stored = one_number("dt", arrays["dt"], "one number of seconds")
    given = options.get("dt", "dt")
    if isinstance(given, str):
        choice("dt", given, [name for name in arrays if np.size(arrays[name]) == 1])
        given = one_number("dt", arrays[given], "one number of seconds")
    dt = positive("dt", given) * seconds_in("unit", options.get("unit"))
    if "dt" in options and abs(dt - stored) > 1e-9 * stored:
        warnings.warn(
            f"{path} says dt={stored:g} s; {dt:g} s was asked for and taken.",
            UserWarning,
            stacklevel=3,
        )
    recording = Recording(
        activity=arrays["activity"],
        inputs=arrays["inputs"],
        dt=dt,
        outputs=arrays.get("outputs"),
        trials=trials,
        observed=str(options.get("observed", arrays.get("observed", "rate"))),
        metadata=metadata,
    )
    if "unit" not in options:
        how = "Say unit='ms' if dt is in milliseconds (--read unit=ms), or unit='s' if it is right."
        ask_activity(recording.activity, dt, recording.observed, how)
    return recording


_JSON = {list: "a list", str: "text", int: "a number", float: "a number", bool: "true or false"}
_JSON[type(None)] = "null"


def _table_of(content: Any) -> pd.DataFrame:
    """Return the trial table that `Recording.save_npz` wrote."""
    columns, rows = (
        content.get(key) if isinstance(content, dict) else None for key in ("columns", "data")
    )
    good = isinstance(columns, list) and isinstance(rows, list)
    if not good or any(not isinstance(r, list) or len(r) != len(columns or ()) for r in rows or ()):
        raise InputError(
            'trials must be {"columns": [names], "data": [one list of values a trial]} in JSON, as '
            "Recording.save_npz writes it"
        )
    return pd.DataFrame(rows, columns=[str(column) for column in columns or ()])


def _reader(suffix: str) -> tuple[Callable[..., Recording] | None, str]:
    """Return what reads a kind of file, None for an .npz file, and what the kind is called."""
    if suffix == ".nwb":
        return read_nwb, "an NWB file"
    if suffix == ".mat":
        return read_mat, "a .mat file"
    return None, EXPECTED


def _checked_call(
    reader: Callable[..., Recording], path: str | os.PathLike[str], options: Mapping[str, Any]
) -> Recording:
    """Call a reader with options that it has."""
    known = [
        name for name in inspect.signature(reader).parameters if name not in ("path", "source")
    ]
    for name in options:
        choice("option", name, known)
    return reader(path, **options)
