"""Trials: what a network is shown, what it should answer, and how the answer is judged."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Protocol, runtime_checkable

import numpy as np

from predictlearn.checks import as_float_array, positive
from predictlearn.errors import InputError
from predictlearn.theory.kernels.impulse import TargetLaw, is_impulse
from predictlearn.theory.world import LinearWorld

__all__ = ["Task", "Trials"]


@dataclass(frozen=True)
class Trials:
    """A batch of trials with a squared-error loss.

    The loss reads the network's output through an observer that belongs to the task::

        c_t = smoothing c_{t-1} + y_t + offset,      c before the first bin is 0
        loss = sum over trials, bins, outputs of  weights (c - targets)^2

    Without an observer (the default) c = y. For a brain-computer interface c is the cursor
    velocity and the observer its known first-order smoothing and offset.

    Parameters
    ----------
    inputs : array_like, (trials, time, n_in)
        Input x; bin t drives the update that output t is read after.
    targets : array_like, (trials, time, n_out)
        Desired c.
    weights : array_like, (trials, time, n_out)
        Weight of each squared error, zero or more.
    dt : float
        Bin width in seconds.
    offset : array_like, (n_out,), optional
        Added to the output in every bin.
    smoothing : array_like, (n_out, n_out), optional
        How much of the previous bin's c persists.
    law : TargetLaw, optional
        The recurrence that the targets follow. With inputs that end after the first bin and weights
        that are the same in all bins and trials, the loss of a linear network then costs next to
        nothing, however many bins there are. It changes no result: where these trials do not
        follow it, it is left out.
    world : LinearWorld, optional
        What the output moves and the input reports, in place of the observer: the loss then reads
        the world, and targets and weights are (trials, time, n_read).

    Raises
    ------
    InputError
        If shapes disagree, values are not finite, a weight is negative, or both an observer and a
        world are given.

    Examples
    --------
    >>> import numpy as np
    >>> trials = Trials(np.ones((2, 5, 1)), np.zeros((2, 5, 1)), np.ones((2, 5, 1)), dt=0.1)
    >>> trials.n_trials, trials.n_steps, trials.n_in, trials.n_out
    (2, 5, 1, 1)
    """

    inputs: np.ndarray
    targets: np.ndarray
    weights: np.ndarray
    dt: float
    offset: np.ndarray = field(default=None)  # type: ignore[arg-type]
    smoothing: np.ndarray = field(default=None)  # type: ignore[arg-type]
    law: TargetLaw | None = None
    world: LinearWorld | None = None

    def __post_init__(self) -> None:
        inputs = as_float_array("inputs", self.inputs, 3, axes="(trials, time, n_in)")
        targets = as_float_array("targets", self.targets, 3, axes="(trials, time, n_out)")
        if targets.shape[:2] != inputs.shape[:2]:
            raise InputError(
                "targets must have the trials and bins of inputs, "
                f"{inputs.shape[:2]}; got {targets.shape[:2]}."
            )
        weights = as_float_array(
            "weights", self.weights, shape=targets.shape, axes="(trials, time, n_out)"
        )
        if np.any(weights < 0):
            raise InputError(f"weights must be zero or more; the smallest is {weights.min():g}.")
        if 0 in inputs.shape or 0 in targets.shape:
            raise InputError(
                f"trials need at least one trial, bin, input and output; got inputs {inputs.shape} "
                f"and targets {targets.shape}."
            )
        self._check_world(inputs.shape[2], targets.shape[2])
        n_out = targets.shape[2]
        offset = np.zeros(n_out) if self.offset is None else self.offset
        smoothing = np.zeros((n_out, n_out)) if self.smoothing is None else self.smoothing
        values = {
            "inputs": inputs,
            "targets": targets,
            "weights": weights,
            "dt": positive("dt", self.dt),
            "offset": as_float_array("offset", offset, shape=(n_out,)),
            "smoothing": as_float_array("smoothing", smoothing, shape=(n_out, n_out)),
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)
        if self.law is not None and not self._follows(self.law):
            object.__setattr__(self, "law", None)

    def _check_world(self, n_in: int, n_read: int) -> None:
        """Raise unless the world fits the inputs and what is judged."""
        if self.world is None:
            return
        if not isinstance(self.world, LinearWorld):
            raise InputError(f"world must be a LinearWorld; got {type(self.world).__name__}.")
        if any(x is not None and np.any(x) for x in (self.offset, self.smoothing)):
            raise InputError(
                "offset and smoothing are an observer's; with a world they belong into it: give "
                "one or the other."
            )
        if self.world.is_closed and self.world.seen.shape[0] != n_in:
            raise InputError(
                f"the world's seen must have one row an input, {n_in}; got "
                f"{self.world.seen.shape[0]}."
            )
        if self.world.n_read != n_read:
            raise InputError(
                f"targets must have what the world's loss reads, {self.world.n_read} on the last "
                f"axis; got {n_read}."
            )

    def _follows(self, law: TargetLaw) -> bool:
        """Return whether the inputs are impulses and the targets those of the law."""
        if not isinstance(law, TargetLaw):
            raise InputError(f"law must be a TargetLaw; got {type(law).__name__}.")
        if (len(law.start), len(law.read)) != (self.n_trials, self.n_out):
            return False
        if self.world is not None or not is_impulse(self.inputs, self.weights):
            return False
        wrong = float(np.abs(law.targets(self.n_steps) - self.targets).max())
        return wrong <= 1e-12 * max(float(np.abs(self.targets).max()), 1e-300)

    @classmethod
    def _trusted(
        cls, inputs: np.ndarray, targets: np.ndarray, weights: np.ndarray, dt: float
    ) -> Trials:
        """Return trials without an observer and without any check.

        For tasks of this package that draw new trials in every epoch: the arrays are float64 of
        the right shapes, finite, and the weights not negative.
        """
        trials = object.__new__(cls)
        n_out = targets.shape[2]
        trials.__dict__.update(
            inputs=inputs,
            targets=targets,
            weights=weights,
            dt=dt,
            offset=np.zeros(n_out),
            smoothing=np.zeros((n_out, n_out)),
            law=None,
            world=None,
        )
        return trials

    @property
    def n_trials(self) -> int:
        """Number of trials."""
        return int(self.inputs.shape[0])

    @property
    def n_steps(self) -> int:
        """Number of bins in a trial."""
        return int(self.inputs.shape[1])

    @property
    def n_in(self) -> int:
        """Number of inputs."""
        return int(self.inputs.shape[2])

    @property
    def n_out(self) -> int:
        """Number of outputs."""
        return int(self.targets.shape[2]) if self.world is None else self.world.n_out

    @property
    def is_observed_directly(self) -> bool:
        """Whether the loss reads the output itself: no world, no offset and no smoothing."""
        if self.world is not None:
            return False
        return not (self.offset.any() or self.smoothing.any())

    def with_targets(self, targets: np.ndarray) -> Trials:
        """Return the same trials with other targets, (trials, time, n_out)."""
        return replace(self, targets=targets)

    def observe(self, outputs: np.ndarray) -> np.ndarray:
        """Return c, what the loss reads, for given network outputs.

        Parameters
        ----------
        outputs : array_like, (trials, time, n_out)
            Network outputs y.

        Returns
        -------
        numpy.ndarray, (trials, time, n_out)
            ``c_t = smoothing c_{t-1} + y_t + offset``, or what is read of the world.

        Raises
        ------
        InputError
            If the last axis is not n_out.
        """
        outputs = as_float_array("outputs", outputs, shape=(None, None, self.n_out))
        if self.world is not None:
            return self.world.response(outputs) @ self.world.read.T
        if self.is_observed_directly:
            return outputs
        seen = outputs + self.offset
        for t in range(1, seen.shape[1]):
            seen[:, t] += seen[:, t - 1] @ self.smoothing.T
        return seen

    def loss(self, outputs: np.ndarray) -> float:
        """Return the weighted squared error of given network outputs, (trials, time, n_out)."""
        return float(np.sum(self.weights * (self.observe(outputs) - self.targets) ** 2))


@runtime_checkable
class Task(Protocol):
    """What `learn` asks of a task; any object with these attributes will do."""

    @property
    def n_in(self) -> int:
        """Number of inputs."""
        ...

    @property
    def n_out(self) -> int:
        """Number of outputs."""
        ...

    @property
    def dt(self) -> float:
        """Bin width in seconds."""
        ...

    @property
    def fixed(self) -> bool:
        """Whether every epoch shows the same trials."""
        ...

    def sample(self, rng: np.random.Generator) -> Trials:
        """Draw the trials of one epoch."""
        ...
