"""What a network of populations does, and the slope of its loss, from the overlaps of each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from predictlearn.errors import InputError
from predictlearn.theory.activity import Batch, check_fit
from predictlearn.theory.kernels import populations as kernels
from predictlearn.theory.nonlinearity import Nonlinearity
from predictlearn.theory.populations.populations import Populations
from predictlearn.theory.trials import Trials

__all__ = ["PopulationActivity", "population_loss_and_derivative", "simulate_populations"]


@dataclass(frozen=True)
class PopulationActivity:
    """Reduced activity of a network of populations; bin t is the state after input bin t.

    Parameters
    ----------
    k_m : numpy.ndarray, (trials, time, n_in)
        Coordinates along the input vectors, common to all populations.
    k_u : numpy.ndarray, (trials, time, rank)
        Coordinates along the recurrent vectors, common too.
    outputs : numpy.ndarray, (trials, time, n_out)
        Network outputs y.
    gain : numpy.ndarray, (trials, time, populations)
        g(Delta_p) of each population.
    """

    k_m: np.ndarray
    k_u: np.ndarray
    outputs: np.ndarray
    gain: np.ndarray


def check_populations(populations: Populations, n_in: int, n_out: int, what: str) -> None:
    """Raise unless a task and populations have the same inputs and outputs."""
    if not isinstance(populations, Populations):
        raise InputError(
            f"populations must be a Populations, as pl.Populations(fractions, overlaps) makes; "
            f"got {type(populations).__name__}."
        )
    check_fit(populations.overlaps[0], n_in, n_out, what)


def room_for(ready: Batch, n_populations: int, rank: int) -> int:
    """Return how many numbers of scratch space kernels of populations, or of one, need."""
    n_steps, n_in, n_trials = ready.k_m.shape
    own = kernels.population_buffer_size(
        n_populations, n_steps, n_trials, n_in, rank, ready.targets.shape[1]
    )
    return max(own, ready.room(rank))


def evaluate(
    array: np.ndarray, fractions: np.ndarray, sizes: tuple[int, int, int], ready: Batch
) -> tuple[float, np.ndarray]:
    """Return the loss and every A_p, (P, D, D), for stacked overlaps on prepared trials."""
    a = np.empty(array.shape)
    value = kernels.population_loss_and_derivative_kernel(
        np.ascontiguousarray(array),
        np.asarray(fractions),
        tuple(sizes),
        ready.shown(),
        np.empty(room_for(ready, len(array), sizes[1])),
        a,
    )
    return value, a


def simulate_populations(
    populations: Populations,
    trials: Trials,
    nonlinearity: str | Nonlinearity = "erf",
    tau: float = 1.0,
) -> PopulationActivity:
    """Roll out the reduced activity of a network of populations.

    Parameters
    ----------
    populations : Populations
        The network.
    trials : Trials
        The inputs; targets and weights are not used.
    nonlinearity : {"linear", "erf", "tanh"} or Nonlinearity
        Which phi.
    tau : float, default 1.0
        Time constant in seconds, at least the bin width.

    Returns
    -------
    PopulationActivity
        k_m, k_u, outputs, and the gain of each population.

    Raises
    ------
    InputError
        If sizes disagree or an argument is out of range.

    Notes
    -----
    The equations are in `Populations`: forward Euler, outputs read after the update.

    Examples
    --------
    >>> import numpy as np
    >>> import predictlearn as pl
    >>> trials = pl.Filter(duration=1.0).sample(np.random.default_rng(0))
    >>> simulate_populations(pl.Populations.random(3), trials).gain.shape
    (1, 20, 3)
    """
    check_populations(populations, trials.n_in, trials.n_out, "the batch of trials")
    ready = Batch(trials, nonlinearity, tau)
    k_u, g, y = kernels.population_rollout_kernel(
        populations.array,
        np.asarray(populations.fractions),
        tuple(populations.sizes),
        ready.shown(),
    )
    parts = (np.ascontiguousarray(np.moveaxis(x, 2, 0)) for x in (ready.k_m, k_u, y, g))
    return PopulationActivity(*parts)


def population_loss_and_derivative(
    populations: Populations,
    trials: Trials,
    nonlinearity: str | Nonlinearity = "erf",
    tau: float = 1.0,
) -> tuple[float, np.ndarray]:
    """Return the loss and what moves each population.

    Parameters
    ----------
    populations : Populations
        The network.
    trials : Trials
        The batch.
    nonlinearity : {"linear", "erf", "tanh"} or Nonlinearity
        Which phi.
    tau : float, default 1.0
        Time constant in seconds.

    Returns
    -------
    loss : float
        Weighted squared error.
    a : numpy.ndarray, (P, D, D)
        A_p: the derivative of the loss by the entries of S_p, over f_p; off the diagonal a pair
        (i, j) counts as one variable, on it the derivative is doubled. Gradient descent at rate
        N eta on all loadings is Theta_p <- Theta_p (1 - eta A_p).

    Raises
    ------
    InputError
        If sizes disagree or an argument is out of range.

    Notes
    -----
    S_p = Theta_p' Theta_p / (f_p N), so dL/dTheta_p = Theta_p (dL/dS_p) / (f_p N), where the
    derivative counts pairs as above: the factor f_p of the forward equations cancels.

    Examples
    --------
    >>> import numpy as np
    >>> import predictlearn as pl
    >>> trials = pl.Filter().sample(np.random.default_rng(0))
    >>> loss, a = population_loss_and_derivative(pl.Populations.random(2), trials)
    >>> a.shape
    (2, 4, 4)
    """
    check_populations(populations, trials.n_in, trials.n_out, "the batch of trials")
    ready = Batch(trials, nonlinearity, tau)
    return evaluate(populations.array, np.asarray(populations.fractions), populations.sizes, ready)
