"""The recording as the search sees it: activity laid out by neuron, or its moments at all lags."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from scipy.signal import lfilter

from predictlearn.arrays import Array
from predictlearn.fitting.session.count_noise import CountNoise

__all__ = ["Data", "LagMoments"]


# Neurons copied at once.
_COPIED = 64


@dataclass(frozen=True, eq=False)
class LagMoments:
    """Sums over the bins of a recording; lag l of input c stands at c T + l.

    Parameters
    ----------
    inputs : ndarray, shape (trials, T, n_in)
        Inputs.
    rows : ndarray of int
        The bins among trials x T.
    gram : ndarray, shape (n_lead + n_in T, n_lead + n_in T)
        Of the lagged inputs with themselves, after a constant where neurons have an offset.
    target : ndarray, shape (n_lead + n_in T, neurons)
        Of the lagged inputs with the activity.
    """

    inputs: Array
    rows: npt.NDArray[np.intp]
    gram: Array
    target: Array

    def regressors(self, z: Array) -> Array:
        """Return over the bins what filters z (columns, n_lead + n_in T) make of the inputs."""
        n_trials, n_bins, n_in = self.inputs.shape
        lead = z.shape[1] - n_in * n_bins
        size = 2 * n_bins
        answer = np.fft.rfft(z[:, lead:].reshape(len(z), n_in, n_bins), size, axis=2)
        drive = np.fft.rfft(self.inputs, size, axis=1)
        out = np.fft.irfft(np.einsum("zcf,pfc->zpf", answer, drive), size, axis=2)[:, :, :n_bins]
        flat = out.reshape(len(z), n_trials * n_bins)[:, self.rows]
        return flat + z[:, :lead].sum(axis=1, keepdims=True)


@dataclass(frozen=True, eq=False)
class Data:
    """Activity laid out for the fit, with what is missing.

    Parameters
    ----------
    activity : ndarray, shape (neurons, rows)
        Rows are the bins of all trials in which some neuron was seen; 0 where missing.
    seen : ndarray of bool, shape (neurons, rows), or None
        None where nothing is missing in these rows.
    rows : ndarray of int
        Position of each row among trials x time.
    trial_start : ndarray of int, shape (trials + 1,)
        First row of each trial.
    offset, gain : bool
        Whether neurons have an offset and a gain of their own.
    saturating : bool
        Whether activity is phi(h), phi the erf; else it is h itself.
    ridge : float or None
        Relative ridge on the loadings; None: only as much as collinear regressors need.
    threads : int
        Threads for the erf regression and for counts.
    count : CountNoise or None
        How counts scatter; None for Gaussian activity. Counts have an offset.
    fading : float
        d of fluorescence c(t) = d c(t-1) + rate(t); 0 where activity is the rate itself.
    lags : LagMoments or None
        Its moments with the inputs, where k and dk are given as answers to pulses.
    population : ndarray, shape (n_base, n_base), or None
        Second moments of the loadings' prior, a Gaussian about 0; for counts.
    nodes : int
        Points of every bin at which k is given and over which a nonlinear rate is averaged.
    """

    activity: Array
    seen: npt.NDArray[np.bool_] | None
    rows: npt.NDArray[np.intp]
    trial_start: npt.NDArray[np.intp]
    offset: bool
    gain: bool
    saturating: bool
    ridge: float | None
    threads: int = 1
    count: CountNoise | None = None
    fading: float = 0.0
    lags: LagMoments | None = None
    population: Array | None = None
    nodes: int = 1

    @classmethod
    def from_activity(
        cls,
        activity: Array,
        *,
        offset: bool,
        gain: bool,
        saturating: bool,
        ridge: float | None,
        threads: int = 1,
        count: CountNoise | None = None,
        fading: float = 0.0,
        unit: float = 1.0,
    ) -> Data:
        """Lay out activity (trials, time, neurons), NaN where missing, in some unit."""
        n_trials, n_bins, n_neurons = activity.shape
        flat = activity.reshape(-1, n_neurons)
        missing = np.isnan(activity.sum(axis=2)).any()
        seen = ~np.isnan(flat) if missing else None
        rows = np.arange(len(flat))
        if seen is not None and not fading:
            # what fades passes through bins that nobody saw
            rows = np.flatnonzero(seen.any(axis=1))
            seen = seen[rows]
        if seen is not None:
            seen = None if seen.all() else np.ascontiguousarray(seen.T)
        if seen is None and not (saturating or count):
            # least squares take any layout: a large recording is not copied
            columns = (flat if len(rows) == len(flat) else flat[rows]).T
            columns = columns if unit == 1.0 else columns / unit
        else:
            # neuron by neuron: it is to be copied once, not three times
            columns = np.empty((n_neurons, len(rows)))
            for first in range(0, n_neurons, _COPIED):
                some = slice(first, first + _COPIED)
                columns[some] = (flat[:, some] if len(rows) == len(flat) else flat[rows, some]).T
            if seen is not None:
                columns[~seen] = 0.0
            if unit != 1.0:
                columns /= unit
        return cls(
            activity=columns,
            seen=seen,
            rows=rows,
            trial_start=np.searchsorted(rows, np.arange(n_trials + 1) * n_bins),
            offset=offset,
            gain=gain,
            saturating=saturating,
            ridge=ridge,
            threads=threads,
            count=count,
            fading=fading,
        )

    @property
    def n_neurons(self) -> int:
        """Number of neurons."""
        return int(self.activity.shape[0])

    @property
    def n_trials(self) -> int:
        """Number of trials."""
        return len(self.trial_start) - 1

    @property
    def iterated(self) -> bool:
        """Whether the regression is nonlinear, so that it is solved step by step."""
        return self.saturating or self.count is not None

    @property
    def n_lead(self) -> int:
        """Coefficients of a neuron before its loadings: offset, gain."""
        return int(self.offset) + int(self.gain)

    @property
    def counts(self) -> Array:
        """Number of bins in which each neuron was seen."""
        if self.seen is None:
            return np.full(self.n_neurons, float(len(self.rows)))
        return self.seen.sum(axis=1).astype(float)

    @cached_property
    def sums(self) -> Array:
        """Sum of each neuron's activity."""
        return np.asarray(self.activity @ np.ones(len(self.rows)))

    @cached_property
    def raw_squares(self) -> Array:
        """Sum of squares of each neuron about 0."""
        if self.activity.flags.f_contiguous:
            # the same sum, taken in the order of memory
            return np.asarray(np.einsum("ri,ri->i", self.activity.T, self.activity.T))
        return np.asarray(np.einsum("ir,ir->i", self.activity, self.activity))

    def total_squares(self) -> Array:
        """Sum of squares of each neuron about its mean, or about 0 where there is no offset."""
        squares = self.raw_squares.copy()
        if self.offset:
            squares -= self.sums**2 / self.counts
        return np.asarray(squares)

    def patterns(self) -> list[tuple[npt.NDArray[np.bool_] | None, npt.NDArray[np.intp]]]:
        """Group neurons that miss the same bins: (rows seen, neurons)."""
        if self.seen is None:
            return [(None, np.arange(self.n_neurons))]
        _, which = np.unique(self.seen, axis=0, return_inverse=True)
        which = which.ravel()
        groups: list[tuple[npt.NDArray[np.bool_] | None, npt.NDArray[np.intp]]] = []
        for label in range(which.max() + 1):
            neurons = np.flatnonzero(which == label)
            groups.append((self.seen[neurons[0]], neurons))
        return groups

    def flatten(self, k: Array) -> Array:
        """Take the rows of (..., trials, time * nodes).

        Where the regression is linear, nodes are averaged and what fades is filtered; else the
        rows of every node follow those of the node before, shape (..., nodes * rows).
        """
        nodes = self.nodes
        if nodes > 1 and not self.iterated:
            k, nodes = k.reshape(*k.shape[:-1], -1, nodes).mean(axis=-1), 1
        if self.fading and not self.saturating:
            k = lfilter([1.0], [1.0, -self.fading], k, axis=-1)
        flat = k.reshape(*k.shape[:-2], -1)
        if self.lags is not None:
            return flat
        if nodes > 1:
            flat = np.moveaxis(flat.reshape(*flat.shape[:-1], -1, nodes), -1, -2)
        if len(self.rows) < flat.shape[-1]:
            flat = flat[..., self.rows]
        return np.ascontiguousarray(flat.reshape(*k.shape[:-2], -1))

    def inner(self, k: Array) -> Array:
        """Return the sum over rows of k k^T, for the k that `flatten` returns."""
        if self.lags is None:
            return np.asarray(k @ k.T) / (k.shape[1] // len(self.rows))
        lagged = self.lags.gram[self.n_lead :, self.n_lead :]
        return np.asarray(k @ lagged @ k.T)
