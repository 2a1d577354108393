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

from predictlearn.arrays import Array
from predictlearn.fitting.learning.recordings.expansion_kernels import expand_counts
from predictlearn.fitting.session.count_noise import (
    CountNoise,
    fit_dispersion,
    inverse_link,
    log_likelihood_constant,
)

__all__ = ["Counts", "Currents", "Observed", "left_over"]

# Least variance of a noise, relative to that of the signal: outputs may have none.
_FLOOR = 1e-8


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
        return self._about(loads @ k)

    def _about(self, course: Array) -> Counts:
        """Return the counts expanded about a course, (n, bins), or as near as one step may go."""
        course = np.ascontiguousarray(course)
        noise, offset = self.noise, self.offset.copy()
        weight, pull = np.empty_like(course), np.empty_like(course)
        whole, values = np.empty(len(course)), np.empty(len(course))

        def expand(noise: CountNoise) -> None:
            expand_counts(
                self.counts, self.course, noise.softplus, noise.dispersion,
                course, offset, weight, pull, whole, values,
            )  # fmt: skip

        expand(noise)
        if self.dispersed:
            rate = noise.mean(offset[:, None] + course)
            found = fit_dispersion(self.counts, None, rate, noise.dispersion)
            noise = replace(noise, dispersion=found)
            expand(noise)
        value = float(values.sum())
        some = noise.dispersion > 0
        if some.any():
            # of a Poisson only sum log n! is left out, of either
            y = self.counts[some]
            value += float(log_likelihood_constant(y, noise.dispersion[some]).sum())
            value -= float(log_likelihood_constant(y, np.zeros(len(y))).sum())
        return Counts(
            self.counts, noise, self.dispersed, offset, course, weight, whole, pull, value
        )


Observed = Currents | Counts
