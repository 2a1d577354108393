"""Pairs of functionally equivalent networks, and what is compared between their learning."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from predictlearn.errors import InputError, choice
from predictlearn.predictions.base import Cohort
from predictlearn.predictions.learning_speed import differing_names
from predictlearn.predictions.runs import Run
from predictlearn.theory.equivalence.equivalent import functionally_equivalent
from predictlearn.theory.overlaps import Overlaps

# Shares of the loss before learning that are rounding.
_ROUNDING = 1e-12

AREA = "area between learning curves"

Changes = Mapping[str, float] | Callable[[Overlaps], Mapping[str, float]]


def pick_checkpoints(checkpoints: Sequence[float] | None, epochs: float) -> list[float]:
    """Return the epochs of comparison, inside the run."""
    if checkpoints is None:
        return [max(1.0, float(round(epochs * share))) if epochs >= 10 else epochs * share
                for share in (0.1, 0.25, 0.5)]  # fmt: skip
    points = sorted({float(point) for point in checkpoints})
    for point in points:
        if not 0 < point <= epochs:
            raise InputError(f"checkpoints must lie in (0, epochs = {epochs:g}]; got {point:g}.")
    return points


def left_out(cohort: Cohort, index: int, reason: str) -> dict[str, Any]:
    """Return the row of a start that was left out."""
    return {
        "draw": int(cohort.draw[index]),
        "network": int(cohort.network[index]),
        "reason": reason,
    }


def pair_up(
    cohort: Cohort,
    changes: Changes | None,
    partners: Sequence[Overlaps] | None,
    nonlinearity: str,
) -> tuple[list[Overlaps | None], list[dict[str, Any]]]:
    """Return the second network of each pair, None where none exists, and the rows left out."""
    if (changes is None) == (partners is None):
        raise InputError("give either changes, such as {'uu': 2.05, 'mu': 0.8}, or partners.")
    excluded: list[dict[str, Any]] = []
    twins: list[Overlaps | None] = []
    if partners is not None:
        if len(partners) != len(cohort.starts):
            raise InputError(
                f"partners must have one network per start, {len(cohort.starts)}; "
                f"got {len(partners)}."
            )
        for index, (start, twin) in enumerate(zip(cohort.starts, partners, strict=True)):
            if not isinstance(twin, Overlaps) or twin.sizes != start.sizes:
                raise InputError(f"partners[{index}] must be an Overlaps of the size of its start.")
            wrong = set(differing_names(start, twin)) & set(start.visible_names(nonlinearity))
            if wrong:
                raise InputError(
                    f"partners[{index}] is not functionally equivalent to its start: it differs in "
                    f"the loss-visible {', '.join(sorted(wrong))}."
                )
        return list(partners), excluded
    hidden = cohort.starts[0].invisible_names(nonlinearity)
    for index, start in enumerate(cohort.starts):
        values = changes(start) if callable(changes) else changes
        if not isinstance(values, Mapping) or not values:
            raise InputError(f"changes must map loss-invisible overlaps to values; got {values!r}.")
        for key in values:
            choice("an overlap of changes", key, hidden)
        try:
            twins.append(functionally_equivalent(start, nonlinearity, **dict(values)))
        except InputError as error:
            twins.append(None)
            excluded.append(left_out(cohort, index, str(error)))
    return twins, excluded


def relative_losses(
    pairs: Sequence[tuple[Run, Run] | None],
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return epochs, both losses in shares of the loss before learning, and that loss."""
    steps = next(pair[0].epochs[0] for pair in pairs if pair is not None)
    losses = np.full((2, len(pairs), len(steps)), np.nan)
    for index, pair in enumerate(pairs):
        if pair is not None:
            losses[0, index], losses[1, index] = pair[0].losses[0], pair[1].losses[0]
    before = losses[0, :, 0].copy()
    if np.any(before <= 0):
        raise InputError("starts must not solve the task already: a loss before learning is zero.")
    losses /= before[None, :, None]
    # what only rounding leaves, where a rule does not see the change, is no difference
    losses[1] = losses[0] + without_rounding(losses[1] - losses[0])
    return steps, losses[0], losses[1], before


def without_rounding(gap: np.ndarray) -> np.ndarray:
    """Return differences, in shares of a loss, with zero for what rounding leaves."""
    return np.where(np.abs(gap) < _ROUNDING, 0.0, gap)


def mean_loss_over(steps: np.ndarray, losses: np.ndarray) -> np.ndarray:
    """Return the mean loss over learning, by the trapezoidal rule."""
    widths = np.diff(steps)
    return ((losses[..., 1:] + losses[..., :-1]) / 2) @ widths / widths.sum()


def pair_outcomes(
    steps: np.ndarray,
    original: np.ndarray,
    changed: np.ndarray,
    points: Sequence[float],
    when: str = "epoch",
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return the outcomes (changed, original): the area, then the loss at each checkpoint.

    `when` is what the steps count: epochs, or the learning time of a gradient flow.
    """
    outcomes = {AREA: (mean_loss_over(steps, changed), mean_loss_over(steps, original))}
    for point in points:
        at = max(1, int(np.argmin(np.abs(steps - point))))
        outcomes[f"loss at {when} {steps[at]:g}"] = (changed[:, at], original[:, at])
    return outcomes
