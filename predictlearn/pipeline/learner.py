"""Who learns in the predicted experiments, and by which rule: checked before anything is fitted."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from predictlearn.checks import positive
from predictlearn.errors import InputError, choice
from predictlearn.predictions.learners import check_learns, leaves_overlaps
from predictlearn.predictions.speed_in_span import speed_in_span
from predictlearn.theory.activity import loss_and_derivative
from predictlearn.theory.learning.local_rules import (
    RFLO,
    FeedbackAlignment,
    LocalRule,
    NodePerturbation,
)
from predictlearn.theory.learning.rules import GradientDescent, GradientFlow, Rule
from predictlearn.theory.learning.span import LEARNERS
from predictlearn.theory.overlaps import Overlaps
from predictlearn.theory.synapses.loops import network_loss
from predictlearn.theory.synapses.network import Factors
from predictlearn.theory.trials import Task

__all__ = ["RULE_NAMES", "LearnerChoice", "LearningCourse", "learning_times", "speed_of_learning"]

FLOW, DESCENT = "gradient-flow", "gradient-descent"
_STEPPED: dict[str, Any] = {
    DESCENT: GradientDescent,
    "feedback-alignment": FeedbackAlignment,
    "rflo": RFLO,
}
RULE_NAMES = (FLOW, *_STEPPED)
# Learning times that a task is trained for, steps that stand for them where a rule takes steps, and
# updates where a rate is given.
LENGTH, STEPS, EPOCHS = 20.0, 1000, 2000
_UNITS = "in units in which every m and the recorded part of every z has length one"


@dataclass(frozen=True)
class LearningCourse:
    """How the networks of each draw learn a task.

    Parameters
    ----------
    rules : tuple of Rule
        One a draw.
    epochs : float
        How long.
    unit : str
        What learning time is counted in.
    means : str
        What an epoch is, in a sentence.
    """

    rules: tuple[Rule | LocalRule, ...]
    epochs: float
    unit: str
    means: str


@dataclass(frozen=True)
class LearnerChoice:
    """Who learns, by which rule, at which rate.

    Parameters
    ----------
    learns : {"factors", "synapses"}, default "factors"
        What learns.
    rule : str or Rule, default "gradient-flow"
        A name of `RULE_NAMES`, or a GradientDescent, FeedbackAlignment or RFLO with its settings.
    rate : float, optional
        Rate of a rule that is named; not given: in each draw's own learning time.
    """

    learns: str = "factors"
    rule: str | GradientDescent | LocalRule = FLOW
    rate: float | None = None

    @classmethod
    def of(cls, learns: Any, rule: Any, rate: float | None) -> LearnerChoice:
        """Return the learner that was asked for.

        Parameters
        ----------
        learns : str
            "factors" or "synapses".
        rule : str, Rule or None
            None: descent where there is a rate, else gradient flow.
        rate : float or None
            The rate.

        Returns
        -------
        LearnerChoice
            Who learns.

        Raises
        ------
        InputError
            If there is no such learner or rule, or the rate does not go with it.
        """
        choice("learns", learns, LEARNERS)
        rate = None if rate is None else positive("rate", rate)
        if isinstance(rule, NodePerturbation) or rule == "node-perturbation":
            raise InputError(
                "rule node-perturbation is learned by N neurons, not predicted from overlaps, "
                "since its noise leaves their span: give a protocol (task) with engine: network "
                f"and rule: {{type: node-perturbation}}, or one of {', '.join(RULE_NAMES)}; "
                "gradient-descent is its mean."
            )
        if rule is None:
            rule = FLOW if rate is None else DESCENT
        if not isinstance(rule, str):
            if not isinstance(rule, GradientDescent | LocalRule):
                raise InputError(
                    f"rule must be one of {', '.join(RULE_NAMES)}, or a GradientDescent, "
                    f"FeedbackAlignment or RFLO; got {type(rule).__name__}."
                )
            if rate is not None:
                raise InputError(f"rate must be left out: {type(rule).__name__} has its own.")
            return cls(learns, rule)
        choice("rule", rule, RULE_NAMES)
        if rule == FLOW and rate is not None:
            raise InputError(
                f"rate does not go with rule {FLOW}, which is in units of each draw's own learning "
                f"time; leave out one of them, or take one of {', '.join(_STEPPED)}."
            )
        return cls(learns, rule, rate)

    @property
    def is_default(self) -> bool:
        """Whether factors learn, as published, by gradient flow or descent."""
        return self.learns == "factors" and self.rule in (FLOW, DESCENT)

    @property
    def rate_said(self) -> str | float:
        """The rate, or that it is each draw's own."""
        if isinstance(self.rule, str):
            return "of each draw" if self.rate is None else self.rate
        return self.rule.rate

    @property
    def example(self) -> Rule | LocalRule:
        """The rule, at some rate."""
        if not isinstance(self.rule, str):
            return self.rule
        if self.rule == FLOW:
            return GradientFlow()
        rule: Rule | LocalRule = _STEPPED[self.rule](1.0 if self.rate is None else self.rate)
        return rule

    def check(
        self, nonlinearity: str, task: Task | None, protocol: bool = False, design_of: str = ""
    ) -> None:
        """Raise InputError unless the networks of a recording can learn so what was chosen.

        Parameters
        ----------
        nonlinearity : {"linear", "erf"}
            Which phi is fitted.
        task : Task or None
            What is learned, where that is known beforehand.
        protocol : bool, default False
            Whether a protocol is run.
        design_of : str, default ""
            Name of the data set whose own experiments are predicted.
        """
        stated = self.rule != FLOW or self.rate is not None
        if protocol:
            if stated or self.learns != "factors":
                what = "learns" if self.learns != "factors" else "rule and rate"
                raise InputError(
                    f"{what} must be left out with a protocol, which says so itself: rule: {{type: "
                    "..., learns: synapses, rate: ...}, for all arms, an arm or a phase."
                )
            return
        if design_of and stated:
            what = "rate" if self.rule == DESCENT else "rule"
            raise InputError(
                f"{what} is not for {design_of}, which has experiments of its own, learned by "
                f"{FLOW}; learns is, factors or synapses."
            )
        check_learns(self.learns, nonlinearity, [self.example], [] if task is None else [task])

    def course(self, times: np.ndarray) -> LearningCourse:
        """Return how the networks of each draw learn, from their learning times, (draws,)."""
        if not isinstance(self.rule, str) or self.rate is not None:
            rule = self.example
            means = f"An epoch is one update at rate {getattr(rule, 'rate', 0.0):g}, {_UNITS}."
            return LearningCourse((rule,) * len(times), EPOCHS, "epochs", means)
        time = (
            "how long the loss on A would take to vanish at its first speed by gradient descent, "
            "L / |dL/dt|, in the median animal of a draw"
        )
        unknown = f"{_UNITS}, so neither a rate nor the unit of activity has to be known"
        if self.rule == FLOW:
            pathways = "mwz" if self.learns == "synapses" else "muvz"
            rules: tuple[Rule | LocalRule, ...] = tuple(
                # with the time as the rate of every pathway an epoch is one learning time
                GradientFlow(rtol=1e-6, atol=1e-8, pathway_rates=dict.fromkeys(pathways, float(t)))
                for t in times
            )
            means = (
                f"One learning time (an epoch below) is {time}; learning is gradient descent in "
                f"small steps, {unknown}."
            )
            return LearningCourse(rules, LENGTH, "in each draw's own learning times", means)
        step: Any = self.example
        rules = tuple(replace(step, rate=float(t) * LENGTH / STEPS) for t in times)
        means = (
            f"One learning time is {time}; an epoch below is one update, and {STEPS / LENGTH:g} of "
            f"them take one learning time, {unknown}."
        )
        return LearningCourse(rules, STEPS, f"updates, {STEPS / LENGTH:g} a learning time", means)


def speed_of_learning(
    start: Overlaps,
    task: Task,
    nonlinearity: str,
    tau: float,
    learns: str,
    frozen_readout: bool = False,
) -> tuple[float, float]:
    """Return the loss on fixed trials, and -dL/dt of gradient flow per unit of rate.

    Parameters
    ----------
    start : Overlaps
        The network.
    task : Task
        What is learned; fixed trials.
    nonlinearity : {"linear", "erf"}
        Which phi.
    tau : float
        Time constant in seconds.
    learns : {"factors", "synapses"}
        What learns.
    frozen_readout : bool, default False
        Whether the readout does not learn.

    Returns
    -------
    loss, speed : float
        In units of the loss.
    """
    trials = task.sample(np.random.default_rng(0))
    if leaves_overlaps(learns, (), [task]):
        rates = {"z": 0.0} if frozen_readout else None
        flow = GradientFlow(pathway_rates=rates)
        speed = speed_in_span(start, [trials], flow, tau, learns, measure=False)[0]
        return network_loss(Factors.from_overlaps(start), trials, nonlinearity, tau), speed
    loss, a = loss_and_derivative(start, trials, nonlinearity, tau)
    columns = np.ones(start.dim)
    if frozen_readout:
        columns[start.dim - start.n_out :] = 0.0
    return loss, float(np.sum(((a * columns) @ a) * start.matrix))


def learning_times(
    task: Task, cohort: Any, nonlinearity: str, tau: float, learns: str = "factors"
) -> np.ndarray:
    """Return the learning time L / |dL/dt| of each draw, the median over its animals.

    Parameters
    ----------
    task : Task
        What is learned; fixed trials.
    cohort : sequence of sequence of Overlaps
        By draw and animal.
    nonlinearity : {"linear", "erf"}
        Which phi.
    tau : float
        Time constant in seconds.
    learns : {"factors", "synapses"}, default "factors"
        What learns.

    Returns
    -------
    numpy.ndarray, (draws,)
        Times in units of 1 / rate; that of the median draw where no animal of a draw learns.

    Raises
    ------
    InputError
        If no animal of any draw learns the task.
    """
    times = np.full((len(cohort), max(map(len, cohort))), np.nan)
    for d, animals in enumerate(cohort):
        for k, start in enumerate(animals):
            loss, speed = speed_of_learning(start, task, nonlinearity, tau, learns)
            if speed > 0 and np.isfinite(speed) and np.isfinite(loss):
                times[d, k] = loss / speed
    if not np.isfinite(times).any():
        raise InputError("no network can learn this task: its loss has no slope in any of them.")
    there = np.isfinite(times).any(axis=1)
    by_draw = np.array(
        [np.nanmedian(row) if ok else np.nan for row, ok in zip(times, there, strict=True)]
    )
    return np.where(there, by_draw, np.nanmedian(by_draw))
