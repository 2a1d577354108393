"""Names of the overlaps, and which of them the loss or a recording can see.

The columns of Theta = [M U V Z] carry the letters m, u, v, z. An overlap is named by the letters of
its two columns, the later pathway of v, z first (``zm``, ``vu``), and an index follows a letter
only where that pathway has more than one column (``v1u2``).
"""

from __future__ import annotations

from functools import lru_cache

from predictlearn.errors import choice, nearest

__all__ = [
    "NONLINEARITIES",
    "PATHWAYS",
    "hidden_names",
    "invisible_names",
    "nonlinearity_name",
    "overlap_names",
    "pathway_slices",
    "recordable_names",
    "table_pairs",
    "unknown_name",
    "visible_names",
]

PATHWAYS = ("m", "u", "v", "z")
NONLINEARITIES = ("linear", "erf", "tanh")

# The order of a table: what a linear loss sees, then what it does not.
_SEEN_LINEAR = ("zm", "zu", "vm", "vu")
_BLOCKS = (*_SEEN_LINEAR, "mu", "zv", "mm", "uu", "vv", "zz")
_ACTIVITY = ("mu", "mm", "uu")
_HIDDEN = ("zv", "vv", "zz")


def pathway_slices(n_in: int, rank: int, n_out: int) -> dict[str, slice]:
    """Return where the columns m, u, v, z stand in Theta = [M U V Z].

    Examples
    --------
    >>> pathway_slices(1, 2, 1)["v"]
    slice(3, 5, None)
    """
    starts = (0, n_in, n_in + rank, n_in + 2 * rank, n_in + 2 * rank + n_out)
    return {p: slice(starts[i], starts[i + 1]) for i, p in enumerate(PATHWAYS)}


@lru_cache(maxsize=256)
def _pairs(n_in: int, rank: int, n_out: int) -> tuple[tuple[str, str, int, int], ...]:
    """Return (name, block, row, column) of every overlap, in table order."""
    where = pathway_slices(n_in, rank, n_out)
    columns = {
        p: [
            (f"{p}{k + 1}" if s.stop - s.start > 1 else p, s.start + k)
            for k in range(s.stop - s.start)
        ]
        for p, s in where.items()
    }
    rows = []
    for block in _BLOCKS:
        first, second = block[0], block[1]
        for a, (name_a, i) in enumerate(columns[first]):
            for b, (name_b, j) in enumerate(columns[second]):
                if first != second or b >= a:
                    rows.append((name_a + name_b, block, i, j))
    return tuple(rows)


def _select(n_in: int, rank: int, n_out: int, blocks: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names whose block is one of those given, in table order."""
    return tuple(name for name, block, _, _ in _pairs(n_in, rank, n_out) if block in blocks)


def overlap_names(n_in: int = 1, rank: int = 1, n_out: int = 1) -> tuple[str, ...]:
    """Return the names of all D (D + 1) / 2 overlaps, in table order.

    Parameters
    ----------
    n_in, rank, n_out : int
        Numbers of inputs, of recurrent dimensions and of outputs.

    Returns
    -------
    tuple of str
        Loss-visible names of the linear network first.

    Examples
    --------
    >>> overlap_names()
    ('zm', 'zu', 'vm', 'vu', 'mu', 'zv', 'mm', 'uu', 'vv', 'zz')
    """
    return _select(n_in, rank, n_out, _BLOCKS)


def table_pairs(n_in: int, rank: int, n_out: int) -> dict[str, tuple[int, int]]:
    """Return the row and column of S for every name, in table order."""
    return {name: (i, j) for name, _, i, j in _pairs(n_in, rank, n_out)}


def nonlinearity_name(nonlinearity: object) -> str:
    """Return the name of a nonlinearity: a known name, or that of an object that has one.

    Examples
    --------
    >>> nonlinearity_name("erf")
    'erf'
    """
    name = getattr(nonlinearity, "name", None)
    if not isinstance(nonlinearity, str) and isinstance(name, str):
        return name
    return choice("nonlinearity", nonlinearity, NONLINEARITIES)


def visible_names(
    n_in: int = 1, rank: int = 1, n_out: int = 1, nonlinearity: object = "linear"
) -> tuple[str, ...]:
    """Return the loss-visible overlaps: those that decide what the network does now.

    Examples
    --------
    >>> visible_names(nonlinearity="erf")
    ('zm', 'zu', 'vm', 'vu', 'mu', 'mm', 'uu')
    """
    seen = _SEEN_LINEAR if nonlinearity_name(nonlinearity) == "linear" else _SEEN_LINEAR + _ACTIVITY
    return _select(n_in, rank, n_out, seen)


def invisible_names(
    n_in: int = 1, rank: int = 1, n_out: int = 1, nonlinearity: object = "linear"
) -> tuple[str, ...]:
    """Return the loss-invisible overlaps: those that decide only how the network learns.

    Examples
    --------
    >>> invisible_names(nonlinearity="erf")
    ('zv', 'vv', 'zz')
    """
    seen = set(visible_names(n_in, rank, n_out, nonlinearity))
    return tuple(name for name in overlap_names(n_in, rank, n_out) if name not in seen)


def recordable_names(n_in: int = 1, rank: int = 1, n_out: int = 1) -> tuple[str, ...]:
    """Return what a recording of all activity and output can see, up to the gauge of u and v.

    Examples
    --------
    >>> recordable_names()
    ('zm', 'zu', 'vm', 'vu', 'mu', 'mm', 'uu')
    """
    return _select(n_in, rank, n_out, _SEEN_LINEAR + _ACTIVITY)


def hidden_names(n_in: int = 1, rank: int = 1, n_out: int = 1) -> tuple[str, ...]:
    """Return what no single recording can see.

    Examples
    --------
    >>> hidden_names()
    ('zv', 'vv', 'zz')
    """
    return _select(n_in, rank, n_out, _HIDDEN)


def unknown_name(name: str, names: tuple[str, ...]) -> str:
    """Return the message for an overlap that does not exist."""
    close = nearest(name, names)
    reverse = next((n for n in names if sorted(n) == sorted(str(name))), None)
    hint = reverse or close
    said = f" Did you mean {hint!r}?" if hint else ""
    return f"there is no overlap {name!r}; the names are {', '.join(names)}.{said}"
