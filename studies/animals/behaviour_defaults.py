"""Typical numbers of behaviour from public data, each with interval, n and provenance.

python studies/animals/behaviour_defaults.py           about two minutes; prints the table
python studies/animals/behaviour_defaults.py --write   writes it into the package and the page

Data are read where PREDICTLEARN_DATA points; no row of them is in this repository.
"""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import statsmodels.api as sm
from behaviour_estimates import (
    adaptation_rates,
    bootstrapped,
    hessian,
    learning_curves,
    nested_log,
    percentiles,
    reversal_rates,
    session_noise,
    spread_of_log_sd,
    wald,
)
from scipy import optimize, special, stats

ROOT = Path(__file__).resolve().parents[2]
TABLE = ROOT / "predictlearn" / "behaviour" / "defaults.csv"
PAGE = Path(__file__).with_suffix(".md")
HAO = "mouse-reversals-hao2021 (Hao, Thomas & Li 2021, eLife 10:e66112)"
ANG = "mouse-reversal-ang2021 (Ang et al. 2021; gawygawy/snPlast)"
HEIMBURG = "mouse-reversal-heimburg (GrohLab/A-tactile-discrimination-task)"
AVRAHAM = "adaptation-relearning-avraham (guyavr/InterferenceRelearningMotorAdaptation)"
KIM = "target-order-kim (Kim et al. 2019, eLife 8:e39882)"
THART = "two-rate-thart (thartbm/RTutorials)"
RAT = "rat-learning-psytrack (Roy et al. 2021, Neuron 109:597)"
DRAWS = 200
# A hand that goes further astray than this went to another target, or nowhere.
ASTRAY = 40.0


def data() -> Path:
    """Return the folder of the public data."""
    return Path(os.environ.get("PREDICTLEARN_DATA", ROOT.parent / "shared" / "data"))


class Rows(list):
    """Rows of the table."""

    def put(self, name, estimate, unit, n, source, columns, how):
        """Add one number with its interval."""
        value, low, high = (float(x) for x in estimate)
        self.append((name, value, low, high, unit, n, source, columns, how))


def _ang(phase, conditions):
    """Return days of the mice of some arms: animal, x, n, k."""
    table = pd.read_csv(data() / "mouse-reversal-ang2021" / "trials.csv")
    table = table[(table.phase == phase) & table.condition.isin(conditions)]
    days = table.groupby(["sub", "day"])["rew.found"].agg(n="size", k="sum").reset_index()
    days["x"] = days.groupby("sub").n.cumsum() - days.n / 2
    return days.rename(columns={"sub": "animal"})


def mice_of_ang(rows, rng):
    """Learning rates and lapses of the 24 control mice, and what a night changes."""
    how = "maximum marginal likelihood: start, log rate and sessions normal, in log odds"
    columns = "trials.csv: sub, phase, day, condition (OFF, GFP), rew.found"
    for phase, word in ((0, "learning"), (1, "reversal")):
        fit = learning_curves(_ang(phase, ["OFF", "GFP"]))
        n = f"{fit['animals']} mice, {fit['trials']} trials"
        name = f"mouse_{word}_rate"
        rows.put(f"{name}_sd_log", fit["rate_sd_log"], "sd of log", n, ANG, columns, how)
        rows.put(name, fit["rate"], "log odds per trial", n, ANG, columns, how)
        if word == "reversal":
            # of the first learning the likelihood is flat in the lapse rate
            rows.put("mouse_lapse", fit["lapse"], "share of trials", n, ANG, columns, how)
            spread, both = fit["start_sd"], fit["correlation"]
            rows.put(f"mouse_{word}_start_sd", spread, "log odds", n, ANG, columns, how)
            rows.put(f"mouse_{word}_start_with_rate", both, "correlation", n, ANG, columns, how)
        same = learning_curves(_ang(phase, ["OFF", "GFP"]), alike=True)["rate_sd_log"]
        alone = f"{how}, of which the rate alone differs between mice"
        rows.put(f"mouse_{word}_speed_sd_log", same, "sd of log", n, ANG, columns, alone)
    overnight(rows, rng)


def predictive_check(n=4000, seed=0):
    """Return percent correct by day of mice in their reversal, and of mice simulated from the fit.

    Mean and standard deviation between animals, with the interval of the measured one by a
    bootstrap of mice.
    """
    from predictlearn.behaviour import (
        Animals,
        Choices,
        OutputCurves,
        TrainingSessions,
        simulate_animals,
    )

    days = _ang(1, ["OFF", "GFP"])
    fit = {k: v[0] for k, v in learning_curves(days).items() if isinstance(v, tuple)}
    rng = np.random.default_rng(seed)
    own, rate = rng.standard_normal((2, n))
    both = fit["correlation"]
    start = fit["start_log_odds"] + fit["start_sd"] * (np.sqrt(1 - both**2) * own + both * rate)
    slope = fit["rate"] * np.exp(fit["rate_sd_log"] * rate)
    trial = np.arange(122.0)
    # a logistic function of log odds is nearly a normal one of 1 / 1.702 of them
    outputs = (start[:, None] + slope[:, None] * trial) / 1.702
    found = simulate_animals(
        OutputCurves(trial, outputs[:, :, None, None], [[1.0]]),
        None,
        None,
        Choices(1.0, fit["lapse"]),
        TrainingSessions(12, 10, performance_noise=fit["session_noise"]),
        Animals(1.0),
    )
    simulated = found.table.groupby("session").percent_correct.agg(["mean", "std"])
    measured = (100 * days.k / days.n).groupby([days.animal, days.day]).mean().unstack()
    values = measured.to_numpy()
    again = [
        values[rng.integers(len(values), size=len(values))].std(axis=0, ddof=1) for _ in range(999)
    ]
    low, high = np.percentile(again, [2.5, 97.5], axis=0)
    return pd.DataFrame(
        {
            "day": measured.columns,
            "mean, mice": measured.mean().to_numpy(),
            "mean, simulated": simulated["mean"].to_numpy(),
            "sd, mice": measured.std().to_numpy(),
            "from": low,
            "to": high,
            "sd, simulated": simulated["std"].to_numpy(),
        }
    ).round(1)


def overnight(rows, rng):
    """Change of log odds from the end of a day to the start of the next, while it still rises."""
    table = pd.read_csv(data() / "mouse-reversal-ang2021" / "trials.csv")
    table = table[(table.phase == 1) & (table.condition != "ON") & (table.day <= 8)]
    table = table.assign(t=table.groupby(["sub", "day"]).cumcount(), y=table["rew.found"])
    own = [x for _, x in table.groupby("sub")]

    def change(chosen):
        """Return the rise in a day and the change over a night, log odds."""
        some = pd.concat([own[i] for i in chosen])
        design = np.column_stack([*(some.day == d for d in range(1, 9)), some.t]).astype(float)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            fit = sm.GLM(some.y, design, family=sm.families.Binomial()).fit()
        b = np.asarray(fit.params)
        return 9 * b[8], (b[7] - b[0]) / 7 - 9 * b[8]

    again = np.array([change(rng.integers(len(own), size=len(own))) for _ in range(DRAWS)])
    day, night = change(range(len(own)))
    n, columns = f"{len(own)} mice, {len(table)} trials", "trials.csv: sub, day, trial, rew.found"
    how = "logistic regression on day (1 to 8 of the reversal) and trial in the day, mice resampled"
    rows.put(
        "mouse_rise_within_day", (day, *percentiles(again[:, 0])), "log odds", n, ANG, columns, how
    )
    rows.put(
        "mouse_change_overnight",
        (night, *percentiles(again[:, 1])),
        "log odds",
        n,
        ANG,
        columns,
        how,
    )


def mice_of_hao(rows, rng):
    """Trials a day, noise between days, and rates of many reversals."""
    table = pd.read_csv(data() / "mouse-reversals-hao2021" / "learning_by_day.csv")
    days = table.groupby(["mouse", "day"]).agg(
        n=("trials", "sum"), k=("hits", "sum"), stages=("stage", "nunique"), stage=("stage", "max")
    )
    days = days.reset_index().rename(columns={"mouse": "animal"})
    whole = (days.stages == 1) & (days.day < days.groupby("animal").day.transform("max"))
    days = days[(days.stage == 19) & whole]
    columns = "learning_by_day.csv: mouse, day, stage (19), trials, hits"
    n = f"{days.animal.nunique()} mice, {len(days)} days"
    middle, between, within = bootstrapped(days, lambda t: nested_log(t, "n"), rng, DRAWS)
    how = "mixed model of log trials, REML, mouse as random effect; mice resampled"
    rows.put("mouse_trials_per_session", middle, "trials, median", n, HAO, columns, how)
    rows.put("mouse_trials_sd_log_animals", between, "sd of log", n, HAO, columns, how)
    rows.put("mouse_trials_sd_log_sessions", within, "sd of log", n, HAO, columns, how)
    long = days[days.n >= 50]
    found, mice, used = session_noise(long, rng, DRAWS)
    how = "Williams' method about a quadratic trend a mouse, binomial noise removed; mice resampled"
    n = f"{mice} mice, {used} days of 50 trials or more"
    rows.put("mouse_session_noise", found, "sd of log odds", n, HAO, columns, how)
    _reversals(rows, rng)


def _reversals(rows, rng):
    """Put the spread of relearning rates over 8 mice with many reversals."""
    trials = pd.read_csv(data() / "mouse-reversals-hao2021" / "reversals.csv.gz")
    trials = trials[trials.outcome.isin([1, 2]) & (trials.reversals_so_far > 0)]
    trials = trials.assign(i=trials.groupby(["mouse", "reversals_so_far"]).cumcount())
    trials = trials.assign(block=trials.i // 50, correct=trials.outcome == 1)
    keys = ["mouse", "reversals_so_far", "block"]
    blocks = trials.groupby(keys).agg(n=("i", "size"), k=("correct", "sum"), x=("i", "mean"))
    names = {"mouse": "animal", "reversals_so_far": "reversal"}
    found, between, _ = reversal_rates(blocks.reset_index().rename(columns=names))
    mice = found.animal.nunique()
    # of a standard deviation of eight mice: chi squared, their sampling noise is small beside it
    low, high = (
        between * np.sqrt((mice - 1) / stats.chi2.ppf(p, mice - 1)) for p in (0.975, 0.025)
    )
    rows.put(
        "mouse_reversal_rate_sd_log_8",
        (between, low, high),
        "sd of log",
        f"{mice} mice, {len(found)} reversals, {len(trials)} trials",
        HAO,
        "reversals.csv.gz: mouse, reversals_so_far, outcome (1, 2)",
        "log rate of every reversal; REML with mouse as random effect; chi-squared interval",
    )


def mice_of_heimburg(rows, rng):
    """Trials to criterion, and how many mice have none."""
    table = pd.read_csv(data() / "mouse-reversal-heimburg" / "trials_to_criterion.csv")
    for rule in ("initial", "reversed"):
        column = f"trials_to_criterion_{rule}"
        value = table[column].where(table[column] > 0)
        missing = int(value.isna().sum())
        interval = stats.binomtest(missing, len(table)).proportion_ci(method="wilson")
        rows.put(
            f"mouse_without_criterion_{rule}",
            (missing / len(table), interval.low, interval.high),
            "share of mice",
            f"{missing} of {len(table)} mice",
            HEIMBURG,
            f"trials_to_criterion.csv: {column}",
            "missing or not positive: criterion not reached, not tested or not fitted; Wilson",
        )
        if rule == "initial":
            seen = table.assign(n=value, animal=table.cohort).dropna(subset=["n"])
            middle, _, within = bootstrapped(seen, lambda t: nested_log(t, "n"), rng, DRAWS)
            n = f"{len(seen)} mice, {seen.animal.nunique()} cohorts"
            how = "mixed model of log trials, REML, cohort as random effect; cohorts resampled"
            columns = f"trials_to_criterion.csv: cohort, {column}"
            rows.put(
                "mouse_trials_to_criterion", middle, "trials, median", n, HEIMBURG, columns, how
            )
            rows.put(
                "mouse_trials_to_criterion_sd_log",
                within,
                "sd of log",
                n,
                HEIMBURG,
                columns,
                f"{how}; holds chance of the animal's own trials: an upper bound for its rate",
            )


def people(rows, rng):
    """Motor noise and rates of adaptation of people who reach."""
    reaches = pd.read_csv(data() / "two-rate-thart" / "reaches.csv").dropna()
    aligned = reaches[(reaches.block == 1) & (reaches.schedule == 0)]
    series = [[own.reach_deviation.to_numpy()] for _, own in aligned.groupby("participant")]
    how = "successive differences; noise of the estimate taken out; people resampled"
    noise, spread = spread_of_log_sd(series, rng)
    n = f"{len(series)} people, {len(aligned)} reaches"
    columns = "reaches.csv: participant, block 1, reach_deviation"
    rows.put("human_motor_noise_thart", noise, "degrees", n, THART, columns, how)
    trials = pd.read_csv(data() / "adaptation-relearning-avraham" / "trials.csv.gz")
    trials = trials[trials.experiment != "Verid_5_45_85_trials"]
    first = trials[(trials.TN <= 40) & (trials.ri == 0)].dropna(subset=["hand_theta"])
    close = first[first.hand_theta.abs() <= ASTRAY]
    series = [
        [x.hand_theta.to_numpy() for _, x in own.groupby("ti") if len(x) > 2]
        for _, own in close.groupby(["experiment", "SN"])
    ]
    noise, spread = spread_of_log_sd(series, rng)
    n = f"{len(series)} people, {len(close)} reaches within {ASTRAY:g} degrees"
    columns = "trials.csv.gz: experiment, SN, TN (to 40), ti, ri (0), hand_theta"
    rows.put("human_motor_noise", noise, "degrees", n, AVRAHAM, columns, f"by target; {how}")
    rows.put(
        "human_motor_noise_sd_log", spread, "sd of log", n, AVRAHAM, columns, f"by target; {how}"
    )
    away = first.assign(away=first.hand_theta.abs() > ASTRAY)
    shares = away.groupby(["experiment", "SN"]).away.mean().to_numpy()
    again = [rng.choice(shares, len(shares)).mean() for _ in range(1000)]
    rows.put(
        "human_astray",
        (shares.mean(), *percentiles(again)),
        "share of reaches",
        f"{len(shares)} people, {len(first)} reaches",
        AVRAHAM,
        columns,
        f"further than {ASTRAY:g} degrees from the target; people resampled",
    )
    adaptation(rows, trials)
    angles = pd.read_csv(data() / "target-order-kim" / "hand_angles.csv")
    series = [[own.hand_angle_deg.to_numpy()[:10]] for _, own in angles.groupby("subject")]
    noise, _ = spread_of_log_sd(series, rng)
    n = f"{len(series)} people, {10 * len(series)} cycles"
    columns = "hand_angles.csv: subject, cycle (to 10), hand_angle_deg"
    rows.put(
        "human_motor_noise_of_cycles", noise, "degrees", n, KIM, columns, f"means of cycles; {how}"
    )


def adaptation(rows, trials):
    """Put rates of the first adaptation of 122 people, 80 cycles of four reaches each."""
    trials = trials[trials.experiment != "AntiClamp_Verid85_trials"]
    # ten people were not rotated in some of these cycles: they are left out
    block = trials[(trials.CN > 10) & (trials.CN <= 90) & (trials.ri != 0)]
    against = block.assign(h=-np.sign(block.ri) * block.hand_theta)
    cycles = against.groupby(["experiment", "SN", "CN"]).h.mean().unstack()
    cycles = cycles[cycles.notna().sum(axis=1) >= 70]
    # some cycles of a few people are missing: their neighbours stand in
    gaps = int(cycles.isna().sum().sum())
    fit = adaptation_rates(cycles.interpolate(axis=1, limit_direction="both").to_numpy())
    n = f"{fit['people']} people, {cycles.size} cycles ({gaps} filled)"
    columns = "trials.csv.gz: experiment, SN, CN (11 to 90), ri, hand_theta"
    how = "exponential; rate lognormal, asymptote normal over people; maximum marginal likelihood"
    rows.put(
        "human_adaptation_rate", fit["rate"], "per cycle of 4 reaches", n, AVRAHAM, columns, how
    )
    rows.put(
        "human_adaptation_rate_sd_log", fit["rate_sd_log"], "sd of log", n, AVRAHAM, columns, how
    )
    rows.put("human_adaptation_asymptote", fit["asymptote"], "degrees", n, AVRAHAM, columns, how)
    rows.put(
        "human_adaptation_asymptote_sd", fit["asymptote_sd"], "degrees", n, AVRAHAM, columns, how
    )


def rat(rows, rng):
    """Which lapse rates a trained rat may have, by the profile of the package's own likelihood."""
    from predictlearn.behaviour import Choices
    from predictlearn.recordings import load_rat_choices

    trials = load_rat_choices(data() / "rat-learning-psytrack" / "sampleRatData.npz")
    trials = trials[trials.session >= trials.session.max() - 19]
    # side 2 is the answer where the first stimulus is the stronger
    shown, chosen = (trials.s1 - trials.s2).to_numpy(), (trials.choice == 2).to_numpy(int)

    def loss(theta, lapse):
        choices = Choices(float(np.exp(theta[0])), lapse, bias=float(theta[1]))
        return -choices.log_likelihood(chosen, shown)

    grid = np.linspace(0.0, 0.4, 41)
    fits = [optimize.minimize(loss, [-0.3, -0.2], (lapse,), method="Nelder-Mead") for lapse in grid]
    best = np.array([fit.fun for fit in fits])
    within = grid[best <= best.min() + stats.chi2.ppf(0.95, 1) / 2]
    rows.put(
        "rat_lapse",
        (np.nan, within.min(), within.max()),
        "share of trials",
        f"1 rat, {trials.session.nunique()} sessions, {len(trials)} trials",
        RAT,
        "sampleRatData.npz: s1, s2 (standardised), y, dayLength",
        "profile of Choices.log_likelihood of s1 - s2; open, since all trials are as hard",
    )
    assert np.allclose(np.abs(shown), np.abs(shown).mean(), rtol=0.02), "stimuli differ in strength"


def reversal_as_choices(rows, rng):
    """Fit noise and lapse to the reversal of 24 mice by the package's own likelihood.

    The output is the number of trials since the reversal: every mouse has a threshold of its own,
    the trial at which half of its choices are correct; width and lapse are those of all.
    """
    from predictlearn.behaviour import Choices

    mice = [
        tuple(own[c].to_numpy(float) for c in ("x", "k", "n"))
        for _, own in _ang(1, ["OFF", "GFP"]).groupby("animal")
    ]

    def loss(theta):
        width, lapse = float(np.exp(theta[0])), float(0.5 * special.expit(theta[1]))
        total = 0.0
        for x, k, n in mice:
            found = optimize.minimize_scalar(
                lambda middle, x=x, k=k, n=n: (
                    -Choices(width, lapse, middle).log_likelihood(k, x, n)
                ),
                bounds=(-50, 200),
                method="bounded",
                options={"xatol": 1e-5},
            )
            total += found.fun
        return total

    start = [np.log(30.0), special.logit(0.06)]
    best = optimize.minimize(
        loss, start, method="Nelder-Mead", options={"xatol": 1e-3, "fatol": 1e-4}
    )
    error = np.sqrt(np.diag(np.linalg.inv(hessian(loss, best.x, 0.05))))
    lapse = [0.5 * special.expit(x) for x in wald(best.x[1], error[1])]
    n = f"{len(mice)} mice, {int(sum(n.sum() for _, _, n in mice))} trials"
    columns = "trials.csv: sub, phase (1), day, condition (OFF, GFP), rew.found"
    how = "maximum likelihood by Choices.log_likelihood, a threshold a mouse, one width and lapse"
    width = wald(np.exp(best.x[0]), error[0], log=True)
    rows.put("mouse_reversal_width", width, "trials", n, ANG, columns, how)
    rows.put("mouse_lapse_by_choices", lapse, "share of trials", n, ANG, columns, how)


def estimates(seed: int = 0) -> pd.DataFrame:
    """Return the table; every part has random numbers of its own."""
    rows = Rows()
    parts = (mice_of_ang, mice_of_hao, mice_of_heimburg, people, rat, reversal_as_choices)
    for part, own in zip(parts, np.random.SeedSequence(seed).spawn(len(parts)), strict=True):
        part(rows, np.random.default_rng(own))
    names = ["name", "value", "low", "high", "unit", "n", "source", "columns", "how"]
    return pd.DataFrame(rows, columns=names)


def shown(value: float) -> str:
    """Return a value in words."""
    return "not determined" if np.isnan(value) else f"{value:.3g}"


def markdown(table: pd.DataFrame) -> str:
    """Return the table as the page shows it."""
    lines = ["| number | value | 95% interval | unit | from |", "|---|---|---|---|---|"]
    lines += [
        f"| `{r.name}` | {shown(r.value)} | {r.low:.3g} to {r.high:.3g} | {r.unit} | "
        f"{r.source.split(' ')[0]}: {r.n} |"
        for r in table.itertuples(index=False)
    ]
    return "\n".join(lines)


def main() -> None:
    """Print or write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare the fit with its mice")
    parser.add_argument("--write", action="store_true", help="write it into the package and page")
    wanted = parser.parse_args()
    if wanted.check:
        sys.stdout.write(predictive_check().to_string(index=False) + "\n")
        return
    table = estimates()
    sys.stdout.write(markdown(table) + "\n")
    if wanted.write:
        table.to_csv(TABLE, index=False, float_format="%.6g")
        before, _, rest = PAGE.read_text(encoding="utf-8").partition("<!-- table: begin -->\n")
        after = rest.partition("<!-- table: end -->")[2]
        text = f"{before}<!-- table: begin -->\n{markdown(table)}\n<!-- table: end -->{after}"
        PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
