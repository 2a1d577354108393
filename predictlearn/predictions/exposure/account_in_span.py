"""Which overlaps account for the difference, for rules with feedback and in closed loops."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from predictlearn.predictions.base import Cohort
from predictlearn.predictions.exposure.pairs import mean_loss_over
from predictlearn.predictions.runs import run_all
from predictlearn.predictions.speed_in_span import speed_contributions_in_span, speed_in_span
from predictlearn.theory.equivalence.speed import probe_trials
from predictlearn.theory.learning.phases import Leg
from predictlearn.theory.overlaps import Overlaps

__all__ = ["account_in_span"]


def account_in_span(
    cohort: Cohort,
    twins: Sequence[Overlaps | None],
    original: np.ndarray,
    changed: np.ndarray,
    steps: np.ndarray,
    before: np.ndarray,
    phases: Sequence[Leg],
    seeds: Sequence[int],
    tau: float,
    n_jobs: int,
    learns: str,
) -> pd.DataFrame:
    """Return the account of `account_by_overlap` for rules with feedback and for closed loops."""
    probes = probe_trials(phases[0].task, seeds[-2])
    parts: list[pd.DataFrame] = []
    jobs: list[tuple[Overlaps, list[Leg], list[int]]] = []
    places: list[tuple[int, int, int]] = []
    for index, (start, twin) in enumerate(zip(cohort.starts, twins, strict=True)):
        if twin is None:
            continue
        how = (probes, phases[index].rule, tau, learns)
        part = speed_contributions_in_span(start, twin, *how)
        first, second = (speed_in_span(one, *how) for one in (start, twin))
        # the losses of a pair are those before learning, in the loop where it is closed
        part[["sensitivity", "contribution", "swap_speed"]] /= before[index]
        part.insert(0, "network", int(cohort.network[index]))
        part.insert(0, "draw", int(cohort.draw[index]))
        part["original_speed"] = first[0] / before[index]
        part["measured_total"] = (second[1] - first[1]) / before[index]
        part["swap_area"] = float("nan")
        if len(part) == 1:
            # the only change: the swapped network is the second one, and has learned already
            part["swap_area"] = float(mean_loss_over(steps, changed[index] - original[index]))
        else:
            for row, (name, swap) in enumerate(zip(part["overlap"], part["swap"], strict=True)):
                if swap == "realisable":
                    swapped = start.replace(**{name: twin[name]})
                    jobs.append((swapped, [phases[index]], [seeds[int(cohort.network[index])]]))
                    places.append((len(parts), row, index))
        parts.append(part)
    runs = run_all(jobs, "linear", tau, n_jobs, learns=learns)
    for (part_index, row, index), run in zip(places, runs, strict=True):
        if not run.failure:
            gap = run.losses[0] / before[index] - original[index]
            column = parts[part_index].columns.get_loc("swap_area")
            parts[part_index].iloc[row, column] = float(mean_loss_over(steps, gap))
    return pd.concat(parts, ignore_index=True)
