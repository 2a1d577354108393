"""Arms of a protocol compared: the right test for every pair, with effect sizes and correction."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from predictlearn.errors import InputError, choice
from predictlearn.predictions.comparisons import (
    check_level,
    paired_comparison,
    two_sample_comparison,
)
from predictlearn.predictions.corrections import CORRECTIONS, family_table
from predictlearn.predictions.exposure_pairs import mean_loss_over
from predictlearn.predictions.power import animals_needed
from predictlearn.predictions.results import TestResult

__all__ = ["compare_arms", "summarise_arms"]

SUMMARIES = ("mean", "final")
_COLUMNS = ("arm", "network", "phase", "epoch", "quantity", "value")


def summarise_arms(
    table: pd.DataFrame,
    quantities: Sequence[str] = ("loss",),
    summaries: Sequence[str] = SUMMARIES,
) -> pd.DataFrame:
    """Reduce every network's course through a phase to single numbers.

    Parameters
    ----------
    table : pandas.DataFrame
        Tidy table with the columns arm, network, phase, epoch, quantity, value.
    quantities : sequence of str
        Quantities to keep.
    summaries : sequence of {"mean", "final"}
        Time average over the phase (trapezoidal rule); value at its last epoch.

    Returns
    -------
    pandas.DataFrame
        Columns ``arm``, ``network``, ``phase``, ``quantity``, ``summary``, ``value``; infinite
        where a network diverged.

    Raises
    ------
    InputError
        If a column is missing or nothing matches.

    Examples
    --------
    >>> table = pd.DataFrame({"arm": "a", "network": 0, "phase": "p", "epoch": [0, 1, 2],
    ...                       "quantity": "loss", "value": [2.0, 1.0, 0.0]})
    >>> summarise_arms(table)["value"].tolist()
    [1.0, 0.0]
    """
    missing = [name for name in _COLUMNS if name not in getattr(table, "columns", ())]
    if missing:
        raise InputError(
            f"table must have the columns {', '.join(_COLUMNS)}; missing: {', '.join(missing)}."
        )
    for summary in summaries:
        choice("a summary", summary, SUMMARIES)
    known = [str(name) for name in table["quantity"].unique()]
    for quantity in quantities:
        choice("a quantity", quantity, known)
    rows: list[dict[str, Any]] = []
    chosen = table[table["quantity"].isin(list(quantities))]
    keys = ["arm", "phase", "quantity", "network"]
    for key, part in chosen.groupby(keys, sort=False):
        ordered = part.sort_values("epoch")
        epochs = ordered["epoch"].to_numpy(dtype=float)
        values = ordered["value"].to_numpy(dtype=float)
        for summary in summaries:
            value = float(values[-1])
            if not np.isfinite(values).all():
                value = math.inf
            elif summary == "mean" and len(values) > 1:
                value = float(mean_loss_over(epochs, values))
            rows.append({**dict(zip(keys, key, strict=True)), "summary": summary, "value": value})
    return pd.DataFrame(rows)


def compare_arms(
    table: pd.DataFrame,
    arms: Sequence[str] | None = None,
    *,
    quantities: Sequence[str] = ("loss",),
    summaries: Sequence[str] = SUMMARIES,
    paired: bool = True,
    method: str | None = None,
    correction: str = "holm",
    alpha: float = 0.05,
    power: float = 0.8,
    seed: int = 0,
) -> pd.DataFrame:
    """Compare the arms of a protocol pair by pair, phase by phase.

    Parameters
    ----------
    table : pandas.DataFrame
        Tidy table with the columns arm, network, phase, epoch, quantity, value, as a protocol's
        run gives it.
    arms : sequence of str, optional
        Arms to compare, each with each; default all.
    quantities : sequence of str
        What is compared, for example ``("loss", "uu")``.
    summaries : sequence of {"mean", "final"}
        How a phase is reduced to a number, see `summarise_arms`.
    paired : bool
        True where the arms start from the same networks (paired within network); False for arms
        of different animals.
    method : str, optional
        Test, see `paired_comparison` and `two_sample_comparison`; default t and Welch.
    correction : {"holm", "fdr_bh", "none"}
        Correction over all comparisons made here.
    alpha, power : float
        Level, and power for the number of animals.
    seed : int
        Seed of resampling.

    Returns
    -------
    pandas.DataFrame
        As `family_table`, a row a comparison, with ``first``, ``second``, ``phase``, ``quantity``,
        ``summary``, ``n_left_out`` (networks that did not finish in both arms) and
        ``animals_needed`` (pairs, or animals in each group; infinite where none would do).

    Raises
    ------
    InputError
        If an arm or quantity is unknown, or fewer than two networks are left in any comparison.

    Examples
    --------
    >>> rows = [{"arm": a, "network": k, "phase": "p", "epoch": e, "quantity": "loss",
    ...          "value": (1.0 if a == "slow" else 0.5) * (1 + 0.1 * k) - 0.1 * e}
    ...         for a in ("slow", "fast") for k in range(5) for e in (0, 1)]
    >>> compare_arms(pd.DataFrame(rows))[["first", "second", "summary", "verdict"]].values.tolist()
    [['slow', 'fast', 'mean', 'different'], ['slow', 'fast', 'final', 'different']]
    """
    choice("correction", correction, CORRECTIONS)
    check_level("alpha", alpha)
    check_level("power", power)
    summary = summarise_arms(table, quantities, summaries)
    known = [str(arm) for arm in summary["arm"].unique()]
    chosen = [choice("an arm", arm, known) for arm in (known if arms is None else arms)]
    if len(chosen) < 2:
        raise InputError(f"at least two arms are needed to compare; got {', '.join(chosen)}.")
    results: list[TestResult] = []
    labels: list[dict[str, Any]] = []
    grid = summary.pivot_table(
        index=["phase", "quantity", "summary", "network"],
        columns="arm",
        values="value",
        sort=False,
        dropna=False,
    )
    for first, second in combinations(chosen, 2):
        for key, block in grid.groupby(level=["phase", "quantity", "summary"], sort=False):
            x, y = block[first].to_numpy(dtype=float), block[second].to_numpy(dtype=float)
            if np.isnan(x).all() or np.isnan(y).all():
                continue  # a phase that only one of the arms has
            phase, quantity, how = key
            name = f"{first} minus {second}, {how} {quantity} in {phase}"
            fine = np.isfinite(x) & np.isfinite(y)
            left = (x[fine], y[fine]) if paired else (x[np.isfinite(x)], y[np.isfinite(y)])
            if min(len(left[0]), len(left[1])) < 2:
                raise InputError(
                    f"{name}: at least 2 networks must have finished in both arms; "
                    f"got {len(left[0])} and {len(left[1])}."
                )
            options: dict[str, Any] = {"name": name, "level": 1 - alpha, "seed": seed}
            if paired:
                result = paired_comparison(*left, method=method or "t", **options)
            else:
                result = two_sample_comparison(*left, method=method or "welch", **options)
            results.append(result)
            labels.append(
                {
                    "first": first,
                    "second": second,
                    "phase": phase,
                    "quantity": quantity,
                    "summary": how,
                    "n_left_out": int(np.count_nonzero(~fine)),
                    "animals_needed": _animals(result.effect, power, alpha, paired),
                }
            )
    if not results:
        raise InputError("arms share no phase in which they could be compared.")
    compared = family_table(results, family="arms", method=correction, alpha=alpha)
    return pd.concat([pd.DataFrame(labels), compared], axis=1)


def _animals(effect: float, power: float, alpha: float, paired: bool) -> float:
    """Return the number of animals for an effect size, infinite where none would do."""
    if effect == 0:
        return math.inf
    design = "paired" if paired else "two-sample"
    try:
        return float(animals_needed(effect, power=power, alpha=alpha, design=design).n)
    except InputError:
        return math.inf
