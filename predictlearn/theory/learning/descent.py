"""Learning in overlap space: from overlaps, a task and a rule to a trajectory."""

from __future__ import annotations

from typing import Any

import numpy as np

from predictlearn.checks import positive, positive_int
from predictlearn.compiled import undisturbed
from predictlearn.errors import DivergenceError, InputError
from predictlearn.theory.activity import NO_NOISE, Batch, _evaluate, check_fit
from predictlearn.theory.kernels import descent as steps
from predictlearn.theory.learning.flow import flow
from predictlearn.theory.learning.rules import (
    DirectDescent,
    FirstOrderDescent,
    GradientDescent,
    GradientFlow,
    Rule,
    column_rates,
)
from predictlearn.theory.learning.schedules import drop_of, multipliers
from predictlearn.theory.learning.stability import stable_rates_along
from predictlearn.theory.learning.synaptic_rules import Adam, RMSProp, SignDescent
from predictlearn.theory.learning.trajectory import Trajectory
from predictlearn.theory.learning.trial_stream import TrialStream
from predictlearn.theory.nonlinearity import Nonlinearity, resolve
from predictlearn.theory.overlaps import Overlaps
from predictlearn.theory.trials import Task

__all__ = [
    "KINDS",
    "TrialStream",
    "check_memory",
    "describe",
    "diverged",
    "kept_epochs",
    "learn",
    "loss_limit",
    "project_onto_cone",
    "stable_rates_said",
]

# Epochs between two returns to Python, so that a run can be interrupted.
_CHUNK = 512
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


def learn(
    overlaps: Overlaps,
    task: Task,
    rule: Rule,
    epochs: float,
    nonlinearity: str | Nonlinearity = "linear",
    tau: float = 1.0,
    seed: int = 0,
    every: int = 1,
    stop_at: float | None = None,
) -> Trajectory:
    """Integrate the learning of a task in overlap space.

    Parameters
    ----------
    overlaps : Overlaps
        The network before learning.
    task : Task
        What is learned.
    rule : GradientDescent, GradientFlow, FirstOrderDescent or DirectDescent
        How the loadings move.
    epochs : int
        Number of updates; for gradient flow the learning time in units of 1 / rate, any positive
        number (rate * epochs of the descent it stands for).
    nonlinearity : {"linear", "erf", "tanh"} or Nonlinearity
        Which phi. The linear theory is exact at every N; any other carries a closure error, since
        learning makes the loadings non-Gaussian.
    tau : float, default 1.0
        Time constant in seconds.
    seed : int, default 0
        Seed of trials and noise.
    every : int, default 1
        Keep the overlaps of every so many epochs, and the last; the loss is kept for every epoch.
        The overlaps kept may take 2 GiB.
    stop_at : float, optional
        Stop before the update of the first epoch whose loss is at or below this.

    Returns
    -------
    Trajectory
        Overlaps and loss along learning; a `FlowTrajectory` for gradient flow.
        ``settings["projections"]`` counts how often rounding had to be project_onto_cone back to
        overlaps that a network has.

    Raises
    ------
    InputError
        If an argument is out of range or task and overlaps do not fit.
    DivergenceError
        If the loss runs away or is not finite; it carries the epoch, and the message the largest
        stable rate by the curvature.

    Notes
    -----
    Gradient descent at rate N eta on all loadings is Theta <- Theta (1 - eta A), hence
    S <- (1 - eta A)' S (1 - eta A) exactly, and in the limit of small steps
    dS/dt = -(S A + A S).

    References
    ----------
    Ger & Barak (2026), arXiv:2605.04115; the exact congruence is an extension.

    Examples
    --------
    >>> import numpy as np
    >>> import predictlearn as pl
    >>> start = pl.Overlaps(np.eye(4)).replace(zu=0.1, vm=0.1)
    >>> t = pl.learn(start, pl.Filter(decay=0.2), pl.GradientDescent(5e-3), 2000)
    >>> bool(t.loss.iloc[-1] < 0.01 * t.loss.iloc[0])
    True
    >>> round(t.final["vu"], 1)  # 1 - c
    0.8
    """
    if isinstance(rule, Adam | RMSProp | SignDescent):
        raise InputError(
            f"{type(rule).__name__} acts on single synapses, so the overlaps do not follow "
            "equations of their own; train N neurons with it: pl.train_network(...)."
        )
    stream = TrialStream(task, nonlinearity, tau, seed, getattr(rule, "minibatch", None))
    check_fit(overlaps, task.n_in, task.n_out, "the task")
    goal = -np.inf if stop_at is None else positive("stop_at", stop_at)
    settings = describe(task, rule, nonlinearity, tau)
    if isinstance(rule, GradientFlow):
        return flow(overlaps, stream, rule, positive("epochs", epochs), goal, seed, settings)
    if type(rule) not in KINDS:
        raise InputError(
            "rule must be a GradientDescent, GradientFlow, FirstOrderDescent or DirectDescent; "
            f"got {type(rule).__name__}."
        )
    n_epochs = positive_int("epochs", epochs)
    every = positive_int("every", every)
    check_memory(n_epochs, every, overlaps.matrix.size)
    # a network learns by the same loops alone and beside others
    from predictlearn.theory.learning import many

    if stream.constant and many.runs_together(overlaps.sizes, stream.next(), rule):
        (outcome,) = many.descend_together(
            [overlaps], stream.next(), rule, n_epochs, every, goal, [seed], settings
        )
        if isinstance(outcome, many.FAILURES):
            raise outcome
        return outcome
    return _descend(overlaps, stream, rule, n_epochs, every, goal, seed, settings)


def _descend(
    overlaps: Overlaps,
    stream: TrialStream,
    rule: GradientDescent | FirstOrderDescent | DirectDescent,
    n_epochs: int,
    every: int,
    goal: float,
    seed: int,
    settings: dict[str, Any],
) -> Trajectory:
    """Run epochs of descent."""
    sizes = overlaps.sizes
    kind = KINDS[type(rule)]
    full = rule if isinstance(rule, GradientDescent) else GradientDescent(rule.rate)
    target_noise = getattr(rule, "target_noise", 0.0)
    rows = kept_epochs(n_epochs, every)
    kept = np.empty((len(rows), overlaps.dim, overlaps.dim))
    losses = np.empty(n_epochs + 1)
    joint = np.zeros((3, overlaps.dim, overlaps.dim))
    joint[0] = overlaps.matrix
    columns = column_rates(full.pathway_rates, sizes)
    changes = multipliers(rule.schedule, n_epochs)
    drop_factor, drop_below = drop_of(rule.schedule)
    ready = stream.next()
    limit = loss_limit(_evaluate(joint[0], sizes, ready)[0], ready)
    scratch, impulse = ready.scratch(overlaps.rank), ready.impulse(overlaps.rank)
    noise = np.empty(ready.noise_shape) if target_noise > 0 else NO_NOISE
    done, projections, why, dropped = 0, 0, steps.RUNNING, False
    while done < n_epochs:
        if done > 0 and not stream.constant:
            ready = stream.next()
            if ready.noise_shape != noise.shape and target_noise > 0:
                noise = np.empty(ready.noise_shape)
            scratch, impulse = ready.fitting_scratch(scratch, overlaps.rank)
        count = min(_CHUNK, n_epochs - done) if stream.constant else 1
        ran, why, dropped = undisturbed(
            steps.DESCEND[impulse[0].size > 0 and target_noise == 0.0, sizes == (1, 1, 1)],
            joint,
            *sizes,
            count,
            every,
            done,
            kind,
            rule.rate,
            changes,
            drop_factor,
            drop_below,
            dropped,
            columns,
            full.momentum,
            full.weight_decay,
            full.synaptic_noise,
            target_noise,
            stream.target_rng,
            limit,
            goal,
            ready.a,
            ready.gain,
            ready.k_m,
            *ready.judging(noise),
            *impulse,
            scratch,
            losses,
            kept,
        )
        done += ran
        if why == steps.DIVERGED:
            advice = ""
            if isinstance(rule, GradientDescent) and np.isfinite(losses[0]):
                advice = stable_rates_said(overlaps, ready, rule)
            raise diverged(done, rule, losses, advice)
        if why == steps.REACHED:
            break
        if kind == steps.CONGRUENCE and (done % _CHUNK == 0 or done == n_epochs):
            projections += project_onto_cone(joint[0], done)
    if why == steps.REACHED:
        rows = np.append(rows[rows < done], done)
        kept, losses = kept[: len(rows)].copy(), losses[: done + 1].copy()
    else:
        losses[-1], _ = _evaluate(joint[0], sizes, stream.next())
    kept[-1] = joint[0]
    if not (losses[-1] <= limit and np.all(np.isfinite(joint[0]))):
        raise diverged(n_epochs, rule, losses)
    settings = {**settings, "projections": projections}
    return Trajectory(kept, rows, losses, np.arange(len(losses)), sizes, seed, settings)
