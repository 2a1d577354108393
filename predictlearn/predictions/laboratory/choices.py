"""Entries on choices: what animals of equal performance learn next, and in which order."""

from __future__ import annotations

from functools import partial

import numpy as np

from predictlearn.arrays import Array
from predictlearn.predictions.laboratory.animals import Animal
from predictlearn.predictions.laboratory.entry import Entry
from predictlearn.predictions.laboratory.measure import Measure, PercentCorrect, RecordedValue
from predictlearn.predictions.laboratory.rates import discrimination
from predictlearn.predictions.laboratory.tasks import cue_task, mixed, unlike
from predictlearn.statistics import compare_groups, regression

__all__ = ["CHOICE_ENTRIES"]

TRIALS = 100
# Where most mice are near the top or the bottom and a few are not, Welch's test is conservative.
RELABELLINGS = 499
SIDES = np.array([1.0, -1.0])


def _exposure(animal: Animal) -> dict[str, Array]:
    """Reach equal performance by two histories, then learn a new task."""
    probe = cue_task(unlike(-0.6), 1.0)
    found = {}
    for arm in ("discrimination only", "one cue first"):
        own = animal.copy()
        if arm == "one cue first":
            own.train(cue_task((1.0, 0.0), 1.0), TRIALS, 15)
            own.train(discrimination(), TRIALS, 15)
        else:
            own.train(discrimination(), TRIALS, 30)
        found[arm] = own.train(probe, TRIALS, 4)[..., 0]
    return found


def _speed(animal: Animal) -> dict[str, Array]:
    """Learn, reverse, learn again, and learn another task: how fast each goes."""
    first = animal.train(discrimination(), TRIALS, 15)[..., 0] * SIDES
    power = animal.power(discrimination())
    reversal = -animal.train(discrimination(-1.0), TRIALS, 25)[..., 0] * SIDES
    again = animal.train(discrimination(), TRIALS, 30)[..., 0] * SIDES
    other = animal.train(cue_task(unlike(-0.6), 1.0), TRIALS, 8)[..., 0]
    return {
        "relearning": again[:8],
        "first_learning": first[2:7],
        "reversal": reversal[:12],
        "performance": again[-3:],
        "activity": np.array(power),
        "third_cue": other,
    }


_SPEED_MEASURES: dict[str, Measure] = {
    "relearning": PercentCorrect(),
    "first_learning": PercentCorrect(),
    "reversal": PercentCorrect(),
    "performance": PercentCorrect(),
    "activity": RecordedValue("squared activity"),
    "third_cue": PercentCorrect(),
}


def _order(animal: Animal) -> dict[str, Array]:
    """Train a short and a long delay, in either order, and test both at the end."""
    short, long = (cue_task((1.0, 0.0), 1.0, delay) for delay in (0.25, 0.75))
    found = {}
    for arm, tasks in (("long first", (long, short)), ("short first", (short, long))):
        own = animal.copy()
        for task in tasks:
            own.train(task, TRIALS, 10)
        margins = np.concatenate([own.outputs(short), own.outputs(long)])
        found[arm] = np.tile(margins[:, 0], (2, 1, 1))
    return found


def _blocked(animal: Animal) -> dict[str, Array]:
    """Train similar cues with opposite answers, one after the other or interleaved."""
    a, b = cue_task((1.0, 0.0), 1.0), cue_task(unlike(0.6), -1.0)
    found = {}
    for arm in ("blocked", "interleaved"):
        own = animal.copy()
        if arm == "blocked":
            own.train(a, TRIALS, 8)
            own.train(b, TRIALS, 4)
        else:
            own.train(mixed(a, b), TRIALS, 12)
        margins = np.array([own.outputs(a)[0, 0], -own.outputs(b)[0, 0]])
        found[arm] = np.tile(margins, (2, 1, 1))
    return found


CHOICE_ENTRIES = (
    Entry(
        name="perturbation-exposure",
        statement="Mice that perform a discrimination equally well learn a cue that contradicts it "
        "at different speeds, faster if one of the cues was trained alone before.",
        protocol="perturbation-exposure",
        intervention="One group trains the discrimination of two cues for 30 sessions, the other "
        "one cue alone for 15 and then the discrimination for 15; then both learn a third cue, "
        "unlike the first and like the second, with the answer of the first.",
        measure="Percent correct over the first four sessions (400 trials) with the third cue.",
        kind="behaviour",
        test=partial(compare_groups, outcome="percent_correct", reference="discrimination only"),
        falsifier="Groups that are equal in the discrimination and, within 2 percentage points, "
        "in the third cue, with animals enough for 95% power.",
        alternatives="One group has seen the second cue less often; arousal and reward history "
        "differ; a group that trained the second cue alone tells the first from a bias of side.",
        experiment=_exposure,
        measures=PercentCorrect(),
        design="groups",
        outcome="percent_correct",
        reference="discrimination only",
        axis="Correct with the third cue (%)",
        arms="Training before the third cue",
    ),
    Entry(
        name="learning-speed",
        statement="Mice that relearn a discrimination fast after its reversal also learn a third "
        "cue fast, beyond what their performance, earlier learning and recorded activity tell.",
        protocol="",
        intervention="Every mouse learns a discrimination in 15 sessions, its reversal in 25, the "
        "discrimination again in 30 and then a third cue; nothing differs between mice but what "
        "they hide.",
        measure="Percent correct in the first eight sessions of relearning and of the third cue; "
        "as covariates in sessions 3 to 7 of first learning, the first twelve of the reversal and "
        "the last three before the third cue, and mean squared activity of recorded neurons after "
        "first learning.",
        kind="behaviour",
        test=partial(
            regression,
            outcome="third_cue",
            terms=["relearning", "first_learning", "reversal", "performance", "activity"],
        ),
        row="relearning",
        falsifier="A partial slope of the third cue on relearning whose 95% interval lies below "
        "half of the predicted one.",
        alternatives="A learning rate or motivation of the whole animal: it would show in first "
        "learning and the reversal as much, which are held fixed here.",
        correlation="Over animals: percent correct early with the third cue against that early in "
        "relearning, given performance, speed of first learning and reversal, and activity.",
        experiment=_speed,
        measures=_SPEED_MEASURES,
        design="columns",
        outcome="third_cue",
        reference="relearning",
    ),
    Entry(
        name="training-order",
        statement="Mice trained on a long delay before a short one end better on both than mice "
        "trained in the other order if factors of their connectivity learn by descent, and worse "
        "if synapses do.",
        protocol="training-order",
        intervention="Ten sessions with a delay of 0.75 s and ten with 0.25 s, in either order, in "
        "two groups.",
        measure="Percent correct in two sessions with both delays at the end.",
        kind="behaviour",
        test=partial(
            compare_groups,
            outcome="percent_correct",
            reference="long first",
            method="permutation",
            n_resamples=RELABELLINGS,
        ),
        falsifier="Of factors: mice of the order short first that end as good or better. Of "
        "synapses: mice of the order long first that do.",
        alternatives="Mice that stop working in long sessions without success; recency of the last "
        "task, which the two delays tested apart would show.",
        experiment=_order,
        measures=PercentCorrect(),
        design="groups",
        outcome="percent_correct",
        reference="long first",
        axis="Correct with both delays (%)",
        arms="Order of the two delays",
    ),
    Entry(
        name="blocked-or-interleaved",
        statement="Two similar cues with opposite answers are both kept if trials are interleaved, "
        "and the first is answered the wrong way if they were trained in blocks.",
        protocol="blocked-or-interleaved",
        intervention="Two groups, 1,200 trials each: eight sessions of one cue and then four of "
        "the other, or twelve sessions of both in random order.",
        measure="Percent correct over both cues in two sessions at the end.",
        kind="behaviour",
        test=partial(compare_groups, outcome="percent_correct", reference="blocked"),
        falsifier="Mice trained in blocks that answer the first cue rightly in more than half of "
        "the trials.",
        alternatives="A bias to the side that was right last, without memory of cues: cues of no "
        "similarity tell it apart, since they should interfere less.",
        experiment=_blocked,
        measures=PercentCorrect(),
        design="groups",
        outcome="percent_correct",
        reference="blocked",
        axis="Correct with both cues (%)",
        arms="Training with two cues",
    ),
)
