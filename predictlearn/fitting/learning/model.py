"""What a start and its rates predict for every measurement, and how that depends on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from predictlearn.arrays import Array
from predictlearn.errors import DivergenceError
from predictlearn.fitting.learning.parameters import ParameterLayout
from predictlearn.fitting.learning.sessions import Sessions
from predictlearn.theory.gauge import canonical_matrices
from predictlearn.theory.learning.phases import LOSS, Leg
from predictlearn.theory.learning.rules import GradientDescent
from predictlearn.theory.learning.sensitivity import learn_with_sensitivities
from predictlearn.theory.names import pathway_slices, table_pairs
from predictlearn.theory.overlaps import Overlaps
from predictlearn.theory.trials import Task

__all__ = ["LearnedRun", "Model", "legs_of"]


def legs_of(
    tasks: Sequence[Task], epochs: npt.NDArray[np.intp], rule: GradientDescent
) -> list[Leg]:
    """Return the legs of learning; intervals of one task in a row are one leg.

    What a rule carries from update to update, momentum and its schedule, so runs on across the
    sessions of a task.
    """
    legs: list[tuple[Task, int]] = []
    for task, n in zip(tasks, np.diff(epochs), strict=True):
        if legs and legs[-1][0] == task:
            legs[-1] = (task, legs[-1][1] + int(n))
        else:
            legs.append((task, int(n)))
    return [Leg(task, n, rule) for task, n in legs]


@dataclass(frozen=True, eq=False)
class LearnedRun:
    """Predictions and their slopes.

    Parameters
    ----------
    values : numpy.ndarray, (n,)
        One a measurement.
    slopes : numpy.ndarray, (n, P)
        Derivative in the natural parameters (overlaps, log rates); P is 0 without slopes.
    matrices : numpy.ndarray, (sessions, D, D)
        Overlaps at the sessions, in the gauge of the measurements.
    losses : numpy.ndarray, (sessions,)
        Losses.
    """

    values: Array
    slopes: Array
    matrices: Array
    losses: Array


@dataclass(frozen=True, eq=False)
class Model:
    """From parameters to predictions of the measurements.

    Parameters
    ----------
    data : Sessions
        What was measured, and when.
    layout : ParameterLayout
        The parameters.
    nonlinearity, tau, seed
        Of the theory; the seed draws trials and noise.
    canonical : bool
        Whether the measurements are in the canonical gauge of every session.
    """

    data: Sessions
    layout: ParameterLayout
    nonlinearity: str
    tau: float
    seed: int
    canonical: bool

    def run(self, x: Array, slopes: bool = True) -> LearnedRun | None:
        """Return predictions at x, or None where learning diverges or no gauge exists."""
        layout, data = self.layout, self.data
        with np.errstate(over="ignore", invalid="ignore"):
            matrix = layout.matrix(x)
            log_rates = x[layout.n_overlaps :]
            if not np.all(np.isfinite(matrix)) or np.any(np.abs(log_rates) > 20):
                return None
            rule = layout.rule_at(log_rates)
            try:
                found = learn_with_sensitivities(
                    Overlaps(matrix, *layout.sizes),
                    legs_of(data.tasks, data.epochs, rule),
                    data.epochs.tolist(),
                    nonlinearity=self.nonlinearity,
                    tau=self.tau,
                    seed=self.seed,
                    slopes=slopes,
                )
            except DivergenceError:
                return None
        moves, loss_moves = found.slopes, found.loss_slopes
        if slopes:
            moves, loss_moves = self._chosen(moves), self._chosen(loss_moves)
        matrices = found.matrices
        if self.canonical:
            if min(m[self._u, self._u].min() for m in matrices) <= 0 and layout.sizes[1] == 1:
                return None
            matrices, moves = canonical_matrices(matrices, moves, layout.sizes)
        values, out = self.select(matrices, found.losses, moves, loss_moves)
        if not (np.all(np.isfinite(values)) and np.all(np.isfinite(out))):
            return None
        return LearnedRun(values, out, matrices, np.asarray(found.losses))

    @property
    def _u(self) -> slice:
        """Where u stands."""
        return pathway_slices(*self.layout.sizes)["u"]

    def _chosen(self, slopes: Array) -> Array:
        """Return slopes in the natural parameters: overlaps and the rates that are fitted.

        Nothing that is learned depends on the gain of recordings.
        """
        n = self.layout.n_overlaps
        parts = [slopes[..., :n]]
        if self.layout.rate == "fit":
            parts.append(slopes[..., n:].sum(axis=-1, keepdims=True))
        elif self.layout.rate == "pathways":
            parts.append(slopes[..., [n + "muvz".index(p) for p in self.layout.pathways]])
        if self.layout.gain is not None:
            parts.append(np.zeros((*slopes.shape[:-1], 1)))
        return np.concatenate(parts, axis=-1)

    def select(
        self, matrices: Array, losses: Array, slopes: Array, loss_slopes: Array
    ) -> tuple[Array, Array]:
        """Return the predictions of the measurements and their slopes, in the order of the data."""
        pairs = table_pairs(*self.layout.sizes)
        data = self.data
        values = np.empty(data.n)
        out = np.empty((data.n, slopes.shape[-1]))
        for c, name in enumerate(data.columns):
            rows = data.column == c
            k = data.session[rows]
            if name == LOSS:
                values[rows], out[rows] = np.asarray(losses)[k], loss_slopes[k]
            else:
                i, j = pairs[name]
                values[rows], out[rows] = matrices[k, i, j], slopes[k, i, j]
        return values, out
