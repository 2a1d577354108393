"""Perturbation exposure: networks that do the same, told apart by how they learn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import pandas as pd

from predictlearn.checks import positive, positive_int
from predictlearn.errors import InputError, choice
from predictlearn.predictions.base import (
    as_cohort,
    compare_outcomes,
    curve_bands,
    outcome_band,
)
from predictlearn.predictions.exposure.account import account_by_overlap, summarise_account
from predictlearn.predictions.exposure.other_learner import areas_of_other, say_other
from predictlearn.predictions.exposure.pairs import (
    Changes,
    left_out,
    pair_outcomes,
    pair_up,
    pick_checkpoints,
    relative_losses,
)
from predictlearn.predictions.exposure.report import animals_table, outcome_table, state
from predictlearn.predictions.exposure.same_behaviour import behaviour_tests
from predictlearn.predictions.learners import check_learns, leaves_overlaps
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
from predictlearn.theory.learning.rules import GradientFlow, Rule
from predictlearn.theory.names import NONLINEARITIES
from predictlearn.theory.overlaps import Overlaps
from predictlearn.theory.trials import Task

__all__ = ["PerturbationExposure", "perturbation_exposure"]


@dataclass(frozen=True)
class PerturbationExposure:
    """Prediction: functionally equivalent networks learn differently.

    Losses and their differences are in shares of each network's loss before learning; differences
    are changed minus original, so that a negative one means that the changed network learns faster.

    Parameters
    ----------
    name, observable : str
        Its name, and what to measure.
    paragraphs : tuple of str
        The prediction in words and numbers; ``statement`` is all of it.
    tests : pandas.DataFrame
        Families ``"equivalence before learning"`` (all must hold) and
        ``"divergence during learning"`` (corrected).
    behaviour : pandas.DataFrame
        What the equivalence tests were made on, a row a pair: losses, mismatch of outputs and of
        responses to input noise, in units of the loss.
    account : pandas.DataFrame
        By network and overlap: contribution to the difference in the speed of learning at the start
        (-dL/dt per unit of rate, in shares of the loss), its share, and what swapping this entry
        alone does to the speed and to the area between the learning curves.
    account_summary : pandas.DataFrame
        Contributions and shares by overlap, with their band over draws.
    band : pandas.DataFrame
        Outcomes with what the recording could not tell, apart from variation between networks.
    animals : pandas.DataFrame
        Number of animals needed, by outcome and design.
    table : pandas.DataFrame
        ``draw``, ``network``, ``arm``, ``epoch``, ``quantity``, ``value``.
    curves : pandas.DataFrame
        ``arm``, ``quantity``, ``epoch``, ``mean``, ``low``, ``high``, ``kind``.
    excluded : pandas.DataFrame
        Networks that were left out, with the reason.
    other_learner : pandas.DataFrame
        What the prediction becomes where what learns is the other, factors or synapses: ``draw``,
        ``network``, ``learns`` and ``area``, the primary outcome, by both, in a dozen pairs at
        most. Empty where the other does not learn by this rule; the statement says why.
    equivalent : bool or None
        Whether every equivalence test held; None if there was one network and hence no test.
    settings : mapping
        Everything that was set.
    seed : int
        Seed of trials, loadings and resampling.
    """

    name: str
    paragraphs: tuple[str, ...]
    observable: str
    tests: pd.DataFrame
    behaviour: pd.DataFrame
    account: pd.DataFrame
    account_summary: pd.DataFrame
    band: pd.DataFrame
    animals: pd.DataFrame
    table: pd.DataFrame
    curves: pd.DataFrame
    excluded: pd.DataFrame
    other_learner: pd.DataFrame
    equivalent: bool | None
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


def perturbation_exposure(
    starts: Sequence[Overlaps] | Sequence[Sequence[Overlaps]],
    task: Task,
    rule: Rule | LocalRule | Sequence[Rule | LocalRule],
    epochs: float,
    *,
    changes: Changes | None = None,
    partners: Sequence[Overlaps] | None = None,
    nonlinearity: str = "linear",
    tau: float = 1.0,
    learns: str = "factors",
    seed: int = 0,
    draw: Sequence[Any] | None = None,
    network: Sequence[Any] | None = None,
    margin: float = 0.05,
    checkpoints: Sequence[float] | None = None,
    input_noise: float = 0.1,
    n_neurons: int = 300,
    correction: str = "holm",
    method: str = "t",
    alpha: float = 0.05,
    power: float = 0.8,
    animal_sd: float | None = None,
    n_jobs: int = 1,
) -> PerturbationExposure:
    """Predict how learning tells functionally equivalent networks apart.

    Parameters
    ----------
    starts : sequence of Overlaps, or nested by draw
        The original networks. Several completions of one recording go into different draws.
    task : Task
        What is learned; one that closes a loop for linear networks.
    rule : GradientDescent, GradientFlow, DirectDescent, FeedbackAlignment or RFLO, or a sequence
        How; a sequence holds the rule of each start, in their order. Rules with feedback of their
        own are for linear networks.
    epochs : float
        How long.
    changes : mapping, or callable from Overlaps to a mapping, optional
        New values of loss-invisible overlaps: each network is paired with its functionally
        equivalent one. Networks for which no such pair exists are left out and listed.
    partners : sequence of Overlaps, optional
        Instead of `changes`: the second network of each pair, in the order of the starts.
    nonlinearity : {"linear", "erf"}
        Which phi; decides which overlaps are loss-invisible.
    tau : float
        Time constant in seconds.
    learns : {"factors", "synapses"}
        What learns; synapses of linear networks only. The statement says whether the prediction
        holds for the other too.
    seed : int
        Seed of everything random. The two networks of a pair see the same trials and noise.
    draw, network : sequence, optional
        Labels of the starts, see `as_cohort`.
    margin : float
        Equivalence margin, as a share of the loss before learning.
    checkpoints : sequence of float, optional
        Epochs at which the losses are compared, beside the area between the learning curves, which
        is the primary outcome. Default: a tenth, a quarter and a half of `epochs`.
    input_noise : float
        Noise added to the inputs when responses are compared, as a share of their rms.
    n_neurons : int
        Neurons of the networks whose equivalence is tested.
    correction : {"holm", "fdr_bh", "none"}
        Correction over area and checkpoints.
    method : {"t", "wilcoxon", "permutation"}
        Paired test of the divergence.
    alpha, power : float
        Level of the tests; power for the number of animals.
    animal_sd : float, optional
        Standard deviation between animals of the primary outcome (area difference, share of the
        loss before learning), for the number of animals. By default that of the simulated
        networks, which holds no measurement noise.
    n_jobs : int
        Processes.

    Returns
    -------
    PerturbationExposure
        Statement, tests, account by overlap, bands, number of animals, table and curves.

    Raises
    ------
    InputError
        If an argument is out of range, partners are not functionally equivalent, or no pair is
        left.

    Examples
    --------
    >>> import numpy as np
    >>> import predictlearn as pl
    >>> rng = np.random.default_rng(0)
    >>> cross = rng.uniform(0, 0.1, (6, 2))
    >>> starts = [pl.Overlaps(np.eye(4)).replace(zu=a, vm=b) for a, b in cross]
    >>> result = perturbation_exposure(
    ...     starts, pl.Filter(duration=10.0), pl.GradientDescent(5e-3), 200,
    ...     changes={"uu": 2.05, "mu": 0.8}, n_neurons=50)
    >>> result.equivalent
    True
    >>> result.account_summary["overlap"].tolist()
    ['mu', 'uu']
    """
    cohort = as_cohort(starts, draw, network)
    choice("nonlinearity", nonlinearity, NONLINEARITIES)
    choice("correction", correction, CORRECTIONS)
    check_level("alpha", alpha)
    check_level("power", power)
    epochs = positive("epochs", epochs)
    positive_int("seed", seed, minimum=0)
    if animal_sd is not None:
        positive("animal_sd", animal_sd)
    points = pick_checkpoints(checkpoints, epochs)
    twins, excluded = pair_up(cohort, changes, partners, nonlinearity)
    seeds = child_seeds(seed, cohort.n_networks + 2)
    length = int(epochs) if epochs == int(epochs) else epochs
    rules = rules_of(rule, len(cohort.starts))
    check_learns(learns, nonlinearity, rules, [task])
    phases = [Leg(task, length, own) for own in rules]
    jobs = [
        (overlaps, [phase], [seeds[int(net)]])
        for start, twin, net, phase in zip(
            cohort.starts, twins, cohort.network, phases, strict=True
        )
        if twin is not None
        for overlaps in (start, twin)
    ]
    runs = iter(run_all(jobs, nonlinearity, tau, n_jobs, learns=learns))
    pairs: list[tuple[Run, Run] | None] = []
    for index, twin in enumerate(twins):
        pair = None if twin is None else (next(runs), next(runs))
        if pair is not None and (pair[0].failure or pair[1].failure):
            excluded.append(left_out(cohort, index, pair[0].failure or pair[1].failure))
            twins[index] = pair = None
        pairs.append(pair)
    if all(pair is None for pair in pairs):
        reasons = reasons_in_brief([row["reason"] for row in excluded])
        raise InputError(f"starts: no pair of equivalent networks is left. {reasons}")
    steps, original, changed, before = relative_losses(pairs)
    when = "learning time" if isinstance(phases[0].rule, GradientFlow) else "epoch"
    outcomes = pair_outcomes(steps, original, changed, points, when)
    same, behaviour = behaviour_tests(
        cohort,
        twins,
        task,
        margin=margin,
        n_neurons=n_neurons,
        input_noise=input_noise,
        nonlinearity=nonlinearity,
        tau=tau,
        alpha=alpha,
        seed=seeds[-1],
        n_jobs=n_jobs,
    )
    apart = compare_outcomes(
        cohort,
        outcomes,
        family="divergence during learning",
        correction=correction,
        alpha=alpha,
        method=method,
        seed=seed,
    )
    account = account_by_overlap(
        *(cohort, twins, original, changed, steps, before, phases, seeds),
        *(nonlinearity, tau, n_jobs, learns),
        in_span=leaves_overlaps("factors", rules, [task]),
    )
    other, why_not = areas_of_other(
        cohort, twins, outcomes, phases, seeds, nonlinearity, tau, n_jobs, learns
    )
    band = outcome_band(cohort, outcomes)
    animals = animals_table(cohort, outcomes, alpha, power, animal_sd)
    equivalent = None if same.empty else bool((same["verdict"] == "equivalent").all())
    summary = summarise_account(account)
    return PerturbationExposure(
        name="perturbation exposure",
        paragraphs=(
            *state(
                same, behaviour, apart, summary, band, animals, margin, n_neurons, len(excluded)
            ),
            say_other(other, learns, why_not, rules[0]),
        ),
        observable=(
            "The loss (error) on the task, epoch by epoch, in pairs of networks or groups of "
            "animals whose behaviour and responses to input noise are the same before learning."
        ),
        tests=pd.concat([same, apart], ignore_index=True) if not same.empty else apart,
        behaviour=behaviour,
        account=account,
        account_summary=summary,
        band=band,
        animals=animals,
        table=outcome_table(cohort, outcomes, steps, original, changed, before),
        curves=curve_bands(
            cohort,
            {"original": original, "changed": changed, "difference": changed - original},
            steps,
            quantity="loss (share of the loss before learning)",
        ),
        excluded=pd.DataFrame(excluded, columns=["draw", "network", "reason"]),
        other_learner=other,
        equivalent=equivalent,
        settings=MappingProxyType(
            {
                "task": repr(task),
                "rule": rules_said(rules),
                "epochs": epochs,
                "changes": repr(changes) if callable(changes) else dict(changes or {}),
                "partners": partners is not None,
                "nonlinearity": nonlinearity,
                "tau": tau,
                "learns": learns,
                "margin": margin,
                "checkpoints": tuple(points),
                "input_noise": input_noise,
                "n_neurons": n_neurons,
                "correction": correction,
                "method": method,
                "alpha": alpha,
                "power": power,
                "animal_sd": animal_sd,
                "n_draws": cohort.n_draws,
                "n_networks": cohort.n_networks,
            }
        ),
        seed=seed,
    )
