"""Simulated animals: 2,000 of them in 20 sessions of 300 trials, against one after another.

pytest benchmarks/test_bench_behaviour.py --benchmark-columns=median prints seconds; what is
asserted is the ratio to plain loops over some of the animals, and that the whole takes 20 s of two
processors at most.
"""

from __future__ import annotations

import time

import numpy as np
import pytest

import predictlearn as pl
from predictlearn.behaviour import Animals, Choices, TrainingSessions, simulate_animals

ANIMALS, SESSIONS, TRIALS = 2000, 20, 300
GROUP = f"erf filter, {ANIMALS} animals x {SESSIONS} sessions x {TRIALS} trials"
RATE = {"distribution": "lognormal", "median": 2.5e-4, "sd_log": 0.4}
RULE, CHOICES = pl.GradientDescent(5e-3), Choices(0.1, 0.02)


def animals(number):
    """Animals that differ in rate, start and noise."""
    return Animals(
        RATE,
        number,
        start={"zu": {"distribution": "uniform", "low": 0.05, "high": 0.15}},
        noise={"distribution": "lognormal", "median": 0.1, "sd_log": 0.3},
    )


def together(number=ANIMALS, n_jobs=1):
    """Simulate them by the package."""
    start = pl.Overlaps(np.eye(4)).replace(vm=0.1)
    sessions = TrainingSessions(SESSIONS, TRIALS, performance_noise=0.3)
    return simulate_animals(
        start,
        pl.Filter(),
        RULE,
        CHOICES,
        sessions,
        animals(number),
        nonlinearity="erf",
        n_jobs=n_jobs,
    )


def one_by_one(number):
    """Learn with every animal alone, roll its network out at 61 points, and draw its trials."""
    rng = np.random.default_rng(0)
    trials = pl.Filter().sample(rng)
    share = trials.weights[0, :, 0] / trials.weights.sum()
    for _ in range(number):
        start = pl.Overlaps(np.eye(4)).replace(vm=0.1, zu=rng.uniform(0.05, 0.15))
        rate = 2.5e-4 * np.exp(0.4 * rng.standard_normal())
        needed = int(np.ceil(rate * SESSIONS * TRIALS / RULE.rate))
        learned = pl.learn(start, pl.Filter(), RULE, needed, "erf", every=5)
        outputs = [
            float(share @ pl.simulate(pl.Overlaps(s), trials, "erf").outputs[0, :, 0])
            for s in learned.array
        ]
        at = np.interp(rate / RULE.rate * np.arange(SESSIONS * TRIALS), learned.epochs, outputs)
        for session in np.split(at, SESSIONS):
            CHOICES.simulate(session, rng).mean()


@pytest.mark.benchmark(group=GROUP)
def test_all_animals_within_twenty_seconds(benchmark):
    together(3)
    found = benchmark.pedantic(together, kwargs={"n_jobs": 2}, rounds=1)
    assert found.table.shape[0] == ANIMALS * SESSIONS
    # processor time, so that other work on the machine does not count
    before = time.process_time()
    together(n_jobs=2)
    used = time.process_time() - before
    benchmark.extra_info["seconds of processor"] = used
    assert used / 2 <= 20.0


@pytest.mark.benchmark(group=GROUP + ": ratio")
def test_ratio_to_one_by_one(benchmark):
    together(3)
    one_by_one(2)
    ratios = []

    def both():
        times = [time.process_time()]
        one_by_one(50)
        times.append(time.process_time())
        together(200)
        times.append(time.process_time())
        alone, beside = np.diff(times)
        ratios.append(4 * alone / beside)

    benchmark.pedantic(both, rounds=3)
    ratio = float(np.median(ratios))
    benchmark.extra_info["times faster"] = ratio
    assert ratio > 4.0
