"""Inputs made of events: pulses at a time of each trial, and levels held between two."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from predictlearn.arrays import Array
from predictlearn.errors import InputError, choice, nearest
from predictlearn.recordings.readers.binning import Cut
from predictlearn.recordings.readers.conditions import evaluate, listed

__all__ = ["Columns", "is_clock", "of_events", "refuse_clock"]

_KEYS = ("column", "from", "to", "value", "after")
_SAY = (
    "A pulse at an event is {{column: {0}}}, a level held between two events "
    "{{from: {0}, to: other, value: 1}} (inputs=[{{...}}])"
)


@dataclass(frozen=True, eq=False)
class Columns:
    """One value a trial, by name: what rows of inputs refer to.

    Parameters
    ----------
    get : callable
        From a name to the values, (trials,).
    names : collection of str
        The names that there are.
    what : str
        What holds them, for messages.
    starts, stops : ndarray, optional
        When trials start and end on the clock of the events, seconds. Without them, events are
        counted from the alignment of each trial.
    advice : str
        What to do where events are not on that clock, for messages.
    second : float
        How many seconds the unit of the times in columns has.
    words : collection of str
        Which of "onset" and "go" mean the alignment; they may be names of arrays.
    """

    get: Callable[[str], npt.ArrayLike]
    names: Collection[str]
    what: str
    starts: Array | None = None
    stops: Array | None = None
    advice: str = ""
    second: float = 1.0
    words: Collection[str] = ("onset", "go")

    def values(self, argument: str, name: str) -> npt.NDArray[Any]:
        """Return a column as it is, or say which there are."""
        if name not in self.names:
            known = [str(one) for one in self.names]
            close = nearest(name, known)
            hint = f" Did you mean {close!r}?" if close else ""
            raise InputError(
                f"{argument}: there is no column {name!r} of {self.what}; it has "
                f"{listed(known)}.{hint}"
            )
        return np.asarray(self.get(name))

    def numbers(self, argument: str, name: str) -> Array:
        """Return a column of numbers."""
        values = self.values(argument, name)
        if values.dtype.kind not in "biuf":
            raise InputError(
                f"{argument}: {name!r} must hold numbers, one a trial; it holds "
                f"{_kind(values)}. Of text make numbers, for example value: \"{name} == 'right'\"."
            )
        return values.astype(float)


def _kind(values: npt.NDArray[Any]) -> str:
    """Say what a column holds that is no number."""
    shown = listed([repr(str(one)) for one in pd.unique(pd.Series(values.ravel()))], 4)
    return f"text ({shown})" if values.dtype.kind in "OSU" else str(values.dtype)


def is_clock(values: Array, starts: Array | None, stops: Array | None, span: float) -> bool:
    """Say whether a column holds clock times of events, rather than values.

    Parameters
    ----------
    values : ndarray, shape (trials,)
        The column.
    starts, stops : ndarray or None
        When trials start and end, seconds.
    span : float
        Length of a trial where starts are not known, seconds.

    Returns
    -------
    bool
        Whether they rise with the start of the trials and stay beside it, in seconds or
        milliseconds; without starts, whether they rise from trial to trial by about the length of
        a trial or more, and are no whole numbers.

    Examples
    --------
    >>> starts = 4.0 * np.arange(10)
    >>> is_clock(starts + 1.2, starts, starts + 2.0, 2.0), is_clock(starts % 3, starts, None, 2.0)
    (True, False)
    """
    seen = np.isfinite(values)
    known = values[seen]
    if len(known) < 2:
        return False
    # trials that are counted
    counter = bool((known % 1 == 0).all() and (np.diff(np.sort(known)) == 1).all())
    if starts is None:
        whole = bool((known % 1 == 0).all())
        return len(known) >= 5 and not whole and bool((np.diff(known) >= 0.5 * span).all())
    order = np.argsort(starts[seen], kind="stable")
    known, first = known[order], starts[seen][order]
    if counter and not np.array_equal(known, first):
        return False
    ends = first + span if stops is None else stops[seen][order]
    longest = float(np.nanmax(ends - first, initial=0.0))
    if np.ptp(first) <= 2 * longest or (np.diff(known) < 0).any():
        return False
    for unit in (1.0, 1e-3):
        time = unit * known
        inside = bool(((time >= first) & (time <= ends)).all())
        near = len(known) >= 5 and bool((np.abs(time - first) <= 2 * longest).all())
        if inside or near:
            return True
    return False


def refuse_clock(
    argument: str, name: str | None, values: Array, columns: Columns, cut: Cut
) -> None:
    """Refuse clock times where values were asked for.

    Parameters
    ----------
    argument : str
        Name of the argument, for the message.
    name : str or None
        Name of the column; None for an array.
    values : ndarray, shape (trials,)
        The column.
    columns : Columns
        The columns it is one of.
    cut : Cut
        The bins.

    Raises
    ------
    InputError
        They are clock times: says how to ask for a pulse or a level.
    """
    if not is_clock(values, columns.starts, columns.stops, cut.n_bins * cut.bin):
        return
    seen = values[np.isfinite(values)]
    gone = len(values) - len(seen)
    lacking = f" (no value in {gone} trials)" if gone else ""
    raise InputError(
        f"{argument}: {repr(name) if name else 'an array'} holds times of an event "
        f"({listed([f'{v:g}' for v in seen], 3)}), not values: they rise with the start of the "
        f"trials{lacking}. {_SAY.format(name or 'event')}."
    )


def of_events(row: Mapping[Any, Any], cut: Cut, columns: Columns, argument: str) -> Array:
    """Make one input of a row: a pulse, or a level.

    Parameters
    ----------
    row : mapping
        ``column`` alone: a pulse of area ``value`` (its height is value/bin) in the bin that holds
        the time of that column, none in trials without one (NaN). ``from`` and ``to``: a level of
        ``value`` from one time to another; a bin that is covered in part has that part of it.
        Times are columns, "start" or "stop" of the trial, or seconds from the alignment. ``value``
        is a number (default 1), a column or an expression on columns; of a level, by default the
        column called ``column``. ``after``: the column that the times count from.
    cut : Cut
        The bins.
    columns : Columns
        What can be referred to.
    argument : str
        Name of the argument, for messages.

    Returns
    -------
    ndarray, shape (trials, bins)
        The input.

    Raises
    ------
    InputError
        A row that is neither, a column that is not there, times that are not on the clock of the
        trials, levels that end before they begin, or events that lie outside of every trial.
    """
    given = {str(key): value for key, value in row.items() if not _missing(value)}
    for key in given:
        choice(f"{argument}: key of a row", key, _KEYS)
    level = "from" in given or "to" in given
    if ("from" in given) != ("to" in given) or not (level or "column" in given):
        raise InputError(
            f"{argument}: a row is a pulse (column) or a level (from and to), with value; got "
            f"{dict(row)!r}. {_SAY.format('event')}; the end of a trial is called stop."
        )
    named = given.get("column")
    if level and "value" not in given and named in columns.names:
        given["value"] = named
    value = _values(given.get("value", 1.0), cut, columns, f"{argument}: value")
    if not level:
        when = _times(named, given.get("after"), cut, columns, f"{argument}: column")
        _all_have(value, np.isfinite(when), given.get("value"), argument)
        return _pulses(when, value, cut, f"{argument}: {named!r}")
    begin = _times(given["from"], given.get("after"), cut, columns, f"{argument}: from")
    end = _times(given["to"], given.get("after"), cut, columns, f"{argument}: to")
    label = f"{argument}: the level from {given['from']!r} to {given['to']!r}"
    half = np.isfinite(begin) != np.isfinite(end)
    if half.any():
        raise InputError(
            f"{label} has only one end in {int(half.sum())} trials; leave these trials out, or "
            "write to: stop."
        )
    if (end < begin).any():
        trial = int(np.flatnonzero(end < begin)[0])
        raise InputError(
            f"{label} ends before it begins in trial {trial} (rows from 0): from "
            f"{begin[trial]:g} s to {end[trial]:g} s."
        )
    _all_have(value, np.isfinite(begin), given.get("value"), argument)
    edges = cut.edges
    overlap = np.minimum(edges[:, 1:], end[:, None]) - np.maximum(edges[:, :-1], begin[:, None])
    share = np.clip(np.nan_to_num(overlap) / cut.bin, 0.0, 1.0)
    # what differs from none or all by rounding is none or all
    share = np.where(share < 1e-6, 0.0, np.where(share > 1 - 1e-6, 1.0, share))
    _some_inside(np.asarray(share.any(axis=1)), np.isfinite(begin) & (end > begin), label, cut)
    # zero is added so that none of a negative level is plain zero
    return np.asarray(share * np.where(np.isfinite(begin), value, 0.0)[:, None] + 0.0)


def _missing(value: object) -> bool:
    """Say whether a cell of a table of inputs is empty."""
    return value is None or (isinstance(value, float) and np.isnan(value)) or value == ""


def _values(given: object, cut: Cut, columns: Columns, argument: str) -> Array:
    """Return the height of an input in each trial."""
    n_trials = len(cut.zero)
    if isinstance(given, int | float | np.number):
        return np.full(n_trials, float(given))
    if not isinstance(given, str):
        raise InputError(f"{argument} must be a number, a column or an expression; got {given!r}.")
    if given in columns.names:
        values = columns.numbers(argument, given)
    else:
        try:
            values = evaluate(given, columns.get, columns.names)
        except InputError as error:
            raise InputError(f"{argument}: {error}") from error
        if values.dtype.kind not in "biuf":
            raise InputError(f"{argument}: {given!r} must give numbers.")
        values = np.broadcast_to(values.astype(float), (n_trials,))
    refuse_clock(argument, given, values, columns, cut)
    return values


def _all_have(value: Array, there: npt.NDArray[np.bool_], name: object, argument: str) -> None:
    """Refuse events without a value."""
    lacking = int((there & ~np.isfinite(value)).sum())
    if lacking:
        raise InputError(
            f"{argument}: {name!r} has no value in {lacking} trials that have the event; leave "
            "these trials out."
        )


def _times(given: object, after: object, cut: Cut, columns: Columns, argument: str) -> Array:
    """Return times of an event, on the clock of the bins; NaN where a trial has none."""
    if isinstance(given, bool) or not isinstance(given, str | int | float | np.number):
        raise InputError(
            f"{argument} must be a column of times, 'start', 'stop', or seconds from the "
            f"alignment; got {given!r}."
        )
    if given in ("start", "stop") and given not in columns.names:
        edge = cut.edges[:, [0, -1]]
        stops = edge[:, 1] if cut.stops is None else np.minimum(cut.stops, edge[:, 1])
        return np.asarray(edge[:, 0] if given == "start" else stops, dtype=float)
    base = cut.zero
    if after is not None:
        base = columns.second * columns.numbers(f"{argument}, after", str(after))
        _on_the_clock(str(after), base, cut, columns, f"{argument}, after")
    if not isinstance(given, str):
        return np.asarray(base + float(given), dtype=float)
    values = columns.second * columns.numbers(argument, given)
    if after is not None:
        return np.asarray(base + values, dtype=float)
    _on_the_clock(given, values, cut, columns, argument)
    return values


def _on_the_clock(name: str, values: Array, cut: Cut, columns: Columns, argument: str) -> None:
    """Refuse times that do not lie beside their trials."""
    seen = np.isfinite(values)
    if not seen.any():
        raise InputError(f"{argument}: {name!r} has no time in any trial.")
    first = cut.edges[:, 0] if columns.starts is None else columns.starts
    last = cut.edges[:, -1] if columns.stops is None else columns.stops
    first, last = np.fmin(first, cut.edges[:, 0]), np.fmax(last, cut.edges[:, -1])
    reach = float((last - first).max())
    off = seen & ~((values >= first - reach) & (values <= last + reach))
    if off.any():
        trial = int(np.flatnonzero(off)[0])
        raise InputError(
            f"{argument}: {name!r} is {values[trial]:g} in trial {trial} (rows from 0), which runs "
            f"from {first[trial]:g} to {last[trial]:g} s: it is no time on that clock, in seconds."
            f"{' ' + columns.advice if columns.advice else ''}"
        )


def _pulses(when: Array, area: Array, cut: Cut, label: str) -> Array:
    """Return pulses of an area in the bins that hold a time."""
    place = np.floor((when - cut.zero - cut.start) / cut.bin + 1e-6)
    there = np.isfinite(place)
    bins = np.where(there, place, -1).astype(np.int64)
    inside = (bins >= 0) & (bins < cut.n_bins)
    inside &= np.take_along_axis(cut.exists, np.clip(bins, 0, cut.n_bins - 1)[:, None], 1)[:, 0]
    _some_inside(inside, there, label, cut)
    pulses = np.zeros((len(when), cut.n_bins))
    rows = np.flatnonzero(inside)
    pulses[rows, bins[rows]] = area[rows] / cut.bin
    return pulses


def _some_inside(
    inside: npt.NDArray[np.bool_], there: npt.NDArray[np.bool_], label: str, cut: Cut
) -> None:
    """Refuse events that are in no trial's bins; warn of those that are not."""
    where = f"the bins of the trials ({cut.start:g} to {cut.start + cut.n_bins * cut.bin:g} s)"
    lost = int((there & ~inside).sum())
    if not inside.any():
        raise InputError(f"{label} lies outside of {where} in every trial.")
    if lost:
        warnings.warn(
            f"{label} lies outside of {where} in {lost} of {int(there.sum())} trials, which have "
            "no such input.",
            UserWarning,
            stacklevel=5,
        )
