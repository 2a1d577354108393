"""Learning runs that the predictions share: one seed a network, failures kept as rows."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from predictlearn.checks import positive_int
from predictlearn.errors import DivergenceError, InputError
from predictlearn.theory.learning.descent import learn
from predictlearn.theory.learning.rules import GradientFlow, Rule
from predictlearn.theory.overlaps import Overlaps
from predictlearn.theory.trials import Task
from predictlearn.workers import Parallel, delayed

__all__ = ["Phase", "Run", "child_seeds", "reasons_in_brief", "rules_of", "run_all"]

# A reason is told up to so many characters, and so many kinds of reasons.
_LONGEST, _KINDS = 160, 3


def rules_of(rule: Rule | Sequence[Rule], n: int) -> tuple[Rule, ...]:
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


def rules_said(rules: Sequence[Rule]) -> str:
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
class Phase:
    """A phase of learning.

    Parameters
    ----------
    task : Task
        What is learned.
    rule : Rule
        How.
    epochs : float
        How long.
    """

    task: Task
    rule: Rule
    epochs: float


@dataclass(frozen=True)
class Run:
    """What came of one network's learning, phase after phase.

    Parameters
    ----------
    epochs : tuple of numpy.ndarray
        Epochs of the losses, by phase.
    losses : tuple of numpy.ndarray
        Losses, by phase.
    ends : tuple of Overlaps
        Overlaps after each phase.
    kept_epochs : tuple of numpy.ndarray
        Epochs of the overlaps that were kept on the way, by phase.
    kept : tuple of numpy.ndarray, (rows, D, D) each
        Those overlaps.
    failure : str
        Empty, or why learning stopped.
    """

    epochs: tuple[np.ndarray, ...]
    losses: tuple[np.ndarray, ...]
    ends: tuple[Overlaps, ...]
    kept_epochs: tuple[np.ndarray, ...] = ()
    kept: tuple[np.ndarray, ...] = ()
    failure: str = ""


def child_seeds(seed: int, n: int) -> list[int]:
    """Return n independent seeds; the first k do not depend on n."""
    positive_int("seed", seed, minimum=0)
    children = np.random.SeedSequence(seed).spawn(n)
    return [int(child.generate_state(1)[0]) for child in children]


def _run(
    start: Overlaps,
    phases: Sequence[Phase],
    nonlinearity: str,
    tau: float,
    seeds: Sequence[int],
    rows: int,
) -> Run:
    """Let one network learn one phase after another."""
    epochs: list[np.ndarray] = []
    losses: list[np.ndarray] = []
    ends: list[Overlaps] = []
    kept: list[tuple[np.ndarray, np.ndarray]] = []
    for number, (phase, seed) in enumerate(zip(phases, seeds, strict=True)):
        every = 1 if isinstance(phase.rule, GradientFlow) else max(1, int(phase.epochs / rows))
        try:
            path = learn(
                start, phase.task, phase.rule, phase.epochs, nonlinearity, tau, seed, every
            )
        except (DivergenceError, np.linalg.LinAlgError) as error:
            return Run((), (), (), failure=f"phase {number + 1}: {error}")
        try:
            start = path.final
        except InputError as error:
            return Run((), (), (), failure=f"phase {number + 1}: {error}")
        epochs.append(np.asarray(path.loss_epochs, dtype=float))
        losses.append(np.asarray(path.losses, dtype=float))
        kept.append((np.asarray(path.epochs, dtype=float), np.asarray(path.array)))
        ends.append(start)
    return Run(
        tuple(epochs),
        tuple(losses),
        tuple(ends),
        tuple(times for times, _ in kept),
        tuple(array for _, array in kept),
    )


def run_all(
    jobs: Sequence[tuple[Overlaps, Sequence[Phase], Sequence[int]]],
    nonlinearity: str,
    tau: float,
    n_jobs: int,
    rows: int = 1,
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
        Number of processes, as in joblib.
    rows : int
        Keep the overlaps at about so many epochs of each phase, beside the start.

    Returns
    -------
    list of Run
        In the order of the jobs.

    Examples
    --------
    >>> import predictlearn as pl
    >>> start = pl.Overlaps(np.eye(4)).replace(zu=0.1, vm=0.1)
    >>> phase = Phase(pl.Filter(duration=5.0), pl.GradientDescent(5e-3), 10)
    >>> run = run_all([(start, [phase], [0])], "linear", 1.0, 1)[0]
    >>> len(run.losses[0]), run.failure
    (11, '')
    """
    return list(
        Parallel(n_jobs=n_jobs)(
            delayed(_run)(start, phases, nonlinearity, tau, seeds, rows)
            for start, phases, seeds in jobs
        )
    )
