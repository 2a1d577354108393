"""Who learns in a simulated animal, and by which rule: what the catalogue is checked against."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from predictlearn.errors import choice
from predictlearn.theory.learning.local_rules import RFLO, FeedbackAlignment
from predictlearn.theory.learning.rules import GradientDescent
from predictlearn.theory.learning.span import LEARNERS as WHAT_LEARNS
from predictlearn.theory.synapses.network import Feedback

__all__ = ["LEARNERS", "Learner"]

RULES = ("descent", "feedback-alignment", "rflo")


@dataclass(frozen=True)
class Learner:
    """What learns, and by which rule.

    Parameters
    ----------
    learns : {"factors", "synapses"}, default "factors"
        What learns, as in `learn`.
    rule : {"descent", "feedback-alignment", "rflo"}, default "descent"
        How errors reach it; feedback that is not the readout is random.
    feedback : Feedback, optional
        In place of random feedback.

    Examples
    --------
    >>> Learner("synapses", "rflo").name
    'synapses, rflo'
    """

    learns: str = "factors"
    rule: str = "descent"
    feedback: Feedback = field(default_factory=Feedback)

    def __post_init__(self) -> None:
        choice("learns", self.learns, WHAT_LEARNS)
        choice("rule", self.rule, RULES)

    @property
    def name(self) -> str:
        """What learns and how, in two words."""
        return f"{self.learns}, {self.rule}"

    @property
    def plain(self) -> bool:
        """Whether overlaps alone follow it: factors by descent."""
        return self.learns == "factors" and self.rule == "descent"

    def rule_of(
        self, rate: float, noise: float = 0.0, drug: Mapping[str, float] | None = None
    ) -> Any:
        """Return the rule of one update.

        Parameters
        ----------
        rate : float
            Step of the update.
        noise : float, default 0.0
            Standard deviation of noise on the target in every bin.
        drug : mapping, optional
            Relative rates of pathways: "in" (m), "recurrent" (u and v, or the synapses w), "out"
            (z).

        Returns
        -------
        GradientDescent, FeedbackAlignment or RFLO
            The rule.
        """
        recurrent = ("w",) if self.learns == "synapses" else ("u", "v")
        columns = {"in": ("m",), "recurrent": recurrent, "out": ("z",)}
        rates = {c: r for name, r in (drug or {}).items() for c in columns[name]} or None
        if self.rule == "descent":
            return GradientDescent(rate, pathway_rates=rates, target_noise=noise)
        kind = FeedbackAlignment if self.rule == "feedback-alignment" else RFLO
        return kind(rate, self.feedback, pathway_rates=rates, target_noise=noise)


LEARNERS = tuple(Learner(learns, rule) for learns in WHAT_LEARNS for rule in RULES)
