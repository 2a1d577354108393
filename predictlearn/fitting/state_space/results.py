"""From a fitted network with process noise to overlaps, replicates and intervals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from predictlearn.arrays import Array
from predictlearn.fitting.session.loading_moments import positive_part
from predictlearn.fitting.session.overlap_table import (
    Raw,
    canonical,
    interval_table,
    invariants,
    named,
    never_negative,
    unseen_reasons,
)
from predictlearn.fitting.state_space.em import loading_error
from predictlearn.fitting.state_space.inputs import InputDesign, in_convention
from predictlearn.fitting.state_space.kalman import Observations, Parameters, Sums
from predictlearn.fitting.state_space.squarem import Point, climb
from predictlearn.theory.gauge import canonical_transform

__all__ = ["FittedOverlaps", "Outside", "reasons", "replicates", "report_of", "tables"]


@dataclass(frozen=True, eq=False)
class Outside:
    """What is known of the network besides its activity.

    Parameters
    ----------
    dt : float
        Bin, seconds.
    readout : ndarray, shape (neurons, n_out), or None
        Z.
    outputs : ndarray, shape (trials, time, n_out), or None
        Recorded outputs, NaN where missing.
    labels : list of str
        Names of the conditions.
    """

    dt: float
    readout: Array | None
    outputs: Array | None
    labels: list[str]


@dataclass(frozen=True, eq=False)
class FittedOverlaps:
    """One fit or replicate in the canonical gauge.

    Parameters
    ----------
    raw : Raw
        Overlaps; NaN rows for m where there are no inputs.
    p : Parameters
        In the canonical gauge and in the convention of estimated inputs.
    state : dict of str to float
        Process noise, initial means and tau, by name.
    error : ndarray, shape (n_in + rank, n_in + rank)
        Mean error covariance of the loadings, before the gauge.
    """

    raw: Raw
    p: Parameters
    state: dict[str, float]
    error: Array


def _output_overlaps(outside: Outside, data: Observations, f: Array, point: Point) -> Array | None:
    """Regress outputs on the smoothed k: what k is beyond its mean is unrelated to that mean."""
    if outside.outputs is None:
        return None
    k = np.concatenate([f, point.at.mean], axis=2)
    lead = f.shape[2] - point.p.drive.shape[1]
    flat, given = k.reshape(-1, k.shape[2]), outside.outputs.reshape(-1, outside.outputs.shape[2])
    weights = np.repeat(point.sums.weights, k.shape[1]) * np.isfinite(given).all(axis=1)
    weights = weights * (np.arange(k.shape[1]) < data.lengths[:, None]).ravel()
    gram = flat.T @ (weights[:, None] * flat)
    right = flat.T @ (weights[:, None] * np.where(np.isfinite(given), given, 0.0))
    return np.asarray(np.linalg.lstsq(gram, right, rcond=None)[0][lead:].T)


def _without_inputs(raw: Raw, p: Parameters) -> tuple[Raw, Array]:
    """Bring to the gauge of the initial means, and add a first row for the m that is not there."""
    q = canonical_transform(raw.bb, p.start.T, raw.vu)
    raw = raw.in_gauge(q)
    rank, n_out = len(raw.vu), len(raw.zb)
    bb = np.full((rank + 1, rank + 1), np.nan)
    bb[1:, 1:] = raw.bb
    zb = np.concatenate([np.full((n_out, 1), np.nan), raw.zb], axis=1)
    return Raw(np.full((rank, 1), np.nan), raw.vu, bb, zb, raw.zz, raw.times), q


def report_of(
    point: Point,
    data: Observations,
    design: InputDesign,
    outside: Outside,
    error: Array | float = 0.0,
    pick: npt.NDArray[np.int64] | None = None,
    like: Array | None = None,
) -> FittedOverlaps:
    """Turn a point into overlaps.

    Parameters
    ----------
    point : Point
        Where the climb ended.
    data : Observations
        Observations.
    design : InputDesign
        Inputs.
    outside : Outside
        Readout, outputs, labels.
    error : ndarray
        Error covariance of loadings to take off besides that of the point itself: in a replicate
        the loadings hold the error of the fit too.
    pick : ndarray of int, optional
        The neurons that the moments are taken of; default all.
    like : ndarray, shape (conditions, time, n_in), optional
        Estimated inputs whose signs to follow.

    Returns
    -------
    FittedOverlaps
        In the canonical gauge.
    """
    p = in_convention(point.p, design, like)
    f, sums = point.f, point.sums
    if design.inputs is None:
        f = design.regressors(p.inputs, p.leak)
        sums = Sums.of(data, f, point.sums.weights)
    own = loading_error(p, data, f, point.at, sums)
    loadings = np.concatenate([p.base[:, design.lead :], p.u], axis=1)
    chosen = loadings if pick is None else loadings[pick]
    bb = positive_part(chosen.T @ chosen / len(chosen) - own - error)
    rank, a = p.rank, p.leak
    zb, zz = np.full((1, len(bb)), np.nan), np.full((1, 1), np.nan)
    from_outputs = _output_overlaps(outside, data, f, point)
    z = outside.readout
    if z is not None:
        zb, zz = z.T @ loadings / len(z), z.T @ z / len(z)
    elif from_outputs is not None:
        zb, zz = from_outputs, np.full((len(from_outputs), len(from_outputs)), np.nan)
    vu = (p.step - (1 - a) * np.eye(rank)) / a
    tau = outside.dt / a
    raw = Raw(p.drive / a, vu, bb, zb, zz, (tau, 0.0))
    raw, q = canonical(raw) if p.drive.shape[1] else _without_inputs(raw, p)
    p = p.in_gauge(q)
    state = {"tau": tau} if design.fit_leak else {}
    for i in range(rank):
        for j in range(i, rank):
            state[f"process_noise[{i + 1},{j + 1}]"] = float(p.noise[i, j])
    for label, mean in zip(outside.labels, p.start, strict=True):
        for i in range(rank):
            state[f"initial[{label},{i + 1}]"] = float(mean[i])
    return FittedOverlaps(raw, p, state, own)


def _resampled(condition: npt.NDArray[np.int64], rng: np.random.Generator) -> Array:
    """Draw trials with replacement within each condition; return how often each was drawn."""
    weights = np.zeros(len(condition))
    for c in range(int(condition.max()) + 1):
        members = np.flatnonzero(condition == c)
        weights[members] = rng.multinomial(len(members), np.full(len(members), 1 / len(members)))
    return weights


def replicates(
    best: FittedOverlaps,
    start: Point,
    data: Observations,
    design: InputDesign,
    outside: Outside,
    sampled: bool,
    n: int,
    max_iter: int,
    tol: float,
    seed: int,
) -> list[FittedOverlaps]:
    """Refit resampled trials from the fit, and resample neurons for their moments.

    Parameters
    ----------
    best : FittedOverlaps
        The fit; its estimated inputs give the signs of those of replicates.
    start : Point
        Where replicates start.
    data, design, outside
        As in `report_of`.
    sampled : bool
        Whether neurons are a sample.
    n, max_iter, tol, seed
        Replicates, their most steps, when they stop, and the seed.

    Returns
    -------
    list of FittedOverlaps
        A replicate in which a neuron is hardly recorded, or that leaves what is finite, is left
        out.
    """
    rng = np.random.default_rng(seed)
    neurons = data.y.shape[2]
    draws = []
    for _ in range(n):
        weights = _resampled(design.condition, rng)
        pick = np.asarray(rng.integers(neurons, size=neurons)) if sampled else None
        sums = Sums.of(data, start.f, weights)
        if sums.counts.min() <= start.f.shape[2] + best.p.rank:
            continue
        try:
            point = climb(start.p, data, design, weights, max_iter, tol)[0]
        except (np.linalg.LinAlgError, FloatingPointError):
            continue
        draws.append(report_of(point, data, design, outside, best.error, pick, best.p.inputs))
    return draws


def tables(
    best: FittedOverlaps, draws: list[FittedOverlaps], degrees: int
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Return the intervals of overlaps, of invariants, and of noise, initial means and tau."""

    def table(estimate: dict[str, float], others: list[dict[str, float]]) -> pd.DataFrame:
        return interval_table(estimate, others, 0.95, degrees, never_negative(estimate))

    return (
        table(named(best.raw), [named(d.raw) for d in draws]),
        table(invariants(best.raw), [invariants(d.raw) for d in draws]),
        table(best.state, [d.state for d in draws]),
    )


def reasons(raw: Raw, n_in: int, outputs: bool, readout: bool) -> dict[str, str]:
    """Say why an overlap is unseen, by name."""
    out = unseen_reasons(max(n_in, 1), len(raw.vu), len(raw.zb), outputs, readout)
    if n_in == 0:
        without = {n: "no inputs were given: m is unknown" for n in named(raw) if "m" in n}
        out = {name: without.get(name, out.get(name, "")) for name in named(raw)}
        out = {name: reason for name, reason in out.items() if reason}
    return out
