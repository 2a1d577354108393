"""The recorded task: the recording's own inputs, and its outputs as what is to be put out."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from predictlearn.checks import as_float_array
from predictlearn.errors import InputError, choice
from predictlearn.fitting.session.estimator import LowRankRNN
from predictlearn.recordings.recording import Recording
from predictlearn.tasks.arrays import ArrayTask

__all__ = ["CHANGES", "Change", "load_target", "recorded_task"]

CHANGES = ("reversed", "scaled", "rotated", "none")
# Kinds of trials that a recorded task has at most, and steps of the network in a time constant at
# least.
_MOST_KINDS, _STEPS = 64, 5


class Change:
    """A change of the desired output, which is the same as the inverse change of the readout.

    Parameters
    ----------
    kind : {"reversed", "scaled", "rotated", "none"}
        Sign turned; multiplied by `factor`; the first two outputs turned by `angle`.
    factor : float, default 2.0
        Of a scaled output.
    angle : float, default 45.0
        Of rotated outputs, in degrees.

    Raises
    ------
    InputError
        If the kind is unknown, or a factor or angle changes nothing.

    Examples
    --------
    >>> Change("reversed").matrix(1).tolist()
    [[-1.0]]
    >>> Change("rotated", angle=90).said
    'its desired outputs 1 and 2 turned by 90 degrees'
    """

    def __init__(self, kind: str, factor: float = 2.0, angle: float = 45.0) -> None:
        self.kind = choice("change", kind, CHANGES)
        self.factor = float(as_float_array("factor", factor, ndim=0))
        self.angle = float(as_float_array("angle", angle, ndim=0))
        if kind == "scaled" and self.factor == 1.0:
            raise InputError("factor must be another number than 1, which changes nothing.")
        if kind == "rotated" and self.angle % 360 == 0:
            raise InputError(f"angle must be no multiple of 360, got {angle}: nothing is turned.")

    def matrix(self, n_out: int) -> np.ndarray:
        """Return the matrix that the desired outputs are multiplied by, (n_out, n_out)."""
        if self.kind == "rotated":
            if n_out < 2:
                raise InputError(
                    "change must be reversed, scaled or none for one output; a rotation turns two."
                )
            turn = np.eye(n_out)
            c, s = math.cos(math.radians(self.angle)), math.sin(math.radians(self.angle))
            turn[:2, :2] = [[c, -s], [s, c]]
            return turn
        return {"reversed": -1.0, "scaled": self.factor, "none": 1.0}[self.kind] * np.eye(n_out)

    @property
    def said(self) -> str:
        """What is changed, in words that follow "with"."""
        return {
            "reversed": "the sign of its desired output reversed",
            "scaled": f"its desired output multiplied by {self.factor:g}",
            "rotated": f"its desired outputs 1 and 2 turned by {self.angle:g} degrees",
            "none": "its desired output as it was",
        }[self.kind]

    def other(self) -> Change:
        """Return another change, for the second task of an order."""
        if self.kind == "rotated":
            return Change("rotated", angle=-self.angle)
        return Change("scaled") if self.kind == "reversed" else Change("reversed")


def load_target(path: str | Path) -> np.ndarray:
    """Read a stated target from an .npy file.

    Parameters
    ----------
    path : path
        An array (trials, time, n_out), or (time, n_out) for all trials; NaN where nothing is asked.

    Returns
    -------
    numpy.ndarray
        The array.

    Raises
    ------
    InputError
        If the file is missing or holds no such array.
    """
    try:
        return np.asarray(np.load(Path(path), allow_pickle=False), dtype=float)
    except (OSError, ValueError, TypeError) as error:
        raise InputError(
            f"target must be an .npy file of numbers, (trials, time, n_out); {path}: {error}"
        ) from error


def wanted_outputs(recording: Recording, target: np.ndarray | None) -> np.ndarray:
    """Return the desired outputs (trials, time, n_out): a stated target, or the outputs."""
    if target is None:
        if recording.outputs is None:
            raise InputError(
                "task 'recorded' needs outputs, (trials, time, n_out), or a target; the recording "
                "has neither."
            )
        return recording.outputs
    shape = (recording.n_trials, recording.n_bins, recording.n_out)
    target = np.broadcast_to(target, shape) if target.shape == shape[1:] else target
    target = as_float_array("target", target, shape=shape, finite=False)
    if np.isinf(target).any() or np.isnan(target).all():
        raise InputError("target must hold numbers, with NaN where nothing is asked.")
    return target


def recorded_task(
    recording: Recording, model: LowRankRNN, target: np.ndarray | None, change: Change
) -> ArrayTask:
    """Return the recorded task with its desired output changed.

    Trials with the same inputs are one kind of trial: their mean output is what is desired, and
    every bin counts as often as it was recorded. That leaves the gradient of the loss as it would
    be for the single trials, and takes off the part of the loss that no network could learn.

    Parameters
    ----------
    recording : Recording
        Inputs, and outputs that give the desired ones.
    model : LowRankRNN
        Fit, for its latency, its time constant and what it puts out.
    target : numpy.ndarray or None
        Desired outputs where they are stated, see `load_target`.
    change : Change
        What is changed about them.

    Returns
    -------
    ArrayTask
        Fixed trials; the loss is in shares of the variance of the outputs.

    Raises
    ------
    InputError
        If there is nothing to learn from.
    """
    wanted = wanted_outputs(recording, target)
    seen = np.isfinite(wanted)
    kinds, kind_of = np.unique(
        recording.inputs.reshape(recording.n_trials, -1), axis=0, return_inverse=True
    )
    kind_of = kind_of.ravel()
    n_kinds = min(len(kinds), _MOST_KINDS)
    chosen = np.sort(np.argsort(-np.bincount(kind_of), kind="stable")[:n_kinds])
    inputs = _delayed(kinds[chosen].reshape(n_kinds, recording.n_bins, -1), recording.dt, model)
    counts = np.array([seen[kind_of == k].sum(axis=0) for k in chosen], dtype=float)
    sums = np.array([np.where(seen, wanted, 0.0)[kind_of == k].sum(axis=0) for k in chosen])
    means = sums / np.maximum(counts, 1.0)
    # outputs are read from a level that the network does not make
    level = _level(recording, model)
    turned = (means - level) @ change.matrix(recording.n_out).T
    spread = np.nanvar(wanted, axis=(0, 1))
    if not np.all(spread > 0):
        raise InputError("every output must change within the recording to be learned from.")
    weights = counts / (spread * max(float(counts.sum()), 1.0))
    repeat = _finer(recording.dt, model)
    return ArrayTask(
        np.repeat(inputs, repeat, axis=1),
        np.repeat(turned, repeat, axis=1),
        np.repeat(weights / repeat, repeat, axis=1),
        recording.dt / repeat,
    )


def _finer(dt: float, model: LowRankRNN) -> int:
    """Return how many steps a bin takes: one for a network of Euler steps, else enough."""
    if getattr(model, "bin_", "euler") == "euler":
        return 1
    return max(1, math.ceil(_STEPS * dt / float(model.tau_)))


def _delayed(inputs: np.ndarray, dt: float, model: LowRankRNN) -> np.ndarray:
    """Return inputs after the fitted latency, between bins by linear interpolation."""
    shift = float(model.latency_) / dt
    whole, part = int(shift), shift - int(shift)

    def later(bins: int) -> np.ndarray:
        moved = np.zeros_like(inputs)
        moved[:, bins:] = inputs[:, : inputs.shape[1] - bins]
        return moved

    return (1 - part) * later(whole) + part * later(whole + 1)


def _level(recording: Recording, model: LowRankRNN) -> np.ndarray:
    """Return the mean of each output that the fitted network does not explain, (n_out,)."""
    if recording.outputs is None:
        return np.zeros(recording.n_out)
    k = np.concatenate(model.k_, axis=2)
    n_steps = min(k.shape[1], recording.n_bins)
    base = np.concatenate([np.ones((*k.shape[:2], 1)), k], axis=2)[:, :n_steps]
    levels = []
    for column in np.moveaxis(recording.outputs[:, :n_steps], 2, 0):
        there = np.isfinite(column)
        levels.append(np.linalg.lstsq(base[there], column[there], rcond=1e-12)[0][0])
    return np.array(levels)


def settings_of(settings: Mapping[str, Any]) -> tuple[Change | None, np.ndarray | None]:
    """Return the change and the target of a task 'recorded', from its settings."""
    known = ("change", "factor", "angle", "target")
    for name in settings:
        choice("a setting of the task 'recorded'", name, known)
    target = settings.get("target")
    if target is not None and not isinstance(target, np.ndarray):
        target = load_target(target)
    about = {k: v for k, v in settings.items() if k in ("factor", "angle")}
    kind = settings.get("change")
    if kind is None:
        if about:
            kind = "scaled" if "factor" in about else "rotated"
        else:
            return None, target
    return Change(kind, **about), target
