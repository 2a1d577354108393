"""Activity of the N-neuron network."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from predictlearn.errors import InputError
from predictlearn.network.kernels import network_rollout
from predictlearn.theory.activity import Batch, check_fit
from predictlearn.theory.nonlinearity import Nonlinearity, network_phi, phi
from predictlearn.theory.overlaps import Loadings
from predictlearn.theory.synapses.network import SynapticNetwork
from predictlearn.theory.trials import Trials

__all__ = ["NetworkActivity", "network_outputs", "run_network"]


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
    inputs, rank, outputs = (part.shape[1] for part in (loadings.m, loadings.u, loadings.z))
    if (inputs, outputs) != (n_in, n_out):
        raise InputError(
            f"the task has {n_in} input(s) and {n_out} output(s), but the network has "
            f"{inputs} and {outputs}."
        )
    return inputs, rank, outputs


def run_network(
    loadings: Loadings | SynapticNetwork,
    trials: Trials,
    nonlinearity: str | Nonlinearity = "linear",
    tau: float = 1.0,
) -> NetworkActivity:
    """Run a network of N neurons on a batch of trials.

    Parameters
    ----------
    loadings : Loadings or SynapticNetwork
        m, u, v, z of every neuron, or the synapses.
    trials : Trials
        The inputs, and the world if the loop is closed.
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
    closed = trials.world is not None and trials.world.is_closed
    if isinstance(loadings, SynapticNetwork) or closed:
        return _run_densely(loadings, trials, nonlinearity, tau)
    ready, k_u, outputs = _coordinates(loadings, trials, nonlinearity, tau)
    h = np.moveaxis(ready.k_m, 2, 0) @ loadings.m.T + k_u @ loadings.u.T
    return NetworkActivity(h, phi(h, nonlinearity), outputs)


def network_outputs(
    loadings: Loadings,
    trials: Trials,
    nonlinearity: str | Nonlinearity = "linear",
    tau: float = 1.0,
) -> np.ndarray:
    """Return what `run_network` puts out, without the currents and rates of every neuron.

    Parameters
    ----------
    loadings : Loadings
        m, u, v, z of every neuron.
    trials : Trials
        The inputs, and the world if the loop is closed.
    nonlinearity : {"linear", "erf", "tanh"} or Nonlinearity
        Which phi.
    tau : float, default 1.0
        Time constant in seconds.

    Returns
    -------
    numpy.ndarray, (trials, time, n_out)
        Outputs.

    Raises
    ------
    InputError
        If sizes disagree or an argument is out of range.

    Examples
    --------
    >>> import numpy as np
    >>> import predictlearn as pl
    >>> trials = pl.Filter(duration=1.0).sample(np.random.default_rng(0))
    >>> network_outputs(pl.Overlaps(np.eye(4)).loadings(30), trials).shape
    (1, 20, 1)
    """
    if trials.world is not None and trials.world.is_closed:
        return run_network(loadings, trials, nonlinearity, tau).outputs
    return _coordinates(loadings, trials, nonlinearity, tau)[2]


def _coordinates(
    loadings: Loadings, trials: Trials, nonlinearity: str | Nonlinearity, tau: float
) -> tuple[Batch, np.ndarray, np.ndarray]:
    """Return the trials laid out, k_u and the outputs, (trials, time, rank or n_out)."""
    sizes = network_sizes(loadings, trials.n_in, trials.n_out)
    ready = Batch(trials, nonlinearity, tau)
    theta = np.ascontiguousarray(loadings.stacked.T)
    return ready, *network_rollout(theta, *sizes, ready.a, *network_phi(nonlinearity), ready.k_m)


def _run_densely(
    network: Loadings | SynapticNetwork,
    trials: Trials,
    nonlinearity: str | Nonlinearity,
    tau: float,
) -> NetworkActivity:
    """Run synapses, or a network in a closed loop, bin by bin."""
    if isinstance(network, Loadings):
        network_sizes(network, trials.n_in, trials.n_out)
    else:
        check_fit(network, trials.n_in, trials.n_out, "the task")
    a, n = Batch(trials, nonlinearity, tau).a, network.n_neurons
    shape = (trials.n_trials, trials.n_steps)
    h, outputs = np.empty((*shape, n)), np.empty((*shape, trials.n_out))
    world = trials.world if trials.world is not None and trials.world.is_closed else None
    now = np.zeros((trials.n_trials, n))
    state = None if world is None else np.tile(world.start, (trials.n_trials, 1))
    for t in range(trials.n_steps):
        rates = phi(now, nonlinearity)
        if isinstance(network, Loadings):
            recurrent = (rates @ network.v) @ network.u.T / n
        else:
            recurrent = rates @ network.w.T
        x = trials.inputs[:, t]
        if world is not None:
            x = x + state @ world.seen.T
        now = now + a * (recurrent + x @ network.m.T - now)
        outputs[:, t] = phi(now, nonlinearity) @ network.z / n
        if world is not None:
            state = state @ world.step.T + outputs[:, t] @ world.push.T + world.offset
        h[:, t] = now
    return NetworkActivity(h, phi(h, nonlinearity), outputs)
