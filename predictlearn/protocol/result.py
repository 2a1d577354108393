"""What a protocol's run gives back: tidy tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd

from predictlearn.errors import InputError, choice
from predictlearn.protocol.animals import DROPPED_OUT
from predictlearn.protocol.engine import CRITERION, NetworkRecord, PhaseRecord
from predictlearn.protocol.state import AnyNetwork, span_of
from predictlearn.theory.loadings import Loadings
from predictlearn.theory.names import PATHWAYS, pathway_slices
from predictlearn.theory.overlaps import Overlaps

__all__ = ["ProtocolResult"]

_LABELS = ["arm", "network", "phase", "task", "session", "epoch", "phase_epoch"]
_MAPPINGS = ("settings", "neurons", "networks")


@dataclass(frozen=True)
class ProtocolResult:
    """The tables of a run.

    Parameters
    ----------
    name : str
        Name of the protocol.
    table : pandas.DataFrame
        One row per value: ``arm``, ``network`` (from 0), ``phase`` (its name), ``task`` (that the
        phase trains; empty for a change of readout), ``epoch`` (since the start of the arm),
        ``phase_epoch`` (since the start of the phase), ``quantity`` and ``value``. Quantities are
        ``loss`` (on the phase's task, on that epoch's trials), every overlap by name (where
        synapses have learned, the quantities of `Synapses.quantities` in their place), the
        ``alignment`` of feedback that is not the readout, and ``loss:TASK`` for each evaluated task
        at the first and the last epoch of a phase, on trials that are the same throughout. Where
        the protocol has sessions there is a column ``session`` (of the arm, from 1; what stands
        between two has the number of the one before) after ``task``. At the last row of a phase
        that trains to a criterion stand ``epochs_to_criterion``, NaN where it was not reached
        (then it is censored at the epochs of the phase), and ``criterion_reached``, 1 or 0. Row e
        holds the network before update e, so the last epoch of a phase and epoch 0 of the next are
        the same network. A network that diverged has a row of ``loss`` infinity at that epoch, and
        none after it.
    failed : pandas.DataFrame
        One row per network and arm that did not get through, because it diverged or dropped out:
        ``arm``, ``network``, ``phase``, ``task``, ``epoch``, ``phase_epoch``, ``reason``. Empty if
        all did. In the table an animal that drops out has a row of ``dropped_out``, 1, and none
        after it.
    starts : tuple of Overlaps
        The cohort's networks, before any arm replaced overlaps.
    seed : int
        Seed of the run.
    settings : mapping
        The protocol's content and the software version.
    neurons : mapping of (str, int, str) to numpy.ndarray, (N, D)
        Theta = [M U V Z] at the end of a phase, by arm, network and phase, for arms computed with
        engine network; see `loadings`.
    networks : mapping of (str, int, str) to Synapses, Factors or SynapticNetwork
        The network at the end of a phase, in its span or as neurons with synapses, for arms where
        overlaps do not say it all: synapses learn, errors have feedback of their own, or the
        output moves a world, or something is forgotten.
    animals : pandas.DataFrame
        One row per network: ``network``, ``arm`` in a design between animals, and what is its own:
        ``rate``, ``noise`` and ``epochs``, factors of those of the protocol, ``sessions``, how many
        it has of a phase at most, infinite where all of them, ``last_session`` and ``last_epoch``,
        after which it drops out, infinite if it does not.
    """

    name: str
    table: pd.DataFrame
    failed: pd.DataFrame
    starts: tuple[Overlaps, ...]
    seed: int
    settings: Mapping[str, Any]
    neurons: Mapping[tuple[str, int, str], np.ndarray] = field(default_factory=dict)
    networks: Mapping[tuple[str, int, str], AnyNetwork] = field(default_factory=dict)
    animals: pd.DataFrame = field(default_factory=pd.DataFrame)

    @property
    def arms(self) -> tuple[str, ...]:
        """Names of the arms."""
        return tuple(self.settings["arms"])

    @property
    def design(self) -> str:
        """``within``: every network goes through all arms; ``between``: through one."""
        return str(self.settings["cohort"].get("design", "within"))

    @property
    def n_courses(self) -> int:
        """How often a network goes through an arm."""
        return self.n_networks * (1 if self.design == "between" else len(self.arms))

    @property
    def n_networks(self) -> int:
        """Number of networks."""
        return len(self.starts)

    @property
    def overlap_names(self) -> tuple[str, ...]:
        """Names of the overlaps."""
        return self.starts[0].names

    def curves(self, arm: str, quantity: str = "loss") -> pd.DataFrame:
        """Return one quantity along an arm, a column per network.

        Parameters
        ----------
        arm : str
            Name of the arm.
        quantity : str, default "loss"
            A quantity of the table.

        Returns
        -------
        pandas.DataFrame
            Rows by (phase, epoch, phase_epoch), with session after phase where there are sessions,
            in the order of the arm; columns are networks, NaN from where a network had failed.

        Raises
        ------
        InputError
            If there is no such arm or quantity.
        """
        choice("arm", arm, self.arms)
        choice("quantity", quantity, self.table["quantity"].unique().tolist())
        rows = self.table[(self.table["arm"] == arm) & (self.table["quantity"] == quantity)]
        order = {phase: k for k, phase in enumerate(rows["phase"].unique())}
        session = ["session"] if "session" in rows else []
        wide = rows.pivot_table(
            index=["phase", *session, "epoch", "phase_epoch"],
            columns="network",
            values="value",
            aggfunc="first",
            sort=False,
        )
        return wide.sort_index(key=lambda keys: keys.map(order) if keys.name == "phase" else keys)

    def final_table(self, arm: str) -> pd.DataFrame:
        """Return the overlaps at the end of an arm.

        Parameters
        ----------
        arm : str
            Name of the arm.

        Returns
        -------
        pandas.DataFrame
            A row per network that got through, columns the overlaps; where synapses have learned,
            their quantities.

        Raises
        ------
        InputError
            If there is no such arm.
        """
        return self._edge(arm, last=True)

    def start_table(self, arm: str) -> pd.DataFrame:
        """Return the overlaps at the start of an arm, replaced ones in place; see `final_table`."""
        return self._edge(arm, last=False)

    def _edge(self, arm: str, last: bool) -> pd.DataFrame:
        """Return the first or last overlaps of every network that got through an arm."""
        choice("arm", arm, self.arms)
        lost = set(self.failed.loc[self.failed["arm"] == arm, "network"]) if last else set()
        rows = self.table[(self.table["arm"] == arm) & ~self.table["network"].isin(lost)]
        names = _names(rows, last, self.overlap_names)
        grouped = rows[rows["quantity"].isin(names)].groupby(["network", "quantity"], sort=False)
        edge = (grouped["value"].last() if last else grouped["value"].first()).unstack("quantity")
        return edge.reindex(columns=list(names)).sort_index()

    def final(self, arm: str) -> dict[int, Any]:
        """Return the networks at the end of an arm.

        Parameters
        ----------
        arm : str
            Name of the arm.

        Returns
        -------
        dict of int to Overlaps, or to Synapses where these have learned
            By network; those listed in `failed` for this arm are absent.

        Raises
        ------
        InputError
            If there is no such arm.
        """
        sizes = self.starts[0].sizes
        table = self.final_table(arm)
        if tuple(table.columns) != self.overlap_names:
            last = {k: network for (a, k, _), network in self.networks.items() if a == arm}
            return {int(k): last[int(k)] for k in table.index}
        return {
            int(k): Overlaps.from_series(dict(zip(table.columns, row, strict=True)), *sizes)
            for k, row in zip(table.index, table.to_numpy(), strict=True)
        }

    def loadings(self, arm: str, network: int, phase: str | None = None) -> Loadings:
        """Return the loadings of a network of neurons at the end of a phase.

        Parameters
        ----------
        arm : str
            Name of an arm with engine network.
        network : int
            Number of the network, from 0.
        phase : str, optional
            Name of the phase; the last one that the network got through if not given.

        Returns
        -------
        Loadings
            m, u, v, z of every neuron.

        Raises
        ------
        InputError
            If there is no such arm, network or phase, or the arm has no neurons.
        """
        choice("arm", arm, self.arms)
        if network not in range(self.n_networks):
            raise InputError(
                f"network must be a whole number from 0 to {self.n_networks - 1}; got {network!r}."
            )
        phases = [p for a, n, p in self.neurons if (a, n) == (arm, network)]
        if not phases:
            raise InputError(
                f"there are no loadings of arm {arm!r}, network {network}: it has engine theory, "
                "or failed in its first phase."
            )
        at = phases[-1] if phase is None else choice("phase", phase, phases)
        theta = self.neurons[arm, network, at]
        where = pathway_slices(*self.starts[0].sizes)
        return Loadings(*(theta[:, where[pathway]] for pathway in PATHWAYS))

    @classmethod
    def collect(
        cls,
        name: str,
        records: Iterable[NetworkRecord],
        starts: Sequence[Overlaps],
        evaluated: Sequence[str],
        seed: int,
        settings: Mapping[str, Any],
        animals: pd.DataFrame | None = None,
    ) -> ProtocolResult:
        """Return the result made of the records of all networks, in their order."""
        parts: list[pd.DataFrame] = []
        failed: list[dict[str, Any]] = []
        neurons: dict[tuple[str, int, str], np.ndarray] = {}
        networks: dict[tuple[str, int, str], AnyNetwork] = {}
        for record in records:
            networks |= {
                (phase.arm, record.network, phase.phase): span_of(
                    phase.learner, phase.stacked, starts[0].sizes
                )
                for phase in record.phases
                if phase.learner
            }
            neurons |= {
                (phase.arm, record.network, phase.phase): phase.loadings
                for phase in record.phases
                if len(phase.loadings)
            }
            parts += [_rows(phase, record.network, evaluated) for phase in record.phases]
            for failure in record.failures:
                labels = {
                    "arm": failure.arm,
                    "network": record.network,
                    "phase": failure.phase,
                    "task": failure.task,
                    "session": failure.session,
                    "epoch": failure.before + failure.epoch,
                    "phase_epoch": failure.epoch,
                }
                failed.append({**labels, "reason": failure.reason})
                said = {"quantity": "loss", "value": np.inf}
                if failure.dropped_out:
                    said = {"quantity": DROPPED_OUT, "value": 1.0}
                parts.append(pd.DataFrame([{**labels, **said}]))
        table = pd.concat(parts, ignore_index=True)
        lost = pd.DataFrame(failed, columns=[*_LABELS, "reason"])
        in_sessions = settings.get("sessions") is not None
        if not in_sessions:
            table, lost = table.drop(columns="session"), lost.drop(columns="session")
        for frame in (table, lost):
            for column in ("epoch", "phase_epoch"):
                if bool((frame[column] % 1 == 0).all()):
                    frame[column] = frame[column].astype("int64")
        frozen = MappingProxyType(dict(settings))
        held = (MappingProxyType(neurons), MappingProxyType(networks))
        own = pd.DataFrame() if animals is None else animals
        return cls(name, table, lost, tuple(starts), seed, frozen, *held, own)

    def __getstate__(self) -> dict[str, Any]:
        plain = {name: dict(getattr(self, name)) for name in _MAPPINGS}
        return {**self.__dict__, **plain}

    def __setstate__(self, state: dict[str, Any]) -> None:
        frozen = {name: MappingProxyType(state[name]) for name in _MAPPINGS}
        self.__dict__.update({**state, **frozen})


def _names(rows: pd.DataFrame, last: bool, overlaps: tuple[str, ...]) -> tuple[str, ...]:
    """Return the quantities of the first or the last phase, which are the overlaps of factors."""
    of_phases = ["loss", DROPPED_OUT, *CRITERION]
    kept = rows[~(rows["quantity"].isin(of_phases) | rows["quantity"].str.startswith("loss:"))]
    if kept.empty:
        return overlaps
    at = kept["phase"].iloc[-1 if last else 0]
    found = tuple(kept.loc[kept["phase"] == at, "quantity"].unique())
    return overlaps if set(overlaps) <= set(found) else found


def _rows(phase: PhaseRecord, network: int, evaluated: Sequence[str]) -> pd.DataFrame:
    """Return one phase of one network in tidy form: epochs in order within a quantity."""
    ends = phase.epochs[[0, -1]] if phase.evaluations.shape[1] == 2 else phase.epochs[[0]]
    blocks = [("loss", phase.epochs, phase.losses)] if phase.losses.size else []
    blocks += [(name, phase.epochs, phase.values[:, k]) for k, name in enumerate(phase.names)]
    blocks += [(f"loss:{t}", ends, phase.evaluations[k]) for k, t in enumerate(evaluated)]
    blocks += [
        (name, phase.epochs[-1:], phase.measured[[k]]) for k, name in enumerate(phase.outcomes)
    ]
    epochs = np.concatenate([block[1] for block in blocks])
    return pd.DataFrame(
        {
            "arm": phase.arm,
            "network": network,
            "phase": phase.phase,
            "task": phase.task,
            "session": phase.session,
            "epoch": phase.before + epochs,
            "phase_epoch": epochs,
            "quantity": np.repeat([b[0] for b in blocks], [len(b[1]) for b in blocks]),
            "value": np.concatenate([block[2] for block in blocks]),
        }
    )
