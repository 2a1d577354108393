"""The second stage: two learning experiments, predicted from a fitted network."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import pandas as pd

from predictlearn.errors import DivergenceError, InputError
from predictlearn.kept import once
from predictlearn.pipeline.learner import LearnerChoice, learning_times, speed_of_learning
from predictlearn.pipeline.task_choice import TaskChoice
from predictlearn.pipeline.units import Units
from predictlearn.predictions.exposure.closure import ExposureClosure, exposure_closure
from predictlearn.predictions.exposure.prediction import PerturbationExposure, perturbation_exposure
from predictlearn.predictions.learners import learner_in_words
from predictlearn.predictions.order.prediction import TrainingOrder, training_order
from predictlearn.predictions.runs import shorten
from predictlearn.theory.learning.local_rules import LocalRule
from predictlearn.theory.learning.rules import GradientDescent, GradientFlow, Rule
from predictlearn.theory.overlaps import Overlaps
from predictlearn.theory.trials import Task

__all__ = [
    "Design",
    "Experiments",
    "attempt",
    "design_experiments",
    "flow_design",
    "longer_selection",
    "run_experiments",
]


# Particles of the mean field that erf predictions are checked against, and epochs between checks.
_PARTICLES, _EVERY = 512, 8
# Steps of descent that stand for the flow where only descent will do: what the mean field changes
# is 2% from that of 1000 steps, and 4% from the flow's.
_STEPS = 400
# Who learns where nothing else is asked for.
_PUBLISHED = LearnerChoice()

T = TypeVar("T")


@dataclass(frozen=True)
class Design:
    """What the two experiments train.

    Parameters
    ----------
    exposing : Task
        Task of the perturbation-exposure experiment.
    order : (Task, Task)
        Tasks A and B of the training-order experiment.
    rules : tuple of Rule
        How the networks of each draw learn.
    epochs : float
        How long each task is trained.
    labels : mapping
        What the tasks are, in words: keys ``exposing``, ``A``, ``B``.
    unit : str
        What learning time is counted in, for axes and text.
    why : str
        Why these tasks.
    epoch_means : str
        What an epoch is, in a sentence.
    learns : {"factors", "synapses"}
        What learns.
    """

    exposing: Task
    order: tuple[Task, Task]
    rules: tuple[Rule | LocalRule, ...]
    epochs: float
    labels: Mapping[str, str]
    unit: str = "epochs"
    why: str = ""
    epoch_means: str = ""
    learns: str = "factors"

    @property
    def who(self) -> str:
        """Who learns by which rule, in words, to follow "where"."""
        return learner_in_words(self.learns, self.rules[0])


@dataclass(frozen=True)
class Experiments:
    """The predictions of both experiments.

    Parameters
    ----------
    exposure : PerturbationExposure or None
        Networks that look the same, told apart by learning.
    order : TrainingOrder or None
        A then B against B then A.
    design : Design
        What was trained.
    closure : ExposureClosure or None
        For erf, one pair by the equations and by the mean field.
    problems : tuple of str
        What could not be predicted, and why, a line each.
    """

    exposure: PerturbationExposure | None
    order: TrainingOrder | None
    design: Design
    closure: ExposureClosure | None
    problems: tuple[str, ...] = ()

    @property
    def excluded(self) -> pd.DataFrame:
        """Networks that were left out: experiment, draw, network (animal) and reason."""
        parts = [
            prediction.excluded.assign(experiment=prediction.name)
            for prediction in (self.exposure, self.order)
            if prediction is not None
        ]
        columns = ["experiment", "draw", "network", "reason"]
        return (
            pd.concat(parts, ignore_index=True)[columns] if parts else pd.DataFrame(columns=columns)
        )


def attempt(what: str, make: Callable[[], T], problems: list[str]) -> T | None:
    """Return what `make` gives, or None with a line among the problems.

    What learning or a recording leads to ends one part, not the others.

    Parameters
    ----------
    what : str
        What is made, for the line.
    make : callable
        Makes it.
    problems : list of str
        Where the line is added.

    Returns
    -------
    object or None
        The result.
    """
    try:
        return make()
    except (InputError, DivergenceError, np.linalg.LinAlgError, ArithmeticError) as error:
        problems.append(f"{what} could not be made: {shorten(str(error), 400)}")
        return None


def longer_selection(start: Overlaps) -> dict[str, float]:
    """Return the change that the exposure experiment makes: every |v|^2 doubled.

    It leaves activity, output and their response to any input as they are, and no recording of one
    session shows it.
    """
    name = "vv" if start.rank == 1 else "v{0}v{0}"
    return {name.format(r + 1): 2.0 * start.block("v", "v")[r, r] for r in range(start.rank)}


def design_experiments(
    choice: TaskChoice,
    fitted: Any,
    cohort: Sequence[Sequence[Overlaps]],
    units: Units,
    learner: LearnerChoice = _PUBLISHED,
) -> Design:
    """Return the design of both experiments for a recording of one's own.

    Parameters
    ----------
    choice : TaskChoice
        What is learned.
    fitted : FittedNetwork
        The recording with its fit.
    cohort : sequence of sequence of Overlaps
        By draw and animal, in the units.
    units : Units
        In which the networks learn.
    learner : LearnerChoice
        Who learns, by which rule. By default factors by gradient flow, in each draw's own learning
        time.

    Returns
    -------
    Design
        Tasks, rules and words.

    Raises
    ------
    InputError
        If a task cannot be made, or no network can learn it.
    """
    (first, words), (second, other_words) = choice.tasks(fitted)
    one, two = (units.task(task).freeze() for task in (first, second))
    model = fitted.model
    timed = isinstance(learner.rule, str) and learner.rate is None
    times = np.ones(len(cohort))
    if timed:
        times = learning_times(one, cohort, model.nonlinearity, float(model.tau_), learner.learns)
    course = learner.course(times)
    return Design(
        exposing=one,
        order=(one, two),
        rules=course.rules,
        epochs=course.epochs,
        labels={"exposing": words, "A": words, "B": other_words},
        unit=course.unit,
        why=choice.why,
        epoch_means=course.means,
        learns=learner.learns,
    )


def run_experiments(
    cohort: list[list[Overlaps]],
    design: Design,
    *,
    nonlinearity: str,
    tau: float,
    seed: int = 0,
    n_jobs: int = 1,
    tell: Any = None,
) -> Experiments:
    """Predict both experiments for a cohort.

    Parameters
    ----------
    cohort : list of list of Overlaps
        By draw of the hidden overlaps and animal.
    design : Design
        What is trained.
    nonlinearity : {"linear", "erf"}
        Which phi.
    tau : float
        Time constant in seconds.
    seed : int
        Seed of trials and resampling.
    n_jobs : int
        Processes.
    tell : callable, optional
        Called with a line of text as each experiment starts.

    Returns
    -------
    Experiments
        The predictions that could be made, and a line for each that could not.
    """
    tell = tell or (lambda text: None)
    problems: list[str] = []
    rules = [rule for rule, row in zip(design.rules, cohort, strict=True) for _ in row]
    common: dict[str, Any] = {
        "nonlinearity": nonlinearity, "tau": tau, "seed": seed, "n_jobs": n_jobs,
        "learns": design.learns,
    }  # fmt: skip
    tell("predicting perturbation exposure")
    exposure = attempt(
        "the prediction of perturbation exposure",
        lambda: once(
            perturbation_exposure,
            *(cohort, design.exposing, rules, design.epochs),
            changes=longer_selection,
            **common,
        ),
        problems,
    )
    tell("predicting the effect of training order")
    order = attempt(
        "the prediction of training order",
        lambda: once(training_order, cohort, *design.order, rules, design.epochs, **common),
        problems,
    )
    closure = None
    if nonlinearity == "erf" and exposure is not None:
        tell("measuring the closure error of the erf equations")
        closure = attempt(
            "the check of the erf equations against the mean field",
            lambda: _closure(cohort[0][0], design, tau, seed, n_jobs),
            problems,
        )
    return Experiments(exposure, order, design, closure, tuple(problems))


def _closure(
    start: Overlaps, design: Design, tau: float, seed: int, n_jobs: int
) -> ExposureClosure:
    """Compare equations and mean field for one animal, by descent in steps of the flow's length."""
    rule, epochs = design.rules[0], int(design.epochs)
    if isinstance(rule, GradientFlow):
        rates = dict(rule.pathway_rates or {})
        rate = max(rates.values()) * design.epochs / _STEPS
        relative = {name: value / max(rates.values()) for name, value in rates.items()}
        rule, epochs = GradientDescent(rate, pathway_rates=relative), _STEPS
    if not isinstance(rule, GradientDescent):
        raise InputError("the mean field needs gradient descent.")
    return once(
        exposure_closure,
        start,
        longer_selection(start),
        design.exposing,
        rule,
        epochs,
        tau=tau,
        n_particles=_PARTICLES,
        seed=seed,
        every=_EVERY,
        n_jobs=n_jobs,
        # the report says how far equations and mean field are apart, and no more
        in_full=False,
    )


def flow_design(
    exposing: Task,
    order: tuple[Task, Task],
    cohort: list[list[Overlaps]],
    labels: Mapping[str, str],
    *,
    nonlinearity: str,
    tau: float,
    length: float = 10.0,
    learns: str = "factors",
) -> Design:
    """Return a design with a frozen readout whose learning time suits a recording's units.

    The rate of a recorded animal is unknown, and the scale of its overlaps arbitrary; so learning
    is gradient flow with a frozen readout, for `length` times the median initial time constant
    L / |dL/dt| of the exposing task, which is the unit of learning time.
    """
    constants = []
    for start in (start for row in cohort for start in row):
        loss, speed = speed_of_learning(start, exposing, nonlinearity, tau, learns, True)
        if not (speed > 0 and np.isfinite(speed)):
            raise InputError(
                "no network can learn this task: its loss has no slope in one of them."
            )
        constants.append(loss / speed)
    unit = float(np.median(constants))
    pathways = "mw" if learns == "synapses" else "muv"
    rates = dict.fromkeys(pathways, unit) | {"z": 0.0}
    rule = GradientFlow(rtol=1e-6, atol=1e-8, pathway_rates=rates)
    return Design(
        exposing=exposing,
        order=order,
        rules=(rule,) * len(cohort),
        epochs=length,
        labels=labels,
        unit="initial time constants of the loss",
        why="The readout is set by the experimenter and does not learn.",
        epoch_means="One epoch below is one of the initial time constants of the loss.",
        learns=learns,
    )
