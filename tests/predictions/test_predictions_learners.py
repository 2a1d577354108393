"""For whom the predictions hold: factors, synapses, or both."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import integrate

import predictlearn as pl
from predictlearn.errors import InputError
from predictlearn.predictions.learning_speed import (
    learning_speed,
    probe_trials,
    speed_contributions,
)

TASK = pl.Filter(duration=10.0)
RULE = pl.GradientDescent(5e-3)
CHANGES = {"uu": 2.05, "vv": 1.8, "zv": 0.3}


def networks(n, seed=0):
    cross = np.random.default_rng(seed).uniform(0, 0.1, (n, 2))
    return [pl.Overlaps(np.eye(4)).replace(zu=a, vm=b) for a, b in cross]


@pytest.fixture(scope="module")
def exposures():
    return {
        learns: pl.perturbation_exposure(
            networks(5), TASK, RULE, 120, changes=CHANGES, n_neurons=40, learns=learns
        )
        for learns in ("factors", "synapses")
    }


def areas(result):
    rows = result.table[
        (result.table["arm"] == "difference")
        & (result.table["quantity"] == "mean loss over learning")
    ]
    return rows["value"].to_numpy()


def test_exposure_of_synapses_is_that_of_learning_them(exposures):
    result, found = exposures["synapses"], []
    for start in networks(5):
        twin = pl.functionally_equivalent(start, "linear", **CHANGES)
        one, two = (pl.learn(o, TASK, RULE, 120, learns="synapses").losses for o in (start, twin))
        found.append(integrate.trapezoid((two - one) / one[0]) / 120)
    np.testing.assert_allclose(areas(result), found, rtol=1e-12)
    assert result.settings["learns"] == "synapses"
    assert result.equivalent


@pytest.mark.parametrize(("learns", "other"), [("factors", "synapses"), ("synapses", "factors")])
def test_what_is_said_of_the_other_learner_is_its_own_prediction(exposures, learns, other):
    result, direct = exposures[learns], exposures[other]
    table = result.other_learner
    for who, source in ((learns, result), (other, direct)):
        own = table.loc[table["learns"] == who, "area"]
        np.testing.assert_allclose(own, areas(source), rtol=1e-10)
    said = result.paragraphs[-1]
    assert f"{areas(direct).mean():.3g}" in said
    assert "the same sign in 5 of 5 networks: it holds for both" in said
    words = ["factors U and V of the connectivity learn", "synapses W themselves learn"]
    first, second = words if learns == "factors" else words[::-1]
    assert said.index(first) < said.index(second)


@pytest.mark.parametrize("sizes", [(1, 1, 1), (2, 2, 2)])
@pytest.mark.parametrize("rates", [None, {"m": 0.5, "w": 2.0, "z": 0.0}])
def test_contributions_to_the_speed_of_synapses_add_up(sizes, rates):
    rng = np.random.default_rng(1)
    dim = sizes[0] + 2 * sizes[1] + sizes[2]
    g = 0.2 * rng.normal(size=(dim, dim))
    start = pl.Overlaps(np.eye(dim) + g @ g.T, *sizes)
    # in either block, and in both at once
    hidden = start.invisible_names("linear")
    changes = {name: start[name] + (1.0 if name[0] == name[-2 if sizes[0] > 1 else -1] else 0.05)
               for name in hidden if not name.startswith("m")}  # fmt: skip
    twin = pl.functionally_equivalent(start, "linear", **changes)
    x = rng.normal(size=(6, 20, sizes[0]))
    targets = rng.normal(size=(6, 20, sizes[2]))
    task = pl.ArrayTask(x, targets, np.ones_like(targets) / 120, dt=0.1)
    rule, probes = pl.GradientDescent(0.01, pathway_rates=rates), probe_trials(task, 0)
    how = (probes, rule, "linear", 1.0, "synapses")
    first, second = learning_speed(start, *how), learning_speed(twin, *how)
    assert first[0] == pytest.approx(first[1], rel=1e-6)  # the formula, and a small step
    account = speed_contributions(start, twin, *how)
    assert account["contribution"].sum() == pytest.approx(second[0] - first[0], rel=1e-9)
    # and the small step is a step of learning
    small = pl.GradientDescent(1e-7, pathway_rates=rates)
    losses = pl.learn(start, task, small, 1, learns="synapses").losses
    assert (losses[0] - losses[1]) / 1e-7 == pytest.approx(first[0], rel=1e-4)


@pytest.fixture(scope="module")
def orders():
    slow, fast = pl.Filter(decay=0.2, duration=10.0), pl.Filter(decay=0.4, duration=10.0)
    return {
        learns: pl.training_order(networks(3), slow, fast, RULE, (120, 80), learns=learns)
        for learns in ("factors", "synapses")
    }


def test_order_of_synapses_is_that_of_learning_them(orders):
    result = orders["synapses"]
    slow, fast = pl.Filter(decay=0.2, duration=10.0), pl.Filter(decay=0.4, duration=10.0)
    for number, start in enumerate(networks(3)):
        first = pl.learn(start, slow, RULE, 120, learns="synapses")
        second = pl.learn(first.final, fast, RULE, 80)
        end = result.table[
            (result.table["network"] == number)
            & (result.table["arm"] == "AB")
            & (result.table["epoch"] == 200)
        ].set_index("quantity")["value"]
        for name, value in second.final.quantities().items():
            assert end[name] == pytest.approx(value, abs=1e-12)
        before = slow.sample().loss(pl.simulate(start, slow.sample()).outputs)
        forgotten = pl.learn(second.final, slow, RULE, 1).losses[0] / before
        assert end["loss on A"] == pytest.approx(forgotten, rel=1e-12)
    tests = result.tests.set_index("name")["visibility"]
    assert tests["zwm"].iloc[0] == "loss-visible"
    assert tests["w2"].iloc[0] == "loss-invisible"
    assert not result.tests["family"].str.startswith("gauge").any()
    assert set(result.curves["quantity"]) >= {"loss on A", "loss on B", "zwwm", "ww"}


def test_what_is_said_of_the_order_by_the_other_learner_is_its_own_prediction(orders):
    for learns, other in (("factors", "synapses"), ("synapses", "factors")):
        table = orders[learns].other_learner
        means = table.groupby(["learns", "outcome"])["value"].mean()
        for who in (learns, other):
            estimates = orders[who].tests.set_index("name")["estimate"]
            for outcome in ("transfer to A", "transfer to B", "forgetting of A"):
                full = next(name for name in estimates.index if name.startswith(outcome))
                assert means[who, outcome] == pytest.approx(estimates[full], rel=1e-9)
        assert "of 3 networks" in orders[learns].paragraphs[-1]
        assert "trace of A after B in M and Z" in orders[learns].paragraphs[-1]


@pytest.mark.parametrize(
    ("rule", "more", "why"),
    [
        (pl.DirectDescent(1e-3), {}, "DirectDescent is a rule of overlaps"),
        (pl.GradientDescent(5e-3, pathway_rates={"u": 0.0}), {}, "u and v learn at different"),
        (pl.GradientDescent(5e-3, synaptic_noise=1e-4), {}, "leaves the span"),
        (RULE, {"nonlinearity": "erf"}, "linear networks only"),
    ],
)
def test_where_the_other_does_not_learn_so_it_is_said(rule, more, why):
    exposed = pl.perturbation_exposure(
        networks(3), TASK, rule, 15, changes={"vv": 1.8}, n_neurons=30, **more
    )
    order = pl.training_order(networks(3), TASK, pl.Filter(decay=0.4, duration=10.0), rule, 15,
                              **more)  # fmt: skip
    for result in (exposed, order):
        assert result.other_learner.empty
        assert "was not computed" in result.paragraphs[-1]
        assert why in result.paragraphs[-1]


@pytest.mark.parametrize(
    ("rule", "more", "said"),
    [
        (RULE, {"learns": "neurons"}, "learns must be one of"),
        (RULE, {"learns": "synapses", "nonlinearity": "erf"}, "for linear networks only"),
        (pl.DirectDescent(1e-3), {"learns": "synapses"}, "needs GradientDescent, GradientFlow"),
    ],
)
def test_a_wrong_learner_is_one_message(rule, more, said):
    with pytest.raises(InputError, match=said):
        pl.perturbation_exposure(networks(2), TASK, rule, 5, changes={"vv": 1.8}, **more)
    with pytest.raises(InputError, match=said):
        pl.training_order(networks(2), TASK, TASK, rule, 5, **more)
