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
from predictlearn.errors import InputError, nearest
from predictlearn.recordings.assembly import assemble, driven, select_rows, sorted_times
from predictlearn.recordings.binning import Cut, cut_epochs, cut_whole
from predictlearn.recordings.nwb_file import find_one, inventory, objects, opened, plain_table
from predictlearn.recordings.recording import Recording

__all__ = ["read_nwb"]


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
) -> Recording:
    """Read a recording from an NWB file.

    Spikes of the units are counted in bins, or a time series (rates, fluorescence) is averaged in
    bins. Bins outside of a unit's ``obs_intervals``, bins that share time with ``invalid_times``,
    and bins after the end of a trial are NaN. A spike on an edge belongs to the later bin.

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
        (NaN) are left out with a warning.
    trials : str, mask or ids, optional
        Which trials: a condition on the columns of the table ("correct and contrast > 0.1"), a
        boolean mask, or ids. Default: all.
    intervals : str, optional
        Name of another table of intervals to take as trials; with ``window="whole"`` only the time
        in its intervals is used.
    units : str, mask or ids, optional
        Which units, in the same ways; of a time series, which columns (a mask, or numbers from 0).
    series : str, optional
        Name of a time series to read instead of the units: its name, or its path where several
        have that name.
    inputs : str, array or sequence, optional
        "onset", a pulse of height 1/bin at the alignment; "go", a one from the alignment on; the
        name of a time series; the name of a column of numbers of the trials table, held from the
        alignment on; an array (trials, time, n_in) or (trials, n_in); or a sequence of these.
        None: no inputs.
    outputs : str, array or sequence, optional
        Likewise; usually the name of a time series of behaviour.

    Returns
    -------
    Recording
        Counts (``observed="counts"``) or means of a series ("rate"), the trials table with a
        column ``n_bins`` and the times of alignment in ``aligned_to``, and metadata: file,
        identifier, ``neurons`` (ids), ``silent`` (ids of units left out), ``inputs``.

    Warns
    -----
    SilentNeuronsWarning
        Units without a spike in these trials were left out.

    Raises
    ------
    InputError
        Not an NWB file; no units, trials, column or series of that name (with what there is); a
        window without a whole number of bins; inputs that are missing in a bin.

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
    with opened(Path(path)) as file:
        source = _series(file, series) if series is not None else _Units(file, Path(path))
        rows = source.rows(units)
        if whole:
            cut, table = _whole(file, source, rows, intervals, length, bin)
        else:
            cut, table = _trials(file, Path(path), intervals, trials, align, window, bin)
        activity = source.read(cut, rows)
        if file.invalid_times is not None:
            bad = plain_table(file.invalid_times)[["start_time", "stop_time"]].to_numpy(dtype=float)
            activity[cut.touched(bad)] = np.nan

        def lookup(name: object) -> npt.NDArray[np.float64]:
            return _named_values(file, cut, table, name)

        drive = driven(inputs, cut, lookup)
        shown = None if outputs is None else driven(outputs, cut, lookup, "outputs")
        metadata = {
            "name": Path(path).stem,
            "file": Path(path).name,
            "identifier": str(file.identifier),
            "session": str(file.session_description),
            "simulated": False,
            "window": "whole" if whole else [cut.start, cut.start + cut.n_bins * cut.bin],
            "inputs": _said(inputs),
            **source.about(rows),
        }
        return assemble(
            activity,
            drive,
            shown,
            dt=cut.bin,
            exists=cut.exists,
            table=table,
            neurons=source.ids[rows].tolist(),
            observed=source.observed,
            metadata=metadata,
        )


class _Units:
    """Spike times of the units of a file."""

    observed = "counts"

    def __init__(self, file: Any, path: Path) -> None:
        table = file.units
        if table is None or len(table.id) == 0:
            raise InputError(
                f"{path} has no units (spike times); it has {inventory(file)}. A time series is "
                "read with series='its name'."
            )
        if "spike_times" not in table.colnames:
            raise InputError(f"the units of {path} have no spike_times; columns: {table.colnames}.")
        self.units = table
        self.table = plain_table(table)
        self.ids = np.asarray(table.id[:])

    def rows(self, asked: object) -> npt.NDArray[np.int64]:
        """Return which units were asked for."""
        return select_rows("units", asked, self.table.assign(id=self.ids), self.ids)

    def times(self, row: int) -> npt.NDArray[np.float64]:
        """Return the spikes of one unit."""
        spikes = np.asarray(self.units["spike_times"][int(row)], dtype=float)
        return sorted_times(f"spikes of unit {self.ids[row]}", spikes)

    def observed_in(self, row: int) -> npt.NDArray[np.float64] | None:
        """Return when a unit was observed, or None where the file does not say."""
        if "obs_intervals" not in self.units.colnames:
            return None
        return np.asarray(self.units["obs_intervals"][int(row)], dtype=float).reshape(-1, 2)

    def extent(self, rows: npt.NDArray[np.int64], bin: float) -> npt.NDArray[np.float64]:
        """Return when anything was observed; without obs_intervals, from first to last spike."""
        stated = [self.observed_in(row) for row in rows]
        known = [pairs for pairs in stated if pairs is not None and len(pairs)]
        if known:
            return np.concatenate(known)
        spikes = [times for times in map(self.times, rows) if times.size]
        if not spikes:
            raise InputError("the units have no spikes at all.")
        first = min(times[0] for times in spikes)
        return np.array([[np.floor(first / bin) * bin, max(times[-1] for times in spikes)]])

    def read(self, cut: Cut, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        """Count the spikes of the units; NaN where a unit was not observed."""
        counts = np.empty((len(cut.zero), cut.n_bins, len(rows)))
        for column, row in enumerate(rows):
            counts[:, :, column] = cut.count(self.times(row))
            known = self.observed_in(row)
            if known is not None:
                counts[~cut.covered(known), column] = np.nan
        return counts

    def about(self, rows: npt.NDArray[np.int64]) -> dict[str, Any]:
        """Return what else is known of the units."""
        return {"units": self.table.iloc[rows].astype(str).to_dict("list")}


class _Series:
    """A time series of a file."""

    observed = "rate"

    def __init__(self, name: str, series: Any) -> None:
        self.name = name
        data = series.data
        if data is None or len(np.shape(data)) not in (1, 2) or np.shape(data)[0] == 0:
            raise InputError(
                f"series {name!r} must hold numbers of shape (time,) or (time, columns); it has "
                f"shape {np.shape(data) if data is not None else None}."
            )
        if series.timestamps is not None:
            stamps = np.asarray(series.timestamps[:], dtype=float)
        elif series.rate:
            start = float(series.starting_time or 0.0)
            stamps = start + np.arange(np.shape(data)[0]) / float(series.rate)
        else:
            raise InputError(f"series {name!r} has neither timestamps nor a rate.")
        if len(stamps) != np.shape(data)[0]:
            raise InputError(
                f"series {name!r} has {len(stamps)} timestamps for {np.shape(data)[0]} samples."
            )
        self.stamps = sorted_times(f"series {name!r}", stamps)
        self.values = _Scaled(data, float(series.conversion or 1.0), float(series.offset or 0.0))
        self.unit = str(series.unit)
        self.ids = np.arange(self.values.shape[1])

    def rows(self, asked: object) -> npt.NDArray[np.int64]:
        """Return which columns were asked for."""
        return select_rows("units", asked, pd.DataFrame({"column": self.ids}), self.ids)

    def extent(self, rows: npt.NDArray[np.int64], bin: float) -> npt.NDArray[np.float64]:
        """Return from when to when it was sampled: the last sample lasts as long as the others."""
        last = self.stamps[-1]
        step = (last - self.stamps[0]) / max(1, len(self.stamps) - 1)
        return np.array([[self.stamps[0], last + step]])

    def read(self, cut: Cut, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        """Average the columns in bins."""
        return cut.average(self.stamps, self.values)[:, :, rows]

    def about(self, rows: npt.NDArray[np.int64]) -> dict[str, Any]:
        """Return what else is known of the series."""
        return {"series": self.name, "unit": self.unit}


class _Scaled:
    """Samples in the unit of a series, (time, columns), read as they are asked for."""

    def __init__(self, data: Any, conversion: float, offset: float) -> None:
        self.data, self.conversion, self.offset = data, conversion, offset
        shape = np.shape(data)
        self.shape = (shape[0], 1 if len(shape) == 1 else shape[1])

    def __getitem__(self, part: slice) -> npt.NDArray[np.float64]:
        raw = np.asarray(self.data[part], dtype=float)
        return raw.reshape(len(raw), self.shape[1]) * self.conversion + self.offset


def _series(file: Any, name: str) -> _Series:
    """Return the time series of a name."""
    from pynwb import TimeSeries

    return _Series(*find_one(objects(file, TimeSeries), name, "time series", "series"))


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


def _trials(
    file: Any,
    path: Path,
    intervals: str | None,
    asked: object,
    align: str,
    window: object,
    bin: float,
) -> tuple[Cut, pd.DataFrame]:
    """Return the bins and the table of the trials that were asked for."""
    source = _interval_table(file, path, intervals)
    ids = np.asarray(source.id[:])
    table = plain_table(source)
    table.insert(0, "trial", ids)
    table = table.iloc[select_rows("trials", asked, table, ids)].reset_index(drop=True)
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
            f"{len(table)} trial is too few, two are needed; the table of intervals has {len(ids)} "
            "rows. All of the recording is cut into pseudo-trials with window='whole', length=2.0."
        )
    times = table[align].to_numpy(dtype=float)
    known = np.isfinite(times)
    if not known.any():
        raise InputError(f"align={align!r}: no trial has a time there.")
    if not known.all():
        warnings.warn(
            f"{int((~known).sum())} of {len(known)} trials have no time in {align!r} and were left "
            "out.",
            UserWarning,
            stacklevel=3,
        )
        table, times = table.loc[known].reset_index(drop=True), times[known]
    cut = cut_epochs(times, table["stop_time"].to_numpy(dtype=float), window, bin)
    return cut, table.assign(aligned_to=times)


def _whole(
    file: Any,
    source: _Units | _Series,
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
        spans = table[["start_time", "stop_time"]].to_numpy(dtype=float)
    cut = cut_whole(spans, length, bin)
    return cut, pd.DataFrame({"trial": np.arange(len(cut.zero)), "aligned_to": cut.zero})


def _named_values(
    file: Any, cut: Cut, table: pd.DataFrame, name: object
) -> npt.NDArray[np.float64]:
    """Return a column of numbers of the trials table, or a time series in bins."""
    from pynwb import TimeSeries

    if not isinstance(name, str):
        raise InputError(
            "inputs and outputs must be 'onset', 'go', the name of a time series or of a column of "
            f"the trials table, an array, or a sequence of these; got {type(name).__name__}."
        )
    columns = [c for c in table if table[c].dtype.kind in "biuf" and c not in ("trial", "n_bins")]
    if name in columns:
        values = table[name].to_numpy(dtype=float)
        if not np.isfinite(values).all():
            raise InputError(
                f"column {name!r} has no value in {int((~np.isfinite(values)).sum())} trials; "
                f"leave them out, for example with trials='{name} == {name}'."
            )
        return values
    found = objects(file, TimeSeries)
    hits = [path for path in found if path == name or path.endswith("/" + name)]
    if not hits:
        short = [path.rsplit("/", 1)[-1] for path in found]
        close = nearest(name, [*columns, *found, *short, "onset", "go"])
        hint = f" Did you mean {close!r}?" if close else ""
        raise InputError(
            f"{name!r} is neither a time series ({', '.join(sorted(found)) or 'none'}) nor a "
            f"column of numbers of the trials table ({', '.join(columns)}), nor 'onset' or "
            f"'go'.{hint}"
        )
    one = _Series(*find_one(found, name, "time series", "inputs or outputs"))
    return cut.average(one.stamps, one.values)


def _said(spec: object) -> Any:
    """Return what inputs were asked for, in words."""
    if isinstance(spec, list | tuple):
        return [_said(part) for part in spec]
    return spec if spec is None or isinstance(spec, str) else "array"
