"""LearningFit on the raw recordings of all sessions."""

from __future__ import annotations

import copy
import warnings
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import predictlearn as pl
from predictlearn.errors import InputError
from predictlearn.fitting.learning.likelihood import Fitted
from predictlearn.fitting.learning.model import Model
from predictlearn.fitting.learning.parameters import ParameterLayout
from predictlearn.fitting.learning.recordings.data import checked_recordings, with_noise
from predictlearn.fitting.learning.recordings.likelihood import RawProblem
from predictlearn.fitting.learning.recordings.marginal import marginal, rolled_out
from predictlearn.fitting.learning.search import _scattered, shortened
from predictlearn.fitting.learning.sessions import checked_sessions
from predictlearn.simulation import simulate_learning
from predictlearn.theory.learning.phases import Leg
from predictlearn.theory.learning.sensitivity import learn_with_sensitivities

TASK, RULE = pl.Filter(duration=10.0), pl.GradientDescent(2e-3)
# where few sessions are to show all: more is learned between them
FAST = pl.GradientDescent(5e-3)
START = pl.Overlaps(np.eye(4)).replace(zm=0.1, zu=0.2, vm=0.3, vu=0.2, mu=0.3, uu=1.5, zv=0.2)


def recordings(rule=RULE, **changes):
    """Return sessions of a small network."""
    settings = {
        "n_sessions": 6,
        "n_neurons": 100,
        "recorded": 30,
        "recurring": 12,
        "n_trials": 10,
        "n_bins": 40,
        "seed": 3,
    }
    return simulate_learning(START, TASK, 20, rule, **{**settings, **changes})


def problem(sessions, neurons, network=100, rate="fit", start=START, task=TASK, rule=RULE):
    """Return the likelihood of recordings with its noise settled at the start given."""
    recorded, _ = checked_recordings(sessions, neurons, network, start.rank, 1.0)
    names = [n for n in start.names if n[0] in "vz" and n[1 + n[1].isdigit()] in "mu"]
    blank = pd.DataFrame(np.zeros((len(sessions), len(names))), columns=names)
    data = checked_sessions(blank, task, 20, 1.0, start.rank)
    layout = ParameterLayout(data.sizes, rule, rate)
    model = Model(data, layout, "linear", 1.0, 0, False)
    x = layout.pack(start.matrix)
    return RawProblem(model, True, 1.0, recorded=recorded).settled(x), x


def numerical(f, x, step=1e-5):
    """Return the slope of f by differences of fourth order."""
    out = np.empty(len(x))
    for p in range(len(x)):
        d = np.zeros(len(x))
        d[p] = step
        out[p] = (8 * (f(x + d) - f(x - d)) - (f(x + 2 * d) - f(x - 2 * d))) / (12 * step)
    return out


def test_likelihood_is_that_of_the_dense_gaussian():
    sessions, neurons = recordings(n_sessions=3, recorded=4, recurring=2, n_trials=2, n_bins=8)
    raw, x = problem(sessions, neurons, network=None)

    def dense(x):
        run, transports, _ = raw.at(x)
        s = raw.model.layout.matrix(x)
        n = raw.recorded.n_neurons
        rows, values, who, noise, total = [], [], [], [], 0.0
        for session, p, now in zip(
            raw.recorded.sessions, transports[..., 0], run.matrices, strict=True
        ):
            k = rolled_out(session, now)[0]
            seen = k[:, session.kept]
            seen = seen - seen.mean(axis=1, keepdims=True)
            for i, neuron in enumerate(session.neurons):
                rows.append((p @ seen).T)
                values.append(session.seen.values[i])
                who.append(np.full(seen.shape[1], neuron))
                noise.append(np.full(seen.shape[1], session.seen.noise[i]))
            left = session.outputs - now[3:, :2] @ k[:, session.judged]
            total += stats.norm.logpdf(left, scale=np.sqrt(session.output_noise)[:, None]).sum()
        h, y, w = np.concatenate(rows), np.concatenate(values), np.concatenate(who)
        for neuron in range(n):
            mine = w == neuron
            cov = h[mine] @ s @ h[mine].T + np.diag(np.concatenate(noise)[mine])
            total += stats.multivariate_normal.logpdf(y[mine], cov=cov)
        return total

    other = x + 0.1 * np.random.default_rng(0).standard_normal(len(x))
    expected = dense(other) - dense(x)
    assert abs(expected) > 10
    assert raw.evaluate(other)[0] - raw.evaluate(x)[0] == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("network", [None, 100])
@pytest.mark.parametrize("rate", ["fit", "known", "pathways"])
def test_slopes_are_those_of_the_value(network, rate):
    raw, x = problem(*recordings(), network=network, rate=rate)
    x = x + 0.05 * np.random.default_rng(1).standard_normal(len(x))
    slopes = raw.evaluate(x)[1]
    assert np.abs(slopes).max() > 100
    expected = numerical(lambda y: raw.evaluate(y)[0], x)
    np.testing.assert_allclose(slopes, expected, atol=1e-6 * np.abs(slopes).max())
    held = raw.held(np.eye(len(x))[0], 0.3)
    expected = numerical(lambda y: held.evaluate(y)[0], x)
    np.testing.assert_allclose(held.evaluate(x)[1], expected, atol=1e-6 * np.abs(expected).max())


def test_chaotic_learning_is_not_compared_with_anything():
    raw, x = problem(*recordings())
    # at the edge of what the task allows, where learning ends well but could have ended anywhere
    wild = x + 2.5 * np.eye(len(x))[-1]
    assert np.isfinite(raw.value(wild, np.ones(2)))
    assert raw.evaluate(wild) is None
    assert raw.improve(wild, np.ones(2), 5) is None


def test_slopes_for_rank_two():
    rng = np.random.default_rng(5)
    turn = 0.1 * rng.standard_normal((6, 6))
    start = pl.Overlaps(np.eye(6) + turn + turn.T, 1, 2, 1)
    task = pl.DampedOscillation(duration=5.0)
    sessions, neurons = simulate_learning(
        start, task, 20, RULE, n_sessions=4, n_neurons=60, recorded=25, recurring=10, n_trials=8,
        n_bins=30,
    )  # fmt: skip
    raw, x = problem(sessions, neurons, 60, start=start, task=task)
    assert len(raw.conventions()) == 1
    slopes = raw.evaluate(x)[1]
    expected = numerical(lambda y: raw.evaluate(y)[0], x)
    np.testing.assert_allclose(slopes, expected, atol=1e-5 * np.abs(slopes).max())


def test_learning_multiplies_the_loadings_of_every_neuron():
    rule, start = pl.GradientDescent(5e-3, weight_decay=0.01), START
    loadings = start.loadings(200, seed=1)
    trained = pl.train_network(loadings, TASK, rule, 60)
    run = learn_with_sensitivities(start, [Leg(TASK, 60, rule)], [0, 60], carry=True, slopes=False)
    before = np.column_stack([loadings.m, loadings.u, loadings.v, loadings.z])
    end = trained.loadings
    after = np.column_stack([end.m, end.u, end.v, end.z])
    np.testing.assert_allclose(before @ run.carried[1, :, :, 0], after, atol=1e-9)
    np.testing.assert_allclose(run.carried[0, :, :, 0], np.eye(4))


def test_slopes_of_what_learning_multiplies_by():
    legs = [Leg(TASK, 30, pl.GradientDescent(5e-3)), Leg(pl.Filter(decay=0.5), 20, RULE)]
    record = [10, 30, 50]
    run = learn_with_sensitivities(START, legs, record, carry=True)
    for name in ("vm", "mu", "zz", "uu"):
        ends = [
            learn_with_sensitivities(
                START.replace(**{name: START[name] + d}), legs, record, carry=True, slopes=False
            ).carried[..., 0]
            for d in (1e-5, -1e-5)
        ]
        found = run.carried[..., 1 + run.parameters.index(name)]
        np.testing.assert_allclose(found, (ends[0] - ends[1]) / 2e-5, atol=1e-7)
    with pytest.raises(InputError, match="momentum"):
        learn_with_sensitivities(
            START, [Leg(TASK, 5, pl.GradientDescent(1e-3, momentum=0.5))], [5], carry=True
        )


def test_only_identity_of_neurons_matters():
    sessions, neurons = recordings()
    raw, x = problem(sessions, neurons)
    rng = np.random.default_rng(2)
    turned, names = [], []
    for r, ids in zip(sessions, neurons, strict=True):
        order = rng.permutation(len(ids))
        turned.append(replace(r, activity=r.activity[:, :, order]))
        names.append([f"cell {i}" for i in ids[order]])
    again, _ = problem(turned, names)
    other = x + 0.02
    gain = raw.evaluate(other)[0] - raw.evaluate(x)[0]
    assert again.evaluate(other)[0] - again.evaluate(x)[0] == pytest.approx(gain, rel=1e-7)
    # and it does matter
    strangers, _ = problem(sessions, [np.arange(30) + 30 * k for k in range(6)], None)
    free, _ = problem(sessions, neurons, None)
    told = [p.evaluate(other)[0] - p.evaluate(x)[0] for p in (free, strangers)]
    assert abs(told[0] - told[1]) > 1


@pytest.fixture(scope="module")
def fitted():
    sessions, neurons = recordings(
        FAST, n_sessions=7, recorded=50, recurring=25, n_trials=15, n_bins=50, noise=0.2
    )
    fit = pl.LearningFit(n_starts=2)
    return fit.fit_recordings(sessions, TASK, 20, FAST, neurons=neurons, network=100), neurons


def test_finds_hidden_overlaps_and_loadings(fitted):
    fit, neurons = fitted
    table = fit.intervals_
    off = (table["estimate"] - START.to_series()).dropna() / table["sd"].drop("rate")
    assert len(off) == 10
    assert np.abs(off).max() < 4
    assert np.sqrt(np.mean(off**2)) < 1.8
    assert table.loc[["zv", "vv", "zz"], "sd"].max() < 0.3
    assert table.loc["rate", "low"] < FAST.rate < table.loc["rate", "high"]
    true = START.loadings(100, seed=3)
    ids = np.unique(np.concatenate(neurons))
    assert fit.loadings_.index.tolist() == ids.tolist()
    always = sorted(set.intersection(*(set(n) for n in neurons)))
    for name, values, least in (("m", true.m, 0.99), ("u", true.u, 0.99), ("v", true.v, 0.9)):
        found = fit.loadings_.loc[always, name]
        assert np.corrcoef(found, values[always, 0])[0, 1] > least
        error = (found - values[always, 0]) / fit.loading_sds_.loc[always, name]
        assert 0.5 < np.sqrt(np.mean(error**2)) < 1.6


def test_what_a_fit_can_be_asked(fitted):
    fit, _ = fitted
    assert fit.maxima_["log_likelihood"].iloc[0] == 0
    assert fit.goodness_of_fit("smooth misfit").p_value > 1e-3
    assert fit.goodness_of_fit("chi-square").p_value > 1e-3
    assert 0.5 < fit.residuals_.to_numpy().std() < 1.5
    assert list(fit.residuals_.columns) == ["vm", "vu", "zm", "zu"]
    assert fit.trajectory_.shape == (7, 11)
    assert list(fit.sessions_)[:4] == ["zm", "zu", "vm", "vu"]
    low, high = fit.profile("vm")
    assert low < fit.start_["vm"] < high
    width = fit.intervals_.loc["vm", "high"] - fit.intervals_.loc["vm", "low"]
    assert high - low == pytest.approx(width, rel=0.3)
    ahead = fit.predict(pl.Filter(decay=0.5), [0, 20], n_draws=20)
    assert np.all(ahead.loss()["low"] <= ahead.loss()["high"])


def test_intervals_span_maxima_that_the_data_hardly_tell_apart(fitted, monkeypatch):
    fit = copy.copy(fitted[0])
    alone = fit.intervals_.copy()
    problem, best = fit._problem, fit._best
    layout = problem.model.layout
    far = layout.pack(layout.matrix(best.x) + 0.2 * np.diag([0.0, 0.0, 1.0, 0.0]))
    far[-1] = best.x[-1]

    def about(maximum, found, ridge_line):
        # no maximum, so that no ridge line is through it: intervals like those about the top
        assert ridge_line.x is maximum.x
        moved = np.append(layout.natural(maximum.x) - layout.natural(best.x), 0.0)[: len(alone)]
        table = alone.assign(low=alone["low"] + moved, high=alone["high"] + moved)
        return SimpleNamespace(intervals=lambda level: table)

    monkeypatch.setattr(fit, "_density_about", about)
    for lower, spans in ((1.0, True), (5.0, False)):
        fit.intervals_ = alone.copy()
        fit._keep_maxima([Fitted(far, best.group_sd, best.cost + lower, True)])
        assert fit.maxima_["log_likelihood"].tolist() == [0.0, pytest.approx(-lower)]
        assert fit.maxima_["vv"].diff().iloc[1] == pytest.approx(0.2)
        wider = fit.intervals_.loc["vv", "high"] - alone.loc["vv", "high"]
        assert wider == pytest.approx(0.2 * spans)
        assert fit.intervals_["low"].to_numpy() == pytest.approx(alone["low"].to_numpy())


def test_warns_where_too_little_was_learned():
    sessions, neurons = recordings(n_sessions=2, n_trials=6)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", pl.ConvergenceWarning)
        with pytest.warns(UserWarning, match=r"leave \d direction\(s\) open"):
            fit = pl.LearningFit(n_starts=1, max_iter=10).fit_recordings(
                sessions, TASK, 1, RULE, neurons=neurons, network=100, bin="euler"
            )
    assert len(fit.directions_) > 0


def test_starts_differ_in_what_is_hidden_only():
    raw, x = problem(*recordings())
    before = raw.model.layout.matrix(x)
    for seed in range(5):
        moved = _scattered(raw, x, np.random.default_rng(seed))
        after = raw.model.layout.matrix(moved)
        factor = np.sqrt(after[1, 1] / before[1, 1])
        assert 0.5 < factor < 2
        seen = before.copy()
        seen[1] *= factor
        seen[:, 1] *= factor
        seen[2] /= factor
        seen[:, 2] /= factor
        # but for what keeps it realisable
        np.testing.assert_allclose(after[:2], seen[:2], atol=0.2)
        assert np.abs(after[2:, 2:] - before[2:, 2:]).max() > 0.02
        assert moved[-1] != x[-1]


def test_wrong_rule_is_noticed():
    sessions, neurons = simulate_learning(
        START, TASK, 20, pl.GradientDescent(2e-3, weight_decay=0.5), n_sessions=6, n_neurons=100,
        recorded=40, n_trials=20, noise=0.2,
    )  # fmt: skip
    fit = pl.LearningFit(n_starts=1, max_iter=30)
    fit.fit_recordings(sessions, TASK, 20, RULE, neurons=neurons, network=100)
    assert fit.goodness_of_fit().p_value < 2e-3
    assert fit.goodness_of_fit("smooth misfit").p_value < 0.02
    rule = pl.GradientDescent(1.5e-3, weight_decay=0.5)
    fit.fit_recordings(sessions, TASK, 20, rule, neurons=neurons, network=100)
    assert fit.goodness_of_fit().p_value > 0.02
    assert fit.goodness_of_fit("smooth misfit").p_value > 0.02


def test_scores_scatter_as_the_information_says():
    """Free sessions at the true parameters: the score's covariance is the information."""
    squares, parts = [], []
    for seed in range(12):
        sessions, neurons = recordings(recurring=30, seed=seed)
        raw, x = problem(sessions, neurons)
        scores, known, _ = raw._scores(x)
        for score, info in zip(scores, known, strict=True):
            values, vectors = np.linalg.eigh(info[:4, :4])
            parts.append((vectors.T @ score[:4]) / np.sqrt(values))
            units = 1 / np.sqrt(np.diag(info))
            values, vectors = np.linalg.eigh(info * units * units[:, None])
            assert values[0] < 1e-9 * values[1]  # the gauge
            squares.append(np.sum((vectors[:, 1:].T @ (units * score)) ** 2 / values[1:]))
    assert np.mean(np.square(parts)) == pytest.approx(1.0, abs=0.25)
    # loadings are estimated from the same sessions, which takes 16 of 6 x 11
    assert np.mean(squares) == pytest.approx(11 - 16 / 6, rel=0.15)


def test_missing_bins_are_left_out():
    sessions, neurons = recordings()
    holed = sessions[0].activity.copy()
    holed[2, 5:9, 3] = np.nan
    outputs = sessions[1].outputs.copy()
    outputs[0, :4] = np.nan
    some = [
        replace(sessions[0], activity=holed),
        replace(sessions[1], outputs=outputs),
        *sessions[2:],
    ]
    recorded, labels = checked_recordings(some, neurons, 100, 1, 1.0)
    assert recorded.sessions[0].seen.values.shape == (30, 396)
    assert recorded.sessions[1].outputs.shape == (1, 396)
    assert len(labels) == recorded.n_neurons
    np.testing.assert_allclose(recorded.sessions[0].seen.values.mean(axis=1), 0, atol=1e-12)


def test_noise_is_found():
    sessions, neurons = recordings(n_trials=40, noise=0.25, output_noise=0.05)
    recorded, _ = checked_recordings(sessions, neurons, None, 1, 1.0)
    run = pl.learn(START, TASK, RULE, 100, every=20)
    found = with_noise(recorded, run.array)
    for session in found.sessions:
        assert np.sqrt(session.seen.noise.mean()) == pytest.approx(0.25, rel=0.02)
        assert np.sqrt(session.output_noise[0]) == pytest.approx(0.05, rel=0.06)


def test_first_sessions_alone():
    raw, x = problem(*recordings())
    first = shortened(raw, 3)
    run, transports, found = first.at(x)
    assert run.matrices.shape[0] == transports.shape[0] == len(found.drives) == 3
    full = raw.at(x)
    np.testing.assert_allclose(run.matrices, full[0].matrices[:3], atol=1e-12)
    alone = marginal(
        first.recorded,
        np.einsum("ji,kjb->kib", raw.model.layout.factor(x), full[1][:3, ..., 0]),
        full[0].matrices[:3],
    )
    assert alone.value == pytest.approx(found.value)


def _with(**changes):
    """Return arguments of fit_recordings, some changed."""
    sessions, neurons = recordings()
    given = {"recordings": sessions, "tasks": TASK, "epochs": 20, "rule": RULE, "neurons": neurons}
    for name, change in changes.items():
        given[name] = change(given.get(name)) if callable(change) else change
    return given


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"recordings": lambda r: r[0]}, "recordings must be a list"),
        ({"recordings": lambda r: r[:1]}, "at least 2 sessions"),
        ({"recordings": lambda r: [*r[:5], "x"]}, r"recordings\[5\] must be a pl.Recording"),
        ({"recordings": lambda r: [replace(r[0], outputs=None), *r[1:]]}, "must have outputs"),
        (
            {
                "recordings": lambda r: [
                    replace(r[0], activity=np.abs(r[0].activity.round()), observed="counts"),
                    *r[1:],
                ]
            },
            "counts",
        ),
        ({"neurons": lambda n: n[:3]}, "one list of ids for each of 6 sessions; got 3"),
        ({"neurons": lambda n: [n[0][:5], *n[1:]]}, r"neurons\[0\] must have one id"),
        ({"neurons": lambda n: [np.zeros(30), *n[1:]]}, r"neurons\[0\] must not name a neuron"),
        ({"neurons": "abc"}, "neurons must be a list"),
        ({"network": 20}, "network must be at least the"),
        ({"tasks": "filter"}, "tasks must be a task"),
        ({"epochs": [1, 2]}, "epochs must be"),
        ({"rule": pl.GradientDescent(1e-3, momentum=0.9)}, "without momentum"),
    ],
)
def test_refuses(changes, message):
    with pytest.raises(InputError, match=message):
        pl.LearningFit(n_starts=1).fit_recordings(**_with(**changes))


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"nonlinearity": "erf"}, "nonlinearity must be"), ({"gauge": "canonical"}, "gauge must be")],
)
def test_refuses_settings(settings, message):
    with pytest.raises(InputError, match=message):
        pl.LearningFit(**settings).fit_recordings(**_with())


@pytest.mark.slow
def test_intervals_hold_the_truth():
    """Eight networks of 300: of 88 intervals at 95%, fewer than 78 would be a chance of 0.3%."""
    held = []
    for seed in range(8):
        sessions, neurons = recordings(
            n_neurons=300, recorded=100, recurring=50, n_sessions=9, n_trials=20, seed=seed
        )
        fit = pl.LearningFit(n_starts=2)
        fit.fit_recordings(sessions, TASK, 20, RULE, neurons=neurons, network=300)
        truth = START.to_series()
        truth["rate"] = RULE.rate
        table = fit.intervals_.loc[truth.index]
        held.append((table["low"] <= truth) & (truth <= table["high"]))
    assert np.sum(held) >= 78
