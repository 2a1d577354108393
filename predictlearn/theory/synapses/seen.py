"""What of a network its function shows, what only its learning does, and what nothing does."""

from __future__ import annotations

import pandas as pd

from predictlearn.errors import choice
from predictlearn.theory.names import nonlinearity_name, overlap_names, visible_names

__all__ = ["SEEN_BY_RULE", "what_is_seen"]

# Which blocks a rule never reads: feedback alignment uses B where descent uses Z, and RFLO runs
# no error back through W', so that V and Z are only ever read against activity.
_UNREAD = {
    "descent": frozenset(),
    "feedback-alignment": frozenset({"zz"}),
    "rflo": frozenset({"vv", "zv", "zz"}),
}
SEEN_BY_RULE = tuple(_UNREAD)


def what_is_seen(
    n_in: int = 1,
    rank: int = 1,
    n_out: int = 1,
    *,
    rule: str = "descent",
    learns: str = "factors",
    nonlinearity: str = "linear",
) -> pd.DataFrame:
    """Return which overlaps the function shows, which only learning does, and which nothing does.

    Parameters
    ----------
    n_in, rank, n_out : int, default 1
        Sizes of the low-rank network that learning starts from.
    rule : {"descent", "feedback-alignment", "rflo"}
        How errors steer the synapses; feedback is fixed and independent of the network.
    learns : {"factors", "synapses"}
        What learns.
    nonlinearity : {"linear", "erf", "tanh"}
        Which phi.

    Returns
    -------
    pandas.DataFrame
        One row an overlap, with ``seen`` "function", "learning" or "nothing". Its ``attrs`` hold
        ``free``: how many directions of those that are seen are seen by nothing all the same, the
        R^2 of u -> u q, v -> v q^-T. They change neither function nor synapses; they do change
        how factors learn. ``dimensions``: how many numbers all learning together can show.

    Raises
    ------
    InputError
        If a rule, learner or nonlinearity is unknown.

    Notes
    -----
    Learning is a function of the vectors that a rule multiplies with each other. Activity lies in
    the span of M and U, and with feedback B under RFLO its steps are of M, U and B against inputs
    and activity, so Z and V are only read in z'm, z'u, v'm, v'u and against B. Descent returns
    errors by Z and V, and reads their own overlaps too.

    Examples
    --------
    >>> import predictlearn as pl
    >>> table = pl.what_is_seen(rule="rflo", learns="synapses")
    >>> table.index[table["seen"] == "nothing"].tolist(), table.attrs["dimensions"]
    (['zv', 'vv', 'zz'], 6)
    >>> pl.what_is_seen(learns="synapses").attrs["dimensions"]  # of ten, less one of the gauge
    9
    """
    choice("rule", rule, SEEN_BY_RULE)
    choice("learns", learns, ("factors", "synapses"))
    kind = nonlinearity_name(nonlinearity)
    shown = set(visible_names(n_in, rank, n_out, kind))
    seen = {}
    for name in overlap_names(n_in, rank, n_out):
        block = "".join(letter for letter in name if letter.isalpha())
        if name in shown:
            seen[name] = "function"
        else:
            seen[name] = "nothing" if block in _UNREAD[rule] else "learning"
    table = pd.DataFrame({"seen": pd.Series(seen)})
    table.index.name = "overlap"
    free = rank**2 if learns == "synapses" else 0
    table.attrs = {"free": free, "dimensions": int((table["seen"] != "nothing").sum()) - free}
    return table
