"""What a published result is, and what rebuilding it gives back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
import pandas as pd

from predictlearn.errors import InputError, choice

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["COLUMNS", "VERDICTS", "Published", "Reproduced", "Row", "Runner", "numbers_table"]

COLUMNS = ("quantity", "published", "ours", "verdict")
VERDICTS = ("agrees", "differs", "undecided", "ours only")
"""Verdicts: the claim holds in our run; it does not; the run was too short to say (a scale below
one); there is no published value, the number is ours."""

Row = tuple[str, object, object, str]


class Runner(Protocol):
    """The function that rebuilds a result."""

    def __call__(
        self,
        *,
        seed: int = 0,
        n_jobs: int = 1,
        scale: float = 1.0,
        folder: Path | None = None,
        progress: Callable[[str], None] | None = None,
    ) -> Reproduced:
        """Rebuild it; see `predictlearn.published.reproduce`."""


@dataclass(frozen=True)
class Published:
    """One result of the paper.

    Parameters
    ----------
    name : str
        Name on the command line, in small letters and hyphens.
    title : str
        A heading.
    claim : str
        What the paper reports, in our words.
    protocols : tuple of str
        The protocol files that it is rebuilt from, by name.
    run : callable
        Rebuilds it; keyword arguments as in `predictlearn.published.reproduce`.
    takes : str
        How long a full run takes, such as ``"20 s on one core"``.
    """

    name: str
    title: str
    claim: str
    protocols: tuple[str, ...]
    run: Runner
    takes: str = ""


@dataclass(frozen=True)
class Reproduced:
    """A published result, rebuilt.

    Parameters
    ----------
    figures : mapping of str to matplotlib.figure.Figure
        Figures by name, which becomes the file name.
    numbers : pandas.DataFrame
        The numbers that decide it, from `numbers_table`: ``quantity``, ``published``, ``ours``,
        and ``verdict``, one of `VERDICTS`.
    findings : tuple of str
        Where our result differs from the published claim, or the published procedure has a flaw:
        whole sentences with numbers. They are about full runs; a shortened one has none.
    tables : mapping of str to pandas.DataFrame
        Everything behind it, by name.

    Raises
    ------
    InputError
        If the numbers have other columns or an unknown verdict.
    """

    figures: Mapping[str, Figure]
    numbers: pd.DataFrame
    findings: tuple[str, ...] = ()
    tables: Mapping[str, pd.DataFrame] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if tuple(self.numbers.columns) != COLUMNS:
            raise InputError(
                f"numbers must have the columns {', '.join(COLUMNS)}; "
                f"got {', '.join(map(str, self.numbers.columns))}."
            )
        for verdict in self.numbers["verdict"]:
            choice("a verdict", verdict, VERDICTS)

    def verdict(self, quantity: str) -> str:
        """Return the verdict on a quantity.

        Parameters
        ----------
        quantity : str
            As in the table.

        Returns
        -------
        str
            One of `VERDICTS`.

        Raises
        ------
        InputError
            If there is no such quantity.
        """
        choice("quantity", quantity, self.numbers["quantity"])
        rows = self.numbers[self.numbers["quantity"] == quantity]
        return str(rows["verdict"].iloc[0])


def shown(value: object) -> str:
    """Return a number with four significant digits, or text as it is."""
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if isinstance(value, float | np.floating):
        return f"{value:.4g}"
    return str(value)


def numbers_table(rows: Iterable[Row]) -> pd.DataFrame:
    """Return the table of the numbers that decide a result.

    Parameters
    ----------
    rows : iterable of (quantity, published, ours, verdict)
        Numbers or text; an empty text for `published` if the paper has no value. Numbers are
        written with four significant digits.

    Returns
    -------
    pandas.DataFrame
        Columns ``quantity``, ``published``, ``ours``, ``verdict``, all text.

    Raises
    ------
    InputError
        If a verdict is not one of `VERDICTS`, or a quantity comes twice.

    Examples
    --------
    >>> table = numbers_table([("final vu", 0.8, 0.79996, "agrees")])
    >>> table.loc[0, "ours"]
    '0.8'
    """
    table = pd.DataFrame([[shown(item) for item in row] for row in rows], columns=list(COLUMNS))
    for verdict in table["verdict"]:
        choice("a verdict", verdict, VERDICTS)
    twice = table["quantity"][table["quantity"].duplicated()]
    if len(twice):
        raise InputError(f"quantity must be different in every row; {twice.iloc[0]!r} comes twice.")
    return table


def verdict(holds: bool, scale: float = 1.0) -> str:
    """Return "agrees" if a claim holds; else "differs", or "undecided" if the run was shortened.

    Parameters
    ----------
    holds : bool
        Whether the claim holds in our run.
    scale : float, default 1.0
        What the epochs were multiplied with; a claim on the end of learning may fail in a run
        shorter than the published one without being wrong.

    Examples
    --------
    >>> verdict(False), verdict(False, scale=0.1)
    ('differs', 'undecided')
    """
    if holds:
        return "agrees"
    return "differs" if scale >= 1.0 else "undecided"
