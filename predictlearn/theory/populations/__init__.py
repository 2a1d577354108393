"""Several populations of neurons in one network, each with its own overlaps."""

from __future__ import annotations

from predictlearn.deprecated import moved_names

__getattr__ = moved_names(
    __name__,
    dict.fromkeys(
        ("PopulationLoadings", "Populations"), "predictlearn.theory.populations.populations"
    ),
)
