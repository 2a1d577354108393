"""The fourth-order closure: learning with the overlaps and the fourth cumulants of the loadings.

In a nonlinear network the gradient of a neuron's loadings is not linear in them. Expanded in
Hermite polynomials of the loadings, its linear part gives the congruence of the overlaps, which
keeps Gaussian loadings Gaussian; the next part that an odd phi allows is cubic. The cubic part
builds up fourth cumulants, and these change the gain. Here both are carried along, each to first
order.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from predictlearn.checks import as_float_array, positive_int
from predictlearn.errors import DivergenceError, InputError, choice
from predictlearn.theory.activity import NO_NOISE, Batch, check_fit
from predictlearn.theory.kernels.arguments import Cumulants
from predictlearn.theory.kernels.descent import settle
from predictlearn.theory.kernels.fourth_order import BLOCK, fourth_order_kernel, move_kernel
from predictlearn.theory.learning.epochs import describe, diverged, kept_epochs, loss_limit, step_of
from predictlearn.theory.learning.rules import GradientDescent
from predictlearn.theory.learning.trajectory import Trajectory
from predictlearn.theory.learning.trial_stream import TrialStream
from predictlearn.theory.overlaps import Overlaps
from predictlearn.theory.trials import Task

__all__ = ["FourthOrderTrajectory", "learn_fourth_order"]

# Epochs between two looks at whether the overlaps are still those of a network.
_LOOK = 256


@dataclass(frozen=True)
class FourthOrderTrajectory(Trajectory):
    """A trajectory of the fourth-order closure, with how non-Gaussian the loadings became.

    Parameters
    ----------
    kurtosis : pandas.DataFrame
        Excess kurtosis of each loading, a column each (``m``, ``u``, ``v``, ``z``; numbered where a
        pathway has several), one row an epoch kept. Zero for Gaussian loadings.
    cumulants : numpy.ndarray, (D, D, D, D)
        Fourth cumulants of the loadings at the end, for a phase that follows.
    """

    kurtosis: pd.DataFrame
    cumulants: np.ndarray


class _Indices:
    """Which entries of the cumulants meet which products of k; one for every shape of network."""

    def __init__(self, n_in: int, rank: int, n_out: int) -> None:
        b, dim = n_in + rank, n_in + 2 * rank + n_out
        two = list(itertools.combinations_with_replacement(range(b), 2))
        three = list(itertools.combinations_with_replacement(range(b), 3))
        self.pairs = np.array(two)
        # k_i k_j k_l as the product of the pair (i, j) and k_l
        self.triples = np.array([(two.index(t[:2]), t[2]) for t in three])
        self._two, self._three = tuple(self.pairs.T), tuple(np.array(three).T)
        self._orders_two, self._orders_three = _orders(two), _orders(three)
        self._u, self._rest = slice(n_in, b), slice(b, None)
        spread = itertools.product(range(dim), range(len(three)))
        where, source = [], []
        for row, n in spread:
            for index in set(itertools.permutations((row, *three[n]))):
                where.append(np.ravel_multi_index(index, (dim,) * 4))
                source.append(row * len(three) + n)
        self._where, self._source = np.array(where), np.array(source)

    def packed(self, cumulants: np.ndarray) -> Cumulants:
        """Return what `fourth_order_kernel` needs of the cumulants."""
        i, j, k = self._three
        cubic = np.ascontiguousarray(cumulants[:, i, j, k] * self._orders_three)
        i, j = self._two
        near = cumulants[self._u, self._rest][:, :, i, j] * self._orders_two
        quadratic = np.ascontiguousarray(near.reshape(-1, len(i)))
        return Cumulants(cubic, quadratic, self.pairs, self.triples)

    def spread(self, force: np.ndarray, full: np.ndarray) -> None:
        """Fill the symmetric tensor `full`, zero elsewhere, from (D, triples)."""
        full.reshape(-1)[self._where] = force.reshape(-1)[self._source]


def _orders(indices: Sequence[tuple[int, ...]]) -> np.ndarray:
    """Return in how many orders each set of indices can stand."""
    return np.array([len(set(itertools.permutations(i))) for i in indices], dtype=float)


def _checked_cumulants(cumulants: np.ndarray | None, dim: int) -> np.ndarray:
    """Return symmetric fourth cumulants, zero if not given."""
    if cumulants is None:
        return np.zeros((dim,) * 4)
    array = as_float_array("cumulants", cumulants, shape=(dim,) * 4).copy()
    turned = max(
        np.abs(array - np.moveaxis(array, 0, 3)).max(), np.abs(array - array.swapaxes(0, 1)).max()
    )
    if turned > 1e-9 * max(1.0, np.abs(array).max()):
        raise InputError(
            "cumulants must be symmetric in all four indices; exchanging two changes an entry by "
            f"{turned:.3g}."
        )
    return array


def learn_fourth_order(
    overlaps: Overlaps,
    task: Task,
    rule: GradientDescent,
    epochs: int,
    nonlinearity: str = "erf",
    tau: float = 1.0,
    seed: int = 0,
    every: int = 1,
    cumulants: np.ndarray | None = None,
) -> FourthOrderTrajectory:
    """Integrate learning with the fourth cumulants of the loadings, not their overlaps alone.

    Parameters
    ----------
    overlaps : Overlaps
        The network before learning.
    task : Task
        What is learned.
    rule : GradientDescent
        How; without momentum.
    epochs : int
        Number of updates.
    nonlinearity : {"erf", "linear"}
        Which phi; for linear networks the result is that of `learn`.
    tau : float, default 1.0
        Time constant in seconds.
    seed : int, default 0
        Seed of trials and noise; with the seed of `learn` the same.
    every : int, default 1
        Keep the overlaps of every so many epochs, and the last.
    cumulants : array_like, (D, D, D, D), optional
        Fourth cumulants of the loadings before learning; zero, Gaussian loadings, if not given.
        Those of an earlier phase are its ``cumulants``.

    Returns
    -------
    FourthOrderTrajectory
        Overlaps, loss and excess kurtosis along learning, and the final cumulants.

    Raises
    ------
    InputError
        If an argument is out of range, or the rule has momentum.
    DivergenceError
        If the loss runs away, or the loadings become so far from Gaussian that the overlaps leave
        those of a network.

    Notes
    -----
    Let p be the density of the loadings theta over neurons, S their overlaps and kappa their fourth
    cumulants. To first order in kappa, ``E_p f = E f + kappa_abcd E d_abcd f / 24``, E over
    Gaussians of overlaps S. A neuron moves down the gradient of
    ``V(theta) = sum over bins of (q_v v + q_z z) phi(k_m m + k_u u)``, the same V for all. With
    ``A = E_p dd V`` and ``T = E dddd V``::

        Theta <- Theta B - eta / 6 He_3(Theta) T,        B = 1 - eta A
        S     <- B' S B - eta / 6 (kappa T + T' kappa)
        kappa <- kappa B B B B - eta sum over its indices of S S S T

    He_3 is the cubic Hermite polynomial of the loadings. Left out are squares of kappa, what kappa
    adds to T, and higher cumulants. Both loss and adjoint are closed forms; D (D + 1) / 2 overlaps
    and D (D + 1) (D + 2) (D + 3) / 24 cumulants are followed, 10 and 35 for rank one. How near this
    comes to the mean field is measured in studies/theory/closure.md.

    Examples
    --------
    >>> import predictlearn as pl
    >>> start = pl.Overlaps(np.eye(4)).replace(zm=0.1, zu=0.1, vm=0.1, vu=0.1)
    >>> task, rule = pl.Filter(dt=0.1), pl.GradientDescent(5e-3)
    >>> t = pl.learn_fourth_order(start, task, rule, 500)
    >>> bool(t.kurtosis["m"].iloc[-1] < -0.3)
    True
    >>> field = pl.learn_mean_field(start, task, rule, 500)
    >>> gaussian = pl.learn(start, task, rule, 500, "erf")
    >>> errors = [abs(x.array - field.array).max() for x in (t, gaussian)]
    >>> bool(errors[0] < errors[1] / 5)
    True
    """
    choice("nonlinearity", nonlinearity, ("erf", "linear"))
    if not isinstance(rule, GradientDescent):
        raise InputError(
            f"rule must be a GradientDescent for the fourth order; got {type(rule).__name__}."
        )
    if rule.momentum > 0:
        raise InputError(
            "rule must have no momentum for the fourth order, whose cumulants would need those of "
            f"the velocities too; got momentum {rule.momentum:g}. learn_mean_field has it."
        )
    stream = TrialStream(task, nonlinearity, tau, seed, rule.minibatch)
    check_fit(overlaps, task.n_in, task.n_out, "the task")
    n_epochs, every = positive_int("epochs", epochs), positive_int("every", every)
    sizes, dim = overlaps.sizes, overlaps.dim
    s, kappa = overlaps.matrix.copy(), _checked_cumulants(cumulants, dim)
    indices, step, dropped = _Indices(*sizes), step_of(rule, sizes, n_epochs), False
    rows = kept_epochs(n_epochs, every)
    kept, kurtosis = np.empty((len(rows), dim, dim)), np.empty((len(rows), dim))
    losses = np.empty(n_epochs + 1)
    force, limit = np.zeros((dim,) * 4), np.inf
    everyone = np.arange(dim)
    run = _Evaluation(indices, sizes, 0.0 if nonlinearity == "linear" else math.pi / 2)
    for epoch in range(n_epochs + 1):
        ready = stream.next()
        last = epoch == n_epochs
        if last or epoch % every == 0:
            row = -1 if last else epoch // every
            kept[row] = s
            with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
                kurtosis[row] = kappa[everyone, everyone, everyone, everyone] / s.diagonal() ** 2
        noise = NO_NOISE
        if rule.target_noise > 0 and not last:
            noise = rule.target_noise * stream.target_rng.standard_normal(ready.noise_shape)
        losses[epoch] = run(s, kappa, ready, noise)
        if epoch == 0:
            limit = loss_limit(losses[0], ready)
        if not losses[epoch] <= limit:
            raise diverged(epoch, rule, losses)
        if last or epoch % _LOOK == 0:
            _check_realisable(s, epoch)
        if last:
            break
        indices.spread(run.force, force)
        _, rate, dropped = settle(step, limit, -np.inf, epoch, losses[epoch], dropped)
        move_kernel(s, kappa, run.gradient, force, rate, rule.weight_decay, step.columns)
        if rule.synaptic_noise > 0:
            s[everyone, everyone] += (step.columns > 0) * rule.synaptic_noise**2
    table = pd.DataFrame(kurtosis, pd.Index(rows, name="epoch"), list(sizes.columns))
    settings = {**describe(task, rule, nonlinearity, tau), "closure": "fourth order"}
    epochs_run = np.arange(n_epochs + 1)
    return FourthOrderTrajectory(
        kept, rows, losses, epochs_run, sizes, seed, settings, table, kappa
    )


class _Evaluation:
    """Loss and derivatives at overlaps and cumulants; keeps its buffers from epoch to epoch."""

    def __init__(self, indices: _Indices, sizes: tuple[int, int, int], curve: float) -> None:
        n_in, rank, n_out = sizes
        dim = n_in + 2 * rank + n_out
        self.indices, self.sizes, self.curve = indices, sizes, curve
        self.gradient, self.force = np.empty((dim, dim)), np.empty((dim, len(indices.triples)))
        self._scratch = (np.empty((0, 0)),) * 3

    def __call__(self, s: np.ndarray, kappa: np.ndarray, ready: Batch, noise: np.ndarray) -> float:
        """Return the loss; A and T are then in `gradient` and `force`."""
        n_steps, _, n_trials = ready.k_m.shape
        block = min(BLOCK, n_trials)
        if self._scratch[1].shape != (n_steps, block):
            _, rank, n_out = self.sizes
            k_u, gain, y = (np.empty((n_steps * n, block)) for n in (rank, 1, n_out))
            self._scratch = k_u, gain, y
        return fourth_order_kernel(
            s,
            self.indices.packed(kappa),
            tuple(self.sizes),
            self.curve,
            ready.shown(noise),
            self._scratch,
            self.gradient,
            self.force,
        )


def _check_realisable(s: np.ndarray, epoch: int) -> None:
    """Raise if no network has these overlaps: the cumulants are then too large for first order."""
    values = np.linalg.eigvalsh(s)
    if values[0] < -1e-6 * values[-1]:
        raise DivergenceError(
            f"the fourth order led to overlaps that no network has at epoch {epoch}: their "
            f"smallest eigenvalue is {values[0]:.3g}, the largest {values[-1]:.3g}. The loadings "
            "are too far from Gaussian for it; use learn_mean_field, or a smaller rate.",
            epoch,
        )
