"""Recordings from arrays by name: axes in any order, trials of unequal length, padding."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from predictlearn.checks import as_float_array, positive
from predictlearn.errors import InputError, choice
from predictlearn.recordings.assembly import assemble
from predictlearn.recordings.recording import Recording
from predictlearn.recordings.storage import read_npz

__all__ = ["read_arrays", "recording_of"]

Array = npt.NDArray[np.float64]
# Takes a key; gives one array, or a list with one array a trial.
Getter = Callable[[str], "npt.NDArray[Any] | list[npt.NDArray[Any]]"]


def read_arrays(
    source: str | os.PathLike[str] | Mapping[str, Any],
    activity: str = "activity",
    *,
    inputs: str | Sequence[str] | None = None,
    outputs: str | None = None,
    dt: float | str = "dt",
    axes: str = "trials, time, neurons",
    trials: Mapping[str, str] | None = None,
    trial_index: str | None = None,
    observed: str = "rate",
) -> Recording:
    """Read a recording from arrays of any name and order of axes.

    Trials of unequal length are padded to the longest: activity with NaN, inputs with zero.

    Parameters
    ----------
    source : path or mapping
        An .npz file, or arrays by name; a list of arrays stands for one array a trial.
    activity : str
        Name of the activity.
    inputs : str or sequence of str, optional
        Names of inputs: (trials, time, n_in) in the order of ``axes``; (trials, time) for one
        input; (trials, n_in) or (trials,) for values that are held over a trial.
    outputs : str, optional
        Name of outputs, likewise.
    dt : float or str
        Width of a bin, seconds, or the name of that number.
    axes : str
        Order of the axes, for example "neurons, time, trials"; inputs and outputs have theirs in
        the place of "neurons". For one array a trial, and with ``trial_index``, "trials" does not
        count.
    trials : mapping of str to str, optional
        Columns of the trial table, and the name of the array for each.
    trial_index : str, optional
        Name of a vector with the number of the trial of every bin, where activity is stored as
        (bins, neurons), all trials one after the other.
    observed : str
        "rate", "current" or "counts".

    Returns
    -------
    Recording
        The recording; the trial table has a column ``n_bins``.

    Warns
    -----
    SilentNeuronsWarning
        Neurons that never change were left out.

    Raises
    ------
    InputError
        A name that is not there (with what is there), axes that cannot be, or shapes that do not
        fit.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> r = read_arrays(
    ...     {"spikes": rng.poisson(2.0, (5, 20, 8)), "side": rng.normal(size=8)},
    ...     "spikes", inputs="side", dt=0.05, axes="neurons, time, trials", observed="counts",
    ... )
    >>> r.activity.shape, r.inputs.shape
    ((8, 20, 5), (8, 20, 1))
    """
    if isinstance(source, Mapping):
        content, about = source, {"name": "arrays"}
    else:
        content = read_npz(source)
        about = {"name": Path(source).stem, "file": Path(source).name}

    def get(key: str) -> Any:
        choice("name of an array", key, map(str, content))
        value = content[key]
        if isinstance(value, list | tuple):
            return [np.asarray(item) for item in value]
        return np.asarray(value)

    return recording_of(
        get, activity, inputs, outputs, dt, axes, trials, trial_index, observed, about
    )


def recording_of(
    get: Getter,
    activity: str,
    inputs: str | Sequence[str] | None,
    outputs: str | None,
    dt: float | str,
    axes: str,
    trials: Mapping[str, str] | None,
    trial_index: str | None,
    observed: str,
    metadata: Mapping[str, Any],
) -> Recording:
    """Make a recording of what a file holds by name; arguments as for `read_arrays`.

    Parameters
    ----------
    get : callable
        From a name to an array, or to a list with one array a trial.
    activity, inputs, outputs, dt, axes, trials, trial_index, observed : object
        As for `read_arrays`.
    metadata : mapping
        Metadata.

    Returns
    -------
    Recording
        The recording.

    Raises
    ------
    InputError
        As for `read_arrays`.
    """
    order = _axes(axes)
    width = _bin_width(get, dt)
    index = None if trial_index is None else np.asarray(_one(get, trial_index)).ravel()
    split = _Split(order, index)
    recorded = split.by_trial("activity", get(activity))
    lengths = [len(part) for part in recorded]
    columns = {len(part.T) for part in recorded}
    if len(columns) > 1:
        raise InputError(
            f"activity: all trials must have the same neurons; got {sorted(columns)} of them, read "
            f"as ({', '.join(order)})."
        )
    names = [inputs] if isinstance(inputs, str) else list(inputs or ())
    parts = [split.beside(f"inputs ({name})", get(name), lengths) for name in names]
    drive = [np.concatenate(one, axis=1) for one in zip(*parts, strict=True)]
    shown = None if outputs is None else split.beside(f"outputs ({outputs})", get(outputs), lengths)
    n_bins = max(lengths)
    stacked = _padded(recorded, n_bins)
    n_trials = len(recorded)
    # a trial ends with the last bin in which any neuron has a value
    seen = np.asarray(np.any(~np.isnan(stacked), axis=2))
    ends = np.where(seen.any(axis=1), n_bins - np.argmax(seen[:, ::-1], axis=1), 0)
    table = pd.DataFrame({"trial": split.numbers if index is not None else np.arange(n_trials)})
    for column, key in (trials or {}).items():
        table[column] = split.of_trials(f"trials[{column!r}]", _one(get, key), n_trials)
    return assemble(
        stacked,
        _padded(drive, n_bins) if drive else np.zeros((n_trials, n_bins, 0)),
        None if shown is None else _padded(shown, n_bins),
        dt=width,
        exists=np.arange(n_bins) < ends[:, None],
        table=table,
        neurons=list(range(stacked.shape[2])),
        observed=observed,
        metadata={**metadata, "activity": activity, "inputs": names or None},
    )


class _Split:
    """How arrays are laid out, and how they are split into trials."""

    def __init__(self, order: tuple[str, ...], index: npt.NDArray[Any] | None) -> None:
        self.order = order
        self.flat = tuple(axis for axis in order if axis != "trials")
        self.index = index
        if index is not None:
            self.numbers, first = np.unique(index, return_index=True)
            self.numbers = self.numbers[np.argsort(first)]
            self.first = np.sort(first)

    def by_trial(self, name: str, value: Any) -> list[Array]:
        """Return one (time, columns) array a trial."""
        if isinstance(value, list):
            parts = [as_float_array(name, one, ndim=2, finite=False) for one in value]
            return [one if self.flat[0] == "time" else one.T for one in parts]
        if self.index is not None:
            bins = as_float_array(name, value, ndim=2, finite=False)
            bins = bins if self.flat[0] == "time" else bins.T
            if len(bins) != len(self.index):
                raise InputError(
                    f"{name}: trial_index has {len(self.index)} bins and {name} {len(bins)}, read "
                    f"as ({', '.join(self.flat)})."
                )
            return [bins[self.index == number] for number in self.numbers]
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
            if self.index is not None and len(self.index) in array.shape:
                if _vector(array):
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
        if _vector(array) and array.size == n_bins:
            return array.reshape(n_bins, 1)
        if array.ndim == 1 or (_vector(array) and self.flat[0] == "neurons"):
            return np.tile(array.ravel(), (n_bins, 1))
        return array if self.flat[0] == "time" else array.T

    def _two_axes(self, name: str, array: npt.NDArray[Any], lengths: list[int]) -> list[Array]:
        """Return one input of every bin, or values held over a trial."""
        n_trials, n_bins = len(lengths), max(lengths)
        values = as_float_array(name, array, finite=False)
        if _vector(values) and values.size == n_trials:
            values = values.reshape(n_trials, 1)
        elif values.ndim == 2:
            first = next(axis for axis in self.order if axis != "neurons")
            turned = values if first == "trials" else values.T
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
        if self.index is not None and len(values) == len(self.index) != n_trials:
            return np.asarray(values[self.first])
        if len(values) != n_trials:
            raise InputError(f"{name} must have one value a trial ({n_trials}); got {len(values)}.")
        return values


def _vector(array: npt.NDArray[Any]) -> bool:
    """Say whether an array has one axis that is longer than one, at most."""
    return array.ndim == 1 or (array.ndim == 2 and 1 in array.shape)


def _axes(text: str) -> tuple[str, ...]:
    """Return the names of the axes in order."""
    names = tuple(text.replace(",", " ").split()) if isinstance(text, str) else ()
    if sorted(names) != ["neurons", "time", "trials"]:
        raise InputError(
            f"axes must be 'trials, time, neurons' in the order of the arrays; got {text!r}."
        )
    return names


def _bin_width(get: Getter, dt: float | str) -> float:
    """Return the width of a bin, given or stored."""
    if not isinstance(dt, str):
        return positive("dt", dt)
    value = np.asarray(_one(get, dt))
    if value.size != 1:
        raise InputError(f"dt: {dt!r} must be one number of seconds; it has shape {value.shape}.")
    return positive("dt", float(value.ravel()[0]))


def _one(get: Getter, key: str) -> npt.NDArray[Any]:
    """Return one array, or raise where the name stands for a list."""
    value = get(key)
    if isinstance(value, list):
        if all(np.size(item) == 1 for item in value):
            return np.array([np.asarray(item).ravel()[0] for item in value])
        raise InputError(f"{key!r} must be one array; it is a list of {len(value)}.")
    return value


def _padded(parts: list[Array], n_bins: int) -> Array:
    """Stack trials, NaN after their ends."""
    stacked = np.full((len(parts), n_bins, parts[0].shape[1]), np.nan)
    for trial, part in enumerate(parts):
        stacked[trial, : len(part)] = part
    return stacked
