"""Loss and step directions of a network in the span, by the fastest loop that holds."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from predictlearn.errors import InputError
from predictlearn.theory.activity import NO_NOISE, Batch
from predictlearn.theory.kernels import rollout
from predictlearn.theory.kernels.impulse import impulse_loss_and_derivative, impulse_work
from predictlearn.theory.kernels.span import (
    NO_WORLD,
    Driven,
    Moments,
    World,
    maps_of,
    response_loss_and_gradient,
    span_buffers,
    span_loss_and_gradient,
)
from predictlearn.theory.synapses.moments import moments_of

__all__ = ["RUNAWAY", "Directions", "Steering", "loop_radius", "runs_away", "world_of"]

# What may become of a push in a closed loop within a trial before learning, beside what becomes of
# it in network and world apart. A slower loop is one that learning can make stable, as it must from
# a random start.
RUNAWAY = 100.0


class Steering(NamedTuple):
    """How errors steer the synapses.

    `transports` says whether the adjoint runs back through the recurrent synapses; `own_feedback`
    whether errors reach the neurons by B in place of the readout; `through_loop` whether the slope
    counts that the output moves what is seen.
    """

    transports: bool = True
    own_feedback: bool = False
    through_loop: bool = True

    @property
    def exact(self) -> bool:
        """Whether this is the gradient of the loss, but for the loop."""
        return self.transports and not self.own_feedback


def world_of(ready: Batch) -> World:
    """Return the world of prepared trials, an observer as one that is not seen."""
    if ready.direct:
        return NO_WORLD
    w = ready.as_world
    start = np.repeat(w.start[:, None], ready.inputs.shape[2], axis=1)
    # copies: of what cannot be written to numba makes other versions of the loops
    ahead = [np.array(x, order="C") for x in (w.step, w.push, w.seen, w.read)]
    back = [np.array(x.T, order="C") for x in ahead]
    return World(
        ahead[0], ahead[1], ahead[2], ahead[3], back[0], back[1], back[2], back[3],
        np.array(w.offset), start,
    )  # fmt: skip


def loop_radius(m: np.ndarray, w: np.ndarray, z: np.ndarray, ready: Batch) -> tuple[float, float]:
    """Return the spectral radius of a bin of network and world together, and with the loop open.

    Linear: by the slopes at rest, where every gain is 1.
    """
    world = world_of(ready)
    a, dim, q = ready.a, len(w), len(world.step)
    joint = np.empty((dim + q, dim + q))
    inner = (1 - a) * np.eye(dim) + a * w
    joint[:dim, :dim], joint[:dim, dim:] = inner, a * m @ world.seen
    push = world.push @ z.T
    joint[dim:, :dim], joint[dim:, dim:] = push @ inner, world.step + push @ joint[:dim, dim:]
    apart = [np.linalg.eigvals(inner), np.linalg.eigvals(world.step)]
    return float(np.abs(np.linalg.eigvals(joint)).max()), float(np.abs(np.hstack(apart)).max())


def runs_away(joint: float, apart: float, n_steps: int) -> bool:
    """Return whether a loop of these spectral radii makes too much of a push within a trial."""
    growth = np.log(max(joint, 1e-300)) - np.log(max(1.0, apart))
    return bool(growth * n_steps > np.log(RUNAWAY))


class Directions:
    """Loss and G of M, W, Z on prepared trials: the gradient, or what a rule takes for it.

    Parameters
    ----------
    ready : Batch
        The trials.
    steering : Steering
        How errors steer the synapses.
    dim : int
        D.
    by_moments : bool
        Use the moments of the trials, where `worth_moments` says that they can be used.
    """

    def __init__(self, ready: Batch, steering: Steering, dim: int, by_moments: bool) -> None:
        self.ready, self.steering, self.dim = ready, steering, dim
        self.world = world_of(ready)
        self.closed = ready.world is not None and ready.world.is_closed
        self.moments: Moments | None = moments_of(ready) if by_moments else None
        n_steps, n_in, n_trials = ready.inputs.shape
        n_read, q = ready.targets.shape[1], len(self.world.step)
        self.sums = np.empty((dim + ready.n_out, dim + n_in))
        exact = steering.exact and not self.closed and ready.world is None
        # a network of D neurons is one of rank D, u = 1 and v = w', for which there are loops
        self.as_rank = exact and self.moments is None
        self.by_law = exact and ready.law is not None
        if self.by_law:
            self.impulse = ready.impulse(dim)
            self.work = impulse_work(self.impulse)
        elif self.as_rank:
            self.work = ready.scratch(dim)
        else:
            width = n_in if self.moments is not None else n_trials
            self.work = span_buffers(dim, n_in, ready.n_out, n_read, q, n_steps, width)
        if steering.through_loop and self.closed and not steering.exact:
            raise InputError(
                "only the exact gradient goes through the loop; a rule with feedback of its own "
                "takes the input as given."
            )

    def __call__(
        self,
        m: np.ndarray,
        w: np.ndarray,
        z: np.ndarray,
        feedback: np.ndarray | None = None,
        noise: np.ndarray = NO_NOISE,
    ) -> tuple[float, np.ndarray, np.ndarray, np.ndarray]:
        """Return the loss and the directions G of M, W and Z, of their shapes."""
        ready = self.ready
        noisy = noise.size > 0
        if (self.by_law and not noisy) or self.as_rank:
            return self._as_rank(m, w, z, noise, self.by_law and not noisy)
        steering = self.steering
        b = z
        if steering.own_feedback:
            if feedback is None:
                raise InputError(
                    "this rule needs feedback: start from pl.Synapses or pl.Factors with "
                    "feedback=pl.Feedback(...)."
                )
            b = feedback
        # in C order, as for several outputs: numba would make a second version of the whole loop
        backward = np.ascontiguousarray(w.T) if steering.transports else np.zeros_like(w)
        maps = maps_of(m, w, z, backward, b, ready.a, self.closed and steering.through_loop)
        if self.moments is not None and not noisy:
            loss = response_loss_and_gradient(maps, self.world, self.moments, self.work, self.sums)
        else:
            shown = Driven(ready.a, ready.gain, ready.inputs, ready.targets, ready.weights, noise)
            loss = span_loss_and_gradient(maps, self.world, shown, self.work, self.sums)
        dim, a = self.dim, ready.a
        return (
            float(loss),
            a * self.sums[:dim, dim:],
            a * self.sums[:dim, :dim],
            self.sums[dim:, :dim].T.copy(),
        )

    def _as_rank(
        self, m: np.ndarray, w: np.ndarray, z: np.ndarray, noise: np.ndarray, by_law: bool
    ) -> tuple[float, np.ndarray, np.ndarray, np.ndarray]:
        """Return the same by the overlaps of a network of rank D."""
        ready, dim, n_in = self.ready, self.dim, m.shape[1]
        theta = np.hstack([m, np.eye(dim), w.T, z])
        s = theta.T @ theta
        derivative = np.empty_like(s)
        sizes = (n_in, dim, int(z.shape[1]))
        if by_law:
            loss = impulse_loss_and_derivative(s, sizes, self.impulse, self.work, derivative)
        else:
            work = self.work if not self.by_law else ready.scratch(dim)
            loss = rollout.loss_and_derivative_kernel(
                s, sizes, ready.shown(noise), work, derivative
            )
        g = theta @ derivative
        return (
            float(loss),
            g[:, :n_in],
            np.ascontiguousarray(g[:, n_in + dim : n_in + 2 * dim].T),
            g[:, n_in + 2 * dim :],
        )
