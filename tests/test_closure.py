"""Three levels of the theory: Gaussian closure, mean field of particles, finite networks."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import random_overlaps
from scipy import stats

import predictlearn as pl
from predictlearn.theory.loadings import particles_of

TASK = pl.FlipFlop(wait=(1.0, 2.0), input_amplitude=2.0, duration=8.0, dt=0.1, trials=4).freeze(0)
RULE = pl.GradientDescent(0.02)
START = pl.Overlaps(np.eye(4)).replace(zm=0.1, zu=0.3, vm=0.4, vu=0.5, mu=0.2)


def test_particles_have_exactly_the_overlaps_and_are_gaussian():
    overlaps = random_overlaps(0, 1, 2, 1)
    particles = particles_of(overlaps.matrix, overlaps.sizes, 1024, np.random.SeedSequence(1))
    np.testing.assert_allclose(particles.overlaps().matrix, overlaps.matrix, atol=1e-12)
    drawn = overlaps.loadings(1024, seed=1)

    def distance(loadings):
        u = loadings.u[:, 0] / loadings.u[:, 0].std()
        return stats.kstest(u, "norm").statistic

    assert distance(particles) < 0.6 * distance(drawn)


def test_linear_networks_have_no_closure_error():
    result = pl.closure_error(
        START, TASK, RULE, 40, nonlinearity="linear", n_particles=64, n_neurons=(50,)
    )
    assert (result.summary["largest"] < 1e-12).all()


def test_finite_networks_approach_the_mean_field_like_one_over_root_n():
    draws = 16
    sizes = (100,) * draws + (1600,) * draws
    result = pl.closure_error(START, TASK, RULE, 80, n_particles=2048, n_neurons=sizes, every=10)
    largest = result.summary["largest"]
    small, large = (
        np.sqrt(np.mean([largest[f"N = {n}, draw {k + 1}"] ** 2 for k in range(draws)]))
        for n in (100, 1600)
    )
    assert 2.5 < small / large < 6.5  # 4 for an error like 1 / sqrt(N)
    assert result.table.groupby("level").size().eq(9).all()
    start = result.table[result.table["epoch"] == 0]
    assert (start["overlaps"] < 1e-12).all()


def test_the_mean_field_does_not_depend_on_its_particles():
    """Two sets of particles agree better with each other than with the closure."""
    one, two = (
        pl.closure_error(START, TASK, RULE, 150, n_particles=1024, seed=s, every=150).summary
        for s in (0, 1)
    )
    assert one.loc["closure", "largest"] == pytest.approx(two.loc["closure", "largest"], rel=0.25)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_particles": 1000}, "power of two.*nearest is 1024"),
        ({"n_neurons": (2,)}, "n_neurons must be a whole number of at least 4"),
        ({"nonlinearity": "tanh"}, "nonlinearity must be one of"),
        ({"seed": -1}, "seed must be"),
    ],
)
def test_bad_input_is_refused(change, message):
    with pytest.raises(pl.InputError, match=message):
        pl.closure_error(START, TASK, RULE, 2, **change)
