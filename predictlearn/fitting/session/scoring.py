"""How well predicted activity agrees with recorded activity."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import special

from predictlearn.arrays import Array
from predictlearn.errors import InputError, choice
from predictlearn.fitting.session.validation import check_counts

__all__ = ["METRICS", "bits_gained", "count_log_likelihood", "score"]


METRICS = ("r2", "bits-per-spike", "log-likelihood")


def count_log_likelihood(counts: Array, rate: Array, dispersion: Array) -> Array:
    """Return the log likelihood of counts, bin by bin, NaN where missing.

    Parameters
    ----------
    counts, rate : ndarray, shape (..., neurons)
        Counts and their expectation.
    dispersion : ndarray, shape (neurons,)
        alpha in Var = lam + alpha lam^2; 0 for Poisson.

    Returns
    -------
    ndarray, shape (..., neurons)
        Nats.

    Examples
    --------
    >>> np.exp(count_log_likelihood(np.arange(3.0)[:, None], np.ones((3, 1)), np.zeros(1))).round(3)
    array([[0.368],
           [0.368],
           [0.184]])
    """
    rate = np.maximum(rate, 1e-300)
    out = special.xlogy(counts, rate) - special.gammaln(counts + 1)
    spread = np.flatnonzero(dispersion > 0)
    poisson = np.flatnonzero(~(dispersion > 0))
    out[..., poisson] -= rate[..., poisson]
    if spread.size:
        alpha, y, lam = dispersion[spread], counts[..., spread], rate[..., spread]
        size = 1 / alpha
        out[..., spread] += special.gammaln(y + size) - special.gammaln(size) + y * np.log(alpha)
        out[..., spread] -= (y + size) * np.log1p(alpha * lam)
    return np.asarray(out)


def bits_gained(counts: Array, rate: Array, level: Array | float) -> float:
    """Return what predicted rates gain over constant ones, in bits: the Poisson likelihood ratio.

    A score of rates alone. The Poisson likelihood is taken whatever noise the rates were fitted
    with, so that fits with other noise models can be compared: a dispersion that is fitted too
    would be in both likelihoods and make their difference a different quantity.

    Parameters
    ----------
    counts, rate : ndarray
        Counts, NaN where missing, and predicted counts per bin.
    level : ndarray or float
        The constant rates that they are compared with, broadcast to counts.

    Returns
    -------
    float
        Sum over the bins seen of [y log(rate / level) - rate + level] / log 2.

    References
    ----------
    Pei et al. (2021), arXiv:2109.04463, appendix (bits per spike, once divided by the spikes).

    Examples
    --------
    >>> round(bits_gained(np.array([0.0, 4.0]), np.array([1.0, 3.0]), 2.0), 3)
    2.34
    """
    rate, level = np.maximum(rate, 1e-300), np.maximum(level, 1e-300)
    each = special.xlogy(counts, rate / level) - rate + level
    return float(np.nansum(each) / np.log(2))


def score(fit: Any, y: Array, prediction: Array, metric: str) -> float:
    """Score a prediction; see `LowRankRNN.score`.

    Parameters
    ----------
    fit : LowRankRNN
        Fitted.
    y, prediction : ndarray, shape (trials, time, neurons)
        Recorded, NaN where missing, and predicted.
    metric : {"r2", "bits-per-spike", "log-likelihood"}
        What to return.

    Returns
    -------
    float
        The score.

    Raises
    ------
    InputError
        A metric that the noise does not have.
    """
    choice("metric", metric, METRICS)
    kept = ~fit.silent_
    centre = fit.activity_mean_
    if not kept.all():
        y, prediction, centre = y[:, :, kept], prediction[:, :, kept], centre[kept]
    counts = fit.noise != "gaussian"
    if counts:
        check_counts(y)
    if metric == "bits-per-spike" and not counts:
        raise InputError(
            "metric='bits-per-spike' needs spike counts, that is a fit with noise='poisson' or "
            "'negative-binomial'; use metric='r2'"
        )
    if metric == "r2":
        error = sum(float(np.nansum((a - b) ** 2)) for a, b in zip(y, prediction, strict=True))
        about = sum(float(np.nansum((a - centre) ** 2)) for a in y)
        return 1 - error / about
    if not counts:
        variance = fit.noise_variance_[kept]
        each = -0.5 * ((y - prediction) ** 2 / variance + np.log(2 * np.pi * variance))
        return float(np.nanmean(each))
    if metric == "log-likelihood":
        return float(np.nanmean(count_log_likelihood(y, prediction, fit.dispersion_[kept])))
    spikes = float(np.nansum(y))
    if not spikes > 0:
        raise InputError("bits per spike need at least one spike in activity; got none")
    return bits_gained(y, prediction, centre) / spikes
