"""Compiled functions, kept on disk so that a later start need not compile again.

numba's own files are believed as they are, and know of a function's own file only: a damaged one
ends the program, and a function whose callee, from another file, was changed keeps its old code.
Here each compiled function is one file, named by a digest of all that decides it: the sources of
its module and of all modules of this package that these import, the types of its arguments, its
options, the processor, and the versions of Python, numpy, numba and llvmlite. Content is checked
before it is used, and is written whole or not at all; what cannot be read is compiled, and what
cannot be written is done without.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import multiprocessing
import os
import pickle
import platform
import re
import signal
import stat
import sys
import tempfile
import threading
import time
import uuid
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import llvmlite
import numba
import numpy as np
from numba.core import caching, config
from numba.core.compiler import CompileResult
from numba.core.serialize import dumps
from numba.misc.appdirs import AppDirs

__all__ = [
    "FAST",
    "compiled",
    "is_private",
    "private_folder",
    "source_digest",
    "sources",
    "undisturbed",
]

# What loops over numbers may assume: sums in any order, so that they vectorise, and no signed
# zeros. NaN and infinity keep their meaning, since divergence is told by them.
FAST = {"contract", "reassoc", "nsz"}

_PACKAGE = Path(__file__).parent
_IMPORT = re.compile(
    r"^\s*(?:from\s+(predictlearn[\w.]*)\s+import\s+(\([^)]*\)|[^\n]+)|import\s+(predictlearn[\w.]+))",
    re.MULTILINE,
)
_MARK = b"predictlearn compiled code 1\n"
_SUFFIX = ".code"
# What nobody has used for so long is removed when something new is written.
_UNUSED_DAYS = 90
_DAY = 86400.0
# numba's settings that change the code and that the processor's name and features do not show.
_SETTINGS = ("OPT", "LOOP_VECTORIZE", "SLP_VECTORIZE", "USING_SVML", "BOUNDSCHECK", "ENABLE_AVX")
# Why nothing is kept, once it was said.
_SAID: list[str] = []


def _file_of(module: str) -> Path | None:
    """Return the file of a module of this package, or None if there is no such module."""
    place = _PACKAGE.joinpath(*module.split(".")[1:])
    for path in (place.with_suffix(".py"), place / "__init__.py"):
        if path.is_file():
            return path
    return None


@functools.cache
def _imports(path: Path) -> frozenset[Path]:
    """Return the files of this package that a file imports."""
    found: set[Path | None] = set()
    for origin, names, plain in _IMPORT.findall(path.read_text(encoding="utf-8")):
        module = origin or plain
        found.add(_file_of(module))
        found |= {_file_of(f"{module}.{name}") for name in re.findall(r"\w+", names)}
    return frozenset(file for file in found if file is not None)


def sources(file: str | os.PathLike[str]) -> list[Path]:
    """Return a file and all files of this package that its code can come from.

    Parameters
    ----------
    file : path
        A module of Python code.

    Returns
    -------
    list of pathlib.Path
        The file, those that it imports, those that they import, and so on, in order of their names.

    Examples
    --------
    >>> from predictlearn.theory.kernels import few_trials
    >>> [path.name for path in sources(few_trials.__file__)]
    ['compiled.py', 'arguments.py', 'few_trials.py', 'gain.py']
    """
    todo, found = [Path(file)], set()
    while todo:
        path = todo.pop()
        if path not in found:
            found.add(path)
            todo += _imports(path)
    return sorted(found)


@functools.cache
def source_digest(file: str) -> str:
    """Return a digest of what the code of a module is made from.

    Parameters
    ----------
    file : str
        Its ``__file__``.

    Returns
    -------
    str
        SHA-256 over `sources`, whatever their folder and the time of their last change.
    """
    digest = hashlib.sha256()
    for path in sources(file):
        content = path.read_bytes()
        digest.update(f"{path.name} {len(content)}\n".encode() + content)
    return digest.hexdigest()


def is_private(folder: Path) -> bool:
    """Return whether only the user, or the administrator, can put something into a folder.

    Parameters
    ----------
    folder : pathlib.Path
        The folder.

    Returns
    -------
    bool
        False for a link, and for what is no folder.
    """
    about = folder.lstat()
    if not stat.S_ISDIR(about.st_mode):
        return False
    if not hasattr(os, "getuid"):  # another system: its folders of users are their own
        return True
    return about.st_uid in (0, os.getuid()) and not about.st_mode & 0o022


def _places() -> list[Path]:
    """Return the folders that compiled code may be in, the first that can be used."""
    user = str(os.getuid()) if hasattr(os, "getuid") else "user"
    asked = config.CACHE_DIR  # NUMBA_CACHE_DIR
    places = [
        *([Path(asked) / "predictlearn"] if asked else []),
        Path(AppDirs(appname="predictlearn", appauthor=False).user_cache_dir) / "compiled",
    ]
    # without a temporary folder gettempdir gives the working folder, or raises
    with contextlib.suppress(FileNotFoundError):
        if (temporary := tempfile.gettempdir()) != os.getcwd():
            places.append(Path(temporary) / f"predictlearn-{user}")
    # without a home, "~" stays as it is
    return [place.absolute() for place in places if "~" not in place.parts]


@functools.cache
def _folder() -> Path | None:
    """Return the folder of compiled code, made if absent, or None where there can be none."""
    for place in _places():
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            place.mkdir(mode=0o700, exist_ok=True)
            if is_private(place):
                return place
        except OSError:
            continue  # not here; the next place, or none, which is said once
    _say_once("there is no folder that it can be kept in")
    return None


def private_folder() -> Path | None:
    """Return a folder of the user that nobody else can write to, as found for compiled code.

    Returns
    -------
    pathlib.Path or None
        None where there can be none.
    """
    return _folder()


def _say_once(reason: str) -> None:
    """Warn that compiled code is not kept; workers are silent, since their parent has said it."""
    if not _SAID and multiprocessing.current_process().name == "MainProcess":
        _SAID.append(reason)
        warnings.warn(
            f"compiled code is not kept on disk ({reason}), so that every start compiles anew, for "
            "a minute or more; set NUMBA_CACHE_DIR to a folder of yours that can be written.",
            UserWarning,
            stacklevel=2,
        )


@functools.cache
def _remove_unused(folder: Path) -> None:
    """Remove what has not been used for long: old versions, and temporary files of killed runs."""
    oldest = time.time() - _UNUSED_DAYS * _DAY
    for path in folder.iterdir():
        # another process may have removed it
        with contextlib.suppress(OSError):
            if _SUFFIX in path.name and path.stat().st_mtime < oldest:
                path.unlink()


class _Store(caching._Cache):
    """The compiled versions of one function on disk, one a tuple of types.

    Parameters
    ----------
    function : callable
        The function in Python.
    options : mapping
        What numba was told.
    """

    def __init__(self, function: Any, options: dict[str, Any]) -> None:
        self._name = f"{function.__module__.removeprefix('predictlearn.')}.{function.__qualname__}"
        code = function.__code__
        cells = [cell.cell_contents for cell in function.__closure__ or ()]
        self._decisive: list[Any] = [
            self._name,
            code.co_firstlineno,
            hashlib.sha256(code.co_code).hexdigest(),
            hashlib.sha256(dumps(cells)).hexdigest(),
            sorted((key, repr(_ordered(value))) for key, value in options.items()),
            [f"{name}={getattr(config, name, None)}" for name in _SETTINGS],
            [sys.version, platform.machine(), np.__version__],
            [numba.__version__, llvmlite.__version__],
        ]
        try:
            self._decisive.append(source_digest(code.co_filename))
            self._enabled = True
        except OSError:  # the source is not a file, but in an archive, say
            self._enabled = False

    @property
    def cache_path(self) -> str | None:
        """The folder."""
        place = _folder() if self._enabled else None
        return None if place is None else str(place)

    def enable(self) -> None:
        """Use the folder."""
        self._enabled = True

    def disable(self) -> None:
        """Do not use the folder."""
        self._enabled = False

    def flush(self) -> None:
        """Remove the function's files; another process may do so too."""
        place = self.cache_path
        for path in Path(place).glob(f"{self._name}-*{_SUFFIX}") if place else ():
            path.unlink(missing_ok=True)

    def _path(self, sig: Any, codegen: Any) -> Path | None:
        """Return the file of some types of arguments on some processor, None for none."""
        place = self.cache_path
        types = repr(sig)
        # an address in memory: types of which the next process has others
        if place is None or " at 0x" in types:
            return None
        decisive = repr([*self._decisive, types, codegen.magic_tuple()])
        key = hashlib.sha256(decisive.encode()).hexdigest()
        return Path(place) / f"{self._name}-{key[:40]}{_SUFFIX}"

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Return the stored code, or None if there is none or it is damaged."""
        target_context.refresh()
        path = self._path(sig, target_context.codegen())
        payload = None if path is None else _read(path)
        if payload is None:
            return None
        return CompileResult._rebuild(target_context, *pickle.loads(payload))

    def save_overload(self, sig: Any, data: Any) -> None:
        """Store compiled code, if it can be."""
        fixed = all(loop.can_cache for loop in data.lifted)
        if not fixed or data.library.has_dynamic_globals:  # addresses of this process
            return
        path = self._path(sig, data.codegen)
        if path is None:
            return
        try:
            _write(path, dumps(data._reduce()))
            _remove_unused(path.parent)
        except OSError as error:
            _say_once(f"{path.parent}: {error.strerror}")


def _ordered(value: Any) -> Any:
    """Return an option whose text is the same in every process: sets in order."""
    return sorted(value) if isinstance(value, set | frozenset) else value


def _read(path: Path) -> bytes | None:
    """Return what a file holds, or None if there is none or it is not as it was written."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    digest, payload = content[len(_MARK) : len(_MARK) + 32], content[len(_MARK) + 32 :]
    if not content.startswith(_MARK) or hashlib.sha256(payload).digest() != digest:
        return None
    # in use: see _remove_unused. A folder that is only read stays as it is.
    with contextlib.suppress(OSError):
        if path.stat().st_mtime < time.time() - _DAY:
            os.utime(path)
    return payload


def _write(path: Path, payload: bytes) -> None:
    """Write a file so that it is whole or absent; nobody else can read or change it."""
    partial = path.with_name(f"{path.name}.{uuid.uuid4().hex[:12]}")
    try:
        with open(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
            stream.write(_MARK + hashlib.sha256(payload).digest() + payload)
        os.replace(partial, path)
    except BaseException:
        # a second error here would hide the first
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        raise


def compiled(**options: Any) -> Callable[[Any], Any]:
    """Return a decorator that compiles a function when it is first called, and keeps its code.

    Parameters
    ----------
    **options
        As of ``numba.njit``, without ``cache``.

    Returns
    -------
    callable
        The decorator.

    Examples
    --------
    >>> @compiled(error_model="numpy")
    ... def half(x):
    ...     return x / 2
    >>> half(3)
    1.5
    """

    def decorate(function: Any) -> Any:
        """Compile, and keep the code on disk."""
        dispatcher = numba.njit(**options)(function)
        # with numba's compiler switched off (NUMBA_DISABLE_JIT) it is the function itself
        if hasattr(dispatcher, "_cache"):
            dispatcher._cache = _Store(function, options)
        return dispatcher

    return decorate


def undisturbed(function: Callable[..., Any], *args: Any) -> Any:
    """Call a compiled function that takes a generator; Ctrl-C is heard when it has returned.

    numba reads a generator by way of functions of Python. An exception that a signal raises within
    those is not looked for, and the process would end by a segmentation fault.

    Parameters
    ----------
    function : callable
        The function.
    *args
        What it takes.

    Returns
    -------
    object
        What it returns.

    Examples
    --------
    >>> undisturbed(max, 1, 2)
    2
    """
    handler = signal.getsignal(signal.SIGINT)
    # only the main thread hears signals, and only a handler in Python can raise
    if not callable(handler) or threading.current_thread() is not threading.main_thread():
        return function(*args)
    heard: list[tuple[Any, ...]] = []
    signal.signal(signal.SIGINT, lambda *signalled: heard.append(signalled))
    try:
        result = function(*args)
    finally:
        signal.signal(signal.SIGINT, handler)
    if heard:
        handler(*heard[-1])
    return result
