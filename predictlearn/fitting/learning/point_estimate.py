"""From a maximum of the likelihood to the one reported: its sign, its noise, its middle.

A maximum of another kind, such as one on a ridge, registers its own way to each.
"""

from __future__ import annotations

from dataclasses import replace
from functools import singledispatch

import numpy as np

from predictlearn.arrays import Array
from predictlearn.fitting.learning.identifiability import Identified, centre, identify
from predictlearn.fitting.learning.likelihood import Fitted, SessionsProblem
from predictlearn.kept import once
from predictlearn.theory.gauge import canonical_transform, column_transform
from predictlearn.theory.names import pathway_slices

__all__ = ["centred", "corrected", "signed"]


def turned(problem: SessionsProblem, x: Array) -> Array:
    """Return x with u and v turned to the convention, where nothing measured tells the rotation.

    The axes are those of Gram-Schmidt on the columns of vm, vu vm, ...: v_k m_j = 0 for k > j, and
    what drives an axis first is positive.
    """
    layout = problem.model.layout
    if not problem.pins:
        return x
    where, (n_in, rank, n_out) = pathway_slices(*layout.sizes), layout.sizes
    matrix = layout.matrix(x)
    q = canonical_transform(
        np.eye(rank), matrix[where["v"], where["m"]], matrix[where["v"], where["u"]]
    )
    if np.allclose(q, np.eye(len(q)), rtol=0, atol=1e-12):
        return x
    turn = column_transform(q, n_in, n_out)
    return layout.pack(turn.T @ matrix @ turn, x[layout.n_overlaps :])


@singledispatch
def signed(best: Fitted, problem: SessionsProblem) -> Fitted:
    """Return the fit in the gauge of the convention; see `turned`."""
    return replace(best, x=turned(problem, best.x))


@singledispatch
def corrected(best: Fitted, problem: SessionsProblem) -> tuple[Array, Identified]:
    """Return the noise corrected for the parameters, and what it lets one identify."""
    data, layout = problem.model.data, problem.model.layout
    scales = layout.scales(layout.matrix(best.x))
    group_sd = best.group_sd
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


@singledispatch
def centred(best: Fitted, problem: SessionsProblem, max_iter: int) -> Fitted:
    """Move along unidentified directions to the middle of what is realisable."""
    layout = problem.model.layout
    for _ in range(3):
        # several open directions are curved: one move, and no more
        _, found = corrected(best, problem)
        natural = layout.natural(best.x)
        move = centre(natural, found.free, layout) - natural
        size = np.linalg.norm(move / layout.scales(layout.matrix(best.x)))
        if size < 1e-3:
            return best
        for share in (1.0, 0.5, 0.25):
            moved = natural + share * move
            x = layout.pack(layout.full(moved), moved[layout.n_overlaps :])
            polished = once(problem.improve, x, best.group_sd, min(max_iter, 30))
            # a straight direction costs nothing; a curved one may not be followed so far
            if polished is not None and polished.cost < best.cost + 0.05:
                best = polished
                break
        else:
            return best
        if found.free.shape[1] > 1:
            return best
    return best
