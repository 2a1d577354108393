"""Choose the rank by cross-validation over trials."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from joblib import Parallel, delayed

from predictlearn.checks import as_float_array, positive_int
from predictlearn.errors import ConvergenceWarning, InputError, choice
from predictlearn.fitting.ceiling import trial_folds
from predictlearn.fitting.low_rank_rnn import LowRankRNN
from predictlearn.recordings.entry import check_activity, check_leading_axes

__all__ = ["RankSelection", "select_rank"]


@dataclass(frozen=True, eq=False)
class RankSelection:
    """What cross-validation says about the rank.

    Parameters
    ----------
    rank : int
        The rank chosen by the rule.
    best_rank : int
        The rank of the highest mean held-out R2.
    summary : DataFrame
        One row a rank: rank, mean and standard_error of R2 over folds, converged (share), and
        short and short_error, by how much it falls short of the best rank on the same folds and
        the standard error of that difference.
    table : DataFrame
        One row a fit: rank, fold, r2, converged.
    settings : dict
        Settings of the fits, cv and seed.
    """

    rank: int
    best_rank: int
    summary: pd.DataFrame
    table: pd.DataFrame
    settings: dict[str, Any]


def select_rank(
    activity: npt.ArrayLike,
    inputs: npt.ArrayLike,
    ranks: Sequence[int] = (1, 2, 3),
    cv: int = 5,
    seed: int = 0,
    groups: npt.ArrayLike | None = None,
    n_jobs: int = 1,
    rule: str = "one-se",
    **settings: Any,
) -> RankSelection:
    """Choose the rank by held-out R2 with the one-standard-error rule.

    The rule takes the smallest rank whose mean R2 is within one standard error of the best. Folds
    differ in how much there is to explain, which all ranks share; the paired rule looks at the
    differences on the same folds instead, and so keeps smaller gains.

    Parameters
    ----------
    activity : array_like, shape (trials, time, neurons)
        Activity; NaN where missing.
    inputs : array_like, shape (trials, time, n_in)
        Inputs.
    ranks : sequence of int
        Ranks to compare.
    cv : int
        Folds over trials.
    seed : int
        Seed of the split and the fits.
    groups : array_like, shape (trials,), optional
        Trials of one group stay in one fold. Default: every trial for itself.
    n_jobs : int
        Processes.
    rule : {"one-se", "paired"}
        Standard error of the best rank's mean, or of the difference from the best rank.
    **settings : object
        Further settings of `LowRankRNN` (nonlinearity, dt, tau, observed, latency, offset, ...).

    Returns
    -------
    RankSelection
        The rank chosen, and the tables behind it.

    Raises
    ------
    InputError
        Data or settings that cannot be used.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(12, 15, 1)).cumsum(axis=1)
    >>> y = x * rng.normal(size=8) + rng.normal(size=(12, 15, 8))
    >>> select_rank(y, x, ranks=(1, 2), cv=3, dt=0.05, tau=0.06).rank
    1
    """
    choice("rule", rule, ("one-se", "paired"))
    y = as_float_array("activity", activity, ndim=3, finite=False)
    x = as_float_array("inputs", inputs, ndim=3)
    check_activity(y)
    check_leading_axes("inputs", x, y, "n_in")
    chosen = sorted({positive_int("ranks", r) for r in ranks})
    if not chosen:
        raise InputError("ranks must name at least one rank; got none")
    if chosen[-1] > y.shape[2]:
        raise InputError(
            f"ranks must be at most the number of neurons ({y.shape[2]}); got {chosen}"
        )
    folds = trial_folds(len(y), cv, seed, groups)
    settings = {**settings, "n_bootstrap": 0, "seed": seed}
    jobs = [(rank, fold) for rank in chosen for fold in range(cv)]
    rows = Parallel(n_jobs=n_jobs)(
        delayed(_one)(rank, fold, y, x, folds, settings) for rank, fold in jobs
    )
    table = pd.DataFrame(rows, columns=["rank", "fold", "r2", "converged"])
    grouped = table.groupby("rank")
    summary = pd.DataFrame(
        {
            "mean": grouped["r2"].mean(),
            "standard_error": grouped["r2"].std(ddof=1) / np.sqrt(cv),
            "converged": grouped["converged"].mean(),
        }
    ).reset_index()
    best = int(summary["mean"].to_numpy().argmax())
    by_fold = table.pivot(index="fold", columns="rank", values="r2")[summary["rank"]]
    short = by_fold.iloc[:, [best]].to_numpy() - by_fold.to_numpy()
    summary["short"] = short.mean(axis=0)
    summary["short_error"] = short.std(axis=0, ddof=1) / np.sqrt(cv)
    error = summary["standard_error"].iloc[best] if rule == "one-se" else summary["short_error"]
    within = summary.loc[summary["short"] <= error, "rank"]
    return RankSelection(
        rank=int(within.min()),
        best_rank=int(summary["rank"].iloc[best]),
        summary=summary,
        table=table,
        settings={**settings, "cv": cv, "rule": rule},
    )


def _one(
    rank: int,
    fold: int,
    y: npt.NDArray[np.float64],
    x: npt.NDArray[np.float64],
    folds: npt.NDArray[np.intp],
    settings: dict[str, Any],
) -> tuple[int, int, float, bool]:
    """Fit one rank without one fold; score on it."""
    train, test = folds != fold, folds == fold
    with warnings.catch_warnings():
        # Reported in the table instead, one row a fit.
        warnings.simplefilter("ignore", ConvergenceWarning)
        fit = LowRankRNN(rank=rank, **settings).fit(y[train], x[train])
    return rank, fold, fit.score(y[test], x[test]), bool(fit.converged_)
