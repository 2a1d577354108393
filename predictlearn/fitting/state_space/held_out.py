"""Scores of the network with process noise, also on trials held out of its fit by folds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pandas as pd

from predictlearn.arrays import Array
from predictlearn.fitting.state_space.inputs import InputDesign
from predictlearn.fitting.state_space.kalman import Observations, Parameters, Sums
from predictlearn.fitting.state_space.squarem import Point, climb, evaluate

__all__ = ["METRICS", "held_out_scores", "mean_activity", "smoothed_activity"]


METRICS = ("r2", "co-smoothing", "log-likelihood")

# Parts of the neurons that are predicted from the others in turn.
_PARTS = 4


def mean_activity(p: Parameters, design: InputDesign) -> Array:
    """Return mean activity, without noise, that inputs and initial means lead to."""
    f = design.regressors(p.inputs, p.leak)
    state = p.start[design.condition]
    k = np.zeros((*f.shape[:2], p.rank))
    for t in range(f.shape[1]):
        k[:, t] = state
        state = state @ p.step.T + f[:, t, design.lead :] @ p.drive.T
    return np.asarray(f @ p.base.T + k @ p.u.T)


def smoothed_activity(
    p: Parameters, y: Array, design: InputDesign, hidden: npt.NDArray[np.int64]
) -> Array:
    """Return activity as the neurons that are not hidden give it through the smoother."""
    seen = y.copy()
    seen[:, :, hidden] = np.nan
    point = evaluate(p, Observations.from_array(seen), design, np.ones(len(y)))
    return np.asarray(point.f @ p.base.T + point.at.mean @ p.u.T)


def _folds(
    condition: npt.NDArray[np.int64], cv: int, rng: np.random.Generator
) -> npt.NDArray[np.int64]:
    """Return the fold of each trial, conditions evenly among them; -1 for one that has no other."""
    fold = np.full(len(condition), -1, dtype=np.int64)
    at = 0
    for c in range(int(condition.max()) + 1):
        members = rng.permutation(np.flatnonzero(condition == c))
        if len(members) > 1:
            fold[members] = (at + np.arange(len(members))) % cv
            at += len(members)
    return fold


def held_out_scores(
    point: Point, data: Observations, design: InputDesign, y: Array, cv: int, max_iter: int,
    tol: float, seed: int,
) -> pd.DataFrame:  # fmt: skip
    """Score trials that were held out, fold by fold.

    Every fold is fitted without its trials from the parameters of the whole fit, since it is to say
    how well *this* optimum predicts.

    Parameters
    ----------
    point : Point
        The fit.
    data, design : Observations, InputDesign
        What was fitted.
    y : ndarray, shape (trials, time, neurons)
        The same activity, NaN where missing.
    cv : int
        Folds.
    max_iter, tol
        As in `climb`.
    seed : int
        Of the folds, and of the parts of the neurons.

    Returns
    -------
    DataFrame
        Index r2, co-smoothing, log-likelihood; columns mean and se over folds. NaN where no fold
        could be scored.
    """
    rng = np.random.default_rng(seed)
    fold = _folds(design.condition, cv, rng)
    part = rng.permutation(np.arange(y.shape[2]) % _PARTS)
    rows = []
    for number in range(cv):
        test = np.flatnonzero(fold == number)
        weights = np.ones(len(y))
        weights[test] = 0.0
        counts = Sums.of(data, point.f, weights).counts
        if not len(test) or counts.min() <= point.f.shape[2] + point.p.rank:
            continue
        try:
            p = climb(point.p, data, design, weights, max_iter, tol)[0].p
        except (np.linalg.LinAlgError, FloatingPointError):
            continue
        held = replace(
            design,
            condition=design.condition[test],
            inputs=None if design.inputs is None else design.inputs[test],
        )
        rows.append(_scores(p, y[test], y[fold != number], held, part))
    table = pd.DataFrame(rows, columns=list(METRICS), dtype=float)
    return pd.DataFrame(
        {"mean": table.mean(), "se": table.std(ddof=1) / np.sqrt(max(len(table), 1))}
    )


def _scores(
    p: Parameters, y: Array, trained: Array, design: InputDesign, part: npt.NDArray[np.int64]
) -> list[float]:
    """Return the scores of held-out trials."""
    seen = ~np.isnan(trained)
    centre = np.where(seen, trained, 0.0).sum(axis=(0, 1)) / np.maximum(seen.sum(axis=(0, 1)), 1)
    about = float(np.nansum((y - centre) ** 2))
    guess = np.zeros_like(y)
    for number in range(_PARTS):
        hidden = np.flatnonzero(part == number)
        if len(hidden):
            guess[:, :, hidden] = smoothed_activity(p, y, design, hidden)[:, :, hidden]
    likelihood = evaluate(p, Observations.from_array(y), design, np.ones(len(y))).at.log_likelihood
    errors = [float(np.nansum((y - g) ** 2)) for g in (mean_activity(p, design), guess)]
    return [
        *(1 - error / about if about > 0 else np.nan for error in errors),
        likelihood / float((~np.isnan(y)).sum()),
    ]
