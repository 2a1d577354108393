"""Activity of the N-neuron network."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from predictlearn.errors import InputError
from predictlearn.network.kernels import network_rollout
from predictlearn.theory.activity import Batch
from predictlearn.theory.nonlinearity import Nonlinearity, network_phi, phi
from predictlearn.theory.overlaps import Loadings
from predictlearn.theory.trials import Trials

__all__ = ["NetworkActivity", "run_network"]


@dataclass(frozen=True)
class NetworkActivity:
    """Activity of every neuron; bin t is the state after the update of input bin t.

    Parameters
    ----------
    h : numpy.ndarray, (trials, time, neurons)
        Currents.
    rates : numpy.ndarray, (trials, time, neurons)
        phi(h).
    outputs : numpy.ndarray, (trials, time, n_out)
        y = Z' phi(h) / N.
    """

    h: np.ndarray
    rates: np.ndarray
    outputs: np.ndarray


def network_sizes(loadings: Loadings, n_in: int, n_out: int) -> tuple[int, int, int]:
    """Return (n_in, rank, n_out) of the loadings, or raise if a task does not fit them."""
    if not isinstance(loadings, Loadings):
        raise InputError(
            "loadings must be a Loadings, as Overlaps.loadings(n_neurons) returns; "
            f"got {type(loadings).__name__}."
        )
    sizes = (loadings.m.shape[1], loadings.u.shape[1], loadings.z.shape[1])
    if (sizes[0], sizes[2]) != (n_in, n_out):
        raise InputError(
            f"the task has {n_in} input(s) and {n_out} output(s), but the network has "
            f"{sizes[0]} and {sizes[2]}."
        )
    return sizes


def run_network(
    loadings: Loadings,
    trials: Trials,
    nonlinearity: str | Nonlinearity = "linear",
    tau: float = 1.0,
) -> NetworkActivity:
    """Run a network of N neurons on a batch of trials.

    Parameters
    ----------
    loadings : Loadings
        m, u, v, z of every neuron.
    trials : Trials
        The inputs.
    nonlinearity : {"linear", "erf", "tanh"} or Nonlinearity
        Which phi.
    tau : float, default 1.0
        Time constant in seconds.

    Returns
    -------
    NetworkActivity
        Currents, rates and outputs.

    Raises
    ------
    InputError
        If sizes disagree or an argument is out of range.

    Notes
    -----
    ``h <- (1 - dt/tau) h + (dt/tau) (U V' phi(h) / N + M x)`` from h = 0.

    Examples
    --------
    >>> import numpy as np
    >>> import predictlearn as pl
    >>> trials = pl.Filter(duration=1.0).sample(np.random.default_rng(0))
    >>> pl.run_network(pl.Overlaps(np.eye(4)).loadings(30), trials).rates.shape
    (1, 20, 30)
    """
    sizes = network_sizes(loadings, trials.n_in, trials.n_out)
    ready = Batch(trials, nonlinearity, tau)
    theta = np.ascontiguousarray(loadings.stacked.T)
    k_u, outputs = network_rollout(theta, *sizes, ready.a, *network_phi(nonlinearity), ready.k_m)
    h = np.moveaxis(ready.k_m, 2, 0) @ loadings.m.T + k_u @ loadings.u.T
    return NetworkActivity(h, phi(h, nonlinearity), outputs)
