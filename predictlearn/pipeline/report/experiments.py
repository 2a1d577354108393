"""The part of the report on the two predicted experiments."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from predictlearn.predictions.runs import in_a_world
from predictlearn.reporting import Figure, Section, Table, figures
from predictlearn.theory.learning.local_rules import RFLO, LocalRule
from predictlearn.theory.learning.rules import GradientFlow

if TYPE_CHECKING:
    from predictlearn.pipeline.experiments import Design, Experiments
    from predictlearn.predictions.exposure.prediction import PerturbationExposure
    from predictlearn.predictions.order.prediction import TrainingOrder

__all__ = ["exposure_section", "order_section"]

_TEST_COLUMNS = ("name", "verdict", "estimate", "low", "high", "effect", "p_corrected")
_BAND_COLUMNS = ("name", "mean", "low", "high", "share_positive")
_LABELS = {"low": "95% from", "high": "to", "p_corrected": "p, corrected"}
_BAND_LABELS = {"low": "95% of draws from", "high": "to", "share_positive": "draws above zero"}
_ANIMAL_COLUMNS = ("outcome", "design", "effect", "n", "power")


def _closure_note(done: Experiments) -> list[str]:
    """Return how far to trust the erf equations, where they were used."""
    closure = done.closure
    if closure is None:
        return []
    row = closure.original.summary.loc["closure"]
    return [
        "The erf equations close with Gaussian loadings, which learning makes non-Gaussian. For "
        "one animal on this task they end "
        f"{row['at the end']:.2g} away from the mean field "
        f"({closure.original.settings['n_particles']} particles) in some overlap, and up "
        f"to {row['loss, share of the first']:.2g} of the first loss in the loss. The difference "
        f"between its two networks is {100 * closure.by_equations:+.3f}% of the first loss by the "
        f"equations and {100 * closure.by_mean_field:+.3f}% by the mean field.",
    ]


def _notes(design: Design) -> list[str]:
    """Return why these tasks are learned, and what an epoch stands for."""
    return [text for text in (design.why, design.epoch_means) if text]


def _who(design: Design) -> str:
    """Return who learns by which rule, as a sentence or two."""
    said, also = f"{design.who[0].upper()}{design.who[1:]}", ""
    if not isinstance(design.rules[0], LocalRule):
        exact = "descent in small steps" if isinstance(design.rules[0], GradientFlow) else "descent"
        said += f", by {exact} on the gradient of the loss" if " by " not in said else ""
        also = "" if design.learns == "synapses" else ", as published"
    if any(in_a_world(task) for task in design.order):
        also += ". The output moves what the input reports: the loop is closed"
    return f"{said}{also}."


def exposure_section(p: PerturbationExposure, done: Experiments, spread: float) -> Section:
    """Return the perturbation-exposure experiment."""
    design = done.design
    tests = p.tests.assign(label=p.tests["name"], group=p.tests["family"])
    apart = tests[tests["family"] == "divergence during learning"]
    effects = pd.DataFrame(
        {
            "label": apart["label"],
            "estimate": apart["effect"],
            "low": apart["effect_low"],
            "high": apart["effect_high"],
            "p": apart["p_corrected"],
        }
    )
    return Section(
        "Experiment 1: perturbation exposure",
        (
            f"Two groups of animals with the same recordings learn: {design.labels['exposing']}. "
            "In the second group every |v|² is doubled, which changes no activity, no output, and "
            "no response to any input before learning. Nobody can double it: this is how much "
            "hidden overlaps can do to learning. What makes them differ in a laboratory, a history "
            "of training, and shows it, is under “What a laboratory can test”.",
            f"**Who learns.** {_who(design)}",
            *_notes(design),
            *p.paragraphs,
            f"**What to measure.** {p.observable}",
        ),
        (
            Figure(
                "exposure-curves",
                "Predicted learning curves of the original and the changed network. Filled: spread "
                "between animals; hatched: what the recording could not tell.",
                figures.learning_curves(
                    p.curves,
                    arms=["original", "changed"],
                    xlabel=_xlabel(design.unit),
                    ylabel="Loss (share of the loss before learning)",
                ),
                "Two learning curves with bands.",
            ),
            Figure(
                "exposure-effects",
                "Effect sizes of the differences, changed minus original, with 95% intervals and "
                "corrected p values.",
                figures.effect_sizes(effects, xlabel="Hedges-corrected dz (95% interval)"),
                "Forest plot of effect sizes.",
            ),
        ),
        (
            Table(
                "exposure-tests",
                "Equivalence before learning (all three must hold) and divergence during it. The "
                "verdict follows the corrected p.",
                p.tests,
                columns=_TEST_COLUMNS,
                labels=_LABELS,
            ),
            Table(
                "exposure-band",
                "The differences with what the recording could not tell, apart from the spread "
                "between animals.",
                p.band,
                columns=_BAND_COLUMNS,
                labels=_BAND_LABELS,
            ),
            Table(
                "exposure-account",
                "Which overlap accounts for the difference in the speed of learning at its start, "
                "as a share of the original's speed and of the whole difference.",
                p.account_summary,
                columns=("overlap", "relative_to_original_speed", "share"),
                labels={
                    "relative_to_original_speed": "share of the original's speed",
                    "share": "share of the difference",
                },
            ),
            Table(
                "animals",
                "Animals needed for a power of 0.8 (pairs, or animals in each of two groups).",
                p.animals,
                decimals={"effect": 2, "n": 0, "power": 2},
                columns=_ANIMAL_COLUMNS,
            ),
        ),
        caveats=(
            "The spread between animals is an assumption (each vector changed at random by "
            f"{spread:.0%}), and simulated animals carry no "
            "measurement noise; real ones need more animals than the table says.",
            *_rule_caveat(design),
            *_closure_note(done),
        ),
    )


def order_section(p: TrainingOrder, done: Experiments) -> Section:
    """Return the training-order experiment."""
    design = done.design
    performance = p.tests["family"] == "performance"
    shown = p.tests[performance]
    named = p.tests.assign(
        name=p.tests["name"].where(performance, p.tests["family"] + ": " + p.tests["name"])
    )
    banded = p.band.assign(
        name=p.band["name"].where(
            p.band["family"] == "performance", p.band["family"] + ": " + p.band["name"]
        )
    )
    effects = pd.DataFrame(
        {
            "label": shown["name"],
            "estimate": shown["effect"],
            "low": shown["effect_low"],
            "high": shown["effect_high"],
            "p": shown["p_corrected"],
        }
    )
    trace = p.tests[p.tests["family"] == "trace of A after B"]
    changes = pd.DataFrame(
        {
            "name": trace["name"],
            "arm": "A before B, minus B alone",
            "mean": trace["estimate"],
            "low": trace["low"],
            "high": trace["high"],
            "visibility": trace["visibility"],
        }
    )
    return Section(
        "Experiment 2: training order",
        (
            f"Every animal learns A ({design.labels['A']}) and B ({design.labels['B']}) in either "
            "order, from the same start.",
            f"**Who learns.** {_who(design)}",
            *_notes(design)[1:],
            *p.paragraphs,
            f"**What to measure.** {p.observable}",
        ),
        (
            Figure(
                "order-curves",
                "Predicted loss on both tasks through both phases. Filled: spread between animals; "
                "hatched: what the recording could not tell.",
                figures.learning_curves(
                    p.curves,
                    quantities=["loss on A", "loss on B"],
                    xlabel=_xlabel(design.unit),
                    ylabel="Loss (share of first)",
                ),
                "Loss on A and on B in both orders.",
            ),
            Figure(
                "order-effects",
                "Effect sizes of the order on performance, paired within animal.",
                figures.effect_sizes(effects, xlabel="Hedges-corrected dz (95% interval)"),
                "Forest plot of effect sizes.",
            ),
            Figure(
                "order-trace",
                "The trace that A leaves in the overlaps once B is learned: overlaps after A and "
                "B, minus those of the same animal after B alone.",
                figures.overlap_changes(
                    changes, xlabel="Difference of the overlap (95% interval of the mean)"
                ),
                "Differences of overlaps with intervals, grouped by visibility.",
            ),
        ),
        (
            Table(
                "order-tests",
                "All comparisons; each family is corrected by itself, and the verdict follows the "
                "corrected p.",
                named,
                columns=_TEST_COLUMNS,
                labels=_LABELS,
                max_rows=14,
            ),
            Table(
                "order-band",
                "The same differences with what the recording could not tell.",
                banded,
                columns=_BAND_COLUMNS,
                labels=_BAND_LABELS,
                max_rows=14,
            ),
        ),
        caveats=(_order_caveat(design),),
    )


def _rule_caveat(design: Design) -> list[str]:
    """Return for which rules |v|^2 plays no part."""
    if isinstance(design.rules[0], RFLO):
        return []
    return [
        "By RFLO, a rule in which no error runs back in time, |v|² plays no part in learning: that "
        "these animals learn differently is a claim about how errors reach synapses, too.",
    ]


def _order_caveat(design: Design) -> str:
    """Return where a trace of the other task may come from, by who learns."""
    if isinstance(design.rules[0], RFLO):
        return (
            "By RFLO A-B-A returns without noise and in small steps, whatever learns: traces here "
            "come from learning that is not finished and from finite steps."
        )
    if design.learns == "synapses":
        return (
            "Where synapses learn, A-B-A leaves a trace of B even without noise and in small "
            "steps; where factors do it does not, and every trace comes from learning that is not "
            "finished and from finite steps."
        )
    return (
        "Without noise and for small steps, the linear theory of learning factors returns the "
        "visible and the invisible overlaps after A-B-A; traces here come from learning that is "
        "not finished, from finite steps, and for erf from its nonlinearity. Where synapses learn, "
        "a trace stays even so."
    )


def _xlabel(unit: str) -> str:
    """Return the label of a learning axis."""
    return f"Learning time ({unit})"
