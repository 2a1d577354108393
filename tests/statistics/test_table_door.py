"""Tables at the door: every refusal is one message that names the row."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from predictlearn import statistics as st
from predictlearn.errors import InputError

pytestmark = pytest.mark.quick

ROWS = [f"r{i}" for i in range(12)]
TABLE = pd.DataFrame(
    {
        "mouse": list("aabbccddeeff"),
        "arm": ["drug"] * 6 + ["saline"] * 6,
        "light": ["on", "off"] * 6,
        "errors": [5.0, 7, 9, 8, 4, 7, 2, 3, 1, 4, 2, 2.5],
        "session": [0, 1] * 6,
    },
    index=ROWS,
)


def changed(**columns):
    return TABLE.assign(**columns)


def at(column, row, value):
    table = TABLE.astype({column: object})
    table.loc[row, column] = value
    return table


def groups(table, **more):
    return st.compare_groups(table, **{"outcome": "errors", "subject": "mouse", **more})


def paired(table, **more):
    return st.compare_pairs(
        table, **{"outcome": "errors", "subject": "mouse", "arm": "light", **more}
    )


def times(table, **more):
    return st.compare_survival(table, subject="mouse", **more)


def survivors(**columns):
    table = pd.DataFrame(
        {
            "mouse": list("abcdef"),
            "arm": list("xxxyyy"),
            "trials": [10, 20, 30, 15, 25, 35],
            "reached": [1, 1, 0, 1, 1, 0],
        },
        index=[f"r{i}" for i in range(6)],
    )
    return table.assign(**columns)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: groups([1, 2]), "data must be a pandas DataFrame.*got list"),
        (lambda: groups(TABLE.iloc[:0]), "at least one row"),
        (lambda: groups(TABLE, outcome="eror"), "'eror' is not a column.*Did you mean 'errors'"),
        (lambda: groups(TABLE, subject="mice"), "subject 'mice' is not a column"),
        (lambda: groups(TABLE, arm=3), "arm must be the name of a column; got 3"),
        (lambda: groups(at("errors", "r3", "fast")), "must hold numbers; row 'r3' holds 'fast'"),
        (lambda: groups(at("errors", "r4", np.nan)), "row 'r4' is missing .1 of 12"),
        (lambda: groups(at("errors", "r5", np.inf)), "row 'r5' is inf"),
        (lambda: groups(at("mouse", "r2", None)), "subject 'mouse' is missing in row 'r2'"),
        (lambda: groups(at("arm", "r6", None)), "arm 'arm' is missing in row 'r6'"),
        (lambda: groups(TABLE, limits=(0, 8)), "at most 8; row 'r2' holds 9"),
        (lambda: groups(TABLE, limits=(2, None)), "at least 2; row 'r8' holds 1"),
        (lambda: groups(TABLE.iloc[:6]), "at least two arms; every row, from row 'r0' on.*'drug'"),
        (lambda: groups(TABLE.iloc[:8]), "arm 'saline' has 1 animal, first in row 'r6'"),
        (lambda: groups(at("arm", "r1", "saline")), "'a' is in arm 'drug' and, in row 'r1', in"),
        (lambda: groups(TABLE, reference="salin"), "reference must be one of.*mean 'saline'"),
        (lambda: groups(TABLE, method="welsh"), "Did you mean 'welch'"),
        (lambda: paired(TABLE.drop("r3")), "'b' .row 'r2'. has no row in arm 'off'"),
        (lambda: paired(at("light", "r3", "dim")), "it holds 3: dim, off, on"),
        (lambda: paired(TABLE.iloc[:2]), "at least 2 animals; got 1"),
        (lambda: times(survivors(reached=0)), "no animal reached the criterion.*row r5"),
        (lambda: times(survivors(reached=[1, 1, 2, 1, 1, 0])), "at most 1; row 'r2' holds 2"),
        (lambda: times(survivors(trials=[10, 0, 30, 15, 25, 35])), "above zero; row r1 holds 0"),
        (lambda: times(survivors(mouse=list("abcdee"))), "'e' has a second row, row r5"),
        (lambda: times(survivors(mouse=list("abcdea"))), "'a' is in arm 'x' and, in row 'r5'"),
        (lambda: times(survivors(arm=list("xxxxxy"))), "arm 'y' has 1, in row r5"),
        (lambda: times(survivors(), until=80), "until must be at most 30"),
        (
            lambda: st.mixed_model(TABLE, outcome="errors", subject="mouse", family="binomial"),
            "at most 1; row 'r0' holds 5",
        ),
        (
            lambda: st.mixed_model(
                changed(n=4), outcome="errors", subject="mouse", family="binomial", trials="n"
            ),
            "row r0 holds 5 of 4",
        ),
        (
            lambda: st.mixed_model(
                changed(pup=["p"] * 5 + ["q"] * 7), outcome="errors", subject="mouse", litter="pup"
            ),
            "'c' is in litter 'p' and, in row 'r5', in 'q'",
        ),
        (
            lambda: st.mixed_model(TABLE.iloc[::2], outcome="errors", subject="mouse"),
            "mouse has a level for each of 6 rows",
        ),
        (
            lambda: st.mixed_model(
                changed(dose=TABLE["arm"]), outcome="errors", subject="mouse", terms=["arm", "dose"]
            ),
            "cannot be told apart",
        ),
        (
            lambda: st.mixed_model(
                changed(dose=1), outcome="errors", subject="mouse", terms=["arm", "dose"]
            ),
            "'dose' has the same value in every row",
        ),
        (
            lambda: st.mixed_model(
                TABLE, outcome="errors", subject="mouse", session="session", terms="arm"
            ),
            "differs in every row of an animal",
        ),
        (
            lambda: st.regression(TABLE, outcome="errors", subject="mouse", terms="light"),
            "'light' changes within subject 'a', in row r1",
        ),
        (
            lambda: st.regression(
                TABLE.iloc[:6], outcome="errors", subject="mouse", terms=["session"]
            ),
            "same value in every row",
        ),
        (
            lambda: st.decoding(
                at("light", "r0", "dim"), target="light", features="errors", subject="mouse"
            ),
            "'dim' is in one only, row r0",
        ),
        (
            lambda: st.bayes_shares(TABLE, outcome="session", subject="mouse"),
            "0 or 1 in one row for each animal; see row r1",
        ),
        (lambda: st.bayes_groups(TABLE, outcome="errors", subject="mouse", threshold=1), "above 1"),
        (lambda: st.jzs_bayes_factor(1.0, 8, scale=0), "scale must be a positive number"),
        (lambda: st.SequentialPlan(n_min=8, n_max=4), "n_max must be a whole number of at least 8"),
        (lambda: st.run_tests(TABLE, [groups]), "tests must be a function of a table, or"),
        (lambda: st.run_tests(TABLE, {"x": len}), "must return a table as those"),
    ],
)
def test_refusals_name_the_row(call, message):
    with pytest.raises(InputError, match=message):
        call()


def test_a_category_gives_the_order_and_text_numbers_are_labels():
    arm = pd.Categorical(TABLE["arm"], ["saline", "drug", "sham"])
    assert groups(changed(arm=arm)).loc[0, "name"] == "drug - saline"
    assert groups(TABLE).loc[0, "name"] == "saline - drug"
    assert groups(changed(arm=np.repeat([1, 10], 6))).loc[0, "name"] == "10 - 1"


def test_rows_are_not_changed_and_their_order_does_not_matter():
    before = TABLE.copy()
    one = groups(TABLE)
    other = groups(TABLE.sample(frac=1, random_state=3))
    pd.testing.assert_frame_equal(TABLE, before)
    assert other.loc[0, "p"] == pytest.approx(one.loc[0, "p"], rel=1e-12)
