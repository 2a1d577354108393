"""Errors of movements: signed, of an angle, or a distance, with motor noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import special

from predictlearn.arrays import Array
from predictlearn.behaviour.base import checked_range, vectors
from predictlearn.behaviour.defaults import typical_value
from predictlearn.checks import as_float_array, non_negative, positive_int
from predictlearn.errors import InputError, choice

__all__ = ["MEASURES", "Errors", "angles_between"]

MEASURES = ("signed", "angle", "distance")
_HALF_LOG_TAU = 0.5 * np.log(2 * np.pi)
# Below so many degrees of circular standard deviation von Mises and normal differ by less than
# 4e-8 of the density's peak, and the von Mises series would need thousands of terms.
_NARROW = 0.1


def angles_between(outputs: Any, targets: Any) -> Array:
    """Return the angle from target to output, counter-clockwise, degrees in (-180, 180].

    Parameters
    ----------
    outputs, targets : array_like, (..., 2)
        Vectors. A vector of length zero has no angle: it is refused.

    Returns
    -------
    numpy.ndarray
        Angles.

    Raises
    ------
    InputError
        If the last axis is not two, or a vector is zero.

    Examples
    --------
    >>> angles_between([0.0, 2.0], [1.0, 0.0]).item()
    90.0
    """
    outputs, targets = vectors(outputs, targets, 2)
    for name, vector in (("outputs", outputs), ("targets", targets)):
        if np.any(~np.any(vector, axis=-1)):
            raise InputError(f"{name} must not be zero where an angle is measured.")
    cross = targets[..., 0] * outputs[..., 1] - targets[..., 1] * outputs[..., 0]
    return np.asarray(np.degrees(np.arctan2(cross, np.sum(outputs * targets, axis=-1))))


def _concentration(sd: float) -> float:
    """Return kappa of the von Mises distribution of a circular standard deviation in degrees."""
    # R = I1(kappa) / I0(kappa) = exp(-sd^2 / 2), by Newton's steps from the approximations of
    # Fisher (1993), Statistical Analysis of Circular Data, section 4.5
    variance = np.radians(sd) ** 2
    r = float(np.exp(-variance / 2))
    if r < 0.53:
        kappa = 2 * r + r**3 + 5 * r**5 / 6
    elif r < 0.85:
        kappa = -0.4 + 1.39 * r + 0.43 / (1 - r)
    else:
        kappa = 1 / (r**3 - 4 * r**2 + 3 * r)
    for _ in range(20):
        ratio = special.ive(1, kappa) / special.ive(0, kappa)
        step = (ratio - r) / max(1 - ratio**2 - ratio / max(kappa, 1e-300), 1e-300)
        if not np.isfinite(step) or kappa - step <= 0:
            break
        kappa -= step
        if abs(step) <= 1e-14 * kappa:
            break
    return float(kappa)


@dataclass(frozen=True)
class Errors:
    """The error of a movement: what a network intends, with motor noise.

    ================  ========================  ===================================================
    measure           error of a movement       motor noise
    ================  ========================  ===================================================
    ``"signed"``      output - target           normal
    ``"angle"``       angle between vectors     von Mises, of circular standard deviation ``noise``
    ``"distance"``    length of the difference  normal, independent on every axis
    ================  ========================  ===================================================

    Methods take errors as they are intended: signed numbers, degrees, or difference vectors
    (..., n_out). `judged` makes them from outputs and targets.

    Parameters
    ----------
    noise : float
        Motor noise: standard deviation in units of the output, degrees for angles; zero for none.
        `Errors.typical` takes that of reaching people from data.
    measure : {"signed", "angle", "distance"}, default "angle"
        What is measured.
    bias : float, default 0.0
        Added to every signed error or angle.

    Raises
    ------
    InputError
        If a number is out of range, or a measure unknown.

    Notes
    -----
    Means, mean squares and likelihoods are closed forms; mean size and mean square of angles are
    series of Bessel functions, by ``|x| = pi/2 - (4/pi) sum over odd k of cos(k x) / k^2``
    and ``x^2 = pi^2/3 + 4 sum over k of (-1)^k cos(k x) / k^2``.
    The circular standard deviation is sqrt(-2 log R), R the mean resultant length.

    References
    ----------
    Mardia & Jupp (2000), Directional Statistics, chapter 3.

    Examples
    --------
    >>> import numpy as np
    >>> reach = Errors(noise=4.0)
    >>> angle = reach.judged([[1.0, 0.0]], [[1.0, 1.0]])
    >>> angle.tolist(), round(float(reach.mean_absolute(0.0)), 2)
    ([-45.0], 3.19)
    """

    noise: float
    measure: str = "angle"
    bias: float = 0.0

    factor = 1.0

    def __post_init__(self) -> None:
        choice("measure", self.measure, MEASURES)
        object.__setattr__(self, "noise", non_negative("noise", self.noise))
        object.__setattr__(self, "bias", float(as_float_array("bias", self.bias, ndim=0)))
        if self.measure == "distance" and self.bias:
            raise InputError("bias must be 0 for distances, which have no sign.")

    @classmethod
    def typical(cls) -> Errors:
        """Return angles with the motor noise of people, ``human_motor_noise`` of the defaults."""
        return cls(typical_value("human_motor_noise"))

    @property
    def outcome(self) -> str:
        """Name of the outcome of a trial."""
        return {"signed": "error", "angle": "error_deg", "distance": "distance"}[self.measure]

    @property
    def summary(self) -> str:
        """Name of the mean over a session."""
        return self.outcome

    def _given(self, errors: Any) -> Array:
        """Return intended errors, lengths for distances, with the bias; angles in radians."""
        errors = as_float_array("errors", errors)
        if self.measure == "distance":
            if errors.ndim == 0:
                raise InputError(
                    "errors must be vectors (..., n_out) where a distance is measured."
                )
            return errors
        errors = errors + self.bias
        return np.radians(errors) if self.measure == "angle" else errors

    @property
    def kappa(self) -> float:
        """Concentration of the von Mises distribution of angles; infinite without noise."""
        return np.inf if self.noise == 0 else _concentration(self.noise)

    def mean(self, errors: Any) -> Array:
        """Return the expected error: signed, the mean direction in degrees, or the distance.

        Parameters
        ----------
        errors : array_like
            As they are intended; (..., n_out) for distances.

        Returns
        -------
        numpy.ndarray
            Expected errors.
        """
        given = self._given(errors)
        if self.measure == "distance":
            return self._mean_distance(np.linalg.norm(given, axis=-1), given.shape[-1])
        return _wrapped(np.degrees(given)) if self.measure == "angle" else given

    def mean_absolute(self, errors: Any) -> Array:
        """Return the expected size of the error, as of `mean`."""
        given = self._given(errors)
        if self.measure == "distance":
            return self.mean(errors)
        if self.measure == "signed":
            return self._mean_distance(np.abs(given), 1)
        folded = np.abs(np.radians(_wrapped(np.degrees(given))))
        if self.noise < _NARROW:
            # beyond a right angle it is the opposite direction that is near
            over = np.pi - _mean_norm(np.pi - folded, np.radians(self.noise), 1)
            under = _mean_norm(folded, np.radians(self.noise), 1)
            return np.asarray(np.degrees(np.where(folded > np.pi / 2, over, under)))
        k, moments = self._moments_of_angle()
        odd = k % 2 == 1
        waves = np.cos(folded[..., None] * k[odd]) @ (moments[odd] / k[odd] ** 2)
        return np.asarray(np.degrees(np.pi / 2 - 4 / np.pi * waves))

    def _moments_of_angle(self) -> tuple[np.ndarray, Array]:
        """Return k = 1, 2, ... and the mean of cos(k x) of the noise, as far as there is any."""
        # they fall as exp(-k^2 noise^2 / 2)
        k = np.arange(1, int(9 / np.radians(max(self.noise, _NARROW))) + 25)
        return k, special.ive(k, self.kappa) / special.ive(0, self.kappa)

    def mean_square(self, errors: Any) -> Array:
        """Return the expected squared error; for angles by the series of x^2, degrees squared."""
        given = self._given(errors)
        if self.measure == "distance":
            return np.asarray(np.sum(given**2, axis=-1) + given.shape[-1] * self.noise**2)
        if self.measure == "signed":
            return given**2 + self.noise**2
        if self.noise < _NARROW:
            folded = np.abs(_wrapped(np.degrees(given)))
            rest, under = 180.0 - folded, folded**2 + self.noise**2
            over = 180.0**2 - 360.0 * _mean_norm(rest, self.noise, 1) + rest**2 + self.noise**2
            return np.asarray(np.where(folded > 90.0, over, under))
        k, moments = self._moments_of_angle()
        waves = np.cos(given[..., None] * k) @ ((-1.0) ** k * moments / k**2)
        return np.asarray(np.degrees(1.0) ** 2 * (np.pi**2 / 3 + 4 * waves))

    def mean_cosine(self, errors: Any) -> Array:
        """Return the expected cosine of the angle: exp(-noise^2 / 2) cos(angle), in radians."""
        if self.measure != "angle":
            raise InputError(f"mean_cosine is of angles; the measure is {self.measure!r}.")
        return np.exp(-(np.radians(self.noise) ** 2) / 2) * np.cos(self._given(errors))

    def _mean_distance(self, lengths: Array, n: int) -> Array:
        """Return the mean length of a vector with noise on every axis."""
        return _mean_norm(lengths, self.noise, n)

    def simulate(self, errors: Any, rng: np.random.Generator) -> Array:
        """Draw measured errors: signed, degrees in [-180, 180), or distances.

        Parameters
        ----------
        errors : array_like
            As they are intended; (..., n_out) for distances.
        rng : numpy.random.Generator
            Source of randomness.

        Returns
        -------
        numpy.ndarray
            Measured errors.
        """
        given = self._given(errors)
        if self.measure == "angle":
            if self.noise == 0:
                return _wrapped(np.degrees(given))
            return _wrapped(np.degrees(given + rng.vonmises(0.0, self.kappa, given.shape)))
        moved = given + self.noise * rng.standard_normal(given.shape)
        return np.linalg.norm(moved, axis=-1) if self.measure == "distance" else moved

    def log_likelihood(self, measured: Any, errors: Any) -> float:
        """Return the log likelihood of measured errors, natural logarithm, per unit (per degree).

        Parameters
        ----------
        measured : array_like
            What was measured: signed, degrees, or distances.
        errors : array_like
            What was intended; ``measured`` with an axis of n_out for distances.

        Returns
        -------
        float
            The sum.

        Raises
        ------
        InputError
            If there is no noise, of which no density exists, or a measured error is out of range,
            with its row.

        Examples
        --------
        >>> round(Errors(4.0).log_likelihood([3.0, -1.0], [0.0, 0.0]), 3)
        -4.922
        """
        if self.noise == 0:
            raise InputError(
                "noise must be above 0 for a likelihood; without it there is no density."
            )
        given = self._given(errors)
        low, high = {
            "signed": (-np.finfo(float).max, np.finfo(float).max),
            "angle": (-360.0, 360.0),
            "distance": (0.0, np.finfo(float).max),
        }[self.measure]
        measured = checked_range("measured", measured, low, high)
        rows = given.shape[:-1] if self.measure == "distance" else given.shape
        if measured.shape != rows:
            raise InputError(
                f"measured must have the shape of errors, {rows}; got {measured.shape}."
            )
        if self.measure == "signed":
            z = (measured - given) / self.noise
            return float(np.sum(-0.5 * z**2 - np.log(self.noise) - _HALF_LOG_TAU))
        if self.measure == "angle":
            kappa = self.kappa
            # of exp(kappa (cos - 1)), since exp(kappa) overflows
            near = -2 * kappa * np.sin((np.radians(measured) - given) / 2) ** 2
            level = np.log(2 * np.pi * special.ive(0, kappa)) - np.log(np.pi / 180)
            return float(np.sum(near - level))
        return float(
            np.sum(_log_norm(measured, np.linalg.norm(given, axis=-1), self.noise, given.shape[-1]))
        )

    # -- for simulate_animals --------------------------------------------------------------------

    def judged(self, outputs: Any, targets: Any) -> Array:
        """Return intended errors of outputs: signed, degrees, or difference vectors."""
        if self.measure == "angle":
            return angles_between(outputs, targets)
        outputs, targets = vectors(outputs, targets, 1 if self.measure == "signed" else None)
        difference = outputs - targets
        return difference[..., 0] if self.measure == "signed" else difference

    def _moved(self, judged: Array, deviation: Any) -> Array:
        """Return what is intended in a session that deviates."""
        if self.measure == "distance":
            return judged * np.exp(np.asarray(deviation))[..., None]
        return judged + deviation

    def moments(self, judged: Array, deviation: Any = 0.0) -> tuple[Array, Array]:
        """Return mean and variance of a trial's error.

        A session's deviation is added to signed errors and angles; distances are multiplied by its
        exponential. The variance of an angle is that about its own mean direction.
        """
        moved = self._moved(judged, deviation)
        mean = self.mean(moved)
        if self.measure == "distance":
            return mean, self.mean_square(moved) - mean**2
        about = Errors(self.noise, self.measure).mean_square(0.0)
        return mean, np.full(mean.shape, float(about))

    def draw(self, judged: Array, rng: np.random.Generator, deviation: Any = 0.0) -> Array:
        """Draw a trial's error."""
        return self.simulate(self._moved(judged, deviation), rng)


def _wrapped(degrees: Any) -> Array:
    """Return angles in [-180, 180)."""
    return np.asarray((np.asarray(degrees) + 180.0) % 360.0 - 180.0)


def _mean_norm(lengths: Array, sd: float, n: int) -> Array:
    """Return the mean length of a normal vector of n axes about a mean of given length.

    sd sqrt(2) Gamma((n + 1) / 2) / Gamma(n / 2) 1F1(-1/2; n / 2; -length^2 / (2 sd^2)).
    """
    positive_int("n_out", n)
    if sd == 0:
        return np.asarray(lengths, dtype=float)
    x = np.asarray(lengths, dtype=float) ** 2 / (2 * sd**2)
    level = np.sqrt(2) * np.exp(special.gammaln((n + 1) / 2) - special.gammaln(n / 2))
    with np.errstate(over="ignore", invalid="ignore"):
        exact = sd * level * special.hyp1f1(-0.5, n / 2, -np.minimum(x, 500.0))
        # far from zero: length plus (n - 1) sd^2 / (2 length), and its next term
        far = np.sqrt(2 * np.maximum(x, 500.0))
        series = sd * (far + (n - 1) / (2 * far) + (n - 1) * (3 - n) / (8 * far**3))
    return np.where(x > 500.0, series, exact)


def _log_norm(r: Array, length: Array, sd: float, n: int) -> Array:
    """Return the log density of the length of a normal vector about a mean of given length.

    n = 1 is the folded normal distribution, 2 that of Rice; in general
    (r / sd^2) (r / length)^(n/2 - 1) exp(-(r^2 + length^2) / (2 sd^2)) I(r length / sd^2), I the
    modified Bessel function of order n/2 - 1.
    """
    order = n / 2 - 1
    x = r * length / sd**2
    with np.errstate(divide="ignore", invalid="ignore"):
        away = (
            np.log(r / sd**2)
            + order * (np.log(r) - np.log(length))
            - (r - length) ** 2 / (2 * sd**2)
            + np.log(special.ive(order, x))
        )
        # at the target itself, or where the Bessel function is its first term: the chi distribution
        central = (
            (n - 1) * np.log(r)
            - (r**2 + length**2) / (2 * sd**2)
            - order * np.log(2)
            - special.gammaln(n / 2)
            - n * np.log(sd)
        )
        if n == 1:
            # the Bessel function of order -1/2 is a cosh, which needs no care at zero
            at = -((r - length) ** 2) / (2 * sd**2) + np.log1p(np.exp(-2 * x))
            return np.asarray(at - np.log(sd) - _HALF_LOG_TAU)
    return np.where(x > 1e-12, away, central)
