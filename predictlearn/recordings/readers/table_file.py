"""Tables in files of text: of a bounded size, and with a header."""

from __future__ import annotations

import os

import pandas as pd

from predictlearn.doors import readable, reading, room
from predictlearn.errors import InputError

__all__ = ["EXPECTED", "read_table"]

EXPECTED = "a table of text with a header"
# how much larger a table is in memory than as text, at most; what a header may have
_IN_MEMORY, _MOST_COLUMNS, _LONGEST_HEAD = 4, 20_000, 1 << 20


def read_table(path: str | os.PathLike[str], separator: str) -> pd.DataFrame:
    """Read the table of a file of text.

    Parameters
    ----------
    path : path
        The file.
    separator : str
        What separates its columns.

    Returns
    -------
    DataFrame
        The table.

    Raises
    ------
    InputError
        No file, one that is no such table, or larger than is allowed.
    """
    with reading(path, EXPECTED):
        file = readable(path, EXPECTED)
        room(f"{file}: what is in it", _IN_MEMORY * file.stat().st_size)
        with file.open("rb") as stream:
            head = stream.readline(_LONGEST_HEAD)
        if head.count(separator.encode()) > _MOST_COLUMNS or len(head) == _LONGEST_HEAD:
            raise InputError(
                f"line 1 names more than {_MOST_COLUMNS} columns, or is no header; expected "
                f"{EXPECTED}"
            )
        return pd.read_csv(file, sep=separator, low_memory=False)
