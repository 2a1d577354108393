"""Simulated recordings of networks whose overlaps are known."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.signal import lfilter

from predictlearn.checks import as_float_array, positive, positive_int
from predictlearn.errors import InputError, choice
from predictlearn.network.activity import run_network
from predictlearn.recordings.recording import Recording
from predictlearn.theory.activity import simulate
from predictlearn.theory.nonlinearity import phi
from predictlearn.theory.overlaps import Overlaps
from predictlearn.theory.trials import Trials

__all__ = ["random_inputs", "simulate_recording"]


def random_inputs(
    n_trials: int, n_bins: int, n_in: int, dt: float, seed: int, hold: float = 0.5
) -> npt.NDArray[np.float64]:
    """Draw inputs that hold a normal value for a while, then the next.

    Parameters
    ----------
    n_trials, n_bins, n_in : int
        Sizes.
    dt : float
        Bin, seconds.
    seed : int
        Seed.
    hold : float
        How long a value holds, seconds.

    Returns
    -------
    ndarray, shape (trials, time, n_in)
        Inputs of unit variance.

    Examples
    --------
    >>> random_inputs(3, 20, 1, dt=0.1, seed=0).shape
    (3, 20, 1)
    """
    bins = max(1, round(hold / dt))
    steps = np.random.default_rng(seed).normal(size=(n_trials, -(-n_bins // bins), n_in))
    return np.repeat(steps, bins, axis=1)[:, :n_bins]


def simulate_recording(
    overlaps: Overlaps,
    inputs: npt.ArrayLike,
    *,
    dt: float,
    tau: float = 1.0,
    nonlinearity: str = "linear",
    observed: str = "rate",
    n_neurons: int = 200,
    r2: float = 0.7,
    network_size: int | None = None,
    noise: str = "gaussian",
    link: str = "exp",
    rate: float = 1.0,
    gain: float = 1.0,
    dispersion: float = 0.3,
    decay: float | None = None,
    seed: int = 0,
) -> Recording:
    """Simulate a noisy recording from a network of known overlaps.

    Parameters
    ----------
    overlaps : Overlaps
        The network.
    inputs : array_like, shape (trials, time, n_in)
        Inputs.
    dt : float
        Bin, seconds.
    tau : float
        Time constant, seconds.
    nonlinearity : {"linear", "erf"}
        Which phi.
    observed : {"rate", "current"}
        Whether phi(h) or h is recorded.
    n_neurons : int
        Recorded neurons.
    r2 : float
        Share of a bin's variance, over all neurons, that is signal: sets the noise, which is
        Gaussian, independent, and of the same variance in all neurons. 1 for none.
    network_size : int, optional
        Neurons of the network, of which ``n_neurons`` are recorded. Default: infinitely many, so
        that loadings are independent Gaussian draws and the reduced equations exact.
    noise : {"gaussian", "poisson", "negative-binomial"}
        Gaussian noise, or spike counts of mean link(offset + gain x), x what is observed.
    link : {"exp", "softplus"}
        For counts.
    rate : float
        Spikes per bin at x = 0, geometric mean over neurons, which differ by a factor of e^(1/2).
    gain : float
        Of all neurons, for counts and fluorescence.
    dispersion : float
        alpha of the negative binomial, Var = lam + alpha lam^2.
    decay : float, optional
        Decay time of fluorescence, seconds: c(t) = exp(-dt/decay) c(t-1) + x(t) before the noise.
    seed : int
        Seed.

    Returns
    -------
    Recording
        Activity, inputs and noise-free outputs; metadata hold the true overlaps (``truth``) and,
        for counts, the ``offset`` of each neuron.

    Raises
    ------
    InputError
        Settings that cannot be used.

    Examples
    --------
    >>> import numpy as np
    >>> o = Overlaps(np.eye(4)).replace(vm=0.6, vu=0.4)
    >>> r = simulate_recording(o, random_inputs(5, 20, 1, 0.1, seed=0), dt=0.1, n_neurons=30)
    >>> r.activity.shape, r.metadata["simulated"]
    ((5, 20, 30), True)
    """
    x = as_float_array("inputs", inputs, ndim=3)
    choice("observed", observed, ("rate", "current"))
    choice("noise", noise, ("gaussian", "poisson", "negative-binomial"))
    choice("link", link, ("exp", "softplus"))
    positive("rate", rate)
    positive("gain", gain)
    if noise == "negative-binomial":
        positive("dispersion", dispersion)
    if decay is not None:
        positive("decay", decay)
        if noise != "gaussian":
            raise InputError(f"decay needs noise='gaussian'; got noise={noise!r}")
    positive_int("n_neurons", n_neurons, minimum=2)
    if not 0 < positive("r2", r2) <= 1:
        raise InputError(f"r2 must lie in (0, 1]; got {r2}")
    rng = np.random.default_rng(seed)
    blank = np.zeros((*x.shape[:2], overlaps.n_out))
    trials = Trials(inputs=x, targets=blank, weights=blank, dt=dt)
    if network_size is None:
        activity = simulate(overlaps, trials, nonlinearity, tau)
        values, vectors = np.linalg.eigh(overlaps.matrix)
        root = vectors * np.sqrt(np.maximum(values, 0.0))
        base = overlaps.n_in + overlaps.rank
        loadings = rng.normal(size=(n_neurons, overlaps.dim)) @ root[:base].T
        h = np.concatenate([activity.k_m, activity.k_u], axis=2) @ loadings.T
        signal = h if observed == "current" else phi(h, nonlinearity)
        outputs = activity.outputs
    else:
        if positive_int("network_size", network_size) < n_neurons:
            raise InputError(
                f"network_size must be at least n_neurons ({n_neurons}); got {network_size}"
            )
        network = overlaps.loadings(network_size, seed=int(rng.integers(2**31)))
        run = run_network(network, trials, nonlinearity, tau)
        kept = rng.permutation(network_size)[:n_neurons]
        signal = (run.h if observed == "current" else run.rates)[:, :, kept]
        outputs = run.outputs
    extra: dict[str, Any] = {}
    signal = gain * signal
    if noise == "gaussian":
        if decay is not None:
            signal = lfilter([1.0], [1.0, -np.exp(-dt / decay)], signal, axis=1)
        variance = float(np.mean(np.var(signal, axis=(0, 1))))
        measured = signal + np.sqrt(variance * (1 - r2) / r2) * rng.normal(size=signal.shape)
    else:
        rest = rate * np.exp(0.5 * rng.normal(size=n_neurons))
        offset = np.log(rest) if link == "exp" else rest + np.log(-np.expm1(-rest))
        eta = offset + signal
        mean = np.exp(eta) if link == "exp" else np.logaddexp(0.0, eta)
        if noise == "negative-binomial":
            mean = mean * rng.gamma(1 / dispersion, dispersion, size=mean.shape)
        measured = rng.poisson(mean).astype(float)
        extra = {"offset": offset.tolist()}
    return Recording(
        measured,
        x,
        dt,
        outputs,
        observed=observed,
        metadata={
            "name": "simulated",
            "simulated": True,
            "seed": seed,
            **extra,
            "truth": {name: float(value) for name, value in overlaps.to_series().items()},
        },
    )
