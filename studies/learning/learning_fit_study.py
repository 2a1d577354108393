"""Measure how LearningFit does on simulated learning; prints the tables of learning_fit.md.

Run as ``python studies/learning/learning_fit_study.py PART [N_JOBS]`` with PART one of coverage,
networks, sessions, rules, forecast, behaviour, figure; ``behaviour N_JOBS FIRST`` takes only the
first so many learners of each kind.
"""

from __future__ import annotations

import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from joblib import Parallel, delayed

import predictlearn as pl
from predictlearn.fitting import LearningFit
from predictlearn.fitting.learning.identifiability import identify
from predictlearn.fitting.learning.model import Model
from predictlearn.fitting.learning.parameters import ParameterLayout, draw_factor
from predictlearn.fitting.learning.posterior.randomised import Ridge
from predictlearn.fitting.learning.sessions import checked_sessions
from predictlearn.reporting.style import COLOURS, new_figure, png, styled
from predictlearn.simulation import simulate_sessions

TASK, NEXT = pl.Filter(), pl.Filter(decay=0.4, amplitude=1.5)
RULE = pl.GradientDescent(5e-3)
TRUE = pl.Overlaps(np.eye(4)).replace(uu=2.05, mu=0.8)
HIDDEN = ["zv", "vv", "zz"]
SEEN = ["zm", "zu", "vm", "vu", "mu", "mm", "uu"]


def say(*words):
    """Write one line."""
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


def fitted(sessions, between, rule=RULE, **settings):
    """Fit, quietly: convergence is counted instead."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", pl.ConvergenceWarning)
        return LearningFit(n_starts=1, **settings).fit(sessions, TASK, between, rule)


def one(seed, n_sessions=20, noise=0.02, total=1000, rule=RULE, between=None, **simulation):
    """Simulate and fit once; return intervals beside the truth, and the test."""
    between = between or round(total / (n_sessions - 1))
    sessions = simulate_sessions(
        TRUE, TASK, between, rule, noise, n_sessions=n_sessions, seed=seed, **simulation
    )
    fit = fitted(sessions, between)
    table = fit.intervals_.iloc[:10].assign(truth=TRUE.to_series(), seed=seed)
    table["covered"] = (table["low"] <= table["truth"]) & (table["truth"] <= table["high"])
    test = fit.goodness_of_fit() if n_sessions > 5 else None
    return (
        table.rename_axis("name")
        .reset_index()
        .assign(
            p=np.nan if test is None else test.p_value,
            effect=np.nan if test is None else test.effect,
            converged=fit.converged_,
            rate=fit.rate_,
        )
    )


def many(n, n_jobs, **settings):
    """Simulate and fit n times."""
    return pd.concat(Parallel(n_jobs=n_jobs)(delayed(one)(s, **settings) for s in range(n)))


def said(label, table):
    """Print coverage and error of the hidden overlaps, and the share of tests below 0.05."""
    hidden = table[table["name"].isin(HIDDEN)]
    error = (
        (hidden["estimate"] - hidden["truth"])
        .groupby(hidden["name"])
        .apply(lambda e: float(np.sqrt(np.mean(e**2))))
    )
    runs = table.groupby("seed").first()
    say(
        f"{label}: n {len(runs)}; hidden covered {hidden['covered'].mean():.3f} "
        f"({', '.join(f'{k} {v:.3f}' for k, v in hidden.groupby('name')['covered'].mean().items())}"
        f"); all covered {table['covered'].mean():.3f}; rms error "
        f"{', '.join(f'{k} {v:.3f}' for k, v in error.items())}; mean sd "
        f"{', '.join(f'{k} {v:.3f}' for k, v in hidden.groupby('name')['sd'].mean().items())}; "
        f"p < 0.05 in {np.mean(runs['p'] < 0.05):.3f}, effect {runs['effect'].median():.2f}; "
        f"converged {runs['converged'].mean():.2f}; rate {runs['rate'].mean():.5f}",
    )


def coverage(n_jobs):
    """Sessions from the theory."""
    said("theory, 20 sessions", many(200, n_jobs))


def networks(n_jobs):
    """Networks of 300 neurons; all of them, or the same sample in every session, recorded."""
    said("300 neurons, all recorded", many(100, n_jobs, n_neurons=300))
    for recorded in (100, 30):
        said(f"{recorded} of 300", many(16, n_jobs, n_neurons=300, recorded=recorded))


def sessions(n_jobs):
    """Error against the number of sessions and the noise."""
    for n in (5, 10, 40):
        said(f"{n} sessions", many(100, n_jobs, n_sessions=n))
    for noise in (0.005, 0.08):
        said(f"noise {noise}", many(100, n_jobs, noise=noise))


def rules(n_jobs):
    """Learners that do not follow the rule assumed, plain descent."""
    learners = {
        "momentum 0.9, rate / 10": (pl.GradientDescent(5e-4, momentum=0.9), {}),
        "target noise 1": (pl.GradientDescent(5e-3, target_noise=1.0), {}),
        "Adam 1e-3": (pl.Adam(1e-3), {"n_neurons": 300}),
        "weight decay 0.05": (pl.GradientDescent(5e-3, weight_decay=0.05), {}),
    }
    for label, (rule, more) in learners.items():
        for noise in (0.01,):
            try:
                said(f"{label}, noise {noise}", many(12, n_jobs, rule=rule, noise=noise, **more))
            except pl.DivergenceError as error:
                say(label, str(error))


def drawn_start(seed):
    """Draw a start from the prior, moved inward."""
    lower = draw_factor(4, 1.0, np.random.default_rng(seed))
    return pl.Overlaps(0.7 * lower @ lower.T + 0.3 * np.eye(4))


def phase(seed):
    """Fit task A, predict task B; return coverage of the band and errors beside a default."""
    start = drawn_start(seed)
    at = np.array([5, 10, 20, 50, 100, 200, 500])
    try:
        before = pl.learn(start, TASK, RULE, 950)
        truth = pl.learn(before.final, NEXT, RULE, 500)
        data = simulate_sessions(start, TASK, 50, RULE, n_sessions=20, seed=seed)
        fit = fitted(data, 50)
        ahead = fit.predict(NEXT, at, n_draws=100)
    except pl.DivergenceError:
        return None
    true = np.column_stack([truth.overlaps.to_numpy()[at], truth.losses[at]])
    wide = ahead.table.set_index(["epoch", "name"])
    low, median, high = (wide[c].to_numpy().reshape(true.shape) for c in ("low", "median", "high"))
    inside = (low <= true) & (true <= high)
    # the same end of task A, but what no recording shows at a default
    end = fit.trajectory_.iloc[-1]
    values = {k: end[k] for k in start.names} | {"zv": 0.0, "vv": 1.0, "zz": 1.0}
    matrix = np.zeros((4, 4))
    for name, (i, j) in {n: start.index(n) for n in start.names}.items():
        matrix[i, j] = matrix[j, i] = values[name]
    eigenvalues, vectors = np.linalg.eigh(matrix)
    near = (vectors * np.clip(eigenvalues, 0, None)) @ vectors.T
    naive = pl.learn(pl.Overlaps(near), NEXT, RULE, 500)
    guess = np.column_stack([naive.overlaps.to_numpy()[at], naive.losses[at]])
    log = lambda x: np.log10(np.maximum(x, 1e-12))  # noqa: E731
    return {
        "inside loss": inside[:, -1].mean(),
        "inside overlaps": inside[:, :-1].mean(),
        "error log10 loss": np.mean(np.abs(log(median[:, -1]) - log(true[:, -1]))),
        "default error log10 loss": np.mean(np.abs(log(guess[:, -1]) - log(true[:, -1]))),
        "error seen": np.sqrt(np.mean((median[:, :4] - true[:, :4]) ** 2)),
        "default error seen": np.sqrt(np.mean((guess[:, :4] - true[:, :4]) ** 2)),
    }


def forecast(n_jobs):
    """Predict task B from the learning of task A, for starts drawn from the prior."""
    rows = Parallel(n_jobs=n_jobs)(delayed(phase)(s) for s in range(20))
    table = pd.DataFrame([r for r in rows if r is not None])
    say("forecast:", len(table), "of", len(rows), "starts learn without divergence")
    say(table.describe().loc[["mean", "50%"]].round(4).to_string())
    better = table["error log10 loss"] < table["default error log10 loss"]
    say("better than the default in", better.mean().round(3))


def from_loss(label, seed, start, **simulation):
    """Fit the loss alone; return if and how fast it ended, and what its draws hold."""
    data = simulate_sessions(
        start, TASK, 50, RULE, n_sessions=20, seed=seed, columns=["loss"], **simulation
    )
    begun = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", pl.ConvergenceWarning)
        fit = LearningFit(rank=1).fit(data, TASK, 50, RULE)
    took = time.process_time() - begun
    problem, best, layout = fit._problem, fit._best, fit._problem.model.layout
    ridge, rng = Ridge(problem), np.random.default_rng(1)
    height = lambda y: 0.5 * np.sum(ridge.residuals(y, best.group_sd) ** 2)  # noqa: E731
    begins = best.y + 0.1 * rng.standard_normal((3, len(best.y))) @ best.root.T
    gain = max(height(best.y) - height(ridge.climb(y, best.group_sd, 200)[0]) for y in begins)
    # the direction that theory says is open, S + c J
    scales = layout.scales(fit.start_.matrix)
    along = layout.vector(np.diag([1.0, 1.0, -1.0, -1.0])) / scales[:10]
    free = fit._found.free / scales[:, None]
    theory = np.linalg.norm(free[:10].T @ along) / np.linalg.norm(along)
    # nothing measured tells the sign of u and v
    signs = np.array([1.0, 1.0, 1.0, 1.0])
    signs[1:3] = -1.0 if start["vm"] < 0 else 1.0
    true = layout.pack(start.matrix * signs * signs[:, None])
    table, truth = fit.intervals_, layout.natural(true)
    truth[10:] = layout.rates(truth[10:])
    held = (table["low"] <= truth) & (truth <= table["high"])
    # combinations in unconstrained coordinates that the draws hold tightest, in units of the prior
    unconstrained = ridge.unconstrained
    unit = unconstrained.prior(np.zeros(len(true)))[1]
    rows = fit._draws(100, None)
    y = unit * [unconstrained.of(layout.pack(layout.full(r), r[10:])) for r in rows]
    values, vectors = np.linalg.eigh(np.cov(y.T))
    low, high = np.quantile(y @ vectors, [0.025, 0.975], axis=0)
    at = vectors.T @ (unit * unconstrained.of(true))
    tight = values < 0.25
    out = {
        "learners": label,
        "converged": fit.converged_,
        "restarts gain nothing": gain < 0.01,
        "processor time": took,
        "open": free.shape[1],
        "J among them": theory > 0.99,
        "gain on truth": fit.log_likelihood_ - problem.log_likelihood(true, best.group_sd),
        "overlaps held": held[:10].mean(),
        "rate held": held.iloc[10],
        "tight": tight.sum(),
        "tight held": ((low <= at) & (at <= high))[tight].mean(),
    }
    before, later = pl.learn(start, TASK, RULE, 950), np.array([5, 10, 20, 50, 100, 200, 500])
    for name, task in (("same task", TASK), ("task B", NEXT)):
        true_loss = pl.learn(before.final, task, RULE, 500).losses[later]
        band = fit.predict(task, later, n_draws=100).loss()
        inside = (band["low"] <= true_loss) & (true_loss <= band["high"])
        out[name + " held"] = inside.mean()
        # at the end of the same task losses are nothing, to any number of decades
        if task is NEXT:
            out[name + " decades"] = np.log10(band["high"] / band["low"]).mean()
    return out


def behaviour(n_jobs, first=50):
    """Fit the loss alone: learners of the theory and networks of 300 neurons."""
    cases = [("prior", s, drawn_start(s), {}) for s in range(50)][:first]
    cases += [("study", s, TRUE, {}) for s in range(25)][:first]
    cases += [("networks", s, drawn_start(s), {"n_neurons": 300}) for s in range(100, 125)][:first]

    def tried(label, seed, start, more):
        try:
            return from_loss(label, seed, start, **more)
        except pl.DivergenceError:
            return None

    rows = Parallel(n_jobs=n_jobs)(
        delayed(tried)(label, seed, start, more) for label, seed, start, more in cases
    )
    table = pd.DataFrame([r for r in rows if r is not None])
    say(table.groupby("learners").mean().T.round(3).to_string())
    say(table.groupby("learners").size().to_dict())
    say(table.drop(columns="learners").astype(float).mean().round(3).to_string())


def expected(n_sessions=20, noise=0.02, names=SEEN, rate="fit"):
    """Return the asymptotic standard errors of zv, vv, zz for sessions over 950 epochs."""
    between = round(950 / (n_sessions - 1))
    table = simulate_sessions(
        TRUE, TASK, between, RULE, 0.0, n_sessions=n_sessions, columns=list(names)
    )
    data = checked_sessions(table, TASK, between, noise, 1)
    layout = ParameterLayout(data.sizes, RULE, rate)
    run = Model(data, layout, "linear", 1.0, 0, False).run(layout.pack(TRUE.matrix))
    found = identify(run.slopes / noise, layout.scales(TRUE.matrix))
    return np.sqrt(np.diag(found.covariance))[[5, 8, 9]]


@styled
def drawn():
    """Draw how the standard errors fall, and a forecast beside what happened."""
    fig = new_figure(2.9)
    axes = fig.subplots(1, 3)
    colours = [COLOURS[c] for c in ("blue", "vermillion", "green")]
    numbers, noises = [5, 8, 12, 20, 40, 80], [0.005, 0.01, 0.02, 0.04, 0.08]
    for axis, places, rows in (
        (axes[0], numbers, [expected(n) for n in numbers]),
        (axes[1], noises, [expected(noise=s) for s in noises]),
    ):
        say(pd.DataFrame(rows, index=places, columns=HIDDEN).round(4).to_string())
        for name, colour, marker, values in zip(
            HIDDEN, colours, "osD", np.array(rows).T, strict=True
        ):
            axis.loglog(places, values, color=colour, marker=marker, markersize=4, label=name)
        axis.set_xticks(places, [f"{p:g}" for p in places])
        axis.set_xticks([], minor=True)
    axes[0].set(xlabel="sessions in 950 epochs", ylabel="standard error", title="noise 0.02")
    axes[1].set(xlabel="noise of a measured overlap", title="20 sessions")
    axes[0].legend()
    data = simulate_sessions(TRUE, TASK, 50, RULE, n_sessions=20, seed=0)
    fit = fitted(data, 50)
    at = np.unique(np.round(np.geomspace(1, 300, 25)).astype(int))
    band = fit.predict(NEXT, at, n_draws=100).loss()
    before = pl.learn(TRUE, TASK, RULE, 950)
    truth = pl.learn(before.final, NEXT, RULE, 300).losses[at]
    axes[2].fill_between(at, band["low"], band["high"], color=COLOURS["sky"], alpha=0.5, lw=0)
    axes[2].loglog(at, band["median"], color=COLOURS["blue"], label="predicted")
    axes[2].loglog(at, truth, color="black", ls="--", label="what happened")
    axes[2].set(xlabel="epochs of task B", ylabel="loss", title="predicted from task A")
    axes[2].legend()
    return fig


def figure(n_jobs):
    """Write studies/learning/learning-fit.png."""
    Path(__file__).with_name("learning-fit.png").write_bytes(png(drawn()))


if __name__ == "__main__":
    np.set_printoptions(precision=3)
    globals()[sys.argv[1]](*map(int, sys.argv[2:] or ["1"]))
