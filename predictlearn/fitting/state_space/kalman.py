"""The linear network with process noise: its parameters, the activity, and the posterior of k_u."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from predictlearn.arrays import Array
from predictlearn.fitting.state_space.kernels import covariances, means

__all__ = ["Observations", "Parameters", "StatePosterior", "Sums", "filtered_inputs", "posterior"]

Whole = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Parameters:
    """The parameters of the model.

    With s = k_u::

        s(t+1) = step s(t) + drive k_m(t) + w,  w ~ N(0, noise),  s(0) ~ N(start, start_noise)
        y_i(t) = base_i . f(t) + u_i . s(t) + e_i,  e_i ~ N(0, variance_i),  f = (1, k_m)

    Parameters
    ----------
    base : ndarray, shape (neurons, n_lead)
        Offset (where there is one) and loadings on k_m.
    u : ndarray, shape (neurons, rank)
        Loadings on k_u.
    variance : ndarray, shape (neurons,)
        r.
    step : ndarray, shape (rank, rank)
        (1 - a) + a S_vu.
    drive : ndarray, shape (rank, n_in)
        a S_vm.
    noise : ndarray, shape (rank, rank)
        Q.
    start : ndarray, shape (conditions, rank)
        Mean of the first bin.
    start_noise : ndarray, shape (rank, rank)
        P0.
    leak : float
        a = dt/tau.
    inputs : ndarray, shape (conditions, time, n_in)
        Inputs, where they are estimated; else empty.
    """

    base: Array
    u: Array
    variance: Array
    step: Array
    drive: Array
    noise: Array
    start: Array
    start_noise: Array
    leak: float = 1.0
    inputs: Array = field(default_factory=lambda: np.zeros((0, 0, 0)))

    @property
    def rank(self) -> int:
        """Recurrent dimensions."""
        return len(self.step)

    def in_gauge(self, q: Array) -> Parameters:
        """Return the parameters after U -> U Q, s -> Q^-1 s."""
        back = np.linalg.inv(q)
        return replace(
            self,
            u=self.u @ q,
            step=back @ self.step @ q,
            drive=back @ self.drive,
            noise=back @ self.noise @ back.T,
            start=self.start @ back.T,
            start_noise=back @ self.start_noise @ back.T,
        )


@dataclass(frozen=True, eq=False)
class Observations:
    """Activity, with what is missing.

    Parameters
    ----------
    y : ndarray, shape (trials, time, neurons)
        Observations, zero where missing.
    seen : ndarray or None
        1 where there is a value, 0 elsewhere; None where bins are whole or wholly missing.
    bins : ndarray, shape (trials, time)
        1 where there is any value.
    pattern : ndarray of int, shape (trials,)
        Trials with the same values missing share covariances.
    first : ndarray of int, shape (patterns,)
        A trial of each pattern.
    lengths : ndarray of int, shape (trials,)
        Bins up to the last with a value; what comes after is padding.
    """

    y: Array
    seen: Array | None
    bins: Array
    pattern: Whole
    first: Whole
    lengths: Whole

    @classmethod
    def from_array(cls, activity: Array) -> Observations:
        """Read activity with NaN where missing."""
        there: npt.NDArray[np.bool_] = np.asarray(~np.isnan(activity), dtype=bool)
        bins: npt.NDArray[np.bool_] = np.asarray(there.any(axis=2), dtype=bool)
        whole = np.array_equal(there.all(axis=2), bins)
        ids: dict[bytes, int] = {}
        first: list[int] = []
        pattern = np.zeros(len(activity), dtype=np.int64)
        for trial in range(len(activity)):
            key = np.packbits(bins[trial] if whole else there[trial]).tobytes()
            if key not in ids:
                ids[key] = len(first)
                first.append(trial)
            pattern[trial] = ids[key]
        lengths = bins.shape[1] - np.argmax(bins[:, ::-1], axis=1)
        return cls(
            np.where(there, activity, 0.0),
            None if whole else there.astype(float),
            bins.astype(float),
            pattern,
            np.array(first, dtype=np.int64),
            lengths.astype(np.int64),
        )

    @property
    def transitions(self) -> Array:
        """1 where bin t leads to a bin of the trial, shape (trials, time - 1)."""
        return (np.arange(1, self.y.shape[1]) < self.lengths[:, None]).astype(float)

    def total(self, values: Array) -> Array:
        """Sum values (trials, time, q) over the bins with a value, shape (neurons or 1, q)."""
        flat = values.reshape(values.shape[0] * values.shape[1], values.shape[2])
        if self.seen is None:
            return (self.bins.reshape(1, -1) @ flat).reshape(1, -1)
        return self.seen.reshape(-1, self.seen.shape[2]).T @ flat


@dataclass(frozen=True, eq=False)
class Sums:
    """Weighted sums over bins that do not depend on k_u.

    Parameters
    ----------
    weights : ndarray, shape (trials,)
        Weights of the trials.
    counts, yy : ndarray, shape (neurons,)
        Values, and their sum of squares.
    yf : ndarray, shape (neurons, n_lead)
        Sum of y f.
    ff : ndarray, shape (neurons or 1, n_lead, n_lead)
        Sum of f f^T.
    """

    weights: Array
    counts: Array
    yy: Array
    yf: Array
    ff: Array

    @classmethod
    def of(cls, data: Observations, f: Array, weights: Array) -> Sums:
        """Sum over trials with these weights."""
        n_neurons, n_lead = data.y.shape[2], f.shape[2]
        y = data.y.reshape(-1, n_neurons)
        weighted = f * weights[:, None, None]
        counts = data.total(np.broadcast_to(weights[:, None, None], (*f.shape[:2], 1)))
        outer = (weighted[:, :, :, None] * f[:, :, None]).reshape(*f.shape[:2], n_lead**2)
        return cls(
            weights,
            np.broadcast_to(counts[:, 0], (n_neurons,)),
            np.einsum("k,kti,kti->i", weights, data.y, data.y, optimize=True),
            y.T @ weighted.reshape(len(y), n_lead),
            data.total(outer).reshape(len(counts), n_lead, n_lead),
        )


@dataclass(frozen=True, eq=False)
class StatePosterior:
    """What the activity says of k_u.

    Parameters
    ----------
    mean : ndarray, shape (trials, time, rank)
        Zero after the end of a trial.
    covariance, cross : ndarray, shape (patterns, time, rank, rank)
        Of s(t), and of s(t+1) with s(t); by pattern of missing values.
    log_likelihood : float
        Weighted sum over trials.
    """

    mean: Array
    covariance: Array
    cross: Array
    log_likelihood: float


def filtered_inputs(inputs: Array, a: float) -> Array:
    """Return k_m of inputs, read after the update: k_m(t) = (1-a) k_m(t-1) + a x(t).

    Parameters
    ----------
    inputs : ndarray, shape (trials, time, n_in)
        Inputs.
    a : float
        dt/tau.

    Returns
    -------
    ndarray, shape (trials, time, n_in)
        k_m, zero before the first bin.
    """
    k = np.zeros_like(inputs)
    state = np.zeros((inputs.shape[0], inputs.shape[2]))
    for t in range(inputs.shape[1]):
        state = (1 - a) * state + a * inputs[:, t]
        k[:, t] = state
    return k


def posterior(
    parameters: Parameters, data: Observations, f: Array, condition: Whole, sums: Sums
) -> StatePosterior:
    """Run the filter and the smoother over all trials.

    Parameters
    ----------
    parameters : Parameters
        The model.
    data : Observations
        Observations.
    f : ndarray, shape (trials, time, n_lead)
        Known regressors, (1, k_m).
    condition : ndarray of int, shape (trials,)
        Which initial mean a trial has.
    sums : Sums
        Of the same data and regressors.

    Returns
    -------
    StatePosterior
        Smoothed means and covariances, and the log likelihood.
    """
    p = parameters
    trials, time, neurons = data.y.shape
    rank, n_lead = p.rank, p.base.shape[1]
    scaled = p.u / p.variance[:, None]
    vectors = (data.y.reshape(-1, neurons) @ scaled).reshape(trials, time, rank)
    products = (p.u[:, :, None] * scaled[:, None]).reshape(neurons, -1)
    if data.seen is None:
        vectors -= (data.bins[:, :, None] * f) @ (p.base.T @ scaled)
        information = data.bins[data.first][:, :, None] * products.sum(axis=0)
    else:
        flat = data.seen.reshape(-1, neurons)
        for j in range(n_lead):
            part = (flat @ (scaled * p.base[:, j, None])).reshape(trials, time, rank)
            vectors -= f[:, :, j, None] * part
        information = data.seen[data.first] @ products
    information = np.ascontiguousarray(information.reshape(-1, time, rank, rank))
    shape = (len(data.first), time, rank, rank)
    predicted, filtered, smoothed, cross = (np.zeros(shape) for _ in range(4))
    log_det = np.zeros(shape[:2])
    lengths = data.lengths[data.first]
    step = np.ascontiguousarray(p.step)  # in one order, for which alone numba compiles
    covariances(
        step, p.noise, p.start_noise, information, lengths, predicted, filtered, smoothed, cross,
        log_det,
    )  # fmt: skip
    k_m = f[:, :, n_lead - p.drive.shape[1] :]
    mean = np.zeros((trials, time, rank))
    value = means(
        step,
        np.ascontiguousarray(p.start[condition]),
        information,
        vectors,
        np.ascontiguousarray(k_m @ p.drive.T),
        data.pattern,
        lengths,
        predicted,
        filtered,
        log_det,
        mean,
    )
    squares = (
        sums.yy
        - 2 * np.einsum("ij,ij->i", sums.yf, p.base)
        + np.einsum(
            "ij,ijk,ik->i",
            p.base,
            np.broadcast_to(sums.ff, (neurons, n_lead, n_lead)),
            p.base,
            optimize=True,
        )
    )
    noise = sums.counts * np.log(2 * np.pi * p.variance) + squares / p.variance
    return StatePosterior(mean, smoothed, cross, float(sums.weights @ value - noise.sum() / 2))
