"""Learning rules: how the loadings move in one step.

Every rule here keeps its step in the span of the loadings, Theta <- Theta B, so that the overlaps
move by the congruence S <- B' S B. Rules that act on single synapses, such as Adam, do not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from predictlearn.checks import non_negative, positive, positive_int
from predictlearn.errors import InputError, choice
from predictlearn.theory.learning.schedules import (
    RateDecay,
    RateDrop,
    Schedule,
    checked_schedule,
    drop_of,
    multipliers,
)
from predictlearn.theory.names import PATHWAYS, pathway_slices

__all__ = [
    "DirectDescent",
    "FirstOrderDescent",
    "GradientDescent",
    "GradientFlow",
    "RateDecay",
    "RateDrop",
    "Rule",
    "Schedule",
    "checked_minibatch",
    "checked_rates",
    "checked_schedule",
    "column_rates",
    "drop_of",
    "multipliers",
    "rates_where",
]


# m, u, v, z of factors; where synapses learn, w takes the place of u and v.
ALL_PATHWAYS = (*PATHWAYS, "w")


def checked_rates(rates: Mapping[str, float] | None) -> dict[str, float] | None:
    """Return pathway rates with known names and values of zero or more."""
    if rates is None:
        return None
    if not isinstance(rates, Mapping):
        raise InputError(
            "pathway_rates must map pathways to rates, for example {'z': 0.0}; "
            f"got {type(rates).__name__}."
        )
    return {
        choice("a pathway of pathway_rates", p, ALL_PATHWAYS): non_negative(
            f"pathway_rates[{p!r}]", r
        )
        for p, r in rates.items()
    }


def checked_minibatch(minibatch: int | None) -> int | None:
    """Return how many trials an epoch takes, a whole number of at least 1, or None for all."""
    return None if minibatch is None else positive_int("minibatch", minibatch)


def rates_where(learns: str, rates: Mapping[str, float] | None) -> dict[str, float]:
    """Return the relative rate of every pathway where synapses or factors learn; missing are 1."""
    pathways = ("m", "w", "z") if learns == "synapses" else PATHWAYS
    found = dict.fromkeys(pathways, 1.0)
    for pathway, rate in (rates or {}).items():
        if pathway not in found:
            raise InputError(
                f"pathway_rates: {pathway!r} is no pathway where {learns} learn; these are "
                f"{', '.join(pathways)}."
            )
        found[pathway] = rate
    return found


def column_rates(rates: Mapping[str, float] | None, sizes: tuple[int, int, int]) -> np.ndarray:
    """Return the relative learning rate of every column of Theta, (D,); a missing pathway is 1."""
    where = pathway_slices(*sizes)
    columns = np.ones(where["z"].stop)
    for pathway, rate in rates_where("factors", rates).items():
        columns[where[pathway]] = rate
    return columns


@dataclass(frozen=True)
class GradientDescent:
    """Gradient descent on all loadings at rate N eta, exact at any step.

    ``B = 1 - eta (A + weight_decay) diag(pathway rates)``, and with momentum mu the velocity
    ``V <- mu V + Theta (B - 1)``, ``Theta <- Theta + V``.

    Parameters
    ----------
    rate : float
        eta.
    pathway_rates : mapping, optional
        Rate of each pathway m, u, v, z relative to eta; zero freezes it. Missing pathways are 1.
    momentum : float, default 0.0
        mu, from 0 up to but not including 1.
    weight_decay : float, default 0.0
        Shrinkage of the loadings per unit of rate.
    synaptic_noise : float, default 0.0
        Standard deviation of the independent noise on every synapse, each step; in overlap space
        its large-N mean. Where synapses learn, or errors have feedback of their own, there is no
        closed form of it: `train_network` has it.
    target_noise : float, default 0.0
        Standard deviation of the noise on the target, drawn anew in every bin and epoch.
    minibatch : int, optional
        Trials an epoch: so many of the n that the task shows are picked at random each epoch, and
        their weights are multiplied by n / minibatch, so that loss and gradient are right on
        average. All trials if not given.
    loop : {"through", "given"}, default "through"
        For a task whose output moves what the input reports: descend through that loop, or take
        the input as given. Without a loop there is no difference.
    schedule : RateDrop, RateDecay or sequence of float, optional
        How the rate changes; a sequence holds its multiplier at each epoch, the last one holds on.
        It starts anew with every call of `learn`, and in a protocol with every phase.

    Raises
    ------
    InputError
        If a value is out of range or a pathway unknown.

    References
    ----------
    Ger & Barak (2026), arXiv:2605.04115; the exact congruence replaces their first-order update.

    Examples
    --------
    >>> GradientDescent(rate=5e-3, pathway_rates={"z": 0.0}).pathway_rates
    {'z': 0.0}
    """

    rate: float
    pathway_rates: Mapping[str, float] | None = None
    momentum: float = 0.0
    weight_decay: float = 0.0
    synaptic_noise: float = 0.0
    target_noise: float = 0.0
    minibatch: int | None = None
    schedule: Schedule | None = None
    loop: str = "through"

    def __post_init__(self) -> None:
        object.__setattr__(self, "rate", positive("rate", self.rate))
        object.__setattr__(self, "pathway_rates", checked_rates(self.pathway_rates))
        object.__setattr__(self, "minibatch", checked_minibatch(self.minibatch))
        object.__setattr__(self, "schedule", checked_schedule(self.schedule))
        for name in ("momentum", "weight_decay", "synaptic_noise", "target_noise"):
            object.__setattr__(self, name, non_negative(name, getattr(self, name)))
        choice("loop", self.loop, ("through", "given"))
        if self.momentum >= 1:
            raise InputError(f"momentum must be below 1; got {self.momentum:g}.")


@dataclass(frozen=True)
class GradientFlow:
    """Gradient flow, dS/dt = -(S A R + R A S), by a stiff adaptive solver.

    R holds the pathway rates (1 where not given). Learning time is in units of 1 / rate: flow for
    ``rate * epochs`` stands for that many small steps. Needs a task with fixed trials.

    Parameters
    ----------
    rtol : float, default 1e-8
        Relative tolerance of the solver.
    atol : float, default 1e-10
        Absolute tolerance of the solver.
    pathway_rates : mapping, optional
        As in `GradientDescent`.

    Raises
    ------
    InputError
        If a tolerance is not positive or a pathway unknown.

    Examples
    --------
    >>> GradientFlow().rtol
    1e-08
    """

    rtol: float = 1e-8
    atol: float = 1e-10
    pathway_rates: Mapping[str, float] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "rtol", positive("rtol", self.rtol))
        object.__setattr__(self, "atol", positive("atol", self.atol))
        object.__setattr__(self, "pathway_rates", checked_rates(self.pathway_rates))


@dataclass(frozen=True)
class FirstOrderDescent:
    """The published update of the overlaps, exact only for small steps: kept as the contrast.

    ``S <- S - eta (S A + A S)`` leaves out the ``eta^2 A S A`` that a network makes, so noise on
    the target moves the overlaps less than it should, and the result may leave the cone of
    realisable overlaps.

    Parameters
    ----------
    rate : float
        eta.
    target_noise : float, default 0.0
        As in `GradientDescent`.
    schedule : RateDrop, RateDecay or sequence of float, optional
        As in `GradientDescent`.

    Raises
    ------
    InputError
        If a value is out of range.

    References
    ----------
    Ger & Barak (2026), arXiv:2605.04115.

    Examples
    --------
    >>> FirstOrderDescent(rate=5e-3).rate
    0.005
    """

    rate: float
    target_noise: float = 0.0
    schedule: Schedule | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "rate", positive("rate", self.rate))
        object.__setattr__(self, "target_noise", non_negative("target_noise", self.target_noise))
        object.__setattr__(self, "schedule", checked_schedule(self.schedule))


@dataclass(frozen=True)
class DirectDescent:
    """Descent of the loss in the overlaps themselves: a wrong learner, kept as the contrast.

    ``S_ij <- S_ij - eta dL/dS_ij``: the loss-invisible overlaps never move, and the result may
    leave the cone of realisable overlaps.

    Parameters
    ----------
    rate : float
        eta.
    schedule : RateDrop, RateDecay or sequence of float, optional
        As in `GradientDescent`.

    Raises
    ------
    InputError
        If a value is out of range.

    Examples
    --------
    >>> DirectDescent(rate=5e-3).rate
    0.005
    """

    rate: float
    schedule: Schedule | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "rate", positive("rate", self.rate))
        object.__setattr__(self, "schedule", checked_schedule(self.schedule))


Rule = GradientDescent | GradientFlow | FirstOrderDescent | DirectDescent
