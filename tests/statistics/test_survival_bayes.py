"""Survival against published fits and statsmodels; Bayes factors against published values."""

from __future__ import annotations

import math
import warnings
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from scipy import special, stats
from statsmodels.duration.hazard_regression import PHReg
from statsmodels.duration.survfunc import survdiff

from predictlearn import statistics as st

pytestmark = pytest.mark.quick

# remission of leukaemia in weeks, Freireich et al. 1963; below zero: censored
MP = [6, 6, 6, -6, 7, -9, 10, -10, -11, 13, 16, -17, -19, -20, 22, 23, -25, -32, -32, -34, -35]
PLACEBO = [1, 1, 2, 2, 3, 4, 4, 5, 5, 8, 8, 8, 8, 11, 11, 12, 12, 15, 17, 22, 23]
REMISSION = pd.DataFrame(
    {
        "subject": range(42),
        "arm": ["6-MP"] * 21 + ["placebo"] * 21,
        "trials": [float(abs(t)) for t in MP + PLACEBO],
        "reached": [int(t > 0) for t in MP + PLACEBO],
    }
)


def times(seed, n=(5, 4), until=60.0):
    rng = np.random.default_rng(seed)
    t = np.ceil(rng.exponential(40, sum(n)))
    return pd.DataFrame(
        {
            "subject": range(sum(n)),
            "arm": np.repeat(["a", "b"], n),
            "trials": np.minimum(t, until),
            "reached": (t <= until).astype(int),
        }
    )


def test_published_curves_and_tests():
    curve = st.survival_curves(REMISSION)
    mp = curve[curve["arm"] == "6-MP"].set_index("time")["waiting"]
    # Kalbfleisch & Prentice; R's survfit
    assert mp[10.0] == pytest.approx(0.7529, abs=5e-5)
    assert mp[23.0] == pytest.approx(0.4482, abs=5e-5)
    found = st.compare_survival(REMISSION, reference="6-MP", n_resamples=999).set_index("name")
    ratio = found.loc["placebo - 6-MP, hazard ratio"]
    # R's coxph: coefficient 1.572, likelihood ratio 16.35; survdiff: chi2 16.8
    assert ratio["effect"] == pytest.approx(1.572, abs=1e-3)
    assert ratio["p"] == pytest.approx(stats.chi2.sf(16.35, 1), rel=0.01)
    rank = found.loc["placebo - 6-MP, log-rank"]
    assert rank["statistic"] ** 2 == pytest.approx(16.793, abs=1e-3)
    assert rank["p"] == 1 / 1000
    assert "proportional hazards" in ratio["checked"]
    assert "NOT MET" not in ratio["checked"]


@pytest.mark.parametrize("seed", range(6))
def test_log_rank_and_cox_agree_with_statsmodels_with_ties(seed):
    table = times(seed, (9, 7))
    table["trials"] = np.ceil(table["trials"] / 15)
    found = st.compare_survival(table)
    chi2, p = survdiff(table["trials"], table["reached"], table["arm"])
    assert found.loc[1, "statistic"] ** 2 == pytest.approx(chi2)
    assert found.loc[1, "p_asymptotic"] == pytest.approx(p)
    model = PHReg(
        table["trials"], (table["arm"] == "b").to_numpy(float)[:, None], table["reached"],
        ties="efron",
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fit = model.fit(disp=0)
    assert found.loc[2, "effect"] == pytest.approx(fit.params[0], abs=1e-4)
    gain = 2 * (fit.llf - model.loglike(np.zeros(1)))
    assert found.loc[2, "p"] == pytest.approx(stats.chi2.sf(gain, 1), rel=1e-4)
    # the profile interval: where the likelihood has dropped by half of 3.84
    for end in found.loc[2, ["effect_low", "effect_high"]]:
        drop = fit.llf - model.loglike(np.array([end]))
        assert 2 * drop == pytest.approx(stats.chi2.isf(0.05, 1), abs=1e-4)


def test_relabelling_is_over_all_ways():
    table = times(3)
    t, event = table["trials"].to_numpy(), table["reached"].to_numpy() == 1

    def gap(chosen):
        total = 0.0
        for at in np.unique(t[event]):
            risk, now = t >= at, (t == at) & event
            total += now[chosen].sum() - now.sum() * risk[chosen].sum() / risk.sum()
        return abs(total)

    seen = gap([5, 6, 7, 8])
    null = [gap(list(c)) for c in combinations(range(9), 4)]
    expected = np.mean([one >= seen - 1e-9 for one in null])
    assert st.compare_survival(table).loc[1, "p"] == pytest.approx(expected)


def test_without_censoring_the_restricted_mean_is_the_mean_of_cut_times():
    table = times(4, (6, 8), until=1e9)
    cut = np.minimum(table["trials"], 50)
    reference = stats.ttest_ind(cut[6:], cut[:6], equal_var=False)
    found = st.compare_survival(table, until=50).iloc[0]
    assert found["estimate"] == pytest.approx(cut[6:].mean() - cut[:6].mean())
    assert found["p"] == pytest.approx(reference.pvalue)
    assert found["unit"] == "trials"


def test_restricted_mean_by_hand():
    # a: reached at 10, lost at 15, reached at 20: 10 + (2/3) 10 = 50/3 up to 20
    table = pd.DataFrame(
        {
            "subject": range(6),
            "arm": list("aaabbb"),
            "trials": [10, 15, 20, 20, 20, 30],
            "reached": [1, 0, 1, 0, 1, 0],
        }
    )
    found = st.compare_survival(table, reference="a", until=20).iloc[0]
    # pseudo-values of a: 3 S - 2 S without one, where those are 20, 15 and 15: 10, 20, 20
    assert found["estimate"] == pytest.approx(20 - 50 / 3)
    assert found["p"] == pytest.approx(stats.ttest_1samp([10, 20, 20], 20).pvalue)


def test_crossing_hazards_are_noticed_and_early_arms_have_no_ratio():
    rng = np.random.default_rng(5)
    early = rng.uniform(1, 100, 60)
    late = np.where(rng.random(60) < 0.5, rng.uniform(1, 15, 60), rng.uniform(85, 100, 60))
    table = pd.DataFrame(
        {
            "subject": range(120),
            "arm": ["a"] * 60 + ["b"] * 60,
            "trials": np.r_[early, late],
            "reached": 1,
        }
    )
    checked = st.compare_survival(table, n_resamples=99).loc[2, "checked"]
    assert "Grambsch-Therneau" in checked
    assert "NOT MET; use the restricted mean" in checked
    apart = table.iloc[:8].assign(arm=list("aaaabbbb"), trials=range(1, 9))
    found = st.compare_survival(apart, reference="b")
    assert found.loc[2, "estimate"] == math.inf
    assert found.loc[2, "degenerate"] == "one arm was done before the other began"
    assert found.loc[1, "p"] == 2 / 70


@pytest.mark.parametrize(
    ("t", "n1", "n2", "scale", "published"),
    [
        # pingouin's manual, as JASP
        (3.5, 20, 20, 0.707, 26.743),
        (3.5, 20, None, 0.707, 17.185),
        # the sleep data in the manual of R's BayesFactor
        (-4.062128, 10, None, math.sqrt(0.5), 17.259),
        (-1.860813, 10, 10, math.sqrt(0.5), 1.266),
        # Rouder et al. 2009, p. 232: for the null, scale 1
        (2.03, 80, None, 1.0, 1 / 1.56),
        (2.24, 80, None, 1.0, 1 / 1.02),
    ],
)
def test_published_bayes_factors(t, n1, n2, scale, published):
    assert st.jzs_bayes_factor(t, n1, n2, scale=scale) == pytest.approx(published, rel=5e-3)


@pytest.mark.parametrize(("t", "n"), [(0.0, 3), (1.5, 6), (8.0, 12), (30.0, 40)])
def test_bayes_factors_against_the_integral_over_the_effect(t, n):
    delta = np.linspace(-15, 15, 6001)
    weight = stats.cauchy.pdf(delta, 0, 0.5) * (delta[1] - delta[0])
    whole = np.sum(stats.nct.pdf(t, n - 1, delta * math.sqrt(n)) * weight)
    expected = whole / stats.t.pdf(t, n - 1)
    assert st.jzs_bayes_factor(t, n, scale=0.5) == pytest.approx(expected, rel=2e-3)


def test_tables_weigh_the_t_of_animals():
    rng = np.random.default_rng(6)
    table = pd.DataFrame({"subject": range(16), "arm": ["a"] * 7 + ["b"] * 9})
    table["y"] = rng.normal(size=16) + (table["arm"] == "b")
    t = stats.ttest_ind(table["y"][7:], table["y"][:7]).statistic
    found = st.bayes_groups(table, outcome="y", scale=1.0).iloc[0]
    assert found["bf10"] == pytest.approx(float(st.jzs_bayes_factor(t, 9, 7, scale=1.0)))
    assert "Cauchy, scale 1 sd" in found["assumptions"]
    assert math.isnan(found["p"])
    halves = pd.DataFrame({"subject": [*range(8)] * 2, "arm": ["a"] * 8 + ["b"] * 8})
    halves["y"] = table["y"].to_numpy()
    t = stats.ttest_rel(halves["y"][8:], halves["y"][:8]).statistic
    found = st.bayes_pairs(halves, outcome="y").iloc[0]
    assert found["bf10"] == pytest.approx(float(st.jzs_bayes_factor(t, 8)))


def test_shares_by_hand():
    table = pd.DataFrame({"subject": range(9), "arm": ["a"] * 5 + ["b"] * 4})
    table["learned"] = [1, 1, 1, 1, 0, 0, 0, 1, 0]
    # B(2, 4) B(5, 2) / B(6, 5), in factorials
    expected = (1 / 20) * (1 / 30) / special.beta(6, 5)
    found = st.bayes_shares(table, outcome="learned").iloc[0]
    assert found["bf10"] == pytest.approx(expected)
    assert found["estimate"] == pytest.approx(25 - 80)
    # posterior means of the shares are 2/6 and 5/7
    assert found["low"] < 100 * (2 / 6 - 5 / 7) < found["high"] < 30


def test_a_sequence_of_looks_is_the_bayes_factor_of_the_first_animals():
    rng = np.random.default_rng(7)
    table = pd.DataFrame({"subject": [f"z{90 - i}" for i in range(30)], "arm": list("ab") * 15})
    table["y"] = rng.normal(100, 1, 30) + 0.8 * (table["arm"] == "b")
    plan = st.SequentialPlan(n_min=4, n_max=12, step=3, threshold=20.0)
    found = st.sequential_bayes(table, plan, outcome="y")
    for n, bf10 in zip(found["n"], found["bf10"], strict=True):
        first = table.groupby("arm").head(n)
        assert bf10 == pytest.approx(st.bayes_groups(first, outcome="y").loc[0, "bf10"], rel=1e-6)
    assert found["stop"].tolist() == [False] * (len(found) - 1) + [bool(found["stop"].iloc[-1])]


@pytest.mark.parametrize("design", ["paired", "two-sample"])
def test_misleading_evidence_is_bounded_and_power_grows(design):
    plan = st.SequentialPlan(n_min=4, n_max=30, threshold=4.0, design=design)
    found = st.sequential_rates(plan, [1.2, 0.0], n_simulations=600)
    null, effect = found.to_dict("records")
    # a Bayes factor is a martingale under the null: Ville's inequality
    assert null["misleading"] <= 1 / 4
    assert null["misleading"] == null["different"] > 0
    assert effect["different"] > 0.9
    assert effect["mean_n"] < 20
    assert effect["misleading_low"] <= effect["misleading"] <= effect["misleading_high"]
