"""A brain-computer interface learning session: two mappings, their readouts, and cursor progress.

Source: monkey N, session 20160728, public repository mobeets/neural-engagement
(data/preprocessed/20160728.mat, BSD 3-Clause), of Hennig et al. 2021.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from predictlearn.checks import as_float_array, positive_int
from predictlearn.doors import one_line, room
from predictlearn.errors import InputError
from predictlearn.recordings.datasets.registry import described, known_dataset
from predictlearn.recordings.readers.mat_file import load_matlab
from predictlearn.recordings.recording import Recording

__all__ = ["BCISession", "Readout", "command_progress", "load_bci_learning", "progress"]

BIN_WIDTH = 0.045
_DATASET = known_dataset("bci-learning")
FILE_NAME, SOURCE = _DATASET.file.name, _DATASET.source


@dataclass(frozen=True, eq=False)
class Readout:
    """How recorded activity moves the cursor: v_t = M1 v_{t-1} + M2 activity_t + M0.

    Parameters
    ----------
    smoothing : ndarray, shape (2, 2)
        M1, of the cursor's own velocity.
    weights : ndarray, shape (2, neurons)
        M2, of the recorded activity.
    offset : ndarray, shape (2,)
        M0, mm/s.
    name : str
        Name of the mapping.

    Raises
    ------
    InputError
        Shapes that do not fit together.

    Examples
    --------
    >>> import numpy as np
    >>> r = Readout(np.zeros((2, 2)), np.eye(2), np.zeros(2))
    >>> r.command(np.array([3.0, 4.0])).tolist()
    [3.0, 4.0]
    """

    smoothing: npt.NDArray[np.float64]
    weights: npt.NDArray[np.float64]
    offset: npt.NDArray[np.float64]
    name: str = ""

    def __post_init__(self) -> None:
        """Check shapes and keep read-only copies."""
        smoothing = as_float_array("smoothing", self.smoothing, ndim=2).copy()
        weights = as_float_array("weights", self.weights, ndim=2).copy()
        offset = as_float_array("offset", self.offset, ndim=1).copy()
        n_out = len(offset)
        if smoothing.shape != (n_out, n_out) or weights.shape[0] != n_out:
            raise InputError(
                f"a readout needs M1 (n_out, n_out), M2 (n_out, neurons), M0 (n_out,); got "
                f"{smoothing.shape}, {weights.shape}, {offset.shape}"
            )
        for key, value in (("smoothing", smoothing), ("weights", weights), ("offset", offset)):
            value.setflags(write=False)
            object.__setattr__(self, key, value)

    def command(self, activity: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Give the velocity command M2 activity + M0, before the cursor's own smoothing.

        Parameters
        ----------
        activity : ndarray, shape (..., neurons)
            Recorded or modelled activity.

        Returns
        -------
        ndarray, shape (..., n_out)
            Command, mm/s; the fields ``vel_int`` and ``vel_wmp`` of the data set.
        """
        return activity @ self.weights.T + self.offset

    def loading(self) -> npt.NDArray[np.float64]:
        """Give the readout loading Z of the theory, for which Z^T activity / N = M2 activity.

        Returns
        -------
        ndarray, shape (neurons, n_out)
            N times M2 transposed.
        """
        return self.weights.shape[1] * self.weights.T


@dataclass(frozen=True, eq=False)
class BCISession:
    """The two blocks of a session and the two mappings.

    Parameters
    ----------
    intuitive, perturbed : Recording
        Block 1 under the intuitive and block 2 under the perturbed mapping. Activity: latents
        (factors), or spike counts where `load_bci_redundancy` read them, NaN after the end of a
        trial. Inputs: cosine and sine of the target direction and a constant go input of 1, from
        the first bin of the trial on.
    intuitive_readout, perturbed_readout : Readout
        The mapping of each block.
    """

    intuitive: Recording
    perturbed: Recording
    intuitive_readout: Readout
    perturbed_readout: Readout

    def first_bins(self, n_bins: int = 12) -> BCISession:
        """Keep the first bins of the trials that have them all.

        Parameters
        ----------
        n_bins : int
            Bins to keep; 12 leaves 191 trials of block 1 and 583 of block 2.

        Returns
        -------
        BCISession
            Both blocks without a missing bin.
        """
        return BCISession(
            self.intuitive.first_bins(n_bins),
            self.perturbed.first_bins(n_bins),
            self.intuitive_readout,
            self.perturbed_readout,
        )


def progress(
    latents: npt.NDArray[np.float64],
    readout: Readout,
    directions: npt.NDArray[np.float64],
    first_bin: int = 6,
    last_bin: int | None = None,
) -> npt.NDArray[np.float64]:
    """Cursor progress of each trial: mean velocity towards the target.

    The cursor starts at rest and follows v_t = M1 v_{t-1} + M2 latents_t + M0; its velocity along
    the unit vector to the target is averaged over the bins ``first_bin`` (0-based; the cursor is
    held until then) to ``last_bin``.

    Parameters
    ----------
    latents : ndarray, shape (trials, time, neurons)
        Recorded latents, or those of a model. A bin that is missing (NaN) drives nothing and is
        left out of the mean.
    readout : Readout
        The mapping.
    directions : ndarray, shape (trials,)
        Direction of the target, degrees.
    first_bin : int
        First bin of the average, 0-based.
    last_bin : int, optional
        End of the average (not included). Default: the last bin of ``latents``.

    Returns
    -------
    ndarray, shape (trials,)
        Progress of each trial, mm/s; NaN for a trial without a bin to average.

    Raises
    ------
    InputError
        Shapes that do not fit, or no bin from ``first_bin`` on.

    Examples
    --------
    One bin of activity towards the target, no smoothing:

    >>> import numpy as np
    >>> r = Readout(np.zeros((2, 2)), np.eye(2), np.zeros(2))
    >>> progress(np.full((1, 8, 2), 3.0), r, np.array([0.0])).tolist()
    [3.0]
    """
    latents = as_float_array("latents", latents, ndim=3, finite=False)
    directions = as_float_array("directions", directions, ndim=1)
    n_trials, _, n_neurons = latents.shape
    if n_neurons != readout.weights.shape[1]:
        raise InputError(
            f"latents must have {readout.weights.shape[1]} columns, as the readout; got {n_neurons}"
        )
    if readout.weights.shape[0] != 2:
        raise InputError(
            f"readout must have two outputs (x, y) for progress; got {readout.weights.shape[0]}"
        )
    if directions.shape != (n_trials,):
        raise InputError(
            f"directions must have one angle a trial ({n_trials}); got {directions.shape}"
        )
    missing = np.asarray(np.isnan(latents).any(axis=2))
    commands = np.where(missing[:, :, None], 0.0, latents) @ readout.weights.T + readout.offset
    return command_progress(commands, readout.smoothing, directions, first_bin, last_bin, missing)


def command_progress(
    commands: npt.NDArray[np.float64],
    smoothing: npt.NDArray[np.float64],
    directions: npt.NDArray[np.float64],
    first_bin: int = 6,
    last_bin: int | None = None,
    missing: npt.NDArray[np.bool_] | None = None,
) -> npt.NDArray[np.float64]:
    """Cursor progress of each trial from velocity commands; see `progress`.

    Parameters
    ----------
    commands : ndarray, shape (trials, time, 2)
        What drives the cursor in each bin, v_t = smoothing v_{t-1} + commands_t: M2 latents + M0 of
        a recording, or output and offset of a model.
    smoothing : ndarray, shape (2, 2)
        M1.
    directions : ndarray, shape (trials,)
        Direction of the target, degrees.
    first_bin, last_bin : int
        Bins of the average, 0-based, the last not included.
    missing : ndarray of bool, shape (trials, time), optional
        Bins to leave out of the mean.

    Returns
    -------
    ndarray, shape (trials,)
        Progress in the units of the commands (mm/s); NaN for a trial without a bin to average.

    Raises
    ------
    InputError
        Shapes that do not fit, or no bin from ``first_bin`` on.

    Examples
    --------
    >>> import numpy as np
    >>> command_progress(np.ones((1, 9, 2)), np.zeros((2, 2)), np.array([90.0])).round(6).tolist()
    [1.0]
    """
    commands = as_float_array("commands", commands, shape=(None, None, 2))
    n_trials, n_bins, _ = commands.shape
    directions = as_float_array("directions", directions, shape=(n_trials,), axes="(trials,)")
    stop = n_bins if last_bin is None else min(positive_int("last_bin", last_bin), n_bins)
    if not 0 <= first_bin < stop:
        raise InputError(f"first_bin must lie in 0..{stop - 1}; got {first_bin}")
    seen = np.ones((n_trials, n_bins), dtype=bool) if missing is None else ~missing
    towards = np.stack([np.cos(np.deg2rad(directions)), np.sin(np.deg2rad(directions))], axis=1)
    velocity = np.zeros((n_trials, 2))
    total = np.zeros(n_trials)
    count = np.zeros(n_trials)
    for t in range(stop):
        velocity = velocity @ smoothing.T + commands[:, t]
        if t >= first_bin:
            total += np.where(seen[:, t], (velocity * towards).sum(axis=1), 0.0)
            count += seen[:, t]
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def load_bci_learning(folder: str | os.PathLike[str]) -> BCISession:
    """Read the BCI learning session.

    Time 0 is the first bin of a trial's data. Units as stored: the command M2 latents + M0 equals
    the stored ``vel_int`` / ``vel_wmp``, and the stored position moves by the smoothed velocity
    times 45 ms from bin 6 (0-based) on: mm and mm/s.

    Parameters
    ----------
    folder : path
        Folder with 20160728.mat, or the file itself.

    Returns
    -------
    BCISession
        All 194 and 600 trials, 20 bins, NaN after the end of a trial; trial table with columns
        trial, block, target (degrees), correct, n_bins (with data). Of another file than the
        registered one (by its checksum) the metadata give that file as the source.

    Raises
    ------
    InputError
        The file is missing, truncated, or not of the expected structure.
    """
    path = Path(folder)
    path = path / FILE_NAME if path.is_dir() else path
    content = load_matlab(
        path,
        f"Get it anew from the {SOURCE}, and put it in the folder bci-learning-hennig2021 under "
        "the folder that PREDICTLEARN_DATA names.",
        squeeze_me=True,
        struct_as_record=False,
    )
    try:
        decoders = {
            str(d.name): Readout(
                np.asarray(d.fDecoder.M1, float),
                np.asarray(d.fDecoder.M2, float),
                np.asarray(d.fDecoder.M0, float),
                name=str(d.name),
            )
            for d in content["D"].decoders
        }
        about = described("bci-learning", path)
        first, second = (_block(content["Bs"][i], i + 1, about) for i in range(2))
        return BCISession(first, second, decoders["Intuitive"], decoders["WMP"])
    except (KeyError, AttributeError, IndexError, TypeError, ValueError) as error:
        if isinstance(error, InputError):
            raise InputError(f"{path}: {error}. Get it anew from the {SOURCE}") from error
        raise InputError(
            f"{folder}: the .mat file is not of the expected structure (two blocks in Bs, two "
            f"mappings in D.decoders): {one_line(str(error))}. Get it anew from the {SOURCE}"
        ) from error


def _block(block: Any, number: int, about: dict[str, Any]) -> Recording:
    """Turn one block, stored as a list of bins, into (trials, time, latents)."""
    trial_of_bin = np.asarray(block.trial_index, dtype=np.int64)
    bin_of_trial = np.asarray(block.time, dtype=np.int64) - 1
    latents = np.asarray(block.latents, dtype=np.float64)
    target = np.asarray(block.target, dtype=np.float64)
    if latents.ndim != 2 or len(latents) != len(trial_of_bin) or bin_of_trial.min() < 0:
        raise InputError(f"block {number}: latents and trial_index do not have the same bins")
    numbers, first, row = np.unique(trial_of_bin, return_index=True, return_inverse=True)
    n_bins = int(bin_of_trial.max()) + 1
    room(f"block {number}", 8.0 * len(numbers) * n_bins * latents.shape[1])
    activity = np.full((len(numbers), n_bins, latents.shape[1]), np.nan)
    activity[row, bin_of_trial] = latents
    angle = np.deg2rad(target[first])
    held = np.stack([np.cos(angle), np.sin(angle), np.ones_like(angle)], axis=1)
    table = pd.DataFrame(
        {
            "trial": numbers,
            "block": number,
            "target": target[first],
            "correct": np.asarray(block.isCorrect)[first].astype(bool),
            "n_bins": (~np.isnan(activity[:, :, 0])).sum(axis=1),
        }
    )
    return Recording(
        activity=activity,
        inputs=np.repeat(held[:, None, :], n_bins, axis=1),
        dt=BIN_WIDTH,
        trials=table,
        observed="current",
        metadata={
            **about,
            "name": f"{about['name']}, block {number}",
            "simulated": False,
            "inputs": "cosine of target, sine of target, go",
        },
    )
