"""Choose the rank by cross-validation: on held-out trials, on held-out neurons, or on both."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from predictlearn.checks import positive_int
from predictlearn.errors import (
    ConvergenceWarning,
    InputError,
    MisfitWarning,
    UndeterminedWarning,
    choice,
)
from predictlearn.fitting.evaluation.ceiling import trial_folds
from predictlearn.fitting.evaluation.cosmoothing import cosmooth, needs_counts
from predictlearn.fitting.session.estimator import LowRankRNN
from predictlearn.fitting.session.rollout import paired_trials
from predictlearn.fitting.session.validation import kept_neurons
from predictlearn.recordings.validation import check_activity, extent
from predictlearn.workers import Parallel, delayed, processes

__all__ = ["RankSelection", "select_rank"]


@dataclass(frozen=True, eq=False)
class RankSelection:
    """What cross-validation says about the rank.

    Parameters
    ----------
    rank : int
        The rank chosen by the rule. With held-out trials and neurons both: the smallest that
        suffices for each of the two.
    best_rank : int
        The rank of the highest mean held-out score among those that the recording determines; the
        higher of the two where there are two.
    summary : DataFrame
        One row a rank: rank, mean and standard_error of the score over folds, converged and
        determined (shares of folds), and short and short_error, by how much it falls short of the
        best rank on the same folds and the standard error of that difference. With both, a first
        column hold_out, and one row for each of the two.
    table : DataFrame
        One row a fit: rank, fold, the score (r2 or bits_per_spike), converged, determined (vm and
        vu were all given numbers). With both, a first column hold_out.
    settings : dict
        Settings of the fits, cv and seed, hold_out, metric and rule.
    """

    rank: int
    best_rank: int
    summary: pd.DataFrame
    table: pd.DataFrame
    settings: dict[str, Any]


def select_rank(
    activity: Any,
    inputs: Any,
    ranks: Sequence[int] = (1, 2, 3),
    cv: int = 5,
    seed: int = 0,
    groups: npt.ArrayLike | None = None,
    n_jobs: int = 1,
    rule: str = "paired",
    hold_out: str = "trials",
    metric: str = "r2",
    **settings: Any,
) -> RankSelection:
    """Choose the rank by held-out score with the one-standard-error rule.

    The rule takes the smallest rank whose mean score is within one standard error of the best.
    Folds differ in how much there is to explain, which all ranks share and which is most of the
    standard error of a single rank's mean. The default rule therefore takes the standard error of
    the difference from the best rank on the same folds, and so keeps dimensions of small gain.
    Ranks of which more than half of the fits leave vm or vu undetermined (`LowRankRNN.unseen_`) are
    not chosen: they would be fitted without a number.

    Held-out trials ask whether a rank predicts the recorded neurons on new trials. Held-out
    neurons (co-smoothing) ask whether it predicts neurons that had no say in the dynamics: these
    are fitted to the other neurons on the training trials, held-out neurons are regressed on their
    reduced activity k there, and predicted on the test trials. With known inputs k needs no neuron
    on the test trials.

    Parameters
    ----------
    activity : array_like, shape (trials, time, neurons), or list of (time, neurons)
        Activity; NaN where missing. Neurons that never change are set aside, as `LowRankRNN.fit`
        does.
    inputs : array_like, shape (trials, time, n_in), or list of (time, n_in)
        Inputs.
    ranks : sequence of int
        Ranks to compare.
    cv : int
        Folds over trials; with held-out neurons, fold f leaves out the f-th part of the trials and
        the f-th part of the neurons.
    seed : int
        Seed of the split and the fits.
    groups : array_like, shape (trials,), optional
        Trials of one group stay in one fold. Default: every trial for itself.
    n_jobs : int
        Threads; fewer where the recording is so large that they would not have room.
    rule : {"paired", "one-se"}
        The standard error of the difference from the best rank, over folds, or that of the best
        rank's mean, which takes smaller ranks.
    hold_out : {"trials", "neurons", "both"}
        What is held out. Both: the rank is the smallest that the rule accepts on each.
    metric : {"r2", "bits-per-spike"}
        The score; bits per spike for counts only (noise="poisson" or "negative-binomial").
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
    >>> found = select_rank(y, x, ranks=(1, 2), cv=3, hold_out="both", dt=0.05, tau=0.06)
    >>> found.rank, found.summary["hold_out"].unique().tolist()
    (1, ['trials', 'neurons'])
    """
    choice("rule", rule, ("paired", "one-se"))
    choice("hold_out", hold_out, ("trials", "neurons", "both"))
    needs_counts(metric, str(settings.get("noise", "gaussian")))
    y, x = paired_trials(activity, inputs)
    known = extent(y)
    kept = kept_neurons(y, None, known, stacklevel=3)
    if not kept.all():
        y, known = y[:, :, kept], known.of(kept)
    check_activity(y, known)
    chosen = sorted({positive_int("ranks", r) for r in ranks})
    if not chosen:
        raise InputError("ranks must name at least one rank; got none")
    folds = trial_folds(len(y), cv, seed, groups)
    ways = ("trials", "neurons") if hold_out == "both" else (hold_out,)
    parts = np.zeros(y.shape[2], dtype=np.intp)
    fitted = y.shape[2]
    if "neurons" in ways:
        if y.shape[2] < cv:
            raise InputError(
                f"cv must be at most the number of neurons ({y.shape[2]}) where neurons are held "
                f"out; got {cv}"
            )
        parts = trial_folds(y.shape[2], cv, seed + 1)
        fitted -= int(np.bincount(parts).max())
    if chosen[-1] > fitted:
        held = "" if fitted == y.shape[2] else "without those held out "
        raise InputError(
            f"ranks must be at most the number of neurons {held}({fitted}); got {chosen}"
        )
    settings = {**settings, "n_bootstrap": 0, "seed": seed}
    # the longest first, so that no thread is left alone with one of them
    jobs = [(way, rank, fold) for way in ways for rank in chosen[::-1] for fold in range(cv)]
    # training trials, and what a nonlinear fit lays out of them, and as roots for its starts; the
    # recording itself is one for all threads
    plain = settings.get("noise", "gaussian") == "gaussian" and not np.isnan(np.sum(y))
    each = y.nbytes * (1.0 if plain and settings.get("nonlinearity") != "erf" else 2.5)
    with warnings.catch_warnings():
        # Convergence is reported in the table instead, one row a fit; a rank too high leaves
        # latents open, and that is what is being asked. Threads share the filters.
        for ignored in (ConvergenceWarning, MisfitWarning, UndeterminedWarning):
            warnings.simplefilter("ignore", ignored)
        rows = Parallel(n_jobs=processes(n_jobs, each, y.nbytes), prefer="threads")(
            delayed(_one)(way, rank, fold, y, x, folds, parts, metric, settings)
            for way, rank, fold in jobs
        )
    rows = sorted(rows, key=lambda row: (ways.index(row[0]), *row[1:3]))
    score = metric.replace("-", "_")
    columns = ["hold_out", "rank", "fold", score, "converged", "determined"]
    table = pd.DataFrame(rows, columns=columns)
    verdicts = [_verdict(table[table["hold_out"] == way], score, cv, rule) for way in ways]
    summary = pd.concat([each[2] for each in verdicts], keys=ways, names=["hold_out"])
    summary = summary.reset_index(level=0).reset_index(drop=True)
    if hold_out != "both":
        table, summary = table.drop(columns="hold_out"), summary.drop(columns="hold_out")
    return RankSelection(
        rank=max(each[0] for each in verdicts),
        best_rank=max(each[1] for each in verdicts),
        summary=summary,
        table=table,
        settings={**settings, "cv": cv, "rule": rule, "hold_out": hold_out, "metric": metric},
    )


def _verdict(table: pd.DataFrame, score: str, cv: int, rule: str) -> tuple[int, int, pd.DataFrame]:
    """Return the rank chosen, the best one and the summary of one way of holding out."""
    grouped = table.groupby("rank")
    summary = pd.DataFrame(
        {
            "mean": grouped[score].mean(),
            "standard_error": grouped[score].std(ddof=1) / np.sqrt(cv),
            "converged": grouped["converged"].mean(),
            "determined": grouped["determined"].mean(),
        }
    ).reset_index()
    # the smallest rank is a choice even where it is hardly determined
    open_ = (summary["determined"] <= 0.5) & (summary.index > 0)
    best = int(np.nanargmax(summary["mean"].mask(open_)))
    by_fold = table.pivot(index="fold", columns="rank", values=score)[summary["rank"]]
    short = by_fold.iloc[:, [best]].to_numpy() - by_fold.to_numpy()
    summary["short"] = short.mean(axis=0)
    summary["short_error"] = short.std(axis=0, ddof=1) / np.sqrt(cv)
    error = summary["standard_error"].iloc[best] if rule == "one-se" else summary["short_error"]
    within = summary.loc[(summary["short"] <= error) & ~open_, "rank"]
    return int(within.min()), int(summary["rank"].iloc[best]), summary


def _one(
    way: str,
    rank: int,
    fold: int,
    y: npt.NDArray[np.float64],
    x: npt.NDArray[np.float64],
    folds: npt.NDArray[np.intp],
    parts: npt.NDArray[np.intp],
    metric: str,
    settings: dict[str, Any],
) -> tuple[str, int, int, float, bool, bool]:
    """Fit one rank without one fold; score on it."""
    train, test = folds != fold, folds == fold
    kept = parts != fold if way == "neurons" else np.ones(len(parts), dtype=bool)
    fit = LowRankRNN(rank=rank, **settings).fit(_of(y, train, kept), x[train])
    if way == "neurons":
        score = cosmooth(fit, _of(y, train, ~kept), x[train], _of(y, test, ~kept), x[test], metric)
    elif metric == "r2":
        score = fit.score(y[test], x[test])
    else:
        score = fit.score(y[test], x[test], metric=metric)
    determined = not any(name.startswith("v") and "u" in name for name in fit.unseen_.index)
    return way, rank, fold, float(score), bool(fit.converged_), determined


def _of(
    y: npt.NDArray[np.float64], trials: npt.NDArray[np.bool_], neurons: npt.NDArray[np.bool_]
) -> npt.NDArray[np.float64]:
    """Return some trials of some neurons, copied once."""
    every = np.ones(y.shape[1], dtype=bool)
    return y[trials] if neurons.all() else y[np.ix_(trials, every, neurons)]
