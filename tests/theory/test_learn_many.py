"""Networks that learn side by side: the numbers of each are those it has alone."""

from __future__ import annotations

import numpy as np
import pytest

import predictlearn as pl
from predictlearn.errors import DivergenceError, InputError
from predictlearn.theory.activity import Batch
from predictlearn.theory.kernels import many as many_kernels
from predictlearn.theory.learning.together import runs_together

pytestmark = pytest.mark.quick

RULES = {
    "plain": pl.GradientDescent(5e-3),
    "everything": pl.GradientDescent(
        5e-3,
        pathway_rates={"m": 0.5, "z": 0.0},
        momentum=0.5,
        weight_decay=1e-3,
        synaptic_noise=1e-3,
        schedule=pl.RateDrop(factor=2.0, below=0.4),
    ),
    "first order": pl.FirstOrderDescent(5e-3),
    "direct": pl.DirectDescent(5e-3),
}


def networks(n, seed=0):
    """Networks whose overlaps are all different."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 40, 4))
    s = np.swapaxes(x, 1, 2) @ x / 40
    return [pl.Overlaps(matrix) for matrix in s]


def two_trials(offset=0.0, smoothing=0.0):
    """Two fixed trials of a few bins, and how they are read."""
    rng = np.random.default_rng(3)
    inputs, targets = rng.normal(size=(2, 2, 30, 1))
    return pl.ArrayTask(
        inputs, targets, dt=0.1, weights=rng.uniform(0, 0.1, (2, 30, 1)),
        offset=[offset], smoothing=[[smoothing]],
    )  # fmt: skip


def plain_descent(s, trials, nonlinearity, rate, n_epochs, tau=1.0):
    """Gradient descent by loops over bins in plain Python, with derivatives carried forward."""
    a = trials.dt / tau
    losses = []
    s = s.copy()
    for _ in range(n_epochs):
        total, grad = 0.0, np.zeros((4, 4))
        for x, y_star, w in zip(
            trials.inputs[..., 0], trials.targets[..., 0], trials.weights[..., 0], strict=True
        ):
            k, d_u, read, d_read = np.zeros(2), np.zeros((4, 4)), 0.0, np.zeros((4, 4))
            drive, d_drive = 0.0, np.zeros((4, 4))
            for t in range(len(x)):
                k = (1 - a) * k + a * np.array([x[t], drive])
                d_u = (1 - a) * d_u + a * d_drive
                c, big = s[2:, :2] @ k, k @ s[:2, :2] @ k
                # derivatives by each entry S_ij on its own, by way of k_u as well
                d_big = 2 * (s[1, :2] @ k) * d_u
                d_big[:2, :2] += np.outer(k, k)
                d_c = s[2:, 1][:, None, None] * d_u
                for row in range(2):
                    d_c[row, 2 + row, :2] += k
                g, slope = 1.0, 0.0
                if nonlinearity == "erf":
                    g = (1 + np.pi / 2 * big) ** -0.5
                    slope = -np.pi / 4 * g**3
                drive, d_drive = g * c[0], g * d_c[0] + slope * c[0] * d_big
                read = g * c[1] + trials.offset[0] + trials.smoothing[0, 0] * read
                d_read = g * d_c[1] + slope * c[1] * d_big + trials.smoothing[0, 0] * d_read
                total += w[t] * (read - y_star[t]) ** 2
                grad += 2 * w[t] * (read - y_star[t]) * d_read
        losses.append(total)
        # A_ij counts S_ij and S_ji, which are one variable
        b = np.eye(4) - rate * (grad + grad.T)
        s = b.T @ s @ b
    return s, np.array(losses)


@pytest.mark.parametrize("nonlinearity", ["linear", "erf"])
@pytest.mark.parametrize("read", [(0.0, 0.0), (0.3, 0.6)])
def test_numbers_are_those_of_plain_loops(nonlinearity, read):
    task, starts = two_trials(*read), networks(3)
    learned = pl.learn_many(starts, task, pl.GradientDescent(0.02), 12, nonlinearity)
    for start, path in zip(starts, learned, strict=True):
        s, losses = plain_descent(start.matrix, task.sample(), nonlinearity, 0.02, 12)
        np.testing.assert_allclose(path.losses[:-1], losses, rtol=1e-12)
        np.testing.assert_allclose(path.array[-1], s, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("name", RULES)
def test_neighbours_change_no_bit(name):
    task, starts = pl.Filter(duration=5.0), networks(many_kernels.TOGETHER + 5)
    seeds = list(range(len(starts)))
    how = {"nonlinearity": "erf", "every": 7}
    learned = pl.learn_many(starts, task, RULES[name], 60, seeds=seeds, **how)
    threads = pl.learn_many(starts, task, RULES[name], 60, seeds=seeds, n_jobs=2, **how)
    few = pl.learn_many(starts[30:35], task, RULES[name], 60, seeds=seeds[30:35], **how)
    for i in (0, 30, 34, len(starts) - 1):
        alone = pl.learn(starts[i], task, RULES[name], 60, seed=i, **how)
        beside = [learned[i], threads[i], *([few[i - 30]] if 30 <= i < 35 else [])]
        for other in beside:
            np.testing.assert_array_equal(other.array, alone.array)
            np.testing.assert_array_equal(other.losses, alone.losses)
            np.testing.assert_array_equal(other.epochs, alone.epochs)
            assert (other.seed, other.settings) == (alone.seed, alone.settings)


@pytest.mark.parametrize("name", RULES)
def test_loop_for_any_size_agrees(name, monkeypatch):
    task, start = pl.Filter(duration=5.0), networks(1)[0]
    beside = pl.learn(start, task, RULES[name], 60, "erf")
    monkeypatch.setattr("predictlearn.theory.learning.descent.runs_together", lambda *_: False)
    general = pl.learn(start, task, RULES[name], 60, "erf")
    np.testing.assert_allclose(beside.array, general.array, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(beside.losses, general.losses, rtol=1e-12)


def test_divergence_stops_one_network_only():
    task, rule = two_trials(), pl.GradientDescent(0.01)
    starts = networks(4)
    starts[1] = pl.Overlaps(30.0 * starts[1].matrix)
    learned = pl.learn_many(starts, task, rule, 600)
    assert [isinstance(path, DivergenceError) for path in learned] == [False, True, False, False]
    with pytest.raises(DivergenceError) as alone:
        pl.learn(starts[1], task, rule, 600)
    assert str(alone.value) == str(learned[1])
    assert alone.value.epoch == learned[1].epoch
    np.testing.assert_array_equal(learned[2].array, pl.learn(starts[2], task, rule, 600).array)


def test_each_stops_at_its_own_goal():
    task, rule, starts = pl.Filter(duration=5.0), pl.GradientDescent(5e-3), networks(4)
    free = pl.learn_many(starts, task, rule, 700, "erf")
    goal = float(free[0].losses[600])
    learned = pl.learn_many(starts, task, rule, 700, "erf", stop_at=goal, every=10)
    for path, whole in zip(learned, free, strict=True):
        below = np.flatnonzero(whole.losses <= goal)
        last = int(below[0]) if below.size else 700
        assert path.epochs[-1] == last
        np.testing.assert_array_equal(path.array[-1], whole.array[last])
        np.testing.assert_array_equal(path.losses, whole.losses[: last + 1])
    assert len({int(path.epochs[-1]) for path in learned}) > 1


def test_other_cases_are_those_of_learn():
    start, rule = networks(1)[0], pl.GradientDescent(5e-3)
    drawn = pl.FlipFlop(wait=(1.0, 2.0), duration=4.0, dt=0.1, trials=3)
    noisy = pl.GradientDescent(5e-3, target_noise=0.1)
    for task, own in ((drawn, rule), (pl.Filter(duration=4.0), noisy)):
        learned = pl.learn_many([start, start], task, own, 5, "erf", seeds=[1, 2])
        for path, seed in zip(learned, (1, 2), strict=True):
            alone = pl.learn(start, task, own, 5, "erf", seed=seed)
            np.testing.assert_array_equal(path.array, alone.array)
    assert not np.array_equal(learned[0].array, learned[1].array)


def test_trials_that_a_task_draws_by_the_seed_stay_apart():
    class Drawn:
        """The same trial in all epochs, drawn by the seed."""

        n_in, n_out, dt, fixed = 1, 1, 0.1, True

        def sample(self, rng=None):
            x = rng.normal(size=(1, 20, 1))
            return pl.Trials(x, x, np.full(x.shape, 0.1), 0.1)

    start, rule = networks(1)[0], pl.GradientDescent(5e-3)
    learned = pl.learn_many([start, start], Drawn(), rule, 5, "erf", seeds=[1, 2])
    for path, seed in zip(learned, (1, 2), strict=True):
        np.testing.assert_array_equal(
            path.array, pl.learn(start, Drawn(), rule, 5, "erf", seed=seed).array
        )


def test_what_runs_together():
    rule = pl.GradientDescent(5e-3)
    filters = {name: Batch(pl.Filter().sample(), name, 1.0) for name in ("linear", "erf", "tanh")}
    verdicts = {name: runs_together((1, 1, 1), ready, rule) for name, ready in filters.items()}
    # a linear filter has a closed form
    assert verdicts == {"linear": False, "erf": True, "tanh": False}
    assert not runs_together((1, 2, 1), filters["erf"], rule)


def test_wrong_arguments():
    start, rule = networks(1)[0], pl.GradientDescent(5e-3)
    with pytest.raises(InputError, match="seeds must be one, or one a start, 1; got 2"):
        pl.learn_many([start], pl.Filter(), rule, 5, seeds=[1, 2])
    with pytest.raises(InputError, match="task must have"):
        pl.learn_many([start], "filter", rule, 5)
    with pytest.raises(InputError, match="epochs"):
        pl.learn_many([start], pl.Filter(), rule, -1, "erf")
    with pytest.raises(InputError, match="n_jobs"):
        pl.learn_many([start], pl.Filter(), rule, 5, "erf", n_jobs=0)
    assert pl.learn_many([], pl.Filter(), rule, 5) == []


def test_overlaps_of_all_networks_are_counted_before_they_are_kept():
    with pytest.raises(pl.InputError, match="every must be at least 4 for 5000 epochs"):
        pl.learn_many(networks(1) * 7000, pl.Filter(), pl.GradientDescent(5e-3), 5000, "erf")
