"""LearningFit from a sample of the neurons, and recordings of a network that learns."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import predictlearn as pl
from predictlearn.simulation import simulate_learning
from predictlearn.theory.trials import Trials

# -- a sample of the neurons --------------------------------------------------------------------


def _sampled_network(seed, recorded, n_neurons=300):
    true = pl.Overlaps(np.eye(4)).replace(uu=2.05, mu=0.8)
    task, rule = pl.Filter(), pl.GradientDescent(5e-3)
    sessions = pl.simulate_sessions(
        true,
        task,
        100,
        rule,
        0.01,
        n_sessions=10,
        n_neurons=n_neurons,
        recorded=recorded,
        seed=seed,
    )
    return true, sessions, task, rule


def transports(start, task, rule, epochs):
    """Return P of Theta(epoch) = Theta(start) P, (epochs, D, D)."""
    leg = pl.Leg(task, epochs[-1], rule)
    run = pl.learn_with_sensitivities(start, [leg], epochs, slopes=False, carry=True)
    return run.carried[..., 0]


def test_the_error_of_recorded_neurons_is_carried_along_exactly():
    true, _, task, _ = _sampled_network(0, 60)
    rule = pl.GradientDescent(5e-3, pathway_rates={"m": 0.5}, weight_decay=0.01)
    loadings = true.loadings(300, seed=0)
    trained = pl.train_network(loadings, task, rule, 900)
    p = transports(true, task, rule, [0, 900])[-1]
    start = np.concatenate([getattr(loadings, w) for w in "muvz"], axis=1)
    end = np.concatenate([getattr(trained.loadings, w) for w in "muvz"], axis=1)
    np.testing.assert_allclose(start[:60] @ p, end[:60], atol=1e-9)


@pytest.mark.parametrize("gauge", ["given", "canonical"])
@pytest.mark.parametrize("network", [np.inf, 400.0])
def test_the_covariance_is_that_of_sampled_neurons(gauge, network):
    from predictlearn.fitting.learning.model import Model
    from predictlearn.fitting.learning.parameters import ParameterLayout
    from predictlearn.fitting.learning.sampling_error import shared_root
    from predictlearn.fitting.learning.sessions import checked_sessions
    from predictlearn.theory.gauge import canonical_matrices

    true, sessions, task, rule = _sampled_network(0, 60)
    sessions = sessions[["mm", "mu", "uu", "vm"]].iloc[[0, 4]]
    data = checked_sessions(sessions, task, [0, 400], 0.01, 1)
    model = Model(
        data, ParameterLayout(data.sizes, rule, "known"), "linear", 1.0, 0, gauge == "canonical"
    )
    x, n, draws = model.layout.pack(true.matrix), 200, 4000
    root = shared_root(model, x, n, network)
    p, rng = transports(true, task, rule, [0, 400]), np.random.default_rng(0)
    seen = np.empty((draws, data.n))
    factor = np.linalg.cholesky(true.matrix)
    for k in range(draws):
        theta = rng.standard_normal((n, 4)) @ factor.T
        matrices = np.array([q.T @ true.matrix @ q for q in p])
        matrices[:, :2, :2] = [(q.T @ theta.T @ theta @ q)[:2, :2] / n for q in p]
        none = np.zeros((2, 4, 4, 0))
        if gauge == "canonical":
            matrices, none = canonical_matrices(matrices, none, true.sizes)
        seen[k] = model.select(matrices, np.zeros(2), none, np.zeros((2, 0)))[0]
    found, said = np.cov(seen.T), root @ root.T / (1 - n / network)
    scale = np.sqrt(np.diag(found)).max() ** 2
    # Monte Carlo, and for the gauge second order: a tenth of the largest variance
    np.testing.assert_allclose(said, found, atol=(0.1 if gauge == "given" else 0.15) * scale)
    assert np.trace(root @ root.T) == pytest.approx(
        np.trace(found) * (1 - n / network), rel=0.06 if gauge == "given" else 0.12
    )


def test_a_sample_of_neurons_gives_wider_and_better_estimates():
    for seed in range(2):
        true, sessions, task, rule = _sampled_network(seed, 100)
        settings = {"tasks": task, "epochs": 100, "rule": rule, "errors": 0.01}
        fit = pl.LearningFit(n_starts=1).fit(sessions, **settings, recorded=100, network=300)
        plain = pl.LearningFit(n_starts=1).fit(sessions, **settings)
        assert fit.goodness_of_fit().p_value > 1e-3
        assert plain.goodness_of_fit().p_value < 1e-3
        for name in ("mu", "mm", "uu", "vv"):
            sd = fit.intervals_.loc[name, "sd"]
            assert sd > 1.5 * plain.intervals_.loc[name, "sd"]
            assert abs(fit.start_[name] - true[name]) < 4 * sd


def test_a_whole_network_has_no_sampling_error():
    _, sessions, task, rule = _sampled_network(1, 300)
    a = pl.LearningFit(n_starts=1).fit(sessions, task, 100, rule, recorded=300, network=300)
    b = pl.LearningFit(n_starts=1).fit(sessions, task, 100, rule)
    pd.testing.assert_frame_equal(a.intervals_, b.intervals_)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"network": 300}, "network needs recorded"),
        ({"recorded": 1}, "recorded must be"),
        ({"recorded": 100, "network": 50}, "network must be at least recorded"),
    ],
)
def test_doors_of_a_sample(given, message):
    _, sessions, task, rule = _sampled_network(0, 100)
    with pytest.raises(pl.InputError, match=message):
        pl.LearningFit().fit(sessions, task, 100, rule, **given)


def test_a_sample_needs_plain_descent():
    _, sessions, task, _ = _sampled_network(0, 100)
    rule = pl.GradientDescent(5e-3, momentum=0.5)
    with pytest.raises(pl.InputError, match="without momentum and schedule"):
        pl.LearningFit().fit(sessions, task, 100, rule, recorded=100)


# -- simulated recordings -------------------------------------------------------------------------


def test_recordings_are_those_of_the_network_that_learns():
    task, rule, true = pl.Filter(), pl.GradientDescent(5e-3), pl.Overlaps(np.eye(4))
    true = true.replace(zu=0.1, vm=0.2)
    recordings, ids = simulate_learning(
        true, [task, pl.Filter(decay=0.5)], [30, 20], rule, n_sessions=3, n_neurons=40, recorded=15,
        recurring=5, noise=0.0, output_noise=0.0, seed=3,
    )  # fmt: skip
    first = pl.train_network(true.loadings(40, seed=3), task, rule, 30, seed=3).loadings
    last = pl.train_network(first, pl.Filter(decay=0.5), rule, 20, seed=3).loadings
    assert [len(set(i)) for i in ids] == [15, 15, 15]
    assert set(ids[0][:5]) == set(ids[2][:5])
    for r, loadings, chosen in zip(
        recordings, (true.loadings(40, seed=3), first, last), ids, strict=True
    ):
        blank = np.zeros((*r.inputs.shape[:2], 1))
        ran = pl.run_network(loadings, Trials(r.inputs, blank, blank, r.dt))
        np.testing.assert_allclose(r.activity, ran.h[:, :, chosen], atol=1e-10)
        np.testing.assert_allclose(r.outputs, ran.outputs, atol=1e-10)


def test_more_neurons_than_there_are_is_refused():
    with pytest.raises(pl.InputError, match="recurring must be at most recorded"):
        simulate_learning(
            pl.Overlaps(np.eye(4)), pl.Filter(), 10, pl.GradientDescent(5e-3), n_sessions=2,
            n_neurons=10, recorded=20,
        )  # fmt: skip
