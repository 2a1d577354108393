"""A predicted learning curve against real learning, trial by trial, with honest baselines."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd

from predictlearn.checks import as_float_array, positive, positive_int
from predictlearn.errors import InputError
from predictlearn.real_learning.curve_fits import (
    fit_exponential,
    fit_line,
    fit_mean,
    fit_time_scale,
)
from predictlearn.real_learning.learning_scores import score_models, verdict_in_words
from predictlearn.real_learning.predictive import Predictive
from predictlearn.statistics.comparisons import check_level
from predictlearn.statistics.resampling import suggested_block

__all__ = ["LearningScore", "score_prediction"]

BASELINES = ("mean", "line", "exponential")
_MODELS = ("prediction", *BASELINES)


@dataclass(frozen=True)
class LearningScore:
    """How well a predicted learning curve forecasts real trials.

    Parameters
    ----------
    name, observable : str
        Its name, and what was measured.
    paragraphs : tuple of str
        The result in plain words, with what can and cannot be concluded; ``statement`` is all of
        it.
    scores : pandas.DataFrame
        ``model``, ``score`` (``"RMSE"``, ``"MAE"``, ``"CRPS"``, ``"skill"``, ``"coverage"``,
        ``"bias"``: predicted minus observed),
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
    paragraphs: tuple[str, ...]
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

    @property
    def statement(self) -> str:
        """The prediction in words and numbers."""
        return " ".join(self.paragraphs)

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
    positive_int("n_resamples", n_resamples, minimum=20, maximum=1_000_000)
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
    scores, differences, tests = score_models(y, tested, models, level, block, n_resamples, seed)
    predictions = _predictions(y, trials, first, models, level, smooth)
    gap = models[0].crps(y, tested) - models[1].crps(y, tested)
    return LearningScore(
        name="prediction against real learning",
        paragraphs=verdict_in_words(
            scores, tests, scale, limits, int(fitted.sum()), int(tested.sum())
        ),
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
