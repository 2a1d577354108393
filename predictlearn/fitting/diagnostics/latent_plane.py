"""Recorded activity in the coordinates of the fit, beside the trajectory that the fit predicts."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from predictlearn.arrays import Array
from predictlearn.fitting.session.observation import Observation, neuron_coefficients

__all__ = ["latent_trajectories"]


def latent_trajectories(
    fit: Any, activity: Array, k: Array, conditions: npt.NDArray[np.intp], level: float = 0.95
) -> tuple[pd.DataFrame, pd.Series]:
    """Project activity on the loadings and compare it with the predicted k_u, by condition.

    Generalised least squares about the prediction, with W the inverse noise variance and J the
    slope of every neuron's mean in k::

        recorded k = k + (J^T W J)^-1 J^T W (activity - mean)

    For a linear network that is the least-squares projection itself; for erf and counts it is one
    Newton step from the predicted state, good as long as the two lie near each other.

    Parameters
    ----------
    fit : LowRankRNN
        Fitted.
    activity : ndarray, shape (trials, time, neurons)
        Activity; NaN where missing.
    k : ndarray, shape (trials, time, n_in + rank)
        Predicted reduced activity.
    conditions : ndarray of int, shape (trials,)
        Condition of each trial.
    level : float
        Of the bands.

    Returns
    -------
    tuple of DataFrame and Series
        One row a condition, coordinate (u1, ...) and bin: condition, coordinate, bin, predicted,
        recorded (mean over trials), low, high (over trials; from the noise of the neurons where a
        condition has one trial), trials. And by coordinate the share of the variance of the
        recorded means that the prediction explains, about their mean. The mean over trials still
        holds noise, so 1 is not reached even by the truth.
    """
    observation = Observation.of(fit)
    coefficients, spread = neuron_coefficients(fit)
    kept = np.isfinite(coefficients).all(axis=1)
    n_trials, n_bins, n_base = k.shape
    flat, y = k.reshape(-1, n_base), activity.reshape(n_trials * n_bins, -1)
    normal = np.zeros((len(flat), n_base, n_base))
    slope = np.zeros((len(flat), n_base))
    for i in np.flatnonzero(kept):
        loadings = coefficients[i, observation.n_lead :]
        mean, bend = observation.current_slope(coefficients[i], flat)
        seen = ~np.isnan(y[:, i])
        weight = np.where(seen, bend / observation.variance(mean, spread[i]), 0.0)
        missed = np.where(seen, y[:, i] - mean, 0.0)
        normal += (weight * bend)[:, None, None] * np.outer(loadings, loadings)
        slope += (weight * missed)[:, None] * loadings
    scale = 1 / np.sqrt(np.maximum(np.einsum("taa->ta", normal), 1e-300))
    scaled = normal * scale[:, :, None] * scale[:, None, :]
    inverse = np.linalg.pinv(scaled, rcond=1e-10, hermitian=True)
    inverse = inverse * scale[:, :, None] * scale[:, None, :]
    recorded = (flat + np.einsum("tab,tb->ta", inverse, slope)).reshape(k.shape)
    error = np.sqrt(np.einsum("taa->ta", inverse)).reshape(k.shape)
    there = np.asarray((~np.isnan(activity)).any(axis=2))
    n_in = n_base - fit.rank
    parts = []
    for condition in np.unique(conditions):
        which = conditions == condition
        count = there[which].sum(axis=0)
        for r in range(fit.rank):
            values = np.where(there[which], recorded[which, :, n_in + r], 0.0)
            mean = values.sum(axis=0) / np.maximum(count, 1)
            apart = np.where(there[which], (values - mean) ** 2, 0.0).sum(axis=0)
            sem = np.sqrt(apart / np.maximum(count - 1, 1) / np.maximum(count, 1))
            half = stats.t.ppf((1 + level) / 2, np.maximum(count - 1, 1)) * sem
            alone = stats.norm.ppf((1 + level) / 2) * error[which, :, n_in + r].mean(axis=0)
            half = np.where(count > 1, half, alone)
            unseen = np.where(count > 0, 0.0, np.nan)
            parts.append(
                pd.DataFrame(
                    {
                        "condition": condition,
                        "coordinate": f"u{r + 1}",
                        "bin": np.arange(n_bins),
                        "predicted": k[which, :, n_in + r].mean(axis=0),
                        "recorded": mean + unseen,
                        "low": mean - half + unseen,
                        "high": mean + half + unseen,
                        "trials": count,
                    }
                )
            )
    table = pd.concat(parts, ignore_index=True)
    explained = {}
    for name, part in table.dropna(subset=["recorded"]).groupby("coordinate"):
        left = np.sum((part["recorded"] - part["predicted"]) ** 2)
        explained[str(name)] = float(
            1 - left / np.sum((part["recorded"] - part["recorded"].mean()) ** 2)
        )
    return table, pd.Series(explained, name="explained")
