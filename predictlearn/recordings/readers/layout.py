"""How arrays are laid out: the order of their axes, and which bins belong to which trial."""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from predictlearn.arrays import Array
from predictlearn.checks import as_float_array
from predictlearn.errors import InputError
from predictlearn.recordings.readers.conditions import listed

__all__ = ["Split", "TrialCounter", "axes_of", "is_vector", "padded", "trials_of_bins"]


class TrialCounter(NamedTuple):
    """Which trial each bin belongs to.

    Parameters
    ----------
    trial : ndarray of int, shape (bins,)
        Number of the trial of each bin, from 0; -1 between trials.
    label : ndarray, shape (trials,)
        The stored number or name of each trial.
    block : ndarray of int, shape (trials,)
        How often the counter had begun, from 1.
    """

    trial: npt.NDArray[np.int64]
    label: npt.NDArray[Any]
    block: npt.NDArray[np.int64]


def trials_of_bins(name: str, stored: npt.ArrayLike) -> TrialCounter:
    """Find the trials in a vector with the number (or name) of the trial of every bin.

    A counter that begins again counts other trials. Bins without a number (NaN, empty or negative),
    and those of a zero that stands between all trials, belong to none.

    Parameters
    ----------
    name : str
        Name of the argument, for messages.
    stored : array_like, shape (bins,)
        The vector.

    Returns
    -------
    TrialCounter
        The trials, in the order of the bins.

    Warns
    -----
    UserWarning
        Bins between trials were left out.

    Raises
    ------
    InputError
        Numbers that come back in another way: they do not say which bins are one trial.

    Examples
    --------
    >>> trials_of_bins("trial_index", [1, 1, 2, 2, 1, 1, 2, 2]).trial.tolist()
    [0, 0, 1, 1, 2, 2, 3, 3]
    """
    values = np.asarray(stored).ravel()
    codes = np.asarray(pd.factorize(values)[0], dtype=np.int64)
    numeric = values.dtype.kind in "biuf"
    if numeric:
        codes = np.where(np.nan_to_num(values.astype(float), nan=-1.0) < 0, -1, codes)
    else:
        codes = np.where(values.astype(str) == "", -1, codes)
    first = np.flatnonzero(np.diff(codes, prepend=-2))
    run = np.cumsum(np.diff(codes, prepend=-2) != 0) - 1
    inside = codes[first] >= 0
    if numeric and inside.any():
        inside &= ~_between(values[first].astype(float), inside)
    number = np.where(inside, np.cumsum(inside) - 1, -1)
    trial = number[run]
    kept = first[inside]
    if not len(kept):
        raise InputError(f"{name} has no number of a trial in any bin.")
    block = np.ones(len(kept), dtype=np.int64)
    if len(np.unique(codes[kept])) < len(kept):
        single = np.median(np.bincount(trial[trial >= 0])) < 2
        again = _restarts(values[kept].astype(float)) if numeric and not single else None
        if again is None:
            raise InputError(
                f"{name}: the same number comes back, and not as that of a counter that begins "
                f"again ({listed(values[kept], 10)} ...). Bins of one trial must stand together; "
                "give each trial a number of its own."
            )
        block = again
    gone = int((trial < 0).sum())
    if gone:
        warnings.warn(
            f"{name}: {gone} of {len(values)} bins stand between trials ({len(kept)} of them), and "
            "were left out.",
            UserWarning,
            stacklevel=4,
        )
    return TrialCounter(trial, values[kept], block)


def _between(values: Array, inside: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Say which runs of zero stand between trials: every other run is one, and several differ."""
    zero = inside & (values == 0)
    others = values[inside & ~zero]
    alternate = not (zero[1:] == zero[:-1]).any()
    if zero.sum() > 1 and alternate and len(np.unique(others)) > 1:
        return zero
    return np.zeros(len(values), dtype=bool)


def _restarts(values: Array) -> npt.NDArray[np.int64] | None:
    """Return how often a counter had begun, or None where it is no such counter."""
    begins = np.diff(values, prepend=np.inf) <= 0
    same = bool((values[begins] == values.min()).all())
    several = 2 * int(begins.sum()) <= len(values)
    # zero and one alone may as well say when a trial is on
    flag = set(np.unique(values)) <= {0.0, 1.0}
    return np.cumsum(begins) if same and several and not flag else None


class Split:
    """How arrays are laid out, and how they are split into trials.

    Parameters
    ----------
    order : tuple of str
        Order of the axes.
    index : ndarray, shape (bins,), optional
        Number of the trial of every bin, where all trials are stored one after the other.

    Raises
    ------
    InputError
        Numbers that do not say which bins are one trial.
    """

    def __init__(self, order: tuple[str, ...], index: npt.NDArray[Any] | None) -> None:
        self.order = order
        self.flat = tuple(axis for axis in order if axis != "trials")
        self.counted = None if index is None else trials_of_bins("trial_index", index)

    def by_trial(self, name: str, value: Any) -> list[Array]:
        """Return one (time, columns) array a trial."""
        if isinstance(value, list):
            parts = [as_float_array(name, one, ndim=2, finite=False) for one in value]
            return [one if self.flat[0] == "time" else one.T for one in parts]
        if self.counted is not None:
            bins = as_float_array(name, value, ndim=2, finite=False)
            bins = bins if self.flat[0] == "time" else bins.T
            if len(bins) != len(self.counted.trial):
                raise InputError(
                    f"{name}: trial_index has {len(self.counted.trial)} bins and {name} "
                    f"{len(bins)}, read as ({', '.join(self.flat)})."
                )
            n_trials = len(self.counted.label)
            return [bins[self.counted.trial == number] for number in range(n_trials)]
        array = as_float_array(name, value, ndim=3, finite=False, axes=f"({', '.join(self.order)})")
        axes = [self.order.index(axis) for axis in ("trials", "time", "neurons")]
        return list(array.transpose(axes))

    def beside(self, name: str, value: Any, lengths: list[int]) -> list[Array]:
        """Return one (time, columns) array a trial, of the lengths of the activity."""
        n_trials = len(lengths)
        if isinstance(value, list):
            if len(value) != n_trials:
                raise InputError(
                    f"{name} must have {n_trials} trials as activity; got {len(value)}."
                )
            pairs = zip(value, lengths, strict=True)
            parts = [self._like(name, np.atleast_1d(one), n) for one, n in pairs]
        else:
            array = np.asarray(value)
            if self.counted is not None and len(self.counted.trial) in array.shape:
                if is_vector(array):
                    array = array.reshape((-1, 1) if self.flat[0] == "time" else (1, -1))
                parts = self.by_trial(name, array)
            elif array.ndim == 3:
                parts = self.by_trial(name, array)
            else:
                parts = self._two_axes(name, array, lengths)
        if len(parts) != n_trials:
            raise InputError(f"{name} must have {n_trials} trials as activity; got {len(parts)}.")
        for trial, (part, n) in enumerate(zip(parts, lengths, strict=True)):
            if part.shape[0] != n:
                raise InputError(
                    f"{name}: trial {trial} has {part.shape[0]} bins, and activity {n}; both are "
                    f"read as ({', '.join(self.order)})."
                )
        return parts

    def _like(self, name: str, one: npt.NDArray[Any], n_bins: int) -> Array:
        """Return the values of one trial as (time, columns); a single row or column is a series."""
        array = as_float_array(name, one, finite=False)
        if is_vector(array) and array.size == n_bins:
            return array.reshape(n_bins, 1)
        if array.ndim == 1 or (is_vector(array) and self.flat[0] == "neurons"):
            return np.tile(array.ravel(), (n_bins, 1))
        return array if self.flat[0] == "time" else array.T

    def _two_axes(self, name: str, array: npt.NDArray[Any], lengths: list[int]) -> list[Array]:
        """Return one input of every bin, or values held over a trial."""
        n_trials, n_bins = len(lengths), max(lengths)
        values = as_float_array(name, array, finite=False)
        if is_vector(values) and values.size == n_trials:
            values = values.reshape(n_trials, 1)
        elif values.ndim == 2:
            first = next(axis for axis in self.order if axis != "neurons")
            # in the order of the axes, or the other where only that fits
            for turned in (values, values.T) if first == "trials" else (values.T, values):
                if turned.shape == (n_trials, n_bins):
                    return [row[:n, None] for row, n in zip(turned, lengths, strict=True)]
            if len(values) != n_trials and values.shape[1] == n_trials:
                values = values.T
        if values.ndim != 2 or len(values) != n_trials:
            raise InputError(
                f"{name} must have {n_trials} trials: ({', '.join(self.order)}), (trials, time), "
                f"or (trials, columns) for values held over a trial; got shape {array.shape}."
            )
        return [np.tile(row, (n, 1)) for row, n in zip(values, lengths, strict=True)]

    def of_trials(self, name: str, value: npt.NDArray[Any], n_trials: int) -> npt.NDArray[Any]:
        """Return one value a trial."""
        values = np.asarray(value).ravel()
        if self.counted is not None and len(values) == len(self.counted.trial) != n_trials:
            column = pd.Series(values).groupby(
                np.where(self.counted.trial < 0, np.nan, self.counted.trial)
            )
            varying = np.flatnonzero(column.nunique(dropna=False).to_numpy() > 1)
            if varying.size:
                raise InputError(
                    f"{name} must be the same in all bins of a trial; it is not in "
                    f"trial {self.counted.label[varying[0]]!r}."
                )
            return np.asarray(column.first())
        if len(values) != n_trials:
            raise InputError(f"{name} must have one value a trial ({n_trials}); got {len(values)}.")
        return values


def is_vector(array: npt.NDArray[Any]) -> bool:
    """Say whether an array has one axis that is longer than one, at most."""
    return array.ndim == 1 or (array.ndim == 2 and 1 in array.shape)


def axes_of(text: str) -> tuple[str, ...]:
    """Return the names of the axes in order."""
    names = tuple(text.replace(",", " ").split()) if isinstance(text, str) else ()
    if sorted(names) != ["neurons", "time", "trials"]:
        raise InputError(
            f"axes must be 'trials, time, neurons' in the order of the arrays; got {text!r}."
        )
    return names


def padded(parts: list[Array], n_bins: int) -> Array:
    """Stack trials, NaN after their ends."""
    stacked = np.full((len(parts), n_bins, parts[0].shape[1]), np.nan)
    for trial, part in enumerate(parts):
        stacked[trial, : len(part)] = part
    return stacked
