"""Spike counts: their likelihood, and the dispersion of the negative binomial."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special

from predictlearn.arrays import Array

__all__ = ["CountNoise", "fit_dispersion", "inverse_link", "log_likelihood_constant"]


# A dispersion below this is that of a Poisson.
_LEAST, _MOST = 1e-6, 1e3
_STEPS = 30


@dataclass(frozen=True, eq=False)
class CountNoise:
    """How counts scatter about link(offset + gain x).

    Parameters
    ----------
    softplus : bool
        Whether the link is softplus; else it is exp.
    dispersion : ndarray, shape (neurons,)
        alpha in Var = lam + alpha lam^2; 0 for Poisson.
    gain : float
        The known gain.
    """

    softplus: bool
    dispersion: Array
    gain: float = 1.0

    def mean(self, eta: Array) -> Array:
        """Return the expected counts."""
        if self.softplus:
            return np.asarray(np.logaddexp(0.0, eta))
        return np.asarray(np.exp(np.minimum(eta, 700.0)))


def inverse_link(rate: Array, softplus: bool) -> Array:
    """Return the argument of the link that gives a rate above 0."""
    return np.asarray(rate + np.log(-np.expm1(-rate)) if softplus else np.log(rate))


def log_likelihood_constant(counts: Array, dispersion: Array) -> Array:
    """Return the part of the log likelihood that does not depend on the rates, by neuron.

    Parameters
    ----------
    counts : ndarray, shape (neurons, rows)
        Counts; 0 where missing, which adds nothing.
    dispersion : ndarray, shape (neurons,)
        alpha; 0 for Poisson.

    Returns
    -------
    ndarray, shape (neurons,)
        Nats.
    """
    out = np.empty(len(counts))
    for i, y in enumerate(counts):
        value, times = np.unique(y, return_counts=True)
        each = -special.gammaln(value + 1)
        if dispersion[i] > 0:
            size = 1 / dispersion[i]
            each += special.gammaln(value + size) - special.gammaln(size)
            each += value * np.log(dispersion[i])
        out[i] = times @ each
    return out


def fit_dispersion(
    counts: Array, seen: npt.NDArray[np.bool_] | None, rate: Array, before: Array
) -> Array:
    """Find the dispersion of each neuron by maximum likelihood, its rates held.

    Parameters
    ----------
    counts, rate : ndarray, shape (neurons, rows)
        Counts and their expectation.
    seen : ndarray of bool, shape (neurons, rows), or None
        Bins that were seen.
    before : ndarray, shape (neurons,)
        A first guess; 0 for none.

    Returns
    -------
    ndarray, shape (neurons,)
        alpha; 0 where the counts scatter no more than those of a Poisson, for which the likelihood
        has its maximum at the edge.
    """
    out = np.zeros(len(counts))
    for i, (y, lam) in enumerate(zip(counts, rate, strict=True)):
        if seen is not None:
            y, lam = y[seen[i]], lam[seen[i]]
        # half the slope of the likelihood at alpha = 0
        extra = float(np.sum((y - lam) ** 2 - y))
        if extra > 0:
            guess = before[i] if before[i] > 0 else extra / float(lam @ lam)
            alpha = _climb(y, lam, float(np.clip(guess, _LEAST, _MOST)))
            out[i] = alpha if alpha > 1.5 * _LEAST else 0.0
    return out


def _climb(y: Array, lam: Array, alpha: float) -> float:
    """Newton's method in log alpha, for one neuron."""
    value, times = np.unique(y, return_counts=True)
    gap, s = lam - y, -np.log(alpha)
    low, high = -np.log(_MOST), -np.log(_LEAST)
    for _ in range(_STEPS):
        r = np.exp(s)
        inverse = 1 / (r + lam)
        slope = times @ (special.digamma(value + r) - special.digamma(r))
        slope += float(np.sum(np.log(r * inverse) + gap * inverse))
        curve = times @ (special.polygamma(1, value + r) - special.polygamma(1, r))
        curve += float(np.sum(1 / r - inverse - gap * inverse**2))
        # in s = log r
        curve, slope = r * slope + r**2 * curve, r * slope
        move = np.clip(-slope / curve, -1.5, 1.5) if curve < 0 else 0.7 * np.sign(slope)
        s, last = float(np.clip(s + move, low, high)), s
        if abs(s - last) < 1e-8:
            break
    return float(np.exp(-s))
