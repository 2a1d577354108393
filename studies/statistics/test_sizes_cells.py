"""What test_sizes.py measures: tests, experiments without an effect, experiments with one.

Nulls are such as laboratories have them: five to ten animals a group, groups of unequal size and
spread, skewed outcomes, binomial counts, censoring, sessions that resemble their neighbours.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
from test_sizes_data import (
    count_pairs,
    counts,
    features,
    groups,
    pairs,
    sessions,
    slopes_of,
    times,
)

from predictlearn import statistics as st

Simulate = Callable[[np.random.Generator], pd.DataFrame]
N_RESAMPLES = 999


@dataclass(frozen=True)
class Cell:
    """One test in one kind of experiment.

    Parameters
    ----------
    test : str
        The test, for the table.
    says : str
        The experiment, for the table.
    simulate : callable
        Makes the table of one experiment.
    run : callable
        The test.
    row : int
        Row of its table that is asked about.
    target : float
        Rate that it should have; NaN for rates that are only reported.
    """

    test: str
    says: str
    simulate: Simulate
    run: Callable[[pd.DataFrame], pd.DataFrame]
    row: int = 0
    target: float = 0.05


GROUPS = partial(st.compare_groups, outcome="y")
PERMUTED = partial(GROUPS, method="permutation", n_resamples=N_RESAMPLES)
PAIRS = partial(st.compare_pairs, outcome="y")
WILCOXON = partial(PAIRS, method="wilcoxon")
FLIPS = partial(PAIRS, method="permutation", n_resamples=N_RESAMPLES)
MIXED = partial(st.mixed_model, outcome="y", terms="arm")
IN_TIME = partial(st.mixed_model, outcome="y", terms=["session"])
COUNTS = partial(st.mixed_model, outcome="correct", trials="trials", family="binomial", terms="arm")
LINE = partial(st.regression, outcome="y", terms=["x", "other"])
DECODED = partial(
    st.decoding, target="side", features=[f"f{j}" for j in range(5)], n_permutations=199
)
SURVIVAL = partial(st.compare_survival, n_resamples=N_RESAMPLES)
LATE = partial(SURVIVAL, until=60.0)
NO_TARGET = float("nan")


def outcomes(rng: np.random.Generator) -> pd.DataFrame:
    """Return three unrelated outcomes of 6 + 6 animals, of which none differs."""
    table = groups(rng)
    return table.assign(y2=rng.normal(size=12), y3=rng.normal(size=12))


def any_of(data: pd.DataFrame, correction: str) -> pd.DataFrame:
    """Return whether any of three outcomes is found to differ, as a table of one test."""
    tests = {name: partial(GROUPS, outcome=name) for name in ("y", "y2", "y3")}
    found = st.run_tests(data, tests, correction=correction)
    p = float(found["p_corrected"].min())
    return pd.DataFrame(
        {"name": ["any"], "p": [p], "verdict": [""], "failed": [""], "n_animals": [12]}
    )


def _nulls() -> list[Cell]:
    """Return experiments without an effect."""
    cells: list[Cell] = []
    two = {
        "5 + 5 animals": partial(groups, n=(5, 5)),
        "5 + 10, sds 2 : 1": partial(groups, n=(5, 10), sd=(2.0, 1.0)),
        "10 + 5, sds 2 : 1": partial(groups, n=(10, 5), sd=(2.0, 1.0)),
        "8 + 8, skewed": partial(groups, n=(8, 8), law="skewed"),
        "5 + 10, skewed": partial(groups, n=(5, 10), law="skewed"),
    }
    for test, run in (("two groups, Welch", GROUPS), ("two groups, permutation", PERMUTED)):
        cells += [Cell(test, says, simulate, run) for says, simulate in two.items()]
        percent = partial(run, outcome="percent")
        cells.append(Cell(test, "6 + 6, percent of 5 x 60 trials", partial(counts), percent))
        near = partial(sessions, neighbours=0.7)
        cells.append(Cell(test, "6 + 6, 10 sessions alike their neighbours", near, run))
    same = {
        "6 pairs": partial(pairs, n=6),
        "10 pairs": partial(pairs, n=10),
        "8 pairs, skewed differences": partial(pairs, law="skewed"),
        "8 pairs, percent of 60 trials": partial(count_pairs),
    }
    for test, run in (
        ("pairs, t", PAIRS),
        ("pairs, Wilcoxon", WILCOXON),
        ("pairs, sign flips", FLIPS),
    ):
        cells += [Cell(test, says, simulate, run) for says, simulate in same.items()]
    equal = partial(st.equivalent_groups, outcome="y", bounds=3.0)
    cells += [
        Cell("equivalence, groups", "6 + 6, at the bound", partial(groups, shift=3.0), equal),
        Cell(
            "equivalence, groups",
            "5 + 10, sds 2 : 1, at the bound of 5",
            partial(groups, n=(5, 10), sd=(2.0, 1.0), shift=5.0),
            partial(equal, bounds=5.0),
        ),
        Cell(
            "equivalence, groups",
            "8 + 8, skewed, at the bound",
            partial(groups, n=(8, 8), law="skewed", shift=3.0),
            equal,
        ),
    ]
    equal = partial(st.equivalent_pairs, outcome="y", bounds=2.0)
    cells += [
        Cell("equivalence, pairs", "8 pairs, at the bound", partial(pairs, shift=2.0), equal),
        Cell(
            "equivalence, pairs",
            "8 pairs, skewed, at the upper bound",
            partial(pairs, law="skewed", shift=2.0),
            equal,
        ),
    ]
    within = partial(sessions, slope=0.15)
    linear = [
        ("arm, 5 + 5, 10 sessions", partial(sessions, n=(5, 5)), MIXED),
        ("arm, 5 + 10", partial(sessions, n=(5, 10)), MIXED),
        ("arm, 6 + 6, animals hardly differ", partial(sessions, animal=0.1), MIXED),
        ("arm, 6 + 6, animals skewed", partial(sessions, law="skewed"), MIXED),
        ("arm, 6 + 6, sessions alike their neighbours", partial(sessions, neighbours=0.7), MIXED),
        (
            "arm, 12 + 12 in litters of 3, litter=",
            partial(sessions, n=(12, 12), per_litter=3, litter=0.7),
            partial(MIXED, litter="litter"),
        ),
        (
            "arm, 12 + 12 in litters of 3, litter left out",
            partial(sessions, n=(12, 12), per_litter=3, litter=0.7),
            MIXED,
        ),
        ("session, 6 + 6", partial(sessions), IN_TIME),
        (
            "session, animals differ in slope, slopes=",
            within,
            partial(IN_TIME, slopes="session"),
        ),
        ("session, animals differ in slope, slopes left out", within, IN_TIME),
    ]
    cells += [Cell("mixed model, linear", says, draw, run) for says, draw, run in linear]
    by_session = partial(COUNTS, session="session")
    binomial = [
        ("arm, 6 + 6, 5 x 60 trials", partial(counts), COUNTS),
        ("arm, 5 + 10, 5 x 60 trials", partial(counts, n=(5, 10)), COUNTS),
        ("arm, 6 + 6, 2 x 10 trials", partial(counts, n_sessions=2, trials=10), COUNTS),
        ("arm, 6 + 6, 95% correct", partial(counts, level=3.0), COUNTS),
        ("arm, 6 + 6, sessions differ, session=", partial(counts, session=0.5), by_session),
        (
            "session, sessions differ, session=",
            partial(counts, session=0.5),
            partial(by_session, terms="session"),
        ),
        (
            "session, sessions differ, session left out",
            partial(counts, session=0.5),
            partial(COUNTS, terms="session"),
        ),
    ]
    cells += [Cell("mixed model, binomial", says, draw, run) for says, draw, run in binomial]
    lines = {
        "12 animals": partial(slopes_of),
        "12 animals, skewed": partial(slopes_of, law="skewed"),
        "12 animals, spread grows with it": partial(slopes_of, spread=True),
    }
    for method in ("t", "hc3", "permutation"):
        run = partial(LINE, method=method, n_resamples=N_RESAMPLES)
        cells += [
            Cell(f"regression, {method}", says, simulate, run) for says, simulate in lines.items()
        ]
    cells += [
        Cell("decoding", "label of animals, 6 + 6", partial(features), DECODED),
        Cell(
            "decoding",
            "label of sessions, 8 animals, session=",
            partial(features, n=8, rows=20, within=True),
            partial(DECODED, session="session"),
        ),
        Cell(
            "decoding",
            "label of sessions, 8 animals, session left out",
            partial(features, n=8, rows=20, within=True),
            DECODED,
        ),
    ]
    courses = {
        "6 + 6, a fifth censored": partial(times),
        "10 + 10, half censored": partial(times, n=(10, 10), until=28.0),
        "5 + 10, a fifth censored": partial(times, n=(5, 10)),
        "8 + 8, one arm drops out": partial(times, n=(8, 8), drop_out=(0.0, 0.02)),
    }
    for row, test in enumerate(("restricted mean", "log-rank, permutation", "Cox, ratio")):
        cells += [
            Cell(f"survival, {test}", says, simulate, SURVIVAL, row)
            for says, simulate in courses.items()
        ]
    cells += [
        Cell(f"three tests, {name}", "6 + 6, any of three nulls", outcomes, run)
        for name, run in (
            ("Holm", partial(any_of, correction="holm")),
            ("Benjamini-Hochberg", partial(any_of, correction="fdr_bh")),
        )
    ]
    weigh = partial(st.bayes_groups, outcome="y")
    cells += [
        Cell(
            "Bayes factor, groups",
            "8 + 8, BF10 >= 6",
            partial(groups, n=(8, 8)),
            weigh,
            0,
            NO_TARGET,
        ),
        Cell(
            "Bayes factor, pairs",
            "10 pairs, BF10 >= 6",
            partial(pairs, n=10),
            partial(st.bayes_pairs, outcome="y"),
            0,
            NO_TARGET,
        ),
    ]
    return cells


def _effects() -> list[Cell]:
    """Return experiments with an effect, whose power is stated and then obtained."""
    litters = partial(sessions, n=(12, 12), per_litter=3, litter=0.5, shift=1.3)
    return [
        Cell("two groups, Welch", "8 + 8, 1.5 sd", partial(groups, n=(8, 8), shift=1.5), GROUPS),
        Cell(
            "two groups, permutation",
            "5 + 8, skewed, 1.6 sd",
            partial(groups, n=(5, 8), law="skewed", shift=1.6),
            PERMUTED,
        ),
        Cell("pairs, t", "8 pairs, 1.2 sd", partial(pairs, shift=1.2), PAIRS),
        Cell("pairs, Wilcoxon", "10 pairs, 1 sd", partial(pairs, n=10, shift=1.0), WILCOXON),
        Cell("pairs, sign flips", "9 pairs, 1 sd", partial(pairs, n=9, shift=1.0), FLIPS),
        Cell(
            "equivalence, groups",
            "8 + 8, bounds of 1.7 sd",
            partial(groups, n=(8, 8)),
            partial(st.equivalent_groups, outcome="y", bounds=1.7),
        ),
        Cell(
            "equivalence, pairs",
            "10 pairs, bounds of 1.1 sd",
            partial(pairs, n=10),
            partial(st.equivalent_pairs, outcome="y", bounds=1.1),
        ),
        Cell("mixed model, linear", "arm, 6 + 6", partial(sessions, shift=1.8), MIXED),
        Cell(
            "mixed model, linear",
            "arm, 12 + 12 in litters of 3",
            litters,
            partial(MIXED, litter="litter"),
        ),
        Cell("mixed model, binomial", "arm, 8 + 8", partial(counts, n=(8, 8), shift=0.9), COUNTS),
        Cell(
            "mixed model, binomial",
            "session, sessions differ",
            partial(counts, session=0.4, learning=0.12),
            partial(COUNTS, session="session", terms="session"),
        ),
        Cell(
            "regression, t",
            "14 animals",
            partial(slopes_of, slope=0.9, fixed=np.linspace(-1.6, 1.6, 14)),
            partial(LINE, terms="x"),
        ),
        Cell(
            "regression, hc3",
            "20 animals",
            partial(slopes_of, slope=0.8, n=20, spread=True),
            partial(LINE, method="hc3"),
        ),
        Cell(
            "regression, permutation",
            "14 animals, skewed",
            partial(slopes_of, slope=0.9, n=14, law="skewed"),
            partial(LINE, method="permutation", n_resamples=N_RESAMPLES),
        ),
        Cell("decoding", "label of animals, 6 + 6", partial(features, shift=3.5), DECODED),
        Cell(
            "survival, restricted mean",
            "8 + 8, ratio 4",
            partial(times, n=(8, 8), ratio=4.0),
            LATE,
            0,
        ),
        Cell(
            "survival, log-rank, permutation",
            "8 + 8, ratio 4",
            partial(times, n=(8, 8), ratio=4.0),
            SURVIVAL,
            1,
        ),
        Cell(
            "survival, Cox, ratio",
            "8 + 8, ratio 4",
            partial(times, n=(8, 8), ratio=4.0),
            SURVIVAL,
            2,
        ),
        Cell(
            "Bayes factor, groups",
            "10 + 10, 1.5 sd, BF10 >= 6",
            partial(groups, n=(10, 10), shift=1.5),
            partial(st.bayes_groups, outcome="y"),
        ),
        Cell(
            "Bayes factor, pairs",
            "10 pairs, 1.2 sd, BF10 >= 6",
            partial(pairs, n=10, shift=1.2),
            partial(st.bayes_pairs, outcome="y"),
        ),
    ]


NULLS, EFFECTS = _nulls(), _effects()
