"""The real session again: what learns, what the animal sees, and how its errors come back.

Prints the tables of bci_rules.md and writes bci_rules.csv, which has more columns::

    python studies/bci/bci_rules.py  # the session that `predictlearn datasets` knows
    python studies/bci/bci_rules.py --data FILE.mat  # another of that format; writes nothing here

Block 1 is fitted as in bci.md, and every hypothesis learns block 2 from the same bootstrap fits
with the same draws of what they hide.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from predictlearn.errors import InputError
from predictlearn.pipeline.cases import BCI_FIRST, case_of
from predictlearn.pipeline.fitted import fit_recording
from predictlearn.pipeline.real_learning.bci import (
    drawn_network,
    learning_of,
    target_forecasts,
    together,
)
from predictlearn.pipeline.real_learning.cursor_loop import DISTANCE, closed_loop
from predictlearn.pipeline.real_learning.hypotheses import MOST_LOSS
from predictlearn.pipeline.real_learning.hypotheses import LearningHypothesis as Hypothesis
from predictlearn.real_learning.curve_fits import (
    fit_exponential,
    fit_line,
    fit_mean,
    fit_time_scale,
)
from predictlearn.real_learning.scores import score_prediction
from predictlearn.recordings.datasets.bci_learning import progress
from predictlearn.statistics.resampling import block_bootstrap
from predictlearn.theory.hidden_prior import HiddenPrior

N_DRAWS, SEED, BLOCK, LEVEL = 60, 0, 20, 0.95
PUBLISHED = Hypothesis()
RULES = [
    ("alignment", "old"),
    ("alignment", "random"),
    ("alignment", "random neurons"),
    ("rflo", "new"),
    ("rflo", "old"),
    ("rflo", "random"),
    ("rflo", "random neurons"),
]


def hypotheses():
    """Return every hypothesis, the published one first."""
    found = [
        Hypothesis(who, loop)
        for who in ("factors", "synapses")
        for loop in ("open", "through", "given")
    ]
    found += [
        Hypothesis(who, loop, *rule)
        for who in ("factors", "synapses")
        for loop in ("open", "given")
        for rule in RULES
    ]
    return found


def say(title, what):
    """Print one titled table or line."""
    table = isinstance(what, pd.DataFrame)
    text = what.to_string(float_format="{:.3g}".format, index=False) if table else str(what)
    sys.stdout.write(f"\n## {title}\n{text}\n")
    sys.stdout.flush()


def prepared(data, n_draws=N_DRAWS):
    """Read the session, fit block 1, and draw the networks that it leaves possible."""
    case = case_of(data, "bci-learning")
    fit = fit_recording(
        case.recording,
        dict(case.settings),
        readout=case.readout,
        conditions=case.conditions,
        ranks=(case.rank,),
        seed=SEED,
    )
    return case, fit, draws_of(case, fit, n_draws)


def draws_of(case, fit, n_draws):
    """Fit resampled trials, and draw what each fit hides."""
    children = np.random.SeedSequence(SEED).spawn(n_draws)
    return [drawn_network(case.later, fit, HiddenPrior(), child) for child in children]


def learned(session, drawn, hypothesis, trials_of=None, most_loss=MOST_LOSS):
    """Learn from every draw; the prediction, and what is said of its draws."""
    parts = []
    for one in drawn:
        trials = None if trials_of is None else trials_of(one.task)
        parts.append(learning_of(session, one, hypothesis, trials, most_loss))
    about = {
        "cosine with the gradient": float(np.mean([p.settings["cosine"] for p in parts])),
        "ran away": float(np.mean([p.settings["ran away"] for p in parts])),
    }
    return together(parts), about


class Trials:
    """Block 2: measured progress, its targets, what may be fitted, and the baselines."""

    def __init__(self, session):
        self.targets = session.perturbed.trials["target"].to_numpy()
        self.y = progress(
            session.perturbed.activity, session.perturbed_readout, self.targets, BCI_FIRST
        )
        self.when = np.arange(len(self.y), dtype=float)
        self.fitted = self.when < np.floor(len(self.y) / 3)
        self.tested = ~self.fitted
        three = (fit_mean, fit_line, fit_exponential)
        self.baselines = [f(self.y, self.when, self.fitted) for f in three]

    def rate_by_target(self, learning):
        """Fit the time scale to the first third, target by target; forecast every trial."""
        curves, angles = learning.by_trial.mean(axis=0), np.unique(self.targets)
        column = np.searchsorted(angles, self.targets)
        end = learning.time[-1]

        def forecast(rate):
            made = np.empty(len(self.y))
            for k in range(len(angles)):
                own = column == k
                made[own] = np.interp(rate * self.when[own], learning.time, curves[:, k])
            return made

        rates = np.geomspace(end / (1000 * len(self.y)), end, 401)
        errors = [np.sum((self.y - forecast(r))[self.fitted] ** 2) for r in rates]
        return forecast(rates[int(np.argmin(errors))])


def series_of(trials, learning):
    """Return the fit of the time scale, and errors on the test trials by kind."""
    y, tested = trials.y, trials.tested
    score = score_prediction(y, learning.curves, time=learning.time, block=BLOCK, seed=SEED)
    end = float(learning.time[-1])
    limits = (end / (1000 * len(y)), end)
    _, forecast = fit_time_scale(
        y, trials.when, trials.fitted, learning.curves, learning.time, limits, LEVEL
    )
    by_target = target_forecasts(learning, score, y, trials.targets)
    errors = {name: ((y - f) ** 2)[tested] for name, f in by_target.items()}
    return score, {
        "CRPS": forecast.crps(y, tested),
        "squared": ((y - forecast.point) ** 2)[tested],
        "bias": (forecast.point - y)[tested],
        "target means": errors["mean of the target in the first third"],
        "target": errors["predicted curve of the target"],
        "target change": errors["that mean plus the predicted change since then"],
        "target, own rate": ((y - trials.rate_by_target(learning)) ** 2)[tested],
    }


def changes(trials, learning, score):
    """Correlate predicted and measured change by target, first third to last two thirds."""
    by_target = target_forecasts(learning, score, trials.y, trials.targets)
    curve = by_target["predicted curve of the target"]
    rows = [
        [x[own & trials.tested].mean() - x[own & trials.fitted].mean() for x in (trials.y, curve)]
        for own in (trials.targets == angle for angle in np.unique(trials.targets))
    ]
    made, said = np.array(rows).T
    return float(np.corrcoef(made, said)[0, 1]) if said.std() > 1e-9 else np.nan


def difference(ours, theirs, level):
    """Return the mean difference of two series of test trials with its interval."""
    value, low, high = block_bootstrap(ours - theirs, block=BLOCK, level=level, seed=SEED)
    return float(value), float(low), float(high)


def verdict(low, high):
    """Say what an interval of a difference says; below zero is better than the published."""
    return "helps" if high < 0 else "does not" if low > 0 else "cannot be told"


def compared(trials, found):
    """Return the table: every hypothesis against the baselines and against the published one."""
    scores, series = {}, {}
    for name, (learning, _) in found.items():
        scores[name], series[name] = series_of(trials, learning)
    published = series[PUBLISHED.name]
    # intervals of all hypotheses hold together
    level = 1 - (1 - LEVEL) / (len(found) - 1)
    rows = []
    for name, (learning, about) in found.items():
        s, fit = series[name], scores[name].fit
        row = {
            "hypothesis": name,
            "at once": float(learning.immediate.mean()),
            "rate": float(fit["rate"]),
            "rate low": float(fit["low"]),
            "rate high": float(fit["high"]),
            "at bound": bool(fit["at_bound"]),
            **about,
            "CRPS": float(s["CRPS"].mean()),
            "RMSE": float(np.sqrt(s["squared"].mean())),
        }
        row["bias"], row["bias low"], row["bias high"] = difference(s["bias"], 0.0, LEVEL)
        for base in trials.baselines:
            gap = difference(s["CRPS"], base.crps(trials.y, trials.tested), 1 - (1 - LEVEL) / 3)
            for end, value in zip(("", " low", " high"), gap, strict=True):
                row[f"CRPS minus {base.name}{end}"] = value
        for kind in ("target", "target change", "target, own rate"):
            row[f"RMSE, {kind}"] = float(np.sqrt(s[kind].mean()))
        row["correlation of change"] = changes(trials, learning, scores[name])
        for kind in ("CRPS", "squared", "target", "target change", "target, own rate"):
            label = kind if kind == "CRPS" else f"MSE, {kind}"
            if name == PUBLISHED.name:
                gap = (0.0, 0.0, 0.0)
            else:
                gap = difference(s[kind], published[kind], level)
            for end, value in zip(("", " low", " high"), gap, strict=True):
                row[f"{label} minus published{end}"] = value
            row[f"{label}: verdict"] = "" if name == PUBLISHED.name else verdict(*gap[1:])
        for kind in ("target", "target change", "target, own rate"):
            gap = difference(s[kind], s["target means"], LEVEL)
            for end, value in zip(("", " low", " high"), gap, strict=True):
                row[f"MSE, {kind} minus target means{end}"] = value
        rows.append(row)
    return pd.DataFrame(rows)


def seen_cursor(case, fit, distance=DISTANCE):
    """Ask block 1 whether inputs that report the cursor explain activity better than held ones."""
    session, block = case.later, case.later.intuitive
    readout = session.intuitive_readout
    commands = readout.command(block.activity)
    inputs = block.inputs.copy()
    velocity, way = np.zeros((len(commands), 2)), np.zeros((len(commands), 2))
    for t in range(commands.shape[1]):
        # what is there to be seen at the start of the bin
        inputs[:, t, :2] -= way / distance
        velocity = velocity @ readout.smoothing.T + commands[:, t]
        if t >= BCI_FIRST:
            way = way + block.dt * velocity
    again = fit_recording(
        replace(block, inputs=inputs), dict(case.settings), readout=case.readout,
        ranks=(case.rank,), seed=SEED,
    )  # fmt: skip
    gap = (again.ranks.table["r2"] - fit.ranks.table["r2"]).to_numpy()
    error = float(gap.std(ddof=1) / np.sqrt(len(gap)))
    return again, float(gap.mean()), error


LOOPS = {
    "no delay, never held": {"held": 0.0, "latency": 0.0},
    "no delay, never held, seen twice as large": {"held": 0.0, "latency": 0.0, "gain": 2.0},
}


def other_loops(session, drawn, seeing):
    """Return descent in loops stronger than the animal's, and from fits to what it saw, by name."""
    found = {PUBLISHED.name: learned(session, drawn, PUBLISHED)}
    for label, how in LOOPS.items():
        for loop in ("through", "given"):
            chosen = Hypothesis("factors", loop)
            found[f"{chosen.name}: {label}"] = learned(
                session, drawn, chosen, lambda task, how=how: closed_loop(task, **how)
            )
    for loop in ("through", "given"):
        chosen = Hypothesis("factors", loop)
        found[f"{chosen.name}: fitted to inputs as seen"] = learned(session, seeing, chosen)
    return found


def stopped_sooner(session, drawn, found):
    """Return what ran away in an open loop, followed to twice the first loss only, by name."""
    sooner = {PUBLISHED.name: found[PUBLISHED.name]}
    for chosen in hypotheses():
        if chosen.loop == "open" and found[chosen.name][1]["ran away"] > 0.05:
            sooner[chosen.name] = learned(session, drawn, chosen, most_loss=2.0)
    return sooner


def main(argv=None):
    """Run everything."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="another session of the same format, .mat")
    parser.add_argument("--draws", type=int, default=N_DRAWS)
    asked = parser.parse_args(argv)
    began = time.time()
    try:
        case, fit, drawn = prepared(asked.data, asked.draws)
    except InputError as error:
        parser.exit(2, f"bci_rules: {error}\n")
    session = case.later
    say("session", f"{case.title}: {session.intuitive.n_trials} and {session.perturbed.n_trials} "
        f"trials; held-out R2 of block 1 {fit.held_out[0]:.3f}")  # fmt: skip
    again, gap, error = seen_cursor(case, fit)
    say(
        "block 1 with inputs that report the cursor: R2",
        f"{again.held_out[0]:.4f} for {fit.held_out[0]:.4f}; difference on the same folds "
        f"{gap:.4f}, standard error {error:.4f}",
    )
    found = {h.name: learned(session, drawn, h) for h in hypotheses()}
    trials = Trials(session)
    table = compared(trials, found)
    base = {b.name: b.crps(trials.y, trials.tested).mean() for b in trials.baselines}
    say("CRPS of the baselines", base)
    _, series = series_of(trials, found[PUBLISHED.name][0])
    say("RMSE of the means by target", np.sqrt(series["target means"].mean()))
    say("scores", table[["hypothesis", "at once", "rate", "cosine with the gradient", "ran away",
        "CRPS", "RMSE", "bias", "bias low", "bias high"]])  # fmt: skip
    gaps = ["", " low", " high"]
    for kind in ("CRPS", "MSE, squared", "MSE, target"):
        columns = [f"{kind} minus published{end}" for end in gaps] + [f"{kind}: verdict"]
        say(f"{kind} minus published", table[["hypothesis", *columns]])
    say("by target", table[["hypothesis", "RMSE, target", "RMSE, target change",
        "RMSE, target, own rate", "correlation of change"]])  # fmt: skip
    seeing = draws_of(case, again, asked.draws)
    strong = compared(trials, other_loops(session, drawn, seeing))
    say("other loops", strong[["hypothesis", "at once", "CRPS", "bias", "RMSE, target"]
        + [f"CRPS minus published{e}" for e in gaps] + ["CRPS: verdict"]])  # fmt: skip
    sooner = compared(trials, stopped_sooner(session, drawn, found))
    say("stopped sooner", sooner[["hypothesis", "CRPS", "bias", "RMSE, target"]
        + [f"CRPS minus published{e}" for e in gaps] + ["CRPS: verdict"]])  # fmt: skip
    if asked.data is None and asked.draws == N_DRAWS:
        table.round(6).to_csv(Path(__file__).with_suffix(".csv"), index=False)
    say("seconds", f"{time.time() - began:.0f}")


if __name__ == "__main__":
    main()
