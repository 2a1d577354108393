"""A brain-computer interface session with spike counts of 87 units under two mappings.

Source: session 20131218, public repository mobeets/neural-redundancy-elife2018
(data/sessions/20131218.mat, MIT), of Hennig et al. 2018.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from predictlearn.doors import one_line, room
from predictlearn.errors import InputError
from predictlearn.recordings.datasets.bci_learning import BIN_WIDTH, BCISession, Readout
from predictlearn.recordings.datasets.registry import described, known_dataset
from predictlearn.recordings.readers.mat_file import load_matlab
from predictlearn.recordings.recording import Recording

__all__ = ["load_bci_redundancy"]

_DATASET = known_dataset("bci-redundancy")
_ADVICE = (
    f"The data set is the {_DATASET.source}; `predictlearn datasets get bci-redundancy` downloads "
    "it."
)


def load_bci_redundancy(folder: str | os.PathLike[str]) -> BCISession:
    """Read the BCI session with spike counts.

    A trial begins where ``isFreezePeriod`` rises and lasts to the next. The cursor is held at the
    centre for its first 6 bins, so that the stored angle from the cursor to the target is the
    direction of the target there. Under each readout M2 counts + M0 is the stored velocity less its
    smoothed part: velNext = M1 vel + M2 counts + M0, to 2e-5 mm/s.

    Parameters
    ----------
    folder : path
        Folder with 20131218.mat, or the file itself.

    Returns
    -------
    BCISession
        Block 1 under the intuitive and block 2 under the perturbed mapping: 167 trials each, counts
        of 87 units in bins of 45 ms, of 12 to 81 and 14 to 142 bins, NaN after the end of a trial.
        Inputs: cosine and sine of the target direction and a constant go input. Trial table: trial,
        block, target (degrees), n_bins. Readouts of the counts (not of factors).

    Raises
    ------
    InputError
        The file is missing, truncated, or not of the expected structure.
    """
    path = Path(folder)
    file = path / _DATASET.file.name if path.is_dir() else path
    content = load_matlab(file, _ADVICE, squeeze_me=True, struct_as_record=False)
    try:
        blocks = list(content["D"].blocks)
        about = described("bci-redundancy", file)
        recordings = [_block(block, k + 1, about) for k, block in enumerate(blocks[:2])]
        readouts = [
            Readout(
                np.asarray(block.nDecoder.M1, float),
                np.asarray(block.nDecoder.M2, float),
                np.asarray(block.nDecoder.M0, float),
                name=name,
            )
            for block, name in zip(blocks, ("intuitive", "perturbed"), strict=True)
        ]
        return BCISession(recordings[0], recordings[1], readouts[0], readouts[1])
    except (KeyError, AttributeError, IndexError, TypeError, ValueError) as error:
        if isinstance(error, InputError):
            raise InputError(f"{file}: {error}. {_ADVICE}") from error
        raise InputError(
            f"{file} is not of the expected structure (two blocks in D.blocks): "
            f"{one_line(str(error))}. {_ADVICE}"
        ) from error


def _block(block: Any, number: int, about: dict[str, Any]) -> Recording:
    """Cut one block into trials."""
    held = np.asarray(block.isFreezePeriod, dtype=np.int64)
    spikes = np.asarray(block.spikes, dtype=float)
    angles = np.asarray(block.thetas, dtype=float)
    starts: npt.NDArray[np.int64] = np.flatnonzero(np.diff(np.concatenate([[0], held])) == 1)
    if len(held) != len(spikes) or len(starts) < 2:
        raise InputError(
            f"block {number}: isFreezePeriod must mark the bins of spikes and rise at every trial; "
            f"it has {len(held)} bins for {len(spikes)}, and rises {len(starts)} times."
        )
    lengths = np.diff(np.concatenate([starts, [len(held)]]))
    room(f"block {number}", 8.0 * len(starts) * int(lengths.max()) * spikes.shape[1])
    activity = np.full((len(starts), int(lengths.max()), spikes.shape[1]), np.nan)
    for trial, (start, length) in enumerate(zip(starts, lengths, strict=True)):
        activity[trial, :length] = spikes[start : start + length]
    target = angles[starts] % 360.0
    angle = np.deg2rad(target)
    drive = np.stack([np.cos(angle), np.sin(angle), np.ones_like(angle)], axis=1)
    return Recording(
        activity=activity,
        inputs=np.repeat(drive[:, None, :], activity.shape[1], axis=1),
        dt=BIN_WIDTH,
        trials=pd.DataFrame(
            {
                "trial": np.arange(len(starts)),
                "block": number,
                "target": target,
                "n_bins": lengths,
            }
        ),
        observed="counts",
        metadata={
            **about,
            "name": f"{about['name']}, block {number}",
            "simulated": False,
            "inputs": "cosine of target, sine of target, go",
        },
    )
