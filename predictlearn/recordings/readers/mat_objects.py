"""Objects of MATLAB (string, table, categorical ...): a variable is a pointer into a hidden part.

The hidden part is a list of cells, the first of which says which cells are the properties of which
object: a header of 32-bit words (number of names at 1, where regions begin from 2 on), names, then
regions of classes, of properties of objects with a form of their own to be saved in (string), of
objects, and of properties of all others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from predictlearn.recordings.readers.hdf5 import stored
from predictlearn.recordings.readers.mat_claims import check_hidden

__all__ = ["Objects", "Opaque", "hidden_cells", "opaque_variables", "pointer_of"]

_MARK = 0xDD000000
# How to write what an object holds so that other programs read it.
_PLAIN = {
    "string": "cellstr({0})",
    "categorical": "cellstr({0}), or double({0})",
    "table": "{0}.column, one variable for each column, or table2struct({0}, 'ToScalar', true)",
    "timetable": "{0}.column, one variable for each column",
    "datetime": "posixtime({0})",
    "duration": "seconds({0})",
    "function_handle": "what the function gives",
}


@dataclass(frozen=True)
class Opaque:
    """An object that is not read.

    Parameters
    ----------
    kind : str
        Its class.
    pointer : ndarray, optional
        What the file has in its place.
    """

    kind: str
    pointer: npt.NDArray[Any] | None = None

    def refusal(self, key: str) -> str:
        """Return why it is not read, and what to save instead.

        Parameters
        ----------
        key : str
            Its name in the file.

        Returns
        -------
        str
            The words.
        """
        plain = _PLAIN.get(self.kind, "struct({0})").format(key)
        return (
            f"is an object of MATLAB, a {self.kind}, of which the file holds a pointer that only "
            f"MATLAB follows. In MATLAB, save {plain} instead."
        )


def pointer_of(node: Any) -> Opaque | None:
    """Return the pointer that a variable is, or None where it is no object.

    Parameters
    ----------
    node : object
        What was found: of a version 7.3 file, or as `scipy.io.loadmat` gives it.

    Returns
    -------
    Opaque or None
        The pointer.
    """
    if isinstance(node, Opaque):
        return node
    kind = type(node).__name__
    if kind == "MatlabFunction":
        return Opaque("function_handle")
    if kind == "MatlabOpaque":
        inside = node.ravel()[0]
        return Opaque(inside["s2"].decode(), np.asarray(inside["arr"]))
    attributes = getattr(node, "attrs", None)
    if attributes is None:
        return None
    name = attributes.get("MATLAB_class", b"")
    kind = name.decode("latin1") if isinstance(name, bytes) else str(name)
    # numbers have MATLAB_int_decode where HDF5 does not say what they are; objects have this
    if "MATLAB_object_decode" in attributes or kind in _PLAIN:
        return Opaque(kind or "object", stored(node) if hasattr(node, "shape") else None)
    return None


class Objects:
    """The hidden part of a file, in which objects are.

    Parameters
    ----------
    cells : sequence
        Its cells.
    leaf : callable
        From a cell to the numbers, the text or the list of these in it.

    Raises
    ------
    ValueError, IndexError, KeyError
        It is not of the form that is known.
    """

    def __init__(self, cells: Sequence[Any], leaf: Callable[[Any], Any]) -> None:
        self._cells, self._leaf = cells, leaf
        raw = np.asarray(leaf(cells[0])).astype(np.uint8).ravel().tobytes()
        words = np.frombuffer(raw[: len(raw) // 4 * 4], "<u4")
        begin = [int(word) for word in words[2:7]]
        self._names = [name.decode() for name in raw[40 : begin[0]].split(b"\0")[: words[1]]]

        def region(number: int) -> npt.NDArray[np.uint32]:
            return words[begin[number] // 4 : begin[number + 1] // 4]

        self._objects = region(2).reshape(-1, 6)
        self._saved, self._plain = _blocks(region(1)), _blocks(region(3))

    def read(self, what: Opaque) -> Any:
        """Return what an object holds.

        Parameters
        ----------
        what : Opaque
            The pointer.

        Returns
        -------
        object
            Text of a string or a categorical array, seconds of a duration, columns by name of a
            table; the pointer itself of other classes, and where it cannot be followed.
        """
        reader = {
            "string": self._string,
            "categorical": self._categorical,
            "duration": self._duration,
            "table": self._table,
            "timetable": self._table,
        }.get(what.kind)
        if reader is None or what.pointer is None:
            return what
        pointer = np.asarray(what.pointer).ravel().astype(np.int64)
        # mark, number of axes, axes, objects, class
        if len(pointer) != 6 or pointer[0] != _MARK or pointer[1] != 2:
            return what
        try:
            return reader(self._properties(int(pointer[4])))
        except (KeyError, IndexError, ValueError, TypeError, UnicodeDecodeError):
            return what

    def _properties(self, number: int) -> dict[str, Any]:
        """Return the cells of an object's properties by name."""
        _, _, _, saved, plain, _ = (int(word) for word in self._objects[number])
        block = self._saved[saved] if saved else self._plain[plain]
        return {
            # the first two cells are no values
            self._names[int(name) - 1]: self._cells[int(value) + 2]
            for name, kind, value in block
            if kind == 1
        }

    def _string(self, cells: dict[str, Any]) -> npt.NDArray[np.str_]:
        """Read a string array: version, axes, lengths, then characters of 16 bits."""
        words = np.asarray(self._leaf(cells["any"])).astype("<u8").ravel()
        n_axes = int(words[1])
        shape = tuple(int(n) for n in words[2 : 2 + n_axes])
        count = int(np.prod(shape))
        # a string that is missing has a length of all ones, which is -1 here
        lengths = np.maximum(words[2 + n_axes : 2 + n_axes + count].astype(np.int64), 0)
        text = words[2 + n_axes + count :].tobytes()
        ends = 2 * np.cumsum(lengths)
        if not count or len(lengths) != count or ends[-1] > len(text):
            raise ValueError("strings of a form that is not known")
        parts = [
            text[end - 2 * n : end].decode("utf-16-le")
            for end, n in zip(ends, lengths, strict=True)
        ]
        return np.array(parts).reshape(shape, order="F")

    def _categorical(self, cells: dict[str, Any]) -> npt.NDArray[np.str_]:
        """Read a categorical array: numbers of categories from 1, 0 where undefined."""
        names = [str(np.ravel(name)[0]) for name in self._leaf(cells["categoryNames"])]
        codes = np.asarray(self._leaf(cells["codes"])).astype(np.int64)
        return np.array(["", *names])[codes]

    def _duration(self, cells: dict[str, Any]) -> npt.NDArray[np.float64]:
        """Read durations, seconds."""
        return np.asarray(self._leaf(cells["millis"]), dtype=np.float64) / 1000

    def _table(self, cells: dict[str, Any]) -> dict[str, Any]:
        """Read the columns of a table."""
        if "data" not in cells:
            raise KeyError("data")
        names = [str(np.ravel(name)[0]) for name in self._leaf(cells["varnames"])]
        return dict(zip(names, self._leaf(cells["data"]), strict=True))


def _blocks(words: npt.NDArray[np.uint32]) -> list[npt.NDArray[np.uint32]]:
    """Return the properties of each object, (properties, 3): name, kind and value."""
    blocks, at = [], 0
    while at < len(words):
        count = int(words[at])
        blocks.append(words[at + 1 : at + 1 + 3 * count].reshape(count, 3))
        # each begins at a multiple of eight bytes
        at += 2 * ((2 + 3 * count) // 2)
    return blocks


def opaque_variables(file: Path) -> dict[str, Opaque]:
    """Find the objects of a file of version 7 or older, where they have no name of their own.

    Parameters
    ----------
    file : Path
        The file.

    Returns
    -------
    dict of Opaque
        Objects by the name of their variable.
    """
    from scipy.io import loadmat
    from scipy.io.matlab import varmats_from_mat

    found = {}
    with file.open("rb") as stream:
        for name, part in varmats_from_mat(stream):
            if name == "None":
                node = loadmat(part)["None"]
                pointer = pointer_of(node)
                if pointer is not None:
                    found[node.ravel()[0]["s0"].decode()] = pointer
    return found


def hidden_cells(workspace: npt.NDArray[np.uint8]) -> Sequence[Any]:
    """Return the cells of the hidden part of a file of version 7 or older.

    Parameters
    ----------
    workspace : ndarray of uint8
        The hidden part, a file of its own with a shorter head.

    Returns
    -------
    sequence
        Its cells.
    """
    from scipy.io import loadmat

    raw = workspace.tobytes()
    content = loadmat(check_hidden(b"hidden".ljust(124) + raw[:4] + raw[8:]))
    return list(content["__function_workspace__"]["MCOS"][0, 0].ravel()[0]["arr"].ravel())
