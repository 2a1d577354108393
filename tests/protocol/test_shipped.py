"""Changes of readout, and the protocols that ship."""

from __future__ import annotations

import numpy as np
import pytest
from test_run import small, value

import predictlearn as pl
from predictlearn.errors import InputError
from predictlearn.protocol import Protocol, change_readout, rotate_readout, shipped_protocols
from predictlearn.protocol.readout import match_readout

# -- readout ----------------------------------------------------------------------------------


def test_a_new_readout_changes_only_overlaps_with_z():
    o = pl.Overlaps(np.eye(4)).replace(zm=0.1, vu=0.3)
    after = change_readout(o, {"zm": 0.5, "zu": -0.2})
    for name in o.names:
        expected = {"zm": 0.5, "zu": -0.2}.get(name, o[name])
        assert after[name] == expected


def test_an_impossible_readout_gives_the_reachable_range():
    o = pl.Overlaps(np.eye(4))
    with pytest.raises(InputError, match=r"zm from -1 to 1.*zz of at least 4\b.*within_manifold"):
        change_readout(o, {"zm": 2.0})
    inside = change_readout(o, {"zm": 2.0}, within_manifold=True)
    assert inside["zz"] == pytest.approx(4.0)
    with pytest.raises(InputError, match="readout can change zm, zu, zv, zz only; uu is not of z"):
        change_readout(o, {"uu": 2.0})
    with pytest.raises(InputError, match="zz follows from within_manifold"):
        change_readout(o, {"zz": 2.0}, within_manifold=True)


def test_within_manifold_readout_is_a_combination_of_m_and_u():
    theta = np.random.default_rng(0).normal(size=(60, 9))
    o = pl.Overlaps(theta.T @ theta / 60, n_in=3, rank=2, n_out=2)
    after = change_readout(o, {"z1m1": 0.7, "z2u2": -0.4}, within_manifold=True)
    loadings = after.loadings(30, seed=1)
    plane = np.concatenate([loadings.m, loadings.u], axis=1)
    left = loadings.z - plane @ np.linalg.lstsq(plane, loadings.z, rcond=None)[0]
    np.testing.assert_allclose(left, 0.0, atol=1e-6)
    assert after["v1u2"] == pytest.approx(o["v1u2"], rel=1e-12)


def test_a_turned_readout_turns_the_output():
    theta = np.random.default_rng(1).normal(size=(60, 9))
    o = pl.Overlaps(theta.T @ theta / 60, n_in=3, rank=2, n_out=2)
    trials = pl.ReachingReadout().sample()
    before = pl.simulate(o, trials, "erf").outputs
    after = pl.simulate(rotate_readout(o, 30.0), trials, "erf").outputs
    angle = np.deg2rad(30.0)
    turned = np.stack(
        [
            np.cos(angle) * before[..., 0] - np.sin(angle) * before[..., 1],
            np.sin(angle) * before[..., 0] + np.cos(angle) * before[..., 1],
        ],
        axis=-1,
    )
    np.testing.assert_allclose(after, turned, atol=1e-13)
    with pytest.raises(InputError, match="two outputs"):
        rotate_readout(pl.Overlaps(np.eye(4)), 30.0)


@pytest.mark.parametrize("private", [True, False])
def test_loadings_with_a_matched_readout_have_the_overlaps(private):
    o = pl.Overlaps(np.eye(4)).replace(zm=0.1)
    if not private:  # a readout in the span of m and u has no private part to keep
        o = change_readout(o, {"zm": 0.6, "zu": 0.3}, within_manifold=True)
    loadings = o.loadings(25, seed=0)
    target = change_readout(o, {"zm": 0.2, "zu": 0.4, "zz": 1.5})
    matched = match_readout(loadings, target, seed=0)
    np.testing.assert_allclose(pl.Overlaps.from_loadings(matched).matrix, target.matrix, atol=1e-12)
    np.testing.assert_array_equal(matched.u, loadings.u)
    np.testing.assert_allclose(
        match_readout(loadings, o, seed=0).z, loadings.z, atol=1e-12 if private else 1e-5
    )


def test_an_impossible_readout_step_names_arm_phase_and_network():
    protocol = small(arms={"x": {"phases": [{"task": "A", "epochs": 1}, {"readout": {"zm": 3.0}}]}})
    with pytest.raises(InputError, match=r"arm 'x', phase '2-readout', network 0: .*zm from"):
        protocol.run()


def test_a_readout_step_is_a_row_of_its_own():
    run = small(
        arms={"x": {"phases": [{"task": "A", "epochs": 10}, {"readout": {"zm": 0.5}}]}}
    ).run()
    rows = run.table[run.table["phase"] == "2-readout"]
    assert (rows["epoch"] == 10).all()
    assert (rows["task"] == "").all()
    assert rows[rows.quantity == "zm"]["value"].tolist() == [0.5] * 3
    assert set(rows["quantity"]) >= {"loss:A", "loss:B"}
    assert "loss" not in set(rows["quantity"])
    assert run.final("x")[0]["zm"] == 0.5


# -- shipped protocols ------------------------------------------------------------------------


def shortened(name, epochs, networks=2):
    data = Protocol.load(name).to_dict()
    data["cohort"]["networks"] = networks
    for arm in data["arms"].values():
        shorten(arm["phases"], epochs)
    return Protocol.from_dict(data)


def shorten(phases, epochs):
    for phase in phases:
        if "epochs" in phase:
            phase["epochs"] = epochs
        shorten(phase.get("phases", []), epochs)


@pytest.mark.parametrize("name", shipped_protocols())
def test_every_shipped_protocol_runs(name):
    run = shortened(name, epochs=2).run(seed=0)
    assert run.failed.empty
    for arm in run.arms:
        assert len(run.final(arm)) == 2
        rows = run.table[(run.table["arm"] == arm) & (run.table["quantity"] == "loss")]
        first = rows[rows["phase_epoch"] == 0].groupby("network")["value"]
        assert (first.size() >= 1).all()
        assert np.isfinite(rows["value"]).all()
    assert Protocol.load(name).description


def test_perturbation_exposure_twins_start_alike_and_learn_apart():
    run = shortened("perturbation-exposure", epochs=300).run(seed=0)
    reference, equivalent = run.curves("reference").to_numpy(), run.curves("equivalent").to_numpy()
    np.testing.assert_allclose(reference[0], equivalent[0], rtol=1e-12)
    assert np.all(np.abs(reference - equivalent).max(axis=0) > 0.1)


def test_aba_returns_without_noise_and_drifts_with_it():
    data = Protocol.load("aba").to_dict()
    data["cohort"]["networks"] = 1
    run = Protocol.from_dict(data).run(seed=0)

    def at_end(name):
        return run.curves("aba", name)[0].groupby(level="phase", sort=False).last()

    uu, vu = at_end("uu"), at_end("vu")
    # B moved both; A again brought both back, to the order of the step (published: 3e-3 in uu)
    assert abs(vu["B"] - vu["A"]) > 0.15
    assert abs(uu["B"] - uu["A"]) > 0.08
    assert abs(vu["A again"] - vu["A"]) < 1e-4
    assert abs(uu["A again"] - uu["A"]) < 5e-3
    # with a noisy teacher the visible overlap returns, the invisible one is elsewhere
    assert abs(vu["A noisy"] - vu["A"]) < 0.03
    assert uu["A noisy"] < uu["A"] - 0.15


def test_readout_perturbation_drop_is_that_of_a_turned_cursor():
    data = Protocol.load("readout-perturbation").to_dict()
    data["cohort"]["networks"] = 1
    run = Protocol.from_dict(data).run(seed=0)
    before = value(run, "rotated", 0, "practice", 3000, "loss:reach")
    dropped = value(run, "rotated", 0, "turn", 0, "loss:reach")
    # a cursor at the right speed, 45 degrees off: |1 - e^{i pi/4}|^2 = 0.586
    assert before < 0.01
    assert dropped == pytest.approx(abs(1 - np.exp(1j * np.pi / 4)) ** 2, abs=0.02)
    # washout: the aftereffect is the drop in the other direction, and it is unlearned
    after = value(run, "rotated", 0, "turn back", 0, "loss:reach")
    assert after == pytest.approx(dropped, abs=0.02)
    assert value(run, "rotated", 0, "washout", 1000, "loss:reach") < 0.01
    z = [name for name in run.overlap_names if name.startswith("z") and name.count("z") == 2]
    practised = run.curves("control", z[0])
    np.testing.assert_allclose(practised, practised.iloc[0, 0], rtol=1e-9)


def to_criterion(run):
    """Return the mean number of epochs to the criterion, by arm and phase."""
    rows = run.table[run.table["quantity"] == "epochs_to_criterion"]
    assert rows["value"].notna().all()
    return rows.groupby(["arm", "phase"])["value"].mean()


def shipped(name, networks=2):
    data = Protocol.load(name).to_dict()
    data["cohort"]["networks"] = networks
    return Protocol.from_dict(data).run(seed=0)


def test_descent_saves_nothing():
    taken = to_criterion(shipped("savings"))
    for arm in ("factors", "synapses"):
        again = taken[arm, "relearn"]
        assert abs(again - taken[arm, "learn"]) <= 3
        assert abs(again - taken[f"{arm}, naive", "relearn"]) <= 2


def test_synapses_reverse_faster_and_faster():
    taken = to_criterion(shipped("serial-reversal"))
    order = [f"{name} {k}" for k in range(1, 6) for name in ("A", "reversed")]
    synapses = taken["synapses"][order].to_numpy()
    assert synapses[1] > 1.2 * synapses[0]
    assert (np.diff(synapses[1:]) <= 0).all()
    assert synapses[-1] < 0.8 * synapses[0]
    assert (taken["factors"][order].to_numpy() > 1.5 * synapses).all()


def test_one_error_after_three_washouts_and_two_courses_of_relearning():
    run = shipped("washout-three-ways")
    rows = run.table[run.table["phase"] == "relearn"]
    starts = rows[(rows["quantity"] == "loss:straight") & (rows["phase_epoch"] == 0)]
    assert starts["value"].between(0.025, 0.035).all()
    taken = to_criterion(run)
    for arm in ("no rotation", "error clamp"):
        assert taken[arm, "relearn"] < 0.75 * taken[arm, "learn"]
        assert taken[arm, "relearn"] < 0.8 * taken["counter-training", "relearn"]


def test_what_was_reversed_comes_back_in_the_clamp():
    run = shipped("error-clamp", networks=1)
    for arm, back in (("reversed", True), ("not reversed", False)):
        rows = run.table[(run.table["arm"] == arm) & (run.table["phase"] == "clamp")]
        losses = rows[rows["quantity"] == "loss"].groupby("network")["value"]
        assert ((losses.last() < 0.75 * losses.first()) == back).all()
        assert ((losses.last() > 1.2 * losses.first()) != back).all()


def test_blocks_leave_the_last_task_and_mixtures_both():
    run = shipped("blocked-or-interleaved")
    ends = {
        (arm, task): value(run, arm, 0, f"test of {task}", 0, "loss")
        for arm in run.arms
        for task in "AB"
    }
    # the best common answer is their mean: a quarter of the loss between the two answers each
    time = 0.05 * np.arange(200)
    between = np.sum((np.exp(-0.2 * time) - np.exp(-0.5 * time)) ** 2) * 0.05
    assert ends["interleaved", "A"] == pytest.approx(between / 4, rel=0.1)
    assert ends["interleaved", "B"] == pytest.approx(between / 4, rel=0.1)
    assert ends["blocked", "A"] == pytest.approx(between, rel=0.1)
    assert ends["blocked", "B"] < 0.01 * ends["blocked", "A"]
    assert ends["blocked", "A"] > ends["short blocks", "A"] > 2 * ends["interleaved", "A"]
