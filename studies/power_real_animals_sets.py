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
from functools import cache

import behaviour_defaults as defaults
import numpy as np
import pandas as pd
from behaviour_estimates import adaptation_rates, learning_curves, nested_log
from scipy import special, stats

from predictlearn.behaviour import (
    Animals,
    Choices,
    Criterion,
    Errors,
    OutputCurves,
    TrainingSessions,
    as_distribution,
    simulate_animals,
    typical_value,
)

# Simulated subjects of a population, from which experiments are drawn.
MANY = 3000
# Trials after which training of heimburg's mice is taken to end, and of ang's reversal.
HEIMBURG_END, ANG_END = 1500.0, 100.0
CONTROLS = ["OFF", "GFP"]
# People of these experiments of avraham adapt for 80 cycles, and again from cycle 211 on.
TWICE = ("AntiClampWashRep_trials", "GradRotWash_trials", "NoFBWash_trials")
FAST = Criterion(0.8, 10)


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


def spread(spec: dict[str, object], rng: np.random.Generator, size: int = MANY) -> np.ndarray:
    """Draw a distribution evenly: one subject in each of `size` slices of equal probability."""
    places = (rng.permutation(size) + rng.random(size)) / size
    return np.asarray(as_distribution("spread", spec).ppf(places))


def together(
    first: np.ndarray, rho: float, spec: dict[str, object], rng: np.random.Generator
) -> np.ndarray:
    """Draw a distribution evenly so that its normal scores correlate with those of `first`."""
    ranks = special.ndtri((stats.rankdata(first) - 0.5) / len(first))
    scores = rho * ranks + np.sqrt(1 - rho**2) * spread(normal(0.0, 1.0), rng, len(first))
    return np.asarray(as_distribution("together", spec).ppf(special.ndtr(scores)))


def normal(mean: float, sd: float) -> dict[str, object]:
    """Return a normal distribution by name."""
    return {"distribution": "normal", "mean": mean, "sd": sd}


def lognormal(median: float, sd_log: float) -> dict[str, object]:
    """Return a lognormal distribution by name."""
    return {"distribution": "lognormal", "median": median, "sd_log": sd_log}


def probits(log_odds: np.ndarray) -> np.ndarray:
    """Return outputs to which Choices of noise 1 give these log odds of a correct answer."""
    return np.asarray(special.ndtri(special.expit(np.clip(log_odds, -30, 30))))


def between(values: np.ndarray, noise: float, trials: float) -> float:
    """Return the spread between subjects of means of so many trials, without that of trials."""
    return float(np.sqrt(max(np.var(values, ddof=1) - noise**2 / trials, 0.0)))


# Mice of hao: percent correct in the first five whole days of the last stage.


@cache
def hao_days() -> pd.DataFrame:
    """Return the days: mouse, n, k."""
    table = pd.read_csv(defaults.data() / "mouse-reversals-hao2021" / "learning_by_day.csv")
    days = table.groupby(["mouse", "day"]).agg(
        n=("trials", "sum"), k=("hits", "sum"), stages=("stage", "nunique"), stage=("stage", "max")
    )
    days = days[(days.stages == 1) & (days.stage == 19) & (days.n >= 50)].reset_index()
    return days.groupby("mouse").head(5)


def hao_real() -> tuple[np.ndarray, int]:
    """Return trials and correct ones of 32 mice."""
    return hao_days().groupby("mouse")[["n", "k"]].sum().to_numpy(float), 1


def hao_model(of_percent: bool) -> np.ndarray:
    """Simulate mice whose log odds, or else percent correct, are normal; log odds of days are."""
    rng = np.random.default_rng(1)
    noise = typical_value("mouse_session_noise")
    days = hao_days().assign(share=lambda x: x.n / x.groupby("mouse").n.transform("sum"))
    own = days.groupby("mouse")[["n", "k"]].sum()
    share = own.k / own.n
    # long days weigh more: of d days as long the noise would be noise^2 / d
    weights = float((days.share**2).groupby(days.mouse).sum().mean())
    level = share if of_percent else np.log(share / (1 - share))
    # on the scale of shares a day's noise is as much smaller as the logistic curve is flat
    slope = float((share * (1 - share)).mean()) if of_percent else 1.0
    wide = between(level.to_numpy(), noise * slope, 1 / weights)
    drawn = spread(normal(float(level.mean()), wide), rng)
    if of_percent:
        drawn = special.logit(np.clip(drawn, 0.01, 0.99))
    curves = OutputCurves([0.0, 1.0], probits(np.tile(drawn, (2, 1)).T)[:, :, None, None], [[1.0]])
    # days of one mouse: how much mice differ in their number of trials does not matter here
    trials = lognormal(
        typical_value("mouse_trials_per_session"), typical_value("mouse_trials_sd_log_sessions")
    )
    sessions = TrainingSessions.typical(5, trials=trials)
    found = simulate_animals(curves, None, None, Choices(1.0), sessions, 1e-9, seed=1).table
    right = found.assign(k=found.percent_correct * found.trials / 100)
    return right.groupby("subject", observed=True)[["trials", "k"]].sum().to_numpy(float)


# Mice of ang: the reversal of the 24 controls.


@cache
def ang_trials() -> pd.DataFrame:
    """Return trials of the reversal: subject, session, correct."""
    table = pd.read_csv(defaults.data() / "mouse-reversal-ang2021" / "trials.csv")
    table = table[(table.phase == 1) & table.condition.isin(CONTROLS)]
    names = {"sub": "subject", "day": "session", "rew.found": "correct"}
    return table.rename(columns=names)[list(names.values())]


@cache
def ang_simulated(model: str) -> pd.DataFrame:
    """Simulate reversals: log odds rise linearly up to a lapse rate; rates are lognormal.

    Independent of the start, correlated with it, or with one start for all.
    """
    fit = learning_curves(defaults._ang(1, CONTROLS), alike=model == ALONE)
    rng = np.random.default_rng(2)
    rates = spread(lognormal(fit["rate"][0], fit["rate_sd_log"][0]), rng)
    first = np.full(MANY, fit["start_log_odds"][0])
    if model != ALONE:
        rho = typical_value("mouse_reversal_start_with_rate") if model == TOGETHER else 0.0
        first = together(rates, rho, normal(first[0], fit["start_sd"][0]), rng)
    times = np.linspace(0.0, 120.0, 241)
    log_odds = first[:, None] + rates[:, None] * times
    found = simulate_animals(
        OutputCurves(times, probits(log_odds)[:, :, None, None], [[1.0]]),
        None,
        None,
        Choices(1.0, fit["lapse"][0]),
        TrainingSessions(12, 10, performance_noise=fit["session_noise"][0]),
        1.0,
        per_trial=True,
        seed=2,
    )
    return found.table


def counted(trials: pd.DataFrame) -> np.ndarray:
    """Return trials and correct ones by subject."""
    return (
        trials.groupby("subject", observed=True).correct.agg(["size", "sum"]).to_numpy(dtype=float)
    )


def to_criterion(trials: pd.DataFrame) -> np.ndarray:
    """Return trials to 8 of 10 correct by subject, infinite where it was not reached."""
    found = FAST.trials_to_criterion(trials)
    return found.trials.where(found.reached, np.inf).to_numpy(float)[:, None]


# Mice of heimburg: trials to the criterion of the first rule.


@cache
def heimburg() -> pd.DataFrame:
    """Return cohort (as animal) and trials n, missing for one mouse."""
    file = defaults.data() / "mouse-reversal-heimburg" / "trials_to_criterion.csv"
    table = pd.read_csv(file)
    return table.assign(n=table.trials_to_criterion_initial, animal=table.cohort)


def heimburg_real() -> tuple[np.ndarray, int]:
    """Return trials to criterion of 45 mice, infinite for the one without."""
    return heimburg().n.fillna(np.inf).to_numpy(float)[:, None], 0


def some_never(trials: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Let a share of mice never reach the criterion."""
    never = rng.random(len(trials)) < typical_value("mouse_without_criterion_initial")
    return np.where(never, np.inf, trials)[:, None]


def heimburg_lognormal() -> np.ndarray:
    """Simulate mice and cohorts that are lognormal."""
    rng = np.random.default_rng(3)
    _, cohorts, _ = nested_log(heimburg().dropna(subset=["n"]), "n")
    sd = float(np.hypot(cohorts, typical_value("mouse_trials_to_criterion_sd_log")))
    trials = spread(lognormal(typical_value("mouse_trials_to_criterion"), sd), rng)
    return some_never(trials, rng)


def heimburg_cohorts() -> np.ndarray:
    """Simulate mice that are lognormal about the geometric means of the cohorts that there are."""
    rng = np.random.default_rng(3)
    log = np.log(heimburg().n).groupby(heimburg().cohort)
    middle, mice = np.exp(log.mean().to_numpy()), log.count().to_numpy()
    own = np.repeat(middle, np.round(MANY * mice / mice.sum()).astype(int))
    sd = typical_value("mouse_trials_to_criterion_sd_log")
    return some_never(own * spread(lognormal(1.0, sd), rng, own.size), rng)


# People of avraham: hand angles against a rotation or clamp, learned twice.


@cache
def avraham() -> pd.DataFrame:
    """Return mean hand angles by person (rows) and cycle."""
    table = pd.read_csv(defaults.data() / "adaptation-relearning-avraham" / "trials.csv.gz")
    table = table[table.experiment.isin(TWICE) & (table.ri != 0)]
    against = table.assign(h=-np.sign(table.ri) * table.hand_theta)
    return against.groupby(["experiment", "SN", "CN"]).h.mean().unstack()


def mean_of(table: pd.DataFrame, first: int, last: int) -> pd.Series:
    """Return the mean over cycles or reaches from first to last."""
    return table.loc[:, first:last].mean(axis=1)


def late_people() -> tuple[np.ndarray, int]:
    """Return the last ten cycles of the first learning."""
    return mean_of(avraham(), 81, 90).dropna().to_numpy()[:, None], 1


def early_people() -> tuple[np.ndarray, int]:
    """Return the first ten cycles of the first learning."""
    return mean_of(avraham(), 11, 20).dropna().to_numpy()[:, None], 1


def centred(first: pd.Series, second: pd.Series, level: str) -> tuple[np.ndarray, int]:
    """Return pairs, the mean change of each group of subjects taken out, and the groups."""
    both = pd.concat([first, second], axis=1).dropna()
    change = both[1] - both[0]
    own = (change - change.groupby(level).transform("mean")).to_numpy()
    return np.stack([both[0], both[0] + own], axis=1), change.groupby(level).ngroups


def relearning_people() -> tuple[np.ndarray, int]:
    """Return the first ten cycles of both learnings."""
    return centred(mean_of(avraham(), 11, 20), mean_of(avraham(), 211, 220), "experiment")


@cache
def adaptation_correlated() -> dict[str, tuple[float, ...]]:
    """Return the fit of the first learning in which rate and asymptote may correlate."""
    cycles = avraham().loc[:, 11:90].interpolate(axis=1, limit_direction="both")
    return adaptation_rates(cycles.to_numpy(), correlated=True)


def adapting(
    sessions: int, noise: float = 0.0, seed: int = 0, correlated: bool = True
) -> np.ndarray:
    """Simulate people who adapt exponentially: means of blocks of ten cycles, (people, blocks).

    Who they are does not depend on `seed`, their reaches do. Rate and asymptote are independent,
    with the numbers of `behaviour_defaults`, or correlated.
    """
    rng = np.random.default_rng(4)
    names = ("asymptote", "asymptote_sd", "rate", "rate_sd_log")
    rho, fit = 0.0, {name: typical_value(f"human_adaptation_{name}") for name in names}
    if correlated:
        found = adaptation_correlated()
        rho, fit = found["correlation"][0], {name: found[name][0] for name in names}
    r = spread(lognormal(fit["rate"], fit["rate_sd_log"]), rng)
    a = together(r, rho, normal(fit["asymptote"], fit["asymptote_sd"]), rng)
    # in cycles; the four reaches of cycle t lie about t
    times = np.linspace(0.0, 10.0 * sessions, 20 * sessions + 1)
    angles = a[:, None] * (1 - np.exp(-r[:, None] * (times + 0.625)))
    motor = lognormal(typical_value("human_motor_noise"), typical_value("human_motor_noise_sd_log"))
    table = simulate_animals(
        OutputCurves(times, angles[:, :, None, None], [[0.0]]),
        None,
        None,
        Errors(1.0, "signed"),
        TrainingSessions(sessions, 40, performance_noise=noise),
        Animals(rate_per_trial=0.25, noise=motor),
        seed=100 + seed,
    ).table
    return table.error.to_numpy().reshape(MANY, sessions)


def relearning(varying: bool) -> np.ndarray:
    """Simulate people who learn twice, alike but for motor noise, or varying as they do."""
    pairs = np.stack([adapting(1, 0.0, seed)[:, 0] for seed in (0, 1)], axis=1)
    if not varying:
        return pairs
    extra = performance_noise(pairs, relearning_people())
    return np.stack([adapting(1, extra, seed)[:, 0] for seed in (0, 1)], axis=1)


def performance_noise(pairs: np.ndarray, real: tuple[np.ndarray, int]) -> float:
    """Return the noise of whole blocks by which changes of real subjects are as wide as they are.

    `pairs` are simulated ones, with motor noise alone.
    """
    values, groups = real
    change = values[:, 1] - values[:, 0]
    wide = float(change @ change) / (change.size - groups)
    return float(np.sqrt(max(wide - np.var(pairs[:, 1] - pairs[:, 0]), 0.0) / 2))


# People of kim and thart: steady levels late in training.


@cache
def kim() -> pd.DataFrame:
    """Return hand angles by person (order, subject) and cycle."""
    table = pd.read_csv(defaults.data() / "target-order-kim" / "hand_angles.csv")
    return table.set_index(["order", "subject", "cycle"]).hand_angle_deg.unstack()


@cache
def thart() -> pd.DataFrame:
    """Return reaches by person and their number."""
    table = pd.read_csv(defaults.data() / "two-rate-thart" / "reaches.csv")
    table = table.assign(i=table.groupby("participant").cumcount() + 1)
    return table.set_index(["participant", "i"]).reach_deviation.unstack()


def late_kim() -> tuple[np.ndarray, int]:
    """Return the last twenty cycles with the first target, mean of the order taken out."""
    own = mean_of(kim(), 91, 110)
    middle = own.groupby("order").transform("mean")
    return (own - middle + own.mean()).to_numpy()[:, None], 2


def change_kim() -> tuple[np.ndarray, int]:
    """Return the last twenty cycles with the first target, and the twenty before."""
    return centred(mean_of(kim(), 71, 90), mean_of(kim(), 91, 110), "order")


def switch_kim() -> tuple[np.ndarray, int]:
    """Return the last twenty cycles with the first target, and with the second."""
    return centred(mean_of(kim(), 91, 110), mean_of(kim(), 191, 210), "order")


def late_thart() -> tuple[np.ndarray, int]:
    """Return the last twenty rotated reaches."""
    return mean_of(thart(), 113, 132).to_numpy()[:, None], 1


def change_thart() -> tuple[np.ndarray, int]:
    """Return the last twenty rotated reaches, and the twenty before."""
    early, late = mean_of(thart(), 93, 112), mean_of(thart(), 113, 132)
    change = (late - early).to_numpy()
    return np.stack([early, early + change - change.mean()], axis=1), 1


def steady(real: tuple[np.ndarray, int], noise: float, blocks: int, extra: float) -> np.ndarray:
    """Simulate people with a level each: means of blocks of twenty reaches, (people, blocks)."""
    rng = np.random.default_rng(5)
    values, groups = real
    wide = between(values[:, 0], noise, 20)
    # every mean that was taken out costs a degree of freedom
    wide *= float(np.sqrt((len(values) - 1) / (len(values) - groups)))
    own = spread(normal(float(values[:, 0].mean()), wide), rng)
    curves = OutputCurves([0.0, 1.0], np.tile(own, (2, 1)).T[:, :, None, None], [[0.0]])
    sessions = TrainingSessions(blocks, 20, performance_noise=extra)
    table = simulate_animals(
        curves, None, None, Errors(noise, "signed"), sessions, 1e-9, seed=5
    ).table
    return table.error.to_numpy().reshape(MANY, blocks)


def twice(real: tuple[np.ndarray, int], noise: float, varying: bool) -> np.ndarray:
    """Simulate two blocks, alike but for motor noise, or varying as those of real people."""
    pairs = steady(real, noise, 2, 0.0)
    return steady(real, noise, 2, performance_noise(pairs, real)) if varying else pairs


OWN = "spread between subjects of these subjects, trial noise taken out"
ALIKE, VARYING = "same level twice", "level varies by block"
APART, ALONE, TOGETHER = "rate independent", "rate alone differs", "rate correlated"
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
NOISE_KIM, NOISE_THART = "human_motor_noise_of_cycles", "human_motor_noise_thart"
