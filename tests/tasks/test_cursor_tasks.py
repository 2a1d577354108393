"""Closed-loop tasks with a cursor, against plain simulations of what they are said to be."""

from __future__ import annotations

import neuron_network
import numpy as np
import pytest

import predictlearn as pl
from predictlearn.errors import InputError
from predictlearn.tasks import get_task
from predictlearn.tasks.cursor import command_noise, disturbed
from predictlearn.theory.synapses.loops import network_loss
from predictlearn.theory.trials import Task

TASKS = [
    pl.CursorReaching(),
    pl.CursorReaching(feedback="position-velocity", delay=0.12, smoothing=0.1, rotation=30.0),
    pl.CursorReaching(judged="velocity", feedback="velocity", go=False, trials=5),
    pl.CursorReaching(noise=0.2, delay=0.1, latency=0.1),
    pl.CursorTracking(seed=0),
    pl.CursorTracking(axes=2, motion="noise", feedback="position", delay=0.15, noise=0.1),
]


def overlaps(n_in, n_out, rank=1, seed=0):
    dim = n_in + 2 * rank + n_out
    g = 0.15 * np.random.default_rng(seed).normal(size=(dim, dim))
    return pl.Overlaps(np.eye(dim) + g @ g.T, n_in, rank, n_out)


def steering_network(n_in, n_out, by, rank=1):
    """A network that drives the cursor by the first inputs, one an axis."""
    table = np.eye(n_in + 2 * rank + n_out)
    for k in range(n_out):
        table[k, n_in + 2 * rank + k] = table[n_in + 2 * rank + k, k] = by
    return pl.Overlaps(table, n_in, rank, n_out)


@pytest.mark.quick
@pytest.mark.parametrize("task", TASKS, ids=lambda task: f"{type(task).__name__}-{task.feedback}")
def test_cursor_tasks_keep_the_contract(task):
    assert isinstance(task, Task)
    trials = task.sample(np.random.default_rng(3))
    assert (trials.n_in, trials.n_out, trials.dt) == (task.n_in, task.n_out, task.dt)
    assert trials.world is task.world
    assert trials.weights.sum() == pytest.approx(task.n_out, rel=1e-12)  # a mean for each axis
    other = task.sample(np.random.default_rng(4))
    assert np.array_equal(trials.targets, other.targets) == task.fixed
    frozen = task.freeze(3)
    assert frozen.world == task.world
    assert frozen.fixed
    again = task.freeze(3).sample()
    np.testing.assert_array_equal(frozen.sample().inputs, again.inputs)
    learned = pl.learn(
        overlaps(task.n_in, task.n_out), task, pl.GradientDescent(0.01), 3, learns="synapses"
    )
    assert np.isfinite(learned.losses).all()


@pytest.mark.quick
def test_the_cursor_is_a_filtered_turned_integral_of_the_output():
    task = pl.CursorReaching(gain=3.0, smoothing=0.2, rotation=90.0, dt=0.01, duration=2.0)
    outputs = np.zeros((1, 200, 2))
    outputs[..., 0] = 0.5
    states = task.world.response(outputs)[0]
    t = np.arange(1, 201) * 0.01
    velocity = 3.0 * 0.5 * (1 - np.exp(-t / 0.2))
    assert np.abs(states[:, 3] - velocity).max() < 1e-12  # along the second axis
    place = 1.5 * (t - 0.2 * (1 - np.exp(-t / 0.2)))
    assert np.abs(states[:, 1] - place).max() < 0.01
    assert np.abs(states[:, [0, 2]]).max() < 1e-12


@pytest.mark.quick
@pytest.mark.parametrize("feedback", ["error", "position", "velocity", "position-velocity"])
@pytest.mark.parametrize("delay", [0.0, 0.02, 0.1, 0.125])
def test_the_cursor_is_seen_as_late_as_said(feedback, delay):
    task = pl.CursorReaching(feedback=feedback, delay=delay)
    outputs = np.random.default_rng(0).normal(size=(4, 20, 2))
    states = task.world.response(outputs)
    seen = np.zeros((4, 20, task.n_in))
    seen[:, 1:] = states[:, :-1] @ task.world.seen.T
    cursor = np.concatenate([np.zeros((4, 1, 4)), states[:, :-1, :4]], axis=1)
    late = np.zeros_like(cursor)
    times = np.arange(20) * 0.05
    for k in range(4):
        for j in range(4):
            late[k, :, j] = np.interp(times - delay, times, cursor[k, :, j])
    parts = {
        "error": (slice(0, 2), -late[..., :2]),
        "position": (slice(3, 5), late[..., :2]),
        "velocity": (slice(3, 5), late[..., 2:]),
        "position-velocity": (slice(3, 7), late),
    }
    where, expected = parts[feedback]
    np.testing.assert_allclose(seen[..., where], expected, atol=1e-12)
    rest = np.delete(seen, np.arange(task.n_in)[where], axis=2)
    assert not rest.any()


@pytest.mark.parametrize("nonlinearity", ["linear", "erf"])
def test_reduced_activity_goes_round_the_loop(nonlinearity):
    task = pl.CursorReaching(delay=0.1, smoothing=0.1)
    start, trials = overlaps(3, 2, seed=2), task.sample()
    reduced = pl.simulate(start, trials, nonlinearity, 0.2)
    if nonlinearity == "linear":
        n = start.loadings(40, 0)
        _, _, seen, read = neuron_network.run(
            n.m, n.u @ n.v.T / 40, n.z, task.world, trials.inputs, 0.25
        )
        assert np.abs(np.moveaxis(seen, 0, 1) - trials.inputs).max() > 0.01
        observed = trials.observe(reduced.outputs)
        assert np.abs(np.moveaxis(read, 0, 1) - observed).max() < 1e-13
    network = pl.Synapses.from_overlaps(start)
    expected = network_loss(network, trials, nonlinearity, 0.2)
    assert pl.loss(start, trials, nonlinearity, 0.2) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("rule", ["through", "given", "rflo"])
@pytest.mark.parametrize(
    "task",
    [
        pl.CursorReaching(noise=0.3, delay=0.1, smoothing=0.08, rotation=20.0),
        pl.CursorTracking(axes=2, noise=0.2, feedback="position", trials=3, duration=2.0),
    ],
    ids=["reaching", "tracking"],
)
def test_noise_on_the_cursor_is_that_of_a_cursor_pushed_in_the_loop(task, rule):
    from dataclasses import replace

    quiet = replace(task, noise=0.0).sample(np.random.default_rng(1))
    rng = np.random.default_rng(5)
    pushes = command_noise(task, 2, task.world, quiet.n_trials, quiet.n_steps, rng)
    assert pushes.std() > 1e-4
    noisy = pl.ArrayTask.from_trials(disturbed(quiet, pushes))
    rules = {
        "through": pl.GradientDescent(0.05),
        "given": pl.GradientDescent(0.05, loop="given"),
        "rflo": pl.RFLO(0.05),
    }
    t = pl.learn(overlaps(task.n_in, 2), noisy, rules[rule], 40, tau=0.5, learns="synapses")
    before, after = t.start.on_neurons(60, 1), t.final.on_neurons(60, 1)
    losses, m, w, z = neuron_network.learn_synapses(
        before, task.world, quiet.inputs, quiet.targets, quiet.weights, task.dt / 0.5, 0.05, 40,
        rule, pushes=pushes,
    )  # fmt: skip
    assert np.abs(t.losses - losses).max() < 1e-12 * losses[0]
    for one, other in ((after.m, m), (after.w * 60, w * 60), (after.z, z)):
        assert np.abs(one - other).max() < 1e-11
    unmoved = neuron_network.learn_synapses(
        before, task.world, quiet.inputs, quiet.targets, quiet.weights, task.dt / 0.5, 0.05, 1, rule
    )[0]
    assert abs(unmoved[0] - losses[0]) > 1e-3 * losses[0]  # the noise is seen


@pytest.mark.quick
def test_noise_spreads_the_cursor_as_said_in_bins_of_any_width():
    for dt in (0.05, 0.0125):
        task = pl.CursorReaching(noise=0.4, dt=dt, smoothing=0.02)
        n = round(1.0 / dt)
        pushes = command_noise(task, 2, task.world, 4000, n, np.random.default_rng(0))
        states = np.zeros((4000, task.world.n_state))
        for t in range(n):
            states = states @ task.world.step.T + pushes[:, t]
        expected = 0.4 * np.sqrt(1.0 - 0.03)  # smoothed: the last of it has not come through yet
        assert states[:, :2].std() == pytest.approx(expected, rel=0.03)


@pytest.mark.parametrize(
    "settings",
    [
        {"type": "cursor-reaching", "delay": 0.1, "smoothing": 0.1, "latency": 0.13},
        {"type": "cursor-reaching", "judged": "velocity", "reach_time": 0.42},
        {"type": "cursor-tracking", "axes": 2, "seed": 1, "delay": 0.1, "settle": 1.0},
        {"type": "cursor-tracking", "axes": 2, "seed": 1, "motion": "noise"},
    ],
    ids=lambda s: "-".join(map(str, s.values())),
)
def test_the_same_task_in_finer_bins_has_nearly_the_same_loss(settings):
    kind = settings["type"]
    settings = {key: value for key, value in settings.items() if key != "type"}
    losses = []
    for dt in (0.02, 0.01, 0.005):
        task = get_task(kind, dt=dt, **settings)
        network = steering_network(task.n_in, 2, 1.0)
        losses.append(pl.loss(network, task.sample(), tau=0.2))
    first, second = abs(losses[1] - losses[0]), abs(losses[2] - losses[1])
    assert second < 0.02 * losses[2]
    assert second < 0.6 * first  # halved with the bin: of first order


@pytest.mark.quick
@pytest.mark.parametrize(
    ("task", "by"),
    [
        (pl.CursorReaching(delay=0.1, gain=2.0), 0.8),
        (pl.CursorReaching(delay=0.15, gain=2.0, smoothing=0.1, rotation=40.0), 0.8),
        (pl.CursorReaching(rotation=120.0), 0.5),
        (pl.CursorTracking(axes=1, delay=0.2, gain=8.0), 0.9),
    ],
)
def test_stability_is_what_a_push_in_the_loop_becomes(task, by):
    network, tau = steering_network(task.n_in, task.n_out, by), 0.2
    loop = pl.loop_stability(network, task, tau)
    n = network.loadings(20, 0)
    silent = np.zeros((1, 3000, task.n_in))

    def sizes(factor):
        """Return how large the cursor's position is along a long trial after one push."""
        from dataclasses import replace

        world = replace(task.world, push=factor * task.world.push)
        pushes = np.zeros((1, 3000, world.n_state))
        pushes[0, 0, : task.n_out] = 1.0
        *_, read = neuron_network.run(
            n.m, n.u @ n.v.T / 20, n.z, world, silent, task.dt / tau, pushes=pushes
        )
        return np.abs(np.array(read)[:, 0]).max(axis=1)

    def growth(factor):
        """Return by what a push grows in a bin, over the second half of a trial."""
        course = sizes(factor)
        return (course[-300:].max() / course[1200:1500].max()) ** (1 / 1500)

    measured = growth(1.0)
    assert (measured < 1) == loop.stable
    if 1e-250 < sizes(1.0)[-300:].max() < 1e200:
        assert measured == pytest.approx(loop.radius, abs=2e-3)
        constant = task.dt / abs(np.log(measured))
        assert loop.time_constant == pytest.approx(constant, rel=0.1)
    low, high = loop.gain_range
    assert low == 0.0
    if high > 0:
        assert growth(0.97 * high) < 1.0 < growth(1.03 * high)


@pytest.mark.quick
def test_a_loop_that_is_not_seen_to_grow_is_named():
    open_loop = pl.CursorReaching(feedback="none")
    network = steering_network(open_loop.n_in, 2, 0.5)
    loop = pl.loop_stability(network, open_loop)
    assert loop.stable
    assert loop.radius == pytest.approx(0.95, abs=1e-12)  # that of the network alone
    assert loop.gain_range == (0.0, float("inf"))
    # velocity alone is seen: the position, which keeps what it is given, is no part of the loop
    velocity = pl.CursorReaching(feedback="velocity")
    loop = pl.loop_stability(steering_network(velocity.n_in, 2, 0.5), velocity)
    assert np.isfinite(loop.time_constant)
    bad = pl.CursorReaching(rotation=180.0, gain=100.0)
    said = str(pl.loop_stability(steering_network(3, 2, 0.5), bad))
    assert "unstable loop" in said
    assert "grows e-fold in" in said
    with pytest.raises(InputError, match="unstable before learning"):
        pl.learn(steering_network(3, 2, 0.5), bad, pl.GradientDescent(0.01), 3)
    with pytest.raises(InputError, match="must have a world"):
        pl.loop_stability(network, pl.Filter())


def test_reaching_is_learned_in_the_loop():
    task = pl.CursorReaching(delay=0.1, gain=4.0)
    start = steering_network(3, 2, 0.1)
    rule = pl.GradientDescent(0.05)
    for learns in ("factors", "synapses"):
        t = pl.learn(start, task, rule, 400, tau=0.1, learns=learns)
        assert t.losses[-1] < 0.1 * t.losses[0]


@pytest.mark.quick
def test_a_world_can_be_written_as_its_arguments():
    world = {"step": [[1.0]], "push": [[0.05]], "seen": [[-1.0]]}
    arrays = {"inputs": np.ones((1, 9, 1)), "targets": np.ones((1, 9, 1))}
    task = get_task("arrays", **arrays, weights=np.ones((1, 9, 1)), dt=0.05, world=world)
    assert task.world == pl.LinearWorld(**world)
    with pytest.raises(InputError, match="Did you mean 'push'"):
        get_task("arrays", **arrays, weights=np.ones((1, 9, 1)), dt=0.05, world={"pusch": 1})


@pytest.mark.quick
@pytest.mark.parametrize(
    ("name", "settings", "said"),
    [
        ("cursor-reaching", {"feedback": "eror"}, "error"),
        ("cursor-reaching", {"delay": -0.1}, "delay"),
        ("cursor-reaching", {"delay": 10.0}, "100 bins"),
        ("cursor-reaching", {"judged": "speed"}, "position"),
        ("cursor-reaching", {"reach_time": 1.0}, r"latency \+ reach_time = 1 s"),
        ("cursor-reaching", {"gain": 0.0}, "moves nothing"),
        ("cursor-tracking", {"axes": 3}, "1 or 2"),
        ("cursor-tracking", {"rotation": 10.0}, "axes: 2"),
        ("cursor-tracking", {"frequencies": [11.0]}, "10 Hz"),
        ("cursor-tracking", {"feedback": "velocity"}, "position"),
        ("cursor-tracking", {"settle": 20.0}, "shorter"),
        ("cursor-tracking", {"motion": "noise", "correlation": 1e-4}, "at least"),
    ],
)
def test_wrong_settings_are_one_message(name, settings, said):
    with pytest.raises(InputError, match=said) as caught:
        get_task(name, **settings)
    assert len(str(caught.value)) < 300
