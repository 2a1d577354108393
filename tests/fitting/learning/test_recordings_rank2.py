"""LearningFit on raw recordings of networks of rank two, and the information its search uses."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import predictlearn as pl
from predictlearn.fitting.learning.model import Model
from predictlearn.fitting.learning.parameters import ParameterLayout
from predictlearn.fitting.learning.point_estimate import turned
from predictlearn.fitting.learning.recordings.data import checked_recordings
from predictlearn.fitting.learning.recordings.likelihood import RawProblem
from predictlearn.fitting.learning.recordings.marginal import rolled_out
from predictlearn.fitting.learning.sessions import checked_sessions
from predictlearn.simulation import simulate_learning

TASK, RULE, EVERY = pl.DampedOscillation(duration=8.0, dt=0.1), pl.GradientDescent(1e-2), 60
# both modes are visible; u and v are turned as those of a fit
START = pl.Overlaps(np.eye(6), 1, 2, 1).replace(
    zm=0.1, zu1=0.5, zu2=0.3, v1m=0.5, v1u1=0.2, v1u2=-0.5, v2u1=0.5, mu1=0.2, zv1=0.2,
    u1u1=1.2, u2u2=0.9, v1v1=1.1, v2v2=1.3,
)  # fmt: skip
N = 150


def recordings(**changes):
    """Return sessions of a small network of rank two."""
    settings = {
        "n_sessions": 12,
        "n_neurons": N,
        "recorded": 50,
        "recurring": 25,
        "n_trials": 12,
        "n_bins": 50,
        "noise": 0.2,
    }
    return simulate_learning(START, TASK, EVERY, RULE, **{**settings, **changes})


def problem(sessions, neurons, network=N):
    """Return the likelihood with its noise settled at the truth, and the truth."""
    recorded, _ = checked_recordings(sessions, neurons, network, 2, 1.0)
    names = [n for n in START.names if n[0] in "vz" and n[1 + n[1].isdigit()] in "mu"]
    blank = pd.DataFrame(np.zeros((len(sessions), len(names))), columns=names)
    data = checked_sessions(blank, TASK, EVERY, 1.0, 2)
    layout = ParameterLayout(data.sizes, RULE, "fit")
    x = layout.pack(START.matrix)
    model = Model(data, layout, "linear", 1.0, 0, False)
    return RawProblem(model, True, 1.0, recorded=recorded).settled(x), x


def numerical(f, x, along, step=1e-4):
    """Return the slope of f by differences of fourth order."""
    near, far = step * along, 2 * step * along
    return (8 * (f(x + near) - f(x - near)) - (f(x + far) - f(x - far))) / (12 * step)


@pytest.fixture(scope="module")
def sessions():
    return recordings(seed=1)


@pytest.fixture(scope="module")
def fitted(sessions):
    fit = pl.LearningFit(rank=2, n_starts=1)
    return fit.fit_recordings(sessions[0], TASK, EVERY, RULE, neurons=sessions[1], network=N)


def held(fit):
    """Return by name whether the intervals hold the truth; v2m is zero by convention."""
    truth = START.to_series().drop("v2m")
    truth["rate"] = RULE.rate
    table = fit.intervals_.loc[truth.index]
    return (table["low"] <= truth) & (truth <= table["high"])


@pytest.mark.parametrize("network", [None, 20])
def test_information_is_that_of_the_dense_gaussian(network):
    raw, x = problem(
        *recordings(n_sessions=3, n_neurons=20, recorded=4, recurring=2, n_trials=2, n_bins=8),
        network=network,
    )
    raw.pins = False

    n, moments = raw.recorded.n_neurons, np.triu_indices(6)

    def laid_out(y):
        """Return H and R of every neuron, and the outputs in units of their noise."""
        run, transports, _ = raw.at(y)
        lower = raw.model.layout.factor(y)
        rows, noise, outputs = [[] for _ in range(n)], [[] for _ in range(n)], []
        for s, a, now in zip(raw.recorded.sessions, transports[..., 0], run.matrices, strict=True):
            k = rolled_out(s, now)[0]
            seen = k[:, s.kept] - k[:, s.kept].mean(axis=1, keepdims=True)
            for i, neuron in enumerate(s.neurons):
                rows[neuron].append((lower.T @ a @ seen).T)
                noise[neuron].append(np.full(seen.shape[1], s.seen.noise[i]))
            outputs.append(now[5:, :3] @ k[:, s.judged] / np.sqrt(s.output_noise[:, None]))
        together = [
            (np.concatenate(h), np.concatenate(r)) for h, r in zip(rows, noise, strict=True)
        ]
        return together, np.concatenate(outputs, axis=1).ravel()

    covariances = [h @ h.T + np.diag(r) for h, r in laid_out(x)[0]]

    def features(y):
        """Return outputs, the second moments of xi expected of data from x, and covariances."""
        neurons, outputs = laid_out(y)
        total = 0.0
        for (h, r), k in zip(neurons, covariances, strict=True):
            v = np.linalg.inv(np.eye(6) + (h.T / r) @ h)
            gain = v @ (h.T / r)
            total = total + v + gain @ k @ gain.T
        return np.concatenate(
            [outputs, (total / n)[moments], *((h @ h.T).ravel() for h, _ in neurons)]
        )

    moved = np.array([numerical(features, x, d) for d in np.eye(len(x))])
    sizes = [laid_out(x)[1].size, len(moments[0]), *(k.size for k in covariances)]
    outputs, q, *others = np.split(moved, np.cumsum(sizes)[:-1], axis=1)
    expected = outputs @ outputs.T
    for k, d in zip(covariances, others, strict=True):
        white = np.linalg.solve(k, d.reshape(-1, *k.shape))
        expected += np.einsum("pij,qji->pq", white, white) / 2
    if network is not None:
        weight = raw.at(x)[2].weight
        assert weight is not None
        expected += q @ weight @ q.T
    found = raw.information(x)
    units = 1 / np.sqrt(np.diag(expected))
    units = units * units[:, None]
    np.testing.assert_allclose(found * units, expected * units, rtol=0, atol=1e-6)
    assert np.linalg.eigvalsh(expected)[-1] > 100


def test_turning_u_and_v_changes_nothing_recorded(sessions):
    raw, x = problem(*sessions, network=None)
    assert turned(raw, x) is x
    angle = 0.7
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    far = raw.model.layout.pack(START.gauge(turn @ np.diag([1.0, -1.0])).matrix)
    free = raw.altered(pins=False)
    assert free.evaluate(far)[0] == pytest.approx(free.evaluate(x)[0], abs=1e-4)
    # along the turn there is nothing to know
    values = np.linalg.eigvalsh(free.information(far))
    assert abs(values[0]) < 1e-9 * values[-1] < values[1]
    np.testing.assert_allclose(turned(raw, far), x, atol=1e-9)


def test_search_takes_few_steps(sessions):
    raw, x = problem(*sessions)
    top = raw.improve(x, np.ones(2), 12)
    assert top.converged
    beside = x + 0.03 * np.random.default_rng(0).standard_normal(len(x))
    found = raw.improve(beside, np.ones(2), 20)
    assert found.converged
    assert found.cost == pytest.approx(top.cost, abs=1e-3)
    assert raw.evaluate(turned(raw, beside))[0] < -top.cost - 1e3


# A whole search of rank two is slow; test_search_takes_few_steps ends at the same maximum.
@pytest.mark.slow
def test_finds_all_overlaps(sessions, fitted):
    assert fitted.converged_
    assert fitted.identifiable_.all()
    assert len(fitted.directions_) == 0
    table, truth = fitted.intervals_, START.to_series()
    assert abs(table.loc["v2m", "estimate"]) < 1e-6
    off = ((table["estimate"] - truth) / table["sd"]).drop(["v2m", "rate"])
    assert len(off) == 20
    assert np.abs(off).max() < 4
    assert np.sqrt(np.mean(off**2)) < 1.6
    assert held(fitted).sum() >= 17
    assert table["sd"].max() < 0.15
    # the search ends where it ends from the truth
    layout = fitted._problem.model.layout
    top = fitted._problem.improve(layout.pack(START.matrix), np.ones(2), 50)
    assert fitted._best.cost < top.cost + 0.01
    assert fitted.goodness_of_fit("smooth misfit").p_value > 1e-3
    assert fitted.goodness_of_fit("chi-square").p_value > 1e-3


@pytest.mark.slow
def test_finds_loadings(fitted):
    assert list(fitted.loadings_) == ["m", "u1", "u2", "v1", "v2", "z"]
    true = START.loadings(N, seed=1)
    ids = fitted.loadings_.index.to_numpy()
    assert np.corrcoef(fitted.loadings_["u2"], true.u[ids, 1])[0, 1] > 0.98
    assert np.corrcoef(fitted.loadings_["v2"], true.v[ids, 1])[0, 1] > 0.8


@pytest.mark.slow
def test_profile_agrees_with_the_interval(fitted):
    low, high = fitted.profile("v2v2")
    sides = fitted.intervals_.loc["v2v2"]
    assert low < sides["estimate"] < high
    assert high - low == pytest.approx(sides["high"] - sides["low"], rel=0.3)


@pytest.mark.slow
def test_intervals_hold_the_truth():
    """Six networks: of 126 intervals at 95%, fewer than 112 would be a chance of 0.6%."""
    kept = []
    for seed in range(6):
        sessions, neurons = recordings(seed=seed, n_trials=20)
        fit = pl.LearningFit(rank=2, n_starts=3)
        fit.fit_recordings(sessions, TASK, EVERY, RULE, neurons=neurons, network=N)
        assert fit.converged_
        kept.append(held(fit))
    assert np.sum(kept) >= 112
