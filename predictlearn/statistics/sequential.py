"""Bayes factors looked at while animals are added: when to stop, and how often that misleads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from predictlearn.arrays import Array
from predictlearn.checks import as_float_array, positive, positive_int
from predictlearn.errors import InputError, choice
from predictlearn.statistics.bayes import DEFAULT_SCALE, jzs_bayes_factor, verdict_of
from predictlearn.statistics.tables import animals_in_arms, animals_in_both

__all__ = ["SequentialPlan", "sequential_bayes", "sequential_rates"]

# Data sets that are simulated at once.
_CHUNK = 1000


@dataclass(frozen=True)
class SequentialPlan:
    """When to look, and when to stop; stated before the first animal.

    Parameters
    ----------
    n_min : int
        Animals (in each group) before the first look.
    n_max : int
        Animals (in each group) at the last look.
    step : int
        Animals (in each group) between looks.
    threshold : float
        Stop for a difference at BF10 >= threshold, for none at BF10 <= 1 / threshold.
    design : {"paired", "two-sample"}
        The same animals twice, or groups of equal size.
    scale : float
        Scale of the Cauchy prior, in standard deviations.

    Raises
    ------
    InputError
        If a number makes no sense, or n_max lies below n_min.

    Examples
    --------
    >>> SequentialPlan(n_min=6, n_max=10, step=2, design="paired").looks.tolist()
    [6, 8, 10]
    """

    n_min: int = 6
    n_max: int = 20
    step: int = 1
    threshold: float = 6.0
    design: str = "two-sample"
    scale: float = DEFAULT_SCALE

    def __post_init__(self) -> None:
        positive_int("n_min", self.n_min, minimum=2)
        positive_int("n_max", self.n_max, minimum=self.n_min, maximum=10_000)
        positive_int("step", self.step)
        if positive("threshold", self.threshold) <= 1:
            raise InputError(f"threshold must be above 1; got {self.threshold!r}.")
        positive("scale", self.scale)
        choice("design", self.design, ("paired", "two-sample"))

    @property
    def looks(self) -> np.ndarray:
        """Numbers of animals at which to look, the last one n_max."""
        found = np.arange(self.n_min, self.n_max + 1, self.step)
        return found if found[-1] == self.n_max else np.append(found, self.n_max)


def _moments(values: Array, looks: np.ndarray) -> tuple[Array, Array]:
    """Return mean and sum of squares of the first n of (..., animals), for each look n."""
    total = np.cumsum(values, axis=-1)[..., looks - 1]
    squares = np.cumsum(values**2, axis=-1)[..., looks - 1]
    mean = total / looks
    return mean, np.maximum(squares - looks * mean**2, 0.0)


def _bayes_factors(plan: SequentialPlan, x: Array, y: Array | None, looks: np.ndarray) -> Array:
    """Return the Bayes factors at looks of data (..., animals)."""
    mean, squares = _moments(x, looks)
    if y is None:
        n1, n2 = looks, None
        error = np.sqrt(squares / (looks - 1) / looks)
    else:
        other, more = _moments(y, looks)
        mean = mean - other
        n1 = n2 = looks
        error = np.sqrt((squares + more) / (2 * looks - 2) * 2 / looks)
    t = mean / np.maximum(error, 1e-12 * np.maximum(np.abs(mean), 1e-300))
    return jzs_bayes_factor(np.clip(t, -1e9, 1e9), n1, n2, scale=plan.scale)


def sequential_bayes(
    data: pd.DataFrame,
    plan: SequentialPlan,
    *,
    outcome: str,
    arm: str = "arm",
    subject: str = "subject",
    reference: str | None = None,
) -> pd.DataFrame:
    """Follow the evidence as animals came in, and say where the plan stops.

    Parameters
    ----------
    data : pandas.DataFrame
        One row an observation; animals in the order in which they were run (of their first row).
    plan : SequentialPlan
        Looks and thresholds, as stated beforehand.
    outcome, arm, subject, reference
        Columns as in :func:`compare_groups` (two arms), or :func:`compare_pairs` if the plan is
        paired.

    Returns
    -------
    pandas.DataFrame
        A row a look that was reached: ``n`` (in each group), ``bf10``, ``bf01``, ``verdict``, and
        ``stop``: True at the one at which the plan stops, False before it. Later animals are not
        looked at.

    Raises
    ------
    InputError
        With the row, as in :func:`compare_groups`; if there are fewer animals than the first look
        needs.

    Examples
    --------
    >>> rng = np.random.default_rng(3)
    >>> table = pd.DataFrame({"mouse": [f"m{i:02}" for i in range(20)], "arm": ["a", "b"] * 10})
    >>> table["errors"] = rng.normal(0, 1, 20) + 2.5 * (table["arm"] == "b")
    >>> plan = SequentialPlan(n_min=4, n_max=10)
    >>> sequential_bayes(table, plan, outcome="errors", subject="mouse")["verdict"].iloc[-1]
    'different'
    """
    if not isinstance(plan, SequentialPlan):
        raise InputError(f"plan must be a SequentialPlan; got {type(plan).__name__}.")
    if isinstance(data, pd.DataFrame) and subject in data.columns:
        # labels in order of appearance, not of the alphabet
        names = data[subject]
        data = data.assign(**{subject: pd.Categorical(names, names.dropna().unique())})
    y = None
    if plan.design == "paired":
        pairs = animals_in_both(
            data, outcome=outcome, arm=arm, subject=subject, reference=reference
        )
        x = pairs.values[:, 1] - pairs.values[:, 0]
    else:
        animals = animals_in_arms(
            data, outcome=outcome, arm=arm, subject=subject, reference=reference
        )
        if len(animals.arms) != 2:
            raise InputError(
                f"a sequential plan compares two arms; {arm!r} holds {len(animals.arms)}."
            )
        x, y = animals.of(1), animals.of(0)
    most = x.size if y is None else min(x.size, y.size)
    looks = plan.looks[plan.looks <= most]
    if not looks.size:
        raise InputError(
            f"the first look of the plan needs {plan.n_min} animals (in each group); got {most}."
        )
    shift = float(x.mean())  # a large level would cost digits of the sums of squares
    if y is None:
        bf = _bayes_factors(plan, x, None, looks)
    else:
        bf = _bayes_factors(plan, x - shift, y - shift, looks)
    verdicts = [verdict_of(float(one), plan.threshold) for one in bf]
    ends = [
        verdict != "undecided" or n == plan.n_max
        for verdict, n in zip(verdicts, looks, strict=True)
    ]
    last = ends.index(True) + 1 if True in ends else len(ends)
    return pd.DataFrame(
        {"n": looks, "bf10": bf, "bf01": 1 / bf, "verdict": verdicts, "stop": ends}
    ).iloc[:last]


def sequential_rates(
    plan: SequentialPlan,
    effects: Sequence[float],
    *,
    n_simulations: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> pd.DataFrame:
    """Simulate a plan: how often it ends in which verdict, how often that misleads, and how soon.

    Animals are normal with standard deviation one (of differences, if paired).

    Parameters
    ----------
    plan : SequentialPlan
        Looks and thresholds.
    effects : sequence of float
        True differences in standard deviations; 0 is always simulated too.
    n_simulations : int
        Experiments an effect.
    level : float
        Level of the Monte Carlo intervals (Clopper & Pearson).
    seed : int
        Seed.

    Returns
    -------
    pandas.DataFrame
        A row an effect: shares ``different``, ``same`` and ``undecided``, and ``misleading`` (for
        an effect of zero ``different``, else ``same``) with ``misleading_low`` and
        ``misleading_high``; ``mean_n`` and ``median_n`` (in each group) at the end.

    Raises
    ------
    InputError
        If the plan or a number makes no sense.

    Examples
    --------
    >>> plan = SequentialPlan(n_min=5, n_max=15, design="paired")
    >>> table = sequential_rates(plan, [1.5], n_simulations=200)
    >>> table["effect"].tolist(), bool(table.loc[1, "different"] > 0.8)
    ([0.0, 1.5], True)
    """
    if not isinstance(plan, SequentialPlan):
        raise InputError(f"plan must be a SequentialPlan; got {type(plan).__name__}.")
    wanted = as_float_array("effects", effects, ndim=1)
    positive_int("n_simulations", n_simulations, maximum=1_000_000)
    every = [0.0, *(float(e) for e in wanted if e != 0)]
    rows = []
    for effect, child in zip(every, np.random.SeedSequence(seed).spawn(len(every)), strict=True):
        rng = np.random.default_rng(child)
        counts, ns = {"different": 0, "same": 0, "undecided": 0}, []
        for begin in range(0, n_simulations, _CHUNK):
            size = (min(_CHUNK, n_simulations - begin), plan.n_max)
            x = rng.normal(effect, 1.0, size)
            y = None if plan.design == "paired" else rng.normal(0.0, 1.0, size)
            bf = _bayes_factors(plan, x, y, plan.looks)
            up, down = bf >= plan.threshold, bf <= 1 / plan.threshold
            stops = up | down
            stops[:, -1] = True
            at = stops.argmax(axis=1)
            rows_at = np.arange(len(at))
            counts["different"] += int(up[rows_at, at].sum())
            counts["same"] += int(down[rows_at, at].sum())
            ns.append(plan.looks[at])
        counts["undecided"] = n_simulations - counts["different"] - counts["same"]
        wrong = counts["different" if effect == 0 else "same"]
        ends = stats.binomtest(wrong, n_simulations).proportion_ci(level, method="exact")
        n = np.concatenate(ns)
        rows.append(
            {
                "effect": effect,
                **{name: count / n_simulations for name, count in counts.items()},
                "misleading": wrong / n_simulations,
                "misleading_low": float(ends.low),
                "misleading_high": float(ends.high),
                "mean_n": float(n.mean()),
                "median_n": float(np.median(n)),
                "simulations": n_simulations,
            }
        )
    return pd.DataFrame(rows)
