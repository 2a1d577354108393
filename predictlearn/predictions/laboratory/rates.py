"""How fast animals learn: typical rates and their spread, set by what public data say."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from predictlearn.arrays import Array
from predictlearn.behaviour.defaults import typical_value
from predictlearn.behaviour.movement import angles_between
from predictlearn.errors import InputError
from predictlearn.predictions.laboratory.animals import Animal, naive_networks
from predictlearn.predictions.laboratory.learner import Learner
from predictlearn.predictions.laboratory.measure import DECISION_NOISE
from predictlearn.predictions.laboratory.tasks import cue_task, mixed, reach
from predictlearn.theory.learning.together import FAILURES

__all__ = ["discrimination", "own_rates", "rate_spread", "speeds", "typical_rate"]

# Networks from which the typical rate is found, and their seed.
_MEASURED, _SEED = 24, 987
# Learning time that is looked through, and trials of the animals in it.
_LONGEST = 16.0
_CRITERION = 75.0


def discrimination(side: float = 1.0, delay: float = 0.25):  # type: ignore[no-untyped-def]
    """Return two cues that ask for opposite sides, the first for `side`."""
    return mixed(cue_task((1.0, 0.0), side, delay), cue_task((0.0, 1.0), -side, delay))


@lru_cache(maxsize=32)
def speeds(subjects: str, learner: Learner) -> tuple[float, ...]:
    """Return how fast networks learn, per unit of learning time, one by one.

    Of mice one over the learning time in which a discrimination of two cues is right in 75% of
    trials; of people and monkeys the rate at which the error after a rotation by 30 degrees falls.

    Parameters
    ----------
    subjects : {"mice", "people", "monkeys"}
        Whose task.
    learner : Learner
        What learns.

    Returns
    -------
    tuple of float
        Speeds of 24 networks; 0 where a network did not get there.
    """
    of = _of_discrimination if subjects == "mice" else _of_rotation
    found = []
    for network in naive_networks(_MEASURED, _SEED, n_out=1 if subjects == "mice" else 2):
        try:
            found.append(of(network, learner))
        except FAILURES:
            found.append(0.0)
    return tuple(found)


def _of_discrimination(network: object, learner: Learner) -> float:
    """Return one over the learning time to 75% correct."""
    # the lapses of animals are few: the output that makes 75% right without them
    margin = DECISION_NOISE * 0.6745
    animal, time = Animal(network, 1.0, learner), 0.0
    step = 0.05
    while time < _LONGEST:
        y = animal.train(discrimination(), step, 5)[..., 0] * np.array([1.0, -1.0])
        course = y.mean(axis=-1).ravel()
        if course[-1] >= margin:
            first = int(np.argmax(course >= margin))
            return 1.0 / (time + step * 5 * (first + 0.5) / len(course))
        time += 5 * step
        step = min(step * 1.5, 0.5)
    return 0.0


def _of_rotation(network: object, learner: Learner) -> float:
    """Return the rate at which the error after a rotation falls, over its first three quarters."""
    animal = trained_reacher(Animal(network, 1.0, learner))
    turned = reach(30.0)
    targets = turned.targets[:, -1]
    first = abs(float(angles_between(animal.outputs(turned), targets).mean()))
    time, step = 0.0, 0.01
    while time < _LONGEST:
        animal.train(turned, step, 5)
        time += 5 * step
        error = abs(float(angles_between(animal.outputs(turned), targets).mean()))
        if error < 0.5 * first:
            return float(np.log(first / error) / time)
        step = min(step * 1.3, 0.25)
    return 0.0


def trained_reacher(animal: Animal, readout: float = 1.0) -> Animal:
    """Train an animal to reach until the error is small, as those are that come to the experiment.

    Parameters
    ----------
    animal : Animal
        Naive.
    readout : float, default 1.0
        Relative rate at which the readout learns.

    Returns
    -------
    Animal
        The same, trained.
    """
    rate, animal.rate = animal.rate, 1.0
    drug = None if readout == 1.0 else {"out": readout}
    time, step = 0.0, 0.1
    while time < 4 * _LONGEST:
        animal.train(reach(), step, 5, drug=drug)
        off = animal.outputs(reach()) - reach().targets[:, -1]
        if np.sqrt(np.mean(off**2)) < 0.03:
            break
        time += 5 * step
        step = min(step * 1.5, 1.0)
    animal.rate = rate
    return animal


def typical_rate(subjects: str, learner: Learner | None = None) -> float:
    """Return the learning time of one trial of a typical animal.

    Parameters
    ----------
    subjects : {"mice", "people", "monkeys"}
        Mice need as many trials to the criterion of a discrimination as those of
        `behaviour_defaults` (``mouse_trials_to_criterion``); people, and monkeys for want of data,
        adapt at ``human_adaptation_rate``.
    learner : Learner, optional
        What learns.

    Returns
    -------
    float
        Learning time of a trial.

    Raises
    ------
    InputError
        If half of the networks or more do not learn by this learner.
    """
    learner = Learner() if learner is None else learner
    middle = float(np.median(speeds(subjects, learner)))
    if middle == 0:
        raise InputError(
            f"most networks do not learn what a typical rate is set by: {learner.name}."
        )
    if subjects == "mice":
        return 1.0 / (middle * typical_value("mouse_trials_to_criterion"))
    # a cycle is four reaches
    return typical_value("human_adaptation_rate") / (4.0 * middle)


def _spreads(subjects: str, learner: Learner) -> tuple[float, float, float, str]:
    """Return sd of log of speeds: of networks, measured, left for rates; and the measured name."""
    found = np.array(speeds(subjects, learner))
    hidden = float(np.std(np.log(found[found > 0]), ddof=1))
    name = "mouse_learning_rate_sd_log" if subjects == "mice" else "human_adaptation_rate_sd_log"
    measured = typical_value(name)
    return hidden, measured, float(np.sqrt(max(0.0, measured**2 - hidden**2))), name


def rate_spread(subjects: str) -> str:
    """Say in words where the spread of learning speeds comes from."""
    hidden, measured, left, name = _spreads(subjects, Learner())
    own = (
        f"simulated ones have rates of their own, which add {left:.2f}"
        if left
        else "simulated ones need no rates of their own"
    )
    return (
        f"learning speeds of simulated animals differ by {hidden:.2f} (standard deviation of the "
        f"log) through hidden overlaps (HiddenPrior); those of real ones by {measured:.2f} "
        f"(behaviour_defaults: {name}), so that {own}"
    )


def own_rates(subjects: str, learner: Learner, n: int, seed: int) -> Array:
    """Draw the learning time of a trial of each animal.

    Their spread is what is left of the measured spread of speeds beside that of the networks.

    Parameters
    ----------
    subjects : str
        Whose.
    learner : Learner
        What learns.
    n : int
        Animals.
    seed : int
        Seed.

    Returns
    -------
    numpy.ndarray, (n,)
        Rates.
    """
    left = _spreads(subjects, learner)[2]
    rng = np.random.default_rng([seed, 17])
    return typical_rate(subjects, learner) * np.exp(left * rng.standard_normal(n))
