"""Mixture: several tasks learned at once, trials of all in every epoch or one task an epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np

from predictlearn.checks import positive
from predictlearn.errors import InputError, choice
from predictlearn.tasks.trial_windows import Freezable
from predictlearn.theory.trials import Task, Trials
from predictlearn.theory.world import LinearWorld

__all__ = ["MIXTURES", "Mixture"]

MIXTURES = ("interleaved", "drawn")
"""How tasks are mixed: trials of all in every epoch, or one task an epoch."""

# of the probabilities of drawn tasks, which people write with few digits
_ROUNDING = 1e-6


@dataclass(frozen=True, eq=False)
class Mixture(Freezable):
    """Several tasks learned at once.

    Interleaved, every epoch shows the trials of all tasks, and its loss is the weighted sum of the
    tasks' losses, ``sum_k weight_k loss_k``: exact, and the same in every epoch where all tasks
    show the same trials. Drawn, every epoch shows one task, picked with probability ``weight_k``,
    with its own loss.

    Parameters
    ----------
    tasks : sequence of Task
        At least two, with the same numbers of inputs and outputs, the same bins, the same observer
        and the same world.
    weights : sequence of float
        One a task, positive; the probabilities where tasks are drawn, which add up to 1.
    mixture : {"interleaved", "drawn"}, default "interleaved"
        How the tasks are mixed.

    Raises
    ------
    InputError
        If there are fewer than two tasks, a weight is not positive, or the tasks do not fit each
        other; the message says which and how.

    Examples
    --------
    >>> import predictlearn as pl
    >>> both = Mixture([pl.Filter(decay=0.2), pl.Filter(decay=0.4)], [0.5, 0.5])
    >>> both.fixed, both.sample().n_trials
    (True, 2)
    >>> start = pl.Overlaps(np.eye(4)).replace(zu=0.1, vm=0.1)
    >>> apart = [pl.learn(start, task, pl.GradientDescent(5e-3), 1).losses[0]
    ...          for task in both.tasks]
    >>> together = pl.learn(start, both, pl.GradientDescent(5e-3), 1).losses[0]
    >>> bool(abs(together - 0.5 * sum(apart)) < 1e-12)
    True
    """

    tasks: Sequence[Task]
    weights: Sequence[float]
    mixture: str = "interleaved"

    def __post_init__(self) -> None:
        for name in ("tasks", "weights"):
            if isinstance(getattr(self, name), str | Mapping):
                raise InputError(
                    f"{name} must be a list; got {type(getattr(self, name)).__name__}."
                )
        tasks = tuple(self.tasks)
        choice("mixture", self.mixture, MIXTURES)
        if len(tasks) < 2:
            raise InputError(f"a mixture needs at least two tasks; got {len(tasks)}.")
        for number, task in enumerate(tasks):
            if not isinstance(task, Task):
                raise InputError(
                    "tasks must have n_in, n_out, dt, fixed and sample(rng), as pl.Filter() has; "
                    f"item {number} is {type(task).__name__}."
                )
        weights = tuple(positive(f"weights[{k}]", w) for k, w in enumerate(self.weights))
        if len(weights) != len(tasks):
            raise InputError(f"weights must be one a task, {len(tasks)}; got {len(weights)}.")
        if self.mixture == "drawn" and abs(sum(weights) - 1) > _ROUNDING:
            raise InputError(
                "the weights of drawn tasks are their probabilities, which must add up to 1; "
                f"{', '.join(f'{w:g}' for w in weights)} add up to {sum(weights):g}."
            )
        object.__setattr__(self, "tasks", tasks)
        object.__setattr__(self, "weights", weights)
        rng = np.random.default_rng(0)
        first, *others = (task.sample(rng) for task in tasks)
        for number, trials in enumerate(others, start=1):
            _check_alike(first, trials, number)
        object.__setattr__(self, "_seen", first)

    @property
    def n_in(self) -> int:
        """Number of inputs."""
        return int(self.tasks[0].n_in)

    @property
    def n_out(self) -> int:
        """Number of outputs."""
        return int(self.tasks[0].n_out)

    @property
    def dt(self) -> float:
        """Bin width in seconds."""
        return float(self.tasks[0].dt)

    @property
    def world(self) -> LinearWorld | None:
        """The world of the tasks, or None."""
        trials: Trials = self.__dict__["_seen"]
        return trials.world

    @property
    def fixed(self) -> bool:
        """Whether every epoch shows the same trials: those of fixed tasks, interleaved."""
        return self.mixture == "interleaved" and all(task.fixed for task in self.tasks)

    @cached_property
    def _fixed_trials(self) -> Trials:
        """The trials of fixed tasks, interleaved."""
        return self._together(np.random.default_rng(0))

    def _together(self, rng: np.random.Generator) -> Trials:
        """Return the trials of all tasks, their weights multiplied by those of the tasks."""
        parts = [task.sample(rng) for task in self.tasks]
        first = parts[0]
        scaled = [w * part.weights for w, part in zip(self.weights, parts, strict=True)]
        return Trials(
            np.concatenate([part.inputs for part in parts]),
            np.concatenate([part.targets for part in parts]),
            np.concatenate(scaled),
            first.dt,
            first.offset,
            first.smoothing,
            world=first.world,
        )

    def sample(self, rng: np.random.Generator | None = None) -> Trials:
        """Draw the trials of one epoch.

        Parameters
        ----------
        rng : numpy.random.Generator, optional
            Source of randomness; not needed by a fixed mixture, of which nothing is drawn. A
            generator of seed 0 if not given.

        Returns
        -------
        Trials
            Of all tasks, in their order, or of the one that was drawn.
        """
        if self.fixed:
            return self._fixed_trials
        rng = np.random.default_rng(0) if rng is None else rng
        if self.mixture == "interleaved":
            return self._together(rng)
        edges = np.cumsum(self.weights)[:-1]
        return self.tasks[int(np.searchsorted(edges, rng.random(), side="right"))].sample(rng)


def _same(a: Any, b: Any) -> bool:
    """Return whether two arrays, or two worlds, say the same."""
    if isinstance(a, LinearWorld) and isinstance(b, LinearWorld):
        return all(_same(getattr(a, f.name), getattr(b, f.name)) for f in fields(LinearWorld))
    if a is None or b is None or isinstance(a, LinearWorld) or isinstance(b, LinearWorld):
        return a is b
    return np.array_equal(a, b)


def _check_alike(first: Trials, trials: Trials, number: int) -> None:
    """Raise unless the trials of two tasks can stand in one batch."""
    for name, here, there in (
        ("input(s)", first.n_in, trials.n_in),
        ("output(s)", first.n_out, trials.n_out),
    ):
        if here != there:
            raise InputError(
                "tasks of a mixture must have the same numbers of inputs and outputs: the first "
                f"has {here} {name}, number {number + 1} has {there}."
            )
    if first.dt != trials.dt:
        raise InputError(
            f"tasks of a mixture must have the same bin width dt: the first has {first.dt:g} s, "
            f"number {number + 1} has {trials.dt:g} s. State dt in both."
        )
    if first.n_steps != trials.n_steps:
        raise InputError(
            "tasks of a mixture must have the same duration: a trial of the first has "
            f"{first.n_steps} bins ({first.n_steps * first.dt:g} s), one of number {number + 1} "
            f"{trials.n_steps} ({trials.n_steps * trials.dt:g} s). State duration in both."
        )
    for name in ("offset", "smoothing", "world"):
        if not _same(getattr(first, name), getattr(trials, name)):
            what = "world" if name == "world" else f"observer ({name})"
            raise InputError(
                f"tasks of a mixture must be judged alike, by one {what}: those of the first and "
                f"of number {number + 1} differ."
            )
