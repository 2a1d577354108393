"""The mean field: an infinite network that learns, followed by a few well-placed neurons."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import pandas as pd

from predictlearn.checks import as_float_array, positive_int
from predictlearn.errors import InputError
from predictlearn.network.activity import network_sizes
from predictlearn.network.kernels import network_loss_and_gradient
from predictlearn.network.synapses import update_of
from predictlearn.theory.activity import NO_NOISE
from predictlearn.theory.learning.epochs import describe, diverged, kept_epochs, loss_limit
from predictlearn.theory.learning.rules import GradientDescent
from predictlearn.theory.learning.schedules import drop_of, multipliers
from predictlearn.theory.learning.trajectory import Trajectory
from predictlearn.theory.learning.trial_stream import TrialStream
from predictlearn.theory.names import PATHWAYS, pathway_slices
from predictlearn.theory.nonlinearity import Nonlinearity, network_phi
from predictlearn.theory.overlaps import Loadings, Overlaps
from predictlearn.theory.sizes import Sizes
from predictlearn.theory.trials import Task

__all__ = [
    "MeanFieldTrajectory",
    "Particles",
    "fitting_points",
    "gaussian_particles",
    "learn_mean_field",
]

# Points an axis of m and u, where not given, and how many particles they may lead to.
_POINTS, _ENOUGH = 6, 1024
# v and z enter the field linearly and need fewer; three give the fourth moment.
_FEWEST = 3
_MOST = 200_000


@dataclass(frozen=True)
class Particles:
    """Neurons that stand for infinitely many: a weighted sample of loadings and of their mirror.

    With an odd phi a neuron of loadings theta and one of -theta add the same to the field, so every
    particle stands for both, and odd moments vanish.

    Parameters
    ----------
    loadings : Loadings
        m, u, v, z of K particles.
    weights : array_like, (K,)
        The share of neurons that each stands for, positive. They may add up to less than one: what
        is left stands for neurons without loadings.

    Raises
    ------
    InputError
        If there is not one positive weight for each particle, or they add up to more than one.

    Examples
    --------
    >>> import predictlearn as pl
    >>> particles = gaussian_particles(pl.Overlaps(np.eye(4)), points=4)
    >>> particles.loadings.n_neurons, round(particles.overlaps()["uu"], 12)
    (72, 1.0)
    """

    loadings: Loadings
    weights: np.ndarray

    def __post_init__(self) -> None:
        if not isinstance(self.loadings, Loadings):
            raise InputError(f"loadings must be a Loadings; got {type(self.loadings).__name__}.")
        n = self.loadings.n_neurons
        weights = as_float_array("weights", self.weights, shape=(n,), axes="(particles,)").copy()
        if np.any(weights <= 0) or weights.sum() > 1 + 1e-9:
            raise InputError(
                "weights must be positive and add up to at most 1; the smallest is "
                f"{weights.min():g} and the sum {weights.sum():g}."
            )
        weights.flags.writeable = False
        object.__setattr__(self, "weights", weights)

    @property
    def sizes(self) -> tuple[int, int, int]:
        """(n_in, rank, n_out)."""
        return (self.loadings.m.shape[1], self.loadings.u.shape[1], self.loadings.z.shape[1])

    def overlaps(self) -> Overlaps:
        """Return the weighted overlaps."""
        theta = self.loadings.stacked
        return Overlaps((theta.T * self.weights) @ theta, *self.sizes)


@dataclass(frozen=True)
class MeanFieldTrajectory(Trajectory):
    """A trajectory of the mean field, with how non-Gaussian the loadings became.

    Parameters
    ----------
    kurtosis : pandas.DataFrame
        Excess kurtosis of each loading, a column each (``m``, ``u``, ``v``, ``z``; numbered where a
        pathway has several), one row an epoch kept.
    particles : Particles
        The particles at the end, for a phase that follows.
    """

    kurtosis: pd.DataFrame
    particles: Particles


def _counts(sizes: tuple[int, int, int], points: int) -> tuple[int, ...]:
    """Return the points of every axis."""
    n_in, rank, n_out = sizes
    return (points,) * (n_in + rank) + (max(_FEWEST, -(-points // 2)),) * (rank + n_out)


def fitting_points(sizes: tuple[int, int, int]) -> int:
    """Return the default number of points an axis."""
    for points in range(_POINTS, _FEWEST, -1):
        if np.prod(_counts(sizes, points)) <= 2 * _ENOUGH:
            return points
    return _FEWEST


def gaussian_particles(overlaps: Overlaps, points: int | None = None) -> Particles:
    """Return particles that stand for Gaussian loadings of given overlaps.

    Parameters
    ----------
    overlaps : Overlaps
        Overlaps of the loadings, met exactly.
    points : int, optional
        Points an axis of m and u; v and z have half as many, and three at least. If not given the
        largest number up to 6 that needs no more than 1024 particles, and three at least.

    Returns
    -------
    Particles
        One of each pair theta, -theta of a product rule: 162 for rank one with one input and output
        and 6 points, 512 with 8.

    Raises
    ------
    InputError
        If points is below 3, or leads to more than 200,000 particles.

    Notes
    -----
    A product of Gauss-Hermite rules on the white variables x with Theta = x L', S = L L' and L
    lower triangular. The (m, u) part then depends on the first axes alone, along which the field is
    nonlinear; it is linear in v and z. Moments are exact up to degree 2 points - 1 in the first
    axes.

    Examples
    --------
    >>> import predictlearn as pl
    >>> particles = gaussian_particles(pl.Overlaps(np.eye(4)), points=6)
    >>> particles.loadings.n_neurons
    162
    >>> round(float(np.sum(particles.weights * particles.loadings.u[:, 0] ** 10)), 6)  # 9!!
    945.0
    """
    if not isinstance(overlaps, Overlaps):
        raise InputError(f"overlaps must be an Overlaps; got {type(overlaps).__name__}.")
    sizes = overlaps.sizes
    if points is None:
        points = fitting_points(sizes)
    points = positive_int("points", points, minimum=_FEWEST)
    counts = _counts(sizes, points)
    if np.prod(counts, dtype=float) > 2 * _MOST:
        raise InputError(
            f"points must lead to at most {_MOST:,} particles; {points} points an axis lead to "
            f"{np.prod(counts, dtype=float) / 2:,.0f}. Sobol points, as closure_error has them, "
            "suit networks of many directions."
        )
    rules = {n: np.polynomial.hermite_e.hermegauss(n) for n in set(counts)}
    nodes = np.array(list(itertools.product(*(rules[n][0] for n in counts))))
    shares = np.array(list(itertools.product(*(rules[n][1] for n in counts)))).prod(axis=1)
    # the product runs through the nodes in order, so that node i and node -i are mirror images; the
    # middle one of an odd number is the origin, which adds nothing to the field
    half = len(nodes) // 2
    white, weights = nodes[:half], 2 * shares[:half] / shares.sum()
    values, vectors = np.linalg.eigh(overlaps.matrix)
    root = (vectors * np.sqrt(np.clip(values, 0.0, None))) @ vectors.T
    theta = white @ np.linalg.qr(root, mode="r")
    where = pathway_slices(*sizes)
    return Particles(Loadings(*(theta[:, where[p]] for p in PATHWAYS)), weights)


def learn_mean_field(
    start: Overlaps | Particles,
    task: Task,
    rule: GradientDescent,
    epochs: int,
    nonlinearity: str | Nonlinearity = "erf",
    tau: float = 1.0,
    seed: int = 0,
    every: int = 1,
    points: int | None = None,
) -> MeanFieldTrajectory:
    """Integrate the learning of an infinite network, without a closure.

    Parameters
    ----------
    start : Overlaps or Particles
        The network before learning: Gaussian loadings of these overlaps, or particles, such as
        those that an earlier phase ended with.
    task : Task
        What is learned.
    rule : GradientDescent
        How; without noise on synapses.
    epochs : int
        Number of updates.
    nonlinearity : {"erf", "tanh", "linear"} or Nonlinearity
        Which phi.
    tau : float, default 1.0
        Time constant in seconds.
    seed : int, default 0
        Seed of trials and noise; with the seed of `learn` the same.
    every : int, default 1
        Keep the overlaps of every so many epochs, and the last.
    points : int, optional
        Points an axis, see `gaussian_particles`; only with overlaps as the start.

    Returns
    -------
    MeanFieldTrajectory
        Overlaps, loss and excess kurtosis along learning, and the final particles.

    Raises
    ------
    InputError
        If an argument is out of range, task and start do not fit, or the rule has noise on
        synapses.
    DivergenceError
        If the loss runs away or is not finite.

    Notes
    -----
    As N grows every neuron moves in the same fields k(t), q(t), down the gradient of
    ``V(theta) = sum over bins of (q_v v + q_z z) phi(k_m m + k_u u)``, and the fields are averages
    over the neurons. Here the average is a quadrature: neurons at the nodes of a Gaussian rule,
    each with its weight, move as those of a network would. What is left is the error of the
    rule, which falls fast with its points: compare two of them. Measured in
    studies/theory/closure.md.

    Examples
    --------
    >>> import predictlearn as pl
    >>> start = pl.Overlaps(np.eye(4)).replace(zm=0.1, zu=0.1, vm=0.1, vu=0.1)
    >>> task, rule = pl.Filter(duration=5.0, dt=0.1), pl.GradientDescent(5e-3)
    >>> fine, coarse = (pl.learn_mean_field(start, task, rule, 200, points=p) for p in (10, 8))
    >>> gaussian = pl.learn(start, task, rule, 200, "erf")
    >>> errors = [abs(x.array - fine.array).max() for x in (coarse, gaussian)]
    >>> bool(errors[0] < errors[1] / 5)
    True
    """
    if not isinstance(rule, GradientDescent):
        raise InputError(
            f"rule must be a GradientDescent for the mean field; got {type(rule).__name__}."
        )
    if rule.synaptic_noise > 0:
        raise InputError(
            "rule must have no synaptic_noise for the mean field, where one particle stands for "
            f"many neurons; got {rule.synaptic_noise:g}. Use train_network with many neurons."
        )
    if isinstance(start, Particles):
        if points is not None:
            raise InputError("points must not be given with particles, which are points already.")
        particles = start
    else:
        particles = gaussian_particles(start, points)
    stream = TrialStream(task, nonlinearity, tau, seed, rule.minibatch)
    phi = network_phi(nonlinearity)
    sizes = network_sizes(particles.loadings, task.n_in, task.n_out)
    n_epochs, every = positive_int("epochs", epochs), positive_int("every", every)
    theta = np.ascontiguousarray(particles.loadings.stacked.T)
    (dim, n), weights = theta.shape, particles.weights
    n_in, rank, _ = sizes
    drive = slice(0, n_in + rank)
    # a network of equal neurons whose v and z are scaled has the same field
    scales = np.ones_like(theta)
    scales[drive.stop :] = n * weights
    update = update_of(rule, sizes, stream.synapse_rng)
    rates_now = rule.rate * multipliers(rule.schedule, n_epochs)
    factor, below = drop_of(rule.schedule)
    gradient, limit = np.empty_like(theta), np.inf
    rows = kept_epochs(n_epochs, every)
    kept, kurtosis = np.empty((len(rows), dim, dim)), np.empty((len(rows), dim))
    losses = np.empty(n_epochs + 1)
    scratch = np.empty((2, 0, n))
    for epoch in range(n_epochs + 1):
        ready = stream.next()
        last = epoch == n_epochs
        if scratch.shape[1] != ready.k_m.shape[0]:
            scratch = np.empty((2, ready.k_m.shape[0], n))
        if last or epoch % every == 0:
            row = -1 if last else epoch // every
            with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
                kept[row] = (theta * weights) @ theta.T
                kurtosis[row] = theta**4 @ weights / kept[row].diagonal() ** 2 - 3
        noise = NO_NOISE
        if rule.target_noise > 0 and not last:
            noise = rule.target_noise * stream.target_rng.standard_normal(ready.noise_shape)
        losses[epoch] = network_loss_and_gradient(
            theta * scales,
            tuple(sizes),
            phi,
            ready.shown(noise),
            scratch,
            gradient,
        )
        if epoch == 0:
            limit = loss_limit(losses[0], ready)
        if not losses[epoch] <= limit:
            raise diverged(epoch, rule, losses)
        if last:
            break
        gradient[drive] /= n * weights
        # numbers that overflow are caught above, as a loss beyond the limit
        with np.errstate(over="ignore", invalid="ignore"):
            update.step(theta, gradient, rates_now[epoch])
        if losses[epoch] < below:
            rates_now[epoch + 1 :] /= factor
            below = -np.inf  # once
    where = pathway_slices(*sizes)
    return MeanFieldTrajectory(
        kept,
        rows,
        losses,
        np.arange(n_epochs + 1),
        sizes,
        seed,
        {**describe(task, rule, nonlinearity, tau), "closure": "mean field", "n_particles": n},
        pd.DataFrame(kurtosis, pd.Index(rows, name="epoch"), list(Sizes(*sizes).columns)),
        Particles(Loadings(*(theta[where[p]].T for p in PATHWAYS)), weights),
    )
