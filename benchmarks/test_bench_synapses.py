"""Learning of synapses against that of factors, and of closed loops against open ones, in one run.

pytest benchmarks/test_bench_synapses.py --benchmark-columns=median prints the times; the ratios are
asserted, by the processor's time of this process, so that other work matters little.
"""

from __future__ import annotations

import time

import numpy as np
import pytest

import predictlearn as pl

TRIALS, BINS, EPOCHS = 128, 400, 300
START = pl.Overlaps(np.eye(4)).replace(zm=0.1, zu=0.1, vm=0.1, vu=0.2)
RULE = pl.GradientDescent(5e-3)


def a_task(world=None):
    """Inputs and targets without structure: no impulse, no law."""
    rng = np.random.default_rng(0)
    shape = (TRIALS, BINS, 1)
    weights = np.full(shape, 1 / (TRIALS * BINS))
    return pl.ArrayTask(rng.normal(size=shape), rng.normal(size=shape), weights, 0.05, world=world)


CURSOR = pl.LinearWorld(step=[[0.9]], push=[[0.1]], seen=[[-0.5]])
FILTERED = pl.LinearWorld(step=[[0.9]], push=[[0.1]])


def epochs_of(task, learns, rule=RULE, epochs=EPOCHS):
    """Learn."""
    return pl.learn(START, task, rule, epochs, learns=learns, every=epochs)


def spent(call, rounds=5):
    """Return the least time of the processor that a call took."""
    found = []
    for _ in range(rounds):
        begin = time.process_time()
        call()
        found.append(time.process_time() - begin)
    return min(found)


@pytest.mark.parametrize("learns", ["factors", "synapses"])
@pytest.mark.benchmark(group=f"{EPOCHS} epochs of {TRIALS} trials x {BINS} bins, linear, rank 1")
def test_epochs(benchmark, learns):
    task = a_task()
    epochs_of(task, learns, epochs=2)
    benchmark.pedantic(epochs_of, (task, learns), rounds=3)


def test_an_epoch_of_synapses_takes_at_most_three_of_factors():
    task = a_task()
    for learns in ("factors", "synapses"):
        epochs_of(task, learns, epochs=2)
    # what is done once, moments of the trials, is told apart by twice the epochs
    each = {}
    for learns in ("factors", "synapses"):
        short, long = (
            spent(lambda n=n, w=learns: epochs_of(task, w, epochs=n)) for n in (EPOCHS, 3 * EPOCHS)
        )
        each[learns] = (long - short) / (2 * EPOCHS)
    ratio = each["synapses"] / each["factors"]
    print(f"an epoch: {each}, ratio {ratio:.2f}")  # noqa: T201
    assert ratio < 3.0


def test_after_an_impulse_bins_cost_nothing():
    def at(duration):
        task = pl.Filter(duration=duration)
        epochs_of(task, "synapses", epochs=2)
        return spent(lambda: epochs_of(task, "synapses"))

    short, long = at(20.0), at(640.0)
    print(f"400 bins {short:.4f} s, 12800 bins {long:.4f} s: {long / short:.2f}")  # noqa: T201
    assert long < 2.0 * short


@pytest.mark.parametrize("rule", [RULE, pl.RFLO(5e-3)], ids=["descent", "rflo"])
def test_a_closed_loop_takes_at_most_twice_an_open_one(rule):
    times = []
    for world in (FILTERED, CURSOR):
        task = a_task(world)
        epochs_of(task, "synapses", rule, epochs=2)
        times.append(spent(lambda t=task: epochs_of(t, "synapses", rule), rounds=3))
    print(f"open {times[0]:.3f} s, closed {times[1]:.3f} s: {times[1] / times[0]:.2f}")  # noqa: T201
    assert times[1] < 2.0 * times[0]
    plain = a_task()
    epochs_of(plain, "synapses", rule, epochs=2)
    direct = spent(lambda: epochs_of(plain, "synapses", rule), rounds=3)
    print(f"without a world {direct:.3f} s: {times[1] / direct:.2f}")  # noqa: T201
    assert times[1] < 2.0 * direct


@pytest.mark.parametrize("targets", ["fresh"])
def test_fresh_noise_every_epoch(targets):
    """Without moments of fixed trials: the loops over all of them."""
    task = a_task()
    each = []
    for learns in ("factors", "synapses"):
        rule = pl.GradientDescent(5e-3, target_noise=0.1)
        epochs_of(task, learns, rule, epochs=2)
        each.append(spent(lambda w=learns, r=rule: epochs_of(task, w, r), rounds=3))
    print(f"with {targets} noise: {each[1] / each[0]:.2f} times")  # noqa: T201
    assert each[1] < 5.0 * each[0]
