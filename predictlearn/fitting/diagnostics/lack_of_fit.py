"""What a fit's mean leaves in its residuals: score tests in named directions, and open ones.

A direction is a change of the mean of every neuron, such as its derivative in tau. What the fit
could have taken up by itself (the coefficients of each neuron; the parameters of the dynamics,
which all neurons share) is projected out of it, so that its product with the residuals has mean
zero where the model is right, whatever was fitted. It is summed within trials and compared over
trials, so that noise may be correlated within them in any way.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

from predictlearn.arrays import Array
from predictlearn.errors import InputError
from predictlearn.fitting.diagnostics.residuals import Residuals
from predictlearn.fitting.session.observation import Observation, neuron_coefficients
from predictlearn.fitting.session.rollout import reduced_activity

__all__ = [
    "Score",
    "Slopes",
    "in_gain",
    "in_latency",
    "in_tau",
    "lagged_inputs",
    "open_test",
    "products",
    "score_test",
]


_STEP = 1e-4
# Lags (bins) at which one regressor of past inputs ends and the next begins.
_LAGS = (0, 1, 2, 3, 5, 8, 13, 21, 34, 55)
# Part of a direction that must lie outside of what the fit can take up.
_OUTSIDE = 1e-3
# Least share of a trial's noise that is taken to be left by the regression.
_LEFT = 0.1


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
    lead : ndarray, shape (lead, trials, time, neurons)
        Derivatives of the mean in offset and gain, over the standard deviation; 0 where missing.
    slope : ndarray, shape (trials, time, neurons)
        That in the current h.
    inverse : ndarray, shape (neurons, p, p)
        Of the normal matrix of (lead, loadings).
    """

    residuals: Residuals
    k: Array
    moved: Array
    loadings: Array
    lead: Array
    slope: Array
    inverse: Array

    @classmethod
    def of(
        cls, fit: Any, x: Array, k: Array, residuals: Residuals, kept: npt.NDArray[np.bool_]
    ) -> Slopes:
        """Take them from a fit; ``kept`` tells the neurons of the residuals."""
        observation = Observation.of(fit)
        coefficients, spread = neuron_coefficients(fit)
        coefficients, spread = coefficients[kept], spread[kept]
        shape, flat = k.shape[:2], k.reshape(-1, k.shape[2])
        n = len(coefficients)
        lead = np.zeros((observation.n_lead, *shape, n))
        slope = np.zeros((*shape, n))
        for i, each in enumerate(coefficients):
            mean, steep = observation.current_slope(each, flat)
            sd = np.sqrt(np.maximum(observation.variance(mean, spread[i]), 1e-300))
            seen = residuals.seen[:, :, i]
            slope[:, :, i] = (steep / sd).reshape(shape) * seen
            if observation.n_lead:
                columns = observation.jacobian(each, flat)[1][:, : observation.n_lead]
                lead[:, :, :, i] = (columns / sd[:, None]).T.reshape(-1, *shape) * seen
        loadings = coefficients[:, observation.n_lead :]
        normal = _normal(lead, slope, k, lead, slope, k)
        scale = 1 / np.sqrt(np.maximum(np.einsum("naa->na", normal), 1e-300))
        scaled = normal * scale[:, :, None] * scale[:, None, :]
        inverse = np.linalg.pinv(scaled, rcond=1e-10, hermitian=True)
        inverse = inverse * scale[:, :, None] * scale[:, None, :]
        moved = np.array([_moved(fit, x, k, j) for j in range(len(fit._theta))])
        return cls(residuals, k, moved.reshape(-1, *k.shape), loadings, lead, slope, inverse)

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

    def shared(self) -> Array:
        """Return an orthonormal basis of what the shared parameters take up, (rows, directions)."""
        if not len(self.moved):
            return np.zeros((self.slope.size, 0))
        columns = np.stack([self.along(dk).ravel() for dk in self.moved], axis=1)
        size = np.linalg.norm(columns, axis=0)
        left, values, _ = np.linalg.svd(columns / np.maximum(size, 1e-300), full_matrices=False)
        # directions of the gauge move nothing, and others are sums of those before
        return np.asarray(left[:, values > 1e-6 * max(values[0], 1e-300)])


def _normal(
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


def _changed(fit: Any, x: Array, **attributes: Any) -> Array:
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
        return (_changed(fit, x, _theta=theta + step) - k) / step[j]
    except InputError:  # the one side of a network at the edge of running away
        return (k - _changed(fit, x, _theta=theta - step)) / step[j]


def in_tau(fit: Any, x: Array, k: Array) -> Array:
    """Return dk/dlog tau of a fit whose tau was given."""
    return (_changed(fit, x, tau_=fit.tau_ * np.exp(_STEP)) - k) / _STEP


def in_latency(fit: Any, x: Array, k: Array) -> Array:
    """Return dk/dlatency, per bin, of a fit whose latency was given."""
    return (_changed(fit, x, latency_=fit.latency_ + 0.1 * fit.dt) - k) / 0.1


def in_gain(fit: Any, x: Array, k: Array) -> Array:
    """Return dk as the recurrent gain of a linear network begins to saturate."""
    layout = replace(fit._layout, erf=True)
    vm, vu, _ = fit._layout.unpack(fit._theta)
    base = np.concatenate([fit.m_, fit.u_], axis=1)
    base = base[np.isfinite(base).all(axis=1)]
    power = float(np.mean(np.einsum("pta,na->ptn", k, base) ** 2))
    eps = _STEP / max(power, 1e-300)
    times = np.asarray(fit._theta)[fit._layout.at_time :]
    theta = np.concatenate(
        [layout.pack(vm, vu, eps * base.T @ base / len(base))[: layout.at_time], times]
    )
    return (_changed(fit, x, _theta=theta, _layout=layout) - k) / _STEP


@dataclass(frozen=True)
class Score:
    """A score test.

    Parameters
    ----------
    t, p : float
        Over trials.
    step : float
        The change of the parameter that one step of scoring would make.
    by_trial, spread : ndarray, shape (trials,)
        The score of each trial, and the same of the size that it has without the regression.
    """

    t: float
    p: float
    step: float
    by_trial: Array
    spread: Array


def score_test(slopes: Slopes, direction: Array, shared: Array) -> Score | None:
    """Test for a change of the means along one direction (trials, time, neurons).

    None where the fit could have taken nearly all of it up: nothing can be said of it then.
    """
    out = slopes.outside(direction)
    flat = out.ravel() - shared @ (shared.T @ out.ravel())
    power = float(flat @ flat)
    if power < _OUTSIDE**2 * float(np.sum(direction**2)) or power == 0:
        return None
    along = flat.reshape(out.shape)
    by_trial = np.sum((along * slopes.residuals.values).reshape(len(out), -1), axis=1)
    # what the regression of each neuron took of the noise of this trial, in this direction
    parts = np.concatenate(
        [
            np.einsum("lptn,ptn->pnl", slopes.lead, along, optimize=True),
            np.einsum("pta,ptn->pna", slopes.k, slopes.slope * along, optimize=True),
        ],
        axis=2,
    )
    whole = np.sum(along.reshape(len(out), -1) ** 2, axis=1)
    taken = np.einsum("pna,nab,pnb->p", parts, slopes.inverse, parts, optimize=True)
    left = np.clip(1 - taken / np.maximum(whole, 1e-300), _LEFT, 1.0)
    spread = by_trial / np.sqrt(left)
    n = len(by_trial)
    error = float(spread.std(ddof=1)) * np.sqrt(n)
    t = float(by_trial.sum()) / error if error > 0 else 0.0
    p = float(2 * stats.t.sf(abs(t), n - 1))
    return Score(t, p, float(by_trial.sum()) / power, by_trial, spread)


def lagged_inputs(x: Array) -> Array:
    """Return sums of past inputs over spans of lags, (trials, time, columns)."""
    trials, time, n_in = x.shape
    total = np.concatenate([np.zeros((trials, 1, n_in)), np.cumsum(x, axis=1)], axis=1)
    edges = [lag for lag in _LAGS if lag < time]

    def before(lag: int) -> Array:
        return total[:, np.maximum(np.arange(1, time + 1) - lag, 0)]

    spans = [
        before(low) - before(high) for low, high in zip(edges, [*edges[1:], time], strict=True)
    ]
    return np.concatenate(spans, axis=2)


def products(k: Array) -> Array:
    """Return the products of two and three of the reduced coordinates, (trials, time, columns)."""
    scaled = k / np.maximum(np.sqrt(np.mean(k**2, axis=(0, 1))), 1e-300)
    n = k.shape[2]
    out = []
    for a in range(n):
        for b in range(a, n):
            out.append(scaled[:, :, a] * scaled[:, :, b])
            out += [out[-1] * scaled[:, :, c] for c in range(b, n)] if n <= 4 else []
    return np.stack(out, axis=2)


def open_test(slopes: Slopes, columns: Array, signs: Array) -> Array | None:
    """Regress the residuals of every neuron on further columns, with the signs of trials drawn.

    Two statistics, since what is left may lie in one direction that neurons share or in many: the
    sum of squared coefficients, and the largest eigenvalue of their second moments over neurons.

    Parameters
    ----------
    slopes : Slopes
        Of the fit.
    columns : ndarray, shape (trials, time, columns)
        Further regressors, in units of the current.
    signs : ndarray, shape (draws + 1, trials)
        1 or -1; the first row, of the residuals as they are, ones.

    Returns
    -------
    ndarray, shape (draws + 1, 2), or None
        Both statistics, first those of the residuals themselves. None where the fit takes up all
        of the columns.
    """
    r = slopes.residuals.values
    n_trials, _, n = r.shape
    there = np.asarray(slopes.residuals.seen.any(axis=2), dtype=float)[:, :, None]
    nuisance = np.concatenate(
        [slopes.k, *slopes.moved, np.ones((*slopes.k.shape[:2], int(len(slopes.lead) > 0)))],
        axis=2,
    )
    nuisance = _spanning((nuisance * there).reshape(-1, nuisance.shape[2]))
    extra = (columns * there).reshape(-1, columns.shape[2])
    size = np.linalg.norm(extra, axis=0)
    extra = extra[:, size > 0] / size[size > 0]
    extra = _spanning(extra - nuisance @ (nuisance.T @ extra), _OUTSIDE)
    if not extra.shape[1]:
        return None
    shape = (*slopes.k.shape[:2], -1)
    nuisance, extra = nuisance.reshape(shape), extra.reshape(shape)
    weight = slopes.slope / np.maximum(np.sqrt(np.mean(slopes.slope**2, axis=(0, 1))), 1e-300)
    normal = _normal(slopes.lead, weight, nuisance, slopes.lead, weight, nuisance)
    scale = 1 / np.sqrt(np.maximum(np.einsum("naa->na", normal), 1e-300))
    scaled = normal * scale[:, :, None] * scale[:, None, :]
    inverse = np.linalg.pinv(scaled, rcond=1e-8, hermitian=True)
    inverse = inverse * scale[:, :, None] * scale[:, None, :]
    none = np.zeros((0, *slopes.slope.shape))
    cross = _normal(slopes.lead, weight, nuisance, none, weight, extra)
    weighted = weight * r
    own = np.einsum("ptq,ptn->pnq", extra, weighted, optimize=True)
    taken = np.concatenate(
        [
            np.einsum("lptn,ptn->pnl", slopes.lead, r, optimize=True),
            np.einsum("pta,ptn->pna", nuisance, weighted, optimize=True),
        ],
        axis=2,
    )
    scores = own - np.einsum("pna,naq->pnq", taken, np.einsum("nab,nbq->naq", inverse, cross))
    sized = _sized(scores, slopes.k * there, extra)
    out = np.zeros((len(signs), 2))
    width = max(1, 2_000_000 // (n * extra.shape[2]))
    for low in range(0, len(signs), width):
        part = signs[low : low + width] @ sized.reshape(n_trials, -1)
        if low == 0:
            part[0] = scores.sum(axis=0).ravel()
        part = part.reshape(-1, n, extra.shape[2])
        second = np.swapaxes(part, 1, 2) @ part
        values = np.linalg.eigvalsh(second)
        out[low : low + width] = np.stack([values.sum(axis=1), values[:, -1]], axis=1)
    return out


def _sized(scores: Array, k: Array, extra: Array) -> Array:
    """Return the scores (trials, neurons, columns) of the size that they have without regression.

    Where a trial has leverage, the regression takes part of its noise, and sums with random signs
    would be too small. The correction of Bell & McCaffrey (2002), one leverage for all neurons.
    """
    shape = (*k.shape[:2], -1)
    ones = np.concatenate(
        [k, np.ones((*k.shape[:2], 1)) * (k != 0).any(axis=2)[:, :, None]], axis=2
    )
    base = _spanning(ones.reshape(-1, ones.shape[2])).reshape(shape)
    whole = np.einsum("ptq,ptr->pqr", extra, extra, optimize=True)
    cross = np.einsum("ptb,ptq->pbq", base, extra, optimize=True)
    values, vectors = np.linalg.eigh(whole)
    kept = values > 1e-10 * values[:, -1:]
    root = np.where(kept, np.sqrt(np.maximum(values, 0.0)), 0.0)
    back = np.where(kept, 1 / np.maximum(root, 1e-150), 0.0)
    turned = np.einsum("pbq,pqr,pr->pbr", cross, vectors, back, optimize=True)
    size = root.shape[1]
    left, axes = np.linalg.eigh(np.eye(size) - np.swapaxes(turned, 1, 2) @ turned)
    middle = (axes / np.sqrt(np.clip(left, _LEFT, 1.0))[:, None, :]) @ np.swapaxes(axes, 1, 2)
    change = (vectors * root[:, None, :]) @ middle @ np.swapaxes(vectors * back[:, None, :], 1, 2)
    return np.einsum("pqr,pnr->pnq", change, scores, optimize=True)


def _spanning(columns: Array, least: float = 1e-6) -> Array:
    """Return an orthonormal basis of the columns, those nearly given by others left out."""
    size = np.linalg.norm(columns, axis=0)
    if least < _OUTSIDE:
        columns = columns[:, size > 0] / size[size > 0]
    values, vectors = np.linalg.eigh(columns.T @ columns)
    big = values > least**2 * max(1.0, float(values.max(initial=0.0)))
    return np.asarray(columns @ (vectors[:, big] / np.sqrt(values[big])))
