"""LearningFit: overlaps that no session shows, measured from learning."""

from __future__ import annotations

import contextlib
import sys
import warnings

import numpy as np
import pandas as pd
import pytest

import predictlearn as pl
from predictlearn.fitting import LearningFit
from predictlearn.fitting.learning.identifiability import identify
from predictlearn.fitting.learning.model import Model
from predictlearn.fitting.learning.parameters import ParameterLayout, draw_factor, log_prior
from predictlearn.fitting.learning.sessions import checked_sessions
from predictlearn.simulation import simulate_sessions
from predictlearn.theory.gauge import canonical_matrices


@contextlib.contextmanager
def _quiet():
    """Let a fit of ill-determined parameters stop early."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", pl.ConvergenceWarning)
        yield


TASK, RULE = pl.Filter(), pl.GradientDescent(5e-3)
TRUE = pl.Overlaps(np.eye(4)).replace(uu=2.05, mu=0.8)
VISIBLE = ["zm", "zu", "vm", "vu"]
SEEN = [*VISIBLE, "mu", "mm", "uu"]


def simulated(**settings):
    settings = {"n_sessions": 20, "seed": 3, **settings}
    return simulate_sessions(TRUE, TASK, 50, RULE, **settings)


@pytest.fixture(scope="module")
def sessions():
    return simulated()


@pytest.fixture(scope="module")
def fit(sessions):
    return LearningFit(n_starts=2).fit(sessions, TASK, 50, RULE)


@pytest.mark.quick
def test_every_overlap_is_found(fit):
    table = fit.intervals_.iloc[:10].assign(truth=TRUE.to_series())
    assert fit.converged_
    assert fit.identifiable_.all()
    assert fit.directions_.empty
    assert (abs(table["estimate"] - table["truth"]) < 3.5 * table["sd"]).all()
    assert table["sd"].max() < 0.12
    assert abs(fit.rate_ / 5e-3 - 1) < 0.12
    assert 0.015 < fit.noise_["overlaps"] < 0.025
    assert np.linalg.eigvalsh(fit.start_.matrix)[0] >= 0
    assert fit.residuals_.shape == (20, 7)


@pytest.mark.quick
def test_without_noise_the_truth_returns():
    clean = simulated(noise=0.0, n_sessions=12)
    found = LearningFit(n_starts=2).fit(clean, TASK, 50, RULE, errors=1e-4)
    assert np.abs(found.start_.matrix - TRUE.matrix).max() < 1e-3
    assert abs(found.rate_ / 5e-3 - 1) < 1e-3


def asymptotic(n_sessions, between, rate, columns=SEEN, rule=RULE, start=TRUE, noise=0.02):
    table = simulate_sessions(
        start, TASK, between, rule, 0.0, n_sessions=n_sessions, columns=columns
    )
    data = checked_sessions(table, TASK, between, noise, 1)
    layout = ParameterLayout(data.sizes, rule, rate)
    run = Model(data, layout, "linear", 1.0, 0, False).run(layout.pack(start.matrix))
    return identify(run.slopes / noise, layout.scales(start.matrix)), layout


@pytest.mark.quick
def test_standard_errors_of_the_theory_page():
    # 41 sessions over 1000 epochs, noise 0.02, rate known: zv 0.04, vv 0.04, zz 0.05
    found, _ = asymptotic(41, 25, "known")
    sd = np.sqrt(np.diag(found.covariance))
    assert np.allclose(sd[[5, 8, 9]], [0.039, 0.041, 0.051], atol=1e-3)
    # 21 sessions, rate unknown: 0.05, 0.07, 0.09, and the rate to 4%
    found, _ = asymptotic(21, 50, "fit")
    sd = np.sqrt(np.diag(found.covariance))
    assert np.allclose(sd[[5, 8, 9, 10]], [0.052, 0.071, 0.091, 0.037], atol=1e-3)


@pytest.mark.quick
def test_visible_overlaps_leave_exactly_one_direction_open():
    start = TRUE.replace(zu=0.2, vm=0.3, zv=0.2, vv=1.3, mu=0.1, uu=1.2)
    found, layout = asymptotic(
        16, 2000, "known", VISIBLE, pl.GradientDescent(1e-5), start, noise=1e-4
    )
    assert found.free.shape == (10, 1)
    along = found.free[:, 0] / np.linalg.norm(found.free)
    j = np.array([{"mm": 1, "uu": 1, "vv": -1, "zz": -1}.get(n, 0) for n in layout.overlap_names])
    assert np.abs(along * np.sign(along[6]) - j / 2).max() < 1e-6
    assert found.identifiable.tolist() == [n not in ("mm", "uu", "vv", "zz") for n in layout.names]


@pytest.mark.quick
def test_intervals_of_an_open_direction_span_what_is_realisable():
    start = TRUE.replace(zu=0.2, vm=0.3, zv=0.2, vv=1.3, mu=0.1, uu=1.2, zm=0.1, vu=0.2)
    rule = pl.GradientDescent(5e-4)
    table = simulate_sessions(start, TASK, 50, rule, 0.005, n_sessions=21, seed=1, columns=VISIBLE)
    with _quiet():
        found = LearningFit(n_starts=1, rate="known", max_iter=20).fit(table, TASK, 50, rule)
    assert len(found.directions_) == 1
    assert not found.identifiable_[["mm", "uu", "vv", "zz"]].any()
    assert found.identifiable_[["zm", "zu", "vm", "vu", "mu", "zv"]].all()
    inside = found.intervals_.iloc[:10].assign(truth=start.to_series())
    assert ((inside["low"] <= inside["truth"]) & (inside["truth"] <= inside["high"])).all()
    # what the direction leaves alone is measured: mm + vv, and zv
    assert abs(found.start_["mm"] + found.start_["vv"] - 2.3) < 0.2
    draws = found.draw(50)
    assert draws["mm"].max() - draws["mm"].min() > 0.8


@pytest.mark.quick
def test_behaviour_alone():
    task = pl.Filter(duration=8.0)
    start = TRUE.replace(zu=0.2, vm=0.3)
    table = simulate_sessions(start, task, 10, RULE, 0.002, n_sessions=24, seed=3, columns=["loss"])
    with _quiet():
        found = LearningFit(rank=1, n_starts=1, max_iter=20).fit(table, task, 10, RULE)
    assert len(found.directions_) >= 2  # many networks have one learning curve
    assert np.abs(found.residuals_["loss"]).max() < 5
    assert np.isnan(found.noise_["overlaps"])
    assert found.noise_["loss"] > 0


@pytest.mark.quick
def test_sessions_in_their_canonical_gauges():
    start = TRUE.replace(vm=0.3, zu=0.2, uu=1.5, vv=0.8, mu=0.4)
    table = simulate_sessions(
        start, TASK, 50, RULE, 0.002, n_sessions=20, seed=1, gauge="canonical"
    )
    assert np.allclose(table["uu"], 1.0, atol=0.01)
    found = LearningFit(n_starts=2, gauge="canonical").fit(table, TASK, 50, RULE, errors=0.002)
    # the gauge in which descent acts is identified: uu is 1.5, not 1
    truth = start.to_series()
    table = found.intervals_.iloc[:10]
    assert (abs(table["estimate"] - truth) < 4 * table["sd"] + 1e-6).all()
    assert table.loc["uu", "sd"] < 0.2


@pytest.mark.parametrize("sizes", [(1, 1, 1), (1, 2, 1), (3, 2, 2), (1, 3, 1), (2, 3, 1)])
def test_slopes_in_the_canonical_gauge(sizes):
    rng = np.random.default_rng(sizes[1])
    dim = sizes[0] + 2 * sizes[1] + sizes[2]
    x = rng.normal(size=(3, dim, 2 * dim))
    s = x @ np.swapaxes(x, 1, 2) / dim
    along = rng.normal(size=(3, dim, dim, 2))
    along = along + np.swapaxes(along, 1, 2)
    _, slopes = canonical_matrices(s, along, sizes)
    assert np.abs(slopes).max() > 1
    for p in range(2):
        up = canonical_matrices(s + 1e-5 * along[..., p], along, sizes)[0]
        down = canonical_matrices(s - 1e-5 * along[..., p], along, sizes)[0]
        expected = (up - down) / 2e-5
        scale = np.abs(expected).max()
        assert np.allclose(slopes[..., p], expected, rtol=0, atol=1e-6 * scale)


@pytest.mark.quick
def test_canonical_matrices_are_those_of_overlaps():
    o = TRUE.replace(vm=-0.2, zu=0.1)
    moved, _ = canonical_matrices(o.matrix[None], np.zeros((1, 4, 4, 0)), o.sizes)
    assert np.allclose(moved[0], o.canonical().matrix, atol=1e-12)


@pytest.mark.quick
def test_erf():
    start = TRUE.replace(zu=0.2, vm=0.3, uu=1.2, mu=0.2)
    task = pl.Filter(duration=8.0, dt=0.2)
    table = simulate_sessions(
        start, task, 20, RULE, 0.005, n_sessions=11, seed=0, nonlinearity="erf"
    )
    found = LearningFit("erf", n_starts=1).fit(table, task, 20, RULE)
    inside = found.intervals_.iloc[:10].assign(truth=start.to_series())
    assert (abs(inside["estimate"] - inside["truth"]) < 4 * inside["sd"] + 1e-3).all()


@pytest.mark.quick
def test_rank_two():
    start = pl.Overlaps(np.eye(6), 1, 2, 1).replace(v1m=0.3, zu1=0.2, zu2=0.3, v1u2=-0.3, v2u1=0.3)
    task, rule = pl.DampedOscillation(duration=8.0, dt=0.1), pl.GradientDescent(5e-3)
    table = simulate_sessions(start, task, 50, rule, 0.002, n_sessions=15, seed=0)
    with _quiet():
        found = LearningFit(n_starts=1).fit(table, task, 50, rule)
    assert found.start_.sizes == (1, 2, 1)
    inside = found.intervals_.iloc[:21].assign(truth=start.to_series())
    inside = inside[found.identifiable_]
    assert len(inside) >= 15
    assert (abs(inside["estimate"] - inside["truth"]) < 4.5 * inside["sd"] + 1e-3).all()


@pytest.mark.quick
def test_rates_by_pathway():
    rule = pl.GradientDescent(5e-3, pathway_rates={"v": 0.5})
    table = simulate_sessions(TRUE, TASK, 50, rule, 0.001, n_sessions=20, seed=0)
    found = LearningFit(n_starts=1, rate="pathways").fit(table, TASK, 50, RULE)
    truth = pd.Series({"rate:m": 5e-3, "rate:u": 5e-3, "rate:v": 2.5e-3, "rate:z": 5e-3})
    assert list(found.rates_.index) == list(truth.index)
    sd = found.intervals_.loc[truth.index, "sd"]
    assert (abs(found.rates_ - truth) < 4 * sd).all()


@pytest.mark.quick
def test_frozen_pathway_has_no_rate():
    layout = ParameterLayout(
        (1, 1, 1), pl.GradientDescent(0.1, pathway_rates={"z": 0.0}), "pathways"
    )
    assert layout.rate_names == ("rate:m", "rate:u", "rate:v")


@pytest.mark.quick
def test_tasks_may_change_between_sessions():
    tasks = [TASK] * 6 + [pl.Filter(decay=0.4, amplitude=1.5)] * 6
    table = simulate_sessions(TRUE, tasks, [40] * 12, RULE, 0.005, seed=0)
    found = LearningFit(n_starts=1).fit(table, tasks, table.index.to_numpy(), RULE)
    inside = found.intervals_.iloc[:10]
    assert (abs(inside["estimate"] - TRUE.to_series()) < 4 * inside["sd"]).all()


@pytest.mark.quick
def test_ways_to_give_errors_agree(sessions):
    data = [
        checked_sessions(sessions, TASK, 50, errors, None).noise.whiten(np.ones(140), np.ones(2))
        for errors in (
            0.02,
            pd.Series(0.02, index=SEEN),
            pd.DataFrame(0.02, index=sessions.index, columns=SEEN),
            [0.02**2 * np.eye(7)] * 20,
        )
    ]
    for other in data[1:]:
        assert np.allclose(data[0], other)


@pytest.mark.quick
def test_correlated_errors_whiten():
    table = simulated(n_sessions=3)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(7, 20))
    covariance = x @ x.T
    noise = checked_sessions(table, TASK, 50, [covariance] * 3, None).noise
    values = rng.normal(size=21)
    white = noise.whiten(values, np.ones(2))
    direct = sum(v @ np.linalg.solve(covariance, v) for v in values.reshape(3, 7))
    assert np.isclose(white @ white, direct)
    assert np.isclose(noise.log_determinant(np.ones(2)), 3 * np.linalg.slogdet(covariance)[1])


@pytest.mark.quick
def test_right_rule_passes_and_wrong_rule_fails(sessions, fit):
    assert fit.goodness_of_fit().p_value > 0.01
    known = LearningFit(n_starts=1).fit(sessions, TASK, 50, RULE, errors=0.02)
    result = known.goodness_of_fit()
    assert result.test == "chi-square"
    assert result.p_value > 0.01
    assert abs(result.effect - 1) < 0.2
    decayed = simulate_sessions(
        TRUE, TASK, 50, pl.GradientDescent(5e-3, weight_decay=0.05), 0.005, n_sessions=20, seed=0
    )
    wrong = LearningFit(n_starts=1).fit(decayed, TASK, 50, RULE).goodness_of_fit()
    assert wrong.test == "smooth misfit"
    assert wrong.p_value < 1e-4
    assert wrong.effect > 0.3


@pytest.mark.slow
def test_profile_agrees_with_the_delta_method(fit):
    low, high = fit.profile("zv")
    row = fit.intervals_.loc["zv"]
    assert abs(low - row["low"]) < 0.5 * row["sd"]
    assert abs(high - row["high"]) < 0.5 * row["sd"]


@pytest.mark.quick
def test_forecast_of_another_task(fit):
    task = pl.Filter(decay=0.4, amplitude=1.5)
    at = [0, 20, 200]
    ahead = fit.predict(task, at, n_draws=60)
    truth = pl.learn(pl.learn(TRUE, TASK, RULE, 950).final, task, RULE, 200)
    loss = ahead.loss()
    assert list(loss.index) == at
    assert (loss["low"] <= loss["median"]).all()
    assert (loss["median"] <= loss["high"]).all()
    assert abs(np.log(loss.loc[20, "median"] / truth.losses[20])) < 0.25
    again = fit.predict(task, at, n_draws=60)
    assert np.array_equal(ahead.draws, again.draws)
    assert ahead.left_out == 0


@pytest.mark.quick
def test_draws_are_realisable(fit):
    for _, row in fit.draw(30).iterrows():
        pl.Overlaps.from_series(row[list(TRUE.names)])


@pytest.mark.slow
def test_one_start_gives_the_same_answer(sessions):
    one = LearningFit(n_starts=1).fit(sessions, TASK, 50, RULE)
    other = LearningFit(n_starts=2, seed=5).fit(sessions, TASK, 50, RULE)
    assert np.abs(one.start_.matrix - other.start_.matrix).max() < 0.02


@pytest.mark.quick
def test_prior_draws_have_the_stated_density():
    # under the density, E[grad-free identity]: correlations of a 2 x 2 are uniform on [-1, 1]
    rng = np.random.default_rng(0)
    draws = np.array([draw_factor(3, 1.0, rng) for _ in range(4000)])
    s = draws @ np.swapaxes(draws, 1, 2)
    for i, j in ((0, 1), (0, 2), (1, 2)):
        c = s[:, i, j] / np.sqrt(s[:, i, i] * s[:, j, j])
        # LKJ with eta 1 and D = 3: (c + 1) / 2 is Beta(1.5, 1.5), variance of c 1/4
        assert abs(c.mean()) < 0.03
        assert abs(c.var() - 0.25) < 0.02
    assert log_prior(np.eye(2), 1.0) > log_prior(3 * np.eye(2), 1.0)
    assert log_prior(np.diag([1.0, -1.0]), 1.0) == -np.inf


@pytest.mark.quick
def test_pack_and_slopes():
    layout = ParameterLayout((1, 1, 1), RULE, "fit")
    rng = np.random.default_rng(0)
    x = layout.pack(draw_factor(4, 1.0, rng) @ np.eye(4), np.zeros(1))
    s = layout.matrix(x)
    assert np.allclose(layout.matrix(layout.pack(s)), s)
    slopes = layout.slopes(x)
    for k in range(len(x)):
        step = np.zeros(len(x))
        step[k] = 1e-6
        numeric = (layout.natural(x + step) - layout.natural(x - step)) / 2e-6
        assert np.allclose(slopes[:, k], numeric, atol=1e-8)


@pytest.mark.quick
def test_networks_are_the_theory_for_linear_units():
    a = simulated(noise=0.0, n_sessions=4)
    b = simulated(noise=0.0, n_sessions=4, n_neurons=60)
    assert np.allclose(a, b, atol=1e-10)
    c = simulated(noise=0.0, n_sessions=4, n_neurons=60, recorded=20)
    assert np.allclose(a[VISIBLE], c[VISIBLE], atol=1e-10)
    assert np.abs(a["mm"] - c["mm"]).max() > 0.01


@pytest.mark.slow
def test_posterior_agrees_with_the_fit(sessions):
    pytest.importorskip("emcee")
    task = pl.Filter(duration=5.0)
    table = simulate_sessions(TRUE, task, 20, RULE, 0.01, n_sessions=6, seed=0)
    found = LearningFit(n_starts=1, rate="known").fit(table, task, 20, RULE, errors=0.01)
    posterior = found.sample(200, 20, seed=0)
    assert 0.05 < posterior.acceptance < 0.9
    mean = posterior.draws["mm"].mean()
    assert abs(mean - found.start_["mm"]) < 3 * found.intervals_.loc["mm", "sd"]
    pl.Overlaps.from_series(posterior.draws.iloc[0][list(TRUE.names)])


@pytest.mark.quick
def test_missing_sampler_is_one_clear_error(fit, monkeypatch):
    monkeypatch.setitem(sys.modules, "emcee", None)
    with pytest.raises(pl.InputError, match=r"predictlearn\[bayes\]"):
        fit.sample(10)


def table(**columns):
    return pd.DataFrame(columns)


GOOD = table(zm=[0.0, 0.1, 0.2])
DOORS = [
    ({"sessions": [1, 2]}, "sessions must be a DataFrame"),
    ({"sessions": GOOD.iloc[:1]}, "at least 2 sessions"),
    ({"sessions": table(zq=[0.0, 1.0, 2.0])}, "zq"),
    ({"sessions": table(zm=[np.inf, 1.0, 2.0])}, "infinite"),
    ({"sessions": table(zm=[np.nan] * 3)}, "no value"),
    ({"sessions": table(zm=["a", "b", "c"])}, "numeric"),
    ({"sessions": table(loss=[1.0, 0.5, 0.2])}, "rank must be given"),
    ({"sessions": GOOD[["zm", "zm"]]}, "every column once"),
    ({"tasks": "filter"}, "tasks must be a task"),
    ({"tasks": [TASK]}, r"one an interval \(2\)"),
    ({"epochs": 0}, "epochs must be a whole number of at least 1"),
    ({"epochs": [1, 2, 3, 4]}, "epochs must be one number"),
    ({"epochs": [1, 2, 3]}, "start at 0"),
    ({"epochs": [0.5, 1]}, "whole numbers"),
    ({"epochs": [0, 1]}, "at least 1"),
    ({"rule": pl.Adam(1e-3)}, "rule must be a GradientDescent"),
    ({"rule": pl.GradientDescent(1e-3, target_noise=0.1)}, "without target_noise"),
    ({"errors": -1.0}, "errors must be a positive number"),
    ({"errors": pd.Series({"vm": 0.1})}, "missing: zm"),
    ({"errors": pd.DataFrame({"zm": [0.1]})}, "rows of sessions"),
    ({"errors": [np.eye(1)]}, "one covariance matrix a session"),
    ({"errors": [-np.eye(1)] * 3}, "positive definite"),
]


@pytest.mark.parametrize(("change", "said"), DOORS)
def test_doors_of_fit(change, said):
    good = {"sessions": GOOD, "tasks": TASK, "epochs": 5, "rule": RULE, "errors": None}
    with pytest.raises(pl.InputError, match=said):
        LearningFit(n_starts=1).fit(**{**good, **change})


@pytest.mark.parametrize(
    "setting",
    [
        {"rate": "fitted"},
        {"gauge": "canon"},
        {"nonlinearity": "relu"},
        {"tau": 0.0},
        {"n_starts": 0},
        {"level": 1.5},
        {"max_iter": 0},
        {"seed": -1},
    ],
)
def test_doors_of_settings(setting):
    with pytest.raises(pl.InputError, match=next(iter(setting))):
        LearningFit(**setting).fit(GOOD, TASK, 5, RULE)


@pytest.mark.quick
def test_doors_after_fit(fit):
    with pytest.raises(pl.InputError, match="name must be one of"):
        fit.profile("zq")
    with pytest.raises(pl.InputError, match="needs errors"):
        fit.goodness_of_fit("chi-square")
    with pytest.raises(pl.InputError, match="increase strictly"):
        fit.predict(TASK, [5, 5])
    with pytest.raises(pl.InputError, match="rule must be a GradientDescent"):
        fit.predict(TASK, 5, pl.Adam(1e-3))
    with pytest.raises(pl.InputError, match="n_sessions must be given"):
        simulate_sessions(TRUE, TASK, 5, RULE)
    with pytest.raises(pl.InputError, match="recorded"):
        simulate_sessions(TRUE, TASK, 5, RULE, n_sessions=3, recorded=5)


@pytest.mark.slow
def test_coverage_and_size_over_simulated_learning():
    hits, p = [], []
    for seed in range(100):
        found = LearningFit(n_starts=1).fit(simulated(seed=seed), TASK, 50, RULE)
        inside = found.intervals_.iloc[:10].assign(truth=TRUE.to_series())
        hits.append((inside["low"] <= inside["truth"]) & (inside["truth"] <= inside["high"]))
        p.append(found.goodness_of_fit().p_value)
    share = pd.DataFrame(hits).mean()
    assert 0.91 <= share.mean() <= 0.98
    assert (share[["zv", "vv", "zz"]] > 0.88).all()
    assert 0.01 <= np.mean(np.array(p) < 0.05) <= 0.12
