"""Fitting of rules: what early sessions, and whole fits, cost; ratios inside one run.

pytest benchmarks/test_bench_rules.py -s prints them. Times are the processor's, of this process, so
that other work matters little.
"""

from __future__ import annotations

import time

import numpy as np

import predictlearn as pl
from predictlearn.fitting.rules.search import rule_problem

TASK, GAPS, SESSIONS = pl.Filter(duration=3.0, dt=0.1), 4, 20
TRUE = pl.Overlaps(np.eye(4)).replace(zm=0.2, zu=0.3, vm=0.4, vu=0.3)
RULE = pl.FeedbackAlignment(0.02, pl.Feedback(0.5, 0.7))


def a_problem():
    """Twenty sessions of an animal, and the hypothesis that made them."""
    recordings, _ = pl.simulate_learning(
        TRUE, TASK, GAPS, RULE, learns="synapses", n_sessions=SESSIONS, n_neurons=300, recorded=300,
        noise=1.0, output_noise=0.1, n_trials=20, n_bins=40,
    )  # fmt: skip
    table, errors = pl.measured_rule_columns(recordings)
    return rule_problem(
        table, TASK, GAPS, pl.Hypothesis(RULE, "synapses"), errors,
        rank=1, tau=1.0, n_starts=4, max_iter=40, seed=0,
    )  # fmt: skip


def spent(call, rounds=5):
    """Return the least time of the processor that a call took, and what it returned."""
    found, result = [], None
    for _ in range(rounds):
        begin = time.process_time()
        result = call()
        found.append(time.process_time() - begin)
    return min(found), result


def test_early_sessions_cost_less_than_all_and_lead_to_the_same():
    problem = a_problem()
    starts = problem.starts()
    problem.climb(starts, problem.all_of(len(starts)), 1)
    for count, most in ((3, 0.5), (6, 0.75)):
        early = problem._early(count)
        rows = np.tile(problem.data.session < count, (len(starts), 1))
        alone, mine = spent(lambda e=early: e.climb(starts, e.all_of(len(starts)), 8))
        masked, whole = spent(lambda r=rows: problem.climb(starts, r, 8))
        ratio = alone / masked
        print(f"{count} of {SESSIONS} sessions: {ratio:.2f} of the time")  # noqa: T201
        assert np.abs(mine[1] - whole[1]).max() < 1e-6 * np.abs(whole[1]).max()
        assert ratio < most


def test_a_search_beside_the_maximum_costs_no_more_than_a_few_of_the_first():
    problem = a_problem()
    first, found = spent(problem.search, rounds=3)
    beside, _ = spent(lambda: problem.widened(found), rounds=3)
    print(f"searches around the maximum: {beside / first:.1f} times the first")  # noqa: T201
    assert beside < 6 * first
