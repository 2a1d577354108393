"""Recordings: one session's activity, inputs and outputs, and readers for public data sets."""

from __future__ import annotations

from predictlearn.recordings.arrays import read_arrays
from predictlearn.recordings.bci import (
    BCISession,
    Readout,
    command_progress,
    load_bci_learning,
    progress,
)
from predictlearn.recordings.bci_golub import SampledSession, load_bci_golub
from predictlearn.recordings.bci_redundancy import load_bci_redundancy
from predictlearn.recordings.behaviour import load_archerfish, load_rat_choices
from predictlearn.recordings.mat import read_mat
from predictlearn.recordings.nwb import read_nwb
from predictlearn.recordings.pynapple_reader import from_pynapple
from predictlearn.recordings.recording import Recording, load_recording
from predictlearn.recordings.registry import Dataset, data_folder, datasets, find_dataset
from predictlearn.recordings.simulated import load_simulated_learning
from predictlearn.recordings.simulation import random_inputs, simulate_recording
from predictlearn.recordings.table import from_table

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
    "random_inputs",
    "read_arrays",
    "read_mat",
    "read_nwb",
    "simulate_recording",
]
