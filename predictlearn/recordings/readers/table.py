"""Recordings from tables: one row for each trial, time and neuron, or a column for each neuron."""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from predictlearn.checks import as_float_array, names_of, positive
from predictlearn.doors import room
from predictlearn.errors import InputError, choice
from predictlearn.recordings.readers.assembly import assemble, driven, said
from predictlearn.recordings.readers.binning import Cut
from predictlearn.recordings.readers.conditions import listed
from predictlearn.recordings.readers.continuous import Piece, cut_piece
from predictlearn.recordings.readers.events import Columns, refuse_clock
from predictlearn.recordings.readers.layout import trials_of_bins
from predictlearn.recordings.readers.padding import trial_lengths
from predictlearn.recordings.recording import Recording
from predictlearn.recordings.units import seconds_in

__all__ = ["from_table"]

# a grid that is so many times as large as its rows, and has so many cells, is no grid
_EMPTIEST, _MANY_CELLS, _MOST_BINS = 100, 10_000_000, 1e9
# columns that a wide table has when it was made long
_NEURON, _VALUE = "neuron (column)", "value (of column)"


def from_table(
    table: pd.DataFrame,
    *,
    trial: str | Sequence[str] = "trial",
    time: str = "time",
    neuron: str | Sequence[str] = "neuron",
    value: str = "value",
    inputs: Any = (),
    outputs: Any = (),
    dt: float | None = None,
    observed: str = "rate",
    name: str = "table",
    unit: str | float | None = None,
    align: Any = None,
    window: tuple[float, float] | None = None,
    lengths: str | None = None,
    fill: float | None = None,
) -> Recording:
    """Make a recording of a table with one row for each trial, time and neuron.

    Rows may come in any order, and rows may be missing: what has no row is NaN. Trials may be of
    unequal length; after the end of a trial activity is NaN and inputs are zero.

    Parameters
    ----------
    table : DataFrame
        The table.
    trial, time, value : str
        Columns: number or name of the trial (or several columns that name it together, block and
        trial); time on a regular grid, from the start of each trial or on a clock that runs on;
        what was measured.
    neuron : str or sequence of str
        Column with the number or name of the neuron. Of a wide table, with one row for each trial
        and time: the columns of the neurons, or a pattern of their names ("unit_*").
    inputs, outputs : str, mapping, DataFrame or sequence, optional
        Columns of inputs and outputs. Their values must not differ between neurons. Or rows of
        events, as for `read_nwb`, whose columns are constant in a trial; times are those of the
        column ``time``.
    dt : float, optional
        Width of a bin. Default: the smallest step between times.
    observed : str
        "rate", "current" or "counts".
    name : str
        Kept as ``metadata["name"]``.
    unit : str or float, optional
        Unit of times and ``dt``, as for `read_arrays`.
    align, window : optional
        Of a table without trials: times of events (or a column that is one where an event is on,
        else zero) and the window about them in seconds, as for `read_arrays`.
    lengths : {"zeros", "full"}, optional
        Whether a trial ends where all neurons stay zero, as for `read_arrays`.
    fill : float, optional
        What a missing row means, up to the last row of its trial: 0 in a table of counts without
        rows of zero. By default it is missing (NaN).

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
        A column that is missing, times off the grid, two rows for one value, trials that come back,
        inputs that differ between neurons or are missing in a bin, trials that seem to be padded
        with zeros, or times that cannot be seconds.

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
    if not len(table):
        raise InputError("table has no rows.")
    if fill is not None and (isinstance(fill, bool) or not isinstance(fill, int | float)):
        raise InputError(f"fill must be a number, or nan; got {fill!r}.")
    if not table.columns.is_unique:
        raise InputError("columns of a table must have names of their own; some come twice.")
    table = table.reset_index(drop=True)
    second = seconds_in("unit", unit)
    wide = _neuron_columns(table, neuron)
    ins, outs = _parts(inputs), _parts(outputs)
    asked = [
        (argument, one)
        for argument, parts in (("inputs", ins), ("outputs", outs))
        for one in parts
        if isinstance(one, str) and one not in ("onset", "go")
    ]
    keys = {"time": time} if wide else {"time": time, "neuron": str(neuron), "value": value}
    several = names_of("trial", trial)
    named = [] if align is not None else [("trial", column) for column in several]
    columns = [str(column) for column in table.columns]
    for argument, column in [*named, *keys.items(), *asked]:
        try:
            choice(argument, column, columns)
        except InputError as error:
            hints = {
                "trial": " A table without trials is cut around events by align= and window=.",
                "neuron": " Of a table with a column for each neuron, name these, or a pattern of "
                "their names: neuron='unit_*'.",
            }
            raise InputError(f"{error}{hints.get(argument, '')}") from error
    both = [column for column in (*several, time) if column in wide]
    if both:
        raise InputError(f"neuron: {both[0]!r} is a column of trials or times, and of no neuron.")
    for argument, column in [*keys.items(), *asked, *(("neuron", column) for column in wide)]:
        if (wide or argument != "neuron") and table[column].dtype.kind not in "biuf":
            raise InputError(f"column {column!r} ({argument}) must hold numbers.")
    for column in [*(column for _, column in named), *keys.values()]:
        if column != value and table[column].isna().any():
            raise InputError(f"column {column!r} must have a value in every row.")
    if wide:
        rest = [column for column in table.columns if column not in wide]
        long = table.melt(rest, wide, var_name=_NEURON, value_name=_VALUE, ignore_index=False)
        table = long.sort_index(kind="stable")
        neuron, value = _NEURON, _VALUE
    rows = _rows_of(table, str(neuron), value, time, second, dt)
    more = {
        "neurons": list(rows.neurons),
        "observed": observed,
        "metadata": {"name": name, "inputs": said(ins) or None},
        "sure": unit is not None,
    }
    if align is not None:
        return _of_one_piece(rows, align, window, ins, outs, more)
    if window is not None:
        raise InputError("window= goes with align=, the events to cut a recording around.")
    used = [*several, *keys.values(), str(neuron), value]
    return _of_trials(rows, several, used, lengths, fill, ins, outs, more)


@dataclass(frozen=True, eq=False)
class _Rows:
    """The rows of a long table."""

    table: pd.DataFrame
    neuron: np.ndarray
    neurons: Any
    values: np.ndarray
    times: np.ndarray
    dt: float | None
    column: str
    second: float


def _rows_of(
    table: pd.DataFrame, neuron: str, value: str, time: str, second: float, dt: float | None
) -> _Rows:
    """Return the rows with times in seconds."""
    times = table[time].to_numpy(dtype=float) * second
    if not np.isfinite(times).all():
        raise InputError(f"column {time!r} must be finite.")
    number, neurons = pd.factorize(table[neuron])
    width = None if dt is None else positive("dt", dt) * second
    values = table[value].to_numpy(dtype=float)
    return _Rows(table, number, neurons, values, times, width, time, second)


def _neuron_columns(table: pd.DataFrame, neuron: str | Sequence[str]) -> list[str]:
    """Return the columns of neurons of a wide table; none for a long one."""
    columns = [str(column) for column in table.columns]
    if not isinstance(neuron, str):
        return [choice("neuron", column, columns) for column in names_of("neuron", neuron)]
    if neuron in columns or not any(sign in neuron for sign in "*?["):
        return []
    found = fnmatch.filter(columns, neuron)
    if not found:
        raise InputError(f"neuron: no column is called {neuron!r}; there are {listed(columns)}.")
    return found


def _parts(spec: Any) -> list[Any]:
    """Return inputs one by one."""
    if isinstance(spec, pd.DataFrame):
        return list(spec.to_dict("records"))
    if spec is None:
        return []
    if not isinstance(spec, str | Mapping | list | tuple):
        raise InputError(
            "inputs and outputs must be columns, rows of events, or a list of these; got "
            f"{type(spec).__name__}."
        )
    return [spec] if isinstance(spec, str | Mapping) else list(spec)


def _of_one_piece(
    rows: _Rows, align: Any, window: object, ins: list[Any], outs: list[Any], more: dict[str, Any]
) -> Recording:
    """Cut a table without trials around events."""
    bins, width, first = _bins(rows.times, rows.dt, rows.column)
    n_bins = int(bins.max()) + 1
    activity = _filled(rows, np.zeros_like(bins), bins, (1, n_bins, len(rows.neurons)), None)[0]

    def series(name: str) -> np.ndarray:
        choice("inputs", name, map(str, rows.table.columns))
        return _of_bins(rows.table, name, bins, (1, n_bins))[0]

    def none(name: str) -> np.ndarray:
        raise InputError(f"a table without trials has no value {name!r} of an event.")

    if isinstance(align, str):
        events = series(align)
    else:
        events = rows.second * as_float_array("align", align, finite=False)
    return cut_piece(
        Piece(n_bins, width, first, events, window),
        activity,
        series=series,
        columns=none,
        names=[],
        inputs=ins or None,
        outputs=outs or None,
        table={},
        second=rows.second,
        **more,
    )


def _of_trials(
    rows: _Rows,
    several: list[str],
    used: list[str],
    lengths: str | None,
    fill: float | None,
    ins: list[Any],
    outs: list[Any],
    more: dict[str, Any],
) -> Recording:
    """Make the recording of a table with trials."""
    table = rows.table
    trial, labels = _trials(rows, several)
    n_trials = len(labels)
    starts = _clock(rows.times, trial, n_trials)
    clock = np.zeros(n_trials) if starts is None else starts
    bins, width, first = _bins(rows.times - clock[trial], rows.dt, rows.column)
    shape = (n_trials, int(bins.max()) + 1, len(rows.neurons))
    activity = _filled(rows, trial, bins, shape, labels)
    cells = np.ravel_multi_index((trial, bins), shape[:2])
    last = np.zeros(n_trials, dtype=np.int64)
    np.maximum.at(last, trial, bins)
    exists = np.arange(shape[1]) <= last[:, None]
    gone = exists[:, :, None] & np.isnan(activity)
    if fill is not None:
        activity[gone] = fill
    elif more["observed"] == "counts" and gone.any() and not (rows.values == 0).any():
        raise InputError(
            f"table: {int(gone.sum())} of {int(exists.sum()) * shape[2]} counts have no row and "
            "none is 0, as if rows of zero were left out. Say fill=0 if they were, or fill=nan if "
            "they are missing."
        )
    ends = trial_lengths(np.where(exists[:, :, None], activity, np.nan), lengths, n_trials)
    last = last if ends is None else ends - 1
    found = _constant(table, used, trial, labels)
    if starts is not None:
        found["clock_start"] = starts
    stops = clock + first + width * (last + 1)
    cut = Cut(clock, first, width, shape[1], stops)
    about = Columns(
        get=lambda name: found[name].to_numpy(),
        names=[str(column) for column in found.columns],
        what="the columns that are constant in a trial",
        starts=starts,
        stops=None if starts is None else stops,
        second=rows.second,
        words=[word for word in ("onset", "go") if word not in table],
        advice=f"Times are those of the column {rows.column!r}.",
    )

    def lookup(name: object) -> np.ndarray:
        choice("inputs", name, map(str, table.columns))
        values = _of_bins(table, str(name), cells, shape[:2])
        one = np.nanmin(np.where(exists, values, np.nan), axis=1, keepdims=True)
        if np.isfinite(one).all() and (np.isnan(values) | (values == one)).all():
            refuse_clock("inputs", str(name), one[:, 0] * rows.second, about, cut)
        return values[:, :, None]

    return assemble(
        activity,
        driven(ins or None, cut, lookup, about),
        driven(outs, cut, lookup, about, "outputs") if outs else None,
        dt=width,
        exists=cut.exists,
        table=found.drop(columns=[c for c in (*ins, *outs) if isinstance(c, str) and c in found]),
        **more,
    )


def _trials(rows: _Rows, several: list[str]) -> tuple[np.ndarray, pd.DataFrame]:
    """Return the trial of each row, and what trials are called, in the order of the rows."""
    table = rows.table
    codes = table.groupby(several, sort=False, dropna=False).ngroup().to_numpy()
    first = np.unique(codes, return_index=True)[1]
    labels = table[several].iloc[first].reset_index(drop=True)
    if _one_by_one(rows, codes):
        return codes, labels.rename(columns={several[-1]: "trial"})
    # a counter that begins again: trials as they follow each other in the table
    if len(several) == 1 and table[several[0]].dtype.kind in "iuf":
        try:
            again = trials_of_bins("trial", table[several[0]])
        except InputError:
            again = None
        if again is not None and (again.trial >= 0).all() and again.block.max() > 1:
            n_trials = len(again.label)
            pairs = np.unique(again.trial * len(rows.neurons) + rows.neuron)
            if len(pairs) == n_trials * len(rows.neurons) and _one_by_one(rows, again.trial):
                names = pd.DataFrame({"trial": again.label, "block": again.block})
                return again.trial, names
    number = pd.Series(codes).groupby([codes, rows.times, rows.neuron]).transform("size").to_numpy()
    row = int(np.argmax(number > 1)) if (number > 1).any() else 0
    at = table.iloc[row]
    what = (
        f"there are two rows for trial {at[several[-1]]!r}, time {rows.times[row]:g}, neuron "
        f"{rows.neurons[rows.neuron[row]]!r}; there must be one"
        if (number > 1).any()
        else f"trial {at[several[-1]]!r} has rows with longer pauses between than it lasts"
    )
    raise InputError(
        f"table: {what}. Where numbers of trials come back (in each block, for example), name all "
        "columns that tell trials apart: trial=['block', 'trial']."
    )


def _one_by_one(rows: _Rows, trial: np.ndarray) -> bool:
    """Say whether trials have each value once, and bins that follow each other."""
    order = np.lexsort((rows.times, rows.neuron, trial))
    same = (np.diff(trial[order]) == 0) & (np.diff(rows.neuron[order]) == 0)
    if (same & (np.diff(rows.times[order]) == 0)).any():
        return False
    order = np.lexsort((rows.times, trial))
    step = np.diff(rows.times[order])[np.diff(trial[order]) == 0]
    step = step[step > 1e-9]
    if not step.size:
        return True
    # a pause within a trial that is longer than all of its bins together is no missing row
    bins_of_trial = 1 + step.size / len(np.unique(trial))
    return bool(step.max() <= max(bins_of_trial, 10.0) * np.median(step))


def _clock(times: np.ndarray, trial: np.ndarray, n_trials: int) -> np.ndarray | None:
    """Return when trials start, where times run on from trial to trial; else None."""
    first, last = np.full(n_trials, np.inf), np.full(n_trials, -np.inf)
    np.minimum.at(first, trial, times)
    np.maximum.at(last, trial, times)
    order = np.argsort(first, kind="stable")
    apart = bool((first[order][1:] > last[order][:-1]).all())
    return first if apart and n_trials > 1 and (last > first).any() else None


def _filled(
    rows: _Rows,
    trial: np.ndarray,
    bins: np.ndarray,
    shape: tuple[int, int, int],
    labels: pd.DataFrame | None,
) -> np.ndarray:
    """Return activity, NaN where there is no row."""
    _check_grid(rows, shape)
    flat = np.ravel_multi_index((trial, bins, rows.neuron), shape)
    if int(np.bincount(flat).max()) > 1:
        row = int(np.flatnonzero(pd.Series(flat).duplicated())[0])
        which = "" if labels is None else f"trial {labels['trial'][trial[row]]!r}, "
        raise InputError(
            f"table has two rows for {which}time {rows.times[row]:g}, neuron "
            f"{rows.neurons[rows.neuron[row]]!r}; there must be one."
        )
    activity = np.full(shape, np.nan)
    activity.ravel()[flat] = rows.values
    return activity


def _check_grid(rows: _Rows, shape: tuple[int, int, int]) -> None:
    """Refuse a grid of trials, bins and neurons that is nearly empty, or too large."""
    cells = math.prod(shape)
    said = f"table: {shape[0]} trials of up to {shape[1]} bins and {shape[2]} neurons"
    if cells > _MANY_CELLS and cells > _EMPTIEST * len(rows.times):
        raise InputError(
            f"{said} are {cells} values, and there are {len(rows.times)} rows: are times in "
            f"column {rows.column!r} on one grid, in one unit, and trials and neurons numbered?"
        )
    room(said, 8.0 * cells)


def _bins(times: np.ndarray, dt: float | None, column: str) -> tuple[np.ndarray, float, float]:
    """Return the bin of each row, the width of a bin and the time of the first one."""
    values = np.unique(times)
    # times that are rounded, in a file of text, do not say the width of a bin exactly
    most = 0.1
    if dt is None:
        steps = np.diff(values)
        # two times that differ by rounding are one
        steps = steps[steps > 1e-9 * max(1.0, float(np.abs(values).max()))]
        if not steps.size:
            raise InputError(f"column {column!r} has a single time; give dt=, or more times.")
        dt, most = float(f"{steps.min():.9g}"), 1e-3
    place = (times - values[0]) / dt
    if not place.max() < _MOST_BINS:
        raise InputError(
            f"column {column!r} runs over more than {_MOST_BINS:g} bins of {dt:g} s, from "
            f"{values[0]:g} to {values[-1]:g}."
        )
    bins = np.round(place)
    off = np.abs(place - bins)
    if off.max() > most:
        worst = int(np.argmax(off))
        raise InputError(
            f"column {column!r} must lie on a grid of steps of {dt:g} s from {values[0]:g} s; "
            f"row {worst} has {times[worst]:g}. Times count from the start of each trial, or run "
            "on; where they are rounded, give dt=."
        )
    return bins.astype(np.int64), dt, float(values[0])


def _of_bins(
    table: pd.DataFrame, column: str, cells: np.ndarray, shape: tuple[int, int]
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
    return filled.reshape(shape)


def _constant(
    table: pd.DataFrame, used: list[str], trial: np.ndarray, labels: pd.DataFrame
) -> pd.DataFrame:
    """Return the trial table: names, and further columns that are constant in a trial."""
    found = labels.copy()
    for column in table.columns:
        if column not in used and column not in found:
            grouped = table[column].groupby(trial)
            if int(grouped.nunique(dropna=False).max()) == 1:
                found[column] = grouped.first().to_numpy()
    return found
