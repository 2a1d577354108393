"""What a recording cannot see, drawn from a stated prior among the realisable overlaps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import linalg

from predictlearn.checks import non_negative, positive_int, seed_sequence
from predictlearn.errors import InputError
from predictlearn.theory.names import (
    overlap_names,
    pathway_slices,
    recordable_names,
    table_pairs,
)
from predictlearn.theory.overlaps import Overlaps

__all__ = ["HiddenPrior"]


@dataclass(frozen=True)
class HiddenPrior:
    """Prior over zv, vv, zz and the gauge, given the overlaps that a recording shows.

    v and z are split into the part that lies in the span of m and u, which the recordable overlaps
    fix, and a private part outside it, which no recording shows. The prior is on

    - the private share of each v and z: the fraction of its squared norm outside the span,
      uniform between the two bounds;
    - the directions of the private parts relative to each other: independent and isotropic in as
      many dimensions as there are private vectors, so that zv is widely spread;
    - the gauge u -> c u, v -> v / c, which changes no activity: log c is normal about the balanced
      gauge, in which uu and vv have the same trace, where training from small loadings ends up.

    Every draw is positive semidefinite by construction.

    Parameters
    ----------
    private_share : (float, float), default (0.3, 0.95)
        Bounds of the private share, at least 0 and below 1.
    gauge_sd : float, default 0.35
        Standard deviation of log c; zero keeps the balanced gauge.

    Raises
    ------
    InputError
        If a bound is out of range.

    Examples
    --------
    >>> import predictlearn as pl
    >>> seen = {"zm": 0.5, "zu": 0.4, "vm": 0.6, "vu": 0.7, "mu": 0.1, "mm": 1.0, "uu": 1.0}
    >>> draws = pl.HiddenPrior().draw(seen, n=3, seed=0)
    >>> len(draws), round(float(draws[0].gauge_invariants()["zu*vm"]), 10)
    (3, 0.24)
    """

    private_share: tuple[float, float] = (0.3, 0.95)
    gauge_sd: float = 0.35

    def __post_init__(self) -> None:
        try:
            low, high = (float(x) for x in self.private_share)
        except (TypeError, ValueError) as error:
            raise InputError(
                f"private_share must be two numbers (low, high); got {self.private_share!r}."
            ) from error
        if not 0 <= low <= high < 1:
            raise InputError(
                f"private_share must satisfy 0 <= low <= high < 1; got ({low:g}, {high:g})."
            )
        object.__setattr__(self, "private_share", (low, high))
        object.__setattr__(self, "gauge_sd", non_negative("gauge_sd", self.gauge_sd))

    def statement(self) -> str:
        """Return the prior in one sentence, for a report."""
        low, high = self.private_share
        return (
            f"private share of v and z uniform on [{low:g}, {high:g}], "
            f"private directions isotropic, log gauge factor normal with sd {self.gauge_sd:g} "
            "about balanced uu and vv"
        )

    def draw(
        self,
        seen: Mapping[str, float] | pd.Series,
        n_in: int = 1,
        rank: int = 1,
        n_out: int = 1,
        n: int = 100,
        seed: int = 0,
    ) -> list[Overlaps]:
        """Draw complete overlaps that agree with what was seen, up to the gauge.

        Parameters
        ----------
        seen : mapping or pandas.Series
            The recordable overlaps by name, in any gauge; zz too if the readout is known (all of
            its entries). NaN counts as unseen.
        n_in, rank, n_out : int, default 1
            Sizes of the network.
        n : int, default 100
            Number of draws.
        seed : int, default 0
            Seed of the draws.

        Returns
        -------
        list of Overlaps
            `n` realisable tables.

        Raises
        ------
        InputError
            If a recordable overlap is missing, or those seen belong to no network.
        """
        n = positive_int("n", n)
        values = {str(k): float(x) for k, x in dict(seen).items() if np.isfinite(x)}
        missing = [name for name in recordable_names(n_in, rank, n_out) if name not in values]
        if missing:
            raise InputError(
                f"seen must hold every recordable overlap; missing or NaN: {', '.join(missing)}."
            )
        unknown = [name for name in values if name not in overlap_names(n_in, rank, n_out)]
        if unknown:
            raise InputError(f"seen names overlaps that do not exist: {', '.join(unknown)}.")
        where = pathway_slices(n_in, rank, n_out)
        dim = where["z"].stop
        known = np.full((dim, dim), np.nan)
        for name, (i, j) in table_pairs(n_in, rank, n_out).items():
            known[i, j] = known[j, i] = values.get(name, np.nan)
        span = slice(0, where["u"].stop)
        tail = slice(where["v"].start, dim)
        base = known[span, span]
        if np.linalg.eigvalsh(base)[0] <= 0:
            raise InputError(
                "the (m, u) block of seen must be positive definite; its smallest eigenvalue is "
                f"{np.linalg.eigvalsh(base)[0]:.3g}."
            )
        explained = known[tail, span] @ np.linalg.solve(base, known[span, tail])
        private_z = self._known_private(known[where["z"], where["z"]], explained[rank:, rank:])
        rng = np.random.default_rng(seed_sequence(seed))
        draws = []
        for _ in range(n):
            block = explained + self._private(explained, private_z, rank, n_out, rng)
            full = known.copy()
            full[tail, tail] = (block + block.T) / 2
            table = Overlaps(full, n_in, rank, n_out)
            balance = np.trace(table.block("v", "v")) / np.trace(table.block("u", "u"))
            scale = balance**0.25 * np.exp(self.gauge_sd * rng.standard_normal())
            draws.append(table.gauge(scale * np.eye(rank)))
        return draws

    @staticmethod
    def _known_private(zz: np.ndarray, explained: np.ndarray) -> np.ndarray | None:
        """Return a root of z's private overlaps if zz is known, else None."""
        if zz.size == 0 or not np.all(np.isfinite(zz)):
            return None
        values, vectors = np.linalg.eigh(zz - explained)
        if values[0] < -1e-8 * max(float(np.trace(zz)), 1e-300):
            raise InputError(
                "zz is smaller than zm and zu need it to be, so no network has these overlaps; the "
                f"private part of zz has the eigenvalue {values[0]:.3g}."
            )
        return vectors * np.sqrt(np.clip(values, 0.0, None))

    def _private(
        self,
        explained: np.ndarray,
        private_z: np.ndarray | None,
        rank: int,
        n_out: int,
        rng: np.random.Generator,
    ) -> np.ndarray:
        """Draw the overlaps of the private parts of (v, z), (rank + n_out, rank + n_out)."""
        size = rank + n_out
        share = rng.uniform(*self.private_share, size=size)
        power = np.empty(size)
        power[:rank] = np.trace(explained[:rank, :rank]) / rank
        power[rank:] = np.trace(explained[rank:, rank:]) / max(n_out, 1)
        lengths = np.sqrt(power * share / (1.0 - share))
        directions = rng.standard_normal((size, size))
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        vectors = lengths[:, None] * directions
        if private_z is not None:
            # z's private vectors lie along the last n_out axes with the known overlaps
            vectors[rank:] = linalg.block_diag(np.zeros((0, rank)), private_z)
        return vectors @ vectors.T
