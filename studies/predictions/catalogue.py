"""The numbers of the catalogue: effects, animals, size of every test, and other learners.

python studies/predictions/catalogue.py                   all tables; a quarter of an hour
python studies/predictions/catalogue.py --name a-b-a      the rows of one entry
python studies/predictions/catalogue.py --part retraining what the text of the page rests on

Tables: catalogue.csv, learners.csv and pictures.csv in predictlearn/predictions/laboratory, and
catalogue.md here. `pytest -m slow tests/predictions/test_catalogue_study.py` makes some again.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import numpy as np
import pandas as pd

from predictlearn.behaviour.choices import Choices
from predictlearn.behaviour.defaults import typical_value
from predictlearn.errors import InputError
from predictlearn.predictions.laboratory import (
    ENTRIES,
    LEARNERS,
    cohort_table,
    evaluate,
    rejection_rate,
    simulate_cohort,
)
from predictlearn.predictions.laboratory.animals import Animal, naive_networks
from predictlearn.predictions.laboratory.evaluation import effect_words, signed
from predictlearn.predictions.laboratory.measure import DECISION_NOISE
from predictlearn.predictions.laboratory.pictures import picture_frame
from predictlearn.predictions.laboratory.rates import discrimination, typical_rate
from predictlearn.predictions.laboratory.tasks import cue_task, unlike
from predictlearn.statistics import regression

ROOT = Path(__file__).resolve().parents[2]
PLACE = ROOT / "predictlearn" / "predictions" / "laboratory"
PAGE = Path(__file__).with_suffix(".md")
SEED, SIMULATIONS, NULLS, FEW, DRAWN = 0, 300, 1000, 24, 60


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
        **{
            f"animals_{100 * target:.0f}{end}": value
            for target, three in animals.items()
            for end, value in zip(("", "_low", "_high"), three, strict=True)
        },
        "each": "in each arm" if entry.design in ("groups", "doses") else "in all",
        "simulated": found.cohort.n_animals,
        "lost": found.cohort.lost,
        "size": size["power"],
        "size_low": size["low"],
        "size_high": size["high"],
        "size_animals": at,
        "size_simulations": NULLS,
        "cautions": " ".join(found.cautions),
    }


def verdict(entry, low, high, sign):
    """Return whether an interval shows the effect."""
    if entry.features:
        low, high = low - 50, high - 50
    if entry.bound:
        return "yes" if -entry.bound < low and high < entry.bound else "not shown"
    if low > 0 or high < 0:
        return "yes" if (low > 0) == (sign > 0) else "reversed"
    return "not shown"


def learners_of(entry, main, n_jobs):
    """Return the effect of an entry for every learner; that of the table is known."""
    sign = main["effect"] - (50 if entry.features else 0)
    rows = []
    for learner in LEARNERS:
        if learner.plain:
            low, high = main["effect_low"], main["effect_high"]
            rows.append(
                {
                    "name": entry.name,
                    "learns": learner.learns,
                    "rule": learner.rule,
                    "animals": main["simulated"],
                    "estimate": main["effect"],
                    "low": low,
                    "high": high,
                    "holds": verdict(entry, low, high, sign),
                }
            )
            continue
        row = {"name": entry.name, "learns": learner.learns, "rule": learner.rule}
        row["animals"] = FEW
        try:
            cohort = simulate_cohort(entry, FEW, SEED + 1, learner, n_jobs)
            result = entry.result(cohort_table(entry, cohort, None, np.random.default_rng(SEED)))
        except InputError as error:
            print(f"  {learner.name}: {error}", flush=True)  # noqa: T201
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
        print(f"  {learner.name}: {result['estimate']:.3g} {holds}", flush=True)  # noqa: T201
    return rows


def retraining():
    """Print savings of B by how long A was trained again, and what reversal says of a third cue."""
    a, b = cue_task((1.0, 0.0), 1.0), cue_task(unlike(0.6), -1.0)
    rate, sides = typical_rate("mice"), np.array([1.0, -1.0])
    choices = Choices(DECISION_NOISE, typical_value("mouse_lapse"))

    def percent(margins):
        """Return expected percent correct."""
        return 100 * float(np.mean(choices.moments(margins)[0]))

    rows = []
    for sessions in (5, 10, 20, 40, 80):
        saved = []
        for network in naive_networks(40, SEED):
            animal = Animal(network, rate)
            animal.train(a, 100, 15)
            first = percent(-animal.train(b, 100, 10)[:3, ..., 0])
            animal.train(a, 100, sessions)
            saved.append(percent(-animal.train(b, 100, 3)[..., 0]) - first)
        rows.append({"sessions of A": sessions, "savings": np.mean(saved), "sd": np.std(saved)})
    print(pd.DataFrame(rows).round(1).to_string())  # noqa: T201
    rows = []
    for network in naive_networks(200, SEED):
        animal = Animal(network, rate)
        first = percent(sides * animal.train(discrimination(), 100, 15)[2:7, ..., 0])
        power = animal.power(discrimination())
        reversal = -sides * animal.train(discrimination(-1.0), 100, 25)[..., 0]
        again = sides * animal.train(discrimination(), 100, 30)[..., 0]
        third = animal.train(cue_task(unlike(-0.6), 1.0), 100, 8)[..., 0]
        rows.append(
            {
                "third": percent(third),
                "reversal": percent(reversal[:12]),
                "first": first,
                "performance": percent(again[-2:]),
                "activity": power,
            }
        )
    table = pd.DataFrame(rows).rename_axis("subject").reset_index()
    terms = ["reversal", "first", "performance", "activity"]
    found = regression(table, outcome="third", terms=terms)
    print(found[["name", "estimate", "low", "high"]].round(3).to_string())  # noqa: T201


def _count(n):
    """Return a number of animals in words."""
    return f"{n:.0f}" if math.isfinite(n) else "more than 256"


def _line(*cells):
    """Return a row of a table."""
    return f"| {' | '.join(cells)} |"


def page(table, learners):
    """Put the tables into the page."""
    heads = ("effect [95% interval]", "standardised", "animals for 80, 95%", "size under the null")
    lines = [_line("prediction", *heads), "|---|---|---|---|---|"]
    for row in table.to_dict("records"):
        ends = (row[k] for k in ("effect", "effect_low", "effect_high"))
        size, least, most = (100 * row[k] for k in ("size", "size_low", "size_high"))
        lines.append(
            _line(
                row["name"],
                effect_words(ENTRIES[row["name"]], *ends),
                f"{signed(row['standardised'])} {row['standardised_name']}",
                f"{_count(row['animals_80'])}, {_count(row['animals_95'])} {row['each']}",
                f"{size:.1f}% [{least:.1f}, {most:.1f}], n = {row['size_animals']}",
            )
        )
    names = [learner.name for learner in LEARNERS]
    lines += ["", _line("prediction", *names), "|---|" + "---|" * len(names)]
    for name, own in learners.groupby("name", sort=False):
        cells = [
            f"{r.holds}: {signed(r.estimate)}" if math.isfinite(r.estimate) else r.holds
            for r in own.itertuples()
        ]
        lines.append(_line(name, *cells))
    text = PAGE.read_text(encoding="utf-8")
    before, begin, rest = text.partition("<!-- tables: begin -->\n")
    _, end, after = rest.partition("<!-- tables: end -->")
    PAGE.write_text(before + begin + "\n".join(lines) + "\n" + end + after, encoding="utf-8")


def put(made, file):
    """Put rows into a table in place of those of the same entries, and return it."""
    made = pd.DataFrame(made)
    if (PLACE / file).exists():
        old = pd.read_csv(PLACE / file)
        made = pd.concat([old[~old["name"].isin(made["name"])], made])
    order = {name: k for k, name in enumerate(ENTRIES)}
    made = made[made["name"].isin(order)]
    made = made.sort_values("name", key=lambda x: x.map(order), kind="stable")
    made.to_csv(PLACE / file, index=False, float_format="%.5g")
    return made


def main():
    """Make the tables, an entry at a time."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--name", action="append", choices=list(ENTRIES), help="only this entry")
    parser.add_argument("--jobs", type=int, default=2)
    parts = ["effects", "learners", "pictures", "page", "retraining"]
    parser.add_argument("--part", choices=parts, help="only this part")
    given = parser.parse_args()
    if given.part == "retraining":
        retraining()
        return
    chosen = [entry for name, entry in ENTRIES.items() if name in (given.name or ENTRIES)]
    for entry in chosen if given.part in (None, "effects") else []:
        row = row_of(entry, given.jobs)
        put([row], "catalogue.csv")
        print(pd.Series(row).to_string(), flush=True)  # noqa: T201
    effects = pd.read_csv(PLACE / "catalogue.csv")
    for entry in chosen if given.part in (None, "learners") else []:
        main = effects.set_index("name").loc[entry.name]
        print(entry.name, flush=True)  # noqa: T201
        put(learners_of(entry, main, given.jobs), "learners.csv")
    for entry in chosen if given.part in (None, "pictures") else []:
        cohort = simulate_cohort(entry, DRAWN, SEED + 2, n_jobs=given.jobs)
        frame = picture_frame(entry, cohort_table(entry, cohort, None, np.random.default_rng(SEED)))
        frame.insert(0, "name", entry.name)
        put(frame, "pictures.csv")
    page(effects, pd.read_csv(PLACE / "learners.csv"))


if __name__ == "__main__":
    main()
