"""From trials that were cut or stacked to a `Recording`: inputs, padding, what is left out."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from predictlearn.checks import as_float_array
from predictlearn.errors import InputError, SilentNeuronsWarning
from predictlearn.recordings.readers.binning import Cut
from predictlearn.recordings.readers.conditions import evaluate, listed
from predictlearn.recordings.readers.events import Columns, of_events, refuse_clock
from predictlearn.recordings.recording import Recording
from predictlearn.recordings.units import ask_activity

__all__ = ["assemble", "driven", "said", "select_rows", "sorted_times"]

Lookup = Callable[[object], "npt.NDArray[np.float64]"]


def driven(
    spec: object, cut: Cut, lookup: Lookup, columns: Columns, name: str = "inputs"
) -> npt.NDArray[np.float64]:
    """Build inputs (or outputs) from what was asked for.

    Parameters
    ----------
    spec : object
        None; "onset", a pulse of height 1/bin in the bin of the alignment; "go", a one from the
        alignment on; a row of events or a DataFrame of such rows, see `of_events`; anything that
        ``lookup`` knows; a sequence of these; or an array of shape (trials, time, columns), or
        (trials, columns) for values held from the alignment on.
    cut : Cut
        The bins.
    lookup : callable
        From a name to values, (trials,) to be held from the alignment on or
        (trials, time, columns).
    columns : Columns
        What rows of events refer to.
    name : str
        Name of the argument, for messages.

    Returns
    -------
    ndarray, shape (trials, time, columns)
        What drives the network, without a column for None; NaN where nothing was measured.

    Raises
    ------
    InputError
        A name that is not known, an array of another shape, an onset outside of the window, or
        clock times where values are asked for.
    """
    n_trials = len(cut.zero)
    if spec is None:
        return np.zeros((n_trials, cut.n_bins, 0))
    if isinstance(spec, pd.DataFrame):
        spec = spec.to_dict("records")
    if isinstance(spec, Mapping):
        return of_events(spec, cut, columns, name)[:, :, None]
    if isinstance(spec, list | tuple) and any(map(_is_part, spec)):
        parts = [driven(part, cut, lookup, columns, name) for part in spec]
        return np.concatenate(parts, axis=2)
    on = (cut.times >= -1e-6 * cut.bin).astype(float)
    if isinstance(spec, str) and spec in columns.words:
        bin_of_zero = int(np.floor(-cut.start / cut.bin + 1e-6))
        if not 0 <= bin_of_zero < cut.n_bins:
            raise InputError(
                f"{name}={spec!r} needs the alignment (time 0) in the window; the window is "
                f"({cut.start:g}, {cut.start + cut.n_bins * cut.bin:g})."
            )
        shape = np.zeros(cut.n_bins)
        shape[bin_of_zero] = 1.0 / cut.bin
        shape = shape if spec == "onset" else on
        return np.tile(shape[None, :, None], (n_trials, 1, 1))
    given = isinstance(spec, np.ndarray | list | tuple)
    try:
        values = np.asarray(spec if given else lookup(spec))
    except ValueError as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{name}: rows of an array must be of one length; {error}") from error
    if values.ndim == 1:
        values = values[:, None]
    if values.ndim == 2:
        held = as_float_array(name, values, shape=(n_trials, None), axes="(trials, columns)")
        for column in held.T:
            refuse_clock(name, None if given else str(spec), column, columns, cut)
        return np.where(on[None, :, None] > 0, held[:, None, :], 0.0)
    return as_float_array(
        name,
        values,
        shape=(n_trials, cut.n_bins, None),
        finite=False,
        axes="(trials, time, columns)",
    )


def _is_part(item: object) -> bool:
    """Say whether an item of a sequence is an input of its own, and not a number or a row."""
    return isinstance(item, str) or not (np.isscalar(item) or isinstance(item, list | tuple))


def select_rows(
    name: str, asked: object, table: pd.DataFrame, ids: npt.ArrayLike
) -> npt.NDArray[np.int64]:
    """Find the rows of a table that a query, a mask or a list of ids asks for.

    Parameters
    ----------
    name : str
        Name of the argument, for messages.
    asked : object
        None for all; a condition on the columns, see `evaluate`; a boolean mask; or ids.
    table : DataFrame
        The table.
    ids : array_like
        Its ids, one a row.

    Returns
    -------
    ndarray of int
        Row numbers, in the order asked.

    Raises
    ------
    InputError
        A condition that cannot be evaluated, a mask of another length, an id that is not there or
        that several rows have, or nothing left.
    """
    known = np.asarray(ids)
    if asked is None:
        rows = np.arange(len(table))
    elif isinstance(asked, str):
        try:
            mask = evaluate(asked, table.__getitem__, table.columns)
        except InputError as error:
            raise InputError(f"{name}: {error}") from error
        if np.shape(mask) != (len(table),) or mask.dtype.kind != "b":
            raise InputError(f"{name}={asked!r} must be true or false of every row.")
        rows = np.flatnonzero(mask)
    else:
        try:
            chosen = np.asarray(asked)
        except ValueError:
            chosen = np.array(None)
        if chosen.dtype == object:
            raise InputError(
                f"{name} must be a condition on the columns, a mask, or ids; got "
                f"{str(asked)[:100]!r}."
            )
        if chosen.dtype == bool:
            if chosen.shape != (len(table),):
                raise InputError(
                    f"{name}: the mask must have one value a row ({len(table)}); got shape "
                    f"{chosen.shape}."
                )
            rows = np.flatnonzero(chosen)
        else:
            place = {value: row for row, value in enumerate(known.tolist())}
            absent = [value for value in chosen.ravel().tolist() if value not in place]
            if absent:
                raise InputError(
                    f"{name}: there is no id {', '.join(map(repr, absent[:5]))}; ids are "
                    f"{listed(known.tolist())}."
                )
            number = Counter(known.tolist())
            shared = [value for value in chosen.ravel().tolist() if number[value] > 1]
            if shared:
                raise InputError(
                    f"{name}: {number[shared[0]]} rows have the id {shared[0]!r}, so that ids do "
                    "not say which is meant; choose by a condition on the columns, or by a mask."
                )
            rows = np.array([place[value] for value in chosen.ravel().tolist()], dtype=np.int64)
    if not rows.size:
        raise InputError(f"{name}={asked!r} leaves none of {len(table)} rows.")
    return rows.astype(np.int64)


def sorted_times(what: str, times: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Return times as a sorted float array, or raise.

    Parameters
    ----------
    what : str
        What they are times of, for the message.
    times : array_like
        The times, seconds.

    Returns
    -------
    ndarray
        The times.

    Raises
    ------
    InputError
        Times that are not finite, or that run backwards.
    """
    values = as_float_array(f"times of {what}", times, ndim=1)
    back = np.flatnonzero(np.diff(values) < 0)
    if back.size:
        raise InputError(
            f"times of {what} must not run backwards; they do after number {int(back[0])} "
            f"({values[back[0]]:g} s, then {values[back[0] + 1]:g} s)."
        )
    return values


def assemble(
    activity: npt.NDArray[np.float64],
    inputs: npt.NDArray[np.float64],
    outputs: npt.NDArray[np.float64] | None,
    *,
    dt: float,
    exists: npt.NDArray[np.bool_],
    table: pd.DataFrame,
    neurons: Sequence[Any],
    observed: str,
    metadata: Mapping[str, Any],
    sure: bool = False,
    how: str = "Say unit='ms' if they are milliseconds, or unit='s' if this is right.",
) -> Recording:
    """Make the recording: pad after the end of trials, and leave out what holds nothing.

    Parameters
    ----------
    activity : ndarray, shape (trials, time, neurons)
        Activity, NaN where missing.
    inputs : ndarray, shape (trials, time, n_in)
        Inputs; where a trial has ended they become zero.
    outputs : ndarray, shape (trials, time, n_out), optional
        Outputs.
    dt : float
        Width of a bin, seconds.
    exists : ndarray of bool, shape (trials, time)
        Which bins a trial has.
    table : DataFrame
        One row a trial; gains a column ``n_bins``, the bins that the trial has.
    neurons : sequence
        Ids of the neurons.
    observed : str
        As for `Recording`.
    metadata : mapping
        Metadata; gains ``neurons`` (ids kept), ``silent`` (ids left out) and, where trials end
        early, ``padding``.
    sure : bool
        Whether the unit of time was stated, so that unlikely bins and rates are not asked about.
    how : str
        How to state it.

    Returns
    -------
    Recording
        The recording.

    Warns
    -----
    SilentNeuronsWarning
        Neurons that have no value, or never change, were left out.
    UserWarning
        Trials without a single value were left out.

    Raises
    ------
    InputError
        Inputs that are missing in a bin that the trial has, bins or rates that no brain has, or
        what `Recording` refuses.
    """
    activity = np.where(exists[:, :, None], activity, np.nan)
    inputs = np.where(exists[:, :, None], inputs, 0.0)
    outputs = None if outputs is None else np.where(exists[:, :, None], outputs, np.nan)
    table = table.reset_index(drop=True).assign(n_bins=exists.sum(axis=1))
    seen = ~np.isnan(activity)
    kept = np.asarray(seen.any(axis=(1, 2)))
    if not kept.any():
        raise InputError(
            "no trial has a single bin with a value: the window lies outside of what was recorded."
        )
    if not kept.all():
        gone = np.flatnonzero(~kept)
        warnings.warn(
            f"{gone.size} of {len(kept)} trials have no value at all and were left out: rows "
            f"{listed(gone.tolist())}.",
            UserWarning,
            stacklevel=3,
        )
        activity, inputs, exists, seen = activity[kept], inputs[kept], exists[kept], seen[kept]
        outputs = None if outputs is None else outputs[kept]
        table = table.loc[kept]
    if not np.isfinite(inputs).all():
        trial, bin_, column = (int(i) for i in np.argwhere(~np.isfinite(inputs))[0])
        raise InputError(
            f"inputs must have a value in every bin of a trial; column {column} has none in bin "
            f"{bin_} of trial {trial} (rows from 0). Is it sampled more slowly than the bins of "
            f"{dt:g} s, or not over all of the window?"
        )
    low = np.where(seen, activity, np.inf).min(axis=(0, 1))
    high = np.where(seen, activity, -np.inf).max(axis=(0, 1))
    silent = ~(high > low)
    names = [_plain(name) for name in neurons]
    lost = [name for name, out in zip(names, silent, strict=True) if out]
    if silent.all():
        raise InputError("no neuron ever changes in these trials; there is nothing to fit.")
    if lost:
        warnings.warn(
            f"{len(lost)} of {len(names)} neurons never change in these trials, or have no value, "
            f"and were left out: {listed(lost)}.",
            SilentNeuronsWarning,
            stacklevel=3,
        )
    about = dict(metadata)
    about["neurons"] = [name for name, out in zip(names, silent, strict=True) if not out]
    about["silent"] = lost
    if not exists.all():
        about["padding"] = "after the end of a trial activity is NaN and inputs are 0; see n_bins"
    activity = activity[:, :, ~silent]
    if not sure:
        ask_activity(activity, dt, observed, how)
    return Recording(
        activity=activity,
        inputs=inputs,
        dt=dt,
        outputs=outputs,
        trials=table,
        observed=observed,
        metadata=about,
    )


def _plain(value: Any) -> Any:
    """Return a Python value for a numpy scalar, so that metadata can be written as JSON."""
    return value.item() if isinstance(value, np.generic) else value


def said(spec: object) -> Any:
    """Return what inputs were asked for, so that metadata can hold it.

    Parameters
    ----------
    spec : object
        As for `driven`.

    Returns
    -------
    object
        Words, rows and lists of these.
    """
    if isinstance(spec, list | tuple):
        return [said(part) for part in spec]
    if isinstance(spec, pd.DataFrame):
        return said(spec.to_dict("records"))
    if isinstance(spec, Mapping):
        return {str(key): value for key, value in spec.items() if value == value}
    return spec if spec is None or isinstance(spec, str) else "array"
