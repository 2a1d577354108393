"""What the experiments train: the recorded task, one of ours, or a whole protocol."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from predictlearn.errors import InputError, nearest
from predictlearn.pipeline.recorded_task import (
    Change,
    recorded_task,
    settings_of,
    wanted_outputs,
)
from predictlearn.protocol import Protocol
from predictlearn.recordings.recording import Recording
from predictlearn.tasks.arrays import ArrayTask
from predictlearn.tasks.filter import Filter
from predictlearn.tasks.registry import TASKS, get_task, task_settings
from predictlearn.theory.trials import Task, Trials

if TYPE_CHECKING:
    from predictlearn.pipeline.fitted import FittedNetwork

__all__ = ["TaskChoice", "choose_task", "parse_task"]

_RECORDED, _UNKNOWN = "recorded", "unknown"
_PROTOCOL = (".yaml", ".yml")


@dataclass(frozen=True)
class TaskChoice:
    """A task to learn, or a protocol to run.

    Parameters
    ----------
    name : str
        ``"recorded"``, a task's name, or that of a protocol.
    task : Task or None
        One of ours; None for the recorded task and for a protocol.
    protocol : Protocol or None
        A protocol.
    change : Change
        What is changed of the desired output of the recorded task.
    target : numpy.ndarray or None
        A stated target of the recorded task.
    words : str
        The task, in words that follow "learn".
    why : str
        Why this task, and how it was made, in a sentence or two.
    """

    name: str
    task: Any = None
    protocol: Protocol | None = None
    change: Change = field(default_factory=lambda: Change("none"))
    target: np.ndarray | None = None
    words: str = ""
    why: str = ""

    @property
    def unknown(self) -> bool:
        """Whether nothing is known of the task, not even a readout."""
        return self.name == _UNKNOWN

    def tasks(self, fitted: FittedNetwork) -> tuple[tuple[Task, str], tuple[Task, str]]:
        """Return the task to learn and a second one, each with its words.

        Parameters
        ----------
        fitted : FittedNetwork
            The recording with the network fitted to it.

        Returns
        -------
        tuple of (Task, str)
            The task, and the same with another desired output.
        """
        n_out = fitted.recording.n_out
        if self.task is not None and getattr(self.task, "world", None) is not None:
            # of what is read of the world, such as the two coordinates of a cursor
            n_out = self.task.world.n_read
        other = self.change.other() if self.change.kind != "none" else first_change(n_out)
        if self.unknown:
            return tuple(  # type: ignore[return-value]
                (brief_filter(fitted, decay), f"filter a brief input (decay {decay:g} / tau)")
                for decay in (0.2, 0.4)
            )
        if self.name == _RECORDED:
            made = [
                recorded_task(fitted.recording, fitted.model, self.target, change)
                for change in (self.change, other)
            ]
            words = [_recorded_words(self.target, change) for change in (self.change, other)]
            return (made[0], words[0]), (made[1], words[1])
        task = self.task.freeze(0) if not self.task.fixed else self.task
        turned = changed_target(task, other)
        return (task, self.words), (turned, f"{self.words}, with {other.said}")


def brief_filter(fitted: FittedNetwork, decay: float) -> ArrayTask:
    """Return the filter task in a network's own times and units: a brief first input, filtered.

    Parameters
    ----------
    fitted : FittedNetwork
        For the time constant, the bins and the length of the first input vector.
    decay : float
        Rate of decay, per time constant.

    Returns
    -------
    ArrayTask
        One trial of twenty time constants.
    """
    recording, tau = fitted.recording, float(fitted.model.tau_)
    trials = Filter(decay / tau, 1.0 / tau, 20.0 * tau, min(recording.dt, tau / 5)).sample()
    inputs = np.zeros((1, trials.inputs.shape[1], recording.n_in))
    length = float(np.sqrt(np.nanmean(fitted.model.m_[:, 0] ** 2)))
    inputs[:, :, 0] = trials.inputs[:, :, 0] / (length or 1.0)
    return ArrayTask(inputs, trials.targets, trials.weights, trials.dt)


def first_change(n_out: int) -> Change:
    """Return the change of the desired output that is made where none is stated."""
    return Change("reversed") if n_out == 1 else Change("rotated")


def _recorded_words(target: np.ndarray | None, change: Change) -> str:
    """Return the recorded task in words."""
    what = "the recorded task" if target is None else "the stated target"
    return what if change.kind == "none" else f"{what} with {change.said}"


def changed_target(task: Task, change: Change) -> ArrayTask:
    """Return a task of fixed trials with another desired output."""
    trials: Trials = task.sample(np.random.default_rng(0))
    matrix = change.matrix(trials.targets.shape[2])
    return ArrayTask(
        trials.inputs,
        trials.targets @ matrix.T,
        trials.weights,
        trials.dt,
        trials.offset,
        trials.smoothing,
        trials.world,
    )


def parse_task(text: str) -> tuple[str, dict[str, Any]]:
    """Return a task's name and settings from text such as ``filter:decay=0.3,duration=10``.

    Parameters
    ----------
    text : str
        A name, or a name, a colon, and settings; values as in YAML.

    Returns
    -------
    name, settings
        As `get_task` takes them.

    Raises
    ------
    InputError
        If a setting is not KEY=VALUE, or its value no YAML.

    Examples
    --------
    >>> parse_task("flip-flop:wait=[1, 2],trials=4")
    ('flip-flop', {'wait': [1, 2], 'trials': 4})
    """
    import yaml

    name, _, rest = text.partition(":")
    settings: dict[str, Any] = {}
    # commas within brackets belong to a value
    for part in re.split(r",(?![^\[]*\])", rest) if rest.strip() else ():
        key, equals, value = part.partition("=")
        if not equals or not key.strip() or not value.strip():
            raise InputError(
                f"task must be NAME:KEY=VALUE,KEY=VALUE, for example filter:decay=0.3; got {text!r}"
            )
        try:
            settings[key.strip()] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise InputError(f"task {name}: {key.strip()}={value!r} is not YAML.") from error
    return name.strip(), settings


def choose_task(task: Any, recording: Recording, n_out: int) -> TaskChoice:
    """Return what the experiments train, checked against a recording before it is fitted.

    Parameters
    ----------
    task : str, path, Task, Protocol or None
        ``"recorded"``, one of ours by name, each with settings after a colon; a protocol file
        (.yaml) or a `Protocol`; or any task. None: the recorded task.
    recording : Recording
        The recording.
    n_out : int
        Outputs of the network.

    Returns
    -------
    TaskChoice
        The choice.

    Raises
    ------
    InputError
        If there is no such task, a setting is wrong, or inputs and outputs do not agree.
    """
    sizes = (recording.n_in, n_out)
    if isinstance(task, Path) or (isinstance(task, str) and task.endswith(_PROTOCOL)):
        task = Protocol.load(task)
    if isinstance(task, Protocol):
        agree(f"protocol {task.name!r}", (task.sizes.n_in, task.sizes.n_out), sizes)
        return TaskChoice(task.name, protocol=task, words=f"protocol {task.name}")
    if task is not None and not isinstance(task, str):
        if not isinstance(task, Task):
            raise InputError(
                "task must be a name, a protocol or a task such as pl.Filter(); "
                f"got {type(task).__name__}."
            )
        name = type(task).__name__
        agree(f"the task {name}", (task.n_in, task.n_out), sizes)
        return TaskChoice(name, task=task, words=f"the task {name}", why="The task was given.")
    if task is None and n_out == 0:
        return TaskChoice(
            _UNKNOWN,
            words="filter a brief input",
            why="The recording has no outputs, so nothing is known of its task or its readout. "
            "The networks learn to filter a brief first input, through a new readout that nothing "
            "has trained yet (no overlap with m and u, length one): an assumption. Outputs in the "
            "recording, or `--task` (in Python `task=`), would make the prediction one about it.",
        )
    name, settings = parse_task(task or _RECORDED)
    if name == _RECORDED:
        return _recorded(settings, recording, n_out, stated=task is not None)
    return _ours(name, settings, recording, sizes)


def _recorded(
    settings: Mapping[str, Any], recording: Recording, n_out: int, stated: bool
) -> TaskChoice:
    """Return the choice of the recorded task."""
    change, target = settings_of(settings)
    if change is None:
        # a network does what it was recorded doing; a stated target it may still have to learn
        change = first_change(n_out) if target is None else Change("none")
    change.matrix(n_out)
    wanted_outputs(recording, target)
    why = (
        "The task is the recorded one: the recording's own inputs, and as desired output "
        + ("its outputs" if target is None else "the stated target")
        + ", averaged over trials with the same inputs"
        + (f", with {change.said}" if change.kind != "none" else "")
        + ". "
    )
    if change.kind != "none":
        why += (
            "To the network that is the same as the inverse change of its readout with the desired "
            "output as it was. "
        )
    why += "`--task` (in Python `task=`) states another task."
    words = _recorded_words(target, change)
    return TaskChoice(
        _RECORDED, change=change, target=target, words=words, why=why if stated or why else ""
    )


def _ours(
    name: str, settings: dict[str, Any], recording: Recording, sizes: tuple[int, int]
) -> TaskChoice:
    """Return the choice of one of our tasks by name."""
    known = [_RECORDED, *TASKS]
    if name not in known:
        close = nearest(name, known)
        hint = f" Did you mean {close!r}?" if close else ""
        raise InputError(
            f"task must be one of {', '.join(known)}, or a protocol file (.yaml); got {name!r}."
            f"{hint}"
        )
    # in the recording's own bins, which its time constant can be resolved in
    if "dt" in task_settings(name) and "dt" not in settings and name != "arrays":
        settings = {**settings, "dt": recording.dt}
    task = get_task(name, **settings)
    agree(f"the task {name!r}", (task.n_in, task.n_out), sizes)
    shown = ", ".join(f"{key} {value}" for key, value in settings.items())
    return TaskChoice(
        name,
        task=task,
        words=f"the task {name} ({shown})",
        why=f"The task is {name} ({shown}), as asked for, in the recording's units of inputs and "
        "outputs.",
    )


def agree(what: str, has: tuple[int, int], needs: tuple[int, int]) -> None:
    """Refuse a task with other inputs or outputs than the recording."""
    if has != needs:
        raise InputError(
            f"{what} has {has[0]} input(s) and {has[1]} output(s), the recording {needs[0]} and "
            f"{needs[1]}. Take task 'recorded', or a task with as many."
        )
