"""Trials cut out of continuous time: which bins there are, and what falls into them."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from predictlearn.checks import as_float_array, positive
from predictlearn.doors import room
from predictlearn.errors import InputError

__all__ = ["Cut", "apart", "cut_epochs", "cut_whole", "union"]

# Seconds. A spike on an edge belongs to the later bin even if rounding put it just before the edge.
_SLACK = 1e-9
# Seconds: no window about an event is longer.
_LONGEST_WINDOW = 600.0


@dataclass(frozen=True, eq=False)
class Cut:
    """The bins of every trial: bin j of trial k is [first_k + j bin, first_k + (j + 1) bin).

    Parameters
    ----------
    zero : ndarray, shape (trials,)
        The time that each trial is aligned to, seconds.
    start : float
        First edge, relative to ``zero``, seconds.
    bin : float
        Width of a bin, seconds.
    n_bins : int
        Bins of the longest trial.
    stops : ndarray, shape (trials,), optional
        Where the data of each trial end, seconds; only bins that lie before it wholly are there.

    Examples
    --------
    >>> cut = Cut(np.array([1.0, 3.0]), start=0.0, bin=0.5, n_bins=2)
    >>> cut.count(np.array([1.1, 1.2, 1.5, 3.9, 4.0])).tolist()
    [[2.0, 1.0], [0.0, 1.0]]
    """

    zero: npt.NDArray[np.float64]
    start: float
    bin: float
    n_bins: int
    stops: npt.NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        """Refuse more bins than can be held."""
        n_trials = len(self.zero)
        longest = (
            "" if self.bin * self.n_bins < 1e4 else f" (a trial of {self.bin * self.n_bins:g} s)"
        )
        # edges, what exists, and how much an input covers
        room(
            f"{n_trials} trials of {self.n_bins} bins of {self.bin:g} s{longest}",
            24.0 * n_trials * self.n_bins,
        )

    @property
    def edges(self) -> npt.NDArray[np.float64]:
        """Edges of the bins, (trials, n_bins + 1), seconds."""
        steps = self.bin * np.arange(self.n_bins + 1)
        return np.asarray(np.add.outer(self.zero + self.start, steps), dtype=np.float64)

    @property
    def times(self) -> npt.NDArray[np.float64]:
        """Left edges of the bins relative to the alignment, (n_bins,), seconds."""
        return np.asarray(self.start + self.bin * np.arange(self.n_bins), dtype=np.float64)

    @property
    def exists(self) -> npt.NDArray[np.bool_]:
        """Which bins each trial has, (trials, n_bins)."""
        if self.stops is None:
            return np.ones((len(self.zero), self.n_bins), dtype=bool)
        return np.asarray(self.edges[:, 1:] <= self.stops[:, None] + 1e-6 * self.bin)

    def count(self, times: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Count events in every bin.

        Parameters
        ----------
        times : ndarray, shape (events,)
            Sorted times of events, seconds.

        Returns
        -------
        ndarray, shape (trials, n_bins)
            Number of events.
        """
        return np.diff(np.searchsorted(times, self.edges - _SLACK), axis=1).astype(float)

    def average(self, times: npt.NDArray[np.float64], values: Any) -> npt.NDArray:
        """Average the samples of every bin.

        Parameters
        ----------
        times : ndarray, shape (samples,)
            Sorted times of the samples, seconds.
        values : array_like, shape (samples, columns)
            The samples, read trial by trial if they lie in a file; NaN samples are left out.

        Returns
        -------
        ndarray, shape (trials, n_bins, columns)
            Means; NaN where a bin has no sample.
        """
        columns = np.shape(values)[1]
        bounds = np.searchsorted(times, self.edges - _SLACK)
        means = np.full((len(self.zero), self.n_bins, columns), np.nan)
        for trial, edge in enumerate(bounds):
            full = np.flatnonzero(np.diff(edge))
            if not full.size:
                continue
            block = np.asarray(values[edge[0] : edge[-1]], dtype=float)
            seen = ~np.isnan(block)
            # sums from the first sample of one bin that has any to that of the next
            starts = edge[full] - edge[0]
            total = np.add.reduceat(np.where(seen, block, 0.0), starts, axis=0)
            number = np.add.reduceat(seen.astype(float), starts, axis=0)
            means[trial, full] = np.where(number > 0, total / np.maximum(number, 1), np.nan)
        return means

    def covered(self, intervals: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
        """Say which bins lie wholly in one of some intervals.

        Parameters
        ----------
        intervals : ndarray, shape (intervals, 2)
            Starts and ends, seconds; they may touch and overlap.

        Returns
        -------
        ndarray of bool, shape (trials, n_bins)
            Whether they do.
        """
        merged = union(intervals)
        edges = self.edges
        if not len(merged):
            return np.zeros((len(self.zero), self.n_bins), dtype=bool)
        slack = 1e-6 * self.bin
        which = np.searchsorted(merged[:, 0], edges[:, :-1] + slack, side="right") - 1
        ends = merged[np.maximum(which, 0), 1]
        return np.asarray((which >= 0) & (edges[:, 1:] <= ends + slack))

    def touched(self, intervals: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
        """Say which bins share time with one of some intervals.

        Parameters
        ----------
        intervals : ndarray, shape (intervals, 2)
            Starts and ends, seconds.

        Returns
        -------
        ndarray of bool, shape (trials, n_bins)
            Whether they do.
        """
        merged = union(intervals)
        edges = self.edges
        if not len(merged):
            return np.zeros((len(self.zero), self.n_bins), dtype=bool)
        slack = 1e-6 * self.bin
        before = np.searchsorted(merged[:, 0], edges[:, 1:] - slack)
        return np.asarray(before > np.searchsorted(merged[:, 1], edges[:, :-1] + slack))


def _whole(count: float) -> int:
    """Return a number of bins, however large."""
    return int(min(count, 1e15))


def union(intervals: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Join intervals that touch or overlap.

    Parameters
    ----------
    intervals : array_like, shape (intervals, 2)
        Starts and ends, in any order.

    Returns
    -------
    ndarray, shape (fewer, 2)
        Sorted intervals with gaps between them.

    Examples
    --------
    >>> union([[3.0, 4.0], [0.0, 1.0], [0.5, 2.0]]).tolist()
    [[0.0, 2.0], [3.0, 4.0]]
    """
    pairs = np.asarray(intervals, dtype=float).reshape(-1, 2)
    pairs = pairs[np.argsort(pairs[:, 0], kind="stable")]
    if not len(pairs):
        return pairs
    reach = np.maximum.accumulate(pairs[:, 1])
    new = np.concatenate([[True], pairs[1:, 0] > reach[:-1] + _SLACK])
    last = np.concatenate([np.flatnonzero(new)[1:] - 1, [len(pairs) - 1]])
    return np.stack([pairs[new, 0], reach[last]], axis=1)


def cut_epochs(
    zero: npt.ArrayLike,
    stops: npt.ArrayLike | None,
    window: object,
    bin: float,
) -> Cut:
    """Cut trials around times of alignment.

    Parameters
    ----------
    zero : array_like, shape (trials,)
        Times of alignment, seconds.
    stops : array_like, shape (trials,), or None
        Ends of the trials, seconds; needed where ``window`` is None.
    window : (float, float) or None
        First and last edge relative to the alignment, seconds. None: from the alignment to the end
        of each trial.
    bin : float
        Width of a bin, seconds.

    Returns
    -------
    Cut
        The bins.

    Raises
    ------
    InputError
        A window that is not two increasing numbers with a whole number of bins between them, or
        longer than ten minutes, or no trial as long as one bin.
    """
    width = positive("bin", bin)
    times = as_float_array("times of alignment", zero, ndim=1)
    if window is None:
        if stops is None:
            raise InputError(
                "the trials have no ends (stop_time); give window=(start, stop) about the "
                "alignment, in seconds."
            )
        ends = as_float_array("ends of trials", stops, shape=times.shape)
        n_bins = _whole(np.floor((ends - times).max(initial=0.0) / width + 1e-6))
        if n_bins < 1:
            longest = float((ends - times).max(initial=0.0))
            raise InputError(
                f"no trial holds a whole bin of {width:g} s: the longest lasts {longest:g} s from "
                "the alignment on; take a smaller bin, or give window=(start, stop)."
            )
        return Cut(times, 0.0, width, n_bins, ends)
    try:
        start, stop = (float(edge) for edge in window)  # type: ignore[attr-defined]
    except (TypeError, ValueError):
        raise InputError(
            "window must be (start, stop) in seconds about the alignment, None for start to stop "
            f"of each trial, or 'whole'; got {window!r}."
        ) from None
    if not (np.isfinite([start, stop]).all() and stop > start):
        raise InputError(f"window must be two increasing numbers of seconds; got {window!r}.")
    if stop - start > _LONGEST_WINDOW:
        raise InputError(
            f"window is in seconds about the alignment; got {window!r}, {stop - start:g} s. "
            f"Milliseconds are ({start / 1000:g}, {stop / 1000:g})."
        )
    n_bins = max(1, _whole(np.round((stop - start) / width)))
    if abs(n_bins * width - (stop - start)) > 1e-6 * width * n_bins:
        raise InputError(
            f"window must hold a whole number of bins of {width:g} s; got {window!r}. Nearest: "
            f"({start:g}, {start + n_bins * width:.6g})."
        )
    return Cut(times, start, width, n_bins)


def apart(cut: Cut) -> Cut:
    """End trials where the next one begins, so that nothing is counted in two of them.

    Data that stand in two trials are no independent evidence: intervals would be too narrow, and
    held-out trials would not be held out.

    Parameters
    ----------
    cut : Cut
        The bins of trials cut from one recording.

    Returns
    -------
    Cut
        The same where no windows overlap.

    Warns
    -----
    UserWarning
        Trials were shortened: says how many, and which window does not overlap.

    Raises
    ------
    InputError
        A trial would have nothing left from its alignment on.

    Examples
    --------
    >>> apart(Cut(np.array([0.0, 1.0]), 0.0, 0.5, 2)).stops is None
    True
    """
    begin, last = cut.edges[:, 0], cut.edges[:, -1]
    ends = last if cut.stops is None else np.minimum(cut.stops, last)
    order = np.argsort(begin, kind="stable")
    following = np.full(len(begin), np.inf)
    following[order[:-1]] = begin[order[1:]]
    slack = 1e-6 * cut.bin
    short = ends > following + slack
    if not short.any():
        return cut
    gone = short & (following < np.maximum(cut.zero, begin) + cut.bin - slack)
    if gone.any():
        trial = int(np.flatnonzero(gone)[0])
        raise InputError(
            f"trial {trial} (rows from 0) is aligned at {cut.zero[trial]:g} s and the window of "
            f"the next one begins at {following[trial]:g} s: {int(gone.sum())} of {len(begin)} "
            "trials have no bin of their own. Choose trials, another window or other intervals."
        )
    free = np.floor(np.diff(np.sort(begin)).min() / cut.bin + 1e-6) * cut.bin
    warnings.warn(
        f"windows overlap: {int(short.sum())} of {len(begin)} trials end where the window of the "
        "next one begins, so that nothing is counted twice. No windows overlap with "
        f"({cut.start:g}, {cut.start + free:g}).",
        UserWarning,
        stacklevel=4,
    )
    return replace(cut, stops=np.minimum(ends, following))


def cut_whole(intervals: npt.ArrayLike, length: float | None, bin: float) -> Cut:
    """Cut intervals of time into pseudo-trials of equal length, one after the other.

    Parameters
    ----------
    intervals : array_like, shape (intervals, 2)
        Starts and ends of what there is, seconds.
    length : float
        Length of a pseudo-trial, seconds, a whole number of bins.
    bin : float
        Width of a bin, seconds.

    Returns
    -------
    Cut
        The bins. What is left over at the end of an interval is not used.

    Raises
    ------
    InputError
        No length, a length that is no whole number of bins, or fewer than two pseudo-trials.
    """
    if length is None:
        raise InputError(
            "window='whole' needs length=, the length of a pseudo-trial in seconds, for example "
            "length=2.0."
        )
    span = positive("length", length)
    width = positive("bin", bin)
    n_bins = max(1, _whole(np.round(span / width)))
    if abs(n_bins * width - span) > 1e-6 * span:
        raise InputError(
            f"length must be a whole number of bins of {width:g} s; got {length!r}. Nearest: "
            f"{n_bins * width:.6g}."
        )
    pairs = union(as_float_array("intervals", intervals, shape=(None, 2), axes="(start, stop)"))
    total = float(np.floor(np.diff(pairs, axis=1) / span + 1e-9).sum())
    room(f"{total:g} pseudo-trials of {span:g} s", 24.0 * max(total, 0.0) * n_bins)
    zero = [
        start + span * np.arange(int(np.floor((stop - start) / span + 1e-9)))
        for start, stop in pairs
    ]
    times = np.concatenate(zero) if zero else np.zeros(0)
    if len(times) < 2:
        total = float(np.diff(pairs, axis=1).sum())
        raise InputError(
            f"length {span:g} s leaves {len(times)} pseudo-trials of {total:g} s in "
            f"{len(pairs)} interval(s); at least two are needed, so take a shorter length."
        )
    return Cut(times, 0.0, width, n_bins)
