"""Fits on the first part of a learning curve: one time scale for a prediction, and baselines.

Every fit returns a `Predictive` for all trials: the best curve, and a mixture that holds the
uncertainty of the fit and the noise of trials, both estimated on the training trials alone. Serial
correlation of the residuals inflates the uncertainty of the fit by their variance-inflation factor.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import optimize, stats

from predictlearn.real_learning.predictive import Predictive

__all__ = ["TimeScale", "fit_exponential", "fit_line", "fit_mean", "fit_time_scale"]

_GRID = 401
_COMPONENTS = 240
_FASTEST = 10.0


@dataclass(frozen=True)
class TimeScale:
    """The fitted time scale of a predicted curve.

    Parameters
    ----------
    rate : float
        Learning time per trial.
    low, high : float
        Ends of the profile interval; the bound of the search where the interval is open.
    open_low, open_high : bool
        Whether the training trials leave that side of the interval open.
    at_bound : bool
        Whether the best value lies at a bound of the search.
    noise : float
        Standard deviation of trials around the curve.
    inflation : float
        Variance inflation of means by serial correlation of the residuals.
    """

    rate: float
    low: float
    high: float
    open_low: bool
    open_high: bool
    at_bound: bool
    noise: float
    inflation: float


def variance_inflation(residuals: np.ndarray, lags: int = 10) -> float:
    """Return how much serial correlation inflates the variance of a mean, at least 1.

    1 + 2 sum (1 - k / (lags + 1)) r_k over the first autocorrelations (Bartlett weights).
    """
    x = residuals - residuals.mean()
    lags = min(lags, x.size // 4)
    power = float(x @ x)
    if power == 0.0:
        return 1.0
    r = np.array([x[: x.size - k] @ x[k:] for k in range(1, lags + 1)]) / power
    return max(1.0, 1.0 + 2.0 * float(np.sum((1 - np.arange(1, lags + 1) / (lags + 1)) * r)))


def _noise(squares: float, n: int, used: int, scale: float) -> float:
    """Return the residual standard deviation, kept off zero so that scores stay finite."""
    return max(math.sqrt(squares / max(1, n - used)), 1e-9 * max(scale, 1e-300))


def _strata(log_weights: np.ndarray, count: int, offset: float) -> np.ndarray:
    """Return positions of `count` equally likely strata of weights given on a grid."""
    weights = np.exp(log_weights - log_weights.max())
    cumulative = np.cumsum(weights) / weights.sum()
    targets = (np.arange(count) + offset) / count
    return np.minimum(np.searchsorted(cumulative, targets), len(weights) - 1)


def fit_time_scale(
    observed: np.ndarray,
    trials: np.ndarray,
    train: np.ndarray,
    curves: np.ndarray,
    time: np.ndarray,
    bounds: tuple[float, float],
    level: float,
) -> tuple[TimeScale, Predictive]:
    """Fit the one free number of a predicted learning curve: learning time per trial.

    Least squares of the mean over draws, on a logarithmic grid within the bounds and refined there;
    the profile interval holds every rate whose sum of squares is below
    SSE (1 + F inflation / (n - 1)). The predictive mixture pairs every draw with rates from the
    profile likelihood, flat in the logarithm of the rate within the bounds.

    Parameters
    ----------
    observed : numpy.ndarray, (trials,)
        Observations; NaN where missing.
    trials : numpy.ndarray, (trials,)
        Trial numbers from 0.
    train : numpy.ndarray of bool, (trials,)
        Observed training trials.
    curves : numpy.ndarray, (draws, grid)
        Predicted curves.
    time : numpy.ndarray, (grid,)
        Their learning time, from 0.
    bounds : tuple of float
        Smallest and largest rate.
    level : float
        Level of the profile interval.

    Returns
    -------
    scale : TimeScale
        The fit.
    predictive : Predictive
        The prediction for all trials.
    """
    mean = curves.mean(axis=0)
    y, when = observed[train], trials[train]

    def squares(log_rate: float) -> float:
        """Return the sum of squares on the training trials."""
        return float(np.sum((y - np.interp(math.exp(log_rate) * when, time, mean)) ** 2))

    grid = np.linspace(math.log(bounds[0]), math.log(bounds[1]), _GRID)
    sums = np.array([squares(value) for value in grid])
    best = int(np.argmin(sums))
    low, high = grid[max(0, best - 1)], grid[min(_GRID - 1, best + 1)]
    refined = optimize.minimize_scalar(squares, bounds=(low, high), method="bounded")
    log_rate, least = float(grid[best]), float(sums[best])
    if refined.fun < least:
        log_rate, least = float(refined.x), float(refined.fun)
    residuals = y - np.interp(math.exp(log_rate) * when, time, mean)
    inflation = variance_inflation(residuals)
    noise = _noise(least, y.size, 1, float(np.abs(y).max()))
    limit = least + float(stats.f.ppf(level, 1, max(1, y.size - 1))) * inflation * noise**2
    inside = sums <= limit
    inside[best] = True
    # the interval is the hull of what is inside: a profile may have several valleys
    first, last = int(np.argmax(inside)), _GRID - 1 - int(np.argmax(inside[::-1]))
    scale = TimeScale(
        rate=math.exp(log_rate),
        low=math.exp(grid[max(0, first - 1)] if first else grid[0]),
        high=math.exp(grid[min(_GRID - 1, last + 1)]),
        open_low=first == 0,
        open_high=last == _GRID - 1,
        at_bound=best in (0, _GRID - 1),
        noise=noise,
        inflation=inflation,
    )
    log_weights = -(sums - least) / (2 * noise**2 * inflation)
    draws = curves
    if len(draws) > _COMPONENTS:
        draws = draws[np.linspace(0, len(draws) - 1, _COMPONENTS).round().astype(int)]
    per_draw = max(1, min(40, _COMPONENTS // len(draws)))
    means: list[np.ndarray] = []
    for index, curve in enumerate(draws):
        # strata shifted from draw to draw, so that together they cover the profile evenly
        places = _strata(log_weights, per_draw, (index + 0.5) / len(draws))
        means.extend(np.interp(np.exp(grid[place]) * trials, time, curve) for place in places)
    point = np.interp(scale.rate * trials, time, mean)
    stacked = np.array(means)
    return scale, Predictive("prediction", point, stacked, np.full_like(stacked, noise))


def _linear(
    y: np.ndarray, design: np.ndarray, everywhere: np.ndarray, used: int
) -> tuple[np.ndarray, np.ndarray, float]:
    """Return the fit of a linear model for all trials, its predictive sd, and the squared error."""
    beta, *_ = np.linalg.lstsq(design, y, rcond=None)
    residuals = y - design @ beta
    least = float(residuals @ residuals)
    noise = _noise(least, y.size, used, float(np.abs(y).max()))
    inverse = np.linalg.pinv(design.T @ design)
    leverage = np.einsum("ij,jk,ik->i", everywhere, inverse, everywhere)
    sd = noise * np.sqrt(1 + variance_inflation(residuals) * leverage)
    return everywhere @ beta, sd, least


def fit_mean(observed: np.ndarray, trials: np.ndarray, train: np.ndarray) -> Predictive:
    """Fit a constant on the training trials.

    Parameters
    ----------
    observed, trials, train
        As for `fit_time_scale`.

    Returns
    -------
    Predictive
        For all trials.
    """
    ones = np.ones((trials.size, 1))
    point, sd, _ = _linear(observed[train], ones[train], ones, 1)
    return Predictive("mean", point, point[None], sd[None])


def fit_line(observed: np.ndarray, trials: np.ndarray, train: np.ndarray) -> Predictive:
    """Fit a straight line on the training trials and extrapolate it.

    Parameters
    ----------
    observed, trials, train
        As for `fit_time_scale`.

    Returns
    -------
    Predictive
        For all trials.
    """
    design = np.column_stack([np.ones(trials.size), trials / trials[-1]])
    point, sd, _ = _linear(observed[train], design[train], design, 2)
    return Predictive("line", point, point[None], sd[None])


def fit_exponential(observed: np.ndarray, trials: np.ndarray, train: np.ndarray) -> Predictive:
    """Fit an exponential approach a + b (1 - exp(-trial / s)) on the training trials.

    For a given s the model is linear in a and b, so the best s between 10 trials (faster is not
    told from noise in the first trials) and 3 sessions is found on a grid and refined: no start can
    lead it astray. The mixture takes s from its profile likelihood.

    Parameters
    ----------
    observed, trials, train
        As for `fit_time_scale`.

    Returns
    -------
    Predictive
        For all trials.
    """
    y = observed[train]

    def design(log_scale: float) -> np.ndarray:
        """Return the design matrix for all trials."""
        return np.column_stack([np.ones(trials.size), -np.expm1(-trials / math.exp(log_scale))])

    def squares(log_scale: float) -> float:
        """Return the least sum of squares for a scale."""
        columns = design(log_scale)[train]
        beta = np.linalg.lstsq(columns, y, rcond=None)[0]
        return float(np.sum((y - columns @ beta) ** 2))

    grid = np.linspace(math.log(_FASTEST), math.log(3.0 * trials.size), 121)
    sums = np.array([squares(value) for value in grid])
    best = int(np.argmin(sums))
    low, high = grid[max(0, best - 1)], grid[min(len(grid) - 1, best + 1)]
    refined = optimize.minimize_scalar(squares, bounds=(low, high), method="bounded")
    log_scale = float(refined.x) if refined.fun < sums[best] else float(grid[best])
    columns = design(log_scale)
    point, _, least = _linear(y, columns[train], columns, 3)
    residuals = y - point[train]
    noise = _noise(least, y.size, 3, float(np.abs(y).max()))
    log_weights = -(sums - least) / (2 * noise**2 * variance_inflation(residuals))
    places = _strata(log_weights, 40, 0.5)
    fits = []
    for place in places:
        columns = design(float(grid[place]))
        mean, sd, _ = _linear(y, columns[train], columns, 3)
        fits.append((mean, sd))
    return Predictive(
        "exponential", point, np.array([m for m, _ in fits]), np.array([s for _, s in fits])
    )
