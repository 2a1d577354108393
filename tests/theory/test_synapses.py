"""Learning of synapses and by local rules in the span, against N neurons written apart."""

from __future__ import annotations

import neuron_network
import numpy as np
import pytest

import predictlearn as pl
from predictlearn.errors import InputError
from predictlearn.theory.activity import Batch
from predictlearn.theory.synapses.gradients import Directions, Steering
from predictlearn.theory.synapses.moments import moments_of, worth_moments

FEEDBACK = pl.Feedback(decoder=0.3, private=0.8)
RULES = {
    "through": lambda rate, **k: pl.GradientDescent(rate, **k),
    "given": lambda rate, **k: pl.GradientDescent(rate, loop="given", **k),
    "fa": lambda rate, **k: pl.FeedbackAlignment(rate, FEEDBACK, **k),
    "rflo": lambda rate, **k: pl.RFLO(rate, FEEDBACK, **k),
}


def overlaps(sizes, seed=0):
    n_in, rank, n_out = sizes
    dim = n_in + 2 * rank + n_out
    g = 0.15 * np.random.default_rng(seed).normal(size=(dim, dim))
    return pl.Overlaps(np.eye(dim) + g @ g.T, *sizes)


def a_task(sizes, n_trials=6, n_steps=25, uneven=False, world=None, seed=1):
    n_in, _, n_out = sizes
    n_read = n_out if world is None else world.n_read
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n_trials, n_steps, n_in))
    targets = 0.1 * rng.normal(size=(n_trials, n_steps, n_read)).cumsum(axis=1)
    weights = np.ones(targets.shape) / (n_trials * n_steps)
    if uneven:
        weights *= rng.uniform(0.5, 1.5, size=weights.shape)
    return pl.ArrayTask(x, targets, weights, dt=0.1, world=world)


def a_world(sizes, delay=0, shift=0.0, seed=2):
    n_in, _, n_out = sizes
    rng = np.random.default_rng(seed)
    return pl.LinearWorld(
        0.8 * np.eye(3) + 0.05 * rng.normal(size=(3, 3)),
        0.3 * rng.normal(size=(3, n_out)),
        0.02 * rng.normal(size=(n_in, 3)),
        rng.normal(size=(2, 3)),
        offset=np.full(3, shift),
        start=np.full(3, shift),
    ).delayed(delay)


@pytest.mark.quick
@pytest.mark.parametrize("rule", ["through", "fa", "rflo"])
@pytest.mark.parametrize(("sizes", "uneven"), [((1, 1, 1), False), ((2, 2, 2), True)])
def test_synapses_learn_as_those_of_n_neurons_do(rule, sizes, uneven):
    task, n = a_task(sizes, uneven=uneven), 50
    more = {"momentum": 0.5, "weight_decay": 0.01, "pathway_rates": {"w": 0.7, "z": 0.4}}
    t = pl.learn(overlaps(sizes), task, RULES[rule](0.05, **more), 200, learns="synapses")
    before, after = t.start.on_neurons(n, 1), t.final.on_neurons(n, 1)
    losses, m, w, z = neuron_network.learn_synapses(
        before, neuron_network.open_world(sizes[0], sizes[2]), task.inputs, task.targets,
        task.weights, 0.1, 0.05, 200, rule, momentum=0.5, decay=0.01, rates=(1.0, 0.7, 0.4),
    )  # fmt: skip
    assert np.abs(t.losses - losses).max() < 1e-12 * losses[0]
    assert np.abs(after.m - m).max() < 1e-12
    assert np.abs(after.w - w).max() * n < 1e-12
    assert np.abs(after.z - z).max() < 1e-12
    assert np.abs(w - before.w).max() * n > 0.01  # it did learn


@pytest.mark.slow
@pytest.mark.parametrize("sizes", [(1, 1, 1), (2, 1, 2), (2, 2, 2)])
def test_synapses_stay_exact_for_two_thousand_epochs(sizes):
    task, n = a_task(sizes, n_steps=60), 80
    t = pl.learn(overlaps(sizes), task, pl.GradientDescent(0.05), 2000, learns="synapses")
    before, after = t.start.on_neurons(n, 1), t.final.on_neurons(n, 1)
    losses, m, w, z = neuron_network.learn_synapses(
        before, neuron_network.open_world(sizes[0], sizes[2]), task.inputs, task.targets,
        task.weights, 0.1, 0.05, 2000,
    )  # fmt: skip
    assert np.abs(t.losses - losses).max() < 1e-10 * losses[0]
    for one, other in ((after.m, m), (after.w * n, w * n), (after.z, z)):
        assert np.abs(one - other).max() < 1e-10


@pytest.mark.parametrize("rule", ["fa", "rflo"])
def test_factors_learn_by_local_rules_as_those_of_n_neurons_do(rule):
    sizes = (2, 2, 2)
    task, n = a_task(sizes), 50
    start = pl.Factors.from_overlaps(overlaps(sizes), FEEDBACK)
    t = pl.learn(start, task, RULES[rule](0.05, momentum=0.3), 200)
    loadings, b = start.on_neurons(n, 1)
    losses, s = neuron_network.learn_factors(
        loadings, b, neuron_network.open_world(2, 2), task.inputs, task.targets, task.weights,
        0.1, 0.05, 200, rule, momentum=0.3,
    )  # fmt: skip
    assert np.abs(t.losses - losses).max() < 1e-12 * losses[0]
    assert np.abs(t.final.matrix - s).max() < 1e-12
    assert abs(t.alignment.iloc[-1] - t.end.alignment) < 1e-12


@pytest.mark.parametrize("rule", list(RULES))
@pytest.mark.parametrize(
    ("sizes", "delay", "shift", "uneven"),
    [((1, 1, 1), 0, 0.0, False), ((2, 1, 2), 2, 0.0, False), ((2, 2, 2), 1, 0.1, True)],
)
def test_closed_loops_are_learned_as_n_neurons_do(rule, sizes, delay, shift, uneven):
    world = a_world(sizes, delay, shift)
    task, n = a_task(sizes, world=world, uneven=uneven), 50
    t = pl.learn(overlaps(sizes), task, RULES[rule](0.02), 100, learns="synapses")
    before, after = t.start.on_neurons(n, 1), t.final.on_neurons(n, 1)
    losses, m, w, z = neuron_network.learn_synapses(
        before, world, task.inputs, task.targets, task.weights, 0.1, 0.02, 100, rule
    )
    assert np.abs(t.losses - losses).max() < 1e-12 * losses[0]
    for one, other in ((after.m, m), (after.w * n, w * n), (after.z, z)):
        assert np.abs(one - other).max() < 1e-12


@pytest.mark.parametrize("nonlinearity", ["linear", "erf", "tanh"])
def test_the_slope_through_a_loop_is_that_of_the_loss(nonlinearity):
    sizes = (2, 1, 2)
    task = a_task(sizes, world=a_world(sizes, 1, 0.1))
    network = pl.Synapses.from_overlaps(overlaps(sizes))
    loss = Directions(Batch(task.sample(), nonlinearity, 1.0), Steering(), network.dim, False)
    at = [network.m, network.w, network.z]
    slopes = [np.array(g) for g in loss(*at)[1:]]
    rng = np.random.default_rng(0)
    for _ in range(3):
        way = [rng.normal(size=part.shape) for part in at]
        up, down = (
            loss(*(part + sign * 1e-5 * d for part, d in zip(at, way, strict=True)))[0]
            for sign in (1, -1)
        )
        expected = sum(np.sum(g * d) for g, d in zip(slopes, way, strict=True))
        assert (up - down) / 2e-5 == pytest.approx(expected, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("uneven", [False, True])
def test_moments_of_trials_say_what_the_trials_do(uneven):
    sizes = (2, 1, 2)
    ready = Batch(a_task(sizes, n_trials=40, n_steps=20, uneven=uneven).sample(), "linear", 1.0)
    assert worth_moments(ready, 1000)
    network = pl.Synapses.from_overlaps(overlaps(sizes), FEEDBACK)
    at = (network.m, network.w, network.z, network.feedback)
    for steering in (Steering(through_loop=False), Steering(False, True, False)):
        one, other = (
            [np.array(x) for x in Directions(ready, steering, network.dim, by)(*at)]
            for by in (False, True)
        )
        for a, b in zip(one, other, strict=True):
            assert np.allclose(a, b, rtol=1e-11, atol=1e-14)
    gram = moments_of(ready).gram
    assert np.allclose(gram, np.swapaxes(gram, 1, 2), atol=1e-12)


def test_noise_and_minibatches_are_those_of_learning_by_factors():
    """With u and v frozen, synapses and factors are the same learner on the same trials."""
    sizes = (1, 1, 1)
    task, start = a_task(sizes), overlaps(sizes)
    for more in ({"target_noise": 0.3}, {"minibatch": 3}):
        factors = pl.GradientDescent(0.05, pathway_rates={"u": 0.0, "v": 0.0}, **more)
        synapses = pl.GradientDescent(0.05, pathway_rates={"w": 0.0}, **more)
        one = pl.learn(start, task, factors, 50, seed=3)
        other = pl.learn(start, task, synapses, 50, seed=3, learns="synapses")
        assert np.allclose(one.losses, other.losses, rtol=1e-11)


def test_nothing_but_directions_of_neurons_and_gauge_is_free():
    """Turning the span, or the gauge of u and v, changes no learning of synapses."""
    sizes = (1, 2, 1)
    start, task = overlaps(sizes), a_task(sizes)
    rule = pl.GradientDescent(0.05)
    first = pl.learn(start, task, rule, 100, learns="synapses")
    rng = np.random.default_rng(0)
    turn, _ = np.linalg.qr(rng.normal(size=(first.start.dim,) * 2))
    s = first.start
    turned = pl.learn(pl.Synapses(turn @ s.m, turn @ s.w @ turn.T, turn @ s.z), task, rule, 100)
    assert np.allclose(turned.losses, first.losses, rtol=1e-11)
    regauged = start.gauge(rng.normal(size=(2, 2)) + 2 * np.eye(2))
    other = pl.learn(regauged, task, rule, 100, learns="synapses")
    assert np.allclose(other.losses, first.losses, rtol=1e-9)
    assert np.allclose(other.quantities, first.quantities, rtol=1e-8, atol=1e-10)
    # with factors the gauge does change learning
    one, two = (pl.learn(o, task, rule, 100).losses for o in (start, regauged))
    assert np.abs(one - two).max() > 1e-5 * one[0]


def test_gradient_flow_conserves_what_descent_nearly_does():
    start = overlaps((1, 1, 1)).replace(zu=0.3, vm=0.3)
    flow = pl.learn(start, pl.Filter(), pl.GradientFlow(), 5.0, learns="synapses")
    assert flow.losses[-1] < 0.2 * flow.losses[0]
    assert flow.drift < 1e-7
    drifts = []
    for rate in (0.02, 0.01):
        t = pl.learn(start, pl.Filter(), pl.GradientDescent(rate), int(5 / rate), learns="synapses")
        drifts.append(t.drift)
        assert abs(t.losses[-1] - flow.losses[-1]) < 2 * rate * flow.losses[0]
    assert 1.7 < drifts[0] / drifts[1] < 2.3  # of first order in the rate


def test_networks_of_one_function_learn_apart():
    start = pl.Overlaps(np.eye(4)).replace(zm=0.1, zu=0.1, vm=0.1, vu=0.2)
    twin = pl.functionally_equivalent(start, uu=2.05, mu=0.8)
    one, two = (
        pl.learn(o, pl.Filter(), pl.GradientDescent(5e-3), 400, learns="synapses")
        for o in (start, twin)
    )
    assert np.allclose(one.start.function(8), two.start.function(8), atol=1e-12)
    assert one.losses[0] == pytest.approx(two.losses[0], rel=1e-12)
    assert np.abs(one.losses - two.losses).max() > 0.1 * one.losses[0]


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda o, t: pl.learn(o, t, pl.GradientDescent(0.1), 5, learns="neurons"), "learns"),
        (
            lambda o, t: pl.learn(
                o, t, pl.GradientDescent(0.1, pathway_rates={"u": 1.0}), 5, learns="synapses"
            ),
            "m, w, z",
        ),
        (
            lambda o, t: pl.learn(o, t, pl.GradientDescent(0.1, pathway_rates={"w": 1.0}), 5),
            "m, u, v, z",
        ),
        (
            lambda o, t: pl.learn(
                o, t, pl.GradientDescent(0.1, synaptic_noise=0.1), 5, learns="synapses"
            ),
            "train_network",
        ),
        (
            lambda o, t: pl.learn(o, t, pl.RFLO(0.1, pl.Feedback(np.eye(3))), 5),
            "1 x 1 for 1 outputs",
        ),
        (lambda o, t: pl.learn(o, t, pl.Adam(0.1), 5, learns="synapses"), "train_network"),
        (lambda o, t: pl.GradientDescent(0.1, loop="open"), "through"),
        (lambda o, t: pl.Feedback(private=-1), "private"),
        (
            lambda o, t: pl.learn(
                pl.Synapses.from_overlaps(o), t, pl.GradientDescent(0.1), 5, learns="factors"
            ),
            "synapses",
        ),
        (lambda o, t: pl.Synapses(np.ones((3, 1)), np.eye(4), np.ones((4, 1))), "m"),
        (lambda o, t: pl.LinearWorld([[1.0]], [[1.0]], [[1.0, 2.0]]), "seen"),
    ],
)
def test_wrong_settings_are_one_message(call, said):
    with pytest.raises(InputError) as caught:
        call(overlaps((1, 1, 1)), a_task((1, 1, 1)))
    assert said in str(caught.value)
    assert len(str(caught.value)) < 500


def test_an_unstable_loop_is_named():
    sizes = (1, 1, 1)
    start = overlaps(sizes).replace(zm=0.8)
    world = pl.LinearWorld([[1.0]], [[0.5]], [[3.0]])
    with pytest.raises(InputError, match=r"unstable before learning.*a bin"):
        pl.learn(start, a_task(sizes, world=world), pl.GradientDescent(0.01), 5)
    stable = pl.LinearWorld([[1.0]], [[0.5]], [[-0.1]])
    t = pl.learn(start, a_task(sizes, world=stable), pl.GradientDescent(0.01), 5)
    assert np.isfinite(t.losses).all()


def _along(s, sizes, learns, rule):
    """Return the Markov parameters along four courses of learning, each a task of its own."""
    kind = pl.Synapses if learns == "synapses" else pl.Factors
    network = kind.from_overlaps(pl.Overlaps(s, *sizes), pl.Feedback())
    found = []
    for decay, amplitude in ((0.2, 1.0), (0.6, -1.0), (0.4, 0.7), (1.5, 0.5)):
        task = pl.Filter(decay=decay, amplitude=amplitude, duration=8.0, dt=0.1)
        t = pl.learn(network, task, rule, 600, every=60)
        for k in range(len(t.epochs)):
            if learns == "synapses":
                found.append(t.at(k).function(6))
            else:
                o = pl.Overlaps(t.array[k], *sizes)
                now, read = o.block("v", "m"), [o.block("z", "m")]
                for _ in range(5):
                    read.append(o.block("z", "u") @ now)
                    now = o.block("v", "u") @ now
                found.append(np.array(read))
    return np.concatenate([f.ravel() for f in found])


@pytest.mark.slow
@pytest.mark.parametrize("learns", ["factors", "synapses"])
@pytest.mark.parametrize("name", ["descent", "feedback-alignment", "rflo"])
@pytest.mark.parametrize("rank", [1, 2])
def test_learning_shows_as_many_dimensions_as_said(rank, name, learns):
    """The rank of the slopes of all that learning does, by the overlaps of the start."""
    rule = {
        "descent": pl.GradientDescent,
        "feedback-alignment": pl.FeedbackAlignment,
        "rflo": pl.RFLO,
    }[name](0.01)
    sizes, dim = (1, rank, 1), 2 + 2 * rank
    g = 0.18 * np.random.default_rng(1).normal(size=(dim, dim))
    s, slopes = 0.6 * np.eye(dim) + g @ g.T, []
    for i, j in zip(*np.triu_indices(dim), strict=True):
        moved = []
        for sign in (1, -1):
            other = s.copy()
            other[i, j] += sign * 1e-4
            other[j, i] = other[i, j]
            moved.append(_along(other, sizes, learns, rule))
        slopes.append((moved[0] - moved[1]) / 2e-4)
    values = np.linalg.svd(np.array(slopes).T, compute_uv=False)
    table = pl.what_is_seen(1, rank, 1, rule=name, learns=learns)
    n = table.attrs["dimensions"]
    # the last one seen stands out from rounding, and there is nothing after it
    assert values[n - 1] > 5e-10 * values[0]
    assert len(values) == n or values[n] < 0.1 * values[n - 1]
    assert len(values) == n or values[n] < 1e-8 * values[0]


def test_slopes_of_what_synapses_learn_are_those_of_learning():
    start, task, rule = overlaps((1, 1, 1)), pl.Filter(duration=5.0), pl.GradientDescent(0.01)
    found = pl.synaptic_sensitivities(start, task, rule, [0, 100])
    for name in ("zu", "uu", "zv", "mm"):
        i, j = start.index(name)
        ends = []
        for sign in (1, -1):
            s = start.matrix.copy()
            s[i, j] += sign * 1e-4
            s[j, i] = s[i, j]
            t = pl.learn(pl.Overlaps(s), task, rule, 100, learns="synapses", every=100)
            ends.append(np.array([t.losses[-1], *t.final.quantities()[["zwm", "mm", "ww"]]]))
        slope = found.slopes.loc[(100, name), ["loss", "zwm", "mm", "ww"]].to_numpy(float)
        assert np.allclose((ends[0] - ends[1]) / 2e-4, slope, rtol=1e-6, atol=1e-7)
    # of the gauge, du = u, dv = -v, there is no slope
    gauge = np.diag([0.0, 1.0, -1.0, 0.0])
    moved = gauge @ start.matrix + start.matrix @ gauge
    losses = found.slopes.loc[100]["loss"]
    along = sum(moved[start.index(name)] * losses[name] for name in start.names)
    assert abs(along) < 1e-8 * losses.abs().max()
    with pytest.raises(InputError, match="both sides"):
        pl.synaptic_sensitivities(pl.Overlaps(np.ones((4, 4))), task, rule, [0, 10])
    with pytest.raises(InputError, match="rising"):
        pl.synaptic_sensitivities(start, task, rule, [10, 5])
