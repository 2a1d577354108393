"""The loop over epochs of descent, and what all ways to run them share: limits, rounding, rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from predictlearn.compiled import undisturbed
from predictlearn.errors import DivergenceError, InputError
from predictlearn.theory.activity import NO_NOISE, Batch, _evaluate
from predictlearn.theory.kernels import descent as steps
from predictlearn.theory.kernels.arguments import Record, Span, Step, Tangents
from predictlearn.theory.kernels.epochs import (
    ANY,
    CLOSED,
    CURVATURE,
    EPOCHS,
    LOSSES,
    POPULATIONS,
    SINGLE,
)
from predictlearn.theory.learning.rules import (
    DirectDescent,
    FirstOrderDescent,
    GradientDescent,
    column_rates,
)
from predictlearn.theory.learning.schedules import drop_of, multipliers
from predictlearn.theory.learning.stability import stable_rates_along
from predictlearn.theory.learning.trial_stream import TrialStream
from predictlearn.theory.nonlinearity import Nonlinearity, resolve
from predictlearn.theory.overlaps import Overlaps
from predictlearn.theory.trials import Task

__all__ = [
    "CHUNK",
    "KINDS",
    "Ran",
    "check_memory",
    "describe",
    "diverged",
    "kept_epochs",
    "loss_limit",
    "project_onto_cone",
    "rows_of",
    "run_epochs",
    "stable_rates_said",
    "step_of",
]

# Epochs between two returns to Python, so that a run can be interrupted and rounding looked at.
CHUNK = 512

# The share of one population alone.
_ALONE = np.ones(1)
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


def step_of(rule: Any, sizes: tuple[int, int, int], n_epochs: int) -> Step:
    """Return a rule of descent as the compiled loops take it."""
    full = rule if isinstance(rule, GradientDescent) else GradientDescent(rule.rate)
    return Step(
        KINDS[type(rule)],
        rule.rate,
        multipliers(rule.schedule, n_epochs),
        *drop_of(rule.schedule),
        column_rates(full.pathway_rates, sizes),
        full.momentum,
        full.weight_decay,
        full.synaptic_noise,
        getattr(rule, "target_noise", 0.0),
    )


def rows_of(rows: np.ndarray, n_epochs: int) -> np.ndarray:
    """Return the row of every epoch, 0 to the last, among those that are kept, or -1."""
    row_of = np.full(n_epochs + 1, -1)
    row_of[rows] = np.arange(len(rows))
    return row_of


@dataclass(frozen=True)
class Ran:
    """What came of a run of epochs.

    Parameters
    ----------
    rows : numpy.ndarray, (rows,)
        Epochs kept.
    kept : numpy.ndarray, (rows, populations, D, D)
        Overlaps before each.
    losses : numpy.ndarray
        Loss of every epoch, the last after the last update.
    derivative : numpy.ndarray
        That of the last loss; empty if the run ended at its goal.
    projections : int
        How often rounding was undone.
    """

    rows: np.ndarray
    kept: np.ndarray
    losses: np.ndarray
    derivative: np.ndarray
    projections: int


def run_epochs(
    joints: np.ndarray,
    sizes: tuple[int, int, int],
    stream: TrialStream,
    rule: Any,
    n_epochs: int,
    rows: np.ndarray,
    *,
    goal: float = -np.inf,
    slopes: Tangents | None = None,
    fractions: np.ndarray | None = None,
    evaluate: Callable[[Batch], tuple[float, np.ndarray]] | None = None,
    room: Callable[[Batch], int] | None = None,
    advice: Callable[[Batch], str] = lambda _: "",
) -> Ran:
    """Run epochs of descent in chunks, by the compiled loop for what learns.

    Parameters
    ----------
    joints : numpy.ndarray, (populations, 3, D, D)
        Joint overlaps of loadings and velocities, which move in place.
    sizes : tuple of int
        (n_in, rank, n_out).
    stream : TrialStream
        Trials and noise.
    rule : GradientDescent, FirstOrderDescent or DirectDescent
        How the loadings move.
    n_epochs : int
        Number of updates.
    rows : numpy.ndarray
        Epochs whose overlaps are kept.
    goal : float
        Loss that ends the run.
    slopes : Tangents, optional
        Derivatives to carry along.
    fractions, evaluate, room : numpy.ndarray and two functions, optional
        Of several populations: their shares, the loss and derivative as they are, and how many
        numbers of scratch space trials need.
    advice : callable
        What to say of a rate by which learning diverged.

    Returns
    -------
    Ran
        What was kept.

    Raises
    ------
    DivergenceError
        If the loss runs away or is not finite.
    """
    n_in, rank, n_out = sizes
    # a plain tuple, for which alone numba has compiled
    sizes = (n_in, rank, n_out)
    several = fractions is not None
    if evaluate is None or room is None:
        evaluate, room = (
            lambda ready: _evaluate(joints[0, 0], sizes, ready),
            lambda ready: ready.room(rank),
        )
    step, losses = step_of(rule, sizes, n_epochs), np.empty(n_epochs + 1)
    kept = np.empty((len(rows), len(joints), *joints.shape[2:]))
    ready = stream.next()
    limit = loss_limit(evaluate(ready)[0], ready)
    record = Record(limit, goal, rows_of(rows, n_epochs), losses, kept)
    noise, scratch, noisy = NO_NOISE, np.empty(0), step.target_noise > 0.0
    done, projections, why, dropped = 0, 0, steps.RUNNING, False
    while done < n_epochs:
        if done == 0 or not stream.constant:
            ready = stream.next() if done > 0 else ready
            if noisy and noise.shape != ready.noise_shape:
                noise = np.empty(ready.noise_shape)
            if scratch.size < (needed := room(ready)):
                scratch = np.empty(needed)
            impulse, shown = ready.impulse(rank), ready.shown(noise)
            way = SINGLE if sizes == (1, 1, 1) else ANY
            if several:
                way = POPULATIONS
            elif impulse.first.size > 0 and not noisy:
                way = CLOSED
        run = EPOCHS[way, noisy, slopes is not None]
        # only what takes a generator must not be disturbed
        ran, why, dropped = (partial(undisturbed, run) if noisy else run)(
            joints,
            fractions if several else _ALONE,
            sizes,
            Span(done, min(CHUNK, n_epochs - done) if stream.constant else 1, dropped),
            step,
            record,
            shown,
            impulse,
            slopes,
            scratch,
            LOSSES[way].address,
            CURVATURE.address if slopes is not None else 0,
            stream.target_rng if noisy else None,
        )
        done += ran
        if why == steps.DIVERGED:
            raise diverged(done, rule, losses, advice(ready) if np.isfinite(losses[0]) else "")
        if why == steps.REACHED:
            break
        if step.kind == steps.CONGRUENCE and (done % CHUNK == 0 or done == n_epochs):
            projections += sum(project_onto_cone(joint[0], done) for joint in joints)
    derivative = np.empty(0)
    if why == steps.REACHED:
        rows = np.append(rows[rows < done], done)
        kept, losses = kept[: len(rows)].copy(), losses[: done + 1].copy()
    else:
        losses[-1], derivative = evaluate(stream.next())
    if rows.size and rows[-1] == done:
        kept[-1] = joints[:, 0]
    if not (losses[-1] <= limit and np.all(np.isfinite(joints[:, 0]))):
        raise diverged(done, rule, losses)
    return Ran(rows, kept, losses, derivative, projections)
