"""Simulated recordings and sessions, with overlaps that are known."""

from __future__ import annotations

from predictlearn.simulation.learning_recordings import simulate_learning
from predictlearn.simulation.recordings import random_inputs, simulate_recording
from predictlearn.simulation.sessions import simulate_sessions

__all__ = ["random_inputs", "simulate_learning", "simulate_recording", "simulate_sessions"]
