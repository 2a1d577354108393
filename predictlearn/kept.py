"""Finished steps of long work on disk, so that work that was ended goes on where it stopped.

Within `keeping`, every task of `predictlearn.workers.Parallel` and every call by `once` leaves its
result in a folder that only the user can write to. A result is found by a digest of all that
decides it: the function, its arguments by value, every source file of this package, the versions
of the libraries, and the processor. So another input, setting or version never finds it. Each file
is whole or absent, and has a checksum; what is damaged is computed anew, and what cannot be
written, or named in a way that holds in every process, is done without. When the process ends
well its files are removed; those of work that was given up go after some days.
"""

from __future__ import annotations

import atexit
import contextlib
import dataclasses
import functools
import hashlib
import importlib.metadata
import multiprocessing
import os
import pickle
import platform
import sys
import threading
import time
import types
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import BrokenExecutor
from contextvars import ContextVar
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np

from predictlearn.files import is_leftover, write_atomically

__all__ = ["digest", "going_on", "keeping", "once"]

_MARK = b"predictlearn step 1\n"
_SUFFIX = ".step"
# What was done sooner is done again rather than kept, seconds.
_WORTH = 0.02
# Files of work that was given up are removed after so many days, and the oldest beyond so many
# bytes in all.
_UNUSED_DAYS, _MOST = 14, 2 * 2**30
# What a file is written within, seconds: a part that is older was left by a killed process.
_WRITING = 3600.0
# Steps of finished work that stay until the process ends: at most so many.
_MANY = 2000
# What changes no result: how many processes or threads share the work.
_IDLE = frozenset({"n_jobs", "threads"})
# Libraries whose version decides numbers, and the variables that say how many threads they use.
_LIBRARIES = (
    *("numpy", "scipy", "pandas", "numba", "llvmlite", "scikit-learn", "statsmodels", "joblib"),
)
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
# Code that is the same in every process with the same versions; that of a user is not.
_KNOWN = sys.stdlib_module_names | {
    *("predictlearn", "numpy", "scipy", "pandas", "numba", "sklearn", "statsmodels", "joblib"),
}

T = TypeVar("T")
Task = tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]


# The steps of work that ended in this process, the oldest first.
_ENDED: dict[Path, None] = {}
# What was warned of, as modules remember it: the user's filters decide whether once is enough.
_SAID: dict[Any, Any] = {}


class _UnnamedError(Exception):
    """Something has no name that holds in every process, such as a function of the user."""


class _Digest:
    """A file to write to, of which only a digest is kept."""

    def __init__(self) -> None:
        self.sha = hashlib.sha256()

    def write(self, data: Any) -> int:
        """Take some bytes."""
        self.sha.update(data)
        return len(data)


class _ByValue(pickle.Pickler):
    """Pickle such that equal things give equal bytes, whoever made them and what they remember."""

    def __init__(self, file: Any) -> None:
        super().__init__(file, protocol=5)
        # no references to what was written before: equal is equal, the same object or not
        self.fast = True

    def persistent_id(self, thing: Any) -> Any:
        """Return sets in an order that does not depend on the process; None for all else."""
        if isinstance(thing, set | frozenset):
            return "set", sorted(_digest(item) for item in thing)
        return None

    def reducer_override(self, thing: Any) -> Any:
        """Return what stands for a function, a class, or an object of this package."""
        if isinstance(thing, type | types.FunctionType | types.BuiltinFunctionType):
            module = getattr(thing, "__module__", None) or "builtins"
            if module.partition(".")[0] not in _KNOWN:
                raise _UnnamedError(f"{module}.{thing.__qualname__}")
            return NotImplemented
        kind = type(thing)
        if kind is np.ndarray and not thing.dtype.hasobject:
            # a result may depend on the order in memory, but not on what may be written to
            flags = thing.flags
            order = "C" if flags.c_contiguous else "F" if flags.f_contiguous else thing.strides
            flat = thing.T if order == "F" else thing
            content = hashlib.sha256(np.ascontiguousarray(flat).data).digest()
            return _stand_in, (kind, [thing.dtype.descr, thing.shape, order, content])
        if hasattr(thing, "py_func"):  # a compiled function
            return str, (f"{thing.py_func.__module__}.{thing.py_func.__qualname__}",)
        if kind.__module__.partition(".")[0] != "predictlearn" or issubclass(kind, BaseException):
            return NotImplemented
        if dataclasses.is_dataclass(kind):
            # a field that is not shown holds what was found before, and follows from the others
            names = [field.name for field in dataclasses.fields(kind) if field.repr]
            state = {name: getattr(thing, name) for name in names}
        elif hasattr(thing, "__dict__"):
            state = {
                name: value
                for name, value in vars(thing).items()
                if not isinstance(getattr(kind, name, None), functools.cached_property)
            }
        else:
            return NotImplemented
        return _stand_in, (kind, {k: v for k, v in state.items() if k not in _IDLE})


def _stand_in(kind: type, state: Any) -> None:
    """Stand for an object in a digest, which is never read."""


def _digest(thing: Any) -> bytes:
    """Return a digest of a value."""
    file = _Digest()
    _ByValue(file).dump(thing)
    return file.sha.digest()


def digest(thing: Any) -> bytes | None:
    """Return a digest of a value that is the same in every process.

    Parameters
    ----------
    thing : object
        Arrays, tables, numbers, objects of this package, and what is made of them.

    Returns
    -------
    bytes or None
        SHA-256; None for what has no such digest, as a function or a class of the user.

    Examples
    --------
    >>> digest([1.0, {"b", "a"}]) == digest([1.0, {"a", "b"}])
    True
    >>> digest(lambda x: x) is None
    True
    """
    try:
        return _digest(thing)
    except (
        *(_UnnamedError, pickle.PicklingError, TypeError, ValueError, AttributeError),
        *(ImportError, RecursionError, NotImplementedError),
    ):
        return None


@functools.cache
def _code() -> bytes:
    """Return a digest of the code: this package, the versions of libraries, the processor."""
    found = hashlib.sha256()
    package = Path(__file__).parent
    for path in sorted(package.rglob("*.py")):
        content = path.read_bytes()
        found.update(f"{path.relative_to(package).as_posix()} {len(content)}\n".encode() + content)
    from llvmlite import binding

    versions = [importlib.metadata.version(name) for name in _LIBRARIES]
    machine = [sys.version, platform.platform(), binding.get_host_cpu_name()]
    threads = [os.environ.get(name) for name in _THREADS]
    found.update(repr([versions, machine, threads]).encode())
    return found.digest()


def _folder() -> Path | None:
    """Return the folder of steps, made if absent, or None where there can be none."""
    from predictlearn.compiled import is_private, private_folder

    asked = os.environ.get("PREDICTLEARN_CACHE")
    try:
        home = Path(asked).expanduser().absolute() if asked else private_folder()
        if home is None:
            return None
        place = home / "steps"
        home.mkdir(parents=True, exist_ok=True)
        place.mkdir(mode=0o700, exist_ok=True)
        usable = is_private(place) and os.access(place, os.W_OK | os.X_OK)
    except (OSError, RuntimeError):  # the home of nobody
        return None
    return place if usable else None


@functools.cache
def _tidy(folder: Path) -> None:
    """Remove what work that was given up left: what is old, and the oldest of too much; once."""
    found = []
    for path in folder.iterdir():
        # another process may have removed it
        with contextlib.suppress(OSError):
            if path.name.endswith(_SUFFIX) or is_leftover(path):
                about = path.stat()
                found.append((about.st_mtime, about.st_size, path))
    now, total = time.time(), 0
    for when, size, path in sorted(found, reverse=True):
        total += size
        most = _WRITING if is_leftover(path) else _UNUSED_DAYS * 86400.0
        if now - when > most or total > _MOST:
            with contextlib.suppress(OSError):
                path.unlink()


def _read(path: Path) -> Any:
    """Return what a file of `_write` holds, or None if there is none or it is damaged."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    at = len(_MARK) + 32
    if not content.startswith(_MARK):
        return None
    if hashlib.sha256(memoryview(content)[at:]).digest() != content[len(_MARK) : at]:
        return None
    return pickle.loads(memoryview(content)[at:])


def _write(path: Path, payload: bytes) -> None:
    """Write a file whole, or not at all where it cannot be written."""
    parts = (_MARK, hashlib.sha256(payload).digest(), payload)
    # without it the step is done again: no reason to end the work
    with contextlib.suppress(OSError):
        write_atomically(path, lambda stream: stream.writelines(parts))


class _Made:
    """A function whose result is kept; the result is as it is read, whether it was read or not.

    Parameters
    ----------
    function : callable
        The function.
    path : pathlib.Path
        Where its result is kept.
    """

    def __init__(self, function: Callable[..., Any], path: Path) -> None:
        self.function, self.path = function, path

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        began = time.perf_counter()
        # the filters of warnings are one for all threads, so only the main one may change them
        alone = threading.current_thread() is threading.main_thread()
        with warnings.catch_warnings(record=True) if alone else contextlib.nullcontext([]) as said:
            result = self.function(*args, **kwargs)
        took = time.perf_counter() - began
        about = [(w.message, w.category, w.filename, w.lineno) for w in said]
        try:
            payload = pickle.dumps((result, about), protocol=5)
        except (pickle.PicklingError, TypeError, AttributeError):
            return _result((result, about))
        if took >= _WORTH:
            _write(self.path, payload)
        return _result(pickle.loads(payload))


def _result(found: tuple[Any, list[tuple[Any, type[Warning], str, int]]]) -> Any:
    """Return a result, and warn of what was warned of when it was made."""
    result, said = found
    for message, category, filename, line in said:
        warnings.warn_explicit(message, category, filename, line, registry=_SAID)
    return result


class _Keeping:
    """The steps of one piece of work.

    Parameters
    ----------
    folder : pathlib.Path
        Where they are.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.paths: list[Path] = []

    def path(self, task: Task, known: dict[int, tuple[Any, bytes | None]]) -> Path | None:
        """Return where the result of a task is kept; None if it cannot be.

        `known` holds arguments with their digests, by identity: tasks have large ones in common.
        """
        function, args, kwargs = task
        owner = getattr(function, "__self__", None)
        name = getattr(function, "__qualname__", None)
        if name is None:
            return None
        what = function if owner is None or isinstance(owner, types.ModuleType) else owner
        named = {key: value for key, value in kwargs.items() if key not in _IDLE}
        found = [_code(), name.encode(), repr((len(args), list(named))).encode()]
        for value in (what, *args, *named.values()):
            if id(value) not in known:
                known[id(value)] = value, digest(value)
            one = known[id(value)][1]
            if one is None:
                return None
            found.append(one)
        key = hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in found)).hexdigest()
        path = self.folder / f"{name.rpartition('.')[2].strip('_')}-{key[:48]}{_SUFFIX}"
        self.paths.append(path)
        return path

    def found(self, path: Path | None) -> Any:
        """Return what is kept of work that did not end, or None."""
        return None if path is None or path in _ENDED else _read(path)

    def tasks(
        self, tasks: Sequence[Task], run: Callable[[list[Task]], Iterable[Any]]
    ) -> Iterator[Any]:
        """Give the results of tasks in their order: those that are there, the others by `run`."""
        known: dict[int, tuple[Any, bytes | None]] = {}
        paths = [self.path(task, known) for task in tasks]
        found = [self.found(path) for path in paths]
        left = [
            task if path is None else (_Made(task[0], path), *task[1:])
            for task, path, kept in zip(tasks, paths, found, strict=True)
            if kept is None
        ]
        made = iter(run(left) if left else [])
        for kept in found:
            yield next(made) if kept is None else _result(kept)

    def remove(self, since: int = 0) -> None:
        """Remove the files of steps, all or those since one."""
        for path in self.paths[since:]:
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
        del self.paths[since:]

    def end(self) -> None:
        """Let the steps be done anew in this process; the next would find them if this is ended."""
        _ENDED.update(dict.fromkeys(self.paths))
        for path in list(_ENDED)[: max(len(_ENDED) - _MANY, 0)]:
            del _ENDED[path]
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)

    def said(self, again: str) -> str:
        """Return what an interruption leaves, and how to go on."""
        if any(path.is_file() for path in self.paths):
            return f"finished steps are kept; {again} goes on from there."
        return f"no step was finished; {again} begins anew."


@atexit.register
def _remove_ended() -> None:
    """Remove the steps of work that ended, unless an error ended the process, or Ctrl-C."""
    if getattr(sys, "last_value", None) is not None:
        return
    for path in _ENDED:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)


_NOW: ContextVar[_Keeping | None] = ContextVar("predictlearn_keeping", default=None)


@contextlib.contextmanager
def keeping(again: str = "the same call") -> Iterator[None]:
    """Keep the results of steps until the process ends well.

    Nothing is kept where there is no private folder that can be written, nor in a worker.

    Steps of a process that was killed, interrupted or ended by an error are found by the next. In
    the same process those of work inside that ended are done anew; those of work that was
    interrupted are not. Within another `keeping` it is that one that keeps.

    Parameters
    ----------
    again : str, default "the same call"
        What goes on from there, for the note that an interruption is given.

    Raises
    ------
    KeyboardInterrupt, concurrent.futures.BrokenExecutor
        As raised inside, with a note that says what is kept and how to go on.

    Examples
    --------
    >>> with keeping():
    ...     once(sum, [1, 2])
    3
    """
    if _NOW.get() is not None:
        yield
        return
    # a worker's results are its parent's to keep
    alone = multiprocessing.current_process().name == "MainProcess"
    folder = _folder() if alone else None
    now = None if folder is None else _Keeping(folder)
    token = _NOW.set(now)
    try:
        if folder is not None:
            with contextlib.suppress(OSError):
                _tidy(folder)
        yield
    except (KeyboardInterrupt, BrokenExecutor) as error:
        if now is not None:
            error.add_note(now.said(again))
        raise
    else:
        if now is not None:
            now.end()
    finally:
        _NOW.reset(token)


def once(function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    """Call a function, or return what it returned before the work was ended.

    Parameters
    ----------
    function : callable
        A function, or a method, of this package. Its result depends on its arguments alone, which
        it does not change.
    *args, **kwargs
        What it takes.

    Returns
    -------
    object
        What it returns. Within `keeping` steps inside this one are removed once it is kept.

    Examples
    --------
    >>> once(max, 1, 2)
    2
    """
    now = _NOW.get()
    path = None if now is None else now.path((function, args, kwargs), {})
    if now is None or path is None:
        return function(*args, **kwargs)
    found = now.found(path)
    if found is not None:
        return cast("T", _result(found))
    inside = len(now.paths)
    result = _Made(function, path)(*args, **kwargs)
    if path.is_file():
        # what is within is done with, and after a kill nothing would know its names
        now.remove(since=inside)
    return cast("T", result)


def going_on() -> Callable[..., Iterator[Any]] | None:
    """Return what runs tasks and keeps their results, or None outside of `keeping`.

    Returns
    -------
    callable or None
        Takes tasks, (function, arguments, named arguments) each, and a function that runs those
        that are left; gives all results in order.

    Examples
    --------
    >>> going_on() is None
    True
    """
    now = _NOW.get()
    return None if now is None else now.tasks
