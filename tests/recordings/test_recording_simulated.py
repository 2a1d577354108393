"""The shipped, simulated sessions and the simulator."""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np
import pytest

import predictlearn as pl
from predictlearn.fitting import LowRankRNN
from predictlearn.recordings import find_dataset, load_recording, load_simulated_learning
from predictlearn.simulation import random_inputs, simulate_recording


@pytest.fixture(scope="module")
def sessions():
    return load_simulated_learning()


def test_it_says_that_it_is_simulated(sessions):
    assert len(sessions) == 5
    for session in sessions:
        assert session.metadata["simulated"] is True
        assert "SIMULATED" in session.metadata["description"]
        assert session.observed == "counts"
        assert (session.activity == np.round(session.activity)).all()
    assert [s.metadata["epoch"] for s in sessions] == sorted(s.metadata["epoch"] for s in sessions)
    assert find_dataset("simulated-learning").stat().st_size < 3e6


def test_the_network_learned(sessions):
    losses = [s.metadata["loss"] for s in sessions]
    assert losses[-1] < 0.05 * losses[0]
    truth = [s.metadata["truth"] for s in sessions]
    assert truth[-1]["vu"] > truth[0]["vu"] + 0.3


def test_every_session_can_be_fitted(sessions):
    worst = []
    for session in sessions:
        about = session.metadata
        fit = LowRankRNN(
            1,
            "erf",
            dt=session.dt,
            tau=about["tau"],
            observed="rate",
            offset=True,
            gain=about["gain"],
            n_bootstrap=100,
        ).fit(session.activity, session.inputs, session.outputs)
        assert fit.converged_
        true = about["truth"].canonical().gauge_invariants()
        for name in ("vu", "zm", "zu*vm", "mm"):
            row = fit.gauge_invariants_.loc[name]
            worst.append(abs(row["estimate"] - true[name]) / row["sd"])
            assert worst[-1] < 4.5, (about["epoch"], name)
    assert np.median(worst) < 1.5


def test_a_session_survives_a_file(sessions, tmp_path):
    again = load_recording(sessions[2].save_npz(tmp_path / "session"))
    assert np.array_equal(again.activity, sessions[2].activity)
    assert again.metadata["simulated"] is True
    assert again.metadata["truth"]["vu"] == pytest.approx(sessions[2].metadata["truth"]["vu"])
    assert np.allclose(again.metadata["targets"], sessions[2].metadata["targets"])


@pytest.mark.slow
def test_the_script_makes_the_same_file(sessions):
    script = Path(__file__).resolve().parents[2] / "datasets" / "make_simulated.py"
    if not script.is_file():
        pytest.skip("not a checkout")
    made = runpy.run_path(str(script))["make"]()
    for session, counts in zip(sessions, made["counts"], strict=True):
        assert np.array_equal(session.activity, counts)


def test_damaged_files_are_refused(tmp_path):
    with pytest.raises(pl.InputError, match="no such file"):
        load_simulated_learning(tmp_path / "none.npz")
    file = tmp_path / "cut.npz"
    file.write_bytes(find_dataset("simulated-learning").read_bytes()[:5000])
    with pytest.raises(pl.InputError, match="not a readable"):
        load_simulated_learning(file)
    np.savez(file, counts=np.zeros(3))
    with pytest.raises(pl.InputError, match="lacks"):
        load_simulated_learning(file)


def test_simulator_signal_and_noise():
    o = pl.Overlaps(np.eye(4)).replace(vm=0.6, vu=0.4, zm=0.2)
    x = random_inputs(40, 50, 1, 0.1, seed=0)
    noisy = simulate_recording(o, x, dt=0.1, n_neurons=100, r2=0.5, seed=1)
    clean = simulate_recording(o, x, dt=0.1, n_neurons=100, r2=1.0, seed=1)
    share = clean.activity.var(axis=(0, 1)).mean() / noisy.activity.var(axis=(0, 1)).mean()
    assert share == pytest.approx(0.5, abs=0.02)
    assert x.var() == pytest.approx(1.0, abs=0.1)
    with pytest.raises(pl.InputError, match=r"r2 must lie in \(0, 1\]"):
        simulate_recording(o, x, dt=0.1, r2=1.5)
    with pytest.raises(pl.InputError, match="network_size must be at least"):
        simulate_recording(o, x, dt=0.1, n_neurons=100, network_size=50)


def test_fully_recorded_network_has_its_own_outputs():
    o = pl.Overlaps(np.eye(4)).replace(vm=0.6, vu=0.4, zm=0.2, zu=0.3)
    x = random_inputs(5, 30, 1, 0.1, seed=0)
    network = simulate_recording(o, x, dt=0.1, n_neurons=80, network_size=80, r2=1.0, seed=1)
    infinite = simulate_recording(o, x, dt=0.1, n_neurons=80, r2=1.0, seed=1)
    # A linear network of any size has the outputs of its overlaps.
    assert np.allclose(network.outputs, infinite.outputs, atol=1e-10)
