"""The BCI learning session: reader, readouts and cursor progress."""

from __future__ import annotations

import numpy as np
import pytest

from predictlearn.errors import InputError
from predictlearn.recordings import Readout, load_bci_learning, progress


@pytest.fixture(scope="module")
def session(request):
    folder = request.getfixturevalue("shared_data") / "bci-learning-hennig2021"
    if not (folder / "20160728.mat").is_file():
        pytest.skip(f"no {folder}")
    return load_bci_learning(folder)


def test_progress_by_hand():
    readout = Readout(np.diag([0.5, 0.0]), np.array([[1.0, 0.0], [0.0, 2.0]]), np.array([1.0, 0.0]))
    latents = np.ones((2, 3, 2))
    # v_x: 2, 3, 3.5; v_y: 2 in every bin.
    assert progress(latents, readout, np.array([0.0, 90.0]), first_bin=1) == pytest.approx(
        [3.25, 2.0]
    )
    assert progress(latents, readout, np.array([0.0, 90.0]), 0, 2) == pytest.approx([2.5, 2.0])


def test_progress_leaves_missing_bins_out():
    readout = Readout(np.zeros((2, 2)), np.eye(2), np.zeros(2))
    latents = np.ones((2, 4, 2))
    latents[0, 2] = np.nan
    latents[1, 1:] = np.nan
    value = progress(latents, readout, np.zeros(2), first_bin=1)
    assert value[0] == pytest.approx(1.0)
    assert np.isnan(value[1])


def test_progress_refuses_what_does_not_fit():
    readout = Readout(np.zeros((2, 2)), np.eye(2), np.zeros(2))
    with pytest.raises(InputError, match="must have 2 columns"):
        progress(np.ones((2, 8, 3)), readout, np.zeros(2))
    with pytest.raises(InputError, match=r"directions must have one angle a trial \(2\)"):
        progress(np.ones((2, 8, 2)), readout, np.zeros(3))
    with pytest.raises(InputError, match=r"first_bin must lie in 0\.\.4"):
        progress(np.ones((2, 5, 2)), readout, np.zeros(2))
    with pytest.raises(InputError, match="M1"):
        Readout(np.zeros((3, 3)), np.eye(2), np.zeros(2))


def test_readout_loading_is_that_of_the_theory():
    readout = Readout(np.zeros((2, 2)), np.arange(6.0).reshape(2, 3), np.array([1.0, -1.0]))
    activity = np.array([0.3, -1.0, 2.0])
    z = readout.loading()
    assert z.T @ activity / 3 + readout.offset == pytest.approx(readout.command(activity))


def test_blocks(session):
    first, second = session.intuitive, session.perturbed
    assert first.activity.shape == (194, 20, 10)
    assert second.activity.shape == (600, 20, 10)
    assert first.dt == 0.045
    assert sorted(first.trials["target"].unique()) == [0, 45, 90, 135, 180, 225, 270, 315]
    angle = np.deg2rad(first.trials["target"].to_numpy())
    assert np.allclose(first.inputs[:, 3, 0], np.cos(angle))
    assert np.allclose(first.inputs[:, 3, 1], np.sin(angle))
    assert (first.inputs[:, :, 2] == 1).all()
    assert first.trials["n_bins"].between(10, 20).all()
    assert not first.metadata["simulated"]


def test_complete_trials(session):
    short = session.first_bins(12)
    assert (short.intuitive.n_trials, short.perturbed.n_trials) == (191, 583)
    assert not np.isnan(short.perturbed.activity).any()


def test_commands_are_those_stored(session, shared_data):
    from scipy.io import loadmat

    content = loadmat(
        shared_data / "bci-learning-hennig2021" / "20160728.mat",
        squeeze_me=True,
        struct_as_record=False,
    )
    block = content["Bs"][0]
    for readout, stored in (
        (session.intuitive_readout, block.vel_int),
        (session.perturbed_readout, block.vel_wmp),
    ):
        assert np.allclose(readout.command(block.latents), stored, atol=2e-4)


def test_stored_positions_move_by_the_smoothed_velocity(session, shared_data):
    from scipy.io import loadmat

    block = loadmat(
        shared_data / "bci-learning-hennig2021" / "20160728.mat",
        squeeze_me=True,
        struct_as_record=False,
    )["Bs"][0]
    rows = block.trial_index == 1
    velocity, speeds = np.zeros(2), []
    for command in session.intuitive_readout.command(block.latents[rows]):
        velocity = session.intuitive_readout.smoothing @ velocity + command
        speeds.append(velocity)
    moved = np.diff(block.pos[rows], axis=0)
    # Held before bin 6 (0-based), then free.
    assert np.allclose(moved[:5], 0.0)
    assert np.allclose(moved[5:], 0.045 * np.array(speeds)[6:], atol=0.02)


def test_progress_reproduces_the_published_numbers(session):
    short = session.first_bins(12)
    first, second = short.intuitive, short.perturbed
    angles = first.trials["target"].to_numpy()
    before = progress(first.activity, session.intuitive_readout, angles)
    through = progress(first.activity, session.perturbed_readout, angles)
    learning = progress(
        second.activity, session.perturbed_readout, second.trials["target"].to_numpy()
    )
    assert before.mean() == pytest.approx(171.9, abs=0.05)
    assert through.mean() == pytest.approx(80.2, abs=0.05)
    assert learning[:30].mean() == pytest.approx(94.3, abs=0.05)
    assert learning[:194].mean() == pytest.approx(98.2, abs=0.05)
    assert learning[388:].mean() == pytest.approx(117.4, abs=0.05)
    assert learning.std() == pytest.approx(80.5, abs=0.5)


def test_files_that_cannot_be_read(tmp_path, shared_data):
    with pytest.raises(InputError, match="mobeets/neural-engagement"):
        load_bci_learning(tmp_path)
    file = tmp_path / "20160728.mat"
    source = shared_data / "bci-learning-hennig2021" / "20160728.mat"
    if not source.is_file():
        pytest.skip(f"no {source}")
    content = source.read_bytes()
    for part in (0, 50, 200, len(content) // 3, len(content) - 1000):
        file.write_bytes(content[:part])
        with pytest.raises(InputError, match="mobeets/neural-engagement"):
            load_bci_learning(tmp_path)


def test_mat_file_of_another_structure(tmp_path):
    from scipy.io import savemat

    savemat(tmp_path / "20160728.mat", {"other": np.zeros(3)})
    with pytest.raises(InputError, match="not of the expected structure"):
        load_bci_learning(tmp_path)
