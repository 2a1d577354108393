"""Measure LearningFit where only a sample of the neurons is recorded; see learning_fit.md.

Run as ``python docs/learning_fit_recordings.py sample|recordings [RUNS]``: sessions of overlaps of
which mm, mu and uu are those of a sample; or the recordings themselves, whose neurons are the same
in all sessions, in part, or not at all.
"""

from __future__ import annotations

import sys
import warnings

import numpy as np
import pandas as pd

import predictlearn as pl
from predictlearn.fitting import simulate_learning

TASK, RULE, N = pl.Filter(), pl.GradientDescent(5e-3), 300
FAR = pl.Overlaps(np.eye(4)).replace(uu=2.05, mu=0.8)
NEAR = FAR.replace(zm=0.1, zu=0.2, vm=0.3, vu=0.2)


def row(fit, true, test="auto"):
    """Return by name whether the interval held, the error, and the p value of the test."""
    truth = true.to_series()
    truth["rate"] = RULE.rate
    table = fit.intervals_.loc[truth.index]
    held = (table["low"] <= truth) & (truth <= table["high"])
    off = (table["estimate"] - truth).add_prefix("error ")
    return pd.concat([held.astype(float), off, pd.Series({"p": fit.goodness_of_fit(test).p_value})])


def sample(recorded, seed):
    """Fit sessions whose mm, mu and uu are those of a sample."""
    sessions = pl.simulate_sessions(
        FAR, TASK, 50, RULE, 0.02, n_sessions=20, n_neurons=N, recorded=recorded, seed=seed
    )
    model = pl.LearningFit(n_starts=2)
    return row(model.fit(sessions, TASK, 50, RULE, recorded=recorded, network=N), FAR)


def recordings(recurring, seed):
    """Fit start and rate to the recordings of all sessions at once."""
    sessions, neurons = simulate_learning(
        NEAR, TASK, 50, RULE, n_sessions=20, recurring=recurring, n_trials=40, seed=seed
    )
    fit = pl.LearningFit(n_starts=4)
    fit.fit_recordings(sessions, TASK, 50, RULE, neurons=neurons, network=N)
    found = row(fit, NEAR, "smooth misfit")
    found["maxima"] = (fit.maxima_["log_likelihood"] > -3).sum()
    return found


def main():
    """Print shares of intervals that held, and root mean square errors."""
    part, runs = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 24
    study = {"sample": sample, "recordings": recordings}[part]
    for setting in {"sample": (100, 30), "recordings": (100, 50, 0)}[part]:
        rows = []
        for seed in range(runs):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", pl.ConvergenceWarning)
                rows.append(study(setting, seed))
            if sys.stderr.isatty():
                sys.stderr.write(f"\r{part} {setting}: {seed + 1} of {runs}")
        table = pd.DataFrame(rows)
        off = [c for c in table if c.startswith("error ")]
        held = table.drop(columns=[*off, "p", "maxima"], errors="ignore").mean()
        rms = np.sqrt((table[off] ** 2).mean())
        what = "recorded" if part == "sample" else "recurring of 100 recorded"
        sys.stdout.write(
            f"{setting} {what} of {N}, {runs} runs; held:\n{held.round(2).to_dict()}\n"
        )
        sys.stdout.write(f"all together {held.mean():.3f}; rms {rms.round(3).to_dict()}\n")
        sys.stdout.write(f"p < 0.05 in {(table['p'] < 0.05).mean():.2f}\n")
        if "maxima" in table:
            sys.stdout.write(f"more than one maximum in {(table['maxima'] > 1).mean():.2f}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
