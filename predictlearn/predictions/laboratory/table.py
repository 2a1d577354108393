"""The catalogue: all entries, with effects as `studies/predictions/catalogue.py` measured them."""

from __future__ import annotations

import math
from functools import lru_cache
from pathlib import Path

import pandas as pd

from predictlearn.errors import choice
from predictlearn.predictions.laboratory.choices import CHOICE_ENTRIES
from predictlearn.predictions.laboratory.circuits import CIRCUIT_ENTRIES
from predictlearn.predictions.laboratory.entry import Entry
from predictlearn.predictions.laboratory.evaluation import effect_words
from predictlearn.predictions.laboratory.memory import MEMORY_ENTRIES
from predictlearn.predictions.laboratory.reaching import REACHING_ENTRIES

__all__ = [
    "ENTRIES",
    "catalogue",
    "effect_in_words",
    "entries_for",
    "find_entry",
    "learners_of",
    "measured",
    "pictured",
]

ENTRIES: dict[str, Entry] = {
    entry.name: entry
    for entry in (*CHOICE_ENTRIES, *MEMORY_ENTRIES, *CIRCUIT_ENTRIES, *REACHING_ENTRIES)
}
_FOLDER = Path(__file__).parent


@lru_cache(maxsize=4)
def _read(name: str) -> pd.DataFrame:
    """Return a table that `studies/predictions/catalogue.py` made."""
    return pd.read_csv(_FOLDER / name)


def _rows_of(name: str, table: str) -> pd.DataFrame:
    """Return the rows of an entry in a table, without its name, or raise InputError."""
    rows = _read(table)
    return rows[rows["name"] == find_entry(name).name].drop(columns="name").reset_index(drop=True)


def measured() -> pd.DataFrame:
    """Return effects, numbers of animals and sizes of tests, as its study found them.

    Returns
    -------
    DataFrame
        One row an entry.
    """
    return _read("catalogue.csv").copy()


def learners_of(name: str) -> pd.DataFrame:
    """Return whether an entry holds whatever learns, as the study of the catalogue found it.

    Parameters
    ----------
    name : str
        Its name.

    Returns
    -------
    DataFrame
        A row a learner: learns, rule, estimate, low, high and holds.

    Raises
    ------
    InputError
        If there is no such entry.

    Examples
    --------
    >>> len(learners_of("a-b-a"))
    6
    """
    return _rows_of(name, "learners.csv")


def effect_in_words(name: str) -> tuple[str, str]:
    """Return the effect of an entry as measured, and the animals for 80% power, as text.

    Parameters
    ----------
    name : str
        Its name.

    Returns
    -------
    effect, animals : str
        For a listing.
    """
    row = measured().set_index("name").loc[name]
    animals = row["animals_80"]
    ends = (row[k] for k in ("effect", "effect_low", "effect_high"))
    text = effect_words(ENTRIES[name], *ends)
    return text, f"{animals:.0f}" if math.isfinite(animals) else "more than 256"


def pictured(name: str) -> pd.DataFrame:
    """Return simulated animals of an entry to draw, as the study of the catalogue left them.

    Parameters
    ----------
    name : str
        Its name.

    Returns
    -------
    DataFrame
        As of `picture_frame`.

    Raises
    ------
    InputError
        If there is no such entry.
    """
    return _rows_of(name, "pictures.csv").fillna({"arm": "", "x_name": "", "y_name": ""})


def entries_for(n_out: int | None) -> list[str]:
    """Return the entries whose task has so many outputs, most informative first.

    Parameters
    ----------
    n_out : int or None
        Outputs: one is a choice, two are a movement. None gives those that measure activity.

    Returns
    -------
    list of str
        Names, by the size of the effect beside the width of its interval.

    Examples
    --------
    >>> "savings" in entries_for(2), "a-b-a" in entries_for(2)
    (True, False)
    """
    found = measured().set_index("name")
    worth = {}
    for name, entry in ENTRIES.items():
        row = found.loc[name]
        size = entry.bound or abs(row["effect"] - (50.0 if entry.features else 0.0))
        worth[name] = size / (row["effect_high"] - row["effect_low"])
    fits = [
        name
        for name, entry in ENTRIES.items()
        if (entry.kind == "activity" if n_out is None else entry.n_out == n_out)
    ]
    return sorted(fits, key=worth.__getitem__, reverse=True)


def find_entry(name: str) -> Entry:
    """Return an entry by its name.

    Parameters
    ----------
    name : str
        Its name.

    Returns
    -------
    Entry
        The entry.

    Raises
    ------
    InputError
        If there is none; the nearest is given.

    Examples
    --------
    >>> find_entry("a-b-a").kind
    'behaviour'
    """
    return ENTRIES[choice("a prediction", name, ENTRIES)]


def catalogue() -> pd.DataFrame:
    """Return the catalogue of predictions that a laboratory can test.

    Returns
    -------
    DataFrame
        One row an entry: name, statement, protocol, intervention, measure, kind, test; effect with
        effect_low and effect_high in `unit`, standardised with its own interval; animals for 80 and
        95% power with theirs; falsifier, alternatives, correlation; holds for factors and synapses
        by descent, feedback alignment and RFLO; spread, where that between animals comes from.

    Examples
    --------
    >>> import predictlearn as pl
    >>> table = pl.predictions.catalogue()
    >>> bool(len(table) >= 12 and table.name.is_unique)
    True
    """
    rows = []
    found = measured().set_index("name")
    for name, entry in ENTRIES.items():
        holds = learners_of(name)
        rows.append(
            {
                "name": name,
                "statement": entry.statement,
                "protocol": entry.protocol,
                "intervention": entry.intervention,
                "measure": entry.measure,
                "kind": entry.kind,
                "test": entry.test_name,
                **found.loc[name].to_dict(),
                "falsifier": entry.falsifier,
                "alternatives": entry.alternatives,
                "correlation": entry.correlation,
                **{f"holds: {r.learns}, {r.rule}": r.holds for r in holds.itertuples()},
                "spread": entry.spread(),
            }
        )
    return pd.DataFrame(rows)
