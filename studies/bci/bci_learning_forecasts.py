"""Forecasts of the last pieces of a block from the first ones, and their scores.

Part of ``bci_learning.py``. Every quantity is a series over pieces with a known error. A forecast
is a set of draws, (draws, pieces, quantities), without the error of the measurement to come, which
the scores add.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from predictlearn.real_learning.predictive import crps_mixture

N_DRAWS = 200
# Time scales that an exponential may have, in units of the training span.
SCALES = np.geomspace(0.1, 3.0, 12)


def least_squares(design, ahead, values, sds, rng):
    """Draw forecasts of every series from a weighted regression on known regressors."""
    draws = np.empty((N_DRAWS, len(ahead), values.shape[1]))
    misfit = np.empty(values.shape[1])
    for q in range(values.shape[1]):
        white = design / sds[:, q, None]
        inverse = np.linalg.inv(white.T @ white)
        found = inverse @ white.T @ (values[:, q] / sds[:, q])
        misfit[q] = np.sum(((values[:, q] - design @ found) / sds[:, q]) ** 2)
        root = np.linalg.cholesky(inverse)
        some = found + rng.standard_normal((N_DRAWS, len(found))) @ root.T
        draws[:, :, q] = some @ ahead.T
    return draws, misfit


def no_change(when, ahead, values, sds, rng):
    """Return the last piece's value, with its error."""
    noise = rng.standard_normal((N_DRAWS, 1, values.shape[1]))
    return np.repeat(values[-1] + sds[-1] * noise, len(ahead), axis=1)


def constant(when, ahead, values, sds, rng):
    """Return the mean of the training pieces: no learning at all."""
    return least_squares(np.ones((len(when), 1)), np.ones((len(ahead), 1)), values, sds, rng)[0]


def line(when, ahead, values, sds, rng):
    """Extrapolate a line."""

    def design(t):
        return np.stack([np.ones(len(t)), t / when[-1]], axis=1)

    return least_squares(design(when), design(ahead), values, sds, rng)[0]


def exponential(when, ahead, values, sds, rng):
    """Saturating growth, a + b exp(-t/T): T from a grid, drawn by its likelihood."""
    every, misfits = [], []
    for scale in SCALES * (when[-1] - when[0]):

        def design(t, scale=scale):
            return np.stack([np.ones(len(t)), np.exp(-(t - when[0]) / scale)], axis=1)

        draws, misfit = least_squares(design(when), design(ahead), values, sds, rng)
        every.append(draws)
        misfits.append(misfit)
    weights = np.exp(-0.5 * (np.array(misfits) - np.min(misfits, axis=0)))
    out = np.empty_like(every[0])
    for q in range(values.shape[1]):
        pick = rng.choice(len(SCALES), N_DRAWS, p=weights[:, q] / weights[:, q].sum())
        out[:, :, q] = np.array([every[k][d, :, q] for d, k in enumerate(pick)])
    return out


BASELINES = {
    "no change (last piece)": no_change,
    "constant (training mean)": constant,
    "line": line,
    "exponential": exponential,
}


def scored(forecasts, observed, sds, names, seed=0):
    """Score forecasts of test pieces.

    Parameters
    ----------
    forecasts : dict of ndarray, (draws, pieces, quantities)
        The forecasts.
    observed, sds : ndarray, (pieces, quantities)
        What was measured and its error, the unit in which scores are given.
    names : list of str
        The quantities.

    Returns
    -------
    tuple of pandas.DataFrame
        Means by model, and every score.
    """
    rows = []
    for model, draws in forecasts.items():
        for q, name in enumerate(names):
            for k in range(len(observed)):
                sd, y = sds[k, q], observed[k, q]
                means = draws[:, k, q] / sd
                crps = crps_mixture(np.array([y / sd]), means[:, None], np.ones((len(means), 1)))
                noisy = means + np.random.default_rng((seed, q, k)).standard_normal(len(means))
                low, high = np.quantile(noisy, [0.025, 0.975])
                rows.append(
                    {
                        "model": model,
                        "quantity": name,
                        "piece": k,
                        "CRPS": float(np.squeeze(crps)),
                        "squared error": float((means.mean() - y / sd) ** 2),
                        "coverage": float(low <= y / sd <= high),
                    }
                )
    every = pd.DataFrame(rows)
    numbers = ["CRPS", "squared error", "coverage"]
    table = every.groupby("model", sort=False)[numbers].mean()
    return table, every


def against(every, model, seed=0, n=4000):
    """Compare a model with every other by CRPS: bootstrap over quantities, and over pieces.

    Quantities of one piece share their trials and are not independent: the interval holds for the
    sampling of quantities and pieces taken together as two crossed factors.
    """
    pivot = every.pivot_table(
        index=["quantity", "piece"], columns="model", values="CRPS", sort=False
    )
    rng = np.random.default_rng(seed)
    quantities = list(dict.fromkeys(every["quantity"]))
    pieces = sorted(set(every["piece"]))
    rows = {}
    for other in dict.fromkeys(every["model"]):
        if other == model:
            continue
        gap = (pivot[model] - pivot[other]).unstack("piece").loc[quantities, pieces].to_numpy()
        means = []
        for _ in range(n):
            a = rng.integers(len(quantities), size=len(quantities))
            b = rng.integers(len(pieces), size=len(pieces))
            means.append(gap[np.ix_(a, b)].mean())
        low, high = np.quantile(means, [0.025, 0.975])
        rows[other] = {"difference": gap.mean(), "low": low, "high": high}
    return pd.DataFrame(rows).T
