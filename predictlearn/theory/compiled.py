"""Keeping compiled code in step with its sources.

numba keeps compiled functions on disk and compiles again when their own file changes, but not when
a function that they call, from another file, does. A module that calls compiled functions of
another one therefore drops its stored code here when that one, or what that one was made from in
turn, is newer.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

__all__ = ["forget_stale"]

# What every module said it calls: modules are imported after those that they call.
_CALLS: dict[str, set[str]] = {}


def forget_stale(module: str, *sources: str) -> list[Path]:
    """Delete a module's compiled code that is older than the sources it was made from.

    Parameters
    ----------
    module : str
        ``__file__`` of the module whose compiled functions call those of the sources.
    *sources : str
        ``__file__`` of the modules that they come from; those that these call need not be named.

    Returns
    -------
    list of pathlib.Path
        What was deleted. Where the folder cannot be written nothing is: numba then keeps its files
        elsewhere, by user.
    """
    path = Path(module)
    _CALLS[module] = {*sources, *(deep for s in sources for deep in _CALLS.get(s, ()))}
    newest = max(Path(source).stat().st_mtime for source in _CALLS[module])
    gone = []
    for stored in path.parent.joinpath("__pycache__").glob(f"{path.stem}.*.nb[ic]"):
        # another process may have deleted it, or the folder may be read-only
        with contextlib.suppress(OSError):
            if stored.stat().st_mtime < newest:
                stored.unlink()
                gone.append(stored)
    return gone
