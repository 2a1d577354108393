"""The fourth-order closure: exact limits, derivatives, and the neurons that it stands for."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from conftest import random_overlaps

import predictlearn as pl
from predictlearn.network.kernels import network_loss_and_gradient
from predictlearn.theory.activity import NO_NOISE, Batch
from predictlearn.theory.kernels.fourth_order import move_kernel
from predictlearn.theory.learning import fourth_order as hermite
from predictlearn.theory.learning.fourth_order import _Evaluation, _Indices
from predictlearn.theory.nonlinearity import network_phi

FLIP = pl.FlipFlop(wait=(1.0, 2.0), input_amplitude=2.0, duration=8.0, dt=0.1, trials=4).freeze(0)
START = pl.Overlaps(np.eye(4)).replace(zm=0.1, zu=0.1, vm=0.1, vu=0.1)
SHAPES = [(1, 1, 1), (2, 1, 1), (1, 2, 1), (2, 2, 2)]
ERF = np.pi / 2


def task_for(shape, trials=3, seed=0):
    """Return fixed trials with random inputs and targets."""
    rng = np.random.default_rng(seed)
    n_in, _, n_out = shape
    targets = rng.normal(size=(trials, 30, n_out))
    weights = rng.uniform(0.0, 1.0, size=targets.shape) / targets.size
    return pl.ArrayTask(2 * rng.normal(size=(trials, 30, n_in)), targets, weights, 0.1)


def random_cumulants(dim, seed, size=0.3):
    """Return a random symmetric tensor of four indices."""
    raw = size * np.random.default_rng(seed).normal(size=(dim,) * 4)
    return sum(raw.transpose(order) for order in itertools.permutations(range(4))) / 24


def evaluate(matrix, cumulants, task, shape, curve=ERF):
    """Return the loss, A and T as a full tensor."""
    matrix = matrix.copy()  # numba would compile all loops again for what cannot be written to
    indices = _Indices(*shape)
    run = _Evaluation(indices, shape, curve)
    ready = Batch(task.sample(np.random.default_rng(0)), "erf", 1.0)
    loss = run(matrix, cumulants, ready, NO_NOISE)
    full = np.zeros(cumulants.shape)
    indices.spread(run.force, full)
    return loss, run.gradient, full


@pytest.mark.parametrize("shape", SHAPES)
def test_gaussian_loadings_have_the_loss_and_derivative_of_the_closure(shape):
    overlaps, task = random_overlaps(1, *shape), task_for(shape)
    zero = np.zeros((overlaps.dim,) * 4)
    loss, a, _ = evaluate(overlaps.matrix, zero, task, shape)
    expected = pl.loss_and_derivative(overlaps, task.sample(np.random.default_rng(0)), "erf")
    assert loss == pytest.approx(expected[0], rel=1e-13)
    np.testing.assert_allclose(a, expected[1], atol=1e-13)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_and_t_are_the_derivatives_of_the_loss(shape):
    overlaps, task = random_overlaps(2, *shape), task_for(shape)
    cumulants, dim, step = random_cumulants(overlaps.dim, 3), overlaps.dim, 1e-5
    _, a, force = evaluate(overlaps.matrix, cumulants, task, shape)

    def slope(of_matrix, of_cumulants):
        ends = (
            evaluate(
                overlaps.matrix + sign * step * of_matrix,
                cumulants + sign * step * of_cumulants,
                task,
                shape,
            )[0]
            for sign in (1, -1)
        )
        return (next(ends) - next(ends)) / (2 * step)

    rng = np.random.default_rng(4)
    for seed in range(3):
        raw = rng.normal(size=(dim, dim))
        change = raw + raw.T
        # a pair counts as one variable, the diagonal twice
        expected = np.sum(a * change) / 2
        assert slope(change, 0 * cumulants) == pytest.approx(expected, rel=1e-6)
        change = random_cumulants(dim, 10 + seed, 1.0)
        expected = np.sum(force * change) / 24
        assert slope(0 * overlaps.matrix, change) == pytest.approx(expected, rel=1e-6)


def test_blocks_of_trials_and_the_loops_for_rank_one_agree_with_the_general_ones():
    """A second input that is silent and has no loadings leaves rank one, in the general loops."""
    shape, wide = (1, 1, 1), (2, 1, 1)
    overlaps, cumulants = random_overlaps(5, *shape), random_cumulants(4, 6)
    task = task_for(shape, trials=150)
    trials = task.sample(np.random.default_rng(0))
    two = np.concatenate([trials.inputs, np.zeros_like(trials.inputs)], axis=2)
    wider = pl.ArrayTask(two, trials.targets, trials.weights, trials.dt)
    keep = np.array([0, 2, 3, 4])
    matrix, tensor = np.zeros((5, 5)), np.zeros((5,) * 4)
    matrix[np.ix_(keep, keep)] = overlaps.matrix
    tensor[np.ix_(keep, keep, keep, keep)] = cumulants
    loss, a, force = evaluate(overlaps.matrix, cumulants, task, shape)
    loss_wide, a_wide, force_wide = evaluate(matrix, tensor, wider, wide)
    assert loss == pytest.approx(loss_wide, rel=1e-12)
    np.testing.assert_allclose(a, a_wide[np.ix_(keep, keep)], atol=1e-13)
    np.testing.assert_allclose(force, force_wide[np.ix_(keep, keep, keep, keep)], atol=1e-13)


@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 1, 1)])
def test_one_step_makes_the_fourth_cumulants_that_neurons_get(shape):
    """Against neurons at the nodes of a fine rule, moved by their own exact gradient."""
    overlaps, task, rate = random_overlaps(7, *shape), task_for(shape), 1e-4
    _, a, force = evaluate(overlaps.matrix, np.zeros((overlaps.dim,) * 4), task, shape)
    s, kappa = overlaps.matrix.copy(), np.zeros_like(force)
    move_kernel(s, kappa, a, force, rate, 0.0, np.ones(overlaps.dim))

    particles = pl.gaussian_particles(overlaps, points=16)
    theta, w = np.ascontiguousarray(particles.loadings.stacked.T), particles.weights
    scaled = theta.copy()
    drive = slice(0, shape[0] + shape[1])
    scaled[drive.stop :] *= w * len(w)
    ready = Batch(task.sample(np.random.default_rng(0)), "erf", 1.0)
    gradient = np.empty_like(theta)
    scratch = np.empty((2, ready.k_m.shape[0], len(w)))
    network_loss_and_gradient(
        scaled,
        tuple(shape),
        network_phi("erf"),
        ready.shown(),
        scratch,
        gradient,
    )
    gradient[drive] /= w * len(w)
    moved = theta - rate * gradient
    second = (moved * w) @ moved.T
    fourth = np.einsum("n,an,bn,cn,dn->abcd", w, *[moved] * 4, optimize=True)
    for one, two in (("ab", "cd"), ("ac", "bd"), ("ad", "bc")):
        fourth -= np.einsum(f"{one},{two}->abcd", second, second)
    assert np.abs(fourth).max() > 1e-6
    np.testing.assert_allclose(kappa / rate, fourth / rate, atol=0.01 * np.abs(fourth).max() / rate)
    assert np.abs(s - second).max() < 0.01 * np.abs(second - overlaps.matrix).max()


@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 2, 1)])
def test_linear_networks_learn_as_by_the_overlaps_alone(shape):
    task = task_for(shape)
    rule = pl.GradientDescent(
        0.05,
        pathway_rates={"z": 0.5},
        weight_decay=0.1,
        synaptic_noise=0.01,
        target_noise=0.2,
        minibatch=2,
        schedule=pl.RateDecay(50.0),
    )
    overlaps = random_overlaps(8, *shape)
    ours = pl.learn_fourth_order(overlaps, task, rule, 60, "linear", seed=3, every=7)
    theirs = pl.learn(overlaps, task, rule, 60, "linear", seed=3, every=7)
    np.testing.assert_allclose(ours.array, theirs.array, atol=1e-12)
    np.testing.assert_allclose(ours.losses, theirs.losses, atol=1e-12)
    assert np.array_equal(ours.epochs, theirs.epochs)
    assert np.abs(ours.cumulants).max() == 0.0


@pytest.mark.parametrize(
    ("task", "rate", "epochs", "better"),
    [
        (FLIP, 0.05, 400, 4),
        (pl.Filter(duration=8.0, dt=0.1), 5e-3, 600, 5),
        (pl.Teacher(duration=8.0, dt=0.1, trials=4).freeze(0), 2e-3, 400, 3),
    ],
    ids=["flip-flop", "filter", "teacher"],
)
def test_the_fourth_order_is_nearer_to_the_mean_field(task, rate, epochs, better):
    rule = pl.GradientDescent(rate)
    field = pl.learn_mean_field(START, task, rule, epochs, every=20, points=8)
    errors = [
        np.abs(level(START, task, rule, epochs, "erf", every=20).array - field.array).max()
        for level in (pl.learn, pl.learn_fourth_order)
    ]
    assert errors[0] > 0.02
    assert errors[1] < errors[0] / better
    ours = pl.learn_fourth_order(START, task, rule, epochs).kurtosis.iloc[-1]
    # its excess kurtosis is too large, by up to about a half
    assert (ours / field.kurtosis.iloc[-1]).between(0.95, 1.7).all()
    assert (ours < 0).all()


def test_a_rotation_of_u_and_v_does_not_matter():
    """U -> U Q, V -> V Q changes no activity and commutes with learning."""
    overlaps, task = random_overlaps(9, 1, 2, 1), task_for((1, 2, 1))
    angle = 0.7
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    q = np.eye(6)
    q[1:3, 1:3] = q[3:5, 3:5] = turn
    rule = pl.GradientDescent(0.3)
    one = pl.learn_fourth_order(overlaps, task, rule, 50)
    turned = pl.Overlaps(q.T @ overlaps.matrix @ q, 1, 2, 1)
    two = pl.learn_fourth_order(turned, task, rule, 50)
    assert np.abs(one.cumulants).max() > 1e-3
    np.testing.assert_allclose(q.T @ one.array @ q, two.array, atol=1e-12)
    np.testing.assert_allclose(one.losses, two.losses, rtol=1e-11)


def test_uu_minus_vv_is_conserved_in_the_limit_of_small_steps():
    drifts = []
    for rate, epochs in ((0.05, 200), (0.005, 2000)):
        t = pl.learn_fourth_order(START, FLIP, pl.GradientDescent(rate), epochs)
        gap = t.overlaps["uu"] - t.overlaps["vv"]
        drifts.append(np.abs(gap - gap.iloc[0]).max())
    assert np.abs(t.overlaps["uu"] - 1).max() > 0.1
    assert drifts[1] < 0.2 * drifts[0]


def test_phases_can_be_chained_by_their_cumulants():
    rule = pl.GradientDescent(0.05)
    whole = pl.learn_fourth_order(START, FLIP, rule, 200)
    half = pl.learn_fourth_order(START, FLIP, rule, 100)
    rest = pl.learn_fourth_order(half.final, FLIP, rule, 100, cumulants=half.cumulants)
    np.testing.assert_allclose(rest.array[-1], whole.array[-1], atol=1e-13)
    forgot = pl.learn_fourth_order(half.final, FLIP, rule, 100)
    assert np.abs(forgot.array[-1] - whole.array[-1]).max() > 1e-5


def test_rates_of_pathways_noise_and_schedules_are_those_of_a_network():
    """A frozen pathway keeps its overlaps; noise on targets is the one that `learn` draws."""
    rule = pl.GradientDescent(0.05, pathway_rates={"z": 0.0}, schedule=pl.RateDrop(2.0, 0.9))
    t = pl.learn_fourth_order(START, FLIP, rule, 150)
    assert np.abs(t.overlaps["zz"] - 1).max() == 0.0
    assert t.cumulants[3, 3, 3, 3] == 0.0
    assert t.cumulants[0, 0, 0, 0] < 0
    noisy = pl.GradientDescent(0.05, target_noise=0.5)
    ours = pl.learn_fourth_order(START, FLIP, noisy, 20, seed=5)
    closure = pl.learn(START, FLIP, noisy, 20, "erf", seed=5)
    clean = pl.learn(START, FLIP, pl.GradientDescent(0.05), 20, "erf")
    gap = np.abs(ours.array - closure.array).max()
    assert gap < 0.05 * np.abs(closure.array - clean.array).max()


def test_names_of_the_loadings():
    t = pl.learn_fourth_order(
        random_overlaps(1, 1, 2, 1), task_for((1, 2, 1)), pl.GradientDescent(0.1), 3
    )
    assert list(t.kurtosis.columns) == ["m", "u1", "u2", "v1", "v2", "z"]
    assert list(t.kurtosis.index) == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rule": pl.GradientDescent(0.1, momentum=0.5)}, "no momentum.*learn_mean_field"),
        ({"rule": pl.GradientFlow()}, "must be a GradientDescent.*GradientFlow"),
        ({"nonlinearity": "tanh"}, "nonlinearity must be one of"),
        ({"epochs": 0}, "epochs must be a whole number of at least 1"),
        ({"every": 0}, "every must be"),
        ({"cumulants": np.zeros((4, 4))}, "cumulants must"),
        ({"cumulants": np.arange(256.0).reshape((4,) * 4)}, "symmetric in all four indices"),
        ({"task": task_for((2, 1, 1))}, "2 input"),
    ],
)
def test_bad_input_is_refused(change, message):
    arguments = {"task": FLIP, "rule": pl.GradientDescent(0.1), "epochs": 2, **change}
    with pytest.raises(pl.InputError, match=message):
        pl.learn_fourth_order(START, **arguments)


def test_learning_that_runs_away_is_stopped():
    with pytest.raises(pl.DivergenceError, match="diverged"):
        pl.learn_fourth_order(START, FLIP, pl.GradientDescent(1e3), 500)
    with pytest.raises(pl.DivergenceError, match="no network has at epoch 7"):
        hermite._check_realisable(np.diag([1.0, -0.1]), 7)
