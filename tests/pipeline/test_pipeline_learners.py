"""Predictions from a recording by who learns: synapses, rules with feedback, closed loops."""

from __future__ import annotations

import html
import re

import numpy as np
import pytest
import yaml

import predictlearn as pl
from predictlearn import pipeline, reporting
from predictlearn.pipeline.experiments import flow_design
from predictlearn.pipeline.learner import RULE_NAMES, LearnerChoice, learning_times
from predictlearn.pipeline.units import Units

QUICK = {"n_draws": 1, "n_animals": 3, "n_starts": 1, "n_bootstrap": 5, "cv": 2, "rank": 1,
         "tau": 1.0, "latency": 0.0}  # fmt: skip


def made(n_in=1, n_out=1, rank=1, neurons=15):
    """A recording of a linear network."""
    rng = np.random.default_rng(0)
    inputs = 0.5 * rng.normal(size=(12, 25, n_in)).cumsum(axis=1)
    k, loadings = np.zeros((12, n_in + rank)), rng.normal(size=(neurons, n_in + rank))
    activity = np.zeros((12, 25, neurons))
    for t in range(25):
        drive = 0.6 * k[:, :rank] + 0.5 * k[:, n_in:]
        k = 0.9 * k + 0.1 * np.column_stack([inputs[:, t], drive])
        activity[:, t] = k @ loadings.T
    out = activity[:, :, :n_out].copy()
    activity += 0.02 * rng.normal(size=activity.shape)
    return pl.Recording(activity, inputs, dt=0.1, outputs=out, metadata={"name": "mine"})


def read(page):
    text = re.sub(r"<(style|script|svg)\b.*?</\1>", " ", page, flags=re.DOTALL)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", "", text)).split())


@pytest.mark.usefixtures("no_pictures")
@pytest.mark.parametrize(
    ("settings", "who", "unit"),
    [
        ({"learns": "synapses"}, "The synapses W themselves learn, by descent", "learning times"),
        ({"rule": "rflo"}, "learn by RFLO", "50 a learning time"),
    ],
)
def test_the_report_says_who_learns(settings, who, unit, tmp_path):
    run = pipeline.predict(made(), seed=3, **settings, **QUICK)
    assert run.problems == ()
    done = run.experiments
    for prediction in (done.exposure, done.order):
        assert prediction.settings["learns"] == settings.get("learns", "factors")
        assert set(prediction.other_learner["learns"]) == {"factors", "synapses"}
    assert unit in done.design.unit
    page = reporting.write(pipeline.make_report(run), tmp_path / "out")
    text = read(page.read_text(encoding="utf-8"))
    assert text.count(who) >= 2
    assert "Where the factors U and V" in text or "Where the synapses W" in text
    assert ("learn (the recorded task" in text) is True
    assert ("alike, whatever the recording cannot tell" in text) is (settings.get("rule") == "rflo")
    assert ("A-B-A leaves a trace of B even without noise" in text) is ("learns" in settings)


def test_learning_in_small_steps_is_the_flow_that_it_stands_for():
    """A rule that takes steps is followed for as long, and starts as fast."""
    starts = [[pl.Overlaps(np.eye(4)).replace(zu=0.1, vm=0.1 * k) for k in (1, 2, 3)]] * 2
    task = pl.Filter(duration=10.0)
    for learns in ("factors", "synapses"):
        times = learning_times(task, starts, "linear", 1.0, learns)
        flow = LearnerChoice.of(learns, None, None).course(times)
        steps = LearnerChoice.of(learns, "gradient-descent", None).course(times)
        for start in starts[0]:
            one = pl.learn(start, task, flow.rules[0], flow.epochs, learns=learns)
            two = pl.learn(start, task, steps.rules[0], int(steps.epochs), learns=learns)
            shares = np.array([0.05, 0.2, 1.0])
            by_flow = np.interp(shares * flow.epochs, one.loss_epochs, one.losses)
            by_steps = np.interp(shares * steps.epochs, two.loss_epochs, two.losses)
            np.testing.assert_allclose(by_steps, by_flow, rtol=0.1, atol=1e-4 * one.losses[0])
        # the loss of the middle animal would vanish in one learning time at its first speed
        small = pl.learn(starts[0][1], task, pl.GradientDescent(1e-7), 1, learns=learns).losses
        assert times[0] == pytest.approx(small[0] * 1e-7 / (small[0] - small[1]), rel=1e-3)


def test_a_loop_in_other_units_is_the_same_loop():
    task = pl.CursorReaching(targets=3, duration=1.0, dt=0.1, gain=3.0, delay=0.15)
    g = 0.1 * np.random.default_rng(0).normal(size=(9, 9))
    scale = np.diag([2.0, 3.0, 0.5, 1, 1, 1, 1, 4.0, 0.2])
    own = pl.Overlaps(np.eye(9) + g @ g.T, 3, 2, 2).replace(z1m1=0.3, z2m2=0.2)
    recorded = pl.Overlaps(scale @ own.matrix @ scale, 3, 2, 2)
    units = Units(np.array([2.0, 3.0, 0.5]), np.array([4.0, 0.2]))
    scaled = units.task(task)
    assert scaled.world.is_closed
    trials, same = task.sample(), scaled.sample()
    first = trials.observe(pl.simulate(recorded, trials, "linear", 0.2).outputs)
    second = same.observe(pl.simulate(own, same, "linear", 0.2).outputs)
    np.testing.assert_allclose(first, second, rtol=1e-10, atol=1e-12)
    frozen = scaled.freeze()
    assert frozen.world == scaled.world
    open_loop = units.task(pl.CursorReaching(targets=3, duration=1.0, dt=0.1, feedback="none"))
    assert not open_loop.world.is_closed


# exposure and order in closed loops: tests/predictions/test_rules_and_loops.py; units: above
@pytest.mark.slow
def test_a_closed_loop_is_predicted_for_either_learner():
    recording = made(3, 2, 2, 30)
    task = "cursor-reaching:targets=4,duration=1.0,reach_time=0.4,gain=1.0,feedback=error"
    settings = {**QUICK, "rank": 2}
    run = pipeline.predict(recording, task=task, rule="gradient-descent", seed=1, **settings)
    assert run.problems == ()
    exposure, order = run.experiments.exposure, run.experiments.order
    assert set(exposure.other_learner["learns"]) == {"factors", "synapses"}
    design = run.experiments.design
    assert all(task.world.is_closed for task in design.order)
    # B asks for another place of the cursor; the loop is the same
    a, b = (task.sample() for task in design.order)
    assert a.world == b.world
    assert not np.allclose(a.targets, b.targets)
    losses = order.table[order.table["quantity"] == "loss on A"]
    assert losses["value"].max() < 2.0
    report = pipeline.make_report(run)
    said = " ".join(text for section in report.sections for text in section.paragraphs)
    assert "the loop is closed" in said


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"learns": "synapse"}, "Did you mean 'synapses'"),
        ({"rule": "rflow"}, "Did you mean 'rflo'"),
        ({"rule": pl.Adam(1e-3)}, f"rule must be one of {', '.join(RULE_NAMES)}"),
        ({"rule": "node-perturbation"}, "engine: network and rule: {type: node-perturbation}"),
        ({"rule": pl.NodePerturbation(1e-3)}, "engine: network"),
        ({"rule": "gradient-flow", "rate": 0.1}, "rate does not go with rule gradient-flow"),
        ({"rule": pl.RFLO(0.1), "rate": 0.1}, "rate must be left out: RFLO has its own"),
        ({"learns": "synapses", "nonlinearity": "erf"}, "predicted for linear networks only"),
        ({"rule": "rflo", "nonlinearity": "erf"}, "RFLO is predicted for linear networks only"),
        ({"dataset": "simulated-learning", "learns": "synapses"}, "nonlinearity is 'erf'"),
    ],
)
def test_what_does_not_go_together_is_one_message(settings, said):
    recording = None if "dataset" in settings else made()
    with pytest.raises(pl.InputError) as caught:
        pipeline.predict(recording, **settings)
    assert said in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_a_protocol_says_itself_who_learns(tmp_path):
    content = {
        "name": "mine",
        "cohort": {"networks": 1, "overlaps": {"zm": 0.1}},
        "tasks": {"A": {"type": "filter", "duration": 5.0}},
        "rule": {"rate": 0.01, "learns": "synapses"},
        "arms": {"x": {"phases": [{"task": "A", "epochs": 3}]}},
    }
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump(content))
    for settings in ({"learns": "synapses"}, {"rule": "rflo"}, {"rate": 0.1}):
        with pytest.raises(pl.InputError, match="must be left out with a protocol"):
            pipeline.predict(made(), task=file, **settings)


def test_a_rule_with_settings_of_its_own_is_taken_as_it_is():
    rule = pl.FeedbackAlignment(0.01, pl.Feedback(decoder=-1.0, private=0.0))
    course = LearnerChoice.of("factors", rule, None).course(np.array([3.0, 4.0]))
    assert course.rules == (rule, rule)
    assert "at rate 0.01" in course.means


@pytest.mark.parametrize("learns", ["factors", "synapses"])
def test_a_data_set_with_experiments_of_its_own_is_learned_by_either(learns):
    """Its unit of time is that of the learner, with a readout that does not learn."""
    rng = np.random.default_rng(0)
    starts = [pl.Overlaps(np.eye(4)).replace(zu=a, vm=b) for a, b in rng.uniform(0.1, 0.3, (3, 2))]
    task = pl.Filter(duration=8.0)
    labels = dict.fromkeys(("exposing", "A", "B"), "a task")
    design = flow_design(
        task, (task, task), [starts], labels, nonlinearity="linear", tau=1.0, learns=learns
    )
    times = []
    for start in starts:
        frozen = pl.GradientDescent(1e-7, pathway_rates={"z": 0.0})
        losses = pl.learn(start, task, frozen, 1, learns=learns).losses
        times.append(losses[0] * 1e-7 / (losses[0] - losses[1]))
    rates = design.rules[0].pathway_rates
    assert set(rates) == set("mwz" if learns == "synapses" else "muvz")
    assert rates["z"] == 0.0
    assert rates["m"] == pytest.approx(np.median(times), rel=1e-3)
    assert design.who.startswith(f"the {learns}")
    LearnerChoice.of(learns, None, None).check("linear", None, design_of="bci-learning")
    for rule, rate, said in (("rflo", None, "rule is not for"), (None, 0.1, "rate is not for")):
        with pytest.raises(pl.InputError, match=f"{said} bci-learning, which has experiments"):
            LearnerChoice.of(learns, rule, rate).check("linear", None, design_of="bci-learning")
