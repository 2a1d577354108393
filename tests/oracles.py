"""Independent, slow implementations that the compiled ones are checked against.

Plain loops over the equations, written for arrays of any type so that complex numbers pass through.
"""

from __future__ import annotations

import numpy as np
from scipy import special

from predictlearn.theory.trials import Trials


def reduced_outputs(s, sizes, trials: Trials, nonlinearity: str, tau: float = 1.0) -> np.ndarray:
    """Outputs of the reduced dynamics, straight from the equations."""
    n_in, rank, n_out = sizes
    a = trials.dt / tau
    bottom = n_in + rank
    out = np.zeros((trials.n_trials, trials.n_steps, n_out), dtype=s.dtype)
    for p in range(trials.n_trials):
        k = np.zeros(bottom, dtype=s.dtype)
        for t in range(trials.n_steps):
            delta = k @ s[:bottom, :bottom] @ k
            g = 1.0 if nonlinearity == "linear" else 1 / np.sqrt(1 + np.pi / 2 * delta)
            drive = g * (s[bottom : bottom + rank, :bottom] @ k)
            k = np.concatenate(
                [
                    (1 - a) * k[:n_in] + a * trials.inputs[p, t],
                    (1 - a) * k[n_in:] + a * drive,
                ]
            )
            delta = k @ s[:bottom, :bottom] @ k
            g = 1.0 if nonlinearity == "linear" else 1 / np.sqrt(1 + np.pi / 2 * delta)
            out[p, t] = g * (s[bottom + rank :, :bottom] @ k)
    return out


def network_outputs(theta, sizes, trials: Trials, nonlinearity: str, tau: float = 1.0):
    """Outputs of the dense N-neuron network; builds the (N, N) matrix on purpose."""
    n_in, rank, n_out = sizes
    n = theta.shape[0]
    m, u = theta[:, :n_in], theta[:, n_in : n_in + rank]
    v, z = theta[:, n_in + rank : n_in + 2 * rank], theta[:, n_in + 2 * rank :]
    connectivity = u @ v.T / n
    a = trials.dt / tau
    out = np.zeros((trials.n_trials, trials.n_steps, n_out), dtype=theta.dtype)
    for p in range(trials.n_trials):
        h = np.zeros(n, dtype=theta.dtype)
        for t in range(trials.n_steps):
            rate = h if nonlinearity == "linear" else special.erf(np.sqrt(np.pi) / 2 * h)
            h = (1 - a) * h + a * (connectivity @ rate + m @ trials.inputs[p, t])
            rate = h if nonlinearity == "linear" else special.erf(np.sqrt(np.pi) / 2 * h)
            out[p, t] = z.T @ rate / n
    return out


def judged_loss(outputs: np.ndarray, trials: Trials) -> complex:
    """Weighted squared error of what the observer reads."""
    total = 0.0
    for p in range(trials.n_trials):
        c = np.zeros(trials.n_out, dtype=outputs.dtype)
        for t in range(trials.n_steps):
            c = trials.smoothing @ c + outputs[p, t] + trials.offset
            total = total + np.sum(trials.weights[p, t] * (c - trials.targets[p, t]) ** 2)
    return total


def complex_step_derivative(s: np.ndarray, sizes, trials: Trials, nonlinearity: str) -> np.ndarray:
    """A by complex step: exact to rounding, since no difference is taken."""
    dim = s.shape[0]
    a = np.zeros((dim, dim))
    h = 1e-30
    for i in range(dim):
        for j in range(i + 1):
            moved = s.astype(complex)
            moved[i, j] += 1j * h
            if i != j:
                moved[j, i] += 1j * h
            slope = (
                judged_loss(reduced_outputs(moved, sizes, trials, nonlinearity), trials).imag / h
            )
            a[i, j] = a[j, i] = slope * (2.0 if i == j else 1.0)
    return a


def random_trials(seed: int, n_in=1, n_out=1, n_trials=3, n_steps=12, observer=False) -> Trials:
    """Small random trials, with unequal weights and optionally an observer."""
    rng = np.random.default_rng(seed)
    return Trials(
        rng.normal(size=(n_trials, n_steps, n_in)),
        rng.normal(size=(n_trials, n_steps, n_out)),
        rng.uniform(0.1, 1.0, size=(n_trials, n_steps, n_out)),
        0.2,
        offset=rng.normal(size=n_out) if observer else None,
        smoothing=0.4 * rng.normal(size=(n_out, n_out)) if observer else None,
    )
