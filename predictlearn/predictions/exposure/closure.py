"""Whether a predicted difference between erf networks survives the closure of the equations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from predictlearn.network.closure import ClosureError, closure_error
from predictlearn.predictions.exposure.pairs import mean_loss_over
from predictlearn.theory.equivalence.equivalent import functionally_equivalent
from predictlearn.theory.learning.rules import GradientDescent
from predictlearn.theory.overlaps import Overlaps
from predictlearn.theory.trials import Task
from predictlearn.workers import Parallel, delayed

__all__ = ["ExposureClosure", "exposure_closure"]


@dataclass(frozen=True)
class ExposureClosure:
    """One pair of equivalent networks, learned by the equations and by the mean field.

    Parameters
    ----------
    original, changed : ClosureError
        Distances between equations and mean field for either network.
    by_equations, by_mean_field : float
        Mean loss over learning, changed minus original, in shares of the loss before learning.
    """

    original: ClosureError
    changed: ClosureError
    by_equations: float
    by_mean_field: float


def exposure_closure(
    start: Overlaps,
    changes: Mapping[str, float],
    task: Task,
    rule: GradientDescent,
    epochs: int,
    *,
    tau: float = 1.0,
    n_particles: int = 512,
    seed: int = 0,
    every: int = 1,
    n_jobs: int = 1,
    in_full: bool = True,
) -> ExposureClosure:
    """Predict the difference of one pair of erf networks with and without the closure.

    Parameters
    ----------
    start : Overlaps
        The original network.
    changes : mapping
        New values of loss-invisible overlaps of the changed one.
    task : Task
        What is learned.
    rule : GradientDescent
        How.
    epochs : int
        How long.
    tau : float, default 1.0
        Time constant in seconds.
    n_particles : int, default 512
        Particles of the mean field; a power of two.
    seed : int, default 0
        Seed of particles, trials and noise.
    every : int, default 1
        Compare overlaps every so many epochs.
    n_jobs : int, default 1
        Threads, at most two of use.
    in_full : bool, default True
        As in `closure_error`; the comparison itself is the same without.

    Returns
    -------
    ExposureClosure
        The closure error of both, and the difference by both.

    Raises
    ------
    InputError
        If an argument is out of range or the pair is not realisable.

    Examples
    --------
    >>> import numpy as np
    >>> import predictlearn as pl
    >>> start = pl.Overlaps(np.eye(4)).replace(zm=0.1, zu=0.3, vm=0.4, vu=0.5)
    >>> task = pl.FlipFlop(wait=(1.0, 2.0), duration=8.0, dt=0.1, trials=4).freeze(0)
    >>> result = exposure_closure(start, {"vv": 2.0}, task, pl.GradientDescent(0.02), 60)
    >>> bool(abs(result.by_equations / result.by_mean_field - 1) < 0.2)
    True
    """
    twin = functionally_equivalent(start, "erf", **dict(changes))
    original, changed = Parallel(n_jobs=n_jobs, prefer="threads")(
        delayed(closure_error)(
            overlaps,
            task,
            rule,
            epochs,
            tau=tau,
            n_particles=n_particles,
            seed=seed,
            every=every,
            in_full=in_full,
        )
        for overlaps in (start, twin)
    )

    def difference(level: str) -> float:
        one, two = getattr(original, level), getattr(changed, level)
        gap = (two.losses - one.losses) / one.losses[0]
        return float(mean_loss_over(one.loss_epochs, gap))

    return ExposureClosure(original, changed, difference("closure"), difference("field"))
