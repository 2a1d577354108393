"""Two arms of a protocol's result side by side: paired tests, effect sizes, animals needed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from predictlearn.errors import InputError, choice
from predictlearn.predictions.comparisons import paired_comparison
from predictlearn.predictions.corrections import CORRECTIONS, family_table
from predictlearn.predictions.power import animals_needed

if TYPE_CHECKING:
    from predictlearn.protocol import ProtocolResult

__all__ = ["ArmComparison", "check_comparison", "compare_arms"]

_METHODS = ("t", "wilcoxon", "permutation")


@dataclass(frozen=True)
class ArmComparison:
    """A comparison of two arms.

    Parameters
    ----------
    table : pandas.DataFrame
        One row an outcome: as `predictlearn.predictions.corrections.family_table`, with the means
        of both arms and ``animals_needed`` (pairs for a power of 0.8; NaN where no number of
        animals would do).
    n_networks : int
        Networks that got through both arms.
    when : str
        The epochs compared, in words.
    notes : tuple of str
        What was left out, and why.
    """

    table: pd.DataFrame
    n_networks: int
    when: str
    notes: tuple[str, ...]


def check_comparison(
    known: Sequence[str], arms: tuple[str, str] | None, method: str, correction: str
) -> tuple[str, str]:
    """Return the two arms to compare, or raise before anything is run.

    Parameters
    ----------
    known : sequence of str
        Arms of the protocol.
    arms : (str, str), optional
        Arms asked for; the first two if not given.
    method, correction : str
        Test and correction asked for.

    Returns
    -------
    tuple of str
        Two different arms.

    Raises
    ------
    InputError
        If there are no two arms, or a name is unknown.

    Examples
    --------
    >>> check_comparison(["A-B", "B-A"], None, "t", "holm")
    ('A-B', 'B-A')
    """
    choice("--method", method, _METHODS)
    choice("--correction", correction, CORRECTIONS)
    if arms is None:
        if len(known) < 2:
            raise InputError(
                f"this protocol has one arm, {known[0]!r}; a comparison needs two. Add an arm."
            )
        return known[0], known[1]
    first, second = (choice("--arms", name, known) for name in arms)
    if first == second:
        raise InputError(f"--arms must be two different arms; got {first!r} twice.")
    return first, second


def compare_arms(
    result: ProtocolResult,
    arms: tuple[str, str],
    epoch: float | None = None,
    *,
    method: str = "t",
    correction: str = "holm",
) -> ArmComparison:
    """Compare losses and overlaps of two arms at one epoch, paired within networks.

    Parameters
    ----------
    result : ProtocolResult
        The run.
    arms : (str, str)
        The arms; differences are first minus second.
    epoch : float, optional
        Epoch since the start of the arm; the recorded one nearest to it is used. The last epoch of
        each arm if not given.
    method : {"t", "wilcoxon", "permutation"}
        The paired test.
    correction : {"holm", "fdr_bh", "none"}
        Correction within losses and within overlaps.

    Returns
    -------
    ArmComparison
        The table.

    Raises
    ------
    InputError
        If the epoch is not within both arms, or fewer than two networks got through both.
    """
    rows = [_at(result, arm, epoch) for arm in arms]
    when = " and ".join(f"epoch {part['epoch'].iloc[0]:g} of {arm}" for part, arm in
                        zip(rows, arms, strict=True))  # fmt: skip
    wide = [
        part.pivot_table(index="network", columns="quantity", values="value", aggfunc="last")
        for part in rows
    ]
    notes = []
    networks = wide[0].dropna(how="all").index.intersection(wide[1].dropna(how="all").index)
    lost = result.failed.loc[result.failed["arm"].isin(arms), "network"].unique()
    networks = networks.difference(pd.Index(lost))
    if len(networks) < result.n_networks:
        notes.append(
            f"{result.n_networks - len(networks)} of {result.n_networks} networks did not get "
            "through both arms and are left out"
        )
    if len(networks) < 2:
        raise InputError(
            f"a paired comparison needs at least 2 networks that got through both arms; there "
            f"are {len(networks)}. Use a larger cohort, such as --networks 20."
        )
    common = [name for name in wide[0].columns if name in wide[1].columns]
    tasks = [set(part.loc[part["quantity"] == "loss", "task"]) for part in rows]
    if "loss" in common and tasks[0] != tasks[1]:
        common.remove("loss")
        notes.append(
            "the loss in training is left out, since the arms train different tasks there; "
            "`evaluate` in the protocol tests the same tasks in both"
        )
    names = list(result.overlap_names)
    families = {
        "losses": [name for name in common if name not in names],
        "overlaps": [name for name in names if name in common],
    }
    values = [part.loc[networks] for part in wide]
    parts = [
        _family(family, outcomes, values, method, correction, result.seed)
        for family, outcomes in families.items()
        if outcomes
    ]
    return ArmComparison(pd.concat(parts, ignore_index=True), len(networks), when, tuple(notes))


def _at(result: ProtocolResult, arm: str, epoch: float | None) -> pd.DataFrame:
    """Return the rows of an arm at one epoch: that of the phase which ends there, if two meet."""
    rows = result.table[result.table["arm"] == arm]
    kept = np.unique(rows.loc[rows["quantity"].isin(result.overlap_names), "epoch"])
    if epoch is None:
        chosen = kept[-1]
    else:
        if not 0 <= epoch <= kept[-1]:
            raise InputError(f"--epoch must be in 0..{kept[-1]:g}, as arm {arm!r}; got {epoch:g}.")
        chosen = kept[np.argmin(np.abs(kept - epoch))]
    at = rows[rows["epoch"] == chosen]
    return at.drop_duplicates(
        ["network", "quantity"], keep="first" if epoch is not None else "last"
    )


def _family(
    family: str,
    outcomes: Sequence[str],
    values: Sequence[pd.DataFrame],
    method: str,
    correction: str,
    seed: int,
) -> pd.DataFrame:
    """Return the tests of one family."""
    first, second = (part[list(outcomes)].to_numpy(float) for part in values)
    tests = [
        paired_comparison(first[:, k], second[:, k], name=name, method=method, seed=seed)
        for k, name in enumerate(outcomes)
    ]
    table = family_table(tests, family=family, method=correction)
    place = list(table.columns).index("estimate")
    table.insert(place, "mean_first", first.mean(axis=0))
    table.insert(place + 1, "mean_second", second.mean(axis=0))
    table["animals_needed"] = [_animals(test.effect) for test in tests]
    return table


def _animals(effect: float) -> float:
    """Return the pairs that a power of 0.8 takes, NaN if there is no effect or none would do."""
    try:
        return float(animals_needed(effect).n)
    except InputError:
        return float("nan")
