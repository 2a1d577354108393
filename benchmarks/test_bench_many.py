"""Many networks at a time against one after another, in one run.

pytest benchmarks/test_bench_many.py --benchmark-columns=median prints both; the ratio of the two
is asserted, too, so that it cannot be lost without a test that fails.
"""

from __future__ import annotations

import time

import numpy as np
import pytest

import predictlearn as pl

ANIMALS, EPOCHS = 200, 2000
GROUP = f"erf filter, {ANIMALS} animals, {EPOCHS} epochs, one core"


@pytest.fixture(scope="module")
def animals():
    """Networks that differ in what they start with."""
    rng = np.random.default_rng(0)
    draws = rng.uniform(0.05, 0.15, (ANIMALS, 2))
    return [pl.Overlaps(np.eye(4)).replace(zu=zu, vm=vm) for zu, vm in draws]


def one_at_a_time(animals, epochs=EPOCHS):
    """Learn one network after another."""
    rule = pl.GradientDescent(5e-3)
    return [pl.learn(start, pl.Filter(), rule, epochs, "erf") for start in animals]


def side_by_side(animals, epochs=EPOCHS):
    """Learn all networks in one loop."""
    return pl.learn_many(animals, pl.Filter(), pl.GradientDescent(5e-3), epochs, "erf")


@pytest.mark.benchmark(group=GROUP)
def test_one_at_a_time(benchmark, animals):
    one_at_a_time(animals[:1], 2)
    benchmark.pedantic(one_at_a_time, (animals,), rounds=1)


@pytest.mark.benchmark(group=GROUP)
def test_side_by_side(benchmark, animals):
    side_by_side(animals[:1], 2)
    learned = benchmark.pedantic(side_by_side, (animals,), rounds=1)
    alone = pl.learn(animals[-1], pl.Filter(), pl.GradientDescent(5e-3), EPOCHS, "erf")
    np.testing.assert_array_equal(learned[-1].array, alone.array)


@pytest.mark.benchmark(group=GROUP + ": ratio")
def test_ratio(benchmark, animals):
    """Both in turn, by the processor's time of this process, so that other work matters little."""
    side_by_side(animals[:1], 2)
    ratios = []

    def both():
        times = [time.process_time()]
        for way in (one_at_a_time, side_by_side):
            way(animals)
            times.append(time.process_time())
        one, many = np.diff(times)
        ratios.append(one / many)

    benchmark.pedantic(both, rounds=1)
    ratio = float(np.median(ratios))
    benchmark.extra_info["times faster"] = ratio
    assert ratio > 4.0
