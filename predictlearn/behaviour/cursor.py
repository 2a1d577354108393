"""Progress of a cursor towards its target, mm/s, as brain-computer interfaces report it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from predictlearn.arrays import Array
from predictlearn.behaviour.base import checked_range, vectors
from predictlearn.checks import as_float_array, non_negative, positive
from predictlearn.errors import InputError

__all__ = ["CursorProgress"]


@dataclass(frozen=True)
class CursorProgress:
    """Speed of a cursor along the direction to its target.

    A network's two outputs are the velocity of the cursor, times ``gain`` in mm/s; progress is its
    part along the unit vector to the target, averaged over the trial, with normal noise from trial
    to trial. `predictlearn.recordings.progress` measures the same in recordings.

    Parameters
    ----------
    noise : float
        Standard deviation from trial to trial, mm/s; zero for none.
    gain : float, default 1.0
        mm/s per unit of output.

    Raises
    ------
    InputError
        If a number is out of range.

    References
    ----------
    Hennig et al. (2018), eLife 7:e36774, define cursor progress.

    Examples
    --------
    >>> cursor = CursorProgress(noise=20.0, gain=100.0)
    >>> cursor.mean([[0.5, 0.5]], [[3.0, 0.0]]).tolist()
    [50.0]
    """

    noise: float
    gain: float = 1.0

    outcome = "progress_mm_s"
    summary = "progress_mm_s"
    factor = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "noise", non_negative("noise", self.noise))
        object.__setattr__(self, "gain", positive("gain", self.gain))

    def mean(self, outputs: Any, targets: Any) -> Array:
        """Return expected progress, mm/s.

        Parameters
        ----------
        outputs : array_like, (..., 2)
            Outputs, averaged over the trial.
        targets : array_like, (..., 2)
            Vectors from the cursor's start to its target; only their direction counts.

        Returns
        -------
        numpy.ndarray
            Progress.

        Raises
        ------
        InputError
            If the last axis is not two, or a target has no direction.
        """
        return self.judged(outputs, targets)

    def simulate(self, outputs: Any, targets: Any, rng: np.random.Generator) -> Array:
        """Draw measured progress, mm/s."""
        return self.draw(self.judged(outputs, targets), rng)

    def log_likelihood(self, measured: Any, outputs: Any, targets: Any) -> float:
        """Return the log likelihood of measured progress, natural logarithm, per mm/s.

        Parameters
        ----------
        measured : array_like
            mm/s.
        outputs, targets : array_like, (..., 2)
            As of `mean`.

        Returns
        -------
        float
            The sum.

        Raises
        ------
        InputError
            If there is no noise, or a value is not a number, with its row.

        Examples
        --------
        >>> cursor = CursorProgress(noise=20.0, gain=100.0)
        >>> round(cursor.log_likelihood([60.0], [[0.5, 0.5]], [[3.0, 0.0]]), 3)
        -4.04
        """
        if self.noise == 0:
            raise InputError(
                "noise must be above 0 for a likelihood; without it there is no density."
            )
        expected = self.judged(outputs, targets)
        most = np.finfo(float).max
        measured = checked_range("measured", measured, -most, most)
        if measured.shape != expected.shape:
            raise InputError(
                f"measured must have one value a trial, {expected.shape}; got {measured.shape}."
            )
        z = (measured - expected) / self.noise
        return float(np.sum(-0.5 * z**2 - np.log(self.noise) - 0.5 * np.log(2 * np.pi)))

    def time_to_target(
        self, progress: Any, distance: Any, limit: float
    ) -> tuple[Array, np.ndarray]:
        """Return acquisition times at given progress, and whether the target was reached.

        Parameters
        ----------
        progress : array_like
            mm/s.
        distance : array_like
            mm to the target's edge.
        limit : float
            Seconds after which a trial ends: what takes longer is censored there.

        Returns
        -------
        times : numpy.ndarray
            Seconds, at most the limit.
        reached : numpy.ndarray of bool
            False where censored.

        Examples
        --------
        >>> times, reached = CursorProgress(1.0).time_to_target([50.0, -3.0], 100.0, 7.5)
        >>> times.tolist(), reached.tolist()
        ([2.0, 7.5], [True, False])
        """
        speed = as_float_array("progress", progress)
        limit = positive("limit", limit)
        away = as_float_array("distance", distance)
        if np.any(away <= 0):
            raise InputError(f"distance must be positive; the smallest is {away.min():g} mm.")
        with np.errstate(divide="ignore"):
            times = np.where(speed > 0, away / np.where(speed > 0, speed, 1.0), np.inf)
        return np.minimum(times, limit), times <= limit

    # -- for simulate_animals --------------------------------------------------------------------

    def judged(self, outputs: Any, targets: Any) -> Array:
        """Return the part of the velocity along the target's direction, mm/s."""
        outputs, targets = vectors(outputs, targets, 2)
        length = np.linalg.norm(targets, axis=-1, keepdims=True)
        if np.any(length == 0):
            raise InputError("targets must not be zero: a cursor needs a direction to its target.")
        return np.asarray(self.gain * np.sum(outputs * (targets / length), axis=-1))

    def moments(self, judged: Array, deviation: Any = 0.0) -> tuple[Array, Array]:
        """Return mean and variance of a trial's progress; a session's deviation adds mm/s."""
        mean = judged + deviation
        return mean, np.full(mean.shape, self.noise**2)

    def draw(self, judged: Array, rng: np.random.Generator, deviation: Any = 0.0) -> Array:
        """Draw a trial's progress."""
        return np.asarray(judged + deviation + self.noise * rng.standard_normal(np.shape(judged)))
