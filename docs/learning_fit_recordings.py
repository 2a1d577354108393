"""Measure LearningFit where only a sample of the neurons is recorded; see learning_fit.md.

Run as ``python docs/learning_fit_recordings.py sample|recordings [RUNS]``: sessions of overlaps of
which mm, mu and uu are those of a sample; or recordings, fitted session by session.
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
SEEN = ["zm", "zu", "vm", "vu", "mu", "mm"]


def row(fit, true):
    """Return by name by how many standard errors a fit is off, the error, and the test's p."""
    truth = true.to_series()
    truth["rate"] = RULE.rate
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


def recordings(seed):
    """Fit every recording, and learning to the overlaps found."""
    overlaps, covariances = [], []
    for r in simulate_learning(NEAR, TASK, 50, RULE, n_sessions=20, n_trials=40, seed=seed)[0]:
        fit = pl.LowRankRNN(rank=1, dt=r.dt, tau=1.0, neurons="all")
        fit.fit(r.activity, r.inputs, outputs=r.outputs)
        overlaps.append(fit.overlaps_[SEEN])
        covariances.append(fit.replicates_[SEEN].cov().to_numpy())
    sessions = pd.DataFrame(overlaps).reset_index(drop=True)
    model = pl.LearningFit(gauge="canonical", n_starts=3)
    return row(
        model.fit(sessions, TASK, 50, RULE, errors=covariances, recorded=100, network=N), NEAR
    )


def main():
    """Print shares of intervals that held, and root mean square errors."""
    part, runs = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 24
    sets = {"sample": (100, 30), "recordings": (100,)}[part]
    for recorded in sets:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", pl.ConvergenceWarning)
            rows = pd.DataFrame(
                [sample(recorded, k) if part == "sample" else recordings(k) for k in range(runs)]
            )
        off = [c for c in rows if c.startswith("error ")]
        held = rows.drop(columns=[*off, "p"]).mean()
        rms = np.sqrt((rows[off] ** 2).mean())
        sys.stdout.write(f"{recorded} of {N}, {runs} runs; held:\n{held.round(2).to_dict()}\n")
        sys.stdout.write(
            f"rms {rms.round(3).to_dict()}; p < 0.05 in {(rows['p'] < 0.05).mean():.2f}\n"
        )
        sys.stdout.flush()


if __name__ == "__main__":
    main()
