"""Fit LowRankRNN where its model is wrong in one way; prints the table of wrong_models.md.

    python studies/fitting/wrong_models.py                      all conditions, 100 runs each
    python studies/fitting/wrong_models.py --runs 10 --jobs 2   fewer runs, two processes
    python studies/fitting/wrong_models.py --only relu          one condition (may be repeated)
    python studies/fitting/wrong_models.py --table  only the table, from the runs that are there

Every run adds one row to wrong_models.csv (``--output``), and what is there is not run again:
delete the rows of a condition to measure it anew. A run is decided by its condition and number.
"""

from __future__ import annotations

import argparse
import csv
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
from joblib import Parallel, delayed
from wrong_models_conditions import COLUMNS, CONDITIONS, NUMBERS, measured, summary

HERE = Path(__file__).resolve().parent
# what rooms share stands beside them
sys.path.append(str(HERE.parent))
from pages import into_page, say  # noqa: E402

RUNS, PAGE = HERE / "wrong_models.csv", HERE / "wrong_models.md"


def missing(file: Path, keys: list[tuple[str, int]]) -> list[tuple[str, int]]:
    """Return the keys (condition, run) that the file does not hold."""
    if not file.exists():
        return keys
    there = pd.read_csv(file, usecols=["condition", "run"])
    done = set(zip(there["condition"], there["run"], strict=True))
    return [key for key in keys if key not in done]


def add_runs(
    file: Path,
    columns: list[str],
    keys: list[tuple[str, int]],
    measure: Callable[[str, int], dict[str, Any]],
    jobs: int,
) -> None:
    """Measure what the file does not hold and add a row each, as they come."""
    keys, begin = missing(file, keys), time.monotonic()
    fresh = not file.exists()
    with file.open("a", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, columns, restval="")
        if fresh:
            writer.writeheader()
        for done, row in enumerate(results(keys, measure, jobs), start=1):
            writer.writerow({k: f"{v:.4g}" if isinstance(v, float) else v for k, v in row.items()})
            stream.flush()
            if row["status"] == "crashed":
                say(f"crashed: {row['condition']} run {row['run']}: {row['message']}")
            if done % 20 == 0 or done == len(keys):
                spent = time.monotonic() - begin
                say(f"{done} of {len(keys)} runs, {spent:.0f} s, last {row['condition']}")


def results(
    keys: list[tuple[str, int]], measure: Callable[[str, int], dict[str, Any]], jobs: int
) -> Iterator[dict[str, Any]]:
    """Yield the rows in the order of the keys."""
    yield from Parallel(n_jobs=jobs, return_as="generator", batch_size=1)(
        delayed(measure)(*key) for key in keys
    )


def share(value: float) -> str:
    """Return a share in per cent, nothing where there is none."""
    return "" if pd.isna(value) else f"{100 * value:.0f}"


def table(rows: pd.DataFrame) -> str:
    """Return the summary as Markdown."""
    lines = [
        "| wrong is | runs | hold, % | " + " | ".join(NUMBERS) + " | combined | tau | noticed, % "
        "| by | rule |",
        "|---" * (len(NUMBERS) + 8) + "|",
    ]
    for name, row in rows.iterrows():
        combined = row[["zu*vm", "zu*vu*vm", "mu*vm", "vm*uu*vm"]].astype(float).mean()
        cells = [
            CONDITIONS[str(name)].says,
            str(row["runs"]),
            share(row["holds"]),
            *(share(row[q]) for q in NUMBERS),
            share(combined),
            share(row["tau"]),
            share(row["noticed"]),
            row["by"],
            row["verdict"] + (f" ({row['lowest']})" if row["verdict"] == "in part" else ""),
        ]
        if row["crashed"] > 0:
            cells[-2] += f"; crashed {share(row['crashed'])}%"
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> None:
    """Run."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=100, help="of every condition")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--only", action="append", choices=list(CONDITIONS), metavar="CONDITION")
    parser.add_argument("--output", type=Path, default=RUNS, help="table of runs (.csv)")
    parser.add_argument("--table", action="store_true", help="run nothing")
    chosen = parser.parse_args(arguments)
    names = chosen.only or list(CONDITIONS)
    if not chosen.table:
        # run by run over all conditions, so that an early stop leaves every condition as many
        keys = [(name, run) for run in range(chosen.runs) for name in names]
        add_runs(chosen.output, COLUMNS, keys, measured, chosen.jobs)
    runs = pd.read_csv(chosen.output)
    rows = summary(runs[runs["condition"].isin(names)])
    text = table(rows)
    say(text)
    for name, row in rows.iterrows():
        say(f"{name}: {row['verdict']}")
    if chosen.output == RUNS and not chosen.only:
        into_page(PAGE, text)


if __name__ == "__main__":
    main()
