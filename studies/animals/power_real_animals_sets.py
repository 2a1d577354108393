"""Real subjects of six public sets, and simulated ones, for `power_real_animals.py`.

An array has one row a subject, in one of four kinds:

levels   (subjects, 1): the mean outcome; an effect is taken off it
counts   (subjects, 2): trials and correct ones; an effect is the share of errors that is avoided
times    (subjects, 1): trials to criterion, censored at a horizon; an effect multiplies them
pairs    (subjects, 2): the outcome twice; an effect is added to the second

Simulated subjects come from predictlearn.behaviour, with numbers of `behaviour_defaults` where
there are any, else from the same real subjects; `numbers` says which.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from power_real_animals_draws import ALIKE, ALONE, APART, TOGETHER, VARYING
from power_real_animals_mice import (
    ANG_END,
    HEIMBURG_END,
    ang_simulated,
    ang_trials,
    counted,
    hao_model,
    hao_real,
    heimburg_cohorts,
    heimburg_lognormal,
    heimburg_real,
    to_criterion,
)
from power_real_animals_people import (
    NOISE_KIM,
    NOISE_THART,
    adapting,
    change_kim,
    change_thart,
    early_people,
    late_kim,
    late_people,
    late_thart,
    relearning,
    relearning_people,
    steady,
    switch_kim,
    twice,
)

from predictlearn.behaviour import typical_value


@dataclass(frozen=True)
class Outcome:
    """One outcome of one public set.

    Parameters
    ----------
    source, name : str
        Set and outcome.
    kind : {"levels", "counts", "times", "pairs"}
        As above.
    effect : str
        How the effect reads, with {} for its size.
    real : callable
        Returns the real subjects, and how many group means were taken out of them.
    models : dict of str to callable
        Each returns simulated subjects.
    numbers : str
        Where the numbers of the models come from.
    cells : dict
        Subjects a group (pairs: in all), by effect.
    horizon : float
        Of times.
    """

    source: str
    name: str
    kind: str
    effect: str
    real: Callable[[], tuple[np.ndarray, int]]
    models: dict[str, Callable[[], np.ndarray]]
    numbers: str
    cells: dict[float, tuple[int, ...]]
    horizon: float = np.inf


OWN = "spread between subjects of these subjects, trial noise taken out"
OUTCOMES = (
    Outcome(
        "mouse-reversals-hao2021",
        "percent correct, five days",
        "counts",
        "{:.0%} of errors avoided",
        hao_real,
        {
            "log odds normal": lambda: hao_model(False),
            "percent normal": lambda: hao_model(True),
        },
        f"log odds: {OWN}; defaults: mouse_session_noise, mouse_trials_per_session with spread",
        {0.2: (8, 16), 0.33: (16,)},
    ),
    Outcome(
        "mouse-reversal-ang2021",
        "percent correct, reversal",
        "counts",
        "{:.0%} of errors avoided",
        lambda: (counted(ang_trials()), 1),
        {
            APART: lambda: counted(ang_simulated(APART)),
            ALONE: lambda: counted(ang_simulated(ALONE)),
            TOGETHER: lambda: counted(ang_simulated(TOGETHER)),
        },
        "defaults: the fit behind mouse_reversal_rate, _start_sd, _start_with_rate, mouse_lapse",
        {0.25: (7, 12), 0.4: (12,)},
    ),
    Outcome(
        "mouse-reversal-ang2021",
        "trials to 8 of 10, reversal",
        "times",
        "trials x {:g}",
        lambda: (to_criterion(ang_trials()), 0),
        {
            APART: lambda: to_criterion(ang_simulated(APART)),
            ALONE: lambda: to_criterion(ang_simulated(ALONE)),
            TOGETHER: lambda: to_criterion(ang_simulated(TOGETHER)),
        },
        "as the row above; nothing of it is fitted to trials to criterion",
        {1.3: (7, 12), 1.6: (12,)},
        ANG_END,
    ),
    Outcome(
        "mouse-reversal-heimburg",
        "trials to criterion",
        "times",
        "trials x {:g}",
        heimburg_real,
        {"lognormal": heimburg_lognormal, "lognormal in real cohorts": heimburg_cohorts},
        "defaults: mouse_trials_to_criterion with spread; cohorts by that fit, or as they are",
        {1.4: (10, 20), 1.7: (20,)},
        HEIMBURG_END,
    ),
    Outcome(
        "adaptation-relearning-avraham",
        "hand angle, late",
        "levels",
        "-{:g} degrees",
        late_people,
        {
            APART: lambda: adapting(8, correlated=False)[:, -1:],
            TOGETHER: lambda: adapting(8)[:, -1:],
        },
        "defaults: human_adaptation_rate, _asymptote, human_motor_noise, each with spread",
        {6.0: (20, 40), 8.5: (40,)},
    ),
    Outcome(
        "adaptation-relearning-avraham",
        "hand angle, early",
        "levels",
        "-{:g} degrees",
        early_people,
        {APART: lambda: adapting(1, correlated=False), TOGETHER: lambda: adapting(1)},
        "as the row above",
        {2.6: (20, 40), 3.7: (40,)},
    ),
    Outcome(
        "adaptation-relearning-avraham",
        "hand angle, early, learned twice",
        "pairs",
        "+{:g} degrees",
        relearning_people,
        {ALIKE: lambda: relearning(False), VARYING: lambda: relearning(True)},
        "as the row above; noise of a block from these changes where it varies",
        {2.8: (12, 25), 4.0: (25,)},
    ),
    Outcome(
        "target-order-kim",
        "hand angle, late",
        "levels",
        "-{:g} degrees",
        late_kim,
        {"level normal": lambda: steady(late_kim(), typical_value(NOISE_KIM), 1, 0.0)},
        f"{OWN}; defaults: human_motor_noise_of_cycles",
        {5.0: (6, 12), 8.0: (12,)},
    ),
    Outcome(
        "target-order-kim",
        "hand angle, two late blocks",
        "pairs",
        "+{:g} degrees",
        change_kim,
        {
            ALIKE: lambda: twice(change_kim(), typical_value(NOISE_KIM), False),
            VARYING: lambda: twice(change_kim(), typical_value(NOISE_KIM), True),
        },
        "as the row above; noise of a block from these changes where it varies",
        {1.5: (8, 16), 2.1: (16,)},
    ),
    Outcome(
        "target-order-kim",
        "hand angle, change of target",
        "pairs",
        "+{:g} degrees",
        switch_kim,
        {
            ALIKE: lambda: twice(switch_kim(), typical_value(NOISE_KIM), False),
            VARYING: lambda: twice(switch_kim(), typical_value(NOISE_KIM), True),
        },
        "as the row above; noise of a block from these changes where it varies",
        {2.0: (8, 16), 2.8: (16,)},
    ),
    Outcome(
        "two-rate-thart",
        "reach, late",
        "levels",
        "-{:g} degrees",
        late_thart,
        {"level normal": lambda: steady(late_thart(), typical_value(NOISE_THART), 1, 0.0)},
        f"{OWN}; defaults: human_motor_noise_thart",
        {3.5: (5, 8), 6.0: (8,)},
    ),
    Outcome(
        "two-rate-thart",
        "reach, two late blocks",
        "pairs",
        "+{:g} degrees",
        change_thart,
        {
            ALIKE: lambda: twice(change_thart(), typical_value(NOISE_THART), False),
            VARYING: lambda: twice(change_thart(), typical_value(NOISE_THART), True),
        },
        "as the row above; noise of a block from these changes where it varies",
        {1.0: (8, 16), 1.45: (16,)},
    ),
)
