"""Tables and sentences of the perturbation-exposure prediction."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from predictlearn.errors import InputError
from predictlearn.predictions.base import Cohort
from predictlearn.predictions.exposure.pairs import AREA
from predictlearn.statistics.comparisons import number, p_text, span
from predictlearn.statistics.power import animals_needed

NOTE = {"stated": "", "between simulated networks": ", without measurement noise"}


def animals_table(
    cohort: Cohort,
    outcomes: Mapping[str, tuple[np.ndarray, np.ndarray]],
    alpha: float,
    power: float,
    animal_sd: float | None,
) -> pd.DataFrame:
    """Return the number of animals needed for each outcome, design and source of the spread."""
    rows: list[dict[str, Any]] = []
    for name, (first, second) in outcomes.items():
        x, y = cohort.by_network(first), cohort.by_network(second)
        there = np.isfinite(x) & np.isfinite(y)
        x, y = x[there], y[there]
        gap = float(np.mean(x - y))
        spreads: list[tuple[str, str, float]] = []
        if x.size > 1:
            spreads = [
                ("paired", "between simulated networks", float(np.std(x - y, ddof=1))),
                (
                    "two-sample",
                    "between simulated networks",
                    math.sqrt((x.var(ddof=1) + y.var(ddof=1)) / 2),
                ),
            ]
        if animal_sd is not None and name == AREA:
            spreads += [("paired", "stated", animal_sd), ("two-sample", "stated", animal_sd)]
        rows.extend(
            {"outcome": name, "design": design, "spread": source, "difference": gap, "sd": sd,
             **_needed(gap, sd, alpha, power, design)}
            for design, source, sd in spreads
        )  # fmt: skip
    columns = ["outcome", "design", "spread", "difference", "sd", "effect", "n", "total", "power"]
    return pd.DataFrame(rows, columns=[*columns, "statement"])


def _needed(gap: float, sd: float, alpha: float, power: float, design: str) -> dict[str, Any]:
    """Return the number of animals for a difference and a spread; infinite where none would do."""
    if sd <= 1e-12 * max(abs(gap), 1.0):
        effect = 0.0 if abs(gap) <= 1e-12 else math.copysign(math.inf, gap)
    else:
        effect = gap / sd
    nothing = {"effect": effect, "n": math.inf, "total": math.inf, "power": float("nan")}
    if effect == 0:
        return {
            **nothing,
            "statement": "No difference is predicted; no number of animals shows it.",
        }
    try:
        need = animals_needed(effect, power=power, alpha=alpha, design=design)
    except InputError as error:
        return {**nothing, "statement": str(error)}
    return {
        "effect": effect,
        "n": float(need.n),
        "total": float(need.total),
        "power": need.power,
        "statement": need.statement,
    }


def outcome_table(
    cohort: Cohort,
    outcomes: Mapping[str, tuple[np.ndarray, np.ndarray]],
    steps: np.ndarray,
    original: np.ndarray,
    changed: np.ndarray,
    before: np.ndarray,
) -> pd.DataFrame:
    """Return the outcomes of every network as a tidy table."""
    rows: list[dict[str, Any]] = []

    def add(index: int, arm: str, epoch: float, quantity: str, value: float) -> None:
        """Add one value."""
        place = {"draw": int(cohort.draw[index]), "network": int(cohort.network[index])}
        value = float(value)
        rows.append({**place, "arm": arm, "epoch": epoch, "quantity": quantity, "value": value})

    for index in np.flatnonzero(np.isfinite(before)).tolist():
        add(index, "both", 0.0, "loss before learning", before[index])
        for name, (second, first) in outcomes.items():
            epoch = float(name.rsplit(" ", 1)[1]) if name != AREA else float(steps[-1])
            quantity = "loss" if name != AREA else "mean loss over learning"
            add(index, "original", epoch, quantity, first[index])
            add(index, "changed", epoch, quantity, second[index])
            add(index, "difference", epoch, quantity, second[index] - first[index])
        for arm, losses in (("original", original), ("changed", changed)):
            below = np.flatnonzero(losses[index] <= 0.5)
            reached = float(steps[below[0]]) if below.size else math.inf
            add(index, arm, reached, "epochs to half the loss", reached)
    return pd.DataFrame(rows)


def _percent(share: float) -> str:
    """Format a share, without the digits of rounding."""
    return "0%" if share < 1e-12 else f"{100 * share:.2g}%"


def _remedy(row: Mapping[str, Any]) -> str:
    """Say what would show an equivalence that was not shown."""
    if row["degenerate"]:
        return "the difference is nil, but so few animals cannot give a p below the level"
    return "differences shrink with the number of neurons"


def state(
    same: pd.DataFrame,
    behaviour: pd.DataFrame,
    apart: pd.DataFrame,
    summary: pd.DataFrame,
    band: pd.DataFrame,
    animals: pd.DataFrame,
    margin: float,
    n_neurons: int,
    n_excluded: int,
) -> tuple[str, ...]:
    """Say what is predicted, in words and numbers, a thought a paragraph."""
    before = []
    if same.empty:
        scale = float(behaviour["loss_first"].mean())
        gap = float((behaviour["loss_second"] - behaviour["loss_first"]).abs().max()) / scale
        other = float(behaviour["output_mismatch"].max()) / scale
        before.append(
            "Before learning the two networks of a pair differ by at most "
            f"{_percent(gap)} of the loss, and their outputs (squared) by {_percent(other)}; with "
            "one network this is not tested."
        )
    else:
        held = int((same["verdict"] == "equivalent").sum())
        word = "are equivalent" if held == len(same) else "are not shown to be equivalent"
        before.append(
            f"Before learning the two networks of a pair, of {n_neurons} neurons each, {word}: "
            f"{held} of {len(same)} equivalence tests hold within a margin of {100 * margin:g}% "
            f"(largest one-sided {p_text(float(same['p'].max()))})."
        )
        failed = same[same["verdict"] != "equivalent"]
        before.extend(
            f"Not shown: {row['name']}, {100 * row['level']:.3g}% interval "
            f"{span(row['low'], row['high'])}; {_remedy(row)}."
            for row in failed.to_dict("records")
        )
    first = apart[apart["name"] == AREA].iloc[0]
    faster = "less" if first["estimate"] < 0 else "more"
    during, start = [], []
    nothing = not np.any(apart["estimate"]) and not band[["low", "high"]].to_numpy().any()
    if nothing:
        during.append(
            "During learning the change makes no difference at all: this learner does not see it."
        )
    elif first["verdict"] == "not tested":
        spread = band.iloc[0]
        during.append(
            f"During learning the changed network has {faster} loss: on average over learning "
            f"{number(first['estimate'])} of the loss before learning, "
            f"{span(spread['low'], spread['high'])} in 95% of {spread['n_draws']} draws of "
            "what the recording cannot see. This is a prediction for one network; it is not "
            "tested over networks."
            + (
                " The recording does not tell the sign "
                f"({100 * spread['share_positive']:.0f}% of draws are above zero)."
                if spread["low"] < 0 < spread["high"]
                else ""
            )
        )
    else:
        word = "learn differently" if first["significant"] else "are not shown to learn differently"
        during.append(
            f"During learning they {word}: the changed network has {faster} loss on average over "
            f"learning, {number(first['estimate'])} of the loss before learning "
            f"({100 * first['level']:.3g}% interval {span(first['low'], first['high'])}, "
            f"{first['effect_name']} {number(first['effect'])} "
            f"{span(first['effect_low'], first['effect_high'])}, corrected "
            f"{p_text(float(first['p_corrected']))}, n = {first['n']} pairs)."
        )
        if int(band.iloc[0]["n_draws"]) > 1:
            spread = band.iloc[0]
            during.append(
                "What the recording cannot see leaves this difference between "
                f"{number(spread['low'])} and {number(spread['high'])} (95% of "
                f"{spread['n_draws']} draws)."
            )
    if not nothing and len(summary) and np.isfinite(summary["relative_to_original_speed"]).all():
        whole = float(summary["relative_to_original_speed"].sum())
        shares = ", ".join(
            f"{row['overlap']} {100 * row['relative_to_original_speed']:+.1f}%"
            for row in summary.to_dict("records")
        )
        start.append(
            f"At the start of learning the changed network's loss falls {100 * abs(whole):.1f}% "
            f"{'faster' if whole > 0 else 'slower'} than the original's; by overlap: {shares}."
        )
        swaps = ", ".join(
            f"{row['overlap']} {number(row['swap_area'])}"
            for row in summary.to_dict("records")
            if math.isfinite(row["swap_area"])
        )
        if swaps:
            start.append(f"Changed alone, where such a network exists, over all learning: {swaps}.")
    primary = animals[animals["outcome"] == AREA]
    paragraphs = [" ".join(part) for part in (before, during, start) if part]
    paragraphs.extend(
        f"With the spread {row['spread']}{NOTE[row['spread']]} ({row['design']} design), "
        f"{row['statement']}"
        for row in primary.to_dict("records")
        if math.isfinite(row["n"])
    )
    if n_excluded:
        paragraphs.append(
            f"{n_excluded} of {n_excluded + len(behaviour)} networks were left out; see the "
            "reasons."
        )
    return tuple(paragraphs)
