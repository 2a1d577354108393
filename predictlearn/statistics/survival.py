"""Trials to a criterion, with animals that never reached it: curves, and differences of arms."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy import stats
from statsmodels.duration.survfunc import SurvfuncRight

from predictlearn.arrays import Array
from predictlearn.checks import positive, positive_int
from predictlearn.errors import InputError
from predictlearn.statistics.comparisons import check_level, mean_gap, number, p_text, span
from predictlearn.statistics.effects import EffectSize, paired_effect, two_sample_effect
from predictlearn.statistics.results import AssumptionCheck, TestResult, bare, tests_table
from predictlearn.statistics.tables import (
    ColumnLabels,
    arm_labels,
    as_table,
    labels,
    numbers,
    within,
)
from predictlearn.statistics.times_to_event import (
    hazard_ratio,
    log_rank,
    log_rank_pairs,
    pair_interval,
    proportional,
    pseudo,
)

__all__ = ["compare_survival", "survival_curves"]

# Where a test rejected more or less than 4 to 6% of 2,000 true nulls, see the page
# studies/statistics/test_sizes.md.
_MISSES = {
    "restricted mean": "measured: rejects 3.9% of true nulls of 6 + 6 animals, 2.8% of 5 + 10, "
    "3.5% of 8 + 8 of which one arm drops out; the log-rank row 5%",
    "restricted mean of pairs": "measured: rejects 3.7% of true nulls of 6 pairs, 4.2 to 4.4% of "
    "8 to 20, a third censored; the log-rank row 1 to 5%",
    "hazard ratio": "measured: rejects 6.5% of true nulls of 6 + 6 animals, 5.6% of 5 + 10",
}


@dataclass(frozen=True)
class _Times:
    """Times of animals: when, whether the criterion was reached then, and the arm."""

    time: Array
    reached: np.ndarray
    arms: ColumnLabels
    animals: ColumnLabels


def _times(
    data: object,
    time: str,
    reached: str,
    arm: str,
    subject: str,
    reference: object,
    paired: bool = False,
    allow_zero: bool = False,
) -> _Times:
    """Return one time an animal, or one in each arm, or raise InputError with the row."""
    table = as_table(data)
    values = numbers(table, "time", time, (0, None))
    events = numbers(table, "reached", reached, (0, 1))
    odd = np.flatnonzero((events != 0) & (events != 1))
    if odd.size:
        raise InputError(
            f"reached {reached!r} must be 0 or 1 (False or True); row {table.index[odd[0]]} holds "
            f"{events[odd[0]]:g}."
        )
    zero = np.flatnonzero(values <= 0)
    if zero.size and not allow_zero:
        raise InputError(
            f"time {time!r} must be above zero; row {table.index[zero[0]]} holds "
            f"{values[zero[0]]:g}."
        )
    groups = arm_labels(table, arm, reference)
    animals = labels(table, "subject", subject)
    if paired:
        _one_each(table, animals, groups)
    elif len(animals.names) < len(table):
        twice = int(np.flatnonzero(pd.Series(animals.codes).duplicated())[0])
        why = "every animal has one arm and one row, or both arms where paired."
        within(table, animals, groups, "subject", "arm", why)
        raise InputError(
            f"subject {animals.names[animals.codes[twice]]!r} has a second row, row "
            f"{table.index[twice]}; survival takes one row an animal: the trial on which it "
            "reached the criterion, or the last one it was seen on."
        )
    sizes = np.bincount(groups.codes)
    if sizes.min() < 2:
        few = int(np.argmin(sizes))
        row = table.index[int(np.flatnonzero(groups.codes == few)[0])]
        raise InputError(
            f"every arm must have at least 2 animals; arm {groups.names[few]!r} has 1, in row "
            f"{row}."
        )
    if not events.any():
        last = int(np.argmax(values))
        raise InputError(
            f"no animal reached the criterion: {reached!r} is 0 in every row. The longest was seen "
            f"for {values[last]:g} (row {table.index[last]}); lower the criterion, or train longer."
        )
    return _Times(values, events.astype(bool), groups, animals)


def _one_each(table: pd.DataFrame, animals: ColumnLabels, groups: ColumnLabels) -> None:
    """Raise unless every animal has one row in every arm."""
    n, arms = len(animals.names), len(groups.names)
    counts = np.bincount(arms * animals.codes + groups.codes, minlength=arms * n).reshape(n, arms)
    wrong = np.argwhere(counts != 1)
    if wrong.size:
        who, where = (int(k) for k in wrong[0])
        row = table.index[int(np.flatnonzero(animals.codes == who)[0])]
        raise InputError(
            f"subject {animals.names[who]!r} (first in row {row}) has {counts[who, where]} rows in "
            f"arm {groups.names[where]!r}; of the same animals in all arms survival takes one row "
            "an animal and arm."
        )


def survival_curves(
    data: pd.DataFrame,
    *,
    time: str = "trials",
    reached: str = "reached",
    arm: str = "arm",
    subject: str = "subject",
    level: float = 0.95,
) -> pd.DataFrame:
    """Return the share of animals that have not reached the criterion yet, by arm (Kaplan & Meier).

    Parameters
    ----------
    data : pandas.DataFrame
        One row an animal.
    time : str
        Column of the trial on which the criterion was reached, or of the last trial seen.
    reached : str
        Column that says which of both: 1 or True where it was reached.
    arm, subject : str
        Columns of the arm and the animal.
    level : float
        Level of the pointwise intervals (of the log of minus log, so within 0 and 1).

    Returns
    -------
    pandas.DataFrame
        ``arm``, ``time``, ``at_risk``, ``waiting`` (the share), ``low``, ``high``; a row a time at
        which somebody reached it, and one at zero.

    Raises
    ------
    InputError
        As :func:`compare_survival`.

    Examples
    --------
    >>> table = pd.DataFrame({"subject": range(4), "arm": ["a", "a", "b", "b"],
    ...                       "trials": [10, 20, 30, 40], "reached": [1, 1, 1, 0]})
    >>> survival_curves(table)["waiting"].tolist()
    [1.0, 0.5, 0.0, 1.0, 0.5]
    """
    times = _times(data, time, reached, arm, subject, None)
    level = check_level("level", level)
    z = stats.norm.isf((1 - level) / 2)
    rows = []
    for k, name in enumerate(times.arms.names):
        mine = times.arms.codes == k
        rows.append((name, 0.0, int(mine.sum()), 1.0, 1.0, 1.0))
        if not times.reached[mine].any():
            continue
        curve = SurvfuncRight(times.time[mine], times.reached[mine].astype(int))
        share = np.asarray(curve.surv_prob)
        with np.errstate(divide="ignore", invalid="ignore"):
            logs = np.log(share)
            # Greenwood's variance of the log, moved to log(-log)
            half = z * np.asarray(curve.surv_prob_se) / share / np.abs(logs)
            low, high = share ** np.exp(half), share ** np.exp(-half)
        inside = (share > 0) & (share < 1)
        low, high = np.where(inside, low, share), np.where(inside, high, share)
        # at zero nothing is known from above by Greenwood; Clopper and Pearson's for all of them
        if share[-1] == 0:
            high[-1] = 1 - ((1 - level) / 2) ** (1 / mine.sum())
        rows += [
            (name, float(t), int(n), float(s), float(a), float(b))
            for t, n, s, a, b in zip(curve.surv_times, curve.n_risk, share, low, high, strict=True)
        ]
    return pd.DataFrame(rows, columns=["arm", "time", "at_risk", "waiting", "low", "high"])


def compare_survival(
    data: pd.DataFrame,
    *,
    time: str = "trials",
    reached: str = "reached",
    arm: str = "arm",
    subject: str = "subject",
    reference: str | None = None,
    until: float | None = None,
    unit: str = "trials",
    level: float = 0.95,
    n_resamples: int = 9999,
    seed: int = 0,
    paired: bool = False,
    allow_zero: bool = False,
) -> pd.DataFrame:
    """Ask whether arms differ in the trials to a criterion that some animals never reach.

    Three rows a comparison. *restricted mean*: trials until the criterion or `until`, whichever
    comes first, averaged; the difference of arms from pseudo-values by Welch's t, in trials.
    *log-rank*: the test of equal curves, p by relabelling animals. *hazard ratio*: Cox's, Efron's
    ties, profile likelihood interval, p by the likelihood ratio.

    Parameters
    ----------
    data : pandas.DataFrame
        One row an animal.
    time, reached, arm, subject : str
        Columns as in :func:`survival_curves`.
    reference : str, optional
        Arm that the others are compared with; default the first.
    until : float, optional
        Horizon of the restricted mean; default the longest time that both arms are seen for.
        State it beforehand.
    unit : str
        Unit of time.
    level : float
        Level of intervals; "different" is concluded where p < 1 - level.
    n_resamples, seed : int
        Relabellings and their seed; all are enumerated where there are no more.
    paired : bool
        Whether the same animals are in all arms, each with a row in every one. The restricted mean
        is then compared by the paired t of pseudo-values, the log-rank p is by swapping arms within
        animals, and the interval of its hazard ratio by scores added up by animal (Lee, Wei &
        Amato). There is no third row.
    allow_zero : bool
        Take times of zero, of animals that are at the criterion before the first trial.

    Returns
    -------
    pandas.DataFrame
        As in :func:`compare_groups`. ``estimate`` is a difference in trials, a hazard ratio in the
        other rows (above 1: sooner than the reference). ``effect`` of the restricted mean is
        Hedges' g of pseudo-values, of the others the log hazard ratio.

    Raises
    ------
    InputError
        With the row: as :func:`compare_groups`, an animal with two rows, a time of zero; or if
        nobody reached the criterion.

    Notes
    -----
    Relabelling needs equal censoring in both arms, as when all train for the same number of trials.
    Where arms drop out differently the asymptotic log-rank (``p_asymptotic``) does not need it.

    Examples
    --------
    >>> table = pd.DataFrame({"subject": range(10), "arm": ["fast"] * 5 + ["slow"] * 5,
    ...                       "trials": [30, 45, 50, 62, 80, 70, 95, 110, 120, 120],
    ...                       "reached": [1, 1, 1, 1, 1, 1, 1, 1, 0, 0]})
    >>> found = compare_survival(table, reference="slow", until=120)
    >>> [(name, round(value, 2)) for name, value in zip(found["name"], found["estimate"])][0]
    ('fast - slow, restricted mean', -49.6)
    """
    times = _times(data, time, reached, arm, subject, reference, paired, allow_zero)
    level = check_level("level", level)
    positive_int("n_resamples", n_resamples)
    results: list[TestResult] = []
    # where paired in the order of animals, so that the rows of two arms belong together
    order = np.arange(times.time.size)
    if paired:
        order = np.argsort(times.animals.codes, kind="stable")
    for k in range(1, len(times.arms.names)):
        both = order[np.isin(times.arms.codes[order], (0, k))]
        mine = times.arms.codes[both] == k
        t, event = times.time[both], times.reached[both]
        if not event.any():
            raise InputError(
                f"no animal of arms {times.arms.names[k]!r} and {times.arms.names[0]!r} reached "
                "the criterion; there is nothing to compare."
            )
        seen = float(min(t[mine].max(), t[~mine].max()))
        if until is None:
            horizon = seen
        else:
            horizon = positive("until", until)
            short = [
                not event[side][np.argmax(t[side])] and t[side].max() < horizon
                for side in (mine, ~mine)
            ]
            if any(short):
                raise InputError(
                    f"until must be at most {seen:g}, for which both arms are seen; got {until!r}."
                )
        names = (times.arms.names[k], times.arms.names[0])
        results += _pair(t, event, mine, names, horizon, unit, level, n_resamples, seed, paired)
    return tests_table(results)


def _pair(
    t: Array,
    event: np.ndarray,
    mine: np.ndarray,
    names: tuple[str, str],
    until: float,
    unit: str,
    level: float,
    n_resamples: int,
    seed: int,
    paired: bool,
) -> list[TestResult]:
    """Return the results of one comparison: three, or two of the same animals."""
    n = (int(mine.sum()), int((~mine).sum()))
    title = f"{names[0]} - {names[1]}"
    shares = ", ".join(
        f"{int(event[side].sum())} of {int(side.sum())} in {name}"
        for name, side in zip(names, (mine, ~mine), strict=True)
    )
    reached = AssumptionCheck(
        "enough animals reached the criterion",
        shares,
        min(int(event[mine].sum()), int(event[~mine].sum())) >= 3,
        "intervals are wide; the log-rank p by relabelling still holds",
    )
    checked: tuple[AssumptionCheck, ...] = () if bare() else (reached,)
    about = (
        "animals are independent of one another" if paired else "animals are independent",
        "leaving training has nothing to do with how soon the criterion would be reached",
    )
    log_ratio, ends, p_cox = hazard_ratio(t, event, mine, level)
    if paired:
        wide = [np.column_stack([one[mine], one[~mine]]) for one in (t, event)]
        z, p_asymptotic, p_rank, exact = log_rank_pairs(wide[0], wide[1], n_resamples, seed)
        ends = (math.nan, math.nan) if bare() else pair_interval(wide[0], wide[1], level)
    else:
        z, p_asymptotic, p_rank, exact = log_rank(t, event, mine, n_resamples, seed)
    x, y = (pseudo(t[side], event[side], until) for side in (mine, ~mine))
    gap, (low, high), t_value, p_mean, size = mean_of_pseudo(x, y, paired, until, p_rank, level)
    flat = low == high
    words = f"{100 * level:.3g}% interval"
    total = f"n = {n[0]} pairs" if paired else f"n = {n[0]} + {n[1]}"
    kind, of_size = ("paired t", size.name) if paired else ("Welch's t", "Hedges' g")
    n_animals, sizes = (n[0], n[:1]) if paired else (sum(n), n)

    def verdict(p: float) -> str:
        return "different" if p < 1 - level else "not shown to differ"

    mean = TestResult(
        name=f"{title}, restricted mean",
        statement=(
            f"{title}: difference of mean {unit} to the criterion within {number(until)} is "
            f"{number(gap)}, {words} {span(low, high)}, {kind} of pseudo-values "
            f"{p_text(p_mean)}, {total}; reached by {shares}."
        ),
        verdict=verdict(p_mean),
        method=f"{kind} of pseudo-values of the restricted mean",
        statistic=t_value,
        p=p_mean,
        estimate=gap,
        interval=(float(low), float(high)),
        level=level,
        effect_name=f"{of_size} of pseudo-values",
        effect=size.value,
        effect_interval=(size.low, size.high),
        n=sizes,
        assumptions=(
            *about,
            "pseudo-values are normal, or there are enough for their mean to be",
            _MISSES["restricted mean of pairs" if paired else "restricted mean"],
        ),
        degenerate="pseudo-values do not vary: p is that of the log-rank test" if flat else "",
        extra=(("until", until),),
        unit=unit,
        n_animals=n_animals,
        checked=checked,
    )
    ratio, ratio_ends = (math.exp(min(log_ratio, 700.0)), tuple(np.exp(ends)))
    if math.isinf(log_ratio):
        ratio = math.inf if log_ratio > 0 else 0.0
    endless = "" if math.isfinite(log_ratio) else "one arm was done before the other began"
    label = f"{'exact' if exact else 'Monte Carlo'} permutation log-rank test"
    label += " within animals" if paired else ""
    both_ends = (float(ratio_ends[0]), float(ratio_ends[1]))
    differ = "differ" if p_rank < 1 - level else "are not shown to differ"
    rank = TestResult(
        name=f"{title}, log-rank",
        statement=(
            f"{title}: curves of the criterion {differ}, {label} {p_text(p_rank)} (asymptotic "
            f"{p_text(p_asymptotic)}), hazard ratio {number(ratio)}, {total}; reached by {shares}."
        ),
        verdict=verdict(p_rank),
        method=label,
        statistic=z,
        p=p_rank,
        estimate=ratio,
        interval=both_ends,
        level=level,
        effect_name="log hazard ratio",
        effect=log_ratio,
        effect_interval=ends,
        n=sizes,
        assumptions=(*about, "both arms are censored alike, as by the same number of trials"),
        extra=(("p_asymptotic", p_asymptotic),),
        seed=None if exact else seed,
        unit="hazard ratio",
        n_animals=n_animals,
        checked=checked,
    )
    if paired:
        return [mean, rank]
    hazards = AssumptionCheck("", "", True) if bare() else proportional(t, event, mine, log_ratio)
    cox = replace(
        rank,
        name=f"{title}, hazard ratio",
        statement=(
            f"{title}: hazard ratio {number(ratio)}, {words} {span(*both_ends)}, "
            f"likelihood ratio {p_text(p_cox)}, {total}; reached by {shares}."
        ),
        verdict=verdict(p_cox),
        method="Cox's proportional hazards, likelihood ratio",
        statistic=log_ratio,
        p=p_cox,
        assumptions=(
            *about,
            "the ratio of hazards is the same at all times",
            "large samples: with under 10 animals an arm p is too small, prefer the log-rank row",
            _MISSES["hazard ratio"],
        ),
        degenerate=endless,
        extra=(),
        seed=None,
        checked=checked if bare() else (*checked, hazards),
    )
    return [mean, rank, cox]


def mean_of_pseudo(
    x: Array, y: Array, paired: bool, until: float, p_rank: float, level: float
) -> tuple[float, tuple[float, float], float, float, EffectSize]:
    """Return the difference of mean pseudo-values: gap, interval, t, p and effect size.

    Where they do not vary, p is that of the log-rank test.
    """
    gap = float(x.mean() - y.mean())
    size = (paired_effect if paired else two_sample_effect)(x, y, level=level)
    spread = float(np.ptp(x - y)) if paired else max(float(np.ptp(x)), float(np.ptp(y)))
    if spread <= 1e-12 * until:
        endless = math.copysign(math.inf, gap)
        t_value, p = (0.0, 1.0) if gap == 0 else (endless, p_rank)
        return gap, (gap, gap), t_value, p, size
    if paired:
        error, df = float((x - y).std(ddof=1)) / math.sqrt(x.size), float(x.size - 1)
    else:
        _, error, df = mean_gap(x, y, pooled=False)
    half = float(stats.t.ppf((1 + level) / 2, df)) * error
    p = float(2 * stats.t.sf(abs(gap / error), df))
    return gap, (gap - half, gap + half), gap / error, p, size
