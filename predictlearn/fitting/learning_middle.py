"""From a maximum of the likelihood to the one reported: its sign, its noise, its middle."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from predictlearn.fitting.learning_identifiability import Identified, centre, identify
from predictlearn.fitting.learning_likelihood import Fitted, Problem, convention
from predictlearn.fitting.learning_open import OnRidge, Ridge

__all__ = ["centred", "corrected", "signed"]

Array = npt.NDArray[np.float64]


def signed(problem: Problem, best: Fitted) -> Fitted:
    """Return the fit with the first vm positive where nothing measured tells the sign."""
    layout = problem.model.layout
    if isinstance(best, OnRidge):
        ridge = Ridge(problem)
        y = ridge.signed(best.y)
        return replace(best, x=ridge.straight.x(y), y=y)
    if not problem.pins:
        return best
    matrix = layout.matrix(best.x)
    signs = convention(layout, matrix)
    x = layout.pack(matrix * signs * signs[:, None], best.x[layout.n_overlaps :])
    return Fitted(x, best.group_sd, best.cost, best.converged)


def corrected(problem: Problem, best: Fitted) -> tuple[Array, Identified]:
    """Return the noise corrected for the parameters, and what it lets one identify."""
    data, layout = problem.model.data, problem.model.layout
    scales = layout.scales(layout.matrix(best.x))
    group_sd = best.group_sd
    if isinstance(best, OnRidge):
        return group_sd, identify(problem.natural_slopes(best.x, group_sd), scales)
    for _ in range(1 if data.noise.known else 3):
        found = identify(problem.natural_slopes(best.x, group_sd), scales)
        if data.noise.known:
            break
        group_sd = best.group_sd.copy()
        for g in (0, 1):
            rows = data.noise.group == g
            left = rows.sum() - found.leverage[: data.n][rows].sum()
            if rows.any() and left > 0.5:
                group_sd[g] *= np.sqrt(rows.sum() / left)
    return group_sd, found


def centred(problem: Problem, best: Fitted, max_iter: int) -> Fitted:
    """Move along unidentified directions to the middle of what is realisable."""
    layout = problem.model.layout
    if isinstance(best, OnRidge):
        return best
    for _ in range(3):
        # several open directions are curved: one move, and no more
        _, found = corrected(problem, best)
        natural = layout.natural(best.x)
        move = centre(natural, found.free, layout) - natural
        size = np.linalg.norm(move / layout.scales(layout.matrix(best.x)))
        if size < 1e-3:
            return best
        for share in (1.0, 0.5, 0.25):
            moved = natural + share * move
            x = layout.pack(layout.full(moved), moved[layout.n_overlaps :])
            polished = problem.improve(x, best.group_sd, min(max_iter, 30))
            # a straight direction costs nothing; a curved one may not be followed so far
            if polished is not None and polished.cost < best.cost + 0.05:
                best = polished
                break
        else:
            return best
        if found.free.shape[1] > 1:
            return best
    return best
