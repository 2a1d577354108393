"""How the means of neurons answer to their own numbers and to shared ones, a few neurons at a time.

For `lack_of_fit`: an array of the size of the recording for every direction that a mean can move in
would take many times the memory of the recording itself.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from predictlearn.arrays import Array
from predictlearn.errors import InputError
from predictlearn.fitting.diagnostics.residuals import Residuals
from predictlearn.fitting.session.observation import Observation, neuron_coefficients
from predictlearn.fitting.session.pieces import MOST, pieces
from predictlearn.fitting.session.rollout import reduced_activity

__all__ = ["Direction", "Part", "Slopes", "changed", "inverse_of", "normal_of"]


# The step of a difference, relative to the parameter.
_STEP = 1e-4


@dataclass(frozen=True, eq=False)
class Part:
    """How the standardised mean of some neurons answers to their own parameters.

    Parameters
    ----------
    values : ndarray, shape (trials, time, neurons)
        Pearson residuals.
    k : ndarray, shape (trials, time, base)
        Reduced activity.
    loadings : ndarray, shape (neurons, base)
        Loadings.
    lead : ndarray, shape (lead, trials, time, neurons)
        Derivatives of the mean in offset and gain, over the standard deviation; 0 where missing.
    slope : ndarray, shape (trials, time, neurons)
        That in the current h.
    inverse : ndarray, shape (neurons, p, p)
        Of the normal matrix of (lead, loadings).
    """

    values: Array
    k: Array
    loadings: Array
    lead: Array
    slope: Array
    inverse: Array

    def along(self, dk: Array) -> Array:
        """Return the change of the standardised means for a change of k, projected."""
        return self.outside(self.slope * (dk @ self.loadings.T))

    def outside(self, direction: Array) -> Array:
        """Return a direction (trials, time, neurons) less what the neurons' own numbers take up."""
        right = np.concatenate(
            [
                np.einsum("lptn,ptn->nl", self.lead, direction),
                np.einsum("pta,ptn->na", self.k, self.slope * direction, optimize=True),
            ],
            axis=1,
        )
        found = np.einsum("nab,nb->na", self.inverse, right)
        n_lead = len(self.lead)
        out = direction - self.slope * (self.k @ found[:, n_lead:].T)
        for j in range(n_lead):
            out -= self.lead[j] * found[:, j]
        return np.asarray(out)


Direction = Callable[[Part], Array]
"""From some neurons to a change of their standardised means, (trials, time, neurons)."""


@dataclass(frozen=True, eq=False)
class Slopes:
    """How the standardised mean of every neuron answers to its own and to shared parameters.

    Parameters
    ----------
    residuals : Residuals
        Pearson residuals.
    k : ndarray, shape (trials, time, base)
        Reduced activity.
    moved : ndarray, shape (parameters, trials, time, base)
        dk/dtheta.
    loadings : ndarray, shape (neurons, base)
        Loadings.
    steep : callable
        From a slice of neurons to lead and slope of `Part`, which are kept where they are small.
    most : int
        Numbers of an array that is made at once.
    """

    residuals: Residuals
    k: Array
    moved: Array
    loadings: Array
    steep: Callable[[slice], tuple[Array, Array]]
    most: int = MOST
    _kept: dict[int, Part] = field(default_factory=dict)

    @classmethod
    def of(
        cls, fit: Any, x: Array, k: Array, residuals: Residuals, kept: npt.NDArray[np.bool_]
    ) -> Slopes:
        """Take them from a fit; ``kept`` tells the neurons of the residuals."""
        observation = Observation.of(fit)
        coefficients, spread = neuron_coefficients(fit)
        coefficients, spread = coefficients[kept], spread[kept]
        shape, flat = k.shape[:2], k.reshape(-1, k.shape[2])

        def steep(some: slice) -> tuple[Array, Array]:
            n = some.stop - some.start
            lead, slope = np.zeros((observation.n_lead, *shape, n)), np.zeros((*shape, n))
            for i, each in enumerate(coefficients[some]):
                mean, bend = observation.current_slope(each, flat)
                spread_of = spread[some.start + i]
                sd = np.sqrt(np.maximum(observation.variance(mean, spread_of), 1e-300))
                seen = residuals.seen[:, :, some.start + i]
                slope[:, :, i] = (bend / sd).reshape(shape) * seen
                if observation.n_lead:
                    columns = observation.jacobian(each, flat)[1][:, : observation.n_lead]
                    lead[:, :, :, i] = (columns / sd[:, None]).T.reshape(-1, *shape) * seen
            return lead, slope

        moved = np.array([_moved(fit, x, k, j) for j in range(len(fit._theta))])
        loadings = coefficients[:, observation.n_lead :]
        return cls(residuals, k, moved.reshape(-1, *k.shape), loadings, steep)

    def parts(self) -> Iterator[tuple[slice, Part]]:
        """Go through the neurons, some at once."""
        n_trials, n_bins, n = self.residuals.values.shape
        cut = pieces(n, n_trials * n_bins, self.most)
        for some in cut:
            part = self._kept.get(some.start) or self._part(some)
            if len(cut) == 1:
                self._kept[some.start] = part
            yield some, part

    def _part(self, some: slice) -> Part:
        """Return what belongs to some neurons."""
        lead, slope = self.steep(some)
        inverse = inverse_of(normal_of(lead, slope, self.k, lead, slope, self.k), 1e-10)
        values = self.residuals.values[:, :, some]
        return Part(values, self.k, self.loadings[some], lead, slope, inverse)

    def columns(self, directions: list[Direction]) -> Iterator[tuple[slice, Part, Array, Array]]:
        """Go through the neurons with what the shared parameters do, and along directions.

        Yields neurons, their part, the projected columns (parameters + directions, rows), and the
        sum of squares of each direction before.
        """
        n_columns = len(self.moved) + len(directions)
        for some, part in self.parts():
            n_trials, n_bins, n = part.slope.shape
            # of one part that is kept, neurons that are few enough for so many columns
            for few in pieces(n, n_trials * n_bins * max(n_columns, 1), 2 * self.most):
                own = replace(
                    part,
                    values=part.values[:, :, few],
                    loadings=part.loadings[few],
                    lead=part.lead[..., few],
                    slope=part.slope[:, :, few],
                    inverse=part.inverse[few],
                )
                out = np.empty((n_columns, own.slope.size))
                for column, dk in zip(out, self.moved, strict=False):
                    column[:] = own.along(dk).ravel()
                power = np.zeros(len(directions))
                for j, direction in enumerate(directions):
                    raw = direction(own)
                    power[j] = np.vdot(raw, raw)
                    out[len(self.moved) + j] = own.outside(raw).ravel()
                yield slice(some.start + few.start, some.start + few.stop), own, out, power


def inverse_of(normal: Array, least: float) -> Array:
    """Return the inverse of the normal matrix of every neuron, what is below ``least`` left out."""
    scale = 1 / np.sqrt(np.maximum(np.einsum("naa->na", normal), 1e-300))
    scaled = normal * scale[:, :, None] * scale[:, None, :]
    inverse = np.linalg.pinv(scaled, rcond=least, hermitian=True)
    return np.asarray(inverse * scale[:, :, None] * scale[:, None, :])


def normal_of(
    lead: Array, slope: Array, k: Array, lead_2: Array, slope_2: Array, columns: Array
) -> Array:
    """Return J^T J_2 of every neuron, J = (lead, slope k) and J_2 = (lead_2, slope_2 columns)."""
    n, a, b = slope.shape[2], k.shape[2], columns.shape[2]
    out = np.zeros((n, len(lead) + a, len(lead_2) + b))
    out[:, : len(lead), : len(lead_2)] = np.einsum("lptn,mptn->nlm", lead, lead_2, optimize=True)
    for j in range(len(lead)):
        out[:, j, len(lead_2) :] = np.einsum("ptb,ptn->nb", columns, lead[j] * slope_2)
    for j in range(len(lead_2)):
        out[:, len(lead) :, j] = np.einsum("pta,ptn->na", k, lead_2[j] * slope)
    both = (k[:, :, :, None] * columns[:, :, None, :]).reshape(-1, a * b)
    weight = (slope * slope_2).reshape(-1, n)
    out[:, len(lead) :, len(lead_2) :] = (weight.T @ both).reshape(n, a, b)
    return out


def changed(fit: Any, x: Array, **attributes: Any) -> Array:
    """Return k of a fit with other attributes."""
    other = copy.copy(fit)
    for name, value in attributes.items():
        setattr(other, name, value)
    return reduced_activity(other, x)


def _moved(fit: Any, x: Array, k: Array, j: int) -> Array:
    """Return dk/dtheta_j."""
    theta = np.asarray(fit._theta, dtype=float)
    step = np.zeros_like(theta)
    step[j] = _STEP * max(1.0, abs(theta[j]))
    try:
        return (changed(fit, x, _theta=theta + step) - k) / step[j]
    except InputError:  # the one side of a network at the edge of running away
        return (k - changed(fit, x, _theta=theta - step)) / step[j]
