"""Scores of forecasts of trials, with intervals and a verdict in words."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import stats

from predictlearn.real_learning.curve_fits import TimeScale
from predictlearn.real_learning.predictive import Predictive
from predictlearn.statistics.comparisons import number, p_text, span
from predictlearn.statistics.resampling import block_bootstrap

__all__ = ["score_models", "verdict_in_words"]


def score_models(
    y: np.ndarray,
    tested: np.ndarray,
    models: Sequence[Predictive],
    level: float,
    block: int,
    n_resamples: int,
    seed: int,
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Score models on test trials, with block-bootstrap intervals.

    Parameters
    ----------
    y : numpy.ndarray, (trials,)
        Observations.
    tested : numpy.ndarray of bool, (trials,)
        The test trials.
    models : sequence of Predictive
        The prediction first, the mean baseline second, then other baselines.
    level : float
        Level of the intervals.
    block : int
        Block length in trials.
    n_resamples : int
        Bootstrap samples.
    seed : int
        Their seed.

    Returns
    -------
    scores, differences, tests : pandas.DataFrame
        As in :class:`predictlearn.real_learning.scores.LearningScore`.
    """
    errors = np.array([y[tested] - model.point[tested] for model in models])
    crps = np.array([model.crps(y, tested) for model in models])
    below = np.array([model.probability_below(y)[tested] for model in models])
    inside = np.abs(below - 0.5) <= level / 2
    raw = np.concatenate([errors**2, np.abs(errors), crps, inside, -errors]).T
    k = len(models)

    def summarise(series: np.ndarray) -> np.ndarray:
        """Return all scores, then all differences, of resampled trials."""
        mse, mae, score, cover, bias = np.split(series.mean(axis=1), 5, axis=1)
        rmse = np.sqrt(mse)
        # where the mean baseline makes no error there is no skill to speak of
        skill = 1 - mse / np.maximum(mse[:, 1:2], 1e-300)
        gaps = [one[:, :1] - one[:, 1:] for one in (rmse, mae, score)]
        return np.concatenate([rmse, mae, score, skill, cover, bias, *gaps], axis=1)

    value, low, high = block_bootstrap(
        raw, summarise, block=block, level=level, n_resamples=n_resamples, seed=seed
    )
    names = ("RMSE", "MAE", "CRPS", "skill", "coverage", "bias")
    rows = [
        {
            "model": model.name,
            "score": name,
            "value": value[i * k + j],
            "low": low[i * k + j],
            "high": high[i * k + j],
            "level": level,
        }
        for i, name in enumerate(names)
        for j, model in enumerate(models)
    ]
    scores = pd.DataFrame(rows)
    bounded = scores["score"] == "coverage"
    scores.loc[bounded, ["low", "high"]] = scores.loc[bounded, ["low", "high"]].clip(0.0, 1.0)
    df = max(1.0, tested.sum() / block - 1)
    critical = float(stats.t.ppf((1 + level) / 2, df))
    start = len(names) * k
    gaps = []
    for i, name in enumerate(names[:3]):
        for j, model in enumerate(models[1:]):
            at = start + i * (k - 1) + j
            error = (high[at] - low[at]) / 2 / critical
            statistic = value[at] / error if error > 0 else math.copysign(math.inf, value[at])
            same = error == 0 and value[at] == 0
            gaps.append(
                {
                    "baseline": model.name,
                    "score": name,
                    "difference": value[at],
                    "low": low[at],
                    "high": high[at],
                    "level": level,
                    "error": error,
                    "p": 1.0 if same else float(2 * stats.t.sf(abs(statistic), df)),
                }
            )
    differences = pd.DataFrame(gaps)
    tests = primary_comparisons(differences, crps, level, df)
    return scores, differences.drop(columns="error"), tests


def primary_comparisons(
    differences: pd.DataFrame, crps: np.ndarray, level: float, df: float
) -> pd.DataFrame:
    """Return the comparisons by CRPS, with intervals that hold together."""
    chosen = differences[differences["score"] == "CRPS"].reset_index(drop=True)
    count = len(chosen)
    half = float(stats.t.ppf(1 - (1 - level) / (2 * count), df)) * chosen["error"]
    low, high = chosen["difference"] - half, chosen["difference"] + half
    verdict = np.where(high < 0, "better", np.where(low > 0, "worse", "undecided"))
    base = crps[1:].mean(axis=1)
    return pd.DataFrame(
        {
            "family": "CRPS, prediction minus baseline",
            "name": [f"prediction minus {name}" for name in chosen["baseline"]],
            "baseline": chosen["baseline"],
            "verdict": verdict,
            "method": "circular-block bootstrap t interval",
            "p": chosen["p"],
            "p_corrected": np.minimum(1.0, count * chosen["p"]),
            "estimate": chosen["difference"],
            "low": low,
            "high": high,
            "level": level,
            "effect_name": "share of the baseline's CRPS",
            "effect": chosen["difference"] / base,
            "effect_low": low / base,
            "effect_high": high / base,
            "correction": "bonferroni",
            "family_size": count,
            "significant": verdict != "undecided",
            "n": f"{crps.shape[1]} trials",
            "statement": [
                f"CRPS of the prediction minus that of the {name}: {number(gap)} {span(a, b)}: {v}."
                for name, gap, a, b, v in zip(
                    chosen["baseline"], chosen["difference"], low, high, verdict, strict=True
                )
            ],
            "assumptions": (
                "trials further apart than a block are nearly independent; the score differences "
                "have a mean over the test trials; the fits are taken as given"
            ),
        }
    )


def verdict_in_words(
    scores: pd.DataFrame,
    tests: pd.DataFrame,
    scale: TimeScale,
    limits: tuple[float, float],
    n_train: int,
    n_test: int,
) -> tuple[str, ...]:
    """Say what can and what cannot be concluded."""
    pick = scores.set_index(["model", "score"])
    crps = pick.loc[("prediction", "CRPS")]
    skill = pick.loc[("prediction", "skill")]
    cover = pick.loc[("prediction", "coverage")]
    bias = pick.loc[("prediction", "bias")]
    sides = [
        f"below {number(scale.high)}" if scale.open_low and not scale.open_high else "",
        f"above {number(scale.low)}" if scale.open_high and not scale.open_low else "",
        "not at all" if scale.open_low and scale.open_high else "",
    ]
    limited = next((side for side in sides if side), "")
    pinned = (
        f"between {number(scale.low)} and {number(scale.high)}"
        if not limited
        else f"only to {limited}"
        if limited != "not at all"
        else limited
    )
    fitted = [
        f"The one free number, learning time per trial, was fitted on the first {n_train} trials: "
        f"{number(scale.rate)}; they pin it down {pinned} "
        f"(searched between {number(limits[0])} and {number(limits[1])})."
    ]
    if scale.at_bound:
        fitted.append("The best value lies at a bound of the search: no time scale is identified.")
    scored, concluded = [], []
    scored.append(
        f"On the {n_test} later trials the prediction has CRPS {number(crps['value'])} "
        f"{span(crps['low'], crps['high'])}, squared-error skill {number(skill['value'])} "
        f"{span(skill['low'], skill['high'])} relative to the mean of the first trials, and its "
        f"{100 * cover['level']:.3g}% intervals hold {100 * cover['value']:.0f}% of the trials. "
        f"On average it is {number(abs(bias['value']))} too "
        f"{'high' if bias['value'] > 0 else 'low'} (predicted minus observed "
        f"{span(bias['low'], bias['high'])})."
    )
    for row in tests.to_dict("records"):
        word = {
            "better": "better than",
            "worse": "worse than",
            "undecided": "not told apart from",
        }[str(row["verdict"])]
        scored.append(
            f"It is {word} the {row['baseline']} baseline (CRPS difference "
            f"{number(row['estimate'])} {span(row['low'], row['high'])}, negative favours the "
            f"prediction; corrected {p_text(float(row['p_corrected']))})."
        )
    verdicts = set(tests["verdict"])
    if verdicts == {"better"}:
        concluded.append(
            "It can be concluded that by CRPS it forecasts these trials better than every baseline."
        )
    elif "worse" in verdicts:
        worse = tests.loc[tests["verdict"] == "worse", "baseline"]
        concluded.append(
            f"It can be concluded that by CRPS {', '.join(worse)} forecasts these trials better "
            "than the prediction does."
        )
    elif "better" in verdicts:
        better = tests.loc[tests["verdict"] == "better", "baseline"]
        concluded.append(
            "It can be concluded that by CRPS it forecasts these trials better than "
            f"{', '.join(better)}, not that it is the best of all."
        )
        if "mean" not in set(better):
            concluded.append(
                "As the plain mean of the first trials is not beaten, this says that the other "
                "baselines extrapolate badly, not that the predicted learning is there."
            )
    else:
        concluded.append(
            "No winner can be named: the margins are small beside the noise of trials."
        )
    concluded.append(
        "These are the trials of one session: nothing follows for other sessions or animals, and a "
        "difference that is not shown is not evidence that the models forecast equally well."
    )
    return " ".join(fitted), " ".join(scored), " ".join(concluded)
