"""Learning runs that the predictions share: one seed a network, failures kept as rows."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from predictlearn.checks import positive_int
from predictlearn.errors import InputError
from predictlearn.theory.learning.descent import learn
from predictlearn.theory.learning.local_rules import LocalRule
from predictlearn.theory.learning.many import FAILURES, learn_many
from predictlearn.theory.learning.phases import Leg
from predictlearn.theory.learning.rules import GradientFlow, Rule
from predictlearn.theory.learning.span import FactorTrajectory, SynapticTrajectory
from predictlearn.theory.learning.trajectory import Trajectory
from predictlearn.theory.overlaps import Overlaps
from predictlearn.theory.trials import Task
from predictlearn.workers import Parallel, delayed

__all__ = ["Run", "child_seeds", "in_a_world", "reasons_in_brief", "rules_of", "run_all"]

# A reason is told up to so many characters, and so many kinds of reasons.
_LONGEST, _KINDS = 160, 3


def rules_of(
    rule: Rule | LocalRule | Sequence[Rule | LocalRule], n: int
) -> tuple[Rule | LocalRule, ...]:
    """Return one rule a start: the same for all, or as given.

    Parameters
    ----------
    rule : Rule or sequence of Rule
        How networks learn; a sequence holds the rule of each start, in their order.
    n : int
        Number of starts.

    Returns
    -------
    tuple of Rule
        One a start.

    Raises
    ------
    InputError
        If a sequence has another length.
    """
    if not isinstance(rule, Sequence):
        return (rule,) * n
    if len(rule) != n:
        raise InputError(f"rule must be one rule, or one a start, {n}; got {len(rule)}.")
    return tuple(rule)


def in_a_world(task: Task) -> bool:
    """Return whether a task's output moves a world, which the input may report."""
    return getattr(task, "world", None) is not None


def rules_said(rules: Sequence[Rule | LocalRule]) -> str:
    """Return rules as text for the settings."""
    return repr(rules[0]) if len(set(map(repr, rules))) == 1 else "one a start"


def reasons_in_brief(reasons: Sequence[str]) -> str:
    """Say why networks failed in a line: kinds of reasons with how many had each.

    Parameters
    ----------
    reasons : sequence of str
        One a network.

    Returns
    -------
    str
        The commonest kinds, each by its first example, shortened.

    Examples
    --------
    >>> reasons_in_brief(["the loss reached 2 at epoch 5", "the loss reached 3 at epoch 7"])
    '2: the loss reached 2 at epoch 5'
    """
    kinds: dict[str, list[str]] = {}
    for reason in reasons:
        kinds.setdefault(re.sub(r"[-+]?[\d.]+(e[-+]?\d+)?", "#", reason), []).append(reason)
    common = sorted(kinds.values(), key=len, reverse=True)
    said = [f"{len(same)}: {shorten(same[0], _LONGEST)}" for same in common[:_KINDS]]
    left = sum(map(len, common[_KINDS:]))
    return "; ".join(said) + (f"; {left}: other reasons" if left else "")


def shorten(text: str, longest: int = _LONGEST) -> str:
    """Return text in one line, cut at a word where it is long."""
    text = " ".join(text.split())
    return text if len(text) <= longest else text[:longest].rsplit(" ", 1)[0] + " ..."


@dataclass(frozen=True)
class Run:
    """What came of one network's learning, phase after phase.

    Parameters
    ----------
    epochs : tuple of numpy.ndarray
        Epochs of the losses, by phase.
    losses : tuple of numpy.ndarray
        Losses, by phase.
    ends : tuple of Overlaps or Synapses
        The network after each phase.
    kept_epochs : tuple of numpy.ndarray
        Epochs of the networks that were kept on the way, by phase.
    kept : tuple of numpy.ndarray, (rows, D, D) or (rows, D, columns) each
        Their overlaps; where synapses learn [m w z] in the span of the start.
    failure : str
        Empty, or why learning stopped.
    """

    epochs: tuple[np.ndarray, ...]
    losses: tuple[np.ndarray, ...]
    ends: tuple[Any, ...]
    kept_epochs: tuple[np.ndarray, ...] = ()
    kept: tuple[np.ndarray, ...] = ()
    failure: str = ""


def child_seeds(seed: int, n: int) -> list[int]:
    """Return n independent seeds; the first k do not depend on n."""
    positive_int("seed", seed, minimum=0)
    children = np.random.SeedSequence(seed).spawn(n)
    return [int(child.generate_state(1)[0]) for child in children]


class _SoFar:
    """What has come of one network so far: the phases behind it, or why it stopped."""

    def __init__(self, start: Overlaps) -> None:
        self.failure = ""
        self.overlaps: Any = start
        self.paths: list[Any] = []
        self.ends: list[Any] = []

    def add(self, outcome: Trajectory | SynapticTrajectory | Exception) -> None:
        """Add a phase, or how it failed."""
        number = len(self.paths) + 1
        if isinstance(outcome, Exception):
            self.failure = f"phase {number}: {outcome}"
            return
        try:
            end = outcome.final
        except InputError as error:
            self.failure = f"phase {number}: {error}"
            return
        # learning goes on with the same feedback
        self.overlaps = outcome.end if isinstance(outcome, FactorTrajectory) else end
        self.paths.append(outcome)
        self.ends.append(end)

    def run(self) -> Run:
        """Return all of it."""
        if self.failure:
            return Run((), (), (), failure=self.failure)
        return Run(
            tuple(np.asarray(path.loss_epochs, dtype=float) for path in self.paths),
            tuple(np.asarray(path.losses, dtype=float) for path in self.paths),
            tuple(self.ends),
            tuple(np.asarray(path.epochs, dtype=float) for path in self.paths),
            tuple(_kept_of(path) for path in self.paths),
        )


def _kept_of(path: Trajectory | SynapticTrajectory) -> np.ndarray:
    """Return what is kept of the networks along learning."""
    if isinstance(path, SynapticTrajectory):
        return np.concatenate([path.m, path.w, path.z], axis=2)
    return np.asarray(path.array)


def _run(
    start: Overlaps,
    phases: Sequence[Leg],
    nonlinearity: str,
    tau: float,
    seeds: Sequence[int],
    rows: int,
    learns: str,
) -> Run:
    """Let one network learn one phase after another."""
    so_far = _SoFar(start)
    for phase, seed in zip(phases, seeds, strict=True):
        every = 1 if isinstance(phase.rule, GradientFlow) else max(1, int(phase.epochs / rows))
        how = (phase.task, phase.rule, phase.epochs, nonlinearity, tau, seed, every)
        try:
            so_far.add(learn(so_far.overlaps, *how, learns=learns))
        except FAILURES as error:
            so_far.add(error)
        except InputError as error:
            # a loop that this network makes unstable: others may not
            if not in_a_world(phase.task):
                raise
            so_far.add(error)
        if so_far.failure:
            break
    return so_far.run()


def _side_by_side(
    jobs: Sequence[tuple[Overlaps, Sequence[Leg], Sequence[int]]],
    nonlinearity: str,
    tau: float,
    n_jobs: int,
    rows: int,
) -> list[Run]:
    """Let networks that learn the same phases learn them side by side."""
    so_far = [_SoFar(start) for start, _, _ in jobs]
    groups: dict[tuple, list[int]] = {}
    for index, (_, phases, _) in enumerate(jobs):
        same = tuple((id(phase.task), repr(phase.rule), phase.epochs) for phase in phases)
        groups.setdefault(same, []).append(index)
    for group in groups.values():
        for number, phase in enumerate(jobs[group[0]][1]):
            members = [index for index in group if not so_far[index].failure]
            rule: Any = phase.rule
            outcomes = learn_many(
                [so_far[index].overlaps for index in members],
                phase.task,
                rule,
                phase.epochs,
                nonlinearity,
                tau,
                [jobs[index][2][number] for index in members],
                max(1, int(phase.epochs / rows)),
                n_jobs=n_jobs,
            )
            for index, outcome in zip(members, outcomes, strict=True):
                so_far[index].add(outcome)
    return [one.run() for one in so_far]


def run_all(
    jobs: Sequence[tuple[Overlaps, Sequence[Leg], Sequence[int]]],
    nonlinearity: str,
    tau: float,
    n_jobs: int,
    rows: int = 1,
    learns: str = "factors",
) -> list[Run]:
    """Run several networks, in parallel if asked; the result does not depend on `n_jobs`.

    Parameters
    ----------
    jobs : sequence of (start, phases, seeds)
        One seed a phase.
    nonlinearity : {"linear", "erf"}
        Which phi.
    tau : float
        Time constant in seconds.
    n_jobs : int
        Number of processes, as in joblib; of threads where factors learn in an open loop.
    rows : int
        Keep the overlaps at about so many epochs of each phase, beside the start.
    learns : {"factors", "synapses"}, default "factors"
        What learns.

    Returns
    -------
    list of Run
        In the order of the jobs.

    Examples
    --------
    >>> import predictlearn as pl
    >>> start = pl.Overlaps(np.eye(4)).replace(zu=0.1, vm=0.1)
    >>> phase = pl.Leg(pl.Filter(duration=5.0), 10, pl.GradientDescent(5e-3))
    >>> run = run_all([(start, [phase], [0])], "linear", 1.0, 1)[0]
    >>> len(run.losses[0]), run.failure
    (11, '')
    """
    flows = any(isinstance(phase.rule, GradientFlow) for _, phases, _ in jobs for phase in phases)
    apart = learns == "synapses" or any(
        isinstance(phase.rule, LocalRule) or in_a_world(phase.task)
        for _, phases, _ in jobs
        for phase in phases
    )
    if not flows and not apart:
        return _side_by_side(jobs, nonlinearity, tau, n_jobs, rows)
    # learning in the span is Python for the most part, which threads would run one at a time
    where: dict[str, Any] = {} if apart else {"prefer": "threads"}
    return list(
        Parallel(n_jobs=n_jobs, **where)(
            delayed(_run)(start, phases, nonlinearity, tau, seeds, rows, learns)
            for start, phases, seeds in jobs
        )
    )
