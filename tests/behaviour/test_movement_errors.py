"""Errors of movements and progress of a cursor: closed forms against draws and scipy.stats."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import integrate, stats

from predictlearn.behaviour import CursorProgress, Errors, angles_between
from predictlearn.errors import InputError

DRAWS = 400_000


def near(drawn, expected):
    """Whether the mean of draws is within 4.5 standard errors."""
    return abs(drawn.mean() - expected) < 4.5 * drawn.std() / np.sqrt(len(drawn))


def kappa_by_quadrature(sd):
    """Return kappa by bisection on the mean resultant length, integrated numerically."""
    wanted = np.exp(-(np.radians(sd) ** 2) / 2)
    low, high = 1e-8, 1e6
    for _ in range(200):
        kappa = np.sqrt(low * high)
        width = min(np.pi, 40 / np.sqrt(kappa))
        angle = np.linspace(-width, width, 20_001)
        weight = np.exp(kappa * (np.cos(angle) - 1))
        got = integrate.simpson(weight * np.cos(angle), x=angle) / integrate.simpson(
            weight, x=angle
        )
        low, high = (kappa, high) if got < wanted else (low, kappa)
    return kappa


@pytest.mark.parametrize("sd", [0.5, 4.0, 20.0, 60.0, 110.0])
def test_motor_noise_of_angles_is_the_circular_standard_deviation(sd):
    assert Errors(sd).kappa == pytest.approx(kappa_by_quadrature(sd), rel=1e-6)
    drawn = Errors(sd).simulate(np.full(DRAWS, 170.0), np.random.default_rng(0))
    assert np.all((drawn >= -180) & (drawn < 180))
    assert stats.circstd(drawn, high=180, low=-180) == pytest.approx(sd, rel=0.01)


@pytest.mark.parametrize("sd", [2.0, 15.0, 70.0])
@pytest.mark.parametrize("intended", [0.0, -8.0, 95.0, 175.0])
def test_moments_of_angles(sd, intended):
    reach = Errors(sd, bias=3.0)
    kappa = kappa_by_quadrature(sd)
    noise = stats.vonmises(kappa).rvs(DRAWS, random_state=np.random.default_rng(1))
    angle = (intended + 3.0 + np.degrees(noise) + 180) % 360 - 180
    assert near(np.abs(angle), float(reach.mean_absolute(intended)))
    assert near(angle**2, float(reach.mean_square(intended)))
    assert near(np.cos(np.radians(angle)), float(reach.mean_cosine(intended)))
    direction = np.degrees(np.angle(np.mean(np.exp(1j * np.radians(angle)))))
    away = (direction - float(reach.mean(intended)) + 180) % 360 - 180
    assert abs(away) < 4.5 * 1.5 * sd / np.sqrt(DRAWS) + 0.02 * (sd > 60)


def test_narrow_angles_go_over_into_the_normal_distribution():
    for intended in (0.0, 0.1, 179.95):
        wide, narrow = Errors(0.1001), Errors(0.0999)
        for name in ("mean_absolute", "mean_square"):
            one, other = (float(getattr(e, name)(intended)) for e in (wide, narrow))
            # noise itself differs by 0.2%, its square by 0.4%
            assert one == pytest.approx(other, rel=5e-3 if intended < 1 else 3e-6)


def test_likelihood_of_angles_is_that_of_scipy():
    rng = np.random.default_rng(2)
    intended, measured = rng.uniform(-180, 180, (2, 30))
    for sd in (0.3, 5.0, 80.0):
        kappa = kappa_by_quadrature(sd)
        expected = stats.vonmises.logpdf(np.radians(measured - intended), kappa) + np.log(
            np.pi / 180
        )
        found = Errors(sd).log_likelihood(measured, intended)
        assert found == pytest.approx(expected.sum(), rel=1e-5)


def test_densities_of_angles_and_distances_integrate_to_one():
    angles = np.linspace(-180, 180, 361)
    each = [Errors(25.0).log_likelihood([a], [30.0]) for a in angles]
    # of a smooth periodic function trapezia are exact
    assert integrate.trapezoid(np.exp(each), x=angles) == pytest.approx(1.0, abs=1e-9)
    for mean in ([0.5], [0.5, 1.0], [0.0, 0.0], [0.5, -1.0, 0.3]):
        r = np.linspace(0.0, 8.0, 401)
        each = [Errors(0.7, "distance").log_likelihood([x], [mean]) for x in r]
        assert integrate.simpson(np.exp(each), x=r) == pytest.approx(1.0, abs=1e-6)


def test_signed_errors():
    rng = np.random.default_rng(3)
    errors = Errors(2.0, "signed", bias=0.5)
    drawn = errors.simulate(np.full(DRAWS, 1.0), rng)
    by_hand = 1.5 + 2.0 * np.random.default_rng(4).standard_normal(DRAWS)
    assert near(drawn, 1.5)
    assert near(np.abs(by_hand), float(errors.mean_absolute(1.0)))
    assert near(by_hand**2, float(errors.mean_square(1.0)))
    intended, measured = rng.normal(size=(2, 20))
    expected = stats.norm.logpdf(measured, intended + 0.5, 2.0).sum()
    assert errors.log_likelihood(measured, intended) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("n_out", [1, 2, 3, 5])
@pytest.mark.parametrize("size", [0.0, 0.3, 4.0, 60.0])
def test_distances(n_out, size):
    rng = np.random.default_rng(5)
    mean = np.full(n_out, size / np.sqrt(n_out))
    errors = Errors(1.3, "distance")
    by_hand = np.linalg.norm(mean + 1.3 * rng.standard_normal((DRAWS, n_out)), axis=1)
    assert near(by_hand, float(errors.mean(mean)))
    assert near(by_hand**2, float(errors.mean_square(mean)))
    assert near(errors.simulate(np.tile(mean, (DRAWS, 1)), rng), float(errors.mean(mean)))
    measured = by_hand[:20]
    # the squared length over the variance is noncentral chi squared
    expected = (
        stats.ncx2.logpdf((measured / 1.3) ** 2, n_out, (size / 1.3) ** 2)
        if size
        else (stats.chi2.logpdf((measured / 1.3) ** 2, n_out))
    )
    expected = expected + np.log(2 * measured / 1.3**2)
    found = errors.log_likelihood(measured, np.tile(mean, (20, 1)))
    assert found == pytest.approx(expected.sum(), rel=1e-7)


def test_distances_in_the_plane_are_those_of_rice():
    measured = np.array([0.4, 1.0, 5.0])
    expected = stats.rice.logpdf(measured, 2.0 / 0.8, scale=0.8).sum()
    found = Errors(0.8, "distance").log_likelihood(measured, np.tile([2.0, 0.0], (3, 1)))
    assert found == pytest.approx(expected, rel=1e-10)


def test_angles_between_vectors():
    target = np.array([np.cos(0.4), np.sin(0.4)])
    for turn in (-170.0, -10.0, 0.0, 35.0, 180.0):
        angle = 0.4 + np.radians(turn)
        found = angles_between(3.0 * np.array([np.cos(angle), np.sin(angle)]), target)
        assert float(found) == pytest.approx(turn)


def test_cursor_progress():
    rng = np.random.default_rng(6)
    outputs, targets = rng.normal(size=(2, 50, 2))
    cursor = CursorProgress(noise=20.0, gain=80.0)
    expected = np.array([80 * o @ t / np.hypot(*t) for o, t in zip(outputs, targets, strict=True)])
    np.testing.assert_allclose(cursor.mean(outputs, targets), expected)
    drawn = cursor.simulate(np.tile(outputs[:1], (DRAWS, 1)), targets[:1], rng)
    assert near(drawn, expected[0])
    assert drawn.std() == pytest.approx(20.0, rel=0.01)
    measured = expected + rng.normal(size=50)
    found = cursor.log_likelihood(measured, outputs, targets)
    assert found == pytest.approx(stats.norm.logpdf(measured, expected, 20.0).sum(), rel=1e-12)


def test_times_to_target_are_censored_at_the_limit():
    times, reached = CursorProgress(1.0).time_to_target([50, 10, 0, -5], 100.0, limit=7.5)
    assert times.tolist() == [2.0, 7.5, 7.5, 7.5]
    assert reached.tolist() == [True, False, False, False]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Errors(-1.0), "noise must be zero or a positive number"),
        (lambda: Errors(1.0, "angel"), "Did you mean 'angle'"),
        (lambda: Errors(1.0, "distance", bias=1.0), "bias must be 0 for distances"),
        (lambda: Errors(0.0).log_likelihood([1.0], [0.0]), "noise must be above 0"),
        (lambda: Errors(1.0).log_likelihood([1, 2, 400], [0] * 3), "got 400 in row 2"),
        (lambda: Errors(1.0, "distance").log_likelihood([-1], [[0, 0]]), "got -1 in row 0"),
        (lambda: Errors(1.0).log_likelihood([1.0, np.nan], [0, 0]), "got nan in row 1"),
        (lambda: Errors(1.0, "distance").mean(1.0), "errors must be vectors"),
        (lambda: Errors(1.0, "signed").mean_cosine(1.0), "mean_cosine is of angles"),
        (lambda: angles_between([0.0, 0.0], [1.0, 0.0]), "outputs must not be zero"),
        (lambda: CursorProgress(-1.0), "noise must be zero"),
        (lambda: CursorProgress(1.0).mean([1.0, 1.0], [0.0, 0.0]), "targets must not be zero"),
        (lambda: CursorProgress(1.0).time_to_target(1.0, -1.0, 7.5), "distance must be positive"),
    ],
)
def test_bad_input_of_movements(make, words):
    with pytest.raises(InputError, match=words):
        make()
