"""Mice of three public sets, real and simulated, for `power_real_animals_sets.py`."""

from __future__ import annotations

from functools import cache

import behaviour_defaults as defaults
import numpy as np
import pandas as pd
from behaviour_estimates import learning_curves, nested_log
from power_real_animals_draws import (
    ALONE,
    MANY,
    TOGETHER,
    between,
    lognormal,
    normal,
    probits,
    spread,
    together,
)
from scipy import special

from predictlearn.behaviour import (
    Choices,
    Criterion,
    OutputCurves,
    TrainingSessions,
    simulate_animals,
    typical_value,
)

# Trials after which training of heimburg's mice is taken to end, and of ang's reversal.
HEIMBURG_END, ANG_END = 1500.0, 100.0
CONTROLS = ["OFF", "GFP"]
FAST = Criterion(0.8, 10)

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
def ang_fit(alike: bool) -> dict[str, tuple[float, ...]]:
    """Return the learning curves of the reversal, with one start for all mice if `alike`."""
    return learning_curves(defaults._ang(1, CONTROLS), alike)


@cache
def ang_simulated(model: str) -> pd.DataFrame:
    """Simulate reversals: log odds rise linearly up to a lapse rate; rates are lognormal.

    Independent of the start, correlated with it, or with one start for all.
    """
    fit = ang_fit(model == ALONE)
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
