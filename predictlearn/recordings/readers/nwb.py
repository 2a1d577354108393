"""Reader of NWB files: units or a time series, cut into trials."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from predictlearn.checks import positive
from predictlearn.doors import reading, room
from predictlearn.errors import InputError, nearest
from predictlearn.recordings.readers.assembly import assemble, driven, said, select_rows
from predictlearn.recordings.readers.binning import Cut, apart, cut_epochs, cut_whole
from predictlearn.recordings.readers.conditions import listed
from predictlearn.recordings.readers.events import Columns, is_clock, refuse_clock
from predictlearn.recordings.readers.nwb_file import (
    EXPECTED,
    find_one,
    inventory,
    objects,
    opened,
    plain_table,
    unread,
)
from predictlearn.recordings.readers.nwb_sources import Series, SortedUnits, time_series
from predictlearn.recordings.recording import Recording
from predictlearn.recordings.units import ask_bin, ask_clocks, seconds_in

__all__ = ["read_nwb"]

_BINS = (
    "bin= and times of the file are in seconds; say unit='ms' where spike times are milliseconds "
    "(trial_unit='ms' where those of trials are), or unit='s' if this is right."
)


def read_nwb(
    path: str | os.PathLike[str],
    *,
    bin: float = 0.05,
    window: tuple[float, float] | str | None = None,
    length: float | None = None,
    align: str = "start_time",
    trials: str | Sequence[Any] | npt.NDArray[Any] | None = None,
    intervals: str | None = None,
    units: str | Sequence[Any] | npt.NDArray[Any] | None = None,
    series: str | None = None,
    inputs: Any = None,
    outputs: Any = None,
    unit: str | float | None = None,
    trial_unit: str | float | None = None,
) -> Recording:
    """Read a recording from an NWB file.

    Spikes of the units are counted in bins, or a time series (rates, fluorescence) is averaged in
    bins. Bins outside of a unit's ``obs_intervals`` (without these, bins long before the first or
    after the last spike of all units), bins that share time with ``invalid_times``, and bins after
    the end of a trial are NaN. A spike on an edge belongs to the later bin. Where windows overlap,
    a trial ends where the next one begins.

    Parameters
    ----------
    path : path
        The file.
    bin : float
        Width of a bin, seconds.
    window : (float, float), None or "whole"
        First and last edge about the alignment, seconds; None, from the alignment to each trial's
        ``stop_time``; "whole", no trials but all that was recorded, cut into pseudo-trials.
    length : float, optional
        Length of a pseudo-trial, seconds; for ``window="whole"`` only.
    align : str
        Column of the trials table that holds the times of alignment, seconds. Trials without one
        (NaN), and without a window those without a ``stop_time``, are left out with a warning.
    trials : str, mask or ids, optional
        Which trials: a condition on the columns of the table ("correct and contrast > 0.1", see
        `evaluate`), a boolean mask, or ids. Default: all.
    intervals : str, optional
        Name of another table of intervals to take as trials; with ``window="whole"`` only the time
        in its intervals is used.
    units : str, mask or ids, optional
        Which units, in the same ways; of a time series, which columns (a mask, or numbers from 0).
    series : str, optional
        Name of a time series to read instead of the units: its name, or its path where several
        have that name.
    inputs : str, mapping, DataFrame, array or sequence, optional
        "onset", a pulse of height 1/bin at the alignment; "go", a one from the alignment on; the
        name of a time series; the name of a column of numbers of the trials table, held from the
        alignment on; an array (trials, time, n_in) or (trials, n_in); a row of events, or a
        DataFrame of such rows (columns column, from, to, value, after): ``{"column": "go_cue"}``
        is a pulse of area 1 (height 1/bin) at each trial's go cue, ``{"from": "stim_on", "to":
        "stim_off", "value": "coherence"}`` a level from one time to another, for bins covered in
        part that part of it; or a sequence of these. None: no inputs. The guide to file formats
        (docs/reference/file-formats.md) has every kind of row.
    outputs : str, mapping, DataFrame, array or sequence, optional
        Likewise; usually the name of a time series of behaviour.
    unit, trial_unit : str or float, optional
        Unit of the spike times (or of the times of ``series``), and of the times of trials: "s",
        "ms", "us" or a number of seconds. By the standard both are seconds; clocks or rates for
        which that cannot be are asked about, and "s" says that they are right.

    Returns
    -------
    Recording
        Counts (``observed="counts"``) or means of a series ("rate"), the trials table with a
        column ``n_bins`` and the times of alignment in ``aligned_to``, and metadata: file,
        identifier, ``neurons`` (ids), ``silent`` (ids of units left out), ``inputs``, and in
        ``missing`` how many bins lie outside of what was recorded.

    Warns
    -----
    SilentNeuronsWarning
        SortedUnits without a spike in these trials were left out.
    UserWarning
        Trials were left out or shortened.

    Raises
    ------
    InputError
        Not an NWB file; no units, trials, column or series of that name (with what there is); an id
        that several units have; a window without a whole number of bins; inputs that are missing in
        a bin; clock times where values are asked for; times that cannot be seconds.

    See Also
    --------
    predictlearn.recordings.from_pynapple : The same from pynapple objects.

    Examples
    --------
    >>> import pytest
    >>> _ = pytest.importorskip("pynwb")
    >>> from predictlearn.recordings import data_folder
    >>> file = data_folder() / "nwb-real-spikes" / "A8604-211122.nwb"
    >>> if file.is_file():
    ...     r = read_nwb(file, window="whole", length=2.0, bin=0.1)
    ...     assert (r.n_trials, r.n_bins, r.n_neurons) == (543, 20, 3)
    """
    whole = isinstance(window, str)
    if whole and window != "whole":
        raise InputError(
            f"window must be (start, stop) in seconds, None or 'whole'; got {window!r}."
        )
    if length is not None and not whole:
        raise InputError("length= is for window='whole' only; give window=(start, stop) instead.")
    positive("bin", bin)
    second = seconds_in("unit", unit)
    if unit is None:
        ask_bin(bin, 1, series is None, _BINS)
    with reading(path, EXPECTED), opened(Path(path)) as file:
        source: SortedUnits | Series = (
            SortedUnits(file, Path(path), second)
            if series is None
            else time_series(file, series, second=second)
        )
        rows = source.rows(units)
        if whole:
            cut, table = _whole(file, source, rows, intervals, length, bin)
        else:
            found = _trial_table(file, Path(path), intervals, trials, trial_unit)
            cut, table = _trials(*found, align, window, bin)
        if isinstance(source, SortedUnits) and not whole and unit is None and trial_unit is None:
            spikes = source.together(rows)
            rate = len(spikes) / len(rows) / max(spikes[-1] - spikes[0], bin)
            ask_clocks(spikes[0], spikes[-1], rate, cut.edges[:, 0], cut.edges[:, -1])
        size = f"activity of {len(cut.zero)} trials, {cut.n_bins} bins and {len(rows)} neurons"
        room(size, 8.0 * len(cut.zero) * cut.n_bins * len(rows))
        activity = source.read(cut, rows)
        if file.invalid_times is not None:
            gone = plain_table(file.invalid_times)
            bad = np.stack([_column_of_times(gone, c) for c in ("start_time", "stop_time")], axis=1)
            activity[cut.touched(bad * second)] = np.nan

        def lookup(name: object) -> npt.NDArray[np.float64]:
            return _named_values(file, cut, table, name, second, columns)

        columns = _columns(table, None if whole else cut)
        drive = driven(inputs, cut, lookup, columns)
        shown = None if outputs is None else driven(outputs, cut, lookup, columns, "outputs")
        metadata = {
            "name": Path(path).stem,
            "file": Path(path).name,
            "identifier": str(file.identifier),
            "session": str(file.session_description),
            "simulated": False,
            "window": "whole" if whole else [cut.start, cut.start + cut.n_bins * cut.bin],
            "inputs": said(inputs),
            **source.about(rows),
        }
        return assemble(
            activity,
            drive,
            shown,
            dt=cut.bin,
            exists=cut.exists,
            table=table,
            neurons=source.names(rows),
            observed=source.observed,
            metadata=metadata,
            sure=unit is not None,
            how=_BINS,
        )


def _interval_table(file: Any, path: Path, name: str | None) -> Any:
    """Return the table that holds the trials."""
    from pynwb.epoch import TimeIntervals

    if name is None or name == "trials":
        if file.trials is None or len(file.trials.id) == 0:
            raise InputError(
                f"{path} has no trials table; it has {inventory(file)}. Take other intervals as "
                "trials with intervals='their name', or all of the recording as pseudo-trials with "
                "window='whole', length=2.0."
            )
        return file.trials
    return find_one(objects(file, TimeIntervals), name, "intervals", "intervals")[1]


def _trial_table(
    file: Any, path: Path, intervals: str | None, asked: object, unit: str | float | None
) -> tuple[pd.DataFrame, int]:
    """Return the table of the trials that were asked for, and of how many."""
    source = _interval_table(file, path, intervals)
    ids = np.asarray(source.id[:])
    table = _in_seconds(plain_table(source), seconds_in("trial_unit", unit))
    table.insert(0, "trial", ids)
    return table.iloc[select_rows("trials", asked, table, ids)].reset_index(drop=True), len(ids)


def _trials(
    table: pd.DataFrame, total: int, align: str, window: object, bin: float
) -> tuple[Cut, pd.DataFrame]:
    """Return the bins of trials and their table."""
    numbers = [c for c in table if c != "trial" and table[c].dtype.kind in "iuf"]
    if align not in numbers:
        close = nearest(align, numbers)
        hint = f" Did you mean {close!r}?" if close else ""
        raise InputError(
            f"align must be a column of times of the trials table: {', '.join(numbers)}; got "
            f"{align!r}.{hint}"
        )
    if len(table) < 2:
        raise InputError(
            f"{len(table)} trial is too few, two are needed; the table of intervals has {total} "
            "rows. All of the recording is cut into pseudo-trials with window='whole', length=2.0."
        )
    times = table[align].to_numpy(dtype=float)
    known = np.isfinite(times)
    if not known.any():
        raise InputError(f"align={align!r}: no trial has a time there.")
    if window is None:
        known &= np.isfinite(table["stop_time"].to_numpy(dtype=float))
        if not known.any():
            raise InputError("no trial has a stop_time; give window=(start, stop), in seconds.")
    if not known.all():
        ends = "" if window is not None else " or in 'stop_time'"
        warnings.warn(
            f"{int((~known).sum())} of {len(known)} trials have no time in {align!r}{ends} and "
            f"were left out: {listed(table['trial'][~known])}.",
            UserWarning,
            stacklevel=3,
        )
        table, times = table.loc[known].reset_index(drop=True), times[known]
    cut = cut_epochs(times, table["stop_time"].to_numpy(dtype=float), window, bin)
    return apart(cut), table.assign(aligned_to=times)


def _in_seconds(table: pd.DataFrame, second: float) -> pd.DataFrame:
    """Return a table of intervals with its times in seconds: every column of clock times."""
    starts, stops = (_column_of_times(table, c) for c in ("start_time", "stop_time"))
    if second == 1.0:
        return table
    times = [
        c
        for c in table
        if table[c].dtype.kind in "iuf"
        and (
            c in ("start_time", "stop_time") or is_clock(table[c].to_numpy(float), starts, stops, 0)
        )
    ]
    return table.assign(**{c: table[c] * second for c in times})


def _column_of_times(table: pd.DataFrame, name: str) -> npt.NDArray[np.float64]:
    """Return a column of numbers that every table of intervals has."""
    if name not in table or table[name].dtype.kind not in "iuf":
        raise InputError(f"the table of intervals has no column {name!r} of numbers.")
    return table[name].to_numpy(dtype=float)


def _columns(table: pd.DataFrame, cut: Cut | None) -> Columns:
    """Return what rows of events may refer to; pseudo-trials have no columns."""
    given = cut is not None and "start_time" in table
    return Columns(
        get=lambda name: table[name].to_numpy(),
        names=[c for c in table if c != "aligned_to"] if given else [],
        what="the trials table" if given else "pseudo-trials",
        starts=table["start_time"].to_numpy(dtype=float) if given else None,
        stops=table["stop_time"].to_numpy(dtype=float) if given else None,
        advice="Times that count from another event are given with after: its column; see also "
        "trial_unit.",
    )


def _whole(
    file: Any,
    source: SortedUnits | Series,
    rows: npt.NDArray[np.int64],
    intervals: str | None,
    length: float | None,
    bin: float,
) -> tuple[Cut, pd.DataFrame]:
    """Return the bins and the table of pseudo-trials."""
    if intervals is None:
        spans = source.extent(rows, bin)
    else:
        table = plain_table(_interval_table(file, Path(), intervals))
        spans = np.stack([_column_of_times(table, c) for c in ("start_time", "stop_time")], axis=1)
    cut = cut_whole(spans, length, bin)
    return cut, pd.DataFrame({"trial": np.arange(len(cut.zero)), "aligned_to": cut.zero})


def _named_values(
    file: Any, cut: Cut, table: pd.DataFrame, name: object, second: float, about: Columns
) -> npt.NDArray[np.float64]:
    """Return a column of numbers of the trials table, or a time series in bins."""
    from pynwb import TimeSeries

    if not isinstance(name, str):
        raise InputError(
            "inputs and outputs must be 'onset', 'go', the name of a time series or of a column of "
            "the trials table, a row of events, an array, or a sequence of these; got "
            f"{type(name).__name__}."
        )
    columns = [c for c in table if table[c].dtype.kind in "biuf" and c not in ("trial", "n_bins")]
    if name in columns:
        values = table[name].to_numpy(dtype=float)
        refuse_clock("inputs and outputs", name, values, about, cut)
        if not np.isfinite(values).all():
            raise InputError(
                f"column {name!r} has no value in {int((~np.isfinite(values)).sum())} trials; "
                f"leave them out, for example with trials='{name} == {name}'."
            )
        return values
    found = objects(file, TimeSeries)
    if name in about.names:
        about.numbers("inputs and outputs", name)
    hits = [path for path in found if path == name or path.endswith("/" + name)]
    if not hits:
        short = [path.rsplit("/", 1)[-1] for path in found]
        close = nearest(name, [*columns, *found, *short, "onset", "go"])
        hint = f" Did you mean {close!r}?" if close else ""
        raise InputError(
            f"{name!r} is neither a time series ({', '.join(sorted(found)) or 'none'}) nor a "
            f"column of numbers of the trials table ({', '.join(columns)}), nor 'onset' or "
            f"'go'.{hint}{unread(file)}"
        )
    one = time_series(file, name, "inputs or outputs", second)
    return cut.average(one.stamps, one.values)
