"""Expectation maximisation of the linear network with process noise, and where it starts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from predictlearn.arrays import Array
from predictlearn.fitting.state_space.kalman import Observations, Parameters, StatePosterior, Sums

__all__ = ["floored", "loading_error", "maximise", "start_parameters"]

Whole = npt.NDArray[np.int64]


# Noise variance of a neuron, as a share of its power, below which it is not let fall: where the
# network can follow a neuron exactly, the likelihood has no maximum.
_LEAST_NOISE = 1e-6


def floored(covariance: Array, scale: float) -> Array:
    """Return a symmetric covariance with no eigenvalue below a hair of the scale."""
    values, vectors = np.linalg.eigh((covariance + covariance.T) / 2)
    least = 1e-10 * max(scale, float(values[-1]), 1e-200)
    return np.asarray((vectors * np.maximum(values, least)) @ vectors.T)


def _solved(gram: Array, right: Array) -> Array:
    """Solve gram x = right, gram positive semidefinite, also where it is singular.

    A hair on the diagonal, relative to it: of collinear regressors the shortest coefficients.
    """
    size = gram.shape[-1]
    if size == 0:
        return np.asarray(right)
    diagonal = np.einsum("...ii->...i", gram)
    scale = 1 / np.sqrt(np.maximum(diagonal, 1e-30 * diagonal.max() + 1e-300))
    scaled = gram * scale[..., :, None] * scale[..., None, :] + 1e-12 * np.eye(size)
    return np.asarray(scale[..., None] * np.linalg.solve(scaled, scale[..., None] * right))


def start_parameters(
    data: Observations,
    f: Array,
    n_in: int,
    condition: Whole,
    rank: int,
    a: float,
    sums: Sums,
    way: str = "variance",
    rng: np.random.Generator | None = None,
) -> Parameters:
    """Start from directions of what the inputs alone leave over.

    ``way`` "variance": its principal components. "slow": of activity in units of each neuron's sd
    the directions that agree most from bin to bin. "random": a random mixture of twice as many
    principal components as the rank, of activity in units of the sd taken to a random power.
    """
    neurons, n_lead = data.y.shape[2], f.shape[2]
    gram = np.broadcast_to(sums.ff, (neurons, n_lead, n_lead))
    base = _solved(gram, sums.yf[:, :, None])[:, :, 0]
    there = data.bins[:, :, None] if data.seen is None else data.seen
    rest = (data.y - f @ base.T) * there
    flat = rest.reshape(-1, neurons)
    u = _directions(rest, rank, way, rng)
    state = rest @ u / neurons
    scores = state.reshape(-1, rank)
    power = scores.T @ scores / max(float(data.bins.sum()), 1.0)
    k_m = f[:, :, n_lead - n_in :]
    x = np.concatenate([state, k_m], axis=2)
    on = data.transitions[:, :, None]
    before, after = (x[:, :-1] * on).reshape(-1, rank + n_in), state[:, 1:].reshape(-1, rank)
    gram = before.T @ before
    gram += np.eye(len(gram)) * 1e-6 * np.trace(gram)
    slope = _solved(gram, before.T @ after).T
    largest = max(np.abs(np.linalg.eigvals(slope[:, :rank])).max() / 0.98, 1.0)
    power_left = (flat**2).sum(axis=0) / sums.counts
    variance = power_left - np.einsum("ij,jk,ik->i", u, power, u, optimize=True)
    variance = np.maximum(variance, 0.1 * power_left + 1e-300)
    start = np.zeros((int(condition.max()) + 1, rank))
    return Parameters(
        base, u, variance, slope[:, :rank] / largest, slope[:, rank:],
        floored(a * power, float(power.max())), start, floored(power, float(power.max())), a,
    )  # fmt: skip


def _directions(rest: Array, rank: int, way: str, rng: np.random.Generator | None) -> Array:
    """Return directions (neurons, rank), orthogonal and of mean square one, to start u from."""
    neurons = rest.shape[2]
    flat = rest.reshape(-1, neurons)
    scale = np.ones(neurons)
    if way != "variance":
        sd = np.sqrt(np.maximum(np.mean(flat**2, axis=0), 1e-300))
        power = 1.0 if way == "slow" or rng is None else rng.uniform()
        scale = (sd / np.exp(np.mean(np.log(sd)))) ** power
    if way == "slow":
        lagged = (rest[:, 1:] / scale).reshape(-1, neurons).T @ (rest[:, :-1] / scale).reshape(
            -1, neurons
        )
        second = lagged + lagged.T
    else:
        second = (flat / scale).T @ (flat / scale)
    vectors = np.linalg.eigh(second)[1]
    if way == "random" and rng is not None:
        width = min(2 * rank, neurons)
        mix = np.linalg.qr(rng.normal(size=(width, rank)))[0]
        u = vectors[:, -width:] @ mix
    else:
        u = vectors[:, -rank:]
    return np.asarray(np.linalg.qr(scale[:, None] * u)[0] * np.sqrt(neurons))


def _joint(data: Observations, f: Array, at: StatePosterior, sums: Sums) -> tuple[Array, Array]:
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
    old: Parameters, data: Observations, f: Array, condition: Whole, at: StatePosterior, sums: Sums
) -> Parameters:
    """Return the parameters that maximise the expected complete log likelihood, in closed form."""
    rank, n_in = old.rank, old.drive.shape[1]
    n_lead, neurons = f.shape[2], data.y.shape[2]
    gram, right = _joint(data, f, at, sums)
    full = np.broadcast_to(gram, (neurons, *gram.shape[1:]))
    loadings = _solved(full, right[:, :, None])[:, :, 0]
    left = sums.yy - np.einsum("ij,ij->i", right, loadings)
    variance = np.maximum(left, _LEAST_NOISE * sums.yy + 1e-300) / np.maximum(sums.counts, 1e-12)
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
    slope = _solved(s00, s10.T).T
    scale = float(np.trace(s11) / on.sum())
    noise = floored((s11 - slope @ s10.T) / on.sum(), scale)
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
        start_noise=floored(first / sums.weights.sum(), scale),
    )


def loading_error(
    p: Parameters, data: Observations, f: Array, at: StatePosterior, sums: Sums
) -> Array:
    """Return the mean over neurons of the estimation covariance of (m, u), given k_u's spread."""
    gram, _ = _joint(data, f, at, sums)
    inverse = _solved(gram, np.broadcast_to(np.eye(gram.shape[-1]), gram.shape))
    inverse = np.broadcast_to(inverse, (len(p.u), *gram.shape[1:]))
    error = np.einsum("i,ijk->jk", p.variance, inverse) / len(p.u)
    lead = f.shape[2] - p.drive.shape[1]
    return np.asarray(error[lead:, lead:])
