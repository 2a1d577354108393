"""Typical numbers of behaviour, estimated from public data: with interval, n and source.

`studies/animals/behaviour_defaults.py` makes the table beside this file, and a test makes it again
where the data are. Nothing here is a guess: what the data do not determine is not in it.
"""

from __future__ import annotations

import functools
from pathlib import Path

import pandas as pd

from predictlearn.errors import choice

__all__ = ["behaviour_defaults", "typical_value"]

_FILE = Path(__file__).with_name("defaults.csv")


@functools.cache
def _table() -> pd.DataFrame:
    """Return the table as it is kept."""
    return pd.read_csv(_FILE)


def behaviour_defaults() -> pd.DataFrame:
    """Return typical numbers of behaviour with their provenance.

    Returns
    -------
    DataFrame
        One row a number: name, value, low and high (95% interval), unit, n, source (data set and
        paper), columns (file and columns) and how it was estimated. Spreads between animals are
        those of mixed models: sampling noise is not in them.

    Examples
    --------
    >>> table = behaviour_defaults().set_index("name")
    >>> table.loc["mouse_session_noise", ["value", "low", "high"]].astype(float).round(2).tolist()
    [0.38, 0.25, 0.5]
    """
    return _table().copy()


def typical_value(name: str) -> float:
    """Return one number of `behaviour_defaults`.

    Parameters
    ----------
    name : str
        Its name.

    Returns
    -------
    float
        The value.

    Raises
    ------
    InputError
        If there is none of that name; the nearest is given.

    Examples
    --------
    >>> round(typical_value("human_motor_noise"), 1)
    5.9
    """
    values = _values()
    return values[choice("name", name, values)]


@functools.cache
def _values() -> dict[str, float]:
    """Return the numbers by name: an animal asks for several."""
    return {name: float(value) for name, value in _table().set_index("name")["value"].items()}
