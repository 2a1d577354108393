"""Entries on memory: what is left of a task when another has been learned, and what drifts."""

from __future__ import annotations

from functools import partial

import numpy as np

from predictlearn.arrays import Array
from predictlearn.predictions.laboratory.animals import Animal
from predictlearn.predictions.laboratory.choices import RELABELLINGS, SIDES, TRIALS
from predictlearn.predictions.laboratory.entry import Entry
from predictlearn.predictions.laboratory.measure import PercentCorrect, RecordedValue
from predictlearn.predictions.laboratory.rates import discrimination
from predictlearn.predictions.laboratory.tasks import cue_task, mixed, unlike
from predictlearn.statistics import compare_groups, compare_pairs, decoding

__all__ = ["MEMORY_ENTRIES"]

# Bins at the ends of cue, delay and answer.
_MOMENTS = (9, 19, 29)
_GEOMETRY = ("cue", "cue_delay", "cue_answer", "delay", "delay_answer", "answer")


def _aba(animal: Animal) -> dict[str, Array]:
    """Train A, B, A, B; return the beginning of both trainings of B."""
    a, b = cue_task((1.0, 0.0), 1.0), cue_task(unlike(0.6), -1.0)
    animal.train(a, TRIALS, 15)
    first = -animal.train(b, TRIALS, 10)[:3, ..., 0]
    animal.train(a, TRIALS, 20)
    return {"first": first, "second": -animal.train(b, TRIALS, 3)[..., 0]}


def _reversals(animal: Animal) -> dict[str, Array]:
    """Train a discrimination and six reversals; return how the first and last begin."""
    found = []
    for k in range(7):
        sign = (-1.0) ** k
        margins = sign * SIDES * animal.train(discrimination(sign), TRIALS, 15)[..., 0]
        found.append(margins[:5])
    return {"first reversal": found[1], "sixth reversal": found[6]}


def _history(animal: Animal) -> dict[str, Array]:
    """Train with a short or a longer delay, and then the same third task."""
    third = cue_task(unlike(0.7), 1.0)
    found = {}
    for arm, delay in (("short delay", 0.25), ("long delay", 0.5)):
        own = animal.copy()
        own.train(discrimination(delay=delay), TRIALS, 20)
        own.train(third, TRIALS, 20)
        found[arm] = own.geometry(third, _MOMENTS)[np.triu_indices(3)]
    return found


def _drift(animal: Animal) -> dict[str, Array]:
    """Go on with a learned task, with rewards of constant or of varied size."""
    task = mixed(cue_task((1.0, 0.0), 1.0))
    animal.train(task, TRIALS, 15)
    before = animal.power(task)
    found = {}
    for arm, unreliable in (("constant rewards", 0.0), ("varied rewards", 0.5)):
        own = animal.copy()
        own.train(task, TRIALS, 15, unreliable=unreliable)
        found[arm] = np.array([100.0 * (own.power(task) / before - 1.0)])
    return found


class _Drift(RecordedValue):
    """Size of a change between two recordings, each with its error."""

    def __call__(self, expected: Array, rng: np.random.Generator) -> Array:
        """Draw sizes of changes, percent, (animals, 1)."""
        after, before = 1 + self.relative * rng.standard_normal((2, *expected.shape))
        return np.asarray(np.abs(100.0 * ((1 + expected / 100.0) * after / before - 1.0)))[:, 0]


MEMORY_ENTRIES = (
    Entry(
        name="a-b-a",
        statement="A mouse that learned A, B and A again learns B faster the second time, though "
        "its performance in A is back and shows nothing of B.",
        protocol="aba, synapses-aba",
        intervention="A: one cue; B: a similar cue with the opposite answer. 15 sessions of A, 10 "
        "of B, 20 of A, and B again.",
        measure="Percent correct over the first three sessions of B, first and second time.",
        kind="behaviour",
        test=partial(compare_pairs, outcome="percent_correct", reference="first"),
        falsifier="The second learning of B is as slow as the first, within 5 percentage points.",
        alternatives="Practice with the apparatus: a third task, as new as B was, should not be "
        "learned faster. Where A fixes all of the function, as the published filter task does, "
        "factors return and no trace is predicted without noise.",
        experiment=_aba,
        measures=PercentCorrect(),
        design="pairs",
        outcome="percent_correct",
        reference="first",
        axis="Correct in three sessions of B (%)",
        arms="Learning of B",
    ),
    Entry(
        name="serial-reversal",
        statement="Mice are better early in the sixth reversal of a discrimination than in the "
        "first, by a few percentage points.",
        protocol="serial-reversal",
        intervention="15 sessions of a discrimination of two cues and six reversals of 15 "
        "sessions.",
        measure="Percent correct over the first five sessions of the first and sixth reversal.",
        kind="behaviour",
        test=partial(compare_pairs, outcome="percent_correct", reference="first reversal"),
        falsifier="Reversals that become slower, or much faster: one-session reversals are beyond "
        "this theory.",
        alternatives="Learning of the rule of reversals (win-stay, lose-shift), which would make "
        "the first sessions of late reversals near perfect.",
        experiment=_reversals,
        measures=PercentCorrect(),
        design="pairs",
        outcome="percent_correct",
        reference="first reversal",
        axis="Correct early in a reversal (%)",
        arms="Of six reversals",
    ),
    Entry(
        name="history-decoding",
        statement="Which delay a mouse was trained with before can be decoded from the geometry of "
        "its activity in a third task that both groups perform equally.",
        protocol="published-twin-history",
        intervention="Two groups learn a discrimination with a delay of 0.25 or 0.5 s for 20 "
        "sessions, then the same third task for 20.",
        measure="Inner products of population activity between the ends of cue, delay and answer "
        "in the third task (six numbers an animal); performance in it as a control.",
        kind="activity",
        test=partial(decoding, target="arm", features=list(_GEOMETRY), n_permutations=199),
        falsifier="Decoding at chance, 50%, in animals enough for 95% power.",
        alternatives="Performance or movement in the third task that differs between groups; "
        "different neurons recorded.",
        experiment=_history,
        measures=RecordedValue("percent decoded"),
        design="groups",
        outcome="arm",
        reference="short delay",
        features=_GEOMETRY,
    ),
    Entry(
        name="drift",
        statement="With rewards of varied size the activity of a well-trained mouse drifts while "
        "its performance stays, and more than with constant rewards.",
        protocol="",
        intervention="After 15 sessions of a one-cue task, 15 more with rewards that are "
        "constant, or vary from trial to trial with a coefficient of variation of 0.5 about the "
        "same mean.",
        measure="Size of the change in mean squared activity over a trial, percent, between "
        "recordings before and after; performance as a control.",
        kind="activity",
        test=partial(
            compare_groups,
            outcome="change",
            reference="constant rewards",
            method="permutation",
            n_resamples=RELABELLINGS,
        ),
        falsifier="Changes as small as with constant rewards.",
        alternatives="Loss or exchange of recorded neurons, arousal; both should drift under "
        "constant rewards as well.",
        experiment=_drift,
        measures=_Drift("percent of mean squared activity"),
        design="groups",
        outcome="change",
        reference="constant rewards",
        axis="Change of squared activity (size, %)",
    ),
)
