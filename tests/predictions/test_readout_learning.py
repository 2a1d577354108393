"""Learning with a fixed readout: the unit of its time, invariances, refusals."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import random_overlaps

import predictlearn as pl
from predictlearn.predictions.readout_learning import initial_time_constant, readout_learning

pytestmark = pytest.mark.quick


def reaching(stretch=1.0):
    return pl.ReachingReadout(targets=4, duration=0.5 * stretch, dt=0.05 * stretch, go=False)


def speed(trials, outputs):
    return (trials.observe(outputs) * trials.targets).sum(axis=2).mean(axis=1)


START = random_overlaps(3, n_in=2, rank=1, n_out=2)


@pytest.mark.parametrize("nonlinearity", ["linear", "erf"])
def test_time_constant_is_that_of_one_tiny_step(nonlinearity):
    task = reaching()
    constant = initial_time_constant(START, task.sample(), nonlinearity, tau=0.1)
    rate = 1e-6 * constant
    rule = pl.GradientDescent(rate, pathway_rates={"z": 0.0})
    losses = pl.learn(START, task, rule, 1, nonlinearity, 0.1).losses
    assert losses[0] * rate / (losses[0] - losses[1]) == pytest.approx(constant, rel=1e-4)


def test_curves_start_at_the_immediate_performance_and_improve():
    result = readout_learning([START], reaching(), speed, tau=0.1, horizon=5.0, points=51)
    assert result.immediate.shape == (1, 4)
    assert result.curves[0, 0] == pytest.approx(result.immediate[0].mean())
    assert result.loss[0, 0] == 1.0
    assert (np.diff(result.loss[0]) <= 1e-9).all()
    # in this unit every loss falls with slope -1 at first
    assert (result.loss[0, 1] - 1) / result.time[1] == pytest.approx(-1, abs=0.2)
    assert result.band["mean"].to_numpy() == pytest.approx(result.curves[0])


def test_the_unit_of_time_does_not_matter():
    settings = {"horizon": 5.0, "points": 51}
    slow = readout_learning([START], reaching(10.0), speed, tau=1.0, **settings)
    fast = readout_learning([START], reaching(), speed, tau=0.1, **settings)
    np.testing.assert_allclose(slow.curves, fast.curves, rtol=1e-4)
    np.testing.assert_allclose(slow.loss, fast.loss, atol=1e-4)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: readout_learning([], reaching(), speed), "at least one Overlaps; got none"),
        (
            lambda: readout_learning([pl.Overlaps(np.eye(4))], pl.FlipFlop(), speed),
            r"same trials in every epoch; use task\.freeze",
        ),
        (lambda: readout_learning([START], reaching(), speed, horizon=0.0), "horizon must be"),
        (lambda: readout_learning([START], reaching(), speed, points=1), "points must be"),
        (
            # no output and no way to one: z meets neither m nor u, and z does not learn
            lambda: initial_time_constant(
                pl.Overlaps(np.diag([1.0, 1, 1, 1, 0, 0]), 2, 1, 2), reaching().sample()
            ),
            "does not learn this task",
        ),
    ],
)
def test_refusals(call, message):
    with pytest.raises(pl.InputError, match=message):
        call()
