"""Training order: A before B against B before A, and the trace that the order leaves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd

from predictlearn.checks import positive, positive_int
from predictlearn.errors import InputError, choice
from predictlearn.predictions.base import (
    as_cohort,
    compare_outcomes,
    curve_bands,
    outcome_band,
)
from predictlearn.predictions.learners import check_learns
from predictlearn.predictions.order.other_learner import outcomes_of_other, say_other_order
from predictlearn.predictions.order.outcomes import (
    OVERLAP_FAMILIES,
    behaviour_outcomes,
    order_curves,
    order_table,
    state_order,
    trace_outcomes,
    visibilities,
)
from predictlearn.predictions.runs import (
    Run,
    child_seeds,
    reasons_in_brief,
    rules_of,
    rules_said,
    run_all,
)
from predictlearn.statistics.comparisons import check_level
from predictlearn.statistics.corrections import CORRECTIONS
from predictlearn.theory.learning.local_rules import LocalRule
from predictlearn.theory.learning.phases import Leg
from predictlearn.theory.learning.rules import Rule
from predictlearn.theory.names import NONLINEARITIES
from predictlearn.theory.overlaps import Overlaps
from predictlearn.theory.trials import Task

__all__ = ["TrainingOrder", "training_order"]

_ROWS = 50


@dataclass(frozen=True)
class TrainingOrder:
    """Prediction: what the order of two tasks does to performance and to the overlaps.

    Losses are in shares of each network's loss on that task before any learning.

    Parameters
    ----------
    name, observable : str
        Its name, and what to measure.
    paragraphs : tuple of str
        The prediction in words and numbers; ``statement`` is all of it.
    tests : pandas.DataFrame
        Families ``"performance"`` (final loss on each task, AB minus BA; transfer to each task,
        mean loss while it is learned second minus first; forgetting of each task, loss after the
        other minus before it); ``"trace of A after B"`` (overlaps after A and B, minus those of the
        same network that just learned B without A) and ``"trace of B after A"``: what the earlier
        task left once the later one is learned; ``"order AB minus BA"`` (overlaps after both
        phases, which differ by the task learned last as well) and the same in
        ``"gauge-invariant combinations, AB minus BA"``; and ``"trace size"`` (root mean square over
        invisible minus over visible overlaps). Each family has its own correction; the column
        ``visibility`` tells which overlaps are loss-visible. Where synapses learn, what is meant of
        them stands in place of overlaps, see `Synapses.quantities`, and there is no gauge.
    band : pandas.DataFrame
        The same differences with what the recording could not tell, apart from variation between
        networks.
    table : pandas.DataFrame
        ``draw``, ``network``, ``arm`` (``"AB"``, ``"BA"``), ``epoch``, ``quantity``, ``value``.
    curves : pandas.DataFrame
        ``arm``, ``quantity`` (``"loss on A"``, ``"loss on B"``, overlaps), ``epoch`` (through both
        phases), ``mean``, ``low``, ``high``, ``kind``.
    excluded : pandas.DataFrame
        Networks that were left out, with the reason.
    other_learner : pandas.DataFrame
        What becomes of transfer, forgetting and traces where what learns is the other, factors or
        synapses: ``draw``, ``network``, ``learns``, ``outcome``, ``value``, by both, in a dozen
        networks at most. Empty where the other does not learn by this rule; the statement says why.
    settings : mapping
        Everything that was set.
    seed : int
        Seed of trials and resampling.
    """

    name: str
    paragraphs: tuple[str, ...]
    observable: str
    tests: pd.DataFrame
    band: pd.DataFrame
    table: pd.DataFrame
    curves: pd.DataFrame
    excluded: pd.DataFrame
    other_learner: pd.DataFrame
    settings: Mapping[str, Any]
    seed: int

    @property
    def statement(self) -> str:
        """The prediction in words and numbers."""
        return " ".join(self.paragraphs)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "settings": dict(self.settings)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        object.__setattr__(self, "settings", MappingProxyType(self.settings))


def training_order(
    starts: Sequence[Overlaps] | Sequence[Sequence[Overlaps]],
    task_a: Task,
    task_b: Task,
    rule: Rule | LocalRule | Sequence[Rule | LocalRule],
    epochs: float | tuple[float, float],
    *,
    nonlinearity: str = "linear",
    tau: float = 1.0,
    learns: str = "factors",
    seed: int = 0,
    draw: Sequence[Any] | None = None,
    network: Sequence[Any] | None = None,
    criterion: float = 0.1,
    correction: str = "holm",
    method: str = "t",
    alpha: float = 0.05,
    n_jobs: int = 1,
) -> TrainingOrder:
    """Predict what the order of training on two tasks does, paired within network.

    Parameters
    ----------
    starts : sequence of Overlaps, or nested by draw
        Networks before learning. Several completions of one recording go into different draws.
    task_a, task_b : Task
        The tasks; every network learns A then B, and, from the same start, B then A. Those that
        close a loop are for linear networks.
    rule : GradientDescent, GradientFlow, DirectDescent, FeedbackAlignment or RFLO, or a sequence
        How; a sequence holds the rule of each start, in their order. Rules with feedback of their
        own are for linear networks; the feedback stays through both tasks.
    epochs : float or (float, float)
        How long each task is trained; the same in both orders.
    nonlinearity : {"linear", "erf"}
        Which phi.
    tau : float
        Time constant in seconds.
    learns : {"factors", "synapses"}
        What learns; synapses of linear networks only. The statement says whether the prediction
        holds for the other too.
    seed : int
        Seed of everything random. A network sees the same trials of a task in both orders.
    draw, network : sequence, optional
        Labels of the starts, see `as_cohort`.
    criterion : float
        Share of the loss before learning at which a task counts as learned, for the epochs to
        criterion in the table.
    correction : {"holm", "fdr_bh", "none"}
        Correction within each family of tests.
    method : {"t", "wilcoxon", "permutation"}
        Paired test.
    alpha : float
        Level of the tests.
    n_jobs : int
        Processes.

    Returns
    -------
    TrainingOrder
        Statement, tests, bands, table and curves.

    Raises
    ------
    InputError
        If an argument is out of range, the tasks do not fit the networks, or every network failed.

    Examples
    --------
    >>> import numpy as np
    >>> import predictlearn as pl
    >>> cross = np.random.default_rng(0).uniform(0, 0.1, (4, 2))
    >>> starts = [pl.Overlaps(np.eye(4)).replace(zu=a, vm=b) for a, b in cross]
    >>> slow, fast = pl.Filter(decay=0.2, duration=10.0), pl.Filter(decay=0.4, duration=10.0)
    >>> result = training_order(starts, slow, fast, pl.GradientDescent(5e-3), 200)
    >>> result.tests["family"].unique().tolist()[:2]
    ['performance', 'trace of A after B']
    """
    cohort = as_cohort(starts, draw, network)
    choice("nonlinearity", nonlinearity, NONLINEARITIES)
    choice("correction", correction, CORRECTIONS)
    check_level("alpha", alpha)
    check_level("criterion", criterion)
    positive_int("seed", seed, minimum=0)
    lengths = _lengths(epochs)
    rules = rules_of(rule, len(cohort.starts))
    check_learns(learns, nonlinearity, rules, [task_a, task_b])
    seeds = child_seeds(seed, cohort.n_networks + 1)
    jobs: list[tuple[Overlaps, list[Leg], list[int]]] = []
    for start, net, how in zip(cohort.starts, cohort.network, rules, strict=True):
        phase_a, phase_b = Leg(task_a, lengths[0], how), Leg(task_b, lengths[1], how)
        own = child_seeds(seeds[int(net)], 2)
        jobs.append((start, [phase_a, phase_b], own))
        jobs.append((start, [phase_b, phase_a], own[::-1]))
    runs = run_all(jobs, nonlinearity, tau, n_jobs, rows=_ROWS, learns=learns)
    pairs: list[tuple[Run, Run] | None] = []
    excluded: list[dict[str, Any]] = []
    for index in range(len(cohort.starts)):
        ab, ba = runs[2 * index], runs[2 * index + 1]
        failure = ab.failure or ba.failure
        pairs.append(None if failure else (ab, ba))
        if failure:
            place = {"draw": int(cohort.draw[index]), "network": int(cohort.network[index])}
            excluded.append({**place, "reason": failure})
    if all(pair is None for pair in pairs):
        reasons = reasons_in_brief([row["reason"] for row in excluded])
        raise InputError(f"starts: learning failed in every network. {reasons}")
    curves, losses = order_curves(
        cohort, pairs, (task_a, task_b), seeds[-1], nonlinearity, tau, n_jobs
    )
    performance = behaviour_outcomes(pairs, losses)
    families = {"performance": performance, **trace_outcomes(pairs, nonlinearity)}
    parts = [
        compare_outcomes(
            cohort,
            outcomes,
            family=family,
            correction=correction,
            alpha=alpha,
            method=method,
            seed=seed,
        )
        for family, outcomes in families.items()
    ]
    tests = pd.concat(parts, ignore_index=True)
    tests["visibility"] = _visibility(tests, pairs, nonlinearity)
    other, why_not = outcomes_of_other(
        cohort, pairs, losses, jobs, (task_a, task_b), seeds[-1], tau, n_jobs, learns, nonlinearity
    )
    bands = [
        outcome_band(cohort, outcomes).assign(family=family)
        for family, outcomes in families.items()
    ]
    band = pd.concat(bands, ignore_index=True)
    return TrainingOrder(
        name="training order",
        paragraphs=(
            *state_order(tests, band, cohort, len(excluded)),
            say_other_order(other, learns, why_not, rules[0]),
        ),
        observable=(
            "The loss (error) on A and on B, before learning and after each phase, and while each "
            "is learned, in the same network trained in both orders (or two groups of animals); "
            "and the overlaps estimated from a recording after both phases."
        ),
        tests=tests,
        band=band,
        table=order_table(cohort, pairs, losses, criterion),
        curves=pd.concat(
            [
                curve_bands(cohort, arms, times, quantity=quantity)
                for quantity, (times, arms) in curves.items()
            ],
            ignore_index=True,
        ),
        excluded=pd.DataFrame(excluded, columns=["draw", "network", "reason"]),
        other_learner=other,
        settings=MappingProxyType(
            {
                "task_a": repr(task_a),
                "task_b": repr(task_b),
                "rule": rules_said(rules),
                "epochs": lengths,
                "nonlinearity": nonlinearity,
                "tau": tau,
                "learns": learns,
                "criterion": criterion,
                "correction": correction,
                "method": method,
                "alpha": alpha,
                "n_draws": cohort.n_draws,
                "n_networks": cohort.n_networks,
            }
        ),
        seed=seed,
    )


def _lengths(epochs: float | tuple[float, float]) -> tuple[float, float]:
    """Return the length of both phases; whole numbers as int."""
    both = (epochs, epochs) if np.ndim(epochs) == 0 else tuple(epochs)  # type: ignore[arg-type]
    if len(both) != 2:
        raise InputError(f"epochs must be one number or two, for A and for B; got {epochs!r}.")
    values = [positive("epochs", value) for value in both]
    first, second = (int(value) if value == int(value) else value for value in values)
    return first, second


def _visibility(
    tests: pd.DataFrame, pairs: Sequence[tuple[Run, Run] | None], nonlinearity: str
) -> list[str]:
    """Return whether each test is about a loss-visible or loss-invisible overlap, or neither."""
    there = next(pair for pair in pairs if pair is not None)
    label = visibilities(there[0].ends[0], nonlinearity)
    return [
        label.get(name, "") if family in OVERLAP_FAMILIES else ""
        for family, name in zip(tests["family"], tests["name"], strict=True)
    ]
