"""The closed form for linear networks after an impulse, against the loop over bins."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import predictlearn as pl
from predictlearn.theory.impulse import TargetLaw, impulse_work


def case(n_steps, n_in, rank, n_out, q, n_trials, seed=0):
    rng = np.random.default_rng(seed)
    dt = 0.05
    x = rng.normal(size=(60, n_in + 2 * rank + n_out))
    overlaps = pl.Overlaps(x.T @ x / 60, n_in, rank, n_out)
    step = np.linalg.qr(rng.normal(size=(q, q)))[0] * 0.97
    law = TargetLaw(step, rng.normal(size=(n_out, q)), rng.normal(size=(n_trials, q)))
    inputs = np.zeros((n_trials, n_steps, n_in))
    inputs[:, 0] = rng.normal(size=(n_trials, n_in)) / dt
    weights = np.broadcast_to(dt * rng.random(n_out), (n_trials, n_steps, n_out))
    return overlaps, pl.Trials(inputs, law.targets(n_steps), weights, dt, law=law)


class SomeTask:
    """A task that shows given trials."""

    n_in = n_out = 1
    fixed = True

    def __init__(self, trials):
        self.trials, self.dt = trials, trials.dt

    def sample(self, rng=None):
        return self.trials


@settings(max_examples=40, deadline=None)
@given(
    n_steps=st.integers(1, 130),
    n_in=st.integers(1, 2),
    rank=st.integers(1, 3),
    n_out=st.integers(1, 2),
    q=st.integers(1, 3),
    n_trials=st.integers(1, 4),
    seed=st.integers(0, 10),
)
def test_closed_form_is_the_loop_to_rounding(n_steps, n_in, rank, n_out, q, n_trials, seed):
    overlaps, trials = case(n_steps, n_in, rank, n_out, q, n_trials, seed)
    loss, a = pl.loss_and_derivative(overlaps, trials)
    plain, b = pl.loss_and_derivative(overlaps, replace(trials, law=None))
    assert loss == pytest.approx(plain, rel=1e-11)
    np.testing.assert_allclose(a, b, atol=1e-11 * np.abs(b).max())


@pytest.mark.parametrize(
    ("task", "rank"),
    [(pl.Filter(decay=0.4, amplitude=0.7), 1), (pl.DampedOscillation(amplitude=1.3), 2)],
)
def test_tasks_state_their_law(task, rank):
    trials = task.sample()
    assert trials.law is not None
    start = pl.Overlaps(0.6 * np.eye(2 + 2 * rank) + 0.1, 1, rank, 1)
    rule = pl.GradientDescent(5e-3, momentum=0.5)
    closed = pl.learn(start, task, rule, 400)
    looped = pl.learn(start, pl.ArrayTask.from_trials(replace(trials, law=None)), rule, 400)
    np.testing.assert_allclose(closed.array, looped.array, atol=1e-12)
    np.testing.assert_allclose(closed.losses, looped.losses, atol=1e-13)


def test_work_grows_with_the_logarithm_of_the_bins():
    first = np.zeros((3, 3))
    assert len(impulse_work(first, 4000)) - len(impulse_work(first, 500)) == 4 * 3


def test_target_noise_and_erf_use_the_loop():
    start = pl.Overlaps(np.eye(4)).replace(zm=0.1, vm=0.1)
    task = pl.Filter(duration=5.0)
    plain = pl.ArrayTask.from_trials(replace(task.sample(), law=None))
    for rule, phi in (
        (pl.GradientDescent(5e-3, target_noise=0.1), "linear"),
        (pl.GradientDescent(5e-3), "erf"),
    ):
        one, two = (pl.learn(start, t, rule, 50, phi, seed=3) for t in (task, plain))
        np.testing.assert_array_equal(one.array, two.array)


def test_a_minibatch_is_not_taken_for_all_trials():
    overlaps, trials = case(40, 1, 1, 1, 1, 4)
    with_law = SomeTask(trials)
    without = SomeTask(replace(trials, law=None))
    rule = pl.GradientDescent(1e-3, minibatch=2)
    one, two = (pl.learn(overlaps, t, rule, 30, seed=1) for t in (with_law, without))
    np.testing.assert_array_equal(one.array, two.array)
    assert not np.allclose(
        one.array, pl.learn(overlaps, with_law, pl.GradientDescent(1e-3), 30).array
    )


def test_other_targets_drop_the_law():
    trials = pl.Filter().sample()
    assert trials.with_targets(np.zeros_like(trials.targets)).law is None


@pytest.mark.parametrize(
    "change",
    [
        {"targets": np.ones((1, 20, 1))},
        {"inputs": np.ones((1, 20, 1))},
        {"weights": np.linspace(0, 1, 20)[None, :, None]},
        {"law": TargetLaw([[0.9]], [[1.0]], [[1.0], [2.0]])},
        {"law": TargetLaw([[0.9]], [[1.0]], [[1.0]])},
    ],
)
def test_a_law_that_does_not_hold_changes_no_result(change):
    trials = pl.Filter(duration=1.0).sample()
    changed = replace(trials, **change)
    assert trials.law is not None
    assert changed.law is None
    start = pl.Overlaps(np.eye(4)).replace(zm=0.2)
    plain = pl.Trials(changed.inputs, changed.targets, changed.weights, changed.dt)
    assert pl.loss(start, changed) == pl.loss(start, plain)
    with pytest.raises(pl.InputError, match="law must be a TargetLaw; got float"):
        replace(trials, law=0.2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([[0.9, 0.1]], [[1.0]], [[1.0]]), "step must be square"),
        (([[0.9]], [[1.0, 2.0]], [[1.0]]), "read"),
        (([[0.9]], [[1.0]], [[1.0, 1.0]]), "start"),
    ],
)
def test_shapes_of_a_law_are_checked(arguments, message):
    with pytest.raises(pl.InputError, match=message):
        TargetLaw(*arguments)
