"""Learning rules that act on single synapses: they have no closed form in the overlaps.

They take the gradient as the usual libraries do, dL/dtheta of every loading, and move each loading
by its own history of gradients. The step leaves the span of the loadings, so only a network of N
neurons can follow it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from predictlearn.checks import non_negative, positive
from predictlearn.errors import InputError
from predictlearn.theory.learning.rules import checked_minibatch, checked_rates
from predictlearn.theory.learning.schedules import Schedule, checked_schedule

__all__ = ["Adam", "RMSProp", "SignDescent", "SynapticRule"]


def _fraction(name: str, value: object) -> float:
    """Return a number from 0 up to but not including 1, or raise."""
    number = non_negative(name, value)
    if number >= 1:
        raise InputError(f"{name} must be below 1; got {number:g}.")
    return number


def _check_common(rule: Adam | RMSProp | SignDescent) -> None:
    """Check the settings that all rules of a synapse share, and put them in their final form."""
    object.__setattr__(rule, "rate", positive("rate", rule.rate))
    object.__setattr__(rule, "target_noise", non_negative("target_noise", rule.target_noise))
    object.__setattr__(rule, "minibatch", checked_minibatch(rule.minibatch))
    object.__setattr__(rule, "schedule", checked_schedule(rule.schedule))
    object.__setattr__(rule, "pathway_rates", checked_rates(rule.pathway_rates))


@dataclass(frozen=True)
class Adam:
    """Adam: a step of about `rate` in every loading, whatever the size of its gradient.

    With g the gradient dL/dtheta of a loading and t = 1, 2, ... the update::

        p <- beta1 p + (1 - beta1) g,       q <- beta2 q + (1 - beta2) g^2
        theta <- theta - rate (p / (1 - beta1^t)) / (sqrt(q / (1 - beta2^t)) + epsilon)

    For `train_network` only. Nothing that gradient flow conserves holds under it.

    Parameters
    ----------
    rate : float
        Size of a step.
    beta1, beta2 : float, default 0.9, 0.999
        Memory of the gradient and of its square, from 0 up to but not including 1.
    epsilon : float, default 1e-8
        Gradients well below it make small steps.
    target_noise : float, default 0.0
        Standard deviation of the noise on the target, drawn anew in every bin and epoch.
    minibatch : int, optional
        Trials an epoch, as in `GradientDescent`.
    schedule : RateDrop, RateDecay or sequence of float, optional
        How the rate changes, as in `GradientDescent`.
    pathway_rates : mapping, optional
        Rate of each pathway m, u, v, z relative to `rate`; zero freezes it.

    Raises
    ------
    InputError
        If a value is out of range or a pathway unknown.

    References
    ----------
    Kingma & Ba (2015), Adam: a method for stochastic optimization, arXiv:1412.6980.

    Examples
    --------
    >>> Adam(rate=1e-3).beta2
    0.999
    """

    rate: float
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    target_noise: float = 0.0
    minibatch: int | None = None
    schedule: Schedule | None = None
    pathway_rates: Mapping[str, float] | None = None

    def __post_init__(self) -> None:
        _check_common(self)
        object.__setattr__(self, "beta1", _fraction("beta1", self.beta1))
        object.__setattr__(self, "beta2", _fraction("beta2", self.beta2))
        object.__setattr__(self, "epsilon", positive("epsilon", self.epsilon))


@dataclass(frozen=True)
class RMSProp:
    """RMSProp: the gradient of every loading divided by the root of its running mean square.

    With g the gradient dL/dtheta of a loading::

        q <- decay q + (1 - decay) g^2,     theta <- theta - rate g / (sqrt(q) + epsilon)

    For `train_network` only.

    Parameters
    ----------
    rate : float
        Size of a step.
    decay : float, default 0.99
        Memory of the square, from 0 up to but not including 1.
    epsilon : float, default 1e-8
        Gradients well below it make small steps.
    target_noise, minibatch, schedule, pathway_rates
        As in `Adam`.

    Raises
    ------
    InputError
        If a value is out of range or a pathway unknown.

    References
    ----------
    Tieleman & Hinton (2012), Neural networks for machine learning, lecture 6.5.

    Examples
    --------
    >>> RMSProp(rate=1e-3).decay
    0.99
    """

    rate: float
    decay: float = 0.99
    epsilon: float = 1e-8
    target_noise: float = 0.0
    minibatch: int | None = None
    schedule: Schedule | None = None
    pathway_rates: Mapping[str, float] | None = None

    def __post_init__(self) -> None:
        _check_common(self)
        object.__setattr__(self, "decay", _fraction("decay", self.decay))
        object.__setattr__(self, "epsilon", positive("epsilon", self.epsilon))


@dataclass(frozen=True)
class SignDescent:
    """Sign descent: every loading moves by `rate` against the sign of its gradient.

    ``theta <- theta - rate sign(dL/dtheta)``: what Adam does when gradients do not change sign. For
    `train_network` only.

    Parameters
    ----------
    rate : float
        Size of a step.
    target_noise, minibatch, schedule, pathway_rates
        As in `Adam`.

    Raises
    ------
    InputError
        If a value is out of range or a pathway unknown.

    References
    ----------
    Bernstein et al. (2018), signSGD, arXiv:1802.04434.

    Examples
    --------
    >>> SignDescent(rate=1e-3).rate
    0.001
    """

    rate: float
    target_noise: float = 0.0
    minibatch: int | None = None
    schedule: Schedule | None = None
    pathway_rates: Mapping[str, float] | None = None

    def __post_init__(self) -> None:
        _check_common(self)


SynapticRule = Adam | RMSProp | SignDescent
