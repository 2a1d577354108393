"""Tasks by name, as protocol files and the command line call them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from types import MappingProxyType
from typing import Any

from predictlearn.errors import InputError, choice, nearest
from predictlearn.tasks.arrays import ArrayTask
from predictlearn.tasks.context import ContextDecision
from predictlearn.tasks.cursor_reaching import CursorReaching
from predictlearn.tasks.cursor_tracking import CursorTracking
from predictlearn.tasks.decision import DecisionMaking
from predictlearn.tasks.filter import Filter
from predictlearn.tasks.flipflop import FlipFlop
from predictlearn.tasks.mixture import Mixture
from predictlearn.tasks.oscillation import DampedOscillation
from predictlearn.tasks.reaching import ReachingReadout
from predictlearn.tasks.teacher import Teacher
from predictlearn.theory.world import LinearWorld

__all__ = ["TASKS", "AnyTask", "get_task", "task_settings"]

AnyTask = (
    Filter
    | DampedOscillation
    | FlipFlop
    | DecisionMaking
    | ContextDecision
    | Teacher
    | ReachingReadout
    | CursorReaching
    | CursorTracking
    | ArrayTask
    | Mixture
)

TASKS: Mapping[str, type[Any]] = MappingProxyType(
    {
        "filter": Filter,
        "damped-oscillation": DampedOscillation,
        "flip-flop": FlipFlop,
        "decision-making": DecisionMaking,
        "context-decision": ContextDecision,
        "teacher": Teacher,
        "reaching": ReachingReadout,
        "cursor-reaching": CursorReaching,
        "cursor-tracking": CursorTracking,
        "arrays": ArrayTask,
    }
)
"""The tasks that ship with predictlearn."""


def task_settings(name: str) -> tuple[str, ...]:
    """Return the names of a task's settings.

    Parameters
    ----------
    name : str
        One of `TASKS`.

    Returns
    -------
    tuple of str
        In the order of the constructor; for ``"arrays"`` also ``file``.

    Raises
    ------
    InputError
        If there is no such task.

    Examples
    --------
    >>> task_settings("filter")
    ('decay', 'amplitude', 'duration', 'dt')
    """
    kind = TASKS[choice("task", name, TASKS)]
    names = tuple(field.name for field in fields(kind))
    return ("file", *names) if name == "arrays" else names


def _world(settings: Mapping[str, Any]) -> LinearWorld:
    """Return the world of a mapping of its arguments."""
    allowed = tuple(field.name for field in fields(LinearWorld))
    for key in settings:
        choice("world: a key", key, allowed)
    try:
        return LinearWorld(**settings)
    except TypeError as error:
        raise InputError(f"world lacks a setting: {error}.") from error


def get_task(name: str, **settings: Any) -> AnyTask:
    """Return a task by name.

    Parameters
    ----------
    name : str
        One of `TASKS`: ``"filter"``, ``"damped-oscillation"``, ``"flip-flop"``,
        ``"decision-making"``, ``"context-decision"``, ``"teacher"``, ``"reaching"``,
        ``"cursor-reaching"``, ``"cursor-tracking"`` or ``"arrays"``.
    **settings
        Arguments of the task; what is not given has its published value. ``"arrays"`` takes
        ``file``, an ``.npz``, in place of the arrays themselves, and a ``world`` as the arguments
        of a `LinearWorld`.

    Returns
    -------
    Task
        The task.

    Raises
    ------
    InputError
        If the name, a setting or its value is wrong; the message names the nearest choice.

    Examples
    --------
    >>> get_task("flip-flop", wait=(1, 2), trials=3).wait
    (1.0, 2.0)
    >>> get_task("filter", decai=0.4)
    Traceback (most recent call last):
    ...
    predictlearn.errors.InputError: decai is not a setting of the task 'filter', which has
    decay, amplitude, duration, dt. Did you mean 'decay'?
    """
    allowed = task_settings(name)
    for key in settings:
        if key not in allowed:
            close = nearest(key, allowed)
            hint = f" Did you mean {close!r}?" if close else ""
            raise InputError(
                f"{key} is not a setting of the task {name!r}, which has "
                f"{', '.join(allowed)}.{hint}"
            )
    if "file" in settings:
        if len(settings) > 1:
            raise InputError("file must be the only setting of the task 'arrays' if it is given.")
        return ArrayTask.load(settings["file"])
    if isinstance(settings.get("world"), Mapping):
        settings["world"] = _world(settings["world"])
    try:
        task: AnyTask = TASKS[name](**settings)
    except TypeError as error:
        # only ArrayTask has arguments without a default
        raise InputError(f"the task {name!r} lacks a setting: {error}.") from error
    return task
