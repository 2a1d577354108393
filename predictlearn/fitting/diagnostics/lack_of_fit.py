"""What a fit's mean leaves in its residuals: score tests in named directions, and open ones.

A direction is a change of the mean of every neuron, such as its derivative in tau. What the fit
could have taken up by itself (the coefficients of each neuron; the parameters of the dynamics,
which all neurons share) is projected out of it, so that its product with the residuals has mean
zero where the model is right, whatever was fitted. It is summed within trials and compared over
trials, so that noise may be correlated within them in any way.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy import stats

from predictlearn.arrays import Array
from predictlearn.fitting.diagnostics.slopes import (
    Direction,
    Slopes,
    changed,
    inverse_of,
    normal_of,
)

__all__ = [
    "Score",
    "in_gain",
    "in_latency",
    "in_tau",
    "lagged_inputs",
    "open_test",
    "products",
    "score_tests",
]


_STEP = 1e-4
# Lags (bins) at which one regressor of past inputs ends and the next begins.
_LAGS = (0, 1, 2, 3, 5, 8, 13, 21, 34, 55)
# Part of a direction that must lie outside of what the fit can take up.
_OUTSIDE = 1e-3
# Least share of a trial's noise that is taken to be left by the regression.
_LEFT = 0.1


def in_tau(fit: Any, x: Array, k: Array) -> Array:
    """Return dk/dlog tau of a fit whose tau was given."""
    return (changed(fit, x, tau_=fit.tau_ * np.exp(_STEP)) - k) / _STEP


def in_latency(fit: Any, x: Array, k: Array) -> Array:
    """Return dk/dlatency, per bin, of a fit whose latency was given."""
    return (changed(fit, x, latency_=fit.latency_ + 0.1 * fit.dt) - k) / 0.1


def in_gain(fit: Any, x: Array, k: Array) -> Array:
    """Return dk as the recurrent gain of a linear network begins to saturate."""
    layout = replace(fit._layout, erf=True)
    vm, vu, _ = fit._layout.unpack(fit._theta)
    base = np.concatenate([fit.m_, fit.u_], axis=1)
    base = base[np.isfinite(base).all(axis=1)]
    # the mean square of k base^T
    flat = k.reshape(-1, k.shape[2])
    power = float(np.sum((flat.T @ flat) * (base.T @ base)) / (len(flat) * len(base)))
    eps = _STEP / max(power, 1e-300)
    times = np.asarray(fit._theta)[fit._layout.at_time :]
    theta = np.concatenate(
        [layout.pack(vm, vu, eps * base.T @ base / len(base))[: layout.at_time], times]
    )
    return (changed(fit, x, _theta=theta, _layout=layout) - k) / _STEP


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


def score_tests(slopes: Slopes, directions: list[Direction]) -> list[Score | None]:
    """Test for a change of the means along each of some directions.

    What the shared parameters take up is projected out too. The basis of it is nowhere kept: as the
    columns are orthonormal rows times R, a small matrix, R tells all of their products.

    Parameters
    ----------
    slopes : Slopes
        Of the fit.
    directions : list of callable
        Each from a `Part` to a change of the standardised means, (trials, time, neurons).

    Returns
    -------
    list of Score or None
        None where the fit could have taken nearly all of a direction up: nothing can be said of it
        then.
    """
    q, n_trials = len(slopes.moved), len(slopes.k)
    upper = np.zeros((0, q + len(directions)))
    before = np.zeros(len(directions))
    for _, _, columns, power in slopes.columns(directions):
        upper = _upper(np.concatenate([upper, _upper(columns.T)]))
        before += power
    change = _taken_up(upper[:, :q], upper[:, q:])
    by_trial, whole, taken = np.zeros((3, len(directions), n_trials))
    for _, part, columns, _ in slopes.columns(directions):
        left = columns[q:] - change.T @ columns[:q]
        for j, flat in enumerate(left):
            along = flat.reshape(part.slope.shape)
            by_trial[j] += np.sum((along * part.values).reshape(n_trials, -1), axis=1)
            # what the regression of each neuron took of the noise of this trial, in this direction
            of_part = np.concatenate(
                [
                    np.einsum("lptn,ptn->pnl", part.lead, along, optimize=True),
                    np.einsum("pta,ptn->pna", part.k, part.slope * along, optimize=True),
                ],
                axis=2,
            )
            whole[j] += np.sum(along.reshape(n_trials, -1) ** 2, axis=1)
            taken[j] += np.einsum("pna,nab,pnb->p", of_part, part.inverse, of_part, optimize=True)
    return [_score(*each) for each in zip(by_trial, whole, taken, before, strict=True)]


def _upper(columns: Array) -> Array:
    """Return R of the columns."""
    return np.asarray(np.linalg.qr(columns, mode="r"))


def _taken_up(shared: Array, others: Array) -> Array:
    """Return what of each shared column lies in the others, (shared, others), from their R.

    Directions of the gauge move nothing, and others are sums of those before: they are left out.
    """
    size = np.maximum(np.linalg.norm(shared, axis=0), 1e-300)
    if not shared.size:
        return np.zeros((shared.shape[1], others.shape[1]))
    left, values, right = np.linalg.svd(shared / size, full_matrices=False)
    kept = values > 1e-6 * max(values[0], 1e-300)
    along = (left[:, kept].T @ others) / values[kept, None]
    return np.asarray((right[kept].T @ along) / size[:, None])


def _score(by_trial: Array, whole: Array, taken: Array, before: float) -> Score | None:
    """Return the test from the sums of each trial along a direction, and the direction's power."""
    power = float(whole.sum())
    if power < _OUTSIDE**2 * before or power == 0:
        return None
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
    n_trials, _, n = slopes.residuals.values.shape
    n_ones = int(len(slopes.steep(slice(0, 1))[0]) > 0)
    there = np.asarray(slopes.residuals.seen.any(axis=2), dtype=float)[:, :, None]
    nuisance = np.concatenate(
        [slopes.k, *slopes.moved, np.ones((*slopes.k.shape[:2], n_ones))],
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
    scores = np.empty((n_trials, n, extra.shape[2]))
    for some, part in slopes.parts():
        weight = part.slope / np.maximum(np.sqrt(np.mean(part.slope**2, axis=(0, 1))), 1e-300)
        inverse = inverse_of(
            normal_of(part.lead, weight, nuisance, part.lead, weight, nuisance), 1e-8
        )
        cross = normal_of(part.lead, weight, nuisance, part.lead[:0], weight, extra)
        weighted = weight * part.values
        own = np.einsum("ptq,ptn->pnq", extra, weighted, optimize=True)
        taken = np.concatenate(
            [
                np.einsum("lptn,ptn->pnl", part.lead, part.values, optimize=True),
                np.einsum("pta,ptn->pna", nuisance, weighted, optimize=True),
            ],
            axis=2,
        )
        fitted = np.einsum("nab,nbq->naq", inverse, cross)
        scores[:, some] = own - np.einsum("pna,naq->pnq", taken, fitted)
    sized = _sized(scores, slopes.k * there, extra)
    out = np.zeros((len(signs), 2))
    width = max(1, 2_000_000 // (n * extra.shape[2]))
    for low in range(0, len(signs), width):
        drawn = signs[low : low + width] @ sized.reshape(n_trials, -1)
        if low == 0:
            drawn[0] = scores.sum(axis=0).ravel()
        drawn = drawn.reshape(-1, n, extra.shape[2])
        second = np.swapaxes(drawn, 1, 2) @ drawn
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
