"""N neurons bin by bin with dense synapses: activity, and how each rule would move every weight.

Currents h, rates r = phi(h), and a world c that the output moves, the output itself if there is
none::

    h_t = (1 - a) h_{t-1} + a (W r_{t-1} + M u_t + xi_t),    u_t = x_t + F c_{t-1}
    y_t = Z' r_t / N,    c_t = A c_{t-1} + B y_t + o,         the loss reads R c_t

The adjoint p = dL/dh runs back from the slope e_t of the loss by y_t. By rule W' and Z are theirs,
or are replaced by zero (nothing runs back through synapses) and by feedback::

    p_t = (1 - a) p_{t+1} + phi'(h_t) (a W' p_{t+1} + Z e_t / N)
    G_W = a sum p_t r_{t-1}',    G_M = N a sum p_t u_t',    G_Z = sum r_t e_t'

so that rate G is a step of descent at rate N eta in M and Z and eta in W. Factors, W = U V' / N,
move by G_U = G_W V and G_V = G_W' U. Nothing here is in a span: any phi, any noise.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from predictlearn.theory.activity import Batch
from predictlearn.theory.learning.trial_stream import subset
from predictlearn.theory.synapses.gradients import Steering
from predictlearn.theory.world import LinearWorld

__all__ = ["Parts", "directions", "perturbed_directions"]

# m, w, z of synapses, or m, u, v, z of factors, each (N, columns).
Parts = dict[str, np.ndarray]

# Rates of a block of trials that are held at once.
_MOST = 2**23


class _Run(NamedTuple):
    """Activity of a block, (time, trials, neurons or variables).

    Rates from before the first bin on, one bin more; currents, of no bins where phi is linear;
    inputs as seen; and what is read.
    """

    rates: np.ndarray
    currents: np.ndarray
    seen: np.ndarray
    read: np.ndarray


def _ahead(parts: Parts, rates: np.ndarray) -> np.ndarray:
    """Return W r for rows of rates."""
    if "w" in parts:
        return rates @ parts["w"].T
    return (rates @ parts["v"]) @ parts["u"].T / len(parts["u"])


def _back(parts: Parts, p: np.ndarray) -> np.ndarray:
    """Return W' p for rows of the adjoint."""
    if "w" in parts:
        return p @ parts["w"]
    return (p @ parts["u"]) @ parts["v"].T / len(parts["u"])


def _recurrent(parts: Parts, p: np.ndarray, rates: np.ndarray) -> Parts:
    """Return G of W, or of U and V, from adjoint and rates before, (time, trials, N)."""
    n = len(parts["m"])
    p, rates = p.reshape(-1, n), rates.reshape(-1, n)
    if "w" in parts:
        return {"w": p.T @ rates}
    return {"u": p.T @ (rates @ parts["v"]), "v": rates.T @ (p @ parts["u"])}


def _sum(p: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Return sum p x' over bins and trials."""
    return np.tensordot(p, x, axes=((0, 1), (0, 1)))


def _blocks(ready: Batch, n_neurons: int) -> Iterator[tuple[Batch, np.ndarray]]:
    """Yield trials in parts that fit into memory, and which these are."""
    n_steps, _, n_trials = ready.inputs.shape
    size = max(1, _MOST // (n_steps * n_neurons))
    if size >= n_trials:
        yield ready, np.arange(n_trials)
        return
    for first in range(0, n_trials, size):
        picked = np.arange(first, min(first + size, n_trials))
        part = subset(ready, picked)
        part.weights = ready.weights[:, :, picked]
        yield part, picked


def _run(parts: Parts, world: LinearWorld, ready: Batch, xi: np.ndarray | None = None) -> _Run:
    """Run a block of trials, with noise xi, (time, trials, N), in the input of the neurons."""
    a, nonlinearity, n = ready.a, ready.nonlinearity, len(parts["m"])
    n_steps, n_in, n_trials = ready.inputs.shape
    linear = nonlinearity.name == "linear"
    rates = np.empty((n_steps + 1, n_trials, n))
    currents = np.empty((0 if linear else n_steps, n_trials, n))
    seen = np.empty((n_steps, n_trials, n_in))
    read = np.empty((n_steps, n_trials, world.n_read))
    rates[0] = h = np.zeros((n_trials, n))
    state = np.tile(world.start, (n_trials, 1))
    for t in range(n_steps):
        seen[t] = ready.inputs[t].T + state @ world.seen.T
        into = _ahead(parts, rates[t]) + seen[t] @ parts["m"].T
        h = (1 - a) * h + a * (into if xi is None else into + xi[t])
        if linear:
            rates[t + 1] = h
        else:
            currents[t] = h
            rates[t + 1] = nonlinearity.function(h)
        output = rates[t + 1] @ parts["z"] / n
        state = state @ world.step.T + output @ world.push.T + world.offset
        read[t] = state @ world.read.T
    return _Run(rates, currents, seen, read)


def _adjoint(
    parts: Parts,
    world: LinearWorld,
    ready: Batch,
    run: _Run,
    errors: np.ndarray,
    steering: Steering,
    feedback: np.ndarray,
) -> Parts:
    """Return G of every part, from the slope of the loss by what is read."""
    a, n = ready.a, len(parts["m"])
    slopes = ready.nonlinearity.phi_slope(run.currents) if run.currents.size else None
    through = steering.through_loop and world.is_closed
    p = np.empty_like(run.rates[1:])
    of_outputs = np.empty((*errors.shape[:2], world.n_out))
    of_world = np.zeros((errors.shape[1], world.n_state))
    now = np.zeros((errors.shape[1], n))
    for t in range(len(p) - 1, -1, -1):
        of_world = errors[t] @ world.read + of_world
        of_outputs[t] = of_world @ world.push
        pull = of_outputs[t] @ feedback.T / n
        if steering.transports:
            pull += a * _back(parts, now)
        now = (1 - a) * now + (pull if slopes is None else slopes[t] * pull)
        p[t] = now
        of_world = of_world @ world.step
        if through:
            of_world += a * (now @ parts["m"]) @ world.seen
    p *= a
    g = {"m": n * _sum(p, run.seen), "z": _sum(run.rates[1:], of_outputs)}
    return g | _recurrent(parts, p, run.rates[:-1])


def directions(
    parts: Parts,
    ready: Batch,
    steering: Steering,
    feedback: np.ndarray | None,
    noise: np.ndarray,
) -> tuple[float, Parts]:
    """Return the loss, and G of every part: the gradient, or what a rule takes for it.

    Parameters
    ----------
    parts : dict
        The network.
    ready : Batch
        The trials.
    steering : Steering
        How errors reach neurons.
    feedback : numpy.ndarray, (N, n_out), or None
        B, where errors come by it.
    noise : numpy.ndarray, (time, n_read, trials)
        Added to the targets for G only; may be empty.
    """
    total, g = 0.0, {name: np.zeros(part.shape) for name, part in parts.items()}
    back = parts["z"] if feedback is None else feedback
    world = ready.as_world
    for block, picked in _blocks(ready, len(back)):
        run = _run(parts, world, block)
        loss, errors = _judged(block, run.read, noise[:, :, picked] if noise.size else None)
        total += loss
        if not np.isfinite(total):
            return total, g
        for name, part in _adjoint(parts, world, block, run, errors, steering, back).items():
            g[name] += part
    return total, g


def _judged(ready: Batch, read: np.ndarray, noise: np.ndarray | None) -> tuple[float, np.ndarray]:
    """Return the loss, and its slope by what is read, (time, trials, variables), with noise."""
    error = read - ready.targets.transpose(0, 2, 1)
    weights = ready.weights.transpose(0, 2, 1)
    loss = float(np.sum(weights * error**2))
    return loss, 2 * weights * (error if noise is None else error - noise.transpose(0, 2, 1))


def perturbed_directions(
    parts: Parts, ready: Batch, sigma: float, rng: np.random.Generator, noise: np.ndarray
) -> tuple[float, Parts]:
    """Return the loss without noise in neurons, and G by node perturbation.

    Each trial has its own reward: what noise xi of standard deviation `sigma` in the neurons added
    to its loss. In place of p in the sums above stands xi times that by sigma^2; G of Z is exact.
    """
    total, g = 0.0, {name: np.zeros(part.shape) for name, part in parts.items()}
    world, n = ready.as_world, len(parts["m"])
    for block, picked in _blocks(ready, n):
        run = _run(parts, world, block)
        loss, errors = _judged(block, run.read, noise[:, :, picked] if noise.size else None)
        total += loss
        xi = sigma * rng.standard_normal(run.rates[1:].shape)
        change = _run(parts, world, block, xi).read - run.read
        # L - L0 from the change, so that nothing cancels: w (2 e + d) d
        weights = block.weights.transpose(0, 2, 1)
        more = np.sum((errors + weights * change) * change, axis=(0, 2))
        xi *= more[:, None] / sigma**2
        of_outputs = _to_outputs(world, errors)
        g["m"] += n * _sum(xi, run.seen)
        g["z"] += _sum(run.rates[1:], of_outputs)
        for name, part in _recurrent(parts, xi, run.rates[:-1]).items():
            g[name] += part
    return total, g


def _to_outputs(world: LinearWorld, errors: np.ndarray) -> np.ndarray:
    """Return the slope of the loss by the output, (time, trials, n_out), the input as given."""
    found = np.empty((*errors.shape[:2], world.n_out))
    of_world = np.zeros((errors.shape[1], world.n_state))
    for t in range(len(errors) - 1, -1, -1):
        of_world = errors[t] @ world.read + of_world @ world.step
        found[t] = of_world @ world.push
    return found
