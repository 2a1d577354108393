"""What every kind of behaviour gives: from outputs to an outcome, its moments and draws."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import numpy as np

from predictlearn.arrays import Array
from predictlearn.checks import as_float_array
from predictlearn.errors import InputError
from predictlearn.theory.trials import Trials

__all__ = ["Behaviour", "checked_range", "response_means", "vectors"]


@runtime_checkable
class Behaviour(Protocol):
    """What `simulate_animals` asks of a behaviour such as `Choices`, `Errors` or `CursorProgress`.

    ``judged`` turns outputs and targets, (..., n_out), into what the animal is judged by, (...).
    A session's ``deviation`` shifts it; in which units, each kind says.
    """

    @property
    def outcome(self) -> str:
        """Name of the outcome of one trial."""
        ...

    @property
    def summary(self) -> str:
        """Name of the outcome of one session, the mean over its trials times ``factor``."""
        ...

    @property
    def factor(self) -> float:
        """What the mean over trials is multiplied by."""
        ...

    def judged(self, outputs: Any, targets: Any) -> Array:
        """Return what the outcome of each trial depends on."""
        ...

    def moments(self, judged: Array, deviation: Any = 0.0) -> tuple[Array, Array]:
        """Return mean and variance of the outcome of each trial."""
        ...

    def draw(self, judged: Array, rng: np.random.Generator, deviation: Any = 0.0) -> Array:
        """Draw the outcome of each trial."""
        ...


def vectors(outputs: Any, targets: Any, n_out: int | None = None) -> tuple[Array, Array]:
    """Return outputs and targets, (..., n_out), of shapes that go together, or raise InputError."""
    outputs = as_float_array("outputs", outputs)
    targets = as_float_array("targets", targets)
    if outputs.ndim == 0 or outputs.shape[-1:] != targets.shape[-1:]:
        raise InputError(
            "outputs and targets must have the outputs of the network on the last axis, of one "
            f"length; got shapes {outputs.shape} and {targets.shape}."
        )
    if n_out is not None and outputs.shape[-1] != n_out:
        raise InputError(
            f"this behaviour is of {n_out} output(s); got {outputs.shape[-1]} on the last axis."
        )
    try:
        np.broadcast_shapes(outputs.shape, targets.shape)
    except ValueError as error:
        raise InputError(
            f"outputs and targets must go together; got {outputs.shape} and {targets.shape}."
        ) from error
    return outputs, targets


def checked_range(name: str, values: Any, low: float, high: float, whole: bool = False) -> Array:
    """Return outcomes that are within limits, or raise with the row of the first that is not."""
    array = as_float_array(name, values, finite=False)
    bad = ~((array >= low) & (array <= high))
    if whole:
        bad |= array != np.round(array)
    if np.any(bad):
        row = np.unravel_index(int(np.argmax(bad)), array.shape)
        where = f"row {row[0]}" if len(row) == 1 else f"place {tuple(map(int, row))}"
        kind = "whole numbers " if whole else ""
        raise InputError(
            f"{name} must be {kind}from {low:g} to {high:g}; got {array[row]:g} in {where}"
            + ("." if array.ndim else "")
            + (f" ({np.count_nonzero(bad)} rows in all)." if np.count_nonzero(bad) > 1 else "")
        )
    return array


def response_means(
    trials: Trials, outputs: Any, window: tuple[float, float] | None = None
) -> tuple[Array, Array]:
    """Return output and target of each trial, averaged over the time of the response.

    Parameters
    ----------
    trials : Trials
        The trials.
    outputs : array_like, (trials, time, n_out)
        What a network gave in them.
    window : (float, float), optional
        From when to when, seconds; else the bins in which the task judges, by their weights.

    Returns
    -------
    outputs, targets : numpy.ndarray, (trials, n_out)
        The means.

    Raises
    ------
    InputError
        If shapes disagree, or the window holds no bin.

    Examples
    --------
    >>> import numpy as np
    >>> import predictlearn as pl
    >>> trials = pl.DecisionMaking(trials=2).sample(np.random.default_rng(0))
    >>> given, asked = response_means(trials, 2 * trials.targets)
    >>> given.shape, bool(np.allclose(given, 2 * asked))
    ((2, 1), True)
    """
    seen = trials.observe(as_float_array("outputs", outputs, ndim=3, axes="(trials, time, n_out)"))
    if seen.shape != trials.targets.shape:
        raise InputError(f"outputs must have shape {trials.targets.shape}; got {seen.shape}.")
    share = response_weights(trials, window)
    return np.sum(share * seen, axis=1), np.sum(share * trials.targets, axis=1)


def response_weights(trials: Trials, window: tuple[float, float] | None = None) -> Array:
    """Return the share of every bin in the mean over the response, (trials, time, n_out)."""
    weights = np.array(trials.weights)
    if window is not None:
        start, stop = as_float_array("window", window, shape=(2,), axes="(start, stop), seconds")
        # bin t is read after its update, at the end of it
        ends = (np.arange(trials.n_steps) + 1) * trials.dt
        inside = (ends > start + 1e-9) & (ends <= stop + 1e-9)
        if not np.any(inside):
            raise InputError(
                f"window must hold a bin of the trial, which lasts {ends[-1]:g} s in bins of "
                f"{trials.dt:g} s; got {start:g} to {stop:g} s."
            )
        weights = np.broadcast_to(inside[None, :, None], weights.shape).astype(float)
    total = weights.sum(axis=1, keepdims=True)
    if np.any(total == 0):
        raise InputError("every trial and output needs a bin in which the task judges it.")
    return weights / total
