"""What a bin of a recording holds of the reduced activity of a linear network: its mean.

Counts and calcium are sums over a bin. In continuous time s = (k_m, k_u) follows, inputs constant
within a bin,

    tau s' = -s + [[0, 0], [vm, vu]] s + (x, 0),

so that with X the matrix of the right-hand side times bin / tau, and phi_1(X) = (e^X - 1) / X,
phi_2(X) = (phi_1(X) - 1) / X, exactly

    after the bin:  e^X s      +  bin / tau phi_1(X) (x, 0),
    mean over it:   phi_1(X) s +  bin / tau phi_2(X) (x, 0).

A network that is simulated by one Euler step a bin and read after it has `Dynamics` instead.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from numba import njit
from scipy import linalg

from predictlearn.fitting.dynamics import Layout

__all__ = ["Averages", "as_euler", "bin_maps", "from_euler"]

Array = npt.NDArray[np.float64]


# A mode that grows by more than this (log) over a trial explains its last bins only.
_GROWTH = 5.0
# Beyond this activity has run away.
_RUNAWAY = 1e8
# What is left after a bin of a mode that an Euler fit has alternate or vanish within one.
_LEFT = 1e-2


@dataclass(frozen=True, eq=False)
class Averages:
    """Means over bins of the reduced activity, in place of `Dynamics`.

    Parameters
    ----------
    inputs : numpy.ndarray, (trials, time, n_in)
        Inputs, constant within a bin.
    dt : float
        Bin, seconds.
    layout : Layout
        Of a linear network without time constants to be found.
    tau : float
        Time constant, seconds.
    """

    inputs: Array
    dt: float
    layout: Layout
    tau: float

    def roll(self, theta: Array) -> tuple[Array, Array] | None:
        """Return k, (n_base, trials, time), and its slopes by (vm, vu), (n_base, q, trials, time).

        None where activity runs away.
        """
        layout, n_bins = self.layout, self.inputs.shape[1]
        vm, vu, _ = layout.unpack(theta)
        rates = np.linalg.eigvals(vu).real.max() - 1
        if n_bins * self.dt / self.tau * rates > _GROWTH:
            return None
        maps, slopes = bin_maps(vm, vu, self.dt / self.tau)
        k = np.empty((layout.n_base, *self.inputs.shape[:2]))
        dk = np.empty((layout.n_base, layout.n_drive, *self.inputs.shape[:2]))
        _roll(self.inputs, maps, slopes, layout.n_in, k, dk)
        largest = max(np.abs(k).max(), np.abs(dk).max(initial=0.0) / _RUNAWAY)
        return (k, dk) if np.isfinite(largest) and largest < _RUNAWAY else None


def bin_maps(vm: Array, vu: Array, a: float) -> tuple[Array, Array]:
    """Return how a bin's last state and its mean follow from the state before and the input.

    Parameters
    ----------
    vm : numpy.ndarray, (rank, n_in)
        Overlaps of v with m.
    vu : numpy.ndarray, (rank, rank)
        Overlaps of v with u.
    a : float
        Bin over tau.

    Returns
    -------
    maps : numpy.ndarray, (2, n, 2 n)
        Last state and mean, each by the n entries of the state before and by those of (x, 0).
    slopes : numpy.ndarray, (q, 2, n, 2 n)
        Of the maps, by the entries of vm and then of vu.
    """
    rank, n_in = vm.shape
    n = n_in + rank
    generator = np.zeros((3 * n, 3 * n))
    # exp([[X, 1, 0], [0, 0, 1], [0, 0, 0]]) has e^X, phi_1 and phi_2 in its first rows
    generator[n_in:n, :n] = a * np.hstack([vm, vu])
    generator[:n, :n] -= a * np.eye(n)
    generator[: 2 * n, n:] = np.eye(2 * n)
    places = [(r, c) for r in range(rank) for c in range(n_in)]
    places += [(r, n_in + c) for r in range(rank) for c in range(rank)]
    both = np.zeros((len(places), 6 * n, 6 * n))
    both[:, : 3 * n, : 3 * n] = both[:, 3 * n :, 3 * n :] = generator
    for j, (row, column) in enumerate(places):
        both[j, n_in + row, 3 * n + column] = a
    found = linalg.expm(both)[:, :n]
    return _both_maps(found[0, :, : 3 * n], n, a), _both_maps(found[..., 3 * n :], n, a)


def as_euler(inputs: Array, a: float) -> tuple[Array, float]:
    """Return inputs and a bin over tau for which one Euler step a bin gives the means of k_m.

    Those of k_u it gives nearly: good enough for a first look by a fit that takes Euler steps.

    Parameters
    ----------
    inputs : numpy.ndarray, (trials, time, n_in)
        Inputs.
    a : float
        Bin over tau.

    Returns
    -------
    tuple of numpy.ndarray and float
        What to give that fit.
    """
    step = -float(np.expm1(-a))
    # of an input to the mean of its own bin, and to that of the next
    own = 1 - step / a
    before = np.zeros_like(inputs)
    before[:, 1:] = inputs[:, :-1]
    return (own * inputs + (step - own) * before) / step, step


def from_euler(vm: Array, vu: Array, a: float) -> tuple[Array, Array]:
    """Return vm and vu in continuous time from those of an Euler fit to `as_euler`.

    Parameters
    ----------
    vm : numpy.ndarray, (rank, n_in)
        Overlaps of v with m.
    vu : numpy.ndarray, (rank, rank)
        Overlaps of v with u.
    a : float
        Bin over tau.

    Returns
    -------
    tuple of numpy.ndarray
        Of the same decay over a bin, and the same end under a constant input.

    Examples
    --------
    >>> vm, vu = from_euler(np.array([[0.3]]), np.array([[0.2]]), 0.01)
    >>> bool(abs(vm[0, 0] - 0.3) < 0.01 and abs(vu[0, 0] - 0.2) < 0.01)
    True
    """
    one, step = np.eye(len(vu)), -float(np.expm1(-a))
    values, vectors = np.linalg.eig(one - step * (one - vu))
    values = np.where(values.real <= 0, np.maximum(np.abs(values), _LEFT), values)
    rates = np.log(values.astype(complex)) / a
    flat = np.abs(1 - values) < 1e-6
    share = np.where(flat, step / a, -rates * step / np.where(flat, 1.0, 1 - values))
    back = np.linalg.inv(vectors)
    return (
        np.asarray(((vectors * share) @ back @ vm).real),
        np.asarray(one + ((vectors * rates) @ back).real),
    )


def _both_maps(found: Array, n: int, a: float) -> Array:
    """Return the two maps of a bin from (e^X, phi_1, phi_2), (..., n, 3 n)."""
    whole, first, second = (found[..., k * n : (k + 1) * n] for k in range(3))
    last = np.concatenate([whole, a * first], axis=-1)
    mean = np.concatenate([first, a * second], axis=-1)
    return np.ascontiguousarray(np.stack([last, mean], axis=-3))


@njit(cache=True, nogil=True)
def _roll(x, maps, slopes, n_in, k_out, dk_out):  # type: ignore[no-untyped-def]
    """Follow every trial from rest, bin by bin; the input alone moves the first n_in rows."""
    n_trials, n_bins, _ = x.shape
    n, size = maps.shape[1], slopes.shape[0]
    s, last = np.zeros(n), np.zeros(n)
    ds, dlast = np.zeros((size, n)), np.zeros((size, n))
    dk_out[:n_in] = 0.0
    for p in range(n_trials):
        s[:] = 0.0
        ds[:] = 0.0
        for t in range(n_bins):
            for i in range(n):
                after, mean = 0.0, 0.0
                for c in range(n):
                    after += maps[0, i, c] * s[c]
                    mean += maps[1, i, c] * s[c]
                for c in range(n_in):
                    after += maps[0, i, n + c] * x[p, t, c]
                    mean += maps[1, i, n + c] * x[p, t, c]
                last[i], k_out[i, p, t] = after, mean
            for j in range(size):
                for i in range(n_in, n):
                    after, mean = 0.0, 0.0
                    for c in range(n):
                        after += slopes[j, 0, i, c] * s[c]
                        mean += slopes[j, 1, i, c] * s[c]
                    for c in range(n_in):
                        after += slopes[j, 0, i, n + c] * x[p, t, c]
                        mean += slopes[j, 1, i, n + c] * x[p, t, c]
                    for c in range(n_in, n):
                        after += maps[0, i, c] * ds[j, c]
                        mean += maps[1, i, c] * ds[j, c]
                    dlast[j, i], dk_out[i, j, p, t] = after, mean
            for i in range(n):
                s[i] = last[i]
                for j in range(size):
                    ds[j, i] = dlast[j, i]
