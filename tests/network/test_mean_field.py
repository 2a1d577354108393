"""The mean field by a few well-placed neurons."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import random_overlaps

import predictlearn as pl
from predictlearn.network.mean_field import fitting_points
from predictlearn.theory.loadings import particles_of

pytestmark = pytest.mark.quick

FLIP = pl.FlipFlop(wait=(1.0, 2.0), input_amplitude=2.0, duration=8.0, dt=0.1, trials=4).freeze(0)
START = pl.Overlaps(np.eye(4)).replace(zm=0.1, zu=0.1, vm=0.1, vu=0.1)
RULE = pl.GradientDescent(0.05)


def weighted(particles, values):
    return np.sum(particles.weights * values)


@pytest.mark.parametrize("points", [3, 4, 5, 6])
def test_particles_have_the_overlaps_and_the_moments_of_gaussians(points):
    overlaps = random_overlaps(0, 1, 1, 1)
    particles = pl.gaussian_particles(overlaps, points)
    np.testing.assert_allclose(particles.overlaps().matrix, overlaps.matrix, atol=1e-12)
    theta = particles.loadings.stacked
    s = overlaps.matrix
    for i, j in ((0, 0), (0, 1), (2, 3), (1, 2)):
        fourth = weighted(particles, theta[:, i] ** 2 * theta[:, j] ** 2)
        assert fourth == pytest.approx(s[i, i] * s[j, j] + 2 * s[i, j] ** 2, rel=1e-10)
    # along m and u to degree 2 points - 1
    power = 2 * points - 2
    expected = np.prod(np.arange(1, power, 2)) * s[1, 1] ** (power / 2)
    assert weighted(particles, theta[:, 1] ** power) == pytest.approx(expected, rel=1e-9)
    assert particles.weights.sum() <= 1 + 1e-12


def test_no_particle_is_the_mirror_image_of_another():
    theta = pl.gaussian_particles(START, 5).loadings.stacked
    rows = {tuple(row) for row in np.round(theta, 9)}
    assert not rows & {tuple(-np.array(row)) for row in rows}
    assert len(rows) == len(theta) == 112


def test_singular_overlaps_have_particles():
    flat = pl.Overlaps(np.ones((4, 4)))
    particles = pl.gaussian_particles(flat, 4)
    np.testing.assert_allclose(particles.overlaps().matrix, np.ones((4, 4)), atol=1e-7)


def test_the_default_number_of_points_keeps_particles_few():
    assert fitting_points((1, 1, 1)) == 6
    assert fitting_points((1, 2, 1)) == 4
    assert fitting_points((2, 3, 2)) == 3
    assert pl.gaussian_particles(random_overlaps(0, 1, 2, 1)).loadings.n_neurons == 864


@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 1, 1), (1, 2, 1)])
def test_linear_networks_learn_as_by_the_overlaps_alone(shape):
    overlaps = random_overlaps(1, *shape)
    rng = np.random.default_rng(0)
    targets = rng.normal(size=(4, 30, shape[2]))
    task = pl.ArrayTask(
        rng.normal(size=(4, 30, shape[0])), targets, np.full(targets.shape, 1 / targets.size), 0.1
    )
    rule = pl.GradientDescent(
        0.05,
        pathway_rates={"u": 0.5},
        momentum=0.5,
        weight_decay=0.1,
        target_noise=0.2,
        minibatch=2,
        schedule=pl.RateDrop(3.0, 0.9),
    )
    ours = pl.learn_mean_field(overlaps, task, rule, 60, "linear", seed=3, every=7, points=3)
    theirs = pl.learn(overlaps, task, rule, 60, "linear", seed=3, every=7)
    np.testing.assert_allclose(ours.array, theirs.array, atol=1e-11)
    np.testing.assert_allclose(ours.losses, theirs.losses, atol=1e-11)


@pytest.mark.parametrize("nonlinearity", ["erf", "tanh"])
def test_equal_weights_are_an_ordinary_network(nonlinearity):
    loadings = START.loadings(40, seed=0)
    rule = pl.GradientDescent(0.05, momentum=0.3)
    network = pl.train_network(loadings, FLIP, rule, 30, nonlinearity, seed=1, every=4)
    field = pl.learn_mean_field(
        pl.Particles(loadings, np.full(40, 1 / 40)), FLIP, rule, 30, nonlinearity, seed=1, every=4
    )
    np.testing.assert_allclose(field.array, network.array, atol=1e-12)
    np.testing.assert_allclose(field.losses, network.losses, rtol=1e-12)
    np.testing.assert_allclose(
        field.particles.loadings.stacked, network.loadings.stacked, atol=1e-12
    )
    final = network.loadings.stacked
    expected = (final**4).mean(axis=0) / (final**2).mean(axis=0) ** 2 - 3
    np.testing.assert_allclose(field.kurtosis.iloc[-1], expected, atol=1e-12)


def test_a_neuron_and_its_mirror_image_are_the_same_to_the_field():
    particles = pl.gaussian_particles(START, 3)
    signs = np.where(np.random.default_rng(0).random(40) < 0.5, -1.0, 1.0)[:, None]
    turned = pl.Particles(
        type(particles.loadings)(*(signs * getattr(particles.loadings, p) for p in "muvz")),
        particles.weights,
    )
    one, two = (pl.learn_mean_field(p, FLIP, RULE, 40) for p in (particles, turned))
    np.testing.assert_allclose(one.array, two.array, atol=1e-12)


def test_the_error_falls_fast_with_the_points():
    """Against a finer rule: a few hundred product points beat thousands of Sobol points."""
    best = pl.learn_mean_field(START, FLIP, RULE, 250, every=50, points=12)

    def error(trajectory):
        return np.abs(trajectory.array - best.array).max()

    errors = [
        error(pl.learn_mean_field(START, FLIP, RULE, 250, every=50, points=p)) for p in (4, 6, 8)
    ]
    assert errors[1] < errors[0] / 3
    assert errors[2] < errors[1] / 3
    sobol = particles_of(START.matrix, START.sizes, 2048, np.random.SeedSequence(0))
    assert errors[1] < error(pl.train_network(sobol, FLIP, RULE, 250, "erf", every=50)) / 2


def test_phases_can_be_chained_by_their_particles():
    whole = pl.learn_mean_field(START, FLIP, RULE, 60, points=4)
    half = pl.learn_mean_field(START, FLIP, RULE, 30, points=4)
    rest = pl.learn_mean_field(half.particles, FLIP, RULE, 30)
    np.testing.assert_allclose(rest.array[-1], whole.array[-1], atol=1e-13)
    np.testing.assert_allclose(half.particles.overlaps().matrix, half.final.matrix, atol=1e-13)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rule": pl.GradientDescent(0.1, synaptic_noise=0.1)}, "no synaptic_noise.*train_network"),
        ({"rule": pl.Adam(0.1)}, "must be a GradientDescent.*Adam"),
        ({"nonlinearity": "tan"}, "nonlinearity must be one of"),
        ({"epochs": 0}, "epochs must be a whole number of at least 1"),
        ({"points": 2}, "points must be a whole number of at least 3"),
        ({"points": 60}, "at most 200,000 particles; 60 points an axis lead to 1,620,000"),
        ({"start": pl.Overlaps(np.eye(5), n_in=2)}, "2"),
        ({"start": np.eye(4)}, "overlaps must be an Overlaps"),
    ],
)
def test_bad_input_is_refused(change, message):
    arguments = {"start": START, "task": FLIP, "rule": RULE, "epochs": 2, **change}
    with pytest.raises(pl.InputError, match=message):
        pl.learn_mean_field(**arguments)


def test_bad_particles_are_refused():
    loadings = START.loadings(10)
    with pytest.raises(pl.InputError, match="weights must be positive"):
        pl.Particles(loadings, np.zeros(10))
    with pytest.raises(pl.InputError, match="add up to at most 1"):
        pl.Particles(loadings, np.ones(10))
    with pytest.raises(pl.InputError, match="weights must"):
        pl.Particles(loadings, np.ones(9) / 9)
    with pytest.raises(pl.InputError, match="must be a Loadings"):
        pl.Particles(np.eye(4), np.ones(4) / 4)
    with pytest.raises(pl.InputError, match="points must not be given"):
        pl.learn_mean_field(pl.gaussian_particles(START), FLIP, RULE, 2, points=6)


def test_learning_that_runs_away_is_stopped():
    with pytest.raises(pl.DivergenceError, match="diverged"):
        pl.learn_mean_field(START, FLIP, pl.GradientDescent(1e4), 500, "linear", points=3)
