"""The next phase of learning, predicted from the sessions before it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from predictlearn.arrays import Array
from predictlearn.checks import as_float_array, positive_int
from predictlearn.errors import DivergenceError, InputError
from predictlearn.fitting.learning.model import legs_of
from predictlearn.fitting.learning.parameters import ParameterLayout
from predictlearn.fitting.learning.sessions import Sessions
from predictlearn.theory.gauge import canonical_matrices
from predictlearn.theory.learning.phases import LOSS, Leg, interval_tasks
from predictlearn.theory.learning.rules import GradientDescent
from predictlearn.theory.learning.sensitivity import learn_with_sensitivities
from predictlearn.theory.overlaps import Overlaps

__all__ = ["Forecast", "forecast", "forecast_epochs"]


@dataclass(frozen=True, eq=False)
class Forecast:
    """What the next phase of learning will show.

    Parameters
    ----------
    table : pandas.DataFrame
        One row an epoch and quantity: epoch (updates since the last session), name (an overlap or
        "loss"), median, low, high.
    draws : numpy.ndarray, (draws, epochs, quantities)
        The draws behind it.
    epochs : numpy.ndarray of int
        Updates since the last session.
    names : tuple of str
        The quantities.
    level : float
        Level of the band.
    left_out : int
        Draws whose learning diverged; they are not in the band.
    """

    table: pd.DataFrame
    draws: Array
    epochs: npt.NDArray[np.intp]
    names: tuple[str, ...]
    level: float
    left_out: int

    def loss(self) -> pd.DataFrame:
        """Return median, low and high of the loss, by epoch."""
        rows = self.table[self.table["name"] == LOSS]
        return rows.set_index("epoch")[["median", "low", "high"]]


def forecast_epochs(epochs: Any) -> npt.NDArray[np.intp]:
    """Return where to forecast: a grid up to a number, or the epochs given.

    Examples
    --------
    >>> forecast_epochs(40)[[0, 1, -1]].tolist(), forecast_epochs([10, 30]).tolist()
    ([0, 2, 40], [10, 30])
    """
    if np.ndim(epochs) == 0:
        last = positive_int("epochs", epochs)
        return np.unique(np.round(np.linspace(0, last, 21)).astype(np.intp))
    values = as_float_array("epochs", epochs, ndim=1)
    whole = values.size > 0 and np.all(values == np.round(values))
    if not whole or values[0] < 0 or np.any(np.diff(values) < 1):
        raise InputError("epochs must be whole numbers from 0 that increase strictly.")
    return values.astype(np.intp)


def forecast(
    natural: Array,
    layout: ParameterLayout,
    data: Sessions,
    tasks: Any,
    epochs: Any,
    rule: GradientDescent | None,
    *,
    nonlinearity: str,
    tau: float,
    seed: int,
    level: float,
    canonical: bool,
) -> Forecast:
    """Return the forecast from draws of the natural parameters, (draws, P).

    Every draw learns what the sessions learned and then the new phase, so that its end of the old
    phase agrees with what the sessions showed.
    """
    at = forecast_epochs(epochs)
    stops = at if at[0] == 0 else np.concatenate([[0], at])
    if len(stops) < 2:
        raise InputError("epochs must hold an epoch after 0.")
    new_tasks = interval_tasks(tasks, len(stops) - 1)
    ends = (new_tasks[0].n_in, new_tasks[0].n_out)
    n_in, _, n_out = layout.sizes
    if ends != (n_in, n_out):
        raise InputError(
            f"tasks must have {n_in} input(s) and {n_out} output(s), as the fitted one; "
            f"got {ends[0]} and {ends[1]}."
        )
    if rule is not None and not isinstance(rule, GradientDescent):
        raise InputError(f"rule must be a GradientDescent; got {type(rule).__name__}.")
    past = int(data.epochs[-1])
    names = (*layout.overlap_names, LOSS)
    kept = []
    for row in natural:
        fitted_rule = layout.rule_at(row[layout.n_overlaps :])
        legs: list[Leg] = legs_of(data.tasks, data.epochs, fitted_rule)
        legs += legs_of(new_tasks, stops, rule or fitted_rule)
        try:
            run = learn_with_sensitivities(
                Overlaps(layout.full(row), *layout.sizes, tolerance=1e-7),
                legs,
                (past + stops).tolist(),
                nonlinearity=nonlinearity,
                tau=tau,
                seed=seed,
                slopes=False,
            )
        except DivergenceError:
            continue
        matrices = run.matrices
        if canonical:
            matrices, _ = canonical_matrices(matrices, np.zeros((*matrices.shape, 0)), layout.sizes)
        rows, columns = layout.pairs
        kept.append(np.column_stack([matrices[:, rows, columns], run.losses]))
    if len(kept) < max(2, len(natural) // 2):
        raise DivergenceError(
            f"{len(natural) - len(kept)} of {len(natural)} draws diverge in the new phase. "
            "Try a smaller rate in rule.",
            past,
        )
    values = np.array(kept)[:, len(stops) - len(at) :]
    tail = (1 - level) / 2
    low, median, high = np.quantile(values, [tail, 0.5, 1 - tail], axis=0)
    table = pd.DataFrame(
        {
            "epoch": np.repeat(at, len(names)),
            "name": list(names) * len(at),
            "median": median.ravel(),
            "low": low.ravel(),
            "high": high.ravel(),
        }
    )
    return Forecast(table, values, at, names, level, len(natural) - len(kept))
