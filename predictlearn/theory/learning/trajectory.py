"""Trajectory: the overlaps and the loss along learning."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd

from predictlearn.theory.names import table_pairs
from predictlearn.theory.overlaps import Overlaps

__all__ = ["Trajectory"]


@dataclass(frozen=True)
class Trajectory:
    """Overlaps and loss along learning; row e holds the overlaps before update e.

    Parameters
    ----------
    array : numpy.ndarray, (rows, D, D)
        Overlap matrices, the start first and the final state last.
    epochs : numpy.ndarray, (rows,)
        Epoch of each row; learning time, in units of 1 / rate, for gradient flow.
    losses : numpy.ndarray
        Loss at each of `loss_epochs`, on that epoch's trials and clean targets.
    loss_epochs : numpy.ndarray
        Where the loss was taken: every epoch, 0 to the last.
    sizes : tuple of int
        (n_in, rank, n_out).
    seed : int
        Seed of trials and noise.
    settings : mapping
        Task, rule, nonlinearity, tau and software version, as text.

    Examples
    --------
    >>> import predictlearn as pl
    >>> start = pl.Overlaps(np.eye(4)).replace(zm=0.1, zu=0.1, vm=0.1)
    >>> learned = pl.learn(start, pl.Filter(), pl.GradientDescent(5e-3), 20)
    >>> learned.overlaps.shape, bool(learned.losses[-1] < learned.losses[0])
    ((21, 10), True)
    """

    array: np.ndarray
    epochs: np.ndarray
    losses: np.ndarray
    loss_epochs: np.ndarray
    sizes: tuple[int, int, int]
    seed: int
    settings: Mapping[str, Any]

    def __post_init__(self) -> None:
        for name in ("array", "epochs", "losses", "loss_epochs"):
            array = np.asarray(getattr(self, name))
            array.flags.writeable = False
            object.__setattr__(self, name, array)
        object.__setattr__(self, "settings", MappingProxyType(dict(self.settings)))

    @property
    def overlaps(self) -> pd.DataFrame:
        """Overlaps by name, one row an epoch kept."""
        pairs = table_pairs(*self.sizes)
        rows, columns = zip(*pairs.values(), strict=True)
        return pd.DataFrame(
            self.array[:, list(rows), list(columns)],
            index=pd.Index(self.epochs, name="epoch"),
            columns=list(pairs),
        )

    @property
    def loss(self) -> pd.Series:
        """Loss by epoch."""
        return pd.Series(self.losses, index=pd.Index(self.loss_epochs, name="epoch"), name="loss")

    @property
    def start(self) -> Overlaps:
        """Overlaps before learning."""
        return Overlaps(self.array[0], *self.sizes)

    @property
    def final(self) -> Overlaps:
        """Overlaps after the last update; InputError if descent in S left the realisable ones."""
        return Overlaps(self.array[-1], *self.sizes)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "settings": dict(self.settings)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        object.__setattr__(self, "settings", MappingProxyType(self.settings))
