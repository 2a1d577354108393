"""Courses of outputs: what networks give on the task's trials as learning goes on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from predictlearn.arrays import Array
from predictlearn.behaviour.base import response_weights
from predictlearn.behaviour.outputs import mean_outputs
from predictlearn.checks import as_float_array
from predictlearn.errors import InputError
from predictlearn.theory.activity import Batch, check_fit
from predictlearn.theory.learning.many import learn_many
from predictlearn.theory.learning.rules import GradientFlow
from predictlearn.theory.learning.together import FAILURES
from predictlearn.theory.learning.trajectory import Trajectory
from predictlearn.theory.nonlinearity import Nonlinearity
from predictlearn.theory.overlaps import Overlaps
from predictlearn.theory.trials import Trials
from predictlearn.workers import Parallel, delayed

__all__ = ["OutputCurves", "Probe", "learned_courses"]

# Animals of one call of `learn_many`, sorted by how long they learn.
_GROUP = 64


@dataclass(frozen=True)
class OutputCurves:
    """Outputs of animals by learning time, in place of overlaps that learn: any model's, or data's.

    Parameters
    ----------
    times : array_like, (points,)
        Learning time, from 0 on and increasing; an animal's trial takes its ``rate_per_trial``.
    outputs : array_like, (animals, points, stimuli, n_out)
        Output of each animal to each stimulus.
    targets : array_like, (stimuli, n_out)
        What it should give.

    Raises
    ------
    InputError
        If shapes disagree, or times do not start at 0 and increase.

    Examples
    --------
    >>> import numpy as np
    >>> times = np.linspace(0.0, 5.0, 51)
    >>> outputs = np.tile((1 - np.exp(-times))[:, None, None], (10, 1, 1, 1))
    >>> OutputCurves(times, outputs, [[1.0]]).n_animals
    10
    """

    times: Any
    outputs: Any
    targets: Any

    def __post_init__(self) -> None:
        times = as_float_array("times", self.times, ndim=1)
        axes = "(animals, points, stimuli, n_out)"
        outputs = as_float_array(
            "outputs", self.outputs, shape=(None, len(times), None, None), axes=axes
        )
        if len(times) < 2 or times[0] != 0 or np.any(np.diff(times) <= 0):
            raise InputError("times must start at 0 and increase, with two points at least.")
        if 0 in outputs.shape:
            raise InputError(
                f"outputs need an animal, a stimulus and an output; got {outputs.shape}."
            )
        targets = as_float_array(
            "targets", self.targets, shape=outputs.shape[2:], axes="(stimuli, n_out)"
        )
        for name, value in (("times", times), ("outputs", outputs), ("targets", targets)):
            object.__setattr__(self, name, value)

    @property
    def n_animals(self) -> int:
        """Number of animals."""
        return int(self.outputs.shape[0])

    @classmethod
    def from_trajectories(
        cls,
        trajectories: Sequence[Trajectory],
        trials: Trials,
        nonlinearity: str | Nonlinearity = "linear",
        tau: float = 1.0,
        window: tuple[float, float] | None = None,
    ) -> OutputCurves:
        """Return the outputs of networks along learning of any kind, such as several phases.

        Learning time is counted in the epochs of the trajectories (for gradient flow in its
        learning time), so that ``rate_per_trial`` is in epochs a trial.

        Parameters
        ----------
        trajectories : sequence of Trajectory
            One an animal, all with the same epochs kept.
        trials : Trials
            The trials to read outputs in, without learning: of the task learned, or of a probe.
        nonlinearity, tau
            As in `learn`.
        window : (float, float), optional
            As of `response_means`.

        Returns
        -------
        OutputCurves
            One curve an animal.

        Raises
        ------
        InputError
            If trajectories have not the same epochs, or do not fit the trials.

        Examples
        --------
        >>> import numpy as np
        >>> import predictlearn as pl
        >>> start = pl.Overlaps(np.eye(4)).replace(zu=0.1, vm=0.1)
        >>> learned = pl.learn(start, pl.Filter(), pl.GradientDescent(5e-3), 50)
        >>> trials = pl.Filter().sample(np.random.default_rng(0))
        >>> OutputCurves.from_trajectories([learned], trials).outputs.shape
        (1, 51, 1, 1)
        """
        own = list(trajectories)
        if not own:
            raise InputError("trajectories must hold one an animal; got none.")
        for i, each in enumerate(own):
            if not isinstance(each, Trajectory):
                raise InputError(
                    f"trajectories must hold Trajectory, as learn returns; entry {i} is a "
                    f"{type(each).__name__}."
                )
            if not np.array_equal(each.epochs, own[0].epochs):
                raise InputError(
                    f"trajectories must have the same epochs kept; entry {i} has others than "
                    "entry 0. Choose one number of epochs, and one `every`."
                )
            check_fit(each.start, trials.n_in, trials.n_out, "the batch of trials")
        probe = Probe(trials, nonlinearity, tau, window)
        outputs = [probe.outputs(each.array, each.sizes) for each in own]
        return cls(own[0].epochs, np.array(outputs), probe.targets)

    def courses(self) -> list[list[OutputCourse]]:
        """Return the course of every animal."""
        return [[OutputCourse(self.times, own)] for own in self.outputs]


@dataclass(frozen=True)
class OutputCourse:
    """Outputs of one animal by learning time, (points, stimuli, n_out)."""

    times: Array
    outputs: Array

    def at(self, times: Array, stimuli: np.ndarray) -> Array:
        """Return outputs at learning times, each to its own stimulus, by linear interpolation."""
        i, part = self._place(times)
        low, high = self.outputs[i, stimuli], self.outputs[i + 1, stimuli]
        return np.asarray(low + part[:, None] * (high - low))

    def all_at(self, times: Array) -> Array:
        """Return outputs at learning times to every stimulus, (times, stimuli, n_out)."""
        i, part = self._place(times)
        low, high = self.outputs[i], self.outputs[i + 1]
        return np.asarray(low + part[:, None, None] * (high - low))

    def _place(self, times: Array) -> tuple[np.ndarray, Array]:
        """Return the point before each time, and how far it is on the way to the next."""
        i = np.clip(np.searchsorted(self.times, times, side="right") - 1, 0, len(self.times) - 2)
        part = (times - self.times[i]) / (self.times[i + 1] - self.times[i])
        return i, np.clip(part, 0.0, 1.0)

    def interpolation_error(self) -> float:
        """Return how far outputs may be from lines between points: a quarter of the worst bend."""
        if len(self.times) < 3:
            return 0.0
        t, y = self.times, self.outputs
        part = ((t[1:-1] - t[:-2]) / (t[2:] - t[:-2]))[:, None, None]
        return float(np.max(np.abs(y[:-2] + part * (y[2:] - y[:-2]) - y[1:-1]))) / 4


class Probe:
    """The trials that outputs are read in, without learning: drawn once from the task.

    Parameters
    ----------
    trials : Trials
        The trials.
    nonlinearity, tau
        As in `learn`.
    window : (float, float), optional
        As of `response_means`.
    """

    def __init__(
        self,
        trials: Trials,
        nonlinearity: Any,
        tau: float,
        window: tuple[float, float] | None,
    ) -> None:
        if not trials.is_observed_directly:
            raise InputError(
                "task must judge the network's output itself here; for one whose output moves a "
                "world or is smoothed, give OutputCurves in place of overlaps."
            )
        self.ready = Batch(trials, nonlinearity, tau)
        share = response_weights(trials, window)
        self.targets = np.sum(share * trials.targets, axis=1)
        self.weights = np.ascontiguousarray(np.moveaxis(share, 0, 2))

    def outputs(self, matrices: Array, sizes: tuple[int, int, int]) -> Array:
        """Return mean outputs, (rows, trials, n_out), of overlap matrices (rows, D, D)."""
        ready = self.ready
        rows = np.require(matrices, requirements=["C", "W"])
        n_in, rank, n_out = sizes
        return np.asarray(
            mean_outputs(rows, n_in, rank, n_out, ready.a, ready.gain, ready.k_m, self.weights)
        )


def learned_courses(
    starts: Sequence[Overlaps],
    lengths: Array,
    retention: float,
    probe: Probe,
    how: dict[str, Any],
    points: int,
    seeds: Sequence[int],
    n_jobs: int,
) -> list[list[OutputCourse]]:
    """Return the course of every animal: one over all sessions, or one a session if it forgets.

    Parameters
    ----------
    starts : sequence of Overlaps
        The animals before training.
    lengths : numpy.ndarray, (animals, sessions)
        Learning time of every session.
    retention : float
        What is kept between sessions.
    probe : Probe
        What outputs are read in.
    how : dict
        task, rule, nonlinearity and tau, as of `learn`.
    points : int
        Points of a course, of the animal in the middle.
    seeds : sequence of int
        Seed of every animal.
    n_jobs : int
        Threads.

    Returns
    -------
    list of list of OutputCourse
        By animal and session.
    """
    if retention == 1.0:
        whole = lengths.sum(axis=1)
        found, _ = _learned(starts, whole, probe, how, points, seeds, n_jobs)
        return [[course] for course in found]
    courses: list[list[OutputCourse]] = [[] for _ in starts]
    now = list(starts)
    each = max(2, -(-points // lengths.shape[1]))
    for session in range(lengths.shape[1]):
        found, ends = _learned(now, lengths[:, session], probe, how, each, seeds, n_jobs)
        for own, course in zip(courses, found, strict=True):
            own.append(course)
        now = [
            Overlaps(start.matrix + retention * (end - start.matrix), *start.sizes)
            for start, end in zip(starts, ends, strict=True)
        ]
    return courses


def _learned(
    starts: Sequence[Overlaps],
    lengths: Array,
    probe: Probe,
    how: dict[str, Any],
    points: int,
    seeds: Sequence[int],
    n_jobs: int,
) -> tuple[list[OutputCourse], list[Array]]:
    """Return courses over given learning times, and the overlap matrices at their ends."""
    order = np.argsort(lengths, kind="stable")
    groups = [order[i : i + _GROUP] for i in range(0, len(order), _GROUP)]
    rule = how["rule"]
    flows = isinstance(rule, GradientFlow)
    unit = 1.0 if flows else rule.rate
    # the same spacing for all, so that an animal's course does not depend on its neighbours
    every = 1 if flows else max(1, int(np.ceil(np.median(lengths) / unit / points)))

    def run(group: np.ndarray) -> list[tuple[OutputCourse, Array]]:
        """Learn with animals of similar length side by side."""
        longest = float(lengths[group].max())
        steps = max(1, int(np.ceil(longest / unit / every - 1e-9))) * every
        outcomes = learn_many(
            [starts[i] for i in group],
            how["task"],
            rule,
            longest if flows else steps,
            how["nonlinearity"],
            how["tau"],
            [seeds[i] for i in group],
            every,
        )
        made = []
        for i, outcome in zip(group, outcomes, strict=True):
            if isinstance(outcome, FAILURES):
                raise type(outcome)(f"animal {i}: {outcome}", *outcome.args[1:])
            times = outcome.epochs * unit
            # up to the first point that is late enough
            last = min(int(np.searchsorted(times, lengths[i] - 1e-12)) + 1, len(times))
            rows = outcome.array[: max(last, 2)]
            course = OutputCourse(times[: len(rows)], probe.outputs(rows, outcome.sizes))
            made.append((course, _matrix_at(outcome, times, float(lengths[i]))))
        return made

    found = Parallel(n_jobs=n_jobs, prefer="threads", keep=False)(
        delayed(run)(group) for group in groups
    )
    flat = [one for group in found for one in group]
    courses: list[Any] = [None] * len(order)
    ends: list[Any] = [None] * len(order)
    for i, (course, end) in zip(order, flat, strict=True):
        courses[i], ends[i] = course, end
    return courses, ends


def _matrix_at(learned: Trajectory, times: Array, time: float) -> Array:
    """Return the overlap matrix at a learning time; one between two others is realisable."""
    i = int(np.clip(np.searchsorted(times, time, side="right") - 1, 0, len(times) - 2))
    part = float(np.clip((time - times[i]) / (times[i + 1] - times[i]), 0.0, 1.0))
    return np.asarray(learned.array[i] + part * (learned.array[i + 1] - learned.array[i]))
