"""Columns of a linear model from the columns of a table: numbers centred, factors as contrasts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from predictlearn.arrays import Array
from predictlearn.checks import names_of
from predictlearn.errors import InputError
from predictlearn.statistics.tables import arm_labels, labels, numbers

__all__ = ["ModelDesign", "Term", "design_of"]


@dataclass(frozen=True)
class Term:
    """One column of a design.

    Parameters
    ----------
    name : str
        Name of the row that it becomes.
    kind : str
        ``"factor"``, ``"number"`` or ``"interaction"``.
    column : int
        Which column of the design.
    siblings : tuple of int
        Columns of the same factor, itself among them.
    sd : float
        Standard deviation of the column over rows.
    """

    name: str
    kind: str
    column: int
    siblings: tuple[int, ...]
    sd: float


@dataclass(frozen=True)
class ModelDesign:
    """A design matrix, the intercept first, and what its other columns are.

    Parameters
    ----------
    x : numpy.ndarray, (rows, 1 + terms)
        The columns. Numbers are centred. A factor of k levels has k - 1 columns, a level's minus
        1 / k, so that coefficients are differences from the reference and other effects are means
        over levels.
    terms : tuple of Term
        What the columns are.
    """

    x: Array
    terms: tuple[Term, ...]


def _columns(
    data: pd.DataFrame, name: str, reference: Mapping[str, object]
) -> tuple[str, list[str], Array]:
    """Return kind, names and columns of one variable."""
    if name in data.columns and not isinstance(data[name], pd.DataFrame):
        dtype = data[name].dtype
        numeric = pd.api.types.is_numeric_dtype(dtype) and not pd.api.types.is_bool_dtype(dtype)
        if not numeric or name in reference:
            found = arm_labels(data, name, reference.get(name)) if _varies(data, name) else None
            if found is None:
                raise InputError(f"term {name!r} has the same value in every row; leave it out.")
            k = len(found.names)
            rows = (found.codes[:, None] == np.arange(1, k)).astype(float) - 1 / k
            named = [f"{name}: {level} - {found.names[0]}" for level in found.names[1:]]
            return "factor", named, rows
    values = numbers(data, "term", name)
    if np.ptp(values) == 0:
        raise InputError(f"term {name!r} has the same value in every row; leave it out.")
    return "number", [name], (values - values.mean())[:, None]


def _varies(data: pd.DataFrame, name: str) -> bool:
    """Return whether a column of labels holds more than one."""
    return len(labels(data, "term", name).names) > 1


def design_of(
    data: pd.DataFrame, terms: str | Sequence[str], reference: Mapping[str, object] | None
) -> ModelDesign:
    """Return the design of some terms.

    Parameters
    ----------
    data : pandas.DataFrame
        The table.
    terms : str or sequence of str
        Columns, and interactions as ``"arm:session"``.
    reference : mapping, optional
        Reference level of a factor, by column; a column of numbers that is named here is one too.

    Returns
    -------
    ModelDesign
        The design.

    Raises
    ------
    InputError
        If a column is missing, wrong or constant, or the terms cannot be told apart.
    """
    reference = {} if reference is None else reference
    parts: dict[str, tuple[str, list[str], Array]] = {}
    columns, made = [np.ones((len(data), 1))], []
    at = 1
    for term in dict.fromkeys(names_of("terms", terms)):
        pieces = term.split(":") if term not in data.columns else [term]
        for piece in pieces:
            if piece not in parts:
                parts[piece] = _columns(data, piece, reference)
        kind, names, x = parts[pieces[0]]
        for piece in pieces[1:]:
            _, more, y = parts[piece]
            names = [f"{a} : {b}" for a in names for b in more]
            x = (x[:, :, None] * y[:, None, :]).reshape(len(x), -1)
            kind = "interaction"
        siblings = tuple(range(at, at + x.shape[1]))
        spread = x.std(axis=0)
        made += [
            Term(name, kind, at + i, siblings, float(spread[i])) for i, name in enumerate(names)
        ]
        columns.append(x)
        at += x.shape[1]
    x = np.concatenate(columns, axis=1)
    scaled = x / np.maximum(np.abs(x).max(axis=0), 1e-300)
    gram = scaled.T @ scaled
    if np.linalg.eigvalsh(gram)[0] < 1e-9 * len(x):
        raise InputError(
            f"terms {', '.join(term.name for term in made)} cannot be told apart in these data: "
            "one of them follows from the others in every row; leave one out."
        )
    return ModelDesign(x, tuple(made))
