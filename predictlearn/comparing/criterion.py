"""Epochs to a criterion of the networks of a run: known, or cut short at the end of training."""

from __future__ import annotations

import numpy as np
import pandas as pd

from predictlearn.errors import InputError, choice

__all__ = ["CENSORED", "WAIT", "criterion_waits", "waits_in_words"]

# The quantity of a protocol's table, and the column that says who never got there.
WAIT = "epochs_to_criterion"
CENSORED = "criterion not reached"


def criterion_waits(table: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, str]]:
    """Return how long every network trained until the criterion, or without reaching it.

    Of each arm it is the last phase that has a criterion.

    Parameters
    ----------
    table : pandas.DataFrame
        Tidy table of a run: arm, network, phase, epoch, phase_epoch, quantity, value.

    Returns
    -------
    (pandas.DataFrame, dict of str)
        ``arm``, ``network``, ``phase``, ``epoch``, ``value`` (epochs of the phase until the
        criterion, or for which it trained) and `CENSORED`, 1 where it was not reached; and by arm a
        sentence on networks that never got to that phase, or diverged in it.

    Raises
    ------
    InputError
        If no phase of the run has a criterion, or an arm has none.

    Examples
    --------
    >>> rows = [{"arm": "a", "network": k, "phase": "p", "epoch": 30, "phase_epoch": 20,
    ...          "quantity": "epochs_to_criterion", "value": v} for k, v in ((0, 20), (1, np.nan))]
    >>> waits, missing = criterion_waits(pd.DataFrame(rows))
    >>> waits["value"].tolist(), waits[CENSORED].tolist(), missing
    ([20.0, 20.0], [0.0, 1.0], {})
    """
    choice("an outcome", WAIT, [str(name) for name in table["quantity"].unique()])
    rows = table[table["quantity"] == WAIT]
    parts, missing = [], {}
    for arm, of_arm in table.groupby("arm", sort=False):
        mine = rows[rows["arm"] == arm]
        if mine.empty:
            raise InputError(f"no phase of arm {str(arm)!r} trains to a criterion (until).")
        last = mine["phase"].unique()[-1]
        ends = mine[mine["phase"] == last].drop_duplicates("network", keep="last")
        gone = sorted(set(of_arm["network"]) - set(ends["network"]))
        if gone:
            listed = ", ".join(map(str, gone[:5])) + (", ..." if len(gone) > 5 else "")
            missing[str(arm)] = (
                f"{len(gone)} of {of_arm['network'].nunique()} networks of {arm} dropped out "
                f"before phase {last!r} or diverged, and are left out (network {listed})."
            )
        parts.append(ends)
    found = pd.concat(parts, ignore_index=True)
    value = found["value"].to_numpy(float)
    never = ~np.isfinite(value)
    found["value"] = np.where(never, found["phase_epoch"].to_numpy(float), value)
    found[CENSORED] = never.astype(float)
    return found[["arm", "network", "phase", "epoch", "value", CENSORED]], missing


def waits_in_words(waits: pd.DataFrame, refer: str) -> str:
    """Return who was censored, and where, as a sentence.

    Parameters
    ----------
    waits : pandas.DataFrame
        Of `criterion_waits`, all arms that are compared.
    refer : str
        What is made of them.

    Returns
    -------
    str
        The sentence.
    """
    phases = waits.groupby("arm", sort=False)["phase"].first()
    where = f"phase {phases.iloc[0]!r}"
    if phases.nunique() > 1:
        where = ", ".join(f"phase {phase!r} of {arm}" for arm, phase in phases.items())
    never = int(waits[CENSORED].sum())
    if not never:
        return f"Epochs to the criterion of {where}: all {len(waits)} were reached; {refer}."
    each = waits.groupby("arm", sort=False)[CENSORED].agg(["sum", "size"]).astype(int)
    shares = ", ".join(f"{row['sum']} of {row['size']} in {arm}" for arm, row in each.iterrows())
    return (
        f"Epochs to the criterion of {where}: not reached by {shares}; these are censored at the "
        f"end of their training, and {refer}."
    )
