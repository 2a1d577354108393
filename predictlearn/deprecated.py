"""Names that have moved: they work for one more version, and say where they are now."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["moved_method", "moved_names"]


def _warn(old: str, new: str) -> None:
    """Warn at the line that used the old name."""
    warnings.warn(f"{old} goes with the next version; use {new}", DeprecationWarning, stacklevel=3)


def _found(home: str) -> Any:
    """Return what stands at "module:name" or "module:class.name"."""
    module, _, path = home.partition(":")
    found: Any = importlib.import_module(module)
    for name in path.split("."):
        found = getattr(found, name)
    return found


def moved_method(old: str, home: str, new: str) -> Callable[..., Any]:
    """Return a method that is a function elsewhere now.

    Parameters
    ----------
    old : str
        What the method was called.
    home : str
        "module:name" of the function, which takes the object first.
    new : str
        How it is called now.

    Returns
    -------
    function
        Warns and calls it.
    """

    def method(self: Any, *args: Any, **settings: Any) -> Any:
        _warn(old, new)
        return _found(home)(self, *args, **settings)

    method.__doc__ = f"Deprecated: use {new}."
    return method


def moved_names(module: str, homes: Mapping[str, str]) -> Callable[[str], Any]:
    """Return the ``__getattr__`` of a module of which some names have moved.

    Parameters
    ----------
    module : str
        The module, ``__name__``.
    homes : mapping of str to str
        Where each name is now: the module.

    Returns
    -------
    function
        For ``__getattr__``.
    """

    def found(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        _warn(f"{module}.{name}", f"{homes[name]}.{name}")
        return _found(f"{homes[name]}:{name}")

    return found
