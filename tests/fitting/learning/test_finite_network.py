"""What it adds to the likelihood that the recorded neurons are some of a network's."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from predictlearn.fitting.learning.recordings.finite_network import finite

pytestmark = pytest.mark.quick

DIM = 3
ROWS, COLUMNS = np.triu_indices(DIM)


def posterior(n, seed, known=0.5):
    """Return means and covariances of n neurons, seen with different errors."""
    rng = np.random.default_rng(seed)
    roots = np.sqrt(1 - known) * rng.standard_normal((n, DIM, 6)) / np.sqrt(6)
    return np.sqrt(known) * rng.standard_normal((n, DIM)), roots @ np.swapaxes(roots, 1, 2)


def gathered(xi):
    """Return the mean second moments of xi, (..., n, D), over the upper triangle."""
    return (np.swapaxes(xi, -1, -2) @ xi / xi.shape[-2])[..., ROWS, COLUMNS]


def frame(rng, size):
    """Return xi of a network of that size: second moments of exactly 1."""
    return np.linalg.qr(rng.standard_normal((size, DIM)))[0] * np.sqrt(size)


@pytest.mark.parametrize(("n", "size"), [(50, 80), (50, 400)])
def test_recorded_neurons_of_a_network_scatter_less(n, size):
    rng = np.random.default_rng(0)
    simulated = np.cov(np.array([gathered(frame(rng, size)[:n]) for _ in range(4000)]).T)
    binding = finite(np.zeros((n, DIM)), np.zeros((n, DIM, DIM)), size).weight
    # each neuron by itself scatters as 1/n; both together as the sample of a network
    alone = np.diag(np.where(ROWS == COLUMNS, 2.0, 1.0)) / n
    together = np.linalg.inv(np.linalg.inv(alone) + binding)
    np.testing.assert_allclose(np.diag(together), np.diag(simulated), rtol=0.12, atol=0.5 / n**2)
    # where the recordings say nothing of the neurons they say nothing of Q
    blank = finite(np.zeros((n, DIM)), np.tile(np.eye(DIM), (n, 1, 1)), size).weight
    assert np.all(np.diag(blank) < np.diag(binding) / 2 + 1 / np.diag(alone))


@pytest.mark.parametrize(("n", "size"), [(40, 40), (40, 100)])
def test_value_is_how_likely_the_rest_of_the_network_makes_up_for_the_recorded(n, size):
    rng = np.random.default_rng(1)
    values, exact = [], []
    for seed in range(4):
        mean, covariance = posterior(n, seed, known=(0.1, 0.5, 0.8, 0.95)[seed])
        values.append(finite(mean, covariance, size).value)
        roots = np.linalg.cholesky(covariance)
        drawn = mean + np.einsum("nij,snj->sni", roots, rng.standard_normal((40_000, n, DIM)))
        # moments of Q by simulation, and those of the neurons that were not recorded
        moments = gathered(drawn)
        missing = max(size - n, 0) / n**2 * np.where(ROWS == COLUMNS, 2.0, 1.0)
        around = np.cov(moments.T) + np.diag(missing) + 0.5 / n**2 * np.eye(len(ROWS))
        at = np.eye(DIM)[ROWS, COLUMNS]
        exact.append(stats.multivariate_normal.logpdf(at, moments.mean(axis=0), around))
    assert np.ptp(exact) > 0.5
    np.testing.assert_allclose(np.diff(values), np.diff(exact), atol=0.1)


def test_slopes_are_those_of_the_value():
    n, size, step = 12, 20, 1e-5
    mean, covariance = posterior(n, 3)
    found = finite(mean, covariance, size)
    rng = np.random.default_rng(2)
    for _ in range(5):
        by_mean = rng.standard_normal((n, DIM))
        by_covariance = rng.standard_normal((n, DIM, DIM))
        by_covariance = by_covariance + np.swapaxes(by_covariance, 1, 2)
        ends = [
            finite(mean + d * by_mean, covariance + d * by_covariance, size).value
            for d in (step, -step)
        ]
        outer = by_mean[:, :, None] * mean[:, None, :]
        slope = np.sum(found.by_mean * (outer + np.swapaxes(outer, 1, 2)))
        slope += np.sum(found.by_covariance * by_covariance)
        assert slope == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=1e-6)


def test_very_many_neurons_add_nothing():
    assert finite(*posterior(10, 0), np.inf) is None
    # and a network of a million little
    assert np.ptp([finite(*posterior(10, seed), 1e9).value for seed in range(3)]) < 1e-4
