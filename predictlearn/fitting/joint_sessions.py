"""Overlaps of every session of a learning recording, and the error of their measurement.

The error is that of the recording alone: which neurons were recorded adds another one, which
sessions share as far as they share neurons (joint_neurons).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from predictlearn.errors import InputError
from predictlearn.fitting import bootstrap
from predictlearn.fitting.entry import check_data, check_outputs
from predictlearn.fitting.inner import blocks
from predictlearn.fitting.low_rank_rnn import LowRankRNN
from predictlearn.fitting.moments import noise_variance
from predictlearn.fitting.solver import Problem, Solution, free_directions, reduced_system
from predictlearn.fitting.summary import Raw, canonical, named
from predictlearn.recordings.recording import Recording

__all__ = ["Measured", "RawSession", "checked_ids", "fit_sessions", "raw_sessions"]

Array = npt.NDArray[np.float64]
# Replicates behind the error of a session: it is inverted, so that few would not do.
_REPLICATES = 1000
# Errors of overlaps in fixed proportion (outputs without noise) are told apart by this much.
_FLOOR = 1e-4


@dataclass(frozen=True, eq=False)
class Measured:
    """What one session says of the overlaps, in its canonical gauge.

    Parameters
    ----------
    values : Series
        Overlaps by name; NaN where unseen.
    covariance : DataFrame
        Of their error, for the neurons at hand; 0 for what the gauge fixes.
    """

    values: pd.Series
    covariance: pd.DataFrame

    @classmethod
    def of(cls, values: Mapping[str, float], draws: Sequence[Mapping[str, float]]) -> Measured:
        """Return the measurement from an estimate and its replicates."""
        table = pd.DataFrame(list(draws), columns=list(values))
        return cls(pd.Series(values, dtype=float), table.cov())

    @property
    def seen(self) -> list[str]:
        """Names of the overlaps that were measured, gauge conventions left out."""
        sd = np.sqrt(np.diag(self.covariance))
        sizes = self.values.abs()
        return [
            name
            for name, s in zip(self.values.index, sd, strict=True)
            if np.isfinite(self.values[name]) and s > 1e-9 * max(float(sizes[name]), 1e-3)
        ]

    @property
    def finite(self) -> list[str]:
        """Names of the overlaps that were measured or that the gauge fixes."""
        return [str(name) for name in self.values.index[np.isfinite(self.values)]]

    def block(self, columns: Sequence[str]) -> Array:
        """Return the covariance of the named overlaps, kept off zero in every combination."""
        part = self.covariance.loc[list(columns), list(columns)].to_numpy()
        return np.asarray(part + _FLOOR * np.diag(np.diag(part)))


@dataclass(frozen=True, eq=False)
class RawSession:
    """The recording of one session, laid out to be expanded about any dynamics.

    Parameters
    ----------
    problem : Problem
        Likelihood of the activity.
    outputs : ndarray, shape (trials, time, n_out), or None
        Outputs.
    seed : int
        Seed of the replicates.
    """

    problem: Problem
    outputs: Array | None
    seed: int

    def expand(self, vm: Array, vu: Array) -> Measured:
        """Return the measurement whose Gaussian likelihood matches that of the recording there.

        Every neuron is solved for at the dynamics (vm, vu); the slope and curvature of what is left
        place the optimum that the recording points to from there: theta + H^-1 g. At the joint
        optimum the pull of this measurement is that of the recording itself.
        """
        problem = self.problem
        layout, data = problem.layout, problem.data
        theta = layout.pack(vm, vu, np.zeros((layout.n_base, layout.n_base)))
        rolled = problem.dynamics.roll(theta)
        if rolled is None:
            raise InputError(
                "the joint fit led to dynamics that run away within a trial; use joint=False"
            )
        k, dk = (data.flatten(x) for x in rolled)
        at = blocks(data, layout, k, dk, None)
        linear = bootstrap.linearise(problem, Solution(theta, at, 0.0, 0.0, True, 0))
        weights = 1 / np.maximum(noise_variance(data, at), 1e-300)
        h, g, follow, _ = reduced_system(at, weights, 0.0)
        free = free_directions(layout, theta)
        step = free @ np.linalg.solve(free.T @ h @ free, free.T @ g)
        linear = replace(linear, theta=theta + step, phi=at.phi - follow @ step)
        output_fit, zb = None, np.full((1, layout.n_base), np.nan)
        if self.outputs is not None:
            found = bootstrap.fit_outputs(problem, theta, self.outputs)
            zb = found.zb + found.follow @ step
            output_fit = replace(found, zb=zb)
        zz = np.full((len(zb), len(zb)), np.nan)
        times = problem.dynamics.times(theta)
        new_vm, new_vu, _ = layout.unpack(linear.theta)
        raw = Raw(new_vm, new_vu, bootstrap.moments(problem, linear), zb, zz, times)
        drawn = bootstrap.replicates(problem, linear, output_fit, None, _REPLICATES, self.seed)
        return Measured.of(named(canonical(raw)[0]), [named(canonical(r)[0]) for r in drawn])


def _parts(recordings: Any) -> list[tuple[Any, Any, Any, float | None]]:
    """Return activity, inputs, outputs and bin of every session, or raise InputError."""
    if isinstance(recordings, Recording) or not isinstance(recordings, Sequence):
        raise InputError(
            "recordings must be a list with one recording a session: pl.Recording, or a tuple "
            f"(activity, inputs, outputs); got {type(recordings).__name__}."
        )
    if len(recordings) < 2:
        raise InputError(f"recordings must hold at least 2 sessions; got {len(recordings)}.")
    out: list[tuple[Any, Any, Any, float | None]] = []
    for k, one in enumerate(recordings):
        if isinstance(one, Recording):
            out.append((one.activity, one.inputs, one.outputs, one.dt))
        elif isinstance(one, tuple) and len(one) in (2, 3):
            out.append((one[0], one[1], one[2] if len(one) == 3 else None, None))
        else:
            raise InputError(
                f"recordings[{k}] must be a pl.Recording or a tuple (activity, inputs, outputs); "
                f"got {type(one).__name__}."
            )
    return out


def _models(
    parts: Sequence[tuple[Any, Any, Any, float | None]], rank: int, tau: float, settings: Any
) -> list[LowRankRNN]:
    """Return an unfitted model a session, or raise InputError."""
    settings = {} if settings is None else dict(settings)
    taken = sorted({"rank", "tau", "nonlinearity", "neurons"} & set(settings))
    if taken:
        raise InputError(
            f"session_settings must leave out {', '.join(taken)}: rank and tau are arguments of "
            "their own, units are linear, and the sampling of neurons is what sampling= says."
        )
    known = LowRankRNN().get_params()
    unknown = sorted(set(settings) - set(known))
    if unknown:
        raise InputError(
            f"session_settings has what is no setting of LowRankRNN: {', '.join(unknown)}; it "
            f"knows {', '.join(sorted(known))}."
        )
    settings = {"n_bootstrap": _REPLICATES, "n_starts": 4, **settings}
    out = []
    for *_, dt in parts:
        timing = {"dt": dt} if dt is not None else {}
        # "all": the error of the recording alone
        out.append(LowRankRNN(rank, tau=tau, neurons="all", **{**settings, **timing}))
    return out


def fit_sessions(
    recordings: Any, rank: int, tau: float, settings: Any
) -> tuple[list[LowRankRNN], list[Measured]]:
    """Fit every session by itself.

    Parameters
    ----------
    recordings : list of Recording or of tuple
        One a session.
    rank : int
        Rank of the network.
    tau : float
        Time constant, seconds.
    settings : mapping or None
        Other settings of `LowRankRNN`.

    Returns
    -------
    tuple of list
        The fits, and what each measured.

    Raises
    ------
    InputError
        Recordings or settings that cannot be used.
    """
    parts = _parts(recordings)
    models = _models(parts, rank, tau, settings)
    measured = []
    for k, (model, (activity, inputs, outputs, _)) in enumerate(zip(models, parts, strict=True)):
        if outputs is None:
            raise InputError(
                f"recordings[{k}] must have outputs: without zm and zu the sessions do not show "
                "what is learned."
            )
        model.fit(activity, inputs, outputs)
        values = {str(name): float(x) for name, x in model.overlaps_.items()}
        measured.append(Measured.of(values, model.replicates_.to_dict("records")))
    return models, measured


def raw_sessions(recordings: Any, models: Sequence[LowRankRNN]) -> list[RawSession]:
    """Lay out the recordings for the joint likelihood.

    Parameters
    ----------
    recordings : list of Recording or of tuple
        One a session.
    models : list of LowRankRNN
        Their fits.

    Returns
    -------
    list of RawSession
        One a session.

    Raises
    ------
    InputError
        For counts, and where tau or the latency were fitted session by session.
    """
    out = []
    for model, (activity, inputs, outputs, _) in zip(models, _parts(recordings), strict=True):
        if model.noise != "gaussian" or isinstance(model.latency, str):
            raise InputError(
                "joint=True needs noise='gaussian' and a known latency in session_settings; got "
                f"noise={model.noise!r}, latency={model.latency!r}. Use joint=False: it fits the "
                "overlaps of the sessions instead."
            )
        y, x, kept = check_data(model, activity, inputs)
        _, out_of = check_outputs(outputs, None, len(kept), y)
        out.append(RawSession(model._problem(y, x), out_of, model.seed))
    return out


def checked_ids(neuron_ids: Any, models: Sequence[LowRankRNN]) -> list[npt.NDArray[Any]]:
    """Return the ids of the neurons of every session, those set aside left out.

    Parameters
    ----------
    neuron_ids : list of array_like, or None
        One id a neuron and session; None: no neuron was recorded twice.
    models : list of LowRankRNN
        The fits.

    Returns
    -------
    list of ndarray
        Ids.

    Raises
    ------
    InputError
        If ids do not match the recordings, or repeat within a session.
    """
    if neuron_ids is None:
        first = np.cumsum([0, *(len(m.silent_) for m in models)])
        neuron_ids = [np.arange(a, b) for a, b in pairwise(first)]
    if not isinstance(neuron_ids, Sequence) or len(neuron_ids) != len(models):
        raise InputError(
            f"neuron_ids must be a list of {len(models)} arrays, one a session; got "
            f"{len(neuron_ids) if isinstance(neuron_ids, Sequence) else type(neuron_ids).__name__}."
        )
    out = []
    for k, (ids, model) in enumerate(zip(neuron_ids, models, strict=True)):
        ids = np.asarray(ids)
        if ids.shape != model.silent_.shape:
            raise InputError(
                f"neuron_ids[{k}] must have one id for each of {len(model.silent_)} neurons; got "
                f"shape {ids.shape}."
            )
        if len(np.unique(ids)) != len(ids):
            raise InputError(f"neuron_ids[{k}] must not name a neuron twice.")
        out.append(ids[~model.silent_])
    return out
