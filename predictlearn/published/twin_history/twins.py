"""Twins: the same network with two histories, and what can be read from their overlaps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from predictlearn.errors import InputError
from predictlearn.published.twin_history.history_decoding import decode_history
from predictlearn.statistics.corrections import correct_p
from predictlearn.statistics.resampling import sign_flip_test
from predictlearn.theory.names import invisible_names, visible_names
from predictlearn.theory.overlaps import Overlaps

if TYPE_CHECKING:
    from predictlearn.protocol import ProtocolResult

__all__ = [
    "GAUGES",
    "NOISES",
    "SEEN",
    "TIMES",
    "Twins",
    "course_table",
    "decoding_table",
    "difference_table",
    "features",
    "noise_table",
    "unrealisable",
]

TIMES = ("before", "after first", "after third")
GAUGES = ("raw", "canonical")
SEEN = ("visible", "invisible")
NOISES = {"none": (0.0, "features"), "0.3": (0.3, "features"), "0.3 spreads": (0.3, "spreads")}
"""Noise on training features: none, of sd 0.3, of 0.3 times each feature's sd over networks."""


@dataclass(frozen=True)
class Twins:
    """The overlaps of all pairs at three times, and along the third task.

    Parameters
    ----------
    histories : (str, str)
        Names of the two arms.
    pairs : tuple of int
        Networks of the cohort whose twins both got through.
    states : mapping of str to (pandas.DataFrame, pandas.DataFrame)
        Overlaps of the twins by time, in the order of `histories`; a row a pair.
    course : mapping of int to (pandas.DataFrame, pandas.DataFrame)
        The same at every recorded epoch of the last phase, counted from its start.
    losses : pandas.DataFrame
        By (history, pair): ``first`` and ``third``, the mean recorded loss in the last twentieth of
        a phase; ``below`` the epoch of the first phase at which the recorded loss was first below
        the criterion, NaN if never.
    """

    histories: tuple[str, str]
    pairs: tuple[int, ...]
    states: Mapping[str, tuple[pd.DataFrame, pd.DataFrame]]
    course: Mapping[int, tuple[pd.DataFrame, pd.DataFrame]]
    losses: pd.DataFrame

    @classmethod
    def of(cls, result: ProtocolResult, criterion: float) -> Twins:
        """Return the twins of a protocol with two arms of two phases each.

        Parameters
        ----------
        result : ProtocolResult
            The run.
        criterion : float
            Loss under which the first task counts as learned.

        Returns
        -------
        Twins
            Pairs of which a twin failed are left out.

        Raises
        ------
        InputError
            If the protocol does not have two arms of two phases, or no pair got through.
        """
        if len(result.arms) != 2:
            raise InputError(f"a protocol of twins has two arms; got {len(result.arms)}.")
        finals = [result.final_table(arm) for arm in result.arms]
        pairs = finals[0].index.intersection(finals[1].index)
        if pairs.empty:
            raise InputError("no pair of twins got through both arms.")
        ends: dict[str, list[pd.DataFrame]] = {time: [] for time in TIMES}
        tracks = []
        losses = []
        for arm in result.arms:
            table = result.table[(result.table["arm"] == arm) & result.table["network"].isin(pairs)]
            phases = table["phase"].unique()
            if len(phases) != 2:
                raise InputError(f"an arm of twins has two phases; {arm!r} has {len(phases)}.")
            wide = table.pivot(
                index=["phase", "phase_epoch", "network"], columns="quantity", values="value"
            )
            overlaps = wide[list(result.overlap_names)]
            early, late = (overlaps.xs(phase) for phase in phases)
            for time, part, epoch in (
                ("before", early, 0),
                ("after first", early, early.index[-1][0]),
                ("after third", late, late.index[-1][0]),
            ):
                ends[time].append(part.xs(epoch))
            tracks.append(late)
            losses.append(_losses(wide["loss"], phases, criterion))
        epochs = tracks[0].index.unique("phase_epoch")
        return cls(
            (result.arms[0], result.arms[1]),
            tuple(int(pair) for pair in pairs),
            {time: (pair[0], pair[1]) for time, pair in ends.items()},
            {int(e): (tracks[0].xs(e), tracks[1].xs(e)) for e in epochs},
            pd.concat(dict(zip(result.arms, losses, strict=True)), names=["history"]),
        )


def _losses(loss: pd.Series, phases: Sequence[str], criterion: float) -> pd.DataFrame:
    """Return for every network how well it learned in either phase."""
    first, third = (loss.xs(phase).unstack("network") for phase in phases)
    late = [frame.iloc[-max(1, len(frame) // 20) :].mean() for frame in (first, third)]
    below = (first < criterion).idxmax().where((first < criterion).any())
    return pd.DataFrame({"first": late[0], "third": late[1], "below": below}).rename_axis("pair")


def features(table: pd.DataFrame, seen: str, gauge: str = "raw") -> pd.DataFrame:
    """Return what of the overlaps the loss of an erf network sees, or what it does not.

    Parameters
    ----------
    table : pandas.DataFrame
        Overlaps of networks of rank one, with one input and one output.
    seen : {"visible", "invisible"}
        Which.
    gauge : {"raw", "canonical"}
        As they are, or in the canonical gauge, in which networks of the same function agree in all
        visible overlaps; there uu is 1 and left out.

    Returns
    -------
    pandas.DataFrame
        The same rows.

    Examples
    --------
    >>> table = pd.DataFrame([Overlaps(np.eye(4)).gauge(2.0).to_series()])
    >>> features(table, "invisible", "canonical").to_numpy().round(6).tolist()
    [[0.0, 1.0, 1.0]]
    """
    choose = visible_names if seen == "visible" else invisible_names
    names = [*choose(nonlinearity="erf")]
    if gauge == "canonical":
        names = [name for name in names if name != "uu"]
        rows = [Overlaps.from_series(row).canonical().to_series() for _, row in table.iterrows()]
        table = pd.DataFrame(rows, index=table.index)
    return table[names]


def decoding_table(twins: Twins, seed: int = 0) -> pd.DataFrame:
    """Return how well the first task is decoded, in all ways.

    Parameters
    ----------
    twins : Twins
        The pairs; four at least.
    seed : int, default 0
        Seed of splits and noise.

    Returns
    -------
    pandas.DataFrame
        A row each by ``time``, ``gauge``, ``seen``, ``noise`` (one of `NOISES`) and ``together``
        (whether the twins of a pair were kept on one side of the split; where not, for raw overlaps
        only): ``accuracy``; ``low`` and ``high``, the range of 95% of exchanges of labels within
        pairs; ``p``, the share of exchanges that decode as well; ``pairs``, how many of the pairs
        were decoded more often right than wrong.
    """
    rows = []
    for time in TIMES:
        for gauge in GAUGES:
            for seen in SEEN:
                first, second = (features(t, seen, gauge).to_numpy() for t in twins.states[time])
                for noise, (size, unit) in NOISES.items():
                    for together in (True, False) if gauge == "raw" else (True,):
                        found = decode_history(
                            first, second, noise=size, noise_in=unit, together=together, seed=seed
                        )
                        low, high = found.band
                        above = int(np.sum(found.by_pair > 0.5))
                        key = (time, gauge, seen, noise, together)
                        rows.append((*key, found.accuracy, low, high, found.p, above))
    key_names = ["time", "gauge", "seen", "noise", "together"]
    return pd.DataFrame(rows, columns=[*key_names, "accuracy", "low", "high", "p", "pairs"])


def course_table(
    twins: Twins, gauge: str = "raw", noise: float = 0.3, points: int = 16, seed: int = 0
) -> pd.DataFrame:
    """Return how well the first task is decoded along the third, pairs kept together.

    Parameters
    ----------
    twins : Twins
        The pairs.
    gauge : {"raw", "canonical"}
        See `features`.
    noise : float, default 0.3
        On the training features, in their own units.
    points : int, default 16
        Epochs to look at, denser at first.
    seed : int, default 0
        Seed of splits and noise.

    Returns
    -------
    pandas.DataFrame
        Columns ``epoch``, ``seen``, ``accuracy``, ``low``, ``high``, ``p``.
    """
    epochs = np.array(sorted(twins.course))
    wanted = epochs[-1] * np.linspace(0.0, 1.0, points) ** 2
    chosen = np.unique(np.abs(epochs[:, None] - wanted).argmin(axis=0))
    rows = []
    for epoch in epochs[chosen]:
        for seen in SEEN:
            pair = (features(t, seen, gauge).to_numpy() for t in twins.course[int(epoch)])
            found = decode_history(*pair, noise=noise, seed=seed)
            rows.append((int(epoch), seen, found.accuracy, *found.band, found.p))
    return pd.DataFrame(rows, columns=["epoch", "seen", "accuracy", "low", "high", "p"])


def noise_table(twins: Twins, gauge: str = "raw", seed: int = 0) -> pd.DataFrame:
    """Return how well the first task is decoded after the third, by the noise on training features.

    Parameters
    ----------
    twins : Twins
        The pairs.
    gauge : {"raw", "canonical"}
        See `features`.
    seed : int, default 0
        Seed of splits and noise.

    Returns
    -------
    pandas.DataFrame
        Columns ``noise`` (standard deviation, in the overlaps' own units), ``seen``, ``accuracy``;
        pairs kept together.
    """
    rows = []
    for noise in np.geomspace(0.003, 30.0, 17):
        for seen in SEEN:
            pair = (features(t, seen, gauge).to_numpy() for t in twins.states[TIMES[2]])
            found = decode_history(*pair, noise=noise, splits=200, swaps=0, seed=seed)
            rows.append((float(noise), seen, found.accuracy))
    return pd.DataFrame(rows, columns=["noise", "seen", "accuracy"])


def difference_table(twins: Twins) -> pd.DataFrame:
    """Return how the twins of a pair differ, overlap by overlap.

    Parameters
    ----------
    twins : Twins
        The pairs.

    Returns
    -------
    pandas.DataFrame
        By ``time``, ``gauge`` and ``overlap``: ``seen``; ``mean`` and ``sd`` over pairs of the
        first twin minus the second; ``between``, the sd over pairs of the mean of the twins; ``p``
        of the exact sign-flip test; ``p_holm``, corrected for the overlaps of a time and gauge.
    """
    parts = []
    for time in TIMES[1:]:
        for gauge in GAUGES:
            rows = []
            for seen in SEEN:
                first, second = (features(t, seen, gauge) for t in twins.states[time])
                for name in first:
                    gap = (first[name] - second[name]).to_numpy()
                    middle = ((first[name] + second[name]) / 2).to_numpy()
                    p = sign_flip_test(gap)[1]
                    spreads = (np.std(values, ddof=1) for values in (gap, middle))
                    rows.append((time, gauge, name, seen, gap.mean(), *spreads, p))
            names = ["time", "gauge", "overlap", "seen", "mean", "sd", "between", "p"]
            part = pd.DataFrame(rows, columns=names)
            parts.append(part.assign(p_holm=correct_p(part["p"].to_numpy())))
    return pd.concat(parts, ignore_index=True)


def unrealisable(
    cross_sd: float, norms: tuple[float, float], draws: int = 100_000, seed: int = 0
) -> tuple[float, float]:
    """Return which share of tables drawn entry by entry belongs to no network.

    Parameters
    ----------
    cross_sd : float
        Cross overlaps are absolute values of normal numbers of this sd.
    norms : (float, float)
        Squared norms are uniform in this range.
    draws : int, default 100000
        Tables to draw.
    seed : int, default 0
        Seed.

    Returns
    -------
    all, driven : float
        Shares of tables that are not positive semidefinite, and of those whose block of m and u is
        not, so that the variance of the current can come out negative.

    Examples
    --------
    >>> [round(share, 2) for share in unrealisable(0.4, (0.5, 2.0))]
    [0.13, 0.01]
    """
    rng = np.random.default_rng(seed)
    upper = np.triu(np.abs(rng.normal(0.0, cross_sd, size=(draws, 4, 4))), 1)
    table = upper + np.swapaxes(upper, 1, 2)
    table[:, range(4), range(4)] = rng.uniform(*norms, size=(draws, 4))
    lowest = [np.linalg.eigvalsh(part)[:, 0] for part in (table, table[:, :2, :2])]
    whole, driven = (float(np.mean(value < 0)) for value in lowest)
    return whole, driven
