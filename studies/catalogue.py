"""The numbers of the catalogue: effects, animals, size of every test, and other learners.

python studies/catalogue.py             about ten minutes of two processors; writes the tables
python studies/catalogue.py --name a-b-a                one entry, printed and not written

Tables: catalogue.csv and learners.csv beside predictlearn/predictions/catalogue/table.py, and
catalogue.md here. `pytest -m slow tests/predictions/test_catalogue_study.py` makes some of them again.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import numpy as np
import pandas as pd

from predictlearn.errors import InputError
from predictlearn.predictions.catalogue import LEARNERS, evaluate, rejection_rate, simulate_cohort
from predictlearn.predictions.catalogue.evaluate import signed
from predictlearn.predictions.catalogue.table import ENTRIES, cohort_table

ROOT = Path(__file__).resolve().parents[1]
PLACE = ROOT / "predictlearn" / "predictions" / "catalogue"
PAGE = ROOT / "studies" / "catalogue.md"
SEED, SIMULATIONS, NULLS, FEW = 0, 400, 2000, 24


def row_of(entry, n_jobs):
    """Return effect, animals and size of one entry."""
    found = evaluate(entry, seed=SEED, n_jobs=n_jobs, n_simulations=SIMULATIONS)
    result, animals = found.result, found.animals
    at = min(max(found.n_animals, 8), 32)
    size = rejection_rate(entry, found.cohort, at, NULLS, SEED, n_jobs)
    return {
        "name": entry.name,
        "effect": result["estimate"],
        "effect_low": result["low"],
        "effect_high": result["high"],
        "unit": entry.unit_of_effect,
        "standardised": result["effect"],
        "standardised_low": result["effect_low"],
        "standardised_high": result["effect_high"],
        "standardised_name": result["effect_name"],
        **{f"animals_{100 * t:.0f}{k}": v for t, three in animals.items() for k, v in zip(("", "_low", "_high"), three)},
        "each": "in each arm" if entry.design in ("groups", "doses") else "in all",
        "simulated": found.cohort.n_animals,
        "lost": found.cohort.lost,
        "size": size["power"],
        "size_low": size["low"],
        "size_high": size["high"],
        "size_animals": at,
        "size_simulations": NULLS,
        "cautions": " ".join(found.cautions),
    }  # fmt: skip


def verdict(entry, low, high, sign):
    """Return whether an interval shows the effect."""
    if entry.bound:
        return "yes" if -entry.bound < low and high < entry.bound else "not shown"
    if low > 0 or high < 0:
        return "yes" if (low > 0) == (sign > 0) else "reversed"
    return "not shown"


def learners_of(entry, sign, n_jobs):
    """Return the effect of an entry for every learner."""
    rows = []
    for learner in LEARNERS:
        row = {"name": entry.name, "learns": learner.learns, "rule": learner.rule}
        try:
            cohort = simulate_cohort(entry, FEW, SEED + 1, learner, n_jobs)
            result = entry.result(cohort_table(entry, cohort, None, np.random.default_rng(SEED)))
        except InputError as error:
            print(f"  {learner.name}: {error}", flush=True)
            rows.append(
                {
                    **row,
                    "estimate": math.nan,
                    "low": math.nan,
                    "high": math.nan,
                    "holds": "not learned",
                }
            )
            continue
        low, high = result["low"], result["high"]
        if entry.features:
            low, high = low - 50, high - 50
        holds = verdict(entry, low, high, sign)
        if cohort.lost:
            holds += f", {cohort.lost} of {FEW} diverged"
        rows.append(
            {
                **row,
                "estimate": result["estimate"],
                "low": result["low"],
                "high": result["high"],
                "holds": holds,
            }
        )
        print(
            f"  {learner.name}: {result['estimate']:.3g} [{low:.3g}, {high:.3g}] {holds}",
            flush=True,
        )
    return rows


def page(table, learners):
    """Put the tables into the page."""
    lines = [
        "| prediction | effect [95% interval] | standardised | animals for 80, 95% power | size under the null |",
        "|---|---|---|---|---|",
    ]
    for row in table.itertuples():
        needed = ", ".join(
            f"{x:.0f}" if math.isfinite(x) else "more than 256"
            for x in (row.animals_80, row.animals_95)
        )
        lines.append(
            f"| {row.name} | {signed(row.effect)} {row.unit} [{signed(row.effect_low)}, {signed(row.effect_high)}] | "
            f"{signed(row.standardised)} {row.standardised_name} | {needed} {row.each} | "
            f"{100 * row.size:.1f}% [{100 * row.size_low:.1f}, {100 * row.size_high:.1f}], n = {row.size_animals} |"
        )
    names = [learner.name for learner in LEARNERS]
    lines += ["", "| prediction | " + " | ".join(names) + " |", "|---|" + "---|" * len(names)]
    for name, own in learners.groupby("name", sort=False):
        cells = [
            f"{r.holds}: {signed(r.estimate)}" if math.isfinite(r.estimate) else r.holds
            for r in own.itertuples()
        ]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    text = PAGE.read_text(encoding="utf-8")
    before, _, rest = text.partition("<!-- tables: begin -->\n")
    _, mark, after = rest.partition("<!-- tables: end -->")
    PAGE.write_text(
        before + "<!-- tables: begin -->\n" + "\n".join(lines) + "\n" + mark + after,
        encoding="utf-8",
    )


def main():
    """Make the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--name", action="append", help="only this entry, printed, not written")
    parser.add_argument(
        "--update", action="store_true", help="with --name: write these rows into the tables"
    )
    parser.add_argument("--jobs", type=int, default=2)
    given = parser.parse_args()
    rows, learners = [], []
    for name, entry in ENTRIES.items():
        if given.name and name not in given.name:
            continue
        rows.append(row_of(entry, given.jobs))
        print(pd.Series(rows[-1]).to_string(), flush=True)
        learners += learners_of(
            entry, rows[-1]["effect"] - (50 if entry.features else 0), given.jobs
        )
    table, others = pd.DataFrame(rows), pd.DataFrame(learners)
    if given.name and not given.update:
        return
    if given.name:
        for made, file in ((table, "catalogue.csv"), (others, "learners.csv")):
            if (PLACE / file).exists():
                old = pd.read_csv(PLACE / file)
                made = pd.concat([old[~old["name"].isin(made["name"])], made])
            order = {name: k for k, name in enumerate(ENTRIES)}
            made = made[made["name"].isin(order)].sort_values(
                "name", key=lambda x: x.map(order), kind="stable"
            )
            made.to_csv(PLACE / file, index=False, float_format="%.6g")
        table, others = (pd.read_csv(PLACE / file) for file in ("catalogue.csv", "learners.csv"))
    else:
        table.to_csv(PLACE / "catalogue.csv", index=False, float_format="%.6g")
        others.to_csv(PLACE / "learners.csv", index=False, float_format="%.6g")
    page(table, others)


if __name__ == "__main__":
    main()
