"""Waits for a criterion, cut short for some: drawn anew, with a ratio of hazards put in."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
from scipy import stats

from predictlearn.arrays import Array
from predictlearn.comparing.question import REACHED, ArmComparison, ArmQuestion
from predictlearn.errors import InputError
from predictlearn.statistics.families import TableTest
from predictlearn.statistics.survival import mean_of_pseudo
from predictlearn.statistics.tables import labels, numbers
from predictlearn.statistics.times_to_event import log_rank, log_rank_pairs, pseudo

__all__ = ["WaitRows", "known_until", "resample_waits", "wait_rows", "wait_sizes", "wait_tests"]

# The tests whose power is told: that of equal curves, and that of the mean wait.
_TESTS = ("log-rank", "restricted mean")
_ALPHA = 0.05
# Animals of the one experiment by which it is guessed how many are needed.
_LARGE = 2000


@dataclass(frozen=True)
class WaitRows:
    """Waits of the animals of two arms, and how they are drawn anew.

    Parameters
    ----------
    time : (numpy.ndarray, numpy.ndarray)
        When each animal reached the criterion or was last seen: of the reference, of the other arm;
        of pairs in one order.
    reached : (numpy.ndarray, numpy.ndarray)
        Which of both.
    question : ArmQuestion
        The question, whose columns the drawn tables have.
    """

    time: tuple[Array, Array]
    reached: tuple[np.ndarray, np.ndarray]
    question: ArmQuestion

    @property
    def span(self) -> tuple[float, float]:
        """By which factors the numbers needed could be smaller or larger.

        They go with the share of animals that reach the criterion, which is known from those of
        both arms: its 95% interval over its estimate, turned around.
        """
        reached = np.concatenate(self.reached)
        k, n = int(reached.sum()), reached.size
        ends = stats.binomtest(k, n).proportion_ci(0.95, method="exact")
        return k / n / float(ends.high), k / n / float(ends.low)


def wait_rows(comparison: ArmComparison) -> WaitRows:
    """Return the waits of a comparison of two arms.

    Parameters
    ----------
    comparison : ArmComparison
        Of two arms, by survival.

    Returns
    -------
    WaitRows
        The waits.
    """
    q, data = comparison.question, comparison.data
    times, reached = numbers(data, "outcome", q.outcome), data[REACHED].to_numpy(float) > 0
    second = (data[q.arm].map(str) == comparison.arms[1]).to_numpy()
    animals = labels(data, "subject", q.subject).codes
    sides = [np.flatnonzero(side) for side in (~second, second)]
    if q.paired:
        sides = [side[np.argsort(animals[side])] for side in sides]
    first, other = sides
    return WaitRows((times[first], times[other]), (reached[first], reached[other]), q)


def _curve(time: Array, event: np.ndarray, before: np.ndarray | None = None) -> tuple[Array, Array]:
    """Return times of events, and Kaplan and Meier's share that is left after each.

    `before` are rows that leave ahead of the events of the same time.
    """
    at = np.unique(time[event])
    gone = np.zeros(time.size, dtype=bool) if before is None else before
    left = (time[:, None] >= at).sum(0) - ((time[:, None] == at) & gone[:, None]).sum(0)
    now = ((time[:, None] == at) & event[:, None]).sum(0)
    return at, np.cumprod(1 - now / left)


def _at(level: Array, at: Array, share: Array) -> Array:
    """Return the first time at which a share has fallen below each level; infinite if nowhere."""
    # shares fall: how many of them are still at the level or above
    place = (share[None, :] >= level[:, None]).sum(1)
    return np.concatenate([at, [math.inf]])[place]


def _levels(time: Array, event: np.ndarray, rng: np.random.Generator) -> Array:
    """Return where in the curve of its arm each animal stands, from 0 (last) to 1.

    An animal that was last seen before it reached the criterion stands somewhere behind.
    """
    at, share = _curve(time, event)
    after = np.concatenate([[1.0], share])
    k = np.searchsorted(at, time, side="right")
    low = np.where(event, after[k], 0.0)
    high = np.where(event, after[np.maximum(k - 1, 0)], after[k])
    return low + (high - low) * rng.random(time.size)


def resample_waits(
    n: int,
    rng: np.random.Generator,
    *,
    source: WaitRows,
    ratio: float | None,
    share: float = 1.0,
) -> pd.DataFrame:
    """Return a table of an experiment with n animals of the reference, drawn from others.

    Parameters
    ----------
    n : int
        Animals of the reference; of pairs, animals.
    rng : numpy.random.Generator
        Where chance comes from.
    source : WaitRows
        The animals.
    ratio : float or None
        Hazard ratio of the other arm to the reference. None draws each arm from its own animals, so
        that arms differ as they do here. Else the other arm waits as the reference does, with the
        hazard so many times as high: a share s of animals that still wait becomes s^ratio (Lehmann
        1953), and training ends as it does for the reference. With 1 nothing differs.
    share : float
        Animals of the other arm for each one of the reference.

    Returns
    -------
    pandas.DataFrame
        In the columns of the question. Who was seen for so long without reaching the criterion is
        in it as such.
    """
    q = source.question
    t0, e0 = source.time[0], source.reached[0]
    picks = rng.integers(0, t0.size, n)
    first = (t0[picks], e0[picks])
    m = n if q.paired else round(share * n)
    own = picks if q.paired else rng.integers(0, source.time[1].size, m)
    if ratio is None:
        second = (source.time[1][own], source.reached[1][own])
    else:
        level = rng.random(m)
        if q.paired:  # as far from the others of its arm as it is here
            level = _levels(source.time[1], source.reached[1], rng)[own]
        at, left = _curve(t0, e0)
        wait = _at(level, at, left**ratio)
        # animals that reach the criterion at a time are not those whose training ends then
        end = _at(rng.random(m), *_curve(t0, ~e0, before=e0))
        second = (np.minimum(wait, end), wait <= end)
    subjects = np.arange(n + m)
    if q.paired:
        subjects = np.tile(np.arange(n), 2)
    return pd.DataFrame(
        {
            q.subject: subjects,
            q.arm: pd.Categorical.from_codes(np.repeat([0, 1], [n, m]), ["reference", "other"]),
            q.outcome: np.concatenate([first[0], second[0]]),
            REACHED: np.concatenate([first[1], second[1]]).astype(float),
        }
    )


def known_until(time: tuple[Array, Array], reached: tuple[np.ndarray, np.ndarray]) -> float:
    """Return the time until which the curves of two arms are known.

    Parameters
    ----------
    time, reached : pair of numpy.ndarray
        Of either arm.

    Returns
    -------
    float
        Of an arm of which nobody waits any longer all is known.

    Examples
    --------
    >>> known_until((np.array([3.0, 5.0]), np.array([4.0, 9.0])),
    ...             (np.array([True, True]), np.array([True, False])))
    9.0
    """
    ends = [
        math.inf if bool(event[t == t.max()].all()) else float(t.max())
        for t, event in zip(time, reached, strict=True)
    ]
    return min(*ends, float(max(t.max() for t in time)))


def _made(
    table: pd.DataFrame, question: ArmQuestion, which: str, n_resamples: int
) -> tuple[float, float]:
    """Return statistic and p of one of the tests of waits."""
    times, event = table[question.outcome].to_numpy(float), table[REACHED].to_numpy(float) > 0
    mine = table[question.arm].cat.codes.to_numpy() == 1
    if not event.any():
        raise InputError("no animal reached the criterion.")
    t, e = (times[~mine], times[mine]), (event[~mine], event[mine])

    def rank() -> tuple[float, float]:
        if question.paired:
            wide = np.column_stack(t[::-1]), np.column_stack(e[::-1])
            z, _, p, _ = log_rank_pairs(*wide, n_resamples, question.seed)
        else:
            z, _, p, _ = log_rank(times, event, mine, n_resamples, question.seed)
        return z, p

    if which == "log-rank":
        return rank()
    until = min(float(side.max()) for side in t)
    if question.until is not None:
        until = min(question.until, known_until(t, e))
    y, x = (pseudo(*side, until) for side in zip(t, e, strict=True))
    # where they do not vary, p is that of the log-rank test
    flat = max(float(np.ptp(x)), float(np.ptp(y))) <= 1e-12 * until
    p_rank = rank()[1] if flat or question.paired else math.nan
    _, _, t_value, p, _ = mean_of_pseudo(x, y, question.paired, until, p_rank, 0.95)
    return t_value, p


def _tested(
    table: pd.DataFrame, *, question: ArmQuestion, which: str, n_resamples: int
) -> pd.DataFrame:
    """Make one of the tests of waits, without what only people read."""
    _, p = _made(table, question, which, n_resamples)
    n_animals = len(table) // 2 if question.paired else len(table)
    row = {"name": which, "p": p, "verdict": "different" if p < _ALPHA else "not shown to differ",
           "degenerate": "", "failed": "", "n_animals": n_animals}  # fmt: skip
    return pd.DataFrame([row])


def wait_tests(question: ArmQuestion, n_resamples: int) -> Mapping[str, TableTest]:
    """Return the tests of waits whose power is told, by name.

    Parameters
    ----------
    question : ArmQuestion
        The question.
    n_resamples : int
        Relabellings.

    Returns
    -------
    mapping from str to callable
        The log-rank test and that of restricted means, as `compare_survival` makes them.
    """
    return {
        name: partial(_tested, question=question, which=name, n_resamples=n_resamples)
        for name in _TESTS
    }


def wait_sizes(source: WaitRows, ratio: float | None, share: float) -> tuple[float, float]:
    """Return about the fewest and the most animals of the reference that are worth simulating.

    Parameters
    ----------
    source : WaitRows
        The animals.
    ratio, share
        As of `resample_waits`.

    Returns
    -------
    (float, float)
        For a power of 80% by the better of the tests, and of 95% by the other; infinite where
        nothing differs. The statistics of one large experiment grow as the root of its size.
    """
    rng = np.random.default_rng(0)
    large = resample_waits(_LARGE, rng, source=source, ratio=ratio, share=share)
    found = [abs(_made(large, source.question, name, 1)[0]) for name in _TESTS]
    wanted = stats.norm.isf(_ALPHA / 2) + stats.norm.ppf([0.8, 0.95])
    low, high = (
        _LARGE * (float(z) / seen) ** 2 if seen > 0 else math.inf
        for z, seen in zip(wanted, (max(found), min(found)), strict=True)
    )
    return low, high
