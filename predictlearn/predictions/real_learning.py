"""A predicted learning curve against real learning, trial by trial, with honest baselines."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from predictlearn.checks import as_float_array, positive, positive_int
from predictlearn.errors import InputError
from predictlearn.predictions.comparisons import check_level, number, p_text, span
from predictlearn.predictions.curve_fits import (
    TimeScale,
    fit_exponential,
    fit_line,
    fit_mean,
    fit_time_scale,
)
from predictlearn.predictions.predictive import Predictive
from predictlearn.predictions.resampling import block_bootstrap, suggested_block

__all__ = ["LearningScore", "score_prediction"]

BASELINES = ("mean", "line", "exponential")
_MODELS = ("prediction", *BASELINES)


@dataclass(frozen=True)
class LearningScore:
    """How well a predicted learning curve forecasts real trials.

    Parameters
    ----------
    name, statement, observable : str
        The result in plain words, with what can and cannot be concluded, and what was measured.
    scores : pandas.DataFrame
        ``model``, ``score`` (``"RMSE"``, ``"MAE"``, ``"CRPS"``, ``"skill"``, ``"coverage"``),
        ``value``, ``low``, ``high``, ``level``: on the test trials, with block-bootstrap intervals.
        Skill is 1 - MSE / MSE of the mean baseline; coverage is that of the predictive interval.
    differences : pandas.DataFrame
        Prediction minus each baseline: ``baseline``, ``score``, ``difference`` (negative: the
        prediction is better), ``low``, ``high``, ``level``, and ``p``.
    tests : pandas.DataFrame
        The primary comparisons, CRPS against each baseline, with intervals that hold together and
        corrected p values.
    predictions : pandas.DataFrame
        A row a trial: ``trial``, ``part`` (``"train"`` or ``"test"``), ``observed``, ``smoothed``,
        ``prediction``, ``low``, ``high`` (band of the curve), ``trial_low``, ``trial_high``
        (interval of single trials), and the baselines' curves ``mean``, ``line``, ``exponential``.
    fit : pandas.Series
        The time scale: ``rate`` (learning time per trial), ``low``, ``high``, ``open_low``,
        ``open_high``, ``at_bound``, ``noise``, ``inflation``.
    table, curves : pandas.DataFrame
        The scores, and the curves by arm, in the form of every prediction.
    settings : mapping
        Everything that was set.
    seed : int
        Seed of the bootstrap.
    """

    name: str
    statement: str
    observable: str
    scores: pd.DataFrame
    differences: pd.DataFrame
    tests: pd.DataFrame
    predictions: pd.DataFrame
    fit: pd.Series
    table: pd.DataFrame
    curves: pd.DataFrame
    settings: Mapping[str, Any]
    seed: int

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "settings": dict(self.settings)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        object.__setattr__(self, "settings", MappingProxyType(self.settings))


def score_prediction(
    observed: Sequence[float] | np.ndarray,
    curves: np.ndarray,
    *,
    time: Sequence[float] | np.ndarray | None = None,
    train: float = 1 / 3,
    level: float = 0.95,
    block: int = 20,
    n_resamples: int = 1999,
    smooth: int = 25,
    bounds: tuple[float, float] | None = None,
    seed: int = 0,
) -> LearningScore:
    """Score a predicted learning curve against real trials.

    The prediction has one free number, the learning time that passes in one trial. It is fitted on
    the first trials only, and so are the baselines: their mean, a straight line, and an exponential
    approach. All are then scored on the trials that none of them has seen.

    Parameters
    ----------
    observed : array_like, (trials,)
        Performance trial by trial, in order; NaN where a trial is missing.
    curves : array_like, (draws, grid) or (grid,)
        Predicted performance along learning, one row per draw of what was not known.
    time : array_like, (grid,), optional
        Learning time of the grid, increasing, its first value being trial 0; default 0, 1, 2, ...
        Beyond the last value the curve stays where it is.
    train : float
        Share of the trials, from the first on, that may be fitted.
    level : float
        Level of intervals and bands.
    block : int
        Block length of the circular-block bootstrap, in trials. The settings hold a suggestion made
        from the data (Politis & White) to compare it with.
    n_resamples : int
        Bootstrap samples.
    smooth : int
        Width, in trials, of the moving average in the table of predictions; for the eye only.
    bounds : (float, float), optional
        Smallest and largest learning time per trial. Default: from 1/1000 of the curve over the
        whole session, to the whole curve in one trial.
    seed : int
        Seed of the bootstrap.

    Returns
    -------
    LearningScore
        Scores, differences from the baselines, the fitted time scale, and a verdict in words.

    Raises
    ------
    InputError
        If shapes disagree, a value is out of range, or there are too few trials.

    Notes
    -----
    The intervals treat the fits as given and speak of the trials of this session, not of other
    sessions or animals. The primary comparison, named beforehand, is the CRPS; its intervals for
    the three baselines hold together (Bonferroni).

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> grid = np.linspace(0.0, 6.0, 100)
    >>> trials = 1 - np.exp(-np.arange(300) / 120) + rng.normal(0.0, 0.2, 300)
    >>> result = score_prediction(trials, 1 - np.exp(-grid), time=grid, n_resamples=199)
    >>> bool(result.fit["low"] < 1 / 120 < result.fit["high"])
    True
    """
    y = as_float_array("observed", observed, ndim=1, finite=False)
    if np.isinf(y).any():
        raise InputError("observed must be finite or NaN (a missing trial); some are infinite.")
    bank = np.atleast_2d(as_float_array("curves", curves))
    if bank.ndim != 2 or bank.shape[1] < 2:
        raise InputError(f"curves must have shape (draws, grid of at least 2); got {bank.shape}.")
    clock = _clock(time, bank.shape[1])
    check_level("train", train)
    check_level("level", level)
    positive_int("block", block)
    positive_int("n_resamples", n_resamples, minimum=20)
    positive_int("smooth", smooth)
    positive_int("seed", seed, minimum=0)
    trials = np.arange(y.size, dtype=float)
    there = np.isfinite(y)
    first = trials < math.floor(train * y.size)
    fitted, tested = there & first, there & ~first
    if fitted.sum() < 10 or tested.sum() < 2 * block:
        raise InputError(
            "observed must hold at least 10 training trials and two blocks of test trials; got "
            f"{fitted.sum()} and {tested.sum()} with train={train:.3g} and block={block}."
        )
    limits = _bounds(bounds, clock[-1], y.size)
    scale, forecast = fit_time_scale(y, trials, fitted, bank, clock, limits, level)
    models = [
        forecast,
        fit_mean(y, trials, fitted),
        fit_line(y, trials, fitted),
        fit_exponential(y, trials, fitted),
    ]
    scores, differences, tests = _score(y, tested, models, level, block, n_resamples, seed)
    predictions = _predictions(y, trials, first, models, level, smooth)
    gap = models[0].crps(y, tested) - models[1].crps(y, tested)
    return LearningScore(
        name="prediction against real learning",
        statement=_statement(scores, tests, scale, limits, int(fitted.sum()), int(tested.sum())),
        observable="Performance trial by trial through one session of learning.",
        scores=scores,
        differences=differences,
        tests=tests,
        predictions=predictions,
        fit=pd.Series(asdict(scale), dtype=object),
        table=scores,
        curves=_curves(predictions),
        settings=MappingProxyType(
            {
                "train": train,
                "n_trials": int(y.size),
                "n_missing": int((~there).sum()),
                "n_train": int(fitted.sum()),
                "n_test": int(tested.sum()),
                "n_draws": len(bank),
                "level": level,
                "block": block,
                "suggested_block": suggested_block(gap),
                "n_resamples": n_resamples,
                "smooth": smooth,
                "bounds": limits,
            }
        ),
        seed=seed,
    )


def _clock(time: Sequence[float] | np.ndarray | None, n: int) -> np.ndarray:
    """Return the learning time of the grid, from 0."""
    clock = np.arange(n, dtype=float) if time is None else as_float_array("time", time, ndim=1)
    if clock.size != n:
        raise InputError(
            f"time must have one value per point of the curves, {n}; got {clock.size}."
        )
    if np.any(np.diff(clock) <= 0):
        raise InputError("time must increase from point to point.")
    return clock - clock[0]


def _bounds(
    bounds: tuple[float, float] | None, duration: float, n_trials: int
) -> tuple[float, float]:
    """Return the bounds of the learning time per trial."""
    if bounds is None:
        return float(duration) / (1000 * n_trials), float(duration)
    low, high = (positive("bounds", float(value)) for value in bounds)
    if not low < high:
        raise InputError(f"bounds must be 0 < low < high; got {bounds!r}.")
    return low, high


def _score(
    y: np.ndarray,
    tested: np.ndarray,
    models: Sequence[Predictive],
    level: float,
    block: int,
    n_resamples: int,
    seed: int,
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Return scores, differences, and the primary comparisons."""
    errors = np.array([y[tested] - model.point[tested] for model in models])
    crps = np.array([model.crps(y, tested) for model in models])
    below = np.array([model.probability_below(y)[tested] for model in models])
    inside = np.abs(below - 0.5) <= level / 2
    raw = np.concatenate([errors**2, np.abs(errors), crps, inside]).T
    k = len(models)

    def summarise(series: np.ndarray) -> np.ndarray:
        """Return all scores, then all differences, of resampled trials."""
        mse, mae, score, cover = np.split(series.mean(axis=1), 4, axis=1)
        rmse = np.sqrt(mse)
        # where the mean baseline makes no error there is no skill to speak of
        skill = 1 - mse / np.maximum(mse[:, 1:2], 1e-300)
        gaps = [one[:, :1] - one[:, 1:] for one in (rmse, mae, score)]
        return np.concatenate([rmse, mae, score, skill, cover, *gaps], axis=1)

    value, low, high = block_bootstrap(
        raw, summarise, block=block, level=level, n_resamples=n_resamples, seed=seed
    )
    names = ("RMSE", "MAE", "CRPS", "skill", "coverage")
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
    tests = _primary(differences, crps, level, df)
    return scores, differences.drop(columns="error"), tests


def _primary(differences: pd.DataFrame, crps: np.ndarray, level: float, df: float) -> pd.DataFrame:
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


def _smoothed(values: np.ndarray, width: int) -> np.ndarray:
    """Return the centred moving average, over what is there; shorter at the ends."""
    there = np.isfinite(values)
    kernel = np.ones(width + 1 - width % 2)
    total = np.convolve(np.where(there, values, 0.0), kernel, mode="full")
    count = np.convolve(there.astype(float), kernel, mode="full")
    side = len(kernel) // 2
    total, count = total[side : side + values.size], count[side : side + values.size]
    return np.where(count > 0.5, total / np.maximum(count, 1.0), np.nan)


def _predictions(
    y: np.ndarray,
    trials: np.ndarray,
    first: np.ndarray,
    models: Sequence[Predictive],
    level: float,
    smooth: int,
) -> pd.DataFrame:
    """Return the table of trials."""
    low, high = models[0].curve_band(level)
    trial_low, trial_high = models[0].trial_band(level)
    return pd.DataFrame(
        {
            "trial": trials.astype(int),
            "part": np.where(first, "train", "test"),
            "observed": y,
            "smoothed": _smoothed(y, smooth),
            "prediction": models[0].point,
            "low": low,
            "high": high,
            "trial_low": trial_low,
            "trial_high": trial_high,
            **{model.name: model.point for model in models[1:]},
        }
    )


def _curves(predictions: pd.DataFrame) -> pd.DataFrame:
    """Return the curves by arm, in the form of every prediction."""
    parts = []
    for arm in ("smoothed", *_MODELS):
        banded = arm == "prediction"
        parts.append(
            pd.DataFrame(
                {
                    "arm": "observed, smoothed" if arm == "smoothed" else arm,
                    "quantity": "performance",
                    "epoch": predictions["trial"],
                    "mean": predictions[arm],
                    "low": predictions["low"] if banded else predictions[arm],
                    "high": predictions["high"] if banded else predictions[arm],
                    "kind": "draws" if banded else "point",
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


def _statement(
    scores: pd.DataFrame,
    tests: pd.DataFrame,
    scale: TimeScale,
    limits: tuple[float, float],
    n_train: int,
    n_test: int,
) -> str:
    """Say what can and what cannot be concluded."""
    pick = scores.set_index(["model", "score"])
    crps = pick.loc[("prediction", "CRPS")]
    skill = pick.loc[("prediction", "skill")]
    cover = pick.loc[("prediction", "coverage")]
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
    parts = [
        f"The one free number, learning time per trial, was fitted on the first {n_train} trials: "
        f"{number(scale.rate)}; they pin it down {pinned} "
        f"(searched between {number(limits[0])} and {number(limits[1])})."
    ]
    if scale.at_bound:
        parts.append("The best value lies at a bound of the search: no time scale is identified.")
    parts.append(
        f"On the {n_test} later trials the prediction has CRPS {number(crps['value'])} "
        f"{span(crps['low'], crps['high'])}, squared-error skill {number(skill['value'])} "
        f"{span(skill['low'], skill['high'])} relative to the mean of the first trials, and its "
        f"{100 * cover['level']:.3g}% intervals hold {100 * cover['value']:.0f}% of the trials."
    )
    for row in tests.to_dict("records"):
        word = {
            "better": "better than",
            "worse": "worse than",
            "undecided": "not told apart from",
        }[str(row["verdict"])]
        parts.append(
            f"It is {word} the {row['baseline']} baseline (CRPS difference "
            f"{number(row['estimate'])} {span(row['low'], row['high'])}, negative favours the "
            f"prediction; corrected {p_text(float(row['p_corrected']))})."
        )
    verdicts = set(tests["verdict"])
    if verdicts == {"better"}:
        parts.append(
            "It can be concluded that it forecasts these trials better than every baseline."
        )
    elif "worse" in verdicts:
        worse = tests.loc[tests["verdict"] == "worse", "baseline"]
        parts.append(
            f"It can be concluded that {', '.join(worse)} forecasts these trials better than the "
            "prediction does."
        )
    elif "better" in verdicts:
        better = tests.loc[tests["verdict"] == "better", "baseline"]
        parts.append(
            f"It can be concluded that it forecasts these trials better than {', '.join(better)}, "
            "not that it is the best of all."
        )
        if "mean" not in set(better):
            parts.append(
                "As the plain mean of the first trials is not beaten, this says that the other "
                "baselines extrapolate badly, not that the predicted learning is there."
            )
    else:
        parts.append("No winner can be named: the margins are small beside the noise of trials.")
    parts.append(
        "These are the trials of one session: nothing follows for other sessions or animals, and a "
        "difference that is not shown is not evidence that the models forecast equally well."
    )
    return " ".join(parts)
