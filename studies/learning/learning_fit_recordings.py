"""Measure LearningFit where only a sample of the neurons is recorded; see learning_fit.md.

Run as ``python studies/learning/learning_fit_recordings.py PART [RUNS] [FIRST]`` with PART one of
sample: sessions of overlaps of which mm, mu and uu are those of a sample. recordings: the
recordings, whose neurons are the same in all sessions, in part, or not at all. counts, dispersed:
spike counts, of which half of the neurons recur, Poisson or negative binomial. gain: the same, the
gain fitted. rules: recordings of learners whose rule is not the one assumed. rank2: recordings of
networks of rank two that learn to ring, all from one start or each from its own. RUNS networks
each, 24 if not
given, from the seed FIRST on.
"""

from __future__ import annotations

import sys
import time
import warnings

import numpy as np
import pandas as pd

import predictlearn as pl

TASK, RULE, N = pl.Filter(), pl.GradientDescent(5e-3), 300
# Of a log rate by the current.
GAIN = 0.25
FAR = pl.Overlaps(np.eye(4)).replace(uu=2.05, mu=0.8)
NEAR = FAR.replace(zm=0.1, zu=0.2, vm=0.3, vu=0.2)
RULES = {
    "the rule assumed": RULE,
    "momentum 0.9, rate / 10": pl.GradientDescent(5e-4, momentum=0.9),
    "target noise 1": pl.GradientDescent(5e-3, target_noise=1.0),
    "Adam 1e-3": pl.Adam(1e-3),
    "weight decay 0.05": pl.GradientDescent(5e-3, weight_decay=0.05),
}
RINGING, FASTER = pl.DampedOscillation(duration=10.0, dt=0.1), pl.GradientDescent(1e-2)
# both modes are visible from the start, and u and v are turned as those of a fit: v2m is 0, v1m and
# v2u1 are positive
RANK2 = pl.Overlaps(np.eye(6), 1, 2, 1).replace(
    zm=0.1, zu1=0.5, zu2=0.3, v1m=0.5, v1u1=0.2, v1u2=-0.5, v2u1=0.5, mu1=0.2, zv1=0.2,
    u1u1=1.2, u2u2=0.9, v1v1=1.1, v2v2=1.3,
)  # fmt: skip


def row(fit, true, rate=RULE.rate, gain=None):
    """Return by name whether the interval held, the error, and the p value of the test."""
    truth = true.to_series()
    truth["rate"] = rate
    if gain is not None:
        truth["gain"] = gain
    table = fit.intervals_.loc[truth.index]
    held = (table["low"] <= truth) & (truth <= table["high"])
    off = (table["estimate"] - truth).add_prefix("error ")
    return pd.concat([held.astype(float), off, pd.Series({"p": fit.goodness_of_fit().p_value})])


def sample(recorded, seed):
    """Fit sessions whose mm, mu and uu are those of a sample."""
    sessions = pl.simulate_sessions(
        FAR, TASK, 50, RULE, 0.02, n_sessions=20, n_neurons=N, recorded=recorded, seed=seed
    )
    model = pl.LearningFit(n_starts=2)
    return row(model.fit(sessions, TASK, 50, RULE, recorded=recorded, network=N), FAR)


def recordings(recurring, seed, rule=RULE):
    """Fit start and rate to the recordings of all sessions at once."""
    sessions, neurons = pl.simulate_learning(
        NEAR, TASK, 50, rule, n_sessions=20, recurring=recurring, n_trials=40, seed=seed
    )
    fit = pl.LearningFit(n_starts=4)
    fit.fit_recordings(sessions, TASK, 50, RULE, neurons=neurons, network=N)
    return more(fit, row(fit, NEAR))


def more(fit, found):
    """Return a row with the other test, how many maxima are nearly as high, and convergence."""
    found["p, drifts"] = fit.goodness_of_fit("smooth misfit").p_value
    found["maxima"] = (fit.maxima_["log_likelihood"] > -3).sum()
    found["converged"] = float(fit.converged_)
    return found


def counts(setting, seed):
    """Fit start and rate to the spike counts of all sessions at once."""
    noise, gain = setting
    sessions, neurons = pl.simulate_learning(
        NEAR, TASK, 50, RULE, n_sessions=20, recurring=50, n_trials=40, seed=seed,
        observed="counts", gain=GAIN, dispersion=0.0 if noise == "poisson" else 0.3,
    )  # fmt: skip
    fit = pl.LearningFit(n_starts=4)
    given = {"neurons": neurons, "network": N, "noise": noise}
    fit.fit_recordings(sessions, TASK, 50, RULE, gain=gain, **given)
    return more(fit, row(fit, NEAR, gain=GAIN if gain == "fit" else None))


def rules(name, seed):
    """Fit plain descent to the recordings of a learner."""
    try:
        return recordings(50, seed, RULES[name])
    except pl.InputError:
        # refused: no descent comes near, which tells of a wrong rule too
        return pd.Series({"p": 0.0, "refused": 1.0})


def drawn(seed):
    """Return a start about RANK2: seen overlaps differ by 0.15 (sd), those of v and z by 0.3."""
    rng = np.random.default_rng(1000 + seed)
    moves = rng.standard_normal((6, 6))
    sds = np.full((6, 6), 0.15)
    sds[3:, 3:] = 0.3
    values, vectors = np.linalg.eigh(RANK2.matrix + sds * (moves + moves.T) / np.sqrt(2))
    start = pl.Overlaps((vectors * np.maximum(values, 0.1)) @ vectors.T, 1, 2, 1)
    vm = start.block("v", "m")
    turn, upper = np.linalg.qr(np.hstack([vm, start.block("v", "u") @ vm]))
    return start.gauge(turn * np.sign(np.diag(upper)))


def rank2(starts, seed):
    """Fit networks of rank two."""
    start = RANK2 if starts == "one start" else drawn(seed)
    sessions, neurons = pl.simulate_learning(
        start, RINGING, 60, FASTER, n_sessions=16, recurring=50, n_trials=40, seed=seed
    )
    began = time.process_time()
    fit = pl.LearningFit(rank=2, n_starts=4)
    fit.fit_recordings(sessions, RINGING, 60, FASTER, neurons=neurons, network=N)
    seconds = time.process_time() - began
    # v2m is zero by convention
    found = row(fit, start, FASTER.rate).drop(["v2m", "error v2m"])
    found["p, drifts"] = fit.goodness_of_fit("smooth misfit").p_value
    found["maxima"] = (fit.maxima_["log_likelihood"] > -3).sum()
    found["converged"], found["open"] = float(fit.converged_), float(len(fit.directions_))
    found["seconds"] = round(seconds, 1)
    return found


STUDIES = {
    "sample": (sample, (100, 30), "recorded"),
    "recordings": (recordings, (100, 50, 0), "recurring of 100 recorded"),
    "counts": (counts, (("poisson", GAIN),), "noise and gain"),
    "dispersed": (counts, (("negative-binomial", GAIN),), "noise and gain"),
    "gain": (counts, (("poisson", "fit"), ("negative-binomial", "fit")), "noise and gain"),
    "rules": (rules, tuple(RULES), "fitted as plain descent"),
    "rank2": (rank2, ("one start", "starts drawn"), "for rank two"),
}


def main():
    """Print shares of intervals that held, and root mean square errors."""
    part = sys.argv[1]
    runs, first = (int(a) for a in (*sys.argv[2:4], *("24", "0")[len(sys.argv[2:4]) :]))
    study, settings, what = STUDIES[part]
    for setting in settings:
        rows = []
        for seed in range(first, first + runs):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", pl.ConvergenceWarning)
                rows.append(study(setting, seed))
            if sys.stderr.isatty():
                sys.stderr.write(f"\r{part} {setting}: {seed - first + 1} of {runs}")
        table = pd.DataFrame(rows)
        names = dict.fromkeys((*NEAR.names, *RANK2.names, "rate", "gain"))
        held = table[[c for c in names if c in table]].mean()
        rms = np.sqrt((table.filter(like="error ") ** 2).mean())
        sys.stdout.write(f"{setting} {what}, {N} neurons, {runs} runs; held:\n")
        sys.stdout.write(f"{held.round(2).to_dict()}; all {held.mean():.3f}\n")
        sys.stdout.write(f"rms {rms.round(3).to_dict()}\n")
        for test in table.filter(regex="^p"):
            sys.stdout.write(f"{test} < 0.05 in {(table[test] < 0.05).mean():.2f}\n")
        for column in table.columns.intersection(
            ["maxima", "refused", "converged", "open", "seconds"]
        ):
            sys.stdout.write(f"{column} {table[column].fillna(0).tolist()}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
