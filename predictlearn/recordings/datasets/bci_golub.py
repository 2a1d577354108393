"""Activity before and after a brain-computer interface mapping was learned: sampled time points.

Source: public repository mattgolub/bci_learning (exampleData.mat, BSD 3-Clause), of Golub et al.
2018.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from predictlearn.doors import one_line
from predictlearn.errors import InputError
from predictlearn.recordings.datasets.bci_learning import BIN_WIDTH, Readout
from predictlearn.recordings.datasets.registry import described, known_dataset
from predictlearn.recordings.readers.mat_file import load_matlab
from predictlearn.recordings.recording import Recording

__all__ = ["SampledSession", "load_bci_golub"]

_DATASET = known_dataset("bci-golub")
_ADVICE = (
    f"The data set is the {_DATASET.source}; `predictlearn datasets get bci-golub` downloads it."
)
_POINTS = (
    "the second axis counts sampled time points of a direction, not time: neighbours need not come "
    "from one trial, so no dynamics can be fitted"
)


@dataclass(frozen=True, eq=False)
class SampledSession:
    """Sampled activity before and after learning, and both mappings.

    **The points are sampled, they are no trajectories.** Axis 1 of the activity counts points of a
    direction, and neighbours need not come from one trial, nor follow each other. Distributions,
    means per direction and what a readout makes of them can be computed; dynamics, time constants
    and latencies cannot be fitted.

    Parameters
    ----------
    before : Recording
        Under the intuitive mapping, before the perturbed one was met.
    after : Recording
        Under the perturbed mapping, after it was learned.
    intuitive_readout, perturbed_readout : Readout
        Both mappings, of the counts.
    """

    before: Recording
    after: Recording
    intuitive_readout: Readout
    perturbed_readout: Readout


def load_bci_golub(folder: str | os.PathLike[str]) -> SampledSession:
    """Read the sampled time points before and after learning.

    Parameters
    ----------
    folder : path
        Folder with exampleData.mat, or the file itself.

    Returns
    -------
    SampledSession
        Two recordings (8 directions, 69 points, 86 units) of spike counts in bins of 45 ms. One row
        of the trial table is one direction from the cursor to the target (``direction``, degrees;
        that of single points differs by up to 22.5).
        Inputs: the unit vector from the cursor to the target at each point. Outputs: the velocity
        command under the mapping in use, M2 counts + M0, mm/s, as stored. **Points are sampled and
        no trajectories**; metadata say so under ``points``.

    Raises
    ------
    InputError
        The file is missing, truncated, or not of the expected structure.
    """
    path = Path(folder)
    file = path / _DATASET.file.name if path.is_dir() else path
    content = load_matlab(file, _ADVICE, squeeze_me=True, struct_as_record=False)
    try:
        mappings = content["expParams"]
        readouts = [
            Readout(
                np.asarray(mapping.M1, float),
                np.asarray(mapping.M2, float),
                np.asarray(mapping.m0, float),
                name=name,
            )
            for name, mapping in (
                ("intuitive", mappings.intuitiveMapping),
                ("perturbed", mappings.perturbedMapping),
            )
        ]
        about = described("bci-golub", file)
        before = _points(content["beforeLearning"].clouds, "before", "vraw_intuitive", about)
        after = _points(content["afterLearning"].clouds, "after", "vraw_perturbed", about)
    except (KeyError, AttributeError, IndexError, TypeError, ValueError) as error:
        if isinstance(error, InputError):
            raise InputError(f"{file}: {error}. {_ADVICE}") from error
        raise InputError(
            f"{file} is not of the expected structure (beforeLearning.clouds, afterLearning.clouds "
            f"and expParams): {one_line(str(error))}. {_ADVICE}"
        ) from error
    return SampledSession(before, after, readouts[0], readouts[1])


def _points(clouds: Any, which: str, command: str, about: dict[str, Any]) -> Recording:
    """Return the points of one epoch, a row for each direction."""

    def stacked(field: str) -> np.ndarray:
        return np.stack([np.asarray(one, dtype=float).T for one in getattr(clouds, field)])

    return Recording(
        activity=stacked("spikes"),
        inputs=stacked("cursorToTargetDirection"),
        dt=BIN_WIDTH,
        outputs=stacked(command),
        trials=pd.DataFrame({"direction": np.asarray(clouds.angles, dtype=float), "epoch": which}),
        observed="counts",
        metadata={
            **about,
            "name": f"{about['name']}, {which} learning",
            "simulated": False,
            "inputs": "unit vector from cursor to target",
            "points": _POINTS,
        },
    )
