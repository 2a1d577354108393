"""Mixed models against statsmodels, published fits, exact tests of balanced data, quadrature."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from scipy import optimize, special, stats

from predictlearn import statistics as st
from predictlearn.statistics.variance_components import Block, _Deviance, fit_variances, moments_of

pytestmark = pytest.mark.quick


def sessions(seed, n=(6, 6), m=8, animal=1.0, litter=0.0, slope=0.0, shift=0.0):
    rng = np.random.default_rng(seed)
    k = sum(n)
    arm = np.repeat([0, 1], n)
    own = animal * rng.normal(size=k) + litter * rng.normal(size=k // 3 + 1)[np.arange(k) // 3]
    at = np.arange(m) - (m - 1) / 2
    y = own[:, None] + shift * arm[:, None] + (0.1 + slope * rng.normal(size=(k, 1))) * at
    y = y + rng.normal(size=y.shape)
    return pd.DataFrame(
        {
            "subject": np.repeat(np.arange(k), m),
            "arm": np.repeat(np.array(["a", "b"])[arm], m),
            "litter": np.repeat(np.arange(k) // 3, m),
            "session": np.tile(np.arange(m), k),
            "y": y.ravel(),
        }
    )


RAIL = [[55, 53, 54], [26, 37, 32], [78, 91, 85], [92, 100, 96], [49, 51, 50], [80, 85, 83]]
DYES = [
    [1545, 1440, 1440, 1520, 1580],
    [1540, 1555, 1490, 1560, 1495],
    [1595, 1550, 1605, 1510, 1560],
    [1445, 1440, 1595, 1465, 1545],
    [1595, 1630, 1515, 1635, 1625],
    [1520, 1455, 1450, 1480, 1445],
]


@pytest.mark.parametrize(
    ("rows", "mean", "error", "between", "within"),
    [
        # Pinheiro & Bates 2000, section 1.1: sds 24.80547 and 4.020779
        (RAIL, 66.5, 10.17104, 24.80547**2, 4.020779**2),
        # Bates, lme4 (Dyestuff): variances 1764.05 and 2451.25
        (DYES, 1527.5, 19.38341, 1764.05, 2451.25),
    ],
)
def test_published_variance_components(rows, mean, error, between, within):
    y = np.array(rows, dtype=float)
    block = Block("rail", np.repeat(np.arange(len(y)), y.shape[1]), len(y))
    fit = fit_variances(moments_of(np.ones((y.size, 1)), y.ravel(), [block]))
    assert fit.beta[0] == pytest.approx(mean)
    assert math.sqrt(fit.covariance[0, 0]) == pytest.approx(error, rel=1e-4)
    assert fit.tau[0] == pytest.approx(between, rel=1e-4)
    assert fit.sigma2 == pytest.approx(within, rel=1e-4)
    assert fit.df[0] == pytest.approx(5.0, rel=1e-4)


def test_balanced_arms_are_compared_as_by_the_t_test_of_animals():
    table = sessions(1, shift=1.0)
    means = table.groupby(["arm", "subject"])["y"].mean()
    reference = stats.ttest_ind(means["b"], means["a"])
    found = st.mixed_model(table, outcome="y", terms=["arm", "session"], unit="errors")
    arm = found.iloc[0]
    assert arm["name"] == "arm: b - a"
    assert arm["p"] == pytest.approx(reference.pvalue, rel=1e-5)
    assert (arm["low"], arm["high"]) == pytest.approx(reference.confidence_interval(), rel=1e-4)
    assert arm["df"] == pytest.approx(10)
    assert found.loc[1, "df"] == pytest.approx(12 * 8 - 12 - 1, rel=1e-6)
    assert arm["unit"] == "errors"


def test_litters_are_compared_as_by_the_t_test_of_litters():
    table = sessions(2, n=(12, 12), litter=1.0)
    means = table.groupby(["arm", "litter"])["y"].mean()
    found = st.mixed_model(table, outcome="y", litter="litter").iloc[0]
    assert found["variance of litter"] > 0
    assert found["p"] == pytest.approx(stats.ttest_ind(means["b"], means["a"]).pvalue, rel=1e-3)


def test_unbalanced_fits_agree_with_statsmodels():
    table = sessions(3, n=(5, 8), shift=0.5).drop(index=[3, 4, 5, 40, 41, 77])
    x = np.column_stack([np.ones(len(table)), table["arm"] == "b", table["session"]]).astype(float)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        other = sm.MixedLM(table["y"], x, groups=table["subject"]).fit(reml=True)
    found = st.mixed_model(table, outcome="y", terms=["arm", "session"])
    assert found["estimate"].to_numpy() == pytest.approx(np.asarray(other.fe_params)[1:], rel=1e-4)
    errors = found["estimate"] / found["statistic"]
    assert errors.to_numpy() == pytest.approx(np.asarray(other.bse_fe)[1:], rel=1e-3)
    tau = float(np.asarray(other.cov_re)[0, 0])
    assert found.loc[0, "variance of subject"] == pytest.approx(tau, rel=2e-3)


def test_nested_variances_are_those_of_mean_squares():
    # balanced: restricted likelihood is the analysis of variance, where that is above zero
    table = sessions(4, n=(9, 9), litter=3.0)
    y = table["y"].to_numpy().reshape(2, 3, 3, 8)
    animal, litter, arm = y.mean(3), y.mean((2, 3)), y.mean((1, 2, 3))
    rows = ((y - animal[..., None]) ** 2).sum() / (18 * 7)
    animals = 8 * ((animal - litter[..., None]) ** 2).sum() / 12
    litters = 24 * ((litter - arm[..., None]) ** 2).sum() / 4
    assert rows < animals < litters
    found = st.mixed_model(table, outcome="y", litter="litter").iloc[0]
    assert found["variance of rows"] == pytest.approx(rows, rel=1e-3)
    assert found["variance of subject"] == pytest.approx((animals - rows) / 8, rel=1e-3)
    assert found["variance of litter"] == pytest.approx((litters - animals) / 24, rel=1e-3)


def test_a_slope_that_animals_differ_in_is_compared_between_animals():
    table = sessions(5, slope=0.4)
    own = [np.polyfit(part["session"], part["y"], 1)[0] for _, part in table.groupby("subject")]
    reference = stats.ttest_1samp(own, 0.0)
    found = st.mixed_model(table, outcome="y", terms="session", slopes="session").iloc[0]
    assert found["p"] == pytest.approx(reference.pvalue, rel=0.02)
    assert found["df"] == pytest.approx(11, rel=0.01)


def test_interactions_and_reference_levels():
    table = sessions(6, shift=1.0)
    terms = ["arm", "session", "arm:session"]
    found = st.mixed_model(table, outcome="y", terms=terms, reference={"arm": "b"})
    assert found["name"].tolist() == ["arm: a - b", "session", "arm: a - b : session"]
    slopes = table.groupby("arm")[["session", "y"]].apply(
        lambda part: np.polyfit(part["session"], part["y"], 1)[0]
    )
    # balanced: the main effect of session is the mean of both arms' slopes
    assert found.loc[1, "estimate"] == pytest.approx(slopes.mean())
    assert found.loc[2, "estimate"] == pytest.approx(slopes["a"] - slopes["b"])


def test_a_variance_at_zero_is_said():
    table = sessions(7, animal=0.0)
    table["y"] -= table.groupby("subject")["y"].transform("mean")
    table["y"] += (table["arm"] == "b") * 0.3
    found = st.mixed_model(table, outcome="y").iloc[0]
    assert found["variance of subject"] == 0.0
    assert found["degenerate"].startswith("boundary fit: the variance of subject")
    assert "Note: boundary fit" in found["statement"]
    assert found["df"] == 10


def counts(seed, n=8, m=4, trials=200, shift=0.6):
    rng = np.random.default_rng(seed)
    arm = np.repeat([0, 1], n)
    eta = 0.4 + shift * arm + 0.7 * rng.normal(size=2 * n)
    k = rng.binomial(trials, special.expit(np.repeat(eta, m)))
    return pd.DataFrame(
        {
            "subject": np.repeat(np.arange(2 * n), m),
            "arm": np.repeat(np.array(["a", "b"])[arm], m),
            "k": k,
            "trials": trials,
        }
    )


def marginal_fit(table):
    """Maximum likelihood of the logistic model, the animals' effects integrated on a grid."""
    per = table.groupby("subject").agg(k=("k", "sum"), n=("trials", "sum"), arm=("arm", "first"))
    k, n = per["k"].to_numpy(float), per["n"].to_numpy(float)
    b = (per["arm"] == "b").to_numpy(float)
    z, w = np.linspace(-6, 6, 2401), stats.norm.pdf(np.linspace(-6, 6, 2401))

    def minus(theta):
        eta = theta[0] + theta[1] * b[:, None] + math.exp(theta[2]) * z
        logs = k[:, None] * special.log_expit(eta) + (n - k)[:, None] * special.log_expit(-eta)
        return -special.logsumexp(logs, b=w, axis=1).sum()

    return optimize.minimize(minus, [0.4, 0.5, -0.5], method="BFGS")


def test_counts_agree_with_the_integrated_likelihood():
    table = counts(8)
    other = marginal_fit(table)
    found = st.mixed_model(table, outcome="k", trials="trials", family="binomial").iloc[0]
    assert math.log(found["effect"]) == pytest.approx(other.x[1], abs=0.01)
    # restricted likelihood: 14 in place of 16 in the denominator of the variance
    expected = math.exp(2 * other.x[2]) * 16 / 14
    assert found["variance of subject"] == pytest.approx(expected, rel=0.02)
    assert found["unit"] == "percentage points"
    raw = table.groupby("arm")["k"].sum() / table.groupby("arm")["trials"].sum()
    assert found["estimate"] == pytest.approx(100 * (raw["b"] - raw["a"]), abs=1.0)


def test_trials_one_by_one_are_the_same_as_counted():
    table = counts(9, n=4, m=2, trials=30)
    rows = table.loc[table.index.repeat(30)].copy()
    rows["right"] = np.concatenate([np.repeat([1, 0], [k, 30 - k]) for k in table["k"]])
    whole = st.mixed_model(table, outcome="k", trials="trials", family="binomial").iloc[0]
    single = st.mixed_model(rows, outcome="right", family="binomial").iloc[0]
    assert single["p"] == pytest.approx(whole["p"], rel=1e-3)
    assert single["estimate"] == pytest.approx(whole["estimate"], rel=1e-3)


def test_an_arm_without_failures_is_not_fitted_and_says_so():
    table = counts(10, n=4).assign(k=lambda t: np.where(t["arm"] == "b", 200, t["k"]))
    found = st.mixed_model(table, outcome="k", trials="trials", family="binomial").iloc[0]
    assert found["verdict"] == "failed"
    assert math.isnan(found["p"])
    assert "only successes" in found["failed"]


def test_sessions_that_differ_are_found_in_the_dispersion():
    rng = np.random.default_rng(11)
    table = counts(11)
    table["session"] = np.tile(np.arange(4), 16)
    table["k"] = rng.binomial(200, special.expit(rng.normal(0, 0.6, len(table))))
    call = {"outcome": "k", "trials": "trials", "family": "binomial"}
    plain = st.mixed_model(table, **call).iloc[0]
    assert "NOT MET; add session=" in plain["checked"]
    with_sessions = st.mixed_model(table, **call, session="session").iloc[0]
    assert with_sessions["variance of subject:session"] == pytest.approx(0.36, rel=0.5)


def test_units_of_the_outcome_do_not_decide():
    table = sessions(12, shift=1.0)
    found = st.mixed_model(table, outcome="y").iloc[0]
    large = st.mixed_model(table.assign(y=1e6 * table["y"] + 1e7), outcome="y").iloc[0]
    assert large["p"] == pytest.approx(found["p"], rel=1e-4)
    assert large["effect"] == pytest.approx(found["effect"], rel=1e-3)


@pytest.mark.parametrize("fixed", [None, 1.3])
@pytest.mark.parametrize("n_blocks", [1, 2, 3])
def test_the_restricted_likelihood_is_that_of_the_whole_covariance(n_blocks, fixed):
    rng = np.random.default_rng(3)
    animal, at = np.repeat(np.arange(8), 6), np.tile(np.arange(6), 8) - 2.5
    x = np.column_stack([np.ones(48), animal < 3, at])
    y, w = rng.normal(size=48) + rng.normal(size=8)[animal], rng.uniform(0.5, 2, 48)
    cell = animal * 3 + np.tile(np.arange(6), 8) // 2
    blocks = [Block("a", animal, 8), Block("c", cell, 24), Block("s", animal, 8, at)][:n_blocks]

    def whole(logs):
        v = np.diag(1 / w)
        for block, log in zip(blocks, logs, strict=True):
            z = np.zeros((48, block.n))
            z[np.arange(48), block.codes] = 1.0 if block.slope is None else block.slope
            v += math.exp(log) * z @ z.T
        inner = x.T @ np.linalg.solve(v, x)
        left = y - x @ np.linalg.solve(inner, x.T @ np.linalg.solve(v, y))
        squares = left @ np.linalg.solve(v, left)
        logs_of = np.linalg.slogdet(v)[1] + np.linalg.slogdet(inner)[1] + np.log(w).sum()
        if fixed is None:
            return logs_of + 45 * (1 + math.log(2 * math.pi * squares / 45))
        return logs_of + 45 * math.log(2 * math.pi * fixed) + squares / fixed

    deviance = _Deviance(moments_of(x, y, blocks, w), fixed)
    logs = rng.normal(0, 1.5, n_blocks)
    value, slopes = deviance.with_slopes(logs)
    assert value == pytest.approx(whole(logs), abs=1e-8)
    assert deviance(np.exp(logs)) == pytest.approx(value, abs=1e-8)
    assert slopes == pytest.approx(optimize.approx_fprime(logs, whole, 1e-6), abs=1e-3)
