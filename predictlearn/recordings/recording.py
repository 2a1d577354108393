"""The recording: activity, inputs, outputs and trial table of one session, checked on entry."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from predictlearn.checks import positive, positive_int
from predictlearn.doors import LARGEST
from predictlearn.errors import InputError, choice
from predictlearn.files import write_atomically
from predictlearn.recordings.validation import (
    check_activity,
    check_counts,
    check_leading_axes,
    three_axes,
)

__all__ = ["OBSERVED", "Recording"]

OBSERVED = ("rate", "current", "counts")


@dataclass(frozen=True, eq=False)
class Recording:
    """One session: what was recorded, what drove it, and the trial table.

    Parameters
    ----------
    activity : ndarray, shape (trials, time, neurons)
        Recorded activity; NaN marks missing bins.
    inputs : ndarray, shape (trials, time, n_in), or None
        What drove the network, finite in every bin. None, or no column: not known (``n_in`` is 0).
    dt : float
        Width of a bin, seconds.
    outputs : ndarray, shape (trials, time, n_out), optional
        What the network put out; NaN marks missing bins.
    trials : DataFrame, optional
        One row a trial, in the order of ``activity`` (session, target, condition, block ...).
        Default: a table with the single column "trial".
    observed : {"rate", "current", "counts"}
        What a value of ``activity`` is: a rate phi(h), a current h, or spike counts in a bin.
    metadata : mapping, optional
        Name, source, licence, ``simulated`` and whatever else belongs to the session.

    Raises
    ------
    InputError
        Wrong axes, lengths that do not match, one trial only, one neuron only, a neuron without a
        single value, activity that never changes, infinite values, counts that are negative or no
        whole numbers, or a bin width that is not positive.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> r = Recording(rng.normal(size=(4, 10, 3)), rng.normal(size=(4, 10, 1)), dt=0.05)
    >>> r.n_trials, r.n_bins, r.n_neurons, r.n_in
    (4, 10, 3, 1)
    >>> r.select(np.array([True, True, False, False])).n_trials
    2
    """

    activity: npt.NDArray[np.float64]
    inputs: npt.NDArray[np.float64]
    dt: float
    outputs: npt.NDArray[np.float64] | None = None
    trials: pd.DataFrame = field(default_factory=pd.DataFrame)
    observed: str = "rate"
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check everything once, and keep read-only copies."""
        activity = three_axes("activity", self.activity, "(trials, time, neurons)")
        given = np.zeros((*activity.shape[:2], 0)) if self.inputs is None else self.inputs
        inputs = three_axes("inputs", given, "(trials, time, n_in)", least=0)
        check_activity(activity)
        check_leading_axes("inputs", inputs, activity, "n_in")
        if not np.isfinite(inputs).all():
            raise InputError("inputs must be finite in every bin; got NaN or infinity")
        _bounded("inputs", inputs)
        outputs = self.outputs
        if outputs is not None:
            outputs = three_axes("outputs", outputs, "(trials, time, n_out)")
            check_leading_axes("outputs", outputs, activity, "n_out")
            _bounded("outputs", outputs)
            _freeze(self, "outputs", outputs)
        if self.observed == "counts":
            check_counts(activity)
        _freeze(self, "activity", activity)
        _freeze(self, "inputs", inputs)
        object.__setattr__(self, "dt", positive("dt", self.dt))
        object.__setattr__(self, "observed", choice("observed", self.observed, OBSERVED))
        object.__setattr__(self, "trials", _trial_table(self.trials, len(activity)))
        object.__setattr__(self, "metadata", dict(self.metadata))

    @property
    def n_trials(self) -> int:
        """Number of trials."""
        return int(self.activity.shape[0])

    @property
    def n_bins(self) -> int:
        """Number of time bins of a trial."""
        return int(self.activity.shape[1])

    @property
    def n_neurons(self) -> int:
        """Number of recorded neurons."""
        return int(self.activity.shape[2])

    @property
    def n_in(self) -> int:
        """Number of inputs."""
        return int(self.inputs.shape[2])

    @property
    def n_out(self) -> int:
        """Number of outputs, 0 where none were given."""
        return 0 if self.outputs is None else int(self.outputs.shape[2])

    def select(self, trials: npt.ArrayLike) -> Recording:
        """Keep some of the trials.

        Parameters
        ----------
        trials : array_like
            Boolean mask of length ``n_trials``, or trial numbers (0-based rows of the table).

        Returns
        -------
        Recording
            The same recording with those trials only.

        Raises
        ------
        InputError
            A mask of another length, a trial that does not exist, or fewer than two trials left.
        """
        rows = np.asarray(trials)
        if rows.dtype == bool:
            if rows.shape != (self.n_trials,):
                raise InputError(
                    f"trials: the mask must have one value a trial ({self.n_trials}); "
                    f"got shape {rows.shape}"
                )
            rows = np.flatnonzero(rows)
        elif rows.ndim != 1 or not np.issubdtype(rows.dtype, np.integer):
            raise InputError(
                f"trials must be a boolean mask or a list of trial numbers; got {rows.dtype} "
                f"of shape {rows.shape}"
            )
        elif rows.size and (rows.min() < 0 or rows.max() >= self.n_trials):
            raise InputError(f"trials must lie in 0..{self.n_trials - 1}; got {rows.tolist()[:10]}")
        return Recording(
            activity=self.activity[rows],
            inputs=self.inputs[rows],
            dt=self.dt,
            outputs=None if self.outputs is None else self.outputs[rows],
            trials=self.trials.iloc[rows].reset_index(drop=True),
            observed=self.observed,
            metadata=self.metadata,
        )

    def first_bins(self, n_bins: int, complete: bool = True) -> Recording:
        """Keep the first bins of every trial.

        Parameters
        ----------
        n_bins : int
            How many bins to keep.
        complete : bool
            Keep only trials of which none of these bins is missing.

        Returns
        -------
        Recording
            Shorter trials, and fewer where ``complete`` drops some.

        Raises
        ------
        InputError
            More bins asked than there are, or fewer than two complete trials.
        """
        n_bins = positive_int("n_bins", n_bins)
        if n_bins > self.n_bins:
            raise InputError(f"n_bins must be at most {self.n_bins}; got {n_bins}")
        activity = self.activity[:, :n_bins]
        keep = np.ones(self.n_trials, dtype=bool)
        if complete:
            keep = np.asarray(~np.isnan(activity).any(axis=(1, 2)))
            if keep.sum() < 2:
                raise InputError(
                    f"only {int(keep.sum())} of {self.n_trials} trials have all of the first "
                    f"{n_bins} bins; ask for fewer bins or pass complete=False"
                )
        return Recording(
            activity=activity[keep],
            inputs=self.inputs[keep, :n_bins],
            dt=self.dt,
            outputs=None if self.outputs is None else self.outputs[keep, :n_bins],
            trials=self.trials.loc[keep].reset_index(drop=True),
            observed=self.observed,
            metadata=self.metadata,
        )

    def save_npz(self, path: str | os.PathLike[str]) -> Path:
        """Write the recording to one compressed .npz file, whole or not at all.

        Parameters
        ----------
        path : path
            Where to write; ".npz" is added where it is missing.

        Returns
        -------
        Path
            The file written.

        Raises
        ------
        InputError
            The folder does not exist.
        """
        target = Path(path)
        if target.suffix != ".npz":
            target = target.with_name(target.name + ".npz")
        if not target.parent.is_dir():
            raise InputError(f"path: the folder {target.parent} does not exist; make it first")
        arrays: dict[str, Any] = {
            "activity": self.activity,
            "inputs": self.inputs,
            "dt": np.float64(self.dt),
            "observed": np.str_(self.observed),
            "trials": np.str_(self.trials.to_json(orient="split")),
            "metadata": np.str_(json.dumps(dict(self.metadata), default=_plain)),
        }
        if self.outputs is not None:
            arrays["outputs"] = self.outputs
        write_atomically(target, lambda stream: np.savez_compressed(stream, **arrays))
        return target


def _plain(value: Any) -> Any:
    """Turn what JSON does not know into what it does: arrays, tables of overlaps, else words."""
    if hasattr(value, "to_series"):
        return {str(name): float(x) for name, x in value.to_series().items()}
    return value.tolist() if hasattr(value, "tolist") else str(value)


def _trial_table(trials: pd.DataFrame, n_trials: int) -> pd.DataFrame:
    """Check the length of a trial table; make one where none was given."""
    if not isinstance(trials, pd.DataFrame):
        raise InputError(f"trials must be a pandas DataFrame; got {type(trials).__name__}")
    if trials.shape[1] == 0:
        return pd.DataFrame({"trial": np.arange(n_trials)})
    if len(trials) != n_trials:
        raise InputError(
            f"trials must have one row a trial ({n_trials}, the first axis of activity); "
            f"got {len(trials)} rows"
        )
    return trials.reset_index(drop=True).copy()


def _bounded(name: str, values: npt.NDArray[np.float64]) -> None:
    """Refuse numbers whose squares cannot be computed with."""
    largest = float(np.abs(values).max(initial=0.0, where=~np.isnan(values)))
    if largest > LARGEST:
        raise InputError(f"{name} must be at most {LARGEST:g} in size; got {largest:g}")


def _freeze(recording: Recording, name: str, values: npt.NDArray[np.float64]) -> None:
    """Store a read-only array on the frozen recording."""
    values.setflags(write=False)
    object.__setattr__(recording, name, values)
