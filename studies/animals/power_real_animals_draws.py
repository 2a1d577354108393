"""How subjects are drawn in `power_real_animals.py`: evenly, by named distributions."""

from __future__ import annotations

import numpy as np
from scipy import special, stats

from predictlearn.behaviour import as_distribution

# Simulated subjects of a population, from which experiments are drawn.
MANY = 3000
ALIKE, VARYING = "same level twice", "level varies by block"
APART, ALONE, TOGETHER = "rate independent", "rate alone differs", "rate correlated"


def spread(spec: dict[str, object], rng: np.random.Generator, size: int = MANY) -> np.ndarray:
    """Draw a distribution evenly: one subject in each of `size` slices of equal probability."""
    places = (rng.permutation(size) + rng.random(size)) / size
    return np.asarray(as_distribution("spread", spec).ppf(places))


def together(
    first: np.ndarray, rho: float, spec: dict[str, object], rng: np.random.Generator
) -> np.ndarray:
    """Draw a distribution evenly so that its normal scores correlate with those of `first`."""
    ranks = special.ndtri((stats.rankdata(first) - 0.5) / len(first))
    scores = rho * ranks + np.sqrt(1 - rho**2) * spread(normal(0.0, 1.0), rng, len(first))
    return np.asarray(as_distribution("together", spec).ppf(special.ndtr(scores)))


def normal(mean: float, sd: float) -> dict[str, object]:
    """Return a normal distribution by name."""
    return {"distribution": "normal", "mean": mean, "sd": sd}


def lognormal(median: float, sd_log: float) -> dict[str, object]:
    """Return a lognormal distribution by name."""
    return {"distribution": "lognormal", "median": median, "sd_log": sd_log}


def probits(log_odds: np.ndarray) -> np.ndarray:
    """Return outputs to which Choices of noise 1 give these log odds of a correct answer."""
    return np.asarray(special.ndtri(special.expit(np.clip(log_odds, -30, 30))))


def between(values: np.ndarray, noise: float, trials: float) -> float:
    """Return the spread between subjects of means of so many trials, without that of trials."""
    return float(np.sqrt(max(np.var(values, ddof=1) - noise**2 / trials, 0.0)))
