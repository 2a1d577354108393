"""Count how often intervals hold for narrow and wide bins; prints the table of bin_width.md.

    python studies/fitting/bin_width.py                      100 runs each
    python studies/fitting/bin_width.py --runs 10 --jobs 2   fewer runs, two processes
    python studies/fitting/bin_width.py --only poisson       cells whose name holds the word
    python studies/fitting/bin_width.py --table  only the table, from the runs that are there

Recordings are those of wrong_models_simulator.py, in which nothing is wrong: the network runs in
continuous time, and activity is its mean, or its count of spikes, over each bin. Every run adds one
row to bin_width.csv (``--output``), and what is there is not run again.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
import zlib
from pathlib import Path
from typing import Any

import pandas as pd
from threadpoolctl import threadpool_limits
from wrong_models import HERE, add_runs, share
from wrong_models_conditions import (
    COLUMNS,
    COURSES,
    NUMBERS,
    Condition,
    examined,
    fitted_model,
    noticed,
)
from wrong_models_simulator import World, simulate

sys.path.append(str(HERE.parent))
from pages import into_page, say

RUNS, PAGE = HERE / "bin_width.csv", HERE / "bin_width.md"
WIDTHS = {"tau/10": 0.1, "tau/5": 0.2, "tau/2": 0.5, "tau": 1.0}
COMBINED = ("zu*vm", "zu*vu*vm", "mu*vm", "vm*uu*vm")


def cells() -> dict[str, Condition]:
    """Return what is measured, by name: noise, nonlinearity, tau, bin."""
    found = {}
    for noise, phi, tau, (label, width) in itertools.product(
        ("gaussian", "poisson"), ("linear", "erf"), ("known", "fitted"), WIDTHS.items()
    ):
        counts = noise == "poisson"
        world = World(
            bin=width * World().tau,
            noise=noise,
            phi=phi,
            amplitude=0.5 if counts and phi == "linear" else 1.0,
        )
        observed = "current" if counts and phi == "linear" else "rate"
        model = {"noise": noise, "nonlinearity": phi, "observed": observed}
        name = f"{noise} {phi} {tau} {label}"
        found[name] = Condition(name, world, model, 1.0 if tau == "known" else "fit")
    return found


CELLS = cells()


def measured(name: str, run: int) -> dict[str, Any]:
    """Simulate and fit once; return one row of the table of runs."""
    cell, begin = CELLS[name], time.perf_counter()
    with threadpool_limits(1):
        data = simulate(cell.world, [zlib.crc32(name.encode()), run], None if run % 2 else COURSES)
        row = examined(data, cell.world, fitted_model(cell, run), diagnosed=False)
    return {"condition": name, "run": run, **row, "seconds": time.perf_counter() - begin}


def table(runs: pd.DataFrame) -> str:
    """Return the shares of intervals that hold as Markdown, one row a cell."""
    lines = [
        "| noise, rates, tau | bin | runs | hold, % | "
        + " | ".join(NUMBERS)
        + " | combined | tau | warned, % | refused, % | crashed, % |",
        "|---" * (len(NUMBERS) + 9) + "|",
    ]
    for name in CELLS:
        some = runs[runs["condition"] == name]
        if some.empty:
            continue
        holds = some[[c for c in COLUMNS if c.endswith(" holds")]].astype(float)
        combined = holds[[f"{q} holds" for q in COMBINED]]
        kind, width = name.rsplit(" ", 1)
        given = [
            holds.stack().mean(),
            *(holds[f"{q} holds"].mean() for q in NUMBERS),
            combined.stack().mean(),
            holds["tau holds"].mean(),
            noticed(some).mean() - (some["status"] == "refused").mean(),
            (some["status"] == "refused").mean(),
            (some["status"] == "crashed").mean(),
        ]
        lines.append(
            f"| {kind} | {width} | {len(some)} | " + " | ".join(share(v) for v in given) + " |"
        )
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> None:
    """Run."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=100, help="of every cell")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--only", default="", help="a word of the cells' names")
    parser.add_argument("--output", type=Path, default=RUNS, help="table of runs (.csv)")
    parser.add_argument("--table", action="store_true", help="run nothing")
    chosen = parser.parse_args(arguments)
    names = [name for name in CELLS if chosen.only in name]
    if not chosen.table:
        keys = [(name, run) for run in range(chosen.runs) for name in names]
        add_runs(chosen.output, COLUMNS, keys, measured, chosen.jobs)
    runs = pd.read_csv(chosen.output)
    text = table(runs[runs["condition"].isin(names)])
    say(text)
    if chosen.output == RUNS and not chosen.only:
        into_page(PAGE, text)


if __name__ == "__main__":
    main()
