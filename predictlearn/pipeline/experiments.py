"""The second stage: two learning experiments, predicted from a fitted network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from predictlearn.errors import InputError
from predictlearn.predictions.exposure_closure import ExposureClosure, exposure_closure
from predictlearn.predictions.order import TrainingOrder, training_order
from predictlearn.predictions.perturbation import PerturbationExposure, perturbation_exposure
from predictlearn.protocol import Protocol
from predictlearn.theory.overlaps import Overlaps
from predictlearn.theory.rules import GradientDescent, GradientFlow, Rule
from predictlearn.theory.synaptic_rules import SynapticRule
from predictlearn.theory.trials import Task

__all__ = ["Design", "Experiments", "longer_selection", "run_experiments", "shipped_design"]


# Particles of the mean field that erf predictions are checked against, and epochs between checks.
_PARTICLES, _EVERY = 512, 20


@dataclass(frozen=True)
class Design:
    """What the two experiments train.

    Parameters
    ----------
    exposing : Task
        Task of the perturbation-exposure experiment.
    order : (Task, Task)
        Tasks A and B of the training-order experiment.
    rule : Rule
        How the network learns.
    epochs : float
        How long each task is trained.
    labels : mapping
        What the tasks are, in words: keys ``exposing``, ``A``, ``B``.
    unit : str
        What learning time is counted in, for axes and text.
    """

    exposing: Task
    order: tuple[Task, Task]
    rule: Rule
    epochs: float
    labels: Mapping[str, str]
    unit: str = "epochs"


@dataclass(frozen=True)
class Experiments:
    """The predictions of both experiments.

    Parameters
    ----------
    exposure : PerturbationExposure
        Networks that look the same, told apart by learning.
    order : TrainingOrder
        A then B against B then A.
    design : Design
        What was trained.
    closure : ExposureClosure or None
        For erf, one pair by the equations and by the mean field.
    """

    exposure: PerturbationExposure
    order: TrainingOrder
    design: Design
    closure: ExposureClosure | None


def longer_selection(start: Overlaps) -> dict[str, float]:
    """Return the change that the exposure experiment makes: every |v|^2 doubled.

    It leaves activity, output and their response to any input as they are, and no recording of one
    session shows it.
    """
    name = "vv" if start.rank == 1 else "v{0}v{0}"
    return {name.format(r + 1): 2.0 * start.block("v", "v")[r, r] for r in range(start.rank)}


def shipped_design(sizes: tuple[int, int, int]) -> Design:
    """Return the design of the shipped protocols, for networks of one input and one output.

    Parameters
    ----------
    sizes : (int, int, int)
        (n_in, rank, n_out) of the fitted network.

    Returns
    -------
    Design
        Tasks, rule and length of protocols/perturbation-exposure.yaml and
        protocols/training-order.yaml.

    Raises
    ------
    InputError
        If the network has other inputs or outputs than those tasks.
    """
    if (sizes[0], sizes[2]) != (1, 1):
        raise InputError(
            "the shipped learning experiments are for one input and one output; this recording has "
            f"{sizes[0]} and {sizes[2]}. Write the experiment as a protocol and run it from the "
            "fitted overlaps: Protocol.load(file).run(starts=...)."
        )
    exposure = Protocol.load("perturbation-exposure")
    order = Protocol.load("training-order")
    rule = exposure.spec.rule.build()
    if isinstance(rule, SynapticRule):
        raise InputError("the shipped experiments need a rule of the overlaps, not of synapses.")
    arm = next(iter(exposure.spec.arms.values()))
    lengths = [phase.epochs for phase in arm.phases if phase.epochs is not None]
    return Design(
        exposing=exposure.tasks["filter"],
        order=(order.tasks["A"], order.tasks["B"]),
        rule=rule,
        epochs=lengths[0],
        labels={
            "exposing": "filter a brief input with decay 0.2 per second",
            "A": "filter with decay 0.2 per second",
            "B": "filter with decay 0.4 per second",
        },
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
        Both predictions.

    Raises
    ------
    InputError
        If tasks and networks do not fit.
    """
    tell = tell or (lambda text: None)
    tell("predicting perturbation exposure")
    exposure = perturbation_exposure(
        cohort,
        design.exposing,
        design.rule,
        design.epochs,
        changes=longer_selection,
        nonlinearity=nonlinearity,
        tau=tau,
        seed=seed,
        n_jobs=n_jobs,
    )
    tell("predicting the effect of training order")
    order = training_order(
        cohort,
        *design.order,
        design.rule,
        design.epochs,
        nonlinearity=nonlinearity,
        tau=tau,
        seed=seed,
        n_jobs=n_jobs,
    )
    closure = None
    if nonlinearity == "erf" and isinstance(design.rule, GradientDescent):
        tell("measuring the closure error of the erf equations")
        closure = exposure_closure(
            cohort[0][0],
            longer_selection(cohort[0][0]),
            design.exposing,
            design.rule,
            int(design.epochs),
            tau=tau,
            n_particles=_PARTICLES,
            seed=seed,
            every=_EVERY,
            n_jobs=n_jobs,
        )
    return Experiments(exposure, order, design, closure)


def flow_design(
    exposing: Task,
    order: tuple[Task, Task],
    cohort: list[list[Overlaps]],
    labels: Mapping[str, str],
    *,
    nonlinearity: str,
    tau: float,
    length: float = 10.0,
) -> Design:
    """Return a design whose learning time suits networks in the units of a recording.

    The rate of a recorded animal is unknown, and the scale of its overlaps arbitrary; so learning
    is gradient flow with a frozen readout, for `length` times the median initial time constant
    L / |dL/dt| of the exposing task, which is the unit of learning time.
    """
    from predictlearn.predictions.readout_learning import initial_time_constant

    trials = exposing.sample(np.random.default_rng(0))
    constants = [
        initial_time_constant(start, trials, nonlinearity, tau) for row in cohort for start in row
    ]
    unit = float(np.median(constants))
    return Design(
        exposing=exposing,
        order=order,
        # with the constant as the rate of every pathway that learns, an epoch is one time constant
        rule=GradientFlow(
            rtol=1e-6, atol=1e-8, pathway_rates=dict.fromkeys("muv", unit) | {"z": 0.0}
        ),
        epochs=length,
        labels=labels,
        unit="initial time constants of the loss",
    )
