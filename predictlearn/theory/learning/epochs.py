"""What all ways to run epochs of descent share: limits, rounding, divergence, what is kept."""

from __future__ import annotations

from typing import Any

import numpy as np

from predictlearn.errors import DivergenceError, InputError
from predictlearn.theory.activity import Batch
from predictlearn.theory.kernels import descent as steps
from predictlearn.theory.learning.rules import (
    DirectDescent,
    FirstOrderDescent,
    GradientDescent,
    column_rates,
)
from predictlearn.theory.learning.stability import stable_rates_along
from predictlearn.theory.nonlinearity import Nonlinearity, resolve
from predictlearn.theory.overlaps import Overlaps
from predictlearn.theory.trials import Task

__all__ = [
    "KINDS",
    "check_memory",
    "describe",
    "diverged",
    "kept_epochs",
    "loss_limit",
    "project_onto_cone",
    "stable_rates_said",
]

# A loss so many times that of the start, or of silence, is divergence.
_DIVERGED = 1e6
# Bytes of overlaps that a trajectory may keep.
_MOST_KEPT = 2**31
# How far below zero rounding may push an eigenvalue of S, relative to the largest.
_ROUNDING = 1e-9
# How the overlaps move by each rule of descent.
KINDS: dict[type, int] = {
    GradientDescent: steps.CONGRUENCE,
    FirstOrderDescent: steps.FIRST_ORDER,
    DirectDescent: steps.DIRECT,
}


def describe(
    task: Task, rule: object, nonlinearity: str | Nonlinearity, tau: float
) -> dict[str, Any]:
    """Return the settings that a trajectory carries."""
    from predictlearn import __version__

    return {
        "task": repr(task) if len(repr(task)) < 500 else type(task).__name__,
        "rule": repr(rule),
        "nonlinearity": resolve(nonlinearity).name,
        "tau": tau,
        "version": __version__,
    }


def kept_epochs(n_epochs: int, every: int) -> np.ndarray:
    """Return the epochs whose overlaps are kept: multiples of `every`, and the last."""
    rows = np.arange(0, n_epochs, every)
    return np.append(rows, n_epochs)


def loss_limit(first: float, ready: Batch) -> float:
    """Return the loss beyond which learning counts as diverged, from the first loss."""
    silence = float(np.sum(ready.weights * ready.targets**2))
    return _DIVERGED * max(first, silence, float(ready.weights.sum()))


def diverged(
    epoch: int, rule: object, losses: np.ndarray | None = None, advice: str = ""
) -> DivergenceError:
    """Return the error for a loss that ran away or is not finite; losses up to that epoch."""
    what = "was not finite"
    if losses is not None:
        if np.isfinite(losses[epoch]):
            what = f"reached {losses[epoch]:.3g}"
        elif epoch > 0:
            what = f"grew from {losses[epoch - 1]:.3g} beyond all numbers"
    return DivergenceError(
        f"learning diverged: the loss {what} at epoch {epoch}. "
        f"{advice}Try a smaller rate than that of {rule!r}.",
        epoch,
    )


def stable_rates_said(start: Overlaps, ready: Batch, rule: GradientDescent) -> str:
    """Say which rates the curvature allows, at the start and on the way of a descent.

    Nothing is said where no curvature can be told: advice is no part of what went wrong.
    """
    columns = column_rates(rule.pathway_rates, start.sizes)
    try:
        first, steady = stable_rates_along(start.matrix, start.sizes, ready, columns, rule.momentum)
    except np.linalg.LinAlgError:
        return ""
    if not (0.0 < steady <= first < np.inf):
        return ""
    return (
        f"The largest stable rate by the curvature of the loss is about {first:.2g} at the start "
        f"and {steady:.2g} on the way. "
    )


def project_onto_cone(s: np.ndarray, epoch: int) -> int:
    """Project S onto the cone of realisable overlaps in place; return 1 if it had left it.

    The congruence keeps S in the cone, so only rounding can take it out.
    """
    if not np.all(np.isfinite(s)):
        raise DivergenceError(
            f"learning diverged: an overlap was not finite at epoch {epoch}. Try a smaller rate.",
            epoch,
        )
    values, vectors = np.linalg.eigh(s)
    if values[0] >= 0.0:
        return 0
    if values[0] < -_ROUNDING * values[-1]:
        raise DivergenceError(
            f"learning led to overlaps that no network has at epoch {epoch}: their smallest "
            f"eigenvalue is {values[0]:.3g}, the largest {values[-1]:.3g}. Try a smaller rate.",
            epoch,
        )
    s[:] = (vectors * np.clip(values, 0.0, None)) @ vectors.T
    s[:] = (s + s.T) / 2
    return 1


def check_memory(n_epochs: int, every: int, numbers: int) -> None:
    """Raise InputError if the overlaps kept, so many numbers an epoch, would take too much."""
    size = (n_epochs // every + 2) * numbers * 8
    if size > _MOST_KEPT:
        enough = -(-n_epochs * numbers * 8 // _MOST_KEPT) + 1
        raise InputError(
            f"every must be at least {enough} for {n_epochs} epochs: keeping the overlaps of every "
            f"{every} would take {size / 2**30:.1f} GiB; got {every}."
        )
