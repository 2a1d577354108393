"""Count how often every test of predictlearn.statistics is positive; makes test_sizes.md.

    python studies/statistics/test_sizes.py                          2,000 simulations of every row
    python studies/statistics/test_sizes.py --simulations 200        fewer
    python studies/statistics/test_sizes.py --only survival          rows whose test holds the word
    python studies/statistics/test_sizes.py --table  only the page, from rows that are there

Rows come into test_sizes.csv (``--output``) as they are made, and what is there is not made again.
What is simulated is in test_sizes_cells.py, by the functions of test_sizes_data.py.
"""

from __future__ import annotations

import argparse
import csv
import math
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import statsmodels.api as sm
from scipy import integrate, stats
from statsmodels.duration.hazard_regression import PHReg
from statsmodels.stats.power import TTestIndPower
from statsmodels.stats.weightstats import ttost_ind, ttost_paired
from test_sizes_cells import EFFECTS, NULLS, Cell
from test_sizes_data import groups, pairs, slopes_of, times

from predictlearn import statistics as st
from predictlearn.statistics.simulated_power import power_by_simulation
from predictlearn.workers import Parallel, delayed

HERE = Path(__file__).resolve().parent
# what rooms share stands beside them
sys.path.append(str(HERE.parent))
from pages import into_page, say  # noqa: E402

ROWS, PAGE = HERE / "test_sizes.csv", HERE / "test_sizes.md"
LOOKS = HERE / "test_sizes_sequential.csv"
COLUMNS = (
    *("part", "test", "experiment", "target", "simulations", "positive", "failed"),
    *("obtained", "obtained_of", "by", "seconds"),
)


def counted(part: str, cell: Cell, n: int, seed: int) -> dict[str, Any]:
    """Return how many of n experiments are positive, and how many cannot be tested."""
    rng = np.random.default_rng(seed)
    positive = failed = 0
    begin = time.process_time()
    with st.bare_results(), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        for _ in range(n):
            found = cell.run(cell.simulate(rng)).iloc[cell.row]
            failed += found["failed"] != ""
            p = float(found["p"])
            positive += p < 0.05 if math.isfinite(p) else found["verdict"] == "different"
    return {
        "part": part,
        "test": cell.test,
        "experiment": cell.says,
        "target": cell.target,
        "simulations": n,
        "positive": positive,
        "failed": failed,
        "seconds": round(time.process_time() - begin, 1),
    }


def quad_bayes_factor(t: float, n: float, df: float, scale: float = math.sqrt(0.5)) -> float:
    """Return the JZS Bayes factor by the integral over delta itself."""

    def weighted(delta: float) -> float:
        likelihood = stats.nct.pdf(t, df, delta * math.sqrt(n))
        return float(likelihood * stats.cauchy.pdf(delta, 0, scale))

    near = t / math.sqrt(n)
    whole = integrate.quad(weighted, near - 8, near + 8, points=[near, 0.0], limit=200)[0]
    return whole / float(stats.t.pdf(t, df))


Oracle = tuple[str, Callable[[np.random.Generator, int], float]]


def _split(table: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Return the outcomes of both arms."""
    y, arm = table["y"].to_numpy(), table["arm"].to_numpy()
    return y[arm == "a"], y[arm == "b"]


def share(of: Callable[[np.random.Generator], bool]) -> Callable[[np.random.Generator, int], float]:
    """Return the share of n experiments of which something is true."""
    return lambda rng, n: sum(bool(of(rng)) for _ in range(n)) / n


def _cox(rng: np.random.Generator) -> bool:
    table = times(rng, n=(8, 8), ratio=4.0)
    arm = (table["arm"] == "b").to_numpy(float)[:, None]
    model = PHReg(table["trials"].to_numpy(), arm, table["reached"].to_numpy(), ties="efron")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fit = model.fit(disp=0)
    return 2 * (fit.llf - model.loglike(np.zeros(1))) > stats.chi2.isf(0.05, 1)


def _hc3(rng: np.random.Generator) -> bool:
    table = slopes_of(rng, slope=0.8, n=20, spread=True)
    x = sm.add_constant(table[["x", "other"]].to_numpy())
    return float(sm.OLS(table["y"].to_numpy(), x).fit(cov_type="HC3", use_t=True).pvalues[1]) < 0.05


def _restricted(rng: np.random.Generator) -> bool:
    table = times(rng, n=(8, 8), ratio=4.0)
    t = table["trials"].to_numpy(float)
    return bool(stats.ttest_ind(t[:8], t[8:], equal_var=False).pvalue < 0.05)


def _permuted(rng: np.random.Generator) -> bool:
    x, y = _split(groups(rng, n=(5, 8), law="skewed", shift=1.6))
    found = stats.permutation_test(
        (x, y),
        lambda a, b, axis: stats.ttest_ind(a, b, axis=axis, equal_var=False).statistic,
        n_resamples=2000,
        vectorized=True,
    )
    return bool(found.pvalue < 0.05)


def _flipped(rng: np.random.Generator) -> bool:
    x, y = _split(pairs(rng, n=9, shift=1.0))
    found = stats.permutation_test(
        (y - x,), np.mean, permutation_type="samples", n_resamples=2000, vectorized=True
    )
    return bool(found.pvalue < 0.05)


def _bayes_groups(rng: np.random.Generator) -> bool:
    t = float(stats.ttest_ind(*_split(groups(rng, n=(10, 10), shift=1.5))).statistic)
    return quad_bayes_factor(t, 5.0, 18) >= 6


def _bayes_pairs(rng: np.random.Generator) -> bool:
    t = float(stats.ttest_rel(*_split(pairs(rng, n=10, shift=1.2))).statistic)
    return quad_bayes_factor(t, 10.0, 9) >= 6


def _noncentral(shift: float, df: float) -> float:
    """Return the power of a t test in closed form."""
    t = stats.t.isf(0.025, df)
    return float(stats.nct.sf(t, df, shift) + stats.nct.cdf(-t, df, shift))


X = np.linspace(-1.6, 1.6, 14)
ORACLES: dict[tuple[str, str], Oracle] = {
    ("two groups, Welch", "8 + 8, 1.5 sd"): (
        "scipy",
        share(
            lambda rng: (
                stats.ttest_ind(*_split(groups(rng, n=(8, 8), shift=1.5)), equal_var=False).pvalue
                < 0.05
            )
        ),
    ),
    ("two groups, permutation", "5 + 8, skewed, 1.6 sd"): ("scipy", share(_permuted)),
    ("pairs, t", "8 pairs, 1.2 sd"): (
        "noncentral t",
        lambda rng, n: _noncentral(1.2 * math.sqrt(8), 7),
    ),
    ("pairs, Wilcoxon", "10 pairs, 1 sd"): (
        "scipy",
        share(lambda rng: stats.wilcoxon(*_split(pairs(rng, n=10, shift=1.0))).pvalue < 0.05),
    ),
    ("pairs, sign flips", "9 pairs, 1 sd"): ("scipy", share(_flipped)),
    ("equivalence, groups", "8 + 8, bounds of 1.7 sd"): (
        "statsmodels",
        share(
            lambda rng: (
                ttost_ind(*_split(groups(rng, n=(8, 8))), -1.7, 1.7, usevar="unequal")[0] < 0.05
            )
        ),
    ),
    ("equivalence, pairs", "10 pairs, bounds of 1.1 sd"): (
        "statsmodels",
        share(lambda rng: ttost_paired(*_split(pairs(rng, n=10)), -1.1, 1.1)[0] < 0.05),
    ),
    ("mixed model, linear", "arm, 6 + 6"): (
        "noncentral t of animals",
        lambda rng, n: float(TTestIndPower().power(1.8 / math.sqrt(1 + 1 / 10), 6, 0.05)),
    ),
    ("regression, t", "14 animals"): (
        "noncentral t",
        lambda rng, n: _noncentral(0.9 * math.sqrt(float(np.sum((X - X.mean()) ** 2))), 12),
    ),
    ("regression, hc3", "20 animals"): ("statsmodels", share(_hc3)),
    ("survival, restricted mean", "8 + 8, ratio 4"): ("scipy", share(_restricted)),
    ("survival, Cox, ratio", "8 + 8, ratio 4"): ("statsmodels", share(_cox)),
    ("Bayes factor, groups", "10 + 10, 1.5 sd, BF10 >= 6"): (
        "integral over delta",
        share(_bayes_groups),
    ),
    ("Bayes factor, pairs", "10 pairs, 1.2 sd, BF10 >= 6"): (
        "integral over delta",
        share(_bayes_pairs),
    ),
}


def simulated(n: int, rng: np.random.Generator, cell: int) -> pd.DataFrame:
    """Return an experiment of one row of EFFECTS, whose size it has already."""
    return EFFECTS[cell].simulate(rng)


def powered(cell: Cell, at: int, n: int, seed: int) -> dict[str, Any]:
    """Return the power that is stated for one cell, and that obtained apart from it."""
    begin = time.process_time()

    def run(data: pd.DataFrame) -> pd.DataFrame:
        return cell.run(data).iloc[[cell.row]]

    stated = power_by_simulation(
        simulated, run, n_animals=1, settings={"cell": [at]}, n_simulations=n, seed=seed
    ).table.iloc[0]
    by, oracle = ORACLES.get((cell.test, cell.says), ("new experiments", None))
    rng = np.random.default_rng(seed + 1)
    if oracle is None:
        obtained = counted("power", cell, n, seed + 1)["positive"] / n
    else:
        obtained = oracle(rng, n)
    return {
        "part": "power",
        "test": cell.test,
        "experiment": cell.says,
        "simulations": n,
        "positive": round(stated["power"] * n),
        "failed": int(stated["failed"]),
        "obtained": obtained,
        # of a closed form there is no Monte Carlo error
        "obtained_of": math.inf if by.startswith("noncentral") else n,
        "by": by,
        "seconds": round(time.process_time() - begin, 1),
    }


def measured(part: str, at: int, n: int) -> dict[str, Any]:
    """Return one row."""
    if part == "size":
        return counted(part, NULLS[at], n, 1000 + at)
    return powered(EFFECTS[at], at, n, 5000 + 10 * at)


def band(rate: float, of: float) -> float:
    """Return two standard errors of a share, in points."""
    return 200 * math.sqrt(max(rate * (1 - rate), 1e-9) / of)


def size_table(rows: pd.DataFrame) -> str:
    """Return the table of sizes as Markdown."""
    lines = [
        "| test | null | simulations | positive, % | -+ | 5 -+ 1 | not fitted, % |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows[rows["part"] == "size"].to_dict("records"):
        rate = row["positive"] / row["simulations"]
        if not math.isfinite(row["target"]):
            verdict = "no target"
        elif abs(100 * rate - 5) <= 1:
            verdict = "holds"
        else:
            verdict = "**too often**" if rate > 0.05 else "too rarely"
        lines.append(
            f"| {row['test']} | {row['experiment']} | {row['simulations']} | {100 * rate:.1f} | "
            f"{band(rate, row['simulations']):.1f} | {verdict} | "
            f"{100 * row['failed'] / row['simulations']:.1f} |"
        )
    return "\n".join(lines)


def power_table(rows: pd.DataFrame) -> str:
    """Return the table of power as Markdown."""
    lines = [
        "| test | experiment | simulations | stated, % | obtained, % | apart | -+ | by |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows[rows["part"] == "power"].to_dict("records"):
        stated, obtained = row["positive"] / row["simulations"], float(row["obtained"])
        error = math.hypot(
            band(stated, row["simulations"]), band(obtained, float(row["obtained_of"]))
        )
        lines.append(
            f"| {row['test']} | {row['experiment']} | {row['simulations']} | {100 * stated:.1f} | "
            f"{100 * obtained:.1f} | {100 * (stated - obtained):+.1f} | {error:.1f} | {row['by']} |"
        )
    return "\n".join(lines)


def sequential_rows(n: int) -> pd.DataFrame:
    """Return the rates of sequential Bayes factors, a row a plan and effect."""
    parts = []
    for design in ("two-sample", "paired"):
        for threshold in (3.0, 6.0, 10.0):
            plan = st.SequentialPlan(n_min=5, n_max=20, threshold=threshold, design=design)
            rates = st.sequential_rates(plan, [1.0], n_simulations=n)
            parts.append(rates.assign(design=design, threshold=threshold))
    return pd.concat(parts, ignore_index=True)


def sequential_table(rows: pd.DataFrame) -> str:
    """Return the rates of sequential Bayes factors as Markdown."""
    lines = [
        "| design | threshold | effect, sd | different, % | same, % | undecided, % | misleading, % "
        "| mean n |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows.to_dict("records"):
        shares = " | ".join(
            f"{100 * row[name]:.1f}" for name in ("different", "same", "undecided", "misleading")
        )
        lines.append(
            f"| {row['design']} | {row['threshold']:g} | {row['effect']:g} | {shares} | "
            f"{row['mean_n']:.1f} |"
        )
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> None:
    """Run."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--simulations", type=int, default=2000, help="of every row")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--only", default="", metavar="WORD", help="tests that hold the word")
    parser.add_argument("--output", type=Path, default=ROWS, help="table of rows (.csv)")
    parser.add_argument("--table", action="store_true", help="run nothing")
    chosen = parser.parse_args(arguments)
    cells = [("size", at, cell) for at, cell in enumerate(NULLS)]
    cells += [("power", at, cell) for at, cell in enumerate(EFFECTS)]
    if not chosen.table:
        there: set[tuple[str, ...]] = set()
        if chosen.output.exists():
            old = pd.read_csv(chosen.output)
            there = set(zip(old["part"], old["test"], old["experiment"], strict=True))
        left = [
            (part, at)
            for part, at, cell in cells
            if chosen.only in cell.test and (part, cell.test, cell.says) not in there
        ]
        with chosen.output.open("a", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, COLUMNS, restval="")
            if not there:
                writer.writeheader()
            run = Parallel(n_jobs=chosen.jobs, return_as="generator", batch_size=1)
            for row in run(delayed(measured)(*key, chosen.simulations) for key in left):
                writer.writerow(row)
                stream.flush()
                say(row["part"], row["test"], row["experiment"], row["positive"], row["seconds"])
        if chosen.output == ROWS and not LOOKS.exists():
            sequential_rows(chosen.simulations).to_csv(LOOKS, index=False)
    rows = pd.read_csv(chosen.output)
    order = {(part, cell.test, cell.says): i for i, (part, _, cell) in enumerate(cells)}
    place = [
        order.get(key, 10_000)
        for key in zip(rows["part"], rows["test"], rows["experiment"], strict=True)
    ]
    rows = rows.iloc[np.argsort(place, kind="stable")]
    parts = ["## Under the null\n\n" + size_table(rows), "## Power\n\n" + power_table(rows)]
    if LOOKS.exists():
        looks = sequential_table(pd.read_csv(LOOKS))
        parts.append("## Bayes factors while animals are added\n\n" + looks)
    text = "\n\n".join(parts)
    if chosen.output == ROWS:
        into_page(PAGE, text)
    else:
        say(text)


if __name__ == "__main__":
    main()
