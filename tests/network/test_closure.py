"""Three levels of the theory: Gaussian closure, mean field of particles, finite networks."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest
from conftest import random_overlaps
from scipy import stats

import predictlearn as pl
from predictlearn.network.closure import ClosureError, _compared, distance_to_course
from predictlearn.theory.loadings import particles_of

TASK = pl.FlipFlop(wait=(1.0, 2.0), input_amplitude=2.0, duration=8.0, dt=0.1, trials=4).freeze(0)
RULE = pl.GradientDescent(0.02)
START = pl.Overlaps(np.eye(4)).replace(zm=0.1, zu=0.3, vm=0.4, vu=0.5, mu=0.2)


def test_particles_have_exactly_the_overlaps_and_are_gaussian():
    overlaps = random_overlaps(0, 1, 2, 1)
    particles = particles_of(overlaps.matrix, overlaps.sizes, 1024, np.random.SeedSequence(1))
    np.testing.assert_allclose(
        pl.Overlaps.from_loadings(particles).matrix, overlaps.matrix, atol=1e-12
    )
    drawn = overlaps.loadings(1024, seed=1)

    def distance(loadings):
        u = loadings.u[:, 0] / loadings.u[:, 0].std()
        return stats.kstest(u, "norm").statistic

    assert distance(particles) < 0.6 * distance(drawn)


def test_linear_networks_have_no_closure_error():
    result = pl.closure_error(
        START, TASK, RULE, 40, nonlinearity="linear", n_particles=64, n_neurons=(50,)
    )
    assert list(result.summary.index) == ["closure", "fourth order", "particles", "N = 50"]
    assert (result.summary[["largest", "path"]] < 1e-12).all(axis=None)
    assert "exact" in result.verdict


# the same law for activity is in test_populations.py
@pytest.mark.slow
def test_finite_networks_approach_the_mean_field_like_one_over_root_n():
    draws = 16
    sizes = (100,) * draws + (1600,) * draws
    result = pl.closure_error(START, TASK, RULE, 80, n_neurons=sizes, every=10)
    for column in ("largest", "path"):
        error = result.summary[column]
        small, large = (
            np.sqrt(np.mean([error[f"N = {n}, draw {k + 1}"] ** 2 for k in range(draws)]))
            for n in (100, 1600)
        )
        assert 2.5 < small / large < 6.5  # 4 for an error like 1 / sqrt(N)
    assert result.table.groupby("level").size().eq(9).all()
    start = result.table[result.table["epoch"] == 0]
    assert (start["overlaps"] < 1e-12).all()


# that the points of the rule are enough is in test_mean_field.py
@pytest.mark.slow
def test_the_mean_field_does_not_depend_on_its_particles():
    """Sobol points and a product rule agree far better than either does with the closure."""
    rule = pl.GradientDescent(0.05)
    sobol, product = (
        pl.closure_error(START, TASK, rule, 300, n_particles=n, every=100) for n in (2048, None)
    )
    apart = np.abs(sobol.field.array - product.field.array).max()
    assert apart < 0.2 * product.summary.loc["closure", "largest"]
    assert sobol.summary.loc["particles", "largest"] < 0.3 * sobol.summary.loc["closure", "largest"]
    assert (
        product.summary.loc["particles", "largest"]
        < 0.1 * (product.summary.loc["closure", "largest"])
    )


def test_distance_to_course_separates_timing_from_the_path():
    course = pl.learn(START, TASK, RULE, 120, "erf")
    # the same course, sampled between its rows, later
    late = (course.array[10:60] + course.array[11:61]) / 2
    distance, when = distance_to_course(late, course)
    assert distance.max() < 1e-12
    np.testing.assert_allclose(when, np.arange(10, 60) + 0.5, atol=1e-9)
    off = course.array.copy()
    off[:, 3, 3] += 0.5
    distance, when = distance_to_course(off, course)
    assert 0.2 < distance.min() <= distance.max() <= 0.5
    kept = pl.learn(START, TASK, RULE, 120, "erf", every=40)
    _, when = distance_to_course(course.array[[20, 60]], kept)
    np.testing.assert_allclose(when, [20, 60], atol=4)


def test_a_slower_course_is_late_but_on_the_same_path():
    result = pl.closure_error(START, TASK, RULE, 200, nonlinearity="linear", n_particles=64)
    slow = pl.learn(START, TASK, pl.GradientDescent(0.0198), 200)
    gap = np.abs(slow.array - result.field.array).max()
    distance, _ = distance_to_course(slow.array, result.field)
    assert distance.max() < 0.02 * gap
    _, row = _compared(slow, result.field)
    assert 0.2 < row["later"] < 0.4  # 1% of the 28 epochs that it takes to get half-way
    assert row["path"] < 0.02 * row["largest"]


def verdict_of(closure, path, later, known, moved=1.0, fourth=None):
    """Return the verdict on made-up distances."""
    field = pl.learn(START, TASK, RULE, 1)
    array = field.array.copy()
    array[-1] = array[0]
    array[-1, 0, 0] += moved
    summary = pd.DataFrame(
        {
            "largest": [closure, known, fourth or 0.0],
            "path": [path, 0.0, 0.0],
            "later": [later, 0.0, 0.0],
        },
        index=["closure", "particles", "fourth order"],
    )
    moved_field = dataclasses.replace(field, array=array)
    return ClosureError(
        pd.DataFrame(), summary, field, moved_field, {}, None if fourth is None else field
    ).verdict


def test_the_verdict_says_how_far_to_trust_the_equations():
    small = verdict_of(0.01, 0.009, 0.0, 1e-4)
    assert "1.0% of the largest change" in small
    assert "can be trusted" in small
    assert "not a matter of timing" in small
    late = verdict_of(0.05, 0.01, 3.2, 1e-4, fourth=0.004)
    assert "timing (3 epochs too late)" in late
    assert "not the second digit" in late
    assert late.endswith("(learn_fourth_order) the difference is 0.004.")
    assert "timing:" in verdict_of(0.05, 0.01, 0.1, 1e-4)
    assert "too early" in verdict_of(0.05, 0.01, -2.0, 1e-4)
    assert "Do not trust single overlaps" in verdict_of(0.3, 0.3, 0.0, 1e-4)
    assert "take more particles" in verdict_of(0.01, 0.01, 0.0, 0.005)
    assert "exact" in verdict_of(1e-13, 0.0, 0.0, 1e-14)


def test_rules_that_a_level_does_not_have_leave_it_out():
    momentum = pl.closure_error(START, TASK, pl.GradientDescent(0.01, momentum=0.5), 5)
    assert "fourth order" not in momentum.summary.index
    assert momentum.fourth_order is None
    noisy = pl.GradientDescent(0.01, synaptic_noise=1e-3)
    result = pl.closure_error(START, TASK, noisy, 5, n_neurons=(50,))
    assert result.settings["particles"] == "1024 Sobol points"
    tanh = pl.closure_error(START, TASK, RULE, 5, nonlinearity="tanh")
    assert list(tanh.summary.index) == ["closure", "particles"]
    assert 0 < tanh.summary.loc["closure", "largest"] < 1e-3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_particles": 1000}, "power of two.*nearest is 1024"),
        ({"n_neurons": (2,)}, "n_neurons must be a whole number of at least 4"),
        ({"nonlinearity": "tan"}, "nonlinearity must be one of"),
        ({"seed": -1}, "seed must be"),
    ],
)
def test_bad_input_is_refused(change, message):
    with pytest.raises(pl.InputError, match=message):
        pl.closure_error(START, TASK, RULE, 2, **change)


def test_in_brief_the_comparison_is_the_same():
    how = {"n_particles": 64, "every": 10}
    whole = pl.closure_error(START, TASK, RULE, 20, **how)
    brief = pl.closure_error(START, TASK, RULE, 20, **how, in_full=False)
    assert list(brief.summary.index) == ["closure"]
    assert brief.fourth_order is None
    pd.testing.assert_series_equal(brief.summary.loc["closure"], whole.summary.loc["closure"])
    np.testing.assert_array_equal(brief.field.array, whole.field.array)
    assert "known" in whole.verdict
    assert "known" not in brief.verdict
    assert brief.verdict.split(". ")[0] == whole.verdict.split(". ")[0]
