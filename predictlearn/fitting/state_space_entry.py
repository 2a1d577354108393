"""Activity, inputs and condition labels of the network with process noise, checked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from predictlearn.checks import as_float_array
from predictlearn.errors import InputError
from predictlearn.fitting.trials import padded
from predictlearn.recordings.entry import check_leading_axes

__all__ = ["Labels", "neurons_to_predict", "read_activity", "read_inputs"]

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Labels:
    """Conditions of trials.

    Parameters
    ----------
    known : ndarray or None
        The distinct labels, sorted; None where none were given.
    index : ndarray of int, shape (trials,)
        Condition of each trial.
    """

    known: npt.NDArray[Any] | None
    index: npt.NDArray[np.int64]

    @classmethod
    def of(cls, conditions: Any, trials: int) -> Labels:
        """Read labels, one a trial, or None."""
        if conditions is None:
            return cls(None, np.zeros(trials, dtype=np.int64))
        labels = np.asarray(conditions)
        if labels.shape != (trials,):
            raise InputError(
                f"conditions must have one label a trial ({trials}); got {labels.shape}"
            )
        if labels.dtype.kind == "f" and not np.isfinite(labels).all():
            raise InputError("conditions must not hold NaN; give such trials a label or drop them")
        known, index = np.unique(labels, return_inverse=True)
        return cls(known, index.astype(np.int64))

    @property
    def count(self) -> int:
        """Number of conditions."""
        return 1 if self.known is None else len(self.known)

    @property
    def names(self) -> list[str]:
        """Labels for tables."""
        return ["all"] if self.known is None else [str(label) for label in self.known]

    def enough_trials(self) -> None:
        """Refuse conditions of one trial each, whose inputs would explain them altogether."""
        if np.bincount(self.index).max() < 2:
            raise InputError(
                "inputs='estimate' needs conditions of two trials or more: what repeats is input, "
                f"what does not is noise; got {len(self.index)} trials of {self.count} conditions"
            )

    def again(self, conditions: Any, trials: int) -> Labels:
        """Read labels of new trials, which must be among these."""
        new = Labels.of(conditions, trials)
        if self.known is None:
            if conditions is not None:
                raise InputError("conditions were not given to fit; leave them out")
            return new
        if new.known is None:
            raise InputError("conditions were given to fit; give those of these trials")
        strange = [label for label in new.known.tolist() if label not in self.known.tolist()]
        if strange:
            raise InputError(
                f"conditions {strange[:5]} were not in fit, which had {self.known.tolist()[:10]}"
            )
        index = np.searchsorted(self.known, new.known)[new.index]
        return Labels(self.known, index.astype(np.int64))


def read_activity(activity: Any) -> Array:
    """Return activity (trials, time, neurons), NaN where missing; short trials of a list padded."""
    y = as_float_array("activity", padded("activity", activity), ndim=3, finite=False)
    if np.isnan(y).all(axis=(1, 2)).any():
        raise InputError("activity: some trials have no value at all; drop them")
    return y


def read_inputs(
    inputs: Any, y: Array, lengths: npt.NDArray[np.int64], n_in: int | None = None
) -> Array:
    """Return known inputs (trials, time, n_in), zero after the end of a trial.

    Parameters
    ----------
    inputs : array_like or None
        None for no inputs.
    y : ndarray, shape (trials, time, neurons)
        Activity.
    lengths : ndarray of int, shape (trials,)
        Bins of the trials.
    n_in : int, optional
        The number of inputs that there must be.

    Returns
    -------
    ndarray
        Inputs; without any, of shape (trials, time, 0).
    """
    if inputs is None:
        x = np.zeros((*y.shape[:2], 0))
    else:
        x = as_float_array("inputs", inputs, ndim=3, finite=False)
        check_leading_axes("inputs", x, y, "n_in")
    if n_in is not None and x.shape[2] != n_in:
        raise InputError(f"inputs must be the {n_in} of fit; got {x.shape[2]}")
    used = np.arange(y.shape[1]) < lengths[:, None]
    if not np.isfinite(x[used]).all():
        raise InputError("inputs must be finite up to the last bin of each trial with activity")
    return np.where(used[:, :, None], x, 0.0)


def neurons_to_predict(held_out: Any, n: int) -> npt.NDArray[np.int64]:
    """Check which of n neurons to predict from the others."""
    if held_out is None:
        raise InputError("metric='co-smoothing' needs held_out, indices of neurons")
    given = np.asarray(held_out)
    if given.dtype.kind not in "iu" or not np.isin(given, np.arange(n)).all() or not given.size:
        raise InputError(f"held_out must be indices below {n}; got {held_out!r}")
    out = np.unique(given).astype(np.int64)
    if len(out) == n:
        raise InputError("held_out must leave some neurons to predict from")
    return out
