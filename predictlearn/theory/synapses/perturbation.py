"""One step of node perturbation in a linear network: mean, diffusion, and what leaves the span.

With eta the noise in units of its standard deviation, a trial's loss changes, exactly, by
``sigma (g . eta) + sigma^2 eta' H eta / 2``, g and H its slope and curvature by the input of every
neuron in every bin. Times eta / sigma and the activity x before the synapse, averaged: the slope
gives ``sum_t g_t x_t'``, the gradient, and the curvature a third moment, which is zero. For the
square of the step, with E[(eta' H eta)^2 eta eta'] = (tr^2 H + 2 tr H^2) + 4 tr(H) H + 8 H^2::

    cov = c sum_t x_t x_t'  in every row  +  G G'  +  sigma^2 x' (tr(H) H + 2 H^2) x
    c = |g|^2 + sigma^2 (tr^2 H + 2 tr H^2) / 4

In the span of D dimensions N neurons are D with sigma / sqrt(N); the other N - D rows get the first
term alone. It does not depend on how many there are, so that what they get together grows with N.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from predictlearn.checks import positive, positive_int
from predictlearn.errors import InputError
from predictlearn.theory.activity import Batch, check_fit
from predictlearn.theory.synapses.network import Synapses
from predictlearn.theory.trials import Trials
from predictlearn.theory.world import LinearWorld

__all__ = ["PerturbationStep", "node_perturbation_step"]


@dataclass(frozen=True)
class PerturbationStep:
    """Mean and diffusion of one step of node perturbation, in the span and outside of it.

    Columns are the D of W and the n_in of M, in this order.

    Parameters
    ----------
    mean : numpy.ndarray, (D, D + n_in)
        Expected step of [w m]: that of descent.
    inside : numpy.ndarray, (D, D + n_in, D, D + n_in)
        Covariance of that step.
    outside : numpy.ndarray, (D + n_in, D + n_in)
        Covariance, between columns, of the step of each of the N - D rows outside the span.
    n_outside : int
        N - D.
    loss : float
        Loss before the step.
    fall : float
        By how much the mean step of W and M lowers the loss, to first order in the rate.
    """

    mean: np.ndarray
    inside: np.ndarray
    outside: np.ndarray
    n_outside: int
    loss: float
    fall: float

    @property
    def growth(self) -> float:
        """Expected square of all synapses that the step makes outside the span.

        Of ``|W|^2 + |M|^2 / N``: proportional to N - D, and to the square of the rate.
        """
        return self.n_outside * float(np.trace(self.outside))

    @property
    def growth_per_loss(self) -> float:
        """Growth outside the span per loss that is learned, proportional to N rate.

        Far below 1 the network learns as by descent. From about 1 on the activity outside the span
        is as large as that inside, and drives learning as much.
        """
        return self.growth / self.fall if self.fall > 0 else float("inf")


def _joint(network: Synapses, world: LinearWorld, a: float) -> tuple[np.ndarray, np.ndarray]:
    """Return what a bin does to (h, c), and what the inputs of the neurons do to it."""
    push = world.push @ network.z.T
    inner = (1 - a) * np.eye(network.dim) + a * network.w
    to_h = np.hstack([inner, a * network.m @ world.seen])
    to_c = push @ to_h
    to_c[:, network.dim :] += world.step
    return np.vstack([to_h, to_c]), a * np.vstack([np.eye(network.dim), push])


def node_perturbation_step(
    network: Synapses,
    trials: Trials,
    rate: float,
    noise: float,
    n_neurons: int,
    tau: float = 1.0,
) -> PerturbationStep:
    """Return mean and covariance of a step of `NodePerturbation` in a linear network.

    Parameters
    ----------
    network : Synapses
        The network, in the span of its start.
    trials : Trials
        What is shown in that step; a closed loop is descended through.
    rate : float
        eta.
    noise : float
        Standard deviation of the noise in the input of each neuron.
    n_neurons : int
        N, at least D.
    tau : float, default 1.0
        Time constant in seconds.

    Returns
    -------
    PerturbationStep
        Mean and covariance of the step of W and M in the span, and outside of it. Z, which follows
        descent, is not in it.

    Raises
    ------
    InputError
        If an argument is out of range or the trials do not fit.

    Notes
    -----
    Takes matrices of bins x D on a side, and so is for trials of some hundreds of bins at most.
    A step outside the span of a start changes no output: its rows drive neurons that nothing reads
    yet. What it does comes later, when the readout and the synapses from these neurons learn.

    References
    ----------
    Werfel, Xie & Seung (2005), Neural Computation 17:2699.

    Examples
    --------
    >>> import numpy as np
    >>> import predictlearn as pl
    >>> network = pl.Synapses.from_overlaps(pl.Overlaps(np.eye(4)).replace(zu=0.3, vm=0.3))
    >>> trials = pl.Filter(duration=2.0, dt=0.1).sample()
    >>> few, many = (pl.node_perturbation_step(network, trials, 1e-3, 0.1, n) for n in (104, 204))
    >>> bool(np.allclose(few.mean, many.mean)), round(many.growth / few.growth, 2)
    (True, 2.0)
    """
    if not isinstance(network, Synapses):
        raise InputError(f"network must be a Synapses; got {type(network).__name__}.")
    check_fit(network, trials.n_in, trials.n_out, "the batch of trials")
    rate, noise = positive("rate", rate), positive("noise", noise)
    dim = network.dim
    n_neurons = positive_int("n_neurons", n_neurons, minimum=dim)
    ready = Batch(trials, "linear", tau)
    world, a, (n_steps, n_in, n_trials) = ready.as_world, ready.a, ready.inputs.shape
    joint, into = _joint(network, world, a)
    responses = _responses(joint, into, world.read, dim, n_steps)
    width, sigma = dim + n_in, noise / np.sqrt(n_neurons)
    mean, inside = np.zeros((dim, width)), np.zeros((dim, width, dim, width))
    outside, loss = np.zeros((width, width)), 0.0
    for p in range(n_trials):
        before, read = _shown(network, world, joint, into, ready.inputs[:, :, p])
        error = read - ready.targets[:, :, p]
        weights = ready.weights[:, :, p]
        loss += float(np.sum(weights * error**2))
        g = (responses.T @ (2 * weights * error).ravel()).reshape(n_steps, dim)
        h = 2 * responses.T @ (weights.ravel()[:, None] * responses)
        trace, square = np.trace(h), h @ h
        c = np.sum(g**2) + sigma**2 / 4 * (trace**2 + 2 * np.trace(square))
        mean_of_trial = g.T @ before
        outside += c * before.T @ before
        curved = (trace * h + 2 * square).reshape(n_steps, dim, n_steps, dim)
        inside += np.multiply.outer(mean_of_trial, mean_of_trial)
        inside += sigma**2 * np.einsum("tisj,ta,sb->iajb", curved, before, before, optimize=True)
        mean += mean_of_trial
    inside += np.einsum("ij,ab->iajb", np.eye(dim), outside)
    fall = rate * float(np.sum(mean**2))
    return PerturbationStep(
        -rate * mean, rate**2 * inside, rate**2 * outside, n_neurons - dim, loss, fall
    )


def _responses(
    joint: np.ndarray, into: np.ndarray, read: np.ndarray, dim: int, n_steps: int
) -> np.ndarray:
    """Return what is read of inputs of the neurons, (bins * n_read, bins * D)."""
    found = np.zeros((n_steps, len(read), n_steps, dim))
    for lag in range(n_steps):
        response = read @ into[dim:]
        for t in range(lag, n_steps):
            found[t, :, t - lag] = response
        into = joint @ into
    return found.reshape(n_steps * len(read), n_steps * dim)


def _shown(
    network: Synapses, world: LinearWorld, joint: np.ndarray, into: np.ndarray, inputs: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return what reaches synapses, (time, D + n_in), and what is read, of one trial's inputs."""
    dim, n_steps = network.dim, len(inputs)
    before, read = np.empty((n_steps, dim + inputs.shape[1])), np.empty((n_steps, len(world.read)))
    state = np.concatenate([np.zeros(dim), world.start])
    for t in range(n_steps):
        before[t] = np.concatenate([state[:dim], inputs[t] + world.seen @ state[dim:]])
        state = joint @ state + into @ network.m @ inputs[t]
        state[dim:] += world.offset
        read[t] = world.read @ state[dim:]
    return before, read
