"""Waits of the same animals in two arms, against enumeration, scipy and scores by hand."""

from __future__ import annotations

from itertools import product

import numpy as np
import pandas as pd
import pytest
from scipy import optimize, stats

from predictlearn import statistics as st
from predictlearn.errors import InputError

pytestmark = pytest.mark.quick


def pairs(seed, n=7, until=60.0, whole=True):
    """Animals that are slow or fast in both arms, a tidy table in an order of its own."""
    rng = np.random.default_rng(seed)
    own = rng.gamma(3.0, 1 / 3, n)
    t = np.concatenate([rng.exponential(40 / own), rng.exponential(25 / own)])
    t = np.ceil(t) if whole else t
    table = pd.DataFrame(
        {
            "subject": np.tile([f"m{k}" for k in range(n)], 2),
            "arm": np.repeat(["a", "b"], n),
            "trials": np.minimum(t, until),
            "reached": (t <= until).astype(int),
        }
    )
    return table.sample(frac=1.0, random_state=seed)


def wide(table):
    """Times and events, (animals, 2), arm a first, by a loop over animals."""
    rows = table.set_index(["subject", "arm"])
    names = sorted(set(table["subject"]))
    t = np.array([[rows.loc[(s, arm), "trials"] for arm in "ab"] for s in names], float)
    e = np.array([[rows.loc[(s, arm), "reached"] == 1 for arm in "ab"] for s in names])
    return t, e


@pytest.mark.parametrize("seed", range(4))
def test_p_is_over_all_swaps_within_animals(seed):
    table = pairs(seed)
    t, e = wide(table)

    def gap(second):
        """Reached minus expected of one arm; `second` is which column of each animal it has."""
        rows = np.arange(len(t))
        mine, mine_e = t[rows, second], e[rows, second]
        total = 0.0
        for at in np.unique(t[e]):
            total += ((mine == at) & mine_e).sum()
            total -= ((t == at) & e).sum() * (mine >= at).sum() / (t >= at).sum()
        return abs(total)

    seen = gap(np.ones(7, int))
    null = [gap(np.array(way)) for way in product((0, 1), repeat=7)]
    found = st.compare_survival(table, paired=True)
    assert found["name"].tolist() == ["b - a, restricted mean", "b - a, log-rank"]
    assert found.loc[1, "p"] == pytest.approx(np.mean([x >= seen - 1e-9 for x in null]))
    assert found.loc[1, "method"] == "exact permutation log-rank test within animals"
    assert found["n"].tolist() == ["7", "7"]
    assert found["n_animals"].tolist() == [7, 7]


def test_without_censoring_the_restricted_mean_is_the_paired_t_of_cut_times():
    table = pairs(5, until=1e9)
    t, _ = wide(table)
    cut = np.minimum(t, 50)
    reference = stats.ttest_rel(cut[:, 1], cut[:, 0])
    found = st.compare_survival(table, paired=True, until=50).iloc[0]
    assert found["estimate"] == pytest.approx((cut[:, 1] - cut[:, 0]).mean())
    assert found["p"] == pytest.approx(reference.pvalue)
    low, high = reference.confidence_interval()
    assert (found["low"], found["high"]) == (pytest.approx(low), pytest.approx(high))


@pytest.mark.parametrize("seed", range(3))
def test_the_interval_of_the_hazard_ratio_adds_scores_up_by_animal(seed):
    """Cox's slope by a root of the score; variance by Lin & Wei's residuals, summed by animal."""
    table = pairs(seed, n=30, whole=False)
    t, e = wide(table)
    time, event, x = t.ravel(), e.ravel(), np.tile([0.0, 1.0], len(t))
    when = np.flatnonzero(event)

    def mean_x(b, at):
        risk = time >= at
        weights = np.exp(b * x[risk])
        return (weights * x[risk]).sum() / weights.sum(), weights.sum()

    def score(b):
        return sum(x[i] - mean_x(b, time[i])[0] for i in when)

    b = optimize.brentq(score, -5, 5)
    information = sum((m := mean_x(b, time[i])[0]) * (1 - m) for i in when)
    residual = np.zeros(time.size)
    for i in range(time.size):
        if event[i]:
            residual[i] += x[i] - mean_x(b, time[i])[0]
        for j in when:
            if time[j] <= time[i]:
                m, total = mean_x(b, time[j])
                residual[i] -= np.exp(b * x[i]) / total * (x[i] - m)
    error = np.sqrt((residual.reshape(-1, 2).sum(1) ** 2).sum()) / information
    found = st.compare_survival(table, paired=True).loc[1]
    assert found["effect"] == pytest.approx(b, abs=1e-4)
    half = stats.norm.isf(0.025) * error
    assert found["effect_low"] == pytest.approx(b - half, abs=2e-3)
    assert found["effect_high"] == pytest.approx(b + half, abs=2e-3)


def test_arms_that_are_never_seen_together_say_nothing_of_a_ratio():
    table = pd.DataFrame(
        {
            "subject": list(range(6)) * 2,
            "arm": ["a"] * 6 + ["b"] * 6,
            "trials": [2.0] * 6 + [5.0, 6, 7, 8, 9, 10],
            "reached": [0] * 6 + [1] * 6,
        }
    )
    for paired in (True, False):
        data = table if paired else table.assign(subject=range(12))
        rank = st.compare_survival(data, paired=paired).loc[1]
        assert rank["estimate"] == 1.0
        assert (rank["low"], rank["high"]) == (0.0, np.inf)
        assert rank["p"] == 1.0


def test_one_arm_done_before_the_other_has_no_finite_ratio():
    table = pd.DataFrame(
        {
            "subject": list(range(6)) * 2,
            "arm": ["a"] * 6 + ["b"] * 6,
            "trials": [11.0, 12, 13, 14, 15, 16, 5, 6, 7, 8, 9, 10],
            "reached": 1,
        }
    )
    rank = st.compare_survival(table, paired=True).loc[1]
    assert rank["estimate"] == np.inf
    assert rank["p"] == pytest.approx(2 / 2**6)


def test_what_is_wrong_with_pairs_is_said_with_the_row():
    table = pairs(1).reset_index(drop=True)
    m2 = int(np.flatnonzero((table["subject"] == "m2") & (table["arm"] == "b"))[0])
    with pytest.raises(
        InputError, match=r"subject 'm2' \(first in row \d+\) has 0 rows in arm 'b'"
    ):
        st.compare_survival(table.drop(index=m2), paired=True)
    with pytest.raises(InputError, match="has 2 rows in arm"):
        st.compare_survival(pd.concat([table, table.iloc[[0]]]), paired=True)
    with pytest.raises(InputError, match="or both arms where paired"):
        st.compare_survival(table)


def test_zero_is_a_time_where_it_is_allowed():
    table = pairs(2).reset_index(drop=True)
    table.loc[table["subject"] == "m0", ["trials", "reached"]] = [0.0, 1]
    with pytest.raises(InputError, match="must be above zero"):
        st.compare_survival(table, paired=True)
    found = st.compare_survival(table, paired=True, allow_zero=True)
    t, e = wide(table)
    # ranks decide, wherever zero is
    later = table.assign(trials=table["trials"] + 1)
    assert found.loc[1, "p"] == st.compare_survival(later, paired=True).loc[1, "p"]
    assert (t[0] == 0).all()
    assert e[0].all()
