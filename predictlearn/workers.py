"""Worker processes that end with the process they work for, or threads; how far they are."""

from __future__ import annotations

import contextlib
import functools
import inspect
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import joblib
from joblib.parallel import LokyBackend, get_active_backend

__all__ = ["Parallel", "delayed", "told"]

# How often a worker looks whether its parent still runs, in seconds.
_EVERY = 0.5
# Who wants to know how many of how many tasks are done; the last one is told.
_TOLD: list[Callable[[int, int], None]] = []


class _Followed:
    """A function that, in a worker, sees to it that the worker does not outlive its parent."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self.parent = os.getpid()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if os.getpid() != self.parent:
            _follow(self.parent)
        return self.function(*args, **kwargs)


@functools.cache
def _follow(parent: int, direct: bool = False) -> None:
    """Begin to watch a parent, and leave Ctrl-C to it; once for each.

    A direct child whose parent is another by now has been left alone.
    """
    # a terminal sends it to all processes: the parent ends its workers and says what is kept
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    if not direct and os.getppid() != parent and (os.name != "posix" or _runs(parent)):
        return  # a child of another process, which looks after it
    threading.Thread(target=_watch, args=(parent,), daemon=True).start()


def _runs(process: int) -> bool:
    """Return whether a process of this machine still runs."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _watch(parent: int) -> None:
    """End this process when its parent has ended, at once: nobody waits for what it computes."""
    while os.getppid() == parent:
        time.sleep(_EVERY)
    os._exit(1)


def delayed(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return ``joblib.delayed`` of a function, for workers that end with their parent.

    Parameters
    ----------
    function : callable
        What workers call.

    Returns
    -------
    callable
        Takes the arguments, and gives a task for ``joblib.Parallel``.

    Examples
    --------
    >>> import joblib
    >>> joblib.Parallel(n_jobs=1)(delayed(abs)(x) for x in (-1, 2))
    [1, 2]
    """
    made: Callable[..., Any] = joblib.delayed(_Followed(function))
    return made


class Parallel(joblib.Parallel):
    """``joblib.Parallel`` that tells how far it is; see `told`.

    With ``prefer="threads"`` it runs threads, which share what is compiled and imported: for loops
    that release the lock. Processes are for the rest.
    """

    _n_tasks = 0

    def __init__(self, n_jobs: int | None = None, **settings: Any) -> None:
        # from their start, where joblib can (1.5): a worker may wait long for its first task
        takes = inspect.signature(joblib.Parallel.__init__).parameters
        loky = isinstance(get_active_backend()[0], LokyBackend)
        begin = {"initializer": _follow, "initargs": (os.getpid(), True)}
        threads = settings.get("prefer") == "threads"
        more = begin if loky and not threads and "backend_kwargs" in takes else {}
        super().__init__(n_jobs=n_jobs, **settings, **more)

    def __call__(self, iterable: Iterable[Any]) -> Any:
        """Run the tasks."""
        tasks = list(iterable)
        self._n_tasks = len(tasks)
        return super().__call__(tasks)

    def print_progress(self) -> None:
        """Tell how many tasks are done; joblib calls this after each batch of them."""
        super().print_progress()
        if _TOLD:
            _TOLD[-1](self.n_completed_tasks, self._n_tasks)


@contextlib.contextmanager
def told(listener: Callable[[int, int], None]) -> Iterator[None]:
    """Tell a function how many of how many tasks are done, each time that some are.

    Parameters
    ----------
    listener : callable
        Takes both numbers; it may be called from another thread.

    Examples
    --------
    >>> with told(lambda done, of: print(done, "of", of)):
    ...     results = Parallel(n_jobs=1)(delayed(abs)(x) for x in (-1, 2))
    1 of 2
    2 of 2
    2 of 2
    """
    _TOLD.append(listener)
    try:
        yield
    finally:
        _TOLD.remove(listener)
