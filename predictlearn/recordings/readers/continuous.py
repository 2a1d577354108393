"""Recordings in one piece, (time, neurons), cut into windows around events."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from predictlearn.arrays import Array
from predictlearn.checks import as_float_array
from predictlearn.errors import InputError
from predictlearn.recordings.readers.assembly import assemble, driven
from predictlearn.recordings.readers.binning import Cut, apart, cut_epochs
from predictlearn.recordings.readers.events import Columns
from predictlearn.recordings.recording import Recording

__all__ = ["Piece", "cut_piece", "first_edge"]


class Piece:
    """Where windows lie in a recording in one piece.

    Parameters
    ----------
    n_samples : int
        Bins of the recording.
    dt : float
        Width of a bin, seconds.
    first : float
        Time of the first bin's left edge, seconds.
    events : array_like
        Times of alignment, seconds; or one value a bin, zero but where an event is on.
    window : object
        First and last edge about the event, seconds.

    Raises
    ------
    InputError
        No window, events that are none, or windows that lie outside.

    Warns
    -----
    UserWarning
        Events without a time were left out, or windows overlap.
    """

    def __init__(
        self, n_samples: int, dt: float, first: float, events: npt.ArrayLike, window: object
    ) -> None:
        if window is None:
            raise InputError(
                "align= cuts a recording in one piece around events and needs window=(start, stop) "
                "in seconds about them."
            )
        self.n_samples = n_samples
        times = as_float_array("align", events, finite=False).ravel()
        if len(times) == n_samples and np.isin(times, (0, 1)).all():
            # a mark that is on while an event lasts: it begins where the mark rises
            times = first + dt * np.flatnonzero(np.diff(times, prepend=0.0) > 0)
        self.kept = np.isfinite(times)
        if not self.kept.all():
            warnings.warn(
                f"{int((~self.kept).sum())} of {len(times)} events of align= have no time and were "
                "left out.",
                UserWarning,
                stacklevel=4,
            )
        self.events = times[self.kept]
        inside = (self.events >= first) & (self.events < first + dt * n_samples)
        if not inside.any():
            raise InputError(
                f"align: none of {len(times)} events lies in the recording, from {first:g} to "
                f"{first + dt * n_samples:g} s. Give start= (the time of its first bin), or unit=."
            )
        # bins are those of the recording; an event is in the bin that holds it
        place = np.floor((self.events - first) / dt + 1e-6)
        cut = cut_epochs(first + dt * place, None, window, dt)
        offset = round(cut.start / dt)
        self.cut: Cut = apart(replace(cut, start=offset * dt))
        self.bins = (place.astype(np.int64) + offset)[:, None] + np.arange(cut.n_bins)

    def take(self, series: Array) -> Array:
        """Return the windows of a series (time, columns); NaN outside of the recording."""
        inside = (self.bins >= 0) & (self.bins < self.n_samples)
        windows = series[np.clip(self.bins, 0, self.n_samples - 1)]
        return np.where(inside[:, :, None], windows, np.nan)


def first_edge(times: Array, n_samples: int, dt: float) -> float:
    """Return the time of the first bin, of that time or of the times of all bins.

    Parameters
    ----------
    times : ndarray
        One time, or one a bin, seconds.
    n_samples : int
        Bins of the recording.
    dt : float
        Width of a bin, seconds.

    Returns
    -------
    float
        The time, seconds.

    Raises
    ------
    InputError
        Neither, or times that are not ``dt`` apart.

    Examples
    --------
    >>> first_edge(np.array([1.0, 1.5, 2.0]), 3, 0.5)
    1.0
    """
    values = times.ravel()
    if values.size not in (1, n_samples):
        raise InputError(
            f"start must be the time of the first bin, or of each of {n_samples} bins; it has "
            f"{values.size} values."
        )
    # half a bin lost over the whole recording is a gap, or another width of bins
    drift = np.abs(values - values[0] - dt * np.arange(values.size))
    if drift.max() > 0.5 * dt:
        bin_ = int(np.argmax(drift > 0.5 * dt))
        raise InputError(
            f"start: bins are not {dt:g} s apart; bin {bin_} is at {values[bin_]:g} s, "
            f"{values[bin_] - values[0]:g} s after the first. A recording with gaps is read with "
            "trial_index=."
        )
    return float(values[0])


def cut_piece(
    piece: Piece,
    activity: Array,
    *,
    series: Callable[[str], Any],
    columns: Callable[[str], npt.NDArray[Any]],
    names: Any,
    inputs: Any,
    outputs: Any,
    table: dict[str, npt.NDArray[Any]],
    second: float = 1.0,
    **more: Any,
) -> Recording:
    """Make the recording of the windows.

    Parameters
    ----------
    piece : Piece
        Where the windows lie.
    activity : ndarray, shape (time, neurons)
        Activity.
    series : callable
        From a name to values, (time,) or (time, columns) of the recording or (events,) to be held.
    columns : callable
        From a name to one value an event.
    names : collection of str
        The names.
    inputs, outputs : object
        As for `driven`.
    table : dict of ndarray
        Further columns of the trial table, one value an event.
    second : float
        How many seconds the unit of times in columns has.
    **more : object
        Further arguments of `assemble`.

    Returns
    -------
    Recording
        The recording, with the time of the event in the column ``aligned_to``.

    Raises
    ------
    InputError
        As for `assemble`.
    """
    cut, n_events = piece.cut, len(piece.kept)

    def of_events(name: str) -> npt.NDArray[Any]:
        if name in table:
            return table[name][piece.kept]
        values = np.asarray(columns(name)).ravel()
        if len(values) != n_events:
            raise InputError(
                f"{name!r} must have one value an event of align= ({n_events}); got {len(values)}."
            )
        return values[piece.kept]

    def lookup(name: object) -> Array:
        values = np.asarray(series(str(name)))
        if piece.n_samples not in values.shape:
            return about.numbers("inputs", str(name))
        values = as_float_array(str(name), values, finite=False)
        values = values.reshape(piece.n_samples, -1) if values.ndim == 1 else values
        return piece.take(values if len(values) == piece.n_samples else values.T)

    about = Columns(
        get=of_events,
        names=names,
        what="the events",
        starts=piece.events,
        stops=cut.edges[:, -1],
        second=second,
        words=[word for word in ("onset", "go") if word not in names],
        advice="Times are on the clock of align=; those that count from it are given with after:.",
    )
    stored = {"trial": np.flatnonzero(piece.kept), **{k: v[piece.kept] for k, v in table.items()}}
    frame = pd.DataFrame(stored).assign(aligned_to=piece.events)
    return assemble(
        piece.take(activity),
        driven(inputs, cut, lookup, about),
        None if outputs is None else driven(outputs, cut, lookup, about, "outputs"),
        dt=cut.bin,
        exists=cut.exists,
        table=frame,
        **more,
    )
