"""NWB files: opening them, and finding tables and time series in them."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import pandas as pd

from predictlearn.doors import readable, reading
from predictlearn.errors import InputError, nearest
from predictlearn.recordings.readers.hdf5 import check_hdf5, try_hdf5

__all__ = ["EXPECTED", "find_one", "inventory", "objects", "opened", "plain_table", "unread"]

EXPECTED = "an NWB file"
_NEEDS = (
    "reading NWB files needs pynwb, which is not installed; install it with "
    "pip install 'predictlearn[nwb]'."
)


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """Open an NWB file for reading, or say what is wrong with it."""
    readable(path, EXPECTED)
    try:
        import h5py
        import pynwb  # noqa: F401
    except ImportError as error:
        raise InputError(_NEEDS) from error
    with reading(path, EXPECTED):
        try_hdf5(path)
        with h5py.File(path, "r") as raw:
            version = raw.attrs.get("nwb_version")
            if version is None:
                raise InputError(
                    f"{path} is an HDF5 file but not an NWB file: it has no nwb_version. A MATLAB "
                    "v7.3 file is read with read_mat."
                )
            check_hdf5(raw)
    # It warns of versions of the format that a file was written with; they read all the same.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with reading(path, EXPECTED):
            stream, content = _content(path, str(version))
    with stream:
        yield content


def _content(path: Path, version: str) -> tuple[Any, Any]:
    """Return an open file and what it holds, without the objects that violate the standard.

    One such object must not keep the others from being read; trials and units are needed.
    """
    ConstructError = importlib.import_module("hdmf.build").ConstructError
    from pynwb import NWBHDF5IO

    broken: dict[str, str] = {}
    while True:
        stream = NWBHDF5IO(str(path), "r", load_namespaces=True)
        try:
            root = stream.read_builder()
            for place in broken:
                _drop(root, place)
            content = stream.read()
        except ConstructError as error:
            stream.close()
            place = str(getattr(error.args[0], "path", "")).removeprefix("root").strip("/")
            reason = str(error.__cause__ or error.args[-1])
            needed = not place or place.startswith(("units", "intervals"))
            if needed or place in broken:
                raise InputError(
                    f"{path} (NWB {version}) cannot be read: {place or 'the file'} violates the "
                    f"standard: {reason}"
                ) from error
            broken[place] = reason
        except Exception as error:
            stream.close()
            error.add_note(f"NWB {version}")
            raise
        else:
            _BROKEN[content] = broken
            return stream, content


# objects of files that violate the standard, and how
_BROKEN: WeakKeyDictionary[Any, dict[str, str]] = WeakKeyDictionary()


def _drop(group: Any, place: str, at: str = "") -> None:
    """Take an object, and links to it, out of what is built of a file."""
    for name, link in list(group.links.items()):
        if link.builder.path.removeprefix("root").strip("/") == place:
            group.links.pop(name)
            group.pop(name, None)
    for kind in (group.groups, group.datasets):
        for name, item in list(kind.items()):
            path = f"{at}/{name}".strip("/")
            if path == place:
                kind.pop(name)
                group.pop(name, None)
            elif kind is group.groups:
                _drop(item, place, path)


def plain_table(table: Any) -> pd.DataFrame:
    """Return the plain columns of a table; lists, references and waveforms are left out."""
    columns = {}
    for name in table.colnames:
        column = table[name]
        # a column of lists, or of references to another table
        if hasattr(column, "target") or hasattr(column, "table"):
            continue
        values = np.asarray(column[:])
        plain = values.dtype.kind in "biufSU" or all(isinstance(v, str | bool) for v in values)
        if values.ndim == 1 and plain:
            columns[name] = values
    return pd.DataFrame(columns, index=range(len(table.id)))


def objects(file: Any, kind: Any) -> dict[str, Any]:
    """Return the objects of a kind in a file by their path."""
    found = {}
    for item in file.objects.values():
        if isinstance(item, kind):
            names, parent = [str(item.name)], item.parent
            while parent is not None and parent is not file:
                names.append(str(parent.name))
                parent = parent.parent
            found["/".join(reversed(names))] = item
    return found


def unread(file: Any) -> str:
    """Return which objects of a file violate the standard and were not read, in words."""
    broken = _BROKEN.get(file, {})
    said = "; ".join(f"{place} violates the standard ({why})" for place, why in broken.items())
    return f" Not read: {said}." if said else ""


def find_one(
    found: Mapping[str, Any], name: str, what: str, argument: str, more: str = ""
) -> tuple[str, Any]:
    """Return the object of a name or path."""
    if not isinstance(name, str):
        raise InputError(f"{argument} must be the name of one of the {what}; got {name!r}.")
    hits = [path for path in found if path == name or path.endswith("/" + name)]
    if len(hits) == 1:
        return hits[0], found[hits[0]]
    if hits:
        raise InputError(
            f"{argument}: several {what} are called {name!r}: {', '.join(sorted(hits))}."
        )
    close = nearest(name, {part for path in found for part in (path, path.rsplit("/", 1)[-1])})
    hint = f" Did you mean {close!r}?" if close else ""
    have = ", ".join(sorted(found)) or "none"
    raise InputError(f"{argument}: there is no {what} {name!r}; the file has {have}.{hint}{more}")


def inventory(file: Any) -> str:
    """Return what a file holds, in words."""
    from pynwb import TimeSeries
    from pynwb.epoch import TimeIntervals

    parts = []
    if file.units is not None:
        parts.append(f"{len(file.units.id)} units")
    for name, table in sorted(objects(file, TimeIntervals).items()):
        columns = ", ".join(table.colnames)
        parts.append(f"the intervals {name.rsplit('/', 1)[-1]!r} ({len(table.id)} rows: {columns})")
    series = sorted(objects(file, TimeSeries))
    if series:
        parts.append("the time series " + ", ".join(map(repr, series)))
    return ("; ".join(parts) or "neither units, nor intervals, nor time series") + unread(file)
