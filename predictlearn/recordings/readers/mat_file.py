"""MATLAB files: opening them, finding a variable in them, and what they hold in words."""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from predictlearn.doors import readable, reading, room
from predictlearn.errors import InputError, nearest
from predictlearn.recordings.readers.hdf5 import child, is_reference, stored, try_hdf5
from predictlearn.recordings.readers.mat_claims import check_mat
from predictlearn.recordings.readers.mat_objects import (
    Objects,
    Opaque,
    hidden_cells,
    opaque_variables,
    pointer_of,
)

__all__ = ["MatFile", "load_matlab"]

EXPECTED = "a .mat file"
# what is read of one variable, and the last character
_MOST_LEAVES, _CHAR = 1_000_000, 0x10FFFF
_PART = re.compile(r"^(\w+)(?:[({](\d+)[)}])?$")


def load_matlab(file: Path, advice: str, names: list[str] | None = None, **how: Any) -> dict:
    """Load variables of a .mat file of version 7 or older, or say what is wrong with it.

    Parameters
    ----------
    file : Path
        The file.
    advice : str
        What to do if it cannot be read.
    names : list of str, optional
        Variables to load. Default: all.
    **how : object
        Further arguments of `scipy.io.loadmat`.

    Returns
    -------
    dict
        Variables by name.

    Raises
    ------
    InputError
        A file that is missing, damaged, or of another kind.
    """
    from scipy.io import loadmat

    readable(file, EXPECTED, advice)
    with reading(file, EXPECTED, advice):
        check_mat(file)
        with warnings.catch_warnings():
            # objects have no name in these files, so that one replaces another; see MatFile
            warnings.filterwarnings("ignore", message="Duplicate variable name")
            return dict(loadmat(file, variable_names=names, **how))


class MatFile:
    """Variables of a .mat file of any version, by name; only those asked for are read.

    Parameters
    ----------
    file : Path
        The file.
    advice : str
        What to do if it cannot be read.

    Raises
    ------
    InputError
        A file that is missing, damaged, or of another kind.
    """

    def __init__(self, file: Path, advice: str = "") -> None:
        readable(file, EXPECTED, advice)
        self.file, self.advice = file, advice
        self._content: dict[str, Any] = {}
        # files of version 7.3 are HDF5, after 512 bytes of text
        with file.open("rb") as stream:
            self.is_hdf5 = b"\x89HDF\r\n\x1a\n" in stream.read(520)
        if self.is_hdf5:
            with reading(file, EXPECTED, advice):
                try_hdf5(file)
            with self._opened() as raw:
                self.variables = {
                    _text(key): _words_of_hdf5(raw, key)
                    for key in raw
                    if key not in ("#refs#", "#subsystem#")
                }
        else:
            self._content = load_matlab(file, advice)
            self.variables = {
                key: _words(value)
                for key, value in self._content.items()
                if not key.startswith("__") and key != "None"
            }
            if "None" in self._content:
                for name, value in opaque_variables(file).items():
                    self._content[name] = value
                    self.variables[name] = f"{value.kind} object"

    def _opened(self) -> Any:
        """Open a file of version 7.3."""
        try:
            import h5py
        except ImportError as error:
            raise InputError(
                f"{self.file} is a MATLAB v7.3 file; reading it needs h5py, which is not "
                "installed; install it with pip install 'predictlearn[nwb]'."
            ) from error
        with reading(self.file, EXPECTED, self.advice):
            return h5py.File(self.file, "r")

    def listing(self) -> str:
        """Return what the file holds, in words."""
        return ", ".join(f"{key} ({what})" for key, what in self.variables.items()) or "nothing"

    def get(self, key: str, text: bool = False) -> npt.NDArray[Any] | list[npt.NDArray[Any]]:
        """Read a variable.

        Parameters
        ----------
        key : str
            Its name, "name.field" for a field of a structure, "name(2).field" for one of several
            structures or cells, counted from 1 as in MATLAB.
        text : bool
            Whether it may hold text.

        Returns
        -------
        ndarray or list of ndarray
            The numbers or text, with axes in the order that MATLAB shows; a list for a cell array,
            and for a field of several structures.

        Raises
        ------
        InputError
            A name or field that is not there, or something that does not hold numbers: an object of
            MATLAB, of which the file holds a pointer, or text where numbers are asked for.
        """
        if not isinstance(key, str):
            raise InputError(f"a variable is asked for by its name; got {key!r}")
        parts = [_PART.match(part) for part in key.split(".")]
        if not all(parts):
            raise InputError(
                f"{key!r} is no name of a variable of {self.file}; write name, name.field or "
                "name(2).field."
            )
        steps = [(part.group(1), part.group(2)) for part in parts if part]
        name = steps[0][0]
        if name not in self.variables:
            close = nearest(name, self.variables)
            hint = f" Did you mean {close!r}?" if close else ""
            raise InputError(
                f"{self.file} has no variable {name!r}; it has {self.listing()}.{hint}"
            )
        if not self.is_hdf5:
            node, within = self._content[name], _Within(None, self._content)
            return _checked(key, _walk(key, node, steps, within), text)
        with self._opened() as raw:
            node = child(raw, name)
            return _checked(key, _walk(key, node, steps, _Within(raw, {})), text)


class _Within:
    """The file that something was found in: of version 7.3, or else what was loaded of it."""

    def __init__(self, raw: Any, content: Mapping[str, Any]) -> None:
        self.raw, self._content = raw, content
        self._objects: Objects | None = None
        self._leaves = 0

    def count(self) -> None:
        """Count what is read: cells may refer to each other without end."""
        self._leaves += 1
        if self._leaves > _MOST_LEAVES:
            raise InputError(f"it has more than {_MOST_LEAVES} cells, or cells within themselves")

    def read(self, what: Opaque) -> Any:
        """Return what an object holds, or the pointer where it cannot be followed."""
        try:
            if self._objects is None:
                if self.raw is not None:
                    cells = _items(self.raw["#subsystem#"]["MCOS"], self)
                else:
                    cells = list(hidden_cells(self._content["__function_workspace__"]))
                self._objects = Objects(cells, lambda node: _leaf(node, self))
            return self._objects.read(what)
        except (KeyError, IndexError, ValueError, TypeError, OSError):
            return what


def _walk(key: str, node: Any, steps: list[tuple[str, str | None]], within: _Within) -> Any:
    """Follow fields and numbers from a variable; a list stands for several of them."""
    for position, (field, number) in enumerate(steps):
        if position:
            pointer = pointer_of(node)
            node = _field(key, node if pointer is None else within.read(pointer), field, within)
        if number is not None:
            items = _items(node, within)
            if not 1 <= int(number) <= len(items):
                raise InputError(f"{key!r}: {field} has {len(items)} items; got number {number}.")
            node = items[int(number) - 1]
    return _leaf(node, within)


def _field(key: str, node: Any, field: str, within: _Within) -> Any:
    """Return a field of a structure, or of each of several."""
    if isinstance(node, Opaque):
        raise InputError(f"{key!r}: what comes before {field!r} {node.refusal(key.split('.')[0])}")
    if hasattr(node, "keys"):
        names = [_text(name) for name in node]
        if field in names:
            found = [node[field] if isinstance(node, dict) else child(node, field)]
        else:
            found = []
    elif isinstance(node, np.ndarray) and node.dtype.names:
        names = list(node.dtype.names)
        found = list(node[field].ravel(order="F")) if field in names else []
    else:
        items = _items(node, within)
        if not items or items[0] is node:
            raise InputError(f"{key!r}: what comes before {field!r} is no structure.")
        found, names = [_field(key, item, field, within) for item in items], [field]
    if not found and field not in names:
        close = nearest(field, names)
        hint = f" Did you mean {close!r}?" if close else ""
        raise InputError(f"{key!r}: there is no field {field!r}; fields: {', '.join(names)}.{hint}")
    return found[0] if len(found) == 1 else found


def _items(node: Any, within: _Within) -> list[Any]:
    """Return the items of a cell array or of several structures, in the order of MATLAB."""
    if isinstance(node, list):
        return node
    if within.raw is not None and not isinstance(node, np.ndarray):
        if getattr(node, "dtype", None) is not None and is_reference(node):
            # HDF5 holds them transposed, so that its rows are MATLAB's columns
            return [within.raw[reference] for reference in stored(node).ravel()]
        if hasattr(node, "keys") and not isinstance(node, dict):
            items = {name: child(node, name) for name in node}
            several = [
                getattr(getattr(item, "dtype", None), "kind", "") == "O"
                and "MATLAB_class" not in item.attrs
                for item in items.values()
            ]
            if several and all(several):
                fields = {name: _items(item, within) for name, item in items.items()}
                count = min(map(len, fields.values()))
                return [{name: parts[k] for name, parts in fields.items()} for k in range(count)]
        return [node]
    if isinstance(node, np.ndarray) and (node.dtype == object or node.dtype.names):
        flat = node.ravel(order="F")
        if node.dtype.names:
            return [flat[k : k + 1] for k in range(flat.size)]
        return list(flat)
    return [node]


def _leaf(node: Any, within: _Within) -> Any:
    """Return what was found, read from the file."""
    within.count()
    pointer = pointer_of(node)
    if pointer is not None:
        return within.read(pointer)
    if isinstance(node, list):
        return [_leaf(item, within) for item in node]
    if getattr(node, "attrs", None) is not None:
        return _leaf_of_hdf5(node, within)
    if isinstance(node, np.ndarray) and node.dtype == object:
        return [_leaf(item, within) for item in node.ravel(order="F")]
    if isinstance(node, np.ndarray) and node.dtype.kind in "US":
        return _strings(node.ravel().astype(str).tolist())
    if hasattr(node, "toarray"):
        room("a sparse variable, filled up,", 8.0 * math.prod(node.shape))
        return node.toarray()
    return node


def _leaf_of_hdf5(node: Any, within: _Within) -> Any:
    """Return what was found in a file of version 7.3."""
    if "MATLAB_sparse" in node.attrs:
        return _sparse(node)
    if not hasattr(node, "shape"):
        return node
    kind = node.attrs.get("MATLAB_class")
    kind = kind if isinstance(kind, bytes) else str(kind).encode()
    if node.dtype.kind == "O" and not is_reference(node):
        return _strings([_text(item) for item in np.ravel(stored(node))])
    if node.dtype.kind == "O":
        return [_leaf(item, within) for item in _items(node, within)]
    if "MATLAB_empty" in node.attrs:
        axes = tuple(int(n) for n in np.ravel(stored(node)))
        room("an empty variable", 8.0 * math.prod(axes))
        empty = np.zeros(axes)
        return np.array("") if kind == b"char" else empty
    if kind == b"char":
        rows = np.atleast_2d(stored(node).T)
        if (
            rows.ndim != 2
            or rows.dtype.kind not in "iu"
            or (rows < 0).any()
            or (rows > _CHAR).any()
        ):
            raise InputError(f"{str(node.name)!r} is said to be text, and holds no characters")
        return _strings(["".join(map(chr, row)) for row in rows])
    return np.asarray(stored(node)).T


def _strings(rows: list[str]) -> npt.NDArray[np.str_]:
    """Return rows of characters as text: MATLAB fills them with blanks."""
    return np.array([row.rstrip() for row in rows] or [""])


def _text(value: Any) -> str:
    """Return text that HDF5 holds as bytes."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _sparse(node: Any) -> npt.NDArray[np.float64]:
    """Return a sparse matrix of version 7.3."""
    from scipy.sparse import csc_matrix

    columns, n_rows = _whole(node, "jc"), np.asarray(node.attrs["MATLAB_sparse"])
    if n_rows.size != 1 or n_rows.dtype.kind not in "iu" or not columns.size:
        raise InputError(f"{str(node.name)!r} is said to be sparse, and has no shape")
    shape = (int(n_rows.ravel()[0]), len(columns) - 1)
    room("a sparse variable, filled up,", 8.0 * math.prod(shape))
    if "data" not in node:
        return np.zeros(shape)
    rows, values = _whole(node, "ir"), np.asarray(stored(child(node, "data"))).ravel()
    sorted_ = columns[0] == 0 and columns[-1] == len(rows) and bool((np.diff(columns) >= 0).all())
    inside = bool((rows >= 0).all() and (rows < shape[0]).all())
    if not (sorted_ and inside and len(rows) == len(values) and values.dtype.kind in "biuf"):
        raise InputError(f"{str(node.name)!r} is said to be sparse, and its places do not fit")
    return np.asarray(csc_matrix((values, rows, columns), shape=shape).toarray())


def _whole(node: Any, name: str) -> npt.NDArray[np.int64]:
    """Return whole numbers of a group."""
    values = np.asarray(stored(child(node, name))).ravel()
    if values.dtype.kind not in "iu":
        raise InputError(f"{name!r} must hold whole numbers; it holds {values.dtype}")
    return values.astype(np.int64)


def _checked(key: str, value: Any, text: bool) -> npt.NDArray[Any] | list[npt.NDArray[Any]]:
    """Return what holds numbers (or text, where it may), or say what it is instead."""
    for item in value if isinstance(value, list) else [value]:
        if isinstance(item, Opaque):
            raise InputError(f"{key!r} {item.refusal(key)}")
        kind = getattr(getattr(item, "dtype", None), "kind", "")
        if kind and kind in ("biufU" if text else "biuf"):
            continue
        fields = getattr(getattr(item, "dtype", None), "names", None) or (
            list(map(_text, item.keys())) if hasattr(item, "keys") else ()
        )
        what = f"a structure with fields {', '.join(fields)}" if fields else "no numbers"
        if kind == "U":
            shown = ", ".join(repr(str(one)) for one in item.ravel()[:3])
            what = f"text ({shown}), which can be a column of the trial table (trials=)"
        raise InputError(
            f"{key!r} must hold {'numbers or text' if text else 'numbers'}, or cells that do; it "
            f"is {what}. A field is read as name.field."
        )
    return value


def _words(value: Any) -> str:
    """Return what a variable is, in words."""
    shape = " x ".join(map(str, np.shape(value)))
    dtype = getattr(value, "dtype", None)
    if dtype is not None and dtype.names:
        return f"{shape} struct: {', '.join(dtype.names)}"
    if dtype is not None and dtype.kind == "O":
        return f"{shape} cell"
    return f"{shape} {dtype.name if dtype is not None else type(value).__name__}"


def _words_of_hdf5(raw: Any, key: str) -> str:
    """Return what a variable of a version 7.3 file is, in words."""
    try:
        item = child(raw, key)
    except InputError:
        return "link out of the file"
    kind = item.attrs.get("MATLAB_class", b"")
    word = kind.decode("latin1") if isinstance(kind, bytes) else str(kind)
    if "MATLAB_object_decode" in item.attrs:
        return f"{word} object"
    if "MATLAB_sparse" in item.attrs:
        return f"sparse {word}"
    if hasattr(item, "keys"):
        return f"struct: {', '.join(map(_text, item.keys()))}"
    if getattr(item, "shape", None) is None:
        return word or "nothing"
    return f"{' x '.join(map(str, item.shape[::-1]))} {word or item.dtype.name}"
