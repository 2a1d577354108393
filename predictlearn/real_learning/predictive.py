"""Predictive distributions of a series of trials, and proper scores for them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import special

__all__ = ["Predictive", "crps_mixture"]


def _mean_absolute(mean: np.ndarray, sd: np.ndarray) -> np.ndarray:
    """Return E|X| of X ~ N(mean, sd^2)."""
    scaled = mean / sd
    density = np.exp(-0.5 * scaled**2) / np.sqrt(2 * np.pi)
    return sd * (2 * density + scaled * (2 * special.ndtr(scaled) - 1))


def crps_mixture(observed: np.ndarray, means: np.ndarray, sds: np.ndarray) -> np.ndarray:
    """Return the continuous ranked probability score of equal mixtures of Gaussians.

    CRPS(F, y) = E|X - y| - E|X - X'| / 2 in closed form (Gneiting & Raftery 2007; for mixtures
    Grimit et al. 2006). Smaller is better, in the units of the data; for a single certain value it
    is the absolute error.

    Parameters
    ----------
    observed : numpy.ndarray, (trials,)
        What happened.
    means, sds : numpy.ndarray, (components, trials)
        Mean and standard deviation of every component at every trial; sd positive.

    Returns
    -------
    numpy.ndarray, (trials,)
        The score of every trial.

    Examples
    --------
    >>> score = crps_mixture(np.array([0.0]), np.zeros((1, 1)), np.ones((1, 1)))
    >>> round(float(score[0]), 4)  # (sqrt(2) - 1) / sqrt(pi)
    0.2337
    """
    near = _mean_absolute(means - observed, sds).mean(axis=0)
    m = len(means)
    spread = np.zeros(means.shape[1])
    for lag in range(m):
        # every pair once, in rows of the same distance, so that memory stays small
        gap = means[: m - lag] - means[lag:]
        both = np.sqrt(sds[: m - lag] ** 2 + sds[lag:] ** 2)
        total = _mean_absolute(gap, both).sum(axis=0)
        spread += total if lag == 0 else 2 * total
    return np.asarray(near - spread / (2 * m**2))


@dataclass(frozen=True)
class Predictive:
    """What a model says about every trial: a best curve, and an equal mixture of Gaussians.

    Parameters
    ----------
    name : str
        Name of the model.
    point : numpy.ndarray, (trials,)
        The best curve, for squared and absolute errors.
    means, sds : numpy.ndarray, (components, trials)
        Mixture for a single trial: uncertainty of the curve and trial noise.
    """

    name: str
    point: np.ndarray
    means: np.ndarray
    sds: np.ndarray

    def probability_below(self, observed: np.ndarray) -> np.ndarray:
        """Return the probability of a value below the one observed, (trials,)."""
        return np.asarray(special.ndtr((observed - self.means) / self.sds).mean(axis=0))

    def crps(self, observed: np.ndarray, where: np.ndarray) -> np.ndarray:
        """Return the CRPS of the trials chosen by a mask."""
        return crps_mixture(observed[where], self.means[:, where], self.sds[:, where])

    def curve_band(self, level: float) -> tuple[np.ndarray, np.ndarray]:
        """Return the band of the curve (without trial noise), (trials,) each."""
        low, high = np.quantile(self.means, [(1 - level) / 2, (1 + level) / 2], axis=0)
        return low, high

    def trial_band(self, level: float) -> tuple[np.ndarray, np.ndarray]:
        """Return the central interval of a single trial, by bisection of the mixture."""
        ends = []
        reach = 10 * self.sds.max()
        for target in ((1 - level) / 2, (1 + level) / 2):
            low, high = self.means.min(axis=0) - reach, self.means.max(axis=0) + reach
            for _ in range(60):
                middle = (low + high) / 2
                under = self.probability_below(middle) < target
                low, high = np.where(under, middle, low), np.where(under, high, middle)
            ends.append((low + high) / 2)
        return ends[0], ends[1]
