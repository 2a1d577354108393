"""The boundary at which reading a file ends, and what a file may ask for.

`reading` stands around every reader. It takes for a fault of the file what the file alone can
cause: an error of the system, of memory, of nesting or of decoding, and whatever is raised inside
of the libraries that parse files (their modules are listed here). All else passes through as the
traceback of a bug: no error of our own code is hidden behind a message about a file.
"""

from __future__ import annotations

import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from predictlearn.errors import InputError

__all__ = [
    "LARGEST",
    "allowed_memory",
    "free_memory",
    "inside",
    "one_line",
    "readable",
    "reading",
    "room",
]

LARGEST = 1e100
"""The largest number that is read: squares, and products of these, must stay finite."""

# modules that parse files, with what is below them
_PARSERS = (
    "h5py",
    "hdmf",
    "json",
    "numpy.lib._format_impl",
    "numpy.lib._npyio_impl",
    "numpy.lib.format",
    "numpy.lib.npyio",
    "pandas._libs.parsers",
    "pandas.io",
    "pickle",
    "pynwb",
    "scipy.io",
    "yaml",
    "zipfile",
)
_FAULTS = (
    OSError,
    EOFError,
    UnicodeError,
    MemoryError,
    RecursionError,
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    np.linalg.LinAlgError,
)
# Bytes that the arrays of one file may take, unless PREDICTLEARN_MEMORY says another number of GB.
_ALLOWED = 2 << 30
# Arrays above this that are so many times as large as what is stored hold one value only: a bomb.
_SUSPECT, _RATIO = 256 << 20, 900
_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISSOCK, "a socket"),
)


@contextmanager
def reading(file: str | os.PathLike[str], expected: str, advice: str = "") -> Iterator[None]:
    """Turn what is met in reading a file into one `InputError` that names it.

    Parameters
    ----------
    file : path
        The file; an `InputError` that does not name it does so afterwards.
    expected : str
        What it was expected to be, with an article, such as "an .npz file of plain arrays".
    advice : str
        What to do about it.

    Raises
    ------
    InputError
        Whatever was wrong with the file, on one line.

    Examples
    --------
    >>> with reading("a.npz", "an .npz file"):
    ...     raise EOFError("No data left in file")
    Traceback (most recent call last):
    ...
    predictlearn.errors.InputError: a.npz is not a readable .npz file (damaged, truncated, or of
    another kind): No data left in file.
    """
    try:
        yield
    except InputError as error:
        if _named(file) in str(error) or Path(_named(file)).name in str(error):
            raise
        raise InputError(f"{_named(file)}: {error}") from error
    except Exception as error:
        if not _by_the_file(error):
            raise
        where = "".join(f"{note}: " for note in getattr(error, "__notes__", ()))
        raise InputError(
            one_line(
                f"{_named(file)} is not a readable {expected.partition(' ')[2]} (damaged, "
                f"truncated, or of another kind): {where}{_met(error)}.{_more(advice)}"
            )
        ) from error


@contextmanager
def inside(place: str) -> Iterator[None]:
    """Say where in a file one is, for the message of `reading` around it.

    Parameters
    ----------
    place : str
        The place, such as "array 'activity'".
    """
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        error.add_note(place)
        raise


def _named(file: object) -> str:
    """Return a path as text."""
    return os.fsdecode(file) if isinstance(file, str | bytes | os.PathLike) else repr(file)


def _by_the_file(error: Exception) -> bool:
    """Say whether an error is one that a file causes: by its kind, or by where it was raised."""
    if isinstance(error, _FAULTS) or _parses(type(error).__module__):
        return True
    trace = error.__traceback__
    while trace is not None:
        if _parses(trace.tb_frame.f_globals.get("__name__", "")):
            return True
        trace = trace.tb_next
    return False


def _parses(module: str) -> bool:
    """Say whether a module is one of those that parse files."""
    return any(module == name or module.startswith(f"{name}.") for name in _PARSERS)


def _met(error: Exception) -> str:
    """Return what was met, in words."""
    if isinstance(error, MemoryError):
        return f"it needs more than the memory that is free: {error or 'out of memory'}"
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if isinstance(error, KeyError):
        return f"it lacks {error}"
    return str(error).rstrip(".") or type(error).__name__


def _more(advice: str) -> str:
    """Return advice as a further sentence."""
    return f" {advice.strip()}" if advice.strip() else ""


def one_line(text: str, most: int = 1500) -> str:
    r"""Return text on one line that can be shown: no control characters, and not without end.

    Parameters
    ----------
    text : str
        The text.
    most : int
        How many characters it may have.

    Returns
    -------
    str
        The text.

    Examples
    --------
    >>> one_line("one\n  two\x1b[31m")
    'one two\\x1b[31m'
    """
    shown = "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode()
        for c in " ".join(text.split())
    )
    return shown if len(shown) <= most else shown[: most - 4] + " ..."


def readable(path: str | os.PathLike[str], expected: str, advice: str = "") -> Path:
    """Return the path of a file that can be opened, or say why none can.

    Opening a pipe waits for ever, and a device has no end.

    Parameters
    ----------
    path : path
        The file.
    expected : str
        What it should be.
    advice : str
        What to do about it.

    Returns
    -------
    Path
        The same.

    Raises
    ------
    InputError
        Nothing is there, or a folder, a pipe, a device or a socket.
    """
    more = _more(advice)
    if not isinstance(path, str | os.PathLike):
        raise InputError(f"a path was expected, of {expected}; got {path!r}.")
    try:
        mode = os.stat(path).st_mode
    except (FileNotFoundError, NotADirectoryError, ValueError):
        raise InputError(
            one_line(f"no such file: {os.fspath(path)}; expected {expected}.{more}")
        ) from None
    except OSError as error:
        raise InputError(
            one_line(
                f"{os.fspath(path)} cannot be opened ({error.strerror}); expected {expected}.{more}"
            )
        ) from error
    for is_kind, words in _KINDS:
        if is_kind(mode):
            raise InputError(
                one_line(f"{os.fspath(path)} is {words} and no file; expected {expected}.{more}")
            )
    return Path(path)


def room(what: str, n_bytes: float, stored: int | None = None) -> None:
    """Refuse what would take more memory than is allowed, before it is made.

    Parameters
    ----------
    what : str
        What would take it.
    n_bytes : float
        How much.
    stored : int, optional
        How many bytes of a file it is made of.

    Raises
    ------
    InputError
        It is more than PREDICTLEARN_MEMORY allows (in GB; 2 where it is not set) or than half of
        what is free; or it is large and one value all over, as files are that are made to fill the
        memory.
    """
    allowed = allowed_memory()
    if n_bytes > allowed:
        raise InputError(
            f"{what} would take {_words(n_bytes)} of memory, and {_words(allowed)} are allowed. "
            "If that is right, set the environment variable PREDICTLEARN_MEMORY to a larger number "
            "of GB (at most half of the free memory is used)."
        )
    if stored is not None and n_bytes > _SUSPECT and n_bytes > _RATIO * stored:
        raise InputError(
            f"{what} would take {_words(n_bytes)} of memory, and {_words(stored)} are stored of "
            "it, so that it is one value all over. If that is right, store it uncompressed."
        )


def allowed_memory() -> float:
    """Return how many bytes the arrays of one file may take.

    Returns
    -------
    float
        What PREDICTLEARN_MEMORY says (in GB), else 2 GiB, and at most half of what is free.

    Raises
    ------
    InputError
        PREDICTLEARN_MEMORY is no positive number.
    """
    given = os.environ.get("PREDICTLEARN_MEMORY", "")
    allowed: float = _ALLOWED
    if given:
        try:
            allowed = 1e9 * float(given)
        except ValueError:
            allowed = 0.0
        if not 0 < allowed < float("inf"):
            raise InputError(
                f"PREDICTLEARN_MEMORY must be a positive number of GB; got {given[:40]!r}."
            )
    return min(allowed, free_memory() / 2)


def free_memory() -> float:
    """Return how many bytes this process may still take, as far as the system says.

    Returns
    -------
    float
        Infinity where it says nothing.

    Examples
    --------
    >>> free_memory() > 0
    True
    """
    free = [float("inf")]
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        free += [1024.0 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable")]
    except (OSError, ValueError, IndexError):
        free.append(float("inf"))
    try:
        import resource

        limit = resource.getrlimit(resource.RLIMIT_AS)[0]
        if limit != resource.RLIM_INFINITY:
            pages = int(Path("/proc/self/statm").read_text().split()[0])
            free.append(max(0.0, limit - pages * resource.getpagesize()))
        most = Path("/sys/fs/cgroup/memory.max").read_text().strip()
        if most.isdigit():
            free.append(float(most))
    except (ImportError, OSError, ValueError):
        free.append(float("inf"))  # not every system has these limits
    return min(free)


def _words(n_bytes: float) -> str:
    """Return a size in words."""
    for unit, size in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if n_bytes >= size:
            return f"{n_bytes / size:.3g} {unit}"
    return f"{n_bytes:.0f} bytes"
