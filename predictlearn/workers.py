"""Worker processes that end with the process they work for, or threads; how far they are."""

from __future__ import annotations

import contextlib
import functools
import inspect
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

import joblib
from joblib.parallel import LokyBackend, get_active_backend
from threadpoolctl import threadpool_limits

from predictlearn.doors import free_memory
from predictlearn.kept import going_on

__all__ = ["Parallel", "counted", "delayed", "listened", "processes", "told"]

T = TypeVar("T")
# How often a worker looks whether its parent still runs, in seconds.
_EVERY = 0.5
# How long to wait for what was told to end, in seconds.
_PATIENCE = 5.0
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


def _bare(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function behind `delayed`."""
    return function.function if isinstance(function, _Followed) else function


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


def processes(n_jobs: int, n_bytes: float, shared: float = 0.0) -> int:
    """Return how many processes of those asked for have room, at least one.

    Parameters
    ----------
    n_jobs : int
        How many were asked for; -1 for all processors.
    n_bytes : float
        What each of them takes.
    shared : float
        What several take together.

    Returns
    -------
    int
        As many as fit into half of the free memory.

    Examples
    --------
    >>> processes(2, 1e3), processes(2, 1e18)
    (2, 1)
    """
    fit = (free_memory() / 2 - shared) / max(n_bytes, 1.0)
    return int(max(1.0, min(float(joblib.effective_n_jobs(n_jobs)), fit)))


class Parallel(joblib.Parallel):
    """``joblib.Parallel`` that tells how far it is, see `told`, and keeps what is done.

    Within `predictlearn.kept.keeping` tasks that were done before are not done again, unless
    `keep` is false; their results must depend on nothing but their arguments.

    With ``prefer="threads"`` it runs threads, which share what is compiled and imported: for loops
    that release the lock. Processes are for the rest. In either, linear algebra has one thread a
    task: more would wait for each other, and sum in another order for another number of tasks.
    """

    _n_tasks = 0
    _n_before = 0

    def __init__(self, n_jobs: int | None = None, *, keep: bool = True, **settings: Any) -> None:
        self._keep = keep
        # from their start, where joblib can (1.5): a worker may wait long for its first task
        takes = inspect.signature(joblib.Parallel.__init__).parameters
        loky = isinstance(get_active_backend()[0], LokyBackend)
        begin = {"initializer": _follow, "initargs": (os.getpid(), True)}
        self._in_threads = settings.get("prefer") == "threads"
        more = begin if loky and not self._in_threads and "backend_kwargs" in takes else {}
        super().__init__(n_jobs=n_jobs, **settings, **more)

    def __call__(self, iterable: Iterable[Any]) -> Any:
        """Run the tasks."""
        tasks = list(iterable)
        self._n_tasks, self._n_before = len(tasks), 0
        kept = going_on() if self._keep else None
        if kept is None or self.return_as == "generator_unordered":
            return self._all(tasks)
        results = kept([(_bare(task[0]), *task[1:]) for task in tasks], self._rest)
        return results if self.return_generator else list(results)

    def _abort(self) -> None:
        """End the workers after an error, as joblib does, and the thread that fed them.

        joblib does not wait for that thread. Where the program ends while it removes a lock,
        joblib's resource tracker speaks of a leak, below the one line that says what went wrong.
        """
        queue = getattr(getattr(self._backend, "_workers", None), "_call_queue", None)
        feeder = getattr(queue, "_thread", None)
        del queue
        super()._abort()
        if feeder is not None:
            feeder.join(_PATIENCE)

    def _rest(self, tasks: list[Any]) -> Any:
        """Run the tasks that were not done before."""
        self._n_before = self._n_tasks - len(tasks)
        return self._all([(_Followed(task[0]), *task[1:]) for task in tasks])

    def _all(self, tasks: list[Any]) -> Any:
        """Run tasks; joblib itself sees to linear algebra in processes."""
        if not self._in_threads or len(tasks) < 2:
            return super().__call__(tasks)
        with threadpool_limits(1, "blas"):
            return super().__call__(tasks)

    def print_progress(self) -> None:
        """Tell how many tasks are done; joblib calls this after each batch of them."""
        super().print_progress()
        if _TOLD:
            _TOLD[-1](self._n_before + self.n_completed_tasks, self._n_tasks)


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


def listened() -> bool:
    """Return whether somebody is told already, see `told`."""
    return bool(_TOLD)


def counted(tasks: Sequence[T]) -> Iterator[T]:
    """Give tasks one after another, and tell how many are done, as `Parallel` does.

    Parameters
    ----------
    tasks : sequence
        The tasks.

    Examples
    --------
    >>> with told(lambda done, of: print(done, "of", of)):
    ...     results = [x + 1 for x in counted([1, 2])]
    1 of 2
    2 of 2
    """
    for done, task in enumerate(tasks, start=1):
        yield task
        if _TOLD:
            _TOLD[-1](done, len(tasks))
