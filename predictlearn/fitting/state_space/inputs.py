"""Inputs of the network with process noise: known, or estimated with tau or the inputs free."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy import sparse
from scipy.sparse import linalg as sparse_linalg

from predictlearn.arrays import Array
from predictlearn.fitting.state_space.kalman import (
    Observations,
    Parameters,
    StatePosterior,
    filtered_inputs,
)

__all__ = [
    "InputDesign",
    "improve_inputs",
    "improve_leak",
    "in_convention",
    "roughness",
    "whitened",
]

Whole = npt.NDArray[np.int64]

# tau fitted by steps of at most a factor exp(0.3), between half a bin and five trials.
_LARGEST_STEP = 0.3
_LARGEST_LEAK = 1.98


@dataclass(frozen=True, eq=False)
class InputDesign:
    """Where the regressors f = (1, k_m) come from.

    Parameters
    ----------
    inputs : ndarray, shape (trials, time, n_in), or None
        Known inputs, zero after the end of a trial; None where they are parameters.
    condition : ndarray of int, shape (trials,)
        Condition of each trial.
    used : ndarray, shape (conditions,)
        Bins of the longest trial of a condition.
    time : int
        Bins of the arrays.
    offset : bool
        Whether f begins with a one.
    smoothness : float
        Weight of squared second differences of estimated inputs.
    fit_leak : bool
        Whether a = dt/tau is a parameter.
    """

    inputs: Array | None
    condition: Whole
    used: Whole
    time: int
    offset: bool
    smoothness: float = 0.0
    fit_leak: bool = False

    @property
    def lead(self) -> int:
        """Columns of f before k_m."""
        return int(self.offset)

    @property
    def n_in(self) -> int:
        """Number of known inputs."""
        return 0 if self.inputs is None else self.inputs.shape[2]

    def regressors(self, estimated: Array, leak: float) -> Array:
        """Return f, shape (trials, time, n_lead), of inputs by condition where they are unknown."""
        if self.inputs is not None:
            k_m = filtered_inputs(self.inputs, leak)
        else:
            by_condition = filtered_inputs(estimated, leak)[:, : self.time]
            k_m = np.zeros((len(self.condition), self.time, estimated.shape[2]))
            k_m[:, : by_condition.shape[1]] = by_condition[self.condition]
        return np.concatenate([np.ones((*k_m.shape[:2], self.lead)), k_m], axis=2)

    def flat(self, inputs: Array) -> Array:
        """Return inputs (conditions, time, n_in) at the bins in use, shape (bins, n_in)."""
        return inputs[np.arange(inputs.shape[1]) < self.used[:, None]]


def _differences(design: InputDesign, inputs: Array) -> Array:
    """Return the sum of d d^T over second differences d of inputs, shape (n_in, n_in)."""
    total = np.zeros((inputs.shape[2], inputs.shape[2]))
    for x, bins in zip(inputs, design.used, strict=True):
        d = np.diff(x[:bins], 2, axis=0)
        total += d.T @ d
    return total


def roughness(p: Parameters, design: InputDesign) -> float:
    """Return what the log likelihood is penalised by: half of smoothness times squared bends.

    Second differences are of inputs brought to unit mean square (and decorrelated), so that no
    choice of their scale evades the penalty.
    """
    if design.inputs is not None or design.smoothness == 0.0:
        return 0.0
    x = design.flat(p.inputs)
    second = x.T @ x / len(x)
    return float(
        design.smoothness / 2 * np.trace(np.linalg.solve(second, _differences(design, p.inputs)))
    )


def _mixed(p: Parameters, design: InputDesign, mix: Array) -> Parameters:
    """Return the parameters after M -> M mix, x -> mix^-1 x."""
    base = p.base.copy()
    base[:, design.lead :] = base[:, design.lead :] @ mix
    return replace(p, base=base, drive=p.drive @ mix, inputs=p.inputs @ np.linalg.inv(mix).T)


def whitened(p: Parameters, design: InputDesign) -> Parameters:
    """Return the parameters with inputs of unit mean square and uncorrelated over bins in use."""
    if design.inputs is not None:
        return p
    x = design.flat(p.inputs)
    values, vectors = np.linalg.eigh(x.T @ x / len(x))
    root = np.sqrt(np.maximum(values, 1e-12 * max(values[-1], 1e-300)))
    return _mixed(p, design, (vectors * root) @ vectors.T)


def in_convention(p: Parameters, design: InputDesign, like: Array | None = None) -> Parameters:
    """Return the parameters with estimated inputs by convention.

    Unit mean square and uncorrelated; loadings on different inputs orthogonal, the strongest
    first; signs such that loadings have positive means, or as those of given inputs.
    """
    if design.inputs is not None:
        return p
    p = whitened(p, design)
    m = p.base[:, design.lead :]
    p = _mixed(p, design, np.linalg.eigh(m.T @ m)[1][:, ::-1])
    along = p.base[:, design.lead :].sum(axis=0)
    if like is not None:
        along = np.sum(p.inputs * like, axis=(0, 1))
    return _mixed(p, design, np.diag(np.where(along < 0, -1.0, 1.0)))


def _quadratic(
    p: Parameters, data: Observations, design: InputDesign, at: StatePosterior
) -> tuple[Array, Array]:
    """Return H and b of the expected log likelihood in k_m, b . k_m - k_m . H k_m / 2, by bin."""
    m = p.base[:, design.lead :]
    trials, time, neurons = data.y.shape
    n_in = m.shape[1]
    scaled = m / p.variance[:, None]
    loadings = np.concatenate([p.base[:, : design.lead], p.u], axis=1)
    state = np.concatenate([np.ones((trials, time, design.lead)), at.mean], axis=2)
    b = (data.y.reshape(-1, neurons) @ scaled).reshape(trials, time, n_in)
    if data.seen is None:
        b -= data.bins[:, :, None] * (state @ (loadings.T @ scaled))
        h = data.bins[:, :, None, None] * (m.T @ scaled)
    else:
        flat = data.seen.reshape(-1, neurons)
        for j in range(loadings.shape[1]):
            part = (flat @ (scaled * loadings[:, j, None])).reshape(trials, time, n_in)
            b -= state[:, :, j, None] * part
        products = (m[:, :, None] * scaled[:, None]).reshape(neurons, -1)
        h = (flat @ products).reshape(trials, time, n_in, n_in)
    gain = np.linalg.solve(p.noise, p.drive)
    on = data.transitions[:, :, None]
    b[:, :-1] += on * ((at.mean[:, 1:] - at.mean[:, :-1] @ p.step.T) @ gain)
    h[:, :-1] += on[..., None] * (p.drive.T @ gain)
    return h, b


def _value(h: Array, b: Array, k_m: Array) -> float:
    """Return b . k_m - k_m . H k_m / 2, summed."""
    return float(np.sum(b * k_m) - np.einsum("kti,ktij,ktj->", k_m, h, k_m, optimize=True) / 2)


def improve_inputs(
    p: Parameters, data: Observations, design: InputDesign, at: StatePosterior, weights: Array
) -> Parameters:
    """Return the parameters with better inputs of every condition, all else fixed.

    The expected log likelihood is quadratic in the inputs; the penalty, free of their scale, is
    replaced by a quadratic of the same slope. Half of the way is taken, and so on, in the rare
    case that the two together do not rise.
    """
    p = whitened(p, design)
    n_conditions, _, n_in = p.inputs.shape
    by_trial, pull = _quadratic(p, data, design, at)
    h = np.zeros((n_conditions, *by_trial.shape[1:]))
    b = np.zeros((n_conditions, *pull.shape[1:]))
    np.add.at(h, design.condition, weights[:, None, None, None] * by_trial)
    np.add.at(b, design.condition, weights[:, None, None] * pull)
    bend = design.smoothness * _differences(design, p.inputs) / int(design.used.sum())
    goal = np.zeros_like(p.inputs)
    for c, bins in enumerate(design.used):
        back = sparse.diags_array(
            [np.full(bins, 1 / p.leak), np.full(bins - 1, 1 - 1 / p.leak)], offsets=[0, -1]
        )  # k_m -> x
        system = sparse.bsr_array((h[c, :bins], np.arange(bins), np.arange(bins + 1))).tocsc()
        if bins > 2 and design.smoothness:
            second = sparse.diags_array([1.0, -2.0, 1.0], offsets=[0, 1, 2], shape=(bins - 2, bins))
            smooth = second @ back
            system = system + design.smoothness * sparse.kron(smooth.T @ smooth, np.eye(n_in))
            system = system - sparse.kron(back.T @ back, bend)
        hair = 1e-12 * float(np.einsum("tii->", h[c, :bins])) / bins
        system = system + hair * sparse.eye_array(bins * n_in)
        k_m = sparse_linalg.spsolve(system.tocsc(), b[c, :bins].ravel()).reshape(bins, n_in)
        goal[c, :bins] = back @ k_m
    before = _value(h, b, filtered_inputs(p.inputs, p.leak)) - roughness(p, design)
    step = 1.0
    for _ in range(6):
        new = replace(p, inputs=p.inputs + step * (goal - p.inputs))
        after = _value(h, b, filtered_inputs(new.inputs, p.leak)) - roughness(new, design)
        if after >= before:
            return whitened(new, design)
        step /= 2
    return p


def improve_leak(
    p: Parameters, data: Observations, design: InputDesign, at: StatePosterior, weights: Array
) -> Parameters:
    """Return the parameters with a better a = dt/tau, all else fixed: a Newton step in log a."""
    x = design.inputs if design.inputs is not None else p.inputs[design.condition]
    h, b = _quadratic(p, data, design, at)
    h, b = h * weights[:, None, None, None], b * weights[:, None, None]
    k_m = filtered_inputs(x, p.leak)
    along = (filtered_inputs(x, p.leak * (1 + 1e-5)) - k_m) / 1e-5
    slope = float(np.sum((b - np.einsum("ktij,ktj->kti", h, k_m)) * along))
    curvature = float(np.einsum("kti,ktij,ktj->", along, h, along, optimize=True))
    move = float(np.clip(slope / max(curvature, 1e-300), -_LARGEST_STEP, _LARGEST_STEP))
    before = _value(h, b, k_m)
    for _ in range(6):
        leak = float(np.clip(p.leak * np.exp(move), 0.2 / design.time, _LARGEST_LEAK))
        if _value(h, b, filtered_inputs(x, leak)) >= before:
            return replace(p, leak=leak)
        move /= 2
    return p
