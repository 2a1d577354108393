"""Recordings along learning: checked, laid out for the likelihood, and a first look at each."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from predictlearn.arrays import Array
from predictlearn.checks import positive_int
from predictlearn.errors import InputError, MisfitWarning, UndeterminedWarning
from predictlearn.fitting.learning.recordings.marginal import RawSession, Recorded, rolled_out
from predictlearn.fitting.learning.recordings.observations import Counts, Currents, left_over
from predictlearn.fitting.session.dynamics import Dynamics, Layout
from predictlearn.fitting.session.estimator import LowRankRNN
from predictlearn.kept import once
from predictlearn.recordings.recording import Recording
from predictlearn.theory.trials import Task
from predictlearn.workers import counted

__all__ = [
    "checked_recordings",
    "expanded",
    "first_look",
    "noise_terms",
    "warn_of_clocks",
    "with_noise",
]

# Longest step of a task, over tau, at which a network in continuous time learns nearly as Euler
# steps say.
_STEP = 1 / 40


def checked_recordings(
    recordings: Any,
    neurons: Any,
    network: Any,
    rank: int,
    tau: float,
    noise: str = "gaussian",
    link: str = "exp",
    bin: str = "euler",
) -> tuple[Recorded, npt.NDArray[Any]]:
    """Check everything that `LearningFit.fit_recordings` is given about the recordings.

    Parameters
    ----------
    recordings, neurons, network
        As for `LearningFit.fit_recordings`.
    rank : int
        Rank of the network.
    tau : float
        Time constant, seconds.
    noise, link : str
        As for `LearningFit.fit_recordings`.
    bin : {"mean", "euler"}
        As there.

    Returns
    -------
    recorded : Recorded
        The sessions, with no noise yet.
    labels : numpy.ndarray
        Of the distinct neurons.

    Raises
    ------
    InputError
        If anything cannot be used; the message names the argument.
    """
    if isinstance(recordings, Recording) or not isinstance(recordings, Sequence):
        raise InputError(
            "recordings must be a list with one pl.Recording a session; got "
            f"{type(recordings).__name__}."
        )
    if len(recordings) < 2:
        raise InputError(f"recordings must hold at least 2 sessions; got {len(recordings)}.")
    for k, one in enumerate(recordings):
        _check_one(f"recordings[{k}]", one, tau, noise, bin)
    ends = {(r.n_in, r.outputs.shape[2]) for r in recordings}
    if len(ends) > 1:
        raise InputError(
            "recordings must have the same numbers of inputs and outputs; got "
            f"{', '.join(map(str, sorted(ends)))}."
        )
    ids = _checked_neurons(neurons, recordings)
    labels, index = np.unique(np.concatenate(ids), return_inverse=True)
    size = np.inf if network is None else float(positive_int("network", network))
    if size < len(labels):
        raise InputError(
            f"network must be at least the {len(labels)} distinct neurons recorded; got {network}."
        )
    layout = Layout(recordings[0].n_in, rank, erf=False)
    bounds = np.cumsum([0, *(len(i) for i in ids)])
    sessions = []
    for k, r in enumerate(recordings):
        kept = ~np.isnan(r.activity).any(axis=2)
        judged = ~np.isnan(r.outputs).any(axis=2)
        if kept.sum() < 3 * layout.n_base or judged.sum() < 3 * layout.n_base:
            raise InputError(
                f"recordings[{k}] must have more bins in which all neurons (and all outputs) were "
                f"seen; got {int(kept.sum())} and {int(judged.sum())}. Leave out neurons that are "
                "missing often."
            )
        activity = r.activity[kept].T
        sessions.append(
            RawSession(
                seen=Currents.of(activity)
                if noise == "gaussian"
                else Counts.of(activity, link == "softplus", noise == "negative-binomial"),
                kept=kept,
                outputs=np.ascontiguousarray(r.outputs[judged].T),
                judged=judged,
                output_noise=np.ones(r.outputs.shape[2]),
                neurons=index[bounds[k] : bounds[k + 1]],
                dynamics=Dynamics(r.inputs, r.dt, layout, tau, mean=bin == "mean"),
            )
        )
    return Recorded(sessions, len(labels), size), labels


def warn_of_clocks(tasks: Sequence[Task], recordings: Sequence[Recording], tau: float) -> None:
    """Warn where a network in continuous time is given long steps of learning, or long bins."""
    step = max(task.dt for task in tasks)
    if step > _STEP * tau * (1 + 1e-9):
        warnings.warn(
            f"bins are means of a network in continuous time, but tasks takes Euler steps of "
            f"{step:g} s at tau = {tau:g} s: intervals_ need not hold. Give tasks in steps of "
            f"{_STEP * tau:g} s or less (dt), with the same inputs and targets in time",
            UserWarning,
            stacklevel=4,
        )
    wide = max(one.dt for one in recordings)
    if wide > tau * (1 + 1e-9):
        warnings.warn(
            f"bins of {wide:g} s are longer than tau ({tau:g} s): what happens within one is not "
            "seen, and intervals_ were counted for bins up to tau only. Record in shorter bins",
            UserWarning,
            stacklevel=4,
        )


def _check_one(label: str, one: Any, tau: float, noise: str, bin: str) -> None:
    """Check one session."""
    if not isinstance(one, Recording):
        raise InputError(f"{label} must be a pl.Recording; got {type(one).__name__}.")
    if (one.observed == "counts") != (noise != "gaussian"):
        wanted = "gaussian" if noise != "gaussian" else "poisson' or 'negative-binomial"
        raise InputError(
            f"noise must be '{wanted}' for {label} (observed={one.observed!r}), and the same for "
            f"all sessions; got {noise!r}."
        )
    if noise != "gaussian":
        seen = one.activity[~np.isnan(one.activity)]
        if np.any(seen < 0) or np.any(seen != np.round(seen)):
            raise InputError(f"{label} must hold whole numbers of spikes, 0 or more.")
    if one.n_in == 0:
        raise InputError(f"{label} must have inputs: they drive what the fit compares.")
    if one.outputs is None:
        raise InputError(f"{label} must have outputs: without zm and zu learning is not seen.")
    if bin == "euler" and tau <= one.dt / 2:
        raise InputError(
            f"tau must exceed half a bin of {label} ({one.dt:g} s), or bin be 'mean'; got {tau:g}."
        )


def _checked_neurons(neurons: Any, recordings: Sequence[Recording]) -> list[npt.NDArray[Any]]:
    """Return an array of ids a session, or raise InputError."""
    if neurons is None:
        counts = {r.n_neurons for r in recordings}
        if len(counts) > 1:
            raise InputError(
                "neurons must be given, one list of ids a session, where sessions have different "
                f"numbers of neurons; got {', '.join(map(str, sorted(counts)))}."
            )
        return [np.arange(r.n_neurons) for r in recordings]
    if isinstance(neurons, str) or not isinstance(neurons, Sequence | np.ndarray):
        raise InputError(f"neurons must be a list of ids a session; got {type(neurons).__name__}.")
    if len(neurons) != len(recordings):
        raise InputError(
            f"neurons must hold one list of ids for each of {len(recordings)} sessions; got "
            f"{len(neurons)}."
        )
    out = []
    for k, (one, r) in enumerate(zip(neurons, recordings, strict=True)):
        ids = np.asarray(one)
        if ids.shape != (r.n_neurons,):
            raise InputError(
                f"neurons[{k}] must have one id for each of {r.n_neurons} neurons; got shape "
                f"{ids.shape}."
            )
        if len(np.unique(ids)) != len(ids):
            raise InputError(f"neurons[{k}] must not name a neuron twice.")
        out.append(ids)
    return out


def first_look(
    recordings: Sequence[Recording],
    rank: int,
    tau: float,
    seed: int,
    noise: str = "gaussian",
    link: str = "exp",
    gain: float = 1.0,
    bin: str = "euler",
) -> pd.DataFrame:
    """Return the overlaps of every session fitted by itself, in its canonical gauge.

    They serve as a start: no intervals, and the overlaps with m and u are those of the neurons at
    hand.
    """
    settings: dict[str, Any] = {"tau": tau, "noise": noise, "link": link, "gain": gain}
    settings |= {"rank": rank, "seed": seed, "bin": bin}
    rows = [once(_seen_alone, r, settings) for r in counted(recordings)]
    return pd.DataFrame(rows).reset_index(drop=True)


def _seen_alone(r: Recording, settings: dict[str, Any]) -> pd.Series:
    """Return the overlaps of one session."""
    same: dict[str, Any] = {"observed": "current", "n_bootstrap": 0, "neurons": "all"}
    fit = LowRankRNN(dt=r.dt, **same, **settings)
    with warnings.catch_warnings():
        # all sessions together say more of these than one
        for category in (MisfitWarning, UndeterminedWarning):
            warnings.simplefilter("ignore", category)
        fit.fit(r.activity, r.inputs, outputs=r.outputs)
    return fit.overlaps_.dropna()


def with_noise(recorded: Recorded, matrices: Array) -> Recorded:
    """Return the sessions with their noise: what is left when currents and outputs follow kappa.

    Parameters
    ----------
    recorded : Recorded
        The sessions.
    matrices : numpy.ndarray, (sessions, D, D)
        Overlaps at the sessions, whose dynamics give kappa.

    Returns
    -------
    Recorded
        With variances of outputs, and of neurons that are seen as currents.

    Raises
    ------
    InputError
        If activity runs away.
    """
    out = []
    for session, k in zip(recorded.sessions, _courses(recorded, matrices), strict=True):
        noise = left_over(session.outputs, k[:, session.judged], used=0)
        seen = session.seen
        if isinstance(seen, Currents):
            seen = seen.settled(k[:, session.kept])
        out.append(replace(session, seen=seen, output_noise=noise))
    return replace(recorded, sessions=out)


def expanded(recorded: Recorded, matrices: Array, maps: Array, loads: Array) -> Recorded:
    """Return the sessions with counts expanded about the course that loadings give each neuron.

    Parameters
    ----------
    recorded, matrices
        As for `with_noise`.
    maps : numpy.ndarray, (sessions, D, n_in + rank)
        C of `marginal`.
    loads : numpy.ndarray, (n, D)
        xi of every neuron.

    Returns
    -------
    Recorded
        Currents and outputs are as they were.

    Raises
    ------
    InputError
        If activity runs away.
    """
    out = []
    courses = _courses(recorded, matrices)
    for session, k, c in zip(recorded.sessions, courses, maps, strict=True):
        if isinstance(session.seen, Counts):
            seen = session.seen.settled(k[:, session.kept], loads[session.neurons] @ c)
            session = replace(session, seen=seen)
        out.append(session)
    return replace(recorded, sessions=out)


def noise_terms(recorded: Recorded) -> float:
    """Return what the log likelihood of `marginal` leaves out: what depends on the noise alone.

    Without it likelihoods that found other noises cannot be compared.
    """
    total = 0.0
    for session in recorded.sessions:
        seen = session.seen
        total -= 0.5 * session.outputs.shape[1] * float(np.log(session.output_noise).sum())
        if isinstance(seen, Currents):
            squares = np.sum(seen.values**2, axis=1) / seen.noise
            total -= 0.5 * float(np.sum(squares + seen.values.shape[1] * np.log(seen.noise)))
    return total


def _courses(recorded: Recorded, matrices: Array) -> list[Array]:
    """Return kappa in every session, (base, trials, bins)."""
    out = []
    for session, s in zip(recorded.sessions, matrices, strict=True):
        rolled = rolled_out(session, s)
        if rolled is None:
            raise InputError(
                "the dynamics of a session run away within a trial; check dt, tau and the inputs"
            )
        out.append(rolled[0])
    return out
