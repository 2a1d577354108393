"""Expectation maximisation of the linear network with process noise, and where it starts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from predictlearn.fitting.state_space_model import Activity, Parameters, Posterior, Sums

__all__ = ["loading_error", "maximise", "start_parameters"]

Array = npt.NDArray[np.float64]
Whole = npt.NDArray[np.int64]


def _floored(covariance: Array, scale: float) -> Array:
    """Return a symmetric covariance with no eigenvalue below a hair of the scale."""
    symmetric = (covariance + covariance.T) / 2
    return symmetric + np.eye(len(symmetric)) * 1e-10 * max(scale, 1e-300)


def start_parameters(
    data: Activity,
    f: Array,
    n_in: int,
    condition: Whole,
    rank: int,
    a: float,
    sums: Sums,
    rng: np.random.Generator | None = None,
) -> Parameters:
    """Start from the principal components of what the inputs alone leave over.

    With rng, from a random mixture of twice as many as the rank.
    """
    neurons, n_lead = data.y.shape[2], f.shape[2]
    gram = sums.ff + 1e-9 * np.eye(n_lead) * np.trace(sums.ff, axis1=1, axis2=2).max()
    base = np.linalg.solve(np.broadcast_to(gram, (neurons, n_lead, n_lead)), sums.yf[:, :, None])
    base = base[:, :, 0]
    there = data.bins[:, :, None] if data.seen is None else data.seen
    rest = (data.y - f @ base.T) * there
    flat = rest.reshape(-1, neurons)
    values, vectors = np.linalg.eigh(flat.T @ flat / max(float(data.bins.sum()), 1.0))
    width = rank if rng is None else min(2 * rank, neurons)
    mix = np.eye(rank) if rng is None else np.linalg.qr(rng.normal(size=(width, rank)))[0]
    u = vectors[:, -width:] @ mix * np.sqrt(neurons)
    power = (mix.T * values[-width:]) @ mix / neurons
    state = rest @ u / neurons
    k_m = f[:, :, n_lead - n_in :]
    x = np.concatenate([state, k_m], axis=2)
    on = data.transitions[:, :, None]
    before, after = (x[:, :-1] * on).reshape(-1, rank + n_in), state[:, 1:].reshape(-1, rank)
    gram = before.T @ before
    gram += np.eye(len(gram)) * 1e-6 * np.trace(gram)
    slope = np.linalg.solve(gram, before.T @ after).T
    largest = max(np.abs(np.linalg.eigvals(slope[:, :rank])).max() / 0.98, 1.0)
    power_left = (flat**2).sum(axis=0) / sums.counts
    variance = power_left - np.einsum("ij,jk,ik->i", u, power, u, optimize=True)
    variance = np.maximum(variance, 0.1 * power_left + 1e-12)
    start = np.zeros((int(condition.max()) + 1, rank))
    return Parameters(
        base, u, variance, slope[:, :rank] / largest, slope[:, rank:],
        _floored(a * power, float(power.max())), start, _floored(power, float(power.max())), a,
    )  # fmt: skip


def _joint(data: Activity, f: Array, at: Posterior, sums: Sums) -> tuple[Array, Array]:
    """Return the expected sums of z z^T and y z^T, z = (f, s), by neuron."""
    neurons, n_lead, rank = data.y.shape[2], f.shape[2], at.mean.shape[2]
    s, w = at.mean, sums.weights[:, None, None]
    shape = s.shape[:2]
    both = w[..., None] * f[:, :, :, None] * s[:, :, None]
    sums_fs = data.total(both.reshape(*shape, n_lead * rank))
    outer = s[:, :, :, None] * s[:, :, None] + at.covariance[data.pattern]
    sums_ss = data.total((w[..., None] * outer).reshape(*shape, -1))
    n = len(sums_fs)
    gram = np.zeros((n, n_lead + rank, n_lead + rank))
    gram[:, :n_lead, :n_lead] = sums.ff
    gram[:, :n_lead, n_lead:] = sums_fs.reshape(n, n_lead, rank)
    gram[:, n_lead:, :n_lead] = np.swapaxes(gram[:, :n_lead, n_lead:], 1, 2)
    gram[:, n_lead:, n_lead:] = sums_ss.reshape(n, rank, rank)
    ys = data.y.reshape(-1, neurons).T @ (w * s).reshape(-1, rank)
    return gram, np.concatenate([sums.yf, ys], axis=1)


def maximise(
    old: Parameters, data: Activity, f: Array, condition: Whole, at: Posterior, sums: Sums
) -> Parameters:
    """Return the parameters that maximise the expected complete log likelihood, in closed form."""
    rank, n_in = old.rank, old.drive.shape[1]
    n_lead, neurons = f.shape[2], data.y.shape[2]
    gram, right = _joint(data, f, at, sums)
    full = np.broadcast_to(gram, (neurons, *gram.shape[1:]))
    loadings: Array = np.asarray(np.linalg.solve(full, right[:, :, None])[:, :, 0], dtype=float)
    left = sums.yy - np.einsum("ij,ij->i", right, loadings)
    variance = np.maximum(left, 1e-10 * sums.yy + 1e-300) / sums.counts
    w = sums.weights[:, None, None]
    on = data.transitions[:, :, None] * w
    x = np.concatenate([at.mean, f[:, :, n_lead - n_in :]], axis=2)
    before = x[:, :-1].reshape(-1, rank + n_in)
    after = at.mean[:, 1:].reshape(-1, rank)
    weight = on.reshape(-1, 1)
    spread = at.covariance[data.pattern]
    s00 = before.T @ (weight * before)
    s00[:rank, :rank] += np.einsum("kt,ktij->ij", on[:, :, 0], spread[:, :-1])
    s10 = after.T @ (weight * before)
    s10[:, :rank] += np.einsum("kt,ktij->ij", on[:, :, 0], at.cross[data.pattern][:, :-1])
    s11 = after.T @ (weight * after) + np.einsum("kt,ktij->ij", on[:, :, 0], spread[:, 1:])
    slope = np.linalg.solve(s00, s10.T).T
    scale = float(np.trace(s11) / on.sum())
    noise = _floored((s11 - slope @ s10.T) / on.sum(), scale)
    start = np.zeros_like(old.start)
    np.add.at(start, condition, sums.weights[:, None] * at.mean[:, 0])
    start /= np.maximum(np.bincount(condition, sums.weights, len(start)), 1e-12)[:, None]
    off = at.mean[:, 0] - start[condition]
    first = (sums.weights[:, None] * off).T @ off
    first += np.einsum("k,kij->ij", sums.weights, spread[:, 0])
    return replace(
        old,
        base=loadings[:, :n_lead],
        u=loadings[:, n_lead:],
        variance=variance,
        step=slope[:, :rank],
        drive=slope[:, rank:],
        noise=noise,
        start=start,
        start_noise=_floored(first / sums.weights.sum(), scale),
    )


def loading_error(p: Parameters, data: Activity, f: Array, at: Posterior, sums: Sums) -> Array:
    """Return the mean over neurons of the estimation covariance of (m, u), given k_u's spread."""
    gram, _ = _joint(data, f, at, sums)
    inverse = np.broadcast_to(np.linalg.inv(gram), (len(p.u), *gram.shape[1:]))
    error = np.einsum("i,ijk->jk", p.variance, inverse) / len(p.u)
    lead = f.shape[2] - p.drive.shape[1]
    return np.asarray(error[lead:, lead:])
