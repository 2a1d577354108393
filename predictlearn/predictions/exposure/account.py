"""Which overlaps account for the difference between equivalent networks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from predictlearn.predictions.base import Cohort
from predictlearn.predictions.exposure.pairs import mean_loss_over
from predictlearn.predictions.learning_speed import (
    learning_speed,
    mean_loss,
    probe_trials,
    speed_contributions,
)
from predictlearn.predictions.runs import run_all
from predictlearn.predictions.speed_in_span import speed_contributions_in_span, speed_in_span
from predictlearn.theory.learning.phases import Leg
from predictlearn.theory.overlaps import Overlaps


def account_by_overlap(
    cohort: Cohort,
    twins: Sequence[Overlaps | None],
    original: np.ndarray,
    changed: np.ndarray,
    steps: np.ndarray,
    before: np.ndarray,
    phases: Sequence[Leg],
    seeds: Sequence[int],
    nonlinearity: str,
    tau: float,
    n_jobs: int,
    learns: str = "factors",
    in_span: bool = False,
) -> pd.DataFrame:
    """Split the difference in speed by overlap, and learn with each entry swapped alone.

    Rules with feedback of their own and closed loops (`in_span`) have a speed that the overlaps of
    a network alone do not give: it is found in the span of its vectors.
    """
    probes = probe_trials(phases[0].task, seeds[-2])
    parts: list[pd.DataFrame] = []
    jobs: list[tuple[Overlaps, list[Leg], list[int]]] = []
    places: list[tuple[int, int, int]] = []
    for index, (start, twin) in enumerate(zip(cohort.starts, twins, strict=True)):
        if twin is None:
            continue
        rule: Any = phases[index].rule
        if in_span:
            part = speed_contributions_in_span(start, twin, probes, rule, tau, learns)
            speeds = [speed_in_span(one, probes, rule, tau, learns) for one in (start, twin)]
            # the losses of a pair are those before learning, in the loop where it is closed
            unit = float(before[index])
        else:
            how = (probes, rule, nonlinearity, tau, learns)
            part = speed_contributions(start, twin, *how)
            speeds = [learning_speed(one, *how) for one in (start, twin)]
            unit = mean_loss(start, probes, nonlinearity, tau)
        part[["sensitivity", "contribution", "swap_speed"]] /= unit
        part.insert(0, "network", int(cohort.network[index]))
        part.insert(0, "draw", int(cohort.draw[index]))
        part["original_speed"] = speeds[0][0] / unit
        part["measured_total"] = (speeds[1][1] - speeds[0][1]) / unit
        part["swap_area"] = float("nan")
        for row, (name, swap) in enumerate(zip(part["overlap"], part["swap"], strict=True)):
            if len(part) == 1:
                # the only change: the swapped network is the second one, and has learned already
                part["swap_area"] = float(mean_loss_over(steps, changed[index] - original[index]))
            elif swap == "realisable":
                swapped = start.replace(**{name: twin[name]})
                jobs.append((swapped, [phases[index]], [seeds[int(cohort.network[index])]]))
                places.append((len(parts), row, index))
        parts.append(part)
    for (part_index, row, index), run in zip(
        places, run_all(jobs, nonlinearity, tau, n_jobs, learns=learns), strict=True
    ):
        if not run.failure:
            gap = run.losses[0] / before[index] - original[index]
            column = parts[part_index].columns.get_loc("swap_area")
            parts[part_index].iloc[row, column] = float(mean_loss_over(steps, gap))
    return pd.concat(parts, ignore_index=True)


def summarise_account(account: pd.DataFrame) -> pd.DataFrame:
    """Return the account by overlap: averaged over networks, with its band over draws."""
    rows = []
    total = account.groupby(["draw", "network"])["contribution"].sum()
    for name, part in account.groupby("overlap", sort=False):
        per_draw = part.groupby("draw")["contribution"].mean()
        low, high = np.quantile(per_draw, [0.025, 0.975])
        mean = float(per_draw.mean())
        whole = float(total.groupby("draw").mean().mean())
        possible = part["swap"] == "realisable"
        rows.append(
            {
                "overlap": name,
                "contribution": mean,
                "low": float(low),
                "high": float(high),
                "share": mean / whole if whole != 0 else float("nan"),
                "swaps_realisable": int(possible.sum()),
                "swaps": len(part),
                "swap_speed": float(part.loc[possible, "swap_speed"].mean()),
                "swap_area": float(part.loc[possible, "swap_area"].mean()),
            }
        )
    summary = pd.DataFrame(rows)
    speed = account.groupby(["draw", "network"])["original_speed"].first().mean()
    summary["relative_to_original_speed"] = (
        summary["contribution"] / speed if speed else float("nan")
    )
    return summary
