"""For whom a prediction holds: what learns, and what the other learner would do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from predictlearn.errors import InputError, choice
from predictlearn.theory.learning.rules import GradientDescent, GradientFlow, Rule
from predictlearn.theory.learning.span import LEARNERS

__all__ = ["IN_WORDS", "agreement", "check_learns", "few", "other_learner", "rule_of_other"]

IN_WORDS = {
    "factors": "the factors U and V of the connectivity learn",
    "synapses": "the synapses W themselves learn",
}
# The other learner is tried in so many networks, spread over all.
_FEW = 12
# From this share of networks with the same sign on a prediction holds, not only in part.
_MOST = 0.9


def check_learns(learns: str, nonlinearity: str, rules: Sequence[Rule]) -> None:
    """Raise InputError unless these networks can learn so by these rules."""
    choice("learns", learns, LEARNERS)
    if learns == "factors":
        return
    if nonlinearity != "linear":
        raise InputError(
            "learns='synapses' is predicted for linear networks only; of others the equations hold "
            f"by a closure that is not accounted for here: nonlinearity is {nonlinearity!r}."
        )
    for rule in rules:
        if not isinstance(rule, GradientDescent | GradientFlow):
            raise InputError(
                "learns='synapses' needs GradientDescent or GradientFlow; got "
                f"{type(rule).__name__}."
            )


def other_learner(learns: str) -> str:
    """Return the other of the two learners."""
    return next(name for name in LEARNERS if name != learns)


def rule_of_other(rule: Rule, learns: str, nonlinearity: str) -> Rule | str:
    """Return the rule by which the other learner learns, or why there is none."""
    if nonlinearity != "linear":
        return "it is computed for linear networks only"
    if not isinstance(rule, GradientDescent | GradientFlow):
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
    if same >= _MOST * len(own):
        word = "it holds for both"
    elif np.sign(own.mean()) == np.sign(other.mean()):
        word = "it holds for both in part"
    else:
        word = "it does not hold for the other"
    return f"with the same sign in {same} of {len(own)} networks: {word}"
