"""Entries on reaching: relearning, readouts in a closed loop, and rules told apart."""

from __future__ import annotations

from functools import lru_cache, partial

import numpy as np

from predictlearn.arrays import Array
from predictlearn.behaviour.movement import angles_between
from predictlearn.predictions.laboratory.animals import Animal
from predictlearn.predictions.laboratory.entry import Entry
from predictlearn.predictions.laboratory.measure import CursorSpeed, ReachAngle
from predictlearn.predictions.laboratory.rates import trained_reacher
from predictlearn.predictions.laboratory.tasks import reach
from predictlearn.statistics import compare_pairs, equivalent_pairs
from predictlearn.tasks.arrays import ArrayTask
from predictlearn.tasks.cursor_reaching import CursorReaching
from predictlearn.theory.synapses.network import Feedback

__all__ = ["REACHING_ENTRIES"]

# A monkey's progress with a familiar mapping, mm/s: see `measure.PROGRESS_SD`.
_MM_S = 51.0
_TURN, _FAR = 50.0, 150.0
# Half of the mean memory trace of bci-aba-losey2024, memory_trace_mm_s_by_monkey.csv: 4.5 mm/s.
_TRACE = 2.2
# A tenth of the rotation, degrees.
_SAVED = 3.0


def _error(outputs: Array, task: ArrayTask) -> Array:
    """Return the angle of the cursor from the target."""
    return angles_between(outputs, np.broadcast_to(task.targets[:, -1], outputs.shape))


def _savings(animal: Animal) -> dict[str, Array]:
    """Learn a rotation, wash it out with veridical feedback, and learn it again."""
    trained_reacher(animal)
    turned = reach(30.0)
    first = _error(animal.train(turned, 40, 8), turned)
    animal.train(reach(), 40, 8)
    again = _error(animal.train(turned, 40, 1), turned)
    return {"first": np.abs(first[:1]), "again": np.abs(again)}


@lru_cache(maxsize=1)
def loop() -> ArrayTask:
    """Return reaching with a cursor that is seen 100 ms late."""
    task = CursorReaching(
        targets=(0.0, 90.0, 180.0, 270.0),
        duration=1.0,
        dt=0.05,
        reach_time=0.5,
        gain=6.0,
        smoothing=0.05,
        feedback="error",
        delay=0.1,
        go=False,
    )
    return ArrayTask.from_trials(task.sample())


def _under(animal: Animal, degrees: float) -> Array:
    """Return progress of the present activity, were the readout turned: units of output."""
    y = animal.outputs(loop())
    angle = np.deg2rad(degrees)
    turned = y @ np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    return np.asarray(np.sum(turned * loop().targets[:, -1], axis=1))


def _loop(animal: Animal) -> dict[str, Array]:
    """Go through a familiar, a new and the familiar mapping of a cursor."""
    fixed = {"out": 0.0}
    trained_reacher(animal, readout=0.0)
    animal.train(loop(), 100, 4, drug=fixed, read=False)
    scale = _MM_S / float(_under(animal, 0.0).mean())
    first = _under(animal, _TURN)
    animal.turn(_TURN)
    animal.train(loop(), 100, 6, drug=fixed, read=False)
    animal.turn(-_TURN)
    animal.train(loop(), 100, 4, drug=fixed, read=False)
    return {"first": scale * first, "again": scale * _under(animal, _TURN)}


def _far_turn(animal: Animal) -> dict[str, Array]:
    """Turn a readout that does not learn by far more than a right angle."""
    fixed = {"out": 0.0}
    trained_reacher(animal, readout=0.0)
    aims = reach().targets[:, -1]
    scale = _MM_S / float(np.mean(np.sum(animal.outputs(reach()) * aims, axis=1)))
    animal.turn(_FAR)
    progress = scale * np.sum(animal.train(reach(), 20, 3, drug=fixed) * aims, axis=-1)
    return {"early": progress[:1], "late": progress[-1:]}


REACHING_ENTRIES = (
    Entry(
        name="savings",
        statement="People relearn a rotation after washout as fast as they learned it, within "
        "three degrees over the first 40 reaches: neither savings nor attenuation.",
        protocol="savings, washout-three-ways",
        intervention="A visuomotor rotation of 30 degrees for 320 reaches, 320 with veridical "
        "feedback, and the rotation again.",
        measure="Mean size of the angle between cursor and target over the first 40 reaches, first "
        "and second time; the same within three degrees.",
        kind="behaviour",
        test=partial(equivalent_pairs, outcome="degrees", reference="first", bounds=_SAVED),
        falsifier="Relearning that is faster or slower by more than three degrees. People show "
        "savings by strategy and attenuation of implicit adaptation (Avraham et al. 2021, PLoS "
        "Biol 19:e3001147), which this theory has neither of.",
        alternatives="Savings and attenuation that cancel: clamped feedback leaves the second "
        "alone. Interference of the washout, which is gone where it is without feedback (Avraham "
        "& Ivry 2025, eNeuro 12:0132-25).",
        experiment=_savings,
        measures=ReachAngle(40),
        design="pairs",
        outcome="degrees",
        reference="first",
        subjects="people",
        bound=_SAVED,
        axis="Angle off target, first 40 reaches (degrees)",
        arms="Learning of the rotation",
    ),
    Entry(
        name="closed-loop-readout",
        statement="After a familiar, a new and again the familiar mapping of a brain-computer "
        "interface, activity is what it was: it would move the cursor under the new mapping no "
        "better than before.",
        protocol="closed-loop-reaching, readout-perturbation",
        intervention="A cursor in a closed loop whose readout is turned by 50 degrees for 600 "
        "trials and turned back for 400.",
        measure="Progress that the activity of the familiar mapping would make under the new one, "
        "mm/s, in 100 trials before and after; the same within 2.2 mm/s.",
        kind="activity",
        test=partial(equivalent_pairs, outcome="mm_s", reference="first", bounds=_TRACE),
        falsifier="A gain of more than 2.2 mm/s. Losey et al. (2024, Curr Biol 34:1519) report one "
        "of 4.5 mm/s on average, which speaks against descent on this task alone.",
        alternatives="Drift of tuning over the session, which a session of the familiar mapping "
        "alone shows; a familiar mapping practised too briefly to return.",
        experiment=_loop,
        measures=CursorSpeed(100),
        design="pairs",
        outcome="mm_s",
        reference="first",
        subjects="monkeys",
        n_cohort=100,
        bound=_TRACE,
        axis="Progress under the new mapping (mm/s)",
        arms="Time with the familiar mapping",
    ),
    Entry(
        name="rules-told-apart",
        statement="Within 60 trials of a readout that is turned by 150 degrees the cursor improves "
        "if errors reach neurons by the new readout, and gets worse if they still come by the old.",
        protocol="closed-loop-reaching, readout-perturbation",
        intervention="A brain-computer interface whose readout, which does not learn, is turned by "
        "150 degrees for 60 trials.",
        measure="Progress of the cursor, mm/s, in the first and the last 20 of these trials.",
        kind="behaviour",
        test=partial(compare_pairs, outcome="mm_s", reference="early"),
        falsifier="Of descent: progress that falls. Of feedback by the old decoder: progress that "
        "rises.",
        alternatives="A strategy of aiming elsewhere, which would be sudden; a decoder of other "
        "neurons than those that learn.",
        experiment=_far_turn,
        measures=CursorSpeed(20),
        design="pairs",
        outcome="mm_s",
        reference="early",
        subjects="monkeys",
        axis="Progress of the cursor (mm/s)",
        arms="Of 60 trials after the turn",
        feedback=Feedback(decoder=1.0, private=0.0),
    ),
)
