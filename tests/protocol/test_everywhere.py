"""Mixtures, criteria, sessions, rests and probes with every learner, rule and nonlinearity."""

from __future__ import annotations

import numpy as np
import pytest
from test_learners import LEARNERS, REACH
from test_mixtures import MIX, protocol

SESSIONS = {"trials": 30, "epochs_per_trial": 0.2, "forgetting": 0.15}
COURSE = [
    {"name": "both", "task": MIX, "epochs": 12},
    {"name": "night", "rest": 0.3},
    {"repeat": 2, "phases": [{"name": "A", "task": "A", "sessions": 2}]},
    {"name": "until", "task": "B", "epochs": 60, "until": {"loss_fraction": 0.7, "on": "A"}},
    {"name": "until itself", "task": "B", "epochs": 60, "until": {"loss_fraction": 0.6}},
    {"name": "clamp", "probe": "B", "epochs": 8, "forgetting": 0.05},
    {"name": "end", "task": "A", "epochs": 6},
]
SHARED = ("loss", "alignment", "zm", "mm", "zz", "loss:A", "loss:B", "epochs_to_criterion")


def values(run, arm):
    rows = run.table[(run.table["arm"] == arm) & run.table["quantity"].isin(SHARED)]
    return rows.set_index(["network", "phase", "session", "epoch", "quantity"])["value"]


@pytest.mark.parametrize("rule", LEARNERS, ids=lambda rule: "-".join(map(str, rule.values())))
def test_theory_and_neurons_go_through_all_of_it_alike(rule):
    arms = {
        "theory": {"phases": COURSE},
        "neurons": {"phases": COURSE, "engine": "network", "n_neurons": 30},
    }
    run = protocol(
        arms=arms, rule={"rate": 0.01, **rule}, sessions=SESSIONS, record_every=4
    ).run(seed=1)  # fmt: skip
    assert run.failed.empty
    theory, neurons = (values(run, arm) for arm in arms)
    assert set(theory.index) == set(neurons.index)
    np.testing.assert_allclose(neurons.loc[theory.index], theory, rtol=2e-8, atol=1e-9)


@pytest.mark.parametrize("nonlinearity", ["erf", "tanh"])
def test_what_can_be_forgotten_is_learned_as_ever(nonlinearity):
    arms = {
        "forgets": {"phases": [COURSE[0], {"name": "night", "rest": 0.3}]},
        "does not": {"phases": [COURSE[0]]},
    }
    run = protocol(arms=arms, nonlinearity=nonlinearity, record_every=4).run(seed=1)
    for name in ("loss", "vu", "uu"):
        one, other = (run.curves(arm, name).xs("both", level="phase") for arm in arms)
        np.testing.assert_allclose(one, other, rtol=1e-9)
    night = run.curves("forgets", "loss:A").xs("night", level="phase")
    learned = run.curves("forgets", "loss:A").xs("both", level="phase").iloc[-1]
    assert (night.iloc[0] > learned).all()


@pytest.mark.parametrize("engine", ["theory", "network"])
def test_a_cursor_that_is_seen_goes_through_all_of_it(engine):
    far = {**REACH, "distance": 1.5}
    phases = [
        {"name": "both", "task": {"reach": 0.5, "far": 0.5}, "epochs": 20},
        {"name": "turn", "rotate_readout": 30.0},
        {"name": "days", "task": "reach", "sessions": 2},
        {"name": "until", "task": "reach", "epochs": 50, "until": {"loss_fraction": 0.9}},
        {"name": "clamp", "probe": "far", "epochs": 4, "forgetting": {"v": 0.1}},
    ]
    more = {"engine": "network", "n_neurons": 30} if engine == "network" else {}
    run = protocol(
        tasks={"reach": REACH, "far": far}, tau=0.1, evaluate=["reach", "far"],
        cohort={"networks": 2, "overlaps": {"z1m1": 0.1, "z2m2": 0.1}, "spread": 0.03},
        rule={"rate": 0.02, "pathway_rates": {"z": 0.0}}, sessions=SESSIONS,
        arms={"x": {"phases": phases}}, **more,
    ).run(seed=0)  # fmt: skip
    assert run.failed.empty
    both = run.curves("x").xs("both", level="phase")
    apart = [run.curves("x", f"loss:{n}").xs("both", level="phase") for n in ("reach", "far")]
    expected = 0.5 * (apart[0].to_numpy() + apart[1].to_numpy())
    np.testing.assert_allclose(both.iloc[[0, -1]], expected, rtol=1e-9)
    assert (run.table[run.table["quantity"] == "criterion_reached"]["value"] == 1).all()


def test_rules_of_single_synapses_and_of_reward_take_them_too():
    for rule in (
        {"type": "adam", "rate": 0.002},
        {"type": "node-perturbation", "rate": 0.001, "learns": "synapses"},
    ):
        course = [part for part in COURSE if "on" not in part.get("until", {})]
        run = protocol(
            arms={"x": {"phases": course, "rule": rule}}, rule=rule, engine="network",
            n_neurons=20, sessions=SESSIONS, record_every=6,
        ).run(seed=0)  # fmt: skip
        assert run.failed.empty
        assert run.curves("x").index.get_level_values("session").max() == 4
