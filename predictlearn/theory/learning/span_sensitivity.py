"""How what synapses learn depends on the network at the start and on the rate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from predictlearn.checks import positive_int
from predictlearn.errors import DivergenceError, InputError
from predictlearn.theory.learning.local_rules import LocalRule
from predictlearn.theory.learning.rules import GradientDescent
from predictlearn.theory.learning.span_many import SpanSchedule
from predictlearn.theory.overlaps import Overlaps
from predictlearn.theory.synapses.network import Synapses
from predictlearn.theory.trials import Task

__all__ = ["SynapticSensitivities", "synaptic_sensitivities"]

# Step of the five-point differences, in units of the size of an overlap: where the fourth order of
# the step and rounding err alike, by about 1e-10.
_STEP = 5e-4
_POINTS = np.array([-2.0, -1.0, 1.0, 2.0])
_WEIGHTS = np.array([1.0, -8.0, 8.0, -1.0]) / 12.0
# The smallest eigenvalue, of the largest, of overlaps that may be moved to both sides.
_INSIDE = 0.05


@dataclass(frozen=True)
class SynapticSensitivities:
    """What synapses have learned at some epochs, and its slopes by start and rate.

    Parameters
    ----------
    values : pandas.DataFrame
        By epoch: the loss, and `Synapses.quantities`.
    slopes : pandas.DataFrame
        By epoch and parameter: every overlap of the start, and ``log rate``.
    """

    values: pd.DataFrame
    slopes: pd.DataFrame


def synaptic_sensitivities(
    start: Overlaps,
    task: Task,
    rule: GradientDescent | LocalRule,
    record: Sequence[int],
    tau: float = 1.0,
) -> SynapticSensitivities:
    """Learn by synapses, and differentiate what is learned by the start and the rate.

    Parameters
    ----------
    start : Overlaps
        The low-rank network before learning; away from the edge of what networks have.
    task : Task
        What is learned; fixed trials.
    rule : GradientDescent, FeedbackAlignment or RFLO
        Without momentum, noise, schedule and minibatches.
    record : sequence of int
        Epochs at which to look, rising; 0 is the start.
    tau : float, default 1.0
        Time constant in seconds.

    Returns
    -------
    SynapticSensitivities
        Values and slopes.

    Raises
    ------
    InputError
        If an argument cannot be used, or the start has a direction that next to nothing lies in.
    DivergenceError
        If learning runs away.

    Notes
    -----
    Five-point differences between networks that learn side by side, with an error of about 1e-9 of
    the largest slope. A direction of the gauge, u -> c u, v -> v / c, has no slope.

    Examples
    --------
    >>> import numpy as np
    >>> import predictlearn as pl
    >>> start = pl.Overlaps(np.eye(4)).replace(zu=0.2, vm=0.2)
    >>> found = pl.synaptic_sensitivities(start, pl.Filter(), pl.GradientDescent(5e-3), [0, 100])
    >>> float(found.slopes.loc[(0, "zm"), "zm"].round(6))
    1.0
    >>> bool(abs(found.slopes.loc[(100, "uu"), "loss"] - found.slopes.loc[(100, "vv"), "loss"])
    ...     < 1e-8)  # with zu = vm = 0.2 and mu = zv, as the gauge has it
    True
    """
    if not isinstance(start, Overlaps):
        raise InputError(f"start must be an Overlaps; got {type(start).__name__}.")
    asked = [positive_int("an epoch of record", e, minimum=0) for e in record]
    if not asked or asked != sorted(set(asked)):
        raise InputError(f"record must hold rising epochs, such as [0, 100]; got {list(record)}.")
    eigenvalues = np.linalg.eigvalsh(start.matrix)
    if eigenvalues[0] < _INSIDE * np.diag(start.matrix).min():
        raise InputError(
            "start must have overlaps that can be moved to both sides; their smallest eigenvalue "
            f"is {eigenvalues[0]:.3g}, beside {eigenvalues[-1]:.3g}."
        )
    feedback = rule.feedback if isinstance(rule, LocalRule) else None
    names, pairs = start.sizes.names, start.sizes.pairs
    size = float(np.diag(start.matrix).mean())
    networks, rates = [Synapses.from_overlaps(start, feedback)], [rule.rate]
    step = _STEP * min(size, float(eigenvalues[0]) * 4)
    for name in names:
        i, j = pairs[name]
        for point in _POINTS:
            moved = start.matrix.copy()
            moved[i, j] += point * step
            moved[j, i] = moved[i, j]
            networks.append(Synapses.from_overlaps(Overlaps(moved, *start.sizes), feedback))
            rates.append(rule.rate)
    for point in _POINTS:
        networks.append(networks[0])
        rates.append(rule.rate * float(np.exp(point * _STEP)))
    when = np.array(asked if asked[0] == 0 else [0, *asked], dtype=np.intp)
    schedule = SpanSchedule(rule, [task] * (len(when) - 1), when, tau)
    b = None if feedback is None else np.array([n.feedback for n in networks])
    parts = {name: np.array([getattr(n, name) for n in networks]) for name in "mwz"}
    if len(when) == 1:
        raise InputError("record must hold an epoch after 0.")
    ran = schedule.courses(parts, b, np.array(rates))
    if not np.all(np.isfinite(ran.losses)):
        lost = int(np.flatnonzero(~np.isfinite(ran.losses).all(axis=0))[0])
        raise DivergenceError(
            f"learning diverged before epoch {when[lost]}. Try a smaller rate than that of "
            f"{rule!r}.",
            int(when[lost]),
        )
    rows = [k for k, epoch in enumerate(when) if epoch in set(asked)]
    tables = [
        pd.DataFrame(
            [
                pd.concat(
                    [
                        pd.Series({"loss": ran.losses[n, k]}),
                        Synapses(ran.m[n, k], ran.w[n, k], ran.z[n, k]).quantities(),
                    ]
                )
                for k in rows
            ],
            index=pd.Index(asked, name="epoch"),
        )
        for n in range(len(networks))
    ]
    slopes = {}
    for p, name in enumerate((*names, "log rate")):
        width = _STEP if name == "log rate" else step
        parts_of = [tables[1 + 4 * p + k] * (_WEIGHTS[k] / width) for k in range(4)]
        slopes[name] = sum(parts_of[1:], parts_of[0])
    table = (
        pd.concat(slopes, names=["parameter"]).swaplevel().sort_index(level=0, sort_remaining=False)
    )
    return SynapticSensitivities(tables[0], table)
