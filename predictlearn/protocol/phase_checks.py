"""Checks of phases and animals: probes, rests, criteria, sessions, drop-out, and their names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from predictlearn.behaviour.distributions import median_of
from predictlearn.errors import nearest
from predictlearn.protocol.schema import ArmStep, ProtocolSpec
from predictlearn.protocol.source import Location, Problem

__all__ = ["check_animals", "check_steps", "unknown"]

# What a rule carries from epoch to epoch, which is lost where training is looked at in between.
_CARRIED = ("momentum", "schedule")
_CARRYING = ("adam", "rmsprop")


def unknown(name: str, what: str, allowed: Any) -> str | None:
    """Return what is wrong with a name, with the nearest one, or None if it is allowed."""
    allowed = list(allowed)
    if name in allowed:
        return None
    same = [other for other in allowed if sorted(other.lower()) == sorted(name.lower())]
    close = same[0] if same else nearest(name, allowed)
    hint = f". Did you mean {close!r}?" if close else ""
    return f"{name!r} is not one of {what}: {', '.join(allowed)}{hint}"


def check_steps(spec: ProtocolSpec) -> list[Problem]:
    """Return what is wrong with the phases themselves: names, tasks, sessions, what is forgotten.

    Parameters
    ----------
    spec : ProtocolSpec
        The protocol.
    """
    problems: list[Problem] = []
    used, forgotten_anywhere = False, any(spec.forgets(arm) for arm in spec.arms)
    for arm in spec.arms:
        labels: dict[str, int] = {}
        for index, step in enumerate(spec.steps(arm)):
            used = used or step.in_session
            if step.part:
                continue
            if labels.setdefault(step.label, step.number) != step.number:
                problems.append((step.place, f"the name {step.label!r} comes twice in this arm"))
            problems += _check_tasks(spec, step)
            problems += _check_until(spec, arm, step)
            for place, forgotten in _forgetting(spec, step):
                have, who = "muvz", "factors learn"
                if spec.is_synaptic(arm, index):
                    have, who = "mwz", "synapses learn"
                problems += [
                    ((*place, name), f"{name!r} is no pathway where {who}; {_these(have)}")
                    for name in forgotten
                    if name not in have
                ]
            if step.phase.consolidated and not forgotten_anywhere:
                said = "nothing is forgotten in this protocol: it has no rest, and no forgetting"
                problems.append(((*step.place, "consolidated"), said))
            if step.in_session and spec.sessions is None:
                said = (
                    "this needs sessions of the protocol, such as "
                    "sessions: {trials: 300, epochs_per_trial: 0.1}"
                )
                problems.append(((*step.place, "sessions"), said))
    if spec.sessions is not None and not used:
        said = "no phase is in sessions; give a phase sessions: 10 in place of epochs"
        problems.append((("sessions",), said))
    return problems


def _these(pathways: str) -> str:
    """Return which pathways there are, in words."""
    return f"these are {', '.join(pathways)}"


def _check_tasks(spec: ProtocolSpec, step: ArmStep) -> list[Problem]:
    """Return the tasks that are named and are not there."""
    phase = step.phase
    at: Location = (*step.place, "task")
    named = [(at if isinstance(phase.task, str) else (*at, name), name) for name in phase.shares]
    if phase.probe is not None:
        named.append(((*step.place, "probe"), phase.probe))
    if phase.until is not None and phase.until.on is not None:
        named.append(((*step.place, "until", "on"), phase.until.on))
    found = [(place, unknown(name, "the tasks", spec.tasks)) for place, name in named]
    return [(place, wrong) for place, wrong in found if wrong is not None]


def _check_until(spec: ProtocolSpec, arm: str, step: ArmStep) -> list[Problem]:
    """Return why training cannot be looked at in between."""
    until = step.phase.until
    if until is None or until.on is None:
        return []
    whole = spec.rule_of(arm, step.phase)
    carried = [name for name in _CARRIED if getattr(whole, name)]
    if whole.kind in _CARRYING:
        carried.append(f"the running means of {whole.kind}")
    if not carried:
        return []
    said = (
        f"the loss on another task is looked at between stretches of training, and "
        f"{' and '.join(carried)} would begin anew in each; leave this out, or use the loss in "
        "training (without on)"
    )
    return [((*step.place, "until", "on"), said)]


def _forgetting(
    spec: ProtocolSpec, step: ArmStep
) -> Iterator[tuple[Location, Mapping[str, float]]]:
    """Yield where a step says by pathway what is forgotten."""
    for key in ("rest", "forgetting"):
        value = getattr(step.phase, key)
        if isinstance(value, dict):
            yield (*step.place, key), value
    if step.in_session and spec.sessions is not None:
        value = spec.sessions.forgetting
        if isinstance(value, dict):
            yield ("sessions", "forgetting"), value


def check_animals(spec: ProtocolSpec) -> list[Problem]:
    """Return what of the animals does not go with the rest of the protocol.

    Parameters
    ----------
    spec : ProtocolSpec
        The protocol.
    """
    problems = _check_sizes(spec)
    animals, dropout = spec.cohort.animals, spec.cohort.dropout
    if animals is not None and animals.sessions is not None:
        problems += _check_own_sessions(spec, animals.sessions)
    if animals is not None and "noise" in animals.model_fields_set:
        rules = [
            spec.rule_of(arm, step.phase)
            for arm in spec.arms
            for step in spec.steps(arm)
            if step.phase.trains and not step.part
        ]
        if not any(rule.target_noise or rule.synaptic_noise for rule in rules):
            said = "no rule has noise to be multiplied; state its target_noise or synaptic_noise"
            problems.append((("cohort", "animals", "noise"), said))
    if dropout is None:
        return problems
    if dropout.by_session and spec.sessions is None:
        said = "animals drop out after sessions, and the protocol has none; use after_epoch"
        problems.append((("cohort", "dropout"), said))
    seen: set[int] = set()
    for number, row in enumerate(dropout.table or ()):
        at: Location = ("cohort", "dropout", "table", number, "network")
        if row.network >= spec.n_networks:
            last = spec.n_networks - 1
            problems.append((at, f"there are networks 0 to {last}; got {row.network}"))
        if row.network in seen:
            problems.append((at, f"network {row.network} comes twice"))
        seen.add(row.network)
    return problems


def _check_sizes(spec: ProtocolSpec) -> list[Problem]:
    """Return what of the sizes of groups does not go with the arms."""
    sizes, at = spec.cohort.sizes, ("cohort", "sizes")
    if sizes is None:
        return []
    if spec.cohort.design == "within":
        said = (
            "groups have sizes where arms are different animals, design: between; in design: "
            "within every network goes through all arms, and networks says how many"
        )
        return [(at, said)]
    named = [((*at, name), unknown(name, "the arms", spec.arms)) for name in sizes]
    problems: list[Problem] = [(place, wrong) for place, wrong in named if wrong is not None]
    missing = [name for name in spec.arms if name not in sizes]
    if missing:
        said = f"the size of {', '.join(map(repr, missing))} is missing: every arm has one"
        problems.append((at, said))
    if "networks" in spec.cohort.model_fields_set and not problems:
        said = (
            f"sizes says how many networks each arm has, {sum(sizes.values())} together; leave "
            f"this out; got {spec.cohort.networks}"
        )
        problems.append((("cohort", "networks"), said))
    return problems


def _check_own_sessions(spec: ProtocolSpec, own: Any) -> list[Problem]:
    """Return why animals cannot have numbers of sessions of their own."""
    at: Location = ("cohort", "animals", "sessions")
    steps = [step for arm in spec.arms for step in spec.steps(arm)]
    most = max((step.parts for step in steps if step.in_session), default=0)
    if most == 0:
        return [(at, "no phase is in sessions; give a phase sessions: 10 in place of epochs")]
    middle = median_of("sessions", own)
    if middle > most:
        said = (
            f"the phases have at most {most} sessions, and an animal has at most those of the "
            f"phase; half of the draws are above {middle:g}. Give the phases more sessions"
        )
        return [(at, said)]
    return []
