"""Spike counts: their likelihood, and the dispersion of the negative binomial."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special

__all__ = ["CountNoise", "fit_dispersion", "inverse_link", "log_likelihood_constant"]

Array = npt.NDArray[np.float64]

# A dispersion below this is that of a Poisson.
_LEAST, _MOST = 1e-6, 1e3
_STEPS = 12
# Neurons whose bins are looked at together, so that temporary arrays stay small.
_CHUNK = 32


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
    for first in range(0, len(counts), _CHUNK):
        part = slice(first, first + _CHUNK)
        y, lam = counts[part], rate[part]
        w = np.ones_like(lam) if seen is None else seen[part].astype(float)
        # half the slope of the likelihood at alpha = 0
        extra = np.einsum("ir,ir->i", w, (y - lam) ** 2 - y)
        guess = extra / np.maximum(np.einsum("ir,ir,ir->i", w, lam, lam), 1e-300)
        guess = np.where(before[part] > 0, before[part], guess)
        s = np.log(np.clip(guess, _LEAST, _MOST))
        largest = int(y.max())
        steps = np.arange(max(largest, 1))
        # how many bins have more than j spikes: sums over j < y become sums over j
        above = np.stack([(y > j).sum(axis=1) for j in steps], axis=1)
        for _ in range(_STEPS):
            r = np.exp(-s)[:, None]
            both = r + lam
            gap = lam - y
            each = np.log(r / both) + gap / both
            first_slope = (above / (r + steps)).sum(axis=1) + np.einsum("ir,ir->i", w, each)
            each = 1 / r - 1 / both - gap / both**2
            second = np.einsum("ir,ir->i", w, each) - (above / (r + steps) ** 2).sum(axis=1)
            r = r[:, 0]
            slope, curve = -r * first_slope, r * first_slope + r**2 * second
            newton = -slope / np.where(curve < 0, curve, -1.0)
            move = np.where(curve < 0, np.clip(newton, -1.5, 1.5), 0.7 * np.sign(slope))
            s = np.clip(s + move, np.log(_LEAST), np.log(_MOST))
            if np.abs(move).max() < 1e-6:
                break
        alpha = np.exp(s)
        out[part] = np.where((extra > 0) & (alpha > 1.5 * _LEAST), alpha, 0.0)
    return out
