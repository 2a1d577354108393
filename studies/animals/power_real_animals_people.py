"""People of three public sets, real and simulated, for `power_real_animals_sets.py`."""

from __future__ import annotations

from functools import cache

import behaviour_defaults as defaults
import numpy as np
import pandas as pd
from behaviour_estimates import adaptation_rates
from power_real_animals_draws import MANY, between, lognormal, normal, spread, together

from predictlearn.behaviour import (
    Animals,
    Errors,
    OutputCurves,
    TrainingSessions,
    simulate_animals,
    typical_value,
)

# People of these experiments of avraham adapt for 80 cycles, and again from cycle 211 on.
TWICE = ("AntiClampWashRep_trials", "GradRotWash_trials", "NoFBWash_trials")
NOISE_KIM, NOISE_THART = "human_motor_noise_of_cycles", "human_motor_noise_thart"

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
    cycles = avraham().loc[:, 11:90]
    # ten people had no rotation in some of these cycles
    whole = cycles[cycles.notna().sum(axis=1) >= 70]
    filled = whole.interpolate(axis=1, limit_direction="both")
    return adaptation_rates(filled.to_numpy(), correlated=True)


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
