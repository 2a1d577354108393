"""Predictions for learners with feedback of their own, and in closed loops."""

from __future__ import annotations

import neuron_network
import numpy as np
import pytest

import predictlearn as pl
from predictlearn.errors import InputError
from predictlearn.predictions.speed_in_span import speed_contributions_in_span, speed_in_span

TASK = pl.Filter(duration=6.0)
N, EPOCHS = 40, 16
FEEDBACK = pl.Feedback(decoder=0.4, private=0.8)
RULES = {
    "through": pl.GradientDescent(0.02),
    "given": pl.GradientDescent(0.02, loop="given"),
    "fa": pl.FeedbackAlignment(0.02, FEEDBACK),
    "rflo": pl.RFLO(0.02, FEEDBACK),
}


def networks(n, seed=0):
    cross = np.random.default_rng(seed).uniform(0, 0.1, (n, 2))
    return [pl.Overlaps(np.eye(4)).replace(zu=a, vm=b) for a, b in cross]


def drivers(n, seed=0):
    """Networks of rank two that lean towards the target."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(n):
        g = 0.05 * rng.normal(size=(9, 9))
        found.append(pl.Overlaps(np.eye(9) + g + g.T, 3, 2, 2).replace(z1m1=0.1, z2m2=0.1))
    return found


REACH = pl.CursorReaching(targets=4, duration=0.8, gain=4.0, delay=0.1, smoothing=0.05)
TURNED = pl.CursorReaching(
    targets=4, duration=0.8, gain=4.0, delay=0.1, smoothing=0.05, rotation=45.0
)


def losses_of_neurons(start, task, name, learns, epochs, tau):
    """Losses of N neurons written apart, from the same overlaps and feedback."""
    trials = task.sample()
    world = getattr(task, "world", None) or neuron_network.open_world(task.n_in, task.n_out)
    shown = (world, trials.inputs, trials.targets, trials.weights, trials.dt / tau)
    if learns == "synapses":
        network = pl.Synapses.from_overlaps(start, FEEDBACK).on_neurons(N, 1)
        return neuron_network.learn_synapses(network, *shown, 0.02, epochs, name)[0]
    loadings, b = pl.Factors.from_overlaps(start, FEEDBACK).on_neurons(N, 1)
    return neuron_network.learn_factors(loadings, b, *shown, 0.02, epochs, name)[0]


@pytest.mark.parametrize(
    ("name", "loop", "learns"),
    [
        # in an open loop every rule and every learner once; the other two are slow
        ("fa", False, "factors"),
        ("rflo", False, "synapses"),
        pytest.param("fa", False, "synapses", marks=pytest.mark.slow),
        pytest.param("rflo", False, "factors", marks=pytest.mark.slow),
        *((name, True, learns) for name in RULES for learns in ("factors", "synapses")),
    ],
)
def test_exposure_is_what_n_neurons_do(name, loop, learns):
    task, tau, starts = (REACH, 0.1, drivers(3)) if loop else (TASK, 1.0, networks(3))
    changes = {"v1v1": 2.0, "u1u1": 1.5} if loop else {"vv": 2.0, "uu": 1.5}
    result = pl.perturbation_exposure(
        starts, task, RULES[name], EPOCHS, changes=changes, n_neurons=40, learns=learns, tau=tau
    )
    found = []
    for start in starts:
        twin = pl.functionally_equivalent(start, "linear", **changes)
        one, two = (losses_of_neurons(o, task, name, learns, EPOCHS, tau) for o in (start, twin))
        gap = (two - one) / one[0]
        found.append(np.sum((gap[1:] + gap[:-1]) / 2) / EPOCHS)
    rows = result.table[
        (result.table["arm"] == "difference")
        & (result.table["quantity"] == "mean loss over learning")
    ]
    np.testing.assert_allclose(rows["value"], found, rtol=1e-8, atol=1e-13)
    # the account adds up to the whole difference in speed, which a small step shows too
    account = result.account.groupby("network")
    np.testing.assert_allclose(
        account["contribution"].sum(), account["measured_total"].first(), rtol=1e-4, atol=1e-9
    )
    by = {"fa": "feedback alignment", "rflo": "RFLO", "given": "takes the input as given"}
    assert by.get(name, "learn.") in result.paragraphs[-1]
    assert "of 3 networks" in result.paragraphs[-1]


@pytest.mark.parametrize(
    ("name", "learns"),
    [
        # either rule and either learner once; exposure is of all of them in the loop, above
        ("fa", "factors"),
        ("through", "synapses"),
        pytest.param("fa", "synapses", marks=pytest.mark.slow),
        pytest.param("through", "factors", marks=pytest.mark.slow),
    ],
)
def test_order_is_what_n_neurons_do(name, learns):
    """B after A from where A ended, by the feedback that was there before A."""
    start, tau, epochs = drivers(1)[0], 0.1, (30, 20)
    result = pl.training_order(
        [start, *drivers(2)[1:]], REACH, TURNED, RULES[name], epochs, learns=learns, tau=tau
    )
    shown = [
        (task.world, t.inputs, t.targets, t.weights, 0.5)
        for task, t in ((REACH, REACH.sample()), (TURNED, TURNED.sample()))
    ]
    if learns == "synapses":
        first = pl.Synapses.from_overlaps(start, FEEDBACK).on_neurons(N, 1)
        before, m, w, z = neuron_network.learn_synapses(first, *shown[0], 0.02, epochs[0], name)
        middle = pl.SynapticNetwork(m, w, z, first.feedback)
        losses, m, w, z = neuron_network.learn_synapses(middle, *shown[1], 0.02, epochs[1], name)
        end = pl.SynapticNetwork(m, w, z, first.feedback)
        after = neuron_network.learn_synapses(end, *shown[0], 0.02, 1, name)[0]
    else:
        first, b = pl.Factors.from_overlaps(start, FEEDBACK).on_neurons(N, 1)
        parts, before = neuron_network.factors_after(first, b, *shown[0], 0.02, epochs[0], name)
        middle = pl.Loadings(*parts)
        parts, losses = neuron_network.factors_after(middle, b, *shown[1], 0.02, epochs[1], name)
        after = neuron_network.factors_after(pl.Loadings(*parts), b, *shown[0], 0.02, 1, name)[1]
    rows = result.table[(result.table["network"] == 0) & (result.table["arm"] == "AB")]
    found = rows.set_index(["quantity", "epoch"])["value"]
    assert found["loss on A", 30.0] == pytest.approx(before[-1] / before[0], rel=1e-8)
    assert found["loss on A", 50.0] == pytest.approx(after[0] / before[0], rel=1e-8)
    other = neuron_network.learn_factors(
        *pl.Factors.from_overlaps(start, FEEDBACK).on_neurons(N, 1), *shown[1], 0.02, 1, name
    )[0]
    assert found["loss on B", 50.0] == pytest.approx(losses[-1] / other[0], rel=1e-8)


def test_rflo_does_not_see_the_length_of_v():
    result = pl.perturbation_exposure(
        networks(4), TASK, pl.RFLO(5e-3), 100, changes={"vv": 2.0}, n_neurons=30
    )
    assert not result.account["contribution"].any()
    assert not result.band[["mean", "low", "high"]].to_numpy().any()
    assert "no difference at all" in result.statement
    assert "it makes none either: it holds for both" in result.statement
    # and by uu it sees it
    seen = pl.perturbation_exposure(
        networks(4), TASK, pl.RFLO(5e-3), 100, changes={"uu": 2.0}, n_neurons=30
    )
    assert "no difference at all" not in seen.statement
    assert seen.band["mean"].any()


@pytest.mark.parametrize("learns", ["factors", "synapses"])
@pytest.mark.parametrize("name", list(RULES))
@pytest.mark.parametrize("loop", [False, True])
def test_speeds_are_those_of_small_steps_and_their_contributions_add_up(loop, name, learns):
    rng = np.random.default_rng(2)
    g = 0.2 * rng.normal(size=(9, 9))
    start = pl.Overlaps(np.eye(9) + g @ g.T, 3, 2, 2)
    hidden = start.invisible_names("linear")
    changes = {n: start[n] + (1.0 if n[:2] == n[2:] else 0.05) for n in hidden}
    twin = pl.functionally_equivalent(start, "linear", **changes)
    x, targets = rng.normal(size=(4, 15, 3)), rng.normal(size=(4, 15, 2))
    world = pl.LinearWorld(
        0.9 * np.eye(2), 0.1 * rng.normal(size=(2, 2)), 0.3 * rng.normal(size=(3, 2))
    )
    weights = np.ones_like(targets) / 60
    task = pl.ArrayTask(x, targets, weights, dt=0.1, world=world if loop else None)
    how = ([task.sample()], RULES[name], 1.0, learns)
    speeds = [speed_in_span(o, *how) for o in (start, twin)]
    account = speed_contributions_in_span(start, twin, *how)
    total = speeds[1][0] - speeds[0][0]
    assert account["contribution"].sum() == pytest.approx(total, rel=1e-10)
    shown = (world if loop else neuron_network.open_world(3, 2), x, targets, weights, 0.1)
    small = 1e-7
    if learns == "synapses":
        network = pl.Synapses.from_overlaps(start, FEEDBACK).on_neurons(N, 1)
        losses = neuron_network.learn_synapses(network, *shown, small, 1, name)[0]
    else:
        loadings, b = pl.Factors.from_overlaps(start, FEEDBACK).on_neurons(N, 1)
        losses = neuron_network.learn_factors(loadings, b, *shown, small, 1, name)[0]
    assert (losses[0] - losses[1]) / small == pytest.approx(speeds[0][0], rel=1e-3)


def test_flow_of_factors_in_a_loop_is_the_limit_of_small_steps():
    start = drivers(1)[0]
    flow = pl.learn(start, REACH, pl.GradientFlow(), 1.0, tau=0.1)
    ends = []
    for steps in (200, 400):
        descent = pl.GradientDescent(1.0 / steps)
        ends.append(pl.learn(start, REACH, descent, steps, tau=0.1).losses[-1])
    gaps = [abs(end - flow.losses[-1]) for end in ends]
    assert gaps[1] < 0.6 * gaps[0]  # of the order of the step
    assert gaps[1] < 1e-3 * flow.losses[0]
    frozen = pl.learn(start, REACH, pl.GradientFlow(pathway_rates={"z": 0.0}), 1.0, tau=0.1)
    z = frozen.final.block("z", "z")
    np.testing.assert_allclose(z, start.block("z", "z"), atol=1e-7)
    assert isinstance(frozen, pl.FactorTrajectory)


def test_a_network_whose_loop_runs_away_is_left_out_alone():
    starts = [*drivers(3), drivers(1)[0].replace(z1m1=-0.6, z2m2=-0.6)]
    strong = pl.CursorReaching(targets=4, gain=30.0, delay=0.05)
    weak = pl.loop_stability(starts[0], strong, 0.1)
    assert weak.radius < pl.loop_stability(starts[3], strong, 0.1).radius
    result = pl.training_order(starts, strong, strong, pl.GradientDescent(1e-4), 5, tau=0.1)
    assert result.excluded["network"].tolist() == [3]
    assert "unstable before learning" in result.excluded["reason"].iloc[0]


@pytest.mark.parametrize(
    ("rule", "more", "said"),
    [
        (pl.NodePerturbation(1e-3), {}, "engine: network and rule: {type: node-perturbation}"),
        (pl.RFLO(1e-3), {"nonlinearity": "erf"}, "RFLO is predicted for linear networks only"),
        (pl.RFLO(1e-3, synaptic_noise=0.1), {}, "RFLO cannot have synaptic_noise"),
        (pl.Adam(1e-3), {}, "rule must be GradientDescent, GradientFlow, FeedbackAlignment"),
    ],
)
def test_a_learner_that_is_not_predicted_is_one_message(rule, more, said):
    with pytest.raises(InputError) as caught:
        pl.perturbation_exposure(networks(2), TASK, rule, 5, changes={"vv": 1.8}, **more)
    assert said in str(caught.value)
    with pytest.raises(InputError) as caught:
        pl.training_order(networks(2), TASK, TASK, rule, 5, **more)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("rule", "nonlinearity", "said"),
    [
        (pl.GradientDescent(1e-3), "erf", "a closed loop is predicted for linear networks only"),
        (pl.DirectDescent(1e-3), "linear", "a closed loop needs GradientDescent, GradientFlow"),
    ],
)
def test_a_loop_that_is_not_predicted_is_one_message(rule, nonlinearity, said):
    with pytest.raises(InputError, match=said):
        pl.training_order(drivers(2), REACH, TURNED, rule, 5, tau=0.1, nonlinearity=nonlinearity)
