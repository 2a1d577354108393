"""Curves of power: what a simulated experiment and its test cost, beside the t test alone."""

from __future__ import annotations

import time
from functools import partial

import numpy as np
import pandas as pd
from scipy import stats

from predictlearn import statistics as st


def experiment(n: int, rng: np.random.Generator) -> pd.DataFrame:
    """Two arms of n animals, ten sessions each."""
    mouse = np.repeat(np.arange(2 * n), 10)
    arm = np.where(mouse < n, "a", "b")
    y = rng.normal(size=2 * n)[mouse] + rng.normal(size=20 * n) + 0.9 * (mouse < n)
    return pd.DataFrame(
        {"subject": mouse, "arm": arm, "session": np.tile(np.arange(10), 2 * n), "y": y}
    )


TESTS = {
    "groups": partial(st.compare_groups, outcome="y"),
    "permutation": partial(st.compare_groups, outcome="y", method="permutation", n_resamples=999),
    "mixed model": partial(st.mixed_model, outcome="y", terms="arm"),
}


def curve(n_simulations: int, n_jobs: int = 1) -> st.SimulatedPower:
    """Three tests at ten sizes."""
    return st.power_by_simulation(
        experiment, TESTS, n_animals=range(4, 24, 2), n_simulations=n_simulations, n_jobs=n_jobs
    )


def test_power_curve(benchmark):
    benchmark.pedantic(curve, args=(20,), rounds=3, warmup_rounds=1)


def test_an_experiment_costs_less_than_forty_t_tests():
    """A ratio, for machines whose speed varies: simulation, table, and three tests of it."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 12))

    def seconds(call, times):
        begin = time.process_time()
        for _ in range(times):
            call()
        return (time.process_time() - begin) / times

    curve(2)
    ratios = []
    for _ in range(3):
        alone = seconds(lambda: stats.ttest_ind(x, y, equal_var=False), 400)
        ratios.append(seconds(lambda: curve(10), 1) / 100 / alone)
    # alternating, the least disturbed round
    assert min(ratios) < 40
