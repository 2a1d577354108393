"""Twin history of the gallery: decoding, its null, features, and the whole result."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from conftest import random_overlaps
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

import predictlearn as pl
from predictlearn.published.diverging import follow
from predictlearn.published.protocols import load, run
from predictlearn.published.twin_history import result as twin_history
from predictlearn.published.twin_history.first_order import first_order_courses
from predictlearn.published.twin_history.history_decoding import decode_history, logistic
from predictlearn.published.twin_history.twins import (
    TIMES,
    Twins,
    course_table,
    decoding_table,
    difference_table,
    features,
    noise_table,
    unrealisable,
)

# -- decoding -----------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [0.3, 1.0, 30.0])
def test_logistic_regressions_are_those_of_scikit_learn(scale):
    rng = np.random.default_rng(0)
    x = scale * rng.normal(size=(16, 5))
    labels = rng.integers(0, 2, size=(12, 16)).astype(float)
    labels[0] = x[:, 0] > 0  # separable
    weights = logistic(x, labels, strength=0.7)
    for label, found in zip(labels, weights, strict=True):
        model = LogisticRegression(C=0.7, tol=1e-10, max_iter=20_000).fit(x, label)
        expected = np.append(model.coef_[0], model.intercept_)
        np.testing.assert_allclose(found, expected, atol=2e-5)


def test_accuracy_is_that_of_scikit_learn_split_by_split():
    rng = np.random.default_rng(1)
    first, second = rng.normal(0.3, 1.0, size=(2, 3, 4))
    second = second - 0.5
    # three pairs, one tested: every split is one of three, and 300 of them weigh all alike
    found = decode_history(first, second, test_pairs=1, splits=300, swaps=0)
    right = []
    for test in range(3):
        train = [k for k in range(3) if k != test]
        x = np.concatenate([first[train], second[train]])
        scaler = StandardScaler().fit(x)
        model = LogisticRegression(tol=1e-10).fit(scaler.transform(x), [1, 1, 0, 0])
        guess = model.predict(scaler.transform([first[test], second[test]]))
        right.append(np.mean(guess == [1, 0]))
    np.testing.assert_array_equal(found.by_pair, right)
    assert found.accuracy == pytest.approx(np.mean(right), abs=0.05)
    assert found.p == 1.0


def test_identical_twins_are_at_one_half_together_and_far_below_apart():
    same = np.random.default_rng(2).normal(size=(10, 4))
    for noise in (0.0, 0.3):
        found = decode_history(same, same, noise=noise)
        assert found.accuracy == 0.5
        assert (found.by_pair == 0.5).all()
        assert found.p == 1.0
        assert decode_history(same, same, noise=noise, together=False).accuracy < 0.4


def test_a_clear_trace_is_decoded_at_the_smallest_p_there_is():
    start = np.random.default_rng(3).normal(size=(10, 3))
    found = decode_history(start + np.array([9.0, 0.0, 0.0]), start, noise=0.3)
    assert found.accuracy > 0.95
    assert len(found.swapped) == 2**9
    assert found.p == 1 / 2**9
    low, high = found.band
    assert low < 0.5 < high < 1.0
    many = np.random.default_rng(4).normal(size=(12, 3))
    assert len(decode_history(many + 3.0, many, swaps=99).swapped) == 99


def test_exchanged_labels_give_the_stated_size_where_there_is_no_trace():
    rng = np.random.default_rng(5)
    p = []
    for seed in range(150):
        start = rng.normal(size=(8, 3))
        first, second = start + 0.5 * rng.normal(size=(2, 8, 3))
        p.append(decode_history(first, second, noise=0.3, splits=10, seed=seed).p)
    # at most 5%, within three standard errors of 150 runs
    assert np.mean(np.array(p) <= 0.05) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 150)
    assert np.mean(np.array(p) <= 0.5) == pytest.approx(0.5, abs=0.15)


def test_noise_in_features_depends_on_their_size_and_noise_in_spreads_does_not():
    rng = np.random.default_rng(6)
    start = rng.normal(size=(10, 2))
    first, second = start + np.array([2.5, 0.0]), start - np.array([2.5, 0.0])
    how = {"noise": 1.0, "swaps": 0, "splits": 100}
    for size, low, high in ((1.0, 0.9, 1.0), (0.01, 0.3, 0.7)):
        found = decode_history(size * first, size * second, **how)
        assert low <= found.accuracy <= high
    spreads = [
        decode_history(size * first, size * second, noise_in="spreads", **how).accuracy
        for size in (1.0, 1024.0)
    ]
    assert spreads[0] == spreads[1]


def test_decoding_refuses_what_it_cannot_do():
    x = np.ones((5, 2))
    with pytest.raises(pl.InputError, match=r"second must have shape \(5, 2\)"):
        decode_history(x, np.ones((4, 2)))
    with pytest.raises(pl.InputError, match="leave at least two pairs to train on; got 4 of 5"):
        decode_history(x, x, test_pairs=4)
    with pytest.raises(pl.InputError, match=r"noise_in must be one of .*Did you mean 'spreads'"):
        decode_history(x, x, noise_in="spread")


# -- overlaps -----------------------------------------------------------------------------------


def test_canonical_features_are_those_of_the_function_and_raw_ones_are_not():
    o = random_overlaps(0)
    table = pd.DataFrame([o.to_series(), o.gauge(-1.7).to_series()])
    seen = features(table, "visible", "canonical")
    assert list(seen) == ["zm", "zu", "vm", "vu", "mu", "mm"]
    np.testing.assert_allclose(seen.iloc[0], seen.iloc[1], rtol=1e-10)
    hidden = features(table, "invisible", "canonical")
    assert list(hidden) == ["zv", "vv", "zz"]
    np.testing.assert_allclose(hidden.iloc[0], hidden.iloc[1], rtol=1e-10)
    raw = features(table, "visible")
    assert list(raw) == ["zm", "zu", "vm", "vu", "mu", "mm", "uu"]
    assert abs(raw["uu"].iloc[1] / raw["uu"].iloc[0]) == pytest.approx(1.7**2)


def test_share_of_unrealisable_tables_is_that_of_refused_draws():
    rng = np.random.default_rng(7)
    refused = 0
    for _ in range(1500):
        matrix = np.diag(rng.uniform(0.5, 2.0, size=4))
        for i in range(4):
            for j in range(i):
                matrix[i, j] = matrix[j, i] = abs(rng.normal(0.0, 0.4))
        try:
            pl.Overlaps(matrix)
        except pl.InputError:
            refused += 1
    whole, driven = unrealisable(0.4, (0.5, 2.0), draws=20_000)
    assert whole == pytest.approx(refused / 1500, abs=3 * np.sqrt(0.135 * 0.865 / 1500))
    assert 0 < driven < whole
    assert unrealisable(1e-6, (0.5, 2.0), draws=500) == (0.0, 0.0)


def test_learning_keeps_the_number_of_negative_eigenvalues():
    """The exact step is a congruence: a table of no network stays one."""
    matrix = np.eye(4) + 0.2
    matrix[0, 3] = matrix[3, 0] = 1.4
    start = pl.Overlaps(matrix, tolerance=1.0)
    assert np.sum(np.linalg.eigvalsh(start.matrix) < 0) == 1
    trials = pl.FlipFlop(wait=(1.0, 2.0), dt=0.1, trials=8).sample(np.random.default_rng(0))
    losses, s = [], start.matrix
    for _ in range(300):
        loss, a = pl.loss_and_derivative(pl.Overlaps(s, tolerance=1.0), trials, "erf")
        step = np.eye(4) - 0.05 * a
        s = step.T @ s @ step
        losses.append(loss)
        assert np.sum(np.linalg.eigvalsh(s) < 0) == 1
    assert losses[-1] < 0.5 * losses[0]


# -- the result ---------------------------------------------------------------------------------


def small(networks=5, scale=0.01):
    data = load("published-twin-history", scale).to_dict()
    for task in data["tasks"].values():
        task |= {"dt": 0.1, "trials": 4}
    cohort = {**data["cohort"], "networks": networks}
    return load(
        "published-twin-history", scale, tasks=data["tasks"], cohort=cohort, record_every=20
    )


@pytest.fixture(scope="module")
def ran():
    protocol = small()
    return protocol, run(protocol)


def test_twins_start_alike_and_see_the_same_third_task(ran):
    protocol, result = ran
    twins = Twins.of(result, criterion=0.015)
    assert twins.pairs == (0, 1, 2, 3, 4)
    first, second = twins.states["before"]
    pd.testing.assert_frame_equal(first, second)
    for k, start in enumerate(protocol.draw_starts(0)):
        np.testing.assert_allclose(first.loc[k], start.to_series(), rtol=1e-12)
    for state, arm in zip(twins.states[TIMES[2]], result.arms, strict=True):
        pd.testing.assert_frame_equal(state, result.final_table(arm), check_names=False)
    # the last of the first phase is the first of the third
    for k in range(2):
        pd.testing.assert_frame_equal(twins.course[0][k], twins.states[TIMES[1]][k])
        pd.testing.assert_frame_equal(twins.course[300][k], twins.states[TIMES[2]][k])


def test_losses_and_criterion_of_twins(ran):
    _, result = ran
    curve = result.curves("flip-flop first")[2].xs("first", level="phase")
    for criterion in (0.2, 1e-9):
        losses = Twins.of(result, criterion).losses.loc[("flip-flop first", 2)]
        below = curve[curve < criterion]
        if len(below):
            assert losses["below"] == below.index.get_level_values("phase_epoch")[0]
        else:
            assert np.isnan(losses["below"])
        assert losses["first"] == pytest.approx(curve.iloc[-1])


def test_pairs_that_lost_a_twin_are_left_out(ran):
    protocol, result = ran
    lost = pd.DataFrame([{"arm": "flip-flop first", "network": 3}])
    kept = type(result)(
        result.name, result.table, lost, result.starts, result.seed, result.settings
    )
    assert Twins.of(kept, 0.015).pairs == (0, 1, 2, 4)
    everyone = pd.DataFrame([{"arm": "flip-flop first", "network": k} for k in range(5)])
    none = type(result)(
        result.name, result.table, everyone, result.starts, result.seed, result.settings
    )
    with pytest.raises(pl.InputError, match="no pair of twins"):
        Twins.of(none, 0.015)
    only = {"flip-flop first": protocol.to_dict()["arms"]["flip-flop first"]}
    with pytest.raises(pl.InputError, match="two arms; got 1"):
        Twins.of(small(1, 1e-4).replace(arms=only).run(), 0.015)


# the tables of the whole result, and its verdicts on them, are in test_twin_history_is_rebuilt
@pytest.mark.slow
def test_tables_of_twins(ran):
    twins = Twins.of(ran[1], 0.015)
    table = decoding_table(twins)
    before = table[(table["time"] == "before") & table["together"]]
    assert (before["accuracy"] == 0.5).all()
    apart = table[(table["time"] == "before") & ~table["together"]]
    assert (apart["accuracy"] < 0.5).all()
    assert set(table.loc[~table["together"], "gauge"]) == {"raw"}
    after = table[(table["time"] == "after first") & table["together"]]
    assert (after["accuracy"] > 0.95).all()  # the first tasks leave very different networks
    differences = difference_table(twins)
    row = differences[
        (differences["time"] == "after third")
        & (differences["gauge"] == "raw")
        & (differences["overlap"] == "zz")
    ].iloc[0]
    gap = twins.states["after third"][0]["zz"] - twins.states["after third"][1]["zz"]
    assert row["mean"] == pytest.approx(gap.mean())
    assert row["sd"] == pytest.approx(gap.std())
    assert row["p"] in {k / 16 for k in range(1, 17)}
    course = course_table(twins, points=4)
    assert course["epoch"].min() == 0
    assert course["epoch"].max() == 300
    noise = noise_table(twins)
    assert noise["accuracy"].between(0.0, 1.0).all()
    assert noise["accuracy"].iloc[-2:].max() < noise["accuracy"].iloc[:2].min()


def test_twin_history_is_rebuilt(tmp_path, monkeypatch):
    monkeypatch.setattr(twin_history, "load", lambda name, scale: small())
    # of five pairs two can be drawn in ten ways
    monkeypatch.setattr(
        "predictlearn.published.twin_history.twins.decode_history",
        lambda *pair, **how: decode_history(*pair, **{**how, "splits": 10}),
    )
    stages: list[str] = []
    made = twin_history.RESULT.run(folder=tmp_path, scale=0.01, progress=stages.append)
    assert set(made.figures) == {"overlaps", "decoding"}
    assert "differs" not in set(made.numbers["verdict"])
    assert made.verdict("before learning, visible") == "agrees"
    assert len(made.tables["first-order"]) == 4
    # the first-order update is close and not the same
    assert made.tables["first-order"]["largest"].between(1e-8, 0.3).all()
    assert len(list(tmp_path.glob("*/networks/*.npz"))) == 5
    assert len(list(tmp_path.glob("*-first-order/*.npy"))) == 4
    assert len(stages) == 4
    # an interrupted run goes on from what is there: nothing is computed again
    monkeypatch.setattr("predictlearn.protocol.work.run_arms", None)
    again = run(small(), folder=tmp_path)
    ends = made.tables["overlaps"].loc["after third"]
    for arm in again.arms:
        np.testing.assert_array_equal(ends.loc[arm], again.final_table(arm))


def test_first_order_courses_are_those_of_the_rule_and_are_kept(tmp_path, monkeypatch, ran):
    protocol, result = ran
    courses = first_order_courses(protocol, result.starts[:2], seed=0, folder=tmp_path)
    data = protocol.to_dict()
    data["rule"] = {"type": "first-order-descent", "rate": 0.01}
    rough = pl.Protocol.from_dict(data).run(seed=0)
    for arm in rough.arms:
        ends = rough.final_table(arm).loc[:1]
        np.testing.assert_array_equal(courses.loc[arm, list(ends)], ends)
    assert courses["left"].isna().all()
    assert (courses["lowest"] > 0).all()
    assert courses["diverged"].isna().all()
    monkeypatch.setattr(
        "predictlearn.published.twin_history.first_order.follow", None
    )  # nothing is run
    again = first_order_courses(protocol, result.starts[:2], seed=0, folder=tmp_path)
    pd.testing.assert_frame_equal(courses, again)


def test_first_order_courses_that_leave_and_diverge_say_so(ran):
    protocol, result = ran
    data = protocol.to_dict()
    for arm in data["arms"].values():
        for phase in arm["phases"]:
            phase["rule"] = {"rate": 0.25}  # far beyond a stable step of the third task
    steep = pl.Protocol.from_dict({**data, "record_every": 1})
    courses = first_order_courses(steep, result.starts[:1], seed=0)
    assert courses["diverged"].between(301, 600).all()
    assert (courses["left"] <= courses["diverged"]).all()
    assert (courses["lowest"] < 0).all()
    assert courses[list(result.overlap_names)].isna().all(axis=None)
    said = twin_history._first_order_findings(twin_history._rough(result, courses))
    assert len(said) == 1
    assert "takes 2 of 2 courses" in said[0]
    assert "diverge, at epochs" in said[0]
    # where not even the first loss is finite, there is a start and nothing else
    hopeless = pl.Overlaps(np.diag([-100.0, 1.0, 1.0, 100.0]), tolerance=1.0)
    course = follow(steep.spec, hopeless, steep.tasks["teacher"], pl.DirectDescent(0.1), 9, 0)
    assert course.epochs.tolist() == [0.0]
    assert (course.diverged, course.left) == (0.0, 0.0)


def test_twin_history_needs_a_criterion_and_a_teacher():
    data = small().to_dict()
    for arm in data["arms"].values():
        arm["phases"][0].pop("rule")
    with pytest.raises(pl.InputError, match="no criterion"):
        twin_history._criterion(small().replace(arms=data["arms"]))
    for arm in data["arms"].values():
        arm["phases"][1]["task"] = "flip-flop"
    with pytest.raises(pl.InputError, match="must be a teacher; got FlipFlop"):
        twin_history._teacher(small().replace(arms=data["arms"]))
