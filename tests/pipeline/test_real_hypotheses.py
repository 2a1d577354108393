"""Other hypotheses of how a mapping is learned: the loop, the rules, the study's command."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

import predictlearn as pl
from predictlearn.pipeline.real_learning.bci import compare_with_block_two
from predictlearn.pipeline.real_learning.cursor_loop import closed_loop, cursor_world
from predictlearn.pipeline.real_learning.hypotheses import (
    LearningHypothesis,
    learn_by,
    with_feedback,
)
from predictlearn.predictions.readout_learning import readout_learning
from predictlearn.tasks.arrays import ArrayTask
from predictlearn.theory.synapses.network import Factors

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "studies" / "bci"))
import bci_rules

TASK = pl.ReachingReadout(
    targets=5,
    duration=0.54,
    dt=0.045,
    latency=0.07,
    offset=(0.3, -0.2),
    smoothing=[[0.6, 0.04], [0.04, 0.6]],
    first_bin=6,
)
TAU, DISTANCE = 0.09, 1.0
LOOP = closed_loop(TASK, distance=DISTANCE)


def network(seed: int = 0) -> pl.Overlaps:
    theta = np.random.default_rng(seed).normal(size=(20, 7))
    # an output that goes where the inputs point, so that the loop is stable
    theta[:, 5:] = 0.3 * theta[:, :2] + 0.2 * theta[:, 5:]
    return pl.Overlaps(theta.T @ theta / 20, 3, 1, 2)


def progress(trials: pl.Trials, outputs: np.ndarray) -> np.ndarray:
    velocity = trials.observe(outputs)
    angles = np.deg2rad(TASK.angles)
    towards = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    return (velocity * towards[:, None]).sum(axis=2)[:, 6:].mean(axis=1)


@pytest.mark.parametrize("delay", [0.0, 0.02, 0.045, 0.13])
def test_the_cursor_is_that_of_plain_loops(delay):
    rng = np.random.default_rng(1)
    commands, dt = rng.normal(size=(3, 12, 2)), 0.045
    smoothing, offset = rng.normal(size=(2, 2)) * 0.3, rng.normal(size=2)
    world = cursor_world(smoothing, offset, dt=dt, distance=2.0, delay=delay, gain=0.8)
    states = world.response(commands)
    for trial in range(3):
        velocity, free, way = np.zeros(2), np.zeros(2), [np.zeros(2)] * 20
        for t in range(12):
            velocity = smoothing @ velocity + commands[trial, t] + offset
            free = smoothing @ free + commands[trial, t]
            way.append(way[-1] + dt * free / 2.0)
            np.testing.assert_allclose(world.read @ states[trial, t], velocity, atol=1e-12)
            whole, share = int(delay / dt), delay / dt % 1
            seen = (1 - share) * way[-1 - whole] + share * way[-2 - whole]
            found = world.seen @ states[trial, t]
            np.testing.assert_allclose(found, [*(-0.8 * seen), 0.0], atol=1e-12)


def test_a_silent_network_sees_where_the_offset_takes_the_held_cursor():
    velocity, way, seen = np.zeros(2), np.zeros(2), []
    for t in range(12):
        seen.append(way / DISTANCE)  # at the start of the bin, before the delay
        velocity = np.asarray(TASK.smoothing) @ velocity + TASK.offset
        way = way + (t >= 6) * 0.045 * velocity
    late = 0.07 / 0.045
    expected = np.zeros((12, 2))
    for t in range(12):
        for back, share in ((int(late), 1 - late % 1), (int(late) + 1, late % 1)):
            if t >= back:
                expected[t] += share * seen[t - back]
    np.testing.assert_allclose(
        TASK.sample().inputs[2, :, :2] - LOOP.inputs[2, :, :2], expected, atol=1e-12
    )
    assert np.abs(expected).max() > 1e-3
    # the world itself reports nothing of what the offset does
    rest = LOOP.world.response(np.zeros((1, 12, 2)))
    assert np.abs(rest @ LOOP.world.seen.T).max() == 0


def test_the_published_hypothesis_is_the_published_prediction():
    start = network()
    (old,) = readout_learning([start], TASK, progress, tau=TAU, horizon=5.0).by_trial
    found = learn_by(
        LearningHypothesis(), Factors.from_overlaps(start), TASK.sample(), progress, tau=TAU,
        horizon=5.0,
    )  # fmt: skip
    np.testing.assert_allclose(found.by_trial[0], old, atol=2e-5)
    assert found.settings["cosine"] == pytest.approx(1.0)


def rule_of(hypothesis: LearningHypothesis, rate: float):
    common = {"rate": rate, "pathway_rates": {"z": 0.0}}
    if hypothesis.rule == "descent":
        return pl.GradientDescent(
            **common, loop="given" if hypothesis.loop == "given" else "through"
        )
    return (pl.FeedbackAlignment if hypothesis.rule == "alignment" else pl.RFLO)(**common)


@pytest.mark.parametrize("learns", ["factors", "synapses"])
@pytest.mark.parametrize(
    "how",
    [
        ("open", "descent", "new"),
        ("through", "descent", "new"),
        ("given", "descent", "new"),
        ("open", "alignment", "old"),
        ("given", "alignment", "old"),
        ("given", "rflo", "old"),
        ("open", "rflo", "new"),
    ],
)
def test_each_hypothesis_is_the_limit_of_small_steps(learns, how):
    hypothesis = LearningHypothesis(learns, *how)
    trials = TASK.sample() if hypothesis.loop == "open" else LOOP
    inside = np.vstack([np.full((4, 2), 0.1), 0.5 * np.eye(2)])
    start = with_feedback(network(), inside, 0.3 * np.eye(2) + 0.1, seed=4)
    if how[2] == "new":
        start = replace(start, feedback=start.z)
    found = learn_by(hypothesis, start, trials, progress, tau=TAU, horizon=1.0, points=11)
    ends = []
    for steps in (1000, 2000):
        course = pl.learn(
            start, ArrayTask.from_trials(trials), rule_of(hypothesis, found.constants[0] / steps),
            steps, tau=TAU, learns=learns, every=steps,
        )  # fmt: skip
        ends.append(course.losses[-1] / course.losses[0])
    # the error of a step is proportional to it
    assert found.loss[0, -1] == pytest.approx(2 * ends[1] - ends[0], rel=1e-4)
    assert abs(found.loss[0, -1] - 1) > 0.02


def test_random_feedback_without_a_way_back_teaches_synapses_nothing():
    start = with_feedback(network(), None)
    hypothesis = LearningHypothesis("synapses", "open", "rflo", "random")
    found = learn_by(hypothesis, start, TASK.sample(), progress, tau=TAU, horizon=20.0)
    # a readout that is held and that the feedback does not know: the output never changes
    np.testing.assert_allclose(found.loss, 1.0, rtol=1e-9)
    assert found.settings["cosine"] == pytest.approx(0.0, abs=1e-12)


def test_feedback_has_the_overlaps_that_are_known_and_others_at_random():
    whole = np.random.default_rng(2).normal(size=(20, 9))
    start = pl.Overlaps(whole[:, :7].T @ whole[:, :7] / 20, 3, 1, 2)
    b, known = whole[:, 7:], whole[:, [0, 1, 2, 3, 5, 6]]
    inside = np.linalg.lstsq(known, b, rcond=None)[0]
    rest = b - known @ inside
    made = [with_feedback(start, inside, rest.T @ rest / 20, seed=k) for k in range(2)]
    for one in made:
        columns = np.hstack([one.m, one.u, one.z, one.feedback])
        truth = np.hstack([known, b]).T @ b / 20
        np.testing.assert_allclose(columns.T @ one.feedback, truth, atol=1e-9)
        np.testing.assert_allclose(one.overlaps.matrix, start.matrix, atol=1e-9)
    hidden = [one.v.T @ one.feedback for one in made]
    assert np.abs(hidden[0] - hidden[1]).max() > 1e-3


def test_hypotheses_that_do_not_go_together_are_refused():
    with pytest.raises(pl.InputError, match="only descent goes through the loop"):
        LearningHypothesis(loop="through", rule="rflo")
    with pytest.raises(pl.InputError, match="descent has the feedback of the new mapping"):
        LearningHypothesis(feedback="old")
    with pytest.raises(pl.InputError, match="'synapse'"):
        LearningHypothesis("synapse")


@pytest.mark.parametrize("kind", ["absent", "text", "another"])
def test_another_session_that_cannot_be_read_is_one_message(kind, tmp_path, capsys):
    path = tmp_path / "other.mat"
    if kind == "text":
        path.write_text("not a file of this kind")
    elif kind == "another":
        savemat(path, {"x": np.ones(3)})
    with pytest.raises(SystemExit) as stopped:
        bci_rules.main(["--data", str(path)])
    assert stopped.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith("bci_rules: ")
    assert said.count("\n") == 1
    assert "other.mat" in said


@pytest.mark.slow
def test_a_part_of_the_study_runs_again():
    try:
        case, fit, drawn = bci_rules.prepared(None, n_draws=4)
    except pl.InputError:
        pytest.skip("no bci-learning here; set PREDICTLEARN_DATA")
    session = case.later
    chosen = [
        LearningHypothesis(),
        LearningHypothesis("factors", "through"),
        LearningHypothesis("synapses", "open", "alignment", "old"),
    ]
    found = {h.name: bci_rules.learned(session, drawn, h) for h in chosen}
    table = bci_rules.compared(bci_rules.Trials(session), found).set_index("hypothesis")
    published, loop, old = (table.loc[h.name] for h in chosen)
    # as on the page of 60 draws: CRPS 47.6; the loop hardly acts; the old readout teaches less
    assert published["CRPS"] == pytest.approx(47.6, abs=0.5)
    assert abs(loop["CRPS minus published"]) < 0.2
    assert 0.3 < old["cosine with the gradient"] < 0.9
    curves = [found[h.name][0].curves.mean(axis=0) for h in chosen]
    assert curves[2][50] < curves[0][50] - 10
    # the comparison of `predict` with a hypothesis is that of the study
    beside = compare_with_block_two(session, fit, hypothesis=chosen[2], n_draws=4)
    np.testing.assert_allclose(beside.learning.curves.mean(axis=0), curves[2])
    assert beside.settings["hypothesis"] == chosen[2].name
    default = compare_with_block_two(session, fit, n_draws=4)
    np.testing.assert_allclose(default.learning.curves.mean(axis=0), curves[0], atol=1e-2)
