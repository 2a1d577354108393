"""What training N neurons gives: quantities and loss along the way, and the network at its end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd

from predictlearn.theory.learning.trajectory import Trajectory
from predictlearn.theory.loadings import Loadings
from predictlearn.theory.synapses.network import Synapses, SynapticNetwork

__all__ = ["NetworkTrajectory", "SynapticNetworkTrajectory", "quantities_of"]

# Singular values of W that are kept.
_LARGEST = 8


@dataclass(frozen=True)
class NetworkTrajectory(Trajectory):
    """A trajectory measured on N neurons, with the loadings at its end.

    Parameters
    ----------
    loadings : Loadings
        m, u, v, z after the last update.
    feedback : numpy.ndarray, (N, n_out), or None
        B, under a rule with feedback of its own.
    alignments : numpy.ndarray, (rows,), or None
        Cosine between feedback and readout in each row.
    """

    loadings: Loadings
    feedback: np.ndarray | None = None
    alignments: np.ndarray | None = None

    @property
    def alignment(self) -> pd.Series:
        """Cosine between feedback and readout, one row an epoch kept; NaN without feedback."""
        values = np.full(len(self.epochs), np.nan) if self.alignments is None else self.alignments
        return pd.Series(values, index=pd.Index(self.epochs, name="epoch"), name="alignment")


@dataclass(frozen=True)
class SynapticNetworkTrajectory:
    """What was measured on N neurons whose synapses learn, and the networks at both ends.

    Parameters
    ----------
    quantities : pandas.DataFrame
        One row an epoch kept: ``zm``, ``zwm``, ``zwwm``, what the function of a linear network is
        made of; ``mm``, ``zz``, ``ww``, squared norms; ``w1`` to ``w8``, the largest singular
        values of W. See `Synapses.quantities`.
    alignments : numpy.ndarray, (rows,)
        Cosine between feedback and readout; NaN without feedback.
    epochs : numpy.ndarray, (rows,)
        Epoch of each row.
    losses : numpy.ndarray
        Loss at each of `loss_epochs`, on that epoch's trials and clean targets, without noise in
        neurons.
    loss_epochs : numpy.ndarray
        Every epoch, 0 to the last.
    start, final : SynapticNetwork
        The network before learning, with its feedback, and after the last update.
    seed : int
        Seed of trials and noise.
    settings : mapping
        Task, rule, what learns, nonlinearity, tau, N and software version, as text.
    """

    quantities: pd.DataFrame
    alignments: np.ndarray
    epochs: np.ndarray
    losses: np.ndarray
    loss_epochs: np.ndarray
    start: SynapticNetwork
    final: SynapticNetwork
    seed: int
    settings: Mapping[str, Any]

    def __post_init__(self) -> None:
        for name in ("alignments", "epochs", "losses", "loss_epochs"):
            getattr(self, name).flags.writeable = False
        object.__setattr__(self, "settings", MappingProxyType(dict(self.settings)))

    @property
    def loss(self) -> pd.Series:
        """Loss by epoch."""
        return pd.Series(self.losses, index=pd.Index(self.loss_epochs, name="epoch"), name="loss")

    @property
    def alignment(self) -> pd.Series:
        """Cosine between feedback and readout, one row an epoch kept; NaN without feedback."""
        index = pd.Index(self.epochs, name="epoch")
        return pd.Series(self.alignments, index=index, name="alignment")

    @property
    def drift(self) -> float:
        """Largest change of M M' / N + W W' - W' W - Z Z' / N, as `SynapticTrajectory.drift`.

        That of an eigenvalue, start to end: it is meant whatever directions neurons are given in.
        """
        change = _scaled(self.final).conserved() - _scaled(self.start).conserved()
        return float(np.abs(np.linalg.eigvalsh(change)).max())

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "settings": dict(self.settings)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        object.__setattr__(self, "settings", MappingProxyType(self.settings))


def _scaled(network: SynapticNetwork) -> Synapses:
    """Return N neurons as a network in a span of N dimensions."""
    root = np.sqrt(network.n_neurons)
    return Synapses(network.m / root, network.w, network.z / root)


def quantities_of(network: SynapticNetwork) -> pd.Series:
    """Return what is kept of N neurons along learning; see `SynapticNetworkTrajectory`."""
    found = _scaled(network).quantities()
    few = {f"w{k + 1}" for k in range(_LARGEST)}
    many = {f"{letter}{k + 1}" for letter in "wc" for k in range(network.n_neurons)} - few
    return found[[name for name in found.index if name not in many]]
