"""Fit block 2 of the BCI learning session piece by piece, and predict its last third.

Prints the tables of bci_learning.md and draws its figures: ``python studies/bci/bci_learning.py``.
With the word ``shuffles`` it runs the tests of the rule on shuffled trials instead. The session
is found where `predictlearn datasets where` says.
"""

from __future__ import annotations

import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from bci_learning_data import (
    KNOWN_SD,
    READOUT,
    SEEN,
    acted,
    cut,
    prepare,
    shuffled,
    shuffled_order,
)
from bci_learning_forecasts import BASELINES, against, scored
from joblib import Parallel, delayed
from scipy import stats

import predictlearn as pl
from predictlearn.fitting import LearningFit
from predictlearn.reporting.style import COLOURS, new_figure, png, styled
from predictlearn.statistics.corrections import correct_p
from predictlearn.theory.names import overlap_names, table_pairs

N_PIECES, N_SHUFFLES = 12, 100
NAMES, PAIRS = overlap_names(3, 1, 2), table_pairs(3, 1, 2)
RULE = pl.GradientDescent(4e-4, pathway_rates={"z": 0.0})


def say(title, what):
    """Print one titled table or line."""
    table = isinstance(what, pd.DataFrame)
    text = what.to_string(float_format="{:.4g}".format) if table else str(what)
    sys.stdout.write(f"\n## {title}\n{text}\n")
    sys.stdout.flush()


def trend(values, sds, when):
    """Change of every column from the first piece to the last: a weighted line."""
    span = (when - when.mean()) / (when[-1] - when[0])
    weights = 1 / sds**2
    centre = (weights * span[:, None]).sum(0) / weights.sum(0)
    off = span[:, None] - centre
    return (weights * off * values).sum(0) / (weights * off**2).sum(0)


def changes(study, pieces, n=N_SHUFFLES):
    """Test the trend of every overlap against trials shuffled within targets; give the power."""
    sds = np.broadcast_to(np.median(pieces.sds, axis=0), pieces.sds.shape)
    when = pieces.middle.astype(float)
    rows = Parallel(n_jobs=2)(delayed(shuffled)(study, len(when), (9, k)) for k in range(n))
    null = np.array([trend(r, sds, when) for r in rows])
    change = trend(pieces.values.to_numpy(), sds, when)
    sd = null.std(axis=0, ddof=1)
    p = 2 * stats.t.sf(np.abs(change) / sd, n - 1)
    half = stats.t.ppf(0.975, n - 1) * sd
    least = (stats.norm.ppf(1 - 0.025 / len(SEEN)) + stats.norm.ppf(0.8)) * sd
    return pd.DataFrame(
        {
            "first piece": pieces.values.iloc[0].to_numpy(),
            "change": change,
            "low": change - half,
            "high": change + half,
            "p": p,
            "p Holm": correct_p(p),
            "seen with power 0.8": least,
        },
        index=SEEN,
    )


def sessions_of(study, pieces):
    """Return the table and the covariances for LearningFit; the readout is known."""
    zz = study.readout.T @ study.readout / len(study.readout)
    table = pieces.values.reset_index(drop=True).assign(**dict.fromkeys(READOUT, np.nan))
    table.loc[0, READOUT] = [zz[0, 0], zz[0, 1], zz[1, 1]]
    n = len(SEEN)
    covariances = np.zeros((len(table), n + 3, n + 3))
    covariances[:, :n, :n] = pieces.covariances
    covariances[:, range(n, n + 3), range(n, n + 3)] = KNOWN_SD**2
    return table, covariances


def learn_fit(study, table, pieces, errors, max_iter=100):
    """Fit learning to some pieces."""
    fit = LearningFit(
        "linear", study.first.tau_, gauge="canonical", n_starts=2, max_iter=max_iter, n_jobs=2
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", pl.ConvergenceWarning)
        return fit.fit(table, study.task, np.diff(pieces.middle), RULE, errors=errors)


def summary(fit):
    """Say in one row what a fit identifies and how well it fits."""
    row = {
        "converged": fit.converged_,
        "log likelihood": fit.log_likelihood_,
        "rate": fit.rate_,
        "unidentified directions": len(fit.directions_),
        "unidentified": " ".join(fit.identifiable_.index[~fit.identifiable_]),
    }
    try:
        for test in ("chi-square", "smooth misfit"):
            found = fit.goodness_of_fit(test)
            row |= {f"{test} p": found.p_value, f"{test} effect": found.effect}
    except pl.InputError as error:
        row["test"] = str(error)[:40]
    return row


def without_hidden(fit, study):
    """Draw the same forecast with zv at zero and vv as short as the rest of S allows."""
    draws = fit.draw(200, seed=3)
    v = 4
    rest = [i for i in range(7) if i != v]
    starts = []
    for row in draws[list(NAMES)].to_numpy():
        s = np.zeros((7, 7))
        for (i, j), x in zip(PAIRS.values(), row, strict=True):
            s[i, j] = s[j, i] = x
        across = s[rest, v].copy()
        across[-2:] = 0.0
        least = across @ np.linalg.pinv(s[np.ix_(rest, rest)], rcond=1e-9) @ across
        s[rest, v] = s[v, rest] = across
        s[v, v] = 1.001 * least + 1e-6
        values, vectors = np.linalg.eigh(s)
        starts.append((vectors * np.clip(values, 0, None)) @ vectors.T)
    return starts, draws["rate"].to_numpy()


def learned(study, starts, rates, epochs):
    """Learn from every start; canonical overlaps at the epochs, (draws, epochs, D, D)."""
    from predictlearn.theory.gauge import canonical_matrices

    out = []
    for start, rate in zip(starts, rates, strict=True):
        rule = pl.GradientDescent(float(rate), pathway_rates={"z": 0.0})
        try:
            course = pl.learn(
                pl.Overlaps(start, 3, 1, 2, tolerance=1e-6),
                study.task, rule, int(epochs[-1]), "linear", study.first.tau_,
            )  # fmt: skip
        except pl.DivergenceError:
            continue
        matrices = course.array[epochs]
        out.append(canonical_matrices(matrices, np.zeros((*matrices.shape, 0)), (3, 1, 2))[0])
    return np.array(out)


def to_matrices(draws):
    """Turn forecast draws, (draws, epochs, names + loss), into overlap matrices."""
    out = np.zeros((*draws.shape[:2], 7, 7))
    for k, (i, j) in enumerate(PAIRS.values()):
        out[..., i, j] = out[..., j, i] = draws[..., k]
    return out


def columns_of(matrices):
    """Return the SEEN overlaps of matrices."""
    rows, columns = zip(*(PAIRS[name] for name in SEEN), strict=True)
    return matrices[..., list(rows), list(columns)]


@styled
def draw_overlaps(pieces, table, forecast, n_train):
    """Draw overlaps along the block with their errors, and the forecast."""
    figure = new_figure(7.6, 7.6)
    axes = figure.subplots(6, 4, sharex=True).ravel()
    for k, (ax, name) in enumerate(zip(axes, SEEN, strict=False)):
        strong = table.loc[name, "p Holm"] < 0.05
        ax.errorbar(
            pieces.middle, pieces.values[name], 1.96 * pieces.sds[name], fmt="o", ms=3, lw=0.9,
            color=COLOURS["vermillion"] if strong else COLOURS["black"],
        )  # fmt: skip
        band = np.quantile(forecast[:, :, k], [0.025, 0.5, 0.975], axis=0)
        ax.fill_between(pieces.middle[n_train:], band[0], band[2], color=COLOURS["sky"], alpha=0.5)
        ax.plot(pieces.middle[n_train:], band[1], color=COLOURS["blue"], lw=1.4)
        ax.set_title(name, fontsize=8, pad=2)
        ax.tick_params(labelsize=7)
    for ax in axes[len(SEEN) :]:
        ax.set_visible(False)
    for ax in axes[len(SEEN) - 4 : len(SEEN)]:
        ax.set_xlabel("trial of block 2", fontsize=8)
        ax.tick_params(labelbottom=True)
    figure.supylabel("overlap (canonical gauge; outputs in units of 172 mm/s)", fontsize=9)
    return png(figure)


@styled
def draw_behaviour(pieces, forecasts, n_train):
    """Draw progress and loss with the forecasts."""
    figure = new_figure(3.2)
    for ax, q, name, unit in zip(
        figure.subplots(1, 2), (1, 0), ("progress", "loss"), (" (mm/s)", ""), strict=True
    ):
        ax.errorbar(
            pieces.middle, pieces.behaviour[name], 1.96 * pieces.behaviour_sds[name], fmt="o", ms=4,
            lw=1, color=COLOURS["black"], label="measured, 95%",
        )  # fmt: skip
        for (model, colour), shift in zip(
            {"LearningFit": "blue", "line": "orange", "exponential": "green"}.items(), (-4, 0, 4),
            strict=True,
        ):  # fmt: skip
            low, mid, high = np.quantile(forecasts[model][:, :, q], [0.025, 0.5, 0.975], axis=0)
            at = pieces.middle[n_train:] + shift
            ax.errorbar(
                at, mid, [mid - low, high - mid], fmt="s-", ms=3, lw=1.2, color=COLOURS[colour],
                label=model, capsize=2,
            )  # fmt: skip
        ax.set_xlabel("trial of block 2")
        ax.set_ylabel(f"{name}{unit}")
    figure.axes[0].legend(fontsize=8, loc="lower right")
    return png(figure)


def calibrate(n=12):
    """Run the tests of the rule where nothing was learned; a sound p value is then uniform."""
    study = prepare()
    n_train = 2 * N_PIECES // 3
    n_trials = sum(map(len, np.array_split(study.trials, N_PIECES)[:n_train]))
    rows = []
    for k in range(n):
        pieces = cut(study, n_train, order=shuffled_order(study, n_trials, (21, k)))
        data, errors = sessions_of(study, pieces)
        rows.append(summary(learn_fit(study, data, pieces, list(errors))))
        sys.stdout.write(f"{k} {rows[-1]}\n")
        sys.stdout.flush()
    found = pd.DataFrame(rows)
    say("tests of the rule on shuffled trials", found.drop(columns="unidentified"))


def main():
    """Run everything."""
    began = time.time()
    study = prepare()
    pieces = cut(study, N_PIECES)
    n_train = 2 * N_PIECES // 3
    table = changes(study, pieces)
    say("overlaps: change over block 2", table)
    say("median error of the overlaps of a piece", pieces.sds.median().to_frame().T)
    say("behaviour by piece", pieces.behaviour)
    say("its errors", pieces.behaviour_sds)

    train, test = pieces[slice(0, n_train)], pieces[slice(n_train, None)]
    data, errors = sessions_of(study, train)
    fit = learn_fit(study, data, train, list(errors))
    say("LearningFit, first two thirds", fit.intervals_)
    say("unidentified directions", fit.directions_)
    say("sds of directions", fit.direction_sds_)
    say("fitted course", fit.trajectory_[["z1m1", "z2m1", "z2m2", "vm1", "vu", "loss"]])

    rows = {"12 pieces, overlaps": summary(fit)}
    for n in (6, 18):
        other = cut(study, n)[slice(0, 2 * n // 3)]
        found, covariances = sessions_of(study, other)
        rows[f"{n} pieces, overlaps"] = summary(learn_fit(study, found, other, list(covariances)))
    start = data.copy()
    start.iloc[1:] = np.nan
    start["loss"] = train.behaviour["loss"].to_numpy()
    spread = np.zeros((len(start), len(start.columns), len(start.columns)))
    spread[:, :-1, :-1] = errors
    spread[:, -1, -1] = train.behaviour_sds["loss"] ** 2
    rows["overlaps of piece 1, then loss"] = summary(
        learn_fit(study, start, train, list(spread), 40)
    )
    say("variants", pd.DataFrame(rows).T.astype(str))

    ahead = (test.middle - train.middle[-1]).astype(int)
    rng = np.random.default_rng(0)
    when, then = train.middle.astype(float), test.middle.astype(float)
    fore = fit.predict(study.task, ahead.tolist(), n_draws=200)
    say("forecast draws left out", fore.left_out)
    matrices = to_matrices(fore.draws)
    past = fit.predict(study.task, [0, 1], n_draws=2)
    say("loss forecast at the last training piece", past.loss())
    starts, rates = without_hidden(fit, study)
    blind = learned(study, starts, rates, (test.middle - train.middle[0]).astype(int))

    forecasts = {"LearningFit": columns_of(matrices), "hidden ignored": columns_of(blind)}
    acts = {"LearningFit": acted(study, matrices), "hidden ignored": acted(study, blind)}
    # the draws are linear about the best fit, which the fit is not: so the best fit by itself too
    best = learned(
        study, [fit.start_.matrix], [fit.rate_], (test.middle - train.middle[0]).astype(int)
    )
    best = np.repeat(best, 200, axis=0)
    forecasts["LearningFit, best fit alone"] = columns_of(best)
    acts["LearningFit, best fit alone"] = acted(study, best)
    for name, f in BASELINES.items():
        forecasts[name] = f(when, then, train.values.to_numpy(), train.sds.to_numpy(), rng)
        acts[name] = f(when, then, train.behaviour.to_numpy(), train.behaviour_sds.to_numpy(), rng)
    course = to_matrices(fit.trajectory_.to_numpy()[None])[0]
    fitted = acted(study, course)
    misfit = train.behaviour.to_numpy() - fitted
    say("misfit of behaviour: measured minus fitted, mean", pd.Series(
        misfit.mean(axis=0), index=train.behaviour.columns))  # fmt: skip
    acts["LearningFit, misfit added"] = acts["LearningFit"] + misfit.mean(axis=0)

    scores, every = scored(forecasts, test.values.to_numpy(), test.sds.to_numpy(), SEEN)
    say("overlaps, last third", scores)
    say("CRPS, LearningFit minus", against(every, "LearningFit"))
    names = list(train.behaviour.columns)
    for label, chosen in (("progress by target", slice(2, None)), ("mean progress", slice(1, 2)),
                          ("loss", slice(0, 1))):  # fmt: skip
        scores, every = scored(
            {m: a[:, :, chosen] for m, a in acts.items()},
            test.behaviour.to_numpy()[:, chosen],
            test.behaviour_sds.to_numpy()[:, chosen],
            names[chosen],
        )
        say(f"{label}, last third", scores)
        if label == "progress by target":
            say(
                "CRPS, LearningFit with misfit added minus",
                against(every, "LearningFit, misfit added"),
            )

    here = Path(__file__).parent
    (here / "bci-learning-overlaps.png").write_bytes(
        draw_overlaps(pieces, table, forecasts["LearningFit"], n_train)
    )
    (here / "bci-learning-behaviour.png").write_bytes(draw_behaviour(pieces, acts, n_train))
    say("seconds", f"{time.time() - began:.0f}")


if __name__ == "__main__":
    calibrate() if "shuffles" in sys.argv else main()
