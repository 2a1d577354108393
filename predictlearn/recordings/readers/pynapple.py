"""Recordings from pynapple objects: spike trains or time series, cut into epochs."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from predictlearn.checks import positive
from predictlearn.errors import InputError, nearest
from predictlearn.recordings.readers.assembly import assemble, driven, sorted_times
from predictlearn.recordings.readers.binning import Cut, apart, cut_epochs, cut_whole
from predictlearn.recordings.readers.events import Columns
from predictlearn.recordings.recording import Recording
from predictlearn.recordings.units import ask_bin

__all__ = ["from_pynapple"]

_BINS = (
    "bin= and times of pynapple objects are in seconds (time_units='ms' when they are made); "
    "sure=True says that this is right."
)


def from_pynapple(
    activity: Any,
    epochs: Any = None,
    *,
    bin: float = 0.05,
    window: tuple[float, float] | str | None = None,
    length: float | None = None,
    align: str = "start",
    inputs: Any = None,
    outputs: Any = None,
    name: str = "pynapple",
    sure: bool = False,
) -> Recording:
    """Make a recording from pynapple objects.

    Bins outside of the object's ``time_support`` are NaN. A spike on an edge belongs to the later
    bin. Where windows overlap, a trial ends where the next one begins.

    Parameters
    ----------
    activity : pynapple.TsGroup or pynapple.TsdFrame
        Spike trains, counted in bins; or rates or fluorescence, averaged in bins.
    epochs : pynapple.IntervalSet, optional
        The trials. Not needed with ``window="whole"``.
    bin : float
        Width of a bin, seconds.
    window : (float, float), None or "whole"
        First and last edge about the alignment, seconds; None, from the alignment to the end of
        each epoch; "whole", all epochs (or the time support) cut into pseudo-trials.
    length : float, optional
        Length of a pseudo-trial, seconds; for ``window="whole"`` only.
    align : str
        "start", "end", or a metadata column of ``epochs`` that holds times in seconds.
    inputs, outputs : object, optional
        "onset", a pulse of height 1/bin at the alignment; "go", a one from the alignment on; a
        pynapple Tsd or TsdFrame; the name of a metadata column of numbers of ``epochs``, held from
        the alignment on; an array (trials, time, n_in) or (trials, n_in); a row of events or a
        DataFrame of such rows, as for `read_nwb`; or a sequence of these.
    name : str
        Kept as ``metadata["name"]``.
    sure : bool
        Whether bins and rates that no brain has are right all the same; they are asked about.

    Returns
    -------
    Recording
        Counts of a TsGroup (``observed="counts"``) or means of a TsdFrame ("rate"); the trials
        table holds start, end and the metadata of the epochs.

    Warns
    -----
    SilentNeuronsWarning
        Neurons that never change in these trials were left out.

    Raises
    ------
    InputError
        Another kind of object, epochs that are missing, an alignment or input that is not known, or
        a window without a whole number of bins.

    Examples
    --------
    >>> import pytest
    >>> nap = pytest.importorskip("pynapple")
    >>> spikes = nap.TsGroup(
    ...     {1: nap.Ts(np.arange(0.05, 10, 0.3)), 2: nap.Ts(np.arange(0.05, 10, 0.7))}
    ... )
    >>> trials = nap.IntervalSet(start=[1, 3, 5], end=[2, 4, 6])
    >>> r = from_pynapple(spikes, trials, bin=0.1, inputs="onset")
    >>> r.activity.shape, float(r.inputs[0, 0, 0])
    ((3, 10, 2), 10.0)
    """
    try:
        import pynapple as nap
    except ImportError as error:
        raise InputError(
            "from_pynapple needs pynapple, which is not installed; install it with "
            "pip install 'predictlearn[pynapple]'."
        ) from error
    positive("bin", bin)
    if not sure:
        ask_bin(bin, 1, isinstance(activity, nap.TsGroup), _BINS)
    if not isinstance(activity, nap.TsGroup | nap.TsdFrame):
        raise InputError(
            f"activity must be a pynapple TsGroup or TsdFrame; got {type(activity).__name__}."
        )
    if epochs is not None and not isinstance(epochs, nap.IntervalSet):
        raise InputError(f"epochs must be a pynapple IntervalSet; got {type(epochs).__name__}.")
    whole = isinstance(window, str)
    if whole and window != "whole":
        raise InputError(
            f"window must be (start, stop) in seconds, None or 'whole'; got {window!r}."
        )
    if whole:
        cut = cut_whole(_pairs(activity.time_support if epochs is None else epochs), length, bin)
        table = pd.DataFrame({"trial": np.arange(len(cut.zero))})
    else:
        if length is not None:
            raise InputError("length= is for window='whole' only.")
        if epochs is None:
            raise InputError(
                "epochs= (a pynapple IntervalSet) says where the trials are; without it, cut all "
                "of the recording into pseudo-trials with window='whole', length=2.0."
            )
        table = _epoch_table(epochs)
        cut = apart(cut_epochs(_alignment(table, align), table["end"], window, bin))
    if isinstance(activity, nap.TsGroup):
        ids = list(activity.keys())
        trains = [sorted_times(f"spikes of {key}", activity[key].t) for key in ids]
        binned = np.stack([cut.count(times) for times in trains], axis=2)
    else:
        ids = list(activity.columns)
        binned = _averaged("activity", activity, cut)
    binned[~cut.covered(_pairs(activity.time_support))] = np.nan

    def lookup(item: object) -> npt.NDArray[np.float64]:
        if isinstance(item, nap.Tsd | nap.TsdFrame):
            return _averaged("inputs", item, cut)
        numbers = [c for c in table if table[c].dtype.kind in "biuf" and c != "trial"]
        if item in numbers:
            return table[item].to_numpy(dtype=float)
        close = nearest(item, [*numbers, "onset", "go"]) if isinstance(item, str) else None
        hint = f" Did you mean {close!r}?" if close else ""
        got = repr(item) if isinstance(item, str) else type(item).__name__
        raise InputError(
            "inputs and outputs must be 'onset', 'go', a pynapple Tsd or TsdFrame, an array, a row "
            "of events, or a column of numbers of the epochs "
            f"({', '.join(map(str, numbers))}); got {got}.{hint}"
        )

    columns = Columns(
        get=lambda item: table[item].to_numpy(),
        names=[] if whole else list(table),
        what="pseudo-trials" if whole else "the epochs",
        starts=None if whole else table["start"].to_numpy(dtype=float),
        stops=None if whole else table["end"].to_numpy(dtype=float),
        advice="Times that count from another event are given with after: its column.",
    )
    return assemble(
        binned,
        driven(inputs, cut, lookup, columns),
        None if outputs is None else driven(outputs, cut, lookup, columns, "outputs"),
        dt=cut.bin,
        exists=cut.exists,
        table=table.assign(aligned_to=cut.zero),
        neurons=ids,
        observed="counts" if isinstance(activity, nap.TsGroup) else "rate",
        metadata={"name": name, "source": f"pynapple {type(activity).__name__}"},
        sure=sure,
        how=_BINS,
    )


def _pairs(epochs: Any) -> npt.NDArray[np.float64]:
    """Return the starts and ends of an IntervalSet."""
    return np.stack([np.asarray(epochs.start, float), np.asarray(epochs.end, float)], axis=1)


def _epoch_table(epochs: Any) -> pd.DataFrame:
    """Return starts, ends and metadata of an IntervalSet."""
    pairs = _pairs(epochs)
    table = pd.DataFrame({"trial": np.arange(len(pairs)), "start": pairs[:, 0], "end": pairs[:, 1]})
    for column in epochs.metadata_columns:
        if column not in table:
            table[column] = np.asarray(epochs.metadata[column])
    return table


def _alignment(table: pd.DataFrame, align: str) -> npt.NDArray[np.float64]:
    """Return the times of alignment."""
    numbers = [c for c in table if table[c].dtype.kind in "iuf" and c != "trial"]
    if align not in numbers:
        close = nearest(align, map(str, numbers))
        hint = f" Did you mean {close!r}?" if close else ""
        raise InputError(
            f"align must be a column of times of the epochs: {', '.join(map(str, numbers))}; got "
            f"{align!r}.{hint}"
        )
    return table[align].to_numpy(dtype=float)


def _averaged(what: str, series: Any, cut: Cut) -> npt.NDArray[np.float64]:
    """Average a Tsd or TsdFrame in bins."""
    values = np.asarray(series.values, dtype=float)
    if values.ndim == 1:
        values = values[:, None]
    return cut.average(sorted_times(what, series.t), values)
