"""What was measured along learning: sessions, what was learned between them, and the errors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import linalg

from predictlearn.arrays import Array
from predictlearn.checks import as_float_array, positive, positive_int
from predictlearn.errors import InputError
from predictlearn.theory.learning.phases import LOSS, cumulative_epochs, interval_tasks
from predictlearn.theory.names import overlap_names, table_pairs
from predictlearn.theory.trials import Task

__all__ = [
    "Noise",
    "Sessions",
    "checked_sessions",
    "inferred_sizes",
]


@dataclass(frozen=True, eq=False)
class Noise:
    """Errors of the measurements, as far as they are known.

    Parameters
    ----------
    known : bool
        Whether the errors were given; if not, one standard deviation a group is estimated.
    sd : numpy.ndarray, (n,)
        Standard deviation of every measurement; ones where it is to be estimated.
    group : numpy.ndarray of int, (n,)
        0 for overlaps, 1 for losses: a group shares one estimated standard deviation.
    roots : list of (slice, numpy.ndarray), optional
        Lower Cholesky factor of the covariance of each session's measurements, where covariances
        were given.
    shared : numpy.ndarray, (n, q), optional
        Root of a covariance between all measurements that comes on top, such as that of the neurons
        that were recorded in every session.
    """

    known: bool
    sd: Array
    group: npt.NDArray[np.intp]
    roots: list[tuple[slice, Array]] | None = None
    shared: Array | None = None

    def whiten(self, values: Array, group_sd: Array) -> Array:
        """Return values, (n,) or (n, p), in units of the noise; `group_sd` is (2,)."""
        own = self.own(values, group_sd)
        if self.shared is None:
            return own
        part = self.own(self.shared, group_sd)
        root = np.linalg.cholesky(np.eye(len(part)) + part @ part.T)
        return np.asarray(linalg.solve_triangular(root, own, lower=True))

    def own(self, values: Array, group_sd: Array) -> Array:
        """Return values in units of the noise of each session alone."""
        if self.roots is not None:
            out = np.empty_like(values)
            for rows, root in self.roots:
                out[rows] = linalg.solve_triangular(root, values[rows], lower=True)
            return out
        sd = self.sd if self.known else group_sd[self.group]
        return values / (sd if values.ndim == 1 else sd[:, None])

    def log_determinant(self, group_sd: Array) -> float:
        """Return the log determinant of the covariance of all measurements."""
        if self.shared is not None:
            part = self.own(self.shared, group_sd)
            joint = np.linalg.slogdet(np.eye(part.shape[1]) + part.T @ part)[1]
            return replace(self, shared=None).log_determinant(group_sd) + float(joint)
        if self.roots is not None:
            return float(sum(2 * np.log(np.diag(root)).sum() for _, root in self.roots))
        sd = self.sd if self.known else group_sd[self.group]
        return float(2 * np.log(sd).sum())


@dataclass(frozen=True, eq=False)
class Sessions:
    """Measurements along learning, checked.

    Parameters
    ----------
    sizes : tuple of int
        (n_in, rank, n_out).
    epochs : numpy.ndarray of int, (sessions,)
        Updates made before each session.
    tasks : tuple of Task
        One an interval between sessions.
    columns : tuple of str
        What was measured: names of overlaps, and "loss".
    index : pandas.Index
        Labels of the sessions.
    session, column : numpy.ndarray of int, (n,)
        Where each measurement stands; sessions in order.
    values : numpy.ndarray, (n,)
        The measurements.
    noise : Noise
        Their errors.
    """

    sizes: tuple[int, int, int]
    epochs: npt.NDArray[np.intp]
    tasks: tuple[Task, ...]
    columns: tuple[str, ...]
    index: pd.Index
    session: npt.NDArray[np.intp]
    column: npt.NDArray[np.intp]
    values: Array
    noise: Noise

    @classmethod
    def named(
        cls, sizes: tuple[int, int, int], epochs: Any, tasks: Any, columns: Sequence[str], n: int
    ) -> Sessions:
        """Return n sessions whose overlaps are measured by a likelihood of its own: NaN here.

        Raises
        ------
        InputError
            If tasks or epochs cannot be used.
        """
        session, column = (grid.ravel() for grid in np.indices((n, len(columns))))
        return cls(
            sizes=sizes,
            epochs=cumulative_epochs(epochs, n),
            tasks=interval_tasks(tasks, n - 1),
            columns=tuple(columns),
            index=pd.RangeIndex(n),
            session=session,
            column=column,
            values=np.full(session.size, np.nan),
            noise=Noise(True, np.ones(session.size), np.zeros_like(session)),
        )

    @property
    def n(self) -> int:
        """Number of measurements."""
        return len(self.values)

    def first(self, count: int) -> Sessions:
        """Return the first sessions alone, at least two; errors must be of each session alone."""
        rows = slice(0, int(np.searchsorted(self.session, count)))
        noise, roots = self.noise, self.noise.roots
        return replace(
            self,
            epochs=self.epochs[:count],
            tasks=self.tasks[: count - 1],
            index=self.index[:count],
            session=self.session[rows],
            column=self.column[rows],
            values=self.values[rows],
            noise=replace(
                noise,
                sd=noise.sd[rows],
                group=noise.group[rows],
                roots=None if roots is None else roots[:count],
            ),
        )

    def table(self, values: Array) -> pd.DataFrame:
        """Return values, (n,), as a table of sessions by columns; NaN where nothing was seen."""
        table = np.full((len(self.epochs), len(self.columns)), np.nan)
        table[self.session, self.column] = values
        return pd.DataFrame(table, index=self.index, columns=list(self.columns))


def inferred_sizes(columns: Sequence[str], n_in: int, rank: int | None, n_out: int) -> int:
    """Return the rank that the names of the overlaps imply, given the task's inputs and outputs.

    Raises
    ------
    InputError
        If no rank gives all names, or only the loss was measured and no rank is given.
    """
    named = [c for c in columns if c != LOSS]
    if rank is not None:
        known = overlap_names(n_in, positive_int("rank", rank), n_out)
        unknown = [c for c in named if c not in known]
        if unknown:
            raise InputError(
                f"sessions has columns that are no overlap of a network of rank {rank} with "
                f"{n_in} input(s) and {n_out} output(s): {', '.join(map(str, unknown))}; "
                f"the names are {', '.join(known)}, and {LOSS}."
            )
        return rank
    if not named:
        raise InputError(
            "rank must be given where sessions holds only the loss: no column tells it."
        )
    for guess in range(1, 10):
        if set(named) <= set(overlap_names(n_in, guess, n_out)):
            return guess
    known = overlap_names(n_in, 1, n_out)
    unknown = [c for c in named if c not in known]
    raise InputError(
        f"sessions has columns that belong to no network with {n_in} input(s) and {n_out} "
        f"output(s), as the task has: {', '.join(map(str, unknown))}; for rank 1 the names are "
        f"{', '.join(known)}, and {LOSS}."
    )


def checked_sessions(
    sessions: Any,
    tasks: Any,
    epochs: Any,
    errors: Any,
    rank: int | None,
    rank_of: Callable[[Sequence[str], int, int | None, int], int] = inferred_sizes,
) -> Sessions:
    """Check everything that a fit is given about the sessions.

    Parameters
    ----------
    sessions, tasks, epochs, errors
        As for `LearningFit.fit`.
    rank : int, optional
        Rank of the network, where names do not tell it.
    rank_of : callable
        Returns the rank from the names of the columns, n_in, the rank as given, and n_out, or
        raises InputError for a name that is none.

    Returns
    -------
    Sessions
        The measurements in one row of numbers.

    Raises
    ------
    InputError
        If anything cannot be used; the message names the argument.
    """
    if not isinstance(sessions, pd.DataFrame):
        raise InputError(
            "sessions must be a DataFrame with one row a session and overlap names as columns; "
            f"got {type(sessions).__name__}."
        )
    if len(sessions) < 2:
        raise InputError(f"sessions must hold at least 2 sessions; got {len(sessions)}.")
    if sessions.columns.has_duplicates:
        raise InputError("sessions must have every column once; some names are repeated.")
    columns = tuple(str(c) for c in sessions.columns)
    if not columns:
        raise InputError("sessions must have at least one column; it has none.")
    given = interval_tasks(tasks, len(sessions) - 1)
    when = cumulative_epochs(epochs, len(sessions))
    n_in, n_out = given[0].n_in, given[0].n_out
    rank = rank_of(columns, n_in, rank, n_out)
    table = as_float_array("sessions", sessions, ndim=2, finite=False)
    if np.isinf(table).any():
        raise InputError("sessions must be finite, or NaN where unseen; some are infinite.")
    seen = ~np.isnan(table)
    if not seen.any():
        raise InputError("sessions holds no value: all are NaN.")
    session, column = np.nonzero(seen)
    return Sessions(
        sizes=(n_in, rank, n_out),
        epochs=when,
        tasks=given,
        columns=columns,
        index=sessions.index,
        session=session,
        column=column,
        values=table[seen],
        noise=_checked_errors(errors, columns, seen, session, column),
    )


def _checked_errors(
    errors: Any,
    columns: tuple[str, ...],
    seen: npt.NDArray[np.bool_],
    session: npt.NDArray[np.intp],
    column: npt.NDArray[np.intp],
) -> Noise:
    """Return the noise of every measurement, or raise InputError."""
    group = np.array([int(name == LOSS) for name in columns])[column]
    ones = np.ones(len(session))
    if errors is None:
        return Noise(False, ones, group)
    if isinstance(errors, pd.DataFrame):
        if errors.shape != seen.shape or {str(c) for c in errors.columns} != set(columns):
            raise InputError(
                f"errors must have the columns and the {seen.shape[0]} rows of sessions; got "
                f"shape {errors.shape}."
            )
        ordered = errors.set_axis([str(c) for c in errors.columns], axis=1)[list(columns)]
        sd = as_float_array("errors", ordered, ndim=2, finite=False)[session, column]
    elif isinstance(errors, pd.Series | dict):
        by_name = {str(k): v for k, v in dict(errors).items()}
        missing = [name for name in columns if name not in by_name]
        if missing:
            raise InputError(f"errors must name every column; missing: {', '.join(missing)}.")
        sd = np.array([positive(f"errors[{name!r}]", by_name[name]) for name in columns])[column]
    elif isinstance(errors, list | tuple) or (isinstance(errors, np.ndarray) and errors.ndim == 3):
        return Noise(True, ones, group, _roots(errors, seen, session))
    else:
        sd = positive("errors", errors) * ones
    if not (np.all(np.isfinite(sd)) and np.all(sd > 0)):
        raise InputError("errors must be positive wherever sessions holds a value.")
    return Noise(True, sd, group)


def _roots(
    errors: Any, seen: npt.NDArray[np.bool_], session: npt.NDArray[np.intp]
) -> list[tuple[slice, Array]]:
    """Return the Cholesky factor of every session's covariance, over what it saw."""
    if len(errors) != len(seen):
        raise InputError(
            f"errors must hold one covariance matrix a session ({len(seen)}); got {len(errors)}."
        )
    bounds = np.searchsorted(session, np.arange(len(seen) + 1))
    roots = []
    for k, matrix in enumerate(errors):
        label = f"errors[{k}]"
        full = as_float_array(label, matrix, shape=(seen.shape[1],) * 2, finite=False)
        part = full[np.ix_(seen[k], seen[k])]
        if not np.allclose(part, part.T, rtol=1e-8, atol=0.0):
            raise InputError(f"{label} must be a symmetric covariance matrix.")
        try:
            root = np.linalg.cholesky(part)
        except np.linalg.LinAlgError as error:
            raise InputError(f"{label} must be positive definite over what was seen.") from error
        roots.append((slice(bounds[k], bounds[k + 1]), root))
    return roots


def start_values(data: Sessions) -> dict[tuple[int, int], float]:
    """Return the first value seen of every measured overlap, by its row and column in S."""
    pairs = table_pairs(*data.sizes)
    first: dict[tuple[int, int], float] = {}
    for k, c, value in zip(data.session, data.column, data.values, strict=True):
        name = data.columns[c]
        # the first session alone: later ones have moved
        if k == 0 and name != LOSS:
            first[pairs[name]] = float(value)
    return first
