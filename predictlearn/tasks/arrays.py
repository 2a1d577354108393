"""A task given by arrays: the trials themselves, the same in every epoch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from predictlearn.checks import one_number, seed_sequence
from predictlearn.doors import reading
from predictlearn.errors import InputError
from predictlearn.npz import EXPECTED, plain_array, read_npz
from predictlearn.theory.trials import Trials
from predictlearn.theory.world import LinearWorld

__all__ = ["ArrayTask"]

_REQUIRED = ("inputs", "targets", "weights", "dt")
_OPTIONAL = ("offset", "smoothing")


@dataclass(frozen=True, eq=False)
class ArrayTask:
    """Fixed trials from arrays.

    The loss is ``sum over trials, bins and outputs of weights * (c - targets)^2``, where c is
    the output, or the output through the observer ``c_t = smoothing c_{t-1} + y_t + offset``.
    The arrays are copied.

    Parameters
    ----------
    inputs : array_like, (trials, time, n_in)
        Inputs.
    targets : array_like, (trials, time, n_out)
        Desired outputs.
    weights : array_like, (trials, time, n_out)
        Weight of each squared error, zero or more. Use zeros to leave bins out.
    dt : float
        Bin width in seconds.
    offset : array_like, (n_out,), optional
        Added to the output in every bin.
    smoothing : array_like, (n_out, n_out), optional
        How much of the previous bin's c persists.
    world : LinearWorld, optional
        What the output moves and the input reports, in place of the observer; targets and weights
        are then of what the loss reads of it.

    Raises
    ------
    InputError
        If shapes disagree, values are not finite, a weight is negative, or all weights are zero.

    Examples
    --------
    >>> import numpy as np
    >>> task = ArrayTask(np.ones((3, 10, 2)), np.zeros((3, 10, 1)), np.ones((3, 10, 1)), dt=0.05)
    >>> task.n_in, task.n_out, task.fixed
    (2, 1, True)
    """

    inputs: np.ndarray
    targets: np.ndarray
    weights: np.ndarray
    dt: float
    offset: np.ndarray | None = None
    smoothing: np.ndarray | None = None
    world: LinearWorld | None = None

    fixed: ClassVar[bool] = True

    def __post_init__(self) -> None:
        arrays = {name: _copied(getattr(self, name)) for name in (*_REQUIRED, *_OPTIONAL)}
        trials = Trials(**arrays, world=self.world)
        if not np.any(trials.weights):
            raise InputError("weights must not all be zero, or the loss is zero whatever happens.")
        for name in (*_REQUIRED, *_OPTIONAL):
            object.__setattr__(self, name, getattr(trials, name))
        object.__setattr__(self, "_trials", trials)

    def __repr__(self) -> str:
        trials, bins, _ = self.inputs.shape
        return (
            f"ArrayTask({trials} trials of {bins} bins of {self.dt:g} s, n_in={self.n_in}, "
            f"n_out={self.n_out})"
        )

    @classmethod
    def from_trials(cls, trials: Trials) -> ArrayTask:
        """Return the task that shows the given trials in every epoch.

        Parameters
        ----------
        trials : Trials
            The trials.

        Returns
        -------
        ArrayTask
            The fixed task.
        """
        return cls(
            trials.inputs,
            trials.targets,
            trials.weights,
            trials.dt,
            trials.offset,
            trials.smoothing,
            trials.world,
        )

    @classmethod
    def load(cls, path: str | Path) -> ArrayTask:
        """Read the arrays from an ``.npz`` file.

        Parameters
        ----------
        path : str or pathlib.Path
            File holding ``inputs``, ``targets``, ``weights`` and ``dt``; ``offset`` and
            ``smoothing`` are read too if they are there.

        Returns
        -------
        ArrayTask
            The fixed task.

        Raises
        ------
        InputError
            If the file is missing, is not an ``.npz`` of plain arrays, or lacks an array.
        """
        with reading(path, EXPECTED):
            stored = read_npz(path, _REQUIRED)
            arrays = {name: stored[name] for name in (*_REQUIRED, *_OPTIONAL) if name in stored}
            for name, value in arrays.items():
                plain_array(path, name, value)
            return cls(**{**arrays, "dt": one_number("dt", arrays["dt"], "one number of seconds")})

    @property
    def n_in(self) -> int:
        """Number of inputs."""
        return int(self.inputs.shape[2])

    @property
    def n_out(self) -> int:
        """Number of outputs."""
        return int(self.targets.shape[2]) if self.world is None else self.world.n_out

    def sample(self, rng: np.random.Generator | None = None) -> Trials:
        """Return the trials; `rng` is not used, since nothing is random.

        Parameters
        ----------
        rng : numpy.random.Generator, optional
            Not used.

        Returns
        -------
        Trials
            The trials given at construction.
        """
        trials: Trials = self.__dict__["_trials"]
        return trials

    def freeze(self, seed: int | np.random.SeedSequence = 0) -> ArrayTask:
        """Return this task, which is fixed already.

        Parameters
        ----------
        seed : int or numpy.random.SeedSequence, default 0
            Checked, but not used.

        Returns
        -------
        ArrayTask
            The task itself.
        """
        seed_sequence(seed)
        return self


def _copied(value: Any) -> Any:
    """Return a copy of an array, so that later changes of it do not reach the task."""
    return value.copy() if isinstance(value, np.ndarray) else value
