"""For whom a prediction holds: what learns, and what the other learner would do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from predictlearn.errors import InputError, choice
from predictlearn.predictions.runs import in_a_world
from predictlearn.theory.learning.local_rules import RFLO, LocalRule, NodePerturbation
from predictlearn.theory.learning.rules import GradientDescent, GradientFlow, Rule
from predictlearn.theory.learning.span import LEARNERS
from predictlearn.theory.trials import Task

__all__ = [
    "IN_WORDS",
    "agreement",
    "check_learns",
    "few",
    "holds",
    "learner_in_words",
    "leaves_overlaps",
    "other_learner",
    "rule_in_words",
    "rule_of_other",
]

IN_WORDS = {
    "factors": "the factors U and V of the connectivity learn",
    "synapses": "the synapses W themselves learn",
}
# The other learner is tried in so many networks, spread over all.
_FEW = 12
# From this share of networks with the same sign on a prediction holds, not only in part.
_MOST = 0.9


_IN_SPAN = "GradientDescent, GradientFlow, FeedbackAlignment or RFLO"


def leaves_overlaps(learns: str, rules: Sequence[Rule | LocalRule], tasks: Sequence[Task]) -> bool:
    """Return whether learning is followed in the span of the start, not by overlaps alone.

    Where synapses learn, errors have feedback of their own, or the output moves a world.
    """
    return (
        learns == "synapses"
        or any(isinstance(rule, LocalRule) for rule in rules)
        or any(in_a_world(task) for task in tasks)
    )


def check_learns(
    learns: str,
    nonlinearity: str,
    rules: Sequence[Rule | LocalRule],
    tasks: Sequence[Task] = (),
) -> None:
    """Raise InputError unless these networks can learn these tasks so by these rules."""
    choice("learns", learns, LEARNERS)
    for rule in rules:
        if isinstance(rule, NodePerturbation):
            raise InputError(
                "NodePerturbation is learned by N neurons, not predicted from overlaps, since its "
                "noise leaves the span of the start: run a protocol with engine: network and rule: "
                "{type: node-perturbation}, or predict by its mean, GradientDescent."
            )
        if not isinstance(rule, Rule | LocalRule):
            raise InputError(f"rule must be {_IN_SPAN}; got {type(rule).__name__}.")
    if not leaves_overlaps(learns, rules, tasks):
        return
    what = "learns='synapses'"
    if learns == "factors":
        local = [type(rule).__name__ for rule in rules if isinstance(rule, LocalRule)]
        what = local[0] if local else "a closed loop"
    if nonlinearity != "linear":
        raise InputError(
            f"{what} is predicted for linear networks only; of others the equations hold by a "
            f"closure that is not accounted for here: nonlinearity is {nonlinearity!r}. Networks "
            "of N neurons have it: pl.train_network, or a protocol with engine: network."
        )
    for rule in rules:
        if not isinstance(rule, GradientDescent | GradientFlow | LocalRule):
            raise InputError(f"{what} needs {_IN_SPAN}; got {type(rule).__name__}.")
        if getattr(rule, "synaptic_noise", 0.0) > 0:
            raise InputError(
                f"{what} cannot have synaptic_noise, which leaves the span of the start; "
                "pl.train_network has it."
            )


def rule_in_words(rule: Rule | LocalRule) -> str:
    """Return by which rule networks learn, in words; empty for the gradient itself."""
    if not isinstance(rule, LocalRule):
        given = isinstance(rule, GradientDescent) and rule.loop == "given"
        return "descent that takes the input as given" if given else ""
    name = "RFLO" if isinstance(rule, RFLO) else "feedback alignment"
    feedback = rule.feedback
    if np.any(feedback.decoder) and feedback.private == 0:
        return f"{name}, errors coming back by fixed vectors made of the first readout"
    also = " and the first readout" if np.any(feedback.decoder) else ""
    return f"{name}, errors coming back by fixed random vectors{also}"


def learner_in_words(learns: str, rule: Rule | LocalRule) -> str:
    """Return who learns by which rule, in words, to follow "where"."""
    by = rule_in_words(rule)
    return IN_WORDS[learns] + (f" by {by}" if by else "")


def other_learner(learns: str) -> str:
    """Return the other of the two learners."""
    return next(name for name in LEARNERS if name != learns)


def rule_of_other(rule: Rule | LocalRule, learns: str, nonlinearity: str) -> Rule | LocalRule | str:
    """Return the rule by which the other learner learns, or why there is none."""
    if nonlinearity != "linear":
        return "it is computed for linear networks only"
    if not isinstance(rule, GradientDescent | GradientFlow | LocalRule):
        return f"{type(rule).__name__} is a rule of overlaps"
    if getattr(rule, "synaptic_noise", 0.0) > 0:
        return "noise on synapses leaves the span of the start"
    rates = dict(rule.pathway_rates or {})
    if learns == "factors":
        u, v = rates.pop("u", 1.0), rates.pop("v", 1.0)
        if u != v:
            return "u and v learn at different rates"
        rates["w"] = u
    else:
        rates["u"] = rates["v"] = rates.pop("w", 1.0)
    return replace(rule, pathway_rates=rates)


def few(there: Sequence[int]) -> list[int]:
    """Return at most a dozen of the indices, evenly spread."""
    at = np.unique(np.linspace(0, len(there) - 1, min(_FEW, len(there))).round().astype(int))
    return [there[int(k)] for k in at]


def agreement(own: np.ndarray, other: np.ndarray) -> str:
    """Say in how many networks an effect has the same sign, and whether it so holds for both.

    Parameters
    ----------
    own, other : numpy.ndarray, (networks,)
        The effect in the same networks by either learner.

    Examples
    --------
    >>> agreement(np.array([0.1, 0.2]), np.array([0.3, 0.1]))
    'with the same sign in 2 of 2 networks: it holds for both'
    """
    same = int(np.sum(np.sign(own) == np.sign(other)))
    return f"with the same sign in {same} of {len(own)} networks: {holds(own, other, True)}"


def holds(own: np.ndarray, other: np.ndarray, both: bool = False) -> str:
    """Return in words whether an effect holds for the other learner too, by its signs.

    Parameters
    ----------
    own, other : numpy.ndarray, (networks,)
        The effect in the same networks by either learner.
    both : bool, default False
        Speak of both, not of the other.
    """
    same = int(np.sum(np.sign(own) == np.sign(other)))
    if same >= _MOST * len(own):
        return "it holds for both" if both else "it holds too"
    if np.sign(own.mean()) == np.sign(other.mean()):
        return "it holds for both in part" if both else "it holds in part"
    return "it does not hold for the other" if both else "it does not hold"
