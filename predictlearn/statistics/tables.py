"""Tables at the door: one row an observation, columns by name; every refusal names the row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from predictlearn.arrays import Array
from predictlearn.doors import LARGEST
from predictlearn.errors import InputError, nearest

__all__ = ["AnimalMeans", "ColumnLabels", "Pairs"]

Limits = tuple[float | None, float | None]


@dataclass(frozen=True)
class ColumnLabels:
    """A column of labels: a number for each row, and what the numbers stand for.

    Parameters
    ----------
    codes : numpy.ndarray of int, (rows,)
        Which label.
    names : tuple of str
        The labels, in order: of their category if there is one, else sorted.
    """

    codes: np.ndarray
    names: tuple[str, ...]


@dataclass(frozen=True)
class AnimalMeans:
    """One value an animal, of animals that each belong to one arm.

    Parameters
    ----------
    values : numpy.ndarray, (animals,)
        Mean outcome over the rows of each animal.
    arm : numpy.ndarray of int, (animals,)
        Which arm.
    arms : tuple of str
        Names of the arms, the reference first.
    """

    values: Array
    arm: np.ndarray
    arms: tuple[str, ...]

    def of(self, arm: int) -> Array:
        """Return the values of one arm."""
        return self.values[self.arm == arm]


@dataclass(frozen=True)
class Pairs:
    """Two values an animal, (animals, 2), the reference first.

    Parameters
    ----------
    values : numpy.ndarray, (animals, 2)
        Mean outcome of each animal in either condition.
    arms : tuple of str
        Names of the conditions, the reference first.
    """

    values: Array
    arms: tuple[str, str]


def as_table(data: object) -> pd.DataFrame:
    """Return a table that has rows, or raise InputError."""
    if not isinstance(data, pd.DataFrame):
        raise InputError(
            "data must be a pandas DataFrame with one row an observation; "
            f"got {type(data).__name__}."
        )
    if data.empty:
        raise InputError("data must have at least one row; got none.")
    return data


def _column(data: pd.DataFrame, role: str, name: object) -> pd.Series:
    """Return the column that plays a role."""
    columns = [str(column) for column in data.columns]
    if not isinstance(name, str):
        raise InputError(f"{role} must be the name of a column; got {name!r}.")
    if name not in data.columns:
        close = nearest(name, columns)
        hint = f" Did you mean {close!r}?" if close else ""
        listed = ", ".join(columns[:20]) + (", ..." if len(columns) > 20 else "")
        raise InputError(f"{role} {name!r} is not a column; the columns are {listed}.{hint}")
    column = data[name]
    if isinstance(column, pd.DataFrame):
        raise InputError(f"{role} {name!r} is the name of {column.shape[1]} columns.")
    return column


def _row(data: pd.DataFrame, at: int) -> str:
    """Return the label of a row, for a message."""
    return f"row {data.index[at]!r}" if isinstance(data.index[at], str) else f"row {data.index[at]}"


def numbers(data: pd.DataFrame, role: str, name: object, limits: Limits = (None, None)) -> Array:
    """Return a column of finite numbers within limits, or raise InputError with the row."""
    column = _column(data, role, name)
    values = column.to_numpy()
    if values.dtype.kind not in "biuf":
        missing = column.isna().to_numpy()
        found = pd.to_numeric(column, errors="coerce").to_numpy(dtype=float, na_value=np.nan)
        wrong = np.flatnonzero(np.isnan(found) & ~missing)
        if wrong.size or column.dtype.kind in "mM":
            at = int(wrong[0]) if wrong.size else 0
            raise InputError(
                f"{role} {name!r} must hold numbers; {_row(data, at)} holds {column.iloc[at]!r}."
            )
        values = found
    values = values.astype(float)
    bad = np.flatnonzero(~(np.abs(values) <= LARGEST))
    if bad.size:
        at = int(bad[0])
        what = "missing" if np.isnan(values[at]) else f"{values[at]:g}"
        raise InputError(
            f"{role} {name!r} must be finite in every row; {_row(data, at)} is {what} "
            f"({bad.size} of {values.size} rows). Leave such rows out, and say how many."
        )
    low, high = limits
    outside = np.zeros(values.size, dtype=bool)
    if low is not None:
        outside |= values < low
    if high is not None:
        outside |= values > high
    if outside.any():
        at = int(np.flatnonzero(outside)[0])
        ends = " and ".join(
            f"at {word} {end:g}"
            for word, end in (("least", low), ("most", high))
            if end is not None
        )
        raise InputError(
            f"{role} {name!r} must be {ends}; {_row(data, at)} holds {values[at]:g} "
            f"({int(outside.sum())} such rows)."
        )
    return values


def labels(data: pd.DataFrame, role: str, name: object) -> ColumnLabels:
    """Return a column of labels, none missing, or raise InputError with the row."""
    column = _column(data, role, name)
    if isinstance(column.dtype, pd.CategoricalDtype):
        codes = column.cat.codes.to_numpy().astype(np.intp)
        kept = np.unique(codes[codes >= 0])
        names = [column.cat.categories[i] for i in kept]
        codes = np.where(codes < 0, -1, np.searchsorted(kept, codes))
    else:
        try:
            codes, levels = pd.factorize(column.to_numpy(), sort=True)
        except TypeError:  # labels of several kinds, which have no order
            codes, levels = pd.factorize(column.astype(object).map(str), sort=True)
        names = list(levels)
    gone = np.flatnonzero(codes < 0)
    if gone.size:
        raise InputError(
            f"{role} {name!r} is missing in {_row(data, int(gone[0]))} "
            f"({gone.size} of {codes.size} rows)."
        )
    return ColumnLabels(codes, tuple(map(str, names)))


def reference_first(found: ColumnLabels, role: str, reference: object) -> ColumnLabels:
    """Return labels with the reference moved to the first place."""
    if reference is None or str(reference) == found.names[0]:
        return found
    if str(reference) not in found.names:
        close = nearest(reference, found.names)
        hint = f" Did you mean {close!r}?" if close else ""
        raise InputError(
            f"reference must be one of the labels of {role}, {', '.join(found.names)}; "
            f"got {reference!r}.{hint}"
        )
    first = found.names.index(str(reference))
    order = [first, *(i for i in range(len(found.names)) if i != first)]
    place = np.argsort(order)
    return ColumnLabels(place[found.codes], tuple(found.names[i] for i in order))


def arm_labels(data: pd.DataFrame, arm: object, reference: object = None) -> ColumnLabels:
    """Return the arms, at least two, the reference first."""
    found = reference_first(labels(data, "arm", arm), "arm", reference)
    if len(found.names) < 2:
        raise InputError(
            f"arm {arm!r} must hold at least two arms; every row, from {_row(data, 0)} on, "
            f"holds {found.names[0]!r}."
        )
    return found


def within(
    data: pd.DataFrame,
    inner: ColumnLabels,
    outer: ColumnLabels,
    inner_name: str,
    outer_name: str,
    why: str,
) -> np.ndarray:
    """Return which outer label each inner one belongs to; each may belong to one only."""
    n = len(inner.names)
    belongs = np.zeros(n, dtype=np.intp)
    belongs[inner.codes[::-1]] = outer.codes[::-1]  # the first row of each decides
    wrong = np.flatnonzero(belongs[inner.codes] != outer.codes)
    if wrong.size:
        at = int(wrong[0])
        one = inner.codes[at]
        raise InputError(
            f"{inner_name} {inner.names[one]!r} is in {outer_name} "
            f"{outer.names[belongs[one]]!r} and, in {_row(data, at)}, in "
            f"{outer.names[outer.codes[at]]!r}; {why}"
        )
    return belongs


def _enough(
    data: pd.DataFrame, arm: np.ndarray, arms: Sequence[str], animals: ColumnLabels, least: int
) -> None:
    """Raise InputError if an arm has too few animals."""
    sizes = np.bincount(arm, minlength=len(arms))
    if sizes.min() < least:
        few = int(np.argmin(sizes))
        at = int(np.flatnonzero(np.isin(animals.codes, np.flatnonzero(arm == few)))[0])
        words = "1 animal" if sizes[few] == 1 else f"{sizes[few]} animals"
        raise InputError(
            f"every arm must have at least {least} animals; arm {arms[few]!r} has {words}, "
            f"first in {_row(data, at)}."
        )


def mean_by(codes: np.ndarray, n: int, values: Array) -> Array:
    """Return the mean of values over the rows of each of n groups."""
    return np.bincount(codes, weights=values, minlength=n) / np.bincount(codes, minlength=n)


def animals_in_arms(
    data: object,
    *,
    outcome: str,
    arm: str,
    subject: str,
    reference: object = None,
    limits: Limits = (None, None),
    least: int = 2,
) -> AnimalMeans:
    """Return the mean outcome of every animal, each in one arm, or raise InputError."""
    table = as_table(data)
    values = numbers(table, "outcome", outcome, limits)
    groups = arm_labels(table, arm, reference)
    animals = labels(table, "subject", subject)
    belongs = within(
        table,
        animals,
        groups,
        "subject",
        "arm",
        "independent groups need different animals: use compare_pairs for the same ones, or give "
        "animals of different arms different names.",
    )
    _enough(table, belongs, groups.names, animals, least)
    return AnimalMeans(mean_by(animals.codes, len(animals.names), values), belongs, groups.names)


def animals_in_both(
    data: object,
    *,
    outcome: str,
    arm: str,
    subject: str,
    reference: object = None,
    limits: Limits = (None, None),
) -> Pairs:
    """Return the mean outcome of every animal in either of two conditions, or raise InputError."""
    table = as_table(data)
    values = numbers(table, "outcome", outcome, limits)
    groups = arm_labels(table, arm, reference)
    animals = labels(table, "subject", subject)
    if len(groups.names) != 2:
        raise InputError(
            f"arm {arm!r} must hold two conditions to be compared within animals; it holds "
            f"{len(groups.names)}: {', '.join(groups.names)}. Take two, or use mixed_model."
        )
    n = len(animals.names)
    cells = 2 * animals.codes + groups.codes
    counts = np.bincount(cells, minlength=2 * n).reshape(n, 2)
    if (counts == 0).any():
        which, side = (int(at[0]) for at in np.nonzero(counts == 0))
        at = int(np.flatnonzero(animals.codes == which)[0])
        raise InputError(
            f"subject {animals.names[which]!r} ({_row(table, at)}) has no row in arm "
            f"{groups.names[side]!r} ({int((counts == 0).any(axis=1).sum())} such animals); leave "
            "it out, or use mixed_model, which takes animals with one condition too."
        )
    if n < 2:
        raise InputError(f"a paired test needs at least 2 animals; got 1, in {_row(table, 0)}.")
    means = mean_by(cells, 2 * n, values).reshape(n, 2)
    return Pairs(means, (groups.names[0], groups.names[1]))
