"""Ends of intervals: what is never negative, and how often a mean square is held."""

from __future__ import annotations

import numpy as np
import pytest
from test_low_counts import simulate

import predictlearn as pl
from predictlearn.fitting.session.overlap_table import interval_table, never_negative
from predictlearn.fitting.session.search.loading_prior import Evidence
from predictlearn.fitting.session.search.marginal import _population


def table(estimate, sd, positive=("x",), n=400):
    """Intervals of one number from normal draws."""
    draws = np.random.default_rng(0).normal(size=n)
    draws = estimate + sd * (draws - draws.mean()) / draws.std(ddof=1)
    found = interval_table({"x": estimate}, [{"x": d} for d in draws], 0.95, 10**6, positive)
    return found.loc["x"]


def test_ends_by_hand():
    row = table(1.0, 0.25)
    reach = 1.95996 * 0.25
    assert row["low"] == pytest.approx((1 - reach / 2) ** 2, rel=1e-4)
    assert row["high"] == pytest.approx(np.exp(reach), rel=1e-4)
    row = table(1.0, 0.25, positive=())
    assert row[["low", "high"]].tolist() == pytest.approx([1 - reach, 1 + reach], rel=1e-4)


def test_ends_of_a_square_are_never_negative_and_hold_it():
    widths = []
    for sd in (1e-300, 1e-9, 0.1, 0.3, 0.5, 0.51, 0.52, 1.0, 10.0):
        row = table(1.0, sd)
        plain = table(1.0, sd, positive=())
        assert 0 <= row["low"] <= 1 <= row["high"]
        assert row["high"] >= plain["high"]
        # zero is held where plain ends hold it, and given up where they do not
        assert (row["low"] == 0) == (plain["low"] <= 0)
        widths.append(row["high"])
    assert np.all(np.diff(widths) >= 0)
    # the two pieces of the upper end meet
    assert table(1.0, 0.5103)["high"] == pytest.approx(table(1.0, 0.5101)["high"], rel=1e-3)


def test_no_interval_stays_none():
    one = interval_table(
        {"x": np.nan, "y": 1.0}, [{"x": np.nan, "y": 1.0}] * 3, 0.95, 9, {"x", "y"}
    )
    assert one.loc["x"].isna().all()
    assert one.loc["y", ["low", "high", "sd"]].tolist() == [1.0, 1.0, 0.0]
    assert interval_table({"x": 1.0}, [], 0.95, 9, {"x"}).loc["x", ["low", "high"]].isna().all()
    row = table(0.0, 0.1)
    assert row["low"] == 0
    assert row["high"] > 0.3


def test_names_of_what_is_never_negative():
    names = ["zm", "zu", "vm", "vu", "mu", "mm", "uu", "zz", "vm*uu*vm", "mu*vm", "tau"]
    assert never_negative(names) == {"vm", "mm", "uu", "zz", "vm*uu*vm"}
    names = ["m1m1", "m1m2", "v1m1", "v2m1", "v1m2", "v1u1", "u2u2", "zu*vv*zu[2,2]", "mm[1,2]"]
    assert never_negative(names) == {"m1m1", "v1m1", "u2u2", "zu*vv*zu[2,2]"}


def test_mean_squares_of_few_neurons_are_held():
    rng = np.random.default_rng(1)
    held = {True: [], False: []}
    for _ in range(600):
        squares = rng.normal(size=20) ** 2
        # as replicates draw neurons
        weights = rng.multinomial(20, np.full(20, 0.05), size=200) - 1.0
        draws = [{"mm": m} for m in squares.mean() + np.sqrt(20 / 19) * weights @ squares / 20]
        for positive in held:
            row = interval_table(
                {"mm": squares.mean()}, draws, 0.95, 19, {"mm"} if positive else ()
            ).loc["mm"]
            held[positive].append(row["low"] <= 1 <= row["high"])
    assert np.mean(held[True]) > 0.91
    assert np.mean(held[True]) > np.mean(held[False]) + 0.04


def test_intervals_of_a_fit_hold_their_estimates():
    y, x, _ = simulate(4, base=-4.0, n=120, neurons=30)
    fit = pl.LowRankRNN(dt=0.01, tau=0.08, observed="current", noise="poisson", n_bootstrap=50).fit(
        y, x
    )
    for rows in (fit.intervals_, fit.gauge_invariants_):
        rows = rows.dropna()
        assert ((rows["low"] <= rows["estimate"]) & (rows["estimate"] <= rows["high"])).all()
        squares = sorted(never_negative(list(rows.index)))
        assert (rows.loc[squares, "low"] >= 0).all()
    assert {"m1m1", "m2m2", "m3m3", "vm1"} <= set(fit.intervals_.index)
    assert fit.intervals_.loc["uu", ["low", "high"]].tolist() == pytest.approx([1, 1])
    assert fit.intervals_.loc["m1m2", "low"] < 0


def test_a_step_that_leads_too_far_is_refused():
    # information that overflows cannot be inverted; a fit ended in LinAlgError
    info = np.tile(np.full((2, 2), 1e200), (5, 1, 1))
    assert _population(Evidence(info, np.ones((5, 2))), np.eye(2)) is None
    good = Evidence(np.tile(np.eye(2), (5, 1, 1)), np.ones((5, 2)))
    assert _population(good).shape == (2, 2)
