"""Equivalent networks, the metric of learning, conserved quantities and the hidden prior."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from conftest import random_overlaps

import predictlearn as pl

pytestmark = pytest.mark.quick

PAPER = pl.Overlaps(np.eye(4)).replace(zm=0.05, zu=0.05, vm=0.05, vu=0.05)
TASK = pl.Filter(decay=0.2, duration=10.0, dt=0.1)


def test_the_papers_pair_does_the_same_and_learns_differently():
    twin = pl.functionally_equivalent(PAPER, "linear", uu=2.05, mu=0.8)
    trials = TASK.sample(np.random.default_rng(0))
    activity, other = (pl.run_network(o.loadings(300, seed=1), trials) for o in (PAPER, twin))
    np.testing.assert_allclose(activity.outputs, other.outputs, atol=1e-13)
    noise = pl.Trials(
        np.random.default_rng(1).normal(size=(5, 50, 1)),
        np.zeros((5, 50, 1)),
        np.ones((5, 50, 1)),
        0.1,
    )
    np.testing.assert_allclose(
        pl.run_network(PAPER.loadings(300), noise).outputs,
        pl.run_network(twin.loadings(300), noise).outputs,
        atol=1e-13,
    )
    rule = pl.GradientDescent(5e-3)
    a, b = pl.learn(PAPER, TASK, rule, 1000).loss, pl.learn(twin, TASK, rule, 1000).loss
    assert a[0] == pytest.approx(b[0], rel=1e-12)
    assert (a - b).abs().max() > 0.1 * a[0]


def test_unreachable_values_are_refused_with_the_range():
    with pytest.raises(pl.InputError, match=r"mu in \[-1, 1\].*Together they can move") as caught:
        pl.functionally_equivalent(pl.Overlaps(np.eye(4)), "linear", mu=1.5)
    assert "66.67% of the way" in str(caught.value)
    with pytest.raises(pl.InputError, match="zm is loss-visible"):
        pl.functionally_equivalent(PAPER, "linear", zm=0.2)
    with pytest.raises(pl.InputError, match="uu is loss-visible for a erf"):
        pl.functionally_equivalent(PAPER, "erf", uu=2.0)
    low, high = PAPER.reachable("zv")
    assert pl.functionally_equivalent(PAPER, "erf", zv=high - 1e-9)["zv"] > low


@pytest.mark.parametrize("nonlinearity", ["linear", "erf"])
@pytest.mark.parametrize("sizes", [(1, 1, 1), (1, 2, 1), (2, 1, 2)])
def test_metric_gives_the_speed_of_every_overlap(sizes, nonlinearity):
    o = random_overlaps(1, *sizes)
    rng = np.random.default_rng(2)
    trials = pl.Trials(
        rng.normal(size=(2, 20, sizes[0])),
        rng.normal(size=(2, 20, sizes[2])),
        np.ones((2, 20, sizes[2])),
        0.1,
    )
    _, a = pl.loss_and_derivative(o, trials, nonlinearity)
    speed = -(o.matrix @ a + a @ o.matrix)
    slope = pd.Series(
        {
            name: a[o.index(name)] / (2 if o.index(name)[0] == o.index(name)[1] else 1)
            for name in o.visible_names(nonlinearity)
        }
    )
    predicted = -pl.metric(o, nonlinearity) @ slope
    for name in o.names:
        assert predicted[name] == pytest.approx(speed[o.index(name)], abs=1e-10), name
    visible = pl.metric(o, nonlinearity).loc[list(slope.index)]
    np.testing.assert_allclose(visible, visible.T, atol=1e-14)
    assert np.linalg.eigvalsh(visible)[0] > -1e-12


@pytest.mark.parametrize("sizes", [(1, 1, 1), (1, 2, 1), (2, 2, 2)])
def test_gradient_flow_conserves_what_the_theory_says(sizes):
    o = random_overlaps(3, *sizes)
    rng = np.random.default_rng(4)
    task = pl.ArrayTask(
        rng.normal(size=(3, 40, sizes[0])),
        rng.normal(size=(3, 40, sizes[2])),
        np.full((3, 40, sizes[2]), 1 / 120),
        0.1,
    )
    t = pl.learn(o, task, pl.GradientFlow(rtol=1e-10, atol=1e-12), 3.0)
    report = pl.drift(t)
    assert report["largest"].max() < 1e-7
    assert abs(t.array[-1] - t.array[0]).max() > 0.05
    steps = pl.learn(o, task, pl.GradientDescent(0.05), 60)
    assert pl.drift(steps)["largest"].max() > 1e-5  # finite steps drift


def test_erf_flow_conserves_only_the_recurrent_difference():
    t = pl.learn(random_overlaps(5), TASK, pl.GradientFlow(rtol=1e-10, atol=1e-12), 5.0, "erf")
    assert pl.drift(t).loc["uu-vv", "largest"] < 1e-7
    broken = pl.drift(t, "linear")
    assert broken.loc["mm-zz", "largest"] > 1e-4
    assert broken.loc["JS1", "largest"] > 1e-4


def test_the_symmetry_of_the_linear_flow_is_exact():
    """S -> S + c J leaves the flow of the visible overlaps as it is."""
    o = random_overlaps(6)
    shifted = pl.Overlaps(o.matrix + 0.3 * np.diag([1.0, 1.0, -1.0, -1.0]), tolerance=1.0)
    flow = pl.GradientFlow(rtol=1e-10, atol=1e-12)
    a, b = (pl.learn(s, TASK, flow, 2.0) for s in (o, shifted))
    visible = list(o.visible_names())
    np.testing.assert_allclose(a.overlaps[visible], b.overlaps[visible], atol=1e-7)
    assert abs(a.overlaps["mm"] - b.overlaps["mm"]).min() > 0.29


@pytest.mark.parametrize("sizes", [(1, 1, 1), (3, 2, 2)])
@pytest.mark.parametrize("readout_known", [False, True])
def test_prior_draws_agree_with_what_was_seen(sizes, readout_known):
    truth = random_overlaps(7, *sizes)
    seen = truth.to_series()
    hidden = [
        n
        for n in truth.hidden_names()
        if not (readout_known and n[0] == "z" == n.rstrip("0123456789")[-1])
    ]
    seen[hidden] = np.nan
    draws = pl.HiddenPrior().draw(seen, *sizes, n=40, seed=1)
    for draw in draws:
        ratio = draw.block("u", "u") @ np.linalg.inv(truth.block("u", "u"))
        gauge = np.sqrt(np.trace(ratio) / truth.rank)
        back = draw.gauge(np.eye(truth.rank) / gauge)
        for name in seen.index[seen.notna()]:
            assert back[name] == pytest.approx(seen[name], abs=1e-9), name
    spread = pd.DataFrame([d.to_series() for d in draws]).std()
    assert (spread[hidden] > 1e-3).all()
    again = pl.HiddenPrior().draw(seen, *sizes, n=40, seed=1)
    assert draws == again


def test_balanced_gauge_without_spread():
    seen = random_overlaps(8).to_series()[["zm", "zu", "vm", "vu", "mu", "mm", "uu"]]
    for draw in pl.HiddenPrior(gauge_sd=0.0).draw(seen, n=5):
        assert draw["uu"] == pytest.approx(draw["vv"], rel=1e-12)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"zm": np.nan}, "missing or NaN: zm"),
        ({"mu": 5.0}, "positive definite"),
        ({"zz": 1e-4}, "zz is smaller than zm and zu need"),
        ({"zy": 1.0}, "do not exist: zy"),
    ],
)
def test_prior_refuses_what_no_network_has(change, message):
    seen = dict(random_overlaps(9).to_series()[["zm", "zu", "vm", "vu", "mu", "mm", "uu"]])
    with pytest.raises(pl.InputError, match=message):
        pl.HiddenPrior().draw(seen | change)


@pytest.mark.parametrize("share", [(0.5, 0.4), (-0.1, 0.5), (0.1, 1.0), 0.5])
def test_prior_refuses_bad_bounds(share):
    with pytest.raises(pl.InputError, match="private_share"):
        pl.HiddenPrior(private_share=share)
