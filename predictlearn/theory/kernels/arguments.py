"""What the compiled loops are given, in named tuples, which numba takes apart at no cost."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

__all__ = [
    "Cumulants",
    "Impulse",
    "Judging",
    "Record",
    "RungeKutta",
    "Shown",
    "Span",
    "Step",
    "Tangents",
]


class Judging(NamedTuple):
    """How outputs are judged; arrays of one number an output and bin are (time, n_out, trials)."""

    targets: np.ndarray
    weights: np.ndarray
    noise: np.ndarray  # added to the targets for the derivative; empty for none
    offset: np.ndarray  # (n_out,)
    smoothing: np.ndarray  # (n_out, n_out)
    direct: bool  # whether outputs are judged as they are, without offset and smoothing


class Shown(NamedTuple):
    """Trials as the network meets them."""

    a: float  # dt / tau
    gain: np.ndarray  # a table; empty for linear networks, one number for erf
    km: np.ndarray  # k_m, (time, n_in, trials)
    judging: Judging


class Impulse(NamedTuple):
    """Trials of a linear network after an impulse, for the closed form; empty where none holds."""

    a: float
    first: np.ndarray  # X_1, (n, n)
    step: np.ndarray  # (q, q), of the targets' law
    read: np.ndarray  # (n_out, q)
    weights: np.ndarray  # (n_out,)
    n_steps: int


class Step(NamedTuple):
    """How the overlaps move in an epoch."""

    kind: int  # CONGRUENCE, FIRST_ORDER or DIRECT
    rate: float
    multipliers: np.ndarray  # of the rate, by epoch
    drop_factor: float
    drop_below: float
    columns: np.ndarray  # relative rate of every column of Theta, (D,)
    momentum: float
    decay: float
    synaptic: float
    target_noise: float


class Record(NamedTuple):
    """What is kept of the epochs, and what ends them; in `many` each array has one row a network.

    A loss above `limit` or not a number is divergence; at or below `goal` it ends the run before
    the update.
    """

    limit: Any  # a number, or an array, one a network
    goal: float
    row_of: np.ndarray  # by epoch, the row of `kept` that the overlaps before it go to, or -1
    losses: np.ndarray  # by epoch
    kept: np.ndarray  # (rows, populations, D, D)


class Span(NamedTuple):
    """Which epochs a call runs, counted from the start of the phase."""

    first: int
    n_epochs: int
    dropped: bool  # whether the rate has dropped before


class Tangents(NamedTuple):
    """Derivatives that learning carries along, by P parameters; see `sensitivity.move_slopes`."""

    moving: np.ndarray  # (3, D, D, P), of the joint overlaps
    carried: np.ndarray  # (D, D, 1 + P), or empty
    pathway: np.ndarray  # of every column of Theta, 0 to 3
    rows: np.ndarray  # of the overlaps that the loss sees, and their columns
    cols: np.ndarray
    kept: np.ndarray  # (rows, D, D, P)
    kept_carried: np.ndarray  # (rows, D, D, 1 + P)
    kept_loss: np.ndarray  # (rows, P)


class Cumulants(NamedTuple):
    """Fourth cumulants, times the number of orders in which their indices of k can stand."""

    cubic: np.ndarray  # (D, triples)
    quadratic: np.ndarray  # (rank * (rank + n_out), pairs)
    pairs: np.ndarray  # (pairs, 2), variables of k
    triples: np.ndarray  # (triples, 2), of which pair and variable


class RungeKutta(NamedTuple):
    """An explicit method with two errors and an interpolant: coefficients of DOP853."""

    stages: np.ndarray  # (16, 16): 12 stages, the step itself, and three for the interpolant
    fifth: np.ndarray  # (13,), errors of order 5
    third: np.ndarray  # (13,), and 3
    between: np.ndarray  # (4, 16), the interpolant's upper powers
