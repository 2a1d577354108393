"""Protocols in which synapses learn, errors have feedback of their own, or the loop is closed."""

from __future__ import annotations

import itertools
import pickle

import neuron_network
import numpy as np
import pytest

import predictlearn as pl
from predictlearn.errors import InputError
from predictlearn.protocol import Protocol, change_readout
from predictlearn.protocol.readout import readout_in_span
from predictlearn.tasks import get_task

N = 60
A, B = {"type": "filter", "decay": 0.2}, {"type": "filter", "decay": 0.4}
ABA = [
    {"name": "A", "task": "A", "epochs": 120},
    {"name": "B", "task": "B", "epochs": 80},
    {"name": "A again", "task": "A", "epochs": 60},
]
SHORT = {name: {**each, "duration": 4.0} for name, each in (("A", A), ("B", B))}
SHORT_ABA = [{**phase, "epochs": phase["epochs"] // 4} for phase in ABA]
REACH = {"type": "cursor-reaching", "dt": 0.05, "delay": 0.075, "gain": 4.0, "smoothing": 0.05}


def protocol(arms, tasks=None, **changes):
    content = {
        "name": "learners",
        "cohort": {"networks": 2, "overlaps": {"zm": 0.1, "zu": 0.1, "vm": 0.1}, "spread": 0.03},
        "tasks": tasks or {"A": A, "B": B},
        "rule": {"rate": 0.01},
        "arms": arms,
        "record_every": 40,
        "evaluate": ["A", "B"] if tasks is None else list(tasks),
    }
    return Protocol.from_dict({**content, **changes})


def reaching(arms, **changes):
    overlaps = {"z1m1": 0.1, "z2m2": 0.1}
    cohort = {"networks": 1, "overlaps": overlaps, "spread": 0.03}
    rule = {"rate": 0.02, "pathway_rates": {"z": 0.0}}
    settings = {"cohort": cohort, "rule": rule, "tau": 0.1, **changes}
    return protocol(arms, {"reach": REACH}, **settings)


def test_synapses_go_through_the_phases_as_those_of_n_neurons_do():
    arms = {"x": {"rule": {"learns": "synapses"}, "phases": SHORT_ABA}}
    run = protocol(arms, SHORT, record_every=10).run(seed=0)
    for number, start in enumerate(run.starts):
        network = pl.Synapses.from_overlaps(start).on_neurons(N, 1)
        world = neuron_network.open_world(1, 1)
        for phase in SHORT_ABA:
            trials = pl.Filter(decay={"A": 0.2, "B": 0.4}[phase["task"]], duration=4.0).sample()
            losses, m, w, z = neuron_network.learn_synapses(
                network, world, trials.inputs, trials.targets, trials.weights, 0.05, 0.01,
                phase["epochs"],
            )  # fmt: skip
            network = pl.SynapticNetwork(m, w, z)
            measured = run.curves("x").xs(phase["name"], level="phase")[number]
            at = measured.index.get_level_values("phase_epoch")
            np.testing.assert_allclose(measured, losses[at], rtol=1e-11)
            held = run.networks["x", number, phase["name"]]
            np.testing.assert_allclose(held.function(6), network.function(6), atol=1e-12)
            singular = np.linalg.svd(w, compute_uv=False)[: held.dim]
            np.testing.assert_allclose(held.singular_values, singular, atol=1e-12)
        end = run.final_table("x").loc[number]
        assert end["zz"] == pytest.approx(np.sum(z * z) / N, rel=1e-12)
        assert end["ww"] == pytest.approx(np.sum(w * w), rel=1e-12)
        assert np.linalg.matrix_rank(w, tol=1e-9) > 1  # more than the factors ever have
        final = run.final("x")[number]
        assert isinstance(final, pl.Synapses)


@pytest.mark.parametrize("feedback", ["readout-before", {"decoder": 1.0, "private": 0.0}])
@pytest.mark.parametrize("learns", ["factors", "synapses"])
def test_the_old_decoder_goes_on_teaching_after_the_turn(learns, feedback):
    """Against N neurons: descent through the loop, the readout turned, then feedback by Z_old."""
    local = {"type": "feedback-alignment", "feedback": feedback}
    first = {"loop": "through"} if feedback == "readout-before" else local
    phases = [
        {"name": "practice", "task": "reach", "epochs": 60, "rule": first},
        {"name": "turn", "rotate_readout": 40.0},
        {"name": "perturbed", "task": "reach", "epochs": 50, "rule": local},
    ]
    run = reaching({"x": {"rule": {"learns": learns}, "phases": phases}}).run(seed=0)
    assert run.failed.empty
    task = get_task(REACH["type"], **{key: REACH[key] for key in REACH if key != "type"})
    trials, start = task.sample(), run.starts[0]
    shown = (task.world, trials.inputs, trials.targets, trials.weights, 0.5)
    turn = np.deg2rad(40.0)
    matrix = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    rule = "through" if feedback == "readout-before" else "fa"
    if learns == "synapses":
        network = pl.Synapses.from_overlaps(start, pl.Feedback(1.0, 0.0)).on_neurons(N, 1)
        old = network.z
        frozen = (1.0, 1.0, 0.0)
        _, m, w, z = neuron_network.learn_synapses(network, *shown, 0.02, 60, rule, rates=frozen)
        turned = pl.SynapticNetwork(m, w, z @ matrix.T, old)
        losses, m, w, z = neuron_network.learn_synapses(
            turned, *shown, 0.02, 50, "fa", rates=frozen
        )
        end = pl.SynapticNetwork(m, w, z).function(6)
    else:
        network, old = pl.Factors.from_overlaps(start, pl.Feedback(1.0, 0.0)).on_neurons(N, 1)
        frozen = (1.0, 1.0, 1.0, 0.0)
        parts, _ = neuron_network.factors_after(network, old, *shown, 0.02, 60, rule, frozen)
        m, u, v, z = parts
        turned = pl.Loadings(m, u, v, z @ matrix.T)
        parts, losses = neuron_network.factors_after(turned, old, *shown, 0.02, 50, "fa", frozen)
        m, u, v, z = parts
        end = pl.SynapticNetwork(m, u @ v.T / N, z).function(6)
    measured = run.curves("x").xs("perturbed", level="phase")[0]
    at = measured.index.get_level_values("phase_epoch")
    np.testing.assert_allclose(measured, losses[at], rtol=1e-10)
    held = run.networks["x", 0, "perturbed"]
    found = held if learns == "synapses" else pl.Synapses(held.m, held.u @ held.v.T, held.z)
    np.testing.assert_allclose(found.function(6), end, atol=1e-11)
    turned_by = run.curves("x", "alignment").xs("perturbed", level="phase")[0]
    assert turned_by.to_numpy() == pytest.approx(np.cos(turn), abs=1e-12)


def quantities(run, arm):
    """Return loss, alignment and what both engines record, a row an epoch kept."""
    rows = run.table[run.table["arm"] == arm].set_index(["network", "phase", "epoch", "quantity"])
    return rows["value"]


LEARNERS = [
    {"learns": "synapses"},
    {"type": "rflo", "feedback": {"decoder": 0.3, "private": 0.8}},
    {"type": "feedback-alignment", "feedback": {"decoder": 0.3, "private": 0.8}},
    {"type": "rflo", "learns": "synapses", "feedback": {"decoder": 1.0, "private": 0.4}},
]


# every rule in the closed loop, and with and without feedback of its own in the open one
PAIRS = [
    pytest.param(
        rule,
        loop,
        id=f"{loop}-" + "-".join(map(str, rule.values())),
        marks=[pytest.mark.slow] if loop == "open" and number >= 2 else [],
    )
    for number, rule in enumerate(LEARNERS)
    for loop in ("open", "closed")
]


@pytest.mark.parametrize(("rule", "loop"), PAIRS)
def test_neurons_go_through_the_phases_as_the_theory_does(rule, loop):
    synaptic = rule.get("learns") == "synapses"
    if loop == "open":
        change = {"readout": {"zm": 0.3, "zz": 1.2} if synaptic else {"zm": 0.3, "zu": 0.2}}
        phases, task, make = [*SHORT_ABA], "A", protocol
        phases.insert(1, {"name": "change", **change})
    else:
        phases = [
            {"name": "practice", "task": "reach", "epochs": 60},
            {"name": "turn", "rotate_readout": 30.0},
            {"name": "perturbed", "task": "reach", "epochs": 40},
            {"name": "back", "rotate_readout": -30.0},
        ]
        task, make = "reach", reaching
    old = {"name": "old decoder", "task": task, "epochs": 40}
    old["rule"] = {"type": "feedback-alignment", "feedback": "readout-before"}
    phases = [*phases, old, {"name": "descent", "task": task, "epochs": 20,
                             "rule": {"type": "gradient-descent", "feedback": None}}]  # fmt: skip
    arms = {
        "theory": {"rule": rule, "phases": phases},
        "neurons": {"rule": rule, "engine": "network", "n_neurons": 40, "phases": phases},
    }
    settings = {"tasks": SHORT, "record_every": 10} if loop == "open" else {}
    run = make(arms, **settings).run(seed=0)
    assert run.failed.empty
    one, two = quantities(run, "theory"), quantities(run, "neurons")
    both = one.index.intersection(two.index)
    named = set(both.get_level_values("quantity"))
    assert named >= {"loss", "zm" if loop == "open" else "z1m1", "alignment"}
    if synaptic:
        assert named >= {"ww", "w1", "w2"}
        assert isinstance(run.final("neurons")[0], pl.SynapticNetwork)
    else:
        assert named >= set(run.overlap_names)
        assert run.loadings("neurons", 0).u.shape[0] == 40
    np.testing.assert_allclose(one[both], two[both], rtol=1e-8, atol=1e-10)


def test_feedback_and_synapses_are_handed_on():
    random = {"type": "rflo", "feedback": {"decoder": 0.2, "private": 0.9}}
    phases = [
        {"name": "1", "task": "A", "epochs": 40, "rule": {"type": "feedback-alignment"}},
        {"name": "2", "task": "B", "epochs": 40},
        {"name": "3", "task": "A", "epochs": 40, "rule": {"type": "feedback-alignment"}},
        {"name": "4", "readout": {"zm": 0.3}},
        {"name": "5", "task": "A", "epochs": 40, "rule": random},
        {"name": "6", "task": "A", "epochs": 40, "rule": {**random, "learns": "synapses"}},
        {"name": "7", "readout": {"zm": 0.5, "zz": 2.0}},
        {"name": "8", "task": "B", "epochs": 40},
    ]
    run = protocol({"x": {"phases": phases}}).run(seed=0)
    assert run.failed.empty
    one = {name: run.networks["x", 0, name] for name in "12345678"}
    b = one["1"].feedback
    for name in "23":  # made once, and kept by rules without it and by the same rule again
        np.testing.assert_array_equal(one[name].feedback, b)
    padded = np.pad(b, ((0, len(one["4"].m) - len(b)), (0, 0)))
    np.testing.assert_array_equal(one["4"].feedback, padded)
    # another feedback is another B, by the readout that is there now
    z = one["4"].z
    assert np.sum(one["5"].feedback[: len(z)] * z) == pytest.approx(0.2 * np.sum(z * z))
    assert float(np.sum(one["5"].feedback ** 2)) == pytest.approx(0.2**2 * np.sum(z * z) + 0.9**2)
    for name in "678":
        assert isinstance(one[name], pl.Synapses)
        assert float(np.sum(one[name].feedback ** 2)) == pytest.approx(
            float(np.sum(one["5"].feedback ** 2))
        )
    assert one["7"].quantities()["zm"] == pytest.approx(0.5)
    assert one["7"].quantities()["zz"] == pytest.approx(2.0)
    np.testing.assert_array_equal(one["7"].w[: one["6"].dim, : one["6"].dim], one["6"].w)
    assert one["7"].singular_values[1] > 1e-6  # of full rank, and nothing of it is lost
    table = run.table[(run.table["network"] == 0) & (run.table["quantity"] == "loss:A")]
    edges = [g["value"].to_numpy() for _, g in table.groupby("phase", sort=False)]
    for earlier, later in itertools.pairwise(edges):
        if len(earlier) == 2 and len(later) == 2:
            assert later[0] == pytest.approx(earlier[1], rel=1e-12)


def test_factors_with_feedback_equal_to_the_readout_start_as_descent():
    """Feedback by Z itself is descent in the first step; later Z learns and B does not."""
    arms = {
        "descent": {"phases": ABA[:1]},
        "fa": {
            "rule": {"type": "feedback-alignment", "feedback": {"decoder": 1, "private": 0}},
            "phases": ABA[:1],
        },
    }
    run = protocol(arms, record_every=1).run(seed=0)
    descent, fa = run.curves("descent"), run.curves("fa")
    np.testing.assert_allclose(descent.iloc[:2], fa.iloc[:2], rtol=1e-12)
    assert np.abs(descent.iloc[-1] - fa.iloc[-1]).max() > 1e-4
    assert set(run.final_table("fa")) == set(run.overlap_names)
    assert isinstance(run.final("fa")[0], pl.Overlaps)


def test_a_run_is_read_back_from_its_folder(tmp_path):
    arms = {
        "synapses": {"rule": {"learns": "synapses"}, "phases": ABA[:2]},
        "rflo": {"rule": {"type": "rflo"}, "phases": ABA[:2]},
        "factors": {"phases": ABA[:2]},
    }
    small = protocol(arms)
    first = small.run(seed=0, output=tmp_path / "out")
    again = small.run(seed=0, output=tmp_path / "out")
    copied = pickle.loads(pickle.dumps(first))
    for other in (again, copied):
        assert first.table.equals(other.table)
        assert first.networks.keys() == other.networks.keys()
        for key, network in first.networks.items():
            assert type(network) is type(other.networks[key])
            for part in vars(network):
                np.testing.assert_array_equal(
                    getattr(network, part), getattr(other.networks[key], part)
                )
    assert {key[0] for key in first.networks} == {"synapses", "rflo"}
    assert first.networks["rflo", 0, "B"].feedback.shape == (5, 1)


def test_gradient_flow_of_synapses_conserves():
    flow = {"type": "gradient-flow", "learns": "synapses", "rate": 0.01}
    run = protocol({"x": {"rule": flow, "phases": ABA[:2]}}).run(seed=0)
    c = run.curves("x", "c1")[0]
    assert np.ptp(c.to_numpy()) < 1e-6
    assert run.curves("x")[0].index.get_level_values("epoch")[-1] == 200


def test_gradient_flow_of_factors_goes_through_a_loop_as_small_steps_do():
    flow = {"type": "gradient-flow", "rate": 0.02, "pathway_rates": {"z": 0.0}}
    small = {"type": "gradient-descent", "rate": 0.001, "pathway_rates": {"z": 0.0}}
    arms = {
        "flow": {"rule": flow, "phases": [{"task": "reach", "epochs": 50}]},
        "small steps": {"rule": small, "phases": [{"task": "reach", "epochs": 1000}]},
    }
    run = reaching(arms).run(seed=0)
    ends = [run.curves(arm)[0].iloc[-1] for arm in run.arms]
    assert ends[0] == pytest.approx(ends[1], rel=1e-2)
    assert ends[0] < 0.5 * run.curves("flow")[0].iloc[0]


def test_a_network_whose_loop_runs_away_fails_alone():
    cohort = {"networks": 12, "overlaps": {"z1m1": 0.0}, "spread": 0.3}
    tasks = {"reach": {**REACH, "gain": 25.0}}
    arms = {"x": {"phases": [{"task": "reach", "epochs": 1}]}}
    run = protocol(arms, tasks, cohort=cohort, tau=0.1, rule={"rate": 1e-5}).run(seed=0)
    assert 0 < len(run.failed) < 12
    assert run.failed["reason"].str.contains("unstable before learning").all()


@pytest.mark.quick
def test_a_readout_in_the_span_is_the_one_of_the_overlaps():
    g = 0.2 * np.random.default_rng(0).normal(size=(9, 9))
    start = pl.Overlaps(np.eye(9) + g @ g.T, 3, 2, 2)
    network = pl.Factors.from_overlaps(start, pl.Feedback(0.5, 0.5))
    for values, within in (({"z1m1": 0.4, "z2u1": -0.2}, False), ({"z1m1": 0.4}, True)):
        after = readout_in_span(network, values, within)
        expected = change_readout(start, values, within)
        np.testing.assert_allclose(after.overlaps.matrix, expected.matrix, atol=1e-12)
        np.testing.assert_array_equal(after.feedback[: len(network.m)], network.feedback)
    # a readout inside of the rest has no part of its own to keep
    inside = readout_in_span(network, {"z1m1": 0.4}, True)
    again = readout_in_span(inside, {"z1z1": 2.0, "z2z2": 2.0})
    assert again.overlaps["z1z1"] == pytest.approx(2.0)
    assert again.overlaps["z1m1"] == pytest.approx(0.4)
    with pytest.raises(InputError, match="no readout has the overlaps"):
        readout_in_span(pl.Synapses.from_overlaps(start), {"z1m1": 5.0})


PERTURBED = {"type": "node-perturbation", "rate": 0.002, "noise": 0.2}


def neuron_rng(seed):
    """Where the noise in neurons of a phase is drawn from, written apart."""
    return np.random.default_rng(np.random.SeedSequence(seed).spawn(6)[4])


# factors go through the same step of the neurons, and the spread of their steps is tested below
@pytest.mark.parametrize("learns", [pytest.param("factors", marks=pytest.mark.slow), "synapses"])
def test_node_perturbation_is_that_of_n_neurons_written_apart(learns):
    """Phase after phase, in either learner, from the loadings and the noise of the network."""
    arms = {"x": {"engine": "network", "n_neurons": 30, "rule": {**PERTURBED, "learns": learns},
                  "phases": SHORT_ABA[:2]}}  # fmt: skip
    run = protocol(arms, SHORT, record_every=10).run(seed=0)
    assert run.failed.empty
    world = neuron_network.open_world(1, 1)
    for number, start in enumerate(run.starts):
        whole = [
            int(np.random.SeedSequence(0, spawn_key=(number, *key)).generate_state(1, np.uint64)[0])
            for key in ((1,), (3, 0, 0), (3, 1, 0))
        ]
        held = start.loadings(30, whole[0])
        if learns == "synapses":
            held = pl.SynapticNetwork.from_loadings(held)
        for phase, seed in zip(SHORT_ABA[:2], whole[1:], strict=True):
            trials = pl.Filter(SHORT[phase["task"]]["decay"], duration=4.0).sample()
            shown = (world, trials.inputs, trials.targets, trials.weights, 0.05, 0.002)
            shown += (phase["epochs"],)
            noise = {"sigma": 0.2, "rng": neuron_rng(seed)}
            if learns == "synapses":
                losses, m, w, z = neuron_network.learn_synapses(held, *shown, **noise)
                held = pl.SynapticNetwork(m, w, z)
            else:
                parts, losses = neuron_network.factors_after(held, None, *shown, None, **noise)
                held = pl.Loadings(*parts)
            measured = run.curves("x").xs(phase["name"], level="phase")[number]
            at = measured.index.get_level_values("phase_epoch")
            np.testing.assert_allclose(measured, losses[at], rtol=1e-9)
        ends = run.networks["x", number, "B"].z if learns == "synapses" else run.loadings(
            "x", number).z  # fmt: skip
        np.testing.assert_allclose(ends, held.z, atol=1e-11)


def test_several_noisy_networks_scatter_as_the_closed_form_says():
    """One step of 300 networks that differ in noise alone: its mean and its spread."""
    cohort = {"networks": 300, "overlaps": {"zm": 0.1, "zu": 0.3, "vm": 0.3}, "spread": 0.0}
    task = {"type": "filter", "decay": 0.2, "duration": 3.0, "dt": 0.1}
    rule = {"type": "node-perturbation", "learns": "synapses", "rate": 0.01, "noise": 0.3,
            "pathway_rates": {"z": 0.0}}  # fmt: skip
    arms = {"x": {"engine": "network", "n_neurons": 20, "rule": rule,
                  "phases": [{"name": "A", "task": "A", "epochs": 1}]}}  # fmt: skip
    run = protocol(arms, {"A": task}, cohort=cohort, record_every=1, evaluate=[]).run(seed=1)
    step = run.curves("x", "zm").diff().iloc[-1].to_numpy()
    network = pl.Synapses.from_overlaps(run.starts[0])
    trials = pl.Filter(decay=0.2, duration=3.0, dt=0.1).sample()
    found = pl.node_perturbation_step(network, trials, 0.01, 0.3, 20)
    z, column = network.z[:, 0], network.dim  # columns of the step: those of W, then of M
    mean = z @ found.mean[:, column]
    sd = np.sqrt(z @ found.inside[:, column, :, column] @ z)
    assert step.mean() == pytest.approx(mean, abs=4 * sd / np.sqrt(300))
    # rewards have heavy tails, and so has the spread of 300 steps
    assert step.std() == pytest.approx(sd, rel=0.25)
    assert abs(mean) > 4 * sd / np.sqrt(300)


# mean and spread of one step are tested above; this follows them over epochs
@pytest.mark.slow
def test_reward_alone_learns_as_descent_does_on_average():
    data = Protocol.load("node-perturbation").to_dict()
    data["cohort"]["networks"] = 2
    run = Protocol.from_dict(data).run(seed=0)
    assert run.failed.empty
    descent = run.curves("descent").iloc[-1].mean()
    for arm in ("30 neurons", "120 neurons"):
        ends = run.curves(arm).iloc[-1]
        assert np.all(ends < 0.15 * run.curves(arm).iloc[0])
        assert ends.std() > 0.02 * descent


GIVEN = {"task": "A", "epochs": 5}
MISTAKES = [
    ({"rule": {"learns": "neurons"}}, None, "factors', 'synapses"),
    ({"rule": {"learns": "synapses", "type": "direct-descent"}}, None, "does not go with direct-d"),
    ({"rule": {"learns": "synapses", "type": "adam"}}, None, "does not go with adam"),
    ({"rule": {"feedback": {"private": 1}}}, None, "feedback does not go with this type of rule"),
    ({"rule": {"type": "rflo", "feedback": {"privat": 1}}}, None, "Did you mean 'private'"),
    ({"rule": {"type": "rflo", "feedback": {"decoder": [[1, 0], [0, 1]]}}}, None, "1 x 1 for 1 ou"),
    ({"rule": {"type": "rflo", "feedback": {"decoder": [1, 0]}}}, None, "number or a matrix"),
    ({"rule": {"type": "rflo", "feedback": "readout-befor"}}, None, "Did you mean 'readout-before"),
    ({"rule": {"type": "rflo", "feedback": "readout-before"}}, None, "a change of the readout bef"),
    ({"rule": {"type": "rflo", "loop": "given"}}, None, "loop does not go with this type"),
    ({"rule": {"loop": "open"}}, None, "'through', 'given'"),
    ({"rule": PERTURBED}, None, "it needs engine: network and n_neurons"),
    ({"rule": {**PERTURBED, "learns": "synapses"}}, None, "Its mean is gradient-descent"),
    ({"rule": {"noise": 0.1}}, None, "noise does not go with this type of rule"),
    ({"rule": {"type": "node-perturbatio"}}, None, "Did you mean 'node-perturbation'"),
    (
        {"rule": {**PERTURBED, "feedback": {"private": 1}}},
        None,
        "feedback does not go with this type of rule",
    ),
    ({"rule": {"learns": "synapses", "pathway_rates": {"u": 0}}}, None, "these are m, w, z"),
    ({"rule": {"pathway_rates": {"w": 0}}}, None, "these are m, u, v, z"),
    ({"rule": {"learns": "synapses", "synaptic_noise": 0.1}}, None, "leaves the span"),
    (
        {},
        [{**GIVEN, "rule": {"learns": "synapses"}}, {**GIVEN, "rule": {"learns": "factors"}}],
        "have no factors",
    ),
    ({}, [{**GIVEN, "rule": {"learns": "synapses"}}, {"readout": {"zu": 0.1}}], "no u and v"),
    (
        {"engine": "network", "n_neurons": 50},
        [
            {**GIVEN, "rule": {"learns": "synapses"}},
            {**GIVEN, "rule": {"type": "adam", "rate": 0.1}},
        ],
        "factors of an open loop only",
    ),
    (
        {},
        [{**GIVEN, "rule": {"type": "rflo"}}, {**GIVEN, "rule": {"type": "direct-descent"}}],
        "overlaps say it all",
    ),
]


@pytest.mark.quick
@pytest.mark.parametrize(("arm", "phases", "said"), MISTAKES)
def test_a_wrong_learner_is_one_message(arm, phases, said):
    phases = [GIVEN] if phases is None else phases
    phases = [{"name": str(k), **phase} for k, phase in enumerate(phases)]
    with pytest.raises(InputError, match=said) as caught:
        protocol({"x": {**arm, "phases": phases}})
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.quick
def test_a_loop_that_runs_away_is_named_before_the_run():
    cohort = {"networks": 1, "overlaps": {"z1m1": -0.6, "z2m2": -0.6}}
    arms = {"x": {"phases": [{"task": "reach", "epochs": 5}]}}
    with pytest.raises(InputError, match=r"unstable loop: spectral radius .* grows e-fold in .* s"):
        protocol(arms, {"reach": {**REACH, "gain": 40.0}}, cohort=cohort, tau=0.1)


def test_without_noise_synapses_keep_a_trace_of_b_and_factors_do_not():
    data = Protocol.load("synapses-aba").to_dict()
    data["cohort"]["networks"] = 2
    run = Protocol.from_dict(data).run(seed=0)

    def returned(arm, name):
        """Return how much of what B moved is not back after A again."""
        course = run.curves(arm, name).groupby(level="phase", sort=False).last()
        moved = (course.loc["B"] - course.loc["A"]).abs()
        return ((course.loc["A again"] - course.loc["A"]).abs() / moved).to_numpy()

    assert np.all(returned("factors", "mm") < 0.02)
    assert np.all(returned("synapses", "mm") > 0.05)
    for arm in run.arms:  # what the loss sees is back in both
        course = run.curves(arm, "loss:A").groupby(level="phase", sort=False).last()
        assert np.all(course.loc["A again"] < 1e-3)


def test_whoever_learns_makes_up_for_a_turned_readout_in_the_loop():
    data = Protocol.load("closed-loop-reaching").to_dict()
    data["cohort"]["networks"] = 1
    run = Protocol.from_dict(data).run(seed=0)
    assert run.failed.empty
    for arm in run.arms:
        losses = run.curves(arm)
        practised = losses.xs("practice", level="phase").iloc[-1]
        perturbed = losses.xs("perturbed", level="phase")
        assert np.all(perturbed.iloc[0] > 20 * practised)
        assert np.all(perturbed.iloc[-1] < 1.2 * practised)
    turned = run.networks["through", 0, "turn"]
    task = Protocol.load("closed-loop-reaching").tasks["reach"]
    assert pl.loop_stability(turned, task, 0.1).gain_range[1] < 1.5  # near the edge
