"""Recordings: one session's activity, inputs and outputs, checked on entry."""

from __future__ import annotations

from predictlearn.deprecated import moved_names
from predictlearn.recordings.datasets.bci_golub import SampledSession, load_bci_golub
from predictlearn.recordings.datasets.bci_learning import (
    BCISession,
    Readout,
    command_progress,
    load_bci_learning,
    progress,
)
from predictlearn.recordings.datasets.bci_redundancy import load_bci_redundancy
from predictlearn.recordings.datasets.behaviour import load_archerfish, load_rat_choices
from predictlearn.recordings.datasets.registry import Dataset, data_folder, datasets, find_dataset
from predictlearn.recordings.datasets.simulated import load_simulated_learning
from predictlearn.recordings.load import load_recording
from predictlearn.recordings.readers.arrays import read_arrays
from predictlearn.recordings.readers.mat import read_mat
from predictlearn.recordings.readers.nwb import read_nwb
from predictlearn.recordings.readers.pynapple import from_pynapple
from predictlearn.recordings.readers.table import from_table
from predictlearn.recordings.recording import Recording

__all__ = [
    "BCISession",
    "Dataset",
    "Readout",
    "Recording",
    "SampledSession",
    "command_progress",
    "data_folder",
    "datasets",
    "find_dataset",
    "from_pynapple",
    "from_table",
    "load_archerfish",
    "load_bci_golub",
    "load_bci_learning",
    "load_bci_redundancy",
    "load_rat_choices",
    "load_recording",
    "load_simulated_learning",
    "progress",
    "read_arrays",
    "read_mat",
    "read_nwb",
]

__getattr__ = moved_names(
    __name__,
    dict.fromkeys(("random_inputs", "simulate_recording"), "predictlearn.simulation"),
)
