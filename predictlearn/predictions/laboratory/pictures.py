"""What a picture of an entry shows: two numbers of every animal, or one by arm."""

from __future__ import annotations

import numpy as np
import pandas as pd

from predictlearn.predictions.laboratory.entry import Entry

__all__ = ["picture_frame"]


def picture_frame(entry: Entry, table: pd.DataFrame) -> pd.DataFrame:
    """Return what to draw of every animal.

    Parameters
    ----------
    entry : Entry
        The entry.
    table : pandas.DataFrame
        What was measured, as of `cohort_table`.

    Returns
    -------
    DataFrame
        subject, arm, y and, where two numbers are drawn, x; with ``x_name`` and ``y_name``, labels
        of the axes. Where every animal has several numbers these are what is left of two when the
        rest is given; where groups are decoded the two in which they differ most.
    """
    if entry.design == "columns":
        rest = [k for k in entry.test.keywords["terms"] if k != entry.reference]  # type: ignore[attr-defined]
        x = np.column_stack([np.ones(len(table)), table[rest].to_numpy(float)])
        left = []
        for name in (entry.reference, entry.outcome):
            y = table[name].to_numpy(float)
            left.append(y - x @ np.linalg.lstsq(x, y, rcond=None)[0])
        names = [
            f"{name.replace('_', ' ').capitalize()}, given the rest ({entry.unit})"
            for name in (entry.reference, entry.outcome)
        ]
        return _frame(table["subject"], "", left[1], names[1], left[0], names[0])
    if entry.features:
        arms = [part for _, part in table.groupby("arm", sort=False)]
        apart = {
            name: abs(arms[0][name].mean() - arms[1][name].mean()) / table[name].std()
            for name in entry.features
        }
        pair = sorted(apart, key=apart.__getitem__, reverse=True)[:2]
        names = [f"{name.replace('_', ' · ')} (inner product)" for name in pair]
        return _frame(
            table["subject"], table["arm"], table[pair[1]], names[1], table[pair[0]], names[0]
        )
    return _frame(table["subject"], table["arm"], table[entry.outcome], entry.axis)


def _frame(
    subject: object, arm: object, y: object, y_name: str, x: object = np.nan, x_name: str = ""
) -> pd.DataFrame:
    """Return the frame."""
    return pd.DataFrame(
        {"subject": subject, "arm": arm, "x": x, "y": y, "x_name": x_name, "y_name": y_name}
    )
