"""Scoring a predicted learning curve: closed forms, known truths, honest doubt."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import integrate, stats
from scipy.signal import lfilter

from predictlearn.errors import InputError
from predictlearn.predictions import Prediction
from predictlearn.real_learning import score_prediction
from predictlearn.real_learning.curve_fits import (
    fit_exponential,
    fit_line,
    fit_mean,
    fit_time_scale,
    variance_inflation,
)
from predictlearn.real_learning.predictive import Predictive, crps_mixture

GRID = np.linspace(0.0, 6.0, 121)
SHAPE = 1 - np.exp(-(GRID**1.5))


def session(sd, n=450, rate=1 / 120, start=1.0, gain=1.0, seed=0, phi=0.0):
    """Return trials of an animal that learns along SHAPE, with AR(1) noise."""
    rng = np.random.default_rng(seed)
    noise = lfilter([math.sqrt(1 - phi**2)], [1.0, -phi], rng.normal(0.0, sd, n + 50))[50:]
    return start + gain * np.interp(rate * np.arange(n), GRID, SHAPE) + noise


def test_crps_of_one_gaussian_agrees_with_its_closed_form():
    y, mean, sd = np.array([0.3, -2.0, 5.0]), np.array([[0.0, 1.0, 2.0]]), np.array([[1.0, 0.5, 3]])
    z = (y - mean[0]) / sd[0]
    expected = sd[0] * (
        z * (2 * stats.norm.cdf(z) - 1) + 2 * stats.norm.pdf(z) - 1 / math.sqrt(math.pi)
    )
    assert crps_mixture(y, mean, sd) == pytest.approx(expected)


def test_crps_of_a_mixture_agrees_with_its_integral():
    means, sds = np.array([[-1.0], [0.5], [2.0]]), np.array([[0.5], [1.0], [0.2]])
    for y in (-2.0, 0.4, 3.0):

        def gap(x, y=y):
            return (stats.norm.cdf(x, means[:, 0], sds[:, 0]).mean() - (x >= y)) ** 2

        value = integrate.quad(gap, -12, y)[0] + integrate.quad(gap, y, 12)[0]
        assert crps_mixture(np.array([y]), means, sds)[0] == pytest.approx(value, abs=1e-6)


def test_crps_is_proper():
    rng = np.random.default_rng(1)
    y = rng.normal(0.0, 1.0, 20_000)

    def score(mean, sd):
        shape = (1, y.size)
        return crps_mixture(y, np.full(shape, mean), np.full(shape, sd)).mean()

    best = score(0.0, 1.0)
    assert all(best < score(m, s) for m, s in [(0.2, 1.0), (-0.2, 1.0), (0.0, 1.4), (0.0, 0.7)])


def test_predictive_intervals_invert_the_mixture():
    rng = np.random.default_rng(2)
    model = Predictive("x", np.zeros(4), rng.normal(size=(5, 4)), rng.uniform(0.5, 2, (5, 4)))
    low, high = model.trial_band(0.9)
    assert model.probability_below(low) == pytest.approx(0.05, abs=1e-9)
    assert model.probability_below(high) == pytest.approx(0.95, abs=1e-9)


def test_baselines_agree_with_least_squares():
    y = session(0.3)
    trials = np.arange(y.size, dtype=float)
    train = trials < 150
    slope, intercept = np.polyfit(trials[train], y[train], 1)
    assert fit_line(y, trials, train).point == pytest.approx(intercept + slope * trials)
    assert fit_mean(y, trials, train).point == pytest.approx(np.full(y.size, y[:150].mean()))
    # predictive standard deviation of a line, textbook formula (white noise: inflation 1)
    x = trials[train]
    residuals = y[train] - intercept - slope * x
    s = math.sqrt((residuals**2).sum() / 148)
    inflation = variance_inflation(residuals)
    textbook = s * np.sqrt(
        1 + inflation * (1 / 150 + (trials - x.mean()) ** 2 / ((x - x.mean()) ** 2).sum())
    )
    assert fit_line(y, trials, train).sds[0] == pytest.approx(textbook)


def test_exponential_recovers_itself():
    trials = np.arange(600.0)
    rng = np.random.default_rng(3)
    y = 2.0 + 3.0 * (1 - np.exp(-trials / 60)) + rng.normal(0, 0.2, 600)
    fitted = fit_exponential(y, trials, trials < 200)
    assert fitted.point[-1] == pytest.approx(5.0, abs=0.2)
    assert fitted.point[0] == pytest.approx(2.0, abs=0.2)


def test_time_scale_interval_covers():
    trials = np.arange(450.0)
    train = trials < 150
    hits, runs = 0, 150
    for seed in range(runs):
        y = session(0.4, rate=1 / 100, seed=seed, phi=0.3)
        scale, _ = fit_time_scale(
            y, trials, train, 1.0 + SHAPE[None], GRID, (1e-5, 6.0), level=0.95
        )
        hits += scale.low <= 1 / 100 <= scale.high
    assert hits / runs > 0.9


@pytest.mark.quick
def test_the_right_model_wins():
    result = score_prediction(session(0.3), 1.0 + SHAPE, time=GRID, n_resamples=499)
    assert set(result.tests["verdict"]) == {"better"}
    assert "better than every baseline" in result.statement
    assert result.fit["rate"] == pytest.approx(1 / 120, rel=0.1)
    skill = result.scores.set_index(["model", "score"])["value"]
    assert skill[("prediction", "skill")] > 0.3
    assert skill[("prediction", "coverage")] == pytest.approx(0.95, abs=0.03)
    assert skill[("mean", "skill")] == 0.0
    assert skill[("prediction", "RMSE")] == pytest.approx(0.3, abs=0.03)


@pytest.mark.quick
def test_a_wrong_model_loses():
    # the animal gets better, the prediction says worse
    result = score_prediction(session(0.3), 1.0 - SHAPE, time=GRID, n_resamples=499)
    verdict = result.tests.set_index("baseline")["verdict"]
    assert verdict["mean"] == "worse"
    assert "mean" in result.statement
    assert bool(result.fit["open_low"])


@pytest.mark.parametrize("runs", [20, pytest.param(60, marks=pytest.mark.slow)])
def test_noise_alone_has_no_winner(runs):
    better = 0
    for seed in range(runs):
        y = session(1.0, gain=0.0, seed=seed)
        result = score_prediction(y, 1.0 + SHAPE, time=GRID, n_resamples=99, smooth=5)
        better += set(result.tests["verdict"]) == {"better"}
    assert better / runs <= 0.05


# one forecast that is as good as another is in test_noise_alone_has_no_winner
@pytest.mark.slow
def test_size_of_the_score_comparison_under_serial_correlation():
    # two forecasts that are wrong by the same amount in opposite directions are equally good
    from predictlearn.real_learning.learning_scores import score_models

    n, runs, hits = 400, 200, 0
    tested = np.ones(n, dtype=bool)
    for seed in range(runs):
        y = session(1.0, n=n, start=0.0, gain=0.0, seed=seed, phi=0.5)
        models = [
            Predictive(name, np.full(n, m), np.full((1, n), m), np.ones((1, n)))
            for name, m in (("prediction", 0.3), ("mean", -0.3), ("line", -0.3))
        ]
        _, differences, _ = score_models(y, tested, models, 0.95, 20, 199, seed)
        row = differences[differences["score"] == "CRPS"].iloc[0]
        hits += row["low"] > 0 or row["high"] < 0
    assert 0.01 <= hits / runs <= 0.1


def test_margins_small_beside_the_noise_are_called_so():
    result = score_prediction(
        session(3.0, gain=0.3, seed=5), 1.0 + 0.3 * SHAPE, time=GRID, n_resamples=199
    )
    assert (result.tests["verdict"] == "undecided").any()
    assert "nothing follows for other sessions or animals" in result.statement


def test_unidentified_time_scale_is_said():
    result = score_prediction(
        session(1.0, gain=0.0, seed=7), 1.0 + 0.01 * SHAPE, time=GRID, n_resamples=99
    )
    assert bool(result.fit["open_low"])
    assert bool(result.fit["open_high"])
    assert "not at all" in result.statement


def test_differences_are_differences_and_intervals_hold_together():
    result = score_prediction(session(0.8), 1.0 + SHAPE, time=GRID, n_resamples=299)
    value = result.scores.set_index(["model", "score"])["value"]
    for row in result.differences.to_dict("records"):
        gap = value[("prediction", row["score"])] - value[(row["baseline"], row["score"])]
        assert row["difference"] == pytest.approx(gap)
        assert row["low"] < row["difference"] < row["high"]
    single = result.differences[result.differences["score"] == "CRPS"]
    widths = (single["high"] - single["low"]).to_numpy()
    assert ((result.tests["high"] - result.tests["low"]).to_numpy() > widths).all()
    assert (result.tests["p_corrected"] >= result.tests["p"]).all()


def test_only_the_first_third_is_fitted():
    y = session(0.5)
    other = y.copy()
    other[150:] = -100.0
    one = score_prediction(y, 1.0 + SHAPE, time=GRID, n_resamples=99)
    two = score_prediction(other, 1.0 + SHAPE, time=GRID, n_resamples=99)
    columns = ["prediction", "low", "high", "mean", "line", "exponential"]
    assert one.predictions[columns].equals(two.predictions[columns])
    assert one.fit["rate"] == two.fit["rate"]


def test_draws_widen_the_band_and_missing_trials_are_left_out():
    y = session(0.5)
    y[[3, 200, 201, 330]] = math.nan
    gains = np.linspace(0.6, 1.4, 21)[:, None]
    many = score_prediction(y, 1.0 + gains * SHAPE, time=GRID, n_resamples=99)
    one = score_prediction(y, 1.0 + SHAPE, time=GRID, n_resamples=99)
    width = many.predictions["high"] - many.predictions["low"]
    assert width.iloc[-1] > 2 * (one.predictions["high"] - one.predictions["low"]).iloc[-1]
    assert many.settings["n_missing"] == 4
    assert many.settings["n_test"] == 297
    assert np.isfinite(many.scores["value"]).all()


def test_reproducible_and_a_prediction():
    y = session(0.5)
    one = score_prediction(y, 1.0 + SHAPE, time=GRID, n_resamples=99, seed=4)
    two = score_prediction(y, 1.0 + SHAPE, time=GRID, n_resamples=99, seed=4)
    assert one.scores.equals(two.scores)
    assert isinstance(one, Prediction)
    with pytest.raises(AttributeError):
        one.seed = 3
    with pytest.raises(TypeError):
        one.settings["block"] = 3


def test_a_perfect_deterministic_session_stays_finite():
    y = np.interp(np.arange(300) / 60, GRID, SHAPE)
    result = score_prediction(y, SHAPE, time=GRID, n_resamples=99)
    assert np.isfinite(result.scores["value"]).all()
    assert set(result.tests["verdict"]) == {"better"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"observed": [1.0] * 20}, "at least 10 training trials"),
        ({"observed": [[1.0, 2.0]]}, "observed must have 1 axes"),
        ({"observed": [math.inf] * 100}, "observed must be finite or NaN"),
        ({"curves": np.ones((2, 1))}, "curves must have shape"),
        ({"curves": np.full((2, 121), math.nan)}, "curves must be finite"),
        ({"time": GRID[:-1]}, "time must have one value per point"),
        ({"time": GRID[::-1]}, "time must increase"),
        ({"train": 1.5}, "train must be a number between 0 and 1"),
        ({"block": 0}, "block must be a whole number"),
        ({"block": 200}, "two blocks of test trials"),
        ({"bounds": (2.0, 1.0)}, "bounds must be 0 < low < high"),
        ({"seed": -1}, "seed must be"),
    ],
)
def test_refusals(change, message):
    arguments = {"observed": session(0.5), "curves": 1.0 + SHAPE, "time": GRID, **change}
    with pytest.raises(InputError, match=message):
        score_prediction(arguments.pop("observed"), arguments.pop("curves"), **arguments)
