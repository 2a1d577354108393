"""Learning rules: how the loadings move in one step.

Every rule here keeps its step in the span of the loadings, Theta <- Theta B, so that the overlaps
move by the congruence S <- B' S B. Rules that act on single synapses, such as Adam, do not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from predictlearn.checks import non_negative, positive
from predictlearn.errors import InputError, choice
from predictlearn.theory.names import PATHWAYS, pathway_slices

__all__ = ["DirectDescent", "GradientDescent", "GradientFlow", "Rule"]


def _checked_rates(rates: Mapping[str, float] | None) -> dict[str, float] | None:
    """Return pathway rates with known names and values of zero or more."""
    if rates is None:
        return None
    if not isinstance(rates, Mapping):
        raise InputError(
            "pathway_rates must map pathways to rates, for example {'z': 0.0}; "
            f"got {type(rates).__name__}."
        )
    return {
        choice("a pathway of pathway_rates", p, PATHWAYS): non_negative(f"pathway_rates[{p!r}]", r)
        for p, r in rates.items()
    }


def column_rates(rates: Mapping[str, float] | None, sizes: tuple[int, int, int]) -> np.ndarray:
    """Return the relative learning rate of every column of Theta, (D,); a missing pathway is 1."""
    where = pathway_slices(*sizes)
    columns = np.ones(where["z"].stop)
    for pathway, rate in (rates or {}).items():
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
        its large-N mean.
    target_noise : float, default 0.0
        Standard deviation of the noise on the target, drawn anew in every bin and epoch.

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

    def __post_init__(self) -> None:
        object.__setattr__(self, "rate", positive("rate", self.rate))
        object.__setattr__(self, "pathway_rates", _checked_rates(self.pathway_rates))
        for name in ("momentum", "weight_decay", "synaptic_noise", "target_noise"):
            object.__setattr__(self, name, non_negative(name, getattr(self, name)))
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
        object.__setattr__(self, "pathway_rates", _checked_rates(self.pathway_rates))


@dataclass(frozen=True)
class DirectDescent:
    """Descent of the loss in the overlaps themselves: a wrong learner, kept as the contrast.

    ``S_ij <- S_ij - eta dL/dS_ij``: the loss-invisible overlaps never move, and the result may
    leave the cone of realisable overlaps.

    Parameters
    ----------
    rate : float
        eta.

    Raises
    ------
    InputError
        If the rate is not positive.

    Examples
    --------
    >>> DirectDescent(rate=5e-3).rate
    0.005
    """

    rate: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "rate", positive("rate", self.rate))


Rule = GradientDescent | GradientFlow | DirectDescent
