"""The posterior of start and rates under a weak prior, by an ensemble sampler."""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType

import numpy as np
import pandas as pd

from predictlearn.arrays import Array
from predictlearn.checks import positive_int
from predictlearn.errors import InputError
from predictlearn.fitting.learning.likelihood import SessionsProblem
from predictlearn.fitting.learning.parameters import RATE_SD, log_prior

__all__ = ["Posterior", "sample_posterior"]

# Prior standard deviation of a log noise about the fitted one.
_NOISE_SD = 1.0


@dataclass(frozen=True, eq=False)
class Posterior:
    """Draws from the posterior.

    Parameters
    ----------
    draws : pandas.DataFrame
        One row a draw: overlaps, rates, and where it was estimated the noise.
    acceptance : float
        Share of accepted moves.
    autocorrelation : float
        Longest integrated autocorrelation time, in steps of the ensemble; it is well
        estimated where `steps` is fifty times as many.
    steps : int
        Steps kept, of every walker.
    walkers : int
        Walkers.
    """

    draws: pd.DataFrame
    acceptance: float
    autocorrelation: float
    steps: int
    walkers: int

    @property
    def effective(self) -> float:
        """Number of independent draws that the kept ones are worth."""
        return self.steps * self.walkers / max(self.autocorrelation, 1.0)


def _emcee() -> ModuleType:
    """Return the sampler's package, or say how to install it."""
    try:
        import emcee  # type: ignore[import-untyped, import-not-found, unused-ignore]
    except ImportError as error:
        raise InputError(
            "sample() needs the package emcee, which is not installed: "
            "pip install 'predictlearn[bayes]'."
        ) from error
    return emcee  # type: ignore[no-any-return, unused-ignore]


def sample_posterior(
    problem: SessionsProblem,
    natural: Array,
    group_sd: Array,
    n_samples: int,
    burn_in: int,
    seed: int,
) -> Posterior:
    """Sample the posterior from starts scattered as the fit says.

    Parameters
    ----------
    problem : SessionsProblem
        Likelihood.
    natural : numpy.ndarray, (walkers, P)
        Where the walkers start.
    group_sd : numpy.ndarray, (2,)
        Fitted noise.
    n_samples : int
        Draws to keep, at least.
    burn_in : int
        Steps that are dropped.
    seed : int
        Seed.

    Returns
    -------
    Posterior
        The draws.
    """
    emcee = _emcee()
    model = problem.model
    layout, data = model.layout, model.data
    groups = [] if data.noise.known else sorted(set(data.noise.group.tolist()))
    n = layout.n_overlaps
    n_rates = len(layout.rate_names)
    centre = np.log(group_sd)

    def log_probability(y: Array) -> float:
        x, log_noise = y[: n + n_rates], y[n + n_rates :]
        prior = log_prior(layout.factor(x), float(np.sqrt(problem.scale)))
        if not np.isfinite(prior):
            return -np.inf
        sd = group_sd.copy()
        for k, g in enumerate(groups):
            sd[g] = np.exp(log_noise[k])
            prior -= 0.5 * ((log_noise[k] - centre[g]) / _NOISE_SD) ** 2
        prior -= 0.5 * float(np.sum((x[n:] / RATE_SD) ** 2))
        return prior + problem.value(x, sd)

    rng = np.random.default_rng(seed)
    places = np.array([layout.pack(layout.full(row), row[n:]) for row in natural])
    if groups:
        noise = centre[groups] + 0.1 * rng.standard_normal((len(places), len(groups)))
        places = np.concatenate([places, noise], axis=1)
    # draws projected onto the edge of the cone differ too little: spread them a little
    places = places * (1 + 1e-4 * rng.standard_normal(places.shape))
    walkers = len(places)
    sampler = emcee.EnsembleSampler(walkers, places.shape[1], log_probability)
    sampler.random_state = np.random.RandomState(seed).get_state()
    steps = max(-(-n_samples // walkers), 2)
    sampler.run_mcmc(places, burn_in + steps)
    chain = sampler.get_chain(discard=burn_in)
    flat = chain.reshape(-1, chain.shape[-1])
    rows = np.array([layout.natural(y[: n + n_rates]) for y in flat])
    rates = np.array([layout.rates(r[n:]) for r in rows]).reshape(len(rows), -1)
    names = [*layout.names, *(f"noise:{('overlaps', 'loss')[g]}" for g in groups)]
    draws = np.concatenate([rows[:, :n], rates, np.exp(flat[:, n + n_rates :])], axis=1)
    # a walker that never moved has no autocorrelation
    with np.errstate(invalid="ignore"):
        times = emcee.autocorr.integrated_time(chain, tol=0, has_walkers=True)
    return Posterior(
        pd.DataFrame(draws, columns=names),
        float(np.mean(sampler.acceptance_fraction)),
        float(np.nanmax(times)) if np.any(np.isfinite(times)) else np.inf,
        steps,
        walkers,
    )


def checked_counts(n_samples: int, burn_in: int) -> tuple[int, int]:
    """Return the numbers of draws and of dropped steps, or raise InputError."""
    return positive_int("n_samples", n_samples), positive_int("burn_in", burn_in, minimum=0)
