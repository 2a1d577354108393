"""Arms of a protocol compared: the right test for every pair, with effect sizes and correction."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from predictlearn.errors import InputError, choice
from predictlearn.predictions.exposure.pairs import mean_loss_over
from predictlearn.statistics.comparisons import (
    check_level,
    paired_comparison,
    two_sample_comparison,
)
from predictlearn.statistics.corrections import CORRECTIONS, family_table
from predictlearn.statistics.power import animals_needed
from predictlearn.statistics.results import TestResult

__all__ = ["arm_values", "comparable_quantities", "compare_arms", "summarise_arms"]

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
        where a network diverged, dropped out within the phase, or did not reach a criterion.

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
    _check_table(table, quantities)
    for summary in summaries:
        choice("a summary", summary, SUMMARIES)
    rows: list[dict[str, Any]] = []
    chosen = table[table["quantity"].isin(list(quantities))]
    keys = ["arm", "phase", "quantity", "network"]
    gone = table.loc[table["quantity"] == "dropped_out", ["arm", "phase", "network"]]
    unfinished = set(gone.itertuples(index=False, name=None))
    for key, part in chosen.groupby(keys, sort=False):
        ordered = part.sort_values("epoch")
        epochs = ordered["epoch"].to_numpy(dtype=float)
        values = ordered["value"].to_numpy(dtype=float)
        for summary in summaries:
            value = float(values[-1])
            if not np.isfinite(values).all() or (key[0], key[1], key[3]) in unfinished:
                value = math.inf
            elif summary == "mean" and len(values) > 1:
                value = float(mean_loss_over(epochs, values))
            rows.append({**dict(zip(keys, key, strict=True)), "summary": summary, "value": value})
    return pd.DataFrame(rows)


def comparable_quantities(
    table: pd.DataFrame, arms: tuple[str, str], epoch: float | str = "last"
) -> tuple[str, ...]:
    """Return the quantities that two arms have in common at one epoch.

    Parameters
    ----------
    table : pandas.DataFrame
        Tidy table, as for `compare_arms`; with a column ``task``, the loss in training is left out
        where the arms train different tasks.
    arms : (str, str)
        The arms.
    epoch : float or "last"
        See `compare_arms`.

    Returns
    -------
    tuple of str
        Quantities in the order of the table.

    Raises
    ------
    InputError
        If an arm is unknown, no network got through one, or the epoch is not within both.

    Examples
    --------
    >>> rows = [{"arm": a, "network": 0, "phase": "p", "task": t, "epoch": 1, "quantity": q,
    ...          "value": 1.0} for a, t in (("AB", "B"), ("BA", "A")) for q in ("loss", "uu")]
    >>> comparable_quantities(pd.DataFrame(rows), ("AB", "BA"))
    ('uu',)
    """
    _check_table(table, ())
    known = [str(arm) for arm in table["arm"].unique()]
    first, second = (_rows_at(table, choice("an arm", arm, known), epoch) for arm in arms)
    shared = first["quantity"].isin(second["quantity"])
    names = tuple(str(name) for name in first.loc[shared, "quantity"].unique())
    return names if _same_task(first, second) else tuple(n for n in names if n != "loss")


def arm_values(table: pd.DataFrame, quantity: str, epoch: float | str = "last") -> pd.DataFrame:
    """Return one quantity of every network at one epoch of every arm.

    Parameters
    ----------
    table : pandas.DataFrame
        Tidy table, as for `compare_arms`.
    quantity : str
        The quantity.
    epoch : float or "last"
        See `compare_arms`.

    Returns
    -------
    pandas.DataFrame
        ``arm``, ``network``, ``epoch``, ``value`` and, where the table has it, ``task``; without
        networks that diverged or dropped out. A criterion that was not reached is NaN.

    Raises
    ------
    InputError
        If no arm has the quantity there, no network got through an arm, or the epoch is not within
        it.

    Examples
    --------
    >>> rows = [{"arm": a, "network": 0, "phase": "p", "epoch": e, "quantity": "uu", "value": e}
    ...         for a in ("one", "two") for e in (0, 1, 2)]
    >>> arm_values(pd.DataFrame(rows), "uu")["value"].tolist()
    [2, 2]
    """
    _check_table(table, ())
    parts = [_rows_at(table, str(arm), epoch) for arm in table["arm"].unique()]
    found = pd.concat(parts)
    choice("an outcome", quantity, [str(name) for name in found["quantity"].unique()])
    names = ["arm", "network", "epoch", "value", *(["task"] if "task" in found else [])]
    return found.loc[found["quantity"] == quantity, names].reset_index(drop=True)


def compare_arms(
    table: pd.DataFrame,
    arms: Sequence[str] | None = None,
    *,
    quantities: Sequence[str] | Mapping[str, Sequence[str]] = ("loss",),
    summaries: Sequence[str] = SUMMARIES,
    epoch: float | str | None = None,
    paired: bool = True,
    method: str | None = None,
    correction: str = "holm",
    alpha: float = 0.05,
    power: float = 0.8,
    seed: int = 0,
) -> pd.DataFrame:
    """Compare the arms of a protocol pair by pair: phase by phase, or at one epoch.

    Parameters
    ----------
    table : pandas.DataFrame
        Tidy table with the columns arm, network, phase, epoch, quantity, value, as a protocol's
        run gives it.
    arms : sequence of str, optional
        Arms to compare, each with each; default all.
    quantities : sequence of str, or mapping of str to sequence of str
        What is compared, for example ``("loss", "uu")``. A mapping names families of quantities,
        each corrected by itself, for example ``{"losses": ["loss"], "overlaps": ["uu", "vv"]}``.
    summaries : sequence of {"mean", "final"}
        How a phase is reduced to a number, see `summarise_arms`; not used with `epoch`.
    epoch : float or "last", optional
        Compare the arms at this epoch since their start, at the recorded one nearest to it, or at
        the last of each, instead of phase by phase. Only networks that got through both arms
        count.
    paired : bool
        True where the arms start from the same networks (paired within network); False for arms
        of different animals.
    method : str, optional
        Test, see `paired_comparison` and `two_sample_comparison`; default t and Welch.
    correction : {"holm", "fdr_bh", "none"}
        Correction over all comparisons of a family.
    alpha, power : float
        Level, and power for the number of animals.
    seed : int
        Seed of resampling.

    Returns
    -------
    pandas.DataFrame
        As `family_table`, a row a comparison, with ``first``, ``second``, ``phase`` and
        ``summary`` (or ``epoch_first`` and ``epoch_second``), ``quantity``, ``mean_first``,
        ``mean_second``, ``n_left_out`` (networks that did not finish in both arms) and
        ``animals_needed`` (pairs, or animals in each group; infinite where none would do).

    Raises
    ------
    InputError
        If an arm or quantity is unknown, the epoch is not within an arm, the loss is of different
        tasks there, or fewer than two networks are left in any comparison.

    Examples
    --------
    >>> rows = [{"arm": a, "network": k, "phase": "p", "epoch": e, "quantity": "loss",
    ...          "value": (1.0 if a == "slow" else 0.5) * (1 + 0.1 * k) - 0.1 * e}
    ...         for a in ("slow", "fast") for k in range(5) for e in (0, 1)]
    >>> compare_arms(pd.DataFrame(rows))[["first", "second", "summary", "verdict"]].values.tolist()
    [['slow', 'fast', 'mean', 'different'], ['slow', 'fast', 'final', 'different']]
    >>> compare_arms(pd.DataFrame(rows), epoch=0)[["epoch_first", "verdict"]].values.tolist()
    [[0, 'different']]
    """
    choice("correction", correction, CORRECTIONS)
    check_level("alpha", alpha)
    check_level("power", power)
    families = quantities if isinstance(quantities, Mapping) else {"arms": quantities}
    _check_table(table, [name for names in families.values() for name in names])
    known = [str(arm) for arm in table["arm"].unique()]
    chosen = [choice("an arm", arm, known) for arm in (known if arms is None else arms)]
    if len(chosen) < 2:
        raise InputError(f"at least two arms are needed to compare; got {', '.join(chosen)}.")
    parts: list[pd.DataFrame] = []
    for family, names in families.items():
        results: list[TestResult] = []
        labels: list[dict[str, Any]] = []
        if epoch is None:
            pairs = _by_phase(table, chosen, names, summaries)
        else:
            pairs = _at_epoch(table, chosen, names, epoch)
        for label, place, x, y in pairs:
            name = f"{label['first']} minus {label['second']}, {place}"
            result, means = _tested(name, x, y, paired, method, 1 - alpha, seed)
            results.append(result)
            labels.append(
                {
                    **label,
                    **means,
                    "n_left_out": _left_out(table, label, x, y, paired),
                    "animals_needed": _animals(result.effect, power, alpha, paired),
                }
            )
        if results:
            compared = family_table(results, family=family, method=correction, alpha=alpha)
            parts.append(pd.concat([pd.DataFrame(labels), compared], axis=1))
    if not parts:
        raise InputError("arms share nothing in which they could be compared.")
    return pd.concat(parts, ignore_index=True)


def _left_out(
    table: pd.DataFrame, label: Mapping[str, Any], x: np.ndarray, y: np.ndarray, paired: bool
) -> int:
    """Return how many networks, or how many of either arm, have no value."""
    if paired:
        return int(np.count_nonzero(~(np.isfinite(x) & np.isfinite(y))))
    arms = [table.loc[table["arm"] == label[name], "network"] for name in ("first", "second")]
    known = sum(arm.nunique() for arm in arms)
    return int(known - np.count_nonzero(np.isfinite(x)) - np.count_nonzero(np.isfinite(y)))


_Pairs = Iterator[tuple[dict[str, Any], str, np.ndarray, np.ndarray]]


def _by_phase(
    table: pd.DataFrame, arms: Sequence[str], names: Sequence[str], summaries: Sequence[str]
) -> _Pairs:
    """Yield the labels, place and values by network of every pair of arms and phase."""
    keys = ["phase", "quantity", "summary"]
    grid = summarise_arms(table, names, summaries).pivot_table(
        index=[*keys, "network"], columns="arm", values="value", sort=False, dropna=False
    )
    for first, second in combinations(arms, 2):
        for key, block in grid.groupby(level=keys, sort=False):
            x, y = block[first].to_numpy(dtype=float), block[second].to_numpy(dtype=float)
            if np.isnan(x).all() or np.isnan(y).all():
                continue  # a phase that only one of the arms has
            label = {"first": first, "second": second, **dict(zip(keys, key, strict=True))}
            yield label, f"{key[2]} {key[1]} in {key[0]}", x, y


def _at_epoch(
    table: pd.DataFrame, arms: Sequence[str], names: Sequence[str], epoch: float | str
) -> _Pairs:
    """Yield the labels, place and values by network of every pair of arms at one epoch."""
    at = {arm: _rows_at(table, arm, epoch) for arm in arms}
    networks = pd.Index(table["network"].unique())
    for first, second in combinations(arms, 2):
        if "loss" in names and not _same_task(at[first], at[second]):
            raise InputError(
                f"the loss of {first!r} and {second!r} is of different tasks there; compare losses "
                "of the same task, which `evaluate` in a protocol records, such as loss:A."
            )
        place, wide = [], []
        for arm in (first, second):
            place.append(at[arm]["epoch"].max())
            wide.append(
                at[arm].pivot_table(
                    index="network", columns="quantity", values="value", aggfunc="last"
                )
            )
        for name in names:
            if all(name in part for part in wide):
                label = {
                    "first": first,
                    "second": second,
                    "epoch_first": place[0],
                    "epoch_second": place[1],
                    "quantity": name,
                }
                x, y = (part[name].reindex(networks).to_numpy(dtype=float) for part in wide)
                when = " and ".join(f"{e:g}" for e in dict.fromkeys(place))
                yield label, f"{name} at epoch {when}", x, y


def _rows_at(table: pd.DataFrame, arm: str, epoch: float | str) -> pd.DataFrame:
    """Return an arm's rows at one epoch, of the networks that got through it.

    Where two phases meet at the epoch, the rows are those of the phase that ends there.
    """
    rows = table[table["arm"] == arm]
    # of a criterion NaN says that it was not reached, not that the network diverged
    diverged = ~np.isfinite(rows["value"].to_numpy(dtype=float))
    diverged &= rows["quantity"] != "epochs_to_criterion"
    gone = diverged | (rows["quantity"] == "dropped_out")
    rows = rows[~rows["network"].isin(rows.loc[gone, "network"])]
    if rows.empty:
        raise InputError(
            f"at least 2 networks must have finished in both arms; none got through {arm!r}."
        )
    kept = np.unique(rows["epoch"].to_numpy())
    if isinstance(epoch, str):
        choice("epoch", epoch, ("last",))
        # networks that learn to a criterion end at epochs of their own
        at = rows.groupby("network")["epoch"].transform("max")
    else:
        if not 0 <= epoch <= kept[-1]:
            raise InputError(f"epoch must be in 0..{kept[-1]:g}, as arm {arm!r}; got {epoch:g}.")
        at = kept[np.argmin(np.abs(kept - epoch))]
    keep: Any = "last" if isinstance(epoch, str) else "first"
    return rows[rows["epoch"] == at].drop_duplicates(["network", "quantity"], keep=keep)


def _same_task(first: pd.DataFrame, second: pd.DataFrame) -> bool:
    """Return whether the losses in training, where both are recorded, are of the same tasks."""
    if "task" not in first:
        return True
    tasks = [set(part.loc[part["quantity"] == "loss", "task"]) for part in (first, second)]
    return not all(tasks) or tasks[0] == tasks[1]


def _check_table(table: pd.DataFrame, quantities: Sequence[str]) -> None:
    """Refuse a table that lacks columns or quantities."""
    missing = [name for name in _COLUMNS if name not in getattr(table, "columns", ())]
    if missing:
        raise InputError(
            f"table must have the columns {', '.join(_COLUMNS)}; missing: {', '.join(missing)}."
        )
    known = [str(name) for name in table["quantity"].unique()]
    for quantity in quantities:
        choice("a quantity", quantity, known)


def _tested(
    name: str,
    x: np.ndarray,
    y: np.ndarray,
    paired: bool,
    method: str | None,
    level: float,
    seed: int,
) -> tuple[TestResult, dict[str, float]]:
    """Return the test of two arms' values by network, and the means that it compared."""
    fine = np.isfinite(x) & np.isfinite(y)
    x, y = (x[fine], y[fine]) if paired else (x[np.isfinite(x)], y[np.isfinite(y)])
    if min(len(x), len(y)) < 2:
        raise InputError(
            f"{name}: at least 2 networks must have finished in both arms; got {len(x)} and "
            f"{len(y)}. Use a larger cohort."
        )
    options: dict[str, Any] = {"name": name, "level": level, "seed": seed}
    if paired:
        result = paired_comparison(x, y, method=method or "t", **options)
    else:
        result = two_sample_comparison(x, y, method=method or "welch", **options)
    return result, {"mean_first": float(x.mean()), "mean_second": float(y.mean())}


def _animals(effect: float, power: float, alpha: float, paired: bool) -> float:
    """Return the number of animals for an effect size, infinite where none would do."""
    if effect == 0:
        return math.inf
    design = "paired" if paired else "two-sample"
    try:
        return float(animals_needed(effect, power=power, alpha=alpha, design=design).n)
    except InputError:
        return math.inf
