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


def standard(law: str, rng: np.random.Generator, n: int) -> np.ndarray:
    """Return n draws of mean zero and sd one: normal, or skewed (exponential, skewness 2)."""
    return rng.normal(size=n) if law == "normal" else rng.exponential(size=n) - 1.0


def groups(
    rng: np.random.Generator,
    n: tuple[int, int] = (6, 6),
    sd: tuple[float, float] = (1.0, 1.0),
    law: str = "normal",
    shift: float = 0.0,
) -> pd.DataFrame:
    """Return one value an animal, of two groups."""
    values = [s * standard(law, rng, k) for s, k in zip(sd, n, strict=True)]
    values[1] = values[1] + shift
    return pd.DataFrame(
        {"subject": range(sum(n)), "arm": np.repeat(["a", "b"], n), "y": np.concatenate(values)}
    )


def pairs(
    rng: np.random.Generator, n: int = 8, law: str = "normal", shift: float = 0.0
) -> pd.DataFrame:
    """Return two values an animal, whose difference has sd one and mean `shift`."""
    own, gap = rng.normal(0, 2, n), standard(law, rng, n) + shift
    return pd.DataFrame(
        {
            "subject": np.tile(np.arange(n), 2),
            "arm": np.repeat(["a", "b"], n),
            "y": np.concatenate([own, own + gap]),
        }
    )


def sessions(
    rng: np.random.Generator,
    n: tuple[int, int] = (6, 6),
    n_sessions: int = 10,
    animal: float = 1.0,
    row: float = 1.0,
    law: str = "normal",
    neighbours: float = 0.0,
    slope: float = 0.0,
    litter: float = 0.0,
    per_litter: int = 1,
    shift: float = 0.0,
) -> pd.DataFrame:
    """Return sessions of animals: level of the animal, of its litter, its own slope, noise."""
    k, m = sum(n), n_sessions
    arm = np.repeat([0, 1], n)
    # litters are within arms, as where dams are treated
    dam = np.concatenate([np.arange(c) // per_litter for c in n]) + 1000 * arm
    _, dam = np.unique(dam, return_inverse=True)
    level = animal * standard(law, rng, k) + litter * rng.normal(size=dam.max() + 1)[dam]
    noise = rng.normal(size=(k, m))
    for j in range(1, m):
        noise[:, j] = neighbours * noise[:, j - 1] + np.sqrt(1 - neighbours**2) * noise[:, j]
    at = np.arange(m) - (m - 1) / 2
    y = level[:, None] + shift * arm[:, None] + slope * rng.normal(size=(k, 1)) * at + row * noise
    return pd.DataFrame(
        {
            "subject": np.repeat(np.arange(k), m),
            "arm": np.repeat(np.array(["a", "b"])[arm], m),
            "litter": np.repeat(dam, m),
            "session": np.tile(np.arange(m), k),
            "y": y.ravel(),
        }
    )


def counts(
    rng: np.random.Generator,
    n: tuple[int, int] = (6, 6),
    n_sessions: int = 5,
    trials: int = 60,
    level: float = 0.8,
    animal: float = 0.6,
    session: float = 0.0,
    shift: float = 0.0,
    learning: float = 0.0,
) -> pd.DataFrame:
    """Return correct trials of sessions; `level` and all else in log odds."""
    k = sum(n)
    arm = np.repeat([0, 1], n)
    at = np.arange(n_sessions) - (n_sessions - 1) / 2
    eta = (
        level
        + shift * arm[:, None]
        + animal * rng.normal(size=(k, 1))
        + session * rng.normal(size=(k, n_sessions))
        + learning * at
    )
    correct = rng.binomial(trials, 1 / (1 + np.exp(-eta))).ravel()
    return pd.DataFrame(
        {
            "subject": np.repeat(np.arange(k), n_sessions),
            "arm": np.repeat(np.array(["a", "b"])[arm], n_sessions),
            "session": np.tile(np.arange(n_sessions), k),
            "correct": correct,
            "trials": trials,
            "percent": 100 * correct / trials,
        }
    )


def count_pairs(rng: np.random.Generator, n: int = 8, trials: int = 60) -> pd.DataFrame:
    """Return correct trials of either condition of the same animals, of one probability each."""
    p = 1 / (1 + np.exp(-0.8 - 0.6 * rng.normal(size=n)))
    table = pd.DataFrame({"subject": np.tile(np.arange(n), 2), "arm": np.repeat(["a", "b"], n)})
    table["y"] = 100 * rng.binomial(trials, np.tile(p, 2)) / trials
    return table


def slopes_of(
    rng: np.random.Generator,
    n: int = 12,
    law: str = "normal",
    slope: float = 0.0,
    spread: bool = False,
    fixed: np.ndarray | None = None,
) -> pd.DataFrame:
    """Return one row an animal: an outcome and two correlated things known of it."""
    x = rng.normal(size=n) if fixed is None else fixed
    n = x.size
    other = 0.5 * x + rng.normal(size=n)
    noise = standard(law, rng, n) * (0.4 + np.abs(x) if spread else 1.0)
    return pd.DataFrame({"subject": range(n), "y": slope * x + noise, "x": x, "other": other})


def features(
    rng: np.random.Generator,
    n: int = 12,
    rows: int = 10,
    within: bool = False,
    shift: float = 0.0,
) -> pd.DataFrame:
    """Return five features of rows; rows of an animal, and of a session, resemble each other."""
    subject = np.repeat(np.arange(n), rows)
    block = np.repeat(np.arange(n * rows // 5), 5)
    x = rng.normal(size=(n, 5))[subject] + 0.7 * rng.normal(size=(block.max() + 1, 5))[block]
    x = x + rng.normal(size=x.shape)
    side = block % 2 if within else (subject >= n // 2).astype(int)
    x[:, 0] += shift * side
    table = pd.DataFrame(x, columns=[f"f{j}" for j in range(5)])
    return table.assign(subject=subject, session=block, side=np.array(["left", "right"])[side])


def times(
    rng: np.random.Generator,
    n: tuple[int, int] = (6, 6),
    until: float = 60.0,
    ratio: float = 1.0,
    drop_out: tuple[float, float] = (0.0, 0.0),
    whole: bool = True,
) -> pd.DataFrame:
    """Return trials to a criterion, of mean 40 (exponential) over `ratio` in b, seen `until`."""
    arm = np.repeat([0, 1], n)
    t = rng.exponential(40.0, arm.size) / np.where(arm == 1, ratio, 1.0)
    end = np.full(arm.size, until)
    rate = np.array(drop_out)[arm]
    leaves = rng.exponential(1.0, arm.size) / np.maximum(rate, 1e-12)
    end = np.minimum(end, leaves)
    if whole:
        t, end = np.ceil(t), np.ceil(end)
    return pd.DataFrame(
        {
            "subject": range(arm.size),
            "arm": np.array(["a", "b"])[arm],
            "trials": np.minimum(t, end),
            "reached": (t <= end).astype(int),
        }
    )


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
