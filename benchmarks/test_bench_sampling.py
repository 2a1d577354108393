"""Cost of drawing an epoch's trials beside the gradient on them, in one run.

Run with ``pytest benchmarks/test_bench_sampling.py --benchmark-columns=min,median,max``. In every
group of a task, ``sampled`` should be below ``gradient``: the erf loss and derivative of the same
128 trials of 400 bins, rank one. ``gradient_from_trials`` counts what `learn` does with new trials
before that (k_m, checks). The last group compares the normal numbers with numpy's.
"""

from __future__ import annotations

import numpy as np
import pytest

import predictlearn as pl
from predictlearn.tasks.normal_numbers import fill_normal
from predictlearn.theory.activity import Batch, _evaluate

TASKS = {
    "flip-flop": pl.FlipFlop(
        wait=(1.0, 2.0), input_amplitude=2.0, target_amplitude=1.0, dt=0.05, trials=128
    ),
    "decision-making": pl.DecisionMaking(),
    "teacher": pl.Teacher(),
}


def _group(benchmark, name):
    benchmark.group = f"{name}, 128 trials x 400 bins: trials and erf gradient on them"
    task = TASKS[name]
    trials = task.sample(np.random.default_rng(0))
    assert trials.inputs.shape == (128, 400, 1)
    return task, trials


@pytest.mark.parametrize("name", TASKS)
def test_sampled(benchmark, name):
    task, _ = _group(benchmark, name)
    benchmark(task.sample, np.random.default_rng(1))


@pytest.mark.parametrize("name", TASKS)
def test_gradient(benchmark, name, start):
    _, trials = _group(benchmark, name)
    ready = Batch(trials, "erf", 1.0)
    value, _ = benchmark(_evaluate, start.matrix, start.sizes, ready)
    assert np.isfinite(value)


@pytest.mark.parametrize("name", TASKS)
def test_gradient_from_trials(benchmark, name, start):
    _, trials = _group(benchmark, name)
    benchmark(pl.loss_and_derivative, start, trials, "erf")


@pytest.mark.benchmark(group="51,200 normal numbers")
def test_filled_normal_numbers(benchmark):
    benchmark(fill_normal, np.random.default_rng(0), np.empty(51_200))


@pytest.mark.benchmark(group="51,200 normal numbers")
def test_numpy_normal_numbers(benchmark):
    out = np.empty(51_200)
    benchmark(np.random.default_rng(0).standard_normal, out=out)
