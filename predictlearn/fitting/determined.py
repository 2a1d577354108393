"""What a recording does not determine: directions in which the likelihood does not move."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import linalg, stats

from predictlearn.fitting.arrow import Blocks
from predictlearn.fitting.loading_prior import evidence, without_weakest
from predictlearn.fitting.moments import invert, noise_variance
from predictlearn.fitting.solver import (
    Problem,
    Solution,
    reduced_system,
)
from predictlearn.fitting.summary import Raw, canonical, named

__all__ = ["UNREAD", "undetermined"]

Array = npt.NDArray[np.float64]

# A change of a parameter by its natural size that moves the log likelihood by less than half of
# this is none that data could tell; sizes are those of regressors of unit power.
_UNTOLD = 0.05
# Regressors of unit length more collinear than this (smallest eigenvalue of their products).
_COLLINEAR = 1e-7
# What moves by less than this, relative to its size, along such a direction is determined.
_STILL = 1e-3
# A latent is read where noise would let its loadings explain as much less often than this; a search
# tries many dynamics: the least such share in 500 recordings of Gaussian noise was 1.5e-4, in
# 140 of Poisson counts 1.1e-3.
_READ = 1e-5
# The reason that is no matter of a few numbers.
UNREAD = (
    "neurons follow the recurrent latents no more than noise would; a lower rank, the right "
    "inputs, or more trials"
)


def undetermined(problem: Problem, solution: Solution, raw: Raw) -> dict[str, str]:
    """Name the overlaps that the recording leaves open, and say why.

    Parameters
    ----------
    problem : Problem
        What was fitted.
    solution : Solution
        Where the search ended.
    raw : Raw
        The blocks of S there, in the gauge of the solution.

    Returns
    -------
    dict of str to str
        Reason by name of overlap; empty where all is determined.

    Notes
    -----
    Three kinds: regressors that are one (two inputs that are one, an input without effect in the
    bins recorded), directions of the dynamics without information (an input in the last bin only,
    trials too short for the recurrence), and latents that no neuron reads.
    """
    layout = problem.layout
    k = problem.dynamics.activity(solution.theta)
    if k is None:
        return {}
    power = np.maximum(np.diag(problem.data.inner(problem.data.flatten(k))), 1e-300)
    size = np.sqrt(power / len(problem.data.rows))
    n_in, rank = layout.n_in, layout.rank
    reasons: dict[str, str] = {}

    def note(moved: set[str], why: str) -> None:
        for name in named(raw):
            if name in moved:
                reasons.setdefault(name, why)

    for direction in _one_regressor(problem, k):
        share = np.abs(direction[:n_in]) * np.sqrt(power[:n_in])
        inputs = [str(c + 1) for c in np.flatnonzero(share > 0.1)]
        why = (
            f"inputs {' and '.join(inputs)} are one in this recording, so what each does cannot be "
            "told: vary them independently, or give their sum as one input"
            if len(inputs) > 1
            else "regressors of the activity are one in these bins: longer or more varied trials"
        )
        note(_moved_loadings(raw, direction), why)
    for direction in _without_information(problem, solution, size):
        drive = np.abs(direction[: layout.n_vm].reshape(rank, n_in)).max(axis=0)
        drive = drive * size[:n_in]
        inputs = [str(c + 1) for c in np.flatnonzero(drive > 0.3 * drive.max(initial=0.0))]
        recurrent = np.abs(direction[layout.n_vm : layout.n_drive]).max(initial=0.0)
        if drive.max(initial=0.0) > recurrent:
            why = (
                f"no recorded bin depends on how input {' or '.join(inputs)} enters the "
                "recurrence: record longer after it"
            )
        else:
            why = (
                "no recorded bin depends on it: record longer trials, or inputs that change earlier"
            )
        note(_moved_dynamics(problem, solution, raw, direction), why)
    if not _latents_are_read(problem, solution.at):
        note({name for name in named(raw) if "u" in name or "v" in name}, UNREAD)
    return reasons


def _one_regressor(problem: Problem, k: Array) -> list[Array]:
    """Return the combinations of loadings (n_base) whose regressor is zero."""
    second = problem.data.inner(problem.data.flatten(k))
    scale = 1 / np.sqrt(np.maximum(np.diag(second), 1e-300))
    values, vectors = np.linalg.eigh(second * np.outer(scale, scale))
    return [scale * vectors[:, i] for i in np.flatnonzero(values < _COLLINEAR)]


def _without_information(problem: Problem, solution: Solution, size: Array) -> list[Array]:
    """Return the directions of theta, gauge apart, that the likelihood does not feel."""
    layout, at = problem.layout, solution.at
    data = problem.data
    weights = np.ones(data.n_neurons)
    if data.count is None:
        weights = data.counts / np.maximum(at.squares + at.penalty, 1e-300)
    h = reduced_system(at, weights, 0.0)[0]
    if not np.isfinite(h).all():
        return []
    scale = np.ones(layout.size)
    scale[: layout.n_vm] = np.tile(1 / size[: layout.n_in], layout.rank) * size[-1]
    if layout.fit_latency:
        scale[-1] = problem.dynamics.dt
    # S_bb is known from the loadings
    scale[layout.n_drive : layout.at_time] = 0.0
    held = problem.dynamics.held(solution.theta)
    scale[held] = 0.0
    tangents = layout.tangents(solution.theta)
    kept = np.flatnonzero(scale)
    within = h[np.ix_(kept, kept)] * np.outer(scale[kept], scale[kept])
    gauge = tangents[kept] / scale[kept, None]
    rest = linalg.null_space(gauge.T) if gauge.size else np.eye(len(kept))
    values, vectors = np.linalg.eigh(rest.T @ within @ rest)
    out = []
    for i in np.flatnonzero(values < _UNTOLD):
        direction = np.zeros(layout.size)
        direction[kept] = scale[kept] * (rest @ vectors[:, i])
        out.append(direction)
    return out


def _latents_are_read(problem: Problem, at: Blocks) -> bool:
    """Tell whether every recurrent latent is read by the neurons beyond estimation error.

    Neurons are weighed by what is known of them, so that a few that say nothing do not decide.
    Gaussian noise: the power of the loadings along the weakest axis against their estimation error
    (Wald). Counts: the likelihood ratio to a population without that axis.
    """
    first = problem.data.n_lead + problem.layout.n_in
    if problem.data.population is not None:
        found = evidence(problem.data, at)
        gain, spreads = without_weakest(found, problem.data.population, problem.layout.n_in)
        return bool(stats.chi2.sf(2 * gain, spreads) < _READ)
    covariance = invert(at.inner) * noise_variance(problem.data, at)[:, None, None]
    own = covariance[:, first:, first:]
    rank = own.shape[1]
    scale = np.exp(np.linalg.slogdet(own)[1] / (2 * rank))
    known = np.isfinite(scale) & (scale > 0)
    if not known.any():
        return True
    weight = (scale[known].min() / scale[known]) ** 2
    reading = weight[:, None] * at.phi[known, first:] / scale[known].min()
    noise = (own[known] / scale[known, None, None] ** 2).mean(axis=0)
    second = reading.T @ reading
    if not (np.isfinite(noise).all() and np.isfinite(second).all()):
        return True
    weakest = linalg.eigh(second, noise, eigvals_only=True)[0]
    # a weighted sum of squared normal numbers, by the chi-square with its mean and variance
    # (Satterthwaite 1946)
    unit = (weight**2).sum() / weight.sum()
    return bool(stats.chi2.sf(weakest / unit, weight.sum() / unit) < _READ)


def _moved_loadings(raw: Raw, direction: Array) -> set[str]:
    """Return the overlaps that change where loadings move along a direction.

    The drive of the recurrence by inputs moves along it just as freely.
    """
    rng = np.random.default_rng(0)
    pull = rng.normal(size=len(direction)) * np.sqrt(np.diag(raw.bb)).max()
    pull /= max(float(np.linalg.norm(direction)), 1e-300)
    bb = raw.bb + np.outer(pull, direction) + np.outer(direction, pull)
    # what keeps it positive definite, whatever the units of the loadings
    firm = 2 * float(pull @ np.linalg.solve(raw.bb, pull))
    bb = bb + firm * np.outer(direction, direction)
    zb = raw.zb + rng.normal(size=(len(raw.zb), 1)) * direction
    drive = direction[: raw.vm.shape[1]] / max(float(np.linalg.norm(direction)), 1e-300)
    vm = raw.vm + rng.normal(size=(len(raw.vm), 1)) * drive
    return _changed(raw, Raw(vm, raw.vu, bb, zb, raw.zz, raw.times))


def _moved_dynamics(problem: Problem, solution: Solution, raw: Raw, direction: Array) -> set[str]:
    """Return the overlaps that change where the dynamics move along a direction."""
    layout = problem.layout
    step = direction / max(float(np.abs(direction).max()), 1e-300)
    vm, vu, _ = layout.unpack(solution.theta + step)
    return _changed(raw, Raw(vm, vu, raw.bb, raw.zb, raw.zz, raw.times))


def _changed(before: Raw, after: Raw) -> set[str]:
    """Return the names of overlaps, canonical gauge, that differ."""
    one, other = named(canonical(before)[0]), named(canonical(after)[0])
    largest = max(abs(v) for v in one.values() if np.isfinite(v))
    return {
        name
        for name, value in one.items()
        if np.isfinite(value)
        and abs(other[name] - value) > _STILL * max(abs(value), 0.01 * largest)
    }
