"""Shared by the benchmarks: one thread, and trials of the published sizes."""

from __future__ import annotations

import numpy as np
import pytest

import predictlearn as pl


@pytest.fixture(scope="session")
def start() -> pl.Overlaps:
    """A network that is off the symmetric start, so that everything moves."""
    return pl.Overlaps(np.eye(4)).replace(zm=0.1, zu=0.1, vm=0.1, vu=0.3)


@pytest.fixture(scope="session")
def batch() -> pl.Trials:
    """128 flip-flop trials of 400 bins."""
    task = pl.FlipFlop(wait=(1.0, 2.0), duration=20.0, dt=0.05, trials=128)
    return task.sample(np.random.default_rng(0))
