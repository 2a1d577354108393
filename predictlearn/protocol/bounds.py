"""How much of a run is kept, so that its table fits into memory whatever the cohort.

A table of a run takes about 250 bytes a row at its largest, while it is put together. Where a
protocol does not say `record_every`, so many epochs are left out that the table has no more than
`KEPT_ROWS` rows (about 1 GB); where it does, up to `MOST_ROWS` (about 5 GB) are kept as asked, and
more are refused before any work.
"""

from __future__ import annotations

import math

from predictlearn.errors import InputError
from predictlearn.protocol.schema import ProtocolSpec
from predictlearn.theory.sizes import Sizes

__all__ = ["KEPT_ROWS", "MOST_ROWS", "record_every", "rows_of"]

KEPT_ROWS = 4_000_000
MOST_ROWS = 20_000_000
_ROW_BYTES = 250
# Gradient flow keeps so many times, whatever `record_every`.
_FLOW_ROWS = 201


def _n_quantities(sizes: Sizes, synaptic: bool, feedback: bool) -> int:
    """Return how many quantities are recorded of an epoch, its loss among them."""
    more = 1 + int(feedback)
    if not synaptic:
        return len(sizes.names) + more
    n_in, _, n_out = sizes
    dim = sizes.dim + int(feedback) * n_out
    pairs = n_in * (n_in + 1) // 2 + n_out * (n_out + 1) // 2
    return 3 * n_in * n_out + pairs + 1 + 2 * dim + more


def rows_of(spec: ProtocolSpec, networks: int, sizes: Sizes, every: int) -> int:
    """Return about how many rows the table of a run has.

    Parameters
    ----------
    spec : ProtocolSpec
        The protocol.
    networks : int
        How many.
    sizes : Sizes
        Numbers of inputs, recurrent dimensions and outputs.
    every : int
        One epoch in so many is kept, with the first and the last of a phase.

    Returns
    -------
    int
        Losses and overlaps, and the losses of evaluated tasks. Loadings of neurons, which are kept
        at the end of each phase, count as the rows that take as much memory.
    """
    dim, rows = sizes.dim, 0
    # of a design between animals, the networks of each arm
    groups = spec.group_sizes if spec.cohort.design == "between" else dict.fromkeys(spec.arms, 1)
    longer = 1.0 if spec.cohort.animals is None else spec.cohort.animals.longer
    for arm in spec.arms:
        neurons = spec.neurons_of(arm) or 0
        for number, step in enumerate(spec.steps(arm)):
            phase = step.phase
            synaptic, feedback = spec.is_synaptic(arm, number), spec.has_feedback(arm, number)
            quantities = _n_quantities(sizes, synaptic, feedback)
            length = round(longer * step.epochs) if phase.trains else step.epochs
            epochs = length // every + 2
            if phase.trains and spec.rule_of(arm, phase).kind == "gradient-flow":
                epochs = min(epochs, _FLOW_ROWS)
            if phase.until is not None and phase.until.on is not None:
                # each stretch between two looks at the loss keeps its ends
                stretches = length // (phase.until.every or every) + 1
                epochs = min(length, epochs * stretches) + 1
            rows += groups[arm] * (epochs * quantities + 2 * len(spec.evaluate))
            numbers = neurons * (neurons + dim if synaptic else dim)
            rows += groups[arm] * math.ceil(numbers * 8 / _ROW_BYTES)
    of_all = sum(groups.values()) if spec.cohort.design == "between" else 1
    return rows * networks // of_all


def record_every(spec: ProtocolSpec, networks: int, sizes: Sizes) -> int:
    """Return that one epoch in so many is to be kept.

    Parameters
    ----------
    spec, networks, sizes
        As of `rows_of`.

    Returns
    -------
    int
        What the protocol says; where it does not, the least with which the table is bounded.

    Raises
    ------
    InputError
        If the table would be too large, with what would do.

    Examples
    --------
    >>> import predictlearn as pl
    >>> spec = pl.Protocol.load("aba").spec
    >>> record_every(spec, 100, Sizes(1, 1, 1))
    20
    """
    given = "record_every" in spec.model_fields_set
    most = MOST_ROWS if given else KEPT_ROWS
    stated = spec.record_every
    if rows_of(spec, networks, sizes, stated) <= most:
        return stated
    longest = max((step.epochs for arm in spec.arms for step in spec.steps(arm)), default=1)
    # rows fall as more epochs are left out: halve the range until one is left
    low, high = stated, max(stated, longest) + 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (
            (low, middle) if rows_of(spec, networks, sizes, middle) <= most else (middle, high)
        )
    fits = rows_of(spec, networks, sizes, high) <= MOST_ROWS
    if fits and not given:
        return high
    rows = rows_of(spec, networks, sizes, stated)
    advice = f"record_every: {high}, or fewer networks, would do" if fits else "run fewer networks"
    raise InputError(
        f"the table of this run would have about {rows:,} rows with record_every {stated}, more "
        f"than the {MOST_ROWS:,} that are kept in memory; {advice}."
    )
