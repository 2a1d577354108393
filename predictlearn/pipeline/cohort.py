"""Cohorts around a recorded animal: what the recording hides, and how animals differ."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from predictlearn.checks import non_negative, positive_int, seed_sequence
from predictlearn.theory.hidden_prior import HiddenPrior
from predictlearn.theory.names import pathway_slices
from predictlearn.theory.overlaps import Overlaps

__all__ = ["animals_like", "cohort_of"]


def animals_like(
    starts: Sequence[Overlaps], n: int, spread: float = 0.1, seed: int = 0, *, fixed: str = ""
) -> list[list[Overlaps]]:
    """Return animals whose loading vectors differ at random from the recorded ones.

    Each animal's vectors are Theta B, B = 1 + spread L^-1 G L / sqrt(D), with L the lengths of the
    vectors and G normal: every vector gains, relative to its length, random amounts of all the
    others. The overlaps B' S B are realisable by construction, and an animal has the same G in
    every draw.

    Parameters
    ----------
    starts : sequence of Overlaps
        Draws of what the recording could not tell.
    n : int
        Animals.
    spread : float, default 0.1
        Typical relative size of the differences: an assumption, since one recording does not show
        how animals differ.
    seed : int, default 0
        Seed of the animals.
    fixed : str, default ""
        Pathways that are the same in all animals, such as ``"z"`` for a readout that the
        experimenter sets.

    Returns
    -------
    list of list of Overlaps
        By draw and animal.

    Raises
    ------
    InputError
        If a number is out of range.

    Examples
    --------
    >>> cohort = animals_like([Overlaps(np.eye(4))], n=3, seed=0)
    >>> len(cohort), len(cohort[0])
    (1, 3)
    """
    n, spread = positive_int("n", n), non_negative("spread", spread)
    rng = np.random.default_rng(seed_sequence(seed))
    dim = starts[0].dim
    shifts = rng.standard_normal((n, dim, dim)) / np.sqrt(dim)
    where = pathway_slices(*starts[0].sizes)
    for pathway in fixed:
        shifts[:, :, where[pathway]] = 0.0
    cohort = []
    for start in starts:
        length = np.sqrt(np.diag(start.matrix))
        relative = spread * shifts * length / length[:, None]
        changes = np.eye(dim) + relative
        cohort.append([Overlaps(b.T @ start.matrix @ b, *start.sizes) for b in changes])
    return cohort


def cohort_of(
    seen: pd.Series,
    sizes: tuple[int, int, int],
    prior: HiddenPrior,
    *,
    n_draws: int,
    n_animals: int,
    spread: float,
    seed: int,
    fixed: str = "",
) -> list[list[Overlaps]]:
    """Return draws of the hidden overlaps, each with its animals.

    Parameters
    ----------
    seen : pandas.Series
        Overlaps that the recording shows, NaN for the others.
    sizes : (int, int, int)
        (n_in, rank, n_out).
    prior : HiddenPrior
        Prior over what it hides.
    n_draws, n_animals : int
        Draws, and animals in each.
    spread : float
        See `animals_like`.
    seed : int
        Seed of draws and animals.
    fixed : str
        See `animals_like`.

    Returns
    -------
    list of list of Overlaps
        By draw and animal.

    Raises
    ------
    InputError
        If what was seen belongs to no network.
    """
    draws = prior.draw(seen, *sizes, n=n_draws, seed=seed)
    return animals_like(draws, n_animals, spread, seed + 1, fixed=fixed)
