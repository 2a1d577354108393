"""Tests of tables against scipy, statsmodels, scikit-learn and numbers worked out by hand."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from scipy import stats
from sklearn.linear_model import RidgeClassifier
from sklearn.model_selection import LeaveOneGroupOut, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.weightstats import ttost_ind, ttost_paired

from predictlearn import statistics as st

pytestmark = pytest.mark.quick

RNG = np.random.default_rng(7)


def table_of(n=(6, 9, 7), rows=3):
    animals = sum(n)
    arm = np.repeat(list("abc"), n)
    frame = pd.DataFrame(
        {"subject": np.repeat(np.arange(animals), rows), "arm": np.repeat(arm, rows)}
    )
    frame["y"] = RNG.normal(3, 1, len(frame)) + RNG.normal(0, 1, animals)[frame["subject"]]
    return frame


TABLE = table_of()


def means(table, by="arm"):
    one = table.groupby(["subject", by])["y"].mean()
    return {name: part.to_numpy() for name, part in one.groupby(level=by)}


def test_groups_are_compared_by_the_means_of_animals():
    found = st.compare_groups(TABLE, outcome="y", reference="b", unit="errors")
    assert found["name"].tolist() == ["a - b", "c - b"]
    by = means(TABLE)
    for row, arm in zip(found.to_dict("records"), "ac", strict=True):
        reference = stats.ttest_ind(by[arm], by["b"], equal_var=False)
        assert row["p"] == pytest.approx(reference.pvalue)
        assert (row["low"], row["high"]) == pytest.approx(reference.confidence_interval())
        assert row["n_animals"] == by[arm].size + 9
        assert row["effect_low"] < row["effect"] < row["effect_high"]
        assert "Shapiro-Wilk" in row["checked"]
        assert row["unit"] == "errors"


def test_pairs_and_equivalence_agree_with_scipy_and_statsmodels():
    table = pd.concat([TABLE.assign(arm="off"), TABLE.assign(arm="on", y=TABLE["y"] + 0.4)])
    table["y"] += RNG.normal(0, 0.3, len(table))
    by = means(table)
    found = st.compare_pairs(table, outcome="y").iloc[0]
    assert found["p"] == pytest.approx(stats.ttest_rel(by["on"], by["off"]).pvalue)
    same = st.equivalent_pairs(table, outcome="y", bounds=0.9).iloc[0]
    assert same["p"] == pytest.approx(ttost_paired(by["on"], by["off"], -0.9, 0.9)[0])
    two = TABLE[TABLE["arm"] != "c"]
    by = means(two)
    same = st.equivalent_groups(two, outcome="y", bounds=(-1, 2)).iloc[0]
    assert same["p"] == pytest.approx(ttost_ind(by["b"], by["a"], -1, 2, usevar="unequal")[0])


def test_six_pairs_cannot_be_enough_for_five():
    table = pd.DataFrame({"subject": [*range(5)] * 2, "arm": list("aaaaabbbbb"), "y": range(10)})
    table["y"] += RNG.normal(0, 0.1, 10)
    found = st.compare_pairs(table, outcome="y", method="permutation").iloc[0]
    assert found["p"] == 2 / 2**5
    assert "the smallest p is 0.062, NOT MET" in found["checked"]


def test_what_speaks_against_an_assumption_is_said_with_what_to_do():
    skewed = pd.DataFrame({"subject": range(30), "arm": ["a"] * 15 + ["b"] * 15})
    skewed["y"] = np.random.default_rng(0).exponential(size=30) ** 2
    checked = st.compare_groups(skewed, outcome="y").loc[0, "checked"]
    assert "normal within arms" in checked
    assert "NOT MET; prefer method='permutation'" in checked


def test_regression_agrees_with_statsmodels_and_partial_r2_with_residuals():
    n = 25
    x = RNG.normal(size=(n, 2)) @ np.array([[1.0, 0.5], [0, 1]])
    y = 2 + x @ [0.8, -0.3] + RNG.normal(size=n)
    table = pd.DataFrame({"subject": range(n), "speed": x[:, 0], "age": x[:, 1], "y": y})
    fit = sm.OLS(y, sm.add_constant(x)).fit()
    found = st.regression(table, outcome="y", terms=["speed", "age"])
    assert found["estimate"].to_numpy() == pytest.approx(fit.params[1:])
    assert found["p"].to_numpy() == pytest.approx(fit.pvalues[1:])
    assert found[["low", "high"]].to_numpy() == pytest.approx(fit.conf_int()[1:])
    rest = sm.OLS(y, sm.add_constant(x[:, 1])).fit()
    assert found.loc[0, "effect"] == pytest.approx(1 - fit.ssr / rest.ssr)
    robust = st.regression(table, outcome="y", terms=["speed", "age"], method="hc3")
    hc3 = sm.OLS(y, sm.add_constant(x)).fit(cov_type="HC3", use_t=True)
    assert robust["p"].to_numpy() == pytest.approx(hc3.pvalues[1:])
    moved = st.regression(table, outcome="y", terms=["speed", "age"], method="permutation")
    assert moved["p"].to_numpy() == pytest.approx(fit.pvalues[1:], abs=0.03)


def test_partial_r2_interval_is_that_of_the_noncentral_t_squared():
    # F with one degree of freedom is t squared; both ends beyond zero, so that signs do not matter
    low, high = st.partial_r2_interval(25.0, 1, 18)
    ends = np.array(st.noncentrality_interval(5.0, 18)) ** 2
    assert (low, high) == pytest.approx(ends / (ends + 20), rel=2e-3)
    assert st.partial_r2_interval(0.2, 1, 18)[0] == 0.0


def test_rows_of_an_animal_are_one_row_of_a_regression():
    table = table_of()
    table["weight"] = table["subject"] * 1.0
    once = table.groupby("subject", as_index=False).agg(
        {"y": "mean", "weight": "first", "arm": "first"}
    )
    many, one = (
        st.regression(each, outcome="y", terms=["weight", "arm"]) for each in (table, once)
    )
    assert many["p"].to_numpy() == pytest.approx(one["p"].to_numpy())
    assert many["name"].tolist() == ["weight", "arm: b - a", "arm: c - a"]


def features(n=9, rows=8, shift=0.9, classes=2):
    subject = np.repeat(np.arange(n), rows)
    label = np.tile(np.arange(rows) % classes, n)
    x = RNG.normal(size=(n * rows, 4)) + RNG.normal(size=(n, 4))[subject]
    x[:, 0] += shift * label
    table = pd.DataFrame(x, columns=list("wxyz"))
    return table.assign(subject=subject, side=np.array(list("ijk"))[label])


@pytest.mark.parametrize("classes", [2, 3])
def test_decoding_predicts_as_scikit_learn_does(classes):
    table = features(classes=classes)
    model = make_pipeline(StandardScaler(), RidgeClassifier(alpha=1.0))
    x, y = table[list("wxyz")].to_numpy(), table["side"].to_numpy()
    predicted = cross_val_predict(model, x, y, groups=table["subject"], cv=LeaveOneGroupOut())
    share = np.mean([np.mean(predicted[y == side] == side) for side in np.unique(y)])
    call = partial(st.decoding, table, target="side", features=list("wxyz"), n_permutations=19)
    ours, theirs = call(), call(estimator=model)
    assert ours.loc[0, "estimate"] == pytest.approx(100 * share)
    assert ours.loc[0, "p"] == theirs.loc[0, "p"]


def test_relabelling_keeps_what_belongs_together():
    table = features(n=8, rows=6)
    call = partial(st.decoding, features="w", n_permutations=9)
    by_animal = table.assign(group=np.where(table["subject"] < 4, "p", "q"))
    assert "between animals" in call(by_animal, target="group").loc[0, "assumptions"]
    assert "labels within animals" in call(table, target="side").loc[0, "assumptions"]
    blocks = table.assign(session=table.index // 3)
    blocks["block"] = np.where(blocks["session"] % 2, "p", "q")
    found = call(blocks, target="block", session="session")
    assert "labels of sessions within animals" in found.loc[0, "assumptions"]


def test_a_label_of_animals_cannot_be_decoded_from_who_they_are():
    # features that name the animal: exchanging rows would call it decoded
    rng = np.random.default_rng(1)
    p = []
    for seed in range(60):
        subject = np.repeat(np.arange(8), 12)
        x = rng.normal(size=(8, 3))[subject] + 0.1 * rng.normal(size=(96, 3))
        table = pd.DataFrame(x, columns=list("abc"))
        table = table.assign(subject=subject, arm=np.where(subject < 4, "p", "q"))
        found = st.decoding(table, target="arm", features=list("abc"), n_permutations=99, seed=seed)
        p.append(found.loc[0, "p"])
    assert np.mean(np.array(p) < 0.05) < 0.05 + 4 * math.sqrt(0.05 * 0.95 / 60)


def test_one_run_is_one_family():
    table = TABLE[TABLE["arm"] != "c"].assign(z=lambda t: t["y"] + RNG.normal(size=len(t)))
    tests = {
        "y": partial(st.compare_groups, outcome="y"),
        "z": partial(st.compare_groups, outcome="z"),
        "same": partial(st.equivalent_groups, outcome="z", bounds=2.0),
        "evidence": partial(st.bayes_groups, outcome="y"),
    }
    for method in ("holm", "fdr_bh"):
        found = st.run_tests(table, tests, correction=method, family="learning")
        known = found["p"].notna()
        expected = multipletests(found.loc[known, "p"], method=method)[1]
        assert found.loc[known, "p_corrected"].to_numpy() == pytest.approx(expected)
        assert (found["family_size"] == 3).all()
        assert found["test"].tolist() == list(tests)
    assert found.loc[2, "verdict"] in ("equivalent", "not shown equivalent")
    assert found.loc[3, "verdict"] in ("different", "same", "undecided")


@pytest.mark.parametrize(
    "test",
    [
        partial(st.compare_groups, outcome="y"),
        partial(st.compare_groups, outcome="y", method="permutation", n_resamples=99),
        partial(st.equivalent_groups, outcome="y", bounds=1.0),
        partial(st.mixed_model, outcome="y"),
        partial(st.regression, outcome="y", terms="arm"),
        partial(st.bayes_groups, outcome="y"),
    ],
)
def test_bare_results_decide_alike(test):
    whole = test(TABLE)
    with st.bare_results():
        bare = test(TABLE)
    assert bare["verdict"].tolist() == whole["verdict"].tolist()
    np.testing.assert_array_equal(bare["p"], whole["p"])
