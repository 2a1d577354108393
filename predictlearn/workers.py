"""Worker processes that end with the process they work for."""

from __future__ import annotations

import functools
import os
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

__all__ = ["delayed"]

# How often a worker looks whether its parent still runs, in seconds.
_EVERY = 0.5


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
def _follow(parent: int) -> None:
    """Begin to watch a parent, and leave Ctrl-C to it; once for each."""
    # a terminal sends it to all processes: the parent ends its workers and says what is kept
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    # a fork of a worker has another parent than the one that gave the work
    threading.Thread(target=_watch, args=(os.getppid(),), daemon=True).start()


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
    from joblib import delayed as task

    made: Callable[..., Any] = task(_Followed(function))
    return made
