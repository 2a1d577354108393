"""Reader of MATLAB files, of version 7.3 too."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from predictlearn.doors import reading
from predictlearn.errors import InputError
from predictlearn.recordings.readers.arrays import Request, recording_of
from predictlearn.recordings.readers.mat_file import EXPECTED, MatFile
from predictlearn.recordings.recording import Recording

__all__ = ["read_mat"]

_ADVICE = (
    "A data set that predictlearn knows is read by its name: --dataset bci-learning (another file "
    "of that format with --file), or load_bci_learning and the like."
)


def read_mat(
    path: str | os.PathLike[str],
    activity: str | None = None,
    *,
    inputs: Any = None,
    outputs: Any = None,
    dt: float | str | None = None,
    axes: str = "trials, time, neurons",
    trials: Mapping[str, str] | Sequence[str] | None = None,
    trial_index: str | None = None,
    observed: str = "rate",
    unit: str | float | None = None,
    start: str | float | None = None,
    align: Any = None,
    window: tuple[float, float] | None = None,
    lengths: Any = None,
) -> Recording:
    """Read a recording from a MATLAB file.

    Files of version 7.3 are read by way of HDF5, and only the variables that are asked for. A cell
    array, or a field of an array of structures, stands for one array a trial; trials of unequal
    length are padded to the longest, activity with NaN and inputs with zero.

    Parameters
    ----------
    path : path
        The file.
    activity : str
        Name of the variable that holds the activity; "data.spikes" for a field of a structure (of
        an array of structures: one a trial), "blocks(2).spikes" for one of several, counted from 1.
    inputs, outputs : str, mapping, DataFrame or sequence, optional
        Names of inputs, and of outputs: of every bin, or one row a trial to be held over it; or
        rows of events: see `read_arrays`.
    dt : float or str
        Width of a bin, or the name of a variable that holds it; in seconds, or in ``unit``.
    axes : str
        Order of the axes as MATLAB shows them, for example "neurons, time, trials".
    trials : mapping of str to str or sequence of str, optional
        Columns of the trial table, numbers or text, and the variable for each.
    trial_index : str, optional
        Variable with the number of the trial of every bin, where activity is (bins, neurons).
    observed : str
        "rate", "current" or "counts".
    unit, start, align, window, lengths : optional
        As for `read_arrays`.

    Returns
    -------
    Recording
        The recording; the trial table has a column ``n_bins``.

    Warns
    -----
    SilentNeuronsWarning
        Neurons that never change were left out.
    UserWarning
        As for `read_arrays`.

    Raises
    ------
    InputError
        Not a .mat file, a variable that is not there (with those that are), an object of MATLAB
        that cannot be read (a table, for example), or as for `read_arrays`.

    Examples
    --------
    >>> import tempfile, numpy as np
    >>> from scipy.io import savemat
    >>> rng = np.random.default_rng(0)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     savemat(folder + "/s.mat", {"rates": rng.normal(size=(8, 20, 5)), "side": np.eye(8)[0]})
    ...     r = read_mat(folder + "/s.mat", "rates", inputs="side", dt=0.05)
    >>> r.n_trials, r.n_bins, r.n_neurons, r.n_in
    (8, 20, 5, 1)
    """
    with reading(path, EXPECTED, _ADVICE):
        file = MatFile(Path(path), _ADVICE)
        if activity is None or dt is None:
            raise InputError(
                f"{path}: say what to read, at least activity='name of a variable' and dt= the bin "
                "in seconds (on the command line --read activity=name --read dt=0.05); "
                f"{'activity' if activity is None else 'dt'} is missing. Further: inputs, "
                "outputs, axes, trial_index, align, observed. The file has "
                f"{file.listing()}. {_ADVICE}"
            )
        request = Request(
            activity=activity,
            inputs=inputs,
            outputs=outputs,
            dt=dt,
            axes=axes,
            trials=trials,
            trial_index=trial_index,
            observed=observed,
            unit=unit,
            start=start,
            align=align,
            window=window,
            lengths=lengths,
        )
        about = {"name": Path(path).stem, "file": Path(path).name}
        return recording_of(file.get, list(file.variables), request, about)
