"""Count which rules of learning are told from which; prints the tables of rules_told_apart.md.

    python studies/learning/rules_told_apart.py                  all conditions, 20 animals a rule
    python studies/learning/rules_told_apart.py --animals 5 --jobs 2
    python studies/learning/rules_told_apart.py --only 10  conditions whose name holds the word
    python studies/learning/rules_told_apart.py --table          only the tables, from what is there

An animal is a network of 300 neurons that learns by one of six rules. Every session records all of
its neurons, with noise; `pl.measured_rule_columns` measures the sessions and their errors, and
`pl.compare_rules` is asked which of the six it was. Every run adds one row a hypothesis to
rules_told_apart.csv, and what is there is not run again.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from scipy.stats import binomtest
from threadpoolctl import threadpool_limits

import predictlearn as pl

HERE = Path(__file__).resolve().parent
# what rooms share stands beside them
sys.path.append(str(HERE.parent))
from pages import into_page, say  # noqa: E402

RUNS, PAGE = HERE / "rules_told_apart.csv", HERE / "rules_told_apart.md"
TASK = pl.Filter(duration=3.0, dt=0.1)
EPOCHS, RATE = 76, 0.02
# noise of a neuron's current and of an output in a bin, and sessions
CONDITIONS = {
    "noise 0.3, 20 sessions": (0.3, 0.03, 20),
    "noise 1, 20 sessions": (1.0, 0.1, 20),
    "noise 3, 20 sessions": (3.0, 0.3, 20),
    "noise 1, 10 sessions": (1.0, 0.1, 10),
}
MIXED, OLD = pl.Feedback(0.5, 0.7), pl.Feedback(1.0, 0.0)
TRUE = {
    "descent, factors": pl.Hypothesis(pl.GradientDescent(RATE)),
    "descent, synapses": pl.Hypothesis(pl.GradientDescent(RATE), "synapses"),
    "alignment, factors": pl.Hypothesis(pl.FeedbackAlignment(RATE, MIXED)),
    "alignment, synapses": pl.Hypothesis(pl.FeedbackAlignment(RATE, MIXED), "synapses"),
    "RFLO, synapses": pl.Hypothesis(pl.RFLO(RATE, MIXED), "synapses"),
    "old decoder, synapses": pl.Hypothesis(
        pl.FeedbackAlignment(RATE, OLD), "synapses", fitted=["rate"]
    ),
}


def guesses() -> dict[str, pl.Hypothesis]:
    """Return the six hypotheses as one holds them who knows neither rate nor feedback."""
    blind = pl.Feedback(0.0, 1.0)
    found = {}
    for name, true in TRUE.items():
        rule: Any = type(true.rule)(RATE / 2)
        if name.startswith("old"):
            rule = pl.FeedbackAlignment(RATE / 2, OLD)
        elif not isinstance(true.rule, pl.GradientDescent):
            rule = type(true.rule)(RATE / 2, blind)
        found[name] = pl.Hypothesis(rule, true.learns, true.fitted)
    return found


def seed_of(condition: str, truth: str, number: int) -> int:
    """Return a seed of its own for every animal: tables pool rules and conditions."""
    where = [list(CONDITIONS).index(condition), list(TRUE).index(truth), number]
    return int(np.random.SeedSequence(where).generate_state(1)[0])


def animal(seed: int) -> pl.Overlaps:
    """Return the overlaps of an animal's network before learning."""
    rng = np.random.default_rng(seed)
    g = rng.standard_normal((4, 8))
    s = g @ g.T
    turn = np.exp(0.2 * rng.standard_normal(4)) / np.sqrt(np.diag(s))
    s *= np.outer(turn, turn)
    return pl.Overlaps(0.5 * s + 0.5 * np.diag(np.diag(s)))


def measured(condition: str, truth: str, number: int) -> list[dict[str, Any]]:
    """Simulate an animal and compare the hypotheses: one row each."""
    began = time.process_time()
    noise, output_noise, n = CONDITIONS[condition]
    seed = seed_of(condition, truth, number)
    gaps = np.diff(np.linspace(0, EPOCHS, n).round().astype(int)).tolist()
    with threadpool_limits(1):
        recordings, _ = pl.simulate_learning(
            animal(seed), TASK, gaps, TRUE[truth].rule, learns=TRUE[truth].learns,
            n_sessions=n, n_neurons=300, recorded=300, noise=noise, output_noise=output_noise,
            n_trials=20, n_bins=40, seed=seed,
        )  # fmt: skip
        table, errors = pl.measured_rule_columns(recordings)
        found = pl.compare_rules(table, TASK, gaps, guesses(), errors, n_starts=3, seed=seed)
    key = {"condition": condition, "truth": truth, "animal": number}
    spent = time.process_time() - began
    return [
        {**key, "hypothesis": name, **row, "converged": found.fits[name].converged, "cpu_s": spent}
        for name, row in found.table.to_dict("index").items()
    ]


def run(names: list[str], animals: int, jobs: int) -> None:
    """Measure what is not there, and add it as it comes."""
    done = set()
    if RUNS.exists():
        there = pd.read_csv(RUNS)
        done = set(zip(there["condition"], there["truth"], there["animal"], strict=True))
    # in rounds, so that a stop leaves as many of every kind
    keys = [(c, t, k) for k in range(animals) for c in names for t in TRUE if (c, t, k) not in done]
    began = time.monotonic()
    found = Parallel(n_jobs=jobs, return_as="generator")(delayed(measured)(*key) for key in keys)
    for count, rows in enumerate(found, start=1):
        pd.DataFrame(rows).to_csv(
            RUNS, mode="a", header=not RUNS.exists(), index=False, float_format="%.5g"
        )
        if count % 12 == 0 or count == len(keys):
            say(f"{count} of {len(keys)} runs, {time.monotonic() - began:.0f} s")


def share(hits: int, n: int) -> str:
    """Return a share in per cent with its 95% interval (Wilson)."""
    if n == 0:
        return ""
    interval = binomtest(hits, n).proportion_ci(method="wilson")
    return f"{100 * hits / n:.0f} ({100 * interval.low:.0f}-{100 * interval.high:.0f})"


def counted(hits: int, n: int) -> str:
    """Return a count and its share."""
    return f"{hits} of {n}: {share(hits, n)}" if n else ""


def matrix(runs: pd.DataFrame, said: pd.Series) -> list[str]:
    """Return a table of how many animals of each rule something is said of."""
    lines = ["| truth | animals | " + " | ".join(TRUE) + " |", "|---" * (len(TRUE) + 2) + "|"]
    for truth in TRUE:
        mine = runs["truth"] == truth
        n = runs.loc[mine, "animal"].nunique()
        cells = [counted(int(said[mine & (runs["hypothesis"] == h)].sum()), n) for h in TRUE]
        lines.append(f"| {truth} | {n} | " + " | ".join(cells) + " |")
    return lines


def summary(runs: pd.DataFrame) -> list[str]:
    """Return how often the true rule is preferred, kept, and its strengths are in the intervals."""
    lines = [
        "| condition | preferred | not ruled out | passes the test | rate held | decoder held "
        "| private held | open |",
        "|---" * 8 + "|",
    ]
    for condition in CONDITIONS:
        mine = runs[(runs["condition"] == condition) & (runs["truth"] == runs["hypothesis"])]
        if mine.empty:
            continue
        cells = [
            counted(int((mine["difference"] == 0).sum()), len(mine)),
            counted(int((~(mine["high"] < 0)).sum()), len(mine)),
            counted(int((mine["p_value"] >= 0.05).sum()), len(mine)),
        ]
        mixed = mine["truth"].str.contains("alignment|RFLO")
        for name, value, rows in (
            ("rate", RATE, mine),
            ("decoder", MIXED.decoder, mine[mixed]),
            ("private", MIXED.private, mine[mixed]),
        ):
            given = rows[rows[f"{name}_low"].notna()]
            inside = (given[f"{name}_low"] <= value) & (value <= given[f"{name}_high"])
            cells.append(counted(int(inside.sum()), len(given)))
        cells.append(counted(int(mine["open"].notna().sum()), len(mine)))
        lines.append(f"| {condition} | " + " | ".join(cells) + " |")
    return lines


def tables() -> str:
    """Return all tables of the page."""
    runs = pd.read_csv(RUNS)
    runs["open"] = runs["open"].replace("", np.nan)
    parts = ["\n".join(summary(runs))]
    for condition in CONDITIONS:
        mine = runs[runs["condition"] == condition]
        if mine.empty:
            continue
        preferred = "\n".join(matrix(mine, mine["difference"] == 0))
        refused = "\n".join(matrix(mine, mine["p_value"] < 0.05))
        ruled_out = "\n".join(matrix(mine, mine["high"] < 0))
        parts.append(
            f"### {condition}\n\nPreferred, animals of each rule, and %:\n\n{preferred}\n\n"
            f"Ruled out against the preferred one by the interval:\n\n{ruled_out}\n\n"
            f"Rejected by the test of fit, p < 0.05:\n\n{refused}"
        )
    return "\n\n".join(parts)


def main() -> None:
    """Run what is asked for, and write the tables into the page."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--animals", type=int, default=20)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--only", default="")
    parser.add_argument("--table", action="store_true")
    asked = parser.parse_args()
    if not asked.table:
        run([c for c in CONDITIONS if asked.only in c], asked.animals, asked.jobs)
    into_page(PAGE, tables())


if __name__ == "__main__":
    main()
