"""Trials to criterion: exact laws against plain simulation, and tables against loops by hand."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest

from predictlearn.behaviour import Criterion
from predictlearn.errors import InputError


def first_by_hand(values, least, window):
    """Trial at which a full window first has so many correct; None if never."""
    for stop in range(window, len(values) + 1):
        if sum(values[stop - window : stop]) >= least:
            return stop
    return None


@pytest.mark.parametrize(("least", "window"), [(3, 3), (4, 5), (2, 4), (1, 3), (5, 6)])
def test_distribution_is_the_sum_over_all_sequences(least, window):
    rng = np.random.default_rng(0)
    p = rng.uniform(0.2, 0.9, 11)
    expected = np.zeros(11)
    for values in itertools.product((0, 1), repeat=11):
        at = first_by_hand(values, least, window)
        if at is not None:
            expected[at - 1] += np.prod(np.where(values, p, 1 - p))
    found = Criterion(least / window, window).distribution(p)
    np.testing.assert_allclose(found, expected, atol=1e-12)


@pytest.mark.parametrize(
    ("least", "window", "p"), [(3, 3, 0.4), (8, 10, 0.6), (4, 5, 0.5), (3, 4, 1.0)]
)
def test_mean_trials_is_that_of_many_animals(least, window, p):
    rng = np.random.default_rng(1)
    criterion = Criterion(least / window, window)
    counts = []
    for _ in range(4000):
        values = rng.random(2000) < p
        sums = np.convolve(values, np.ones(window), "valid")
        counts.append(int(np.argmax(sums >= least - 1e-9)) + window)
    counts = np.array(counts, dtype=float)
    error = counts.std() / np.sqrt(len(counts))
    assert abs(counts.mean() - criterion.mean_trials(p)) < 4.5 * error + 1e-9


def test_mean_trials_of_a_law_that_ends():
    criterion, trials = Criterion(0.8, 5), np.arange(1, 5001)
    law = criterion.distribution(np.full(5000, 0.5))
    assert law.sum() == pytest.approx(1.0, abs=1e-9)
    assert criterion.mean_trials(0.5) == pytest.approx(float(law @ trials), rel=1e-8)
    assert Criterion(1.0, 3).mean_trials(0.0) == np.inf


def test_log_likelihood_counts_censored_animals_by_not_having_reached_it():
    rng = np.random.default_rng(2)
    criterion = Criterion(1.0, 3)
    curves = rng.uniform(0.3, 0.8, (3, 20))
    laws = [criterion.distribution(curve) for curve in curves]
    expected = np.log(laws[0][5]) + np.log(1 - laws[1][:20].sum()) + np.log(1 - laws[2][:10].sum())
    found = criterion.log_likelihood([6, 20, 10], [True, False, False], curves)
    assert found == pytest.approx(expected, rel=1e-12)
    assert criterion.log_likelihood([2], [True], curves[0]) == -np.inf


def rows(**subjects):
    """A table of trials, sessions of four."""
    parts = [
        pd.DataFrame({"subject": name, "session": np.arange(len(v)) // 4 + 1, "correct": v})
        for name, v in subjects.items()
    ]
    return pd.concat(parts, ignore_index=True)


def test_trials_to_criterion_of_a_table():
    table = rows(a=[0, 1, 1, 0, 1, 1, 1, 0], b=[0, 0, 1, 0, 0, 0], c=[1, 1])
    found = Criterion(1.0, 3).trials_to_criterion(table, seconds_per_trial=2.0)
    assert found.subject.tolist() == ["a", "b", "c"]
    assert found.trials.tolist() == [7, 6, 2]
    assert found.reached.tolist() == [True, False, False]
    assert found.session.tolist() == [2, 2, 1]
    assert found.seconds.tolist() == [14.0, 12.0, 4.0]


def test_rows_may_come_in_any_order():
    table = rows(a=[0, 1, 1, 0, 1, 1, 1, 0], b=[0, 0, 1, 0, 0, 0])
    table["trial"] = table.groupby("subject").cumcount() + 1
    mixed = table.sample(frac=1.0, random_state=np.random.default_rng(0))
    found = Criterion(1.0, 3).trials_to_criterion(mixed).set_index("subject")
    assert found.trials.to_dict() == {"a": 7, "b": 6}


def test_windows_within_a_session_do_not_cross_its_end():
    table = rows(a=[0, 0, 1, 1, 1, 0, 1, 1, 1, 1, 1, 0])
    assert Criterion(1.0, 3).trials_to_criterion(table).trials.tolist() == [5]
    found = Criterion(1.0, 3, within_session=True).trials_to_criterion(table)
    assert (found.trials.tolist(), found.session.tolist()) == ([11], [3])


def test_errors_fall_to_a_level():
    errors = pd.DataFrame({"subject": "a", "session": 1, "error_deg": [9.0, 6.0, 4.0, 3.0, 1.0]})
    found = Criterion(3.6, 2, "below").trials_to_criterion(errors, "error_deg")
    assert (found.trials.tolist(), found.reached.tolist()) == ([4], [True])


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Criterion(0.8, 0), "window must be a whole number of at least 1"),
        (lambda: Criterion(0.8, 5, "upward"), "direction must be one of"),
        (lambda: Criterion(0.8, 20).distribution([0.5]), "window must be at most 14"),
        (lambda: Criterion(0.8, 5).distribution([0.5, 1.2]), r"got 1\.2 in row 1"),
        (lambda: Criterion(3.0, 5, "below").mean_trials(0.5), "above a share between 0 and 1"),
        (lambda: Criterion(1.0, 2).log_likelihood([2, 5], [1, 0], [0.5] * 4), "got 5 in row 1"),
        (
            lambda: Criterion(1.0, 2).trials_to_criterion(rows(a=[1]), "corect"),
            "Did you mean 'correct'",
        ),
        (
            lambda: Criterion(1.0, 9, within_session=True).trials_to_criterion(rows(a=[1] * 8)),
            "window must be at most the trials of a session, 4 in the longest; got 9",
        ),
        (lambda: Criterion(1.0, 2).trials_to_criterion(rows(a=[1, 0, 2])), "got 2 in row 2"),
        (
            lambda: Criterion(1.0, 2).trials_to_criterion(rows(a=[1.0, np.nan, 1.0])),
            "got nan in row 1",
        ),
    ],
)
def test_bad_input_of_a_criterion(make, words):
    with pytest.raises(InputError, match=words):
        make()
