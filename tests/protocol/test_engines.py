"""Arms computed with different engines and rules, and what a rule inherits."""

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import pytest
from test_run import SMALL, small

import predictlearn as pl
from predictlearn.errors import InputError
from predictlearn.protocol.engine import LOADINGS, PHASE, _whole, stream
from predictlearn.tasks import Filter

SIDE_BY_SIDE = {
    "rule": {"rate": 0.005, "schedule": {"type": "drop", "factor": 4, "below": 0.8}},
    "n_neurons": 40,
    "arms": {
        "theory": {"phases": [{"task": "A", "epochs": 30}, {"task": "B", "epochs": 5}]},
        "network": {
            "engine": "network",
            "phases": [{"task": "A", "epochs": 30}, {"task": "B", "epochs": 5}],
        },
        "adam": {
            "engine": "network",
            "n_neurons": 25,
            "rule": {"type": "adam", "rate": 0.01, "beta1": 0.8},
            "phases": [
                {"task": "A", "epochs": 30},
                {"readout": {"zm": 0.3}},
                {"task": "B", "epochs": 5, "rule": {"minibatch": 1, "rate": 0.02}},
            ],
        },
    },
}


@pytest.fixture(scope="module")
def side_by_side():
    return small(**SIDE_BY_SIDE).run(seed=4)


def test_arms_of_different_engines_share_starts_and_trials(side_by_side):
    table = side_by_side.table
    theory, network = (
        table[table.arm == arm].drop(columns="arm").reset_index(drop=True)
        for arm in ("theory", "network")
    )
    pd.testing.assert_frame_equal(theory, network, rtol=1e-10, atol=1e-12)
    adam = side_by_side.start_table("adam")
    pd.testing.assert_frame_equal(adam, side_by_side.start_table("theory"), rtol=1e-12)
    assert (
        np.abs(side_by_side.final_table("adam") - side_by_side.final_table("theory")).max(axis=None)
        > 0.01
    )


def test_arms_of_different_engines_resume_and_do_not_depend_on_workers(side_by_side, tmp_path):
    folder = tmp_path / "run"
    parallel = small(**SIDE_BY_SIDE).run(seed=4, n_jobs=2, output=folder)
    pd.testing.assert_frame_equal(parallel.table, side_by_side.table, check_exact=True)
    (folder / "networks" / "00001.npz").unlink()
    resumed = small(**SIDE_BY_SIDE).run(seed=4, output=folder)
    pd.testing.assert_frame_equal(resumed.table, side_by_side.table, check_exact=True)
    for run in (parallel, resumed):
        assert run.neurons.keys() == side_by_side.neurons.keys()
        for key, theta in side_by_side.neurons.items():
            np.testing.assert_array_equal(run.neurons[key], theta)


def test_the_rule_of_an_arm_is_that_of_train_network(side_by_side):
    start = side_by_side.loadings("adam", 1, "1-A")
    assert start.n_neurons == 25
    directly = pl.train_network(
        side_by_side.starts[1].loadings(25, _whole(stream(4, 1, LOADINGS))),
        Filter(decay=0.2),
        pl.Adam(0.01, 0.8, schedule=pl.RateDrop(4.0, 0.8)),
        30,
        seed=_whole(stream(4, 1, PHASE, 0, 0)),
    )
    np.testing.assert_array_equal(directly.loadings.stacked, start.stacked)
    # the second phase changed z only
    changed = side_by_side.loadings("adam", 1, "2-readout")
    np.testing.assert_array_equal(changed.v, start.v)
    assert pl.Overlaps.from_loadings(changed)["zm"] == pytest.approx(0.3, abs=1e-12)
    spec = small(**SIDE_BY_SIDE).spec
    arm = spec.arms["adam"]
    schedule = pl.RateDrop(4.0, 0.8)
    assert spec.rule_of("adam", arm.phases[0]).build() == pl.Adam(0.01, 0.8, schedule=schedule)
    assert spec.rule_of("adam", arm.phases[2]).build() == pl.Adam(
        0.02, 0.8, minibatch=1, schedule=schedule
    )
    last = pl.Overlaps.from_loadings(side_by_side.loadings("adam", 1))
    np.testing.assert_allclose(
        last.matrix, side_by_side.final("adam")[1].matrix, rtol=1e-10, atol=1e-12
    )


def test_loadings_are_there_for_networks_of_neurons_only(side_by_side):
    again = pickle.loads(pickle.dumps(side_by_side))
    np.testing.assert_array_equal(
        again.loadings("network", 0).u, side_by_side.loadings("network", 0).u
    )
    with pytest.raises(InputError, match=r"no loadings of arm 'theory', network 0.*engine theory"):
        side_by_side.loadings("theory", 0)
    with pytest.raises(InputError, match="arm must be one of"):
        side_by_side.loadings("thoery", 0)
    with pytest.raises(InputError, match="network must be a whole number from 0 to 2; got 3"):
        side_by_side.loadings("adam", 3)
    with pytest.raises(InputError, match="phase must be one of '1-A', '2-readout', '3-B'"):
        side_by_side.loadings("adam", 0, "A")


def test_settings_of_a_rule_are_inherited_replaced_and_put_back():
    rule = {"rate": 0.01, "momentum": 0.5, "minibatch": 1, "pathway_rates": {"z": 0.0}}
    phases = [
        {"task": "A", "epochs": 1},
        {"task": "A", "epochs": 1, "name": "back", "rule": {"momentum": None}},
        {"task": "A", "epochs": 1, "name": "flow", "rule": {"type": "gradient-flow"}},
        {"task": "A", "epochs": 1, "name": "steps", "rule": {"schedule": [1.0, 0.5]}},
        {
            "task": "A",
            "epochs": 1,
            "name": "first order",
            "rule": {"type": "first-order-descent", "schedule": {"type": "decay", "epochs": 9}},
        },
    ]
    arms = {"x": {"rule": {"rate": 0.02}, "phases": phases}}
    spec = small(rule=rule, arms=arms).spec
    built = [spec.rule_of("x", phase).build() for phase in spec.arms["x"].phases]
    common = {"pathway_rates": {"z": 0.0}, "minibatch": 1}
    assert built == [
        pl.GradientDescent(0.02, momentum=0.5, **common),
        pl.GradientDescent(0.02, **common),
        pl.GradientFlow(pathway_rates={"z": 0.0}),
        pl.GradientDescent(0.02, momentum=0.5, schedule=(1.0, 0.5), **common),
        pl.FirstOrderDescent(0.02, schedule=pl.RateDecay(9.0)),
    ]


def test_norms_of_random_loadings_by_pathway():
    norms = {"u": 0.5, "z": 2.0}
    distribution = {"type": "random-loadings", "n_neurons": 100, "norms": norms}
    arms = {"only": SMALL["arms"]["A-B"]}
    cohort = {"networks": 5, "rank": 2, "distribution": distribution}
    starts = small(cohort=cohort, arms=arms).draw_starts(0)
    for start in starts:
        assert (start["u1u1"] + start["u2u2"]) / 2 == pytest.approx(0.5, rel=1e-12)
        assert start["zz"] == pytest.approx(2.0, rel=1e-12)
    assert len({round(start["mm"], 12) for start in starts}) == 5  # not scaled


def test_tanh_by_theory_and_by_neurons():
    arms = {"x": {"phases": [{"task": "A", "epochs": 20}]}}
    kwargs = {"nonlinearity": "tanh", "arms": arms, "tasks": {"A": SMALL["tasks"]["A"]}}
    kwargs |= {"evaluate": ["A"], "cohort": {"networks": 1, "overlaps": {"zm": 0.5, "mm": 4.0}}}
    theory = small(**kwargs).run().curves("x")[0]
    neurons = small(engine="network", n_neurons=4000, **kwargs).run().curves("x")[0]
    linear = small(**{**kwargs, "nonlinearity": "linear"}).run().curves("x")[0]
    assert theory.iloc[-1] < 0.99 * theory.iloc[0]
    np.testing.assert_allclose(neurons, theory, rtol=0.02)
    assert abs(linear.iloc[0] - theory.iloc[0]) > 0.05 * theory.iloc[0]
