"""The population that loadings are drawn from, where single neurons say little: counts.

A neuron of few spikes may be predicted perfectly by loadings that run to infinity. So loadings are
random effects, N(0, M) over the population: each neuron has a posterior, M is the mean of their
second moments (expectation maximisation), and the dynamics maximise the likelihood with the
loadings integrated out, by Laplace's method. What a neuron of few spikes says of M weighs little;
where every neuron is well measured, M is the moments of the loadings less their estimation error.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from predictlearn.fitting.arrow import Blocks

if TYPE_CHECKING:
    from predictlearn.fitting.inner import Data

__all__ = [
    "Evidence",
    "MomentSteps",
    "evidence",
    "moment_steps",
    "second_moment",
    "without_weakest",
]

Array = npt.NDArray[np.float64]

# Rounds of expectation maximisation, which touch no data, and the relative change at which to stop.
_ROUNDS, _SETTLED = 200, 1e-7
# Smallest spread of the loadings along an axis, relative to the largest and to their scale.
_LEAST = 1e-7
# How much better a known readout is known than the spread of readouts over neurons.
_KNOWN = 1e8


@dataclass(frozen=True, eq=False)
class Evidence:
    """What the recording says of each neuron's loadings: a Gaussian, in natural parameters.

    Parameters
    ----------
    info : ndarray, shape (neurons, d, d)
        Fisher information of the loadings, offset and gain eliminated.
    natural : ndarray, shape (neurons, d)
        Information times estimate; finite for a neuron whose estimate is not.
    """

    info: Array
    natural: Array

    def with_known(self, values: Array) -> Evidence:
        """Append values that are known, such as a readout, to the loadings."""
        n, d, more = len(values), self.info.shape[1], values.shape[1]
        sharp = _KNOWN / np.maximum((values**2).mean(axis=0), 1e-300)
        info = np.zeros((n, d + more, d + more))
        info[:, :d, :d] = self.info
        info[:, d:, d:] = np.diag(sharp)
        return Evidence(info, np.concatenate([self.natural, sharp * values], axis=1))

    def posterior(self, second: Array) -> tuple[Array, Array]:
        """Return means (neurons, d) and covariances (neurons, d, d) under N(0, M)."""
        # V = L (1 + L^T H L)^-1 L^T needs no inverse of M
        root = np.linalg.cholesky(second)
        inner = np.eye(len(second)) + root.T @ self.info @ root
        covariance = root @ np.linalg.inv(inner) @ root.T
        return (covariance @ self.natural[:, :, None])[:, :, 0], covariance

    def log_marginal(self, second: Array) -> float:
        """Return the log likelihood of N(0, M), less that of loadings that are all zero."""
        root = np.linalg.cholesky(second)
        inner = np.eye(len(second)) + root.T @ self.info @ root
        mean = self.posterior(second)[0]
        return float((self.natural * mean).sum() - np.linalg.slogdet(inner)[1].sum()) / 2

    def along(self, axes: Array) -> Evidence:
        """Return what is known of coefficients of ``axes`` (d, fewer), loadings being their sum."""
        return Evidence(axes.T @ self.info @ axes, self.natural @ axes)


def evidence(data: Data, at: Blocks) -> Evidence:
    """Return what the recording says of the loadings, to second order about ``at``.

    Parameters
    ----------
    data : Data
        Counts.
    at : Blocks
        Normal equations.

    Returns
    -------
    Evidence
        The prior, where there is one, is not in it.
    """
    lead = data.n_lead
    info, score = at.inner, at.slope_phi
    if data.population is not None:
        precision = np.linalg.inv(data.population)
        info, score = info.copy(), score.copy()
        info[:, lead:, lead:] -= precision
        score[:, lead:] += at.phi[:, lead:] @ precision
    natural = (info @ at.phi[:, :, None])[:, :, 0] + score
    first = info[:, :lead, :lead] + 1e-12 * np.eye(lead)
    solved = np.linalg.solve(first, info[:, :lead, lead:])
    cross = np.swapaxes(info[:, :lead, lead:], 1, 2)
    own = (np.swapaxes(solved, 1, 2) @ natural[:, :lead, None])[:, :, 0]
    return Evidence(info[:, lead:, lead:] - cross @ solved, natural[:, lead:] - own)


def second_moment(found: Evidence, start: Array | None = None) -> Array:
    """Find M, the second moments of the population, by expectation maximisation.

    Parameters
    ----------
    found : Evidence
        What is known of each neuron.
    start : ndarray, shape (d, d), optional
        Where to start; from what the information of a mean neuron allows where not given.

    Returns
    -------
    ndarray, shape (d, d)
        M, positive definite.
    """
    second = _first_guess(found) if start is None else start
    for _ in range(_ROUNDS):
        mean, covariance = found.posterior(second)
        fresh = mean.T @ mean / len(mean) + covariance.mean(axis=0)
        scale = 1 / np.sqrt(np.diag(fresh))
        change = np.abs((fresh - second) * np.outer(scale, scale)).max()
        second = _floored(fresh)
        if change < _SETTLED:
            break
    return second


def without_weakest(found: Evidence, start: Array, n_in: int) -> tuple[float, int]:
    """Compare the population with one that lacks the weakest axis of the recurrent loadings.

    Parameters
    ----------
    found : Evidence
        What is known of each neuron, loadings of inputs first.
    start : ndarray, shape (d, d)
        A guess of M.
    n_in : int
        Inputs.

    Returns
    -------
    tuple of float and int
        What the axis adds to the log likelihood, dynamics held, and the second moments it has.
    """
    second = second_moment(found, start)
    d = len(second)
    within, across = found.info[:, :n_in, :n_in], found.info[:, :n_in, n_in:]
    own = found.info[:, n_in:, n_in:]
    if n_in:
        own = own - np.swapaxes(across, 1, 2) @ np.linalg.pinv(within, hermitian=True) @ across
    root = np.linalg.cholesky(second[n_in:, n_in:])
    axes = np.linalg.eigh(root.T @ own.sum(axis=0) @ root)[1][:, 1:]
    kept = np.zeros((d, d - 1))
    kept[:n_in, :n_in] = np.eye(n_in)
    kept[n_in:, n_in:] = root @ axes
    fewer = found.along(kept)
    less = fewer.log_marginal(second_moment(fewer)) if d > 1 else 0.0
    return found.log_marginal(second) - less, d


def _first_guess(found: Evidence) -> Array:
    """Return a spread at which half of what a mean neuron does is signal, axis by axis."""
    info = np.einsum("iaa->a", found.info) / len(found.info)
    power = (found.natural**2).mean(axis=0) / np.maximum(info, 1e-300) ** 2
    return np.diag(np.maximum(power, 1e-2 / np.maximum(info, 1e-300)))


def _floored(second: Array) -> Array:
    """Keep M positive definite."""
    scale = np.sqrt(np.maximum(np.diag(second), 1e-300))
    values, vectors = np.linalg.eigh(second / np.outer(scale, scale))
    if values[0] > _LEAST:
        return np.asarray((second + second.T) / 2)
    fixed = (vectors * np.maximum(values, _LEAST)) @ vectors.T
    return np.asarray(fixed * np.outer(scale, scale))


@dataclass(frozen=True, eq=False)
class MomentSteps:
    """M of the loadings (and a known readout), and how it answers to weights and to theta.

    Parameters
    ----------
    second : ndarray, shape (d, d)
        M.
    neuron : ndarray, shape (neurons, d, d)
        Step for one more copy of a neuron.
    trial : ndarray, shape (trials, d, d)
        Step for one more copy of a trial, theta held.
    follow : ndarray, shape (d, d, q)
        Derivative in theta.
    """

    second: Array
    neuron: Array
    trial: Array
    follow: Array

    def moved(self, neurons: Array, trials: Array, theta: Array) -> Array:
        """Return M after a change of the weights of neurons and trials and of theta."""
        change = np.tensordot(neurons, self.neuron, axes=1)
        change = change + np.tensordot(trials, self.trial, axes=1) + self.follow @ theta
        return np.asarray(self.second + change)


def moment_steps(
    found: Evidence, start: Array, trial_loadings: Array, follow: Array, of_spread: Array,
    turn: Array, sampled: bool,
) -> MomentSteps:  # fmt: skip
    """Linearise M in the weights of neurons and trials and in theta.

    Parameters
    ----------
    found : Evidence
        What is known of each neuron; of the loadings first.
    start : ndarray, shape (d, d)
        A guess of M.
    trial_loadings : ndarray, shape (trials, neurons, n_base)
        Step of the loadings for one more copy of a trial.
    follow : ndarray, shape (neurons, n_base, q)
        Loadings move by -follow dtheta, beyond what all share.
    of_spread : ndarray, shape (n_base, n_base, q)
        Derivative in theta of their mean posterior covariance.
    turn : ndarray, shape (q, n_base, n_base)
        T, what all share: k turns into (1 + T dtheta) k.
    sampled : bool
        Whether neurons are drawn too. The noise of a bin is then in what neurons draw, and of the
        trials only what neurons share is left.

    Returns
    -------
    MomentSteps
        M is a fixed point, so a step of what it is the mean of is amplified.
    """
    second = second_moment(found, start)
    mean, covariance = found.posterior(second)
    n, d = mean.shape
    rows, columns = np.triu_indices(d)
    base = follow.shape[1]
    # answer of the posterior, of its mean P m and covariance G, to M
    precision = np.linalg.inv(second)
    gain, pulled = covariance @ precision, mean @ precision
    answer = np.empty((len(rows), len(rows)))
    for c, (a, b) in enumerate(zip(rows, columns, strict=True)):
        unit = np.zeros((d, d))
        unit[a, b] = unit[b, a] = 1.0
        moved = (gain @ (pulled @ unit)[:, :, None])[:, :, 0]
        both = moved.T @ mean
        total = both + both.T + np.einsum("iab,bc,idc->ad", gain, unit, gain, optimize=True)
        answer[:, c] = total[rows, columns] / n
    amplify = np.linalg.pinv(np.eye(len(rows)) - answer, rcond=1e-6)

    def step(raw: Array) -> Array:
        """Amplify symmetric (d, d) steps, on the first two axes after the leading one."""
        out = np.empty_like(raw)
        out[:, rows, columns] = raw[:, rows, columns] @ amplify.T
        out[:, columns, rows] = out[:, rows, columns]
        return out

    own = mean[:, :, None] * mean[:, None, :] + covariance - second
    # loadings move as their own block of the posterior does; what is known of a readout follows
    carry = covariance[:, :, :base] @ np.linalg.inv(covariance[:, :base, :base])
    trial, noise = np.zeros((len(trial_loadings), d, d)), 0.0
    unit_free = 1 / np.sqrt(np.diag(second))
    for p, now in enumerate(trial_loadings):
        moved = (carry @ now[:, :, None])[:, :, 0]
        half = moved.T @ mean / n
        trial[p] = half + half.T
        if sampled:
            # squared norms of the neurons' shares, m dm^T + dm m^T in units of the spread
            x, y = moved * unit_free, mean * unit_free
            noise += 2 * float(((x**2).sum(1) * (y**2).sum(1) + (x * y).sum(1) ** 2).sum()) / n**2
    if sampled:
        total = float(((trial * np.outer(unit_free, unit_free)) ** 2).sum())
        trial *= np.sqrt(max(0.0, 1 - noise / total)) if total > 0 else 0.0
    trial = step(trial)
    theta = -np.einsum("iab,ibj,ic->jac", carry, follow, mean, optimize=True) / n
    theta = theta + np.swapaxes(theta, 1, 2)
    theta[:, :base, :base] += np.moveaxis(of_spread, 2, 0)
    theta = step(theta)
    whole = np.zeros((len(turn), d, d))
    whole[:, :base, :base] = turn
    shared = second @ whole
    theta -= shared + np.swapaxes(shared, 1, 2)
    return MomentSteps(second, step(own / n), trial, np.moveaxis(theta, 0, 2))
