"""Recordings from long tables: one row for each trial, time and neuron."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from predictlearn.checks import positive
from predictlearn.errors import InputError, choice
from predictlearn.recordings.assembly import assemble
from predictlearn.recordings.recording import Recording

__all__ = ["from_table"]


def from_table(
    table: pd.DataFrame,
    *,
    trial: str = "trial",
    time: str = "time",
    neuron: str = "neuron",
    value: str = "value",
    inputs: str | Sequence[str] = (),
    outputs: str | Sequence[str] = (),
    dt: float | None = None,
    observed: str = "rate",
    name: str = "table",
) -> Recording:
    """Make a recording of a table with one row for each trial, time and neuron.

    Rows may come in any order, and rows may be missing: what has no row is NaN. Trials may be of
    unequal length; after the end of a trial activity is NaN and inputs are zero.

    Parameters
    ----------
    table : DataFrame
        The table.
    trial, time, neuron, value : str
        Columns: number or name of the trial; time in the trial, seconds, on a regular grid; number
        or name of the neuron; what was measured.
    inputs, outputs : str or sequence of str
        Columns of inputs and outputs. Their values must not differ between neurons.
    dt : float, optional
        Width of a bin, seconds. Default: the smallest step between times.
    observed : str
        "rate", "current" or "counts".
    name : str
        Kept as ``metadata["name"]``.

    Returns
    -------
    Recording
        The recording, trials and neurons in the order in which they first come. Every further
        column that is constant in a trial goes into the trial table.

    Warns
    -----
    SilentNeuronsWarning
        Neurons that never change were left out.

    Raises
    ------
    InputError
        A column that is missing, times off the grid, two rows for one value, or inputs that differ
        between neurons or are missing in a bin.

    Examples
    --------
    >>> grid = pd.MultiIndex.from_product(
    ...     [range(3), [0.0, 0.1, 0.2], ["a", "b"]], names=["trial", "time", "neuron"]
    ... ).to_frame(index=False)
    >>> grid["value"] = np.random.default_rng(0).normal(size=len(grid))
    >>> grid["stim"] = (grid["time"] == 0.1).astype(float)
    >>> r = from_table(grid, inputs="stim")
    >>> r.activity.shape, r.inputs[0, :, 0].tolist(), r.dt
    ((3, 3, 2), [0.0, 1.0, 0.0], 0.1)
    """
    if not isinstance(table, pd.DataFrame):
        raise InputError(f"table must be a pandas DataFrame; got {type(table).__name__}.")
    columns = [str(column) for column in table.columns]
    ins = [inputs] if isinstance(inputs, str) else list(inputs)
    outs = [outputs] if isinstance(outputs, str) else list(outputs)
    keys = {"trial": trial, "time": time, "neuron": neuron, "value": value}
    asked = [*keys.items(), *(("inputs", c) for c in ins), *(("outputs", c) for c in outs)]
    for argument, column in asked:
        choice(argument, column, columns)
    if not len(table):
        raise InputError("table has no rows.")
    for argument, column in asked:
        if argument not in ("trial", "neuron") and table[column].dtype.kind not in "biuf":
            raise InputError(f"column {column!r} ({argument}) must hold numbers.")
    for column in (trial, time, neuron):
        if table[column].isna().any():
            raise InputError(f"column {column!r} must have a value in every row.")
    row_trial, trials = pd.factorize(table[trial])
    row_neuron, neurons = pd.factorize(table[neuron])
    row_bin, width = _bins(table[time].to_numpy(dtype=float), dt, time)
    shape = (len(trials), int(row_bin.max()) + 1, len(neurons))
    flat = np.ravel_multi_index((row_trial, row_bin, row_neuron), shape)
    if len(np.unique(flat)) < len(flat):
        row = int(np.flatnonzero(pd.Series(flat).duplicated())[0])
        first = table.iloc[row]
        raise InputError(
            f"table has two rows for trial {first[trial]!r}, time {first[time]:g}, neuron "
            f"{first[neuron]!r}; there must be one."
        )
    activity = np.full(shape, np.nan)
    activity.ravel()[flat] = table[value].to_numpy(dtype=float)
    cells = np.ravel_multi_index((row_trial, row_bin), shape[:2])
    drive = [_of_bins(table, column, cells, shape) for column in ins]
    shown = [_of_bins(table, column, cells, shape) for column in outs]
    last = np.zeros(shape[0], dtype=np.int64)
    np.maximum.at(last, row_trial, row_bin)
    return assemble(
        activity,
        np.stack(drive, axis=2) if drive else np.zeros((*shape[:2], 0)),
        np.stack(shown, axis=2) if shown else None,
        dt=width,
        exists=np.arange(shape[1]) <= last[:, None],
        table=_of_trials(table, [*keys.values(), *ins, *outs], trial, row_trial, trials),
        neurons=list(neurons),
        observed=observed,
        metadata={"name": name, "inputs": ins or None},
    )


def _bins(times: np.ndarray, dt: float | None, column: str) -> tuple[np.ndarray, float]:
    """Return the bin of each row and the width of a bin."""
    if not np.isfinite(times).all():
        raise InputError(f"column {column!r} must be finite.")
    values = np.unique(times)
    if dt is None:
        steps = np.diff(values)
        # two times that differ by rounding are one
        steps = steps[steps > 1e-9 * max(1.0, float(np.abs(values).max()))]
        if not steps.size:
            raise InputError(f"column {column!r} has a single time; give dt=, or more times.")
        dt = float(f"{steps.min():.9g}")
    width = positive("dt", dt)
    place = (times - values[0]) / width
    bins = np.round(place)
    off = np.abs(place - bins)
    if off.max() > 1e-3:
        worst = int(np.argmax(off))
        raise InputError(
            f"column {column!r} must lie on a grid of steps of {width:g} s from {values[0]:g} s; "
            f"row {worst} has {times[worst]:g}. Times count from the start of each trial."
        )
    return bins.astype(np.int64), width


def _of_bins(
    table: pd.DataFrame, column: str, cells: np.ndarray, shape: tuple[int, int, int]
) -> np.ndarray:
    """Return a column that does not depend on the neuron, (trials, time)."""
    values = table[column].to_numpy(dtype=float)
    grouped = pd.Series(values).groupby(cells)
    differ = np.flatnonzero((grouped.max() - grouped.min()).to_numpy() > 0)
    if differ.size:
        cell = int(grouped.min().index[differ[0]])
        row = table.iloc[int(np.flatnonzero(cells == cell)[0])]
        raise InputError(
            f"column {column!r} must be the same for all neurons of a bin; it is not in row "
            f"{row.name!r} and the other rows of that trial and time."
        )
    filled = np.full(shape[0] * shape[1], np.nan)
    first = grouped.first()
    filled[first.index.to_numpy()] = first.to_numpy()
    return filled.reshape(shape[:2])


def _of_trials(
    table: pd.DataFrame, used: list[str], trial: str, rows: np.ndarray, names: Any
) -> pd.DataFrame:
    """Return the trial table: names, and further columns that are constant in a trial."""
    found = pd.DataFrame({"trial": np.asarray(names)})
    for column in table.columns:
        if column not in used and column not in found:
            grouped = table[column].groupby(rows)
            if int(grouped.nunique(dropna=False).max()) == 1:
                found[column] = grouped.first().to_numpy()
    return found
