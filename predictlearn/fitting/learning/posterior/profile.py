"""Profile-likelihood intervals: how far one number can be held away from its estimate."""

from __future__ import annotations

import numpy as np

from predictlearn.fitting.learning.likelihood import Fitted, SessionsProblem
from predictlearn.kept import once

__all__ = ["profile_ends"]


def profile_ends(
    problem: SessionsProblem, best: Fitted, k: int, sd: float, drop: float, max_iter: int
) -> list[float]:
    """Return the two values of natural parameter k where the log likelihood fell by `drop`.

    The noise is held at its fitted value. An end not found within eight standard deviations is
    infinite.
    """
    layout = problem.model.layout
    natural = layout.natural(best.x)
    unit = np.zeros(len(layout.names))
    unit[k] = 1.0
    ends = []
    for side in (-1.0, 1.0):
        x, inner, outer = best.x, 0.0, np.inf
        step = np.sqrt(2 * drop)
        for _ in range(12):
            value = natural[k] + side * step * sd
            held = problem.held(unit, value)
            found = once(held.improve, x, best.group_sd, max_iter)
            fall = np.inf if found is None else found.cost - best.cost
            if found is not None and abs(layout.natural(found.x)[k] - value) > 0.1 * sd:
                fall = np.inf  # no network has this value
            if abs(fall - drop) < 0.01 * drop:
                inner = outer = step
                break
            if fall < drop:
                inner = step
                x = best.x if found is None else found.x
            else:
                outer = step
            if np.isfinite(outer):
                step = 0.5 * (inner + outer)
            else:
                step = min(inner * float(np.sqrt(drop / max(fall, 0.2 * drop))) * 1.05, 8.0)
                if inner >= 8.0:
                    break
        end = inner if np.isfinite(outer) else np.inf
        ends.append(natural[k] + side * end * sd)
    return ends
