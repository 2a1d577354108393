"""Count how often intervals of rate and feedback hold the truth; makes rule_intervals.md.

    python studies/learning/rule_intervals.py  all conditions, 34 animals of each rule
    python studies/learning/rule_intervals.py --only "noise 3"  conditions with these words
    python studies/learning/rule_intervals.py --table  only the tables, from what is there

The networks are simulated here, by plain numpy: 300 neurons, their synapses or their factors one by
one, and recordings of all of them. Every fit adds a row to rule_intervals.csv for each way to make
the intervals, and what is there is not run again.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rules_told_apart import EPOCHS, MIXED, RATE, TASK, guesses, share
from scipy import stats
from threadpoolctl import threadpool_limits

import predictlearn as pl
from predictlearn.fitting.learning.identifiability import identify
from predictlearn.fitting.rules.profile import profiled
from predictlearn.fitting.rules.search import Maxima, RuleProblem, rule_problem

HERE = Path(__file__).resolve().parent
# what rooms share stands beside them
sys.path.append(str(HERE.parent))
from pages import into_page, say  # noqa: E402

RUNS, PAGE = HERE / "rule_intervals.csv", HERE / "rule_intervals.md"
N, STEP = 300, 0.1
# noise of a neuron's current in a bin (a tenth of it for an output), sessions, and how the random
# part of the feedback is drawn: at right angles to the loadings of the start, or as it comes
CONDITIONS = {
    "noise 1, 20 sessions": (1.0, 20, True),
    "noise 3, 20 sessions": (3.0, 20, True),
    "noise 0.3, 20 sessions": (0.3, 20, True),
    "noise 1, 20 sessions, random feedback as it comes": (1.0, 20, False),
}
RULES = (
    "alignment, factors",
    "alignment, synapses",
    "RFLO, synapses",
    "descent, factors",
    "descent, synapses",
)
TRUE = {"rate": RATE, "decoder": MIXED.decoder, "private": MIXED.private}
WAYS = ("curvature, first maximum", "curvature, best maximum", "profile, best maximum",
        "profile, all maxima")  # fmt: skip


def start(rng: np.random.Generator, right_angles: bool) -> tuple[dict[str, Any], Any]:
    """Return loadings of N neurons, with norms and correlations at random, and feedback B."""
    g = rng.standard_normal((4, 8))
    s = g @ g.T
    turn = np.exp(0.2 * rng.standard_normal(4)) / np.sqrt(np.diag(s))
    s = s * np.outer(turn, turn)
    s = 0.5 * s + 0.5 * np.diag(np.diag(s))
    theta = rng.standard_normal((N, 4)) @ np.linalg.cholesky(s).T
    private = rng.standard_normal(N)
    if right_angles:
        basis, _ = np.linalg.qr(theta)
        private -= basis @ (basis.T @ private)
        private *= np.sqrt(N) / np.linalg.norm(private)
    b = MIXED.decoder * theta[:, 3] + MIXED.private * private
    return dict(zip("muvz", theta.T, strict=True)), b


def learned(parts: dict[str, Any], b: Any, rule: str, gaps: list[int]) -> list[tuple[Any, ...]]:
    """Return m, W, z at the sessions: N neurons that learn bin by bin."""
    trial = TASK.sample(np.random.default_rng(0))
    x, target, weight = (a[0, :, 0] for a in (trial.inputs, trial.targets, trial.weights))
    n_bins, factors = len(x), rule.endswith("factors")
    m, u, v, z = (parts[p].copy() for p in "muvz")
    w = np.outer(u, v) / N
    kept = [(m.copy(), w.copy(), z.copy())]
    for gap in gaps:
        for _ in range(gap):
            h = np.zeros((n_bins + 1, N))
            for t in range(n_bins):
                h[t + 1] = (1 - STEP) * h[t] + STEP * (w @ h[t] + m * x[t])
            error = 2 * weight * (h[1:] @ z / N - target)
            back = z if rule.startswith("descent") else b
            p = np.zeros((n_bins + 1, N))
            for t in range(n_bins - 1, -1, -1):
                carried = 0.0 if rule.startswith("RFLO") else STEP * (p[t + 1] @ w)
                p[t] = (1 - STEP) * p[t + 1] + carried + back * error[t] / N
            d_w = STEP * p[:-1].T @ h[:-1]
            d_m, d_z = STEP * N * (x @ p[:-1]), error @ h[1:]
            m, z = m - RATE * d_m, z - RATE * d_z
            if factors:
                u, v = u - RATE * (d_w @ v), v - RATE * (d_w.T @ u)
                w = np.outer(u, v) / N
            else:
                w = w - RATE * d_w
        kept.append((m.copy(), w.copy(), z.copy()))
    return kept


def recorded(network: tuple[Any, ...], noise: float, rng: np.random.Generator) -> pl.Recording:
    """Return a session of 20 trials of 40 bins with random inputs, all neurons recorded."""
    m, w, z = network
    inputs = np.repeat(rng.standard_normal((20, 4)), 10, axis=1)
    h, currents = np.zeros((20, N)), []
    for t in range(inputs.shape[1]):
        h = (1 - STEP) * h + STEP * (h @ w.T + np.outer(inputs[:, t], m))
        currents.append(h)
    activity = np.stack(currents, axis=1)
    outputs = (activity @ z / N)[:, :, None]
    return pl.Recording(
        activity + noise * rng.standard_normal(activity.shape), inputs[:, :, None], dt=STEP,
        outputs=outputs + 0.1 * noise * rng.standard_normal(outputs.shape), observed="current",
    )  # fmt: skip


def curved(problem: RuleProblem, x: Any) -> Any:
    """Return ends of 95% intervals of the strengths by the curvature at a maximum."""
    x = problem.model.conventional(x)
    scale, n = problem.scales(x), problem.model.layout.n_overlaps
    _, slopes = problem.slopes(problem.residuals, x[None], scale[None])[0]
    sd = np.sqrt(np.diag(identify(slopes, scale).covariance))[n:]
    return x[n:, None] + stats.norm.ppf(0.975) * sd[:, None] * np.array([-1.0, 1.0])


def held(condition: str, rule: str, number: int) -> list[dict[str, Any]]:
    """Simulate an animal, fit its rule, and say what the intervals hold: a row a way."""
    noise, n, right_angles = CONDITIONS[condition]
    where = [list(CONDITIONS).index(condition), RULES.index(rule), number, 1]
    rng = np.random.default_rng(np.random.SeedSequence(where))
    gaps = np.diff(np.linspace(0, EPOCHS, n).round().astype(int)).tolist()
    sessions = learned(*start(rng, right_angles), rule, gaps)
    table, errors = pl.measured_rule_columns([recorded(s, noise, rng) for s in sessions])
    problem = rule_problem(
        table, TASK, gaps, guesses()[rule], errors, rank=1, tau=1.0, n_starts=3, max_iter=40,
        seed=number,
    )  # fmt: skip
    names, level = problem.model.strengths, 0.95
    first = problem.search()
    found = problem.widened(first)
    best = Maxima(found.xs[:1], found.costs[:1], found.converged)
    ends, last = profiled(problem, found, level)
    single = ends if len(last.xs) == 1 else profiled(problem, best, level)[0]
    rows = []
    for way, mine in zip(
        WAYS, (curved(problem, first.xs[0]), curved(problem, best.xs[0]), single, ends), strict=True
    ):
        row: dict[str, Any] = {"condition": condition, "rule": rule, "animal": number, "way": way}
        row["gained"], row["maxima"] = first.costs[0] - last.costs[0], len(last.xs)
        for name, (low, high) in zip(names, mine, strict=True):
            if name == "rate":
                guess = problem.model.hypothesis.rule.rate
                low, high = guess * np.exp([low, high])
            elif name == "private":
                low, high = np.sqrt(np.maximum([low, high], 0.0))
            row[f"{name}_low"], row[f"{name}_high"] = low, high
        rows.append(row)
    return rows


def run(names: list[str], animals: int) -> None:
    """Measure what is not there, and add it as it comes."""
    done = set()
    if RUNS.exists():
        there = pd.read_csv(RUNS)
        done = set(zip(there["condition"], there["rule"], there["animal"], strict=True))
    keys = [
        (c, r, k) for c in names for k in range(animals) for r in RULES if (c, r, k) not in done
    ]
    columns = ["condition", "rule", "animal", "way", "gained", "maxima"]
    columns += [f"{s}_{side}" for s in TRUE for side in ("low", "high")]
    began = time.monotonic()
    with threadpool_limits(1):
        for count, key in enumerate(keys, start=1):
            rows = pd.DataFrame(held(*key)).reindex(columns=columns)
            rows.to_csv(RUNS, mode="a", header=not RUNS.exists(), index=False, float_format="%.5g")
            if count % 10 == 0 or count == len(keys):
                say(f"{count} of {len(keys)} fits, {time.monotonic() - began:.0f} s")


def tables() -> str:
    """Return how often the intervals hold the truth, by condition and way to make them."""
    runs = pd.read_csv(RUNS)
    parts = []
    for condition in CONDITIONS:
        mine = runs[runs["condition"] == condition]
        if mine.empty:
            continue
        lines = ["| intervals | " + " | ".join(TRUE) + " |", "|---" * (len(TRUE) + 1) + "|"]
        for way in WAYS:
            rows, cells = mine[mine["way"] == way], []
            for name, value in TRUE.items():
                low, high = rows[f"{name}_low"], rows[f"{name}_high"]
                given = np.isfinite(low) & np.isfinite(high)
                inside = int(((low <= value) & (value <= high) & given).sum())
                cells.append(f"{inside} of {given.sum()}: {share(inside, int(given.sum()))}")
            lines.append(f"| {way} | " + " | ".join(cells) + " |")
        one = mine[mine["way"] == WAYS[-1]]
        gained = int((one["gained"] > 0.5).sum())
        several = int((one["maxima"] > 1).sum())
        parts.append(
            f"## {condition[0].upper()}{condition[1:]}\n\n"
            + "\n".join(lines)
            + f"\n\nOf {len(one)} fits {several} had several maxima within the interval, and "
            f"{gained} ended more than 0.5 in log likelihood higher than where the first search "
            "had."
        )
    return "\n\n".join(parts)


def main() -> None:
    """Run what is asked for, and write the tables into the page."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--animals", type=int, default=34)
    parser.add_argument("--only", default="")
    parser.add_argument("--table", action="store_true")
    asked = parser.parse_args()
    if not asked.table:
        run([c for c in CONDITIONS if asked.only in c], asked.animals)
    into_page(PAGE, tables())


if __name__ == "__main__":
    main()
