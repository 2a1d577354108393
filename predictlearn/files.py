"""Writing files: whole or not at all, by one process at a time, inside the folder asked for."""

from __future__ import annotations

import contextlib
import os
import re
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from predictlearn.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "csv_bytes",
    "defused",
    "is_leftover",
    "locked",
    "output_folder",
    "printable",
    "refuse_links",
    "safe_table",
    "write_atomically",
]

_PART = ".part"
# What a spreadsheet takes for a formula: at the beginning of a cell.
_FORMULA = re.compile(r"[=+\-@\t\r\n＝＋－＠]")
# What moves the cursor, changes colours or the title of a terminal, but for line breaks and tabs.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
# Locks that this process holds, and how often.
_HELD: dict[Path, int] = {}


def output_folder(value: str | os.PathLike[str], name: str = "output") -> Path:
    """Return a folder that was asked for, with ``~`` replaced by the user's home.

    Parameters
    ----------
    value : path
        What was given.
    name : str, default "output"
        Name of the argument, for the message.

    Returns
    -------
    pathlib.Path
        The folder.

    Raises
    ------
    InputError
        If it is empty, has a character that no path has, or starts with the home of nobody.

    Examples
    --------
    >>> output_folder("results").name
    'results'
    """
    text = os.fspath(value)
    if not text.strip():
        raise InputError(f"{name} must name a folder; got {text!r}. The working folder is '.'.")
    if "\0" in text:
        raise InputError(f"{name} must name a folder; {text!r} has a character that no path has.")
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise InputError(f"{name}: {text} starts with a home that is not known; {error}") from error


def refuse_links(folder: Path, path: Path) -> None:
    """Raise if a folder between an output folder and a path in it is a link that leads elsewhere.

    Parameters
    ----------
    folder : pathlib.Path
        The output folder, which may be a link itself.
    path : pathlib.Path
        A path inside, which need not exist.

    Raises
    ------
    InputError
        If what is written to the path would be outside the folder.
    """
    for place in (path, *path.parents):
        if place == folder:
            return
        if place.is_symlink():
            raise InputError(
                f"{place} is a link, which leads out of {folder}; remove it, or choose another "
                "folder."
            )
    raise InputError(f"{path} is not inside {folder}.")


def write_atomically(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Write a file under a temporary name and rename it, so that it is whole or absent.

    Parameters
    ----------
    path : pathlib.Path
        The file; its permissions are those of any file that the user makes.
    write : callable
        Takes the stream to write to.

    Raises
    ------
    OSError
        With the file's name, also if the disk is full.
    """
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}{_PART}")
    try:
        with part.open("xb") as stream:
            write(stream)
        os.replace(part, path)
    except BaseException as error:
        # on a full disk this may fail too; the first error is the one to tell
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno and error.filename in (None, str(part)):
            raise OSError(error.errno, os.strerror(error.errno), str(path)) from error
        raise


def is_leftover(path: Path) -> bool:
    """Return whether a file is what a killed process left of `write_atomically` or `locked`."""
    return path.name == ".lock" or (path.name.startswith(".") and path.name.endswith(_PART))


@contextlib.contextmanager
def locked(lock: Path, folder: Path) -> Iterator[None]:
    """Hold a folder for this process; the lock ends with the process, however that ends.

    Parameters
    ----------
    lock : pathlib.Path
        The file to lock; made if absent, with the folders above it, and removed at the end.
    folder : pathlib.Path
        The folder that it stands for, for the message.

    Raises
    ------
    InputError
        If another process holds it.
    """
    lock = lock.absolute()
    if lock in _HELD:  # the same process may ask again
        _HELD[lock] += 1
        try:
            yield
        finally:
            _HELD[lock] -= 1
        return
    absent = [place for place in lock.parents if not place.exists()]
    lock.parent.mkdir(parents=True, exist_ok=True)
    stream = _take(lock, folder)
    _HELD[lock] = 1
    try:
        yield
    finally:
        del _HELD[lock]
        # before the lock ends, so that nobody's new file is removed; a folder may be gone
        with contextlib.suppress(OSError):
            lock.unlink(missing_ok=True)
        stream.close()
        for place in absent:
            with contextlib.suppress(OSError):  # in use by now
                place.rmdir()


def _take(lock: Path, folder: Path) -> IO[bytes]:
    """Return the open and locked file."""
    while True:
        stream = lock.open("ab")
        try:
            _lock(stream)
        except BlockingIOError:
            stream.close()
            raise InputError(
                f"{folder} is in use by another process of predictlearn; wait until that has "
                "ended, or choose another folder."
            ) from None
        # whoever held it before may have removed it meanwhile
        try:
            if os.path.samestat(os.fstat(stream.fileno()), lock.stat()):
                return stream
        except FileNotFoundError:
            pass  # removed: try again with a new one
        stream.close()


def _lock(stream: IO[bytes]) -> None:
    """Lock an open file, or raise BlockingIOError if another process has."""
    try:
        import fcntl
    except ImportError:  # Windows
        import msvcrt

        ours: Any = msvcrt  # its names exist on that system only
        try:
            ours.locking(stream.fileno(), ours.LK_NBLCK, 1)
        except OSError as error:
            raise BlockingIOError from error
        return
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError:
        return  # a file system without locks: then the user must see to it


def printable(text: str) -> str:
    r"""Return text for a terminal: characters that would command it are replaced by a mark.

    Parameters
    ----------
    text : str
        Text that may come from a file.

    Returns
    -------
    str
        The same without control characters but line breaks and tabs.

    Examples
    --------
    >>> printable("arm \x1b[31mred")
    'arm �[31mred'
    """
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text)


def defused(text: str) -> str:
    """Return text that a spreadsheet shows as it is, rather than running it as a formula.

    Parameters
    ----------
    text : str
        Content of a cell.

    Returns
    -------
    str
        The same, with an apostrophe before what could be a formula; numbers stay.

    Examples
    --------
    >>> defused("=cmd()"), defused("-0.5"), defused("twin")
    ("'=cmd()", '-0.5', 'twin')
    """
    if not _FORMULA.match(text):
        return text
    try:
        float(text)
    except ValueError:
        return f"'{text}"
    return text


def _defused_column(column: Any) -> Any:
    """Return a column, or an index, without formulas."""
    changed = {}
    for value in column.dropna().unique() if column.dtype.kind not in "biufcmM" else ():
        if isinstance(value, str) and (safe := defused(value)) != value:
            changed[value] = safe
    return column.map(lambda value: changed.get(value, value)) if changed else column


def csv_bytes(frame: pd.DataFrame, *, index: bool = False) -> bytes:
    r"""Return a table as CSV in which no cell is a formula; every table is written by this.

    Parameters
    ----------
    frame : pandas.DataFrame
        The table.
    index : bool, default False
        Whether the index is written.

    Returns
    -------
    bytes
        UTF-8, lines end with a line feed.

    Examples
    --------
    >>> import pandas as pd
    >>> csv_bytes(pd.DataFrame({"arm": ["=cmd()"], "loss": [-1.5]}))
    b"arm,loss\n'=cmd(),-1.5\n"
    """
    return safe_table(frame, index).to_csv(index=index, lineterminator="\n").encode()


def safe_table(frame: pd.DataFrame, index: bool = False) -> pd.DataFrame:
    """Return a table without formulas in cells, names of columns and, if written, the index."""
    import pandas as pd

    safe = frame.copy(deep=False)
    for place in range(frame.shape[1]):
        column = frame.iloc[:, place]
        new = _defused_column(column)
        if new is not column:
            safe.isetitem(place, new)
    if isinstance(frame.columns, pd.MultiIndex):
        safe.columns = frame.columns.map(
            lambda names: tuple(defused(n) if isinstance(n, str) else n for n in names)
        )
    else:
        safe.columns = pd.Index([defused(n) if isinstance(n, str) else n for n in frame.columns])
    if index:
        levels = frame.index.to_frame(index=False)
        names = frame.index.names
        parts = [_defused_column(levels.iloc[:, k]) for k in range(levels.shape[1])]
        new_index = pd.MultiIndex.from_arrays(parts) if len(parts) > 1 else pd.Index(parts[0])
        safe.index = new_index.set_names([defused(n) if isinstance(n, str) else n for n in names])
    return safe
