"""How a neuron is read: its mean given the reduced activity, the slopes, and the noise about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import special

from predictlearn.arrays import Array
from predictlearn.errors import InputError
from predictlearn.fitting.session.validation import fits_gain, known_gain

__all__ = ["Observation", "loading_errors", "neuron_coefficients", "regress_neuron"]


_LARGEST = 50.0
_STEPS = 60


@dataclass(frozen=True)
class Observation:
    """What stands between the current h of a neuron and its recorded activity.

    Gaussian: mean = offset + gain f(h). Counts: mean = link(offset + gain f(h)). f is phi for
    erf rates and the identity otherwise.

    Parameters
    ----------
    link : {"identity", "exp", "softplus"}
        From the sum to the mean.
    saturating : bool
        Whether f is the erf.
    gain : float
        The known gain, 1 where it is fitted.
    offset, fits_gain : bool
        Whether each neuron has an offset and a gain of its own.
    noise : {"gaussian", "poisson", "negative-binomial"}
        The noise about the mean.
    """

    link: str
    saturating: bool
    gain: float
    offset: bool
    fits_gain: bool
    noise: str

    @classmethod
    def of(cls, fit: Any) -> Observation:
        """Read it from a fit."""
        noise = str(getattr(fit, "noise", "gaussian"))
        if getattr(fit, "decay", None) is not None:
            raise InputError(
                "decay must be None here: what is read of a fluorescence depends on earlier bins, "
                "which this analysis does not follow"
            )
        return cls(
            link="identity" if noise == "gaussian" else str(fit.link),
            saturating=fit.nonlinearity == "erf" and fit.observed == "rate",
            gain=known_gain(fit),
            offset=bool(fit.offset) or noise != "gaussian",
            fits_gain=fits_gain(fit),
            noise=noise,
        )

    @property
    def n_lead(self) -> int:
        """Coefficients before the loadings: offset, gain."""
        return int(self.offset) + int(self.fits_gain)

    @property
    def plain(self) -> bool:
        """Whether the mean is linear in the coefficients."""
        return self.link == "identity" and not self.saturating

    def mean(self, coefficients: Array, k: Array) -> Array:
        """Return the mean, shape (rows,), of one neuron."""
        return self._through(coefficients, k)[0]

    def jacobian(self, coefficients: Array, k: Array) -> tuple[Array, Array]:
        """Return the mean and its derivative in the coefficients, (rows,) and (rows, p)."""
        mean, slope, bend, value, gain = self._through(coefficients, k)
        columns = [slope[:, None]] if self.offset else []
        if self.fits_gain:
            columns.append((slope * self.gain * value)[:, None])
        columns.append((slope * gain * bend)[:, None] * k)
        return mean, np.concatenate(columns, axis=1)

    def current_slope(self, coefficients: Array, k: Array) -> tuple[Array, Array]:
        """Return the mean and its derivative in h, both (rows,)."""
        mean, slope, bend, _, gain = self._through(coefficients, k)
        return mean, slope * gain * bend

    def _through(self, coefficients: Array, k: Array) -> tuple[Array, Array, Array, Array, float]:
        """Return mean, slope of the link, slope of f, f and the whole gain."""
        h = k @ coefficients[self.n_lead :]
        value, bend = h, np.ones_like(h)
        if self.saturating:
            value = special.erf(0.5 * np.sqrt(np.pi) * h)
            bend = np.exp(-np.pi / 4 * h**2)
        gain = self.gain * (coefficients[int(self.offset)] if self.fits_gain else 1.0)
        total = gain * value + (coefficients[0] if self.offset else 0.0)
        if self.link == "identity":
            return total, np.ones_like(h), bend, value, float(gain)
        if self.link == "exp":
            mean = np.exp(np.minimum(total, _LARGEST))
            return mean, mean, bend, value, float(gain)
        mean = np.logaddexp(0.0, total)
        return np.maximum(mean, 1e-12), special.expit(total), bend, value, float(gain)

    def variance(self, mean: Array, spread: float) -> Array:
        """Return the variance at a mean; spread is the noise variance, or the dispersion."""
        if self.noise == "gaussian":
            return np.full_like(mean, spread)
        floor = np.maximum(mean, 1e-12)
        return floor if self.noise == "poisson" else floor + spread * floor**2

    def log_likelihood(self, y: Array, mean: Array, spread: float) -> float:
        """Return the log likelihood of counts or activity about a mean."""
        if self.noise == "gaussian":
            return float(-0.5 * np.sum((y - mean) ** 2 / spread + np.log(2 * np.pi * spread)))
        mean = np.maximum(mean, 1e-12)
        if self.noise == "poisson" or spread < 1e-8:
            return float(np.sum(special.xlogy(y, mean) - mean - special.gammaln(y + 1)))
        size = 1 / spread
        return float(
            np.sum(
                special.gammaln(y + size) - special.gammaln(size) - special.gammaln(y + 1)
                + special.xlogy(y, spread * mean) - (y + size) * np.log1p(spread * mean)
            )
        )  # fmt: skip


def regress_neuron(
    y: Array, k: Array, observation: Observation, spread: float = 0.0
) -> tuple[Array, float]:
    """Regress one neuron on the reduced activity by maximum likelihood.

    Parameters
    ----------
    y : ndarray, shape (rows,)
        Activity, nothing missing.
    k : ndarray, shape (rows, n_base)
        Reduced activity.
    observation : Observation
        How it is read.
    spread : float
        Dispersion of a negative binomial to start from.

    Returns
    -------
    tuple of ndarray and float
        Coefficients (offset, gain, loadings), and the noise variance (Gaussian) or the dispersion
        (negative binomial, from the Pearson residuals), 0 for Poisson.

    Notes
    -----
    Fisher scoring, damped so that the likelihood never falls.
    """
    ones = np.ones((len(y), observation.n_lead))
    p = observation.n_lead + k.shape[1]
    if observation.plain:
        design = np.concatenate([ones, observation.gain * k], axis=1)
        found = np.linalg.lstsq(design, y, rcond=1e-12)[0]
        return found, float(np.sum((y - design @ found) ** 2) / max(len(y) - p, 1))
    level = float(np.mean(y))
    start = np.zeros(p)
    if observation.offset:
        start[0] = level
        if observation.link != "identity":
            level = max(level, 0.5 / len(y))
            start[0] = np.log(level) if observation.link == "exp" else np.log(np.expm1(level))
    if observation.fits_gain:
        start[int(observation.offset)] = max(2 * float(np.std(y)), 1e-6)
    if observation.saturating:
        # zero is where the slope in the gain vanishes; a linear fit is near enough
        linear = np.linalg.lstsq(np.concatenate([np.ones((len(y), 1)), k], axis=1), y, rcond=1e-12)
        scale = observation.gain * (start[int(observation.offset)] if observation.fits_gain else 1)
        slope = float(observation.jacobian(start, k)[1][:, 0].mean()) if observation.offset else 1.0
        start[observation.n_lead :] = linear[0][1:] / (scale * slope)
    found = _score(y, k, observation, start, max(spread, 1e-12))
    mean = observation.mean(found, k)
    degrees = max(len(y) - p, 1)
    if observation.noise == "gaussian":
        return found, float(np.sum((y - mean) ** 2) / degrees)
    if observation.noise == "poisson":
        return found, 0.0
    extra = float(np.sum(((y - mean) ** 2 - mean) / np.maximum(mean, 1e-12) ** 2) / degrees)
    return _score(y, k, observation, found, max(extra, 1e-6)), max(extra, 1e-6)


def _score(y: Array, k: Array, observation: Observation, start: Array, spread: float) -> Array:
    """Climb the likelihood from a start."""
    spread = 1.0 if observation.noise == "gaussian" else spread
    found, damping = start, 1e-6
    best = observation.log_likelihood(y, observation.mean(found, k), spread)
    for _ in range(_STEPS):
        mean, jac = observation.jacobian(found, k)
        weighted = jac / observation.variance(mean, spread)[:, None]
        normal, slope = jac.T @ weighted, weighted.T @ (y - mean)
        scale = np.sqrt(np.maximum(np.diag(normal), 1e-12))
        scaled = normal / np.outer(scale, scale)
        rise = 0.0
        for _ in range(12):
            step = np.linalg.solve(scaled + damping * np.eye(len(scale)), slope / scale) / scale
            value = observation.log_likelihood(y, observation.mean(found + step, k), spread)
            if np.isfinite(value) and value > best:
                rise, best, found = value - best, value, found + step
                damping = max(damping / 10, 1e-9)
                break
            damping *= 10
        if rise < 1e-7 * (1 + abs(best)):
            break
    return found


def loading_errors(fit: Any, k: Array, seen: npt.NDArray[np.bool_]) -> Array:
    """Return the estimation covariance of each neuron's loadings, given the reduced activity.

    Parameters
    ----------
    fit : LowRankRNN
        Fitted.
    k : ndarray, shape (rows, n_base)
        Reduced activity of the rows it was fitted to.
    seen : ndarray of bool, shape (rows, neurons)
        Bins that were seen.

    Returns
    -------
    ndarray, shape (neurons, n_base, n_base)
        From the Fisher information; the offset and the gain, being fitted too, widen it.
    """
    observation = Observation.of(fit)
    coefficients, spread = neuron_coefficients(fit)
    out = np.full((len(coefficients), k.shape[1], k.shape[1]), np.nan)
    for i, each in enumerate(coefficients):
        if not np.isfinite(each).all():
            continue
        mean, jac = observation.jacobian(each, k[seen[:, i]])
        normal = jac.T @ (jac / observation.variance(mean, spread[i])[:, None])
        scale = 1 / np.sqrt(np.maximum(np.diag(normal), 1e-300))
        inverse = np.linalg.pinv(normal * np.outer(scale, scale), rcond=1e-12, hermitian=True)
        out[i] = (inverse * np.outer(scale, scale))[observation.n_lead :, observation.n_lead :]
    return out


def neuron_coefficients(fit: Any) -> tuple[Array, Array]:
    """Return a fit's coefficients (neurons, p) as `Observation` takes them, and its spread."""
    observation = Observation.of(fit)
    lead = [fit.offset_[:, None]] if observation.offset else []
    if observation.fits_gain:
        lead.append(fit.gain_[:, None])
    spread = np.zeros(len(fit.m_))
    if observation.noise == "gaussian":
        spread = np.asarray(fit.noise_variance_)
    elif observation.noise == "negative-binomial":
        spread = np.broadcast_to(np.asarray(fit.dispersion_, dtype=float), spread.shape)
    return np.concatenate([*lead, fit.m_, fit.u_], axis=1), spread
