"""Recordings from arrays by name: axes in any order, trials of unequal length, padding."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from predictlearn.arrays import Array
from predictlearn.checks import as_float_array, one_number, positive
from predictlearn.doors import readable, reading
from predictlearn.errors import InputError, choice
from predictlearn.npz import EXPECTED, plain_array, read_npz
from predictlearn.recordings.readers.assembly import assemble, driven, said
from predictlearn.recordings.readers.binning import Cut
from predictlearn.recordings.readers.continuous import Piece, cut_piece, first_edge
from predictlearn.recordings.readers.events import Columns, refuse_clock
from predictlearn.recordings.readers.layout import Split, axes_of, padded
from predictlearn.recordings.readers.padding import trial_lengths
from predictlearn.recordings.recording import Recording
from predictlearn.recordings.units import seconds_in

__all__ = ["Names", "Request", "read_arrays", "recording_of"]

# Takes a key, and whether it may hold text; gives one array, or a list with one array a trial.
Getter = Callable[[str, bool], "npt.NDArray[Any] | list[npt.NDArray[Any]]"]
_FIELD = re.compile(r"\w+(\(\d+\))?(\.\w+(\(\d+\))?)+")


@dataclass(frozen=True)
class Request:
    """What to read of arrays by name; see `read_arrays`.

    Parameters
    ----------
    activity, inputs, outputs, dt, axes, trials, trial_index, observed, unit, start, align, window,
    lengths : object
        As for `read_arrays`.
    """

    activity: str
    inputs: Any = None
    outputs: Any = None
    dt: float | str = "dt"
    axes: str = "trials, time, neurons"
    trials: Mapping[str, str] | Sequence[str] | None = None
    trial_index: str | None = None
    observed: str = "rate"
    unit: str | float | None = None
    start: str | float | None = None
    align: Any = None
    window: tuple[float, float] | None = None
    lengths: Any = None


def read_arrays(
    source: str | os.PathLike[str] | Mapping[str, Any],
    activity: str = "activity",
    *,
    inputs: Any = None,
    outputs: Any = None,
    dt: float | str = "dt",
    axes: str = "trials, time, neurons",
    trials: Mapping[str, str] | Sequence[str] | None = None,
    trial_index: str | None = None,
    observed: str = "rate",
    unit: str | float | None = None,
    start: str | float | None = None,
    align: Any = None,
    window: tuple[float, float] | None = None,
    lengths: Any = None,
) -> Recording:
    """Read a recording from arrays of any name and order of axes.

    Trials of unequal length are padded to the longest: activity with NaN, inputs with zero.

    Parameters
    ----------
    source : path or mapping
        An .npz file, or arrays by name; a list of arrays stands for one array a trial.
    activity : str
        Name of the activity.
    inputs : str, mapping, DataFrame or sequence, optional
        Names of inputs: (trials, time, n_in) in the order of ``axes``; (trials, time) for one
        input; (trials, n_in) or (trials,) for values that are held over a trial. "onset", a pulse
        of height 1/dt at the start of a trial (or at the event of ``align``). A row of events, or a
        DataFrame of such rows, as for `read_nwb`: its columns are names of arrays with one value a
        trial, its times count from the first bin of a trial, or are on the clock of ``start``.
    outputs : str, mapping, DataFrame or sequence, optional
        Names of outputs, likewise.
    dt : float or str
        Width of a bin, or the name of that number.
    axes : str
        Order of the axes, for example "neurons, time, trials"; inputs and outputs have theirs in
        the place of "neurons". For one array a trial, and with ``trial_index`` or ``align``,
        "trials" does not count.
    trials : mapping of str to str or sequence of str, optional
        Columns of the trial table, numbers or text, and the name of the array for each.
    trial_index : str, optional
        Name of a vector with the number of the trial of every bin, where activity is stored as
        (bins, neurons), all trials one after the other. A counter that begins again counts other
        trials (the column ``block`` of the trial table); bins without a number are left out.
    observed : str
        "rate", "current" or "counts".
    unit : str or float, optional
        Unit of ``dt``, of times in arrays, and of ``start`` and ``align`` (not of ``window``):
        "s", "ms", "us" or a number of seconds. By default seconds; bins and rates for which that
        cannot be are asked about, and "s" says that they are right.
    start : str or float, optional
        The time of the first bin of each trial (an array), or of a recording in one piece (also a
        vector of the times of all bins), on the clock that events are stored on.
    align : str or sequence of float, optional
        Times of events, or the name of an array of these, around which activity in one piece
        (time, neurons) is cut into trials; or the name of a vector that is one in bins where an
        event is on, else zero.
    window : (float, float), optional
        First and last edge about the events of ``align``, seconds.
    lengths : str or sequence of int, optional
        The number of bins of each trial, or the name of that array, where shorter trials were
        padded; "zeros", a trial ends where all neurons stay zero; "full", zeros are activity.
        By default zeros that can hardly be activity are asked about.

    Returns
    -------
    Recording
        The recording; the trial table has a column ``n_bins``.

    Warns
    -----
    SilentNeuronsWarning
        Neurons that never change were left out.
    UserWarning
        Bins between trials, or trials without a value, were left out; windows overlap.

    Raises
    ------
    InputError
        A name that is not there (with what is there), axes that cannot be, shapes that do not fit,
        numbers of trials that do not say which bins are one, trials that seem to be padded with
        zeros, or times that cannot be seconds.

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
    request = Request(
        activity=activity,
        inputs=inputs,
        outputs=outputs,
        dt=dt,
        axes=axes,
        trials=trials,
        trial_index=trial_index,
        observed=observed,
        unit=unit,
        start=start,
        align=align,
        window=window,
        lengths=lengths,
    )
    if isinstance(source, Mapping):
        return _of_content(source, {"name": "arrays"}, request)
    with reading(source, EXPECTED):
        file = Path(readable(source, EXPECTED))
        return _of_content(read_npz(file), {"name": file.stem, "file": file.name}, request, file)


def _of_content(
    content: Mapping[str, Any],
    about: Mapping[str, Any],
    request: Request,
    file: Path | None = None,
) -> Recording:
    """Make a recording of arrays by name, of a file or not."""

    def get(key: str, text: bool = False) -> Any:
        choice("name of an array", key, map(str, content))
        value = content[key]
        if file is not None:
            value = plain_array(file, key, value)
        if isinstance(value, list | tuple):
            return [np.asarray(item) for item in value]
        return np.asarray(value)

    return recording_of(get, [str(key) for key in content], request, about)


def recording_of(
    get: Getter, names: Collection[str], request: Request, metadata: Mapping[str, Any]
) -> Recording:
    """Make a recording of what a file holds by name.

    Parameters
    ----------
    get : callable
        From a name to an array, or to a list with one array a trial.
    names : collection of str
        The names that there are.
    request : Request
        What to read.
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
    order = axes_of(request.axes)
    second = seconds_in("unit", request.unit)
    width = _bin_width(get, request.dt) * second
    table = _columns_of(request.trials)
    more: dict[str, Any] = {
        "observed": request.observed,
        "metadata": {
            **metadata,
            "activity": request.activity,
            "inputs": None if request.inputs is None else said(request.inputs),
        },
        "sure": request.unit is not None,
        "how": "Say unit='ms' if dt is in milliseconds (--read unit=ms), or unit='s' if this is "
        "right.",
    }
    if request.align is not None:
        return _of_one_piece(get, names, request, order, width, table, more)
    if request.window is not None:
        raise InputError("window= goes with align=, the events to cut a recording around.")
    index = None if request.trial_index is None else _one(get, request.trial_index, True).ravel()
    split = Split(order, index)
    stored = get(request.activity, False)
    if index is None and not isinstance(stored, list) and np.ndim(stored) == 2:
        raise InputError(
            f"activity {request.activity!r} has two axes {np.shape(stored)}. Of a recording in one "
            "piece (time, neurons), say how trials are cut: trial_index= (the number of the trial "
            "of every bin), or align= (times of events) with window=."
        )
    recorded = split.by_trial("activity", stored)
    columns = {len(part.T) for part in recorded}
    if len(columns) > 1:
        raise InputError(
            f"activity: all trials must have the same neurons; got {sorted(columns)} of them, read "
            f"as ({', '.join(order)})."
        )
    bins = [len(part) for part in recorded]
    n_trials, n_bins = len(recorded), max(bins)
    stacked = padded(recorded, n_bins)
    lengths = request.lengths
    if isinstance(lengths, str) and lengths not in ("zeros", "full"):
        lengths = _one(get, lengths)
    ends = trial_lengths(stacked, lengths, n_trials)
    if ends is not None:
        stacked[np.arange(n_bins) >= ends[:, None]] = np.nan
    # a trial ends with the last bin in which any neuron has a value
    seen = np.asarray(np.any(~np.isnan(stacked), axis=2))
    ends = np.where(seen.any(axis=1), n_bins - np.argmax(seen[:, ::-1], axis=1), 0)
    frame = pd.DataFrame({"trial": np.arange(n_trials)})
    if split.counted is not None:
        frame["trial"] = split.counted.label
        if split.counted.block.max() > 1:
            frame["block"] = split.counted.block
    for column, key in table.items():
        frame[column] = split.of_trials(f"trials[{column!r}]", _one(get, key, True), n_trials)

    def of_trials(name: str) -> npt.NDArray[Any]:
        if name in frame:
            return frame[name].to_numpy()
        return split.of_trials(repr(name), _one(get, name, True), n_trials)

    first = None
    if request.start is not None:
        if not isinstance(request.start, str):
            raise InputError("start must be the name of an array, the start of each trial.")
        first = second * as_float_array("start", of_trials(request.start))
    zero = np.zeros(n_trials) if first is None else first
    cut = Cut(zero, 0.0, width, n_bins, zero + width * ends)
    about = Columns(
        get=of_trials,
        names=Names([*frame.columns, *names]),
        what="the trials",
        starts=first,
        stops=None if first is None else zero + width * ends,
        second=second,
        words=[word for word in ("onset", "go") if word not in names],
        advice="Times count from the first bin of a trial; where they are on the clock of the "
        "recording, start= names the array with the time of each trial's first bin.",
    )

    def lookup(name: object) -> Array:
        if not isinstance(name, str):
            raise InputError(
                "inputs and outputs must be names of arrays, rows of events, 'onset' or 'go'; got "
                f"{type(name).__name__}."
            )
        values = get(name, False)
        if not isinstance(values, list) and values.dtype.kind in "OSU":
            about.numbers("inputs", name)
        if not isinstance(values, list) and values.size == n_trials and values.dtype.kind in "iuf":
            refuse_clock("inputs", name, values.ravel().astype(float), about, cut)
        return padded(split.beside(f"inputs ({name})", values, bins), n_bins)

    return assemble(
        stacked,
        driven(request.inputs, cut, lookup, about),
        None if request.outputs is None else driven(request.outputs, cut, lookup, about, "outputs"),
        dt=width,
        exists=cut.exists,
        table=frame,
        neurons=list(range(stacked.shape[2])),
        **more,
    )


def _of_one_piece(
    get: Getter,
    names: Collection[str],
    request: Request,
    order: tuple[str, ...],
    width: float,
    table: Mapping[str, str],
    more: dict[str, Any],
) -> Recording:
    """Cut activity of the shape (time, neurons) around events."""
    if request.trial_index is not None or request.lengths is not None:
        raise InputError("align= cuts a recording in one piece; trial_index and lengths do not.")
    activity = as_float_array(
        "activity", _one(get, request.activity), ndim=2, finite=False, axes="(time, neurons)"
    )
    if order.index("time") > order.index("neurons"):
        activity = activity.T
    second = seconds_in("unit", request.unit)
    first = request.start
    if isinstance(first, str):
        first = first_edge(second * as_float_array("start", _one(get, first)), len(activity), width)
    else:
        first = 0.0 if first is None else second * float(first)
    align = request.align
    if isinstance(align, str):
        align = _one(get, align)
    align = as_float_array("align", align, finite=False).ravel()
    if len(align) != len(activity) or not np.isin(align, (0, 1)).all():
        align = second * align
    piece = Piece(len(activity), width, first, align, request.window)

    def column(name: str) -> npt.NDArray[Any]:
        return _one(get, name, True)

    return cut_piece(
        piece,
        activity,
        series=column,
        columns=column,
        names=Names([*table, *names]),
        inputs=request.inputs,
        outputs=request.outputs,
        table={name: column(key).ravel() for name, key in table.items()},
        second=second,
        neurons=list(range(activity.shape[1])),
        **more,
    )


class Names(list[str]):
    """Names of variables; a field of a structure (data.side, blocks(2).side) may be one too."""

    def __contains__(self, name: object) -> bool:
        """Say whether there is such a name, or may be."""
        return list.__contains__(self, name) or (
            isinstance(name, str) and _FIELD.fullmatch(name) is not None
        )


def _columns_of(trials: Any) -> dict[str, str]:
    """Return the names of columns of the trial table, and that of the array for each."""
    named = [trials] if isinstance(trials, str) else [] if trials is None else trials
    pairs = named if isinstance(named, Mapping) else None
    if pairs is None and isinstance(named, list | tuple):
        pairs = {name: name for name in named if isinstance(name, str)}
        pairs = pairs if len(pairs) == len(set(map(repr, named))) else None
    if pairs is None or not all(isinstance(word, str) for pair in pairs.items() for word in pair):
        raise InputError(
            f"trials must be names of arrays, or a mapping of columns to these; got {trials!r}."
        )
    return dict(pairs)


def _bin_width(get: Getter, dt: float | str) -> float:
    """Return the width of a bin, given or stored."""
    if not isinstance(dt, str):
        return positive("dt", dt)
    return positive("dt", one_number(f"dt ({dt})", _one(get, dt), "one number of seconds"))


def _one(get: Getter, key: str, text: bool = False) -> npt.NDArray[Any]:
    """Return one array, or raise where the name stands for a list."""
    value = get(key, text)
    if isinstance(value, list):
        if all(np.size(item) == 1 for item in value):
            return np.array([np.asarray(item).ravel()[0] for item in value])
        raise InputError(f"{key!r} must be one array; it is a list of {len(value)}.")
    return value
