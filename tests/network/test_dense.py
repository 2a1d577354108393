"""N neurons whose synapses learn, and rules of circuits, against a network written apart."""

from __future__ import annotations

from functools import cache

import neuron_network
import numpy as np
import pytest
from neuron_network import open_world
from scipy import special

import predictlearn as pl
from predictlearn.errors import DivergenceError, InputError
from predictlearn.network.dense import directions
from predictlearn.theory.activity import NO_NOISE, Batch
from predictlearn.theory.synapses.gradients import Steering

N = 30
FILTER = pl.Filter(duration=8.0, dt=0.1)
FEEDBACK = pl.Feedback(decoder=0.3, private=0.8)
RULES = {
    "through": pl.GradientDescent,
    "given": lambda rate, **k: pl.GradientDescent(rate, loop="given", **k),
    "fa": lambda rate, **k: pl.FeedbackAlignment(rate, FEEDBACK, **k),
    "rflo": lambda rate, **k: pl.RFLO(rate, FEEDBACK, **k),
    "node": lambda rate, **k: pl.NodePerturbation(rate, 0.2, **k),
}
PHI = {
    "linear": neuron_network.LINEAR,
    "erf": (
        lambda h: special.erf(np.sqrt(np.pi) / 2 * h),
        lambda h: np.exp(-np.pi / 4 * h**2),
    ),
    "tanh": (np.tanh, lambda h: 1 / np.cosh(h) ** 2),
    "soft": (lambda h: h / np.sqrt(1 + h**2), lambda h: (1 + h**2) ** -1.5),
}


@cache
def soft():
    """Return the nonlinearity of our own, tabulated once."""
    return pl.Nonlinearity("soft", *PHI["soft"])


def overlaps(sizes, seed=0):
    n_in, rank, n_out = sizes
    dim = n_in + 2 * rank + n_out
    g = 0.15 * np.random.default_rng(seed).normal(size=(dim, dim))
    return pl.Overlaps(np.eye(dim) + g @ g.T, *sizes)


def a_task(sizes, world=None, n_trials=4, n_steps=20, seed=1):
    n_in, _, n_out = sizes
    n_read = n_out if world is None else world.n_read
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n_trials, n_steps, n_in))
    targets = 0.1 * rng.normal(size=(n_trials, n_steps, n_read)).cumsum(axis=1)
    weights = rng.uniform(0.5, 1.5, size=targets.shape) / (n_trials * n_steps)
    return pl.ArrayTask(x, targets, weights, dt=0.1, world=world)


def a_world(sizes, seed=2):
    n_in, _, n_out = sizes
    rng = np.random.default_rng(seed)
    return pl.LinearWorld(
        0.8 * np.eye(3) + 0.05 * rng.normal(size=(3, 3)),
        0.3 * rng.normal(size=(3, n_out)),
        0.02 * rng.normal(size=(n_in, 3)),
        rng.normal(size=(2, 3)),
        offset=np.full(3, 0.1),
        start=np.full(3, 0.1),
    ).delayed(1)


def neuron_rng(seed):
    """Where noise in neurons is drawn from."""
    return np.random.default_rng(np.random.SeedSequence(seed).spawn(6)[4])


def matter(sizes, closed):
    world = a_world(sizes) if closed else None
    task = a_task(sizes, world)
    apart = open_world(sizes[0], sizes[2]) if world is None else world
    return task, (apart, task.inputs, task.targets, task.weights, 0.1)


@pytest.mark.parametrize("rule", list(RULES))
@pytest.mark.parametrize(("sizes", "closed"), [((1, 1, 1), False), ((2, 2, 2), True)])
@pytest.mark.parametrize("nonlinearity", list(PHI))
def test_synapses_learn_as_those_of_a_network_written_apart(rule, sizes, closed, nonlinearity):
    task, trials = matter(sizes, closed)
    start = pl.Synapses.from_overlaps(overlaps(sizes), FEEDBACK).on_neurons(N, 1)
    rate = 0.002 if rule == "node" else 0.02
    more = {"momentum": 0.5, "weight_decay": 0.01, "pathway_rates": {"w": 0.7, "z": 0.4}}
    used = soft() if nonlinearity == "soft" else nonlinearity
    t = pl.train_network(start, task, RULES[rule](rate, **more), 40, used, seed=3, every=20)
    noise = {"sigma": 0.2, "rng": neuron_rng(3)} if rule == "node" else {}
    losses, m, w, z = neuron_network.learn_synapses(
        start, *trials, rate, 40, rule, momentum=0.5, decay=0.01, rates=(1.0, 0.7, 0.4),
        phi=PHI[nonlinearity], **noise,
    )  # fmt: skip
    assert np.abs(t.losses - losses).max() < 1e-12 * losses[0]
    for one, other in ((t.final.m, m), (t.final.w * N, w * N), (t.final.z, z)):
        assert np.abs(one - other).max() < 1e-11
    assert np.abs(w - start.w).max() * N > 1e-3  # it did learn


@pytest.mark.parametrize("rule", list(RULES))
@pytest.mark.parametrize(("closed", "nonlinearity"), [(False, "tanh"), (True, "erf")])
def test_factors_learn_as_those_of_a_network_written_apart(rule, closed, nonlinearity):
    sizes = (2, 2, 2)
    task, trials = matter(sizes, closed)
    loadings, b = pl.Factors.from_overlaps(overlaps(sizes), FEEDBACK).on_neurons(N, 1)
    rate = 0.002 if rule == "node" else 0.02
    t = pl.train_network(
        loadings, task, RULES[rule](rate, momentum=0.3), 40, nonlinearity, seed=3,
        feedback=b if rule in ("fa", "rflo") else None,
    )  # fmt: skip
    noise = {"sigma": 0.2, "rng": neuron_rng(3)} if rule == "node" else {}
    losses, s = neuron_network.learn_factors(
        loadings, b, *trials, rate, 40, rule, momentum=0.3, phi=PHI[nonlinearity], **noise
    )
    assert np.abs(t.losses - losses).max() < 1e-12 * losses[0]
    assert np.abs(t.final.matrix - s).max() < 1e-11
    assert np.abs(s - t.start.matrix).max() > 1e-4


@pytest.mark.parametrize("rule", ["through", "given", "fa", "rflo"])
@pytest.mark.parametrize("learns", ["synapses", "factors"])
@pytest.mark.parametrize("closed", [False, True])
def test_one_seed_is_the_same_course_in_the_span_and_in_n_neurons(rule, learns, closed):
    """Trials, minibatches, target noise, and feedback drawn free of overlaps with the start."""
    sizes = (2, 1, 2)
    task, start = matter(sizes, closed)[0], overlaps(sizes)
    how = RULES[rule](0.02, target_noise=0.1, minibatch=3, schedule=pl.RateDecay(30.0))
    theory = pl.learn(start, task, how, 60, learns=learns, seed=4, every=20)
    network = pl.train_network(start.loadings(40), task, how, 60, learns=learns, seed=4, every=20)
    assert np.abs(theory.losses - network.losses).max() < 1e-12 * theory.losses[0]
    if learns == "factors":
        assert np.abs(theory.array - network.array).max() < 1e-12
    else:
        names = ["z1m1", "z1wm1", "z2wwm1", "m1m1", "z1z2", "ww", "w1", "w3"]
        assert np.abs(theory.quantities[names] - network.quantities[names]).max().max() < 1e-12
    if rule in ("fa", "rflo"):
        assert np.abs(theory.alignment - network.alignment).max() < 1e-12


def test_blocks_of_trials_add_up(monkeypatch):
    sizes = (2, 1, 2)
    ready = Batch(a_task(sizes, a_world(sizes)).sample(), "erf", 1.0)
    start = pl.SynapticNetwork.from_loadings(overlaps(sizes).loadings(N))
    parts = {"m": start.m, "w": start.w, "z": start.z}
    whole = directions(parts, ready, Steering(), None, NO_NOISE)
    monkeypatch.setattr("predictlearn.network.dense._MOST", 3 * 20 * N)
    pieces = directions(parts, ready, Steering(), None, NO_NOISE)
    assert pieces[0] == pytest.approx(whole[0], rel=1e-13)
    for name in parts:
        assert np.allclose(pieces[1][name], whole[1][name], rtol=1e-11, atol=1e-14)


def test_turning_and_swapping_neurons_changes_nothing():
    """A rotation where neurons are linear, a permutation whatever they are."""
    sizes = (1, 2, 1)
    task, rng = a_task(sizes), np.random.default_rng(0)
    start = pl.Synapses.from_overlaps(overlaps(sizes), FEEDBACK).on_neurons(N)
    turn, _ = np.linalg.qr(rng.normal(size=(N, N)))
    swap = np.eye(N)[rng.permutation(N)]
    for q, nonlinearity in ((turn, "linear"), (swap, "tanh")):
        other = pl.SynapticNetwork(q @ start.m, q @ start.w @ q.T, q @ start.z, q @ start.feedback)
        for rule in (pl.GradientDescent(0.05), pl.RFLO(0.05)):
            one, two = (
                pl.train_network(x, task, rule, 30, nonlinearity, every=30) for x in (start, other)
            )
            assert np.allclose(one.losses, two.losses, rtol=1e-11)
            assert np.allclose(q @ one.final.w @ q.T, two.final.w, atol=1e-13)
            assert np.allclose(one.quantities, two.quantities, atol=1e-11)


def test_small_steps_conserve_what_gradient_flow_does():
    sizes = (1, 1, 1)
    start = pl.Synapses.from_overlaps(overlaps(sizes).replace(zu=0.3, vm=0.3)).on_neurons(N)
    drifts, moved = [], []
    for rate in (0.02, 0.01):
        epochs = round(1 / rate)
        t = pl.train_network(start, FILTER, pl.GradientDescent(rate), epochs, every=epochs)
        drifts.append(t.drift)
        moved.append(np.linalg.norm(t.final.w - start.w))
    assert 1.8 < drifts[0] / drifts[1] < 2.2  # of first order in the rate
    assert drifts[1] < 0.1 * moved[1]


def test_noise_on_synapses_moves_inputs_of_neurons_alike_for_every_n():
    """By synaptic_noise times the root mean square of the rates, through W as through M."""
    sizes, sd = (1, 1, 1), 0.3
    task = a_task(sizes)
    for n in (100, 400):
        start = pl.SynapticNetwork.from_loadings(overlaps(sizes).loadings(n))
        # rates too small to count: the step is the noise
        for more in ({}, {"pathway_rates": {"m": 0.0}}):
            rule = pl.GradientDescent(1e-12, synaptic_noise=sd, **more)
            end = pl.train_network(start, task, rule, 1).final
            rates = np.random.default_rng(0).normal(size=n)
            rates *= np.sqrt(n) / np.linalg.norm(rates)
            change = (end.w - start.w) @ rates
            assert np.std(change) == pytest.approx(sd, rel=4 / np.sqrt(2 * n))
            moved = np.std(end.m - start.m)
            assert moved == pytest.approx(0.0 if more else sd, rel=4 / np.sqrt(2 * n), abs=1e-9)
            assert np.std(end.z - start.z) == pytest.approx(sd, rel=4 / np.sqrt(2 * n))


def test_noise_on_synapses_is_not_averaged_away_by_many_neurons():
    """Why it has no closed form in the span: it speeds learning alike in 60 and 180 neurons."""
    start, task = pl.Overlaps(np.eye(4)).replace(zu=0.1, vm=0.1, zm=0.1), pl.Filter(
        duration=3.0, dt=0.1)  # fmt: skip
    rate, sd, epochs = 5e-3, 0.03, 150
    noisy = pl.GradientDescent(rate, synaptic_noise=sd)
    how = {"learns": "synapses", "every": epochs}
    clean = pl.learn(start, task, pl.GradientDescent(rate), epochs, **how)
    ends, lengths = {}, {}
    for n, seeds in ((60, 10), (180, 5)):  # few neurons scatter more
        runs = [
            pl.train_network(start.loadings(n, seed), task, noisy, epochs, seed=seed, **how)
            for seed in range(seeds)
        ]
        ends[n] = np.array([run.losses[-1] for run in runs]) / clean.losses[-1]
        lengths[n] = np.mean([np.sum((r.final.w @ r.final.m) ** 2) / n for r in runs])
    for end in ends.values():
        assert end.mean() < 0.8
    error = np.hypot(*(end.std(ddof=1) / np.sqrt(len(end)) for end in ends.values()))
    assert abs(ends[60].mean() - ends[180].mean()) < 4 * error
    # |W m|^2 is longer than without, by about what the noise alone makes of m: 150 sigma^2 |m|^2
    first = float(np.sum((clean.final.w @ clean.final.m) ** 2))
    for length in lengths.values():
        assert 0.5 < (length - first) / (epochs * sd**2) < 2.5


def test_learning_stops_where_it_is_told_and_says_where_it_failed():
    sizes = (1, 1, 1)
    task, start = a_task(sizes), overlaps(sizes).loadings(N)
    t = pl.train_network(start, task, pl.GradientDescent(0.1), 300, learns="synapses", every=7)
    goal = (t.losses[0] + t.losses[-1]) / 2
    stopped = pl.train_network(
        start, task, pl.GradientDescent(0.1), 300, learns="synapses", every=7, stop_at=goal
    )
    end = int(np.argmax(t.losses <= goal))
    assert 0 < end == stopped.epochs[-1] == len(stopped.losses) - 1
    assert len(stopped.quantities) == len(stopped.epochs) == len(stopped.alignment)
    with pytest.raises(DivergenceError, match="smaller rate"):
        pl.train_network(start, task, pl.GradientDescent(1e3), 300, learns="synapses")


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda n, o, t: pl.train_network(o, t, pl.Adam(0.1), 5, learns="synapses"), "Adam"),
        (lambda n, o, t: pl.train_network(n, t, pl.GradientFlow(), 5), "GradientFlow"),
        (
            lambda n, o, t: pl.train_network(n, t, pl.GradientDescent(0.1), 5, learns="factors"),
            "Loadings",
        ),
        (lambda n, o, t: pl.train_network(o, t, pl.RFLO(0.1), 5, learns="both"), "learns"),
        (lambda n, o, t: pl.train_network(3, t, pl.RFLO(0.1), 5), "SynapticNetwork"),
        (
            lambda n, o, t: pl.train_network(
                n, t, pl.GradientDescent(0.1, pathway_rates={"u": 1.0}), 5
            ),
            "m, w, z",
        ),
        (
            lambda n, o, t: pl.train_network(o, t, pl.RFLO(0.1, pathway_rates={"w": 1.0}), 5),
            "m, u, v, z",
        ),
        (
            lambda n, o, t: pl.train_network(o, t, pl.RFLO(0.1), 5, feedback=np.ones((3, 1))),
            "feedback",
        ),
        (
            lambda n, o, t: pl.train_network(n, t, pl.RFLO(0.1), 5, feedback=np.ones((N, 1))),
            "its own",
        ),
        (
            lambda n, o, t: pl.train_network(
                o, t, pl.GradientDescent(0.1), 5, feedback=np.ones((N, 1))
            ),
            "FeedbackAlignment",
        ),
        (
            lambda n, o, t: pl.train_network(o, a_task((2, 1, 1)), pl.RFLO(0.1), 5),
            "2 input(s)",
        ),
        (lambda n, o, t: pl.train_network(o, t, pl.RFLO(0.1, pl.Feedback(np.eye(2))), 5), "1 x 1"),
        (lambda n, o, t: pl.learn(overlaps((1, 1, 1)), t, pl.NodePerturbation(0.1), 5), "train_n"),
        (lambda n, o, t: pl.NodePerturbation(0.1, noise=0.0), "noise"),
        (lambda n, o, t: pl.NodePerturbation(0.1, momentum=1.0), "momentum"),
        (
            lambda n, o, t: pl.node_perturbation_step(o, t.sample(), 0.1, 0.1, 50),
            "Synapses",
        ),
        (
            lambda n, o, t: pl.node_perturbation_step(
                pl.Synapses.from_overlaps(overlaps((1, 1, 1))), t.sample(), 0.1, 0.1, 3
            ),
            "n_neurons",
        ),
    ],
)
def test_wrong_settings_are_one_message(call, said):
    loadings = overlaps((1, 1, 1)).loadings(N)
    network = pl.SynapticNetwork.from_loadings(loadings, np.ones((N, 1)))
    with pytest.raises(InputError) as caught:
        call(network, loadings, a_task((1, 1, 1)))
    assert said in str(caught.value)
    assert len(str(caught.value)) < 500


def test_an_unstable_loop_is_named():
    sizes = (1, 1, 1)
    start = overlaps(sizes).replace(zm=0.8).loadings(N)
    world = pl.LinearWorld([[1.0]], [[0.5]], [[3.0]])
    for learns in ("synapses", "factors"):
        with pytest.raises(InputError, match=r"unstable before learning.*a bin"):
            pl.train_network(
                start, a_task(sizes, world), pl.GradientDescent(0.01), 5, learns=learns
            )
