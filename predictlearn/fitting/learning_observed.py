"""What a session recorded of its neurons, as the likelihood of learning takes it.

Of currents h = x_i A kappa + noise the likelihood is Gaussian in the loadings x_i. Of counts it is
not, and is expanded to second order about a course of each neuron: the counts are then Gaussian
measurements of h with a weight w and a working value of their own in every bin::

    log p(n | h) = value - sum_t w_t (h_t - z_t)^2 / 2,     both less their mean weighted by w,

since every neuron has an offset of its own in a session, which is found with it. About the course
that is most likely given all sessions this is Laplace's method for the integral over the loadings.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy import special

from predictlearn.fitting.counts import (
    CountNoise,
    fit_dispersion,
    inverse_link,
    log_likelihood_constant,
)

__all__ = ["Counts", "Currents", "Observed", "left_over"]

Array = npt.NDArray[np.float64]
# Least variance of a noise, relative to that of the signal: outputs may have none.
_FLOOR = 1e-8
# Steps to an offset, and the step, in units of the link's argument, that ends them: an error of
# this size changes the log likelihood by its square times the spikes, and is made good at that.
_STEPS, _SETTLED = 20, 1e-4
# Neurons times bins that are expanded at a time.
_CACHED = 16_384
# Longest step of an offset or a course: where spikes are few a whole one can be much too far.
_LONGEST = 2.0


def left_over(y: Array, x: Array, used: int) -> Array:
    """Return the variance of each row of y that regression on the rows of x leaves.

    Parameters
    ----------
    y : numpy.ndarray, (rows, bins)
        Values.
    x : numpy.ndarray, (p, bins)
        Regressors.
    used : int
        Further parameters a row.

    Returns
    -------
    numpy.ndarray, (rows,)
        Variances, above zero.
    """
    found, *_ = np.linalg.lstsq(x.T, y.T, rcond=None)
    rest = np.sum((y - found.T @ x) ** 2, axis=1) / (y.shape[1] - len(x) - used)
    return np.asarray(np.maximum(rest, _FLOOR * np.maximum(y.var(axis=1), 1e-12)))


@dataclass(frozen=True, eq=False)
class Currents:
    """Currents with Gaussian noise.

    Parameters
    ----------
    values : numpy.ndarray, (n, bins)
        Currents, less the mean of each neuron.
    noise : numpy.ndarray, (n,)
        Variance of the noise of every neuron.
    value : float
        What adds to the log likelihood beside the quadratic form: nothing, see `Counts`.
    """

    values: Array
    noise: Array
    value: float = 0.0

    @classmethod
    def of(cls, activity: Array) -> Currents:
        """Return currents, (n, bins), with no noise known yet."""
        centred = activity - activity.mean(axis=1, keepdims=True)
        return cls(np.ascontiguousarray(centred), np.ones(len(activity)))

    def sums(self, rows: Array, base: int) -> tuple[Array, Array]:
        """Return sums over bins, weighted by how exact each neuron is seen.

        Parameters
        ----------
        rows : numpy.ndarray, (R, bins)
            kappa, and what else.
        base : int
            How many of the rows enter the products.

        Returns
        -------
        cross : numpy.ndarray, (n, R)
            Of the activity times the rows.
        gram : numpy.ndarray, (n, base, R)
            Of the first rows times the rows, about their means.
        """
        totals = rows.sum(axis=1)
        gram = rows[:base] @ rows.T - np.outer(totals[:base], totals) / rows.shape[1]
        weight = 1 / self.noise
        # activity is about its mean already
        return weight[:, None] * (self.values @ rows.T), weight[:, None, None] * gram

    def settled(self, k: Array) -> Currents:
        """Return the currents with the noise that is left when each neuron follows kappa freely.

        Parameters
        ----------
        k : numpy.ndarray, (base, bins)
            kappa.

        Returns
        -------
        Currents
            With their noise.
        """
        return replace(
            self, noise=left_over(self.values, k - k.mean(axis=1, keepdims=True), used=1)
        )


@dataclass(frozen=True, eq=False)
class Counts:
    """Spike counts, expanded about a course of every neuron.

    Parameters
    ----------
    counts : numpy.ndarray, (n, bins)
        Counts.
    noise : CountNoise
        Their link, and the dispersion of every neuron.
    dispersed : bool
        Whether the dispersion is to be found.
    offset : numpy.ndarray, (n,)
        Of the link's argument.
    course : numpy.ndarray, (n, bins)
        h, about which the counts are expanded.
    weight : numpy.ndarray, (n, bins)
        w.
    whole : numpy.ndarray, (n,)
        Its sum over bins, above zero for a silent neuron too.
    pull : numpy.ndarray, (n, bins)
        w z, z less its weighted mean: what the counts pull h by.
    value : float
        The log likelihood less the quadratic form, and less what depends on the counts alone.
    """

    counts: Array
    noise: CountNoise
    dispersed: bool
    offset: Array
    course: Array
    weight: Array
    whole: Array
    pull: Array
    value: float

    @classmethod
    def of(cls, activity: Array, softplus: bool, dispersed: bool) -> Counts:
        """Return counts, (n, bins), expanded about constant rates."""
        counts = np.ascontiguousarray(activity)
        noise = CountNoise(softplus, np.zeros(len(counts)))
        # a silent neuron is given half a spike: it will have no weight
        mean = np.maximum(counts.mean(axis=1), 0.5 / counts.shape[1])
        blank = np.zeros_like(counts)
        offset = inverse_link(mean, softplus)
        first = cls(counts, noise, dispersed, offset, blank, blank, offset, blank, 0.0)
        return first._about(blank)

    def sums(self, rows: Array, base: int) -> tuple[Array, Array]:
        """Return sums over bins, weighted by w; see `Currents.sums`."""
        n, (size, bins) = len(self.counts), rows.shape
        both = np.empty((base + 1, size, bins))
        np.multiply(rows[:base, None], rows, out=both[:base])
        both[base] = rows
        weighed = (self.weight @ both.reshape(-1, bins).T).reshape(n, base + 1, size)
        gram, totals = weighed[:, :base], weighed[:, base]
        mean = totals[:, :base] / self.whole[:, None]
        return self.pull @ rows.T, gram - mean[:, :, None] * totals[:, None, :]

    def settled(self, k: Array, loads: Array) -> Counts:
        """Return the counts expanded about h = loads kappa, or as near to it as one step may go."""
        move = loads @ k - self.course
        longest = np.abs(move).max(axis=1, keepdims=True)
        return self._about(self.course + move * (_LONGEST / np.maximum(longest, _LONGEST)))

    def _about(self, h: Array) -> Counts:
        """Return the counts expanded about h, (n, bins), with offset and dispersion found."""
        weight, pull = np.empty_like(h), np.empty_like(h)
        offset, whole = np.empty(len(h)), np.empty(len(h))
        noise, value = replace(self.noise, dispersion=self.noise.dispersion.copy()), 0.0
        for rows in _blocks(self.counts):
            part = _Part.about(
                self.counts[rows], h[rows], self.offset[rows], self.noise.of(rows), self.dispersed
            )
            weight[rows], pull[rows], whole[rows] = part.weight, part.pull, part.whole
            offset[rows], noise.dispersion[rows] = part.offset, part.noise.dispersion
            value += part.value
        return Counts(self.counts, noise, self.dispersed, offset, h, weight, whole, pull, value)


@dataclass(frozen=True, eq=False)
class _Part:
    """The expansion of a few neurons: so few that all of it stays in the cache."""

    noise: CountNoise
    offset: Array
    weight: Array
    whole: Array
    pull: Array
    value: float

    @classmethod
    def about(
        cls, counts: Array, h: Array, offset: Array, noise: CountNoise, dispersed: bool
    ) -> _Part:
        """Return the expansion about h; see `Counts`."""
        total = counts.sum(axis=1)
        spiking = total > 0
        plain = not noise.softplus and not noise.dispersion.any()
        for _ in range(_STEPS):
            eta = offset[:, None] + h
            rate, weight, score = _expanded(counts, noise, eta)
            step = np.where(spiking, score.sum(axis=1) / _whole(weight), 0.0)
            if np.abs(step).max() < _SETTLED:
                break
            if plain:
                # of a Poisson with a log link the offset is known at once
                step = np.log(np.where(spiking, total, 1.0) / rate.sum(axis=1)) * spiking
                offset = offset + step
            else:
                offset = offset + np.clip(step, -_LONGEST, _LONGEST)
        if dispersed:
            found = fit_dispersion(counts, None, rate, noise.dispersion)
            noise = replace(noise, dispersion=found)
            rate, weight, score = _expanded(counts, noise, eta)
        weight[~spiking], score[~spiking] = 0.0, 0.0
        whole = _whole(weight)
        h = h - (np.einsum("nt,nt->n", weight, h) / whole)[:, None]
        # what is left of the score of the offset is made good by a last step of it
        rest = score.sum(axis=1)
        score -= weight * (rest / whole)[:, None]
        value = float(np.sum(_log_likelihood(counts, noise, eta, rate)[spiking]))
        value += 0.5 * float(np.sum(rest**2 / whole))
        weighted = weight * h
        value -= 0.5 * float(np.vdot(weighted, h)) + float(np.vdot(score, h))
        return cls(noise, offset, weight, whole, weighted + score, value)


Observed = Currents | Counts


def _blocks(counts: Array) -> list[slice]:
    """Return the neurons, a few at a time."""
    few = max(_CACHED // max(counts.shape[1], 1), 1)
    return [slice(i, i + few) for i in range(0, len(counts), few)]


def _whole(weight: Array) -> Array:
    """Return the sum of each neuron's weights, above zero for a silent one too."""
    return np.asarray(np.maximum(weight.sum(axis=1), 1e-300))


def _expanded(counts: Array, noise: CountNoise, eta: Array) -> tuple[Array, Array, Array]:
    """Return expected counts, and expected curvature and score in the link's argument."""
    rate = np.maximum(noise.mean(eta), 1e-300)
    if not noise.softplus and not noise.dispersion.any():
        return rate, rate.copy(), counts - rate
    slope = special.expit(eta) if noise.softplus else rate
    weight = slope / (rate * (1 + noise.dispersion[:, None] * rate))
    score = weight * (counts - rate)
    return rate, weight * slope, score


def _log_likelihood(counts: Array, noise: CountNoise, eta: Array, rate: Array) -> Array:
    """Return the log likelihood of each neuron's counts, less what depends on these alone."""
    logs = np.log(rate) if noise.softplus else eta
    out = np.asarray(np.sum(counts * logs - rate, axis=1))
    some = noise.dispersion > 0
    if some.any():
        y, lam, alpha = counts[some], rate[some], noise.dispersion[some, None]
        more = np.log1p(alpha * lam)
        out[some] = np.sum(y * (logs[some] - more) - more / alpha, axis=1)
        # of a Poisson only sum log n! is left out, of either
        out[some] += log_likelihood_constant(y, alpha[:, 0])
        out[some] -= log_likelihood_constant(y, np.zeros(len(y)))
    return out
