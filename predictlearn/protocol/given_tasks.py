"""Tasks that the user wrote in Python: objects, functions that return one, functions by name."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from predictlearn.errors import InputError
from predictlearn.theory.trials import Task, Trials

__all__ = ["GIVEN", "PYTHON", "named_task", "own_task", "separated", "shown_bytes"]

# What stands in the plain data for a task that is an object, and what a file calls a function.
GIVEN, PYTHON = "given in Python", "python"

_UNTRUSTED = (
    "a task of type python runs the code of another file; pass trust=True to Protocol.load or "
    "Protocol.from_dict, or --trust to run, compare or predict, where you know what that code does"
)


def separated(data: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the content of a protocol without the tasks that are objects, and those by name.

    Parameters
    ----------
    data : mapping
        The content; tasks in it may be mappings of settings, tasks, and functions that return one.

    Returns
    -------
    dict, dict
        The content with stand-ins, and the objects.
    """
    tasks = data.get("tasks")
    if not isinstance(tasks, Mapping):
        return dict(data), {}
    objects = {
        str(name): task for name, task in tasks.items() if isinstance(task, Task) or callable(task)
    }
    stand_ins = {name: {"type": GIVEN} for name in objects}
    plain = {name: stand_ins.get(str(name), task) for name, task in tasks.items()}
    return {**data, "tasks": plain}, objects


def own_task(what: str, value: Any, settings: Mapping[str, Any] | None = None) -> Task:
    """Return a task that was given, or that a function returns, once it has shown its trials.

    Parameters
    ----------
    what : str
        What messages call it.
    value : Task or callable
        The task, or a function that returns one.
    settings : mapping, optional
        Arguments of the function.

    Returns
    -------
    Task
        The task.

    Raises
    ------
    InputError
        If the function raises anything, or what it returns is no task.
    """
    task = value
    if isinstance(value, type) or not isinstance(value, Task):
        try:
            task = value(**(settings or {}))
        except Exception as error:
            raise InputError(f"{what} raised {type(error).__name__}: {error}") from error
    if not isinstance(task, Task):
        raise InputError(
            f"{what} must return a task, with n_in, n_out, dt, fixed and sample(rng), as "
            f"pl.Filter() has, or pl.ArrayTask of your arrays; got {type(task).__name__}"
        )
    try:
        trials = task.sample(np.random.default_rng(0))
    except Exception as error:
        raise InputError(f"sample of {what} raised {type(error).__name__}: {error}") from error
    if not isinstance(trials, Trials):
        raise InputError(f"sample of {what} must return Trials; got {type(trials).__name__}")
    for name in ("n_in", "n_out", "dt"):
        said, shown = getattr(task, name), getattr(trials, name)
        if said != shown:
            raise InputError(f"{what} says {name} = {said!r}, and its trials have {shown!r}")
    return task


def named_task(settings: Mapping[str, Any], folder: Path, trust: bool) -> Task:
    """Return the task of a function by name.

    Parameters
    ----------
    settings : mapping
        ``function``, as ``module:function``, and the arguments of the function. The module is one
        that is installed, or a file beside the protocol.
    folder : pathlib.Path
        Where the protocol is.
    trust : bool
        Whether the caller says that its code may run.

    Returns
    -------
    Task
        The task.

    Raises
    ------
    InputError
        If it may not run, there is no such function, it raises, or returns no task.
    """
    if not trust:
        raise InputError(_UNTRUSTED)
    arguments = dict(settings)
    named = arguments.pop("function", None)
    module, _, function = named.partition(":") if isinstance(named, str) else ("", "", "")
    if not module or not function.isidentifier():
        raise InputError(
            f'function must be "module:function", such as "my_tasks:reaching"; got {named!r}'
        )
    place = str(folder.resolve())
    sys.path.append(place)
    try:
        found = importlib.import_module(module)
    except Exception as error:
        raise InputError(
            f"function: the module {module!r} cannot be imported ({type(error).__name__}: {error})"
        ) from error
    finally:
        sys.path.remove(place)
    if not callable(getattr(found, function, None)):
        raise InputError(f"function: the module {module!r} has no function {function!r}")
    return own_task(f"function {named!r}", getattr(found, function), arguments)


def shown_bytes(task: Task) -> bytes:
    """Return what tells two tasks of the user apart: their class, and the trials of one seed."""
    trials = task.sample(np.random.default_rng(0))
    arrays = (trials.inputs, trials.targets, trials.weights, trials.offset, trials.smoothing)
    name = f"{type(task).__module__}.{type(task).__qualname__} {task.fixed} {trials.dt!r}"
    return name.encode() + b"".join(np.ascontiguousarray(array).tobytes() for array in arrays)
