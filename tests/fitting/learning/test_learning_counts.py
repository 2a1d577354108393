"""LearningFit on spike counts of all sessions, and the gain of recordings."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import optimize, stats

import predictlearn as pl
from predictlearn.errors import InputError
from predictlearn.fitting.learning.model import Model
from predictlearn.fitting.learning.parameters import ParameterLayout
from predictlearn.fitting.learning.recordings.data import checked_recordings, first_look
from predictlearn.fitting.learning.recordings.likelihood import RawProblem
from predictlearn.fitting.learning.recordings.marginal import rolled_out
from predictlearn.fitting.learning.recordings.observations import Counts
from predictlearn.fitting.learning.search import _unit_input
from predictlearn.fitting.learning.sessions import checked_sessions
from predictlearn.simulation import simulate_learning

TASK, RULE = pl.Filter(duration=10.0), pl.GradientDescent(2e-3)
START = pl.Overlaps(np.eye(4)).replace(zm=0.1, zu=0.2, vm=0.3, vu=0.2, mu=0.3, uu=1.5, zv=0.2)
GAIN = 0.6


def recordings(**changes):
    """Return counts of sessions of a small network."""
    settings = {
        "n_sessions": 4,
        "n_neurons": 100,
        "recorded": 30,
        "recurring": 12,
        "n_trials": 10,
        "n_bins": 40,
        "observed": "counts",
        "gain": GAIN,
        "seed": 3,
    }
    return simulate_learning(START, TASK, 20, RULE, **{**settings, **changes})


def problem(sessions, neurons, noise="poisson", link="exp", gain=None, network=100):
    """Return the likelihood of counts, expanded at the start given, and the parameters there."""
    recorded, _ = checked_recordings(sessions, neurons, network, 1, 1.0, noise, link)
    blank = pd.DataFrame(np.zeros((len(sessions), 4)), columns=["zm", "zu", "vm", "vu"])
    data = checked_sessions(blank, TASK, 20, 1.0, 1)
    layout = ParameterLayout(data.sizes, RULE, "fit", gain)
    model = Model(data, layout, "linear", 1.0, 0, False)
    x = layout.pack(START.matrix)
    return RawProblem(model, True, 1.0, recorded=recorded, gain=GAIN).settled(x), x


def log_likelihood(counts, h, link, alpha):
    """Return that of one neuron's counts at the best offset, without what h does not change."""

    def at(offset):
        eta = offset + h
        rate = np.exp(eta) if link == "exp" else np.logaddexp(0, eta)
        if alpha > 0:
            return stats.nbinom.logpmf(counts, 1 / alpha, 1 / (1 + alpha * rate)).sum()
        return stats.poisson.logpmf(counts, rate).sum()

    best = optimize.minimize_scalar(lambda o: -at(o), bracket=(-1.0, 1.0), tol=1e-12)
    left_out = stats.poisson.logpmf(counts, 1.0).sum() + counts.size
    return -best.fun - left_out


@pytest.mark.parametrize("link", ["exp", "softplus"])
@pytest.mark.parametrize("alpha", [0.0, 0.4])
def test_expansion_has_value_and_slope_of_the_counts(link, alpha):
    rng = np.random.default_rng(0)
    k = rng.standard_normal((2, 60))
    loads, other = rng.standard_normal((2, 5, 2)) * 0.6
    rate = np.exp(loads @ k)
    spread = rng.gamma(1 / 0.4, 0.4, rate.shape) if alpha else 1.0
    counts = rng.poisson(rate * spread).astype(float)
    counts[4] = 0.0
    first = Counts.of(counts, link == "softplus", False)
    noise = replace(first.noise, dispersion=np.full(5, alpha))
    seen = replace(first, noise=noise).settled(k, 0.3 * loads).settled(k, 0.3 * loads)

    def expanded(loads):
        cross, gram = seen.sums(k, 2)
        value = seen.value + np.sum(loads * cross)
        return value - 0.5 * np.einsum("na,nab,nb->", loads, gram, loads)

    def true(loads):
        return sum(log_likelihood(counts[i], loads[i] @ k, link, alpha) for i in range(4))

    here, step = 0.3 * loads, 1e-4
    assert expanded(here) == pytest.approx(true(here), abs=1e-6)
    slopes = [
        (f(here + step * other) - f(here - step * other)) / (2 * step) for f in (expanded, true)
    ]
    assert abs(slopes[0]) > 1
    assert slopes[0] == pytest.approx(slopes[1], rel=1e-5)
    # the curvature is the one observed for a Poisson's own link, else the expected one
    bends = [
        (f(here + 0.01 * other) - 2 * f(here) + f(here - 0.01 * other)) / 1e-4
        for f in (expanded, true)
    ]
    exact = link == "exp" and alpha == 0
    assert bends[0] == pytest.approx(bends[1], rel=1e-3 if exact else 0.2)
    # a silent neuron says nothing
    cross, gram = seen.sums(k, 2)
    assert np.abs(cross[4]).max() == 0
    assert np.abs(gram[4]).max() == 0


def test_likelihood_is_the_integral_over_loadings():
    """Importance sampling of the loadings; what Laplace's method leaves out is small."""
    sessions, neurons = recordings(n_sessions=3, recorded=6, recurring=3)
    found = {}
    for shift in (0.0, 0.05):
        raw, x = problem(sessions, neurons, network=None)
        x = x + shift
        raw = raw.settled(x)
        run, transports, here = raw.at(x)
        maps = raw._maps(x, transports)
        post, rng = here.posterior, np.random.default_rng(1)
        total = 0.0
        for i in range(raw.recorded.n_neurons):
            q = stats.multivariate_normal(post.mean[i], 1.3 * post.covariance[i])
            xi = q.rvs(4000, random_state=rng)
            log = stats.multivariate_normal(np.zeros(4), np.eye(4)).logpdf(xi) - q.logpdf(xi)
            for session, c, s in zip(raw.recorded.sessions, maps, run.matrices, strict=True):
                for at in np.flatnonzero(session.neurons == i):
                    n = session.seen.counts[at]
                    h = xi @ c @ rolled_out(session, s)[0].reshape(2, -1)
                    # at its best offset each draw expects as many spikes as there are
                    eta = h + np.log(n.sum() / np.exp(h).sum(axis=1))[:, None]
                    log += eta @ n - n.sum()
            top = log.max()
            total += top + np.log(np.mean(np.exp(log - top)))
        for session, s in zip(raw.recorded.sessions, run.matrices, strict=True):
            left = session.outputs - s[3:, :2] @ rolled_out(session, s)[0].reshape(2, -1)
            total -= 0.5 * np.sum(left**2 / session.output_noise[:, None])
        found[shift] = here.value, total, raw.recorded.n_neurons
        assert here.value == pytest.approx(total, abs=0.03 * raw.recorded.n_neurons)
    gains = [found[0.05][j] - found[0.0][j] for j in (0, 1)]
    assert abs(gains[1]) > 3
    assert gains[0] == pytest.approx(gains[1], abs=0.1)


@pytest.mark.parametrize(
    ("noise", "link"), [("poisson", "exp"), ("negative-binomial", "exp"), ("poisson", "softplus")]
)
def test_slopes_are_those_of_the_value(noise, link):
    raw, x = problem(*recordings(), noise=noise, link=link, gain=GAIN)
    assert raw.model.layout.names[-2:] == ("rate", "gain")
    x = x + 0.05 * np.random.default_rng(1).standard_normal(len(x))
    slopes = raw.evaluate(x)[1]
    for p, slope in enumerate(slopes):
        ends = []
        for step in (1e-5, -1e-5, 2e-5, -2e-5):
            moved = x.copy()
            moved[p] += step
            ends.append(raw.evaluate(moved)[0])
        numerical = (8 * (ends[0] - ends[1]) - (ends[2] - ends[3])) / 12e-5
        assert slope == pytest.approx(numerical, abs=1e-6 * np.abs(slopes).max())
    assert np.abs(slopes[-1]) > 10


def test_expansion_settles():
    raw, x = problem(*recordings())
    again = raw.settled(x)
    assert again.at(x)[2].value == pytest.approx(raw.at(x)[2].value, abs=1e-3)
    run, transports, found = again.at(x)
    maps = again._maps(x, transports)
    for session, c, s in zip(again.recorded.sessions, maps, run.matrices, strict=True):
        k = rolled_out(session, s)[0].reshape(2, -1)
        h = found.posterior.mean[session.neurons] @ c @ k
        np.testing.assert_allclose(session.seen.course, h, atol=1e-3)


def test_scores_scatter_as_the_information_says():
    """Free sessions at the true parameters: the score's covariance is the information."""
    parts, gauge = [], []
    for seed in range(12):
        raw, x = problem(*recordings(recurring=30, seed=seed))
        scores, known, _ = raw._scores(x)
        for score, info in zip(scores, known, strict=True):
            values, vectors = np.linalg.eigh(info[:4, :4])
            parts.append((vectors.T @ score[:4]) / np.sqrt(values))
            units = 1 / np.sqrt(np.diag(info))
            gauge.append(np.linalg.eigvalsh(info * units * units[:, None])[:2])
    assert np.mean(np.square(parts)) == pytest.approx(1.0, abs=0.25)
    assert max(low / high for low, high in gauge) < 1e-9


@pytest.mark.parametrize("observed", ["counts", "current"])
def test_information_is_the_scatter_of_the_slopes(observed):
    """At the true parameters, over learners; with the gain among the parameters."""
    noise, white = "poisson" if observed == "counts" else "gaussian", []
    for seed in range(12):
        sessions, neurons = recordings(n_sessions=6, n_trials=20, observed=observed, seed=seed)
        raw, x = problem(sessions, neurons, noise=noise, gain=GAIN)
        root = np.linalg.cholesky(raw.information(x))
        white.append(np.linalg.solve(root, raw.evaluate(x)[1]))
    squares = np.square(white)
    assert squares.shape == (12, 12)
    assert np.mean(squares) == pytest.approx(1.0, abs=0.3)


def test_gain_of_the_first_look():
    """Recordings in other units lead to the same first look, but for how large an input is."""
    sessions, _ = simulate_learning(
        START, TASK, 20, RULE, n_sessions=2, n_neurons=100, recorded=60, n_trials=10, noise=0.05
    )
    louder = [replace(r, activity=3.0 * r.activity) for r in sessions]
    tables = [first_look(sessions, 1, 1.0, 0), first_look(louder, 1, 1.0, 0)]
    (one, gain), (other, more) = (_unit_input(table, 1) for table in tables)
    assert more / gain == pytest.approx(3.0, rel=1e-6)
    assert one["mm"].mean() == pytest.approx(1.0)
    pd.testing.assert_frame_equal(one, other, rtol=1e-5)
    known = first_look(louder, 1, 1.0, 0, gain=more)
    pd.testing.assert_frame_equal(known, other, rtol=1e-5)


def found(fit, gain=False):
    """Return how far off the fit is, in standard deviations; the intervals."""
    true = START.to_series()
    true["rate"] = RULE.rate
    if gain:
        true["gain"] = GAIN
    table = fit.intervals_.loc[true.index]
    sd = (table["high"] - table["low"]) / 3.92
    return (table["estimate"] - true) / sd, table.assign(sd=sd)


def test_finds_hidden_overlaps_from_counts():
    sessions, neurons = recordings(
        n_sessions=6, recorded=50, recurring=30, n_trials=12, n_bins=50, firing=1.5
    )
    fit = pl.LearningFit(n_starts=2).fit_recordings(
        sessions, TASK, 20, RULE, neurons=neurons, network=100, noise="poisson", gain=GAIN
    )
    assert fit.converged_
    assert fit.identifiable_.all()
    off, table = found(fit)
    assert np.abs(off).max() < 4
    assert np.sqrt(np.mean(off**2)) < 1.8
    assert table.loc[["zv", "vv", "zz"], "sd"].max() < 0.4
    loadings = START.loadings(100, seed=3)
    always = sorted(set.intersection(*(set(n) for n in neurons)))
    for name, values in (("m", loadings.m), ("u", loadings.u)):
        assert np.corrcoef(fit.loadings_.loc[always, name], values[always, 0])[0, 1] > 0.95
    assert fit.goodness_of_fit().p_value > 1e-3


def test_finds_the_gain():
    sessions, neurons = recordings(
        n_sessions=7, recorded=50, recurring=25, n_trials=20, n_bins=60, observed="current",
        noise=0.2,
    )  # fmt: skip
    given = {"neurons": neurons, "network": 100}
    fit = pl.LearningFit(n_starts=2)
    fit.fit_recordings(sessions, TASK, 20, RULE, gain="fit", **given)
    assert fit.rates_.index.tolist() == ["rate", "gain"]
    off, table = found(fit, gain=True)
    assert np.abs(off).max() < 4
    assert np.sqrt(np.mean(off**2)) < 1.8
    assert table.loc["gain", "sd"] < 0.02
    low, high = fit.profile("gain")
    assert low < table.loc["gain", "estimate"] < high
    assert high - low == pytest.approx(3.92 * table.loc["gain", "sd"], rel=0.3)
    ahead = fit.predict(pl.Filter(decay=0.5), [0, 20], n_draws=20)
    assert np.all(ahead.loss()["low"] <= ahead.loss()["high"])
    # the gain taken for known and wrong is noticed
    wrong = pl.LearningFit(n_starts=1).fit_recordings(
        sessions, TASK, 20, RULE, gain=1.5 * GAIN, **given
    )
    assert wrong.log_likelihood_ < fit.log_likelihood_ - 20


def test_dispersion_is_found():
    sessions, neurons = recordings(
        n_sessions=2, n_trials=40, dispersion=0.5, firing=2.0, recurring=30
    )
    for noise, expected in (("negative-binomial", 0.5), ("poisson", 0.0)):
        raw, _ = problem(sessions, neurons, noise=noise)
        for session in raw.recorded.sessions:
            found = session.seen.noise.dispersion
            assert np.mean(found) == pytest.approx(expected, abs=0.05)


def test_simulated_counts():
    counts, _ = recordings(n_trials=40, gain=0.05, firing=0.7, recorded=100)
    for r in counts:
        assert r.observed == "counts"
        # geometric mean 0.7, log-sd 0.5; a log-sd of the mean of 100 of 0.05
        assert r.activity.mean() == pytest.approx(0.7 * np.exp(0.125), rel=0.2)
        assert np.array_equal(r.activity, np.round(r.activity))
    quiet, loud = (
        recordings(observed="current", noise=0.0, gain=g)[0][1].activity for g in (1.0, 2.0)
    )
    np.testing.assert_allclose(loud, 2 * quiet)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, "noise must be 'poisson' or 'negative-binomial' for recordings"),
        ({"noise": "normal"}, "noise must be one of"),
        ({"noise": "poisson", "link": "log"}, "link must be one of"),
        ({"noise": "poisson", "gain": 0.0}, "gain must be"),
        ({"noise": "poisson", "gain": "free"}, "gain must be"),
    ],
)
def test_refuses(changes, message):
    sessions, neurons = recordings(n_sessions=2)
    with pytest.raises(InputError, match=message):
        pl.LearningFit(n_starts=1).fit_recordings(
            sessions, TASK, 20, RULE, neurons=neurons, **changes
        )


def test_refuses_what_is_not_counted():
    sessions, neurons = recordings(n_sessions=2)
    with pytest.raises(InputError, match="counts must be whole numbers"):
        replace(sessions[0], activity=sessions[0].activity + 0.5)
    currents, neurons = recordings(observed="current")
    with pytest.raises(InputError, match="noise must be 'gaussian' for"):
        checked_recordings(currents, neurons, None, 1, 1.0, "poisson")


@pytest.mark.slow
def test_intervals_hold_the_truth():
    """Eight networks of 300: of 96 intervals at 95%, fewer than 85 would be a chance of 0.2%."""
    held = []
    for seed in range(8):
        sessions, neurons = recordings(
            n_neurons=300, recorded=100, recurring=50, n_sessions=9, n_trials=20, seed=seed
        )
        fit = pl.LearningFit(n_starts=2).fit_recordings(
            sessions, TASK, 20, RULE, neurons=neurons, network=300, noise="poisson", gain="fit"
        )
        true = START.to_series()
        true["rate"], true["gain"] = RULE.rate, GAIN
        table = fit.intervals_.loc[true.index]
        held.append((table["low"] <= true) & (true <= table["high"]))
    assert np.sum(held) >= 85
