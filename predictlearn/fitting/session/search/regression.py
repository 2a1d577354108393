"""The regression of every neuron on the reduced activity, and the normal equations of the fit.

Given theta, neuron i is a regression on k(t) with few coefficients, phi_i = (offset, gain, m_i,
u_i). Here are the residual sums, and the blocks of J^T J and J^T r for (theta, phi_1, ..., phi_N):
the matrix is an arrow, since neurons meet only in theta. Units are those of the activity; the
solver weighs neurons by their noise.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from predictlearn.arrays import Array
from predictlearn.fitting.session.dynamics import Layout
from predictlearn.fitting.session.kernels.counts import accumulate_counts
from predictlearn.fitting.session.kernels.regression import accumulate_erf, theta_by_theta
from predictlearn.fitting.session.pieces import pieces
from predictlearn.fitting.session.search.data import Data
from predictlearn.fitting.session.search.normal_equations import Blocks, Outer

__all__ = ["blocks", "trial_scores"]


_Part = TypeVar("_Part")
_T = TypeVar("_T")

# Regressors more collinear than this are held by the automatic ridge.
_WORST_CONDITION = 1e9
# Bins that a kernel takes at once, where trials need not be told apart: they stay in fast memory.
_PIECE = 512
# Below this share of the raw sum of squares a difference of sums has lost too many digits.
_CANCELS = 1e-3


def blocks(data: Data, layout: Layout, k: Array, dk: Array, phi: Array | None) -> Blocks:
    """Build the normal equations at a given rollout.

    Parameters
    ----------
    data : Data
        Activity.
    layout : Layout
        What theta holds.
    k : ndarray, shape (n_base, rows)
        Reduced activity.
    dk : ndarray, shape (n_base, q, rows)
        Its derivative; q = 0 to leave theta out.
    phi : ndarray, shape (neurons, p), or None
        Coefficients; not used where the regression is linear, since it is then solved exactly.

    Returns
    -------
    Blocks
        At the coefficients given, or the best ones.
    """
    return _iterated(data, layout, k, dk, phi) if data.iterated else _exact(data, layout, k, dk)


def _ridge(data: Data, k: Array) -> Array:
    """Return what the ridge adds to the diagonal of the loadings' normal matrix."""
    second = data.inner(k)
    power = np.maximum(np.diag(second), 1e-300)
    norm = np.sqrt(power)
    if data.count is not None:
        # the information of a bin of counts is about its rate
        power = power * data.sums.sum() / data.counts.sum()
    if data.ridge is not None:
        return np.asarray(data.ridge * power)
    corr = second / np.outer(norm, norm)
    values = np.linalg.eigvalsh(corr)
    if values[0] > values[-1] / _WORST_CONDITION:
        return np.zeros_like(power)
    return np.asarray(values[-1] / _WORST_CONDITION * power)


def _ridge_slope(data: Data, k: Array, dk: Array) -> Array:
    """Return half the derivative in theta of what `_ridge` returns, (n_base, q)."""
    if not data.ridge:
        return np.zeros(dk.shape[:2])
    if data.lags is None:
        slope = np.einsum("cr,cjr->cj", k, dk) / (k.shape[1] // len(data.rows))
    else:
        lagged = data.lags.gram[data.n_lead :, data.n_lead :]
        slope = np.einsum("cr,cjr->cj", k @ lagged, dk)
    of_rate = 1.0 if data.count is None else data.sums.sum() / data.counts.sum()
    return np.asarray(data.ridge * of_rate * slope)


def _tilt(layout: Layout, k: Array, dk: Array) -> Array:
    """Return the regression of dk/dtheta on k (where the gain makes it matter)."""
    n_base, q, _ = dk.shape
    if not (layout.erf and q):
        return np.zeros((q, n_base, n_base))
    gram = k @ k.T
    cross = np.moveaxis(dk, 1, 0).reshape(q * n_base, -1) @ k.T
    inverse = np.linalg.pinv(gram, rcond=1e-12, hermitian=True)
    return np.asarray((cross @ inverse).reshape(q, n_base, n_base))


def _exact(data: Data, layout: Layout, k: Array, dk: Array) -> Blocks:
    """Return the normal equations of the linear regression, at its solution."""
    n_base, q = dk.shape[:2]
    lead = data.n_lead
    p = lead + n_base
    columns = layout.moved if q else ()
    z = np.concatenate([k, dk[columns]]) if columns else k
    if data.lags is not None:
        # the constant is no filter of the inputs and has a place of its own
        z = np.pad(z, ((lead, 0), (lead, 0)))
        z[:lead, :lead] = np.eye(lead)
    elif lead:
        z = np.concatenate([np.ones((lead, k.shape[1])), z])
    ridge = np.zeros(p)
    ridge[lead:] = _ridge(data, k)
    n = data.n_neurons
    patterns = data.patterns()
    phi, inner = np.zeros((n, p)), np.zeros((n, p, p))
    cross = np.zeros((n, p, q))
    outers: list[tuple[npt.NDArray[np.intp], Outer]] = []
    slope_theta, squares = np.zeros((n, q)), np.zeros(n)
    for seen, neurons in patterns:
        if data.lags is not None:
            gram, target = z @ data.lags.gram @ z.T, z @ data.lags.target
        else:
            zs = z if seen is None else z * seen
            # a copy of the activity only where neurons differ in what they miss
            target = zs @ (data.activity if seen is None else data.activity[neurons]).T
            gram = zs @ zs.T
        normal = gram[:p, :p] + np.diag(ridge)
        scale = 1 / np.sqrt(np.maximum(np.diag(normal), 1e-300))
        solved = np.linalg.lstsq(
            normal * np.outer(scale, scale), scale[:, None] * target[:p], rcond=1e-14
        )[0]
        coefficients = (scale[:, None] * solved).T
        loadings = coefficients[:, lead:]
        phi[neurons] = coefficients
        if len(patterns) > 1:
            inner[neurons] = normal
        else:
            inner = np.broadcast_to(normal, inner.shape)
        own = target[:p].T
        raw = data.raw_squares[neurons]
        left = raw - np.einsum("ia,ia->i", coefficients, 2 * own - coefficients @ gram[:p, :p])
        # Sums of squares spare a pass over the data; where little is left they would cancel.
        few = np.flatnonzero(left < _CANCELS * raw)
        if few.size:
            rows = z[:p] if data.lags is None else data.lags.regressors(z[:p])
            for some in pieces(few.size, rows.shape[1]):
                residual = data.activity[neurons[few[some]]] - coefficients[few[some]] @ rows
                if seen is not None:
                    residual *= seen
                left[few[some]] = np.einsum("ir,ir->i", residual, residual)
        squares[neurons] = left
        if columns:
            first = np.zeros((n_base, p, q))
            first[columns[0], :, columns[1]] = gram[p:, :p]
            second = np.zeros((n_base, n_base, q, q))
            second[columns[0][:, None], columns[0], columns[1][:, None], columns[1]] = gram[p:, p:]
            slope = np.zeros((len(neurons), n_base, q))
            slope[:, columns[0], columns[1]] = target[p:].T - coefficients @ gram[:p, p:]
            cross[neurons] = np.tensordot(loadings, first, axes=1)
            slope_theta[neurons] = (loadings[:, None] @ slope)[:, 0]
            outers.append((neurons, second))
    return Blocks(
        phi=phi,
        inner=inner,
        shared=len(patterns) == 1,
        cross=cross,
        outers=outers,
        slope_phi=np.zeros((n, p)),
        slope_theta=slope_theta - phi[:, lead:] ** 2 @ _ridge_slope(data, k, dk),
        squares=squares,
        penalty=np.asarray((phi**2) @ ridge),
        tilt=_tilt(layout, k, dk),
    )


def _iterated(data: Data, layout: Layout, k: Array, dk: Array, phi: Array | None) -> Blocks:
    """Return the normal equations of a nonlinear regression, at the coefficients given."""
    if phi is None:
        raise ValueError("a nonlinear regression needs coefficients to start from")
    p, lead = phi.shape[1], data.n_lead
    held = np.zeros((p, p))
    held[lead:, lead:] = np.diag(_ridge(data, k))
    turned = _ridge_slope(data, k, dk)
    if data.population is not None:
        held[lead:, lead:] = np.linalg.inv(data.population)
        turned = np.zeros_like(turned)
    normal, _, slope, squares = _run_kernel(data, layout, k, dk, phi, per_trial=False)
    every = np.arange(len(phi))
    paired: Outer = normal[:, p:, p:]
    if not _pairs(data):
        paired = _ThetaByTheta(data, layout, k, dk, phi)
    return Blocks(
        phi=phi,
        inner=normal[:, :p, :p] + held,
        shared=False,
        cross=normal[:, :p, p:],
        outers=[(every, paired)] if dk.shape[1] else [],
        slope_phi=slope[:, :p] - phi @ held,
        slope_theta=slope[:, p:] - phi[:, lead:] ** 2 @ turned,
        squares=squares,
        penalty=np.einsum("ia,ia->i", phi @ held, phi),
        tilt=_tilt(layout, k, dk),
    )


def _pairs(data: Data) -> bool:
    """Return whether J_theta^T J_theta is found neuron by neuron: of counts, of what fades."""
    return data.count is not None or data.fading > 0


class _ThetaByTheta:
    """The weighted sum over neurons of J_theta^T J_theta of erf rates, kept for its weights."""

    def __init__(self, data: Data, layout: Layout, k: Array, dk: Array, phi: Array) -> None:
        self.data, self.layout = data, layout
        self.k, self.dk, self.phi = k, dk, np.ascontiguousarray(phi)
        self.weights, self.total = np.empty(0), np.empty(0)

    def __call__(self, weights: Array) -> Array:
        """Return it, (q, q); the result does not depend on the number of threads."""
        if not np.array_equal(weights, self.weights):
            data, layout = self.data, self.layout
            rows = len(data.rows)
            at_gain = data.n_lead - 1 if data.gain else -1
            common = (
                *_seen(data), rows, self.k, self.dk, self.phi, weights, data.n_lead, at_gain,
                layout.n_in, layout.at_time,
            )  # fmt: skip

            def work(first: int) -> Array:
                return theta_by_theta(*common, first, min(first + _PIECE, rows))

            found = _in_threads(work, range(0, rows, _PIECE), data.threads)
            self.weights, self.total = weights.copy(), np.asarray(sum(found))
        return self.total


def _seen(data: Data) -> tuple[npt.NDArray[np.bool_], bool]:
    """Return which bins were seen, and whether some were not."""
    if data.seen is None:
        return np.ones((1, 1), dtype=np.bool_), False
    return data.seen, True


def _in_threads(work: Callable[[_Part], _T], parts: Sequence[_Part], threads: int) -> list[_T]:
    """Do some work part by part, in threads if there are several of both."""
    if min(len(parts), threads) == 1:
        return [work(part) for part in parts]
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(work, parts))


def trial_scores(data: Data, layout: Layout, k: Array, dk: Array, phi: Array) -> Array:
    """Return J^T r by trial and neuron, shape (trials, neurons, p + q).

    Parameters
    ----------
    data : Data
        Activity.
    layout : Layout
        What theta holds.
    k, dk : ndarray
        Rollout.
    phi : ndarray, shape (neurons, p)
        Coefficients.

    Returns
    -------
    ndarray, shape (trials, neurons, p + q)
        First for phi, then for theta.
    """
    if data.iterated:
        return _run_kernel(data, layout, k, dk, phi, per_trial=True)[1]
    n_base, q = dk.shape[:2]
    lead = data.n_lead
    p = lead + n_base
    columns = layout.moved if q else ()
    parts = [np.ones((lead, k.shape[1])), k]
    z = np.concatenate([*parts, dk[columns]] if columns else parts)
    out = np.zeros((data.n_trials, data.n_neurons, p + q))
    by_base = np.zeros((data.n_neurons, n_base, q))
    loadings = phi[:, None, lead:]
    for trial in range(data.n_trials):
        rows = slice(data.trial_start[trial], data.trial_start[trial + 1])
        now = z[:, rows]
        if data.seen is None:
            scores = data.activity[:, rows] @ now.T - phi @ (now[:p] @ now.T)
        else:
            residual = data.activity[:, rows] - phi @ now[:p]
            scores = (residual * data.seen[:, rows]) @ now.T
        out[trial, :, :p] = scores[:, :p]
        if columns:
            by_base[:, columns[0], columns[1]] = scores[:, p:]
            out[trial, :, p:] = (loadings @ by_base)[:, 0]
    return out


def _run_kernel(
    data: Data, layout: Layout, k: Array, dk: Array, phi: Array, per_trial: bool
) -> tuple[Array, Array, Array, Array]:
    """Run a kernel over neurons, split among threads; the result does not depend on them."""
    n, p, q = data.n_neurons, phi.shape[1], dk.shape[1]
    normal, slope, squares = np.zeros((n, p + q, p + q)), np.zeros((n, p + q)), np.zeros(n)
    scores = np.zeros((data.n_trials if per_trial else 1, n, p + q))
    phi = np.ascontiguousarray(phi)
    common = (data.activity, *_seen(data))
    pieces = data.trial_start
    if not (per_trial or data.fading):
        pieces = np.append(np.arange(0, len(data.rows), _PIECE), len(data.rows))
    sums = (normal, scores, slope, squares)

    def work(part: npt.NDArray[np.intp]) -> None:
        split = (layout.n_in, layout.at_time, part[0], part[-1] + 1, per_trial)
        if data.count is None:
            accumulate_erf(
                *common, pieces, k, dk, phi, data.offset, data.gain, data.fading, *split,
                _pairs(data), *sums,
            )  # fmt: skip
        else:
            noise = data.count
            accumulate_counts(
                *common, pieces, k, dk, phi, data.gain, noise.gain, data.saturating,
                noise.softplus, noise.dispersion, *split, *sums,
            )  # fmt: skip

    parts = [x for x in np.array_split(np.arange(n), data.threads) if len(x)]
    _in_threads(work, parts, data.threads)
    return normal, scores, slope, squares
