"""Recordings: one session's activity, inputs and outputs, and readers for public data sets."""

from __future__ import annotations

from predictlearn.recordings.bci import (
    BCISession,
    Readout,
    command_progress,
    load_bci_learning,
    progress,
)
from predictlearn.recordings.recording import Recording, load_recording
from predictlearn.recordings.registry import Dataset, data_folder, datasets, find_dataset
from predictlearn.recordings.simulated import load_simulated_learning
from predictlearn.recordings.simulation import random_inputs, simulate_recording

__all__ = [
    "BCISession",
    "Dataset",
    "Readout",
    "Recording",
    "command_progress",
    "data_folder",
    "datasets",
    "find_dataset",
    "load_bci_learning",
    "load_recording",
    "load_simulated_learning",
    "progress",
    "random_inputs",
    "simulate_recording",
]
