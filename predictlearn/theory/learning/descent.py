"""Learning in overlap space: from overlaps, a task and a rule to a trajectory."""

from __future__ import annotations

from typing import Any, Literal, overload

import numpy as np

from predictlearn.checks import positive, positive_int
from predictlearn.errors import InputError, choice
from predictlearn.theory.activity import Batch, check_fit
from predictlearn.theory.learning.epochs import (
    KINDS,
    check_memory,
    describe,
    kept_epochs,
    run_epochs,
    stable_rates_said,
)
from predictlearn.theory.learning.flow import flow
from predictlearn.theory.learning.local_rules import LocalRule, NodePerturbation
from predictlearn.theory.learning.rules import GradientDescent, GradientFlow, Rule
from predictlearn.theory.learning.span import (
    LEARNERS,
    FactorTrajectory,
    SynapticTrajectory,
    learn_in_span,
    start_in_span,
)
from predictlearn.theory.learning.span_flow import flow_in_span
from predictlearn.theory.learning.synaptic_rules import Adam, RMSProp, SignDescent
from predictlearn.theory.learning.together import FAILURES, descend_together, runs_together
from predictlearn.theory.learning.trajectory import Trajectory
from predictlearn.theory.learning.trial_stream import TrialStream
from predictlearn.theory.nonlinearity import Nonlinearity
from predictlearn.theory.overlaps import Overlaps
from predictlearn.theory.synapses.network import Factors, Synapses
from predictlearn.theory.trials import Task

__all__ = ["learn"]


@overload
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
    learns: Literal["factors"] | None = None,
) -> Trajectory: ...


@overload
def learn(
    overlaps: Overlaps | Synapses | Factors,
    task: Task,
    rule: Rule | LocalRule,
    epochs: float,
    nonlinearity: str | Nonlinearity = "linear",
    tau: float = 1.0,
    seed: int = 0,
    every: int = 1,
    stop_at: float | None = None,
    learns: str | None = None,
) -> Trajectory | FactorTrajectory | SynapticTrajectory: ...


def learn(
    overlaps: Overlaps | Synapses | Factors,
    task: Task,
    rule: Rule | LocalRule,
    epochs: float,
    nonlinearity: str | Nonlinearity = "linear",
    tau: float = 1.0,
    seed: int = 0,
    every: int = 1,
    stop_at: float | None = None,
    learns: str | None = None,
) -> Any:
    """Integrate the learning of a task in overlap space, or in the span of the start.

    Parameters
    ----------
    overlaps : Overlaps, Synapses or Factors
        The network before learning.
    task : Task
        What is learned.
    rule : GradientDescent, GradientFlow, FirstOrderDescent, DirectDescent, FeedbackAlignment, RFLO
        How the loadings, or the synapses, move.
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
    learns : {"factors", "synapses"}, optional
        What learns: the factors U and V of the connectivity, as published, or its entries, the
        synapses W. What the start says if not given, factors for overlaps.

    Returns
    -------
    Trajectory
        Overlaps and loss along learning; a `FlowTrajectory` for gradient flow, a
        `SynapticTrajectory` where synapses learn, and a `FactorTrajectory` where factors do with
        feedback of their own or in a closed loop.
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

    Where synapses learn, noise on them has no closed form: its mean after two steps needs second
    moments of W, these fourth moments, and so on, and it is not averaged away by many neurons, as
    it adds to the norms of W m and W' z, by which the function learns, along new vectors in every
    epoch (`predictlearn.theory.learning.span`). `train_network` has it.

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
    if isinstance(rule, NodePerturbation):
        raise InputError(
            "NodePerturbation moves synapses outside the span of the start, the more the more "
            "neurons there are; train N neurons with it: pl.train_network(...). On average, and "
            "for N rate far below 1, it is GradientDescent."
        )
    stream = TrialStream(task, nonlinearity, tau, seed, getattr(rule, "minibatch", None))
    goal = -np.inf if stop_at is None else positive("stop_at", stop_at)
    settings = describe(task, rule, nonlinearity, tau)
    if (
        not isinstance(overlaps, Overlaps)
        or isinstance(rule, LocalRule)
        or learns == "synapses"
        or getattr(task, "world", None) is not None
    ):
        # followed in the span of the start, not by overlaps alone
        start = start_in_span(overlaps, rule, learns)
        check_fit(overlaps, task.n_in, task.n_out, "the task")
        if isinstance(rule, GradientFlow):
            duration = positive("epochs", epochs)
            return flow_in_span(start, stream, rule, duration, goal, seed, settings)
        if not isinstance(rule, GradientDescent | LocalRule):
            raise InputError(
                "rule must be a GradientDescent, GradientFlow, FeedbackAlignment or RFLO where "
                f"synapses learn or the task closes a loop; got {type(rule).__name__}."
            )
        n_epochs = positive_int("epochs", epochs)
        return learn_in_span(start, stream, rule, n_epochs, every, goal, seed, settings)
    if learns is not None:
        choice("learns", learns, LEARNERS)
    check_fit(overlaps, task.n_in, task.n_out, "the task")
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
    if stream.constant and runs_together(overlaps.sizes, stream.next(), rule):
        (outcome,) = descend_together(
            [overlaps], stream.next(), rule, n_epochs, every, goal, [seed], settings
        )
        if isinstance(outcome, FAILURES):
            raise outcome
        return outcome
    joints = np.zeros((1, 3, overlaps.dim, overlaps.dim))
    joints[0, 0] = overlaps.matrix

    def advice(ready: Batch) -> str:
        """Say which rates are stable."""
        return stable_rates_said(overlaps, ready, rule) if isinstance(rule, GradientDescent) else ""

    rows, sizes = kept_epochs(n_epochs, every), overlaps.sizes
    ran = run_epochs(joints, sizes, stream, rule, n_epochs, rows, goal=goal, advice=advice)
    epochs_run = np.arange(len(ran.losses))
    settings = {**settings, "projections": ran.projections}
    return Trajectory(ran.kept[:, 0], ran.rows, ran.losses, epochs_run, sizes, seed, settings)
