"""Units in which a recorded network learns: every input and output vector of length one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from predictlearn.tasks.arrays import ArrayTask
from predictlearn.theory.names import pathway_slices, table_pairs
from predictlearn.theory.trials import Task, Trials
from predictlearn.theory.world import LinearWorld

__all__ = ["ScaledTask", "Units"]


@dataclass(frozen=True)
class Units:
    """Units of inputs, activity and outputs that the recording's own units do not change.

    The speeds at which m, u, v and z learn depend on their lengths, and the lengths of m and z on
    the units of inputs, activity and outputs, which mean nothing to a synapse. So networks learn
    in units in which every m, and of every z the part that a recording shows, has length one, as in
    the published networks. What they do, and every loss, stays as it was.

    Parameters
    ----------
    m : numpy.ndarray, (n_in,)
        Length of every m, in the recording's units.
    z : numpy.ndarray, (n_out,)
        Length of the part of every z that lies in the span of m and u.

    Examples
    --------
    >>> from predictlearn import Overlaps
    >>> seen = Overlaps(np.diag([4.0, 1.0, 1.0, 1.0])).replace(zm=2.0).to_series()
    >>> units = Units.of(seen, (1, 1, 1))
    >>> float(units.m[0]), float(units.z[0]), float(units.overlaps(seen, (1, 1, 1))["mm"])
    (2.0, 1.0, 1.0)
    """

    m: np.ndarray
    z: np.ndarray

    @classmethod
    def of(cls, seen: pd.Series, sizes: tuple[int, int, int]) -> Units:
        """Return the units of a recorded network.

        Parameters
        ----------
        seen : pandas.Series
            Its overlaps by name; NaN where the recording does not show them.
        sizes : (int, int, int)
            (n_in, rank, n_out).

        Returns
        -------
        Units
            With length one where an overlap that is needed is missing or zero.
        """
        known, where = _matrix(seen, sizes), pathway_slices(*sizes)
        span = slice(0, where["u"].stop)
        across = known[where["z"], span]
        squared = np.full(len(across), np.nan)
        if np.all(np.isfinite(known[span, span])) and np.all(np.isfinite(across)):
            solved = np.linalg.lstsq(known[span, span], across.T, rcond=None)[0]
            squared = np.einsum("oc,co->o", across, solved)
        return cls(_lengths(np.diag(known)[where["m"]]), _lengths(squared))

    @classmethod
    def unchanged(cls, sizes: tuple[int, int, int]) -> Units:
        """Return the units of the recording itself."""
        n_in, _, n_out = sizes
        return cls(np.ones(n_in), np.ones(n_out))

    def overlaps(self, seen: pd.Series, sizes: tuple[int, int, int]) -> pd.Series:
        """Return overlaps in these units.

        Parameters
        ----------
        seen : pandas.Series
            Overlaps by name, in the recording's units.
        sizes : (int, int, int)
            (n_in, rank, n_out).

        Returns
        -------
        pandas.Series
            The same with m and z measured in these units.
        """
        _, rank, _ = sizes
        scale = np.concatenate([1 / self.m, np.ones(2 * rank), 1 / self.z])
        matrix = _matrix(seen, sizes) * np.outer(scale, scale)
        pairs = table_pairs(*sizes)
        return pd.Series({name: matrix[pairs[str(name)]] for name in seen.index}, dtype=float)

    def task(self, task: Task) -> ScaledTask:
        """Return a task, given in the recording's units, in these."""
        return ScaledTask(task, self)


@dataclass(frozen=True)
class ScaledTask:
    """A task in other units of inputs and outputs; losses stay as they are.

    Parameters
    ----------
    task : Task
        In the recording's units.
    units : Units
        Those to use.
    """

    task: Any
    units: Units

    @property
    def n_in(self) -> int:
        """Number of inputs."""
        return int(self.task.n_in)

    @property
    def n_out(self) -> int:
        """Number of outputs."""
        return int(self.task.n_out)

    @property
    def dt(self) -> float:
        """Bin width in seconds."""
        return float(self.task.dt)

    @property
    def fixed(self) -> bool:
        """Whether every epoch shows the same trials."""
        return bool(self.task.fixed)

    @property
    def world(self) -> LinearWorld | None:
        """What the outputs move and the inputs report, in the units; None in an open loop."""
        return self._in_units(getattr(self.task, "world", None))

    def _in_units(self, world: LinearWorld | None) -> LinearWorld | None:
        """Return a world that outputs and inputs in these units move and report alike."""
        if world is None:
            return None
        seen: Any = self.units.m[:, None] * world.seen if len(world.seen) else None
        return replace(world, push=world.push * self.units.z, seen=seen)

    def sample(self, rng: np.random.Generator | None = None) -> Trials:
        """Draw the trials of one epoch, in the units."""
        trials: Trials = self.task.sample(rng)
        m, z = self.units.m, self.units.z
        if trials.world is not None:
            # what the loss reads is the world, which keeps its own units
            return replace(
                trials, inputs=trials.inputs * m, world=self._in_units(trials.world), law=None
            )
        return replace(
            trials,
            inputs=trials.inputs * m,
            targets=trials.targets / z,
            weights=trials.weights * z**2,
            offset=trials.offset / z,
            smoothing=trials.smoothing * z / z[:, None],
            law=None,
        )

    def freeze(self, seed: int | np.random.SeedSequence = 0) -> ArrayTask:
        """Return the task that shows the same trials in every epoch."""
        return ArrayTask.from_trials(ScaledTask(self.task.freeze(seed), self.units).sample())


def _matrix(seen: pd.Series, sizes: tuple[int, int, int]) -> np.ndarray:
    """Return overlaps by name as a matrix, NaN where there is none."""
    where = pathway_slices(*sizes)
    matrix = np.full((where["z"].stop,) * 2, np.nan)
    for name, (i, j) in table_pairs(*sizes).items():
        matrix[i, j] = matrix[j, i] = float(seen.get(name, np.nan))
    return matrix


def _lengths(squared: np.ndarray) -> np.ndarray:
    """Return lengths from squares, one where there is none."""
    with np.errstate(invalid="ignore"):
        length = np.sqrt(squared)
    return np.where(np.isfinite(length) & (length > 0), length, 1.0)
