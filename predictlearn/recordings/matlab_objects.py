"""Objects of MATLAB (string, table, categorical ...), of which a file holds pointers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Opaque", "object_of_hdf5", "opaque_variables"]

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
    """

    kind: str

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


def object_of_hdf5(node: Any, raw: Any) -> Any:
    """Return what an object of a version 7.3 file holds, or None where it is no object.

    Parameters
    ----------
    node : h5py.Dataset or h5py.Group
        What was found.
    raw : h5py.File
        The file.

    Returns
    -------
    object
        None, or an `Opaque`.
    """
    name = node.attrs.get("MATLAB_class", b"")
    kind = name.decode() if isinstance(name, bytes) else str(name)
    # numbers have MATLAB_int_decode where HDF5 does not say what they are; objects have this
    if "MATLAB_object_decode" not in node.attrs and kind not in _PLAIN:
        return None
    return Opaque(kind or "object")


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
                content = loadmat(part)["None"].ravel()[0]
                found[content["s0"].decode()] = Opaque(content["s2"].decode())
    return found
