"""Behaviour: from the outputs of a network to what is measured in an animal, trial by trial.

`Choices`, `Errors` and `CursorProgress` turn outputs into outcomes, each with its expectation,
simulation and log likelihood; `Criterion` counts trials to criterion; `simulate_animals` trains
animals in `TrainingSessions` and returns tidy tables; `behaviour_defaults` holds what public
data say.
"""

from __future__ import annotations

from predictlearn.behaviour.animals import Animals
from predictlearn.behaviour.base import Behaviour, response_means
from predictlearn.behaviour.choices import Choices
from predictlearn.behaviour.courses import OutputCurves
from predictlearn.behaviour.criterion import Criterion
from predictlearn.behaviour.cursor import CursorProgress
from predictlearn.behaviour.defaults import behaviour_defaults, typical_value
from predictlearn.behaviour.distributions import DISTRIBUTIONS, as_distribution
from predictlearn.behaviour.movement import Errors, angles_between
from predictlearn.behaviour.sessions import TrainingSessions
from predictlearn.behaviour.simulation import SimulatedAnimals, simulate_animals

__all__ = [
    "DISTRIBUTIONS",
    "Animals",
    "Behaviour",
    "Choices",
    "Criterion",
    "CursorProgress",
    "Errors",
    "OutputCurves",
    "SimulatedAnimals",
    "TrainingSessions",
    "angles_between",
    "as_distribution",
    "behaviour_defaults",
    "response_means",
    "simulate_animals",
    "typical_value",
]
