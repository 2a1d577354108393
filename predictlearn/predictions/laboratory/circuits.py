"""Entries on circuits: where plasticity is, and what it keeps constant."""

from __future__ import annotations

from functools import partial

import numpy as np

from predictlearn.arrays import Array
from predictlearn.predictions.laboratory.animals import Animal
from predictlearn.predictions.laboratory.choices import RELABELLINGS, TRIALS
from predictlearn.predictions.laboratory.entry import Entry
from predictlearn.predictions.laboratory.measure import PercentCorrect, RecordedValue
from predictlearn.predictions.laboratory.tasks import cue_task
from predictlearn.statistics import compare_groups, regression

__all__ = ["CIRCUIT_ENTRIES"]

DOSES = (0.0, 0.5, 0.75)
"""By which part a drug slows plasticity of the readout."""


def _site(animal: Animal) -> dict[str, Array]:
    """Train one cue while plasticity of one pathway is slowed to a quarter."""
    task = cue_task((1.0, 0.0), 1.0)
    found = {}
    for arm, where in (("drug on readout", "out"), ("drug on recurrent", "recurrent")):
        own = animal.copy()
        found[arm] = own.train(task, TRIALS, 7, drug={where: 0.25})[2:, ..., 0]
    return found


def _dose(animal: Animal) -> dict[str, Array]:
    """Compare growth of readout and input synapses under doses of a drug on the readout."""
    task = cue_task((1.0, 0.0), 1.0)
    before = animal.strengths()
    found = {}
    for dose in DOSES:
        own = animal.copy()
        own.train(task, TRIALS, 15, drug={"out": 1.0 - dose})
        after = own.strengths()
        growth = {p: 100.0 * (after[p] - before[p]) / before["in"] for p in after}
        found[f"{dose:g}"] = np.array(growth["out"] - growth["in"])
    return found


CIRCUIT_ENTRIES = (
    Entry(
        name="site-of-plasticity",
        statement="A drug that slows plasticity to a quarter delays learning of a delayed answer "
        "far more where recurrent synapses change than where readout synapses do.",
        protocol="",
        intervention="A plasticity blocker in the recurrent area, or in the area that reads it "
        "out, during training of a one-cue task with a delay of 0.25 s.",
        measure="Percent correct in sessions 3 to 7.",
        kind="behaviour",
        test=partial(
            compare_groups,
            outcome="percent_correct",
            reference="drug on readout",
            method="permutation",
            n_resamples=RELABELLINGS,
        ),
        falsifier="The same delay by both drugs, or a larger one on the readout.",
        alternatives="A drug that acts on activity, not plasticity: performance on days without "
        "training under the drug tells. Doses that are not equal.",
        experiment=_site,
        measures=PercentCorrect(),
        design="groups",
        outcome="percent_correct",
        reference="drug on readout",
        axis="Correct in sessions 3 to 7 (%)",
    ),
    Entry(
        name="conserved-dose",
        statement="Over learning the summed squared strength of readout synapses grows by as much "
        "as that of input synapses, and a drug on the readout takes off in proportion to its dose.",
        protocol="",
        intervention="A drug that slows plasticity of readout synapses by 0, 50 or 75% during 15 "
        "sessions of a one-cue task.",
        measure="Growth of the summed squared strength of readout synapses less that of input "
        "synapses, in percent of the input synapses before: synapses imaged or tested before and "
        "after.",
        kind="connectivity",
        test=partial(regression, outcome="growth", terms=["arm"]),
        falsifier="Without the drug one grows and the other does not; or no effect of the dose.",
        alternatives="Homeostatic scaling, which would change both by a factor without learning; "
        "errors of strength that grow with strength.",
        experiment=_dose,
        measures=RecordedValue("percentage points", absolute=2.0),
        design="doses",
        outcome="growth",
        reference="0",
        axis="Growth of readout less input (percentage points)",
    ),
)
