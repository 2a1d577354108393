"""What activity of an NWB file is read from: the units, or a time series."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from predictlearn.checks import as_float_array
from predictlearn.doors import room
from predictlearn.errors import InputError
from predictlearn.recordings.readers.assembly import select_rows, sorted_times
from predictlearn.recordings.readers.binning import Cut
from predictlearn.recordings.readers.nwb_file import (
    find_one,
    inventory,
    objects,
    plain_table,
    unread,
)

__all__ = ["Series", "SortedUnits", "time_series"]


class SortedUnits:
    """Spike times of the units of a file.

    Parameters
    ----------
    file : NWBFile
        The file.
    path : Path
        Where it is, for messages.
    second : float
        How many seconds the unit of its times has.

    Raises
    ------
    InputError
        The file has no units, or they have no spike times.
    """

    observed = "counts"

    def __init__(self, file: Any, path: Path, second: float) -> None:
        table = file.units
        if table is None or len(table.id) == 0:
            raise InputError(
                f"{path} has no units (spike times); it has {inventory(file)}. A time series is "
                "read with series='its name'."
            )
        if "spike_times" not in table.colnames:
            raise InputError(f"the units of {path} have no spike_times; columns: {table.colnames}.")
        self.units, self.second = table, second
        self.table = plain_table(table)
        self.ids = np.asarray(table.id[:])
        self._read: dict[int, npt.NDArray[np.float64]] = {}
        self._missing = ""

    def rows(self, asked: object) -> npt.NDArray[np.int64]:
        """Return which units were asked for."""
        return select_rows("units", asked, self.table.assign(id=self.ids), self.ids)

    def names(self, rows: npt.NDArray[np.int64]) -> list[Any]:
        """Return their ids; with their rows, where ids repeat."""
        ids = self.ids[rows].tolist()
        if len(set(ids)) == len(ids):
            return ids
        return [f"{name} (row {row})" for name, row in zip(ids, rows, strict=True)]

    def times(self, row: int) -> npt.NDArray[np.float64]:
        """Return the spikes of one unit, seconds."""
        if row not in self._read:
            spikes = np.asarray(self.units["spike_times"][int(row)])
            self._read[row] = sorted_times(f"spikes of unit {self.ids[row]}", spikes) * self.second
        return self._read[row]

    def observed_in(self, row: int) -> npt.NDArray[np.float64] | None:
        """Return when a unit was observed, or None where the file does not say."""
        if "obs_intervals" not in self.units.colnames:
            return None
        stated = as_float_array(
            "obs_intervals", self.units["obs_intervals"][int(row)], finite=False
        )
        if stated.size % 2:
            raise InputError(
                f"obs_intervals of unit {self.ids[row]} must be pairs of start and stop; it has "
                f"shape {stated.shape}."
            )
        return stated.reshape(-1, 2) * self.second

    def together(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        """Return the spikes of several units in order."""
        spikes = np.sort(np.concatenate([self.times(row) for row in rows.tolist()]))
        if not spikes.size:
            raise InputError("the units have no spikes at all.")
        return spikes

    def extent(self, rows: npt.NDArray[np.int64], bin: float) -> npt.NDArray[np.float64]:
        """Return when anything was observed; without obs_intervals, from first to last spike."""
        stated = [self.observed_in(row) for row in rows]
        known = [pairs for pairs in stated if pairs is not None and len(pairs)]
        if known:
            return np.concatenate(known)
        spikes = self.together(rows)
        return np.array([[np.floor(spikes[0] / bin) * bin, spikes[-1]]])

    def read(self, cut: Cut, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        """Count the spikes of the units; NaN where a unit was not observed."""
        counts = np.empty((len(cut.zero), cut.n_bins, len(rows)))
        silent_on = self._beyond(cut, rows)
        for column, row in enumerate(rows.tolist()):
            counts[:, :, column] = cut.count(self.times(row))
            known = self.observed_in(row)
            counts[silent_on if known is None else ~cut.covered(known), column] = np.nan
        return counts

    def _beyond(self, cut: Cut, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """Say which bins lie before or after all that was recorded, where the file does not say.

        That no unit spikes for ten times their usual interval, and longer than they ever paused,
        is no silence.
        """
        spikes = self.together(rows)
        between = np.diff(spikes)
        reach = max(10 * float(between.mean()), float(between.max())) if between.size else np.inf
        left, right = cut.edges[:, :-1], cut.edges[:, 1:]
        beyond = np.zeros(left.shape, dtype=bool)
        if (right[cut.exists].max() if cut.exists.any() else -np.inf) > spikes[-1] + reach:
            beyond |= left > spikes[-1]
        if (left[cut.exists].min() if cut.exists.any() else np.inf) < spikes[0] - reach:
            beyond |= right < spikes[0]
        beyond &= cut.exists
        if beyond.any() and any(self.observed_in(row) is None for row in rows.tolist()):
            self._missing = (
                f"{int(beyond.sum())} bins of {int(beyond.any(axis=1).sum())} trials lie before "
                f"the first or after the last spike of all units ({spikes[0]:g} and "
                f"{spikes[-1]:g} s): they were not recorded, and are NaN"
            )
        return beyond

    def about(self, rows: npt.NDArray[np.int64]) -> dict[str, Any]:
        """Return what else is known of the units."""
        about: dict[str, Any] = {"units": self.table.iloc[rows].astype(str).to_dict("list")}
        return about | ({"missing": self._missing} if self._missing else {})


class Series:
    """A time series of a file.

    Parameters
    ----------
    name : str
        Its name.
    series : TimeSeries
        What the file holds.
    second : float
        How many seconds the unit of its times has.

    Raises
    ------
    InputError
        It holds no numbers, or has no times.
    """

    observed = "rate"

    def __init__(self, name: str, series: Any, second: float = 1.0) -> None:
        self.name = name
        data = series.data
        if data is None or len(np.shape(data)) not in (1, 2) or np.shape(data)[0] == 0:
            raise InputError(
                f"series {name!r} must hold numbers of shape (time,) or (time, columns); it has "
                f"shape {np.shape(data) if data is not None else None}."
            )
        room(f"times of series {name!r}", 8.0 * np.shape(data)[0])
        if series.timestamps is not None:
            stamps = as_float_array(f"timestamps of {name!r}", series.timestamps[:])
        elif series.rate:
            start = float(series.starting_time or 0.0)
            stamps = start + np.arange(np.shape(data)[0]) / float(series.rate)
        else:
            raise InputError(f"series {name!r} has neither timestamps nor a rate.")
        if len(stamps) != np.shape(data)[0]:
            raise InputError(
                f"series {name!r} has {len(stamps)} timestamps for {np.shape(data)[0]} samples."
            )
        self.stamps = sorted_times(f"series {name!r}", stamps) * second
        self.values = _Scaled(data, float(series.conversion or 1.0), float(series.offset or 0.0))
        self.unit = str(series.unit)
        self.ids = np.arange(self.values.shape[1])

    def rows(self, asked: object) -> npt.NDArray[np.int64]:
        """Return which columns were asked for."""
        return select_rows("units", asked, pd.DataFrame({"column": self.ids}), self.ids)

    def names(self, rows: npt.NDArray[np.int64]) -> list[Any]:
        """Return the numbers of columns."""
        return list(self.ids[rows].tolist())

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


def time_series(file: Any, name: str, argument: str = "series", second: float = 1.0) -> Series:
    """Return the time series of a name.

    Parameters
    ----------
    file : NWBFile
        The file.
    name : str
        Name or path of the series.
    argument : str
        Name of the argument, for messages.
    second : float
        How many seconds the unit of its times has.

    Returns
    -------
    Series
        The series.

    Raises
    ------
    InputError
        There is none of that name, or several.
    """
    from pynwb import TimeSeries

    found = find_one(objects(file, TimeSeries), name, "time series", argument, unread(file))
    return Series(*found, second=second)
