"""Power by simulation: against closed forms, whoever shares the work, whatever fails."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from predictlearn import kept
from predictlearn import statistics as st
from predictlearn.errors import InputError


def groups(n, rng, shift=1.0, sessions=1, trials=1):
    arm = np.repeat(["a", "b"], n)
    y = rng.normal(0, 1, 2 * n) + rng.normal(0, 1 / math.sqrt(sessions * trials), 2 * n)
    return pd.DataFrame({"subject": range(2 * n), "arm": arm, "y": y + shift * (arm == "b")})


WELCH = partial(st.compare_groups, outcome="y")


def test_power_is_that_of_the_t_test_and_so_is_the_number_needed():
    # here, for workers that take functions of this file import what it does
    from statsmodels.stats.power import TTestIndPower

    found = st.power_by_simulation(
        partial(groups, sessions=10**9), WELCH, n_animals=[8, 17, 28], n_simulations=400
    )
    for row in found.table.to_dict("records"):
        exact = TTestIndPower().power(1.0, row["n"], 0.05)
        assert row["low"] - 0.03 < exact < row["high"] + 0.03
        assert row["animals"] == 2 * row["n"]
        ends = stats.beta.ppf(
            [0.025, 0.975],
            row["power"] * 400 + np.array([0, 1]),
            400 - row["power"] * 400 + np.array([1, 0]),
        )
        assert (row["low"], row["high"]) == pytest.approx(tuple(ends))
    need = found.needed.set_index("target")
    assert need.loc[0.8, "low"] <= 17 <= need.loc[0.8, "high"]  # closed form: 17
    assert need.loc[0.95, "low"] <= 27 <= need.loc[0.95, "high"]  # closed form: 27
    assert "80% power needs n = " in found.statement


def test_results_do_not_depend_on_who_shares_the_work():
    call = partial(
        st.power_by_simulation, groups, {"w": WELCH}, n_animals=[5, 9], n_simulations=60, seed=4
    )
    one, two = call(n_jobs=1), call(n_jobs=2)
    pd.testing.assert_frame_equal(one.table, two.table)
    pd.testing.assert_frame_equal(one.needed, two.needed)
    assert not one.table.equals(call(seed=5).table)


def test_what_cannot_be_tested_stays_in_the_denominator():
    def sometimes(n, rng):
        table = groups(n, rng, shift=50.0)
        return table[table["arm"] == "a"] if rng.random() < 0.25 else table

    found = st.power_by_simulation(sometimes, WELCH, n_animals=6, n_simulations=200)
    row = found.table.iloc[0]
    assert row["failed"] > 30
    assert row["power"] == pytest.approx(1 - row["failed"] / 200)
    assert "at least two arms" in row["why_failed"]
    assert "could not be tested and count as not shown" in found.statement


def test_curves_over_sessions_and_trials_with_cost():
    found = st.power_by_simulation(
        groups,
        WELCH,
        n_animals=[6, 12],
        settings={"sessions": [1, 4], "trials": [1, 100]},
        cost={"animal": 10, "session": 2, "trial": 0.01},
        n_simulations=40,
    )
    assert len(found.table) == 8
    last = found.table.iloc[-1]
    assert last["cost"] == pytest.approx(24 * (10 + 4 * (2 + 100 * 0.01)))
    assert set(found.needed.columns) >= {"sessions", "trials", "target", "cost"}
    assert len(found.needed) == 8


def test_flat_and_falling_curves_are_flagged():
    def flat(n, rng):
        return groups(n, rng, shift=0.0)

    def falling(n, rng):
        return groups(n, rng, shift=3.0 if n < 10 else 0.0)

    call = partial(st.power_by_simulation, tests=WELCH, n_animals=[6, 12], n_simulations=100)
    level = call(flat)
    assert level.needed.loc[0, "flag"].startswith("flat")
    assert call(falling).needed.loc[0, "flag"].startswith("falling")
    assert call(partial(groups, shift=1.3)).needed.loc[0, "flag"] == ""
    assert level.needed.loc[0, "n"] == math.inf
    assert "more than n = 12" in level.statement


def test_several_tests_see_the_same_experiments_and_rows_are_named():
    tests = {
        "groups": WELCH,
        "line": partial(st.regression, outcome="y", terms="arm"),
        "evidence": partial(st.bayes_groups, outcome="y", threshold=3.0),
    }
    found = st.power_by_simulation(groups, tests, n_animals=9, n_simulations=80)
    power = found.table.set_index("test")["power"]
    assert power["groups"] == pytest.approx(power["line"], abs=0.03)
    assert 0 < power["evidence"] <= power["groups"]
    two_rows = {"line": partial(st.regression, outcome="y", terms=["arm", "subject"])}
    with pytest.raises(InputError, match="several rows, 'arm: b - a', 'subject'; say which"):
        st.power_by_simulation(groups, two_rows, n_animals=9, n_simulations=5)
    named = {"line": "arm: b - a"}
    st.power_by_simulation(groups, two_rows, n_animals=9, n_simulations=5, rows=named)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"n_animals": 0}, "n_animals must be a whole number of at least 1"),
        ({"n_animals": []}, "n_animals must be a whole number or several"),
        ({"settings": [1]}, "settings must map names"),
        ({"settings": {"sessions": []}}, "at least one value"),
        ({"cost": {"mouse": 1}}, "cost must map some of animal, session, trial"),
        ({"rows": {"x": "y"}}, "rows must name tests, compare_groups; got 'x'"),
        ({"targets": [80]}, "targets must be a number between 0 and 1"),
        ({"simulate": 3}, "simulate must be a function"),
        ({"simulate": lambda n, rng: [n]}, "must return a DataFrame"),
        ({"tests": partial(st.compare_groups, outcome="z")}, "no simulated experiment: outcome"),
    ],
)
def test_refusals(more, message):
    call = {"simulate": groups, "tests": WELCH, "n_animals": 6, "n_simulations": 10, **more}
    with pytest.raises(InputError, match=message):
        st.power_by_simulation(**call)


CALLS: list[int] = []


def stopping(n, rng, at):
    CALLS.append(n)
    if len(CALLS) == at:
        raise KeyboardInterrupt
    return groups(n, rng)


def test_an_interrupted_curve_goes_on(tmp_path, monkeypatch):
    monkeypatch.setenv("PREDICTLEARN_CACHE", str(tmp_path))
    # only functions of known packages have a name that holds; these stand for such
    monkeypatch.setattr(kept, "_KNOWN", kept._KNOWN | {__name__})
    monkeypatch.setattr("test_simulated_power.CALLS", CALLS, raising=False)
    CALLS.clear()
    call = partial(st.power_by_simulation, tests=WELCH, n_animals=[5, 9], n_simulations=100, seed=1)
    simulate = partial(stopping, at=170)
    with pytest.raises(KeyboardInterrupt) as raised:
        call(simulate)
    assert "goes on from there" in "".join(raised.value.__notes__)
    CALLS.clear()
    found = call(simulate)
    assert len(CALLS) == 50
    whole = call(groups)
    np.testing.assert_array_equal(found.table["power"], whole.table["power"])
