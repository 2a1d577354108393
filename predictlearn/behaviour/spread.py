"""Where the spread between animals comes from: one source at a time, and finite trials."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from predictlearn.arrays import Array
from predictlearn.behaviour.animals import Drawn
from predictlearn.behaviour.base import Behaviour
from predictlearn.behaviour.courses import OutputCourse, OutputCurves, Probe, learned_courses
from predictlearn.behaviour.sessions import TrainingSessions
from predictlearn.errors import InputError
from predictlearn.theory.overlaps import Overlaps

__all__ = ["Experiment", "spread_table"]

# Trials of a session at which the expected outcome is worked out, evenly spaced.
_PLACES = 25
_AT_A_TIME = "differs alone, all else at its median"


@dataclass(frozen=True)
class Experiment:
    """What was simulated.

    Parameters
    ----------
    behaviour, sessions
        As of `simulate_animals`.
    drawn : Drawn
        What differs between animals.
    targets : numpy.ndarray, (stimuli, n_out)
        What is asked.
    probe : Probe or None
        What outputs are read in; None with curves.
    how : dict
        task, rule, nonlinearity and tau.
    points, seeds, n_jobs
        As of `learned_courses`.
    cohort : Any
        What was given; OutputCurves are kept as they are.
    """

    behaviour: Behaviour
    sessions: TrainingSessions
    drawn: Drawn
    targets: Array
    probe: Probe | None
    how: dict[str, Any]
    points: int
    seeds: tuple[int, ...]
    cohort: Any
    n_jobs: int

    def courses(self, drawn: Drawn) -> list[list[OutputCourse]]:
        """Return the courses of all animals as drawn."""
        if self.probe is None or drawn.starts is None:
            curves: OutputCurves = self.cohort
            self._long_enough(curves, drawn)
            if not drawn.alike:
                return curves.courses()
            mean = replace(curves, outputs=curves.outputs.mean(axis=0)[None])
            return mean.courses() * curves.n_animals
        return learned_courses(
            drawn.starts,
            drawn.lengths,
            self.sessions.retention,
            self.probe,
            self.how,
            self.points,
            self.seeds,
            self.n_jobs,
        )

    def _long_enough(self, curves: OutputCurves, drawn: Drawn) -> None:
        """Raise if training goes on beyond the curves given, or forgets what has no overlaps."""
        needed = float(drawn.lengths.sum(axis=1).max())
        if needed > curves.times[-1] * (1 + 1e-9):
            raise InputError(
                f"times must go on to {needed:.4g}, the rate of the fastest animal times its "
                f"trials; the last is {curves.times[-1]:.4g}."
            )
        if self.sessions.retention != 1.0:
            raise InputError("retention must be 1 with OutputCurves, which hold no overlaps.")

    def expected(
        self, drawn: Drawn, session: int, courses: list[list[OutputCourse]] | None = None
    ) -> tuple[Array, Array]:
        """Return expected outcome of a session (from 1), and its variance by finite trials."""
        courses = self.courses(drawn) if courses is None else courses
        each = drawn.behaviours(self.behaviour)
        means, variances = np.empty((2, len(drawn.rates)))
        for i, own in enumerate(courses):
            count, before = (
                int(drawn.counts[i, session - 1]),
                int(drawn.counts[i, : session - 1].sum()),
            )
            within = (np.arange(min(_PLACES, count)) + 0.5) / min(_PLACES, count) * count - 0.5
            course = own[0] if len(own) == 1 else own[session - 1]
            trial = within if len(own) > 1 else before + within
            outputs = course.all_at(drawn.rates[i] * trial)
            if self.sessions.warm_up:
                naive = own[0].outputs[:1]
                kept = 1 - self.sessions.missing(within)[:, None, None]
                outputs = naive + kept * (outputs - naive)
            judged = each[i].judged(outputs, self.targets)
            mean, variance = each[i].moments(judged, drawn.deviations[i, session - 1])
            # which stimulus comes is chance, too; the trial's place in the session is not
            total = np.mean(variance, axis=1) + np.var(mean, axis=1)
            means[i], variances[i] = np.mean(mean), np.mean(total) / count
        factor = self.behaviour.factor
        return factor * means, factor**2 * variances


def spread_table(experiment: Experiment, session: int, measured: Array) -> pd.DataFrame:
    """Return the table of `SimulatedAnimals.sources_of_spread`."""
    drawn = experiment.drawn
    n = len(drawn.rates)
    if n < 3:
        raise InputError(f"spread between animals needs three animals at least; got {n}.")
    means, finite = experiment.expected(drawn, session)
    rows = []
    for source, alone in _alone(experiment).items():
        values, _ = experiment.expected(alone, session, _shared_courses(experiment, alone))
        rows.append((source, *_variance(values), _AT_A_TIME))
    between, error = _variance(means)
    parts = sum(row[1] for row in rows)
    rows.append(("together", between - parts, error, "expected outcomes, less the sources alone"))
    by_chance = float(np.mean(finite))
    error_of = float(np.std(finite, ddof=1) / np.sqrt(n))
    rows.append(
        ("finite trials", by_chance, error_of, "mean variance given the animal and session")
    )
    total = between + by_chance
    rows.append(("total", total, float(np.hypot(error, error_of)), "law of total variance"))
    if len(measured) > 2:
        rows.append(("simulated", *_variance(measured), "the animals of the table"))
    table = pd.DataFrame(rows, columns=["source", "variance", "standard_error", "how"])
    table["sd"] = np.where(table.variance >= 0, np.sqrt(np.abs(table.variance)), np.nan)
    table["share"] = table.variance / total if total > 0 else np.nan
    return table[["source", "variance", "standard_error", "sd", "share", "how"]]


def _variance(values: Array) -> tuple[float, float]:
    """Return the variance of values, and its standard error by their fourth moment."""
    n = len(values)
    variance = float(np.var(values, ddof=1))
    fourth = float(np.mean((values - np.mean(values)) ** 4))
    return variance, float(np.sqrt(max(fourth - variance**2 * (n - 3) / (n - 1), 0.0) / n))


def _alone(experiment: Experiment) -> dict[str, Drawn]:
    """Return the animals with one source of spread at a time, those that there are."""
    drawn = experiment.drawn
    n = len(drawn.rates)
    middle = replace(
        drawn,
        rates=np.full(n, np.median(drawn.rates)),
        starts=_middle_start(drawn),
        alike=True,
        counts=np.tile(_whole_median(drawn.counts), (n, 1)),
        deviations=np.zeros_like(drawn.deviations),
        own={name: np.full(n, np.median(x)) for name, x in drawn.own.items()},
    )
    found = {}
    if np.ptp(drawn.rates):
        found["rate"] = replace(middle, rates=drawn.rates)
    if drawn.starts is None:
        curves = experiment.cohort.outputs
        differ = bool(np.any(curves != curves[:1]))
    else:
        differ = any(s is not drawn.starts[0] for s in drawn.starts)
    if differ:
        # curves given are those of the animals, whatever made them differ
        found["start"] = replace(middle, starts=drawn.starts, alike=False)
    if np.any(drawn.counts != drawn.counts[:1]):
        found["number of trials"] = replace(middle, counts=drawn.counts)
    for name, own in drawn.own.items():
        if np.ptp(own):
            found[name] = replace(middle, own={**middle.own, name: own})
    if experiment.sessions.performance_noise:
        found["performance noise"] = replace(middle, deviations=drawn.deviations)
    return found


def _whole_median(counts: np.ndarray) -> np.ndarray:
    """Return the median number of trials of every session, whole."""
    return np.maximum(np.round(np.median(counts, axis=0)), 1).astype(np.int64)


def _middle_start(drawn: Drawn) -> list[Overlaps] | None:
    """Return the mean table of overlaps for every animal: a mixture of tables is realisable."""
    if drawn.starts is None:
        return None
    if all(s is drawn.starts[0] for s in drawn.starts):
        return list(drawn.starts)
    mean = np.mean([s.matrix for s in drawn.starts], axis=0)
    return [Overlaps(mean, *drawn.starts[0].sizes)] * len(drawn.starts)


def _shared_courses(experiment: Experiment, alone: Drawn) -> list[list[OutputCourse]]:
    """Return courses, worked out once where all animals have the same start."""
    n = len(alone.rates)
    if alone.starts is None:
        return experiment.courses(alone)
    same = all(s is alone.starts[0] for s in alone.starts) and len(set(experiment.seeds)) == 1
    if not same or experiment.sessions.retention != 1.0:
        return experiment.courses(alone)
    # one course for all, as long as the longest
    longest = int(np.argmax(alone.lengths.sum(axis=1)))
    one = replace(
        alone,
        rates=alone.rates[[longest]],
        starts=alone.starts[:1],
        counts=alone.counts[[longest]],
    )
    return replace(experiment, seeds=experiment.seeds[:1]).courses(one) * n
