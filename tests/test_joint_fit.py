"""The joint fit from recordings: parts that are exact, and what a fit without noise finds."""

from __future__ import annotations

import numpy as np
import pytest

import predictlearn as pl
from predictlearn.fitting.joint_fit import fit_learning
from predictlearn.fitting.joint_neurons import isserlis, moment_maps, neuron_kernel, roots
from predictlearn.fitting.joint_sessions import fit_sessions, raw_sessions
from predictlearn.fitting.joint_simulation import simulate_learning
from predictlearn.fitting.learning_model import Model
from predictlearn.fitting.learning_parameters import Layout
from predictlearn.fitting.learning_sessions import checked_sessions
from predictlearn.fitting.learning_simulation import simulate_sessions

TASK, RULE = pl.Filter(duration=10.0), pl.GradientDescent(5e-3)
TRUE = pl.Overlaps(np.eye(4)).replace(zu=0.2, vm=0.3, zv=0.2, vv=1.3)


@pytest.fixture(scope="module")
def clean():
    """A network recorded whole, almost without noise."""
    return simulate_learning(
        TRUE, TASK, 60, RULE, n_sessions=6, n_neurons=60, recorded=60, noise=0.01,
        output_noise=0.001, seed=2,
    )  # fmt: skip


@pytest.fixture(scope="module")
def fit(clean):
    recordings, ids = clean
    return fit_learning(
        recordings, TASK, 60, RULE, neuron_ids=ids, population=60,
        learning_settings={"n_starts": 2},
    )  # fmt: skip


def test_a_whole_network_with_little_noise_is_found(fit):
    assert fit.converged_
    assert np.abs(fit.start_.matrix - TRUE.matrix).max() < 0.03
    assert abs(fit.rate_ / 5e-3 - 1) < 0.03
    assert np.allclose(fit.neuron_kernel_, 0.0)
    # the joint likelihood and the two stages agree to within their errors
    gap = (fit.two_stage_["estimate"] - fit.intervals_["estimate"]).abs()
    assert (gap < fit.intervals_["sd"]).all()


def test_moments_of_a_sample_move_by_the_roots_of_the_network():
    # 30 of 80 neurons: their S_bb at every session is R^T (I + W) R, W from the start alone
    table = simulate_sessions(TRUE, TASK, 40, RULE, 0.0, n_sessions=4)
    data = checked_sessions(table, TASK, 40, 0.01, 1)
    layout = Layout(data.sizes, RULE, "fit")
    model = Model(data, layout, "linear", 1.0, 0, False)
    x = layout.pack(TRUE.matrix)
    found = roots(model, x)
    network = TRUE.loadings(80, seed=3)
    xi = np.linalg.solve(found[0].T, network.stacked.T)[:, :30]
    error = xi @ xi.T / 30 - np.eye(4)
    first = error[np.triu_indices(4)]
    maps = moment_maps(found, 2)
    state = network
    for k in range(4):
        if k:
            state = pl.train_network(state, TASK, RULE, 40).loadings
        whole = state.stacked.T @ state.stacked / 80
        assert np.abs(found[k].T @ found[k] - whole).max() < 1e-12
        part = state.stacked[:30, :2]
        sample = part.T @ part / 30
        off = (sample - whole[:2, :2])[np.triu_indices(2)]
        assert np.abs(maps[k] @ first - off).max() < 1e-12


def test_sampling_errors_of_two_samples_covary_as_the_kernel_says():
    rng = np.random.default_rng(0)
    a, b = np.arange(30), np.arange(20, 60)
    xi = rng.standard_normal((4000, 100, 2))
    of_a = np.einsum("tna,tnb->tab", xi[:, a], xi[:, a]) / 30
    of_b = np.einsum("tna,tnb->tab", xi[:, b], xi[:, b]) / 40
    whole = np.einsum("tna,tnb->tab", xi, xi) / 100
    rows, columns = np.triu_indices(2)
    first, second = ((s - whole)[:, rows, columns] for s in (of_a, of_b))
    kernel = neuron_kernel([a, b], 100)
    expected = isserlis(np.eye(2))
    assert np.abs(first.T @ first / 4000 - kernel[0, 0] * expected).max() < 4e-3
    assert np.abs(first.T @ second / 4000 - kernel[0, 1] * expected).max() < 4e-3
    assert np.allclose(neuron_kernel([a, b], None, "independent"), np.diag([1 / 30, 1 / 40]))
    assert not neuron_kernel([a, b], None, "none").any()


def test_a_recording_expanded_about_its_own_optimum_is_its_fit(clean):
    recordings, _ = clean
    models, measured = fit_sessions(recordings[:2], 1, 1.0, None)
    for raw, model, one in zip(raw_sessions(recordings[:2], models), models, measured, strict=True):
        again = raw.expand(model.vm_, model.vu_)
        seen = one.seen
        assert "uu" not in seen  # the gauge fixes it
        gap = (again.values - one.values)[seen].abs()
        sd = np.sqrt(np.diag(one.covariance.loc[seen, seen]))
        # the fit stopped where the likelihood would rise by less than 0.01
        assert (gap < 0.2 * sd).all()
        # and from nearby dynamics the same optimum is found
        near = raw.expand(model.vm_ * 1.01, model.vu_ + 0.003)
        assert ((near.values - one.values)[seen].abs() < 1.0 * sd).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"neuron_ids": [np.arange(60)]}, "neuron_ids must be a list of 6"),
        ({"neuron_ids": [np.zeros(60)] * 6}, "must not name a neuron twice"),
        ({"population": 10}, "population must be at least"),
        ({"sampling": "share"}, "Did you mean 'shared'"),
        ({"session_settings": {"rank": 2}}, "session_settings must leave out rank"),
        ({"session_settings": {"ofset": True}}, "no setting of LowRankRNN: ofset"),
        ({"session_settings": {"latency": "fit"}}, "joint=True needs"),
        ({"learning_settings": {"tau": 2.0}}, "learning_settings must leave out tau"),
        ({"learning_settings": {"starts": 2}}, "no setting of LearningFit: starts"),
    ],
)
def test_what_cannot_be_used_is_refused(clean, change, message):
    recordings, ids = clean
    small = {"n_bootstrap": 20, "n_starts": 1}
    settings = {"neuron_ids": ids, "session_settings": small, **change}
    if "session_settings" in change:
        settings["session_settings"] = {**small, **change["session_settings"]}
    with pytest.raises(pl.InputError, match=message):
        fit_learning(recordings, TASK, 60, RULE, **settings)


def test_recordings_must_be_sessions_with_outputs(clean):
    recordings, _ = clean
    with pytest.raises(pl.InputError, match="one recording a session"):
        fit_learning(recordings[0], TASK, 60, RULE)
    bare = [(r.activity, r.inputs) for r in recordings]
    with pytest.raises(pl.InputError, match="must have outputs"):
        fit_learning(bare, TASK, 60, RULE)
