"""Checks of a protocol that span several keys: names that refer to each other, sizes, starts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from predictlearn.errors import InputError, choice
from predictlearn.protocol.cohort import arm_start, draw_start
from predictlearn.protocol.given_tasks import GIVEN, PYTHON, named_task, own_task
from predictlearn.protocol.learners import check_learner, check_loop
from predictlearn.protocol.phase_checks import check_animals, check_steps, unknown
from predictlearn.protocol.rule import NETWORK_RULES, NEURONS_ONLY, PERTURBATION
from predictlearn.protocol.schema import MOST_DIMENSIONS, ArmStep, ProtocolSpec
from predictlearn.protocol.source import Location, Problem, Source
from predictlearn.tasks.mixture import Mixture
from predictlearn.tasks.registry import TASKS, AnyTask, get_task
from predictlearn.theory.learning.rules import GradientFlow
from predictlearn.theory.sizes import Sizes

__all__ = ["build_tasks", "check_names", "check_protocol"]

# Types of tasks that a file may name.
_KINDS = (*TASKS, PYTHON)


def build_tasks(spec: ProtocolSpec, source: Source) -> tuple[dict[str, AnyTask], list[Problem]]:
    """Return the tasks of a protocol, and what was wrong with those that could not be made."""
    tasks: dict[str, AnyTask] = {}
    problems: list[Problem] = []
    for name, content in spec.tasks.items():
        here: Location = ("tasks", name)
        settings = dict(content)
        kind = settings.pop("type", None)
        if kind is None:
            problems.append((here, f"the key 'type' is missing; it is one of {', '.join(_KINDS)}"))
            continue
        if not (kind == GIVEN and name in source.given):
            try:
                choice("type", kind, _KINDS)
            except InputError as error:
                problems.append(((*here, "type"), _sentence(error)))
                continue
        if kind == "arrays" and isinstance(settings.get("file"), str):
            settings["file"] = source.folder / settings["file"]
        try:
            tasks[name] = _made(name, kind, settings, source)
        except InputError as error:
            # messages begin with the setting they are about
            about = str(error).split(maxsplit=1)[0].rstrip(":,")
            problems.append(((*here, about) if about in settings else here, _sentence(error)))
    return {**tasks, **_mixtures(spec, tasks, problems)}, problems


def _made(name: str, kind: str, settings: dict[str, Any], source: Source) -> Any:
    """Return a task of ours, or one that the user wrote."""
    if kind == GIVEN:
        return own_task(f"the task {name!r}", source.given[name])
    if kind == PYTHON:
        return named_task(settings, source.folder, source.trust)
    return get_task(kind, **settings)


def _mixtures(
    spec: ProtocolSpec, tasks: Mapping[str, AnyTask], problems: list[Problem]
) -> dict[str, AnyTask]:
    """Return the mixtures that phases train, by name; what is wrong goes to the problems."""
    found: dict[str, AnyTask] = {}
    for _, _, step in _phases(spec):
        phase, name = step.phase, step.phase.trained
        shares = phase.shares
        if name is None or isinstance(phase.task, str) or name in found or set(shares) - set(tasks):
            continue
        parts, weights = [tasks[part] for part in shares], list(shares.values())
        try:
            found[name] = Mixture(parts, weights, phase.mixture or "interleaved")
        except InputError as error:
            problems.append(((*step.place, "task"), _sentence(error)))
    return found


def _sentence(error: InputError) -> str:
    """Return a message without its full stop."""
    return str(error).removesuffix(".")


def _phases(spec: ProtocolSpec) -> Iterable[tuple[str, int, ArmStep]]:
    """Yield arm, number of the step and step of every phase, repeated ones each time."""
    for arm in spec.arms:
        for number, step in enumerate(spec.steps(arm)):
            if step.part == 0:
                yield arm, number, step


def check_names(spec: ProtocolSpec, sizes: Sizes) -> list[Problem]:
    """Return the overlaps that networks of these sizes lack, or that may not be set there."""
    names = sizes.names
    invisible = sizes.invisible(spec.nonlinearity)
    spread = spec.cohort.spread if isinstance(spec.cohort.spread, dict) else {}
    places: list[tuple[Location, Mapping[str, Any], str, Iterable[str]]] = [
        (("cohort", "overlaps"), spec.cohort.overlaps or {}, "the overlaps", names),
        (("cohort", "spread"), spread, "the overlaps", names),
    ]
    if spec.cohort.animals is not None:
        own = spec.cohort.animals.start
        places.append((("cohort", "animals", "start"), own, "the overlaps", names))
    for arm, content in spec.arms.items():
        what = f"the loss-invisible overlaps ({spec.nonlinearity})"
        places += [
            (("arms", arm, "start"), content.start, what, invisible),
            (("arms", arm, "start_change"), content.start_change, what, invisible),
        ]
    with_z = [name for name in names if name.startswith("z")]
    for _, _, step in _phases(spec):
        readout = step.phase.readout or {}
        places.append(((*step.place, "readout"), readout, "the overlaps with z", with_z))
    problems: list[Problem] = []
    for place, values, what, allowed in places:
        for name in values:
            wrong = unknown(name, what, allowed)
            if wrong and name in names:  # an overlap, but not one of those: no guess at another
                wrong = wrong.rpartition(". Did you mean")[0] or wrong
            if wrong:
                problems.append(((*place, name), wrong))
    for arm, content in spec.arms.items():
        problems += [
            (("arms", arm, "start_change", name), f"{name!r} is set by start too; keep one of them")
            for name in set(content.start) & set(content.start_change)
        ]
    for _, _, step in _phases(spec):
        if step.phase.rotate_readout is not None and sizes.n_out != 2:
            problems.append(
                (
                    (*step.place, "rotate_readout"),
                    f"this needs tasks with two outputs; these have {sizes.n_out}",
                )
            )
    return problems


def _place_of_rule(spec: ProtocolSpec, arm: str, step: ArmStep) -> Location:
    """Return where the last word about the rule of a phase is said."""
    if step.phase.rule is not None:
        return (*step.place, "rule")
    return ("arms", arm, "rule") if spec.arms[arm].rule is not None else ("rule",)


def _check_phases(spec: ProtocolSpec, tasks: Mapping[str, AnyTask]) -> list[Problem]:
    """Return what is wrong with the rules of the phases, and with the phases themselves."""
    problems = check_steps(spec)
    n_trials = {
        name: task.sample(np.random.default_rng(0)).n_trials for name, task in tasks.items()
    }
    for arm, number, step in _phases(spec):
        phase, place = step.phase, step.place
        if phase.trained is None:
            problems += check_learner(spec, tasks, arm, number, place)
            continue
        at = _place_of_rule(spec, arm, step)
        whole = spec.rule_of(arm, phase)
        try:
            rule = whole.build()
        except InputError as error:
            problems.append((at, _sentence(error)))
            continue
        problems += check_learner(spec, tasks, arm, number, at)
        if spec.engine_of(arm) == "theory" and whole.kind in NEURONS_ONLY:
            problems.append(
                (
                    at,
                    f"{whole.kind} acts on single synapses, so it has no closed form in the "
                    "overlaps; it needs engine: network, for the protocol or for this arm",
                )
            )
        if spec.engine_of(arm) == "theory" and whole.kind == PERTURBATION:
            problems.append(
                (
                    at,
                    f"{PERTURBATION} makes noise in N neurons, which leaves the span that the "
                    "theory follows; it needs engine: network and n_neurons, for the protocol or "
                    "for this arm. Its mean is gradient-descent, and pl.node_perturbation_step has "
                    "the spread of a step in closed form",
                )
            )
        if spec.engine_of(arm) == "network" and whole.kind not in NETWORK_RULES:
            problems.append(
                (
                    at,
                    f"{whole.kind} moves the overlaps themselves, so it needs engine: theory; "
                    f"networks of neurons learn by {', '.join(NETWORK_RULES)}",
                )
            )
        task, shown = tasks.get(phase.trained), n_trials.get(phase.trained, 0)
        if whole.minibatch is not None and task is not None and whole.minibatch > shown:
            problems.append(
                (
                    (*at, "minibatch"),
                    f"must be at most the number of trials of task {phase.trained!r}, "
                    f"{shown}; got {whole.minibatch}",
                )
            )
        if isinstance(rule, GradientFlow) and task is not None and not task.fixed:
            problems.append(
                (
                    (*place, "task"),
                    "gradient-flow needs a task that shows the same trials in every "
                    f"epoch; {phase.trained!r} draws new ones",
                )
            )
    return problems


def _check_engines(spec: ProtocolSpec) -> list[Problem]:
    """Return which networks of neurons lack a size, and which sizes belong to none."""
    problems: list[Problem] = []
    none = "this goes with engine: network; the theory has none"
    for name, arm in spec.arms.items():
        if spec.engine_of(name) == "network" and spec.neurons_of(name) is None:
            at: Location = ("engine",) if arm.engine is None else ("arms", name, "engine")
            problems.append((at, "the network needs n_neurons: how many neurons it has"))
        if spec.engine_of(name) == "theory" and arm.n_neurons is not None:
            problems.append((("arms", name, "n_neurons"), none))
    if spec.n_neurons is not None and all(spec.engine_of(name) == "theory" for name in spec.arms):
        problems.append((("n_neurons",), none))
    return problems


def _check_start(spec: ProtocolSpec, tasks: Mapping[str, AnyTask], sizes: Sizes) -> list[Problem]:
    """Return why no network of the cohort can be drawn, or nothing."""
    cohort = spec.cohort
    dim = sizes.dim
    least = f"must be at least {dim}, the number of loading vectors"
    sizes_of_networks: list[tuple[Location, int | None]] = [(("n_neurons",), spec.n_neurons)]
    for name, arm in spec.arms.items():
        sizes_of_networks.append((("arms", name, "n_neurons"), arm.n_neurons))
    small = [(at, least) for at, n in sizes_of_networks if n is not None and n < dim]
    if small:
        return small
    if cohort.distribution is not None:
        n = cohort.distribution.n_neurons
        if n is not None and n < dim:
            return [(("cohort", "distribution", "n_neurons"), least)]
        return []
    middle = None if cohort.animals is None else cohort.animals.at_median()
    centre = cohort.model_copy(update={"spread": 0.0, "animals": middle})
    try:
        start = draw_start(centre, {}, sizes, spec.nonlinearity, np.random.default_rng(0))
    except InputError as error:
        return [(("cohort", "overlaps"), _sentence(error))]
    problems: list[Problem] = []
    for name, arm in spec.arms.items():
        try:
            begin = arm_start(start, arm, spec.nonlinearity)
        except InputError as error:
            at = ("arms", name, "start" if arm.start else "start_change")
            problems.append((at, _sentence(error)))
        else:
            problems += check_loop(spec, tasks, name, begin)
    return problems


def check_protocol(spec: ProtocolSpec, tasks: Mapping[str, AnyTask]) -> tuple[Sizes, list[Problem]]:
    """Return the sizes (n_in, rank, n_out) of a protocol's networks, and all that is wrong."""
    problems = _check_phases(spec, tasks)
    problems += _check_engines(spec)
    problems += check_animals(spec)
    for number, name in enumerate(spec.evaluate):
        wrong = unknown(name, "the tasks", spec.tasks)
        if wrong is None and name in spec.evaluate[:number]:
            wrong = f"{name!r} comes twice"
        if wrong:
            problems.append((("evaluate", number), wrong))
    first = next(iter(tasks))
    n_in, n_out = tasks[first].n_in, tasks[first].n_out
    for name, task in tasks.items():
        if (task.n_in, task.n_out) != (n_in, n_out):
            problems.append(
                (
                    ("tasks", name),
                    f"has {task.n_in} input(s) and {task.n_out} output(s), where "
                    f"{first!r} has {n_in} and {n_out}; one network cannot learn both",
                )
            )
        if spec.tau < task.dt:
            problems.append(
                (
                    ("tasks", name),
                    f"its bin width dt = {task.dt:g} s must be at most tau = {spec.tau:g} s",
                )
            )
    sizes = Sizes(n_in, spec.cohort.rank, n_out)
    if sizes.dim > MOST_DIMENSIONS:
        at: Location = ("cohort", "rank")
        said = f"{n_in} input(s), {n_out} output(s) and twice rank {spec.cohort.rank}"
        return sizes, [*problems, (at, f"{said} must be at most {MOST_DIMENSIONS} together")]
    problems += check_names(spec, sizes)
    if not problems:
        problems += _check_start(spec, tasks, sizes)
    return sizes, problems
