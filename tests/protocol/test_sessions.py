"""Sessions, rests and probes: against N neurons whose weights decay by hand."""

from __future__ import annotations

import neuron_network
import numpy as np
import pytest
from test_mixtures import N, protocol, shown

import predictlearn as pl
from predictlearn.errors import InputError

A, B = shown(0.2), shown(0.6)
SESSIONS = {"trials": 40, "epochs_per_trial": 0.2}


class ByHand:
    """N neurons with factors or with synapses, which learn and forget."""

    def __init__(self, start, learns):
        self.learns = learns
        loadings = start.loadings(N, 1)
        parts = {name: np.array(getattr(loadings, name)) for name in "muvz"}
        if learns == "synapses":
            w = parts.pop("u") @ parts.pop("v").T / N
            parts = {"m": parts["m"], "w": w, "z": parts["z"]}
        self.now, self.before = dict(parts), dict(parts)

    def learn(self, trials, epochs, rate=0.01):
        world = neuron_network.open_world(1, 1)
        if self.learns == "synapses":
            network = pl.SynapticNetwork(**self.now)
            losses, *parts = neuron_network.learn_synapses(
                network, world, *trials, 0.05, rate, epochs
            )
        else:
            parts, losses = neuron_network.factors_after(
                pl.Loadings(**self.now), None, world, *trials, 0.05, rate, epochs, "through"
            )
        self.now = dict(zip(self.now, parts, strict=True))
        return losses

    def loss(self, trials):
        kept = {name: part.copy() for name, part in self.now.items()}
        found = self.learn(trials, 0)
        self.now = kept
        return found[0]

    def forget(self, f):
        for name, start in self.before.items():
            part = f.get(name, 0.0) if isinstance(f, dict) else f
            self.now[name] = (1 - part) * self.now[name] + part * start


def learner(engine, learns):
    more = {"engine": "network", "n_neurons": N} if engine == "network" else {}
    return {"rule": {"rate": 0.01, "learns": learns}, **more}


FORGOTTEN = {"factors": [0.3, {"v": 0.5, "z": 0.1}], "synapses": [0.3, {"w": 0.5, "z": 0.1}]}


@pytest.mark.parametrize("engine", ["theory", "network"])
@pytest.mark.parametrize("learns", ["factors", "synapses"])
@pytest.mark.parametrize("pathways", [0, 1], ids=["all", "by pathway"])
def test_what_was_learned_decays_towards_the_start(engine, learns, pathways):
    f = FORGOTTEN[learns][pathways]
    phases = [
        {"name": "A", "task": "A", "epochs": 20},
        {"name": "night", "rest": f},
        {"name": "clamp", "probe": "B", "epochs": 6, "forgetting": f},
        {"name": "B", "task": "B", "epochs": 10},
    ]
    run = protocol(arms={"x": {"phases": phases}}, record_every=2, **learner(engine, learns)).run()
    for number, start in enumerate(run.starts):
        hand = ByHand(start, learns)

        def curve(phase, quantity="loss", number=number):
            return run.curves("x", quantity).xs(phase, level="phase")[number].to_numpy()

        np.testing.assert_allclose(curve("A"), hand.learn(A, 20)[::2], rtol=1e-9)
        np.testing.assert_allclose(curve("A", "loss:B")[1], hand.loss(B), rtol=1e-9)
        hand.forget(f)
        np.testing.assert_allclose(curve("night", "loss:B"), [hand.loss(B)], rtol=1e-9)
        expected = [hand.loss(B)]
        for epoch in range(1, 7):
            hand.forget(f)
            if epoch % 2 == 0:
                expected.append(hand.loss(B))
        np.testing.assert_allclose(curve("clamp"), expected, rtol=1e-9)
        np.testing.assert_allclose(curve("B"), hand.learn(B, 10)[::2], rtol=1e-9)
    epochs = run.curves("x").index.get_level_values("epoch")
    assert epochs.max() == 36  # a probe takes time, a rest none
    assert set(run.table.loc[run.table["phase"] == "night", "task"]) == {""}


def test_a_probe_changes_nothing_and_can_stand_alone():
    phases = [
        {"name": "A", "task": "A", "epochs": 10},
        {"name": "seen", "probe": "B"},
        {"name": "held", "probe": "B", "epochs": 9},
        {"name": "again", "task": "A", "epochs": 10},
    ]
    whole = {"phases": [{"name": "A", "task": "A", "epochs": 20}]}
    run = protocol(arms={"x": {"phases": phases}, "y": whole}, record_every=3).run()
    np.testing.assert_allclose(run.final_table("x"), run.final_table("y"), rtol=1e-12)
    held = run.curves("x").xs("held", level="phase")
    assert held.index.get_level_values("phase_epoch").tolist() == [0, 3, 6, 9]
    assert (held.nunique() == 1).all()
    seen = run.curves("x").xs("seen", level="phase")
    np.testing.assert_array_equal(seen.iloc[0], held.iloc[0])
    assert run.curves("x").index.get_level_values("epoch").max() == 29


def test_random_trials_of_a_probe_are_those_of_the_evaluation():
    tasks = {"A": {"type": "flip-flop", "wait": [1, 2], "dt": 0.05, "trials": 3, "duration": 6.0}}
    phases = [{"task": "A", "epochs": 2}, {"name": "seen", "probe": "A"}]
    run = protocol(tasks=tasks, arms={"x": {"phases": phases}}, evaluate=["A"]).run()
    seen, evaluated = (
        run.curves("x", q).xs("seen", level="phase").to_numpy() for q in ("loss", "loss:A")
    )
    np.testing.assert_array_equal(seen, evaluated)


@pytest.mark.parametrize("engine", ["theory", "network"])
@pytest.mark.parametrize("learns", ["factors", "synapses"])
def test_sessions_are_counted_and_what_is_learned_fades_between_them(engine, learns):
    sessions = {**SESSIONS, "forgetting": 0.2}
    phases = [
        {"name": "A", "task": "A", "sessions": 3},
        {"name": "seen", "probe": "B"},
        {"name": "B", "task": "B", "sessions": 2},
    ]
    arms = {"x": {"phases": phases}}
    run = protocol(arms=arms, sessions=sessions, record_every=4, **learner(engine, learns)).run()
    assert list(run.table)[3:5] == ["task", "session"]
    for number, start in enumerate(run.starts):
        hand = ByHand(start, learns)
        rows = run.curves("x")[number]
        for session in range(1, 6):
            if session > 1:
                hand.forget(0.2)
            trials, phase = (A, "A") if session < 4 else (B, "B")
            found = rows.xs((phase, session), level=("phase", "session"))
            np.testing.assert_allclose(found, hand.learn(trials, 8)[::4], rtol=1e-9)
            before = 8 * (session - 1)
            assert found.index.get_level_values("epoch").tolist() == [
                before,
                before + 4,
                before + 8,
            ]
            if session == 3:
                seen = rows.xs(("seen", 3), level=("phase", "session"))
                np.testing.assert_allclose(seen, [hand.loss(B)], rtol=1e-9)
    ends = run.table[(run.table["quantity"] == "loss:A") & (run.table["phase"] == "A")]
    assert (ends.groupby(["network", "session"]).size() == 2).all()


def test_without_forgetting_sessions_only_count():
    whole = {"phases": [{"name": "A", "task": "A", "epochs": 24}]}
    parts = {"phases": [{"name": "A", "task": "A", "sessions": 3}]}
    run = protocol(arms={"x": parts, "y": whole}, sessions=SESSIONS).run()
    np.testing.assert_allclose(run.final_table("x"), run.final_table("y"), rtol=1e-12)
    assert set(run.table.loc[run.table["arm"] == "y", "session"]) == {0}
    scaled = protocol(arms={"x": parts}, sessions=SESSIONS).with_epochs(0.5)
    assert [step.epochs for step in scaled.spec.steps("x")] == [4, 4, 4]
    assert scaled.spec.sessions.trials == 40


def test_sessions_end_when_the_criterion_is_reached():
    phases = [
        {"name": "A", "task": "A", "sessions": 9, "until": {"loss_fraction": 0.5}},
        {"name": "B", "task": "B", "sessions": 1},
    ]
    run = protocol(arms={"x": {"phases": phases}}, sessions=SESSIONS).run()
    for number, start in enumerate(run.starts):
        losses = ByHand(start, "factors").learn(A, 72)
        expected = int(np.argmax(losses <= 0.5 * losses[0]))
        rows = run.table[run.table["network"] == number]
        taken = rows[rows["quantity"] == "epochs_to_criterion"]
        assert taken["value"].tolist() == [expected]
        assert taken["session"].tolist() == [-(-expected // 8)]
        assert set(rows.loc[rows["phase"] == "B", "session"]) == {-(-expected // 8) + 1}


def test_an_experimenters_readout_is_not_forgotten():
    tasks = {"A": {"type": "reaching", "targets": 4, "duration": 0.6, "dt": 0.05}}
    phases = [
        {"name": "A", "task": "A", "epochs": 10},
        {"name": "turn", "rotate_readout": 40.0},
        {"name": "night", "rest": 1.0},
    ]
    content = {
        "tasks": tasks, "tau": 0.12, "arms": {"x": {"phases": phases}}, "evaluate": [],
        "rule": {"rate": 0.01, "pathway_rates": {"z": 0.0}},
        "cohort": {"networks": 1, "overlaps": {"z1m1": 0.3, "z2m2": 0.3}},
    }  # fmt: skip
    turn = np.deg2rad(40.0)
    for more in ({}, {"engine": "network", "n_neurons": 30}):
        run = protocol(**content, **more).run()
        after = run.curves("x", "z1m1").xs("night", level="phase")[0].item()
        assert after == pytest.approx(0.3 * np.cos(turn), rel=1e-9)
        assert run.curves("x", "z1m2").xs("night", level="phase")[0].item() == pytest.approx(
            -0.3 * np.sin(turn), rel=1e-9
        )


def test_sessions_are_kept_and_do_not_depend_on_workers(tmp_path):
    phases = [{"name": "A", "task": "A", "sessions": 3}, {"name": "night", "rest": 0.5}]
    one = protocol(arms={"x": {"phases": phases}}, sessions={**SESSIONS, "forgetting": 0.1})
    run = one.run(output=tmp_path / "kept", n_jobs=2)
    assert run.table.equals(one.run(output=tmp_path / "kept").table)
    assert run.table.equals(one.run().table)


WRONG = [
    ({"task": "A", "sessions": 2, "epochs": 3}, None, "has either epochs or sessions"),
    ({"task": "A", "sessions": 2}, None, r"sessions: this needs sessions of the protocol"),
    ({"task": "A", "epochs": 2}, SESSIONS, "sessions: no phase is in sessions"),
    (
        {"task": "A", "sessions": 2},
        {"trials": 3, "epochs_per_trial": 0.5},
        r"must be a whole number; 3 times 0\.5 is 1\.5",
    ),
    ({"task": "A", "sessions": 2}, {"trials": 3}, "the key 'epochs_per_trial' is missing"),
    ({"task": "A", "sessions": 2}, {"trial": 3}, "Did you mean 'trials'"),
    (
        {"task": "A", "sessions": 2},
        {**SESSIONS, "forgetting": {"w": 0.1}},
        r"sessions\.forgetting\.w: 'w' is no pathway where factors learn; these are m, u, v, z",
    ),
    ({"probe": "C"}, None, "'C' is not one of the tasks: A, B"),
    ({"probe": "A", "rule": {"rate": 1.0}}, None, "rule does not go with probe, which has epochs"),
    ({"probe": "A", "forgetting": 0.1}, None, "lost in every epoch of a probe; give epochs"),
    ({"rest": 1.5}, None, "rest: must be less than or equal to 1; got 1.5"),
    ({"rest": 0.5, "epochs": 5}, None, "epochs does not go with rest, which stands alone"),
    ({"rest": {"w": 0.5}}, None, r"rest\.w: 'w' is no pathway where factors learn"),
    ({"rest": 0.1, "probe": "A"}, None, "a phase either trains"),
    ({"name": "nothing"}, None, "a phase either trains"),
]  # fmt: skip


@pytest.mark.parametrize(("phase", "sessions", "message"), WRONG)
def test_wrong_sessions_rests_and_probes(phase, sessions, message):
    more = {} if sessions is None else {"sessions": sessions}
    with pytest.raises(InputError, match=message):
        protocol(arms={"x": {"phases": [phase]}}, **more)


def test_rules_that_cannot_forget_say_so():
    rest = [{"task": "A", "epochs": 2}, {"rest": 0.1}]
    for rule, message in (
        (
            {"type": "first-order-descent", "rate": 0.01},
            "first-order-descent needs an arm in which",
        ),
        ({"rate": 0.01, "synaptic_noise": 0.1}, "synaptic_noise: this leaves the span"),
    ):
        with pytest.raises(InputError, match=message + r"(.|\n)*something is\s+forgotten"):
            protocol(arms={"x": {"phases": rest}}, rule=rule)


@pytest.mark.parametrize("learns", ["factors", "synapses"])
def test_gradient_flow_forgets_as_slow_descent_does(learns):
    phases = [
        {"name": "A", "task": "A", "sessions": 3},
        {"name": "night", "rest": 0.3},
        {"name": "B", "task": "B", "epochs": 300},
    ]
    content = {"sessions": {"trials": 100, "epochs_per_trial": 1.0, "forgetting": 0.1}}
    ends = [
        protocol(arms={"x": {"phases": phases}}, rule=rule, **content).run().curves("x", "loss:B")
        for rule in (
            {"type": "gradient-flow", "rate": 1e-4, "learns": learns},
            {"rate": 1e-4, "learns": learns},
        )
    ]
    assert len(ends[0]) == len(ends[1]) == 9
    np.testing.assert_allclose(ends[0].to_numpy(), ends[1].to_numpy(), rtol=1e-3)
