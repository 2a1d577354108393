"""Gradient flow: dense output, events, and how few gradients it needs."""

from __future__ import annotations

import pickle
from dataclasses import replace

import numpy as np
import pytest
from scipy import integrate

import predictlearn as pl
from predictlearn.predictions.runs import run_all

pytestmark = pytest.mark.quick

START = pl.Overlaps(np.eye(4)).replace(zu=0.1, vm=0.1)
TASK = pl.Filter()


@pytest.fixture(scope="module")
def flow():
    return pl.learn(START, TASK, pl.GradientFlow(), 4.0)


def test_dense_output_is_the_flow_at_any_time(flow):
    for time in (0.0, 0.137, 1.0, 3.99):
        alone = pl.learn(START, TASK, pl.GradientFlow(rtol=1e-11, atol=1e-13), max(time, 1e-9))
        np.testing.assert_allclose(flow.at(time), alone.array[-1], atol=2e-7)
    many = flow.at([0.5, 1.5])
    assert many.shape == (2, 4, 4)
    np.testing.assert_array_equal(many[1], flow.at(1.5))
    np.testing.assert_array_equal(many, np.swapaxes(many, 1, 2))
    with pytest.raises(pl.InputError, match="between 0 and 4"):
        flow.at(4.1)


def test_the_time_of_a_criterion(flow):
    when = flow.reached(0.05)
    assert flow.loss_at(when) == pytest.approx(0.05, abs=1e-9)
    assert flow.loss_at(0.9 * when) > 0.05
    assert flow.reached(1e6) == 0.0
    assert np.isnan(flow.reached(1e-12))
    with pytest.raises(pl.InputError, match="loss must be a positive number"):
        flow.reached(0.0)


def test_learning_stops_at_a_criterion(flow):
    stopped = pl.learn(START, TASK, pl.GradientFlow(), 4.0, stop_at=0.05)
    assert stopped.losses[-1] == pytest.approx(0.05, abs=1e-7)
    assert stopped.epochs[-1] == pytest.approx(flow.reached(0.05), abs=1e-6)
    rule = pl.GradientDescent(5e-3)
    whole = pl.learn(START, TASK, rule, 800)
    short = pl.learn(START, TASK, rule, 800, every=7, stop_at=0.05)
    last = int(short.epochs[-1])
    assert short.losses[-1] <= 0.05 < short.losses[-2]
    np.testing.assert_array_equal(short.losses, whole.losses[: last + 1])
    np.testing.assert_array_equal(short.array[-1], whole.array[last])
    assert list(short.epochs[:-1]) == list(range(0, last, 7))
    never = pl.learn(START, TASK, rule, 20, stop_at=1e-9)
    assert len(never.losses) == 21


def test_flow_needs_twenty_times_fewer_gradients_than_small_steps():
    """For the same trajectory to 1e-6: the error of descent is first order in the rate."""
    task = pl.Filter(duration=5.0, dt=0.1)
    reference = pl.learn(START, task, pl.GradientFlow(rtol=1e-12, atol=1e-14), 1.0)
    flow = pl.learn(START, task, pl.GradientFlow(rtol=1e-8, atol=1e-9), 1.0)
    times = np.linspace(0, 1, 11)
    assert np.abs(flow.at(times) - reference.at(times)).max() < 1e-6
    errors = []
    for epochs in (1000, 10_000):
        descent = pl.learn(START, task, pl.GradientDescent(1 / epochs), epochs, every=epochs // 10)
        errors.append(np.abs(descent.array - reference.at(times)).max())
    assert errors[0] / errors[1] == pytest.approx(10, rel=0.05)
    needed = 10_000 * errors[1] / 1e-6
    assert needed > 20 * flow.settings["gradient_evaluations"]


def test_flow_survives_pickling(flow):
    back = pickle.loads(pickle.dumps(flow))
    np.testing.assert_array_equal(back.at(0.7), flow.at(0.7))
    assert back.loss_at(0.7) == flow.loss_at(0.7)


def test_stop_at_must_be_positive():
    with pytest.raises(pl.InputError, match="stop_at must be a positive number"):
        pl.learn(START, TASK, pl.GradientFlow(), 1.0, stop_at=-1.0)


def test_flow_from_singular_overlaps_stays_among_those_that_networks_have():
    # seed 2 left the cone by 1e-7 and ended in an error
    for seed in range(4):
        loadings = np.random.default_rng(seed).normal(size=(2, 4))
        start = pl.Overlaps(loadings.T @ loadings / 2)
        flow = pl.learn(start, pl.Filter(), pl.GradientFlow(), 20.0)
        # descent is first order in its rate, so that two rates tell where none ends
        coarse, fine = (
            pl.learn(start, pl.Filter(), pl.GradientDescent(1e-3 / k), 20_000 * k).final.matrix
            for k in (1, 2)
        )
        np.testing.assert_allclose(flow.final.matrix, 2 * fine - coarse, atol=2e-4)
        for time in (0.3, 7.0, 20.0):
            assert np.linalg.eigvalsh(pl.Overlaps(flow.at(time)).matrix)[0] > -1e-12


def test_a_flow_that_would_not_end_stops_with_a_message(monkeypatch):
    monkeypatch.setattr("predictlearn.theory.learning.flow._MOST_EVALUATIONS", 5000)
    start = pl.Overlaps(np.eye(4)).replace(zu=0.1, vm=0.1)
    with pytest.raises(pl.DivergenceError, match=r"of 1e\+14 in 5000 evaluations"):
        pl.learn(start, pl.Filter(), pl.GradientFlow(), 1e14)


def test_a_solver_that_fails_is_one_message():
    # older versions of the solver notice it themselves
    said = r"stopped at learning time \S+ of 4: (an overlap was not finite|Illegal input)"
    with pytest.raises(pl.DivergenceError, match=said):
        pl.learn(pl.Overlaps(1e80 * np.eye(4)), TASK, pl.GradientFlow(), 4.0)


def test_a_tolerance_finer_than_numbers_is_the_finest(flow):
    finest = pl.learn(START, TASK, pl.GradientFlow(rtol=1e-16, atol=1e-16), 4.0)
    np.testing.assert_allclose(finest.array, flow.array, atol=2e-7)
    assert finest.loss_at(4.0) == pytest.approx(finest.losses[-1], rel=1e-9)


def sampled(n_in, n_out):
    """Return a task of three trials with ragged inputs and targets."""
    rng = np.random.default_rng(n_in)
    inputs = rng.normal(size=(3, 30, n_in))
    targets = 0.2 * np.cumsum(inputs, axis=1)[:, :, :1] * np.ones(n_out)
    return pl.ArrayTask(inputs, targets, np.full(targets.shape, 1 / 90), 0.1)


def by_radau(start, task, columns, duration, times, nonlinearity, rtol=1e-9):
    """Return overlaps by the flow of the loadings, dTheta/dt = -Theta A R, and an implicit method.

    The package integrates overlaps, and by other methods.
    """
    trials, dim = task.sample(np.random.default_rng(0)), len(start.matrix)

    def speed(_, flat):
        theta = flat.reshape(dim, dim)
        overlaps = pl.Overlaps(theta.T @ theta, *start.sizes)
        a = pl.loss_and_derivative(overlaps, trials, nonlinearity)[1]
        return -(theta @ a * columns).ravel()

    theta = np.linalg.cholesky(start.matrix).T
    how = {"method": "Radau", "rtol": rtol, "atol": 1e-3 * rtol}
    found = integrate.solve_ivp(speed, (0.0, duration), theta.ravel(), t_eval=times, **how)
    loadings = found.y.T.reshape(-1, dim, dim)
    return np.swapaxes(loadings, 1, 2) @ loadings


@pytest.mark.parametrize(
    ("task", "sizes", "nonlinearity"),
    [(TASK, (1, 1, 1), "linear"), (TASK, (1, 1, 1), "erf"), (sampled(2, 1), (2, 2, 1), "linear")],
    ids=["closed form", "one of each", "any sizes"],
)
def test_steps_and_what_is_between_them_are_within_the_tolerance(task, sizes, nonlinearity):
    rng, dim = np.random.default_rng(4), sum(sizes) + sizes[1]
    loadings = rng.normal(size=(20, dim)) / np.sqrt(40)
    start = pl.Overlaps(loadings.T @ loadings, *sizes)
    rates = {"m": 0.5, "u": 1.0, "v": 2.0, "z": 0.0}
    counts = (sizes[0], sizes[1], sizes[1], sizes[2])
    columns = np.repeat(list(rates.values()), counts)
    rule = pl.GradientFlow(rtol=1e-6, atol=1e-8, pathway_rates=rates)
    found = pl.learn(start, task, rule, 2.0, nonlinearity)
    kept = np.empty_like(found.array)
    kept[0] = start.matrix
    done, asked = found.field._explicit(kept, 2.0)
    assert done
    assert asked == found.settings["gradient_evaluations"]
    truth = by_radau(start, task, columns, 2.0, found.epochs, nonlinearity)
    assert np.abs(found.array - truth).max() < 2e-6 * np.abs(truth).max()
    np.testing.assert_array_equal(found.array, np.swapaxes(found.array, 1, 2))
    finer = pl.learn(start, task, replace(rule, rtol=1e-9, atol=1e-11), 2.0, nonlinearity)
    assert np.abs(finer.array - truth).max() < 2e-8 * np.abs(truth).max()


def test_a_stiff_flow_is_left_to_the_implicit_solver():
    """Of two modes that differ by a thousand in speed explicit steps would never see the end."""
    start = pl.Overlaps(np.diag([1e4, 1.0, 1.0, 1.0])).replace(zu=0.1, vm=20.0)
    rule = pl.GradientFlow(rtol=1e-6, atol=1e-8)
    found = pl.learn(start, TASK, rule, 20.0)
    kept = np.empty_like(found.array)
    kept[0] = start.matrix
    done, asked = found.field._explicit(kept, 20.0)
    assert not done
    assert asked < 600  # seen early, not when all that are allowed are spent
    assert found.settings["gradient_evaluations"] < 2000
    truth = by_radau(start, TASK, np.ones(4), 20.0, found.epochs[::40], "linear", 1e-7)
    assert np.abs(found.array[::40] - truth).max() < 1e-5 * np.abs(truth).max()


def test_flows_in_threads_are_those_of_one():
    """Explicit steps beside each other, and two stiff flows that wait for the one solver."""
    stiff = pl.Overlaps(np.diag([1e4, 1.0, 1.0, 1.0])).replace(zu=0.1, vm=20.0)
    starts = [START.replace(vm=0.02 * k) for k in range(1, 7)] + [stiff, stiff]
    jobs = [(start, [pl.Leg(TASK, 10.0, pl.GradientFlow(rtol=1e-6))], [0]) for start in starts]
    alone, shared = (run_all(jobs, "linear", 1.0, n) for n in (1, 3))
    for one, other in zip(alone, shared, strict=True):
        assert not one.failure
        np.testing.assert_array_equal(one.kept[0], other.kept[0])
