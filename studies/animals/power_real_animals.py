"""Compare power as predicted with power in real animals; makes power_real_animals.md.

    python studies/animals/power_real_animals.py                    every cell, about three minutes
    python studies/animals/power_real_animals.py --simulations 200  fewer predicted experiments
    python studies/animals/power_real_animals.py --only kim         sets that hold the word
    python studies/animals/power_real_animals.py --table  only the page, from rows that are there

Data are read where PREDICTLEARN_DATA points; no row of them is in this repository. Predicted:
animals of predictlearn.behaviour, tests of predictlearn.statistics, by power_by_simulation.
Obtained: real subjects divided at random with the effect put in, and tests written here in numpy.
"""

from __future__ import annotations

import argparse
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from power_real_animals_draws import ALIKE, APART
from power_real_animals_sets import OUTCOMES, Outcome
from scipy import stats

from predictlearn.statistics import compare_groups, compare_pairs, compare_survival
from predictlearn.statistics.simulated_power import power_by_simulation

HERE = Path(__file__).resolve().parent
# what rooms share stands beside them
sys.path.append(str(HERE.parent))
from pages import into_page, say  # noqa: E402

ROWS, PAGE = HERE / "power_real_animals.csv", HERE / "power_real_animals.md"
COLUMNS = (
    *("set", "outcome", "subjects", "model", "test", "n", "effect", "size"),
    *("predicted", "predicted_low", "predicted_high", "failed", "obtained", "obtained_low"),
    *("obtained_high", "experiments", "by_subjects"),
)
# Experiments of real subjects a cell, and relabellings of the permutation tests.
EXPERIMENTS, RELABELLED = 4000, 499
TESTS = {
    "levels": ("Welch", "permutation"),
    "counts": ("Welch", "permutation"),
    "times": ("restricted mean", "log-rank"),
    "pairs": ("paired t", "sign flip"),
}


def treated(
    kind: str, rows: np.ndarray, effect: float | None, rng: np.random.Generator
) -> np.ndarray:
    """Return outcomes of subjects, (..., columns), with an effect; None leaves it out."""
    if kind == "counts":
        n, k = rows[..., 0], rows[..., 1]
        # every error by itself is avoided with this probability: no model of the animal is needed
        more = 0 if effect is None else rng.binomial((n - k).round().astype(int), effect)
        return np.asarray(100 * (k + more) / n)
    if kind == "pairs":
        return np.asarray(rows[..., 1] - rows[..., 0] + (effect or 0.0))
    if kind == "times":
        return np.asarray(rows[..., 0] * (1.0 if effect is None else effect))
    return np.asarray(rows[..., 0] - (effect or 0.0))


def experiment(
    n: int, rng: np.random.Generator, effect: float, outcome: Outcome, people: np.ndarray
) -> pd.DataFrame:
    """Return the table of one simulated experiment."""
    if outcome.kind == "pairs":
        first, second = people[rng.choice(len(people), n, replace=False)].T
        y = np.concatenate([first, second + effect])
        return pd.DataFrame({"subject": np.tile(np.arange(n), 2), "arm": _arms(n), "y": y})
    chosen = people[rng.choice(len(people), 2 * n, replace=False)]
    y = np.concatenate(
        [
            treated(outcome.kind, chosen[:n], None, rng),
            treated(outcome.kind, chosen[n:], effect, rng),
        ]
    )
    table = pd.DataFrame({"subject": np.arange(2 * n), "arm": _arms(n), "y": y})
    if outcome.kind == "times":
        table = table.assign(
            trials=np.minimum(y, outcome.horizon), reached=(y <= outcome.horizon).astype(int)
        )
    return table


def _arms(n: int) -> np.ndarray:
    """Return the arms of two times n rows."""
    return np.repeat(["a", "b"], n)


class _Once:
    """A test whose table holds several rows that are asked about: made once for the same data."""

    def __init__(self, test: Any) -> None:
        self.test, self.data, self.table = test, None, None

    def __call__(self, data: pd.DataFrame) -> pd.DataFrame:
        if data is not self.data:
            self.data, self.table = data, self.test(data)
        return self.table


def tests_of(outcome: Outcome) -> tuple[dict[str, Any], dict[str, str]]:
    """Return tests of the package by name, and the rows asked about."""
    few = {"n_resamples": RELABELLED}
    if outcome.kind == "times":
        both = _Once(partial(compare_survival, until=outcome.horizon, **few))
        return dict.fromkeys(TESTS["times"], both), {x: f"b - a, {x}" for x in TESTS["times"]}
    if outcome.kind == "pairs":
        return {
            "paired t": partial(compare_pairs, outcome="y"),
            "sign flip": partial(compare_pairs, outcome="y", method="permutation", **few),
        }, {}
    return {
        "Welch": partial(compare_groups, outcome="y"),
        "permutation": partial(compare_groups, outcome="y", method="permutation", **few),
    }, {}


def predicted(outcome: Outcome, model: str, n_simulations: int, seed: int) -> pd.DataFrame:
    """Return predicted power of every test, n and effect."""
    people = outcome.models[model]()
    if model in (ALIKE, APART):
        # far from the truth, which fewer experiments show as well
        n_simulations = max(n_simulations // 5, 2)
    simulate = partial(experiment, outcome=outcome, people=people)
    tests, rows = tests_of(outcome)
    found = [
        power_by_simulation(
            simulate,
            tests,
            rows=rows,
            n_animals=list(sizes),
            settings={"effect": [effect]},
            n_simulations=n_simulations,
            seed=seed + i,
        ).table
        for i, (effect, sizes) in enumerate(outcome.cells.items())
    ]
    return pd.concat(found)


def drawn(outcome: Outcome, n: int, effect: float, rng: np.random.Generator) -> list[np.ndarray]:
    """Return outcomes of real subjects, one (experiments, n) array a group; of pairs the changes.

    Two groups share no subject: then the variance of their difference is that of two samples of a
    population, 2 S^2 / n with S^2 over N - 1 (Neyman 1923). Of pairs there is one group; subjects
    are drawn with replacement, and widened by sqrt(N / (N - groups)) for what drawing from N
    subjects about their own means leaves out.
    """
    rows, groups = outcome.real()
    size = len(rows)
    if outcome.kind == "pairs":
        change = rows[:, 1] - rows[:, 0]
        change = (change - change.mean()) * np.sqrt(size / (size - groups))
        return [change[rng.integers(size, size=(EXPERIMENTS, n))] + effect]
    if 2 * n > size:
        raise ValueError(f"two groups of {n} need {2 * n} subjects; {outcome.source} has {size}")
    order = np.argsort(rng.random((EXPERIMENTS, size)), axis=1)
    if outcome.kind == "levels":
        rows = rows.mean() + (rows - rows.mean()) * np.sqrt((size - 1) / (size - groups))
    return [
        treated(outcome.kind, rows[order[:, :n]], None, rng),
        treated(outcome.kind, rows[order[:, n : 2 * n]], effect, rng),
    ]


def relabelled(n: int, rng: np.random.Generator) -> np.ndarray:
    """Return random divisions of 2 n subjects in two, (relabellings, 2 n), ones and zeros."""
    return (np.argsort(rng.random((RELABELLED, 2 * n)), axis=1) < n).astype(float)


def p_of(null: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Return permutation p values, the observed arrangement counted; null (experiments, ways)."""
    hits = np.sum(np.abs(null) >= np.abs(seen)[:, None] * (1 - 1e-12) - 1e-12, axis=1)
    return np.asarray((hits + 1) / (null.shape[1] + 1))


def p_permutation(x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return p values of relabelling with Welch's t, one an experiment."""
    n, both = x.shape[1], np.concatenate([x, y], axis=1)
    both = both - both.mean(axis=1, keepdims=True)
    labels = relabelled(n, rng)

    def t(one: np.ndarray, square: np.ndarray) -> np.ndarray:
        total = np.sum(both**2, axis=1, keepdims=True)
        # the whole is centred: the other half's sum is minus this one's
        within = total - 2 * one**2 / n
        return np.asarray(2 * one / n / np.sqrt(within / (n * (n - 1))))

    null = t(both @ labels.T, (both**2) @ labels.T)
    seen = t(both[:, :n].sum(axis=1, keepdims=True), np.empty(0))[:, 0]
    return p_of(null, seen)


def p_flips(change: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return p values of flipping signs of changes: every pattern where they are few, else some."""
    n = change.shape[1]
    if 2**n <= RELABELLED + 1:
        signs = 1.0 - 2 * ((np.arange(2**n)[:, None] >> np.arange(n)) & 1)
        null = change @ signs.T
        seen = np.abs(change.sum(axis=1))[:, None]
        return np.asarray(np.mean(np.abs(null) >= seen - 1e-9, axis=1))
    signs = rng.choice([-1.0, 1.0], (RELABELLED, n))
    return p_of(change @ signs.T, change.sum(axis=1))


def p_log_rank(x: np.ndarray, y: np.ndarray, end: float, rng: np.random.Generator) -> np.ndarray:
    """Return p values of relabelling with log-rank scores: reached minus Nelson and Aalen's."""
    both, n = np.concatenate([x, y], axis=1), x.shape[1]
    reached = both <= end
    times = np.minimum(both, end)
    scores = np.empty(both.shape)
    for i, (t, event) in enumerate(zip(times, reached, strict=True)):
        at_risk = np.sum(t[None, :] >= t[:, None], axis=1)
        # each event adds one over those at risk at its time to all who are still there
        scores[i] = event - (t[:, None] >= t[None, :]) @ (event / at_risk)
    return p_of(scores @ relabelled(n, rng).T, scores[:, :n].sum(axis=1))


def obtained(outcome: Outcome, n: int, effect: float, seed: int) -> dict[str, int]:
    """Return how many experiments of real subjects each test calls different."""
    rng = np.random.default_rng(seed)
    groups = drawn(outcome, n, effect, rng)
    if outcome.kind == "pairs":
        found = (stats.ttest_1samp(groups[0], 0.0, axis=1).pvalue, p_flips(groups[0], rng))
    elif outcome.kind == "times":
        # all are seen until the same trial: pseudo-values are times cut there
        x, y = (np.minimum(g, outcome.horizon) for g in groups)
        welch = stats.ttest_ind(x, y, axis=1, equal_var=False).pvalue
        found = (welch, p_log_rank(*groups, outcome.horizon, rng))
    else:
        welch = stats.ttest_ind(*groups, axis=1, equal_var=False).pvalue
        found = (welch, p_permutation(*groups, rng))
    return {name: int(np.sum(p < 0.05)) for name, p in zip(TESTS[outcome.kind], found, strict=True)}


def by_subjects(outcome: Outcome, n: int, effect: float, seed: int) -> float:
    """Return how far power in so few real subjects may be from that in their population.

    Half of the range that holds 95% of the t test's power in samples of as many subjects, were the
    outcome normal with the real spread: what no model could predict better than.
    """
    rng = np.random.default_rng(seed)
    groups = [np.minimum(g, outcome.horizon) for g in drawn(outcome, n, effect, rng)]
    size, pools, divisions = len(outcome.real()[0]), 200, 300
    wide = np.sqrt(np.mean([np.var(g) for g in groups]))
    gap = groups[-1].mean() - (0.0 if len(groups) == 1 else groups[0].mean())
    power = []
    for _ in range(pools):
        pool = rng.normal(size=size)
        if len(groups) == 1:
            own = pool[rng.integers(size, size=(divisions, n))] - pool.mean()
            p = stats.ttest_1samp(own * np.sqrt(size / (size - 1)) + gap / wide, 0, axis=1).pvalue
        else:
            order = np.argsort(rng.random((divisions, size)), axis=1)
            x, y = pool[order[:, :n]], pool[order[:, n : 2 * n]] + gap / wide
            p = stats.ttest_ind(x, y, axis=1, equal_var=False).pvalue
        power.append(np.mean(p < 0.05))
    # that of a finite number of divisions is not of the subjects
    chance = np.mean([q * (1 - q) / divisions for q in power])
    return float(1.96 * np.sqrt(max(np.var(power, ddof=1) - chance, 0.0)))


def measured(at: int, n_simulations: int) -> list[dict[str, Any]]:
    """Return the rows of one outcome."""
    outcome = OUTCOMES[at]
    cells = [(n, effect) for effect, sizes in outcome.cells.items() for n in sizes]
    real = {cell: obtained(outcome, *cell, 100 * at + i) for i, cell in enumerate(cells)}
    limits = {cell: by_subjects(outcome, *cell, 100 * at + 50 + i) for i, cell in enumerate(cells)}
    rows = []
    for model in outcome.models:
        for row in predicted(outcome, model, n_simulations, 7000 + at).to_dict("records"):
            hits = real[row["n"], row["effect"]][row["test"]]
            interval = stats.binomtest(hits, EXPERIMENTS).proportion_ci()
            rows.append(
                {
                    "set": outcome.source,
                    "outcome": outcome.name,
                    "subjects": len(outcome.real()[0]),
                    "model": model,
                    "test": row["test"],
                    "n": row["n"],
                    "effect": outcome.effect.format(row["effect"]),
                    "size": row["effect"],
                    "predicted": row["power"],
                    "predicted_low": row["low"],
                    "predicted_high": row["high"],
                    "failed": row["failed"],
                    "obtained": hits / EXPERIMENTS,
                    "obtained_low": interval.low,
                    "obtained_high": interval.high,
                    "experiments": EXPERIMENTS,
                    "by_subjects": limits[row["n"], row["effect"]],
                }
            )
    return rows


def percent(row: dict[str, Any], name: str) -> str:
    """Return a power with its interval."""
    value, low, high = (100 * row[f"{name}{end}"] for end in ("", "_low", "_high"))
    return f"{value:.0f} ({low:.0f}-{high:.0f})"


def page(rows: pd.DataFrame) -> str:
    """Return the summary and the table as Markdown."""
    rows = rows.assign(apart=100 * (rows.predicted - rows.obtained))
    lines = [
        "| set | outcome | subjects | model | mean apart | largest apart | within 5 points |",
        "|---|---|---|---|---|---|---|",
    ]
    keys = ["set", "outcome", "subjects", "model"]
    for key, own in rows.groupby(keys, sort=False):
        largest = own.apart.iloc[int(np.argmax(np.abs(own.apart)))]
        within = int((own.apart.abs() <= 5).sum())
        lines.append(
            f"| {' | '.join(map(str, key))} | {own.apart.mean():+.1f} | {largest:+.1f} | "
            f"{within} of {len(own)} |"
        )
    lines += [
        "",
        "Every cell, in percent with 95% Monte Carlo intervals:",
        "",
        "| set | outcome | model | test | n | effect | predicted | obtained | apart | -+ |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows.to_dict("records"):
        apart = f"{row['apart']:+.1f}"
        lines.append(
            f"| {row['set'].split('-')[-1]} | {row['outcome']} | {row['model']} | {row['test']} | "
            f"{row['n']} | {row['effect']} | {percent(row, 'predicted')} | "
            f"{percent(row, 'obtained')} | {apart if abs(row['apart']) <= 5 else f'**{apart}**'} | "
            f"{100 * row['by_subjects']:.0f} |"
        )
    return "\n".join(lines)


def put(file: Path, made: list[dict[str, Any]]) -> None:
    """Put the rows of one outcome into the file, in place of older ones."""
    rows = pd.DataFrame(made, columns=list(COLUMNS))
    order = [(x.source, x.name) for x in OUTCOMES]
    if file.exists():
        old = pd.read_csv(file)
        same = (old["set"] == made[0]["set"]) & (old["outcome"] == made[0]["outcome"])
        rows = pd.concat([old[~same], rows])
    place = [order.index(key) for key in zip(rows["set"], rows["outcome"], strict=True)]
    rows = rows.iloc[np.argsort(place, kind="stable")]
    rows.to_csv(file, index=False, float_format="%.6g")


def main(arguments: list[str] | None = None) -> None:
    """Run."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--simulations", type=int, default=1000, help="predicted ones of a cell")
    parser.add_argument("--only", default="", metavar="WORD", help="sets or outcomes with the word")
    parser.add_argument("--output", type=Path, default=ROWS, help="table of rows (.csv)")
    parser.add_argument("--table", action="store_true", help="run nothing")
    chosen = parser.parse_args(arguments)
    if not chosen.table:
        for at, outcome in enumerate(OUTCOMES):
            if chosen.only not in f"{outcome.source}, {outcome.name}":
                continue
            begin = time.process_time()
            put(chosen.output, measured(at, chosen.simulations))
            say(outcome.source, outcome.name, f"{time.process_time() - begin:.1f} s")
    text = page(pd.read_csv(chosen.output))
    if chosen.output == ROWS:
        into_page(PAGE, text)
    else:
        say(text)


if __name__ == "__main__":
    main()
