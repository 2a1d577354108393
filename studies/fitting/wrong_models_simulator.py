"""Recordings of networks in continuous time, written apart from predictlearn: numpy and erf.

The network has one input, rank one and one output unless said otherwise::

    tau dh_i/dt = -h_i + u_i mean_j(v_j phi(h_j)) + m_i x(t),    y = mean_j(z_j phi(h_j))

In an infinite network h_i = m_i k_m + u_i k_u, and the means over neurons are those of a mixture of
Gaussians (``Population``), in closed form; a finite network is integrated neuron by neuron. Steps
are Heun's, at least 20 a bin (finite networks: 10) and 20 a tau. What is recorded is the mean over
the bin of what the fine steps gave, or counts with the mean rate of the bin.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import erf, ndtr

# m, u, v, z; uu = 1 and vm > 0 are the canonical gauge, so that these entries are the truth.
OVERLAPS = np.array(
    [
        [1.0, 0.2, 0.6, 0.3],
        [0.2, 1.0, 0.6, 0.4],
        [0.6, 0.6, 2.5, 0.0],
        [0.3, 0.4, 0.0, 1.0],
    ]
)
M, U, V, Z = range(4)
_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(60)
_WEIGHTS = _WEIGHTS / _WEIGHTS.sum()


@dataclass(frozen=True)
class World:
    """What is simulated.

    Parameters
    ----------
    tau, bin : float
        Time constant and bin, seconds.
    trials, bins, neurons : int
        Size of the recording.
    phi : {"linear", "erf", "tanh", "relu"}
        Nonlinearity.
    loadings : {"gaussian", "sparse", "clustered", "two populations"}
        Their law over neurons; second moments are those of OVERLAPS in each.
    noise : {"gaussian", "poisson"}
        Gaussian noise on rates phi(h), or counts.
    r2 : float
        Share of variance that is signal, all neurons together, for Gaussian noise.
    rate : float
        Spikes per second at rest, geometric mean over neurons (sd of the log 0.5).
    linear_counts : float
        Spikes per second that phi = 1 adds; 0: counts have mean exp(offset + phi(h)) per bin.
    dispersion : float
        Counts have variance lam + dispersion lam^2.
    amplitude : float
        sd of the inputs.
    shift : int
        Bins by which the inputs that are handed over come late (negative: early).
    shared_noise : float
        Share of the noise variance that is one slow signal, weighted differently by each neuron.
    drift : float
        Gains fall from 1 + drift / 2 to 1 - drift / 2 over the trials (on average over neurons).
    duplicates : int
        Last neurons that are copies of the first.
    network : int
        Neurons of a finite network, of which ``neurons`` are recorded; 0: infinitely many.
    random : float
        g: sd of random connections times the square root of the network's size.
    baseline : float
        sd over neurons of a constant added to the activity.
    second_input : float
        sd of a second input that is not handed over.
    latent_noise : float
        sd that noise of the recurrent state alone would give it (in units of k_u).
    start : float
        sd of the recurrent state at the start of a trial.
    decay : float
        Decay time of fluorescence, seconds; 0: none.
    """

    tau: float = 0.1
    bin: float = 0.02
    trials: int = 60
    bins: int = 50
    neurons: int = 80
    phi: str = "linear"
    loadings: str = "gaussian"
    noise: str = "gaussian"
    r2: float = 0.5
    rate: float = 10.0
    linear_counts: float = 0.0
    dispersion: float = 0.0
    amplitude: float = 1.0
    shift: int = 0
    shared_noise: float = 0.0
    drift: float = 0.0
    duplicates: int = 0
    network: int = 0
    random: float = 0.0
    baseline: float = 0.0
    second_input: float = 0.0
    latent_noise: float = 0.0
    start: float = 0.0
    decay: float = 0.0


@dataclass(frozen=True, eq=False)
class Population:
    """A mixture of Gaussians over neurons: weights (P,), means (P, D), covariances (P, D, D)."""

    weights: np.ndarray
    means: np.ndarray
    covariances: np.ndarray

    def moments(self) -> np.ndarray:
        """Second moments over all neurons, (D, D): the overlaps."""
        return np.einsum("p,pij->ij", self.weights, self.covariances) + np.einsum(
            "p,pi,pj->ij", self.weights, self.means, self.means
        )

    def draw(self, neurons: int, rng: np.random.Generator) -> np.ndarray:
        """Draw the loadings of random neurons, (neurons, D)."""
        which = rng.choice(len(self.weights), size=neurons, p=self.weights)
        roots = np.stack([root(c) for c in self.covariances])
        normal = rng.normal(size=(neurons, self.means.shape[1]))
        return self.means[which] + np.einsum("nij,nj->ni", roots[which], normal)

    def mean_of(self, row: int, base: list[int], k: np.ndarray, phi: str) -> np.ndarray:
        """Mean over neurons of loading ``row`` times phi(h), h = loadings ``base`` times k.

        k is (..., len(base)). By Stein's lemma a Gaussian gives mean times E[phi] plus covariance
        with h times E[phi'].
        """
        level = k @ self.means[:, base].T
        spread = self.covariances[:, base][:, :, base]
        variance = np.einsum("...i,pij,...j->...p", k, spread, k)
        value, slope = expected(phi, level, np.maximum(variance, 0.0))
        shared = k @ self.covariances[:, row, base].T
        return (value * self.means[:, row] + slope * shared) @ self.weights


def expected(phi: str, level: np.ndarray, variance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """E[phi] and E[phi'] of a Gaussian of this mean and variance."""
    if phi == "linear":
        return level, np.ones_like(level)
    if phi == "erf":
        wide = np.sqrt(1 + np.pi / 2 * variance)
        at = np.sqrt(np.pi) / 2 * level / wide
        return erf(at), np.exp(-(at**2)) / wide
    sd = np.sqrt(variance)
    if phi == "relu":
        ratio = level / np.maximum(sd, 1e-12)
        slope = ndtr(ratio)
        return level * slope + sd * np.exp(-(ratio**2) / 2) / np.sqrt(2 * np.pi), slope
    value = np.tanh(level[..., None] + sd[..., None] * _NODES)
    return value @ _WEIGHTS, (1 - value**2) @ _WEIGHTS


def apply(phi: str, h: np.ndarray) -> np.ndarray:
    """phi(h)."""
    if phi == "erf":
        return erf(np.sqrt(np.pi) / 2 * h)
    if phi == "relu":
        return np.maximum(h, 0.0)
    return np.tanh(h) if phi == "tanh" else h


def root(matrix: np.ndarray) -> np.ndarray:
    """Symmetric root of a positive semidefinite matrix."""
    values, vectors = np.linalg.eigh(matrix)
    return vectors * np.sqrt(np.maximum(values, 0.0)) @ vectors.T


def population(loadings: str, overlaps: np.ndarray = OVERLAPS) -> Population:
    """Return the law of the loadings; its second moments are the overlaps."""
    size = len(overlaps)
    if loadings == "gaussian":
        return Population(np.ones(1), np.zeros((1, size)), overlaps[None])
    if loadings == "sparse":  # a fifth of the neurons take part
        return Population(
            np.array([0.8, 0.2]), np.zeros((2, size)), np.stack([0 * overlaps, overlaps / 0.2])
        )
    if loadings == "clustered":  # 2 D clusters hold 0.7 of every second moment
        axes = np.sqrt(0.7 * size) * root(overlaps)
        means = np.concatenate([axes, -axes])
        return Population(
            np.full(2 * size, 0.5 / size), means, np.repeat(0.3 * overlaps[None], 2 * size, axis=0)
        )
    # two populations: one has nearly all of vm, the other nearly all of vu
    one, two = overlaps.copy(), overlaps.copy()
    for part, sign in ((one, 1), (two, -1)):
        part[V, M] = part[M, V] = overlaps[V, M] * (1 + 0.8 * sign)
        part[V, U] = part[U, V] = overlaps[V, U] * (1 - 0.8 * sign)
    return Population(np.full(2, 0.5), np.zeros((2, size)), np.stack([one, two]))


@dataclass(frozen=True, eq=False)
class Recording:
    """Activity (trials, bins, neurons), inputs and outputs (trials, bins, 1), true overlaps."""

    activity: np.ndarray
    inputs: np.ndarray
    outputs: np.ndarray
    truth: dict[str, float]


def held(world: World, kinds: int, rng: np.random.Generator) -> np.ndarray:
    """Draw inputs (trials, bins, 1) that hold a normal value for two tau, then the next.

    ``kinds`` is the number of different courses, of which every trial has one.
    """
    hold = max(1, round(2 * world.tau / world.bin))
    steps = rng.normal(size=(kinds, -(-world.bins // hold), 1))
    courses = np.repeat(steps, hold, axis=1)[:, : world.bins]
    return courses[rng.permutation(np.arange(world.trials) % kinds)]


def steps_a_bin(world: World, fewest: int = 20) -> int:
    """Return the number of fine steps a bin, at least 20 a tau."""
    return max(fewest, int(np.ceil(20 * world.bin / world.tau)))


def integrate(change, state, inputs, bin_width, steps, kick=None):
    """Integrate d state / dt = change(state, input) by Heun's steps, inputs constant in a bin.

    Parameters
    ----------
    change : callable
        Of the state (trials, n) and the input of the bin (trials, n_in).
    state : ndarray, shape (trials, n)
        At the start.
    inputs : ndarray, shape (trials, bins, n_in)
        Inputs.
    bin_width : float
        Seconds.
    steps : int
        Steps a bin.
    kick : callable, optional
        Returns what noise adds to the state in a step.

    Yields
    ------
    ndarray, shape (steps, trials, n)
        By bin, the state in the middle of every step.
    """
    h = bin_width / steps
    for t in range(inputs.shape[1]):
        x = inputs[:, t]
        middle = np.empty((steps, *state.shape), dtype=state.dtype)
        for j in range(steps):
            first = change(state, x)
            new = state + (h / 2) * (first + change(state + h * first, x))
            if kick is not None:
                new = new + kick(h)
            middle[j] = (state + new) / 2
            state = new
        yield middle


def infinite(world: World, inputs: np.ndarray, law: Population, rng: np.random.Generator):
    """Yield by bin the middles of k (steps, trials, n_base), and the outputs (steps, trials)."""
    n_in = inputs.shape[2]
    base = [*[M, 4][:n_in], U]
    vu = law.moments()[V, U]

    def change(k, x):
        drive = law.mean_of(V, base, k, world.phi)
        return (np.concatenate([x, drive[:, None]], axis=1) - k) / world.tau

    def kick(h):
        size = world.latent_noise * np.sqrt(2 * (1 - vu) / world.tau * h)
        noise = np.zeros((world.trials, n_in + 1))
        noise[:, -1] = size * rng.normal(size=world.trials)
        return noise

    state = np.zeros((world.trials, n_in + 1))
    state[:, -1] = world.start * rng.normal(size=world.trials)
    noisy = kick if world.latent_noise else None
    for k in integrate(change, state, inputs, world.bin, steps_a_bin(world), noisy):
        yield k, law.mean_of(Z, base, k, world.phi)


def finite(world: World, inputs: np.ndarray, loadings: np.ndarray, rng: np.random.Generator):
    """Yield by bin the middles of h (steps, trials, neurons), and the outputs (steps, trials)."""
    size, steps = len(loadings), steps_a_bin(world, 10)
    m, u, v, z = loadings.T.astype(np.float32)
    connections = (world.random / np.sqrt(size) * rng.normal(size=(size, size))).astype(np.float32)

    def change(h, x):
        rates = apply(world.phi, h)
        drive = (rates @ v / size)[:, None] * u + x.astype(np.float32) * m
        if world.random:
            drive += rates @ connections.T
        return (drive - h) / np.float32(world.tau)

    state = np.zeros((world.trials, size), dtype=np.float32)
    if world.random:  # trials begin where the connections have led, without input, in three tau
        state += rng.normal(size=state.shape).astype(np.float32)
        rest = np.zeros((world.trials, round(3 * world.tau / world.bin), 1))
        for h in integrate(change, state, rest, world.bin, steps):
            state = h[-1]
    for h in integrate(change, state, inputs, world.bin, steps):
        yield h, apply(world.phi, h) @ z / size


def exact_loadings(neurons: int, overlaps: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Gaussian loadings (neurons, D) whose overlaps over these neurons are exactly so."""
    normal = rng.normal(size=(neurons, len(overlaps)))
    return normal @ np.linalg.inv(root(normal.T @ normal / neurons)) @ root(overlaps)


def simulate(world: World, seed: object, kinds: int | None = None) -> Recording:
    """Simulate one recording.

    Parameters
    ----------
    world : World
        What is simulated.
    seed : int or sequence of int
        Of everything random.
    kinds : int, optional
        Number of different courses of the inputs; default: every trial has its own.

    Returns
    -------
    Recording
        What a laboratory would have, and the true overlaps by name.
    """
    rng = np.random.default_rng(seed)
    given = world.amplitude * held(world, world.trials if kinds is None else kinds, rng)
    inputs, overlaps = given, OVERLAPS
    if world.second_input:
        hidden = world.second_input * held(world, world.trials, rng)
        inputs = np.concatenate([given, hidden], axis=2)
        overlaps = np.pad(OVERLAPS, ((0, 1), (0, 1)))  # its m: to v 0.4, to z 0.3
        overlaps[4] = overlaps[:, 4] = [0.0, 0.0, 0.4, 0.3, 1.0]
    law = population(world.loadings, overlaps)
    base = [*[M, 4][: inputs.shape[2]], U]
    if world.network:
        loadings = exact_loadings(world.network, overlaps, rng)
        recorded = rng.permutation(world.network)[: world.neurons]
        bins = ((h[:, :, recorded], y) for h, y in finite(world, inputs, loadings, rng))
    else:
        mixed = law.draw(world.neurons, rng)[:, base].T
        bins = ((k @ mixed, y) for k, y in infinite(world, inputs, law, rng))
    rest = world.rate * world.bin * np.exp(0.5 * rng.normal(size=world.neurons))
    signal, outputs = [], []
    for h, y in bins:
        fine = apply(world.phi, h)
        if world.noise == "poisson" and not world.linear_counts:
            fine = np.exp(np.log(rest) + fine)
        signal.append(fine.mean(axis=0))
        outputs.append(y.mean(axis=0))
    activity = observed(world, np.stack(signal, axis=1).astype(float), rest, rng)
    y = np.stack(outputs, axis=1)[:, :, None].astype(float)
    y = y + 0.3 * y.std() * rng.normal(size=y.shape)
    names = ("zm", "zu", "vm", "vu", "mu", "mm")
    truth = {name: float(OVERLAPS["muvz".index(name[0]), "muvz".index(name[1])]) for name in names}
    return Recording(activity, shifted(given, world.shift), y, truth)


def observed(world: World, signal: np.ndarray, rest: np.ndarray, rng: np.random.Generator):
    """Return what is recorded of the signal (trials, bins, neurons), the mean over each bin."""
    if world.decay:
        fade = np.exp(-world.bin / world.decay)
        trace, state = np.empty_like(signal), np.zeros_like(signal[:, 0])
        for t in range(signal.shape[1]):
            state = fade * state + signal[:, t]
            trace[:, t] = state
        signal = trace
    if world.drift:
        slope = world.drift * (1 + 0.5 * rng.normal(size=signal.shape[2]))
        course = np.linspace(0.5, -0.5, len(signal))
        signal = signal * (1 + course[:, None] * slope)[:, None]
    if world.noise == "poisson":
        if world.linear_counts:
            signal = np.maximum(world.bin * (world.rate + world.linear_counts * signal), 0.0)
        if world.dispersion:
            shape = 1 / world.dispersion
            signal = signal * rng.gamma(shape, world.dispersion, size=signal.shape)
        activity = rng.poisson(signal).astype(float)
    else:
        power = np.mean(np.var(signal, axis=(0, 1)))
        variance = np.exp(0.3 * rng.normal(size=signal.shape[2]))
        sd = np.sqrt(power * (1 - world.r2) / world.r2 * variance / variance.mean())
        noise = np.sqrt(1 - world.shared_noise) * rng.normal(size=signal.shape)
        if world.shared_noise:
            weights = np.sqrt(world.shared_noise) * rng.normal(size=signal.shape[2])
            noise += slow(signal.shape[:2], 3.0, rng)[:, :, None] * weights
        offset = world.baseline * np.sqrt(power) * rng.normal(size=signal.shape[2])
        activity = signal + offset + sd * noise
    if world.duplicates:
        activity[:, :, -world.duplicates :] = activity[:, :, : world.duplicates]
    return activity


def slow(shape: tuple[int, int], lasting: float, rng: np.random.Generator) -> np.ndarray:
    """Noise (trials, bins) of variance 1 whose correlation falls by 1/e in so many bins."""
    keep = np.exp(-1 / lasting)
    noise = rng.normal(size=shape)
    for t in range(1, shape[1]):
        noise[:, t] = keep * noise[:, t - 1] + np.sqrt(1 - keep**2) * noise[:, t]
    return noise


def shifted(inputs: np.ndarray, bins: int) -> np.ndarray:
    """Move inputs some bins later (negative: earlier); 0 where there was none."""
    moved = np.zeros_like(inputs)
    if bins >= 0:
        moved[:, bins:] = inputs[:, : inputs.shape[1] - bins]
    else:
        moved[:, :bins] = inputs[:, -bins:]
    return moved
