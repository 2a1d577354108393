"""Fits to other sessions than those left out go by these alone; no rule is ruled out by more."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import predictlearn as pl
from predictlearn.errors import MisfitWarning
from predictlearn.fitting.rules.comparison import _left_out
from predictlearn.fitting.rules.search import rule_problem

TASK, RATE, GAPS = pl.Filter(duration=3.0, dt=0.1), 0.02, 4
# animals of studies/learning/rules_told_apart.py
LEFT_OUT = 307626447
# and one of 10 sessions, of which the first is the least certain forecast
BACKWARDS = 3420841517


def animal(seed):
    """Overlaps of an animal that hide more or less of the start."""
    rng = np.random.default_rng(seed)
    g = rng.standard_normal((4, 8))
    s = g @ g.T
    turn = np.exp(0.2 * rng.standard_normal(4)) / np.sqrt(np.diag(s))
    s *= np.outer(turn, turn)
    return pl.Overlaps(0.5 * s + 0.5 * np.diag(np.diag(s)))


def problem_of(rule, learns, seed, noise=1.0, n=20, gaps=GAPS):
    recordings, _ = pl.simulate_learning(
        animal(seed), TASK, gaps, rule, learns=learns, n_sessions=n, n_neurons=300, recorded=300,
        noise=noise, output_noise=noise / 10, n_trials=20, n_bins=40, seed=seed,
    )  # fmt: skip
    table, errors = pl.measured_rule_columns(recordings)
    return rule_problem(
        table, TASK, gaps, pl.Hypothesis(rule, learns), errors,
        rank=1, tau=1.0, n_starts=3, max_iter=40, seed=seed,
    )  # fmt: skip


def blind_to(problem, fold, folds=5):
    """Half chi-square of a fit that never saw a fold: its sessions are blank."""
    data = problem.data
    table = data.table(data.values)
    table.iloc[fold::folds] = np.nan
    own = rule_problem(
        table, TASK, GAPS, problem.model.hypothesis,
        [root @ root.T for _, root in data.noise.roots],
        rank=1, tau=1.0, n_starts=3, max_iter=40, seed=1,
    )  # fmt: skip
    return own.widened(own.search()).costs[0]


def test_fits_of_folds_are_as_likely_as_those_that_never_saw_what_is_left_out():
    """Beside the maximum of all sessions, those left out had their say: 24 of held-out gain here.

    Sessions of descent, and alignment fitted to them.
    """
    problem = problem_of(pl.GradientDescent(RATE), "synapses", LEFT_OUT, noise=3.0)
    any_b = pl.Hypothesis(pl.FeedbackAlignment(RATE / 2, pl.Feedback(0.0, 1.0)), "synapses")
    problem = replace(problem, model=replace(problem.model, hypothesis=any_b))
    maxima = problem.widened(problem.search())
    rows = problem.data.session % 5 != np.arange(5)[:, None]

    def half_chi_square(xs):
        return 0.5 * np.sum((problem.residuals(xs) * rows) ** 2, axis=1)

    kept = half_chi_square(problem.refitted(maxima, rows, widely=True))
    beside = half_chi_square(problem.climb(np.tile(maxima.xs[0], (5, 1)), rows, 40)[0])
    own = blind_to(problem, 0)
    assert beside[0] > own + 0.8
    assert kept[0] < own + 0.6
    assert np.all(kept <= beside + 0.1)


# fits to folds are in the test before; that they begin widely in a comparison, in
# test_a_rule_with_more_freedom_fits_no_worse_than_its_special_case
@pytest.mark.slow
def test_a_true_rule_is_not_ruled_out_by_what_a_wider_one_saw_of_the_sessions_left_out():
    problem = problem_of(pl.GradientDescent(RATE), "synapses", LEFT_OUT, noise=3.0)
    data = problem.data
    found = pl.compare_rules(
        data.table(data.values), TASK, GAPS,
        {
            "true": pl.Hypothesis(pl.GradientDescent(RATE / 2), "synapses"),
            "any": pl.Hypothesis(
                pl.FeedbackAlignment(RATE / 2, pl.Feedback(0.0, 1.0)), "synapses"
            ),
        },
        [root @ root.T for _, root in data.noise.roots], n_starts=3, seed=LEFT_OUT,
    )  # fmt: skip
    assert "true" in found.left


def test_the_held_out_score_goes_with_a_measurement_as_it_is_said_to():
    """Sessions are measured anew, a little off, and all folds fitted again."""
    problem = problem_of(pl.GradientDescent(RATE), "factors", 4001, noise=0.3)
    maxima = problem.polished(problem.search().xs)
    out = _left_out(problem, maxima, 5, widely=False)
    # one unit in the direction in which it grows most, and in one at random
    root = np.linalg.inv(problem._whiten)
    steepest = out.slopes / np.linalg.norm(out.slopes)
    random = np.random.default_rng(0).standard_normal(len(steepest))
    for way in (steepest, random / np.linalg.norm(random)):
        scores = []
        for step in (-0.2, 0.2):
            values = problem.data.values + step * way @ root
            data = replace(problem.data, values=values)
            moved = replace(problem, model=replace(problem.model, data=data))
            left = _left_out(moved, moved.polished(maxima.xs), 5, widely=False)
            scores.append(-0.5 * np.sum(left.residuals**2))
        expected = out.slopes @ way
        tolerance = 0.1 * abs(expected) + 0.02 * np.linalg.norm(out.slopes)
        assert abs((scores[1] - scores[0]) / 0.4 - expected) < tolerance
    assert np.linalg.norm(out.slopes) > 1.2 * np.linalg.norm(out.residuals)


def test_a_true_rule_is_not_ruled_out_by_an_uncertain_forecast_of_the_first_session():
    """Measured anew ten times, the difference has a standard deviation of 130; it is -52 here."""
    gaps = [8, 9, 8, 9, 8, 9, 8, 9, 8]
    problem = problem_of(pl.GradientDescent(RATE), "synapses", BACKWARDS, n=10, gaps=gaps)
    data = problem.data
    guesses = {
        learns: pl.Hypothesis(pl.GradientDescent(RATE / 2), learns)
        for learns in ("factors", "synapses")
    }
    errors = [root @ root.T for _, root in data.noise.roots]
    found = pl.compare_rules(
        data.table(data.values), TASK, gaps, guesses, errors, n_starts=3, seed=BACKWARDS
    )
    assert found.left == ("factors", "synapses")
    assert found.table["low"].iloc[1] < -150


def test_a_fit_that_the_test_rejects_says_so():
    """A wrong rule; and the true one with errors given half as large as they are."""
    problem = problem_of(pl.GradientDescent(RATE), "synapses", 1, n=10)
    table = problem.data.table(problem.data.values)
    errors = [root @ root.T for _, root in problem.data.noise.roots]
    right = pl.Hypothesis(pl.GradientDescent(RATE / 2), "synapses")
    # which warns of nothing
    pl.fit_rule(table, TASK, GAPS, right, errors, n_starts=2)
    old = pl.FeedbackAlignment(RATE, pl.Feedback(1.0, 0.0))
    wrong = pl.Hypothesis(old, "synapses", fitted=["rate"])
    with pytest.warns(MisfitWarning, match="FeedbackAlignment of synapses does not fit") as said:
        fit = pl.fit_rule(table, TASK, GAPS, wrong, errors, n_starts=2)
    assert f"most in {fit.goodness.by_column.idxmax()!r}" in str(said[0].message)
    with pytest.warns(MisfitWarning, match="GradientDescent .* times the errors"):
        pl.fit_rule(table, TASK, GAPS, right, [0.25 * e for e in errors], n_starts=2)


def test_errors_of_many_filters_are_taken_by_a_fit():
    recordings, _ = pl.simulate_learning(
        animal(LEFT_OUT), TASK, GAPS, pl.RFLO(RATE), learns="synapses", n_sessions=2,
        n_neurons=50, recorded=50, noise=0.3, n_trials=20, n_bins=40, seed=0,
    )  # fmt: skip
    for terms in (5, 9, 12):
        _, errors = pl.measured_rule_columns(recordings, terms=terms)
        assert all(np.array_equal(e, e.T) for e in errors)
