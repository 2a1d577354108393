"""Animals that are trained in sessions: a tidy table of what a laboratory would measure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from predictlearn.arrays import Array
from predictlearn.behaviour.animals import Animals, Drawn, draw_animals
from predictlearn.behaviour.base import Behaviour
from predictlearn.behaviour.courses import OutputCourse, OutputCurves, Probe
from predictlearn.behaviour.criterion import Criterion
from predictlearn.behaviour.sessions import TrainingSessions
from predictlearn.behaviour.spread import Experiment, spread_table
from predictlearn.checks import positive_int, seed_sequence
from predictlearn.errors import InputError
from predictlearn.progress import bar
from predictlearn.theory.nonlinearity import Nonlinearity
from predictlearn.theory.overlaps import Overlaps
from predictlearn.theory.trials import Task
from predictlearn.workers import Parallel, delayed

__all__ = ["SimulatedAnimals", "simulate_animals"]

# Animals of one task of the workers.
_BLOCK = 100


@dataclass(frozen=True)
class SimulatedAnimals:
    """What was measured in simulated animals.

    Parameters
    ----------
    table : DataFrame
        Tidy: subject, arm, session (from 1), trial (from 1 over all sessions; of a row a session
        its last), and the outcome. One row a session has trials (in it) and the mean outcome, such
        as percent_correct; one row a trial has stimulus and the outcome of the trial.
    animals : DataFrame
        One row an animal: subject, arm, its own rate and noise, trials, sessions, dropped_out.
    behaviour : Behaviour
        What was measured.
    interpolation_error : float
        How far outputs read between the points of a course are from learning itself, at most, in
        units of the output.
    experiment : Experiment
        What was simulated, for `sources_of_spread`.
    """

    table: pd.DataFrame
    animals: pd.DataFrame
    behaviour: Behaviour
    interpolation_error: float
    experiment: Experiment

    def trials_to_criterion(self, criterion: Criterion) -> pd.DataFrame:
        """Return the trials of every subject to a criterion, see `Criterion.trials_to_criterion`.

        Raises
        ------
        InputError
            If the table has one row a session: ask for ``per_trial=True``.
        """
        if "stimulus" not in self.table:
            raise InputError(
                "a criterion needs one row a trial: simulate_animals(..., per_trial=True)."
            )
        return criterion.trials_to_criterion(self.table, self.behaviour.outcome)

    def sources_of_spread(self, session: int | None = None) -> pd.DataFrame:
        """Say where the spread between animals comes from, in units of the outcome.

        By the law of total variance the variance of an outcome between animals is that of their
        expected outcomes, and the mean variance that a finite number of trials adds. The first is
        taken apart by letting one source differ between animals at a time, with all others at
        their median (overlaps at their mean).

        Parameters
        ----------
        session : int, optional
            Which, from 1; the last if not given. Drop-out is ignored.

        Returns
        -------
        DataFrame
            One row a source: source, variance, standard_error (of the variance, over animals), sd
            (its root, in the outcome's unit), share (of the total), how. "together" is what sources
            do only together, negative where they cancel; "total" is the sum, and "simulated" what
            the simulated animals of this session have.

        Examples
        --------
        >>> import numpy as np
        >>> from predictlearn.behaviour import (
        ...     Animals, Errors, OutputCurves, TrainingSessions, simulate_animals)
        >>> times = np.linspace(0.0, 3.0, 31)
        >>> outputs = np.tile((1 - np.exp(-times))[:, None, None], (200, 1, 1, 1))
        >>> rate = {"distribution": "lognormal", "median": 0.01, "sd_log": 0.3}
        >>> found = simulate_animals(
        ...     OutputCurves(times, outputs, [[1.0]]), None, None, Errors(0.5, "signed"),
        ...     TrainingSessions(2, 50), Animals(rate))
        >>> found.sources_of_spread().source.tolist()
        ['rate', 'together', 'finite trials', 'total', 'simulated']
        """
        last = self.experiment.sessions.number
        session = last if session is None else positive_int("session", session, maximum=last)
        return spread_table(self.experiment, session, self._measured(session))

    def _measured(self, session: int) -> Array:
        """Return the session's outcome of every animal that was in it."""
        rows = self.table[self.table["session"] == session]
        if "stimulus" not in self.table:
            return rows[self.behaviour.summary].to_numpy()
        means = rows.groupby("subject", observed=True)[self.behaviour.outcome].mean()
        return self.behaviour.factor * means.to_numpy()


def simulate_animals(
    cohort: Overlaps | Sequence[Overlaps] | OutputCurves,
    task: Task | None,
    rule: Any,
    behaviour: Behaviour,
    sessions: TrainingSessions,
    animals: Animals | float,
    *,
    nonlinearity: str | Nonlinearity = "linear",
    tau: float = 1.0,
    window: tuple[float, float] | None = None,
    arm: str = "A",
    per_trial: bool = False,
    points: int = 60,
    seed: int | np.random.SeedSequence = 0,
    n_jobs: int = 1,
) -> SimulatedAnimals:
    """Train animals in sessions, and measure their behaviour.

    Every animal is a network that learns by trials; in each trial it is shown one of the task's
    stimuli at random, and its output is turned into behaviour.

    Parameters
    ----------
    cohort : Overlaps, sequence of Overlaps, or OutputCurves
        The animals before training, one a table; one table for all with ``animals.number``; or how
        their outputs go, from any other model.
    task : Task
        What is learned; None with OutputCurves.
    rule : GradientDescent, GradientFlow, FirstOrderDescent or DirectDescent
        How it is learned. Its rate is the step of the integration; None with OutputCurves.
    behaviour : Choices, Errors or CursorProgress
        How outputs become behaviour.
    sessions : TrainingSessions
        Sessions and trials.
    animals : Animals or float
        What differs between animals; a number is the ``rate_per_trial`` of all.
    nonlinearity, tau
        As in `learn`.
    window : (float, float), optional
        When the output is read, seconds; else the bins that the task judges, by their weights.
    arm : str, default "A"
        Name of the group, for the table.
    per_trial : bool, default False
        One row a trial in place of one a session.
    points : int, default 60
        Points of a course at which outputs are worked out, of the animal in the middle.
    seed : int or numpy.random.SeedSequence, default 0
        Seed of animals, trials and noise.
    n_jobs : int, default 1
        Threads. The result does not depend on it.

    Returns
    -------
    SimulatedAnimals
        Tidy tables, and where the spread between animals comes from.

    Raises
    ------
    InputError
        If an argument is out of range, or parts do not go together.
    DivergenceError
        If the learning of an animal diverges, with its number.

    Notes
    -----
    With forgetting every session starts learning anew from overlaps that are partly those of the
    start; momentum and schedules of the rule begin anew as well.

    Examples
    --------
    >>> import numpy as np
    >>> import predictlearn as pl
    >>> from predictlearn.behaviour import Animals, Choices, TrainingSessions, simulate_animals
    >>> start = pl.Overlaps(np.eye(4)).replace(zu=0.1, vm=0.1)
    >>> rate = {"distribution": "lognormal", "median": 1e-3, "sd_log": 0.5}
    >>> found = simulate_animals(
    ...     start, pl.Filter(), pl.GradientDescent(5e-3), Choices(noise=0.1, lapse=0.02),
    ...     TrainingSessions(number=5, trials=200), Animals(rate, number=10))
    >>> found.table.columns.tolist()
    ['subject', 'arm', 'session', 'trial', 'trials', 'percent_correct']
    >>> means = found.table.groupby("session").percent_correct.mean()
    >>> bool(means[1] < means[5] < 98)
    True
    """
    if not isinstance(behaviour, Behaviour):
        raise InputError(
            f"behaviour must be Choices, Errors or CursorProgress; got {type(behaviour).__name__}."
        )
    if not isinstance(sessions, TrainingSessions):
        raise InputError(f"sessions must be TrainingSessions; got {type(sessions).__name__}.")
    if n_jobs != -1:
        positive_int("n_jobs", n_jobs)
    positive_int("points", points, minimum=2)
    who = animals if isinstance(animals, Animals) else Animals(animals)
    drawn_seed, task_seed, trial_seed = seed_sequence(seed).spawn(3)
    starts, n_animals = _cohort(cohort, who)
    drawn = draw_animals(who, starts, n_animals, behaviour, sessions, drawn_seed)
    probe: Probe | None = None
    how: dict[str, Any] = {}
    seeds: list[int] = []
    if isinstance(cohort, OutputCurves):
        targets = cohort.targets
    else:
        probe, how, seeds = _learning(task, rule, nonlinearity, tau, window, n_animals, task_seed)
        targets = probe.targets
    experiment = Experiment(
        behaviour, sessions, drawn, targets, probe, how, points, tuple(seeds), cohort, n_jobs
    )
    with bar("animals learn"):
        courses = experiment.courses(drawn)
    behaviour.judged(courses[0][0].outputs[0], targets)  # one message for outputs of a wrong size
    blocks = [range(i, min(i + _BLOCK, n_animals)) for i in range(0, n_animals, _BLOCK)]
    rngs = [np.random.default_rng(s) for s in trial_seed.spawn(n_animals)]
    each = drawn.behaviours(behaviour)

    def run(block: range) -> list[tuple[Array, np.ndarray]]:
        """Simulate the trials of some animals."""
        return [
            _trials_of(i, courses[i], drawn, sessions, each[i], targets, rngs[i], per_trial)
            for i in block
        ]

    with bar("trials of animals"):
        found = Parallel(n_jobs=n_jobs, prefer="threads", keep=False)(
            delayed(run)(block) for block in blocks
        )
    outcomes = [one for block in found for one in block]
    width = max(len(str(n_animals)), 2)
    subjects = [f"{arm}{i + 1:0{width}d}" for i in range(n_animals)]
    return SimulatedAnimals(
        _table(outcomes, drawn, behaviour, subjects, arm, per_trial),
        drawn.table(subjects, arm),
        behaviour,
        max(course.interpolation_error() for own in courses for course in own),
        experiment,
    )


def _cohort(cohort: Any, who: Animals) -> tuple[list[Overlaps] | None, int]:
    """Return the tables of overlaps, if any, and the number of animals."""
    if isinstance(cohort, OutputCurves):
        if who.number not in (None, cohort.n_animals):
            raise InputError(
                f"number of animals must be that of the curves, {cohort.n_animals}; got "
                f"{who.number}."
            )
        return None, cohort.n_animals
    if isinstance(cohort, Overlaps):
        if who.number is None:
            raise InputError(
                "one table of overlaps needs the number of animals: Animals(number=...)."
            )
        return [cohort] * who.number, who.number
    starts = list(cohort)
    for i, start in enumerate(starts):
        if not isinstance(start, Overlaps):
            raise InputError(
                f"cohort must hold Overlaps, or be OutputCurves; entry {i} is a "
                f"{type(start).__name__}."
            )
    if not starts or who.number not in (None, len(starts)):
        raise InputError(
            f"cohort must have one table an animal; got {len(starts)} tables and "
            f"number={who.number}."
        )
    return starts, len(starts)


def _learning(
    task: Any,
    rule: Any,
    nonlinearity: Any,
    tau: float,
    window: tuple[float, float] | None,
    n_animals: int,
    seed: np.random.SeedSequence,
) -> tuple[Probe, dict[str, Any], list[int]]:
    """Return what outputs are read in, how animals learn, and the seeds of their trials."""
    if not isinstance(task, Task):
        raise InputError(
            "task must have n_in, n_out, dt, fixed and sample(rng), as pl.Filter() has; got "
            f"{type(task).__name__}."
        )
    if rule is None:
        raise InputError("rule must be a learning rule such as pl.GradientDescent(5e-3); got None.")
    words = seed.generate_state(n_animals + 1)
    # all networks of a task with fixed trials learn side by side
    first = int(words[0])
    seeds = [first] * n_animals if task.fixed else [int(word) for word in words[1:]]
    trials = task.sample(np.random.default_rng(first))
    how = {"task": task, "rule": rule, "nonlinearity": nonlinearity, "tau": tau}
    return Probe(trials, nonlinearity, tau, window), how, seeds


def _trials_of(
    i: int,
    courses: list[OutputCourse],
    drawn: Drawn,
    sessions: TrainingSessions,
    behaviour: Behaviour,
    targets: Array,
    rng: np.random.Generator,
    per_trial: bool,
) -> tuple[Array, np.ndarray]:
    """Return outcomes and stimuli of all trials of one animal, or session means and nothing."""
    n = int(drawn.completed[i])
    counts = drawn.counts[i, :n]
    before = np.repeat(np.cumsum(counts) - counts, counts)
    trial = np.arange(counts.sum())
    within = trial - before
    stimuli = rng.integers(len(targets), size=len(trial))
    if len(courses) == 1:
        outputs = courses[0].at(drawn.rates[i] * trial, stimuli)
    else:
        cuts = np.cumsum(counts)[:-1]
        parts = zip(np.split(within, cuts), np.split(stimuli, cuts), courses, strict=False)
        outputs = np.concatenate([c.at(drawn.rates[i] * w, s) for w, s, c in parts])
    if sessions.warm_up:
        naive = courses[0].outputs[0, stimuli]
        outputs = naive + (1 - sessions.missing(within))[:, None] * (outputs - naive)
    judged = behaviour.judged(outputs, targets[stimuli])
    deviation = np.repeat(drawn.deviations[i, :n], counts) if sessions.performance_noise else 0.0
    outcomes = behaviour.draw(judged, rng, deviation)
    if per_trial:
        return outcomes, stimuli
    sums = np.add.reduceat(outcomes, np.cumsum(counts) - counts)
    return behaviour.factor * sums / counts, np.empty(0)


def _table(
    outcomes: list[tuple[Array, np.ndarray]],
    drawn: Drawn,
    behaviour: Behaviour,
    subjects: list[str],
    arm: str,
    per_trial: bool,
) -> pd.DataFrame:
    """Return the tidy table."""
    done = drawn.completed
    counts = [c[:n] for c, n in zip(drawn.counts, done, strict=True)]
    session = np.concatenate([np.arange(n) + 1 for n in done])
    rows = np.array([c.sum() for c in counts]) if per_trial else done
    who = pd.Categorical.from_codes(np.repeat(np.arange(len(subjects)), rows), categories=subjects)
    table = pd.DataFrame({"subject": who})
    table["arm"] = pd.Categorical.from_codes(np.zeros(len(table), dtype=np.int8), categories=[arm])
    values = np.concatenate([own for own, _ in outcomes])
    if per_trial:
        # short integers: there may be ten million rows
        table["session"] = np.repeat(session.astype(np.int32), np.concatenate(counts))
        table["trial"] = np.concatenate([np.arange(c.sum(), dtype=np.int32) + 1 for c in counts])
        table["stimulus"] = np.concatenate([own.astype(np.int32) for _, own in outcomes])
        table[behaviour.outcome] = values
    else:
        table["session"] = session
        table["trial"] = np.concatenate([np.cumsum(c) for c in counts])
        table["trials"] = np.concatenate(counts)
        table[behaviour.summary] = values
    return table
