"""Tasks of the catalogue: a cue and an answer after a delay, and reaching."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from predictlearn.tasks.arrays import ArrayTask
from predictlearn.tasks.reaching import ReachingReadout

__all__ = ["TAU", "cue_task", "mixed", "reach", "unlike"]

# Time constant of the neurons, and bins, in seconds.
TAU = 0.1
_DT = 0.025
_CUE = _ANSWER = 0.25


@lru_cache(maxsize=64)
def cue_task(pattern: tuple[float, ...], side: float, delay: float = 0.25) -> ArrayTask:
    """Return a task in which a cue, after a delay, asks for an answer on one side.

    The cue drives the inputs for 0.25 s; the mean squared distance of the output from the side, +1
    or -1, counts in the 0.25 s after the delay.

    Parameters
    ----------
    pattern : tuple of float, (n_in,)
        What the cue is to each input.
    side : float
        The right answer.
    delay : float, default 0.25
        Seconds from the end of the cue to the answer.

    Returns
    -------
    ArrayTask
        One trial.

    Examples
    --------
    >>> cue_task((1.0, 0.0), 1.0).targets.shape
    (1, 30, 1)
    """
    cue, answer = round(_CUE / _DT), round(_ANSWER / _DT)
    n_steps = cue + round(delay / _DT) + answer
    inputs = np.zeros((1, n_steps, len(pattern)))
    inputs[0, :cue] = pattern
    targets, weights = np.zeros((2, 1, n_steps, 1))
    targets[0, -answer:] = side
    weights[0, -answer:] = 1.0 / answer
    return ArrayTask(inputs, targets, weights, _DT)


@lru_cache(maxsize=64)
def mixed(*tasks: ArrayTask) -> ArrayTask:
    """Return the trials of tasks of one length interleaved, each as often as the others."""
    inputs, targets, weights = (
        np.concatenate([getattr(t, name) for t in tasks])
        for name in ("inputs", "targets", "weights")
    )
    return ArrayTask(inputs, targets, weights / len(tasks), tasks[0].dt)


def unlike(cosine: float) -> tuple[float, float]:
    """Return a cue of two inputs whose pattern has this cosine with that of the first input."""
    return (cosine, float(np.sqrt(1.0 - cosine**2)))


@lru_cache(maxsize=16)
def reach(rotation: float = 0.0, targets: Sequence[float] = (0.0, 90.0, 180.0, 270.0)) -> ArrayTask:
    """Return reaching to four targets, the seen cursor turned by some degrees."""
    task = ReachingReadout(
        targets=tuple(targets), duration=0.5, dt=0.05, go=False, first_bin=4, rotation=rotation
    )
    return ArrayTask.from_trials(task.sample())
