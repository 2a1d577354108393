"""Learning in overlap space: from overlaps, a task and a rule to a trajectory."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import integrate

from predictlearn.checks import positive, positive_int
from predictlearn.errors import DivergenceError, InputError
from predictlearn.theory import steps
from predictlearn.theory.overlaps import Overlaps
from predictlearn.theory.reduced import NO_NOISE, Prepared, _evaluate, check_fit
from predictlearn.theory.rules import (
    DirectDescent,
    GradientDescent,
    GradientFlow,
    Rule,
    column_rates,
)
from predictlearn.theory.trajectory import Trajectory
from predictlearn.theory.trials import Task

__all__ = ["TrialStream", "learn"]

# Epochs between two returns to Python, so that a run can be interrupted.
_CHUNK = 512
_FLOW_ROWS = 201


class TrialStream:
    """The trials and the noise of every epoch, the same for theory and network from one seed.

    Parameters
    ----------
    task : Task
        What is learned.
    nonlinearity : {"linear", "erf"}
        Which phi.
    tau : float
        Time constant in seconds.
    seed : int
        Seed; trials, target noise and synaptic noise have independent streams.
    """

    def __init__(self, task: Task, nonlinearity: str, tau: float, seed: int) -> None:
        positive_int("seed", seed, minimum=0)
        if not isinstance(task, Task):
            raise InputError(
                "task must have n_in, n_out, dt, fixed and sample(rng), as pl.Filter() has; "
                f"got {type(task).__name__}."
            )
        children = np.random.SeedSequence(seed).spawn(3)
        self.trial_rng, self.target_rng, self.synapse_rng = map(np.random.default_rng, children)
        self.task, self.nonlinearity, self.tau = task, nonlinearity, tau
        self._fixed: Prepared | None = None

    def next(self) -> Prepared:
        """Return the next epoch's trials, prepared."""
        if self._fixed is not None:
            return self._fixed
        ready = Prepared(self.task.sample(self.trial_rng), self.nonlinearity, self.tau)
        if self.task.fixed:
            self._fixed = ready
        return ready


def describe(task: Task, rule: object, nonlinearity: str, tau: float) -> dict[str, Any]:
    """Return the settings that a trajectory carries."""
    from predictlearn import __version__

    return {
        "task": repr(task) if len(repr(task)) < 500 else type(task).__name__,
        "rule": repr(rule),
        "nonlinearity": nonlinearity,
        "tau": tau,
        "version": __version__,
    }


def kept_epochs(n_epochs: int, every: int) -> np.ndarray:
    """Return the epochs whose overlaps are kept: multiples of `every`, and the last."""
    rows = np.arange(0, n_epochs, every)
    return np.append(rows, n_epochs)


def diverged(epoch: int, rule: object) -> DivergenceError:
    """Return the error for a loss that is not finite."""
    return DivergenceError(
        f"learning diverged: the loss was not finite at epoch {epoch}. "
        f"Try a smaller rate than that of {rule!r}.",
        epoch,
    )


def learn(
    overlaps: Overlaps,
    task: Task,
    rule: Rule,
    epochs: float,
    nonlinearity: str = "linear",
    tau: float = 1.0,
    seed: int = 0,
    every: int = 1,
) -> Trajectory:
    """Integrate the learning of a task in overlap space.

    Parameters
    ----------
    overlaps : Overlaps
        The network before learning.
    task : Task
        What is learned.
    rule : GradientDescent, GradientFlow or DirectDescent
        How the loadings move.
    epochs : int
        Number of updates; for gradient flow the learning time in units of 1 / rate, any positive
        number (rate * epochs of the descent it stands for).
    nonlinearity : {"linear", "erf"}
        Which phi. The linear theory is exact at every N; the erf theory carries a closure error,
        since learning makes the loadings non-Gaussian.
    tau : float, default 1.0
        Time constant in seconds.
    seed : int, default 0
        Seed of trials and noise.
    every : int, default 1
        Keep the overlaps of every so many epochs, and the last; the loss is kept for every epoch.

    Returns
    -------
    Trajectory
        Overlaps and loss along learning.

    Raises
    ------
    InputError
        If an argument is out of range or task and overlaps do not fit.
    DivergenceError
        If the loss is no longer finite; it carries the epoch.

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
    stream = TrialStream(task, nonlinearity, tau, seed)
    check_fit(overlaps, task.n_in, task.n_out, "the task")
    settings = describe(task, rule, nonlinearity, tau)
    if isinstance(rule, GradientFlow):
        return _flow(overlaps, stream, rule, positive("epochs", epochs), seed, settings)
    if not isinstance(rule, GradientDescent | DirectDescent):
        raise InputError(
            "rule must be a GradientDescent, GradientFlow or DirectDescent; "
            f"got {type(rule).__name__}."
        )
    n_epochs = positive_int("epochs", epochs)
    every = positive_int("every", every)
    rows = kept_epochs(n_epochs, every)
    kept = np.empty((len(rows), overlaps.dim, overlaps.dim))
    losses = np.empty(n_epochs + 1)
    joint = np.zeros((3, overlaps.dim, overlaps.dim))
    joint[0] = overlaps.matrix
    columns = column_rates(getattr(rule, "pathway_rates", None), overlaps.sizes)
    done = 0
    scratch = np.empty(0)
    while done < n_epochs:
        ready = stream.next()
        if scratch.size == 0 or not task.fixed:
            scratch = ready.scratch(overlaps.rank)
        count = min(_CHUNK, n_epochs - done) if task.fixed else 1
        noise = NO_NOISE
        if getattr(rule, "target_noise", 0.0) > 0:
            noise = np.empty(ready.noise_shape)
        model = (ready.a, ready.gain, ready.k_m, *ready.judging(noise), scratch, losses, kept)
        head = (*overlaps.sizes, count, every, done, rule.rate)
        if isinstance(rule, DirectDescent):
            ran = steps.descend_directly(joint[0], *head, *model)
        else:
            ran = steps.descend(
                joint,
                *head,
                columns,
                rule.momentum,
                rule.weight_decay,
                rule.synaptic_noise,
                rule.target_noise,
                stream.target_rng,
                *model,
            )
        if ran < count:
            raise diverged(done + ran, rule)
        done += count
    kept[-1] = joint[0]
    losses[-1], _ = _evaluate(joint[0], overlaps.sizes, stream.next())
    if not (np.isfinite(losses[-1]) and np.all(np.isfinite(joint[0]))):
        raise diverged(n_epochs, rule)
    return Trajectory(kept, rows, losses, np.arange(n_epochs + 1), overlaps.sizes, seed, settings)


def _flow(
    overlaps: Overlaps,
    stream: TrialStream,
    rule: GradientFlow,
    duration: float,
    seed: int,
    settings: dict[str, Any],
) -> Trajectory:
    """Integrate gradient flow for a learning time."""
    if not stream.task.fixed:
        raise InputError(
            "gradient flow needs a task with fixed trials; this task draws new trials each epoch. "
            "Use task.freeze(seed), or GradientDescent."
        )
    ready = stream.next()
    dim, sizes = overlaps.dim, overlaps.sizes
    upper = np.triu_indices(dim)
    columns = column_rates(rule.pathway_rates, sizes)

    def unpack(flat: np.ndarray) -> np.ndarray:
        matrix = np.empty((dim, dim))
        matrix[upper] = flat
        matrix.T[upper] = flat
        return matrix

    def speed(_: float, flat: np.ndarray) -> np.ndarray:
        matrix = unpack(flat)
        _value, a = _evaluate(matrix, sizes, ready)
        step = matrix @ (a * columns)
        return -(step + step.T)[upper]

    times = np.linspace(0.0, duration, _FLOW_ROWS)
    solution = integrate.solve_ivp(
        speed,
        (0.0, duration),
        overlaps.matrix[upper],
        method="LSODA",
        t_eval=times,
        rtol=rule.rtol,
        atol=rule.atol,
    )
    if not solution.success or not np.all(np.isfinite(solution.y)):
        reached = float(solution.t[-1]) if solution.t.size else 0.0
        raise DivergenceError(
            f"gradient flow stopped at learning time {reached:g} of {duration:g}: "
            f"{solution.message} Try a looser rtol.",
            int(reached),
        )
    kept = np.array([unpack(row) for row in solution.y.T])
    losses = np.array([_evaluate(matrix, sizes, ready)[0] for matrix in kept])
    settings = {**settings, "gradient_evaluations": int(solution.nfev)}
    return Trajectory(kept, times, losses, times, sizes, seed, settings)
