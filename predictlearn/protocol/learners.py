"""Checks of who learns in a protocol: synapses or factors, by which feedback, in which loop."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from predictlearn.errors import InputError
from predictlearn.protocol.rule import BEFORE, NEURONS_ONLY, FeedbackSpec, RuleSpec
from predictlearn.protocol.schema import PhaseSpec, ProtocolSpec
from predictlearn.protocol.source import Location, Problem
from predictlearn.protocol.state import learns_in_span
from predictlearn.tasks.registry import AnyTask
from predictlearn.theory.overlaps import Overlaps
from predictlearn.theory.synapses.gradients import runs_away
from predictlearn.theory.synapses.loops import loop_stability

__all__ = ["check_learner", "check_loop"]

_OF_OVERLAPS = ("first-order-descent", "direct-descent")
_WHY = (
    "synapses learn, errors have feedback of their own, the output moves a world, or something is "
    "forgotten"
)


def check_learner(
    spec: ProtocolSpec, tasks: Mapping[str, AnyTask], arm: str, number: int, at: Location
) -> list[Problem]:
    """Return what is wrong with who learns in one phase.

    Parameters
    ----------
    spec : ProtocolSpec
        The protocol.
    tasks : mapping of str to Task
        Its tasks.
    arm : str
        Name of the arm.
    number : int
        Which of its steps, from 0.
    at : tuple
        Where the rule of the phase is stated.
    """
    step = spec.steps(arm)[number]
    phase, synaptic = step.phase, spec.is_synaptic(arm, number)
    if phase.trained is None:
        return _check_readout(phase, (*step.place, "readout")) if synaptic else []
    whole, task = spec.rule_of(arm, phase), tasks.get(phase.trained)
    in_a_world = getattr(task, "world", None) is not None
    problems = _check_pathways(whole, synaptic, at)
    if whole.learns == "factors" and synaptic:
        said = "synapses that have learned have no factors; start factors in an arm of their own"
        problems.append(((*at, "learns"), said))
    if whole.kind in NEURONS_ONLY and (synaptic or in_a_world):
        said = f"{whole.kind} moves the factors of an open loop only; use gradient-descent"
        problems.append((at, said))
    if spec.engine_of(arm) == "theory" and learns_in_span(spec, tasks, arm):
        if whole.kind in _OF_OVERLAPS:
            said = f"{whole.kind} needs an arm in which overlaps say it all; in this one {_WHY}"
            problems.append((at, said))
        if whole.synaptic_noise:
            said = f"this leaves the span that is followed where {_WHY}"
            problems.append(((*at, "synaptic_noise"), said))
    if task is not None:
        problems += _check_feedback(spec, arm, number, whole, task.n_out, at)
    return problems


def _check_pathways(whole: RuleSpec, synaptic: bool, at: Location) -> list[Problem]:
    """Return the pathways that what learns does not have."""
    have, who = ("mwz", "synapses learn") if synaptic else ("muvz", "factors learn")
    return [
        ((*at, "pathway_rates"), f"{name!r} is no pathway where {who}; these are {', '.join(have)}")
        for name in whole.pathway_rates or {}
        if name not in have
    ]


def _check_readout(phase: PhaseSpec, place: Location) -> list[Problem]:
    """Return what cannot be said of a readout where synapses have learned."""
    of_factors = [name for name in phase.readout or {} if "u" in name or "v" in name]
    if not of_factors and not phase.within_manifold:
        return []
    said = (
        "where synapses have learned there are no u and v: a readout is changed by overlaps of z "
        "with m and with z, or by rotate_readout"
    )
    return [(place, said)]


def _check_feedback(
    spec: ProtocolSpec, arm: str, number: int, whole: RuleSpec, n_out: int, at: Location
) -> list[Problem]:
    """Return what is wrong with the feedback of a rule."""
    here: Location = (*at, "feedback")
    if not whole.has_feedback:
        return []
    if whole.feedback == BEFORE:
        if any(earlier.phase.kind == "readout" for earlier in spec.steps(arm)[:number]):
            return []
        return [(here, f"{BEFORE} needs a change of the readout before it in arm {arm!r}")]
    if isinstance(whole.feedback, FeedbackSpec):
        try:
            whole.feedback.build().mixing(n_out)
        except InputError as error:
            return [(here, str(error).removesuffix("."))]
    return []


def check_loop(
    spec: ProtocolSpec, tasks: Mapping[str, AnyTask], arm: str, start: Overlaps
) -> list[Problem]:
    """Return whether the loop that an arm learns first runs away from its start."""
    first = next((step.phase.trained for step in spec.steps(arm) if step.phase.trains), None)
    task = tasks.get(first or "")
    if task is None or getattr(task, "world", None) is None:
        return []
    loop = loop_stability(start, task, spec.tau)
    bins = task.sample(np.random.default_rng(0)).n_steps
    if not runs_away(loop.radius, loop.open_radius, bins):
        return []
    return [(("arms", arm), f"cannot learn {first!r} from the cohort's overlaps: {loop}")]
