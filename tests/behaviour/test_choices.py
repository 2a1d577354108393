"""Choices: closed forms against numbers drawn by hand, likelihoods against scipy.stats."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from predictlearn.behaviour import Choices, typical_value
from predictlearn.errors import InputError

DRAWS = 400_000


def chosen_by_hand(outputs, noise, lapse, threshold, bias, rng):
    """One choice a draw: noise on the output, and coins in twice the lapse rate of trials."""
    felt = outputs + bias + noise * rng.standard_normal(outputs.shape)
    coin = rng.random(outputs.shape) < 2 * lapse
    return np.where(coin, rng.random(outputs.shape) < 0.5, felt > threshold)


@pytest.mark.parametrize(
    ("noise", "lapse", "threshold", "bias"),
    [(0.5, 0.0, 0.0, 0.0), (0.3, 0.04, 0.2, -0.1), (1.5, 0.2, -0.5, 0.3), (0.0, 0.1, 0.1, 0.0)],
)
def test_probability_is_the_share_of_draws(noise, lapse, threshold, bias):
    rng = np.random.default_rng(1)
    choices = Choices(noise, lapse, threshold, bias)
    for output in (-0.7, 0.05, 0.4, 2.0):
        drawn = chosen_by_hand(np.full(DRAWS, output), noise, lapse, threshold, bias, rng)
        expected = float(choices.probability(output))
        assert abs(drawn.mean() - expected) < 4.5 * np.sqrt(0.25 / DRAWS)


def test_outputs_that_vary_are_integrated_over():
    rng = np.random.default_rng(2)
    outputs = 0.3 + 0.8 * rng.standard_normal(DRAWS)
    drawn = chosen_by_hand(outputs, 0.5, 0.03, 0.0, 0.1, rng)
    expected = float(Choices(0.5, 0.03, bias=0.1).probability(0.3, sd=0.8))
    assert abs(drawn.mean() - expected) < 4.5 * np.sqrt(0.25 / DRAWS)


def test_percent_correct_counts_the_side_of_the_target():
    rng = np.random.default_rng(3)
    outputs, targets = np.array([0.4, -0.1, 0.2, 0.3]), np.array([1.0, -1.0, -1.0, 0.0])
    shown = rng.integers(4, size=DRAWS)
    drawn = chosen_by_hand(outputs[shown], 0.5, 0.02, 0.0, 0.2, rng)
    side = targets[shown]
    # a target at the threshold has no side: a coin says what was right
    right = np.where(side == 0, rng.random(DRAWS) < 0.5, drawn == (side > 0))
    expected = Choices(0.5, 0.02, bias=0.2).percent_correct(outputs, targets)
    assert abs(100 * right.mean() - expected) < 4.5 * 50 / np.sqrt(DRAWS)


def test_simulate_has_the_probabilities_and_the_psychometric_function_their_means():
    rng = np.random.default_rng(4)
    choices = Choices(0.4, 0.05)
    levels = np.repeat([-2.0, 0.0, 2.0], 50_000)
    drawn = choices.simulate(0.3 * levels, rng)
    assert set(np.unique(drawn)) == {0, 1}
    table = choices.psychometric_function(0.3 * levels, levels)
    shares = drawn.reshape(3, -1).mean(axis=1)
    np.testing.assert_allclose(table.probability, shares, atol=0.01)
    assert table.trials.tolist() == [50_000] * 3


def test_log_likelihood_is_that_of_scipy():
    rng = np.random.default_rng(5)
    outputs = rng.normal(size=40)
    lapse, noise, bias = 0.03, 0.7, 0.2
    p = lapse + (1 - 2 * lapse) * stats.norm.cdf((outputs + bias) / noise)
    choices = Choices(noise, lapse, bias=bias)
    single = rng.integers(2, size=40)
    expected = stats.bernoulli.logpmf(single, p).sum()
    assert choices.log_likelihood(single, outputs) == pytest.approx(expected, rel=1e-12)
    trials = rng.integers(1, 30, size=40)
    counts = rng.binomial(trials, 0.5)
    expected = stats.binom.logpmf(counts, trials, p).sum()
    assert choices.log_likelihood(counts, outputs, trials) == pytest.approx(expected, rel=1e-12)


def test_an_impossible_choice_has_no_likelihood():
    assert Choices(0.0).log_likelihood([1], [-1.0]) == -np.inf
    assert Choices(0.0).log_likelihood([0, 1], [-1.0, 1.0]) == 0.0


def test_maximum_likelihood_finds_what_was_simulated():
    from scipy import optimize

    rng = np.random.default_rng(6)
    outputs = rng.uniform(-2, 2, 20_000)
    data = chosen_by_hand(outputs, 0.5, 0.05, 0.0, 0.2, rng).astype(int)

    def loss(theta):
        choices = Choices(np.exp(theta[0]), 0.5 / (1 + np.exp(-theta[1])), bias=theta[2])
        return -choices.log_likelihood(data, outputs)

    best = optimize.minimize(loss, [0.3, -1.5, 0.1], method="Nelder-Mead")
    np.testing.assert_allclose(
        [np.exp(best.x[0]), 0.5 / (1 + np.exp(-best.x[1])), best.x[2]], [0.5, 0.05, 0.2], atol=0.03
    )


def test_a_sessions_deviation_moves_log_odds():
    mean, variance = Choices(0.5).moments(np.array([0.4]), 0.3)
    before = stats.norm.cdf(0.8)
    odds = before / (1 - before) * np.exp(0.3)
    np.testing.assert_allclose(mean, odds / (1 + odds))
    np.testing.assert_allclose(variance, mean * (1 - mean))


def test_typical_takes_the_lapse_from_data():
    assert Choices.typical(0.5).lapse == typical_value("mouse_lapse")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Choices(-0.1), r"noise must be zero or a positive number; got -0\.1"),
        (lambda: Choices(0.1, 0.5), r"lapse must be from 0 up to but not including 0\.5; got 0\.5"),
        (lambda: Choices(0.1, -0.01), "lapse must be zero or a positive number"),
        (lambda: Choices(0.1, threshold=np.nan), "threshold must be finite"),
        (lambda: Choices(0.1).log_likelihood([1, 0, 2], [0.0] * 3), "got 2 in row 2"),
        (lambda: Choices(0.1).log_likelihood([0, 0.5], [0.0] * 2), r"got 0\.5 in row 1"),
        (lambda: Choices(0.1).log_likelihood([1, 0], [0.0]), "shape of outputs"),
        (lambda: Choices(0.1).log_likelihood([3, 9], [0, 0], [9, 8]), "in row 1 there are 9 of 8"),
        (lambda: Choices(0.1).judged(np.zeros((3, 2)), np.zeros((3, 2))), r"of 1 output\(s\)"),
    ],
)
def test_bad_input_ends_in_one_message(make, words):
    with pytest.raises(InputError, match=words):
        make()
