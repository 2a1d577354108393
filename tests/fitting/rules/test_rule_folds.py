"""Fits to other sessions than those left out go by these alone; no rule is ruled out by more."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import predictlearn as pl
from predictlearn.errors import MisfitWarning
from predictlearn.fitting.rules.search import rule_problem

TASK, RATE, GAPS = pl.Filter(duration=3.0, dt=0.1), 0.02, 4
# an animal of studies/rules_told_apart.py
LEFT_OUT = 307626447


def animal(seed):
    """Overlaps of an animal that hide more or less of the start."""
    rng = np.random.default_rng(seed)
    g = rng.standard_normal((4, 8))
    s = g @ g.T
    turn = np.exp(0.2 * rng.standard_normal(4)) / np.sqrt(np.diag(s))
    s *= np.outer(turn, turn)
    return pl.Overlaps(0.5 * s + 0.5 * np.diag(np.diag(s)))


def problem_of(rule, learns, seed, noise=1.0, n=20):
    recordings, _ = pl.simulate_learning(
        animal(seed), TASK, GAPS, rule, learns=learns, n_sessions=n, n_neurons=300, recorded=300,
        noise=noise, output_noise=noise / 10, n_trials=20, n_bins=40, seed=seed,
    )  # fmt: skip
    table, errors = pl.measured_rule_columns(recordings)
    return rule_problem(
        table, TASK, GAPS, pl.Hypothesis(rule, learns), errors,
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
    own = np.array([blind_to(problem, fold) for fold in (0, 1)])
    assert np.all(beside[:2] > own + 0.8)
    assert np.all(kept[:2] < own + 0.6)
    assert np.all(kept <= beside + 0.1)


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
