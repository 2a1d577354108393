"""The reduced activity k(t) and its derivative with respect to the parameters of the dynamics.

    tau dk_m/dt = -k_m + x(t - latency)
    tau dk_u/dt = -k_u + g(Delta) [S_vm k_m + S_vu k_u],    Delta = k^T S_bb k

Either its mean over every bin, in continuous time (`bin_means`), or its value after one forward
Euler step a bin, as simulated networks have it.

Parameters theta, in this order: S_vm, S_vu, the upper triangle of S_bb (erf only), log tau and
latency (where they are fitted). The gauge U -> U Q leaves all activity as it is, so theta has
R^2 directions that no data can tell; `Layout.tangents` gives them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from predictlearn.arrays import Array
from predictlearn.compiled import compiled
from predictlearn.fitting.session.bin_means import roll_means

__all__ = ["Dynamics", "Layout", "roll_trials"]


# Beyond this the activity has run away: no fit lies there, and squares would overflow.
_RUNAWAY = 1e8
# A linear mode that grows more than this (log) over a trial explains its last bins only.
_GROWTH = 5.0
# Runge-Kutta steps in a time constant of the fastest mode, and in a stretch at most.
_STEPS, _MOST_STEPS = 3.0, 16


@dataclass(frozen=True)
class Layout:
    """Where each parameter of the dynamics stands in theta.

    Parameters
    ----------
    n_in, rank : int
        Numbers of inputs and of recurrent dimensions.
    erf : bool
        Whether the gain depends on S_bb.
    fit_tau, fit_latency : bool
        Whether they are part of theta.
    """

    n_in: int
    rank: int
    erf: bool
    fit_tau: bool = False
    fit_latency: bool = False

    @cached_property
    def n_base(self) -> int:
        """Number of reduced coordinates k, n_in + rank."""
        return self.n_in + self.rank

    @cached_property
    def n_vm(self) -> int:
        """Number of entries of S_vm."""
        return self.rank * self.n_in

    @cached_property
    def n_drive(self) -> int:
        """Number of entries of S_vm and S_vu."""
        return self.n_vm + self.rank**2

    @cached_property
    def n_bb(self) -> int:
        """Number of entries of S_bb in theta."""
        return self.n_base * (self.n_base + 1) // 2 if self.erf else 0

    @cached_property
    def at_time(self) -> int:
        """Index in theta of what follows S_bb: log tau, latency."""
        return self.n_drive + self.n_bb

    @cached_property
    def size(self) -> int:
        """Length of theta."""
        return self.at_time + self.fit_tau + self.fit_latency

    @cached_property
    def triangle(self) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
        """Rows and columns of the upper triangle of S_bb, in the order of theta."""
        return np.triu_indices(self.n_base)

    @cached_property
    def moved(self) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
        """Pairs (base, parameter) for which dk/dtheta is not zero throughout."""
        pairs = [
            (c, j)
            for c in range(self.n_base)
            for j in range(self.size)
            if c >= self.n_in or j >= self.at_time
        ]
        return tuple(np.array(pairs, dtype=np.intp).T)

    def pack(
        self, vm: Array, vu: Array, bb: Array, tau: float = 1.0, latency: float = 0.0
    ) -> Array:
        """Stack the parameters into theta."""
        parts = [vm.ravel(), vu.ravel()]
        if self.erf:
            parts.append(bb[self.triangle])
        if self.fit_tau:
            parts.append(np.array([np.log(tau)]))
        if self.fit_latency:
            parts.append(np.array([latency]))
        return np.concatenate(parts)

    def unpack(self, theta: Array) -> tuple[Array, Array, Array]:
        """Return S_vm, S_vu and S_bb (zeros where the gain does not depend on it)."""
        vm = theta[: self.n_vm].reshape(self.rank, self.n_in)
        vu = theta[self.n_vm : self.n_drive].reshape(self.rank, self.rank)
        bb = np.zeros((self.n_base, self.n_base))
        if self.erf:
            bb[self.triangle] = theta[self.n_drive : self.at_time]
            bb = np.triu(bb) + np.triu(bb, 1).T
        return vm, vu, bb

    def regauge(self, theta: Array, q: Array) -> Array:
        """Return theta after U -> U Q, that is k_u -> Q^-1 k_u."""
        vm, vu, bb = self.unpack(theta)
        inverse = np.linalg.inv(q)
        base = np.eye(self.n_base)
        base[self.n_in :, self.n_in :] = q
        parts = [(inverse @ vm).ravel(), (inverse @ vu @ q).ravel()]
        if self.erf:
            parts.append((base.T @ bb @ base)[self.triangle])
        return np.concatenate([*parts, theta[self.at_time :]])

    def tangents(self, theta: Array) -> Array:
        """Return the (size, rank^2) directions along which only the gauge changes."""
        vm, vu, bb = self.unpack(theta)
        rank, n_in, n = self.rank, self.n_in, self.rank**2
        x = np.eye(n).reshape(n, rank, rank)
        parts = [(-x @ vm).reshape(n, -1), (vu @ x - x @ vu).reshape(n, -1)]
        if self.erf:
            base = np.zeros((n, self.n_base, self.n_base))
            base[:, n_in:, n_in:] = x
            turned = base.transpose(0, 2, 1) @ bb + bb @ base
            parts.append(turned[:, *self.triangle])
        parts.append(np.zeros((n, self.size - self.at_time)))
        return np.concatenate(parts, axis=1).T


@dataclass(frozen=True, eq=False)
class Dynamics:
    """Roll out the reduced activity for given inputs.

    Parameters
    ----------
    inputs : ndarray, shape (trials, time * per_bin, n_in)
        Inputs, before the latency.
    dt : float
        Bin, seconds.
    layout : Layout
        What theta holds.
    tau, latency : float
        Their values where they are not fitted, seconds.
    mean : bool
        Whether activity is the mean over a bin in continuous time; else one Euler step a bin.
    per_bin : int
        Steps of the inputs in a bin; 1 for Euler.
    nodes : int
        1: k is the mean over a bin. 2: k is given at two points of every bin, one after the other
        in time, which have its mean and, to third order in the bin, its variance there, as a
        rate that saturates needs (Gauss's rule, where k moves on a line).
    """

    inputs: Array
    dt: float
    layout: Layout
    tau: float = 1.0
    latency: float = 0.0
    mean: bool = False
    per_bin: int = 1
    nodes: int = 1

    @property
    def n_bins(self) -> int:
        """Bins of a trial."""
        return self.inputs.shape[1] // self.per_bin

    @cached_property
    def inputs_of_means(self) -> Array:
        """The inputs, in a whole number of steps for every mean that is rolled out."""
        return np.repeat(self.inputs, self.nodes if self.per_bin % self.nodes else 1, axis=1)

    def times(self, theta: Array) -> tuple[float, float]:
        """Return tau and latency, seconds."""
        tau, latency, at = self.tau, self.latency, self.layout.at_time
        if self.layout.fit_tau:
            tau = float(np.exp(theta[at]))
            at += 1
        if self.layout.fit_latency:
            latency = float(theta[at])
        return tau, latency

    @cached_property
    def bounds(self) -> tuple[Array, Array]:
        """Lowest and highest theta: tau a bin (a fifth) to ten trials, latency to half a trial."""
        low = np.full(self.layout.size, -np.inf)
        high = np.full(self.layout.size, np.inf)
        at, length = self.layout.at_time, self.n_bins * self.dt
        if self.layout.fit_tau:
            low[at] = np.log(self.dt / 5 if self.mean else self.dt)
            high[at] = np.log(10 * length)
            at += 1
        if self.layout.fit_latency:
            low[at], high[at] = 0.0, length / 2
        return low, high

    def clip(self, theta: Array) -> Array:
        """Keep theta within its bounds."""
        return np.clip(theta, *self.bounds)

    def held(self, theta: Array, direction: Array | None = None) -> npt.NDArray[np.bool_]:
        """Tell which parameters stand at a bound (and would be moved beyond it)."""
        low, high = self.bounds
        below, above = theta <= low + 1e-9, theta >= high - 1e-9
        if direction is None:
            return np.asarray(below | above)
        return np.asarray((below & (direction < 0)) | (above & (direction > 0)))

    def delayed(self, latency: float) -> tuple[Array, Array]:
        """Return the inputs after a latency (linear interpolation), and their slope in it."""
        if latency == 0.0 and not self.layout.fit_latency:
            # whose slope nobody asks for; of what cannot be written to numba would make a second
            # version of the loop
            inputs = np.require(self.inputs, requirements="W")
            return inputs, inputs
        shift = latency / self.dt
        whole = int(np.floor(shift + 1e-12))
        part = max(shift - whole, 0.0)
        early, late = _shifted(self.inputs, whole), _shifted(self.inputs, whole + 1)
        return (1 - part) * early + part * late, (late - early) / self.dt

    def roll(self, theta: Array, slopes: bool = True) -> tuple[Array, Array] | None:
        """Return k (n_base, trials, time * nodes) and dk/dtheta (n_base, size, trials, ...).

        None where the activity runs away; of size 0 where slopes are not wanted.
        """
        return self._rolled(theta, self.layout.size if slopes else 0)

    def activity(self, theta: Array) -> Array | None:
        """Return k alone, in a fraction of the time."""
        rolled = self.roll(theta, slopes=False)
        return None if rolled is None else rolled[0]

    def _rolled(self, theta: Array, size: int) -> tuple[Array, Array] | None:
        """Return k and the derivatives in the first ``size`` parameters (all or none)."""
        tau, latency = self.times(theta)
        vm, vu, bb = self.layout.unpack(theta)
        vm, vu = np.ascontiguousarray(vm), np.ascontiguousarray(vu)
        layout, n_trials = self.layout, len(self.inputs)
        fitted = (layout.fit_tau, layout.fit_latency)
        if not layout.erf and self.n_bins * self._growth(vu, tau) > _GROWTH:
            return None
        n_means = self.n_bins * self.nodes
        k = np.empty((layout.n_base, n_trials, n_means))
        dk = np.empty((layout.n_base, size, n_trials, n_means))
        if self.mean:
            many = self._runge_kutta_steps(vu, tau) if layout.erf else 1
            per_mean = self.inputs_of_means.shape[1] // n_means
            steps = ((self.dt / self.nodes, tau, latency), per_mean, many)
            roll_means(self.inputs_of_means, vm, vu, bb, *steps, layout.erf, *fitted, k, dk)
            if self.nodes == 2:
                _spread_nodes(k)
                _spread_nodes(dk)
        else:
            x, slope = self.delayed(latency)
            roll_trials(x, slope, vm, vu, bb, self.dt / tau, layout.erf, *fitted, k, dk)
        largest = max(_largest(k), _largest(dk) / _RUNAWAY)
        return (k, dk) if np.isfinite(largest) and largest < _RUNAWAY else None

    def _growth(self, vu: Array, tau: float) -> float:
        """Return how much the fastest growing mode of a linear network grows in a bin (log)."""
        if not np.isfinite(vu).all():
            return np.inf
        rates = np.linalg.eigvals(vu) - 1
        if self.mean:
            return float(self.dt / tau * rates.real.max())
        return float(np.log(max(np.abs(1 + self.dt / tau * rates).max(), 1e-300)))

    def _runge_kutta_steps(self, vu: Array, tau: float) -> int:
        """Return how many steps a stretch of constant input takes: three a time constant or so.

        Powers of two, so that the number hardly changes in the course of a search.
        """
        if not np.isfinite(vu).all():
            return 1
        fastest = max(1.0, float(np.abs(1 - np.linalg.eigvals(vu)).max()))
        step = self.n_bins * self.dt / self.inputs_of_means.shape[1]
        steps = _STEPS * step / tau * fastest
        return min(2 ** int(np.ceil(np.log2(max(steps, 1.0)))), _MOST_STEPS)

    def gain(self, theta: Array, k: Array) -> Array:
        """Return g(Delta), shape (trials, time)."""
        if not self.layout.erf:
            return np.ones(k.shape[1:])
        bb = self.layout.unpack(theta)[2]
        delta = np.einsum("cpt,cd,dpt->pt", k, bb, k)
        return 1 / np.sqrt(1 + np.pi / 2 * np.maximum(delta, 0.0))


def _largest(x: Array) -> float:
    """Return the largest absolute value, without a copy; 0 of nothing."""
    return float(max(x.max(initial=0.0), -x.min(initial=0.0)))


def _spread_nodes(means: Array) -> None:
    """Turn means over halves of a bin into two nodes of it, in place.

    Halves of a line differ by half of its rise d, the nodes of Gauss by d / sqrt(3).
    """
    early, late = means[..., ::2], means[..., 1::2]
    middle, apart = 0.5 * (early + late), (late - early) / np.sqrt(3.0)
    means[..., ::2], means[..., 1::2] = middle - apart, middle + apart


def _shifted(inputs: Array, bins: int) -> Array:
    """Delay inputs by whole bins; nothing came before the first bin."""
    if bins == 0:
        return inputs
    out = np.zeros_like(inputs)
    out[:, bins:] = inputs[:, : max(inputs.shape[1] - bins, 0)]
    return out


@compiled(nogil=True)
def roll_trials(x, slope, vm, vu, bb, a, erf, fit_tau, fit_latency, k_out, dk_out):  # type: ignore[no-untyped-def]
    """Forward Euler of k and its derivatives, one trial at a time."""
    n_trials, n_bins, n_in = x.shape
    rank = vm.shape[0]
    n_base = n_in + rank
    size = dk_out.shape[1]
    at_vu = rank * n_in
    at_bb = at_vu + rank * rank
    at_time = at_bb + (n_base * (n_base + 1) // 2 if erf else 0)
    at_latency = at_time + (1 if fit_tau else 0)
    k = np.zeros(n_base)
    dk = np.zeros((n_base, size))
    new_k = np.zeros(n_base)
    new_dk = np.zeros((n_base, size))
    drive = np.zeros(rank)
    bbk = np.zeros(n_base)
    d_delta = np.zeros(size)
    for p in range(n_trials):
        k[:] = 0.0
        dk[:, :] = 0.0
        for t in range(n_bins):
            for r in range(rank):
                total = 0.0
                for c in range(n_in):
                    total += vm[r, c] * k[c]
                for c in range(rank):
                    total += vu[r, c] * k[n_in + c]
                drive[r] = total
            g = 1.0
            slope_g = 0.0
            if erf:
                delta = 0.0
                for c in range(n_base):
                    total = 0.0
                    for d in range(n_base):
                        total += bb[c, d] * k[d]
                    bbk[c] = total
                    delta += total * k[c]
                if delta > 0.0:
                    g = 1.0 / np.sqrt(1.0 + 0.5 * np.pi * delta)
                    slope_g = -0.25 * np.pi * g * g * g
                for j in range(size):
                    total = 0.0
                    for c in range(n_base):
                        total += bbk[c] * dk[c, j]
                    d_delta[j] = 2.0 * total
                j = at_bb
                for c in range(n_base if size else 0):
                    for d in range(c, n_base):
                        d_delta[j] += k[c] * k[d] * (1.0 if c == d else 2.0)
                        j += 1
            for c in range(n_in):
                new_k[c] = (1.0 - a) * k[c] + a * x[p, t, c]
                for j in range(at_time, size):
                    new_dk[c, j] = (1.0 - a) * dk[c, j]
                if size == 0:
                    continue
                if fit_tau:
                    new_dk[c, at_time] -= a * (x[p, t, c] - k[c])
                if fit_latency:
                    new_dk[c, at_latency] += a * slope[p, t, c]
            for r in range(rank):
                new_k[n_in + r] = (1.0 - a) * k[n_in + r] + a * g * drive[r]
                for j in range(size):
                    total = 0.0
                    if j >= at_time:
                        for c in range(n_in):
                            total += vm[r, c] * dk[c, j]
                    for c in range(rank):
                        total += vu[r, c] * dk[n_in + c, j]
                    new_dk[n_in + r, j] = (1.0 - a) * dk[n_in + r, j] + a * (
                        g * total + slope_g * d_delta[j] * drive[r]
                    )
                if size == 0:
                    continue
                for c in range(n_in):
                    new_dk[n_in + r, r * n_in + c] += a * g * k[c]
                for c in range(rank):
                    new_dk[n_in + r, at_vu + r * rank + c] += a * g * k[n_in + c]
                if fit_tau:
                    new_dk[n_in + r, at_time] -= a * (g * drive[r] - k[n_in + r])
            for c in range(n_base):
                k[c] = new_k[c]
                k_out[c, p, t] = k[c]
                for j in range(size):
                    dk[c, j] = new_dk[c, j]
                    dk_out[c, j, p, t] = dk[c, j]
