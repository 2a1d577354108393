"""One update of all loadings by each rule, from the gradient of the N-neuron network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np

from predictlearn.theory.learning.rules import GradientDescent, column_rates
from predictlearn.theory.learning.synaptic_rules import Adam, RMSProp, SynapticRule

__all__ = ["Update", "update_of"]


class Update(Protocol):
    """Changes the loadings by one step, and remembers what the rule needs for the next."""

    def step(self, theta: np.ndarray, gradient: np.ndarray, rate: float) -> None:
        """Move `theta`, (D, N), in place, given N times dL/dtheta and the epoch's rate."""
        ...


class _Descent:
    """Gradient descent at rate N eta, with momentum, weight decay and synaptic noise."""

    def __init__(
        self, rule: GradientDescent, columns: np.ndarray, rng: np.random.Generator
    ) -> None:
        self.rule, self.columns, self.rng = rule, columns, rng
        self.velocity: np.ndarray | float = 0.0

    def step(self, theta: np.ndarray, gradient: np.ndarray, rate: float) -> None:
        step = -rate * self.columns * (gradient + self.rule.weight_decay * theta)
        self.velocity = self.rule.momentum * self.velocity + step
        theta += self.velocity
        if self.rule.synaptic_noise > 0:
            noise = self.rng.standard_normal(theta.shape)
            theta += self.rule.synaptic_noise * (self.columns > 0) * noise


class _Synaptic:
    """A rule of single synapses: goes along the direction that the gradient of each one gives."""

    def __init__(self, direction: Callable[[np.ndarray], np.ndarray], columns: np.ndarray) -> None:
        self.direction, self.columns = direction, columns

    def step(self, theta: np.ndarray, gradient: np.ndarray, rate: float) -> None:
        theta -= rate * self.columns * self.direction(gradient / theta.shape[1])


class _Adam:
    """Running means of the gradient and of its square, both corrected for starting at zero."""

    def __init__(self, rule: Adam) -> None:
        self.rule = rule
        self.mean: np.ndarray | float = 0.0
        self.square: np.ndarray | float = 0.0
        self.steps = 0

    def __call__(self, gradient: np.ndarray) -> np.ndarray:
        beta1, beta2 = self.rule.beta1, self.rule.beta2
        self.steps += 1
        self.mean = beta1 * self.mean + (1 - beta1) * gradient
        self.square = beta2 * self.square + (1 - beta2) * gradient**2
        root = np.sqrt(self.square / (1 - beta2**self.steps))
        return self.mean / (1 - beta1**self.steps) / (root + self.rule.epsilon)


class _RMSProp:
    """The gradient by the root of the running mean of its square."""

    def __init__(self, rule: RMSProp) -> None:
        self.rule = rule
        self.square: np.ndarray | float = 0.0

    def __call__(self, gradient: np.ndarray) -> np.ndarray:
        self.square = self.rule.decay * self.square + (1 - self.rule.decay) * gradient**2
        return gradient / (np.sqrt(self.square) + self.rule.epsilon)


def update_of(
    rule: GradientDescent | SynapticRule, sizes: tuple[int, int, int], rng: np.random.Generator
) -> Update:
    """Return the update of a rule, at the start of learning.

    Parameters
    ----------
    rule : GradientDescent, Adam, RMSProp or SignDescent
        The rule.
    sizes : tuple of int
        (n_in, rank, n_out).
    rng : numpy.random.Generator
        Where synaptic noise is drawn from.

    Returns
    -------
    Update
        It has the memory of one course of learning, and belongs to that alone.
    """
    columns = column_rates(rule.pathway_rates, sizes)[:, None]
    if isinstance(rule, GradientDescent):
        return _Descent(rule, columns, rng)
    if isinstance(rule, Adam):
        return _Synaptic(_Adam(rule), columns)
    if isinstance(rule, RMSProp):
        return _Synaptic(_RMSProp(rule), columns)
    return _Synaptic(np.sign, columns)
